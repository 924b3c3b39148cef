"""Writing to positions that are known only at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import INTEGERS
from kerasport.ir.ops.loop import same_shape
from kerasport.ir.tensor import Tensor, TensorType, expect
from kerasport.weights import Array

Combine: TypeAlias = Literal["replace", "add", "mul", "max", "min"]
"""How an update is combined with the old value."""

COMBINE: Mapping[str, Callable[..., Any]] = {
    "add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at,
}  # fmt: skip
"""Combination except "replace" → its in-place function in numpy."""


class ScatterNd(Tensor):
    """`x` with `updates` written at `indices` [..., k].

    Each row of k indices selects a slice of `x` along its first k axes. Negative indices count from
    the end. `combine` selects how an update is combined with the old value. If several updates
    replace the same slice, it is undefined which one remains.
    """

    x: Tensor
    indices: Tensor
    updates: Tensor
    combine: Combine = "replace"

    def infer(self) -> TensorType:
        expect(self, self.indices, INTEGERS)
        expect(self, self.updates, (self.x.dtype,))
        count = self.indices.shape[-1]
        if count is None or not 0 < count <= self.x.rank:
            raise ShapeError(f"indices of {self.indices.type} do not name slices of {self.x.type}")
        if not same_shape(self.updates.shape, (*self.indices.shape[:-1], *self.x.shape[count:])):
            raise ShapeError(
                f"updates of {self.updates.type} do not fit {self.x.type} at {self.indices.type}"
            )
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x, indices, updates = operands
        result: Array = np.array(x)
        positions = tuple(np.moveaxis(indices, -1, 0))
        if self.combine == "replace":
            result[positions] = updates
        else:
            COMBINE[self.combine](result, positions, updates)
        return result
