"""The docstrings of the public API: every argument, attribute and error is described."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

import kerasport

pytestmark = pytest.mark.every_row

PUBLIC = {name: getattr(kerasport, name) for name in kerasport.__all__ if name != "__version__"}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}


def sections(thing: Any) -> dict[str, dict[str, str]]:
    """Sections of a docstring in Google style: title → name → description."""
    found: dict[str, dict[str, str]] = {}
    parts = re.split(
        r"^(Args|Attributes|Returns|Raises):\n",
        inspect.cleandoc(thing.__doc__ or ""),
        flags=re.MULTILINE,
    )
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        text = textwrap.dedent(body.split("\n\n")[0])
        entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
        named = (re.match(r"([\w.]+): (.+)", entry, re.DOTALL) for entry in entries)
        found[title] = {match[1]: match[2].strip() for match in named if match}
        if title == "Returns":
            found[title] = {"": text.strip()}
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_describe_arguments_result_and_errors(name: str) -> None:
    function = FUNCTIONS[name]
    said = sections(function)
    assert list(said["Args"]) == list(inspect.signature(function).parameters)
    assert all(said["Args"].values())
    assert said["Returns"][""]
    for error in said["Raises"]:
        assert error in PUBLIC or hasattr(builtins, error), error
    assert "InternalError" in said["Raises"]


def attributes(class_: type) -> list[str]:
    """The public attributes that instances of a class have, without properties and methods."""
    if is_dataclass(class_):
        return sorted(field.name for field in fields(class_) if not field.name.startswith("_"))
    found: set[str] = set()
    for base in class_.__mro__:
        if base.__module__.startswith("kerasport"):
            assigned = re.findall(r"self\.([a-z]\w*)(?=[ ,].*= )", inspect.getsource(base))
            found.update(assigned)
    return sorted(found)


@pytest.mark.parametrize("name", CLASSES)
def test_classes_describe_their_attributes(name: str) -> None:
    class_ = CLASSES[name]
    assert inspect.getdoc(class_) is not None
    assert class_.__doc__
    assert sorted(sections(class_).get("Attributes", {})) == attributes(class_)


@pytest.mark.parametrize("name", CLASSES)
def test_public_methods_and_properties_have_docstrings(name: str) -> None:
    for attribute, member in vars(CLASSES[name]).items():
        if not attribute.startswith("_") and (
            callable(member) or isinstance(member, property | classmethod)
        ):
            assert inspect.getdoc(member), attribute


def test_every_error_that_a_function_raises_directly_is_described() -> None:
    for function in FUNCTIONS.values():
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        raised = {
            each.exc.func.id
            for each in ast.walk(tree)
            if isinstance(each, ast.Raise)
            and isinstance(each.exc, ast.Call)
            and isinstance(each.exc.func, ast.Name)
        }
        assert raised <= set(sections(function)["Raises"]), function
