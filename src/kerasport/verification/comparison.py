"""How far numbers of a converted model are from those of Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kerasport.model import Array


@dataclass(frozen=True)
class Difference:
    """The largest difference between two arrays, and the worst place.

    The worst place is that of the largest difference among those that are not allowed, or among all where every one
    is. Two NaN at the same place are equal; a NaN is infinitely far from a number.
    """

    absolute: float  # the largest difference
    relative: float  # the same, as a part of the largest expected number
    where: tuple[int, ...]  # index of the worst place, and what is there
    actual: float
    expected: float
    allowed: float
    ok: bool  # whether every difference is allowed
    reason: str = ""  # why the arrays cannot be compared at all


@dataclass(frozen=True)
class Tolerance:
    """What may be: a difference of atol + rtol · |expected|.

    Where it is `scaled`, atol is multiplied by the largest expected number if that is below 1. A fixed bound would
    accept zeros for outputs that are small throughout, such as densities in many dimensions. The scaled bound is at
    least `ROUNDING`, but at most a `SHARE` of the largest number: a sigmoid of 1e-5 is computed from numbers near 1,
    so float32 gives it an error of 1e-7 whatever its own size.
    """

    rtol: float
    atol: float
    scaled: bool = False

    def settled(self, expected: Sequence[Array]) -> Tolerance:
        """The tolerance that applies to an output, given what is expected in all batches."""
        largest = max(map(scale, expected), default=0.0)
        if not self.scaled or not largest:  # zeros have no scale of their own
            return replace(self, scaled=False)
        scaled = max(self.atol * min(1.0, largest), min(ROUNDING, SHARE * largest), TINY)
        return replace(self, atol=min(self.atol, scaled), scaled=False)

    def compare(self, actual: Array, expected: Array) -> Difference:
        """The difference of two arrays, element by element."""
        return self._compare(actual, expected, np.abs(_finite(expected)))

    def compare_to_scale(self, actual: Array, expected: Array) -> Difference:
        """The same, but with rtol a part of the largest expected number: for values inside of a model."""
        return self._compare(actual, expected, np.full(expected.shape, scale(expected)))

    def _compare(self, actual: Array, expected: Array, magnitude: Array) -> Difference:
        if actual.shape != expected.shape:
            reason = f"has the shape {_spell(actual.shape)}, expected {_spell(expected.shape)}"
            return Difference(math.inf, math.inf, (), math.nan, math.nan, 0, ok=False, reason=reason)
        if not expected.size:
            return Difference(0, 0, (), math.nan, math.nan, 0, ok=True)
        error, allowed = errors(actual, expected), self.settled([expected]).atol + self.rtol * magnitude
        wrong = error > allowed
        where = np.unravel_index(np.argmax(np.where(wrong, error, -1) if wrong.any() else error), error.shape)
        largest, size = float(error.max()), scale(expected)
        return Difference(
            absolute=largest,
            relative=largest / size if size else largest and math.inf,
            where=tuple(map(int, where)),
            actual=float(actual[where]),
            expected=float(expected[where]),
            allowed=float(allowed[where]),
            ok=not wrong.any(),
        )


ROUNDING = 2 * float(np.finfo(np.float32).eps)
"""Rounding error of float32 near 1. The Sigmoid of ONNX Runtime is off by up to 1.4e-7, measured from -20 to 5."""
SHARE = 1 / 20
TINY = float(np.finfo(np.float32).tiny)
"""The least normal float32: what is less some backends take for 0."""


@dataclass(frozen=True)
class Anything(Tolerance):
    """Whatever is a number where a number is expected: of quantised models, whose differences are only told."""

    def _compare(self, actual: Array, expected: Array, magnitude: Array) -> Difference:
        found = super()._compare(actual, expected, magnitude)
        return replace(found, ok=not found.reason and math.isfinite(found.absolute), allowed=math.inf)


def errors(actual: Array, expected: Array) -> Array:
    """The distance of each element from what it should be."""
    a, e = actual.astype("float64"), expected.astype("float64")
    with np.errstate(invalid="ignore"):  # of infinity minus infinity
        error = np.abs(a - e)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    return np.where(same, 0, np.where(np.isnan(error), math.inf, error))


def scale(array: Array) -> float:
    """The largest magnitude of an array's finite numbers."""
    return float(np.abs(_finite(array)).max(initial=0))


def _finite(array: Array) -> Array:
    """The array with 0 for NaN and infinity, which allow no difference in proportion."""
    numbers = array.astype("float64")
    return np.where(np.isfinite(numbers), numbers, 0)


def _spell(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
