"""Operations that move, select or make elements in ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.tensor import Tensor
from kerasport.targets.onnx.channels_first import keeps_size
from kerasport.targets.onnx.emit.emitter import TYPES, Emitter

FIRST, LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""Positions before the first and after the last element of every axis."""

WHOLE = (0, LAST, 1)
"""Begin, end and step of a slice that takes a whole axis."""

LISTED = 4096
"""Largest number of classes that a one-hot encoding stores as a constant."""


def emit_dim(e: Emitter, node: ops.Dim) -> onnx.Value:
    """`Shape`, reshaped from int64 [1] to an int32 scalar."""
    wide = e.add("Reshape", [e.size(node.x, node.axis), e.ints([])])
    return e.cast(wide, onnx.DataType.INT32)


def emit_reshape(e: Emitter, node: ops.Reshape) -> onnx.Value:
    """`Reshape`. In its shape, 0 stands for the size of the same axis of x, which saves a `Shape`.

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
    pairs = zip(node.begin, node.size, strict=True)
    return _sliced(
        e, node.x, [(begin, LAST if size == -1 else begin + size, 1) for begin, size in pairs]
    )


def emit_strided_slice(e: Emitter, node: ops.StridedSlice) -> onnx.Value:
    """`Slice` with steps."""
    return _sliced(e, node.x, [_positions(*part) for part in node.parts])


def emit_reverse(e: Emitter, node: ops.Reverse) -> onnx.Value:
    """`Slice` with a step of -1: ONNX has no reversal."""
    parts = [(LAST, FIRST, -1) if axis in node.axes else WHOLE for axis in range(node.rank)]
    return _sliced(e, node.x, parts)


def _sliced(e: Emitter, x: Tensor, parts: Sequence[tuple[int, int, int]]) -> onnx.Value:
    """`Slice` along the axes that are not taken whole."""
    some = {axis: part for axis, part in enumerate(parts) if part != WHOLE}
    if not some:
        return e.add("Identity", [x])
    begins, ends, steps = (e.ints(column) for column in zip(*some.values(), strict=True))
    return e.add("Slice", [x, begins, ends, e.ints(list(some)), steps])


def _positions(begin: int | None, end: int | None, step: int) -> tuple[int, int, int]:
    """Begin and end of a Python slice as numbers."""
    first, last = (0, LAST) if step > 0 else (LAST, FIRST)
    return first if begin is None else begin, last if end is None else end, step


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
    return e.add("Tile", [node.x, e.ints(node.times)])


def emit_gather_nd(e: Emitter, node: ops.GatherNd) -> onnx.Value:
    """`GatherND` with indices of int64."""
    return e.add("GatherND", [node.x, e.cast(node.indices, onnx.DataType.INT64)])


def emit_gather(e: Emitter, node: ops.Gather) -> onnx.Value:
    """`Gather`."""
    return e.add("Gather", [node.x, node.indices], axis=node.axis)


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
    """`Range` from 0 in steps of 1."""
    return e.add("Range", [e.number(0), node.stop, e.number(1)])


def emit_fill(e: Emitter, node: ops.Fill) -> onnx.Value:
    """`ConstantOfShape`."""
    value = onnx.Tensor(np.asarray([node.value], NUMPY[node.dtype]))
    return e.add("ConstantOfShape", [e.sizes(node.to)], value=value)
