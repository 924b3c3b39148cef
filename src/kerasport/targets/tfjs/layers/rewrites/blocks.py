"""Combinations of native layers that several rewrites use."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasport.budget import matrix
from kerasport.errors import Refusal
from kerasport.frontends.keras.model import KerasTensor, LayerSpec
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext, constant, derived
from kerasport.weights import Weight


def scaled(ctx: RewriteContext, x: KerasTensor, scale: float, offset: float = 0.0) -> KerasTensor:
    """scale · x + offset"""
    return ctx.add("Rescaling", x, scale=scale, offset=offset)


def negative(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """-x"""
    return ctx.add("Rescaling", x, part="negative", scale=-1.0, offset=0.0)


def difference(ctx: RewriteContext, a: KerasTensor, b: KerasTensor) -> KerasTensor:
    """a - b = a + (-b), bit for bit."""
    return ctx.add("Add", a, negative(ctx, b))


def relu(ctx: RewriteContext, x: KerasTensor, max_value: float | None = None) -> KerasTensor:
    """min(max(x, 0), max_value)"""
    return ctx.add("ReLU", x, max_value=max_value, negative_slope=0.0, threshold=0.0)


def activated(ctx: RewriteContext, x: KerasTensor, activation: str) -> KerasTensor:
    """Apply a Keras activation by name."""
    return ctx.add("Activation", x, part=activation, activation=activation)


def product(ctx: RewriteContext, a: KerasTensor, b: KerasTensor) -> KerasTensor:
    """a · b, elementwise."""
    return ctx.add("Multiply", a, b)


def square(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """x²"""
    return product(ctx, x, x)


def total(sizes: Sequence[int | None]) -> int | None:
    """The product of the sizes; None if one of them is unknown."""
    return None if None in sizes else prod(size for size in sizes if size is not None)


def reshaped(ctx: RewriteContext, x: KerasTensor, target: Sequence[int | None]) -> KerasTensor:
    """Reshape the axes after the batch to `target`, of which at most one size may be unknown.

    Raises:
        Refusal: more than one size is unknown.
    """
    x = _before(ctx, x, "Reshape")
    if ctx.shape_of(x)[1:] == tuple(target):
        return x
    sizes = [-1 if size is None else size for size in target]
    if sizes.count(-1) > 1:
        reason = f"more than one size of {tuple(target)} is unknown"
        raise Refusal("", f"{reason}, but TF.js's Reshape can infer only one")
    return ctx.add("Reshape", x, target_shape=sizes)


def permuted(ctx: RewriteContext, x: KerasTensor, order: Sequence[int]) -> KerasTensor:
    """Permute the axes of x; the batch is axis 0 of `order` and stays first."""
    source, before = _before(ctx, x, "Permute"), x.call.target
    if source != x and isinstance(before, LayerSpec):
        order = [(0, *before.config["dims"])[axis] for axis in order]
    if list(order) == sorted(order):
        return source
    return ctx.add("Permute", source, dims=list(order[1:]))


def _before(ctx: RewriteContext, x: KerasTensor, class_name: str) -> KerasTensor:
    """The input of the layer that made x, if the same rewrite added it with the same class; else x.

    Two consecutive layers of the class then become one.
    """
    spec = x.call.target
    ours = (
        isinstance(spec, LayerSpec)
        and spec.class_name == class_name
        and ctx.rewriter.parents.get(spec) is ctx.spec
    )
    return x.call.tensors()[0] if ours else x


def channels_last(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """Move axis 1 of x to the end."""
    rank = len(ctx.shape_of(x))
    return permuted(ctx, x, (0, *range(2, rank), 1))


def channels_first(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """Move the last axis of x to position 1."""
    rank = len(ctx.shape_of(x))
    return permuted(ctx, x, (0, rank - 1, *range(1, rank - 1)))


LARGEST = 2**20
"""How many values a constant may have that a rewrite adds to a model."""


def small(count: int, what: str, option: str = "") -> None:
    """Check the number of values of a constant.

    Raises:
        Refusal: there are more than `LARGEST`.
    """
    if count > LARGEST:
        reason = f"{what} would need {count * 4 / 2**20:.0f} MB in a layers-model"
        raise Refusal(option, reason, "use --to tfjs-graph, which supports it")


def linear_map(
    ctx: RewriteContext, x: KerasTensor, values: npt.NDArray[Any], axis: int, part: str = "map"
) -> KerasTensor:
    """Multiply an axis of x by a constant matrix `[size, new_size]`: Σₙ x[…n…] · values[n, m]."""
    small(values.size, "a matrix")
    rank = len(ctx.shape_of(x))
    order = [other for other in range(rank) if other != axis] + [axis]
    mapped = ctx.add(
        "Dense",
        permuted(ctx, x, order),
        part=part,
        weights=(constant(values),),
        frozen=True,
        units=values.shape[1],
        use_bias=False,
        activation="linear",
    )
    return permuted(ctx, mapped, [order.index(axis) for axis in range(rank)])


def selection(size: int, places: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The one-hot matrix `[len(places), size]` that selects these places of an axis."""
    return matrix(len(places), size, lambda rows: places[rows] == np.arange(size))


def channel_affine(
    ctx: RewriteContext,
    x: KerasTensor,
    kernel: Weight | None,
    bias: Weight | None,
    part: str = "affine",
    **options: Any,
) -> KerasTensor:
    """x · kernel + bias per channel, the last axis, as a depthwise convolution of a single pixel.

    Args:
        ctx: the context of the rewrite.
        x: shape `[batch, ..., channels]`.
        kernel: shape `[channels]`; None means ones.
        bias: shape `[channels]`; None means zeros.
        part: suffix of the name of the layer.
        options: further options of the DepthwiseConv2D.
    """
    shape = ctx.shape_of(x)
    channels = shape[-1]
    if channels is None:
        raise Refusal("", "the number of channels must be fixed")
    flat = x if len(shape) == 4 else reshaped(ctx, x, (1, total(shape[1:-1]), channels))
    scale = constant([1.0] * channels) if kernel is None else kernel
    weights = [
        derived(scale, (1, 1, channels, 1), lambda values: values.reshape(1, 1, channels, 1))
    ]
    y = ctx.add(
        "DepthwiseConv2D",
        flat,
        part=part,
        weights=(*weights, *([] if bias is None else [bias])),
        kernel_size=[1, 1],
        use_bias=bias is not None,
        activation="linear",
        data_format="channels_last",
        **options,
    )
    return y if len(shape) == 4 else reshaped(ctx, y, shape[1:])


def within(
    ctx: RewriteContext, x: KerasTensor, axis: int, class_name: str, **options: Any
) -> KerasTensor:
    """Apply an image layer to one axis of x, as the width of an image."""
    shape = ctx.shape_of(x)
    image = reshaped(ctx, x, (total(shape[1:axis]), shape[axis], total(shape[axis + 1 :])))
    y = ctx.add(class_name, image, data_format="channels_last", **options)
    return reshaped(ctx, y, (*shape[1:axis], ctx.shape_of(y)[2], *shape[axis + 1 :]))


def sliced(
    ctx: RewriteContext, x: KerasTensor, start: int, end: int | None, axis: int = -1
) -> KerasTensor:
    """x[start:end] along an axis; a negative `end` counts from the end, and None is the end."""
    axis %= len(ctx.shape_of(x))
    size = ctx.shape_of(x)[axis]
    if end is None or end < 0:
        cut = -(end or 0)
    elif size is None:
        raise Refusal("", "it slices an axis whose size is not fixed")
    else:
        cut = size - end
    if axis == len(ctx.shape_of(x)) - 1:
        return slices(ctx, x, ((start, cut),))[0]
    return within(ctx, x, axis, "Cropping2D", cropping=[[0, 0], [start, cut]])


def slices(
    ctx: RewriteContext, x: KerasTensor, amounts: Sequence[tuple[int, int]]
) -> list[KerasTensor]:
    """Slices of the last axis of x; each pair of `amounts` is the size cut off at either end.

    Cropping2D with channels_first crops the last two of four axes, whatever they hold.
    """
    shape = ctx.shape_of(x)
    whole = x if len(shape) == 4 else reshaped(ctx, x, (1, total(shape[1:-1]), shape[-1]))
    cuts = [
        ctx.add("Cropping2D", whole, cropping=[[0, 0], list(pair)], data_format="channels_first")
        for pair in amounts
    ]
    if len(shape) == 4:
        return cuts
    return [reshaped(ctx, cut, (*shape[1:-1], ctx.shape_of(cut)[-1])) for cut in cuts]


def padded(ctx: RewriteContext, x: KerasTensor, axis: int, before: int, after: int) -> KerasTensor:
    """Pad x with zeros before and after along an axis; negative amounts crop."""
    if before > 0 or after > 0:
        x = within(ctx, x, axis, "ZeroPadding2D", padding=[[0, 0], [max(before, 0), max(after, 0)]])
    if before < 0 or after < 0:
        x = within(ctx, x, axis, "Cropping2D", cropping=[[0, 0], [max(-before, 0), max(-after, 0)]])
    return x


def reduced(
    ctx: RewriteContext, x: KerasTensor, axes: Sequence[int], layer: str, *, keepdims: bool
) -> KerasTensor:
    """Reduce axes of x with a layer that pools all time steps, such as GlobalMaxPooling1D."""
    shape = ctx.shape_of(x)
    kept = [axis for axis in range(1, len(shape)) if axis not in axes]
    moved = permuted(ctx, x, (0, *axes, *kept))
    steps = total([shape[axis] for axis in axes])
    channels = total([shape[axis] for axis in kept])
    series = reshaped(ctx, moved, [steps, channels])
    pooled = ctx.add(layer, series, keepdims=False, data_format="channels_last")
    if not keepdims:
        return reshaped(ctx, pooled, [shape[axis] for axis in kept])
    sizes = [1 if axis in axes else shape[axis] for axis in range(1, len(shape))]
    return reshaped(ctx, pooled, sizes)


def repeated(ctx: RewriteContext, x: KerasTensor, axis: int, times: int) -> KerasTensor:
    """Repeat each element along an axis, as UpSampling along a new axis after it."""
    if times == 1:
        return x
    shape = ctx.shape_of(x)
    image = reshaped(ctx, x, (total(shape[1 : axis + 1]), 1, total(shape[axis + 1 :])))
    y = ctx.add(
        "UpSampling2D", image, size=[1, times], interpolation="nearest", data_format="channels_last"
    )
    return reshaped(ctx, y, (*shape[1:axis], total((shape[axis], times)), *shape[axis + 1 :]))


def then_activated(ctx: RewriteContext, y: KerasTensor) -> KerasTensor:
    """Apply the activation of the rewritten layer to y."""
    name = getattr(ctx.layer, "activation", "linear")
    return y if name in (None, "linear") else ctx.add("Activation", y, activation=name)


def between_permutes(ctx: RewriteContext) -> KerasTensor:
    """Run a channels_first layer as channels_last between two Permutes.

    The activation follows the second Permute, since softmax and the like use the last axis of the
    original layout.
    """
    linear: dict[str, Any] = {"activation": "linear"} if hasattr(ctx.layer, "activation") else {}
    y = ctx.again(
        channels_last(ctx, ctx.x), part="channels_last", data_format="channels_last", **linear
    )
    return then_activated(ctx, channels_first(ctx, y))
