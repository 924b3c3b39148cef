"""An ONNX model as a file, its weights streamed into it, or beside it where they are large.

A weight in the file is the last field of its tensor, and tensors stand last in the graph, so that everything before
them is made by protobuf, and the rest is a matter of lengths. Source: the encoding of protobuf, and onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx_ir

from kerasport.model import Model, Weight
from kerasport.targets.onnx.emit import ML, TYPES, Emitter
from kerasport.targets.onnx.place import data_file, replacing
from kerasport.targets.plan import Plan
from kerasport.targets.weights import nbytes_of, numbers_of, stored_dtype
from onnx import ModelProto, StringStringEntryProto, TensorProto

EXTERNAL = 1_000_000_000  # bytes of weights from which on they stand beside the model: protobuf ends at 2 GiB
ALIGNED = 4096  # bytes to which weights beside the model are aligned, for readers that map them
GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9  # numbers of fields


@dataclass(frozen=True)
class OnnxPlan(Plan):
    """An ONNX model before it is written; of the weights only the names are in it."""

    model: onnx_ir.Model | None = None


def assembled(emitter: Emitter, outputs: Mapping[str, onnx_ir.Value], model: Model) -> onnx_ir.Model:
    """What was emitted as a model."""
    from kerasport import __version__  # noqa: PLC0415  (the package imports this module)

    shared = emitter.shared
    graph = onnx_ir.Graph(
        tuple(emitter.inputs.values()),
        tuple(outputs.values()),
        nodes=emitter.nodes,
        initializers=shared.small,
        name=model.name,
        opset_imports={"": shared.opset, **({ML: 4} if ML in shared.domains else {})},
    )
    metadata = {"keras": model.writer} if model.writer else {}
    return onnx_ir.Model(
        graph,
        ir_version=ir_version(shared.opset),
        producer_name="kerasport",
        producer_version=__version__,
        metadata_props=metadata,
    )


def ir_version(opset: int) -> int:
    """The oldest version of the format that goes with an opset, by the table in onnx/docs/Versioning.md."""
    return 8 if opset < 19 else 9 if opset < 21 else 10


def write(
    plan: OnnxPlan, out: Path, *, external: int = EXTERNAL, progress: Callable[[int], None] = lambda _: None
) -> tuple[tuple[str, ...], int, Mapping[str, float]]:
    """Write the model to a file, its weights beside it from `external` bytes on.

    Gives the names of the files, the number of their bytes, and the largest error of each weight that was rounded.

    Raises:
        KerasportError: a number does not fit into its dtype.
    """
    assert plan.model is not None
    proto = onnx_ir.to_proto(plan.model)
    beside = sum(map(nbytes_of, plan.weights.values())) >= external
    with replacing(out) as directory:
        made = directory / out.name
        if beside:
            with (directory / data_file(out).name).open("xb") as data:
                _write_beside(proto, plan.weights, data, progress)
            made.write_bytes(proto.SerializeToString())
        else:
            with made.open("xb") as file:
                _write_inside(proto, plan.weights, file, progress)
        files = [made, *([directory / data_file(out).name] if beside else [])]
        nbytes = sum(file.stat().st_size for file in files)
    return tuple(file.name for file in files), nbytes, {}


def _tensor(name: str, weight: Weight) -> TensorProto:
    return TensorProto(dims=weight.shape, data_type=int(TYPES[_kind(weight.dtype)]), name=name)


def _kind(dtype: np.dtype[Any]) -> str:
    return {"u": "bool", "i": "int32", "f": "float32"}[stored_dtype(dtype).kind]


def _write_inside(
    proto: ModelProto, weights: Mapping[str, Weight], file: IO[bytes], progress: Callable[[int], None]
) -> None:
    """The model as protobuf would write it with all weights in it."""
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    heads = {name: _tensor(name, weight).SerializeToString() for name, weight in weights.items()}
    heads = {name: head + _begin(RAW_DATA, nbytes_of(weights[name])) for name, head in heads.items()}
    sizes = {name: len(head) + nbytes_of(weights[name]) for name, head in heads.items()}
    begins = {name: _begin(INITIALIZER, size) for name, size in sizes.items()}
    file.write(proto.SerializeToString())
    file.write(_begin(GRAPH, len(graph) + sum(len(begins[name]) + size for name, size in sizes.items())))
    file.write(graph)
    for name, weight in weights.items():
        file.write(begins[name] + heads[name])
        _write_numbers(name, weight, file, progress)


def _begin(field: int, nbytes: int) -> bytes:
    """The beginning of a field of so many bytes."""
    return bytes([field << 3 | 2]) + _varint(nbytes)


def _varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first, the highest bit telling that more follow."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _write_beside(
    proto: ModelProto, weights: Mapping[str, Weight], data: IO[bytes], progress: Callable[[int], None]
) -> None:
    """The weights to a file of their own, and to the model where they are in it."""
    name_of_data = Path(data.name).name
    for name, weight in weights.items():
        data.seek(-(-data.tell() // ALIGNED) * ALIGNED)
        tensor = _tensor(name, weight)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": name_of_data, "offset": data.tell(), "length": nbytes_of(weight)}
        tensor.external_data.extend(StringStringEntryProto(key=k, value=str(v)) for k, v in place.items())
        proto.graph.initializer.append(tensor)
        _write_numbers(name, weight, data, progress)


def _write_numbers(name: str, weight: Weight, file: IO[bytes], progress: Callable[[int], None]) -> None:
    for numbers in numbers_of(name, weight):
        data = np.ascontiguousarray(numbers).data.cast("B")
        file.write(data)
        progress(len(data))
