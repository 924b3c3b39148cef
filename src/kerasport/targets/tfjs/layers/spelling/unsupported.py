"""Layers that a layers-model does not support, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.frontends.keras.identity import IDENTITY
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import Refused

__all__ = ["IDENTITY", "UNSUPPORTED", "why_unsupported"]

_ABSENT = "TF.js does not have this layer"
_BY_GRAPH = "use --to tfjs-graph, which supports it"
_IMITATED = f"{_ABSENT}, and several TF.js layers would be needed to replace it; {_BY_GRAPH}"
_STRINGS = "a layers-model cannot have strings as input"

UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(
        ("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"), _IMITATED
    ),
    "UnitNormalization": (
        f"{_ABSENT}, and no other TF.js layer computes the same for vectors of almost zero length; "
        f"{_BY_GRAPH}"
    ),
    **dict.fromkeys(
        ("Discretization", "IntegerLookup"), f"TF.js has no layer that compares values; {_BY_GRAPH}"
    ),
    "MaxPooling3D": "the wasm backend of TF.js computes it incorrectly for negative inputs",
    "Conv3DTranspose": "the wasm backend of TF.js computes it incorrectly",
    "Resizing": (
        "the Resizing layer of TF.js throws on batches, and samples at other pixel positions"
    ),
    "CenterCrop": "the CenterCrop layer of TF.js rejects its own input in predict()",
    "StringLookup": f"{_STRINGS}; {_BY_GRAPH}",
}
"""Class → why a layers-model does not support it, for layers that TF.js does not simply lack."""


def why_unsupported(class_name: str) -> str:
    """Why a layers-model does not support layers of a class."""
    cls = LAYERS.get(class_name)
    if cls is not None and issubclass(cls, Refused):
        return f"{cls.reason}; {cls.remedy}"
    return UNSUPPORTED.get(class_name, _ABSENT)
