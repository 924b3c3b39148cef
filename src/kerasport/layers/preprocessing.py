"""Preprocessing that is part of the model, and augmentation, which acts in training only."""

from __future__ import annotations

from typing import Any

from kerasport.layers.base import Layer


class Rescaling(Layer):
    """x · scale + offset."""

    scale: Any
    offset: Any = 0.0
