"""Elementwise functions.

Operands [...] broadcast to the shape of the result. Arithmetic has the promoted dtype of the
operands, functions of floats return float32, and predicates return bool, unless noted otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.keras.functions.arguments import filled, named
from kerasport.ir import ops
from kerasport.ir.dtypes import FLOATS, INTEGERS, NUMPY, DType
from kerasport.ir.ops import Tensor, Unary, where
from kerasport.ir.tensor import as_tensor, constant

LARGEST = 3.4028234663852886e38  # the largest float32


def float_unary(op: type[Unary]) -> Callable[[Tensor], Tensor]:
    """Return a lowering that applies `op` to floats [...].

    Tensors of other dtypes are cast to float32 first.
    """
    return lambda x: op(ops.floats(x))


def numeric_unary(op: type[Unary]) -> Callable[[Tensor], Tensor]:
    """Return a lowering that applies `op` to numbers [...] and keeps their dtype.

    A bool tensor is returned unchanged.
    """
    return lambda x: x if x.dtype == "bool" else op(x)


def float_predicate(op: type[Unary]) -> Callable[[Tensor], Tensor]:
    """Return a lowering that applies a predicate of floats: float32 [...] to bool [...]."""
    return lambda x: op(ops.floats(x))


def polynomial(x: Tensor, *coefficients: float) -> Tensor:
    """Evaluate a polynomial at x, with the coefficient of the highest power first."""
    first, *rest = coefficients
    y: Tensor = constant(first, "float32")
    for coefficient in rest:
        y = y * x + coefficient
    return y


def unchanged(x: Tensor) -> Tensor:
    """Return x."""
    return x


# --------------------------------------------------------------------------------------- arithmetic


def both_bool(a: Any, b: Any) -> bool:
    """Whether both operands are bool, for which Keras uses logical operations."""
    return as_tensor(a).dtype == as_tensor(b).dtype == "bool"


def add(x1: Any, x2: Any) -> Tensor:
    """x1 + x2; the logical or of two bool operands."""
    return ops.logical_or(x1, x2) if both_bool(x1, x2) else ops.add(x1, x2)


def multiply(x1: Any, x2: Any) -> Tensor:
    """x1 · x2; the logical and of two bool operands."""
    return ops.logical_and(x1, x2) if both_bool(x1, x2) else ops.mul(x1, x2)


def subtract(x1: Any, x2: Any) -> Tensor:
    """x1 - x2."""
    return ops.sub(x1, x2)


def divide(x1: Any, x2: Any) -> Tensor:
    """x1 / x2 as a float, also for integers."""
    return ops.div(x1, divisor(x2))


def divisor(x: Any) -> Any:
    """Return x if division by it is supported.

    Raises:
        Refusal: x is bool, so that it contains zeros.
    """
    if isinstance(x, Tensor) and x.dtype == "bool":
        raise Refusal(
            "",
            "the Keras backends compute different results for a division by False",
            "cast it to float32 first",
        )
    return x


def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """x1 / x2, and 0 where x2 is 0."""
    return ops.DivNoNan(*ops.matched(x1, x2, least="float32"))


def floor_divide(x1: Any, x2: Any) -> Tensor:
    """⌊x1 / x2⌋, in the promoted dtype."""
    a, b = ops.matched(x1, divisor(x2), least="int32")
    return ops.FloorDiv(a, b) if a.dtype in INTEGERS else ops.Floor(a / b)


def mod(x1: Any, x2: Any) -> Tensor:
    """The remainder of floor division, with the sign of x2."""
    return ops.Mod(*ops.matched(x1, divisor(x2), least="int32"))


def fmod(x1: Any, x2: Any) -> Tensor:
    """The remainder of division rounded toward zero, with the sign of x1."""
    a, b = ops.matched(x1, divisor(x2), least="int32")
    return ops.Sign(a) * ops.Mod(ops.Abs(a), ops.Abs(b))


def power(x1: Any, x2: Any) -> Tensor:
    """x1 to the power of x2."""
    if isinstance(x2, int | float) and x2 == 2 and isinstance(x1, Tensor) and x1.dtype != "bool":
        return ops.Square(x1 if isinstance(x2, int) else ops.floats(x1))
    return ops.power(x1, x2)


def maximum(x1: Any, x2: Any) -> Tensor:
    """The larger element of x1 and x2."""
    return ops.logical_or(x1, x2) if both_bool(x1, x2) else ops.maximum(x1, x2)


def minimum(x1: Any, x2: Any) -> Tensor:
    """The smaller element of x1 and x2."""
    return ops.logical_and(x1, x2) if both_bool(x1, x2) else ops.minimum(x1, x2)


def fmax(x1: Any, x2: Any) -> Tensor:
    """The larger element of x1 and x2; if one of them is NaN, the other one."""
    if both_bool(x1, x2):
        return ops.logical_or(x1, x2)
    a, b = ops.matched(x1, x2, least="int32")
    if a.dtype != "float32":
        return ops.Maximum(a, b)
    return where(ops.IsNan(a), b, where(ops.IsNan(b), a, ops.Maximum(a, b)))


def fmin(x1: Any, x2: Any) -> Tensor:
    """The smaller element of x1 and x2; if one of them is NaN, the other one."""
    if both_bool(x1, x2):
        return ops.logical_and(x1, x2)
    a, b = ops.matched(x1, x2, least="int32")
    if a.dtype != "float32":
        return ops.Minimum(a, b)
    return where(ops.IsNan(a), b, where(ops.IsNan(b), a, ops.Minimum(a, b)))


def arctan2(x1: Any, x2: Any) -> Tensor:
    """The angle of the point (x2, x1) in radians."""
    return ops.Atan2(*ops.matched(x1, x2, least="float32"))


def hypot(x1: Any, x2: Any) -> Tensor:
    """√(x1² + x2²), scaled so that the squares do not overflow."""
    a, b = (ops.Abs(x) for x in ops.matched(x1, x2, least="float32"))
    large = ops.Maximum(a, b)
    share = ops.Minimum(a, b) / where(ops.greater(large, 0.0), large, 1.0)
    return large * ops.Sqrt(share * share + 1.0)


def logaddexp(x1: Any, x2: Any) -> Tensor:
    """log(exp(x1) + exp(x2))."""
    a, b = ops.matched(x1, x2, least="float32")
    return where(
        ops.Equal(a, b), a + math.log(2), ops.Maximum(a, b) + ops.Log1p(ops.Exp(-ops.Abs(a - b)))
    )


def logaddexp2(x1: Any, x2: Any) -> Tensor:
    """log₂(2^x1 + 2^x2)."""
    a, b = ops.matched(x1, x2, least="float32")
    return logaddexp(a * math.log(2), b * math.log(2)) * (1 / math.log(2))


def heaviside(x1: Any, x2: Any) -> Tensor:
    """The step function of x1: 0 if x1 < 0, x2 if x1 is 0, and 1 if x1 > 0."""
    a, b = ops.matched(x1, x2, least="float32")
    step = ops.floats(ops.greater(a, 0.0))
    return where(ops.IsNan(a), a, where(ops.equal(a, 0.0), b, step))


def ldexp(x1: Any, x2: Any) -> Tensor:
    """x1 · 2^x2."""
    return ops.floats(as_tensor(x1)) * exp2(as_tensor(x2))


# -------------------------------------------------------------------------- functions of one number


def negative(x: Tensor) -> Tensor:
    """-x."""
    return ops.Neg(x)


def square(x: Tensor) -> Tensor:
    """x²; int32 if x is bool."""
    return ops.cast(x, "int32") if x.dtype == "bool" else ops.Square(x)


def exp2(x: Tensor) -> Tensor:
    """2 to the power of x."""
    return ops.power(2.0, ops.floats(x))


def log2(x: Tensor) -> Tensor:
    """log₂ x."""
    return ops.Log(ops.floats(x)) * (1 / math.log(2))


def log10(x: Tensor) -> Tensor:
    """log₁₀ x."""
    return ops.Log(ops.floats(x)) * (1 / math.log(10))


def cbrt(x: Tensor) -> Tensor:
    """The cube root of x, also for negative numbers."""
    y = ops.floats(x)
    return ops.Sign(y) * ops.power(ops.Abs(y), 1 / 3)


def sinc(x: Tensor) -> Tensor:
    """Compute sin(πx) / πx, and 1 for x = 0."""
    y = ops.floats(x) * math.pi
    zero = ops.equal(y, 0.0)
    return where(zero, 1.0, ops.Sin(y) / where(zero, 1.0, y))


def trunc(x: Tensor) -> Tensor:
    """Round x toward zero."""
    return ops.Sign(x) * ops.Floor(ops.Abs(x)) if x.dtype == "float32" else x


def round_(x: Tensor, *, decimals: int = 0) -> Tensor:
    """Round x to a number of decimals; halves are rounded to the even neighbor."""
    if x.dtype != "float32" and decimals >= 0:
        return x
    if decimals == 0:
        return ops.Round(x)
    factor = float(10**decimals)
    rounded = ops.Round(ops.floats(x) * factor) / factor
    return ops.cast(rounded, x.dtype)


def signbit(x: Tensor) -> Tensor:
    """Whether x is negative or -0.0: bool [...]."""
    if x.dtype != "float32":
        return ops.less(x, 0)
    return ops.logical_or(ops.less(x, 0.0), ops.less(ops.Reciprocal(x), 0.0))


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of x; NaN for NaN."""
    if x.dtype == "float32":
        return where(ops.IsNan(x), x, ops.Sign(x))
    return x if x.dtype == "bool" else ops.Sign(x)


def deg2rad(x: Tensor) -> Tensor:
    """Convert degrees to radians."""
    return ops.floats(x) * (math.pi / 180)


def rad2deg(x: Tensor) -> Tensor:
    """Convert radians to degrees."""
    return ops.floats(x) * (180 / math.pi)


def angle(x: Tensor) -> Tensor:
    """The argument of a real number as a complex number: 0 or π."""
    y = ops.floats(x)
    return where(ops.IsNan(y), y, where(signbit(y), math.pi, 0.0))


def imag(x: Tensor) -> Tensor:
    """The imaginary part of a real number: 0."""
    return filled(x, 0, x.dtype)


def clip(x: Tensor, *, x_min: Any, x_max: Any) -> Tensor:
    """Limit x to the range from `x_min` to `x_max`."""
    y: Tensor = ops.cast(x, "int32") if x.dtype == "bool" else x
    fixed = isinstance(x_min, int | float) and isinstance(x_max, int | float)
    if fixed and y.dtype == "float32":
        return ops.clip(y, x_min, x_max)
    low = y if x_min is None else ops.maximum(y, x_min)
    return low if x_max is None else ops.minimum(low, x_max)


def nan_to_num(
    x: Tensor, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN and infinities by finite numbers."""
    if x.dtype != "float32":
        return x
    y = where(ops.IsNan(x), nan, x)
    y = where(isposinf(x), LARGEST if posinf is None else posinf, y)
    return where(isneginf(x), -LARGEST if neginf is None else neginf, y)


# -------------------------------------------------------------------------------- special functions


def erfc(x: Tensor) -> Tensor:
    """1 - erf(x), by a Chebyshev approximation that is precise far from 0 as well."""
    y = ops.floats(x)
    t = 1.0 / (ops.Abs(y) * 0.5 + 1.0)
    tail = t * ops.Exp(
        polynomial(
            t, 0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806,
            0.09678418, 0.37409196, 1.00002368, -1.26551223,
        ) - y * y
    )  # fmt: skip
    return where(ops.less(y, 0.0), 2.0 - tail, tail)


def erfinv(x: Tensor) -> Tensor:
    """The inverse of erf, by Giles's polynomials in -log(1 - x²)."""
    y = ops.floats(x)
    w = -ops.Log((1.0 - y) * (1.0 + y))
    near, far = w - 2.5, ops.Sqrt(ops.maximum(w, 5.0)) - 3.0
    middle = polynomial(
        near, 2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
        -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
    )  # fmt: skip
    tail = polynomial(
        far, -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
        -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
    )  # fmt: skip
    inner = where(ops.less(w, 5.0), middle, tail) * y
    return where(ops.equal(ops.Abs(y), 1.0), y * math.inf, inner)


def i0(x: Tensor) -> Tensor:
    """The modified Bessel function of order 0.

    The polynomials are 9.8.1 and 9.8.2 of Abramowitz and Stegun.
    """
    y = ops.Abs(ops.floats(x))
    small, large = ops.minimum(y, 3.75) * (1 / 3.75), ops.maximum(y, 3.75)
    inner = polynomial(
        ops.Square(small), 0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0
    )
    outer = polynomial(
        3.75 / large, 0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565,
        0.00225319, 0.01328592, 0.39894228,
    )  # fmt: skip
    return where(ops.less(y, 3.75), inner, outer * ops.Exp(large) * ops.Rsqrt(large))


# --------------------------------------------------------------------------------------- predicates


def equal(x1: Any, x2: Any) -> Tensor:
    """Whether x1 and x2 are equal: bool [...]."""
    return ops.equal(x1, x2)


def not_equal(x1: Any, x2: Any) -> Tensor:
    """Whether x1 and x2 are different: bool [...]."""
    return ops.not_equal(x1, x2)


def less(x1: Any, x2: Any) -> Tensor:
    """x1 < x2."""
    return ops.less(x1, x2)


def less_equal(x1: Any, x2: Any) -> Tensor:
    """x1 ≤ x2."""
    return ops.less_equal(x1, x2)


def greater(x1: Any, x2: Any) -> Tensor:
    """x1 > x2."""
    return ops.greater(x1, x2)


def greater_equal(x1: Any, x2: Any) -> Tensor:
    """x1 ≥ x2."""
    return ops.greater_equal(x1, x2)


def logical_and(x1: Any, x2: Any) -> Tensor:
    """Whether both x1 and x2 are true: bool [...]."""
    return ops.logical_and(x1, x2)


def logical_or(x1: Any, x2: Any) -> Tensor:
    """Whether x1 or x2 is true: bool [...]."""
    return ops.logical_or(x1, x2)


def logical_xor(x1: Any, x2: Any) -> Tensor:
    """Whether exactly one of x1 and x2 is true: bool [...]."""
    return ops.logical_and(ops.logical_or(x1, x2), ops.LogicalNot(ops.logical_and(x1, x2)))


def logical_not(x: Tensor) -> Tensor:
    """Whether x is false: bool [...]."""
    return ops.LogicalNot(ops.cast(x, "bool"))


def isposinf(x: Tensor) -> Tensor:
    """Whether x is +∞."""
    y = ops.floats(x)
    return ops.logical_and(ops.IsInf(y), ops.greater(y, 0.0))


def isneginf(x: Tensor) -> Tensor:
    """Whether x is -∞."""
    y = ops.floats(x)
    return ops.logical_and(ops.IsInf(y), ops.less(y, 0.0))


def isreal(x: Tensor) -> Tensor:
    """Whether x is a real number: always true, bool [...]."""
    return filled(x, 1, "bool")


def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, *, equal_nan: bool = False
) -> Tensor:
    """|x1 - x2| ≤ atol + rtol · |x2|: bool [...]."""
    a, b = ops.matched(x1, x2, least="float32")
    finite = ops.logical_and(ops.IsFinite(a), ops.IsFinite(b))
    close = ops.logical_and(finite, ops.less_equal(ops.Abs(a - b), ops.Abs(b) * rtol + atol))
    result = ops.logical_or(close, ops.Equal(a, b))
    return (
        ops.logical_or(result, ops.logical_and(ops.IsNan(a), ops.IsNan(b))) if equal_nan else result
    )


def all_close(
    x1: Any, x2: Any, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether all elements of x1 and x2 are close to each other: bool []."""
    return ops.all_(isclose(x1, x2, rtol, atol, equal_nan=equal_nan))


# ------------------------------------------------------------------------------------------ choices


def where_(condition: Any, x1: Any = None, x2: Any = None) -> Tensor:
    """Select x1 where the condition is true, and x2 elsewhere.

    Raises:
        Refusal: x1 or x2 is missing.
    """
    if x1 is None or x2 is None:
        raise Refusal("", "the size of its result depends on the values of the input")
    return where(condition, x1, x2)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """Select, for each element, the choice of the first condition that is true."""
    result = as_tensor(default, next((c for c in choicelist if isinstance(c, Tensor)), None))
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = where(condition, choice, result)
    return result


def bitwise(
    function: Callable[[Any, Any], Tensor], node: type[ops.Binary]
) -> Callable[[Any, Any], Tensor]:
    """Return a lowering for a bitwise operation on integers or bool tensors.

    It uses `function` for two bool tensors, and `node` for integers.
    """

    def lower(x: Any, y: Any) -> Tensor:
        if both_bool(x, y):
            return function(x, y)
        a, b = ops.matched(x, y)
        if a.dtype not in INTEGERS:
            raise Refusal("", f"it supports integers only, not {a.dtype}")
        return node(a, b)

    return lower


def left_shift(x: Any, y: Any) -> Tensor:
    """x · 2^y without the bits that overflow: integers of the promoted dtype.

    As on JAX, the result is 0 if y is negative or at least the number of bits of x.
    """
    a, b = _shifted(x, y)
    inside = _within_bits(b)
    return where(inside, ops.LeftShift(a, where(inside, b, 0)), 0)


def right_shift(x: Any, y: Any) -> Tensor:
    """⌊x / 2^y⌋: integers of the promoted dtype.

    As on JAX, the result is 0 or -1, by the sign of x, if y is negative or at least the number of
    bits of x.
    """
    a, b = _shifted(x, y)
    return ops.RightShift(a, where(_within_bits(b), b, BITS - 1))


BITS = 32


def _within_bits(y: Tensor) -> Tensor:
    return ops.logical_and(ops.greater_equal(y, 0), ops.less(y, BITS))


def _shifted(x: Any, y: Any) -> tuple[Tensor, ...]:
    """Both operands of a shift, in their promoted dtype.

    Raises:
        Refusal: they are not integers, or y is a number for which the Keras backends differ.
    """
    a, b = ops.matched(x, y)
    if a.dtype not in INTEGERS:
        raise Refusal("", f"it supports integers only, not {a.dtype}")
    if isinstance(y, int) and not 0 <= y < BITS:
        raise Refusal("", f"the Keras backends compute different results for a shift by {y}")
    return a, b


def bitwise_not(x: Tensor) -> Tensor:
    """Invert every bit of x: -x - 1 for an integer."""
    return ops.LogicalNot(x) if x.dtype == "bool" else ops.sub(-1, x)


def cast(x: Any, *, dtype: str) -> Tensor:
    """Convert x to another dtype.

    Raises:
        Refusal: the Keras backends disagree about floats outside the range of the dtype.
    """
    y, wanted = as_tensor(x), named(dtype)
    if y.dtype in FLOATS and wanted in UNSURE:
        reason = f"the Keras backends cast floats outside the range of {wanted} differently"
        raise Refusal("dtype", reason, "cast to int32 first")
    return ops.cast(y, wanted)


UNSURE: tuple[DType, ...] = ("int8", "int16", "uint8", "uint16", "uint32", "uint64")


def saturate_cast(x: Any, *, dtype: str) -> Tensor:
    """Convert x to another dtype; numbers outside its range become its nearest limit."""
    y, wanted = as_tensor(x), named(dtype)
    if y.dtype in FLOATS and wanted in INTEGERS:
        return ops.cast(ops.clip(y, *_range(wanted)), wanted)
    if wanted in INTEGERS and y.dtype in INTEGERS:
        low, high = np.iinfo(NUMPY[wanted]), np.iinfo(NUMPY[y.dtype])
        y = ops.maximum(y, max(int(low.min), int(high.min)))
        y = ops.minimum(y, min(int(low.max), int(high.max)))
    return ops.cast(y, wanted)


def _range(dtype: DType) -> tuple[float, float]:
    """The smallest and largest float32 within the range of an integer dtype."""
    limits = np.iinfo(NUMPY[dtype])
    high = np.float32(limits.max)
    if int(high) > limits.max:
        high = np.nextafter(high, np.float32(0))
    return float(limits.min), float(high)


def convert(
    x: Any, *, dtype: str | None = None, sparse: bool | None = None, ragged: bool | None = None
) -> Tensor:
    """Return x as a tensor, converted to `dtype` if it is given.

    Raises:
        Refusal: the tensor is sparse or ragged.
    """
    if sparse or ragged:
        raise Refusal("sparse" if sparse else "ragged", "converted models have dense tensors only")
    return as_tensor(x) if dtype is None else cast(x, dtype=dtype)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Add": add, "Subtract": subtract, "Multiply": multiply, "Divide": divide, "TrueDivide": divide,
    "DivideNoNan": divide_no_nan, "FloorDivide": floor_divide, "Mod": mod, "Fmod": fmod,
    "Power": power, "Maximum": maximum, "Minimum": minimum, "Fmax": fmax, "Fmin": fmin,
    "Arctan2": arctan2, "Hypot": hypot, "Logaddexp": logaddexp, "Logaddexp2": logaddexp2,
    "Heaviside": heaviside, "Ldexp": ldexp, "Negative": negative, "Abs": numeric_unary(ops.Abs),
    "Absolute": numeric_unary(ops.Abs), "Fabs": float_unary(ops.Abs), "Square": square,
    "Sqrt": float_unary(ops.Sqrt), "Rsqrt": float_unary(ops.Rsqrt), "Cbrt": cbrt,
    "Reciprocal": float_unary(ops.Reciprocal), "Exp": float_unary(ops.Exp), "Exp2": exp2,
    "Expm1": float_unary(ops.Expm1), "Log": float_unary(ops.Log), "Log2": log2, "Log10": log10,
    "Log1p": float_unary(ops.Log1p), "Sin": float_unary(ops.Sin), "Cos": float_unary(ops.Cos),
    "Tan": float_unary(ops.Tan), "Arcsin": float_unary(ops.Asin), "Arccos": float_unary(ops.Acos),
    "Arctan": float_unary(ops.Atan), "Sinh": float_unary(ops.Sinh), "Cosh": float_unary(ops.Cosh),
    "Tanh": float_unary(ops.Tanh), "Arcsinh": float_unary(ops.Asinh),
    "Arccosh": float_unary(ops.Acosh), "Arctanh": float_unary(ops.Atanh), "Sinc": sinc,
    "Floor": float_unary(ops.Floor), "Ceil": float_unary(ops.Ceil), "Trunc": trunc, "Round": round_,
    "Sign": sign, "Signbit": signbit, "Deg2rad": deg2rad, "Rad2deg": rad2deg, "Angle": angle,
    "Real": unchanged, "Imag": imag, "Conj": unchanged, "Conjugate": unchanged, "Copy": unchanged,
    "Clip": clip, "NanToNum": nan_to_num, "Erf": float_unary(ops.Erf), "Erfc": erfc,
    "Erfinv": erfinv, "I0": i0, "Equal": equal, "NotEqual": not_equal, "Less": less,
    "LessEqual": less_equal, "Greater": greater, "GreaterEqual": greater_equal,
    "LogicalAnd": logical_and, "LogicalOr": logical_or, "LogicalXor": logical_xor,
    "LogicalNot": logical_not, "Isnan": float_predicate(ops.IsNan),
    "Isinf": float_predicate(ops.IsInf), "Isfinite": float_predicate(ops.IsFinite),
    "Isposinf": isposinf, "Isneginf": isneginf, "Isreal": isreal, "Isclose": isclose,
    "AllClose": all_close, "Where": where_, "Select": select,
    "BitwiseAnd": bitwise(logical_and, ops.BitwiseAnd),
    "BitwiseOr": bitwise(logical_or, ops.BitwiseOr),
    "BitwiseXor": bitwise(logical_xor, ops.BitwiseXor), "LeftShift": left_shift,
    "BitwiseLeftShift": left_shift, "RightShift": right_shift, "BitwiseRightShift": right_shift,
    "BitwiseNot": bitwise_not, "BitwiseInvert": bitwise_not, "Cast": cast,
    "SaturateCast": saturate_cast, "ConvertToTensor": convert, "Array": convert,
    "StopGradient": unchanged,
}  # fmt: skip
