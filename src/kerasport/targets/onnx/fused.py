"""Operators that ONNX has beyond the graph's vocabulary, for several steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kerasport.ir import ops
from kerasport.ir.ops import (
    Add,
    Clip,
    Constant,
    Erf,
    Mean,
    Mul,
    Reverse,
    Rsqrt,
    Square,
    Sub,
    Tanh,
    Tensor,
    TensorType,
)
from kerasport.ir.tensor import Node
from kerasport.passes.prelu import prelu_of
from kerasport.passes.rewrite import Uses
from kerasport.weights import Array, Shape


@dataclass(frozen=True, eq=False)
class Gelu(Tensor):
    """x · Φ(x), by erf, or approximately by tanh."""

    x: Tensor
    approximate: bool

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x = operands[0]
        inner = np.tanh(TANH * (x + CUBE * x**3)) if self.approximate else Erf.compute(x * ROOT)
        result: Array = (x * (1 + inner) / 2).astype(np.float32)
        return result


ROOT, TANH, CUBE = 0.5**0.5, (2 / np.pi) ** 0.5, 0.044715


@dataclass(frozen=True, eq=False)
class HardSigmoid(Tensor):
    """x · alpha + beta, but at least 0 and at most 1."""

    x: Tensor
    alpha: float
    beta: float

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        result: Array = np.clip(
            operands[0] * np.float32(self.alpha) + np.float32(self.beta), 0, 1
        ).astype(np.float32)
        return result


@dataclass(frozen=True, eq=False)
class LayerNorm(Tensor):
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta, over the axes from one on."""

    x: Tensor
    gamma: Tensor  # of the shape of these axes
    beta: Tensor | None
    axis: int
    epsilon: float

    def infer(self) -> TensorType:
        return self.x.type

    def compute(self, *operands: Any) -> Array:
        x, gamma, *beta = operands
        axes = tuple(range(self.axis, x.ndim))
        centred = x - x.mean(axes, keepdims=True)
        y = (
            centred
            / np.sqrt(np.square(centred).mean(axes, keepdims=True) + np.float32(self.epsilon))
            * gamma
        )
        result: Array = y + beta[0] if beta else y
        return result


# ------------------------------------------------------------------------------------------------ rules


def number(c: Tensor) -> float | None:
    """The one number of a constant."""
    if not isinstance(c, Constant) or c.value.size != 1 or c.dtype != "float32":
        return None
    return float(c.read().reshape(()))


def is_number(c: Tensor, value: float) -> bool:
    """Whether a constant is one number, that one in float32."""
    return bool(number(c) == np.float32(value))


def fuse_gelu(node: Node, uses: Uses) -> Node | None:
    """x · 1/2 · (1 + erf(x / √2))  →  gelu(x), and so for the one by tanh."""
    del uses
    match node:
        case Mul(Mul(x, half), Add(Erf(Mul(y, root)), one)) if x is y and node.shape == x.shape:
            if is_number(half, 0.5) and is_number(root, ROOT) and is_number(one, 1):
                return Gelu(x, approximate=False)
        case Mul(Mul(x, half), Add(Tanh(Mul(Add(y, cube), root)), one)) if x is y and _is_cube(
            x, cube
        ):
            if (
                is_number(half, 0.5)
                and is_number(root, TANH)
                and is_number(one, 1)
                and node.shape == x.shape
            ):
                return Gelu(x, approximate=True)
    return None


def _is_cube(x: Tensor, cube: Tensor) -> bool:
    match cube:
        case Mul(Mul(Mul(a, factor), b), c):
            return a is b is c is x and is_number(factor, CUBE)
    return False


def fuse_hard_sigmoid(node: Node, uses: Uses) -> Node | None:
    """clip(x · a + b, 0, 1)  →  hard_sigmoid(x)."""
    match node:
        case Clip(Add(Mul(x, a) as product, b) as total, 0.0, 1.0) if (
            uses(product) == uses(total) == 1
        ):
            alpha, beta = number(a), number(b)
            if alpha is not None and beta is not None and node.shape == x.shape:
                return HardSigmoid(x, alpha, beta)
    return None


def fuse_prelu(node: Node, uses: Uses) -> Node | None:
    """relu(x) - a · relu(-x)  →  prelu(x, a), where a is no larger than x."""
    del uses
    made = prelu_of(node)
    return (
        made
        if made is not None and isinstance(node, Tensor) and made.x.shape == node.shape
        else None
    )


def fuse_layer_norm(node: Node, uses: Uses) -> Node | None:
    """(x - mean) / √(variance + ε)  →  one operator, where the axes are the last ones; then with scale and offset."""
    match node:
        case Mul(
            Sub(x, Mean(y, axes, True)) as centred,
            Rsqrt(Add(Mean(Square(other), same, True), epsilon)),
        ) if x is y and centred is other and axes == same and _are_last(axes, x):
            sizes, small = x.shape[axes[0] :], number(epsilon)
            if small is not None and None not in sizes:
                return LayerNorm(
                    x, ops.constant(np.ones(ops.known(sizes), np.float32)), None, axes[0], small
                )
        case Mul(LayerNorm(x, _, None, axis) as norm, Constant() as gamma) if uses(
            norm
        ) == 1 and _is_plain(norm):
            if _fits(gamma, x.shape[axis:]):
                return replace(norm, gamma=gamma)
        case Add(LayerNorm(x, _, None, axis) as norm, Constant() as beta) if uses(norm) == 1:
            if _fits(beta, x.shape[axis:]):
                return replace(norm, beta=beta)
    return None


def _are_last(axes: Sequence[int], x: Tensor) -> bool:
    return tuple(axes) == tuple(range(axes[0], x.rank))


def _is_plain(norm: LayerNorm) -> bool:
    return isinstance(norm.gamma, Constant) and bool(np.all(norm.gamma.read() == 1))


def _fits(c: Constant, shape: Shape) -> bool:
    return c.shape == shape


def twice_reversed(node: Node, uses: Uses) -> Node | None:
    """reverse(reverse(x))  →  x."""
    del uses
    match node:
        case Reverse(Reverse(x, inner), outer) if inner == outer:
            return x
    return None


FUSION = (fuse_hard_sigmoid, fuse_prelu, fuse_layer_norm, twice_reversed)
FUSION_20 = (fuse_gelu, *FUSION)
