"""Loops over time steps: unrolling them, and applying functions to their bodies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kerasport.budget import NODE, spare
from kerasport.ir import ops
from kerasport.ir.graph import Graph, with_operands
from kerasport.ir.ops import Item, Scan, Tensor
from kerasport.ir.tensor import Node, field_names


def unroll(graph: Graph, limit: int) -> Graph:
    """The graph in which each loop with a known number of at most `limit` steps is unrolled."""
    written: dict[Node, tuple[Tensor, ...]] = {}

    def step(node: Node) -> Node:
        if (
            isinstance(node, Scan)
            and node.time is not None
            and 0 < node.time <= limit
            and _room(node)
        ):
            written[node] = steps_of(node)
        if isinstance(node, Item) and node.source in written:
            return written[node.source][node.index]
        return node

    return graph.rebuild(step)


def _room(loop: Scan) -> bool:
    """Whether the unrolled loop fits into memory. Thousands of loops may not fit."""
    return spare(sum(1 for _ in loop.body.nodes()) * (loop.time or 0), itemsize=NODE)


def steps_of(loop: Scan) -> tuple[Tensor, ...]:
    """The results of a loop with a known number of steps, unrolled."""
    assert loop.time is not None
    states = loop.states
    over: list[tuple[Tensor, ...]] = []
    for t in range(loop.time):
        at = loop.time - 1 - t if loop.reverse else t
        given = (ops.squeeze(ops.slice_axis(sequence, 1, at, 1), 1) for sequence in loop.sequences)
        made = once(loop.body, (*states, *given, *loop.captured))
        states, results = made[: len(states)], made[len(states) :]
        over.append(results)
    return (*states, *(ops.stack(result, 1) for result in zip(*over, strict=True)))


def once(body: Graph, operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The outputs of a body for these inputs. Nodes that depend on no input stay the same."""
    new: dict[Node, Node] = dict(zip(body.inputs, operands, strict=True))
    for node in body.nodes():
        if node not in new:
            new[node] = with_operands(node, new)
    made = tuple(new[output] for output in body.outputs)
    assert all(isinstance(output, Tensor) for output in made)
    return made  # type: ignore[return-value]


def inside_loops(graph: Graph, function: Callable[[Graph], Graph]) -> Graph:
    """The graph with a function applied to the bodies of control flow nodes, inner ones first."""

    def step(node: Node) -> Node:
        bodies: dict[str, Any] = {
            name: function(inside_loops(value, function))
            for name in field_names(type(node))
            if isinstance(value := getattr(node, name), Graph)
        }
        return replace(node, **bodies) if bodies else node

    return graph.rebuild(step)
