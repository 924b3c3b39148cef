"""Ops of neural networks: matrix products, convolutions, pooling and normalization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.graphdef.ops.call import Call, Lower, Rows
from kerasport.frontends.graphdef.ops.layout import Layout, layout_of, padding_of
from kerasport.frontends.graphdef.ops.math import number
from kerasport.ir import ops
from kerasport.ir.ops.movement import Size
from kerasport.ir.ops.window import Padding, amounts
from kerasport.ir.tensor import Constant, Tensor

# ----------------------------------------------------------------------------------------- products


def mat_mul(call: Call) -> Tensor:
    """Matrix product of matrices."""
    flags = call.flag("transpose_a"), call.flag("transpose_b")
    return ops.MatMul(call.x(0), call.x(1), *flags)


def batch_mat_mul(call: Call) -> Tensor:
    """Matrix products of the last two axes."""
    return ops.MatMul(call.x(0), call.x(1), call.flag("adj_x"), call.flag("adj_y"))


def einsum(call: Call) -> Tensor:
    """A sum of products, by an equation."""
    equation = call.text("equation").replace(" ", "")
    simple = equation.replace(",", "").replace("->", "").isalpha()
    terms = equation.partition("->")[0].split(",")
    if simple and len(call.operands) < 3 and all(len(set(t)) == len(t) for t in terms):
        return ops.einsum(equation, *call.tensors)
    # ellipses and repeated labels, as in Keras
    from kerasport.frontends.keras.functions import products  # noqa: PLC0415  (rarely needed)

    return products.einsum(equation, *call.tensors)


# ------------------------------------------------------------------------------------- convolutions


def conv(call: Call, rank: int) -> tuple[Tensor, Layout]:
    """A convolution with channels last, and the layout of the node."""
    layout = layout_of(call, rank)
    x, kernel = layout.last(call.x(0)), call.x(1)
    depth, channels = kernel.shape[-2], x.shape[-1]
    groups = 1 if None in (depth, channels) else channels // depth  # type: ignore[operator]
    y = ops.Conv(
        x,
        kernel,
        layout.spatial(call.integers("strides"), "strides"),
        padding_of(call, layout),
        layout.spatial(call.integers("dilations"), "dilations"),
        groups,
    )
    return y, layout


def depthwise(call: Call) -> tuple[Tensor, Layout]:
    """A depthwise convolution with channels last, and the layout of the node."""
    layout = layout_of(call)
    strides = layout.spatial(call.integers("strides"), "strides")
    dilations = layout.spatial(call.integers("dilations"), "dilations")
    y = ops.DepthwiseConv(
        layout.last(call.x(0)),
        call.x(1),
        (strides[0], strides[1]),
        padding_of(call, layout),
        (dilations[0], dilations[1]),
    )
    return y, layout


def plain(convolution: Callable[[Call], tuple[Tensor, Layout]]) -> Lower:
    """The row of a convolution without further steps."""

    def lower(call: Call) -> Tensor:
        y, layout = convolution(call)
        return layout.back(y)

    return lower


def conv_transpose(call: Call, rank: int) -> Tensor:
    """The gradient of a convolution with respect to its input."""
    layout = layout_of(call, rank)
    if set(layout.spatial(call.integers("dilations"), "dilations")) != {1}:
        raise Refusal("dilations", "transposed convolutions with dilations are not supported")
    sizes, kernel, x = call.sizes(0), call.x(1), layout.last(call.x(2))
    strides = layout.spatial(call.integers("strides"), "strides")
    padding = padding_of(call, layout)
    wanted = sizes[2:] if layout.first else sizes[1:-1]
    extra, crop = [], []
    for axis, (size, stride) in enumerate(zip(wanted, strides, strict=True)):
        extra.append(_extra(size, x, axis + 1, stride))
        window = ops.known(kernel.shape[axis : axis + 1])[0]
        crop.append(_crop(window, stride, extra[-1], padding, axis))
    whole = tuple(
        None if length is None else length * stride + more
        for length, stride, more in zip(x.shape[1:-1], strides, extra, strict=True)
    )
    y = ops.ConvTranspose(x, kernel, strides, tuple(crop), whole, tuple(extra))
    return layout.back(y)


def _extra(size: Size, x: Tensor, axis: int, stride: int) -> int:
    """The size of the result without `stride` times the size of x."""
    length = x.shape[axis]
    if isinstance(size, int) and length is not None:
        return size - length * stride
    line = _line(size, x, axis)
    if line is None or line[0] != stride:
        raise Refusal(
            "", "the size of its result does not follow from the size of its input; fix the sizes"
        )
    return line[1]


def _line(size: Size, x: Tensor, axis: int) -> tuple[int, int] | None:
    """Factor and offset, if a size is `factor · (size of x) + offset`."""
    match size:
        case int():
            return 0, size
        case Constant():
            return 0, int(size.read())
        case ops.Dim(y, other):
            extent = y.extents[other]
            same = (y is x and other == axis) or (extent is not None and extent == x.extents[axis])
            return (1, 0) if same else None
        case ops.Add(a, b) | ops.Sub(a, b):
            first, second = _line(a, x, axis), _line(b, x, axis)
            sign = 1 if isinstance(size, ops.Add) else -1
            if first is None or second is None:
                return None
            return first[0] + sign * second[0], first[1] + sign * second[1]
        case ops.Mul(a, b):
            first, second = _line(a, x, axis), _line(b, x, axis)
            if first is None or second is None or (first[0] and second[0]):
                return None
            factor, line = (first, second) if not first[0] else (second, first)
            return line[0] * factor[1], line[1] * factor[1]
    return None


def _crop(window: int, stride: int, extra: int, padding: Padding, axis: int) -> int:
    """The number of elements that the padding of the convolution adds before an axis."""
    if padding == "valid":
        return 0
    if padding == "same":
        return max(window - stride - extra, 0) // 2
    return amounts(0, window, stride, 1, padding, axis)[0]


def dilation(call: Call) -> Tensor:
    """The largest sum of a pixel and an element of the kernel in each window."""
    layout = layout_of(call)
    x, kernel = call.x(0), call.x(1)
    strides = layout.spatial(call.integers("strides"), "strides")
    rates = layout.spatial(call.integers("rates") or call.integers("dilations"), "rates")
    padding = padding_of(call, layout)
    window = ops.known(kernel.shape[:2])
    for axis in (0, 1):
        pair = amounts(
            ops.known(x.shape[1:3])[axis], window[axis], strides[axis], rates[axis], padding, axis
        )
        pads = [(0, 0)] * 4
        pads[axis + 1] = pair
        x = ops.pad(x, pads, "constant", float(np.finfo(np.float32).min))
    found: Tensor | None = None
    for row, column in np.ndindex(*window):
        moved = _shifted(x, (row, column), window, strides, rates)
        total = ops.Add(moved, ops.reshape(_element(kernel, row, column), (-1,)))
        found = total if found is None else ops.Maximum(found, total)
    assert found is not None
    return found


def _shifted(
    x: Tensor,
    place: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    rates: Sequence[int],
) -> Tensor:
    """The elements of all windows that are at one place of the window."""
    parts: list[Any] = [ops.WHOLE] * 4
    for axis in (0, 1):
        size = ops.known(x.shape[1:3])[axis]
        first = place[axis] * rates[axis]
        count = (size - (window[axis] - 1) * rates[axis] - 1) // strides[axis] + 1
        parts[axis + 1] = (first, first + (count - 1) * strides[axis] + 1, strides[axis])
    return ops.strided(x, parts)


def _element(kernel: Tensor, row: int, column: int) -> Tensor:
    return ops.slice_axis(ops.slice_axis(kernel, 0, row, 1), 1, column, 1)


# ------------------------------------------------------------------------------------ fused kernels

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Relu": ops.Relu, "Relu6": ops.Relu6, "Elu": ops.Elu, "Sigmoid": ops.Sigmoid, "Tanh": ops.Tanh,
}  # fmt: skip
"""Name of an activation in `fused_ops` → the operation."""


def fused(convolution: Callable[[Call], tuple[Tensor, Layout]]) -> Lower:
    """The row of an op that adds a bias and applies an activation after another op."""

    def lower(call: Call) -> Tensor:
        y, layout = convolution(call)
        if call.text("filter_format", "HWIO") not in ("HWIO", "DHWIO"):
            raise Refusal("filter_format", "this order of the axes of a kernel is not supported")
        further = list(call.tensors[2:])
        epsilon, slope = call.number("epsilon"), call.number("leakyrelu_alpha", 0.2)
        for step in call.attribute("fused_ops", ()):
            name = step.decode() if isinstance(step, bytes) else str(step)
            if name == "BiasAdd":
                y = ops.Add(y, further.pop(0))
            elif name == "FusedBatchNorm":
                scale, offset, mean, variance = further[:4]
                y = normalized(y, scale, offset, mean, variance, epsilon)
                further = further[4:]
            elif name == "LeakyRelu":
                y = ops.LeakyRelu(y, slope)
            elif name == "Prelu":
                y = ops.Sub(ops.Relu(y), ops.Mul(further.pop(0), ops.Relu(ops.Neg(y))))
            elif name in ACTIVATIONS:
                y = ACTIVATIONS[name](y)
            else:
                raise Refusal("fused_ops", f"{name} after the op is not supported")
        return layout.back(y)

    return lower


def fused_product(call: Call) -> tuple[Tensor, Layout]:
    """The product of `_FusedMatMul`."""
    return mat_mul(call), Layout(2, first=False)


# ------------------------------------------------------------------------------ bias, normalization


def bias_add(call: Call) -> Tensor:
    """x plus a number for each channel."""
    x, bias = call.x(0), call.x(1)
    first = call.text("data_format", "NHWC").startswith("NC") and x.rank > 2
    if first:
        bias = ops.reshape(bias, (-1, *[1] * (x.rank - 2)))
    return ops.Add(x, bias)


def normalized(
    x: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> Tensor:
    """(x - mean) / √(variance + epsilon) · scale + offset, as one product and one sum."""
    factor = ops.Mul(scale, ops.Rsqrt(ops.Add(variance, number(epsilon, variance))))
    rest = ops.Sub(offset, ops.Mul(mean, factor))
    return ops.Add(ops.Mul(x, ops.cast(factor, x.dtype)), ops.cast(rest, x.dtype))


def batch_norm(call: Call) -> tuple[Tensor, ...]:
    """Normalization of each channel, by given or by its own mean and variance.

    The results after the normalized images serve training, and are not computed.
    """
    x, scale, offset, mean, variance = call.tensors[:5]
    rank = x.rank
    layout = layout_of(call, rank)
    x = layout.last(x)
    epsilon, training = call.number("epsilon", 1e-4), call.flag("is_training", default=True)
    # it only determines the results for training
    call.number("exponential_avg_factor", 1.0)
    if training:
        axes = list(range(rank - 1))
        wide = ops.floats(x)
        mean = ops.mean(wide, axes)
        variance = ops.mean(ops.Square(ops.Sub(wide, mean)), axes)
    return (layout.back(normalized(x, scale, offset, mean, variance, epsilon)),)


# ------------------------------------------------------------------------------------------ pooling


def pool(op: type[ops.MaxPool | ops.AvgPool], rank: int = 4) -> Lower:
    """The row of a pooling."""

    def lower(call: Call) -> Tensor:
        layout = layout_of(call, rank)
        x = layout.last(call.x(0))
        if len(call.operands) == 3:
            window, strides = call.ints(1, "window"), call.ints(2, "strides")
        else:
            window, strides = call.integers("ksize"), call.integers("strides")
        padding = padding_of(call, layout)
        if not isinstance(padding, str):
            # only MaxPool has explicit padding
            pads = [(0, 0), *padding, (0, 0)]
            x, padding = ops.pad(x, pads, "constant", float(np.finfo(np.float32).min)), "valid"
        sizes = layout.spatial(window, "ksize"), layout.spatial(strides, "strides")
        return layout.back(op(x, *sizes, padding))

    return lower


ROWS: Rows = {
    "MatMul": mat_mul, "BatchMatMul": batch_mat_mul, "BatchMatMulV2": batch_mat_mul,
    "BatchMatMulV3": batch_mat_mul, "Einsum": einsum,
    "Conv2D": plain(lambda call: conv(call, 4)), "Conv3D": plain(lambda call: conv(call, 5)),
    "DepthwiseConv2dNative": plain(depthwise), "DepthwiseConv2d": plain(depthwise),
    "Conv2DBackpropInput": lambda call: conv_transpose(call, 4),
    "Conv3DBackpropInputV2": lambda call: conv_transpose(call, 5), "Dilation2D": dilation,
    "_FusedConv2D": fused(lambda call: conv(call, 4)), "_FusedMatMul": fused(fused_product),
    "FusedDepthwiseConv2dNative": fused(depthwise), "BiasAdd": bias_add, "BiasAddV1": bias_add,
    "FusedBatchNorm": batch_norm, "FusedBatchNormV2": batch_norm, "FusedBatchNormV3": batch_norm,
    "MaxPool": pool(ops.MaxPool), "MaxPoolV2": pool(ops.MaxPool), "AvgPool": pool(ops.AvgPool),
    "MaxPool3D": pool(ops.MaxPool, 5), "AvgPool3D": pool(ops.AvgPool, 5),
}  # fmt: skip
