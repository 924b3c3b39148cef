"""One class a Keras layer: its options, its weights, the shapes it makes."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.frontends.keras.layers import (
    activations,
    applications,
    attention,
    conv,
    core,
    merging,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    reshaping,
)
from kerasport.frontends.keras.layers.base import Layer

_FAMILIES = (
    core, activations, conv, pooling, normalization, recurrent, attention, merging, reshaping, preprocessing,
    applications,
)  # fmt: skip

LAYERS: Mapping[str, type[Layer]] = {
    name.rstrip("_"): cls
    for family in _FAMILIES
    for name, cls in vars(family).items()
    # classes alone, since a look at `ops` would load it
    if name[0].isupper()
    and isinstance(cls, type)
    and issubclass(cls, Layer)
    and cls.__module__ == family.__name__
    and not name.startswith("_")
}
"""Class by the name that a Keras config gives it."""
