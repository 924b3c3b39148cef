"""A row of the table, built, given weights, saved and run by Keras."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import layers
from tests.cases.case import Array, Case, Feed

BATCH = 3
UNKNOWN = (7, 6, 5)
"""What stands for sizes that a model leaves open: time, or height and width."""


class Trial:
    """A saved model with random weights, feeds for it, and what Keras computes of them.

    The second feed is the first sample of the first feed. A model of a fixed batch size gets two
    feeds of that size instead; the second one then finds the states that the first one left.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.path = folder / "model.keras"
        self.rng = np.random.default_rng(zlib.crc32(case.name.encode()))
        with quiet(), undrawn_weights():
            self.model = case.build()
            randomize(self.model, self.rng)
            self.model.save(self.path)

    @cached_property
    def feeds(self) -> tuple[tuple[Array, ...], ...]:
        """Two batches of inputs."""
        first = self._batch()
        if self._fixed:
            return first, self._batch()
        return first, tuple(array[:1] for array in first)

    @cached_property
    def expected(self) -> tuple[tuple[Array, ...], ...]:
        """What Keras computes of each feed."""
        with quiet():
            first = self._run(self.feeds[0])
            if self._fixed or self.case.mixes_batch:
                return first, self._run(self.feeds[1])
        return first, tuple(array[:1] for array in first)

    @property
    def _fixed(self) -> bool:
        return self.model.inputs[0].shape[0] is not None

    def _batch(self) -> tuple[Array, ...]:
        return tuple(
            random_input(self.case, self.model, tensor, index, self.rng)
            for index, tensor in enumerate(self.model.inputs)
        )

    def _run(self, feed: tuple[Array, ...]) -> tuple[Array, ...]:
        single = isinstance(self.model, keras.Sequential)
        inputs = feed[0] if single else keras.tree.pack_sequence_as(self.model.input, list(feed))
        outputs = keras.tree.flatten(self.model(inputs, training=False))
        return tuple(np.asarray(keras.ops.convert_to_numpy(output)) for output in outputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings of Keras, JAX and NumPy, such as those about dropped masks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def undrawn_weights() -> Iterator[None]:
    """Create layers with zero weights: Keras spends most of its time drawing random ones."""
    add_weight = layers.Layer.add_weight

    def add_zeros(layer: layers.Layer, *args: Any, initializer: Any = None, **options: Any) -> Any:
        return add_weight(layer, *args, initializer="zeros", **options)

    with mock.patch.object(layers.Layer, "add_weight", add_zeros):
        yield


def randomize(model: keras.Model, rng: np.random.Generator) -> None:
    """Give every weight random values under which no part of the math can hide."""
    for variable in model.weights:
        if "float" in str(variable.dtype):
            variable.assign(random_weight(variable.name, tuple(variable.shape), rng))
    for layer in inner_layers(model):
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            layer.finalize_state()  # it works with what it once made of its statistics


def random_weight(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Values of a weight, by what its name says of it."""
    if "variance" in name or "stddev" in name:
        return rng.uniform(0.5, 2, shape)
    if "gamma" in name or name == "scale":
        return rng.uniform(0.5, 1.5, shape)
    if "kernel" in name:
        return rng.normal(0, 1 / math.sqrt(max(1, math.prod(shape[:-1]))), shape)
    return rng.normal(0, 0.5, shape)


def random_input(
    case: Case, model: keras.Model, tensor: Any, index: int, rng: np.random.Generator
) -> Array:
    """Values of an input in its dtype; in models with masks each input has other masked steps."""
    fixed, *rest = tensor.shape
    unknown = iter(UNKNOWN)
    shape = (fixed or BATCH, *(next(unknown) if size is None else size for size in rest))
    feed = case.feed or numbers(tensor.dtype, vocabulary(model))
    values = feed(rng, shape).astype("float32" if tensor.dtype == "bfloat16" else tensor.dtype)
    padding = mask_value(model, values)
    if padding is not None and values.ndim > 1:
        mask(values, padding)
        values = np.roll(values, index, axis=0)
    return values


def numbers(dtype: str, below: int | None) -> Feed:
    """Random numbers of a dtype; integers below the size of a vocabulary, where there is one."""
    if dtype == "bool":
        return lambda rng, shape: rng.random(shape) < 0.5
    if "int" not in dtype:
        return lambda rng, shape: rng.normal(0, 1.5, shape)
    lowest, end = (0, below) if below else (0, 256) if dtype.startswith("u") else (-9, 10)
    return lambda rng, shape: rng.integers(lowest, end, shape)


def inner_layers(model: keras.Model) -> list[Any]:
    """Every layer of a model, those inside others included."""
    return list(model._flatten_layers(include_self=False))


def vocabulary(model: keras.Model) -> int | None:
    """The number of ids that every embedding of a model knows."""
    return min(
        (layer.input_dim for layer in inner_layers(model) if isinstance(layer, layers.Embedding)),
        default=None,
    )


def mask_value(model: keras.Model, values: Array) -> float | None:
    """What marks a time step of these inputs as masked, if anything does."""
    for layer in inner_layers(model):
        if isinstance(layer, layers.Masking) and values.ndim > 2:
            return float(layer.mask_value)
        if isinstance(layer, layers.Embedding) and layer.mask_zero and values.dtype.kind == "i":
            return 0
    return None


def mask(values: Array, padding: float) -> None:
    """Mask steps at start, middle and end of one sample, all of one, and the end of another."""
    if padding == 0 and values.dtype.kind == "i":
        values[values == 0] = 1
    steps = values.shape[1]
    values[0, [0, steps // 2, steps - 1]] = padding
    values[1] = padding
    values[2, : steps // 3] = padding
    if values.ndim > 2:
        values[2, -1, 0] = padding  # one feature of a step that counts
