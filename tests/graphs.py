"""Graphs made by tests: written as graph-models, run by TF.js, and compared with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, TensorType, dtype_of
from kerasport.model import Array
from kerasport.targets.graph_model import document, optimised
from kerasport.targets.graph_model.emit import Emitter
from kerasport.targets.plan import Plan, write


def given(name: str, array: Array, unknown: Sequence[int] = ()) -> Input:
    """An input for arrays like that, with sizes that are known at run time only."""
    shape = tuple(None if axis in unknown else size for axis, size in enumerate(array.shape))
    return Input(name, TensorType(dtype_of(array.dtype), shape))


def emitted(graph: Graph, outputs: Sequence[str] = ()) -> tuple[Emitter, list[str]]:
    """An emitter that has emitted the graph as the target does, and the names of the outputs."""
    emitter = Emitter(optimised(graph))
    names = emitter.run(outputs or [f"out_{at}" for at in range(len(graph.outputs))])
    assert not emitter.problems
    return emitter, names


def write_graph(graph: Graph, folder: Path, outputs: Sequence[str] = ()) -> Path:
    """The graph as a graph-model in a new directory."""
    emitter, names = emitted(graph, outputs)
    folder.mkdir()
    write(Plan("graph-model", "", (), (), document(emitter, names), emitter.weights), folder)
    return folder


def random(seed: int, *shape: int, low: float = -2, high: float = 2) -> Array:
    """Random float32 numbers."""
    made: Array = np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)
    return made
