"""Weights in the format of TF.js: a sequence of bytes, cut into shards, and a manifest.

Source of the format: tfjs-core io/types.ts and io_utils.ts. Values are little-endian and follow
each other without padding; a shard may end inside a value. Only a few dtypes exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from kerasport.errors import ReadError
from kerasport.targets.encoding import Encoding, manifest_dtype, nbytes_of, numbers_of, stored_dtype
from kerasport.targets.tfjs.options import SHARD
from kerasport.weights import Array, Weight, WeightRef

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Written:
    """The shards that were written."""

    manifest: list[dict[str, Any]]
    """The weightsManifest of model.json."""
    files: tuple[str, ...]
    nbytes: int
    errors: Mapping[str, float] = field(default_factory=dict)
    """Name of a rounded weight → its largest rounding error."""


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
    """Stream weights into shards.

    Args:
        weights: the weights by their names in the manifest.
        directory: where to write the shards, which must not exist.
        shard_size: size of a shard in bytes.
        stem: prefix of the names of the shards.
        encodings: name of a weight → how to round it.
        optimizer: names of the weights that belong to the optimizer.
        progress: called with the number of bytes after each write.

    Raises:
        KerasportError: a number does not fit the dtypes of TF.js.
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
        _entry(name, weight, encodings.get(name), optimizer=name in optimizer)
        for name, weight in weights.items()
    ]
    manifest = [{"paths": list(files), "weights": entries}] if entries else []
    return Written(manifest, files, total, errors)


def _entry(
    name: str, weight: Weight, encoding: Encoding | None, *, optimizer: bool
) -> dict[str, Any]:
    """A weight in the manifest."""
    entry: dict[str, Any] = {
        "name": name,
        "shape": list(weight.shape),
        "dtype": manifest_dtype(weight.dtype),
    }
    # TF.js treats a weight as rounded, or of the optimizer, if the key exists
    if encoding is not None:
        entry["quantization"] = encoding.manifest()
    if optimizer:
        entry["group"] = "optimizer"
    return entry


def _encode(
    name: str, weight: Weight, encoding: Encoding, shards: _Shards, progress: Callable[[int], None]
) -> float:
    """Round and write a weight; returns the largest rounding error."""
    error = 0.0
    for numbers in numbers_of(name, weight):
        stored = encoding.encode(numbers)
        shards.put(stored, progress)
        error = max(
            error, float(np.abs(encoding.decode(stored).astype(np.float64) - numbers).max())
        )
    return error


COPIED = 256 * 1024
"""Bytes that are copied at once.

This fits the cache of the processor, and is faster than a copy by the kernel, which is slow from
offsets that are not aligned to pages.
"""
THREADS = 4
"""Threads that copy, each into another file. Most of the time goes to the kernel's allocation."""


@dataclass(frozen=True)
class _Piece:
    """Bytes of another file that a shard contains unchanged."""

    path: Path
    offset: int
    nbytes: int
    position: int
    """Offset in the shard."""


class _Shards:
    """Files of equal size for a sequence of bytes, which are written or copied later."""

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
        """Append the bytes of an array."""
        data = np.ascontiguousarray(numbers).data.cast("B")
        done = 0
        for shard, offset, nbytes in self._places(len(data)):
            file = self._file(self._paths[shard])
            file.seek(offset)
            _write(file, data[done : done + nbytes])
            done += nbytes
        progress(len(data))

    def refer(self, path: Path, offset: int, nbytes: int) -> None:
        """Append bytes of a file, which `copy` copies later."""
        for shard, position, count in self._places(nbytes):
            self._pieces[shard].append(_Piece(path, offset, count, position))
            offset += count

    def copy(self, progress: Callable[[int], None]) -> None:
        """Copy all bytes that were referred to, into several shards at once."""
        parts = [
            (path, pieces) for path, pieces in zip(self._paths, self._pieces, strict=True) if pieces
        ]
        if len(parts) < 2:
            for part in parts:
                progress(_copied(part))
            return
        # most models have few shards, and the import takes time
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for nbytes in pool.map(_copied, parts):
                    progress(nbytes)
            except BaseException:
                # an interrupt waits only for the copies that have started
                pool.shutdown(cancel_futures=True)
                raise

    def _places(self, nbytes: int) -> Iterator[tuple[int, int, int]]:
        """Shard, offset in it and length of each part of the next `nbytes` bytes."""
        while nbytes:
            shard, offset = divmod(self._at, self._size)
            count = min(nbytes, self._size - offset)
            yield shard, offset, count
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
    """Copy pieces of other files into a shard; returns the number of bytes."""
    path, pieces = part
    buffer = memoryview(bytearray(COPIED))
    with ExitStack() as stack:
        shard = stack.enter_context(path.open("r+b", buffering=0))
        sources: dict[Path, FileIO] = {}
        for piece in pieces:
            if piece.path not in sources:
                sources[piece.path] = stack.enter_context(piece.path.open("rb", buffering=0))
        for piece in pieces:
            source, left = sources[piece.path], piece.nbytes
            source.seek(piece.offset)
            shard.seek(piece.position)
            while left:
                count = source.readinto(buffer[: min(left, COPIED)]) or 0
                if not count:
                    raise ReadError(
                        f"{piece.path}: the file ends inside a weight; another program changed it "
                        "during the conversion"
                    )
                _write(shard, buffer[:count])
                left -= count
    return sum(piece.nbytes for piece in pieces)


def _write(file: IO[bytes], data: memoryview) -> None:
    """Write all of the data, of which one call may write only a part."""
    while data:
        data = data[file.write(data) :]
