"""Operations that move, select or make elements in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.ops.movement import Part, Size
from kerasport.ir.tensor import Tensor
from kerasport.targets.onnx.channels_first import keeps_size
from kerasport.targets.onnx.emit.emitter import TYPES, Emitter

FIRST, LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""Positions before the first and after the last element of every axis."""

WHOLE = (0, LAST, 1)
"""Begin, end and step of a slice that takes a whole axis."""

Positions: TypeAlias = tuple[Size | onnx.Value, Size | onnx.Value, int]
"""Begin, end and step of a slice along an axis; values are int64 [1]."""

LISTED = 4096
"""Largest number of classes that a one-hot encoding stores as a constant."""


def emit_dim(e: Emitter, node: ops.Dim) -> onnx.Value:
    """`Shape`, reshaped from int64 [1] to an int32 scalar."""
    wide = e.add("Reshape", [e.size(node.x, node.axis), e.ints([])])
    return e.cast(wide, onnx.DataType.INT32)


def emit_reshape(e: Emitter, node: ops.Reshape) -> onnx.Value:
    """`Reshape`. In its shape, 0 means the size of the same axis of x, which saves a `Shape`.

    With `allowzero`, 0 is a size of 0.
    """
    if 0 in node.to:
        return e.add("Reshape", [node.x, e.sizes(node.to)], allowzero=1)
    to = [0 if keeps_size(node.x, size, axis) else size for axis, size in enumerate(node.to)]
    return e.add("Reshape", [node.x, e.sizes(to)])


def emit_broadcast(e: Emitter, node: ops.BroadcastTo) -> onnx.Value:
    """`Expand`."""
    return e.add("Expand", [node.x, e.sizes(node.to)])


def emit_transpose(e: Emitter, node: ops.Transpose) -> onnx.Value:
    """`Transpose`."""
    return e.add("Transpose", [node.x], perm=list(node.order))


def emit_slice(e: Emitter, node: ops.Slice) -> onnx.Value:
    """`Slice`, whose ends are positions instead of sizes."""
    axes = zip(node.begin, node.size, strict=True)
    return _sliced(e, node.x, [(begin, _end(e, begin, size), 1) for begin, size in axes])


def _end(e: Emitter, begin: Size, size: Size) -> Size | onnx.Value:
    """The end of a slice. A size that is -1 at run time also means up to the end."""
    if size == -1:
        return LAST
    if isinstance(begin, int) and isinstance(size, int):
        return begin + size
    length = e.vector(size)
    end = length if begin == 0 else e.add("Add", [e.vector(begin), length])
    if isinstance(size, int | ops.Dim):
        return end
    return e.add("Where", [e.add("Less", [length, e.ints([0])]), e.ints([LAST]), end])


def emit_strided_slice(e: Emitter, node: ops.StridedSlice) -> onnx.Value:
    """`Slice` with steps."""
    parts = [_positions(e, node.x, axis, part) for axis, part in enumerate(node.parts)]
    return _sliced(e, node.x, parts)


def emit_reverse(e: Emitter, node: ops.Reverse) -> onnx.Value:
    """`Slice` with a step of -1: ONNX has no reversal."""
    parts = [(LAST, FIRST, -1) if axis in node.axes else WHOLE for axis in range(node.rank)]
    return _sliced(e, node.x, parts)


def _sliced(e: Emitter, x: Tensor, parts: Sequence[Positions]) -> onnx.Value:
    """`Slice` along the axes that are not taken whole."""
    some = {axis: part for axis, part in enumerate(parts) if part != WHOLE}
    if not some:
        return e.add("Identity", [x])
    begins, ends, steps = zip(*some.values(), strict=True)
    axes = e.ints(list(some))
    return e.add("Slice", [x, e.sizes(begins), e.sizes(ends), axes, e.ints(steps)])


def _positions(e: Emitter, x: Tensor, axis: int, part: Part) -> Positions:
    """Begin and end of a Python slice along an axis, as ONNX takes them.

    A slice that runs backwards from before the first element is empty in Python. ONNX lets it begin
    with the first element, so its end becomes the first element.
    """
    begin, end, step = part
    last: Size = end if end is not None else LAST
    if end is None and step < 0:
        last = FIRST
    if begin is None:
        return 0 if step > 0 else LAST, last, step
    if step > 0 or (isinstance(begin, int) and begin >= 0):
        return begin, last, step
    if isinstance(begin, int) and x.shape[axis] is not None:
        return (0, 0, step) if begin < -(x.shape[axis] or 0) else (begin, last, step)
    zero, first = e.ints([0]), e.vector(begin)
    counted = e.add("Add", [first, e.size(x, axis)])
    first = e.add("Where", [e.add("Less", [first, zero]), counted, first])
    is_before = e.add("Less", [first, zero])
    last_or_first = e.add("Where", [is_before, zero, e.vector(last)])
    return e.add("Max", [first, zero]), last_or_first, step


def emit_concat(e: Emitter, node: ops.Concat) -> onnx.Value:
    """`Concat`."""
    return e.add("Concat", node.parts, axis=node.axis)


def emit_pad(e: Emitter, node: ops.Pad) -> onnx.Value:
    """`Pad`, which takes all amounts before, then all amounts after."""
    pads = e.ints([pair[0] for pair in node.paddings] + [pair[1] for pair in node.paddings])
    if node.mode == "constant":
        return e.add("Pad", [node.x, pads, e.number(node.value, node.dtype)], mode="constant")
    return e.add("Pad", [node.x, pads], mode=node.mode)


def emit_tile(e: Emitter, node: ops.Tile) -> onnx.Value:
    """`Tile`."""
    return e.add("Tile", [node.x, e.sizes(node.times)])


def emit_gather_nd(e: Emitter, node: ops.GatherNd) -> onnx.Value:
    """`GatherND` with indices of int64."""
    return e.add("GatherND", [node.x, e.cast(node.indices, onnx.DataType.INT64)])


def emit_gather(e: Emitter, node: ops.Gather) -> onnx.Value:
    """`Gather`, or `GatherND` if there are batch dimensions."""
    if not node.batch_dims:
        return e.add("Gather", [node.x, node.indices], axis=node.axis)
    return _gathered_in_batches(e, node)


def _gathered_in_batches(e: Emitter, node: ops.Gather) -> onnx.Value:
    """`GatherND` along the first axis after the batch dimensions, between transposes."""
    batch, axis, rank = node.batch_dims, node.axis, node.x.rank
    x = e.ref(node.x)
    if axis > batch:
        others = [other for other in range(batch, rank) if other != axis]
        x = e.add("Transpose", [x], perm=[*range(batch), axis, *others])
    places = e.add("Unsqueeze", [e.cast(node.indices, onnx.DataType.INT64), e.ints([-1])])
    found = e.add("GatherND", [x, places], batch_dims=batch)
    if axis == batch:
        return found
    # batch, axes of the indices, axes between batch and axis, axes after it
    counts = node.indices.rank - batch, axis - batch, rank - axis - 1
    first, second = batch + counts[0], batch + counts[0] + counts[1]
    order = [*range(batch), *range(first, second), *range(batch, first)]
    return e.add("Transpose", [found], perm=[*order, *range(second, node.rank)])


def emit_arg_where(e: Emitter, node: ops.ArgWhere) -> onnx.Value:
    """`NonZero` [rank, true], transposed and cast from int64 to int32."""
    found = e.add("Transpose", [e.add("NonZero", [node.condition])], perm=[1, 0])
    return e.cast(found, onnx.DataType.INT32)


def emit_one_hot(e: Emitter, node: ops.OneHot) -> onnx.Value:
    """`Equal` with all class numbers: ONNX's `OneHot` counts negative indices from the end."""
    indices = e.add("Unsqueeze", [node.indices, e.ints([-1])])
    if node.depth <= LISTED:
        classes = e.small(np.arange(node.depth, dtype=np.int32))
    else:
        classes = e.add("Range", [e.number(0), e.number(node.depth), e.number(1)])
    hot = e.add("Equal", [indices, classes])
    return hot if node.dtype == "bool" else e.cast(hot, TYPES[node.dtype])


def emit_range(e: Emitter, node: ops.Range) -> onnx.Value:
    """`Range`."""
    start = e.number(0, node.dtype) if node.start is None else node.start
    step = e.number(1, node.dtype) if node.step is None else node.step
    return e.add("Range", [start, node.stop, step])


def emit_fill(e: Emitter, node: ops.Fill) -> onnx.Value:
    """`ConstantOfShape`."""
    value = onnx.Tensor(np.asarray([node.value], NUMPY[node.dtype]))
    return e.add("ConstantOfShape", [e.sizes(node.to)], value=value)
