"""Inlines the calls of functions: a graph with functions becomes nodes that compute tensors.

Calls are inlined one node after another on an explicit stack, so that the depth of calls in a file
does not reach the limit of Python's recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.graphdef.body import Body, Library, StoredNode
from kerasport.frontends.graphdef.frozen import Attribute, FunctionName, GraphNode, Result
from kerasport.frontends.graphdef.places import located

MAX_NODES = 100_000
"""Nodes of a graph after all calls are inlined. The largest models have a third of it."""

MAX_EDGES = 10 * MAX_NODES
"""Inputs of all nodes, and results of all calls."""

MAX_DEPTH = 1000
"""Calls inside each other."""

MAX_PREFIX = 1000
"""Characters of the names of calls in front of the name of a node."""

CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
CONTROL_FLOW = frozenset(("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"))
ASSIGNMENTS = re.compile(
    r"(Assign|Scatter(?!Nd$)|ResourceScatter|LookupTable(Import|Insert|Remove)|InitializeTable|Stack(Push|"
    r"Pop)|CountUpTo|RestoreV?2?$|Save)|.*(StridedSliceAssign|CountUpTo|Apply\w+)$"
)
CHECKS = frozenset(("Assert", "Abort", "CheckNumerics", "CheckNumericsV2", "Print", "PrintV2"))

_GENERATED = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")

Results: TypeAlias = GraphNode | tuple[Result, ...]
"""The results of a stored node: those of one node, or those of an inlined function."""


@dataclass(frozen=True, eq=False)
class FlatFunction:
    """A graph or function without calls.

    Attributes:
        arguments: nodes that are the arguments of the function.
        results: results of the function.
        effects: nodes that assign values or check them, or run functions that may do so, in the
            order in which they were found. They run although no result may depend on them.
    """

    arguments: tuple[GraphNode, ...]
    results: tuple[Result, ...]
    effects: tuple[GraphNode, ...]


@dataclass(eq=False)
class _Frame:
    """A body that is being inlined.

    Attributes:
        body: graph or function.
        order: its nodes, each after those that it reads.
        arguments: value of each argument.
        prefix: what the names of its nodes start with.
        values: results of the nodes that are done.
        caller: the frame and the node that receive the results.
    """

    body: Body
    order: Sequence[StoredNode]
    arguments: Mapping[str, Result]
    prefix: str = ""
    values: dict[str, Results] = field(default_factory=dict)
    caller: tuple[_Frame, StoredNode] | None = None
    position: int = 0


@dataclass(eq=False)
class Flattener:
    """Inlines the calls of a graph and of its functions."""

    library: Library
    fed: Mapping[str, Result] = field(default_factory=dict)
    _top: _Frame = field(init=False)
    _effects: list[GraphNode] = field(default_factory=list)
    # name → how many nodes have it, before they get numbers
    _names: dict[str, int] = field(default_factory=dict)
    _functions: dict[str, FlatFunction] = field(default_factory=dict)
    _orders: dict[str, Sequence[StoredNode]] = field(default_factory=dict)
    _attributes: dict[StoredNode, Mapping[str, Attribute]] = field(default_factory=dict)
    _steps: int = 0
    _edges: int = 0

    def __post_init__(self) -> None:
        self._top = _Frame(self.library.graph, (), {})

    def graph(self, tensors: Iterable[str], controls: Iterable[str] = ()) -> FlatFunction:
        """What computes tensors of the graph.

        Args:
            tensors: names of tensors, "node" or "node:index".
            controls: names of nodes that run as well.

        Raises:
            ReadError: the graph is malformed.
            HostileFileError: it is cyclic, or far larger than any model.
        """
        wanted = tuple(tensors)
        self._effects = []
        self._top.order = self._order(self.library.graph, (*wanted, *controls), self._top.values)
        self._top.position = 0
        self._run(self._top)
        results = tuple(self._result(self._top, name) for name in wanted)
        return FlatFunction((), results, tuple(self._effects))

    def node(self, name: str) -> GraphNode | None:
        """The node of the graph that has become of a stored node, None if it is a call."""
        if name in self.fed:
            return None
        self.graph((), (name,))
        found = self._top.values[name]
        return found if isinstance(found, GraphNode) else None

    def function(self, name: str) -> FlatFunction:
        """A function that a node of control flow runs.

        Raises:
            ReadError: the function is malformed.
            HostileFileError: it calls itself, or is far larger than any model.
        """
        if name not in self._functions:
            body = self.library.function(name)
            with located(f"function {quoted(name)}"):
                self._functions[name] = self._flat(body)
        return self._functions[name]

    def _flat(self, body: Body) -> FlatFunction:
        names, self._names = self._names, {}
        effects, self._effects = self._effects, []
        arguments = tuple(
            GraphNode(self._unique(name), "_Arg", (), {"T": dtype})
            for name, dtype in body.arguments
        )
        values = {
            name: Result(node) for (name, _), node in zip(body.arguments, arguments, strict=True)
        }
        frame = _Frame(body, self._order_of(body), values)
        self._run(frame)
        results = tuple(self._result(frame, reference) for _, reference in body.results)
        flat = FlatFunction(arguments, results, tuple(self._effects))
        self._names, self._effects = names, effects
        return flat

    # ------------------------------------------------------------------------------------ the order

    def _order_of(self, body: Body) -> Sequence[StoredNode]:
        if body.name not in self._orders:
            references = [reference for _, reference in body.results]
            self._orders[body.name] = self._order(body, (*references, *body.controls), {})
        return self._orders[body.name]

    def _order(
        self, body: Body, wanted: Iterable[str], done: Mapping[str, Results]
    ) -> Sequence[StoredNode]:
        """The nodes that wanted tensors depend on, each after those that it depends on."""
        arguments = {name for name, _ in body.arguments}
        order: list[StoredNode] = []
        # None while the nodes are visited that a node depends on
        visited: dict[str, StoredNode | None] = {}
        pending = [(node_of(name), False) for name in wanted]
        pending.reverse()
        while pending:
            name, leaving = pending.pop()
            if leaving:
                order.append(body.node(name))
                visited[name] = order[-1]
                continue
            if name in arguments or name in done or (body is self._top.body and name in self.fed):
                continue
            if name in visited:
                if visited[name] is None:
                    raise _cycle(body.node(name))
                continue
            node = body.node(name)
            visited[name] = None
            if len(visited) > MAX_NODES:
                raise _too_large()
            pending.append((name, True))
            pending.extend((inner, False) for inner in self._unvisited(node, visited))
        return order

    @staticmethod
    def _unvisited(node: StoredNode, visited: Mapping[str, StoredNode | None]) -> Iterable[str]:
        """Nodes that a node depends on and that are not done, in reverse order."""
        names = dict.fromkeys((*map(node_of, node.inputs), *map(node_of, node.controls)))
        return reversed([name for name in names if visited.get(name) is None])

    # ------------------------------------------------------------------------------------- inlining

    def _run(self, frame: _Frame) -> None:
        """Inline all nodes of a frame."""
        stack = [frame]
        while stack:
            frame = stack[-1]
            if frame.position == len(frame.order):
                stack.pop()
                self._return(frame)
                continue
            node = frame.order[frame.position]
            frame.position += 1
            self._count(1, len(node.inputs))
            name = self._called(node)
            if name is None:
                try:
                    frame.values[node.name] = self._emit(frame, node)
                except Exception:
                    with located(f"node {quoted(node.name)}"):
                        raise
            else:
                stack.append(self._call(frame, node, name, stack))

    def _count(self, nodes: int, edges: int) -> None:
        """Refuse graphs that calls make far larger than any model."""
        self._steps += nodes
        self._edges += edges
        if self._steps > MAX_NODES or self._edges > MAX_EDGES:
            raise _too_large()

    def _called(self, node: StoredNode) -> str | None:
        """The function that a node calls, None if it is not a call."""
        if node.op in self.library:
            return node.op
        if node.op not in CALLS:
            return None
        function = node.attributes.get("f")
        if not isinstance(function, FunctionName):
            raise ReadError(
                f"the node {quoted(node.name)} does not name the function that it calls"
            )
        return function.name

    def _call(self, frame: _Frame, node: StoredNode, name: str, stack: Sequence[_Frame]) -> _Frame:
        body = self.library.function(name)
        if any(outer.body is body for outer in stack):
            raise HostileFileError(f"the function {quoted(name)} calls itself")
        if len(stack) > MAX_DEPTH:
            raise HostileFileError(f"more than {MAX_DEPTH} function calls are inside each other")
        if len(node.inputs) != len(body.arguments):
            raise ReadError(
                f"the node {quoted(node.name)} passes {len(node.inputs)} tensors to the function "
                f"{quoted(name)}, which has {len(body.arguments)} arguments"
            )
        arguments = {
            argument: self._result(frame, reference)
            for (argument, _), reference in zip(body.arguments, node.inputs, strict=True)
        }
        self._count(0, len(body.results))
        prefix = frame.prefix
        if not _GENERATED.fullmatch(node.name) and len(prefix) < MAX_PREFIX:
            prefix = f"{prefix}{node.name[:MAX_PREFIX]}/"
        return _Frame(body, self._order_of(body), arguments, prefix, caller=(frame, node))

    def _return(self, frame: _Frame) -> None:
        if frame.caller is not None:
            outer, node = frame.caller
            results = [self._result(frame, reference) for _, reference in frame.body.results]
            outer.values[node.name] = tuple(results)

    def _emit(self, frame: _Frame, node: StoredNode) -> GraphNode:
        inputs = tuple(self._result(frame, reference) for reference in node.inputs)
        name = self._unique(frame.prefix + node.name)
        emitted = GraphNode(name, node.op, inputs, self._completed(node))
        if node.op in CHECKS | CONTROL_FLOW or ASSIGNMENTS.match(node.op):
            self._effects.append(emitted)
        return emitted

    def _completed(self, node: StoredNode) -> Mapping[str, Attribute]:
        """The attributes of a node, with those that have their default value."""
        if node not in self._attributes:
            op = self.library.op_defs.get(node.op)
            defaults = op.defaults if op is not None else {}
            self._attributes[node] = {**defaults, **node.attributes}
        return self._attributes[node]

    def _unique(self, name: str) -> str:
        unique = name
        while unique in self._names:
            self._names[name] += 1
            unique = f"{name}_{self._names[name]}"
        self._names[unique] = 0
        return unique

    # ----------------------------------------------------------------------------------- references

    def _result(self, frame: _Frame, reference: str) -> Result:
        """The tensor that a reference in a body means."""
        name, *rest = reference.split(":")
        if frame is self._top and name in self.fed and rest in ([], ["0"]):
            return self.fed[name]
        if name in frame.arguments:
            return frame.arguments[name]
        if name not in frame.values:
            raise ReadError(f"the graph has no node {quoted(name)}")
        results = frame.values[name]
        index = self._index(frame.body.node(name), results, rest)
        if isinstance(results, GraphNode):
            return Result(results, index)
        if index >= len(results):
            raise ReadError(f"the node {quoted(name)} has no result {index}")
        return results[index]

    def _index(self, node: StoredNode, results: Results, rest: Sequence[str]) -> int:
        """Position of a result: [], ["index"], or ["result", "index"]."""
        if not rest:
            return 0
        if len(rest) > 2 or not rest[-1].isdecimal() or len(rest[-1]) > 6:
            raise ReadError(f"the reference to {quoted(':'.join((node.name, *rest)))} is malformed")
        index = int(rest[-1])
        if len(rest) == 1:
            return index
        if node.op in self.library:
            names = [name for name, _ in self.library.function(node.op).results]
            if rest[0] not in names:
                raise ReadError(f"the function {quoted(node.op)} has no result {quoted(rest[0])}")
            return names.index(rest[0]) + index
        op = self.library.op_defs.get(node.op)
        if op is None:
            raise ReadError(f"the file does not describe the results of the op {quoted(node.op)}")
        if len(op.results) == 1:
            return index
        assert isinstance(results, GraphNode)
        with located(f"node {quoted(node.name)}"):
            return op.position(rest[0], results.attributes) + index


def node_of(reference: str) -> str:
    """Name of the node in a reference to one of its results."""
    return reference.partition(":")[0]


def _too_large() -> HostileFileError:
    return HostileFileError(
        f"the graph has more than {MAX_NODES:,} operations when its functions are inlined, more "
        "than any model"
    )


def _cycle(node: StoredNode) -> ReadError:
    return HostileFileError(f"the graph has a cycle at the node {quoted(node.name)}")
