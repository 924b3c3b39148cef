"""Reductions, cumulative functions, sorting and segments.

A reduction of x [...] removes the axes `axis`, or all axes without it; with `keepdims` they get
size 1. Means and deviations are float32, predicates bool, and indices int32. Sums and products
have at least 32 bits. All other results have the dtype of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.keras.functions.arguments import (
    flat,
    known_value,
    named,
    several,
    size,
    summed_dtype,
)
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS, NUMPY
from kerasport.ir.ops import Tensor, where
from kerasport.ir.tensor import as_tensor, constant
from kerasport.weights import axis_of

Axis: TypeAlias = int | Sequence[int] | None


def counting(x: Tensor) -> Tensor:
    """Return x as numbers: bool becomes int32."""
    return ops.cast(x, "int32") if x.dtype == "bool" else x


def sum_(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Σ x."""
    return ops.sum_(ops.cast(x, summed_dtype(x.dtype)), axis, keepdims=keepdims)


def mean(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean as a float, also for integers."""
    return ops.mean(ops.floats(x), axis, keepdims=keepdims)


def prod(
    x: Tensor, *, axis: Axis = None, keepdims: bool = False, dtype: str | None = None
) -> Tensor:
    """Π x."""
    y = ops.cast(x, summed_dtype(x.dtype) if dtype is None else named(dtype))
    return ops.prod(y, axis, keepdims=keepdims)


def max_(x: Tensor, *, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """The largest element, at least `initial`."""
    if x.dtype == "bool":
        return ops.any_(x, axis, keepdims=keepdims)
    y = ops.max_(x, axis, keepdims=keepdims)
    return y if initial is None else ops.maximum(y, ops.cast(as_tensor(initial), x.dtype))


def min_(x: Tensor, *, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """The smallest element, at most `initial`."""
    if x.dtype == "bool":
        return ops.all_(x, axis, keepdims=keepdims)
    y = ops.min_(x, axis, keepdims=keepdims)
    return y if initial is None else ops.minimum(y, ops.cast(as_tensor(initial), x.dtype))


def any_(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is true: bool."""
    return ops.any_(ops.cast(x, "bool"), axis, keepdims=keepdims)


def all_(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are true: bool."""
    return ops.all_(ops.cast(x, "bool"), axis, keepdims=keepdims)


def variance(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean of the squared distances from the mean."""
    y = ops.floats(x)
    return ops.mean(ops.Square(y - ops.mean(y, axis, keepdims=True)), axis, keepdims=keepdims)


def deviation(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The standard deviation: √variance."""
    return ops.Sqrt(variance(x, axis=axis, keepdims=keepdims))


def average(x: Tensor, weights: Any = None, *, axis: Axis = None) -> Tensor:
    """The weighted mean: Σ x · w / Σ w."""
    if weights is None:
        return mean(x, axis=axis)
    w = ops.floats(as_tensor(weights))
    if w.rank == 1 < x.rank and isinstance(axis, int):
        place = axis_of(axis, x.rank)
        w = ops.reshape(w, tuple(ops.dim(w, 0) if i == place else 1 for i in range(x.rank)))
        # The weights apply to every position along the other axes.
        return ops.sum_(ops.floats(x) * w, axis) / ops.sum_(w)
    return ops.sum_(ops.floats(x) * w, axis) / ops.sum_(w, axis)


def ptp(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element minus the smallest one."""
    return ops.max_(x, axis, keepdims=keepdims) - ops.min_(x, axis, keepdims=keepdims)


def count_nonzero(x: Tensor, *, axis: Axis = None) -> Tensor:
    """The number of elements that are not 0."""
    return ops.sum_(ops.cast(ops.cast(x, "bool"), "int32"), axis)


def logsumexp(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Log Σ exp(x)."""
    y = ops.floats(x)
    largest = ops.max_(y, axis, keepdims=True)
    finite = where(ops.IsFinite(largest), largest, 0.0)
    total = ops.Log(ops.sum_(ops.Exp(y - finite), axis, keepdims=True)) + finite
    return total if keepdims else without(total, several(axis, x.rank))


def without(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Remove axes of size 1."""
    return ops.squeeze(x, *axes) if axes else x


def place(op: type[ops.ArgMax | ops.ArgMin]) -> Callable[..., Tensor]:
    """Return the lowering of an index of an extreme along an axis, or in the flattened tensor."""

    def lower(x: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        y = counting(x)
        found = op(flat(y), 0) if axis is None else op(y, axis_of(axis, x.rank))
        if not keepdims:
            return found
        return (
            ops.reshape(found, (1,) * x.rank)
            if axis is None
            else ops.expand_dims(found, axis_of(axis, x.rank))
        )

    return lower


# -------------------------------------------------------------------------------------- without NaN


def numbered(x: Tensor, other: float) -> Tensor:
    """Replace NaN in x by another number."""
    return where(ops.IsNan(x), other, x) if x.dtype == "float32" else x


def nan_sum(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Σ x over the elements that are not NaN."""
    return sum_(numbered(x, 0.0), axis=axis, keepdims=keepdims)


def nan_prod(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Π x over the elements that are not NaN."""
    return prod(numbered(x, 1.0), axis=axis, keepdims=keepdims)


def nan_extreme(function: Callable[..., Tensor], other: float) -> Callable[..., Tensor]:
    """Return the lowering of the extreme of the elements that are not NaN."""

    def lower(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        if x.dtype != "float32":
            return function(x, axis=axis, keepdims=keepdims)
        found = function(numbered(x, other), axis=axis, keepdims=keepdims)
        none = ops.all_(ops.IsNan(x), axis, keepdims=keepdims)
        return where(none, math.nan, found)

    return lower


def nan_place(function: Callable[..., Tensor], other: float) -> Callable[..., Tensor]:
    """Return the lowering of the index of the extreme that is not NaN; -1 if all are NaN."""

    def lower(x: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        found = function(numbered(x, other), axis=axis, keepdims=keepdims)
        if x.dtype != "float32":
            return found
        return where(ops.all_(ops.IsNan(x), axis, keepdims=keepdims), -1, found)

    return lower


def nan_mean(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean of the elements that are not NaN."""
    y = ops.floats(x)
    count = ops.sum_(ops.floats(ops.equal(y, y)), axis, keepdims=keepdims)
    return nan_sum(y, axis=axis, keepdims=keepdims) / count


def nan_variance(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The variance of the elements that are not NaN."""
    y = ops.floats(x)
    return nan_mean(
        ops.Square(y - nan_mean(y, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims
    )


def nan_deviation(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The standard deviation of the elements that are not NaN."""
    return ops.Sqrt(nan_variance(x, axis=axis, keepdims=keepdims))


# --------------------------------------------------------------------------------------- cumulative


def cumulative(
    op: type[ops.Cumsum | ops.Cumprod], other: float | None = None
) -> Callable[..., Tensor]:
    """Return the lowering of a cumulative function along an axis, or of the flattened tensor.

    If `other` is given, it replaces NaN.
    """

    def lower(x: Tensor, *, axis: int | None = None, dtype: str | None = None) -> Tensor:
        y = counting(x) if dtype is None else ops.cast(x, named(dtype))
        y = y if other is None else numbered(y, other)
        return op(flat(y), 0) if axis is None else op(y, axis_of(axis, x.rank))

    return lower


def diff(a: Tensor, *, n: int = 1, axis: int = -1) -> Tensor:
    """Subtract from each element the previous one, n times."""
    y = a
    for _ in range(n):
        length = size(y, axis, "axis")
        later, earlier = ops.slice_axis(y, axis, 1), ops.slice_axis(y, axis, 0, length - 1)
        y = ops.not_equal(later, earlier) if y.dtype == "bool" else later - earlier
    return y


def trapezoid(y: Tensor, *, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis by the trapezoidal rule, with steps between x or of length dx."""
    f = ops.move_axis(ops.floats(y), axis, -1)
    length = size(f, -1, "axis")
    pairs = ops.slice_axis(f, -1, 1) + ops.slice_axis(f, -1, 0, length - 1)
    steps = constant(dx, "float32") if x is None else diff(ops.floats(as_tensor(x)))
    return ops.sum_(pairs * steps, -1) * 0.5


# ------------------------------------------------------------------------------------------- sorted


def sort(x: Tensor, *, axis: int = -1) -> Tensor:
    """Sort the elements along an axis, the smallest first."""
    last = ops.move_axis(counting(x), axis, -1)
    descending, _ = ops.items(ops.TopK(ops.Neg(last), size(last, -1, "axis")))
    return ops.cast(ops.move_axis(ops.Neg(descending), -1, axis), x.dtype)


def argsort(x: Tensor, *, axis: int | None = -1) -> Tensor:
    """Return the indices that sort the elements along an axis, the smallest first."""
    if axis is None or not x.rank:
        return argsort(flat(x))
    last = ops.move_axis(counting(x), axis, -1)
    _, places = ops.items(ops.TopK(ops.Neg(last), size(last, -1, "axis")))
    return ops.move_axis(places, -1, axis)


def top_k(
    x: Tensor,
    *,
    k: int,
    sorted: bool = True,
    is_stable: bool = True,
) -> tuple[Tensor, ...]:
    """Return the k largest elements along the last axis, and their indices."""
    del sorted, is_stable  # the result is always sorted and stable
    values, places = ops.items(ops.TopK(counting(x), k))
    return ops.cast(values, x.dtype), places


def in_top_k(targets: Tensor, predictions: Tensor, *, k: int) -> Tensor:
    """Whether fewer than k predictions are larger than the prediction of the target class.

    Indices [batch] and predictions [batch, classes] give bool [batch].
    """
    depth = size(predictions, -1)
    hot = ops.OneHot(ops.cast(targets, "int32"), depth, "bool")
    own = ops.max_(where(hot, numbered(predictions, -math.inf), -math.inf), -1, keepdims=True)
    rank = ops.sum_(ops.cast(ops.greater(predictions, own), "int32"), -1)
    return ops.less(rank, k)


def quantile(
    x: Tensor, q: Any, *, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The number below which the fraction q of all elements is."""
    if method != "linear":
        raise Refusal(
            "method", "Keras ignores this option when it runs the model, and computes 'linear'"
        )
    return quantiles(x, known_value(q, "q"), axis, method, keepdims=keepdims)


def percentile(
    x: Tensor, q: Any, *, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The number below which q percent of all elements are."""
    return quantiles(x, known_value(q, "q") / 100, axis, method, keepdims=keepdims)


def median(x: Tensor, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The middle element, or the mean of the two middle elements."""
    return quantiles(x, 0.5, axis, "midpoint", keepdims=keepdims)


BETWEEN: Mapping[str, Callable[[Any], Any]] = {
    "linear": lambda position: position - np.floor(position),
    "lower": np.zeros_like,
    "higher": np.ones_like,
    "midpoint": lambda position: np.where(position == np.floor(position), 0.0, 0.5),
    "nearest": lambda position: np.round(position) - np.floor(position),
}
"""Method → the weight of the upper element if a quantile is between two elements."""


def quantiles(x: Tensor, q: Any, axis: Axis, method: str, *, keepdims: bool) -> Tensor:
    """Quantiles along the axes, which are joined to one: [*q, ...]."""
    if method not in BETWEEN:
        raise Refusal("method", "this method is not supported")
    axes = sorted(several(axis, x.rank))
    rest = [number for number in range(x.rank) if number not in axes]
    y = ops.transpose(ops.floats(x), [*rest, *axes])
    count = math.prod(size(x, number, "axis") for number in axes)
    ordered = sort(ops.reshape(y, (*ops.dims(y)[: len(rest)], count)))
    position = np.asarray(q, np.float64) * (count - 1)
    low = np.floor(position).astype(np.int32)
    share = BETWEEN[method](position).astype(np.float32)
    below = ops.gather(ordered, constant(low), -1)
    above = ops.gather(ordered, constant(np.minimum(low + 1, count - 1)), -1)
    found = below + (above - below) * constant(share)
    none = ops.any_(ops.IsNan(ordered), -1)  # if there is a NaN, so is the quantile
    found = where(ops.reshape(none, (*ops.dims(none), *(1,) * position.ndim)), math.nan, found)
    # The axes of q come first.
    found = ops.transpose(found, [*range(len(rest), found.rank), *range(len(rest))])
    return ops.expand_dims(found, *(a + position.ndim for a in axes)) if keepdims else found


def digitize(x: Tensor, bins: Any) -> Tensor:
    """Return the number of boundaries that are at most x."""
    return search_sorted(bins, x, side="right")


def search_sorted(sorted_sequence: Any, values: Any, *, side: str = "left") -> Tensor:
    """Return the number of elements of a sorted sequence that precede each value.

    All elements precede NaN.
    """
    sequence, x = ops.matched(sorted_sequence, values, least="int32")
    queries = ops.expand_dims(x, x.rank)
    after = (
        ops.GreaterEqual(sequence, queries) if side == "left" else ops.Greater(sequence, queries)
    )
    return ops.sum_(ops.cast(ops.LogicalNot(after), "int32"), -1)


# ----------------------------------------------------------------------------------------- segments


def segment_sum(
    data: Tensor, segment_ids: Any, *, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Sum the rows of each segment: [rows, ...] to [segments, ...]."""
    del sorted
    hot = segments(segment_ids, num_segments)
    rows = counting(data)
    table = (
        ops.reshape(ops.floats(rows), (ops.dim(data, 0), -1))
        if data.rank > 1
        else ops.expand_dims(ops.floats(rows), 1)
    )
    sums = ops.MatMul(ops.floats(hot), table, transpose_a=True)
    return ops.cast(ops.reshape(sums, (num_segments, *ops.dims(data)[1:])), rows.dtype)


def segment_extreme(reduce: Callable[..., Tensor], other: float) -> Callable[..., Tensor]:
    """Return the lowering of the extreme of the rows of each segment.

    An empty segment becomes `other`.
    """

    def lower(
        data: Tensor, segment_ids: Any, *, num_segments: int | None = None, sorted: bool = False
    ) -> Tensor:
        del sorted
        hot = segments(segment_ids, num_segments)
        hot = ops.reshape(hot, (ops.dim(hot, 0), num_segments, *(1,) * (data.rank - 1)))
        number = other
        if data.dtype in INTEGERS:
            # On JAX, int64 is int32.
            limits = np.iinfo(np.int32 if data.dtype == "int64" else NUMPY[data.dtype])
            number = int(min(max(other, limits.min), limits.max))
        return reduce(where(hot, ops.expand_dims(data, 1), constant(number, data.dtype)), 0)

    return lower


def segments(segment_ids: Any, count: int | None) -> Tensor:
    """Return a mask of which row belongs to which segment: bool [rows, segments]."""
    if count is None:
        raise Refusal(
            "num_segments",
            "num_segments must be given, since it is not known before the model runs",
        )
    return ops.OneHot(ops.cast(as_tensor(segment_ids), "int32"), count, "bool")


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Sum": sum_, "Mean": mean, "Prod": prod, "Max": max_, "Amax": max_, "Min": min_, "Amin": min_,
    "Any": any_, "All": all_, "Var": variance, "Std": deviation, "Average": average, "Ptp": ptp,
    "CountNonzero": count_nonzero, "Logsumexp": logsumexp, "Argmax": place(ops.ArgMax),
    "Argmin": place(ops.ArgMin), "Nansum": nan_sum, "Nanprod": nan_prod,
    "Nanmax": nan_extreme(max_, -math.inf), "Nanmin": nan_extreme(min_, math.inf),
    "Nanmean": nan_mean, "Nanvar": nan_variance, "Nanstd": nan_deviation,
    "Nanargmax": nan_place(place(ops.ArgMax), -math.inf),
    "Nanargmin": nan_place(place(ops.ArgMin), math.inf), "Cumsum": cumulative(ops.Cumsum),
    "Cumprod": cumulative(ops.Cumprod), "Nancumsum": cumulative(ops.Cumsum, 0.0),
    "Nancumprod": cumulative(ops.Cumprod, 1.0), "Diff": diff, "Trapezoid": trapezoid, "Sort": sort,
    "Argsort": argsort, "TopK": top_k, "InTopK": in_top_k, "Quantile": quantile,
    "Percentile": percentile, "Median": median, "Digitize": digitize, "SearchSorted": search_sorted,
    "SegmentSum": segment_sum, "SegmentMax": segment_extreme(ops.max_, -math.inf),
    "SegmentMin": segment_extreme(ops.min_, math.inf),
    "SegmentProd": segment_extreme(ops.prod, 1.0),
}  # fmt: skip
