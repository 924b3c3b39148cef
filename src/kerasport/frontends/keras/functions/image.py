"""Functions of images: [batch, height, width, channels], or a single one without the batch.

With data_format="channels_first" the channels are before the height.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions.arguments import known_value, numbers, size
from kerasport.frontends.keras.functions.nn import convolution, layout
from kerasport.frontends.keras.layers import resampling
from kerasport.frontends.keras.layers.conv import depthwise
from kerasport.frontends.keras.layers.resampling import images
from kerasport.ir import ops
from kerasport.ir.ops import Tensor, where
from kerasport.ir.ops.movement import Part
from kerasport.ir.tensor import as_tensor, constant

TINY = 1.1920928955078125e-07  # the distance between 1 and the next float32


def resize(
    x: Tensor, *, size: Sequence[int], interpolation: str = "bilinear", antialias: bool = False,
    crop_to_aspect_ratio: bool = False, pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant", fill_value: float = 0.0, data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """Resize images; crop or pad them to the new aspect ratio if requested."""
    if fill_mode != "constant":
        raise Refusal("fill_mode", 'Keras supports only fill_mode="constant" here')
    if interpolation not in ("nearest", *resampling.KERNELS):
        raise Refusal("interpolation", "this interpolation is not supported")
    wanted = (int(size[0]), int(size[1]))

    def lower(y: Tensor) -> Tensor:
        return resampling.resize_to_aspect(
            y, wanted, interpolation, antialias=antialias, crop=crop_to_aspect_ratio,
            pad=pad_to_aspect_ratio, fill=fill_value, dtype=x.dtype,
        )  # fmt: skip

    return images(lower, ops.floats(x), data_format=layout(data_format))


def scale_and_translate(
    x: Tensor, output_shape: Sequence[int], scale: Any, translation: Any, *,
    spatial_dims: Sequence[int], method: str, antialias: bool = True,
) -> Tensor:  # fmt: skip
    """Scale and move images, along each axis independently."""
    names = {
        "linear": "bilinear",
        "trilinear": "bilinear",
        "triangle": "bilinear",
        "cubic": "bicubic",
        "tricubic": "bicubic",
    }
    interpolation = names.get(method, method)
    if interpolation not in resampling.KERNELS:
        raise Refusal("method", "this interpolation is not supported")
    factors, moves = known_value(scale, "scale"), known_value(translation, "translation")
    y = ops.floats(x)
    for axis, factor, move in zip(spatial_dims, factors, moves, strict=True):
        old, new = size(y, axis), output_shape[axis]
        shares = resampling.weights(
            old,
            new,
            interpolation,
            antialias=antialias,
            scale=float(factor),
            translation=float(move),
        )
        y = resampling.weighted(y, shares, axis)
    return y


def channels(x: Tensor, data_format: str | None) -> tuple[tuple[Tensor, ...], int]:
    """Return the three color channels of one or more images, and their axis."""
    if x.rank not in (3, 4):
        raise ShapeError(f"{x.type} does not have the shape of images")
    axis = x.rank - 1 if layout(data_format) == "channels_last" else x.rank - 3
    return ops.split(x, 3, axis), axis


def rgb_to_grayscale(x: Tensor, *, data_format: str | None = None) -> Tensor:
    """Convert RGB to the brightness: 3 channels to 1."""
    axis = -1 if layout(data_format) == "channels_last" else -3
    if size(x, axis) == 1:
        return x
    (r, g, b), _ = channels(ops.floats(x), data_format)
    return ops.cast(0.2989 * r + 0.5870 * g + 0.1140 * b, x.dtype)


def rgb_to_hsv(x: Tensor, *, data_format: str | None = None) -> Tensor:
    """Convert RGB to hue, saturation and value."""
    clean = where(ops.less(ops.Abs(x), TINY), 0.0, x)
    (r, g, b), axis = channels(clean, data_format)
    value = ops.Maximum(ops.Maximum(r, g), b)
    spread = value - ops.Minimum(ops.Minimum(r, g), b)
    lit, colored = ops.greater(value, 0.0), ops.greater(spread, 0.0)
    saturation = where(lit, spread / where(lit, value, 1.0), 0.0)
    sixth = 1.0 / (6.0 * where(colored, spread, 1.0))
    hue = where(ops.Equal(value, g), sixth * (b - r) + 2 / 6, sixth * (r - g) + 4 / 6)
    hue = where(ops.Equal(value, r), sixth * (g - b), hue)
    hue = where(colored, hue, 0.0) + ops.floats(ops.less(hue, 0.0))
    return ops.concat([hue, saturation, value], axis)


def hsv_to_rgb(x: Tensor, *, data_format: str | None = None) -> Tensor:
    """Convert hue, saturation and value to RGB."""
    (hue, saturation, value), axis = channels(x, data_format)
    turn = (hue - ops.Floor(hue)) * 6.0
    r = ops.clip(ops.Abs(turn - 3.0) - 1.0, 0.0, 1.0)
    g = ops.clip(2.0 - ops.Abs(turn - 2.0), 0.0, 1.0)
    b = ops.clip(2.0 - ops.Abs(turn - 4.0), 0.0, 1.0)
    return ops.concat(
        [value * ((1.0 - saturation) + saturation * part) for part in (r, g, b)], axis
    )


def axes(x: Tensor, data_format: str | None) -> tuple[int, int]:
    """Return the axes of height and width."""
    last = layout(data_format) == "channels_last"
    return (x.rank - 3, x.rank - 2) if last else (x.rank - 2, x.rank - 1)


def pad_images(
    x: Tensor, *, top_padding: int | None = None, left_padding: int | None = None,
    bottom_padding: int | None = None, right_padding: int | None = None,
    target_height: int | None = None, target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """Pad images with zeros by the given amounts, or to a target size."""
    rows, columns = axes(x, data_format)
    pads = [(0, 0)] * x.rank
    pads[rows] = around(x, rows, top_padding, bottom_padding, target_height)
    pads[columns] = around(x, columns, left_padding, right_padding, target_width)
    return ops.pad(x, pads)


def around(
    x: Tensor, axis: int, before: int | None, after: int | None, target: int | None
) -> tuple[int, int]:
    """Return the padding before and after an axis; a target size can replace one of them."""
    if before is not None and after is not None:
        return before, after
    if target is None or (before is None and after is None):
        raise ShapeError(
            "two of the three values must be given: the amount before, the amount after and the"
            " target size"
        )
    missing = target - size(x, axis) - (before or after or 0)
    if missing < 0:
        raise ShapeError(f"axis {axis} of {x.type} is larger than the target size {target}")
    return (missing, after or 0) if before is None else (before, missing)


def crop_images(
    x: Tensor, *, top_cropping: int | None = None, left_cropping: int | None = None,
    bottom_cropping: int | None = None, right_cropping: int | None = None,
    target_height: int | None = None, target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """Crop images by the given amounts, or to a target size."""
    rows, columns = axes(x, data_format)
    parts: list[Part] = [ops.WHOLE] * x.rank
    parts[rows] = kept(x, rows, top_cropping, bottom_cropping, target_height)
    parts[columns] = kept(x, columns, left_cropping, right_cropping, target_width)
    return ops.strided(x, parts)


def kept(
    x: Tensor, axis: int, before: int | None, after: int | None, target: int | None
) -> tuple[int | None, int | None, int]:
    """Return the part of an axis that remains after cropping."""
    if before is not None and target is not None:
        return before, before + target, 1
    if before is not None:
        return before, -after if after else None, 1
    begin = size(x, axis) - (target or 0) - (after or 0)
    if begin < 0:
        raise ShapeError(f"axis {axis} of {x.type} is smaller than the target size")
    return begin, begin + (target or 0), 1


def extract_patches(
    x: Tensor, *, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """Return every window of images or volumes as one pixel with many channels.

    This is a convolution whose kernel selects single elements.
    """
    rank = 3 if isinstance(size, Sequence) and len(size) == 3 else 2
    if x.rank == rank + 1:
        alone = extract_patches(
            ops.expand_dims(x, 0), size=size, strides=strides, dilation_rate=dilation_rate,
            padding=padding, data_format=data_format,
        )  # fmt: skip
        return ops.squeeze(alone, 0)
    window = numbers(size, rank)
    depth = x.shape[-1 if layout(data_format) == "channels_last" else 1]
    if depth is None:
        raise Refusal("", "the number of channels must be fixed")
    count = prod(window) * depth
    reserve(count, count)
    kernel = constant(np.eye(count, dtype=np.float32).reshape(*window, depth, count))
    patches = convolution(
        x,
        kernel,
        strides=strides or window,
        padding=padding,
        dilation_rate=dilation_rate,
        data_format=data_format,
    )
    return ops.cast(patches, x.dtype)


def reconstruct_patches(
    patches: Tensor, *, size: Any, output_size: Sequence[int], strides: Any = None,
    padding: str = "valid", data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """Join patches that `extract_patches` cut without overlap to images or volumes again."""
    rank = 3 if isinstance(size, Sequence) and len(size) == 3 else 2
    window, whole = numbers(size, rank), numbers(output_size, rank)
    if strides is not None and numbers(strides, rank) != window:
        raise Refusal("strides", "Keras reconstructs images only from patches that do not overlap")
    if patches.rank == rank + 1:
        alone = ops.expand_dims(patches, 0)
        options = {"strides": strides, "padding": padding, "data_format": data_format}
        return ops.squeeze(
            reconstruct_patches(alone, size=size, output_size=output_size, **options), 0
        )
    if layout(data_format) == "channels_first":
        patches = ops.move_axis(patches, 1, -1)
    batch, grid = (
        ops.dim(patches, 0),
        [-(-length // patch) for length, patch in zip(whole, window, strict=True)],
    )
    y = ops.reshape(patches, (batch, *grid, *window, -1))
    y = ops.transpose(
        y,
        (0, *(axis + offset for axis in range(1, rank + 1) for offset in (0, rank)), 2 * rank + 1),
    )
    padded = [patches * patch for patches, patch in zip(grid, window, strict=True)]
    if padding == "valid" and padded != list(whole):
        raise ShapeError(f"output_size {whole} is not a multiple of the patch size {window}")
    y = ops.reshape(y, (batch, *padded, -1))
    for axis, (length, wanted) in enumerate(zip(padded, whole, strict=True), start=1):
        y = ops.slice_axis(y, axis, (length - wanted) // 2, wanted)
    return ops.move_axis(y, -1, 1) if layout(data_format) == "channels_first" else y


def filtered(x: Tensor, kernel: Any, padding: str = "same") -> Tensor:
    """Convolve each channel of images [batch, height, width, channels] with the same kernel."""
    count = size(x, -1)
    reserve(*np.shape(kernel), count)
    own = np.repeat(np.asarray(kernel, np.float32)[:, :, None, None], count, 2)
    return depthwise(ops.floats(x), constant(own), (1, 1), padding, (1, 1))


def gaussian(length: int, sigma: float) -> Any:
    """A Gaussian of this length whose sum is 1."""
    reserve(length, itemsize=8)
    bell = np.exp(-0.5 * ((np.arange(length) - (length - 1) / 2) / sigma) ** 2)
    return bell / bell.sum()


def gaussian_blur(
    x: Tensor, *, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None
) -> Tensor:
    """Blur images with a Gaussian kernel."""
    (across, down), (wide, tall) = numbers(kernel_size, 2), numbers(sigma, 2)
    reserve(down, across, itemsize=8)
    kernel = np.outer(gaussian(down, tall), gaussian(across, wide))
    return images(lambda y: filtered(y, kernel), x, data_format=layout(data_format))


def ssim(
    image1: Tensor, image2: Any, *, max_val: float = 1.0, filter_size: int = 11,
    filter_sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03, data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """The structural similarity of two images: brightness, contrast and structure."""
    a, b = ops.matched(image1, image2, least="float32")
    if a.rank == 3:
        a, b = ops.expand_dims(a, 0), ops.expand_dims(b, 0)
    if layout(data_format) == "channels_first":
        a, b = ops.move_axis(a, 1, -1), ops.move_axis(b, 1, -1)
    bell = gaussian(filter_size, filter_sigma)
    reserve(filter_size, filter_size, itemsize=8)
    kernel = np.outer(bell, bell)

    def seen(x: Tensor) -> Tensor:
        return filtered(x, kernel, "valid")

    mean_a, mean_b = seen(a), seen(b)
    both, joint = mean_a * mean_b, ops.Square(mean_a) + ops.Square(mean_b)
    variances = seen(ops.Square(a)) + seen(ops.Square(b)) - joint
    covariance = seen(a * b) - both
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    alike = ((2.0 * both + c1) * (2.0 * covariance + c2)) / ((joint + c1) * (variances + c2))
    found = ops.mean(alike, (1, 2, 3))
    return ops.squeeze(found, 0) if as_tensor(image1).rank == 3 else found


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Resize": resize, "ScaleAndTranslate": scale_and_translate, "RGBToGrayscale": rgb_to_grayscale,
    "RGBToHSV": rgb_to_hsv, "HSVToRGB": hsv_to_rgb, "PadImages": pad_images,
    "CropImages": crop_images, "ExtractPatches": extract_patches,
    "ReconstructPatches": reconstruct_patches, "GaussianBlur": gaussian_blur, "SSIM": ssim,
}  # fmt: skip
