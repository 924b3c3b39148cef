"""Reductions, running sums and the largest numbers in TF.js."""

from __future__ import annotations

from kerasport.ir import ops
from kerasport.targets.tfjs.graph.emit.attributes import boolean
from kerasport.targets.tfjs.graph.emit.emitter import Emit, Emitter


def emit_reduction(op: str) -> Emit:
    """A reduction with its axes as an operand."""

    def emit(e: Emitter, node: ops.Reduction) -> str:
        return e.add(op, [node.x, e.ints(list(node.axes))], keep_dims=boolean(node.keepdims))

    return emit


def emit_arg(op: str) -> Emit:
    """`ArgMax` or `ArgMin`."""

    def emit(e: Emitter, node: ops.ArgMax | ops.ArgMin) -> str:
        return e.add(op, [node.x, e.number(node.axis)])

    return emit


def emit_cumulative(op: str) -> Emit:
    """`Cumsum` or `Cumprod`."""

    def emit(e: Emitter, node: ops.Cumsum | ops.Cumprod) -> str:
        return e.add(
            op,
            [node.x, e.number(node.axis)],
            exclusive=boolean(node.exclusive),
            reverse=boolean(node.reverse),
        )

    return emit


def emit_top_k(e: Emitter, node: ops.TopK) -> str:
    """`TopKV2`: values, then places."""
    name = e.add("TopKV2", [node.x, e.size(node.k)], sorted=boolean(True))
    return e.results(node, (name, f"{name}:1"))
