"""Layers that reshape, repeat, crop or pad their input. The dtype stays the same."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from kerasport.errors import ShapeError
from kerasport.frontends.keras.layers.base import (
    Between,
    Count,
    Counts,
    DataFormat,
    Layer,
    Natural,
    PerAxis,
    need_rank,
)
from kerasport.frontends.keras.layers.conv import _Spatial
from kerasport.frontends.keras.layers.resampling import Interpolation, resized_as
from kerasport.frontends.keras.layers.traits import COMPUTES, KEEPS, RESAMPLES, MaskRule, Traits
from kerasport.ir import ops
from kerasport.weights import Shape

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class Flatten(Layer):
    """All axes except the batch merged: [batch, ...] to [batch, size]."""

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=KEEPS,
        identity=COMPUTES,
        keeps_values=True,
        integer_dtype=True,
    )

    data_format: DataFormat = "channels_last"

    def infer(self, *inputs: Shape) -> Shape:
        batch, *rest = inputs[0]
        return (batch, None if None in rest else prod(d for d in rest if d is not None))

    def lower(self, x: Tensor) -> Tensor:
        if x.rank == 1:
            return ops.expand_dims(x, 1)
        if self.data_format == "channels_first" and x.rank > 2:
            x = ops.move_axis(x, 1, -1)
        return ops.flatten_from(x, 1)


class Reshape(Layer):
    """The same values in another shape: [batch, ...] to [batch, *target_shape].

    One size of `target_shape` may be -1.
    """

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=KEEPS,
        identity=COMPUTES,
        keeps_values=True,
        integer_dtype=True,
    )

    target_shape: tuple[Annotated[int, Between(-1)] | None, ...]

    def infer(self, *inputs: Shape) -> Shape:
        batch, *rest = inputs[0]
        target = tuple(-1 if d is None else d for d in self.target_shape)
        if target.count(-1) > 1:
            raise ShapeError(f"target_shape={self.target_shape} has more than one unknown size")
        known = prod(d for d in target if d != -1)
        total = None if None in rest else prod(d for d in rest if d is not None)
        if total is not None and (
            total != known if -1 not in target else known == 0 or total % known
        ):
            raise ShapeError(f"{inputs[0]} cannot be reshaped to {target}")
        unknown = None if total is None or -1 not in target else total // known
        return (batch, *(unknown if d == -1 else d for d in target))

    def lower(self, x: Tensor) -> Tensor:
        target = [-1 if d is None else d for d in self.target_shape]
        inferred = self.infer(x.shape)[1:]
        sizes = [
            d if d != -1 or known is None else known
            for d, known in zip(target, inferred, strict=True)
        ]
        return ops.reshape(x, (ops.dim(x, 0) if -1 in sizes else -1, *sizes))


class Permute(Layer):
    """The axes after the batch in another order; `dims` counts them from 1."""

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=KEEPS,
        identity=COMPUTES,
        keeps_values=True,
        integer_dtype=True,
    )

    dims: tuple[Count, ...]

    def infer(self, *inputs: Shape) -> Shape:
        if sorted(self.dims) != list(range(1, len(inputs[0]))):
            raise ShapeError(f"dims={self.dims} does not list every axis of {inputs[0]} once")
        return (inputs[0][0], *(inputs[0][axis] for axis in self.dims))

    def lower(self, x: Tensor) -> Tensor:
        return ops.transpose(x, (0, *self.dims))


class RepeatVector(Layer):
    """The vector repeated `n` times along a new time axis: [batch, size] to [batch, n, size]."""

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=KEEPS,
        identity=COMPUTES,
        keeps_values=True,
        integer_dtype=True,
    )

    n: Natural

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 2)
        return (inputs[0][0], self.n, inputs[0][1])

    def lower(self, x: Tensor) -> Tensor:
        return ops.Tile(ops.expand_dims(x, 1), (1, self.n, 1))


class _Resized(_Spatial):
    def resized(self, axis: int, size: int) -> int:
        raise NotImplementedError

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        out = tuple(None if d is None else self.resized(i, d) for i, d in enumerate(spatial))
        return self.join(inputs[0], out, channels)


Pair: TypeAlias = tuple[Natural, Natural]
Amounts: TypeAlias = Natural | Annotated[tuple[Natural | Pair, ...], PerAxis()]
"""Amounts before and after each spatial axis: one for all, or one or a pair per axis."""
Amounts1D: TypeAlias = Natural | Pair


def pair(option: Any, axis: int) -> tuple[int, int]:
    """The amounts before and after an axis, from an option of type `Amounts`."""
    of_axis = option[axis] if isinstance(option, tuple) else option
    return (of_axis, of_axis) if isinstance(of_axis, int) else (of_axis[0], of_axis[1])


class _Cropping(_Resized):
    traits = Traits(
        mask=MaskRule.STOPS,
        integers=KEEPS,
        identity=COMPUTES,
        keeps_values=True,
        integer_dtype=True,
    )

    cropping: Amounts

    def amount(self, axis: int) -> tuple[int, int]:
        """Number of elements to cut at both ends of a spatial axis."""
        return pair((self.cropping,) if self.rank == 1 else self.cropping, axis)

    def lower(self, x: Tensor) -> Tensor:
        parts: list[tuple[int | None, int | None, int]] = []
        for axis in range(self.rank):
            before, after = self.amount(axis)
            size = self.split(x.shape)[0][axis]
            end = -after if size is None else size - after
            parts.append((before, end if after else None, 1))
        last = self.data_format == "channels_last"
        return ops.strided(
            x, (ops.WHOLE, *parts, ops.WHOLE) if last else (ops.WHOLE, ops.WHOLE, *parts)
        )

    def resized(self, axis: int, size: int) -> int:
        left = size - sum(self.amount(axis))
        if left < 0:
            raise ShapeError(f"cropping={self.cropping} removes more than the size {size}")
        return left


class Cropping1D(_Cropping):
    """A sequence [batch, time, channels] without its ends."""

    rank = 1
    cropping: Amounts1D = (1, 1)


class Cropping2D(_Cropping):
    """An image [batch, height, width, channels] without its borders."""

    rank = 2
    cropping: Amounts = ((0, 0), (0, 0))


class Cropping3D(_Cropping):
    """A volume [batch, depth, height, width, channels] without its borders."""

    rank = 3
    cropping: Amounts = ((1, 1), (1, 1), (1, 1))


class _ZeroPadding(_Resized):
    traits = Traits(mask=MaskRule.STOPS, integers=KEEPS, identity=COMPUTES, integer_dtype=True)

    padding: Amounts

    def amount(self, axis: int) -> tuple[int, int]:
        """Number of zeros to add at both ends of a spatial axis."""
        return pair((self.padding,) if self.rank == 1 else self.padding, axis)

    def lower(self, x: Tensor) -> Tensor:
        amounts = [self.amount(axis) for axis in range(self.rank)]
        none = (0, 0)
        return ops.pad(
            x,
            (none, *amounts, none)
            if self.data_format == "channels_last"
            else (none, none, *amounts),
        )

    def resized(self, axis: int, size: int) -> int:
        return size + sum(self.amount(axis))


class ZeroPadding1D(_ZeroPadding):
    """A sequence [batch, time, channels] with zeros before and after it."""

    rank = 1
    padding: Amounts1D = 1


class ZeroPadding2D(_ZeroPadding):
    """An image [batch, height, width, channels] with zeros around it."""

    rank = 2
    padding: Amounts = ((1, 1), (1, 1))


class ZeroPadding3D(_ZeroPadding):
    """A volume [batch, depth, height, width, channels] with zeros around it."""

    rank = 3
    padding: Amounts = ((1, 1), (1, 1), (1, 1))


class _UpSampling(_Resized):
    traits = Traits(mask=MaskRule.STOPS, integers=KEEPS, identity=COMPUTES)

    size: Counts | Count

    def resized(self, axis: int, size: int) -> int:
        return size * self.factors()[axis]

    def factors(self) -> tuple[int, ...]:
        """The factor by which each spatial axis grows."""
        return tuple(self.size) if isinstance(self.size, tuple) else (int(self.size),) * self.rank

    def lower(self, x: Tensor) -> Tensor:
        y = self.channels_last(x)
        for axis, factor in enumerate(self.factors(), start=1):
            y = ops.repeat(y, factor, axis)
        return self.as_declared(y)


class UpSampling1D(_UpSampling):
    """Each time step repeated: [batch, time, channels] to [batch, time · size, channels]."""

    traits = replace(_UpSampling.traits, integer_dtype=True)

    rank = 1
    size: Counts | Count = 2


class UpSampling2D(_UpSampling):
    """An image [batch, height, width, channels] enlarged by two factors."""

    traits = replace(_UpSampling.traits, integers=RESAMPLES)

    rank: ClassVar[int] = 2
    size: Counts | Count = (2, 2)
    interpolation: Interpolation | Literal["bilinear_keras2"] = "nearest"

    def lower(self, x: Tensor) -> Tensor:
        if self.interpolation == "nearest":
            return super().lower(x)
        y = self.channels_last(x)
        height, width = (
            ops.product((ops.dim(y, axis), n)) for axis, n in enumerate(self.factors(), start=1)
        )
        return self.as_declared(resized_as(y, (height, width), self.interpolation, x.dtype))


class UpSampling3D(_UpSampling):
    """A volume [batch, depth, height, width, channels] with each voxel repeated."""

    rank = 3
    size: Counts | Count = (2, 2, 2)
