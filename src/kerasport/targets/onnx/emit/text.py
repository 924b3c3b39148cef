"""Operations on strings in ONNX, which exist since opset 20."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.targets.onnx.emit.emitter import Emitter


def _check_opset(e: Emitter) -> None:
    if e.opset < 20:
        raise Refusal("", "ONNX supports this operation on strings from opset 20; use --opset 20")


def emit_string_concat(e: Emitter, node: ops.StringConcat) -> onnx.Value:
    """`StringConcat`."""
    _check_opset(e)
    return e.add("StringConcat", [node.a, node.b])


def emit_string_split(e: Emitter, node: ops.StringSplit) -> onnx.Value:
    """`StringSplit`."""
    _check_opset(e)
    how = {"delimiter": node.delimiter} if node.delimiter else {}
    return e.results(node, e.add_several("StringSplit", [node.x], 2, **how))


def emit_regex_full_match(e: Emitter, node: ops.RegexFullMatch) -> onnx.Value:
    """`RegexFullMatch`."""
    _check_opset(e)
    return e.add("RegexFullMatch", [node.x], pattern=node.pattern)
