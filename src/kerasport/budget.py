"""Limit how much memory is built and how many bytes are written for one model.

Options are numbers, and a few digits can request terabytes: a pooling of 60,000 columns, a spectrum
of a million frequencies. So all code that builds arrays from options requests their size here
first, and the output is measured here before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasport.errors import TooLargeError
from kerasport.report import readable

# Weights of 4 bits become float32, which is 8 times as large, and a table used in both directions
# is written twice. No model needs a larger multiple of its weights. Constants built from options do
# not depend on the size of the file. The largest in common use are audio spectra, about 70 MB at
# 4,096 samples, and matrices that resize large images, 64 MB at 4,096 pixels. The floor leaves room
# for several of them.
TIMES = 16
FLOOR = 256 * 2**20

SMALL = 4096  # bytes; smaller arrays are not counted, since every model has many
PIECE = 2**20  # elements of a matrix that are computed at once
NODE = 4096  # approximate bytes of memory per graph node while passes work on it


@dataclass
class Budget:
    """The limit of bytes to build and to write for one model, and the bytes built so far."""

    limit: int
    built: int = 0

    def take(self, nbytes: int, what: str) -> None:
        """Count `nbytes` bytes as built.

        Raises:
            TooLargeError: the sum exceeds the limit.
        """
        if self.built + nbytes > self.limit:
            before = f" in addition to {readable(self.built)} already used" if self.built else ""
            raise TooLargeError(
                f"{what} would need {_shown(nbytes)}{before}; {self._allowed()}", RAISE
            )
        self.built += nbytes

    def check_output(self, nbytes: int) -> None:
        """Check the size of the output in bytes.

        Raises:
            TooLargeError: it exceeds the limit.
        """
        if nbytes > self.limit:
            raise TooLargeError(
                f"the converted model would need {_shown(nbytes)}; {self._allowed()}", RAISE
            )

    def _allowed(self) -> str:
        return f"the limit for a file of this size is {readable(self.limit)}"


RAISE = "if you trust the file, raise the limit with --max-size (in Python: max_size=)"

_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


def allowed(nbytes: int) -> int:
    """The default limit in bytes for a source of `nbytes` bytes."""
    return max(FLOOR, TIMES * nbytes)


@contextmanager
def limited(limit: int) -> Iterator[Budget]:
    """Count what is built inside the `with` block, up to `limit` bytes in total."""
    budget = Budget(limit)
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)


def reserve(*sizes: int, itemsize: int = 4) -> None:
    """Request memory for an array of these sizes before it is built.

    Raises:
        TooLargeError: it is larger than the rest of the budget.
    """
    nbytes = prod(max(0, int(size)) for size in sizes) * itemsize
    if nbytes <= SMALL:
        return
    shape = " by ".join(f"{min(int(size), 10**18):,}" for size in sizes)
    (_current.get() or Budget(FLOOR)).take(nbytes, f"a constant of {shape} numbers")


def spare(size: int, itemsize: int = 4) -> bool:
    """Reserve an optional array of `size` elements if there is room. Returns whether there was."""
    try:
        reserve(size, itemsize=itemsize)
    except TooLargeError:
        return False
    return True


def reserve_nodes(count: int) -> None:
    """Request memory for `count` graph nodes before they are built.

    Raises:
        TooLargeError: they need more than the rest of the budget.
    """
    if count * NODE > SMALL:
        (_current.get() or Budget(FLOOR)).take(
            count * NODE, f"{count:,} operations, one per time step,"
        )


def matrix(
    rows: int,
    columns: int,
    function: Callable[[npt.NDArray[Any]], npt.ArrayLike],
    dtype: Any = np.float32,
) -> npt.NDArray[Any]:
    """Compute a matrix [rows, columns] in blocks of rows.

    `function` maps row numbers [count, 1] to rows [count, columns]. Formulas use several float64
    temporaries; for a whole matrix these would be many times its size.

    Raises:
        TooLargeError: it is larger than the rest of the budget.
    """
    reserve(rows, columns)
    result = np.empty((rows, columns), dtype)
    step = max(1, PIECE // max(columns, 1))
    for start in range(0, rows, step):
        result[start : start + step] = function(np.arange(start, min(start + step, rows))[:, None])
    return result


def _shown(nbytes: int) -> str:
    return readable(min(nbytes, 10**18))  # a number from a file may have thousands of digits
