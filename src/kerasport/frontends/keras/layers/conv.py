"""Convolution layers.

Kernels start with the spatial axes, whatever the data format is. Inputs are
[batch, *spatial, channels], or [batch, channels, *spatial] with data_format="channels_first".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from kerasport.errors import ShapeError
from kerasport.frontends.keras.layers.activations import activate
from kerasport.frontends.keras.layers.base import (
    Activation,
    Count,
    Counts,
    DataFormat,
    Layer,
    Natural,
    Naturals,
    Padding,
    need_rank,
    weight,
)
from kerasport.frontends.keras.layers.traits import COMPUTES, WEIGHS, MaskRule, Traits
from kerasport.ir import ops
from kerasport.weights import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.ops.window import Padding as Paddings
    from kerasport.ir.tensor import Tensor


def window_output(
    size: int | None, window: int, stride: int, padding: str, dilation: int = 1
) -> int | None:
    """Size of an axis after a sliding window, with TensorFlow's definition of the padding.

    Raises:
        ShapeError: the window is larger than the axis.
    """
    if size is None:
        return None
    if padding != "valid":  # same, and causal, which pads on one side
        return -(-size // stride)
    length = size - (window - 1) * dilation
    if length <= 0:
        raise ShapeError(
            f"a window of {window} (dilation {dilation}) is larger than the size {size}"
        )
    return -(-length // stride)


class _Spatial(Layer):
    """A layer over the spatial axes of an image, a volume or a sequence."""

    rank: ClassVar[int]
    data_format: DataFormat = "channels_last"

    def split(self, x: Shape) -> tuple[Shape, int | None]:
        """Sizes of the spatial axes, and the number of channels."""
        need_rank(x, self.rank + 2)
        return (x[1:-1], x[-1]) if self.data_format == "channels_last" else (x[2:], x[1])

    def channels_last(self, x: Tensor) -> Tensor:
        """x with its channels as the last axis: [batch, *spatial, channels]."""
        return x if self.data_format == "channels_last" else ops.move_axis(x, 1, -1)

    def as_declared(self, y: Tensor) -> Tensor:
        """y [batch, *spatial, channels] in the data format of the layer."""
        return y if self.data_format == "channels_last" else ops.move_axis(y, -1, 1)

    def activated(self, y: Tensor, activation: Activation) -> Tensor:
        """The activation of y [batch, *spatial, channels], in the data format of the layer."""
        return self.as_declared(
            activate(activation, y, channels_first=self.data_format == "channels_first")
        )

    def join(self, x: Shape, spatial: Shape, channels: int | None) -> Shape:
        """The shape with the batch of x and these spatial sizes, in the layer's data format."""
        last = self.data_format == "channels_last"
        return (x[0], *spatial, channels) if last else (x[0], channels, *spatial)


class _Conv(_Spatial):
    traits = Traits(
        mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES, workload="convolutional"
    )

    filters: Count
    kernel_size: Counts
    strides: Counts
    padding: Padding = "valid"
    dilation_rate: Counts
    groups: Count = 1
    activation: Activation = "linear"
    use_bias: bool = True

    kernel: Weight = weight()  # [*kernel_size, input / groups, filters]
    bias: Weight | None = weight(when="use_bias")  # [filters]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        depth = None if channels is None else channels // self.groups
        return {"kernel": (*self.kernel_size, depth, self.filters), "bias": (self.filters,)}

    def infer(self, *inputs: Shape) -> Shape:
        spatial, _ = self.split(inputs[0])
        sizes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        out = tuple(window_output(n, k, s, self.padding, d) for n, k, s, d in sizes)
        return self.join(inputs[0], out, self.filters)

    def lower(self, x: Tensor) -> Tensor:
        kernel = ops.as_tensor(self.kernel)
        y = convolve(
            self.channels_last(x),
            kernel,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.groups,
        )
        y = y if self.bias is None else y + self.bias
        return self.activated(y, self.activation)


def convolve(
    x: Tensor,
    kernel: Tensor,
    strides: Sequence[int],
    padding: str,
    dilations: Sequence[int],
    groups: Count = 1,
) -> Tensor:
    """Cross-correlation of x [batch, *spatial, channels] with a kernel, in groups of channels.

    The kernel is [*window, channels / groups, filters], the result float32 [batch, *out, filters].
    A single spatial axis becomes two, because targets convolve over two or three axes.
    """
    if padding == "causal":
        before = (kernel.shape[0] or 0) - 1
        x, padding = ops.pad(x, [(0, 0), (before * dilations[0], 0), (0, 0)]), "valid"
    if x.rank == 3:
        wide = convolve(
            ops.expand_dims(x, 1),
            ops.expand_dims(kernel, 0),
            (1, *strides),
            padding,
            (1, *dilations),
            groups,
        )
        return ops.squeeze(wide, 1)
    return ops.Conv(
        ops.floats(x), kernel, tuple(strides), paddings(padding), tuple(dilations), groups
    )


def depthwise(
    x: Tensor, kernel: Tensor, strides: Sequence[int], padding: str, dilations: Sequence[int]
) -> Tensor:
    """Convolve each channel of x [batch, height, width, channels] with separate kernels.

    The kernel is [rows, columns, channels, multiplier], the result float32
    [batch, *out, channels · multiplier].
    """
    (rows, columns), (down, right) = strides, dilations
    return ops.DepthwiseConv(
        ops.floats(x), kernel, (rows, columns), paddings(padding), (down, right)
    )


def paddings(padding: str) -> Paddings:
    """The padding of the IR for "same" or "valid"."""
    return "same" if padding == "same" else "valid"


class Conv1D(_Conv):
    """activation(conv(x, kernel) + bias), over time.

    [batch, time, channels] to float32 [batch, out, filters].
    """

    rank = 1
    strides: Counts = (1,)
    dilation_rate: Counts = (1,)
    padding: Literal["valid", "same", "causal"] = "valid"  # type: ignore[assignment]


class Conv2D(_Conv):
    """activation(conv(x, kernel) + bias), over height and width.

    [batch, height, width, channels] to float32 [batch, *out, filters].
    """

    rank = 2
    strides: Counts = (1, 1)
    dilation_rate: Counts = (1, 1)


class Conv3D(_Conv):
    """activation(conv(x, kernel) + bias), over three spatial axes.

    [batch, depth, height, width, channels] to float32 [batch, *out, filters].
    """

    rank = 3
    strides: Counts = (1, 1, 1)
    dilation_rate: Counts = (1, 1, 1)


class _ConvTranspose(_Spatial):
    traits = Traits(
        mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES, workload="convolutional"
    )

    # Keras 2 writes it, and never reads it
    ignored = ("groups",)
    filters: Count
    kernel_size: Counts
    strides: Counts
    padding: Padding = "valid"
    output_padding: Naturals | Natural | None = None
    dilation_rate: Counts | Count = 1
    activation: Activation = "linear"
    use_bias: bool = True

    kernel: Weight = weight()  # [*kernel_size, filters, input]
    bias: Weight | None = weight(when="use_bias")  # [filters]

    def per_axis(self, option: int | tuple[int, ...]) -> tuple[int, ...]:
        """The value of an option for each spatial axis."""
        return option if isinstance(option, tuple) else (option,) * self.rank

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        return {"kernel": (*self.kernel_size, self.filters, channels), "bias": (self.filters,)}

    def infer(self, *inputs: Shape) -> Shape:
        spatial, _ = self.split(inputs[0])
        dilations = self.per_axis(self.dilation_rate)
        paddings = (
            (None,) * self.rank
            if self.output_padding is None
            else self.per_axis(self.output_padding)
        )
        axes = zip(spatial, self.kernel_size, self.strides, dilations, paddings, strict=True)
        out = tuple(
            transposed_output(n, k, s, d, p, padding=self.padding) for n, k, s, d, p in axes
        )
        return self.join(inputs[0], out, self.filters)

    def lower(self, x: Tensor) -> Tensor:
        """The transposed convolution, padded and cropped as Keras does it on JAX."""
        kernel, dilations = ops.as_tensor(self.kernel), self.per_axis(self.dilation_rate)
        y = transposed(
            self.channels_last(x), spread(kernel, dilations), self.strides, self.ends(), self.rank
        )
        y = y if self.bias is None else y + self.bias
        return self.activated(y, self.activation)

    def ends(self, *, by_default: bool = False) -> list[tuple[int, int]]:
        """(crop at the beginning, size of the result - size of x · stride) for each axis.

        `by_default` ignores `output_padding`.
        """
        none: tuple[int | None, ...] = (None,) * self.rank
        output_padding = (
            none
            if by_default or self.output_padding is None
            else self.per_axis(self.output_padding)
        )
        axes = zip(
            self.kernel_size,
            self.strides,
            self.per_axis(self.dilation_rate),
            output_padding,
            strict=True,
        )
        return [self._end(*axis) for axis in axes]

    def _end(
        self, window: int, stride: int, dilation: int, output_padding: int | None
    ) -> tuple[int, int]:
        extent = (window - 1) * dilation + 1
        if self.padding == "valid":
            extra = max(extent, stride) - extent if output_padding is None else output_padding
            return 0, extent - stride + extra
        if output_padding is None:
            pad, length = stride + extent - 2, 0
        else:
            pad, length = (
                extent + extent % 2 - 2 + output_padding,
                extent % 2 + output_padding - stride,
            )
        left = min(-(-pad // 2), extent - 1)
        return extent - 1 - left, length


def spread(kernel: Tensor, dilations: Sequence[int]) -> Tensor:
    """The kernel [*window, output, input] with zeros inserted for the dilations."""
    for axis, dilation in enumerate(dilations):
        if dilation > 1:
            wide = ops.expand_dims(kernel, axis + 1)
            amounts = [(0, 0)] * wide.rank
            amounts[axis + 1] = (0, dilation - 1)
            wide = ops.pad(wide, amounts)
            size = ops.known(kernel.shape)[axis]
            long = ops.reshape(
                wide, [*kernel.shape[:axis], size * dilation, *kernel.shape[axis + 1 :]]
            )
            kernel = ops.slice_axis(long, axis, 0, (size - 1) * dilation + 1)
    return kernel


def transposed(
    x: Tensor, kernel: Tensor, strides: Sequence[int], axes: Sequence[tuple[int, int]], count: int
) -> Tensor:
    """Transposed convolution of x [batch, *spatial, input]: float32 [batch, *out, output].

    The kernel is [*window, output, input]. `axes` has (crop, extra) for each of `count` axes.
    `crop` elements are cut at the beginning, and the result has size · stride + extra elements.
    """
    if count == 1:
        wide = transposed(
            ops.expand_dims(x, 1), ops.expand_dims(kernel, 0), (1, *strides), ((0, 0), *axes), 2
        )
        return ops.squeeze(wide, 1)
    crop, extra = zip(*axes, strict=True)
    sizes = tuple(
        None if n is None else n * s + e
        for n, s, e in zip(x.shape[1:-1], strides, extra, strict=True)
    )
    return ops.ConvTranspose(ops.floats(x), kernel, tuple(strides), crop, sizes, extra)


def transposed_output(
    size: int | None,
    window: int,
    stride: int,
    dilation: int,
    output_padding: int | None,
    *,
    padding: str,
) -> int | None:
    """Size of an axis after a transposed convolution, by Keras's rule."""
    if size is None:
        return None
    extent = (window - 1) * dilation + 1
    if padding == "valid":
        extra = max(extent, stride) - extent if output_padding is None else output_padding
        return (size - 1) * stride + extent + extra
    if output_padding is None:
        return size * stride
    return (size - 1) * stride + extent % 2 + output_padding


class Conv1DTranspose(_ConvTranspose):
    """activation(conv_transpose(x, kernel) + bias), over time.

    [batch, time, channels] to float32 [batch, out, filters].
    """

    rank = 1
    strides: Counts = (1,)


class Conv2DTranspose(_ConvTranspose):
    """activation(conv_transpose(x, kernel) + bias), over height and width.

    [batch, height, width, channels] to float32 [batch, *out, filters].
    """

    rank = 2
    strides: Counts = (1, 1)


class Conv3DTranspose(_ConvTranspose):
    """activation(conv_transpose(x, kernel) + bias), over three spatial axes.

    [batch, depth, height, width, channels] to float32 [batch, *out, filters].
    """

    rank = 3
    strides: Counts = (1, 1, 1)


class _Depthwise(_Spatial):
    traits = Traits(
        mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES, workload="convolutional"
    )

    kernel_size: Counts
    strides: Counts
    padding: Padding = "valid"
    depth_multiplier: Count = 1
    dilation_rate: Counts
    activation: Activation = "linear"
    use_bias: bool = True
    # Keras 2 inherits them from Conv, and never reads them
    ignored = ("groups", "filters")

    kernel: Weight = weight()  # [*kernel_size, input, depth_multiplier]
    bias: Weight | None = weight(when="use_bias")  # [input · depth_multiplier]

    def output_channels(self, channels: int | None) -> int | None:
        """Number of channels of the output, for this number of input channels."""
        return None if channels is None else channels * self.depth_multiplier

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        kernel = (*self.kernel_size, channels, self.depth_multiplier)
        return {"kernel": kernel, "bias": (self.output_channels(channels),)}

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        sizes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        out = tuple(window_output(n, k, s, self.padding, d) for n, k, s, d in sizes)
        return self.join(inputs[0], out, self.output_channels(channels))

    def lower(self, x: Tensor) -> Tensor:
        y = depthwise_of(self, self.channels_last(x), ops.as_tensor(self.kernel))
        y = y if self.bias is None else y + self.bias
        return self.activated(y, self.activation)


def depthwise_of(layer: _Depthwise | _Separable, x: Tensor, kernel: Tensor) -> Tensor:
    """The depthwise convolution of a layer, over one or two spatial axes.

    x [batch, *spatial, channels] and kernel [*window, channels, multiplier] give float32
    [batch, *out, channels · multiplier].
    """
    strides, dilations, padding = layer.strides, layer.dilation_rate, str(layer.padding)
    if padding == "causal":
        x, padding = (
            ops.pad(x, [(0, 0), ((layer.kernel_size[0] - 1) * dilations[0], 0), (0, 0)]),
            "valid",
        )
    if layer.rank == 2:
        return depthwise(x, kernel, strides, padding, dilations)
    # both axes get the same stride, because some targets support only one stride
    wide = depthwise(
        ops.expand_dims(x, 1), ops.expand_dims(kernel, 0), strides * 2, padding, (1, *dilations)
    )
    return ops.squeeze(wide, 1)


class DepthwiseConv1D(_Depthwise):
    """activation(depthwise_conv(x, kernel) + bias), over time.

    [batch, time, channels] to float32 [batch, out, channels · depth_multiplier].
    """

    rank = 1
    strides: Counts = (1,)
    dilation_rate: Counts = (1,)


class DepthwiseConv2D(_Depthwise):
    """activation(depthwise_conv(x, kernel) + bias), over height and width.

    [batch, height, width, channels] to float32 [batch, *out, channels · depth_multiplier].
    """

    rank = 2
    strides: Counts = (1, 1)
    dilation_rate: Counts = (1, 1)


class _Separable(_Spatial):
    traits = Traits(
        mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES, workload="convolutional"
    )

    filters: Count
    kernel_size: Counts
    strides: Counts
    padding: Padding = "valid"
    depth_multiplier: Count = 1
    dilation_rate: Counts
    activation: Activation = "linear"
    use_bias: bool = True
    # Keras 2 inherits it from Conv, and never reads it
    ignored = ("groups",)

    depthwise_kernel: Weight = weight()  # [*kernel_size, input, depth_multiplier]
    pointwise_kernel: Weight = weight()  # [1, …, input · depth_multiplier, filters]
    bias: Weight | None = weight(when="use_bias")  # [filters]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        depth = None if channels is None else channels * self.depth_multiplier
        return {
            "depthwise_kernel": (*self.kernel_size, channels, self.depth_multiplier),
            "pointwise_kernel": (*(1,) * self.rank, depth, self.filters),
            "bias": (self.filters,),
        }

    def infer(self, *inputs: Shape) -> Shape:
        spatial, _ = self.split(inputs[0])
        sizes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        out = tuple(window_output(n, k, s, self.padding, d) for n, k, s, d in sizes)
        return self.join(inputs[0], out, self.filters)

    def lower(self, x: Tensor) -> Tensor:
        y = depthwise_of(self, self.channels_last(x), ops.as_tensor(self.depthwise_kernel))
        ones = (1,) * self.rank
        y = convolve(y, ops.as_tensor(self.pointwise_kernel), ones, "valid", ones)
        y = y if self.bias is None else y + self.bias
        return self.activated(y, self.activation)


class SeparableConv1D(_Separable):
    """activation(pointwise(depthwise(x)) + bias), over time.

    [batch, time, channels] to float32 [batch, out, filters].
    """

    rank = 1
    strides: Counts = (1,)
    dilation_rate: Counts = (1,)
    padding: Literal["valid", "same", "causal"] = "valid"  # type: ignore[assignment]


class SeparableConv2D(_Separable):
    """activation(pointwise(depthwise(x)) + bias), over height and width.

    [batch, height, width, channels] to float32 [batch, *out, filters].
    """

    rank = 2
    strides: Counts = (1, 1)
    dilation_rate: Counts = (1, 1)
