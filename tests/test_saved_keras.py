"""SavedModels of Keras 2 are read as Keras models, where their config is complete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import onnx_runtime

import kerasport
from kerasport.errors import OptionError, ReadError
from kerasport.frontends.keras.program import program_of
from kerasport.frontends.keras.read.saved_model import METADATA, keras_model_in

RECORDED = Path(__file__).parent / "recorded" / "saved_models"
LAYERS = ("convolutions", "recurrent", "attention", "sequential")


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a recorded SavedModel. An empty graph shows that only the config is read."""
    path = tmp_path / "saved"
    shutil.copytree(RECORDED / request.param, path)
    if not (path / "saved_model.pb").exists():
        (path / "saved_model.pb").touch()
    return path


def recorded(name: str) -> tuple[Any, Any]:
    """The input and the output of a model."""
    with np.load(RECORDED / f"{name}.npz") as arrays:
        return arrays["x"], arrays["y"]


@pytest.mark.parametrize("folder", LAYERS, indirect=True)
def test_the_weights_are_those_of_their_layers(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    x, y = recorded(request.node.callspec.params["folder"])
    graph = program_of(keras_model_in(folder)).graph
    assert graph is not None
    np.testing.assert_allclose(graph.run(x)[0], y, 1e-5, 1e-5)


@pytest.mark.parametrize("folder", ["convolutions"], indirect=True)
def test_it_becomes_a_layers_model_that_can_be_trained(folder: Path, tmp_path: Path) -> None:
    conversion = kerasport.convert(folder, tmp_path / "web", optimizer=True)
    assert conversion.target == "tfjs-layers"
    document = json.loads((tmp_path / "web" / "model.json").read_text(encoding="utf-8"))
    assert document["trainingConfig"]["loss"] == "categorical_crossentropy"
    assert conversion.writer.startswith("2.")


@pytest.mark.parametrize("folder", ["custom"], indirect=True)
def test_the_graph_is_converted_if_a_layer_is_python_code(folder: Path, tmp_path: Path) -> None:
    x, y = recorded("custom")
    conversion = kerasport.convert(folder, tmp_path / "model.onnx")
    assert any("(Scale) is Python code" in note for note in conversion.notes)
    ((result,),) = onnx_runtime.run(tmp_path / "model.onnx", [[x]])
    np.testing.assert_allclose(result, y, 1e-5, 1e-6)


@pytest.mark.parametrize("folder", ["custom"], indirect=True)
def test_a_signature_selects_the_graph(folder: Path, tmp_path: Path) -> None:
    kerasport.convert(folder, tmp_path / "web", signature="serving_default")
    with pytest.raises(OptionError, match="signature"):
        kerasport.convert(folder, tmp_path / "other", signature="missing")


@pytest.mark.parametrize("folder", ["sequential"], indirect=True)
@pytest.mark.parametrize("data", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x03\x2a\x01{", b"\xff" * 40])
def test_malformed_metadata_is_refused(folder: Path, tmp_path: Path, data: bytes) -> None:
    (folder / METADATA).write_bytes(data)
    with pytest.raises(ReadError, match="saved"):
        kerasport.convert(folder, tmp_path / "web")
    assert not (tmp_path / "web").exists()


@pytest.mark.parametrize("folder", ["sequential"], indirect=True)
def test_a_missing_variable_names_its_layer(folder: Path, tmp_path: Path) -> None:
    metadata = folder / METADATA
    data = metadata.read_bytes()
    metadata.write_bytes(data.replace(b"root.layer_with_weights-1", b"root.layer_with_weights-9"))
    with pytest.raises(ReadError, match=r"dense.*lacks the weight"):
        kerasport.convert(folder, tmp_path / "web")
