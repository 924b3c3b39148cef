"""Emission of TF.js graph-models: one table from operations of the IR to TF.js operators.

Source of the names and attributes: `operations/op_list` of tfjs-converter. TF.js reads the value of
a constant from the weight with the name of its node. It takes shapes and axes as constants too, and
attributes as JSON of TensorFlow's protobuf messages.
"""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Item, Node
from kerasport.passes.fuse import Fused, Prelu
from kerasport.targets.emission import OpTable
from kerasport.targets.tfjs.graph.emit.attributes import TYPES, Json, const, shape
from kerasport.targets.tfjs.graph.emit.detection import emit_non_max_suppression
from kerasport.targets.tfjs.graph.emit.elementwise import emit_cast, emit_clip, emit_leaky_relu
from kerasport.targets.tfjs.graph.emit.emitter import STRINGS, Emit, Emitter, Shared, node_name
from kerasport.targets.tfjs.graph.emit.linear import emit_matmul
from kerasport.targets.tfjs.graph.emit.lookup import emit_lookup
from kerasport.targets.tfjs.graph.emit.loop import emit_branch, emit_item, emit_loop, emit_scan
from kerasport.targets.tfjs.graph.emit.movement import (
    emit_arg_where,
    emit_broadcast,
    emit_concat,
    emit_dim,
    emit_fill,
    emit_gather,
    emit_one_hot,
    emit_pad,
    emit_range,
    emit_reshape,
    emit_reverse,
    emit_scatter_nd,
    emit_slice,
    emit_strided_slice,
    emit_tile,
    emit_transpose,
)
from kerasport.targets.tfjs.graph.emit.reduction import (
    emit_arg,
    emit_cumulative,
    emit_reduction,
    emit_top_k,
)
from kerasport.targets.tfjs.graph.emit.window import (
    emit_conv,
    emit_conv_transpose,
    emit_depthwise,
    emit_fused,
    emit_pool,
    emit_resize,
    skips,
)

__all__ = [
    "TABLE",
    "TYPES",
    "Emitter",
    "Json",
    "const",
    "emitter_of",
    "node_name",
    "shape",
    "skips",
]

SAME: Mapping[type[Node], str] = {
    ops.Abs: "Abs",
    ops.Neg: "Neg",
    ops.Exp: "Exp",
    ops.Expm1: "Expm1",
    ops.Log: "Log",
    ops.Log1p: "Log1p",
    ops.Sqrt: "Sqrt",
    ops.Rsqrt: "Rsqrt",
    ops.Square: "Square",
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
    ops.Relu6: "Relu6",
    ops.Elu: "Elu",
    ops.Selu: "Selu",
    ops.Sigmoid: "Sigmoid",
    ops.Softplus: "Softplus",
    ops.Erf: "Erf",
    ops.IsNan: "IsNan",
    ops.IsInf: "IsInf",
    ops.IsFinite: "IsFinite",
    ops.LogicalNot: "LogicalNot",
    ops.Add: "AddV2",
    ops.Sub: "Sub",
    ops.Mul: "Mul",
    ops.Div: "RealDiv",
    ops.GatherNd: "GatherNd",
    ops.DivNoNan: "DivNoNan",
    ops.FloorDiv: "FloorDiv",
    ops.Mod: "FloorMod",
    ops.Pow: "Pow",
    ops.Maximum: "Maximum",
    ops.Minimum: "Minimum",
    ops.SquaredDifference: "SquaredDifference",
    ops.Atan2: "Atan2",
    ops.Equal: "Equal",
    ops.NotEqual: "NotEqual",
    ops.Less: "Less",
    ops.LessEqual: "LessEqual",
    ops.Greater: "Greater",
    ops.GreaterEqual: "GreaterEqual",
    ops.LogicalAnd: "LogicalAnd",
    ops.LogicalOr: "LogicalOr",
    ops.Select: "SelectV2",
    ops.Softmax: "Softmax",
    ops.LogSoftmax: "LogSoftmax",
    Prelu: "Prelu",
}
"""Operation → TF.js operator with the same operands and no attributes."""

DIFFERENT: Mapping[type[Node], Emit] = {
    # elementwise
    ops.Cast: emit_cast,
    ops.Clip: emit_clip,
    ops.LeakyRelu: emit_leaky_relu,
    # reductions
    ops.Sum: emit_reduction("Sum"),
    ops.Mean: emit_reduction("Mean"),
    ops.Max: emit_reduction("Max"),
    ops.Min: emit_reduction("Min"),
    ops.Prod: emit_reduction("Prod"),
    ops.Any_: emit_reduction("Any"),
    ops.All: emit_reduction("All"),
    ops.ArgMax: emit_arg("ArgMax"),
    ops.ArgMin: emit_arg("ArgMin"),
    ops.Cumsum: emit_cumulative("Cumsum"),
    ops.Cumprod: emit_cumulative("Cumprod"),
    ops.TopK: emit_top_k,
    # products and windows
    ops.MatMul: emit_matmul,
    ops.Conv: emit_conv,
    ops.DepthwiseConv: emit_depthwise,
    ops.ConvTranspose: emit_conv_transpose,
    Fused: emit_fused,
    ops.MaxPool: emit_pool,
    ops.AvgPool: emit_pool,
    ops.Resize: emit_resize,
    # movement
    ops.Dim: emit_dim,
    ops.Reshape: emit_reshape,
    ops.BroadcastTo: emit_broadcast,
    ops.Transpose: emit_transpose,
    ops.Slice: emit_slice,
    ops.StridedSlice: emit_strided_slice,
    ops.Reverse: emit_reverse,
    ops.Concat: emit_concat,
    ops.Pad: emit_pad,
    ops.Tile: emit_tile,
    ops.Gather: emit_gather,
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
    ops.Lookup: emit_lookup,
}
"""Operation → function that writes it."""

BITS = "TF.js has no operation on the bits of integers that all of its backends support"
UNSUPPORTED: Mapping[type[Node], str] = {
    ops.BitwiseAnd: BITS,
    ops.BitwiseOr: BITS,
    ops.BitwiseXor: BITS,
    ops.LeftShift: BITS,
    ops.RightShift: BITS,
    ops.Det: "TF.js has no determinant",
    ops.SoftNonMaxSuppression: (
        "TF.js leaves out boxes whose overlap reaches the IoU threshold, where TensorFlow only "
        "lowers their scores"
    ),
    ops.StringConcat: STRINGS,
    ops.StringSplit: STRINGS,
    ops.RegexFullMatch: STRINGS,
    ops.Dft: (
        "TF.js has no Fourier transform on the wasm backend, and only fixed sizes up to 1024 are "
        "computed as matrix products"
    ),
}
"""Operation → why TF.js cannot express it."""

TABLE = OpTable(SAME, DIFFERENT, UNSUPPORTED, "TF.js has no such operation")


def emitter_of(graph: Graph) -> Emitter:
    """An emitter that writes a graph."""
    return Emitter(graph, Shared(), TABLE)
