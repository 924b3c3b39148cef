"""SavedModels, frozen graphs and TF.js graph-models as frozen graphs."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from tests.test_hostile_graphs import attr, message

import kerasport
import kerasport.source
from kerasport.api import _nbytes
from kerasport.errors import OptionError, ReadError, UnsupportedModel
from kerasport.frontends.graphdef import is_tensorflow_graph, read_graph
from kerasport.frontends.graphdef.bundle import slice_key
from kerasport.frontends.graphdef.freeze import ordered
from kerasport.frontends.graphdef.frozen import FrozenGraph, FunctionName, Result, UnknownRank
from kerasport.frontends.graphdef.messages import NodeDef
from kerasport.frontends.graphdef.snappy import decompressed
from kerasport.frontends.graphdef.tensors import varints
from kerasport.frontends.graphdef.wire import decode
from kerasport.weights import WeightRef

RECORDED = Path(__file__).parent / "recorded" / "graphs"

pytestmark = pytest.mark.every_row

# ------------------------------------------------------------------------------------- wire format


def test_a_message_is_decoded() -> None:
    node = decode(NodeDef, b"\x0a\x03abc\x12\x03Add\x1a\x01x\x1a\x02^y\x9a\x06\x01z")
    assert (node.name, node.op, node.input, node.attr) == ("abc", "Add", ["x", "^y"], {})


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x04abc",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b\x0c",
        b"\x08\x01",
        b"\x0a\x01\xff",
        b"\x0d\x00\x00",
    ],
)
def test_a_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(ReadError, match="not a valid protobuf message"):
        decode(NodeDef, data)


def test_numbers_of_7_bits_per_byte() -> None:
    assert varints(b"\x00\x7f\x80\x01\xac\x02" + b"\xff" * 9 + b"\x01").tolist() == [
        0,
        127,
        128,
        300,
        2**64 - 1,
    ]
    with pytest.raises(ReadError, match="truncated"):
        varints(b"\x01\x80")


# ------------------------------------------------------------------------------------- checkpoints


def test_a_block_of_snappy_is_decompressed() -> None:
    # 12 bytes: the literal "abc", then 9 bytes that begin 3 bytes before
    assert decompressed(b"\x0c\x08abc\x15\x03") == b"abc" * 4


@pytest.mark.parametrize(
    "data", [b"\x0c\x08abc", b"\x0c\x08abc\x15\x04", b"\x03\x08ab", b"\x01\xf4"]
)
def test_a_malformed_block_of_snappy_is_refused(data: bytes) -> None:
    with pytest.raises(ReadError):
        decompressed(data)


def test_keys_of_partitioned_variables() -> None:
    # as saved_tensor_slice_util.cc of TensorFlow encodes them
    assert slice_key("w", ((0, 5), (0, None))) == b"\x00w\x00\x01\x01\x02\x80\x85\x80\x7f"
    assert slice_key("w", ((100, 8192),)) == b"\x00w\x00\x01\x01\x01\xc0\x64\xe0\x20\x00"


# ---------------------------------------------------------------------------------- recorded graphs

# model → the ops of its graph, and of each function of its control flow
OPS = {
    "branches_v1.pb": [
        "Greater If Less Sum", "Mul", "AddV2", "Greater If", "", "", "Shape StridedSlice", "Mul",
        "Sub", "", "If",
    ],
    "control_flow_v1.pb": [
        "Greater If While", "Less", "Less", "AddV2 Mul StridedSlice", "MatMul Tanh", "Sub",
        "AddV2 Greater If Sum While", "Mul", "ZerosLike",
    ],
    "map_v1": [
        "Shape StridedSlice TensorListFromTensor TensorListReserve TensorListStack While",
        "Less LogicalAnd",
        "AddV2 ExpandDims MatMul Squeeze TensorListGetItem TensorListSetItem",
    ],
    "checks": ["Abs Sqrt"],
    "element_types": ["Cast LogicalNot Mul"],
    "frozen.pb": ["AddV2 GatherV2 Mul Split TopKV2"],
    "gru": [
        ("Fill Pack Shape StridedSlice TensorListFromTensor TensorListReserve TensorListStack "
        "Transpose While"),
        "Less LogicalAnd",
        ("AddV2 BiasAdd MatMul Mul Sigmoid Split Squeeze StridedSlice Sub Tanh TensorListGetItem "
        "TensorListSetItem"),
    ],
    "hub_v1": ["MatMul Relu"],
    "image_bytes": [
        ("Cast Conv2D GatherV2 NonMaxSuppressionV3 RealDiv Reshape ResizeBilinear Sigmoid "
        "StridedSlice")
    ],
    "keras_export": [
        ("AddV2 BiasAdd Conv2D DepthwiseConv2dNative MatMul Mean Mul Relu Reshape Rsqrt Softmax "
        "Squeeze Sub")
    ],
    "lookup": ["HashTableV2 LookupTableFindV2"],
    "loops": [
        "Case FloorMod While", "Less", "MatMul", "Sub", "AddV2 GatherV2 Greater If Sum Tanh", "",
        "Mul", "Neg",
    ],
    "signatures": ["AddV2 ArgMax Cast MatMul Mul Transpose"],
    "subclassed": ["BiasAdd ConcatV2 Cumsum MatMul Mul Tanh"],
    "table_v1": ["AddV2 Cast HashTableV2 LookupTableFindV2"],
    "tables": ["HashTableV2 LookupTableFindV2"],
    "tables_in_loops": [
        "Greater If StridedSlice While",
        "Less",
        "AddV2 HashTableV2 LookupTableFindV2",
        "Less",
        "AddV2 HashTableV2 LookupTableFindV2",
        "AddV2 FloorMod HashTableV2 LookupTableFindV2",
        "AddV2 FloorMod HashTableV2 LookupTableFindV2 Sub",
    ],
    "tf_keras_save": [("BiasAdd Conv2D DepthwiseConv2dNative FusedBatchNormV3 MatMul Mean Relu "
                      "Softmax")],
    "variables_v1": ["AddV2 ConcatV2 MatMul Mul Neg SelectV2"],
}  # fmt: skip


def ops(results: tuple[Result, ...]) -> str:
    found = {node.op for node in ordered(results)} - {"Const", "Placeholder", "_Arg"}
    return " ".join(sorted(found))


def recorded(name: str, kind: str) -> dict[str, Any]:
    with np.load(RECORDED / f"{name.removesuffix('.pb')}.npz") as arrays:
        return {
            key.removeprefix(kind): array for key, array in arrays.items() if key.startswith(kind)
        }


@pytest.mark.parametrize("name", OPS)
def test_a_recorded_graph_is_read(name: str) -> None:
    graph = read_graph(RECORDED / name)
    assert is_tensorflow_graph(RECORDED / name)
    assert [ops(tuple(output.result for output in graph.outputs))] + [
        ops(function.results) for function in graph.functions.values()
    ] == OPS[name]
    outputs = recorded(name, "output_")
    assert sorted(output.name for output in graph.outputs) == sorted(outputs)
    for port in (*graph.inputs, *graph.outputs) if graph.named_outputs else ():
        array = {**recorded(name, "input_"), **outputs}.get(port.name)
        # the npz has bytes, and float32 for bfloat16
        if array is not None and port.dtype not in ("string", "bfloat16"):
            assert port.dtype == array.dtype.name
        if array is not None and isinstance(port.shape, tuple):
            assert len(port.shape) == array.ndim
    for function in graph.functions.values():
        assert all(node.op == "_Arg" for node in function.arguments)
    nodes = ordered([output.result for output in graph.outputs])
    names = [value for node in nodes for value in node.attributes.values()]
    assert {name.name for name in names if isinstance(name, FunctionName)} <= set(graph.functions)


def test_a_tensor_array_of_tensorflow_1_is_a_list() -> None:
    graph = read_graph(RECORDED / "map_v1")
    (loop,) = [n for n in ordered([graph.outputs[0].result]) if n.op == "While"]
    types = loop.attributes["T"]
    body = graph.functions["map/while/while_context/While/body"]
    assert isinstance(types, tuple)
    assert [argument.attributes["T"] for argument in body.arguments] == list(types)
    # the handle and the flow of two arrays
    assert types.count("variant") == 4
    assert "resource" not in types


def constants(graph: FrozenGraph) -> dict[str, Any]:
    nodes = ordered([output.result for output in graph.outputs])
    return {node.name: node.attributes["value"] for node in nodes if node.op == "Const"}


def test_variables_are_found_by_the_restore_node() -> None:
    """Both variables have the same name, so that neither name nor shape tells which is which."""
    graph = read_graph(RECORDED / "signatures")
    found = constants(graph)
    inputs, outputs = recorded("signatures", "input_"), recorded("signatures", "output_")
    w, b = (found[name].read() for name in ("weights_1", "weights"))
    if w.ndim == 1:
        w, b = b, w
    y = (inputs["x"] @ w + b) @ w.T @ w + b
    np.testing.assert_allclose(y * inputs["times"], outputs["z_last"], rtol=1e-5)


def test_weights_stay_in_their_files() -> None:
    for name in ("keras_export", "variables_v1", "element_types"):
        weights = [
            weight
            for weight in constants(read_graph(RECORDED / name)).values()
            if isinstance(weight, WeightRef)
        ]
        assert len(weights) > 2
        assert all(weight.path.name.startswith("variables.data") for weight in weights)
    table = constants(read_graph(RECORDED / "frozen.pb"))["table"]
    assert isinstance(table, WeightRef)
    assert table.path == RECORDED / "frozen.pb"
    assert table.read()[299].shape == (6,)


def test_parts_of_a_variable_of_tensorflow_1() -> None:
    found = constants(read_graph(RECORDED / "variables_v1"))
    parts = np.concatenate([found[f"parts/part_{index}"].read() for index in range(3)])
    inputs, outputs = recorded("variables_v1", "input_"), recorded("variables_v1", "output_")
    y = inputs["x"] @ parts * found["reference"].read() + found["resource"].read()
    np.testing.assert_allclose(y, outputs["y"], rtol=1e-5)


def test_a_bool_that_nothing_feeds_has_its_default() -> None:
    graph = read_graph(RECORDED / "variables_v1")
    assert [port.name for port in graph.inputs] == ["x"]
    assert any("default value keep it: 'PlaceholderWithDefault'" in note for note in graph.notes)


def test_the_content_of_tables() -> None:
    words = [b"tea", "käse".encode(), b"wine", b"water", b"bread"]
    (table,) = read_graph(RECORDED / "table_v1").tables.values()
    assert table.keys.tolist() == words
    assert table.values.tolist() == [0, 7, 14, 21, 28]
    tables = read_graph(RECORDED / "tables").tables
    assert {tuple(table.keys.tolist()) for table in tables.values()} == {
        tuple(words), (0, 1, 2, 3, 4),
    }  # fmt: skip
    (lookup,) = read_graph(RECORDED / "lookup").tables.values()
    assert lookup.keys.tolist() == words
    assert lookup.values.tolist() == [1, 2, 3, 4, 5]


def test_a_function_reads_a_table_of_the_outer_graph() -> None:
    graph = read_graph(RECORDED / "tables_in_loops")
    assert {name: table.values[1] for name, table in graph.tables.items()} == {
        "hash_table_1": 2, "hash_table": 3,
    }  # fmt: skip
    found = [
        node.inputs[0].node.name
        for function in graph.functions.values()
        for node in ordered(function.results)
        if node.op == "LookupTableFindV2"
    ]
    assert found == ["hash_table_1", "hash_table", "hash_table_1", "hash_table"]


def test_ops_that_only_check_values_are_left_out_with_a_note() -> None:
    (note,) = read_graph(RECORDED / "checks").notes
    assert "1 Assert, 1 CheckNumerics, 1 PrintV2" in note


def test_a_variable_that_changes_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"AssignAddVariableOp.*changes a variable"):
        read_graph(RECORDED / "counter")


def test_default_attributes_are_restored() -> None:
    nodes = ordered([output.result for output in read_graph(RECORDED / "keras_export").outputs])
    (convolution,) = (node for node in nodes if node.op == "Conv2D")
    assert convolution.attributes["dilations"] == (1, 1, 1, 1)
    assert convolution.attributes["data_format"] == b"NHWC"
    assert convolution.attributes["strides"] == (1, 2, 2, 1)


def test_the_limit_of_the_output_counts_the_checkpoint(tmp_path: Path) -> None:
    """A SavedModel of many gigabytes may become a model of as many."""
    path = Path(copytree(RECORDED / "subclassed", tmp_path / "model"))
    with (path / "variables" / "variables.data-00000-of-00001").open("r+b") as file:
        file.truncate(10**9)
    assert _nbytes(path) > 10**9


# ------------------------------------------------------------------- signatures, tags and outputs


def test_a_signature_is_selected() -> None:
    graph = read_graph(RECORDED / "signatures", signature="scaled")
    assert [output.name for output in graph.outputs] == ["output_0", "output_1", "output_2"]
    assert [port.name for port in graph.inputs] == ["rows"]
    (note,) = graph.notes
    assert note.startswith(
        "the SavedModel has other signatures besides 'scaled': 'serving_default'"
    )
    with pytest.raises(
        OptionError, match=r"no signature 'x'.*--signature.*scaled, serving_default"
    ):
        read_graph(RECORDED / "signatures", signature="x")


def test_tags_select_a_meta_graph() -> None:
    graph = read_graph(RECORDED / "meta_graphs", tags=["cpu", "serve"])
    assert [output.name for output in graph.outputs] == ["y"]
    assert ops((graph.outputs[0].result,)) == "MatMul"
    with pytest.raises(OptionError, match=r"no graph with the tags serve.*train; cpu,serve"):
        read_graph(RECORDED / "meta_graphs")


def test_outputs_of_a_frozen_graph_are_selected() -> None:
    graph = read_graph(RECORDED / "frozen.pb", outputs=["thirds:1"])
    assert ops((graph.outputs[0].result,)) == "AddV2 GatherV2 Mul Split"
    assert graph.outputs[0].result.index == 1
    assert not graph.named_outputs
    assert [(port.name, port.dtype, port.shape) for port in graph.inputs] == [
        ("second", "float32", (None, 6)),
        ("first", "int64", (None,)),
    ]
    with pytest.raises(OptionError, match="no node 'none'"):
        read_graph(RECORDED / "frozen.pb", outputs=["none"])


@pytest.mark.parametrize(
    ("name", "option"),
    [("signatures", "outputs"), ("frozen.pb", "signature"), ("frozen.pb", "tags")],
)
def test_an_option_of_another_kind_of_file_is_refused(name: str, option: str) -> None:
    options: dict[str, Any] = {option: ["x"]}
    with pytest.raises(OptionError, match=option):
        read_graph(RECORDED / name, **options)


def test_a_graph_as_text_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("graph.pbtxt", "graph.pb"):
        (tmp_path / name).write_text('node {\n  name: "x"\n  op: "Placeholder"\n}\n')
        with pytest.raises(ReadError, match="graph as text"):
            read_graph(tmp_path / name)


@pytest.mark.parametrize(("version", "shape"), [(23, UnknownRank()), (24, ())])
def test_a_shape_without_sizes_in_an_old_graph(tmp_path: Path, version: int, shape: object) -> None:
    x = message(
        (1, "x"),
        (2, "Placeholder"),
        attr("dtype", message((6, 1))),
        attr("shape", message((7, b""))),
    )
    y = message((1, "y"), (2, "Relu"), (3, "x"))
    path = tmp_path / "graph.pb"
    path.write_bytes(message((1, x), (1, y), (4, message((1, version)))))
    (port,) = read_graph(path).inputs
    assert port.shape == shape


def test_a_saved_model_as_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pbtxt").write_text("saved_model_schema_version: 1")
    assert is_tensorflow_graph(tmp_path)
    with pytest.raises(ReadError, match=r"saved_model.pbtxt is a SavedModel as text"):
        read_graph(tmp_path)


def test_a_saved_model_without_its_checkpoint(tmp_path: Path) -> None:
    copytree(RECORDED / "subclassed", tmp_path / "model")
    (tmp_path / "model" / "variables" / "variables.data-00000-of-00001").unlink()
    with pytest.raises(ReadError, match=r"variable '.*variables.data-00000-of-00001.* is missing"):
        read_graph(tmp_path / "model")
    (tmp_path / "model" / "variables" / "variables.index").unlink()
    with pytest.raises(ReadError, match="has no checkpoint"):
        read_graph(tmp_path / "model" / "saved_model.pb")


# ------------------------------------------------------------------------------ TF.js graph-models


def written(folder: Path, document: dict[str, Any], weights: dict[str, Any]) -> Path:
    """Write a graph-model with its weights in two shards."""
    entries, data = [], b""
    for name, value in weights.items():
        array = np.asarray(value)
        dtype = array.dtype.name
        if array.dtype.kind == "S":
            dtype = "string"
            data += b"".join(
                len(text).to_bytes(4, "little") + text for text in array.ravel().tolist()
            )
        else:
            data += array.tobytes()
        entries.append({"name": name, "shape": list(array.shape), "dtype": dtype})
    (folder / "a.bin").write_bytes(data[:5])
    (folder / "b.bin").write_bytes(data[5:])
    manifest = [{"paths": ["a.bin", "b.bin"], "weights": entries}]
    path = folder / "model.json"
    path.write_text(json.dumps({"format": "graph-model", **document, "weightsManifest": manifest}))
    return path


def node(name: str, op: str, *inputs: str, **attr: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "input": inputs, "attr": attr}


INT64 = {"type": "DT_INT64"}


def with_table() -> tuple[dict[str, Any], dict[str, Any]]:
    """A model that looks words up in a table, as the official converter writes it."""
    table = {"key_dtype": {"type": "DT_STRING"}, "value_dtype": INT64}
    inputs = {
        "words": {
            "name": "words:0",
            "dtype": "DT_STRING",
            "tensorShape": {"dim": [{"size": "-1"}]},
        },
        "unknown": {"name": "unknown:0", "dtype": "DT_RESOURCE", "resourceId": 7},
    }
    document = {
        "modelTopology": {
            "node": [
                node("words", "Placeholder", dtype={"type": "DT_STRING"}),
                node("unknown", "Placeholder", dtype={"type": "DT_RESOURCE"}),
                node("default", "Const", dtype=INT64),
                node("found", "LookupTableFindV2", "unknown", "words", "default", Tout=INT64),
            ]
        },
        "signature": {
            "inputs": inputs,
            "outputs": {"id": {"name": "found:0", "dtype": "DT_INT64"}},
        },
        "modelInitializer": {
            "node": [
                node("keys", "Const"),
                node("values", "Const", dtype=INT64),
                node("table", "HashTableV2", **table),
                node("import", "LookupTableImportV2", "table", "keys", "values"),
            ]
        },
        "initializerSignature": {"outputs": {"table": {"name": "table:0", "resourceId": 7}}},
    }
    weights = {
        "default": np.int32(-1),
        "keys": np.array([b"tea", "käse".encode()]),
        "values": np.array([3, 5], np.int32),
    }
    return document, weights


def test_a_table_of_a_graph_model(tmp_path: Path) -> None:
    graph = read_graph(written(tmp_path, *with_table()))
    assert [(port.name, port.dtype) for port in graph.inputs] == [("words", "string")]
    assert graph.outputs[0].dtype == "int32"
    (table,) = graph.tables.values()
    assert table.keys.tolist() == [b"tea", "käse".encode()]
    assert table.values.tolist() == [3, 5]
    lookup = graph.outputs[0].result.node
    assert lookup.inputs[0].node.name in graph.tables
    # TF.js has no int64
    assert lookup.attributes["Tout"] == "int32"


def test_a_loop_of_a_graph_model(tmp_path: Path) -> None:
    def function(name: str, nodes: list[Any], result: str) -> dict[str, Any]:
        signature = {
            "name": name,
            "inputArg": [{"name": "i", "type": "DT_INT32"}],
            "outputArg": [{"name": "o"}],
        }
        return {"signature": signature, "nodeDef": nodes, "ret": {"o": result}}

    functions = [
        function(
            "body", [node("two", "Const"), node("add", "AddV2", "i", "two:output:0")], "add:z:0"
        ),
        function(
            "cond", [node("ten", "Const"), node("less", "Less", "i", "ten:output:0")], "less:z:0"
        ),
    ]
    names = {key: {"func": {"name": key}} for key in ("body", "cond")}
    loop = node("loop", "StatelessWhile", "x", T={"list": {"type": ["DT_INT32"]}}, **names)
    x = node("x", "Placeholder", dtype={"type": "DT_INT32"}, shape={"shape": {}})
    topology = {"node": [x, loop], "library": {"function": functions}}
    path = written(tmp_path, {"modelTopology": topology}, {"two": np.int32(2), "ten": np.int32(10)})
    graph = read_graph(path.parent)
    assert not graph.named_outputs
    assert [(port.name, port.shape) for port in graph.inputs] == [("x", ())]
    assert {name: ops(f.results) for name, f in graph.functions.items()} == {
        "body": "AddV2", "cond": "Less",
    }  # fmt: skip


@pytest.mark.parametrize("quantize", ["", "uint8"])
def test_a_graph_model_of_kerasport(tmp_path: Path, quantize: str) -> None:
    source = RECORDED.parent / "keras-3.15.1" / "functional.keras"
    kerasport.convert(source, tmp_path / "web", to="tfjs-graph", quantize=quantize or ())
    graph = read_graph(tmp_path / "web")
    assert is_tensorflow_graph(tmp_path / "web" / "model.json")
    assert len(graph.inputs) == len(graph.outputs) == 2
    values = [value.read() for value in constants(graph).values() if hasattr(value, "read")]
    assert {array.dtype.name for array in values} <= {"float32", "int32"}
    with kerasport.source.opened(source) as model:
        kernels = [
            w.read() for p in kerasport.source.parts(model) for w in p.weights if len(w.shape) == 2
        ]
    for kernel in kernels:
        nearest = [abs(v - kernel).max() for v in values if v.shape == kernel.shape]
        assert min(nearest) <= (np.ptp(kernel) / 250 if quantize else 0)


def test_a_graph_model_without_a_weight(tmp_path: Path) -> None:
    document, weights = with_table()
    del weights["default"]
    with pytest.raises(ReadError, match=r"node 'default': weightsManifest has no values"):
        read_graph(written(tmp_path, document, weights))


@pytest.mark.parametrize("damage", ["cut", "longer", "strings"])
def test_shards_that_do_not_match(tmp_path: Path, damage: str) -> None:
    path = written(tmp_path, *with_table())
    shard = path.with_name("b.bin")
    data = shard.read_bytes()
    changed = {
        "cut": data[:-1],
        "longer": data + b"x",
        "strings": data.replace(b"\5\0\0\0k", b"\5\7\0\0k"),
    }
    shard.write_bytes(changed[damage])
    with pytest.raises(ReadError, match=r"model\.json"):
        read_graph(path)
