"""Convert loops to the ONNX operators LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kerasport.ir import ops
from kerasport.ir.dtypes import FLOATS
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Add, Constant, MatMul, Scan, Tensor, TensorType
from kerasport.ir.ops.loop import MaskedOutput, RecurrentOperator, RecurrentStep
from kerasport.ir.tensor import Several, expect
from kerasport.passes.loop import with_results
from kerasport.record import Record
from kerasport.weights import Array

GATES: Mapping[RecurrentOperator, tuple[int, ...]] = {
    "LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,),
}  # fmt: skip
"""Operator → position in Keras of each gate of ONNX.

The gates are input, output, forget and cell; or update, reset and candidate.
"""


class Activation(Record):
    """An activation of the recurrent operators of ONNX.

    Attributes:
        name: its name in ONNX.
        function: its meaning in numpy.
        alpha: its first parameter; None if it has none.
        beta: its second parameter; None if it has none.
    """

    name: str
    function: Callable[[Array], Array]
    alpha: float | None = None
    beta: float | None = None


def _hard_sigmoid(slope: float) -> Activation:
    return Activation("HardSigmoid", lambda x: np.clip(slope * x + 0.5, 0, 1), slope, 0.5)


ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": Activation("Tanh", np.tanh),
    "sigmoid": Activation("Sigmoid", lambda x: 0.5 + 0.5 * np.tanh(0.5 * x)),
    "relu": Activation("Relu", lambda x: np.maximum(x, 0)),
    "elu": Activation("Elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 1.0),
    "softsign": Activation("Softsign", lambda x: x / (1 + np.abs(x))),
    "softplus": Activation("Softplus", lambda x: np.logaddexp(x, 0)),
    "hard_sigmoid": _hard_sigmoid(1 / 6),
    "hard_sigmoid_keras2": _hard_sigmoid(0.2),
}
"""Name of an activation in Keras → activation of ONNX."""


class Recurrent(Several):
    """A recurrent layer over x [time, batch, input].

    The results are the last states [batch, units], then all outputs [time, batch, units].

    The kernels are ONNX's, [1, gates · units, …], and the bias is that of the input and that of the
    states.
    """

    operator: RecurrentOperator
    x: Tensor
    kernel: Tensor
    recurrent_kernel: Tensor
    bias: Tensor | None
    # empty for zeros
    states: tuple[Tensor, ...]
    # Keras's names, in the order of ONNX
    activations: tuple[str, ...]
    reverse: bool = False
    reset_after: bool = False
    # int32 [batch], for sequences shorter than time; at least 1
    lengths: Tensor | None = None

    @property
    def units(self) -> int:
        """The number of units."""
        return ops.known(self.recurrent_kernel.shape)[2]

    @property
    def count(self) -> int:
        """The number of states."""
        return 2 if self.operator == "LSTM" else 1

    def infer(self) -> tuple[TensorType, ...]:
        expect(self, self.x, FLOATS)
        time, batch, _ = self.x.extents
        last = TensorType("float32", (batch, self.units))
        return (*(last,) * self.count, TensorType("float32", (time, batch, self.units)))

    def compute(self, *operands: Any) -> tuple[Any, ...]:
        x, kernel, inner, *rest = operands
        bias = (
            rest.pop(0)[0] if self.bias is not None else np.zeros(2 * kernel.shape[1], np.float32)
        )
        lengths = rest.pop() if self.lengths is not None else np.full(x.shape[1], len(x))
        states = rest or [np.zeros((x.shape[1], self.units), np.float32)] * self.count
        of_input, of_state = np.split(bias, 2)
        steps = range(len(x))
        over = np.zeros((*x.shape[:2], self.units), np.float32)
        for t in reversed(steps) if self.reverse else steps:
            z = x[t] @ kernel[0].T + of_input
            new = self._step(np.split(z, len(GATES[self.operator]), 1), inner[0], of_state, states)
            within = (t < lengths)[:, None]
            states = [
                np.where(within, after, before) for after, before in zip(new, states, strict=True)
            ]
            over[t] = np.where(within, states[0], 0)
        return (*states, over)

    def _step(
        self, z: list[Array], kernel: Array, bias: Array, states: Sequence[Array]
    ) -> list[Array]:
        """One step, by the equations in onnx/docs/Operators.md."""
        f, *others = (ACTIVATIONS[name].function for name in self.activations)
        h = states[0]
        parts = list(zip(z, np.split(kernel, len(z)), np.split(bias, len(z)), strict=True))
        sums = [zs + h @ w.T + b for zs, w, b in parts]
        if self.operator == "RNN":
            return [f(sums[0])]
        if self.operator == "LSTM":
            i, o, forget, g = f(sums[0]), f(sums[1]), f(sums[2]), others[0](sums[3])
            c = forget * states[1] + i * g
            return [o * others[1](c), c]
        update, reset = f(sums[0]), f(sums[1])
        zs, w, b = parts[2]
        inner = reset * (h @ w.T + b) if self.reset_after else (reset * h) @ w.T + b
        return [(1 - update) * others[0](zs + inner) + update * h]


# -------------------------------------------------------------------------------------- recognition


def native(graph: Graph) -> Graph:
    """The graph with one operator for each loop for which ONNX has one."""
    return with_results(
        graph, lambda node, _: operator_of(node) if isinstance(node, Scan) else None
    )


def operator_of(loop: Scan) -> tuple[Tensor, ...] | None:
    """The results of a loop, computed by one operator; None if ONNX has none."""
    step, parts = loop.kind, projection(loop.sequences[0])
    if step is None or parts is None or not set(step.activations) <= set(ACTIVATIONS):
        return None
    x, kernel, bias = parts
    states = loop.states[: step.states]
    zeros = all(isinstance(state, ops.Fill) and state.value == 0 for state in states)
    whole = Recurrent(
        step.operator,
        ops.transpose(x, (1, 0, 2)),
        _gates(step.operator, kernel),
        _gates(step.operator, step.recurrent_kernel),
        _biases(step, bias),
        () if zeros else states,
        activations_of(step),
        loop.backwards[0],
        step.reset_after,
    )
    *ends, over = masked(whole, loop, step.masked_output) if step.masked else plain(whole)
    # a loop returns its results in the order of processing
    return (*ends, ops.Reverse(over, (1,)) if loop.backwards[0] else over)


def plain(whole: Recurrent) -> tuple[Tensor, ...]:
    """The last states [batch, units], and the outputs [batch, time, units]."""
    *last, over = ops.items(whole)
    return (*last, ops.transpose(over, (1, 0, 2)))


def masked(whole: Recurrent, loop: Scan, output: MaskedOutput) -> tuple[Tensor, ...]:
    """The results of a loop with masked steps.

    These are the last states, the last output if it is not a state, and all outputs.

    A masked step changes nothing. So the operator gets only the unmasked steps, in order, and their
    number. The output of a step is that of the last unmasked step up to it.
    """
    mask = ops.squeeze(loop.sequences[1], 2)
    ones = ops.cast(mask, "int32")
    counts, length = ops.Cumsum(ones, 1), ops.Sum(ones, (1,), keepdims=True)
    some, at_least_one = ops.greater(length, 0), ops.maximum(length, 1)  # ONNX requires a step
    x = ops.transpose(TakeSteps(ops.transpose(whole.x, (1, 0, 2)), CountingFirst(mask)), (1, 0, 2))
    *last, over = plain(replace(whole, x=x, lengths=ops.squeeze(at_least_one, 1)))
    before = whole.states or (ops.as_tensor(0.0),) * whole.count
    ends = [ops.where(some, after, initial) for after, initial in zip(last, before, strict=True)]
    # the number of unmasked steps before it; with reverse time, after it
    place = counts - ones if loop.backwards[0] else counts - 1
    none = ops.equal(place, length) if loop.backwards[0] else ops.less(place, 0)
    taken = TakeSteps(over, ops.maximum(ops.minimum(place, at_least_one - 1), 0))
    first = (
        ops.expand_dims(before[0], 1) if output == "state" and whole.states else ops.as_tensor(0.0)
    )
    every = ops.where(
        ops.expand_dims(mask if output == "zero" else ops.LogicalNot(none), 2), taken, first
    )
    if len(loop.states) == whole.count:
        return (*ends, every)
    at_end = ops.strided_axis(mask, 1, *((0, 1) if loop.backwards[0] else (-1, None)))
    return (*ends, ops.where(at_end if output == "zero" else some, last[0], 0.0), every)


class CountingFirst(Tensor):
    """The positions of unmasked steps of a mask [batch, time], in order, then of masked steps."""

    mask: Tensor

    def infer(self) -> TensorType:
        expect(self, self.mask, ("bool",))
        return TensorType("int32", self.mask.extents)

    def compute(self, *operands: Any) -> Array:
        places: Array = np.argsort(~operands[0], 1, kind="stable").astype(np.int32)
        return places


class TakeSteps(Tensor):
    """Steps of x [batch, time, features] at the positions [batch, steps] of each sample."""

    x: Tensor
    places: Tensor

    def infer(self) -> TensorType:
        expect(self, self.places, ("int32",))
        batch, _, size = self.x.extents
        return TensorType(self.x.dtype, (batch, self.places.extents[1], size))

    def compute(self, *operands: Any) -> Array:
        taken: Array = np.take_along_axis(operands[0], operands[1][:, :, None], 1)
        return taken


def activations_of(step: RecurrentStep) -> tuple[str, ...]:
    """The names in Keras of the activations of ONNX. An LSTM has one more, of its output."""
    names = step.activations
    return (*names, names[-1]) if step.operator == "LSTM" else names


def projection(z: Tensor) -> tuple[Tensor, Constant, Tensor | None] | None:
    """Input, kernel and bias of the projection of all steps."""
    match z:
        case Add(MatMul(x, Constant() as kernel, False, False), bias) if bias.rank == 1:
            return x, kernel, bias
        case MatMul(x, Constant() as kernel, False, False):
            return x, kernel, None
    return None


def _gates(operator: RecurrentOperator, kernel: Tensor) -> Tensor:
    """A kernel [rows, gates · units]  →  [1, gates · units, rows], with the gates of ONNX."""
    return ops.expand_dims(ops.transpose(_ordered(operator, kernel)), 0)


def _ordered(operator: RecurrentOperator, kernel: Tensor) -> Tensor:
    parts = ops.split(kernel, len(GATES[operator]))
    return ops.concat([parts[place] for place in GATES[operator]])


def _biases(step: RecurrentStep, bias: Tensor | None) -> Tensor | None:
    """The biases of input and state, [1, 2 · gates · units]."""
    if bias is None:
        return None
    inner = step.recurrent_bias
    if inner is None:
        inner = ops.constant(np.zeros(ops.known(bias.shape), np.float32))
    both = ops.concat([_ordered(step.operator, bias), _ordered(step.operator, inner)])
    return ops.expand_dims(both, 0)
