"""The names of activations in TF.js and in the companion, and those that neither supports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACTIVATIONS: Mapping[str, str] = {
    "linear": "linear",
    "relu": "relu",
    "relu6": "relu6",
    "elu": "elu",
    "selu": "selu",
    "sigmoid": "sigmoid",
    # TF.js has clip(x/5 + 1/2, 0, 1) of Keras 2
    "hard_sigmoid_keras2": "hard_sigmoid",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "silu": "swish",
    "mish": "mish",
    # both are x · (1 + erf(x/√2)) / 2; the tanh approximation is another function
    "gelu": "gelu",
    # equal for alpha=1, which the name implies
    "celu": "elu",
}
"""Name in Keras → name in TF.js, which converts it to camelCase before the lookup."""

GELU_TANH = "gelu(approximate=True)"
"""Our name for gelu with the tanh approximation, which has no name in Keras."""

COMPANION: Mapping[str, str] = {
    **{
        name: f"kerasport_{name}"
        for name in (
            "exponential", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
            "log_sigmoid", "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax",
            "squareplus", "tanh_shrink",
        )
    },
    GELU_TANH: "kerasport_gelu_tanh",
}  # fmt: skip
"""Name in Keras → class of `web/kerasport-layers.js`, which TF.js converts to camelCase."""

_ABSENT = "TF.js does not have this activation"

UNSUPPORTED_ACTIVATIONS: Mapping[str, str] = {
    "hard_sigmoid": (
        "TF.js computes clip(0.2·x + 0.5, 0, 1), but Keras 3 computes clip(x/6 + 0.5, 0, 1)"
    ),
    **dict.fromkeys(
        ("leaky_relu", "hard_silu", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink",
         "threshold", "log_sigmoid", "sparse_sigmoid", "sparse_plus", "glu", "exponential",
         "squareplus", "sparsemax"),
        _ABSENT,
    ),
    GELU_TANH: (
        "the gelu of TF.js is the exact one, and its loader cannot find the tanh approximation"
    ),
}  # fmt: skip


def why_unsupported(activation: Any) -> str:
    """Why TF.js itself does not support an activation; empty if it does."""
    if isinstance(activation, Mapping):
        kind = activation.get("class_name", "function")
        return f"the activation is a {kind} object, but TF.js supports only names"
    if activation in ACTIVATIONS:
        return ""
    return UNSUPPORTED_ACTIVATIONS.get(
        activation, "this is a custom activation, and the file does not contain its code"
    )
