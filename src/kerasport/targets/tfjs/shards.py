"""Weights in the form of TF.js: one row of bytes, cut into shards, and a manifest that says what they are.

Source of the format: tfjs-core io/types.ts and io_utils.ts. Values are little-endian and follow each other without
padding; a shard may end inside a value. Only a few dtypes exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
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
    """What was written of the weights."""

    manifest: list[dict[str, Any]]  # the weightsManifest of model.json
    files: tuple[str, ...]
    nbytes: int
    errors: Mapping[str, float] = field(
        default_factory=dict
    )  # of each quantised weight, the largest


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
