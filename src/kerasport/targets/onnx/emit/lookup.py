"""Lookup tables in ONNX."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.ir.dtypes import DType
from kerasport.targets.onnx.emit.emitter import ML, Emitter


def emit_lookup(e: Emitter, node: ops.Lookup) -> onnx.Value:
    """`LabelEncoder` of the domain ai.onnx.ml, whose integers are int64."""
    table = dict(zip(node.keys, node.values, strict=True))
    attributes = {
        _list_name("keys", node.x.dtype): list(table),
        _list_name("values", node.dtype): list(table.values()),
        "default_string" if node.dtype == "string" else "default_int64": node.default,
    }
    x = node.x if node.x.dtype == "string" else e.cast(node.x, onnx.DataType.INT64)
    found = e.add_several("LabelEncoder", [x], 1, domain=ML, **attributes)[0]
    return found if node.dtype == "string" else e.cast(found, onnx.DataType.INT32)


def _list_name(name: str, dtype: DType) -> str:
    """Name of the attribute that holds keys or values of an element type."""
    return f"{name}_strings" if dtype == "string" else f"{name}_int64s"
