"""Lookup tables from strings to integers, and from integers to strings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from kerasport.ir.dtypes import NUMPY, DType
from kerasport.ir.tensor import Tensor, TensorType, expect
from kerasport.weights import Array

Keys: TypeAlias = tuple[str, ...] | tuple[int, ...]
"""Keys or values of a table."""


class Lookup(Tensor):
    """The value of a table for each element of `x`, or `default` if it is not one of the keys.

    Either keys or values are strings, and the others are int32.
    """

    x: Tensor
    keys: Keys
    values: Keys
    default: str | int

    def infer(self) -> TensorType:
        kind, back = (
            kind_of(self.default),
            "int32" if kind_of(self.default) == "string" else "string",
        )
        expect(self, self.x, (back,))  # type: ignore[arg-type]
        return TensorType(kind, self.x.extents)

    def compute(self, *operands: Any) -> Array:
        table = dict(zip(self.keys, self.values, strict=True))
        found = [table.get(key, self.default) for key in np.ravel(operands[0]).tolist()]
        result: Array = np.array(found, NUMPY[self.dtype]).reshape(np.shape(operands[0]))
        return result


def kind_of(value: str | int) -> DType:
    """The element type of keys or values such as `value`."""
    return "string" if isinstance(value, str) else "int32"
