"""Notes that all targets share: NaN and infinity, and 16-bit dtype policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from kerasport.errors import SHORT, legible, quoted
from kerasport.ir.program import Part
from kerasport.weights import Array, Weight

SHOWN = 5
"""Largest number of parts that a note lists."""

BUFFER = 2_000_000_000
"""Bytes that browsers allocate as one ArrayBuffer: Chrome fails at 2^31 - 2^21."""


def float32_notes(policies: Sequence[str]) -> Iterator[str]:
    """A note on 16-bit dtype policies, for a target that computes in float32."""
    if policies:
        yield (
            f"the model uses the dtype policy {', '.join(policies)}; the converted model computes "
            "in float32, so its outputs lack the 16-bit rounding of Keras"
        )


def not_finite(parts: Iterable[Part], also: str = "") -> Iterator[str]:
    """A note on weights that contain NaN or infinity.

    All float weights are read once, in pieces. numpy scans about 4 GB per second.

    Args:
        parts: the parts of the source with their weights.
        also: how the target treats such numbers differently from Keras; may be empty.

    Raises:
        KerasportError: a weight cannot be read.
    """
    found = [text for part in parts if (text := _found(part))]
    if found:
        more = f" and {len(found) - SHOWN} more layer(s)" if len(found) > SHOWN else ""
        yield (
            f"some weights are NaN or infinite: {', '.join(found[:SHOWN])}{more}; they are kept. "
            f"Keras returns NaN or infinity where they are used{f', but {also}' if also else ''}. "
            "If training diverged, use an earlier checkpoint"
        )


def _found(part: Part) -> str:
    """How many values of a part's weights are not finite; empty if all are finite."""
    counts = [_count(weight) for weight in part.weights if _is_float(weight)]
    nan = sum(count for count, _ in counts)
    infinite = sum(count for _, count in counts)
    if not nan and not infinite:
        return ""
    size = sum(weight.size for weight in part.weights)
    kinds = [f"{count:,} {kind}" for count, kind in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"layer {legible(quoted(part.path), SHORT)}: {' and '.join(kinds)} of {size:,} numbers"


def _is_float(weight: Weight) -> bool:
    # for numpy, bfloat16 and float8 are not floats
    return weight.dtype.kind == "f" or "float" in weight.dtype.name


def _count(weight: Weight) -> tuple[int, int]:
    """The number of values that are NaN, and of those that are infinite."""
    nan = infinite = 0
    for piece in weight.pieces():
        numbers = _as_float32(piece)
        if not np.isfinite(numbers).all():
            nan_here = int(np.isnan(numbers).sum())
            nan += nan_here
            infinite += int(numbers.size - np.isfinite(numbers).sum()) - nan_here
    return nan, infinite


def _as_float32(piece: Array) -> Array:
    """float64 values as float32. Values beyond float32 become infinite, as in Keras."""
    if piece.dtype.itemsize <= np.dtype(np.float32).itemsize:
        return piece
    with np.errstate(over="ignore"):
        narrow: Array = piece.astype(np.float32)
        return narrow
