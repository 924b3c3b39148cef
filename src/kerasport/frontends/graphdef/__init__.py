"""Reads TensorFlow graphs: SavedModels, frozen graphs and TF.js graph-models.

A reader makes a `FrozenGraph` (`frozen.py`) from a file. The table of TensorFlow ops then makes
the graph of a `Program` from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasport.errors import OptionError, of_file
from kerasport.frontends.keras.read.json_limits import MAX_BYTES
from kerasport.urls import check_local

if TYPE_CHECKING:
    from kerasport.frontends.graphdef.frozen import FrozenGraph

__all__ = ["is_tensorflow_graph", "read_graph"]

NAME = "saved_model.pb"
MODEL_JSON = "model.json"
NODES = re.compile(rb'"node"\s*:\s*\[')


def is_tensorflow_graph(source: Any) -> bool:
    """Whether a source is a SavedModel, a frozen graph or a graph-model, by a quick look at it."""
    if not isinstance(source, str | os.PathLike):
        return False
    path = Path(source)
    if path.name == NAME or path.suffix in (".pb", ".pbtxt"):
        return True
    try:
        return _is_saved_model(path) or _is_tfjs_graph(path)
    except OSError:  # the reader of Keras files says why a path cannot be read
        return False


def _is_saved_model(path: Path) -> bool:
    """Whether a path is the directory of a SavedModel, also of one as text."""
    return (path / NAME).is_file() or (path / f"{NAME}txt").is_file()


def _is_tfjs_graph(path: Path) -> bool:
    """Whether a path is, or contains, the model.json of a graph-model."""
    path = path / MODEL_JSON if path.is_dir() else path
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    text = path.read_bytes()
    return b'"modelTopology"' in text and NODES.search(text) is not None


def read_graph(
    path: str | os.PathLike[str],
    *,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> FrozenGraph:
    """Read a TensorFlow graph.

    Args:
        path: directory of a SavedModel, TF-Hub module or TF.js graph-model, its model.json, or the
            file of a frozen graph.
        signature: key of the signature, by default "serving_default" or the only one.
        tags: tags of the meta graph, by default "serve".
        outputs: names of the outputs of a frozen graph or graph-model, by default those of the
            signature, or the nodes that no other node reads.

    Raises:
        ReadError: the file is malformed, or a part of it is missing.
        OptionError: the file has no such signature, tags or outputs.
        UnsupportedModel: the graph changes variables.
    """
    # the readers are imported only for graphs
    from kerasport.frontends.graphdef.graph_file import read_frozen_graph  # noqa: PLC0415
    from kerasport.frontends.graphdef.places import located  # noqa: PLC0415
    from kerasport.frontends.graphdef.saved_model import read_saved_model  # noqa: PLC0415
    from kerasport.frontends.graphdef.tfjs_model import read_tfjs_graph  # noqa: PLC0415

    found = Path(path)
    check_local(found)
    found = found.parent if found.name == NAME else found
    with of_file(str(found)), located(""):
        if _is_saved_model(found):
            _unused("a SavedModel", outputs=outputs)
            return read_saved_model(found, signature, tags)
        if _is_tfjs_graph(found):
            _unused("a graph-model", signature=signature, tags=tags)
            return read_tfjs_graph(found, outputs)
        _unused("a frozen graph", signature=signature, tags=tags)
        return read_frozen_graph(found, outputs)


def _unused(kind: str, **options: object) -> None:
    """Refuse options that a kind of file does not have."""
    for option, value in options.items():
        if value is not None:
            raise OptionError(f"the option {option} does not apply to {kind}", option)
