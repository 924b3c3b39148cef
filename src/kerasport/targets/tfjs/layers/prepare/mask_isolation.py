"""Layers that Keras gives no mask, in models with masks: TF.js would give them one of before.

TF.js keeps the mask that one layer was given for every later one whose inputs bring none (`mask_leaks`). So such a
layer is given a mask of ones: a Masking of a number that never comes makes it, and leaves its input as it is.
"""

from __future__ import annotations

from dataclasses import replace

from kerasport.frontends.keras.layers import class_names, traits_of
from kerasport.frontends.keras.layers.recurrent import ConvLSTM2D
from kerasport.frontends.keras.layers.traits import MaskRule
from kerasport.frontends.keras.masks import NEVER_MASKS, Masks, makes_mask
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    map_tensors,
    rebuild,
)


def without_leaks(model: KerasModel) -> KerasModel:
    """The model in which no mask of before reaches a layer that heeds masks; models inside are left as they are."""
    if not makes_mask(model):
        return model
    keras = Masks(model.dialect)
    keras.trace(model)
    calls = iter(model.calls)  # in the order in which they are rebuilt
    made: dict[LayerSpec, LayerSpec] = {}

    def step(moved: Call) -> Call:
        spec = moved.target
        masked = [mask is not None for mask in keras.incoming(next(calls))]
        if isinstance(spec, LayerSpec) and any(masked) and _needs_every_mask(spec, len(masked)):
            bare = {x: i for i, x in enumerate(moved.tensors()) if not masked[i]}
            ones = {
                x: KerasTensor(Call(masks_nothing(f"{spec.name}_unmasked_{i}"), (x,)))
                for x, i in bare.items()
            }
            return replace(moved, args=map_tensors(moved.args, lambda x: ones.get(x, x)))
        if any(masked) or not isinstance(spec, LayerSpec) or not moved.tensors():
            return moved
        if traits_of(spec).mask is MaskRule.RECURRENT and not convolves(spec):
            masking = made.setdefault(spec, masks_nothing(f"{spec.name}_unmasked"))
            x = moved.tensors()[0]
            whole = KerasTensor(Call(masking, (x,)))
            return replace(
                moved, args=map_tensors(moved.args, lambda tensor: whole if tensor is x else tensor)
            )
        if spec.class_name == "Softmax" and spec.config.get("axis", -1) == -1:
            activation = made.setdefault(
                spec, replace(spec, class_name="Activation", config={"activation": "softmax"})
            )
            return replace(moved, target=activation)
        return moved

    return rebuild(model, step, inside=False)


def _needs_every_mask(spec: LayerSpec, count: int) -> bool:
    """Whether TF.js throws where only some of the inputs have masks.

    A Concatenate along time joins masks with ones in another shape, and a merge of three inputs or
    more computes `logicalAnd` of masks that do not exist (tfjs-layers layers/merge.ts).
    """
    rule = traits_of(spec).mask
    in_time = rule is MaskRule.CONCATENATES and spec.config.get("axis", -1) != -1
    return in_time or (rule is MaskRule.MERGES and count > 2)


def convolves(spec: LayerSpec) -> bool:
    """Whether a recurrent layer, or the one that a Bidirectional holds, works on images: TF.js throws at its masks."""
    inner = spec.children.get("forward_layer", spec)
    return inner.class_name in class_names(ConvLSTM2D)


def masks_nothing(name: str) -> LayerSpec:
    """A layer that returns its input with a mask of ones."""
    return LayerSpec(name, "Masking", {"mask_value": NEVER_MASKS})
