"""The results of conversions: frozen records with a view for people and a dict for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from kerasport.errors import SHOWN, Problem, quoted, with_article
from kerasport.report.layers import LayerOutcome, counts, listings, problems_listing, summary, table
from kerasport.report.view import (
    Fact,
    Facts,
    Headline,
    Item,
    Listing,
    Snippet,
    Step,
    Steps,
    View,
    Viewed,
    present,
)

Shape: TypeAlias = tuple[int | None, ...]


def program_version(writer: str) -> str:
    """The program that wrote a source. A version without a name is one of Keras."""
    return f"Keras {writer}" if writer[:1].isdigit() else writer


@dataclass(frozen=True)
class Values:
    """The values that an input expects, or an output contains."""

    dtype: str = "float32"  # of the tensor that a page feeds or gets
    text: str = ""  # in words; empty if nothing is known
    low: float | None = None  # range; None if it is not known
    high: float | None = None


@dataclass(frozen=True)
class Rounded:
    """The weights that a quantized model stores in one kind of numbers."""

    kind: str  # "float16", "uint8", "uint16", and "float32" for those that stay as they are
    weights: int  # number of arrays
    nbytes: int
    before: int  # bytes of the same weights in float32
    error: float  # largest absolute error of an element
    worst: str  # name in TF.js of the weight with that error

    def __str__(self) -> str:
        what = f"{self.weights} weight{'s' * (self.weights != 1)}"
        if self.kind == "float32":
            return f"{what} stay{'s' * (self.weights == 1)} in float32: {readable(self.nbytes)}"
        size = (
            f"{what} rounded to {self.kind}: {readable(self.before)} became {readable(self.nbytes)}"
        )
        if not self.worst:
            return size
        return f"{size}, largest error {self.error:.3g} in {quoted(self.worst)}"


@dataclass(frozen=True)
class _Ports(Viewed):
    """The inputs and outputs of a converted model, for reports.

    Attributes:
        inputs: name of each input in the converted model → its shape; None is a size that varies,
            such as the batch.
        outputs: names of the outputs in the converted model.
        output_shapes: name of each output → its shape, if it is known.
        dtypes: name of each input that is not float32 → its dtype, such as "int32" or "string".
        expects: name of each input → the dtype and the range of the values it expects.
        gives: name of each output → the dtype and the meaning of its values.
    """

    inputs: Mapping[str, Shape] = field(default_factory=dict, kw_only=True)
    outputs: tuple[str, ...] = field(default=(), kw_only=True)
    output_shapes: Mapping[str, Shape] = field(default_factory=dict, kw_only=True)
    dtypes: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    expects: Mapping[str, Values] = field(default_factory=dict, kw_only=True)
    gives: Mapping[str, Values] = field(default_factory=dict, kw_only=True)

    def _ports(self) -> Iterator[Fact]:
        for i, (name, shape) in enumerate(self.inputs.items()):
            label = _label("Input", i, len(self.inputs))
            values = self.expects.get(name, Values())
            dtype = self.dtypes.get(name, values.dtype)
            yield Fact(
                label, f"{name}  {_shape(shape)}  {dtype}", (values.text,) if values.text else ()
            )
        for i, name in enumerate(self.outputs):
            label = _label("Output", i, len(self.outputs))
            values, known = self.gives.get(name, Values()), self.output_shapes.get(name)
            value = name if known is None else f"{name}  {_shape(known)}  {values.dtype}"
            yield Fact(label, value, (values.text,) if values.text else ())


def _label(noun: str, index: int, count: int) -> str:
    """The label of the first row of a group; the further rows have none."""
    if index:
        return ""
    return f"{noun}s" if count > 1 else noun


@dataclass(frozen=True)
class Check(_Ports):
    """Whether a model can be converted, layer by layer.

    Attributes:
        source: path of the model, or its name if it was in memory.
        target: name of the format, such as "tfjs-graph".
        format: the format in words, such as "TF.js graph-model".
        writer: version of the Keras that wrote the file; empty if it is not known.
        layers: the outcome for each layer.
        problems: every part that cannot be converted exactly.
        notes: what else to know about the converted model.
        nbytes: size of the weights in bytes, as they would be written; 0 if there are problems.
        choice: what to know about this format and the alternative; empty if there is none.
        steps: what to do next, with commands.
        inputs: name of each input in the converted model → its shape; None is a size that varies,
            such as the batch.
        outputs: names of the outputs in the converted model.
        output_shapes: name of each output → its shape, if it is known.
        dtypes: name of each input that is not float32 → its dtype, such as "int32" or "string".
        expects: name of each input → the dtype and the range of the values it expects.
        gives: name of each output → the dtype and the meaning of its values.
    """

    source: str
    target: str
    writer: str
    layers: tuple[LayerOutcome, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    nbytes: int = 0
    format: str = ""
    choice: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def convertible(self) -> bool:
        """Whether every part of the model can be converted exactly."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON takes it."""
        problems = [problem.to_dict() for problem in self.problems]
        added = {
            "problems": problems,
            "convertible": self.convertible,
            "summary": counts(self.layers),
        }
        return {**asdict(self), **added}

    def view(self, *, every: bool = False) -> View:
        """The check as blocks; `every` adds a table of all layers, not only those that change."""
        writer = program_version(self.writer) or "an unknown version of Keras"
        has_size = self.nbytes and self.convertible
        size = [Fact("Size", f"{readable(self.nbytes)} of weights")] if has_size else []
        facts = (
            Fact("Written by", writer),
            *([Fact("Format", self.choice)] if self.choice else []),
            *size,
            *self._ports(),
            *([] if every or not self.layers else [Fact("Layers", summary(self.layers))]),
        )
        return present(
            self._headline(),
            Facts(facts),
            problems_listing(self.problems),
            *listings(self.layers),
            _notes(self.notes),
            table(self.layers) if every else None,
            Steps(self.steps),
        )

    def _headline(self) -> Headline:
        format_ = self.format
        if self.convertible:
            return Headline(f"{self.source} converts to {with_article(format_)}", "good")
        number = len(self.problems)
        parts = "1 part is" if number == 1 else f"{number} parts are"
        return Headline(
            f"{self.source} does not convert to {with_article(format_)}: {parts} not supported",
            "bad",
        )


@dataclass(frozen=True)
class Conversion(_Ports):
    """A model that was written.

    Attributes:
        source: path of the model, or its name if it was in memory.
        out: path of the folder with model.json, or of the ONNX file.
        target: name of the format, such as "tfjs-graph".
        format: the format in words, such as "TF.js graph-model".
        writer: version of the Keras that wrote the source; empty if it is not known.
        layers: the outcome for each layer.
        renamed: path of each renamed layer in Keras → its name in TF.js.
        notes: what else to know about the converted model.
        files: names of the files that were written.
        weights: number of parameters.
        nbytes: size of all files in bytes.
        rounded: what quantization did to the weights, for each kind of numbers; empty without
            quantization.
        choice: what to know about this format and the alternative; empty if there is none.
        code: code that loads the model, to copy.
        steps: what to do next, with commands.
        inputs: name of each input in the converted model → its shape; None is a size that varies,
            such as the batch.
        outputs: names of the outputs in the converted model.
        output_shapes: name of each output → its shape, if it is known.
        dtypes: name of each input that is not float32 → its dtype, such as "int32" or "string".
        expects: name of each input → the dtype and the range of the values it expects.
        gives: name of each output → the dtype and the meaning of its values.
    """

    source: str
    out: str
    target: str
    writer: str
    layers: tuple[LayerOutcome, ...]
    renamed: Mapping[str, str]
    notes: tuple[str, ...]
    files: tuple[str, ...]
    weights: int
    nbytes: int
    rounded: tuple[Rounded, ...] = ()
    format: str = ""
    choice: str = ""
    code: tuple[Snippet, ...] = ()
    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The conversion as JSON takes it."""
        return {**asdict(self), "summary": counts(self.layers)}

    def view(self) -> View:
        """The conversion as blocks."""
        files = f"{len(self.files)} file{'s' * (len(self.files) != 1)}"
        facts = (
            Fact(
                "Format",
                self.format,
                (self.choice,) if self.choice else (),
            ),
            Fact(
                "Size",
                f"{readable(self.nbytes)} in {files}, {self.weights:,} parameters",
                self._rounded(),
            ),
            *self._ports(),
            Fact("Layers", summary(self.layers)),
        )
        return present(
            Headline(f"Converted {self.source} to {self.out}", "good"),
            Facts(facts),
            *listings(self.layers),
            _renamed(self.renamed),
            _notes(self.notes),
            *self.code,
            Steps(self.steps),
        )

    def _rounded(self) -> tuple[str, ...]:
        return tuple(map(str, self.rounded))


@dataclass(frozen=True)
class Repair(Viewed):
    """What was wrong with a layers-model, and where the corrected one is.

    Attributes:
        source: path of the model.json that was read.
        out: path of the model.json that was written: `source` if it was rewritten in place,
            empty if nothing was written.
        backup: path of the old model.json, if it was rewritten in place.
        writer: version of the Keras that wrote the model; empty if it is not known.
        converter: name and version of the converter that wrote model.json.
        changes: what was changed, in words; empty if the model was correct.
        renamed: path of each renamed layer in Keras → its name in TF.js.
        notes: what else to know about the model.
        files: names of the files that were written.
        code: code that loads the model, to copy.
        steps: what to do next, with commands.
    """

    source: str
    out: str
    backup: str
    writer: str
    converter: str
    changes: tuple[str, ...]
    renamed: Mapping[str, str]
    notes: tuple[str, ...]
    files: tuple[str, ...]
    code: tuple[Snippet, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changes)

    def to_dict(self) -> dict[str, Any]:
        """The repair as JSON takes it."""
        return {**asdict(self), "repaired": self.repaired}

    def view(self) -> View:
        """The repair as blocks."""
        if not self.changes:
            copied = Facts((Fact("Copied to", self.out),)) if self.out else None
            nothing = Headline(f"Nothing to repair in {self.source}", "good")
            return present(nothing, copied, _notes(self.notes), *self.code, Steps(self.steps))
        place = Fact("Backup", self.backup) if self.backup else Fact("Written to", self.out)
        made_by = " and ".join(filter(None, (program_version(self.writer), self.converter)))
        return present(
            Headline(f"Repaired {self.source}", "good"),
            Facts((place, *([Fact("Made by", made_by)] if made_by else []))),
            Listing("Changes", tuple(Item(text=change) for change in self.changes)),
            _renamed(self.renamed),
            _notes(self.notes),
            *self.code,
            Steps(self.steps),
        )


def refusal_view(problems: Sequence[Problem], target: str) -> View:
    """The parts of a model that stop a conversion."""
    number, format_ = len(problems), target
    into = f" to {with_article(format_)}" if format_ else ""
    shown = problems_listing(problems, SHOWN)
    more = (
        [Item(text=f"{number - SHOWN} more, which kerasport check lists")] if number > SHOWN else []
    )
    head = Headline(f"kerasport: cannot convert the model{into}; nothing was written", "bad")
    return (
        head,
        replace(shown, items=(*shown.items, *more)),
        Steps((Step("Read", "docs/support.md"),)),
    )


RENAMED = 10  # new names that a report lists; JSON has all


def _renamed(renamed: Mapping[str, str]) -> Listing:
    items = [Item(text=f"layer {quoted(old)} is now {quoted(new)}") for old, new in renamed.items()]
    more = []
    if len(items) > RENAMED:
        more = [Item(text=f"{len(items) - RENAMED} more, which --json lists")]
    return Listing("Renamed", (*items[:RENAMED], *more))


def _notes(notes: tuple[str, ...]) -> Listing:
    return Listing("Notes", tuple(Item(text=note) for note in notes))


def readable(nbytes: int) -> str:
    """A number of bytes with a decimal unit."""
    for unit in ("bytes", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000  # type: ignore[assignment]
    return f"{nbytes:.1f} GB"


def _shape(shape: Shape) -> str:
    """A shape for people: an unknown first size is the batch, other unknown sizes are "?"."""
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"[{', '.join(['batch', *sizes[1:]] if shape and shape[0] is None else sizes)}]"
