"""Graphs of tests: written as graph-models, run by TF.js on each backend, compared with numpy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, get_args

import numpy as np

from kerasport.errors import VerifyError
from kerasport.ir.dtypes import dtype_of
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import Extent, Input, TensorType
from kerasport.targets.tfjs import GRAPH
from kerasport.targets.tfjs.document import TfjsPlan, write
from kerasport.targets.tfjs.graph import document, optimized
from kerasport.targets.tfjs.graph.emit import Emitter, emitter_of
from kerasport.verification.runtimes.tfjs import Backend, Tfjs
from kerasport.weights import Array

BACKENDS: tuple[Backend, ...] = get_args(Backend)
Arrays: TypeAlias = tuple[Array, ...]


def given(
    name: str, array: Array, unknown: Sequence[int] = (), named: Mapping[int, str] | None = None
) -> Input:
    """An input for arrays like that, with sizes that are known at run time only."""
    extents: list[Extent] = [
        None if axis in unknown else size for axis, size in enumerate(array.shape)
    ]
    for axis, extent in (named or {}).items():
        extents[axis] = extent
    return Input(name, TensorType(dtype_of(array.dtype), tuple(extents)))


def random(seed: int, *shape: int, low: float = -2, high: float = 2) -> Array:
    """Random float32 numbers."""
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape), np.float32)


def emitted(graph: Graph, outputs: Sequence[str] = ()) -> tuple[Emitter, list[str]]:
    """An emitter that has emitted the graph as the target does, and the names of the outputs."""
    made = emitter_of(optimized(graph))
    names = made.run(outputs or [f"out_{at}" for at in range(len(graph.outputs))])
    assert not made.problems
    return made, list(names)


def write_graph(graph: Graph, folder: Path, outputs: Sequence[str] = ()) -> Path:
    """The graph as a graph-model in a new directory."""
    made, names = emitted(graph, outputs)
    folder.mkdir()
    plan = TfjsPlan(
        target=GRAPH,
        format="graph-model",
        document=document(made, names),
        weights=made.weights,
    )
    write(plan, folder)
    return folder


@dataclass(frozen=True)
class Check:
    """A computation and its inputs.

    The sizes of the axes `unknown` are known only at run time, and those in `named`, by input and
    axis, have a name.
    """

    name: str
    build: Callable[..., Tensor | tuple[Tensor, ...]]
    arrays: Arrays
    unknown: Sequence[int] = ()
    rtol: float = 1e-4
    atol: float = 2e-5
    named: Mapping[tuple[int, int], str] = field(default_factory=dict)

    def graph(self, prefix: str = "x") -> Graph:
        """The computation on inputs of its own."""
        inputs = tuple(
            given(
                f"{prefix}_{at}",
                array,
                self.unknown,
                {axis: f"{prefix}_{name}" for (i, axis), name in self.named.items() if i == at},
            )
            for at, array in enumerate(self.arrays)
        )
        made = self.build(*inputs)
        return Graph(inputs, made if isinstance(made, tuple) else (made,))

    def compare(self, wanted: Arrays, got: Arrays, where: str) -> None:
        """Fail where two results differ in kind, shape or numbers."""
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            place = f"result {index} of {self.name} on {where}"
            assert (other.dtype, other.shape) == (one.dtype, one.shape), place
            np.testing.assert_allclose(
                other.astype(np.float64),
                one.astype(np.float64),
                self.rtol,
                self.atol,
                err_msg=place,
            )


class Runner:
    """Runs computations in TF.js, many in one model; alone where that model does not run."""

    def __init__(self, tfjs: Tfjs, folder: Path) -> None:
        self._tfjs, self._folder, self._count = tfjs, folder, itertools.count()

    def run(
        self, graph: Graph, feed: Sequence[Array], outputs: Sequence[str] = ()
    ) -> dict[Backend, Arrays]:
        """What each backend makes of a graph."""
        model = write_graph(graph, self._folder / f"model_{next(self._count)}", outputs)
        return {
            backend: self._tfjs.run(model, [feed], backend=backend, timeout=120).results[0]
            for backend in BACKENDS
        }

    def check(self, checks: Sequence[Check]) -> None:
        """Compare what TF.js makes of computations with what numpy does."""
        graphs = [check.graph(f"x{at}") for at, check in enumerate(checks)]
        try:
            results = self.run(
                together(graphs), [array for check in checks for array in check.arrays]
            )
        except VerifyError:
            if len(checks) == 1:
                raise
            for check in checks:
                self.check([check])
            raise
        for backend, got in results.items():
            rest = iter(got)
            for check, graph in zip(checks, graphs, strict=True):
                check.compare(
                    meaning(check, graph),
                    tuple(itertools.islice(rest, len(graph.outputs))),
                    backend,
                )


def together(graphs: Sequence[Graph]) -> Graph:
    """Graphs beside each other as one."""
    inputs = tuple(given for graph in graphs for given in graph.inputs)
    return Graph(inputs, tuple(output for graph in graphs for output in graph.outputs))


def meaning(check: Check, graph: Graph) -> Arrays:
    """What numpy makes of a computation."""
    with np.errstate(all="ignore"):
        return tuple(np.asarray(result) for result in graph.run(*check.arrays))


def batches(checks: Sequence[Check], size: int) -> Iterator[Sequence[Check]]:
    """The computations in parts of that many."""
    for start in range(0, len(checks), size):
        yield checks[start : start + size]
