"""Hash tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.graphdef.frozen import Table
from kerasport.frontends.graphdef.ops.call import Call, Lowered, Rows
from kerasport.ir import ops
from kerasport.ir.tensor import Tensor, constant


def table(call: Call) -> Lowered:
    """The content of a table."""
    # they identify the table at run time
    for name in ("container", "shared_name", "use_node_name_sharing"):
        call.attribute(name)
    for name in ("key_dtype", "value_dtype"):
        call.attribute(name)
    return call.scope.table(call.node.name)


def content(call: Call) -> Table:
    """The table that the first operand is.

    Raises:
        Refusal: it is something else.
    """
    found = call.operands[0]
    if not isinstance(found, Table):
        raise Refusal("", "its first operand is not a hash table")
    return found


def find(call: Call) -> Tensor:
    """The value of each key, or a default value."""
    found, x, default = content(call), call.x(1), call.value(2, "default value")
    keys, values = _plain(found.keys), _plain(found.values)
    other = _plain(np.asarray(default).reshape(1))[0]
    dtype = call.x(2).dtype
    if x.dtype == "string" or dtype == "string":
        if x.dtype == dtype:
            raise Refusal("", "tables from strings to strings are not supported")
        if "string" not in (x.dtype, dtype) or not _integers(keys, values, other):
            raise Refusal("", f"tables from {x.dtype} to {dtype} are not supported")
        wanted = x if x.dtype == "string" else ops.cast(x, "int32")
        looked: Tensor = ops.Lookup(wanted, keys, values, other)
        return looked if dtype == "string" else ops.cast(looked, dtype)
    return _numbers(x, found, np.asarray(default))


def _plain(values: Any) -> tuple[Any, ...]:
    """Keys or values as Python values."""
    return tuple(map(_text, np.ravel(values).tolist()))


def _text(value: Any) -> Any:
    """Bytes as text, other values as they are."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _integers(*groups: Any) -> bool:
    """Whether all values are strings or integers of 32 bits."""
    limits = np.iinfo(np.int32)
    for group in groups:
        for value in group if isinstance(group, tuple) else (group,):
            if isinstance(value, str):
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                return False
            if not limits.min <= value <= limits.max:
                return False
    return True


def _numbers(x: Tensor, table: Table, default: Any) -> Tensor:
    """A table from numbers to numbers: the keys are compared with x."""
    if table.keys.ndim != 1 or table.values.ndim != 1:
        raise Refusal("", "tables whose values are arrays are not supported")
    keys = constant(table.keys, x.dtype)
    equal = ops.Equal(ops.expand_dims(x, -1), keys)
    place = ops.ArgMax(ops.cast(equal, "int32"), equal.rank - 1)
    dtype = table.values.dtype.name
    values = constant(table.values, dtype)
    found = ops.gather(values, place, 0)
    return ops.Select(ops.any_(equal, -1), found, constant(default, values.dtype))


def size(call: Call) -> Tensor:
    """The number of keys."""
    return constant(len(content(call).keys), "int64")


ROWS: Rows = {
    "HashTableV2": table, "LookupTableFindV2": find, "LookupTableSizeV2": size,
}  # fmt: skip
