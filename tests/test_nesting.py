"""Conditional expressions and comprehensions are not nested inside their own kind.

A nested one takes several readings. Name the inner value, or write a function. `ALLOWED` has the
number of exceptions that each folder still has; it may only shrink.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "kerasport"
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

ALLOWED: Mapping[str, int] = {
    "frontends/keras/functions": 10,
    "frontends/keras/layers": 10,
    "ir": 4,
    "passes": 1,
    "targets": 9,
}
"""Folder or file in src/kerasport → number of nested expressions in it. All others have none."""


def nested(tree: ast.AST) -> Iterator[int]:
    """Lines of the conditional expressions and comprehensions that contain one of their kind."""
    for node in ast.walk(tree):
        for kinds in ((ast.IfExp,), COMPREHENSIONS):
            inner = (child for child in ast.walk(node) if child is not node)
            if isinstance(node, kinds) and any(isinstance(child, kinds) for child in inner):
                yield node.lineno


def place_of(path: Path) -> str:
    """The longest entry of `ALLOWED` that contains a module, else the module itself."""
    name = path.relative_to(SOURCE).as_posix()
    entries = [entry for entry in ALLOWED if name == entry or name.startswith(f"{entry}/")]
    return max(entries, key=len, default=name)


def test_nested_expressions_only_shrink() -> None:
    found: Counter[str] = Counter()
    lines: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        place = place_of(path)
        for line in nested(ast.parse(path.read_text(encoding="utf-8"))):
            found[place] += 1
            lines.setdefault(place, []).append(f"{path.relative_to(SOURCE)}:{line}")
    more = {place: lines[place] for place in found if found[place] > ALLOWED.get(place, 0)}
    assert not more, "name the inner value, or write a function"


def test_nested_expressions_are_found() -> None:
    source = "a if b else c if d else e\n[x for x in y if any(z for z in x)]\n[x for x in y]"
    assert list(nested(ast.parse(source))) == [1, 2]
