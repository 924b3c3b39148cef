"""Write an ONNX file. Weights stream into it, or into a second file if they are large.

A weight is the last field of its tensor, and tensors are the last field of the graph. So protobuf
encodes everything before them, and the rest needs only lengths. Source: the encoding of protobuf,
and onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx_ir
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper, numpy_helper

from kerasport.ir.program import Program
from kerasport.targets.encoding import Encoding, Scaled, nbytes_of, numbers_of
from kerasport.targets.onnx import ONNX
from kerasport.targets.onnx.emit import ML, TYPES, Emitter, utf8
from kerasport.targets.output import replacing_files
from kerasport.targets.plan import Output, Plan
from kerasport.weights import Array, Weight

EXTERNAL = 1_000_000_000
"""Bytes of weights from which on they go to a second file: protobuf supports less than 2 GiB."""

ALIGNED = 4096
"""Alignment of weights in the second file, for readers that map it into memory."""

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Numbers of fields in onnx.proto."""

QUANTIZED = "kerasport.quantized"
"""Key in the metadata of a model with rounded weights."""


@dataclass(frozen=True, kw_only=True)
class OnnxPlan(Plan):
    """An ONNX model before it is written. It refers to weights by name."""

    model: onnx_ir.Model | None = None
    half: bool = False
    """Whether to compute in float16 where that saves time."""


def assembled(
    emitter: Emitter, outputs: Mapping[str, onnx_ir.Value], program: Program
) -> onnx_ir.Model:
    """The model of an emitted graph, without its weights."""
    from kerasport import __version__  # noqa: PLC0415  (the package imports this module)

    shared = emitter.shared
    graph = onnx_ir.Graph(
        tuple(map(emitter.ref, emitter.inputs.values())),
        tuple(outputs.values()),
        nodes=emitter.nodes,
        initializers=shared.small,
        name=utf8(program.name),
        opset_imports={"": shared.opset, **({ML: 4} if ML in shared.domains else {})},
    )
    metadata = {"keras": utf8(program.writer)} if program.writer else {}
    return onnx_ir.Model(
        graph,
        ir_version=ir_version(shared.opset),
        producer_name="kerasport",
        producer_version=__version__,
        metadata_props=metadata,
    )


def ir_version(opset: int) -> int:
    """The oldest version of the format for an opset. Source: onnx/docs/Versioning.md."""
    if opset < 19:
        return 8
    return 9 if opset < 21 else 10


def write(
    plan: OnnxPlan,
    out: Path,
    *,
    external: int = EXTERNAL,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Output:
    """Write the model to a file. Weights of `external` bytes or more go to a second file.

    Raises:
        KerasportError: a number does not fit into its dtype.
        OutputExistsError: the output exists and is not replaced, or another process was faster.
    """
    assert plan.model is not None
    proto = onnx_ir.to_proto(plan.model)
    _widen(proto, plan)
    stored = [
        _Stored(name, weight, plan.encodings.get(name)) for name, weight in plan.weights.items()
    ]
    is_external = sum(weight.nbytes for weight in stored) >= external
    with replacing_files(ONNX.files(out), force=force) as directory:
        model_file, data_file = (directory / file.name for file in ONNX.files(out))
        if is_external:
            with data_file.open("xb") as data:
                _write_beside(proto, stored, data, progress)
            model_file.write_bytes(proto.SerializeToString())
        else:
            with model_file.open("xb") as file:
                _write_inside(proto, stored, file, progress)
        files = [file for file in (model_file, data_file) if file.exists()]
        nbytes = sum(file.stat().st_size for file in files)
    errors = {weight.name: weight.error for weight in stored if weight.encoding}
    return Output(tuple(file.name for file in files), nbytes, errors)


@dataclass
class _Stored:
    """A weight as it is stored, and its largest rounding error once it is written."""

    name: str
    weight: Weight
    encoding: Encoding | Scaled | None
    error: float = 0.0

    @property
    def nbytes(self) -> int:
        return nbytes_of(self.weight, self.encoding, ONNX.stored_dtype)

    @property
    def _is_kept(self) -> bool:
        """Whether the weight is stored in its own dtype."""
        return ONNX.stored_dtype(self.weight.dtype) == self.weight.dtype

    def tensor(self) -> TensorProto:
        """The tensor without its data."""
        kind = self.encoding.dtype if self.encoding else _kind(self.weight.dtype)
        name = stored_name(self.name, self.encoding) if self.encoding else self.name
        return TensorProto(dims=self.weight.shape, data_type=KINDS[kind], name=name)

    def write(self, file: IO[bytes], progress: Callable[[int], None]) -> None:
        offset = 0
        pieces = self.weight.pieces() if self._is_kept else numbers_of(self.name, self.weight)
        for numbers in pieces:
            data = self._encoded(numbers, offset).data.cast("B")
            offset += numbers.size
            file.write(data)
            progress(len(data))

    def _encoded(self, numbers: Array, offset: int) -> Array:
        if self.encoding is None:
            return np.ascontiguousarray(numbers)
        if isinstance(self.encoding, Scaled):
            stored, error = self.encoding.encode(numbers, offset)
        else:
            stored = self.encoding.encode(numbers)
            error = float(np.abs(self.encoding.decode(stored).astype(np.float64) - numbers).max())
        self.error = max(self.error, error)
        return stored


KINDS: Mapping[str, int] = {
    **{kind: int(of_onnx) for kind, of_onnx in TYPES.items()},
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
}
"""Element type of a stored weight → `TensorProto.DataType`."""


def _kind(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "iu":
        return str(dtype.name)
    return "bool" if dtype == np.bool_ else "float32"


def stored_name(name: str, encoding: Encoding | Scaled) -> str:
    """The name of a rounded weight in the file."""
    return f"{name}/{encoding.dtype}"


def _widen(proto: ModelProto, plan: OnnxPlan) -> None:
    """Insert nodes that convert rounded weights to float32, before all other nodes."""
    assert plan.model is not None
    nodes = []
    needed = {
        value.name
        for node in plan.model.graph.all_nodes()
        for value in node.inputs
        if value is not None
    }
    for name, encoding in plan.encodings.items():
        if name not in needed:
            continue
        held = stored_name(name, encoding)
        if isinstance(encoding, Scaled):
            scale = f"{name}/scale"
            proto.graph.initializer.append(numpy_helper.from_array(encoding.scale, scale))
            node = helper.make_node(
                "DequantizeLinear", [held, scale], [name], f"{name}/Dequantize", axis=encoding.axis
            )
        else:
            node = helper.make_node("Cast", [held], [name], f"{name}/Cast", to=TensorProto.FLOAT)
        nodes.append(node)
    if kinds := {encoding.dtype for encoding in plan.encodings.values()} | (
        {"float16"} if plan.half else set()
    ):
        proto.metadata_props.append(
            StringStringEntryProto(key=QUANTIZED, value=" ".join(sorted(kinds)))
        )
    if nodes:
        nodes += proto.graph.node
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)


def _write_inside(
    proto: ModelProto, weights: Sequence[_Stored], file: IO[bytes], progress: Callable[[int], None]
) -> None:
    """Write the model as protobuf would, with all weights."""
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    heads = [
        weight.tensor().SerializeToString() + _begin(RAW_DATA, weight.nbytes) for weight in weights
    ]
    sizes = [len(head) + weight.nbytes for head, weight in zip(heads, weights, strict=True)]
    begins = [_begin(INITIALIZER, size) for size in sizes]
    file.write(proto.SerializeToString())
    file.write(_begin(GRAPH, len(graph) + sum(map(len, begins)) + sum(sizes)))
    file.write(graph)
    for begin, head, weight in zip(begins, heads, weights, strict=True):
        file.write(begin + head)
        weight.write(file, progress)


def _begin(field: int, nbytes: int) -> bytes:
    """The tag and length of a field of `nbytes` bytes."""
    return bytes([field << 3 | 2]) + _varint(nbytes)


def _varint(number: int) -> bytes:
    """A number in groups of seven bits, lowest first. The highest bit is set if more follow."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _write_beside(
    proto: ModelProto, weights: Sequence[_Stored], data: IO[bytes], progress: Callable[[int], None]
) -> None:
    """Write the weights to a second file, and their locations to the model."""
    for weight in weights:
        data.seek(-(-data.tell() // ALIGNED) * ALIGNED)
        tensor = weight.tensor()
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": Path(data.name).name, "offset": data.tell(), "length": weight.nbytes}
        tensor.external_data.extend(
            StringStringEntryProto(key=k, value=str(v)) for k, v in place.items()
        )
        proto.graph.initializer.append(tensor)
        weight.write(data, progress)
