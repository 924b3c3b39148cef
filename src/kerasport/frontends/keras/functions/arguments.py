"""How to read the arguments of `keras.ops` functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS, DType
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Tensor, as_tensor, constant
from kerasport.weights import axis_of

DTYPES: Mapping[str, DType] = {
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64", "float"), "float32"),
    **{dtype: dtype for dtype in INTEGERS},
    "int": "int32",
    "bool": "bool",
}
"""Keras dtype → dtype of the IR. All floats are computed in float32."""


def named(dtype: Any) -> DType:
    """Return the dtype with this name.

    Raises:
        Refusal: converted models do not support it.
    """
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    raise Refusal("dtype", f"converted models do not compute with {dtype!r}")


def numbers(option: Any, count: int) -> tuple[int, ...]:
    """Return an option as one number for each axis; a single number applies to all axes.

    Raises:
        ShapeError: the number of values is not `count`.
    """
    values = tuple(option) if isinstance(option, Sequence) else (option,) * count
    if len(values) != count:
        raise ShapeError(f"{option} does not have a value for each of {count} axes")
    return values


def several(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return axes in their order, counted from the front; None means all axes.

    Raises:
        ShapeError: there is no such axis.
    """
    if axis is None:
        return tuple(range(rank))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(axis_of(number, rank) for number in axes)


def size(x: Tensor, axis: int, what: str = "") -> int:
    """Return the size of an axis, which must be fixed.

    Raises:
        Refusal: the size is known only when the model runs.
    """
    known = x.shape[axis]
    if known is None:
        raise Refusal(
            what, f"the size of axis {axis % x.rank} must be fixed; give the input a fixed shape"
        )
    return known


def summed_dtype(dtype: DType) -> DType:
    """The dtype in which Keras adds numbers: at least 32 bits."""
    if dtype in ("bool", "int8", "int16"):
        return "int32"
    return "uint32" if dtype in ("uint8", "uint16") else dtype


def flat(x: Tensor) -> Tensor:
    """Flatten x to one axis."""
    return ops.reshape(x, (-1,))


def counted(length: Size) -> Tensor:
    """0, 1, … up to a length, as a tensor [length]."""
    if not isinstance(length, int):
        return ops.Range(length)
    reserve(length)
    return constant(np.arange(length), "int32")


def known_value(x: Any, what: str) -> Any:
    """Return an argument as an array; it must be fixed.

    Raises:
        Refusal: the model computes it.
    """
    tensor = as_tensor(x)
    if not isinstance(tensor, ops.Constant):
        raise Refusal(what, "the model computes this argument, but it must be a constant")
    return tensor.read()


def filled(like: Tensor, value: float, dtype: DType) -> Tensor:
    """Fill the shape of a tensor with one number."""
    return ops.Fill(ops.dims(like), value, dtype)
