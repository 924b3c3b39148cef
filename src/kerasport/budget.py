"""How large a converted model may become: the one place that limits what is built and written for a file.

Options are numbers, and a few digits can ask for terabytes: a pooling of 60,000 columns, a spectrum of a million
frequencies. So whatever is built from options asks here first, and what is to be written is measured here.
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

# Weights of 4 bits become float32, which is 8 times as large, and a table that is used both ways is written twice. No
# model needs more of its weights. What is built from options does not depend on the size of the file: the largest that
# people use are the spectra of sound, some 70 MB at 4,096 samples, and matrices that resize large images, 64 MB at
# 4,096 pixels. The floor leaves room for several of them.
TIMES = 16
FLOOR = 256 * 2**20

SMALL = 4096  # bytes that are not counted: there are many of these in every model
PIECE = 2**20  # numbers of a matrix that are worked out at once
NODE = 4096  # bytes that an operation of a graph takes in memory while passes work on it, roughly


@dataclass
class Budget:
    """What may be built and written for one model, in bytes, and what was built so far."""

    limit: int
    built: int = 0

    def take(self, nbytes: int, what: str) -> None:
        """Build something of that size.

        Raises:
            TooLargeError: with what was built before, it is more than the limit.
        """
        if self.built + nbytes > self.limit:
            before = f" in addition to {readable(self.built)} already used" if self.built else ""
            raise TooLargeError(
                f"{what} would need {_shown(nbytes)}{before}; {self._allowed()}", RAISE
            )
        self.built += nbytes

    def check_output(self, nbytes: int) -> None:
        """Check the size of what is to be written.

        Raises:
            TooLargeError: it is more than the limit.
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
    """The limit for a source of so many bytes, where the user gives none."""
    return max(FLOOR, TIMES * nbytes)


@contextmanager
def limited(limit: int) -> Iterator[Budget]:
    """What is built inside the `with` block is counted, and may be so many bytes in all."""
    budget = Budget(limit)
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)


def reserve(*sizes: int, itemsize: int = 4) -> None:
    """Ask for an array of these sizes before it is built.

    Raises:
        TooLargeError: it is larger than what the budget has left.
    """
    nbytes = prod(max(0, int(size)) for size in sizes) * itemsize
    if nbytes <= SMALL:
        return
    shape = " by ".join(f"{min(int(size), 10**18):,}" for size in sizes)
    (_current.get() or Budget(FLOOR)).take(nbytes, f"a constant of {shape} numbers")


def spare(size: int, itemsize: int = 4) -> bool:
    """Whether there is room for an array that need not be built, and if so, ask for it."""
    try:
        reserve(size, itemsize=itemsize)
    except TooLargeError:
        return False
    return True


def reserve_nodes(count: int) -> None:
    """Ask for so many operations of a graph before they are built.

    Raises:
        TooLargeError: they take more than what the budget has left.
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
    """A matrix [rows, columns] of what a function makes of row numbers [count, 1], worked out some rows at a time.

    Formulas take several arrays of float64 on their way. Of a large matrix these would be many times its size.

    Raises:
        TooLargeError: it is larger than what the budget has left.
    """
    reserve(rows, columns)
    made = np.empty((rows, columns), dtype)
    step = max(1, PIECE // max(columns, 1))
    for start in range(0, rows, step):
        made[start : start + step] = function(np.arange(start, min(start + step, rows))[:, None])
    return made


def _shown(nbytes: int) -> str:
    return readable(min(nbytes, 10**18))  # a number from a file may have thousands of digits
