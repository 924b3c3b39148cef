"""Convert loops to the ONNX operators LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from kerasport.frontends.keras.layers.activations import ACTIVATIONS
from kerasport.frontends.keras.layers.recurrent import (
    GRUCell,
    LSTMCell,
    MaskedOutput,
    SimpleRNNCell,
    Steps,
)
from kerasport.ir import ops
from kerasport.ir.dtypes import FLOATS
from kerasport.ir.graph import Graph
from kerasport.ir.ops import Add, Constant, MatMul, Scan, Tensor, TensorType
from kerasport.ir.tensor import Several, expect
from kerasport.passes.loop import with_results
from kerasport.weights import Array

Cell: TypeAlias = LSTMCell | GRUCell | SimpleRNNCell
Operator: TypeAlias = Literal["LSTM", "GRU", "RNN"]

GATES: Mapping[Operator, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}
"""Operator → position in Keras of each gate of ONNX.

The gates are input, output, forget and cell; or update, reset and candidate.
"""

NAMES: Mapping[str, str] = {
    "tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "elu": "Elu", "softsign": "Softsign",
    "softplus": "Softplus", "hard_sigmoid": "HardSigmoid", "hard_sigmoid_keras2": "HardSigmoid",
}  # fmt: skip
"""Activation of Keras → activation of ONNX."""

OPTIONS: Mapping[str, Mapping[str, float]] = {
    "activation_alpha": {"elu": 1.0, "hard_sigmoid": 1 / 6, "hard_sigmoid_keras2": 0.2},
    "activation_beta": {"hard_sigmoid": 0.5, "hard_sigmoid_keras2": 0.5},
}
"""Attribute of ONNX → activation of Keras → its value.

The attribute lists values only for activations that have one.
"""


class Recurrent(Several):
    """A recurrent layer over x [time, batch, input].

    The results are the last states [batch, units], then all outputs [time, batch, units].

    The kernels are ONNX's, [1, gates · units, …], and the bias is that of the input and that of the
    states.
    """

    operator: Operator
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
        f, *others = (_meaning(name) for name in self.activations)
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


def _meaning(name: str) -> Any:
    """An activation as a numpy function."""

    def function(x: Array) -> Array:
        operand = ops.Input("x", TensorType("float32", x.shape))
        return Graph((operand,), (ACTIVATIONS[name](operand),)).run(x)[0]

    return function


# -------------------------------------------------------------------------------------- recognition


def native(graph: Graph) -> Graph:
    """The graph with one operator for each loop for which ONNX has one."""
    return with_results(
        graph, lambda node, _: operator_of(node) if isinstance(node, Scan) else None
    )


def operator_of(loop: Scan) -> tuple[Tensor, ...] | None:
    """The results of a loop, computed by one operator; None if ONNX has none."""
    steps = loop.kind
    if not isinstance(steps, Steps) or not isinstance(
        steps.cell, LSTMCell | GRUCell | SimpleRNNCell
    ):
        return None
    cell, activations, parts = steps.cell, activations_of(steps.cell), projection(loop.sequences[0])
    if parts is None or not all(isinstance(name, str) and name in NAMES for name in activations):
        return None
    x, kernel, bias = parts
    operator, states = _operator(cell), loop.states[: cell.states]
    zeros = all(isinstance(state, ops.Fill) and state.value == 0 for state in states)
    whole = Recurrent(
        operator,
        ops.transpose(x, (1, 0, 2)),
        _gates(operator, kernel),
        _gates(operator, ops.as_tensor(cell.recurrent_kernel)),
        _biases(operator, cell, bias),
        () if zeros else states,
        activations,
        loop.backwards[0],
        isinstance(cell, GRUCell) and cell.reset_after,
    )
    *ends, over = masked(whole, loop, steps.output) if steps.masked else plain(whole)
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
    # behind it in time, where time runs backwards
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


def _operator(cell: Cell) -> Operator:
    if isinstance(cell, LSTMCell):
        return "LSTM"
    return "GRU" if isinstance(cell, GRUCell) else "RNN"


def activations_of(cell: Cell) -> tuple[Any, ...]:
    """Keras's names of the activations, in the order of ONNX."""
    if isinstance(cell, SimpleRNNCell):
        return (cell.activation,)
    pair = (cell.recurrent_activation, cell.activation)
    return (*pair, cell.activation) if isinstance(cell, LSTMCell) else pair


def projection(z: Tensor) -> tuple[Tensor, Constant, Tensor | None] | None:
    """Input, kernel and bias of the projection of all steps."""
    match z:
        case Add(MatMul(x, Constant() as kernel, False, False), bias) if bias.rank == 1:
            return x, kernel, bias
        case MatMul(x, Constant() as kernel, False, False):
            return x, kernel, None
    return None


def _gates(operator: Operator, kernel: Tensor) -> Tensor:
    """A kernel [rows, gates · units]  →  [1, gates · units, rows], with the gates of ONNX."""
    return ops.expand_dims(ops.transpose(_ordered(operator, kernel)), 0)


def _ordered(operator: Operator, kernel: Tensor) -> Tensor:
    parts = ops.split(kernel, len(GATES[operator]))
    return ops.concat([parts[place] for place in GATES[operator]])


def _biases(operator: Operator, cell: Cell, bias: Tensor | None) -> Tensor | None:
    """The biases of input and states. The latter are 0, except in a GRU with reset_after."""
    if bias is None:
        return None
    if isinstance(cell, GRUCell) and cell.reset_after:
        assert cell.bias is not None
        whole = ops.as_tensor(cell.bias)
        inner: Tensor = ops.reshape(ops.slice_axis(whole, 0, 1, 1), bias.shape)
    else:
        inner = ops.constant(np.zeros(ops.known(bias.shape), np.float32))
    both = ops.concat([_ordered(operator, bias), _ordered(operator, inner)])
    return ops.expand_dims(both, 0)
