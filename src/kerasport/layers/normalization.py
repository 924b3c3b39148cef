"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kerasport.ir import ops
from kerasport.layers.base import Layer, WeightMark, axis_of, weight
from kerasport.model import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


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

    def lower(self, x: Tensor) -> Tensor:
        """x · s + b, with s and b worked out at conversion."""
        scale: Tensor = ops.Rsqrt(ops.as_tensor(self.moving_variance) + self.epsilon)
        scale = scale if self.gamma is None else scale * self.gamma
        offset = -(ops.as_tensor(self.moving_mean) * scale)
        offset = offset if self.beta is None else offset + self.beta
        return ops.floats(x) * along(scale, x, (self.axis,)) + along(offset, x, (self.axis,))


def along(vector: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A tensor over some axes of x, with axes of 1 for the others behind the first, so that it broadcasts."""
    places = sorted(axis_of(axis, x.rank) for axis in axes)
    sizes = iter(ops.dims(vector))
    return ops.reshape(vector, tuple(next(sizes) if at in places else 1 for at in range(places[0], x.rank)))


class LayerNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta, mean and variance over `axis`."""

    axis: int | tuple[int, ...] = -1
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    rms_scaling: bool = False

    gamma: Weight | None = weight(when="scale")  # sizes of the axes, in order
    beta: Weight | None = weight(when="center")

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """With rms_scaling there is no beta, whatever `center` says."""
        declared = super().declared_weights(config)
        return {name: mark for name, mark in declared.items() if name != "beta" or not config.get("rms_scaling")}

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
