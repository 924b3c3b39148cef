"""Loops over the steps of sequences, and what they have in common with other loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import (
    Extent,
    Extents,
    Input,
    Several,
    Tensor,
    TensorType,
    items,
    joined,
)
from kerasport.record import Record
from kerasport.weights import Array, Shape

RecurrentOperator: TypeAlias = Literal["LSTM", "GRU", "RNN"]
MaskedOutput: TypeAlias = Literal["state", "held", "zero"]
"""The output of a masked step: the state, the output of the step before, or zeros."""


class Scan(Several):
    """Runs a body for each step of sequences.

    The inputs of the body are the states, one step of each sequence, and the captured tensors. Its
    outputs are the new states, and one step of each result. The results of the node are the last
    states, and each result with the axis of the steps inserted. All sequences have the same number
    of steps, which may be 0.

    A known size of a state, or one with a name, is the same after each step. A size without a name
    may change.

    Attributes:
        states: the states before the first step, of any element type and rank.
        sequences: the sequences, at least one.
        captured: tensors from outside that the body uses.
        body: one step.
        axes: for each sequence, the axis of its steps.
        backwards: for each sequence, whether it is read from its last step to its first one.
        result_axes: for each result, the axis of its steps.
        result_backwards: for each result, whether the first step that runs becomes the last one.
        nonempty: whether every run has at least one step.
        kind: describes the step, for targets that have one operator for the whole loop; None if
            the step is none that targets know.
    """

    states: tuple[Tensor, ...]
    sequences: tuple[Tensor, ...]
    captured: tuple[Tensor, ...]
    body: Graph
    axes: tuple[int, ...]
    backwards: tuple[bool, ...]
    result_axes: tuple[int, ...]
    result_backwards: tuple[bool, ...]
    nonempty: bool = False
    kind: RecurrentStep | None = None

    @property
    def results(self) -> tuple[Tensor, ...]:
        """The outputs of the body that are one step of each result."""
        return self.body.outputs[len(self.states) :]

    @property
    def steps(self) -> Extent:
        """The number of steps: a size, a name or None."""
        pairs = zip(self.sequences, self.axes, strict=True)
        return joined(*(sequence.extents[axis] for sequence, axis in pairs))

    @property
    def time(self) -> int | None:
        """The number of steps, None if it is known only at run time."""
        steps = self.steps
        return steps if isinstance(steps, int) else None

    @property
    def may_be_empty(self) -> bool:
        """Whether a run can have no steps."""
        return not self.time if self.time is not None else not self.nonempty

    def infer(self) -> tuple[TensorType, ...]:
        self._check_axes()
        expect_states(self.states, self.body)
        last = [output.type for output in self.body.outputs[: len(self.states)]]
        if not self.nonempty:
            last = list(types_after(self.states, self.body))
        over = [
            TensorType(step.dtype, inserted(step.extents, axis, self.steps))
            for step, axis in zip(self.results, self.result_axes, strict=True)
        ]
        return (*last, *over)

    def _check_axes(self) -> None:
        if not self.sequences:
            raise ShapeError("a scan has at least one sequence")
        if len(self.axes) != len(self.sequences) or len(self.backwards) != len(self.sequences):
            raise ShapeError(f"a scan of {len(self.sequences)} sequences has {len(self.axes)} axes")
        if not len(self.results) == len(self.result_axes) == len(self.result_backwards):
            raise ShapeError(
                f"a scan of {len(self.results)} results has {len(self.result_axes)} axes for them"
            )
        ranks = [sequence.rank - 1 for sequence in self.sequences]
        ranks += [step.rank for step in self.results]
        for rank, axis in zip(ranks, (*self.axes, *self.result_axes), strict=True):
            if not 0 <= axis <= rank:
                raise ShapeError(f"a scan over axis {axis} of a tensor of {rank + 1} axes")
        pairs = zip(self.sequences, self.axes, strict=True)
        known = {size for s, axis in pairs if (size := s.shape[axis]) is not None}
        if len(known) > 1:
            raise ShapeError(f"the sequences have {' and '.join(map(str, sorted(known)))} steps")

    def compute(self, *operands: Any) -> tuple[Any, ...]:
        """The last states, and the results.

        Raises:
            RuntimeError: the sequences differ in length, or a state changed a size that stays.
        """
        count, number = len(self.states), len(self.sequences)
        states = operands[:count]
        sequences = [
            np.flip(np.moveaxis(array, axis, 0), 0) if backwards else np.moveaxis(array, axis, 0)
            for array, axis, backwards in zip(
                operands[count : count + number], self.axes, self.backwards, strict=True
            )
        ]
        if len({len(sequence) for sequence in sequences}) > 1:
            raise RuntimeError("the sequences of a scan have different numbers of steps")
        collected: list[tuple[Any, ...]] = []
        for steps in zip(*sequences, strict=True):
            outputs = self.body.run(*states, *steps, *operands[count + number :])
            check_states(self.body.inputs, states, outputs)
            states = outputs[:count]
            collected.append(outputs[count:])
        shapes = [*map(np.shape, states), *(sequence.shape[1:] for sequence in sequences)]
        shapes += map(np.shape, operands[count + number :])
        over = stacked(self.body, count, collected, shapes)
        pairs = zip(over, self.result_axes, self.result_backwards, strict=True)
        return (
            *states,
            *(np.moveaxis(np.flip(y, 0) if back else y, 0, axis) for y, axis, back in pairs),
        )


InputSize: TypeAlias = int | tuple[int, int] | None
"""A size: a number, or index and axis of an input of a body that has it, or None."""


class RecurrentStep(Record):
    """The step of an LSTM, a GRU or a simple RNN, as the `kind` of a scan.

    The first sequence is the input times the kernel, plus the bias: [batch, time, gates · units].
    The order of the gates is input, forget, cell, output in an LSTM, and update, reset, candidate
    in a GRU. The states are [batch, units].

    Attributes:
        operator: the name of the operator in ONNX.
        recurrent_kernel: the kernel of the state, [units, gates · units].
        recurrent_bias: the bias of the state, [gates · units]; None if it is zero.
        activations: the names in Keras, of the gates and then of the cell or candidate; a simple
            RNN has only the last one. A name is empty if Keras has no name for the function.
        reset_after: whether a GRU applies its reset gate after the product with the kernel.
        masked: whether the last sequence is a mask, bool [batch, time, 1].
        masked_output: the output of a masked step.
    """

    operator: RecurrentOperator
    recurrent_kernel: Tensor
    recurrent_bias: Tensor | None
    activations: tuple[str, ...]
    reset_after: bool
    masked: bool
    masked_output: MaskedOutput

    @property
    def states(self) -> int:
        """The number of states."""
        return 2 if self.operator == "LSTM" else 1


def inserted(extents: Extents, axis: int, extent: Extent) -> Extents:
    """The extents with one more axis."""
    return (*extents[:axis], extent, *extents[axis:])


def same_shape(a: Shape, b: Shape) -> bool:
    """Whether two shapes can be equal at run time."""
    return len(a) == len(b) and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))


# ------------------------------------------------------------------------------------------- states


def expect_states(states: Sequence[Tensor], body: Graph) -> None:
    """Check that each step returns states of the types that it takes.

    Raises:
        ShapeError: a state has another element type, rank or size after a step.
    """
    if len(body.outputs) < len(states):
        raise ShapeError(f"a loop of {len(states)} states returns {len(body.outputs)} in each step")
    for index, (before, after) in enumerate(zip(states, body.outputs, strict=False)):
        if before.dtype != after.dtype or not same_shape(before.shape, after.shape):
            name = body.inputs[index].name if index < len(body.inputs) else str(index)
            raise ShapeError(
                f"a loop starts with the state {name!r} of {before.type}, but each step returns "
                f"{after.type}; a state keeps its element type, its rank and its known sizes"
            )


def types_after(states: Sequence[Tensor], body: Graph) -> Iterator[TensorType]:
    """The types of the states after any number of steps, which may be 0."""
    for before, inside in zip(states, body.inputs, strict=False):
        extents: list[Extent] = [
            None if extent is None else first
            # `check` reports an input of another rank
            for first, extent in zip(before.extents, inside.extents, strict=False)
        ]
        yield TensorType(before.dtype, tuple(extents))


def check_states(inputs: Sequence[Input], before: Sequence[Array], after: Sequence[Array]) -> None:
    """Check at run time that the states keep the sizes that are known or have a name.

    Raises:
        RuntimeError: a size changed.
    """
    for tensor, old, new in zip(inputs, before, after, strict=False):
        axes = [axis for axis, extent in enumerate(tensor.extents) if extent is not None]
        if any(np.shape(old)[axis] != np.shape(new)[axis] for axis in axes):
            raise RuntimeError(
                f"a step changed the shape of the state {tensor.name!r} from {np.shape(old)} to "
                f"{np.shape(new)}"
            )


# ------------------------------------------------------------------------------------------ results


def result_sizes(body: Graph, states: int) -> list[tuple[InputSize, ...]]:
    """The sizes of one step of each result, as far as they follow from the inputs of a body.

    A size is a number, or index and axis of an input that has this size before the first step, or
    None. They are those of a result without steps.

    Args:
        body: one step.
        states: the number of states, which are the first outputs.
    """
    places: dict[str, tuple[int, int]] = {}
    named: list[Input] = []
    for index, tensor in enumerate(body.inputs):
        extents = tuple(
            f"{index}:{axis}" if extent is None else extent
            for axis, extent in enumerate(tensor.extents)
        )
        for axis, extent in enumerate(extents):
            if isinstance(extent, str):
                places.setdefault(extent, (index, axis))
        named.append(Input(tensor.name, TensorType(tensor.dtype, extents)))
    outputs = body.applied(tuple(named))[states:]

    def size_of(extent: Extent) -> InputSize:
        return places.get(extent) if isinstance(extent, str) else extent

    return [tuple(map(size_of, output.extents)) for output in outputs]


def stacked(
    body: Graph, states: int, steps: Sequence[Sequence[Array]], shapes: Sequence[Sequence[int]]
) -> list[Array]:
    """The results of all steps, stacked along a new axis 0.

    Without steps, a size that does not follow from the inputs is 0.

    Args:
        body: one step.
        states: the number of states, which are the first outputs.
        steps: the values of the results in each step.
        shapes: the shape of each input of the body before the first step.
    """
    if steps:
        return [np.stack(column) for column in zip(*steps, strict=True)]
    if len(body.outputs) == states:
        return []
    return [
        _no_steps(sizes, output, shapes)
        for sizes, output in zip(result_sizes(body, states), body.outputs[states:], strict=True)
    ]


def _no_steps(sizes: Sequence[InputSize], output: Tensor, shapes: Sequence[Sequence[int]]) -> Array:
    """The collected values of an output of a body in no step: [0, …]."""
    return np.zeros((0, *(_size(size, shapes) for size in sizes)), NUMPY[output.dtype])


def _size(size: InputSize, shapes: Sequence[Sequence[int]]) -> int:
    if isinstance(size, tuple):
        return shapes[size[0]][size[1]]
    return size or 0


# ------------------------------------------------------------------------------------------- making


Step = Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]]
"""Function (states, steps, captured) → (new states, one step of each result)."""

PerTensor: TypeAlias = Any
"""One value for all tensors, or a sequence with a value for each."""


def scan(
    step: Step,
    states: Sequence[Tensor],
    sequences: Sequence[Tensor],
    captured: Sequence[Tensor] = (),
    *,
    reverse: bool | Sequence[bool] = False,
    axes: int | Sequence[int] = 1,
    result_axes: int | Sequence[int] = 1,
    result_reverse: bool | Sequence[bool] = False,
    nonempty: bool = False,
    kind: RecurrentStep | None = None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run `step` for each step of sequences, as a `Scan`.

    Args:
        step: computes one step.
        states: the states before the first step.
        sequences: the sequences.
        captured: tensors from outside that the step uses and that are not constants.
        reverse: whether to read the sequences from the last step to the first one.
        axes: the axis of the steps in the sequences.
        result_axes: the axis of the steps in the results.
        result_reverse: whether the first step that runs becomes the last one of the results.
        nonempty: whether every run has at least one step.
        kind: describes the step, for targets that have one operator for the whole loop; None if
            the step is none that targets know.

    `reverse`, `axes`, `result_axes` and `result_reverse` are one value for all, or one for each.

    Returns:
        The last states, and the results.
    """
    all_axes = _each(axes, len(sequences))
    inside = [Input(f"state_{i}", s.type) for i, s in enumerate(states)]
    steps = [
        Input(f"step_{i}", TensorType(s.dtype, (*s.extents[:axis], *s.extents[axis + 1 :])))
        for i, (s, axis) in enumerate(zip(sequences, all_axes, strict=True))
    ]
    outside = [Input(f"captured_{i}", c.type) for i, c in enumerate(captured)]
    new, results = step(inside, steps, outside)
    returned = items(
        Scan(
            tuple(states),
            tuple(sequences),
            tuple(captured),
            Graph((*inside, *steps, *outside), (*new, *results)),
            all_axes,
            _each(reverse, len(sequences)),
            _each(result_axes, len(results)),
            _each(result_reverse, len(results)),
            nonempty,
            kind,
        )
    )
    return returned[: len(states)], returned[len(states) :]


def _each(value: PerTensor, count: int) -> tuple[Any, ...]:
    """One value for each of several tensors."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * count
