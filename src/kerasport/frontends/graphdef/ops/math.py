"""Elementwise ops."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.graphdef.ops.call import Call, Lower, Rows
from kerasport.ir import ops
from kerasport.ir.dtypes import FLOATS, NUMPY, DType
from kerasport.ir.tensor import Constant, Tensor, constant


def unary(op: type[ops.Unary]) -> Lower:
    """The row of an op that the IR has as well."""
    return lambda call: op(call.x())


def binary(op: type[ops.Binary]) -> Lower:
    """The row of an op that the IR has as well."""
    return lambda call: op(call.x(0), call.x(1))


def number(value: float, like: Tensor) -> Constant:
    """A number in the element type of a tensor."""
    return constant(value, like.dtype)


def truncated_division(a: Tensor, b: Tensor) -> Tensor:
    """The quotient of integers, rounded toward zero."""
    return ops.Sign(a) * ops.Sign(b) * ops.FloorDiv(ops.Abs(a), ops.Abs(b))


def div(call: Call) -> Tensor:
    """`Div` rounds quotients of integers toward zero."""
    a, b = call.x(0), call.x(1)
    return ops.Div(a, b) if a.dtype in FLOATS else truncated_division(a, b)


def floor_div(call: Call) -> Tensor:
    """⌊a / b⌋."""
    a, b = call.x(0), call.x(1)
    return ops.Floor(ops.Div(a, b)) if a.dtype in FLOATS else ops.FloorDiv(a, b)


def truncated_mod(call: Call) -> Tensor:
    """The remainder of truncated division, with the sign of a."""
    a, b = call.x(0), call.x(1)
    return ops.Sign(a) * ops.Mod(ops.Abs(a), ops.Abs(b))


def zero_where(zero: Tensor, y: Tensor) -> Tensor:
    """`y`, but 0 where `zero` is 0."""
    return ops.Select(ops.Equal(zero, number(0, zero)), number(0, y), y)


def unless_zero(x: Tensor, y: Tensor) -> Tensor:
    """`y`, but 1 where `x` is 0."""
    return ops.Select(ops.Equal(x, number(0, x)), number(1, y), y)


def xlogy(call: Call) -> Tensor:
    """x · log(y), but 0 where x is 0."""
    x, y = call.x(0), call.x(1)
    return zero_where(x, x * ops.Log(unless_zero(x, y)))


def xlog1py(call: Call) -> Tensor:
    """x · log(1 + y), but 0 where x is 0."""
    x, y = call.x(0), call.x(1)
    return zero_where(x, x * ops.Log1p(unless_zero(x, y)))


def xdivy(call: Call) -> Tensor:
    """x / y, but 0 where x is 0."""
    x, y = call.x(0), call.x(1)
    return zero_where(x, ops.Div(x, unless_zero(x, y)))


def mul_no_nan(call: Call) -> Tensor:
    """x · y, but 0 where y is 0, also if x is not finite."""
    x, y = call.x(0), call.x(1)
    return ops.Select(ops.Equal(y, number(0, y)), number(0, x), x * y)


def add_n(call: Call) -> Tensor:
    """The sum of all operands, which have the same shape."""
    # AccumulateNV2 states the shape of the sum
    call.attribute("shape")
    return reduce(ops.Add, call.tensors)


def cast(call: Call) -> Tensor:
    """Convert the element type. Floats are truncated toward zero for integers."""
    to = call.dtype("DstT")
    if call.flag("Truncate") and to in FLOATS:
        raise Refusal("Truncate", "converted models round floats, they do not truncate them")
    x = call.x()
    if "complex64" in (x.dtype, to):
        raise Refusal("DstT", "converted models do not compute with complex64")
    return ops.cast(x, to)


def erfc(call: Call) -> Tensor:
    """1 - erf(x). For -x · c it is 1 + erf(x · c), which is how gelu is written."""
    x = call.x()
    match x:
        case ops.Neg(y):
            return ops.Add(ops.Erf(y), number(1, x))
        case ops.Mul(ops.Neg(y), Constant() as c):
            return ops.Add(ops.Erf(ops.Mul(y, c)), number(1, x))
    return ops.Sub(number(1, x), ops.Erf(x))


def softsign(call: Call) -> Tensor:
    """x / (1 + |x|)."""
    x = call.x()
    return ops.Div(x, ops.Add(ops.Abs(x), number(1, x)))


def leaky_relu(call: Call) -> Tensor:
    """x where x > 0, else alpha · x."""
    return ops.LeakyRelu(call.x(), call.number("alpha", 0.2))


def prelu(call: Call) -> Tensor:
    """x where x > 0, else slope · x."""
    x, slope = call.x(0), call.x(1)
    return ops.Sub(ops.Relu(x), ops.Mul(slope, ops.Relu(ops.Neg(x))))


def select(call: Call) -> Tensor:
    """`Select`: a condition of rank 1 selects whole rows of tensors of higher rank."""
    condition, a, b = call.tensors
    if condition.rank == 1 and a.rank > 1:
        condition = ops.expand_dims(condition, *range(1, a.rank))
    return ops.Select(condition, a, b)


def select_v2(call: Call) -> Tensor:
    """The elements of a where the condition is true, else those of b; all shapes broadcast."""
    condition, a, b = call.tensors
    return ops.Select(condition, a, b)


def clip_by_value(call: Call) -> Tensor:
    """min(max(x, low), high)."""
    x, low, high = call.tensors
    numbers = [limit for limit in (low, high) if isinstance(limit, Constant) and not limit.rank]
    if x.dtype == "float32" and len(numbers) == 2:
        return ops.Clip(x, *(float(limit.read()) for limit in numbers))
    return ops.Minimum(ops.Maximum(x, low), high)


def invert(call: Call) -> Tensor:
    """All bits of integers inverted."""
    x = call.x()
    ones = np.array(-1).astype(NUMPY[x.dtype])
    return ops.BitwiseXor(x, constant(ones, x.dtype))


def approximate_equal(call: Call) -> Tensor:
    """Whether |a - b| < tolerance."""
    a, b = call.x(0), call.x(1)
    return ops.Less(ops.Abs(ops.Sub(a, b)), number(call.number("tolerance", 1e-5), a))


def bucketize(call: Call) -> Tensor:
    """The number of boundaries that are at most x, as int32."""
    x = call.x()
    boundaries = np.array(call.attribute("boundaries", ()), np.float32)
    if not boundaries.size:
        return ops.Mul(ops.cast(x, "int32"), constant(0))
    columns = ops.GreaterEqual(ops.expand_dims(ops.floats(x), -1), constant(boundaries))
    return ops.sum_(ops.cast(columns, "int32"), -1)


def fake_quant(call: Call) -> Tensor:
    """Values rounded to a grid of 2^num_bits numbers from min to max, as in quantized training."""
    x = call.x()
    bits, narrow = call.integer("num_bits", 8), call.flag("narrow_range")
    if call.node.op == "FakeQuantWithMinMaxArgs":
        low, high = call.number("min", -6.0), call.number("max", 6.0)
    else:
        low = float(np.ravel(call.value(1, "minimum"))[0])
        high = float(np.ravel(call.value(2, "maximum"))[0])
    least, most = np.float32(1 if narrow else 0), np.float32(2**bits - 1)
    # fake_quant_ops_functor.h moves the range so that 0 is on the grid
    scale = (np.float32(high) - np.float32(low)) / (most - least)
    if not scale:
        return ops.Mul(x, number(0, x))
    zero = np.clip(np.floor(least - np.float32(low) / scale + np.float32(0.5)), least, most)
    low, high = float((least - zero) * scale), float((most - zero) * scale)
    steps = ops.Mul(ops.Sub(ops.clip(x, low, high), number(low, x)), number(1 / scale, x))
    rounded = ops.Floor(ops.Add(steps, number(0.5, x)))
    return ops.Add(ops.Mul(rounded, number(scale, x)), number(low, x))


def like(value: float) -> Lower:
    """The row of an op that fills the shape of x with a number."""

    def lower(call: Call) -> Tensor:
        return filled(call.x(), value)

    return lower


def filled(x: Tensor, value: float, dtype: DType | None = None) -> Tensor:
    """A tensor of the shape of `x` that contains a number everywhere."""
    dtype = dtype or x.dtype
    fill: Any = constant(bool(value) if dtype == "bool" else value, dtype)
    return ops.broadcast_to(fill, ops.dims(x)) if x.rank else fill


UNARY: dict[str, type[ops.Unary]] = {
    "Abs": ops.Abs, "Neg": ops.Neg, "Exp": ops.Exp, "Expm1": ops.Expm1, "Log": ops.Log,
    "Log1p": ops.Log1p, "Sqrt": ops.Sqrt, "Rsqrt": ops.Rsqrt, "Square": ops.Square,
    "Reciprocal": ops.Reciprocal, "Inv": ops.Reciprocal, "Sin": ops.Sin, "Cos": ops.Cos,
    "Tan": ops.Tan, "Asin": ops.Asin, "Acos": ops.Acos, "Atan": ops.Atan, "Sinh": ops.Sinh,
    "Cosh": ops.Cosh, "Tanh": ops.Tanh, "Asinh": ops.Asinh, "Acosh": ops.Acosh,
    "Atanh": ops.Atanh, "Floor": ops.Floor, "Ceil": ops.Ceil, "Round": ops.Round,
    "Rint": ops.Round, "Sign": ops.Sign, "Relu": ops.Relu, "Relu6": ops.Relu6, "Elu": ops.Elu,
    "Selu": ops.Selu, "Sigmoid": ops.Sigmoid, "Softplus": ops.Softplus, "Erf": ops.Erf,
    "IsNan": ops.IsNan, "IsInf": ops.IsInf, "IsFinite": ops.IsFinite,
    "LogicalNot": ops.LogicalNot,
}  # fmt: skip
"""Ops of one operand that the IR has as well."""

BINARY: dict[str, type[ops.Binary]] = {
    "Add": ops.Add, "AddV2": ops.Add, "Sub": ops.Sub, "Mul": ops.Mul, "RealDiv": ops.Div,
    "DivNoNan": ops.DivNoNan, "FloorMod": ops.Mod, "Pow": ops.Pow, "Maximum": ops.Maximum,
    "Minimum": ops.Minimum, "SquaredDifference": ops.SquaredDifference, "Atan2": ops.Atan2,
    "Equal": ops.Equal, "NotEqual": ops.NotEqual, "Less": ops.Less, "LessEqual": ops.LessEqual,
    "Greater": ops.Greater, "GreaterEqual": ops.GreaterEqual, "LogicalAnd": ops.LogicalAnd,
    "LogicalOr": ops.LogicalOr, "BitwiseAnd": ops.BitwiseAnd, "BitwiseOr": ops.BitwiseOr,
    "BitwiseXor": ops.BitwiseXor, "LeftShift": ops.LeftShift, "RightShift": ops.RightShift,
}  # fmt: skip
"""Ops of two operands that the IR has as well."""

ROWS: Rows = {
    **{name: unary(op) for name, op in UNARY.items()},
    **{name: binary(op) for name, op in BINARY.items()},
    "Div": div, "FloorDiv": floor_div, "TruncateDiv": div, "Mod": truncated_mod,
    "TruncateMod": truncated_mod, "Xlogy": xlogy, "Xlog1py": xlog1py, "Xdivy": xdivy,
    "MulNoNan": mul_no_nan, "AddN": add_n, "AccumulateNV2": add_n, "Cast": cast, "Erfc": erfc,
    "Softsign": softsign, "LeakyRelu": leaky_relu, "Prelu": prelu, "Select": select,
    "SelectV2": select_v2, "ClipByValue": clip_by_value, "Invert": invert,
    "ApproximateEqual": approximate_equal, "Bucketize": bucketize,
    "FakeQuantWithMinMaxVars": fake_quant, "FakeQuantWithMinMaxArgs": fake_quant,
    "ZerosLike": like(0), "OnesLike": like(1),
}  # fmt: skip
