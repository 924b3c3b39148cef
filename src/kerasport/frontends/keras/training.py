"""What the `training` argument of a call means for inference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kerasport.errors import Problem
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.model import KerasModel, KerasTensor, LayerSpec, Operation

IN_TRAINING = "the model calls it with training=True, so it is active at inference"

DROPOUTS = ("dropout", "recurrent_dropout")
"""Options of layers that contain a dropout."""


def acts_in_training(target: LayerSpec | Operation | KerasModel) -> bool:
    """Whether a layer, or one inside it, computes other results during training."""
    if isinstance(target, KerasModel):
        return any(map(acts_in_training, target.targets()))
    if isinstance(target, Operation):
        return False
    own = traits_of(target).acts_in_training
    drops = any(target.config.get(option) for option in DROPOUTS)
    return own or drops or any(map(acts_in_training, target.children.values()))


def training_counts(target: LayerSpec | KerasModel, value: Any, dialect: Dialect) -> bool:
    """Whether `training=value` in a call can change what a layer or model computes at inference."""
    if isinstance(value, KerasTensor | np.ndarray):
        return True
    if not value:
        return False
    if isinstance(target, KerasModel):
        return acts_in_training(target)
    if traits_of(target).images:
        return dialect.image_training_counts and acts_in_training(target)
    return True


def training_problems(model: KerasModel, dialect: Dialect) -> Iterator[Problem]:
    """Image layers of one model, not of nested ones, that are active because of training=True."""
    for call in model.calls:
        target = call.target
        if not isinstance(target, LayerSpec) or not traits_of(target).images:
            continue
        if training_counts(target, call.kwargs.get("training"), dialect):
            yield Problem(target.name, target.class_name, IN_TRAINING, "training", True)
