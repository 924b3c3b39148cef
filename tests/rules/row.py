"""A row of the tables of rules, and operations that many rows use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests import graphs

from kerasport.ir import ops
from kerasport.ir.dtypes import DType
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import Input, TensorType, constant
from kerasport.weights import Shape

MATRIX, IMAGE, VOLUME = (None, 3), (None, 5, 6, 3), (None, 4, 4, 4, 2)


@dataclass(frozen=True)
class Rewrite:
    """A computation of an input, and what becomes of it; nothing where no text is given."""

    name: str
    build: Callable[[Tensor], Any]
    shape: Shape
    after: str = ""
    dtype: DType = "float32"

    def graph(self) -> Graph:
        x = Input("x", TensorType(self.dtype, self.shape))
        made = self.build(x)
        return Graph((x,), made if isinstance(made, tuple) else (made,))


def num(*shape: int) -> ops.Constant:
    """A constant of random numbers."""
    return constant(graphs.random(sum(shape), *shape, low=0.5))


def conv(x: Tensor, kernel: Tensor | None = None, padding: Any = "valid") -> Tensor:
    return ops.Conv(x, num(2, 2, 3, 4) if kernel is None else kernel, (1, 1), padding, (1, 1))


def grouped(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    return ops.Conv(x, kernel, (1, 1), "valid", (1, 1), groups)


def same(x: Tensor, window: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    return ops.Conv(x, num(*window, 3, 4), strides, "same", (1, 1))


def depthwise(x: Tensor) -> Tensor:
    return ops.DepthwiseConv(x, num(2, 2, 3, 2), (1, 1), "valid", (1, 1))


def transposed(x: Tensor) -> Tensor:
    return ops.ConvTranspose(x, num(2, 2, 4, 3), (2, 2), (0, 0), (10, 12), (0, 0))


def turned(x: Tensor, kernel: Tensor) -> Tensor:
    return ops.MatMul(x, kernel, transpose_b=True)


def padded(x: Tensor, mode: Any = "constant", value: float = 0.0) -> Tensor:
    return ops.pad(x, [(0, 0), (1, 0), (2, 1), (0, 0)], mode, value)


def both(x: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """A function of a tensor, and the tensor: it is used twice."""
    return function(x), x


def choose(x: Tensor, condition: Shape) -> Tensor:
    return ops.where(ops.greater(ops.broadcast_to(num(1), ops.known(condition)), 1.0), x, 0.0)
