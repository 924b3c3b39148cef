"""Operations that slide a window over the spatial axes of x [batch, *spatial, channels]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import FLOATS
from kerasport.ir.graph import Graph
from kerasport.ir.ops.elementwise import (
    Floor,
    Select,
    add,
    cast,
    div,
    greater,
    greater_equal,
    maximum,
    minimum,
    mul,
    sub,
)
from kerasport.ir.ops.movement import Gather, Range, Size, dim, expect_sizes, extent_of
from kerasport.ir.tensor import (
    Extent,
    Extents,
    Tensor,
    TensorType,
    as_tensor,
    expect,
    without_names,
)
from kerasport.weights import Array

Padding: TypeAlias = Literal["valid", "same"] | tuple[tuple[int, int], ...]
"""Number of elements to add before and after each spatial axis.

With "same", the result has ceil(size / stride) elements. An odd element is added at the end.
"""

RANKS = (4, 5)
"""Ranks of images and volumes, with batch and channels. Layers expand one spatial axis to two."""


def expect_images(node: Tensor, x: Tensor) -> None:
    """Check that x is a batch of images or volumes of floats.

    Raises:
        ShapeError: the element type or the rank of x is not supported.
    """
    expect(node, x, FLOATS)
    if x.rank not in RANKS:
        raise ShapeError(f"{type(node).__name__} needs images or volumes, not {x.type}")


def amounts(
    size: int, window: int, stride: int, dilation: int, padding: Padding, axis: int
) -> tuple[int, int]:
    """The number of elements that a padding adds before and after one axis."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        out = -(-size // stride)
        total = max((out - 1) * stride + (window - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2
    return padding[axis]


def window_shape(
    x: Extents,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
) -> Extents:
    """The spatial extents of the result, for the spatial extents `x`.

    Raises:
        ShapeError: a stride is less than 1, or the window is larger than the padded axis.
    """
    out: list[Extent] = []
    for axis, (size, k, s, d) in enumerate(zip(x, window, strides, dilations, strict=True)):
        if not isinstance(size, int):
            out.append(size if padding == "same" and s == 1 else None)
            continue
        if s < 1:
            raise ShapeError(f"the strides of a window must be at least 1, not {tuple(strides)}")
        length = size + sum(amounts(size, k, s, d, padding, axis)) - (k - 1) * d
        if length <= 0:
            raise ShapeError(f"a window of {tuple(window)} is larger than {without_names(x)}")
        out.append(-(-length // s))
    return tuple(out)


def windows(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
    fill: float,
) -> Array:
    """All windows of x [batch, *spatial, channels]: [batch, *out, channels, *window]."""
    spatial = x.shape[1:-1]
    pads = [
        amounts(n, k, s, d, padding, a)
        for a, (n, k, s, d) in enumerate(zip(spatial, window, strides, dilations, strict=True))
    ]
    padded = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    extents = [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]
    axes = tuple(range(1, len(spatial) + 1))
    view = np.lib.stride_tricks.sliding_window_view(padded, extents, axes)
    every = [slice(None), *(slice(None, None, s) for s in strides), slice(None)]
    index = tuple(every + [slice(None, None, d) for d in dilations])
    result: Array = view[index]
    return result


class Conv(Tensor):
    """Convolution of x [batch, *spatial, input]: [batch, *out, output].

    The kernel is [*window, input / groups, output], and is not mirrored (cross-correlation). The
    channels of x and of the result are split into `groups` consecutive groups. Each group of the
    result depends only on the group of x with the same index.
    """

    x: Tensor
    kernel: Tensor
    strides: tuple[int, ...]
    padding: Padding
    dilations: tuple[int, ...]
    groups: int = 1

    def infer(self) -> TensorType:
        expect_images(self, self.x)
        *window, depth, filters = (
            self.kernel.shape if self.groups == 1 else known(self.kernel.shape)
        )
        channels = None if depth is None else depth * self.groups
        if self.x.rank != self.kernel.rank or self.x.shape[-1] not in (channels, None):
            raise ShapeError(
                f"the kernel {self.kernel.type} does not fit {self.x.type}{self._in_groups()}"
            )
        if self.groups < 1 or (filters or 0) % self.groups:
            raise ShapeError(f"the kernel {self.kernel.type} cannot be split{self._in_groups()}")
        out = window_shape(
            self.x.extents[1:-1], known(window), self.strides, self.dilations, self.padding
        )
        return TensorType(self.x.dtype, (self.x.extents[0], *out, filters))

    def compute(self, *operands: Any) -> Array:
        parts = zip(*(np.split(operand, self.groups, -1) for operand in operands), strict=True)
        result: Array = np.concatenate([self._group(x, kernel) for x, kernel in parts], -1)
        return result

    def _in_groups(self) -> str:
        return "" if self.groups == 1 else f" for groups={self.groups}"

    def _group(self, x: Array, kernel: Array) -> Array:
        view = windows(x, kernel.shape[:-2], self.strides, self.dilations, self.padding, 0)
        count = len(self.strides)
        axes = [*range(count + 2, 2 * count + 2), count + 1]
        result: Array = np.tensordot(view, kernel, (axes, list(range(count + 1)))).astype(
            x.dtype, copy=False
        )
        return result


class DepthwiseConv(Tensor):
    """Depthwise convolution of x [batch, height, width, input].

    The kernel is [*window, input, multiplier]. Each channel of x has its own kernels: channel i and
    kernel m compute channel i · multiplier + m of the result.
    """

    x: Tensor
    kernel: Tensor
    strides: tuple[int, int]
    padding: Padding
    dilations: tuple[int, int]

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        *window, depth, multiplier = self.kernel.shape
        if self.x.rank != 4 or self.x.shape[-1] not in (depth, None):
            raise ShapeError(f"the kernel {self.kernel.type} does not fit {self.x.type}")
        out = window_shape(
            self.x.extents[1:-1], known(window), self.strides, self.dilations, self.padding
        )
        output_channels = None if depth is None or multiplier is None else depth * multiplier
        return TensorType(self.x.dtype, (self.x.extents[0], *out, output_channels))

    def compute(self, *operands: Any) -> Array:
        x, kernel = operands
        view = windows(x, kernel.shape[:2], self.strides, self.dilations, self.padding, 0)
        y = np.einsum("bhwcij,ijcm->bhwcm", view, kernel)
        result: Array = y.reshape(*y.shape[:3], -1).astype(x.dtype, copy=False)
        return result


class ConvTranspose(Tensor):
    """Transposed convolution of x [batch, *spatial, input]: [batch, *sizes, output].

    The kernel is [*window, output, input]. Each element of x adds one scaled kernel to the result.
    The full result has (size - 1) · stride + window elements on an axis. The result starts at
    element `crop` of it, and has zeros after the end of the full result.
    """

    x: Tensor
    kernel: Tensor
    strides: tuple[int, ...]
    crop: tuple[int, ...]
    # None if the spatial size of x is unknown
    sizes: tuple[int | None, ...]
    # size of the result = size of x · stride + extra
    extra: tuple[int, ...]

    def infer(self) -> TensorType:
        expect_images(self, self.x)
        *_, filters, depth = self.kernel.shape
        if self.x.rank != self.kernel.rank or self.x.shape[-1] not in (depth, None):
            raise ShapeError(f"the kernel {self.kernel.type} does not fit {self.x.type}")
        return TensorType(self.x.dtype, (self.x.extents[0], *self.sizes, filters))

    def compute(self, *operands: Any) -> Array:
        x, kernel = operands
        window, spatial = kernel.shape[:-2], x.shape[1:-1]
        whole = [(n - 1) * s + k for n, s, k in zip(spatial, self.strides, window, strict=True)]
        out = np.zeros((x.shape[0], *whole, kernel.shape[-2]), x.dtype)
        for offset in np.ndindex(*window):
            part = np.tensordot(x, kernel[offset], ([-1], [-1]))
            steps = zip(offset, spatial, self.strides, strict=True)
            places = (slice(None), *(slice(t, t + (n - 1) * s + 1, s) for t, n, s in steps))
            out[places] += part
        kept = [n * s + e for n, s, e in zip(spatial, self.strides, self.extra, strict=True)]
        pads = [(0, max(0, c + k - w)) for c, k, w in zip(self.crop, kept, whole, strict=True)]
        padded = np.pad(out, [(0, 0), *pads, (0, 0)])
        index = (slice(None), *(slice(c, c + k) for c, k in zip(self.crop, kept, strict=True)))
        return padded[index]


class Pool(Tensor):
    """A reduction of each window of x [batch, *spatial, channels] to one element.

    A class sets `function`, the reduction in numpy, and `fill`, the value of padded elements.
    """

    x: Tensor
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Literal["valid", "same"]
    fill: ClassVar[float]
    function: ClassVar[Callable[..., Any]]

    def infer(self) -> TensorType:
        expect_images(self, self.x)
        ones = (1,) * len(self.window)
        out = window_shape(self.x.extents[1:-1], self.window, self.strides, ones, self.padding)
        return TensorType(self.x.dtype, (self.x.extents[0], *out, self.x.extents[-1]))

    def compute(self, *operands: Any) -> Array:
        ones = (1,) * len(self.window)
        view = windows(operands[0], self.window, self.strides, ones, self.padding, self.fill)
        axes = tuple(range(-len(self.window), 0))
        result: Array = type(self).function(view, axis=axes).astype(view.dtype)
        return result


class MaxPool(Pool):
    """The largest element of each window."""

    fill = -np.inf
    function = np.max


class AvgPool(Pool):
    """The mean of each window, without padded elements."""

    fill = np.nan
    function = np.nanmean


def nearest(old: int, new: int) -> Array:
    """The index of the old pixel that is nearest to the center of each new pixel: [new]."""
    places: Array = (2 * np.arange(new) + 1) * old // (2 * new)
    return places


class Resize(Tensor):
    """x [batch, height, width, channels] resized to `size`: [batch, *size, channels].

    Pixel i of the result is sampled at (i + 0.5) · old / new - 0.5 if `half_pixel_centers`, at
    i · (old - 1) / (new - 1) if `align_corners`, and otherwise at i · old / new. Source:
    `ResizeBilinear` of TensorFlow. Nearest pixels are always those of centers of pixels; for other
    pixels see `resize_nearest`.
    """

    x: Tensor
    size: tuple[Size, Size]
    method: Literal["nearest", "bilinear"]
    align_corners: bool = False
    half_pixel_centers: bool = True

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        expect_sizes(self, *self.size)
        if self.x.rank != 4:
            raise ShapeError(f"Resize needs images, not {self.x.type}")
        if self.align_corners and self.half_pixel_centers:
            raise ShapeError("Resize supports either align_corners or half_pixel_centers")
        if self.method == "nearest" and not self.half_pixel_centers:
            raise ShapeError("Resize samples the nearest pixels only with half_pixel_centers")
        sizes = map(extent_of, self.size)
        return TensorType(self.x.dtype, (self.x.extents[0], *sizes, self.x.extents[-1]))

    def compute(self, *operands: Any) -> Array:
        x: Array = operands[0]
        run_time_sizes = iter(operands[1:])
        for axis, size in zip((1, 2), self.size, strict=True):
            x = self._along(x, axis, size if isinstance(size, int) else int(next(run_time_sizes)))
        return x.astype(operands[0].dtype)

    def _along(self, x: Array, axis: int, size: int) -> Array:
        old = x.shape[axis]
        if self.method == "nearest":
            return np.take(x, nearest(old, size), axis)
        positions = self._positions(old, size)
        low = np.floor(positions).astype(int)
        share = (
            (positions - low)
            .astype(np.float32)
            .reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        )
        below = np.take(x, np.clip(low, 0, old - 1), axis)
        above = np.take(x, np.clip(low + 1, 0, old - 1), axis)
        mixed: Array = below + (above - below) * share
        return mixed

    def _positions(self, old: int, new: int) -> Array:
        """Where the pixels of the result are sampled: float64 [new]."""
        if self.half_pixel_centers:
            return (np.arange(new) + 0.5) * (old / new) - 0.5
        if self.align_corners and new > 1:
            return np.arange(new) * ((old - 1) / (new - 1))
        return np.arange(new) * (old / new)


def resize_nearest(
    x: Tensor, size: tuple[Size, Size], *, align_corners: bool, half_pixel_centers: bool
) -> Tensor:
    """x [batch, height, width, channels] in the nearest pixels: [batch, *size, channels].

    It may have any element type. The pixels are those of `ResizeNearestNeighbor` of TensorFlow,
    which computes their positions in float32, so that a position between two pixels may become
    either. Source: tensorflow/core/kernels/image/resize_nearest_neighbor_op.cc.

    Raises:
        ShapeError: both options are true.
    """
    if align_corners and half_pixel_centers:
        raise ShapeError("Resize supports either align_corners or half_pixel_centers")
    if x.rank != 4:
        raise ShapeError(f"Resize needs images, not {x.type}")
    pixels = partial(_pixels, align_corners=align_corners, half_pixel_centers=half_pixel_centers)
    axes = [(dim(x, axis), new) for axis, new in zip((1, 2), size, strict=True)]
    if x.dtype == "float32" and all(_is_centered(*axis, pixels) for axis in axes):
        return Resize(x, size, "nearest")
    for axis, (old, new) in zip((1, 2), axes, strict=True):
        x = Gather(x, pixels(old, new), axis)
    return x


def _is_centered(old: Size, new: Size, pixels: Callable[[Size, Size], Tensor]) -> bool:
    """Whether the pixels are those that `Resize` takes."""
    if not isinstance(old, int) or not isinstance(new, int):
        return False
    (index,) = Graph((), (pixels(old, new),)).run()
    return bool(np.array_equal(index, nearest(old, new)))


def _pixels(old: Size, new: Size, *, align_corners: bool, half_pixel_centers: bool) -> Tensor:
    """The index of the old pixel that is nearest to each new one: int32 [new]."""
    before, after = (cast(as_tensor(size), "float32") for size in (old, new))
    scale = div(before, after)
    if align_corners and new != 1:
        # one pixel has no other corner
        is_single = greater(after, 1.0)
        between = maximum(sub(after, 1.0), 1.0)
        scale = Select(is_single, div(sub(before, 1.0), between), scale)
    counted = cast(Range(as_tensor(new)), "float32")
    positions = mul(add(counted, 0.5) if half_pixel_centers else counted, scale)
    pixel: Tensor = Floor(positions)
    if align_corners:
        pixel = add(pixel, cast(greater_equal(sub(positions, pixel), 0.5), "float32"))
    return cast(minimum(pixel, sub(before, 1.0)), "int32")


def known(sizes: Sequence[int | None]) -> tuple[int, ...]:
    """The same sizes, all of which must be known.

    Raises:
        ShapeError: a size is known only at run time.
    """
    if any(size is None for size in sizes):
        raise ShapeError(f"the sizes {tuple(sizes)} must be fixed")
    return tuple(size for size in sizes if size is not None)
