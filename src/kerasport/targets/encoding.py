"""Weights as targets store them: their element types, and how numbers are rounded to fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from kerasport.errors import KerasportError, quoted
from kerasport.weights import Array, Weight


@dataclass(frozen=True)
class Encoding:
    """How the values of a weight are rounded to fewer bits, which TF.js decodes when it loads it.

    Integers q stand for q · scale + minimum, computed in float64 and rounded to float32. Source:
    tfjs-core io/io_utils.ts, decodeWeight.
    """

    dtype: Literal["float16", "uint8", "uint16"]
    scale: float = 1.0  # of integers
    minimum: float = 0.0

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return np.dtype(self.dtype).itemsize

    def manifest(self) -> dict[str, Any]:
        """What the manifest says of it."""
        affine = {} if self.dtype == "float16" else {"min": self.minimum, "scale": self.scale}
        return {"dtype": self.dtype, **affine, "original_dtype": "float32"}

    def encode(self, numbers: Array) -> Array:
        """The stored form of float32 numbers, little-endian."""
        if self.dtype == "float16":
            return numbers.astype("<f2")
        steps = np.round((numbers.astype(np.float64) - self.minimum) / self.scale)
        kind = np.dtype(self.dtype).newbyteorder("<")
        return steps.clip(0, np.iinfo(kind).max).astype(kind)

    def decode(self, stored: Array) -> Array:
        """The float32 numbers that TF.js makes of the stored form."""
        if self.dtype == "float16":
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * self.scale + self.minimum).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scaled:
    """A weight as int8 with a scale for each channel; q stands for q · scale."""

    axis: int  # of the channels
    scale: Array  # [channels]
    inner: int  # how many numbers of one channel stand beside each other

    dtype: ClassVar[str] = "int8"
    itemsize: ClassVar[int] = 1

    def encode(self, numbers: Array, at: int) -> tuple[Array, float]:
        """The stored form of float32 values, from index `at` of the flat weight on.

        Returns the largest error too: the difference from the float32 values that are decoded.
        """
        stored, error = np.empty(numbers.size, np.int8), 0.0
        repeats = min(BLOCK, numbers.size) // (self.scale.size * self.inner)
        rows = np.tile(np.repeat(self.scale, self.inner), repeats) if repeats else self.scale[:0]
        for part, channels, (count, some, width) in blocks(
            at, numbers.size, self.scale.size, self.inner
        ):
            # numpy is fast if the last axis is long, so whole rows are flat; other parts have
            # one channel in each row
            flat = some == self.scale.size and 0 < count * some * width <= rows.size
            given = numbers[part] if flat else numbers[part].reshape(some, width)
            scales = rows[: given.size] if flat else self.scale[channels, None]
            # worked out in place, since memory is what limits it
            rounded = given / scales
            np.rint(rounded, out=rounded)
            np.clip(rounded, -127, 127, out=rounded)
            stored[part] = rounded.reshape(-1)
            rounded *= scales
            rounded -= given
            error = max(error, float(rounded.max()), -float(rounded.min()))
        return stored, error

    @staticmethod
    def largest(numbers: Array, at: int, channels: int, inner: int, so_far: Array) -> None:
        """Update the largest magnitude of each channel with values from index `at` on."""
        for part, some, (rows, count, width) in blocks(at, numbers.size, channels, inner):
            over_rows = np.abs(numbers[part]).reshape(rows, count * width).max(0)
            so_far[some] = np.maximum(so_far[some], over_rows.reshape(count, width).max(1))


BLOCK = 64 * 1024  # numbers that are worked on at once, few enough to stay in the processor's cache


def blocks(
    at: int, count: int, channels: int, inner: int
) -> Iterator[tuple[slice, slice, tuple[int, int, int]]]:
    """Divide a piece of a flat weight [before, channels, inner] into parts of whole channels.

    Args:
        at: index of the first value of the piece in the flat weight.
        count: number of values in the piece.
        channels: number of channels.
        inner: number of consecutive values of one channel.

    Returns:
        For each part: where it is in the piece, which channels it has, and its shape
        [rows, channels, inner].
    """
    row, begin, end = channels * inner, at, at + count
    while at < end:
        first, start = divmod(at % row, inner)
        most = min(end - at, BLOCK)
        if not first and not start and row <= most:
            shape = (most // row, channels, inner)
        elif not start and inner <= most:
            shape = (1, min(channels - first, most // inner), inner)
        else:
            shape = (1, 1, min(inner - start, most))
        done = shape[0] * shape[1] * shape[2]
        yield slice(at - begin, at - begin + done), slice(first, first + shape[1]), shape
        at += done


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of stored weights: float32, int32, or uint8 for bools and the bytes of strings."""
    if dtype.kind == "O":
        return np.dtype(np.uint8)
    if dtype == np.bool_:
        return np.dtype(np.uint8)  # a byte each
    return np.dtype("<i4") if dtype.kind in "iu" else np.dtype("<f4")


def manifest_dtype(dtype: np.dtype[Any]) -> str:
    """The same as the manifest spells it."""
    if dtype.kind == "O":
        return "string"
    return {"u": "bool", "i": "int32", "f": "float32"}[stored_dtype(dtype).kind]


def nbytes_of(
    weight: Weight,
    encoding: Encoding | Scaled | None = None,
    stored: Callable[[np.dtype[Any]], np.dtype[Any]] = stored_dtype,
) -> int:
    """Size in bytes of a weight as it is written.

    Args:
        weight: the weight.
        encoding: how it is rounded; None if it is not.
        stored: the dtype in which a target stores weights of a dtype.
    """
    if weight.dtype.kind == "O":
        return len(_texts(weight.read()))
    return weight.size * (encoding or stored(weight.dtype)).itemsize


def numbers_of(name: str, weight: Weight) -> Iterator[Array]:
    """The numbers of a weight in TF.js's dtypes, flat, piece by piece; of strings the bytes.

    Raises:
        KerasportError: a number does not fit into them.
    """
    return (_converted(name, piece) for piece in weight.pieces() if piece.size)


def _texts(array: Array) -> bytes:
    """Strings in UTF-8, each behind the number of its bytes."""
    encoded = [str(text).encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)


def _converted(name: str, piece: Array) -> Array:
    if piece.dtype.kind == "O":
        return np.frombuffer(_texts(piece), np.uint8)
    wanted = stored_dtype(piece.dtype)
    if piece.dtype.kind in "iu" and piece.dtype.itemsize >= 4 and piece.dtype != np.int32:
        limits = np.iinfo(np.int32)
        if piece.min() < limits.min or piece.max() > limits.max:
            raise KerasportError(
                f"weight {quoted(name)}: it contains integers beyond int32, which the converted "
                "model cannot store"
            )
    with np.errstate(
        over="ignore"
    ):  # float64 beyond float32 becomes infinite, as in Keras's own cast
        return np.ascontiguousarray(piece.astype(wanted, copy=False))
