"""Elementwise operations, with the broadcasting rules of numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import ANY, FLOATS, INTEGERS, NUMBERS, NUMPY, DType, promoted
from kerasport.ir.tensor import (
    Tensor,
    TensorType,
    as_tensor,
    broadcast,
    constant,
    expect,
)
from kerasport.weights import Array


class Unary(Tensor):
    """An elementwise function of one tensor.

    A class sets `compute`, its meaning in numpy, `takes`, the supported element types, and
    `result`, the element type of the result if it differs from that of `x`.
    """

    x: Tensor
    compute: ClassVar[Callable[..., Any]]
    takes: ClassVar[tuple[DType, ...]] = FLOATS
    result: ClassVar[DType | None] = None

    def infer(self) -> TensorType:
        expect(self, self.x, self.takes)
        return TensorType(self.result or self.x.dtype, self.x.extents)


class Abs(Unary):
    """The absolute value |x|."""

    takes = NUMBERS
    compute = staticmethod(np.abs)


class Neg(Unary):
    """The negative -x."""

    takes = NUMBERS
    compute = staticmethod(np.negative)


class Exp(Unary):
    """The exponential eˣ."""

    compute = staticmethod(np.exp)


class Expm1(Unary):
    """eˣ - 1, exact for x near 0."""

    compute = staticmethod(np.expm1)


class Log(Unary):
    """The natural logarithm of x."""

    compute = staticmethod(np.log)


class Log1p(Unary):
    """The natural logarithm of 1 + x, exact for x near 0."""

    compute = staticmethod(np.log1p)


class Sqrt(Unary):
    """The square root √x."""

    compute = staticmethod(np.sqrt)


class Rsqrt(Unary):
    """1 / √x."""

    compute = staticmethod(lambda x: np.reciprocal(np.sqrt(x)))


class Square(Unary):
    """The square x²."""

    takes = NUMBERS
    compute = staticmethod(np.square)


class Reciprocal(Unary):
    """The reciprocal 1 / x."""

    compute = staticmethod(np.reciprocal)


class Sin(Unary):
    """The sine of x."""

    compute = staticmethod(np.sin)


class Cos(Unary):
    """The cosine of x."""

    compute = staticmethod(np.cos)


class Tan(Unary):
    """The tangent of x."""

    compute = staticmethod(np.tan)


class Asin(Unary):
    """The inverse sine of x."""

    compute = staticmethod(np.arcsin)


class Acos(Unary):
    """The inverse cosine of x."""

    compute = staticmethod(np.arccos)


class Atan(Unary):
    """The inverse tangent of x."""

    compute = staticmethod(np.arctan)


class Sinh(Unary):
    """The hyperbolic sine of x."""

    compute = staticmethod(np.sinh)


class Cosh(Unary):
    """The hyperbolic cosine of x."""

    compute = staticmethod(np.cosh)


class Tanh(Unary):
    """The hyperbolic tangent of x."""

    compute = staticmethod(np.tanh)


class Asinh(Unary):
    """The inverse hyperbolic sine of x."""

    compute = staticmethod(np.arcsinh)


class Acosh(Unary):
    """The inverse hyperbolic cosine of x."""

    compute = staticmethod(np.arccosh)


class Atanh(Unary):
    """The inverse hyperbolic tangent of x."""

    compute = staticmethod(np.arctanh)


class Floor(Unary):
    """The largest integer that is at most x."""

    compute = staticmethod(np.floor)


class Ceil(Unary):
    """The smallest integer that is at least x."""

    compute = staticmethod(np.ceil)


class Round(Unary):
    """The nearest integer, the even one of two."""

    compute = staticmethod(np.round)


class Sign(Unary):
    """-1, 0 or 1, the sign of x."""

    takes = NUMBERS
    compute = staticmethod(np.sign)


class Relu(Unary):
    """max(x, 0)."""

    takes = NUMBERS
    compute = staticmethod(lambda x: np.maximum(x, 0))


class Relu6(Unary):
    """min(max(x, 0), 6)."""

    takes = NUMBERS
    compute = staticmethod(lambda x: np.minimum(np.maximum(x, 0), 6))


class Elu(Unary):
    """`x` where x > 0, else exp(x) - 1."""

    compute = staticmethod(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))))


def _selu(x: Array) -> Array:
    number = np.asarray(x).dtype.type
    below = number(1.6732632423543772) * np.expm1(np.minimum(x, number(0)))
    result: Array = number(1.0507009873554805) * np.where(x > 0, x, below)
    return result


class Selu(Unary):
    """scale · x where x > 0, else scale · alpha · (exp(x) - 1), with the constants of SELU."""

    compute = staticmethod(_selu)


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    return result.astype(np.asarray(x).dtype)


class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""

    compute = staticmethod(_sigmoid)


class Softplus(Unary):
    """The softplus log(1 + exp(x))."""

    compute = staticmethod(lambda x: np.logaddexp(x, np.asarray(x).dtype.type(0)))


def _erf(x: Array) -> Array:
    from math import erf  # noqa: PLC0415  (numpy has none; this is the reference, not the fast path)

    array = np.asarray(x)
    return (
        np.vectorize(erf, otypes=[np.float64])(array).astype(array.dtype) if array.size else array
    )


class Erf(Unary):
    """The error function of x."""

    compute = staticmethod(_erf)


class IsNan(Unary):
    """Whether x is NaN."""

    result = "bool"
    compute = staticmethod(np.isnan)


class IsInf(Unary):
    """Whether x is infinite."""

    result = "bool"
    compute = staticmethod(np.isinf)


class IsFinite(Unary):
    """Whether x is neither infinite nor NaN."""

    result = "bool"
    compute = staticmethod(np.isfinite)


class LogicalNot(Unary):
    """Whether x is false."""

    takes = ("bool",)
    result = "bool"
    compute = staticmethod(np.logical_not)


class Cast(Tensor):
    """`x` converted to the element type `to`. Floats are truncated toward zero for integers."""

    x: Tensor
    to: DType

    def infer(self) -> TensorType:
        expect(self, self.x, ("bool", *NUMBERS))
        return TensorType(self.to, self.x.extents)

    def compute(self, *operands: Any) -> Array:
        result: Array = np.asarray(operands[0]).astype(NUMPY[self.to])
        return result


class LeakyRelu(Tensor):
    """`x` where x > 0, else alpha · x."""

    x: Tensor
    alpha: float

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x = np.asarray(operands[0])
        result: Array = np.where(x > 0, x, x.dtype.type(self.alpha) * x)
        return result


class Clip(Tensor):
    """min(max(x, low), high), for floats."""

    x: Tensor
    low: float
    high: float

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x = np.asarray(operands[0])
        result: Array = np.clip(x, x.dtype.type(self.low), x.dtype.type(self.high))
        return result


class Binary(Tensor):
    """An elementwise function of two tensors of the same element type.

    A class sets `compute`, its meaning in numpy, `takes`, the supported element types, and
    `result`, the element type of the result if it differs from that of the operands.
    """

    a: Tensor
    b: Tensor
    compute: ClassVar[Callable[..., Any]]
    takes: ClassVar[tuple[DType, ...]] = NUMBERS
    result: ClassVar[DType | None] = None

    def infer(self) -> TensorType:
        expect(self, self.a, self.takes)
        expect(self, self.b, (self.a.dtype,))
        return TensorType(self.result or self.a.dtype, broadcast(self.a.extents, self.b.extents))


class Add(Binary):
    """The sum a + b."""

    compute = staticmethod(np.add)


class Sub(Binary):
    """The difference a - b."""

    compute = staticmethod(np.subtract)


class Mul(Binary):
    """The product a · b."""

    compute = staticmethod(np.multiply)


class Div(Binary):
    """The quotient a / b of floats."""

    takes = FLOATS
    compute = staticmethod(np.divide)


class DivNoNan(Binary):
    """a / b, or 0 where b is 0."""

    takes = FLOATS
    compute = staticmethod(
        lambda a, b: np.divide(
            a, b, out=np.zeros(np.broadcast(a, b).shape, np.asarray(a).dtype), where=b != 0
        )
    )


class FloorDiv(Binary):
    """⌊a / b⌋ for integers. For floats, it is `Floor` of `Div`."""

    takes = INTEGERS
    compute = staticmethod(np.floor_divide)


class Mod(Binary):
    """The remainder of floor division, with the sign of b."""

    compute = staticmethod(np.mod)


class BitwiseAnd(Binary):
    """The bits that are set in both integers."""

    compute = staticmethod(np.bitwise_and)
    takes = INTEGERS


class BitwiseOr(Binary):
    """The bits that are set in at least one of two integers."""

    compute = staticmethod(np.bitwise_or)
    takes = INTEGERS


class BitwiseXor(Binary):
    """The bits that are set in exactly one of two integers."""

    compute = staticmethod(np.bitwise_xor)
    takes = INTEGERS


class LeftShift(Binary):
    """The bits of a, shifted to the left by b. b must be in 0 … number of bits - 1."""

    compute = staticmethod(np.left_shift)
    takes = INTEGERS


class RightShift(Binary):
    """⌊a / 2^b⌋ for integers. b must be in 0 … number of bits - 1."""

    compute = staticmethod(np.right_shift)
    takes = INTEGERS


class Pow(Binary):
    """The power aᵇ."""

    compute = staticmethod(np.power)


class Maximum(Binary):
    """The larger one of a and b."""

    compute = staticmethod(np.maximum)


class Minimum(Binary):
    """The smaller one of a and b."""

    compute = staticmethod(np.minimum)


class SquaredDifference(Binary):
    """(a - b)²."""

    compute = staticmethod(lambda a, b: np.square(a - b))


class Atan2(Binary):
    """The angle of the point (b, a), in radians from -π to π."""

    takes = FLOATS
    compute = staticmethod(np.arctan2)


class Equal(Binary):
    """Whether a = b."""

    takes = ANY
    result = "bool"
    compute = staticmethod(np.equal)


class NotEqual(Binary):
    """Whether a ≠ b."""

    takes = ANY
    result = "bool"
    compute = staticmethod(np.not_equal)


class Less(Binary):
    """Whether a < b."""

    result = "bool"
    compute = staticmethod(np.less)


class LessEqual(Binary):
    """Whether a ≤ b."""

    result = "bool"
    compute = staticmethod(np.less_equal)


class Greater(Binary):
    """Whether a > b."""

    result = "bool"
    compute = staticmethod(np.greater)


class GreaterEqual(Binary):
    """Whether a ≥ b."""

    result = "bool"
    compute = staticmethod(np.greater_equal)


class LogicalAnd(Binary):
    """Whether a and b are both true."""

    takes = ("bool",)
    result = "bool"
    compute = staticmethod(np.logical_and)


class LogicalOr(Binary):
    """Whether at least one of a and b is true."""

    takes = ("bool",)
    result = "bool"
    compute = staticmethod(np.logical_or)


class Select(Tensor):
    """`a` where the bool tensor `condition` is true, else `b`; the shapes broadcast."""

    condition: Tensor
    a: Tensor
    b: Tensor

    def infer(self) -> TensorType:
        expect(self, self.condition, ("bool",))
        expect(self, self.b, (self.a.dtype,))
        extents = broadcast(self.condition.extents, self.a.extents, self.b.extents)
        return TensorType(self.a.dtype, extents)

    def compute(self, *operands: Any) -> Array:
        result: Array = np.where(*operands)
        return result


# --------------------------------------------------------------------- functions that convert types


def cast(x: Tensor, to: DType) -> Tensor:
    """`x` as the element type `to`, or `x` itself if that is its element type."""
    # some runtimes keep only the lowest bits of a number that is cast to bool
    if to == "bool" and x.dtype in NUMBERS:
        return NotEqual(x, constant(0, x.dtype))
    return x if x.dtype == to else Cast(x, to)


Kind: TypeAlias = Literal["bool", "int32", "float32"]
"""Lowest element type to which `matched` promotes."""


def matched(*values: Any, least: Kind = "bool") -> tuple[Tensor, ...]:
    """The values as tensors, promoted to one element type by `promoted`.

    With "int32" for `least`, bool becomes int32. With "float32", bool and integers become float32.

    Raises:
        ShapeError: one of the values is a string.
    """
    first = next((value for value in values if isinstance(value, Tensor)), None)
    tensors = [as_tensor(value, first) for value in values]
    if any(tensor.dtype == "string" for tensor in tensors):
        raise ShapeError("it computes with numbers, got values of dtype string")
    dtype = promoted(tensor.dtype for tensor in tensors)
    if (least == "int32" and dtype == "bool") or (least == "float32" and not is_fraction(dtype)):
        dtype = least
    return tuple(cast(tensor, dtype) for tensor in tensors)


def is_fraction(dtype: DType) -> bool:
    """Whether an element type is a float or a complex type."""
    return dtype in FLOATS or dtype == "complex64"


def floats(x: Tensor) -> Tensor:
    """`x` itself if its element type is a float, else `x` as float32."""
    return x if x.dtype in FLOATS else cast(x, "float32")


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """`a` where the condition is true, else `b`, both promoted to one element type."""
    left, right = matched(a, b)
    return Select(cast(as_tensor(condition), "bool"), left, right)


def arithmetic(op: type[Binary], least: Kind = "int32") -> Callable[[Any, Any], Tensor]:
    """A function that applies an operation to two values, after `matched` promotes them."""
    return lambda a, b: op(*matched(a, b, least=least))


add, sub, mul = arithmetic(Add), arithmetic(Sub), arithmetic(Mul)
div = arithmetic(Div, "float32")
power = arithmetic(Pow)
maximum, minimum = arithmetic(Maximum), arithmetic(Minimum)
equal, not_equal = arithmetic(Equal, "bool"), arithmetic(NotEqual, "bool")
less, less_equal = arithmetic(Less), arithmetic(LessEqual)
greater, greater_equal = arithmetic(Greater), arithmetic(GreaterEqual)


def logical_and(a: Any, b: Any) -> Tensor:
    """Whether both values are true, for each element."""
    return LogicalAnd(cast(as_tensor(a), "bool"), cast(as_tensor(b), "bool"))


def logical_or(a: Any, b: Any) -> Tensor:
    """Whether at least one of two values is true, for each element."""
    return LogicalOr(cast(as_tensor(a), "bool"), cast(as_tensor(b), "bool"))


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """min(max(x, low), high), for `x` as floats."""
    return Clip(floats(x), float(low), float(high))
