"""Operations on boxes in images in ONNX."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.targets.onnx.emit.emitter import Emitter


def emit_non_max_suppression(e: Emitter, node: ops.NonMaxSuppression) -> onnx.Value:
    """`NonMaxSuppression` of one batch and one class.

    Of its results [selected, 3], the last column has the boxes.
    """
    boxes = e.add("Unsqueeze", [node.boxes, e.ints([0])])
    scores = e.add("Unsqueeze", [node.scores, e.ints([0, 1])])
    thresholds = node.iou_threshold, node.score_threshold
    limit = e.vector(node.max_output_size)
    found = e.add("NonMaxSuppression", [boxes, scores, limit, *thresholds])
    return e.cast(e.add("Gather", [found, e.wide(2)], axis=1), onnx.DataType.INT32)
