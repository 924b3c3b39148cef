"""Reading from positions that are known only at run time."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import INTEGERS
from kerasport.ir.ops.elementwise import cast
from kerasport.ir.ops.movement import Range, broadcast_to, concat, dim, dims, reshape
from kerasport.ir.tensor import Tensor, TensorType, as_tensor, expect
from kerasport.weights import Array


class GatherNd(Tensor):
    """The slices of `x` at `indices` [..., k].

    Each row of k indices selects a slice of `x` along its first k axes. Indices must not be
    negative, because TF.js reads wrong elements for them.
    """

    x: Tensor
    indices: Tensor

    def infer(self) -> TensorType:
        expect(self, self.indices, INTEGERS)
        count = self.indices.shape[-1]
        if count is None or not 0 < count <= self.x.rank:
            raise ShapeError(f"indices of {self.indices.type} do not name slices of {self.x.type}")
        return TensorType(self.x.dtype, (*self.indices.extents[:-1], *self.x.extents[count:]))

    def compute(self, *operands: Any) -> Array:
        """The selected slices.

        Raises:
            IndexError: an index is negative, or not smaller than the size of its axis.
        """
        x, indices = operands
        if (indices < 0).any():
            raise IndexError("an index is negative")
        result: Array = x[tuple(indices[..., axis] for axis in range(indices.shape[-1]))]
        return result


class ArgWhere(Tensor):
    """The positions of the true elements of a bool tensor, in order: int32 [true, rank].

    Source: `tf.where` with one argument.
    """

    condition: Tensor

    def infer(self) -> TensorType:
        expect(self, self.condition, ("bool",))
        if not self.condition.rank:
            raise ShapeError("a scalar has no positions")
        return TensorType("int32", (None, self.condition.rank))

    def compute(self, *operands: Any) -> Array:
        return np.argwhere(operands[0]).astype(np.int32)


def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    """The slices of `x` at `indices` [..., k].

    The first `batch_dims` axes of both tensors are the same: position p of these axes of `indices`
    selects slices of position p of `x`.

    Raises:
        ShapeError: `batch_dims` is too large for `x` or `indices`.
    """
    rows = indices.rank - 1
    if not 0 <= batch_dims <= min(rows, x.rank - 1):
        raise ShapeError(f"{batch_dims} batch dimensions of {x.type} and {indices.type}")
    places = []
    for axis in range(batch_dims):
        own = Range(as_tensor(dim(x, axis)))
        column = reshape(own, [-1 if i == axis else 1 for i in range(rows + 1)])
        column = cast(column, indices.dtype)
        places.append(broadcast_to(column, (*dims(indices)[:-1], 1)))
    return GatherNd(x, concat([*places, indices], -1))
