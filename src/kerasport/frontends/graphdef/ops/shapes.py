"""Ops that read shapes, or make tensors of a shape."""

from __future__ import annotations

from math import ceil

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal
from kerasport.frontends.graphdef.frozen import UnknownRank
from kerasport.frontends.graphdef.ops.call import Call, Rows
from kerasport.frontends.graphdef.ops.sizes import shape_tensor
from kerasport.ir import ops
from kerasport.ir.dtypes import NUMBERS, NUMPY
from kerasport.ir.ops.movement import Size, arange, product
from kerasport.ir.tensor import Constant, Tensor, as_tensor, constant


def shape(call: Call) -> Tensor:
    """The shape of x."""
    return shape_tensor(call.x(), call.dtype("out_type", "int32"))


def shape_n(call: Call) -> tuple[Tensor, ...]:
    """The shape of each operand."""
    dtype = call.dtype("out_type", "int32")
    return tuple(shape_tensor(x, dtype) for x in call.tensors)


def size(call: Call) -> Tensor:
    """The number of elements of x."""
    return scalar(product(ops.dims(call.x())), call)


def scalar(value: Size, call: Call) -> Tensor:
    """A size as a tensor of the element type that the op returns."""
    return ops.cast(as_tensor(value), call.dtype("out_type", "int32"))


def rank(call: Call) -> Tensor:
    """The number of axes of x."""
    return constant(call.x().rank)


def reshape(call: Call) -> Tensor:
    """x in another shape."""
    return ops.reshape(call.x(), call.sizes(1))


def expand_dims(call: Call) -> Tensor:
    """x with a new axis of size 1."""
    x = call.x()
    return ops.expand_dims(x, call.axis(1, x.rank + 1))


def squeeze(call: Call) -> Tensor:
    """x without axes of size 1."""
    x = call.x()
    # both names have been in use
    axes = call.integers("squeeze_dims") or call.integers("axis")
    if not axes and None in x.shape:
        raise Refusal(
            "squeeze_dims", f"which axes of {x.type} have the size 1 is known only at run time"
        )
    return ops.squeeze(x, *axes) if axes or 1 in x.shape else x


def ensure_shape(call: Call) -> Tensor:
    """x, whose shape must fit a known one."""
    x, wanted = call.x(), call.attribute("shape", UnknownRank())
    if isinstance(wanted, UnknownRank) or len(wanted) != x.rank:
        return x
    pairs = zip(x.shape, wanted, strict=True)
    if all(new is None or old == new for old, new in pairs):
        return x
    known = [old if old is not None else new for old, new in zip(x.shape, wanted, strict=True)]
    places = [axis for axis, size in enumerate(known) if size is None]
    if len(places) > 1:
        return x
    return ops.reshape(x, [-1 if size is None else size for size in known])


def fill(call: Call) -> Tensor:
    """A tensor of a shape that contains one value everywhere."""
    sizes, value = call.sizes(0), call.x(1)
    if isinstance(value, Constant) and value.dtype in NUMBERS:
        return filled(sizes, value)
    return ops.broadcast_to(value, sizes)


def filled(sizes: tuple[Size, ...], value: Constant) -> Tensor:
    """A tensor of a shape that contains a number everywhere."""
    if not sizes:
        return value
    number = value.read().item()
    return ops.Fill(sizes, number, value.dtype)


def zeros_of(call: Call, value: int) -> Tensor:
    """A tensor of a shape that contains 0 or 1 everywhere."""
    dtype = call.dtype("dtype", "float32")
    return filled(call.sizes(0), constant(value, dtype))


def broadcast_to(call: Call) -> Tensor:
    """x broadcast to a shape."""
    return ops.broadcast_to(call.x(), call.sizes(1))


def broadcast_args(call: Call) -> Tensor:
    """The shape to which tensors of two shapes are broadcast."""
    first, second = call.sizes(0), call.sizes(1)
    count = max(len(first), len(second))
    padded = [(*[1] * (count - len(shape)), *shape) for shape in (first, second)]
    found = [_broadcast(a, b) for a, b in zip(*padded, strict=True)]
    if not found:
        return constant(np.zeros(0, np.int32), call.x(0).dtype)
    return ops.cast(ops.stack([as_tensor(size) for size in found]), call.x(0).dtype)


def _broadcast(a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b) if min(a, b) == 1 else min(a, b)
    if a == 1 or b == 1:
        return b if a == 1 else a
    if isinstance(a, int) or isinstance(b, int):
        return a if isinstance(a, int) else b
    # one of them may be 1; a size of 0 stays 0
    return ops.Select(ops.equal(a, 1), b, a)


def range_(call: Call) -> Tensor:
    """start, start + delta, … before a limit."""
    start, limit, delta = call.tensors
    if all(isinstance(operand, Constant) for operand in (start, limit, delta)):
        numbers = [
            operand.read().item()
            for operand in (start, limit, delta)
            if isinstance(operand, Constant)
        ]
        if numbers[2] == 0:
            raise Refusal("", "its step is 0")
        reserve(max(0, ceil((numbers[1] - numbers[0]) / numbers[2])), itemsize=8)
        return constant(np.arange(*numbers, dtype=NUMPY[start.dtype]), start.dtype)
    return arange(start, limit, delta)


def lin_space(call: Call) -> Tensor:
    """`num` numbers from start to stop, evenly spaced."""
    start, stop = call.x(0), call.x(1)
    count = call.whole(2, "number of elements")
    reserve(max(count, 0))
    if count < 2:
        return ops.reshape(start, (1,))
    steps = constant(np.arange(count), start.dtype)
    width = ops.Div(ops.Sub(stop, start), constant(count - 1, start.dtype))
    inner = ops.Add(ops.Mul(steps, width), start)
    # the last number is exactly `stop`
    return ops.concat([ops.slice_axis(inner, 0, 0, count - 1), ops.reshape(stop, (1,))], 0)


ROWS: Rows = {
    "Shape": shape, "ShapeN": shape_n, "Size": size, "Rank": rank, "Reshape": reshape,
    "ExpandDims": expand_dims, "Squeeze": squeeze, "EnsureShape": ensure_shape, "Fill": fill,
    "Zeros": lambda call: zeros_of(call, 0), "Ones": lambda call: zeros_of(call, 1),
    "BroadcastTo": broadcast_to, "BroadcastArgs": broadcast_args, "Range": range_,
    "LinSpace": lin_space,
}  # fmt: skip
