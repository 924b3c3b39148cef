"""Layers that a layers-model lacks, with a reason a row."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.identity import IDENTITY
from kerasport.layers import LAYERS
from kerasport.layers.base import Refused

__all__ = ["IDENTITY", "REFUSED", "why_refused"]

_ABSENT = "TF.js has no such layer"
_BY_GRAPH = "--to tfjs-graph computes it"
_IMITATED = f"{_ABSENT}, and it would need many to imitate one; {_BY_GRAPH}"
_STRINGS = "strings cannot enter a layers-model"

# Class → why a layers-model cannot hold it, for what is not simply absent.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"), _IMITATED),
    "UnitNormalization": f"{_ABSENT}, and none that is the same for vectors of almost no length; {_BY_GRAPH}",
    **dict.fromkeys(("Discretization", "IntegerLookup"), f"TF.js has no layer that compares; {_BY_GRAPH}"),
    "MaxPooling3D": "TF.js's wasm backend computes it wrongly for negative inputs",
    "Conv3DTranspose": "TF.js's wasm backend computes it wrongly",
    "Resizing": "TF.js's Resizing throws on batches, and samples at other points",
    "CenterCrop": "TF.js's CenterCrop rejects its own input at predict",
    "StringLookup": f"{_STRINGS}; {_BY_GRAPH}",
}


def why_refused(class_name: str) -> str:
    """Why a layers-model cannot hold a layer of that class."""
    cls = LAYERS.get(class_name)
    if cls is not None and issubclass(cls, Refused):
        return f"{cls.reason}; {cls.remedy}"
    return REFUSED.get(class_name, _ABSENT)
