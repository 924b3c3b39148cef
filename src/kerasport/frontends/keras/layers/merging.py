"""Layers that merge several tensors into one."""

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
    """Shape of a merged pair. The shorter shape gets axes of size 1 after the batch."""
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
        # a constant has a batch size of its own, and the others may be of any
        batch = [given[0] for given in inputs if given[0] is not None]
        return (max(batch) if len(batch) == len(inputs) else None, *shape[1:])

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        """The merge of two."""
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
    """Sum of the inputs."""

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.add(a, b)


class Subtract(_Merge):
    """First input minus the second."""

    arity = (2, 2)

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sub(a, b)


class Average(Add):
    """Mean of the inputs."""

    def lower(self, *inputs: Tensor) -> Tensor:
        return super().lower(*inputs) / len(inputs)


class _MaskedMerge(_Merge):
    """A merge in which masked time steps of an input do not count."""

    traits = Traits(
        mask=MaskRule.MERGES, integers=GROWS, identity=COMPUTES, mask_input=MaskInput.MERGED
    )

    def lower(self, *inputs: Tensor, masks: Sequence[Tensor | None] | None = None) -> Tensor:
        # where it gives some inputs further axes first, Keras no longer finds their masks
        rank = max(x.rank for x in inputs)
        spread = [
            None if mask is None or x.rank < rank else of_features(mask, x)
            for x, mask in zip(inputs, masks or (None,) * len(inputs), strict=True)
        ]
        return self.masked(same_rank(inputs), spread)

    def masked(self, inputs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        """The merge of inputs with masks that broadcast to them."""
        raise NotImplementedError


def of_features(mask: Tensor, x: Tensor) -> Tensor:
    """A mask of all axes of x but the last one, with an axis of 1 for that.

    Raises:
        ShapeError: the mask has other axes, which Keras does not take either.
    """
    if mask.rank != x.rank - 1:
        raise ShapeError(
            f"a mask of shape {mask.shape} cannot be broadcast to an input of shape {x.shape}"
        )
    return ops.expand_dims(ops.cast(mask, "bool"), mask.rank)


def truths(made: Tensor, *inputs: Tensor) -> Tensor:
    """The result as bool if all inputs are bool."""
    return ops.cast(made, "bool") if all(x.dtype == "bool" for x in inputs) else made


class Multiply(_MaskedMerge):
    """Product of the inputs; masked time steps of one do not count, and those of all are 0."""

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
    """Merges pair by pair: the unmasked input, or the extreme of both."""

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
    """Largest of the inputs, element by element."""

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return truths(ops.maximum(a, b), a, b)


class Minimum(_Extreme):
    """Smallest of the inputs, element by element."""

    def pair(self, a: Tensor, b: Tensor) -> Tensor:
        return truths(ops.minimum(a, b), a, b)


def _known_size(sizes: Sequence[int | None]) -> int | None:
    """The first known one of equal sizes."""
    return next((size for size in sizes if size is not None), None)


class Concatenate(Layer):
    """The inputs one after the other along `axis`."""

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
            same = all(
                m == n or m is None or n is None
                for at, (m, n) in enumerate(zip(inputs[0], other, strict=False)) if at != axis
            )  # fmt: skip
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
    """Sum of products of two inputs along one axis of each, sample by sample."""

    traits = Traits(mask=MaskRule.STOPS, integers=GROWS, identity=COMPUTES, counts_booleans=True)

    axes: int | tuple[int, int]
    normalize: bool = False
    arity = (2, 2)

    def pair(self, ranks: tuple[int, int]) -> tuple[int, int]:
        """The contracted axes, counted from the front."""
        axes = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        return axis_of(axes[0], ranks[0]), axis_of(axes[1], ranks[1])

    def infer(self, *inputs: Shape) -> Shape:
        a, b = inputs
        left, right = self.pair((len(a), len(b)))
        if a[left] != b[right] and None not in (a[left], b[right]):
            raise ShapeError(f"axis {left} of {a} and axis {right} of {b} have different sizes")
        rest = [d for at, d in enumerate(a) if at not in (0, left)]
        rest += [d for at, d in enumerate(b) if at not in (0, right)]
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
    """x / √(Σx²) along an axis, the sum at least 1e-12."""
    return x * ops.Rsqrt(ops.maximum(ops.sum_(ops.Square(x), axis, keepdims=True), 1e-12))
