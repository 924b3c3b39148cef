"""Reads frozen graphs: files of one `GraphDef`, usually with the suffix `.pb`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kerasport.errors import ReadError
from kerasport.frontends.graphdef.assemble import (
    Origin,
    Tensor,
    assemble,
    inputs_of,
    outputs_of,
)
from kerasport.frontends.graphdef.attributes import File, opened
from kerasport.frontends.graphdef.body import library
from kerasport.frontends.graphdef.frozen import FrozenGraph, UnknownRank
from kerasport.frontends.graphdef.messages import GraphDef
from kerasport.frontends.graphdef.op_defs import OpDefs
from kerasport.frontends.graphdef.stored_values import StoredValues

TEXT = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(node|library|versions)\s*:?\s*\{")
SCALARS_SINCE = 24
"""Version of the format since which the shape of a placeholder can be that of a scalar."""

NOT_FROZEN = (
    "the graph is not frozen: it contains variables, but not their values; freeze it, or convert "
    "the SavedModel that it comes from"
)


def read_frozen_graph(path: Path, outputs: Sequence[str] | None = None) -> FrozenGraph:
    """Read a frozen graph.

    Args:
        path: the file.
        outputs: names of nodes or "node:index", by default the nodes that no other node reads.

    Raises:
        ReadError: the file is not a frozen graph.
        OptionError: the graph has no such outputs.
    """
    with opened(path) as file:
        version = _check(file)
        found = library(file, None, OpDefs())
        tensors = outputs_of(found, outputs)
        return assemble(
            Origin(path.stem),
            found,
            tuple(_input(tensor, version) for tensor in inputs_of(found.graph, tensors)),
            tensors,
            lambda _: StoredValues(missing=NOT_FROZEN),
            named=False,
        )


def _input(tensor: Tensor, version: int) -> Tensor:
    """An input. In old graphs, no sizes mean that the shape is not known."""
    if tensor.shape == () and version < SCALARS_SINCE:
        return replace(tensor, shape=UnknownRank())
    return tensor


def _check(file: File) -> int:
    """Refuse files that are not binary graphs. Returns the version of the format."""
    if file.path.suffix == ".pbtxt" or TEXT.match(file.buffer[:1000]):
        raise ReadError(
            "this is a graph as text, which is not supported; convert it to a binary .pb file with "
            "tf.io.write_graph(graph, directory, name, as_text=False)"
        )
    graph: GraphDef = file.decode(GraphDef)
    if not graph.node:
        raise ReadError("the file contains no graph")
    return graph.versions.producer if graph.versions is not None else 0
