"""Equalization of the channels of kernels before they are rounded to integers.

A rounded weight has one scale in TF.js. The largest channel determines it, so it is too coarse for
the others. So each channel of a kernel is divided by its relative size, and its result is
multiplied: by the batch normalization after it, at no cost, or by a separate node. Both are
exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kerasport.targets.encoding import numbers_of
from kerasport.weights import Array, ComputedWeight, DividedWeight, Weight, WeightRef

SMALLEST = 2.0**-14
"""The smallest normal number of float16."""


@dataclass(frozen=True)
class Norm:
    """The batch normalization after a kernel, by the names of weights."""

    shifted: tuple[str, ...]
    """Bias and moving mean, which are divided like the kernel."""
    variance: str
    epsilon: float


@dataclass(frozen=True)
class Channels:
    """The channels of a kernel, and what can multiply their results."""

    axes: int
    """How many of the last axes number the channels: 1, or 2 for depthwise kernels."""
    norm: Norm | None = None
    """The batch normalization that takes over the factors; without one, a node multiplies."""

    def count(self, weight: Weight) -> int:
        """The number of channels."""
        return int(np.prod(weight.shape[-self.axes :], dtype=np.int64))


def sizes(name: str, weight: Weight, count: int) -> Array:
    """The largest magnitude in each channel, `[channels]`; NaN and infinity stay."""
    largest, rest = np.zeros(count), np.empty(0, np.float32)
    for numbers in numbers_of(name, weight):
        held = np.concatenate([rest, numbers])
        rows = held.size // count
        if rows:
            largest = np.maximum(
                largest, np.abs(held[: rows * count].reshape(rows, count)).max(axis=0)
            )
        rest = held[rows * count :]
    return largest


def even(name: str, weight: Weight, channels: Channels) -> Array | None:
    """Divisors that make all channels about as large as the largest; None if the gain is small.

    The divisors, `[channels]`, are float16 numbers that are rounded up, so no channel becomes
    larger than the largest one.
    """
    largest = sizes(name, weight, channels.count(weight))
    largest_of_all = largest.max(initial=0.0)
    if not np.isfinite(largest_of_all) or largest_of_all < np.finfo(np.float32).tiny:
        return None
    wanted = np.where(largest > 0, largest / largest_of_all, 1.0).clip(SMALLEST)
    by = wanted.astype(np.float16)
    by = np.where(by < wanted, np.nextafter(by, np.float16(2)), by).astype(np.float64)
    # the squared rounding error is proportional to the square of the scale
    return by if np.mean(np.square(by)) <= 1 / 2 else None


def divided(
    weights: Mapping[str, Weight], name: str, norm: Norm | None, by: Array
) -> dict[str, Weight]:
    """The divided kernel, and the batch normalization that compensates for it, by their names.

    (y/s - mean/s) / sqrt(variance' + epsilon) is unchanged for
    variance' = (variance + epsilon) / s² - epsilon. Since s is at most 1, this is at least the
    variance.
    """
    kernel = weights[name]
    assert isinstance(kernel, WeightRef | ComputedWeight)
    changed: dict[str, Weight] = {name: DividedWeight(kernel, by)}
    if norm is not None:
        variance, epsilon = weights[norm.variance], norm.epsilon
        changed |= {shifted: _computed(weights[shifted], 1 / by) for shifted in norm.shifted}
        changed[norm.variance] = _computed(
            variance, 1 / np.square(by), epsilon / np.square(by) - epsilon
        )
    return changed


def _computed(weight: Weight, times: Array, plus: Array | float = 0.0) -> ComputedWeight:
    def compute() -> Array:
        numbers: Array = (weight.read().astype(np.float64) * times + plus).astype(np.float32)
        return numbers

    return ComputedWeight(np.dtype(np.float32), weight.shape, compute)
