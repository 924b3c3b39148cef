"""Convolutions, pooling and resizing in TF.js."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.ir.ops.window import Padding
from kerasport.ir.tensor import Tensor
from kerasport.passes.fuse import Fused
from kerasport.targets.tfjs.graph.emit.attributes import (
    Json,
    boolean,
    dtype,
    integer,
    integers,
    real,
    text,
    texts,
)
from kerasport.targets.tfjs.graph.emit.emitter import Emitter
from kerasport.targets.tfjs.graph.emit.movement import size_of
from kerasport.targets.tfjs.graph.fused import FUSABLE

LAYOUT = {4: "NHWC", 5: "NDHWC"}
"""Rank of an image or volume → TensorFlow's name of its layout, with channels last."""


def emit_conv(e: Emitter, node: ops.Conv) -> str:
    """`Conv2D` or `Conv3D`."""
    if node.x.rank == 5 and not isinstance(node.padding, str):
        raise Refusal("", 'TF.js supports only the paddings "same" and "valid" for 3D convolutions')
    assert node.groups == 1, "`legalize` splits a convolution with groups"
    op = "Conv3D" if node.x.rank == 5 else "Conv2D"
    return e.add(op, [_reached(e, node.x, node), node.kernel], **_convolution(node))


def emit_depthwise(e: Emitter, node: ops.DepthwiseConv) -> str:
    """`DepthwiseConv2dNative`."""
    x = _reached(e, node.x, node)
    return e.add("DepthwiseConv2dNative", [x, node.kernel], **_convolution(node))


def emit_fused(e: Emitter, node: Fused) -> str:
    """`_FusedMatMul`, `_FusedConv2D` or `FusedDepthwiseConv2dNative`."""
    steps = ["BiasAdd"] if node.activation is None else ["BiasAdd", FUSABLE[node.activation]]
    attributes = {"fused_ops": texts(steps), "num_args": integer(1)}
    if node.activation is ops.LeakyRelu:
        attributes["leakyrelu_alpha"] = real(node.alpha)
    linear = node.linear
    if isinstance(linear, ops.MatMul):
        a, b = boolean(linear.transpose_a), boolean(linear.transpose_b)
        return e.add("_FusedMatMul", node.operands, **attributes, transpose_a=a, transpose_b=b)
    assert isinstance(linear, ops.Conv | ops.DepthwiseConv)
    op = "_FusedConv2D" if isinstance(linear, ops.Conv) else "FusedDepthwiseConv2dNative"
    x = _reached(e, node.a, linear)
    return e.add(op, [x, node.b, node.bias], **attributes, **_convolution(linear))


def emit_pool(e: Emitter, node: ops.MaxPool | ops.AvgPool) -> str:
    """`MaxPool`, `AvgPool` or `AvgPool3D`."""
    kind = "MaxPool" if isinstance(node, ops.MaxPool) else "AvgPool"
    if node.x.rank == 5 and kind == "MaxPool":
        raise Refusal("", "the wasm backend of TF.js computes 3D max pooling incorrectly")
    return e.add(
        f"{kind}3D" if node.x.rank == 5 else kind,
        node.operands,
        ksize=integers((1, *node.window, 1)),
        strides=integers((1, *node.strides, 1)),
        padding=text(node.padding.upper()),
        data_format=text(LAYOUT[node.x.rank]),
    )


def emit_resize(e: Emitter, node: ops.Resize) -> str:
    """`ResizeBilinear` or `ResizeNearestNeighbor`."""
    op = "ResizeBilinear" if node.method == "bilinear" else "ResizeNearestNeighbor"
    return e.add(
        op,
        [node.x, e.sizes(node.size)],
        align_corners=boolean(node.align_corners),
        half_pixel_centers=boolean(node.half_pixel_centers),
    )


# ------------------------------------------------------------------------------------- convolutions


def skips(window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> bool:
    """Whether elements between two windows belong to neither.

    TF.js then pads "same" incorrectly: volumes on all backends, images on wasm.
    """
    return any((k - 1) * d + 1 < s for k, s, d in zip(window, strides, dilations, strict=True))


def _convolution(node: ops.Conv | ops.DepthwiseConv) -> dict[str, Json]:
    """The attributes of a convolution."""
    if max(node.strides) > 1 and max(node.dilations) > 1:
        raise Refusal("", "TF.js supports strides or dilations in a convolution, but not both")
    return {
        "strides": integers((1, *node.strides, 1)),
        "dilations": integers((1, *node.dilations, 1)),
        "data_format": text(LAYOUT[node.x.rank]),
        **_padding(node.padding),
    }


def _padding(padding: Padding) -> dict[str, Json]:
    if isinstance(padding, str):
        return {"padding": text(padding.upper())}
    pairs = [amount for pair in ((0, 0), *padding, (0, 0)) for amount in pair]
    return {"padding": text("EXPLICIT"), "explicit_paddings": integers(pairs)}


def _reached(e: Emitter, x: Tensor, node: ops.Conv | ops.DepthwiseConv) -> Tensor | str:
    """`x` without the elements after the last window of each axis.

    The last window begins at ⌊(size - 1) / stride⌋ · stride.

    If there are such elements, "same" adds nothing, but TF.js would remove half of them from the
    beginning.
    """
    window = ops.known(node.kernel.shape)[:-2]
    if node.padding != "same" or not skips(window, node.strides, node.dilations):
        return x
    spans = ((k - 1) * d + 1 for k, d in zip(window, node.dilations, strict=True))
    one, strides = e.number(1), e.ints([1, *node.strides, 1])
    sizes = e.add("Shape", [x], out_type=dtype("int32"))
    last = e.add("Mul", [e.add("FloorDiv", [e.add("Sub", [sizes, one]), strides]), strides])
    kept = e.add("Minimum", [sizes, e.add("AddV2", [last, e.ints([1, *spans, 1])])])
    return e.add("Slice", [x, e.ints([0] * x.rank), kept])


# -------------------------------------------------------------------------- transposed convolutions


def emit_conv_transpose(e: Emitter, node: ops.ConvTranspose) -> str:
    """`Conv2DBackpropInput`, the gradient of a convolution.

    Its paddings express some croppings. For others the result is computed whole, padded with zeros
    where it has elements that no window reaches, and sliced.
    """
    if node.x.rank != 4:
        raise Refusal("", "TF.js supports transposed convolutions of 2D images only")
    window = ops.known(node.kernel.shape)[:2]
    axes = list(zip(window, node.strides, node.crop, node.extra, strict=True))
    sizes = [_grown(e, node.x, axis, s, extra) for axis, (_, s, _, extra) in enumerate(axes, 1)]
    # the gradient of a convolution over size · stride elements with padding "same" crops so much
    if all(extra == 0 and crop == max(k - s, 0) // 2 for k, s, crop, extra in axes):
        return _gradient(e, node, sizes, "SAME")
    whole = [_grown(e, node.x, axis, s, k - s) for axis, (k, s, _, _) in enumerate(axes, 1)]
    y = _gradient(e, node, whole, "VALID")
    if all(crop == 0 and extra == k - s for k, s, crop, extra in axes):
        return y
    missing = [max(0, crop + extra - (k - s)) for k, s, crop, extra in axes]
    if any(missing):
        pads = np.array([[0, 0], *([0, amount] for amount in missing), [0, 0]])
        y = e.add("PadV2", [y, e.ints(pads), e.number(0.0, "float32")])
    begin = e.ints([0, *node.crop, 0])
    return e.add("Slice", [y, begin, _cropped(e, node, sizes)])


def _cropped(e: Emitter, node: ops.ConvTranspose, sizes: Sequence[str]) -> str:
    """Sizes of a slice that takes all samples and channels."""
    if None not in node.sizes:
        return e.ints([-1, *ops.known(node.sizes), -1])
    whole = e.number(-1)
    return e.add("Pack", [whole, *sizes, whole], N=integer(4), axis=integer(0))


def _grown(e: Emitter, x: Tensor, axis: int, stride: int, extra: int) -> str:
    """The size of an axis · stride + extra."""
    size = x.shape[axis]
    if size is not None:
        return e.number(size * stride + extra)
    product = e.add("Mul", [size_of(e, x, axis), e.number(stride)])
    return e.add("AddV2", [product, e.number(extra)]) if extra else product


def _gradient(e: Emitter, node: ops.ConvTranspose, sizes: Sequence[str], padding: str) -> str:
    batch, channels = node.x.shape[0], node.kernel.shape[-2]
    first = size_of(e, node.x, 0) if batch is None else e.number(batch)
    out = e.add("Pack", [first, *sizes, e.number(channels or 0)], N=integer(4), axis=integer(0))
    return e.add(
        "Conv2DBackpropInput",
        [out, node.kernel, node.x],
        strides=integers((1, *node.strides, 1)),
        padding=text(padding),
        data_format=text("NHWC"),
        dilations=integers((1, 1, 1, 1)),
    )
