"""The weights of a model by reference. They stream from the file when a writer needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kerasport.errors import ReadError, ShapeError

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int | None, ...]
"""Sizes of the axes, batch first; `None` is known only when the model runs."""

LARGEST_SIZE = 2**31 - 1  # of an axis, since TF.js stores shapes in int32
PIECE = 4 * 1024 * 1024  # bytes per step when a weight is streamed


def axis_of(axis: int, rank: int) -> int:
    """Normalize a possibly negative axis to 0 … rank - 1.

    Raises:
        ShapeError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis % rank


@dataclass(frozen=True, eq=False)
class WeightRef:
    """An array in a file. Nothing is read before a writer asks for it."""

    path: Path
    offset: int  # bytes from the start of the file
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def pieces(self, nbytes: int = PIECE) -> Iterator[Array]:
        """The array, flat and in C order, in pieces of at most `nbytes` bytes."""
        step = max(1, nbytes // self.dtype.itemsize)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, self.size, step):
                piece = np.fromfile(file, self.dtype, min(step, self.size - start))
                if piece.size != min(step, self.size - start):
                    raise ReadError(
                        f"{self.path}: the file ends inside an array of shape {self.shape}"
                    )
                yield piece

    def read(self) -> Array:
        """The whole array."""
        parts = list(self.pieces(max(PIECE, self.size * self.dtype.itemsize)))
        return (parts[0] if parts else np.empty(0, self.dtype)).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class ComputedWeight:
    """An array computed from others on demand: dequantized, transposed, joined."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    compute: Callable[[], Array]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def pieces(self, nbytes: int = PIECE) -> Iterator[Array]:
        """The array, flat and in C order, in pieces of at most `nbytes` bytes."""
        flat, step = self.read().reshape(-1), max(1, nbytes // self.dtype.itemsize)
        yield from (flat[start : start + step] for start in range(0, flat.size, step))

    def read(self) -> Array:
        """The whole array."""
        array = np.asarray(self.compute(), self.dtype, order="C")
        if array.shape != self.shape:
            raise ReadError(f"a computed weight has the shape {array.shape}, expected {self.shape}")
        return array


@dataclass(frozen=True, eq=False)
class DividedWeight:
    """An array whose channels, its last axis or axes, are each divided by their own number."""

    whole: WeightRef | ComputedWeight
    by: Array  # one float32 divisor per channel, flat

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type."""
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.whole.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.whole.size

    def pieces(self, nbytes: int = PIECE) -> Iterator[Array]:
        """The array, flat and in C order, in pieces of at most `nbytes` bytes."""
        start = 0
        for piece in self.whole.pieces(nbytes // 2 if self.whole.dtype.itemsize < 4 else nbytes):
            divisors = np.resize(np.roll(self.by, -start % self.by.size), piece.size)
            yield (piece / divisors).astype(self.dtype)
            start = (start + piece.size) % self.by.size

    def read(self) -> Array:
        """The whole array."""
        return np.concatenate([*self.pieces(), np.empty(0, self.dtype)]).reshape(self.shape)


Weight: TypeAlias = WeightRef | ComputedWeight | DividedWeight
