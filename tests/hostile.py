"""Parts of hostile files that several test modules use."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.forged import (
    DENSE,
    TARGETS,
    Json,
    dense,
    given,
    hdf5,
    layer,
    sequential,
    text_of,
)  # fmt: skip


def each(names: Iterable[str]) -> list[Any]:
    """Each name with each target."""
    return [(name, to) for name in names for to in TARGETS]


WEIGHTS, CONFIG = hdf5(), text_of(DENSE)
"""Weights and config of one Dense layer, as two files."""


def between(*layers: Json) -> Json:
    return sequential(given(), *layers)


@dataclass(frozen=True)
class Attack:
    """A hostile file, and what the refusal says; without `match` it is harmless and works."""

    name: str
    data: Callable[[], bytes]
    match: str = ""


DEFLATED = zipfile.ZIP_DEFLATED


def deep_list(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def options(value: Any) -> Json:
    return between(dense(units=value))


def chained(count: int) -> list[Json]:
    return [
        layer("ReLU", f"r{i}", f"r{i - 1}" if i else "x", dtype="float32", trainable=True)
        for i in range(count)
    ]


def relu(name: str = "r", *sources: Any) -> Json:
    return layer("ReLU", name, *sources, dtype="float32", trainable=True)
