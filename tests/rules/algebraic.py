"""Graphs before and after rules of algebra and constant folding."""

from __future__ import annotations

import numpy as np
from tests.rules.row import (
    IMAGE,
    MATRIX,
    Rewrite,
    both,
    conv,
    depthwise,
    grouped,
    num,
    padded,
    transposed,
    turned,
)

from kerasport.ir import ops

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
        "sizes that are constants are numbers",
        lambda x: ops.Slice(x, (ops.constant(1), 0), (-1, ops.constant(2))),
        MATRIX,
        """
        %0 = Input('x') : float32[?, 3]
        %1 = Slice(%0, begin=(1, 0), size=(-1, 2)) : float32[?, 2]
        return %1
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
        "a normalization goes into a convolution",
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
        "a normalization goes into a convolution in groups, and so do zeros",
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
