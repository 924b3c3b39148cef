"""Passes, weights and rounding inside the bodies of branches, loops and scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.graphs import BACKENDS, random

from kerasport.ir import ops
from kerasport.ir.check import check
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Branch, Input, Loop, Scan, Tensor, TensorType, constant
from kerasport.ir.program import Part, Port, Program
from kerasport.ir.tensor import Constant
from kerasport.passes.control import simplified
from kerasport.targets.onnx import ONNX
from kerasport.targets.onnx.options import OnnxOptions
from kerasport.targets.rounding import parsed
from kerasport.targets.target import Target
from kerasport.targets.tfjs import GRAPH
from kerasport.targets.tfjs.options import GraphOptions
from kerasport.verification.runtimes.tfjs import Tfjs
from kerasport.weights import Array

UNITS = 64
FLAG = Input("flag", TensorType("bool", ()))
X = Input("x", TensorType("float32", ("batch", UNITS)))
STEPS = Input("steps", TensorType("int32", ("time",)))


@cache
def kernels() -> tuple[Constant, ...]:
    """Five weights [64, 64]."""
    return tuple(constant(random(at, UNITS, UNITS, low=-0.2, high=0.2)) for at in range(5))


def graph() -> Graph:
    """A branch, a loop and a scan with weights, one of which all of them use."""
    shared, *own = kernels()

    def step(states: Sequence[Tensor], steps: Sequence[Tensor], captured: Any) -> Any:
        h = ops.Tanh(states[0] @ captured[0] + states[0] @ own[0]) + ops.floats(steps[0])
        return [h], [ops.sum_(h, 1)]

    (y,) = ops.branch(
        FLAG,
        lambda x, w: (ops.Relu(x @ w @ own[1]),),
        lambda x, _: (ops.Sigmoid(x @ own[2]),),
        (X @ shared, shared),
    )
    (h,), (sums,) = ops.scan(step, (y,), (STEPS,), (shared,), axes=0, result_axes=1)
    z, _, over = ops.while_loop(
        None,
        lambda z, w, b: (ops.Tanh(z @ w) + b, w, ops.sum_(z @ shared, 1)),
        (h, own[3]),
        (constant(random(7, UNITS)),),
        3,
    )
    return Graph((FLAG, X, STEPS), (z, sums, over), {y: "branch", h: "scan", z: "loop"})


FEED = (np.asarray(True), random(3, 5, UNITS), np.array([1, 0, 2], np.int32))


def program(graph: Graph) -> Program:
    inputs = tuple(Port(given.name) for given in graph.inputs)
    outputs = tuple(Port(f"out_{index}") for index in range(len(graph.outputs)))
    parts = tuple(Part(name, name, "Layer") for name in graph.names.values())
    return Program("bodies", "", graph, inputs, outputs, parts=parts)


def planned(target: Target, options: Any, graph: Graph) -> Any:
    """The plan of a graph, with rounded weights if the options say so."""
    plan = target.plan(program(graph), options)
    assert not plan.problems
    return target.rounded(plan, options) if options.quantize else plan


def saved(target: Target, options: Any, graph: Graph, folder: Path) -> Path:
    """The model of a graph."""
    out = folder / target.example
    target.write(planned(target, options, graph), out, options, False, lambda _: None)
    return out


def test_weights_move_into_bodies_and_are_not_captured() -> None:
    before = graph()
    after = simplified(before)
    check(after)
    nodes = [node for node in after.nodes() if isinstance(node, Branch | Loop | Scan)]
    assert {type(node) for node in nodes} == {Branch, Loop, Scan}
    for node in nodes:
        assert not any(isinstance(tensor, Constant) for tensor in node.captured)
        if isinstance(node, Loop):
            assert (len(node.states), len(node.captured)) == (1, 0)
    for wanted, got in zip(before.run(*FEED), after.run(*FEED), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_nothing_uses_is_removed_from_bodies() -> None:
    doubled, tripled = X * 2.0, X * 3.0
    (y, _) = ops.branch(FLAG, lambda a, _: (a, a), lambda a, b: (-a, b), (doubled, tripled))
    z, _, _, _, over = ops.while_loop(
        lambda z, n, *_: ops.less(n, 3),
        lambda z, n, dead, same, c: (z + same, n + 1, dead * 2.0, same, z, dead + c),
        (y, constant(0), X, doubled),
        (tripled,),
    )[:5]
    (last, _), (kept, _) = ops.scan(
        lambda s, t, _: ([s[0] + ops.floats(t[0]), s[1] * 2.0], [s[0], s[1]]),
        (z, tripled),
        (STEPS,),
        axes=0,
        result_axes=0,
    )
    before = Graph((FLAG, X, STEPS), (last, kept, over))
    after = simplified(before)
    check(after)
    found = {type(node): node for node in after.nodes()}
    branch, loop, scan = found[Branch], found[Loop], found[Scan]
    assert isinstance(branch, Branch)
    assert isinstance(loop, Loop)
    assert isinstance(scan, Scan)
    assert (len(branch.captured), len(branch.then_body.outputs)) == (1, 1)
    assert (len(loop.states), len(loop.captured), len(loop.results)) == (2, 1, 1)
    assert (len(scan.states), len(scan.results)) == (1, 1)
    assert sum(isinstance(node, ops.Mul) for node in after.nodes()) == 1
    for wanted, got in zip(before.run(*FEED), after.run(*FEED), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_branch_whose_predicate_is_known_is_its_graph() -> None:
    yes = ops.less(constant(1), 2)
    (y,) = ops.branch(
        yes,
        lambda a, flag: ops.branch(flag, lambda a: (a,), lambda a: (-a,), (a,)),
        lambda a, _: (a * 2.0,),
        (X, ops.LogicalNot(yes)),
    )
    after = simplified(Graph((X,), (y,)))
    check(after)
    assert [type(node) for node in after.nodes()] == [Input, ops.Neg]


def test_a_weight_of_several_bodies_is_stored_once() -> None:
    size = 4 * UNITS * UNITS
    for target in (GRAPH, ONNX):
        plan = planned(target, target.options(), graph())
        large = [weight for weight in plan.weights.values() if weight.size > 1000]
        assert set(large) == {kernel.value for kernel in kernels()}
        assert 5 * size < plan.nbytes < 5 * size + 2000


RUNS: Mapping[str, tuple[Target, Any, float, float]] = {
    "tfjs": (GRAPH, GraphOptions(), 2e-5, 1.0),
    "tfjs-float16": (GRAPH, GraphOptions(quantize=parsed("float16")), 2e-3, 0.52),
    "tfjs-uint8": (GRAPH, GraphOptions(quantize=parsed("uint8")), 5e-2, 0.3),
    "onnx": (ONNX, OnnxOptions(), 2e-5, 1.0),
    "onnx-float16": (ONNX, OnnxOptions(quantize=parsed("float16")), 2e-3, 0.52),
    "onnx-half": (ONNX, OnnxOptions(quantize=parsed("float16"), half_compute=True), 1e-2, 0.52),
    "onnx-int8": (ONNX, OnnxOptions(quantize=parsed("int8")), 5e-2, 0.3),
}
"""Name → target, options, largest error, and size compared with float32."""


@pytest.mark.every_row
@pytest.mark.needs("onnx_ir")
@pytest.mark.parametrize("name", [name for name in RUNS if RUNS[name][0] is ONNX])
@pytest.mark.parametrize("flag", [True, False])
def test_onnx_runtime_computes_with_rounded_weights_in_bodies(
    name: str, flag: bool, tmp_path: Path
) -> None:
    from tests.onnx_runtime import run  # noqa: PLC0415  (imports ONNX Runtime)

    target, options, within, share = RUNS[name]
    path = saved(target, options, graph(), tmp_path)
    feed = (np.asarray(flag), *FEED[1:])
    (got,) = run(path, [feed])
    compared(graph().run(*feed), got, within)
    assert planned(target, options, graph()).nbytes < share * 4 * 5 * UNITS * UNITS + 5000


@pytest.mark.every_row
@pytest.mark.parametrize("name", [name for name in RUNS if RUNS[name][0] is GRAPH])
def test_tfjs_computes_with_rounded_weights_in_bodies(
    name: str, tfjs: Tfjs, tmp_path: Path
) -> None:
    target, options, within, share = RUNS[name]
    path = saved(target, options, graph(), tmp_path)
    feeds = [(np.asarray(flag), *FEED[1:]) for flag in (True, False)]
    for backend in BACKENDS:
        results = tfjs.run(path, feeds, backend=backend, timeout=60).results
        for feed, got in zip(feeds, results, strict=True):
            compared(graph().run(*feed), got, within)
    assert planned(target, options, graph()).nbytes < share * 4 * 5 * UNITS * UNITS + 5000


def compared(wanted: Sequence[Array], got: Sequence[Array], within: float) -> None:
    for one, other in zip(wanted, got, strict=True):
        assert one.shape == other.shape
        largest = max(1.0, float(np.abs(one).max(initial=0)))
        np.testing.assert_allclose(other, one, rtol=0, atol=within * largest)


# ---------------------------------------------------------------------------------------- narrowing


def wide() -> Graph:
    """Integers of 64 bits and float64 in conditions, bodies and results."""
    n = Input("n", TensorType("int64", ()))
    x = Input("x", TensorType("float64", (3,)))
    ids = Input("ids", TensorType("int64", (4,)))
    table = constant(np.arange(20) * 3, "int64")
    half = constant(0.5, "float64")
    count, y, over = ops.while_loop(
        lambda count, _, n: ops.less(count, n),
        lambda count, y, n: (count + constant(1, "int64"), y * half, ops.gather(table, count)),
        (constant(0, "int64"), x),
        (n,),
        n,
    )
    (chosen,) = ops.branch(
        ops.less(n, constant(3, "int64")),
        lambda i: (ops.Cast(i, "float64") * half,),
        lambda i: (ops.Cast(ops.gather(table, i), "float64"),),
        (ids,),
    )
    (total,), (sums,) = ops.scan(
        lambda s, t, _: ([s[0] + t[0]], [ops.Cast(s[0], "float64")]),
        (constant(2, "int64"),),
        (ids,),
        axes=0,
        result_axes=0,
    )
    return Graph((n, x, ids), (count, y, over, chosen, total, sums))


def test_tfjs_narrows_bodies(tfjs: Tfjs, tmp_path: Path) -> None:
    options = GraphOptions()
    path = saved(GRAPH, options, wide(), tmp_path)
    for n in (0, 2, 5):
        feed = (np.asarray(n), random(1, 3), np.array([3, 1, 4, 1]))
        narrow = (feed[0].astype(np.int32), feed[1], feed[2].astype(np.int32))
        for backend in BACKENDS:
            got = tfjs.run(path, [narrow], backend=backend, timeout=60).results[0]
            compared(wide().run(feed[0], feed[1].astype(np.float64), feed[2]), got, 1e-6)


@pytest.mark.needs("onnx_ir")
def test_onnx_runtime_computes_wide_types_in_bodies(tmp_path: Path) -> None:
    from tests.onnx_runtime import run  # noqa: PLC0415  (imports ONNX Runtime)

    path = saved(ONNX, OnnxOptions(), wide(), tmp_path)
    for n in (0, 2, 5):
        feed = (np.asarray(n), random(1, 3).astype(np.float64), np.array([3, 1, 4, 1]))
        (got,) = run(path, [feed])
        wanted = wide().run(*feed)
        assert [array.dtype for array in got] == [array.dtype for array in wanted]
        compared(wanted, got, 1e-12)


@pytest.mark.needs("onnx_ir")
def test_rounding_keeps_the_model_of_a_plan() -> None:
    """A plan is a value: what computes in float16 is another model, also in its bodies."""
    options: Any = RUNS["onnx-half"][1]
    plan: Any = ONNX.plan(program(graph()), options)
    before = str(plan.model)
    rounded: Any = ONNX.rounded(plan, options)
    assert str(plan.model) == before
    assert "FLOAT16" in str(rounded.model)
    again: Any = ONNX.rounded(plan, options)
    assert str(again.model) == str(rounded.model)
