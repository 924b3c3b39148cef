"""CropAndResize as gathered pixels and their weighted means.

No operator of a target computes the same. ONNX's `RoiAlign` samples the centers of parts of a box,
and moves positions outside of the image to its edge; its `Resize` with "tf_crop_and_resize" takes
one box for a whole batch. TF.js's `CropAndResize` computes positions in float64 on one backend and
in float32 on another, but a position in float32 may be just outside of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerasport.ir import ops
from kerasport.ir.ops import CropAndResize, Floor, GatherNd, Range, Select, Tensor
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Node, as_tensor
from kerasport.passes.rewrite import Uses


def crops(node: Node, uses: Uses) -> Node | None:
    """CropAndResize  →  gathers of the pixels around each position, and their weighted means."""
    del uses
    match node:
        case CropAndResize(x, boxes, _, (height, width), method, outside):
            rows = _places(boxes, (0, 2), ops.dim(x, 1), height)
            columns = _places(boxes, (1, 3), ops.dim(x, 2), width)
            rows, columns = rows.turned(2), columns.turned(1)
            found = _nearest(node, rows, columns)
            if method == "bilinear":
                found = _mixed(node, rows, columns)
            inside = ops.expand_dims(ops.logical_and(rows.inside, columns.inside), 3)
            return ops.where(inside, found, outside)
    return None


@dataclass(frozen=True)
class _Places:
    """Positions of new pixels along an axis.

    Attributes:
        positions: the positions, inside of the image: float32 [boxes, new].
        inside: whether they were inside before: bool [boxes, new].
        last: the position of the last pixel: float32 [].
    """

    positions: Tensor
    inside: Tensor
    last: Tensor

    def turned(self, axis: int) -> _Places:
        """The same with an axis of size 1 for the other direction."""
        return _Places(
            ops.expand_dims(self.positions, axis), ops.expand_dims(self.inside, axis), self.last
        )


def _places(boxes: Tensor, corners: tuple[int, int], old: Size, new: Size) -> _Places:
    """The positions along one axis: the corners of a box are its first and last pixel."""
    begin, end = (ops.slice_axis(boxes, 1, corner, 1) for corner in corners)
    last = ops.cast(as_tensor(old), "float32") - 1.0
    count = ops.cast(as_tensor(new), "float32")
    step = (end - begin) * last / ops.maximum(count - 1.0, 1.0)
    counted = ops.cast(Range(as_tensor(new)), "float32")
    between = begin * last + counted * step
    center = 0.5 * (begin + end) * last
    position = Select(ops.greater(count, 1.0), between, center)
    inside = ops.logical_and(ops.greater_equal(position, 0.0), ops.less_equal(position, last))
    return _Places(Select(inside, position, ops.constant(0.0)), inside, last)


def _pixels(node: CropAndResize, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels in these rows [boxes, new, 1] and columns [boxes, 1, new]."""
    height, width = ops.dim(rows, 1), ops.dim(columns, 2)
    sizes = (ops.dim(node.boxes, 0), height, width)
    image = ops.reshape(node.box_indices, (-1, 1, 1))
    parts = (image, ops.cast(rows, "int32"), ops.cast(columns, "int32"))
    places = ops.stack([ops.broadcast_to(part, sizes) for part in parts], 3)
    return GatherNd(node.x, places)


def _nearest(node: CropAndResize, rows: _Places, columns: _Places) -> Tensor:
    return _pixels(node, *(_rounded(places.positions) for places in (rows, columns)))


def _rounded(position: Tensor) -> Tensor:
    """The nearest integer, the larger one of two."""
    low = Floor(position)
    return low + ops.cast(ops.greater_equal(position - low, 0.5), "float32")


def _mixed(node: CropAndResize, rows: _Places, columns: _Places) -> Tensor:
    top, left = Floor(rows.positions), Floor(columns.positions)
    bottom, right = ops.Ceil(rows.positions), ops.Ceil(columns.positions)
    down, across = (
        ops.expand_dims(rows.positions - top, 3),
        ops.expand_dims(columns.positions - left, 3),
    )

    def mixed(row: Tensor) -> Tensor:
        start, end = _pixels(node, row, left), _pixels(node, row, right)
        return start + (end - start) * across

    upper, lower = mixed(top), mixed(bottom)
    return upper + (lower - upper) * down
