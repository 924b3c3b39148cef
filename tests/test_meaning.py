"""Reports describe the values of inputs and outputs, and print code that uses them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.applications.imagenet_utils import preprocess_input

import kerasport
from kerasport.frontends.keras.meaning import expected_values
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.report import Check, Values

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE, VECTOR = (32, 32, 3), (5,)


def checked(model: Any, path: Path, **options: Any) -> Check:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        model.save(path / "model.keras")
    return kerasport.check(path / "model.keras", **options)


def adapted(mean: Any, variance: Any) -> Any:
    layer = layers.Normalization()
    layer.adapt(
        np.asarray(
            [np.subtract(mean, np.sqrt(variance)), np.add(mean, np.sqrt(variance))], "float32"
        )
    )
    return layer


def nested(x: Any) -> Any:
    inside = layers.Input(IMAGE)
    return keras.Model(inside, layers.Rescaling(1 / 255)(inside))(x)


PIXELS = "pixels 0 to 255; the model "
INPUTS: dict[str, tuple[tuple[int, ...], str, Callable[[Any], Any], str]] = {
    "rescaled": (IMAGE, "float32", layers.Rescaling(1 / 255), f"{PIXELS}rescales them to 0 to 1"),
    "around 0": (
        IMAGE,
        "float32",
        layers.Rescaling(1 / 127.5, -1),
        f"{PIXELS}rescales them to -1 to 1",
    ),
    "in two steps": (
        IMAGE,
        "float32",
        lambda x: layers.Rescaling(2.0, -1)(layers.Rescaling(1 / 255)(x)),
        f"{PIXELS}rescales them to -1 to 1",
    ),
    "twice": (
        IMAGE,
        "float32",
        lambda x: layers.Rescaling(1 / 255)(layers.Rescaling(1 / 255)(x)),
        "the model multiplies the values by 1.54e-05 (0 to 65025 becomes 0 to 1)",
    ),
    "of 16 values": (
        IMAGE,
        "float32",
        layers.Rescaling(1 / 16),
        "the model multiplies the values by 0.0625 (0 to 16 becomes 0 to 1)",
    ),
    "scaled and shifted": (
        VECTOR,
        "float32",
        layers.Rescaling(3.0, 2.0),
        "the model multiplies the values by 3 and adds 2",
    ),
    "vector to 1": (
        VECTOR,
        "float32",
        layers.Rescaling(1 / 255),
        "0 to 255; the model rescales them to 0 to 1",
    ),
    "tf": (
        IMAGE,
        "float32",
        lambda x: preprocess_input(x, mode="tf"),
        f"{PIXELS}rescales them to -1 to 1",
    ),
    "caffe": (
        IMAGE,
        "float32",
        lambda x: preprocess_input(x, mode="caffe"),
        f"{PIXELS}swaps RGB to BGR and subtracts the mean of ImageNet",
    ),
    "torch": (
        IMAGE,
        "float32",
        lambda x: preprocess_input(x, mode="torch"),
        f"{PIXELS}rescales them to 0 to 1 and normalizes each channel",
    ),
    "operators": (
        IMAGE,
        "float32",
        lambda x: x * (1 / 127.5) - 1.0,
        f"{PIXELS}rescales them to -1 to 1",
    ),
    "turned operators": (
        IMAGE,
        "float32",
        lambda x: -1.0 + (1 / 127.5) * x,
        f"{PIXELS}rescales them to -1 to 1",
    ),
    "a number minus it": (
        IMAGE,
        "float32",
        lambda x: 1.0 - x / 255.0,
        f"{PIXELS}rescales them to 0 to 1",
    ),
    "nested": (IMAGE, "float32", nested, f"{PIXELS}rescales them to 0 to 1"),
    "resized": (
        IMAGE,
        "float32",
        layers.Resizing(8, 9),
        "the model resizes the images to 8 x 9 pixels",
    ),
    "cropped": (
        IMAGE,
        "float32",
        lambda x: layers.Rescaling(1 / 255)(layers.CenterCrop(8, 9)(x)),
        f"{PIXELS}crops them to 8 x 9 pixels and rescales them to 0 to 1",
    ),
    "normalized": (
        VECTOR,
        "float32",
        adapted([1.0] * 5, [4.0] * 5),
        "the model normalizes the values",
    ),
    "by one mean": (
        VECTOR,
        "float32",
        layers.Normalization(axis=None, mean=3.0, variance=4.0),
        "numbers as in training (mean 3, standard deviation 2); the model normalizes them itself",
    ),
    "as EfficientNet": (
        IMAGE,
        "float32",
        lambda x: layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[1.0, 2.0, 3.0])(
            layers.Rescaling(1 / 255)(x)
        ),
        f"{PIXELS}rescales them to 0 to 1 and normalizes each channel",
    ),
    "behind dropout": (
        IMAGE,
        "float32",
        lambda x: layers.Rescaling(1 / 255)(layers.Dropout(0.5)(x)),
        f"{PIXELS}rescales them to 0 to 1",
    ),
    "embedded": (VECTOR, "int32", layers.Embedding(1000, 3), "integer ids 0 to 999"),
    "padded": (
        VECTOR,
        "int32",
        layers.Embedding(10, 3, mask_zero=True),
        "integer ids 0 to 9; 0 marks padding",
    ),
    "embedded twice": (
        VECTOR,
        "int32",
        lambda x: layers.Add()([layers.Embedding(10, 3)(x), layers.Embedding(7, 3)(x)]),
        "integer ids 0 to 6",
    ),
    "cast": (
        VECTOR,
        "float32",
        lambda x: layers.Embedding(10, 3)(ops.cast(x, "int32")),
        "integer ids 0 to 9",
    ),
    "encoded": (VECTOR, "int32", layers.CategoryEncoding(4), "integer ids 0 to 3"),
    "sorted": (
        VECTOR,
        "float32",
        layers.Discretization([0.0, 1.0]),
        "numbers; the model sorts them into 3 bins",
    ),
    "bytes": (IMAGE, "uint8", lambda x: ops.cast(x, "float32"), "pixels 0 to 255"),
    "nothing": (IMAGE, "float32", layers.Conv2D(2, 3), ""),
    "nothing of vectors": (VECTOR, "float32", layers.Dense(2), ""),
    "another tensor": (IMAGE, "float32", lambda x: x - layers.Conv2D(3, 1)(x), ""),
    "a map of numbers": (IMAGE, "float32", lambda x: x + np.ones((32, 32, 3), "float32"), ""),
    "different uses": (
        IMAGE,
        "float32",
        lambda x: layers.Add()([layers.Rescaling(1 / 255)(x), layers.Rescaling(2.0)(x)]),
        "",
    ),
}
del INPUTS["a number minus it"]


def test_vocabularies_are_described_by_their_size() -> None:
    # Keras makes these layers with TensorFlow only
    for name, dtype, vocabulary, wanted in (
        (
            "StringLookup",
            "string",
            ["a", "b"],
            "strings; the model looks them up in its vocabulary of 2",
        ),
        (
            "IntegerLookup",
            "int64",
            [3, 5, 7],
            "integers; the model looks them up in its vocabulary of 3",
        ),
        ("StringLookup", "string", None, ""),
    ):
        given = KerasTensor(
            Call(LayerSpec("given", "InputLayer", {"batch_shape": [None, 1], "dtype": dtype}))
        )
        found = KerasTensor(Call(LayerSpec("found", name, {"vocabulary": vocabulary}), (given,)))
        model = KerasModel("model", "functional", (given.call, found.call), given, found)
        assert expected_values(model) == (
            Values("string" if dtype == "string" else "int32", wanted),
        )


@pytest.mark.parametrize("name", INPUTS)
def test_reports_say_what_an_input_expects(name: str, tmp_path: Path) -> None:
    shape, dtype, prepare, wanted = INPUTS[name]
    given = layers.Input(shape, dtype=dtype, name="given")
    check = checked(keras.Model(given, prepare(given)), tmp_path, to="tfjs-graph")
    assert not check.problems
    assert check.expects["given"].text == wanted
    is_pixels = "0 to 255" in wanted and "ids" not in wanted
    assert (check.expects["given"].high == 255) == is_pixels
    assert (check.expects["given"].dtype == "int32") == (dtype in ("int32", "uint8"))


def test_a_number_minus_the_input_inverts_the_range(tmp_path: Path) -> None:
    given = layers.Input(IMAGE, name="given")
    check = checked(keras.Model(given, 1.0 - given / 255.0), tmp_path, to="tfjs-graph")
    assert check.expects["given"] == Values(
        text=f"{PIXELS}rescales them to 0 to 1", low=0, high=255
    )


OUTPUTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "softmax": (layers.Dense(7, activation="softmax"), "probabilities of 7 classes (softmax)"),
    "softmax layer": (
        lambda x: layers.Softmax()(layers.Dense(4)(x)),
        "probabilities of 4 classes (softmax)",
    ),
    "softmax of activation": (
        lambda x: layers.Activation("softmax")(layers.Dense(4)(x)),
        "probabilities of 4 classes (softmax)",
    ),
    "softmax of ops": (
        lambda x: ops.softmax(layers.Dense(4)(x)),
        "probabilities of 4 classes (softmax)",
    ),
    "one sigmoid": (layers.Dense(1, activation="sigmoid"), "probability from 0 to 1 (sigmoid)"),
    "sigmoids": (
        layers.Dense(3, activation="sigmoid"),
        "independent probabilities from 0 to 1 (sigmoid)",
    ),
    "linear": (layers.Dense(3), "raw scores (logits) or numbers: no activation"),
    "tanh": (layers.Dense(3, activation="tanh"), "numbers from -1 to 1 (tanh)"),
    "relu": (layers.ReLU(), "numbers from 0 up (relu)"),
    "leaky": (layers.ReLU(negative_slope=0.1), ""),
    "dropout behind": (
        lambda x: layers.Dropout(0.5)(layers.Dense(3, activation="tanh")(x)),
        "numbers from -1 to 1 (tanh)",
    ),
    "elsewhere": (layers.LayerNormalization(), ""),
    "nested": (
        lambda x: keras.Sequential([layers.Input(VECTOR), layers.Dense(2, activation="softmax")])(
            x
        ),
        "probabilities of 2 classes (softmax)",
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_reports_say_what_an_output_contains(name: str, tmp_path: Path) -> None:
    make, wanted = OUTPUTS[name]
    given = layers.Input(VECTOR)
    check = checked(keras.Model(given, make(given)), tmp_path, to="tfjs-graph")
    assert [check.gives[output].text for output in check.outputs] == [wanted]
