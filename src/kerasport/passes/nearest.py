"""Nearest pixels whose positions runtimes round differently."""

from __future__ import annotations

from math import gcd

from kerasport.ir import ops
from kerasport.ir.ops import Dim, FloorDiv, Gather, Mul, Range, Resize, Tensor
from kerasport.ir.ops.movement import Size, extent_of
from kerasport.ir.tensor import Node, as_tensor
from kerasport.passes.rewrite import Uses


def exact_pixels(node: Node, uses: Uses) -> Node | None:
    """Resize to nearest pixels  →  gathers, where a position may be exactly between two pixels.

    There, TF.js takes the pixel before or after it as its computation with fractions rounds, and
    ONNX Runtime another one: of 30 pixels, the second of 9 is the sixth in TF.js.
    """
    del uses
    match node:
        case Resize(x, size, "nearest"):
            axes = list(zip((1, 2), size, strict=True))
            if all(_is_unambiguous(x, axis, new) for axis, new in axes):
                return None
            for axis, new in axes:
                x = Gather(x, _pixels(ops.dim(x, axis), new), axis)
            return x
    return None


def _is_unambiguous(x: Tensor, axis: int, new: Size) -> bool:
    """Whether no position is between two pixels, or all positions are exact fractions.

    A position (2i + 1) · old / (2 · new) is an integer only if old is even and new odd, without
    common factors. It is exact if old is a power of 2 and new is 1.
    """
    old, size = ops.dim(x, axis), extent_of(new)
    if not isinstance(old, int) or not isinstance(size, int):
        # the size of the axis itself, or a multiple of it
        factor = new.a if isinstance(new, Mul) else new
        return isinstance(factor, Dim) and factor.x is x and factor.axis == axis
    common = gcd(old, size) or 1
    before, after = old // common, size // common
    if before % 2 or not after % 2:
        return True
    return after == 1 and before & (before - 1) == 0


def _pixels(old: Size, new: Size) -> Tensor:
    """⌊(2i + 1) · old / (2 · new)⌋ for each new pixel i: int32 [new]."""
    odd = ops.add(ops.mul(Range(as_tensor(new)), 2), 1)
    return FloorDiv(ops.mul(odd, old), ops.as_tensor(ops.mul(as_tensor(new), 2)))
