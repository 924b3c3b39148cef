"""The content of a report as blocks, independent of how it is shown.

Every report builds one view, and `terminal` and `html` render it. So a terminal and a notebook
show the same content.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["good", "bad", "neutral"]


@dataclass(frozen=True)
class Headline:
    """The result in one sentence; its tone decides the color."""

    text: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Fact:
    """A label and its value; `details` are lines below the value."""

    label: str
    value: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Facts in two aligned columns.

    `width` makes the first column wider than its labels. `typed` marks labels that users type.
    """

    rows: tuple[Fact, ...]
    title: str = ""
    width: int = 0
    typed: bool = False


@dataclass(frozen=True)
class Item:
    """One entry of a list: its subject, a statement, a remedy, and the command for it."""

    head: str = ""
    text: str = ""
    remedy: str = ""
    command: str = ""  # renderers never wrap it


@dataclass(frozen=True)
class Listing:
    """A list under a title."""

    title: str
    items: tuple[Item, ...]
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head, and a line below them that sums them up."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    summary: str = ""
    bad: frozenset[int] = frozenset()  # indices of the rows that need attention


@dataclass(frozen=True)
class Snippet:
    """Code to copy; renderers never wrap it. `hint` is a sentence below it."""

    title: str
    language: str
    code: str
    hint: str = ""


@dataclass(frozen=True)
class Step:
    """Something to do next, and the command for it."""

    what: str
    command: str


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Steps:
    """What to do next."""

    rows: tuple[Step, ...]


Block: TypeAlias = Headline | Prose | Facts | Listing | Table | Snippet | Steps
View: TypeAlias = tuple[Block, ...]


class Viewed:
    """Base of reports: the text and the HTML of their view."""

    def view(self) -> View:
        """The content of the report.

        Raises:
            NotImplementedError: the report has no view.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        from kerasport.report.terminal import text  # noqa: PLC0415  (rich takes a while to import)

        return text(self.view())

    def _repr_html_(self) -> str:
        from kerasport.report.html import fragment  # noqa: PLC0415  (only notebooks need it)

        return fragment(self.view())


def command(*words: str | os.PathLike[str]) -> str:
    """A command line as the shell of this system reads it."""
    arguments = [os.fspath(word) for word in words]
    if os.name == "nt":
        import subprocess  # noqa: PLC0415  (its import takes time, and other systems need none)

        return subprocess.list2cmdline(arguments)
    return shlex.join(arguments)


def present(*blocks: Block | None) -> View:
    """The blocks that have content."""
    return tuple(block for block in blocks if block is not None and not _is_empty(block))


def _is_empty(block: Block) -> bool:
    return not getattr(block, "rows", True) or not getattr(block, "items", True)
