"""Graphs before and after rules that replace operations TF.js lacks or computes incorrectly."""

from __future__ import annotations

from tests.rules.row import IMAGE, MATRIX, VOLUME, Rewrite, grouped, num, same

from kerasport.ir import ops
from kerasport.ir.ops.scatter import ScatterNd
from kerasport.ir.ops.spectral import Dft
from kerasport.ir.tensor import constant

LEGALIZING = (
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
        %2 = Gather(%0, %1, axis=0, batch_dims=0) : int32[3]
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
        %2 = Range(%1, start=None, step=None) : int32[?]
        %3 = Cast(%2, to='float32') : float32[?]
        %4 = StridedSlice(%3, parts=((None, None, -1),)) : float32[?]
        %5 = Cast(%4, to='int32') : int32[?]
        %6 = Gather(%0, %5, axis=0, batch_dims=0) : int32[?]
        return %6
        """,
        dtype="int32",
    ),
    Rewrite(
        "rows of all batches are gathered",
        lambda x: ops.Gather(x, ops.constant([[2, 0], [1, 1]]), 2, 1),
        (2, 4, 3),
        """
        %0 = Input('x') : float32[2, 4, 3]
        %1 = Transpose(%0, order=(0, 2, 1)) : float32[2, 3, 4]
        %2 = Reshape(%1, to=(-1, 4)) : float32[6, 4]
        %3 = Constant() : int32[2, 2]
        %4 = Gather(%2, %3, axis=0, batch_dims=0) : float32[2, 2, 4]
        %5 = Transpose(%4, order=(0, 2, 1)) : float32[2, 4, 2]
        return %5
        """,
    ),
    Rewrite(
        "pixels of boxes are gathered",
        lambda x: ops.CropAndResize(x, num(1, 4), ops.constant([1]), (2, 3), "nearest"),
        (2, 5, 6, 3),
        """
        %0 = Constant() : bool[1, 2, 3, 1]
        %1 = Input('x') : float32[2, 5, 6, 3]
        %2 = Constant() : int32[1, 2, 3, 3]
        %3 = GatherNd(%1, %2) : float32[1, 2, 3, 3]
        %4 = Constant() : float32[]
        %5 = Select(%0, %3, %4) : float32[1, 2, 3, 3]
        return %5
        """,
    ),
    Rewrite(
        "pixels between two others are gathered",
        lambda x: ops.Resize(x, (3, 9), "nearest"),
        (2, 10, 30, 1),
        """
        %0 = Input('x') : float32[2, 10, 30, 1]
        %1 = Constant() : int32[3]
        %2 = Gather(%0, %1, axis=1, batch_dims=0) : float32[2, 3, 30, 1]
        %3 = Constant() : int32[9]
        %4 = Gather(%2, %3, axis=2, batch_dims=0) : float32[2, 3, 9, 1]
        return %4
        """,
    ),
    Rewrite(
        "pixels that are never between two others",
        lambda x: (
            ops.Resize(x, (5, 12), "nearest"),
            ops.Resize(x, (20, ops.mul(ops.as_tensor(ops.dim(x, 2)), 2)), "nearest"),
        ),
        (2, 10, 4, 1),
        """
        %0 = Input('x') : float32[2, 10, 4, 1]
        %1 = Resize(%0, size=(5, 12), method='nearest', align_corners=False, half_pixel_centers=True) : float32[2, 5, 12, 1]
        %2 = Resize(%0, size=(20, 8), method='nearest', align_corners=False, half_pixel_centers=True) : float32[2, 20, 8, 1]
        return %1, %2
        """,
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
