"""Control flow that depends on values: a branch, and a loop with a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from kerasport.errors import ShapeError
from kerasport.ir.graph import Graph
from kerasport.ir.ops.loop import same_shape
from kerasport.ir.tensor import Extent, Input, Several, Tensor, TensorType, items

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
    """Runs a body while a condition is true. The results are the last states.

    The inputs of condition and body are the states, and then the captured tensors. The condition
    returns a bool scalar, and the body returns the new states. The element type and the shape of a
    state do not change.

    Attributes:
        states: the states before the first step.
        captured: tensors from outside that condition and body use.
        condition: returns whether to run another step.
        body: one step.
    """

    states: tuple[Tensor, ...]
    captured: tuple[Tensor, ...]
    condition: Graph
    body: Graph

    def infer(self) -> tuple[TensorType, ...]:
        if len(self.condition.outputs) != 1:
            raise ShapeError(f"a condition returns 1 result, not {len(self.condition.outputs)}")
        expect_scalar(self.condition.outputs[0])
        if len(self.states) != len(self.body.outputs) or not self.states:
            raise ShapeError(
                f"a loop of {len(self.states)} states returns {len(self.body.outputs)} in each step"
            )
        pairs = list(zip(self.states, self.body.outputs, strict=True))
        for before, after in pairs:
            if before.dtype != after.dtype or not same_shape(before.shape, after.shape):
                raise ShapeError(
                    f"a loop starts with a state of {before.type}, but each step returns "
                    f"{after.type}"
                )
        return tuple(_either(before.type, after.type) for before, after in pairs)

    def compute(self, *operands: Any) -> tuple[Any, ...]:
        """The last states.

        Raises:
            RuntimeError: the condition is still true after `MAX_STEPS` steps.
        """
        count = len(self.states)
        states, captured = tuple(operands[:count]), operands[count:]
        for _ in range(MAX_STEPS + 1):
            if not self.condition.run(*states, *captured)[0]:
                return states
            states = self.body.run(*states, *captured)
        raise RuntimeError(f"a loop did not end after {MAX_STEPS} steps")


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
        inputs = _inputs("captured", captured)
        bodies.append(Graph(inputs, tuple(function(*inputs))))
    return items(Branch(predicate, tuple(captured), *bodies))


def while_loop(
    condition: Callable[..., Tensor],
    step: Function,
    states: Sequence[Tensor],
    captured: Sequence[Tensor] = (),
) -> tuple[Tensor, ...]:
    """The last states after `step(*states, *captured)` runs while `condition` returns true."""
    asked = (*_inputs("state", states), *_inputs("captured", captured))
    taken = (*_inputs("state", states), *_inputs("captured", captured))
    check, body = Graph(asked, (condition(*asked),)), Graph(taken, tuple(step(*taken)))
    return items(Loop(tuple(states), tuple(captured), check, body))


def _inputs(name: str, tensors: Sequence[Tensor]) -> tuple[Input, ...]:
    return tuple(Input(f"{name}_{i}", tensor.type) for i, tensor in enumerate(tensors))
