"""Which packages a test module needs, by what it and the test modules that it imports say."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent


def missing(path: Path) -> bool:
    """Whether a module of the tests needs a package that is not installed."""
    return any(find_spec(name) is None for name in packages(path))


def packages(path: Path) -> set[str]:
    """Top-level packages that importing a module of the tests imports."""
    found: set[str] = set()
    waiting, seen = [path], {path}
    while waiting:
        for name in _imported(waiting.pop()):
            top, *parts = name.split(".")
            if name.startswith("kerasport.targets.onnx"):
                found.add("onnx_ir")  # of the extra `onnx`
            if top != "tests":
                found.add(top)
                continue
            new = set(_files(parts)) - seen
            seen |= new
            waiting += new
    return found


@cache
def _imported(path: Path) -> set[str]:
    """Full names of the modules, and names in them, that statements outside of functions import."""
    names: set[str] = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module.startswith("tests")
            }
    return names


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements that run on import, without those under `if TYPE_CHECKING`."""
    found: list[ast.stmt] = []
    for node in body:
        if (isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING") or isinstance(
            node, ast.With | ast.Try
        ):
            found += _statements(node.body)
        else:
            found.append(node)
    return found


def _files(parts: list[str]) -> list[Path]:
    """The files of a module of the tests, and of the packages around it."""
    files, place = [], HERE
    for part in parts:
        place /= part
        if place.is_dir():
            files.append(place / "__init__.py")
        elif place.with_suffix(".py").is_file():
            files.append(place.with_suffix(".py"))
    return [file for file in files if file.is_file()]
