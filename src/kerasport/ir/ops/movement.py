"""Operations that move numbers about and compute none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import NUMPY, DType
from kerasport.ir.ops.elementwise import Mul, matched, mul
from kerasport.ir.tensor import Constant, Extent, Tensor, TensorType, as_tensor, joined
from kerasport.weights import Array, Shape, axis_of

Size: TypeAlias = int | Tensor  # a number, -1 for what is left over, or a scalar known at run time
Part: TypeAlias = tuple[int | None, int | None, int]
"""Begin, end and step along an axis, as in a Python slice."""
WHOLE: Part = (None, None, 1)


@dataclass(frozen=True, eq=False)
class Dim(Tensor):
    """The size of an axis at run time, an int32 scalar."""

    x: Tensor
    axis: int

    def infer(self) -> TensorType:
        return TensorType("int32", ())

    def compute(self, *operands: Any) -> Array:
        return np.asarray(np.shape(operands[0])[self.axis], np.int32)


def dim(x: Tensor, axis: int) -> Size:
    """The size of an axis: a number where it is known."""
    size = x.shape[axis]
    return Dim(x, axis_of(axis, x.rank)) if size is None else size


def dims(x: Tensor) -> tuple[Size, ...]:
    """The sizes of all axes."""
    return tuple(dim(x, axis) for axis in range(x.rank))


def product(sizes: Sequence[Size]) -> Size:
    """How many numbers axes of these sizes hold: a number where it is known."""
    total: Size = prod(size for size in sizes if isinstance(size, int))
    for size in sizes:
        if not isinstance(size, int):
            total = size if isinstance(total, int) and total == 1 else mul(size, total)
    return total


def _static(size: Size) -> int | None:
    """The number that a size is, None where only the run knows it."""
    extent = extent_of(size)
    return None if isinstance(extent, str) else extent


def extent_of(size: Size) -> Extent:
    """The extent of an axis that is made this long."""
    if isinstance(size, Constant):
        return int(size.read())
    if isinstance(size, Dim):
        return size.x.extents[size.axis]
    if isinstance(size, Mul):
        both = factors([extent_of(size.a), extent_of(size.b)])
        return None if both is None else extent_from(both)
    return size if isinstance(size, int) else None


@dataclass(frozen=True, eq=False)
class Reshape(Tensor):
    """The same numbers in another shape; at most one size is -1."""

    x: Tensor
    to: tuple[Size, ...]

    def infer(self) -> TensorType:
        extents = tuple(map(extent_of, self.to))
        if -1 in extents:
            rest = left_over(self.x.extents, [extent for extent in extents if extent != -1])
            extents = tuple(rest if extent == -1 else extent for extent in extents)
        before, after = element_count(self.x.extents), element_count(extents)
        if before is not None and after is not None and before != after:
            raise ShapeError(f"{self.x.type} cannot be reshaped to {self.to}")
        return TensorType(self.x.dtype, extents)

    def compute(self, *operands: Any) -> Array:
        given = iter(operands[1:])
        result: Array = np.reshape(
            operands[0], [s if isinstance(s, int) else int(next(given)) for s in self.to]
        )
        return result


def element_count(extents: Sequence[Extent]) -> int | None:
    """The number of elements in axes of these extents, None if only the run knows it."""
    sizes = [extent for extent in extents if isinstance(extent, int)]
    return prod(sizes) if len(sizes) == len(extents) else None


def left_over(whole: Sequence[Extent], taken: Sequence[Extent]) -> Extent:
    """The extent of one axis for the elements of `whole` that the axes `taken` leave over.

    It may be a product such as `4*batch`, from which a later reshape takes the 4 away again.
    """
    all_, some = factors(whole), factors(taken)
    if all_ is None or some is None or some.names - all_.names:
        return None
    if not all_.names:
        return all_.number // some.number if some.number else 0
    if not some.number or all_.number % some.number:
        return None
    return extent_from(Factors(all_.number // some.number, all_.names - some.names))


class Factors(NamedTuple):
    """A product of a number and of sizes with names."""

    number: int
    names: Counter[str]


def factors(extents: Sequence[Extent]) -> Factors | None:
    """The product of extents, None if one has no name."""
    number, names = 1, Counter[str]()
    for extent in extents:
        if extent is None:
            return None
        for part in str(extent).split("*"):
            if part.isdigit():
                number *= int(part)
            else:
                names[part] += 1
    return Factors(number, names)


def extent_from(product: Factors) -> Extent:
    """A product as one extent: `4*batch`."""
    if not product.names:
        return product.number
    number = [str(product.number)] if product.number != 1 else []
    return "*".join([*number, *sorted(product.names.elements())])


def reshape(x: Tensor, to: Sequence[Size | None]) -> Tensor:
    """`x` in another shape. One size may be -1 or None.

    A single size known only at run time becomes -1 too, unless another size is 0: then -1 could be
    any size.
    """
    sizes: list[Size] = [-1 if size is None else size for size in to]
    sizes = [static if (static := _static(size)) is not None else size for size in sizes]
    unknown = [at for at, size in enumerate(sizes) if not isinstance(size, int)]
    if len(unknown) == 1 and not {0, -1} & set(sizes):
        sizes[unknown[0]] = -1
    if sizes.count(-1) > 1:
        raise ShapeError(
            f"{x.type} cannot be reshaped to {tuple(to)}: more than one size is unknown"
        )
    return x if x.shape == tuple(sizes) else Reshape(x, tuple(sizes))


def flatten_from(x: Tensor, axis: int) -> Tensor:
    """All axes from one on in a single axis."""
    return reshape(x, (*dims(x)[:axis], -1))


def expand_dims(x: Tensor, *axes: int) -> Tensor:
    """New axes of size 1 at these places of the result."""
    rank = x.rank + len(axes)
    places = {axis_of(axis, rank) for axis in axes}
    old = iter(dims(x))
    return reshape(x, tuple(1 if at in places else next(old) for at in range(rank)))


def squeeze(x: Tensor, *axes: int) -> Tensor:
    """Without these axes, which are of size 1; all such axes where none is named."""
    places = {axis_of(axis, x.rank) for axis in axes} or {
        at for at, d in enumerate(x.shape) if d == 1
    }
    return reshape(x, tuple(size for at, size in enumerate(dims(x)) if at not in places))


@dataclass(frozen=True, eq=False)
class Transpose(Tensor):
    """The axes in another order: axis i of the result is axis `order[i]` of x."""

    x: Tensor
    order: tuple[int, ...]

    def infer(self) -> TensorType:
        if sorted(self.order) != list(range(self.x.rank)):
            raise ShapeError(f"{self.order} is not a permutation of the axes of {self.x.type}")
        return TensorType(self.x.dtype, tuple(self.x.extents[axis] for axis in self.order))

    def compute(self, *operands: Any) -> Array:
        result: Array = np.transpose(operands[0], self.order)
        return result


def transpose(x: Tensor, order: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, reversed where none is given."""
    wanted = (
        tuple(axis_of(axis, x.rank) for axis in order)
        if order is not None
        else tuple(reversed(range(x.rank)))
    )
    return x if wanted == tuple(range(x.rank)) else Transpose(x, wanted)


def move_axis(x: Tensor, source: int, destination: int) -> Tensor:
    """One axis at another place, the others in their order."""
    moved = axis_of(source, x.rank)
    order = [at for at in range(x.rank) if at != moved]
    order.insert(axis_of(destination, x.rank), moved)
    return transpose(x, order)


@dataclass(frozen=True, eq=False)
class Slice(Tensor):
    """From `begin` on, `size` numbers of each axis; a size of -1 is all that is left."""

    x: Tensor
    begin: tuple[int, ...]
    size: tuple[int, ...]

    def infer(self) -> TensorType:
        for d, begin, size in zip(self.x.shape, self.begin, self.size, strict=True):
            if d is not None and (begin > d or (size != -1 and begin + size > d)):
                raise ShapeError(f"{self.x.type} has no slice of size {self.size} at {self.begin}")
        parts = zip(self.x.extents, self.begin, self.size, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(*part) for part in parts))

    @staticmethod
    def _extent(whole: Extent, begin: int, size: int) -> Extent:
        if size != -1:
            return size
        if isinstance(whole, int):
            return whole - begin
        return None if begin else whole

    def compute(self, *operands: Any) -> Array:
        parts = (
            slice(b, None if s == -1 else b + s) for b, s in zip(self.begin, self.size, strict=True)
        )
        result: Array = operands[0][tuple(parts)]
        return result


@dataclass(frozen=True, eq=False)
class StridedSlice(Tensor):
    """Python's x[begin:end:step] for each axis; None is open, a negative index counts from the end."""

    x: Tensor
    parts: tuple[tuple[int | None, int | None, int], ...]

    def infer(self) -> TensorType:
        axes = zip(self.x.extents, self.parts, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(whole, part) for whole, part in axes))

    @staticmethod
    def _extent(whole: Extent, part: Part) -> Extent:
        if isinstance(whole, int):
            return len(range(*slice(*part).indices(whole)))
        return whole if part in (WHOLE, (None, None, -1)) else None

    def compute(self, *operands: Any) -> Array:
        result: Array = operands[0][tuple(slice(*part) for part in self.parts)]
        return result


def slice_axis(x: Tensor, axis: int, begin: int, size: int = -1) -> Tensor:
    """A part of one axis, the others whole."""
    at = axis_of(axis, x.rank)
    whole = begin == 0 and size in (-1, x.shape[at])
    begins = tuple(begin if a == at else 0 for a in range(x.rank))
    return x if whole else Slice(x, begins, tuple(size if a == at else -1 for a in range(x.rank)))


def strided(x: Tensor, parts: Sequence[Part]) -> Tensor:
    """x[begin:end:step] for each axis, as a plain slice where it is one."""
    begins, sizes = [], []
    for d, (begin, end, step) in zip(x.shape, parts, strict=True):
        if step != 1 or (d is None and ((begin or 0) < 0 or end is not None)):
            return StridedSlice(x, tuple(parts))
        first, last, _ = slice(begin, end, 1).indices(d) if d is not None else (begin or 0, -1, 1)
        begins.append(first)
        sizes.append(-1 if d is None else max(0, last - first))
    if not any(begins) and all(s in (-1, d) for s, d in zip(sizes, x.shape, strict=True)):
        return x
    return Slice(
        x,
        tuple(begins),
        tuple(-1 if b + s == d else s for b, s, d in zip(begins, sizes, x.shape, strict=True)),
    )


def strided_axis(x: Tensor, axis: int, begin: int | None, end: int | None) -> Tensor:
    """x[begin:end] along one axis, the others whole."""
    at = axis_of(axis, x.rank)
    return strided(x, [(begin, end, 1) if a == at else WHOLE for a in range(x.rank)])


def split(x: Tensor, parts: int, axis: int = -1) -> tuple[Tensor, ...]:
    """x cut into so many parts of one size.

    Raises:
        ShapeError: the axis has no such parts, or no known size.
    """
    size = x.shape[axis]
    if size is None or size % parts:
        raise ShapeError(f"axis {axis} of {x.type} cannot be split into {parts} parts")
    return tuple(slice_axis(x, axis, at * size // parts, size // parts) for at in range(parts))


@dataclass(frozen=True, eq=False)
class Concat(Tensor):
    """The tensors one after the other along an axis."""

    parts: tuple[Tensor, ...]
    axis: int

    def infer(self) -> TensorType:
        sizes = [part.shape[self.axis] for part in self.parts]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        extents: list[Extent] = []
        for at, column in enumerate(zip(*(part.extents for part in self.parts), strict=True)):
            known = {extent for extent in column if isinstance(extent, int)}
            if at != self.axis and len(known) > 1:
                raise ShapeError(
                    f"{', '.join(str(p.type) for p in self.parts)} cannot be concatenated along axis {self.axis}"
                )
            extents.append(total if at == self.axis else joined(*column))
        return TensorType(self.parts[0].dtype, tuple(extents))

    def compute(self, *operands: Any) -> Array:
        return np.concatenate(operands, self.axis)


def concat(parts: Sequence[Any], axis: int = -1) -> Tensor:
    """The tensors one after the other along an axis."""
    tensors = matched(*parts)
    return tensors[0] if len(tensors) == 1 else Concat(tensors, axis_of(axis, tensors[0].rank))


def stack(parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors along a new axis."""
    return concat([expand_dims(part, axis_of(axis, part.rank + 1)) for part in parts], axis)


PadMode: TypeAlias = Literal["constant", "reflect", "symmetric"]


@dataclass(frozen=True, eq=False)
class Pad(Tensor):
    """x with (before, after) numbers more on each axis: `value`, or x itself mirrored."""

    x: Tensor
    paddings: tuple[tuple[int, int], ...]
    mode: PadMode = "constant"
    value: float = 0.0

    def infer(self) -> TensorType:
        axes = zip(self.x.extents, self.paddings, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(whole, pair) for whole, pair in axes))

    @staticmethod
    def _extent(whole: Extent, pair: tuple[int, int]) -> Extent:
        if isinstance(whole, int):
            return whole + sum(pair)
        return None if any(pair) else whole

    def compute(self, *operands: Any) -> Array:
        options: dict[str, Any] = {"constant_values": self.value} if self.mode == "constant" else {}
        return np.pad(operands[0], self.paddings, self.mode, **options)


def pad(
    x: Tensor, paddings: Sequence[tuple[int, int]], mode: PadMode = "constant", value: float = 0.0
) -> Tensor:
    """x with more numbers around it."""
    pairs = tuple((int(before), int(after)) for before, after in paddings)
    return Pad(x, pairs, mode, value) if any(map(any, pairs)) else x


@dataclass(frozen=True, eq=False)
class Tile(Tensor):
    """x repeated so many times along each axis."""

    x: Tensor
    times: tuple[int, ...]

    def infer(self) -> TensorType:
        axes = zip(self.x.extents, self.times, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(whole, times) for whole, times in axes))

    @staticmethod
    def _extent(whole: Extent, times: int) -> Extent:
        if isinstance(whole, int):
            return whole * times
        return whole if times == 1 else None

    def compute(self, *operands: Any) -> Array:
        return np.tile(operands[0], self.times)


def repeat(x: Tensor, times: int, axis: int) -> Tensor:
    """Each number `times` times along an axis: a, a, b, b."""
    at = axis_of(axis, x.rank)
    if times == 1:
        return x
    wide = expand_dims(x, at + 1)
    tiled = Tile(wide, tuple(times if a == at + 1 else 1 for a in range(wide.rank)))
    size = x.shape[at]
    kept = dims(x)
    return reshape(tiled, (*kept[:at], -1 if size is None else size * times, *kept[at + 1 :]))


@dataclass(frozen=True, eq=False)
class BroadcastTo(Tensor):
    """x spread over a larger shape."""

    x: Tensor
    to: tuple[Size, ...]

    def infer(self) -> TensorType:
        result = TensorType(self.x.dtype, tuple(map(extent_of, self.to)))
        sizes = zip(reversed(self.x.shape), reversed(result.shape), strict=False)
        fits = (d in (1, None, size) or size is None for d, size in sizes)
        if result.rank < self.x.rank or not all(fits):
            raise ShapeError(f"{self.x.type} cannot be broadcast to {result}")
        return result

    def compute(self, *operands: Any) -> Array:
        given = iter(operands[1:])
        return np.broadcast_to(
            operands[0], [s if isinstance(s, int) else int(next(given)) for s in self.to]
        )


def broadcast_to(x: Tensor, to: Sequence[Size]) -> Tensor:
    """x spread over a larger shape; x itself where it has it already."""
    sizes = tuple(static if (static := _static(size)) is not None else size for size in to)
    return (
        x
        if len(sizes) == x.rank and all(_is_size(x, *each) for each in enumerate(sizes))
        else BroadcastTo(x, sizes)
    )


def _is_size(x: Tensor, axis: int, size: Size) -> bool:
    if isinstance(size, Dim):
        return size.x is x and size.axis == axis
    return isinstance(size, int) and size == x.shape[axis]


@dataclass(frozen=True, eq=False)
class Gather(Tensor):
    """The slices of x along an axis that the indices name."""

    x: Tensor
    indices: Tensor
    axis: int = 0

    def infer(self) -> TensorType:
        before, after = self.x.extents[: self.axis], self.x.extents[self.axis + 1 :]
        return TensorType(self.x.dtype, (*before, *self.indices.extents, *after))

    def compute(self, *operands: Any) -> Array:
        result: Array = np.take(operands[0], operands[1], self.axis)
        return result


def gather(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """The slices of x along an axis that the indices name."""
    tensor = as_tensor(x)
    return Gather(tensor, matched(indices, least="int32")[0], axis_of(axis, tensor.rank))


@dataclass(frozen=True, eq=False)
class Reverse(Tensor):
    """x turned around along axes."""

    x: Tensor
    axes: tuple[int, ...]

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        return np.flip(operands[0], self.axes)


@dataclass(frozen=True, eq=False)
class OneHot(Tensor):
    """A new last axis that is 1 at the index and 0 elsewhere; all 0 for an index outside."""

    indices: Tensor
    depth: int
    dtype_: DType = "float32"

    def infer(self) -> TensorType:
        return TensorType(self.dtype_, (*self.indices.extents, self.depth))

    def compute(self, *operands: Any) -> Array:
        hot = operands[0][..., None] == np.arange(self.depth)
        result: Array = hot.astype(NUMPY[self.dtype_])
        return result


@dataclass(frozen=True, eq=False)
class Range(Tensor):
    """0, 1, … up to a size that is known at run time."""

    stop: Tensor

    def infer(self) -> TensorType:
        return TensorType("int32", (extent_of(self.stop),))

    def compute(self, *operands: Any) -> Array:
        return np.arange(int(operands[0]), dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Fill(Tensor):
    """One number in a shape that is known at run time."""

    to: tuple[Size, ...]
    value: float
    dtype_: DType = "float32"

    def infer(self) -> TensorType:
        return TensorType(self.dtype_, tuple(map(extent_of, self.to)))

    def compute(self, *operands: Any) -> Array:
        given = iter(operands)
        sizes = [s if isinstance(s, int) else int(next(given)) for s in self.to]
        return np.full(sizes, self.value, NUMPY[self.dtype_])


def shape_of(x: Tensor) -> Shape:
    """Sizes of the axes, None where they are known at run time only."""
    return x.shape
