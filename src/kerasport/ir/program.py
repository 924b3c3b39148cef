"""A program: what front ends make of a source, and what graph targets take.

It holds the graph and what a report says of the source. A target does not know which front end
made it.
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
        path: where it is, such as "encoder/dense"; unique in the source.
        name: its name, by which problems refer to it.
        class_name: class of the layer, or name of the function.
        removed: why nothing is left of it at inference; empty if something is.
        weights: the weights that it holds itself.
    """

    path: str
    name: str
    class_name: str
    removed: str = ""
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class Port:
    """An input or output of the source: its name, and what its values mean."""

    name: str
    values: Values = field(default_factory=Values)


@dataclass(frozen=True)
class Program:
    """What a source computes at inference.

    Attributes:
        name: name of the model.
        writer: version of the program that wrote the source; empty if it is not known.
        graph: the tensor operations; None if there are problems.
        inputs: one for each input of the graph.
        outputs: one for each output of the graph, with the name that it should have.
        named_outputs: whether the source returns a dict of outputs.
        parts: the parts of the source.
        problems: parts that the graph cannot express.
        notes: what to know about the source.
        half_policies: dtype policies by which the source computes in 16 bits, but the graph in 32.
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
