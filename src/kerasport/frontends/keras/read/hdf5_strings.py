"""Read variable-length strings in HDF5 attributes without libhdf5.

Such a string is a reference into a heap. libhdf5 allocates the size that a reference claims before
it checks it, copies a string once per reference, and loops forever on a damaged heap. So this
module parses the few structures between an object and its strings, and checks each size (HDF5 File
Format Specification, III.E and IV).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

MAX_TEXT = 32 * 1024 * 1024  # bytes of all strings of an attribute, and of a heap
MAX_CHUNKS = 1000  # of an object header
CONTINUATION, ATTRIBUTE = 0x10, 0x0C  # types of messages in an object header


class Texts:
    """The strings of one file; `read(address, size)` returns bytes, fewer at the file's end."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._heaps: dict[int, Mapping[int, tuple[int, int]]] = {}

    def of(self, header: int, name: str, count: int) -> list[bytes] | None:
        """The strings of an attribute; None if the object header does not contain the attribute.

        Args:
            header: address of the object header.
            name: of the attribute.
            count: of strings in it.

        Raises:
            ValueError, LookupError, struct.error: the structures are damaged.
        """
        messages = (body for kind, body in self._messages(header) if kind == ATTRIBUTE)
        attributes = (_data(body, name.encode()) for body in messages)
        data = next((data for data in attributes if data is not None), None)
        if data is None:
            return None
        references = [struct.unpack_from("<IQI", data, 16 * index) for index in range(count)]
        if sum(length for length, _, _ in references) > MAX_TEXT:
            raise ValueError("the strings are longer than any that Keras writes")
        return [self._text(*reference) for reference in references]

    def _text(self, length: int, heap: int, index: int) -> bytes:
        if not length:
            return b""
        if heap not in self._heaps:
            self._heaps[heap] = dict(self._objects(heap))
        begin, size = self._heaps[heap][index]
        if length > size:
            raise ValueError(f"a string of {length} bytes is in an object of {size} bytes")
        return self._read(begin, length)

    def _objects(self, heap: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Index, address and size of each object in a heap."""
        signature, size = struct.unpack("<4s4xQ", self._read(heap, 16))
        if signature != b"GCOL" or size > MAX_TEXT:
            raise ValueError(f"a heap {signature!r} has {size} bytes")
        data, offset = self._read(heap, size), 16
        while offset + 16 <= len(data):
            index, length = struct.unpack_from("<H6xQ", data, offset)
            if not index:  # free space is at the end
                return
            yield index, (heap + offset + 16, length)
            offset += 16 + length + -length % 8

    def _messages(self, header: int) -> Iterator[tuple[int, bytes]]:
        """Type and body of each message in an object header of version 1 or 2."""
        head = self._read(header, 64)
        second = head.startswith(b"OHDR")
        if second:
            flags = head[5]
            offset, width = (
                6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0),
                1 << (flags & 3),
            )
            chunks = [
                (header + offset + width, int.from_bytes(head[offset : offset + width], "little"))
            ]
            prefix = struct.Struct("<BHxH" if flags & 4 else "<BHx")
        else:
            chunks = [(header + 16, int.from_bytes(head[8:12], "little"))]
            prefix = struct.Struct("<HH4x")
        for begin, size in chunks:
            data, offset = self._read(begin, min(size, MAX_TEXT)), 0
            while offset + prefix.size <= len(data):
                kind, length = prefix.unpack_from(data, offset)[:2]
                body = data[offset + prefix.size : offset + prefix.size + length]
                offset += prefix.size + length
                if kind == CONTINUATION and len(chunks) < MAX_CHUNKS:
                    address, extent = struct.unpack_from("<QQ", body)
                    # chunks of version 2 begin with a signature and end with a checksum
                    chunks.append((address + 4, extent - 8) if second else (address, extent))
                yield kind, body


def _data(message: bytes, name: bytes) -> bytes | None:
    """The data in an attribute message; None if it is another attribute."""
    version, *sizes = struct.unpack_from("<BxHHH", message)
    offset = 9 if version == 3 else 8
    if message[offset : offset + sizes[0]].partition(b"\0")[0] != name:
        return None
    return message[offset + sum(size + -size % 8 if version == 1 else size for size in sizes) :]
