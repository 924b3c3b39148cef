"""Operations element by element, with broadcasting as in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Unary(Tensor):
    """A function of one tensor; of the same element type, unless `result` says otherwise."""

    x: Tensor
    compute: ClassVar[Callable[..., Any]]
    takes: ClassVar[tuple[DType, ...]] = FLOATS
    result: ClassVar[DType | None] = None

    def infer(self) -> TensorType:
        expect(self, self.x, self.takes)
        return TensorType(self.result or self.x.dtype, self.x.extents)


class Abs(Unary):
    takes = NUMBERS
    compute = staticmethod(np.abs)


class Neg(Unary):
    takes = NUMBERS
    compute = staticmethod(np.negative)


class Exp(Unary):
    compute = staticmethod(np.exp)


class Expm1(Unary):
    compute = staticmethod(np.expm1)


class Log(Unary):
    compute = staticmethod(np.log)


class Log1p(Unary):
    compute = staticmethod(np.log1p)


class Sqrt(Unary):
    compute = staticmethod(np.sqrt)


class Rsqrt(Unary):
    compute = staticmethod(lambda x: np.reciprocal(np.sqrt(x)))


class Square(Unary):
    takes = NUMBERS
    compute = staticmethod(np.square)


class Reciprocal(Unary):
    compute = staticmethod(np.reciprocal)


class Sin(Unary):
    compute = staticmethod(np.sin)


class Cos(Unary):
    compute = staticmethod(np.cos)


class Tan(Unary):
    compute = staticmethod(np.tan)


class Asin(Unary):
    compute = staticmethod(np.arcsin)


class Acos(Unary):
    compute = staticmethod(np.arccos)


class Atan(Unary):
    compute = staticmethod(np.arctan)


class Sinh(Unary):
    compute = staticmethod(np.sinh)


class Cosh(Unary):
    compute = staticmethod(np.cosh)


class Tanh(Unary):
    compute = staticmethod(np.tanh)


class Asinh(Unary):
    compute = staticmethod(np.arcsinh)


class Acosh(Unary):
    compute = staticmethod(np.arccosh)


class Atanh(Unary):
    compute = staticmethod(np.arctanh)


class Floor(Unary):
    compute = staticmethod(np.floor)


class Ceil(Unary):
    compute = staticmethod(np.ceil)


class Round(Unary):
    """To the nearest integer, halves to the even one."""

    compute = staticmethod(np.round)


class Sign(Unary):
    takes = NUMBERS
    compute = staticmethod(np.sign)


class Relu(Unary):
    takes = NUMBERS
    compute = staticmethod(lambda x: np.maximum(x, 0))


class Relu6(Unary):
    takes = NUMBERS
    compute = staticmethod(lambda x: np.minimum(np.maximum(x, 0), 6))


class Elu(Unary):
    """x where x > 0, else exp(x) - 1."""

    compute = staticmethod(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))))


def _selu(x: Array) -> Array:
    number = np.asarray(x).dtype.type
    below = number(1.6732632423543772) * np.expm1(np.minimum(x, number(0)))
    result: Array = number(1.0507009873554805) * np.where(x > 0, x, below)
    return result


class Selu(Unary):
    compute = staticmethod(_selu)


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    return result.astype(np.asarray(x).dtype)


class Sigmoid(Unary):
    compute = staticmethod(_sigmoid)


class Softplus(Unary):
    compute = staticmethod(lambda x: np.logaddexp(x, np.asarray(x).dtype.type(0)))


def _erf(x: Array) -> Array:
    from math import erf  # noqa: PLC0415  (numpy has none; this is the reference, not the fast path)

    array = np.asarray(x)
    return (
        np.vectorize(erf, otypes=[np.float64])(array).astype(array.dtype) if array.size else array
    )


class Erf(Unary):
    compute = staticmethod(_erf)


class IsNan(Unary):
    result = "bool"
    compute = staticmethod(np.isnan)


class IsInf(Unary):
    result = "bool"
    compute = staticmethod(np.isinf)


class IsFinite(Unary):
    result = "bool"
    compute = staticmethod(np.isfinite)


class LogicalNot(Unary):
    takes = ("bool",)
    result = "bool"
    compute = staticmethod(np.logical_not)


@dataclass(frozen=True, eq=False)
class Cast(Tensor):
    """x as another element type; fractions are cut off towards zero."""

    x: Tensor
    to: DType

    def infer(self) -> TensorType:
        expect(self, self.x, ("bool", *NUMBERS))
        return TensorType(self.to, self.x.extents)

    def compute(self, *operands: Any) -> Array:
        result: Array = np.asarray(operands[0]).astype(NUMPY[self.to])
        return result


@dataclass(frozen=True, eq=False)
class LeakyRelu(Tensor):
    """x where x > 0, else alpha · x."""

    x: Tensor
    alpha: float

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x = np.asarray(operands[0])
        result: Array = np.where(x > 0, x, x.dtype.type(self.alpha) * x)
        return result


@dataclass(frozen=True, eq=False)
class Clip(Tensor):
    """x, but at least `low` and at most `high`."""

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


@dataclass(frozen=True, eq=False)
class Binary(Tensor):
    """A function of two tensors of one element type."""

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
    compute = staticmethod(np.add)


class Sub(Binary):
    compute = staticmethod(np.subtract)


class Mul(Binary):
    compute = staticmethod(np.multiply)


class Div(Binary):
    takes = FLOATS
    compute = staticmethod(np.divide)


class DivNoNan(Binary):
    """a / b, 0 where b is 0."""

    takes = FLOATS
    compute = staticmethod(
        lambda a, b: np.divide(
            a, b, out=np.zeros(np.broadcast(a, b).shape, np.asarray(a).dtype), where=b != 0
        )
    )


class FloorDiv(Binary):
    """⌊a / b⌋ of integers; TF.js makes integers of fractions here."""

    takes = INTEGERS
    compute = staticmethod(np.floor_divide)


class Mod(Binary):
    """The rest of floor division, of the sign of b."""

    compute = staticmethod(np.mod)


class BitwiseAnd(Binary):
    """Bits that are set in both integers."""

    compute = staticmethod(np.bitwise_and)
    takes = INTEGERS


class BitwiseOr(Binary):
    """Bits that are set in at least one of the integers."""

    compute = staticmethod(np.bitwise_or)
    takes = INTEGERS


class BitwiseXor(Binary):
    """Bits that are set in exactly one of the integers."""

    compute = staticmethod(np.bitwise_xor)
    takes = INTEGERS


class LeftShift(Binary):
    """a with its bits moved to the left by b, from 0 to the number of bits less one."""

    compute = staticmethod(np.left_shift)
    takes = INTEGERS


class RightShift(Binary):
    """⌊a / 2^b⌋, b being from 0 to the number of bits less one."""

    compute = staticmethod(np.right_shift)
    takes = INTEGERS


class Pow(Binary):
    compute = staticmethod(np.power)


class Maximum(Binary):
    compute = staticmethod(np.maximum)


class Minimum(Binary):
    compute = staticmethod(np.minimum)


class SquaredDifference(Binary):
    compute = staticmethod(lambda a, b: np.square(a - b))


class Atan2(Binary):
    takes = FLOATS
    compute = staticmethod(np.arctan2)


class Equal(Binary):
    takes = ANY
    result = "bool"
    compute = staticmethod(np.equal)


class NotEqual(Binary):
    takes = ANY
    result = "bool"
    compute = staticmethod(np.not_equal)


class Less(Binary):
    result = "bool"
    compute = staticmethod(np.less)


class LessEqual(Binary):
    result = "bool"
    compute = staticmethod(np.less_equal)


class Greater(Binary):
    result = "bool"
    compute = staticmethod(np.greater)


class GreaterEqual(Binary):
    result = "bool"
    compute = staticmethod(np.greater_equal)


class LogicalAnd(Binary):
    takes = ("bool",)
    result = "bool"
    compute = staticmethod(np.logical_and)


class LogicalOr(Binary):
    takes = ("bool",)
    result = "bool"
    compute = staticmethod(np.logical_or)


@dataclass(frozen=True, eq=False)
class Select(Tensor):
    """a where the condition holds, else b."""

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


# ----------------------------------------------------------------------------- functions that coerce


def cast(x: Tensor, to: DType) -> Tensor:
    """x as that element type; x itself where it is so already."""
    if to == "bool" and x.dtype in NUMBERS:
        return NotEqual(
            x, constant(0, x.dtype)
        )  # TF.js's wasm backend takes the bytes of integers for truth values
    return x if x.dtype == to else Cast(x, to)


Kind: TypeAlias = Literal["bool", "int32", "float32"]


def matched(*values: Any, least: Kind = "bool") -> tuple[Tensor, ...]:
    """The values as tensors of one element type, in which they meet by `promoted`.

    `least` names the kind of numbers that they become at least: "int32" makes int32 of bool, and
    "float32" makes float32 of bool and of integers.

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
    """Whether an element type has fractions: floats and complex numbers."""
    return dtype in FLOATS or dtype == "complex64"


def floats(x: Tensor) -> Tensor:
    """x as floats: float32 unless it is of another float type."""
    return x if x.dtype in FLOATS else cast(x, "float32")


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b."""
    left, right = matched(a, b)
    return Select(cast(as_tensor(condition), "bool"), left, right)


def arithmetic(op: type[Binary], least: Kind = "int32") -> Callable[[Any, Any], Tensor]:
    """The operation on anything that makes a tensor."""
    return lambda a, b: op(*matched(a, b, least=least))


add, sub, mul = arithmetic(Add), arithmetic(Sub), arithmetic(Mul)
div = arithmetic(Div, "float32")
power = arithmetic(Pow)
maximum, minimum = arithmetic(Maximum), arithmetic(Minimum)
equal, not_equal = arithmetic(Equal, "bool"), arithmetic(NotEqual, "bool")
less, less_equal = arithmetic(Less), arithmetic(LessEqual)
greater, greater_equal = arithmetic(Greater), arithmetic(GreaterEqual)


def logical_and(a: Any, b: Any) -> Tensor:
    """Whether both hold."""
    return LogicalAnd(cast(as_tensor(a), "bool"), cast(as_tensor(b), "bool"))


def logical_or(a: Any, b: Any) -> Tensor:
    """Whether one of them holds."""
    return LogicalOr(cast(as_tensor(a), "bool"), cast(as_tensor(b), "bool"))


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """x as floats, but at least `low` and at most `high`."""
    return Clip(floats(x), float(low), float(high))
