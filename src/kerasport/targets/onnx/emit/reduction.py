"""Reductions, running sums, softmax and the largest numbers in ONNX."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.targets.onnx.emit.emitter import Emit, Emitter


def emit_reduction(op: str, since: int) -> Emit:
    """A reduction whose axes are an operand from opset `since` on, and an attribute before."""

    def emit(e: Emitter, node: ops.Reduction) -> onnx.Value:
        keep = {"keepdims": int(node.keepdims)}
        if e.opset >= since:
            return e.add(op, [node.x, e.ints(node.axes)], **keep)
        return e.add(op, [node.x], axes=list(node.axes), **keep)

    return emit


def emit_mean(e: Emitter, node: ops.Mean) -> onnx.Value:
    """`ReduceMean`, or `GlobalAveragePool` over all spatial axes of an image with channels first.

    ONNX Runtime has a pooling kernel in the memory layout of its convolutions, and no such
    reduction.
    """
    if node.x.rank not in (4, 5) or node.axes != tuple(range(2, node.x.rank)):
        return emit_reduction("ReduceMean", 18)(e, node)
    pooled = e.add("GlobalAveragePool", [node.x])
    return pooled if node.keepdims else e.add("Flatten", [pooled], axis=1)


def emit_truths(op: str) -> Emit:
    """`ReduceMax` or `ReduceMin` of 0 and 1: ONNX reduces no booleans before opset 20."""

    def emit(e: Emitter, node: ops.Any_ | ops.All) -> onnx.Value:
        numbers = e.cast(node.x, onnx.DataType.INT32)
        keep = {"keepdims": int(node.keepdims)}
        if e.opset >= 18:
            reduced = e.add(op, [numbers, e.ints(node.axes)], **keep)
        else:
            reduced = e.add(op, [numbers], axes=list(node.axes), **keep)
        return e.cast(reduced, onnx.DataType.BOOL)

    return emit


def emit_arg(op: str) -> Emit:
    """`ArgMax` or `ArgMin`, cast from int64 to int32."""

    def emit(e: Emitter, node: ops.ArgMax | ops.ArgMin) -> onnx.Value:
        places = e.add(op, [node.x], axis=node.axis, keepdims=0)
        return e.cast(places, onnx.DataType.INT32)

    return emit


def emit_cumsum(e: Emitter, node: ops.Cumsum) -> onnx.Value:
    """`CumSum`."""
    return e.add(
        "CumSum",
        [node.x, e.number(node.axis)],
        exclusive=int(node.exclusive),
        reverse=int(node.reverse),
    )


def emit_softmax(op: str) -> Emit:
    """`Softmax` or `LogSoftmax` over the last axis."""

    def emit(e: Emitter, node: ops.Softmax | ops.LogSoftmax) -> onnx.Value:
        return e.add(op, [node.x], axis=-1)

    return emit


def emit_top_k(e: Emitter, node: ops.TopK) -> onnx.Value:
    """`TopK`, with the places cast from int64 to int32."""
    values, places = e.add_several("TopK", [node.x, e.vector(node.k)], 2)
    return e.results(node, (values, e.cast(places, onnx.DataType.INT32)))
