"""The table of TensorFlow ops: recorded graphs, and what TensorFlow computed with them.

`tools/record_ops.py` records them. A case has the name of its op, and possibly of a variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests import onnx_runtime

import kerasport
from kerasport.budget import limited
from kerasport.errors import ReadError, UnsupportedModel
from kerasport.frontends.graphdef import read_graph
from kerasport.frontends.graphdef.freeze import ordered
from kerasport.frontends.graphdef.frozen import FrozenGraph, GraphNode, NamedResult, Result, Table
from kerasport.frontends.graphdef.lower import lower
from kerasport.frontends.graphdef.ops import ROWS
from kerasport.frontends.graphdef.ops.refused import REFUSED
from kerasport.frontends.graphdef.program import program_of
from kerasport.ir import ops
from kerasport.ir.program import Program
from kerasport.source import opened

if TYPE_CHECKING:
    from kerasport.verification.runtimes.tfjs import Tfjs

RECORDED = Path(__file__).parent / "recorded"
STORED = np.load(RECORDED / "ops.npz")

BITS = "no operation on the bits of integers"
COMBINES = "adds or replaces scattered updates"
NOT_IN_TFJS = {
    "BitwiseAnd": BITS, "BitwiseOr": BITS, "BitwiseXor": BITS, "LeftShift": BITS,
    "RightShift": BITS, "Invert": BITS, "TensorScatterMax": COMBINES,
    "TensorScatterMin": COMBINES, "UnsortedSegmentProd": COMBINES,
    "UnsortedSegmentMax": COMBINES, "UnsortedSegmentMin": COMBINES,
}  # fmt: skip
"""Case → why TF.js cannot run it."""


@cache
def cases() -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Name of a case → names of its inputs and outputs."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for key in STORED.files:
        for index, kind in enumerate(("/input/", "/output/")):
            name, _, port = key.partition(kind)
            if port:
                found.setdefault(name, ([], []))[index].append(port)
    return {name: (tuple(inputs), tuple(outputs)) for name, (inputs, outputs) in found.items()}


@dataclass(frozen=True)
class Recorded:
    """A case: a frozen graph in a file, its inputs, and the outputs of TensorFlow."""

    path: Path
    outputs: tuple[str, ...]
    feeds: list[Any]
    expected: list[Any]


def recorded(name: str, folder: Path) -> Recorded:
    """A case, with its graph in a file."""
    path = folder / "graph.pb"
    path.write_bytes(STORED[f"{name}/graph"].tobytes())
    inputs, outputs = cases()[name]
    with opened(path, outputs=outputs) as program:
        assert isinstance(program, Program)
        assert sorted(port.name for port in program.inputs) == sorted(inputs)
        feeds = [STORED[f"{name}/input/{port.name}"] for port in program.inputs]
        expected = [STORED[f"{name}/output/{output}"] for output in outputs]
        assert not program.problems
        assert program.graph is not None
        with np.errstate(all="ignore"):
            computed = program.graph.run(*feeds)
        assert [node.dtype for node in program.graph.outputs] == [x.dtype.name for x in expected]
        compare(expected, computed, "numpy")
    return Recorded(path, outputs, feeds, expected)


def compare(expected: list[Any], computed: Any, where: str) -> None:
    """Assert that outputs are those of TensorFlow."""
    for wanted, got in zip(expected, computed, strict=True):
        assert got.shape == wanted.shape, where
        # TF.js computes in float32 instead of float16
        rtol = 1e-3 if wanted.dtype == np.float16 else 1e-4
        np.testing.assert_allclose(
            got.astype("float64"), wanted.astype("float64"), rtol, 1e-5, err_msg=where
        )


@pytest.mark.parametrize("name", cases())
def test_an_op_computes_what_tensorflow_does(name: str, tmp_path: Path, tfjs: Tfjs) -> None:
    case = recorded(name, tmp_path)
    out = tmp_path / "web_model"
    if name in NOT_IN_TFJS:
        with pytest.raises(UnsupportedModel, match=NOT_IN_TFJS[name]):
            kerasport.convert(case.path, out, outputs=case.outputs)
        return
    kerasport.convert(case.path, out, outputs=case.outputs)
    compare(case.expected, tfjs.run(out, [case.feeds], backend="cpu").results[0], "TF.js")


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("name", cases())
def test_an_op_computes_what_tensorflow_does_in_onnx(name: str, tmp_path: Path) -> None:
    case = recorded(name, tmp_path)
    kerasport.convert(case.path, tmp_path / "model.onnx", outputs=case.outputs)
    computed = onnx_runtime.run(tmp_path / "model.onnx", [case.feeds])[0]
    compare(case.expected, computed, "ONNX Runtime")


# --------------------------------------------------------------- ops that only TF.js models contain


def constant(name: str, value: Any) -> Result:
    """A constant node."""
    array = np.asarray(value)
    return Result(GraphNode(name, "Const", (), {"dtype": array.dtype.name, "value": array}))


def random(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


X = Result(GraphNode("x", "Placeholder", (), {}))
IMAGES = random(2, 5, 6, 3)
WINDOW: dict[str, Any] = {
    "strides": (1, 1, 1, 1), "padding": b"SAME", "dilations": (1, 1, 1, 1), "data_format": b"NHWC",
}  # fmt: skip


def graph_of(result: Result, shape: tuple[int | None, ...]) -> FrozenGraph:
    """A graph with one input and one output."""
    given = NamedResult("x", X, "float32", shape)
    return FrozenGraph("built", "", (given,), (NamedResult("y", result),))


def node(op: str, *inputs: Result, **attributes: Any) -> Result:
    """The first result of a node."""
    return Result(GraphNode(op, op, inputs, attributes))


def biased(op: str, kernel: Result, bias: Result, **attributes: Any) -> Result:
    """The op, then a bias and an activation, as nodes of their own."""
    return node("LeakyRelu", node("BiasAdd", node(op, X, kernel, **attributes), bias), alpha=0.1)


FUSED = {"fused_ops": (b"BiasAdd", b"LeakyRelu"), "leakyrelu_alpha": 0.1, "num_args": 1}
KERNEL, DEPTHWISE = constant("kernel", random(3, 2, 3, 4)), constant("kernel", random(3, 2, 3, 2))
MATRIX, BIAS = constant("matrix", random(3, 4)), constant("bias", random(4))
BIAS_6 = constant("bias", random(6))
SLOPE = constant("slope", random(3))

FIRST, LAST = constant("first", [0, 3, 1, 2]), constant("last", [0, 2, 3, 1])
PLANES = node("Transpose", X, FIRST)
NCHW = {
    "strides": (1, 1, 2, 1), "padding": b"EXPLICIT", "dilations": (1, 1, 1, 1),
    "explicit_paddings": (0, 0, 0, 0, 1, 0, 2, 1), "data_format": b"NCHW",
}  # fmt: skip
NHWC = {
    "strides": (1, 2, 1, 1), "padding": b"EXPLICIT", "dilations": (1, 1, 1, 1),
    "explicit_paddings": (0, 0, 1, 0, 2, 1, 0, 0), "data_format": b"NHWC",
}  # fmt: skip
MOMENTS = [constant("moment", np.abs(random(3)) + np.float32(i)) for i in range(4)]
NORM = {"epsilon": 0.01, "is_training": False}

SAME = {
    "Conv2D/NCHW": (
        node("Transpose", node("Conv2D", PLANES, KERNEL, **NCHW), LAST),
        node("Conv2D", X, KERNEL, **NHWC),
    ),
    "MaxPool/NCHW": (
        node("Transpose", node("MaxPool", PLANES, ksize=(1, 1, 3, 2), strides=(1, 1, 2, 1),
                               padding=b"SAME", data_format=b"NCHW"), LAST),
        node("MaxPool", X, ksize=(1, 3, 2, 1), strides=(1, 2, 1, 1), padding=b"SAME",
             data_format=b"NHWC"),
    ),
    "FusedBatchNormV3/NCHW": (
        node("Transpose", node("FusedBatchNormV3", PLANES, *MOMENTS, data_format=b"NCHW", **NORM),
             LAST),
        node("FusedBatchNormV3", X, *MOMENTS, data_format=b"NHWC", **NORM),
    ),
    "_FusedConv2D": (
        node("_FusedConv2D", X, KERNEL, BIAS, **WINDOW, **FUSED),
        biased("Conv2D", KERNEL, BIAS, **WINDOW),
    ),
    "FusedDepthwiseConv2dNative": (
        node("FusedDepthwiseConv2dNative", X, DEPTHWISE, BIAS_6, **WINDOW, **FUSED),
        biased("DepthwiseConv2dNative", DEPTHWISE, BIAS_6, **WINDOW),
    ),
    "DepthwiseConv2d": (
        node("DepthwiseConv2d", X, DEPTHWISE, **WINDOW),
        node("DepthwiseConv2dNative", X, DEPTHWISE, **WINDOW),
    ),
    "_FusedMatMul": (
        node("_FusedMatMul", node("Reshape", X, constant("to", [-1, 3])), MATRIX, BIAS, **FUSED),
        node("LeakyRelu", node("BiasAdd", node(
            "MatMul", node("Reshape", X, constant("to", [-1, 3])), MATRIX), BIAS), alpha=0.1),
    ),
    "Prelu": (
        node("Prelu", X, SLOPE),
        node("SelectV2", node("Greater", X, constant("0", np.float32(0))), X,
             node("Mul", X, SLOPE)),
    ),
    "Zeros": (
        node("Zeros", node("Shape", X), dtype="float32"), node("ZerosLike", X),
    ),
    "Ones": (
        node("Ones", node("Shape", X), dtype="float32"), node("OnesLike", X),
    ),
}  # fmt: skip
"""Op → a node of it, and nodes of other ops that compute the same."""


@pytest.mark.every_row
@pytest.mark.parametrize("op", SAME)
def test_an_op_of_tfjs_computes_what_other_ops_do(op: str) -> None:
    first, second = (lower(graph_of(each, (None, 5, 6, 3))).run(IMAGES)[0] for each in SAME[op])
    assert first.shape == second.shape
    np.testing.assert_allclose(first, second, 1e-5, 1e-6)


TABLES = {
    "integers": (np.array([3, 7, 9]), np.array([30, 70, 90]), np.int64(-1)),
    "floats": (np.array([3, 7, 9]), np.array([0.5, 1.5, 2.5], np.float32), np.float32(-1)),
}
"""Tables from int64, with their default values."""


@pytest.mark.every_row
@pytest.mark.parametrize("name", TABLES)
def test_a_table_from_numbers_is_looked_up(name: str) -> None:
    keys, values, default = TABLES[name]
    table = node("HashTableV2", key_dtype="int64", value_dtype=values.dtype.name)
    found = node("LookupTableFindV2", table, X, constant("default", default))
    graph = FrozenGraph(
        "built",
        "",
        (NamedResult("x", X, "int64", (None,)),),
        (NamedResult("y", found), NamedResult("n", node("LookupTableSizeV2", table))),
        tables={"HashTableV2": Table(keys, values)},
    )
    y, n = lower(graph).run(np.array([7, 4, 3, 9]))
    assert y.tolist() == [values[1], default, values[0], values[2]]
    assert n == 3


# ---------------------------------------------------------------------------------------- the table


def test_every_row_has_a_case() -> None:
    """A row that several ops share needs a case for one of them."""
    found = {*SAME, "LookupTableSizeV2"}
    for path in sorted((RECORDED / "graphs").iterdir()):
        if path.is_dir() and path.name not in ("counter", "meta_graphs"):
            found |= ops_of(read_graph(path))
    for name in cases():
        found.add(name.partition("/")[0])
    covered = {ROWS[op] for op in found if op in ROWS}
    assert [op for op, row in ROWS.items() if row not in covered] == []


def ops_of(graph: FrozenGraph) -> set[str]:
    """The ops of a graph, also in the functions of its control flow."""
    results = [output.result for output in graph.outputs]
    results += [result for function in graph.functions.values() for result in function.results]
    return {node.op for node in ordered(results)}


@pytest.mark.parametrize("name", cases())
def test_a_case_contains_its_op(name: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(STORED[f"{name}/graph"].tobytes())
    op = name.partition("/")[0]
    # functions of several ops have names in lower case
    if op in ROWS:
        assert op in ops_of(read_graph(path, outputs=cases()[name][1]))


def test_no_op_is_supported_and_refused() -> None:
    assert not {*ROWS} & {*REFUSED}


# ----------------------------------------------------------------------------------------- problems


def test_an_attribute_that_no_row_reads_is_refused() -> None:
    unknown = node("Relu", X, T="float32", mystery=3)
    (problem,) = program_of(graph_of(unknown, (None, 3))).problems
    assert (problem.class_name, problem.option, problem.value) == ("Relu", "mystery", 3)


def test_all_problems_are_reported_together() -> None:
    random_ = node("RandomUniform", constant("shape", [3]), dtype="float32")
    unknown = node("Mystery", node("Unique", X), random_)
    problems = program_of(graph_of(unknown, (None, 3))).problems
    assert {problem.class_name for problem in problems} == {"RandomUniform", "Unique", "Mystery"}
    assert all(problem.remedy for problem in problems)


def test_a_computed_operand_that_must_be_a_constant_is_refused() -> None:
    order = node("Cast", node("Sum", X, constant("axes", [0])), SrcT="float32", DstT="int32",
                 Truncate=False)  # fmt: skip
    (problem,) = program_of(graph_of(node("Transpose", X, order), (2, 2))).problems
    assert "must be a constant" in problem.reason


def test_an_input_of_unknown_rank_is_refused() -> None:
    given = NamedResult("x", X)
    graph = FrozenGraph("built", "", (given,), (NamedResult("y", node("Relu", X)),))
    (problem,) = program_of(graph).problems
    assert "number of axes" in problem.reason


def test_names_of_open_sizes_differ_between_inputs() -> None:
    """Two inputs may have different batch sizes, such as 1 and n, which TensorFlow broadcasts."""
    y = Result(GraphNode("y", "Placeholder", (), {}))
    inputs = (NamedResult("x", X, "float32", (None, 3)), NamedResult("y", y, "float32", (None, 3)))
    total = NamedResult("z", node("AddV2", X, y))
    graph = lower(FrozenGraph("built", "", inputs, (total,)))
    assert graph.outputs[0].extents == (None, 3)
    assert graph.run(random(1, 3), random(4, 3))[0].shape == (4, 3)


def test_names_of_open_sizes_differ_between_inputs_of_similar_names() -> None:
    y = Result(GraphNode("y", "Placeholder", (), {}))
    shape = (None, 3)
    inputs = NamedResult("a b", X, "float32", shape), NamedResult("a_b", y, "float32", shape)
    total = NamedResult("z", node("AddV2", X, y))
    assert lower(FrozenGraph("built", "", inputs, (total,))).outputs[0].extents == (None, 3)


def test_computation_in_float16_is_noted() -> None:
    half = node("Cast", X, SrcT="float32", DstT="float16", Truncate=False)
    assert any("float16" in note for note in program_of(graph_of(half, (None, 3))).notes)


def test_blocks_around_a_convolution_become_dilations(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(STORED["Conv2D/blocks/graph"].tobytes())
    graph = lower(read_graph(path, outputs=cases()["Conv2D/blocks"][1]))
    (found,) = (each for each in graph.nodes() if isinstance(each, ops.Conv))
    assert (found.dilations, found.padding) == ((2, 2), ((2, 2), (2, 2)))
    assert graph.outputs[0] is found


def test_sizes_of_one_name_are_read_once() -> None:
    """Each Dense of a transformer asks its own input for the batch and the time."""
    y = node("Reshape", X, node("ConcatV2", node("Shape", X), constant("more", [1]),
                                constant("axis", 0)))  # fmt: skip
    z = node("Reshape", node("Relu", y), node("Shape", node("Tanh", X)))
    graph = lower(graph_of(z, (None, None, 3)))
    sizes = [each for each in graph.nodes() if isinstance(each, ops.Dim)]
    assert len(sizes) == 2
    assert all(each.x is graph.inputs[0] for each in sizes)


MALFORMED = {
    "results": node("Unpack", X, num=10**9, axis=0),
    "parts": node("Split", constant("axis", 1), X, num_split=2**30),
    "depth": node("Conv2D", node("Reshape", X, constant("to", [1, 1, 1, 3])),
                  constant("kernel", np.zeros((1, 1, 0, 1), "float32")), **WINDOW),
    "branches": node("StatelessCase", constant("index", 0), branches=(3,)),
    "operands": node("MatMul", X, transpose_a=False, transpose_b=False),
    "type": node("Conv2D", X, KERNEL, strides=7, padding=b"SAME"),
}  # fmt: skip


@pytest.mark.every_row
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_node_is_not_read(name: str) -> None:
    with pytest.raises(ReadError):
        lower(graph_of(MALFORMED[name], (None, 3)))


def test_a_matrix_that_would_fill_the_memory_is_refused() -> None:
    large = node("LRN", X, depth_radius=1, bias=1.0, alpha=1.0, beta=1.0)
    with limited(2**28):
        (problem,) = program_of(graph_of(large, (None, 1, 1, 10**6))).problems
    assert "would need" in problem.reason
