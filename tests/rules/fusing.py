"""Graphs before and after rules that fuse operations for TF.js."""

from __future__ import annotations

from tests.rules.row import IMAGE, MATRIX, VOLUME, Rewrite, both, conv, depthwise, num, turned

from kerasport.ir import ops

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
