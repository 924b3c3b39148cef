"""A runtime of our own: verification needs its class, its value and a row in the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx.reference
import pytest
from tests import forged
from tests.forged import put
from typing_extensions import Self

import kerasport
from kerasport.targets import TARGETS
from kerasport.verification.runtime import Run, RuntimeKind, TensorInfo
from kerasport.verification.runtimes import RUNTIMES
from kerasport.weights import Array

# --- the runtime


class Reference:
    """The reference implementation of ONNX, in Python."""

    def __init__(self, status: object = None, *, timeout: float = 0) -> None:
        del status, timeout  # it neither downloads nor starts anything

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self,
        model: Path,
        feeds: Sequence[Sequence[Array]],
        *,
        backend: str,
        layers: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Run:
        """The outputs of a model for each feed."""
        del backend, layers, timeout
        described = onnx.load(model)
        evaluator = onnx.reference.ReferenceEvaluator(described)
        names = [port.name for port in described.graph.input]
        results = [
            tuple(evaluator.run(None, dict(zip(names, feed, strict=True)))) for feed in feeds
        ]
        ports = tuple(map(info, described.graph.input)), tuple(map(info, described.graph.output))
        return Run(*ports, tuple(results), ())

    def describe(self, model: Path, *, timeout: float | None = None) -> Mapping[str, Any]:
        """The inputs and outputs of a model."""
        del timeout
        graph = onnx.load(model).graph
        return {
            "inputs": [vars(info(port)) for port in graph.input],
            "outputs": [vars(info(port)) for port in graph.output],
            "layers": [],
        }


def info(port: onnx.ValueInfoProto) -> TensorInfo:
    """Name, dtype and shape of an input or output."""
    tensor = port.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = (size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim)
    return TensorInfo(port.name, dtype, tuple(shape))


KIND = RuntimeKind(
    name="onnx-reference",
    title="the reference implementation of ONNX",
    backends=("reference",),
    default=("reference",),
    open=Reference,
    packages={"onnx": "onnx"},
    install="pip install onnx",
)

# --- end of the runtime


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model, where ONNX models run in the new runtime."""
    monkeypatch.setitem(RUNTIMES, KIND.name, KIND)
    monkeypatch.setitem(TARGETS, "onnx", replace(TARGETS["onnx"], runtime=KIND.name))
    return put(tmp_path / "model.keras", forged.keras())


def test_verification_runs_the_toy_target(model: Path) -> None:
    kerasport.convert(model, model.parent / "model.onnx")
    verification = kerasport.verify(model, model.parent / "model.onnx")
    assert verification.backends == ("reference",)
    assert max(output.absolute for output in verification.outputs) < 1e-5


def test_backends_of_a_runtime_can_be_selected(model: Path) -> None:
    kerasport.convert(model, model.parent / "model.onnx")
    with pytest.raises(kerasport.OptionError, match="reference"):
        kerasport.verify(model, model.parent / "model.onnx", backends="wasm")
