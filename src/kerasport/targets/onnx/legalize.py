"""Rules that replace operations that ONNX lacks with operations that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kerasport.ir import ops
from kerasport.ir.dtypes import DType
from kerasport.ir.graph import with_operands
from kerasport.ir.ops import (
    Binary,
    Cast,
    Cumprod,
    Item,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    MatMul,
    Pad,
    Reduction,
    Relu,
    Reverse,
    Select,
    Tensor,
    TopK,
    Unary,
)
from kerasport.ir.ops.loop import Step
from kerasport.ir.ops.movement import product
from kerasport.ir.ops.reduction import ArgReduction, Cumulative
from kerasport.ir.tensor import Node, constant
from kerasport.passes.crops import crops
from kerasport.passes.loop import counted_steps_of
from kerasport.passes.nearest import exact_pixels
from kerasport.passes.rewrite import Uses


def mirrored(node: Node, uses: Uses) -> Node | None:
    """Padding with mode "symmetric"  →  x between reversed slices of itself."""
    del uses
    match node:
        case Pad(x, pads, "symmetric"):
            for axis, (before, after) in enumerate(pads):
                parts = [x]
                if before:
                    parts.insert(0, Reverse(ops.strided_axis(x, axis, 0, before), (axis,)))
                if after:
                    parts.append(Reverse(ops.strided_axis(x, axis, -after, None), (axis,)))
                x = ops.concat(parts, axis)
            return x
    return None


def running_products(node: Node, uses: Uses) -> Node | None:
    """Running products, which ONNX lacks  →  a loop that multiplies."""
    del uses
    match node:
        case Cumprod(x, axis, exclusive, reverse):
            sizes = ops.dims(x)
            before, after = product(sizes[:axis]), product(sizes[axis + 1 :])
            z = ops.reshape(x, (before, sizes[axis], after))
            (_, (products,)) = ops.scan(
                _multiply(exclusive=exclusive),
                (_ones(z),),
                (z,),
                reverse=reverse,
                result_reverse=reverse,
            )
            assert isinstance(products, Item)
            assert isinstance(products.source, ops.Scan)
            if products.source.may_be_empty:
                products = counted_steps_of(products.source)[1]
            return ops.reshape(products, sizes)
    return None


def _ones(z: Tensor) -> Tensor:
    return ops.Fill((ops.dim(z, 0), ops.dim(z, 2)), 1.0, z.dtype)


def _multiply(*, exclusive: bool) -> Step:
    def step(
        states: Sequence[Tensor], steps: Sequence[Tensor], _: object
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        after = states[0] * steps[0]
        return [after], [states[0] if exclusive else after]

    return step


def truths(node: Node, uses: Uses) -> Node | None:
    """Select between bools  →  logical and, or: ONNX Runtime supports Select for numbers only."""
    del uses
    match node:
        case Select(condition, a, b) if a.dtype == "bool":
            return LogicalOr(LogicalAnd(condition, a), LogicalAnd(LogicalNot(condition), b))
    return None


WIDE: Mapping[DType, DType] = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16"), "int32"),
    "uint32": "int64",
}  # fmt: skip
"""Integer type for which ONNX Runtime lacks kernels → the type in which it computes instead."""

COMPUTING = (Unary, Binary, Reduction, ArgReduction, Cumulative, MatMul, Select, Pad)
BITS = (ops.BitwiseAnd, ops.BitwiseOr, ops.BitwiseXor, ops.LeftShift, ops.RightShift)


def widened(node: Node, uses: Uses) -> Node | None:
    """f(x) for narrow integers  →  cast(f(cast(x))). The last cast makes results wrap around."""
    del uses
    match node:
        case Relu(x) if x.dtype == "int64":
            return ops.Maximum(x, constant(0, "int64"))
        case Item(TopK(x, k), index) if x.dtype in WIDE:
            found = Item(TopK(Cast(x, WIDE[x.dtype]), k), index)
            return Cast(found, x.dtype) if index == 0 else found
    if not isinstance(node, COMPUTING) or isinstance(node, (*BITS, ops.Prod)):
        return None
    short: dict[Node, Node] = {
        x: Cast(x, WIDE[x.dtype])
        for x in node.operands
        if isinstance(x, Tensor) and x.dtype in WIDE
    }
    if not short:
        return None
    wide = with_operands(node, short)
    assert isinstance(wide, Tensor)
    return Cast(wide, node.dtype) if node.dtype in WIDE else wide


LEGAL = (widened, mirrored, running_products, truths, crops, exact_pixels)
