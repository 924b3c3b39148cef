"""Decodes protobuf messages that are declared as dataclasses.

A field of a message is a field of a dataclass, made by `text`, `number`, `message` and the other
functions below, with the number that the field has in the `.proto` file. Fields that a class does
not declare are skipped. A field declared as `span` is located but not decoded, so that a reader
decodes only the parts of a file that it needs, and refers to large arrays in the file without
reading them. Recursive messages must be cut by a `span`, so the depth of decoding is that of the
declarations and does not depend on the file.

Why not the package `protobuf`: version 7.36 takes 1.4 MB, more than the base install may grow, and
its import 0.18 s. This module and the declarations take 20 kB and 0.02 s. `protobuf` also copies
every array when it parses a file, and cannot tell where in the file an array is, so a frozen graph
of 2 GB would need as much memory. In C it decodes faster: 26,000 nodes take 1.8 s here. But a
model with so many nodes calls few of its functions: 0.1 s with those that are called.

The encoding is described at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from mmap import mmap
from typing import Any, NamedTuple, TypeAlias, TypeVar

from kerasport.errors import HostileFileError, ReadError

Buffer: TypeAlias = bytes | mmap
M = TypeVar("M")

MAX_ELEMENTS = 500_000
"""Messages and texts in one repeated field. The largest models have less than a tenth of it."""

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
MALFORMED = "this is not a valid protobuf message"


class Span(NamedTuple):
    """The part of a buffer that contains the bytes or the message of a field."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


@dataclass(frozen=True)
class _Field:
    """How the values of a field are decoded.

    Attributes:
        number: number of the field in the `.proto` file.
        wire: how a value is stored: `VARINT`, `FIXED64`, `DELIMITED` or `FIXED32`.
        value: makes the value of a varint or a fixed number, or of (buffer, start, stop).
        repeated: whether the attribute is a list of values.
        entries: whether the attribute is a dict, and values are pairs of a key and a value.
        limit: largest number of elements of a list or dict.
    """

    number: int
    wire: int
    value: Callable[..., Any]
    repeated: bool = False
    entries: bool = False
    limit: int = MAX_ELEMENTS


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(buffer: Buffer, start: int, stop: int) -> str:
    try:
        return buffer[start:stop].decode()
    except UnicodeDecodeError:
        raise ReadError(f"{MALFORMED}: a text at byte {start} is not UTF-8") from None


def _octets(buffer: Buffer, start: int, stop: int) -> bytes:
    return buffer[start:stop]


def _span(_: Buffer, start: int, stop: int) -> Span:
    return Span(start, stop)


def text(number: int) -> Any:
    """A field of the type `string`."""
    return field(default="", metadata={"wire": _Field(number, DELIMITED, _text)})


def octets(number: int) -> Any:
    """A field of the type `bytes`, None if it is absent."""
    return field(default=None, metadata={"wire": _Field(number, DELIMITED, _octets)})


def number(number: int) -> Any:
    """A field of an integer or enum type."""
    return field(default=0, metadata={"wire": _Field(number, VARINT, _signed)})


def optional_number(number: int) -> Any:
    """A field of an integer or enum type, None if it is absent."""
    return field(default=None, metadata={"wire": _Field(number, VARINT, _signed)})


def flag(number: int) -> Any:
    """A field of the type `bool`, None if it is absent."""
    return field(default=None, metadata={"wire": _Field(number, VARINT, bool)})


def float32(number: int) -> Any:
    """A field of the type `float`, None if it is absent."""
    return field(default=None, metadata={"wire": _Field(number, FIXED32, _float)})


def span(number: int) -> Any:
    """A message or bytes that are not decoded, None if absent."""
    return field(default=None, metadata={"wire": _Field(number, DELIMITED, _span)})


def message(number: int, cls: type[Any]) -> Any:
    """A message, None if absent."""
    return field(default=None, metadata={"wire": _Field(number, DELIMITED, _decoder(cls))})


def repeated(single: Any, limit: int = MAX_ELEMENTS) -> Any:
    """A repeated field, and how many elements it may have."""
    one: _Field = single.metadata["wire"]
    return field(default_factory=list, metadata={"wire": replace(one, repeated=True, limit=limit)})


def entries(number: int, cls: type[Any]) -> Any:
    """A map from strings to spans, texts or messages. `cls` has the fields `key` and `value`."""
    return field(
        default_factory=dict,
        metadata={"wire": _Field(number, DELIMITED, _decoder(cls), entries=True)},
    )


def _float(value: bytes) -> float:
    result: float = struct.unpack("<f", value)[0]
    return result


def _decoder(cls: type[M]) -> Callable[[Buffer, int, int], M]:
    return lambda buffer, start, stop: decode(cls, buffer, Span(start, stop))


@cache
def _schema(cls: Any) -> Mapping[int, tuple[str, _Field]]:
    return {
        item.metadata["wire"].number: (item.name, item.metadata["wire"]) for item in fields(cls)
    }


def decode(cls: type[M], buffer: Buffer, where: Span | None = None) -> M:
    """Decode a message.

    Args:
        cls: dataclass that declares the message.
        buffer: content of the file.
        where: the part of the buffer that contains the message, by default all of it.

    Raises:
        ReadError: the bytes are not such a message.
        HostileFileError: a repeated field has far more elements than in any model.
    """
    start, stop = where or (0, len(buffer))
    declared: Any = cls
    schema = _schema(declared)
    result = cls()
    for number, wire, value, end in stored_fields(buffer, start, stop):
        known = schema.get(number)
        if known is not None:
            _add(result, *known, wire, (buffer, value, end))
    return result


def peek(buffer: Buffer, where: Span, number: int) -> str:
    """The text in one field of a message, without decoding the rest. Empty if it is absent."""
    for found, wire, value, end in stored_fields(buffer, *where):
        if found == number and wire == DELIMITED:
            return _text(buffer, value, end)
    return ""


def _add(
    result: object, name: str, described: _Field, wire: int, stored: tuple[Buffer, int, int]
) -> None:
    buffer, value, end = stored
    if wire != described.wire:
        if not (described.repeated and wire == DELIMITED):
            raise ReadError(f"{MALFORMED}: the field {name} before byte {end} has another type")
        getattr(result, name).extend(_packed(described, buffer, value, end))
        return
    if wire == DELIMITED:
        decoded = described.value(buffer, value, end)
    elif wire == VARINT:
        decoded = described.value(value)
    else:
        decoded = described.value(buffer[value:end])
    if described.entries:
        entry = getattr(result, name)
        entry[decoded.key] = decoded.value
    elif described.repeated:
        entry = getattr(result, name)
        entry.append(decoded)
    else:
        setattr(result, name, decoded)
        return
    if len(entry) > described.limit:
        raise HostileFileError(
            f"a list ({name}) has more than {described.limit:,} elements, more than in any model"
        )


def _packed(described: _Field, buffer: Buffer, start: int, stop: int) -> Iterator[Any]:
    """The numbers of a repeated field that are stored without keys between them."""
    if described.wire == VARINT:
        while start < stop:
            value, start = varint(buffer, start, stop)
            yield described.value(value)
        return
    size = 4 if described.wire == FIXED32 else 8
    if (stop - start) % size:
        raise ReadError(f"{MALFORMED}: a list of numbers ends inside a number at byte {stop}")
    for offset in range(start, stop, size):
        yield described.value(buffer[offset : offset + size])


def stored_fields(buffer: Buffer, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, wire type, value, and where it ends.

    The value is the number itself for a varint, and otherwise the position where it starts.

    Raises:
        ReadError: the bytes are not a message.
    """
    position = start
    while position < stop:
        key = buffer[position]
        position += 1
        if key > 127:
            key, position = varint(buffer, position - 1, stop)
        number, wire = key >> 3, key & 7
        if wire == DELIMITED:
            size, position = varint(buffer, position, stop)
            value, position = position, position + size
        elif wire == VARINT:
            value, position = varint(buffer, position, stop)
        elif wire in (FIXED32, FIXED64):
            value, position = position, position + (4 if wire == FIXED32 else 8)
        else:
            raise ReadError(f"{MALFORMED}: byte {position - 1} has the unknown wire type {wire}")
        if position > stop:
            raise ReadError(
                f"{MALFORMED}: field {number} at byte {value} is longer than its message"
            )
        yield number, wire, value, position


def varint(buffer: Buffer, position: int, stop: int) -> tuple[int, int]:
    """The unsigned number that is stored at a position, 7 bits per byte, and where it ends.

    Raises:
        ReadError: the number does not end before `stop`, or has more than 64 bits.
    """
    value = shift = 0
    while position < stop and shift < 70:
        byte = buffer[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, position
        shift += 7
    raise ReadError(f"{MALFORMED}: a number at byte {position} is truncated or too long")
