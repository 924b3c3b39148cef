"""Tables, the one thing that strings are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from kerasport.ir.dtypes import NUMPY, DType
from kerasport.ir.tensor import Tensor, TensorType, expect
from kerasport.weights import Array

Keys: TypeAlias = tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Lookup(Tensor):
    """What a table holds for each of x, `default` where it holds nothing; from strings to integers, or back."""

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
    """The element type of keys or values like this one."""
    return "string" if isinstance(value, str) else "int32"
