"""Netron opens models with special weights, loops and tables; test_cases.py opens the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.graphs import given, write_graph
from tests.netron import Netron
from tests.test_recorded import FILES, Recorded

import kerasport
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import constant
from kerasport.verification.runtimes.tfjs import Tfjs
from kerasport.weights import Array

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of Keras, about numpy

GRAPH = "TensorFlow.js graph-model"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a recurrent layer, a convolution and a product."""
    x = keras.Input((7, 4))
    y = layers.Conv1D(33, 3)(layers.LSTM(5, return_sequences=True)(x))
    path = tmp_path_factory.mktemp("netron") / "model.keras"
    keras.Model(x, layers.Dense(3)(y)).save(path)
    return path


OPTIONS: dict[str, dict[str, Any]] = {
    "float32": {},
    "shards": {"shard_size": 16_384},
    **{kind: {"quantize": f"{kind}=*"} for kind in ("float16", "uint16", "uint8")},
}


@pytest.mark.parametrize("target", ["tfjs-layers", "tfjs-graph"])
@pytest.mark.parametrize("name", OPTIONS)
def test_weights_are_shown_however_they_are_stored(
    name: str, target: str, mixed: Path, netron: Netron, tmp_path: Path
) -> None:
    kerasport.convert(mixed, tmp_path / "out", to=target, **OPTIONS[name])
    tensors = netron.open(tmp_path / "out" / "model.json").tensors
    stored = name if name in ("float16", "uint16", "uint8") else "float32"
    assert (
        tensors[f"{stored}[4,20]"] == tensors[f"{stored}[5,20]"] == tensors[f"{stored}[33,3]"] == 1
    )


def test_scales_of_kernels_are_shown(netron: Netron, tmp_path: Path) -> None:
    """Kernels whose channels differ much are divided, and multiplied by a constant of its own."""
    model = keras.Sequential([keras.Input((40,)), layers.Dense(30)])
    kernel = np.random.default_rng(1).normal(size=(40, 30)) * np.logspace(-3, 0, 30)
    model.layers[0].set_weights([kernel, np.zeros(30)])
    model.save(tmp_path / "model.keras")
    kerasport.convert(tmp_path / "model.keras", tmp_path / "out", to="tfjs-graph", quantize="uint8")
    assert "scale" in (tmp_path / "out" / "model.json").read_text(encoding="utf-8")
    assert netron.open(tmp_path / "out" / "model.json").tensors["float16[30]"] >= 1


def test_onnx_weights_in_a_file_of_their_own_are_shown(
    mixed: Path, netron: Netron, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kerasport.targets.onnx.file import write  # noqa: PLC0415  (needs an extra)

    monkeypatch.setitem(write.__kwdefaults__ or {}, "external", 1)
    made = kerasport.convert(mixed, tmp_path / "model.onnx")
    assert len(made.files) == 2
    assert netron.open(tmp_path / "model.onnx").tensors["float32[33,3]"] == 1


def test_functions_of_loops_are_shown(mixed: Path, netron: Netron, tmp_path: Path) -> None:
    for limit in (0, 16):
        kerasport.convert(mixed, tmp_path / f"{limit}", to="tfjs-graph", unroll_limit=limit)
    document = json.loads((tmp_path / "0" / "model.json").read_text(encoding="utf-8"))
    functions = document["modelTopology"]["library"]["function"]
    outside = [
        node
        for node in document["modelTopology"]["node"]
        if node["op"] not in ("Const", "Placeholder")
    ]
    inside = [node for each in functions for node in each["nodeDef"] if node["op"] != "Const"]
    assert len(functions) == 2
    opened = netron.open(tmp_path / "0" / "model.json")
    assert len(outside) < len(outside) + len(inside) <= opened.nodes
    assert opened.nodes < netron.open(tmp_path / "16" / "model.json").nodes


@pytest.mark.parametrize("file", [file for file in FILES if file.model == "lookups"], ids=str)
def test_tables_of_strings_are_shown(file: Recorded, netron: Netron, tmp_path: Path) -> None:
    kerasport.convert(file.path, tmp_path / "out", weights=file.weights, to="tfjs-graph")
    opened = netron.open(tmp_path / "out" / "model.json")
    assert opened.format == GRAPH
    assert any(type_.startswith("string") for type_ in opened.tensors)


def test_constants_of_all_dtypes_and_shapes_are_shown(
    netron: Netron, tfjs: Tfjs, tmp_path: Path
) -> None:
    shapes = ((), (1,), (3,), (0,), (2, 0), (17, 2), (2, 1, 3, 1, 2))
    arrays = [np.ones(shape, kind) for kind in ("float32", "int32", "bool") for shape in shapes]
    x = np.zeros(1, np.float32)
    graph = Graph((given("x", x),), tuple(ops.Reverse(constant(each), ()) for each in arrays))
    folder = write_graph(graph, tmp_path / "out")
    for got, array in zip(tfjs.run(folder, [[x]], backend="cpu").results[0], arrays, strict=True):
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert {shown(each) for each in arrays} <= set(netron.open(folder / "model.json").tensors)


def shown(array: Array) -> str:
    """The type of an array in Netron, which shows a size of 0, and `bool` in TF.js, as "?"."""
    kind = "?" if array.dtype == bool else str(array.dtype)
    sizes = ",".join(str(size or "?") for size in array.shape)
    return f"{kind}[{sizes}]" if sizes else kind
