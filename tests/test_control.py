"""Branches and loops with a condition: their types, faults and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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


# ------------------------------------------------------------------------------- faults and limits


SEQUENCE = Input("sequence", TensorType("float32", ("batch", None, 2)))
FLAGS = Input("flags", TensorType("bool", (4,)))
OPEN = Input("open", TensorType("float32", (None, 2)))


def scanned(**options: Any) -> tuple[ops.Tensor, ...]:
    """A scan over a sequence that adds up its steps."""
    _, results = ops.scan(lambda s, t, _: ([s[0] + t[0]], [s[0]]), (OPEN,), (SEQUENCE,), **options)
    return results


FAULTS: Mapping[str, tuple[Callable[[], object], str]] = {
    "an endless loop": (
        lambda: ops.while_loop(None, lambda n: (n,), (N,)),
        "neither a condition nor a trip count",
    ),
    "a trip count that is no integer": (
        lambda: ops.while_loop(None, lambda x: (x,), (X,), (), ops.constant(2.0)),
        "Loop supports integers, not float32",
    ),
    "a trip count that is no scalar": (
        lambda: ops.while_loop(None, lambda x: (x,), (X,), (), ops.constant([2])),
        r"a trip count is a scalar, not int32\[1\]",
    ),
    "nothing to compute": (
        lambda: ops.while_loop(None, lambda: (), (), (), 3),
        "no states and no results",
    ),
    "a state that becomes another type": (
        lambda: ops.while_loop(None, lambda n, x: (n, ops.cast(x, "int32")), (N, X), (), 3),
        r"the state 'state_1' of float32\[3, 2\], but each step returns int32",
    ),
    "a state that loses an axis": (
        lambda: ops.while_loop(None, lambda x: (ops.Sum(x, (0,)),), (X,), (), 3),
        "a state keeps its element type, its rank and its known sizes",
    ),
    "a scan over no sequence": (
        lambda: ops.scan(lambda s, *_: (s, []), (X,), ()),
        "at least one sequence",
    ),
    "a scan over an axis that there is not": (
        lambda: scanned(axes=3),
        "over axis 3 of a tensor of 3 axes",
    ),
    "a result with too many axes": (
        lambda: scanned(result_axes=3),
        "over axis 3 of a tensor of 3 axes",
    ),
    "sequences of different lengths": (
        lambda: ops.scan(lambda s, t, _: (s, t), (), (X, FLAGS), axes=0, result_axes=0),
        "the sequences have 3 and 4 steps",
    ),
}


@pytest.mark.every_row
@pytest.mark.parametrize("name", FAULTS)
def test_invalid_loops_are_refused(name: str) -> None:
    build, message = FAULTS[name]
    with pytest.raises(ShapeError, match=message):
        build()


def test_numpy_raises_if_a_state_changes_a_fixed_size() -> None:
    """The size after a step is known only at run time, and the size before is 3."""
    (y,) = ops.items(loop_that_grows())
    with pytest.raises(RuntimeError, match=r"the state 'state' from \(3, 2\) to \(4, 2\)"):
        Graph((X, OPEN), (y,)).run(np.ones((3, 2), np.float32), np.ones((1, 2), np.float32))


def loop_that_grows() -> Loop:
    """A loop that appends rows to a state of a known size."""
    state = Input("state", X.type)
    rows = Input("rows", OPEN.type)
    body = Graph((state, rows), (ops.concat([state, rows], 0),))
    return Loop((X,), (OPEN,), None, body, ops.as_tensor(2))


def test_a_state_whose_size_has_no_name_may_change() -> None:
    (y,) = ops.while_loop(None, lambda x: (ops.concat([x, x], 0),), (SEQUENCE,), (), 2)
    assert y.type == TensorType("float32", (None, None, 2))
    (result,) = Graph((SEQUENCE,), (y,)).run(np.ones((1, 3, 2), np.float32))
    assert result.shape == (4, 3, 2)


def test_sizes_with_a_name_remain_without_steps() -> None:
    _, over = ops.scan(lambda s, t, _: ([], [t[0]]), (), (SEQUENCE,))
    (result,) = Graph((SEQUENCE,), over).run(np.ones((5, 0, 2), np.float32))
    assert result.shape == (5, 0, 2)
    assert over[0].type == SEQUENCE.type


def test_a_body_captures_what_it_uses() -> None:
    outside = X * 2.0
    builds: tuple[Callable[[], tuple[ops.Tensor, ...]], ...] = (
        lambda: ops.branch(FLAG, lambda: (outside,), lambda: (X,)),
        lambda: ops.while_loop(None, lambda x: (x + outside,), (X,), (), 3),
        lambda: ops.while_loop(
            lambda _: ops.less(ops.Sum(outside, (0, 1)), 1.0), lambda x: (x,), (X,)
        ),
        lambda: ops.while_loop(
            None,
            lambda x: ops.branch(FLAG, lambda y: (y,), lambda y: (y * 2.0,), (x,)),
            (X,),
            (),
            3,
        ),
    )
    for build in builds:
        with pytest.raises(InvalidGraph, match=r"in its body: .*does not have this input"):
            check(Graph((FLAG, X), build()))
