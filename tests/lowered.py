"""Whether a model lowered and run by numpy computes what Keras computes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from tests.cases.trial import Trial

from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.read import read
from kerasport.ir.dtypes import NUMPY
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.fold import fold_constants
from kerasport.passes.loop import inside_loops, unroll
from kerasport.passes.rewrite import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cases.case import Array, Case

    from kerasport.ir.graph import Graph
    from kerasport.ir.tensor import Extent

MANY = 100  # more steps than any model here has


def agrees(case: Case, folder: Path) -> Graph:
    """The graph of a case, after its results as a loop and unrolled were compared with Keras."""
    trial = Trial(case, folder)
    with read(trial.path) as model:
        graph = lower(model)
        ways = {
            "as it is": graph,
            "unrolled": unroll(graph, MANY),
            "with its loops rewritten": inside_loops(
                graph, lambda body: rewrite(body, fold_constants, *ALGEBRA)
            ),
            "unrolled and rewritten": rewrite(unroll(graph, MANY), fold_constants, *ALGEBRA),
        }
        for feeds, expected in zip(trial.feeds, trial.expected, strict=True):
            for how, way in ways.items():
                same(way, feeds, expected, case, how)
    return graph


def size_of(extent: Extent, named: Mapping[Extent, int]) -> int:
    """The size of an axis: a number, a name, or a product of these such as `4*batch`."""
    factors = str(extent).split("*")
    return math.prod(int(part) if part.isdigit() else named[part] for part in factors)


def same(
    graph: Graph, feeds: tuple[Array, ...], expected: tuple[Array, ...], case: Case, how: str
) -> None:
    """Run a graph on feeds, and compare."""
    fed = (feed.astype(NUMPY[given.dtype]) for given, feed in zip(graph.inputs, feeds, strict=True))
    with np.errstate(all="ignore"):  # what is too large is so in Keras as well
        made = graph.run(*fed)
    named = {
        extent: size
        for given, feed in zip(graph.inputs, feeds, strict=True)
        for extent, size in zip(given.extents, feed.shape, strict=True)
    }
    for index, (wanted, got, tensor) in enumerate(zip(expected, made, graph.outputs, strict=True)):
        where = f"output {index}, {how}"
        assert got.shape == wanted.shape, where
        assert (
            np.isfinite(got.astype("float64")) == np.isfinite(wanted.astype("float64"))
        ).all(), where
        pairs = zip(tensor.extents, got.shape, strict=True)
        assert all(said is None or size_of(said, named) == size for said, size in pairs), (
            f"{where}: {tensor.type} is {got.shape}"
        )
        np.testing.assert_allclose(
            got.astype("float64"), wanted.astype("float64"), case.rtol, case.atol, err_msg=where
        )
