"""Fusion for the fused kernels of TF.js: their limits, and rules that make more fusion possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kerasport.ir import ops
from kerasport.ir.ops import (
    Add,
    Constant,
    DepthwiseConv,
    Elu,
    LeakyRelu,
    MatMul,
    Relu,
    Relu6,
    Reshape,
    Sigmoid,
    Tensor,
)
from kerasport.ir.tensor import Node
from kerasport.passes.fuse import (
    Fused,
    Prelu,
    fuse_activation,
    fuse_bias,
    fuse_prelu,
    fuse_relu6,
    is_vector,
    only,
)
from kerasport.passes.rewrite import Uses

FUSABLE: Mapping[type[Tensor], str] = {
    Relu: "Relu",
    Relu6: "Relu6",
    Elu: "Elu",
    Sigmoid: "Sigmoid",
    LeakyRelu: "LeakyRelu",
}
"""Activation → its name inside a fused kernel. The others (tanh, gelu, selu, swish) throw there."""


def takes_slope(node: Prelu) -> bool:
    """Whether the slope repeats over the last axes of x, as TF.js's wasm kernel expects."""
    slope, x = node.slope, node.x
    first = next((axis for axis, size in enumerate(slope.shape) if size != 1), slope.rank)
    sizes = slope.shape[first:]
    return slope.rank <= x.rank and sizes == x.shape[x.rank - len(sizes) :]


def takes_bias(node: Fused) -> bool:
    """Whether the wasm backend has a kernel: for images, and for matrices without transposes."""
    linear = node.linear
    if isinstance(linear, MatMul):
        return linear.rank == 2 and not linear.transpose_a and not linear.transpose_b
    return linear.rank == 4


def takes_activation(node: Fused) -> bool:
    """Whether the kernel applies an activation; `FusedDepthwiseConv2dNative` ignores the slope."""
    if node.activation is LeakyRelu:
        return not isinstance(node.linear, DepthwiseConv)
    return node.activation in FUSABLE


def flat_products(node: Node, uses: Uses) -> Node | None:
    """x @ w for rank(x) > 2 and a constant matrix w  →  a product of matrices, reshaped.

    TF.js fuses bias and activation into products of matrices only. `sink_reshape` moves them
    before the reshape.
    """
    del uses
    match node:
        case MatMul(x, Constant() as w, False, transposed) if (
            x.rank > 2 and w.rank == 2 and 0 not in w.shape
        ):
            rows = ops.reshape(x, (-1, w.shape[1 if transposed else 0]))
            product = MatMul(rows, w, transpose_b=transposed)
            return ops.reshape(product, (*ops.dims(x)[:-1], node.shape[-1]))
    return None


def sink_reshape(node: Node, uses: Uses) -> Node | None:
    """f(reshape(x))  →  reshape(f(x)), for elementwise f and a reshape that keeps the last axis."""
    match node:
        case Add(Reshape(x, to) as moved, Constant() as c) if (
            uses(moved) == 1
            and x.rank == 2
            and x.shape[-1] == moved.shape[-1]
            and is_vector(c, moved)
        ):
            return Reshape(x + ops.reshape(c, (-1,)), to)
        case Relu(y) | Relu6(y) | Elu(y) | Sigmoid(y) | LeakyRelu(y):
            if isinstance(y, Reshape) and uses(y) == 1 and isinstance(y.x, Fused):
                return Reshape(replace(node, x=y.x), y.to)
    return None


FUSION = (
    only(fuse_prelu, takes_slope),
    fuse_relu6,
    flat_products,
    sink_reshape,
    only(fuse_bias, takes_bias),
    only(fuse_activation, takes_activation),
)
