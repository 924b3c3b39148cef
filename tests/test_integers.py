"""Every layer and operation on integers and bools: the values and dtypes of Keras, or a refusal.

The models are those of other tests, with inputs of another element type. Keras runs on JAX here. If
TensorFlow computes something else, a model is refused as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops as k
from tests.cases import CASES
from tests.cases.case import Array, Case
from tests.cases.trial import inner_layers, quiet, random_weight, undrawn_weights, vocabulary
from tests.operations import BATCH, ROWS, Given, Row, model_of

import kerasport
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.read import read
from kerasport.ir.dtypes import NUMPY

DTYPES = ("uint8", "int32", "int64", "bool")
ON_JAX = (
    ("int32", "int64"),
    ("bfloat16", "float32"),
    ("float16", "float32"),
    # JAX has no int64 here, so these are Python integers, such as the result of `ndim`
    ("int64", "int32"),
)
"""Dtypes of Keras on JAX, and of the graph for the same tensor."""


class KerasError(Exception):
    """Keras cannot build, save or run the model, so that there is nothing to compare with."""


def values(
    rng: np.random.Generator, dtype: str, shape: tuple[int, ...], below: int | None = None
) -> Array:
    """Numbers of an integer type, with the largest one of uint8, or indices below a limit."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    lowest, end = (0, below) if below else (0, 256) if dtype == "uint8" else (-9, 10)
    return rng.integers(lowest, end, shape).astype(dtype)


Build: TypeAlias = Callable[[str], tuple[keras.Model, Sequence[Array]]]
"""A model for an element type, and numbers for its inputs."""


def outcome(build: Build, dtype: str, folder: Path) -> str:
    """Compare the graph of a model with Keras: "same", or "refused".

    Raises:
        KerasError: there is nothing to compare with.
    """
    try:
        with quiet():
            model, feeds = build(dtype)
            model.save(folder / "model.keras")
            outputs = keras.tree.flatten(
                model(list(feeds) if len(feeds) > 1 else feeds[0], training=False)
            )
            expected = [np.asarray(output) for output in outputs]
    except Exception as error:
        raise KerasError from error
    try:
        with read(folder / "model.keras") as described:
            graph = lower(described)
    except kerasport.UnsupportedModel:
        return "refused"
    with np.errstate(all="ignore"):
        got = graph.run(
            *(x.astype(NUMPY[given.dtype]) for given, x in zip(graph.inputs, feeds, strict=True))
        )
    for wanted, computed in zip(expected, got, strict=True):
        assert computed.dtype == wanted.dtype or (str(wanted.dtype), str(computed.dtype)) in ON_JAX
        np.testing.assert_allclose(computed.astype("float64"), wanted.astype("float64"), 1e-4, 1e-5)
    return "same"


def tried(build: Build, folder: Path) -> dict[str, str]:
    """The outcome for each element type; "none" where Keras has no such model."""
    found = {}
    for dtype in DTYPES:
        (folder / dtype).mkdir()
        try:
            found[dtype] = outcome(build, dtype, folder / dtype)
        except KerasError:
            found[dtype] = "none"
    return found


# --------------------------------------------------------------------------------------- operations

BY_ZERO = (
    "floor_divide-floats",
    "fmod-floats",
    "mod-floats",
    "divide-floats",
    "true_divide-floats",
)
UNDEFINED = (*BY_ZERO, "power-tensors", "geomspace", "take-tensor", "take_along_axis")
"""Rows that integers of any kind make divide by zero, or read beyond an end."""


def one_of_each() -> Iterator[Row]:
    """One row for each function, and those that only integers have."""
    seen = set()
    for row in ROWS:
        function = row.name.partition("-")[0]
        if not row.eager and row.name not in UNDEFINED and function not in seen:
            seen.add(function)
            yield row


def with_integers(row: Row) -> Build:
    """The model of a row with inputs of an element type; bools and indices stay the same."""

    def build(dtype: str) -> tuple[keras.Model, Sequence[Array]]:
        rng = np.random.default_rng(zlib.crc32(row.name.encode()))
        given = [
            Given(g.shape, g.dtype if g.dtype == "bool" else dtype, batch=g.batch)
            for g in row.given
        ]
        feeds = []
        for old, new in zip(row.given, given, strict=True):
            shape = (new.batch or BATCH, *(5 if size is None else size for size in new.shape))
            indices = old.dtype == "int32" and old.values is not None and new.dtype != "bool"
            made_of = (
                old.values(rng, shape) if indices and old.values else values(rng, new.dtype, shape)
            )
            feeds.append(np.abs(made_of).astype(new.dtype) if indices else np.asarray(made_of))
        return model_of(row.build, tuple(given)), feeds

    return build


@pytest.mark.parametrize("row", [*one_of_each()], ids=lambda row: row.name)
@pytest.mark.filterwarnings("ignore")
def test_operations_compute_what_keras_computes_or_are_refused(row: Row, tmp_path: Path) -> None:
    tried(with_integers(row), tmp_path)


# ------------------------------------------------------------------------------------------- layers

OWN_INPUTS = (
    "bool_",
    "uint",
    "int",
    "float",
    "bfloat",
    "policy",
    "dtype_of",
    "string",
    "ops_",
    "mask",
)
"""Beginnings of the names of cases that are about other things."""


def cases_of_layers() -> Mapping[str, Case]:
    """A case for each class of a layer: the first one that has few others beside it."""
    found: dict[str, tuple[int, Case]] = {}
    for case in CASES:
        if case.name.startswith(OWN_INPUTS) or "stateful" in case.name:
            continue
        name = case.name.replace("_", "")
        for class_name in LAYER_CLASSES:
            if (
                name.startswith(class_name.lower())
                and len(case.name) < found.get(class_name, (999, case))[0]
            ):
                found[class_name] = len(case.name), case
    return {class_name: case for class_name, (_, case) in found.items()}


LAYER_CLASSES = tuple(
    name
    for name, cls in vars(layers).items()
    if isinstance(cls, type) and issubclass(cls, layers.Layer)
)
LAYER_CASES = cases_of_layers()


def of_integers(case: Case) -> Build:
    """The model of a case with inputs of an element type."""
    real = layers.Input

    def build(dtype: str) -> tuple[keras.Model, Sequence[Array]]:
        def declared(*args: Any, **options: Any) -> Any:
            given = options.pop("dtype", None)
            return real(*args, dtype=dtype if given in (None, "float32") else given, **options)

        rng = np.random.default_rng(zlib.crc32(case.name.encode()))
        with (
            undrawn_weights(),
            mock.patch.object(layers, "Input", declared),
            mock.patch.object(keras, "Input", declared),
        ):
            model = case.build()
        for variable in model.weights:
            if "float" in str(variable.dtype):
                variable.assign(random_weight(variable.name, tuple(variable.shape), rng))
        for layer in inner_layers(model):
            if isinstance(layer, layers.Normalization) and layer.input_mean is None:
                layer.finalize_state()
        feeds = []
        for tensor in model.inputs:
            sizes = iter((7, 6, 5))
            first, *rest = tensor.shape
            shape = (first or BATCH, *(next(sizes) if size is None else size for size in rest))
            feeds.append(values(rng, str(tensor.dtype), shape, vocabulary(model)))
        return model, feeds

    return build


@pytest.mark.parametrize("class_name", sorted(LAYER_CASES))
@pytest.mark.filterwarnings("ignore")
def test_layers_compute_what_keras_computes_or_are_refused(class_name: str, tmp_path: Path) -> None:
    tried(of_integers(LAYER_CASES[class_name]), tmp_path)


def test_most_layers_are_tried() -> None:
    assert len(LAYER_CASES) > 90


# ----------------------------------------------------------------------------------------- outcomes


def of_one(function: Callable[..., Any], *shape: int, count: int = 1) -> Build:
    """The model of a function of inputs of one shape."""

    def build(dtype: str) -> tuple[keras.Model, Sequence[Array]]:
        rng = np.random.default_rng(5)
        inputs = [keras.Input(shape, dtype=dtype) for _ in range(count)]
        model = keras.Model(inputs, function(*inputs))
        for variable in model.weights:
            variable.assign(random_weight(variable.name, tuple(variable.shape), rng))
        return model, [values(rng, dtype, (BATCH, *shape)) for _ in inputs]

    return build


SAME = dict.fromkeys(DTYPES, "same")
WRAPS = SAME  # results wrap around in the graph, too
CUTS = SAME | {"uint8": "refused"}
TRUTHS = SAME | {"bool": "refused"}
TRUTHS_TOO = CUTS | TRUTHS
ALL_REFUSED = dict.fromkeys(DTYPES, "refused")
IMAGE = (4, 6, 3)

OUTCOMES: Sequence[tuple[str, Build, Mapping[str, str]]] = (
    ("rms_normalization", of_one(layers.RMSNormalization(), 5), CUTS),
    ("group_normalization", of_one(layers.GroupNormalization(2), 6), CUTS),
    ("layer_normalization", of_one(layers.LayerNormalization(), 5), CUTS),
    ("up_sampling_bilinear", of_one(layers.UpSampling2D(2, interpolation="bilinear"), *IMAGE),
    SAME | {"bool": "refused"}),
    ("up_sampling_thrice", of_one(layers.UpSampling2D(3, interpolation="bilinear"), *IMAGE),
    SAME | {"bool": "refused"}),
    ("up_sampling_bicubic", of_one(layers.UpSampling2D(2, interpolation="bicubic"), *IMAGE),
     TRUTHS_TOO | {"uint8": "refused"}),
    ("resizing_to_halves", of_one(layers.Resizing(3, 6), *IMAGE), ALL_REFUSED),
    ("resizing_to_a_half", of_one(layers.Resizing(2, 3), *IMAGE), SAME | {"bool": "refused"}),
    ("resize", of_one(lambda x: k.image.resize(x, (8, 12)), *IMAGE), SAME | {"bool": "refused"}),
    ("resize_nearest", of_one(lambda x: k.image.resize(x, (3, 5), "nearest"), *IMAGE), SAME),
    ("resize_with_antialiasing", of_one(lambda x: k.image.resize(x, (2, 3), antialias=True),
    *IMAGE), ALL_REFUSED),
    ("matmul", of_one(k.matmul, 4, 4, count=2), WRAPS),
    ("matmul_by_floats", of_one(lambda x: k.matmul(x, np.ones((4, 2), "float32")), 4, 4), SAME),
    ("add", of_one(k.add, 4, count=2), WRAPS),
    ("add_layer", of_one(lambda x, y: layers.Add()([x, y]), 4, count=2), TRUTHS),
    ("multiply_layer", of_one(lambda x, y: layers.Multiply()([x, y]), 4, count=2), WRAPS),
    ("maximum_layer", of_one(lambda x, y: layers.Maximum()([x, y]), 4, count=2), SAME),
    ("sum", of_one(lambda x: k.sum(x, 1), 9), SAME),
    ("sum_and_difference", of_one(lambda x: k.sum(x, 1) - 9, 9), WRAPS),
    ("cumsum", of_one(lambda x: k.cumsum(x, 1), 9), WRAPS),
    ("softmax", of_one(k.softmax, 5), CUTS | {"bool": "none"}),
    ("moments", of_one(lambda x: k.moments(x, (1,)), 5), ALL_REFUSED),
    ("divide", of_one(k.divide, 5, count=2), SAME | {"bool": "refused"}),
    ("greater_than_a_negative", of_one(lambda x: x > -1, 5), CUTS),
    ("rescaling", of_one(layers.Rescaling(1 / 127.5, -1), *IMAGE), SAME),
    ("dense", of_one(layers.Dense(3), 5), SAME),
    ("average_pooling", of_one(layers.AveragePooling2D(2), *IMAGE), CUTS | {"bool": "none"}),
    ("through_layers", of_one(lambda x: layers.Add()([layers.Flatten()(x),
    layers.Reshape((72,))(x)]), *IMAGE), TRUTHS),
    ("in_each_step", of_one(layers.TimeDistributed(layers.LayerNormalization()), 4, 5), CUTS),
)  # fmt: skip


@pytest.mark.parametrize(
    ("build", "expected"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES]
)
@pytest.mark.filterwarnings("ignore")
def test_integers_convert_if_all_backends_agree(
    build: Build, expected: Mapping[str, str], tmp_path: Path
) -> None:
    assert tried(build, tmp_path) == expected


@pytest.mark.parametrize(
    "layer",
    [
        layers.RMSNormalization(),
        layers.GroupNormalization(3),
        layers.LayerNormalization(),
        layers.UpSampling2D(2, interpolation="bilinear"),
        k.layer_normalization,
        lambda x: layers.TimeDistributed(layers.LayerNormalization())(x),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_layers_models_compute_in_float32_and_refuse_what_keras_casts(
    layer: Any, tmp_path: Path
) -> None:
    x = keras.Input(IMAGE, dtype="int32")
    keras.Model(x, layer(layers.Cropping2D(1)(x))).save(tmp_path / "model.keras")
    with pytest.raises(
        kerasport.UnsupportedModel, match=r"casts its output to int32.*cast the input to float32"
    ):
        kerasport.convert(tmp_path / "model.keras", tmp_path / "out", to="tfjs-layers")
