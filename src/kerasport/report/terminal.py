"""Reports as text: with colors in a terminal, plain everywhere else.

Lines wrap at the width of the terminal, but never inside a word. So paths, code and commands can be
copied.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from kerasport.errors import legible
from kerasport.report.view import (
    Block,
    Fact,
    Facts,
    Headline,
    Item,
    Listing,
    Prose,
    Snippet,
    Steps,
    Table,
    Tone,
    View,
)

PLAIN_WIDTH = 80  # columns, without a terminal
WIDEST = 100  # longer lines are hard to read
NARROWEST = 40

STYLES: dict[Tone, str] = {"good": "bold green", "bad": "bold red", "neutral": "bold"}
QUIET = "dim"
COMMAND = "cyan"
INDENT = " " * 2
LONGEST_WORD = 12  # characters of a word that a table never breaks, such as "onnxruntime"
LEAST = 20  # least columns for a text after a long label


def _fitted(block: Table, room: int) -> tuple[int, list[int]]:
    """The gap between columns of a table and their widths; short words stay whole if possible."""
    columns = [list(column) for column in zip(block.head, *block.rows, strict=True)]
    words = [" ".join(column).split() or [""] for column in columns]
    widths = [min(LONGEST_WORD, max(map(len, column))) for column in words]
    whole = [max(map(len, column)) for column in columns]
    gap = len(INDENT) if sum(widths) + len(INDENT) * (len(widths) - 1) <= room else 1
    spare = room - sum(widths) - gap * (len(widths) - 1)
    for number in sorted(range(len(columns)), key=lambda number: whole[number] - widths[number]):
        more = max(0, min(whole[number] - widths[number], spare))
        widths[number] += more
        spare -= more
    return gap, widths


def show(view: View, stream: IO[str] | None = None) -> None:
    """Print a view, in colors if the stream is a terminal that supports them."""
    stream = sys.stdout if stream is None else stream
    print(rendered(view, stream), file=stream)


def rendered(view: View, stream: IO[str]) -> str:
    """A view as text for a stream."""
    outside = _console_of(stream)
    width = _width_of(outside)
    if not outside.is_terminal or outside.color_system is None:
        return text(view, width)
    colors: Any = outside.color_system
    return _printed(
        Console(file=io.StringIO(), width=width, color_system=colors, force_terminal=True), view
    )


def text(view: View, width: int = PLAIN_WIDTH) -> str:
    """A view as plain text."""
    return _printed(
        Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False), view
    )


def _console_of(stream: IO[str]) -> Console:
    """The console for a stream. NO_COLOR leaves no escape codes, not even for bold text."""
    if os.environ.get("NO_COLOR"):
        return Console(file=stream, color_system=None, force_terminal=False)
    return Console(file=stream)


def _width_of(console: Console) -> int:
    """Columns for text: those of the terminal within limits, or of `COLUMNS` without a terminal."""
    columns = os.environ.get("COLUMNS", "")
    wanted = int(columns) if columns.isdecimal() else PLAIN_WIDTH
    return max(NARROWEST, min(WIDEST, console.width if console.is_terminal else wanted))


def _printed(console: Console, view: View) -> str:
    """The text of a view, without the spaces that rich appends to table rows."""
    writer = _Writer(console)
    for number, block in enumerate(view):
        if number:
            console.print()
        for part in writer.parts(block):
            console.print(part, soft_wrap=isinstance(part, Text), highlight=False, markup=False)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip("\n").split("\n"))


def _wrapped(content: str, width: int) -> list[str]:
    """Wrap at `width` columns without breaking words; rich would cut or break long words."""
    lines: list[str] = []
    for word in content.split(" "):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@dataclass(frozen=True)
class _Writer:
    """Turns blocks into lines that fit a console."""

    console: Console

    def parts(self, block: Block) -> Iterator[Text | Padding]:
        """The lines of a block; those of a table are one part."""
        match block:
            case Headline():
                yield from self.hanging(Text(), block.text, STYLES[block.tone])
            case Prose():
                yield from self.hanging(Text(), block.text)
            case Facts():
                yield from self._titled(block.title, self._facts(block))
            case Listing():
                yield Text(block.title, STYLES[block.tone])
                for item in block.items:
                    yield from self._item(item)
            case Table():
                yield from self._titled(block.title, self._table(block))
            case Snippet():
                code = (Text(f"{INDENT}{line}") for line in block.code.split("\n"))
                yield from self._titled(block.title, code)
                yield from self.hanging(Text(INDENT), block.hint, QUIET) if block.hint else ()
            case Steps():
                width = max(len(step.what) for step in block.rows)
                lines = (
                    (f"{INDENT}{step.what.ljust(width)}{INDENT}", step.command)
                    for step in block.rows
                )
                yield from self._titled(
                    "Next steps", (Text.assemble(a, (b, COMMAND)) for a, b in lines)
                )

    def hanging(self, first: Text, content: str, style: str = "") -> Iterator[Text]:
        """A text after a beginning, whose further lines have a hanging indent."""
        indent = first.cell_len
        width = max(LEAST, self.console.width - indent)
        for number, line in enumerate(_wrapped(legible(content), width)):
            yield Text.assemble(" " * indent if number else first, (line, style))

    @staticmethod
    def _titled(title: str, parts: Iterable[Text | Padding]) -> Iterator[Text | Padding]:
        yield from [Text(title, STYLES["neutral"])] if title else []
        yield from parts

    def _facts(self, block: Facts) -> Iterator[Text]:
        width = max(block.width, *(len(fact.label) for fact in block.rows))
        style = COMMAND if block.typed else QUIET
        for fact in block.rows:
            yield from self._fact(
                fact, Text.assemble(INDENT, (fact.label.ljust(width), style), INDENT)
            )

    def _fact(self, fact: Fact, label: Text) -> Iterator[Text]:
        yield from self.hanging(label, fact.value)
        for line in fact.details:
            yield from self.hanging(Text(" " * label.cell_len + INDENT), line)

    def _item(self, item: Item) -> Iterator[Text]:
        """An entry of a list: its head, then the text on the same line if it fits; or a hyphen."""
        whole = Text(legible(f"{INDENT}{item.head}: {item.text}"))
        if not item.head:
            yield from self.hanging(Text.assemble(INDENT, ("- ", QUIET)), item.text)
        elif (
            item.text and not (item.remedy or item.command) and whole.cell_len <= self.console.width
        ):
            yield whole
        else:
            yield from self.hanging(Text(INDENT), item.head)
            yield from self.hanging(Text(INDENT * 2), item.text) if item.text else ()
            fix = Text.assemble(INDENT * 2, ("Fix: ", QUIET))
            yield from self.hanging(fix, item.remedy) if item.remedy else ()
            if item.command:
                yield Text.assemble(INDENT * 2, (legible(item.command), COMMAND))

    def _table(self, block: Table) -> Iterator[Text | Padding]:
        gap, widths = _fitted(block, self.console.width - len(INDENT))
        grid = Grid(
            box=None, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0), header_style=QUIET
        )
        for head, width in zip(block.head, widths, strict=True):
            grid.add_column(Text(head), overflow="fold", width=width)
        for number, row in enumerate(block.rows):
            style = STYLES["bad"] if number in block.bad else ""
            grid.add_row(*(Text(legible(cell), style) for cell in row))
        yield Padding(grid, (0, 0, 0, len(INDENT)))
        yield from self.hanging(Text(INDENT), block.summary, QUIET) if block.summary else ()
