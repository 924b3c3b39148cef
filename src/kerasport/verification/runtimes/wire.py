"""Arrays as JSON, for the exchange with Node."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import VerifyError
from kerasport.verification.runtime import Arrays
from kerasport.weights import Array

WireTensor: TypeAlias = Mapping[str, Any]
"""An array as JSON: dtype, shape, and base64 of its little-endian bytes, or a list of strings."""


DTYPES = {
    "float32": "<f4", "bool": "?", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2",
    "int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8",
}  # fmt: skip
"""Element type in JavaScript → dtype of its bytes in numpy. TF.js has float32, int32 and bool."""


def encode(array: Array, dtype: str = "") -> WireTensor:
    """An array as the worker takes it, in an element type; without one, in that of TF.js."""
    dtype = dtype or tfjs_dtype(array)
    if dtype == "string":
        return {
            "dtype": dtype,
            "shape": array.shape,
            "data": json.dumps(array.reshape(-1).tolist()),
        }
    with np.errstate(over="ignore"):
        values = array.astype(DTYPES[dtype])
    if dtype == "int32" and not np.array_equal(values, array):
        raise VerifyError(
            f"integers in TF.js have 32 bits; these range from {array.min()} to {array.max()}"
        )
    data = base64.b64encode(values.tobytes()).decode()
    return {"dtype": dtype, "shape": values.shape, "data": data}


def tfjs_dtype(array: Array) -> str:
    # by name: the kind of bfloat16 and float8 is "V"
    name = array.dtype.name
    if name == "bool":
        return "bool"
    if name.startswith(("int", "uint")):
        return "int32"
    if name.startswith(("float", "bfloat")):
        return "float32"
    if name.startswith("str") or name == "object":
        return "string"
    raise VerifyError(f"TF.js has no dtype {name}")


def decode_all(tensors: Iterable[WireTensor]) -> Arrays:
    return tuple(map(decode, tensors))


def decode(tensor: WireTensor) -> Array:
    if tensor["dtype"] == "string":
        texts: Array = np.array(json.loads(tensor["data"]), object).reshape(tensor["shape"])
        return texts
    data = base64.b64decode(tensor["data"])
    array: Array = np.frombuffer(data, DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return array


def decode_named(tensors: Mapping[str, Iterable[WireTensor]]) -> dict[str, Arrays]:
    """The arrays of each name."""
    return {name: decode_all(outputs) for name, outputs in tensors.items()}
