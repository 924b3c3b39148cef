"""Records small TensorFlow graphs, one for each op and its variants, with inputs and outputs.

Run it in an environment with TensorFlow: `python tools/record_ops.py`. It writes
`tests/recorded/ops.npz`, which the tests read without TensorFlow. A case has the keys
`name/graph` (the bytes of a GraphDef), `name/input/…` and `name/output/…`.
"""

# ruff: noqa: ARG005, B008, C901, PLR0915, PLW0108  (a table of lambdas)

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf

OUT = Path(__file__).parent.parent / "tests" / "recorded" / "ops.npz"
RANDOM = np.random.default_rng(7)
CASES: dict[str, tuple[Callable[..., Any], list[Any], Any]] = {}

raw = tf.raw_ops


def f(*shape: int, low: float = -2.0, high: float = 2.0) -> Any:
    """Random floats."""
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def i(*shape: int, low: int = -5, high: int = 6, dtype: str = "int32") -> Any:
    """Random integers."""
    return RANDOM.integers(low, high, shape).astype(dtype)


def b(*shape: int) -> Any:
    """Random bools."""
    return RANDOM.integers(0, 2, shape).astype(bool)


def case(name: str, function: Callable[..., Any], *inputs: Any, open_: Any = (0,)) -> None:
    """Add a case. The sizes of the axes `open_` are unknown in the graph."""
    assert name not in CASES, name
    CASES[name] = (function, list(inputs), open_)


def elementwise() -> None:
    domains = {
        "Log": (0.1, 3), "Log1p": (-0.9, 3), "Sqrt": (0.1, 3), "Rsqrt": (0.1, 3),
        "Reciprocal": (0.5, 3), "Inv": (0.5, 3), "Asin": (-0.9, 0.9), "Acos": (-0.9, 0.9),
        "Atanh": (-0.9, 0.9), "Acosh": (1.1, 3),
    }  # fmt: skip
    names = (
        "Abs Neg Exp Expm1 Log Log1p Sqrt Rsqrt Square Reciprocal Inv Sin Cos Tan Asin Acos Atan "
        "Sinh Cosh Tanh Asinh Acosh Atanh Floor Ceil Round Rint Sign Erf Erfc"
    )
    for name in names.split():
        low, high = domains.get(name, (-2.0, 2.0))
        op = getattr(raw, name)
        case(name, lambda x, op=op: op(x=x), f(3, 5, low=low, high=high))
    for name in ["Relu", "Relu6", "Elu", "Selu", "Softplus", "Softsign", "LeakyRelu"]:
        op = getattr(raw, name)
        scale = 4.0 if name == "Relu6" else 1.0
        case(name, lambda x, op=op: op(features=x), f(3, 5) * np.float32(scale))
    case("LeakyRelu/alpha", lambda x: raw.LeakyRelu(features=x, alpha=0.03), f(3, 5))
    case("Sigmoid", lambda x: raw.Sigmoid(x=x), f(3, 5))
    special = np.array([[1, np.nan, np.inf], [-np.inf, 0, 2]], np.float32)
    for name in ("IsNan", "IsInf", "IsFinite"):
        case(name, lambda x, op=getattr(raw, name): op(x=x), special)
    case("LogicalNot", lambda x: raw.LogicalNot(x=x), b(3, 4))
    for name in [
        "Add",
        "AddV2",
        "Sub",
        "Mul",
        "RealDiv",
        "DivNoNan",
        "Maximum",
        "Minimum",
        "SquaredDifference",
    ]:
        op = getattr(raw, name)
        case(name, lambda x, y, op=op: op(x=x, y=y), f(3, 1, 5), f(4, 5, low=0.5))
    for name in [
        "Add",
        "AddV2",
        "Sub",
        "Mul",
        "FloorDiv",
        "FloorMod",
        "Maximum",
        "Minimum",
        "SquaredDifference",
    ]:
        op = getattr(raw, name)
        case(f"{name}/int32", lambda x, y, op=op: op(x=x, y=y), i(3, 4), i(3, 4, low=1))
    for name in ["Div", "TruncateDiv", "Mod", "TruncateMod", "FloorDiv", "FloorMod"]:
        op = getattr(raw, name)
        case(
            f"{name}/signs",
            lambda x, y, op=op: op(x=x, y=y),
            i(3, 4, low=-9, high=9),
            np.array([1, -2, 3, -4], np.int32),
        )
        if name not in ("TruncateDiv", "TruncateMod"):
            case(
                f"{name}/float",
                lambda x, y, op=op: op(x=x, y=y),
                f(3, 4) * np.float32(3),
                np.array([1.5, -2.5, 0.7, -0.3], np.float32),
            )
    case(
        "TruncateMod/float",
        lambda x, y: raw.TruncateMod(x=x, y=y),
        f(3, 4),
        np.array([1.5, -2.5, 0.7, -0.3], np.float32),
    )
    case(
        "DivNoNan/zero",
        lambda x, y: raw.DivNoNan(x=x, y=y),
        f(2, 3),
        np.array([0, 1, 2], np.float32),
    )
    case("Pow", lambda x, y: raw.Pow(x=x, y=y), f(3, 4, low=0.2), f(4))
    case("Atan2", lambda x, y: raw.Atan2(y=x, x=y), f(3, 4), f(3, 4))
    for name in ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"]:
        op = getattr(raw, name)
        case(name, lambda x, y, op=op: op(x=x, y=y), i(3, 4, low=0, high=3), i(4, low=0, high=3))
    case("LogicalAnd", lambda x, y: raw.LogicalAnd(x=x, y=y), b(3, 4), b(4))
    case("LogicalOr", lambda x, y: raw.LogicalOr(x=x, y=y), b(3, 4), b(4))
    for name in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
        case(name, lambda x, y, op=getattr(raw, name): op(x=x, y=y), i(3, 4), i(3, 4))
    for name in ["LeftShift", "RightShift"]:
        case(
            name,
            lambda x, y, op=getattr(raw, name): op(x=x, y=y),
            i(3, 4, low=-9, high=50),
            i(4, low=0, high=4),
        )
    case("Invert", lambda x: raw.Invert(x=x), i(3, 4))
    zeros = np.array([[0, 1.5, 0], [2, 0, -1]], np.float32)
    for name in ["Xlogy", "Xdivy"]:
        case(
            name,
            lambda x, y, op=getattr(raw, name): op(x=x, y=y),
            zeros,
            np.array([0, 0.5, 2], np.float32) + np.float32(0),
        )
    case("Xlog1py", lambda x, y: raw.Xlog1py(x=x, y=y), zeros, f(2, 3, low=-0.5))
    case(
        "MulNoNan",
        lambda x, y: raw.MulNoNan(x=x, y=y),
        np.array([[np.inf, 1, np.nan]], np.float32),
        np.array([[0, 2, 0]], np.float32),
    )
    case("AddN", lambda x, y, z: raw.AddN(inputs=[x, y, z]), f(3, 4), f(3, 4), f(3, 4))
    case(
        "AccumulateNV2",
        lambda x, y: raw.AccumulateNV2(inputs=[x, y], shape=[3, 4]),
        f(3, 4),
        f(3, 4),
        open_=(),
    )
    case("Minimum/clip", lambda x: tf.clip_by_value(x, -0.5, 1.0), f(3, 4))
    case(
        "ClipByValue",
        lambda x: raw.ClipByValue(
            t=x, clip_value_min=tf.constant(-0.5), clip_value_max=tf.constant(1.0)
        ),
        f(3, 4),
    )
    case(
        "ClipByValue/int32",
        lambda x: raw.ClipByValue(
            t=x, clip_value_min=tf.constant(-2), clip_value_max=tf.constant(3)
        ),
        i(3, 4),
    )
    case(
        "ApproximateEqual",
        lambda x, y: raw.ApproximateEqual(x=x, y=y, tolerance=0.5),
        f(3, 4),
        f(3, 4),
    )
    case("Bucketize", lambda x: raw.Bucketize(input=x, boundaries=[-1.0, 0.0, 1.5]), f(3, 4))
    for target in ("int32", "int64", "bool", "uint8", "float64", "float16"):
        low = 0.0 if target == "uint8" else -3.0
        case(f"Cast/{target}", lambda x, t=target: tf.cast(x, t), f(3, 4, low=low, high=3.0))
    case("Cast/from_bool", lambda x: tf.cast(x, "float32"), b(3, 4))
    case("Cast/from_int64", lambda x: tf.cast(x, "float32"), i(3, 4, dtype="int64"))
    case("Select", lambda c, x, y: raw.Select(condition=c, x=x, y=y), b(3, 4), f(3, 4), f(3, 4))
    case("Select/rows", lambda c, x, y: raw.Select(condition=c, x=x, y=y), b(3), f(3, 4), f(3, 4))
    case("SelectV2", lambda c, x, y: raw.SelectV2(condition=c, t=x, e=y), b(3, 1), f(4), f(3, 4))
    case("ZerosLike", lambda x: x + raw.ZerosLike(x=x), f(3, 4))
    case("ZerosLike/alone", lambda x: raw.ZerosLike(x=x), f(3, 4))
    case("OnesLike", lambda x: raw.OnesLike(x=x), i(3, 4))
    case(
        "FakeQuantWithMinMaxVars",
        lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -1.3, 1.7),
        f(4, 6),
    )
    case(
        "FakeQuantWithMinMaxVars/narrow",
        lambda x: tf.quantization.fake_quant_with_min_max_vars(
            x, -1.3, 1.7, num_bits=4, narrow_range=True
        ),
        f(4, 6),
    )
    case(
        "FakeQuantWithMinMaxArgs",
        lambda x: tf.quantization.fake_quant_with_min_max_args(x, -1.0, 2.0),
        f(4, 6),
    )


def reductions() -> None:
    for name in ["Sum", "Mean", "Max", "Min", "Prod"]:
        op = getattr(raw, name)
        case(name, lambda x, op=op: op(input=x, axis=[1, -1]), f(3, 4, 5))
        case(f"{name}/keep", lambda x, op=op: op(input=x, axis=0, keep_dims=True), f(3, 4))
    case("Sum/int32", lambda x: raw.Sum(input=x, axis=[1]), i(3, 4))
    case("Sum/nothing", lambda x: tf.reduce_sum(x, []), f(3, 4))
    case("All", lambda x: raw.All(input=x, axis=[1]), b(5, 2))
    case("Any", lambda x: raw.Any(input=x, axis=[0], keep_dims=True), b(2, 5))
    case("EuclideanNorm", lambda x: raw.EuclideanNorm(input=x, axis=[1]), f(3, 4))
    case("L2Loss", lambda x: raw.L2Loss(t=x), f(3, 4))
    for name in ("ArgMax", "ArgMin"):
        case(name, lambda x, op=getattr(raw, name): op(input=x, dimension=1), f(3, 4, 5))
        case(
            f"{name}/int32",
            lambda x, op=getattr(raw, name): op(input=x, dimension=-1, output_type=tf.int32),
            i(3, 7, low=0, high=3),
        )
    for name in ("Cumsum", "Cumprod"):
        op = getattr(raw, name)
        case(name, lambda x, op=op: op(x=x, axis=1), f(3, 4))
        case(f"{name}/last", lambda x, op=op: op(x=x, axis=-1), f(3, 4, 2))
        case(
            f"{name}/exclusive",
            lambda x, op=op: op(x=x, axis=0, exclusive=True, reverse=True),
            f(3, 4),
        )
    case("Softmax", lambda x: raw.Softmax(logits=x), f(3, 4, 5))
    case("LogSoftmax", lambda x: raw.LogSoftmax(logits=x), f(3, 5))
    case(
        "LRN",
        lambda x: raw.LRN(input=x, depth_radius=2, bias=1.5, alpha=0.3, beta=0.6),
        f(2, 3, 3, 7),
    )


def arrays() -> None:
    case("ConcatV2", lambda x, y: tf.concat([x, y], -1), f(3, 4), f(3, 2))
    case("Concat", lambda x, y: raw.Concat(concat_dim=1, values=[x, y]), f(3, 4), f(3, 2))
    case("Pack", lambda x, y: tf.stack([x, y], 1), f(3, 4), f(3, 4))
    case("Pack/last", lambda x, y: tf.stack([x, y], -1), f(3, 4), f(3, 4))
    case("Unpack", lambda x: tf.unstack(x, 3, axis=-1), f(4, 3))
    case("Split", lambda x: tf.split(x, 3, axis=1), f(2, 6))
    case("SplitV", lambda x: tf.split(x, [1, -1, 2], axis=1), f(2, 6))
    case("SplitV/open", lambda x: tf.split(x, [1, -1, 2], axis=0), f(7, 2))
    case("Slice", lambda x: tf.slice(x, [1, 0], [-1, 2]), f(4, 3))
    case("Slice/size", lambda x: tf.slice(x, [0, 1], [tf.shape(x)[0] - 1, 2]), f(4, 3))
    case("StridedSlice", lambda x: x[1:, ::2], f(4, 5))
    case("StridedSlice/back", lambda x: x[::-1, 3:0:-2], f(4, 5))
    case("StridedSlice/index", lambda x: x[-1, ..., 1:-1], f(4, 2, 5))
    case("StridedSlice/new", lambda x: x[:, tf.newaxis, ..., 0, tf.newaxis], f(3, 4, 2))
    case(
        "StridedSlice/open",
        lambda x, n: x[n[0] : n[1]],
        f(7, 2),
        np.array([1, -2], np.int32),
        open_=((0,), ()),
    )
    case("StridedSlice/open_index", lambda x, n: x[:, n], f(3, 5), np.array(-2, np.int32))
    case("StridedSlice/half", lambda x: x[: tf.shape(x)[0] // 2], f(7, 2))
    case("Gather", lambda x, n: raw.Gather(params=x, indices=n), f(5, 3), i(2, 4, low=0, high=5))
    case("GatherV2", lambda x, n: tf.gather(x, n, axis=1), f(3, 5, 2), i(4, low=0, high=5))
    case(
        "GatherV2/int64",
        lambda n: tf.gather(tf.constant(f(5, 3)), n),
        i(2, 4, low=0, high=5, dtype="int64"),
    )
    case(
        "GatherV2/batch",
        lambda x, n: tf.gather(x, n, axis=1, batch_dims=1),
        f(3, 5, 2),
        i(3, 4, low=0, high=5),
    )
    case(
        "GatherV2/batch_axis",
        lambda x, n: tf.gather(x, n, axis=2, batch_dims=1),
        f(3, 2, 5, 2),
        i(3, 4, low=0, high=5),
    )
    case(
        "GatherNd",
        lambda x, n: tf.gather_nd(x, n),
        f(4, 5, 2),
        np.array([[0, 1], [3, 4], [2, 0]], np.int32),
    )
    case(
        "GatherNd/batch",
        lambda x, n: tf.gather_nd(x, n, batch_dims=1),
        f(2, 5, 3),
        i(2, 4, 1, low=0, high=5),
    )
    case("OneHot", lambda n: tf.one_hot(n, 4), i(3, 2, low=-1, high=5))
    case(
        "OneHot/values",
        lambda n: tf.one_hot(n, 4, on_value=2.5, off_value=-1.0, axis=1),
        i(3, 2, low=0, high=4),
    )
    case(
        "OneHot/int64",
        lambda n: tf.one_hot(n, 3, dtype="int64"),
        i(3, low=0, high=3, dtype="int64"),
    )
    case("Pad", lambda x: tf.pad(x, [[1, 0], [2, 3]]), f(3, 4))
    case("PadV2", lambda x: tf.pad(x, [[1, 0], [2, 3]], constant_values=1.5), f(3, 4))
    case("Pad/open", lambda x: tf.pad(x, [[0, 0], [0, 8 - tf.shape(x)[1]]]), f(3, 5), open_=(0, 1))
    case("MirrorPad", lambda x: tf.pad(x, [[0, 0], [2, 3]], "REFLECT"), f(3, 4))
    case("MirrorPad/symmetric", lambda x: tf.pad(x, [[0, 0], [2, 3]], "SYMMETRIC"), f(3, 4))
    case("Tile", lambda x: tf.tile(x, [2, 3]), f(3, 4))
    case("Tile/open", lambda x: tf.tile(x, [1, tf.shape(x)[0]]), f(3, 4))
    case("Transpose", lambda x: tf.transpose(x, [2, 0, 1]), f(3, 4, 5))
    case("ReverseV2", lambda x: tf.reverse(x, [-1]), f(3, 4))
    case("Reverse", lambda x: raw.Reverse(tensor=x, dims=[False, True]), f(3, 4))
    case("Roll", lambda x: tf.roll(x, [1, -2], [1, 2]), f(3, 4, 5))
    case(
        "ReverseSequence",
        lambda x, n: tf.reverse_sequence(x, n, seq_axis=1, batch_axis=0),
        f(3, 5, 2),
        np.array([1, 5, 3], np.int32),
    )
    case(
        "ReverseSequence/time",
        lambda x, n: tf.reverse_sequence(x, n, seq_axis=0, batch_axis=1),
        f(5, 3),
        np.array([2, 0, 4], np.int64),
    )
    case("SpaceToDepth", lambda x: tf.nn.space_to_depth(x, 2), f(3, 4, 6, 2))
    case("DepthToSpace", lambda x: tf.nn.depth_to_space(x, 2), f(3, 2, 3, 8))
    case("SpaceToBatchND", lambda x: tf.space_to_batch(x, [2, 3], [[1, 0], [1, 2]]), f(2, 3, 6, 2))
    case("BatchToSpaceND", lambda x: tf.batch_to_space(x, [2, 3], [[1, 0], [1, 2]]), f(12, 3, 3, 2))
    case("MatrixBandPart", lambda x: tf.linalg.band_part(x, 1, 2), f(3, 5, 6))
    case("MatrixBandPart/causal", lambda x: tf.linalg.band_part(x, -1, 0), f(5, 5), open_=(0, 1))
    case("MatrixBandPart/bool", lambda x: tf.linalg.band_part(x, 0, -1), b(3, 4, 4))
    case("MatrixDiag", lambda x: raw.MatrixDiag(diagonal=x), f(3, 4))
    case("MatrixDiagV3", lambda x: tf.linalg.diag(x), f(3, 4))
    case("MatrixDiagPart", lambda x: raw.MatrixDiagPart(input=x), f(3, 4, 5))
    case("MatrixDiagPartV3", lambda x: tf.linalg.diag_part(x), f(3, 4, 4))
    indices = np.array([[1], [4], [1]], np.int32)
    case("ScatterNd", lambda n, x: tf.scatter_nd(n, x, [5, 4]), indices, f(3, 4), open_=())
    case(
        "TensorScatterUpdate",
        lambda x, y: tf.tensor_scatter_nd_update(x, [[1], [4]], y),
        f(5, 4),
        f(2, 4),
        open_=(),
    )
    for name in ("Add", "Sub", "Max", "Min"):
        function = getattr(tf, f"tensor_scatter_nd_{name.lower()}")
        case(
            f"TensorScatter{name}",
            lambda x, y, op=function: op(x, indices, y),
            f(5, 4),
            f(3, 4),
            open_=(),
        )
    segments = np.array([2, 0, 2, 1], np.int32)
    for name in ("Sum", "Prod", "Max", "Min"):
        op = getattr(raw, f"UnsortedSegment{name}")
        case(
            f"UnsortedSegment{name}",
            lambda x, op=op: op(
                data=x, segment_ids=segments, num_segments=4 if op is raw.UnsortedSegmentSum else 3
            ),
            f(4, 3),
            open_=(),
        )
    case("TopKV2", lambda x: tf.math.top_k(x, 2), f(3, 5))
    case(
        "InvertPermutation",
        lambda x: tf.gather(x, raw.InvertPermutation(x=[2, 0, 1])),
        f(3, 2),
        open_=(),
    )
    case(
        "ListDiff",
        lambda x: tf.reduce_sum(x, tf.cast(raw.ListDiff(x=[0, 1, 2], y=[1]).out, tf.int32)),
        f(3, 2, 4),
    )
    for name in ("LowerBound", "UpperBound"):
        case(
            name,
            lambda x, y, op=getattr(raw, name): op(sorted_inputs=x, values=y),
            np.sort(i(2, 6)),
            i(2, 4),
        )
    case("StopGradient", lambda x: tf.stop_gradient(x) + 1.0, f(3, 2))


def shapes() -> None:
    case("Shape", lambda x: tf.shape(x), f(3, 4, 2), open_=(0, 1))
    case("Shape/int64", lambda x: tf.shape(x, out_type=tf.int64), f(3, 4))
    case("ShapeN", lambda x, y: raw.ShapeN(input=[x, y]), f(3, 4), f(2))
    case("Size", lambda x: tf.size(x), f(3, 4))
    case("Rank", lambda x: tf.fill([raw.Rank(input=x)], 1.5) * x[0, :2], f(3, 4))
    case("Reshape", lambda x: tf.reshape(x, [-1, 6]), f(3, 4, 3))
    case(
        "Reshape/sizes",
        lambda x: tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] * 4]),
        f(3, 2, 4),
        open_=(0, 1),
    )
    case(
        "Reshape/heads",
        lambda x: tf.transpose(tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 2, 3]), [0, 2, 1, 3]),
        f(3, 5, 6),
        open_=(0, 1),
    )
    case("ExpandDims", lambda x: tf.expand_dims(x, -2), f(3, 4))
    case("Squeeze", lambda x: tf.squeeze(x, [1, -1]), f(3, 1, 4, 1))
    case("Squeeze/all", lambda x: tf.squeeze(x), f(3, 1, 4, 1), open_=())
    case("EnsureShape", lambda x: tf.ensure_shape(x, [None, 4]) + 1.0, f(3, 4), open_=(0, 1))
    case("Fill", lambda x: tf.fill([tf.shape(x)[0], 2], 1.5), f(3, 4))
    case("Fill/value", lambda x: tf.fill([2, 3], x[0, 0]), f(3, 4))
    case("Fill/bool", lambda x: tf.fill([tf.shape(x)[0]], True), f(3, 4))
    case("BroadcastTo", lambda x: tf.broadcast_to(x, [2, 3, 4]), f(3, 4), open_=())
    case("BroadcastTo/open", lambda x: tf.broadcast_to(x[0], tf.shape(x)), f(3, 4))
    case(
        "BroadcastArgs",
        lambda x, y: raw.BroadcastArgs(s0=tf.shape(x), s1=tf.shape(y)),
        f(3, 1),
        f(4),
    )
    case("Range", lambda x: tf.range(tf.shape(x)[0]), f(3, 4))
    case("Range/step", lambda n: tf.range(2, n, 3), np.array(13, np.int32))
    case("Range/down", lambda n: tf.range(n, 0, -2), np.array(7, np.int32))
    case("Range/float", lambda x: tf.range(0.5, x, 0.25), np.array(2.1, np.float32))
    case("Range/int64", lambda n: tf.range(n), np.array(4, np.int64))
    case("LinSpace", lambda x: raw.LinSpace(start=x, stop=3.0, num=5), np.array(-1.5, np.float32))
    case(
        "Prod/sizes",
        lambda x: tf.reshape(x, [tf.reduce_prod(tf.shape(x)[:2]), tf.shape(x)[2]]),
        f(3, 4, 2),
        open_=(0, 1),
    )
    case("Tensordot", lambda x: tf.tensordot(x, tf.constant(f(4, 5)), 1), f(3, 2, 4), open_=(0, 1))
    case(
        "ConcatV2/sizes",
        lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:-1], [2, 2]], 0)),
        f(3, 2, 4),
        open_=(0, 1),
    )
    case(
        "GatherV2/sizes", lambda x: tf.zeros(tf.gather(tf.shape(x), [1, 0])), f(3, 4), open_=(0, 1)
    )


def networks() -> None:
    case("MatMul", lambda x, y: tf.matmul(x, y), f(3, 4), f(4, 5), open_=((0,), ()))
    case(
        "MatMul/transposed",
        lambda x, y: tf.matmul(x, y, transpose_a=True, transpose_b=True),
        f(4, 3),
        f(5, 4),
        open_=((1,), ()),
    )
    case("BatchMatMul", lambda x, y: raw.BatchMatMul(x=x, y=y), f(2, 3, 4), f(2, 4, 5))
    case(
        "BatchMatMulV2",
        lambda x, y: tf.matmul(x, y, adjoint_b=True),
        f(2, 3, 3, 4),
        f(3, 5, 4),
        open_=((0,), ()),
    )
    case(
        "BatchMatMulV3",
        lambda x, y: raw.BatchMatMulV3(x=x, y=y, Tout=tf.float32, adj_x=True),
        f(2, 4, 3),
        f(2, 4, 5),
    )
    case(
        "Einsum",
        lambda x, y: tf.einsum("abc,cde->abde", x, y),
        f(3, 2, 4),
        f(4, 2, 3),
        open_=((0, 1), ()),
    )
    case(
        "Einsum/attention",
        lambda x, y: tf.einsum("btnh,bsnh->bnts", x, y),
        f(3, 2, 2, 4),
        f(3, 5, 2, 4),
        open_=(0, 1),
    )
    case(
        "Einsum/ellipsis",
        lambda x, y: raw.Einsum(inputs=[x, y], equation="...ij,jk->...ik"),
        f(2, 3, 4),
        f(4, 5),
        open_=((0,), ()),
    )
    case("BiasAdd", lambda x: tf.nn.bias_add(x, f(4)), f(3, 2, 4))
    case("BiasAdd/NCHW", lambda x: tf.nn.bias_add(x, f(4), data_format="NCHW"), f(3, 4, 2, 5))
    case("BiasAddV1", lambda x: raw.BiasAddV1(value=x, bias=f(4)), f(3, 4))
    for padding in ("SAME", "VALID"):
        case(
            f"Conv2D/{padding}",
            lambda x, p=padding: tf.nn.conv2d(x, f(3, 2, 3, 4), [1, 2, 2, 1], p),
            f(2, 7, 6, 3),
        )
        case(
            f"MaxPool/{padding}",
            lambda x, p=padding: tf.nn.max_pool2d(x, [3, 2], [2, 1], p),
            f(2, 7, 6, 3),
        )
        case(
            f"AvgPool/{padding}",
            lambda x, p=padding: tf.nn.avg_pool2d(x, [3, 2], [2, 1], p),
            f(2, 7, 6, 3),
        )
        case(
            f"Conv3D/{padding}",
            lambda x, p=padding: tf.nn.conv3d(x, f(2, 3, 2, 3, 2), [1, 1, 2, 2, 1], p),
            f(2, 4, 5, 6, 3),
        )
        case(
            f"AvgPool3D/{padding}",
            lambda x, p=padding: tf.nn.avg_pool3d(x, 2, 2, p),
            f(2, 4, 5, 6, 3),
        )
        case(
            f"DepthwiseConv2dNative/{padding}",
            lambda x, p=padding: tf.nn.depthwise_conv2d(x, f(3, 2, 3, 2), [1, 2, 2, 1], p),
            f(2, 7, 6, 3),
        )
        case(
            f"Conv2DBackpropInput/{padding}",
            lambda x, p=padding: tf.nn.conv2d_transpose(
                x, f(3, 3, 4, 3), [2, 8 if p == "SAME" else 9, 12 if p == "SAME" else 13, 4], 2, p
            ),
            f(2, 4, 6, 3),
            open_=(),
        )
        case(
            f"Dilation2D/{padding}",
            lambda x, p=padding: tf.nn.dilation2d(
                x, f(3, 2, 3), [1, 2, 1, 1], p, "NHWC", [1, 1, 2, 1]
            ),
            f(2, 7, 6, 3),
        )
    case(
        "Conv2D/EXPLICIT",
        lambda x: tf.nn.conv2d(x, f(3, 3, 3, 4), 1, [[0, 0], [2, 1], [0, 3], [0, 0]]),
        f(2, 7, 6, 3),
    )
    case(
        "Conv2D/dilated",
        lambda x: tf.nn.conv2d(x, f(3, 3, 3, 4), 1, "SAME", dilations=2),
        f(2, 7, 6, 3),
    )
    case(
        "Conv2D/groups",
        lambda x: raw.Conv2D(input=x, filter=f(3, 3, 2, 6), strides=[1, 1, 1, 1], padding="VALID"),
        f(2, 5, 6, 4),
    )
    case(
        "Conv2D/blocks",
        lambda x: tf.batch_to_space(
            tf.nn.conv2d(tf.space_to_batch(x, [2, 2], [[2, 3], [2, 2]]), f(3, 3, 3, 4), 1, "VALID"),
            [2, 2],
            [[0, 1], [0, 0]],
        ),
        f(2, 7, 6, 3),
    )
    case(
        "Conv2DBackpropInput/open",
        lambda x: tf.nn.conv2d_transpose(
            x, f(3, 3, 4, 3), [tf.shape(x)[0], tf.shape(x)[1] * 2, tf.shape(x)[2] * 2, 4], 2, "SAME"
        ),
        f(2, 4, 6, 3),
        open_=(0, 1, 2),
    )
    case(
        "Conv3DBackpropInputV2",
        lambda x: tf.nn.conv3d_transpose(x, f(2, 3, 3, 2, 3), [2, 4, 6, 8, 2], 2, "SAME"),
        f(2, 2, 3, 4, 3),
        open_=(),
    )
    case("MaxPool3D", lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID"), f(2, 4, 5, 6, 3))
    case(
        "MaxPool/EXPLICIT",
        lambda x: tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 0], [0, 0]]),
        f(2, 7, 6, 3),
    )
    case(
        "MaxPoolV2",
        lambda x: raw.MaxPoolV2(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"),
        f(2, 7, 6, 3),
    )
    for name in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
        op = getattr(raw, name)
        case(
            name,
            lambda x, op=op: op(
                x=x,
                scale=f(3),
                offset=f(3),
                mean=f(3),
                variance=f(3, low=0.3),
                epsilon=0.01,
                is_training=False,
            )[0],
            f(2, 4, 5, 3),
        )
    case(
        "FusedBatchNormV3/training",
        lambda x: raw.FusedBatchNormV3(
            x=x,
            scale=f(3),
            offset=f(3),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=0.01,
            is_training=True,
        )[0],
        f(2, 4, 5, 3),
    )
    case("gelu", lambda x: tf.nn.gelu(x), f(3, 5))
    case("gelu/tanh", lambda x: tf.nn.gelu(x, approximate=True), f(3, 5))
    case("moments", lambda x: tf.nn.moments(x, [1]), f(3, 5))


def images() -> None:
    for name in ("Bilinear", "NearestNeighbor"):
        op = getattr(raw, f"Resize{name}")
        for label, flags in (
            ("centers", {"half_pixel_centers": True}), ("corners", {"align_corners": True}),
            ("legacy", {}),
        ):  # fmt: skip
            for size in ((7, 4), (10, 13)):
                case(
                    f"Resize{name}/{label}_{size[0]}",
                    lambda x, op=op, s=size, k=flags: op(images=x, size=s, **k),
                    f(2, 5, 6, 3),
                )
    case(
        "ResizeBilinear/uint8",
        lambda x: tf.image.resize(x, [7, 4]),
        i(2, 5, 6, 3, low=0, high=255, dtype="uint8"),
    )
    case(
        "ResizeBilinear/open",
        lambda x: raw.ResizeBilinear(images=x, size=tf.shape(x)[1:3] * 2, half_pixel_centers=True),
        f(2, 5, 6, 3),
        open_=(0, 1, 2),
    )
    case(
        "ResizeBicubic",
        lambda x: raw.ResizeBicubic(images=x, size=[7, 9], half_pixel_centers=True),
        f(2, 5, 6, 3),
    )
    case("AdjustContrastv2", lambda x: tf.image.adjust_contrast(x, 1.7), f(2, 5, 6, 3))


def control() -> None:
    case(
        "StatelessIf",
        lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0),
        f(3, 4),
    )
    case(
        "StatelessIf/else",
        lambda x: tf.cond(
            tf.reduce_sum(x) > 1000, lambda: (x * 2.0, x), lambda: (x - 1.0, x + 1.0)
        ),
        f(3, 4),
    )
    case(
        "StatelessCase",
        lambda x, n: tf.switch_case(n, [lambda: x, lambda: x * 2.0, lambda: x - 3.0]),
        f(3, 4),
        np.array(1, np.int32),
    )
    case(
        "StatelessCase/default",
        lambda x, n: tf.switch_case(n, [lambda: x, lambda: x * 2.0, lambda: x - 3.0]),
        f(3, 4),
        np.array(7, np.int32),
    )
    case(
        "StatelessWhile",
        lambda x: tf.while_loop(
            lambda k, v: k < 4, lambda k, v: (k + 1, v * 0.5 + 1.0), [tf.constant(0), x]
        )[1],
        f(3, 4),
    )
    case(
        "StatelessWhile/none",
        lambda x: tf.while_loop(
            lambda k, v: k < 0, lambda k, v: (k + 1, v * 0.5), [tf.constant(0), x]
        )[1],
        f(3, 4),
    )
    case(
        "StatelessWhile/data",
        lambda x: tf.while_loop(
            lambda v: tf.reduce_max(tf.abs(v)) > 0.1, lambda v: (v * 0.4,), [x]
        ),
        f(3, 4),
    )
    case(
        "StatelessWhile/captured",
        lambda x, y: tf.while_loop(
            lambda k, v: k < 3, lambda k, v: (k + 1, tf.matmul(v, y)), [0, x]
        )[1],
        f(3, 4),
        f(4, 4),
        open_=((0,), ()),
    )
    case(
        "TensorListStack",
        lambda x: tf.scan(lambda state, row: state + row, x, initializer=tf.zeros([4])),
        f(5, 4),
    )
    case("TensorListStack/map", lambda x: tf.map_fn(lambda row: row * 2.0 + 1.0, x), f(5, 4))


def record(name: str) -> dict[str, Any]:
    """The graph of a case, its inputs and outputs."""
    function, inputs, open_ = CASES[name]
    several = bool(open_) and isinstance(open_[0], tuple)
    specs = []
    for index, array in enumerate(inputs):
        unknown = open_[index] if several else open_
        shape = [None if axis in unknown else size for axis, size in enumerate(array.shape)]
        specs.append(tf.TensorSpec(shape, array.dtype, name=f"x{index}"))
    names = [f"x{index}" for index in range(len(inputs))]
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    graph = concrete.graph.as_graph_def()
    results = tf.nest.flatten(concrete(*map(tf.constant, inputs)))
    found = {"graph": np.frombuffer(graph.SerializeToString(), np.uint8)}
    found |= {f"input/{key}": array for key, array in zip(names, inputs, strict=True)}
    outputs = [tensor.name for tensor in concrete.outputs]
    for label, result in zip(outputs, results, strict=True):
        found[f"output/{label}"] = result.numpy()
    return {f"{name}/{key}": value for key, value in found.items()}


def main() -> None:
    """Record all cases, or those whose names start with an argument."""
    for group in (elementwise, reductions, arrays, shapes, networks, images, control):
        group()
    wanted = [name for name in CASES if not sys.argv[1:] or name.startswith(tuple(sys.argv[1:]))]
    recorded: dict[str, Any] = {}
    for name in wanted:
        recorded |= record(name)
    np.savez_compressed(OUT, **recorded)
    print(len(wanted), "cases,", OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
