"""Layers that Keras gives no mask, in models with masks: TF.js would give them one of before.

TF.js keeps the mask that one layer was given for every later one whose inputs bring none (`mask_leaks`). So such a
layer is given a mask of ones: a Masking of a number that never comes makes it, and leaves its input as it is.
"""

from __future__ import annotations

from dataclasses import replace

from kerasport.frontends.keras.masks import EVERYTHING, MERGES, RECURRENT, MaskRules, Masks
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
    if not _makes_masks(model):
        return model
    keras = Masks(MaskRules(model.release))
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
        if (spec.class_name in RECURRENT or spec.class_name == "Bidirectional") and not convolves(
            spec
        ):
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
    in_time = spec.class_name == "Concatenate" and spec.config.get("axis", -1) != -1
    return in_time or (spec.class_name in MERGES and count > 2)


def convolves(spec: LayerSpec) -> bool:
    """Whether a recurrent layer, or the one that a Bidirectional holds, works on images: TF.js throws at its masks."""
    inner = spec.children.get("layer") if spec.class_name == "Bidirectional" else spec
    return isinstance(inner, LayerSpec) and inner.class_name.startswith("ConvLSTM")


def masks_nothing(name: str) -> LayerSpec:
    """A layer that returns its input with a mask of ones."""
    return LayerSpec(name, "Masking", {"mask_value": EVERYTHING})


def _makes_masks(model: KerasModel) -> bool:
    specs = [spec for _, spec in model.walk() if isinstance(spec, LayerSpec)]
    return any(spec.class_name == "Masking" or spec.config.get("mask_zero") for spec in specs)
