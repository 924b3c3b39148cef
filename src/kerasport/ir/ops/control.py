"""Control flow that depends on values: a branch, and a loop with a condition or trip count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import INTEGERS
from kerasport.ir.graph import Graph
from kerasport.ir.ops.loop import (
    InputSize,
    check_states,
    expect_states,
    result_sizes,
    stacked,
    types_after,
)
from kerasport.ir.ops.movement import Dim
from kerasport.ir.tensor import (
    Constant,
    Extent,
    Input,
    Several,
    Tensor,
    TensorType,
    as_tensor,
    expect,
    items,
)

MAX_STEPS = 10_000
"""Largest number of steps of a loop in numpy, where a loop could be infinite."""


class Branch(Several):
    """Runs one of two graphs.

    The inputs of both are the captured tensors. Both return results of the same element types and
    ranks. If a size differs between them, the size of the result is known only at run time.

    Attributes:
        predicate: the bool scalar that selects the graph.
        captured: tensors from outside that the graphs use.
        then_body: the graph to run if the predicate is true.
        else_body: the graph to run if it is false.
    """

    predicate: Tensor
    captured: tuple[Tensor, ...]
    then_body: Graph
    else_body: Graph

    def infer(self) -> tuple[TensorType, ...]:
        expect_scalar(self.predicate)
        ends = self.then_body.outputs, self.else_body.outputs
        if len(ends[0]) != len(ends[1]) or not ends[0]:
            raise ShapeError(
                f"the branches return {len(ends[0])} and {len(ends[1])} results; both must return "
                "the same number, and at least one"
            )
        return tuple(_either(a.type, b.type) for a, b in zip(*ends, strict=True))

    def compute(self, *operands: Any) -> tuple[Any, ...]:
        body = self.then_body if operands[0] else self.else_body
        return body.run(*operands[1:])


class Loop(Several):
    """Runs a body a number of times, or while a condition is true.

    The inputs of condition and body are the states, and then the captured tensors. The body
    returns the new states, and one step of each result. The results of the node are the last
    states, and each result with the steps stacked along a new axis 0.

    A known size of a state, or one with a name, is the same after each step. A size without a name
    may change. Without steps, a result has no elements, and its sizes that do not follow from those
    of the operands are 0.

    Attributes:
        states: the states before the first step, of any element type and rank.
        captured: tensors from outside that condition and body use.
        condition: returns the bool scalar that says whether to run another step; None if only the
            trip count limits the loop.
        body: one step.
        trip_count: largest number of steps, an integer scalar; None if only the condition limits
            the loop. A negative number means 0.
    """

    states: tuple[Tensor, ...]
    captured: tuple[Tensor, ...]
    condition: Graph | None
    body: Graph
    trip_count: Tensor | None = None

    @property
    def results(self) -> tuple[Tensor, ...]:
        """The outputs of the body that are one step of each result."""
        return self.body.outputs[len(self.states) :]

    @property
    def steps(self) -> Extent:
        """The number of steps: a size, or a name or None if it is known only at run time."""
        match self.condition, self.trip_count:
            case None, Constant() as count:
                return max(0, int(count.read()))
            case None, Dim(x, axis):
                return x.extents[axis]
        return None

    @property
    def may_be_empty(self) -> bool:
        """Whether a run can have no steps."""
        return not isinstance(self.steps, int) or not self.steps

    def infer(self) -> tuple[TensorType, ...]:
        self._check_limits()
        expect_states(self.states, self.body)
        if not self.body.outputs:
            raise ShapeError("a loop has no states and no results")
        over = (TensorType(step.dtype, (self.steps, *step.extents)) for step in self.results)
        return (*types_after(self.states, self.body), *over)

    def _check_limits(self) -> None:
        if self.condition is None and self.trip_count is None:
            raise ShapeError("a loop has neither a condition nor a trip count, so it would not end")
        if self.condition is not None:
            if len(self.condition.outputs) != 1:
                raise ShapeError(f"a condition returns 1 result, not {len(self.condition.outputs)}")
            expect_scalar(self.condition.outputs[0])
        if self.trip_count is not None:
            expect(self, self.trip_count, INTEGERS)
            if self.trip_count.rank:
                raise ShapeError(f"a trip count is a scalar, not {self.trip_count.type}")

    def compute(self, *operands: Any) -> tuple[Any, ...]:
        """The last states, and the results.

        Raises:
            RuntimeError: the condition is still true after `MAX_STEPS` steps and there is no trip
                count; or a state changed a size that stays.
        """
        count, number = len(self.states), len(self.captured)
        states, captured = tuple(operands[:count]), operands[count : count + number]
        most = MAX_STEPS + 1 if self.trip_count is None else int(operands[-1])
        collected: list[tuple[Any, ...]] = []
        for _ in range(most):
            if self.condition and not self.condition.run(*states, *captured)[0]:
                break
            new = self.body.run(*states, *captured)
            check_states(self.body.inputs, states, new)
            states = new[:count]
            collected.append(new[count:])
        if self.trip_count is None and len(collected) == most:
            raise RuntimeError(f"a loop did not end after {MAX_STEPS} steps")
        shapes = list(map(np.shape, (*states, *captured)))
        return (*states, *stacked(self.body, count, collected, shapes))

    def result_sizes(self) -> list[tuple[int | tuple[Tensor, int] | None, ...]]:
        """The sizes of each result without steps, except axis 0.

        A size is a number, or an operand and its axis that have it, or None if it does not follow
        from the operands.
        """
        operands = (*self.states, *self.captured)

        def with_operand(size: InputSize) -> int | tuple[Tensor, int] | None:
            return (operands[size[0]], size[1]) if isinstance(size, tuple) else size

        results = result_sizes(self.body, len(self.states))
        return [tuple(map(with_operand, sizes)) for sizes in results]


def expect_scalar(x: Tensor) -> None:
    """Check that a tensor is a bool scalar.

    Raises:
        ShapeError: the tensor has another element type or shape.
    """
    if x.type != TensorType("bool", ()):
        raise ShapeError(f"a condition is a bool scalar, not {x.type}")


def _either(a: TensorType, b: TensorType) -> TensorType:
    """The type of a result that has one of two types, with the extents that both share."""
    if a.dtype != b.dtype or a.rank != b.rank:
        raise ShapeError(f"a result is either {a} or {b}; element type and rank must be the same")
    pairs = zip(a.extents, b.extents, strict=True)
    extents: list[Extent] = [one if one == other else None for one, other in pairs]
    return TensorType(a.dtype, tuple(extents))


Function: TypeAlias = Callable[..., Sequence[Tensor]]


def branch(
    predicate: Tensor, then: Function, otherwise: Function, captured: Sequence[Tensor] = ()
) -> tuple[Tensor, ...]:
    """The results of `then(*captured)` if the predicate is true, else of `otherwise(*captured)`."""
    bodies = []
    for function in (then, otherwise):
        inputs = _inputs("captured", [tensor.type for tensor in captured])
        bodies.append(Graph(inputs, tuple(function(*inputs))))
    return items(Branch(predicate, tuple(captured), *bodies))


def while_loop(
    condition: Callable[..., Tensor] | None,
    step: Function,
    states: Sequence[Tensor],
    captured: Sequence[Tensor] = (),
    trip_count: Tensor | int | None = None,
) -> tuple[Tensor, ...]:
    """The last states and the results of a loop, as a `Loop`.

    Args:
        condition: function (states, captured) → whether to run another step; None for always.
        step: function (states, captured) → the new states, then one step of each result.
        states: the states before the first step.
        captured: tensors from outside that condition and step use and that are not constants.
        trip_count: largest number of steps; None for no limit.
    """
    types = [state.type for state in states]
    while True:
        condition_inputs, step_inputs = _inputs("state", types), _inputs("state", types)
        outside = [tensor.type for tensor in captured]
        condition_inputs, step_inputs = (
            condition_inputs + _inputs("captured", outside),
            step_inputs + _inputs("captured", outside),
        )
        body = Graph(step_inputs, tuple(step(*step_inputs)))
        wider = [_widened(t, o.type) for t, o in zip(types, body.outputs, strict=False)]
        if wider == types:
            break
        types = wider
    check = None if condition is None else Graph(condition_inputs, (condition(*condition_inputs),))
    count = as_tensor(trip_count) if isinstance(trip_count, int) else trip_count
    return items(Loop(tuple(states), tuple(captured), check, body, count))


def _widened(inside: TensorType, after: TensorType) -> TensorType:
    """The type of a state without the names of sizes that differ after a step."""
    if inside.rank != after.rank:
        return inside
    pairs = zip(inside.extents, after.extents, strict=True)
    extents = tuple(None if isinstance(a, str) and a != b else a for a, b in pairs)
    return TensorType(inside.dtype, extents)


def _inputs(name: str, types: Iterable[TensorType]) -> tuple[Input, ...]:
    return tuple(Input(f"{name}_{index}", kind) for index, kind in enumerate(types))
