"""The table of keras.ops: calls of every operation, with their inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops as k

Array = npt.NDArray[Any]
BATCH = 3


@dataclass(frozen=True)
class Given:
    """An input: the sizes behind the batch, the dtype, and how its numbers are made."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    values: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None
    batch: int | None = None

    def numbers(self, rng: np.random.Generator) -> Array:
        shape = (self.batch or BATCH, *(5 if d is None else d for d in self.shape))
        if self.values is not None:
            made = self.values(rng, shape)
        elif self.dtype == "bool":
            made = rng.random(shape) < 0.5
        elif "int" in self.dtype:
            made = rng.integers(-5, 9, shape)
        else:
            made = rng.normal(0, 1.5, shape)
        array: Array = np.asarray(made).astype(self.dtype)
        return array


def f(*shape: int | None, **row: Any) -> Given:
    return Given(shape, **row)


def i(*shape: int | None, **row: Any) -> Given:
    return Given(shape, "int32", **row)


def b(*shape: int | None, **row: Any) -> Given:
    return Given(shape, "bool", **row)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(0.1, 4, shape)


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(-0.99, 0.99, shape)


def share(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(0.01, 0.99, shape)


def above_one(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(1.01, 4, shape)


def with_nan(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    x = rng.normal(0, 1.5, shape)
    x[rng.random(shape) < 0.3] = np.nan
    return x


def odd(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers with zeros, infinities and what is no number among them."""
    return rng.choice(np.array([-np.inf, -2.5, -1.0, -0.0, 0.0, 0.5, 3.0, np.inf, np.nan]), shape)


def plain(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.choice(np.array([-2.5, -1.5, -1.0, -0.5, 0.0, 0.5, 1.5, 2.0]), shape)


def ids(below: int, lowest: int = 0) -> Callable[[np.random.Generator, tuple[int, ...]], Array]:
    return lambda rng, shape: rng.integers(lowest, below, shape)


@dataclass(frozen=True)
class Row:
    name: str
    given: tuple[Given, ...]
    build: Callable[..., Any]
    rtol: float = 1e-4
    atol: float = 1e-5
    # Keras cannot run the node that it makes itself, so the function is called on numbers
    eager: bool = False


def row(name: str, *parts: Any, **options: Any) -> Row:
    *given, build = parts
    return Row(name, tuple(given), build, **options)


def unary(values: Any, *names: str) -> list[Row]:
    return [row(name, f(4, values=values), getattr(k, name)) for name in names]


def binary(*names: str, number: bool = True) -> list[Row]:
    """A function of two tensors, of a tensor and a number, of integers, with broadcasting."""
    return [
        made
        for name in names
        for function in [getattr(k, name)]
        for made in (
            row(f"{name}-floats", f(4, 3), f(1, 3), function),
            row(f"{name}-ints", i(4, values=ids(6, 1)), i(4, values=ids(4, 1)), function),
            row(f"{name}-mixed", i(4, values=ids(6, 1)), f(4), function),
            row(f"{name}-number", f(4), lambda x, function=function: function(x, 2)),
            row(f"{name}-fraction", i(4), lambda x, function=function: function(x, 1.5)),
        )
        if number or made.name.rpartition("-")[2] not in ("number", "fraction")
    ]


KERNEL = np.random.default_rng(7)


def weights(*shape: int) -> Array:
    return KERNEL.normal(0, 0.5, shape).astype(np.float32)


TRANSPOSED = weights(2, 3, 6, 3)

ELEMENTWISE = [
    *unary(
        None,
        "abs",
        "absolute",
        "negative",
        "square",
        "exp",
        "exp2",
        "expm1",
        "sin",
        "cos",
        "tan",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "floor",
        "ceil",
        "round",
        "sign",
        "sinc",
        "cbrt",
        "deg2rad",
        "rad2deg",
        "angle",
        "real",
        "imag",
        "conj",
        "conjugate",
        "copy",
        "trunc",
        "signbit",
        "erf",
        "logical_not",
        "isreal",
        "fabs",
        "stop_gradient",
        "nan_to_num",
        "relu",
        "relu6",
        "sigmoid",
        "sparse_sigmoid",
        "softplus",
        "softsign",
        "silu",
        "log_sigmoid",
        "leaky_relu",
        "hard_sigmoid",
        "hard_silu",
        "elu",
        "selu",
        "gelu",
        "celu",
        "hard_tanh",
        "hard_shrink",
        "tanh_shrink",
        "soft_shrink",
        "sparse_plus",
        "squareplus",
        "glu",
        "softmax",
        "log_softmax",
        "sparsemax",
        "erfc",
        "i0",
    ),
    *unary(positive, "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"),
    *unary(unit, "arcsin", "arccos", "arctanh", "erfinv"),
    *unary(above_one, "arccosh"),
    *unary(
        odd,
        "isnan",
        "isinf",
        "isfinite",
        "isposinf",
        "isneginf",
        "sign",
        "nan_to_num",
        "signbit",
        "angle",
    ),
    *unary(plain, "round", "trunc", "floor", "ceil", "sinc"),
    *[
        row(f"{name}-ints", i(4, values=ids(6, 1)), getattr(k, name))
        for name in (
            "abs",
            "negative",
            "square",
            "exp",
            "expm1",
            "sin",
            "tanh",
            "floor",
            "ceil",
            "round",
            "sign",
            "sqrt",
            "log",
            "log2",
            "log10",
            "log1p",
            "trunc",
            "isnan",
            "isfinite",
            "deg2rad",
            "cbrt",
            "logical_not",
            "relu",
            "signbit",
            "sinc",
            "fabs",
            "angle",
            "bitwise_not",
            "bitwise_invert",
            "nan_to_num",
            "reciprocal",
        )
    ],
    *[
        row(f"{name}-bools", b(4), getattr(k, name))
        for name in ("logical_not", "bitwise_not", "sqrt", "exp")
    ],
    *binary(
        "add",
        "subtract",
        "multiply",
        "divide",
        "true_divide",
        "maximum",
        "minimum",
        "mod",
        "floor_divide",
        "arctan2",
        "logaddexp",
        "logaddexp2",
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "divide_no_nan",
        "fmax",
        "fmin",
        "fmod",
        "isclose",
        "allclose",
    ),
    *binary("hypot", "heaviside", number=False),
    *[
        row(f"{name}-bools", b(4), b(4), getattr(k, name))
        for name in (
            "add",
            "multiply",
            "maximum",
            "minimum",
            "equal",
            "logical_and",
            "logical_or",
            "logical_xor",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "less",
        )
    ],
    *[
        row(f"{name}-odd", f(30, values=odd), f(30, values=odd), getattr(k, name))
        for name in ("equal", "less", "maximum", "fmax", "fmin", "isclose", "heaviside")
    ],
    row(
        "isclose-equal_nan",
        f(30, values=odd),
        f(30, values=odd),
        lambda x, y: k.isclose(x, y, 1e-3, 1e-3, True),
    ),
    row("hypot-large", f(3, values=lambda r, s: r.uniform(1e25, 1e30, s)), lambda x: k.hypot(x, x)),
    row("power-tensors", f(4, values=positive), f(4), k.power),
    row("power-square", f(4), lambda x: x**2),
    row("power-cube", f(4), lambda x: k.power(x, 3)),
    row("power-root", f(4, values=positive), lambda x: k.power(x, 0.5)),
    row("power-base", f(4), lambda x: 2**x),
    row("power-ints", i(4), lambda x: x**2),
    row("power-ints-fraction", i(4, values=ids(5, 1)), lambda x: k.power(x, 1.5)),
    row("ldexp", f(4), i(4, values=ids(4, -3)), k.ldexp),
    row(
        "operators",
        f(4),
        f(4),
        lambda x, y: (-x + y) * 2 - x / 3 + (1 - y) // 0.7 + x % 0.9 + abs(y) + 2 / (1 + y * y),
    ),
    row("comparisons", f(4), lambda x: (x > 0) & (x < 1) | ~(x >= -1)),
    row("array", f(3), lambda x: x * np.array([[1.0], [2.0], [3.0]])),
    row("clip", f(4), lambda x: k.clip(x, -0.5, 1)),
    row("clip-ints", i(4), lambda x: k.clip(x, -2, 3)),
    row("clip-ints-fractions", i(4), lambda x: k.clip(x, -1.5, 3.5)),
    row("clip-bools", b(4), lambda x: k.clip(x, 0, 1)),
    row("round-decimals", f(4), lambda x: k.round(x, 2)),
    row("round-tens", i(4, values=ids(500, -500)), lambda x: k.round(x, -1)),
    row("nan_to_num-options", f(9, values=odd), lambda x: k.nan_to_num(x, 7.0, 100.0, -100.0)),
    row("where", b(4), f(4), f(4), k.where),
    row("where-number", f(4), lambda x: k.where(x > 0, x, 0)),
    row("where-int-float", i(4), lambda x: k.where(x > 0, x, 0.5)),
    row("where-condition-number", i(4), lambda x: k.where(x, 1.0, 2.0)),
    row("select", f(4), lambda x: k.select([x > 1, x > 0], [x * 2, x * 3], 7.0)),
    row("cast-int", f(4), lambda x: k.cast(x, "int32")),
    row("cast-float", i(4), lambda x: k.cast(x, "float32")),
    row("cast-bool", f(4, values=plain), lambda x: k.cast(x, "bool")),
    row("cast-from-bool", b(4), lambda x: k.cast(x, "int32")),
    row(
        "saturate_cast",
        f(4, values=lambda r, s: r.uniform(-4e9, 4e9, s)),
        lambda x: k.saturate_cast(x, "int32"),
    ),
    row("convert_to_tensor", f(4), k.convert_to_tensor),
    row("erfc-tail", f(50, values=lambda r, s: r.uniform(-4, 6, s)), k.erfc, atol=0.0),
    row("erfinv-tail", f(50, values=lambda r, s: 1 - r.uniform(0, 1, s) ** 8), k.erfinv),
    row("i0-large", f(50, values=lambda r, s: r.uniform(-20, 20, s)), k.i0, atol=0.0),
    row("uint8", Given((4,), "uint8", ids(256)), lambda x: k.cast(x, "float32") / 255.0),
]

ACTIVATIONS = [
    row("leaky_relu-slope", f(4), lambda x: k.leaky_relu(x, 0.3)),
    row("elu-alpha", f(4), lambda x: k.elu(x, 1.7)),
    row("celu-alpha", f(4), lambda x: k.celu(x, 1.7)),
    row("gelu-exact", f(4), lambda x: k.gelu(x, approximate=False)),
    row("glu-axis", f(4, 3), lambda x: k.glu(x, 1)),
    row("hard_shrink-threshold", f(4), lambda x: k.hard_shrink(x, 1.0)),
    row("soft_shrink-threshold", f(4), lambda x: k.soft_shrink(x, 1.0)),
    row("squareplus-b", f(4), lambda x: k.squareplus(x, 2)),
    row("threshold", f(4), lambda x: k.threshold(x, 0.3, -2.0)),
    row("softmax-axis", f(4, 3), lambda x: k.softmax(x, 1)),
    row("softmax-axes", f(4, 3), lambda x: k.softmax(x, (1, 2))),
    row("softmax-all", f(4, 3), lambda x: k.softmax(x, None)),
    row("log_softmax-axis", f(4, 3), lambda x: k.log_softmax(x, 1)),
    row("log_softmax-axes", f(4, 3), lambda x: k.log_softmax(x, (1, 2))),
    row("sparsemax-axis", f(4, 3), lambda x: k.sparsemax(x, 1)),
    row("relu-options", f(4), lambda x: keras.activations.relu(x, 0.1, 2.0, 0.5)),
]

AXES = [
    row(
        f"{name}-{axis}-{keepdims}",
        f(4, 3, batch=3),
        lambda x, n=name, a=axis, d=keepdims: getattr(k, n)(x, a, d),
    )
    for name in (
        "sum",
        "mean",
        "max",
        "min",
        "prod",
        "var",
        "std",
        "amax",
        "amin",
        "logsumexp",
        "median",
        "ptp",
    )
    for axis in (None, 1, -1, (1, 2))
    for keepdims in (False, True)
]

REDUCTION = [
    *AXES,
    *[
        row(f"{n}-bools-{a}", b(4), lambda x, n=n, a=a: getattr(k, n)(x, a))
        for n in ("any", "all", "sum", "mean", "max", "min", "prod")
        for a in (None, 1)
    ],
    *[
        row(f"{n}-ints", i(4), lambda x, n=n: getattr(k, n)(x, 1))
        for n in (
            "sum",
            "mean",
            "max",
            "min",
            "prod",
            "var",
            "std",
            "any",
            "all",
            "average",
            "ptp",
            "count_nonzero",
            "argmax",
            "argmin",
            "cumsum",
            "cumprod",
            "sort",
            "argsort",
            "nansum",
            "nanmax",
        )
    ],
    *[
        row(f"{n}-{a}", f(4, 5), lambda x, n=n, a=a: getattr(k, n)(x, a))
        for n in ("argmax", "argmin", "cumsum", "cumprod", "any", "all", "count_nonzero", "average")
        for a in (None, 1, -1)
    ],
    row("argmax-keepdims", f(4, 5), lambda x: k.argmax(x, 1, True)),
    row("argmin-keepdims", f(4, 5), lambda x: k.argmin(x, None, True)),
    row("cumsum-dtype", i(4), lambda x: k.cumsum(x, 1, "float32")),
    row("prod-dtype", i(4), lambda x: k.prod(x, 1, dtype="float32")),
    row("max-initial", f(4), lambda x: k.max(x, 1, initial=0.5)),
    row("min-initial", f(4), lambda x: k.min(x, 1, initial=0.5)),
    row("average-weights", f(4), f(4, values=positive), lambda x, w: k.average(x, 1, w)),
    row(
        "average-vector",
        f(4, 3),
        lambda x: k.average(x, 1, np.array([1.0, 2.0, 3.0, 4.0], "float32")),
    ),
    row(
        "logsumexp-infinite",
        f(3, values=lambda r, s: np.full(s, -np.inf)),
        lambda x: k.logsumexp(x, 1),
    ),
    *[
        row(f"{n}-{a}", f(4, 5, values=with_nan), lambda x, n=n, a=a: getattr(k, n)(x, a))
        for n in (
            "nansum",
            "nanprod",
            "nanmax",
            "nanmin",
            "nanmean",
            "nanvar",
            "nanstd",
            "nancumsum",
            "nancumprod",
        )
        for a in (None, 1, -1)
    ],
    *[
        row(f"{n}-{a}", f(4, 20, values=with_nan), lambda x, n=n, a=a: getattr(k, n)(x, a))
        for n in ("nanargmax", "nanargmin")
        for a in (None, -1)
    ],
    row("nanmean-none", f(4, values=lambda r, s: np.full(s, np.nan)), lambda x: k.nanmean(x, 1)),
    row("diff", f(5), k.diff),
    row("diff-twice", f(5, 4), lambda x: k.diff(x, 2, 1)),
    row("trapezoid", f(5), k.trapezoid),
    row("trapezoid-axis", f(5, 4), lambda x: k.trapezoid(x, dx=0.5, axis=1)),
    row("sort", f(6), k.sort),
    row("sort-axis", f(6, 4), lambda x: k.sort(x, 1)),
    row("argsort", f(6), k.argsort),
    row("argsort-axis", f(6, 4), lambda x: k.argsort(x, 1)),
    row("top_k", f(6), lambda x: k.top_k(x, 3)),
    row("in_top_k", i(values=ids(6)), f(6), lambda t, p: k.in_top_k(t, p, 2)),
    row("quantile", f(6), lambda x: k.quantile(x, 0.3, (1,))),
    row("quantile-list", f(6, 4), lambda x: k.quantile(x, [0.1, 0.75], (1, 2))),
    *[
        row(
            f"percentile-{m}",
            f(6),
            lambda x, m=m: k.percentile(x, [12.0, 35.0, 83.0], 1, m),
            eager=True,
        )
        for m in ("linear", "lower", "higher", "midpoint", "nearest")
    ],
    row("quantile-keepdims", f(6, 4), lambda x: k.quantile(x, [0.1, 0.75], (1,), keepdims=True)),
    row("median-odd", f(5), lambda x: k.median(x, 1)),
    row("median-nan", f(5, values=with_nan), lambda x: k.median(x, 1)),
    row("digitize", f(6, values=plain), lambda x: k.digitize(x, np.array([-1.0, 0.0, 1.5]))),
    row(
        "searchsorted",
        f(6, values=plain),
        lambda x: k.searchsorted(np.array([-1.0, 0.0, 1.5], "float32"), x),
    ),
    row(
        "searchsorted-right",
        f(6, values=plain),
        lambda x: k.searchsorted(np.array([-1.0, 0.0, 1.5], "float32"), x, side="right"),
    ),
    *[
        row(
            f"segment_{n}",
            f(4),
            lambda x, n=n: getattr(k, f"segment_{n}")(x, np.array([0, 2, 0]), 4),
        )
        for n in ("sum", "max")
    ],
    row("moments", f(4, 3), lambda x: k.moments(x, (1,))),
    row("moments-keepdims", f(4, 3), lambda x: k.moments(x, (1, 2), True)),
    *[
        row(f"norm-{o}", f(4, 3), lambda x, o=o: k.norm(x, o, 1), eager=True)
        for o in (None, 1, 2, 3, 0, np.inf, -np.inf)
        if not isinstance(o, float)
    ],
    row("norm-inf", f(4, 3), lambda x: k.norm(x, float("inf"), 1), eager=True),
    row("norm-fro", f(4, 3), lambda x: k.norm(x, "fro", (1, 2))),
    row("norm-matrix", f(4, 3), lambda x: k.norm(x, 1, (1, 2), True)),
    row("norm-all", f(4, 3), k.norm),
]

MOVEMENT = [
    row("reshape", f(4, 3), lambda x: k.reshape(x, (-1, 3, 4))),
    row("reshape-batch", f(4, 3), lambda x: k.reshape(x, (-1, 12))),
    row("reshape-flat", f(4, 3), lambda x: k.reshape(x, -1)),
    row("reshape-dynamic", f(None, 3), lambda x: k.reshape(x, (-1, 3))),
    row("transpose", f(4, 3), lambda x: k.transpose(x, (0, 2, 1))),
    row("transpose-all", f(4, 3), k.transpose),
    row("squeeze", f(1, 3, 1), lambda x: k.squeeze(x, 1)),
    row("squeeze-axes", f(1, 3, 1), lambda x: k.squeeze(x, (1, 3))),
    row("squeeze-all", f(1, 3, 1), k.squeeze),
    row("expand_dims", f(3), lambda x: k.expand_dims(x, 1)),
    row("expand_dims-last", f(3), lambda x: k.expand_dims(x, -1)),
    row("expand_dims-axes", f(3), lambda x: k.expand_dims(x, (1, 3))),
    row("swapaxes", f(4, 3), lambda x: k.swapaxes(x, 1, -1)),
    row("moveaxis", f(4, 3, 2), lambda x: k.moveaxis(x, 1, -1)),
    row("moveaxis-several", f(4, 3, 2), lambda x: k.moveaxis(x, (1, 3), (2, 1))),
    row("ravel", f(4, 3), k.ravel),
    row("broadcast_to", f(1, 3), lambda x: k.broadcast_to(x, (3, 4, 3))),
    row("flip", f(4, 3), k.flip),
    row("flip-axis", f(4, 3), lambda x: k.flip(x, 1)),
    row("fliplr", f(4, 3), k.fliplr),
    row("flipud", f(4, 3), k.flipud),
    row("roll", f(4, 3), lambda x: k.roll(x, 2, 1)),
    row("roll-back", f(4, 3), lambda x: k.roll(x, -7, 1)),
    row("roll-axes", f(4, 3), lambda x: k.roll(x, (1, 2), (1, 2))),
    *[row(f"rot90-{t}", f(4, 3), lambda x, t=t: k.rot90(x, t, (1, 2))) for t in (1, 2, 3, 4, -1)],
    row("tile", f(4, 3), lambda x: k.tile(x, (1, 2, 3))),
    row("tile-short", f(4, 3), lambda x: k.tile(x, 2)),
    row("tile-long", f(3), lambda x: k.tile(x, (2, 1, 2))),
    row("repeat", f(4, 3), lambda x: k.repeat(x, 2, 1)),
    row("repeat-flat", f(4, 3), lambda x: k.repeat(x, 2)),
    row("concatenate", f(4), f(2), lambda x, y: k.concatenate([x, y], -1)),
    row("concatenate-rows", f(4), f(4), lambda x, y: k.concatenate([x, y])),
    row("concatenate-mixed", i(4), f(2), lambda x, y: k.concatenate([x, y], 1)),
    row("stack", f(4), f(4), lambda x, y: k.stack([x, y], 1)),
    row("stack-last", f(4), f(4), lambda x, y: k.stack([x, y], -1)),
    row("hstack", f(4), f(2), lambda x, y: k.hstack([x, y])),
    row("vstack", f(4), f(4), lambda x, y: k.vstack([x, y])),
    row("dstack", f(4), f(4), lambda x, y: k.dstack([x, y])),
    row("dstack-deep", f(4, 2), f(4, 3), lambda x, y: k.dstack([x, y])),
    row("append", f(4), f(2), lambda x, y: k.append(x, y, 1)),
    row("append-flat", f(4), f(2), k.append),
    row("split", f(6), lambda x: k.split(x, 3, 1)),
    row("split-places", f(6, 2), lambda x: k.split(x, [1, 4], 1)),
    row("split-dynamic", f(None, 2), lambda x: k.split(x, [1, 4], 1)),
    row("array_split", f(7), lambda x: k.array_split(x, 3, 1)),
    row("hsplit", f(6), lambda x: k.hsplit(x, 3)),
    row("dsplit", f(4, 6), lambda x: k.dsplit(x, [2, 3])),
    row("unstack", f(3, 2), lambda x: k.unstack(x, axis=1)),
    row("unstack-num", f(3, 2), lambda x: k.unstack(x, 2, -1)),
    row("meshgrid", f(batch=4), f(batch=3), k.meshgrid),
    row("meshgrid-ij", f(batch=4), f(batch=3), lambda x, y: k.meshgrid(x, y, indexing="ij")),
    row("slice", f(4, 5), lambda x: k.slice(x[:3, :], [0, 1, 2], [3, 2, 3])),
    row(
        "slice_update",
        f(4, 5),
        lambda x: k.slice_update(x, [0, 1, 2], np.ones((3, 2, 2), "float32")),
    ),
    row("getitem-slices", f(6, 5), lambda x: x[:, 1:4, ::2]),
    row("getitem-negative", f(6, 5), lambda x: x[:, -4:-1, -1:]),
    row("getitem-backwards", f(6, 5), lambda x: x[:, ::-1, 4:1:-2]),
    row("getitem-int", f(6, 5), lambda x: x[:, 2]),
    row("getitem-last", f(6, 5), lambda x: x[:, -1]),
    row("getitem-batch", f(6, 5), lambda x: x[0]),
    row("getitem-ellipsis", f(6, 5), lambda x: x[..., -1]),
    row("getitem-ellipsis-newaxis", f(6, 5), lambda x: x[..., None, 1:3]),
    row("getitem-newaxis", f(6, 5), lambda x: x[:, None, 2, None]),
    row("getitem-dynamic", f(None, 5), lambda x: x[:, -1]),
    row("getitem-dynamic-slices", f(None, 5), lambda x: x[:, 1:-1, 1]),
    row("getitem-dynamic-from-the-end", f(None, 5), lambda x: x[:, -3:]),
    row("take", f(6, 5), lambda x: k.take(x, [2, 0, -1], 1)),
    row("take-flat", f(6, 5), lambda x: k.take(x, [2, 0, -1])),
    row("take-tensor", f(6, 5), i(2, values=ids(6, -6)), lambda x, at: k.take(x, at, 1)),
    row(
        "take-table",
        i(4, values=ids(6)),
        lambda at: k.take(np.arange(12, dtype="float32").reshape(6, 2), at, 0),
    ),
    row(
        "take_along_axis",
        f(6, 5),
        i(2, 5, values=ids(6, -6)),
        lambda x, at: k.take_along_axis(x, at, 1),
    ),
    row(
        "take_along_axis-last",
        f(6, 5),
        i(6, 2, values=ids(5)),
        lambda x, at: k.take_along_axis(x, at, -1),
    ),
    row("take_along_axis-flat", f(6, 5), i(values=ids(5)), k.take_along_axis),
    row("unravel_index", i(values=ids(24)), lambda x: k.unravel_index(x, (4, 3, 2))),
    row("isin", i(5), lambda x: k.isin(x, [1, 3, 5])),
    row("isin-invert", i(5), lambda x: k.isin(x, [1, 3, 5], invert=True)),
    row("diagonal", f(4, 5), lambda x: k.diagonal(x, 1, 1, 2)),
    row("diagonal-below", f(4, 5), lambda x: k.diagonal(x, -2, 1, 2)),
    row("trace", f(4, 4), lambda x: k.trace(x, 0, 1, 2)),
    row("diag", f(5), lambda x: k.diag(k.sum(x, 0), 1)),
    row("diag-of", f(5), lambda x: k.diag(k.matmul(k.transpose(x), x), -1)),
    row("diagflat", f(5), lambda x: k.diagflat(x[0], -1)),
    row("tril", f(4, 5), lambda x: k.tril(x, 1)),
    row("triu", f(4, 5), lambda x: k.triu(x, -1)),
    row("tril-dynamic", f(None, 5), k.tril),
    row("pad", f(4, 3), lambda x: k.pad(x, [[0, 0], [1, 2], [0, 1]])),
    row("pad-value", f(4, 3), lambda x: k.pad(x, [[0, 0], [1, 2], [0, 1]], constant_values=7)),
    row("pad-one", f(4, 3), lambda x: k.pad(x, 1)),
    row("pad-bools", b(4), lambda x: k.pad(x, [[0, 0], [1, 2]])),
    *[
        row(f"pad-{m}", f(4, 5), lambda x, m=m: k.pad(x, [[0, 0], [1, 2], [2, 1]], mode=m))
        for m in ("reflect", "symmetric", "edge", "wrap")
    ],
    row("zeros_like", f(4), k.zeros_like),
    row("ones_like", f(4), lambda x: k.ones_like(x, "int32")),
    row("full_like", f(4), lambda x: k.full_like(x, 3)),
    row("full", f(4), lambda x: k.full((2, 3), k.sum(x))),
    row("linspace", f(), f(), lambda x, y: k.linspace(x, y, 7)),
    row("linspace-axis", f(2), lambda x: k.linspace(x, 5.0, 7, False, axis=-1)),
    row("logspace", f(), lambda x: k.logspace(x, 1.0, 5)),
    row("geomspace", f(values=positive), lambda x: k.geomspace(x, 9.0, 5)),
    row("ndim", f(4, 3), k.ndim),
    row("size", f(4, 3), k.size),
    row("vander", f(), lambda x: k.vander(x, 4)),
    row("vander-increasing", f(), lambda x: k.vander(x, 4, True)),
    row("rearrange", f(4, 6, batch=3), lambda x: k.rearrange(x, "b t c -> b c t")),
    row(
        "rearrange-split",
        f(4, 6, 3, batch=3),
        lambda x: k.rearrange(x, "b (h p) (w q) c -> b h w (p q c)", p=2, q=3),
    ),
    row("rearrange-batch", f(4, 6, batch=3), lambda x: k.rearrange(x, "b t c -> (b t) c")),
    row("extract_sequences", f(9), lambda x: k.extract_sequences(x, 4, 2)),
    row("fake_quant", f(5), lambda x: keras.quantizers.fake_quant_with_min_max_vars(x, -2.0, 3.0)),
    row(
        "fake_quant-channels",
        f(3),
        lambda x: keras.quantizers.fake_quant_with_min_max_vars(
            x,
            np.array([-2.0, -1.0, -3.0], "float32"),
            np.array([1.0, 2.0, 3.0], "float32"),
            4,
            True,
            1,
        ),
    ),
]

PRODUCTS = [
    row("matmul", f(4, 5), f(5, 3), k.matmul),
    row("matmul-constant", f(4, 5), lambda x: k.matmul(x, weights(5, 2))),
    row("matmul-operator", f(4, 5), lambda x: x @ weights(5, 2)),
    row("matmul-vector", f(4, 5), lambda x: k.matmul(x, weights(5))),
    row("matmul-vector-left", f(5, 3), lambda x: k.matmul(weights(5), x)),
    row("matmul-ints", i(4, 5), i(5, 3), k.matmul),
    row("dot", f(4, 5), lambda x: k.dot(x, weights(5, 2))),
    row("dot-deep", f(4, 5), lambda x: k.dot(x, weights(2, 5, 3))),
    row("inner", f(5), lambda x: k.inner(x, weights(2, 5))),
    row("vdot", f(5), f(5), k.vdot),
    row("outer", f(2), f(3), k.outer),
    row("tensordot", f(4, 5), lambda x: k.tensordot(x, weights(5, 2), 1)),
    row("tensordot-axes", f(4, 5), lambda x: k.tensordot(x, weights(5, 2, 4), [[1, 2], [2, 0]])),
    row("einsum", f(4, 5), f(5, 3), lambda x, y: k.einsum("bij,bjk->bik", x, y)),
    row("einsum-constant", f(4, 5), lambda x: k.einsum("abc,cde->abde", x, weights(5, 2, 3))),
    row("einsum-ellipsis", f(4, 5), lambda x: k.einsum("...c,cd->...d", x, weights(5, 3))),
    row("einsum-implicit", f(4, 5), f(5, 3), lambda x, y: k.einsum("bij,bjk", x, y)),
    row("einsum-transpose", f(4, 5), lambda x: k.einsum("bij->jib", x)),
    row("einsum-sum", f(4, 5), lambda x: k.einsum("bij->b", x)),
    row("einsum-trace", f(4, 4), lambda x: k.einsum("bii->b", x)),
    row("einsum-diagonal", f(4, 4), lambda x: k.einsum("bii->bi", x)),
    row(
        "einsum-three",
        f(4, 5),
        f(5, 3),
        lambda x, y: k.einsum("bij,bjk,kl->bil", x, y, weights(3, 2)),
    ),
    row("einsum-outer", f(4), f(3), lambda x, y: k.einsum("bi,bj->bij", x, y)),
    row("einsum-product", f(4), f(4), lambda x, y: k.einsum("bi,bi->bi", x, y)),
    row("einsum-capital", f(4, 5), f(5, 3), lambda x, y: k.einsum("Bij,Bjk->Bik", x, y)),
    row("einsum-one", f(1, 5), f(4, 5), lambda x, y: k.einsum("bij,bij->bi", x, y)),
    row("kron", f(2), lambda x: k.kron(x, np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))),
    row("cross", f(3), f(3), k.cross),
    row("cross-two", f(2), f(2), k.cross),
    row("cross-axis", f(3, 2), f(3, 2), lambda x, y: k.cross(x, y, axis=1)),
    row("cdist", f(4, 3), f(2, 3), k.cdist),
    row("corrcoef", f(6), k.corrcoef),
    *[
        row(
            f"correlate-{m}",
            f(7),
            lambda x, m=m: k.correlate(x[0], np.array([1.0, 2.0, -1.0], "float32"), m),
        )
        for m in ("valid", "same", "full")
    ],
]

NN = [
    row("conv1d", f(9, 4), lambda x: k.conv(x, weights(3, 4, 5), 2, "same")),
    row("conv2d", f(7, 6, 4), lambda x: k.conv(x, weights(3, 2, 4, 5))),
    row(
        "conv2d-options",
        f(9, 8, 4),
        lambda x: k.conv(x, weights(3, 2, 4, 5), 1, "same", dilation_rate=2),
    ),
    row(
        "conv2d-tensor", f(7, 6, 4), f(2, 4, 5, batch=3), lambda x, y: k.conv(x, y, padding="same")
    ),
    row("conv3d", f(5, 6, 4, 2), lambda x: k.conv(x, weights(2, 3, 2, 2, 3))),
    row(
        "conv-channels_first",
        f(4, 7, 6),
        lambda x: k.conv(x, weights(3, 2, 4, 5), data_format="channels_first"),
    ),
    row(
        "depthwise_conv", f(7, 6, 3), lambda x: k.depthwise_conv(x, weights(3, 2, 3, 2), 1, "same")
    ),
    row("depthwise_conv1d", f(7, 3), lambda x: k.depthwise_conv(x, weights(3, 3, 2), 2)),
    row(
        "separable_conv",
        f(7, 6, 3),
        lambda x: k.separable_conv(x, weights(3, 2, 3, 2), weights(1, 1, 6, 4)),
    ),
    row(
        "conv_transpose",
        f(5, 4, 3),
        lambda x: k.conv_transpose(x, TRANSPOSED, 2, "same"),
        eager=True,
    ),
    row(
        "conv_transpose-valid", f(5, 3), lambda x: k.conv_transpose(x, TRANSPOSED[0], 2), eager=True
    ),
    row("max_pool", f(7, 6, 3), lambda x: k.max_pool(x, 2, 2)),
    row("max_pool-options", f(7, 6, 3), lambda x: k.max_pool(x, (3, 2), (2, 1), "same")),
    row("max_pool1d", f(7, 3), lambda x: k.max_pool(x, 2, 1)),
    row("average_pool", f(7, 6, 3), lambda x: k.average_pool(x, 3, 2, "same")),
    row(
        "average_pool-channels_first",
        f(3, 7, 6),
        lambda x: k.average_pool(x, (2, 2), (2, 2), data_format="channels_first"),
    ),
    row("adaptive_max_pool", f(7, 6, 3), lambda x: k.adaptive_max_pool(x, (4, 5))),
    row("adaptive_average_pool", f(7, 6, 3), lambda x: k.adaptive_average_pool(x, (3, 4))),
    row("depth_to_space", f(3, 4, 8), lambda x: k.depth_to_space(x, 2)),
    row("depth_to_space-first", f(8, 3, 4), lambda x: k.depth_to_space(x, 2, "channels_first")),
    row("space_to_depth", f(4, 6, 3), lambda x: k.space_to_depth(x, 2)),
    row("space_to_depth-first", f(3, 4, 6), lambda x: k.space_to_depth(x, 2, "channels_first")),
    row("unfold", f(2, 6, 5), lambda x: k.unfold(x, (2, 3))),
    row("unfold-options", f(2, 7, 6), lambda x: k.unfold(x, 2, dilation=2, padding=1, stride=2)),
    row("fold", f(12, 15), lambda x: k.fold(x, (6, 5), (2, 3), 1, 0, 1)),
    row("fold-options", f(8, 12), lambda x: k.fold(x, (7, 6), 2, dilation=2, padding=1, stride=2)),
    row(
        "batch_norm",
        f(4, 3),
        lambda x: k.batch_normalization(
            x, weights(3), np.abs(weights(3)) + 1, -1, weights(3), weights(3), 1e-3
        ),
    ),
    row(
        "batch_norm-axis",
        f(4, 3),
        lambda x: k.batch_normalization(x, weights(4), np.abs(weights(4)) + 1, 1),
    ),
    row("layer_norm", f(4, 3), lambda x: k.layer_normalization(x, weights(3), weights(3))),
    row(
        "layer_norm-axes",
        f(4, 3),
        lambda x: k.layer_normalization(x, weights(4, 3), None, axis=(1, 2), epsilon=1e-3),
    ),
    row(
        "layer_norm-axis",
        f(4, 3),
        lambda x: k.layer_normalization(x, weights(4), weights(4), axis=1),
    ),
    row("rms_norm", f(4, 3), lambda x: k.rms_normalization(x, weights(3))),
    row("rms_norm-axis", f(4, 3), lambda x: k.rms_normalization(x, axis=(1, 2), epsilon=1e-2)),
    row("normalize", f(4, 3), k.normalize),
    row("normalize-axis", f(4, 3), lambda x: k.normalize(x, 1, 3)),
    row("normalize-first", f(4, 3), lambda x: k.normalize(x, 1, 1)),
    row("one_hot", i(4, values=ids(6, -1)), lambda x: k.one_hot(x, 5)),
    row("one_hot-axis", i(4, values=ids(6, -1)), lambda x: k.one_hot(x, 5, 1, "int32")),
    row("multi_hot", i(4, values=ids(6)), lambda x: k.multi_hot(x, 6)),
    row(
        "attention",
        f(5, 2, 4),
        f(6, 2, 4),
        f(6, 2, 3),
        lambda q, key, v: k.dot_product_attention(q, key, key),
    ),
    row(
        "attention-causal",
        f(5, 2, 4),
        f(5, 2, 4),
        lambda q, v: k.dot_product_attention(q, v, v, is_causal=True),
    ),
    row(
        "attention-mask",
        f(5, 2, 4),
        f(6, 2, 4),
        b(1, 5, 6),
        lambda q, v, m: k.dot_product_attention(q, v, v, mask=m, scale=0.3),
    ),
    row(
        "attention-bias",
        f(5, 2, 4),
        f(6, 2, 4),
        f(2, 5, 6),
        lambda q, v, bias: k.dot_product_attention(q, v, v, bias=bias),
    ),
    row("attention-groups", f(5, 4, 4), f(6, 2, 4), lambda q, v: k.dot_product_attention(q, v, v)),
    row(
        "attention-dynamic",
        f(None, 2, 4),
        lambda q: k.dot_product_attention(q, q, q, is_causal=True),
    ),
    row(
        "categorical_crossentropy",
        f(4, values=share),
        f(4, values=share),
        k.categorical_crossentropy,
    ),
    row(
        "categorical_crossentropy-logits",
        f(4),
        f(4),
        lambda t, o: k.categorical_crossentropy(t, o, from_logits=True),
    ),
    row(
        "sparse_categorical_crossentropy",
        i(1, values=ids(4)),
        f(4, values=share),
        k.sparse_categorical_crossentropy,
    ),
    row("binary_crossentropy", f(4, values=share), f(4, values=share), k.binary_crossentropy),
    row(
        "binary_crossentropy-logits",
        f(4, values=share),
        f(4),
        lambda t, o: k.binary_crossentropy(t, o, from_logits=True),
    ),
    row("psnr", f(4, values=share), f(4, values=share), lambda x, y: k.psnr(x, y, 1.0)),
]

IMAGE = [
    *[
        row(f"resize-{m}-{s}", f(7, 6, 3), lambda x, m=m, s=s: k.image.resize(x, s, m))
        for m in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
        for s in ((14, 12), (3, 4), (7, 9))
    ],
    *[
        row(
            f"resize-antialias-{m}",
            f(9, 8, 3),
            lambda x, m=m: k.image.resize(x, (4, 12), m, antialias=True),
        )
        for m in ("bilinear", "bicubic", "lanczos3")
    ],
    row("resize-crop", f(9, 6, 3), lambda x: k.image.resize(x, (4, 4), crop_to_aspect_ratio=True)),
    row(
        "resize-pad",
        f(9, 6, 3),
        lambda x: k.image.resize(x, (4, 4), pad_to_aspect_ratio=True, fill_value=2.0),
    ),
    row(
        "resize-first",
        f(3, 9, 6),
        lambda x: k.image.resize(x, (4, 4), "bicubic", data_format="channels_first"),
    ),
    row("resize-dynamic", f(None, None, 3), lambda x: k.image.resize(x, (4, 7))),
    row("resize-ints", i(7, 6, 3), lambda x: k.image.resize(x, (4, 7), "nearest")),
    row("rgb_to_grayscale", f(5, 4, 3), k.image.rgb_to_grayscale),
    row(
        "rgb_to_grayscale-first",
        f(3, 5, 4),
        lambda x: k.image.rgb_to_grayscale(x, "channels_first"),
    ),
    row("rgb_to_hsv", f(5, 4, 3, values=share), k.image.rgb_to_hsv),
    row(
        "rgb_to_hsv-gray", f(5, 4, 3, values=lambda r, s: np.round(r.random(s))), k.image.rgb_to_hsv
    ),
    row("hsv_to_rgb", f(5, 4, 3, values=share), k.image.hsv_to_rgb),
    row("pad_images", f(5, 4, 3), lambda x: k.image.pad_images(x, 1, 2, 3, 0)),
    row(
        "pad_images-target",
        f(5, 4, 3),
        lambda x: k.image.pad_images(x, 1, 2, target_height=9, target_width=8),
    ),
    row("crop_images", f(5, 4, 3), lambda x: k.image.crop_images(x, 1, 0, 1, 2)),
    row(
        "crop_images-target",
        f(5, 4, 3),
        lambda x: k.image.crop_images(x, 1, 2, target_height=3, target_width=2),
    ),
    row("extract_patches", f(8, 6, 3), lambda x: k.image.extract_patches(x, 2)),
    row(
        "extract_patches-options",
        f(8, 6, 3),
        lambda x: k.image.extract_patches(x, (3, 2), 1, 2, "same"),
    ),
    row("gaussian_blur", f(8, 6, 3), lambda x: k.image.gaussian_blur(x, (3, 5), (1.0, 2.0))),
    row("ssim", f(13, 12, 3, values=share), f(13, 12, 3, values=share), k.image.ssim),
    row(
        "scale_and_translate",
        f(7, 6, 3),
        lambda x: k.image.scale_and_translate(
            x,
            (3, 9, 5, 3),
            np.array([1.5, 0.7], "float32"),
            np.array([-0.5, 1.0], "float32"),
            (1, 2),
            "cubic",
        ),
    ),
]

ROWS = [*ELEMENTWISE, *ACTIVATIONS, *REDUCTION, *MOVEMENT, *PRODUCTS, *NN, *IMAGE]


def model_of(build: Callable[..., Any], given: tuple[Given, ...]) -> keras.Model:
    """A model that calls `build` on inputs."""
    inputs = [
        keras.Input(batch_shape=(each.batch, *each.shape), dtype=each.dtype, name=f"x{index}")
        for index, each in enumerate(given)
    ]
    return keras.Model(inputs, keras.tree.flatten(build(*inputs)))
