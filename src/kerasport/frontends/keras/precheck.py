"""Find the parts of a model that no target can convert."""

from __future__ import annotations

from collections.abc import Iterator

from kerasport.errors import Problem
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.dtypes import INTEGERS, Dtypes, integer_problems
from kerasport.frontends.keras.identity import changed_entry, is_of_entries
from kerasport.frontends.keras.layers import LAYERS, class_names, traits_of
from kerasport.frontends.keras.layers.core import Embedding
from kerasport.frontends.keras.layers.normalization import SpectralNormalization
from kerasport.frontends.keras.layers.recurrent import TimeDistributed
from kerasport.frontends.keras.masks import Masks
from kerasport.frontends.keras.model import Call, KerasModel, LayerSpec
from kerasport.frontends.keras.training import training_problems


def refusals(model: KerasModel) -> Iterator[Problem]:
    """The problems of a model that do not depend on the target."""
    dtypes, dialect = Dtypes(), model.dialect
    dtypes.model(model)
    for part in models(model):
        if part.custom:
            reason = (
                f"it is a subclass of Model ({part.custom}); its call() may differ from the graph "
                "of its layers, and the file does not contain its code"
            )
            remedy = (
                "if both compute the same, save keras.Model(model.inputs, model.outputs) instead"
            )
            yield Problem(part.name, part.class_name, reason, remedy=remedy)
        dtypes.model(part)
        yield from integer_problems(part, dtypes, dialect)
        yield from _entry_problems(part)
        yield from training_problems(part, dialect)
        for target in part.targets():
            if isinstance(target, LayerSpec):
                yield from _layer_problems(target, dialect)


def _entry_problems(model: KerasModel) -> Iterator[Problem]:
    """Image layers that are called on a dict, and change other entries besides the images."""
    for call in filter(is_of_entries, model.calls):
        entry = changed_entry(call)
        reason = f"it is called on a dict, and its effect on the entry {entry!r} is not supported"
        remedy = "call it on the images only"
        yield Problem(call.target.name, call.target.class_name, reason, remedy=remedy)


CUSTOM = (
    "build the model again with Keras layers or keras.ops in place of this class, copy the weights "
    "with new_model.set_weights(old_model.get_weights()), and save it"
)


def custom_problem(spec: LayerSpec) -> Problem:
    """The problem of a custom layer."""
    reason = f"it is a custom layer ({spec.custom}), and the file does not contain its code"
    return Problem(spec.name, spec.class_name, reason, remedy=CUSTOM)


def _layer_problems(spec: LayerSpec, dialect: Dialect) -> Iterator[Problem]:
    """Layers with an integer `dtype`, and wrappers that converted models do not support."""
    dtype = str(spec.config.get("dtype", ""))
    if dtype in INTEGERS and not traits_of(spec).integer_dtype:
        reason = (
            f"Keras casts its input to {dtype}, which truncates it; converted models compute in "
            "float32"
        )
        yield Problem(spec.name, spec.class_name, reason, "dtype", dtype)
    yield from _wrapper_problems(spec, dialect)


def _wrapper_problems(spec: LayerSpec, dialect: Dialect) -> Iterator[Problem]:
    """Wrappers that compute other results than converted models."""
    cls, inner = LAYERS.get(spec.class_name), spec.children.get("layer")
    if inner is None:
        return
    if cls is SpectralNormalization and inner.class_name in class_names(Embedding):
        reason = "the file does not store the Embedding as Keras normalizes it"
        yield Problem(spec.name, spec.class_name, reason, "layer", inner.class_name)
    if cls is TimeDistributed and dialect.inner_masks_leave and _makes_mask(inner, dialect):
        reason = (
            "Keras 2 passes on the masks that the inner layer creates at each step; Keras 3 and "
            "converted models do not"
        )
        remedy = (
            "put the inner layer and the layers that use its mask into one model inside the "
            "TimeDistributed"
        )
        yield Problem(spec.name, spec.class_name, reason, "layer", inner.class_name, remedy)


def _makes_mask(inner: LayerSpec | KerasModel, dialect: Dialect) -> bool:
    """Whether a layer or model returns a mask if it is called without one."""
    return any(Masks(dialect).outputs(Call(inner)))


def models(model: KerasModel) -> Iterator[KerasModel]:
    """The model and all models inside it."""
    yield model
    for target in model.targets():
        if isinstance(target, KerasModel):
            yield from models(target)
        elif isinstance(target, LayerSpec):
            for child in target.children.values():
                yield from models(child) if isinstance(child, KerasModel) else ()
