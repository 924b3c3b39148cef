"""Steps that call functions of keras.ops, in families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from random_models.draft import Draft, Role, Unsuitable, all_known, known

Step = Callable[[Draft], object]

ANY = (
    "abs", "absolute", "negative", "square", "sign", "sin", "cos", "tanh", "arctan", "arcsinh",
    "floor", "ceil", "round", "trunc", "sigmoid", "silu", "isnan", "isinf", "isfinite", "isneginf",
    "isposinf", "isreal", "erf", "erfc", "exp2", "deg2rad", "rad2deg", "sinc", "nan_to_num",
    "signbit", "cbrt", "i0", "relu", "relu6", "softplus", "softsign", "elu", "selu", "gelu", "celu",
    "leaky_relu", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink",
    "tanh_shrink", "sparse_plus", "sparse_sigmoid", "squareplus", "log_sigmoid", "threshold",
    "fabs", "real", "conj", "imag", "angle", "stop_gradient", "copy", "zeros_like", "ones_like",
    "logical_not", "exp", "expm1", "sinh", "cosh",
)  # fmt: skip
POSITIVE = ("log", "log10", "log1p", "log2", "sqrt", "rsqrt", "reciprocal", "arccosh")
UNIT = ("arcsin", "arccos", "arctanh", "erfinv", "tan")
BINARY = (
    "add", "subtract", "multiply", "divide", "true_divide", "maximum", "minimum", "arctan2",
    "hypot", "logaddexp", "logaddexp2", "mod", "floor_divide", "fmod", "fmax", "fmin", "equal",
    "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or",
    "logical_xor", "divide_no_nan", "isclose", "heaviside", "power",
)  # fmt: skip
INTEGER = (
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "gcd",
    "mod",
    "floor_divide",
    "add",
    "multiply",
)
REDUCTIONS = (
    "mean", "sum", "max", "min", "prod", "var", "std", "any", "all", "amax", "amin", "logsumexp",
    "argmax", "argmin", "median", "count_nonzero", "nanmean", "nansum", "nanmax", "nanmin",
    "nanprod", "nanvar", "nanstd", "norm", "ptp", "average", "quantile", "percentile",
)  # fmt: skip


def unary(d: Draft) -> object:
    x = d.take(kinds="fiub" if d.chance(0.3) else "f")
    name = d.choice([*ANY, *POSITIVE, *UNIT])
    if name in POSITIVE:
        x = d.ops.abs(x) + (1.2 if name == "arccosh" else 0.2)
    elif name in UNIT:
        x = d.ops.tanh(x) * 0.9
    elif name in ("exp", "expm1", "sinh", "cosh", "exp2", "i0"):
        x = d.ops.clip(x, -4, 4)
    return d.put(getattr(d.ops, name)(x))


def with_options(d: Draft) -> object:
    x = d.take()
    forms: list[Callable[[], Any]] = [
        lambda: d.ops.clip(x, -0.5, d.choice([0.4, 1.0])),
        lambda: d.ops.clip(x, x_min=-1.0, x_max=0.0),
        lambda: d.ops.leaky_relu(x, negative_slope=0.3),
        lambda: d.ops.elu(x, 0.4),
        lambda: d.ops.celu(x, alpha=2.0),
        lambda: d.ops.gelu(x, approximate=False),
        lambda: d.ops.hard_shrink(x, 0.7),
        lambda: d.ops.threshold(x, 0.2, -1.0),
        lambda: d.ops.squareplus(x, b=2),
        lambda: d.ops.round(x, 1),
        lambda: d.ops.round(x, decimals=d.choice([0, 2, -1])),
        lambda: d.ops.softmax(x, axis=1),
        lambda: d.ops.softmax(x),
        lambda: d.ops.log_softmax(x, axis=-1),
        lambda: d.ops.glu(x),
        lambda: d.ops.glu(x, 1),
        lambda: d.ops.sparsemax(x),
        lambda: d.ops.normalize(x, axis=-1, order=d.choice([1, 2, 3])),
        lambda: d.ops.nan_to_num(x, nan=1.0),
        lambda: d.ops.cast(x, d.choice(["int32", "bool", "float32", "int64"])),
        lambda: d.ops.full_like(x, 1.5),
        lambda: d.ops.full_like(x, 2, dtype="int32"),
        lambda: d.ops.isin(x, [0.0, 1.0]),
        lambda: d.ops.saturate_cast(x, "int32"),
        lambda: x**2,
        lambda: x**3,
        lambda: abs(x),
        lambda: -x,
        lambda: 1 - x,
        lambda: x / 3,
        lambda: 2 / (d.ops.abs(x) + 1),
        lambda: x // 2,
        lambda: x % 2,
        lambda: x > 0,
        lambda: d.ops.logical_not(x > 0),
        lambda: d.keras.activations.relu(x, 0.1, 2.0, 0.3),
    ]
    return d.put(d.choice(forms)())


def operand(d: Draft, x: Any) -> Any:
    """Something that can be put together with a tensor."""
    sizes = known(x)
    forms: list[Callable[[], Any]] = [
        lambda: d.like(x),
        lambda: d.like(x),
        lambda: d.choice([0.5, 2, -1.5, 3]),
        lambda: d.constant(*sizes[len(sizes) // 2 :]),
        lambda: d.constant(d.batch or 1, *sizes),
        lambda: d.constant(d.batch or 1, *(size if d.chance(0.5) else 1 for size in sizes)),
        lambda: d.input(Role(tuple(size if d.chance(0.5) else 1 for size in sizes))),
    ]
    return d.choice(forms)()


def binary(d: Draft) -> object:
    name = d.choice(BINARY)
    x = d.take(test=all_known)
    y = operand(d, x)
    if name == "power":
        x = d.ops.abs(x) + 0.2
    if name in ("divide", "true_divide", "mod", "floor_divide", "fmod"):
        positive: Any = abs(y) if isinstance(y, int | float | np.ndarray) else d.ops.abs(y)
        y = positive + 0.3
    if d.chance(0.2):
        x, y = y, x
    return d.put(d.ops.__dict__[name](x1=x, x2=y) if d.chance(0.15) else getattr(d.ops, name)(x, y))


def of_integers(d: Draft) -> object:
    x = d.take((2, 3), kinds="iub", fresh=0.5)
    y = d.choice(
        [
            lambda: d.like(x),
            lambda: d.size(1, 4),
            lambda: d.constant(x.shape[-1], dtype="int32") + 1,
        ]
    )()
    return d.put(getattr(d.ops, d.choice(INTEGER))(x, y))


def where(d: Draft) -> object:
    x = d.take(test=all_known)
    condition = d.choice(
        [
            lambda: x > 0,
            lambda: d.mask_input(*known(x)),
            lambda: d.constant(1, *known(x), dtype="bool"),
        ]
    )()
    return d.put(
        d.ops.where(condition, x, operand(d, x))
        if d.chance(0.7)
        else d.ops.where(condition, operand(d, x), x)
    )


def reduction(d: Draft) -> object:
    x = d.take(kinds="fiub" if d.chance(0.25) else "f")
    name = d.choice(REDUCTIONS)
    axes = list(range(1, len(x.shape)))
    if not axes:
        raise Unsuitable
    one = name in ("argmax", "argmin", "median", "quantile", "percentile", "average", "norm")
    axis = d.choice(axes) if one or d.chance(0.5) else tuple(sorted(d.some(axes)))
    axis = axis - len(x.shape) if isinstance(axis, int) and d.chance(0.4) else axis
    if name == "average":
        weights = d.constant(x.shape[axis]) ** 2 + 0.1 if x.shape[axis] else None
        return d.put(d.ops.average(x, axis=axis, weights=weights))
    more = {} if name == "count_nonzero" else d.options(keepdims=[True, False])
    if name in ("quantile", "percentile"):
        q = d.choice([0.3, 0.5, [0.1, 0.9]])
        q = q if name == "quantile" else 100 * np.array(q)
        more |= d.options(method=["linear", "lower", "higher", "nearest", "midpoint"])
        made = getattr(d.ops, name)(x, q, axis=axis, **more)
        return d.put(
            made if isinstance(q, float) or np.ndim(q) == 0 else d.ops.moveaxis(made, 0, -1)
        )
    if name == "norm":
        more |= d.options(ord=[1, 2, np.inf])
    return d.put(
        getattr(d.ops, name)(x, axis=axis, **more)
        if d.chance(0.7)
        else getattr(d.ops, name)(x, axis)
    )


def along(d: Draft) -> object:
    x = d.take(test=all_known)
    rank = len(x.shape)
    if rank < 2:
        raise Unsuitable
    axis = d.choice([-1, d.choice(range(1, rank))])
    forms: list[Callable[[], Any]] = [
        lambda: d.ops.cumsum(x, axis=axis),
        lambda: d.ops.cumprod(x, axis),
        lambda: d.ops.sort(x, axis=axis),
        lambda: d.ops.argsort(x, axis=axis),
        lambda: d.ops.top_k(x, d.size(1, 2)),
        lambda: d.ops.top_k(x, 1, sorted=True),
        lambda: d.ops.diff(x, n=1, axis=axis),
        lambda: d.ops.trapezoid(x, axis=axis),
        lambda: d.ops.moments(x, axes=[axis]),
        lambda: d.ops.nancumsum(x, axis=axis),
        lambda: d.ops.trapezoid(x, dx=0.5, axis=axis),
        lambda: d.ops.digitize(x, np.array([-1.0, 0.0, 1.0])),
        lambda: d.ops.flip(x, axis=axis),
        lambda: d.ops.roll(x, d.size(1, 2), axis=axis),
        lambda: d.ops.repeat(x, d.size(1, 3), axis=axis),
        lambda: d.ops.unstack(x, axis=axis),
        lambda: d.ops.expand_dims(x, axis),
        lambda: d.ops.rearrange(x, "b ... c -> b c ..."),
        lambda: d.ops.take(x, d.constant(d.size(1, 3), dtype="int32", below=2), axis=axis),
        lambda: d.ops.take(x, 0, axis=axis),
        lambda: d.ops.take_along_axis(x, d.ops.argsort(x, axis=axis), axis=axis),
        lambda: d.ops.split(x, [1], axis=axis),
        lambda: d.ops.array_split(x, 2, axis=axis),
        lambda: d.ops.split(x, x.shape[axis], axis=axis),
        lambda: d.ops.concatenate([x, d.like(x)], axis=axis),
        lambda: d.ops.concatenate([x, d.constant(d.batch or 1, *known(x))], axis=axis),
        lambda: d.ops.stack([x, d.like(x), x], axis=axis),
        lambda: d.ops.append(x, d.like(x), axis=axis),
        lambda: d.ops.swapaxes(x, 1, axis),
        lambda: d.ops.moveaxis(x, axis, 1),
        lambda: d.ops.one_hot(d.ops.cast(d.ops.clip(x, 0, 3), "int32"), 4, axis=-1),
        lambda: d.ops.one_hot(d.ops.argmax(x, axis=axis), d.size(2, 6)),
        lambda: d.ops.vander(d.ops.ravel(x)),
        lambda: d.ops.multi_hot(d.ops.cast(d.ops.clip(x, 0, 3), "int32"), 4),
        lambda: d.ops.nanargmax(x, axis=axis),
        lambda: d.ops.cross(x, d.like(x)),
        lambda: d.ops.correlate(x, d.like(x)),
    ]
    return d.put(d.choice(forms)())


def movement(d: Draft) -> object:
    x = d.take(test=all_known)
    rank, sizes = len(x.shape), known(x)
    inner = [int(axis) + 1 for axis in d.rng.permutation(rank - 1)]
    pads = [(0, 0), *((d.size(0, 2), d.size(0, 2)) for _ in sizes)]
    forms: list[Callable[[], Any]] = [
        lambda: d.ops.reshape(x, (-1, int(np.prod(sizes)))),
        lambda: d.ops.reshape(x, (-1, *reversed(sizes))),
        lambda: d.ops.transpose(x, (0, *inner)),
        lambda: d.ops.transpose(x, axes=[0, *inner]),
        lambda: d.ops.pad(x, pads),
        lambda: d.ops.pad(x, pads, constant_values=1.5),
        lambda: d.ops.pad(
            x, [(0, 0)] + [(1, 1)] * (rank - 1), d.choice(["reflect", "symmetric", "edge"])
        ),
        lambda: d.ops.tile(x, (1, *(d.size(1, 2) for _ in sizes))),
        lambda: d.ops.squeeze(x[:, :1], 1),
        lambda: d.ops.hstack([x, d.like(x)]),
        lambda: d.ops.dstack([x, d.like(x)]),
        lambda: d.ops.rot90(x, axes=(1, 2)),
        lambda: d.ops.rot90(x, k=d.size(2, 3), axes=(1, 2)),
        lambda: d.ops.diagonal(x, axis1=1, axis2=2),
        lambda: d.ops.tril(x, k=d.size(-1, 1)),
        lambda: d.ops.triu(x),
        lambda: d.ops.trace(x, axis1=1, axis2=2),
        lambda: d.ops.broadcast_to(x[:, :1], (d.batch or 3, 4, *sizes[1:])),
        lambda: d.ops.hsplit(x, 1),
        lambda: d.ops.slice(x, [0] * rank, [d.batch or 3, *(max(1, size - 1) for size in sizes)]),
        lambda: d.ops.slice_update(
            x, [0, *(0 for _ in sizes)], d.constant(1, *(max(1, n - 1) for n in sizes))
        ),
        lambda: d.ops.slice_update(x, [0] * rank, x[:, :1]),
        lambda: d.ops.flip(x, axis=inner[:1]),
        lambda: d.ops.view(x, "int32"),
        lambda: d.ops.roll(x, d.choice([1, -1]), axis=inner[0]),
        lambda: d.ops.scatter_update(x, [[0] * rank], np.array([1.0], "float32")),
    ]
    return d.put(d.choice(forms)())


def get_item(d: Draft) -> object:
    x = d.take(test=all_known)
    index: list[Any] = [slice(None)]
    for size in known(x):
        low = d.size(0, size - 1)
        index.append(
            d.choice(
                [
                    slice(None),
                    slice(low, None),
                    slice(None, low + 1),
                    slice(None, None, 2),
                    slice(-1, None),
                    low,
                    slice(None, None, -1),
                    -1,
                    slice(None),
                ]
            )
        )
    index = index[: d.size(1, len(index))]
    if d.chance(0.2):
        index.insert(d.size(1, len(index)), None)
    if d.chance(0.2):
        index.append(Ellipsis)
    return d.put(x[tuple(index)])


def product(d: Draft) -> object:
    x = d.take((2, 3, 4), test=all_known)
    last = int(x.shape[-1])
    weights = d.constant(last, d.size(1, 4))
    swap = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
    forms: list[Callable[[], Any]] = [
        lambda: d.ops.matmul(x, weights),
        lambda: x @ weights,
        lambda: d.ops.dot(x, weights),
        lambda: d.ops.tensordot(x, weights, axes=1),
        lambda: d.ops.tensordot(x, weights, axes=[[-1], [0]]),
        lambda: d.ops.einsum("...i,ij->...j", x, weights),
        lambda: d.ops.inner(x, d.constant(3, last)),
        lambda: d.ops.matmul(x, d.ops.transpose(d.like(x), swap)),
        lambda: d.ops.einsum("b...i,b...i->b...", x, d.like(x)),
        lambda: d.ops.kron(x, d.constant(2)),
        lambda: d.ops.matmul(x, d.constant(d.batch or 1, *([1] * (len(x.shape) - 3)), last, 2)),
        lambda: d.ops.einsum("bi,bj->bij", x, d.take(2)),
        lambda: d.ops.einsum("...ij,...kj->...ik", x, d.like(x)),
        lambda: d.ops.cdist(x, d.like(x)),
        lambda: d.ops.einsum("...ij,jk,...il->...lk", x, weights, x),
    ]
    return d.put(d.choice(forms)())


def nn(d: Draft) -> object:
    x = d.take(4, test=all_known)
    c = int(x.shape[-1])
    s, p = d.choice([1, 1, 2]), d.choice(["valid", "same"])
    steps = d.take(3, test=all_known)
    w = int(steps.shape[-1])
    forms: list[Callable[[], Any]] = [
        lambda: d.ops.conv(x, d.constant(2, 3, c, 2), s, p),
        lambda: d.ops.conv(steps, d.constant(2, w, 3), s, padding=p),
        lambda: d.ops.conv(x, d.constant(2, 2, c, 2), strides=1, padding=p, dilation_rate=2),
        lambda: d.ops.conv_transpose(x, d.constant(2, 3, 2, c), d.choice([1, 2, 3]), p),
        lambda: d.ops.depthwise_conv(x, d.constant(2, 2, c, 2), s, p),
        lambda: d.ops.separable_conv(x, d.constant(2, 2, c, 1), d.constant(1, 1, c, 3), s, p),
        lambda: d.ops.max_pool(x, d.choice([2, (2, 3)]), s, p),
        lambda: d.ops.average_pool(x, 2, s, p),
        lambda: d.ops.average_pool(steps, 2, strides=s, padding=p),
        lambda: d.ops.adaptive_average_pool(x, (2, 3)),
        lambda: d.ops.adaptive_max_pool(x, 2),
        lambda: d.ops.batch_normalization(
            x, d.constant(c), d.constant(c) ** 2 + 0.2, -1, offset=d.constant(c)
        ),
        lambda: d.ops.layer_normalization(x, d.constant(c), d.constant(c), axis=-1),
        lambda: d.ops.rms_normalization(x, d.constant(c), axis=-1),
        lambda: d.ops.dot_product_attention(x, x, x, **d.options(is_causal=[True], bias=[None])),
        lambda: d.ops.space_to_depth(x[:, :4, :4], 2),
        lambda: d.ops.depth_to_space(d.ops.tile(x, (1, 1, 1, 4)), 2),
        lambda: d.ops.unfold(x, d.choice([2, (2, 3)])),
        lambda: d.ops.extract_sequences(d.take(2), 2, 1),
        lambda: d.ops.categorical_crossentropy(d.ops.softmax(steps), d.ops.softmax(d.like(steps))),
        lambda: d.ops.binary_crossentropy(d.ops.sigmoid(steps), d.ops.sigmoid(d.like(steps))),
        lambda: d.ops.sparse_categorical_crossentropy(
            d.ops.argmax(steps, -1), d.ops.softmax(steps)
        ),
        lambda: d.ops.in_top_k(d.ops.argmax(d.take(2, last=4), -1), d.take(2, last=4), 2),
    ]
    return d.put(d.choice(forms)())


def image(d: Draft) -> object:
    x = d.take(4, last=3, test=all_known, kinds="fiu" if d.chance(0.15) else "f")
    _, h, w, _ = x.shape
    image = d.ops.image
    forms: list[Callable[[], Any]] = [
        lambda: image.resize(
            x,
            (d.size(2, 9), d.size(2, 9)),
            **d.options(
                interpolation=["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"],
                antialias=[True],
            ),
        ),
        lambda: image.resize(x, (d.size(2, 9), d.size(2, 9)), crop_to_aspect_ratio=True),
        lambda: image.resize(x, (d.size(2, 9), d.size(2, 9)), pad_to_aspect_ratio=True),
        lambda: image.rgb_to_grayscale(x),
        lambda: image.rgb_to_hsv(d.ops.sigmoid(x)),
        lambda: image.hsv_to_rgb(d.ops.sigmoid(x)),
        lambda: image.crop_images(x, 1, 0, target_height=2, target_width=2),
        lambda: image.pad_images(x, 1, 2, target_height=h + 3, target_width=w + 2),
        lambda: image.extract_patches(
            x, d.size(1, 3), **d.options(strides=[1, 2], padding=["same", "valid"])
        ),
        lambda: image.gaussian_blur(x, (3, 3), (1.0, 0.5)),
        lambda: image.sobel_edges(x),
        lambda: image.scale_and_translate(
            x,
            (d.batch or 3, 4, 5, 3),
            np.array([0.8, 0.9], "float32"),
            np.array([0.1, 0.2], "float32"),
            (1, 2),
            "linear",
        ),
    ]
    return d.put(d.choice(forms)())


FUNCTIONS: dict[str, Sequence[Step]] = {
    "elementwise": (unary, unary, with_options, binary, binary, where, of_integers),
    "reduction": (reduction, reduction, along),
    "movement": (movement, get_item, along),
    "products": (product, nn),
    "images": (image,),
}
