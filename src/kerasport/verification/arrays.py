"""Batches of arrays in a file, to hand them to another process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from kerasport.model import Array

Arrays: TypeAlias = tuple[Array, ...]


def save(path: Path, groups: Iterable[Sequence[Array]]) -> None:
    """Save groups of arrays as an `.npz`."""
    named: dict[str, Any] = {
        f"{group}.{index}": _storable(array)
        for group, arrays in enumerate(groups)
        for index, array in enumerate(arrays)
    }
    np.savez(path, **named)


def load(path: Path) -> tuple[Arrays, ...]:
    """Groups of arrays as they were saved."""
    groups: dict[int, list[Array]] = {}
    with np.load(path) as stored:
        for name in stored.files:
            groups.setdefault(int(name.split(".")[0]), []).append(stored[name])
    return tuple(tuple(arrays) for _, arrays in sorted(groups.items()))


def _storable(array: Array) -> Array:
    # numpy forgets what bfloat16 and float8 are
    return array if array.dtype.kind in "biuf" else array.astype("float32")
