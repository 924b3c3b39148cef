"""Branches and loops with a condition: their types, faults and limits."""

from __future__ import annotations

import numpy as np
import pytest

from kerasport.errors import ShapeError
from kerasport.ir import ops
from kerasport.ir.check import InvalidGraph, check
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Branch, Input, Loop, TensorType
from kerasport.ir.ops.control import MAX_STEPS
from kerasport.targets.tfjs.graph import optimized

FLAG = Input("flag", TensorType("bool", ()))
X = Input("x", TensorType("float32", (3, 2)))
N = Input("n", TensorType("int32", ()))


def test_a_size_that_differs_between_branches_is_known_only_at_run_time() -> None:
    (y,) = ops.branch(FLAG, lambda x: (ops.concat([x, x], 0),), lambda x: (x,), (X,))
    assert y.type == TensorType("float32", (None, 2))


def test_numpy_stops_an_endless_loop() -> None:
    (y,) = ops.while_loop(lambda n: ops.greater(n, 0), lambda n: (n,), (N,))
    assert Graph((N,), (y,)).run(np.asarray(0, np.int32))[0] == 0
    with pytest.raises(RuntimeError, match=f"did not end after {MAX_STEPS} steps"):
        Graph((N,), (y,)).run(np.asarray(1, np.int32))


def test_numpy_runs_as_many_steps_as_the_limit() -> None:
    (y,) = ops.while_loop(lambda n: ops.greater(n, 0), lambda n: (n - 1,), (N,))
    assert Graph((N,), (y,)).run(np.asarray(MAX_STEPS, np.int32))[0] == 0


@pytest.mark.parametrize("other", [lambda _: (N,), lambda _: (), lambda x: (x, x)])
def test_branches_return_the_same_types(other: ops.control.Function) -> None:
    with pytest.raises(ShapeError):
        ops.branch(FLAG, lambda x: (x,), other, (X,))


def test_conditions_are_bool_scalars() -> None:
    with pytest.raises(ShapeError, match="bool scalar, not int32"):
        ops.branch(N, lambda x: (x,), lambda x: (x,), (X,))
    with pytest.raises(ShapeError, match="bool scalar, not bool"):
        ops.while_loop(lambda x: ops.greater(x, 0.0), lambda x: (x,), (X,))


def test_a_state_keeps_its_type() -> None:
    with pytest.raises(ShapeError, match="each step returns"):
        ops.while_loop(lambda _: ops.greater(N, 0), lambda x: (ops.concat([x, x], 0),), (X,))


def test_a_body_fits_its_node() -> None:
    wrong = Graph((N,), (N,))
    body = Graph((X,), (X,))
    condition = Graph((X,), (ops.constant(True),))
    branch = Branch(FLAG, (X,), body, Graph((), (X * 1.0,)))
    loop = Loop((X,), (), Graph((N,), condition.outputs), body)
    for node in (branch, loop, Branch(FLAG, (X,), wrong, wrong)):
        with pytest.raises(InvalidGraph, match="its body"):
            check(Graph((FLAG, X, N), ops.items(node)))


def test_passes_rewrite_all_bodies() -> None:
    twice = lambda x: (ops.Neg(ops.Neg(x)) + (ops.constant(1.0) + ops.constant(2.0)),)  # noqa: E731
    (y,) = ops.branch(FLAG, twice, twice, (X,))
    (z,) = ops.while_loop(lambda x: ops.less(ops.Sum(x, (0, 1)), 9.0), twice, (y,))
    graph = optimized(Graph((FLAG, X), (z,)))
    check(graph)
    bodies = [
        value for node in graph.nodes() for value in vars(node).values() if isinstance(value, Graph)
    ]
    assert len(bodies) == 4
    for body in bodies:
        adds = [node for node in body.nodes() if isinstance(node, ops.Add)]
        assert all(not all(isinstance(x, ops.Constant) for x in add.operands) for add in adds)
    feed = np.asarray(True), np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(graph.run(*feed)[0], Graph((FLAG, X), (z,)).run(*feed)[0])
