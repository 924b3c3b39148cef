"""Functions that move elements: reshape, join, split, index.

The result has the dtype of x, or the promoted dtype of several tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions.arguments import (
    counted,
    flat,
    known_value,
    several,
    size,
    summed_dtype,
)
from kerasport.ir import ops
from kerasport.ir.ops import WHOLE, Tensor, where
from kerasport.ir.ops.movement import Part, Size
from kerasport.ir.tensor import as_tensor, constant
from kerasport.weights import axis_of

# ------------------------------------------------------------------------------------------- shapes


def reshape(x: Tensor, *, newshape: Any) -> Tensor:
    """Reshape x; one size may be -1."""
    wanted = tuple(newshape) if isinstance(newshape, Sequence) else (newshape,)
    if None in wanted and (wanted.count(None) > 1 or -1 in wanted):
        # An unknown size, which Keras saved unchanged.
        wanted = tuple(ops.dim(x, axis) if n is None else n for axis, n in enumerate(wanted))
    return ops.reshape(x, wanted)


def transpose(x: Tensor, *, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes; reverse them by default."""
    return ops.transpose(x, axes)


def squeeze(x: Tensor, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of size 1."""
    if axis is None:
        return ops.squeeze(x) if 1 in x.shape else x
    axes = several(axis, x.rank)
    if any(x.shape[axis] not in (1, None) for axis in axes):
        raise ShapeError(f"not all axes {axes} of {x.type} have size 1")
    return ops.squeeze(x, *axes) if axes else x


def expand_dims(x: Tensor, *, axis: int | Sequence[int]) -> Tensor:
    """Insert axes of size 1."""
    return ops.expand_dims(x, *((axis,) if isinstance(axis, int) else axis))


def swapaxes(x: Tensor, *, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    order = list(range(x.rank))
    one, two = axis_of(axis1, x.rank), axis_of(axis2, x.rank)
    order[one], order[two] = two, one
    return ops.transpose(x, order)


def moveaxis(x: Tensor, *, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other positions; the other axes keep their order."""
    places = dict(zip(several(destination, x.rank), several(source, x.rank), strict=True))
    rest = iter(axis for axis in range(x.rank) if axis not in places.values())
    return ops.transpose(
        x, [places[axis] if axis in places else next(rest) for axis in range(x.rank)]
    )


def ravel(x: Tensor) -> Tensor:
    """Flatten x to one axis."""
    return flat(x)


def broadcast_to(x: Any, *, shape: Sequence[int | None]) -> Tensor:
    """Broadcast x to a larger shape."""
    tensor = as_tensor(x)
    missing = len(shape) - tensor.rank
    sizes = [
        ops.dim(tensor, i - missing) if n in (None, -1) and i >= missing else n
        for i, n in enumerate(shape)
    ]
    return ops.broadcast_to(tensor, [1 if n is None else n for n in sizes])


def flip(x: Tensor, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """Reverse the order along axes; along all of them by default."""
    return ops.Reverse(x, tuple(sorted(several(axis, x.rank))))


def roll(
    x: Tensor, *, shift: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Tensor:
    """Shift elements along axes; those that leave at one end enter at the other."""
    if axis is None:
        return ops.reshape(roll(flat(x), shift=shift, axis=0), ops.dims(x))
    axes, shifts = several(axis, x.rank), tuple(shift) if isinstance(shift, Sequence) else (shift,)
    count = max(len(axes), len(shifts))
    axes, shifts = (values * count if len(values) == 1 else values for values in (axes, shifts))
    for along, by in zip(axes, shifts, strict=True):
        length = size(x, along, "axis")
        ahead = by % length if length else 0
        if ahead:
            x = ops.concat(
                [
                    ops.slice_axis(x, along, length - ahead),
                    ops.slice_axis(x, along, 0, length - ahead),
                ],
                along,
            )
    return x


def rot90(array: Tensor, *, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Rotate by `k` right angles in the plane of two axes."""
    one, two = several(axes, array.rank)
    if k % 4 == 2:
        return ops.Reverse(array, tuple(sorted((one, two))))
    if k % 4 == 0:
        return array
    swapped = swapaxes(array, axis1=one, axis2=two)
    return ops.Reverse(swapped, (one if k % 4 == 1 else two,))


def tile(x: Tensor, *, repeats: int | Sequence[int]) -> Tensor:
    """Repeat the whole tensor along each axis."""
    times = tuple(repeats) if isinstance(repeats, Sequence) else (repeats,)
    times = (1,) * (x.rank - len(times)) + times
    wide = ops.expand_dims(x, *range(len(times) - x.rank)) if len(times) > x.rank else x
    return ops.Tile(wide, times)


def repeat(x: Tensor, *, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis: a, a, b, b."""
    y, along = (flat(x), 0) if axis is None else (x, axis_of(axis, x.rank))
    times = np.atleast_1d(known_value(repeats, "repeats"))
    if times.size == 1:
        return ops.repeat(y, int(times[0]), along)
    reserve(size(y, along, "axis"), itemsize=8)
    reserve(int(times.sum()), itemsize=8)
    return ops.gather(
        y, constant(np.repeat(np.arange(size(y, along, "axis")), times).astype(np.int32)), along
    )


# -------------------------------------------------------------------------------------------- joins


def at_least(rank: int) -> Callable[[Any], Tensor]:
    """Return a lowering that adds axes of size 1 up to a rank, as `numpy.atleast_3d`."""

    def raised(x: Any) -> Tensor:
        tensor = as_tensor(x)
        while tensor.rank < rank:
            tensor = ops.expand_dims(tensor, 2 if tensor.rank == 2 else 0)
        return tensor

    return raised


def concatenate(xs: Sequence[Any], *, axis: int | None = 0) -> Tensor:
    """Concatenate tensors along an axis."""
    if axis is None:
        return ops.concat([flat(as_tensor(x)) for x in xs], 0)
    return ops.concat([as_tensor(x) for x in xs], axis)


def stack(x: Sequence[Any], *, axis: int = 0) -> Tensor:
    """Stack tensors along a new axis."""
    parts = ops.matched(*x)
    rank = max(part.rank for part in parts)
    return ops.stack(parts, axis_of(axis, rank + 1))


def hstack(xs: Sequence[Any]) -> Tensor:
    """Concatenate along the second axis (vectors along the first), as `numpy.hstack`."""
    parts = [at_least(1)(x) for x in xs]
    return ops.concat(parts, 0 if parts[0].rank == 1 else 1)


def vstack(xs: Sequence[Any]) -> Tensor:
    """Concatenate rows along the first axis, as `numpy.vstack`."""
    return ops.concat([at_least(2)(x) for x in xs], 0)


def column_stack(xs: Sequence[Any]) -> Tensor:
    """Concatenate along the second axis, with vectors as columns."""
    parts = ops.matched(*xs)
    return ops.concat([ops.expand_dims(part, 1) if part.rank == 1 else part for part in parts], 1)


def dstack(xs: Sequence[Any]) -> Tensor:
    """Stack along a new third axis, as `numpy.dstack`."""
    parts = [at_least(2)(x) for x in xs]
    return ops.concat([ops.expand_dims(p, 2) if p.rank == 2 else p for p in parts], 2)


def append(x1: Any, x2: Any, *, axis: int | None = None) -> Tensor:
    """Concatenate x1 and x2 along an axis, or flattened if there is none."""
    return concatenate((x1, x2), axis=axis)


def meshgrid(*x: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return the coordinates of all points of a grid, one tensor for each axis."""
    lines = [flat(as_tensor(points)) for points in x]
    swapped = indexing == "xy" and len(lines) > 1
    places = [1, 0, *range(2, len(lines))] if swapped else list(range(len(lines)))
    sizes: list[Size] = [0] * len(lines)
    for line, axis in zip(lines, places, strict=True):
        sizes[axis] = ops.dim(line, 0)
    shapes = ((*(1,) * axis, -1, *(1,) * (len(lines) - axis - 1)) for axis in places)
    return tuple(
        ops.broadcast_to(ops.reshape(line, shape), sizes)
        for line, shape in zip(lines, shapes, strict=True)
    )


# ------------------------------------------------------------------------------------------- splits


def split(
    x: Tensor, *, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """Split x into a number of equal parts, or at the given positions."""
    along = axis_of(axis, x.rank)
    if isinstance(indices_or_sections, int):
        return ops.split(x, indices_or_sections, along)
    edges: list[int | None] = [None, *indices_or_sections, None]
    return tuple(ops.strided_axis(x, along, begin, end) for begin, end in pairwise(edges))


def array_split(
    x: Tensor, *, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """Split x into parts; if it does not divide evenly, the first parts are longer by one."""
    if not isinstance(indices_or_sections, int):
        return split(x, indices_or_sections=indices_or_sections, axis=axis)
    length, count = size(x, axis, "axis"), indices_or_sections
    if count < 1:
        raise ShapeError(f"an axis cannot be split into {count} parts")
    sizes = [length // count + (i < length % count) for i in range(count)]
    return split(x, indices_or_sections=[sum(sizes[:i]) for i in range(1, count)], axis=axis)


def splitting(axis: int) -> Callable[..., tuple[Tensor, ...]]:
    """Return the lowering of a split along one axis; vectors are split along the first."""

    def lower(x: Tensor, *, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
        return split(x, indices_or_sections=indices_or_sections, axis=min(axis, x.rank - 1))

    return lower


def unstack(x: Tensor, *, num: int | None = None, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the slices along an axis, without that axis."""
    count = size(x, axis, "num") if num is None else num
    if x.shape[axis] not in (None, count):
        raise ShapeError(f"num is {num}, but the axis has size {x.shape[axis]}")
    return tuple(ops.squeeze(ops.slice_axis(x, axis, i, 1), axis) for i in range(count))


def slice_(inputs: Tensor, start_indices: Any, *, shape: Sequence[int | None]) -> Tensor:
    """Return the part with the given start and shape, moved so that it is inside of the inputs."""
    parts: list[Part] = []
    for axis, (start, length) in enumerate(zip(_starts(start_indices), shape, strict=True)):
        if length is None or length == -1:
            parts.append((start or None, None, 1))
            continue
        begin = _begin(start, ops.dim(inputs, axis), length)
        if isinstance(begin, int):
            parts.append((begin, begin + length, 1))
        else:
            inputs = ops.gather(inputs, ops.add(counted(length), begin), axis)
            parts.append(WHOLE)
    return ops.strided(inputs, parts)


def _starts(start_indices: Any) -> list[int]:
    """The start index of a part on each axis.

    Raises:
        Refusal: the model computes it, or the Keras backends disagree about it.
    """
    starts: list[int] = np.atleast_1d(known_value(start_indices, "start_indices")).tolist()
    if min(starts, default=0) < 0:
        reason = (
            "a negative start index counts from the end on JAX, but means 0 or an error on"
            " TensorFlow"
        )
        raise Refusal("start_indices", reason, "use start indices of at least 0")
    return starts


def _begin(start: int, whole: Size, length: Size) -> Size:
    """The position nearest to `start` at which a part of this length is inside of the axis."""
    if isinstance(whole, int) and isinstance(length, int):
        return max(0, min(start, whole - length))
    return ops.minimum(start, ops.sub(whole, length)) if start else 0


def slice_update(inputs: Tensor, start_indices: Any, updates: Any) -> Tensor:
    """Replace the part of `inputs` that begins at the start indices by `updates`.

    Nothing is broadcast: an update of one sample changes one sample, whatever the batch size is.
    """
    new, inside = ops.cast(as_tensor(updates), inputs.dtype), None
    if 0 in new.shape:
        return inputs
    for axis, start in enumerate(_starts(start_indices)):
        whole, length = ops.dim(inputs, axis), ops.dim(new, axis)
        if whole == length:
            continue
        places = ops.sub(counted(whole), _begin(start, whole, length))  # relative to the update
        here = ops.logical_and(ops.greater_equal(places, 0), ops.less(places, length))
        here = ops.reshape(here, [-1 if a == axis else 1 for a in range(inputs.rank)])
        inside = here if inside is None else ops.logical_and(inside, here)
        new = ops.gather(new, ops.maximum(ops.minimum(places, ops.sub(length, 1)), 0), axis)
    return new if inside is None else where(inside, new, inputs)


# ------------------------------------------------------------------------------------------ indices


def get_item(x: Any, key: Any) -> Tensor:
    """x[key] as in numpy, for a key of integers, slices, an ellipsis and new axes (None).

    Raises:
        Refusal: the model computes a part of the key.
        ShapeError: the key does not fit x.
    """
    tensor = as_tensor(x)
    keys = _without_ellipsis(key, tensor)
    axes = zip((k for k in keys if k is not None), tensor.shape, strict=True)
    parts = [_part(k, size_) for k, size_ in axes]
    reversed_ = tuple(axis for axis, part in enumerate(parts) if part == (None, None, -1))
    for axis in reversed_:
        parts[axis] = WHOLE
    y = ops.strided(tensor, parts)
    y = ops.Reverse(y, reversed_) if reversed_ else y
    return ops.reshape(y, _sizes_of(y, keys))


def _without_ellipsis(key: Any, x: Tensor) -> list[Any]:
    """The key with one entry for each axis of x, and None for each new axis."""
    keys = list(key) if isinstance(key, tuple | list) else [key]
    places = [place for place, k in enumerate(keys) if k is Ellipsis] or [len(keys)]
    named = sum(k is not None and k is not Ellipsis for k in keys)
    if named > x.rank or len(places) > 1:
        raise ShapeError(f"{key} is not a valid index of {x.type}")
    keys[places[0] : places[0] + 1] = [slice(None)] * (x.rank - named)
    return keys


def _sizes_of(y: Tensor, keys: Sequence[Any]) -> list[Size]:
    """The sizes of y with new axes of size 1, and without the axes that an integer indexes."""
    sizes = iter(ops.dims(y))
    result: list[Size] = []
    for k in keys:
        size_ = 1 if k is None else next(sizes)
        if not isinstance(k, int):
            result.append(size_)
    return result


def _part(key: Any, length: int | None) -> Part:
    """The part of an axis that a key selects; a number selects a part of size 1."""
    if isinstance(key, slice):
        if any(isinstance(bound, Tensor) for bound in (key.start, key.stop, key.step)):
            raise Refusal(
                "", "the bounds of a slice must be constants, but the model computes them"
            )
        bounds = (key.start, key.stop, 1 if key.step is None else key.step)
        if not all(bound is None or type(bound) is int for bound in bounds) or not bounds[2]:
            raise ShapeError(f"{key} is not a slice of integers")
        return bounds
    if not isinstance(key, int) or isinstance(key, bool):
        raise Refusal("", "the index must be a constant, but the model computes it")
    if length is not None and not -length <= key < length:
        raise ShapeError(f"the index {key} is out of range for an axis of size {length}")
    return key, key + 1 or None, 1


def take(x: Any, indices: Any, *, axis: int | None = None) -> Tensor:
    """Select the slices with the given indices along an axis; negative ones count from the end."""
    tensor = as_tensor(x)
    if axis is None:
        tensor, axis = flat(tensor), 0
    places = ops.cast(as_tensor(indices), "int32")
    return ops.gather(tensor, from_the_front(places, ops.dim(tensor, axis)), axis)


def from_the_front(places: Tensor, length: Size) -> Tensor:
    """Convert indices that count from the end to indices that count from the front."""
    if isinstance(places, ops.Constant):
        numbers = places.read()
        if (numbers >= 0).all():
            return places
        if isinstance(length, int):
            return constant(np.where(numbers < 0, numbers + length, numbers).astype(np.int32))
    return where(ops.less(places, 0), ops.add(places, length), places)


def take_along_axis(x: Any, indices: Any, *, axis: int | None = None) -> Tensor:
    """Select, at each position, the element at its index along one axis."""
    tensor, places = as_tensor(x), ops.cast(as_tensor(indices), "int32")
    if axis is None:
        return take(flat(tensor), flat(places), axis=0)
    last, wanted = ops.move_axis(tensor, axis, -1), ops.move_axis(places, axis, -1)
    front = [_joint(last, wanted, axis) for axis in range(last.rank - 1)]
    last, wanted = (
        ops.broadcast_to(operand, (*front, ops.dim(operand, -1))) for operand in (last, wanted)
    )
    length = ops.dim(last, -1)
    rows = ops.reshape(from_the_front(wanted, length), (-1, ops.dim(wanted, -1)))
    begins = ops.mul(counted(ops.dim(rows, 0)), length)
    found = ops.gather(flat(last), rows + ops.expand_dims(begins, 1), 0)
    return ops.move_axis(ops.reshape(found, ops.dims(wanted)), -1, axis)


def _joint(a: Tensor, b: Tensor, axis: int) -> Size:
    """The size of an axis of two tensors that are broadcast to each other."""
    return ops.dim(
        b
        if a.shape[axis] == 1 or (a.shape[axis] is None and b.shape[axis] not in (1, None))
        else a,
        axis,
    )


def unravel_index(indices: Any, *, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Convert indices into a flat tensor to indices along each axis of a shape."""
    places = from_the_front(ops.cast(as_tensor(indices), "int32"), prod(shape))
    indices_ = []
    for length in reversed(shape):
        indices_.append(ops.Mod(*ops.matched(places, length)))
        places = ops.FloorDiv(*ops.matched(places, length))
    old_dtype = as_tensor(indices).dtype
    dtype = "int32" if old_dtype == "bool" else old_dtype
    return tuple(ops.cast(place, dtype) for place in reversed(indices_))


def is_in(x1: Any, x2: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element of x1 is in x2: bool, in the shape of x1."""
    del assume_unique
    elements, others = as_tensor(x1), flat(as_tensor(x2))
    found = ops.any_(ops.equal(ops.expand_dims(elements, elements.rank), others), -1)
    return ops.LogicalNot(found) if invert else found


# ---------------------------------------------------------------------------------------- diagonals


def diagonal(x: Tensor, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of the plane of two axes, as the last axis."""
    y = moveaxis(x, source=(axis1, axis2), destination=(-2, -1))
    rows, columns = size(y, -2), size(y, -1)
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    first = offset if offset > 0 else -offset * columns
    reserve(count, itemsize=8)
    places = constant((first + np.arange(count) * (columns + 1)).astype(np.int32))
    return ops.gather(ops.reshape(y, (*ops.dims(y)[:-2], rows * columns)), places, -1)


def trace(x: Tensor, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sum the diagonal of the plane of two axes."""
    y = ops.cast(x, summed_dtype(x.dtype))
    return ops.sum_(diagonal(y, offset=offset, axis1=axis1, axis2=axis2), -1)


def diag(x: Tensor, *, k: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector as its diagonal."""
    return diagonal(x, offset=k) if x.rank == 2 else diagflat(x, k=k)


def diagflat(x: Tensor, *, k: int = 0) -> Tensor:
    """The matrix with the flattened elements as its diagonal."""
    line = flat(x)
    count = size(line, 0)
    side = count + abs(k)
    reserve(count, side, side, itemsize=1)
    place = np.zeros((count, side, side), np.bool_)
    place[np.arange(count), np.arange(count) + max(-k, 0), np.arange(count) + max(k, 0)] = True
    spread = where(constant(place), ops.reshape(line, (count, 1, 1)), constant(0, x.dtype))
    return ops.any_(spread, 0) if x.dtype == "bool" else ops.sum_(spread, 0)


def triangle(*, lower: bool) -> Callable[..., Tensor]:
    """Return a lowering that sets a matrix to zero on one side of a diagonal."""

    def cut(x: Tensor, *, k: int = 0) -> Tensor:
        y = ops.broadcast_to(x, (ops.dim(x, 0), ops.dim(x, 0))) if x.rank == 1 else x
        rows = ops.expand_dims(counted(ops.dim(y, -2)), 1)
        ahead = counted(ops.dim(y, -1)) - rows
        return where(
            ops.less_equal(ahead, k) if lower else ops.greater_equal(ahead, k),
            y,
            constant(0, y.dtype),
        )

    return cut


# ------------------------------------------------------------------------------------------ padding


def pad(
    x: Tensor, constant_values: Any = None, *, pad_width: Any, mode: str = "constant"
) -> Tensor:
    """Pad x with a constant, its edges, its mirror image or its other end, according to `mode`."""
    pairs = np.broadcast_to(np.asarray(pad_width), (x.rank, 2)).tolist()
    if mode == "constant":
        value = (
            0 if constant_values is None else known_value(constant_values, "constant_values").item()
        )
        if x.dtype == "bool":
            return ops.cast(
                ops.pad(ops.cast(x, "int32"), pairs, "constant", float(bool(value))), "bool"
            )
        return ops.pad(x, pairs, "constant", float(value))
    if mode in ("edge", "wrap", "circular"):
        for axis, (before, after) in enumerate(pairs):
            x = _continued(x, axis, before, after, edge=mode == "edge")
        return x
    if mode not in ("reflect", "symmetric"):
        raise Refusal("mode", "this padding mode is not supported")
    for axis, pair in enumerate(pairs):
        length = x.shape[axis]
        if length is not None and max(pair) > length - (mode == "reflect"):
            raise Refusal("pad_width", f"the padding is larger than axis {axis}, which it mirrors")
    return ops.pad(x, pairs, mode)  # type: ignore[arg-type]


def _continued(x: Tensor, axis: int, before: int, after: int, *, edge: bool) -> Tensor:
    """Continue an axis at both ends, by its edges or by its other end."""
    if not before and not after:
        return x
    length = size(x, axis, "pad_width")
    reserve(before + length + after, itemsize=8)
    places = np.arange(-before, length + after)
    places = np.clip(places, 0, length - 1) if edge else places % length
    return ops.gather(x, constant(places.astype(np.int32)), axis)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Reshape": reshape, "Transpose": transpose, "Squeeze": squeeze, "ExpandDims": expand_dims,
    "Swapaxes": swapaxes, "Moveaxis": moveaxis, "Ravel": ravel, "BroadcastTo": broadcast_to,
    "Flip": flip, "Fliplr": lambda x: flip(x, axis=1), "Flipud": lambda x: flip(x, axis=0),
    "Roll": roll, "Rot90": rot90, "Tile": tile, "Repeat": repeat, "Concatenate": concatenate,
    "Stack": stack, "Hstack": hstack, "Vstack": vstack, "ColumnStack": column_stack,
    "Dstack": dstack, "Append": append, "Meshgrid": meshgrid, "Split": split,
    "ArraySplit": array_split, "Vsplit": splitting(0), "Hsplit": splitting(1),
    "Dsplit": splitting(2), "Unstack": unstack, "Slice": slice_, "SliceUpdate": slice_update,
    "GetItem": get_item, "Take": take, "TakeAlongAxis": take_along_axis,
    "UnravelIndex": unravel_index, "IsIn": is_in, "Diagonal": diagonal, "Trace": trace,
    "Diag": diag, "Diagflat": diagflat, "Tril": triangle(lower=True), "Triu": triangle(lower=False),
    "Pad": pad,
}  # fmt: skip
