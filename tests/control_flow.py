"""Checks of scans, loops and branches: computations of tests/emission.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from tests.graphs import Check, random

from kerasport.ir import ops
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import constant
from kerasport.weights import Array

Results = tuple[Tensor, ...]


def floats(*shape: int) -> Array:
    return random(sum(shape), *shape)


def number(value: int) -> Array:
    return np.asarray(value, np.int32)


# -------------------------------------------------------------------------------------------- scans


def scans() -> Iterator[Check]:
    """Axes, directions, ranks and element types; also of sequences without steps."""
    for time, axis, reverse, unknown in product(
        (0, 1, 4), (0, 1, 2), (False, True), ((), range(3))
    ):
        shape = [3, 2, 5]
        shape[axis] = time
        yield Check(
            f"Scan of {time} steps over axis {axis}, {reverse}, {bool(unknown)}",
            lambda x, n, a=axis, r=reverse: running_sums(x, n, a, r),
            (floats(*shape), np.arange(time, dtype=np.int32)),
            unknown,
        )
    for axis, reverse in product((0, 1, 2), (False, True)):
        yield Check(
            f"Scan of steps over axis {axis}, {reverse}, never empty",
            lambda x, n, a=axis, r=reverse: running_sums(x, n, a, r, nonempty=True),
            (floats(3, 3, 3), np.arange(3, dtype=np.int32)),
            range(3),
        )
    mixed = (floats(4, 3), floats(2, 4, 3), np.arange(4) % 3 == 1, floats(3))
    for unknown in ((), (0,), (0, 1)):
        yield Check(f"Scan of several sequences, {unknown}", several, mixed, unknown)
    for time in (0, 3):
        arrays = (floats(3, time, 2), floats(3, 2))
        yield Check(
            f"Scan of {time} steps keeps the batch",
            lambda x, h: ops.scan(lambda s, t, _: ([s[0] + t[0]], [s[0]]), (h,), (x,))[1][0],
            arrays,
            named={(0, 0): "batch", (1, 0): "batch", (0, 1): "time"},
        )
    yield Check("Scan in a scan", nested, (floats(3, 4, 2),), range(3))
    yield Check("Scan without states", doubled, (floats(3, 4, 2),), (0, 1))


def running_sums(
    x: Tensor, numbers: Tensor, axis: int, reverse: bool, *, nonempty: bool = False
) -> Results:
    """Sums of floats and of integers so far, and whether a number is even, along other axes."""

    def step(states: Sequence[Tensor], steps: Sequence[Tensor], captured: Any) -> Any:
        total, count = states[0] + steps[0] * captured[0], states[1] + steps[1]
        even = ops.equal(ops.Mod(steps[1], constant(2)), constant(0))
        return [total, count], [total, even, steps[0], count]

    start = ops.sum_(x, axis) * 0.0 + 0.5
    states, results = ops.scan(
        step,
        (start, constant(7)),
        (x, numbers),
        (start + 1.0,),
        axes=(axis, 0),
        reverse=(reverse, False),
        result_axes=(axis, 0, 2, 0),
        result_reverse=(reverse, False, not reverse, True),
        nonempty=nonempty,
    )
    return (*states, *results)


def several(x: Tensor, y: Tensor, flags: Tensor, outside: Tensor) -> Results:
    """Sequences with and without a batch, and states of three element types and ranks."""

    def step(states: Sequence[Tensor], steps: Sequence[Tensor], captured: Any) -> Any:
        h, seen, count = states
        h = ops.where(steps[2], steps[0] + captured[0], steps[1] * 0.5 + h)
        seen = ops.LogicalOr(seen, steps[2])
        return [h, seen, count + 1], [h, ops.expand_dims(count, 0)]

    start = ops.squeeze(ops.slice_axis(y, 1, 0, 1), 1)
    states, results = ops.scan(
        step,
        (start, constant(False), constant(0)),
        (x, y, flags),
        (outside,),
        axes=(0, 1, 0),
        reverse=(True, False, True),
        result_axes=(1, 0),
    )
    return (*states, *results)


def nested(x: Tensor) -> Results:
    """A scan over rows whose step is a scan over columns."""

    def inner(states: Sequence[Tensor], steps: Sequence[Tensor], _: Any) -> Any:
        total = ops.Tanh(states[0] + steps[0])
        return [total], [total]

    def outer(states: Sequence[Tensor], steps: Sequence[Tensor], _: Any) -> Any:
        (last,), (over,) = ops.scan(inner, (states[0],), (steps[0],), axes=0, result_axes=0)
        return [last], [over]

    start = ops.sum_(x, (0, 1)) * 0.1
    states, results = ops.scan(outer, (start,), (x,), axes=0, result_axes=1)
    return (*states, *results)


def doubled(x: Tensor) -> Results:
    return ops.scan(lambda *given: ([], [given[1][0] * 2.0]), (), (x,), axes=1, result_axes=2)[1]


# -------------------------------------------------------------------------------------------- loops


def loops() -> Iterator[Check]:
    """Trip counts, conditions and results."""
    x = floats(3, 2)
    for count, unknown in product((-2, 0, 1, 3), ((), (0,), (0, 1))):
        yield Check(
            f"Loop of {count} steps by its count, {unknown}",
            lambda x, n: ops.while_loop(None, powers, (x, constant(1)), (), n),
            (x, number(count)),
            unknown,
        )
        yield Check(
            f"Loop of {count} steps by a condition, {unknown}",
            lambda x, n: ops.while_loop(
                lambda _, c, n: ops.less(c, n),
                lambda y, c, _: powers(y, c),
                (x, constant(0)),
                (n,),
            ),
            (x, number(count)),
            unknown,
        )
    for count in (0, 2, 5):
        yield Check(
            f"Loop of at most {count} steps while a condition holds",
            lambda x, n: ops.while_loop(
                lambda _, c: ops.less(c, 4), powers, (x, constant(1)), (), n
            ),
            (x, number(count)),
            (0,),
        )
        yield Check(
            f"Loop of {count} steps, a constant",
            lambda x, n=count: ops.while_loop(None, powers, (x, constant(1)), (), n),
            (x,),
            (0,),
        )
        yield Check(
            f"Loop of {count} steps that keeps the batch",
            lambda x, n: ops.while_loop(None, powers, (x, constant(1)), (), n)[2],
            (x, number(count)),
            named={(0, 0): "batch"},
        )
    for count in (0, 3):
        yield Check(
            f"Loop of {count} steps with a growing state",
            lambda x, n: ops.while_loop(
                None, lambda y: (ops.concat([y, y * 0.5], 0), ops.Sum(y, (0,))), (x,), (), n
            ),
            (x, number(count)),
            (0,),
        )
        yield Check(
            f"Loop of {count} steps without states",
            lambda x, n: ops.while_loop(None, lambda x: (x * 2.0, x), (), (x,), n),
            (x, number(count)),
        )
        yield Check(
            f"Loop of {count} steps in a loop",
            triangle,
            (x, number(count)),
            (0,),
        )


def powers(y: Tensor, count: Tensor) -> Results:
    """One step: the states, and results of three element types and ranks."""
    z = ops.matmul(y, np.array([[0.5, 1.0], [-0.25, 0.75]], np.float32))
    odd = ops.equal(ops.Mod(count, constant(2)), constant(1))
    return z, count + 1, y, count, ops.LogicalOr(ops.greater(y, 0.0), odd)


def triangle(x: Tensor, n: Tensor) -> Results:
    """A loop whose steps are loops of more and more steps, with a branch inside."""

    def inner(y: Tensor, outer: Tensor) -> Results:
        (z,) = ops.branch(
            ops.greater(ops.Sum(y, (0, 1)), 0.0),
            lambda y, c: (y - ops.floats(c),),
            lambda y, _: (y + 3.0,),
            (y, outer),
        )
        return z, ops.Sum(z, (0, 1))

    def step(y: Tensor, count: Tensor) -> Results:
        z, sums = ops.while_loop(None, inner, (y,), (count,), count)
        return z, count + 1, ops.Sum(sums, (0,))

    return ops.while_loop(None, step, (x, constant(0)), (), n)


# ----------------------------------------------------------------------------------------- branches


def branches() -> Iterator[Check]:
    """Captured tensors, constants and results in all combinations."""
    table = constant(floats(6, 4))
    for first, second in product((True, False), repeat=2):
        flags = np.asarray(first), np.asarray(second)
        where = f"on {first} and {second}"
        yield Check(
            f"Branch in a branch {where}",
            lambda a, b, x: ops.branch(
                a,
                lambda b, x: ops.branch(
                    b, lambda x: (ops.matmul(x, table),), lambda _: (table,), (x,)
                ),
                lambda b, x: (ops.floats(b) + ops.matmul(x, table * 2.0),),
                (b, x),
            ),
            (*flags, floats(3, 6)),
            (0,),
        )
        yield Check(
            f"Branch that returns a tensor twice {where}",
            lambda a, b, x: ops.branch(
                ops.LogicalAnd(a, b), lambda x: (x, x), lambda x: (y := x * 2.0, y), (x,)
            ),
            (*flags, floats(3, 6)),
            (0,),
        )
        yield Check(
            f"Branch on a constant {where}",
            lambda a, b, x, first=first: ops.branch(
                constant(first), lambda x, _: (x + 1.0,), lambda x, b: (x * ops.floats(b),), (x, b)
            ),
            (*flags, floats(3, 6)),
            (0,),
        )
        yield Check(
            f"Branch with a loop {where}",
            lambda a, b, x: ops.branch(
                ops.LogicalOr(a, b),
                lambda x: ops.while_loop(None, lambda y: (y * 0.5, y), (x,), (), 3),
                lambda x: (x, ops.stack([x, x, x], 0)),
                (x,),
            ),
            (*flags, floats(3, 6)),
            (0,),
        )
