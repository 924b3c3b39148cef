"""The weights of a layers-model that the official converter wrote: their names and locations.

The converter names weights in two ways. For a `.keras` file it uses the paths under which Keras
stores them. For HDF5 it uses the names of Keras variables in the order of the file: the layers of
the outer model sorted by name, the trainable weights of each first.

TF.js finds weights by name, so names decide here as well. If nested models have layers of the same
name, a name is ambiguous, and the order decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.keras.layers import declares_weights
from kerasport.frontends.keras.read import by_name
from kerasport.frontends.keras.read.by_path import ByPath
from kerasport.frontends.keras.read.describe import Described
from kerasport.releases import major
from kerasport.weights import PIECE, Array, ComputedWeight, Weight, WeightRef

# Dtype in the manifest → NumPy dtype. TF.js reads the first three; the others only as the stored
# dtype of a quantized weight.
DTYPES = {
    "float32": "<f4",
    "int32": "<i4",
    "bool": "|b1",
    "float16": "<f2",
    "uint8": "|u1",
    "uint16": "<u2",
}
# Further dtypes of graph-models.
GRAPH_DTYPES = {**DTYPES, "complex64": "<c8", "string": "|O"}
OF_TFJS = frozenset(("float32", "int32", "bool"))
MAX_RANK = 16
MAX_STRINGS = 100_000  # of one weight
MAX_DEPTH = 200  # parts of a name
STORED_PATH = re.compile(r"(.*/)?vars/\d+")

Piece = tuple[Path, int, int]
"""A file, with an offset and a number of bytes in it."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A weight of the manifest."""

    name: str
    weight: Weight
    described: Mapping[str, Any]  # its shape, dtype and quantization, as the manifest spells them

    @property
    def readable(self) -> bool:
        """Whether TF.js can read the weight as it is stored."""
        return self.described["dtype"] in OF_TFJS


@dataclass(frozen=True)
class Group:
    """Weights whose bytes are contiguous in separate files."""

    files: tuple[Path, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Manifest:
    """All weights of a model. It is also a `Tree` of arrays by their names."""

    path: Path  # of model.json
    groups: tuple[Group, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The weights in order."""
        return tuple(entry for group in self.groups for entry in group.entries)

    def find(self, root: Described, version: str) -> Mapping[Described, list[tuple[Weight, ...]]]:
        """Find the weights of every layer.

        Raises:
            ReadError: the names or the number of weights do not match the layers.
        """
        if self.by_path:
            return ByPath((self,), major(version) < 3).find(root)
        return _Named(self.entries).find(root, version) or self._in_order(root, version)

    @property
    def by_path(self) -> bool:
        """Whether the weights are named by paths in a `.keras` file."""
        entries = self.entries
        return bool(entries) and all(STORED_PATH.fullmatch(entry.name) for entry in entries)

    # ------------------------------------------------------------------------------------- in order

    def _in_order(
        self, root: Described, version: str
    ) -> Mapping[Described, list[tuple[Weight, ...]]]:
        found: dict[Described, dict[int, Weight]] = {}
        left = list(reversed(self.entries))
        slots_of_all = (by_name.slots_of(layer, version) for layer, _ in root.members)
        owners = frozenset(slot.layer.name for slots in slots_of_all for slot in slots)
        # h5py iterates over groups by their names in UTF-8
        for layer, _ in sorted(
            root.members, key=lambda member: member[0].name.encode(errors="replace").split(b"/")
        ):
            if layer.kind == "operation":
                continue
            slots = by_name.slots_of(layer, version)
            if layer.kind == "layer" and not declares_weights(layer.class_name):
                slots = _of_unknown(layer, left)
            taken = [left.pop() for _ in slots[: len(left)]]
            by_name.check(self.path, layer, slots, [entry.name for entry in taken], version)
            for slot, entry in zip(slots, taken, strict=True):
                self._check_owner(slot, entry, owners)
                found.setdefault(slot.layer, {})[slot.index] = entry.weight
        if left:
            raise ReadError(
                f"{self.path}: {len(left)} weight(s) do not belong to any layer, first "
                f"{quoted(left[-1].name)}"
            )
        return by_name.grouped(found)

    def _check_owner(self, slot: by_name.Slot, entry: Entry, owners: frozenset[str]) -> None:
        """Refuse a weight whose name belongs to another layer: the order is not the converter's."""
        *path, _ = entry.name.split("/")
        if path and slot.layer.name not in path and path[-1] in owners:
            raise ReadError(
                f"{self.path}: the weights are not in the order in which the converter writes "
                f"them: found {quoted(entry.name)}, expected a weight of {quoted(slot.layer.name)}"
            )

    # ---------------------------------------------------------------------- as a tree, for `ByPath`

    @cached_property
    def _tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for entry in self.entries:
            *groups, name = entry.name.split("/")
            if len(groups) > MAX_DEPTH:
                raise HostileFileError(
                    f"{self.path}: the name of a weight has {len(groups)} parts, too many for a "
                    "Keras model"
                )
            group_tree = tree
            for group in groups:
                group_tree = group_tree.setdefault(group, {})
                if not isinstance(group_tree, dict):
                    raise ReadError(
                        f"{self.path}: the name of the weight {quoted(entry.name)} begins with "
                        "the name of another weight"
                    )
            group_tree[name] = entry.weight
        return tree

    def group(self, path: str) -> dict[str, Any] | None:
        """The group at the path, or None if there is none."""
        entry: Any = self._tree
        for name in path.split("/") if path else ():
            entry = entry.get(name) if isinstance(entry, dict) else None
        return entry if isinstance(entry, dict) else None

    def arrays(self, path: str) -> dict[str, Weight]:
        """The weights directly in a group."""
        return {
            name: item
            for name, item in (self.group(path) or {}).items()
            if not isinstance(item, dict)
        }

    def names(self, path: str = "") -> tuple[str, ...]:
        """Names of the members of a group."""
        return tuple(self.group(path) or ())

    def attribute(self, path: str, name: str) -> Any:
        """None: the converter writes no attributes."""
        del path, name

    def under(self, path: str) -> Iterator[str]:
        """Paths of all weights below a group."""
        pending = [path]
        while pending:
            path = pending.pop()
            for name, item in (self.group(path) or {}).items():
                inner = f"{path}/{name}" if path else name
                if isinstance(item, dict):
                    pending.append(inner)
                else:
                    yield inner


@dataclass
class _Named:
    """Finds weights by their names, in any order."""

    entries: Sequence[Entry]
    # by each part of the path, together with the last part
    _by_name: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.entries:
            *path, last = entry.name.split("/")
            for part in dict.fromkeys(path):
                self._by_name.setdefault((part, by_name.plain(last)), []).append(entry)

    def find(
        self, root: Described, version: str
    ) -> Mapping[Described, list[tuple[Weight, ...]]] | None:
        """Find the weights of every layer; None if a name is ambiguous."""
        found: dict[Described, dict[int, Weight]] = {}
        outer = frozenset(layer.name for layer, _ in root.members)
        numbered = all(entry.name.rpartition("/")[2].isdecimal() for entry in self.entries)
        used: set[Entry] = set()
        for layer, _ in root.members:
            if layer.kind == "operation":
                continue
            for index, slot in enumerate(by_name.slots_of(layer, version)):
                # TF.js reads dense/0 as dense/kernel
                ends = {str(index)} if numbered else by_name.spellings(slot)
                candidates = [
                    entry
                    for entry in self._of(slot, ends)
                    if _owner(entry, outer) in (layer.name, None)
                ]
                if len(candidates) != 1 or candidates[0] in used:
                    return None
                used.add(candidates[0])
                found.setdefault(slot.layer, {})[slot.index] = candidates[0].weight
        return by_name.grouped(found) if len(used) == len(self.entries) else None

    def _of(self, slot: by_name.Slot, ends: Iterable[str]) -> list[Entry]:
        # in a Keras 2 config, the forward layer of a Bidirectional has another name
        layers = (slot.layer.name, f"forward_{slot.layer.name}")
        entries = dict.fromkeys(
            entry
            for end in ends
            for layer in layers
            for entry in self._by_name.get((layer, end.rpartition("/")[2]), ())
            if by_name.plain(f"/{entry.name}").endswith(f"/{end}")
        )
        return list(entries)


def _owner(entry: Entry, outer: frozenset[str]) -> str | None:
    """The layer of the outer model that the name of a weight contains."""
    return next((part for part in entry.name.split("/")[:-1] if part in outer), None)


def _of_unknown(layer: Described, left: Sequence[Entry]) -> list[by_name.Slot]:
    """Slots for the weights of an unknown layer; the names determine their number."""
    count = 0
    while count < len(left) and layer.name in left[-1 - count].name.split("/"):
        count += 1
    return [by_name.Slot(layer, index, "") for index in range(count)]


# ----------------------------------------------------------------------------------------- reading


def read_group(
    where: str, entries: Any, files: Sequence[Path], dtypes: Mapping[str, str] = DTYPES
) -> Group:
    """Read a group of the manifest whose shards are these files.

    Args:
        where: the file, for messages.
        entries: the weights of the group, as the manifest describes them.
        files: the shards.
        dtypes: the dtypes that weights may have, and their NumPy types.

    Raises:
        ReadError: it does not have TF.js's structure, or the sizes of the files do not match.
    """
    if not isinstance(entries, list):
        raise ReadError(f"{where}: a group in weightsManifest has no list of weights")
    layouts = [_layout(where, entry, dtypes) for entry in entries]
    sizes = [file.stat().st_size for file in files]
    wanted = sum(nbytes for _, _, nbytes in layouts)
    strings = any(dtype.kind == "O" for dtype, _, _ in layouts)
    if wanted > sum(sizes) or (wanted < sum(sizes) and not strings):
        raise ReadError(
            f"{where}: weightsManifest needs {wanted} bytes of weights, but the shards have "
            f"{sum(sizes)}; a shard is truncated or belongs to another model"
        )
    reader = _ShardReader(files, sizes)
    read = []
    for entry, (dtype, shape, nbytes) in zip(entries, layouts, strict=True):
        if dtype.kind == "O":
            weight = reader.strings(where, shape)
        else:
            weight = _stored(reader.take(nbytes), dtype, shape)
        quantization = entry.get("quantization")
        if quantization is not None:
            weight = _dequantized(where, entry["name"], weight, entry["dtype"], quantization)
        kept = {
            key: entry[key]
            for key in ("shape", "dtype", "quantization")
            if entry.get(key) is not None
        }
        read.append(Entry(entry["name"], weight, kept))
    if reader.left:
        raise ReadError(f"{where}: {reader.left} bytes of the shards belong to no weight")
    return Group(tuple(files), tuple(read))


def _layout(
    where: str, entry: Any, dtypes: Mapping[str, str]
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Dtype, shape and number of stored bytes of a weight. Strings have at least 4 bytes each."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ReadError(f"{where}: a weight in weightsManifest has no name")
    name, shape, quantization = entry["name"], entry.get("shape"), entry.get("quantization")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(map(_is_size, shape)):
        raise ReadError(
            f"{where}: the weight {quoted(name)} has the shape {quoted(shape)}, expected a list of "
            "sizes"
        )
    if quantization is not None and not isinstance(quantization, dict):
        raise ReadError(f"{where}: the quantization of the weight {quoted(name)} is not an object")
    stored = entry.get("dtype") if quantization is None else quantization.get("dtype")
    if not isinstance(stored, str) or stored not in dtypes or entry.get("dtype") not in dtypes:
        raise ReadError(
            f"{where}: the weight {quoted(name)} has the dtype {quoted(stored)}, which is not a "
            "numeric dtype"
        )
    dtype = np.dtype(dtypes[stored])
    itemsize = 4 if dtype.kind == "O" else dtype.itemsize
    return dtype, tuple(shape), math.prod(shape) * itemsize


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**31


@dataclass
class _ShardReader:
    """Splits consecutive files into weights. A file can end inside a weight."""

    files: Sequence[Path]
    sizes: Sequence[int]
    _file: int = 0
    _offset: int = 0

    @property
    def left(self) -> int:
        """Number of bytes that belong to no weight yet."""
        return sum(self.sizes[self._file :]) - self._offset

    def take(self, nbytes: int) -> list[Piece]:
        """The pieces of the next `nbytes` bytes."""
        pieces = []
        if nbytes > self.left:
            raise ReadError("the shards end inside a weight")
        while nbytes:
            count = min(nbytes, self.sizes[self._file] - self._offset)
            if count:
                pieces.append((self.files[self._file], self._offset, count))
            nbytes, self._offset = nbytes - count, self._offset + count
            if nbytes:
                self._file, self._offset = self._file + 1, 0
        return pieces

    def strings(self, where: str, shape: tuple[int, ...]) -> Weight:
        """The next strings, each after its length in 4 bytes (tfjs-core io_utils.ts)."""
        count = math.prod(shape)
        if count > MAX_STRINGS:
            raise HostileFileError(f"{where}: a weight has {count} strings")
        values = np.empty(count, object)
        for index in range(count):
            length = int.from_bytes(self._bytes(4), "little")
            values[index] = self._bytes(length)
        array = values.reshape(shape)
        return ComputedWeight(array.dtype, shape, lambda: array)

    def _bytes(self, nbytes: int) -> bytes:
        data = b""
        for path, offset, count in self.take(nbytes):
            with path.open("rb") as file:
                file.seek(offset)
                data += file.read(count)
        return data


@dataclass(frozen=True, eq=False)
class StreamedWeight(ComputedWeight):
    """A weight that is computed in pieces, so that only one piece is in memory at a time."""

    # number of bytes → flat pieces of about that size
    stream: Callable[[int], Iterator[Array]] = field(kw_only=True)

    def pieces(self, nbytes: int = PIECE) -> Iterator[Array]:
        """Yield the array, flat and in C order."""
        return self.stream(nbytes)


def _streamed(
    dtype: np.dtype[Any], shape: tuple[int, ...], stream: Callable[[int], Iterator[Array]]
) -> Weight:
    def compute() -> Array:
        return np.concatenate([np.empty(0, dtype), *stream(PIECE)]).reshape(shape)

    return StreamedWeight(dtype, shape, compute, stream=stream)


def _stored(pieces: Sequence[Piece], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Weight:
    if len(pieces) == 1:
        path, offset, _ = pieces[0]
        return WeightRef(path, offset, dtype, shape)
    return _streamed(dtype, shape, lambda nbytes: _joined(pieces, dtype, nbytes))


def _joined(pieces: Sequence[Piece], dtype: np.dtype[Any], nbytes: int) -> Iterator[Array]:
    """Read values from pieces of several files. A piece can end inside a value."""
    pending = b""
    for path, offset, count in pieces:
        left = count
        with path.open("rb") as file:
            file.seek(offset)
            while left:
                data = file.read(min(left, nbytes))
                if not data:
                    raise ReadError(
                        f"{path}: the file ends inside a weight; another program changed it during "
                        "the conversion"
                    )
                left -= len(data)
                pending += data
                whole = len(pending) // dtype.itemsize
                yield np.frombuffer(pending, dtype, whole)
                pending = pending[whole * dtype.itemsize :]


def _dequantized(
    where: str, name: str, stored: Weight, dtype: str, quantization: Mapping[str, Any]
) -> Weight:
    """Dequantize a weight like TF.js (tfjs-core io_utils.ts, decodeWeights)."""
    target = np.dtype(DTYPES[dtype])
    if quantization["dtype"] == "float16" and dtype == "float32":
        return _streamed(
            target,
            stored.shape,
            lambda nbytes: (piece.astype(target) for piece in stored.pieces(nbytes)),
        )
    if quantization["dtype"] not in ("uint8", "uint16") or dtype not in ("float32", "int32"):
        raise ReadError(
            f"{where}: the weight {quoted(name)} of {dtype} has a quantization that TF.js does not "
            "support"
        )
    scale, least = (_number(where, name, quantization.get(key)) for key in ("scale", "min"))

    def decoded(piece: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # JavaScript does not warn either
            values: Array = piece.astype(np.float64) * scale + least
            return (np.floor(values + 0.5) if dtype == "int32" else values).astype(target)

    return _streamed(target, stored.shape, lambda nbytes: map(decoded, stored.pieces(nbytes)))


def _number(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ReadError(
            f"{where}: the quantization of the weight {quoted(name)} has no scale or no min"
        )
    return float(value)
