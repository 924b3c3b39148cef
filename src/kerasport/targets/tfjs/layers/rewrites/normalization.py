"""Normalization over axes, for ranks and with statistics that TF.js lacks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasport.errors import Refusal
from kerasport.frontends.keras.layers.normalization import (
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    axes_of,
)
from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    channel_affine,
    negative,
    permuted,
    reshaped,
    sliced,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext, derived
from kerasport.weights import Weight, axis_of

ACROSS_SAMPLES = "it works across the batch, which TF.js layers cannot do"


def batch_normalization(ctx: RewriteContext) -> KerasTensor | None:
    """Move the channels to the end, merge the axes before them, normalize, and restore the axes."""
    rank = len(ctx.shape)
    axis = axis_of(ctx.layer.axis, rank)
    if not axis:
        raise Refusal("axis", ACROSS_SAMPLES)
    if axis < rank - 1:
        order = moved_last(rank, (axis,))
        return back(ctx, ctx.again(permuted(ctx, ctx.x, order), part="last", axis=-1), order)
    if rank < 5:
        return None
    flat = reshaped(ctx, ctx.x, (total(ctx.shape[1:-1]), ctx.shape[-1]))
    return reshaped(ctx, ctx.again(flat, part="flat", axis=-1), ctx.shape[1:])


def layer_normalization(ctx: RewriteContext) -> KerasTensor | None:
    """Move the normalized axes to the end; for rank 5 or more, also merge axes."""
    layer: LayerNormalization = ctx.layer
    if layer.rms_scaling:
        return None
    shape, rank = ctx.shape, len(ctx.shape)
    axes = _normalized_axes(layer.axis, rank)
    order = moved_last(rank, axes)
    last = order == sorted(order)
    if last and rank < 5:
        return None
    x = permuted(ctx, ctx.x, order)
    if rank < 5:
        weight_sizes = [shape[axis] for axis in axes]
        weights = [_with_shape(weight, weight_sizes) for weight in ctx.spec.weights]
        y = ctx.again(x, part="last", weights=weights, axis=list(range(rank - len(axes), rank)))
        return back(ctx, y, order)
    sizes = [shape[axis] for axis in order]
    kept, normal = sizes[1 : rank - len(axes)], sizes[rank - len(axes) :]
    flat = reshaped(ctx, x, _merged(kept, total(normal)))
    weights = [_with_shape(weight, [total(normal)]) for weight in ctx.spec.weights]
    y = ctx.again(flat, part="flat", weights=weights, axis=-1)
    return back(ctx, reshaped(ctx, y, sizes[1:]), order)


def _merged(kept: Sequence[int | None], last: int | None) -> Sequence[int | None]:
    """The sizes after the batch with all kept axes, if there are any, merged to one."""
    return [total(kept), last] if kept else [last]


def group_normalization(ctx: RewriteContext) -> KerasTensor:
    """LayerNormalization of the channels reshaped to groups, then gamma and beta per channel."""
    layer: GroupNormalization = ctx.layer
    shape, rank = ctx.shape, len(ctx.shape)
    axis = axis_of(layer.axis, rank)
    channels = shape[axis]
    if not axis:
        raise Refusal("axis", ACROSS_SAMPLES)
    if channels is None:
        raise Refusal("axis", "it groups the channels, but their number is not fixed")
    groups = channels if layer.groups == -1 else layer.groups
    before, inner = total(shape[1:axis]), total((channels // groups, *shape[axis + 1 :]))
    if before == 1:
        y = plain_normalized(ctx, reshaped(ctx, ctx.x, (groups, inner)), layer.epsilon)
    else:
        x = permuted(ctx, reshaped(ctx, ctx.x, (before, groups, inner)), (0, 2, 1, 3))
        y = permuted(ctx, plain_normalized(ctx, x, layer.epsilon, axes=2), (0, 2, 1, 3))
    y = reshaped(ctx, y, shape[1:])
    if not (layer.scale or layer.center):
        return y
    order = moved_last(rank, (axis,))
    options = ctx.carried(gamma="kernel", beta="bias")
    y = channel_affine(ctx, permuted(ctx, y, order), layer.gamma, layer.beta, **options)
    return back(ctx, y, order)


def rms_normalization(ctx: RewriteContext) -> KerasTensor:
    """Normalize [x, -x] with mean 0 and variance mean(x²), keep the first half, and scale."""
    layer: RMSNormalization = ctx.layer
    shape, rank = ctx.shape, len(ctx.shape)
    axes = _normalized_axes(layer.axis, rank)
    order = moved_last(rank, axes)
    sizes = [shape[axis] for axis in order]
    kept, normal = sizes[1 : rank - len(axes)], sizes[rank - len(axes) :]
    size = total(normal)
    if size is None:
        raise Refusal("axis", f"the sizes of its axes are not fixed: {tuple(normal)}")
    x = permuted(ctx, ctx.x, order)
    is_flat = len(axes) == 1 and rank < 5
    flat = x if is_flat else reshaped(ctx, x, _merged(kept, size))
    both = ctx.add("Concatenate", flat, negative(ctx, flat), axis=-1)
    y = sliced(ctx, plain_normalized(ctx, both, layer.epsilon), 0, size)
    y = y if flat is x else reshaped(ctx, y, sizes[1:])
    return _scaled(ctx, back(ctx, y, order), layer.scale)


def _scaled(ctx: RewriteContext, x: KerasTensor, scale: Weight) -> KerasTensor:
    """x · scale, where the axes of scale match the last axes of x."""
    shape = ctx.shape_of(x)
    last = shape[len(shape) - len(scale.shape) :]
    sizes = [size for size in last if size is not None]
    fits = len(sizes) == len(last) and all(
        own in (1, size) for own, size in zip(scale.shape, sizes, strict=True)
    )
    if not fits:
        raise Refusal("axis", f"its scale of shape {scale.shape} does not fit the last axes {last}")
    kernel = derived(
        scale, (prod(sizes),), lambda values: np.broadcast_to(values, sizes).reshape(-1)
    )
    options = ctx.carried(scale="kernel")
    if len(sizes) == 1:
        return channel_affine(ctx, x, kernel, None, **options)
    flat = reshaped(ctx, x, (total(shape[1 : len(shape) - len(sizes)]), prod(sizes)))
    return reshaped(ctx, channel_affine(ctx, flat, kernel, None, **options), shape[1:])


def plain_normalized(
    ctx: RewriteContext, x: KerasTensor, epsilon: float, axes: int = 1
) -> KerasTensor:
    """(x - mean) / sqrt(variance + epsilon) over the last `axes` axes."""
    axis: Any = -1 if axes == 1 else list(range(-axes, 0))
    return ctx.add("LayerNormalization", x, axis=axis, epsilon=epsilon, center=False, scale=False)


def moved_last(rank: int, axes: Sequence[int]) -> list[int]:
    """The order of axes that moves these last and keeps the order of the others."""
    return [axis for axis in range(rank) if axis not in axes] + list(axes)


def back(ctx: RewriteContext, x: KerasTensor, order: Sequence[int]) -> KerasTensor:
    """Undo a permutation of the axes of x to `order`."""
    return permuted(ctx, x, [order.index(axis) for axis in range(len(order))])


def _normalized_axes(axis: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    axes = axes_of(axis, rank)
    if 0 in axes:
        raise Refusal("axis", ACROSS_SAMPLES)
    return axes


def _with_shape(weight: Weight, sizes: Sequence[int | None]) -> Weight:
    """A weight reshaped to these sizes.

    Raises:
        Refusal: a size is unknown.
    """
    if None in sizes:
        raise Refusal("axis", "the sizes of the normalized axes must be fixed")
    shape = [size for size in sizes if size is not None]

    def reshape(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(shape)

    return derived(weight, shape, reshape)
