"""Values of the IR: a node is both an operation and the tensor that it yields.

Nodes are immutable and compare by identity. So a graph keeps no list of nodes: they are whatever its outputs reach. The
type of a node is worked out when it is made, so that a fault shows while the layer that makes it is at work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kerasport.errors import ShapeError, quoted
from kerasport.ir.dtypes import FAMILIES, FLOATS, INTEGERS, NUMPY, DType, default_dtype, dtype_of
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
"""Size of an axis: a number, the name of a size known at run time, or None for one without a name.

Axes of the same name have the same size in every run, such as `batch` on all inputs of a model.
"""
Extents: TypeAlias = tuple[Extent, ...]
BATCH = "batch"


@dataclass(frozen=True)
class TensorType:
    """Element type and extent of each axis; `shape` has `None` for every size known only at run time."""

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
    """The extents as a shape: sizes, and None instead of a name."""
    return tuple(None if isinstance(extent, str) else extent for extent in extents)


@dataclass(frozen=True, eq=False)
class Node:
    """An operation applied to operands: those of its fields that are nodes, or tuples with nodes in them.

    It is abstract, but no ABC: rules ask for classes of nodes all the time, and an ABC takes longer to answer.
    """

    operands: tuple[Node, ...] = field(init=False, repr=False)
    """The nodes that this one is computed from, in order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operands", tuple(_nodes(self._taken())))

    def _taken(self) -> Iterable[Any]:
        """The fields with operands in them, in order."""
        return (getattr(self, name) for name in field_names(type(self)))

    @abstractmethod
    def compute(self, *operands: Any) -> Any:
        """Meaning of the operation in numpy, given the values of the operands in order."""


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
    """Names of the fields that make a node of a class what it is: those by which patterns match it, too."""
    return cls.__match_args__


@dataclass(frozen=True, eq=False)
class Tensor(Node):
    """A node with one result."""

    type: TensorType = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            made = self.infer()
        except (
            IndexError,
            ValueError,
        ) as error:  # of tensors of other ranks than the operation takes
            operands = ", ".join(
                str(each.type) for each in self.operands if isinstance(each, Tensor)
            )
            raise ShapeError(
                f"{type(self).__name__} does not support {operands or 'nothing'}"
            ) from error
        object.__setattr__(self, "type", made)
        if not all(
            d is None or (isinstance(d, int) and 0 <= d <= LARGEST_SIZE) for d in self.type.shape
        ):
            raise ShapeError(f"its result would have the shape {quoted(self.type.shape)}")

    @abstractmethod
    def infer(self) -> TensorType:
        """Type of the result.

        Raises:
            ShapeError: the operands do not fit together.
        """

    @property
    def shape(self) -> Shape:
        """Sizes of the axes, None for those known only at run time."""
        return self.type.shape

    @property
    def extents(self) -> Extents:
        """Sizes of the axes, names for those that have one."""
        return self.type.extents

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.type.shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    if TYPE_CHECKING:
        # defined in ops, which attach it here, so that a lowering reads as its formula
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Input(Tensor):
    """A tensor fed at run time."""

    name: str
    declared: TensorType

    def infer(self) -> TensorType:
        return self.declared

    def compute(self, *_: Any) -> Array:
        raise LookupError(f"there is no value for the input {self.name!r}")


@dataclass(frozen=True, eq=False)
class Constant(Tensor):
    """A tensor known at conversion; its numbers are read from the file when somebody asks.

    With `read_as`, they are converted to that element type when they are read.
    """

    value: Weight
    read_as: DType | None = None

    def infer(self) -> TensorType:
        return TensorType(self.read_as or dtype_of(self.value.dtype), self.value.shape)

    def read(self) -> Array:
        """The numbers, in the element type of the tensor."""
        with np.errstate(over="ignore"):
            return self.value.read().astype(NUMPY[self.dtype], copy=False)

    def compute(self, *_: Any) -> Array:
        return self.read()


@dataclass(frozen=True, eq=False)
class Several(Node):
    """A node with several results, each taken from it by an `Item`."""

    @abstractmethod
    def infer(self) -> tuple[TensorType, ...]:
        """Types of the results."""


@dataclass(frozen=True, eq=False)
class Item(Tensor):
    """One result of a node that has several."""

    source: Several
    index: int

    def infer(self) -> TensorType:
        return self.source.infer()[self.index]

    def compute(self, *operands: Any) -> Any:
        return operands[0][self.index]


def expect(node: Node, x: Tensor, dtypes: Sequence[DType]) -> None:
    """Make sure that an operation is given numbers of a kind for which it has a meaning, and every target the same.

    Raises:
        ShapeError: it is not.
    """
    if x.dtype not in dtypes:
        wanted = FAMILIES.get(tuple(dtypes)) or " or ".join(dtypes)
        raise ShapeError(f"{type(node).__name__} supports {wanted}, not {x.type}")


def items(source: Several) -> tuple[Item, ...]:
    """The results of a node that has several."""
    return tuple(Item(source, index) for index in range(len(source.infer())))


def constant(value: Any, dtype: DType | None = None) -> Constant:
    """A constant of numbers at hand; floats are float32 and integers int32 unless `dtype` is given."""
    array = np.asarray(value)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, as in Keras
        array = array.astype(NUMPY[dtype or default_dtype(array.dtype)], copy=False)
    return Constant(ComputedWeight(array.dtype, array.shape, lambda: array))


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A tensor of anything: tensors as they are, weights and numbers as constants.

    Weights take the element type in which Keras layers compute: float32 or int32. Python numbers
    take that of `like`, but a fraction beside integers makes float32, as in Keras.
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
    """The element type of a Python number beside a tensor of that type."""
    if dtype in FLOATS or dtype == "complex64" or (dtype in INTEGERS and isinstance(value, int)):
        return dtype
    return "int32" if isinstance(value, int) else "float32"


def broadcast(*shapes: Extents) -> Extents:
    """Extents of an elementwise result, by numpy's rule.

    An unknown size beside a known one (not 1) is the known one. A name survives beside itself and beside 1.

    Raises:
        ShapeError: the shapes do not broadcast.
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
    """The extent of an axis on which tensors agree: the size if one knows it, else a name, else None."""
    named = [extent for extent in extents if isinstance(extent, str)]
    return next((e for e in extents if isinstance(e, int)), named[0] if named else None)
