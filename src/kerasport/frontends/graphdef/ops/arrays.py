"""Ops that move, select, join or write elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import ReadError, Refusal
from kerasport.frontends.graphdef.ops.call import Call, Lower, Rows
from kerasport.frontends.graphdef.ops.sizes import elements
from kerasport.ir import ops
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.ops.movement import PadMode, Part, Size
from kerasport.ir.ops.scatter import Combine
from kerasport.ir.tensor import Constant, Tensor, as_tensor, constant, items
from kerasport.weights import axis_of

# ---------------------------------------------------------------------------- joining and splitting


def joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors joined along an axis, without those that are empty along it."""
    full = [part for part in parts if part.shape[axis] != 0]
    return ops.concat(full or parts[:1], axis)


def concat_v2(call: Call) -> Tensor:
    """Tensors joined along the axis that the last operand gives."""
    *parts, _ = call.tensors
    return joined(parts, call.axis(-1, parts[0].rank))


def concat(call: Call) -> Tensor:
    """Tensors joined along the axis that the first operand gives."""
    _, *parts = call.tensors
    return joined(parts, call.axis(0, parts[0].rank))


def pack(call: Call) -> Tensor:
    """Tensors of the same shape, joined along a new axis."""
    return ops.stack(call.tensors, call.integer("axis"))


def unpack(call: Call) -> tuple[Tensor, ...]:
    """The slices of x along an axis, without that axis."""
    x = call.x()
    axis, count = axis_of(call.integer("axis"), x.rank), call.count("num")
    return tuple(ops.squeeze(ops.slice_axis(x, axis, i, 1), axis) for i in range(count))


def split(call: Call) -> tuple[Tensor, ...]:
    """Parts of the same size along an axis."""
    x = call.x(1)
    axis, count = call.axis(0, x.rank), call.count("num_split")
    if x.shape[axis] is not None:
        return ops.split(x, count, axis)
    if count == 1:
        return (x,)
    raise Refusal("num_split", f"the size of axis {axis} of {x.type} must be fixed")


def split_v(call: Call) -> tuple[Tensor, ...]:
    """Parts of given sizes along an axis; one size may be -1."""
    x, sizes = call.x(0), list(call.ints(1, "sizes"))
    axis = call.axis(2, x.rank)
    call.integer("num_split")
    if -1 in sizes:
        whole = x.shape[axis]
        if whole is None:
            return _split_open(x, sizes, axis)
        sizes[sizes.index(-1)] = whole - sum(size for size in sizes if size != -1)
    begins = np.cumsum([0, *sizes[:-1]]).tolist()
    return tuple(
        ops.slice_axis(x, axis, begin, size) for begin, size in zip(begins, sizes, strict=True)
    )


def _split_open(x: Tensor, sizes: Sequence[int], axis: int) -> tuple[Tensor, ...]:
    """Parts of an axis whose size is known only at run time."""
    unknown = sizes.index(-1)
    before, after = list(sizes[:unknown]), list(sizes[unknown + 1 :])
    parts = []
    begin = 0
    for size in before:
        parts.append(ops.slice_axis(x, axis, begin, size))
        begin += size
    parts.append(ops.strided_axis(x, axis, begin, -sum(after) or None))
    end = sum(after)
    for size in after:
        parts.append(ops.strided_axis(x, axis, -end, -(end - size) or None))
        end -= size
    return tuple(parts)


# ------------------------------------------------------------------------------------------ slicing


def slice_(call: Call) -> Tensor:
    """`size` elements of each axis from `begin` on; a size of -1 means up to the end."""
    x, begins, sizes = call.x(), call.sizes(1), call.sizes(2)
    for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        x = ops.slice_axis(x, axis, begin, size)
    return x


def counted(size: Size) -> Tensor:
    """0, 1, … before a size."""
    if not isinstance(size, int):
        return ops.Range(size)
    reserve(size)
    return constant(np.arange(size, dtype=np.int32))


class Masks(NamedTuple):
    """The masks of `StridedSlice`, with a bit for each element of begin, end and strides."""

    begin: int
    end: int
    ellipsis: int
    new: int
    shrink: int

    def has(self, mask: int, index: int) -> bool:
        """Whether the bit of an element is set."""
        return bool(mask >> index & 1)


class Selection(NamedTuple):
    """What `StridedSlice` selects, axis by axis.

    Attributes:
        parts: begin, end and step of each axis of x.
        shrunk: axes of x that are removed.
        added: axes of the result that are new.
    """

    parts: list[Part]
    shrunk: list[int]
    added: list[int]


def strided_slice(call: Call) -> Tensor:
    """x[begin:end:step, …], also with an ellipsis, new axes, and indices that remove an axis."""
    x = call.x()
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = Masks(*(call.integer(name) for name in names))
    begins, ends = call.sizes(1), call.sizes(2)
    steps = call.ints(3, "strides")
    selection = _selection(x.rank, masks, begins, ends, steps)
    parts: list[Part] = []
    for axis, (begin, end, step) in enumerate(selection.parts):
        if axis in selection.shrunk and isinstance(begin, Tensor):
            x = ops.slice_axis(x, axis, _wrapped(begin, ops.dim(x, axis)), 1)
            parts.append(ops.WHOLE)
        else:
            parts.append((begin, end, step))
    y = ops.strided(x, parts)
    if selection.shrunk:
        y = ops.squeeze(y, *selection.shrunk)
    return ops.expand_dims(y, *selection.added) if selection.added else y


def _selection(
    rank: int, masks: Masks, begins: Sequence[Size], ends: Sequence[Size], steps: Sequence[int]
) -> Selection:
    found = Selection([], [], [])
    result_axis = 0
    named = sum(
        not masks.has(masks.new, i) and not masks.has(masks.ellipsis, i) for i in range(len(steps))
    )
    for i, step in enumerate(steps):
        if masks.has(masks.ellipsis, i):
            count = rank - named
            found.parts.extend([ops.WHOLE] * count)
            result_axis += count
        elif masks.has(masks.new, i):
            found.added.append(result_axis)
            result_axis += 1
        elif masks.has(masks.shrink, i):
            found.shrunk.append(len(found.parts))
            found.parts.append(_one(begins[i]))
        else:
            begin = None if masks.has(masks.begin, i) else begins[i]
            end = None if masks.has(masks.end, i) else ends[i]
            found.parts.append((begin, end, step))
            result_axis += 1
    found.parts.extend([ops.WHOLE] * (rank - len(found.parts)))
    if len(found.parts) > rank:
        raise ReadError("it selects more axes than its operand has")
    return found


def _one(index: Size) -> Part:
    """The part of an axis that is a single element."""
    if isinstance(index, Tensor):
        return index, None, 1
    return index, None if index == -1 else index + 1, 1


def _wrapped(place: Size, whole: Size) -> Tensor:
    """A place that may count from the end, as one that counts from the front."""
    position = as_tensor(place)
    if isinstance(place, ops.Dim):
        return position
    return ops.Select(ops.less(position, 0), ops.add(position, whole), position)


# ---------------------------------------------------------------------------------------- gathering


def gather_v2(call: Call) -> Tensor:
    """The slices of x at indices of an axis."""
    x, indices = call.x(0), call.x(1)
    batch_dims = call.integer("batch_dims")
    axis = call.axis(2, x.rank)
    if batch_dims < 0:
        batch_dims += indices.rank
    if not batch_dims:
        return ops.gather(x, indices, axis)
    return batch_gather(x, indices, axis, batch_dims)


def batch_gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    """A gather for each position of the first `batch_dims` axes."""
    front = list(range(batch_dims))
    rest = [i for i in range(batch_dims, x.rank) if i != axis]
    lifted = ops.transpose(x, [*front, axis, *rest])
    found = ops.gather_nd(lifted, ops.expand_dims(indices, -1), batch_dims)
    # [*batch, *indices, *rest] with the axes of the indices where `axis` was
    before = axis - batch_dims
    count, added = indices.rank - batch_dims, indices.rank
    order = [
        *front, *range(added, added + before), *range(batch_dims, batch_dims + count),
        *range(added + before, found.rank),
    ]  # fmt: skip
    return ops.transpose(found, order)


def gather(call: Call) -> Tensor:
    """The rows of x at indices."""
    return ops.gather(call.x(0), call.x(1), 0)


def gather_nd(call: Call) -> Tensor:
    """The slices of x at indices [..., k]."""
    x, indices = call.x(0), call.x(1)
    if indices.shape[-1] == 0:
        raise Refusal("", "its indices have no elements")
    return ops.gather_nd(x, indices, call.integer("batch_dims"))


def one_hot(call: Call) -> Tensor:
    """`on` at the index, and `off` elsewhere, along a new axis."""
    indices, on, off = call.x(0), call.x(2), call.x(3)
    axis, depth = call.integer("axis", -1), call.size(1)
    ones = [isinstance(x, Constant) and x.read().item() for x in (on, off)]
    if isinstance(depth, int) and ones == [1, 0] and on.dtype in ("float32", "int32"):
        hot: Tensor = ops.OneHot(indices, depth, on.dtype)
    else:
        places = ops.cast(counted(depth), indices.dtype)
        hot = ops.Select(ops.Equal(ops.expand_dims(indices, -1), places), on, off)
    return hot if axis in (-1, hot.rank - 1) else ops.move_axis(hot, -1, axis)


# ---------------------------------------------------------------------------- padding and repeating


def pad(call: Call) -> Tensor:
    """Zeros, or a given value, around x."""
    x, value = call.x(), 0.0
    if len(call.operands) > 2:
        value = call.value(2, "value").item()
    return padded(call, x, "constant", value)


def mirror_pad(call: Call) -> Tensor:
    """Mirrored elements around x."""
    mode: PadMode = "symmetric" if call.text("mode") == "SYMMETRIC" else "reflect"
    return padded(call, call.x(), mode)


def padded(call: Call, x: Tensor, mode: PadMode, value: float = 0.0) -> Tensor:
    """`x` with the paddings of the second operand [rank, 2]."""
    table = call.x(1)
    if isinstance(table, Constant):
        return ops.pad(x, table.read().tolist(), mode, value)
    if mode != "constant":
        raise Refusal("", "its paddings must be constants, but the model computes them")
    sizes = np.reshape(elements(table), (-1, 2))
    fill = constant(value, x.dtype)
    for axis, pair in enumerate(sizes.tolist()):
        parts = [_block(x, axis, size, fill) for size in pair]
        kept = [tensor for tensor in (parts[0], x, parts[1]) if tensor is not None]
        x = ops.concat(kept, axis)
    return x


def _block(x: Tensor, axis: int, size: Size, fill: Tensor) -> Tensor | None:
    """A block of new elements along an axis."""
    if isinstance(size, int) and size == 0:
        return None
    sizes = [size if i == axis else ops.dim(x, i) for i in range(x.rank)]
    return ops.BroadcastTo(fill, tuple(sizes))


def tile(call: Call) -> Tensor:
    """x repeated along each axis."""
    x, times = call.x(), call.sizes(1)
    return x if all(number == 1 for number in times) else ops.Tile(x, times)


def transpose(call: Call) -> Tensor:
    """x with its axes in another order."""
    return ops.transpose(call.x(), call.ints(1, "order"))


def reverse(call: Call) -> Tensor:
    """x in reverse order along axes."""
    x = call.x()
    if call.x(1).dtype == "bool":
        axes = tuple(np.flatnonzero(call.value(1, "axes")).tolist())
    else:
        axes = tuple(axis_of(axis, x.rank) for axis in call.ints(1, "axes"))
    return ops.Reverse(x, axes) if axes else x


def roll(call: Call) -> Tensor:
    """x with its elements moved along axes, from the end back to the front."""
    x = call.x()
    for amount, axis in zip(call.ints(1, "shift"), call.ints(2, "axes"), strict=True):
        along = axis_of(axis, x.rank)
        size = x.shape[along]
        if size is None:
            raise Refusal("", f"the size of axis {along} of {x.type} must be fixed")
        shift = amount % size if size else 0
        if shift:
            ends = ops.slice_axis(x, along, size - shift), ops.slice_axis(x, along, 0, size - shift)
            x = ops.concat(ends, along)
    return x


def reverse_sequence(call: Call) -> Tensor:
    """The first elements of each sequence in reverse order; their number is an operand."""
    x, lengths = call.x(0), call.x(1)
    time, batch = call.integer("seq_dim"), call.integer("batch_dim")
    order = [batch, time, *(axis for axis in range(x.rank) if axis not in (batch, time))]
    y = ops.transpose(x, order)
    places = ops.expand_dims(counted(ops.dim(y, 1)), 0)
    length = ops.expand_dims(ops.cast(lengths, "int32"), 1)
    mirrored = ops.sub(ops.sub(length, 1), places)
    chosen = ops.Select(ops.less(places, length), mirrored, ops.add(mirrored * 0, places))
    found = ops.gather_nd(y, ops.expand_dims(chosen, -1), 1)
    return ops.transpose(found, np.argsort(order).tolist())


# ------------------------------------------------------------------------------ blocks of positions


def space_to_depth(call: Call) -> Tensor:
    """Blocks of pixels as channels."""
    x, block = _channels_last(call), call.integer("block_size")
    batch, height, width, depth = ops.dims(x)
    rows, columns = _divided(height, block), _divided(width, block)
    y = ops.reshape(x, (batch, rows, block, columns, block, depth))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    y = ops.reshape(y, (batch, rows, columns, _times(depth, block * block)))
    return _as_stored(call, y)


def depth_to_space(call: Call) -> Tensor:
    """Channels as blocks of pixels."""
    x, block = _channels_last(call), call.integer("block_size")
    batch, height, width, depth = ops.dims(x)
    y = ops.reshape(x, (batch, height, width, block, block, _divided(depth, block * block)))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    sizes = (batch, _times(height, block), _times(width, block), _divided(depth, block * block))
    return _as_stored(call, ops.reshape(y, sizes))


def _channels_last(call: Call) -> Tensor:
    layout = call.text("data_format", "NHWC")
    if layout not in ("NHWC", "NCHW"):
        raise Refusal("data_format", "only NHWC and NCHW are supported")
    return call.x() if layout == "NHWC" else ops.transpose(call.x(), (0, 2, 3, 1))


def _as_stored(call: Call, y: Tensor) -> Tensor:
    return y if call.text("data_format", "NHWC") == "NHWC" else ops.transpose(y, (0, 3, 1, 2))


def _divided(size: Size, by: int) -> Size:
    return size // by if isinstance(size, int) else ops.FloorDiv(size, constant(by))


def _times(size: Size, by: int) -> Size:
    return size * by if isinstance(size, int) else ops.mul(size, by)


def space_to_batch(call: Call) -> Tensor:
    """Blocks of positions as batch entries, after zeros are added around x."""
    x, blocks, pads = call.x(), call.ints(1, "block shape"), call.value(2, "paddings")
    count = len(blocks)
    x = ops.pad(x, [(0, 0), *pads.tolist(), *[(0, 0)] * (x.rank - 1 - count)])
    batch, *spatial = ops.dims(x)
    inner, rest = spatial[:count], spatial[count:]
    rows = [_divided(size, block) for size, block in zip(inner, blocks, strict=True)]
    pairs = [size for pair in zip(rows, blocks, strict=True) for size in pair]
    y = ops.reshape(x, (batch, *pairs, *rest))
    within = [2 + 2 * i for i in range(count)]
    kept = [1 + 2 * i for i in range(count)]
    tail = range(1 + 2 * count, y.rank)
    y = ops.transpose(y, (*within, 0, *kept, *tail))
    return ops.reshape(y, (_times(batch, prod(blocks)), *rows, *rest))


def dilated_convolution(
    call: Call, blocks: tuple[int, ...], crops: Sequence[Sequence[int]]
) -> Tensor | None:
    """A convolution with dilations, if the node undoes the blocks that the convolution reads.

    This is how Keras 2 and TensorFlow 1 write dilations. None if the node does something else.
    """
    y, blocked = call.x(), [result.node for result in call.node.inputs[0].node.inputs[:1]]
    if not isinstance(y, ops.Conv | ops.DepthwiseConv) or len(blocks) != 2 or y.x.rank != 4:
        return None
    if not blocked or blocked[0].op != "SpaceToBatchND":
        return None
    x, shape, pads = (call.value_of(result) for result in blocked[0].inputs)
    if not isinstance(shape, Constant) or not isinstance(pads, Constant):
        return None
    amounts = pads.read() - np.array(crops)
    plain = y.padding == "valid" and {*y.strides, *y.dilations} == {1}
    if not plain or tuple(shape.read().tolist()) != blocks or (amounts < 0).any():
        return None
    padding = tuple((int(before), int(after)) for before, after in amounts)
    return replace(y, x=x, padding=padding, dilations=blocks)


def batch_to_space(call: Call) -> Tensor:
    """Batch entries as blocks of positions, of which some are cut off."""
    x, blocks, crops = call.x(), call.ints(1, "block shape"), call.value(2, "crops")
    dilated = dilated_convolution(call, blocks, crops.tolist())
    if dilated is not None:
        return dilated
    count = len(blocks)
    batch, *spatial = ops.dims(x)
    inner, rest = spatial[:count], spatial[count:]
    entries = _divided(batch, prod(blocks))
    y = ops.reshape(x, (*blocks, entries, *inner, *rest))
    mixed = [axis for i in range(count) for axis in (count + 1 + i, i)]
    y = ops.transpose(y, (count, *mixed, *range(2 * count + 1, y.rank)))
    whole = [_times(size, block) for size, block in zip(inner, blocks, strict=True)]
    y = ops.reshape(y, (entries, *whole, *rest))
    for axis, (before, after) in enumerate(crops.tolist(), start=1):
        y = ops.strided_axis(y, axis, before, -after or None)
    return y


# ----------------------------------------------------------------------------------------- matrices


def band_part(call: Call) -> Tensor:
    """The diagonals of matrices from `lower` below the main one to `upper` above; 0 elsewhere."""
    x = call.x()
    lower, upper = call.whole(1, "number of diagonals"), call.whole(2, "number of diagonals")
    rows, columns = ops.dims(x)[-2:]
    below = ops.sub(ops.expand_dims(counted(rows), 1), ops.expand_dims(counted(columns), 0))
    inside = [ops.less_equal(below, lower)] if lower >= 0 else []
    inside += [ops.greater_equal(below, -upper)] if upper >= 0 else []
    if not inside:
        return x
    mask = inside[0] if len(inside) == 1 else ops.LogicalAnd(*inside)
    if x.dtype == "bool":
        return ops.LogicalAnd(x, mask)
    return ops.Select(mask, x, constant(0, x.dtype))


def matrix_diag(call: Call) -> Tensor:
    """Square matrices with x [..., n] on the diagonal."""
    x = call.x()
    places = counted(ops.dim(x, -1))
    mask = ops.Equal(ops.expand_dims(places, 1), ops.expand_dims(places, 0))
    if call.node.op != "MatrixDiag" and len(call.operands) > 1:
        _main_diagonal(call)
    return ops.Select(mask, ops.expand_dims(x, -1), constant(0, x.dtype))


def _main_diagonal(call: Call) -> None:
    """Check that the operands of a newer op select the main diagonal of square matrices."""
    if call.ints(1, "diagonals") not in ((0,), (0, 0)):
        raise Refusal("", "only the main diagonal is supported")
    call.text("align")
    if call.node.op.startswith("MatrixDiagV"):
        sizes = (call.whole(2, "rows"), call.whole(3, "columns"))
        length = call.x().shape[-1]
        if any(size not in (-1, length) for size in sizes):
            raise Refusal("", "only square matrices are supported")


def matrix_diag_part(call: Call) -> Tensor:
    """The main diagonals of matrices x [..., m, n]."""
    x = call.x()
    if call.node.op != "MatrixDiagPart" and len(call.operands) > 1:
        _main_diagonal(call)
    rows, columns = x.shape[-2:]
    if rows is None or columns is None:
        raise Refusal("", f"the sizes of the matrices in {x.type} must be fixed")
    length = min(rows, columns)
    cut = ops.slice_axis(ops.slice_axis(x, -2, 0, length), -1, 0, length)
    places = counted(length)
    mask = ops.Equal(ops.expand_dims(places, 1), ops.expand_dims(places, 0))
    return ops.sum_(ops.Select(mask, cut, constant(0, x.dtype)), -1)


# ------------------------------------------------------------------------------------------ writing


def scatter_nd(call: Call) -> Tensor:
    """Updates added up at indices of a tensor of zeros."""
    indices, updates, sizes = call.x(0), call.x(1), call.sizes(2)
    zeros = ops.Fill(sizes, 0.0 if updates.dtype.startswith("float") else 0, updates.dtype)
    return ops.ScatterNd(zeros, indices, updates, "add")


def tensor_scatter(combine: Combine) -> Lower:
    """The row of an op that writes updates to x at indices."""

    def lower(call: Call) -> Tensor:
        x, indices, updates = call.tensors
        if call.node.op == "TensorScatterSub":
            updates = ops.Neg(updates)
        return ops.ScatterNd(x, indices, updates, combine)

    return lower


def unsorted_segment(combine: Combine, start: str) -> Lower:
    """The row of an op that combines the rows of x with the same segment number."""

    def lower(call: Call) -> Tensor:
        x, segments, count = call.x(0), call.x(1), call.size(2)
        kept = ops.dims(x)[segments.rank :]
        first = _first(start, x.dtype)
        whole = ops.Fill((count, *kept), first, x.dtype)
        return ops.ScatterNd(whole, ops.expand_dims(segments, -1), x, combine)

    return lower


def _first(start: str, dtype: str) -> float:
    """The value of a segment without rows."""
    if start in ("0", "1"):
        return int(start)
    kind = np.dtype(NUMPY[dtype])
    limits = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    return float(limits.min if start == "least" else limits.max)


# ------------------------------------------------------------------------------------------ sorting


def top_k(call: Call) -> tuple[Tensor, ...]:
    """The k largest elements of the last axis, and their indices."""
    x = call.x()
    count = call.size(1)
    # without it, the order of the elements is not defined; sorted is one of the possible orders
    call.flag("sorted", default=True)
    values, places = items(ops.TopK(x, count))
    return values, ops.cast(places, call.dtype("index_type", "int32"))


def bound(op: type[ops.Less | ops.LessEqual]) -> Lower:
    """The row of an op that finds the place of each value in a sorted row: [batch, values]."""

    def lower(call: Call) -> Tensor:
        rows, values = call.x(0), call.x(1)
        before = op(ops.expand_dims(rows, 1), ops.expand_dims(values, 2))
        count = ops.sum_(ops.cast(before, "int32"), -1)
        return ops.cast(count, call.dtype("out_type", "int32"))

    return lower


def invert_permutation(call: Call) -> Tensor:
    """The permutation that undoes another."""
    return constant(np.argsort(call.value(0, "permutation")), call.x().dtype)


def list_diff(call: Call) -> tuple[Tensor, ...]:
    """The elements of a constant that are not in another, and their positions."""
    x, y = call.value(0, "elements"), call.value(1, "elements")
    places = np.flatnonzero(~np.isin(x, y))
    return (
        constant(x[places], call.x(0).dtype),
        constant(places, call.dtype("out_idx", "int32")),
    )


ROWS: Rows = {
    "Concat": concat, "ConcatV2": concat_v2, "Pack": pack,
    "Unpack": unpack, "Split": split, "SplitV": split_v, "Slice": slice_,
    "StridedSlice": strided_slice, "Gather": gather, "GatherV2": gather_v2, "GatherNd": gather_nd,
    "OneHot": one_hot, "Pad": pad, "PadV2": pad, "MirrorPad": mirror_pad, "Tile": tile,
    "Transpose": transpose, "Reverse": reverse, "ReverseV2": reverse, "Roll": roll,
    "ReverseSequence": reverse_sequence, "SpaceToDepth": space_to_depth,
    "DepthToSpace": depth_to_space, "SpaceToBatchND": space_to_batch,
    "BatchToSpaceND": batch_to_space, "MatrixBandPart": band_part, "MatrixDiag": matrix_diag,
    "MatrixDiagV3": matrix_diag, "MatrixDiagPart": matrix_diag_part,
    "MatrixDiagPartV3": matrix_diag_part, "ScatterNd": scatter_nd,
    "TensorScatterUpdate": tensor_scatter("replace"), "TensorScatterAdd": tensor_scatter("add"),
    "TensorScatterSub": tensor_scatter("add"), "TensorScatterMax": tensor_scatter("max"),
    "TensorScatterMin": tensor_scatter("min"),
    "UnsortedSegmentSum": unsorted_segment("add", "0"),
    "UnsortedSegmentProd": unsorted_segment("mul", "1"),
    "UnsortedSegmentMax": unsorted_segment("max", "least"),
    "UnsortedSegmentMin": unsorted_segment("min", "largest"), "TopKV2": top_k,
    "LowerBound": bound(ops.Less), "UpperBound": bound(ops.LessEqual),
    "InvertPermutation": invert_permutation, "ListDiff": list_diff,
}  # fmt: skip
