"""Graph-models in TF.js: every operation of the IR on each backend, compared with numpy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st
from tests.emission import FAMILIES, SHAPE, checks_of, floats
from tests.graphs import Check, Runner, batches, emitted, given, random, together, write_graph
from tests.strategies import OPERATIONS, Sample, computations, operations

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.loop import Scan
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Constant, Input, Several, TensorType, constant
from kerasport.passes.fuse import Fused, Prelu
from kerasport.targets.tfjs.graph import optimized
from kerasport.targets.tfjs.graph.emit import DIFFERENT, SAME, UNSUPPORTED, emitter_of, node_name
from kerasport.verification.runtimes import node as node_js
from kerasport.verification.runtimes.tfjs import Backend, Tfjs

SUPPORTED = [samples for op, samples in OPERATIONS.items() if op not in UNSUPPORTED]
"""Samples of the operations that TF.js has."""


@pytest.fixture(scope="module")
def runner(tfjs: Tfjs, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tfjs, tmp_path_factory.mktemp("graphs"))


@pytest.mark.parametrize("family", FAMILIES)
def test_tfjs_computes_what_numpy_computes(runner: Runner, family: str) -> None:
    checks = checks_of(family)
    assert len({check.name for check in checks}) == len(checks)
    for batch in batches(checks, 200):
        runner.check(batch)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@drawn(st.lists(st.sampled_from(SUPPORTED).flatmap(lambda each: each), min_size=15, max_size=30))
def test_tfjs_computes_random_operations_as_numpy(runner: Runner, samples: list[Sample]) -> None:
    checks = [Check(str(at), results_of(each), each.arrays) for at, each in enumerate(samples)]
    # of no numbers at all wasm makes no shape
    runner.check(
        [
            check
            for check in checks
            if all(size != 0 for t in check.graph().outputs for size in t.shape)
        ]
    )


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@drawn(computations())
def test_tfjs_computes_random_graphs_as_numpy(runner: Runner, graph: Graph) -> None:
    feed = [
        random(at, *(3 if d is None else d for d in given_.shape))
        for at, given_ in enumerate(graph.inputs)
    ]
    wanted = tuple(map(np.asarray, graph.run(*feed)))
    large = max(1.0, *(float(np.max(np.abs(result), initial=0)) for result in wanted))
    check = Check("graph", tuple, tuple(feed), atol=2e-5 * large)
    for backend, got in runner.run(graph, feed).items():
        check.compare(wanted, got, backend)


def results_of(each: Sample) -> Callable[..., tuple[Tensor, ...]]:
    def build(*inputs: Input) -> tuple[Tensor, ...]:
        made = each.build(*inputs)
        return ops.items(made) if isinstance(made, Several) else (made,)

    return build


# --------------------------------------------------------------------------------------- the tables


def test_every_operation_has_a_row() -> None:
    rows: dict[Any, Any] = {**SAME, **DIFFERENT, **UNSUPPORTED}
    fused = operations("passes") & set(rows)
    assert set(rows) == (operations("ir", "targets.tfjs.graph") | fused) - {
        *(Input, Constant, ops.CropAndResize)
    }
    assert len(rows) == len(SAME) + len(DIFFERENT) + len(UNSUPPORTED)
    assert {Fused, Prelu, Scan} <= set(rows)


@cache
def known_to_tfjs() -> frozenset[str]:
    """The operations in the lists of TF.js's own converter."""
    lists = node_js.packages() / "node_modules/@tensorflow/tfjs-converter/dist/operations/op_list"
    return frozenset(
        name
        for path in lists.glob("*.js")
        for name in re.findall(r"'tfOpName': '(\w+)'", path.read_text())
    )


FROM = ("tea", "käse", "", "\N{TEACUP WITHOUT HANDLE}")


def tables(shape: tuple[int | None, ...]) -> Graph:
    """Strings to places and back, by tables of their own."""
    words = Input("words", TensorType("string", shape))
    places = ops.Lookup(words, FROM, (3, 1, 0, 7), -1)
    return Graph((words,), (places, ops.Lookup(places, (0, 1, 7), ("", "käse", "tea"), "[UNK]")))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (None,), (None, 3), (None, None, 2)])
@pytest.mark.parametrize("backend", ["cpu", "wasm"])
def test_strings_are_looked_up(
    shape: tuple[int | None, ...], backend: Backend, tfjs: Tfjs, tmp_path: Path
) -> None:
    sizes = tuple(2 if size is None else size for size in shape)
    feeds = [
        np.random.default_rng(seed).choice([*FROM, "tea ", "Tea"], sizes).astype(object)
        for seed in (1, 2)
    ]
    graph = tables(shape)
    run = tfjs.run(
        write_graph(graph, tmp_path / "graph"), [[feed] for feed in feeds], backend=backend
    )
    for feed, results in zip(feeds, run.results, strict=True):
        for wanted, got in zip(graph.run(feed), results, strict=True):
            assert got.shape == sizes
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.exhaustive
@pytest.mark.needs("node")
def test_every_operation_is_run_and_tfjs_knows_every_emitted_one() -> None:
    kinds: set[Any] = set()
    names: set[str] = set()
    families = [together([check.graph() for check in checks_of(family)]) for family in FAMILIES]
    for graph in (loops(False), loops(True), tables((None, 3)), *families):
        emitter, _ = emitted(graph)
        kinds |= {type(node) for node in (*graph.nodes(), *emitter.graph.nodes())}
        nodes = emitter.nodes + [
            node for function in emitter.shared.functions for node in function["nodeDef"]
        ]
        names |= {node["op"] for node in nodes}
    assert {*SAME, *DIFFERENT} <= kinds
    assert names <= known_to_tfjs()
    assert not names & {
        "Einsum",
        "FFT",
        "RFFT",
        "IRFFT",
        "Complex",
        "MaxPool3D",
        "Conv3DBackpropInputV2",
    }
    assert len(known_to_tfjs()) > 200


# --------------------------------------------------------------------------------------- the limits

image = Input("image", TensorType("float32", (None, None, None, 3)))

BOTH = "TF.js supports strides or dilations in a convolution, but not both"

REFUSED: tuple[tuple[Tensor, str], ...] = (
    (ops.Conv(image, constant(floats(2, 3, 3, 2)), (1, 2), "valid", (2, 1)), BOTH),
    (ops.DepthwiseConv(image, constant(floats(2, 3, 3, 2)), (2, 2), "same", (2, 1)), BOTH),
)


@pytest.mark.parametrize(("tensor", "reason"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_operations_that_tfjs_computes_differently_are_refused(tensor: Tensor, reason: str) -> None:
    inputs = tuple(node for node in Graph((), (tensor,)).nodes() if isinstance(node, Input))
    emitter = emitter_of(optimized(Graph(inputs, (tensor,), {tensor: "model/odd"})))
    emitter.run(["y"])
    assert [(problem.layer, problem.reason) for problem in emitter.problems] == [("odd", reason)]


def test_a_table_inside_a_loop_is_refused() -> None:
    """TF.js does not find tables from within a function, and throws."""

    def step(states: Any, steps: Any, _: Any) -> Any:
        words = ops.Lookup(steps[0], (3, 5, 8), ("tea", "milk", "käse"), "[UNK]")
        return (states[0] + ops.Lookup(words, ("milk", "käse"), (50, 80), -1),), ()

    x = Input("x", TensorType("int32", (None, None, 4)))
    start = Input("start", TensorType("int32", (None, 4)))
    (last,), _ = ops.scan(step, (start,), (x,))
    emitter = emitter_of(optimized(Graph((x, start), (last,), {last: "model/words"})))
    emitter.run(["y"])
    assert {(problem.layer, problem.reason) for problem in emitter.problems} == {
        ("words", "TF.js does not support lookup tables inside a loop")
    }


DELICATE = (ops.Pad, ops.StridedSlice, ops.Reverse, ops.Select, ops.Cumsum, ops.Cumprod)


@pytest.mark.parametrize("unknown", [(), (0,), range(6)], ids=["known", "batch", "open"])
@pytest.mark.parametrize("rank", [5, 6])
def test_delicate_operations_have_at_most_four_axes(rank: int, unknown: Sequence[int]) -> None:
    x = given("x", floats(*SHAPE[:rank]), unknown)
    row = Input("row", TensorType("float32", (SHAPE[rank - 1],)))
    pads = [(1, 0)] * rank
    outputs = (
        ops.pad(x, pads), ops.pad(x, [(0, 0), (1, 1)] + [(0, 0)] * (rank - 2), "reflect"),
        ops.Reverse(x, (0, rank - 1)), ops.strided(x, [(None, None, -1)] * rank),
        ops.Cumsum(x, 1), ops.Cumprod(x, rank - 1, True, True),
        ops.where(ops.greater(x, 0.0), x, row), ops.where(ops.greater(row, 0.0), x, 1.0),
    )  # fmt: skip
    graph = optimized(Graph((x, row), outputs))
    found = [node for node in graph.nodes() if isinstance(node, DELICATE)]
    assert {type(node) for node in found} == set(DELICATE)
    assert max(node.rank for node in found) <= 4
    arrays = floats(*SHAPE[:rank]), floats(SHAPE[rank - 1])
    for before, after in zip(
        Graph((x, row), outputs).run(*arrays), graph.run(*arrays), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_legalized_graphs_have_no_operation_that_wasm_computes_incorrectly() -> None:
    truth, x, whole = (
        Input(f"given_{kind}", TensorType(kind, (3, 2))) for kind in ("bool", "float32", "int32")
    )
    outputs = (
        ops.Select(truth, truth, truth),
        ops.Reverse(truth, (0,)),
        ops.Cast(x, "bool"),
        ops.Cast(whole, "bool"),
        *(ops.OneHot(whole, depth, kind) for depth in (1, 2) for kind in ("bool", "float32")),
        ops.StridedSlice(truth, ((None, None, 2),) * 2),
    )
    graph = optimized(Graph((truth, x, whole), outputs))
    nodes = list(graph.nodes())
    assert not [node for node in nodes if isinstance(node, ops.Select)]
    assert not [
        node
        for node in nodes
        if isinstance(node, ops.Reverse | ops.StridedSlice) and node.dtype == "bool"
    ]
    assert {node.dtype for node in nodes if isinstance(node, ops.OneHot)} == {"int32"}
    emitter = emitter_of(graph)
    emitter.run([f"y{number}" for number in range(len(outputs))])
    assert not emitter.problems
    assert not [
        node
        for node in emitter.nodes
        if node["op"] == "Cast" and node["attr"]["DstT"]["type"] == "DT_BOOL"
    ]


# ----------------------------------------------------------------------------------------- the ends


def test_outputs_may_be_inputs_constants_or_repeated_tensors(runner: Runner) -> None:
    array = floats(2, 3)
    x = given("x", array, (0,))
    y = x + 1.0
    graph = Graph((x,), (x, y, x, constant(floats(20)), constant(3), y, constant(3)))
    for got in runner.run(graph, [array]).values():
        for wanted, result in zip(graph.run(array), got, strict=True):
            np.testing.assert_array_equal(wanted, result)


ODD = (
    "0",
    "1",
    "10",
    "a b",
    "a_b",
    "constructor",
    "toString",
    "__proto__",
    "hasOwnProperty",
    "é",
    "x:0",
    "^x",
    "const",
    "length",
    "A.b/c-d",
    "",
)


def test_odd_names_keep_their_order(tfjs: Tfjs, tmp_path: Path) -> None:
    array = floats(2)
    inputs = tuple(given(name, array) for name in ODD)
    graph = Graph(inputs, tuple(x + float(at) for at, x in enumerate(inputs)))
    feed = [array * at for at in range(len(ODD))]
    for at, names in enumerate((ODD, tuple(reversed(ODD)), ("y",) * len(ODD))):
        model = write_graph(graph, tmp_path / f"{at}", names)
        run = tfjs.run(model, [feed], backend="cpu")
        for wanted, result in zip(graph.run(*feed), run.results[0], strict=True):
            np.testing.assert_array_equal(wanted, result)
        ends = [end.name for end in (*run.inputs, *run.outputs)]
        assert len(set(ends)) == 2 * len(ODD)
    assert [end.name for end in run.inputs][:6] == [
        "n0",
        "n1",
        "n10",
        "a_b",
        "a_b_1",
        "nconstructor",
    ]
    assert [end.name for end in run.outputs][:3] == ["y", "y_1", "y_2"]


@pytest.mark.parametrize("name", ODD)
def test_node_names_are_valid_in_tensorflow(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z.][A-Za-z0-9_./-]*", node_name(name))


def test_the_signature_has_names_types_and_shapes(tmp_path: Path) -> None:
    x, n = Input("x", TensorType("float32", (None, 3))), Input("n", TensorType("int32", ()))
    flags = ops.greater(x, ops.floats(n))
    model = write_graph(Graph((x, n), (flags, x)), tmp_path / "model", ["flags", "x"])
    document = json.loads((model / "model.json").read_text())
    sizes = {"dim": [{"size": "-1"}, {"size": "3"}]}
    assert document["signature"] == {
        "inputs": {
            "x": {"name": "x:0", "dtype": "DT_FLOAT", "tensorShape": sizes},
            "n": {"name": "n:0", "dtype": "DT_INT32", "tensorShape": {"dim": []}},
        },
        "outputs": {
            "flags": {"name": "flags:0", "dtype": "DT_BOOL", "tensorShape": sizes},
            "x_1": {"name": "x_1:0", "dtype": "DT_FLOAT", "tensorShape": sizes},
        },
    }
    nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
    assert len(nodes) == len(document["modelTopology"]["node"])
    assert {nodes[name]["op"] for name in ("flags", "x_1")} == {"Identity"}
    assert document["modelTopology"]["versions"]


def test_a_model_without_weights_has_a_manifest(tfjs: Tfjs, tmp_path: Path) -> None:
    x = given("x", floats(2))
    model = write_graph(Graph((x,), (ops.Abs(x),)), tmp_path / "model")
    assert json.loads((model / "model.json").read_text())["weightsManifest"] == [
        {"paths": [], "weights": []}
    ]
    assert (
        tfjs.run(model, [[floats(2)]], backend="cpu").results[0][0].tolist()
        == np.abs(floats(2)).tolist()
    )


def test_nodes_have_the_names_of_keras_layers() -> None:
    x = given("x", floats(2, 3))
    y = ops.Tanh(x)
    emitter, _ = emitted(Graph((x,), (y, ops.Tanh(y)), {y: "model/dense 1"}))
    assert [node["name"] for node in emitter.nodes if node["op"] == "Tanh"] == [
        "model/dense_1/Tanh",
        "model/dense_1/Tanh_1",
    ]


def test_the_same_small_constants_are_written_once() -> None:
    x = given("x", floats(2, 3))
    emitter, _ = emitted(Graph((x,), (ops.Sum(x, (1,)), ops.Max(x, (1,)), ops.Min(x, (1,)))))
    assert len(emitter.weights) == 1


# ---------------------------------------------------------------------------------------- the loops

WEIGHT, RECURRENT = floats(4, 3), floats(3, 3)


def loops(reverse: bool, time: Size | None = None) -> Graph:
    """A recurrent layer, a counter with results of all element types, and a nested loop."""
    x, h = (
        Input("x", TensorType("float32", (None, time, 4))),  # type: ignore[arg-type]
        Input("h", TensorType("float32", (None, 3))),
    )
    outside = Input("outside", TensorType("float32", (3,)))

    def recurrent(states: Any, steps: Any, _: Any) -> Any:
        new = ops.Tanh(ops.matmul(steps[0], WEIGHT) + ops.matmul(states[0], RECURRENT))
        return (new,), (new,)

    def counter(states: Any, steps: Any, captured: Any) -> Any:
        count, total, last = states
        positive = ops.greater(ops.slice_axis(steps[0], 1, 0, 3), 0.0)
        chosen = ops.Select(positive, positive, last)
        return (count + 1, ops.where(positive, total + captured[0], total), chosen), (
            count,
            positive,
            total,
        )

    def around(states: Any, steps: Any, _: Any) -> Any:
        spread = ops.reshape(steps[0], (-1, 2, 2))
        (last,), (every,) = ops.scan(
            lambda s, z, _: ((s[0] + z[0],), (s[0] * z[0],)), (states[0],), (spread,)
        )
        return (last,), (ops.sum_(every, 1),)

    first = ops.scan(recurrent, (h,), (x,), reverse=reverse)
    zero = ops.cast(h * 0.0, "int32")
    second = ops.scan(counter, (zero, h, ops.greater(h, 0.0)), (x,), (outside,), reverse=reverse)
    third = ops.scan(around, (ops.slice_axis(h, 1, 0, 2),), (x,), reverse=reverse)
    return Graph(
        (x, h, outside),
        tuple(item for pair in (first, second, third) for side in pair for item in side),
    )


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("time", [None, 5, 1], ids=["unknown", "5", "1"])
def test_loops_over_time_run_in_tfjs(runner: Runner, time: int | None, reverse: bool) -> None:
    graph, arrays = loops(reverse, time), (floats(2, time or 5, 4), floats(2, 3), floats(3))
    check = Check("loop", lambda: (), arrays)
    for backend, got in runner.run(graph, arrays).items():
        check.compare(tuple(map(np.asarray, graph.run(*arrays))), got, backend)
    emitter, _ = emitted(graph)
    assert emitter.shared.waits
    functions = [function["signature"]["name"] for function in emitter.shared.functions]
    names = [node["name"] for function in emitter.shared.functions for node in function["nodeDef"]]
    names += [
        argument["name"]
        for function in emitter.shared.functions
        for argument in function["signature"]["inputArg"]
    ]
    names += [node["name"] for node in emitter.nodes] + functions
    assert len(set(names)) == len(names)


def test_generated_node_names_do_not_collide() -> None:
    emitter = emitter_of(Graph((), ()))
    assert [emitter.shared.unique(name) for name in ("x", "x_1", "x", "x")] == [
        "x",
        "x_1",
        "x_2",
        "x_3",
    ]
