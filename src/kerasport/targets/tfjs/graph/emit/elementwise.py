"""Elementwise operations in TF.js that need attributes."""

from __future__ import annotations

from kerasport.ir import ops
from kerasport.targets.tfjs.graph.emit.attributes import dtype, real
from kerasport.targets.tfjs.graph.emit.emitter import Emitter


def emit_cast(e: Emitter, node: ops.Cast) -> str:
    """`Cast`."""
    assert node.to != "bool", "a cast to bool becomes a comparison: wasm reinterprets the bytes"
    return e.add("Cast", [node.x], SrcT=dtype(node.x.dtype), DstT=dtype(node.to))


def emit_clip(e: Emitter, node: ops.Clip) -> str:
    """`ClipByValue`, with the limits as operands."""
    limits = e.number(node.low, "float32"), e.number(node.high, "float32")
    return e.add("ClipByValue", [node.x, *limits])


def emit_leaky_relu(e: Emitter, node: ops.LeakyRelu) -> str:
    """`LeakyRelu`."""
    return e.add("LeakyRelu", [node.x], alpha=real(node.alpha))
