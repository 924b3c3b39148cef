"""Passes over graphs: named steps that run one after the other.

To see a graph between the passes, or to check it:

    with watching(lambda done, before, after: print(done.name, show(after))):
        kerasport.convert("model.keras", "model.onnx")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from kerasport.ir.graph import Graph
from kerasport.passes.loop import inside_loops
from kerasport.passes.rewrite import Rule, rewrite


@dataclass(frozen=True)
class Pass:
    """One step that turns a graph into another one that computes the same."""

    name: str
    run: Callable[[Graph], Graph]
    holds: str
    """What holds of the graph after the pass."""


Watch: TypeAlias = Callable[[Pass, Graph, Graph], object]
"""Called after each pass with the pass, the graph before it and the graph after it."""

_watchers: list[Watch] = []


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Call `watch` after each pass that runs inside the block."""
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)


def run(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """The graph after all passes."""
    for step in passes:
        before, graph = graph, step.run(graph)
        for watch in _watchers:
            watch(step, before, graph)
    return graph


def rewriting(name: str, holds: str, *rules: Rule) -> Pass:
    """A pass that applies rules until none applies."""
    return Pass(name, lambda graph: rewrite(graph, *rules), holds)


def in_bodies(passes: Sequence[Pass]) -> Pass:
    """A pass that runs passes over the bodies of control flow nodes."""
    return Pass(
        "bodies",
        lambda graph: inside_loops(graph, lambda body: run(body, passes)),
        "what holds of the graph after these passes also holds of every body",
    )
