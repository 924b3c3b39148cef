"""Ops that reduce or accumulate elements along axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasport.budget import reserve
from kerasport.frontends.graphdef.ops.call import Call, Lower, Rows
from kerasport.ir import ops
from kerasport.ir.tensor import Tensor, constant
from kerasport.weights import axis_of


def axes(call: Call) -> list[int]:
    """The axes that the second operand gives, not negative."""
    rank = call.x().rank
    return [axis_of(axis, rank) for axis in call.ints(1, "axes")]


def reduction(function: Callable[..., Tensor]) -> Lower:
    """The row of a reduction that the IR has as well."""

    def lower(call: Call) -> Tensor:
        keepdims = call.flag("keep_dims")
        return function(call.x(), axes(call), keepdims=keepdims)

    return lower


def euclidean_norm(call: Call) -> Tensor:
    """The square root of the sum of squares."""
    keepdims = call.flag("keep_dims")
    return ops.Sqrt(ops.sum_(ops.Square(call.x()), axes(call), keepdims=keepdims))


def l2_loss(call: Call) -> Tensor:
    """Half of the sum of squares."""
    x = call.x()
    return ops.Mul(ops.sum_(ops.Square(x)), constant(0.5, x.dtype))


def arg(op: type[ops.ArgMax | ops.ArgMin]) -> Lower:
    """The row of an op that returns the place of an extreme element, the first one of equals."""

    def lower(call: Call) -> Tensor:
        x = call.x()
        # bool has the same order as integers
        values = ops.cast(x, "int32") if x.dtype == "bool" else x
        places = op(values, axis_of(call.whole(1, "axis"), x.rank))
        return ops.cast(places, call.dtype("output_type", "int64"))

    return lower


def cumulative(op: type[ops.Cumsum | ops.Cumprod]) -> Lower:
    """The row of a cumulative reduction that the IR has as well."""

    def lower(call: Call) -> Tensor:
        x = call.x()
        axis = axis_of(call.whole(1, "axis"), x.rank)
        return op(x, axis, call.flag("exclusive"), call.flag("reverse"))

    return lower


def softmax(call: Call) -> Tensor:
    """exp(x) / Σ exp(x) over the last axis."""
    return ops.Softmax(call.x())


def log_softmax(call: Call) -> Tensor:
    """x - log Σ exp(x) over the last axis."""
    return ops.LogSoftmax(call.x())


def local_response(call: Call) -> Tensor:
    """x / (bias + alpha · Σ x²)^beta, with the sum over the channels nearby."""
    x, radius = call.x(), call.integer("depth_radius", 5)
    bias, alpha = call.number("bias", 1.0), call.number("alpha", 1.0)
    (channels,) = ops.known(x.shape[-1:])
    reserve(channels, channels)
    places = np.arange(channels)
    near = np.abs(places[:, None] - places[None]) <= radius
    squares = ops.matmul(ops.Square(x), constant(near.astype(np.float32) * np.float32(alpha)))
    power = constant(-call.number("beta", 0.5), x.dtype)
    return ops.Mul(x, ops.Pow(ops.Add(squares, constant(bias, x.dtype)), power))


ROWS: Rows = {
    "Sum": reduction(ops.sum_), "Mean": reduction(ops.mean), "Max": reduction(ops.max_),
    "Min": reduction(ops.min_), "Prod": reduction(ops.prod), "All": reduction(ops.all_),
    "Any": reduction(ops.any_), "EuclideanNorm": euclidean_norm, "L2Loss": l2_loss,
    "ArgMax": arg(ops.ArgMax), "ArgMin": arg(ops.ArgMin), "Cumsum": cumulative(ops.Cumsum),
    "Cumprod": cumulative(ops.Cumprod), "Softmax": softmax, "LogSoftmax": log_softmax,
    "LRN": local_response,
}  # fmt: skip
