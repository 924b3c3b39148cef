"""Graphs and functions before their calls are inlined. Nodes are decoded when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kerasport.errors import ReadError, quoted
from kerasport.frontends.graphdef.attributes import File
from kerasport.frontends.graphdef.frozen import Attribute, ElementType
from kerasport.frontends.graphdef.messages import FunctionDef, FunctionHead, GraphDef, NodeDef
from kerasport.frontends.graphdef.op_defs import OpDefs
from kerasport.frontends.graphdef.places import located
from kerasport.frontends.graphdef.tensors import element_type
from kerasport.frontends.graphdef.wire import Span, peek


@dataclass(frozen=True, eq=False)
class StoredNode:
    """A node as a file stores it.

    Attributes:
        name: its name.
        op: name of its op or function.
        inputs: what it reads: "node", "node:index", or "node:result:index" in a function.
        controls: names of the nodes that must run before it.
        attributes: the stored attributes.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    controls: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Body:
    """A graph or function.

    Attributes:
        name: name of the function, empty for a graph.
        stored: nodes by name, in the order of the file, in the form of the file.
        parse: decodes a node.
        arguments: name and element type of each argument of the function.
        results: name of each result of the function, and the tensor that it is.
        controls: nodes of the function that run although no result depends on them.
        peek: finds the op of a node without decoding the rest.
    """

    name: str
    stored: Mapping[str, Any]
    parse: Callable[[Any], StoredNode]
    arguments: tuple[tuple[str, ElementType], ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    controls: tuple[str, ...] = ()
    peek: Callable[[Any], str] | None = None
    _nodes: dict[str, StoredNode] = field(default_factory=dict, repr=False)

    def op(self, name: str) -> str:
        """The op of the node of a name."""
        return self.peek(self.stored[name]) if self.peek is not None else self.node(name).op

    def node(self, name: str) -> StoredNode:
        """The node of a name.

        Raises:
            ReadError: there is no such node, or it is malformed.
        """
        found = self._nodes.get(name)
        if found is None:
            if name not in self.stored:
                raise ReadError(f"the graph has no node {quoted(name)}")
            try:
                found = self._nodes[name] = self.parse(self.stored[name])
            except Exception:
                with located(f"node {quoted(name)}"):
                    raise
        return found


@dataclass(frozen=True, eq=False)
class Library:
    """A graph with its functions.

    Attributes:
        graph: the graph.
        op_defs: the ops that it may use.
    """

    graph: Body
    op_defs: OpDefs
    _stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _parse: Callable[[Any], Body] | None = None
    _bodies: dict[str, Body] = field(default_factory=dict, repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self._stored or name in self._bodies

    def extended(self, graph: Body, functions: Mapping[str, Body]) -> Library:
        """The library with another graph and further functions."""
        return replace(self, graph=graph, _bodies={**self._bodies, **functions})

    def function(self, name: str) -> Body:
        """The function of a name.

        Raises:
            ReadError: there is no such function, or it is malformed.
        """
        found = self._bodies.get(name)
        if found is None:
            if name not in self._stored or self._parse is None:
                raise ReadError(f"the graph has no function {quoted(name)}")
            with located(f"function {quoted(name)}"):
                found = self._bodies[name] = self._parse(self._stored[name])
        return found


def library(file: File, where: Span | None, op_defs: OpDefs) -> Library:
    """The library of a `GraphDef`.

    Raises:
        ReadError: the message is malformed.
    """
    graph: GraphDef = file.decode(GraphDef, where)
    functions: list[Span] = graph.library.function if graph.library else []
    stored = by_name("function", functions, lambda span: _function_name(file, span))
    return Library(_body(file, "", graph.node), op_defs, stored, lambda span: _function(file, span))


def _function_name(file: File, where: Span) -> str:
    head: FunctionHead = file.decode(FunctionHead, where)
    return peek(file.buffer, head.signature, 1) if head.signature else ""


def _body(file: File, name: str, nodes: Sequence[Span]) -> Body:
    stored = by_name("node", nodes, lambda span: peek(file.buffer, span, 1))
    return Body(
        name,
        stored,
        lambda span: _node(file, span),
        peek=lambda span: peek(file.buffer, span, 2),
    )


def by_name(kind: str, stored: Iterable[Any], name_of: Callable[[Any], str]) -> Mapping[str, Any]:
    """Nodes or functions by their names.

    Raises:
        ReadError: one has no name, or two have the same.
    """
    found: dict[str, Any] = {}
    for item in stored:
        name = name_of(item)
        if not name or name in found:
            raise ReadError(
                f"the graph has a {kind} with the empty or repeated name {quoted(name)}"
            )
        found[name] = item
    return found


def _node(file: File, where: Span) -> StoredNode:
    node: NodeDef = file.decode(NodeDef, where)
    inputs = tuple(name for name in node.input if not name.startswith("^"))
    controls = tuple(name[1:] for name in node.input if name.startswith("^"))
    return StoredNode(node.name, node.op, inputs, controls, file.attributes(node.attr))


def _function(file: File, where: Span) -> Body:
    function: FunctionDef = file.decode(FunctionDef, where)
    signature = function.signature
    if signature is None:
        raise ReadError("the function has no signature")
    for arg in (*signature.input_arg, *signature.output_arg):
        if arg.number_attr or arg.type_list_attr:
            raise ReadError("functions with a variable number of tensors are not supported")
    body = _body(file, signature.name, function.node_def)
    missing = [arg.name for arg in signature.output_arg if arg.name not in function.ret]
    if missing:
        raise ReadError(f"the function does not compute its result {quoted(missing[0])}")
    return Body(
        signature.name,
        body.stored,
        body.parse,
        tuple((arg.name, element_type(arg.type)) for arg in signature.input_arg),
        tuple((arg.name, function.ret[arg.name]) for arg in signature.output_arg),
        tuple(function.control_ret.values()),
    )
