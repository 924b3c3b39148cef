"""Narrowing: the conversion of a graph to the few element types that a target supports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kerasport.errors import Problem
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS, NUMPY, DType
from kerasport.ir.graph import Graph, with_operands
from kerasport.ir.tensor import Constant, Input, Node, Tensor, TensorType, constant

REMEDY = "give the model float32 or int32 inputs"

WRAPPING = (
    ops.Add, ops.Sub, ops.Mul, ops.Neg, ops.Square, ops.SquaredDifference, ops.Pow, ops.Abs,
    ops.Sum, ops.Prod, ops.Cumsum, ops.Cumprod, ops.MatMul, ops.LeftShift,
)  # fmt: skip
"""Operations whose results wrap around if they do not fit into an integer type."""

SHORT: tuple[DType, ...] = ("int8", "int16", "uint8", "uint16", "uint32", "uint64")
"""Integer types in which results wrap around at other limits than in int32."""


@dataclass(frozen=True)
class Narrowed:
    """A graph in the element types of a target.

    Attributes:
        graph: the graph. The target supports all of its element types.
        problems: operations whose results would differ.
        notes: what a user must know about inputs whose element type changed.
    """

    graph: Graph
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def narrowed(graph: Graph, into: Mapping[DType, DType], limit: str) -> Narrowed:
    """The graph with the element types of a target.

    Args:
        graph: the graph to narrow.
        into: element type that the target does not support → the one that replaces it.
        limit: the limit of the target for messages, such as "TF.js computes in int32".
    """
    if not any(dtype in into for dtype in _dtypes(graph)):
        return Narrowed(graph)
    problems = tuple(dict.fromkeys(_problems(graph, limit)))
    inputs = {port: Input(port.name, _narrow(port.type, into)) for port in graph.inputs}
    notes = tuple(_notes(graph, into, limit))
    return Narrowed(_retyped(graph, inputs, into), problems, notes)


def _dtypes(graph: Graph) -> Iterator[DType]:
    """The element types of all tensors, including those in bodies."""
    for node in graph.nodes():
        if isinstance(node, Tensor):
            yield node.dtype
        for body in bodies(node):
            yield from _dtypes(body)
    yield from (port.dtype for port in graph.inputs)


def bodies(node: Node) -> tuple[Graph, ...]:
    """The graphs inside a control flow node."""
    return tuple(value for value in vars(node).values() if isinstance(value, Graph))


def _narrow(kind: TensorType, into: Mapping[DType, DType]) -> TensorType:
    return TensorType(into.get(kind.dtype, kind.dtype), kind.extents)


def _retyped(graph: Graph, inputs: Mapping[Input, Input], into: Mapping[DType, DType]) -> Graph:
    """The graph with these inputs, in which constants and results have the new element types."""
    # dict(inputs) would have another type
    new: dict[Node, Node] = {old: new_input for old, new_input in inputs.items()}  # noqa: C416
    for node in graph.nodes():
        if node not in new:
            new[node] = _retyped_node(with_operands(node, new), into)
    names = {new[node]: name for node, name in graph.names.items() if node in new}
    outputs = tuple(new[output] for output in graph.outputs)
    return Graph(tuple(inputs[port] for port in graph.inputs), outputs, names)  # type: ignore[arg-type]


def _retyped_node(node: Node, into: Mapping[DType, DType]) -> Node:
    """A node with the new element types in its options and bodies. Its operands have them."""
    if isinstance(node, Constant):
        return _constant(node, into)
    changes: dict[str, Any] = {}
    for option in ("to", "dtype_"):
        value = getattr(node, option, None)
        if isinstance(value, str) and value in into:
            changes[option] = into[value]  # type: ignore[index]
    for name, value in vars(node).items():
        if isinstance(value, Graph):
            own = {port: Input(port.name, _narrow(port.type, into)) for port in value.inputs}
            changes[name] = _retyped(value, own, into)
    node = replace(node, **changes) if changes else node
    return node.x if isinstance(node, ops.Cast) and node.x.dtype == node.to else node


def _constant(node: Constant, into: Mapping[DType, DType]) -> Constant:
    if node.dtype not in into:
        return node
    wanted = into[node.dtype]
    return constant(node.read(), wanted)


# ------------------------------------------------------------------------------------- what differs


def _problems(graph: Graph, limit: str) -> Iterator[Problem]:
    for node in graph.nodes():
        reason = _difference(node)
        if reason:
            path = graph.names.get(node, "")
            yield Problem(
                path.rpartition("/")[2], type(node).__name__, f"{reason}; {limit}", remedy=REMEDY
            )
        for body in bodies(node):
            yield from _problems(Graph(body.inputs, body.outputs, graph.names), limit)


def _difference(node: Node) -> str:
    """Why the result of a node would differ in int32, or an empty string if it would not."""
    if not isinstance(node, Tensor):
        return ""
    if isinstance(node, Constant):
        return _outside(node)
    if node.dtype in SHORT and _wraps(node):
        return (
            f"the model computes in {node.dtype}, the dtype of its input, where results wrap around"
        )
    return ""


def _wraps(node: Tensor) -> bool:
    """Whether the result of a node can wrap around in an element type in SHORT."""
    if isinstance(node, ops.Cast):
        return node.x.dtype in INTEGERS and not np.can_cast(NUMPY[node.x.dtype], NUMPY[node.dtype])
    if isinstance(node, ops.Abs):
        return node.dtype.startswith("int")
    # Keras computes sums of uint8 and uint16 in uint32, where they rarely wrap around
    if isinstance(node, ops.Sum) and node.dtype == "uint32":
        return False
    return isinstance(node, WRAPPING)


def _outside(node: Constant) -> str:
    """Why a constant does not fit into int32, or an empty string if it does."""
    if node.dtype not in ("uint32", "uint64", "int64") or not node.value.size:
        return ""
    values, limits = node.read(), np.iinfo(np.int32)
    if limits.min <= int(values.min()) and int(values.max()) <= limits.max:
        return ""
    return f"it uses a constant of {node.dtype} that int32 cannot represent"


def _notes(graph: Graph, into: Mapping[DType, DType], limit: str) -> Iterator[str]:
    for port in graph.inputs:
        if port.dtype in ("int64", "uint32", "uint64") and port.dtype in into:
            yield (
                f"input {port.name!r} has the dtype {port.dtype} in Keras and "
                f"{into[port.dtype]} in the converted model, since {limit}; values beyond its "
                "range are not supported"
            )
