"""Reads frozen graphs: files of one `GraphDef`, usually with the suffix `.pb`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kerasport.errors import ReadError
from kerasport.frontends.graphdef.assemble import Origin, assemble, inputs_of, outputs_of
from kerasport.frontends.graphdef.attributes import File, opened
from kerasport.frontends.graphdef.body import library
from kerasport.frontends.graphdef.frozen import FrozenGraph
from kerasport.frontends.graphdef.messages import GraphDef
from kerasport.frontends.graphdef.op_defs import OpDefs
from kerasport.frontends.graphdef.stored_values import StoredValues

TEXT = re.compile(rb"\s*(#.*\s+)*(node|library|versions)\s*:?\s*\{")
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
        _check(file)
        found = library(file, None, OpDefs())
        tensors = outputs_of(found, outputs)
        return assemble(
            Origin(path.stem),
            found,
            inputs_of(found.graph, tensors),
            tensors,
            lambda _: StoredValues(missing=NOT_FROZEN),
            named=False,
        )


def _check(file: File) -> None:
    """Refuse files that are not binary graphs."""
    if file.path.suffix == ".pbtxt" or TEXT.match(file.buffer[:1000]):
        raise ReadError(
            "this is a graph as text, which is not supported; convert it to a binary .pb file with "
            "tf.io.write_graph(graph, directory, name, as_text=False)"
        )
    graph: GraphDef = file.decode(GraphDef)
    if not graph.node:
        raise ReadError("the file contains no graph")
