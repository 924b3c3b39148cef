"""The messages of SavedModels and frozen graphs, with the fields that this package reads.

The comment of each class names the `.proto` file in TensorFlow that defines it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerasport.frontends.graphdef.wire import (
    Span,
    entries,
    flag,
    float32,
    message,
    number,
    octets,
    optional_number,
    repeated,
    span,
    text,
)

MAX_STRINGS = 2_000_000
"""Strings of a tensor. Vocabularies rarely have a million."""

# ------------------------------------------------------------------------------------------ tensors


# tensor_shape.proto
@dataclass(slots=True, eq=False, repr=False)
class Dim:
    """A size; -1 if it is not known."""

    size: int = number(1)


# tensor_shape.proto
@dataclass(slots=True, eq=False, repr=False)
class TensorShapeProto:
    """A shape."""

    dim: list[Dim] = repeated(message(2, Dim))
    unknown_rank: bool | None = flag(3)


# tensor.proto
@dataclass(slots=True, eq=False, repr=False)
class TensorProto:
    """An array. Its elements are in `tensor_content` or in the list of its type.

    The lists of numbers are not declared: `tensors.py` reads only the one that has the type.
    """

    dtype: int = number(1)
    tensor_shape: TensorShapeProto | None = message(2, TensorShapeProto)
    tensor_content: Span | None = span(4)
    string_val: list[bytes] = repeated(octets(8), MAX_STRINGS)


# --------------------------------------------------------------------------------------- attributes


# attr_value.proto
@dataclass(slots=True, eq=False, repr=False)
class NameAttrList:
    """The name of a function."""

    name: str = text(1)


# attr_value.proto
@dataclass(slots=True, eq=False, repr=False)
class ListValue:
    """A list as the value of an attribute."""

    s: list[bytes] = repeated(octets(2))
    i: list[int] = repeated(number(3))
    f: list[float] = repeated(float32(4))
    b: list[bool] = repeated(flag(5))
    type: list[int] = repeated(number(6))
    shape: list[TensorShapeProto] = repeated(message(7, TensorShapeProto))
    tensor: list[Span] = repeated(span(8))
    func: list[NameAttrList] = repeated(message(9, NameAttrList))


# attr_value.proto
@dataclass(slots=True, eq=False, repr=False)
class AttrValue:
    """The value of an attribute. One field is set."""

    list: ListValue | None = message(1, ListValue)
    s: bytes | None = octets(2)
    i: int | None = optional_number(3)
    f: float | None = float32(4)
    b: bool | None = flag(5)
    type: int | None = optional_number(6)
    shape: TensorShapeProto | None = message(7, TensorShapeProto)
    tensor: Span | None = span(8)
    placeholder: str = text(9)
    func: NameAttrList | None = message(10, NameAttrList)


@dataclass(slots=True, eq=False, repr=False)
class SpanEntry:
    """An entry of a map from strings to messages that are decoded later."""

    key: str = text(1)
    value: Span | None = span(2)


@dataclass(slots=True, eq=False, repr=False)
class TextEntry:
    """An entry of a map from strings to strings."""

    key: str = text(1)
    value: str = text(2)


# ------------------------------------------------------------------------------------------- graphs


# node_def.proto
@dataclass(slots=True, eq=False, repr=False)
class NodeDef:
    """A node. The values of `attr` are spans of `AttrValue`s."""

    name: str = text(1)
    op: str = text(2)
    input: list[str] = repeated(text(3))
    attr: dict[str, Span] = entries(5, SpanEntry)


# op_def.proto
@dataclass(slots=True, eq=False, repr=False)
class ArgDef:
    """An argument or result of an op or function."""

    name: str = text(1)
    type: int = number(3)
    number_attr: str = text(5)
    type_list_attr: str = text(6)


# op_def.proto
@dataclass(slots=True, eq=False, repr=False)
class AttrDef:
    """An attribute of an op. `default_value` is the span of an `AttrValue`."""

    name: str = text(1)
    type: str = text(2)
    default_value: Span | None = span(3)


# op_def.proto
@dataclass(slots=True, eq=False, repr=False)
class OpDef:
    """The signature of an op or function."""

    name: str = text(1)
    input_arg: list[ArgDef] = repeated(message(2, ArgDef))
    output_arg: list[ArgDef] = repeated(message(3, ArgDef))
    attr: list[AttrDef] = repeated(message(4, AttrDef))


# op_def.proto
@dataclass(slots=True, eq=False, repr=False)
class OpList:
    """Signatures of ops."""

    op: list[Span] = repeated(span(1))


# function.proto
@dataclass(slots=True, eq=False, repr=False)
class FunctionDef:
    """A function of the library. The elements of `node_def` are spans of `NodeDef`s."""

    signature: OpDef | None = message(1, OpDef)
    node_def: list[Span] = repeated(span(3))
    ret: dict[str, str] = entries(4, TextEntry)
    control_ret: dict[str, str] = entries(6, TextEntry)


# function.proto
@dataclass(slots=True, eq=False, repr=False)
class FunctionHead:
    """A function of which only the signature is of interest."""

    signature: Span | None = span(1)


# function.proto
@dataclass(slots=True, eq=False, repr=False)
class FunctionDefLibrary:
    """The functions of a graph. The elements are spans of `FunctionDef`s."""

    function: list[Span] = repeated(span(1))


# versions.proto
@dataclass(slots=True, eq=False, repr=False)
class VersionDef:
    """The version of the format of a graph."""

    producer: int = number(1)


# graph.proto
@dataclass(slots=True, eq=False, repr=False)
class GraphDef:
    """A graph. The elements of `node` are spans of `NodeDef`s."""

    node: list[Span] = repeated(span(1))
    library: FunctionDefLibrary | None = message(2, FunctionDefLibrary)
    versions: VersionDef | None = message(4, VersionDef)


# -------------------------------------------------------------------------------------- meta graphs


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class MetaInfoDef:
    """What wrote a meta graph, and the ops that it uses."""

    stripped_op_list: OpList | None = message(2, OpList)
    tags: list[str] = repeated(text(4))
    tensorflow_version: str = text(5)


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class TensorInfo:
    """A tensor of a signature."""

    name: str = text(1)
    dtype: int = number(2)
    tensor_shape: TensorShapeProto | None = message(3, TensorShapeProto)
    coo_sparse: Span | None = span(4)
    composite_tensor: Span | None = span(5)


@dataclass(slots=True, eq=False, repr=False)
class TensorInfoEntry:
    """An entry of the inputs or outputs of a signature."""

    key: str = text(1)
    value: TensorInfo | None = message(2, TensorInfo)


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class SignatureDef:
    """A signature: named inputs and outputs."""

    inputs: dict[str, TensorInfo | None] = entries(1, TensorInfoEntry)
    outputs: dict[str, TensorInfo | None] = entries(2, TensorInfoEntry)
    method_name: str = text(3)


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class NodeList:
    """A collection of names of nodes."""

    value: list[str] = repeated(text(1))


# any.proto
@dataclass(slots=True, eq=False, repr=False)
class AnyMessage:
    """A message of any type."""

    value: Span | None = span(2)


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class AnyList:
    """A collection of messages."""

    value: list[AnyMessage] = repeated(message(1, AnyMessage))


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class CollectionDef:
    """A collection of a graph, if it is a list of nodes or of messages."""

    node_list: NodeList | None = message(1, NodeList)
    any_list: AnyList | None = message(5, AnyList)


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class AssetFileDef:
    """A file in the directory `assets`, and the constant that names it."""

    tensor_info: TensorInfo | None = message(1, TensorInfo)
    filename: str = text(2)


# saver.proto
@dataclass(slots=True, eq=False, repr=False)
class SaverDef:
    """The nodes that save and restore variables."""

    filename_tensor_name: str = text(1)
    restore_op_name: str = text(3)


# meta_graph.proto
@dataclass(slots=True, eq=False, repr=False)
class MetaGraphDef:
    """A graph with its signatures.

    The graph is the span of a `GraphDef`, the values of `collection_def` those of
    `CollectionDef`s, and the values of `signature_def` those of `SignatureDef`s.
    """

    meta_info_def: MetaInfoDef | None = message(1, MetaInfoDef)
    graph_def: Span | None = span(2)
    saver_def: SaverDef | None = message(3, SaverDef)
    collection_def: dict[str, Span] = entries(4, SpanEntry)
    signature_def: dict[str, Span] = entries(5, SpanEntry)
    asset_file_def: list[AssetFileDef] = repeated(message(6, AssetFileDef))


# saved_model.proto
@dataclass(slots=True, eq=False, repr=False)
class SavedModel:
    """The file `saved_model.pb`. The elements are spans of `MetaGraphDef`s."""

    meta_graphs: list[Span] = repeated(span(2))


# -------------------------------------------------------------------------------------- checkpoints


# tensor_slice.proto
@dataclass(slots=True, eq=False, repr=False)
class Extent:
    """A part of an axis. The length is None if the part is the whole axis."""

    start: int = number(1)
    length: int | None = optional_number(2)


# tensor_slice.proto
@dataclass(slots=True, eq=False, repr=False)
class TensorSliceProto:
    """A part of a tensor."""

    extent: list[Extent] = repeated(message(1, Extent))


# tensor_bundle.proto
@dataclass(slots=True, eq=False, repr=False)
class BundleHeader:
    """What is stored under the empty key of an index."""

    num_shards: int = number(1)
    endianness: int = number(2)


# tensor_bundle.proto
@dataclass(slots=True, eq=False, repr=False)
class BundleEntry:
    """Where a tensor is."""

    dtype: int = number(1)
    shape: TensorShapeProto | None = message(2, TensorShapeProto)
    shard_id: int = number(3)
    offset: int = number(4)
    size: int = number(5)
    slices: list[TensorSliceProto] = repeated(message(7, TensorSliceProto))


# saved_metadata.proto
@dataclass(slots=True)
class SavedObject:
    """The class and config of an object, as JSON, and its path from the root."""

    node_path: str = text(3)
    metadata: str = text(5)


# saved_metadata.proto
@dataclass(slots=True)
class SavedMetadata:
    """The file `keras_metadata.pb`."""

    nodes: list[SavedObject] = repeated(message(1, SavedObject))


# trackable_object_graph.proto
@dataclass(slots=True)
class ObjectReference:
    """An attribute of an object: the index of another object, and the name of the attribute."""

    node_id: int = number(1)
    local_name: str = text(2)


# trackable_object_graph.proto
@dataclass(slots=True)
class SerializedTensor:
    """A variable of an object, and the key of its value in the checkpoint."""

    name: str = text(1)
    checkpoint_key: str = text(3)


# trackable_object_graph.proto
@dataclass(slots=True)
class TrackableObject:
    """An object of the checkpoint."""

    children: list[ObjectReference] = repeated(message(1, ObjectReference))
    attributes: list[SerializedTensor] = repeated(message(2, SerializedTensor))


# trackable_object_graph.proto
@dataclass(slots=True)
class TrackableObjectGraph:
    """All objects of a checkpoint. The first one is the model."""

    nodes: list[TrackableObject] = repeated(message(1, TrackableObject))
