"""The attributes of nodes, in the terms of a frozen graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from kerasport.errors import ReadError, quoted
from kerasport.frontends.graphdef.frozen import Attribute, FunctionName, Scalar
from kerasport.frontends.graphdef.messages import AttrValue, ListValue
from kerasport.frontends.graphdef.tensors import element_type, shape_of, tensor
from kerasport.frontends.graphdef.wire import Buffer, Span, decode


@dataclass(frozen=True, eq=False)
class File:
    """A file that contains protobuf messages.

    Attributes:
        path: its path.
        buffer: its content.
    """

    path: Path
    buffer: Buffer = field(repr=False)

    def decode(self, cls: type[Any], where: Span | None = None) -> Any:
        """Decode a message in the file."""
        return decode(cls, self.buffer, where)

    def attributes(self, stored: Mapping[str, Span]) -> dict[str, Attribute]:
        """The attributes of a node without those that are internal to TensorFlow.

        Raises:
            ReadError: a value is not valid.
        """
        found = {}
        for name, where in stored.items():
            if not name.startswith("_"):
                value = self.attribute(where, name)
                if value is not None:
                    found[name] = value
        return found

    def attribute(self, where: Span | None, name: str) -> Attribute | None:
        """The value of an attribute, None if the file has none.

        Raises:
            ReadError: the value is not valid.
        """
        stored = decode(AttrValue, self.buffer, where) if where else AttrValue()
        if stored.placeholder:
            raise ReadError(
                f"the attribute {quoted(name)} depends on an argument of its function, which is "
                "not supported"
            )
        if stored.list is not None:
            return self._list(stored.list)
        for kind, convert in self._conversions.items():
            value = getattr(stored, kind)
            if value is not None:
                return convert(value)
        return None

    def _list(self, stored: ListValue) -> tuple[Scalar, ...]:
        values: list[Scalar] = []
        for kind, convert in self._conversions.items():
            values.extend(map(convert, getattr(stored, kind)))
        return tuple(values)

    @property
    def _conversions(self) -> Mapping[str, Callable[[Any], Scalar]]:
        """Field of `AttrValue` and `ListValue` → what converts its value."""
        return {
            "s": bytes,
            "i": int,
            "f": float,
            "b": bool,
            "type": element_type,
            "shape": shape_of,
            "tensor": lambda where: tensor(self.buffer, where, self.path),
            "func": lambda function: FunctionName(function.name),
        }


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """A file of protobuf messages, mapped into memory.

    Raises:
        ReadError: the file cannot be read, or is empty.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ReadError(f"the file {path.name} is empty")
        with mmap(file.fileno(), 0, access=ACCESS_READ) as buffer:
            yield File(path, buffer)
