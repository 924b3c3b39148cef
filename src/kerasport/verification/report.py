"""Results of a verification: frozen records for the terminal, notebooks and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kerasport.errors import MismatchError
from kerasport.report import Viewed
from kerasport.report.view import Fact, Facts, Headline, Item, Listing, Table, View, present
from kerasport.verification.comparison import Difference
from kerasport.verification.runtimes import RUNTIMES


def runtime_of(backend: str) -> str:
    """The runtime of a backend."""
    return next(kind.title for kind in RUNTIMES.values() if backend in kind.backends)


@dataclass(frozen=True)
class OutputError(Difference):
    """Difference of one output on one backend from Keras, in the batch where it is largest."""

    backend: str = "cpu"
    name: str = ""
    batch: int = 0  # index of the batch
    batch_size: int = 0
    atol: float = 0.0  # absolute tolerance, without rtol · |expected|

    def row(self, *, relative: bool = False) -> tuple[str, ...]:
        """The output as a row of a table, with the relative error or the allowed difference."""
        start = (self.backend, self.name, str(self.batch_size))
        if self.reason:
            return (*start, *("-",) * 5)
        errors = (_short(self.absolute), _short(self.relative if relative else self.allowed))
        return (*start, *errors, str([*self.where]), _long(self.actual), _long(self.expected))

    def __str__(self) -> str:
        if self.reason:
            return f"output {self.name!r} on {self.backend}: {self.reason}"
        return f"output {self.name!r} on {self.backend}: {_difference(self, self.backend)}"


@dataclass(frozen=True)
class LayerDivergence(Difference):
    """The first layer whose output differs from that in Keras."""

    backend: str = "cpu"
    name: str = ""  # path in Keras
    tfjs_name: str = ""
    class_name: str = ""

    def item(self) -> Item:
        """The layer as an entry of a list."""
        renamed = f", {self.tfjs_name!r} in TF.js" if self.tfjs_name != self.name else ""
        head = f"{self.name} ({self.class_name}{renamed}), on {self.backend}"
        return Item(head, self.reason or _difference(self, self.backend))

    def __str__(self) -> str:
        renamed = f", {self.tfjs_name!r} in TF.js" if self.tfjs_name != self.name else ""
        difference = self.reason or _difference(self, self.backend)
        layer = f"{self.name!r} ({self.class_name}{renamed})"
        return f"the first layer that diverges is {layer}, on {self.backend}: {difference}"


@dataclass(frozen=True)
class Verification(Viewed):
    """The outputs of a converted model, compared with those of the original.

    Attributes:
        source: path of the original, or its name if it was in memory.
        out: path of the converted model.
        reference: what ran the original, such as "Keras 3.15.1 (jax)", or the file of expected
            outputs.
        backends: the backends of TF.js or ONNX Runtime that ran the converted model.
        rtol: relative tolerance.
        atol: absolute tolerance, the largest of all outputs; `outputs` has the value of each.
        outputs: the largest difference of each output on each backend.
        diverges: the first layer whose output differs, if it could be found.
        notes: what else to know about the comparison.
        reported_only: whether differences are only reported, not checked, as for quantized models.
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
    reported_only: bool = False
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

    def view(self) -> View:
        """The verification as blocks."""
        took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        facts = [Fact("Reference", self.reference), Fact("Tolerance", self._tolerance())]
        first = self.diverges
        return present(
            self._headline(),
            Facts((*facts, *([Fact("Time", took)] if took else []))),
            self._table(),
            Listing("Outputs that cannot be compared", tuple(self._reasons()), "bad"),
            Listing("First layer that differs", (first.item(),), "bad") if first else None,
            Listing("Notes", tuple(Item(text=note) for note in self.notes)),
        )

    def _headline(self) -> Headline:
        if self.reported_only and self.ok:
            worst = max(self.outputs, key=lambda output: output.relative)
            far = f"within {_short(worst.absolute)}, or {worst.relative:.2%} of the largest value"
            return Headline(
                f"{self.out}, which is quantized, agrees with {self.source} {far}", "good"
            )
        if self.ok:
            return Headline(f"{self.out} computes the same numbers as {self.source}", "good")
        return Headline(f"{self.out} computes different numbers than {self.source}", "bad")

    def _tolerance(self) -> str:
        """The tolerance, and the range of the absolute one if outputs have different ones."""
        if self.reported_only:
            return "none, because the model is quantized; set one with --rtol or --atol"
        applied = sorted({f"{output.atol:.2g}" for output in self.outputs}, key=float)
        atol = (
            " to ".join(dict.fromkeys((applied[0], applied[-1]))) if applied else f"{self.atol:g}"
        )
        return f"rtol {self.rtol:g}, atol {atol}"

    def _reasons(self) -> Iterator[Item]:
        for output in self.outputs:
            if output.reason:
                yield Item(f"{output.name} on {output.backend}", output.reason)

    def _table(self) -> Table:
        last = "relative" if self.reported_only else "allowed"
        head = (
            "backend",
            "output",
            "batch",
            "error",
            last,
            "at",
            runtime_of(self.backends[0]),
            "Keras",
        )
        rows = tuple(output.row(relative=self.reported_only) for output in self.outputs)
        bad = frozenset(i for i, output in enumerate(self.outputs) if not output.ok)
        return Table("Largest difference of each output", head, rows, bad=bad)


def _difference(worst: Difference, backend: str) -> str:
    error = _short(abs(worst.actual - worst.expected))
    return (
        f"{_long(worst.actual)} in {runtime_of(backend)}, {_long(worst.expected)} in Keras at "
        f"{[*worst.where]}, "
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
