"""Operations that move, select or make elements in TF.js."""

from __future__ import annotations

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.ir.tensor import Constant, Tensor
from kerasport.targets.tfjs.graph.emit.attributes import dtype, integer, text
from kerasport.targets.tfjs.graph.emit.emitter import Emitter


def size_of(e: Emitter, x: Tensor, axis: int) -> str:
    """The size of an axis at run time, an int32 scalar: one element of `Shape`."""
    whole = e.add("Shape", [x], out_type=dtype("int32"))
    begin, end, step = e.ints([axis]), e.ints([axis + 1]), e.ints([1])
    return e.add("StridedSlice", [whole, begin, end, step], shrink_axis_mask=integer(1))


def emit_dim(e: Emitter, node: ops.Dim) -> str:
    """`Shape` and `StridedSlice`."""
    return size_of(e, node.x, node.axis)


def emit_reshape(e: Emitter, node: ops.Reshape) -> str:
    """`Reshape`."""
    return e.add("Reshape", [node.x, e.sizes(node.to)])


def emit_broadcast(e: Emitter, node: ops.BroadcastTo) -> str:
    """`BroadcastTo`."""
    return e.add("BroadcastTo", [node.x, e.sizes(node.to)])


def emit_transpose(e: Emitter, node: ops.Transpose) -> str:
    """`Transpose`."""
    return e.add("Transpose", [node.x, e.ints(list(node.order))])


def emit_slice(e: Emitter, node: ops.Slice) -> str:
    """`Slice`."""
    return e.add("Slice", [node.x, e.sizes(node.begin), e.sizes(node.size)])


def emit_strided_slice(e: Emitter, node: ops.StridedSlice) -> str:
    """`StridedSlice`, with a bit for each axis whose begin or end is open."""
    open_begin = sum(1 << axis for axis, (begin, _, _) in enumerate(node.parts) if begin is None)
    open_end = sum(1 << axis for axis, (_, end, _) in enumerate(node.parts) if end is None)
    begins = e.sizes([0 if begin is None else begin for begin, _, _ in node.parts])
    ends = e.sizes([0 if end is None else end for _, end, _ in node.parts])
    steps = e.ints([step for _, _, step in node.parts])
    masks = {"begin_mask": integer(open_begin), "end_mask": integer(open_end)}
    return e.add("StridedSlice", [node.x, begins, ends, steps], **masks)


def emit_concat(e: Emitter, node: ops.Concat) -> str:
    """`ConcatV2`."""
    return e.add("ConcatV2", [*node.parts, e.number(node.axis)], N=integer(len(node.parts)))


def emit_pad(e: Emitter, node: ops.Pad) -> str:
    """`PadV2`, or `MirrorPad` for the modes that repeat elements of x."""
    pads = e.ints(node.paddings)
    if node.mode != "constant":
        return e.add("MirrorPad", [node.x, pads], mode=text(node.mode.upper()))
    return e.add("PadV2", [node.x, pads, e.number(node.value, node.dtype)])


def emit_tile(e: Emitter, node: ops.Tile) -> str:
    """`Tile`."""
    return e.add("Tile", [node.x, e.sizes(node.times)])


def emit_gather(e: Emitter, node: ops.Gather) -> str:
    """`GatherV2`."""
    assert not node.batch_dims, "the wasm backend reads wrong elements in batches"
    return e.add("GatherV2", [node.x, node.indices, e.number(node.axis)], batch_dims=integer(0))


def emit_reverse(e: Emitter, node: ops.Reverse) -> str:
    """`ReverseV2`."""
    return e.add("ReverseV2", [node.x, e.ints(list(node.axes))])


def emit_one_hot(e: Emitter, node: ops.OneHot) -> str:
    """`OneHot` with the values 1 and 0."""
    assert node.dtype == "int32", "wasm returns int32 whatever dtype is requested"
    values = e.number(node.depth), e.number(1), e.number(0)
    return e.add("OneHot", [node.indices, *values], axis=integer(-1), T=dtype(node.dtype))


def emit_range(e: Emitter, node: ops.Range) -> str:
    """`Range`."""
    start = e.number(0) if node.start is None else node.start
    step = e.number(1) if node.step is None else node.step
    return e.add("Range", [start, node.stop, step], Tidx=dtype("int32"))


def emit_fill(e: Emitter, node: ops.Fill) -> str:
    """`Fill`."""
    return e.add("Fill", [e.sizes(node.to), e.number(node.value, node.dtype)], T=dtype(node.dtype))


def emit_arg_where(e: Emitter, node: ops.ArgWhere) -> str:
    """`Where`."""
    e.shared.waits = e.shared.waits or "finds the positions of elements"
    return e.add("Where", [node.condition])


def emit_scatter_nd(e: Emitter, node: ops.ScatterNd) -> str:
    """`TensorScatterUpdate`, or `ScatterNd`, which adds up updates, added to x."""
    if node.combine not in ("add", "replace"):
        raise Refusal("", f"TF.js adds or replaces scattered updates, it has no {node.combine}")
    known = [size for size in node.x.shape if size is not None]
    is_static = len(known) == node.x.rank
    shape = e.ints(known) if is_static else e.add("Shape", [node.x], out_type=dtype("int32"))
    places = _from_start(e, node, shape)
    if node.combine == "replace":
        return e.add("TensorScatterUpdate", [node.x, places, node.updates])
    added = e.add("ScatterNd", [places, node.updates, shape])
    return e.add("AddV2", [node.x, added])


def _from_start(e: Emitter, node: ops.ScatterNd, shape: str) -> str:
    """The indices, of which negative ones count from the end in the IR, but not in TF.js."""
    if isinstance(node.indices, Constant) and node.indices.read().min(initial=0) >= 0:
        return e.ref(node.indices)
    count = node.indices.shape[-1] or 0
    if count < node.x.rank:
        shape = e.add("Slice", [shape, e.ints([0]), e.ints([count])])
    return e.add("FloorMod", [node.indices, shape])
