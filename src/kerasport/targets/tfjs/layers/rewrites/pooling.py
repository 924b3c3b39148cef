"""Pooling layers with options that TF.js lacks."""

from __future__ import annotations

from collections.abc import Sequence

from kerasport.errors import Refusal
from kerasport.frontends.keras.layers.pooling import places, shares
from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    between_permutes,
    linear_map,
    reshaped,
    selection,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext


def pooling(ctx: RewriteContext) -> KerasTensor | None:
    """Pooling of channels_first sequences between two Permutes."""
    return between_permutes(ctx) if ctx.layer.data_format == "channels_first" else None


def average_pooling3d(ctx: RewriteContext) -> KerasTensor | None:
    """AveragePooling3D with channels_first, or with strides larger than the window."""
    layer = ctx.layer
    if layer.data_format == "channels_first":
        return between_permutes(ctx)
    narrow = any(
        size < step
        for size, step in zip(layer.pool_size, layer.strides or layer.pool_size, strict=True)
    )
    return _as_images(ctx, "AveragePooling2D") if narrow and layer.padding == "same" else None


def max_pooling3d(ctx: RewriteContext) -> KerasTensor:
    """MaxPooling3D as 2D poolings (TF.js's own is incorrect on wasm for negative inputs)."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return _as_images(ctx, "MaxPooling2D")


def _as_images(ctx: RewriteContext, class_name: str) -> KerasTensor:
    """Pool depth and height as one image, then the width as another."""
    layer = ctx.layer
    depth, height, width = layer.pool_size
    down, along, across = layer.strides or layer.pool_size
    options = {"padding": layer.padding, "data_format": "channels_last"}
    volume = ctx.shape[1:]
    x = reshaped(ctx, ctx.x, (*volume[:2], total(volume[2:])))
    x = ctx.add(class_name, x, pool_size=[depth, height], strides=[down, along], **options)
    pooled = ctx.shape_of(x)[1:3]
    x = reshaped(ctx, x, (total(pooled), *volume[2:]))
    x = ctx.add(class_name, x, pool_size=[1, width], strides=[1, across], **options)
    return reshaped(ctx, x, (*pooled, *ctx.shape_of(x)[2:]))


def global_pooling(ctx: RewriteContext) -> KerasTensor | None:
    """Global pooling with all options, as pooling of a sequence (channels_first: of an image)."""
    layer, kind = ctx.layer, ctx.spec.class_name.removesuffix("D")[:-1]
    if layer.keepdims:
        return reshaped(ctx, ctx.again(keepdims=False), layer.infer(ctx.shape)[1:])
    spatial, channels = layer.split(ctx.shape)
    last = layer.data_format == "channels_last"
    if layer.rank == 2 or (layer.rank == 1 and last):
        return None
    if last:
        series = reshaped(ctx, ctx.x, (total(spatial), channels))
        return ctx.add(f"{kind}1D", series, data_format="channels_last")
    image = reshaped(ctx, ctx.x, (channels, total(spatial), 1))
    return ctx.add(f"{kind}2D", image, data_format="channels_first")


def adaptive_pooling(ctx: RewriteContext) -> KerasTensor:
    """Ordinary pooling, if windows of equal size cover each axis.

    Other means are a product with a matrix along each axis. For other maxima a matrix places the
    values of each window next to each other, and ordinary pooling follows.
    """
    layer = ctx.layer
    spatial, _ = layer.split(ctx.shape)
    if None in spatial:
        raise Refusal(
            "output_size", "the spatial sizes must be fixed; give the input a fixed shape"
        )
    pairs = list(zip(spatial, layer.sizes, strict=True))
    x, first = ctx.x, 1 if layer.data_format == "channels_last" else 2
    window = [old // new for old, new in pairs]
    if any(old % new for old, new in pairs):
        if layer.kind == "average":
            return _means(ctx, pairs, first)
        windows = [places(old, new) for old, new in pairs]
        for axis, (old, new) in enumerate(pairs):
            if old % new:
                selected = selection(old, windows[axis].reshape(-1)).T
                x = linear_map(ctx, x, selected, first + axis, "seen")
        window = [part.shape[1] for part in windows]
    return ctx.add(
        ctx.spec.class_name.removeprefix("Adaptive"),
        x,
        pool_size=window,
        strides=window,
        padding="valid",
        data_format=layer.data_format,
    )


def _means(ctx: RewriteContext, pairs: Sequence[tuple[int, int]], first: int) -> KerasTensor:
    """The means of adaptive windows, for (old, new) sizes of the axes from `first` on."""
    x = ctx.x
    for axis, (old, new) in enumerate(pairs, start=first):
        x = x if old == new else linear_map(ctx, x, shares(old, new).T, axis, "means")
    return x
