"""The rectifier with a slope of its own for each number, which both TF.js's graphs and ONNX have as one operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasport.ir.ops import Add, Constant, Mul, Neg, Relu, Sub, Tensor, TensorType
from kerasport.ir.tensor import Node
from kerasport.weights import Array


@dataclass(frozen=True, eq=False)
class Prelu(Tensor):
    """x where x > 0, else slope · x."""

    x: Tensor
    slope: Tensor

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        result: Array = np.where(operands[0] > 0, operands[0], operands[1] * operands[0])
        return result


def prelu_of(node: Node) -> Prelu | None:
    """relu(x) - a · relu(-x)  →  prelu(x, a), for a constant a.

    A target has a rule that asks first whether its operation takes a slope of that shape.
    """
    match node:
        case Sub(Relu(x), Mul(Relu(Neg(y)), Constant() as a)) if x is y:
            return Prelu(x, a)
        case Add(Relu(x), Mul(Relu(Neg(y)), Constant() as a)) if x is y:
            return Prelu(x, -a)
    return None
