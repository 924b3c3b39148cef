"""Rules that depend on the release of Keras that wrote a file."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.cases.trial import quiet, randomize

import kerasport
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.functions import apply
from kerasport.frontends.keras.layers.core import TernaryDense
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.model import LayerSpec, Operation
from kerasport.frontends.keras.read import read
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, TensorType, constant
from kerasport.releases import ASSUMED, NEWEST, release_of
from kerasport.verification.references.original import find_original

STEPS = 5
TOKENS = np.array([[0, 3, 0, 1, 0], [0, 0, 0, 0, 0], [2, 4, 1, 0, 0]], np.int32)


def save(model: keras.Model, path: Path) -> None:
    """Save a model without the warnings of Keras."""
    with quiet():
        model.save(path)


def numbers(tensor: Any) -> Any:
    """A tensor of Keras as an array."""
    return keras.ops.convert_to_numpy(tensor)


def of_release(path: Path, version: str, change: tuple[bytes, bytes] = (b"", b"")) -> Path:
    """A copy of a `.keras` file with another version of Keras and a config changed by `change`."""
    copy = path.with_stem(f"of_{version}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "metadata.json":
                data = json.dumps({**json.loads(data), "keras_version": version}).encode()
            if name == "config.json":
                assert change[0] in data
                data = data.replace(*change) if change[0] else data
            target.writestr(name, data)
    return copy


PASSED_ON = {
    "LSTM": lambda: layers.LSTM(3, return_sequences=True),
    "GRU": lambda: layers.GRU(3, return_sequences=True),
    "SimpleRNN": lambda: layers.SimpleRNN(3, return_sequences=True),
    "RNN": lambda: layers.RNN(layers.LSTMCell(3), return_sequences=True),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(3)),
}


@pytest.mark.parametrize("name", PASSED_ON)
def test_recurrent_layers_stop_masks_from_keras_3_16_on(name: str, tmp_path: Path) -> None:
    # a Functional would record the masks of the Keras that makes it as arguments of its calls
    embedding, first, second = (
        layers.Embedding(6, 4, mask_zero=True),
        PASSED_ON[name](),
        layers.LSTM(2),
    )
    model = keras.Sequential([layers.Input((STEPS,), dtype="int32"), embedding, first, second])
    randomize(model, np.random.default_rng(0))
    save(model, tmp_path / "model.keras")
    # the layer gets its mask in both releases; the one behind it gets a mask in 3.15 alone
    masked = numbers(model(TOKENS))
    unmasked = numbers(second(numbers(first(embedding(TOKENS)))))
    assert np.abs(masked - unmasked).max() > 1e-2
    for version, wanted in (("3.15.1", masked), ("3.16.0", unmasked), ("3.17.2", unmasked)):
        with read(of_release(tmp_path / "model.keras", version)) as read_model:
            (got,) = lower(read_model).run(TOKENS)
        np.testing.assert_allclose(got, wanted, 1e-4, 1e-5, err_msg=version)


# --------------------------------------------------------------------------- files of a newer Keras


def small(folder: Path) -> Path:
    """A model of the installed Keras."""
    path = folder / "small.keras"
    save(keras.Sequential([layers.Input((3,)), layers.Dense(2), layers.Flatten()]), path)
    return path


def test_a_file_of_a_newer_keras_converts_with_a_note(tmp_path: Path) -> None:
    newer = f"{NEWEST[0]}.{NEWEST[1] + 1}.0"
    for version in (newer, f"{NEWEST[0] + 1}.0.0rc1"):
        path, out = of_release(small(tmp_path), version), tmp_path / f"out of {version}"
        (note,) = (each for each in kerasport.convert(path, out).notes if version in each)
        assert ".".join(map(str, NEWEST)) in note
        assert note.endswith("run " + shlex.join(["kerasport", "verify", str(path), str(out)]))
        assert any(f"{path} web_model" in each for each in kerasport.check(path).notes)


def test_a_file_of_a_known_keras_has_no_such_note(tmp_path: Path) -> None:
    for version in ("3.0.5", ".".join(map(str, NEWEST)), f"{NEWEST[0]}.{NEWEST[1]}.9"):
        path = of_release(small(tmp_path), version)
        assert not any("verify" in note for note in kerasport.check(path).notes)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"units": 2', b'"units": 2, "halves": true', "does not know this option"),
        (b'"class_name": "Flatten"', b'"class_name": "Flatter"', "Flatter: "),
    ],
)
def test_what_is_unknown_in_a_file_of_a_newer_keras_is_refused(
    old: bytes, new: bytes, reason: str, tmp_path: Path
) -> None:
    path = of_release(small(tmp_path), f"{NEWEST[0]}.{NEWEST[1] + 1}.0", (old, new))
    with pytest.raises(kerasport.UnsupportedModel, match=reason):
        kerasport.convert(path, tmp_path / "out", to="tfjs-graph")


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("3.15.1", (3, 15)),
        ("2.15.0-tf", (2, 15)),
        ("3.16.0.dev2026", (3, 16)),
        ("", ASSUMED),
        ("new", ASSUMED),
    ],
)
def test_the_release_of_a_version(version: str, release: tuple[int, int]) -> None:
    assert release_of(version) == release


@pytest.mark.parametrize(("behind", "noted"), [(layers.LSTM, True), (layers.Dense, False)])
def test_masks_of_a_source_that_names_no_keras_are_noted(
    behind: Any, noted: bool, tmp_path: Path
) -> None:
    tokens = layers.Input((STEPS,), dtype="int32")
    masked = layers.Embedding(6, 4, mask_zero=True)(tokens)
    x = behind(3, return_sequences=True)(masked) if noted else behind(3)(masked)
    model = keras.Model(tokens, layers.LSTM(2)(x))
    (tmp_path / "model.json").write_text(model.to_json())
    with quiet():
        model.save_weights(tmp_path / "model.weights.h5")
    checked = kerasport.check(tmp_path / "model.json", weights=tmp_path / "model.weights.h5")
    assert any("does not name the Keras version" in note for note in checked.notes) is noted


@pytest.mark.parametrize("version", ["3.15.1", "3.16.0"])
def test_verify_says_that_the_installed_keras_has_other_masks(version: str, tmp_path: Path) -> None:
    embedding = layers.Embedding(6, 4, mask_zero=True)
    chain = [embedding, layers.LSTM(3, return_sequences=True), layers.LSTM(2)]
    save(
        keras.Sequential([layers.Input((STEPS,), dtype="int32"), *chain]), tmp_path / "model.keras"
    )
    path = of_release(tmp_path / "model.keras", version)
    with read(path) as model:
        notes = find_original(model, path, None, 60).notes
    of_file, installed = map(Dialect.of, map(release_of, (version, keras.__version__)))
    differs = of_file.recurrent_masks_stop is not installed.recurrent_masks_stop
    assert any("do not pass masks on" in note for note in notes) is differs


# -------------------------------------------------------------- calls that are recorded as training


@pytest.mark.parametrize("name", ["RandomFlip", "Pipeline", "Dropout"])
@pytest.mark.parametrize("to", ["tfjs-layers", "tfjs-graph"])
def test_training_that_is_recorded_counts_from_keras_3_16_on(
    name: str, to: str, tmp_path: Path
) -> None:
    x = layers.Input((4, 4, 1))
    acting = {
        "RandomFlip": layers.RandomFlip,
        "Pipeline": lambda: layers.Pipeline([layers.RandomFlip()]),
        "Dropout": lambda: layers.Pipeline([layers.Dropout(0.5)]),
    }
    save(
        keras.Model(x, layers.Flatten()(acting[name]()(x, training=True))), tmp_path / "model.keras"
    )
    assert kerasport.check(of_release(tmp_path / "model.keras", "3.15.1"), to=to).convertible
    refused = kerasport.check(of_release(tmp_path / "model.keras", "3.16.0"), to=to)
    assert [problem.option for problem in refused.problems] == ["training"]
    assert "is active at inference" in str(refused)


@pytest.mark.parametrize("layer", [lambda: layers.Resizing(2, 2), lambda: layers.CenterCrop(2, 2)])
def test_layers_that_compute_the_same_in_training_are_not_refused(
    layer: Any, tmp_path: Path
) -> None:
    x = layers.Input((4, 4, 1))
    save(keras.Model(x, layer()(x, training=True)), tmp_path / "model.keras")
    assert kerasport.check(
        of_release(tmp_path / "model.keras", "3.16.0"), to="tfjs-graph"
    ).convertible


# ------------------------------------------------------------------------- operations of Keras 3.16


def evaluated(class_name: str, *arrays: Any, **config: Any) -> Any:
    """The result of an operation on arrays, which a graph is fed."""
    fed = tuple(
        Input(f"x{i}", TensorType("float32", (None, *array.shape[1:])))
        for i, array in enumerate(arrays)
    )
    args = (fed,) if class_name == "ColumnStack" else fed
    return Graph(fed, apply(Operation("operation", class_name, config), args, {}), {}).run(*arrays)[
        0
    ]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 6, 7])
def test_powers_of_matrices(n: int) -> None:
    x = np.random.default_rng(n).normal(0, 0.7, (3, 4, 4)).astype("float32")
    np.testing.assert_allclose(
        evaluated("MatrixPower", x, n=n), np.linalg.matrix_power(x, n), 1e-4, 1e-5
    )


def test_inverses_of_matrices_are_refused() -> None:
    with pytest.raises(Refusal, match="linear algebra"):
        apply(Operation("power", "MatrixPower", {"n": -1}), (constant(np.eye(2)),), {})


@pytest.mark.parametrize("shapes", [[(3, 2), (3,), (3, 1)], [(3,), (3,)], [(3, 1, 4), (3, 2, 4)]])
def test_columns_are_stacked(shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
    np.testing.assert_array_equal(evaluated("ColumnStack", *arrays), np.column_stack(arrays))


@pytest.mark.parametrize(
    ("size", "shape", "padding", "data_format"),
    [
        ((3, 2), (2, 9, 4, 3), "valid", "channels_last"),
        (2, (2, 4, 6, 1), "valid", None),
        ((3, 2), (2, 7, 5, 3), "same", "channels_last"),
        ((4, 3), (2, 3, 5, 6), "same", "channels_first"),
        ((2, 3, 2), (2, 5, 4, 3, 2), "same", "channels_last"),
        ((2, 2, 3), (1, 2, 4, 4, 3), "valid", "channels_first"),
    ],
)
def test_patches_reconstruct_their_image(
    size: Any, shape: tuple[int, ...], padding: str, data_format: str | None
) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    options = {"size": size, "padding": padding, "data_format": data_format}
    patches = numbers(
        keras.ops.image.extract_patches(x, size, padding=padding, data_format=data_format)
    )
    whole = shape[2:] if data_format == "channels_first" else shape[1:-1]
    np.testing.assert_array_equal(
        evaluated("ReconstructPatches", patches, output_size=whole, **options), x
    )


def test_patches_that_do_not_fit_are_refused() -> None:
    patches = constant(np.ones((1, 2, 2, 4), np.float32))
    for config, error in (
        ({"size": (2, 2), "output_size": (4, 4), "strides": (1, 1)}, Refusal),
        ({"size": (2, 2), "output_size": (3, 4)}, ShapeError),
    ):
        with pytest.raises(error):
            apply(Operation("patches", "ReconstructPatches", config), (patches,), {})


def test_ternary_kernels_that_depend_on_rounding_are_refused() -> None:
    kernel = constant(np.array([[2.0], [0.5], [0.5]], np.float32)).value
    spec = LayerSpec("ternary", "TernaryDense", {"units": 1, "use_bias": False}, (kernel,))
    with pytest.raises(Refusal, match="equals the threshold"):
        TernaryDense.from_spec(spec).lower(Input("x", TensorType("float32", (None, 3))))
