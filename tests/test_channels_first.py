"""Channels first in ONNX: transposes around windows, and operations that they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from tests.cases.case import Case
from tests.cases.trial import Trial
from tests.graphs import random
from tests.onnx_runtime import close, run
from tests.test_onnx import written

import kerasport
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import Input, TensorType, constant
from kerasport.targets.onnx.plan import optimized
from kerasport.weights import Array

SIZES = (2, 5, 4, 3)
"""Sizes of the axes when a graph runs; tests leave some of them open."""

IMAGE = (None, None, None, 3)
SERIES = (None, None, 3)
KNOWN = (2, 5, 4, 3)


def conv(x: Tensor) -> Tensor:
    """A convolution, after which ONNX has channels first."""
    return ops.Conv(x, constant(random(1, 2, 2, 3, 6)), (1, 1), "same", (1, 1))


def insert(x: Tensor, axis: int) -> Tensor:
    """`x` with a new axis; all other sizes are taken from `x`, at run time where they are open."""
    sizes = list(ops.dims(x))
    sizes.insert(axis, 1)
    return ops.Reshape(x, tuple(sizes))


def shuffled(x: Tensor, order: Sequence[int]) -> Tensor:
    """`x` reshaped to its own sizes in another order."""
    return ops.Reshape(x, tuple(ops.dim(x, axis) for axis in order))


def of_before(x: Tensor, order: Sequence[int], axis: int) -> Tensor:
    """`x` transposed, then reshaped with a new axis, with sizes taken from before the transpose."""
    sizes = [ops.dim(x, old) for old in order]
    sizes.insert(axis, 1)
    return ops.Reshape(ops.transpose(x, order), tuple(sizes))


Build = Callable[[Tensor], Tensor]
Row = tuple[tuple[int | None, ...], Build]


def wider() -> Iterator[tuple[str, Row]]:
    """Reshapes to one axis more."""
    for axis in range(4):
        yield (
            f"transposed, then one axis more at {axis}",
            (SERIES, partial(lambda axis, x: insert(ops.transpose(x, (0, 2, 1)), axis), axis)),
        )
    for axis in range(5):
        yield (
            f"transposed, then one axis more at {axis}, of sizes before",
            (IMAGE, partial(lambda axis, x: of_before(x, (2, 0, 3, 1), axis), axis)),
        )
        yield (
            f"a convolution, then one axis more at {axis}",
            (IMAGE, partial(lambda axis, x: insert(conv(x), axis), axis)),
        )


def along() -> Iterator[tuple[str, Row]]:
    """What works along axes of a convolution."""
    for axes in ((0,), (1,), (3,), (0, 3), (1, 2), (1, 3)):
        for keep in (False, True):
            yield (
                f"a sum over {axes}{', kept' if keep else ''}",
                (IMAGE, partial(lambda axes, keep, x: ops.Sum(conv(x), axes, keep), axes, keep)),
            )
    for axis in (0, 1, 3, -1, -2):
        yield (
            f"joined along {axis}",
            (KNOWN, partial(lambda axis, x: ops.concat([conv(x), ops.Relu(conv(x))], axis), axis)),
        )


ROWS: dict[str, Row] = {
    **dict(wider()),
    **dict(along()),
    "two axes more": (SERIES, lambda x: insert(insert(ops.transpose(x, (2, 1, 0)), 1), 4)),
    "sizes in another order": (IMAGE, lambda x: shuffled(conv(x), (3, 1, 0, 2))),
    "sizes in another order after a transpose": (
        SERIES,
        lambda x: shuffled(ops.transpose(x, (1, 0, 2)), (1, 2, 0)),
    ),
    "one axis less": (
        IMAGE,
        lambda x: ops.Reshape(conv(x), (ops.dim(x, 0), ops.dim(x, 1), -1)),
    ),
    "channels split": (
        IMAGE,
        lambda x: ops.Reshape(conv(x), (*ops.dims(x)[:3], 2, 3)),
    ),
    "a convolution, sliced": (
        KNOWN,
        lambda x: ops.Slice(conv(x), (1, 0, 2, 1), (1, -1, 2, 3)),
    ),
    "a convolution, reversed and strided": (
        IMAGE,
        lambda x: ops.strided(
            ops.Reverse(conv(x), (1, 3)),
            [(None, None, 1), (1, None, 2), (None, None, -1), (None, -1, 1)],
        ),
    ),
    "a convolution, padded and tiled": (
        IMAGE,
        lambda x: ops.Tile(ops.pad(conv(x), [(0, 0), (1, 0), (0, 2), (3, 1)]), (1, 2, 1, 3)),
    ),
    "a convolution beside tensors of lower rank": (
        KNOWN,
        lambda x: conv(x) * constant(random(2, 4, 6)) + ops.Max(conv(x), (0, 1)),
    ),
    "a convolution, flattened and multiplied": (
        (None, 5, 4, 3),
        lambda x: ops.MatMul(
            ops.Reshape(conv(x), (ops.dim(x, 0), -1)), constant(random(3, 120, 2))
        ),
    ),
}  # fmt: skip


def graph_of(name: str, index: int = 0) -> tuple[Graph, Array]:
    """The graph of a row, and a feed."""
    shape, build = ROWS[name]
    x = Input(f"x{index}", TensorType("float32", shape))
    return Graph((x,), (build(x),)), random(4, *SIZES[:1], *SIZES[-len(shape) + 1 :])


@pytest.mark.parametrize("opset", [17, 20])
def test_onnx_runtime_computes_what_numpy_computes(opset: int, tmp_path: Path) -> None:
    graphs, feeds = zip(*(graph_of(name, index) for index, name in enumerate(ROWS)), strict=True)
    whole = Graph(
        tuple(graph.inputs[0] for graph in graphs), tuple(graph.outputs[0] for graph in graphs)
    )
    (got,) = run(written(whole, tmp_path / "model.onnx", opset), [feeds])
    for name, graph, feed, result in zip(ROWS, graphs, feeds, got, strict=True):
        (wanted,) = graph.run(feed)
        assert result.shape == wanted.shape, name
        np.testing.assert_allclose(result, wanted, 1e-5, 1e-4, err_msg=name)


EMPTY: dict[str, Row] = {
    "a move of an axis of size 1": ((None, 0, 1, 2), lambda x: ops.transpose(x, (0, 1, 3, 2))),
    "a reversed axis of size 1": (
        (None, 0, 1, 1),
        lambda x: ops.transpose(ops.Reverse(x, (2,)), (0, 2, 1, 3)),
    ),
    "one axis more": ((None, 0, 3), lambda x: insert(ops.transpose(x, (2, 1, 0)), 3)),
    "a sum": ((None, 0, 1, 2), lambda x: ops.reshape(ops.Sum(x, (3,)), (ops.dim(x, 0), 0, 1, 1))),
}


@pytest.mark.every_row
@pytest.mark.parametrize("name", EMPTY)
def test_tensors_without_elements_keep_their_shape(name: str) -> None:
    """A size of -1 could be anything beside a size of 0."""
    shape, build = EMPTY[name]
    x = Input("x", TensorType("float32", shape))
    graph = Graph((x,), (build(x),))
    feed = np.zeros([3 if size is None else size for size in shape], np.float32)
    assert optimized(graph).run(feed)[0].shape == graph.run(feed)[0].shape


def permuted() -> keras.Model:
    """Series with features before time, seen as images of one row."""
    x = series = keras.Input((None, 3), name="series")
    x = layers.Permute((2, 1))(layers.Conv1D(4, 3, padding="same")(x))
    x = keras.ops.expand_dims(x, 1)
    x = layers.Conv2D(2, (1, 3), padding="same", data_format="channels_last")(
        keras.ops.transpose(x, (0, 3, 1, 2))
    )
    return keras.Model(series, [x, keras.ops.expand_dims(keras.ops.transpose(x, (2, 0, 3, 1)), 4)])


def test_permute_and_reshape_of_unknown_sizes(tmp_path: Path) -> None:
    trial = Trial(Case("permuted", permuted, mixes_batch=True), tmp_path)
    kerasport.convert(trial.path, tmp_path / "model.onnx")
    for wanted, got in zip(trial.expected, run(tmp_path / "model.onnx", trial.feeds), strict=True):
        close(wanted, got, 1e-4, 1e-5)
