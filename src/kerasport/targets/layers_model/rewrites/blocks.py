"""Native layers that rewrites put together again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy.typing as npt

from kerasport.layers.base import Refusal
from kerasport.model import Tensor, Weight
from kerasport.targets.layers_model.rewrites.site import Site, constant, derived


def scaled(at: Site, x: Tensor, scale: float, offset: float = 0.0) -> Tensor:
    """scale · x + offset"""
    return at.add("Rescaling", x, scale=scale, offset=offset)


def negative(at: Site, x: Tensor) -> Tensor:
    """-x"""
    return at.add("Rescaling", x, part="negative", scale=-1.0, offset=0.0)


def difference(at: Site, a: Tensor, b: Tensor) -> Tensor:
    """a - b, which is a + (-b) to the bit."""
    return at.add("Add", a, negative(at, b))


def relu(at: Site, x: Tensor, max_value: float | None = None) -> Tensor:
    """min(max(x, 0), max_value)"""
    return at.add("ReLU", x, max_value=max_value, negative_slope=0.0, threshold=0.0)


def activated(at: Site, x: Tensor, activation: str) -> Tensor:
    """x through an activation of Keras's by name."""
    return at.add("Activation", x, part=activation, activation=activation)


def product(at: Site, a: Tensor, b: Tensor) -> Tensor:
    """a · b, element by element."""
    return at.add("Multiply", a, b)


def square(at: Site, x: Tensor) -> Tensor:
    """x²"""
    return product(at, x, x)


def reshaped(at: Site, x: Tensor, target: Sequence[int | None]) -> Tensor:
    """x with other axes behind the batch; at most one size may be unknown.

    Raises:
        Refusal: more are.
    """
    sizes = [-1 if size is None else size for size in target]
    if sizes.count(-1) > 1:
        raise Refusal("", f"more than one size of {tuple(target)} is not known, and TF.js's Reshape finds out one only")
    return at.add("Reshape", x, target_shape=sizes)


def permuted(at: Site, x: Tensor, order: Sequence[int]) -> Tensor:
    """x with its axes in another order, the batch first; `order` counts it as 0."""
    if list(order) == sorted(order):
        return x
    return at.add("Permute", x, dims=list(order[1:]))


def channels_last(at: Site, x: Tensor) -> Tensor:
    """x with its axis 1 moved to the end."""
    rank = len(at.shape_of(x))
    return permuted(at, x, (0, *range(2, rank), 1))


def channels_first(at: Site, x: Tensor) -> Tensor:
    """x with its last axis moved to place 1."""
    rank = len(at.shape_of(x))
    return permuted(at, x, (0, rank - 1, *range(1, rank - 1)))


def linear_map(at: Site, x: Tensor, matrix: npt.NDArray[Any], axis: int, part: str = "map") -> Tensor:
    """x with an axis multiplied by a constant matrix of [size, new size]: Σₙ x[…n…] · matrix[n, m]."""
    rank = len(at.shape_of(x))
    order = [each for each in range(rank) if each != axis] + [axis]
    mapped = at.add(
        "Dense", permuted(at, x, order), part=part, weights=(constant(matrix),), frozen=True,
        units=matrix.shape[1], use_bias=False, activation="linear",
    )  # fmt: skip
    return permuted(at, mapped, [order.index(each) for each in range(rank)])


def channel_affine(
    at: Site, x: Tensor, kernel: Weight | None, bias: Weight | None, part: str = "affine", **options: Any
) -> Tensor:
    """x · kernel + bias with a number a channel, the last axis; both are weights of that length that may be trained.

    A depthwise convolution whose window is a single pixel; `options` are more of its own.
    """
    shape = at.shape_of(x)
    channels = shape[-1]
    if channels is None:
        raise Refusal("", "the number of channels is not known")
    flat = x if len(shape) == 4 else reshaped(at, x, (1, merged(shape[1:-1]), channels))
    given = constant([1.0] * channels) if kernel is None else kernel
    weights = [derived(given, (1, 1, channels, 1), lambda values: values.reshape(1, 1, channels, 1))]
    y = at.add(
        "DepthwiseConv2D", flat, part=part, weights=(*weights, *([] if bias is None else [bias])),
        kernel_size=[1, 1], use_bias=bias is not None, activation="linear", data_format="channels_last", **options,
    )  # fmt: skip
    return y if len(shape) == 4 else reshaped(at, y, shape[1:])


def merged(sizes: Sequence[int | None]) -> int | None:
    """The size of axes as one; None where it is not known."""
    return None if None in sizes else prod(size or 0 for size in sizes)


def within(at: Site, x: Tensor, axis: int, change: Callable[[Tensor], Tensor], size: int | None) -> Tensor:
    """x with one axis changed by a layer that works on images: the axis is their width while it does.

    `size` is that of the axis afterwards.
    """
    shape = at.shape_of(x)
    before, after = shape[1:axis], shape[axis + 1 :]
    if len(shape) == 4 and axis == 2:
        return change(x)
    image = reshaped(at, x, (merged(before), shape[axis], merged(after)))
    return reshaped(at, change(image), (*before, size, *after))


def sliced(at: Site, x: Tensor, start: int, end: int | None, axis: int = -1) -> Tensor:
    """x[start:end] along an axis; an `end` below 0 counts from the end, None is the end.

    Cropping2D that is told of channels first crops the last two axes of four, whatever they hold.
    """
    shape = at.shape_of(x)
    axis %= len(shape)
    size = shape[axis]
    if end is None or end < 0:
        cut = -(end or 0)
    elif size is None:
        raise Refusal("", "the size of the axis that it slices is not known")
    else:
        cut = size - end
    left = None if size is None else size - cut - start
    if axis == len(shape) - 1:
        whole = x if len(shape) == 4 else reshaped(at, x, (1, merged(shape[1:-1]), size))
        part = at.add("Cropping2D", whole, cropping=[[0, 0], [start, cut]], data_format="channels_first")
        return part if len(shape) == 4 else reshaped(at, part, (*shape[1:-1], left))
    return within(
        at, x, axis, lambda image: at.add("Cropping2D", image, cropping=[[0, 0], [start, cut]],
                                          data_format="channels_last"), left,
    )  # fmt: skip


def padded(at: Site, x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """x with zeros before and behind it along an axis."""
    size = at.shape_of(x)[axis]
    return within(
        at, x, axis, lambda image: at.add("ZeroPadding2D", image, padding=[[0, 0], [before, after]],
                                          data_format="channels_last"),
        None if size is None else size + before + after,
    )  # fmt: skip


def reduced(at: Site, x: Tensor, axes: Sequence[int], layer: str, *, keepdims: bool) -> Tensor:
    """x with one number for all those along the axes, by a layer that pools over the whole time."""
    shape = at.shape_of(x)
    kept = [axis for axis in range(1, len(shape)) if axis not in axes]
    moved = permuted(at, x, (0, *axes, *kept))
    sizes = [merged([shape[axis] for axis in which]) for which in (axes, kept)]
    series = moved if len(shape) == 3 and len(kept) == 1 else reshaped(at, moved, sizes)
    pooled = at.add(layer, series, keepdims=False, data_format="channels_last")
    left = [1 if axis in axes else shape[axis] for axis in range(1, len(shape)) if keepdims or axis not in axes]
    return pooled if len(left) == 1 and not keepdims else reshaped(at, pooled, left)
