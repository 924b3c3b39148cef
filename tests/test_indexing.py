"""Gathering at positions known at run time, against a loop over the positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import graphs

from kerasport.errors import ShapeError
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, Tensor, TensorType


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(0, 2),
    count=st.integers(1, 2),
    rows=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_gather_nd_selects_the_slices_of_a_loop(
    batch: int, count: int, rows: int, seed: int
) -> None:
    x = graphs.random(seed, 2, 3, 4, 5)
    front = (2, 3)[:batch]
    highs = x.shape[batch : batch + count]
    rng = np.random.default_rng(seed)
    indices = np.asarray(rng.integers(0, highs, (*front, rows, count)), np.int32)
    wanted = np.zeros((*front, rows, *x.shape[batch + count :]), np.float32)
    for place in np.ndindex(*front, rows):
        wanted[place] = x[place[:batch] + tuple(indices[place])]
    for unknown in ((), (0, 1)):
        inputs = graphs.given("x", x, unknown), graphs.given("i", indices, unknown[:batch])
        (got,) = Graph(inputs, (ops.gather_nd(*inputs, batch),)).run(x, indices)
        np.testing.assert_array_equal(got, wanted)


def test_gather_nd_rejects_negative_and_too_large_indices() -> None:
    x, indices = graphs.random(0, 3, 2), np.array([[-1]], np.int32)
    inputs = graphs.given("x", x), graphs.given("i", indices)
    with pytest.raises(IndexError, match="negative"):
        Graph(inputs, (ops.gather_nd(*inputs),)).run(x, indices)
    with pytest.raises(ShapeError, match="do not name slices"):
        ops.GatherNd(inputs[0], ops.constant([[0, 0, 0]]))
    with pytest.raises(ShapeError, match="2 batch dimensions"):
        ops.gather_nd(*inputs, 2)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda x: ops.Tile(x, (ops.constant(2.0), 1)), "supports integers, not float32"),
        (lambda x: ops.Slice(x, (ops.constant([0]), 0), (1, 1)), "a size is a scalar, not int32"),
        (lambda x: ops.sizes_of(x), "a vector of integers of a known length"),
        (lambda x: ops.Range(x), "supports int32 or int64, not float32"),
    ],
)
def test_sizes_are_integer_scalars(build: Callable[[Tensor], object], reason: str) -> None:
    with pytest.raises(ShapeError, match=reason):
        build(Input("x", TensorType("float32", (2, None))))


def test_a_range_ends_in_the_direction_of_its_step() -> None:
    arrays = [np.asarray(number, np.int32) for number in (5, 0, -1)]
    inputs = tuple(graphs.given(f"x_{at}", array) for at, array in enumerate(arrays))
    with pytest.raises(ValueError, match="no range from 0 to 5 in steps of -1"):
        Graph(inputs, (ops.Range(*inputs),)).run(*arrays)
