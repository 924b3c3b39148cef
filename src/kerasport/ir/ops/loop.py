"""A body run once for each time step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, Several, Tensor, TensorType, items
from kerasport.weights import Shape


@dataclass(frozen=True, eq=False)
class Scan(Several):
    """Runs a body over time, which is the second axis of each sequence.

    The body takes the states, then one step of each sequence, [batch, …], and makes the new states, then one step
    of each result. The results are the last states, then each result over time, in the order of processing. What the
    body needs besides, weights and tensors from outside, it takes directly as its operands.
    """

    states: tuple[Tensor, ...]
    sequences: tuple[Tensor, ...]
    captured: tuple[
        Tensor, ...
    ]  # operands from outside; the body has an input for each, after states and steps
    body: Graph
    reverse: bool = False
    kind: object = None  # what the steps are, for targets that have the whole as one operation

    @property
    def time(self) -> int | None:
        """Number of steps, where it is known."""
        return self.sequences[0].shape[1]

    def infer(self) -> tuple[TensorType, ...]:
        count = len(self.states)
        for before, after in zip(self.states, self.body.outputs[:count], strict=True):
            if before.dtype != after.dtype or not same_shape(before.shape, after.shape):
                raise ShapeError(
                    f"a loop starts with a state of {before.type}, but each step returns {after.type}"
                )
        last = tuple(output.type for output in self.body.outputs[:count])
        time = self.sequences[0].extents[1]
        over = tuple(
            TensorType(o.dtype, (o.extents[0], time, *o.extents[1:]))
            for o in self.body.outputs[count:]
        )
        return (*last, *over)

    def compute(self, *operands: Any) -> tuple[Any, ...]:
        count, number = len(self.states), len(self.sequences)
        states = list(operands[:count])
        sequences, captured = operands[count : count + number], operands[count + number :]
        steps = range(sequences[0].shape[1])
        results: list[list[Any]] = [[] for _ in self.body.outputs[count:]]
        for t in reversed(steps) if self.reverse else steps:
            made = self.body.run(*states, *(s[:, t] for s in sequences), *captured)
            states = list(made[:count])
            for result, step in zip(results, made[count:], strict=True):
                result.append(step)
        empty = [
            np.zeros((o.shape[0] or 0, 0, *(d or 0 for d in o.shape[1:])), NUMPY[o.dtype])
            for o in self.body.outputs[count:]
        ]
        over = [
            np.stack(result, 1) if result else none
            for result, none in zip(results, empty, strict=True)
        ]
        return (*states, *over)


def same_shape(a: Shape, b: Shape) -> bool:
    """Whether two shapes can be the same at run time."""
    return len(a) == len(b) and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))


Step = Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]]


def scan(
    step: Step,
    states: Sequence[Tensor],
    sequences: Sequence[Tensor],
    captured: Sequence[Tensor] = (),
    *,
    reverse: bool = False,
    kind: object = None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run `step(states, steps, captured)` → (new states, results) over time.

    Gives the last states, and the results over time.

    `captured` are tensors from outside that the step uses and that are no constants; `kind` says what the steps are,
    for targets that have the whole as one operation.
    """
    inside = [Input(f"state_{i}", s.type) for i, s in enumerate(states)]
    steps = [
        Input(f"step_{i}", TensorType(s.dtype, (s.extents[0], *s.extents[2:])))
        for i, s in enumerate(sequences)
    ]
    outside = [Input(f"captured_{i}", c.type) for i, c in enumerate(captured)]
    new, results = step(inside, steps, outside)
    body = Graph((*inside, *steps, *outside), (*new, *results))
    made = items(Scan(tuple(states), tuple(sequences), tuple(captured), body, reverse, kind))
    return made[: len(states)], made[len(states) :]
