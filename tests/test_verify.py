"""Verification: the original in Keras, the converted model in TF.js, both for real."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import numpy as np
import pytest
from keras import layers

from kerasport.api import convert, verify
from kerasport.errors import MismatchError, OptionError, VerifyError
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.read import read
from kerasport.verification.comparison import Tolerance
from kerasport.verification.divergence import nearest, telling_feeds
from kerasport.verification.inputs import concrete_shapes, random_inputs
from kerasport.verification.references import keras_runner, original
from kerasport.verification.references.keras_runner import load_arrays, save_arrays
from kerasport.verification.references.original import (
    Installed,
    Keras,
    find_backend,
    find_keras,
    installed,
    lacks_reader,
    loadable,
    loadable_weights,
)
from kerasport.verification.report import LayerDivergence, OutputError, Verification
from kerasport.verification.runtimes import node
from kerasport.verification.runtimes.tfjs import TensorInfo
from kerasport.verification.user_data import read_expected, read_inputs
from kerasport.weights import Array

RECORDED = Path(__file__).parent / "recorded"
OLD = RECORDED / "keras-2.15.0" / "functional.h5"


def saved(model: keras.Model, path: Path) -> Path:
    """The model on disk, its weights all different from those that layers begin with."""
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        for weight in model.weights:
            if "float" in str(weight.dtype):
                weight.assign(rng.uniform(0.2, 0.8, weight.shape))
        model.save(path)
    return path


def cnn() -> keras.Model:
    image = layers.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 255, name="scale")(image)
    x = layers.Conv2D(4, 3, strides=2, name="conv", activation="relu")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    return keras.Model(
        image,
        layers.Dense(5, "softmax", name="probs")(layers.GlobalAveragePooling2D(name="mean")(x)),
    )


def words() -> keras.Model:
    return keras.Sequential([
        layers.Input((None,), dtype="int32", name="ids"),
        layers.Embedding(11, 4, mask_zero=True, name="table"),
        layers.LSTM(3, name="memory"),
        layers.Dense(2, name="classes"),
    ])  # fmt: skip


def dicts() -> keras.Model:
    """A model of two inputs and two outputs, whose names are not in the order of the keys."""
    a = layers.Input((4,), name="z")
    b = layers.Input((3,), dtype="int32", name="a b")
    both = layers.Concatenate(name="both")(
        [a, layers.Flatten(name="flat")(layers.Embedding(7, 2, name="täble")(b))]
    )
    one, two = layers.Dense(2, name="øne")(both), layers.Dense(3, name="two")(both)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that are not the names of the inputs
        return keras.Model({"numbers": a, "ids": b}, {"second": two, "first": one})


def converted(
    build: Callable[[], keras.Model], folder: Path, name: str = "model.keras"
) -> tuple[Path, Path]:
    """A model and what it is converted to."""
    source = saved(build(), folder / name)
    convert(source, folder / "web_model")
    return source, folder / "web_model"


def corrupt(out: Path, weight: str) -> None:
    """Change the first number of a weight."""
    (group,) = json.loads((out / "model.json").read_bytes())["weightsManifest"]
    (shard,) = group["paths"]
    sizes = {entry["name"]: 4 * math.prod(entry["shape"]) for entry in group["weights"]}
    offset = sum([*sizes.values()][: [*sizes].index(weight)])
    with (out / shard).open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(-3).tobytes())


def hide_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    hidden = ("keras", "tf_keras")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name in hidden else find(name, *of)
    )


# -------------------------------------------------------------------------------------- models that are right


@pytest.mark.rows(2)
@pytest.mark.parametrize("build", [cnn, words], ids=lambda build: build.__name__)
def test_a_converted_model_computes_what_keras_computes(
    build: Callable[[], keras.Model], tmp_path: Path
) -> None:
    result = verify(*converted(build, tmp_path))
    assert result.ok
    assert result.reference == f"Keras {keras.__version__} (jax)"
    assert [*result.seconds] == ["keras", "cpu", "wasm"]
    assert [error.backend for error in result.outputs] == ["cpu", "wasm"]
    assert all(error.ok and error.absolute < 1e-5 for error in result.outputs)
    assert (result.diverges, result.notes) == (None, ())
    result.raise_for_mismatch()
    assert "computes the same numbers as" in flat(result)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # about numpy, while saving
def test_a_live_model_with_states_is_verified(tmp_path: Path) -> None:
    model = keras.Sequential(
        [layers.Input(batch_shape=(2, 5, 3)), layers.LSTM(4, stateful=True, name="memory")],
        name="runner",
    )
    saved(model, tmp_path / "model.keras")  # for its weights
    convert(model, tmp_path / "out")
    result = verify(model, tmp_path / "out", backends=["wasm"])
    assert result.ok
    assert (result.source, result.backends) == ("the model 'runner'", ("wasm",))
    assert result.outputs[0].batch_size == 2


def unzipped(folder: Path) -> tuple[Path, None]:
    shutil.copytree(RECORDED / "keras-3.15.1" / "dicts.unzipped", folder / "model")
    return folder / "model", None


def architecture(folder: Path) -> tuple[Path, Path]:
    """Files that must be told by what is in them."""
    recorded = RECORDED / "keras-3.15.1"
    shutil.copyfile(recorded / "dicts.json", folder / "architecture")
    shutil.copyfile(recorded / "dicts.weights.h5", folder / "weights")
    return folder / "architecture", folder / "weights"


def misnamed(folder: Path) -> tuple[Path, None]:
    """HDF5 under the name of a zip."""
    return saved(words(), folder / "model.h5").rename(folder / "model.keras"), None


@pytest.mark.rows(2)
@pytest.mark.parametrize("made", [unzipped, architecture, misnamed], ids=lambda made: made.__name__)
def test_keras_reads_what_kerasport_reads(made: Callable[[Path], Any], tmp_path: Path) -> None:
    source, weights = made(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    convert(source, tmp_path / "web_model", weights=weights)
    assert verify(
        source, tmp_path / "web_model", weights=weights, backends=["cpu"], batch_sizes=[2]
    ).ok
    shutil.rmtree(tmp_path / "web_model")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.exhaustive
def test_hard_sigmoid_of_an_old_file_keeps_its_meaning(tmp_path: Path) -> None:
    model = keras.Sequential([
        layers.Input((4, 3)),
        layers.LSTM(4, recurrent_activation="hard_sigmoid", name="memory"),
        layers.Dense(3, "hard_sigmoid", name="gate"),
    ])  # fmt: skip
    source = saved(model, tmp_path / "model.h5")
    with h5py.File(source, "r+") as file:
        file.attrs["keras_version"] = "2.2.4"
    convert(source, tmp_path / "out")
    result = verify(source, tmp_path / "out")
    assert result.ok
    assert "Keras 3 loads it as clip(x/6 + 0.5, 0, 1)" in flat(result)


def rounded() -> keras.Model:
    """A model whose layers round to fewer bits, each in another way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras.Sequential([
            layers.Input((5,)),
            layers.Dense(4, "relu", dtype="mixed_bfloat16"),
            layers.Dense(3, "relu", dtype="float16"),
            layers.Dense(2),
        ])  # fmt: skip
        model.layers[-1].quantize("int8")
        return model


@pytest.mark.exhaustive
def test_keras_is_run_without_rounding(tmp_path: Path) -> None:
    result = verify(*converted(rounded, tmp_path), backends=["wasm"])
    assert result.ok
    policies = "float16, int8_from_float32, mixed_bfloat16"
    assert f"- the model computes in {policies}; Keras ran it in float32" in flat(result)


# ------------------------------------------------------------------------------------- models that are wrong


def test_the_first_layer_that_diverges_is_named(tmp_path: Path) -> None:
    source, out = converted(dicts, tmp_path)
    corrupt(out, "t_ble/embeddings")
    result = verify(source, out)
    assert not result.ok
    assert [error.ok for error in result.outputs] == [False] * 4
    found = result.diverges
    assert found is not None
    assert (found.name, found.tfjs_name, found.class_name, found.backend) == (
        "täble",
        "t_ble",
        "Embedding",
        "cpu",
    )
    assert found.absolute > 0.1
    assert "First layer that differs täble (Embedding, 't_ble' in TF.js), on cpu " in flat(result)
    with pytest.raises(MismatchError, match="computes different numbers than"):
        result.raise_for_mismatch()
    assert '<tr class="bad">' in result._repr_html_()
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["ok"] is False
    assert document["diverges"]["name"] == "täble"


def tiny() -> keras.Model:
    """A model whose outputs are some 1e-7, of inputs that are not."""
    x = layers.Input((6,), name="x")
    y = layers.Rescaling(1e-7, name="shrink")(layers.Dense(5, "tanh", name="hidden")(x))
    return keras.Model(x, layers.Dense(3, use_bias=False, name="small")(y))


@pytest.mark.exhaustive
def test_small_outputs_are_verified_by_their_size(tmp_path: Path) -> None:
    source, out = converted(tiny, tmp_path)
    assert verify(source, out).ok
    corrupt(out, "small/kernel")
    result = verify(source, out)
    assert not result.ok
    assert all(error.absolute < 1e-5 for error in result.outputs)
    assert "rounding explains that: use --atol 1e-05" in flat(result)
    assert "rtol 0.0001, atol 1e-05 " not in flat(result)  # what applied is smaller
    assert result.atol == result.outputs[0].atol < 1e-6
    assert "rtol 0.0001, atol 1e-05" in str(passed := verify(source, out, atol=1e-5))
    assert passed.ok


@pytest.mark.exhaustive
def test_probabilities_of_rare_events_agree(tmp_path: Path) -> None:
    x = layers.Input((4,))
    y = layers.Rescaling(0.5, offset=-11.4)(layers.Dense(3)(x))
    source = saved(keras.Model(x, layers.Activation("sigmoid")(y)), tmp_path / "rare.keras")
    for out in (tmp_path / "rare.onnx", tmp_path / "web_model"):
        convert(source, out)
        result = verify(source, out, batch_sizes=(1, 50))
        assert result.ok
        assert max(abs(output.expected) for output in result.outputs) < 1e-3


def test_a_model_made_of_another_one_is_refused(tmp_path: Path) -> None:
    source = saved(words(), tmp_path / "words.keras")
    _, out = converted(dicts, tmp_path)
    with pytest.raises(
        VerifyError,
        match="has 2 inputs, but the original has 1 input; it was converted from another",
    ):
        verify(source, out)


# ------------------------------------------------------------------------------------------- given batches


@pytest.mark.rows(1)
@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_model_is_verified_with_the_companion_that_a_page_finds(
    harm: str, tmp_path: Path
) -> None:
    def memory() -> keras.Model:
        x = keras.Input((5, 3))
        return keras.Model(x, keras.layers.GRU(4)(x))

    source, out = converted(memory, tmp_path)
    companion = out / "kerasport-layers.js"
    assert verify(source, out).ok
    if harm == "gone":
        companion.unlink()
    else:
        companion.write_text(
            "export function register(tf) { globalThis.process?.exit(7) }", "utf-8"
        )
    with pytest.raises(
        VerifyError, match=r"kerasport-layers\.js: (the model needs this script|is not the script)"
    ):
        verify(source, out)


def test_recorded_outputs_need_no_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide_keras(monkeypatch)
    convert(OLD, tmp_path / "out")
    recorded = OLD.with_name("functional.npz")
    result = verify(OLD, tmp_path / "out", inputs=recorded, expected=recorded)
    assert result.ok
    assert (result.reference, [*result.seconds]) == ("functional.npz", ["cpu", "wasm"])
    corrupt(tmp_path / "out", "shared/bias")
    result = verify(OLD, tmp_path / "out", inputs=recorded, expected=recorded)
    assert not result.ok
    (note,) = result.notes
    assert note == (
        "the first layer that differs could not be found: verify runs the original model in Keras, but Keras is not "
        "installed, and Keras 2.15.0 wrote this file; pip install tf_keras, or name the Python of another environment "
        "with --python"
    )


@pytest.mark.exhaustive
def test_given_inputs_are_run_by_keras(tmp_path: Path) -> None:
    source, out = converted(dicts, tmp_path)
    rng = np.random.default_rng(0)
    # float64 and int64, as numpy makes them
    np.savez(tmp_path / "in.npz", ids=rng.integers(0, 7, (4, 3)), numbers=rng.normal(size=(4, 4)))
    result = verify(source, out, inputs=tmp_path / "in.npz", backends=["cpu"])
    assert result.ok
    assert [(error.name, error.batch_size) for error in result.outputs] == [
        ("layer_ne", 4),
        ("two", 4),
    ]


NUMBERS = np.zeros((2, 4), "float32")
IDS = np.zeros((2, 3), "int32")
INFOS = (TensorInfo("a_b", "int32", (None, 3)), TensorInfo("z", "float32", (None, 4)))
OUTS = (TensorInfo("layer_ne", "float32", (None, 2)), TensorInfo("two", "float32", (None, 3)))


@pytest.fixture(scope="module")
def dicts_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(dicts(), tmp_path_factory.mktemp("dicts") / "model.keras")


@pytest.mark.parametrize(
    "given",
    [
        {"numbers": NUMBERS, "ids": IDS},
        {"z": NUMBERS, "a b": IDS},
        {"z": NUMBERS, "a_b": IDS, "labels": IDS},
        {"arr_0": IDS, "arr_1": NUMBERS},
        {"input_0": IDS, "input_1": NUMBERS, "output_0": IDS, "output_1": IDS},
        {"ids": IDS.astype("float64"), "numbers": NUMBERS.astype("uint8")},
    ],
    ids=["keys", "keras", "tfjs", "order", "recorded", "dtypes"],
)
def test_inputs_are_found_in_a_file(
    given: Mapping[str, Any], dicts_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", **given)
    with read(dicts_path) as model:
        ids, numbers = read_inputs(tmp_path / "in.npz", model, INFOS)
    assert (ids.shape, ids.dtype.name) == ((2, 3), "int32")
    assert (numbers.shape, numbers.dtype.name) == ((2, 4), "float32")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"numbers": NUMBERS},
            r"contains numbers, but the inputs of the model are a b/a_b/ids, numbers/z; use these names, or",
        ),
        (
            {"arr_0": IDS, "arr_1": NUMBERS, "arr_2": IDS},
            r"contains arr_0, arr_1, arr_2, but the inputs of the model are",
        ),
        (
            {"numbers": NUMBERS[0], "ids": IDS},
            r"input 'z' has the shape \[4\]; the model has \[\?, 4\]",
        ),
        (
            {"numbers": NUMBERS, "ids": IDS[:, :2]},
            r"input 'a b' has the shape \[2, 2\]; the model has \[\?, 3\]",
        ),
        ({"numbers": NUMBERS, "ids": IDS[:1]}, r"different batch sizes, \[1, 2\]"),
        (
            {"numbers": NUMBERS, "ids": IDS + 0.5},
            r"input 'a b' has float64 values that do not fit into int32",
        ),
        (
            {"numbers": NUMBERS, "ids": IDS.astype("int64") + 2**40},
            r"input 'a b' has int64 values that do not fit into int32",
        ),
        (
            {"numbers": NUMBERS.astype("U"), "ids": IDS},
            r"input 'z' has the dtype <U32; it needs numbers",
        ),
        (
            {"numbers": np.array([["x", None]]), "ids": IDS},
            r"not an \.npz of numbers or strings \(Object arrays",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_told(
    given: Mapping[str, Any], message: str, dicts_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", **given)
    with read(dicts_path) as model, pytest.raises(VerifyError, match=message):
        read_inputs(tmp_path / "in.npz", model, INFOS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"first": np.zeros((2, 2)), "second": np.zeros((2, 5))},
            r"output 'two' has the shape \[2, 5\]; .* \[2, 3\]",
        ),
        (
            {"first": np.zeros((4, 2)), "second": np.zeros((4, 3))},
            r"output 'øne' has the shape \[4, 2\]; .* \[2, 2\]",
        ),
        (
            {"second": np.zeros((2, 3))},
            r"contains second, but the outputs of the model are first/layer_ne/øne, second/two",
        ),
    ],
)
def test_outputs_that_do_not_fit_are_told(
    given: Mapping[str, Any], message: str, dicts_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "out.npz", **given)
    with read(dicts_path) as model, pytest.raises(VerifyError, match=message):
        read_expected(tmp_path / "out.npz", model, OUTS, batch=2)


def test_files_that_are_no_npz_are_told(dicts_path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", NUMBERS)
    (tmp_path / "text").write_text("?")
    with read(dicts_path) as model:
        for name, message in (
            ("one.npy", "a single array, not an .npz"), ("text", "not an .npz of numbers"), ("none", "no such file")
        ):  # fmt: skip
            with pytest.raises(VerifyError, match=message):
                read_inputs(tmp_path / name, model, INFOS)


# ------------------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_verified_is_told(dicts_path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        VerifyError, match="no such converted model; make it with kerasport convert"
    ):
        verify(dicts_path, tmp_path / "nothing")
    with pytest.raises(VerifyError, match=r"not the model\.json of a TF\.js model"):
        verify(dicts_path, dicts_path)
    with pytest.raises(VerifyError, match="give both --inputs and --expected"):
        verify(dicts_path, tmp_path, expected=tmp_path / "out.npz")
    for backends in (["webgl"], "webgl"):
        with pytest.raises(OptionError, match=r"unknown backend 'webgl'; .* are cpu and wasm"):
            verify(dicts_path, tmp_path, backends=backends)
    with pytest.raises(TypeError, match="expected a path or a Keras model, got int"):
        verify(3, tmp_path)


def test_without_keras_a_user_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = converted(words, tmp_path)
    hide_keras(monkeypatch)
    with pytest.raises(
        VerifyError, match=r"pip install keras, .*\. Or give inputs and .* --expected out\.npz"
    ):
        verify(*pair)


@pytest.mark.exhaustive
def test_what_keras_says_is_told_in_short(tmp_path: Path) -> None:
    convert(OLD, tmp_path / "out")
    with pytest.raises(
        VerifyError,
        match=r"^Keras 3.* cannot run .*functional\.h5: ValueError: Invalid .* …; tf_keras may be able to: pip install tf_keras",
    ) as refusal:
        verify(OLD, tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_a_backend_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = converted(words, tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "mxnet")
    with pytest.raises(
        VerifyError,
        match=r"KERAS_BACKEND is 'mxnet', and no such backend is installed; available: .*jax",
    ):
        verify(*pair)


def test_a_child_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = converted(words, tmp_path)
    monkeypatch.setattr(original, "START", "import sys; sys.exit('out of memory')")
    with pytest.raises(
        VerifyError, match=r"Keras .* crashed while it ran .*model\.keras: out of memory\. Or give"
    ):
        verify(*pair)


@pytest.mark.parametrize(
    "spec", [LayerSpec("code", "Lambda", {}), LayerSpec("mine", "Mine", {}, custom="x>Mine")]
)
def test_python_code_is_never_run(spec: LayerSpec) -> None:
    start = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 2]}))
    end = Call(spec, (KerasTensor(start),))
    model = KerasModel("model", "functional", (start, end), KerasTensor(start), KerasTensor(end))
    with pytest.raises(
        VerifyError, match=f"layer '{spec.name}': {spec.class_name} needs Python code"
    ):
        original.find_original(model, Path("model.keras"), None, 60)


# ---------------------------------------------------------------------------------------------- which Keras


@pytest.mark.parametrize(
    ("versions", "writer", "expected"),
    [
        (
            {"keras": "3.15.1", "tf_keras": "2.21.0"},
            "2.15.0",
            Keras("tf_keras", "2.21.0", "tensorflow"),
        ),
        ({"keras": "3.15.1", "tf_keras": "2.21.0"}, "3.0.5", Keras("keras", "3.15.1", "jax")),
        ({"keras": "3.15.1"}, "2.15.0", Keras("keras", "3.15.1", "jax")),
        ({"keras": "2.15.0"}, "2.15.0", Keras("keras", "2.15.0", "tensorflow")),
        (
            {"keras": "2.15.0"},
            "3.1.0",
            r"only keras 2\.15\.0 is installed, and Keras 3\.1\.0 wrote this file; pip",
        ),
        (
            {"tf_keras": "2.21.0"},
            "",
            "only tf_keras 2.21.0 is installed, and Keras 3 wrote .*; pip install keras",
        ),
        (
            {},
            "2.2.4",
            "Keras is not installed, .*; pip install tf_keras, or name the Python .* with --python",
        ),
    ],
)
def test_the_keras_that_means_the_same_is_chosen(
    monkeypatch: pytest.MonkeyPatch, versions: Mapping[str, str], writer: str, expected: Keras | str
) -> None:
    there = Installed(versions, ("jax",))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if isinstance(expected, Keras):
        assert find_keras(writer, there) == expected
        assert find_keras(writer, replace(there, python="p")) == replace(expected, python="p")
    else:
        with pytest.raises(VerifyError, match=expected):
            find_keras(writer, there)


def test_the_backend_is_the_chosen_one_or_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = Installed({}, ("jax", "torch"))
    elsewhere = replace(there, python="../python")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert (find_backend(there), find_backend(elsewhere)) == ("torch", "torch")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    assert find_backend(there) == "numpy"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert find_backend(elsewhere) == "jax"  # the variable is meant for this environment
    with pytest.raises(
        VerifyError, match="'tensorflow', and no such backend is installed; available: jax, torch"
    ):
        find_backend(there)
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert find_backend(there) == "jax"
    for chosen, expected in (("torch", "torch"), ("tensorflow", "jax")):
        (tmp_path / "keras.json").write_text(json.dumps({"backend": chosen}))
        assert find_backend(there) == expected
    (tmp_path / "keras.json").write_text("[")
    assert find_backend(there) == "jax"
    with pytest.raises(VerifyError, match="Keras has no backend; pip install jax"):
        find_backend(Installed({}, ()))


@pytest.mark.parametrize(
    ("name", "needs"),
    [("keras-1.2.2/keras_1.h5", "Keras 1.2.2"), ("keras-2.12.0/functional.keras", "TensorFlow 2.12"),
     ("keras-2.12.0/functional.hdf5.keras", ""), ("keras-2.15.0/functional.keras", "")],
)  # fmt: skip
def test_what_tf_keras_cannot_read_is_not_a_reason_to_install_it(name: str, needs: str) -> None:
    with read(RECORDED / name) as model:
        assert lacks_reader(model.writer, RECORDED / name, model) == needs
    for versions in ({}, {"keras": "3.15.1", "tf_keras": "2.21.0"}):
        if needs:
            with pytest.raises(
                VerifyError,
                match=f"neither Keras 3 nor tf_keras can read this file, only {needs} can",
            ):
                find_keras(model.writer, Installed(versions, ()), needs=needs)
    assert (
        find_keras(model.writer, Installed({"keras": "2.12.0"}, ()), needs=needs).version
        == "2.12.0"
    )


def test_strings_need_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert find_backend(Installed({}, ("tensorflow", "jax")), strings=True) == "tensorflow"
    with pytest.raises(VerifyError, match=r"not installed in p\. Run: pip install tensorflow"):
        find_backend(Installed({}, ("jax",), "p"), strings=True)


# ------------------------------------------------------------------------------------------- another Python


def test_keras_of_another_python_runs_the_original(tmp_path: Path) -> None:
    steps: list[str] = []
    result = verify(
        *converted(words, tmp_path), backends="wasm", python=sys.executable, status=steps.append
    )
    assert result.ok
    assert [step.replace(str(tmp_path), "") for step in steps if "npm" not in step] == [
        "loading /web_model in TF.js",
        f"running model.keras in Keras {keras.__version__} (jax)",
        "running /web_model on wasm",
    ]


def test_the_script_for_another_python_needs_only_numpy() -> None:
    text = Path(keras_runner.__file__).read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    names |= {
        alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"numpy"}
    inner = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in imports
    ]
    assert len(inner) == 3  # for type checkers


@pytest.mark.parametrize(
    ("python", "error"),
    [
        ("no-such-python", "--python no-such-python: cannot be run"),
        ("echo", "--python echo: not a Python 3.8"),
    ],
)
def test_a_python_that_does_not_run_is_an_error(python: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match=error):
        installed(python)


def test_keras_is_looked_for_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = converted(words, tmp_path)
    hide_keras(monkeypatch)
    monkeypatch.setattr(node, "find", lambda: pytest.fail("Node was looked for first"))
    with pytest.raises(VerifyError, match="Keras is not installed"):
        verify(*pair)


@pytest.mark.parametrize(
    ("out", "there"),
    [("web_model", "TF.js models are cpu and wasm"), ("m.onnx", "onnxruntime and onnxruntime-web")],
)
def test_an_unknown_backend_lists_those_that_exist(out: str, there: str) -> None:
    with pytest.raises(
        OptionError, match=f"unknown backend 'gpu'; the backends for .*{there}"
    ) as error:
        verify("m.keras", out, backends=["gpu"])
    assert error.value.option == "backend"


# ------------------------------------------------------------------------------------------------- strings

TOKENS = ["red", "grün", "blue"]


@pytest.fixture
def strings(tmp_path: Path) -> Path:
    """An architecture with a StringLookup, as Keras writes it."""
    layer = {"class_name": "StringLookup", "name": "places", "config": {
        "name": "places", "vocabulary": TOKENS, "mask_token": "", "num_oov_indices": 1, "output_mode": "int",
    }, "inbound_nodes": [[["text", 0, 0, {}]]]}  # fmt: skip
    given = {"class_name": "InputLayer", "name": "text", "inbound_nodes": [], "config": {
        "name": "text", "batch_input_shape": [None, 3], "dtype": "string",
    }}  # fmt: skip
    config = {"name": "model", "layers": [given, layer], "input_layers": [["text", 0, 0]],
              "output_layers": [["places", 0, 0]]}  # fmt: skip
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        file.attrs["keras_version"] = "2.15.0"
        file.create_group("model_weights").attrs["layer_names"] = np.array([], "S1")
    return path


def test_random_strings_are_drawn_from_the_vocabulary_and_others(strings: Path) -> None:
    with read(strings) as model:
        (texts,) = random_inputs(model, 50, np.random.default_rng(0))
    assert (texts.dtype, texts.shape) == (np.dtype(object), (50, 3))
    counts = Counter(texts.ravel().tolist())
    assert all(counts[token] > 20 for token in TOKENS)
    assert 0.1 < sum(counts[other] for other in set(counts) - set(TOKENS)) / texts.size < 0.4
    assert counts[""]


@pytest.mark.parametrize("target", ["web_model", "model.onnx"])
def test_given_strings_are_verified(target: str, strings: Path, tmp_path: Path) -> None:
    convert(strings, tmp_path / target)
    np.savez(tmp_path / "in.npz", text=np.array([["grün", "", "x"], ["blue", "red", "blue"]]))
    np.savez(tmp_path / "out.npz", places=np.array([[3, 0, 1], [4, 2, 4]]))
    given: dict[str, Any] = {"inputs": tmp_path / "in.npz", "expected": tmp_path / "out.npz"}
    result = verify(strings, tmp_path / target, **given)
    assert result.ok, str(result)
    assert {error.absolute for error in result.outputs} == {0.0}
    np.savez(tmp_path / "out.npz", places=np.array([[3, 0, 1], [4, 2, 2]]))
    assert not verify(strings, tmp_path / target, **given).ok
    np.savez(tmp_path / "in.npz", text=np.zeros((2, 3)))
    with pytest.raises(VerifyError, match="has the dtype float64; the model needs strings"):
        verify(strings, tmp_path / target, **given)


def test_strings_that_differ_are_shown() -> None:
    expected = np.array([["a", "b"], ["é", ""]], object)
    equal, other, shape = (Tolerance(0, 0).compare(texts, expected) for texts in
                           (expected.copy(), np.array([["a", "b"], ["e", ""]], object), expected[:1]))  # fmt: skip
    assert (equal.ok, equal.absolute) == (True, 0)
    assert (other.ok, other.reason) == (False, "is 'e' at [1, 0], expected 'é'")
    assert shape.reason == "has the shape [1, 2], expected [2, 2]"


def test_strings_come_back_as_they_were(tmp_path: Path) -> None:
    texts = np.array([["", "é"], ["a b", "未知"]], object)
    raw = np.array([text.encode() for text in texts.ravel()], object).reshape(texts.shape)
    save_arrays(tmp_path / "it.npz", [(texts, raw)])
    ((first, second),) = load_arrays(tmp_path / "it.npz")
    assert first.dtype == second.dtype == object
    assert (first == texts).all()
    assert (second == texts).all()


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="Keras has strings in TensorFlow only"
)
def test_random_strings_are_verified_by_keras(tmp_path: Path) -> None:
    text = layers.Input((3,), dtype="string", name="text")
    places = layers.StringLookup(vocabulary=TOKENS, mask_token="", name="places")(text)
    source = tmp_path / "model.keras"
    keras.Model(text, layers.Embedding(5, 2, name="table")(places)).save(source)
    convert(source, tmp_path / "web_model")
    assert verify(source, tmp_path / "web_model").ok


def test_files_get_the_names_that_keras_expects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keras_2, keras_3 = Keras("tf_keras", "2.21.0", "tensorflow"), Keras("keras", "3.15.1", "jax")
    folder = tmp_path / "names"
    folder.mkdir()
    shutil.copyfile(OLD, tmp_path / "some.weights.h5")
    assert loadable(OLD, folder, keras_3) == OLD
    assert loadable(OLD.with_name("functional.keras"), folder, keras_2) == OLD.with_name(
        "functional.keras"
    )
    by_name = loadable_weights(tmp_path / "some.weights.h5", folder)
    assert by_name.name == "by_name.h5"
    unzipped = RECORDED / "keras-3.15.1" / "dicts.unzipped"
    assert loadable(unzipped, folder, keras_3) == unzipped
    assert loadable_weights(unzipped / "model.weights.h5", folder) == unzipped / "model.weights.h5"
    zipped = loadable(unzipped, folder, keras_2)
    with read(zipped) as model:
        assert len(model.input_tensors) > 1
    by_name.unlink()

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(Path, "symlink_to", refuse)
    copy = loadable_weights(tmp_path / "some.weights.h5", folder)
    assert copy.read_bytes() == OLD.read_bytes()


# -------------------------------------------------------------------------------------------- random inputs


def inputs_of(model: keras.Model, folder: Path, batch: int = 3) -> tuple[Array, ...]:
    with read(saved(model, folder / "model.keras")) as described:
        return random_inputs(described, batch, np.random.default_rng(0))


def test_indices_stay_below_the_smallest_vocabulary(tmp_path: Path) -> None:
    inner_ids = layers.Input((6,), dtype="int32")
    inner = keras.Model(inner_ids, layers.Embedding(3, 2)(inner_ids), name="inner")
    ids, others, steps = (layers.Input(shape, dtype="int32") for shape in ((None,), (2, 3), (4, 6)))
    first = inner(layers.Reshape((6,))(others))
    second = layers.Embedding(9, 2, mask_zero=True)(ids)
    third = layers.TimeDistributed(layers.Embedding(5, 2))(steps)
    model = keras.Model([ids, others, steps], [first, second, third])
    ids_, others_, steps_ = inputs_of(model, tmp_path, batch=40)
    assert (ids_.shape, others_.shape, steps_.shape) == ((40, 7), (40, 2, 3), (40, 4, 6))
    assert {*others_.flat} == {0, 1, 2}
    assert {*steps_.flat} == {0, 1, 2, 3, 4}
    assert {*ids_.flat} == {*range(9)}
    padded = places_of_padding(ids_ == 0)
    assert padded[:2] == ["front middle end", "all"]
    assert set(padded) == {"front middle end", "all", "front", "end"}


def places_of_padding(padding: Array) -> list[str]:
    """Where the steps of each sample, [samples, steps], are padding."""
    places = []
    for row in padding:
        middle = row.size // 2
        alone = row[middle] and not row[middle - 1] and not row[middle + 1]
        here = {"front": row[0], "middle": alone, "end": row[-1]}
        places.append("all" if row.all() else " ".join(name for name, is_ in here.items() if is_))
    return places


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("bool", {0, 1}), ("uint8", {*range(256)}), ("int64", {*range(10)})],
)
def test_integers_are_of_the_input_s_dtype(dtype: str, values: set[int], tmp_path: Path) -> None:
    x = layers.Input((900,), dtype=dtype)
    (array,) = inputs_of(keras.Model(x, layers.Flatten()(x)), tmp_path)
    assert (array.dtype.name, {*array.flat} == values) == (dtype, True)


def test_numbers_are_small_but_pixels_are_not(tmp_path: Path) -> None:
    x = layers.Input((20, 20, 3))
    (array,) = inputs_of(keras.Model(x, layers.Conv2D(2, 3)(x)), tmp_path)
    assert array.dtype == "float32"
    assert -2 <= array.min() < -1.5 < 1.5 < array.max() <= 2
    (array,) = inputs_of(keras.Model(x, layers.Rescaling(1 / 127.5, offset=-1)(x)), tmp_path)
    assert (array.min(), array.max()) == (0, 255)
    halves = layers.Input((4,), dtype="bfloat16")
    (array,) = inputs_of(keras.Model(halves, layers.Dense(2)(halves)), tmp_path)
    assert array.dtype.name == "bfloat16"


def test_some_steps_are_masked(tmp_path: Path) -> None:
    x = layers.Input((9, 2))
    (array,) = inputs_of(keras.Model(x, layers.Masking(-1.5)(x)), tmp_path, batch=20)
    padded = places_of_padding((array == -1.5).all(axis=2))
    assert padded[:2] == ["front middle end", "all"]
    assert set(padded) == {"front middle end", "all", "front", "end"}


def test_given_masks_are_padding_too(tmp_path: Path) -> None:
    x, mask = layers.Input((9, 2)), layers.Input((9,), dtype="bool")
    _, given = inputs_of(keras.Model([x, mask], layers.LSTM(2)(x, mask=mask)), tmp_path, batch=4)
    assert not given[0, [0, 4, -1]].any()
    assert given[0].any()
    assert not given[1].any()


def u_net() -> keras.Model:
    x = layers.Input((None, None, 1))
    small = layers.MaxPooling2D(8)(layers.Conv2D(1, 3, padding="same")(x))
    return keras.Model(x, layers.Concatenate()([x, layers.UpSampling2D(8)(small)]))


def deep() -> keras.Model:
    x = layers.Input((None, None, 1))
    return keras.Model(x, layers.Conv2D(1, 9)(layers.MaxPooling2D(3)(x)))


def pair() -> keras.Model:
    a, b = layers.Input((None, 2)), layers.Input((None, 2))
    return keras.Model([a, b], layers.Add()([a, b]))


def fixed() -> keras.Model:
    x = layers.Input(batch_shape=(4, None, 2))
    return keras.Model(x, layers.Dense(2)(x))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (u_net, ((3, 8, 8, 1),)),
        (deep, ((3, 32, 32, 1),)),
        (pair, ((3, 7, 2), (3, 7, 2))),
        (fixed, ((4, 7, 2),)),
        (cnn, ((3, 7, 6, 3),)),
    ],
    ids=lambda of: getattr(of, "__name__", ""),
)
def test_open_sizes_are_filled_with_what_works(
    build: Callable[[], keras.Model], expected: tuple[tuple[int, ...], ...], tmp_path: Path
) -> None:
    with read(saved(build(), tmp_path / "model.keras")) as model:
        assert concrete_shapes(model, 3) == expected


def test_a_model_for_which_no_size_works_is_told(tmp_path: Path) -> None:
    a, b = layers.Input((None, 2), name="a"), layers.Input((None, 2), name="b")
    impossible = keras.Model([a, b], layers.Add()([a, layers.ZeroPadding1D(1)(b)]))
    with (
        read(saved(impossible, tmp_path / "model.keras")) as model,
        pytest.raises(
            VerifyError,
            match="of inputs 'a', 'b' with which the model works; give inputs with --inputs",
        ),
    ):
        random_inputs(model, 1, np.random.default_rng(0))


# --------------------------------------------------------------------------------------------- comparisons

TOLERANCE = Tolerance(rtol=0.1, atol=0.01)
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("actual", "expected", "ok", "absolute", "where"),
    [
        ([1, 2], [1, 2], True, 0, (0,)),
        ([1, 2.2], [1, 2], True, 0.2, (1,)),
        ([1, 2.22], [1, 2], False, 0.22, (1,)),
        (
            [100, 0.02],
            [109, 0],
            False,
            9,
            (1,),
        ),  # not the largest difference, but the largest that is not allowed
        ([NAN, 1], [NAN, 1], True, 0, (0,)),
        ([1, NAN], [1, 1], False, INF, (1,)),
        ([1, 1], [1, NAN], False, INF, (1,)),
        ([INF, -INF], [INF, -INF], True, 0, (0,)),
        ([INF, INF], [INF, -INF], False, INF, (1,)),
        ([1, 1e30], [1, INF], False, INF, (1,)),
        ([], [], True, 0, ()),
        (3, 3, True, 0, ()),
    ],
)
def test_differences(
    actual: Any, expected: Any, ok: bool, absolute: float, where: tuple[int, ...]
) -> None:
    found = TOLERANCE.compare(np.array(actual, "float64"), np.array(expected, "float64"))
    assert (found.ok, found.where) == (ok, where)
    assert found.absolute == pytest.approx(absolute)


SMALL = np.array([1e-7, -3e-8, 0], "float32")


@pytest.mark.parametrize(
    ("actual", "expected", "ok"),
    [
        (np.zeros(3), SMALL, False),
        (-SMALL, SMALL, False),
        (SMALL * np.float32(1.06), SMALL, False),
        (
            SMALL * np.float32(1.04),
            SMALL,
            True,
        ),  # within a twentieth, as much as a sigmoid of 1e-5 is rounded
        ([9.745359e-06], [9.779387e-06], True),  # the Sigmoid of ONNX Runtime, and that of Keras
        ([9.4e-06], [9.8e-06], False),
        ([1e-3, 2e-7], [1e-3, 0], True),
        ([1e-3, 3e-7], [1e-3, 0], False),
        (SMALL * np.float32(1 + 1e-6), SMALL, True),
        (SMALL + np.float32(5e-13), SMALL, True),  # 0 by 5e-13, of 1e-7
        (SMALL, np.zeros(3), True),
        ([0.5, 1e-6], [0.5, 0], True),
        ([0.5, 9e-6], [0.5, 0], False),
        ([50, 9e-6], [50, 0], True),
        ([50, 2e-5], [50, 0], False),
        ([0.0], [1e-40], True),  # below the normal numbers of float32
    ],
)
def test_small_outputs_are_held_to_their_size(actual: Any, expected: Any, ok: bool) -> None:
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert Tolerance(1e-4, 1e-5, scaled=True).compare(actual, expected).ok is ok
    assert Tolerance(1e-4, 1e-5).compare(actual, expected).ok is bool(
        np.abs(actual - expected).max() < 1.5e-5
    )


def test_the_tolerance_of_an_output_is_settled_over_all_batches() -> None:
    default = Tolerance(1e-4, 1e-5, scaled=True)
    assert default.settled([np.array([0.25]), np.array([-0.5, 0.1])]) == Tolerance(1e-4, 5e-6)
    assert default.settled([np.array([40.0])]) == Tolerance(1e-4, 1e-5)
    assert default.settled([np.zeros(3)]) == Tolerance(1e-4, 1e-5)
    assert default.settled([np.array([1e-30])]).atol == pytest.approx(1e-30 / 20)
    assert Tolerance(1e-4, 1e-3).settled([np.array([1e-9])]) == Tolerance(1e-4, 1e-3)


def test_arrays_of_other_shapes_differ() -> None:
    found = TOLERANCE.compare(np.zeros((2, 3)), np.zeros((2, 1)))
    assert (found.ok, found.reason) == (False, "has the shape [2, 3], expected [2, 1]")


def test_bools_and_integers_are_compared_as_numbers() -> None:
    assert TOLERANCE.compare(np.array([0.0, 1.0]), np.array([False, True])).ok
    assert not TOLERANCE.compare(np.array([0, 0]), np.array([False, True])).ok


def test_layers_are_compared_by_their_scale() -> None:
    actual, expected = np.array([0.5, 10]), np.array([0.0, 10])
    assert not TOLERANCE.compare(actual, expected).ok
    assert TOLERANCE.compare_to_scale(actual, expected).ok


def test_a_shared_layer_is_compared_with_its_nearest_call() -> None:
    calls = ((np.zeros(2),), (np.ones(2),), (np.zeros(3),))
    assert nearest((np.ones(2),), calls, TOLERANCE).ok
    found = nearest((np.full(2, 1.5),), calls, TOLERANCE)
    assert (found.ok, found.absolute) == (False, 0.5)


def test_a_divergence_is_looked_for_in_one_sample() -> None:
    feeds = [(np.arange(1),), (np.arange(3),)]
    ((sample,),) = telling_feeds(feeds, 1, (2, 0), fixed=False)
    assert sample.tolist() == [2]
    assert telling_feeds(feeds, 1, (2, 0), fixed=True) == feeds


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    groups = [
        (np.zeros((0, 2)), np.array(True)),
        (np.arange(3, dtype="bfloat16"),),
        *[(np.arange(2),)] * 9,
    ]
    save_arrays(tmp_path / "it.npz", groups)
    loaded = load_arrays(tmp_path / "it.npz")
    assert [[array.shape for array in group] for group in loaded] == [
        [array.shape for array in g] for g in groups
    ]
    assert loaded[1][0].tolist() == [0, 1, 2]


def verification(**changes: Any) -> Verification:
    worst: dict[str, Any] = {
        "absolute": 0.5,
        "relative": 0.25,
        "where": (2, 7),
        "actual": 1.5,
        "expected": 2.0,
        "allowed": 1e-4,
    }
    wrong = OutputError(
        **worst, ok=False, backend="cpu", name="<probs>", batch=1, batch_size=3, atol=1e-5
    )
    shape = OutputError(INF, INF, (), NAN, NAN, 0, ok=False, reason="has the shape [2], expected [3]", backend="wasm",
                        name="y", batch_size=3, atol=1e-5)  # fmt: skip
    layer = LayerDivergence(
        **worst, ok=False, backend="cpu", name="conv", tfjs_name="conv", class_name="Conv2D"
    )
    options: dict[str, Any] = {
        "outputs": (wrong, shape),
        "diverges": layer,
        "notes": ("so & so",),
        **changes,
    }
    return Verification(
        "model.keras",
        "out",
        "Keras 3.15.1 (jax)",
        ("cpu", "wasm"),
        1e-4,
        1e-5,
        seconds={"cpu": 2},
        **options,
    )


TEXT = """\
out computes different numbers than model.keras

  Reference  Keras 3.15.1 (jax)
  Tolerance  rtol 0.0001, atol 1e-05
  Time       cpu 2.0 s

Largest difference of each output
  backend  output   batch  error  allowed  at      TF.js  Keras
  cpu      <probs>  3      0.5    0.0001   [2, 7]  1.5    2
  wasm     y        3      -      -        -       -      -

Outputs that cannot be compared
  y on wasm: has the shape [2], expected [3]

First layer that differs
  conv (Conv2D), on cpu
    1.5 in TF.js, 2 in Keras at [2, 7], a difference of 0.5; the tolerance is
    0.0001

Notes
  - so & so"""


def flat(report: Any) -> str:
    """The text of a report without its line breaks and indentation."""
    return " ".join(str(report).split())


def test_a_verification_prints_well() -> None:
    assert str(verification()) == TEXT
    page = verification()._repr_html_()
    assert "&lt;probs&gt;" in page
    assert "so &amp; so" in page
    assert "rtol 0.0001, atol 2e-07 to 1e-05" in str(
        verification(
            outputs=[replace(verification().outputs[0], atol=atol) for atol in (1e-5, 2e-7)]
        )
    )
    document = verification().to_dict()
    assert document["outputs"][1]["absolute"] == "inf"
    assert document["outputs"][0]["where"] == [2, 7]
    json.dumps(document, allow_nan=False)
    assert str(verification().outputs[0]).startswith("output '<probs>' on cpu: 1.5 in TF.js")
    assert str(verification().outputs[1]) == "output 'y' on wasm: has the shape [2], expected [3]"


def test_keras_is_never_imported_beside_a_user_s_program() -> None:
    code = "import sys; sys.path[:] = sys.argv[1:]; import kerasport.verification; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, *sys.path], check=True)
