"""Passes over graphs: named steps that run in order.

To show or check the graph after each pass:

    with watching(lambda done, before, after: print(done.name, show(after))):
        kerasport.convert("model.keras", "model.onnx")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from kerasport.ir.graph import Graph
from kerasport.passes.control import simplified
from kerasport.passes.loop import counted, inside_loops
from kerasport.passes.rewrite import Rule, rewrite


@dataclass(frozen=True)
class Pass:
    """One step that converts a graph to another graph with the same results."""

    name: str
    run: Callable[[Graph], Graph]
    holds: str
    """What is true of the graph after the pass."""


Watch: TypeAlias = Callable[[Pass, Graph, Graph], object]
"""Function that is called after each pass with the pass, and the graph before and after it."""

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
    """A pass that applies rules until no rule applies."""
    return Pass(name, lambda graph: rewrite(graph, *rules), holds)


def in_bodies(passes: Sequence[Pass]) -> Pass:
    """A pass that runs other passes on the bodies of control flow nodes."""
    return Pass(
        "bodies",
        lambda graph: inside_loops(graph, lambda body: run(body, passes)),
        "what holds of the graph after these passes also holds of every body",
    )


CONTROL = Pass(
    "control flow",
    simplified,
    "bodies contain their constants, and take, compute and return only what is used",
)

COUNTED = Pass(
    "count",
    lambda graph: counted(inside_loops(graph, counted)),
    "every scan has at least one step in every run",
)
