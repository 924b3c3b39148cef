"""Compare the outputs of a converted model with those of Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kerasport.weights import Array


@dataclass(frozen=True)
class Difference:
    """The largest difference between two arrays, and its place.

    The worst place has the largest difference above the tolerance, or the largest of all if every
    difference is within it. Two NaN at the same place are equal; the difference between a NaN and a
    number is infinite.
    """

    absolute: float  # the largest difference
    relative: float  # the largest difference, divided by the largest expected number
    where: tuple[int, ...]  # index of the worst place
    actual: float
    expected: float
    allowed: float
    ok: bool  # whether every difference is within the tolerance
    reason: str = ""  # why the arrays cannot be compared at all


@dataclass(frozen=True)
class Tolerance:
    """Allowed difference: atol + rtol · |expected|.

    If `scaled`, atol is multiplied by the largest expected number when that is below 1. A fixed
    atol would accept zeros for outputs that are all small, such as densities in many
    dimensions. The scaled atol is at least `ROUNDING`, but at most a `SHARE` of the largest number:
    a sigmoid of 1e-5 is computed from numbers near 1, so its error in float32 is 1e-7.
    """

    rtol: float
    atol: float
    scaled: bool = False

    def settled(self, expected: Sequence[Array]) -> Tolerance:
        """The tolerance for an output, given the expected values of all batches."""
        largest = max(map(scale, expected), default=0.0)
        if not self.scaled or not largest:  # an output of zeros has no scale
            return replace(self, scaled=False)
        scaled = max(self.atol * min(1.0, largest), min(ROUNDING, SHARE * largest), TINY)
        return replace(self, atol=min(self.atol, scaled), scaled=False)

    def compare(self, actual: Array, expected: Array) -> Difference:
        """The difference of two arrays, element by element; strings have to be equal."""
        if is_text(expected):
            return _compare_texts(actual, expected)
        return self._compare(actual, expected, np.abs(_finite(expected)))

    def compare_to_scale(self, actual: Array, expected: Array) -> Difference:
        """Compare with rtol relative to the largest expected number, for outputs of layers."""
        if is_text(expected):
            return _compare_texts(actual, expected)
        return self._compare(actual, expected, np.full(expected.shape, scale(expected)))

    def _compare(self, actual: Array, expected: Array, magnitude: Array) -> Difference:
        if actual.shape != expected.shape:
            reason = f"has the shape {_spell(actual.shape)}, expected {_spell(expected.shape)}"
            return Difference(
                math.inf, math.inf, (), math.nan, math.nan, 0, ok=False, reason=reason
            )
        if not expected.size:
            return Difference(0, 0, (), math.nan, math.nan, 0, ok=True)
        error, allowed = (
            errors(actual, expected),
            self.settled([expected]).atol + self.rtol * magnitude,
        )
        wrong = error > allowed
        where = np.unravel_index(
            np.argmax(np.where(wrong, error, -1) if wrong.any() else error), error.shape
        )
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
"""Rounding error of float32 near 1. Sigmoid of ONNX Runtime errs by up to 1.4e-7 (-20 to 5)."""
SHARE = 1 / 20
TINY = float(np.finfo(np.float32).tiny)
"""The smallest normal float32; some backends flush smaller numbers to 0."""


@dataclass(frozen=True)
class ReportOnly(Tolerance):
    """Accepts every finite difference. Differences of quantized models are only reported."""

    def _compare(self, actual: Array, expected: Array, magnitude: Array) -> Difference:
        found = super()._compare(actual, expected, magnitude)
        return replace(
            found, ok=not found.reason and math.isfinite(found.absolute), allowed=math.inf
        )


def errors(actual: Array, expected: Array) -> Array:
    """The distance between each pair of elements."""
    a, e = actual.astype("float64"), expected.astype("float64")
    with np.errstate(invalid="ignore"):  # infinity - infinity
        error = np.abs(a - e)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    return np.where(same, 0, np.where(np.isnan(error), math.inf, error))


def scale(array: Array) -> float:
    """The largest magnitude of the finite numbers of an array; 0 for strings."""
    if is_text(array):
        return 0.0
    return float(np.abs(_finite(array)).max(initial=0))


def _finite(array: Array) -> Array:
    """The array with 0 in place of NaN and infinity, which must not widen the tolerance."""
    numbers = array.astype("float64")
    return np.where(np.isfinite(numbers), numbers, 0)


def is_text(array: Array) -> bool:
    """Whether an array holds strings."""
    return array.dtype.kind in "OU"


def _compare_texts(actual: Array, expected: Array) -> Difference:
    """The first place where two arrays of strings differ, as the reason."""
    if actual.shape != expected.shape:
        reason = f"has the shape {_spell(actual.shape)}, expected {_spell(expected.shape)}"
    else:
        wrong = [*zip(*np.nonzero(actual.astype(object) != expected.astype(object)), strict=True)]
        where = [tuple(map(int, place)) for place in wrong[:1]]
        reason = "".join(
            f"is {actual[index]!r} at {[*index]}, expected {expected[index]!r}" for index in where
        )
    far = math.inf if reason else 0.0
    return Difference(far, far, (), math.nan, math.nan, 0, ok=not reason, reason=reason)


def _spell(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
