"""Operations on boxes in images in TF.js."""

from __future__ import annotations

import numpy as np

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.ir.ops import Constant
from kerasport.targets.tfjs.graph.emit.emitter import Emitter


def emit_non_max_suppression(e: Emitter, node: ops.NonMaxSuppression) -> str:
    """`NonMaxSuppressionV3`.

    TF.js also leaves out a box whose overlap equals the threshold, so it gets the next number.
    """
    if not isinstance(node.iou_threshold, Constant):
        raise Refusal("", "TF.js needs an IoU threshold that is known at conversion")
    limit = np.nextafter(node.iou_threshold.read(), np.float32(np.inf), dtype=np.float32)
    if not 0 < limit <= 1:
        raise Refusal("", "TF.js supports IoU thresholds that are at least 0 and below 1")
    e.shared.waits = e.shared.waits or "contains non-max suppression"
    most, iou = e.size(node.max_output_size), e.small(np.asarray(limit))
    return e.add("NonMaxSuppressionV3", [node.boxes, node.scores, most, iou, node.score_threshold])
