"""Taking out what does nothing at inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kerasport.errors import Problem
from kerasport.frontends.keras.identity import is_identity
from kerasport.frontends.keras.masks import Masks, passes_mask
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    flatten,
    rebuild,
)
from kerasport.frontends.keras.precheck import models


def linear(name: str) -> LayerSpec:
    """A layer that passes its input on and that TF.js has."""
    return LayerSpec(name, "Activation", {"activation": "linear"})


def is_left_out(spec: LayerSpec) -> bool:
    """Whether a layers-model does without the layer; one that drops channels in training is rewritten instead."""
    inner = spec.children.get("layer") if spec.class_name == "TimeDistributed" else spec
    return is_identity(spec) and not (isinstance(inner, LayerSpec) and inner.class_name in DROPS)


DROPS = frozenset(("SpatialDropout2D", "SpatialDropout3D"))


def without_identities(model: KerasModel) -> KerasModel:
    """The model without layers that do nothing at inference.

    Where such a layer makes an output of the model, a linear activation of its name takes its place, so that
    outputs keep their names and a model keeps at least one layer.
    """
    calls = [tensor.call for part in models(model) for tensor in part.output_tensors]
    ends = {id(call.target) for call in calls if not _hands_on(call)}
    made: set[LayerSpec] = set()

    def layer(spec: LayerSpec, _: LayerSpec) -> LayerSpec:
        if spec.class_name == "SpectralNormalization" and isinstance(
            inner := spec.children["layer"], LayerSpec
        ):
            return replace(inner, name=spec.name)
        if is_left_out(spec) and id(spec) in ends:
            kept = linear(spec.name)
            made.add(kept)
            return kept
        return spec

    def step(call: Call) -> Call | tuple[KerasTensor, ...]:
        if isinstance(call.target, LayerSpec) and is_left_out(call.target):
            given = tuple(leaf for leaf in flatten(call.args) if isinstance(leaf, KerasTensor))
            return given if _hands_on(call) else given[:1]
        # whether it is called as in training is asked elsewhere, of the layer that it was
        return replace(call, kwargs={}) if call.target in made else call

    return rebuild(model, step, layer=layer)


def _hands_on(call: Call) -> bool:
    """Whether a call is given a dict or a list of tensors, all of which it returns."""
    return bool(call.args) and isinstance(call.args[0], Mapping | tuple)


def stopped_masks(model: KerasModel) -> Iterator[Problem]:
    """Layers that would be taken out and that stop a mask, which would then travel on."""
    traced = Masks(model.dialect)
    traced.trace(model)
    for call in model.calls:
        spec = call.target
        if (
            not isinstance(spec, LayerSpec)
            or not is_left_out(spec)
            or passes_mask(spec, model.dialect)
        ):
            continue
        if any(mask is not None for mask in traced.incoming(call)):
            reason = "it stops the mask of its input, but TF.js would pass the mask on"
            yield Problem(spec.name, spec.class_name, reason)
