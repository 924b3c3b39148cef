"""What the row of an op receives: a node with its operands, and the attributes that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, get_args

import numpy as np

from kerasport.errors import ReadError, Refusal, quoted
from kerasport.frontends.graphdef.frozen import FrozenFunction, GraphNode, Result, Table
from kerasport.frontends.graphdef.ops.sizes import sizes_of
from kerasport.ir.dtypes import DType
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Constant, Tensor
from kerasport.weights import Array, axis_of

Value: TypeAlias = Any
"""A result of a node: a tensor, or a `TensorList` or `Table`, which only some ops read."""

Lowered: TypeAlias = Value | tuple[Value, ...]
Lower: TypeAlias = Callable[["Call"], Lowered]
"""The row of an op: computes the results of a node."""

Rows: TypeAlias = Mapping[str, Lower]
"""Name of a TensorFlow op → its row."""

HARMLESS: frozenset[str] = frozenset((
    # they restate the element types of operands or results
    "T", "T1", "T2", "TI", "Tidx", "Tindices", "Tparams", "Taxis", "Tshape", "Tdim", "Tdims",
    "Tpaddings", "Tmultiples", "Tperm", "Tlen", "Tsegids", "Tnumsegments", "Tblock_shape",
    "Tpaddings", "Tcrops", "Tin", "Tout", "Tcond", "U", "SrcT", "Index", "Ta", "Tb", "Targmax",
    "Tk", "Tkeys", "Tvalues", "key_dtype", "value_dtype", "element_dtype", "shape_type",
    "index_type", "Treal", "Tcomplex", "S", "TBlockShape", "TPaddings", "TArgs", "Tindex", "Tshift",
    # the number of operands
    "N", "num_args", "num_host_args", "num_elements_hint",
    # they select an implementation, and do not change results
    "use_cudnn_on_gpu", "parallel_iterations", "is_stateless", "lower_using_switch_merge",
    "swap_memory",
    # they only describe gradients
    "grad_x", "grad_y", "grad_a", "grad_b",
    # they only state the shapes of results, which follow from the operands
    "output_shapes",
    # they only say whether to check values that must be valid anyway
    "validate_indices", "validate_shape", "bad_indices_policy",
    # with False, comparing shapes that cannot be broadcast is allowed; that raises an error here
    "incompatible_shape_error",
))  # fmt: skip
"""Attributes that no row needs to read."""


MAX_RESULTS = 10_000
"""Largest number of results of a node."""


class Scope(Protocol):
    """What a row may ask of the conversion of the whole graph."""

    def function(self, name: str) -> FrozenFunction:
        """A function of control flow."""

    def table(self, node: str) -> Table:
        """The content of the hash table that a node makes."""

    def results(self, function: FrozenFunction, arguments: Sequence[Value]) -> tuple[Value, ...]:
        """The results of a function for these arguments."""


@dataclass(frozen=True, eq=False)
class Call:
    """A node with the values of its operands.

    Attributes:
        node: the node.
        operands: the values of its inputs.
        scope: the conversion that it belongs to.
        value_of: finds the value of another result, which is computed before the node.
        read: names of the attributes that have been read.
    """

    node: GraphNode
    operands: tuple[Value, ...]
    scope: Scope
    value_of: Callable[[Result], Value]
    read: set[str] = field(default_factory=set)

    # ------------------------------------------------------------------------------------- operands

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All operands."""
        return tuple(self.x(index) for index in range(len(self.operands)))

    def x(self, index: int = 0) -> Tensor:
        """An operand.

        Raises:
            ReadError: there is no such operand.
            Refusal: it is not a tensor.
        """
        if not -len(self.operands) <= index < len(self.operands):
            raise ReadError(
                f"the node {quoted(self.node.name)} has {len(self.operands)} inputs, too few for "
                f"the op {quoted(self.node.op)}"
            )
        value = self.operands[index]
        if not isinstance(value, Tensor):
            raise Refusal("", "it reads a list or table of tensors, which is not supported here")
        return value

    def sizes(self, index: int) -> tuple[Size, ...]:
        """The elements of an integer operand of rank 0 or 1: numbers where they are known.

        Raises:
            Refusal: the number of elements is known only at run time.
        """
        return sizes_of(self.x(index))

    def size(self, index: int) -> Size:
        """An integer operand with one element."""
        return self.sizes(index)[0]

    def value(self, index: int, what: str) -> Array:
        """The value of an operand that must be a constant.

        Raises:
            Refusal: the model computes it.
        """
        x = self.x(index)
        if isinstance(x, Constant):
            return x.read()
        raise Refusal(
            "", f"its {what} must be a constant, but the model computes it from its inputs"
        )

    def ints(self, index: int, what: str) -> tuple[int, ...]:
        """The elements of an integer operand that must be a constant."""
        return tuple(int(number) for number in np.ravel(self.value(index, what)))

    def whole(self, index: int, what: str) -> int:
        """An integer operand with one element that must be a constant."""
        return self.ints(index, what)[0]

    def axis(self, index: int, rank: int) -> int:
        """An axis that an operand gives, not negative."""
        return axis_of(self.whole(index, "axis"), rank)

    # ----------------------------------------------------------------------------------- attributes

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        self.read.add(name)
        found = self.node.attributes.get(name, default)
        return default if found is None else found

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A bool attribute."""
        return bool(self.attribute(name, default))

    def number(self, name: str, default: float = 0.0) -> float:
        """A float attribute."""
        return float(self.attribute(name, default))

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        return int(self.attribute(name, default))

    def count(self, name: str) -> int:
        """An attribute that is a number of results.

        Raises:
            ReadError: it is larger than in any model.
        """
        count = self.integer(name)
        if not 0 <= count <= MAX_RESULTS:
            raise ReadError(f"the attribute {quoted(name)} is {count}, which is not possible")
        return count

    def integers(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        return tuple(int(number) for number in self.attribute(name, default))

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        found = self.attribute(name, default)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)

    def dtype(self, name: str, default: DType = "float32") -> DType:
        """An attribute that is an element type.

        Raises:
            Refusal: the IR has no such type.
        """
        found = self.attribute(name, default)
        if found not in get_args(DType):
            raise Refusal(name, f"converted models do not compute with {found}")
        dtype: DType = found
        return dtype

    def unread(self) -> tuple[str, ...]:
        """The attributes that no code has read, and that may change the result."""
        return tuple(sorted({*self.node.attributes} - self.read - HARMLESS))
