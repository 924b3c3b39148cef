"""Read plain arrays from an untrusted HDF5 file, and nothing outside the file.

HDF5 can point anywhere: links to other files, raw data in other files, virtual data sets, arrays
that claim terabytes. Keras writes none of these. Every step therefore requires a hard link, and
every array contiguous storage of exactly its size. kerasport then reads the bytes itself, from the
offset that HDF5 gives. A damaged file makes h5py raise almost any error in any call, so every call
is inside `_reading`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.keras.read.hdf5_strings import Texts
from kerasport.weights import WeightRef

if TYPE_CHECKING:
    from typing_extensions import Self

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_ATTRIBUTE = 32 * 1024 * 1024
MAX_ATTRIBUTES = 128 * 1024 * 1024  # bytes, of all attributes read from one file
OBJECT = 100  # bytes of memory that a short string takes
MAX_SIDE = 2**31
MAX_DEPTH = 200

DAMAGE = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""Errors that h5py raises for inconsistent data."""


class _Window(io.RawIOBase):
    """A range of bytes of a file, as a file object."""

    def __init__(self, path: Path, start: int, length: int) -> None:
        self._file = path.open("rb")
        self._start, self._length, self._at = start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._length)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        whole = memoryview(buffer)
        data = self.part(self._at, len(whole))
        # h5py ignores the returned length, so fill the rest with zeros
        whole[:] = data.ljust(len(whole), b"\0")
        self._at += len(data)
        return len(data)

    def part(self, begin: int, length: int) -> bytes:
        """Read up to `length` bytes from `begin`; fewer at the end of the window."""
        left = self._length - begin
        if left <= 0:
            return b""
        self._file.seek(self._start + begin)
        return self._file.read(max(0, min(length, left)))

    def close(self) -> None:
        self._file.close()
        super().close()


class Hdf5:
    """An open HDF5 file, possibly embedded in another file."""

    def __init__(self, path: Path, start: int = 0, length: int | None = None) -> None:
        self.path, self._start = path, start
        try:
            self._length = path.stat().st_size - start if length is None else length
            self._window = _Window(path, start, self._length)
        except OSError as error:
            raise ReadError(f"{path}: cannot be read ({error.strerror})") from None
        try:
            self._file = h5py.File(self._window, "r")
            self._user_block = int(self._file.userblock_size)
            sizes = self._file.id.get_create_plist().get_sizes()
        except DAMAGE as error:
            self._window.close()
            raise ReadError(
                f"{path}: the HDF5 data cannot be opened and may be truncated ({error})"
            ) from None
        if sizes != (8, 8):
            raise ReadError(
                f"{path}: this HDF5 file uses {sizes}-byte offsets and lengths; Keras writes "
                "8-byte ones"
            )
        self._groups: dict[str, Any] = {"": self._file}
        self._arrays: dict[str, WeightRef] = {}
        self._texts = Texts(
            lambda address, size: self._window.part(self._user_block + address, size)
        )
        self._read = 0  # bytes of the attributes read so far
        self._claimed = 0  # bytes of the arrays referenced so far

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. References to its arrays stay valid."""
        self._groups.clear()
        self._file.close()
        self._window.close()

    def group(self, path: str) -> Any | None:
        """The group at the path, or None if there is none."""
        if path.count("/") > MAX_DEPTH:
            raise HostileFileError(
                f"{self.path}: HDF5 groups are nested more than {MAX_DEPTH} levels deep at "
                f"{quoted(path)}"
            )
        if path not in self._groups:
            parent, _, name = path.rpartition("/")
            above = self.group(parent)
            below = None if above is None else self._child(above, name, path)
            self._groups[path] = below if isinstance(below, h5py.Group) else None
        return self._groups[path]

    def names(self, path: str = "") -> tuple[str, ...]:
        """Names of the members of the group at the path."""
        group = self.group(path)
        with self._reading(path):
            found = () if group is None else tuple(group)
            if not all(isinstance(name, str) for name in found):
                raise ValueError("a name is not valid UTF-8")
            return found

    def array(self, path: str) -> WeightRef | None:
        """A reference to the array at the path, or None if there is none.

        Raises:
            HostileFileError: it is not a plain array stored entirely in this file.
        """
        if path in self._arrays:
            return self._arrays[path]
        parent, _, name = path.rpartition("/")
        group = self.group(parent)
        data = None if group is None else self._child(group, name, path)
        if not isinstance(data, h5py.Dataset):
            return None
        with self._reading(path):
            found = self._arrays[path] = self._reference(data, path)
        return found

    def arrays(self, path: str) -> dict[str, WeightRef]:
        """The arrays directly in the group at the path, in numeric order of their names."""
        found = {name: self.array(f"{path}/{name}" if path else name) for name in self.names(path)}
        return {
            name: array
            for name, array in sorted(found.items(), key=lambda item: _numerically(item[0]))
            if array is not None
        }

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of the group at the path: str, tuple of str, numbers; None if absent."""
        group = self.group(path)
        with self._reading(path):
            return (
                None if group is None or name not in group.attrs else self._attribute(group, name)
            )

    def under(self, path: str) -> Iterator[str]:
        """Paths of all arrays below the group at the path."""
        pending, seen = [path], set[int]()
        while pending:
            path = pending.pop()
            group = self.group(path)
            if group is None:
                continue
            with self._reading(path):
                address = _address(group)
            if address in seen:
                raise HostileFileError(
                    f"{self.path}: the HDF5 data reaches the group {quoted(path)} twice, perhaps "
                    "through a cycle"
                )
            seen.add(address)
            for name in self.names(path):
                inner = f"{path}/{name}" if path else name
                if self.group(inner) is not None:
                    pending.append(inner)
                else:
                    yield inner

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise ReadError(
                f"{self.path}: the HDF5 data is damaged at {quoted(path)} ({error}); copy or "
                "download the file again"
            ) from None

    def _child(self, group: Any, name: str, path: str) -> Any | None:
        with self._reading(path):
            # a dangling link is not "in" its group, but is just as hostile
            if not name or not group.id.links.exists(name.encode()):
                return None
            if group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
                return group[name]
        raise HostileFileError(
            f"{self.path}: {quoted(path)} in the HDF5 data is a link; Keras writes no links, so "
            "the file is damaged or malicious"
        )

    def _attribute(self, holder: Any, name: str) -> Any:
        stored = holder.attrs.get_id(name)
        dtype, shape = stored.dtype, stored.shape or ()
        self._read += prod(shape) * max(dtype.itemsize, OBJECT)
        if self._read > MAX_ATTRIBUTES or prod(shape) * max(dtype.itemsize, OBJECT) > MAX_ATTRIBUTE:
            raise HostileFileError(
                f"{self.path}: the attribute {quoted(name)} is larger than any attribute that "
                "Keras writes"
            )
        if dtype.kind in "Sifub":
            return _text(holder.attrs[name])
        if h5py.check_string_dtype(dtype) is None:
            raise ReadError(
                f"{self.path}: the attribute {quoted(name)} has the HDF5 type {dtype}, which Keras "
                "never writes"
            )
        texts = self._texts.of(_address(holder), name, prod(shape))
        if texts is None:
            raise ReadError(
                f"{self.path}: the attribute {quoted(name)} is stored outside its object header, "
                "which Keras never does; rewrite the file with: h5repack --low=0 IN OUT"
            )
        self._read += sum(map(len, texts))
        return tuple(map(_text, texts)) if shape else _text(texts[0])

    def _reference(self, data: Any, path: str) -> WeightRef:
        dtype, shape = self._dtype(data, path), tuple(map(int, data.shape or ()))
        created = data.id.get_create_plist()
        if created.get_layout() == h5py.h5d.CHUNKED and not data.is_virtual:
            raise ReadError(
                f"{self.path}: {quoted(path)} is stored in chunks, which Keras never does; "
                "rewrite the file with: h5repack -l CONTI IN OUT"
            )
        nbytes = dtype.itemsize * prod(shape)
        offset = data.id.get_offset()
        plain = (
            not data.is_virtual
            and created.get_layout() == h5py.h5d.CONTIGUOUS
            and created.get_external_count() == 0
            and all(0 <= side < MAX_SIDE for side in shape)
            and data.id.get_storage_size() == nbytes
            and (offset is not None or nbytes == 0)
        )
        if not plain:
            raise HostileFileError(
                f"{self.path}: {quoted(path)} of shape {shape} is not stored as a plain array in "
                "this file; the file is damaged or malicious"
            )
        begin = int(offset or 0)  # includes the user block
        if begin + nbytes > self._length:
            raise ReadError(
                f"{self.path}: the file ends before the end of the array {quoted(path)}; the file "
                "is truncated"
            )
        self._claimed += nbytes
        if self._claimed > self._length:
            raise HostileFileError(
                f"{self.path}: the arrays need more bytes than the file has, so some of them "
                "overlap; the file is damaged or malicious"
            )
        return WeightRef(self.path, self._start + begin, dtype, shape)

    def _dtype(self, data: Any, path: str) -> np.dtype[Any]:
        kind = data.id.get_type().get_class()
        found: np.dtype[Any] = data.dtype
        if kind == h5py.h5t.OPAQUE and found.itemsize == 2:
            # Keras marks bfloat16 with an attribute. Whole-model HDF5 of Keras 3 has none, and no
            # other opaque dtype.
            if "dtype" not in data.attrs or self._attribute(data, "dtype") == "bfloat16":
                return _bfloat16()
        elif kind in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or found == np.bool_:
            return found
        raise ReadError(
            f"{self.path}: {quoted(path)} has the HDF5 type {found}, which Keras never writes for "
            "weights"
        )


def _address(holder: Any) -> int:
    """Address of the header of a group or an array.

    h5o.get_info also returns it, but counts the nodes of B-trees, and a hostile file can make these
    circular.
    """
    low, high = h5py.h5g.get_objinfo(holder.id).objno
    return int(low + (high << 32))


def _bfloat16() -> np.dtype[Any]:
    import ml_dtypes  # noqa: PLC0415  (few files use bfloat16, and the import takes time)

    return np.dtype(ml_dtypes.bfloat16)  # type: ignore[no-any-return]


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return tuple(map(_text, value.tolist())) if value.ndim else _text(value.item())
    return value


def _numerically(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdecimal() and len(name) < 10 else (1, 0, name)
