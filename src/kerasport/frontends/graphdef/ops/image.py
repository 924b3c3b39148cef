"""Ops that resize images or convert their colors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasport.budget import matrix
from kerasport.errors import Refusal
from kerasport.frontends.graphdef.ops.call import Call, Rows
from kerasport.ir import ops
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Tensor
from kerasport.weights import Array


def resize_bilinear(call: Call) -> Tensor:
    """Images in another size, with bilinear interpolation, as float32."""
    height, width = call.sizes(1)
    corners, centers = call.flag("align_corners"), call.flag("half_pixel_centers")
    x = ops.cast(call.x(), "float32")
    return ops.Resize(x, (height, width), "bilinear", corners, centers)


def resize_nearest(call: Call) -> Tensor:
    """Images in another size, with the nearest pixels."""
    height, width = call.sizes(1)
    corners, centers = call.flag("align_corners"), call.flag("half_pixel_centers")
    x = call.x()
    y = ops.resize_nearest(
        ops.floats(x), (height, width), align_corners=corners, half_pixel_centers=centers
    )
    return ops.cast(y, x.dtype)


def _fixed(x: Tensor, axis: int, new: Size) -> tuple[int, int]:
    old = x.shape[axis]
    if old is None or not isinstance(new, int):
        raise Refusal("", "the sizes of the images before and after must be fixed")
    return old, new


def resize_bicubic(call: Call) -> Tensor:
    """Images in another size, with bicubic interpolation, as float32."""
    from kerasport.frontends.keras.layers.resampling import weighted  # noqa: PLC0415  (rarely needed)

    x, size = ops.cast(call.x(), "float32"), call.sizes(1)
    corners, centers = call.flag("align_corners"), call.flag("half_pixel_centers")
    if corners or not centers:
        raise Refusal("half_pixel_centers", "bicubic interpolation needs half_pixel_centers")
    for axis, new in enumerate(size, start=1):
        old, length = _fixed(x, axis, new)
        x = weighted(x, matrix(length, old, _cubic(old, length)), axis)
    return x


TABLE = 1024
"""Number of fractions of a pixel for which TensorFlow has bicubic weights."""


def _cubic(old: int, new: int) -> Callable[[Array], Array]:
    """The weights of old pixels with Keys's kernel, a = -1/2; those outside have none.

    TensorFlow rounds the distance of a pixel to a fraction of `TABLE`. Source:
    resize_bicubic_op.cc.
    """
    step = np.float32(old / np.float32(new))

    def of(rows: Array) -> Array:
        places = (rows.astype(np.float32) + np.float32(0.5)) * step - np.float32(0.5)
        first = np.floor(places)
        fraction = np.rint((places - first) * TABLE) / TABLE
        distance = np.abs(first + fraction - np.arange(old))
        near = (1.5 * distance - 2.5) * distance * distance + 1.0
        far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
        shares = np.where(distance >= 2, 0.0, np.where(distance >= 1, far, near))
        weights: Array = shares / shares.sum(1, keepdims=True)
        return weights

    return of


def adjust_contrast(call: Call) -> Tensor:
    """Images with the distance of each pixel from the mean of its channel scaled."""
    x, factor = call.x(0), call.x(1)
    mean = ops.mean(x, (-3, -2), keepdims=True)
    return ops.Add(ops.Mul(ops.Sub(x, mean), factor), mean)


ROWS: Rows = {
    "ResizeBilinear": resize_bilinear, "ResizeNearestNeighbor": resize_nearest,
    "ResizeBicubic": resize_bicubic, "AdjustContrastv2": adjust_contrast,
}  # fmt: skip
