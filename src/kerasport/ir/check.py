"""Checks that a graph is well formed. Tests run them after every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kerasport.errors import ShapeError
from kerasport.ir.graph import Graph, show
from kerasport.ir.ops import Branch, Loop, Scan
from kerasport.ir.ops.loop import same_shape
from kerasport.ir.tensor import (
    Constant,
    Input,
    Item,
    Node,
    Several,
    Tensor,
    TensorType,
    field_names,
)


class InvalidGraph(Exception):
    """A graph is not well formed. The message lists the problems and shows the graph."""


def check(graph: Graph) -> None:
    """Check that a graph and its bodies are well formed.

    Raises:
        InvalidGraph: a node has another type than its operands imply, refers to an input that the
            graph does not have, or to a result that its operand does not have; a name belongs to
            no node; or a body does not fit its node.
    """
    if problems := list(_problems(graph)):
        raise InvalidGraph("\n".join([*problems, show(graph)]))


def check_same_outputs(before: Graph, after: Graph) -> None:
    """Check that a graph can replace another one.

    Raises:
        InvalidGraph: inputs or outputs differ.
    """
    problems = []
    if before.inputs != after.inputs:
        problems.append("the inputs changed")
    if len(before.outputs) != len(after.outputs):
        problems.append(f"{len(before.outputs)} outputs became {len(after.outputs)}")
    for index, (old, new) in enumerate(zip(before.outputs, after.outputs, strict=False)):
        if not _fits(old.type, new.type):
            problems.append(f"output {index} of type {old.type} became {new.type}")
    if problems:
        raise InvalidGraph("\n".join([*problems, show(before), show(after)]))


def _problems(graph: Graph) -> Iterator[str]:
    nodes = list(graph.nodes())
    reached = set(nodes)
    if len(set(graph.inputs)) < len(graph.inputs):
        yield "an input is listed twice"
    for output in graph.outputs:
        if not isinstance(output, Tensor):
            yield f"an output is a {type(output).__name__}, which is no tensor"
    for node in graph.names:
        if node not in reached and node not in graph.inputs:
            name = graph.names[node]
            yield f"the name {name!r} belongs to a {_described(node)} that is not in the graph"
    for node in nodes:
        for problem in _problems_of(node, graph):
            yield f"{_described(node)}: {problem}"


def _problems_of(node: Node, graph: Graph) -> Iterator[str]:
    if isinstance(node, Input):
        if node not in graph.inputs:
            yield "the graph does not have this input"
        return
    if node.operands != tuple(_operands(node)):
        yield "its operands are not those in its fields"
    yield from _problems_of_type(node)
    if isinstance(node, Constant) and node.shape != node.value.shape:
        yield f"its shape is {node.shape}, but its value has {node.value.shape}"
    yield from _problems_of_control(node)
    for body in _bodies(node):
        for problem in _problems(body):
            yield f"in its body: {problem}"


def _problems_of_type(node: Node) -> Iterator[str]:
    """The ways in which the type of a node differs from what its operands and bodies imply."""
    try:
        if isinstance(node, Several):
            node.infer()
        elif isinstance(node, Item) and not 0 <= node.index < len(node.source.infer()):
            yield f"{_described(node.source)} has no result {node.index}"
        elif isinstance(node, Tensor) and (implied := node.infer()) != node.type:
            yield f"its type is {node.type}, but its operands imply {implied}"
    except ShapeError as error:
        yield str(error)


def _problems_of_control(node: Node) -> Iterator[str]:
    """The ways in which the bodies of a control flow node do not fit it."""
    if isinstance(node, Scan):
        yield from _problems_of_scan(node)
    elif isinstance(node, Branch):
        for body in (node.then_body, node.else_body):
            yield from _problems_of_inputs(body, node.captured)
    elif isinstance(node, Loop):
        for body in filter(None, (node.condition, node.body)):
            yield from _problems_of_inputs(body, (*node.states, *node.captured))


def _problems_of_scan(node: Scan) -> Iterator[str]:
    """The ways in which the body of a loop does not fit it. `Scan.infer` compares the states."""
    steps = [
        TensorType(sequence.dtype, (*sequence.extents[:axis], *sequence.extents[axis + 1 :]))
        for sequence, axis in zip(node.sequences, node.axes, strict=True)
    ]
    operands = [*(state.type for state in node.states), *steps]
    operands += [tensor.type for tensor in node.captured]
    yield from _problems_of_types(node.body, operands)


def _problems_of_inputs(body: Graph, operands: Sequence[Tensor]) -> Iterator[str]:
    return _problems_of_types(body, [operand.type for operand in operands])


def _problems_of_types(body: Graph, operands: Sequence[TensorType]) -> Iterator[str]:
    """The ways in which the inputs of a body do not fit the types of its operands."""
    inputs = [tensor.type for tensor in body.inputs]
    if len(inputs) != len(operands):
        yield f"its body has {len(inputs)} inputs instead of {len(operands)}"
    for index, (operand, expected) in enumerate(zip(operands, inputs, strict=False)):
        if not _fits(operand, expected):
            yield f"input {index} of its body has the type {expected}, but gets {operand}"


def _fits(one: TensorType, other: TensorType) -> bool:
    return one.dtype == other.dtype and same_shape(one.shape, other.shape)


def _operands(node: Node) -> Iterator[Node]:
    """The nodes in the fields that contain operands, in order."""
    return _nodes(tuple(node._taken()))  # noqa: SLF001  (says which fields contain operands)


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)


def _bodies(node: Node) -> Iterator[Graph]:
    for name in field_names(type(node)):
        value = getattr(node, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Graph):
                yield item


def _described(node: Node) -> str:
    if isinstance(node, Input):
        return f"Input {node.name!r}"
    if isinstance(node, Several):
        return type(node).__name__
    return f"{type(node).__name__} : {node.type}" if isinstance(node, Tensor) else repr(node)
