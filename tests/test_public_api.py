"""The names that users import, the way in which imports run, and what reports look like."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import kerasport
from kerasport import errors
from kerasport.errors import Problem
from kerasport.report import Check, Conversion, LayerOutcome, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "kerasport"

# ---------------------------------------------------------------------------------------- the names


def test_all_is_what_is_exported() -> None:
    own = {
        name
        for name, value in vars(kerasport).items()
        if getattr(value, "__module__", "").startswith("kerasport.")
    }
    # a subpackage of the same name as a function must not take its place
    assert own | {*kerasport.LATER, "__version__"} == set(kerasport.__all__)
    assert all(hasattr(kerasport, name) for name in kerasport.__all__)
    assert kerasport.__all__ == sorted(kerasport.__all__)


@pytest.mark.needs("onnx_ir")
def test_the_functions_stay_functions_whatever_is_imported() -> None:
    script = """if True:
        import importlib, pkgutil, kerasport
        for module in pkgutil.walk_packages(kerasport.__path__, "kerasport."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        print(*[name for name in ("check", "convert", "doctor", "repair", "verify") if not callable(getattr(kerasport, name))])
    """
    assert _printed(script) == ""


def test_the_tree_of_errors_is_that_of_its_docstring() -> None:
    assert errors.__doc__
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"([│ ]*(?:[├└]── )?)(\w+)(?:\s{2,}|$)", line)
        if not found or not isinstance(getattr(errors, found[2], None), type):
            continue
        above = [*above[: len(found[1]) // 4], found[2]]
        drawn[found[2]] = above[-2] if len(above) > 1 else "Exception"
    raised = {
        name: cls.__bases__[0].__name__
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, Exception)
    }
    assert drawn == raised


def test_public_functions_are_documented() -> None:
    for name in ("check", "convert", "doctor", "repair", "verify"):
        documented = getattr(importlib.import_module("kerasport.api"), name).__doc__ or ""
        assert documented.splitlines()[0].endswith(".")
        assert "Raises:" in documented


# ------------------------------------------------------------------------------- the way of imports

# Every part may import those above it and, inside a package, its own; an import within a function is not looked at.
ORDER = (
    ("errors", "releases"),
    ("urls",),
    ("report",),
    ("budget",),
    ("weights",),
    ("ir",),
    ("frontends",),
    ("passes",),
    ("targets", "verification"),
    ("diagnosis",),
    ("api",),
    ("__init__",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}


def _imports(path: Path) -> Iterator[str]:
    """The parts of kerasport that a module imports as soon as it is imported itself."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef) else ():
            if (
                isinstance(inner, ast.ImportFrom)
                and (inner.module or "").split(".")[0] == "kerasport"
            ):
                _, _, inside = (inner.module or "").partition(".")
                yield from [inside] if inside else [alias.name for alias in inner.names]
            if isinstance(inner, ast.Import):
                yield from (
                    name.name.partition(".")[2]
                    for name in inner.names
                    if name.name.startswith("kerasport.")
                )


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES))
)
def test_imports_run_one_way(path: Path) -> None:
    if "node_modules" in path.parts:
        return
    part = _part(".".join(path.relative_to(SOURCES).with_suffix("").parts))
    for imported in _imports(path):
        other = _part(imported)
        assert other == part or RANK[other] < RANK[part], f"{part!r} comes before {imported!r}"


def _part(module: str) -> str:
    """The part of ORDER that a module belongs to: the longest one that contains it."""
    parts = [part for part in RANK if f"{module}.".startswith(f"{part}.")]
    assert parts, f"{module!r} has no place in ORDER"
    return max(parts, key=len)


def test_operations_are_the_same_whichever_way_they_are_imported_first() -> None:
    script = """if True:
        import kerasport.ir
        import kerasport.ir.ops.window as window
        from kerasport.ir import ops
        print(ops.Conv is window.Conv, ops.window is window)
    """
    assert _printed(script) == "True True"


HEAVY = (
    "tensorflow",
    "keras",
    "tf_keras",
    "jax",
    "torch",
    "onnx",
    "onnx_ir",
    "scipy",
    "sklearn",
    "PIL",
)


def test_nothing_heavy_is_imported_by_a_conversion(tmp_path: Path) -> None:
    script = f"""if True:
        import sys, kerasport.cli
        kerasport.convert({str(ROOT / "examples" / "digits.keras")!r}, {str(tmp_path / "out")!r})
        print(*[name for name in {HEAVY!r} if name in sys.modules])
    """
    assert _printed(script) == ""


def test_the_command_line_starts_without_numpy_and_rich() -> None:
    script = """if True:
        import sys, kerasport, kerasport.cli
        print("convert" in dir(kerasport), *[name for name in ("numpy", "h5py", "rich") if name in sys.modules])
    """
    assert _printed(script) == "True"


def _printed(script: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_dependencies_are_those_that_are_imported() -> None:
    declared = re.search(
        r"^dependencies = \[(.*?)^\]",
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert declared
    needed = {name.replace("-", "_") for name in re.findall(r'"([\w-]+)', declared[1])}
    imported = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"kerasport"} - OPTIONAL
    assert foreign == needed


OPTIONAL = {
    "keras",
    "tf_keras",
    "typing_extensions",
}  # in processes of their own, and for types alone
OPTIONAL |= {"onnx", "onnx_ir", "onnxruntime"}  # for ONNX models alone

# ------------------------------------------------------------------------------------------ reports

HOSTILE = "<script>alert(1)</script>"
LAYER = LayerOutcome(f"outer/{HOSTILE}", "Dense", "native", "layer_1")
PROBLEM = Problem("memory", "GRU", "TF.js has another one", "reset_after", True, "use an LSTM")
CHECK = Check(
    "model.keras", "tfjs-layers", "3.15.1", (LAYER,), (PROBLEM,), ("a note",),
    format="TF.js layers-model",
)  # fmt: skip
CONVERSION = Conversion(
    source="model.keras",
    out="web_model",
    target="tfjs-layers",
    format="TF.js layers-model",
    writer="3.15.1",
    inputs={"image": (None, 8, 8, 1)},
    outputs=("digit",),
    layers=(LAYER,),
    renamed={HOSTILE: "layer_1"},
    notes=("a note",),
    files=("model.json",),
    weights=12_345,
    nbytes=49_380,
)


@pytest.mark.parametrize(
    "report", [LAYER, PROBLEM, CHECK, CONVERSION], ids=lambda report: type(report).__name__
)
def test_reports_are_frozen(report: Any) -> None:
    for field in dataclasses.fields(report):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(report, field.name, None)


def test_a_check_prints_what_does_not_convert() -> None:
    assert str(CHECK).splitlines() == [
        "model.keras does not convert to a TF.js layers-model: 1 part is not supported",
        "",
        "  Written by  Keras 3.15.1",
        "  Layers      1 native",
        "",
        "Not supported",
        "  memory (GRU, reset_after=True)",
        "    TF.js has another one",
        "    Fix: use an LSTM",
        "",
        "Notes",
        "  - a note",
    ]


def test_lines_wrap_but_words_do_not() -> None:
    path = "/".join(["directory"] * 12)
    told = dataclasses.replace(CHECK, source=path, notes=("word " * 40 + path,))
    lines = str(told).splitlines()
    assert path in lines
    assert f"    {path}" in lines
    assert all(len(line) <= 80 for line in lines if path not in line)


def test_a_conversion_prints_what_a_page_needs_to_know() -> None:
    lines = str(CONVERSION).splitlines()
    assert lines[:4] == [
        "Converted model.keras to web_model",
        "",
        "  Format  TF.js layers-model",
        "  Size    49.4 kB in 1 file, 12,345 parameters",
    ]
    assert "  Input   image  [batch, 8, 8, 1]  float32" in lines
    assert "  Output  digit" in lines
    assert f"  - layer {HOSTILE!r} is now 'layer_1'" in lines
    assert "  - a note" in lines


@pytest.mark.parametrize("report", [CHECK, CONVERSION], ids=lambda report: type(report).__name__)
def test_reports_show_in_notebooks_without_running_what_a_file_says(report: Any) -> None:
    if isinstance(report, Check):
        report = dataclasses.replace(report, source=HOSTILE)
    shown = report._repr_html_()
    assert "<table>" in shown
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown


@pytest.mark.parametrize("report", [CHECK, CONVERSION], ids=lambda report: type(report).__name__)
def test_reports_are_json(report: Any) -> None:
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert told["layers"][0]["class_name"] == "Dense"


def test_values_of_options_are_json_whatever_they_are() -> None:
    strange = dataclasses.replace(PROBLEM, value=(1, {2}))
    assert (
        dataclasses.replace(CHECK, problems=(strange,)).to_dict()["problems"][0]["value"]
        == "(1, {2})"
    )


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (49_380, "49.4 kB"), (2_500_000, "2.5 MB"),
     (3_000_000_000, "3.0 GB"), (5_000_000_000_000, "5000.0 GB")],
)  # fmt: skip
def test_sizes_read_well(nbytes: int, text: str) -> None:
    assert readable(nbytes) == text
