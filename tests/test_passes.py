"""Rewrite rules: their results, the graphs that they do not change, and unchanged values."""

from __future__ import annotations

from collections import Counter
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests import graphs
from tests.rules.algebraic import ALGEBRAIC
from tests.rules.fusing import FUSING
from tests.rules.legalizing import LEGALIZING
from tests.rules.row import IMAGE, Rewrite, conv, num
from tests.strategies import computations

from kerasport.ir import ops
from kerasport.ir.graph import Graph, show
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import Input, TensorType, constant
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.fold import GROWTH, SMALL, fold_constants
from kerasport.passes.loop import inside_loops, unroll
from kerasport.passes.rewrite import Rule, rewrite
from kerasport.targets.tfjs.graph import optimized
from kerasport.targets.tfjs.graph.fused import FUSION
from kerasport.targets.tfjs.graph.legalize import LEGAL
from kerasport.weights import Array, ComputedWeight


def fed(graph: Graph, sizes: int = 2) -> list[Array]:
    """Random numbers for the inputs of a graph, whose unknown sizes are that."""
    made = []
    for at, given_ in enumerate(graph.inputs):
        array = graphs.random(at, *(sizes if d is None else d for d in given_.shape))
        made.append(array > 0 if given_.dtype == "bool" else array.astype(given_.dtype))
    return made


def assert_same(before: Graph, after: Graph, sizes: int = 2) -> None:
    """Both compute the same, of the same type."""
    feed = fed(before, sizes)
    with np.errstate(all="ignore"):
        results = zip(before.run(*feed), after.run(*feed), strict=True)
    for (wanted, result), one, other in zip(results, before.outputs, after.outputs, strict=True):
        assert one.dtype == other.dtype
        assert np.shape(wanted) == np.shape(result)
        large = max(1.0, float(np.max(np.abs(wanted), initial=0)))
        np.testing.assert_allclose(
            np.asarray(result, float), np.asarray(wanted, float), 1e-4, 1e-5 * large
        )


ALL = tuple(
    (row, rules)
    for rows, rules in (
        (ALGEBRAIC, (fold_constants, *ALGEBRA)),
        (FUSING, (*FUSION, fold_constants, *ALGEBRA)),
        (LEGALIZING, (*LEGAL, fold_constants, *ALGEBRA)),
    )
    for row in rows
)


@pytest.mark.parametrize(("row", "rules"), ALL, ids=[row.name for row, _ in ALL])
def test_rules_rewrite_graphs_as_the_table_says(row: Rewrite, rules: tuple[Rule, ...]) -> None:
    before = row.graph()
    after = rewrite(before, *rules)
    assert show(after) == (dedent(row.after).strip() or show(before))
    assert_same(before, after, 24 if row.shape == (None,) else 5)


def test_every_rule_has_a_row() -> None:
    """Each of them makes something of a computation in the table."""
    for rule in (fold_constants, *ALGEBRA, *LEGAL, *FUSION):
        used: list[Any] = []

        def noting(node: Any, uses: Any, rule: Rule = rule, used: list[Any] = used) -> Any:
            made = rule(node, uses)
            used += [made] if made is not None else []
            return made

        for row, rules in ALL:
            rewrite(row.graph(), *(noting if each is rule else each for each in rules))
        assert used, rule.__name__


# ------------------------------------------------------------------------------------ random graphs


@settings(max_examples=250, deadline=None)
@given(computations())
def test_rewritten_random_graphs_compute_the_same(graph: Graph) -> None:
    simple = rewrite(graph, fold_constants, *ALGEBRA)
    assert_same(graph, simple, 3)
    assert_same(graph, optimized(graph), 3)
    assert {type(name) for name in simple.names.values()} <= {str}
    assert set(simple.names) <= set(simple.nodes())
    counts = Counter(map(type, rewrite(simple, fold_constants, *ALGEBRA).nodes()))
    assert counts == Counter(map(type, simple.nodes()))


# ---------------------------------------------------------------------------------------- the whole


def test_conv_normalization_and_activation_fuse_into_one_kernel() -> None:
    """Gamma, beta, mean and variance, as the layer has them."""
    gamma, beta, mean, variance = (num(1, 4), num(2, 4), num(3, 4), num(4, 4))
    x = Input("x", TensorType("float32", IMAGE))

    def row(c: Tensor) -> Tensor:
        return ops.reshape(ops.slice_axis(c, 0, 0, 1), (4,))

    y = conv(x) + num(4)
    scale = row(gamma) * ops.Rsqrt(row(variance) + 1e-3)
    z = ops.Relu((y - row(mean)) * scale + row(beta))
    after = optimized(Graph((x,), (z,)))
    assert Counter(type(node).__name__ for node in after.nodes()) == {
        "Input": 1,
        "Constant": 2,
        "Fused": 1,
    }
    assert_same(Graph((x,), (z,)), after)


def test_equal_options_of_different_types_stay_two_nodes() -> None:
    x = Input("x", TensorType("float32", (2, 2)))
    once = rewrite(Graph((x,), (ops.Softmax(x), ops.Softmax(x))))
    assert once.outputs[0] is once.outputs[1]
    two = rewrite(
        Graph((x,), (ops.Sum(x, (0,), True), ops.Sum(x, (0,), False), ops.Sum(x, (1,), True)))
    )
    assert len(set(two.outputs)) == 3


def test_large_constants_are_computed_when_they_are_read() -> None:
    x = Input("x", TensorType("float32", (SMALL + 1,)))
    numbers, reads = graphs.random(0, SMALL + 1), []

    def read() -> Array:
        reads.append(1)
        return numbers

    large = ops.Constant(ComputedWeight(numbers.dtype, numbers.shape, read))
    graph = rewrite(Graph((x,), (x + large * 2.0,)), fold_constants)
    assert not reads
    assert Counter(type(node).__name__ for node in graph.nodes()) == {
        "Input": 1,
        "Constant": 1,
        "Add": 1,
    }
    np.testing.assert_allclose(graph.run(np.zeros(SMALL + 1, np.float32))[0], numbers * 2)
    assert reads


def test_constants_that_would_grow_are_not_folded() -> None:
    spread = ops.broadcast_to(num(9), (SMALL, 9))
    assert GROWTH * 9 < SMALL
    assert rewrite(Graph((), (spread,)), fold_constants).outputs == (spread,)


def test_nan_constants_are_folded_without_warnings() -> None:
    (made,) = rewrite(Graph((), (ops.Log(constant([0.0, -1.0])) / 0.0,)), fold_constants).outputs
    assert isinstance(made, ops.Constant)
    assert str(made.read()) == "[-inf  nan]"


def test_a_chain_of_thousands_is_rewritten_in_a_few_passes() -> None:
    x = Input("x", TensorType("float32", (3,)))
    y: Tensor = x
    for _ in range(3000):
        y = ops.Relu(y * 2.0 + 1.0)
    after = rewrite(Graph((x,), (y,)), fold_constants, *ALGEBRA)
    assert Counter(type(node).__name__ for node in after.nodes())["Relu"] == 3000


# -------------------------------------------------------------------------------------------- loops


def loop(time: int | None, *, reverse: bool) -> Graph:
    x, h = (
        Input("x", TensorType("float32", (None, time, 3))),
        Input("h", TensorType("float32", (None, 3))),
    )
    kernel = num(3, 3)

    def step(states: Any, steps: Any, captured: Any) -> Any:
        new = ops.Tanh((states[0] @ kernel) * num(3) + steps[0]) + captured[0]
        return (new,), (new * 2.0, ops.greater(new, 0.0))

    (last,), over = ops.scan(step, (h,), (x,), (h * 0.5,), reverse=reverse)
    return Graph((x, h), (last, *over))


@pytest.mark.parametrize("reverse", [False, True])
def test_short_loops_of_known_length_are_unrolled(reverse: bool) -> None:
    graph = loop(3, reverse=reverse)
    written = unroll(graph, 3)
    assert not any(isinstance(node, ops.Scan) for node in written.nodes())
    assert_same(graph, written)
    assert_same(graph, optimized(graph, 3))
    for time, limit in ((3, 2), (None, 99)):
        assert any(
            isinstance(node, ops.Scan)
            for node in unroll(loop(time, reverse=reverse), limit).nodes()
        )


def test_the_bodies_of_loops_are_rewritten() -> None:
    graph = loop(None, reverse=False)
    after = inside_loops(graph, lambda body: rewrite(body, fold_constants, *ALGEBRA))
    assert_same(graph, after, 4)
    (scan,) = (node for node in after.nodes() if isinstance(node, ops.Scan))
    assert Counter(type(node).__name__ for node in scan.body.nodes())["Mul"] == 1
    assert_same(graph, optimized(graph), 4)
