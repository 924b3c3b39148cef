"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasport.layers.base import Layer, axis_of, weight
from kerasport.model import Shape, Weight


class BatchNormalization(Layer):
    """(x - moving_mean) / sqrt(moving_variance + epsilon) · gamma + beta, along `axis`."""

    axis: int = -1
    momentum: float = 0.99
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    renorm: bool = False  # the moving standard deviations that it adds serve training only
    ignored = ("synchronized", "virtual_batch_size", "fused", "renorm_clipping", "renorm_momentum",
               "adjustment")  # fmt: skip

    gamma: Weight | None = weight(when="scale")  # [channels], as all of them
    beta: Weight | None = weight(when="center")
    moving_mean: Weight = weight(trainable=False)
    moving_variance: Weight = weight(trainable=False)
    moving_stddev: Weight | None = weight(when="renorm", trainable=False)
    renorm_mean: Weight | None = weight(when="renorm", trainable=False)
    renorm_stddev: Weight | None = weight(when="renorm", trainable=False)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        channels = (inputs[0][axis_of(self.axis, len(inputs[0]))],)
        return dict.fromkeys(
            ("gamma", "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean",
             "renorm_stddev"), channels)  # fmt: skip


class LayerNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta, mean and variance over `axis`."""

    axis: int | tuple[int, ...] = -1
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    rms_scaling: bool = False

    gamma: Weight | None = weight(when="scale")  # sizes of the axes, in order
    beta: Weight | None = weight(when="center")

    def axes(self, rank: int) -> tuple[int, ...]:
        """The normalised axes, counted from the front, in order."""
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return tuple(sorted(axis_of(axis, rank) for axis in axes))

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        sizes = tuple(inputs[0][axis] for axis in self.axes(len(inputs[0])))
        return {"gamma": sizes, "beta": sizes}


class GroupNormalization(Layer):
    """Normalises the channels of a group together, each sample by itself."""

    groups: int = 32
    axis: int = -1
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True

    gamma: Weight | None = weight(when="scale")  # [channels]
    beta: Weight | None = weight(when="center")  # [channels]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        channels = (inputs[0][axis_of(self.axis, len(inputs[0]))],)
        return {"gamma": channels, "beta": channels}


class RMSNormalization(Layer):
    """x / sqrt(mean(x²) + epsilon) · scale, over `axis`."""

    axis: int | tuple[int, ...] = -1
    epsilon: float = 1e-6

    scale: Weight = weight()


class UnitNormalization(Layer):
    """x / sqrt(Σx²), over `axis`."""

    axis: int | tuple[int, ...] = -1


class SpectralNormalization(Layer):
    """The wrapped layer; the stored kernel is normalised already."""

    power_iterations: int = 1
    layer: Any = None
