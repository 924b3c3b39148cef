"""Rules that replace what some backend of TF.js computes incorrectly.

The limits were measured on cpu, wasm, webgl and webgpu: padding, strided slices, reversing,
selecting and running sums work up to four axes, everything else up to six; three-dimensional max
pooling is wrong on wasm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce

import numpy as np

from kerasport.ir import ops
from kerasport.ir.ops import (
    WHOLE,
    Abs,
    Asinh,
    AvgPool,
    Cast,
    Conv,
    ConvTranspose,
    Cumprod,
    Cumsum,
    DepthwiseConv,
    Dft,
    Gather,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    MatMul,
    MaxPool,
    OneHot,
    Pad,
    Range,
    Reverse,
    ScatterNd,
    Select,
    Sign,
    StridedSlice,
    Tensor,
)  # fmt: skip
from kerasport.ir.ops.movement import PadMode, Size, product
from kerasport.ir.ops.window import amounts
from kerasport.ir.tensor import Node, as_tensor, constant
from kerasport.passes.crops import crops
from kerasport.passes.nearest import exact_pixels
from kerasport.passes.rewrite import Uses
from kerasport.targets.tfjs.graph.emit import skips
from kerasport.weights import Shape

LOW = 4
"""Largest rank that all kernels compute correctly."""


def along_axis(x: Tensor, axis: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function of one axis to `x`, as a tensor of rank 3.

    Its axes are all axes before, the axis itself, and all axes after.
    """
    sizes = ops.dims(x)
    before, after = sizes[:axis], sizes[axis + 1 :]
    y = function(ops.reshape(x, (product(before), sizes[axis], product(after))))
    return ops.reshape(y, (*before, ops.dim(y, 1), *after))


def low_rank_pads(node: Node, uses: Uses) -> Node | None:
    """Padding of a high rank  →  padding of one axis at a time, in tensors of rank 3."""
    del uses
    match node:
        case Pad(x, pads, mode, value) if x.rank > LOW:
            for axis, pair in enumerate(pads):
                if any(pair):
                    x = along_axis(x, axis, partial(_padded, pair=pair, mode=mode, value=value))
            return x
    return None


def _padded(y: Tensor, *, pair: tuple[int, int], mode: PadMode, value: float) -> Tensor:
    return Pad(y, ((0, 0), pair, (0, 0)), mode, value)


def low_rank_slices(node: Node, uses: Uses) -> Node | None:
    """Strided slices of a high rank  →  slices of one axis at a time, in tensors of rank 3."""
    del uses
    match node:
        case StridedSlice(x, parts) if x.rank > LOW:
            for axis, part in enumerate(parts):
                if part != WHOLE:
                    x = along_axis(x, axis, partial(StridedSlice, parts=(WHOLE, part, WHOLE)))
            return x
    return None


def low_rank_others(node: Node, uses: Uses) -> Node | None:
    """Reversals and running sums of a high rank  →  the same in tensors of rank 3."""
    del uses
    match node:
        case Reverse(x, axes) if x.rank > LOW:
            for axis in axes:
                x = along_axis(x, axis, lambda y: Reverse(y, (1,)))
            return x
        case Cumsum(x, axis, exclusive, reverse) if x.rank > LOW:
            return along_axis(x, axis, lambda y: Cumsum(y, 1, exclusive, reverse))
        case Cumprod(x, axis, exclusive, reverse) if x.rank > LOW:
            return along_axis(x, axis, lambda y: Cumprod(y, 1, exclusive, reverse))
    return None


def low_rank_select(node: Node, uses: Uses) -> Node | None:
    """Select of a high rank  →  select of rank 1, with all operands broadcast to the result."""
    del uses
    match node:
        case Select(condition, a, b) if max(condition.rank, a.rank, b.rank) > LOW:
            sizes = joint_sizes(condition, a, b)
            return ops.reshape(Select(*(_row(part, sizes) for part in (condition, a, b))), sizes)
    return None


def _row(x: Tensor, sizes: Sequence[Size]) -> Tensor:
    """`x` broadcast to `sizes`, with one axis; a single element as a scalar."""
    return ops.reshape(x, ()) if x.shape == ones(x.rank) else ops.reshape(spread(x, sizes), (-1,))


def joint_sizes(*tensors: Tensor, inner: int = 0) -> tuple[Size, ...]:
    """The sizes of tensors broadcast together, without the last `inner` axes."""
    rank = max(x.rank for x in tensors)
    return tuple(_joint_size(tensors, axis) for axis in range(-rank, -inner))


def _joint_size(tensors: Sequence[Tensor], axis: int) -> Size:
    sizes = [ops.dim(x, axis) for x in tensors if x.rank + axis >= 0 and x.shape[axis] != 1]
    known = [size for size in sizes if isinstance(size, int)]
    if known:
        return known[0]
    return reduce(ops.maximum, sizes) if sizes else 1


def spread(x: Tensor, sizes: Sequence[Size], inner: int = 0) -> Tensor:
    """`x` broadcast to `sizes`, except the last `inner` axes."""
    return ops.broadcast_to(x, (*sizes, *ops.dims(x)[x.rank - inner :]))


def ones(count: int) -> Shape:
    """A shape of `count` axes of size 1."""
    return (1,) * count


def flat_pools(node: Node, uses: Uses) -> Node | None:
    """Pooling of volumes  →  of their slices, then along the first spatial axis.

    A maximum is the maximum of maxima, and a mean the mean of means. The wasm backend computes
    maxima of volumes incorrectly, and all backends means of "same" windows smaller than their
    stride.
    """
    del uses
    match node:
        case MaxPool(x) if x.rank == 5:
            return _flat_pool(node)
        case AvgPool(x, window, strides, "same") if x.rank == 5 and skips(
            window, strides, (1, 1, 1)
        ):
            return _flat_pool(node)
    return None


def _flat_pool(node: MaxPool | AvgPool) -> Tensor:
    batch, depth, height, width, channels = ops.dims(node.x)
    slices = ops.reshape(node.x, (product((batch, depth)), height, width, channels))
    pooled = replace(node, x=slices, window=node.window[1:], strides=node.strides[1:])
    rows, columns = ops.dims(pooled)[1:3]
    layers = ops.reshape(pooled, (batch, depth, product((rows, columns)), channels))
    deep = replace(node, x=layers, window=(node.window[0], 1), strides=(node.strides[0], 1))
    return ops.reshape(deep, (batch, ops.dim(deep, 1), rows, columns, channels))


def padded_volumes(node: Node, uses: Uses) -> Node | None:
    """A convolution of volumes with explicit padding  →  a pad, then a convolution without."""
    del uses
    match node:
        case Conv(x, _, _, padding, _) if x.rank == 5 and isinstance(padding, tuple):
            return replace(node, x=ops.pad(x, ((0, 0), *padding, (0, 0))), padding="valid")
    return None


def grouped(node: Node, uses: Uses) -> Node | None:
    """A convolution with groups, which TF.js lacks  →  one convolution for each group, joined.

    For images, groups of one channel are a depthwise convolution.
    """
    del uses
    match node:
        case Conv(x, kernel, strides, padding, dilations, groups) if groups > 1:
            *window, depth, filters = ops.known(kernel.shape)
            if depth == 1 and x.rank == 4:
                own = ops.reshape(kernel, (*window, groups, filters // groups))
                return DepthwiseConv(
                    x, own, (strides[0], strides[1]), padding, (dilations[0], dilations[1])
                )
            channels = (ops.slice_axis(x, -1, i * depth, depth) for i in range(groups))
            parts = zip(channels, ops.split(kernel, groups), strict=True)
            return ops.concat([Conv(part, own, strides, padding, dilations) for part, own in parts])
    return None


def exact_same(node: Node, uses: Uses) -> Node | None:
    """Padding "same" of windows smaller than their stride  →  explicit amounts.

    TF.js would add other amounts.
    """
    del uses
    match node:
        case Conv(x, kernel, strides, "same", dilations) | DepthwiseConv(
            x, kernel, strides, "same", dilations
        ):
            window = ops.known(kernel.shape)[:-2]
            axes = list(zip(x.shape[1:-1], window, strides, dilations, strict=True))
            # windows of one element are not padded, and without gaps the size does not matter
            if skips(window, strides, dilations) and all(
                n is not None or 1 in (k, s) for n, k, s, _ in axes
            ):
                pads = tuple(amounts(n or 1, k, s, d, "same", 0) for n, k, s, d in axes)
                return replace(node, padding=pads if any(map(any, pads)) else "valid")
    return None


def volumes_transposed(node: Node, uses: Uses) -> Node | None:
    """A transposed convolution of volumes  →  a convolution.

    Graph-models have no transposed convolution of volumes. y[j·s + t] += x[j] · w[t] is the
    cross-correlation of x, with s - 1 zeros after each element and k - 1 zeros around, with the
    reversed w.
    """
    del uses
    match node:
        case ConvTranspose(x, kernel, strides, crop, _, extra) if x.rank == 5:
            window = ops.known(kernel.shape)[:3]
            for axis, stride in enumerate(strides, start=1):
                x = _zeros_between(x, axis, stride)
            pads = []
            for k, s, c, e in zip(window, strides, crop, extra, strict=True):
                # of (n - 1) · s + k elements, n · s + e are kept, from the c-th on
                pads.append((k - 1 - c, (k - 1) + c + e - (k - s)))
            if any(amount < 0 for pair in pads for amount in pair):
                return None
            x = ops.pad(x, ((0, 0), *pads, (0, 0)))
            turned = ops.transpose(Reverse(kernel, (0, 1, 2)), (0, 1, 2, 4, 3))
            return Conv(x, turned, (1, 1, 1), "valid", (1, 1, 1))
    return None


def _zeros_between(x: Tensor, axis: int, stride: int) -> Tensor:
    """`x` with stride - 1 zeros between its elements along an axis, and none after the last."""
    if stride == 1:
        return x

    def spread(y: Tensor) -> Tensor:
        wide = Pad(ops.expand_dims(y, 2), ((0, 0), (0, 0), (0, stride - 1), (0, 0)))
        size = y.shape[1]
        long = ops.reshape(
            wide, (ops.dim(y, 0), -1 if size is None else size * stride, ops.dim(y, 2))
        )
        return ops.strided(
            long,
            (WHOLE, (0, -(stride - 1) if size is None else size * stride - stride + 1, 1), WHOLE),
        )

    return along_axis(x, axis, spread)


def deep_enough(node: Node, uses: Uses) -> Node | None:
    """One-hot of one class  →  a comparison; of another dtype than int32  →  of int32, then a cast.

    TF.js requires at least two classes, and its wasm backend always returns int32.
    """
    del uses
    match node:
        case OneHot(x, 1, dtype):
            return ops.cast(ops.expand_dims(ops.equal(x, 0), x.rank), dtype)
        case OneHot(x, depth, dtype) if dtype != "int32":
            return ops.cast(OneHot(x, depth, "int32"), dtype)
    return None


def truths(node: Node, uses: Uses) -> Node | None:
    """Operations on booleans that wasm computes incorrectly  →  operations that are correct.

    There, selecting and reversing booleans reads beyond their memory, and a cast to bool
    reinterprets the bytes of integers, and makes fractions below 1 false.
    """
    del uses
    match node:
        case Reverse(x, axes) if x.dtype == "bool":
            return ops.cast(Reverse(ops.cast(x, "int32"), axes), "bool")
        case Select(condition, a, b) if a.dtype == "bool":
            return LogicalOr(LogicalAnd(condition, a), LogicalAnd(LogicalNot(condition), b))
        case Cast(x, "bool"):
            return ops.cast(x, "bool")
    return None


def products(node: Node, uses: Uses) -> Node | None:
    """Products of integers, which wasm lacks  →  of floats; of different batch shapes  →  of one.

    TF.js compares only the number of matrices on both sides, not the batch shapes.
    """
    del uses
    match node:
        case MatMul(a, b) if a.dtype == "int32":
            return Cast(replace(node, a=ops.floats(a), b=ops.floats(b)), "int32")
        case MatMul(a, b):
            fronts = [ones(node.rank - x.rank) + x.shape[:-2] for x in (a, b)]
            if fronts[0] != fronts[1] and not any(front == ones(len(front)) for front in fronts):
                front = joint_sizes(a, b, inner=2)
                return replace(node, a=spread(a, front, inner=2), b=spread(b, front, inner=2))
    return None


def taken(node: Node, uses: Uses) -> Node | None:
    """Every k-th integer or boolean  →  a gather: wasm reinterprets their bytes as floats."""
    del uses
    match node:
        case StridedSlice(x, parts) if x.dtype != "float32":
            for axis, part in enumerate(parts):
                if part != WHOLE:
                    places = ops.floats(Range(as_tensor(ops.dim(x, axis))))
                    x = ops.gather(x, Cast(StridedSlice(places, (part,)), "int32"), axis)
            return x
    return None


def odd_function(node: Node, uses: Uses) -> Node | None:
    """asinh(x)  →  sign(x) · asinh(|x|).

    TF.js's webgl backend computes log(x + √(x² + 1)), which loses digits for x far below zero.
    """
    del uses
    match node:
        case Asinh(x) if not isinstance(x, Abs):
            return Sign(x) * Asinh(Abs(x))
    return None


LARGEST_DFT = 1024
"""Largest size of a transform; its matrices have 1 Mi elements each."""


def transforms(node: Node, uses: Uses) -> Node | None:
    """Fourier transform of few values  →  products with cosines and sines: wasm has none."""
    del uses
    match node:
        case Dft(x, axis, inverse, onesided) if 0 < (x.shape[axis] or 0) <= LARGEST_DFT:
            cosine, sine = _turns(x.shape[axis] or 0, inverse=inverse, onesided=onesided)
            real, *rest = (
                ops.squeeze(part, -1) for part in ops.split(x, ops.known(x.shape[-1:])[0])
            )
            y, z = _along(real, axis, cosine), _along(real, axis, sine)
            for imaginary in rest:
                y = y - _along(imaginary, axis, sine)
                z = z + _along(imaginary, axis, cosine)
            return ops.stack([y, z], -1)
    return None


def _turns(n: int, *, inverse: bool, onesided: bool) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of exp(∓2πi · j · k / n): float32 [n, n or n // 2 + 1]."""
    bins = n // 2 + 1 if onesided else n
    angle = np.outer(np.arange(n), np.arange(bins)) % n * (2 * np.pi / n)
    scale = 1 / n if inverse else 1
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * (scale if inverse else -scale)
    return constant(cosine, "float32"), constant(sine, "float32")


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """`x` with one axis multiplied by a matrix."""
    return ops.move_axis(ops.matmul(ops.move_axis(x, axis, -1), matrix), -1, axis)


def single_scatter(node: Node, uses: Uses) -> Node | None:
    """Scatter to one position  →  to a list of one: TF.js wants updates of rank 1 or more."""
    del uses
    match node:
        case ScatterNd(_, indices, updates) if indices.rank == 1:
            rows = ops.expand_dims(indices, 0), ops.expand_dims(updates, 0)
            return replace(node, indices=rows[0], updates=rows[1])
    return None


def batched_gathers(node: Node, uses: Uses) -> Node | None:
    """Gather with batch dimensions  →  of the rows of all batches, counted across them.

    The wasm backend reads wrong elements for batch dimensions.
    """
    del uses
    match node:
        case Gather(x, indices, axis, batch) if batch:
            others = [other for other in range(batch, x.rank) if other != axis]
            x = ops.transpose(x, [*range(batch), axis, *others])
            sizes = ops.dims(x)
            places = ops.mul(Range(as_tensor(product(sizes[:batch]))), sizes[batch])
            inner = indices.rank - batch
            places = ops.reshape(places, (*sizes[:batch], *(1 for _ in range(inner))))
            found = Gather(ops.reshape(x, (-1, *sizes[batch + 1 :])), indices + places)
            # batch, axes of the indices, axes between batch and axis, axes after it
            first, second = batch + inner, inner + axis
            order = [*range(batch), *range(first, second), *range(batch, first)]
            return ops.transpose(found, [*order, *range(second, found.rank)])
    return None


LEGAL = (
    truths,
    taken,
    products,
    exact_same,
    padded_volumes,
    grouped,
    low_rank_pads,
    low_rank_slices,
    low_rank_others,
    low_rank_select,
    flat_pools,
    volumes_transposed,
    deep_enough,
    odd_function,
    transforms,
    single_scatter,
    batched_gathers,
    crops,
    exact_pixels,
)
