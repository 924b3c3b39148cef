"""Arrays, shapes and element types of TensorFlow's messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from kerasport.budget import reserve
from kerasport.errors import HostileFileError, ReadError
from kerasport.frontends.graphdef.frozen import ElementType, UnknownRank
from kerasport.frontends.graphdef.messages import TensorProto, TensorShapeProto
from kerasport.frontends.graphdef.wire import (
    DELIMITED,
    FIXED32,
    FIXED64,
    VARINT,
    Buffer,
    Span,
    decode,
    stored_fields,
)
from kerasport.weights import LARGEST_SIZE, Array, ComputedWeight, Shape, Weight, WeightRef

MAX_RANK = 254  # of a shape in TensorFlow
MAX_ELEMENTS = 2**60
BY_REFERENCE = 4096
"""Arrays of at least as many bytes are not read before a writer needs them."""


class Storage(NamedTuple):
    """How the elements of a type are stored.

    Attributes:
        name: name of the type in the IR.
        dtype: NumPy type of the elements, None if they are not numbers.
        number: number of the field of `TensorProto` that lists them.
        wire: how a number in that list is stored.
        listed: NumPy type of the numbers in that list.
    """

    name: ElementType
    dtype: np.dtype[Any] | None = None
    number: int = 0
    wire: int = VARINT
    listed: str = "<i8"


def _integer(name: str, number: int = 7) -> Storage:
    return Storage(name, np.dtype(name).newbyteorder("<"), number)


# types.proto, and the comments of tensor.proto
TYPES: Mapping[int, Storage] = {
    1: Storage("float32", np.dtype("<f4"), 5, FIXED32, "<f4"),
    2: Storage("float64", np.dtype("<f8"), 6, FIXED64, "<f8"),
    3: _integer("int32"),
    4: _integer("uint8"),
    5: _integer("int16"),
    6: _integer("int8"),
    7: Storage("string"),
    8: Storage("complex64", np.dtype("<c8"), 9, FIXED32, "<f4"),
    9: _integer("int64", 10),
    10: Storage("bool", np.dtype("?"), 11),
    11: Storage("qint8"),
    12: Storage("quint8"),
    13: Storage("qint32"),
    14: Storage("bfloat16", np.dtype(ml_dtypes.bfloat16), 13),
    15: Storage("qint16"),
    16: Storage("quint16"),
    17: _integer("uint16"),
    18: Storage("complex128", np.dtype("<c16"), 12, FIXED64, "<f8"),
    19: Storage("float16", np.dtype("<f2"), 13),
    20: Storage("resource"),
    21: Storage("variant"),
    22: _integer("uint32", 16),
    23: _integer("uint64", 17),
}
REFERENCE = 100
"""The number of a type is this much larger if a value is a reference to a variable."""

BITS = ("float16", "bfloat16")
"""Types whose elements are listed as the bits of each."""


def storage(number: int) -> Storage:
    """What is known of an element type.

    Raises:
        ReadError: TensorFlow has no such type, or it is not supported.
    """
    found = TYPES.get(number % REFERENCE)
    if found is None or number < 0:
        raise ReadError(f"the element type {number} is not supported")
    return found


def element_type(number: int) -> ElementType:
    """Name of an element type."""
    return storage(number).name


def shape_of(proto: TensorShapeProto | None) -> Shape | UnknownRank:
    """A shape, with None for sizes that are not known.

    Raises:
        ReadError: a size is not possible.
    """
    if proto is None or proto.unknown_rank:
        return UnknownRank()
    if len(proto.dim) > MAX_RANK:
        raise HostileFileError(f"a shape has {len(proto.dim)} axes, more than TensorFlow supports")
    sizes = [dim.size for dim in proto.dim]
    if any(size < -1 for size in sizes):
        raise ReadError(f"a shape has the negative size {min(sizes)}")
    if any(size > LARGEST_SIZE for size in sizes):
        raise ReadError(f"a shape has the size {max(sizes)}, which is not supported")
    return tuple(None if size < 0 else size for size in sizes)


def fixed_shape(proto: TensorShapeProto | None) -> tuple[int, ...]:
    """The shape of an array.

    Raises:
        ReadError: a size is not known or not possible.
    """
    shape = () if proto is None else shape_of(proto)
    if isinstance(shape, UnknownRank) or None in shape:
        raise ReadError("the shape of an array is not known")
    sizes = tuple(size for size in shape if size is not None)
    if prod(sizes) > MAX_ELEMENTS:
        raise HostileFileError(f"an array has the impossible shape {sizes}")
    return sizes


def tensor(buffer: Buffer, where: Span, path: Path) -> Array | Weight:
    """The array of a `TensorProto`, in memory if it is small.

    The elements of a string array are bytes, in an array of objects.

    Args:
        buffer: content of the file.
        where: the part of the buffer that contains the message.
        path: the file, to which the weight of a large array refers.

    Raises:
        ReadError: the elements do not have the stated type or shape.
        TooLargeError: the array is far larger than the file.
    """
    proto = decode(TensorProto, buffer, where)
    found, shape = storage(proto.dtype), fixed_shape(proto.tensor_shape)
    if found.name == "string":
        return _filled(_strings(proto.string_val), shape, "string")
    if found.dtype is None:
        raise ReadError(f"a constant has the element type {found.name}, which is not supported")
    content = proto.tensor_content
    if content is None:
        return _filled(_listed(buffer, where, found), shape, found.name)
    if content.size != prod(shape) * found.dtype.itemsize:
        raise ReadError(
            f"a constant of shape {shape} and element type {found.name} has {content.size} bytes"
        )
    if content.size >= BY_REFERENCE:
        return WeightRef(path, content.start, found.dtype, shape)
    return np.frombuffer(buffer[content.start : content.stop], found.dtype).reshape(shape)


def _strings(values: list[bytes]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _filled(values: Array, shape: tuple[int, ...], name: ElementType) -> Array | Weight:
    """Values in a shape. If there are too few, the last one is repeated."""
    count = prod(shape)
    if values.size == count:
        return values.reshape(shape)
    if values.size > count:
        raise ReadError(f"a constant of shape {shape} has {values.size} elements")
    if not values.size:
        values = _strings([b""]) if name == "string" else np.zeros(1, values.dtype)

    def filled() -> Array:
        reserve(*shape, itemsize=values.dtype.itemsize)
        array = np.full(count, values[-1], values.dtype)
        array[: values.size] = values
        return array.reshape(shape)

    if count * values.dtype.itemsize >= BY_REFERENCE:
        return ComputedWeight(values.dtype, shape, filled)
    return filled()


def _listed(buffer: Buffer, where: Span, found: Storage) -> Array:
    """The elements in the list of their type."""
    parts = [np.empty(0, found.listed)]
    for number, wire, value, end in stored_fields(buffer, *where):
        if number == found.number:
            parts.append(_numbers(buffer, wire, value, end, found))
    values = np.concatenate(parts)
    assert found.dtype is not None
    if found.name in BITS:
        return values.astype("<u2").view(found.dtype)
    if found.name.startswith("complex"):
        return values[: values.size // 2 * 2].view(found.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(found.dtype)


def _numbers(buffer: Buffer, wire: int, value: int, end: int, found: Storage) -> Array:
    """The numbers of one field: one alone, or several without keys between them."""
    if wire == VARINT and found.wire == VARINT:
        return np.array([value], np.uint64).view(found.listed)
    if wire not in (DELIMITED, found.wire):
        raise ReadError(f"the elements of a constant are not stored as {found.name}")
    if found.wire == VARINT:
        return varints(buffer[value:end]).view(found.listed)
    itemsize = np.dtype(found.listed).itemsize
    if (end - value) % itemsize:
        raise ReadError("the elements of a constant are truncated")
    return np.frombuffer(buffer[value:end], found.listed)


def varints(data: bytes) -> Array:
    """Numbers of 7 bits per byte, [n] uint64.

    Raises:
        ReadError: the last one is truncated, or one has more than 64 bits.
    """
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 128)
    if octets.size and (not ends.size or ends[-1] != octets.size - 1):
        raise ReadError("a list of numbers is truncated")
    starts = np.concatenate([[0], ends[:-1] + 1])[: ends.size]
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > 10:
        raise ReadError("a number in a list is too long")
    values = np.zeros(ends.size, np.uint64)
    for place in range(int(lengths.max(initial=0))):
        some = lengths > place
        bits = (octets[starts[some] + place] & 127).astype(np.uint64)
        values[some] |= bits << np.uint64(7 * place)
    return values


def text_values(array: Array | Weight) -> Iterator[bytes]:
    """The elements of a string array, in C order."""
    values = array.read() if not isinstance(array, np.ndarray) else array
    yield from values.reshape(-1).tolist()
