"""Rewrite rules that simplify a graph by algebra, for all targets."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from kerasport.ir import ops
from kerasport.ir.ops import (
    Add,
    BroadcastTo,
    Cast,
    Concat,
    Constant,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    MatMul,
    Mul,
    Neg,
    Pad,
    Reduction,
    Reshape,
    Slice,
    Sub,
    Tensor,
    Tile,
    Transpose,
)  # fmt: skip
from kerasport.ir.tensor import Node
from kerasport.passes.fold import number_sizes
from kerasport.passes.rewrite import Uses
from kerasport.weights import Shape

Linear = MatMul | Conv | DepthwiseConv | ConvTranspose


def per_channel(c: Tensor, y: Tensor) -> bool:
    """Whether `c`, broadcast to `y`, has one element, or one for each channel of `y`."""
    *front, last = c.shape or (1,)
    return c.rank <= y.rank and all(d == 1 for d in front) and last in (1, y.shape[-1])


def flat(c: Tensor, channels: int | None) -> Tensor:
    """A constant with one element, or one for each channel, as a vector [channels]."""
    vector = ops.reshape(c, (-1,))
    return (
        vector
        if vector.shape == (channels,) or channels is None
        else ops.broadcast_to(vector, (channels,))
    )


def scaled(y: Linear, s: Tensor) -> Tensor | None:
    """`y · s` with the scale in the kernel, or None if this is not possible.

    `s` is a constant with one element, or one for each channel of `y`.
    """
    kernel = y.b if isinstance(y, MatMul) else y.kernel
    if not isinstance(kernel, Constant) or y.shape[-1] is None:
        return None
    vector = flat(s, y.shape[-1])
    if isinstance(y, MatMul):
        if y.transpose_b:
            return None
        return replace(y, b=kernel * vector)
    if isinstance(y, DepthwiseConv):
        return replace(y, kernel=kernel * ops.reshape(vector, kernel.shape[-2:]))
    if isinstance(y, ConvTranspose):
        return replace(y, kernel=kernel * ops.expand_dims(vector, 1))
    return replace(y, kernel=kernel * vector)


def turn_constants(node: Node, uses: Uses) -> Node | None:
    """x · wᵀ  →  x · w', for a constant w that nothing else uses."""
    match node:
        case MatMul(_, Constant() as w, _, True) if uses(w) == 1:
            return replace(node, b=swapped(w), transpose_b=False)
        case MatMul(Constant() as w, _, True, _) if uses(w) == 1:
            return replace(node, a=swapped(w), transpose_a=False)
    return None


def swapped(x: Tensor) -> Tensor:
    """`x` with its last two axes swapped."""
    return ops.move_axis(x, -1, -2)


def fold_scale(node: Node, uses: Uses) -> Node | None:
    """(x · w) · s  →  x · (w · s), where s has one element for each output channel."""
    match node:
        case (Mul(MatMul() | Conv() | DepthwiseConv() | ConvTranspose() as y, Constant() as s)) | (
            Mul(Constant() as s, MatMul() | Conv() | DepthwiseConv() | ConvTranspose() as y)
        ) if per_channel(s, y) and uses(y) == 1:
            return scaled(y, s)
    return None


def fold_scaled_sum(node: Node, uses: Uses) -> Node | None:
    """(x · w + b) · s  →  x · (w · s) + b · s, where b and s have one element for each channel."""
    match node:
        case Mul(
            Add(
                MatMul() | Conv() | DepthwiseConv() | ConvTranspose() as y, Constant() as b
            ) as total,
            Constant() as s,
        ) if per_channel(s, y) and per_channel(b, y) and uses(y) == 1 and uses(total) == 1:
            moved = scaled(y, s)
            return None if moved is None else moved + b * s
    return None


def join_sums(node: Node, uses: Uses) -> Node | None:
    """(y + b) + c  →  y + (b + c), for constants."""
    match node:
        case Add(Add(y, Constant() as b) as inner, Constant() as c) if uses(
            inner
        ) == 1 and not isinstance(y, Constant):
            return y + (b + c)
    return None


def join_products(node: Node, uses: Uses) -> Node | None:
    """(y · b) · c  →  y · (b · c), for constants."""
    match node:
        case Mul(Mul(y, Constant() as b) as inner, Constant() as c) if uses(
            inner
        ) == 1 and not isinstance(y, Constant):
            return y * (b * c)
    return None


def constants_last(node: Node, uses: Uses) -> Node | None:
    """c + x  →  x + c,  c · x  →  x · c, so that other rules match only one order."""
    del uses
    match node:
        case Add(Constant() as c, x) if not isinstance(x, Constant):
            return Add(x, c)
        case Mul(Constant() as c, x) if not isinstance(x, Constant):
            return Mul(x, c)
        case Sub(x, Constant() as c) if not isinstance(x, Constant) and c.dtype == "float32":
            return Add(x, Neg(c))
    return None


def drop_neutral(node: Node, uses: Uses) -> Node | None:
    """x + 0  →  x,  x · 1  →  x, if the shape stays the same."""
    del uses
    match node:
        case Add(x, Constant() as c) if _all(c, 0.0) and node.shape == x.shape:
            return x
        case Mul(x, Constant() as c) if _all(c, 1.0) and node.shape == x.shape:
            return x
        case Cast(x, to) if x.dtype == to:
            return x
    return None


def _all(c: Constant, number: float) -> bool:
    return c.value.size <= 4096 and bool(np.all(c.read() == number))


def cancel_moves(node: Node, uses: Uses) -> Node | None:
    """Reshape ∘ Reshape  →  Reshape,  Transpose ∘ Transpose  →  Transpose.

    Moves whose result equals their input disappear.
    """
    del uses
    match node:
        case Reshape(x, to) if x.shape == node.shape and sum(d is None for d in x.shape) <= 1:
            return x
        case Reshape(Reshape(x, _), to) if all(isinstance(size, int) for size in to):
            return Reshape(x, to if None in node.shape else ops.known(node.shape))
        case Transpose(Transpose(x, inner), outer):
            return ops.transpose(x, [inner[axis] for axis in outer])
        case Transpose(x, order) if order == tuple(range(x.rank)):
            return x
        case Transpose(x, order) if _moves_ones(x.shape, order):
            return ops.reshape(x, [ops.dim(x, axis) for axis in order])
        case Slice(Slice() as inner):
            return _joined_slices(inner, node)
        case Tile(x, times) if all(n == 1 for n in times):
            return x
        case Concat((x,), _):
            return x
        case BroadcastTo(x, _) if x.shape == node.shape and None not in x.shape:
            return x
    return None


def keep_axes(node: Node, uses: Uses) -> Node | None:
    """Reshape ∘ Reduction  →  Reduction with keepdims, if the reshape restores reduced axes."""
    match node:
        case Reshape(Reduction(_, _, False) as reduced, _) if uses(reduced) == 1:
            kept = replace(reduced, keepdims=True)
            return (
                kept
                if kept.shape == node.shape and sum(size is None for size in node.shape) <= 1
                else None
            )
    return None


def _joined_slices(inner: Slice, outer: Slice) -> Slice | None:
    """One slice for a slice of a slice, None if a position is known only at run time."""
    axes = zip(inner.begin, inner.size, outer.begin, outer.size, strict=True)
    begins: list[int] = []
    sizes: list[int] = []
    for before, taken, begin, size in axes:
        if not (isinstance(before, int) and isinstance(taken, int)):
            return None
        if not (isinstance(begin, int) and isinstance(size, int)):
            return None
        begins.append(before + begin)
        sizes.append(_part_of(taken, begin, size))
    return Slice(inner.x, tuple(begins), tuple(sizes))


def _part_of(taken: int, begin: int, size: int) -> int:
    """The size of a slice of a slice: `size` elements from `begin` on, of `taken` elements.

    A size of -1 means up to the end.
    """
    return size if size != -1 or taken == -1 else taken - begin


def _moves_ones(shape: Shape, order: tuple[int, ...]) -> bool:
    """Whether a transpose moves only axes of size 1. A reshape does the same without a copy."""
    rest = [axis for axis in order if shape[axis] != 1]
    return rest == sorted(rest) and sum(shape[axis] is None for axis in order) <= 1


def pad_in_window(node: Node, uses: Uses) -> Node | None:
    """conv(pad(x))  →  conv(x) with the padding as an option, for zeros on spatial axes."""
    match node:
        case Conv(Pad(x, pads, "constant", 0.0) as padded, _, _, "valid", _) if (
            uses(padded) == 1 and x.rank == 4
        ):
            return _padded(node, x, pads)
        case DepthwiseConv(Pad(x, pads, "constant", 0.0) as padded, _, _, "valid", _) if (
            uses(padded) == 1
        ):
            return _padded(node, x, pads)
    return None


def _padded(
    node: Conv | DepthwiseConv, x: Tensor, pads: tuple[tuple[int, int], ...]
) -> Node | None:
    first, *spatial, last = pads
    if any(first) or any(last) or any(amount < 0 for pair in spatial for amount in pair):
        return None
    return replace(node, x=x, padding=tuple(spatial))


def size_of(shape: Shape) -> int | None:
    """The number of elements, None if a size is known only at run time."""
    return None if None in shape else prod(d for d in shape if d is not None)


ALGEBRA = (
    constants_last,
    drop_neutral,
    cancel_moves,
    keep_axes,
    turn_constants,
    fold_scale,
    fold_scaled_sum,
    join_sums,
    join_products,
    pad_in_window,
    number_sizes,
)
