"""Fusion: operations for which some targets have one operator, and the rules that find them.

The IR describes a model in simple operations. A target that has one operator for several of them
adds the rule that fuses them to its passes, and the fused operation to its table of operators. If
its operator supports only some options, the target limits the rule with `only`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeAlias

import numpy as np

from kerasport.ir import ops
from kerasport.ir.ops import (
    Add,
    Clip,
    Constant,
    Conv,
    DepthwiseConv,
    Elu,
    Erf,
    LeakyRelu,
    MatMul,
    Mean,
    Mul,
    Neg,
    Relu,
    Relu6,
    Rsqrt,
    Sigmoid,
    Square,
    Sub,
    Tanh,
    Tensor,
    TensorType,
)
from kerasport.ir.tensor import Node
from kerasport.passes.rewrite import Rule, Uses
from kerasport.weights import Array

# --------------------------------------------------------------------------------------- operations


class Prelu(Tensor):
    """`x` where x > 0, else `slope · x`. The result has the shape of `x`."""

    x: Tensor
    slope: Tensor

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x, slope = operands
        result: Array = np.where(x > 0, x, slope * x)
        return result


class Gelu(Tensor):
    """`x · Φ(x)`, computed with erf, or approximately with tanh."""

    x: Tensor
    approximate: bool

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        (x,) = operands
        if self.approximate:
            inner = np.tanh(GELU_TANH * (x + GELU_CUBE * x**3))
        else:
            inner = Erf.compute(x * GELU_ERF)
        result: Array = (x * (1 + inner) / 2).astype(np.float32)
        return result


GELU_ERF, GELU_TANH, GELU_CUBE = 0.5**0.5, (2 / np.pi) ** 0.5, 0.044715
"""Factors inside erf and tanh, and of the third power of x."""


class HardSigmoid(Tensor):
    """`alpha · x + beta`, clipped to 0 … 1."""

    x: Tensor
    alpha: float
    beta: float

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        (x,) = operands
        line = x * np.float32(self.alpha) + np.float32(self.beta)
        result: Array = np.clip(line, 0, 1).astype(np.float32)
        return result


class LayerNorm(Tensor):
    """`(x - mean) / sqrt(variance + epsilon) · gamma + beta` over the axes from `axis` on.

    `gamma` and `beta` have the shape of these axes.
    """

    x: Tensor
    gamma: Tensor
    beta: Tensor | None
    axis: int
    epsilon: float

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x, gamma, *beta = operands
        axes = tuple(range(self.axis, x.ndim))
        centered = x - x.mean(axes, keepdims=True)
        variance = np.square(centered).mean(axes, keepdims=True)
        y = centered / np.sqrt(variance + np.float32(self.epsilon)) * gamma
        result: Array = y + beta[0] if beta else y
        return result


Linear: TypeAlias = MatMul | Conv | DepthwiseConv


class Fused(Tensor):
    """`activation(linear(a, b) + bias)`, where `bias` has one element for each output channel."""

    # the operation with its options; a target does not write it as a node
    linear: Linear
    a: Tensor
    b: Tensor
    bias: Tensor
    activation: type[Tensor] | None = None
    # the slope of LeakyRelu
    alpha: float = 0.0

    def infer(self) -> TensorType:
        return self.linear.type

    def _taken(self) -> tuple[Node, ...]:
        return (self.a, self.b, self.bias)

    def compute(self, *operands: Any) -> Array:
        a, b, bias = operands
        y: Array = self.linear.compute(a, b) + bias
        if self.activation is not None:
            y = ACTIVATIONS[self.activation](y, self.alpha)
        return y


ACTIVATIONS: Mapping[type[Tensor], Callable[[Array, float], Any]] = {
    Relu: lambda y, _: Relu.compute(y),
    Relu6: lambda y, _: Relu6.compute(y),
    Elu: lambda y, _: Elu.compute(y),
    Sigmoid: lambda y, _: Sigmoid.compute(y),
    LeakyRelu: lambda y, alpha: np.where(y > 0, y, np.float32(alpha) * y),
}
"""Activation that `Fused` supports → its meaning in numpy, given y and the slope of LeakyRelu."""


# -------------------------------------------------------------------------------------------- rules


def only(rule: Rule, accepts: Callable[[Any], bool]) -> Rule:
    """The rule, limited to results that the target accepts."""

    @wraps(rule)
    def limited(node: Node, uses: Uses) -> Node | None:
        fused = rule(node, uses)
        return fused if fused is not None and accepts(fused) else None

    return limited


def fuse_prelu(node: Node, uses: Uses) -> Node | None:
    """relu(x) - a · relu(-x)  →  prelu(x, a), for a constant a broadcast to the shape of x."""
    del uses
    match node:
        case Sub(Relu(x), Mul(Relu(Neg(y)), Constant() as a)) if x is y and node.shape == x.shape:
            return Prelu(x, a)
        case Add(Relu(x), Mul(Relu(Neg(y)), Constant() as a)) if x is y and node.shape == x.shape:
            return Prelu(x, -a)
    return None


def fuse_relu6(node: Node, uses: Uses) -> Node | None:
    """clip(x, 0, 6)  →  relu6(x)."""
    del uses
    match node:
        case Clip(x, 0.0, 6.0):
            return Relu6(x)
    return None


def fuse_gelu(node: Node, uses: Uses) -> Node | None:
    """x · 1/2 · (1 + erf(x / √2))  →  gelu(x), and the approximation with tanh."""
    del uses
    match node:
        case Mul(Mul(x, half), Add(inner, one)) if (
            node.shape == x.shape and is_number(half, 0.5) and is_number(one, 1)
        ):
            if _is_erf(inner, x):
                return Gelu(x, approximate=False)
            if _is_tanh(inner, x):
                return Gelu(x, approximate=True)
    return None


def _is_erf(inner: Tensor, x: Tensor) -> bool:
    """Whether `inner` is erf(x / √2)."""
    match inner:
        case Erf(Mul(y, factor)):
            return y is x and is_number(factor, GELU_ERF)
    return False


def _is_tanh(inner: Tensor, x: Tensor) -> bool:
    """Whether `inner` is tanh(√(2 / π) · (x + 0.044715 · x³))."""
    match inner:
        case Tanh(Mul(Add(y, Mul(Mul(Mul(a, factor), b), c)), root)):
            same = all(operand is x for operand in (y, a, b, c))
            return same and is_number(factor, GELU_CUBE) and is_number(root, GELU_TANH)
    return False


def fuse_hard_sigmoid(node: Node, uses: Uses) -> Node | None:
    """clip(x · a + b, 0, 1)  →  hard_sigmoid(x), for numbers a and b."""
    match node:
        case Clip(Add(Mul(x, a) as product, b) as total, 0.0, 1.0) if (
            uses(product) == uses(total) == 1 and node.shape == x.shape
        ):
            alpha, beta = number(a), number(b)
            if alpha is not None and beta is not None:
                return HardSigmoid(x, alpha, beta)
    return None


def fuse_layer_norm(node: Node, uses: Uses) -> Node | None:
    """(x - mean) / √(variance + ε)  →  layer_norm(x) over the last axes, with scale and offset."""
    match node:
        case Mul(
            Sub(x, Mean(y, axes, True)) as centered,
            Rsqrt(Add(Mean(Square(other), same, True), epsilon)),
        ) if x is y and centered is other and axes == same:
            return _layer_norm(x, axes, number(epsilon))
        case Mul(LayerNorm(x, _, None, axis) as norm, Constant() as gamma) if uses(norm) == 1:
            if gamma.shape == x.shape[axis:] and _has_no_scale(norm):
                return replace(norm, gamma=gamma)
        case Add(LayerNorm(x, _, None, axis) as norm, Constant() as beta) if uses(norm) == 1:
            if beta.shape == x.shape[axis:]:
                return replace(norm, beta=beta)
    return None


def _layer_norm(x: Tensor, axes: Sequence[int], epsilon: float | None) -> LayerNorm | None:
    """The normalization over `axes`, or None if they are not the last ones or of unknown size."""
    first = axes[0]
    sizes = x.shape[first:]
    if epsilon is None or None in sizes or tuple(axes) != tuple(range(first, x.rank)):
        return None
    return LayerNorm(x, ops.constant(np.ones(ops.known(sizes), np.float32)), None, first, epsilon)


def _has_no_scale(norm: LayerNorm) -> bool:
    return isinstance(norm.gamma, Constant) and bool(np.all(norm.gamma.read() == 1))


def fuse_bias(node: Node, uses: Uses) -> Node | None:
    """linear(x) + b  →  fused(x, b), for a constant b with one element for each output channel."""
    match node:
        case Add(MatMul(a, b) as y, Constant() as c) if uses(y) == 1 and is_vector(c, y):
            return Fused(y, a, b, ops.reshape(c, (-1,)))
        case Add((Conv(x, kernel) | DepthwiseConv(x, kernel)) as y, Constant() as c) if uses(
            y
        ) == 1 and is_vector(c, y):
            return Fused(y, x, kernel, ops.reshape(c, (-1,)))
    return None


def fuse_activation(node: Node, uses: Uses) -> Node | None:
    """activation(linear(x) + b)  →  fused(x, b) with the activation as an option."""
    match node:
        case Relu(y) | Relu6(y) | Elu(y) | Sigmoid(y) | LeakyRelu(y):
            if isinstance(y, Fused) and uses(y) == 1 and y.activation is None:
                alpha = node.alpha if isinstance(node, LeakyRelu) else 0.0
                return replace(y, activation=type(node), alpha=alpha)
    return None


# ---------------------------------------------------------------------------------------- constants


def number(c: Tensor) -> float | None:
    """The value of a constant with one element of type float32, else None."""
    if not isinstance(c, Constant) or c.value.size != 1 or c.dtype != "float32":
        return None
    return float(c.read().reshape(()))


def is_number(c: Tensor, value: float) -> bool:
    """Whether a constant has one element, which equals `value` in float32."""
    return bool(number(c) == np.float32(value))


def is_vector(c: Tensor, y: Tensor) -> bool:
    """Whether a constant has one element for each channel of `y`, on its last axis."""
    return (
        isinstance(c, Constant)
        and 0 < c.rank <= y.rank
        and c.value.size == c.shape[-1] == y.shape[-1]
    )
