"""Errors blame the file, the disk, or kerasport itself, whichever is the cause."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.forged import (
    ROOT,
    Json,
    dense,
    functional,
    given,
    hdf5,
    keras,
    layer,
    put,
    sequential,
    tensor,
)
from typer.testing import CliRunner

import kerasport
from kerasport import api, cli
from kerasport.errors import InternalError, OptionError, ReadError, WriteError, with_article
from kerasport.urls import as_url

BUG = "this is a bug in kerasport, not in your file"
runner = CliRunner()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return put(tmp_path / "m.keras", keras())


def official(folder: Path) -> Path:
    """A model.json that needs a repair."""
    weights = [{"name": "dense/kernel", "shape": [4, 3], "dtype": "float32"},
               {"name": "dense/bias", "shape": [3], "dtype": "float32"}]  # fmt: skip
    document = {
        "format": "layers-model",
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "modelTopology": {"keras_version": "3.15.1", "model_config": sequential(given(), dense())},
        "weightsManifest": [{"paths": ["w.bin"], "weights": weights}],
    }
    put(folder / "w.bin", bytes(60))
    return put(folder / "model.json", json.dumps(document).encode())


# --------------------------------------------------------------------------------------------- bugs

ERRORS: dict[str, Callable[[], BaseException]] = {
    "KeyError": lambda: KeyError("axis"),
    "AssertionError": AssertionError,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "UnicodeEncodeError": lambda: UnicodeEncodeError(
        "utf-8", "\ud800", 0, 1, "surrogates not allowed"
    ),
}

CALLS: dict[str, Callable[[Path, Path], Any]] = {
    "convert": lambda source, out: kerasport.convert(source, out),
    "check": lambda source, out: kerasport.check(source),
    "doctor": lambda source, out: kerasport.doctor(source),
    "repair": lambda source, out: kerasport.repair(official(out.parent / "tfjs")),
    "verify": lambda source, out: kerasport.verify(source, out),
}


def broken(monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]) -> None:
    """Puts a bug behind the reading of every command."""

    def fails(*_: Any, **__: Any) -> Any:
        raise error()

    monkeypatch.setattr(api, "planned", fails)
    monkeypatch.setattr("kerasport.targets.tfjs.repaired.planned", fails)
    monkeypatch.setattr("kerasport.diagnosis.environment", fails)
    monkeypatch.setattr("kerasport.verification.check_there", fails)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS)
def test_unexpected_errors_are_internal_errors(
    call: str, error: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ERRORS[error])
    with pytest.raises(InternalError, match=BUG) as raised:
        CALLS[call](source, tmp_path / "out")
    assert (
        "out of memory" in str(raised.value)
        if error == "MemoryError"
        else error in str(raised.value)
    )
    assert "Please report it" in str(raised.value)
    assert isinstance(raised.value.__cause__, type(ERRORS[error]()))
    assert not (tmp_path / "out").exists()


COMMANDS = {
    "convert": ["convert", "{source}", "{out}"],
    "check": ["check", "{source}"],
    "doctor": ["doctor", "{source}"],
    "repair": ["repair", "{official}"],
    "verify": ["verify", "{source}", "{out}"],
}


@pytest.mark.parametrize("traceback", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_reports_internal_errors(
    command: str, traceback: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ERRORS["KeyError"])
    paths = {"source": source, "out": tmp_path / "out", "official": official(tmp_path / "tfjs")}
    arguments = [argument.format(**paths) for argument in COMMANDS[command]]
    result = runner.invoke(cli.app, [*arguments, "--json", *(["--traceback"] if traceback else [])])
    assert result.exit_code == cli.BUG == 4
    assert BUG in result.stderr
    assert ("Traceback (most recent call last)" in result.stderr) == traceback
    assert ("in fails" in result.stderr) == traceback
    told = json.loads(result.stdout)
    assert told["error"] == "InternalError"
    assert BUG in told["message"]


def test_the_help_names_the_exit_code() -> None:
    assert "4 a bug in kerasport" in " ".join(runner.invoke(cli.app, ["--help"]).stdout.split())


def test_errors_outside_of_commands_are_internal_errors(source: Path) -> None:
    script = "from kerasport import cli; cli._bytes = None; cli.main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for extra in ([], ["--traceback"]):
        done = subprocess.run(
            [sys.executable, "-c", script, "convert", source, source.parent / "out", *extra],
            capture_output=True, encoding="utf-8", env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == cli.BUG
        assert BUG in done.stderr
        assert ("Traceback" in done.stderr) == bool(extra)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_names_are_printable_on_every_terminal(encoding: str, tmp_path: Path) -> None:
    source = put(tmp_path / "m.keras", keras(sequential(given(), dense("層\ud800"))))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "kerasport", "check", source, "--all"],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u5c64" in done.stdout


UNPRINTABLE = {
    "a source that is not there": (["check", "層.keras"], cli.UNUSABLE),
    "an output below a file": (["convert", "m.keras", "m.keras/層"], cli.UNUSABLE),
    "an output": (["convert", "m.keras", "層/モデル"], 0),
    "an output as JSON": (["convert", "m.keras", "層/モデル", "--json"], 0),
    "a URL": (["convert", "m.keras", "https://例え/層"], 2),
    "a converted model that is not there": (["verify", "m.keras", "層"], cli.UNUSABLE),
    "a Python": (["doctor", "--python", "層/python"], cli.UNUSABLE),
}


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_paths_are_printable_on_every_terminal(name: str, source: Path) -> None:
    arguments, code = UNPRINTABLE[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-m", "kerasport", *arguments],
        capture_output=True, cwd=source.parent, env=environment, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    assert rb"\u5c64" in printed
    assert b"Traceback" not in printed
    assert b"bug in kerasport" not in printed


def test_errors_of_callbacks_pass_unchanged(source: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def progress(done: int, total: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        kerasport.convert(source, tmp_path / "out", progress=progress)
    assert not (tmp_path / "out").exists()


# ----------------------------------------------------------------------------------------- the disk


@pytest.mark.parametrize("to", ["web_model", "model.onnx"])
def test_a_full_disk_is_reported(
    to: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(
        WriteError,
        match=f"{to}: the disk is full; the output needs about .*; .* free in .*Free some space",
    ) as raised:
        kerasport.convert(source, tmp_path / to)
    assert raised.value.errno == errno.ENOSPC
    assert isinstance(raised.value, OSError)
    result = runner.invoke(cli.app, ["convert", str(source), str(tmp_path / to), "--json"])
    assert result.exit_code == cli.UNUSABLE
    assert json.loads(result.stdout)["error"] == "WriteError"


def test_repair_reports_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = official(tmp_path)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(
        WriteError, match=r"model\.json: the disk is full; the output needs about .*Free some space"
    ):
        kerasport.repair(model)


@pytest.mark.parametrize("to", ["web_model", "model.onnx"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_directory_is_reported(
    to: str, code: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WriteError) as raised:
        kerasport.convert(source, f"there/{to}")
    assert str(raised.value) == (
        f"{Path('there', to)}: cannot be written, because the directory there is read-only; "
        f"choose another output"
    )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_reported(source: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(WriteError, match=r"locked is read-only; choose another output"):
        kerasport.convert(source, tmp_path / "locked" / "web_model")


@pytest.mark.parametrize("to", ["web_model", "model.onnx", "deeper/web_model"])
def test_a_path_below_a_file_is_reported(
    to: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(WriteError) as raised:
        kerasport.convert("m.keras", f"m.keras/{to}")
    assert str(raised.value) == (
        f"{Path('m.keras', to)}: cannot be created, because m.keras is a file, not a directory; "
        f"choose another output"
    )
    assert sorted(source.parent.rglob("*")) == before


@pytest.mark.skipif(os.name != "posix", reason="Windows has other limits")
def test_a_name_that_is_too_long_is_an_error_of_the_output(source: Path, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written \\(File name too long\\)"):
        kerasport.convert(source, tmp_path / ("x" * 300))


# ---------------------------------------------------------------------------------- what is no path

OUTPUTS = {
    "model.tflite": "does not write TensorFlow Lite models. Write a TF.js model to a directory",
    "saved_model.pb": "does not write SavedModels. Write",
    "out.h5": "does not write Keras files. Write",
    "hf://someone/model": "hf://someone/model: kerasport writes to local disks, .*run: hf upload "
    "USER/NAME web_model",
    "gs://bucket/model": "run: gcloud storage cp -r web_model gs://bucket/model",
    "https://example.com/model": "https://example.com/model: .* copy it to the server",
    "HTTP://example.com/model.onnx": "http://example.com/model.onnx: .* copy it to the server",
}


@pytest.mark.parametrize("out", OUTPUTS)
def test_invalid_outputs_are_errors_before_any_work(
    out: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    with pytest.raises(OptionError, match=OUTPUTS[out]) as raised:
        kerasport.convert("gone.keras", out)
    assert "\n" not in str(raised.value)
    assert [path.name for path in source.parent.iterdir()] == ["m.keras"]


SOURCES = {
    "hf://someone/model/model.keras": "download the model first: hf download USER/NAME FILE "
    "--local-dir",
    "gs://bucket/m.keras": r"download the model first: gcloud storage cp gs://bucket/m\.keras \.",
    "s3://bucket/m.h5": r"download the model first: aws s3 cp s3://bucket/m\.h5 \.",
    "https://example.com/m.keras": "download the model first: curl -LO https://example.com/m.keras",
    "kaggle://keras/bert": "kaggle://keras/bert: kerasport reads local files, not URLs; download "
    "the model first",
}


@pytest.mark.rows(2)
@pytest.mark.parametrize("given", SOURCES)
def test_a_url_is_not_a_source(given: str, tmp_path: Path) -> None:
    for call in (
        kerasport.check,
        kerasport.doctor,
        kerasport.repair,
        lambda url: kerasport.convert(url, tmp_path / "o"),
    ):
        with pytest.raises(ReadError, match=SOURCES[given]):
            call(given)


def test_paths_that_look_like_urls_are_paths(tmp_path: Path) -> None:
    assert not any(
        map(as_url, map(Path, ("C:/models/m.keras", "a/http:/b", "m.keras", "x:y", "c:\\m.keras")))
    )


# ----------------------------------------------------------------------------------------- the file

NESTED = sequential(given("i"), {"class_name": "Dense", "config": 7}, name="inner")
CALLED_BADLY = {**dense("dense", "x"), "inbound_nodes": [{"args": [], "kwargs": 7}]}
PLACES: dict[str, tuple[Json, str]] = {
    "a layer": (sequential(given(), None), r"config\.layers\[1\]: the config contains None"),
    "a layer of a model inside": (
        sequential(given(), NESTED),
        r"config\.layers\[1\]\.config\.layers\[1\]: the config of a Dense is 7",
    ),
    "a layer in a wrapper": (
        sequential(given(), layer("TimeDistributed", "t", layer=[])),
        r"config\.layers\[1\]\.config\.layer: ",
    ),
    "a cell": (
        sequential(given(), layer("RNN", "r", cell=layer("StackedRNNCells", "s", cells=[3]))),
        r"config\.layers\[1\]\.config\.cell\.config\.cells\[0\]: ",
    ),
    "a direction": (
        sequential(
            given(), layer("Bidirectional", "b", layer=layer("LSTM", "l"), backward_layer=7)
        ),
        r"config\.layers\[1\]\.config\.backward_layer: ",
    ),
    "a call": (
        functional(given(), CALLED_BADLY),
        r"config\.layers\[1\]\.inbound_nodes\[0\]: this does not have the structure",
    ),
    "a tensor": (
        functional(given(), dense("dense", {"class_name": "__keras_tensor__", "config": {}})),
        r"config\.layers\[1\]\.inbound_nodes\[0\]: a tensor has the keras_history None",
    ),
    "the inputs": (functional(given(), dense("dense", "x"), inputs=7), r"config\.input_layers: "),
    "the outputs": (
        functional(given(), dense("dense", tensor("x")), outputs={"a": 7}),
        r"config\.output_layers: ",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_errors_of_a_file_name_the_place(name: str, tmp_path: Path) -> None:
    config, match = PLACES[name]
    source = put(tmp_path / "m.keras", keras(config))
    with pytest.raises(ReadError, match=rf"^{source}: {match}"):
        kerasport.check(source)


@pytest.mark.parametrize(
    ("error", "match"), [(MemoryError, "not enough memory"), (RecursionError, "nested too deeply")]
)
def test_errors_while_reading_name_the_file(
    error: type[Exception], match: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("kerasport.frontends.keras.read.Describer.describe", fails)
    with pytest.raises(ReadError, match=f"{source}: .*{match}"):
        kerasport.check(source)


def test_errors_name_the_weight(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file["layers/dense/vars/0"] = file["layers/dense/vars/1"] = [[1.0]]

    with pytest.raises(
        ReadError, match=r"m\.keras: layer 'dense': the weight 'kernel' has the shape"
    ):
        kerasport.check(put(tmp_path / "m.keras", keras(weights=hdf5(fill))))


def test_formats_have_the_right_article() -> None:
    named = [
        "a layers-model",
        "a graph-model",
        "an onnx-model",
        "a TF.js graph-model",
        "an ONNX model",
    ]
    assert [with_article(name.partition(" ")[2]) for name in named] == named


def test_a_url_without_an_output_is_named_as_the_source() -> None:
    with pytest.raises(ReadError, match="hf://a/b: kerasport reads local files, not URLs"):
        kerasport.convert("hf://a/b")
