"""Loops: unrolling them, counting their steps, and applying functions to their bodies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from kerasport.budget import NODE, spare
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Item, Scan, Tensor
from kerasport.ir.tensor import Node, Several, constant, field_names

Used: TypeAlias = frozenset[int]
"""Indices of the results of a node that the graph uses."""
Results: TypeAlias = Sequence[Tensor] | None
"""A tensor for each result of a node, or None if the node stays as it is."""


def with_results(graph: Graph, function: Callable[[Several, Used], Results]) -> Graph:
    """The graph with other tensors as the results of nodes with several results.

    Args:
        graph: the graph.
        function: function (node, results that the graph uses) → the other tensors.

    Returns:
        The graph, or the same graph if no node changed.
    """
    used: dict[Node, set[int]] = {}
    for node in graph.nodes():
        if isinstance(node, Item):
            used.setdefault(node.source, set()).add(node.index)
    written: dict[Node, Sequence[Tensor]] = {}
    order = iter(tuple(graph.nodes()))

    def step(node: Node) -> Node:
        old = next(order)
        if isinstance(node, Several):
            results = function(node, frozenset(used.get(old, ())))
            if results is not None:
                written[node] = results
        if isinstance(node, Item) and node.source in written:
            return written[node.source][node.index]
        return node

    rebuilt = graph.rebuild(step)
    return rebuilt if written else graph


def unroll(graph: Graph, limit: int) -> Graph:
    """The graph in which each loop with a known number of at most `limit` steps is unrolled."""

    def unrolled(node: Several, _: Used) -> Results:
        if not isinstance(node, Scan) or not 0 < (node.time or 0) <= limit or not _room(node):
            return None
        return steps_of(node)

    return with_results(graph, unrolled)


def _room(loop: Scan) -> bool:
    """Whether the unrolled loop fits into memory. Thousands of loops may not fit."""
    return spare(sum(1 for _ in loop.body.nodes()) * (loop.time or 0), itemsize=NODE)


def steps_of(loop: Scan) -> tuple[Tensor, ...]:
    """The results of a loop with a known number of steps, unrolled."""
    assert loop.time is not None
    states = loop.states
    over: list[tuple[Tensor, ...]] = []
    for t in range(loop.time):
        taken = (
            _taken(sequence, axis, loop.time - 1 - t if backwards else t)
            for sequence, axis, backwards in zip(
                loop.sequences, loop.axes, loop.backwards, strict=True
            )
        )
        outputs = loop.body.applied((*states, *taken, *loop.captured))
        states, results = outputs[: len(states)], outputs[len(states) :]
        over.append(results)
    stacked = (
        ops.stack(steps[::-1] if backwards else steps, axis)
        for steps, axis, backwards in zip(
            zip(*over, strict=True), loop.result_axes, loop.result_backwards, strict=True
        )
    )
    return (*states, *stacked)


def _taken(sequence: Tensor, axis: int, step: int) -> Tensor:
    """One step of a sequence."""
    return ops.squeeze(ops.slice_axis(sequence, axis, step, 1), axis)


def counted(graph: Graph) -> Graph:
    """The graph with a `Loop` that counts steps for each `Scan` that may have no steps.

    Runtimes have no operator for a scan without steps, or end with an error.
    """

    def loop(node: Several, _: Used) -> Results:
        if isinstance(node, Scan) and node.may_be_empty:
            return counted_steps_of(node)
        return None

    return with_results(graph, loop)


def counted_steps_of(scan: Scan) -> tuple[Tensor, ...]:
    """The results of a scan, as a `Loop` whose first state counts the steps."""
    count, number = len(scan.states), len(scan.sequences)
    total = ops.as_tensor(ops.dim(scan.sequences[0], scan.axes[0]))

    def step(index: Tensor, *inside: Tensor) -> tuple[Tensor, ...]:
        states, sequences = inside[:count], inside[count : count + number]
        last, captured = inside[count + number] - 1, inside[count + number + 1 :]
        steps = (
            ops.gather(sequence, last - index if backwards else index, axis)
            for sequence, axis, backwards in zip(sequences, scan.axes, scan.backwards, strict=True)
        )
        return (index + 1, *scan.body.applied((*states, *steps, *captured)))

    _, *collected = ops.while_loop(
        None,
        step,
        (constant(0), *scan.states),
        (*scan.sequences, total, *scan.captured),
        total,
    )
    over = (
        ops.move_axis(ops.Reverse(y, (0,)) if backwards else y, 0, axis)
        for y, axis, backwards in zip(
            collected[count:], scan.result_axes, scan.result_backwards, strict=True
        )
    )
    return (*collected[:count], *over)


def inside_loops(graph: Graph, function: Callable[[Graph], Graph]) -> Graph:
    """The graph with a function applied to the bodies of control flow nodes, inner ones first."""
    return inside_bodies(graph, lambda body: function(inside_loops(body, function)))


def inside_bodies(graph: Graph, function: Callable[[Graph], Graph]) -> Graph:
    """The graph with a function applied to the bodies of its control flow nodes."""

    def step(node: Node) -> Node:
        bodies: dict[str, Any] = {
            name: function(value)
            for name in field_names(type(node))
            if isinstance(value := getattr(node, name), Graph)
        }
        return replace(node, **bodies) if bodies else node

    return graph.rebuild(step)
