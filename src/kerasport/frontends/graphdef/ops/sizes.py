"""Sizes known at run time: what the elements of a small integer tensor are.

A TensorFlow graph computes shapes with ordinary ops: `Shape`, `StridedSlice`, `Pack`, and so on.
The functions here follow such a computation for each element, so that elements that do not depend
on the inputs become numbers, and the others scalars such as `Dim`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS
from kerasport.ir.ops.movement import Dim, Size, extent_of
from kerasport.ir.tensor import Constant, Node, Tensor, as_tensor, constant
from kerasport.weights import LARGEST_SIZE, Array

MOST = 64
"""Largest number of elements that are followed one by one."""

FOLLOWED = (
    ops.Slice, ops.StridedSlice, ops.Concat, ops.Gather, ops.Reshape, ops.Reverse, ops.Transpose,
    ops.Mul, ops.Add, ops.Sub, ops.Prod, ops.Sum,
)  # fmt: skip
"""Operations whose numpy implementation also computes with arrays of sizes."""


def shape_tensor(x: Tensor, dtype: Any = "int32") -> Tensor:
    """The shape of a tensor as a tensor [rank]."""
    if not x.rank or None not in x.shape:
        return constant(np.array(x.shape, np.int32), dtype)
    return ops.cast(ops.stack([as_tensor(size) for size in ops.dims(x)]), dtype)


def sizes_of(x: Tensor) -> tuple[Size, ...]:
    """The elements of an integer tensor of rank 0 or 1, as numbers where they are known.

    Raises:
        Refusal: the tensor has another type, or an unknown number of elements.
    """
    if x.dtype not in INTEGERS or x.rank > 1 or not _is_small(x):
        raise Refusal("", f"it needs a list of sizes, and {x.type} cannot be one")
    return tuple(np.ravel(elements(x)).tolist())


def known_sizes(x: Tensor) -> Tensor:
    """`x` itself, or a constant if all its elements are known, or a scalar that it is made of."""
    if isinstance(x, Constant) or x.dtype not in INTEGERS or not _is_small(x):
        return x
    if not isinstance(x, (Dim, ops.Cast, *FOLLOWED)):
        return x
    found = elements(x)
    if not x.rank and isinstance(found[()], Tensor):
        return ops.cast(found[()], x.dtype)
    if not all(isinstance(number, int) for number in np.ravel(found).tolist()):
        return x
    return constant(found.astype(np.int64), x.dtype)


def elements(x: Tensor) -> Array:
    """The elements of an integer tensor of a known shape, as an array of sizes of that shape."""
    values: dict[Node, Array] = {}
    for node in _followed(x):
        values[node] = _elements(node, values)
    return values[x]


def _followed(x: Tensor) -> Iterator[Tensor]:
    """The tensors that the elements of `x` are computed from, each after its operands."""
    order: list[Tensor] = []
    seen: set[Node] = set()
    pending: list[tuple[Tensor, bool]] = [(x, False)]
    while pending:
        node, leaving = pending.pop()
        if leaving:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            pending.append((node, True))
            if _is_followed(node):
                pending += [
                    (operand, False) for operand in node.operands if isinstance(operand, Tensor)
                ]
    return iter(order)


def _is_followed(x: Tensor) -> bool:
    """Whether the elements of a tensor are computed from those of its operands."""
    if not _is_small(x):
        return False
    operands = [operand for operand in x.operands if isinstance(operand, Tensor)]
    if isinstance(x, ops.Cast):
        return x.x.dtype in INTEGERS
    return isinstance(x, FOLLOWED) and all(
        operand.dtype in INTEGERS and _is_small(operand) for operand in operands
    )


def _is_small(x: Tensor) -> bool:
    size = 1
    for extent in x.shape:
        size *= MOST + 1 if extent is None else extent
    return size <= MOST


def _elements(x: Tensor, values: dict[Node, Array]) -> Array:
    if isinstance(x, Constant):
        return _objects(x.read())
    if isinstance(x, ops.Cast) and _is_followed(x):
        return values[x.x]
    if _is_followed(x):
        try:
            operands = [values[operand] for operand in x.operands]
            if isinstance(x, ops.Gather):
                operands[1] = operands[1].astype(np.int64)
            found = _objects(x.compute(*operands))
        # an operation on indices that are not numbers, for example
        except (TypeError, ValueError):
            return _leaves(x)
        return found if _fit(found) else _leaves(x)
    return _leaves(x)


def _objects(array: Any) -> Array:
    """An array of Python numbers and scalars."""
    found = np.asarray(array)
    objects = np.empty(found.shape, object)
    for place in np.ndindex(*found.shape):
        value = found[place]
        if isinstance(value, Tensor):
            static = extent_of(value)
            objects[place] = static if isinstance(static, int) else value
        else:
            objects[place] = int(value)
    return objects


def _fit(array: Array) -> bool:
    return all(
        abs(number) <= LARGEST_SIZE for number in array.ravel().tolist() if type(number) is int
    )


def _leaves(x: Tensor) -> Array:
    """The elements of a tensor as slices of it."""
    found = np.empty(ops.known(x.shape), object)
    for place in np.ndindex(*found.shape):
        scalar = x
        for axis, index in enumerate(place):
            scalar = ops.slice_axis(scalar, axis, index, 1)
        found[place] = ops.cast(ops.reshape(scalar, ()) if x.rank else scalar, "int32")
    return found
