"""What a row of the table is, and short ways to write one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

Array: TypeAlias = npt.NDArray[Any]
Sizes: TypeAlias = tuple[int | None, ...]
Feed: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Values of an input, given its shape."""

LAYERS_MODEL = "tfjs-layers"
GRAPH_MODEL = "tfjs-graph"
ONNX = "onnx"


@dataclass(frozen=True)
class Case:
    """A model to convert, and how closely what comes of it must agree with Keras."""

    name: str
    build: Callable[[], keras.Model]
    rtol: float = 1e-4
    atol: float = 1e-5
    because: str = ""  # why the bounds are not the usual ones
    refused: Mapping[str, str] = field(default_factory=dict)  # target → part of the reason it gives
    feed: Feed | None = None  # where random numbers of the input's dtype would not do
    companion: str = (
        ""  # part of the reason for which its layers-model needs the companion, if it does
    )
    mixes_batch: bool = (
        False  # what comes of a sample depends on its batch, so Keras runs every feed by itself
    )
    covers: tuple[str, ...] = ()  # layers, by class name, for which this row may stand


def no_layers_model(reason: str) -> Mapping[str, str]:
    """The refusal of a model that only TF.js's layers cannot express."""
    return {LAYERS_MODEL: reason}


def only_onnx(reason: str) -> Mapping[str, str]:
    """The refusal, by both formats of TF.js, of a model that ONNX can express."""
    return {LAYERS_MODEL: "TF.js", GRAPH_MODEL: reason}


def one(
    name: str,
    shape: Sizes | Sequence[Sizes],
    layer: Callable[..., Any],
    /,
    *args: Any,
    of: str = "float32",
    refused: str = "",
    rtol: float = 1e-4,
    atol: float = 1e-5,
    because: str = "",
    feed: Feed | None = None,
    companion: str = "",
    covers: tuple[str, ...] = (),
    **options: Any,
) -> Case:
    """The case of one layer on an input of that shape and dtype, or on a list of inputs.

    It covers that layer, and those of `covers`.
    """

    def build() -> keras.Model:
        if isinstance(shape, list):
            x: Any = [layers.Input(each, dtype=of) for each in shape]
        else:
            x = layers.Input(shape, dtype=of)
        return keras.Model(x, layer(*args, **options)(x))

    refusals = no_layers_model(refused) if refused else {}
    own = (layer.__name__,) if isinstance(layer, type) else ()
    return Case(name, build, rtol, atol, because, refusals, feed, companion, covers=own + covers)


def chain(
    name: str,
    shape: Sizes,
    *made: Callable[[], Any],
    of: str = "float32",
    refused: str = "",
    **row: Any,
) -> Case:
    """The case of a Sequential of layers."""

    def build() -> keras.Model:
        return keras.Sequential([layers.Input(shape, dtype=of), *(make() for make in made)])

    return Case(name, build, refused=no_layers_model(refused) if refused else {}, **row)


def ids(below: int) -> Feed:
    """Indices into a table of that many rows."""
    return lambda rng, shape: rng.integers(0, below, shape)


def negative(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers below zero: a maximum that begins at zero would show."""
    return -1 - rng.random(shape, np.float32)
