"""Convolutions, pooling and resizing with channels first, as in ONNX.

Each such operation is put between two transposes. The one after it sinks toward the outputs,
through operations that are elementwise or work along axes, until it meets the one before another
such operation, and they cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias

import numpy as np

from kerasport.ir import ops
from kerasport.ir.ops import (
    Add,
    AvgPool,
    Cast,
    Clip,
    Concat,
    Constant,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    Input,
    LeakyRelu,
    MatMul,
    MaxPool,
    Pad,
    Reduction,
    Reshape,
    Resize,
    Reverse,
    Select,
    Slice,
    StridedSlice,
    Tensor,
    TensorType,
    Tile,
    Transpose,
)
from kerasport.ir.ops.elementwise import Binary, Unary
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Extents, Node
from kerasport.passes.fuse import Gelu, HardSigmoid, Prelu
from kerasport.passes.rewrite import Uses
from kerasport.weights import Array

Window: TypeAlias = Conv | DepthwiseConv | ConvTranspose | MaxPool | AvgPool | Resize


class First(Tensor):
    """An operation over spatial axes, with the channels of x and of the result on axis 1."""

    # the same operation with channels last, for its options; never emitted itself
    last: Window
    x: Tensor
    # in the layout of ONNX
    kernel: Tensor | None = None
    # [channels of the result]
    bias: Tensor | None = None
    # for a Resize: sizes of the result that are known only at run time
    sizes: tuple[Tensor, ...] = ()

    def _taken(self) -> tuple[Any, ...]:
        return (self.x, self.kernel, self.bias, self.sizes)

    def infer(self) -> TensorType:
        of_x = TensorType("float32", _moved(self.x.extents, channels_last(self.x.rank)))
        result = replace(self.last, x=Input("x", of_x))
        return TensorType("float32", _moved(result.extents, channels_first(result.rank)))

    def compute(self, *operands: Any) -> Array:
        x, *rest = operands
        kernel = () if self.kernel is None else (_kernel_back(self.last, rest.pop(0)),)
        sizes = [rest.pop() for _ in self.sizes][::-1]
        result: Array = np.moveaxis(
            self.last.compute(np.moveaxis(x, 1, -1), *kernel, *sizes), -1, 1
        )
        return result if not rest else result + rest[0].reshape(-1, *(1,) * (x.ndim - 2))


class ToLast(Transpose):
    """A transpose after an operation with channels first, which may sink; others stay in place."""


def channels_first(rank: int) -> tuple[int, ...]:
    """The order of axes that moves the last one to axis 1."""
    return (0, rank - 1, *range(1, rank - 1))


def channels_last(rank: int) -> tuple[int, ...]:
    """The order of axes that moves axis 1 to the end."""
    return (0, *range(2, rank), 1)


def to_first(x: Tensor) -> Tensor:
    """`x` with channels first."""
    return ops.transpose(x, channels_first(x.rank))


def to_last(x: Tensor) -> Tensor:
    """`x` with channels last."""
    return ToLast(x, channels_last(x.rank))


def _moved(extents: Extents, order: Sequence[int]) -> Extents:
    return tuple(extents[axis] for axis in order)


# ------------------------------------------------------------------------------------------ windows


def turn_windows(node: Node, uses: Uses) -> Node | None:
    """conv(x)  →  last(conv'(first(x))), and so for pooling and resizing."""
    del uses
    match node:
        case MaxPool() | AvgPool():
            return to_last(First(node, to_first(node.x)))
        case Resize():
            sizes = tuple(size for size in node.size if not isinstance(size, int))
            return to_last(First(node, to_first(node.x), sizes=sizes))
        case Conv() | DepthwiseConv() | ConvTranspose():
            return to_last(First(node, to_first(node.x), _kernel(node, node.kernel)))
    return None


def _kernel(node: Conv | DepthwiseConv | ConvTranspose, kernel: Tensor) -> Tensor:
    """A kernel in the layout of ONNX: [output, input / groups, *window].

    For a transposed convolution it is [input, output, *window].

    A depthwise one is that of as many groups as there are channels, [input · multiplier, 1,
    *window].
    """
    turned = ops.transpose(kernel, _kernel_order(node))
    if not isinstance(node, DepthwiseConv):
        return turned
    depth, multiplier, *window = ops.known(turned.shape)
    return ops.reshape(turned, (depth * multiplier, 1, *window))


def _kernel_order(node: Window) -> tuple[int, ...]:
    rank = node.rank
    ends = (rank - 2, rank - 1) if isinstance(node, DepthwiseConv) else (rank - 1, rank - 2)
    return (*ends, *range(rank - 2))


def _kernel_back(node: Window, kernel: Array) -> Array:
    if isinstance(node, DepthwiseConv):
        sizes = ops.known(node.kernel.shape)
        kernel = kernel.reshape(*(sizes[axis] for axis in _kernel_order(node)))
    return np.transpose(kernel, np.argsort(_kernel_order(node)))


def missing(node: ConvTranspose) -> tuple[int, ...]:
    """The number of zeros on each axis after what a transposed convolution reaches."""
    window = ops.known(node.kernel.shape)[:-2]
    axes = zip(window, node.strides, node.crop, node.extra, strict=True)
    return tuple(max(0, crop + extra - (k - s)) for k, s, crop, extra in axes)


def take_bias(node: Node, uses: Uses) -> Node | None:
    """conv(x) + b  →  conv(x, b), for a constant b with one number for each channel."""
    match node:
        case Add(First(last, _, kernel, None) as y, Constant() as b) if (
            kernel is not None and uses(y) == 1 and _is_bias(b, y)
        ):
            if isinstance(last, ConvTranspose) and any(missing(last)):
                return None
            return replace(y, bias=ops.reshape(b, (-1,)))
    return None


def _is_bias(b: Constant, y: Tensor) -> bool:
    return b.rank == y.rank and b.value.size == b.shape[1] == y.shape[1]


# ------------------------------------------------------------------------------------------ sinking


def sink_elementwise(node: Node, uses: Uses) -> Node | None:
    """f(last(x))  →  last(f(x)), and f(last(x), y)  →  last(f(x, first(y)))."""
    del uses
    match node:
        case (
            Unary(ToLast(x))
            | Cast(ToLast(x))
            | Clip(ToLast(x))
            | LeakyRelu(ToLast(x))
            | Gelu(ToLast(x))
            | HardSigmoid(ToLast(x))
        ):
            return to_last(replace(node, x=x))
        case Prelu(ToLast(x), slope):
            return to_last(Prelu(x, _level(slope, node.rank)))
        case Binary(a, b) if _sinks((a, b), node):
            return to_last(replace(node, a=_level(a, node.rank), b=_level(b, node.rank)))
        case Select(condition, a, b) if _sinks((condition, a, b), node):
            parts = (_level(part, node.rank) for part in (condition, a, b))
            return to_last(Select(*parts))
    return None


def _sinks(operands: Sequence[Tensor], node: Tensor) -> bool:
    return any(isinstance(x, ToLast) and x.rank == node.rank for x in operands)


def _level(x: Tensor, rank: int) -> Tensor:
    """An operand with channels first and the rank of the result; a scalar as it is."""
    if x.rank == 0:
        return x
    if x.rank < rank:
        x = ops.expand_dims(x, *range(rank - x.rank))
    return x.x if isinstance(x, ToLast) else to_first(x)


def sink_moves(node: Node, uses: Uses) -> Node | None:
    """An operation along axes of last(x)  →  the same along the axes of x."""
    del uses
    match node:
        case Concat(parts, axis) if _sinks(parts, node):
            return to_last(
                Concat(tuple(_level(x, node.rank) for x in parts), channels_last(node.rank)[axis])
            )
        case Pad(ToLast(x), pads):
            return to_last(replace(node, x=x, paddings=_back(pads)))
        case Slice(ToLast(x), begin, size):
            return to_last(Slice(x, _back(begin), _back(size)))
        case StridedSlice(ToLast(x), parts):
            return to_last(StridedSlice(x, _back(parts)))
        case Tile(ToLast(x), times):
            return to_last(Tile(x, _back(times)))
        case Reverse(ToLast(x, order), axes):
            return to_last(Reverse(x, tuple(sorted(order[axis] for axis in axes))))
    return None


def _back(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values for each axis, in the order of axes before the transpose."""
    return tuple(values[axis] for axis in channels_first(len(values)))


def sink_reductions(node: Node, uses: Uses) -> Node | None:
    """Σ last(x)  →  last(Σ x), or Σ x if the remaining axes are in order."""
    del uses
    match node:
        case Reduction(ToLast(x, order), axes, keepdims):
            reduced = replace(node, x=x, axes=tuple(sorted(order[axis] for axis in axes)))
            if keepdims:
                return to_last(reduced)
            left = [axis for i, axis in enumerate(order) if i not in axes]
            return ops.transpose(reduced, [sorted(left).index(axis) for axis in left])
    return None


def sink_reshapes(node: Node, uses: Uses) -> Node | None:
    """Inserting or removing a first spatial axis of size 1, as layers with one spatial axis do."""
    del uses
    match node:
        case Reshape(ToLast(x), _) if (
            x.rank == 4 and node.rank == 3 and x.shape[2] == 1 and _keeps(node, (0, 2, 3))
        ):
            return to_last(ops.reshape(x, (*ops.dims(x)[:2], ops.dim(x, 3))))
        case Reshape(ToLast(x), _) if (
            x.rank == 3 and node.rank == 4 and _keeps(node, (0, None, 1, 2))
        ):
            return to_last(ops.expand_dims(x, 2))
    return None


def _keeps(node: Reshape, axes: Sequence[int | None]) -> bool:
    """Whether the axes of the result are these axes of x; None means a new axis of size 1.

    All but one must be known to be: the number of elements determines the last one.
    """
    unsure = 0
    for size, to, axis in zip(node.shape, node.to, axes, strict=True):
        if size != (1 if axis is None else node.x.shape[axis]):
            return False
        unsure += axis is not None and size is None and not keeps_size(node.x, to, axis)
    return unsure < 2


def keeps_size(x: Tensor, to: Size, axis: int) -> bool:
    """Whether a size of a reshape of `x` is the size that `x` itself has on the same axis.

    The size may have been taken from before a transpose. A reshape may have more axes than `x`.
    """
    if not isinstance(to, ops.Dim) or axis >= x.rank:
        return False
    return (to.x is x and to.axis == axis) or (
        isinstance(x, Transpose) and to.x is x.x and to.axis == x.order[axis]
    )


def flat_products(node: Node, uses: Uses) -> Node | None:
    """flatten(last(x)) · w  →  flatten(x) · w', with the rows of w in the order of x."""
    match node:
        case MatMul(Reshape(ToLast(x) as moved, _) as flat, Constant() as w, False, False) if (
            uses(flat) == 1 and flat.rank == 2 and w.rank == 2 and _flattens(flat)
        ):
            sizes, columns = ops.known(moved.shape[1:]), w.shape[1]
            order = (len(sizes) - 1, *range(len(sizes) - 1), len(sizes))
            rows = ops.transpose(ops.reshape(w, (*sizes, columns)), order)
            return replace(node, a=ops.reshape(x, (-1, w.shape[0])), b=ops.reshape(rows, w.shape))
    return None


def _flattens(node: Reshape) -> bool:
    """Whether a reshape keeps the first axis and joins all others."""
    sizes = node.x.shape[1:]
    if None in sizes or 0 in sizes:
        return False
    return node.shape[1] == prod(ops.known(sizes)) or (
        keeps_size(node.x, node.to[0], 0) and node.to[1] == -1
    )


def cancel_transposes(node: Node, uses: Uses) -> Node | None:
    """first(last(x))  →  x, two transposes  →  one, size of a transpose  →  size of its operand."""
    del uses
    match node:
        case Transpose(Transpose(x, inner), outer):
            order = tuple(inner[axis] for axis in outer)
            kept = x.rank in (4, 5) and isinstance(node, ToLast) and order == channels_last(x.rank)
            return ToLast(x, order) if kept else ops.transpose(x, order)
        case ops.Dim(Transpose(x, order), axis):
            return ops.Dim(x, order[axis])
    return None


LAYOUT = (
    turn_windows,
    cancel_transposes,
    sink_elementwise,
    sink_moves,
    sink_reductions,
    sink_reshapes,
    flat_products,
    take_bias,
)
