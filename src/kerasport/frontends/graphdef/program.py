"""From a frozen graph to a program: the graph, and what a report says of the source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kerasport.errors import OptionError, Problem, UnsupportedModel, of_file
from kerasport.frontends.graphdef import read_graph
from kerasport.frontends.graphdef.freeze import ordered
from kerasport.frontends.graphdef.frozen import FrozenGraph, GraphNode
from kerasport.ir.graph import Graph
from kerasport.ir.program import Part, Port, Program
from kerasport.ir.tensor import Tensor
from kerasport.weights import Weight

HIDDEN = ("Const", "Placeholder", "_Arg")
"""Ops that a report does not list as parts."""

UNKNOWN = "an unknown version of TensorFlow"


@contextmanager
def open_graph(
    source: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Iterator[Program]:
    """Open a SavedModel, a frozen graph or a TF.js graph-model as a program.

    Raises:
        ReadError: the file is malformed, or a part of it is missing.
        OptionError: there is no such signature, or no such tags or outputs.
    """
    if weights is not None:
        raise OptionError("this source contains its weights; omit weights", "weights")
    problems: tuple[Problem, ...] = ()
    try:
        graph = read_graph(source, signature=signature, tags=tags, outputs=outputs)
    except UnsupportedModel as error:
        problems = error.problems
    if problems:
        yield Program(name=Path(source).name, writer=UNKNOWN, graph=None, problems=problems)
    else:
        with of_file(str(source)):
            program = program_of(graph)
        yield program


def program_of(graph: FrozenGraph) -> Program:
    """Lower a graph, and describe it.

    The program has problems instead of a graph if the IR cannot express some of its nodes.
    """
    from kerasport.frontends.graphdef.lower import lower  # noqa: PLC0415  (imports the table of ops)

    problems: tuple[Problem, ...] = ()
    lowered = None
    try:
        lowered = lower(graph)
    except UnsupportedModel as error:
        problems = error.problems
    return Program(
        name=graph.name,
        writer=graph.writer or UNKNOWN,
        graph=lowered,
        inputs=tuple(Port(argument.name) for argument in graph.inputs),
        outputs=tuple(Port(named.name) for named in graph.outputs),
        named_outputs=graph.named_outputs and len(graph.outputs) > 1,
        parts=tuple(_parts(graph)),
        problems=problems,
        notes=(*graph.notes, *precision_notes(lowered)),
    )


def precision_notes(graph: Graph | None) -> Iterator[str]:
    """A note on floats that some targets replace by float32."""
    dtypes = {node.dtype for node in graph.nodes() if isinstance(node, Tensor)} if graph else set()
    found = sorted(dtypes & {"float16", "bfloat16", "float64"})
    if found:
        yield (
            f"the model computes in {' and '.join(found)}; a target without this element type "
            "computes in float32, so its outputs are rounded differently"
        )


def _parts(graph: FrozenGraph) -> Iterator[Part]:
    """The nodes of a graph, each with the constants in the file that it is the first to read."""
    seen: set[GraphNode] = set()
    for node in ordered([named.result for named in graph.outputs]):
        if node.op in HIDDEN:
            continue
        weights = []
        for result in node.inputs:
            value = result.node.attributes.get("value")
            if result.node.op == "Const" and result.node not in seen and is_weight(value):
                seen.add(result.node)
                weights.append(value)
        yield Part(node.name, node.name, node.op, weights=tuple(weights))  # type: ignore[arg-type]


def is_weight(value: object) -> bool:
    """Whether the value of a constant is in a file."""
    return isinstance(value, Weight)
