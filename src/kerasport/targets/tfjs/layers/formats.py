"""The choice between a layers-model and a graph-model, by which of them runs faster."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.frontends.keras.identity import is_identity
from kerasport.frontends.keras.layers import LAYERS, traits_of
from kerasport.frontends.keras.layers.base import Refused
from kerasport.frontends.keras.layers.traits import Workload
from kerasport.frontends.keras.model import KerasModel, LayerSpec

FACTORS: Mapping[Workload, float] = {"recurrent": 0.5, "convolutional": 1.7, "dense": 1.0}
"""Kind of model → speed of its graph-model relative to its layers-model (docs/performance.md).

The first kind of which the model has a layer decides.
"""

WORTH_A_NOTE = 1.2  # a factor below it is lost in the noise of pages


def kind_of(model: KerasModel) -> Workload:
    """The kind of a model, by the layers that take most of its time."""
    workloads = {traits_of(spec).workload for _, spec in model.walk()}
    return next((kind for kind in FACTORS if kind in workloads), "dense")


def choice(model: KerasModel, *, training: bool) -> str:
    """What to know about a layers-model: that it can be trained, and the format that runs faster.

    Args:
        model: a model that a layers-model supports.
        training: whether the user requested a model to train, so there is no choice.
    """
    if training:
        return ""
    factor = FACTORS[kind_of(model)]
    if factor < WORTH_A_NOTE or not _has_graph(model):
        return "can be trained further in a page"
    return (
        f"can be trained further in a page; as a graph-model it runs about {factor:g}x faster, "
        "without training (--to tfjs-graph)"
    )


def _has_graph(model: KerasModel) -> bool:
    """Whether a graph-model supports the layers of a model that is possible as a layers-model.

    Only their classes are looked at, which takes no time. A layers-model has only operations that a
    graph-model has, too.
    """
    specs = [
        spec for _, spec in model.walk() if isinstance(spec, LayerSpec) and not is_identity(spec)
    ]
    classes = [LAYERS.get(spec.class_name) for spec in specs]
    return not any(spec.custom for spec in specs) and not any(
        cls is None or issubclass(cls, Refused) for cls in classes
    )
