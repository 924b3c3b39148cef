"""Models that a layers-model cannot hold, or that no target can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from tests.cases.case import Case, no_layers_model, one

ABSENT = "TF.js does not have this layer"
SERIES = (6, 4)
IMAGE = (8, 6, 4)
VOLUME = (4, 4, 4, 2)


def absent() -> Iterator[Case]:
    """Layers that TF.js lacks."""
    for name, shape, layer, args in (
        ("attention", [SERIES, SERIES], layers.Attention, ()),
        ("additive_attention", [SERIES, SERIES], layers.AdditiveAttention, ()),
        ("unit_normalization", SERIES, layers.UnitNormalization, ()),
        ("conv_lstm3d", (2, *VOLUME), layers.ConvLSTM3D, (2, 2)),
        ("auto_contrast", IMAGE, layers.AutoContrast, ()),
        (
            "mel_spectrogram",
            (64,),
            lambda: layers.MelSpectrogram(16, sequence_stride=8, num_mel_bins=4),
            (),
        ),
    ):
        yield one(name, shape, layer, *args, refused=ABSENT)
    yield one(
        "stft_spectrogram",
        (64, 1),
        layers.STFTSpectrogram,
        frame_length=16,
        frame_step=8,
        refused=ABSENT,
    )
    yield one(
        "discretization",
        (5,),
        layers.Discretization,
        [-1.0, 0.0, 1.0],
        refused="no layer that compares",
    )
    yield one(
        "multi_head_attention",
        [SERIES, SERIES],
        attended(lambda: layers.MultiHeadAttention(2, 3)),
        refused=ABSENT,
        covers=("MultiHeadAttention",),
    )
    yield one(
        "group_query_attention",
        [SERIES, SERIES],
        attended(lambda: layers.GroupQueryAttention(3, 4, 2)),
        refused=ABSENT,
        covers=("GroupedQueryAttention",),
    )


def attended(make: Callable[[], Any]) -> Callable[[], Callable[[Any], Any]]:
    """An attention layer that takes its inputs in a list."""
    return lambda: lambda inputs: make()(*inputs)


# ----------------------------------------------------------------------------------- the user's own


@keras.saving.register_keras_serializable("mine")
class Scale(layers.Layer):
    """A layer of the user's."""

    def call(self, x: Any) -> Any:
        return 2 * x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@keras.saving.register_keras_serializable("mine")
class Dense(layers.Dense):
    """A layer of the user's with the name of one of Keras's."""

    def call(self, x: Any) -> Any:
        return 2 * super().call(x)


@keras.saving.register_keras_serializable("mine")
class Doubled(keras.Model):
    """A functional model that computes something else than its graph."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return 2 * super().call(*args, **kwargs)


@keras.saving.register_keras_serializable("mine")
def cube(x: Any) -> Any:
    """An activation of the user's."""
    return x * x * x


@keras.saving.register_keras_serializable("mine")
class Cell(layers.SimpleRNNCell):
    """A cell of the user's."""


def doubled() -> keras.Model:
    x = layers.Input((4,))
    return Doubled(x, layers.Dense(2)(x))


def nested_doubled() -> keras.Model:
    x = layers.Input((4,))
    return keras.Model(x, doubled()(x))


# ----------------------------------------------------------------------------- calls and operations


def graph(make: Callable[[Any], Any], *shape: int) -> Callable[[], keras.Model]:
    """The builder of a model of one input."""

    def build() -> keras.Model:
        x = layers.Input(shape)
        return keras.Model(x, make(x))

    return build


def in_training(x: Any) -> Any:
    """A nested model that is always called as if training."""
    inner = keras.Sequential([layers.Input((4,)), layers.Dropout(0.5)])
    return inner(x, training=True)


TRAINING = "training=True"
ARGUMENT = "does not support this argument"

GRAPHS = (
    (
        "added_to_a_constant",
        lambda x: layers.Add()([x, np.ones((1, 4), "float32")]),
        "on a constant",
    ),
    ("dropout_in_training", lambda x: layers.Dropout(0.5)(x, training=True), TRAINING),
    (
        "spatial_dropout_in_training",
        lambda x: layers.SpatialDropout2D(0.5)(layers.Reshape((2, 2, 1))(x), training=True),
        TRAINING,
    ),
    ("gaussian_noise_in_training", lambda x: layers.GaussianNoise(0.5)(x, training=True), TRAINING),
    (
        "batch_normalization_in_training",
        lambda x: layers.BatchNormalization()(x, training=True),
        TRAINING,
    ),
    ("nested_in_training", in_training, TRAINING),
    (
        "lstm_in_training",
        lambda x: layers.LSTM(2, dropout=0.5)(layers.Reshape((2, 2))(x), training=True),
        TRAINING,
    ),
    ("activation_function", lambda x: layers.Dense(2, activation=cube)(x), "activation="),
    ("activation_lambda", lambda x: layers.Dense(2, activation=lambda y: y * y)(x), "activation="),
    ("lambda_layer", layers.Lambda(lambda y: y * 2), "Python code"),
    ("lambda_of_a_function", layers.Lambda(cube), "Python code"),
    ("custom_layer", lambda x: Scale()(x), "mine>Scale"),
    ("custom_layer_of_a_known_name", lambda x: Dense(2)(x), "mine>Dense"),
    ("custom_cell", lambda x: layers.RNN(Cell(3))(layers.Reshape((2, 2))(x)), "mine>Cell"),
    (
        "custom_layer_in_time_distributed",
        lambda x: layers.TimeDistributed(Scale())(layers.Reshape((2, 2))(x)),
        "mine>Scale",
    ),
)

CASES = (
    *absent(),
    *(
        Case(
            name,
            graph(make, 4),
            refused=no_layers_model(reason),
            covers=("Lambda",) * (name == "lambda_layer"),
        )
        for name, make, reason in GRAPHS
    ),
    Case("custom_model", doubled, refused=no_layers_model("mine>Doubled")),
    Case("custom_model_nested", nested_doubled, refused=no_layers_model("mine>Doubled")),
)
