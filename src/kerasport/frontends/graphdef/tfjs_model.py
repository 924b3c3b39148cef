"""Reads TF.js graph-models: a model.json with a `GraphDef` as JSON, and weights in shards.

TF.js computes in float32, int32 and bool, whatever element types the nodes of the graph state. So
the types are read as those in which TF.js computes.

Formats: tfjs-converter/src/data/compiled_api.ts and tfjs-core/src/io/types.ts.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.errors import ReadError, quoted
from kerasport.frontends.graphdef.assemble import Origin, Tensor, assemble, inputs_of, outputs_of
from kerasport.frontends.graphdef.body import Body, Library, StoredNode, by_name
from kerasport.frontends.graphdef.flatten import Flattener, node_of
from kerasport.frontends.graphdef.frozen import (
    Attribute,
    ElementType,
    FrozenGraph,
    FunctionName,
    GraphNode,
    Result,
    Scalar,
    UnknownRank,
)
from kerasport.frontends.graphdef.op_defs import ONE_RESULT, OpDefs
from kerasport.frontends.graphdef.places import located
from kerasport.frontends.graphdef.stored_values import StoredValues
from kerasport.frontends.graphdef.tensors import MAX_RANK, TYPES, storage
from kerasport.frontends.keras.read.archive import read_text
from kerasport.frontends.keras.read.json_limits import parse_json
from kerasport.frontends.keras.read.layers_model import manifest_of
from kerasport.frontends.keras.read.manifest import GRAPH_DTYPES
from kerasport.frontends.paths import inside
from kerasport.ir.dtypes import dtype_of
from kerasport.weights import LARGEST_SIZE, Array, Shape, Weight

NAME = "model.json"

# TensorFlow's name in JSON → number of the type
NUMBERS: Mapping[str, int] = {
    **{f"DT_{found.name.upper()}": number for number, found in TYPES.items()},
    "DT_FLOAT": 1,
    "DT_DOUBLE": 2,
    "DT_HALF": 19,
}
COMPUTED: Mapping[ElementType, ElementType] = {
    **dict.fromkeys(("float64", "float16", "bfloat16"), "float32"),
    **dict.fromkeys(("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"), "int32"),
}
"""Element type of the graph → the one in which TF.js computes."""


def read_tfjs_graph(path: Path, outputs: Sequence[str] | None = None) -> FrozenGraph:
    """Read a TF.js graph-model.

    Args:
        path: its directory, or its model.json.
        outputs: names of nodes, by default the outputs of the signature, or else the nodes that no
            other node reads.

    Raises:
        ReadError: it is malformed, or a shard is missing.
        OptionError: the graph has no such outputs.
    """
    path = inside(path, path / NAME) if path.is_dir() else path
    document = parse_json(read_text(path), NAME)
    topology = document.get("modelTopology") if isinstance(document, dict) else None
    if not isinstance(topology, dict) or not isinstance(topology.get("node"), list):
        raise ReadError("modelTopology does not contain the nodes of a graph")
    manifest = manifest_of(path, document, GRAPH_DTYPES)
    reader = _Reader({entry.name: entry.weight for entry in manifest.entries})
    name = path.parent.resolve().name if path.name == NAME else path.stem
    writer = document.get("convertedBy") or document.get("generatedBy") or ""
    return _read(reader, Origin(name, str(writer)), document, outputs)


def _read(
    reader: _Reader, origin: Origin, document: Mapping[str, Any], outputs: Sequence[str] | None
) -> FrozenGraph:
    library = reader.library(document["modelTopology"])
    signature = _signature(document)
    named = outputs is None and bool(signature.get("outputs"))
    if named:
        inputs = tuple(_tensors(signature.get("inputs") or {}))
        wanted = tuple(_tensors(signature["outputs"]))
    else:
        wanted = outputs_of(library, outputs)
        inputs = inputs_of(library.graph, wanted)
    tables = _Tables(reader, document)
    replaced = {name: Result(table) for name, table in tables.of(signature.get("inputs") or {})}
    inputs = tuple(tensor for tensor in inputs if tensor.dtype != "resource")
    return assemble(origin, library, inputs, wanted, tables.values, named=named, replaced=replaced)


def _signature(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = document.get("userDefinedMetadata")
    older = metadata.get("signature") if isinstance(metadata, dict) else None
    found: Mapping[str, Any] = document.get("signature") or older or {}
    return found


def _tensors(infos: Mapping[str, Any]) -> Iterator[Tensor]:
    """The inputs or outputs of a signature."""
    for name, info in infos.items():
        with located(f"signature: {quoted(name)}"):
            dtype = _type(info.get("dtype", "DT_FLOAT"))
            yield Tensor(name, info.get("name") or name, dtype, _shape(info.get("tensorShape")))


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the JSON of graphs.

    Attributes:
        weights: the weights of the manifest by their names.
    """

    weights: Mapping[str, Weight]

    def library(self, topology: Mapping[str, Any]) -> Library:
        """The graph and its functions."""
        functions = (topology.get("library") or {}).get("function") or ()
        stored = by_name("function", functions, lambda function: function["signature"]["name"])
        return Library(
            self.body("", topology["node"]), OpDefs(unknown=ONE_RESULT), stored, self.function
        )

    def body(self, name: str, nodes: Sequence[Any]) -> Body:
        """A graph, or the nodes of a function."""
        return Body(name, by_name("node", nodes, lambda node: str(node["name"])), self.node)

    def function(self, stored: Any) -> Body:
        """A function."""
        signature, ret = stored["signature"], stored.get("ret") or {}
        body = self.body(signature["name"], stored.get("nodeDef") or ())
        return Body(
            body.name,
            body.stored,
            body.parse,
            tuple(
                (arg["name"], _type(arg.get("type", "DT_FLOAT")))
                for arg in signature.get("inputArg") or ()
            ),
            tuple((arg["name"], ret[arg["name"]]) for arg in signature.get("outputArg") or ()),
            tuple((stored.get("controlRet") or {}).values()),
        )

    def node(self, stored: Any) -> StoredNode:
        """A node."""
        names = [str(name) for name in stored.get("input") or ()]
        attributes = {
            name: value
            for name, item in (stored.get("attr") or {}).items()
            if not name.startswith("_") and (value := _attribute(item)) is not None
        }
        if stored["op"] == "Const":
            value = attributes["value"] = self._value(stored, attributes)
            attributes["dtype"] = dtype_of(value.dtype)
        return StoredNode(
            stored["name"],
            stored["op"],
            tuple(name for name in names if not name.startswith("^")),
            tuple(name[1:] for name in names if name.startswith("^")),
            attributes,
        )

    def _value(self, stored: Any, attributes: dict[str, Attribute]) -> Weight | Array:
        """The value of a constant, from the manifest or from the node itself."""
        if stored["name"] in self.weights:
            return self.weights[stored["name"]]
        value = attributes.get("value")
        if not isinstance(value, np.ndarray) or value is NO_VALUES:
            raise ReadError("weightsManifest has no values for this constant")
        return value


# --------------------------------------------------------------------------------------- attributes


def _attribute(stored: Mapping[str, Any]) -> Attribute | None:
    """The value of an attribute, None if it has none."""
    for kind, value in stored.items():
        if kind == "list":
            return tuple(
                convert(item)
                for of, convert in CONVERSIONS.items()
                for item in (value or {}).get(of) or ()
            )
        if kind in CONVERSIONS and value is not None:
            return CONVERSIONS[kind](value)
    return None


def _bytes(value: Any) -> bytes:
    """Base64 text, or the codes of the characters."""
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)


def _type(value: Any) -> ElementType:
    """The element type in which TF.js computes."""
    number = NUMBERS.get(value) if isinstance(value, str) else value
    if not isinstance(number, int):
        raise ReadError(f"the element type {quoted(value)} is not supported")
    name = storage(number).name
    return COMPUTED.get(name, name)


def _shape(value: Any) -> Shape | UnknownRank:
    """A shape, with None for sizes that are not known."""
    if value is None or value.get("unknownRank"):
        return UnknownRank()
    sizes = [int(dim.get("size", 0)) for dim in value.get("dim") or ()]
    if len(sizes) > MAX_RANK or any(not -1 <= size <= LARGEST_SIZE for size in sizes):
        raise ReadError(f"the shape {quoted(sizes)} is not possible")
    return tuple(None if size < 0 else size for size in sizes)


NO_VALUES = np.empty(0)

LISTS = {
    "float32": "floatVal",
    "int32": "intVal",
    "bool": "boolVal",
    "string": "stringVal",
}


def _tensor(value: Any) -> Array:
    """A small constant inside of the JSON."""
    dtype, shape = _type(value.get("dtype")), _shape(value.get("tensorShape") or {})
    sizes = () if isinstance(shape, UnknownRank) else tuple(size or 0 for size in shape)
    lists = (LISTS.get(dtype, ""), "int64Val", "doubleVal")
    items = next((value[key] for key in lists if value.get(key)), ())
    if len(items) != math.prod(sizes):
        # the values of most constants are in a shard
        return NO_VALUES
    if dtype == "string":
        array = np.empty(len(items), object)
        array[:] = [_bytes(item) for item in items]
    else:
        array = np.array([float(item) for item in items]).astype(dtype)
    return array.reshape(sizes)


CONVERSIONS: Mapping[str, Callable[[Any], Scalar]] = {
    "s": _bytes,
    "i": int,
    "f": float,
    "b": bool,
    "type": _type,
    "shape": _shape,
    "tensor": _tensor,
    "func": lambda value: FunctionName(str(value["name"])),
}


# ------------------------------------------------------------------------------------------- tables


@dataclass(eq=False)
class _Tables:
    """The hash tables, which a separate graph creates and fills."""

    reader: _Reader
    document: Mapping[str, Any]
    _stored: StoredValues = field(default_factory=StoredValues)

    def of(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, GraphNode]]:
        """The inputs of the graph that are tables, and the nodes that make them."""
        resources = {
            info["resourceId"]: node_of(info.get("name") or name)
            for name, info in inputs.items()
            if info.get("resourceId") is not None
        }
        if not resources:
            return
        topology = self.document.get("modelInitializer")
        if not isinstance(topology, dict):
            raise ReadError(
                "the graph has tables, but modelInitializer with their content is missing"
            )
        flattener = Flattener(self.reader.library(topology))
        self._stored.initialize(flattener.graph((), flattener.library.graph.stored).effects)
        outputs = (self.document.get("initializerSignature") or {}).get("outputs") or {}
        for name, info in outputs.items():
            node = flattener.node(node_of(info.get("name") or name))
            if node is not None and info.get("resourceId") in resources:
                yield resources[info["resourceId"]], node

    def values(self, _: Flattener) -> StoredValues:
        """The content of the tables."""
        return self._stored
