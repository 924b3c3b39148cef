"""Boxes in images: what TensorFlow computes, and what a target cannot compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.emission import HALVES
from tests.strategies import OPERATIONS

from kerasport.errors import Refusal, ShapeError
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, Node, Tensor, TensorType, constant
from kerasport.targets.onnx.emit import emitter_of as onnx_emitter
from kerasport.targets.onnx.plan import optimized as optimized_for_onnx
from kerasport.targets.tfjs.graph import optimized
from kerasport.targets.tfjs.graph.emit import emitter_of
from kerasport.targets.tfjs.layers.rewrites.operations import TABLE, _check_node

BOXES = Input("boxes", TensorType("float32", (None, 4)))
SCORES = Input("scores", TensorType("float32", (None,)))
NUMBER = Input("number", TensorType("float32", ()))
BY_SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)


def suppressed(iou: Any, least: float = 0.0) -> ops.NonMaxSuppression:
    threshold = iou if isinstance(iou, Tensor) else constant(iou, "float32")
    return ops.NonMaxSuppression(BOXES, SCORES, 9, threshold, constant(least, "float32"))


# what TensorFlow 2.21 returns
@pytest.mark.parametrize(
    ("iou", "wanted"), [(0.0, [0, 3, 4]), (0.5, [0, 2, 3, 4]), (1.0, [0, 1, 2, 3, 4, 5])]
)
def test_a_box_whose_overlap_equals_the_threshold_remains(iou: float, wanted: list[int]) -> None:
    (got,) = Graph((BOXES, SCORES), (suppressed(iou),)).run(HALVES, BY_SCORE)
    np.testing.assert_array_equal(got, wanted)


# what TensorFlow 2.21 returns
def test_soft_suppression_lowers_scores() -> None:
    node = ops.SoftNonMaxSuppression(BOXES, SCORES, 9, constant(0.1, "float32"), 0.5)
    boxes = np.array(
        [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 1, 0.6], [2, 2, 3, 3]], np.float32
    )
    indices, scores = Graph((BOXES, SCORES), ops.items(node)).run(boxes, BY_SCORE[:5])
    np.testing.assert_array_equal(indices, [0, 2, 4, 1, 3])
    wanted = [0.9, 0.54516053, 0.5, 0.22920385, 0.14583637]
    np.testing.assert_allclose(scores, np.array(wanted, np.float32), 1e-6)


SCATTERED = Input("x", TensorType("float32", (3, 2)))


def named(ends: tuple[Tensor, ...]) -> Graph:
    """A graph whose nodes are those of one layer."""
    graph = Graph((BOXES, SCORES, NUMBER, SCATTERED), ends)
    return Graph(graph.inputs, ends, dict.fromkeys(graph.nodes(), "model/found"))


REFUSED: tuple[tuple[Callable[[], Tensor], str], ...] = (
    (lambda: suppressed(NUMBER), "known at conversion"),
    (lambda: suppressed(1.0), "below 1"),
    (
        lambda: ops.items(ops.SoftNonMaxSuppression(BOXES, SCORES, 9, NUMBER, 0.5))[1],
        "TensorFlow only lowers their scores",
    ),
    (
        lambda: ops.ScatterNd(SCATTERED, constant([[0]]), constant([[1.0, 2.0]]), "max"),
        "TF.js adds or replaces scattered updates, it has no max",
    ),
)


@pytest.mark.parametrize(("build", "reason"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_what_tfjs_lacks_is_refused(build: Callable[[], Tensor], reason: str) -> None:
    tensor = build()
    graph = named((tensor,))
    emitter = emitter_of(optimized(graph))
    emitter.run(["y"])
    assert [problem.layer for problem in emitter.problems] == ["found"]
    assert reason in emitter.problems[0].reason


def test_onnx_has_no_soft_suppression() -> None:
    ends = ops.items(ops.SoftNonMaxSuppression(BOXES, SCORES, 9, NUMBER, 0.5))
    emitter = onnx_emitter(optimized_for_onnx(named(ends)), 20)
    emitter.run(["y", "z"])
    assert [problem.class_name for problem in emitter.problems] == ["SoftNonMaxSuppression"]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: suppressed(constant([0.5])), "a threshold is a scalar"),
        (
            lambda: ops.NonMaxSuppression(SCORES, SCORES, 9, NUMBER, NUMBER),
            "needs boxes .n, 4. and scores .n.",
        ),
        (
            lambda: ops.items(ops.SoftNonMaxSuppression(BOXES, SCORES, 9, NUMBER, 0.0)),
            "a sigma above 0",
        ),
        (lambda: ops.CropAndResize(BOXES, BOXES, constant([0]), (2, 2)), "needs images"),
        (lambda: ops.ArgWhere(constant(True)), "a scalar has no positions"),
        (lambda: ops.Gather(BOXES, constant([0]), 1, 2), "2 batch dimensions"),
        (lambda: ops.items(ops.TopK(BOXES, NUMBER)), "supports integers, not float32"),
        (
            lambda: ops.resize_nearest(
                constant(np.zeros((1, 2, 2, 1))),
                (3, 3),
                align_corners=True,
                half_pixel_centers=True,
            ),
            "either align_corners or half_pixel_centers",
        ),
    ],
)
def test_operands_have_the_shapes_of_tensorflow(build: Callable[[], object], reason: str) -> None:
    with pytest.raises(ShapeError, match=reason):
        build()


@pytest.mark.parametrize(
    "op", [op for op in OPERATIONS if op not in TABLE], ids=lambda op: op.__name__
)
def test_the_layers_model_refuses_operations_without_a_layer(op: type[Node]) -> None:
    with pytest.raises(Refusal, match=f"computes {op.__name__}, for which TF.js has no layer"):
        _check_node(op.__new__(op), [])
