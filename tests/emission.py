"""Checks of every operation that a graph-model can have, by family."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from tests.control_flow import branches, loops, scans
from tests.graphs import Check, random

from kerasport.ir import ops
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.elementwise import Binary, Unary
from kerasport.ir.ops.movement import Size
from kerasport.ir.ops.reduction import Reduction
from kerasport.ir.tensor import constant
from kerasport.targets.tfjs.graph.emit import UNSUPPORTED
from kerasport.weights import Array

SHAPE = (2, 3, 1, 4, 2, 3)
"""Sizes of as many axes as TF.js computes with."""

product = itertools.product


def floats(*shape: int) -> Array:
    return random(sum(shape), *shape)


def integers(*shape: int, low: int = -5, high: int = 5) -> Array:
    return np.asarray(np.random.default_rng(sum(shape)).integers(low, high + 1, shape), np.int32)


def truths(*shape: int) -> Array:
    return np.asarray(np.random.default_rng(sum(shape)).random(shape) < 0.6)


KINDS: tuple[Callable[..., Array], ...] = (floats, integers, truths)

DOMAINS: Mapping[type[Unary], tuple[float, float]] = {
    ops.Log: (0.1, 5),
    ops.Log1p: (-0.9, 5),
    ops.Sqrt: (0, 5),
    ops.Rsqrt: (0.1, 5),
    ops.Asin: (-1, 1),
    ops.Acos: (-1, 1),
    ops.Acosh: (1, 5),
    ops.Atanh: (-0.99, 0.99),
}

EDGES = np.array(
    [0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1, -1, 20, -20, 100, -100, np.inf, -np.inf, np.nan],
    np.float32,
)
NAN_LOST = (ops.Sign, ops.Relu6)
"""Operations by which TF.js makes 0 of what is no number."""


def unary() -> Iterator[Check]:
    for op in Unary.__subclasses__():
        name, (low, high) = op.__name__, DOMAINS.get(op, (-3, 3))
        for rank in (0, 1, 3, 5, 6):
            if op is ops.LogicalNot:
                yield Check(f"{name} of {rank} axes", op, (truths(*SHAPE[:rank]),))
                continue
            yield Check(
                f"{name} of {rank} axes", op, (random(rank, *SHAPE[:rank], low=low, high=high),)
            )
            if "int32" in op.takes:
                yield Check(f"{name} of integers, {rank} axes", op, (integers(*SHAPE[:rank]),))
        if op is not ops.LogicalNot:
            yield Check(f"{name} of edges", op, (EDGES[:-1] if op in NAN_LOST else EDGES,))
    x = np.concatenate([floats(20) * 5, EDGES[:-1]])
    yield Check("LeakyRelu", lambda x: ops.LeakyRelu(x, 0.2), (x,))
    yield Check("LeakyRelu, steep", lambda x: ops.LeakyRelu(x, -1.5), (x[:-2],))
    yield Check("Clip", lambda x: ops.Clip(x, -1.0, 1.5), (x,))
    yield Check("Clip, open", lambda x: ops.Clip(x, -np.inf, 1.5), (x,))
    yield Check("Clip to 6", lambda x: ops.clip(x, 0, 6), (x,))
    for array, to in product((floats(9), integers(9), truths(9)), ("float32", "int32", "bool")):
        yield Check(f"Cast from {array.dtype} to {to}", lambda x, to=to: ops.Cast(x, to), (array,))
    yield Check("Cast of halves", lambda x: ops.Cast(x, "bool"), (EDGES,))


WHOLE = (
    np.array([7, -7, 7, -7, 0, 5, 3, -1, 1000, 12345678, 6, -6], np.int32),
    np.array([3, 3, -3, -3, 4, 5, 9, -1, 1000, 7, 2, 2], np.int32),
)


def binary() -> Iterator[Check]:
    shapes = [
        ((), (4,)),
        ((4, 1), (3,)),
        ((2, 1, 3, 2), (2, 1, 3, 1)),
        ((1, 2, 1, 3, 2, 1), (2, 1, 1, 3, 1, 1)),
        ((3,), (3,)),
    ]
    for op in Binary.__subclasses__():
        if op in UNSUPPORTED:
            continue
        name = op.__name__
        for at, (a, b) in enumerate(shapes):
            for unknown in ((), range(6)):
                where = f"{name} {at} {'open' if unknown else ''}"
                if "float32" in op.takes:
                    left = np.abs(random(at, *a)) + 0.1 if op is ops.Pow else random(at, *a)
                    yield Check(where, op, (left.astype(np.float32), random(at + 9, *b)), unknown)
                if "int32" in op.takes:
                    low = 1 if op is ops.Pow else -7
                    right = integers(*b, low=1, high=3)
                    yield Check(
                        f"{where} of integers", op, (integers(*a, low=low, high=7), right), unknown
                    )
                if "bool" in op.takes:
                    yield Check(f"{where} of truths", op, (truths(*a), truths(*b)), unknown)
        if "int32" in op.takes and op not in (ops.Pow, ops.SquaredDifference):
            yield Check(f"{name} of large integers", op, WHOLE)
    zeros = np.array([1, -1, 0, 0, 3], np.float32), np.array([0, 0, 0, 2, 2], np.float32)
    for op in (ops.Div, ops.DivNoNan, ops.Equal, ops.Less, ops.Atan2):
        yield Check(f"{op.__name__} of zeros", op, zeros)


def selections() -> Iterator[Check]:
    shapes = [
        ((4,), (4,), (4,)),
        ((3, 4), (4,), ()),
        ((3, 1), (3, 4), (3, 4)),
        ((1,), (2, 3, 4, 5), ()),
        ((), (2, 3), (3,)),
        ((2, 3, 1, 2, 2), (2, 3, 2, 2, 2), (2,)),
        ((2, 1, 1, 2, 1, 2), (1,), (1, 3, 2, 2, 1, 2)),
    ]
    for (at, (condition, a, b)), kind, unknown in product(enumerate(shapes), KINDS, ((), range(6))):
        arrays = (truths(*condition), kind(*a), kind(*b))
        yield Check(
            f"Select {at} of {kind.__name__} {'open' if unknown else ''}",
            ops.Select,
            arrays,
            unknown,
        )
    nothing = np.full((2, 3, 2, 2, 2), np.nan, np.float32)
    yield Check(
        "Select beside nothing",
        ops.Select,
        (truths(2, 3, 1, 2, 2), nothing, np.ones(2, np.float32)),
    )


def reductions() -> Iterator[Check]:
    for op, rank in product(Reduction.__subclasses__(), range(1, 7)):
        shape = SHAPE[:rank]
        for axes in dict.fromkeys(
            [(0,), (rank - 1,), tuple(range(rank)), (rank // 2,), tuple({0, rank - 1})]
        ):
            for kind, keepdims in product(KINDS, (False, True)):
                x = kind(*shape)
                if str(x.dtype) in op.takes:
                    build = partial(op, axes=tuple(sorted(axes)), keepdims=keepdims)
                    x = np.clip(x, -2, 2) if op is ops.Prod else x
                    where = f"{op.__name__} of {kind.__name__} {rank} {axes} {keepdims}"
                    yield Check(where, build, (x,), range(rank) if keepdims else ())
    yield Check("Max of -inf", lambda x: ops.Max(x, (0,)), (np.full((3, 2), -np.inf, np.float32),))
    yield Check(
        "Max of nothing", lambda x: ops.Max(x, (0,)), (np.array([1, np.nan, 2], np.float32),)
    )
    yield Check(
        "Sum of large integers",
        lambda x: ops.Sum(x, (0,)),
        (np.array([123456789, 987654], np.int32),),
    )


def running() -> Iterator[Check]:
    for rank in range(1, 7):
        shape = SHAPE[:rank]
        for axis, kind in product(range(rank), (floats, integers)):
            for op in (ops.ArgMax, ops.ArgMin):
                yield Check(
                    f"{op.__name__} {rank} {axis} {kind.__name__}",
                    lambda x, op=op, axis=axis: op(x, axis),
                    (kind(*shape),),
                    range(rank),
                )
            for sums, exclusive, reverse in product(
                (ops.Cumsum, ops.Cumprod), (False, True), (False, True)
            ):
                build = lambda x, op=sums, axis=axis, e=exclusive, r=reverse: op(x, axis, e, r)  # noqa: E731
                yield Check(
                    f"{sums.__name__} {rank} {axis} {exclusive} {reverse} {kind.__name__}",
                    build,
                    (kind(*shape),),
                    range(rank) if reverse else (),
                )
        yield Check(f"Softmax {rank}", ops.Softmax, (floats(*shape) * 5,), range(rank))
        yield Check(f"LogSoftmax {rank}", ops.LogSoftmax, (floats(*shape) * 5,), range(rank))
        for kind in (floats, integers):
            k = min(2, shape[-1])
            yield Check(
                f"TopK {rank} {kind.__name__}",
                lambda x, k=k: ops.items(ops.TopK(x, k)),
                (kind(*shape),),
            )
    ties = np.array([[1, 2, 2, 1, 2]], np.float32)
    yield Check("ArgMax of equals", lambda x: ops.ArgMax(x, 1), (ties,))
    yield Check("ArgMin of equals", lambda x: ops.ArgMin(x, 1), (ties,))
    yield Check("TopK of equals", lambda x: ops.items(ops.TopK(x, 3)), (ties,))
    yield Check(
        "Softmax, masked", ops.Softmax, (np.array([[1, 2, -1e9], [-1e9, -1e9, -1e9]], np.float32),)
    )


PARTS: Mapping[str, Any] = {
    "backwards": (None, None, -1),
    "every other": (None, None, 2),
    "last two": (-2, None, 1),
    "but the last": (None, -1, 1),
    "some backwards": (-1, -3, -1),
    "every other backwards": (None, None, -2),
    "too long": (0, 99, 1),
    "too early": (-99, 2, 1),
    "from beyond": (99, None, -1),
}


def movements() -> Iterator[Check]:
    for rank, kind, far in product(range(1, 7), KINDS, (False, True)):
        shape, unknown = SHAPE[:rank], range(rank) if far else ()
        x = kind(*shape)
        where = f"{rank} {kind.__name__} {'open' if far else ''}"
        last = rank - 1

        def checks(
            name: str,
            build: Callable[..., Tensor],
            *more: Array,
            x: Array = x,
            where: str = where,
            unknown: Sequence[int] = unknown,
        ) -> Check:
            return Check(f"{name} {where}", build, (x, *more), unknown)

        yield checks("Transpose", ops.transpose)
        yield checks("Transpose round", lambda x, r=rank: ops.transpose(x, [*range(1, r), 0]))
        if not far:
            begin = tuple(n // 2 for n in shape)
            yield checks("Slice", lambda x, b=begin: ops.Slice(x, b, (-1,) * len(b)))
            yield checks("Slice of one", lambda x, b=begin: ops.Slice(x, b, (1,) * len(b)))
        for name, part in PARTS.items():
            parts = [(None, None, 1)] * last + [part]
            if range(*slice(*part).indices(shape[-1])):
                yield checks(f"strided, {name}", lambda x, p=parts: ops.strided(x, p))
        yield checks(
            "strided, all",
            lambda x, r=rank: ops.strided(
                x, [(None, None, -1), (0, None, 2)] * (r // 2) + [(None, None, -1)] * (r % 2)
            ),
        )
        for mode, pair in product(("constant", "reflect", "symmetric"), ((1, 0), (1, 1))):
            pads = [pair if n > 1 or mode == "constant" else (0, 0) for n in shape]
            number = 1.0 if mode == "constant" else 0.0
            yield checks(
                f"Pad {mode} {pair}", lambda x, p=pads, m=mode, v=number: ops.pad(x, p, m, v)
            )
        yield checks("Tile", lambda x, r=rank: ops.Tile(x, (2, 3, 1, 2, 1, 2)[:r]))
        if rank < 6:
            yield checks("repeat", lambda x, a=last: ops.repeat(x, 2, a))
            yield checks("expand_dims", lambda x: ops.expand_dims(x, 0))
            yield checks("stack", lambda x, y: ops.stack([x, y], 1), kind(*shape))
            yield checks("broadcast_to more", lambda x: ops.broadcast_to(x, (2, *ops.dims(x))))
        for axis in {0, last}:
            yield checks(
                f"Concat {axis}", lambda x, y, a=axis: ops.concat([x, y, x], a), kind(*shape)
            )
            for some in ((), (3,), (2, 2)):
                if rank + len(some) < 7:
                    indices = np.asarray(integers(*some, low=0, high=shape[axis] - 1))
                    yield checks(
                        f"Gather {axis} {some}", lambda x, i, a=axis: ops.gather(x, i, a), indices
                    )
            yield checks(f"Reverse {axis}", lambda x, a=axis: ops.Reverse(x, (a,)))
        yield checks("Reverse", lambda x, r=rank: ops.Reverse(x, tuple(range(r))))
        yield checks("Dim", lambda x, a=last: ops.Dim(x, a))
        yield checks("flatten_from", lambda x, r=rank: ops.flatten_from(x, min(1, r - 1)))
        yield checks(
            "Reshape",
            lambda x: ops.reshape(x, (1, *reversed(ops.dims(x)))[-6:] if x.rank < 6 else (-1,)),
        )


def creations() -> Iterator[Check]:
    for rank, depth, dtype in product(range(5), (1, 2, 5), ("float32", "int32", "bool")):
        build = lambda x, d=depth, t=dtype: ops.OneHot(x, d, t)  # noqa: E731
        yield Check(
            f"OneHot {rank} {depth} {dtype}", build, (integers(*SHAPE[:rank]),), range(rank)
        )
    x = floats(4, 3)
    yield Check("Range", lambda x: ops.Range(ops.Dim(x, 0)), (x,), (0, 1))
    yield Check(
        "Range of a number", lambda x: ops.Range(constant(4)) + ops.cast(x, "int32"), (x[0, 0],)
    )
    for dtype in ("float32", "int32", "bool"):
        yield Check(
            f"Fill {dtype}", lambda x, t=dtype: ops.Fill((ops.Dim(x, 0), 2), 1.0, t), (x,), (0, 1)
        )
    yield Check("Fill inf", lambda x: ops.Fill((ops.Dim(x, 0), 2), -np.inf), (x,), (0, 1))
    yield Check(
        "Reshape, turned", lambda x: ops.reshape(x, (ops.Dim(x, 1), ops.Dim(x, 0), 1)), (x,), (0, 1)
    )
    for rank in (2, 5):
        wide = floats(*(4, 3, 2, 3, 2)[:rank])
        narrow = floats(*(1, 3, 1, 1, 2)[:rank])
        yield Check(
            f"broadcast_to like {rank}",
            lambda x, y: ops.broadcast_to(x, ops.dims(y)),
            (narrow, wide),
            range(5),
        )


def scalar(value: float, dtype: Any = np.int32) -> Array:
    """A size, or another number, that is known only at run time."""
    return np.asarray(value, dtype)


def sizes() -> Iterator[Check]:
    """Operations whose positions, sizes and shapes are known only at run time."""
    for kind, unknown in product(KINDS, ((), range(3))):
        x, where = kind(4, 5, 3), f"{kind.__name__}, {bool(unknown)}"
        for begin, size in ((0, 2), (1, 3), (2, -1), (0, -1)):
            yield Check(
                f"Slice from {begin} of {size} at run time, {where}",
                lambda x, b, s: ops.Slice(x, (b, 1, 0), (s, -1, 2)),
                (x, scalar(begin), scalar(size)),
                unknown,
            )
        yield Check(
            f"Slice of a size of another tensor, {where}",
            lambda x, y: ops.Slice(x, (0, 1, 0), (ops.dim(y, 0), ops.dim(y, 1), -1)),
            (x, kind(2, 3)),
            unknown,
        )
        for begin, end, step in (
            (1, 3, 1), (-3, -1, 1), (-99, 99, 1), (1, 99, 2), (-1, -4, -1), (3, -99, -2),
            (99, 1, -1)
        ):  # fmt: skip
            yield Check(
                f"StridedSlice {begin}:{end}:{step} at run time, {where}",
                lambda x, b, e, s=step: ops.strided(x, [(b, e, s), (1, None, 2), ops.WHOLE]),
                (x, scalar(begin), scalar(end)),
                unknown,
            )
        for step in (1, 2, -1):
            yield Check(
                f"StridedSlice from 2 in steps of {step} at run time, {where}",
                lambda x, b, s=step: ops.strided(x, [ops.WHOLE, (b, None, s), (None, b, 1)]),
                (x, scalar(2)),
                unknown,
            )
        yield Check(
            f"Tile at run time, {where}",
            lambda x, n: ops.Tile(x, (n, 1, 2)),
            (x, scalar(3)),
            unknown,
        )
        for to in ((3, 20), (-1, 20), (6, -1)):
            yield Check(
                f"Reshape to {to} at run time, {where}",
                lambda x, to: ops.reshape(x, (*ops.sizes_of(to), 1)),
                (x, np.asarray(to, np.int32)),
                (),
            )
        yield Check(
            f"BroadcastTo at run time, {where}",
            lambda x, to: ops.broadcast_to(x, (2, *ops.sizes_of(to))),
            (x, np.asarray(x.shape, np.int32)),
            (),
        )
    yield from before_the_start()
    yield from ranges()


def before_the_start() -> Iterator[Check]:
    """Slices that run backwards: from before the first element they are empty."""
    for begin, end in product((-3, -4, -5, -9, 2), (None, -9)):
        yield Check(
            f"StridedSlice {begin}:{end}:-1, joined",
            lambda x, b, e=end: ops.concat([ops.strided(x, [(b, e, -1)]), x], 0),
            (floats(4), scalar(begin)),
        )
        yield Check(
            f"StridedSlice {begin}:{end}:-1 of an open axis, joined",
            lambda x, b=begin, e=end: ops.concat([ops.strided(x, [(b, e, -1)]), x], 0),
            (floats(4),),
            (0,),
        )


def ranges() -> Iterator[Check]:
    for start, stop, step in ((0, 5, 1), (2, 9, 3), (-3, 4, 2), (5, -4, -3), (4, 0, -1), (1, 2, 7)):
        arrays = tuple(scalar(x) for x in (start, stop, step))
        yield Check(f"arange {start}:{stop}:{step} at run time", ops.arange, arrays)
        yield Check(
            f"arange {start}:{stop}:{step} of constants",
            lambda x, a=(start, stop, step): ops.arange(*a) + x,
            (scalar(3),),
        )
    for limits in ((0, 5, 1), (0.5, 2.25, 0.25), (1, -1, -0.3), (0, 1, 0.1), (-2, 7, 3)):
        arrays = tuple(scalar(x, np.float32) for x in limits)
        yield Check(f"arange of floats {limits} at run time", ops.arange, arrays)


def products() -> Iterator[Check]:
    pairs = [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((1, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 1, 3, 4), (1, 3, 2, 4, 2)),
        ((2, 1, 3, 4), (1, 2, 4, 3)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
    ]
    for a, b in pairs:
        for kind in (floats, integers):
            yield Check(f"matmul {kind.__name__} {a} {b}", ops.matmul, (kind(*a), kind(*b)))
        matrix = floats(*b)
        yield Check(
            f"matmul with a constant {a} {b}",
            lambda x, y=matrix: ops.matmul(x, y),
            (floats(*a),),
            (0,),
        )
        if min(len(a), len(b)) > 1:
            other = floats(*b[:-2], b[-1], b[-2])
            bias, turned = constant(floats(b[-1])), constant(other)
            yield Check(
                f"MatMul, b turned {a} {b}",
                lambda x, y: ops.MatMul(x, y, transpose_b=True),
                (floats(*a), other),
                (len(a) - 2,),
            )
            yield Check(
                f"MatMul, a turned {a} {b}",
                lambda x, y: ops.MatMul(x, y, transpose_a=True),
                (floats(*a[:-2], a[-1], a[-2]), floats(*b)),
            )
            yield Check(
                f"MatMul, turned constant, bias {a} {b}",
                lambda x, w=turned, c=bias: ops.Relu(ops.MatMul(x, w, transpose_b=True) + c),
                (floats(*a),),
                (0,),
            )
            yield Check(
                f"MatMul, turned constant twice {a} {b}",
                lambda x, w=turned, c=bias: (ops.MatMul(x, w, transpose_b=True) + c, w + 0.5),
                (floats(*a),),
                (0,),
            )
    equations = [
        "ab,bc->ac",
        "abc,cd->abd",
        "abcd,aecd->acbe",
        "acbe,aecd->abcd",
        "ab,cd->abcd",
        "a,a->",
        "ab,ab->ab",
        "abc,ab->abc",
        "abc,d->ad",
        "abc,acd->bd",
        "ab,b->a",
        "abcd,cde->abe",
    ]
    for equation, unknown in product(equations, ((), range(4))):
        terms = [
            [ord(label) - 95 for label in term] for term in equation.partition("->")[0].split(",")
        ]
        yield Check(
            f"einsum {equation} {bool(unknown)}",
            lambda x, y, e=equation: ops.einsum(e, x, y),
            (floats(*terms[0]), floats(*terms[1])),
            unknown,
        )


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "": lambda y: y,
    "relu": ops.Relu,
    "relu6": lambda y: ops.clip(y, 0, 6),
    "elu": ops.Elu,
    "sigmoid": ops.Sigmoid,
    "leaky": lambda y: ops.LeakyRelu(y, 0.3),
    "tanh": ops.Tanh,
    "selu": ops.Selu,
}


def following(x: Tensor, act: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    """Fused layers after four fused channels: windows with gaps, and groups."""
    kernel, own, grouped = (constant(floats(3, 3, *ends)) for ends in ((4, 3), (4, 1), (2, 6)))
    b3, b4, b6 = (constant(floats(size)) for size in (3, 4, 6))
    return (
        act(ops.Conv(x, kernel, (5, 4), "same", (1, 1)) + b3),
        act(ops.DepthwiseConv(x, own, (5, 5), "same", (1, 1)) + b4),
        act(ops.Conv(x, grouped, (1, 1), "same", (1, 1), 2) * b6 + b6),
    )


def fusions() -> Iterator[Check]:
    kernel, own, b4, b6 = (
        constant(floats(3, 3, 3, 4)),
        constant(floats(3, 3, 3, 2)),
        constant(floats(4)),
        constant(floats(6)),
    )
    matrix, image = constant(floats(3, 4)), floats(2, 5, 6, 3)
    for name, act in ACTIVATIONS.items():
        conv = lambda x, s=(1, 1): ops.Conv(x, kernel, s, "same", (1, 1))  # noqa: E731
        yield Check(f"conv, {name}", lambda x, f=act, c=conv: f(c(x)), (image,), (0,))
        yield Check(
            f"conv, bias, {name}", lambda x, f=act, c=conv: f(c(x) + b4), (image,), (0, 1, 2)
        )
        yield Check(
            f"conv, norm, {name}",
            lambda x, f=act, c=conv: f((c(x, (2, 2)) + b4) * b4 + b4),
            (image,),
            (0,),
        )
        yield Check(
            f"depthwise, bias, {name}",
            lambda x, f=act: f(ops.DepthwiseConv(x, own, (1, 1), "same", (1, 1)) + b6),
            (image,),
            (0,),
        )
        yield Check(
            f"behind another, {name}",
            lambda x, f=act, c=conv: following(f(c(x) * b4 + b4), f),
            (image,),
            (0, 1),
        )
        for rank in (2, 3, 4):
            x = floats(*(2, 5, 4)[: rank - 1], 3)
            yield Check(
                f"dense, bias, {name} {rank}",
                lambda x, f=act: f(ops.matmul(x, matrix) + b4),
                (x,),
                range(rank - 1),
            )
    yield Check(
        "dense and a number", lambda x: ops.matmul(x, matrix) + 0.5, (floats(2, 5, 3),), (0,)
    )
    for shape in ((3,), (1,), (1, 1, 3), (5, 6, 3), (5, 1, 3), (1, 6, 1), (1, 6, 3)):
        slope = constant(floats(*shape))
        yield Check(
            f"prelu {shape}", lambda x, a=slope: ops.Relu(x) - a * ops.Relu(-x), (image,), (0,)
        )
        yield Check(
            f"prelu, added {shape}",
            lambda x, a=slope: ops.Relu(x) + a * ops.Relu(-x),
            (image,),
            (0,),
        )
    for rank in (2, 3, 5):
        slope = constant(floats(SHAPE[rank - 1]))
        yield Check(
            f"prelu of {rank} axes",
            lambda x, a=slope: ops.Relu(x) - a * ops.Relu(-x),
            (floats(*SHAPE[:rank]),),
            (0,),
        )


def convolutions() -> Iterator[Check]:
    windows, strides = (
        ((1, 1), (2, 3), (3, 2), (4, 4), (1, 2)),
        ((1, 1), (2, 2), (1, 2), (3, 1), (2, 4)),
    )
    paddings: tuple[Any, ...] = ("valid", "same", ((1, 1), (1, 1)), ((2, 0), (0, 1)))
    for k, s, d, p in product(windows, strides, ((1, 1), (2, 2), (1, 3)), paddings):
        if max(s) > 1 and max(d) > 1:
            continue
        kernel, own = constant(floats(*k, 3, 4)), constant(floats(*k, 3, 2))
        for size, unknown in (((9, 10), ()), ((11, 13), (0,)), ((8, 11), (0, 1, 2))):
            x, where = floats(2, *size, 3), f"{k} {s} {d} {p} {size}"
            yield Check(
                f"Conv {where}", lambda x, w=kernel, a=(s, p, d): ops.Conv(x, w, *a), (x,), unknown
            )
            yield Check(
                f"DepthwiseConv {where}",
                lambda x, w=own, a=(s, p, d): ops.DepthwiseConv(x, w, *a),
                (x,),
                unknown,
            )
    yield from grouped_convolutions()
    yield Check(
        "Conv with a kernel from outside",
        lambda x, w: ops.Conv(x, w, (1, 1), "same", (1, 1)),
        (floats(2, 5, 6, 3), floats(2, 2, 3, 2)),
    )


def grouped_convolutions() -> Iterator[Check]:
    moves: tuple[Any, ...] = (
        ((1, 1), (1, 1), "valid"),
        ((2, 2), (1, 1), "same"),
        ((1, 1), (1, 3), "same"),
        ((3, 1), (1, 1), "same"),
        ((1, 2), (1, 1), ((2, 0), (0, 1))),
    )
    for (groups, depth, own), (s, d, p) in product(
        ((2, 3, 2), (3, 2, 1), (4, 1, 2), (4, 1, 1), (8, 2, 2)), moves
    ):
        w = constant(floats(2, 3, depth, groups * own))
        for unknown in ((0,), (0, 2)):
            build = lambda x, w=w, a=(s, p, d, groups): ops.Conv(x, w, *a)  # noqa: E731
            where = f"{groups} of {depth} {own} {s} {d} {p} {unknown}"
            yield Check(f"grouped Conv {where}", build, (floats(2, 7, 9, groups * depth),), unknown)
            scaled = lambda x, f=build, c=groups * own: ops.Relu((f(x) + floats(c)) * floats(c))  # noqa: E731
            yield Check(
                f"grouped Conv, scaled {where}", scaled, (floats(2, 7, 9, groups * depth),), unknown
            )
    for (groups, depth), p in product(
        ((2, 2), (3, 1)), ("valid", "same", ((1, 1), (0, 2), (1, 0)))
    ):
        w = constant(floats(2, 3, 2, depth, groups * 2))
        for s in ((1, 1, 1), (2, 1, 2), (3, 3, 3)):
            build = lambda x, w=w, a=(s, p, (1, 1, 1), groups): ops.Conv(x, w, *a)  # noqa: E731
            x = floats(2, 5, 6, 7, groups * depth)
            yield Check(f"grouped Conv of volumes {groups} of {depth} {s} {p}", build, (x,), (0,))


def convolutions_of_volumes() -> Iterator[Check]:
    windows, paddings = (
        ((1, 1, 1), (2, 3, 2), (3, 3, 3), (1, 2, 4)),
        ("valid", "same", ((1, 1), (0, 2), (1, 0))),
    )
    moves = (
        ((1, 1, 1), (1, 1, 1)),
        ((2, 2, 2), (1, 1, 1)),
        ((1, 2, 3), (1, 1, 1)),
        ((3, 1, 1), (1, 1, 1)),
        ((1, 1, 1), (2, 2, 2)),
        ((1, 1, 1), (1, 2, 1)),
    )
    for k, (s, d), p in product(windows, moves, paddings):
        kernel = constant(floats(*k, 3, 2))
        for unknown in ((), (0,)):
            build = lambda x, w=kernel, a=(s, p, d): ops.Conv(x, w, *a)  # noqa: E731
            yield Check(
                f"Conv of volumes {k} {s} {d} {p} {unknown}",
                build,
                (floats(2, 5, 6, 7, 3),),
                unknown,
            )
        yield Check(
            f"Conv of open volumes {k} {s} {d} {p}", build, (floats(2, 5, 6, 7, 3),), (0, 1, 2, 3)
        )


def transposed(
    x: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    crop: tuple[int, ...],
    extra: tuple[int, ...],
) -> Tensor:
    sizes = tuple(
        None if n is None else n * s + e
        for n, s, e in zip(x.shape[1:-1], strides, extra, strict=True)
    )
    return ops.ConvTranspose(x, kernel, strides, crop, sizes, extra)


def transposed_convolutions() -> Iterator[Check]:
    """Valid, same, cropped in other ways, and longer than what the kernel reaches."""
    for rank, unknown in product((2, 3), ((), (0,), (0, 1, 2, 3)[:3])):
        windows = ((1, 1, 1), (2, 3, 2), (3, 3, 3), (4, 2, 1), (1, 4, 5))
        for k, s in product(
            (w[:rank] for w in windows),
            (t[:rank] for t in ((1, 1, 1), (2, 2, 2), (3, 2, 1), (1, 3, 2))),
        ):
            kernel, x = constant(floats(*k, 2, 3)), floats(2, *(4, 5, 3)[:rank], 3)
            pairs = list(zip(k, s, strict=True))
            cuts = {
                "valid": [(0, a - b) for a, b in pairs],
                "longer": [(0, max(a, b) - b) for a, b in pairs],
                "same": [(max(a - b, 0) // 2, 0) for a, b in pairs],
                "cropped": [(a - 1, 1 - b) for a, b in pairs],
                "shifted": [((a - 1) // 2, 2) for a, b in pairs],
            }
            for name, cut in cuts.items():
                crop, extra = zip(*cut, strict=True)
                build = lambda x, w=kernel, a=(s, crop, extra): transposed(x, w, *a)  # noqa: E731
                yield Check(f"ConvTranspose {k} {s} {name} {unknown}", build, (x,), unknown)


def poolings() -> Iterator[Check]:
    for op, p, unknown in product(
        (ops.MaxPool, ops.AvgPool), ("valid", "same"), ((), (0, 1, 2, 3))
    ):
        for w, s in product(product((1, 2, 3), (1, 2, 4)), product((1, 2, 3), (1, 3))):
            for size in ((5, 6), (9, 7)):
                x = -1 - np.abs(floats(2, *size, 3))
                yield Check(
                    f"{op.__name__} {w} {s} {p} {size} {unknown}",
                    lambda x, op=op, a=(w, s, p): op(x, *a),
                    (x,),
                    unknown[:3],
                )


def poolings_of_volumes() -> Iterator[Check]:
    windows, strides = (
        ((1, 1, 1), (2, 2, 2), (3, 2, 1), (2, 3, 4)),
        ((1, 1, 1), (2, 2, 2), (2, 1, 3), (3, 3, 1)),
    )
    for op, p, unknown in product(
        (ops.MaxPool, ops.AvgPool), ("valid", "same"), ((), (0, 1, 2, 3))
    ):
        for w, s in product(windows, strides):
            x = -1 - np.abs(floats(2, 5, 6, 7, 3))
            yield Check(
                f"{op.__name__} of volumes {w} {s} {p} {unknown}",
                lambda x, op=op, a=(w, s, p): op(x, *a),
                (x,),
                unknown,
            )


def resizings() -> Iterator[Check]:
    for method, unknown in product(("nearest", "bilinear"), ((), (0, 1, 2))):
        for size in product((1, 2, 5, 7, 10), (1, 3, 6, 12, 13)):
            yield Check(
                f"Resize {size} {method} {unknown}",
                lambda x, a=(size, method): ops.Resize(x, *a),
                (floats(2, 5, 6, 3),),
                unknown,
            )


def resizings_between_pixels() -> Iterator[Check]:
    """Nearest pixels at sizes for which fractions and floats round positions differently."""
    for (old, new), unknown in product(
        (((30, 26), (9, 23)), ((2, 18), (49, 33)), ((6, 12), (1, 5))), ((), (1, 2))
    ):
        yield Check(
            f"Resize {old} to {new} between pixels {unknown}",
            lambda x, n=new: ops.Resize(x, n, "nearest"),
            (floats(1, *old, 2),),
            unknown,
        )
        if not unknown:
            yield Check(
                f"Resize {old} to {new} between pixels at run time",
                lambda x, n: ops.Resize(x, pair(n), "nearest"),
                (floats(1, *old, 2), np.asarray(new, np.int32)),
            )


SAMPLED = {"corners": (True, False), "centers": (False, True), "edges": (False, False)}
"""Where pixels are sampled → `align_corners` and `half_pixel_centers`."""


def pair(sizes: Tensor) -> tuple[Size, Size]:
    """Two sizes in a vector."""
    height, width = ops.sizes_of(sizes)
    return height, width


def resizings_of_tensorflow() -> Iterator[Check]:
    """Sizes known at conversion and at run time, also those at which float32 rounds positions."""
    cases = (
        ((5, 6), (3, 13)),
        ((5, 6), (1, 9)),
        ((2, 4), (41, 75)),
        ((2, 3), (82, 7)),
        ((9, 8), (4, 1)),
    )
    for (old, new), (where, (corners, centers)), unknown in product(
        cases, SAMPLED.items(), ((), (0, 1, 2))
    ):
        x, size = floats(2, *old, 3), np.asarray(new, np.int32)
        options = {"align_corners": corners, "half_pixel_centers": centers}
        name = f"{old} to {new}, {where}, {unknown}"
        yield Check(
            f"Resize {name}",
            lambda x, n=new, o=options: ops.Resize(x, n, "bilinear", **o),
            (x,),
            unknown,
        )
        yield Check(
            f"Resize at run time {name}",
            lambda x, n, o=options: ops.Resize(x, pair(n), "bilinear", **o),
            (x, size),
        )
        for kind in (floats, integers):
            yield Check(
                f"resize_nearest {kind.__name__} {name}",
                lambda x, n=new, o=options: ops.resize_nearest(x, n, **o),
                (kind(2, *old, 3),),
                unknown,
            )
        yield Check(
            f"resize_nearest at run time {name}",
            lambda x, n, o=options: ops.resize_nearest(x, pair(n), **o),
            (x, size),
        )


def gathers() -> Iterator[Check]:
    for kind, unknown, batch in product(KINDS, ((), (0, 1)), (0, 1, 2)):
        rng = np.random.default_rng(batch)
        indices = np.asarray(rng.integers(0, 2, (2, 3, 4, 2)), np.int32)
        yield Check(
            f"GatherNd of {kind.__name__}, {batch} batch dimensions, {unknown}",
            lambda x, i, batch=batch: ops.gather_nd(x, i, batch),
            (kind(2, 3, 2, 3), indices),
            unknown,
        )


def batched_gathers() -> Iterator[Check]:
    """`Gather` with batch dimensions, along the first axis after them and along later ones."""
    cases = (
        (1, 1, (2, 4)),
        (1, 2, (2, 4)),
        (1, 3, (2,)),
        (1, 2, (2, 2, 3)),
        (2, 2, (2, 3, 4)),
        (2, 3, (2, 3, 2)),
    )
    for (batch, axis, shape), kind, unknown in product(cases, KINDS, ((), (0, 1))):
        x, indices = kind(2, 3, 4, 5), integers(*shape, low=0, high=2)
        yield Check(
            f"Gather of {kind.__name__}, {batch} batch dimensions, axis {axis}, {shape}, {unknown}",
            lambda x, i, a=axis, b=batch: ops.Gather(x, i, a, b),
            (x, indices),
            unknown[: len(shape)],
        )


def searches() -> Iterator[Check]:
    for shape, unknown in product(((5,), (3, 4), (2, 3, 2, 2)), ((), (0, 1))):
        where = f"{shape}, {unknown}"
        yield Check(f"ArgWhere {where}", ops.ArgWhere, (truths(*shape),), unknown)
        yield Check(f"ArgWhere of none {where}", ops.ArgWhere, (truths(*shape) & False,), unknown)
    for kind, k in product((floats, integers), (1, 3)):
        yield Check(
            f"TopK of {kind.__name__} with {k} at run time",
            lambda x, k: ops.items(ops.TopK(x, k)),
            (kind(2, 5), scalar(k)),
        )


def boxes_of(seed: int, count: int) -> Array:
    """Boxes around few centers, some with their corners in the other order."""
    rng = np.random.default_rng(seed)
    centers, sizes = rng.integers(0, 3, (count, 2)), rng.uniform(0.2, 1.2, (2, count, 2))
    boxes = np.concatenate([centers - sizes[0], centers + sizes[1]], 1)
    boxes[::3] = boxes[::3, [2, 1, 0, 3]]
    return np.asarray(boxes, np.float32)


HALVES = np.array(
    [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0.5], [2, 2, 3, 3], [2, 2, 2, 3], [3, 3, 2, 2]],
    np.float32,
)
"""Boxes that overlap by exactly a half or wholly, and one without area."""


def selections_of_boxes() -> Iterator[Check]:
    cases = [(boxes_of(seed, n), seed) for seed, n in ((1, 12), (2, 30), (3, 1))] + [(HALVES, 4)]
    limits = ((3, 0.5, -np.inf), (50, 0.3, 0.2), (50, 0.0, -1.0), (20, 0.5, 0.45), (2, 0.9, 0.3))
    for (boxes, seed), (most, iou, least) in product(cases, limits):
        scores = np.round(np.random.default_rng(seed).random(len(boxes)), 1).astype(np.float32)
        where = f"{seed} {most} {iou} {least}"
        least_score = constant(least, "float32")

        def chosen(
            boxes: Tensor, scores: Tensor, most: Any, iou: float = iou, least: Tensor = least_score
        ) -> Any:
            return ops.NonMaxSuppression(boxes, scores, most, constant(iou, "float32"), least)

        for unknown in ((), (0,)):
            yield Check(
                f"NonMaxSuppression {where} {unknown}",
                lambda b, s, f=chosen, n=most: f(b, s, n),
                (boxes, scores),
                unknown,
            )
        yield Check(
            f"padded NonMaxSuppression {where}",
            lambda b, s, n, f=chosen: ops.padded_to(f(b, s, n), n),
            (boxes, scores, scalar(most)),
        )


def crops() -> Iterator[Check]:
    edges = np.random.default_rng(0).random((6, 1)) * [[0.9, 0.8, 0, 0]] + [[0, 0, 1, 1]]
    boxes = np.array(
        [*edges, [0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], [0.8, 0.2, 0.1, 0.6], [-0.3, 0.2, 0.4, 1.5],
              [0.5, 0.5, 0.5, 0.5]],
        np.float32,
    )  # fmt: skip
    indices, image = np.arange(11, dtype=np.int32) % 2, floats(2, 5, 7, 3)
    sizes_ = ((3, 4), (1, 5), (6, 1), (11, 2))
    for size, method, unknown in product(sizes_, ("bilinear", "nearest"), ((), (0, 1, 2))):
        yield Check(
            f"CropAndResize to {size} {method} {unknown}",
            lambda x, b, i, a=(size, method, 0.5): ops.CropAndResize(x, b, i, *a),
            (image, boxes, indices),
            unknown[:1] if unknown else (),
        )
        yield Check(
            f"CropAndResize to {size} at run time {method} {unknown}",
            lambda x, b, i, n, m=method: ops.CropAndResize(x, b, i, pair(n), m),
            (image, boxes, indices, np.asarray(size, np.int32)),
        )


def scatters() -> Iterator[Check]:
    for kind, unknown in product(KINDS, ((), (0, 1))):
        places = np.array([[[2, 0], [0, -1]], [[1, 1], [-3, -3]]], np.int32)
        yield Check(
            f"ScatterNd that replaces {kind.__name__}, {unknown}",
            lambda x, i, updates: ops.ScatterNd(x, i, updates),
            (kind(3, 3, 2), places, kind(2, 2, 2)),
            unknown,
        )
        yield Check(
            f"ScatterNd that replaces {kind.__name__} at constant places, {unknown}",
            lambda x, updates: ops.ScatterNd(x, constant([[2], [0]]), updates),
            (kind(3, 2), kind(2, 2)),
            unknown[:1],
        )
    for kind, unknown in product((floats, integers), ((), (0, 1))):
        rng = np.random.default_rng(len(unknown))
        indices = np.asarray(rng.integers(0, 3, (4, 5, 1)), np.int32)
        yield Check(
            f"ScatterNd that adds {kind.__name__}, {unknown}",
            lambda x, i, updates: ops.ScatterNd(x, i, updates, "add"),
            (kind(3, 2), indices, kind(4, 5, 2)),
            unknown,
        )


def controls() -> Iterator[Check]:
    matrix = floats(5, 5)
    grown = lambda x: (ops.matmul(x, matrix), ops.concat([x, x], 0))  # noqa: E731
    kept = lambda x: (ops.matmul(x, matrix) * 2.0, x)  # noqa: E731
    for flag, unknown in product((True, False), ((), (0,))):
        yield Check(
            f"Branch on {flag}, {unknown}",
            lambda flag, x: ops.branch(flag, grown, kept, (x,)),
            (np.asarray(flag), floats(3, 5)),
            unknown,
        )
        yield Check(
            f"Branch on {flag} between constants, {unknown}",
            lambda flag: ops.branch(flag, lambda: (constant(3),), lambda: (constant(4),)),
            (np.asarray(flag),),
            unknown,
        )
        yield Check(
            f"Branch on {flag} of inputs that are outputs, {unknown}",
            lambda flag, x, y: ops.branch(flag, lambda *z: z, lambda x, y: (y, x), (x, y)),
            (np.asarray(flag), integers(3, 5), integers(3, 5) + 1),
            unknown,
        )
    for limit, unknown in product((0, 1, 4), ((), (0,))):
        yield Check(
            f"Loop of {limit} steps, {unknown}",
            stepping,
            (np.asarray(limit, np.int32), floats(3, 5), truths(5)),
            unknown,
        )


def stepping(limit: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """A loop with states of each element type, weights, and a branch inside."""
    matrix = floats(5, 5)

    def step(count: Tensor, y: Tensor, seen: Tensor, limit: Tensor, mask: Tensor) -> Any:
        even = ops.equal(ops.Mod(count, constant(2)), constant(0))
        (y,) = ops.branch(
            even,
            lambda y, c: (ops.matmul(y, matrix) + ops.floats(c),),
            lambda y, _: (ops.Tanh(y),),
            (y, count),
        )
        return count + 1, y, ops.LogicalOr(seen, mask)

    return ops.while_loop(
        lambda count, y, seen, limit, mask: ops.less(count, limit),
        step,
        (constant(0), x, ops.LogicalAnd(mask, ops.LogicalNot(mask))),
        (limit, mask),
    )


FAMILIES: Mapping[str, Callable[[], Iterator[Check]]] = {
    family.__name__: family
    for family in (
        unary,
        binary,
        selections,
        reductions,
        running,
        movements,
        creations,
        sizes,
        products,
        fusions,
        convolutions,
        convolutions_of_volumes,
        transposed_convolutions,
        poolings,
        poolings_of_volumes,
        resizings,
        resizings_between_pixels,
        resizings_of_tensorflow,
        controls,
        scans,
        loops,
        branches,
        gathers,
        batched_gathers,
        searches,
        selections_of_boxes,
        crops,
        scatters,
    )
}


@cache
def checks_of(family: str) -> tuple[Check, ...]:
    return tuple(FAMILIES[family]())
