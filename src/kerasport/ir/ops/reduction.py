"""Operations that reduce or accumulate elements along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import FLOATS, NUMBERS, DType
from kerasport.ir.ops.movement import Size, expect_sizes, extent_of
from kerasport.ir.tensor import Several, Tensor, TensorType, expect
from kerasport.weights import Array, axis_of


class Reduction(Tensor):
    """A reduction of `x` along axes, with `function` in numpy.

    A class sets `takes`, the supported element types, and `result`, the element type of the result
    if it differs from that of `x`.
    """

    x: Tensor
    # not negative, in ascending order
    axes: tuple[int, ...]
    # whether the result has the axes with size 1
    keepdims: bool = False
    function: ClassVar[Callable[..., Any]]
    takes: ClassVar[tuple[DType, ...]] = NUMBERS
    result: ClassVar[DType | None] = None

    def infer(self) -> TensorType:
        expect(self, self.x, self.takes)
        if not all(0 <= axis < self.x.rank for axis in self.axes):
            raise ShapeError(f"axes {self.axes} do not exist in {self.x.type}")
        kept = [
            1 if axis in self.axes else d
            for axis, d in enumerate(self.x.extents)
            if self.keepdims or axis not in self.axes
        ]
        return TensorType(self.result or self.x.dtype, tuple(kept))

    def compute(self, *operands: Any) -> Array:
        reduced: Array = np.asarray(
            type(self).function(operands[0], axis=self.axes, keepdims=self.keepdims)
        )
        return reduced.astype(operands[0].dtype, copy=False) if self.result is None else reduced


class Sum(Reduction):
    """The sum along axes."""

    function = np.sum


class Mean(Reduction):
    """The mean along axes."""

    takes = FLOATS
    function = np.mean


class Max(Reduction):
    """The largest element along axes."""

    function = np.max


class Min(Reduction):
    """The smallest element along axes."""

    function = np.min


class Prod(Reduction):
    """The product along axes."""

    function = np.prod


class Any_(Reduction):  # noqa: N801  (`Any` is typing's)
    """Whether at least one element along axes is true."""

    takes = ("bool",)
    result = "bool"
    function = np.any


class All(Reduction):
    """Whether all elements along axes are true."""

    takes = ("bool",)
    result = "bool"
    function = np.all


class ArgReduction(Tensor):
    """The int32 index of the largest or smallest element along an axis, the first one of equals."""

    x: Tensor
    axis: int
    function: ClassVar[Callable[..., Any]]

    def infer(self) -> TensorType:
        expect(self, self.x, NUMBERS)
        return TensorType(
            "int32", tuple(d for axis, d in enumerate(self.x.extents) if axis != self.axis)
        )

    def compute(self, *operands: Any) -> Array:
        result: Array = np.asarray(type(self).function(operands[0], axis=self.axis)).astype(
            np.int32
        )
        return result


class ArgMax(ArgReduction):
    """The int32 index of the largest element along an axis."""

    function = np.argmax


class ArgMin(ArgReduction):
    """The int32 index of the smallest element along an axis."""

    function = np.argmin


class Cumulative(Tensor):
    """A cumulative reduction along an axis: element i is the result for the elements 0 … i.

    With `exclusive`, it is the result for the elements 0 … i - 1, which is `start` for none. With
    `reverse`, the elements are accumulated from the end of the axis.
    """

    x: Tensor
    axis: int
    exclusive: bool = False
    reverse: bool = False
    function: ClassVar[Callable[..., Any]]
    start: ClassVar[int]

    def infer(self) -> TensorType:
        expect(self, self.x, NUMBERS)
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x = np.flip(operands[0], self.axis) if self.reverse else operands[0]
        y = type(self).function(x, axis=self.axis).astype(x.dtype)
        if self.exclusive:
            head = np.full_like(np.take(y, [0], self.axis), self.start)
            y = np.concatenate([head, np.delete(y, -1, self.axis)], self.axis)
        return np.flip(y, self.axis) if self.reverse else y


class Cumsum(Cumulative):
    """The cumulative sum along an axis."""

    function = np.cumsum
    start = 0


class Cumprod(Cumulative):
    """The cumulative product along an axis."""

    function = np.cumprod
    start = 1


class Softmax(Tensor):
    """exp(x) / Σ exp(x) over the last axis."""

    x: Tensor

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        powers = np.exp(operands[0] - operands[0].max(-1, keepdims=True))
        result: Array = powers / powers.sum(-1, keepdims=True)
        return result


class LogSoftmax(Tensor):
    """x - log Σ exp(x) over the last axis."""

    x: Tensor

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        shifted = operands[0] - operands[0].max(-1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        return result


class TopK(Several):
    """The k largest elements of x [..., n] in descending order, and their indices.

    Both results are [..., k]. The indices are int32. k may be a scalar known only at run time.
    """

    x: Tensor
    k: Size

    def infer(self) -> tuple[TensorType, ...]:
        expect_sizes(self, self.k)
        shape = (*self.x.extents[:-1], extent_of(self.k))
        return TensorType(self.x.dtype, shape), TensorType("int32", shape)

    def compute(self, *operands: Any) -> tuple[Array, Array]:
        x = operands[0]
        k = self.k if isinstance(self.k, int) else int(operands[1])
        keys = np.iinfo(x.dtype).max - x if x.dtype.kind == "u" else -x
        places = np.argsort(keys, axis=-1, kind="stable")[..., :k]
        return np.take_along_axis(operands[0], places, -1), places.astype(np.int32)


def axes_of(x: Tensor, axis: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes as non-negative numbers in ascending order; all axes of `x` for None.

    Raises:
        ShapeError: `x` does not have one of the axes.
    """
    if axis is None:
        return tuple(range(x.rank))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(sorted({axis_of(number, x.rank) for number in axes}))


def reduction(op: type[Reduction]) -> Callable[..., Tensor]:
    """A function that applies a reduction, with the arguments of keras.ops."""

    def reduce(
        x: Tensor, axis: int | Sequence[int] | None = None, *, keepdims: bool = False
    ) -> Tensor:
        axes = axes_of(x, axis)
        return op(x, axes, keepdims) if axes else x

    return reduce


sum_, mean, max_, min_, prod = (reduction(op) for op in (Sum, Mean, Max, Min, Prod))
any_, all_ = reduction(Any_), reduction(All)
