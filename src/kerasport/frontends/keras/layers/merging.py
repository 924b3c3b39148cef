"""Layers that merge several tensors into one.

The inputs broadcast, after axes of size 1 are added after the batch to those of lower rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

from kerasport.errors import ShapeError
from kerasport.frontends.keras.layers.base import Layer
from kerasport.frontends.keras.layers.traits import (
    COMPUTES,
    GROWS,
    JOINS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import Shape, axis_of

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


def broadcast(a: Shape, b: Shape) -> Shape:
    """Shape of two merged tensors. The shorter shape gets axes of size 1 after the batch.

    Raises:
        ShapeError: the shapes cannot be broadcast together.
    """
    rank = max(len(a), len(b))
    a, b = ((*s[:1], *(1,) * (rank - len(s)), *s[1:]) for s in (a, b))
    if any(m != n and 1 not in (m, n) and None not in (m, n) for m, n in zip(a, b, strict=True)):
        raise ShapeError(f"{a} and {b} cannot be broadcast together")
    return tuple(n if m == 1 or (m is None and n != 1) else m for m, n in zip(a, b, strict=True))


class _Merge(Layer):
    traits = Traits(mask=MaskRule.MERGES, integers=GROWS, identity=COMPUTES, counts_booleans=True)

    arity: ClassVar[tuple[int, int | None]] = (1, None)

    def infer(self, *inputs: Shape) -> Shape:
        if () in inputs:
            raise ShapeError("it needs inputs with a batch axis, got the shape ()")
        shape = inputs[0]
        for other in inputs[1:]:
            shape = broadcast(shape, other)
        # only constants have a known batch size
        batches = [x[0] for x in inputs if x[0] is not None]
        return (max(batches) if len(batches) == len(inputs) else None, *shape[1:])

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        """The merge of two tensors that broadcast to each other."""
        raise NotImplementedError

    def lower(self, *inputs: Tensor) -> Tensor:
        result, *rest = same_rank(inputs)
        for other in rest:
            result = self.pair(result, other)
        return result


def same_rank(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs with axes of size 1 added after the batch, so that all have the same rank."""
    rank = max(x.rank for x in inputs)
    return tuple(
        ops.expand_dims(x, *range(1, 1 + rank - x.rank)) if x.rank < rank else x for x in inputs
    )


class Add(_Merge):
    """Sum of the inputs, in their promoted dtype."""

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.add(a, b)


class Subtract(_Merge):
    """First input minus the second, in their promoted dtype."""

    arity = (2, 2)

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sub(a, b)


class Average(Add):
    """Mean of the inputs, float32."""

    def lower(self, *inputs: Tensor) -> Tensor:
        return super().lower(*inputs) / len(inputs)


class _MaskedMerge(_Merge):
    """A merge that ignores masked time steps of an input."""

    traits = Traits(
        mask=MaskRule.MERGES, integers=GROWS, identity=COMPUTES, mask_input=MaskInput.MERGED
    )

    def lower(self, *inputs: Tensor, masks: Sequence[Tensor | None] | None = None) -> Tensor:
        # Keras loses the masks of inputs to which it adds axes
        rank = max(x.rank for x in inputs)
        spread = [
            None if mask is None or x.rank < rank else of_features(mask, x)
            for x, mask in zip(inputs, masks or (None,) * len(inputs), strict=True)
        ]
        return self.masked(same_rank(inputs), spread)

    def masked(self, inputs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        """The merge of inputs of equal rank, with masks that broadcast to them."""
        raise NotImplementedError


def of_features(mask: Tensor, x: Tensor) -> Tensor:
    """A mask [batch, time] of x [batch, time, features] as bool [batch, time, 1].

    Raises:
        ShapeError: the rank of the mask is not that of x minus 1. Keras fails then, too.
    """
    if mask.rank != x.rank - 1:
        raise ShapeError(
            f"a mask of shape {mask.shape} cannot be broadcast to an input of shape {x.shape}"
        )
    return ops.expand_dims(ops.cast(mask, "bool"), mask.rank)


def truths(y: Tensor, *inputs: Tensor) -> Tensor:
    """y as bool if all inputs are bool, else y itself."""
    return ops.cast(y, "bool") if all(x.dtype == "bool" for x in inputs) else y


class Multiply(_MaskedMerge):
    """Product of the inputs, without masked time steps; 0 where all inputs are masked."""

    def masked(self, inputs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        pairs = zip(inputs, masks, strict=True)
        counted = [
            x if mask is None else ops.where(mask, x, ops.constant(1, x.dtype)) for x, mask in pairs
        ]
        product = truths(reduce(ops.mul, counted), *inputs)
        known = [mask for mask in masks if mask is not None]
        if len(known) < len(masks):
            return product
        return ops.where(reduce(ops.logical_or, known), product, ops.constant(0, product.dtype))


class _Extreme(_MaskedMerge):
    """Merges pairs: the input that is not masked, or the larger or smaller one of both."""

    traits = Traits(
        mask=MaskRule.MERGES,
        integers=JOINS,
        identity=COMPUTES,
        mask_input=MaskInput.MERGED,
        integer_dtype=True,
    )

    def masked(self, inputs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        result, seen = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            other = x if mask is None else ops.where(mask, x, result)
            own = result if seen is None else ops.where(seen, result, other)
            seen = None if seen is None or mask is None else ops.logical_or(seen, mask)
            result = self.pair(own, other)
        return result


class Maximum(_Extreme):
    """Elementwise maximum of the inputs, in their promoted dtype."""

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return truths(ops.maximum(a, b), a, b)


class Minimum(_Extreme):
    """Elementwise minimum of the inputs, in their promoted dtype."""

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return truths(ops.minimum(a, b), a, b)


def _known_size(sizes: Sequence[int | None]) -> int | None:
    """The first known size, of several that are equal if they are known."""
    return next((size for size in sizes if size is not None), None)


class Concatenate(Layer):
    """Concatenation of the inputs along `axis`, in their promoted dtype."""

    traits = Traits(
        mask=MaskRule.CONCATENATES,
        integers=JOINS,
        identity=COMPUTES,
        keeps_values=True,
        integer_dtype=True,
    )

    axis: int = -1
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    def infer(self, *inputs: Shape) -> Shape:
        axis = axis_of(self.axis, len(inputs[0]))
        for other in inputs[1:]:
            pairs = enumerate(zip(inputs[0], other, strict=False))
            same = all(m == n or None in (m, n) for i, (m, n) in pairs if i != axis)
            if len(other) != len(inputs[0]) or not same:
                raise ShapeError(
                    f"{inputs[0]} and {other} cannot be concatenated along axis {axis}"
                )
        sizes = [shape[axis] for shape in inputs]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        columns = list(zip(*inputs, strict=True))
        joined = list(map(_known_size, columns))
        return (*joined[:axis], total, *joined[axis + 1 :])

    def lower(self, *inputs: Tensor) -> Tensor:
        return ops.concat(inputs, self.axis)


class Dot(Layer):
    """Sums of products of two inputs along one axis of each, for each sample.

    a [batch, *rest_a] and b [batch, *rest_b] give [batch, *rest], with all axes of both except the
    summed ones.
    """

    traits = Traits(mask=MaskRule.STOPS, integers=GROWS, identity=COMPUTES, counts_booleans=True)

    axes: int | tuple[int, int]
    normalize: bool = False
    arity = (2, 2)

    def pair(self, ranks: tuple[int, int]) -> tuple[int, int]:
        """The summed axes of both inputs, as non-negative numbers."""
        axes = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        return axis_of(axes[0], ranks[0]), axis_of(axes[1], ranks[1])

    def infer(self, *inputs: Shape) -> Shape:
        a, b = inputs
        left, right = self.pair((len(a), len(b)))
        if a[left] != b[right] and None not in (a[left], b[right]):
            raise ShapeError(f"axis {left} of {a} and axis {right} of {b} have different sizes")
        rest = [d for axis, d in enumerate(a) if axis not in (0, left)]
        rest += [d for axis, d in enumerate(b) if axis not in (0, right)]
        return (a[0], *(rest or [1]))

    def lower(self, a: Tensor, b: Tensor) -> Tensor:
        left, right = self.pair((a.rank, b.rank))
        if self.normalize:
            a, b = unit(a, left), unit(b, right)
        labels = "bcdefghijklm"
        first = "a" + labels[: a.rank - 1]
        second = "a" + labels[a.rank - 1 : a.rank + b.rank - 2]
        second = second[:right] + first[left] + second[right + 1 :]
        out = "a" + "".join(c for c in first[1:] + second[1:] if c != first[left])
        y = ops.einsum(f"{first},{second}->{out}", a, b)
        return ops.expand_dims(y, 1) if y.rank == 1 else y


def unit(x: Tensor, axis: int) -> Tensor:
    """x / √max(Σx², 1e-12), with the sum along an axis."""
    return x * ops.Rsqrt(ops.maximum(ops.sum_(ops.Square(x), axis, keepdims=True), 1e-12))
