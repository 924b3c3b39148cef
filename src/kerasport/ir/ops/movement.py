"""Operations that move numbers about and compute none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.ops.elementwise import matched, mul
from kerasport.ir.tensor import Constant, DType, Tensor, TensorType, as_tensor
from kerasport.weights import Array, Shape, axis_of

Size: TypeAlias = int | Tensor  # a number, -1 for what is left over, or a scalar known at run time
Part: TypeAlias = tuple[
    int | None, int | None, int
]  # begin, end and step along an axis, as Python slices
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
    if isinstance(size, Constant):
        return int(size.read())
    return (
        size
        if isinstance(size, int)
        else size.x.shape[size.axis]
        if isinstance(size, Dim)
        else None
    )


@dataclass(frozen=True, eq=False)
class Reshape(Tensor):
    """The same numbers in another shape; at most one size is -1."""

    x: Tensor
    to: tuple[Size, ...]

    def infer(self) -> TensorType:
        sizes = [_static(size) for size in self.to]
        total = None if None in self.x.shape else prod(d for d in self.x.shape if d is not None)
        known = prod(size for size in sizes if size is not None and size != -1)
        if -1 in sizes:
            rest = None if total is None or None in sizes else total // known if known else 0
            if rest is not None and rest * known != (total or 0):
                raise ShapeError(f"{self.x.type} cannot be reshaped to {self.to}")
            return TensorType(self.x.dtype, tuple(rest if size == -1 else size for size in sizes))
        if total is not None and None not in sizes and total != known:
            raise ShapeError(f"{self.x.type} cannot be reshaped to {self.to}")
        return TensorType(self.x.dtype, tuple(sizes))

    def compute(self, *operands: Any) -> Array:
        given = iter(operands[1:])
        result: Array = np.reshape(
            operands[0], [s if isinstance(s, int) else int(next(given)) for s in self.to]
        )
        return result


def reshape(x: Tensor, to: Sequence[Size | None]) -> Tensor:
    """x in another shape. One size may be -1 or None; a single size of run time is written as -1 too."""
    sizes: list[Size] = [-1 if size is None else size for size in to]
    sizes = [static if (static := _static(size)) is not None else size for size in sizes]
    unknown = [at for at, size in enumerate(sizes) if not isinstance(size, int)]
    if len(unknown) == 1 and -1 not in sizes:
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
        return TensorType(self.x.dtype, tuple(self.x.shape[axis] for axis in self.order))

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
        taken: list[int | None] = []
        for d, begin, size in zip(self.x.shape, self.begin, self.size, strict=True):
            if d is not None and (begin > d or (size != -1 and begin + size > d)):
                raise ShapeError(f"{self.x.type} has no slice of size {self.size} at {self.begin}")
            taken.append(size if size != -1 else None if d is None else d - begin)
        return TensorType(self.x.dtype, tuple(taken))

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
        sizes = (self._size(d, part) for d, part in zip(self.x.shape, self.parts, strict=True))
        return TensorType(self.x.dtype, tuple(sizes))

    @staticmethod
    def _size(d: int | None, part: tuple[int | None, int | None, int]) -> int | None:
        if d is not None:
            return len(range(*slice(*part).indices(d)))
        return None

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
        shape: list[int | None] = []
        for at, column in enumerate(zip(*(part.shape for part in self.parts), strict=True)):
            known = {d for d in column if d is not None}
            if at != self.axis and len(known) > 1:
                raise ShapeError(
                    f"{', '.join(str(p.type) for p in self.parts)} cannot be concatenated along axis {self.axis}"
                )
            shape.append(total if at == self.axis else known.pop() if known else None)
        return TensorType(self.parts[0].dtype, tuple(shape))

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
        pairs = zip(self.x.shape, self.paddings, strict=True)
        return TensorType(self.x.dtype, tuple(None if d is None else d + sum(p) for d, p in pairs))

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
        pairs = zip(self.x.shape, self.times, strict=True)
        return TensorType(self.x.dtype, tuple(None if d is None else d * n for d, n in pairs))

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
        shape = tuple(_static(size) for size in self.to)
        if len(shape) < self.x.rank or any(
            d not in (1, None, size) and size is not None
            for d, size in zip(reversed(self.x.shape), reversed(shape), strict=False)
        ):
            raise ShapeError(
                f"{self.x.type} cannot be broadcast to {TensorType(self.x.dtype, shape)}"
            )
        return TensorType(self.x.dtype, shape)

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
        shape = self.x.shape
        return TensorType(
            self.x.dtype, (*shape[: self.axis], *self.indices.shape, *shape[self.axis + 1 :])
        )

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
        return TensorType(self.dtype_, (*self.indices.shape, self.depth))

    def compute(self, *operands: Any) -> Array:
        hot = operands[0][..., None] == np.arange(self.depth)
        result: Array = hot.astype(
            {"float32": np.float32, "int32": np.int32, "bool": np.bool_}[self.dtype_]
        )
        return result


@dataclass(frozen=True, eq=False)
class Range(Tensor):
    """0, 1, … up to a size that is known at run time."""

    stop: Tensor

    def infer(self) -> TensorType:
        static = _static(self.stop)
        return TensorType("int32", (static,))

    def compute(self, *operands: Any) -> Array:
        return np.arange(int(operands[0]), dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Fill(Tensor):
    """One number in a shape that is known at run time."""

    to: tuple[Size, ...]
    value: float
    dtype_: DType = "float32"

    def infer(self) -> TensorType:
        return TensorType(self.dtype_, tuple(_static(size) for size in self.to))

    def compute(self, *operands: Any) -> Array:
        given = iter(operands)
        sizes = [s if isinstance(s, int) else int(next(given)) for s in self.to]
        return np.full(
            sizes,
            self.value,
            {"float32": np.float32, "int32": np.int32, "bool": np.bool_}[self.dtype_],
        )


def shape_of(x: Tensor) -> Shape:
    """Sizes of the axes, None where they are known at run time only."""
    return x.shape
