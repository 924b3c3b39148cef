"""Conditional expressions and comprehensions are not nested inside their own kind.

A nested one takes several readings. Name the inner value, or write a function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "kerasport"
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def nested(tree: ast.AST) -> Iterator[int]:
    """Lines of the conditional expressions and comprehensions that contain one of their kind."""
    for node in ast.walk(tree):
        for kinds in ((ast.IfExp,), COMPREHENSIONS):
            inner = (child for child in ast.walk(node) if child is not node)
            if isinstance(node, kinds) and any(isinstance(child, kinds) for child in inner):
                yield node.lineno


def test_expressions_are_not_nested() -> None:
    lines = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        if "node_modules" not in path.parts
        for line in nested(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert lines == [], "name the inner value, or write a function"


def test_nested_expressions_are_found() -> None:
    source = "a if b else c if d else e\n[x for x in y if any(z for z in x)]\n[x for x in y]"
    assert list(nested(ast.parse(source))) == [1, 2]
