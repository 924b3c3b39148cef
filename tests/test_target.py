"""A target of our own: nothing but its value and a row in the table is needed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests import forged
from tests.forged import put
from typer.testing import CliRunner

import kerasport
from kerasport.cli import app
from kerasport.errors import OptionError
from kerasport.ir.graph import show
from kerasport.ir.program import Program
from kerasport.targets import TARGETS, Plan
from kerasport.targets.output import replacing_files
from kerasport.targets.plan import Output, fields_of, refused
from kerasport.targets.target import Options, Target

# --- the target


@dataclass(frozen=True, kw_only=True)
class TextPlan(Plan):
    """A graph as text before it is written."""

    text: str


def plan(program: Program, options: Options) -> Plan:
    """Plan a text file: one line for each operation."""
    del options
    if program.graph is None:
        return refused(TEXT, program, program.problems)
    inputs = {node.name: node for node in program.graph.inputs}
    outputs = [port.name for port in program.outputs]
    return TextPlan(target=TEXT, text=show(program.graph), **fields_of(program, inputs, outputs))


def write(
    plan: TextPlan, out: Path, options: Options, force: bool, progress: Callable[[int], None]
) -> Output:
    """Write the text to a file, complete or not at all."""
    del options
    with replacing_files([out], force=force) as folder:
        (folder / out.name).write_text(plan.text, encoding="utf-8")
    progress(len(plan.text))
    return Output((out.name,), len(plan.text))


TEXT = Target(
    name="text",
    title="text file",
    suffix=".txt",
    plan=plan,
    write=write,
    rounded=lambda plan, options: plan,
)

# --- end of the target


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model, where the table of targets has one more row."""
    monkeypatch.setitem(TARGETS, TEXT.name, TEXT)
    return put(tmp_path / "model.keras", forged.keras())


def test_a_target_is_a_value_and_a_row(model: Path, tmp_path: Path) -> None:
    made = kerasport.convert(model, tmp_path / "model.txt")
    assert (made.target, made.format, made.files) == ("text", "text file", ("model.txt",))
    assert "MatMul" in (tmp_path / "model.txt").read_text()
    assert made.inputs == {"x": (None, 4)}
    check = kerasport.check(model, to="text")
    assert check.convertible
    assert "converts to a text file" in str(check)


def test_the_command_line_offers_the_toy_target(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.txt"
    done = CliRunner().invoke(app, ["convert", str(model), str(out)])
    assert done.exit_code == 0, done.output
    assert out.is_file()
    again = CliRunner().invoke(app, ["convert", str(model), str(out)])
    assert "already exists" in again.output
    assert CliRunner().invoke(app, ["convert", str(model), str(out), "--force"]).exit_code == 0
    assert CliRunner().invoke(app, ["check", str(model), "--to", "text"]).exit_code == 0


@pytest.mark.parametrize(
    ("out", "options", "reason"),
    [
        ("model.txt", {"to": "tfjs-graph"}, "a file that ends in .txt is a text file"),
        ("folder", {"to": "text"}, "a text file must be written to a file that ends in .txt"),
        ("model.txt", {"shard_size": 20_000}, "shard_size is an option of TF.js"),
        ("model.txt", {"trainable": True}, "a text file cannot be trained; use tfjs-layers"),
    ],
)
def test_options_of_other_targets_are_refused(
    model: Path, out: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=reason):
        kerasport.convert(model, model.parent / out, **options)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


NAMED_ELSEWHERE = {
    "targets/__init__.py": "the table of targets",
    "verification/runtimes/__init__.py": "the table of runtimes",
    "diagnosis/routes.py": "the export of Keras itself",
    "diagnosis/probe.py": "tf2onnx, which the export of Keras needs",
    "frontends/keras/read/archive.py": "an ONNX file is not a source",
    "commands.py": "a group of options in the help",
    "cli.py": "options of the help",
}
"""File outside of the target → why its code names ONNX."""


def test_other_code_does_not_name_a_target() -> None:
    """Names and strings in code; docstrings, comments and sentences of messages may explain."""
    root = Path(kerasport.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        place = path.relative_to(root).as_posix()
        own = place.startswith(("targets/onnx", "verification/runtimes/onnx"))
        if not own and "node_modules" not in place and any(map(names_onnx, words_of(path))):
            found.add(place)
    assert found == set(NAMED_ELSEWHERE)


def words_of(path: Path) -> Iterator[str]:
    """The names in a module, and its strings of one word."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "" if " " in node.value else node.value


def names_onnx(word: str) -> bool:
    return "onnx" in word.lower()


def test_problems_of_the_program_are_its_own(model: Path) -> None:
    broken = replace(
        Program("model", "", None), problems=(kerasport.Problem("x", "Dense", "not supported"),)
    )
    assert plan(broken, Options()).problems == broken.problems
    assert model.is_file()
