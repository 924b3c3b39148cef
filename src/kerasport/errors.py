"""The exceptions of kerasport, as one tree.

KerasportError
├── ReadError               the file is not a readable Keras model, or a part of it is missing
│   └── HostileFileError    the file tries to run code, read other files or exhaust memory
├── UnsupportedError        the model is valid, but cannot be converted exactly
│   ├── UnsupportedPart     one layer, option or call of it
│   ├── UnsupportedModel    all unsupported parts of one model, together
│   └── TooLargeError       the output would be much larger than the file
├── ShapeError              shapes do not fit together
├── OptionError             an option has an invalid value, or conflicts with another
├── OutputExistsError       the output already exists
├── MissingPackageError     an optional package is not installed
├── WriteError              the output cannot be written: disk full, directory read-only
├── InternalError           a bug in kerasport
└── VerifyError             verification could not run
    └── MismatchError       verification ran and found different outputs

Refusal                     internal: why a part cannot be converted; becomes a Problem
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import PurePath
from typing import Any, TypeAlias

Tell: TypeAlias = Callable[[int, int], None]
"""A progress callback: bytes done, bytes in total."""

SHORT = 100  # characters of a name or value within a line
LINE = 800  # characters of a line of a message
SHOWN = 50  # parts of a model that one message lists


def legible(text: str, longest: int = LINE) -> str:
    """Make a text from a file printable on one line, with the middle of long texts omitted."""
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def quoted(value: object) -> str:
    """A name or value from a file as a short Python literal."""
    return legible(repr(value), SHORT)


class KerasportError(Exception):
    """Base of all errors that kerasport raises on purpose. The message is always printable."""

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(map(legible, message.split("\n"))))


class ReadError(KerasportError):
    """The file is not a readable Keras model, or a part of it is missing.

    Attributes:
        message: what is wrong, without the place.
        place: where in the file, from the outside in: "m.keras: config.layers[2].config.layer".
    """

    def __init__(self, message: str = "", place: str = "") -> None:
        super().__init__(legible(f"{place}: {message}" if place else message))
        self.message, self.place = message, place

    def inside(self, outer: str, separator: str = ".") -> ReadError:
        """The same error with an enclosing place prepended."""
        place = f"{outer}{separator}{self.place}" if self.place else outer
        return type(self)(self.message, place)


@contextmanager
def placed(step: str, writer: str = "Keras") -> Iterator[None]:
    """Convert errors of the block to `ReadError`s that name the part of the file that it reads.

    `step` leads to the part from the enclosing one: "config.layers[2]" or "layer 'dense'". If it is
    empty, the block reads the whole file. `writer` is the program that writes such files.
    """
    try:
        yield
    except ReadError as error:
        if not step or error.message.startswith(f"{step}: "):
            raise
        raise error.inside(step) from error.__cause__
    except KerasportError:
        raise
    except MemoryError as error:
        raise ReadError("not enough memory to read it", step) from error
    except RecursionError as error:
        raise ReadError("it is nested too deeply", step) from error
    except OSError as error:
        raise ReadError(f"cannot be read ({error.strerror or error})", step) from error
    except Exception as error:
        what = f"{type(error).__name__}: {legible(str(error), 200)}"
        message = f"this does not have the structure that {writer} writes ({what})"
        raise ReadError(message, step) from error


@contextmanager
def of_file(where: str) -> Iterator[None]:
    """Prefix each `ReadError` of the block with the path of the file.

    It also encloses the use of the model, since shapes are compared with the file after reading.
    """
    try:
        yield
    except ReadError as error:
        if legible(where) in str(error):
            raise
        raise error.inside(where, ": ") from error.__cause__


class HostileFileError(ReadError):
    """The file tries to do what no model needs: run code, read other files, exhaust memory.

    Attributes:
        message: what is wrong, without the place.
        place: where in the file, from the outside in.
    """


class ShapeError(KerasportError):
    """Shapes do not fit together."""


class OptionError(KerasportError, ValueError):
    """An argument has an invalid value, or cannot be combined with another one.

    Attributes:
        option: name of the argument in Python, such as "shard_size"; empty if no single argument is
            wrong.
    """

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


class OutputExistsError(KerasportError):
    """The output exists already. Pass `force=True` to replace it."""


class MissingPackageError(KerasportError):
    """An optional package is not installed. The message says how to install it."""


class WriteError(KerasportError, OSError):
    """The output cannot be written: the disk is full, or the directory is read-only.

    Attributes:
        errno: error number of the operating system, as in the module `errno`; None if unknown.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class InternalError(KerasportError):
    """A bug in kerasport, not in the file. The unexpected error is the `__cause__`."""

    @classmethod
    def of(cls, error: BaseException) -> InternalError:
        """Report an unexpected error."""
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if "kerasport" in frame.filename
        ]
        where = (
            f" ({PurePath(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        )
        what = (
            "out of memory"
            if isinstance(error, MemoryError)
            else f"{type(error).__name__}: {error}"
        )
        return cls(
            "this is a bug in kerasport, not in your file: "
            f"{legible(what, 300)}{where}\n{HOW_TO_REPORT}"
        )


HOW_TO_REPORT = (
    "Please report it to the developers of kerasport. Include the output of the same command "
    "with --traceback, the versions of kerasport and Python, and, if you can share it, the file "
    "or its config.json"
)


@contextmanager
def unexpected() -> Iterator[Callable[[Tell], Tell]]:
    """Convert every unexpected error of the block to an `InternalError`.

    Errors of kerasport and of the operating system pass unchanged. So do errors of a callback of
    the caller, if the callback is wrapped by the function that the block receives.
    """
    theirs: list[Exception] = []

    def passing(tell: Tell) -> Tell:
        def call(done: int, total: int) -> None:
            try:
                tell(done, total)
            except Exception as error:
                theirs.append(error)
                raise

        return call

    try:
        yield passing
    except (KerasportError, OSError):
        raise
    except Exception as error:
        if any(error is raised for raised in theirs):
            raise
        raise InternalError.of(error) from error


class VerifyError(KerasportError):
    """Verification could not run. The message says what is missing."""


class MismatchError(VerifyError):
    """The converted model computes different numbers than the original."""


class UnsupportedError(KerasportError):
    """The model is valid, but cannot be converted exactly."""


@dataclass(frozen=True)
class Problem:
    """One part of a model that cannot be converted exactly.

    Attributes:
        layer: path of the layer in Keras: the names of the models that contain it, and its own,
            joined by "/".
        class_name: class of the layer in Keras, such as "Lambda".
        reason: why it cannot be converted, in words.
        option: key of the layer's config that causes the problem; empty if the layer as a whole
            does.
        value: value of that option, as in the config.
        remedy: what to do about it, in words; empty if nothing can be done.
    """

    layer: str
    class_name: str
    reason: str
    option: str = ""
    value: object = field(default=None, compare=False)  # may be any value of a config
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The problem as a dict for JSON, keyed by attribute; other values become text."""
        plain = self.value is None or isinstance(self.value, bool | int | str)
        # JSON has neither NaN nor infinity
        plain |= isinstance(self.value, float) and isfinite(self.value)
        return {**vars(self), "value": self.value if plain else repr(self.value)}

    def __str__(self) -> str:
        what = legible(self.class_name, SHORT)
        if self.option:
            what = f"{what} with {legible(self.option, SHORT)}={quoted(self.value)}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return legible(f"layer {quoted(self.layer)}: {what}: {self.reason}{remedy}")


class UnsupportedPart(UnsupportedError):
    """One layer, option or call that cannot be converted exactly."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class UnsupportedModel(UnsupportedError):
    """A model has parts that cannot be converted exactly. The message lists them.

    Attributes:
        problems: every such part, as a tuple of `Problem`.
        target: the format in words, such as "TF.js graph-model".
    """

    def __init__(self, problems: Sequence[Problem], target: str = "") -> None:
        self.problems, self.target = tuple(problems), target
        lines = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN])
        if (more := len(self.problems) - SHOWN) > 0:
            lines += f"\n  and {more} more; run kerasport check for the full list"
        into = f" to {with_article(target)}" if target else ""
        super().__init__(
            f"{len(self.problems)} part(s) of the model cannot be converted exactly{into}:{lines}"
        )


class TooLargeError(UnsupportedError):
    """The output would be much larger than the file.

    `reason` states the size, `remedy` says how to allow it.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason, self.remedy = reason, remedy


def with_article(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"{'an' if noun[:1].lower() in tuple('aeio') else 'a'} {noun}"


class Refusal(Exception):
    """A part of a model cannot be converted.

    Attributes:
        option: key of the config that is at fault; empty if the layer as a whole is.
        reason: why, in words.
        remedy: what to do about it; may be empty.
    """

    def __init__(self, option: str, reason: str, remedy: str = "") -> None:
        super().__init__(option, reason, remedy)
        self.option, self.reason, self.remedy = option, reason, remedy
