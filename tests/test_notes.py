"""Notes on weights that are not finite, and on sizes that browsers do not load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers

import kerasport
from kerasport.errors import OptionError
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.program import parts_of
from kerasport.frontends.keras.read import read
from kerasport.targets import TARGETS, Plan, options_of, planned
from kerasport.targets.notes import not_finite
from kerasport.weights import ComputedWeight, Weight

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of Keras, about numpy

NAMES = ("tfjs-layers", "tfjs-graph", "onnx")


def every_kind() -> keras.Model:
    """Layers whose weights are stored, folded, joined or written as constants."""
    image, words = layers.Input((6, 5, 2)), layers.Input((4,), dtype="int32")
    x = layers.Normalization(mean=[0.5, 1.0], variance=[2.0, 3.0])(image)
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 2, name="conv")(x))
    x = layers.PReLU(name="prelu")(x)
    y = layers.LSTM(3, name="lstm")(layers.Embedding(5, 4, name="words")(words))
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), y])
    return keras.Model([image, words], layers.Dense(2, name="answer")(joined))


def spoiled(path: Path, **values: float) -> Path:
    """The model on disk, the first number of each weight of some layers replaced."""
    model = every_kind()
    for name, value in values.items():
        layer = model.get_layer(name)
        weights = layer.get_weights()
        for weight in weights:
            weight.flat[0] = value
        layer.set_weights(weights)
    model.save(path)
    return path


def test_weights_that_are_not_finite_are_named_and_kept(tmp_path: Path) -> None:
    source = spoiled(
        tmp_path / "m.keras",
        conv=np.nan,
        norm=np.inf,
        prelu=-np.inf,
        words=np.nan,
        lstm=np.nan,
        answer=np.inf,
    )
    for to in NAMES:
        out = tmp_path / ("m.onnx" if to == "onnx" else to)
        for notes in (
            kerasport.check(source, to=to).notes,
            kerasport.convert(source, out, to=to).notes,
        ):
            (note,) = [note for note in notes if "NaN or infinity" in note]
            assert "layer 'conv': 2 NaN of 27 numbers" in note
            assert "layer 'norm': 4 infinite of 12 numbers" in note
            assert "and 1 more layer(s)" in note
            assert "use an earlier checkpoint" in note


@pytest.mark.parametrize("to", ["tfjs-layers", "onnx"])
def test_finite_weights_have_no_note(to: str, tmp_path: Path) -> None:
    assert not [
        note
        for note in kerasport.check(spoiled(tmp_path / "m.keras", conv=3e38), to=to).notes
        if "NaN" in note
    ]


@pytest.mark.exhaustive
def test_results_for_nan_match_keras(tmp_path: Path) -> None:
    source = spoiled(tmp_path / "m.keras", answer=np.nan)
    for out in ("layers", "m.onnx"):
        kerasport.convert(source, tmp_path / out)
        assert kerasport.verify(source, tmp_path / out).ok


def model_of(*arrays: Any) -> KerasModel:
    def weight(array: Any) -> Weight:
        return ComputedWeight(array.dtype, array.shape, lambda: array)

    spec = LayerSpec("a", "Dense", {}, tuple(map(weight, arrays)))
    return replace(EMPTY, calls=(kerasport.frontends.keras.model.Call(spec),))


EMPTY = KerasModel("m", "sequential", (), (), ())


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array([1, np.nan, np.inf, -np.inf], "float16"), "1 NaN and 2 infinite of 4 numbers"),
        (np.array([1, np.nan], ml_dtypes.bfloat16), "1 NaN of 2 numbers"),
        (np.array([1e300, 2.0]), "1 infinite of 2 numbers"),  # beyond float32
        (np.array([65504.0, 6e-8], "float16"), ""),
        (np.array([3.4e38, -3.4e38], "float32"), ""),
        (np.array([2**31 - 1], "int32"), ""),
        (np.array([True]), ""),
        (np.zeros((0, 3), "float32"), ""),
        (
            np.append(np.zeros(3_000_000, "float32"), np.float32(np.nan)),
            "1 NaN of 3,000,001 numbers",
        ),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_numbers_that_are_not_finite(array: Any, told: str) -> None:
    notes = list(not_finite(parts_of(model_of(array))))
    assert len(notes) == bool(told)
    assert not told or told in notes[0]


SIZES = (2**14, 2**40)


def test_sizes_that_browsers_cannot_allocate_are_noted(tmp_path: Path) -> None:
    large = ComputedWeight(np.dtype(np.float32), (500_000_001,), lambda: np.zeros(1, np.float32))
    keras.Sequential([layers.Input((3,)), layers.Dense(2)]).save(tmp_path / "m.keras")
    with read(tmp_path / "m.keras") as model:
        for to, wanted in (("tfjs-graph", 2), ("tfjs-layers", 2), ("onnx", 1)):
            plan = planned(model, to)
            options = {size: options_of(TARGETS.values(), shard_size=size) for size in SIZES}
            small, huge = (options[size][to] for size in SIZES)
            assert not list(plan.target.notes(plan, huge))
            plan = replace(plan, weights={"kernel": large})
            assert len(list(plan.target.notes(plan, huge))) == wanted
            assert len(list(plan.target.notes(plan, small))) == 1  # the weight itself
            halves = ComputedWeight(np.dtype(np.float32), (260_000_000,), large.compute)
            plan = replace(plan, weights={"a": halves, "b": halves})
            assert len(list(plan.target.notes(plan, small))) == (to == "onnx")


def test_too_many_shards_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasport.targets.tfjs.document.MOST_SHARDS", 2)
    keras.Sequential([layers.Input((300,)), layers.Dense(100)]).save(tmp_path / "m.keras")
    with pytest.raises(OptionError, match="more than 2 files; make them at least 60,200 bytes"):
        kerasport.convert(tmp_path / "m.keras", tmp_path / "out", shard_size=20_000)
    kerasport.convert(tmp_path / "m.keras", tmp_path / "out", shard_size=60_200)
    with pytest.raises(
        OptionError,
        match=r"shard_size is an option of TF\.js layers-models and TF.js graph-models only",
    ):
        kerasport.convert(tmp_path / "m.keras", tmp_path / "m.onnx", shard_size=20_000)
    with pytest.raises(OptionError, match="at least 16,384 bytes") as caught:
        kerasport.convert(tmp_path / "m.keras", tmp_path / "new", shard_size=16_000)
    assert caught.value.option == "shard_size"
    assert json.loads((tmp_path / "out" / "model.json").read_text())["weightsManifest"][0]["paths"]


@pytest.mark.parametrize("to", ["tfjs-layers", "tfjs-graph", "onnx"])
def test_a_float64_model_is_noted(to: str) -> None:
    """Every target computes in float32. A dtype of integers is no such policy."""

    def model(**options: str) -> KerasModel:
        config = {"units": 1, "use_bias": False, **options}
        kernel = np.ones((3, 1), "float32")
        x = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 3], "dtype": "float32"}))
        weight = ComputedWeight(kernel.dtype, kernel.shape, lambda: kernel)
        y = Call(LayerSpec("y", "Dense", config, (weight,)), (KerasTensor(x),))
        return KerasModel("m", "functional", (x, y), (KerasTensor(x),), (KerasTensor(y),))

    def noted(plan: Plan) -> bool:
        return any("uses the dtype float64" in note for note in plan.notes)

    assert noted(planned(model(dtype="float64"), to))
    assert not noted(planned(model(dtype="float32"), to))
