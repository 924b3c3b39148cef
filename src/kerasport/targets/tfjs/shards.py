"""Weights in the form of TF.js: one row of bytes, cut into shards, and a manifest that says what they are.

Source of the format: tfjs-core io/types.ts and io_utils.ts. Values are little-endian and follow each other without
padding; a shard may end inside a value. Only a few dtypes exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from kerasport.errors import KerasportError, ReadError, quoted
from kerasport.weights import Array, Weight, WeightRef

if TYPE_CHECKING:
    from typing_extensions import Self

SHARD = 4 * 1024 * 1024  # bytes; browsers fetch shards in parallel and cache each by itself
SMALLEST_SHARD = 16 * 1024  # bytes: a request for less costs more than what it brings
MOST_SHARDS = 10_000  # files; a directory of more is slow to list, copy and upload


@dataclass(frozen=True)
class Written:
    """What was written of the weights."""

    manifest: list[dict[str, Any]]  # the weightsManifest of model.json
    files: tuple[str, ...]
    nbytes: int
    errors: Mapping[str, float] = field(
        default_factory=dict
    )  # of each quantised weight, the largest


@dataclass(frozen=True)
class Encoding:
    """How the numbers of a weight are rounded to fewer bits; TF.js decodes them as it loads the model.

    Source: tfjs-core io/io_utils.ts, decodeWeight. Integers q stand for q · scale + minimum, worked out in float64 and
    rounded to float32.
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
    """A weight as integers of 8 bits, with a scale for each channel, which ONNX has; q stands for q · scale."""

    axis: int  # of the channels
    scale: Array  # [channels]
    inner: int  # how many numbers of one channel stand beside each other

    dtype: ClassVar[str] = "int8"
    itemsize: ClassVar[int] = 1

    def encode(self, numbers: Array, at: int) -> tuple[Array, float]:
        """The stored form of float32 numbers, of which the first is number `at` of the flat weight.

        Gives the largest error too, of the float32 numbers that ONNX makes of the stored form.
        """
        stored, error = np.empty(numbers.size, np.int8), 0.0
        repeats = min(BLOCK, numbers.size) // (self.scale.size * self.inner)
        rows = np.tile(np.repeat(self.scale, self.inner), repeats) if repeats else self.scale[:0]
        for part, channels, (count, some, width) in blocks(
            at, numbers.size, self.scale.size, self.inner
        ):
            # numpy is fast where the last axis is long: whole rows are flat, other parts have a channel in each row
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
        """Raise the largest magnitudes of channels to those of numbers, of which the first is number `at`."""
        for part, some, (rows, count, width) in blocks(at, numbers.size, channels, inner):
            over_rows = np.abs(numbers[part]).reshape(rows, count * width).max(0)
            so_far[some] = np.maximum(so_far[some], over_rows.reshape(count, width).max(1))


BLOCK = 64 * 1024  # numbers that are worked on at once, few enough to stay in the processor's cache


def blocks(
    at: int, count: int, channels: int, inner: int
) -> Iterator[tuple[slice, slice, tuple[int, int, int]]]:
    """Parts of a piece of a flat weight [before, channels, inner], of which it holds `count` numbers from `at` on.

    Gives where a part is in the piece, which channels it has, and its shape [rows, channels, inner].
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
    """The dtype in which TF.js holds weights of a dtype: float32, int32 or bool; of strings, that of their bytes."""
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


def nbytes_of(weight: Weight, encoding: Encoding | Scaled | None = None) -> int:
    """How many bytes a weight takes in the shards."""
    if weight.dtype.kind == "O":
        return len(_texts(weight.read()))
    return weight.size * (encoding or stored_dtype(weight.dtype)).itemsize


def numbers_of(name: str, weight: Weight) -> Iterator[Array]:
    """The numbers of a weight in TF.js's dtypes, flat, piece by piece; of strings the bytes.

    Raises:
        KerasportError: a number does not fit into them.
    """
    return (_converted(name, piece) for piece in weight.pieces() if piece.size)


def write_weights(
    weights: Mapping[str, Weight],
    directory: Path,
    *,
    shard_size: int = SHARD,
    stem: str = "group1-",
    encodings: Mapping[str, Encoding] | None = None,
    optimizer: Collection[str] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Written:
    """Stream the weights into shards, whose names begin with `stem`; `progress` is told what was written each time.

    Weights with an encoding are rounded; `optimizer` names those that are not of the model but of its optimizer.

    Raises:
        KerasportError: a number does not fit into TF.js's dtypes.
    """
    encodings = encodings or {}
    total = sum(nbytes_of(weight, encodings.get(name)) for name, weight in weights.items())
    count = -(-total // shard_size)
    files = tuple(f"{stem}shard{index + 1}of{count}.bin" for index in range(count))
    errors: dict[str, float] = {}
    with _Shards([directory / file for file in files], shard_size) as shards:
        for name, weight in weights.items():
            if name in encodings:
                errors[name] = _encode(name, weight, encodings[name], shards, progress)
            elif isinstance(weight, WeightRef) and weight.dtype == stored_dtype(weight.dtype):
                shards.refer(weight.path, weight.offset, nbytes_of(weight))
            else:
                for numbers in numbers_of(name, weight):
                    shards.put(numbers, progress)
        shards.copy(progress)
    entries = [
        {
            "name": name,
            "shape": list(weight.shape),
            "dtype": manifest_dtype(weight.dtype),
            # TF.js looks whether there is such a key, not what it holds
            **({"quantization": encodings[name].manifest()} if name in encodings else {}),
            **({"group": "optimizer"} if name in optimizer else {}),
        }
        for name, weight in weights.items()
    ]
    return Written(
        [{"paths": list(files), "weights": entries}] if entries else [], files, total, errors
    )


def _encode(
    name: str, weight: Weight, encoding: Encoding, shards: _Shards, progress: Callable[[int], None]
) -> float:
    """Write a weight rounded; gives the largest error."""
    error = 0.0
    for numbers in numbers_of(name, weight):
        stored = encoding.encode(numbers)
        shards.put(stored, progress)
        error = max(
            error, float(np.abs(encoding.decode(stored).astype(np.float64) - numbers).max())
        )
    return error


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
                f"weight {quoted(name)}: it contains integers beyond int32, which the converted model cannot store"
            )
    with np.errstate(
        over="ignore"
    ):  # float64 beyond float32 becomes infinite, as in Keras's own cast
        return np.ascontiguousarray(piece.astype(wanted, copy=False))


# Bytes that are copied at once: few enough to stay in the processor's cache, so that this is faster than letting the
# kernel copy, which does it badly from places that are not aligned to pages.
COPIED = 256 * 1024
THREADS = 4  # that copy, each into another file: the work is the kernel's, which finds room for what is written


@dataclass(frozen=True)
class _Piece:
    """Bytes of a file that stand in a shard as they are."""

    path: Path
    offset: int
    nbytes: int
    at: int  # where in the shard


class _Shards:
    """Files of one size that hold one row of bytes: what is put there, and at the end what is only referred to."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self._paths, self._size, self._at = paths, size, 0
        self._pieces: list[list[_Piece]] = [[] for _ in paths]
        self._open: tuple[Path, IO[bytes]] | None = None

    def __enter__(self) -> Self:
        for path in self._paths:
            path.open("xb").close()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def put(self, numbers: Array, progress: Callable[[int], None]) -> None:
        """Write the bytes of an array behind all that came before."""
        data = np.ascontiguousarray(numbers).data.cast("B")
        done = 0
        for shard, at, nbytes in self._places(len(data)):
            file = self._file(self._paths[shard])
            file.seek(at)
            _write(file, data[done : done + nbytes])
            done += nbytes
        progress(len(data))

    def refer(self, path: Path, offset: int, nbytes: int) -> None:
        """Take down bytes of a file that stand behind all that came before, as they are."""
        for shard, at, count in self._places(nbytes):
            self._pieces[shard].append(_Piece(path, offset, count, at))
            offset += count

    def copy(self, progress: Callable[[int], None]) -> None:
        """Write what was referred to, into several shards at once."""
        parts = [
            (path, pieces) for path, pieces in zip(self._paths, self._pieces, strict=True) if pieces
        ]
        if len(parts) < 2:
            for part in parts:
                progress(_copied(part))
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (small models do without)

        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for nbytes in pool.map(_copied, parts):
                    progress(nbytes)
            except (
                BaseException
            ):  # an interrupt waits for what is being copied, not for all that is left
                pool.shutdown(cancel_futures=True)
                raise

    def _places(self, nbytes: int) -> Iterator[tuple[int, int, int]]:
        """Shard, place in it and length of each part of the next so many bytes."""
        while nbytes:
            shard, at = divmod(self._at, self._size)
            count = min(nbytes, self._size - at)
            yield shard, at, count
            self._at += count
            nbytes -= count

    def _file(self, path: Path) -> IO[bytes]:
        if self._open is None or self._open[0] != path:
            self._close()
            self._open = path, path.open("r+b", buffering=0)
        return self._open[1]

    def _close(self) -> None:
        if self._open:
            self._open[1].close()


def _copied(part: tuple[Path, list[_Piece]]) -> int:
    """Fill a shard with pieces of other files, without looking at them; gives the number of bytes."""
    path, pieces = part
    buffer = memoryview(bytearray(COPIED))
    with ExitStack() as stack:
        shard = stack.enter_context(path.open("r+b", buffering=0))
        sources = {
            each: stack.enter_context(each.open("rb", buffering=0))
            for each in {p.path for p in pieces}
        }
        for piece in pieces:
            source, left = sources[piece.path], piece.nbytes
            source.seek(piece.offset)
            shard.seek(piece.at)
            while left:
                count = source.readinto(buffer[: min(left, COPIED)]) or 0
                if not count:
                    raise ReadError(
                        f"{piece.path}: the file ends inside a weight; another program changed it during the conversion"
                    )
                _write(shard, buffer[:count])
                left -= count
    return sum(piece.nbytes for piece in pieces)


def _write(file: IO[bytes], data: memoryview) -> None:
    """All of the data: a file without a buffer may take a part."""
    while data:
        data = data[file.write(data) :]
