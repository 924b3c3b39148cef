"""How targets store weights: the element types, and the rounding of numbers to fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from kerasport.errors import KerasportError, quoted
from kerasport.weights import Array, Weight


@dataclass(frozen=True)
class Encoding:
    """How a weight is rounded to fewer bits. TF.js decodes the values when it loads the model.

    An integer q represents q · scale + minimum, computed in float64 and rounded to float32. Source:
    tfjs-core io/io_utils.ts, decodeWeight.

    Attributes:
        dtype: the dtype of the stored values.
        scale: the distance of two values, if they are stored as integers.
        minimum: the value that the integer 0 represents.
    """

    dtype: Literal["float16", "uint8", "uint16"]
    scale: float = 1.0
    minimum: float = 0.0

    @property
    def itemsize(self) -> int:
        """Size of a stored value in bytes."""
        return np.dtype(self.dtype).itemsize

    def manifest(self) -> dict[str, Any]:
        """The keys of the weight's entry in the manifest."""
        affine = {} if self.dtype == "float16" else {"min": self.minimum, "scale": self.scale}
        return {"dtype": self.dtype, **affine, "original_dtype": "float32"}

    def encode(self, numbers: Array) -> Array:
        """The stored values for float32 numbers, little-endian."""
        if self.dtype == "float16":
            return numbers.astype("<f2")
        steps = np.round((numbers.astype(np.float64) - self.minimum) / self.scale)
        kind = np.dtype(self.dtype).newbyteorder("<")
        return steps.clip(0, np.iinfo(kind).max).astype(kind)

    def decode(self, stored: Array) -> Array:
        """The float32 numbers that TF.js decodes from stored values."""
        if self.dtype == "float16":
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * self.scale + self.minimum).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scaled:
    """How a weight is rounded to int8, with a scale for each channel. q represents q · scale.

    Attributes:
        axis: the axis of the channels.
        scale: float32 [channels].
        inner: number of consecutive values of one channel.
    """

    axis: int
    scale: Array
    inner: int

    dtype: ClassVar[str] = "int8"
    itemsize: ClassVar[int] = 1

    def encode(self, numbers: Array, offset: int) -> tuple[Array, float]:
        """The stored values for a piece of the flat weight, which starts at index `offset`.

        Also returns the largest error: the difference from the decoded float32 values.
        """
        stored, error = np.empty(numbers.size, np.int8), 0.0
        repeats = min(BLOCK, numbers.size) // (self.scale.size * self.inner)
        rows = np.tile(np.repeat(self.scale, self.inner), repeats) if repeats else self.scale[:0]
        for part, channels, (count, some, width) in blocks(
            offset, numbers.size, self.scale.size, self.inner
        ):
            # numpy is fast if the last axis is long, so whole rows are flat; other parts have
            # one channel in each row
            flat = some == self.scale.size and 0 < count * some * width <= rows.size
            values = numbers[part] if flat else numbers[part].reshape(some, width)
            scales = rows[: values.size] if flat else self.scale[channels, None]
            # computed in place, because memory access limits the speed
            rounded = values / scales
            np.rint(rounded, out=rounded)
            np.clip(rounded, -127, 127, out=rounded)
            stored[part] = rounded.reshape(-1)
            rounded *= scales
            rounded -= values
            error = max(error, float(rounded.max()), -float(rounded.min()))
        return stored, error

    @staticmethod
    def largest(numbers: Array, offset: int, channels: int, inner: int, so_far: Array) -> None:
        """Update the largest magnitude of each channel with a piece that starts at `offset`."""
        for part, some, (rows, count, width) in blocks(offset, numbers.size, channels, inner):
            over_rows = np.abs(numbers[part]).reshape(rows, count * width).max(0)
            so_far[some] = np.maximum(so_far[some], over_rows.reshape(count, width).max(1))


BLOCK = 64 * 1024
"""Numbers that are processed at once. They fit into the cache of the processor."""


def blocks(
    offset: int, count: int, channels: int, inner: int
) -> Iterator[tuple[slice, slice, tuple[int, int, int]]]:
    """Divide a piece of a flat weight [before, channels, inner] into parts of whole channels.

    Args:
        offset: index of the first value of the piece in the flat weight.
        count: number of values in the piece.
        channels: number of channels.
        inner: number of consecutive values of one channel.

    Returns:
        For each part: its range in the piece, its range of channels, and its shape
        [rows, channels, inner].
    """
    row, position, end = channels * inner, offset, offset + count
    while position < end:
        first, start = divmod(position % row, inner)
        most = min(end - position, BLOCK)
        if not first and not start and row <= most:
            shape = (most // row, channels, inner)
        elif not start and inner <= most:
            shape = (1, min(channels - first, most // inner), inner)
        else:
            shape = (1, 1, min(inner - start, most))
        done = shape[0] * shape[1] * shape[2]
        begin = position - offset
        yield slice(begin, begin + done), slice(first, first + shape[1]), shape
        position += done


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of stored weights: float32, int32, or uint8 for bools and the bytes of strings."""
    if dtype.kind == "O":
        return np.dtype(np.uint8)
    if dtype == np.bool_:
        # one byte each
        return np.dtype(np.uint8)
    return np.dtype("<i4") if dtype.kind in "iu" else np.dtype("<f4")


def manifest_dtype(dtype: np.dtype[Any]) -> str:
    """The name of the stored dtype in the manifest of TF.js."""
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
    """The values of a weight in the dtypes of TF.js, as flat pieces; strings become bytes.

    Raises:
        KerasportError: a number does not fit into the dtype.
    """
    return (_converted(name, piece) for piece in weight.pieces() if piece.size)


def _texts(array: Array) -> bytes:
    """Strings in UTF-8, each after its length in bytes as uint32."""
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
    # float64 values beyond float32 become infinite, as in Keras's own cast
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(piece.astype(wanted, copy=False))
