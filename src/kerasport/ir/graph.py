"""Graphs of nodes. They are traversed without recursion, so that their depth is not limited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kerasport.ir.tensor import Constant, Input, Item, Node, Tensor, field_names
from kerasport.weights import Array


@dataclass(frozen=True, eq=False)
class Graph:
    """A computation from inputs to outputs.

    Attributes:
        inputs: the inputs, in order.
        outputs: the outputs, in order.
        names: node → path of the Keras layer from which the node is made.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Tensor, ...]
    names: Mapping[Node, str] = field(default_factory=dict)

    def nodes(self) -> Iterator[Node]:
        """All nodes that the outputs depend on, each after its operands."""
        return walk(self.outputs)

    def uses(self) -> dict[Node, int]:
        """The number of times that each node is used as an operand or an output."""
        counts: dict[Node, int] = {}
        for node in self.nodes():
            counts.setdefault(node, 0)
            for operand in node.operands:
                counts[operand] = counts.get(operand, 0) + 1
        for output in self.outputs:
            counts[output] += 1
        return counts

    def run(self, *feeds: Array) -> tuple[Array, ...]:
        """The outputs for these inputs, computed in numpy. This defines the meaning of a graph."""
        values: dict[Node, Any] = dict(zip(self.inputs, feeds, strict=True))
        left = self.uses()
        for node in self.nodes():
            if node not in values:
                values[node] = node.compute(*(values[operand] for operand in node.operands))
            for operand in node.operands:
                left[operand] -= 1
                if not left[operand]:
                    del values[operand]
        return tuple(values[output] for output in self.outputs)

    def rebuild(self, step: Callable[[Node], Node]) -> Graph:
        """The graph with each node replaced by what `step` returns for it.

        `step` gets each node after its operands are replaced. A new node, and the new nodes that it
        depends on, get the name of the node that it replaces.
        """
        new: dict[Node, Node] = {}
        names = dict(self.names)
        for node in self.nodes():
            replacement = step(with_operands(node, new))
            new[node] = replacement
            if node in self.names:
                name_new(replacement, self.names[node], names)
        outputs = tuple(new[output] for output in self.outputs)
        assert all(isinstance(output, Tensor) for output in outputs)
        return Graph(self.inputs, outputs, names).with_own_names()  # type: ignore[arg-type]

    def applied(self, operands: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs for these inputs, as nodes. Nodes that depend on no input stay the same."""
        new: dict[Node, Node] = dict(zip(self.inputs, operands, strict=True))
        for node in self.nodes():
            if node not in new:
                new[node] = with_operands(node, new)
        outputs = tuple(new[output] for output in self.outputs)
        assert all(isinstance(output, Tensor) for output in outputs)
        return outputs  # type: ignore[return-value]

    def with_own_names(self) -> Graph:
        """The graph without the names of nodes that its outputs do not depend on."""
        own = {node: self.names[node] for node in self.nodes() if node in self.names}
        return Graph(self.inputs, self.outputs, own)


def walk(ends: Iterable[Node], known: Mapping[Node, Any] | None = None) -> Iterator[Node]:
    """All nodes that `ends` depend on, each after its operands.

    The walk skips nodes in `known`, and does not visit their operands.
    """
    known, seen = known or {}, set[Node]()
    for end in ends:
        stack: list[tuple[Node, bool]] = [(end, False)]
        while stack:
            node, done = stack.pop()
            if done:
                yield node
            elif node not in seen and node not in known:
                seen.add(node)
                stack.append((node, True))
                stack += [
                    (operand, False) for operand in reversed(node.operands) if operand not in seen
                ]


def name_new(end: Node, name: str, names: dict[Node, str]) -> None:
    """Give a name to a node, and to the nodes that it depends on and that have no name."""
    for node in walk([end], names):
        names[node] = name


def with_operands(node: Node, new: Mapping[Node, Node]) -> Node:
    """The node with its operands replaced, or the same node if no operand is in `new`."""
    changes = {}
    for name in field_names(type(node)):
        value = getattr(node, name)
        moved = _moved(value, new)
        if moved is not value:
            changes[name] = moved
    return replace(node, **changes) if changes else node


def _moved(value: Any, new: Mapping[Node, Node]) -> Any:
    if isinstance(value, Node):
        return new.get(value, value)
    if isinstance(value, tuple):
        moved = tuple(_moved(item, new) for item in value)
        return moved if any(a is not b for a, b in zip(moved, value, strict=True)) else value
    return value


def show(graph: Graph) -> str:
    """The graph as text with one node per line: `%2 = MatMul(%0, %1) : float32[?, 2]`."""
    numbers: dict[Node, str] = {}
    lines: list[str] = []
    for node in graph.nodes():
        if isinstance(node, Item):
            numbers[node] = f"{numbers[node.source]}.{node.index}"
            continue
        numbers[node] = f"%{len(lines)}"
        operands = [numbers[operand] for operand in node.operands]
        options = [
            f"{name}={_shown(getattr(node, name))}"
            for name in field_names(type(node))
            if _is_option(getattr(node, name))
        ]
        # the type describes the other options
        if isinstance(node, Input | Constant):
            options = [repr(node.name)] if isinstance(node, Input) else []
        shown = f" : {node.type}" if isinstance(node, Tensor) else ""
        lines.append(
            f"{numbers[node]} = {type(node).__name__}({', '.join([*operands, *options])}){shown}"
        )
    return "\n".join([*lines, f"return {', '.join(numbers[output] for output in graph.outputs)}"])


def _is_option(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_option(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool | type)


def _shown(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def constants(graph: Graph) -> Sequence[Constant]:
    """The constants of a graph."""
    return [node for node in graph.nodes() if isinstance(node, Constant)]
