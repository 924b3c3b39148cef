"""A watcher of passes that checks every graph."""

from __future__ import annotations

from kerasport.ir.check import InvalidGraph, check, check_same_outputs
from kerasport.ir.graph import Graph
from kerasport.passes.run import Pass


class CheckPasses:
    """Checks each graph once: the one before the first pass, and those after each pass."""

    def __init__(self) -> None:
        self._checked: Graph | None = None

    def __call__(self, done: Pass, before: Graph, after: Graph) -> None:
        if before is not self._checked:
            check(before)
        try:
            check(after)
            check_same_outputs(before, after)
        except InvalidGraph as error:
            raise InvalidGraph(f"after the pass {done.name!r}: {error}") from error
        self._checked = after
