"""The models of the benchmarks, with random weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def transformer(
    keras: Any, length: int = 64, width: int = 128, heads: int = 4, blocks: int = 4
) -> Any:
    """A transformer encoder of `blocks` blocks on int32 tokens [batch, length]."""
    layers = keras.layers
    x = tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, width)(x)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(y))
        x = layers.Add()([x, y])
    return keras.Model(tokens, layers.GlobalAveragePooling1D()(x))


def application(name: str, side: int) -> Callable[[Any], Any]:
    """A model of keras.applications with random weights."""
    return lambda keras: getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3)
    )


def recurrent(layer: str, length: int, width: int = 64) -> Callable[[Any], Any]:
    """An embedding and two recurrent layers on int32 tokens [batch, length]."""

    def build(keras: Any) -> Any:
        layers = keras.layers
        tokens = keras.Input((length,), dtype="int32", name="tokens")
        x = getattr(layers, layer)(width, return_sequences=True)(
            layers.Embedding(1000, width)(tokens)
        )
        return keras.Model(tokens, layers.Dense(10)(getattr(layers, layer)(width)(x)))

    return build


def dense(*, norm: bool) -> Callable[[Any], Any]:
    """Five dense layers on float32 inputs [batch, 256]."""

    def build(keras: Any) -> Any:
        layers = keras.layers
        x = features = keras.Input((256,), name="features")
        for _ in range(4):
            x = layers.Dense(512, activation="relu")(x)
            x = layers.BatchNormalization()(x) if norm else x
        return keras.Model(features, layers.Dense(10, activation="softmax")(x))

    return build


MODELS: Mapping[str, Callable[[Any], Any]] = {
    "MobileNetV2": application("MobileNetV2", 224),
    "ResNet50": application("ResNet50", 224),
    "EfficientNetB0": application("EfficientNetB0", 224),
    "transformer": transformer,
}


FORMATS: Mapping[str, Callable[[Any], Any]] = {
    "LSTM of 64 steps, two layers": recurrent("LSTM", 64),
    "GRU of 64 steps, two layers": recurrent("GRU", 64),
    "GRU of 100 steps, two layers in loops": recurrent("GRU", 100),
    "five dense layers": dense(norm=False),
    "the same with batch normalization": dense(norm=True),
}
"""Models that measure only the choice between a layers-model and a graph-model."""


def mixed(keras: Any, length: int = 100, width: int = 64) -> Any:
    """An embedding, two LSTM and a GRU on int32 tokens [batch, length]."""
    layers = keras.layers
    x = tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, width)(x)
    x = layers.Bidirectional(layers.LSTM(width, return_sequences=True))(x)
    x = layers.LSTM(width, return_sequences=True)(x)
    return keras.Model(tokens, layers.Dense(10)(layers.GRU(width)(x)))


ONNX_MODELS: Mapping[str, Callable[[Any], Any]] = {**MODELS, "recurrent": mixed}
"""Models that ONNX exports are measured with."""


def built(name: str, module: str = "keras") -> Any:
    """Build a model and randomize its weights: converters remove zeros and ones without effect."""
    model = {**FORMATS, **ONNX_MODELS}[name](importlib.import_module(module))
    rng = np.random.default_rng(0)
    model.set_weights([random(rng, weight) for weight in model.get_weights()])
    return model


def random(rng: np.random.Generator, old: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Random values for a weight: small for kernels, around 1 for the others."""
    new = rng.normal(0, 0.05, old.shape) if old.ndim > 1 else rng.uniform(0.5, 1.5, old.shape)
    return new.astype(old.dtype)
