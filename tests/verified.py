"""Models that the tests of verification share, saved and converted."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import numpy as np
import pytest
from keras import layers

from kerasport.api import convert

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


def unzipped(folder: Path) -> tuple[Path, None]:
    shutil.copytree(RECORDED / "keras-3.15.1" / "dicts.unzipped", folder / "model")
    return folder / "model", None


def pair() -> keras.Model:
    a, b = layers.Input((None, 2)), layers.Input((None, 2))
    return keras.Model([a, b], layers.Add()([a, b]))


def flat(report: Any) -> str:
    """The text of a report without its line breaks and indentation."""
    return " ".join(str(report).split())
