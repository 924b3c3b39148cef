"""Activation layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasport.layers.base import Layer, weight
from kerasport.model import Shape, Weight


class ReLU(Layer):
    """min(x, max_value) where x > threshold, else negative_slope · (x - threshold)."""

    max_value: float | None = None
    negative_slope: float | None = 0.0
    threshold: float | None = 0.0


class LeakyReLU(Layer):
    """x where x > 0, else negative_slope · x."""

    negative_slope: float = 0.3


class ELU(Layer):
    """x where x > 0, else alpha · (exp(x) - 1)."""

    alpha: float = 1.0


class PReLU(Layer):
    """x where x > 0, else alpha · x, with a trained alpha."""

    shared_axes: tuple[int, ...] | None = None

    alpha: Weight = weight()  # shape of the input without batch, 1 on the shared axes

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        shared = self.shared_axes or ()
        return {"alpha": tuple(1 if axis in shared else d for axis, d in enumerate(inputs[0]) if axis)}


class Softmax(Layer):
    """exp(x) / Σ exp(x) over `axis`."""

    axis: int | tuple[int, ...] = -1


class ThresholdedReLU(Layer):
    """x where x > theta, else 0 (Keras 2)."""

    theta: Any = 1.0
