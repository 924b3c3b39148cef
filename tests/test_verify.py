"""Verification: the original in Keras and the converted model in TF.js, both for real."""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import numpy as np
import pytest
from keras import layers
from tests.verified import (
    OLD,
    RECORDED,
    cnn,
    converted,
    corrupt,
    dicts,
    flat,
    hide_keras,
    saved,
    unzipped,
    words,
)

from kerasport.api import convert, verify
from kerasport.errors import MismatchError, OptionError, VerifyError
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.read import read
from kerasport.verification.comparison import Tolerance
from kerasport.verification.inputs import random_inputs
from kerasport.verification.references import original
from kerasport.verification.references.keras_runner import load_arrays, save_arrays
from kerasport.verification.references.original import (
    Keras,
    loadable,
    loadable_weights,
)

# ---------------------------------------------------------------------------- models that are right


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


# ---------------------------------------------------------------------------- models that are wrong


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
    assert "rounding explains the errors: use --atol 1e-05" in flat(result)
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


def test_a_converted_model_of_another_source_is_refused(tmp_path: Path) -> None:
    source = saved(words(), tmp_path / "words.keras")
    _, out = converted(dicts, tmp_path)
    with pytest.raises(
        VerifyError,
        match="has 2 inputs, but the original has 1 input; it was converted from another",
    ):
        verify(source, out)


# ----------------------------------------------------------------------------------------- refusals


def test_models_that_cannot_be_verified_are_errors(tmp_path: Path) -> None:
    source = saved(dicts(), tmp_path / "model.keras")
    with pytest.raises(
        VerifyError, match="no such converted model; create it with kerasport convert"
    ):
        verify(source, tmp_path / "nothing")
    with pytest.raises(VerifyError, match=r"not the model\.json of a TF\.js model"):
        verify(source, source)
    with pytest.raises(VerifyError, match="give both --inputs and --expected"):
        verify(source, tmp_path, expected=tmp_path / "out.npz")
    for backends in (["webgl"], "webgl"):
        with pytest.raises(OptionError, match=r"unknown backend 'webgl'; .* are cpu and wasm"):
            verify(source, tmp_path, backends=backends)
    with pytest.raises(TypeError, match="expected a path or a Keras model, got int"):
        verify(3, tmp_path)


def test_without_keras_the_error_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = converted(words, tmp_path)
    hide_keras(monkeypatch)
    with pytest.raises(
        VerifyError, match=r"pip install keras, .*\. Or give inputs and .* --expected out\.npz"
    ):
        verify(*pair)


@pytest.mark.exhaustive
def test_errors_of_keras_are_summarized(tmp_path: Path) -> None:
    convert(OLD, tmp_path / "out")
    with pytest.raises(
        VerifyError,
        match=r"^Keras 3.* cannot run .*functional\.h5: ValueError: Invalid .* …; tf_keras may "
        r"be able to: pip install tf_keras",
    ) as refusal:
        verify(OLD, tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_a_missing_backend_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = converted(words, tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "mxnet")
    with pytest.raises(
        VerifyError,
        match=r"KERAS_BACKEND is 'mxnet', and no such backend is installed; available: .*jax",
    ):
        verify(*pair)


def test_a_crashed_child_process_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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


# ------------------------------------------------------------------------------------------ strings


TOKENS = ["red", "grün", "blue"]


@pytest.fixture
def strings(tmp_path: Path) -> Path:
    """An architecture with a StringLookup, as Keras writes it."""
    layer = {
        "class_name": "StringLookup",
        "name": "places",
        "config": {
            "name": "places",
            "vocabulary": TOKENS,
            "mask_token": "",
            "num_oov_indices": 1,
            "output_mode": "int",
        },
        "inbound_nodes": [[["text", 0, 0, {}]]],
    }
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
def test_user_strings_are_verified(target: str, strings: Path, tmp_path: Path) -> None:
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
    equal, other, shape = (
        Tolerance(0, 0).compare(texts, expected)
        for texts in (expected.copy(), np.array([["a", "b"], ["e", ""]], object), expected[:1])
    )
    assert (equal.ok, equal.absolute) == (True, 0)
    assert (other.ok, other.reason) == (False, "is 'e' at [1, 0], expected 'é'")
    assert shape.reason == "has the shape [1, 2], expected [2, 2]"


def test_strings_survive_the_wire_format(tmp_path: Path) -> None:
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
