"""Files of many versions of Keras, compared with what those versions computed themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.cases.case import GRAPH_MODEL, LAYERS_MODEL

import kerasport
from kerasport.frontends.keras.model import LayerSpec, Operation
from kerasport.frontends.keras.read import read
from kerasport.verification.runtimes.tfjs import Backend, Tfjs
from kerasport.weights import Array

RECORDED = Path(__file__).parent / "recorded"
BACKENDS: tuple[Backend, ...] = get_args(Backend)

STRUCTURES: Mapping[str, str] = {
    "functional": (
        "4 InputLayer, Conv2D, BatchNormalization, LeakyReLU, Add, GlobalAveragePooling2D, "
        "3 Dense, LayerNormalization, Concatenate"
    ),
    "unshared": "3 InputLayer, Conv2D, BatchNormalization, LeakyReLU, GlobalAveragePooling2D, "
    "Concatenate, Dense",
    "shared": "2 InputLayer, Dense, Subtract",
    "sequential": (
        "InputLayer, Conv2D, BatchNormalization, DepthwiseConv2D, PReLU, MaxPooling2D, "
        "LeakyReLU, Flatten, 2 Dense"
    ),
    "recurrent": "2 InputLayer, Embedding, Bidirectional, 4 LSTM, GRU, TimeDistributed, Dense",
    "masks": (
        "2 InputLayer, 2 Embedding, Add, 3 LSTM, 2 Concatenate, Multiply, Maximum, 2 Dense, "
        "MultiHeadAttention"
    ),
    "stops": (
        "InputLayer, Embedding, 9 LSTM, GRU, 2 SimpleRNN, RNN, LSTMCell, TimeDistributed, 2 Dense, "
        "GlobalAveragePooling1D, Add"
    ),
    "both_ways": "InputLayer, Embedding, 2 Bidirectional, 6 LSTM, 2 GRU, Softmax",
    "newer_ops": (
        "2 InputLayer, TopK, MatrixPower, 2 GetItem, ColumnStack, ExtractPatches, Multiply, "
        "ReconstructPatches, Roll, Average"
    ),
    "ternary": "InputLayer, 2 Dense, 2 TernaryDense",
    "ternary_dense": "InputLayer, 3 TernaryDense",
    "categories": "InputLayer, 2 CategoryEncoding, Dense",
    "augmented": "InputLayer, RandomFlip, Pipeline, RandomBrightness, Rescaling, Resizing, "
    "Dropout, Conv2D",
    "lookups": "2 InputLayer, 5 StringLookup, 3 IntegerLookup, Embedding, Flatten, Dense",
    "frozen": "3 InputLayer, 3 Dense, 2 BatchNormalization",
    "ops": "InputLayer, Multiply, Add, Dense, Mean, GetItem, Relu",
    "tf_ops": "InputLayer, 4 TFOpLambda, SlicingOpLambda, Dense",
    "crops": "InputLayer, 2 RandomCrop, GlobalAveragePooling2D",
    "dicts": "2 InputLayer, Concatenate, Dense",
    "sharded": "InputLayer, 2 Dense",
    "lora": "InputLayer, 2 Dense",
    **dict.fromkeys(
        ("mixed_float16", "float16", "bfloat16"), "InputLayer, 2 Dense, BatchNormalization"
    ),
    **dict.fromkeys(
        ("int8", "int4", "float8"),
        "InputLayer, Embedding, EinsumDense, GlobalAveragePooling1D, Dense",
    ),
    "keras_1": (
        "InputLayer, Conv2D, BatchNormalization, Activation, LeakyReLU, Concatenate, "
        "MaxPooling2D, Flatten, Dense"
    ),
    "keras_1_merged": (
        "4 InputLayer, Conv2D, ZeroPadding2D, UpSampling2D, AveragePooling2D, 2 Flatten, "
        "4 Dense, Conv1D, LSTM, Multiply"
    ),
    "alone": (
        "2 InputLayer, Embedding, UpSampling2D, Bidirectional, 2 GRU, Reshape, RNN, "
        "StackedRNNCells, LSTMCell, GRUCell"
    ),
    "gpu": "InputLayer, LSTM, Bidirectional, 2 GRU, Dense",
    "keras_1_recurrent": "InputLayer, Conv1D, LSTM, TimeDistributed, 2 Dense, Bidirectional, "
    "2 GRU, SimpleRNN",
}
"""Layers of each model, those inside others included."""

OLDER = {"keras-2.2.4/functional": {"LayerNormalization": "BatchNormalization"}}
"""Layers that a writer did not have yet, and what it was given for them."""

REFUSED: Mapping[str, tuple[str, ...]] = {
    # each reason stands for a layer: all must be given at once
    "lookups": (
        "StringLookup: a layers-model cannot have strings",
        "IntegerLookup: TF.js has no layer that compares",
    ),
    "masks": ("MultiHeadAttention: TF.js does not have this layer",),
    "both_ways": ("at masked time steps Keras returns zeros",),
    "newer_ops": ("TopK: it computes TopK", "ExtractPatches: it computes Conv"),
}

BOUNDS: Mapping[str, float] = {
    # Keras rounded each step to 16 bits, TF.js rounds it to 32
    "mixed_float16": 1e-3,
    "float16": 1e-3,
    "bfloat16": 1e-2,
    # Keras rounds what these layers are given to 8 bits, too
    "int8": 1e-2,
    "float8": 2e-2,
}


@dataclass(frozen=True)
class Recorded:
    """A file, with its weights where they are in another."""

    path: Path
    weights: Path | None = None

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.path.name.split(".")[0]

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    def arrays(self, prefix: str) -> tuple[Array, ...]:
        """The inputs or outputs of Keras."""
        with np.load(self.path.parent / f"{self.model}.npz") as recorded:
            count = sum(name.startswith(prefix) for name in recorded)
            return tuple(recorded[f"{prefix}_{index}"] for index in range(count))


def every_file() -> Iterator[Recorded]:
    """All that the folders hold, each architecture with its weights."""
    for path in sorted(RECORDED.glob("*/*")):
        if path.suffix == ".json" and ".weights" not in path.name:
            yield Recorded(path, next(path.parent.glob(f"{path.stem}.*weights*")))
        elif path.suffix in (".keras", ".unzipped") or (
            path.suffix == ".h5" and "weights" not in path.name
        ):
            yield Recorded(path)


FILES = tuple(every_file())
LOST = "keras-3.2.1/shared.keras"
READABLE = [file for file in FILES if str(file) != LOST]


def _is_refused(file: Recorded) -> bool:
    """Whether a layers-model cannot hold the model."""
    return file.model in REFUSED


def counted(text: str) -> Counter[str]:
    """The counts that a list of names, some with a number, stands for."""
    words = [item.split() for item in text.split(", ")]
    return Counter({word[-1]: int(word[0]) if len(word) == 2 else 1 for word in words})


def test_every_recorded_writer_has_a_file() -> None:
    assert len(FILES) > 40
    writers = {path for path in RECORDED.iterdir() if path.is_dir() and "keras-" in path.name}
    assert {file.path.parent for file in FILES} == writers
    assert {file.model for file in FILES} == set(STRUCTURES)


def dialect(file: Recorded) -> tuple[str, ...]:
    """The Keras that wrote a file, and how: what a quick run tries one file of."""
    return (file.path.parent.name, *file.path.suffixes)


one_of_each_dialect = pytest.mark.representative(of=dialect)


@pytest.mark.parametrize("file", READABLE, ids=str)
def test_every_layer_is_read(file: Recorded) -> None:
    wanted = counted(STRUCTURES[file.model])
    for newer, older in OLDER.get(f"{file.path.parent.name}/{file.model}", {}).items():
        wanted[older] += wanted.pop(newer)
    with read(file.path, file.weights) as model:
        # Keras 3 records how it computes masks, with operations
        counts = LayerSpec if "Embedding" in wanted else LayerSpec | Operation
        found = Counter(spec.class_name for _, spec in model.walk() if isinstance(spec, counts))
        assert found == wanted
        assert len(model.input_tensors) == len(file.arrays("input"))
        assert len(model.output_tensors) == len(file.arrays("output"))


def compare(file: Recorded, target: str, tfjs: Tfjs, folder: Path) -> None:
    """Assert that TF.js computes what was recorded."""
    kerasport.convert(file.path, folder / "web_model", weights=file.weights, to=target)
    bound = BOUNDS.get(file.model, 1e-5)
    for backend in BACKENDS:
        run = tfjs.run(folder / "web_model", [file.arrays("input")], backend=backend)
        for wanted, got in zip(file.arrays("output"), run.results[0], strict=True):
            assert got.shape == wanted.shape
            if wanted.dtype.kind == "U":
                np.testing.assert_array_equal(got, wanted)
                continue
            np.testing.assert_allclose(got, wanted, rtol=bound, atol=bound, err_msg=backend)


@one_of_each_dialect
@pytest.mark.parametrize("file", [file for file in READABLE if not _is_refused(file)], ids=str)
def test_layers_model_computes_the_recorded_results(
    file: Recorded, tfjs: Tfjs, tmp_path: Path
) -> None:
    compare(file, LAYERS_MODEL, tfjs, tmp_path)


@pytest.mark.parametrize("file", [file for file in READABLE if _is_refused(file)], ids=str)
def test_recorded_models_that_a_layers_model_does_not_support_are_refused(
    file: Recorded, tmp_path: Path
) -> None:
    with pytest.raises(kerasport.UnsupportedModel) as refusal:
        kerasport.convert(file.path, tmp_path / "web_model", weights=file.weights, to=LAYERS_MODEL)
    for reason in REFUSED[file.model]:
        assert reason in str(refusal.value)
    assert not list(tmp_path.iterdir())


@one_of_each_dialect
@pytest.mark.parametrize("file", READABLE, ids=str)
def test_graph_model_computes_the_recorded_results(
    file: Recorded, tfjs: Tfjs, tmp_path: Path
) -> None:
    compare(file, GRAPH_MODEL, tfjs, tmp_path)


def test_files_without_call_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(kerasport.ReadError, match="which call uses which input"):
        kerasport.convert(RECORDED / LOST, tmp_path / "web_model")
