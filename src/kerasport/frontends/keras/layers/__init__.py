"""One class for each Keras layer: its options, weights, shapes, traits and formula."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.frontends.keras.layers import (
    activations,
    applications,
    attention,
    augmentation,
    conv,
    core,
    merging,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    reshaping,
)
from kerasport.frontends.keras.layers.base import Layer, Unread
from kerasport.frontends.keras.layers.traits import UNKNOWN, Traits
from kerasport.frontends.keras.model import KerasModel, LayerSpec, Operation

_FAMILIES = (
    core, activations, conv, pooling, normalization, recurrent, attention, merging, reshaping,
    preprocessing, augmentation, applications,
)  # fmt: skip

LAYERS: Mapping[str, type[Layer]] = {
    name.rstrip("_"): cls
    for family in _FAMILIES
    for name, cls in vars(family).items()
    # only classes, because reading an attribute of `ops` would load it
    if name[0].isupper()
    and isinstance(cls, type)
    and issubclass(cls, Layer)
    and cls.__module__ == family.__name__
    and not name.startswith("_")
}
"""Class by the name that a Keras config gives it."""


def traits_of(target: LayerSpec | Operation | KerasModel) -> Traits:
    """The traits of a layer class; functions and models have those of an unknown layer."""
    cls = LAYERS.get(target.class_name) if isinstance(target, LayerSpec) else None
    return UNKNOWN if cls is None else cls.traits


def is_input(target: LayerSpec | Operation | KerasModel) -> bool:
    """Whether a call target is an InputLayer."""
    return isinstance(target, LayerSpec) and LAYERS.get(target.class_name) is core.InputLayer


def declares_weights(class_name: str) -> bool:
    """Whether a layer class declares its weights. For other classes a file may have any weights."""
    return class_name in LAYERS and not issubclass(LAYERS[class_name], Unread)


def class_names(*classes: type[Layer]) -> frozenset[str]:
    """Names of layer classes in Keras configs, with those of their subclasses."""
    return frozenset(name for name, cls in LAYERS.items() if issubclass(cls, classes))
