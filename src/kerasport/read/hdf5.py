"""HDF5 from an untrusted file: nothing but plain arrays inside the file itself can be reached.

HDF5 can point anywhere: links into other files, raw data in other files, virtual data sets, arrays
that claim terabytes. Keras writes none of that, so every step checks for a hard link, and every array
for contiguous storage of exactly its size. The bytes are then read by us, from the offset that HDF5 names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from kerasport.errors import HostileFileError, ReadError
from kerasport.model import WeightRef

if TYPE_CHECKING:
    from typing_extensions import Self

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_ATTRIBUTE = 256 * 1024 * 1024
MAX_SIDE = 2**31
MAX_DEPTH = 200


class _Window(io.RawIOBase):
    """Part of a file, as a file of its own."""

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
        view = memoryview(buffer)[: max(0, self._length - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view)
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class Hdf5:
    """An open HDF5 file, or one that lies inside another file."""

    def __init__(self, path: Path, start: int = 0, length: int | None = None) -> None:
        self.path, self._start = path, start
        self._length = path.stat().st_size - start if length is None else length
        self._window = _Window(path, start, self._length)
        try:
            self._file = h5py.File(self._window, "r")
        except (OSError, RuntimeError, ValueError) as error:
            self._window.close()
            raise ReadError(f"{path}: the HDF5 data cannot be opened, it may be truncated ({error})") from None
        self._user_block = int(self._file.userblock_size)
        self._groups: dict[str, Any] = {"": self._file}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; references to arrays stay good."""
        self._groups.clear()
        self._file.close()
        self._window.close()

    def group(self, path: str) -> Any | None:
        """The group at the path, None where there is none."""
        if path not in self._groups:
            parent, _, name = path.rpartition("/")
            above = self.group(parent)
            below = None if above is None else self._child(above, name, path)
            self._groups[path] = below if isinstance(below, h5py.Group) else None
        return self._groups[path]

    def names(self, path: str = "") -> tuple[str, ...]:
        """Names of what the group at the path holds."""
        group = self.group(path)
        return () if group is None else tuple(group)

    def array(self, path: str) -> WeightRef | None:
        """A reference to the array at the path, None where there is none.

        Raises:
            HostileFileError: it is not a plain array that lies whole in this file.
        """
        parent, _, name = path.rpartition("/")
        group = self.group(parent)
        data = None if group is None else self._child(group, name, path)
        return self._reference(data, path) if isinstance(data, h5py.Dataset) else None

    def arrays(self, path: str) -> dict[str, WeightRef]:
        """The arrays that lie directly in the group at the path, in file order of their numbers."""
        found = {name: self.array(f"{path}/{name}" if path else name) for name in self.names(path)}
        return {
            name: array
            for name, array in sorted(found.items(), key=lambda item: _numerically(item[0]))
            if array is not None
        }

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of the group at the path: text as str, lists of text as tuple; None where there is none."""
        group = self.group(path)
        if group is None or name not in group.attrs:
            return None
        stored = group.attrs.get_id(name)
        if prod(stored.shape) * stored.dtype.itemsize > MAX_ATTRIBUTE:
            raise HostileFileError(f"{self.path}: the attribute {name!r} is too large to be Keras's")
        return _text(group.attrs[name])

    def under(self, path: str) -> Iterator[str]:
        """Paths of all the arrays below the group at the path."""
        pending, seen = [(path, 0)], set[int]()
        while pending:
            at, depth = pending.pop()
            group = self.group(at)
            if group is None:
                continue
            address = int(h5py.h5o.get_info(group.id).addr)
            if address in seen or depth > MAX_DEPTH:
                raise HostileFileError(f"{self.path}: the groups of the HDF5 data form a cycle at {at!r}")
            seen.add(address)
            for name in group:
                inner = f"{at}/{name}" if at else name
                if self.group(inner) is not None:
                    pending.append((inner, depth + 1))
                else:
                    yield inner

    def _child(self, group: Any, name: str, path: str) -> Any | None:
        if not name or name not in group:
            # a link that leads nowhere is not "in" its group, and is hostile all the same
            if name and group.id.links.exists(name.encode()):
                raise self._hostile(path)
            return None
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise self._hostile(path)
        return group[name]

    def _hostile(self, path: str) -> HostileFileError:
        return HostileFileError(
            f"{self.path}: {path!r} in the HDF5 data is a link to another place; Keras writes none, "
            "so the file is damaged or hostile"
        )

    def _reference(self, data: Any, path: str) -> WeightRef:
        dtype, shape = _dtype(data, f"{self.path}: {path!r}"), tuple(map(int, data.shape or ()))
        created = data.id.get_create_plist()
        if created.get_layout() == h5py.h5d.CHUNKED and not data.is_virtual:
            raise ReadError(
                f"{self.path}: {path!r} is stored in chunks, which Keras never does; "
                "rewrite the file with: h5repack -l CONTI IN OUT"
            )
        nbytes = dtype.itemsize
        for side in shape:
            nbytes *= side
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
                f"{self.path}: {path!r} of shape {shape} does not lie in the file as a plain array; "
                "the file is damaged or hostile"
            )
        begin = 0 if offset is None else int(offset) + self._user_block
        if begin + nbytes > self._length:
            raise ReadError(f"{self.path}: ends before the array {path!r}; the file is truncated")
        return WeightRef(self.path, self._start + begin, dtype, shape)


def _dtype(data: Any, where: str) -> np.dtype[Any]:
    kind = data.id.get_type().get_class()
    if kind == h5py.h5t.OPAQUE and data.dtype.itemsize == 2:
        # Keras marks bfloat16 by an attribute; whole-model HDF5 of Keras 3 has none, and no other type it could be
        if _text(data.attrs.get("dtype", "bfloat16")) == "bfloat16":
            return _bfloat16()
    elif kind in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or data.dtype == np.bool_:
        found: np.dtype[Any] = data.dtype
        return found
    raise ReadError(f"{where}: an array of HDF5 type {data.dtype} is not one that Keras writes for weights")


def _bfloat16() -> np.dtype[Any]:
    import ml_dtypes  # noqa: PLC0415  (most files hold none, and the import takes time)

    return np.dtype(ml_dtypes.bfloat16)  # type: ignore[no-any-return]


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return tuple(map(_text, value.tolist())) if value.ndim else _text(value.item())
    return value


def _numerically(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdecimal() and len(name) < 10 else (1, 0, name)
