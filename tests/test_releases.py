"""What depends on the release of Keras that wrote a file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.cases.trial import quiet, randomise

from kerasport.lower import lower
from kerasport.read import read

STEPS = 5
TOKENS = np.array([[0, 3, 0, 1, 0], [0, 0, 0, 0, 0], [2, 4, 1, 0, 0]], np.int32)


def numbers(tensor: Any) -> Any:
    """A tensor of Keras as an array."""
    return keras.ops.convert_to_numpy(tensor)


def of_release(path: Path, version: str) -> Path:
    """A copy of a `.keras` file that names another version of Keras."""
    copy = path.with_stem(f"of_{version}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "metadata.json":
                data = json.dumps({**json.loads(data), "keras_version": version}).encode()
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
    embedding, first, second = layers.Embedding(6, 4, mask_zero=True), PASSED_ON[name](), layers.LSTM(2)
    model = keras.Sequential([layers.Input((STEPS,), dtype="int32"), embedding, first, second])
    randomise(model, np.random.default_rng(0))
    with quiet():
        model.save(tmp_path / "model.keras")
    # the layer gets its mask in both releases; the one behind it gets a mask in 3.15 alone
    masked = numbers(model(TOKENS))
    unmasked = numbers(second(numbers(first(embedding(TOKENS)))))
    assert np.abs(masked - unmasked).max() > 1e-2
    for version, wanted in (("3.15.1", masked), ("3.16.0", unmasked), ("3.17.2", unmasked)):
        with read(of_release(tmp_path / "model.keras", version)) as read_model:
            (got,) = lower(read_model).run(TOKENS)
        np.testing.assert_allclose(got, wanted, 1e-4, 1e-5, err_msg=version)
