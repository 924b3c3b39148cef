"""Reads the variables of a checkpoint, which TensorFlow calls a tensor bundle, by reference.

A bundle is an index, `variables.index`, and shards with the bytes of the tensors,
`variables.data-00000-of-00001`. The index is a sorted table of LevelDB: blocks of keys and values,
a block that lists the blocks, and a footer that locates it. Each key shares a prefix with the key
before it. The value of the empty key is a `BundleHeader`, the others are `BundleEntry`s.

Formats: tensorflow/core/util/tensor_bundle, tensorflow/core/lib/io/format.h and
https://github.com/google/leveldb/blob/main/doc/table_format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.graphdef.messages import (
    MAX_STRINGS,
    BundleEntry,
    BundleHeader,
    TensorSliceProto,
)
from kerasport.frontends.graphdef.places import located
from kerasport.frontends.graphdef.snappy import decompressed
from kerasport.frontends.graphdef.tensors import fixed_shape, storage, varints
from kerasport.frontends.graphdef.wire import decode, varint
from kerasport.frontends.paths import inside
from kerasport.weights import Array, ComputedWeight, Weight, WeightRef

MAGIC = 0xDB4775248B80FB57
FOOTER = 48  # bytes
TRAILER = 5  # bytes after a block: the kind of its compression, and a checksum
UNCOMPRESSED, SNAPPY = 0, 1
BIG_ENDIAN = 1

MAX_INDEX = 64 * 2**20  # bytes; 10,000 variables take 1 MB
MAX_KEYS = 64 * 2**20  # bytes of all keys with their prefixes
MAX_ENTRIES = 500_000
MAX_STRING_BYTES = 64 * 2**20  # of a string tensor
MAX_SHARDS = 100_000

Slice = tuple[tuple[int, int | None], ...]
"""The part of a tensor: start and length along each axis. The length of a whole axis is None."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The tensors of a checkpoint.

    Attributes:
        prefix: path of the files without the suffix `.index`.
        header: properties of the whole bundle.
        stored: message of each tensor by its key.
    """

    prefix: Path
    header: BundleHeader
    stored: Mapping[bytes, bytes] = field(repr=False)

    def __contains__(self, key: str) -> bool:
        return key.encode() in self.stored

    def weight(self, key: str, part: Slice | None = None) -> Weight | Array:
        """A tensor or a part of it, which is not read yet unless it contains strings.

        Raises:
            ReadError: the bundle has no such tensor, or the shard does not contain it.
        """
        with located(f"variable {quoted(key)}"):
            entry = self._entry(key.encode())
            if entry.slices:
                return self._sliced(key, entry, part)
            weight = self._stored(entry)
            return weight if part is None else _part(weight, part)

    def _entry(self, key: bytes) -> BundleEntry:
        if key not in self.stored:
            raise ReadError(f"the checkpoint {self.prefix.name} does not contain it")
        entry: BundleEntry = decode(BundleEntry, self.stored[key])
        return entry

    def _stored(self, entry: BundleEntry) -> Weight | Array:
        """A tensor that is in one piece."""
        found, shape = storage(entry.dtype), fixed_shape(entry.shape)
        path = inside(self.prefix.parent, self._shard(entry.shard_id))
        if entry.offset < 0 or entry.size < 0:
            raise ReadError("it has a negative offset or size")
        if not path.is_file():
            raise ReadError(f"the file {path.name} with its values is missing")
        if entry.offset + entry.size > path.stat().st_size:
            raise ReadError(f"the file {path.name} is too short: it does not contain all values")
        if found.name == "string":
            return _strings(path, entry, shape)
        if found.dtype is None:
            raise ReadError(f"the element type {found.name} is not supported")
        if prod(shape) * found.dtype.itemsize != entry.size:
            raise ReadError(
                f"its shape {shape} and element type {found.name} do not match its {entry.size} "
                "bytes"
            )
        return WeightRef(path, entry.offset, found.dtype, shape)

    def _shard(self, number: int) -> Path:
        count = max(1, self.header.num_shards)
        if not 0 <= number < count <= MAX_SHARDS:
            raise ReadError(f"it is in shard {number} of {count}")
        return self.prefix.with_name(f"{self.prefix.name}.data-{number:05d}-of-{count:05d}")

    # -------------------------------------------------------------------------- partitioned tensors

    def _sliced(self, key: str, entry: BundleEntry, part: Slice | None) -> Weight | Array:
        """A tensor that TensorFlow 1 stored in several parts."""
        shape, dtype = fixed_shape(entry.shape), storage(entry.dtype).dtype
        if dtype is None:
            raise ReadError("only numbers can be stored in parts")
        pieces = []
        for stored in entry.slices:
            place = _slice(stored, shape)
            weight = self._stored(self._entry(slice_key(key, place)))
            bounds = _bounds(place, shape)
            if weight.shape != tuple(stop - start for start, stop in bounds):
                raise ReadError("one of its parts has another shape")
            if part is not None and _bounds(part, shape) == bounds:
                return weight
            pieces.append((tuple(slice(start, stop) for start, stop in bounds), weight))
        if sum(piece.size for _, piece in pieces) != prod(shape):
            raise ReadError("its parts do not cover it")

        def joined() -> Array:
            whole = np.empty(shape, dtype)
            for place, piece in pieces:
                whole[place] = piece if isinstance(piece, np.ndarray) else piece.read()
            return whole

        weight = ComputedWeight(dtype, shape, joined)
        return weight if part is None else _part(weight, part)


def _part(weight: Weight | Array, part: Slice) -> Weight | Array:
    """A part of a tensor."""
    bounds = _bounds(part, weight.shape)
    if bounds == tuple((0, size) for size in weight.shape):
        return weight
    place = tuple(slice(start, stop) for start, stop in bounds)
    if isinstance(weight, np.ndarray):
        return weight[place]
    shape = tuple(stop - start for start, stop in bounds)
    return ComputedWeight(weight.dtype, shape, lambda: weight.read()[place])


def _slice(stored: TensorSliceProto, shape: tuple[int, ...]) -> Slice:
    if len(stored.extent) != len(shape):
        raise ReadError("one of its parts has another number of axes")
    return tuple((extent.start, extent.length) for extent in stored.extent)


def _bounds(part: Slice, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Start and end of a part along each axis.

    Raises:
        ReadError: it is not a part of a tensor of this shape.
    """
    if len(part) != len(shape):
        raise ReadError("a part of it has another number of axes")
    bounds = []
    for (start, length), size in zip(part, shape, strict=True):
        stop = size if length is None else start + length
        if not 0 <= start <= stop <= size:
            raise ReadError(f"a part of it is outside of its shape {shape}")
        bounds.append((start, stop))
    return tuple(bounds)


def parse_slice(spec: str) -> tuple[tuple[int, ...], Slice] | None:
    """The shape of a tensor and a part of it, from a text such as "10 4 0,5:-"; None for all.

    Raises:
        ReadError: the text is malformed.
    """
    if not spec:
        return None
    *sizes, part = spec.split(" ")
    try:
        shape = tuple(map(int, sizes))
        axes = [axis.split(",") for axis in part.split(":")] if part else []
        places = tuple(
            (0, None) if axis == ["-"] else (int(axis[0]), int(axis[1])) for axis in axes
        )
    except (ValueError, IndexError):
        raise ReadError(f"the part {quoted(spec)} of a variable is malformed") from None
    return shape, places


def slice_key(name: str, part: Slice) -> bytes:
    """The key of a part of a tensor, in TensorFlow's `OrderedCode`."""
    pieces = [_unsigned(0), _text(name), _unsigned(len(part))]
    for start, length in part:
        pieces += [_signed(start), _signed(-1 if length is None else length)]
    return b"".join(pieces)


def _unsigned(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(data)]) + data


def _text(value: str) -> bytes:
    return value.encode().replace(b"\x00", b"\x00\xff") + b"\x00\x01"


def _signed(value: int) -> bytes:
    """Bits of a number after a unary prefix: as many ones as it has further bytes.

    The first bit is inverted if the number is negative, which makes the order that of numbers.
    """
    bits = (~value if value < 0 else value).bit_length()
    count = bits // 7 + 1
    if count > 8:
        raise ReadError("a part of a variable starts beyond all limits")
    header = ((1 << count) - 1) << (7 * count)
    code = value ^ header if value >= 0 else (value & ((1 << 8 * count) - 1)) ^ header
    return (code & ((1 << 8 * count) - 1)).to_bytes(count, "big")


# ------------------------------------------------------------------------------------------ strings


def _strings(path: Path, entry: BundleEntry, shape: tuple[int, ...]) -> Array:
    """A string tensor: the length of each string, a checksum of 4 bytes, and the strings."""
    count = prod(shape)
    if entry.size > MAX_STRING_BYTES or count > min(entry.size, MAX_STRINGS):
        raise HostileFileError(f"it has {count} strings in {entry.size} bytes")
    with path.open("rb") as file:
        file.seek(entry.offset)
        data = file.read(entry.size)
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) < 128)
    if count > ends.size:
        raise ReadError("the lengths of its strings are truncated")
    position = int(ends[count - 1]) + 1 if count else 0
    lengths = varints(data[:position]).tolist()
    position += 4
    if position + sum(lengths) != len(data):
        raise ReadError("the lengths of its strings do not match its size")
    array = np.empty(count, object)
    for index, length in enumerate(lengths):
        array[index] = data[position : position + length]
        position += length
    return array.reshape(shape)


# -------------------------------------------------------------------------------------------- index


def open_bundle(prefix: Path) -> Bundle:
    """Read the index of a bundle.

    Args:
        prefix: path of the files without the suffix `.index`.

    Raises:
        ReadError: the index is missing or malformed.
        HostileFileError: it is far larger than that of any model.
    """
    path = prefix.with_name(f"{prefix.name}.index")
    with located(path.name):
        inside(prefix.parent, path)
        if path.stat().st_size > MAX_INDEX:
            raise HostileFileError("the index is larger than that of any model")
        stored = dict(_table(path.read_bytes()))
        header: BundleHeader = decode(BundleHeader, stored.pop(b"", b""))
        if header.endianness == BIG_ENDIAN:
            raise ReadError(
                "the checkpoint was written on a big-endian machine, which is not supported"
            )
    return Bundle(prefix, header, stored)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table, in order."""
    if len(data) < FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ReadError("this is not the index of a checkpoint")
    footer = data[-FOOTER:-8]
    # the footer locates a block of metadata, which is not used, and the index of the blocks
    position = 0
    for _ in range(2):
        _, position = varint(footer, position, len(footer))
    last, total, count = None, 0, 0
    for _, handle in _block(data, footer[position:]):
        for key, value in _block(data, handle):
            if last is not None and key <= last:
                raise ReadError("the keys of the index are not in order")
            last, total, count = key, total + len(key), count + 1
            if total > MAX_KEYS or count > MAX_ENTRIES:
                raise HostileFileError("the index has far more keys than that of any model")
            yield key, value


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block: shared prefix, rest of the key, value."""
    offset, position = varint(handle, 0, len(handle))
    size, _ = varint(handle, position, len(handle))
    if offset + size + TRAILER > len(data) - FOOTER:
        raise ReadError("a block of the index is outside of the file")
    block, kind = data[offset : offset + size], data[offset + size]
    if kind == SNAPPY:
        block = decompressed(block)
    elif kind != UNCOMPRESSED:
        raise ReadError(f"a block of the index has the unknown compression {kind}")
    restarts = struct.unpack("<I", block[-4:])[0] if len(block) >= 4 else len(block)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ReadError("a block of the index is truncated")
    key, position = b"", 0
    while position < end:
        shared, position = varint(block, position, end)
        own, position = varint(block, position, end)
        length, position = varint(block, position, end)
        if shared > len(key) or position + own + length > end:
            raise ReadError("a key or value of the index is outside of its block")
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length
