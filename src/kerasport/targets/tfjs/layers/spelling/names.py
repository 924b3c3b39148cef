"""The names of layers and weights in TF.js."""

from __future__ import annotations

import re

from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.targets.tfjs.layers.constraints import NAME
from kerasport.targets.tfjs.layers.spelling.native import NATIVE
from kerasport.weights import Weight

OF_OBJECTS = frozenset(
    ("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString",
     "toString", "valueOf")
)  # fmt: skip
"""Properties of every JavaScript object, which TF.js finds instead of a layer with such a name."""


def tfjs_name(name: str) -> str:
    """The name itself if TF.js accepts it, else a similar one."""
    if name in OF_OBJECTS:
        return f"{name}_layer"
    if NAME.fullmatch(name):
        return name
    replaced = re.sub(r"[^-A-Za-z0-9._/]", "_", name)
    return replaced if NAME.fullmatch(replaced) else f"layer{replaced}"


def inner_name(forward: LayerSpec) -> str:
    """The name of the layer in a Bidirectional, to which TF.js adds "forward_".

    Keras 3 stores the name with that prefix.
    """
    return tfjs_name(forward.name.removeprefix("forward_"))


def weights_of(spec: LayerSpec, name: str) -> dict[str, Weight]:
    """The weights of a layer by their names in TF.js (tfjs-layers engine/container.ts).

    Args:
        spec: the layer.
        name: its name in TF.js.
    """
    if spec.class_name == "Bidirectional":
        return _bidirectional_weights(spec, name)
    if spec.class_name == "RNN":
        return _cell_weights(spec.children.get("cell"), name)
    if spec.class_name == "TimeDistributed":
        child = spec.children["layer"]
        return weights_of(child, name) if isinstance(child, LayerSpec) else {}
    if spec.class_name not in NATIVE or not spec.weights:
        return {}
    native = NATIVE[spec.class_name]
    declared = LAYERS[spec.class_name].declared_weights(spec.config)
    return {
        f"{name}/{native.weight_name(weight)}": stored
        for weight, stored in zip(declared, spec.weights, strict=False)
        if weight not in ("moving_stddev", "renorm_mean", "renorm_stddev")
    }


def _bidirectional_weights(spec: LayerSpec, name: str) -> dict[str, Weight]:
    forward, backward = spec.children["forward_layer"], spec.children["backward_layer"]
    assert isinstance(forward, LayerSpec)
    assert isinstance(backward, LayerSpec)
    inner = inner_name(forward)
    return weights_of(forward, f"{name}/forward_{inner}") | weights_of(
        backward, f"{name}/backward_{inner}"
    )


def _cell_weights(cell: LayerSpec | KerasModel | None, name: str) -> dict[str, Weight]:
    if not isinstance(cell, LayerSpec):
        return {}
    if cell.class_name != "StackedRNNCells":
        return weights_of(cell, name)
    weights: dict[str, Weight] = {}
    for index, part in enumerate(cell.children.values()):
        if isinstance(part, LayerSpec):
            weights |= weights_of(part, f"{name}/RNNCell_{index}")
    return weights
