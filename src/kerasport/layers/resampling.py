"""Images in another size: a matrix of weights for each axis, worked out at conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kerasport.ir import ops
from kerasport.layers.base import Refusal
from kerasport.model import Array, axis_of

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]


def triangle(x: Array) -> Array:
    """1 - |x|, and 0 from 1 on."""
    return np.maximum(0.0, 1.0 - x)


def cubic(x: Array) -> Array:
    """Keys's cubic convolution with a = -1/2."""
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x >= 2.0, 0.0, np.where(x >= 1.0, far, near))


def lanczos(radius: float) -> Callable[[Array], Array]:
    """sinc(x) · sinc(x / radius), and 0 beyond the radius."""
    return lambda x: np.where(x > radius, 0.0, np.sinc(x) * np.sinc(x / radius))


KERNELS: Mapping[str, Callable[[Array], Array]] = {
    "bilinear": triangle, "bicubic": cubic, "lanczos3": lanczos(3.0), "lanczos5": lanczos(5.0)
}  # fmt: skip
"""Weight of a pixel by its distance, by the name of the interpolation."""


def weights(
    old: int, new: int, interpolation: str, *, antialias: bool, scale: float | None = None, translation: float = 0.0
) -> Array:
    """What each of the old pixels counts for in each of the new ones: [new, old], rows that add up to 1.

    Pixels are sampled at their centres. Where the image shrinks, `antialias` widens the kernel as much.
    """
    step = old / new if scale is None else 1.0 / scale
    centres = (np.arange(new) + 0.5) * step - translation * step - 0.5
    width = max(step, 1.0) if antialias else 1.0
    shares = KERNELS[interpolation](np.abs(centres[:, None] - np.arange(old)) / width)
    total = shares.sum(1, keepdims=True)
    enough = np.abs(total) > 1000 * np.finfo(np.float32).eps
    inside = ((centres >= -0.5) & (centres <= old - 0.5))[:, None]
    made: Array = np.where(enough & inside, shares / np.where(total == 0, 1.0, total), 0.0).astype(np.float32)
    return made


def corners(old: int, new: int) -> Array:
    """The same for bilinear interpolation between pixels that lie at their corners, as in TensorFlow 1."""
    places = np.minimum(np.arange(new) * (old / new), old - 1)
    return triangle(np.abs(places[:, None] - np.arange(old))).astype(np.float32)


def weighted(x: Tensor, matrix: Array, axis: int) -> Tensor:
    """Sums along an axis of x, each with the weights of a row of the matrix."""
    at, sizes = axis_of(axis, x.rank), ops.dims(x)
    behind = sizes[at + 1 :]
    rest = prod(size for size in behind if isinstance(size, int)) if all(isinstance(s, int) for s in behind) else -1
    made = ops.MatMul(ops.constant(matrix, "float32"), ops.reshape(ops.floats(x), (*sizes[:at], sizes[at], rest)))
    return ops.reshape(made, (*sizes[:at], matrix.shape[0], *behind))


def known_sizes(x: Tensor, option: str) -> tuple[int, int]:
    """Height and width of images [batch, height, width, channels].

    Raises:
        Refusal: they are known at run time only.
    """
    height, width = x.shape[1:3]
    if height is None or width is None:
        raise Refusal(option, "height and width of the images have to be known at conversion")
    return height, width


def resize(x: Tensor, size: tuple[int, int], interpolation: str, *, antialias: bool = False) -> Tensor:
    """Images [batch, height, width, channels] in another size."""
    if x.shape[1:3] == tuple(size):
        return ops.floats(x)
    if interpolation == "nearest" or (interpolation == "bilinear" and not antialias):
        return ops.Resize(ops.floats(x), size, "nearest" if interpolation == "nearest" else "bilinear")
    for axis, (old, new) in enumerate(zip(known_sizes(x, "interpolation"), size, strict=True), start=1):
        if old != new:
            of_corners = interpolation == "bilinear_keras2"
            matrix = corners(old, new) if of_corners else weights(old, new, interpolation, antialias=antialias)
            x = weighted(x, matrix, axis)
    return x


def proportioned(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest part of images that has the proportions of the size."""
    tall = max(min(height, int(float(width * size[0]) / size[1])), 1)
    return tall, max(min(width, int(float(height * size[1]) / size[0])), 1)


def surround(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """What stands above and below, and beside, images for the proportions of the size, but for an odd pixel."""
    above = (max(height, int(float(width * size[0]) / size[1])) - height) // 2
    return above, 0 if above else (max(width, int(float(height * size[1]) / size[0])) - width) // 2


def crop_to_aspect(x: Tensor, size: tuple[int, int], option: str = "") -> Tensor:
    """The largest part in the middle of images that has the proportions of the size."""
    height, width = known_sizes(x, option)
    tall, wide = proportioned(height, width, size)
    y = ops.slice_axis(x, 1, (height - tall) // 2, tall)
    return ops.slice_axis(y, 2, (width - wide) // 2, wide)


def pad_to_aspect(x: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    """Images with so much around them that they have the proportions of the size, but for an odd pixel, as in Keras."""
    above, beside = surround(*known_sizes(x, "pad_to_aspect_ratio"), size)
    return ops.pad(x, ((0, 0), (above, above), (beside, beside), (0, 0)), "constant", float(fill))


def images(function: Callable[..., Tensor], x: Tensor, *arguments: Any, data_format: str, **options: Any) -> Tensor:
    """What a function of images [batch, height, width, channels] makes of x, whatever its layout; also of one image."""
    if x.rank == 3:
        alone = images(function, ops.expand_dims(x, 0), *arguments, data_format=data_format, **options)
        return ops.squeeze(alone, 0)
    if data_format == "channels_last":
        return function(x, *arguments, **options)
    return ops.move_axis(function(ops.move_axis(x, 1, -1), *arguments, **options), -1, 1)
