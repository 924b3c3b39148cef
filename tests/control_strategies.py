"""Random bodies of branches, loops and scans, inside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tests.strategies import Sample, numbers, sample, shapes

from kerasport.ir import ops
from kerasport.ir.ops import Tensor
from kerasport.weights import Array

Body: TypeAlias = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Function (floats of one shape, an int32 scalar) → a tensor of the shape."""

SIMPLE: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, _: ops.Tanh(x),
    lambda x, _: ops.Sigmoid(x) - 0.25,
    lambda x, y: ops.mul(0.5, x) + ops.mul(0.25, y),
    lambda x, y: ops.Maximum(x, -y),
    lambda x, y: ops.where(ops.greater(y, 5.0), x, y * 0.5),
    lambda x, y: ops.Tanh(x * y),
    lambda x, _: ops.Reverse(x, (x.rank - 1,)) if x.rank else x,
    lambda x, _: x,
    lambda _, y: y,
)
"""Functions whose results stay between -6 and 6 for such operands."""


@dataclass(frozen=True)
class Step:
    """One tensor of a body: a function of two tensors before it, or a constant of the body."""

    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    places: tuple[int, int]

    def taken(self, tensors: Sequence[Tensor], count: Tensor) -> Tensor:
        a, b = (tensors[place % len(tensors)] for place in self.places)
        return self.function(a, b, count)


@st.composite
def bodies(draw: DrawFn, shape: tuple[int, ...], depth: int = 2) -> Body:
    """A body of up to four steps. With a depth, some are branches, loops or scans."""
    kinds: list[SearchStrategy[Any]] = [st.sampled_from(SIMPLE).map(ignoring), added(shape)]
    if depth:
        kinds += [
            branching(shape, depth - 1),
            looping(shape, depth - 1),
            scanning(shape, depth - 1),
        ]
    places = st.tuples(st.integers(0, 9), st.integers(0, 9))
    steps = draw(st.lists(st.builds(Step, st.one_of(kinds), places), max_size=4))

    def body(tensors: Sequence[Tensor], count: Tensor) -> Tensor:
        made = list(tensors)
        for step in steps:
            made.append(step.taken(made, count))
        return made[-1]

    return body


def ignoring(function: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A function of two tensors as one that also takes a number."""
    return lambda x, y, _: function(x, y)


@st.composite
def added(draw: DrawFn, shape: tuple[int, ...]) -> Any:
    """The sum of a tensor and a constant, which may be large enough to be a weight."""
    value = numbers(draw, draw(st.sampled_from([(), shape])), low=-1, high=1)
    return lambda x, _, __: ops.Tanh(x + value)


@st.composite
def branching(draw: DrawFn, shape: tuple[int, ...], depth: int) -> Any:
    """A branch on whether the number is large, or on a constant."""
    one, other = draw(bodies(shape, depth)), draw(bodies(shape, depth))
    limit, known = draw(st.integers(0, 3)), draw(st.sampled_from([None, None, True, False]))

    def function(x: Tensor, y: Tensor, count: Tensor) -> Tensor:
        flag = ops.greater(count, limit) if known is None else ops.constant(known)
        result, *_ = ops.branch(
            flag,
            lambda x, y, c: (one((x, y), c), x),
            lambda x, y, c: (other((x, y), c), y),
            (x, y, count),
        )
        return result

    return function


@st.composite
def looping(draw: DrawFn, shape: tuple[int, ...], depth: int) -> Any:
    """A loop by a trip count, a condition or both; its result is the last state or a maximum."""
    body, steps = draw(bodies(shape, depth)), draw(st.integers(0, 3))
    has_count, has_condition = draw(st.sampled_from([(1, 0), (0, 1), (1, 1)]))
    collects, is_constant = draw(st.booleans()), draw(st.booleans())

    def function(x: Tensor, y: Tensor, count: Tensor) -> Tensor:
        limit = ops.constant(steps) if is_constant else ops.minimum(count, steps)
        last, _, _, over = ops.while_loop(
            (lambda _, c, __, limit, ___: ops.less(c, limit)) if has_condition else None,
            lambda s, c, same, limit, y: (body((s, y, same), c), c + 1, same, s),
            (x, ops.constant(0), y * 0.5),
            (limit, y),
            limit if has_count else None,
        )
        if not collects:
            return last
        # without steps, the sum is 0
        return ops.Tanh(last + ops.Sum(over, (0,)))

    return function


@st.composite
def scanning(draw: DrawFn, shape: tuple[int, ...], depth: int) -> Any:
    """A scan over the tensor and another one, along an axis that is added to both."""
    body, time = draw(bodies(shape, depth)), draw(st.integers(1, 3))
    axes = tuple(draw(st.integers(0, len(shape))) for _ in range(3))
    reverse = draw(st.tuples(st.booleans(), st.booleans()))
    result_reverse, takes = draw(st.booleans()), draw(st.integers(0, time - 1))

    def function(x: Tensor, y: Tensor, count: Tensor) -> Tensor:
        first = ops.stack([x * (0.5 / (t + 1)) for t in range(time)], axes[0])
        second = ops.stack([ops.Tanh(y + t) for t in range(time)], axes[1])
        (last,), (over,) = ops.scan(
            lambda s, t, c: ([body((s[0], *t), c[0])], [s[0] - t[0]]),
            (x,),
            (first, second),
            (count,),
            axes=axes[:2],
            reverse=reverse,
            result_axes=axes[2],
            result_reverse=result_reverse,
        )
        taken = ops.squeeze(ops.slice_axis(over, axes[2], takes, 1), axes[2])
        return ops.Tanh(last + taken)

    return function


@st.composite
def controls(draw: DrawFn) -> Sample:
    """Control flow on two tensors and a number."""
    shape = draw(shapes(0, 3))
    kind = draw(st.sampled_from([branching, looping, scanning]))
    function = draw(kind(shape, 2))
    x, y = numbers(draw, shape), numbers(draw, shape)
    count: Array = np.asarray(draw(st.integers(0, 5)), np.int32)
    return sample(function, x, y, count)
