"""Operations that ONNX has as one operator."""

from __future__ import annotations

from kerasport.ir.ops import Reverse
from kerasport.ir.tensor import Node
from kerasport.passes.fuse import fuse_gelu, fuse_hard_sigmoid, fuse_layer_norm, fuse_prelu
from kerasport.passes.rewrite import Rule, Uses


def twice_reversed(node: Node, uses: Uses) -> Node | None:
    """reverse(reverse(x))  →  x."""
    del uses
    match node:
        case Reverse(Reverse(x, inner), outer) if inner == outer:
            return x
    return None


FUSION = (fuse_hard_sigmoid, fuse_prelu, fuse_layer_norm, twice_reversed)


def fusion(opset: int) -> tuple[Rule, ...]:
    """The rules for an opset; `Gelu` exists since opset 20."""
    return (fuse_gelu, *FUSION) if opset >= 20 else FUSION
