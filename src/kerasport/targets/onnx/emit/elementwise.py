"""Elementwise operations in ONNX, and activations that are one operator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as onnx

from kerasport.errors import Refusal
from kerasport.ir import dtypes, ops
from kerasport.ir.dtypes import DType
from kerasport.ir.tensor import Tensor
from kerasport.passes.fuse import Gelu, HardSigmoid, LayerNorm, Prelu
from kerasport.targets.onnx.emit.emitter import TYPES, Emitter


def emit_square(e: Emitter, node: ops.Square) -> onnx.Value:
    """`Mul` of x with itself: ONNX has no square."""
    return e.add("Mul", [node.x, node.x])


def emit_squared_difference(e: Emitter, node: ops.SquaredDifference) -> onnx.Value:
    """`Sub`, then `Mul` with itself: ONNX has no squared difference."""
    difference = e.add("Sub", [node.a, node.b])
    return e.add("Mul", [difference, difference])


def emit_rsqrt(e: Emitter, node: ops.Rsqrt) -> onnx.Value:
    """`Reciprocal` of `Sqrt`: ONNX has no reciprocal square root."""
    return e.add("Reciprocal", [e.add("Sqrt", [node.x])])


def emit_expm1(e: Emitter, node: ops.Expm1) -> onnx.Value:
    """`Exp` minus 1: ONNX has no expm1."""
    return e.add("Sub", [e.add("Exp", [node.x]), e.number(1, "float32")])


def emit_log1p(e: Emitter, node: ops.Log1p) -> onnx.Value:
    """`Log` of x + 1: ONNX has no log1p."""
    return e.add("Log", [e.add("Add", [node.x, e.number(1, "float32")])])


def emit_relu6(e: Emitter, node: ops.Relu6) -> onnx.Value:
    """`Clip` to 0 … 6: ONNX has no relu6."""
    return e.add("Clip", [node.x, e.number(0, node.dtype), e.number(6, node.dtype)])


def emit_clip(e: Emitter, node: ops.Clip) -> onnx.Value:
    """`Clip`, with the limits as operands."""
    return e.add("Clip", [node.x, e.number(node.low, "float32"), e.number(node.high, "float32")])


def emit_leaky_relu(e: Emitter, node: ops.LeakyRelu) -> onnx.Value:
    """`LeakyRelu`."""
    return e.add("LeakyRelu", [node.x], alpha=float(node.alpha))


def emit_selu(e: Emitter, node: ops.Selu) -> onnx.Value:
    """`Selu` with the constants of Keras."""
    return e.add("Selu", [node.x], alpha=1.6732632423543772, gamma=1.0507009873554805)


def emit_is_finite(e: Emitter, node: ops.IsFinite) -> onnx.Value:
    """Neither `IsInf` nor `IsNaN`: ONNX has no test for finite numbers."""
    return e.add("Not", [e.add("Or", [e.add("IsInf", [node.x]), e.add("IsNaN", [node.x])])])


def emit_cast(e: Emitter, node: ops.Cast) -> onnx.Value:
    """`Cast`."""
    return e.cast(node.x, TYPES[node.to])


def emit_not_equal(e: Emitter, node: ops.NotEqual) -> onnx.Value:
    """`Not` of `Equal`: ONNX has no inequality."""
    return e.add("Not", [e.add("Equal", [node.a, node.b])])


def emit_div_no_nan(e: Emitter, node: ops.DivNoNan) -> onnx.Value:
    """`Div`, but `Where` b is 0 the result is 0."""
    zero = e.number(0, "float32")
    return e.add("Where", [e.add("Equal", [node.b, zero]), zero, e.add("Div", [node.a, node.b])])


def emit_floor_div(e: Emitter, node: ops.FloorDiv) -> onnx.Value:
    """(a - a mod b) / b: `Div` of integers rounds toward zero, but `Mod` has the sign of b."""
    return e.add("Div", [e.add("Sub", [node.a, e.add("Mod", [node.a, node.b])]), node.b])


def emit_mod(e: Emitter, node: ops.Mod) -> onnx.Value:
    """`Mod` for integers; for floats C's `fmod`, moved from the sign of a to that of b."""
    if node.dtype in dtypes.INTEGERS:
        return e.add("Mod", [node.a, node.b])
    zero, rest = e.number(0, "float32"), e.add("Mod", [node.a, node.b], fmod=1)
    signs = e.add("Xor", [e.add("Less", [rest, zero]), e.add("Less", [node.b, zero])])
    other = e.add("And", [signs, e.add("Not", [e.add("Equal", [rest, zero])])])
    return e.add("Where", [other, e.add("Add", [rest, node.b]), rest])


def emit_bits(e: Emitter, node: ops.Binary) -> onnx.Value:
    """`BitwiseAnd`, `BitwiseOr` or `BitwiseXor`, which exist since opset 18."""
    if e.opset < 18:
        raise Refusal(
            "", "ONNX supports operations on the bits of integers from opset 18; use --opset 18"
        )
    return e.add(type(node).__name__, [node.a, node.b])


UNSIGNED: Mapping[DType, onnx.DataType] = {
    **dict.fromkeys(("int8", "int16", "int32", "uint16", "uint32"), onnx.DataType.UINT32),
    **dict.fromkeys(("int64", "uint64"), onnx.DataType.UINT64),
    "uint8": onnx.DataType.UINT8,
}  # fmt: skip
"""Integer type → unsigned type for its shifts: ONNX does not shift signed integers."""


def emit_left_shift(e: Emitter, node: ops.LeftShift) -> onnx.Value:
    """`BitShift` of the bits as unsigned integers."""
    return _shifted(e, node.a, node.b, "LEFT")


def emit_right_shift(e: Emitter, node: ops.RightShift) -> onnx.Value:
    """`BitShift` of the bits as unsigned integers: of a where a ≥ 0, else -1 - ((-1 - a) >> b)."""
    if node.dtype in dtypes.UNSIGNED:
        return _shifted(e, node.a, node.b, "RIGHT")
    ones = e.number(-1, node.dtype)
    negative = e.add("Less", [node.a, e.number(0, node.dtype)])
    positive = e.add("Where", [negative, e.add("Sub", [ones, node.a]), node.a])
    moved = _shifted(e, positive, node.b, "RIGHT")
    return e.add("Where", [negative, e.add("Sub", [ones, moved]), moved])


def _shifted(e: Emitter, a: Tensor | onnx.Value, b: Tensor, direction: str) -> onnx.Value:
    bits = UNSIGNED[b.dtype]
    moved = e.add("BitShift", [e.cast(a, bits), e.cast(b, bits)], direction=direction)
    return e.cast(moved, TYPES[b.dtype])


def emit_atan2(e: Emitter, node: ops.Atan2) -> onnx.Value:
    """Half-angle formulas: ONNX has no atan2.

    2 · atan(a / (√(a² + b²) + b)) where b > 0, else 2 · atan((√(a² + b²) - b) / a). Neither loses
    digits.
    """
    a, b, zero, two = node.a, node.b, e.number(0, "float32"), e.number(2, "float32")
    length = e.add("Sqrt", [e.add("Add", [e.add("Mul", [a, a]), e.add("Mul", [b, b])])])
    right = e.add("Div", [a, e.add("Add", [length, b])])
    left = e.add("Div", [e.add("Sub", [length, b]), a])
    half = e.add("Atan", [e.add("Where", [e.add("Greater", [b, zero]), right, left])])
    angle = e.add("Mul", [two, half])
    # where a is 0: π for negative b, and 0 for others
    flat = e.add("Where", [e.add("Less", [b, zero]), e.number(np.pi, "float32"), zero])
    return e.add("Where", [e.add("Equal", [a, zero]), flat, angle])


def emit_gelu(e: Emitter, node: Gelu) -> onnx.Value:
    """`Gelu`."""
    return e.add("Gelu", [node.x], approximate="tanh" if node.approximate else "none")


def emit_hard_sigmoid(e: Emitter, node: HardSigmoid) -> onnx.Value:
    """`HardSigmoid`."""
    return e.add("HardSigmoid", [node.x], alpha=float(node.alpha), beta=float(node.beta))


def emit_prelu(e: Emitter, node: Prelu) -> onnx.Value:
    """`PRelu`."""
    return e.add("PRelu", [node.x, node.slope])


def emit_layer_norm(e: Emitter, node: LayerNorm) -> onnx.Value:
    """`LayerNormalization`."""
    attributes = {"axis": node.axis, "epsilon": float(node.epsilon)}
    return e.add("LayerNormalization", node.operands, **attributes)
