"""Pooling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from kerasport.budget import matrix, reserve
from kerasport.errors import Refusal
from kerasport.frontends.keras.layers.base import Count, Counts, Padding
from kerasport.frontends.keras.layers.conv import _Spatial, window_output
from kerasport.frontends.keras.layers.resampling import weighted
from kerasport.frontends.keras.layers.traits import (
    COMPUTES,
    KEEPS,
    WEIGHS,
    WRAPS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import Array, Shape

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class _Pooling(_Spatial):
    pool_size: Counts
    strides: Counts | None = None
    padding: Padding = "valid"

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        axes = zip(spatial, self.pool_size, self.strides or self.pool_size, strict=True)
        out = tuple(window_output(n, k, s, self.padding) for n, k, s in axes)
        return self.join(inputs[0], out, channels)

    kind: ClassVar[Literal["max", "average"]]

    def lower(self, x: Tensor) -> Tensor:
        y = pool(
            self.kind,
            self.channels_last(x),
            self.pool_size,
            self.strides or self.pool_size,
            self.padding,
        )
        return self.as_declared(y)


def pool(
    kind: Literal["max", "average"],
    x: Tensor,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
) -> Tensor:
    """Pool each window of x [batch, *spatial, channels]: [batch, *out, channels].

    Means are float32, and maxima have the dtype of x.
    """
    if len(window) == 1:
        return ops.squeeze(
            pool(kind, ops.expand_dims(x, 1), (1, *window), (1, *strides), padding), 1
        )
    if kind == "average":
        return ops.AvgPool(ops.floats(x), window, strides, padding)
    return ops.cast(ops.MaxPool(ops.floats(x), window, strides, padding), x.dtype)


class _AveragePooling(_Pooling):
    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    kind = "average"


class _MaxPooling(_Pooling):
    traits = Traits(mask=MaskRule.STOPS, integers=KEEPS, identity=COMPUTES, integer_dtype=True)

    kind = "max"


class AveragePooling1D(_AveragePooling):
    """Mean of each window without padding, float32."""

    rank = 1


class AveragePooling2D(_AveragePooling):
    """Mean of each window without padding, float32."""

    rank = 2


class AveragePooling3D(_AveragePooling):
    """Mean of each window without padding, float32."""

    rank = 3


class MaxPooling1D(_MaxPooling):
    """Maximum of each window, in the dtype of x."""

    rank = 1


class MaxPooling2D(_MaxPooling):
    """Maximum of each window, in the dtype of x."""

    rank = 2


class MaxPooling3D(_MaxPooling):
    """Maximum of each window, in the dtype of x."""

    rank = 3


class _GlobalPooling(_Spatial):
    keepdims: bool = False

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        if self.keepdims:
            return self.join(inputs[0], (1,) * len(spatial), channels)
        return (inputs[0][0], channels)

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """The spatial axes of x."""
        return (
            tuple(range(1, x.rank - 1))
            if self.data_format == "channels_last"
            else tuple(range(2, x.rank))
        )


class _GlobalAverage(_GlobalPooling):
    traits = Traits(mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES)

    def lower(self, x: Tensor) -> Tensor:
        return ops.mean(ops.floats(x), self.axes(x), keepdims=self.keepdims)


class _GlobalMax(_GlobalPooling):
    traits = Traits(mask=MaskRule.STOPS, integers=KEEPS, identity=COMPUTES, integer_dtype=True)

    def lower(self, x: Tensor) -> Tensor:
        return ops.max_(x, self.axes(x), keepdims=self.keepdims)


class GlobalAveragePooling1D(_GlobalAverage):
    """Mean over the unmasked time steps: [batch, time, channels] to float32 [batch, channels]."""

    traits = replace(_GlobalAverage.traits, mask_input=MaskInput.FIRST)

    rank = 1
    signature = ("inputs", "mask")

    def lower(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().lower(x)
        counted = ops.expand_dims(ops.floats(mask), 2 if self.data_format == "channels_last" else 1)
        axes = self.axes(x)
        total = ops.sum_(x * counted, axes, keepdims=self.keepdims)
        return total / ops.sum_(counted, axes, keepdims=self.keepdims)


class GlobalAveragePooling2D(_GlobalAverage):
    """Mean over height and width: [batch, height, width, channels] to float32 [batch, channels]."""

    rank = 2


class GlobalAveragePooling3D(_GlobalAverage):
    """Mean over three spatial axes: [batch, *spatial, channels] to float32 [batch, channels]."""

    rank = 3


class GlobalMaxPooling1D(_GlobalMax):
    """Maximum over time: [batch, time, channels] to [batch, channels]."""

    rank = 1


class GlobalMaxPooling2D(_GlobalMax):
    """Maximum over height and width: [batch, height, width, channels] to [batch, channels]."""

    rank = 2


class GlobalMaxPooling3D(_GlobalMax):
    """Maximum over three spatial axes: [batch, *spatial, channels] to [batch, channels]."""

    rank = 3


class _AdaptivePooling(_Spatial):
    """Adaptive pooling: [batch, *spatial, channels] to [batch, *output_size, channels].

    Window i of o covers the elements ⌊i·n/o⌋ … ⌈(i+1)·n/o⌉ - 1 of n.
    """

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    output_size: Count | Counts
    kind: ClassVar[Literal["max", "average"]]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of windows on each spatial axis."""
        return (
            self.output_size
            if isinstance(self.output_size, tuple)
            else (self.output_size,) * self.rank
        )

    def infer(self, *inputs: Shape) -> Shape:
        return self.join(inputs[0], self.sizes, self.split(inputs[0])[1])

    def lower(self, x: Tensor) -> Tensor:
        y = ops.floats(self.channels_last(x))
        spatial = y.shape[1:-1]
        if None in spatial:
            raise Refusal(
                "output_size", "the spatial sizes must be fixed; give the input a fixed shape"
            )
        known = ops.known(spatial)
        if 0 in known:
            raise Refusal("", f"its input has no values: its spatial sizes are {known}")
        if all(old % new == 0 for old, new in zip(known, self.sizes, strict=True)):
            window = tuple(old // new for old, new in zip(known, self.sizes, strict=True))
            y = pool(self.kind, y, window, window, "valid")
        else:
            for axis, (old, new) in enumerate(zip(known, self.sizes, strict=True), start=1):
                y = self._along(y, axis, old, new)
        return ops.cast(self.as_declared(y), x.dtype if self.kind == "max" else "float32")

    def _along(self, x: Tensor, axis: int, old: int, new: int) -> Tensor:
        if self.kind == "average":
            return weighted(x, shares(old, new), axis)
        return ops.max_(ops.gather(x, ops.constant(places(old, new)), axis), axis + 1)


def windows(old: int, new: int) -> tuple[Array, Array]:
    """First index and end of each adaptive window, both int64 [new]."""
    reserve(new, 2, itemsize=8)
    reserve(old, itemsize=8)
    return np.arange(new) * old // new, -(-(np.arange(1, new + 1) * old) // new)


def shares(old: int, new: int) -> Array:
    """The weight of each element in the mean of each window, float64 [new, old]."""
    begins, ends = windows(old, new)
    elements = np.arange(old)

    def weights(rows: Array) -> Array:
        first, last = begins[rows], ends[rows]
        means: Array = ((elements >= first) & (elements < last)) / (last - first)
        return means

    return matrix(new, old, weights)


def places(old: int, new: int) -> Array:
    """The indices of each window, int32 [new, longest]. Shorter windows repeat their last index."""
    begins, ends = windows(old, new)
    longest = int(max(ends - begins))
    steps = np.arange(longest)
    return matrix(
        new, longest, lambda rows: np.minimum(begins[rows] + steps, ends[rows] - 1), np.int32
    )


class AdaptiveAveragePooling1D(_AdaptivePooling):
    """Mean of each adaptive window, float32."""

    rank, kind = 1, "average"


class AdaptiveAveragePooling2D(_AdaptivePooling):
    """Mean of each adaptive window, float32."""

    rank, kind = 2, "average"


class AdaptiveAveragePooling3D(_AdaptivePooling):
    """Mean of each adaptive window, float32."""

    rank, kind = 3, "average"


class AdaptiveMaxPooling1D(_AdaptivePooling):
    """Maximum of each adaptive window, in the dtype of x."""

    rank, kind = 1, "max"


class AdaptiveMaxPooling2D(_AdaptivePooling):
    """Maximum of each adaptive window, in the dtype of x."""

    rank, kind = 2, "max"


class AdaptiveMaxPooling3D(_AdaptivePooling):
    """Maximum of each adaptive window, in the dtype of x."""

    rank, kind = 3, "max"
