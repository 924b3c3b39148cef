"""Kernels whose channels are brought to one size, so that few bits do for all of them.

A weight that is rounded to integers has one scale in TF.js, and that of the largest channel is too coarse for the
others. So a kernel is divided, channel by channel, and what follows is multiplied: by the batch normalisation that
is there anyway, without cost, or by a node of its own. Both are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kerasport.targets.encoding import numbers_of
from kerasport.weights import Array, ComputedWeight, DividedWeight, Weight, WeightRef

SMALLEST = 2.0**-14  # the smallest number that float16 holds in full


@dataclass(frozen=True)
class Norm:
    """The batch normalisation behind a kernel, by the names of weights."""

    shifted: tuple[str, ...]  # bias and moving mean: they are divided as the kernel is
    variance: str
    epsilon: float


@dataclass(frozen=True)
class Channels:
    """Where a kernel has its channels, and what could multiply them."""

    axes: int  # how many of the last axes number them; of a depthwise kernel two
    norm: Norm | None = None  # without one, a node multiplies the kernel

    def count(self, weight: Weight) -> int:
        """How many there are."""
        return int(np.prod(weight.shape[-self.axes :], dtype=np.int64))


def sizes(name: str, weight: Weight, count: int) -> Array:
    """The largest magnitude in each channel, read piece by piece; NaN and infinity are as they are."""
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
    """What to divide the channels by, so that all are about as large as the largest; None where it gains little.

    The divisors are numbers of float16, rounded up, so no channel becomes larger than the largest was.
    """
    largest = sizes(name, weight, channels.count(weight))
    whole = largest.max(initial=0.0)
    if not np.isfinite(whole) or whole < np.finfo(np.float32).tiny:
        return None
    wanted = np.where(largest > 0, largest / whole, 1.0).clip(SMALLEST)
    by = wanted.astype(np.float16)
    by = np.where(by < wanted, np.nextafter(by, np.float16(2)), by).astype(np.float64)
    # the power of the error of rounding goes by the square of the scale
    return by if np.mean(np.square(by)) <= 1 / 2 else None


def divided(
    weights: Mapping[str, Weight], name: str, norm: Norm | None, by: Array
) -> dict[str, Weight]:
    """The kernel divided, and the normalisation behind it that makes up for it.

    (y/s - mean/s) / sqrt(variance' + epsilon) is what it was with variance' = (variance + epsilon) / s² - epsilon. As
    s is at most 1, that is no less than the variance.
    """
    kernel = weights[name]
    assert isinstance(kernel, WeightRef | ComputedWeight)
    made: dict[str, Weight] = {name: DividedWeight(kernel, by)}
    if norm is not None:
        variance, epsilon = weights[norm.variance], norm.epsilon
        made |= {shifted: _computed(weights[shifted], 1 / by) for shifted in norm.shifted}
        made[norm.variance] = _computed(
            variance, 1 / np.square(by), epsilon / np.square(by) - epsilon
        )
    return made


def _computed(weight: Weight, times: Array, plus: Array | float = 0.0) -> ComputedWeight:
    def compute() -> Array:
        numbers: Array = (weight.read().astype(np.float64) * times + plus).astype(np.float32)
        return numbers

    return ComputedWeight(np.dtype(np.float32), weight.shape, compute)
