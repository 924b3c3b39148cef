"""Scatter in ONNX."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.targets.onnx.emit.emitter import Emitter


def emit_scatter_nd(e: Emitter, node: ops.ScatterNd) -> onnx.Value:
    """`ScatterND` with indices of int64; `max` and `min` exist since opset 18."""
    if node.combine in ("max", "min") and e.opset < 18:
        raise Refusal(
            "", f"ONNX supports scatter with {node.combine} from opset 18; use --opset 18"
        )
    indices = e.cast(node.indices, onnx.DataType.INT64)
    how = {} if node.combine == "replace" else {"reduction": node.combine}
    return e.add("ScatterND", [node.x, indices, node.updates], **how)
