"""Lookup tables in TF.js."""

from __future__ import annotations

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.targets.tfjs.graph.emit.attributes import const, dtype
from kerasport.targets.tfjs.graph.emit.emitter import Emitter


def emit_lookup(e: Emitter, node: ops.Lookup) -> str:
    """`HashTableV2` and `LookupTableFindV2`; the result is reshaped, since TF.js returns it flat.

    TF.js identifies a table by the name of its node. The model's initializer, a separate graph,
    fills it.
    """
    if e.is_body:
        raise Refusal("", "TF.js does not support lookup tables inside a loop")
    e.shared.waits = "contains a lookup table"
    kinds = {"key_dtype": dtype(node.x.dtype), "value_dtype": dtype(node.dtype)}
    table = e.add("HashTableV2", [], **kinds)
    keys, values = e.weight(f"{table}/keys", node.keys), e.weight(f"{table}/values", node.values)
    e.shared.tables += [
        {"name": table, "op": "HashTableV2", "attr": kinds},
        const(keys, node.x.dtype, e.weights[keys]),
        const(values, node.dtype, e.weights[values]),
        {
            "name": f"{table}/import",
            "op": "LookupTableImportV2",
            "input": [table, keys, values],
            "attr": {},
        },
    ]
    default = e.weight(f"{table}/default", node.default)
    e.nodes.append(const(default, node.dtype, e.weights[default]))
    found = e.add("LookupTableFindV2", [table, node.x, default])
    if node.x.rank == 1:
        return found
    sizes = [-1 if size is None else size for size in node.shape]
    if sizes.count(-1) < 2:
        return e.add("Reshape", [found, e.ints(sizes)])
    return e.add("Reshape", [found, e.add("Shape", [node.x], out_type=dtype("int32"))])
