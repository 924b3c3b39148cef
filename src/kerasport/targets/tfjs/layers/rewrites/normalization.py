"""Normalisation along axes, of ranks and by means that TF.js does not know."""

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
    axes = _normalised(layer.axis, rank)
    order = moved_last(rank, axes)
    last = order == sorted(order)
    if last and rank < 5:
        return None
    x = permuted(ctx, ctx.x, order)
    if rank < 5:
        weights = [_spread(each, [shape[axis] for axis in axes]) for each in ctx.spec.weights]
        y = ctx.again(x, part="last", weights=weights, axis=list(range(rank - len(axes), rank)))
        return back(ctx, y, order)
    sizes = [shape[axis] for axis in order]
    kept, normal = sizes[1 : rank - len(axes)], sizes[rank - len(axes) :]
    flat = reshaped(ctx, x, (*([total(kept)] if kept else []), total(normal)))
    weights = [_spread(each, [total(normal)]) for each in ctx.spec.weights]
    return back(
        ctx, reshaped(ctx, ctx.again(flat, part="flat", weights=weights, axis=-1), sizes[1:]), order
    )


def group_normalization(ctx: RewriteContext) -> KerasTensor:
    """LayerNormalization of the channels reshaped to groups, then gamma and beta.

    Those follow as a scale and an offset a channel.
    """
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
        y = plain_normalised(ctx, reshaped(ctx, ctx.x, (groups, inner)), layer.epsilon)
    else:
        apart = permuted(ctx, reshaped(ctx, ctx.x, (before, groups, inner)), (0, 2, 1, 3))
        y = permuted(ctx, plain_normalised(ctx, apart, layer.epsilon, axes=2), (0, 2, 1, 3))
    y = reshaped(ctx, y, shape[1:])
    if not (layer.scale or layer.center):
        return y
    order = moved_last(rank, (axis,))
    carried = ctx.carried(gamma="kernel", beta="bias")
    return back(
        ctx, channel_affine(ctx, permuted(ctx, y, order), layer.gamma, layer.beta, **carried), order
    )


def rms_normalization(ctx: RewriteContext) -> KerasTensor:
    """Normalize [x, -x], whose mean is 0 and whose variance is mean(x²), keep one half, and scale."""
    layer: RMSNormalization = ctx.layer
    shape, rank = ctx.shape, len(ctx.shape)
    axes = _normalised(layer.axis, rank)
    order = moved_last(rank, axes)
    sizes = [shape[axis] for axis in order]
    kept, normal = sizes[1 : rank - len(axes)], sizes[rank - len(axes) :]
    size = total(normal)
    if size is None:
        raise Refusal("axis", f"the sizes of its axes are not fixed: {tuple(normal)}")
    x = permuted(ctx, ctx.x, order)
    flat = (
        x
        if len(axes) == 1 and rank < 5
        else reshaped(ctx, x, (*([total(kept)] if kept else []), size))
    )
    both = ctx.add("Concatenate", flat, negative(ctx, flat), axis=-1)
    y = sliced(ctx, plain_normalised(ctx, both, layer.epsilon), 0, size)
    return _scaled(
        ctx, back(ctx, y if flat is x else reshaped(ctx, y, sizes[1:]), order), layer.scale
    )


def _scaled(ctx: RewriteContext, x: KerasTensor, scale: Weight) -> KerasTensor:
    """x · scale, whose axes meet the last ones of x."""
    shape = ctx.shape_of(x)
    last = shape[len(shape) - len(scale.shape) :]
    sizes = [size for size in last if size is not None]
    if len(sizes) < len(last) or any(
        have not in (1, size) for have, size in zip(scale.shape, sizes, strict=True)
    ):
        raise Refusal("axis", f"its scale of shape {scale.shape} does not fit the last axes {last}")
    kernel = derived(
        scale, (prod(sizes),), lambda values: np.broadcast_to(values, sizes).reshape(-1)
    )
    carried = ctx.carried(scale="kernel")
    if len(sizes) == 1:
        return channel_affine(ctx, x, kernel, None, **carried)
    flat = reshaped(ctx, x, (total(shape[1 : len(shape) - len(sizes)]), prod(sizes)))
    return reshaped(ctx, channel_affine(ctx, flat, kernel, None, **carried), shape[1:])


def plain_normalised(
    ctx: RewriteContext, x: KerasTensor, epsilon: float, axes: int = 1
) -> KerasTensor:
    """(x - mean) / sqrt(variance + epsilon) over the last axes."""
    axis: Any = -1 if axes == 1 else list(range(-axes, 0))
    return ctx.add("LayerNormalization", x, axis=axis, epsilon=epsilon, center=False, scale=False)


def moved_last(rank: int, axes: Sequence[int]) -> list[int]:
    """The order of axes in which these come last, and the others stay in order."""
    return [axis for axis in range(rank) if axis not in axes] + list(axes)


def back(ctx: RewriteContext, x: KerasTensor, order: Sequence[int]) -> KerasTensor:
    """x with its axes where they were before they were put in that order."""
    return permuted(ctx, x, [order.index(axis) for axis in range(len(order))])


def _normalised(axis: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    axes = axes_of(axis, rank)
    if 0 in axes:
        raise Refusal("axis", ACROSS_SAMPLES)
    return axes


def _spread(weight: Weight, sizes: Sequence[int | None]) -> Weight:
    """A weight with its numbers along other axes."""
    shape = [size or 1 for size in sizes]

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(shape)

    return derived(weight, shape, spread)
