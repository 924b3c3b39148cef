"""Gathering at positions known at run time, against a loop over the positions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import graphs

from kerasport.errors import ShapeError
from kerasport.ir import ops
from kerasport.ir.graph import Graph


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(0, 2),
    count=st.integers(1, 2),
    rows=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_slices_are_those_of_a_loop(batch: int, count: int, rows: int, seed: int) -> None:
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


def test_indices_are_not_negative_and_fit() -> None:
    x, indices = graphs.random(0, 3, 2), np.array([[-1]], np.int32)
    inputs = graphs.given("x", x), graphs.given("i", indices)
    with pytest.raises(IndexError, match="negative"):
        Graph(inputs, (ops.gather_nd(*inputs),)).run(x, indices)
    with pytest.raises(ShapeError, match="do not name slices"):
        ops.GatherNd(inputs[0], ops.constant([[0, 0, 0]]))
    with pytest.raises(ShapeError, match="2 batch dimensions"):
        ops.gather_nd(*inputs, 2)
