"""A program: the result of a front end, and the input of the graph targets.

It contains the graph, and what a report says about the source. A target does not depend on the
front end that made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kerasport.errors import Problem
from kerasport.ir.graph import Graph
from kerasport.report import Values
from kerasport.weights import Weight


@dataclass(frozen=True)
class Part:
    """A part of the source that a report lists: a layer, or a function that the model calls.

    Attributes:
        path: its unique path in the source, such as "encoder/dense".
        name: its name, which problems contain.
        class_name: the class of the layer, or the name of the function.
        removed: why the graph has no operation for it; empty if the graph has one.
        weights: its own weights, without those of its parts.
    """

    path: str
    name: str
    class_name: str
    removed: str = ""
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class Port:
    """An input or output of the source: its name and the meaning of its values."""

    name: str
    values: Values = field(default_factory=Values)


@dataclass(frozen=True)
class Program:
    """The computation of a source at inference.

    Attributes:
        name: the name of the model.
        writer: the version of the program that wrote the source; empty if it is unknown.
        graph: the tensor operations; None if there are problems.
        inputs: one for each input of the graph.
        outputs: one for each output of the graph, with the name that it should have.
        named_outputs: whether the source returns a dict of outputs.
        parts: the parts of the source.
        problems: parts that the graph cannot express.
        notes: what a user should know about the source.
        half_policies: dtype policies with which the source computes in 16 bits, the graph in 32.
    """

    name: str
    writer: str
    graph: Graph | None
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    named_outputs: bool = False
    parts: tuple[Part, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    half_policies: tuple[str, ...] = ()


def weights_of(parts: Iterable[Part]) -> Iterator[Weight]:
    """The weights of all parts."""
    return (weight for part in parts for weight in part.weights)
