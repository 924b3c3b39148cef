"""Rules on graphs: what each makes, what it leaves alone, and that graphs keep what they compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests import graphs
from tests.strategies import computations

from kerasport.ir import ops
from kerasport.ir.dtypes import DType
from kerasport.ir.graph import Graph, show
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.scatter import ScatterNd
from kerasport.ir.ops.spectral import Dft
from kerasport.ir.tensor import Input, TensorType, constant
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.fold import GROWTH, SMALL, fold_constants
from kerasport.passes.loop import inside_loops, unroll
from kerasport.passes.rewrite import Rule, rewrite
from kerasport.targets.tfjs.graph import optimized
from kerasport.targets.tfjs.graph.fused import FUSION
from kerasport.targets.tfjs.graph.legalize import LEGAL
from kerasport.weights import Array, ComputedWeight, Shape

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


ALGEBRAIC = (
    Rewrite(
        "constants are worked out",
        lambda x: x + num(3) * num(3),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3]
        %2 = Add(%0, %1) : float32[?, 3]
        return %2
        """,
    ),
    Rewrite(
        "constants come last",
        lambda x: 2.0 + (3.0 * x),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[]
        %2 = Mul(%0, %1) : float32[?, 3]
        %3 = Constant() : float32[]
        %4 = Add(%2, %3) : float32[?, 3]
        return %4
        """,
    ),
    Rewrite(
        "a difference is a sum",
        lambda x: x - 2.0,
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[]
        %2 = Add(%0, %1) : float32[?, 3]
        return %2
        """,
    ),
    Rewrite(
        "zero adds nothing",
        lambda x: x + 0.0,
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        return %0
        """,
    ),
    Rewrite(
        "one multiplies nothing",
        lambda x: x * np.ones((1, 3), np.float32),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        return %0
        """,
    ),
    Rewrite(
        "one that makes a larger shape",
        lambda x: x * np.ones((2, 1, 3), np.float32),
        MATRIX,
    ),
    Rewrite(
        "sums are joined",
        lambda x: (x + num(3)) + num(3),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3]
        %2 = Add(%0, %1) : float32[?, 3]
        return %2
        """,
    ),
    Rewrite(
        "a sum used twice",
        lambda x: both(x + num(3), lambda y: y + num(3)),
        MATRIX,
    ),
    Rewrite(
        "products are joined",
        lambda x: (x * num(3)) * 2.0,
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3]
        %2 = Mul(%0, %1) : float32[?, 3]
        return %2
        """,
    ),
    Rewrite(
        "a scale goes into the kernel",
        lambda x: (x @ num(3, 4)) * num(4),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3, 4]
        %2 = MatMul(%0, %1, transpose_a=False, transpose_b=False) : float32[?, 4]
        return %2
        """,
    ),
    Rewrite(
        "a scale and a bias go into the kernel",
        lambda x: (x @ num(3, 4) + num(4)) * num(1, 4) + num(4),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3, 4]
        %2 = MatMul(%0, %1, transpose_a=False, transpose_b=False) : float32[?, 4]
        %3 = Constant() : float32[1, 4]
        %4 = Add(%2, %3) : float32[?, 4]
        return %4
        """,
    ),
    Rewrite(
        "a scale for each row",
        lambda x: (x @ num(3, 4)) * num(2, 4),
        (2, 3),
    ),
    Rewrite(
        "a scale of more axes",
        lambda x: (x @ num(3, 4)) * num(1, 1, 4),
        MATRIX,
    ),
    Rewrite(
        "a scale behind a bias for each row",
        lambda x: (x @ num(3, 4) + num(2, 4)) * num(4),
        (2, 3),
    ),
    Rewrite(
        "a scale behind a product used twice",
        lambda x: both(x @ num(3, 4), lambda y: y * num(4)),
        MATRIX,
    ),
    Rewrite(
        "a kernel is turned",
        lambda x: turned(x, num(4, 3)) * num(4),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3, 4]
        %2 = MatMul(%0, %1, transpose_a=False, transpose_b=False) : float32[?, 4]
        return %2
        """,
    ),
    Rewrite(
        "a kernel used twice stays",
        lambda x: both(num(4, 3), lambda w: turned(x, w)),
        MATRIX,
    ),
    Rewrite(
        "a normalisation goes into a convolution",
        lambda x: (conv(x) + num(4)) * num(4) + num(4),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Conv(%0, %1, strides=(1, 1), padding='valid', dilations=(1, 1), groups=1) : float32[?, 4, 5, 4]
        %3 = Constant() : float32[4]
        %4 = Add(%2, %3) : float32[?, 4, 5, 4]
        return %4
        """,
    ),
    Rewrite(
        "a normalisation goes into a convolution in groups, and so do zeros",
        lambda x: (grouped(padded(x), num(2, 2, 1, 6), 3) + num(6)) * num(6),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 1, 6]
        %2 = Conv(%0, %1, strides=(1, 1), padding=((1, 0), (2, 1)), dilations=(1, 1), groups=3) : float32[?, 5, 8, 6]
        %3 = Constant() : float32[6]
        %4 = Add(%2, %3) : float32[?, 5, 8, 6]
        return %4
        """,
    ),
    Rewrite(
        "a scale goes into a depthwise kernel",
        lambda x: depthwise(x) * num(6),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 2]
        %2 = DepthwiseConv(%0, %1, strides=(1, 1), padding='valid', dilations=(1, 1)) : float32[?, 4, 5, 6]
        return %2
        """,
    ),
    Rewrite(
        "a scale goes into a transposed kernel",
        lambda x: transposed(x) * num(4),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 4, 3]
        %2 = ConvTranspose(%0, %1, strides=(2, 2), crop=(0, 0), sizes=(10, 12), extra=(0, 0)) : float32[?, 10, 12, 4]
        return %2
        """,
    ),
    Rewrite(
        "a number goes into a kernel",
        lambda x: 2.0 * conv(x),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Conv(%0, %1, strides=(1, 1), padding='valid', dilations=(1, 1), groups=1) : float32[?, 4, 5, 4]
        return %2
        """,
    ),
    Rewrite(
        "a scale for each pixel",
        lambda x: conv(x) * num(4, 5, 4),
        IMAGE,
    ),
    Rewrite(
        "a kernel that is no constant",
        lambda x: conv(num(1, 5, 6, 3), x) * num(4),
        (2, 2, 3, 4),
    ),
    Rewrite(
        "zeros go into a convolution",
        lambda x: conv(padded(x)),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Conv(%0, %1, strides=(1, 1), padding=((1, 0), (2, 1)), dilations=(1, 1), groups=1) : float32[?, 5, 8, 4]
        return %2
        """,
    ),
    Rewrite(
        "zeros go into a depthwise convolution",
        lambda x: depthwise(padded(x)),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 2]
        %2 = DepthwiseConv(%0, %1, strides=(1, 1), padding=((1, 0), (2, 1)), dilations=(1, 1)) : float32[?, 5, 8, 6]
        return %2
        """,
    ),
    Rewrite(
        "zeros for channels",
        lambda x: conv(ops.pad(x, [(0, 0), (1, 0), (0, 0), (0, 1)]), num(2, 2, 4, 4)),
        IMAGE,
    ),
    Rewrite(
        "padding with ones",
        lambda x: conv(padded(x, value=1.0)),
        IMAGE,
    ),
    Rewrite(
        "padding that mirrors",
        lambda x: conv(padded(x, "reflect")),
        IMAGE,
    ),
    Rewrite(
        "padding used twice",
        lambda x: both(padded(x), conv),
        IMAGE,
    ),
    Rewrite(
        "padding before padding",
        lambda x: conv(padded(x), padding="same"),
        IMAGE,
    ),
    Rewrite(
        "reshapes are joined",
        lambda x: ops.reshape(ops.reshape(x, (-1, 1, 3)), (-1, 3, 1)),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Reshape(%0, to=(-1, 3, 1)) : float32[?, 3, 1]
        return %1
        """,
    ),
    Rewrite(
        "reshapes back are dropped",
        lambda x: ops.reshape(ops.reshape(x, (-1, 1, 3)), (-1, 3)),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        return %0
        """,
    ),
    Rewrite(
        "axes that come back are kept",
        lambda x: ops.reshape(ops.mean(x, (1, 2)), (-1, 1, 1, 3)),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Mean(%0, axes=(1, 2), keepdims=True) : float32[?, 1, 1, 3]
        return %1
        """,
    ),
    Rewrite(
        "axes that come back elsewhere",
        lambda x: ops.reshape(ops.mean(x, (1, 2)), (-1, 3, 1, 1)),
        IMAGE,
    ),
    Rewrite(
        "a reshape keeps the sizes that it knows",
        lambda x: ops.reshape(ops.reshape(x, (6, 4)), (-1, 8)),
        (None,),
        """
        %0 = Input('x') : float32[?]
        %1 = Reshape(%0, to=(3, 8)) : float32[3, 8]
        return %1
        """,
    ),
    Rewrite(
        "transposes are joined",
        lambda x: ops.transpose(ops.transpose(x, [1, 2, 0]), [1, 2, 0]),
        (2, 3, 4),
        """
        %0 = Input('x') : float32[2, 3, 4]
        %1 = Transpose(%0, order=(2, 0, 1)) : float32[4, 2, 3]
        return %1
        """,
    ),
    Rewrite(
        "transposes back are dropped",
        lambda x: ops.transpose(ops.transpose(x, [1, 2, 0]), [2, 0, 1]),
        (2, 3, 4),
        """
        %0 = Input('x') : float32[2, 3, 4]
        return %0
        """,
    ),
    Rewrite(
        "a transpose of axes of one is a reshape",
        lambda x: ops.transpose(x, [0, 2, 1]),
        (None, 1, 3),
        """
        %0 = Input('x') : float32[?, 1, 3]
        %1 = Reshape(%0, to=(-1, 3, 1)) : float32[?, 3, 1]
        return %1
        """,
    ),
    Rewrite(
        "slices are joined",
        lambda x: ops.slice_axis(ops.slice_axis(x, 0, 2, 5), 0, 1),
        (8, 4),
        """
        %0 = Input('x') : float32[8, 4]
        %1 = Slice(%0, begin=(3, 0), size=(4, -1)) : float32[4, 4]
        return %1
        """,
    ),
    Rewrite(
        "slices of unknown sizes are joined",
        lambda x: ops.slice_axis(ops.slice_axis(x, 0, 2), 0, 1),
        (None, 4),
        """
        %0 = Input('x') : float32[?, 4]
        %1 = Slice(%0, begin=(3, 0), size=(-1, -1)) : float32[?, 4]
        return %1
        """,
    ),
    Rewrite(
        "the same twice is done once",
        lambda x: ops.Tanh(x) + ops.Tanh(x),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Tanh(%0) : float32[?, 3]
        %2 = Add(%1, %1) : float32[?, 3]
        return %2
        """,
    ),
    Rewrite(
        "a cast to the same type",
        lambda x: ops.Cast(x, "float32"),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        return %0
        """,
    ),
    Rewrite(
        "moves that move nothing",
        lambda x: ops.BroadcastTo(ops.Tile(ops.Concat((x,), 0), (1, 1)), (2, 3)),
        (2, 3),
        """
        %0 = Input('x') : float32[2, 3]
        return %0
        """,
    ),
)

FUSING = (
    Rewrite(
        "dense, bias and activation are one",
        lambda x: ops.Relu(x @ num(3, 4) + num(4)),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[3, 4]
        %2 = Constant() : float32[4]
        %3 = Fused(%0, %1, %2, activation=Relu, alpha=0.0) : float32[?, 4]
        return %3
        """,
    ),
    Rewrite(
        "dense over time is one of matrices",
        lambda x: ops.Sigmoid(x @ num(3, 4) + num(4)),
        (None, 5, 3),
        """
        %0 = Input('x') : float32[?, 5, 3]
        %1 = Reshape(%0, to=(-1, 3)) : float32[?, 3]
        %2 = Constant() : float32[3, 4]
        %3 = Constant() : float32[4]
        %4 = Fused(%1, %2, %3, activation=Sigmoid, alpha=0.0) : float32[?, 4]
        %5 = Reshape(%4, to=(-1, 5, 4)) : float32[?, 5, 4]
        return %5
        """,
    ),
    Rewrite(
        "dense over unknown time",
        lambda x: x @ num(3, 4) + num(4),
        (None, None, 3),
        """
        %0 = Input('x') : float32[?, ?, 3]
        %1 = Reshape(%0, to=(-1, 3)) : float32[?, 3]
        %2 = Constant() : float32[3, 4]
        %3 = Constant() : float32[4]
        %4 = Fused(%1, %2, %3, activation=None, alpha=0.0) : float32[?, 4]
        %5 = Dim(%0, axis=0) : int32[]
        %6 = Dim(%0, axis=1) : int32[]
        %7 = Reshape(%4, %5, %6) : float32[?, ?, 4]
        return %7
        """,
    ),
    Rewrite(
        "a number is no bias",
        lambda x: x @ num(3, 4) + 0.5,
        (None, 5, 3),
        """
        %0 = Input('x') : float32[?, 5, 3]
        %1 = Reshape(%0, to=(-1, 3)) : float32[?, 3]
        %2 = Constant() : float32[3, 4]
        %3 = MatMul(%1, %2, transpose_a=False, transpose_b=False) : float32[?, 4]
        %4 = Reshape(%3, to=(-1, 5, 4)) : float32[?, 5, 4]
        %5 = Constant() : float32[]
        %6 = Add(%4, %5) : float32[?, 5, 4]
        return %6
        """,
    ),
    Rewrite(
        "a number is no bias, of one unit either",
        lambda x: x @ num(3, 1) + 0.5,
        MATRIX,
    ),
    Rewrite(
        "a bias of more axes",
        lambda x: x @ num(3, 4) + num(1, 1, 4),
        (2, 3),
    ),
    Rewrite(
        "a turned kernel takes no bias",
        lambda x: both(num(4, 3), lambda w: turned(x, w) + num(4)),
        MATRIX,
    ),
    Rewrite(
        "conv, bias and leaky relu are one",
        lambda x: ops.LeakyRelu(conv(x) + num(4), 0.25),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Constant() : float32[4]
        %3 = Fused(%0, %1, %2, activation=LeakyRelu, alpha=0.25) : float32[?, 4, 5, 4]
        return %3
        """,
    ),
    Rewrite(
        "depthwise takes no leaky relu",
        lambda x: ops.LeakyRelu(depthwise(x) + num(6), 0.25),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 2]
        %2 = Constant() : float32[6]
        %3 = Fused(%0, %1, %2, activation=None, alpha=0.0) : float32[?, 4, 5, 6]
        %4 = LeakyRelu(%3, alpha=0.25) : float32[?, 4, 5, 6]
        return %4
        """,
    ),
    Rewrite(
        "clipping to 6 is relu6",
        lambda x: ops.clip(depthwise(x) + num(6), 0, 6),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 2]
        %2 = Constant() : float32[6]
        %3 = Fused(%0, %1, %2, activation=Relu6, alpha=0.0) : float32[?, 4, 5, 6]
        return %3
        """,
    ),
    Rewrite(
        "tanh stays behind",
        lambda x: ops.Tanh(conv(x) + num(4)),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Constant() : float32[4]
        %3 = Fused(%0, %1, %2, activation=None, alpha=0.0) : float32[?, 4, 5, 4]
        %4 = Tanh(%3) : float32[?, 4, 5, 4]
        return %4
        """,
    ),
    Rewrite(
        "a sum used twice takes no activation",
        lambda x: both(conv(x) + num(4), ops.Relu),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Constant() : float32[4]
        %3 = Fused(%0, %1, %2, activation=None, alpha=0.0) : float32[?, 4, 5, 4]
        %4 = Relu(%3) : float32[?, 4, 5, 4]
        return %4, %3
        """,
    ),
    Rewrite(
        "a convolution used twice takes no bias",
        lambda x: both(conv(x), lambda y: y + num(4)),
        IMAGE,
    ),
    Rewrite(
        "of two activations one",
        lambda x: ops.Sigmoid(ops.Relu(conv(x) + num(4))),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 4]
        %2 = Constant() : float32[4]
        %3 = Fused(%0, %1, %2, activation=Relu, alpha=0.0) : float32[?, 4, 5, 4]
        %4 = Sigmoid(%3) : float32[?, 4, 5, 4]
        return %4
        """,
    ),
    Rewrite(
        "a bias for each pixel",
        lambda x: conv(x) + num(4, 5, 4),
        IMAGE,
    ),
    Rewrite(
        "volumes are not fused",
        lambda x: ops.Conv(x, num(2, 2, 2, 2, 4), (1, 1, 1), "valid", (1, 1, 1)) + num(4),
        VOLUME,
    ),
    Rewrite(
        "prelu",
        lambda x: ops.Relu(x) - num(1, 1, 3) * ops.Relu(-x),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[1, 1, 3]
        %2 = Prelu(%0, %1) : float32[?, 5, 6, 3]
        return %2
        """,
    ),
    Rewrite(
        "prelu, added",
        lambda x: ops.Relu(x) + ops.Relu(-x) * num(5, 6, 3),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[5, 6, 3]
        %2 = Prelu(%0, %1) : float32[?, 5, 6, 3]
        return %2
        """,
    ),
    Rewrite(
        "a slope for each row",
        lambda x: ops.Relu(x) - ops.Relu(-x) * num(5, 1, 3),
        IMAGE,
    ),
    Rewrite(
        "a slope of more axes",
        lambda x: ops.Relu(x) - ops.Relu(-x) * num(1, 2, 3),
        (2, 3),
    ),
    Rewrite(
        "relus of two tensors",
        lambda x: ops.Relu(x) - ops.Relu(-ops.Abs(x)) * num(3),
        MATRIX,
    ),
)

LEGALISING = (
    Rewrite(
        "a scatter to one position",
        lambda x: ScatterNd(x, constant([2]), ops.Sum(x, (0,)), "add"),
        (None, 4),
        """
        %0 = Input('x') : float32[?, 4]
        %1 = Constant() : int32[1, 1]
        %2 = Sum(%0, axes=(0,), keepdims=True) : float32[1, 4]
        %3 = ScatterNd(%0, %1, %2, combine='add') : float32[?, 4]
        return %3
        """,
    ),
    Rewrite(
        "a Fourier transform",
        lambda x: Dft(x, 1),
        (None, 4, 2),
        """
        %0 = Input('x') : float32[?, 4, 2]
        %1 = Slice(%0, begin=(0, 0, 0), size=(-1, -1, 1)) : float32[?, 4, 1]
        %2 = Reshape(%1, to=(-1, 4)) : float32[?, 4]
        %3 = Constant() : float32[4, 4]
        %4 = MatMul(%2, %3, transpose_a=False, transpose_b=False) : float32[?, 4]
        %5 = Slice(%0, begin=(0, 0, 1), size=(-1, -1, 1)) : float32[?, 4, 1]
        %6 = Reshape(%5, to=(-1, 4)) : float32[?, 4]
        %7 = Constant() : float32[4, 4]
        %8 = MatMul(%6, %7, transpose_a=False, transpose_b=False) : float32[?, 4]
        %9 = Sub(%4, %8) : float32[?, 4]
        %10 = Reshape(%9, to=(-1, 4, 1)) : float32[?, 4, 1]
        %11 = MatMul(%2, %7, transpose_a=False, transpose_b=False) : float32[?, 4]
        %12 = MatMul(%6, %3, transpose_a=False, transpose_b=False) : float32[?, 4]
        %13 = Add(%11, %12) : float32[?, 4]
        %14 = Reshape(%13, to=(-1, 4, 1)) : float32[?, 4, 1]
        %15 = Concat(%10, %14, axis=2) : float32[?, 4, 2]
        return %15
        """,
    ),
    Rewrite(
        "the inverse of sinh is taken above zero",
        ops.Asinh,
        (None, 4),
        """
        %0 = Input('x') : float32[?, 4]
        %1 = Sign(%0) : float32[?, 4]
        %2 = Abs(%0) : float32[?, 4]
        %3 = Asinh(%2) : float32[?, 4]
        %4 = Mul(%1, %3) : float32[?, 4]
        return %4
        """,
    ),
    Rewrite(
        "padding goes axis by axis",
        lambda x: ops.pad(x, [(0, 0), (0, 0), (1, 1), (0, 2), (0, 0)]),
        (None, 2, 3, 4, 5),
        """
        %0 = Input('x') : float32[?, 2, 3, 4, 5]
        %1 = Reshape(%0, to=(-1, 3, 20)) : float32[?, 3, 20]
        %2 = Pad(%1, paddings=((0, 0), (1, 1), (0, 0)), mode='constant', value=0.0) : float32[?, 5, 20]
        %3 = Reshape(%2, to=(-1, 4, 5)) : float32[?, 4, 5]
        %4 = Pad(%3, paddings=((0, 0), (0, 2), (0, 0)), mode='constant', value=0.0) : float32[?, 6, 5]
        %5 = Reshape(%4, to=(-1, 2, 5, 6, 5)) : float32[?, 2, 5, 6, 5]
        return %5
        """,
    ),
    Rewrite(
        "reversing goes axis by axis",
        lambda x: ops.Reverse(x, (1,)),
        (None, 2, 3, 4, 5),
        """
        %0 = Input('x') : float32[?, 2, 3, 4, 5]
        %1 = Reshape(%0, to=(-1, 2, 60)) : float32[?, 2, 60]
        %2 = Reverse(%1, axes=(1,)) : float32[?, 2, 60]
        %3 = Reshape(%2, to=(-1, 2, 3, 4, 5)) : float32[?, 2, 3, 4, 5]
        return %3
        """,
    ),
    Rewrite(
        "running sums have three axes",
        lambda x: ops.Cumsum(x, 4),
        (None, 2, 3, 4, 5),
        """
        %0 = Input('x') : float32[?, 2, 3, 4, 5]
        %1 = Reshape(%0, to=(-1, 5, 1)) : float32[?, 5, 1]
        %2 = Cumsum(%1, axis=1, exclusive=False, reverse=False) : float32[?, 5, 1]
        %3 = Reshape(%2, to=(-1, 2, 3, 4, 5)) : float32[?, 2, 3, 4, 5]
        return %3
        """,
    ),
    Rewrite(
        "strided slices of unknown sizes",
        lambda x: ops.strided(x, [(None, None, s) for s in (1, 1, -1, 1, 1)]),
        (None, 2, None, 4, 5),
        """
        %0 = Input('x') : float32[?, 2, ?, 4, 5]
        %1 = Dim(%0, axis=0) : int32[]
        %2 = Constant() : int32[]
        %3 = Mul(%1, %2) : int32[]
        %4 = Dim(%0, axis=2) : int32[]
        %5 = Reshape(%0, %3, %4) : float32[?, ?, 20]
        %6 = StridedSlice(%5, parts=((None, None, 1), (None, None, -1), (None, None, 1))) : float32[?, ?, 20]
        %7 = Dim(%6, axis=1) : int32[]
        %8 = Reshape(%6, %1, %7) : float32[?, 2, ?, 4, 5]
        return %8
        """,
    ),
    Rewrite(
        "selecting has one axis",
        lambda x: ops.where(ops.greater(x, 0.0), x, 0.0),
        (2, 1, 3, 4, 5),
        """
        %0 = Input('x') : float32[2, 1, 3, 4, 5]
        %1 = Constant() : float32[]
        %2 = Greater(%0, %1) : bool[2, 1, 3, 4, 5]
        %3 = Reshape(%2, to=(-1,)) : bool[120]
        %4 = Reshape(%0, to=(-1,)) : float32[120]
        %5 = Constant() : float32[]
        %6 = Select(%3, %4, %5) : float32[120]
        %7 = Reshape(%6, to=(2, 1, 3, 4, 5)) : float32[2, 1, 3, 4, 5]
        return %7
        """,
    ),
    Rewrite(
        "selecting spreads",
        lambda x: ops.where(ops.greater(ops.Sum(x, (4,), True), 0.0), x, 0.0),
        (2, 1, 3, 4, 5),
        """
        %0 = Input('x') : float32[2, 1, 3, 4, 5]
        %1 = Sum(%0, axes=(4,), keepdims=True) : float32[2, 1, 3, 4, 1]
        %2 = Constant() : float32[]
        %3 = Greater(%1, %2) : bool[2, 1, 3, 4, 1]
        %4 = BroadcastTo(%3, to=(2, 1, 3, 4, 5)) : bool[2, 1, 3, 4, 5]
        %5 = Reshape(%4, to=(-1,)) : bool[120]
        %6 = Reshape(%0, to=(-1,)) : float32[120]
        %7 = Constant() : float32[]
        %8 = Select(%5, %6, %7) : float32[120]
        %9 = Reshape(%8, to=(2, 1, 3, 4, 5)) : float32[2, 1, 3, 4, 5]
        return %9
        """,
    ),
    Rewrite(
        "truths are not selected",
        lambda x: ops.Select(x, x, constant(True)),
        (3,),
        """
        %0 = Input('x') : bool[3]
        %1 = LogicalAnd(%0, %0) : bool[3]
        %2 = LogicalNot(%0) : bool[3]
        %3 = Constant() : bool[]
        %4 = LogicalAnd(%2, %3) : bool[3]
        %5 = LogicalOr(%1, %4) : bool[3]
        return %5
        """,
        dtype="bool",
    ),
    Rewrite(
        "truths are not reversed",
        lambda x: ops.Reverse(x, (0,)),
        (3,),
        """
        %0 = Input('x') : bool[3]
        %1 = Cast(%0, to='int32') : int32[3]
        %2 = Reverse(%1, axes=(0,)) : int32[3]
        %3 = Constant() : int32[]
        %4 = NotEqual(%2, %3) : bool[3]
        return %4
        """,
        dtype="bool",
    ),
    Rewrite(
        "a number is true where it is not 0",
        lambda x: ops.Cast(x, "bool"),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Constant() : float32[]
        %2 = NotEqual(%0, %1) : bool[?, 3]
        return %2
        """,
    ),
    Rewrite(
        "every other integer is gathered",
        lambda x: ops.strided(x, [(None, None, 2)]),
        (6,),
        """
        %0 = Input('x') : int32[6]
        %1 = Constant() : int32[3]
        %2 = Gather(%0, %1, axis=0) : int32[3]
        return %2
        """,
        dtype="int32",
    ),
    Rewrite(
        "integers of unknown number are gathered",
        lambda x: ops.strided(x, [(None, None, -1)]),
        (None,),
        """
        %0 = Input('x') : int32[?]
        %1 = Dim(%0, axis=0) : int32[]
        %2 = Range(%1) : int32[?]
        %3 = Cast(%2, to='float32') : float32[?]
        %4 = StridedSlice(%3, parts=((None, None, -1),)) : float32[?]
        %5 = Cast(%4, to='int32') : int32[?]
        %6 = Gather(%0, %5, axis=0) : int32[?]
        return %6
        """,
        dtype="int32",
    ),
    Rewrite(
        "every other fraction",
        lambda x: ops.strided(x, [(None, None, 2)]),
        (6,),
    ),
    Rewrite(
        "maxima of volumes are those of slices",
        lambda x: ops.MaxPool(x, (2, 2, 2), (2, 2, 2), "valid"),
        VOLUME,
        """
        %0 = Input('x') : float32[?, 4, 4, 4, 2]
        %1 = Reshape(%0, to=(-1, 4, 4, 2)) : float32[?, 4, 4, 2]
        %2 = MaxPool(%1, window=(2, 2), strides=(2, 2), padding='valid') : float32[?, 2, 2, 2]
        %3 = Reshape(%2, to=(-1, 4, 4, 2)) : float32[?, 4, 4, 2]
        %4 = MaxPool(%3, window=(2, 1), strides=(2, 1), padding='valid') : float32[?, 2, 4, 2]
        %5 = Reshape(%4, to=(-1, 2, 2, 2, 2)) : float32[?, 2, 2, 2, 2]
        return %5
        """,
    ),
    Rewrite(
        "means of volumes",
        lambda x: ops.AvgPool(x, (2, 2, 2), (2, 2, 2), "same"),
        VOLUME,
    ),
    Rewrite(
        "means of narrow windows are those of slices",
        lambda x: ops.AvgPool(x, (1, 2, 2), (3, 2, 2), "same"),
        VOLUME,
        """
        %0 = Input('x') : float32[?, 4, 4, 4, 2]
        %1 = Reshape(%0, to=(-1, 4, 4, 2)) : float32[?, 4, 4, 2]
        %2 = AvgPool(%1, window=(2, 2), strides=(2, 2), padding='same') : float32[?, 2, 2, 2]
        %3 = Reshape(%2, to=(-1, 4, 4, 2)) : float32[?, 4, 4, 2]
        %4 = AvgPool(%3, window=(1, 1), strides=(3, 1), padding='same') : float32[?, 2, 4, 2]
        %5 = Reshape(%4, to=(-1, 2, 2, 2, 2)) : float32[?, 2, 2, 2, 2]
        return %5
        """,
    ),
    Rewrite(
        "volumes are padded before",
        lambda x: ops.Conv(x, num(1, 1, 2, 2, 4), (1, 1, 1), ((0, 0), (0, 0), (0, 1)), (1, 1, 1)),
        VOLUME,
        """
        %0 = Input('x') : float32[?, 4, 4, 4, 2]
        %1 = Reshape(%0, to=(-1, 4, 2)) : float32[?, 4, 2]
        %2 = Pad(%1, paddings=((0, 0), (0, 1), (0, 0)), mode='constant', value=0.0) : float32[?, 5, 2]
        %3 = Reshape(%2, to=(-1, 4, 4, 5, 2)) : float32[?, 4, 4, 5, 2]
        %4 = Constant() : float32[1, 1, 2, 2, 4]
        %5 = Conv(%3, %4, strides=(1, 1, 1), padding='valid', dilations=(1, 1, 1), groups=1) : float32[?, 4, 4, 4, 4]
        return %5
        """,
    ),
    Rewrite(
        "groups are convolved apart",
        lambda x: grouped(x, num(2, 2, 2, 6), 2),
        (None, 5, 6, 4),
        """
        %0 = Input('x') : float32[?, 5, 6, 4]
        %1 = Slice(%0, begin=(0, 0, 0, 0), size=(-1, -1, -1, 2)) : float32[?, 5, 6, 2]
        %2 = Constant() : float32[2, 2, 2, 3]
        %3 = Conv(%1, %2, strides=(1, 1), padding='valid', dilations=(1, 1), groups=1) : float32[?, 4, 5, 3]
        %4 = Slice(%0, begin=(0, 0, 0, 2), size=(-1, -1, -1, 2)) : float32[?, 5, 6, 2]
        %5 = Constant() : float32[2, 2, 2, 3]
        %6 = Conv(%4, %5, strides=(1, 1), padding='valid', dilations=(1, 1), groups=1) : float32[?, 4, 5, 3]
        %7 = Concat(%3, %6, axis=3) : float32[?, 4, 5, 6]
        return %7
        """,
    ),
    Rewrite(
        "groups of one channel are a depthwise convolution",
        lambda x: grouped(x, num(2, 2, 1, 6), 3),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 2, 3, 2]
        %2 = DepthwiseConv(%0, %1, strides=(1, 1), padding='valid', dilations=(1, 1)) : float32[?, 4, 5, 6]
        return %2
        """,
    ),
    Rewrite(
        "volumes are padded before their groups are taken apart",
        lambda x: ops.Conv(
            x, num(1, 1, 2, 1, 2), (1, 1, 1), ((0, 0), (0, 0), (0, 1)), (1, 1, 1), 2
        ),
        VOLUME,
        """
        %0 = Input('x') : float32[?, 4, 4, 4, 2]
        %1 = Reshape(%0, to=(-1, 4, 2)) : float32[?, 4, 2]
        %2 = Pad(%1, paddings=((0, 0), (0, 1), (0, 0)), mode='constant', value=0.0) : float32[?, 5, 2]
        %3 = Reshape(%2, to=(-1, 4, 4, 5, 2)) : float32[?, 4, 4, 5, 2]
        %4 = Slice(%3, begin=(0, 0, 0, 0, 0), size=(-1, -1, -1, -1, 1)) : float32[?, 4, 4, 5, 1]
        %5 = Constant() : float32[1, 1, 2, 1, 1]
        %6 = Conv(%4, %5, strides=(1, 1, 1), padding='valid', dilations=(1, 1, 1), groups=1) : float32[?, 4, 4, 4, 1]
        %7 = Slice(%3, begin=(0, 0, 0, 0, 1), size=(-1, -1, -1, -1, 1)) : float32[?, 4, 4, 5, 1]
        %8 = Constant() : float32[1, 1, 2, 1, 1]
        %9 = Conv(%7, %8, strides=(1, 1, 1), padding='valid', dilations=(1, 1, 1), groups=1) : float32[?, 4, 4, 4, 1]
        %10 = Concat(%6, %9, axis=4) : float32[?, 4, 4, 4, 2]
        return %10
        """,
    ),
    Rewrite(
        "narrow windows are padded in numbers",
        lambda x: same(x, (2, 3), (4, 1)),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[2, 3, 3, 4]
        %2 = Conv(%0, %1, strides=(4, 1), padding=((0, 1), (1, 1)), dilations=(1, 1), groups=1) : float32[?, 2, 6, 4]
        return %2
        """,
    ),
    Rewrite(
        "narrow windows that need none are not padded",
        lambda x: same(x, (1, 1), (2, 2)),
        IMAGE,
        """
        %0 = Input('x') : float32[?, 5, 6, 3]
        %1 = Constant() : float32[1, 1, 3, 4]
        %2 = Conv(%0, %1, strides=(2, 2), padding='valid', dilations=(1, 1), groups=1) : float32[?, 3, 3, 4]
        return %2
        """,
    ),
    Rewrite(
        "narrow windows of unknown sizes",
        lambda x: same(x, (1, 3), (2, 1)),
        (None, None, None, 3),
        """
        %0 = Input('x') : float32[?, ?, ?, 3]
        %1 = Constant() : float32[1, 3, 3, 4]
        %2 = Conv(%0, %1, strides=(2, 1), padding=((0, 0), (1, 1)), dilations=(1, 1), groups=1) : float32[?, ?, ?, 4]
        return %2
        """,
    ),
    Rewrite(
        "narrow windows of sizes that no rule knows",
        lambda x: same(x, (2, 3), (4, 1)),
        (None, None, None, 3),
    ),
    Rewrite(
        "wide windows",
        lambda x: same(x, (2, 3), (2, 2)),
        IMAGE,
    ),
    Rewrite(
        "volumes are convolved with zeros between",
        lambda x: ops.ConvTranspose(
            x, num(2, 1, 1, 4, 3), (2, 1, 1), (0, 0, 0), (4, 2, 2), (0, 0, 0)
        ),
        (None, 2, 2, 2, 3),
        """
        %0 = Input('x') : float32[?, 2, 2, 2, 3]
        %1 = Reshape(%0, to=(-1, 2, 1, 12)) : float32[?, 2, 1, 12]
        %2 = Pad(%1, paddings=((0, 0), (0, 0), (0, 1), (0, 0)), mode='constant', value=0.0) : float32[?, 2, 2, 12]
        %3 = Reshape(%2, to=(-1, 4, 12)) : float32[?, 4, 12]
        %4 = Slice(%3, begin=(0, 0, 0), size=(-1, 3, -1)) : float32[?, 3, 12]
        %5 = Pad(%4, paddings=((0, 0), (1, 1), (0, 0)), mode='constant', value=0.0) : float32[?, 5, 12]
        %6 = Reshape(%5, to=(-1, 5, 2, 2, 3)) : float32[?, 5, 2, 2, 3]
        %7 = Constant() : float32[2, 1, 1, 3, 4]
        %8 = Conv(%6, %7, strides=(1, 1, 1), padding='valid', dilations=(1, 1, 1), groups=1) : float32[?, 4, 2, 2, 4]
        return %8
        """,
    ),
    Rewrite(
        "one class is a comparison",
        lambda x: ops.OneHot(x, 1),
        (None,),
        """
        %0 = Input('x') : int32[?]
        %1 = Constant() : int32[]
        %2 = Equal(%0, %1) : bool[?]
        %3 = Reshape(%2, to=(-1, 1)) : bool[?, 1]
        %4 = Cast(%3, to='float32') : float32[?, 1]
        return %4
        """,
        dtype="int32",
    ),
    Rewrite(
        "two classes",
        lambda x: ops.OneHot(x, 2, "int32"),
        (None,),
        dtype="int32",
    ),
    Rewrite(
        "two classes are integers first",
        lambda x: ops.OneHot(x, 2),
        (None,),
        """
        %0 = Input('x') : int32[?]
        %1 = OneHot(%0, depth=2, dtype_='int32') : int32[?, 2]
        %2 = Cast(%1, to='float32') : float32[?, 2]
        return %2
        """,
        dtype="int32",
    ),
    Rewrite(
        "integers are multiplied as fractions",
        lambda x: ops.MatMul(x, constant([[1], [2], [3]])),
        (2, 3),
        """
        %0 = Input('x') : int32[2, 3]
        %1 = Cast(%0, to='float32') : float32[2, 3]
        %2 = Constant() : float32[3, 1]
        %3 = MatMul(%1, %2, transpose_a=False, transpose_b=False) : float32[2, 1]
        %4 = Cast(%3, to='int32') : int32[2, 1]
        return %4
        """,
        dtype="int32",
    ),
    Rewrite(
        "batches are spread",
        lambda x: ops.MatMul(x, num(5, 4, 2)),
        (2, 1, 3, 4),
        """
        %0 = Input('x') : float32[2, 1, 3, 4]
        %1 = BroadcastTo(%0, to=(2, 5, 3, 4)) : float32[2, 5, 3, 4]
        %2 = Constant() : float32[2, 5, 4, 2]
        %3 = MatMul(%1, %2, transpose_a=False, transpose_b=False) : float32[2, 5, 3, 2]
        return %3
        """,
    ),
    Rewrite(
        "batches of one",
        lambda x: ops.MatMul(x, num(1, 1, 4, 2)),
        (2, 5, 3, 4),
    ),
)


def fed(graph: Graph, sizes: int = 2) -> list[Array]:
    """Random numbers for the inputs of a graph, whose unknown sizes are that."""
    made = []
    for at, given_ in enumerate(graph.inputs):
        array = graphs.random(at, *(sizes if d is None else d for d in given_.shape))
        made.append(array > 0 if given_.dtype == "bool" else array.astype(given_.dtype))
    return made


def assert_same(before: Graph, after: Graph, sizes: int = 2) -> None:
    """Both compute the same, of the same type."""
    feed = fed(before, sizes)
    with np.errstate(all="ignore"):
        results = zip(before.run(*feed), after.run(*feed), strict=True)
    for (wanted, result), one, other in zip(results, before.outputs, after.outputs, strict=True):
        assert one.dtype == other.dtype
        assert np.shape(wanted) == np.shape(result)
        large = max(1.0, float(np.max(np.abs(wanted), initial=0)))
        np.testing.assert_allclose(
            np.asarray(result, float), np.asarray(wanted, float), 1e-4, 1e-5 * large
        )


ALL = tuple(
    (row, rules)
    for rows, rules in (
        (ALGEBRAIC, (fold_constants, *ALGEBRA)),
        (FUSING, (*FUSION, fold_constants, *ALGEBRA)),
        (LEGALISING, (*LEGAL, fold_constants, *ALGEBRA)),
    )
    for row in rows
)


@pytest.mark.parametrize(("row", "rules"), ALL, ids=[row.name for row, _ in ALL])
def test_a_rule_makes_of_a_graph_what_the_table_says(row: Rewrite, rules: tuple[Rule, ...]) -> None:
    before = row.graph()
    after = rewrite(before, *rules)
    assert show(after) == (dedent(row.after).strip() or show(before))
    assert_same(before, after, 24 if row.shape == (None,) else 5)


def test_every_rule_has_a_row() -> None:
    """Each of them makes something of a computation in the table."""
    for rule in (fold_constants, *ALGEBRA, *LEGAL, *FUSION):
        used: list[Any] = []

        def noting(node: Any, uses: Any, rule: Rule = rule, used: list[Any] = used) -> Any:
            made = rule(node, uses)
            used += [made] if made is not None else []
            return made

        for row, rules in ALL:
            rewrite(row.graph(), *(noting if each is rule else each for each in rules))
        assert used, rule.__name__


# ------------------------------------------------------------------------------------ random graphs


@settings(max_examples=250, deadline=None)
@given(computations())
def test_random_graphs_keep_what_they_compute(graph: Graph) -> None:
    simple = rewrite(graph, fold_constants, *ALGEBRA)
    assert_same(graph, simple, 3)
    assert_same(graph, optimized(graph), 3)
    assert {type(name) for name in simple.names.values()} <= {str}
    assert set(simple.names) <= set(simple.nodes())
    counts = Counter(map(type, rewrite(simple, fold_constants, *ALGEBRA).nodes()))
    assert counts == Counter(map(type, simple.nodes()))


# ---------------------------------------------------------------------------------------- the whole


def test_of_conv_normalisation_and_activation_one_kernel_is_left() -> None:
    """Gamma, beta, mean and variance, as the layer has them."""
    gamma, beta, mean, variance = (num(1, 4), num(2, 4), num(3, 4), num(4, 4))
    x = Input("x", TensorType("float32", IMAGE))

    def row(c: Tensor) -> Tensor:
        return ops.reshape(ops.slice_axis(c, 0, 0, 1), (4,))

    y = conv(x) + num(4)
    scale = row(gamma) * ops.Rsqrt(row(variance) + 1e-3)
    z = ops.Relu((y - row(mean)) * scale + row(beta))
    after = optimized(Graph((x,), (z,)))
    assert Counter(type(node).__name__ for node in after.nodes()) == {
        "Input": 1,
        "Constant": 2,
        "Fused": 1,
    }
    assert_same(Graph((x,), (z,)), after)


def test_options_that_are_equal_and_not_the_same_make_two_nodes() -> None:
    x = Input("x", TensorType("float32", (2, 2)))
    once = rewrite(Graph((x,), (ops.Softmax(x), ops.Softmax(x))))
    assert once.outputs[0] is once.outputs[1]
    two = rewrite(
        Graph((x,), (ops.Sum(x, (0,), True), ops.Sum(x, (0,), False), ops.Sum(x, (1,), True)))
    )
    assert len(set(two.outputs)) == 3


def test_a_large_constant_is_worked_out_when_it_is_read() -> None:
    x = Input("x", TensorType("float32", (SMALL + 1,)))
    numbers, reads = graphs.random(0, SMALL + 1), []

    def read() -> Array:
        reads.append(1)
        return numbers

    large = ops.Constant(ComputedWeight(numbers.dtype, numbers.shape, read))
    graph = rewrite(Graph((x,), (x + large * 2.0,)), fold_constants)
    assert not reads
    assert Counter(type(node).__name__ for node in graph.nodes()) == {
        "Input": 1,
        "Constant": 1,
        "Add": 1,
    }
    np.testing.assert_allclose(graph.run(np.zeros(SMALL + 1, np.float32))[0], numbers * 2)
    assert reads


def test_a_constant_that_would_grow_is_left_to_the_browser() -> None:
    spread = ops.broadcast_to(num(9), (SMALL, 9))
    assert GROWTH * 9 < SMALL
    assert rewrite(Graph((), (spread,)), fold_constants).outputs == (spread,)


def test_what_is_no_number_is_worked_out_without_a_warning() -> None:
    (made,) = rewrite(Graph((), (ops.Log(constant([0.0, -1.0])) / 0.0,)), fold_constants).outputs
    assert isinstance(made, ops.Constant)
    assert str(made.read()) == "[-inf  nan]"


def test_a_chain_of_thousands_is_rewritten_in_a_few_passes() -> None:
    x = Input("x", TensorType("float32", (3,)))
    y: Tensor = x
    for _ in range(3000):
        y = ops.Relu(y * 2.0 + 1.0)
    after = rewrite(Graph((x,), (y,)), fold_constants, *ALGEBRA)
    assert Counter(type(node).__name__ for node in after.nodes())["Relu"] == 3000


# -------------------------------------------------------------------------------------------- loops


def loop(time: int | None, *, reverse: bool) -> Graph:
    x, h = (
        Input("x", TensorType("float32", (None, time, 3))),
        Input("h", TensorType("float32", (None, 3))),
    )
    kernel = num(3, 3)

    def step(states: Any, steps: Any, captured: Any) -> Any:
        new = ops.Tanh((states[0] @ kernel) * num(3) + steps[0]) + captured[0]
        return (new,), (new * 2.0, ops.greater(new, 0.0))

    (last,), over = ops.scan(step, (h,), (x,), (h * 0.5,), reverse=reverse)
    return Graph((x, h), (last, *over))


@pytest.mark.parametrize("reverse", [False, True])
def test_short_loops_of_known_length_are_written_out(reverse: bool) -> None:
    graph = loop(3, reverse=reverse)
    written = unroll(graph, 3)
    assert not any(isinstance(node, ops.Scan) for node in written.nodes())
    assert_same(graph, written)
    assert_same(graph, optimized(graph, 3))
    for time, limit in ((3, 2), (None, 99)):
        assert any(
            isinstance(node, ops.Scan)
            for node in unroll(loop(time, reverse=reverse), limit).nodes()
        )


def test_the_bodies_of_loops_are_rewritten() -> None:
    graph = loop(None, reverse=False)
    after = inside_loops(graph, lambda body: rewrite(body, fold_constants, *ALGEBRA))
    assert_same(graph, after, 4)
    (scan,) = (node for node in after.nodes() if isinstance(node, ops.Scan))
    assert Counter(type(node).__name__ for node in scan.body.nodes())["Mul"] == 1
    assert_same(graph, optimized(graph), 4)
