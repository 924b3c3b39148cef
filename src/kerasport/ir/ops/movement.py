"""Operations that move elements without computing new values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import FLOATS, INTEGERS, NUMPY, DType
from kerasport.ir.ops.elementwise import Abs, Cast, Ceil, Mul, add, cast, div, matched, mul, sub
from kerasport.ir.tensor import (
    Constant,
    Extent,
    Node,
    Tensor,
    TensorType,
    as_tensor,
    expect,
    joined,
)
from kerasport.weights import Array, Shape, axis_of

Size: TypeAlias = int | Tensor
"""Size of an axis: a number, -1 for the remaining elements, or a scalar known only at run time."""
Part: TypeAlias = tuple[Size | None, Size | None, int]
"""Begin, end and step along an axis, as in a Python slice.

Begin and end may be scalars known only at run time.
"""
WHOLE: Part = (None, None, 1)
"""All elements of an axis."""


class Dim(Tensor):
    """The size of an axis at run time, an int32 scalar."""

    x: Tensor
    axis: int

    def infer(self) -> TensorType:
        return TensorType("int32", ())

    def compute(self, *operands: Any) -> Array:
        return np.asarray(np.shape(operands[0])[self.axis], np.int32)


def dim(x: Tensor, axis: int) -> Size:
    """The size of an axis: a number if it is known, else a `Dim`."""
    size = x.shape[axis]
    return Dim(x, axis_of(axis, x.rank)) if size is None else size


def dims(x: Tensor) -> tuple[Size, ...]:
    """The size of each axis: a number if it is known, else a `Dim`."""
    return tuple(dim(x, axis) for axis in range(x.rank))


def product(sizes: Sequence[Size]) -> Size:
    """The number of elements of axes of these sizes; a scalar if it is known only at run time."""
    total: Size = prod(size for size in sizes if isinstance(size, int))
    for size in sizes:
        if not isinstance(size, int):
            total = size if isinstance(total, int) and total == 1 else mul(size, total)
    return total


def _static(size: Size) -> int | None:
    """The size as a number, or None if it is known only at run time."""
    extent = extent_of(size)
    return None if isinstance(extent, str) else extent


def extent_of(size: Size) -> Extent:
    """The extent of an axis of this size."""
    if isinstance(size, Constant):
        return int(size.read())
    if isinstance(size, Dim):
        return size.x.extents[size.axis]
    if isinstance(size, Mul):
        both = factors([extent_of(size.a), extent_of(size.b)])
        return None if both is None else extent_from(both)
    return size if isinstance(size, int) else None


def expect_sizes(node: Node, *sizes: Size | None) -> None:
    """Check that each size that is a tensor is an integer scalar.

    Raises:
        ShapeError: a size has another element type or shape.
    """
    for size in sizes:
        if isinstance(size, Tensor):
            expect(node, size, INTEGERS)
            if size.rank:
                raise ShapeError(f"a size is a scalar, not {size.type}")


def _numbers(sizes: Sequence[Size], operands: Iterator[Any]) -> list[int]:
    """Sizes as numbers; `operands` are the values of those that are tensors."""
    return [size if isinstance(size, int) else int(next(operands)) for size in sizes]


def sizes_of(vector: Tensor) -> tuple[Size, ...]:
    """The elements of an integer vector [n] as sizes: numbers where they are known.

    Raises:
        ShapeError: the tensor is not a vector of integers, or n is known only at run time.
    """
    count = vector.shape[0] if vector.rank == 1 else None
    if count is None or vector.dtype not in INTEGERS:
        raise ShapeError(f"sizes are a vector of integers of a known length, not {vector.type}")
    if isinstance(vector, Constant):
        return tuple(int(number) for number in vector.read())
    if isinstance(vector, Concat):
        return tuple(size for part in vector.parts for size in sizes_of(part))
    if isinstance(vector, Reshape) and vector.x.rank == 0:
        return (vector.x,)
    return tuple(reshape(Slice(vector, (i,), (1,)), ()) for i in range(count))


class Reshape(Tensor):
    """`x` in the shape `to`, with its elements in the same order. At most one size is -1."""

    x: Tensor
    to: tuple[Size, ...]

    def infer(self) -> TensorType:
        expect_sizes(self, *self.to)
        extents = tuple(map(extent_of, self.to))
        if -1 in extents:
            rest = left_over(self.x.extents, [extent for extent in extents if extent != -1])
            extents = tuple(rest if extent == -1 else extent for extent in extents)
        before, after = element_count(self.x.extents), element_count(extents)
        if before is not None and after is not None and before != after:
            raise ShapeError(f"{self.x.type} cannot be reshaped to {self.to}")
        return TensorType(self.x.dtype, extents)

    def compute(self, *operands: Any) -> Array:
        result: Array = np.reshape(operands[0], _numbers(self.to, iter(operands[1:])))
        return result


def element_count(extents: Sequence[Extent]) -> int | None:
    """The number of elements in axes of these extents, None if it is known only at run time."""
    sizes = [extent for extent in extents if isinstance(extent, int)]
    return prod(sizes) if len(sizes) == len(extents) else None


def left_over(whole: Sequence[Extent], taken: Sequence[Extent]) -> Extent:
    """The extent of the axis that, with the axes `taken`, has as many elements as `whole`.

    It may be a product such as `4*batch`. A later reshape may divide it by 4 again.
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
    """A product of a number and named sizes; `names` counts how often each name is a factor."""

    number: int
    names: Counter[str]


def factors(extents: Sequence[Extent]) -> Factors | None:
    """The product of extents, None if one is unknown and has no name."""
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
    """A product as one extent, such as `4*batch`."""
    if not product.names:
        return product.number
    number = [str(product.number)] if product.number != 1 else []
    return "*".join([*number, *sorted(product.names.elements())])


def reshape(x: Tensor, to: Sequence[Size | None]) -> Tensor:
    """`x` in another shape. At most one size is -1 or None.

    If exactly one size is known only at run time, it becomes -1. This is not possible if another
    size is 0, because -1 could be any size then.

    Raises:
        ShapeError: more than one size is unknown, or the number of elements differs.
    """
    sizes: list[Size] = [-1 if size is None else size for size in to]
    sizes = [static if (static := _static(size)) is not None else size for size in sizes]
    unknown = [axis for axis, size in enumerate(sizes) if not isinstance(size, int)]
    if len(unknown) == 1 and not {0, -1} & set(sizes):
        sizes[unknown[0]] = -1
    if sizes.count(-1) > 1:
        raise ShapeError(
            f"{x.type} cannot be reshaped to {tuple(to)}: more than one size is unknown"
        )
    return x if x.shape == tuple(sizes) else Reshape(x, tuple(sizes))


def flatten_from(x: Tensor, axis: int) -> Tensor:
    """`x` with `axis` and all axes after it combined into one."""
    return reshape(x, (*dims(x)[:axis], -1))


def expand_dims(x: Tensor, *axes: int) -> Tensor:
    """`x` with new axes of size 1, at these positions in the result."""
    rank = x.rank + len(axes)
    places = {axis_of(axis, rank) for axis in axes}
    old = iter(dims(x))
    return reshape(x, tuple(1 if axis in places else next(old) for axis in range(rank)))


def squeeze(x: Tensor, *axes: int) -> Tensor:
    """`x` without these axes of size 1; without arguments, without every axis of size 1."""
    places = {axis_of(axis, x.rank) for axis in axes} or {
        axis for axis, d in enumerate(x.shape) if d == 1
    }
    return reshape(x, tuple(size for axis, size in enumerate(dims(x)) if axis not in places))


class Transpose(Tensor):
    """`x` with its axes in another order: axis i of the result is axis `order[i]` of `x`."""

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
    """`x` with its axes in the given order, or in reverse order by default."""
    wanted = (
        tuple(axis_of(axis, x.rank) for axis in order)
        if order is not None
        else tuple(reversed(range(x.rank)))
    )
    return x if wanted == tuple(range(x.rank)) else Transpose(x, wanted)


def move_axis(x: Tensor, source: int, destination: int) -> Tensor:
    """`x` with the axis `source` moved to `destination`; the other axes keep their order."""
    moved = axis_of(source, x.rank)
    order = [axis for axis in range(x.rank) if axis != moved]
    order.insert(axis_of(destination, x.rank), moved)
    return transpose(x, order)


class Slice(Tensor):
    """`size` elements of each axis, starting at `begin`; a size of -1 means up to the end.

    Both may be scalars known only at run time, also a size of -1. The slice must be inside of `x`.
    Source: `tf.slice`.
    """

    x: Tensor
    begin: tuple[Size, ...]
    size: tuple[Size, ...]

    def infer(self) -> TensorType:
        expect_sizes(self, *self.begin, *self.size)
        axes = list(zip(self.x.shape, self.begin, self.size, strict=True))
        for whole, begin, size in axes:
            if whole is None or not isinstance(begin, int) or not isinstance(size, int):
                continue
            if begin > whole or (size != -1 and begin + size > whole):
                raise ShapeError(f"{self.x.type} has no slice of size {self.size} at {self.begin}")
        parts = zip(self.x.extents, self.begin, self.size, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(*part) for part in parts))

    @staticmethod
    def _extent(whole: Extent, begin: Size, size: Size) -> Extent:
        if size != -1:
            extent = extent_of(size)
            return None if extent == -1 else extent
        if isinstance(whole, int) and isinstance(begin, int):
            return whole - begin
        return whole if begin == 0 else None

    def compute(self, *operands: Any) -> Array:
        rest = iter(operands[1:])
        begins, sizes = _numbers(self.begin, rest), _numbers(self.size, rest)
        parts = (slice(b, None if s == -1 else b + s) for b, s in zip(begins, sizes, strict=True))
        result: Array = operands[0][tuple(parts)]
        return result


class StridedSlice(Tensor):
    """x[begin:end:step] for each axis, with the meaning of None and negative values in Python.

    Source: `tf.strided_slice`, in which None is a bit of `begin_mask` or `end_mask`.
    """

    x: Tensor
    parts: tuple[Part, ...]

    def infer(self) -> TensorType:
        for begin, end, _ in self.parts:
            expect_sizes(self, begin, end)
        axes = zip(self.x.extents, self.parts, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(whole, part) for whole, part in axes))

    @staticmethod
    def _extent(whole: Extent, part: Part) -> Extent:
        begin, end, step = part
        if isinstance(begin, Tensor) or isinstance(end, Tensor):
            return None
        if isinstance(whole, int):
            return len(range(*slice(begin, end, step).indices(whole)))
        return whole if part in (WHOLE, (None, None, -1)) else None

    def compute(self, *operands: Any) -> Array:
        rest = iter(operands[1:])

        def position(value: Size | None) -> int | None:
            return int(next(rest)) if isinstance(value, Tensor) else value

        parts = [slice(position(begin), position(end), step) for begin, end, step in self.parts]
        result: Array = operands[0][tuple(parts)]
        return result


def slice_axis(x: Tensor, axis: int, begin: Size, size: Size = -1) -> Tensor:
    """`size` elements of one axis, starting at `begin`; a size of -1 means up to the end."""
    number = axis_of(axis, x.rank)
    if begin == 0 and (size == -1 or _is_size(x, number, size)):
        return x
    begins = tuple(begin if i == number else 0 for i in range(x.rank))
    return Slice(x, begins, tuple(size if i == number else -1 for i in range(x.rank)))


def strided(x: Tensor, parts: Sequence[Part]) -> Tensor:
    """x[begin:end:step] for each axis: a `Slice` if possible, else a `StridedSlice`."""
    begins: list[int] = []
    sizes: list[int] = []
    for d, (begin, end, step) in zip(x.shape, parts, strict=True):
        if isinstance(begin, Tensor) or isinstance(end, Tensor):
            return StridedSlice(x, tuple(parts))
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


def strided_axis(x: Tensor, axis: int, begin: Size | None, end: Size | None) -> Tensor:
    """x[begin:end] along one axis."""
    along = axis_of(axis, x.rank)
    return strided(x, [(begin, end, 1) if a == along else WHOLE for a in range(x.rank)])


def split(x: Tensor, parts: int, axis: int = -1) -> tuple[Tensor, ...]:
    """`x` split along an axis into `parts` tensors of the same shape.

    Raises:
        ShapeError: the size of the axis is unknown or not a multiple of `parts`.
    """
    size = x.shape[axis]
    if size is None or parts < 1 or size % parts:
        raise ShapeError(f"axis {axis} of {x.type} cannot be split into {parts} parts")
    return tuple(slice_axis(x, axis, i * size // parts, size // parts) for i in range(parts))


class Concat(Tensor):
    """The concatenation of tensors along an axis."""

    parts: tuple[Tensor, ...]
    axis: int

    def infer(self) -> TensorType:
        sizes = [part.shape[self.axis] for part in self.parts]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        extents: list[Extent] = []
        for axis, column in enumerate(zip(*(part.extents for part in self.parts), strict=True)):
            known = {extent for extent in column if isinstance(extent, int)}
            if axis != self.axis and len(known) > 1:
                raise ShapeError(
                    f"{', '.join(str(p.type) for p in self.parts)} cannot be concatenated along "
                    f"axis {self.axis}"
                )
            extents.append(total if axis == self.axis else joined(*column))
        return TensorType(self.parts[0].dtype, tuple(extents))

    def compute(self, *operands: Any) -> Array:
        return np.concatenate(operands, self.axis)


def concat(parts: Sequence[Any], axis: int = -1) -> Tensor:
    """The concatenation of tensors along an axis, promoted to one element type."""
    tensors = matched(*parts)
    return tensors[0] if len(tensors) == 1 else Concat(tensors, axis_of(axis, tensors[0].rank))


def stack(parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of the same shape, joined along a new axis."""
    return concat([expand_dims(part, axis_of(axis, part.rank + 1)) for part in parts], axis)


PadMode: TypeAlias = Literal["constant", "reflect", "symmetric"]


class Pad(Tensor):
    """`x` with (before, after) more elements on each axis.

    The new elements are `value` if the mode is "constant". Otherwise, they mirror `x`.
    """

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
    """`x` with (before, after) more elements on each axis, or `x` itself if there are none."""
    pairs = tuple((int(before), int(after)) for before, after in paddings)
    return Pad(x, pairs, mode, value) if any(map(any, pairs)) else x


class Tile(Tensor):
    """`x` repeated `times[i]` times along axis i: a, b, a, b."""

    x: Tensor
    times: tuple[Size, ...]

    def infer(self) -> TensorType:
        expect_sizes(self, *self.times)
        axes = zip(self.x.extents, self.times, strict=True)
        return TensorType(self.x.dtype, tuple(self._extent(whole, times) for whole, times in axes))

    @staticmethod
    def _extent(whole: Extent, times: Size) -> Extent:
        if isinstance(whole, int) and isinstance(times, int):
            return whole * times
        if whole == 1:
            return extent_of(times)
        return whole if times == 1 else None

    def compute(self, *operands: Any) -> Array:
        return np.tile(operands[0], _numbers(self.times, iter(operands[1:])))


def repeat(x: Tensor, times: int, axis: int) -> Tensor:
    """`x` with each element repeated `times` times along an axis: a, a, b, b."""
    along = axis_of(axis, x.rank)
    if times == 1:
        return x
    wide = expand_dims(x, along + 1)
    tiled = Tile(wide, tuple(times if a == along + 1 else 1 for a in range(wide.rank)))
    size = x.shape[along]
    kept = dims(x)
    return reshape(tiled, (*kept[:along], -1 if size is None else size * times, *kept[along + 1 :]))


class BroadcastTo(Tensor):
    """`x` broadcast to the shape `to`."""

    x: Tensor
    to: tuple[Size, ...]

    def infer(self) -> TensorType:
        expect_sizes(self, *self.to)
        result = TensorType(self.x.dtype, tuple(map(extent_of, self.to)))
        sizes = zip(reversed(self.x.shape), reversed(result.shape), strict=False)
        fits = (d in (1, None, size) or size is None for d, size in sizes)
        if result.rank < self.x.rank or not all(fits):
            raise ShapeError(f"{self.x.type} cannot be broadcast to {result}")
        return result

    def compute(self, *operands: Any) -> Array:
        return np.broadcast_to(operands[0], _numbers(self.to, iter(operands[1:])))


def broadcast_to(x: Tensor, to: Sequence[Size]) -> Tensor:
    """`x` broadcast to the shape `to`, or `x` itself if that is its shape."""
    sizes = tuple(static if (static := _static(size)) is not None else size for size in to)
    return (
        x
        if len(sizes) == x.rank and all(_is_size(x, *extent) for extent in enumerate(sizes))
        else BroadcastTo(x, sizes)
    )


def _is_size(x: Tensor, axis: int, size: Size) -> bool:
    if isinstance(size, Dim):
        return size.x is x and size.axis == axis
    return isinstance(size, int) and size == x.shape[axis]


class Gather(Tensor):
    """The slices of `x` at the given indices of an axis.

    The axes of `indices` replace this axis in the result. The first `batch_dims` axes of both are
    the same: position p of these axes of `indices` selects slices of position p of `x`. Source:
    `tf.gather`.
    """

    x: Tensor
    indices: Tensor
    axis: int = 0
    batch_dims: int = 0

    def infer(self) -> TensorType:
        batch = self.batch_dims
        if not 0 <= batch <= min(self.axis, self.indices.rank):
            raise ShapeError(
                f"{batch} batch dimensions of {self.x.type} and {self.indices.type} along axis "
                f"{self.axis}"
            )
        shared = zip(self.x.extents[:batch], self.indices.extents[:batch], strict=True)
        front = tuple(joined(*pair) for pair in shared)
        between, after = self.x.extents[batch : self.axis], self.x.extents[self.axis + 1 :]
        return TensorType(self.x.dtype, (*front, *between, *self.indices.extents[batch:], *after))

    def compute(self, *operands: Any) -> Array:
        x, indices = operands
        front = x.shape[: self.batch_dims]
        if not front or 0 in front:
            empty = (*front, *x.shape[len(front) : self.axis], *indices.shape[len(front) :])
            shape = (*empty, *x.shape[self.axis + 1 :])
            result: Array = (
                np.take(x, indices, self.axis) if not front else np.zeros(shape, x.dtype)
            )
            return result
        axis = self.axis - len(front)
        rows = [np.take(x[place], indices[place], axis) for place in np.ndindex(front)]
        return np.reshape(np.stack(rows), (*front, *rows[0].shape))


def gather(x: Any, indices: Any, axis: int = 0, batch_dims: int = 0) -> Tensor:
    """The slices of `x` at the given indices of an axis, as a `Gather`."""
    tensor = as_tensor(x)
    places = matched(indices, least="int32")[0]
    return Gather(tensor, places, axis_of(axis, tensor.rank), batch_dims)


class Reverse(Tensor):
    """`x` with the order of elements reversed along axes."""

    x: Tensor
    axes: tuple[int, ...]

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        return np.flip(operands[0], self.axes)


class OneHot(Tensor):
    """One-hot encoding of `indices` [...]: [..., depth].

    The new last axis is 1 at the index and 0 elsewhere. It is 0 everywhere if the index is not in
    0 … depth - 1.
    """

    indices: Tensor
    depth: int
    dtype_: DType = "float32"

    def infer(self) -> TensorType:
        return TensorType(self.dtype_, (*self.indices.extents, self.depth))

    def compute(self, *operands: Any) -> Array:
        hot = operands[0][..., None] == np.arange(self.depth)
        result: Array = hot.astype(NUMPY[self.dtype_])
        return result


class Range(Tensor):
    """The integers from `start` to `stop`, without `stop`, in steps of `step`: [n].

    The operands are scalars of int32 or int64. `start` is 0 and `step` 1 if they are None. `step`
    is not 0, and `stop` is not on the other side of `start`. Source: `tf.range`.
    """

    stop: Tensor
    start: Tensor | None = None
    step: Tensor | None = None

    def infer(self) -> TensorType:
        expect(self, self.stop, ("int32", "int64"))
        for operand in (self.stop, self.start, self.step):
            if operand is not None:
                expect(self, operand, (self.stop.dtype,))
                expect_sizes(self, operand)
        plain = self.start is None and self.step is None
        return TensorType(self.stop.dtype, (extent_of(self.stop) if plain else self._count(),))

    def _count(self) -> int | None:
        """The number of integers, None if it is known only at run time."""
        known = [extent_of(x) for x in (self.stop, self.start, self.step) if x is not None]
        if not all(isinstance(extent, int) for extent in known):
            return None
        operands = (x for x in (self.stop, self.start, self.step) if isinstance(x, Constant))
        return len(self.compute(*(operand.read() for operand in operands)))

    def compute(self, *operands: Any) -> Array:
        """The integers.

        Raises:
            ValueError: `step` is 0, or `stop` is on the other side of `start`.
        """
        stop, *rest = (int(operand) for operand in operands)
        start = rest.pop(0) if self.start is not None else 0
        step = rest.pop(0) if self.step is not None else 1
        if step == 0 or (stop - start) * step < 0:
            raise ValueError(f"there is no range from {start} to {stop} in steps of {step}")
        return np.arange(start, stop, step, dtype=NUMPY[self.stop.dtype])


def arange(start: Any, stop: Any, step: Any = 1) -> Tensor:
    """The numbers start + i · step before `stop`, for i from 0: [n], in one element type.

    The arguments are scalars, possibly known only at run time. Their number is ⌈|stop - start| /
    |step|⌉, computed in their element type as in `tf.range`.
    """
    first, last, between = matched(start, stop, step, least="int32")
    if first.dtype not in FLOATS:
        if first.dtype not in ("int32", "int64"):
            return cast(arange(*(cast(x, "int32") for x in (first, last, between))), first.dtype)
        is_plain = isinstance(first, Constant) and int(first.read()) == 0
        if is_plain and isinstance(between, Constant) and int(between.read()) == 1:
            return Range(last)
        return Range(last, first, between)
    count = Cast(Ceil(Abs(div(sub(last, first), between))), "int32")
    return add(mul(Cast(Range(count), first.dtype), between), first)


class Fill(Tensor):
    """A tensor of the shape `to`, in which every element is `value`."""

    to: tuple[Size, ...]
    value: float
    dtype_: DType = "float32"

    def infer(self) -> TensorType:
        expect_sizes(self, *self.to)
        return TensorType(self.dtype_, tuple(map(extent_of, self.to)))

    def compute(self, *operands: Any) -> Array:
        return np.full(_numbers(self.to, iter(operands)), self.value, NUMPY[self.dtype_])


def shape_of(x: Tensor) -> Shape:
    """The size of each axis, None if it is known only at run time."""
    return x.shape
