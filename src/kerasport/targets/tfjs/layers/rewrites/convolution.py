"""Convolutions with options that TF.js lacks, and those over one axis, out of what it has."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.keras.model import KerasTensor
from kerasport.ir.ops.window import amounts
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    between_permutes,
    padded,
    reshaped,
    slices,
    small,
    then_activated,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext, derived
from kerasport.weights import Array, Weight

MOST_GROUPS = 64
"""Groups up to which each gets a layer of its own."""

ZEROS_TRAIN = "the zeros that dilation adds to the kernel would be trained as well"
NO_GRADIENT = "TF.js cannot compute the gradient of a dilated convolution"


# --------------------------------------------------------------------------------------------- convolutions


def conv1d(ctx: RewriteContext) -> KerasTensor | None:
    """Causal Conv1D as zero padding before the sequence and padding="valid"."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    if ctx.layer.padding == "causal":
        return _causal(ctx)
    return over_images(ctx, "Conv2D") if ctx.layer.groups > 1 else padded_apart(ctx)


def conv2d(ctx: RewriteContext) -> KerasTensor | None:
    """Conv2D with groups."""
    return padded_apart(ctx) if ctx.layer.groups == 1 else grouped(ctx)


def conv3d(ctx: RewriteContext) -> KerasTensor | None:
    """Conv3D with channels_first or groups."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return padded_apart(ctx) if ctx.layer.groups == 1 else grouped(ctx)


def padded_apart(ctx: RewriteContext) -> KerasTensor | None:
    """Windows smaller than their stride: the zeros of padding="same", and padding="valid".

    TF.js takes numbers away there that such windows leave out: of images on wasm, of volumes on every backend.
    """
    layer = ctx.layer
    if layer.padding != "same" or all(
        k >= s for k, s in zip(layer.kernel_size, layer.strides, strict=True)
    ):
        return None
    if layer.rank < 3 and set(layer.kernel_size) == {1}:
        return None  # which it gets right
    spatial, _ = layer.split(ctx.shape)
    x, first = ctx.x, 1 if layer.data_format == "channels_last" else 2
    for axis, (size, window, stride) in enumerate(
        zip(spatial, layer.kernel_size, layer.strides, strict=True)
    ):
        x = padded(ctx, x, first + axis, *_same(size, window, stride))
    return ctx.again(x, padding="valid")


def _same(size: int | None, window: int, stride: int) -> tuple[int, int]:
    """What padding="same" adds before and behind an axis."""
    if size is None and 1 not in (window, stride):
        reason = "TF.js pads windows that are smaller than their stride incorrectly, and the input size is not fixed"
        raise Refusal("padding", reason, "give the input a fixed shape, or use --to tfjs-graph")
    # a window of one number is not padded, nor does the size count where none is left out
    return amounts(size or 1, window, stride, 1, "same", 0)


def grouped(ctx: RewriteContext) -> KerasTensor:
    """Each group of channels convolved by a layer of its own, and the results joined.

    Groups of a single channel are a depthwise convolution.
    """
    layer = ctx.layer
    *window, depth, filters = layer.kernel.shape
    count, own = layer.groups, filters // layer.groups
    if depth == 1 and layer.rank == 2:
        kernel = derived(
            layer.kernel, (*window, count, own), lambda values: values.reshape(*window, count, own)
        )
        return ctx.again(
            class_name="DepthwiseConv2D", weights=_with_bias(ctx, kernel), groups=..., filters=...,
            kernel_regularizer=..., kernel_constraint=..., depth_multiplier=own, **ctx.carried(kernel="depthwise"),
        )  # fmt: skip
    if layer.data_format == "channels_first":
        return between_permutes(ctx)
    if count > MOST_GROUPS:
        reason = f"a layers-model supports at most {MOST_GROUPS} groups, since each becomes a layer"
        raise Refusal("groups", reason, "use --to tfjs-graph")
    inputs = slices(
        ctx, ctx.x, [(index * depth, (count - 1 - index) * depth) for index in range(count)]
    )
    parts = [
        ctx.again(part, part="group", weights=[_filters(weight, index * own, own) for weight in ctx.spec.weights],
                 groups=1, filters=own, activation="linear", activity_regularizer=...)
        for index, part in enumerate(inputs)
    ]  # fmt: skip
    return then_activated(ctx, ctx.add("Concatenate", *parts, axis=-1, **ctx.carried("activity")))


def _filters(weight: Weight, start: int, count: int) -> Weight:
    """The part of a kernel, or of a bias, that makes so many filters, its last axis."""
    return derived(
        weight, (*weight.shape[:-1], count), lambda values: values[..., start : start + count]
    )


def _causal(ctx: RewriteContext) -> KerasTensor:
    """Zeros before the sequence, so many that no step sees a later one."""
    before = (ctx.layer.kernel_size[0] - 1) * ctx.layer.dilation_rate[0]
    return ctx.again(padded(ctx, ctx.x, 1, before, 0), padding="valid")


def _with_bias(ctx: RewriteContext, *weights: Weight) -> tuple[Weight, ...]:
    return weights if ctx.layer.bias is None else (*weights, ctx.layer.bias)


def over_images(ctx: RewriteContext, class_name: str) -> KerasTensor:
    """A layer over time as one over images whose height is 1, with a window of 1 along that axis."""
    wide = {"kernel_size": 1, "strides": 1, "dilation_rate": 1, "output_padding": 0}
    options: dict[str, Any] = {
        option: [along_height, *_listed(ctx.spec.config[option])]
        for option, along_height in wide.items()
        if ctx.spec.config.get(option) is not None
    }
    image = reshaped(ctx, ctx.x, (1, *ctx.shape[1:]))
    y = ctx.again(
        image,
        class_name=class_name,
        weights=[_wide(weight) for weight in ctx.spec.weights],
        **options,
    )
    return reshaped(ctx, y, ctx.shape_of(y)[2:])


def _listed(option: Any) -> list[int]:
    return list(option) if isinstance(option, list | tuple) else [option]


def _wide(weight: Weight) -> Weight:
    """A kernel with an axis for the height; a bias as it is."""
    return (
        derived(weight, (1, *weight.shape), lambda values: values[None])
        if len(weight.shape) > 1
        else weight
    )


# ------------------------------------------------------------------------------ each channel by itself


def depthwise_conv1d(ctx: RewriteContext) -> KerasTensor:
    """DepthwiseConv1D as DepthwiseConv2D."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return over_images(ctx, "DepthwiseConv2D")


def depthwise_conv2d(ctx: RewriteContext) -> KerasTensor | None:
    """Dilated DepthwiseConv2D as DepthwiseConv2D with zeros inserted into the kernel."""
    return padded_apart(ctx) if set(ctx.layer.dilation_rate) == {1} else _dilated(ctx)


def separable_conv1d(ctx: RewriteContext) -> KerasTensor:
    """SeparableConv1D as SeparableConv2D."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    if ctx.layer.padding == "causal":
        return _causal(ctx)
    return over_images(ctx, "SeparableConv2D")


def separable_conv2d(ctx: RewriteContext) -> KerasTensor | None:
    """SeparableConv2D with channels_first, for which TF.js cannot add a bias."""
    return between_permutes(ctx) if ctx.layer.data_format == "channels_first" else padded_apart(ctx)


def _dilated(ctx: RewriteContext) -> KerasTensor:
    """The layer with a larger kernel instead of a dilation."""
    ctx.untrainable(ZEROS_TRAIN)
    kernel = spread(ctx.layer.kernel, _dilations(ctx))
    window = list(kernel.shape[: ctx.layer.rank])
    return ctx.again(
        kernel_size=window, dilation_rate=[1] * len(window), weights=_with_bias(ctx, kernel)
    )


def _dilations(ctx: RewriteContext) -> tuple[int, ...]:
    """The dilation of each axis."""
    given = ctx.layer.dilation_rate
    return given if isinstance(given, tuple) else (given,) * ctx.layer.rank


def spread(kernel: Weight, dilations: Sequence[int]) -> Weight:
    """A kernel with zeros between its numbers, which is what dilation means."""
    count = len(dilations)
    window = [(size - 1) * step + 1 for size, step in zip(kernel.shape, dilations, strict=False)]
    shape = (*window, *kernel.shape[count:])
    small(prod(shape), "its dilated kernel", "dilation_rate")

    def fill(values: Array) -> Array:
        wide = np.zeros(shape, values.dtype)
        wide[tuple(slice(None, None, step) for step in dilations)] = values
        return wide

    return derived(kernel, shape, fill)


# ------------------------------------------------------------------------------------ transposed convolutions


def conv1d_transpose(ctx: RewriteContext) -> KerasTensor:
    """Conv1DTranspose as Conv2DTranspose."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return over_images(ctx, "Conv2DTranspose")


def conv2d_transpose(ctx: RewriteContext) -> KerasTensor | None:
    """Conv2DTranspose with dilation, or with another output size than TF.js computes.

    A larger kernel does for dilation. TF.js's padding="valid" makes the whole result, as long as size · stride and what
    the window has beyond a stride; Keras's is a part of that, or goes beyond it, where the window would see zeros.
    """
    layer = ctx.layer
    if set(_dilations(ctx)) != {1}:
        return _dilated(ctx)
    if layer.ends() == layer.ends(by_default=True):
        return None
    zeros, cropping = [], []
    for window, step, (crop, extra) in zip(
        layer.kernel_size, layer.strides, layer.ends(), strict=True
    ):
        beyond = max(window - step, 0) - crop - extra
        more = max(
            -(beyond // step), 0
        )  # zeros behind x, each of which makes the whole result longer by a stride
        zeros.append([0, more])
        cropping.append([crop, beyond + more * step])
    options = {"data_format": layer.data_format}
    x = ctx.add("ZeroPadding2D", ctx.x, padding=zeros, **options) if any(map(any, zeros)) else ctx.x
    y = ctx.again(x, part="whole", padding="valid", output_padding=None, activation="linear")
    return then_activated(
        ctx,
        ctx.add("Cropping2D", y, cropping=cropping, **options) if any(map(any, cropping)) else y,
    )


def conv3d_transpose(ctx: RewriteContext) -> KerasTensor:
    """Conv3DTranspose as Conv3D of x with zeros inserted (TF.js's own is incorrect on wasm).

    The kernel is turned around, and as many zeros stand around x as make the result begin and end where Keras's does.
    """
    layer = ctx.layer
    if layer.data_format == "channels_first":
        return between_permutes(ctx)
    x = ctx.x
    for axis, (step, dilation, size) in enumerate(
        zip(layer.strides, _dilations(ctx), layer.kernel_size, strict=True)
    ):
        reach = (size - 1) * dilation
        crop, extra = layer.ends()[axis]
        x = padded(ctx, _apart(ctx, x, axis + 1, step), axis + 1, reach - crop, extra + crop)
    if set(_dilations(ctx)) != {1}:
        ctx.untrainable(NO_GRADIENT)
    *window, filters, channels = layer.kernel.shape
    kernel = derived(
        layer.kernel,
        (*window, channels, filters),
        lambda values: values[::-1, ::-1, ::-1].swapaxes(-1, -2),
    )
    return ctx.again(
        x, class_name="Conv3D", weights=_with_bias(ctx, kernel), strides=[1, 1, 1], padding="valid", output_padding=...,
        dilation_rate=list(_dilations(ctx)), groups=1,
    )  # fmt: skip


def _apart(ctx: RewriteContext, x: KerasTensor, axis: int, step: int) -> KerasTensor:
    """x with zeros behind each number along an axis: an axis of 1 behind it, padded."""
    if step == 1:
        return x
    shape = ctx.shape_of(x)
    image = reshaped(ctx, x, (total(shape[1 : axis + 1]), 1, total(shape[axis + 1 :])))
    y = ctx.add(
        "ZeroPadding2D", image, padding=[[0, 0], [0, step - 1]], data_format="channels_last"
    )
    size = shape[axis]
    return reshaped(
        ctx, y, (*shape[1:axis], None if size is None else size * step, *shape[axis + 1 :])
    )
