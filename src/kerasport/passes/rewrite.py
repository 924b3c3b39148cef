"""Rewriting of graphs: rules are applied until no rule applies."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Constant, Input, Node, field_names

Uses: TypeAlias = Callable[[Node], int]
"""Function node → how often the graph uses it as an operand or an output."""
Rule: TypeAlias = Callable[[Node, Uses], "Node | None"]
"""Function (node, uses) → the node that replaces it, or None if the rule does not apply.

A rule that moves a computation into an operand must check that the operand has no other use.
Otherwise, the operand would be computed twice.
"""


def rewrite(graph: Graph, *rules: Rule) -> Graph:
    """The graph after rules are applied until none applies. Equal computations become one node."""
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
                new = next(
                    (replaced for rule in rules if (replaced := rule(node, uses)) is not None), None
                )
                if new is None:
                    break
                node, changed = new, True
            return known.setdefault(identity(node), node)

        graph = _rebuilt(graph, step, counts, shared)
        if not changed:
            return graph


LIMIT = 100
"""Largest number of rules applied to one node in a row, in case two rules undo each other."""


def _rebuilt(
    graph: Graph, step: Callable[[Node], Node], counts: dict[Node, int], shared: dict[Node, int]
) -> Graph:
    """Rebuild a graph, and record how often the graph used the node that each new one replaces."""
    order = iter(tuple(graph.nodes()))

    def noting(node: Node) -> Node:
        old = next(order)
        replacement = step(node)
        shared[replacement] = shared.get(replacement, 0) + counts[old]
        return replacement

    return graph.rebuild(noting)


def identity(node: Node) -> Hashable:
    """A key that is equal for two nodes that compute the same result."""
    if isinstance(node, Input):
        return node
    if isinstance(node, Constant):
        return (Constant, id(node.value), node.dtype)
    return (type(node), *(_key(getattr(node, name)) for name in field_names(type(node))))


def _key(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    # 1, 1.0 and True compare equal but are different options
    if isinstance(value, Node):
        return value
    return type(value), value if isinstance(value, Hashable) else id(value)
