"""The emitter of ONNX: how the format writes inputs, nodes, constants and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Constant, Extent, Input, Node, Tensor, TensorType
from kerasport.targets import emission
from kerasport.weights import Array

Emit: TypeAlias = Callable[["Emitter", Any], onnx.Value]

TYPES: Mapping[str, onnx.DataType] = {
    "bool": onnx.DataType.BOOL,
    "int8": onnx.DataType.INT8,
    "int16": onnx.DataType.INT16,
    "int32": onnx.DataType.INT32,
    "int64": onnx.DataType.INT64,
    "uint8": onnx.DataType.UINT8,
    "uint16": onnx.DataType.UINT16,
    "uint32": onnx.DataType.UINT32,
    "uint64": onnx.DataType.UINT64,
    "float16": onnx.DataType.FLOAT16,
    "bfloat16": onnx.DataType.BFLOAT16,
    "float32": onnx.DataType.FLOAT,
    "float64": onnx.DataType.DOUBLE,
    "string": onnx.DataType.STRING,
}
"""Element type of the IR → that of ONNX."""

ML = "ai.onnx.ml"
"""The domain of operators for tables and classic machine learning."""


MOVING = (
    ops.BroadcastTo, ops.Concat, ops.Dim, ops.Gather, ops.Reshape, ops.Reverse, ops.Slice,
    ops.StridedSlice, ops.Tile, ops.Transpose,
)  # fmt: skip
"""Operations that move elements of every type."""

OF_STRINGS = (
    *MOVING, ops.Lookup, ops.Select, ops.StringConcat, ops.StringSplit, ops.RegexFullMatch,
    ops.Equal,
    ops.NotEqual,
)  # fmt: skip
"""Operations on strings for which ONNX Runtime has kernels."""


@dataclass
class Shared(emission.Shared):
    """State that the emitter of a graph shares with the emitters of its bodies."""

    opset: int = 0
    small: list[onnx.Value] = field(default_factory=list)
    domains: set[str] = field(default_factory=lambda: {""})

    def legal_name(self, name: str) -> str:
        """The name in valid UTF-8, which protobuf requires."""
        return utf8(name)


class Emitter(emission.Emitter[onnx.Value]):
    """Writes the nodes of an ONNX graph."""

    # sizes become `Shape` where an operator needs them as a vector, and a scalar elsewhere
    lazy = (ops.Dim,)
    bodies_see_constants = True
    index_dtype: ClassVar[Any] = np.int64
    shared: Shared

    @property
    def opset(self) -> int:
        """Version of the operators."""
        return self.shared.opset

    def refusal(self, node: Node) -> str:
        """Why ONNX Runtime cannot run a node; empty if it can."""
        if reason := super().refusal(node):
            return reason
        dtypes = {operand.dtype for operand in node.operands if isinstance(operand, Tensor)}
        if "string" in dtypes and not isinstance(node, OF_STRINGS):
            return f"ONNX Runtime has no {type(node).__name__} of strings"
        if "string" in dtypes and isinstance(node, ops.Equal | ops.NotEqual) and self.opset < 19:
            return "ONNX compares strings from opset 19; use --opset 20"
        if isinstance(node, ops.Prod) and node.dtype not in ("int32", "int64", "float32"):
            return f"ONNX Runtime computes wrong products of many integers of {node.dtype}"
        if "uint64" in dtypes and not isinstance(node, (*MOVING, ops.Cast)):
            return "ONNX Runtime computes with integers of up to 63 bits; cast it to int64"
        return ""

    # ----------------------------------------------------------------------------------- the format

    def add(
        self, op: str, inputs: Sequence[Node | onnx.Value | None], **attributes: Any
    ) -> onnx.Value:
        """Add a node with one result; return the result. None means an omitted optional input."""
        return self.add_several(op, inputs, 1, **attributes)[0]

    def add_several(
        self,
        op: str,
        inputs: Sequence[Node | onnx.Value | None],
        count: int,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[onnx.Value]:
        """Add a node with `count` results; return the results."""
        name = self.unique(op)
        values = [None if operand is None else self.ref(operand) for operand in inputs]
        node = onnx.node(op, values, attributes, domain=domain, num_outputs=count, name=name)
        for index, value in enumerate(node.outputs):
            value.name = f"{name}:{index}"
        self.nodes.append(node)
        self.shared.domains.add(domain)
        return node.outputs

    def write_input(self, name: str, node: Input) -> onnx.Value:
        """A value without a producer."""
        return typed(onnx.Value(name=name), node.type, name)

    def write_outputs(
        self, names: Sequence[str], values: Sequence[onnx.Value]
    ) -> dict[str, onnx.Value]:
        """Rename the values that are outputs."""
        values = self.own(self.graph.outputs, values)
        for name, value, output in zip(names, values, self.graph.outputs, strict=True):
            value.name = name
            typed(value, output.type, name)
        return dict(zip(names, values, strict=True))

    def own(self, outputs: Sequence[Tensor], values: Sequence[onnx.Value]) -> list[onnx.Value]:
        """Distinct values, each produced by a node of this graph, as ONNX requires for outputs.

        Inputs, constants, values from outside of a body, and values that are an output already get
        an `Identity`.
        """
        produced = {id(node) for node in self.nodes}
        found: list[onnx.Value] = []
        for value, output in zip(values, outputs, strict=True):
            fresh = id(value.producer()) in produced
            if not fresh or any(value is other for other in found):
                copy = self.add("Identity", [value])
                value = typed(copy, output.type)  # noqa: PLW2901  (the next line uses either)
            found.append(value)
        return found

    def write_weight(self, name: str, node: Constant) -> onnx.Value:
        """A value with the name of an initializer, which is added when the file is written."""
        return typed(onnx.Value(name=name), node.type)

    def write_small(self, name: str, array: Array) -> onnx.Value:
        """An initializer that the graph and all its bodies see."""
        tensor: onnx.TensorProtocol = onnx.Tensor(array, name=name)
        if array.dtype.kind == "O":
            texts = [text.encode(errors="backslashreplace") for text in array.ravel()]
            tensor = onnx.StringTensor(texts, shape=onnx.Shape(array.shape), name=name)
        value = onnx.Value(name=name, const_value=tensor)
        self.shared.small.append(value)
        return value

    def write_refused(self) -> onnx.Value:
        """A value that nothing produces."""
        return onnx.Value(name="refused")

    def declare(self, value: onnx.Value, tensor: TensorType) -> None:
        """Set element type and shape of a value."""
        typed(value, tensor)

    # ---------------------------------------------------------------------------------- conversions

    def wide(self, value: int) -> onnx.Value:
        """A constant int64 scalar, the type that ONNX uses for sizes."""
        return self.small(np.asarray(value, np.int64))

    def cast(self, x: Node | onnx.Value, to: onnx.DataType) -> onnx.Value:
        """`x` with another element type."""
        return self.add("Cast", [x], to=int(to))

    def size(self, x: Tensor, axis: int) -> onnx.Value:
        """The size of an axis, int64 [1]."""
        return self.add("Shape", [x], start=axis, end=axis + 1)

    def sizes(self, to: Sequence[Size | onnx.Value]) -> onnx.Value:
        """A shape, int64 [rank]: a constant, or parts that are joined at run time.

        A size is a number, an integer scalar, or a value int64 [1].
        """
        parts: list[onnx.Value | list[int]] = []
        for size in to:
            if not isinstance(size, int):
                parts.append(size if isinstance(size, onnx.Value) else self.vector(size))
            elif parts and isinstance(parts[-1], list):
                parts[-1].append(size)
            else:
                parts.append([size])
        values = [self.ints(part) if isinstance(part, list) else part for part in parts]
        if len(values) == 1:
            return values[0]
        return self.add("Concat", values, axis=0) if values else self.ints([])

    def vector(self, size: Size) -> onnx.Value:
        """A size as int64 [1]."""
        if isinstance(size, int):
            return self.ints([size])
        if isinstance(size, ops.Dim):
            return self.size(size.x, size.axis)
        return self.add("Reshape", [self.cast(size, onnx.DataType.INT64), self.ints([1])])


def utf8(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, written as escapes."""
    return text.encode(errors="backslashreplace").decode()


def typed(value: onnx.Value, tensor: TensorType, port: str = "") -> onnx.Value:
    """Set the element type and shape of a value; return it.

    At a port, an input or output of the model, unknown sizes without a name get one. ONNX Runtime
    takes sizes with the same name to be equal.
    """
    value.dtype = TYPES[tensor.dtype]
    extents = tensor.extents if port else tensor.shape
    value.shape = onnx.Shape([_size(extent, axis, port) for axis, extent in enumerate(extents)])
    return value


def _size(extent: Extent, axis: int, port: str) -> int | str | None:
    if isinstance(extent, str) and "*" not in extent:
        return utf8(extent)
    return extent if isinstance(extent, int) or not port else f"{port}_axis_{axis}"
