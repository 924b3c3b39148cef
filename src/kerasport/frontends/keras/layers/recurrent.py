"""Recurrent layers, their cells, and wrappers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.dialect import ASSUMED_DIALECT, Dialect
from kerasport.frontends.keras.layers.activations import activate
from kerasport.frontends.keras.layers.base import (
    Activation,
    Count,
    Counts,
    DataFormat,
    Inside,
    InsideShapes,
    Layer,
    Outputs,
    Padding,
    Wrapper,
    listed,
    need_rank,
    weight,
)
from kerasport.frontends.keras.layers.conv import convolve, window_output
from kerasport.frontends.keras.layers.traits import (
    COMPUTES,
    WEIGHS,
    WRAPS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.frontends.keras.model import KerasModel, LayerSpec, flatten
from kerasport.ir import ops
from kerasport.weights import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.ops.loop import MaskedOutput, RecurrentStep
    from kerasport.ir.ops.movement import Size
    from kerasport.ir.tensor import Tensor


OVER_TIME = ("sequences", "initial_state", "mask", "training")
"""The signature of `call` of layers that run over time."""


class Cell(Protocol):
    """One time step of a recurrent layer. `project` can also process all steps at once.

    States are float32 [batch, units], in convolutional cells [batch, *out, filters].
    """

    states: ClassVar[int]

    def project(self, x: Tensor) -> Tensor:
        """The part of the gates that depends on the input, [..., gates · units]."""

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The new states, of which the first is the output. `z` is the result of `project`."""

    def zeros(self, z: Tensor) -> tuple[Tensor, ...]:
        """The states before the first step."""


class Loop(Protocol):
    """The options of a layer that runs cells over time."""

    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool
    zero_output_for_mask: bool


FROM_STATES = (
    "the model passes initial states and a mask; before the first unmasked time step Keras "
    "returns the initial state on JAX, but zeros on TensorFlow and PyTorch"
)


def over_time(
    loop: Loop,
    cells: Sequence[Cell],
    x: Tensor,
    states: Sequence[Tensor],
    mask: Tensor | None,
    dialect: Dialect,
) -> tuple[Tensor, ...]:
    """Run stacked cells over time.

    A masked step keeps the states. Its output is zero with `zero_output_for_mask`, and otherwise
    the output of the step before. Before the first step that output is the initial state, or zero
    in Keras 2 and with `unroll`.

    Args:
        loop: the options of the layer.
        cells: the cells. The input of each is the output of the cell before.
        x: the input, [batch, time, ...].
        states: initial states of all cells, float32 [batch, units] each; empty for zeros.
        mask: the mask, bool [batch, time] or [batch, time, features].
        dialect: the rules of the Keras release.

    Returns:
        The outputs [batch, time, units] or the last output [batch, units], and with `return_state`
        the final states. All are float32.

    Raises:
        Refusal: the layer continues from the previous run, or the Keras backends disagree.
        ShapeError: the states or the mask do not fit the layer.
    """
    _check_loop(loop, states, mask, dialect)
    z = cells[0].project(ops.floats(x))
    initial = _initial(cells, states, z)
    output = _masked_output(loop, masked=mask is not None, dialect=dialect)
    last_count = cells[-1].states
    # the output of a step is a state only if no masked step changes it
    carries = output == "held" or (output == "zero" and not loop.return_sequences)
    carries = carries and mask is not None

    def step(
        old: Sequence[Tensor], current: Sequence[Tensor], _: object
    ) -> tuple[list[Tensor], list[Tensor]]:
        new = _step(cells, current[0], old)
        y = new[-last_count]
        if mask is not None:
            counts, before = current[1], old[-1]
            kept = [chosen(counts, now, then) for now, then in zip(new, old, strict=False)]
            y = _output_of_step(output, counts, y, before, state=kept[-last_count])
            new = kept
        return [*new, y] if carries else new, [y] if loop.return_sequences else []

    sequences = [z] if mask is None else [z, steps_of(mask, ops.dim(z, 0))]
    start = [*initial, *cells[-1].zeros(z)[:1]] if carries else initial
    kind = None
    if len(cells) == 1 and isinstance(cells[0], _Cell):
        kind = cells[0].kind(masked=mask is not None, output=output)
    ends, collected = ops.scan(
        step, start, sequences, reverse=loop.go_backwards, nonempty=True, kind=kind
    )
    final = ends[: len(initial)]
    last = ends[-1] if carries else final[-last_count]
    y = collected[0] if loop.return_sequences else last
    return (y, *final) if loop.return_state else (y,)


def _check_loop(
    loop: Loop, states: Sequence[Tensor], mask: Tensor | None, dialect: Dialect
) -> None:
    """Raise `Refusal` for combinations of options that have no defined result."""
    if loop.stateful and not states:
        raise Refusal(
            "stateful",
            "it continues from the states of the previous run, but a graph keeps no state between "
            "runs",
            "pass the states with initial_state and return them with return_state",
        )
    if mask is None or dialect.zeros_before_first_step:
        return
    if loop.unroll and loop.zero_output_for_mask:
        reason = (
            "at masked time steps Keras 3 returns zeros on TensorFlow and PyTorch, but the "
            "previous output on JAX"
        )
        raise Refusal("unroll", reason, "set unroll=False; then all backends return zeros")
    if states and not (loop.unroll or loop.zero_output_for_mask):
        raise Refusal("", FROM_STATES, "set unroll=True; then all backends return zeros")


def _initial(cells: Sequence[Cell], states: Sequence[Tensor], z: Tensor) -> list[Tensor]:
    """The initial states, float32 [batch, units] each: `states`, or zeros if it is empty.

    Raises:
        ShapeError: the number of states differs from that of the cells.
    """
    empty = [zero for cell in cells for zero in cell.zeros(z)]
    if len(states or empty) != len(empty):
        raise ShapeError(f"it gets {len(states)} initial states but has {len(empty)}")
    # a constant with one sample is used for the whole batch
    pairs = zip(states or empty, empty, strict=True)
    return [ops.broadcast_to(state, ops.dims(zero)) for state, zero in pairs]


def _masked_output(loop: Loop, *, masked: bool, dialect: Dialect) -> MaskedOutput:
    """How a masked step computes its output."""
    if loop.zero_output_for_mask:
        return "zero"
    zeros_first = dialect.zeros_before_first_step or loop.unroll
    return "held" if masked and zeros_first else "state"


def _output_of_step(
    output: MaskedOutput, counts: Tensor, y: Tensor, before: Tensor, *, state: Tensor
) -> Tensor:
    """The output of a step, [batch, units]: y where it is not masked, else as `output` says."""
    if output == "state":
        return state
    return chosen(counts, y, 0.0 if output == "zero" else before)


def _step(cells: Sequence[Cell], z: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
    """The new states of all cells after one step; z is the projected input of the first cell."""
    new: list[Tensor] = []
    output: Tensor | None = None
    for cell in cells:
        projected = z if output is None else cell.project(output)
        of_cell = cell.step(projected, *states[len(new) : len(new) + cell.states])
        output = of_cell[0]
        new += of_cell
    return new


def one_step(cells: Sequence[Cell], x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run stacked cells for one step: the output and all new states.

    Raises:
        ShapeError: the number of states differs from that of the cells.
    """
    count = sum(cell.states for cell in cells)
    if len(states) != count:
        raise ShapeError(f"it is called with {len(states)} states but has {count}")
    new = _step(cells, cells[0].project(ops.floats(x)), states)
    return (new[-cells[-1].states], *new)


def steps_of(mask: Tensor, batch: Size) -> Tensor:
    """A mask as bool [batch, time, 1], for a batch of this size.

    A mask of features, [batch, time, features], masks the steps of which it masks every feature. A
    constant mask with one sample applies to every sample.

    Raises:
        ShapeError: the mask has another rank.
    """
    need_rank(mask.shape, 2, 3)
    mask = ops.cast(mask, "bool")
    mask = ops.expand_dims(mask, 2) if mask.rank == 2 else ops.any_(mask, -1, keepdims=True)
    if mask.shape[0] == 1 and batch != 1:
        return ops.logical_and(mask, ops.Fill((batch, 1, 1), 1, "bool"))
    return mask


def chosen(mask: Tensor, a: Tensor, b: Tensor | float) -> Tensor:
    """a where the mask [batch, 1] is true, else b; both are [batch, ...].

    Axes after the batch are flattened, because not all targets support Select for high ranks.
    """
    if a.rank <= 2:
        return ops.where(mask, a, b)
    flat = ops.where(
        mask, ops.flatten_from(a, 1), ops.flatten_from(b, 1) if not isinstance(b, float) else b
    )
    return ops.reshape(flat, ops.dims(a))


def zeros(*sizes: Size) -> Tensor:
    """A float32 tensor of zeros with these sizes."""
    return ops.Fill(sizes, 0.0)


def initial_states(states: Sequence[Tensor], initial_state: Any) -> list[Tensor]:
    """The initial states of a call, passed by position or as `initial_state`, in a flat list.

    Raises:
        ShapeError: one of them is not a tensor.
    """
    initial = [state for state in (*states, *flatten(initial_state)) if state is not None]
    if not all(isinstance(state, ops.Tensor) for state in initial):
        raise ShapeError("an initial state is not a tensor")
    return initial


class _Cell(Layer):
    """One time step of a recurrent layer, for stacked states and gates of `units` elements."""

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES, workload="recurrent")

    units: Count
    activation: Activation = "tanh"
    use_bias: bool = True
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    ignored: ClassVar[tuple[str, ...]] = ("seed", "implementation", "unit_forget_bias")

    signature: ClassVar[tuple[str, ...]] = ("inputs", "states", "training")
    tensors: ClassVar[tuple[str, ...]] = ("inputs", "states")
    # a layer that runs the cell over time does not pass the states here
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    operator: ClassVar[Literal["LSTM", "GRU", "RNN"]] = "RNN"
    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    kernel: Weight = weight()  # [input, gates · units]
    recurrent_kernel: Weight = weight()  # [units, gates · units]
    bias: Weight | None = weight(when="use_bias")  # [gates · units]

    def bias_shape(self) -> Shape:
        """Shape of the bias."""
        return (self.gates * self.units,)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        columns = self.gates * self.units
        return {
            "kernel": (inputs[0][-1], columns),
            "recurrent_kernel": (self.units, columns),
            "bias": self.bias_shape(),
        }

    def infer(self, *inputs: Shape) -> Outputs:
        output = (inputs[0][0], self.units)
        return (output,) * (1 + self.states) if len(inputs) > 1 else output

    def lower(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One step of a cell that is called as a layer: the output and the new states."""
        return one_step((self,), x, states)

    def project(self, x: Tensor) -> Tensor:
        """The part of the gates that depends on the input, [..., gates · units]."""
        z = x @ self.kernel
        return z if self.bias is None else z + self.bias

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The new states, of which the first is the output. `z` is the result of `project`."""
        raise NotImplementedError

    def zeros(self, z: Tensor) -> tuple[Tensor, ...]:
        """The states before the first step."""
        return (zeros(ops.dim(z, 0), self.units),) * self.states

    def kind(self, *, masked: bool, output: MaskedOutput) -> RecurrentStep:
        """The description of the step for targets with one operator for the whole loop."""
        activations = (getattr(self, "recurrent_activation", None), self.activation)
        names = [name if isinstance(name, str) else "" for name in activations if name is not None]
        return ops.RecurrentStep(
            self.operator,
            ops.as_tensor(self.recurrent_kernel),
            self.recurrent_bias(),
            tuple(names),
            getattr(self, "reset_after", False),
            masked,
            output,
        )

    def recurrent_bias(self) -> Tensor | None:
        """The bias of the recurrent part, [gates · units]; None if it is zero."""
        return None


class SimpleRNNCell(_Cell):
    """h' = activation(x @ kernel + h @ recurrent_kernel + bias): float32 [batch, units]."""

    signature = ("sequence", "states", "training")
    tensors = ("sequence", "states")

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        return (activate(self.activation, z + h @ self.recurrent_kernel),)


class LSTMCell(_Cell):
    """Long short-term memory: float32 states h and c [batch, units].

    The order of the gates is input, forget, cell, output.
    """

    operator = "LSTM"
    gates = 4
    states = 2
    recurrent_activation: Activation = "sigmoid"

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        return lstm(self, z + h @ self.recurrent_kernel, c)


def lstm(cell: LSTMCell | ConvLSTM2D, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The new states h and c; z is [batch, ..., 4 · units], the gates before their activations."""
    first = getattr(cell, "data_format", "channels_last") == "channels_first"
    gate = partial(activate, cell.recurrent_activation, channels_first=first)
    activated = partial(activate, cell.activation, channels_first=first)
    i, f, g, o = ops.split(z, 4)
    c = gate(f) * c + gate(i) * activated(g)
    return gate(o) * activated(c), c


class GRUCell(_Cell):
    """Gated recurrent unit: float32 state h [batch, units].

    The order of the gates is update, reset, candidate.
    """

    operator = "GRU"
    gates = 3
    recurrent_activation: Activation = "sigmoid"
    reset_after: bool = True

    def bias_shape(self) -> Shape:
        columns = self.gates * self.units
        return (2, columns) if self.reset_after else (columns,)

    def recurrent_bias(self) -> Tensor | None:
        return self._biases()[1]

    def _biases(self) -> tuple[Tensor | None, Tensor | None]:
        """The bias of the input part, and the bias of the recurrent part."""
        if self.bias is None:
            return None, None
        bias = ops.as_tensor(self.bias)
        if not self.reset_after:
            return bias, None
        both, of_input = ops.reshape(bias, (-1,)), self.gates * self.units
        return ops.slice_axis(both, 0, 0, of_input), ops.slice_axis(both, 0, of_input, of_input)

    def project(self, x: Tensor) -> Tensor:
        z, (bias, _) = x @ self.kernel, self._biases()
        return z if bias is None else z + bias

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,), both, kernel = states, 2 * self.units, ops.as_tensor(self.recurrent_kernel)
        candidate = ops.slice_axis(z, 1, both, self.units)
        if self.reset_after:
            # the reset gate applies after the product and its bias
            inner, (_, bias) = h @ kernel, self._biases()
            inner = inner if bias is None else inner + bias
            update, reset = self._gates(z, ops.slice_axis(inner, 1, 0, both))
            candidate = activate(
                self.activation, candidate + reset * ops.slice_axis(inner, 1, both, self.units)
            )
        else:
            update, reset = self._gates(z, h @ ops.slice_axis(kernel, 1, 0, both))
            inner = (reset * h) @ ops.slice_axis(kernel, 1, both, self.units)
            candidate = activate(self.activation, candidate + inner)
        # update · h + (1 - update) · candidate
        return (candidate + update * (h - candidate),)

    def _gates(self, z: Tensor, inner: Tensor) -> list[Tensor]:
        """The update gate and the reset gate, [batch, units] each."""
        sums = ops.slice_axis(z, 1, 0, 2 * self.units) + inner
        return [activate(self.recurrent_activation, part) for part in ops.split(sums, 2)]


CELLS = (SimpleRNNCell, LSTMCell, GRUCell)
STATES: Mapping[str, int] = {cls.__name__: cls.states for cls in CELLS}
"""Class of a cell → the number of its states."""


class _Recurrent(_Cell):
    """A cell over time: [batch, time, input] to float32 [batch, units] or [batch, time, units]."""

    traits = Traits(
        mask=MaskRule.RECURRENT,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.RECURRENT,
        dialect=True,
        workload="recurrent",
    )

    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    ignored = (*_Cell.ignored, "use_cudnn", "input_dim", "input_length", "consume_less")
    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("initial_state",)
    arity = (1, 1)

    cell_class: ClassVar[type[_Cell]]

    @property
    def cell(self) -> _Cell:
        """The cell with the weights of the layer."""
        options = {name: getattr(self, name) for name in self.cell_class.defaults}
        weights = {name: getattr(self, name) for name in self.weights}
        return self.cell_class(self.name, options, weights)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        return self.cell.weight_shapes(*inputs)

    def infer(self, *inputs: Shape) -> Outputs:
        need_rank(inputs[0], 3)
        batch, time, _ = inputs[0]
        return with_states(self, batch, time, ((batch, self.units),) * self.cell_class.states)

    def lower(
        self,
        x: Tensor,
        *states: Tensor,
        mask: Tensor | None = None,
        initial_state: Any = None,
        dialect: Dialect = ASSUMED_DIALECT,
    ) -> tuple[Tensor, ...]:
        initial = initial_states(states, initial_state)
        return over_time(self, (self.cell,), x, initial, mask, dialect)


def with_states(
    layer: Any, batch: int | None, time: int | None, states: tuple[Shape, ...]
) -> Outputs:
    """Shapes of the output of a recurrent layer, and of its states with `return_state`."""
    last = states[0][1:]
    output = (batch, time, *last) if layer.return_sequences else (batch, *last)
    return (output, *states) if layer.return_state else output


class SimpleRNN(_Recurrent):
    """`SimpleRNNCell` over time: [batch, time, input] to float32 [batch, units]."""

    cell_class = SimpleRNNCell


class LSTM(_Recurrent):
    """`LSTMCell` over time: [batch, time, input] to float32 [batch, units]."""

    cell_class = LSTMCell
    recurrent_activation: Activation = "sigmoid"


class GRU(_Recurrent):
    """`GRUCell` over time: [batch, time, input] to float32 [batch, units]."""

    cell_class = GRUCell
    recurrent_activation: Activation = "sigmoid"
    reset_after: bool = False
    """The default is that of files without this option. Keras 3 always writes it."""


class StackedRNNCells(Wrapper):
    """One time step of stacked cells: [batch, input] and states to [batch, units] and states."""

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)
    cells: Any = ()
    signature = ("inputs", "states", "training")
    tensors = ("inputs", "states")
    arity = (1, None)

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> None:
        """None: the shapes are unknown, because the number of states depends on the cells."""
        del inside, inputs

    def lower_around(self, inside: Inside, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return one_step(inside.cells(*inside.parts.values()), x, states)


class RNN(Wrapper):
    """Any cell, or stacked cells, over time: [batch, time, input] to float32 [batch, units]."""

    traits = Traits(
        mask=MaskRule.RECURRENT,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.RECURRENT,
        dialect=True,
        workload="recurrent",
    )

    cell: Any = None
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("initial_state",)

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> tuple[Shape, ...] | None:
        batch, time, *rest = inputs[0]
        states = self._state_shapes(inside, (batch, *rest))
        if not states:
            return None
        # stacked cells return the output of the last cell
        output, *returned = listed(with_states(self, batch, time, states))
        return ((*output[:-1], states[-1][-1]), *returned)

    @staticmethod
    def _state_shapes(inside: InsideShapes, step: Shape) -> tuple[Shape, ...]:
        """Shapes of the states of all cells; empty if a cell is unknown."""
        cell = inside.parts["cell"]
        states: tuple[Shape, ...] = ()
        for part in cell.children.values() or (cell,) if isinstance(cell, LayerSpec) else ():
            outputs = inside.infer(part, (step,))
            if outputs is None:
                return ()
            step = outputs[0]
            states += (step,) * STATES.get(part.class_name, 1)
        return states

    def lower_around(
        self,
        inside: Inside,
        x: Tensor,
        *states: Tensor,
        mask: Tensor | None = None,
        initial_state: Any = None,
        dialect: Dialect = ASSUMED_DIALECT,
    ) -> tuple[Tensor, ...]:
        cells = inside.cells(inside.parts["cell"])
        initial = initial_states(states, initial_state)
        if initial and mask is not None and len(cells) > 1:
            raise Refusal(
                "cell",
                "the output of a masked step is not defined for stacked cells with initial states",
            )
        return over_time(self, cells, x, initial, mask, dialect)


def _returns_sequences(layer: LayerSpec | KerasModel) -> bool:
    return isinstance(layer, LayerSpec) and bool(layer.config.get("return_sequences"))


class Bidirectional(Wrapper):
    """Two recurrent layers, one forward and one backward in time, with merged outputs.

    [batch, time, input] to float32 [batch, 2 · units] with merge_mode="concat".
    """

    traits = Traits(
        mask=MaskRule.RECURRENT,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.RECURRENT,
    )

    merge_mode: Literal["concat", "sum", "mul", "ave"] | None = "concat"
    layer: Any = None
    backward_layer: Any = None
    # The reader sets it, because no file contains it. It applies to layers that return sequences.
    zero_output_for_mask: bool = True
    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("initial_state",)

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> tuple[Shape, ...] | None:
        forward = inside.infer(inside.parts["forward_layer"], inputs[:1])
        backward = inside.infer(inside.parts["backward_layer"], inputs[:1])
        if forward is None or backward is None:
            return None
        (out, *states), (back, *back_states) = forward, backward
        if self.merge_mode is None:
            return (out, back, *states, *back_states)
        if self.merge_mode == "concat":
            size = None if out[-1] is None or back[-1] is None else out[-1] + back[-1]
            out = (*out[:-1], size)
        return (out, *states, *back_states)

    def lower_around(
        self,
        inside: Inside,
        x: Tensor,
        *states: Tensor,
        mask: Tensor | None = None,
        initial_state: Any = None,
    ) -> tuple[Tensor, ...]:
        """The merged outputs, [batch, time, units] or [batch, units], then the states."""
        initial = initial_states(states, initial_state)
        half = len(initial) // 2
        forward, *forward_states = self._one_way(inside, "forward_layer", x, initial[:half], mask)
        backward, *backward_states = self._one_way(
            inside, "backward_layer", x, initial[half:], mask
        )
        if _returns_sequences(inside.parts["backward_layer"]):
            backward = ops.Reverse(backward, (1,))
        return (*self.merge(forward, backward), *forward_states, *backward_states)

    def _one_way(
        self,
        inside: Inside,
        part: str,
        x: Tensor,
        states: Sequence[Tensor],
        mask: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """The outputs of the layer for one direction."""
        layer = inside.parts[part]
        assert isinstance(layer, LayerSpec)
        # Keras overwrites this option of both layers; it has no effect on the last output
        zero = _returns_sequences(layer) and self.zero_output_for_mask
        layer = replace(layer, config={**layer.config, "zero_output_for_mask": zero})
        arguments = {"initial_state": tuple(states)} | ({} if mask is None else {"mask": mask})
        return inside.call(layer, (x,), **arguments)

    def merge(self, forward: Tensor, backward: Tensor) -> tuple[Tensor, ...]:
        """The merged output of both directions, or both outputs if they are not merged."""
        if self.merge_mode is None:
            return forward, backward
        if self.merge_mode == "concat":
            return (ops.concat((forward, backward), -1),)
        if self.merge_mode == "mul":
            return (forward * backward,)
        total = forward + backward
        return (total / 2.0 if self.merge_mode == "ave" else total,)


class TimeDistributed(Wrapper):
    """Applies the layer or model inside to each time step of [batch, time, ...]."""

    traits = Traits(
        mask=MaskRule.PER_STEP,
        integers=WRAPS,
        identity=COMPUTES,
        mask_input=MaskInput.FIRST,
        wraps=True,
    )
    layer: Any = None
    signature = ("inputs", "training", "mask")

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> tuple[Shape, ...] | None:
        if len(inputs[0]) < 2:
            raise ShapeError(
                f"TimeDistributed needs an input with a time axis, got the shape {inputs[0]}"
            )
        inner = inside.parts["layer"]
        if isinstance(inner, KerasModel) and len(inner.input_tensors) != 1:
            raise ShapeError(
                "the model inside TimeDistributed must have one input, "
                f"not {len(inner.input_tensors)}"
            )
        batch, time, *rest = inputs[0]
        outputs = inside.infer(inner, ((batch, *rest),))
        return outputs and tuple((shape[0], time, *shape[1:]) for shape in outputs)

    def lower_around(
        self, inside: Inside, x: Tensor, *, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Merge batch and time to one axis before the layer inside, and split it afterwards."""
        inner = inside.parts["layer"]
        if (name := inside.mixing_layer(inner)) is not None:
            reason = (
                f"the inner layer {name} works across the batch, which would mix time steps here"
            )
            raise Refusal("", reason)
        steps = ops.reshape(x, (-1, *ops.dims(x)[2:]))
        outputs = inside.lower(inner, (steps,), self._mask_of_steps(inside, mask))
        front = ops.dims(x)[:2]
        return tuple(ops.reshape(y, (*front, *ops.dims(y)[1:])) for y in outputs)

    @staticmethod
    def _mask_of_steps(inside: Inside, mask: Tensor | None) -> Tensor | None:
        """The mask for the layer inside: [batch · time, ...], or None."""
        if mask is None:
            return None
        if mask.rank > 2:
            return ops.reshape(mask, (-1, *ops.dims(mask)[2:]))
        if inside.reads_mask(inside.parts["layer"]):
            reason = "the inner layer reads a mask, but this mask has only one value per sample"
            raise Refusal("", reason)
        return None


class ConvLSTM2D(Layer):
    """LSTM with convolutions of images, over time.

    [batch, time, height, width, channels] to float32 [batch, *out, filters].
    """

    traits = Traits(
        mask=MaskRule.RECURRENT,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.RECURRENT,
        dialect=True,
        workload="recurrent",
    )

    rank: ClassVar[int] = 2
    filters: Count
    kernel_size: Counts
    strides: Counts = (1, 1)
    padding: Padding = "valid"
    data_format: DataFormat = "channels_last"
    dilation_rate: Counts = (1, 1)
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    ignored = ("seed", "unit_forget_bias", "implementation")

    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("initial_state",)
    states: ClassVar[int] = 2

    kernel: Weight = weight()  # [*kernel_size, input, 4 · filters]
    recurrent_kernel: Weight = weight()  # [*kernel_size, filters, 4 · filters]
    bias: Weight | None = weight(when="use_bias")  # [4 · filters]

    def channels(self, x: Shape) -> int | None:
        """Number of channels of the input."""
        return x[-1] if self.data_format == "channels_last" else x[2]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        columns = 4 * self.filters
        return {
            "kernel": (*self.kernel_size, self.channels(inputs[0]), columns),
            "recurrent_kernel": (*self.kernel_size, self.filters, columns),
            "bias": (columns,),
        }

    def infer(self, *inputs: Shape) -> Outputs:
        need_rank(inputs[0], len(self.kernel_size) + 3)
        batch, time, *image = inputs[0]
        last = self.data_format == "channels_last"
        spatial = image[:-1] if last else image[1:]
        axes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        out = tuple(window_output(n, k, s, self.padding, d) for n, k, s, d in axes)
        state = (batch, *out, self.filters) if last else (batch, self.filters, *out)
        return with_states(self, batch, time, (state, state))

    def project(self, x: Tensor) -> Tensor:
        """The convolution of all images at once: float32 [batch, time, *out, 4 · filters]."""
        images = ops.reshape(x, (-1, *ops.dims(x)[2:]))
        z = convolve(
            images, ops.as_tensor(self.kernel), self.strides, self.padding, self.dilation_rate
        )
        z = z if self.bias is None else z + self.bias
        return ops.reshape(z, (*ops.dims(x)[:2], *ops.dims(z)[1:]))

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The new h and c. The convolution of h has stride 1 and keeps its size."""
        h, c = states
        ones = (1,) * len(self.kernel_size)
        return lstm(
            self, z + convolve(h, ops.as_tensor(self.recurrent_kernel), ones, "same", ones), c
        )

    def zeros(self, z: Tensor) -> tuple[Tensor, ...]:
        """The states before the first step."""
        batch, _, *out, _ = ops.dims(z)
        return (zeros(batch, *out, self.filters),) * 2

    def lower(
        self,
        x: Tensor,
        *states: Tensor,
        mask: Tensor | None = None,
        initial_state: Any = None,
        dialect: Dialect = ASSUMED_DIALECT,
    ) -> tuple[Tensor, ...]:
        initial = initial_states(states, initial_state)
        if self.data_format == "channels_last":
            return over_time(self, (self,), x, initial, mask, dialect)
        initial = [ops.move_axis(state, 1, -1) for state in initial]
        output, *ends = over_time(self, (self,), ops.move_axis(x, 2, -1), initial, mask, dialect)
        return (
            ops.move_axis(output, -1, 2 if self.return_sequences else 1),
            *(ops.move_axis(s, -1, 1) for s in ends),
        )


class ConvLSTM1D(ConvLSTM2D):
    """LSTM with convolutions of sequences [batch, time, steps, channels], over time."""

    rank = 1
    strides: Counts = (1,)
    dilation_rate: Counts = (1,)


class ConvLSTM3D(ConvLSTM2D):
    """LSTM with convolutions of volumes, over time.

    [batch, time, depth, height, width, channels] to float32 [batch, *out, filters].
    """

    rank = 3
    strides: Counts = (1, 1, 1)
    dilation_rate: Counts = (1, 1, 1)
