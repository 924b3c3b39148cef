"""Results of a verification: frozen records for the terminal, notebooks and JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kerasport.errors import MismatchError
from kerasport.verification.comparison import Difference

HEAD = ("backend", "output", "batch", "largest error", "relative", "worst at", "{runtime}", "Keras", "allowed")


def runtime_of(backend: str) -> str:
    """The runtime of a backend."""
    return "ONNX Runtime" if backend.startswith("onnx") else "TF.js"


def head(backends: Sequence[str]) -> tuple[str, ...]:
    """The column heads of the table of outputs on these backends."""
    return tuple(cell.format(runtime=runtime_of(backends[0])) for cell in HEAD)


@dataclass(frozen=True)
class OutputError(Difference):
    """Difference between one output on one backend and the output of Keras, in the batch where it is largest."""

    backend: str = "cpu"
    name: str = ""
    batch: int = 0  # index of the batch
    batch_size: int = 0
    atol: float = 0.0  # absolute tolerance, without rtol · |expected|

    def row(self) -> tuple[str, ...]:
        """The output as a row of a table."""
        start = (self.backend, self.name, str(self.batch_size))
        if self.reason:
            return (*start, self.reason, *("",) * 5)
        errors = (_short(self.absolute), _short(self.relative))
        if math.isnan(self.expected) and not self.where:  # equal strings, or empty arrays
            return (*start, *errors, *("",) * 4)
        return (*start, *errors, str([*self.where]), _long(self.actual), _long(self.expected), _short(self.allowed))

    def __str__(self) -> str:
        if self.reason:
            return f"output {self.name!r} on {self.backend}: {self.reason}"
        return f"output {self.name!r} on {self.backend}: {_told(self, self.backend)}"


@dataclass(frozen=True)
class LayerDivergence(Difference):
    """The first layer whose output differs from that in Keras."""

    backend: str = "cpu"
    name: str = ""  # path in Keras
    tfjs_name: str = ""
    class_name: str = ""

    def __str__(self) -> str:
        renamed = f", {self.tfjs_name!r} in TF.js" if self.tfjs_name != self.name else ""
        told = self.reason or _told(self, self.backend)
        return f"the first layer that diverges is {self.name!r} ({self.class_name}{renamed}), on {self.backend}: {told}"


@dataclass(frozen=True)
class Verification:
    """The outputs of a converted model, compared with those of the original.

    Attributes:
        source: path of the original, or its name if it was in memory.
        out: path of the converted model.
        reference: what ran the original, such as "Keras 3.15.1 (jax)", or the file of expected outputs.
        backends: the backends of TF.js or ONNX Runtime that ran the converted model.
        rtol: relative tolerance.
        atol: absolute tolerance, the largest of all outputs; `outputs` has the value of each.
        outputs: the largest difference of each output on each backend.
        diverges: the first layer whose output differs, if it could be found.
        notes: what else to know about the comparison.
        only_told: whether differences are only reported, not checked, as for quantized models.
        seconds: seconds that Keras and each backend took.
    """

    source: str
    out: str
    reference: str
    backends: tuple[str, ...]
    rtol: float
    atol: float
    outputs: tuple[OutputError, ...]
    diverges: LayerDivergence | None = None
    notes: tuple[str, ...] = ()
    only_told: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every output is within its tolerance."""
        return all(output.ok for output in self.outputs)

    def raise_for_mismatch(self) -> None:
        """Raise an error if outputs differ.

        Raises:
            MismatchError: outputs differ; the message is this report.
        """
        if not self.ok:
            raise MismatchError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """The verification as JSON values; infinity and NaN are strings."""
        document: dict[str, Any] = _plain({**asdict(self), "ok": self.ok})
        return document

    def __str__(self) -> str:
        rows = [head(self.backends), *(output.row() for output in self.outputs)]
        return "\n".join([self._verdict(), *(f"  {line}" for line in columns(rows)), *self._below()])

    def _verdict(self) -> str:
        if self.only_told and self.ok:
            worst = max(self.outputs, key=lambda output: output.relative)
            far = f"within {_short(worst.absolute)}, or {worst.relative:.2%} of the largest value"
            return f"{self.out}, which is quantized, agrees with {self.source} {far} ({self.reference})"
        allowed = f"rtol {self.rtol:g}, atol {self._atol()}"
        if self.ok:
            return f"{self.out} computes the same numbers as {self.source} ({allowed}; {self.reference})"
        return f"{self.out} computes different numbers than {self.source} ({allowed}; {self.reference})"

    def _atol(self) -> str:
        """The absolute tolerance of the outputs, or its range."""
        applied = sorted({f"{output.atol:.2g}" for output in self.outputs}, key=float)
        return " to ".join(dict.fromkeys((applied[0], applied[-1]))) if applied else f"{self.atol:g}"

    def _below(self) -> list[str]:
        found = [] if self.diverges is None else [str(self.diverges)]
        took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        return [*found, *(f"note: {note}" for note in self.notes), *([f"took: {took}"] if took else [])]

    def _repr_html_(self) -> str:
        cells = "".join(f"<th>{cell}</th>" for cell in head(self.backends))
        rows = "".join(_html_row(output) for output in self.outputs)
        below = "".join(f"<li>{html.escape(line)}</li>" for line in self._below())
        return f"<p>{html.escape(self._verdict())}</p><table><tr>{cells}</tr>{rows}</table><ul>{below}</ul>"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _html_row(output: OutputError) -> str:
    cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in output.row())
    return f"<tr>{cells}</tr>" if output.ok else f'<tr style="font-weight: bold">{cells}</tr>'


def _told(worst: Difference, backend: str) -> str:
    error = _short(abs(worst.actual - worst.expected))
    return (
        f"{_long(worst.actual)} in {runtime_of(backend)}, {_long(worst.expected)} in Keras at {[*worst.where]}, "
        f"a difference of {error}; the tolerance is {_short(worst.allowed)}"
    )


def _long(number: float) -> str:
    return f"{number:.7g}"


def _short(number: float) -> str:
    return f"{number:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
