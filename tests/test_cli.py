"""The command line: what it prints, what it writes, and the code it exits with."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import keras
import pytest
from keras import layers
from typer.testing import CliRunner

import kerasport
from kerasport import api, cli
from kerasport.cli import app
from kerasport.errors import legible
from kerasport.report import Check, Conversion, Repair

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "examples" / "digits.keras"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT / "src"),
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "TERM": "dumb",
}
WEIGHTS = 4 * 16_986  # bytes of digits.keras in the shards
DONE, REFUSED, MISUSED, UNUSABLE, STOPPED = 0, 1, 2, 3, 130

posix = pytest.mark.skipif(os.name != "posix", reason="needs pseudo terminals and signals")


def kerasport_command(
    *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, as its users run it; it may never show a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "kerasport", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def flat(text: str) -> str:
    """A text without its line breaks and indentation."""
    return " ".join(text.split())


def invoke(*arguments: str | Path) -> Any:
    """The command within this process, where parts of it can be replaced."""
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def digest(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """A directory with a converted model in it."""
    kerasport.convert(DIGITS, tmp_path / "web_model")
    return tmp_path / "web_model"


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two parts that a layers-model cannot express."""
    path = tmp_path_factory.mktemp("refused") / "model.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        sequence = layers.Input((7, 3))
        made = layers.UnitNormalization(name="units")(sequence)
        keras.Model(sequence, layers.GRU(4, name="memory")(made)).save(path)
    return path


# ------------------------------------------------------------------------------------------ convert


def test_convert_writes_the_model_and_prints_a_report(tmp_path: Path) -> None:
    done = kerasport_command("convert", DIGITS, "web_model", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert f"Converted {DIGITS} to web_model Format TF.js layers-model " in flat(done.stdout)
    assert "in 2 files, 16,986 parameters" in done.stdout
    assert sorted(digest(tmp_path / "web_model")) == ["group1-shard1of1.bin", "model.json"]


def test_convert_prints_json(tmp_path: Path) -> None:
    done = kerasport_command("convert", DIGITS, tmp_path / "web_model", "--json")
    told = json.loads(done.stdout)
    assert told["target"] == "tfjs-layers"
    assert told["inputs"] == {"image": [None, 8, 8, 1]}
    assert told["files"] == ["model.json", "group1-shard1of1.bin"]


def test_convert_reads_weights_from_a_second_file(tmp_path: Path) -> None:
    recorded = ROOT / "tests" / "recorded" / "keras-3.15.1"
    weights = recorded / "dicts.weights.h5"
    done = kerasport_command(
        "convert", recorded / "dicts.json", tmp_path / "out", "--weights", weights
    )
    assert done.returncode == DONE
    assert (tmp_path / "out" / "model.json").is_file()


def test_a_refused_model_exits_with_1_and_leaves_nothing(refused: Path, tmp_path: Path) -> None:
    done = kerasport_command(
        "convert", refused, tmp_path / "out", "--to", "tfjs-layers", "--no-companion"
    )
    assert (done.returncode, done.stdout) == (REFUSED, "")
    first = "kerasport: cannot convert the model to a TF.js layers-model; nothing was written"
    assert done.stderr.startswith(f"{first}\n\nNot supported\n  units (UnitNormalization)\n    ")
    assert "\n  memory (GRU, reset_after=True)\n    " in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [("16KiB", 16 * 1024), ("17kb", 17_000), ("20000", 20_000), ("20000B", 20_000),
          (" 1 MiB ", 1024**2), ("1g", None),
     ("1GB", 1000**3)],
)  # fmt: skip
def test_shards_have_the_requested_size(size: str, nbytes: int | None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = kerasport_command("convert", DIGITS, out, "--shard-size", size)
    if nbytes is None:
        assert done.returncode == MISUSED
        return
    assert done.returncode == DONE
    shards = [path.stat().st_size for path in sorted(out.glob("*.bin"))]
    assert sum(shards) == WEIGHTS
    assert shards == [
        *[nbytes] * (WEIGHTS // nbytes),
        *([WEIGHTS % nbytes] if WEIGHTS % nbytes else []),
    ]


@pytest.mark.parametrize(
    "size", ["0", "0MiB", "-1", "1.5MiB", "lots", "4 parsecs", "", "MiB", "1e6"]
)
def test_an_invalid_size_is_wrong_usage(size: str, tmp_path: Path) -> None:
    done = kerasport_command("convert", DIGITS, tmp_path / "out", "--shard-size", size)
    assert done.returncode == MISUSED
    assert "--shard-size" in done.stderr
    assert "is not a size; write 4MiB, 512KiB or a number of bytes" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["1", "512", "4KiB", "16383"])
def test_shards_have_a_minimum_size(size: str, tmp_path: Path) -> None:
    done = kerasport_command("convert", DIGITS, tmp_path / "out", "--shard-size", size)
    assert done.returncode == MISUSED
    assert "--shard-size" in done.stderr
    assert "a shard has at least 16,384 bytes" in done.stderr
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ complete or absent, and --force


def test_existing_output_is_kept_without_force(converted: Path) -> None:
    before = digest(converted)
    done = kerasport_command("convert", DIGITS, converted)
    assert done.returncode == UNUSABLE
    assert done.stderr == f"kerasport: {converted}: already exists; use --force to replace it\n"
    assert digest(converted) == before


def test_force_replaces_a_model_as_a_whole(converted: Path) -> None:
    (converted / "group1-shard9of9.bin").write_bytes(b"of another conversion")
    assert kerasport_command("convert", DIGITS, converted, "--force").returncode == DONE
    assert sorted(digest(converted)) == ["group1-shard1of1.bin", "model.json"]
    assert [path.name for path in converted.parent.iterdir()] == [converted.name]


def test_force_replaces_only_models(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "notes").write_text("more of it")
    for out in ("thesis", "notes"):
        done = kerasport_command("convert", DIGITS, tmp_path / out, "--force")
        assert done.returncode == UNUSABLE
        assert (
            "already exists and is not a TF.js model, so --force does not replace it" in done.stderr
        )
    assert digest(tmp_path) == {"thesis/chapter.tex": b"years of work", "notes": b"more of it"}


def test_force_never_replaces_the_source(tmp_path: Path) -> None:
    shutil.copyfile(DIGITS, tmp_path / "model.keras")
    (tmp_path / "model.json").write_text("{}")
    for out in (tmp_path, tmp_path / "model.keras"):
        done = kerasport_command("convert", tmp_path / "model.keras", out, "--force")
        assert done.returncode == UNUSABLE
        assert "contains the model to convert" in done.stderr
    assert (tmp_path / "model.keras").read_bytes() == DIGITS.read_bytes()


def test_an_empty_directory_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert kerasport_command("convert", DIGITS, tmp_path / "out").returncode == DONE


def test_parent_directories_of_the_output_are_created(tmp_path: Path) -> None:
    assert kerasport_command("convert", DIGITS, tmp_path / "a" / "b" / "out").returncode == DONE


def test_an_interrupt_while_writing_keeps_the_old_output(converted: Path) -> None:
    before = digest(converted.parent)

    def interrupt(done: int, total: int) -> None:
        assert done <= total
        raise KeyboardInterrupt

    for out in (converted, converted.parent / "new"):
        with pytest.raises(KeyboardInterrupt):
            kerasport.convert(DIGITS, out, force=True, progress=interrupt)
    assert digest(converted.parent) == before
    assert [path.name for path in converted.parent.iterdir()] == [converted.name]


SLOW = """if True:
    import signal, time
    from kerasport import api, cli

    # where tests run in the background, children begin with interrupts ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    convert = api.convert

    def slowly(*arguments, progress, **options):
        def tell(done, total):
            print("writing", flush=True)
            time.sleep(60)
        return convert(*arguments, progress=tell, **options)

    api.convert = slowly
    cli.main()
"""


@posix
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("name", ["out", "out.onnx", "empty"])
def test_a_fatal_signal_is_reported_in_one_line(number: str, name: str, tmp_path: Path) -> None:
    if name == "empty":
        (tmp_path / "empty").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "convert", DIGITS, tmp_path / name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.Signals[number])
    printed, told = process.communicate(timeout=60)
    wanted = 128 + signal.Signals[number]
    assert (process.returncode, printed, told) == (
        wanted,
        "",
        "kerasport: stopped; nothing was written\n",
    )
    assert list(tmp_path.rglob("*")) == ([tmp_path / "empty"] if name == "empty" else [])


@posix
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["out", "out.onnx"])
def test_the_next_conversion_removes_files_of_a_killed_one(
    name: str, force: bool, tmp_path: Path
) -> None:
    out = tmp_path / name
    if force:
        kerasport.convert(DIGITS, out)
    option = ["--force"] if force else []
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "convert", DIGITS, out, *option],
        stdout=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT,
    )  # fmt: skip
    with process:
        assert process.stdout
        assert process.stdout.readline() == "writing\n"
        with pytest.raises(
            kerasport.OutputExistsError, match=f"process {process.pid} is writing this output"
        ):
            kerasport.convert(DIGITS, out, force=True)
        process.kill()
    assert len(list(tmp_path.iterdir())) == 1 + force  # what it left behind
    kerasport.convert(DIGITS, out, force=force)
    assert list(tmp_path.iterdir()) == [out]


@posix
def test_only_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    # with models that are small, too
    script = "import kerasport.cli; kerasport.cli.LONG = 0; kerasport.cli.main()"
    terminal, end = os.openpty()
    command: list[str | Path] = [sys.executable, "-c", script, "convert", DIGITS]
    environment = {**ENVIRONMENT, "TERM": "xterm"}
    subprocess.run(
        [*command, tmp_path / "seen"],
        stdout=subprocess.PIPE,
        stderr=end,
        env=environment,
        check=True,
    )
    os.set_blocking(terminal, False)
    assert b"kB" in os.read(terminal, 65536)
    os.close(end)
    os.close(terminal)
    unseen = subprocess.run(
        [*command, tmp_path / "unseen"], capture_output=True, env=environment, check=True
    )
    assert unseen.stderr == b""


# --------------------------------------------------------------------------------- check and verify


def test_check_lists_every_layer_with_all() -> None:
    done = kerasport_command("check", DIGITS)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert f"{DIGITS} converts to a TF.js layers-model" in flat(done.stdout)
    assert "67.9 kB of weights" in done.stdout
    assert "20 native" in done.stdout
    assert not re.search(r"digit +Dense +native", done.stdout)
    assert re.search(
        r"\n  digit +Dense +native\n", kerasport_command("check", DIGITS, "--all").stdout
    )


def test_check_of_a_refused_model_exits_with_1(refused: Path) -> None:
    done = kerasport_command("check", refused, "--to", "tfjs-layers", "--no-companion")
    assert done.returncode == REFUSED
    assert f"{refused} does not convert to a TF.js layers-model: 2 parts are not supported" in flat(
        done.stdout
    )
    assert "\n  memory (GRU, reset_after=True)\n    " in done.stdout


def test_models_that_a_layers_model_does_not_support_become_graph_models(
    refused: Path, tmp_path: Path
) -> None:
    done = kerasport_command("convert", refused, "out", cwd=tmp_path)
    assert done.returncode == DONE
    assert f"Converted {refused} to out Format TF.js graph-model " in flat(done.stdout)
    assert (
        "- written as a graph-model, because a layers-model does not support all of it (layer "
        "'units': " in flat(done.stdout)
    )
    told = json.loads(kerasport_command("check", refused, "--json").stdout)
    assert (told["convertible"], told["target"]) == (True, "tfjs-graph")
    assert told["notes"][0].startswith("written as a graph-model, because ")
    assert "--to tfjs-graph" not in done.stdout  # which it is


@pytest.mark.parametrize(
    ("target", "loader"),
    [
        ("tfjs-layers", 'tf.loadLayersModel("web_model/model.json")'),
        ("tfjs-graph", 'tf.loadGraphModel("web_model/model.json")'),
    ],
)
def test_convert_prints_how_to_load_and_feed_the_model(
    target: str, loader: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        words = layers.Input((7,), dtype="int32", name="words")
        keras.Model(words, layers.Embedding(9, 3)(words)).save(tmp_path / "model.keras")
    made = kerasport.convert(tmp_path / "model.keras", tmp_path / "web_model", to=target)
    assert f"  const model = await {loader}" in made.code[0].code
    assert "words  [batch, 7]  int32" in str(made)
    assert "integer ids 0 to 8" in str(made)
    # TF.js casts what a layers-model is given, and nothing else
    assert made.dtypes == ({"words": "int32"} if target == "tfjs-graph" else {})


def test_errors_are_json_with_the_option_json(refused: Path, tmp_path: Path) -> None:
    done = kerasport_command(
        "convert", refused, tmp_path / "out", "--to", "tfjs-layers", "--no-companion", "--json"
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["error"]) == (REFUSED, "UnsupportedModel")
    assert [problem["layer"] for problem in told["problems"]] == ["units", "memory"]
    assert done.stderr.startswith("kerasport: cannot convert the model to a TF.js layers-model; ")
    assert told["message"].startswith("2 part(s) of the model ")
    done = kerasport_command("check", tmp_path / "nothing.keras", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["error"], told["problems"]) == (UNUSABLE, "ReadError", [])


def test_an_empty_directory_is_filled_even_if_it_is_in_use(tmp_path: Path) -> None:
    place = tmp_path / "web_model"
    place.mkdir()
    before = place.stat().st_ino
    assert kerasport_command("convert", DIGITS, ".", cwd=place).returncode == DONE
    assert place.stat().st_ino == before
    assert {*digest(place)} == {"model.json", "group1-shard1of1.bin"}
    done = kerasport_command("convert", DIGITS, ".", "--force", cwd=place)
    assert (done.returncode, done.stderr) == (
        UNUSABLE,
        (
            "kerasport: .: is the current directory or contains it, so it cannot be replaced; run "
            "kerasport elsewhere\n"
        ),
    )


@posix
def test_a_directory_that_cannot_be_filled_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    script = "ulimit -f 20; exec " + shlex.join(
        [sys.executable, "-m", "kerasport", "convert", str(DIGITS), "out"]
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == UNUSABLE, done.stderr
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
def test_a_full_disk_under_the_output_is_reported() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kerasport", "check", str(DIGITS)],
            stdout=full, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT, check=False,
        )  # fmt: skip
    assert done.returncode == UNUSABLE
    assert done.stderr.startswith("kerasport: ")
    assert "Traceback" not in done.stderr


def test_unsupported_models_report_the_target_with_the_fewest_problems(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        made = [layers.UnitNormalization(), layers.Lambda(abs, output_shape=(7, 3), name="python")]
        keras.Sequential([layers.Input((7, 3)), *made]).save(tmp_path / "model.keras")
    done = kerasport_command("check", "model.keras", cwd=tmp_path)
    assert done.returncode == REFUSED
    assert done.stdout.startswith(
        "model.keras does not convert to a TF.js graph-model: 1 part is not supported\n"
    )
    assert "\n  - as a layers-model, 2 part(s) of the model would be refused\n" in done.stdout


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """A model that needs the companion."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        sequence = layers.Input((7, 3))
        keras.Model(sequence, layers.GRU(4, name="memory")(sequence)).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


REGISTER = """
    import { register } from "./web model/kerasport-layers.js"
    register(tf)
    const model = await tf.loadLayersModel("web model/model.json")
"""


def test_convert_prints_how_to_load_the_companion(memory: Path, tmp_path: Path) -> None:
    done = kerasport_command("convert", memory, tmp_path / "web model")
    assert done.returncode == DONE
    assert "memory (GRU) the GRU of TF.js applies the reset gate" in flat(done.stdout)
    assert REGISTER in done.stdout
    for name in ("kerasport-layers.js", "kerasport-layers.d.ts"):
        script = (tmp_path / "web model" / name).read_bytes()
        assert script == (ROOT / "src" / "kerasport" / "web" / name).read_bytes()
        assert len(script) < 30_000


def test_a_layers_model_with_the_companion_is_preferred_to_a_graph_model(
    memory: Path, tmp_path: Path
) -> None:
    for options, target, files in (
        (
            [],
            "tfjs-layers",
            ["group1-shard1of1.bin", "kerasport-layers.d.ts", "kerasport-layers.js", "model.json"],
        ),
        (["--no-companion"], "tfjs-graph", ["group1-shard1of1.bin", "model.json"]),
    ):
        done = kerasport_command("convert", memory, tmp_path / target, "--json", *options)
        told = json.loads(done.stdout)
        assert told["target"] == target
        assert sorted(digest(tmp_path / target)) == sorted(told["files"]) == files
        assert told["nbytes"] == sum(map(len, digest(tmp_path / target).values()))


def test_check_lists_layers_that_need_the_companion(memory: Path) -> None:
    told = json.loads(kerasport_command("check", memory, "--json").stdout)
    assert told["convertible"] is True
    assert [(layer["path"], layer["outcome"]) for layer in told["layers"]][-1] == (
        "memory",
        "companion",
    )
    assert told["summary"] == {"native": 1, "companion": 1}


@pytest.mark.parametrize("model", ["sound", "refused"])
def test_check_prints_json(model: str, refused: Path) -> None:
    sound = model == "sound"
    source = DIGITS if sound else refused
    done = kerasport_command("check", source, "--json", "--to", "tfjs-layers", "--no-companion")
    told = json.loads(done.stdout)
    assert done.returncode == (DONE if sound else REFUSED)
    assert told["convertible"] is sound
    assert {problem["layer"] for problem in told["problems"]} == (
        set() if sound else {"units", "memory"}
    )


class Verified:
    """What a verification tells; how it comes by it is tried elsewhere."""

    def __init__(self, *, ok: bool) -> None:
        self.ok = ok

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok}

    def __str__(self) -> str:
        return f"ok: {self.ok}"


@pytest.mark.parametrize("ok", [True, False])
def test_verify_exits_with_1_if_numbers_differ(
    ok: bool, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "verify", lambda *_, **__: Verified(ok=ok))
    told = invoke("verify", DIGITS, converted)
    assert (told.exit_code, told.output) == (DONE if ok else REFUSED, f"ok: {ok}\n")
    told = invoke("verify", DIGITS, converted, "--json")
    assert (told.exit_code, json.loads(told.output)) == (DONE if ok else REFUSED, {"ok": ok})
    told = invoke("convert", DIGITS, converted.parent / "text", "--verify")
    assert told.exit_code == (DONE if ok else REFUSED)
    assert told.output.endswith(f"\nok: {ok}\n")
    told = invoke("convert", DIGITS, converted.parent / "json", "--verify", "--json")
    assert told.exit_code == (DONE if ok else REFUSED)
    assert json.loads(told.output)["verification"] == {"ok": ok}


def test_verify_passes_on_its_options(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        api, "verify", lambda *_, **options: given.update(options) or Verified(ok=True)
    )
    numbers = (
        "--inputs",
        "in.npz",
        "--expected",
        "out.npz",
        "--rtol",
        "0.1",
        "--atol",
        "0.2",
        "--timeout",
        "60",
        "--python",
        "../python",
    )
    invoke("verify", DIGITS, converted, "--backend", "wasm", *numbers)
    assert given == {
        "weights": None,
        "inputs": Path("in.npz"),
        "expected": Path("out.npz"),
        "backends": ("wasm",),
        "rtol": 0.1,
        "atol": 0.2,
        "timeout": 60,
        "python": "../python",
        "status": None,
    }


def test_verify_shows_its_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def work(status: Any) -> str:
        status("running [b]m.keras")  # no markup
        time.sleep(0.3)  # the spinner draws ten times in a second
        return "done"

    assert cli._with_spinner(work) == "done"
    assert "running [b]m.keras" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert cli._with_spinner(lambda status: status) is None


def test_verify_of_a_backend_that_does_not_exist_is_wrong_usage(converted: Path) -> None:
    done = kerasport_command("verify", DIGITS, converted, "--backend", "abacus")
    assert done.returncode == MISUSED
    assert "unknown backend 'abacus'; the backends of TF.js are cpu and wasm" in done.stderr


# ------------------------------------------------------------------------------------------- repair

UNREPAIRED = ROOT / "tests" / "unrepaired"


def test_repair_rewrites_in_place_and_prints_a_report(tmp_path: Path) -> None:
    shutil.copytree(UNREPAIRED / "residual.h5", tmp_path / "web_model")
    done = kerasport_command("repair", "web_model/model.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (DONE, "")
    first, *lines = done.stdout.splitlines()
    assert first == "Repaired web_model/model.json"
    assert "  Backup   web_model/model.json.bak" in lines
    assert "  - wrote the calls of 9 layer(s) as nested lists" in lines
    done = kerasport_command("repair", "web_model", cwd=tmp_path)
    assert done.returncode == DONE
    assert done.stdout.startswith("Nothing to repair in web_model/model.json\n")


def test_repair_writes_elsewhere_and_prints_json(tmp_path: Path) -> None:
    done = kerasport_command("repair", UNREPAIRED / "residual.h5", "right", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["repaired"], told["out"]) == (
        DONE,
        True,
        str(Path("right", "model.json")),
    )
    assert sorted(digest(tmp_path / "right")) == sorted(told["files"])
    again = kerasport_command("repair", UNREPAIRED / "residual.h5", "right", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        UNUSABLE,
        "kerasport: right: already exists; use --force to replace it\n",
    )
    assert (
        kerasport_command(
            "repair", UNREPAIRED / "residual.h5", "right", "-f", cwd=tmp_path
        ).returncode
        == DONE
    )


def test_repair_of_an_unsupported_model_exits_with_1(tmp_path: Path) -> None:
    shutil.copytree(UNREPAIRED / "gru.h5", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"GRU"', '"Mystery"'), encoding="utf-8"
    )
    before = digest(tmp_path)
    done = kerasport_command("repair", path)
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert re.search(r"\n  \w+ \(Mystery\): TF.js does not have this layer", done.stderr)
    assert digest(tmp_path) == before


# ------------------------------------------------------------------------------ what cannot be used


def _not_models() -> dict[str, tuple[bytes, str]]:
    """File name → its bytes, and part of what is said of them."""
    whole = DIGITS.read_bytes()
    return {
        "empty.keras": (b"", "the file is empty"),
        "cut.keras": (whole[: len(whole) // 2], "truncated or damaged"),
        "cut.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "cannot be opened"),
        "bytes.keras": (bytes(range(256)), "not a Keras model"),
        "list.json": (b"[]", "not a Keras model"),
        "other.json": (b"{}", "not a Keras architecture"),
        "broken.json": (b'{"class_name":', "not valid JSON"),
        "deep.json": (b'{"a":' * 5000, "JSON"),
        "page.keras": (b"<!doctype html>", "a web page"),
        "pickle.pkl": (b"\x80\x04.", "never opens"),
        "name\n with lines.keras": (b"\x00", "not a Keras model"),
    }


@pytest.mark.parametrize("name", _not_models())
@pytest.mark.parametrize("command", ["convert", "check"])
def test_files_without_a_model_exit_with_3_and_a_reason(
    command: str, name: str, tmp_path: Path
) -> None:
    content, said = _not_models()[name]
    path = tmp_path / name
    path.write_bytes(content)
    done = kerasport_command(command, path, *([tmp_path / "out"] if command == "convert" else []))
    assert (done.returncode, done.stdout) == (UNUSABLE, "")
    assert done.stderr.startswith(f"kerasport: {legible(str(path))}: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_missing_files_exit_with_3(tmp_path: Path) -> None:
    for arguments in (
        ("convert", "gone.keras", "out"),
        ("check", "gone.keras"),
        (
            "convert",
            ROOT / "tests" / "recorded" / "keras-3.15.1" / "dicts.json",
            "out",
            "--weights",
            "gone.h5",
        ),
        ("check", "."),
    ):
        done = kerasport_command(*arguments, cwd=tmp_path)
        assert done.returncode == UNUSABLE
        assert done.stderr.startswith("kerasport: ")
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_created_exits_with_3(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = kerasport_command("convert", DIGITS, tmp_path / "file" / "out")
    assert done.returncode == UNUSABLE
    assert done.stderr.startswith("kerasport: ")


def test_verify_without_node_exits_with_3_and_says_what_to_do(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "KERASPORT_NODE", "no-such-node")
    monkeypatch.setitem(ENVIRONMENT, "KERASPORT_CACHE", str(converted.parent / "cache"))
    done = kerasport_command("verify", DIGITS, converted)
    assert done.returncode == UNUSABLE
    assert 'pip install "kerasport[verify]"' in done.stderr


# -------------------------------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    "arguments",
    [("convert",), ("convert", "a.keras", "b", "c"), ("check",), ("verify", "a.keras"),
          ("convert", "--json"),
     ("transmogrify",), ("convert", "a.keras", "b", "--no-such-option"),
     ("verify", "a", "b", "--rtol", "little"),
     ("convert", "a.keras", "b", "--optimizer", "--to", "tfjs-graph"),
     ("convert", "a.keras", "b.onnx", "--trainable"),
     ("check", "a.keras", "--trainable", "--to", "onnx"), ("convert", "a.keras", "b/model.json"),
     ("convert", "a.keras", "b", "--to", "onnx"),
     ("convert", "a.keras", "b", "-q", "uint8=*kernel,float16=*bias")],
)  # fmt: skip
def test_wrong_usage_exits_with_2(arguments: Sequence[str], tmp_path: Path) -> None:
    done = kerasport_command(*arguments, cwd=tmp_path)
    assert done.returncode == MISUSED
    assert "\nUsage: " in done.stderr
    if "--json" in arguments:
        told = json.loads(done.stdout)
        assert (told["error"], done.stderr.splitlines()[0]) == (
            "UsageError",
            f"kerasport: {told['message']}",
        )
    else:
        assert done.stdout == ""


def test_the_default_output_is_next_to_the_source(tmp_path: Path) -> None:
    shutil.copyfile(DIGITS, tmp_path / "model.keras")
    done = kerasport_command("convert", "model.keras", cwd=tmp_path)
    assert done.returncode == DONE
    assert done.stdout.startswith("Converted model.keras to model_web\n")
    assert sorted(digest(tmp_path / "model_web")) == ["group1-shard1of1.bin", "model.json"]
    again = kerasport_command("convert", tmp_path / "model.keras", cwd=tmp_path.parent)
    assert again.returncode == UNUSABLE
    assert "--force to replace it" in again.stderr
    assert (
        kerasport_command("convert", "model.keras", "--to", "onnx", cwd=tmp_path).returncode == DONE
    )
    assert (tmp_path / "model.onnx").is_file()
    with pytest.raises(kerasport.OptionError, match="needs a name for its output"):
        kerasport.convert(keras.Sequential([layers.Input((3,)), layers.Dense(2)]))


def test_version_prints_the_version_of_the_package() -> None:
    for option in ("--version", "-V"):
        done = kerasport_command(option)
        assert (done.returncode, done.stdout) == (DONE, f"kerasport {kerasport.__version__}\n")
    assert f'\nversion = "{kerasport.__version__}"\n' in (ROOT / "pyproject.toml").read_text(
        encoding="utf-8"
    )


def test_the_installed_script_runs_the_command() -> None:
    declared = re.search(
        r'^kerasport = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert declared
    assert resolve_name(declared[1]) is resolve_name("kerasport.cli:main")


def test_without_arguments_the_commands_are_listed() -> None:
    done = kerasport_command()
    for command in COMMANDS:
        assert command in done.stdout


COMMANDS = ("convert", "check", "repair", "verify", "doctor")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_gives_examples(command: str, option: str) -> None:
    done = kerasport_command(command, option)
    assert done.returncode == DONE
    assert (
        f"kerasport {command} {'web_model' if command == 'repair' else 'model.keras'}"
        in done.stdout
    )


def test_the_top_level_help_lists_the_exit_codes() -> None:
    assert "Exit codes: 0 done; 1 not supported" in kerasport_command("--help").stdout


def _examples() -> list[str]:
    epilogs = [command.epilog or "" for command in app.registered_commands]
    return [line for epilog in epilogs for line in str(epilog).splitlines()]


@pytest.mark.parametrize("example", _examples())
def test_examples_in_the_help_are_valid_commands(
    example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = Conversion("", "", "", "", (), {}, (), (), 0, 0)
    monkeypatch.setattr(api, "convert", lambda *_, **__: conversion)
    monkeypatch.setattr(api, "check", lambda *_, **__: Check("", "", "", (), (), ()))
    monkeypatch.setattr(api, "verify", lambda *_, **__: Verified(ok=True))
    monkeypatch.setattr(api, "doctor", lambda *_, **__: Verified(ok=True))
    monkeypatch.setattr(api, "repair", lambda *_, **__: Repair("", "", "", "", "", (), {}, (), ()))
    name, *arguments = shlex.split(example)
    assert (name, invoke(*arguments).exit_code) == ("kerasport", DONE)
