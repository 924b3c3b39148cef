"""From a frozen graph to a graph of the IR, node by node."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

import numpy as np

from kerasport.errors import (
    Problem,
    ReadError,
    Refusal,
    ShapeError,
    TooLargeError,
    UnsupportedModel,
    quoted,
)
from kerasport.frontends.graphdef.freeze import ordered
from kerasport.frontends.graphdef.frozen import (
    FrozenFunction,
    FrozenGraph,
    GraphNode,
    NamedResult,
    Result,
    Table,
    UnknownRank,
)
from kerasport.frontends.graphdef.ops import ROWS, Call, Lowered, Value, reason_of
from kerasport.frontends.graphdef.ops.sizes import known_sizes
from kerasport.ir.dtypes import DType, dtype_of
from kerasport.ir.graph import Graph, name_new
from kerasport.ir.ops.movement import Dim
from kerasport.ir.tensor import (
    BATCH,
    Constant,
    Extent,
    Input,
    Node,
    Tensor,
    TensorType,
    constant,
)
from kerasport.weights import Array, ComputedWeight

FOLDED = 256
"""Largest number of elements of constants that are computed from others while lowering."""


MALFORMED = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
"""What a row raises for a node whose attributes or operands are not those of its op."""


class _Failed:
    """The results of a node that has a problem."""


FAILED = _Failed()


def lower(graph: FrozenGraph) -> Graph:
    """The computation of a frozen graph.

    Raises:
        UnsupportedModel: the IR cannot express some of its nodes.
        ReadError: a node is malformed.
    """
    lowering = Lowering(graph)
    inputs = {
        argument.result.node: lowering.input(argument, label, alone=len(graph.inputs) == 1)
        for argument, label in zip(graph.inputs, labels(graph.inputs), strict=True)
    }
    if lowering.problems:
        raise UnsupportedModel(lowering.problems)
    results = [named.result for named in graph.outputs]
    outputs = lowering.run(results, inputs)
    for named, output in zip(graph.outputs, outputs, strict=True):
        if output is not FAILED and not isinstance(output, Tensor):
            lowering.refuse(named.result.node, Refusal("", "this output is not a tensor"))
    if lowering.problems:
        raise UnsupportedModel(tuple(dict.fromkeys(lowering.problems)))
    return with_shared_sizes(Graph(tuple(inputs.values()), tuple(outputs), lowering.names))


def with_shared_sizes(graph: Graph) -> Graph:
    """The graph in which sizes with the name of a size of an input are taken from that input.

    TensorFlow graphs ask each tensor for its own batch size.
    """
    sizes: dict[Extent, Dim] = {}
    for argument in graph.inputs:
        for axis, extent in enumerate(argument.extents):
            if isinstance(extent, str):
                sizes.setdefault(extent, Dim(argument, axis))

    def shared(node: Node) -> Node:
        return sizes.get(node.x.extents[node.axis], node) if isinstance(node, Dim) else node

    return graph.rebuild(shared)


def labels(inputs: Sequence[NamedResult]) -> list[str]:
    """A different label for each input, of letters, digits and "_" only."""
    plain = [re.sub(r"\W", "_", port.name) for port in inputs]
    return [
        label if plain.count(label) == 1 else f"{label}_input{position}"
        for position, label in enumerate(plain)
    ]


def extents(label: str, shape: Sequence[int | None], *, alone: bool) -> tuple[Extent, ...]:
    """The extents of an input. Sizes of different inputs may differ, so they have own names."""
    found: list[Extent] = []
    for axis, size in enumerate(shape):
        if size is not None:
            found.append(size)
        else:
            found.append(BATCH if alone and not axis else f"size_{label}_{axis}")
    return tuple(found)


@dataclass(eq=False)
class Lowering:
    """The conversion of one frozen graph.

    Attributes:
        graph: the frozen graph.
        names: node of the IR → name of the TensorFlow node that it is made from.
        problems: nodes that the IR cannot express.
    """

    graph: FrozenGraph
    names: dict[Node, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _constants: dict[GraphNode, Value] = field(default_factory=dict)

    def input(self, argument: NamedResult, label: str, *, alone: bool) -> Input:
        """The input of the IR for an input of the graph, whose open sizes have the label."""
        kind, shape = argument.dtype, argument.shape
        if isinstance(shape, UnknownRank):
            self.refuse(
                argument.result.node,
                Refusal("shape", "its number of axes is not known", "export it with a shape"),
            )
            shape = ()
        if kind not in get_args(DType):
            self.refuse(
                argument.result.node, Refusal("dtype", f"inputs of {kind} are not supported")
            )
            kind = "float32"
        return Input(argument.name, TensorType(kind, extents(label, shape, alone=alone)))  # type: ignore[arg-type]

    def run(self, results: Sequence[Result], known: Mapping[GraphNode, Value]) -> tuple[Value, ...]:
        """The values of results.

        Args:
            results: the results.
            known: the values of arguments and placeholders.
        """
        values: dict[GraphNode, Lowered] = dict(known)
        for node in ordered(results, known):
            values[node] = self._node(node, values)
        return tuple(_selected(values, result) for result in results)

    def _node(self, node: GraphNode, values: Mapping[GraphNode, Lowered]) -> Lowered:
        if node.op == "Const":
            return self._constant(node)
        operands = tuple(_selected(values, result) for result in node.inputs)
        if any(operand is FAILED for operand in operands):
            # an op without a row is a separate problem
            if node.op not in ROWS:
                self.refuse(node, Refusal("", *reason_of(node.op)))
            return FAILED
        if node.op not in ROWS:
            return self.refuse(node, Refusal("", *reason_of(node.op)))
        call = Call(node, operands, self, partial(_selected, values))
        try:
            lowered = ROWS[node.op](call)
        except Refusal as refusal:
            return self.refuse(node, refusal)
        except ShapeError as error:
            return self.refuse(node, Refusal("", str(error)))
        except TooLargeError as error:
            return self.refuse(node, Refusal("", error.reason, error.remedy))
        except MALFORMED as error:
            raise ReadError(f"the node {quoted(node.name)} ({node.op}): {error}") from error
        for name in call.unread():
            self.refuse(node, Refusal(name, "this attribute is not supported"))
        return self._named(node, lowered)

    def _named(self, node: GraphNode, lowered: Lowered) -> Lowered:
        """The results with the name of the node, as constants where they are known."""
        results = lowered if isinstance(lowered, tuple) else (lowered,)
        final = []
        for result in results:
            value = simplified(result) if isinstance(result, Tensor) else result
            if isinstance(value, Tensor):
                name_new(value, node.name, self.names)
            final.append(value)
        return tuple(final) if isinstance(lowered, tuple) else final[0]

    def _constant(self, node: GraphNode) -> Value:
        if node not in self._constants:
            try:
                self._constants[node] = tensor_of(node)
            except ShapeError as error:
                self._constants[node] = self.refuse(node, Refusal("dtype", str(error)))
        return self._constants[node]

    def refuse(self, node: GraphNode, refusal: Refusal) -> _Failed:
        """Note that a node cannot be expressed."""
        value = node.attributes.get(refusal.option) if refusal.option else None
        self.problems.append(
            Problem(node.name, node.op, refusal.reason, refusal.option, value, refusal.remedy)
        )
        return FAILED

    # ------------------------------------------------------------------------ what rows may ask for

    def function(self, name: str) -> FrozenFunction:
        """A function of control flow.

        Raises:
            ReadError: the graph has no such function.
        """
        if name not in self.graph.functions:
            raise ReadError(f"the graph has no function {quoted(name)}")
        return self.graph.functions[name]

    def table(self, node: str) -> Table:
        """The content of the hash table that a node makes.

        Raises:
            Refusal: it is not known.
        """
        if node not in self.graph.tables:
            raise Refusal("", "the initial content of this table is not in the file")
        return self.graph.tables[node]

    def results(self, function: FrozenFunction, arguments: Sequence[Value]) -> tuple[Value, ...]:
        """The results of a function for these arguments.

        Raises:
            Refusal: a node of the function cannot be expressed; the problems contain the node.
        """
        known = dict(zip(function.arguments, arguments, strict=True))
        results = self.run(function.results, known)
        if any(result is FAILED for result in results):
            raise Refusal("", "its function contains ops that are not supported")
        return results


def _selected(values: Mapping[GraphNode, Lowered], result: Result) -> Value:
    """One result of a node.

    Raises:
        ReadError: the node has no such result.
    """
    found = values[result.node]
    if found is FAILED:
        return FAILED
    several = found if isinstance(found, tuple) else (found,)
    if not 0 <= result.index < len(several):
        raise ReadError(
            f"result {result.index} of the node {quoted(result.node.name)} ({result.node.op}) is "
            "read, which does not exist or is not computed"
        )
    return several[result.index]


def tensor_of(node: GraphNode) -> Constant:
    """The constant of a `Const` node.

    Raises:
        ShapeError: the IR does not have its element type.
        ReadError: the node has no value.
    """
    value = node.attributes.get("value")
    if isinstance(value, np.ndarray):
        array: Array = _texts(value) if value.dtype == object else value
        return Constant(ComputedWeight(array.dtype, array.shape, lambda: array))
    if value is None or not hasattr(value, "pieces"):
        raise ReadError(f"the constant {quoted(node.name)} has no value")
    dtype_of(value.dtype)  # type: ignore[union-attr]
    return Constant(value)  # type: ignore[arg-type]


def _texts(array: Array) -> Array:
    """Strings as text."""
    texts = np.empty(array.shape, object)
    for place in np.ndindex(*array.shape):
        value = array[place]
        texts[place] = (
            value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
        )
    return texts


def simplified(x: Tensor) -> Tensor:
    """`x` as a constant if it depends on small constants only, or on sizes that are known."""
    x = known_sizes(x)
    if isinstance(x, Constant | Input) or not x.operands or None in x.shape:
        return x
    if _count(x) > FOLDED or not all(_is_small(operand) for operand in x.operands):
        return x
    with np.errstate(all="ignore"):
        return constant(x.compute(*(operand.compute() for operand in x.operands)), x.dtype)


def _count(x: Tensor) -> int:
    return int(np.prod([size or 0 for size in x.shape], dtype=np.int64))


def _is_small(operand: Node) -> bool:
    return isinstance(operand, Constant) and operand.value.size <= FOLDED
