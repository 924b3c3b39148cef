"""Resize and crop images with layers that TF.js has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal
from kerasport.frontends.keras.layers.resampling import proportioned, surround, weights
from kerasport.frontends.keras.model import KerasTensor
from kerasport.ir import ops
from kerasport.targets.tfjs.layers.rewrites.blocks import linear_map, selection, small
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext
from kerasport.weights import Array

Axes = tuple[int, int]

STATIC = "the height and width of the images must be fixed"


def resized(
    ctx: RewriteContext,
    x: KerasTensor,
    axes: Axes,
    size: Sequence[int],
    interpolation: str,
    *,
    antialias: bool = False,
) -> KerasTensor:
    """Resize images by multiplying each spatial axis by a constant matrix.

    Args:
        ctx: the context of the rewrite.
        x: images of rank 4.
        axes: the axes of height and width.
        size: the new height and width.
        interpolation: name of the interpolation in Keras.
        antialias: whether to antialias when scaling down.

    Raises:
        Refusal: the size of the images is not known, or the matrix would be too large.
    """
    for axis, new in zip(axes, size, strict=True):
        old = ctx.shape_of(x)[axis]
        if old is None:
            raise Refusal("interpolation", STATIC, "give the input a fixed shape")
        if old != new:
            small(old * new, "the resize matrix")
            x = linear_map(
                ctx, x, matrix(old, new, interpolation, antialias=antialias).T, axis, "resized"
            )
    return x


def matrix(old: int, new: int, interpolation: str, *, antialias: bool) -> Array:
    """The weight of each old pixel in each new pixel, `[new, old]`."""
    if interpolation == "nearest":
        return selection(old, ops.nearest(old, new))
    return weights(old, new, interpolation, antialias=antialias)


def axes_of(ctx: RewriteContext) -> Axes:
    """The axes of height and width.

    Raises:
        Refusal: the layer is called on a single image.
    """
    if len(ctx.shape) != 4:
        raise Refusal("", "it is called on a single image, but a layers-model works on batches")
    return (1, 2) if ctx.layer.data_format == "channels_last" else (2, 3)


def sizes(ctx: RewriteContext, axes: Axes) -> tuple[int, int]:
    """Height and width of the images.

    Raises:
        Refusal: one of them is not known.
    """
    height, width = (ctx.shape[axis] for axis in axes)
    if height is None or width is None:
        raise Refusal("", STATIC, "give the input a fixed shape")
    return height, width


def part(ctx: RewriteContext, x: KerasTensor, starts: Axes, size: Axes) -> KerasTensor:
    """Crop images to `size` from `starts`, both as (height, width)."""
    old = sizes(ctx, axes_of(ctx))
    cropping = [
        [start, whole - start - kept] for start, whole, kept in zip(starts, old, size, strict=True)
    ]
    if not any(map(any, cropping)):
        return x
    return ctx.add("Cropping2D", x, cropping=cropping, data_format=ctx.layer.data_format)


def proportionate(ctx: RewriteContext, x: KerasTensor, size: Axes) -> KerasTensor:
    """Crop the largest centered part with the aspect ratio of `size`."""
    height, width = sizes(ctx, axes_of(ctx))
    tall, wide = proportioned(height, width, size)
    return part(ctx, x, ((height - tall) // 2, (width - wide) // 2), (tall, wide))


def surrounded(ctx: RewriteContext, x: KerasTensor, size: Axes, fill: float) -> KerasTensor:
    """Pad images to the aspect ratio of `size`, with the value `fill`.

    Only one axis needs padding. It is padded with zeros, and a Rescaling adds `fill` to them with
    an offset that is 0 inside the image.
    """
    axes = axes_of(ctx)
    old = sizes(ctx, axes)
    amounts = surround(*old, size)
    if not any(amounts):
        return x
    x = ctx.add(
        "ZeroPadding2D",
        x,
        padding=[[amount, amount] for amount in amounts],
        data_format=ctx.layer.data_format,
    )
    if not fill:
        return x
    padded = 0 if amounts[0] else 1
    amount = amounts[padded]
    reserve(old[padded] + 2 * amount, itemsize=32)  # a list in model.json
    offset = np.full(old[padded] + 2 * amount, fill)
    offset[amount:-amount] = 0
    shape = [-1 if axis == axes[padded] else 1 for axis in (1, 2, 3)]
    return ctx.add("Rescaling", x, scale=1.0, offset=offset.reshape(shape).tolist())


def resizing(ctx: RewriteContext) -> KerasTensor:
    """Crop or pad the images, then multiply by a matrix along each axis."""
    layer, axes = ctx.layer, axes_of(ctx)
    size, x = (layer.height, layer.width), ctx.x
    if layer.crop_to_aspect_ratio:
        x = proportionate(ctx, x, size)
    elif layer.pad_to_aspect_ratio:
        x = surrounded(ctx, x, size, layer.fill_value)
    return resized(ctx, x, axes, size, layer.interpolation, antialias=layer.antialias)


def center_crop(ctx: RewriteContext) -> KerasTensor:
    """Crop the center; for smaller images, enlarge the largest part with the same aspect ratio."""
    layer, axes = ctx.layer, axes_of(ctx)
    (height, width), size = sizes(ctx, axes), (layer.height, layer.width)
    if height < layer.height or width < layer.width:
        return resized(ctx, proportionate(ctx, ctx.x, size), axes, size, "bilinear")
    return part(ctx, ctx.x, ((height - layer.height) // 2, (width - layer.width) // 2), size)


def random_crop(ctx: RewriteContext) -> KerasTensor:
    """The crop that RandomCrop of Keras before 3.8 computes at inference."""
    layer, axes = ctx.layer, axes_of(ctx)
    (height, width), size = sizes(ctx, axes), (layer.height, layer.width)
    if layer.at_inference == "smart_resize":
        return resized(ctx, proportionate(ctx, ctx.x, size), axes, size, "bilinear")
    tall, wide = proportioned(height, width, size)
    above, left = (height - tall) // 2, (width - wide) // 2
    cut = part(
        ctx,
        ctx.x,
        (above, left),
        (min(layer.height, height - above), min(layer.width, width - left)),
    )
    return resized(ctx, cut, axes, size, "bilinear")
