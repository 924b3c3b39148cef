"""The size of weights in a report is the size that they have in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Input, TensorType, constant
from kerasport.ir.program import Port, Program
from kerasport.targets.onnx import ONNX
from kerasport.targets.tfjs import GRAPH

COUNT = 5000


def table(dtype: str) -> Program:
    """Rows of a constant table of a dtype."""
    index = Input("index", TensorType("int32", ("batch",)))
    values = np.arange(COUNT) % 100
    y = ops.gather(constant(values, dtype), index)  # type: ignore[arg-type]
    graph = Graph((index,), (y,))
    return Program("table", "", graph, (Port("index"),), (Port("y"),))


@pytest.mark.needs("onnx_ir")
@pytest.mark.every_row
@pytest.mark.parametrize(
    ("dtype", "itemsize"), [("int8", 1), ("uint16", 2), ("int32", 4), ("int64", 8), ("float32", 4)]
)
def test_onnx_models_store_integers_in_their_own_dtype(
    dtype: str, itemsize: int, tmp_path: Path
) -> None:
    plan = ONNX.plan(table(dtype), ONNX.options())
    assert plan.nbytes == COUNT * itemsize
    written = ONNX.write(plan, tmp_path / "table.onnx", ONNX.options(), False, lambda _: None)
    assert 0 < written.nbytes - plan.nbytes < 1000


@pytest.mark.every_row
@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_tfjs_models_store_integers_as_int32(dtype: str, tmp_path: Path) -> None:
    plan = GRAPH.plan(table(dtype), GRAPH.options())
    # the axis of the gather is a weight, too
    assert plan.nbytes == COUNT * 4 + 4
    GRAPH.write(plan, tmp_path / "table", GRAPH.options(), False, lambda _: None)
    assert sum(file.stat().st_size for file in (tmp_path / "table").glob("*.bin")) == plan.nbytes
