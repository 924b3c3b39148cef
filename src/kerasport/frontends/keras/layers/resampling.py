"""Resizing of images, by multiplying each spatial axis by a matrix of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd, lcm, pi, prod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kerasport.budget import matrix, reserve
from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.weights import Array, axis_of

if TYPE_CHECKING:
    from kerasport.ir.dtypes import DType
    from kerasport.ir.ops import Tensor
    from kerasport.ir.ops.movement import Size

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]


def triangle(x: Array) -> Array:
    """max(1 - x, 0), for x ≥ 0."""
    return np.maximum(0.0, 1.0 - x)


def cubic(x: Array) -> Array:
    """The cubic convolution kernel of Keys with a = -1/2, for x ≥ 0."""
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x >= 2.0, 0.0, np.where(x >= 1.0, far, near))


def lanczos(radius: float) -> Callable[[Array], Array]:
    """The function sinc(x) · sinc(x / radius) for 0 ≤ x ≤ radius, else 0."""
    return lambda x: np.where(x > radius, 0.0, np.sinc(x) * np.sinc(x / radius))


KERNELS: Mapping[str, Callable[[Array], Array]] = {
    "bilinear": triangle, "bicubic": cubic, "lanczos3": lanczos(3.0), "lanczos5": lanczos(5.0)
}  # fmt: skip
"""Interpolation → the weight of a pixel at a distance x ≥ 0."""


def weights(
    old: int,
    new: int,
    interpolation: str,
    *,
    antialias: bool,
    scale: float | None = None,
    translation: float = 0.0,
) -> Array:
    """The weight of each old pixel in each new pixel: float64 [new, old]. Each row sums to 1.

    Pixels are sampled at their centers. With `antialias`, the kernel is wider if images shrink.
    """
    step = old / new if scale is None else 1.0 / scale
    width = max(step, 1.0) if antialias else 1.0
    reserve(old)
    pixels = np.arange(old)

    def normalized(rows: Array) -> Array:
        centers = (rows + 0.5) * step - translation * step - 0.5
        shares = KERNELS[interpolation](np.abs(centers - pixels) / width)
        total = shares.sum(1, keepdims=True)
        enough = np.abs(total) > 1000 * np.finfo(np.float32).eps
        inside = (centers >= -0.5) & (centers <= old - 0.5)
        return np.where(enough & inside, shares / np.where(total == 0, 1.0, total), 0.0)

    return matrix(new, old, normalized)


def corners(old: int, new: int) -> Array:
    """`weights` for bilinear interpolation at the corners of pixels, as in TensorFlow 1."""
    reserve(old)
    pixels = np.arange(old)
    return matrix(
        new, old, lambda rows: triangle(np.abs(np.minimum(rows * (old / new), old - 1) - pixels))
    )


def weighted(x: Tensor, shares: Array | Tensor, axis: int) -> Tensor:
    """Multiply an axis of x by a matrix [new, old]: Σₙ x[…n…] · shares[m, n], float32."""
    axis, sizes = axis_of(axis, x.rank), ops.dims(x)
    after = sizes[axis + 1 :]
    known = [size for size in after if isinstance(size, int)]
    rest = prod(known) if len(known) == len(after) else -1
    rows = shares if isinstance(shares, ops.Tensor) else ops.constant(shares, "float32")
    if len(after) == 1:
        return ops.MatMul(rows, ops.floats(x))
    flat = ops.reshape(ops.floats(x), (*sizes[:axis], sizes[axis], rest))
    return ops.reshape(ops.MatMul(rows, flat), (*sizes[:axis], ops.dim(rows, 0), *after))


# ---------------------------------------------------------------- sizes that are known at run time


def distance_kernel(x: Tensor, interpolation: str) -> Tensor:
    """The weight of a pixel at a distance x ≥ 0, float32 in the shape of x; see `KERNELS`."""
    if interpolation == "bilinear":
        return ops.maximum(0.0, 1.0 - x)
    if interpolation == "bicubic":
        near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
        return ops.where(
            ops.greater_equal(x, 2.0), 0.0, ops.where(ops.greater_equal(x, 1.0), far, near)
        )
    radius = float(interpolation.removeprefix("lanczos"))
    return ops.where(ops.greater(x, radius), 0.0, _sinc(x) * _sinc(x / radius))


def _sinc(x: Tensor) -> Tensor:
    """sin(πx) / πx, and 1 where x is 0."""
    turn, zero = x * pi, ops.equal(x, 0.0)
    return ops.where(zero, 1.0, ops.Sin(turn) / ops.where(zero, 1.0, turn))


@dataclass(frozen=True)
class Region:
    """The part of an axis that is resized: `length` pixels from `begin` on.

    It may begin before the image, and end after it. A fill value is used for pixels outside.
    """

    begin: Size
    length: Size
    # whether it may contain pixels outside of the image
    wider: bool = False


def _counted(size: Size) -> Tensor:
    """The numbers 0 … size - 1: float32 [size]."""
    return ops.floats(_places(size))


def _places(size: Size) -> Tensor:
    if not isinstance(size, int):
        return ops.Range(size)
    reserve(size)
    return ops.constant(np.arange(size, dtype=np.int32))


def _float(size: Size) -> Any:
    return float(size) if isinstance(size, int) else ops.floats(size)


def resize_open(
    x: Tensor, size: Sequence[Size], interpolation: str, *, antialias: bool = False,
    regions: Sequence[Region] | None = None, fill: float = 0.0,
) -> Tensor:  # fmt: skip
    """Resize images [batch, height, width, channels], or regions of them, of any size: float32.

    Sizes may be known only at run time. The graph computes the matrices `weights` and `corners`.
    """
    for axis, new in enumerate(size, start=1):
        region = regions[axis - 1] if regions else Region(0, ops.dim(x, axis))
        x = _resize_axis(x, axis, new, interpolation, region, antialias=antialias, fill=fill)
    return x


def _resize_axis(
    x: Tensor,
    axis: int,
    new: Size,
    interpolation: str,
    region: Region,
    *,
    antialias: bool,
    fill: float,
) -> Tensor:
    old, step = _counted(ops.dim(x, axis)), _float(region.length) / _float(new)
    if interpolation == "nearest":
        # computed in integers, because rounding errors matter if the quotient is an integer
        places = floor_divide((2 * _places(new) + 1) * region.length, ops.mul(new, 2))
        return _gathered(
            x, axis, ops.minimum(places, region.length - 1) + region.begin, region, fill
        )
    if interpolation == "bilinear_keras2":
        places = ops.minimum(_counted(new) * step, _float(region.length) - 1.0)
        return weighted(x, distance_kernel(_distances(places, old), "bilinear"), axis)
    centers = (_counted(new) + 0.5) * step - 0.5 + _float(region.begin)
    width = ops.maximum(step, 1.0) if antialias else 1.0
    shares = distance_kernel(_distances(centers, old) / width, interpolation)
    if not region.wider:
        end = _float(region.begin) + _float(region.length)
        inside = ops.logical_and(ops.greater_equal(old, _float(region.begin)), ops.less(old, end))
        shares = ops.where(ops.expand_dims(inside, 0), shares, 0.0)
        return weighted(x, shares / ops.sum_(shares, -1, keepdims=True), axis)
    all_pixels = _counted(region.length) + _float(region.begin)
    total = ops.sum_(
        distance_kernel(_distances(centers, all_pixels) / width, interpolation), -1, keepdims=True
    )
    shares = shares / total
    outside = (1.0 - ops.sum_(shares, -1)) * fill
    filled = ops.reshape(outside, (-1, *(1,) * (x.rank - 1 - axis)))
    return weighted(x, shares, axis) + filled


def _distances(places: Tensor, pixels: Tensor) -> Tensor:
    """The distance of each place from each pixel: float32 [places, pixels]."""
    return ops.Abs(ops.expand_dims(places, 1) - ops.expand_dims(pixels, 0))


def _gathered(x: Tensor, axis: int, places: Tensor, region: Region, fill: float) -> Tensor:
    """The pixels at these places of an axis, or `fill` outside of the image."""
    last = ops.sub(ops.dim(x, axis), 1)
    pixels = ops.gather(x, ops.maximum(ops.minimum(places, last), 0), axis)
    if not region.wider:
        return pixels
    inside = ops.logical_and(ops.greater_equal(places, 0), ops.less_equal(places, last))
    return ops.where(ops.reshape(inside, (-1, *(1,) * (x.rank - 1 - axis))), pixels, float(fill))


def floor_divide(a: Any, b: Any) -> Tensor:
    """⌊a / b⌋ for integers, promoted to at least int32."""
    return ops.FloorDiv(*ops.matched(a, b, least="int32"))


def cropped_regions(x: Tensor, size: tuple[int, int]) -> tuple[Region, Region]:
    """The largest centered region with the aspect ratio of `size`; see `proportioned`."""
    height, width = (ops.as_tensor(ops.dim(x, axis)) for axis in (1, 2))
    tall = ops.maximum(ops.minimum(height, floor_divide(width * size[0], size[1])), 1)
    wide = ops.maximum(ops.minimum(width, floor_divide(height * size[1], size[0])), 1)
    return Region(floor_divide(height - tall, 2), tall), Region(floor_divide(width - wide, 2), wide)


def padded_regions(x: Tensor, size: tuple[int, int]) -> tuple[Region, Region]:
    """Regions that pad images to the aspect ratio of `size`; see `surround`."""
    height, width = (ops.as_tensor(ops.dim(x, axis)) for axis in (1, 2))
    above = floor_divide(ops.maximum(height, floor_divide(width * size[0], size[1])) - height, 2)
    sides = floor_divide(ops.maximum(width, floor_divide(height * size[1], size[0])) - width, 2)
    sides = ops.where(ops.greater(above, 0), 0, sides)
    return (
        Region(ops.Neg(above), height + 2 * above, wider=True),
        Region(ops.Neg(sides), width + 2 * sides, wider=True),
    )


def center_regions(x: Tensor, size: tuple[int, int]) -> tuple[Region, ...]:
    """The center of images, or in small images the largest part with the aspect ratio of `size`."""
    sizes = [ops.as_tensor(ops.dim(x, axis)) for axis in (1, 2)]
    small = ops.logical_or(*(ops.less(old, new) for old, new in zip(sizes, size, strict=True)))
    return tuple(
        # a region of the new size is not resampled: each weight is 1 or 0
        Region(
            ops.where(small, part.begin, floor_divide(ops.maximum(old - new, 0), 2)),
            ops.where(small, part.length, new),
        )
        for old, new, part in zip(sizes, size, cropped_regions(x, size), strict=True)
    )


def corner_regions(x: Tensor, size: tuple[int, int]) -> tuple[Region, ...]:
    """A region of this size at the corner of the largest region with its aspect ratio."""
    return tuple(
        Region(part.begin, ops.minimum(new, ops.as_tensor(ops.dim(x, axis)) - part.begin))
        for axis, (new, part) in enumerate(
            zip(size, cropped_regions(x, size), strict=True), start=1
        )
    )


def is_open(x: Tensor) -> bool:
    """Whether height or width of [batch, height, width, channels] is known only at run time."""
    return None in x.shape[1:3]


# ------------------------------------------------------------------------------------------ images


def known_sizes(x: Tensor, option: str) -> tuple[int, int]:
    """Height and width of images [batch, height, width, channels].

    Raises:
        Refusal: one of them is known only at run time.
    """
    height, width = x.shape[1:3]
    if height is None or width is None:
        raise Refusal(
            option, "the height and width of the images must be fixed; give the input a fixed shape"
        )
    return height, width


def resize(
    x: Tensor, size: tuple[Size, Size], interpolation: str, *, antialias: bool = False
) -> Tensor:
    """Resize images: [batch, height, width, channels] to float32 [batch, *size, channels]."""
    if x.shape[1:3] == tuple(size):
        return ops.floats(x)
    if interpolation == "nearest" or (interpolation == "bilinear" and not antialias):
        return ops.Resize(
            ops.floats(x), size, "nearest" if interpolation == "nearest" else "bilinear"
        )
    height, width = size
    if is_open(x) or not isinstance(height, int) or not isinstance(width, int):
        return resize_open(ops.floats(x), size, interpolation, antialias=antialias)
    for axis, (old, new) in enumerate(
        zip(known_sizes(x, "interpolation"), (height, width), strict=True), start=1
    ):
        if old != new:
            of_corners = interpolation == "bilinear_keras2"
            shares = (
                corners(old, new)
                if of_corners
                else weights(old, new, interpolation, antialias=antialias)
            )
            x = weighted(x, shares, axis)
    return x


def resized_as(
    x: Tensor, size: tuple[Size, Size], interpolation: str, dtype: DType, *, antialias: bool = False
) -> Tensor:
    """Resize images and cast them to `dtype`. Halves are rounded to even, as in Keras.

    Raises:
        Refusal: the rounding of integers or bools depends on the runtime.
    """
    y = resize(x, size, interpolation, antialias=antialias)
    if dtype == "float32" or interpolation == "nearest":
        return ops.cast(y, dtype)
    if dtype == "bool":
        raise Refusal(
            "interpolation", "the Keras backends compute different results for a bool input", FLOATS
        )
    old, (height, width) = known_sizes(x, "interpolation"), size
    known = (
        isinstance(height, int)
        and isinstance(width, int)
        and _rounds_alike(old, (height, width), interpolation)
    )
    if antialias or not known:
        raise Refusal("interpolation", HALFWAY, FLOATS)
    return ops.cast(ops.Round(y), dtype)


HALFWAY = (
    "some results lie halfway between two integers, and which one Keras returns depends on "
    "rounding errors that no other runtime reproduces"
)
FLOATS = "cast the images to float32 first"


def _rounds_alike(old: Sequence[int], new: Sequence[int], interpolation: str) -> bool:
    """Whether every runtime rounds interpolated integers in the same way.

    The weights of a pixel are fractions. If their common denominator is a power of two, they are
    exact in float32, and so are sums halfway between two integers. If it is odd, no sum is halfway.
    Otherwise such sums are not exact.
    """
    # pixel i of `after` is at the position (2 * i + 1) * before / (2 * after) - 1/2
    denominators = (
        2 * after // gcd((2 * i + 1) * before - after, 2 * after)
        for before, after in zip(old, new, strict=True)
        for i in range(after)
    )
    denominator = lcm(*denominators)
    exact = denominator & (denominator - 1) == 0
    if interpolation == "bicubic":
        return exact
    return interpolation == "bilinear" and (exact or denominator % 2 == 1)


def proportioned(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest part of images that has the aspect ratio of `size`."""
    tall = max(min(height, int(float(width * size[0]) / size[1])), 1)
    return tall, max(min(width, int(float(height * size[1]) / size[0])), 1)


def surround(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """(rows above and below, columns at both sides) that pad images to the aspect ratio of `size`.

    Both are rounded down, as in Keras. At most one of them is not 0.
    """
    above = (max(height, int(float(width * size[0]) / size[1])) - height) // 2
    return above, 0 if above else (max(width, int(float(height * size[1]) / size[0])) - width) // 2


def crop_to_aspect(x: Tensor, size: tuple[int, int], option: str = "") -> Tensor:
    """Crop the largest centered part with the aspect ratio of `size`."""
    height, width = known_sizes(x, option)
    tall, wide = proportioned(height, width, size)
    y = ops.slice_axis(x, 1, (height - tall) // 2, tall)
    return ops.slice_axis(y, 2, (width - wide) // 2, wide)


def pad_to_aspect(x: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    """Pad images to the aspect ratio of `size`; see `surround`."""
    above, sides = surround(*known_sizes(x, "pad_to_aspect_ratio"), size)
    return ops.pad(x, ((0, 0), (above, above), (sides, sides), (0, 0)), "constant", float(fill))


def resize_to_aspect(
    x: Tensor,
    size: tuple[int, int],
    interpolation: str,
    *,
    antialias: bool = False,
    crop: bool = False,
    pad: bool = False,
    fill: float = 0.0,
    dtype: DType = "float32",
) -> Tensor:
    """Resize images [batch, height, width, channels] to [batch, *size, channels] of `dtype`.

    With `crop` or `pad` they are cropped or padded to the aspect ratio of `size` first.
    """
    if is_open(x) and (crop or pad):
        if dtype != "float32" and interpolation != "nearest":
            known_sizes(x, "interpolation")
        regions = cropped_regions(x, size) if crop else padded_regions(x, size)
        y = resize_open(
            ops.floats(x), size, interpolation, antialias=antialias, regions=regions, fill=fill
        )
        return ops.cast(y, dtype)
    if crop:
        x = crop_to_aspect(x, size, "crop_to_aspect_ratio")
    elif pad:
        x = pad_to_aspect(x, size, fill)
    return resized_as(x, size, interpolation, dtype, antialias=antialias)


def images(
    function: Callable[..., Tensor], x: Tensor, *arguments: Any, data_format: str, **options: Any
) -> Tensor:
    """Apply a function of images [batch, height, width, channels].

    x may also be a single image, and `data_format` may be "channels_first".
    """
    if x.rank == 3:
        alone = images(
            function, ops.expand_dims(x, 0), *arguments, data_format=data_format, **options
        )
        return ops.squeeze(alone, 0)
    if data_format == "channels_last":
        return function(x, *arguments, **options)
    return ops.move_axis(function(ops.move_axis(x, 1, -1), *arguments, **options), -1, 1)
