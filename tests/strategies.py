"""Random operations, by a strategy for each class of the IR, and random graphs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from hypothesis.strategies import DrawFn, SearchStrategy

from kerasport.ir import ops
from kerasport.ir.dtypes import NUMBERS, DType
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.elementwise import Binary, Unary
from kerasport.ir.ops.reduction import ArgReduction, Cumulative, Reduction
from kerasport.ir.ops.window import Padding, Pool
from kerasport.ir.tensor import Input, Node, Several, TensorType, constant
from kerasport.weights import Array

Made: TypeAlias = Tensor | Several
Sizes: TypeAlias = tuple[int, ...]
Draw: TypeAlias = Callable[[SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Sample:
    """Operands, and the operation on inputs of their kinds."""

    arrays: tuple[Array, ...]
    build: Callable[..., Made]
    known: Mapping[int, Sizes]  # axes of each operand whose sizes have to be known at conversion


def sample(
    build: Callable[..., Made], *arrays: Array, known: Mapping[int, Sizes] | None = None
) -> Sample:
    return Sample(arrays, build, known or {})


def numbers(
    draw: Draw, shape: Sizes, dtype: DType = "float32", low: float = -3, high: float = 3
) -> Array:
    """Random numbers of a shape."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype == "int32":
        return np.asarray(rng.integers(int(low), int(high) + 1, shape), np.int32)
    return np.asarray(rng.uniform(low, high, shape), np.float32)


def shapes(low: int = 0, high: int = 5) -> SearchStrategy[Sizes]:
    """Shapes of a number of axes."""
    return st.lists(st.integers(1, 4), min_size=low, max_size=high).map(tuple)


def everywhere(op: type[ops.Unary | ops.Binary | ops.Reduction]) -> list[DType]:
    """The element types that an operation takes, of those in which every target computes."""
    return [dtype for dtype in ("float32", "int32", "bool") if dtype in op.takes]


def kinds(*dtypes: DType) -> SearchStrategy[DType]:
    return st.sampled_from(dtypes)


def any_tensor(draw: Draw, low: int = 0, high: int = 5) -> Array:
    return numbers(draw, draw(shapes(low, high)), draw(kinds("float32", "int32", "bool")))


def axis_of(draw: Draw, x: Array) -> int:
    axis: int = draw(st.integers(0, x.ndim - 1))
    return axis


def some_axes(draw: Draw, x: Array) -> Sizes:
    return tuple(sorted(draw(st.sets(st.integers(0, x.ndim - 1), min_size=1))))


def broadcastable(draw: Draw, count: int) -> tuple[Sizes, ...]:
    wanted = mutually_broadcastable_shapes(
        num_shapes=count, min_dims=0, max_dims=4, min_side=1, max_side=4
    )
    made: tuple[Sizes, ...] = draw(wanted).input_shapes
    return made


# ----------------------------------------------------------------------------------------- families


def unary(op: type[Unary]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        return sample(op, numbers(draw, draw(shapes()), draw(kinds(*everywhere(op)))))

    return made()


def binary(op: type[Binary]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        dtype = draw(kinds(*everywhere(op)))
        a, b = broadcastable(draw, 2)
        # above zero, for the sake of powers and divisions
        return sample(op, numbers(draw, a, dtype, 1), numbers(draw, b, dtype, 1))

    return made()


def reduction(op: type[Reduction]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        x = numbers(draw, draw(shapes(1)), draw(kinds(*everywhere(op))))
        axes, keepdims = some_axes(draw, x), draw(st.booleans())
        return sample(lambda x: op(x, axes, keepdims), x)

    return made()


def place(op: type[ArgReduction]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        x = numbers(draw, draw(shapes(1)), draw(kinds(*NUMBERS)))
        axis = axis_of(draw, x)
        return sample(lambda x: op(x, axis), x)

    return made()


def cumulative(op: type[Cumulative]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        x = numbers(draw, draw(shapes(1)), draw(kinds(*NUMBERS)))
        axis, exclusive, reverse = axis_of(draw, x), draw(st.booleans()), draw(st.booleans())
        return sample(lambda x: op(x, axis, exclusive, reverse), x)

    return made()


def last_axis(op: Callable[[Tensor], Tensor]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        return sample(op, numbers(draw, draw(shapes(1))))

    return made()


@st.composite
def geometry(
    draw: DrawFn, axes: int, *, explicit: bool = True
) -> tuple[Sizes, Sizes, Sizes, Sizes, Padding]:
    """Sizes of images, a window that fits, strides, dilations, and a padding."""

    def each(low: int, high: int) -> Sizes:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    window, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    if max(strides) > 1:
        dilations = (1,) * axes
    sizes = tuple(
        (k - 1) * d + more for k, d, more in zip(window, dilations, each(1, 4), strict=True)
    )
    choices: list[SearchStrategy[Any]] = [st.just("valid"), st.just("same")]
    if explicit:
        choices.append(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * axes))
    return sizes, window, strides, dilations, draw(st.one_of(choices))


@st.composite
def conv(draw: DrawFn) -> Sample:
    axes = draw(st.integers(2, 3))
    sizes, window, strides, dilations, padding = draw(geometry(axes))
    depth, filters, groups = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([1, 1, 2, 3])),
    )
    x, kernel = (
        numbers(draw, (2, *sizes, groups * depth)),
        numbers(draw, (*window, depth, groups * filters)),
    )
    build = lambda x, kernel: ops.Conv(x, kernel, strides, padding, dilations, groups)  # noqa: E731
    return sample(build, x, kernel, known={1: tuple(range(axes + 2))})


@st.composite
def depthwise(draw: DrawFn) -> Sample:
    sizes, window, strides, dilations, padding = draw(geometry(2))
    depth, multiplier = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    x, kernel = numbers(draw, (2, *sizes, depth)), numbers(draw, (*window, depth, multiplier))
    build = lambda x, kernel: ops.DepthwiseConv(x, kernel, strides, padding, dilations)  # type: ignore[arg-type]  # noqa: E731
    return sample(build, x, kernel, known={1: (0, 1, 2, 3)})


@st.composite
def conv_transpose(draw: DrawFn) -> Sample:
    axes = draw(st.integers(2, 3))
    sizes, window, strides, *_ = draw(geometry(axes))
    depth, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    crop = tuple(draw(st.integers(0, k - 1)) for k in window)
    extra = tuple(draw(st.integers(1 - s, 3)) for s in strides)

    def build(x: Tensor, kernel: Tensor) -> Tensor:
        out = tuple(
            None if n is None else n * s + e
            for n, s, e in zip(x.shape[1:-1], strides, extra, strict=True)
        )
        return ops.ConvTranspose(x, kernel, strides, crop, out, extra)

    x, kernel = numbers(draw, (2, *sizes, depth)), numbers(draw, (*window, filters, depth))
    return sample(build, x, kernel, known={1: tuple(range(axes + 2))})


def pool(op: type[Pool]) -> SearchStrategy[Sample]:
    @st.composite
    def made(draw: DrawFn) -> Sample:
        sizes, window, strides, _, padding = draw(geometry(draw(st.integers(2, 3)), explicit=False))
        x = numbers(draw, (2, *sizes, draw(st.integers(1, 3))))
        return sample(lambda x: op(x, window, strides, padding), x)  # type: ignore[arg-type]

    return made()


@st.composite
def resize(draw: DrawFn) -> Sample:
    size = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    method = draw(st.sampled_from(["nearest", "bilinear"]))
    x = numbers(draw, (2, draw(st.integers(1, 5)), draw(st.integers(1, 5)), 2))
    options = [(False, True)]
    if method == "bilinear":
        options += [(True, False), (False, False)]
    sampled = draw(st.sampled_from(options))
    return placed(draw, lambda x, *size: ops.Resize(x, size, method, *sampled), x, *size)  # type: ignore[arg-type]


@st.composite
def matmul(draw: DrawFn) -> Sample:
    front_a, front_b = broadcastable(draw, 2)
    rows, inner, columns = (draw(st.integers(1, 4)) for _ in range(3))
    turn_a, turn_b, dtype = draw(st.booleans()), draw(st.booleans()), draw(kinds(*NUMBERS))
    a = numbers(draw, (*front_a, *((inner, rows) if turn_a else (rows, inner))), dtype)
    b = numbers(draw, (*front_b, *((columns, inner) if turn_b else (inner, columns))), dtype)
    return sample(lambda a, b: ops.MatMul(a, b, turn_a, turn_b), a, b)


@st.composite
def cast(draw: DrawFn) -> Sample:
    to = draw(kinds("float32", "int32", "bool"))
    return sample(lambda x: ops.Cast(x, to), any_tensor(draw))


@st.composite
def leaky_relu(draw: DrawFn) -> Sample:
    alpha = draw(st.floats(-1, 3))
    return sample(lambda x: ops.LeakyRelu(x, alpha), numbers(draw, draw(shapes())))


@st.composite
def clip(draw: DrawFn) -> Sample:
    low = draw(st.floats(-2, 1))
    return sample(lambda x: ops.Clip(x, low, 1.0), numbers(draw, draw(shapes())))


@st.composite
def select(draw: DrawFn) -> Sample:
    condition, a, b = broadcastable(draw, 3)
    dtype = draw(kinds("float32", "int32", "bool"))
    return sample(
        ops.Select,
        numbers(draw, condition, "bool"),
        numbers(draw, a, dtype),
        numbers(draw, b, dtype),
    )


@st.composite
def top_k(draw: DrawFn) -> Sample:
    x = numbers(draw, draw(shapes(1)), draw(kinds(*NUMBERS)))
    k = draw(st.integers(1, x.shape[-1]))
    return placed(draw, ops.TopK, x, k)


@st.composite
def dim(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    axis = axis_of(draw, x)
    return sample(lambda x: ops.Dim(x, axis), x)


@st.composite
def reshape(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    left = prod(x.shape)
    to: list[int] = []
    while left > 1:
        to.append(draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0])))
        left //= to[-1]
    rest = draw(st.integers(0, len(to)))
    to = [-1 if at == rest else d for at, d in enumerate(to)]
    return sample(lambda x: ops.Reshape(x, tuple(to)), x)


@st.composite
def transpose(draw: DrawFn) -> Sample:
    x = any_tensor(draw)
    order = tuple(draw(st.permutations(range(x.ndim))))
    return sample(lambda x: ops.Transpose(x, order), x)


def placed(draw: Draw, build: Callable[..., Made], x: Array, *sizes: int) -> Sample:
    """A sample of `build(x, *sizes)`; each size is a number or known only at run time."""
    late = [draw(st.booleans()) for _ in sizes]
    scalars = [np.asarray(s, np.int32) for s, is_late in zip(sizes, late, strict=True) if is_late]

    def built(x: Tensor, *rest: Tensor) -> Made:
        left = iter(rest)
        pairs = zip(sizes, late, strict=True)
        return build(x, *(next(left) if is_late else size for size, is_late in pairs))

    return sample(built, x, *scalars)


@st.composite
def slice_(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    begin = tuple(draw(st.integers(0, d - 1)) for d in x.shape)
    size = tuple(
        draw(st.sampled_from([-1, *range(1, d - b + 1)]))
        for d, b in zip(x.shape, begin, strict=True)
    )
    build = lambda x, *n: ops.Slice(x, n[: len(begin)], n[len(begin) :])  # noqa: E731
    return placed(draw, build, x, *begin, *size)


@st.composite
def strided_slice(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    ends = st.none() | st.integers(-5, 5)
    steps = st.sampled_from([-3, -2, -1, 1, 2, 3])
    parts = tuple((draw(ends), draw(ends), draw(steps)) for _ in x.shape)
    # of a size known only at run time nobody knows that there are no elements
    if not x[tuple(slice(*part) for part in parts)].size or draw(st.booleans()):
        return sample(lambda x: ops.StridedSlice(x, parts), x)
    scalars = [np.asarray(end, np.int32) for part in parts for end in part[:2] if end is not None]

    def build(x: Tensor, *rest: Tensor) -> Tensor:
        left = iter(rest)

        def late(end: int | None) -> Tensor | None:
            return None if end is None else next(left)

        return ops.StridedSlice(x, tuple((late(part[0]), late(part[1]), part[2]) for part in parts))

    return sample(build, x, *scalars)


@st.composite
def concat(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    axis, more = axis_of(draw, x), draw(st.lists(st.integers(1, 4), max_size=2))
    dtype: DType = "bool" if x.dtype == np.bool_ else "int32" if x.dtype == np.int32 else "float32"
    others = [numbers(draw, (*x.shape[:axis], size, *x.shape[axis + 1 :]), dtype) for size in more]
    return sample(lambda *parts: ops.Concat(parts, axis), x, *others)


@st.composite
def pad(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    mode = draw(st.sampled_from(["constant", "reflect", "symmetric"]))
    most = [3 if mode == "constant" else d if mode == "symmetric" else d - 1 for d in x.shape]
    pads = tuple((draw(st.integers(0, n)), draw(st.integers(0, n))) for n in most)
    return sample(lambda x: ops.Pad(x, pads, mode, 1.0 if mode == "constant" else 0.0), x)  # type: ignore[arg-type]


@st.composite
def tile(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    times = tuple(draw(st.integers(1, 3)) for _ in x.shape)
    return placed(draw, lambda x, *n: ops.Tile(x, n), x, *times)


@st.composite
def broadcast_to(draw: DrawFn) -> Sample:
    wanted = draw(
        mutually_broadcastable_shapes(
            num_shapes=1, base_shape=draw(shapes(1)), min_side=1, max_dims=5
        )
    )
    (shape,), result = wanted.input_shapes, wanted.result_shape
    spread = tuple(result[len(result) - len(shape) :])
    narrow = tuple(d if d == r else 1 for d, r in zip(shape, spread, strict=True))
    return sample(lambda x: ops.BroadcastTo(x, result), numbers(draw, narrow))


@st.composite
def gather(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1, 4)
    axis = axis_of(draw, x)
    batch = draw(st.integers(0, axis))
    shape = (*x.shape[:batch], *draw(shapes(0, 2)))
    indices = numbers(draw, shape, "int32", 0, x.shape[axis] - 1)
    return sample(lambda x, i: ops.Gather(x, i, axis, batch), x, indices)


@st.composite
def reverse(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1)
    axes = some_axes(draw, x)
    return sample(lambda x: ops.Reverse(x, axes), x)


@st.composite
def one_hot(draw: DrawFn) -> Sample:
    depth, dtype = draw(st.integers(1, 4)), draw(kinds("float32", "int32", "bool"))
    return sample(
        lambda x: ops.OneHot(x, depth, dtype), numbers(draw, draw(shapes()), "int32", -1, 5)
    )


@st.composite
def range_(draw: DrawFn) -> Sample:
    if draw(st.booleans()):
        return sample(lambda x: ops.Range(ops.as_tensor(ops.dim(x, 0))), any_tensor(draw, 1))
    start, step = draw(st.integers(-5, 5)), draw(st.sampled_from([-3, -1, 1, 2]))
    stop = start + step * draw(st.integers(1, 5)) - (draw(st.booleans()) and abs(step) > 1)
    return sample(ops.Range, *(np.asarray(n, np.int32) for n in (stop, start, step)))


@st.composite
def fill(draw: DrawFn) -> Sample:
    dtype = draw(kinds("float32", "int32", "bool"))
    return sample(lambda x: ops.Fill((*ops.dims(x), 2), 1.0, dtype), any_tensor(draw))


@st.composite
def scan(draw: DrawFn) -> Sample:
    time, reverse = draw(st.integers(1, 3)), draw(st.booleans())

    def step(states: Any, steps: Any, captured: Any) -> Any:
        new = states[0] * 0.5 + steps[0] + captured[0]
        return (new,), (new, ops.greater(steps[0], 0.0))

    def build(x: Tensor, h: Tensor, c: Tensor) -> Several:
        (last,), _ = ops.scan(step, (h,), (x,), (c,), reverse=reverse)
        assert isinstance(last, ops.Item)
        return last.source

    x, h, c = numbers(draw, (2, time, 3)), numbers(draw, (2, 3)), numbers(draw, (3,))
    return sample(build, x, h, c, known={0: (0, 2), 1: (0, 1), 2: (0,)})


@st.composite
def gather_nd(draw: DrawFn) -> Sample:
    x = any_tensor(draw, 1, 4)
    count, places = draw(st.integers(1, x.ndim)), draw(shapes(0, 2))
    highs = np.array(x.shape[:count], np.int32)
    indices = (numbers(draw, (*places, count), "int32", 0, 99) % highs).astype(np.int32)
    return sample(ops.GatherNd, x, indices, known={1: (len(places),)})


@st.composite
def branch(draw: DrawFn) -> Sample:
    """A choice between graphs, one of which returns a captured tensor."""
    x, flag = any_tensor(draw, 1, 4), np.asarray(draw(st.booleans()))

    def build(x: Tensor, flag: Tensor) -> Several:
        turned = lambda x: (ops.Reverse(x, (0,)), ops.cast(ops.Dim(x, 0), "float32"))  # noqa: E731
        results = ops.branch(flag, turned, lambda x: (x, ops.constant(7.0)), (x,))
        assert isinstance(results[0], ops.Item)
        return results[0].source

    return sample(build, x, flag)


@st.composite
def loop(draw: DrawFn) -> Sample:
    """A loop of a number of steps known only at run time, which may be 0."""
    x, c = numbers(draw, draw(shapes(0, 4))), numbers(draw, ())
    limit = np.asarray(draw(st.integers(0, 5)), np.int32)

    def build(x: Tensor, c: Tensor, limit: Tensor) -> Several:
        results = ops.while_loop(
            lambda count, _, __, limit: ops.less(count, limit),
            lambda count, y, c, _: (count + 1, y * 0.5 + c),
            (ops.constant(0), x),
            (c, limit),
        )
        assert isinstance(results[0], ops.Item)
        return results[0].source

    return sample(build, x, c, limit)


def operations(*packages: str) -> set[type[Node]]:
    """The operations of these packages of kerasport that have no others of theirs below them.

    Other targets that some test has imported may have operations too, even below these.
    """
    of_packages = tuple(f"kerasport.{package}." for package in packages)

    def leaves(root: Any) -> set[type[Node]]:
        own = {cls for cls in root.__subclasses__() if cls.__module__.startswith(of_packages)}
        return set().union(*(leaves(cls) or {cls} for cls in own))

    return leaves(Tensor) | leaves(Several)


@st.composite
def determinant(draw: DrawFn) -> Sample:
    front, size = draw(shapes(0, 2)), draw(st.integers(1, 4))
    return sample(ops.Det, numbers(draw, (*front, size, size)))


@st.composite
def transform(draw: DrawFn) -> Sample:
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    inverse, onesided = draw(st.booleans()), draw(st.booleans())
    x = numbers(draw, (*shape, draw(st.integers(1, 2))))
    return sample(lambda x: ops.Dft(x, axis, inverse, onesided), x, known={0: (x.ndim - 1,)})


@st.composite
def scatter(draw: DrawFn) -> Sample:
    x = numbers(draw, draw(shapes(1, 3)))
    count, places = draw(st.integers(1, x.ndim)), draw(shapes(0, 2))
    highs = np.array(x.shape[:count], np.int32)
    indices = (numbers(draw, (*places, count), "int32", 0, 99) % highs).astype(np.int32)
    updates = numbers(draw, (*places, *x.shape[count:]))
    return sample(
        lambda x, i, u: ops.ScatterNd(x, i, u, "add"),
        x,
        indices,
        updates,
        known={1: (len(places),)},
    )


@st.composite
def arg_where(draw: DrawFn) -> Sample:
    x = numbers(draw, draw(shapes(1, 4)), "bool")
    # of no positions the wasm backend makes no shape
    x.flat[0] = True
    return sample(ops.ArgWhere, x)


def boxes(draw: Draw, count: int) -> tuple[Array, Array]:
    """Boxes whose corners lie on a coarse grid, so that many overlap, and scores with ties."""
    corners = numbers(draw, (count, 4), "int32", 0, 4).astype(np.float32) / np.float32(4)
    return corners, numbers(draw, (count,), "int32", 0, 9).astype(np.float32) / np.float32(10)


@st.composite
def non_max_suppression(draw: DrawFn) -> Sample:
    corners, scores = boxes(draw, draw(st.integers(1, 8)))
    # an overlap in float64 may be above a threshold that it equals in float32
    iou = constant(draw(st.sampled_from([0.0, 0.26, 0.51, 0.9])), "float32")
    least = constant(float(scores.max()) - 0.35, "float32")

    def build(scores: Tensor, corners: Tensor, most: Any) -> Tensor:
        return ops.NonMaxSuppression(corners, scores, most, iou, least)

    most = np.asarray(draw(st.integers(1, 9)), np.int32)
    return sample(build, scores, corners, most, known={1: (1,)})


@st.composite
def soft_non_max_suppression(draw: DrawFn) -> Sample:
    corners, scores = boxes(draw, draw(st.integers(1, 8)))
    least = constant(0.2, "float32")
    build = lambda boxes, scores: ops.SoftNonMaxSuppression(boxes, scores, 5, least, 0.5)  # noqa: E731
    return sample(build, corners, scores, known={0: (1,)})


@st.composite
def crop_and_resize(draw: DrawFn) -> Sample:
    height, width, count = (draw(st.integers(1, 5)) for _ in range(3))
    size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    method = draw(st.sampled_from(["nearest", "bilinear"]))
    corners = numbers(draw, (count, 4), low=-0.3, high=1.3)
    places = numbers(draw, (count,), "int32", 0, 1)
    build = lambda x, boxes, i: ops.CropAndResize(x, boxes, i, size, method, 0.5)  # type: ignore[arg-type]  # noqa: E731
    return sample(build, numbers(draw, (2, height, width, 2)), corners, places, known={1: (1,)})


OPERATIONS: Mapping[type[Node], SearchStrategy[Sample]] = {
    **{op: unary(op) for op in Unary.__subclasses__()},
    **{op: binary(op) for op in Binary.__subclasses__()},
    **{op: reduction(op) for op in Reduction.__subclasses__()},
    **{op: place(op) for op in ArgReduction.__subclasses__()},
    **{op: cumulative(op) for op in Cumulative.__subclasses__()},
    **{op: pool(op) for op in Pool.__subclasses__()},
    ops.Softmax: last_axis(ops.Softmax),
    ops.LogSoftmax: last_axis(ops.LogSoftmax),
    ops.TopK: top_k(),
    ops.Cast: cast(),
    ops.LeakyRelu: leaky_relu(),
    ops.Clip: clip(),
    ops.Select: select(),
    ops.MatMul: matmul(),
    ops.Conv: conv(),
    ops.DepthwiseConv: depthwise(),
    ops.ConvTranspose: conv_transpose(),
    ops.Resize: resize(),
    ops.Dim: dim(),
    ops.Reshape: reshape(),
    ops.Transpose: transpose(),
    ops.Slice: slice_(),
    ops.StridedSlice: strided_slice(),
    ops.Concat: concat(),
    ops.Pad: pad(),
    ops.Tile: tile(),
    ops.BroadcastTo: broadcast_to(),
    ops.Gather: gather(),
    ops.Reverse: reverse(),
    ops.OneHot: one_hot(),
    ops.Range: range_(),
    ops.Fill: fill(),
    ops.Scan: scan(),
    ops.GatherNd: gather_nd(),
    ops.Branch: branch(),
    ops.Loop: loop(),
    ops.Det: determinant(),
    ops.Dft: transform(),
    ops.ScatterNd: scatter(),
    ops.ArgWhere: arg_where(),
    ops.NonMaxSuppression: non_max_suppression(),
    ops.SoftNonMaxSuppression: soft_non_max_suppression(),
    ops.CropAndResize: crop_and_resize(),
}
"""Operation → random uses of it."""


# ------------------------------------------------------------------------------------ random graphs


@st.composite
def computations(draw: DrawFn) -> Graph:
    """Graphs of layers, constants and movements of an image or matrix, with merging branches."""
    shape = draw(
        st.sampled_from([(None, 5, 4, 3), (2, 4, 3, 2), (None, 3), (2, 4, 3), (None, None, 4, 2)])
    )
    x = Input("x", TensorType("float32", shape))
    made: list[Tensor] = [x]
    for _ in range(draw(st.integers(2, 9))):
        source = made[-1] if draw(st.booleans()) else draw(st.sampled_from(made))
        made.append(draw(st.sampled_from(STEPS))(draw, source, made))
    count = draw(st.integers(1, min(3, len(made))))
    names: dict[Node, str] = {node: f"layer_{at}" for at, node in enumerate(made)}
    return Graph((x,), tuple(made[-count:]), names).with_own_names()


def drawn(draw: Draw, *shape: int) -> Tensor:
    return ops.constant(numbers(draw, shape))


def beside(draw: Draw, x: Tensor) -> Any:
    """A constant that broadcasts to x: a number, one for each channel, or one for each place."""
    channels = x.shape[-1] or 1
    choices: list[Any] = [(), (1,), (channels,), (1,) * (x.rank - 1) + (channels,)]
    inner = x.shape[1:]
    if None not in inner:
        choices.append(inner)
    return drawn(draw, *draw(st.sampled_from(choices)))


def convolve(draw: Draw, x: Tensor, _: list[Tensor]) -> Tensor:
    if x.rank != 4 or x.shape[-1] is None or min(d or 9 for d in x.shape[1:3]) < 2:
        return x
    padding = draw(st.sampled_from(["valid", "same"])) if None not in x.shape[1:] else "same"
    strides = draw(st.sampled_from([(1, 1), (2, 1), (2, 2)]))
    if draw(st.booleans()):
        return ops.DepthwiseConv(x, drawn(draw, 2, 2, x.shape[-1], 2), strides, padding, (1, 1))  # type: ignore[arg-type]
    groups = draw(st.sampled_from([groups for groups in (1, 2, 3) if x.shape[-1] % groups == 0]))
    kernel = drawn(draw, 2, 2, x.shape[-1] // groups, 2 * groups if groups > 1 else 3)
    return ops.Conv(x, kernel, strides, padding, (1, 1), groups)  # type: ignore[arg-type]


def multiply(draw: Draw, x: Tensor, _: list[Tensor]) -> Tensor:
    if x.rank < 2 or x.shape[-1] is None:
        return x
    if draw(st.booleans()):
        return ops.MatMul(x, drawn(draw, 3, x.shape[-1]), transpose_b=True)
    return ops.matmul(x, drawn(draw, x.shape[-1], 3))


def combine(draw: Draw, x: Tensor, _: list[Tensor]) -> Tensor:
    other = beside(draw, x)
    function: Callable[[Any, Any], Tensor] = draw(st.sampled_from([ops.add, ops.mul, ops.sub]))
    return function(other, x) if draw(st.booleans()) else function(x, other)


def activate(draw: Draw, x: Tensor, _: list[Tensor]) -> Tensor:
    functions: list[Callable[[Tensor], Tensor]] = [
        ops.Relu,
        ops.Sigmoid,
        ops.Elu,
        ops.Tanh,
        lambda y: ops.LeakyRelu(y, 0.3),
        lambda y: ops.clip(y, 0, 6),
        lambda y: ops.Relu(y) - ops.mul(0.25, ops.Relu(-y)),
        lambda y: ops.where(ops.greater(y, 0.5), y, 0.0),
    ]
    function = draw(st.sampled_from(functions))
    made: Tensor = function(x)
    return made


def move(draw: Draw, x: Tensor, _: list[Tensor]) -> Tensor:
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return ops.transpose(x, draw(st.permutations(range(x.rank))))
    if kind == 1 and x.rank > 1:
        return ops.reshape(x, (*ops.dims(x)[:-2], -1) if None not in x.shape[-2:] else ops.dims(x))
    if kind == 2:
        return ops.expand_dims(x, draw(st.integers(0, x.rank))) if x.rank < 4 else ops.squeeze(x)
    if kind == 3:
        axis = draw(st.integers(0, x.rank - 1)) if x.rank else 0
        return ops.slice_axis(x, axis, 1) if x.rank and (x.shape[axis] or 0) > 1 else x
    if kind == 4:
        return ops.Reverse(x, (x.rank - 1,)) if x.rank else x
    if kind == 5 and x.rank and x.shape[-1] is not None:
        return ops.concat([x, x], -1)
    if x.rank == 4:
        value = draw(st.sampled_from([0.0, 0.0, 1.0]))
        return ops.pad(
            x,
            [(0, 0), (draw(st.integers(0, 1)), 1), (1, 0), (0, draw(st.integers(0, 1)))],
            "constant",
            value,
        )
    return x


def meet(draw: Draw, x: Tensor, made: list[Tensor]) -> Tensor:
    # of two sizes that are not known one may be another here than there
    alike = [other for other in made if other.shape == x.shape and x.shape.count(None) < 2]
    return ops.add(x, draw(st.sampled_from(alike or [x])))


def reduce(draw: Draw, x: Tensor, _: list[Tensor]) -> Tensor:
    return ops.Mean(x, (x.rank - 1,), True) if x.rank else x


STEPS = (
    convolve,
    convolve,
    multiply,
    multiply,
    combine,
    combine,
    combine,
    activate,
    activate,
    move,
    move,
    meet,
    reduce,
)
