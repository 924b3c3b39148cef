"""Convolutions. Kernels have the spatial axes first whatever the data format says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from kerasport.errors import ShapeError
from kerasport.layers.base import Activation, DataFormat, Layer, Padding, need_rank, weight
from kerasport.model import Shape, Weight


def window_output(size: int | None, window: int, stride: int, padding: str, dilation: int = 1) -> int | None:
    """Length of one axis after a window has slid over it, as TensorFlow defines the two paddings."""
    if size is None:
        return None
    if padding != "valid":  # same, and causal, which pads on one side
        return -(-size // stride)
    length = size - (window - 1) * dilation
    if length <= 0:
        raise ShapeError(f"a window of {window} (dilation {dilation}) does not fit into {size}")
    return -(-length // stride)


class _Spatial(Layer):
    """A layer over the spatial axes of an image, a volume or a sequence."""

    rank: ClassVar[int]
    data_format: DataFormat = "channels_last"

    def split(self, x: Shape) -> tuple[Shape, int | None]:
        """Spatial axes and number of channels."""
        need_rank(x, self.rank + 2)
        return (x[1:-1], x[-1]) if self.data_format == "channels_last" else (x[2:], x[1])

    def join(self, x: Shape, spatial: Shape, channels: int | None) -> Shape:
        """The shape with those spatial axes and channels."""
        last = self.data_format == "channels_last"
        return (x[0], *spatial, channels) if last else (x[0], channels, *spatial)


class _Conv(_Spatial):
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding = "valid"
    dilation_rate: tuple[int, ...]
    groups: int = 1
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


class Conv1D(_Conv):
    """activation(conv(x, kernel) + bias), over time."""

    rank = 1
    strides: tuple[int, ...] = (1,)
    dilation_rate: tuple[int, ...] = (1,)
    padding: Literal["valid", "same", "causal"] = "valid"  # type: ignore[assignment]


class Conv2D(_Conv):
    """activation(conv(x, kernel) + bias), over height and width."""

    rank = 2
    strides: tuple[int, ...] = (1, 1)
    dilation_rate: tuple[int, ...] = (1, 1)


class Conv3D(_Conv):
    """activation(conv(x, kernel) + bias), over three spatial axes."""

    rank = 3
    strides: tuple[int, ...] = (1, 1, 1)
    dilation_rate: tuple[int, ...] = (1, 1, 1)


class _ConvTranspose(_Spatial):
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding = "valid"
    output_padding: tuple[int, ...] | int | None = None
    dilation_rate: tuple[int, ...] | int = 1
    activation: Activation = "linear"
    use_bias: bool = True

    kernel: Weight = weight()  # [*kernel_size, filters, input]
    bias: Weight | None = weight(when="use_bias")  # [filters]

    def each(self, option: int | tuple[int, ...]) -> tuple[int, ...]:
        """The option for every spatial axis."""
        return option if isinstance(option, tuple) else (option,) * self.rank

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        return {"kernel": (*self.kernel_size, self.filters, channels), "bias": (self.filters,)}

    def infer(self, *inputs: Shape) -> Shape:
        spatial, _ = self.split(inputs[0])
        dilations = self.each(self.dilation_rate)
        paddings = (None,) * self.rank if self.output_padding is None else self.each(self.output_padding)
        axes = zip(spatial, self.kernel_size, self.strides, dilations, paddings, strict=True)
        out = tuple(transposed_output(n, k, s, d, p, padding=self.padding) for n, k, s, d, p in axes)
        return self.join(inputs[0], out, self.filters)


def transposed_output(
    size: int | None, window: int, stride: int, dilation: int, output_padding: int | None, *, padding: str
) -> int | None:
    """Length of one axis after a transposed convolution, by Keras's rule."""
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
    """activation(transposed convolution of x + bias), over time."""

    rank = 1
    strides: tuple[int, ...] = (1,)


class Conv2DTranspose(_ConvTranspose):
    """activation(transposed convolution of x + bias), over height and width."""

    rank = 2
    strides: tuple[int, ...] = (1, 1)
    ignored = ("groups",)  # Keras 2 writes it, always 1


class Conv3DTranspose(_ConvTranspose):
    """activation(transposed convolution of x + bias), over three spatial axes."""

    rank = 3
    strides: tuple[int, ...] = (1, 1, 1)
    ignored = ("groups",)


class _Depthwise(_Spatial):
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding = "valid"
    depth_multiplier: int = 1
    dilation_rate: tuple[int, ...]
    activation: Activation = "linear"
    use_bias: bool = True
    ignored = ("groups", "filters")  # Keras 2 inherits them from Conv and reads neither

    kernel: Weight = weight()  # [*kernel_size, input, depth_multiplier]
    bias: Weight | None = weight(when="use_bias")  # [input · depth_multiplier]

    def made(self, channels: int | None) -> int | None:
        """Number of channels that the kernel makes of so many."""
        return None if channels is None else channels * self.depth_multiplier

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        kernel = (*self.kernel_size, channels, self.depth_multiplier)
        return {"kernel": kernel, "bias": (self.made(channels),)}

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        sizes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        out = tuple(window_output(n, k, s, self.padding, d) for n, k, s, d in sizes)
        return self.join(inputs[0], out, self.made(channels))


class DepthwiseConv1D(_Depthwise):
    """activation(each channel convolved with kernels of its own + bias), over time."""

    rank = 1
    strides: tuple[int, ...] = (1,)
    dilation_rate: tuple[int, ...] = (1,)


class DepthwiseConv2D(_Depthwise):
    """activation(each channel convolved with kernels of its own + bias), over height and width."""

    rank = 2
    strides: tuple[int, ...] = (1, 1)
    dilation_rate: tuple[int, ...] = (1, 1)


class _Separable(_Spatial):
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding = "valid"
    depth_multiplier: int = 1
    dilation_rate: tuple[int, ...]
    activation: Activation = "linear"
    use_bias: bool = True
    ignored = ("groups",)  # Keras 2 inherits it from Conv and never reads it

    depthwise_kernel: Weight = weight()  # [*kernel_size, input, depth_multiplier]
    pointwise_kernel: Weight = weight()  # [1, …, input · depth_multiplier, filters]
    bias: Weight | None = weight(when="use_bias")  # [filters]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        _, channels = self.split(inputs[0])
        made = None if channels is None else channels * self.depth_multiplier
        return {
            "depthwise_kernel": (*self.kernel_size, channels, self.depth_multiplier),
            "pointwise_kernel": (*(1,) * self.rank, made, self.filters),
            "bias": (self.filters,),
        }

    def infer(self, *inputs: Shape) -> Shape:
        spatial, _ = self.split(inputs[0])
        sizes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        out = tuple(window_output(n, k, s, self.padding, d) for n, k, s, d in sizes)
        return self.join(inputs[0], out, self.filters)


class SeparableConv1D(_Separable):
    """activation(pointwise(depthwise(x)) + bias), over time."""

    rank = 1
    strides: tuple[int, ...] = (1,)
    dilation_rate: tuple[int, ...] = (1,)
    padding: Literal["valid", "same", "causal"] = "valid"  # type: ignore[assignment]


class SeparableConv2D(_Separable):
    """activation(pointwise(depthwise(x)) + bias), over height and width."""

    rank = 2
    strides: tuple[int, ...] = (1, 1)
    dilation_rate: tuple[int, ...] = (1, 1)
