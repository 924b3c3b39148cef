"""Reads TensorFlow graphs: SavedModels, frozen graphs and TF.js graph-models.

A reader makes a `FrozenGraph` (`frozen.py`) from a file. The table of TensorFlow ops then makes
the graph of a `Program` from it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasport.errors import OptionError, of_file
from kerasport.frontends.graphdef.frozen import FrozenGraph
from kerasport.frontends.graphdef.graph_file import read_frozen_graph
from kerasport.frontends.graphdef.places import located
from kerasport.frontends.graphdef.saved_model import NAME, read_saved_model

__all__ = ["is_tensorflow_graph", "read_graph"]


def is_tensorflow_graph(source: Any) -> bool:
    """Whether a source is a SavedModel or a frozen graph, by a quick look at it."""
    if not isinstance(source, str | os.PathLike):
        return False
    path = Path(source)
    return (path / NAME).is_file() or path.suffix in (".pb", ".pbtxt")


def read_graph(
    path: str | os.PathLike[str],
    *,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> FrozenGraph:
    """Read a TensorFlow graph.

    Args:
        path: directory of a SavedModel or TF-Hub module, or file of a frozen graph.
        signature: key of the signature, by default "serving_default" or the only one.
        tags: tags of the meta graph, by default "serve".
        outputs: names of the outputs of a frozen graph, by default the nodes that no other node
            reads.

    Raises:
        ReadError: the file is malformed, or a part of it is missing.
        OptionError: the file has no such signature, tags or outputs.
        UnsupportedModel: the graph changes variables.
    """
    found = Path(path)
    found = found.parent if found.name == NAME else found
    with of_file(str(found)), located(""):
        if (found / NAME).is_file():
            _unused("a SavedModel", outputs=outputs)
            return read_saved_model(found, signature, tags)
        _unused("a frozen graph", signature=signature, tags=tags)
        return read_frozen_graph(found, outputs)


def _unused(kind: str, **options: object) -> None:
    """Refuse options that a kind of file does not have."""
    for option, value in options.items():
        if value is not None:
            raise OptionError(f"the option {option} does not apply to {kind}", option)
