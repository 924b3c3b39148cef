"""Activations that TF.js lacks, out of those that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kerasport.errors import Refusal
from kerasport.frontends.keras.layers.activations import OBJECTS, ReLU
from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    activated,
    difference,
    negative,
    permuted,
    product,
    relu,
    scaled,
    sliced,
    square,
)
from kerasport.targets.tfjs.layers.rewrites.context import Site, options_of
from kerasport.targets.tfjs.layers.spelling.activations import ACTIVATIONS, COMPANION

COMPARES = "TF.js cannot compute the gradient of a comparison"


def leaky_relu(at: Site, x: KerasTensor) -> KerasTensor:
    """x where x > 0, else x / 5"""
    return at.add("LeakyReLU", x, negative_slope=0.2)


def hard_sigmoid(at: Site, x: KerasTensor) -> KerasTensor:
    """clip(x/6 + 1/2, 0, 1)"""
    return relu(at, scaled(at, x, 1 / 6, 0.5), 1.0)


def hard_silu(at: Site, x: KerasTensor) -> KerasTensor:
    """x · hard_sigmoid(x)"""
    return product(at, x, hard_sigmoid(at, x))


def hard_tanh(at: Site, x: KerasTensor) -> KerasTensor:
    """clip(x, -1, 1) = clip(x, 0, 1) - clip(-x, 0, 1)"""
    return difference(at, relu(at, x, 1.0), relu(at, negative(at, x), 1.0))


def tanh_shrink(at: Site, x: KerasTensor) -> KerasTensor:
    """x - tanh(x)"""
    return difference(at, x, activated(at, x, "tanh"))


def soft_shrink(at: Site, x: KerasTensor) -> KerasTensor:
    """relu(x - 1/2) - relu(-x - 1/2)"""
    return difference(at, relu(at, scaled(at, x, 1.0, -0.5)), relu(at, scaled(at, x, -1.0, -0.5)))


def hard_shrink(at: Site, x: KerasTensor) -> KerasTensor:
    """x where |x| > 1/2, else 0: what is above 1/2 of x, less what is above it of -x"""
    at.untrainable(COMPARES)
    above = at.add("ThresholdedReLU", x, theta=0.5)
    return difference(at, above, at.add("ThresholdedReLU", negative(at, x), theta=0.5))


def log_sigmoid(at: Site, x: KerasTensor) -> KerasTensor:
    """-softplus(-x)"""
    return negative(at, activated(at, negative(at, x), "softplus"))


def sparse_sigmoid(at: Site, x: KerasTensor) -> KerasTensor:
    """clip(x/2 + 1/2, 0, 1)"""
    return relu(at, scaled(at, x, 0.5, 0.5), 1.0)


def sparse_plus(at: Site, x: KerasTensor) -> KerasTensor:
    """clip(x/2 + 1/2, 0, 1)² + relu(x - 1): a parabola between -1 and 1, 0 below, x above"""
    return at.add("Add", square(at, sparse_sigmoid(at, x)), relu(at, scaled(at, x, 1.0, -1.0)))


def glu(at: Site, x: KerasTensor) -> KerasTensor:
    """One half of the channels times the sigmoid of the other."""
    size = at.shape_of(x)[-1]
    if size is None:
        raise Refusal("activation", "glu splits the channels in two, but their number is not fixed")
    return product(
        at, sliced(at, x, 0, size // 2), activated(at, sliced(at, x, size // 2, size), "sigmoid")
    )


REWRITTEN: Mapping[str, Callable[[Site, KerasTensor], KerasTensor]] = {
    "leaky_relu": leaky_relu,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_tanh": hard_tanh,
    "tanh_shrink": tanh_shrink,
    "soft_shrink": soft_shrink,
    "hard_shrink": hard_shrink,
    "log_sigmoid": log_sigmoid,
    "sparse_sigmoid": sparse_sigmoid,
    "sparse_plus": sparse_plus,
    "glu": glu,
}
"""Keras's name of an activation → what stands for it."""


def activation(at: Site) -> KerasTensor | None:
    """Native layers that compute the activation."""
    name = at.layer.activation
    if isinstance(name, Mapping):
        return at.add(_object(name), at.x, **options_of(name["config"])) if _object(name) else None
    if name in ACTIVATIONS or name not in REWRITTEN or left_to_companion(at, name):
        return None
    return REWRITTEN[name](at, at.x)


def left_to_companion(at: Site, name: str) -> bool:
    """Whether it is the companion's: what layers make of several inputs would lose the mask."""
    return at.masked and name in COMPANION


def _object(activation: Mapping[str, Any]) -> str:
    """The class of a layer that stands as an activation; empty where it is something else."""
    name = str(activation.get("class_name"))
    return name if name in OBJECTS and isinstance(activation.get("config"), Mapping) else ""


RUNS_ITS_OWN = frozenset(
    ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
     "Activation")
)  # fmt: skip
"""Layers that apply their activation inside, so that none can follow instead."""


def activation_apart(at: Site) -> KerasTensor | None:
    """layer(activation=f) → layer(activation="linear"), f"""
    name = getattr(at.layer, "activation", None)
    if name is None or at.spec.class_name in RUNS_ITS_OWN:
        return None
    if isinstance(name, Mapping):
        if not _object(name):
            return None
    elif name in ACTIVATIONS or name not in REWRITTEN or left_to_companion(at, name):
        return None
    return at.add("Activation", at.again(part="linear", activation="linear"), activation=name)


# ------------------------------------------------------------------------------------------ activation layers


def relu_layer(at: Site) -> KerasTensor | None:
    """ReLU with all of its options.

    x where x > t, else slope · (x - t), at most max_value. The two parts are added; it is LeakyReLU where t
    is 0 and nothing is cut.
    """
    layer: ReLU = at.layer
    limit, slope, top = (
        float(layer.threshold or 0),
        float(layer.negative_slope or 0),
        layer.max_value,
    )
    if not limit and not slope:
        return None
    if not limit and top is None:
        return at.add("LeakyReLU", at.x, negative_slope=slope)
    above = at.x
    if limit:
        at.untrainable(COMPARES)
        above = at.add("ThresholdedReLU", at.x, theta=limit)
    if top is not None or not limit:
        above = relu(at, above, top)
    if not slope:
        return above
    below = relu(at, scaled(at, at.x, -1.0, limit))
    return at.add("Add", above, scaled(at, below, -slope))


def elu_layer(at: Site) -> KerasTensor | None:
    """ELU(alpha) = relu(x) + alpha · elu(-relu(-x))"""
    if at.layer.alpha == 1:
        return None
    below = activated(at, negative(at, relu(at, negative(at, at.x))), "elu")
    return at.add("Add", relu(at, at.x), scaled(at, below, at.layer.alpha))


def softmax_layer(at: Site) -> KerasTensor | None:
    """Softmax over an axis that is not the last, between two Permutes."""
    axes = at.layer.axis if isinstance(at.layer.axis, tuple) else (at.layer.axis,)
    rank = len(at.shape)
    if len(axes) != 1 or axes[0] % rank == rank - 1 or at.masked:
        return None
    order = [each for each in range(rank) if each != axes[0] % rank] + [axes[0] % rank]
    if order[0] != 0:
        raise Refusal("axis", "it works across the batch, which TF.js layers cannot do")
    last = at.add("Softmax", permuted(at, at.x, order), axis=-1)
    return permuted(at, last, [order.index(each) for each in range(rank)])
