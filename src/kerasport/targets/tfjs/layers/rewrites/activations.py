"""Compute activations that TF.js lacks with those that it has."""

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
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext
from kerasport.targets.tfjs.layers.spelling.activations import ACTIVATIONS, COMPANION

COMPARES = "TF.js cannot compute the gradient of a comparison"


def leaky_relu(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """x if x > 0, else x / 5"""
    return ctx.add("LeakyReLU", x, negative_slope=0.2)


def hard_sigmoid(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """clip(x/6 + 1/2, 0, 1)"""
    return relu(ctx, scaled(ctx, x, 1 / 6, 0.5), 1.0)


def hard_silu(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """x · hard_sigmoid(x)"""
    return product(ctx, x, hard_sigmoid(ctx, x))


def hard_tanh(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """clip(x, -1, 1) = clip(x, 0, 1) - clip(-x, 0, 1)"""
    return difference(ctx, relu(ctx, x, 1.0), relu(ctx, negative(ctx, x), 1.0))


def tanh_shrink(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """x - tanh(x)"""
    return difference(ctx, x, activated(ctx, x, "tanh"))


def soft_shrink(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """relu(x - 1/2) - relu(-x - 1/2)"""
    return difference(
        ctx, relu(ctx, scaled(ctx, x, 1.0, -0.5)), relu(ctx, scaled(ctx, x, -1.0, -0.5))
    )


def hard_shrink(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """x if |x| > 1/2, else 0: the part of x above 1/2, minus the part of -x above 1/2"""
    ctx.untrainable(COMPARES)
    above = ctx.add("ThresholdedReLU", x, theta=0.5)
    return difference(ctx, above, ctx.add("ThresholdedReLU", negative(ctx, x), theta=0.5))


def log_sigmoid(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """-softplus(-x)"""
    return negative(ctx, activated(ctx, negative(ctx, x), "softplus"))


def sparse_sigmoid(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """clip(x/2 + 1/2, 0, 1)"""
    return relu(ctx, scaled(ctx, x, 0.5, 0.5), 1.0)


def sparse_plus(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """clip(x/2 + 1/2, 0, 1)² + relu(x - 1): a parabola between -1 and 1, 0 below, x above"""
    return ctx.add("Add", square(ctx, sparse_sigmoid(ctx, x)), relu(ctx, scaled(ctx, x, 1.0, -1.0)))


def glu(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """The first half of the channels times the sigmoid of the second half."""
    size = ctx.shape_of(x)[-1]
    if size is None:
        raise Refusal("activation", "glu splits the channels in two, but their number is not fixed")
    return product(
        ctx,
        sliced(ctx, x, 0, size // 2),
        activated(ctx, sliced(ctx, x, size // 2, size), "sigmoid"),
    )


REWRITTEN: Mapping[str, Callable[[RewriteContext, KerasTensor], KerasTensor]] = {
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
"""Name of an activation in Keras → the function that builds it from layers."""


def activation(ctx: RewriteContext) -> KerasTensor | None:
    """The activation as TF.js layers."""
    name = ctx.layer.activation
    if isinstance(name, Mapping):
        layer = _object(name)
        return ctx.call_layer(layer, [ctx.x], name["config"]) if layer else None
    if name in ACTIVATIONS or name not in REWRITTEN or left_to_companion(ctx, name):
        return None
    return REWRITTEN[name](ctx, ctx.x)


def left_to_companion(ctx: RewriteContext, name: str) -> bool:
    """Whether the companion computes the activation, because several layers would lose the mask."""
    return ctx.masked and name in COMPANION


def _object(activation: Mapping[str, Any]) -> str:
    """The class of an activation that is a layer; empty for other activations."""
    name = str(activation.get("class_name"))
    return name if name in OBJECTS and isinstance(activation.get("config"), Mapping) else ""


APPLIED_INSIDE = frozenset(
    ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell",
     "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Activation")
)  # fmt: skip
"""Layers that apply their activation inside, so that no Activation layer can replace it."""


def activation_apart(ctx: RewriteContext) -> KerasTensor | None:
    """layer(activation=f) → layer(activation="linear"), f"""
    name = getattr(ctx.layer, "activation", None)
    if name is None or ctx.spec.class_name in APPLIED_INSIDE:
        return None
    if isinstance(name, Mapping):
        if not _object(name):
            return None
    elif name in ACTIVATIONS or name not in REWRITTEN or left_to_companion(ctx, name):
        return None
    return ctx.add("Activation", ctx.again(part="linear", activation="linear"), activation=name)


# -------------------------------------------------------------------------------- activation layers


def relu_layer(ctx: RewriteContext) -> KerasTensor | None:
    """ReLU with all of its options: x if x > t, else slope · (x - t), at most max_value.

    This is a sum of two parts, or LeakyReLU if t is 0 and there is no max_value.
    """
    layer: ReLU = ctx.layer
    threshold, slope = float(layer.threshold or 0), float(layer.negative_slope or 0)
    if not threshold and not slope:
        return None
    if not threshold and layer.max_value is None:
        return ctx.add("LeakyReLU", ctx.x, negative_slope=slope)
    above = ctx.x
    if threshold:
        ctx.untrainable(COMPARES)
        above = ctx.add("ThresholdedReLU", ctx.x, theta=threshold)
    if layer.max_value is not None or not threshold:
        above = relu(ctx, above, layer.max_value)
    if not slope:
        return above
    below = relu(ctx, scaled(ctx, ctx.x, -1.0, threshold))
    return ctx.add("Add", above, scaled(ctx, below, -slope))


def elu_layer(ctx: RewriteContext) -> KerasTensor | None:
    """ELU(alpha) = relu(x) + alpha · elu(-relu(-x))"""
    if ctx.layer.alpha == 1:
        return None
    below = activated(ctx, negative(ctx, relu(ctx, negative(ctx, ctx.x))), "elu")
    return ctx.add("Add", relu(ctx, ctx.x), scaled(ctx, below, ctx.layer.alpha))


def softmax_layer(ctx: RewriteContext) -> KerasTensor | None:
    """Softmax over an axis that is not the last, between two Permutes."""
    axes = ctx.layer.axis if isinstance(ctx.layer.axis, tuple) else (ctx.layer.axis,)
    rank = len(ctx.shape)
    if len(axes) != 1 or axes[0] % rank == rank - 1 or ctx.masked:
        return None
    summed = axes[0] % rank
    if summed == 0:
        raise Refusal("axis", "it works across the batch, which TF.js layers cannot do")
    order = [axis for axis in range(rank) if axis != summed] + [summed]
    last = ctx.add("Softmax", permuted(ctx, ctx.x, order), axis=-1)
    return permuted(ctx, last, [order.index(axis) for axis in range(rank)])
