"""Records behave as frozen dataclasses, at a fraction of the cost of creating their classes."""

from __future__ import annotations

import dataclasses
import pkgutil
from dataclasses import FrozenInstanceError, field, fields, replace
from importlib import import_module
from typing import Any, ClassVar

import pytest

import kerasport
from kerasport.ir.tensor import Node
from kerasport.record import Record, Value


class Point(Value):
    """A point, with a field that it computes."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = field(default_factory=tuple)
    total: int = field(init=False)
    unit: ClassVar[str] = "px"

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.x + self.y)


class Named(Point):
    """A point with a name; it inherits the fields of a point."""

    name: str = "?"


class Plain(Record):
    """A record without equality."""

    x: int


def test_fields_come_from_arguments_names_and_defaults() -> None:
    assert (Point(1).y, Point(1, 2).total, Point(y=5, x=2).total) == (0, 3, 7)
    assert Point(1).tags == ()
    assert Point(1).unit == "px"
    assert Named(1, 2, ("a",), "p").name == "p"
    assert Named(1, name="q").total == 1


@pytest.mark.parametrize("arguments", [{}, {"y": 1}, {"x": 1, "z": 2}])
def test_missing_and_unknown_fields_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Point"):
        Point(**arguments)


def test_too_many_and_repeated_values_are_refused() -> None:
    with pytest.raises(TypeError, match="Point"):
        Point(1, 2, (), 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Point"):
        Point(1, x=2)  # type: ignore[misc]


def test_fields_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError, match="'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="'x'"):
        del point.x
    assert point.x == 1


def test_the_functions_of_dataclasses_work() -> None:
    assert replace(Named(1, 2, name="p"), y=5) == Named(1, 5, name="p")
    assert [f.name for f in fields(Named)] == ["x", "y", "tags", "total", "name"]
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 0, "tags": (), "total": 1}
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_values_are_equal_by_class_and_fields() -> None:
    assert Point(1) == Point(1)
    assert hash(Point(1)) == hash(Point(1))
    assert Point(1) != Point(2)
    assert Point(1) != Named(1)
    assert Plain(1) != Plain(1)


def test_a_record_is_shown_with_its_fields() -> None:
    assert repr(Named(1, name="p")) == "Named(x=1, y=0, tags=(), name='p')"


def test_every_node_is_a_record_without_compiled_functions() -> None:
    for module in pkgutil.walk_packages(kerasport.__path__, "kerasport."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found = _subclasses(Node)
    assert len(found) > 100
    assert [cls.__name__ for cls in found if "__setattr__" in vars(cls)] == []


def _subclasses(cls: type[Record]) -> list[type[Record]]:
    return [each for child in cls.__subclasses__() for each in (child, *_subclasses(child))]
