"""Native layers that rewrites put together again and again."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy.typing as npt

from kerasport.layers.base import Refusal
from kerasport.model import Shape, Tensor, Weight
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


def channel_affine(at: Site, x: Tensor, kernel: Weight | None, bias: Weight | None, part: str = "affine") -> Tensor:
    """x · kernel + bias with a number a channel, the last axis; both are weights of that length that may be trained.

    A depthwise convolution whose window is a single pixel.
    """
    shape = at.shape_of(x)
    channels = shape[-1]
    if channels is None:
        raise Refusal("", "the number of channels is not known")
    flat = x if len(shape) == 4 else reshaped(at, x, (*_merged(shape[1:-1]), channels))
    given = constant([1.0] * channels) if kernel is None else kernel
    weights = [derived(given, (1, 1, channels, 1), lambda values: values.reshape(1, 1, channels, 1))]
    y = at.add(
        "DepthwiseConv2D", flat, part=part, weights=(*weights, *([] if bias is None else [bias])),
        kernel_size=[1, 1], use_bias=bias is not None, activation="linear", data_format="channels_last",
    )  # fmt: skip
    return y if len(shape) == 4 else reshaped(at, y, shape[1:])


def _merged(sizes: Shape) -> tuple[int | None, int | None]:
    """Two sizes for all of these together."""
    if None not in sizes:
        return 1, prod(size for size in sizes if size is not None)
    return 1, None


def sliced(at: Site, x: Tensor, start: int, end: int) -> Tensor:
    """Channels of x, the last axis, from `start` up to `end`.

    Cropping2D that is told of channels first crops the last two axes of four, whatever they hold.
    """
    shape = at.shape_of(x)
    size = shape[-1]
    if size is None:
        raise Refusal("", "the number of channels is not known")
    whole = x if len(shape) == 4 else reshaped(at, x, (*_merged(shape[1:-1]), size))
    cut = at.add("Cropping2D", whole, cropping=[[0, 0], [start, size - end]], data_format="channels_first")
    return cut if len(shape) == 4 else reshaped(at, cut, (*shape[1:-1], end - start))
