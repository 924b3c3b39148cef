"""Normalization layers.

The output has the shape of the input x. It is float32 unless the class says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from kerasport.errors import ShapeError
from kerasport.frontends.keras.layers.base import (
    Count,
    Inside,
    InsideShapes,
    Layer,
    WeightMark,
    Wrapper,
    weight,
)
from kerasport.frontends.keras.layers.traits import (
    COMPUTES,
    TRUNCATES,
    TRUNCATES_AND_KEEPS,
    WEIGHS,
    WRAPS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import Shape, Weight, axis_of

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class BatchNormalization(Layer):
    """(x - moving_mean) / sqrt(moving_variance + epsilon) · gamma + beta, along `axis`."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.UNREAD,
        acts_in_training=True,
        per_step=True,
    )

    axis: int = -1
    momentum: float = 0.99
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    # adds moving standard deviations, which only training uses
    renorm: bool = False
    ignored = ("synchronized", "virtual_batch_size", "fused", "renorm_clipping", "renorm_momentum",
               "adjustment")  # fmt: skip
    signature = ("inputs", "training", "mask")

    # all weights are [channels]
    gamma: Weight | None = weight(when="scale")
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
        """x · s + b, with s and b computed at conversion."""
        scale: Tensor = ops.Rsqrt(ops.as_tensor(self.moving_variance) + self.epsilon)
        scale = scale if self.gamma is None else scale * self.gamma
        offset = -(ops.as_tensor(self.moving_mean) * scale)
        offset = offset if self.beta is None else offset + self.beta
        return ops.floats(x) * along(scale, x, (self.axis,)) + along(offset, x, (self.axis,))


def along(vector: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Reshape a tensor with some axes of x so that it broadcasts to x."""
    ordered = sorted(axis_of(axis, x.rank) for axis in axes)
    sizes = iter(ops.dims(vector))
    positions = range(ordered[0], x.rank)
    return ops.reshape(vector, tuple(next(sizes) if i in ordered else 1 for i in positions))


class LayerNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta, with the moments over `axis`."""

    traits = Traits(mask=MaskRule.PASSES, integers=TRUNCATES, identity=COMPUTES)

    axis: int | tuple[int, ...] = -1
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    rms_scaling: bool = False

    # both weights have the sizes of the normalized axes, in order
    gamma: Weight | None = weight(when="scale")
    beta: Weight | None = weight(when="center")

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """Only gamma with `rms_scaling`, which overrules `scale` and `center`."""
        if config.get("rms_scaling"):
            return {"gamma": cls.weights["gamma"]}
        return super().declared_weights(config)

    def axes(self, rank: int) -> tuple[int, ...]:
        """The normalized axes as non-negative numbers, in order."""
        return axes_of(self.axis, rank)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        sizes = sizes_of(inputs[0], self.axis)
        return {"gamma": sizes, "beta": sizes}

    def lower(self, x: Tensor) -> Tensor:
        axes, dtype, x = self.axes(x.rank), x.dtype, ops.floats(x)
        centered = x - ops.mean(x, axes, keepdims=True)
        inverse = ops.Rsqrt(ops.mean(ops.Square(centered), axes, keepdims=True) + self.epsilon)
        # Keras divides by the deviation with rms_scaling, too, and not by the root mean square
        y = (x if self.rms_scaling else centered) * inverse
        y = y if self.gamma is None else y * spread(ops.as_tensor(self.gamma), x, axes)
        y = y if self.beta is None else y + spread(ops.as_tensor(self.beta), x, axes)
        # Keras casts the result to an integer dtype of x, which truncates it
        return ops.floats(ops.cast(y, dtype))


def axes_of(axis: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The axes of the option `axis` as non-negative numbers, in order."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(axis_of(number, rank) for number in axes))


def sizes_of(x: Shape, axis: int | tuple[int, ...]) -> Shape:
    """The sizes of the axes in the order of Keras: sorted as written, before normalization."""
    axes = sorted(axis) if isinstance(axis, tuple) else (axis,)
    return tuple(x[axis_of(number, len(x))] for number in axes)


def spread(vector: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Reshape a weight with the sizes of `axes` of x so that it broadcasts to x."""
    positions = range(axes[0], x.rank)
    return ops.reshape(vector, tuple(x.shape[i] if i in axes else 1 for i in positions))


class GroupNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta, with the moments of each group.

    A group consists of consecutive channels of one sample, at all positions.
    """

    traits = Traits(mask=MaskRule.PASSES, integers=TRUNCATES, identity=COMPUTES)

    groups: Count = 32
    axis: int = -1
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True

    gamma: Weight | None = weight(when="scale")  # [channels]
    beta: Weight | None = weight(when="center")  # [channels]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        channels = (inputs[0][axis_of(self.axis, len(inputs[0]))],)
        return {"gamma": channels, "beta": channels}

    def lower(self, x: Tensor) -> Tensor:
        """Normalize in shape [batch, before, groups, channels / groups, after].

        `before` and `after` are missing if there are no such axes.
        """
        axis = axis_of(self.axis, x.rank)
        (channels,) = ops.known((x.shape[axis],))
        groups = channels if self.groups == -1 else self.groups
        if not axis or channels % groups:
            raise ShapeError(
                f"the {channels} channels of axis {self.axis} cannot be divided into {groups} "
                "groups"
            )
        before, after = whole(x.shape[1:axis]), whole(x.shape[axis + 1 :])
        inner = (groups, channels // groups, *after)
        batch = ops.dim(x, 0) if -1 in (*before, *after) else -1
        y = ops.reshape(ops.floats(x), (batch, *before, *inner))
        axes = [i for i in range(1, y.rank) if i != 1 + len(before)]
        centered = y - ops.mean(y, axes, keepdims=True)
        y = centered * ops.Rsqrt(ops.mean(ops.Square(centered), axes, keepdims=True) + self.epsilon)
        ones = (groups, channels // groups, *(1,) * len(after))
        y = y if self.gamma is None else y * ops.reshape(ops.as_tensor(self.gamma), ones)
        y = y if self.beta is None else y + ops.reshape(ops.as_tensor(self.beta), ones)
        # Keras casts the result to an integer dtype of x, which truncates it
        return ops.floats(ops.cast(ops.reshape(y, ops.dims(x)), x.dtype))


def whole(sizes: Shape) -> Shape:
    """The shape of these axes merged into one: -1 for an unknown size, () without axes."""
    if not sizes:
        return ()
    known = [size for size in sizes if size is not None]
    return (prod(known) if len(known) == len(sizes) else -1,)


class RMSNormalization(Layer):
    """x / sqrt(mean(x²) + epsilon) · scale, with the mean over `axis`, in the dtype of x."""

    traits = Traits(mask=MaskRule.STOPS, integers=TRUNCATES_AND_KEEPS, identity=COMPUTES)

    axis: int | tuple[int, ...] = -1
    epsilon: float = 1e-6
    signature = ("x",)
    tensors = ("x",)

    # the sizes of the axes; it is multiplied with the last axes of x, even if these are others
    scale: Weight = weight()

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        return {"scale": sizes_of(inputs[0], self.axis)}

    def lower(self, x: Tensor) -> Tensor:
        y = ops.floats(x)
        mean = ops.mean(ops.Square(y), axes_of(self.axis, x.rank), keepdims=True)
        return ops.cast(y * ops.Rsqrt(mean + self.epsilon) * self.scale, x.dtype)


class UnitNormalization(Layer):
    """x / sqrt(Σx²), with the sum over `axis`; 0 where all of x is 0."""

    traits = Traits(mask=MaskRule.PASSES, integers=WEIGHS, identity=COMPUTES)

    axis: int | tuple[int, ...] = -1

    def lower(self, x: Tensor) -> Tensor:
        x = ops.floats(x)
        total = ops.sum_(ops.Square(x), axes_of(self.axis, x.rank), keepdims=True)
        return x * ops.Rsqrt(ops.maximum(total, 1e-24))


class SpectralNormalization(Wrapper):
    """Applies the layer inside. The file stores its kernel normalized."""

    traits = Traits(
        mask=MaskRule.BACKEND,
        integers=WRAPS,
        identity=(
            "normalizes its kernel only during training, and the file stores the normalized kernel"
        ),
        wraps=True,
        acts_in_training=True,
    )

    power_iterations: Count = 1
    layer: Any = None

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> tuple[Shape, ...] | None:
        return inside.infer(inside.parts["layer"], inputs)

    def lower_around(self, inside: Inside, *inputs: Tensor) -> tuple[Tensor, ...]:
        return inside.lower(inside.parts["layer"], inputs)
