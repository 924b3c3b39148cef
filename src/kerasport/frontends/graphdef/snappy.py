"""Decompresses blocks in the format of Snappy.

The format is described at https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

from kerasport.errors import HostileFileError, ReadError
from kerasport.frontends.graphdef.wire import varint

MAX_SIZE = 64 * 2**20  # bytes of a block when it is decompressed
LITERAL, COPY_1, COPY_2 = 0, 1, 2


def decompressed(data: bytes) -> bytes:
    """The content of a block.

    Raises:
        ReadError: the block is malformed.
        HostileFileError: its content is far larger than that of any checkpoint.
    """
    size, position = varint(data, 0, len(data))
    if size > MAX_SIZE:
        raise HostileFileError(f"a compressed block has {size:,} bytes of content")
    output = bytearray()
    try:
        while position < len(data):
            if data[position] & 3 == LITERAL:
                position = _literal(data, position, output)
            else:
                position = _copy(data, position, output)
            if len(output) > size:
                break
    except IndexError:
        raise ReadError("a compressed block is truncated") from None
    if len(output) != size:
        raise ReadError(f"a compressed block has {len(output)} bytes of content, expected {size}")
    return bytes(output)


def _literal(data: bytes, position: int, output: bytearray) -> int:
    """Append bytes of the block. Returns the position after them."""
    length, position = data[position] >> 2, position + 1
    if length >= 60:
        extra = length - 59
        length = int.from_bytes(data[position : position + extra], "little")
        position += extra
    stop = position + length + 1
    if stop > len(data):
        raise ReadError("a compressed block is truncated")
    output += data[position:stop]
    return stop


def _copy(data: bytes, position: int, output: bytearray) -> int:
    """Append bytes of the output again. Returns the position after the instruction."""
    tag, position = data[position], position + 1
    if tag & 3 == COPY_1:
        length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[position]
        position += 1
    else:
        extra = 2 if tag & 3 == COPY_2 else 4
        length, offset = (tag >> 2) + 1, int.from_bytes(data[position : position + extra], "little")
        position += extra
    if not 0 < offset <= len(output):
        raise ReadError("a compressed block refers to bytes before its start")
    start = len(output) - offset
    # the copy may overlap the bytes that it appends
    for index in range(start, start + length):
        output.append(output[index])
    return position
