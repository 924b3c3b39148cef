"""Crop, pad, repeat and reshape with layers that TF.js has for images."""

from __future__ import annotations

from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    channels_last,
    padded,
    repeated,
    reshaped,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext
from kerasport.targets.tfjs.layers.rewrites.images import resized


def first_axis(ctx: RewriteContext) -> int:
    """The first spatial axis."""
    return 1 if ctx.layer.data_format == "channels_last" else 2


def cropping(ctx: RewriteContext) -> KerasTensor:
    """Cropping2D of one axis at a time, as the width of an image."""
    x, first = ctx.x, first_axis(ctx)
    for axis in range(ctx.layer.rank):
        before, after = ctx.layer.amount(axis)
        x = padded(ctx, x, first + axis, -before, -after)
    return x


def zero_padding(ctx: RewriteContext) -> KerasTensor:
    """ZeroPadding2D of one axis at a time, as the width of an image."""
    x, first = ctx.x, first_axis(ctx)
    for axis in range(ctx.layer.rank):
        x = padded(ctx, x, first + axis, *ctx.layer.amount(axis))
    return x


def up_sampling(ctx: RewriteContext) -> KerasTensor:
    """UpSampling2D of one axis at a time, as the width of an image."""
    x, first = ctx.x, first_axis(ctx)
    for axis, times in enumerate(ctx.layer.factors(), start=first):
        x = repeated(ctx, x, axis, times)
    return x


def up_sampling2d(ctx: RewriteContext) -> KerasTensor | None:
    """Interpolation as a matrix product along each axis, since TF.js samples at other positions."""
    if ctx.layer.interpolation in ("nearest", "bilinear_keras2"):
        return None
    first = first_axis(ctx)
    size = tuple(
        0 if old is None else old * times
        for old, times in zip(ctx.shape[first : first + 2], ctx.layer.factors(), strict=True)
    )
    return resized(ctx, ctx.x, (first, first + 1), size, ctx.layer.interpolation)


def flatten(ctx: RewriteContext) -> KerasTensor | None:
    """Reshape, where the Flatten of TF.js throws (flat inputs and unknown sizes)."""
    rank = len(ctx.shape)
    if rank > 2 and None not in ctx.shape[1:]:
        return None
    moves = rank > 2 and ctx.layer.data_format == "channels_first"
    x = channels_last(ctx, ctx.x) if moves else ctx.x
    return reshaped(ctx, x, (1 if rank == 1 else total(ctx.shape[1:]),))


def reshape(ctx: RewriteContext) -> KerasTensor | None:
    """Reshape with every size explicit; after an inferred size (-1) TF.js loses the shape."""
    if all(size is not None and size >= 0 for size in ctx.layer.target_shape):
        return None
    sizes = ctx.layer.infer(ctx.shape)[1:]
    return None if None in sizes else ctx.again(target_shape=list(sizes))
