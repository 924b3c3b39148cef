"""What every command prints at 80 columns, compared with the files in tests/snapshots.

To accept new output, run `UPDATE_SNAPSHOTS=1 python -m pytest tests/test_snapshots.py`, and read
the diff.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import forged
from typer.testing import CliRunner

from kerasport import api, cli
from kerasport.diagnosis import Diagnosis
from kerasport.diagnosis.abilities import Ability
from kerasport.diagnosis.probe import Package
from kerasport.diagnosis.routes import Route
from kerasport.report.terminal import rendered
from kerasport.verification import LayerDivergence, OutputError, Verification

ROOT = Path(__file__).parent.parent
SNAPSHOTS = ROOT / "tests" / "snapshots"
RECORDED = ROOT / "tests" / "recorded" / "keras-3.15.1"
WIDTH = 80

COMMANDS = {
    "help": "--help",
    "help-convert": "convert --help",
    "help-check": "check --help",
    "help-repair": "repair --help",
    "help-verify": "verify --help",
    "help-doctor": "doctor --help",
    "convert": "convert model.keras web_model",
    "convert-default-output": "convert model.keras",
    "convert-graph": "convert masks.keras web_model --to tfjs-graph",
    "convert-several": "convert functional.keras site/models/web_model",
    "convert-companion": "convert gru.keras web_model",
    "convert-quantize": "convert model.keras web_model --quantize uint8",
    "convert-onnx": "convert model.keras model.onnx",
    "convert-json": "convert gru.keras web_model --json",
    "check": "check model.keras",
    "check-all": "check model.keras --all",
    "check-rewritten": "check ops.keras",
    "check-graph": "check masks.keras",
    "check-refused": "check refused.keras --to tfjs-layers",
    "check-json": "check ops.keras --json",
    "repair": "repair broken",
    "repair-out": "repair broken repaired",
    "repair-nothing": "repair right",
    "verify": "verify model.keras web_model",
    "verify-differs": "verify model.keras different",
    "verify-quantized": "verify model.keras quantized",
    "doctor": "doctor",
    "doctor-model": "doctor model.keras",
    "error-refused": "convert refused.keras web_model --to tfjs-layers",
    "error-refused-json": "convert refused.keras web_model --to tfjs-layers --json",
    "error-no-file": "convert missing.keras web_model",
    "error-exists": "convert model.keras taken",
    "error-not-a-model": "check broken.keras",
    "error-option": "convert model.keras web_model --shard-size lots",
    "error-option-json": "convert model.keras web_model --shard-size lots --json",
    "error-no-command": "conver model.keras",
    "error-no-argument": "convert",
}
"""Name of a snapshot → the arguments of the command."""


# ------------------------------------------------------------------------------------------- models


def gru_weights(file: Any) -> None:
    for i, shape in enumerate(((3, 12), (4, 12), (2, 12))):
        file[f"layers/gru/cell/vars/{i}"] = np.full(shape, 0.5, "float32")


GRU = forged.sequential(
    forged.given("steps", (None, 5, 3)),
    forged.layer(
        "GRU",
        "memory",
        units=4,
        activation="tanh",
        recurrent_activation="sigmoid",
        reset_after=True,
        use_bias=True,
        dtype="float32",
    ),
)
REFUSED = forged.sequential(
    forged.given("steps", (None, 5, 3)),
    forged.layer("UnitNormalization", "units", axis=-1, dtype="float32"),
    forged.layer(
        "Lambda", "halved", function={"class_name": "__lambda__", "config": {}}, dtype="float32"
    ),
    forged.layer(
        "Attention2D", "own", module="my_package.layers", registered_name="my_package>Attention2D"
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files of all commands."""
    folder = tmp_path_factory.mktemp("snapshots")
    for name in ("functional", "ops", "masks"):
        shutil.copyfile(RECORDED / f"{name}.keras", folder / f"{name}.keras")
    shutil.copyfile(RECORDED / "sequential.keras", folder / "model.keras")
    forged.put(folder / "gru.keras", forged.keras(GRU, forged.hdf5(gru_weights)))
    forged.put(folder / "refused.keras", forged.keras(REFUSED, forged.hdf5(forged.no_weights)))
    forged.put(folder / "broken.keras", b"not a model")
    forged.put(folder / "taken" / "model.json", b"{}")
    shutil.copytree(ROOT / "tests" / "unrepaired" / "convolutions.h5", folder / "broken")
    api.repair(folder / "broken", folder / "right")
    return folder


def verified(out: str) -> Verification:
    """What a verification found; how it finds it is tested elsewhere."""
    where: dict[str, Any] = {"where": (2, 1), "batch_size": 3, "name": "dense_1", "batch": 1}
    close: dict[str, Any] = {
        "absolute": 1.2e-7,
        "relative": 3e-7,
        "actual": 0.4921218,
        "expected": 0.4921217,
        "allowed": 5.9e-5,
    }
    far: dict[str, Any] = {
        "absolute": 0.25,
        "relative": 0.5,
        "actual": 0.75,
        "expected": 0.5,
        "allowed": 6e-5,
    }
    wrong = out == "different"
    outputs = [
        OutputError(
            **(far if wrong and backend == "wasm" else close),
            **where,
            ok=not wrong or backend == "cpu",
            backend=backend,
            atol=1e-5,
        )
        for backend in ("cpu", "wasm")
    ]
    layer = LayerDivergence(
        **far,
        where=(0, 3, 3, 1),
        ok=False,
        backend="wasm",
        name="conv2d",
        tfjs_name="conv2d_1",
        class_name="Conv2D",
    )
    quantized = out == "quantized"
    return Verification(
        "model.keras",
        out,
        "Keras 3.15.1 (jax)",
        ("cpu", "wasm"),
        1e-4,
        1e-5,
        tuple(outputs),
        diverges=layer if wrong else None,
        reported_only=quantized,
        seconds={"keras": 2.1, "cpu": 0.1, "wasm": 0.1},
    )


def diagnosis(source: str) -> Diagnosis:
    """What doctor found."""
    routes = (
        Route(
            "kerasport, tfjs-layers",
            "kerasport",
            open=True,
            command="kerasport convert model.keras web_model",
        ),
        Route(
            "Keras, ONNX",
            "onnx",
            open=False,
            command="pip install tensorflow tf2onnx",
            reason="needs tf2onnx",
        ),
    )
    return Diagnosis(
        kerasport="0.0.0",
        own=(
            Package("onnx-ir", "1.1.0", "untried"),
            Package("Node", "20.20.2", "works", "/usr/bin/node"),
        ),
        abilities=(
            Ability("convert to TF.js", True),
            Ability("verify TF.js models", False, "pip install keras jax"),
        ),
        python="3.11.7",
        executable="/usr/bin/python3",
        packages=(
            Package("keras"),
            Package(
                "tensorflow",
                "2.19.1",
                "fails",
                error="ImportError: numpy.core.multiarray failed to import",
            ),
        ),
        legacy_keras="",
        healthy=False,
        source=source,
        writer="3.15.1" if source else "",
        routes=routes if source else (),
        advice=(
            (
                "tensorflow 2.19.1 cannot be imported: it is too old for this numpy: pip install "
                "'numpy<2'"
            ),
        ),
    )


# ---------------------------------------------------------------------------------------- the tests


@pytest.fixture
def place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with copies of the files of all commands."""
    shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setattr(api, "verify", lambda _, out, **__: verified(str(out)))
    monkeypatch.setattr(api, "doctor", lambda source, **_: diagnosis(str(source or "")))
    return tmp_path / "here"


@pytest.mark.every_row
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_print_their_snapshots(name: str, place: Path) -> None:
    if name == "convert-onnx":
        pytest.importorskip("onnx_ir")
    arguments = shlex.split(COMMANDS[name])
    result = CliRunner().invoke(cli.app, arguments, prog_name="kerasport")
    assert str(place) not in result.output
    printed = "\n".join(("$ " + shlex.join(["kerasport", *arguments]), result.stdout.rstrip("\n")))
    printed += f"\n[stderr]\n{result.stderr.rstrip()}" if result.stderr else ""
    printed += f"\n[exit code {result.exit_code}]\n"
    file = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(printed, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == printed, (
        "run: UPDATE_SNAPSHOTS=1 python -m pytest tests/test_snapshots.py"
    )


def test_every_snapshot_has_a_command() -> None:
    assert {file.stem for file in SNAPSHOTS.iterdir()} == {*COMMANDS}


CODE = re.compile(r"<script|ort\.Tensor|^kerasport: ")  # is not broken, and errors stay on one line


@pytest.mark.every_row
@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.endswith("json")])
def test_lines_except_code_fit_into_80_columns(name: str) -> None:
    text = (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")
    text.encode("cp1252")
    lines = text.splitlines()
    assert [
        line
        for line in lines
        if len(line) > WIDTH and not CODE.search(line) and " " in line.strip()
    ] == []
    assert not re.search(r"[\x1b\u2500-\u257f]", text)  # neither colors nor boxes
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("columns", [80, 120])
def test_help_breaks_no_word(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ("convert", "check", "repair", "verify", "doctor"):
        shown = CliRunner().invoke(cli.app, [command, "--help"], prog_name="kerasport").stdout
        words = " ".join((SNAPSHOTS / f"help-{command}.txt").read_text(encoding="utf-8").split())
        assert " ".join(shown.split()) in words
        assert "…" not in shown


def test_json_contains_the_data_of_the_text(place: Path) -> None:
    runner = CliRunner()
    told = json.loads(
        runner.invoke(cli.app, ["convert", "gru.keras", "web_model", "--json"]).stdout
    )
    assert told["expects"]["steps"]["dtype"] == "float32"
    assert told["summary"] == {"native": 1, "companion": 1}
    assert "loadLayersModel" in told["code"][0]["code"]
    assert [step["what"] for step in told["steps"]] == ["Verify", "Serve", "Read"]
    assert told["choice"]
    failed = runner.invoke(cli.app, ["convert", "gru.keras", "--no-such-option", "--json"])
    assert (failed.exit_code, json.loads(failed.stdout)["error"]) == (2, "UsageError")


def test_colors_need_a_terminal_and_no_NO_COLOR(monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, _: str) -> int:
            return 0

    view = verified("web_model").view()
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal: Any = Terminal()
    assert "\x1b[" in rendered(view, terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in rendered(view, terminal)
