"""Convolutions that TF.js lacks, or that have options it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.keras.model import KerasTensor
from kerasport.ir import ops
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
"""How many groups may become one layer each."""

ZEROS_TRAIN = "the zeros that dilation adds to the kernel would be trained as well"
NO_GRADIENT = "TF.js cannot compute the gradient of a dilated convolution"


# ------------------------------------------------------------------------------------- convolutions


def conv1d(ctx: RewriteContext) -> KerasTensor | None:
    """Causal Conv1D as zero padding before the sequence and padding="valid"."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    if ctx.layer.padding == "causal":
        return _causal(ctx)
    return over_images(ctx, "Conv2D") if ctx.layer.groups > 1 else padded_apart(ctx)


def conv2d(ctx: RewriteContext) -> KerasTensor | None:
    """Conv2D with groups, or with strides larger than the window."""
    return padded_apart(ctx) if ctx.layer.groups == 1 else grouped(ctx)


def conv3d(ctx: RewriteContext) -> KerasTensor | None:
    """Conv3D with channels_first, groups, or strides larger than the window."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return padded_apart(ctx) if ctx.layer.groups == 1 else grouped(ctx)


def padded_apart(ctx: RewriteContext) -> KerasTensor | None:
    """padding="same" as zero padding and padding="valid", for strides larger than the window.

    TF.js then removes values between the windows: on images with wasm, on volumes everywhere.
    """
    layer = ctx.layer
    narrow = any(
        window < stride for window, stride in zip(layer.kernel_size, layer.strides, strict=True)
    )
    if layer.padding != "same" or not narrow:
        return None
    if layer.rank < 3 and set(layer.kernel_size) == {1}:
        return None  # TF.js computes this correctly
    spatial, _ = layer.split(ctx.shape)
    x, first = ctx.x, 1 if layer.data_format == "channels_last" else 2
    for axis, (size, window, stride) in enumerate(
        zip(spatial, layer.kernel_size, layer.strides, strict=True)
    ):
        x = padded(ctx, x, first + axis, *_same(size, window, stride))
    return ctx.again(x, padding="valid")


def _same(size: int | None, window: int, stride: int) -> tuple[int, int]:
    """The padding of padding="same" before and after an axis."""
    if size is None and 1 not in (window, stride):
        reason = "TF.js pads windows that are smaller than their stride incorrectly"
        raise Refusal(
            "padding",
            f"{reason}, and the input size is not fixed",
            "give the input a fixed shape, or use --to tfjs-graph",
        )
    # the size does not matter for a window or a stride of 1
    return ops.amounts(size or 1, window, stride, 1, "same", 0)


def grouped(ctx: RewriteContext) -> KerasTensor:
    """One convolution per group of channels, and a Concatenate.

    2D groups of a single channel are a depthwise convolution.
    """
    layer = ctx.layer
    *window, depth, filters = layer.kernel.shape
    count, own = layer.groups, filters // layer.groups
    if depth == 1 and layer.rank == 2:
        kernel = derived(
            layer.kernel, (*window, count, own), lambda values: values.reshape(*window, count, own)
        )
        return ctx.again(
            class_name="DepthwiseConv2D",
            weights=_with_bias(ctx, kernel),
            groups=...,
            filters=...,
            kernel_regularizer=...,
            kernel_constraint=...,
            depth_multiplier=own,
            **ctx.carried(kernel="depthwise"),
        )
    if layer.data_format == "channels_first":
        return between_permutes(ctx)
    if count > MOST_GROUPS:
        reason = f"a layers-model supports at most {MOST_GROUPS} groups, since each becomes a layer"
        raise Refusal("groups", reason, "use --to tfjs-graph")
    cuts = [(index * depth, (count - 1 - index) * depth) for index in range(count)]
    parts = []
    for index, x in enumerate(slices(ctx, ctx.x, cuts)):
        weights = [_filters(weight, index * own, own) for weight in ctx.spec.weights]
        y = ctx.again(
            x,
            part="group",
            weights=weights,
            groups=1,
            filters=own,
            activation="linear",
            activity_regularizer=...,
        )
        parts.append(y)
    return then_activated(ctx, ctx.add("Concatenate", *parts, axis=-1, **ctx.carried("activity")))


def _filters(weight: Weight, start: int, count: int) -> Weight:
    """A range of filters, the last axis, of a kernel or bias."""
    return derived(
        weight, (*weight.shape[:-1], count), lambda values: values[..., start : start + count]
    )


def _causal(ctx: RewriteContext) -> KerasTensor:
    """Causal padding as zeros before the sequence and padding="valid"."""
    before = (ctx.layer.kernel_size[0] - 1) * ctx.layer.dilation_rate[0]
    return ctx.again(padded(ctx, ctx.x, 1, before, 0), padding="valid")


def _with_bias(ctx: RewriteContext, *weights: Weight) -> tuple[Weight, ...]:
    """The weights, followed by the bias of the layer if it has one."""
    return weights if ctx.layer.bias is None else (*weights, ctx.layer.bias)


def over_images(ctx: RewriteContext, class_name: str) -> KerasTensor:
    """Run a layer over time as the layer `class_name` over images of height 1."""
    heights = {"kernel_size": 1, "strides": 1, "dilation_rate": 1, "output_padding": 0}
    options: dict[str, Any] = {
        option: [height, *_listed(ctx.spec.config[option])]
        for option, height in heights.items()
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
    """A kernel with an axis of size 1 for the height; a bias unchanged."""
    if len(weight.shape) == 1:
        return weight
    return derived(weight, (1, *weight.shape), lambda values: values[None])


# --------------------------------------------------------------------------- depthwise convolutions


def depthwise_conv1d(ctx: RewriteContext) -> KerasTensor:
    """DepthwiseConv1D as DepthwiseConv2D."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return over_images(ctx, "DepthwiseConv2D")


def depthwise_conv2d(ctx: RewriteContext) -> KerasTensor | None:
    """Dilated DepthwiseConv2D with zeros inserted into the kernel."""
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
    """The layer with zeros inserted into the kernel instead of a dilation."""
    ctx.untrainable(ZEROS_TRAIN)
    kernel = spread(ctx.layer.kernel, _dilations(ctx))
    window = list(kernel.shape[: ctx.layer.rank])
    return ctx.again(
        kernel_size=window, dilation_rate=[1] * len(window), weights=_with_bias(ctx, kernel)
    )


def _dilations(ctx: RewriteContext) -> tuple[int, ...]:
    """The dilation of each axis."""
    rate = ctx.layer.dilation_rate
    return rate if isinstance(rate, tuple) else (rate,) * ctx.layer.rank


def spread(kernel: Weight, dilations: Sequence[int]) -> Weight:
    """A dilated kernel: the kernel with zeros inserted between its values."""
    count = len(dilations)
    window = [(size - 1) * step + 1 for size, step in zip(kernel.shape, dilations, strict=False)]
    shape = (*window, *kernel.shape[count:])
    small(prod(shape), "its dilated kernel", "dilation_rate")

    def fill(values: Array) -> Array:
        wide = np.zeros(shape, values.dtype)
        wide[tuple(slice(None, None, step) for step in dilations)] = values
        return wide

    return derived(kernel, shape, fill)


# -------------------------------------------------------------------------- transposed convolutions


def conv1d_transpose(ctx: RewriteContext) -> KerasTensor:
    """Conv1DTranspose as Conv2DTranspose."""
    if ctx.layer.data_format == "channels_first":
        return between_permutes(ctx)
    return over_images(ctx, "Conv2DTranspose")


def conv2d_transpose(ctx: RewriteContext) -> KerasTensor | None:
    """Conv2DTranspose with dilation, or with another output size than TF.js computes.

    The kernel is dilated instead. With padding="valid" TF.js computes the whole result of size
    `(size - 1) * stride + max(window, stride)`. The result of Keras is a part of it, or extends
    beyond it, where the window sees zeros.
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
        # each zero after x makes the whole result longer by a stride
        more = max(-(beyond // step), 0)
        zeros.append([0, more])
        cropping.append([crop, beyond + more * step])
    options = {"data_format": layer.data_format}
    x = ctx.x
    if any(map(any, zeros)):
        x = ctx.add("ZeroPadding2D", x, padding=zeros, **options)
    y = ctx.again(x, part="whole", padding="valid", output_padding=None, activation="linear")
    if any(map(any, cropping)):
        y = ctx.add("Cropping2D", y, cropping=cropping, **options)
    return then_activated(ctx, y)


def conv3d_transpose(ctx: RewriteContext) -> KerasTensor:
    """Conv3DTranspose as Conv3D of x with zeros inserted (TF.js's own is incorrect on wasm).

    The kernel is reversed, and x is padded so that the result starts and ends as in Keras.
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
        x,
        class_name="Conv3D",
        weights=_with_bias(ctx, kernel),
        strides=[1, 1, 1],
        padding="valid",
        output_padding=...,
        dilation_rate=list(_dilations(ctx)),
        groups=1,
    )


def _apart(ctx: RewriteContext, x: KerasTensor, axis: int, step: int) -> KerasTensor:
    """Insert `step - 1` zeros after each value of an axis, by padding a new axis after it."""
    if step == 1:
        return x
    shape = ctx.shape_of(x)
    image = reshaped(ctx, x, (total(shape[1 : axis + 1]), 1, total(shape[axis + 1 :])))
    y = ctx.add(
        "ZeroPadding2D", image, padding=[[0, 0], [0, step - 1]], data_format="channels_last"
    )
    return reshaped(ctx, y, (*shape[1:axis], total((shape[axis], step)), *shape[axis + 1 :]))
