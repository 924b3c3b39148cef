"""The names that users import, the direction of imports, and the appearance of reports."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
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
def test_imports_do_not_replace_public_functions_by_modules() -> None:
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

# Every part may import those above it. An import inside a function is not looked at.
ORDER = (
    ("errors", "record", "releases"),
    ("urls",),
    ("report",),
    ("budget",),
    ("weights",),
    ("ir",),
    ("frontends",),
    ("source",),
    ("passes",),
    ("targets",),
    ("verification",),
    ("diagnosis",),
    ("api",),
    ("__init__",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
FILES = {
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCES.rglob("*.py"))
    if "node_modules" not in path.parts
}
"""Name of a module inside kerasport → its file; a package is its __init__.py."""


def _imports(module: str, *, for_types: bool = True) -> Iterator[str]:
    """The modules of kerasport that a module imports as soon as it is imported itself.

    That includes submodules that it imports by name from their package.
    """
    for node in _at_import(ast.parse(FILES[module].read_text(encoding="utf-8")), for_types):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            # the package itself is imported before any of its modules
            if name.startswith("kerasport.") and name != "kerasport.__version__":
                yield _module(name.partition(".")[2])


def _at_import(node: ast.AST, for_types: bool) -> Iterator[ast.AST]:
    """The nodes of a module that run when it is imported."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(inner, ast.If) and "TYPE_CHECKING" in ast.dump(inner.test) and not for_types:
            continue
        yield inner
        yield from _at_import(inner, for_types)


def _module(name: str) -> str:
    """The module that a dotted name is in, or that it names."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name or "__init__"


@pytest.mark.every_row
@pytest.mark.parametrize("module", FILES)
def test_imports_run_one_way(module: str) -> None:
    part = module.partition(".")[0]
    for imported in _imports(module):
        other = imported.partition(".")[0]
        assert other in RANK, f"{other!r} has no place in ORDER"
        assert other == part or RANK[other] < RANK[part], f"{part!r} comes before {imported!r}"


def test_no_module_imports_itself_through_others() -> None:
    """Inside of a part there is no declared order, but no circle either."""
    graph = {module: {*_imports(module, for_types=False)} - {module} for module in FILES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


def test_modules_are_not_imported_by_strings() -> None:
    """A name in a string escapes the tests above; the public names are loaded on first use."""
    found = {
        module
        for module, path in FILES.items()
        if re.search(r"import_module\(f?[\"']kerasport", path.read_text(encoding="utf-8"))
    }
    assert found <= {"__init__"}


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


def test_a_layers_model_needs_no_operations(tmp_path: Path) -> None:
    """A small conversion takes about as long as its imports."""
    unused = ("ml_dtypes", "kerasport.ir.ops.movement", "kerasport.targets.onnx.plan")
    script = f"""if True:
        import sys, kerasport.cli
        kerasport.convert({str(ROOT / "examples" / "digits.keras")!r}, {str(tmp_path / "out")!r})
        print(*[name for name in {unused!r} if name in sys.modules])
    """
    assert _printed(script) == ""


def test_operators_of_tensors_import_the_operations() -> None:
    script = """if True:
        from kerasport.ir.tensor import Input, TensorType
        x = Input("x", TensorType("float32", ("batch", 3)))
        print(2 * x + 1 - x / 2, -(x**2))
    """
    assert "Neg" in _printed(script)


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


def test_values_of_options_are_always_json() -> None:
    strange = dataclasses.replace(PROBLEM, value=(1, {2}))
    assert (
        dataclasses.replace(CHECK, problems=(strange,)).to_dict()["problems"][0]["value"]
        == "(1, {2})"
    )


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (49_380, "49.4 kB"),
          (2_500_000, "2.5 MB"),
     (3_000_000_000, "3.0 GB"), (5_000_000_000_000, "5000.0 GB")],
)  # fmt: skip
def test_sizes_read_well(nbytes: int, text: str) -> None:
    assert readable(nbytes) == text
