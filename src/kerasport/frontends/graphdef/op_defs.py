"""The results of ops, and the default values of their attributes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from kerasport.errors import ReadError, quoted
from kerasport.frontends.graphdef.attributes import File
from kerasport.frontends.graphdef.frozen import Attribute, UnknownRank
from kerasport.frontends.graphdef.messages import OpDef
from kerasport.frontends.graphdef.wire import Span, peek

MAX_RESULTS = 10_000
"""Tensors of one result."""


@dataclass(frozen=True)
class OpResults:
    """The results and default attributes of an op.

    Attributes:
        results: name of each result, with the attribute that is its number of tensors or lists
            their types; empty if it is one tensor.
        defaults: default value of each attribute that has one.
    """

    results: tuple[tuple[str, str], ...]
    defaults: Mapping[str, Attribute] = field(default_factory=dict)

    def position(self, name: str, attributes: Mapping[str, Attribute]) -> int:
        """Position of the first tensor of a result among all tensors of the node.

        Raises:
            ReadError: the op has no such result.
        """
        position = 0
        for result, counted in self.results:
            if result == name:
                return position
            position += _count(counted, attributes)
        raise ReadError(f"the op has no result {quoted(name)}")

    def count(self, attributes: Mapping[str, Attribute]) -> int:
        """Number of tensors that a node with these attributes computes.

        Raises:
            ReadError: an attribute that has the number is missing.
        """
        return sum(_count(counted, attributes) for _, counted in self.results)


def _count(counted: str, attributes: Mapping[str, Attribute]) -> int:
    """Number of tensors of a result."""
    count = attributes.get(counted) if counted else 1
    if isinstance(count, tuple):
        count = len(count)
    if not isinstance(count, int) or not 0 <= count <= MAX_RESULTS:
        raise ReadError(f"the attribute {quoted(counted)} has no valid value")
    return count


ONE_RESULT = OpResults((("", ""),))


class OpDefs:
    """Ops by their names: those that a file describes, and those of TensorFlow."""

    def __init__(
        self,
        file: File | None = None,
        stored: list[Span] | None = None,
        unknown: OpResults | None = None,
    ) -> None:
        """Describe ops.

        Args:
            file: the file that describes ops.
            stored: spans of `OpDef`s in the file.
            unknown: what is assumed of ops that are not known.
        """
        self._unknown = unknown
        self._known: dict[str, OpResults] = {}
        self._stored: dict[str, Callable[[], OpResults]] = {}
        for where in stored or ():
            assert file is not None
            self._stored[peek(file.buffer, where, 1)] = _reader(file, where)

    def get(self, op: str) -> OpResults | None:
        """What is known of an op, None if nothing is."""
        if op in self._known:
            return self._known[op]
        if op in self._stored:
            found = self._stored[op]()
        elif op in _recorded():
            found = _recorded()[op]
        else:
            return self._unknown
        self._known[op] = found
        return found


def _reader(file: File, where: Span) -> Callable[[], OpResults]:
    return lambda: _of_message(file, where)


def _of_message(file: File, where: Span) -> OpResults:
    op: OpDef = file.decode(OpDef, where)
    defaults = {}
    for attr in op.attr:
        if attr.default_value is not None and attr.type != "func":
            value = file.attribute(attr.default_value, attr.name)
            # an empty list has no value
            defaults[attr.name] = () if value is None else value
    return OpResults(
        tuple((arg.name, arg.number_attr or arg.type_list_attr) for arg in op.output_arg), defaults
    )


@cache
def _recorded() -> Mapping[str, OpResults]:
    """The ops of TensorFlow, recorded by tools/record_op_defs.py."""
    table = json.loads(files(__package__).joinpath("op_defs.json").read_text(encoding="utf-8"))
    found = dict.fromkeys(table.pop("").split(), ONE_RESULT)
    for name, (results, defaults) in table.items():
        values = {attribute: _value(value) for attribute, value in defaults.items()}
        found[name] = OpResults(tuple((result, count) for result, count in results), values)
    return found


def _value(stored: Any) -> Any:
    """A recorded value as an attribute."""
    if isinstance(stored, list):
        return tuple(map(_value, stored))
    if not isinstance(stored, dict):
        return stored
    if "s" in stored:
        return stored["s"].encode()
    sizes = stored["shape"]
    if sizes is None:
        return UnknownRank()
    return tuple(None if size < 0 else size for size in sizes)
