"""Nodes of the IR. A node is both an operation and the tensor that the operation returns.

Nodes are immutable and compare by identity. A graph does not store a list of nodes: its nodes are
those that its outputs reach. The type of a node is inferred when the node is made, so that an error
is raised in the layer that makes it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import ShapeError, quoted
from kerasport.ir.dtypes import FAMILIES, FLOATS, INTEGERS, NUMPY, DType, default_dtype, dtype_of
from kerasport.record import Record
from kerasport.weights import (
    LARGEST_SIZE,
    Array,
    ComputedWeight,
    DividedWeight,
    Shape,
    Weight,
    WeightRef,
)

Extent: TypeAlias = int | str | None
"""Size of an axis: a number, or the name of a size known only at run time, or None without a name.

Axes with the same name have the same size in every run, such as `batch` on all inputs of a model.
"""
Extents: TypeAlias = tuple[Extent, ...]
BATCH = "batch"


@dataclass(frozen=True)
class TensorType:
    """Element type and extents of a tensor.

    Attributes:
        dtype: the element type.
        extents: the extent of each axis.
        shape: the size of each axis, None if it is known only at run time.
    """

    dtype: DType
    extents: Extents
    shape: Shape = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", without_names(self.extents))

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.extents)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if e is None else str(e) for e in self.extents)}]"


def without_names(extents: Extents) -> Shape:
    """The extents as a shape, with None instead of each name."""
    return tuple(None if isinstance(extent, str) else extent for extent in extents)


class Node(Record):
    """An operation applied to operands.

    The operands are the fields that are nodes, and the nodes in fields that are tuples. The class
    is abstract, but not an ABC: rules call isinstance on nodes very often, which is slower for an
    ABC.
    """

    operands: tuple[Node, ...] = field(init=False, repr=False)
    """The nodes that this one is computed from, in order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operands", tuple(_nodes(self._taken())))

    def _taken(self) -> Iterable[Any]:
        """The values of the fields that contain operands, in order."""
        return (getattr(self, name) for name in field_names(type(self)))

    @abstractmethod
    def compute(self, *operands: Any) -> Any:
        """The result of the operation in numpy, given the values of the operands in order."""


def _nodes(values: Any) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from _nodes(value)
        elif isinstance(value, list | dict) or (
            isinstance(value, int) and abs(value) > LARGEST_SIZE
        ):
            raise ShapeError(f"{quoted(value)} does not fit into int32")


def field_names(cls: type[Node]) -> tuple[str, ...]:
    """Names of the fields that define a node of this class, in the order of match patterns."""
    return cls.__match_args__


class Tensor(Node):
    """A node with one result."""

    type: TensorType = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            inferred = self.infer()
        # raised for operands of a rank that the operation does not support
        except (IndexError, ValueError) as error:
            operands = ", ".join(
                str(operand.type) for operand in self.operands if isinstance(operand, Tensor)
            )
            raise ShapeError(
                f"{type(self).__name__} does not support {operands or 'nothing'}"
            ) from error
        object.__setattr__(self, "type", inferred)
        if not all(
            d is None or (isinstance(d, int) and 0 <= d <= LARGEST_SIZE) for d in self.type.shape
        ):
            raise ShapeError(f"its result would have the shape {quoted(self.type.shape)}")

    @abstractmethod
    def infer(self) -> TensorType:
        """The type of the result.

        Raises:
            ShapeError: the operation does not support operands of these types.
        """

    @property
    def shape(self) -> Shape:
        """The size of each axis, None if it is known only at run time."""
        return self.type.shape

    @property
    def extents(self) -> Extents:
        """The extent of each axis: a size, a name or None."""
        return self.type.extents

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.type.shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    # These operators make formulas of a lowering readable.

    def __add__(self, other: Any) -> Tensor:
        return _operate("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _operate("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _operate("sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _operate("sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _operate("mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _operate("mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _operate("div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _operate("div", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _operate("power", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _operate("power", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _operate("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _operate("matmul", other, self)

    def __neg__(self) -> Tensor:
        return _operate("Neg", self)


def _operate(name: str, *operands: Any) -> Tensor:
    """The result of an operation."""
    from kerasport.ir import ops  # noqa: PLC0415  (it imports this module)

    result: Tensor = getattr(ops, name)(*operands)
    return result


class Input(Tensor):
    """A tensor that the caller provides at run time."""

    name: str
    declared: TensorType

    def infer(self) -> TensorType:
        return self.declared

    def compute(self, *_: Any) -> Array:
        raise LookupError(f"there is no value for the input {self.name!r}")


class Constant(Tensor):
    """A tensor whose value is known at conversion.

    `read` reads the value from the file. `read_as` is the element type to which it is converted, if
    it is not the one in the file.
    """

    value: Weight
    read_as: DType | None = None

    def infer(self) -> TensorType:
        return TensorType(self.read_as or dtype_of(self.value.dtype), self.value.shape)

    def read(self) -> Array:
        """The value, in the element type of the tensor."""
        with np.errstate(over="ignore"):
            return self.value.read().astype(NUMPY[self.dtype], copy=False)

    def compute(self, *_: Any) -> Array:
        return self.read()


class Several(Node):
    """A node with several results. An `Item` selects one of them."""

    @abstractmethod
    def infer(self) -> tuple[TensorType, ...]:
        """The types of the results."""


class Item(Tensor):
    """One result of a node with several results."""

    source: Several
    index: int

    def infer(self) -> TensorType:
        return self.source.infer()[self.index]

    def compute(self, *operands: Any) -> Any:
        return operands[0][self.index]


def expect(node: Node, x: Tensor, dtypes: Sequence[DType]) -> None:
    """Check that an operand has an element type that the operation supports.

    Raises:
        ShapeError: the element type of `x` is not one of `dtypes`.
    """
    if x.dtype not in dtypes:
        wanted = FAMILIES.get(tuple(dtypes)) or " or ".join(dtypes)
        raise ShapeError(f"{type(node).__name__} supports {wanted}, not {x.type}")


def items(source: Several) -> tuple[Item, ...]:
    """All results of a node with several results."""
    return tuple(Item(source, index) for index in range(len(source.infer())))


def constant(value: Any, dtype: DType | None = None) -> Constant:
    """A constant with this value; floats become float32 and integers int32 without `dtype`."""
    array = np.asarray(value)
    # a value outside the range of float32 becomes infinite, as in Keras
    with np.errstate(over="ignore"):
        array = array.astype(NUMPY[dtype or default_dtype(array.dtype)], copy=False)
    return Constant(ComputedWeight(array.dtype, array.shape, lambda: array))


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A value as a tensor: a tensor stays the same, a weight or a number becomes a constant.

    A weight gets the element type in which Keras layers compute: float32 or int32. A Python number
    gets that of `like`. But a float becomes float32 if `like` has integers, as in Keras.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, WeightRef | ComputedWeight | DividedWeight):
        default = default_dtype(value.dtype)
        return Constant(value, None if value.dtype == NUMPY[default] else default)
    if like is not None and isinstance(value, int | float) and not isinstance(value, bool):
        return constant(value, _dtype_beside(value, like.dtype))
    return constant(value)


def _dtype_beside(value: float, dtype: DType) -> DType:
    """The element type of a Python number that is combined with a tensor of type `dtype`."""
    if dtype in FLOATS or dtype == "complex64" or (dtype in INTEGERS and isinstance(value, int)):
        return dtype
    return "int32" if isinstance(value, int) else "float32"


def broadcast(*shapes: Extents) -> Extents:
    """The extents of an elementwise result, by the broadcasting rules of numpy.

    If one size of an axis is known and not 1, it is the size of the result. A name remains if the
    other extents of the axis are the same name or 1.

    Raises:
        ShapeError: the shapes cannot be broadcast together.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_common(extents, shapes) for extents in zip(*padded, strict=True))


def _common(extents: Extents, shapes: tuple[Extents, ...]) -> Extent:
    known = {extent for extent in extents if isinstance(extent, int) and extent != 1}
    if len(known) > 1:
        described = " and ".join(str(without_names(shape)) for shape in shapes)
        raise ShapeError(f"the shapes {described} cannot be broadcast together")
    if known:
        return known.pop()
    open_ = {extent for extent in extents if not isinstance(extent, int)}
    if not open_:
        return 1
    return open_.pop() if len(open_) == 1 else None


def joined(*extents: Extent) -> Extent:
    """The extent of an axis that is equal in all tensors: a size, else a name, else None."""
    named = [extent for extent in extents if isinstance(extent, str)]
    return next((e for e in extents if isinstance(e, int)), named[0] if named else None)
