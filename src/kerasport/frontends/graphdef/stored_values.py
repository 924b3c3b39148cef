"""The values of variables and tables, which the restore and init nodes of a SavedModel tell.

A node that restores a variable reads `AssignVariableOp(variable, RestoreV2(…)[i])`, where RestoreV2
has the keys of the checkpoint. No other part of a SavedModel connects variables with their keys:
names are not unique, and keys are paths of Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.graphdef.bundle import Bundle, Slice, parse_slice
from kerasport.frontends.graphdef.freeze import TABLES, VARIABLES
from kerasport.frontends.graphdef.frozen import GraphNode, Result, Table
from kerasport.frontends.graphdef.messages import MAX_STRINGS
from kerasport.frontends.graphdef.places import located
from kerasport.frontends.graphdef.tensors import text_values
from kerasport.ir.dtypes import NUMPY
from kerasport.weights import Array, ComputedWeight, Weight, WeightRef

ASSIGN = frozenset(("Assign", "AssignVariableOp"))
IMPORT = frozenset(
    ("LookupTableImport", "LookupTableImportV2", "InitializeTable", "InitializeTableV2")
)
FROM_FILE = frozenset(("InitializeTableFromTextFile", "InitializeTableFromTextFileV2"))
SAME = frozenset(("Identity", "StopGradient", "Snapshot"))

WHOLE_LINE, LINE_NUMBER = -2, -1
MAX_FILE = 64 * 2**20  # bytes of a vocabulary
MAX_DEPTH = 1000  # operations between a constant and its use


@dataclass(eq=False)
class StoredValues:
    """The values of the variables and tables of a graph.

    Attributes:
        assets: files that constants name.
        bundle: checkpoint of the variables.
        missing: why there is no checkpoint.
    """

    assets: Mapping[GraphNode, Path] = field(default_factory=dict)
    bundle: Bundle | None = None
    missing: str = "the directory has no checkpoint (variables/variables.index)"
    _assigned: dict[GraphNode, Result] = field(default_factory=dict)
    _tables: dict[GraphNode, GraphNode] = field(default_factory=dict)

    def restore(self, effects: Iterable[GraphNode]) -> None:
        """Note which tensor of the checkpoint each variable has."""
        self.initialize(effects)

    def initialize(self, effects: Iterable[GraphNode]) -> None:
        """Note which value each variable has, and which node fills each table."""
        for node in effects:
            if len(node.inputs) < 2:
                continue
            target = node.inputs[0].node
            if node.op in ASSIGN and target.op in VARIABLES:
                self._assigned.setdefault(target, node.inputs[1])
            elif node.op in IMPORT | FROM_FILE and target.op in TABLES:
                self._tables[target] = node

    def variable(self, node: GraphNode) -> Weight | Array:
        """The value of a variable.

        Raises:
            ReadError: the file does not contain it.
        """
        with located(f"variable {quoted(node.name)}"):
            if node not in self._assigned:
                raise ReadError(
                    self.missing if self.bundle is None else "the checkpoint has no value for it"
                )
            return self._value(self._assigned[node])

    def tables(self, nodes: Iterable[GraphNode]) -> dict[str, Table]:
        """The content of the tables among nodes, by their names.

        Raises:
            ReadError: the file does not contain it.
        """
        found = {}
        for node in nodes:
            if node.op in TABLES and node.name not in found:
                with located(f"table {quoted(node.name)}"):
                    found[node.name] = self._table(node)
        return found

    def _table(self, node: GraphNode) -> Table:
        filled = self._tables.get(node)
        if filled is None:
            # frozen nodes are copies
            same = [other for other in self._tables if other.name == node.name]
            filled = self._tables[same[0]] if same else None
        if filled is None:
            raise ReadError("the file has no content for it")
        if filled.op in FROM_FILE:
            return self._from_file(filled, node)
        keys, values = (_array(self._value(result)) for result in filled.inputs[1:3])
        if keys.ndim != 1 or values.shape != keys.shape:
            raise ReadError(f"it has keys of shape {keys.shape} and values of shape {values.shape}")
        return Table(keys, values)

    # ------------------------------------------------------------------------------------ constants

    def _value(self, result: Result) -> Weight | Array:
        """A tensor that only depends on the file."""
        result = self._source(result)
        node = result.node
        if node.op == "RestoreV2":
            return self._restored_tensor(node, result.index)
        if node.op in CONVERSIONS:
            return CONVERSIONS[node.op](self, node)
        value = node.attributes.get("value")
        if node.op != "Const" or not isinstance(value, np.ndarray | WeightRef | ComputedWeight):
            raise ReadError(f"its value is computed by the op {quoted(node.op)}")
        return value

    def _source(self, result: Result) -> Result:
        """The tensor that a tensor is the same as."""
        for _ in range(MAX_DEPTH):
            node = result.node
            if node.op in SAME and node.inputs:
                result = node.inputs[0]
            elif node.op == "ReadVariableOp" and node.inputs[0].node in self._assigned:
                result = self._assigned[node.inputs[0].node]
            else:
                return result
        raise HostileFileError("its value passes through too many operations")

    def _restored_tensor(self, node: GraphNode, index: int) -> Weight | Array:
        keys, parts = (list(text_values(_array(self._value(x)))) for x in node.inputs[1:3])
        if index >= len(keys) or len(parts) != len(keys):
            raise ReadError("the node that restores it has too few keys")
        if self.bundle is None:
            raise ReadError(self.missing)
        part: Slice | None = None
        parsed = parse_slice(parts[index].decode(errors="replace"))
        if parsed is not None:
            part = parsed[1]
        return self.bundle.weight(keys[index].decode(errors="replace"), part)

    def _cast(self, node: GraphNode) -> Array:
        values: Array = _array(self._value(node.inputs[0]))
        dtype: np.dtype[Any] = np.dtype(NUMPY[str(node.attributes["DstT"])])
        return values.astype(dtype)

    def _reshape(self, node: GraphNode) -> Array:
        values, shape = (_array(self._value(result)) for result in node.inputs[:2])
        sizes: list[int] = shape.astype(np.int64).tolist()
        return values.reshape(sizes)

    # ---------------------------------------------------------------------------------------- files

    def _from_file(self, filled: GraphNode, table: GraphNode) -> Table:
        """A table whose keys and values are columns of a text file."""
        named = self._source(filled.inputs[1]).node
        if named not in self.assets:
            raise ReadError("its content is in a file that does not belong to the model")
        path = self.assets[named]
        if path.stat().st_size > MAX_FILE:
            raise HostileFileError(f"the asset {path.name} is larger than any vocabulary")
        data = path.read_bytes()
        if data.count(b"\n") > MAX_STRINGS:
            raise HostileFileError(f"the asset {path.name} has more lines than any vocabulary")
        lines = data.split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        lines = lines[int(filled.attributes.get("offset", 0)) :]  # type: ignore[arg-type]
        delimiter = filled.attributes.get("delimiter", b"\t")
        assert isinstance(delimiter, bytes)
        columns = []
        for end, kind in (("key", "key_dtype"), ("value", "value_dtype")):
            index = int(filled.attributes[f"{end}_index"])  # type: ignore[arg-type]
            columns.append(_column(lines, index, delimiter, str(table.attributes[kind])))
        return Table(*columns)


def _column(lines: list[bytes], index: int, delimiter: bytes, dtype: str) -> Array:
    """A column of a text file, [lines]."""
    if index == LINE_NUMBER:
        return np.arange(len(lines), dtype=NUMPY[dtype])
    texts = lines
    if index != WHOLE_LINE:
        rows = [line.split(delimiter) for line in lines]
        if any(not 0 <= index < len(row) for row in rows):
            raise ReadError(f"the asset has no column {index} in every line")
        texts = [row[index] for row in rows]
    if dtype == "string":
        array = np.empty(len(texts), object)
        array[:] = texts
        return array
    try:
        return np.array([float(text) if "float" in dtype else int(text) for text in texts], dtype)
    except (ValueError, OverflowError):
        raise ReadError(f"column {index} of the asset contains other than numbers") from None


def _array(value: Weight | Array) -> Array:
    return value if isinstance(value, np.ndarray) else value.read()


CONVERSIONS = {"Cast": StoredValues._cast, "Reshape": StoredValues._reshape}  # noqa: SLF001
