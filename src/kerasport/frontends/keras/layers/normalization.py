"""Normalization layers."""

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
    renorm: bool = False  # the moving standard deviations that it adds serve training only
    ignored = ("synchronized", "virtual_batch_size", "fused", "renorm_clipping", "renorm_momentum",
               "adjustment")  # fmt: skip
    signature = ("inputs", "training", "mask")

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
    """Reshape a tensor over some axes of x so that it broadcasts to x."""
    places = sorted(axis_of(axis, x.rank) for axis in axes)
    sizes = iter(ops.dims(vector))
    return ops.reshape(
        vector, tuple(next(sizes) if at in places else 1 for at in range(places[0], x.rank))
    )


class LayerNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta, mean and variance over `axis`."""

    traits = Traits(mask=MaskRule.PASSES, integers=TRUNCATES, identity=COMPUTES)

    axis: int | tuple[int, ...] = -1
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    rms_scaling: bool = False

    gamma: Weight | None = weight(when="scale")  # sizes of the axes, in order
    beta: Weight | None = weight(when="center")

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """With rms_scaling there is a gamma and no beta, whatever `scale` and `center` say."""
        if config.get("rms_scaling"):
            return {"gamma": cls.weights["gamma"]}
        return super().declared_weights(config)

    def axes(self, rank: int) -> tuple[int, ...]:
        """The normalized axes, counted from the front, in order."""
        return axes_of(self.axis, rank)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        sizes = sizes_of(inputs[0], self.axis)
        return {"gamma": sizes, "beta": sizes}

    def lower(self, x: Tensor) -> Tensor:
        axes, dtype, x = self.axes(x.rank), x.dtype, ops.floats(x)
        centred = x - ops.mean(x, axes, keepdims=True)
        inverse = ops.Rsqrt(ops.mean(ops.Square(centred), axes, keepdims=True) + self.epsilon)
        # with rms_scaling too it is the variance that counts
        y = (x if self.rms_scaling else centred) * inverse
        y = y if self.gamma is None else y * spread(ops.as_tensor(self.gamma), x, axes)
        y = y if self.beta is None else y + spread(ops.as_tensor(self.beta), x, axes)
        return ops.floats(ops.cast(y, dtype))  # Keras cuts off fractions of integers


def axes_of(axis: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The normalized axes, counted from the front, in order."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(axis_of(each, rank) for each in axes))


def sizes_of(x: Shape, axis: int | tuple[int, ...]) -> Shape:
    """The sizes of axes in the order of Keras weights: sorted by the axis as written."""
    axes = sorted(axis) if isinstance(axis, tuple) else (axis,)
    return tuple(x[axis_of(each, len(x))] for each in axes)


def spread(vector: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A weight over some axes of x, its numbers in the order of those, so that it broadcasts."""
    return ops.reshape(
        vector, tuple(x.shape[at] if at in axes else 1 for at in range(axes[0], x.rank))
    )


class GroupNormalization(Layer):
    """Normalize the channels of a group together, per sample; the shape of x."""

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
        """Normalizes [batch, before, groups, channels per group, after], without empty axes."""
        axis = axis_of(self.axis, x.rank)
        (channels,) = ops.known((x.shape[axis],))
        groups = channels if self.groups == -1 else self.groups
        if not axis or channels % groups:
            raise ShapeError(
                f"the {channels} channels of axis {self.axis} cannot be divided into {groups} "
                "groups"
            )
        before, behind = whole(x.shape[1:axis]), whole(x.shape[axis + 1 :])
        inner = (groups, channels // groups, *behind)
        y = ops.reshape(
            ops.floats(x), (ops.dim(x, 0) if -1 in (*before, *behind) else -1, *before, *inner)
        )
        axes = [at for at in range(1, y.rank) if at != 1 + len(before)]
        centred = y - ops.mean(y, axes, keepdims=True)
        y = centred * ops.Rsqrt(ops.mean(ops.Square(centred), axes, keepdims=True) + self.epsilon)
        ones = (groups, channels // groups, *(1,) * len(behind))
        y = y if self.gamma is None else y * ops.reshape(ops.as_tensor(self.gamma), ones)
        y = y if self.beta is None else y + ops.reshape(ops.as_tensor(self.beta), ones)
        return ops.floats(
            ops.cast(ops.reshape(y, ops.dims(x)), x.dtype)
        )  # Keras cuts off fractions of integers


def whole(sizes: Shape) -> Shape:
    """The axes as one axis, -1 if its size is unknown; no axis if there are none."""
    if not sizes:
        return ()
    known = [size for size in sizes if size is not None]
    return (prod(known) if len(known) == len(sizes) else -1,)


class RMSNormalization(Layer):
    """x / sqrt(mean(x²) + epsilon) · scale, over `axis`."""

    traits = Traits(mask=MaskRule.STOPS, integers=TRUNCATES_AND_KEEPS, identity=COMPUTES)

    axis: int | tuple[int, ...] = -1
    epsilon: float = 1e-6
    signature = ("x",)
    tensors = ("x",)

    scale: Weight = weight()  # sizes of the axes; it meets the last axes of x, whichever those are

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        return {"scale": sizes_of(inputs[0], self.axis)}

    def lower(self, x: Tensor) -> Tensor:
        y = ops.floats(x)
        mean = ops.mean(ops.Square(y), axes_of(self.axis, x.rank), keepdims=True)
        return ops.cast(y * ops.Rsqrt(mean + self.epsilon) * self.scale, x.dtype)


class UnitNormalization(Layer):
    """x / sqrt(Σx²), over `axis`; 0 where x is."""

    traits = Traits(mask=MaskRule.PASSES, integers=WEIGHS, identity=COMPUTES)

    axis: int | tuple[int, ...] = -1

    def lower(self, x: Tensor) -> Tensor:
        x = ops.floats(x)
        total = ops.sum_(ops.Square(x), axes_of(self.axis, x.rank), keepdims=True)
        return x * ops.Rsqrt(ops.maximum(total, 1e-24))


class SpectralNormalization(Wrapper):
    """The layer inside. Its stored kernel is normalized already."""

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
