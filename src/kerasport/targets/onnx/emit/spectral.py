"""Fourier transforms in ONNX."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.targets.onnx.emit.emitter import Emitter


def emit_dft(e: Emitter, node: ops.Dft) -> onnx.Value:
    """`DFT`, whose axis is an input since opset 20, and an attribute before."""
    attributes = {"inverse": int(node.inverse), "onesided": int(node.onesided)}
    if e.opset >= 20:
        return e.add("DFT", [node.x, None, e.wide(node.axis)], **attributes)
    return e.add("DFT", [node.x], axis=node.axis, **attributes)
