"""Ops on boxes in images, and ops whose results have as many elements as their values say."""

from __future__ import annotations

import numpy as np

from kerasport.frontends.graphdef.ops.call import Call, Rows
from kerasport.ir import ops
from kerasport.ir.tensor import Tensor, constant


def non_max_suppression(call: Call) -> Tensor:
    """The indices of the boxes that remain: int32 [selected].

    The thresholds are operands, except in the first version; the first two have none for scores.
    """
    call.attribute("T_threshold")
    if call.node.op == "NonMaxSuppression":
        iou: Tensor = constant(call.number("iou_threshold", 0.5), "float32")
    else:
        iou = call.x(3)
    least = call.x(4) if len(call.operands) > 4 else constant(-np.inf, "float32")
    return ops.NonMaxSuppression(call.x(0), call.x(1), call.size(2), iou, least)


def padded_suppression(call: Call) -> tuple[Tensor, ...]:
    """The indices of the boxes that remain, int32 [selected], and their number, int32 []."""
    chosen = non_max_suppression(call)
    count = ops.as_tensor(ops.dim(chosen, 0))
    if call.flag("pad_to_max_output_size"):
        chosen = ops.padded_to(chosen, call.size(2))
    return chosen, count


def soft_suppression(call: Call) -> tuple[Tensor, ...]:
    """Indices int32 [selected] and scores [selected] of the boxes that remain, and their number."""
    chosen, scores = _chosen(call, float(call.value(5, "sigma")))
    count = ops.as_tensor(ops.dim(chosen, 0))
    if call.flag("pad_to_max_output_size"):
        chosen, scores = (ops.padded_to(x, call.size(2)) for x in (chosen, scores))
    return chosen, scores, count


def _chosen(call: Call, sigma: float) -> tuple[Tensor, Tensor]:
    if sigma <= 0:
        chosen = non_max_suppression(call)
        return chosen, ops.gather(call.x(1), chosen)
    call.attribute("T_threshold")
    indices, scores = ops.items(
        ops.SoftNonMaxSuppression(call.x(0), call.x(1), call.size(2), call.x(4), sigma)
    )
    return indices, scores


def crop_and_resize(call: Call) -> Tensor:
    """Boxes of images in one size, as float32 [boxes, height, width, channels]."""
    height, width = call.sizes(3)
    return ops.CropAndResize(
        ops.cast(call.x(0), "float32"),
        call.x(1),
        call.x(2),
        (height, width),
        "nearest" if call.text("method", "bilinear") == "nearest" else "bilinear",
        call.number("extrapolation_value"),
    )


def where(call: Call) -> Tensor:
    """The positions of the elements that are true or not 0: int64 [selected, rank]."""
    return ops.cast(ops.ArgWhere(ops.cast(call.x(), "bool")), "int64")


ROWS: Rows = {
    "NonMaxSuppression": non_max_suppression, "NonMaxSuppressionV2": non_max_suppression,
    "NonMaxSuppressionV3": non_max_suppression, "NonMaxSuppressionV4": padded_suppression,
    "NonMaxSuppressionV5": soft_suppression, "CropAndResize": crop_and_resize, "Where": where,
}  # fmt: skip
