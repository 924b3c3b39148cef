"""Remove layers that do nothing at inference."""

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
    """A layer of TF.js that returns its input."""
    return LayerSpec(name, "Activation", {"activation": "linear"})


def is_left_out(spec: LayerSpec) -> bool:
    """Whether a layer is removed; dropout of whole channels is rewritten instead."""
    inner = spec.children.get("layer") if spec.class_name == "TimeDistributed" else spec
    return is_identity(spec) and not (isinstance(inner, LayerSpec) and inner.class_name in DROPS)


DROPS = frozenset(("SpatialDropout2D", "SpatialDropout3D"))


def without_identities(model: KerasModel) -> KerasModel:
    """Remove layers that do nothing at inference.

    If such a layer computes an output of a model, a linear activation with its name replaces it. So
    outputs keep their names, and a model keeps at least one layer.
    """
    calls = [tensor.call for part in models(model) for tensor in part.output_tensors]
    ends = {id(call.target) for call in calls if not _returns_structure(call)}
    kept: set[LayerSpec] = set()

    def layer(spec: LayerSpec, _: LayerSpec) -> LayerSpec:
        inner = spec.children.get("layer")
        if spec.class_name == "SpectralNormalization" and isinstance(inner, LayerSpec):
            return replace(inner, name=spec.name)
        if is_left_out(spec) and id(spec) in ends:
            activation = linear(spec.name)
            kept.add(activation)
            return activation
        return spec

    def step(call: Call) -> Call | tuple[KerasTensor, ...]:
        if isinstance(call.target, LayerSpec) and is_left_out(call.target):
            inputs = tuple(leaf for leaf in flatten(call.args) if isinstance(leaf, KerasTensor))
            return inputs if _returns_structure(call) else inputs[:1]
        # the arguments of the original call are checked elsewhere
        return replace(call, kwargs={}) if call.target in kept else call

    return rebuild(model, step, layer=layer)


def _returns_structure(call: Call) -> bool:
    """Whether a call takes a dict or list of tensors, all of which it returns."""
    return bool(call.args) and isinstance(call.args[0], Mapping | tuple)


def stopped_masks(model: KerasModel) -> Iterator[Problem]:
    """Layers to remove that stop a mask, which would then pass on."""
    traced = Masks(model.dialect)
    traced.trace(model)
    for call in model.calls:
        spec = call.target
        if not isinstance(spec, LayerSpec) or not is_left_out(spec):
            continue
        if passes_mask(spec, model.dialect):
            continue
        if any(mask is not None for mask in traced.incoming(call)):
            reason = "it stops the mask of its input, but TF.js would pass the mask on"
            yield Problem(spec.name, spec.class_name, reason)
