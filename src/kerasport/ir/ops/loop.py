"""Loops over the time steps of sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, Several, Tensor, TensorType, items
from kerasport.weights import Shape


class Scan(Several):
    """Runs a body for each time step of sequences [batch, time, …].

    The inputs of the body are the states, one step [batch, …] of each sequence, and the captured
    tensors. Its outputs are the new states, and one step [batch, …] of each result. The results of
    the node are the last states, and each result [batch, time, …] in the order of processing.

    Attributes:
        states: the states before the first step.
        sequences: the sequences, all with the same number of steps.
        captured: tensors from outside that the body uses.
        body: one step.
        reverse: whether to process the steps from the last one to the first one.
        kind: describes the step, for targets that have one operator for the whole loop.
    """

    states: tuple[Tensor, ...]
    sequences: tuple[Tensor, ...]
    captured: tuple[Tensor, ...]
    body: Graph
    reverse: bool = False
    kind: object = None

    @property
    def time(self) -> int | None:
        """The number of steps, None if it is known only at run time."""
        return self.sequences[0].shape[1]

    def infer(self) -> tuple[TensorType, ...]:
        count = len(self.states)
        for before, after in zip(self.states, self.body.outputs[:count], strict=True):
            if before.dtype != after.dtype or not same_shape(before.shape, after.shape):
                raise ShapeError(
                    f"a loop starts with a state of {before.type}, but each step returns "
                    f"{after.type}"
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
    """Whether two shapes can be equal at run time."""
    return len(a) == len(b) and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))


Step = Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]]
"""Function (states, steps, captured) → (new states, one step of each result)."""


def scan(
    step: Step,
    states: Sequence[Tensor],
    sequences: Sequence[Tensor],
    captured: Sequence[Tensor] = (),
    *,
    reverse: bool = False,
    kind: object = None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run `step` for each time step of sequences [batch, time, …], as a `Scan`.

    Args:
        step: computes one step.
        states: the states before the first step.
        sequences: the sequences.
        captured: tensors from outside that the step uses and that are not constants.
        reverse: whether to process the steps from the last one to the first one.
        kind: describes the step, for targets that have one operator for the whole loop.

    Returns:
        The last states, and the results [batch, time, …].
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
