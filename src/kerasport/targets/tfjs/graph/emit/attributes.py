"""Attributes of nodes of a graph-model, as JSON of TensorFlow's protobuf message `AttrValue`."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from kerasport.errors import Refusal
from kerasport.weights import Weight

Json: TypeAlias = Any

TYPES: Mapping[str, str] = {
    "float32": "DT_FLOAT",
    "int32": "DT_INT32",
    "bool": "DT_BOOL",
    "string": "DT_STRING",
}
"""Element type of the IR → that of TensorFlow."""


def integer(value: int) -> Json:
    """An integer. JSON of protobuf writes int64 as a string."""
    return {"i": str(value)}


def integers(values: Sequence[int]) -> Json:
    """A list of integers."""
    return {"list": {"i": [str(value) for value in values]}}


def real(value: float) -> Json:
    """A float.

    Raises:
        Refusal: it is infinite or not a number.
    """
    if not math.isfinite(value):
        raise Refusal("", f"JSON, from which TF.js reads this argument, cannot represent {value}")
    return {"f": float(value)}


def boolean(value: bool) -> Json:
    """A boolean."""
    return {"b": value}


def text(value: str) -> Json:
    """A string, which TF.js expects in base64."""
    return {"s": base64.b64encode(value.encode()).decode()}


def texts(values: Sequence[str]) -> Json:
    """A list of strings."""
    return {"list": {"s": [base64.b64encode(value.encode()).decode() for value in values]}}


def dtype(value: str) -> Json:
    """An element type of the IR."""
    return {"type": TYPES[value]}


def shape(value: Sequence[int | None]) -> Json:
    """A shape; -1 represents a size known only at run time."""
    return {"shape": sizes(value)}


def sizes(value: Sequence[int | None]) -> Json:
    """The message `TensorShapeProto`."""
    return {"dim": [{"size": str(-1 if size is None else size)} for size in value]}


def const(name: str, kind: str, value: Weight) -> Json:
    """A `Const` node, whose value is the weight with its name.

    TF.js needs only the name. Netron rejects a model without the tensor, and takes the shape from
    it.
    """
    tensor = {"dtype": TYPES[kind], "tensorShape": sizes(value.shape)}
    return {
        "name": name,
        "op": "Const",
        "attr": {"dtype": dtype(kind), "value": {"tensor": tensor}},
    }
