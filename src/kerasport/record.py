"""Frozen dataclasses that are cheap to create.

`@dataclass(frozen=True)` compiles up to seven functions for each class whenever Python starts. With
130 classes, that was a fifth of the time of a small conversion. The subclasses of `Record` are
dataclasses too, so that `replace`, `fields` and `match` work, but they share these functions.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Type checkers read this decorator. It does nothing at run time."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
class Record:
    """An immutable object with named fields, equal only to itself.

    A subclass declares its fields as a dataclass does. `__post_init__` may set those that are
    marked with `field(init=False)`, by `object.__setattr__`.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__annotations__:
            _declare(cls)
            cls._names = tuple(cls.__match_args__)  # type: ignore[attr-defined]

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self._names
        if named or len(values) != len(names):
            values = _bound(type(self), values, named)
        self.__dict__.update(zip(names, values, strict=True))
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check or complete the fields. Subclasses extend it."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names)
        return f"{type(self).__qualname__}({shown})"


_declare = dataclass(init=False, repr=False, eq=False)
"""Makes a dataclass of a class without compiling a function."""

_declare(Record)


@dataclass_transform(frozen_default=True, eq_default=True, field_specifiers=(field,))
class Value(Record):
    """A record that is equal to records of the same class with equal constructor arguments."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._names)


def _bound(cls: type[Record], values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """The value of every field of the constructor, from arguments and defaults.

    Raises:
        TypeError: there is an argument too many, or none for a field without a default.
    """
    names = cls._names
    wrong = [name for name in named if name not in names[len(values) :]]
    bound = {**dict(zip(names, values, strict=False)), **named}
    for name in names:
        if name not in bound:
            declared = cls.__dataclass_fields__[name]
            factory = declared.default_factory
            bound[name] = declared.default if factory is MISSING else factory()
    missing = [name for name in names if bound[name] is MISSING]
    if missing or wrong or len(values) > len(names):
        raise TypeError(
            f"{cls.__name__}({', '.join(names)}) got {len(values)} values by position; "
            f"missing: {missing}; unknown or repeated: {wrong}"
        )
    return tuple(bound[name] for name in names)
