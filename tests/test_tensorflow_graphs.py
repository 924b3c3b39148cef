"""Models of TensorFlow, converted end to end: recorded SavedModels, graphs and numbers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from shutil import copyfile, copytree
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests import onnx_runtime
from typer.testing import CliRunner

import kerasport
from kerasport.cli import app
from kerasport.errors import OptionError, UnsupportedModel, VerifyError
from kerasport.frontends.graphdef.ops import ROWS
from kerasport.frontends.graphdef.ops.refused import REFUSED
from kerasport.ir.program import Program
from kerasport.source import opened

if TYPE_CHECKING:
    from kerasport.verification.runtimes.tfjs import Tfjs

RECORDED = Path(__file__).parent / "recorded" / "graphs"

pytestmark = pytest.mark.every_row

CONVERTED = (
    "checks", "control_flow_v1.pb", "detection", "frozen.pb", "gru", "hub_v1", "image_bytes",
    "keras_export", "lookup",
    "loops", "signatures", "subclassed",
    "table_v1", "tables", "tf_keras_save", "variables_v1",
)  # fmt: skip
"""Recorded models that TF.js and ONNX Runtime can run."""


def arrays(name: str, kind: str, ports: Any) -> list[Any]:
    """The recorded arrays of inputs or outputs, in the order of the ports."""
    with np.load(RECORDED / f"{name.removesuffix('.pb')}.npz") as stored:
        found = [stored[f"{kind}_{port.name}"] for port in ports]
    return [np.char.decode(x).astype(object) if x.dtype.kind == "S" else x for x in found]


def compare(expected: list[Any], computed: Any) -> None:
    """Assert that outputs are those of TensorFlow, in the element types of a converted model."""
    for wanted, got in zip(expected, computed, strict=True):
        assert got.shape == wanted.shape
        if wanted.dtype == object:
            assert got.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(got.astype("float64"), wanted.astype("float64"), 1e-5, 1e-6)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_recorded_model_computes_the_same_numbers(name: str, tmp_path: Path, tfjs: Tfjs) -> None:
    with opened(RECORDED / name) as program:
        assert isinstance(program, Program)
        inputs = arrays(name, "input", program.inputs)
        expected = arrays(name, "output", program.outputs)
        assert program.graph is not None
        compare(expected, program.graph.run(*inputs))
    made = kerasport.convert(RECORDED / name, tmp_path / "web_model")
    assert made.target == "tfjs-graph"
    assert list(made.inputs) == [port.name for port in program.inputs]
    compare(expected, tfjs.run(tmp_path / "web_model", [inputs], backend="cpu").results[0])


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("name", CONVERTED)
def test_a_recorded_model_computes_the_same_numbers_in_onnx(name: str, tmp_path: Path) -> None:
    with opened(RECORDED / name) as program:
        assert isinstance(program, Program)
        inputs = arrays(name, "input", program.inputs)
        expected = arrays(name, "output", program.outputs)
    kerasport.convert(RECORDED / name, tmp_path / "model.onnx")
    compare(expected, onnx_runtime.run(tmp_path / "model.onnx", [inputs])[0])


def test_a_graph_has_no_layers() -> None:
    with pytest.raises(OptionError, match="use tfjs-graph or onnx"):
        kerasport.check(RECORDED / "checks", to="tfjs-layers")


def test_problems_name_the_node_and_its_op() -> None:
    report = kerasport.check(RECORDED / "counter")
    (problem,) = report.problems
    assert (problem.layer, problem.class_name) == ("AssignAddVariableOp", "AssignAddVariableOp")
    assert "changes a variable" in problem.reason
    assert not report.convertible
    with pytest.raises(UnsupportedModel, match="AssignAddVariableOp"):
        kerasport.convert(RECORDED / "counter", "unused")


def test_a_signature_and_tags_are_selected() -> None:
    with pytest.raises(OptionError, match="--tags"):
        kerasport.check(RECORDED / "meta_graphs")
    assert kerasport.check(RECORDED / "meta_graphs", tags=["train"]).convertible
    with pytest.raises(OptionError, match="--signature"):
        kerasport.check(RECORDED / "signatures", signature="absent")


def test_outputs_of_a_frozen_graph_are_selected() -> None:
    report = kerasport.check(RECORDED / "frozen.pb", outputs=["thirds:1"])
    assert report.outputs == ("thirds_1",)


def test_options_of_graphs_are_refused_for_keras_models() -> None:
    digits = Path(__file__).parent.parent / "examples" / "digits.keras"
    with pytest.raises(OptionError, match=r"signature is an option of a .*TensorFlow graph"):
        kerasport.check(digits, signature="serving_default")


def test_a_report_names_the_version_of_tensorflow() -> None:
    assert "Written by  TensorFlow 2." in str(kerasport.check(RECORDED / "keras_export"))
    with pytest.raises(VerifyError, match="not supported yet"):
        kerasport.verify(RECORDED / "keras_export", "web_model")


def test_a_report_lists_the_signatures() -> None:
    notes = kerasport.check(RECORDED / "signatures").notes
    assert any("signatures" in note and "--signature" in note for note in notes)


GUIDE = (Path(__file__).parent.parent / "docs" / "saved-model.md").read_text(encoding="utf-8")


def test_the_commands_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copytree(RECORDED / "keras_export", tmp_path / "saved_model")
    copyfile(RECORDED / "frozen.pb", tmp_path / "frozen.pb")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for command in block.splitlines():
        name, *arguments = shlex.split(command)
        assert name == "kerasport"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output


def test_the_guide_lists_every_op() -> None:
    table = [line for line in GUIDE.splitlines() if line.startswith("| ")]
    listed = re.findall(r"`(\w+)`", "\n".join(table[table.index("| family | ops |") :]))
    assert set(ROWS) <= set(listed)
    assert {op for op in listed if op in REFUSED} <= {
        "RandomUniform", "StringLower", "StringSplitV2", "FFT", "Complex"
    }  # fmt: skip
