"""Activations: what TF.js calls those that it computes as Keras does, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keras name → TF.js name. TF.js turns snake_case into camelCase before it looks a name up.
ACTIVATIONS: Mapping[str, str] = {
    "linear": "linear",
    "relu": "relu",
    "relu6": "relu6",
    "elu": "elu",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "hard_sigmoid_keras2": "hard_sigmoid",  # TF.js kept Keras 2's clip(x/5 + 1/2)
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "silu": "swish",
    "mish": "mish",
    "gelu": "gelu",  # both are x · (1 + erf(x/√2)) / 2; the tanh approximation is another function
    "celu": "elu",  # which it is for the alpha of 1 that a name stands for
}

GELU_TANH = "gelu(approximate=True)"
"""What gelu is called here with the approximation by tanh, for which Keras has no name."""

# Keras name → that of the companion's class (web/kerasport-layers.js), before TF.js turns it into camelCase.
COMPANION: Mapping[str, str] = {
    name: f"kerasport_{name}"
    for name in ("exponential", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "log_sigmoid",
                 "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink")
} | {GELU_TANH: "kerasport_gelu_tanh"}  # fmt: skip

_ABSENT = "TF.js does not have this activation"

UNSUPPORTED_ACTIVATIONS: Mapping[str, str] = {
    "hard_sigmoid": "TF.js computes clip(0.2·x + 0.5, 0, 1), but Keras 3 computes clip(x/6 + 0.5, 0, 1)",
    **dict.fromkeys(
        ("leaky_relu", "hard_silu", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink", "threshold",
         "log_sigmoid", "sparse_sigmoid", "sparse_plus", "glu", "exponential", "squareplus", "sparsemax"), _ABSENT,
    ),
    GELU_TANH: "the gelu of TF.js is the exact one, and its loader cannot find the tanh approximation",
}  # fmt: skip


def refusal(activation: Any) -> str:
    """Why TF.js itself cannot compute the activation; empty where it can."""
    if isinstance(activation, Mapping):
        return f"the activation is a {activation.get('class_name', 'function')} object, but TF.js supports only names"
    if activation in ACTIVATIONS:
        return ""
    return UNSUPPORTED_ACTIVATIONS.get(
        activation, "this is a custom activation, and the file does not contain its code"
    )
