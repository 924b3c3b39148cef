"""Stop TF.js from passing a stale mask to layers that Keras calls without one.

TF.js keeps the mask of one layer for every later layer whose inputs have none (`mask_leaks`). So
these layers get a mask of ones, from a Masking layer for a value that never occurs, which returns
its input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Give layers that read masks, but get none in Keras, a mask of ones; nested models stay."""
    if not makes_mask(model):
        return model
    keras = Masks(model.dialect)
    keras.trace(model)
    # in the order in which rebuild visits the calls
    originals = iter(model.calls)
    replaced: dict[LayerSpec, LayerSpec] = {}

    def step(call: Call) -> Call:
        spec = call.target
        masked = [mask is not None for mask in keras.incoming(next(originals))]
        if not isinstance(spec, LayerSpec):
            return call
        if any(masked):
            return _with_every_mask(call, spec, masked)
        if not call.tensors():
            return call
        if traits_of(spec).mask is MaskRule.RECURRENT and not convolves(spec):
            masking = replaced.setdefault(spec, masks_nothing(f"{spec.name}_unmasked"))
            x = call.tensors()[0]
            return _with_inputs(call, {x: KerasTensor(Call(masking, (x,)))})
        if spec.class_name == "Softmax" and spec.config.get("axis", -1) == -1:
            # the Activation layer of TF.js ignores masks
            activation = replace(spec, class_name="Activation", config={"activation": "softmax"})
            return replace(call, target=replaced.setdefault(spec, activation))
        return call

    return rebuild(model, step, inside=False)


def _with_inputs(call: Call, replaced: Mapping[KerasTensor, KerasTensor]) -> Call:
    """The call with some of its inputs replaced."""
    return replace(call, args=map_tensors(call.args, lambda x: replaced.get(x, x)))


def _with_every_mask(call: Call, spec: LayerSpec, masked: Sequence[bool]) -> Call:
    """The call with masks of ones for the inputs without a mask, if TF.js needs them."""
    if not _needs_every_mask(spec, len(masked)):
        return call
    unmasked = {x: index for index, x in enumerate(call.tensors()) if not masked[index]}
    ones = {
        x: KerasTensor(Call(masks_nothing(f"{spec.name}_unmasked_{index}"), (x,)))
        for x, index in unmasked.items()
    }
    return _with_inputs(call, ones)


def _needs_every_mask(spec: LayerSpec, count: int) -> bool:
    """Whether TF.js throws if only some of the inputs have masks.

    A Concatenate along time joins masks with ones in another shape, and a merge of three inputs or
    more computes `logicalAnd` of masks that do not exist (tfjs-layers layers/merge.ts).
    """
    rule = traits_of(spec).mask
    in_time = rule is MaskRule.CONCATENATES and spec.config.get("axis", -1) != -1
    return in_time or (rule is MaskRule.MERGES and count > 2)


def convolves(spec: LayerSpec) -> bool:
    """Whether a recurrent layer, or the one in a Bidirectional, is convolutional.

    TF.js throws if such a layer gets a mask.
    """
    inner = spec.children.get("forward_layer", spec)
    return inner.class_name in class_names(ConvLSTM2D)


def masks_nothing(name: str) -> LayerSpec:
    """A layer that returns its input with a mask of ones."""
    return LayerSpec(name, "Masking", {"mask_value": NEVER_MASKS})
