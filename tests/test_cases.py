"""Every model of the table is read, converted, run in all runtimes, and compared with Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import h5py
import keras
import numpy as np
import onnx
import pytest
from tests import onnx_runtime
from tests.cases import CASES
from tests.cases.case import GRAPH_MODEL, LAYERS_MODEL, ONNX, Case
from tests.cases.graphs import REFUSED_BY_GRAPHS, REFUSED_BY_TFJS
from tests.cases.trial import Trial, inner_layers, quiet
from tests.lowered import same
from tests.netron import Netron

import kerasport
from kerasport.frontends.keras.infer import Inference, agree
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.read import read
from kerasport.targets.tfjs.layers.rewrites import REWRITES
from kerasport.targets.tfjs.layers.spelling.native import NATIVE
from kerasport.verification.runtime import Run
from kerasport.verification.runtimes.tfjs import Backend, Tfjs

BACKENDS: tuple[Backend, ...] = get_args(Backend)


# The report in model.json maps __proto__ to another name, and Netron refuses JSON with that key.
NOT_IN_NETRON = frozenset(("names_of_javascript",))


# Keras on JAX has no strings. Other tests compare them with numpy.
NOT_IN_KERAS = frozenset(("string_input",))


def no_constant(name: str) -> Any:
    raise ValueError(f"JSON knows no {name}")


def refusal(case: Case, target: str) -> str:
    """Part of the reason for which a target refuses a row; empty if it does not."""
    own = case.refused.get(target, "")
    if target == GRAPH_MODEL:
        own = REFUSED_BY_TFJS.get(case.name, own)
    return own if target == LAYERS_MODEL else REFUSED_BY_GRAPHS.get(case.name, own)


@pytest.mark.parametrize("target", [LAYERS_MODEL, GRAPH_MODEL])
def test_tfjs_computes_what_keras_computes_or_the_model_is_refused(
    trial: Trial, target: str, tfjs: Tfjs, netron: Netron, tmp_path: Path
) -> None:
    case, out = trial.case, tmp_path / "web_model"
    refused = refusal(case, target)
    if refused:
        with pytest.raises(kerasport.UnsupportedModel) as raised:
            kerasport.convert(trial.path, out, to=target)
        assert refused in str(raised.value)
        assert not list(tmp_path.iterdir())
        return
    conversion = kerasport.convert(trial.path, out, to=target)
    assert ("kerasport-layers.js" in conversion.files) is bool(
        target == LAYERS_MODEL and case.companion
    )
    json.loads((out / "model.json").read_text(encoding="utf-8"), parse_constant=no_constant)
    if case.name not in NOT_IN_NETRON:
        assert (
            netron.open(out / "model.json").format
            == f"TensorFlow.js {target.removeprefix('tfjs-')}-model"
        )
    for backend in BACKENDS:
        compare(trial, tfjs.run(out, trial.feeds, backend=backend), backend)


def test_onnx_runtime_computes_what_keras_computes_or_the_model_is_refused(
    trial: Trial, netron: Netron, tmp_path: Path
) -> None:
    case, out = trial.case, tmp_path / "model.onnx"
    if case.name in NOT_IN_KERAS:
        pytest.skip("Keras on JAX has no strings")
    refused = refusal(case, ONNX)
    if refused:
        with pytest.raises(kerasport.UnsupportedModel) as raised:
            kerasport.convert(trial.path, out)
        assert refused in str(raised.value)
        assert not list(tmp_path.iterdir())
        return
    conversion = kerasport.convert(trial.path, out)
    assert [path.name for path in tmp_path.iterdir()] == [*conversion.files] == ["model.onnx"]
    assert out.stat().st_size == conversion.nbytes
    onnx.checker.check_model(str(out), full_check=True)
    assert netron.open(out).format.startswith("ONNX v")
    for expected, computed in zip(trial.expected, onnx_runtime.run(out, trial.feeds), strict=True):
        onnx_runtime.close(expected, computed, case.rtol, case.atol)


def compare(trial: Trial, run: Run, backend: str) -> None:
    """Assert that TF.js computed what Keras computes, within the bounds of the row."""
    for expected, computed in zip(trial.expected, run.results, strict=True):
        for index, (wanted, got) in enumerate(zip(expected, computed, strict=True)):
            where = f"output {index} on {backend}"
            assert got.shape == wanted.shape, where
            np.testing.assert_allclose(
                got.astype("float64"),
                wanted.astype("float64"),
                trial.case.rtol,
                trial.case.atol,
                err_msg=where,
            )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.companion], ids=lambda case: case.name
)
def test_without_the_companion_a_model_that_needs_it_is_refused(case: Case, tmp_path: Path) -> None:
    trial = Trial(case, tmp_path)
    with pytest.raises(kerasport.UnsupportedModel) as raised:
        kerasport.convert(trial.path, tmp_path / "web_model", to=LAYERS_MODEL, companion=False)
    assert case.companion in str(raised.value)
    assert "--no-companion" in str(raised.value)
    assert not (tmp_path / "web_model").exists()


def test_numpy_computes_what_keras_computes(trial: Trial) -> None:
    """The graph of a model means what its layers do, whatever a target makes of it."""
    if trial.case.name in REFUSED_BY_GRAPHS or trial.case.name in NOT_IN_KERAS:
        pytest.skip("there is no graph, or nothing to compare with")
    with read(trial.path) as model:
        graph = lower(model)
        for feeds, expected in zip(trial.feeds, trial.expected, strict=True):
            same(graph, feeds, expected, trial.case, "by numpy")


# Keras takes the backward half for as large as the forward one, the batch for that of the
# constant, the indices of a sample for its rows, and a spectrogram for a frame longer than it is.
MISTAKEN_SHAPES = frozenset(
    (
        "category_encoding_multi_hot_rank_3",
        "category_encoding_count_rank_3",
        "bidirectional_of_other_size",
        "added_to_a_constant",
        "mel_spectrogram_rescaled",
    )
)


def test_shapes_are_those_of_keras(trial: Trial) -> None:
    if trial.case.name in MISTAKEN_SHAPES:
        pytest.skip("Keras is wrong")
    with read(trial.path) as model:
        inferred = Inference()
        inferred.model(model)
        tensors = (*model.input_tensors, *model.output_tensors)
        shapes = [inferred.shapes.get(tensor) for tensor in tensors]
    declared = [*trial.model.inputs, *trial.model.outputs]
    for tensor, shape, of_keras in zip(tensors, shapes, declared, strict=True):
        # layers beyond kerasport's tables leave a shape unknown
        assert shape is None or agree(shape, tuple(of_keras.shape)), tensor


def test_shapes_of_unsupported_layers_come_from_the_file() -> None:
    entry = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 4], "dtype": "int32"}))
    hashing = LayerSpec("hashing", "Hashing", {"num_bins": 8, "output_mode": "one_hot"})
    hashed = Call(hashing, (KerasTensor(entry),), declared={0: (None, 4, 8)})
    inferred = Inference()
    inferred.model(
        KerasModel(
            "model", "functional", (entry, hashed), (KerasTensor(entry),), (KerasTensor(hashed),)
        )
    )
    assert inferred.shapes[KerasTensor(hashed)] == (None, 4, 8)


def test_hdf5_and_keras_files_convert_to_the_same_layers_model(
    trial: Trial, tmp_path: Path
) -> None:
    if LAYERS_MODEL in trial.case.refused:
        pytest.skip("there is none")
    with quiet():
        try:
            trial.model.save(tmp_path / "model.h5")
        except TypeError:
            pytest.skip("Keras cannot save it as HDF5")
    kerasport.convert(trial.path, tmp_path / "archive", to=LAYERS_MODEL)
    kerasport.convert(tmp_path / "model.h5", tmp_path / "hdf5", to=LAYERS_MODEL)
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / of).iterdir()}
        for of in ("archive", "hdf5")
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: keras.ops.transpose(x, (1, 0)), "the batch axis"),
        (lambda x: x - keras.ops.mean(x, 0, keepdims=True), "reduces the batch"),
        (lambda x: keras.ops.reshape(x, (-1, 2)), "reshapes across the batch"),
        (lambda x: keras.ops.flip(x), "reverses the batch"),
    ],
    ids=["transpose", "mean", "reshape", "flip"],
)
def test_functions_across_the_batch_are_refused_in_a_layers_model(
    function: Any, reason: str, tmp_path: Path
) -> None:
    x = keras.Input((4,))
    keras.Model(x, function(x)).save(tmp_path / "model.keras")
    with pytest.raises(kerasport.UnsupportedModel, match=reason):
        kerasport.convert(tmp_path / "model.keras", tmp_path / "out", to=LAYERS_MODEL)


def test_ranks_above_the_limit_of_tfjs_are_refused(tmp_path: Path) -> None:
    x = keras.Input((1, 2, 1, 2, 1, 3))
    keras.Model(x, x * x).save(tmp_path / "model.keras")
    with pytest.raises(kerasport.UnsupportedModel, match="tensors of rank 7 or more"):
        kerasport.convert(tmp_path / "model.keras", tmp_path / "out", to=GRAPH_MODEL)
    with pytest.raises(kerasport.UnsupportedModel, match="tensors of rank 7 or more"):
        kerasport.convert(tmp_path / "model.keras", tmp_path / "out", to=LAYERS_MODEL)
    kerasport.convert(tmp_path / "model.keras", tmp_path / "model.onnx")
    fed = np.arange(12, dtype="float32").reshape(1, 1, 2, 1, 2, 1, 3)
    onnx_runtime.close([fed * fed], onnx_runtime.run(tmp_path / "model.onnx", [[fed]])[0], 1e-6, 0)


def test_names_of_rows_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))


def test_unusual_tolerances_have_a_reason() -> None:
    assert [
        case.name for case in CASES if (case.rtol, case.atol) != (1e-4, 1e-5) and not case.because
    ] == []


# Keras 3 has no such layer, so no row of the table can hold it.
ONLY_IN_KERAS_2 = frozenset(("ThresholdedReLU",))
# Those of test_applications.py, and those that only files of other versions have, in
# test_recorded.py.
IN_OTHER_PLACES = frozenset(("LayerScale", "CustomScaleLayer", "RandomCrop", "TernaryDense"))
CELLS = frozenset(("StackedRNNCells",))  # in rows that are named after the layer around it


@pytest.mark.parametrize("class_name", sorted(set(NATIVE) - ONLY_IN_KERAS_2 - CELLS))
def test_every_native_layer_is_in_a_model_that_converts(class_name: str) -> None:
    assert covering(class_name), f"no row that becomes a layers-model has covers=({class_name!r},)"


def covering(class_name: str) -> list[Case]:
    """Rows that cover a layer and become a layers-model."""
    return [
        case for case in CASES if class_name in case.covers and LAYERS_MODEL not in case.refused
    ]


def test_rows_contain_the_layers_that_they_cover(trial: Trial) -> None:
    assert classes(trial.model) | {"InputLayer"} >= set(trial.case.covers)


def classes(model: keras.Model) -> set[str]:
    """Classes of all layers of a model."""
    return {type(layer).__name__ for layer in inner_layers(model)}


@pytest.mark.parametrize("class_name", sorted(set(REWRITES) - IN_OTHER_PLACES))
def test_every_rewritten_layer_is_in_a_model_that_converts(class_name: str, tmp_path: Path) -> None:
    assert any(
        is_rewritten(case, class_name, tmp_path / case.name) for case in covering(class_name)
    )


def is_rewritten(case: Case, class_name: str, folder: Path) -> bool:
    """Whether the layers-model of a row, compared with Keras, rewrites a layer of a class."""
    folder.mkdir()
    checked = kerasport.check(Trial(case, folder).path, to=LAYERS_MODEL)
    return any(
        layer.class_name == class_name and layer.outcome == "rewritten" for layer in checked.layers
    )


@pytest.mark.parametrize("class_name", sorted(NATIVE))
def test_native_table_names_every_option(class_name: str) -> None:
    assert set(NATIVE[class_name].options) == set(LAYERS[class_name].defaults)


def of_keras_2(path: Path, *layers: tuple[str, Any]) -> None:
    """Write a Sequential of layers without weights as Keras 2 does."""
    entries = [
        {"class_name": name, "config": {"trainable": True, "dtype": "float32", **c}}
        for name, c in layers
    ]
    with h5py.File(path, "w") as file:
        root = {"class_name": "Sequential", "config": {"name": "model", "layers": entries}}
        file.attrs["model_config"] = json.dumps(root)
        file.attrs["keras_version"] = "2.4.0"
        weights, names = (
            file.create_group("model_weights"),
            [config["name"].encode() for _, config in layers],
        )
        weights.attrs["layer_names"] = np.array(names)
        for name in names:
            weights.create_group(name).attrs["weight_names"] = np.empty(0, "S1")


@pytest.mark.parametrize("to", [LAYERS_MODEL, GRAPH_MODEL])
def test_masks_that_keras_2_creates_in_each_time_step_are_refused(to: Any, tmp_path: Path) -> None:
    def each(name: str, class_name: str, **options: Any) -> tuple[str, Any]:
        return "TimeDistributed", {
            "name": name,
            "layer": {"class_name": class_name, "config": {"name": "l", **options}},
        }

    masked, mean = each("masked", "Masking", mask_value=0.0), each("mean", "GlobalAveragePooling1D")
    masked[1]["batch_input_shape"] = [None, 4, 5, 3]
    of_keras_2(tmp_path / "model.h5", masked, mean)
    with pytest.raises(kerasport.UnsupportedModel, match=r"'masked'.*Keras 2 passes on the masks"):
        kerasport.convert(tmp_path / "model.h5", tmp_path / "out", to=to)


def test_thresholded_relu_of_keras_2(tfjs: Tfjs, tmp_path: Path) -> None:
    layer = {"name": "thresholded", "theta": 0.5, "batch_input_shape": [None, 4]}
    of_keras_2(tmp_path / "model.h5", ("ThresholdedReLU", layer))
    kerasport.convert(tmp_path / "model.h5", tmp_path / "web_model", to=LAYERS_MODEL)
    x = np.array([[-1, 0.4, 0.5, 0.6]], np.float32)
    for backend in BACKENDS:
        ((got,),) = tfjs.run(tmp_path / "web_model", [[x]], backend=backend).results
        np.testing.assert_array_equal(got, np.where(x > 0.5, x, 0))
