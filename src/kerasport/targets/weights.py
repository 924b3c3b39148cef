"""Weights in the form of TF.js: one row of bytes, cut into shards, and a manifest that says what they are.

Source of the format: tfjs-core io/types.ts and io_utils.ts. Values are little-endian and follow each other without
padding; a shard may end inside a value. Only a few dtypes exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.errors import KerasportError
from kerasport.model import Array, Weight

SHARD = 4 * 1024 * 1024  # bytes; browsers fetch shards in parallel and cache each by itself


@dataclass(frozen=True)
class Written:
    """What was written of the weights."""

    manifest: list[dict[str, Any]]  # the weightsManifest of model.json
    files: tuple[str, ...]
    nbytes: int


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which TF.js holds weights of a dtype: float32, int32 or bool."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)  # a byte each
    return np.dtype("<i4") if dtype.kind in "iu" else np.dtype("<f4")


def manifest_dtype(dtype: np.dtype[Any]) -> str:
    """The same as the manifest spells it."""
    return {"u": "bool", "i": "int32", "f": "float32"}[stored_dtype(dtype).kind]


def nbytes_of(weight: Weight) -> int:
    """How many bytes a weight takes in the shards."""
    return weight.size * stored_dtype(weight.dtype).itemsize


def write_weights(
    weights: Mapping[str, Weight],
    directory: Path,
    *,
    shard_size: int = SHARD,
    progress: Callable[[int], None] = lambda _: None,
) -> Written:
    """Stream the weights into shards; `progress` is told how many bytes were written each time.

    Raises:
        KerasportError: a number does not fit into TF.js's dtypes.
    """
    total = sum(map(nbytes_of, weights.values()))
    count = -(-total // shard_size)
    files = tuple(f"group1-shard{index + 1}of{count}.bin" for index in range(count))
    shards = _Shards([directory / file for file in files], shard_size)
    try:
        for name, weight in weights.items():
            for piece in weight.pieces():
                data = _converted(name, piece).data.cast("B") if piece.size else memoryview(b"")
                shards.write(data)
                progress(len(data))
    finally:
        shards.close()
    entries = [
        {"name": name, "shape": list(weight.shape), "dtype": manifest_dtype(weight.dtype)}
        for name, weight in weights.items()
    ]
    return Written([{"paths": list(files), "weights": entries}] if entries else [], files, total)


def _converted(name: str, piece: Array) -> Array:
    wanted = stored_dtype(piece.dtype)
    if piece.dtype.kind in "iu" and piece.dtype.itemsize >= 4 and piece.dtype != np.int32:
        limits = np.iinfo(np.int32)
        if piece.min() < limits.min or piece.max() > limits.max:
            raise KerasportError(f"weight {name!r}: holds integers beyond 32 bits, which TF.js does not have")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, as in Keras's own cast
        return np.ascontiguousarray(piece.astype(wanted, copy=False))


class _Shards:
    """Files of one size, filled one after the other."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self._paths: Iterator[Path] = iter(paths)
        self._size, self._left = size, 0
        self._file: Any = None

    def write(self, data: memoryview) -> None:
        while data:
            if not self._left:
                self.close()
                self._file, self._left = next(self._paths).open("xb"), self._size
            part = data[: self._left]
            self._file.write(part)
            self._left -= len(part)
            data = data[len(part) :]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
