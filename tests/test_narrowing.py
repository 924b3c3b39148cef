"""Graphs in the few element types that a target computes in."""

from __future__ import annotations

import numpy as np
import pytest

from kerasport.ir import ops
from kerasport.ir.check import check
from kerasport.ir.dtypes import NUMPY, DType
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import Input, TensorType, constant
from kerasport.passes.dtypes import Narrowed, narrowed
from kerasport.targets.tfjs.graph import NARROW

LIMIT = "it computes in int32"


def given(dtype: DType) -> Input:
    return Input("x", TensorType(dtype, ("batch", 3)))


def of(x: Input, *outputs: Tensor) -> Narrowed:
    """Outputs of one input, narrowed; the result is well formed."""
    result = narrowed(Graph((x,), outputs, {outputs[0]: "layer"}), NARROW, LIMIT)
    check(result.graph)
    return result


def test_narrowing_keeps_graphs_in_supported_types() -> None:
    x = given("int32")
    graph = Graph((x,), (x + 1,))
    assert narrowed(graph, NARROW, LIMIT).graph is graph


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint32"])
def test_narrowing_keeps_values_that_fit(dtype: DType) -> None:
    x = given(dtype)
    outputs = (
        ops.maximum(x, 3), ops.Reverse(x, (1,)), ops.cast(x, "float32") / 2, ops.less(x, 5),
        ops.concat([x, constant([[1, 2, 3]] * 2, dtype)], 1), ops.ArgMax(x, 1),
    )  # fmt: skip
    result = of(x, *outputs)
    assert not result.problems
    assert {output.dtype for output in result.graph.outputs} <= {"int32", "float32", "bool"}
    values = np.array([[1, 9, 4], [100, 0, 77]])
    wanted = Graph((x,), outputs).run(values.astype(NUMPY[dtype]))
    for one, other in zip(wanted, result.graph.run(values.astype(np.int32)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("dtype", "function"),
    [
        ("uint8", lambda x: x + x),
        ("int8", lambda x: ops.Abs(x)),
        ("uint32", lambda x: x - 1),
        ("int32", lambda x: ops.Cast(x, "uint8")),
        ("int64", lambda x: ops.maximum(x, constant(2**40, "int64"))),
    ],
)
def test_results_that_would_differ_are_problems(dtype: DType, function: object) -> None:
    x = given(dtype)
    (problem,) = of(x, function(x)).problems  # type: ignore[operator]
    assert problem.reason.endswith(LIMIT)


@pytest.mark.parametrize(
    ("dtype", "count"), [("uint8", 0), ("int16", 0), ("uint32", 1), ("int64", 1)]
)
def test_notes_name_inputs_with_types_beyond_int32(dtype: DType, count: int) -> None:
    x = given(dtype)
    assert len(of(x, ops.Reverse(x, (1,))).notes) == count


def test_bodies_of_loops_are_narrowed() -> None:
    x = Input("x", TensorType("int64", ("batch", 4, 3)))
    start = ops.Fill((ops.dim(x, 0), 3), 0, "int64")
    (last,), (over,) = ops.scan(lambda s, t, _: ([s[0] + t[0]], [s[0]]), (start,), (x,))
    result = of(x, last, over)
    assert not result.problems
    values = np.arange(24).reshape(2, 4, 3)
    wanted = Graph((x,), (last, over)).run(values)
    for one, other in zip(wanted, result.graph.run(values.astype(np.int32)), strict=True):
        assert other.dtype == np.int32
        np.testing.assert_array_equal(one, other)
