"""Applying rules until none applies."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Constant, Input, Node, field_names

Uses: TypeAlias = Callable[[Node], int]
Rule: TypeAlias = Callable[[Node, Uses], "Node | None"]
"""What a node becomes, None where the rule does not apply. A rule that moves work into an operand asks how often
that operand is used, since another user would have it done twice."""


def rewrite(graph: Graph, *rules: Rule) -> Graph:
    """The graph in which no rule applies any more; the same computation written twice is done once."""
    while True:
        changed = False
        counts = graph.uses()
        shared: dict[Node, int] = {}
        known: dict[Hashable, Node] = {}

        def uses(node: Node, shared: dict[Node, int] = shared) -> int:
            return shared.get(node, 1)

        def step(node: Node, uses: Uses = uses, known: dict[Hashable, Node] = known) -> Node:
            nonlocal changed
            for _ in range(LIMIT):
                new = next((made for rule in rules if (made := rule(node, uses)) is not None), None)
                if new is None:
                    break
                node, changed = new, True
            return known.setdefault(identity(node), node)

        graph = _rebuilt(graph, step, counts, shared)
        if not changed:
            return graph


LIMIT = (
    100  # of rules in a row at one node; a pair of rules that undo each other would go on for ever
)


def _rebuilt(
    graph: Graph, step: Callable[[Node], Node], counts: dict[Node, int], shared: dict[Node, int]
) -> Graph:
    """Rebuild, and note for each new node how often the node was used whose place it takes."""
    order = iter(tuple(graph.nodes()))

    def noting(node: Node) -> Node:
        old = next(order)
        made = step(node)
        shared[made] = shared.get(made, 0) + counts[old]
        return made

    return graph.rebuild(noting)


def identity(node: Node) -> Hashable:
    """What makes two nodes the same computation."""
    if isinstance(node, Input):
        return node
    if isinstance(node, Constant):
        return (Constant, id(node.value), node.dtype)
    return (type(node), *(_key(getattr(node, name)) for name in field_names(type(node))))


def _key(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    # 1 and 1.0 and True are equal, and not the same option
    return (
        value
        if isinstance(value, Node)
        else (type(value), value if isinstance(value, Hashable) else id(value))
    )
