"""What can go wrong, as one tree.

KerasportError
├── ReadError               the file is not a Keras model that can be read, or a part of it is missing
│   └── HostileFileError    the file asks for what no model needs: code, other files, endless memory
├── UnsupportedError        the model is sound, but has no exact translation
│   ├── UnsupportedPart     one layer, option or call of it
│   └── UnsupportedModel    all the parts that one model met, together
├── ShapeError              shapes do not fit together
├── OptionError             an option has no such value, or does not go with another
├── OutputExistsError       the output is there already
├── MissingPackageError     a package is not installed that only some conversions need
└── VerifyError             verification could not run
    └── MismatchError       it ran, and found outputs that differ
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHORT = 100  # characters of a name or value within a line
LINE = 800  # characters of a line of a message
SHOWN = 50  # parts of a model that one message tells of


def legible(text: str, longest: int = LINE) -> str:
    """A text from a file as it may be shown: in one line, printable, and cut in the middle where it is long."""
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def quoted(value: object) -> str:
    """A name or value from a file, as Python writes it, in short."""
    return legible(repr(value), SHORT)


class KerasportError(Exception):
    """Base of every error that this package raises on purpose; whatever a file holds, the message can be printed."""

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(map(legible, message.split("\n"))))


class ReadError(KerasportError):
    """The file is not a Keras model that can be read, or a part of it is missing."""

    def __init__(self, message: str = "") -> None:
        super().__init__(legible(message))


class HostileFileError(ReadError):
    """The file asks for what no model needs: running code, other files, endless memory."""


class ShapeError(KerasportError):
    """Shapes do not fit together."""


class OptionError(KerasportError, ValueError):
    """An option has no such value, or does not go with another; `option` names the one at fault, in Python's words."""

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


class OutputExistsError(KerasportError):
    """The output is there already, and replacing it was not asked for."""


class MissingPackageError(KerasportError):
    """A package is not installed that only some conversions need; the message says how to install it."""


class VerifyError(KerasportError):
    """Verification could not run."""


class MismatchError(VerifyError):
    """The converted model computes other numbers than the original."""


class UnsupportedError(KerasportError):
    """The model is sound, but has no exact translation."""


@dataclass(frozen=True)
class Problem:
    """One part of a model that a target cannot express exactly.

    `option` is the config key at fault, empty where the layer as a whole is; `remedy` says what would do.
    """

    layer: str
    class_name: str
    reason: str
    option: str = ""
    value: object = field(default=None, compare=False)  # may be anything that a config holds
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON takes it."""
        plain = self.value is None or isinstance(self.value, bool | int | float | str)
        return {**vars(self), "value": self.value if plain else repr(self.value)}

    def __str__(self) -> str:
        what = legible(self.class_name, SHORT)
        if self.option:
            what = f"{what} with {legible(self.option, SHORT)}={quoted(self.value)}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return legible(f"layer {quoted(self.layer)}: {what}: {self.reason}{remedy}")


class UnsupportedPart(UnsupportedError):
    """One layer, option or call that has no exact translation."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class UnsupportedModel(UnsupportedError):
    """Everything of one model that has no exact translation, together."""

    def __init__(self, problems: Sequence[Problem], target: str = "") -> None:
        self.problems, self.target = tuple(problems), target
        lines = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN])
        if (more := len(self.problems) - SHOWN) > 0:
            lines += f"\n  and {more} more, which kerasport check lists"
        into = f" to {with_article(target)}" if target else ""
        super().__init__(f"{len(self.problems)} part(s) of the model have no exact translation{into}:{lines}")


def with_article(noun: str) -> str:
    """A noun as in a sentence."""
    return f"{'an' if noun[:1] in tuple('aeio') else 'a'} {noun}"
