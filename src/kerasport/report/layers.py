"""What becomes of the layers of a model, as lists and tables of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from kerasport.errors import SHORT, Problem, legible, quoted
from kerasport.report.view import Item, Listing, Table

Outcome: TypeAlias = Literal["native", "rewritten", "companion", "lowered", "removed", "refused"]

NAMED = 4  # layers that one line names
COUNTED: Mapping[Outcome, str] = {
    "native": "native",
    "lowered": "lowered to operations",
    "rewritten": "rewritten",
    "companion": "with the companion",
    "removed": "removed",
    "refused": "not supported",
}
"""Outcome → its label after a number, in the order of a summary."""

TITLES: Mapping[Outcome, str] = {
    "companion": "With the companion (kerasport-layers.js)",
    "rewritten": "Rewritten as other layers",
    "removed": "Removed",
}
"""Outcome that a user should know about → the title of the list of its layers."""


@dataclass(frozen=True)
class LayerOutcome:
    """What becomes of one layer.

    Attributes:
        path: name of the layer in Keras, after the names of the models that contain it, joined by
            "/".
        class_name: class of the layer in Keras.
        outcome: "native" (TF.js has it), "rewritten" (as other layers), "companion" (computed by
            `kerasport-layers.js`), "lowered" (to operations of a graph), "removed" (it does nothing
            at inference) or "refused" (it cannot be converted exactly).
        name: name of the layer in TF.js; empty if it does not have exactly one.
        reason: why the layer has that outcome; empty if it is obvious.
    """

    path: str
    class_name: str
    outcome: Outcome
    name: str = ""
    reason: str = ""

    def row(self) -> tuple[str, ...]:
        """The layer as a row of a table."""
        is_renamed = self.name and self.name != self.path.rpartition("/")[2]
        renamed = f"now {quoted(self.name)}" if is_renamed else ""
        return legible(self.path, SHORT), legible(self.class_name, SHORT), self.outcome, renamed


def counts(layers: Sequence[LayerOutcome]) -> dict[str, int]:
    """Outcome → number of layers, without those that no layer has."""
    found = [layer.outcome for layer in layers]
    return {outcome: found.count(outcome) for outcome in COUNTED if outcome in found}


def summary(layers: Sequence[LayerOutcome]) -> str:
    """The number of layers of each outcome: "159 native, 2 rewritten, 2 removed"."""
    return ", ".join(f"{number:,} {COUNTED[outcome]}" for outcome, number in counts(layers).items())  # type: ignore[index]


def table(layers: Sequence[LayerOutcome]) -> Table:
    """All layers."""
    rows = tuple(layer.row() for layer in layers)
    bad = frozenset(number for number, layer in enumerate(layers) if layer.outcome == "refused")
    return Table("All layers", ("layer", "class", "becomes", ""), rows, summary(layers), bad)


def listings(layers: Sequence[LayerOutcome]) -> Iterator[Listing]:
    """The layers that are not converted one to one, by outcome."""
    for outcome, title in TITLES.items():
        chosen = [layer for layer in layers if layer.outcome == outcome]
        if chosen:
            yield Listing(title, tuple(_items(chosen)))


def _items(layers: Sequence[LayerOutcome]) -> Iterator[Item]:
    """One item for all layers of a class with the same reason."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        grouped.setdefault((layer.class_name, layer.reason), []).append(legible(layer.path, SHORT))
    for (class_name, reason), paths in grouped.items():
        yield Item(f"{named(paths)} ({legible(class_name, SHORT)})", reason)


def named(names: Sequence[str]) -> str:
    """Names in one line: a few of them, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def problems_listing(problems: Sequence[Problem], most: int | None = None) -> Listing:
    """The parts of a model that a target does not support."""
    return Listing("Not supported", tuple(map(_problem, problems[:most])), "bad")


def _problem(problem: Problem) -> Item:
    option = f", {legible(problem.option, SHORT)}={quoted(problem.value)}" if problem.option else ""
    head = f"{legible(problem.layer, SHORT)} ({legible(problem.class_name, SHORT)}{option})"
    return Item(head, problem.reason, problem.remedy)
