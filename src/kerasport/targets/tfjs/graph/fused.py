"""Operations that TF.js has beyond the graph's vocabulary: several steps in one kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kerasport.ir import ops
from kerasport.ir.ops import (
    Add,
    Clip,
    Constant,
    Conv,
    DepthwiseConv,
    Elu,
    LeakyRelu,
    MatMul,
    Relu,
    Relu6,
    Sigmoid,
    Tensor,
    TensorType,
)  # fmt: skip
from kerasport.ir.tensor import Node
from kerasport.passes.prelu import prelu_of
from kerasport.passes.rewrite import Uses
from kerasport.weights import Array

# Operation → TF.js's name of it inside a fused kernel; the others (tanh, gelu, selu, swish) throw there.
FUSABLE: Mapping[type[Node], str] = {Relu: "Relu", Relu6: "Relu6", Elu: "Elu", Sigmoid: "Sigmoid"}


@dataclass(frozen=True, eq=False)
class Fused(Tensor):
    """activation(linear + bias) in one kernel; linear is a MatMul of matrices or a convolution of images."""

    linear: Tensor  # never emitted by itself
    a: Tensor
    b: Tensor
    bias: Tensor
    activation: str = ""
    alpha: float = 0.0  # of LeakyRelu

    def infer(self) -> TensorType:
        return self.linear.type

    def _taken(self) -> tuple[Node, ...]:
        return (self.a, self.b, self.bias)

    def compute(self, *operands: Any) -> Array:
        a, b, bias = operands
        y = self.linear.compute(a, b) + bias
        result: Array = ACTIVATE[self.activation](y, self.alpha)
        return result


ACTIVATE: Mapping[str, Any] = {
    "": lambda y, _: y,
    "Relu": lambda y, _: Relu.compute(y),
    "Relu6": lambda y, _: Relu6.compute(y),
    "Elu": lambda y, _: Elu.compute(y),
    "Sigmoid": lambda y, _: Sigmoid.compute(y),
    "LeakyRelu": lambda y, alpha: np.where(y > 0, y, np.float32(alpha) * y),
}


def fuse_prelu(node: Node, uses: Uses) -> Node | None:
    """relu(x) - a · relu(-x)  →  prelu(x, a)."""
    del uses
    made = prelu_of(node)
    return made if made is not None and _repeats(made.slope, made.x) else None


def _repeats(a: Tensor, x: Tensor) -> bool:
    """Whether a stands for the last axes of x, over and over: TF.js's wasm kernel broadcasts no other way."""
    own = a.shape[next((axis for axis, size in enumerate(a.shape) if size != 1), a.rank) :]
    return a.rank <= x.rank and own == x.shape[x.rank - len(own) :]


def fuse_relu6(node: Node, uses: Uses) -> Node | None:
    """clip(x, 0, 6)  →  relu6(x)."""
    del uses
    match node:
        case Clip(x, 0.0, 6.0):
            return Relu6(x)
    return None


def fuse_bias(node: Node, uses: Uses) -> Node | None:
    """linear(x) + b  →  one kernel, for a constant b of one number for each output channel."""
    match node:
        case Add(MatMul() | Conv() | DepthwiseConv() as y, Constant() as b) if uses(
            y
        ) == 1 and _fits(y, b):
            vector = ops.reshape(b, (-1,))
            if isinstance(y, MatMul):
                return Fused(y, y.a, y.b, vector)
            return Fused(y, y.x, y.kernel, vector)
    return None


def _fits(y: MatMul | Conv | DepthwiseConv, b: Constant) -> bool:
    # TF.js's wasm kernels want matrices here, neither of them transposed, and a bias of one axis
    if isinstance(y, MatMul):
        return y.rank == 2 and not y.transpose_a and not y.transpose_b and _is_vector(b, y)
    return y.rank == 4 and _is_vector(b, y)


def _is_vector(b: Constant, y: Tensor) -> bool:
    """Whether b is one number for each channel of y."""
    return 0 < b.rank <= y.rank and b.value.size == b.shape[-1] == y.shape[-1]


def fuse_activation(node: Node, uses: Uses) -> Node | None:
    """activation(linear(x) + b)  →  one kernel, for those activations that TF.js fuses."""
    match node:
        case Relu(y) | Relu6(y) | Elu(y) | Sigmoid(y) if (
            isinstance(y, Fused) and uses(y) == 1 and not y.activation
        ):
            return replace(y, activation=FUSABLE[type(node)])
        case LeakyRelu(y, alpha) if isinstance(y, Fused) and uses(y) == 1 and not y.activation:
            # FusedDepthwiseConv2dNative does not read the slope
            return (
                None
                if isinstance(y.linear, DepthwiseConv)
                else replace(y, activation="LeakyRelu", alpha=alpha)
            )
    return None


def flat_products(node: Node, uses: Uses) -> Node | None:
    """x @ w with x of more than two axes and w a constant matrix  →  a product of matrices, reshaped.

    TF.js fuses bias and activation into products of matrices only. They are moved before the reshape.
    """
    del uses
    match node:
        case MatMul(x, Constant() as w, False, transposed) if x.rank > 2 and w.rank == 2:
            product = MatMul(
                ops.reshape(x, (-1, w.shape[1 if transposed else 0])), w, transpose_b=transposed
            )
            return (
                ops.reshape(product, (*ops.dims(x)[:-1], node.shape[-1]))
                if isinstance(node, Tensor)
                else None
            )
    return None


def sink_reshape(node: Node, uses: Uses) -> Node | None:
    """f(reshape(x))  →  reshape(f(x)), for f element by element and a reshape that keeps the last axis."""
    match node:
        case Add(ops.Reshape(x, to) as moved, Constant() as c) if (
            uses(moved) == 1
            and x.rank == 2
            and x.shape[-1] == moved.shape[-1]
            and _is_vector(c, moved)
        ):
            return ops.Reshape(x + ops.reshape(c, (-1,)), to)
        case (
            Relu(ops.Reshape(x, to) as moved)
            | Relu6(ops.Reshape(x, to) as moved)
            | Elu(ops.Reshape(x, to) as moved)
            | Sigmoid(ops.Reshape(x, to) as moved)
        ) if uses(moved) == 1 and isinstance(x, Fused):
            return ops.Reshape(type(node)(x), to)
    return None


FUSION = (fuse_prelu, fuse_relu6, flat_products, sink_reshape, fuse_bias, fuse_activation)
