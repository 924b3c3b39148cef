"""What became of a model: frozen records that print well, in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from kerasport.errors import SHORT, Problem, legible, quoted, with_article

Outcome: TypeAlias = Literal["native", "rewritten", "companion", "lowered", "removed", "refused"]


@dataclass(frozen=True)
class LayerOutcome:
    """What becomes of one layer."""

    path: str  # names of the models it is in, and its own
    class_name: str
    outcome: Outcome
    name: str = ""  # in TF.js, where it is there
    reason: str = ""

    def row(self) -> tuple[str, ...]:
        """The layer as a row of a table."""
        renamed = f"now {quoted(self.name)}" if self.name and self.name != self.path.rpartition("/")[2] else ""
        told = "; ".join(filter(None, (renamed, self.reason)))
        return legible(self.path, SHORT), legible(self.class_name, SHORT), self.outcome, legible(told)


@dataclass(frozen=True)
class Check:
    """Whether a model can be converted, layer by layer."""

    source: str
    target: str  # "layers-model", "graph-model" or "onnx-model"
    writer: str  # the Keras that wrote the file
    layers: tuple[LayerOutcome, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    nbytes: int = 0  # of the weights as they would be written; 0 where parts are refused

    @property
    def convertible(self) -> bool:
        """Whether every part of the model has an exact translation."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON takes it."""
        problems = [problem.to_dict() for problem in self.problems]
        return {**asdict(self), "problems": problems, "convertible": self.convertible}

    def __str__(self) -> str:
        rows = [("layer", "class", "becomes", ""), *(layer.row() for layer in self.layers)]
        verdict = "every part has an exact translation" if self.convertible else f"{len(self.problems)} part(s) refused"
        verdict = f"as {with_article(self.target)}, {verdict}"
        size = f"; its weights take {readable(self.nbytes)}" if self.nbytes and self.convertible else ""
        lines = [f"{self.source}: {verdict}{size}", *_columns(rows)]
        lines += [f"refused: {problem}" for problem in self.problems]
        return _text([*lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return _html(str(self).splitlines()[0], [layer.row() for layer in self.layers], self.notes)


@dataclass(frozen=True)
class Rounded:
    """The weights that a quantised model holds in one kind of numbers."""

    kind: str  # "float16", "uint8", "uint16", and "float32" for those that stay as they are
    weights: int  # number of arrays
    nbytes: int
    before: int  # bytes of the same in float32
    error: float  # the largest of one number
    worst: str  # the weight that has it, by its name in TF.js

    def __str__(self) -> str:
        size = f"{self.kind}: {self.weights} weight(s), {readable(self.before)} -> {readable(self.nbytes)}"
        return f"{size}, largest error {self.error:.3g} in {quoted(self.worst)}" if self.worst else size


@dataclass(frozen=True)
class Conversion:
    """A model that was written."""

    source: str
    out: str  # the directory with model.json, or the ONNX file
    target: str
    writer: str  # the Keras that wrote the source
    inputs: Mapping[str, tuple[int | None, ...]]  # name in TF.js → shape
    outputs: tuple[str, ...]  # names in TF.js
    layers: tuple[LayerOutcome, ...]
    renamed: Mapping[str, str]  # path in Keras → name in TF.js
    notes: tuple[str, ...]
    files: tuple[str, ...]
    weights: int  # number of weights
    nbytes: int  # of all files
    rounded: tuple[Rounded, ...] = ()  # where weights were quantised
    dtypes: Mapping[str, str] = field(default_factory=dict)  # of inputs that take nothing but this, where not float32
    loader: str = ""  # the call of TF.js that loads it, from a page beside the directory

    def to_dict(self) -> dict[str, Any]:
        """The conversion as JSON takes it."""
        return asdict(self)

    def __str__(self) -> str:
        size = f"{self.weights:,} weights, {readable(self.nbytes)} in {len(self.files)} file(s)"
        lines = [f"{self.source} -> {self.out}", f"  {self.target}: {size}"]
        lines += [f"  {each}" for each in self.rounded]
        lines += [
            f"  input {quoted(name)}: {_shape(shape)} {self.dtypes.get(name, '')}".rstrip()
            for name, shape in self.inputs.items()
        ]
        lines += [f"  output {quoted(name)}" for name in self.outputs]
        lines += [f"  load it with: {self.loader}"] if self.loader else []
        lines += [f"  layer {quoted(old)} is now {quoted(new)}" for old, new in self.renamed.items()]
        lines += [
            f"  layer {quoted(layer.path)} is left out: {layer.reason}"
            for layer in self.layers
            if layer.outcome == "removed"
        ]
        lines += [
            f"  layer {quoted(layer.path)} needs the companion: {layer.reason}"
            for layer in self.layers
            if layer.outcome == "companion"
        ]
        return _text([*lines, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return _html(str(self).splitlines()[0], [layer.row() for layer in self.layers], self.notes)


@dataclass(frozen=True)
class Repair:
    """What was wrong with a layers-model of another converter, and where the right one is."""

    source: str  # its model.json
    out: str  # the model.json that was written; the same where it was rewritten in place, empty where nothing was
    backup: str  # what the former model.json is called now, where it was rewritten in place
    writer: str  # the Keras that wrote the model
    converter: str  # what made a layers-model of it
    changes: tuple[str, ...]  # none where the model is right as it is
    renamed: Mapping[str, str]  # path in Keras → name in TF.js
    notes: tuple[str, ...]
    files: tuple[str, ...]  # that were written

    @property
    def repaired(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changes)

    def to_dict(self) -> dict[str, Any]:
        """The repair as JSON takes it."""
        return {**asdict(self), "repaired": self.repaired}

    def __str__(self) -> str:
        if not self.changes:
            copied = f"; copied unchanged -> {self.out}" if self.out else ""
            return _text([f"{self.source}: nothing to repair{copied}", *(f"  note: {note}" for note in self.notes)])
        where = f"repaired in place; as it was: {self.backup}" if self.backup else f"repaired -> {self.out}"
        lines = [f"{self.source}: {where}", *(f"  {change}" for change in self.changes)]
        lines += [f"  layer {quoted(old)} is now {quoted(new)}" for old, new in self.renamed.items()]
        return _text([*lines, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escaped(line)}</li>" for line in str(self).splitlines()[1:])
        return f"<p>{escaped(str(self).splitlines()[0])}</p><ul>{items}</ul>"


def readable(nbytes: int) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000  # type: ignore[assignment]
    return f"{nbytes:.1f} GB"


def _text(lines: list[str]) -> str:
    return "\n".join(map(legible, lines))


def _shape(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _html(title: str, rows: list[tuple[str, ...]], notes: tuple[str, ...]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    below = "".join(f"<li>{escaped(legible(note))}</li>" for note in notes)
    head = "<tr><th>layer</th><th>class</th><th>becomes</th><th></th></tr>"
    return f"<p>{escaped(title)}</p><table>{head}{cells}</table><ul>{below}</ul>"


def escaped(text: str) -> str:
    """Text as HTML shows it."""
    from html import escape  # noqa: PLC0415  (notebooks only, and it takes a while)

    return escape(text)
