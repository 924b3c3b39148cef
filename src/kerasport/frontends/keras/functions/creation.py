"""Functions that create tensors: constants, sequences, properties of shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.budget import matrix, reserve
from kerasport.errors import Refusal
from kerasport.frontends.keras.functions.arguments import filled, named, size
from kerasport.ir import ops
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import as_tensor, constant
from kerasport.weights import axis_of


def like(value: float) -> Callable[..., Tensor]:
    """Return a lowering that fills the shape of x with one number."""

    def lower(x: Any, *, dtype: str | None = None) -> Tensor:
        tensor = as_tensor(x)
        return filled(tensor, value, tensor.dtype if dtype is None else named(dtype))

    return lower


def full(fill_value: Any, *, shape: Sequence[int | None], dtype: str | None = None) -> Tensor:
    """Fill a shape with a number or with a tensor that is broadcast."""
    value = ops.cast(as_tensor(fill_value), named(dtype or "float32"))
    if any(n is None for n in shape):
        raise Refusal("shape", "it contains an unknown size, which does not follow from any tensor")
    return ops.broadcast_to(value, [n for n in shape if n is not None])


def full_like(x: Any, fill_value: Any, *, dtype: str | None = None) -> Tensor:
    """Fill the shape of x with a number or with a tensor that is broadcast."""
    tensor = as_tensor(x)
    value = ops.cast(as_tensor(fill_value), tensor.dtype if dtype is None else named(dtype))
    return ops.broadcast_to(value, ops.dims(tensor))


def linspace(
    start: Any, stop: Any, *, num: int = 50, endpoint: bool = True, retstep: bool = False,
    dtype: str | None = None, axis: int = 0,
) -> Any:  # fmt: skip
    """Return numbers at equal distances between two numbers, or between those of two tensors.

    With `retstep`, return the distance as well.
    """
    first, last = ops.matched(start, stop, least="float32")
    steps = num - 1 if endpoint else num
    reserve(num, itemsize=8)
    share = np.arange(num) / max(steps, 1)
    rank = max(first.rank, last.rank)
    along = constant(share.astype(np.float32).reshape(num, *(1,) * rank))
    points = first * (1.0 - along) + last * along
    if dtype is not None:
        points = ops.Floor(points) if named(dtype) == "int32" else points
        points = ops.cast(points, named(dtype))
    points = ops.move_axis(points, 0, axis_of(axis, rank + 1))
    if not retstep:
        return points
    return points, (last - first) * (1 / steps if steps else math.nan)


def logspace(
    start: Any, stop: Any, *, num: int = 50, endpoint: bool = True, base: float = 10,
    dtype: str | None = None, axis: int = 0,
) -> Tensor:  # fmt: skip
    """Return powers of a base, with exponents at equal distances."""
    powers = ops.power(float(base), linspace(start, stop, num=num, endpoint=endpoint, axis=axis))
    return powers if dtype is None else ops.cast(powers, named(dtype))


def geomspace(
    start: Any,
    stop: Any,
    *,
    num: int = 50,
    endpoint: bool = True,
    dtype: str | None = None,
    axis: int = 0,
) -> Tensor:
    """Return numbers at equal ratios between two numbers of the same sign."""
    first, last = ops.matched(start, stop, least="float32")
    exponents = linspace(
        ops.Log(ops.Abs(first)), ops.Log(ops.Abs(last)), num=num, endpoint=endpoint, axis=axis
    )
    below = (
        ops.expand_dims(ops.Sign(first), axis_of(axis, exponents.rank))
        if first.rank
        else ops.Sign(first)
    )
    points = below * ops.Exp(exponents)
    return points if dtype is None else ops.cast(points, named(dtype))


def ndim(x: Any) -> Tensor:
    """The number of axes."""
    return constant(as_tensor(x).rank, "int32")


def count(x: Any) -> Tensor:
    """The number of elements."""
    total: Tensor = constant(1, "int32")
    for length in ops.dims(as_tensor(x)):
        total = ops.mul(total, length)
    return total


def view(x: Tensor, *, dtype: str | None = None) -> Tensor:
    """Return x if `dtype` is its own dtype or None.

    Raises:
        Refusal: `dtype` is another one, or not supported.
    """
    if dtype is None or (dtype in ("float32", "int32", "bool") and dtype == x.dtype):
        return x
    raise Refusal("dtype", "converted models cannot reinterpret the bits of a number")


def fake_quantized(
    inputs: Tensor,
    min_vals: Any,
    max_vals: Any,
    *,
    num_bits: int = 8,
    narrow_range: bool = False,
    axis: int | None = None,
) -> Tensor:
    """Round to one of 2^num_bits numbers between two bounds; one less with `narrow_range`.

    The bounds are moved so that 0 is one of these numbers.
    """
    low, high = ops.matched(min_vals, max_vals, least="float32")
    first, last = float(narrow_range), float(2**num_bits - 1)
    step = (high - low) / (last - first)
    zero = ops.maximum(ops.minimum(ops.Round(first - low / step), last), first)
    bottom, top = (first - zero) * step, (last - zero) * step
    if axis is not None and bottom.rank:
        place = axis_of(axis, inputs.rank)
        before, after = (1,) * place, (1,) * (inputs.rank - place - 1)
        bottom, top, step = (
            ops.reshape(v, (*before, ops.dim(v, 0), *after)) for v in (bottom, top, step)
        )
    held = ops.maximum(ops.minimum(inputs, top), bottom)
    # As in Keras, the number that represents 0 is rounded separately.
    return ops.Floor((held - bottom) / step - ops.Floor(0.5 - bottom / step) + 0.5) * step


def extract_sequences(x: Tensor, *, sequence_length: int, sequence_stride: int) -> Tensor:
    """Return windows of the last axis, one every `sequence_stride` elements.

    [..., n] becomes [..., windows, sequence_length].
    """
    length = size(x, -1)
    count = len(range(0, length - sequence_length + 1, sequence_stride))
    reserve(sequence_length, itemsize=8)
    steps = np.arange(sequence_length)
    places = matrix(count, sequence_length, lambda rows: rows * sequence_stride + steps, np.int32)
    return ops.gather(x, constant(places), -1)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "ZerosLike": like(0), "OnesLike": like(1), "EmptyLike": like(0), "Full": full,
    "FullLike": full_like, "Linspace": linspace, "Logspace": logspace, "Geomspace": geomspace,
    "Ndim": ndim, "Size": count, "View": view, "FakeQuantWithMinMaxVars": fake_quantized,
    "ExtractSequences": extract_sequences,
}  # fmt: skip
