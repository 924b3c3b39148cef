"""Replaces variables by their values, and removes nodes that only check or pass on tensors."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from kerasport.errors import HostileFileError, Problem, ReadError, UnsupportedModel, quoted
from kerasport.frontends.graphdef.flatten import CHECKS, CONTROL_FLOW, FlatFunction, Flattener
from kerasport.frontends.graphdef.frozen import (
    Attribute,
    ElementType,
    FrozenFunction,
    FunctionName,
    GraphNode,
    Result,
)
from kerasport.frontends.graphdef.places import located
from kerasport.frontends.graphdef.tensor_arrays import LIST, LISTS, rewritten
from kerasport.ir.dtypes import dtype_of
from kerasport.weights import Array, Weight

LOOPS = frozenset(("While", "StatelessWhile"))

MAX_STEPS = 1_000_000
"""Nodes that are rewritten, and functions that they name."""

SHOWN = 20
"""Names of nodes in a note."""

MAX_DEPTH = 50
"""Loops and branches inside each other."""

PASSES_ON = frozenset(
    (
        "Identity",
        "IdentityN",
        "Snapshot",
        "StopGradient",
        "PreventGradient",
        "CheckNumerics",
        "CheckNumericsV2",
        "DebugGradientIdentity",
        "DebugGradientRefIdentity",
        "RefIdentity",
        "DisableCopyOnRead",
        "CopyHost",
        "Copy",
        "Print",
        "PlaceholderWithDefault",
        "GuaranteeConst",
    )
)
"""Ops whose results are their first inputs."""

REFERENCES = frozenset(("VariableV2", "Variable"))
"""Variables of TensorFlow 1, which are read without an op."""

VARIABLES = frozenset((*REFERENCES, "VarHandleOp"))
TABLES = frozenset(
    (
        "HashTable",
        "HashTableV2",
        "AnonymousHashTable",
        "MutableHashTable",
        "MutableHashTableV2",
        "AnonymousMutableHashTable",
        "MutableHashTableOfTensors",
        "MutableHashTableOfTensorsV2",
        "MutableDenseHashTable",
        "MutableDenseHashTableV2",
    )
)
NEWER = {
    "HashTable": "HashTableV2",
    "MutableHashTable": "MutableHashTableV2",
    "LookupTableFind": "LookupTableFindV2",
    "LookupTableSize": "LookupTableSizeV2",
}
"""Ops of TensorFlow 1 that have a successor with the same arguments."""

FUNCTIONS = ("cond", "body", "then_branch", "else_branch", "branches")
"""Attributes of control flow that name functions."""

ASSIGNS = (
    "it changes a variable or table while the model runs, and a converted model has only constants"
)

Rewritten: TypeAlias = GraphNode | tuple[Result, ...]


@dataclass(frozen=True)
class Handle:
    """What an argument of a function refers to, if it is not a tensor.

    Attributes:
        node: the node of a variable or table in the outer graph, or `LIST`.
        dtype: element type of the variable, "variant" for a list; empty for a table.
    """

    node: GraphNode
    dtype: ElementType = ""

    @property
    def is_table(self) -> bool:
        """Whether it is a table, which a function reads from the outer graph."""
        return not self.dtype


LIST_HANDLE = Handle(LIST, "variant")
"""A tensor array of TensorFlow 1, which has become a list."""


@dataclass(eq=False)
class Freezer:
    """Freezes a graph and the functions of its control flow.

    Attributes:
        flattener: makes the functions without calls.
        variable: finds the value of a variable.
        functions: the frozen functions by their names.
        removed: number of removed nodes by their ops.
    """

    flattener: Flattener
    variable: Callable[[GraphNode], Weight | Array]
    functions: dict[str, FrozenFunction] = field(default_factory=dict)
    removed: Counter[str] = field(default_factory=Counter)
    # placeholders that keep their default values
    defaults: list[str] = field(default_factory=list)
    # results that are lists, in addition to those of `LISTS`
    lists: set[tuple[GraphNode, int]] = field(default_factory=set)
    # results of each function, with the tables that a loop passes on
    results: dict[str, tuple[Result, ...]] = field(default_factory=dict)
    _returns_lists: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    _constants: dict[GraphNode, GraphNode] = field(default_factory=dict)
    _variants: dict[tuple[str, tuple[Handle | None, ...]], str] = field(default_factory=dict)
    _active: list[str] = field(default_factory=list)
    _steps: int = 0

    def graph(self, flat: FlatFunction) -> tuple[Result, ...]:
        """The results of a graph without variables.

        Raises:
            UnsupportedModel: the graph changes variables.
        """
        changes = tuple(self._changes(flat.effects))
        if changes:
            raise UnsupportedModel(changes)
        return _Scope(self, {}).rewrite(flat.results)

    def count(self, steps: int) -> None:
        """Refuse graphs in which many nodes run the same large functions.

        Raises:
            HostileFileError: they have taken far more steps than any model.
        """
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise HostileFileError("loops and branches run far more operations than in any model")

    def constant(self, variable: GraphNode) -> GraphNode:
        """The constant with the value of a variable."""
        if variable not in self._constants:
            value = self.variable(variable)
            self._constants[variable] = GraphNode(
                variable.name, "Const", (), {"dtype": dtype_of(value.dtype), "value": value}
            )
        return self._constants[variable]

    def function(self, name: str, handles: tuple[Handle | None, ...]) -> str:
        """Freeze a function of control flow, and return the name that it has then.

        Args:
            name: its name in the library.
            handles: what each argument refers to if it is not a tensor.

        Raises:
            HostileFileError: it runs itself.
        """
        key = (name, handles)
        if key in self._variants:
            return self._variants[key]
        if name in self._active or len(self._active) >= MAX_DEPTH:
            raise HostileFileError(
                f"the function {quoted(name)} runs itself, or loops and branches are nested more "
                f"than {MAX_DEPTH} levels deep"
            )
        flat = self.flattener.function(name)
        if len(flat.arguments) != len(handles):
            raise ReadError(
                f"the function {quoted(name)} has {len(flat.arguments)} arguments, got "
                f"{len(handles)} tensors"
            )
        self._active.append(name)
        frozen = self._frozen(name, flat, handles)
        self._active.pop()
        self._variants[key] = frozen.name
        self.functions[frozen.name] = frozen
        return frozen.name

    def _frozen(
        self, name: str, flat: FlatFunction, handles: tuple[Handle | None, ...]
    ) -> FrozenFunction:
        arguments, known, bound = [], {}, {}
        for old, handle in zip(flat.arguments, handles, strict=True):
            if handle is not None and handle.is_table:
                known[old] = handle.node
                continue
            dtype = old.attributes["T"] if handle is None else handle.dtype
            new = known[old] = GraphNode(old.name, "_Arg", (), {"T": dtype})
            arguments.append(new)
            if handle is not None:
                bound[new] = handle
        scope = _Scope(self, bound, dict(known))
        results = scope.rewrite(flat.results)
        unique, count = name, 0
        while unique in self.functions:
            count += 1
            unique = f"{name}_{count}"
        self.results[unique] = results
        results = tuple(result for result in results if result.node.op not in TABLES)
        self._returns_lists[unique] = tuple(map(scope.is_list, results))
        return FrozenFunction(unique, tuple(arguments), results)

    def returns_table(self, name: str) -> bool:
        """Whether a frozen function returns a table."""
        return any(result.node.op in TABLES for result in self.results[name])

    def lists_of(self, attributes: Mapping[str, Attribute]) -> tuple[bool, ...]:
        """Whether each result of a node of control flow is a list.

        Args:
            attributes: those of the node, with the names of frozen functions.
        """
        names = [
            value.name
            for key in ("body", "then_branch")
            if isinstance(value := attributes.get(key), FunctionName)
        ]
        return self._returns_lists[names[0]] if names else ()

    def _changes(self, effects: Iterable[GraphNode]) -> Iterator[Problem]:
        """Nodes that change variables. Those that only check values are counted as removed."""
        pending, functions = deque(effects), set[str]()
        while pending:
            node = pending.popleft()
            if node.op in CHECKS:
                self.removed[node.op] += 1
            elif node.op in CONTROL_FLOW:
                for name in _functions(node.attributes):
                    self.count(1)
                    if name not in functions:
                        functions.add(name)
                        pending.extend(self.flattener.function(name).effects)
            else:
                yield Problem(node.name, node.op, ASSIGNS)

    def notes(self) -> tuple[str, ...]:
        """What a user should know of nodes that were removed."""
        notes = []
        if self.removed:
            ops = ", ".join(f"{count} {op}" for op, count in sorted(self.removed.items()))
            notes.append(f"operations that only check or print values are removed: {ops}")
        if self.defaults:
            names = ", ".join(map(quoted, sorted(self.defaults)[:SHOWN]))
            notes.append(f"placeholders that have a default value keep it: {names}")
        return tuple(notes)


@dataclass(eq=False)
class _Scope:
    """A graph or function that is being rewritten.

    Attributes:
        freezer: the freezer of the whole graph.
        bound: arguments that represent the value of a variable.
        new: node of the flat graph → its replacement.
    """

    freezer: Freezer
    bound: Mapping[GraphNode, Handle]
    new: dict[GraphNode, Rewritten] = field(default_factory=dict)

    def rewrite(self, results: Sequence[Result]) -> tuple[Result, ...]:
        """Rewrite all nodes that results depend on."""
        order = ordered(results, self.new)
        self.freezer.count(len(order))
        for node in order:
            self.new[node] = self._rewritten(node)
        return tuple(self._value(self._result(result)) for result in results)

    def _result(self, result: Result) -> Result:
        new = self.new[result.node]
        if isinstance(new, GraphNode):
            return Result(new, result.index)
        if result.index >= len(new):
            raise ReadError(f"the node {quoted(result.node.name)} has no result {result.index}")
        return new[result.index]

    def _value(self, result: Result) -> Result:
        """A result as a tensor: a variable of TensorFlow 1 means its value."""
        if result.node.op in REFERENCES:
            return Result(self.freezer.constant(result.node))
        return result

    def _rewritten(self, node: GraphNode) -> Rewritten:
        try:
            return self._node(node)
        except Exception:
            with located(f"node {quoted(node.name)}"):
                raise

    def _node(self, node: GraphNode) -> Rewritten:
        inputs = tuple(map(self._result, node.inputs))
        if node.op in PASSES_ON:
            if not inputs:
                raise ReadError(f"the op {quoted(node.op)} has no input")
            if node.op == "PlaceholderWithDefault":
                self.freezer.defaults.append(node.name)
            return inputs
        if node.op in CONTROL_FLOW:
            return self._control_flow(node, inputs)
        if node.op in READS:
            return READS[node.op](self, node, inputs)
        if node.op.startswith("TensorArray"):
            results = rewritten(node, inputs, self.is_list, self.origin)
            if results is not None:
                return results
        op = NEWER.get(node.op, node.op)
        values = tuple(map(self._value, inputs))
        if op == node.op and all(
            new.node is old.node and new.index == old.index
            for new, old in zip(values, node.inputs, strict=True)
        ):
            return node
        return replace(node, op=op, inputs=values)

    def is_list(self, result: Result) -> bool:
        """Whether a result is a list that was a tensor array of TensorFlow 1."""
        return (
            result.node.op in LISTS
            or (result.node, result.index) in self.freezer.lists
            or self.bound.get(result.node) == LIST_HANDLE
        )

    def origin(self, result: Result) -> Result:
        """The list that a list has become of by setting elements, which keeps its length."""
        for _ in range(MAX_STEPS):
            node = result.node
            if node.op == "TensorListSetItem":
                result = node.inputs[0]
            elif node.op in LOOPS and self._keeps(node, result.index):
                result = node.inputs[result.index]
            else:
                break
        return result

    def _keeps(self, loop: GraphNode, index: int) -> bool:
        """Whether a loop only sets elements of a list."""
        body = loop.attributes["body"]
        assert isinstance(body, FunctionName)
        function = self.freezer.functions[body.name]
        result = function.results[index]
        while result.node.op == "TensorListSetItem":
            result = result.node.inputs[0]
        return result.node is function.arguments[index]

    def read(self, handle: Result) -> Result | None:
        """The value of the variable that a handle refers to, None if it refers to none."""
        if handle.node.op in VARIABLES:
            return Result(self.freezer.constant(handle.node))
        return handle if handle.node in self.bound else None

    # --------------------------------------------------------------------------------- control flow

    def _control_flow(self, node: GraphNode, inputs: tuple[Result, ...]) -> Rewritten:
        """A loop or branches: what their functions read of variables becomes arguments."""
        loops = node.op in LOOPS
        first = 0 if loops else 1
        handles = tuple(map(self._handle, inputs[first:]))
        # a function reads a table from the outer graph
        kept = [item for item in inputs if item.node.op not in TABLES]
        values = tuple(value if (value := self.read(item)) is not None else item for item in kept)
        attributes: dict[str, Attribute] = dict(node.attributes)
        frozen = self._functions(node, handles)
        if not frozen:
            raise ReadError(f"the op {quoted(node.op)} does not name its functions")
        attributes.update(frozen)
        if not loops and any(map(self.freezer.returns_table, _functions(attributes))):
            raise ReadError(f"the branches of {quoted(node.name)} choose a table")
        key = "T" if loops else "Tin"
        attributes[key] = _types(attributes.get(key), handles)
        if loops and len(kept) < len(inputs):
            # it may be omitted, and counts the tables
            attributes["output_shapes"] = ()
        lists = self.freezer.lists_of(attributes)
        if any(lists) and "Tout" in attributes:
            attributes["Tout"] = _types(
                attributes["Tout"], [LIST_HANDLE if is_list else None for is_list in lists]
            )
        new = replace(node, inputs=values, attributes=attributes)
        self.freezer.lists.update((new, index) for index, is_list in enumerate(lists) if is_list)
        return self._unchanged(new, inputs, handles) if loops and any(handles) else new

    def _functions(
        self, node: GraphNode, handles: tuple[Handle | None, ...]
    ) -> Mapping[str, Attribute]:
        """The attributes that name the frozen functions of a node."""
        named: dict[str, Attribute] = {}
        for key in FUNCTIONS:
            value = node.attributes.get(key)
            functions = value if isinstance(value, tuple) else (value,)
            self.freezer.count(len(functions))
            names = tuple(
                FunctionName(self.freezer.function(function.name, handles))
                for function in functions
                if isinstance(function, FunctionName)
            )
            if names:
                named[key] = names if isinstance(value, tuple) else names[0]
        return named

    def _handle(self, result: Result) -> Handle | None:
        if result.node.op in VARIABLES:
            constant = self.freezer.constant(result.node)
            return Handle(result.node, str(constant.attributes["dtype"]))
        if result.node.op in TABLES:
            return Handle(result.node)
        if self.is_list(result):
            return LIST_HANDLE
        return self.bound.get(result.node)

    def _unchanged(
        self, new: GraphNode, inputs: Sequence[Result], handles: Sequence[Handle | None]
    ) -> Rewritten:
        """The results of a loop, in which variables and tables are the same as before it."""
        body = new.attributes["body"]
        assert isinstance(body, FunctionName)
        arguments = iter(self.freezer.functions[body.name].arguments)
        returned = self.freezer.results[body.name]
        results: list[Result] = []
        index = 0
        for old, result, handle in zip(inputs, returned, handles, strict=True):
            table = handle is not None and handle.is_table
            same = old.node if table else next(arguments)
            if handle is None or handle == LIST_HANDLE:
                results.append(Result(new, index))
            elif result.node is same:
                results.append(old)
            else:
                raise ReadError(f"the loop {quoted(new.name)} passes on another variable or table")
            index += not table
        return tuple(results)


def _functions(attributes: Mapping[str, Attribute]) -> Iterator[str]:
    """The functions that a node of control flow with these attributes runs."""
    for key in FUNCTIONS:
        value = attributes.get(key)
        for function in value if isinstance(value, tuple) else (value,):
            if isinstance(function, FunctionName):
                yield function.name


def _types(value: Attribute | None, handles: Sequence[Handle | None]) -> Attribute:
    """The element types of arguments. That of a variable is the one of its values."""
    types = (
        tuple(kind for kind in value if isinstance(kind, str)) if isinstance(value, tuple) else ()
    )
    if len(types) != len(handles):
        raise ReadError(f"the node has {len(handles)} inputs and {len(types)} element types")
    return tuple(
        kind if handle is None else handle.dtype
        for kind, handle in zip(types, handles, strict=True)
        if handle is None or not handle.is_table
    )


# ---------------------------------------------------------------------------------------- variables


def _read(scope: _Scope, node: GraphNode, inputs: tuple[Result, ...]) -> Rewritten:
    value = scope.read(inputs[0])
    return replace(node, inputs=inputs) if value is None else (value,)


def _gather(scope: _Scope, node: GraphNode, inputs: tuple[Result, ...]) -> Rewritten:
    """Rewrite `ResourceGather`, which reads rows of a variable, as `GatherV2`."""
    value = scope.read(inputs[0])
    if value is None:
        return replace(node, inputs=inputs)
    batch_dims = node.attributes.get("batch_dims", 0)
    axis = GraphNode(
        f"{node.name}/axis",
        "Const",
        (),
        {"dtype": "int32", "value": np.array(batch_dims, np.int32)},
    )
    attributes: dict[str, Attribute] = {
        "Tparams": node.attributes.get("dtype", "float32"),
        "Tindices": node.attributes.get("Tindices", "int32"),
        "Taxis": "int32",
        "batch_dims": batch_dims,
    }
    return GraphNode(node.name, "GatherV2", (value, inputs[1], Result(axis)), attributes)


def _renamed(op: str) -> Callable[[_Scope, GraphNode, tuple[Result, ...]], Rewritten]:
    """An op that reads a variable as another op reads a tensor."""

    def rewrite(scope: _Scope, node: GraphNode, inputs: tuple[Result, ...]) -> Rewritten:
        value = scope.read(inputs[0])
        if value is None:
            return replace(node, inputs=inputs)
        return replace(node, op=op, inputs=(value, *inputs[1:]))

    return rewrite


READS: Mapping[str, Callable[[_Scope, GraphNode, tuple[Result, ...]], Rewritten]] = {
    "ReadVariableOp": _read,
    "ResourceGather": _gather,
    "ResourceGatherNd": _renamed("GatherNd"),
    "VariableShape": _renamed("Shape"),
}
"""Op → how it reads the value of a variable."""


# -------------------------------------------------------------------------------------------- order


def ordered(
    results: Iterable[Result], done: Mapping[GraphNode, object] | None = None
) -> Sequence[GraphNode]:
    """The nodes that results depend on, each once and after those that it reads.

    Args:
        results: the results.
        done: nodes to omit.
    """
    order: list[GraphNode] = []
    visited: set[GraphNode] = set(done or ())
    pending = [(result.node, False) for result in results]
    pending.reverse()
    while pending:
        node, leaving = pending.pop()
        if leaving:
            order.append(node)
        elif node not in visited:
            visited.add(node)
            pending.append((node, True))
            pending.extend((result.node, False) for result in reversed(node.inputs))
    return order
