"""Operations on boxes in images, as TensorFlow defines them.

A box is [y1, x1, y2, x2]: two opposite corners.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.ops.elementwise import cast, maximum, sub
from kerasport.ir.ops.movement import Fill, Size, concat, dim, expect_sizes, extent_of
from kerasport.ir.tensor import Several, Tensor, TensorType, as_tensor, expect
from kerasport.weights import Array


def _expect_boxes(node: Tensor | Several, boxes: Tensor, scores: Tensor) -> None:
    """Check that the operands are boxes float32 [n, 4] and scores float32 [n].

    Raises:
        ShapeError: an operand has another element type or shape.
    """
    for operand in (boxes, scores):
        expect(node, operand, ("float32",))
    if boxes.rank != 2 or scores.rank != 1 or boxes.shape[1] not in (4, None):
        raise ShapeError(
            f"{type(node).__name__} needs boxes [n, 4] and scores [n], not {boxes.type} and "
            f"{scores.type}"
        )


def _expect_number(node: Tensor | Several, x: Tensor) -> None:
    """Check that a threshold is a float32 scalar.

    Raises:
        ShapeError: it has another element type or shape.
    """
    expect(node, x, ("float32",))
    if x.rank:
        raise ShapeError(f"a threshold is a scalar, not {x.type}")


class NonMaxSuppression(Tensor):
    """The int32 indices of the boxes that remain, in descending order of their scores: [selected].

    Boxes are taken in the order of their scores, the first one of equals first, as long as the
    score is above `score_threshold`. A box is skipped if its intersection over union with a box
    taken before is above `iou_threshold`. At most `max_output_size` boxes remain.

    boxes are float32 [n, 4], scores float32 [n], and the thresholds float32 scalars. Source:
    tensorflow/core/kernels/image/non_max_suppression_op.cc.
    """

    boxes: Tensor
    scores: Tensor
    max_output_size: Size
    iou_threshold: Tensor
    score_threshold: Tensor

    def infer(self) -> TensorType:
        _expect_boxes(self, self.boxes, self.scores)
        expect_sizes(self, self.max_output_size)
        _expect_number(self, self.iou_threshold)
        _expect_number(self, self.score_threshold)
        return TensorType("int32", (None,))

    def compute(self, *operands: Any) -> Array:
        boxes, scores, limit, iou, least = _arguments(operands, self.max_output_size)
        weight = _suppressing(iou)
        chosen, _ = selected(boxes, scores, limit, float(least), weight)
        return chosen


class SoftNonMaxSuppression(Several):
    """Indices int32 [selected] and new scores float32 [selected] of the boxes that remain.

    As `NonMaxSuppression`, but a box taken before multiplies the score of another one by
    exp(-0.5 · iou² / sigma) instead of skipping it. It is skipped if its score is then not
    above `score_threshold`. Source: `NonMaxSuppressionV5` of TensorFlow, with sigma > 0.
    """

    boxes: Tensor
    scores: Tensor
    max_output_size: Size
    score_threshold: Tensor
    sigma: float

    def infer(self) -> tuple[TensorType, ...]:
        _expect_boxes(self, self.boxes, self.scores)
        _expect_number(self, self.score_threshold)
        if self.sigma <= 0:
            raise ShapeError(f"{type(self).__name__} needs a sigma above 0, not {self.sigma}")
        return TensorType("int32", (None,)), TensorType("float32", (None,))

    def compute(self, *operands: Any) -> tuple[Array, Array]:
        boxes, scores, limit, least = _arguments(operands, self.max_output_size)
        scale = np.float32(-0.5) / np.float32(self.sigma)
        return selected(boxes, scores, limit, float(least), lambda iou: np.exp(scale * iou * iou))


def _arguments(operands: tuple[Any, ...], limit: Size) -> tuple[Any, ...]:
    """Boxes, scores, the largest number of boxes, and the other operands."""
    boxes, scores, *rest = operands
    return boxes, scores, limit if isinstance(limit, int) else int(rest.pop(0)), *rest


def _suppressing(threshold: Any) -> Callable[[float], np.float32]:
    return lambda iou: np.float32(0 if iou > threshold else 1)


@dataclass(order=True)
class _Candidate:
    """A box that is not taken yet: ordered by descending score, then by index."""

    negative_score: np.float32
    index: int
    # how many of the boxes taken before its score already reflects
    seen: int


def selected(
    boxes: Array,
    scores: Array,
    limit: int,
    least: float,
    weight: Callable[[float], np.float32],
) -> tuple[Array, Array]:
    """The boxes that remain, and their scores. `weight` maps an overlap to a factor of a score."""
    queue = [_Candidate(-s, i, 0) for i, s in enumerate(scores) if s > least]
    heapq.heapify(queue)
    taken: list[int] = []
    final: list[np.float32] = []
    while queue and len(taken) < limit:
        candidate = heapq.heappop(queue)
        score = before = -candidate.negative_score
        factors = [np.float32(1)]
        for other in reversed(taken[candidate.seen :]):
            factors.append(weight(overlap(boxes[candidate.index], boxes[other])))
            score = np.float32(score * factors[-1])
            if factors[-1] == 0 or score <= least:
                break
        if score == before and factors[-1] != 0:
            taken.append(candidate.index)
            final.append(score)
        elif score > least and factors[-1] != 0:
            heapq.heappush(queue, _Candidate(-score, candidate.index, len(taken)))
    return np.asarray(taken, np.int32), np.asarray(final, np.float32)


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes, 0 if one has no area."""
    (a_low, a_high), (b_low, b_high) = (
        (np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])) for box in (a, b)
    )
    area, other = np.prod(a_high - a_low), np.prod(b_high - b_low)
    if area <= 0 or other <= 0:
        return 0.0
    sides = np.maximum(np.minimum(a_high, b_high) - np.maximum(a_low, b_low), np.float32(0))
    shared = np.prod(sides)
    return float(shared / (area + other - shared))


def padded_to(x: Tensor, size: Size) -> Tensor:
    """A vector [n] with zeros up to `size` elements, as `NonMaxSuppressionV4` of TensorFlow."""
    missing = sub(cast(as_tensor(size), "int32"), as_tensor(dim(x, 0)))
    return concat([x, Fill((maximum(missing, 0),), 0, x.dtype)], 0)


class CropAndResize(Tensor):
    """Boxes of images resized to one size: float32 [boxes, *size, channels].

    x is float32 [batch, height, width, channels], boxes float32 [n, 4] in normalized coordinates,
    and box_indices int32 [n] the image of each box. 0 and 1 are the centers of the first and the
    last pixel. The corners of the result are those of the box, and a single pixel is its center.
    Positions outside of the image become `extrapolation_value`. Source:
    tensorflow/core/kernels/image/crop_and_resize_op.cc.
    """

    x: Tensor
    boxes: Tensor
    box_indices: Tensor
    size: tuple[Size, Size]
    method: Literal["nearest", "bilinear"] = "bilinear"
    extrapolation_value: float = 0.0

    def infer(self) -> TensorType:
        expect(self, self.x, ("float32",))
        expect(self, self.boxes, ("float32",))
        expect(self, self.box_indices, ("int32",))
        expect_sizes(self, *self.size)
        if self.x.rank != 4 or self.boxes.rank != 2 or self.box_indices.rank != 1:
            raise ShapeError(
                f"CropAndResize needs images, boxes [n, 4] and box_indices [n], not {self.x.type}, "
                f"{self.boxes.type} and {self.box_indices.type}"
            )
        sizes = map(extent_of, self.size)
        return TensorType("float32", (self.boxes.extents[0], *sizes, self.x.extents[-1]))

    def compute(self, *operands: Any) -> Array:
        x, boxes, indices, *rest = operands
        height, width = (s if isinstance(s, int) else int(rest.pop(0)) for s in self.size)
        y = _positions(boxes[:, 0], boxes[:, 2], x.shape[1], height)[:, :, None]
        z = _positions(boxes[:, 1], boxes[:, 3], x.shape[2], width)[:, None, :]
        inside = (y >= 0) & (y <= x.shape[1] - 1) & (z >= 0) & (z <= x.shape[2] - 1)
        y, z = (np.where(inside, position, np.float32(0)) for position in (y, z))
        image = np.broadcast_to(indices[:, None, None], inside.shape)
        if self.method == "nearest":
            rows, columns = (
                np.floor(position).astype(int) + (position - np.floor(position) >= 0.5)
                for position in (y, z)
            )
            found = x[image, rows, columns]
        else:
            found = _mixed(x, image, y, z)
        result: Array = np.where(inside[..., None], found, np.float32(self.extrapolation_value))
        return result


def _positions(begin: Array, end: Array, old: int, new: int) -> Array:
    """Where the new pixels are in the old ones: float32 [boxes, new]."""
    last = np.float32(old - 1)
    if new == 1:
        center: Array = np.float32(0.5) * (begin + end) * last
        return center[:, None]
    step = (end - begin) * last / np.float32(new - 1)
    between: Array = (begin * last)[:, None] + np.arange(new, dtype=np.float32) * step[:, None]
    return between


def _mixed(x: Array, image: Array, y: Array, z: Array) -> Array:
    """The four pixels around each position, weighted by their distances."""
    top, bottom = np.floor(y).astype(int), np.ceil(y).astype(int)
    left, right = np.floor(z).astype(int), np.ceil(z).astype(int)
    down, across = (y - top)[..., None].astype(x.dtype), (z - left)[..., None].astype(x.dtype)
    upper = x[image, top, left] + (x[image, top, right] - x[image, top, left]) * across
    lower = x[image, bottom, left] + (x[image, bottom, right] - x[image, bottom, left]) * across
    result: Array = upper + (lower - upper) * down
    return result
