"""Emission: writes a graph as the nodes of a target's format.

`Emitter` is the part that all formats have in common: it walks the graph, chooses names, stores
each constant once, looks operations up in the target's table, and collects what the target cannot
express. A target subclasses it and says how its format writes an input, a node, a constant and an
output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from kerasport.errors import Problem, Refusal
from kerasport.ir.dtypes import NUMPY, DType
from kerasport.ir.graph import Graph, walk
from kerasport.ir.tensor import Constant, Input, Node, Several, Tensor, TensorType
from kerasport.weights import Array, ComputedWeight, Weight

if TYPE_CHECKING:
    from typing_extensions import Self

SMALL = 16
"""Largest number of elements of a constant that all nodes with the same values share."""

Value = TypeVar("Value")
"""What a format uses to refer to a tensor: its name, or an object."""


@dataclass(frozen=True)
class OpTable:
    """How a target writes each operation of the IR.

    An operation has one row, in one of the three tables.
    """

    same: Mapping[type[Node], str]
    """Operation → the target's operator that takes the same operands and needs no attributes."""

    different: Mapping[type[Node], Callable[[Any, Any], Any]]
    """Operation → function `(emitter, node) → value` that writes it."""

    unsupported: Mapping[type[Node], str]
    """Operation → why the target cannot express it."""

    missing: str
    """The reason given for an operation without a row."""


@dataclass
class Shared:
    """State that the emitter of a graph shares with the emitters of its bodies."""

    weights: dict[str, Weight] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    weight_names: dict[Hashable, str] = field(default_factory=dict)
    """Content → name of each weight, which is stored once for the graph and all its bodies."""
    _taken: dict[str, int] = field(default_factory=dict)

    def legal_name(self, name: str) -> str:
        """The name, changed where the format does not allow it."""
        return name

    def unique(self, wanted: str) -> str:
        """A legal name that nothing else has: the wanted one, or that one with a number."""
        name = base = self.legal_name(wanted)
        while name in self._taken:
            self._taken[base] += 1
            name = f"{base}_{self._taken[base]}"
        self._taken[name] = 0
        return name


class Emitter(ABC, Generic[Value]):
    """Writes one graph, or the body of a control flow node.

    Attributes:
        graph: the graph to write.
        shared: names, weights and problems, in common with the emitters of all bodies.
        nodes: the nodes written so far, in the target's format.
        inputs: name in the format → input of the graph.
        scope: path of the layer being written, with which names of nodes begin.
        constants: what is written already, by content.
        is_body: whether the graph is the body of a control flow node.
    """

    lazy: ClassVar[tuple[type[Node], ...]] = ()
    """Operations that are written only when another node refers to them."""

    bodies_see_constants: ClassVar[bool] = False
    """Whether a body can refer to constants of the graph around it."""

    index_dtype: ClassVar[Any] = np.int32
    """Element type of shapes, axes and other integers that the format takes as operands."""

    def __init__(self, graph: Graph, shared: Any, table: OpTable) -> None:
        self.graph, self.shared, self.table = graph, shared, table
        self.nodes: list[Any] = []
        self.inputs: dict[str, Input] = {}
        self._values: dict[Node, Value] = {}
        self._several: dict[Node, tuple[Value, ...]] = {}
        self.constants: dict[Hashable, Value] = {}
        self.scope = ""
        self.is_body = False

    # ---------------------------------------------------------- what a target says about its format

    @abstractmethod
    def add(self, op: str, inputs: Sequence[Any], **attributes: Any) -> Value:
        """Add a node with one result; return the result. Inputs are nodes of the IR or values."""

    @abstractmethod
    def write_input(self, name: str, node: Input) -> Value:
        """Add an input of the graph."""

    @abstractmethod
    def write_outputs(self, names: Sequence[str], values: Sequence[Value]) -> dict[str, Value]:
        """Give the outputs of the graph their names; return name → value."""

    @abstractmethod
    def write_weight(self, name: str, node: Constant) -> Value:
        """Refer to a constant that is stored as the weight `name`."""

    @abstractmethod
    def write_small(self, name: str, array: Array) -> Value:
        """Add a constant of few elements."""

    @abstractmethod
    def write_refused(self) -> Value:
        """A placeholder for the result of a node that the target cannot express."""

    def declare(self, value: Value, tensor: TensorType) -> None:
        """Record the type of a value, in formats that store it."""

    def refusal(self, node: Node) -> str:
        """Why the target cannot express a node; empty if it can."""
        kind, table = type(node), self.table
        if kind in table.same or kind in table.different:
            return ""
        return table.unsupported.get(kind, table.missing)

    # ------------------------------------------------------------------------------ the whole graph

    @property
    def weights(self) -> dict[str, Weight]:
        """Name → weight, of the graph and all its bodies."""
        return self.shared.weights  # type: ignore[no-any-return]

    @property
    def problems(self) -> list[Problem]:
        """What the target cannot express, of the graph and all its bodies."""
        return self.shared.problems  # type: ignore[no-any-return]

    def run(self, outputs: Sequence[str]) -> dict[str, Value]:
        """Write the whole graph.

        Args:
            outputs: wanted names of the outputs, in order.

        Returns:
            Name → value of each output, in order. A name differs from the wanted one if that is
            taken or not legal.
        """
        for node in self.graph.inputs:
            name = self.shared.unique(node.name)
            self.inputs[name] = node
            self._values[node] = self.write_input(name, node)
        # outputs choose their names before the nodes between take them
        names = [self.shared.unique(name) for name in outputs]
        return self.write_outputs(names, self.emit_all(self.graph.outputs))

    def emit_all(self, ends: Sequence[Node]) -> list[Value]:
        """Write everything that the nodes `ends` need; return their values."""
        for node in walk(ends, self._values):
            if not isinstance(node, self.lazy):
                self._emit(node)
        return [self.ref(end) for end in ends]

    def _emit(self, node: Node) -> None:
        self.scope = self.graph.names.get(node, self.scope)
        try:
            self._values[node] = self._written(node)
        except Refusal as refusal:
            layer = self.scope.rpartition("/")[2] or self.scope
            self.problems.append(
                Problem(
                    layer,
                    type(node).__name__,
                    refusal.reason,
                    refusal.option,
                    remedy=refusal.remedy,
                )
            )
            self._values[node] = self.write_refused()
            if isinstance(node, Several):
                self._several[node] = (self._values[node],) * len(node.infer())

    def _written(self, node: Node) -> Value:
        if isinstance(node, Constant):
            return self.constant(node)
        if reason := self.refusal(node):
            raise Refusal("", reason)
        emit = self.table.different.get(type(node))
        value: Value = (
            emit(self, node) if emit else self.add(self.table.same[type(node)], node.operands)
        )
        if isinstance(node, Tensor):
            self.declare(value, node.type)
        return value

    # --------------------------------------------------------------------------- for emit functions

    def inside(self, body: Graph) -> Self:
        """An emitter for a body; it shares names, weights and problems with this one."""
        inner = type(self)(body, self.shared, self.table)
        inner.scope = self.scope
        inner.is_body = True
        if self.bodies_see_constants:
            inner.constants = self.constants
        return inner

    def bind(self, node: Node, value: Value) -> None:
        """Set the value of a node that this emitter does not write, such as an input of a body."""
        self._values[node] = value

    def results(self, node: Node, values: Sequence[Value]) -> Value:
        """Record the values of a node with several results, for its `Item`s; return the first."""
        self._several[node] = tuple(values)
        return values[0]

    def several(self, node: Node) -> tuple[Value, ...]:
        """The values of a node with several results."""
        return self._several[node]

    def ref(self, operand: Node | Value) -> Value:
        """The value of a node; a value as it is."""
        if not isinstance(operand, Node):
            return operand
        if operand not in self._values and isinstance(operand, self.lazy):
            self._emit(operand)
        return self._values[operand]

    def unique(self, what: str) -> str:
        """A unique name for something that belongs to the layer being written."""
        name: str = self.shared.unique(f"{self.scope}/{what}" if self.scope else what)
        return name

    # ------------------------------------------------------------------------------------ constants

    def constant(self, node: Constant) -> Value:
        """The value of a constant: stored as a weight, or among the small constants."""
        if node.value.size <= SMALL:
            return self.small(node.read())
        key = (node.value, node.dtype)
        if key not in self.constants:
            names = self.shared.weight_names
            if key not in names:
                names[key] = self.unique("weight")
                self.weights[names[key]] = stored(node)
            self.constants[key] = self.write_weight(names[key], node)
        return self.constants[key]

    def small(self, array: Array) -> Value:
        """A constant of few elements, written once for all nodes that use the same values."""
        content = tuple(array.ravel().tolist()) if array.dtype.kind == "O" else array.tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self.constants:
            self.constants[key] = self.write_small(self.shared.unique("const"), array)
        return self.constants[key]

    def number(self, value: float, dtype: DType = "int32") -> Value:
        """A constant scalar."""
        return self.small(np.asarray(value, NUMPY[dtype]))

    def ints(self, values: Any) -> Value:
        """A constant of integers, as the format takes shapes and axes."""
        return self.small(np.asarray(values, self.index_dtype))


def stored(node: Constant) -> Weight:
    """The weight of a constant: integers in its element type, floats as they are in the file."""
    dtype = np.dtype(NUMPY[node.dtype])
    if dtype.kind not in "iu" or node.value.dtype == dtype:
        return node.value
    return ComputedWeight(dtype, node.value.shape, node.read)
