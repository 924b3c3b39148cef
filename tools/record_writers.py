"""Records small models as the Keras versions of the table below write them.

Each writer gets a virtual environment of its own, in which this very file builds the models
and saves them. So the builders keep to what Keras 1 to 3 spell alike, and the whole file to
syntax that Python 3.7 reads.
"""

# ruff: noqa: B905 - the `zip` of Python 3.7 knows no `strict`

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np

RECORDED = Path(__file__).parent.parent / "tests" / "recorded"
BATCH = 3
STEPS = 5
TOKENS = 9  # the size of the vocabulary; token 0 is padding
WORDS = ("tea", "", "käse", "[UNK]", "wine", "water")  # what inputs of strings are given

BUILDERS: dict[str, Callable[[Any], Any]] = {}


@dataclass(frozen=True)
class Writer:
    """A version of Keras, and the files to have from it.

    A file's name is that of a model, a dot, and a way of saving, a key of `SAVERS`.
    """

    name: str
    packages: tuple[str, ...]
    files: str
    module: str = "keras"
    backend: str = "tensorflow"
    python: str | None = None  # None: the Python that runs this script


TENSORFLOW_1 = ("tensorflow==1.15.5", "h5py==2.10.0", "protobuf==3.20.3")
JAX_FOR_NUMPY_1 = ("jax[cpu]==0.4.30", "numpy==1.26.4", "ml-dtypes==0.4.1", "packaging")
JAX = ("jax[cpu]==0.4.35",)
UNRELEASED = "git+https://github.com/keras-team/keras@3422977a5e38fb2f7709aaa9a08e47f0c43d0f60"

WRITERS = (
    Writer(
        "keras-1.2.2",
        ("keras==1.2.2", *TENSORFLOW_1),
        "keras_1.h5 keras_1_recurrent.h5 keras_1_merged.h5",
        python="3.7",
    ),
    Writer(
        "keras-2.2.4",
        ("keras==2.2.4", *TENSORFLOW_1),
        "functional.h5 recurrent.h5 sequential.json sequential.legacy_weights.h5 alone.h5 "
        "gpu.cudnn.h5",
        python="3.7",
    ),
    Writer(
        "keras-2.12.0",
        ("tensorflow-cpu==2.12.1",),
        "functional.keras functional.hdf5.keras recurrent.keras tf_ops.keras",
    ),
    Writer(
        "keras-2.15.0",
        ("tensorflow-cpu==2.15.1",),
        """
        functional.keras functional.h5 sequential.json sequential.legacy_weights.h5 frozen.h5
        tf_ops.h5 masks.h5 crops.h5 lookups.keras
        """,
    ),
    Writer(
        "tf_keras-2.21.0",
        ("tf_keras==2.21.0", "tensorflow-cpu==2.21.0"),
        "functional.keras recurrent.h5 tf_ops.keras lookups.keras",
        module="tf_keras",
    ),
    Writer(
        "keras-3.0.5",
        ("keras==3.0.5", *JAX_FOR_NUMPY_1),
        "functional.keras recurrent.keras ops.keras",
        backend="jax",
    ),
    Writer(
        "keras-3.2.1",
        ("keras==3.2.1", *JAX_FOR_NUMPY_1),
        "shared.keras unshared.keras",
        backend="jax",
    ),
    Writer(
        "keras-3.3.3",
        ("keras==3.3.3", *JAX_FOR_NUMPY_1),
        "shared.keras masks.keras crops.keras",
        backend="jax",
    ),
    Writer("keras-3.6.0", ("keras==3.6.0", *JAX), "functional.keras crops.keras", backend="jax"),
    Writer("keras-3.10.0", ("keras==3.10.0", *JAX), "recurrent.keras crops.keras", backend="jax"),
    Writer("keras-3.12.4", ("keras==3.12.4", *JAX), "functional.keras masks.keras", backend="jax"),
    Writer(
        "keras-3.15.1",
        ("keras==3.15.1", "jax[cpu]==0.10.2"),
        """
        functional.keras functional.h5 sequential.keras recurrent.keras ops.keras ops.h5
        frozen.h5 dicts.keras dicts.unzipped dicts.json dicts.weights.h5 sharded.json
        sharded.weights.json mixed_float16.keras float16.keras bfloat16.keras bfloat16.h5
        lora.keras lora.h5 int8.keras int4.keras float8.keras masks.keras
        """,
        backend="jax",
    ),
    Writer(
        "keras-3.16.0.dev",
        (UNRELEASED, "jax[cpu]==0.10.2"),
        """
        functional.keras stops.keras both_ways.keras newer_ops.keras ternary.keras
        ternary_dense.keras categories.keras augmented.keras
        """,
        backend="jax",
    ),
    # looking strings up takes TensorFlow
    Writer("keras-3.15.1-tensorflow", ("keras==3.15.1", "tensorflow-cpu==2.21.0"), "lookups.keras"),
)


# ---------------------------------------------------------------- the models


def model(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter `build` in `BUILDERS`."""
    BUILDERS[build.__name__] = build
    return build


def generation(keras: Any) -> int:
    return int(keras.__version__.split(".")[0])


def leaky_relu(keras: Any, slope: float) -> Any:
    key = "negative_slope" if generation(keras) == 3 else "alpha"
    return keras.layers.LeakyReLU(**{key: slope})


def conv_block(keras: Any) -> Any:
    """A model that keeps the shape of its input, so that it can be called on its output."""
    layers = keras.layers
    x = inputs = layers.Input((6, 6, 3))
    x = layers.Conv2D(3, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = leaky_relu(keras, 0.1)(x)
    return keras.models.Model(inputs, x, name="block")


def head(keras: Any) -> Any:
    layers = keras.layers
    # Keras 2.2 has no LayerNormalization.
    norm = getattr(layers, "LayerNormalization", layers.BatchNormalization)
    dense = [layers.Dense(5, activation="relu", input_shape=(3,)), norm()]
    return keras.models.Sequential(dense, name="head")


@model
def functional(keras: Any) -> Any:
    """A nested model called twice, a nested Sequential, and a shared layer."""
    layers = keras.layers
    image = layers.Input((6, 6, 3), name="image")
    features = layers.Input((5,), name="features")
    block = conv_block(keras)
    once = block(image)
    twice = block(once)
    x = layers.Add()([once, twice])
    x = head(keras)(layers.GlobalAveragePooling2D()(x))
    shared = layers.Dense(4, activation="tanh", name="shared")
    a, b = shared(x), shared(features)
    classes = layers.Dense(3, activation="softmax")(layers.Concatenate()([a, b]))
    return keras.models.Model([image, features], [classes, b], name="functional")


@model
def unshared(keras: Any) -> Any:
    """A nested model, called once."""
    layers = keras.layers
    image = layers.Input((6, 6, 3), name="image")
    features = layers.Input((5,), name="features")
    x = layers.GlobalAveragePooling2D()(conv_block(keras)(image))
    x = layers.Concatenate()([x, features])
    return keras.models.Model([image, features], layers.Dense(2)(x), name="unshared")


@model
def shared(keras: Any) -> Any:
    """One layer on two inputs: Keras 3.2 loses which call is which."""
    layers = keras.layers
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    dense = layers.Dense(4, activation="tanh", name="dense")
    return keras.models.Model([a, b], layers.Subtract()([dense(a), dense(b)]), name="shared")


@model
def sequential(keras: Any) -> Any:
    """A convolutional classifier."""
    layers = keras.layers
    # Keras 3 divides hard_sigmoid by 6 where Keras 2 multiplies by 0.2.
    hard = "tanh" if generation(keras) == 3 else "hard_sigmoid"
    return keras.models.Sequential(
        [
            layers.Conv2D(4, 3, strides=2, padding="same", input_shape=(8, 8, 2)),
            layers.BatchNormalization(epsilon=0.01),
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            layers.PReLU(shared_axes=[1, 2]),
            layers.MaxPooling2D(2, strides=1),
            leaky_relu(keras, 0.25),
            layers.Flatten(),
            layers.Dense(6, activation=hard),
            layers.Dense(3, activation="softmax"),
        ],
        name="sequential",
    )


@model
def recurrent(keras: Any) -> Any:
    """A masked branch whose last state is the first of the other branch."""
    layers = keras.layers
    tokens = layers.Input((STEPS,), dtype="int32", name="tokens")
    series = layers.Input((STEPS, 3), name="series")
    x = layers.Embedding(TOKENS, 4, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    code, h, c = layers.LSTM(3, return_state=True, name="encoder")(x)
    y = layers.GRU(3, reset_after=False, return_sequences=True)(series)
    y = layers.TimeDistributed(layers.Dense(2, activation="relu"))(y)
    y = layers.LSTM(3, name="decoder")(y, initial_state=[h, c])
    return keras.models.Model([tokens, series], [code, y], name="recurrent")


@model
def masks(keras: Any) -> Any:
    """Masks that meet: what becomes of them has changed from version to version."""
    layers = keras.layers
    inputs = [layers.Input((STEPS,), dtype="int32", name=name) for name in ("a", "b")]
    a, b = (layers.Embedding(TOKENS, 4, mask_zero=True)(x) for x in inputs)
    outputs = [
        layers.LSTM(3)(layers.Add()([a, b])),
        layers.LSTM(3)(layers.Concatenate()([a, b])),
        layers.LSTM(3)(layers.Concatenate(axis=1)([a, b])),
        layers.Multiply()([a, b]),
        layers.Maximum()([a, b]),
        layers.MultiHeadAttention(2, 3, dropout=0.1)(layers.Dense(4)(a), layers.Dense(4)(b)),
    ]
    return keras.models.Model(inputs, outputs, name="masks")


@model
def stops(keras: Any) -> Any:
    """Layers that stop masks since Keras 3.16, each before a layer whose result depends on a mask."""
    layers = keras.layers
    tokens = layers.Input((STEPS,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, 4, mask_zero=True)(tokens)
    outputs = [
        layers.LSTM(3)(layers.LSTM(4, return_sequences=True)(x)),
        layers.SimpleRNN(3)(layers.GRU(4, return_sequences=True, reset_after=False)(x)),
        layers.LSTM(2)(layers.SimpleRNN(4, return_sequences=True)(x)),
        layers.LSTM(2)(layers.RNN(layers.LSTMCell(4), return_sequences=True)(x)),
        layers.LSTM(2)(layers.TimeDistributed(layers.Dense(3))(x)),
        layers.GlobalAveragePooling1D()(layers.LSTM(4, return_sequences=True)(x)),
        layers.LSTM(2)(layers.Add()([layers.LSTM(4, return_sequences=True)(x), x])),
        layers.LSTM(2)(layers.Dense(3)(x)),
    ]
    return keras.models.Model(tokens, outputs, name="stops")


@model
def both_ways(keras: Any) -> Any:
    """Masks before a Bidirectional that returns sequences, with and without a merge."""
    layers = keras.layers
    tokens = layers.Input((STEPS,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, 4, mask_zero=True)(tokens)
    ahead, back = layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode=None)(x)
    outputs = [
        layers.LSTM(3)(layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)),
        layers.LSTM(3)(ahead),
        layers.LSTM(3)(back),
        layers.Softmax()(layers.LSTM(4, return_sequences=True)(x)),
    ]
    return keras.models.Model(tokens, outputs, name="both_ways")


@model
def newer_ops(keras: Any) -> Any:
    """Operations and options that Keras 3.16 added."""
    layers, ops = keras.layers, keras.ops
    square, image = layers.Input((4, 4), name="square"), layers.Input((7, 5, 2), name="image")
    values, _ = ops.top_k(square, 2, is_stable=False)
    patches = ops.image.extract_patches(image, (3, 2), padding="same")
    outputs = [
        values,
        ops.matrix_power(square, 5),
        ops.column_stack([square[:, :, 0], square[:, 1]]),
        ops.image.reconstruct_patches(2 * patches, (3, 2), (7, 5), padding="same"),
        ops.roll(square, 1, axis=(1, 2)),
        ops.average(square, axis=(1, 2)),
    ]
    return keras.models.Model([square, image], outputs, name="newer_ops")


@model
def ternary_dense(keras: Any) -> Any:
    """Dense layers that make their ternary kernels of float ones."""
    layers = keras.layers
    x = inputs = layers.Input((3, 7), name="series")
    x = layers.TernaryDense(5, activation="tanh")(x)
    x = layers.TernaryDense(6, threshold=0.3, use_bias=False)(x)
    return keras.models.Model(inputs, layers.TernaryDense(2)(x), name="ternary_dense")


@model
def ternary(keras: Any) -> Any:
    """The two kinds of layers that Keras quantizes to ternary kernels."""
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((7,)),
            layers.Dense(5, activation="relu"),
            layers.TernaryDense(6, activation="tanh"),
            layers.TernaryDense(4, threshold=0.3, use_bias=False),
            layers.Dense(3, use_bias=False),
        ],
        name="ternary",
    )


@model
def categories(keras: Any) -> Any:
    """Encodings of categories, whose `sparse` Keras 3.16 writes."""
    layers = keras.layers
    tokens = layers.Input((STEPS,), dtype="int32", name="tokens")
    hot = layers.CategoryEncoding(TOKENS, output_mode="multi_hot")(tokens)
    counts = layers.CategoryEncoding(TOKENS, output_mode="count")(tokens)
    return keras.models.Model(tokens, [hot, layers.Dense(2)(counts)], name="categories")


@model
def augmented(keras: Any) -> Any:
    """Augmentation, of which Keras 3.16 no longer records that it trains."""
    layers = keras.layers
    x = inputs = layers.Input((6, 5, 2), name="image")
    x = layers.RandomFlip(seed=1)(x)
    x = layers.Pipeline([layers.RandomBrightness(0.2, seed=2), layers.Rescaling(0.5)])(x)
    x = layers.Dropout(0.5, seed=3)(layers.Resizing(4, 4)(x))
    return keras.models.Model(inputs, layers.Conv2D(2, 3)(x), name="augmented")


@model
def lookups(keras: Any) -> Any:
    """Places in vocabularies, given and learned, of strings and integers, and back."""
    layers = keras.layers
    words = layers.Input((4,), dtype="string", name="words")
    ids = layers.Input((4,), dtype="int64", name="ids")
    known = ["wine", "käse", "tea"]
    learned = layers.StringLookup(name="learned", output_mode="count")
    learned.adapt(["wine", "wine", "tea", "water", "wine", "tea"])
    counted = layers.IntegerLookup(name="counted", mask_token=0)
    counted.adapt([5, 5, 7, -2, 5, 7])
    place = layers.StringLookup(vocabulary=known, mask_token="", name="place")(words)
    outputs = [
        place,
        layers.StringLookup(vocabulary=known, output_mode="multi_hot", name="hot")(words),
        layers.StringLookup(
            vocabulary=known,
            output_mode="count",
            mask_token="",
            max_tokens=9,
            pad_to_max_tokens=True,
        )(words),
        learned(words),
        counted(ids),
        layers.IntegerLookup(vocabulary=[4, 2, 9], num_oov_indices=3)(ids),
        layers.IntegerLookup(vocabulary=[4, 2, 9], output_mode="multi_hot")(ids),
        layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 3)(place))),
        layers.StringLookup(vocabulary=known, mask_token="", invert=True, name="back")(place),
    ]
    return keras.models.Model([words, ids], outputs, name="lookups")


@model
def frozen(keras: Any) -> Any:
    """Nested models of which one has a frozen layer, and one is frozen as a whole."""
    layers, models = keras.layers, keras.models
    x = inputs = layers.Input((4,))
    x = layers.Dense(4, trainable=False, name="a")(x)
    x = layers.BatchNormalization(name="b")(x)
    x = layers.Dense(4, activation="relu", name="c")(x)
    partly = models.Model(inputs, x, name="partly")
    x = inputs = layers.Input((4,))
    x = layers.Dense(4, name="d")(x)
    x = layers.BatchNormalization(name="e")(x)
    wholly = models.Model(inputs, x, name="wholly")
    wholly.trainable = False
    inputs = layers.Input((4,), name="x")
    return models.Model(inputs, wholly(partly(inputs)), name="frozen")


@model
def ops(keras: Any) -> Any:
    """Operations of `keras.ops`, and Python's operators on tensors."""
    x = keras.layers.Input((4, 3), name="x")
    y = keras.layers.Dense(3)(x * 2 + 1)
    mean = keras.ops.mean(y, axis=1)
    return keras.models.Model(x, [mean, keras.ops.relu(y[:, 1:])], name="ops")


@model
def tf_ops(keras: Any) -> Any:
    """Operations of TensorFlow, which Keras 2 wraps in layers."""
    tf = importlib.import_module("tensorflow")
    x = keras.layers.Input((4, 3), name="x")
    y = keras.layers.Dense(3)(x * 2.0 + 1.0)
    mean = tf.reduce_mean(y, axis=1)
    return keras.models.Model(x, [mean, tf.nn.relu(y[:, 1:])], name="tf_ops")


@model
def crops(keras: Any) -> Any:
    """Layers that do nothing at inference in some versions, and crop differently in others."""
    layers = keras.layers
    image = layers.Input((9, 12, 3))
    smaller = layers.RandomCrop(6, 4)(image)
    larger = layers.RandomCrop(12, 8)(image)
    flat = layers.GlobalAveragePooling2D()(smaller)
    return keras.models.Model(image, [smaller, larger, flat], name="crops")


@model
def dicts(keras: Any) -> Any:
    """A dict of inputs and a dict of outputs, neither in the order of its keys."""
    layers = keras.layers
    # The names of the tensors are not the keys.
    inputs = {"wide": layers.Input((4,), name="u"), "narrow": layers.Input((2,), name="v")}
    x = layers.Concatenate()([inputs["wide"], inputs["narrow"]])
    outputs = {"y": layers.Dense(3, name="p")(x), "joined": x}
    return keras.models.Model(inputs, outputs, name="dicts")


@model
def sharded(keras: Any) -> Any:
    layers = keras.layers
    return keras.models.Sequential(
        [layers.Input((4,)), *(layers.Dense(8, activation="tanh") for _ in range(2))],
        name="sharded",
    )


def of_dtype(keras: Any, dtype: str) -> Any:
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.Dense(3, activation="tanh", dtype=dtype),
        ],
        name=dtype,
    )


@model
def mixed_float16(keras: Any) -> Any:
    return of_dtype(keras, "mixed_float16")


@model
def float16(keras: Any) -> Any:
    return of_dtype(keras, "float16")


@model
def bfloat16(keras: Any) -> Any:
    return of_dtype(keras, "bfloat16")


@model
def lora(keras: Any) -> Any:
    layers = keras.layers
    net = keras.models.Sequential(
        [layers.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(3)], name="lora"
    )
    net.layers[0].enable_lora(2, lora_alpha=3)
    return net


def quantized(keras: Any, mode: str) -> Any:
    """A model whose weights `quantize(mode)` will turn into `mode`."""
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Input((STEPS,), dtype="int32"),
            layers.Embedding(TOKENS, 8),
            layers.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d", activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ],
        name=mode,
    )


@model
def int8(keras: Any) -> Any:
    return quantized(keras, "int8")


@model
def int4(keras: Any) -> Any:
    return quantized(keras, "int4")


@model
def float8(keras: Any) -> Any:
    return quantized(keras, "float8")


@model
def keras_1(keras: Any) -> Any:
    """A convolutional net in the spelling of Keras 1, with its `merge`."""
    layers = keras.layers
    image = layers.Input((6, 6, 2), name="image")
    x = layers.Convolution2D(4, 3, 3, border_mode="same", subsample=(2, 2))(image)
    x = layers.BatchNormalization()(x)
    a = layers.Activation("relu")(x)
    b = layers.LeakyReLU(0.2)(x)
    x = layers.merge([a, b], mode="concat", concat_axis=-1)
    x = layers.MaxPooling2D((2, 2), strides=(1, 1))(x)
    x = layers.Flatten()(x)
    return keras.models.Model(image, layers.Dense(3, activation="hard_sigmoid")(x))


@model
def keras_1_recurrent(keras: Any) -> Any:
    """A Sequential of Keras 1: its LSTM has 12 weights, its GRU 9."""
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Convolution1D(4, 3, border_mode="same", input_shape=(STEPS, 3)),
            layers.LSTM(3, return_sequences=True),
            layers.TimeDistributed(layers.Dense(3, activation="tanh")),
            layers.Bidirectional(layers.GRU(2, return_sequences=True)),
            layers.SimpleRNN(3),
            layers.Dense(2),
        ]
    )


@model
def keras_1_merged(keras: Any) -> Any:
    """A Sequential of Keras 1 that starts with two others, one of them for channels_first images."""
    layers, models = keras.layers, keras.models
    images = models.Sequential(
        [
            layers.Convolution2D(3, 3, 2, dim_ordering="th", input_shape=(2, 5, 6)),
            layers.ZeroPadding2D((1, 0, 2, 1), dim_ordering="th"),
            layers.UpSampling2D((1, 2), dim_ordering="th"),
            layers.AveragePooling2D((2, 2), dim_ordering="th"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    series = models.Sequential(
        [
            layers.AtrousConvolution1D(4, 2, atrous_rate=2, input_shape=(STEPS, 3)),
            layers.LSTM(3, consume_less="gpu", return_sequences=True),
            layers.TimeDistributedDense(2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    return models.Sequential([layers.Merge([images, series], mode="mul"), layers.Dense(2)])


@model
def alone(keras: Any) -> Any:
    """What Keras computed otherwise before it was part of TensorFlow."""
    layers = keras.layers
    image = layers.Input((3, 4, 2), name="image")
    tokens = layers.Input((STEPS,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, 4, mask_zero=True)(tokens)
    outputs = [
        layers.UpSampling2D((2, 3), interpolation="bilinear")(image),
        layers.Bidirectional(layers.GRU(2, return_sequences=True))(x),
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])(layers.Reshape((4, 6))(image)),
    ]
    return keras.models.Model([image, tokens], outputs, name="alone")


@model
def gpu(keras: Any) -> Any:
    """Recurrent layers that compute what those of cuDNN do, which take a GPU."""
    layers = keras.layers
    x = inputs = layers.Input((STEPS, 3), name="series")
    x = layers.LSTM(4, recurrent_activation="sigmoid", return_sequences=True)(x)
    x = layers.Bidirectional(layers.GRU(2, recurrent_activation="sigmoid", reset_after=True))(x)
    return keras.models.Model(inputs, layers.Dense(2)(x), name="gpu")


# ---------------------------------------------------------------- saving


def save_zip(net: Any, path: Path, keras: Any) -> None:
    """In the zip format: to Keras 2.12 the suffix `.keras` alone means HDF5."""
    if keras.__version__.startswith("2.12."):
        net.save(str(path), save_format="keras_v3")
    else:
        net.save(str(path))


def save_unzipped(net: Any, path: Path, _: Any) -> None:
    net.save(str(path), zipped=False)


def save_model(net: Any, path: Path, _: Any) -> None:
    net.save(str(path))


def save_weights(net: Any, path: Path, _: Any) -> None:
    net.save_weights(str(path))


def save_shards(net: Any, path: Path, _: Any) -> None:
    net.save_weights(str(path), max_shard_size=4e-7)  # GB, so 400 bytes


def save_json(net: Any, path: Path, _: Any) -> None:
    path.write_text(net.to_json())


def save_cudnn(net: Any, path: Path, keras: Any) -> None:
    """As if the layers were those of cuDNN, their weights turned by Keras itself."""
    h5py = importlib.import_module("h5py")
    net.save(str(path), include_optimizer=False)
    with h5py.File(str(path), "r+") as file:
        config = file.attrs["model_config"].decode()
        for name in ("LSTM", "GRU"):
            config = config.replace(f'"class_name": "{name}"', f'"class_name": "CuDNN{name}"')
        tree = json.loads(config)
        for layer in tree["config"]["layers"]:
            wrapped = layer["config"].get("layer", layer)["config"]
            for option in (
                "activation",
                "recurrent_activation",
                "reset_after",
                "use_bias",
                "implementation",
            ):
                if "recurrent_initializer" in wrapped:
                    wrapped.pop(option, None)
        file.attrs["model_config"] = json.dumps(tree).encode()
        for layer in net.layers:
            inner = getattr(layer, "forward_layer", layer)
            name, group = type(inner).__name__, file["model_weights"][layer.name]
            if name not in ("LSTM", "GRU"):
                continue
            names = [each.decode() for each in group.attrs["weight_names"]]
            like = type(f"CuDNN{name}", (), {})()
            for at in range(0, len(names), 3):
                part = names[at : at + 3]
                converted = keras.engine.saving._convert_rnn_weights  # noqa: SLF001
                values = converted(like, [group[each][()] for each in part])
                for each, value in zip(part, values):
                    del group[each]
                    group[each] = value


SAVERS: dict[str, Callable[[Any, Path, Any], None]] = {
    "keras": save_zip,
    "hdf5.keras": save_model,  # by Keras 2.12, to which `.keras` is HDF5
    "h5": save_model,
    "cudnn.h5": save_cudnn,
    "unzipped": save_unzipped,
    "weights.h5": save_weights,
    "legacy_weights.h5": save_weights,  # the layout of Keras 1 and 2
    "weights.json": save_shards,
    "json": save_json,
}


def fill(net: Any, random: np.random.RandomState) -> None:
    """Give `net` weights that no initializer would give it."""

    def value(name: str, old: np.ndarray) -> np.ndarray:
        if "variance" in name or "running_std" in name:  # the latter in Keras 1
            new = random.uniform(0.5, 2, old.shape)
        elif "gamma" in name:
            new = random.uniform(0.5, 1.5, old.shape)
        elif old.ndim < 2:
            new = random.uniform(-0.5, 0.5, old.shape)
        else:
            fan_in = old.size // old.shape[-1]
            new = random.normal(0, max(0.3, fan_in**-0.5), old.shape)
        return new.astype(old.dtype)

    for layer in net.layers:
        # to Keras 2 vocabularies are weights without a name
        if "Lookup" not in type(layer).__name__:
            names = [weight.name for weight in layer.weights]
            layer.set_weights([value(*pair) for pair in zip(names, layer.get_weights())])


def inputs_of(net: Any, random: np.random.RandomState) -> Iterator[np.ndarray]:
    """Random numbers, or sentences of different lengths, for each input in order."""
    np = importlib.import_module("numpy")
    for index, tensor in enumerate(net.inputs):
        shape = (BATCH, *(int(size) for size in tensor.shape[1:]))
        if "string" in getattr(tensor.dtype, "name", tensor.dtype):
            yield random.choice(WORDS, shape)
        elif "int" in getattr(tensor.dtype, "name", tensor.dtype):  # Keras 3 has a string there
            sentences = random.randint(1, TOKENS, shape).astype("int32")
            for row, length in zip(sentences, (STEPS, 3, 1)):
                row[length:] = 0
            yield np.roll(sentences, index, axis=0)
        else:
            yield random.normal(size=shape).astype("float32")


def flat(outputs: Any) -> Iterator[np.ndarray]:
    if isinstance(outputs, dict):
        outputs = [outputs[key] for key in sorted(outputs)]
    if isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from flat(output)
    else:
        yield outputs


def computed(net: Any, feed: Any, arrays: Sequence[np.ndarray]) -> Any:
    """What a model computes; `predict` does not take strings."""
    if any(array.dtype.kind == "U" for array in arrays):
        tf = importlib.import_module("tensorflow")
        return net([tf.constant(array) for array in arrays])
    return net.predict(feed, batch_size=BATCH, verbose=0)


def record(keras: Any, name: str, savers: Iterable[str], folder: Path) -> None:
    """Save the model of that name by each saver, and what it computes."""
    np = importlib.import_module("numpy")
    random = np.random.RandomState(zlib.crc32(name.encode()))
    net = BUILDERS[name](keras)
    fill(net, random)
    if name in ("int8", "int4", "float8", "ternary"):
        net.quantize(name)
    arrays = list(inputs_of(net, random))
    # A dict model has its inputs in the order of its keys.
    keys = ["narrow", "wide"] if name == "dicts" else None
    feed = dict(zip(keys, arrays)) if keys else arrays if len(arrays) > 1 else arrays[0]
    outputs = [np.asarray(y) for y in flat(computed(net, feed, arrays))]
    # bytes of UTF-8, and objects in a file would be pickled
    outputs = [
        np.char.decode(y.astype("S"), "utf-8") if y.dtype.kind in "OS" else y for y in outputs
    ]
    # numpy cannot name bfloat16 in a file; float32 holds its every number.
    outputs = [y.astype("float32") if "bfloat16" in str(y.dtype) else y for y in outputs]
    numbers = [y for y in outputs if y.dtype.kind != "U"]
    assert all(np.isfinite(y).all() and np.ptp(y) > 0 for y in numbers), (name, outputs)
    np.savez(
        str(folder / name),
        **{f"input_{i}": x for i, x in enumerate(arrays)},
        **{f"output_{i}": y for i, y in enumerate(outputs)},
    )
    for saver in savers:
        SAVERS[saver](net, folder / f"{name}.{saver}", keras)


def record_all(writer: Writer, folder: Path) -> None:
    keras = importlib.import_module(writer.module)
    savers: dict[str, list[str]] = {}
    for file in writer.files.split():
        name, _, saver = file.partition(".")
        savers.setdefault(name, []).append(saver)
    for name, ways in savers.items():
        keras.backend.clear_session()
        record(keras, name, ways, folder)
        print(f"{writer.name}: {name}", flush=True)


# ---------------------------------------------------------------- the environments


def python_of(writer: Writer, cache: Path) -> Path:
    """The Python of the environment of `writer`, which is made where it is not there yet."""
    environment = cache / writer.name
    python = environment / "bin" / "python"
    ready = environment / "ready"
    if not ready.exists():
        base = shutil.which(f"python{writer.python}") if writer.python else sys.executable
        if base is None:
            raise SystemExit(f"{writer.name}: there is no python{writer.python} on PATH")
        subprocess.run([base, "-m", "venv", "--clear", environment], check=True)
        install = [python, "-m", "pip", "install", "--quiet", *writer.packages]
        subprocess.run(install, check=True)
        ready.touch()
    return python


def environment_of(writer: Writer) -> dict[str, str]:
    """Variables that keep a Keras to its backend, to the CPU, and quiet."""
    return {
        **os.environ,
        "KERAS_BACKEND": writer.backend,
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Record models as Keras versions write them.")
    parser.add_argument("names", nargs="*", help="writers to run (default: all)")
    parser.add_argument("--cache", type=Path, help="where the environments are kept")
    parser.add_argument("--to", type=Path, default=RECORDED, help="where the files go")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    writers = {w.name: w for w in WRITERS if not options.names or w.name in options.names}
    unknown = set(options.names) - set(writers)
    if unknown:
        parser.error(f"no such writer: {', '.join(sorted(unknown))}")
    if options.child:
        for writer in writers.values():
            record_all(writer, options.to)
        return
    cache = options.cache or Path(tempfile.mkdtemp(prefix="kerasport-writers-"))
    for writer in writers.values():
        folder = options.to / writer.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = [python_of(writer, cache), __file__, "--child", writer.name, "--to", folder]
        subprocess.run(command, env=environment_of(writer), check=True)


if __name__ == "__main__":
    main()
