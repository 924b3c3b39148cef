"""Texts for users are plain modern English, without listed words and spelling mistakes."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.language import AVOID, CODE, NAMES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "kerasport"
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
    ),
    *sorted(ROOT.glob("docs/*.md")),
]
HELP = ("cli.py", "cli/")
"""Where docstrings are shown to the user: those of commands are their help."""


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string in a module that can be a message; … replaces values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
    }
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside | notes
        ):
            if not is_code(node.value):
                yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef) and path.relative_to(SOURCE).as_posix().startswith(
            HELP
        ):
            yield node.lineno, ast.get_docstring(node) or ""


def is_code(text: str) -> bool:
    """Whether a string is a program that another Python runs."""
    return "\n" in text and "import" in text


def paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """The line and text of every paragraph, row and heading of a page, without blocks of code."""
    blocks = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    text = blocks.sub(lambda block: "\n" * block[0].count("\n"), path.read_text(encoding="utf-8"))
    lines, start = [*text.splitlines(), ""], 0
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith(("|", "#", "*")):
            continue
        if lines[start:number]:
            yield start + 1, " ".join(map(str.strip, lines[start:number]))
        start = number
    yield start + 1, lines[start]


def found(texts: Iterator[tuple[int, str]]) -> list[str]:
    """The words and patterns to avoid in texts, each with its line and a better wording."""
    return [
        f"line {line}: {match[0]!r}, better: {better}: {text.strip()[:200]!r}"
        for line, text in texts
        for pattern, better in compiled().items()
        if (match := pattern.search(re.sub(CODE, "…", text)))
    ]


@cache
def compiled() -> dict[re.Pattern[str], str]:
    """The list, with each pattern compiled."""
    return {re.compile(pattern, re.IGNORECASE): better for pattern, better in AVOID.items()}


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix()
)
def test_messages_are_plain_english(path: Path) -> None:
    assert found((line, text) for line, text in messages(path) if " " in text.strip()) == []


def notes(path: Path) -> Iterator[tuple[int, str]]:
    """The line and text of every docstring and comment in a module, without doctests."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines = str(node.value.value).splitlines()
            yield node.lineno, " ".join(line.strip() for line in lines if ">>>" not in line)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize(
    "path",
    sorted(SOURCE.rglob("*.py")),
    ids=lambda path: path.relative_to(SOURCE).as_posix(),
)
def test_docstrings_and_comments_are_plain_english(path: Path) -> None:
    assert found(notes(path)) == []


def variables(path: Path) -> Iterator[tuple[int, str]]:
    """The line and name of every variable and parameter in a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def test_variables_say_what_they_contain() -> None:
    assert [
        f"{path.relative_to(SOURCE)}:{line}: {name!r}, better: {NAMES[name]}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, name in variables(path)
        if name in NAMES
    ] == []


TESTS = re.compile(r"_(told|otherwise|whatever|beside|behind|anew|heeds?)(_|$)")
"""Words to avoid in names of tests: say what is checked."""


def test_names_of_tests_are_plain_english() -> None:
    names = [
        node.name
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert [name for name in names if TESTS.search(name)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_are_plain_english(path: Path) -> None:
    assert found(paragraphs(path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "it heeds no mask",
        "complex numbers, which TF.js has not on all of its backends",
        "Two lines beside the model",
        "the model is given a mask of before",
        "an option that TF.js cannot be told",
        "the weights are quantised",
        "Run Keras in a process of its own",
        "An array of so many strings",
        "Layers one behind the other",
        "The shapes are worked out at conversion",
        "What TF.js makes of the numbers",
        "images brought to one size",
    ],
)
def test_the_check_finds_words_to_avoid(text: str) -> None:
    assert found(iter([(1, text)]))


def test_messages_of_all_kinds_are_found() -> None:
    texts = [text for path in SOURCE.rglob("*.py") for _, text in messages(path)]
    assert "expected a finite number" in texts  # an argument
    assert "the file is empty" in texts  # in a table
    assert (
        "…: no such file; pass the model.json that tensorflowjs_converter wrote" in texts
    )  # formatted
    assert "Every string in a module" not in texts  # not a docstring


@pytest.mark.skipif(find_spec("codespell_lib") is None, reason="codespell is not installed")
def test_spelling() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
