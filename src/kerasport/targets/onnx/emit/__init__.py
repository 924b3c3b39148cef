"""Emission of ONNX: one table from operations of the IR to ONNX operators.

Source of the operators and attributes: onnx/docs/Operators.md, and Operators-ml.md for ai.onnx.ml.
"""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Item, Node
from kerasport.passes.fuse import Gelu, HardSigmoid, LayerNorm, Prelu
from kerasport.targets.emission import OpTable
from kerasport.targets.onnx.channels_first import First, ToLast
from kerasport.targets.onnx.emit.detection import emit_non_max_suppression
from kerasport.targets.onnx.emit.elementwise import (
    emit_atan2,
    emit_bits,
    emit_cast,
    emit_clip,
    emit_div_no_nan,
    emit_expm1,
    emit_floor_div,
    emit_gelu,
    emit_hard_sigmoid,
    emit_is_finite,
    emit_layer_norm,
    emit_leaky_relu,
    emit_left_shift,
    emit_log1p,
    emit_mod,
    emit_not_equal,
    emit_prelu,
    emit_relu6,
    emit_right_shift,
    emit_rsqrt,
    emit_selu,
    emit_square,
    emit_squared_difference,
)
from kerasport.targets.onnx.emit.emitter import ML, TYPES, Emit, Emitter, Shared, utf8
from kerasport.targets.onnx.emit.linear import emit_matmul
from kerasport.targets.onnx.emit.lookup import emit_lookup
from kerasport.targets.onnx.emit.loop import (
    emit_branch,
    emit_counting_first,
    emit_item,
    emit_loop,
    emit_recurrent,
    emit_scan,
    emit_take_steps,
)
from kerasport.targets.onnx.emit.movement import (
    emit_arg_where,
    emit_broadcast,
    emit_concat,
    emit_dim,
    emit_fill,
    emit_gather,
    emit_gather_nd,
    emit_one_hot,
    emit_pad,
    emit_range,
    emit_reshape,
    emit_reverse,
    emit_slice,
    emit_strided_slice,
    emit_tile,
    emit_transpose,
)
from kerasport.targets.onnx.emit.reduction import (
    emit_arg,
    emit_cumsum,
    emit_mean,
    emit_reduction,
    emit_softmax,
    emit_top_k,
    emit_truths,
)
from kerasport.targets.onnx.emit.scatter import emit_scatter_nd
from kerasport.targets.onnx.emit.spectral import emit_dft
from kerasport.targets.onnx.emit.text import (
    emit_regex_full_match,
    emit_string_concat,
    emit_string_split,
)
from kerasport.targets.onnx.emit.window import emit_first
from kerasport.targets.onnx.recurrent import CountingFirst, Recurrent, TakeSteps

__all__ = ["ML", "TABLE", "TYPES", "Emitter", "emitter_of", "utf8"]

SAME: Mapping[type[Node], str] = {
    ops.Abs: "Abs",
    ops.Neg: "Neg",
    ops.Exp: "Exp",
    ops.Log: "Log",
    ops.Sqrt: "Sqrt",
    ops.Reciprocal: "Reciprocal",
    ops.Sin: "Sin",
    ops.Cos: "Cos",
    ops.Tan: "Tan",
    ops.Asin: "Asin",
    ops.Acos: "Acos",
    ops.Atan: "Atan",
    ops.Sinh: "Sinh",
    ops.Cosh: "Cosh",
    ops.Tanh: "Tanh",
    ops.Asinh: "Asinh",
    ops.Acosh: "Acosh",
    ops.Atanh: "Atanh",
    ops.Floor: "Floor",
    ops.Ceil: "Ceil",
    ops.Round: "Round",
    ops.Sign: "Sign",
    ops.Relu: "Relu",
    ops.Elu: "Elu",
    ops.Sigmoid: "Sigmoid",
    ops.Softplus: "Softplus",
    ops.Erf: "Erf",
    ops.Det: "Det",
    ops.IsNan: "IsNaN",
    ops.IsInf: "IsInf",
    ops.LogicalNot: "Not",
    ops.Add: "Add",
    ops.Sub: "Sub",
    ops.Mul: "Mul",
    ops.Div: "Div",
    ops.Pow: "Pow",
    ops.Maximum: "Max",
    ops.Minimum: "Min",
    ops.Equal: "Equal",
    ops.Less: "Less",
    ops.LessEqual: "LessOrEqual",
    ops.Greater: "Greater",
    ops.GreaterEqual: "GreaterOrEqual",
    ops.LogicalAnd: "And",
    ops.LogicalOr: "Or",
    ops.Select: "Where",
}
"""Operation → ONNX operator with the same operands and no attributes."""

DIFFERENT: Mapping[type[Node], Emit] = {
    # elementwise
    ops.Square: emit_square,
    ops.SquaredDifference: emit_squared_difference,
    ops.Rsqrt: emit_rsqrt,
    ops.Expm1: emit_expm1,
    ops.Log1p: emit_log1p,
    ops.Relu6: emit_relu6,
    ops.Selu: emit_selu,
    ops.IsFinite: emit_is_finite,
    ops.Cast: emit_cast,
    ops.Clip: emit_clip,
    ops.LeakyRelu: emit_leaky_relu,
    ops.NotEqual: emit_not_equal,
    ops.DivNoNan: emit_div_no_nan,
    ops.FloorDiv: emit_floor_div,
    ops.Mod: emit_mod,
    ops.BitwiseAnd: emit_bits,
    ops.BitwiseOr: emit_bits,
    ops.BitwiseXor: emit_bits,
    ops.LeftShift: emit_left_shift,
    ops.RightShift: emit_right_shift,
    ops.Atan2: emit_atan2,
    Gelu: emit_gelu,
    HardSigmoid: emit_hard_sigmoid,
    Prelu: emit_prelu,
    LayerNorm: emit_layer_norm,
    # reductions
    ops.Sum: emit_reduction("ReduceSum", 13),
    ops.Mean: emit_mean,
    ops.Max: emit_reduction("ReduceMax", 18),
    ops.Min: emit_reduction("ReduceMin", 18),
    ops.Prod: emit_reduction("ReduceProd", 18),
    ops.Any_: emit_truths("ReduceMax"),
    ops.All: emit_truths("ReduceMin"),
    ops.ArgMax: emit_arg("ArgMax"),
    ops.ArgMin: emit_arg("ArgMin"),
    ops.Cumsum: emit_cumsum,
    ops.Softmax: emit_softmax("Softmax"),
    ops.LogSoftmax: emit_softmax("LogSoftmax"),
    ops.TopK: emit_top_k,
    # products and windows
    ops.MatMul: emit_matmul,
    First: emit_first,
    ops.Dft: emit_dft,
    # movement
    ops.Dim: emit_dim,
    ops.Reshape: emit_reshape,
    ops.BroadcastTo: emit_broadcast,
    ops.Transpose: emit_transpose,
    ToLast: emit_transpose,
    ops.Slice: emit_slice,
    ops.StridedSlice: emit_strided_slice,
    ops.Reverse: emit_reverse,
    ops.Concat: emit_concat,
    ops.Pad: emit_pad,
    ops.Tile: emit_tile,
    ops.Gather: emit_gather,
    ops.GatherNd: emit_gather_nd,
    ops.ScatterNd: emit_scatter_nd,
    ops.ArgWhere: emit_arg_where,
    ops.OneHot: emit_one_hot,
    ops.Range: emit_range,
    ops.Fill: emit_fill,
    # boxes
    ops.NonMaxSuppression: emit_non_max_suppression,
    # loops and tables
    Item: emit_item,
    ops.Scan: emit_scan,
    ops.Branch: emit_branch,
    ops.Loop: emit_loop,
    Recurrent: emit_recurrent,
    CountingFirst: emit_counting_first,
    TakeSteps: emit_take_steps,
    ops.Lookup: emit_lookup,
    ops.StringConcat: emit_string_concat,
    ops.StringSplit: emit_string_split,
    ops.RegexFullMatch: emit_regex_full_match,
}
"""Operation → function that writes it."""

UNSUPPORTED: Mapping[type[Node], str] = {
    ops.SoftNonMaxSuppression: "ONNX has no non-max suppression that lowers scores",
}
"""Operation → why ONNX cannot express it."""

TABLE = OpTable(SAME, DIFFERENT, UNSUPPORTED, "ONNX does not have this operator")


def emitter_of(graph: Graph, opset: int) -> Emitter:
    """An emitter that writes a graph in operators of an opset."""
    return Emitter(graph, Shared(opset=opset), TABLE)
