"""Recurrent layers, their cells, and the wrappers around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.layers.activations import activate
from kerasport.frontends.keras.layers.base import (
    Activation,
    Count,
    Counts,
    DataFormat,
    Layer,
    Outputs,
    Padding,
    need_rank,
    weight,
)
from kerasport.frontends.keras.layers.conv import convolve, window_output
from kerasport.frontends.keras.model import flatten
from kerasport.ir import ops
from kerasport.weights import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.ops.movement import Size
    from kerasport.ir.tensor import Tensor


OVER_TIME = ("sequences", "initial_state", "mask", "training")
"""The signature of `call` that all layers have that run over time."""


class Cell(Protocol):
    """What a recurrent layer does in one time step: part of it for all steps at once, the rest in turn."""

    states: ClassVar[int]

    def project(self, x: Tensor) -> Tensor:
        """What the input contributes, of one step or of all, the last axis holding all gates."""

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The new states; the first is the output."""

    def zeros(self, z: Tensor) -> tuple[Tensor, ...]:
        """The states before the first step."""


OfMasked: TypeAlias = Literal["state", "held", "zero"]
"""The output of a masked step: the state, the output before it, or zeros."""


@dataclass(frozen=True, eq=False)
class Steps:
    """What the steps of a loop are that runs one cell, for targets that have it as one operation."""

    cell: Cell
    masked: bool  # by the last sequence, [batch, time, 1]
    output: OfMasked


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
    *,
    zeros_first: bool = False,
) -> tuple[Tensor, ...]:
    """The output of cells run over time one behind the other, and their last states where the loop returns them.

    A masked step leaves the states as they are and repeats the output before it, or makes zeros. Before the first
    step the output is the state; zeros with `zeros_first`, which is how Keras 2 works, and with `unroll`.

    Raises:
        Refusal: the layer goes on from the states of the run before, or Keras's backends disagree.
        ShapeError: states or mask are not those of such a layer.
    """
    if loop.stateful and not states:
        reason = "it continues from the states of the previous run, but a graph keeps no state between runs"
        raise Refusal(
            "stateful",
            reason,
            "pass the states with initial_state and return them with return_state",
        )
    if mask is not None and loop.unroll and loop.zero_output_for_mask and not zeros_first:
        reason = "at masked time steps Keras 3 returns zeros on TensorFlow and PyTorch, but the previous output on JAX"
        raise Refusal("unroll", reason, "set unroll=False; then all backends return zeros")
    if (
        mask is not None
        and states
        and not (zeros_first or loop.unroll or loop.zero_output_for_mask)
    ):
        raise Refusal("", FROM_STATES, "set unroll=True; then all backends return zeros")
    z = cells[0].project(ops.floats(x))
    empty = [zero for cell in cells for zero in cell.zeros(z)]
    count, last = len(empty), cells[-1].states
    if len(states or empty) != count:
        raise ShapeError(f"it gets {len(states)} initial states but has {count}")
    # a constant of one sample stands for all
    initial = [
        ops.broadcast_to(x, ops.dims(zero)) for x, zero in zip(states or empty, empty, strict=True)
    ]
    zeros_first |= loop.unroll
    held = (
        mask is not None and zeros_first and not loop.zero_output_for_mask
    )  # an output that is no state
    carried = held or (mask is not None and loop.zero_output_for_mask and not loop.return_sequences)

    def step(
        old: Sequence[Tensor], given: Sequence[Tensor], _: object
    ) -> tuple[list[Tensor], list[Tensor]]:
        y, *rest = given
        new: list[Tensor] = []
        for cell in cells:
            made = cell.step(
                y if not new else cell.project(y), *old[len(new) : len(new) + cell.states]
            )
            y = made[0]
            new += made
        if mask is not None:
            new = [chosen(rest[0], after, before) for after, before in zip(new, old, strict=False)]
            if loop.zero_output_for_mask:
                y = chosen(rest[0], y, 0.0)
            else:
                y = chosen(rest[0], y, old[-1]) if held else new[-last]
        return [*new, y] if carried else new, [y] if loop.return_sequences else []

    steps = [z] if mask is None else [z, steps_of(mask, ops.dim(z, 0))]
    start = [*initial, *cells[-1].zeros(z)[:1]] if carried else initial
    output: OfMasked = "held" if held else "zero" if loop.zero_output_for_mask else "state"
    of_one = Steps(cells[0], mask is not None, output) if len(cells) == 1 else None
    ends, over = ops.scan(step, start, steps, reverse=loop.go_backwards, kind=of_one)
    y = over[0] if loop.return_sequences else ends[-1] if carried else ends[count - last]
    return (y, *ends[:count]) if loop.return_state else (y,)


def one_step(cells: Sequence[Cell], x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The output of cells that run for one step, one on the output of the other, and all new states.

    Raises:
        ShapeError: the number of states is not that of the cells.
    """
    count = sum(cell.states for cell in cells)
    if len(states) != count:
        raise ShapeError(f"it is called with {len(states)} states but has {count}")
    y = ops.floats(x)
    new: list[Tensor] = []
    for cell in cells:
        made = cell.step(cell.project(y), *states[len(new) : len(new) + cell.states])
        y = made[0]
        new += made
    return (y, *new)


def steps_of(mask: Tensor, batch: Size) -> Tensor:
    """A mask as a sequence of columns, [batch, time, 1], for a batch of that size.

    A mask of features, [batch, time, features], masks the steps of which it masks every feature. A
    constant mask of one sample counts for every sample.

    Raises:
        ShapeError: it masks more than time steps.
    """
    need_rank(mask.shape, 2, 3)
    mask = ops.cast(mask, "bool")
    mask = ops.expand_dims(mask, 2) if mask.rank == 2 else ops.any_(mask, -1, keepdims=True)
    if mask.shape[0] == 1 and batch != 1:
        return ops.logical_and(mask, ops.Fill((batch, 1, 1), 1, "bool"))
    return mask


def chosen(mask: Tensor, a: Tensor, b: Tensor | float) -> Tensor:
    """a where the mask [batch, 1] holds, else b; of many axes as one, since not all targets select among more."""
    if a.rank <= 2:
        return ops.where(mask, a, b)
    flat = ops.where(
        mask, ops.flatten_from(a, 1), ops.flatten_from(b, 1) if not isinstance(b, float) else b
    )
    return ops.reshape(flat, ops.dims(a))


def zeros(*sizes: Size) -> Tensor:
    """Zeros of these sizes."""
    return ops.Fill(sizes, 0.0)


def initial_states(states: Sequence[Tensor], given: Any) -> list[Tensor]:
    """The states that a call gives, by position or by name, flat.

    Raises:
        ShapeError: one of them is not a tensor.
    """
    found = [state for state in (*states, *flatten(given)) if state is not None]
    if not all(isinstance(state, ops.Tensor) for state in found):
        raise ShapeError("an initial state is not a tensor")
    return found


class _Cell(Layer):
    """What a recurrent layer does in one time step."""

    units: Count
    activation: Activation = "tanh"
    use_bias: bool = True
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    ignored: ClassVar[tuple[str, ...]] = ("seed", "implementation", "unit_forget_bias")

    signature: ClassVar[tuple[str, ...]] = ("inputs", "states", "training")
    tensors: ClassVar[tuple[str, ...]] = ("inputs", "states")
    arity: ClassVar[tuple[int, int | None]] = (
        1,
        None,
    )  # the states are missing where a layer over time runs the cell

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    kernel: Weight = weight()  # [input, gates · units]
    recurrent_kernel: Weight = weight()  # [units, gates · units]
    bias: Weight | None = weight(when="use_bias")  # [gates · units]

    def bias_shape(self) -> Shape:
        """Shape of the bias."""
        return (self.gates * self.units,)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        made = self.gates * self.units
        return {
            "kernel": (inputs[0][-1], made),
            "recurrent_kernel": (self.units, made),
            "bias": self.bias_shape(),
        }

    def infer(self, *inputs: Shape) -> Outputs:
        output = (inputs[0][0], self.units)
        return (output,) * (1 + self.states) if len(inputs) > 1 else output

    def lower(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One step, of a cell that the model calls as a layer: the output and the new states."""
        return one_step((self,), x, states)

    def project(self, x: Tensor) -> Tensor:
        """What the input contributes, of one step or of all."""
        z = x @ self.kernel
        return z if self.bias is None else z + self.bias

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The new states; the first is the output."""
        raise NotImplementedError

    def zeros(self, z: Tensor) -> tuple[Tensor, ...]:
        """The states before the first step."""
        return (zeros(ops.dim(z, 0), self.units),) * self.states


class SimpleRNNCell(_Cell):
    """h = activation(x @ kernel + h @ recurrent_kernel + bias)."""

    signature = ("sequence", "states", "training")
    tensors = ("sequence", "states")

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        return (activate(self.activation, z + h @ self.recurrent_kernel),)


class LSTMCell(_Cell):
    """Long short-term memory; the gates stand in the order input, forget, cell, output."""

    gates = 4
    states = 2
    recurrent_activation: Activation = "sigmoid"

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        return lstm(self, z + h @ self.recurrent_kernel, c)


def lstm(cell: LSTMCell | ConvLSTM2D, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """h and c after a step, of the sums before the gates."""
    first = getattr(cell, "data_format", "channels_last") == "channels_first"
    gate = partial(activate, cell.recurrent_activation, channels_first=first)
    activated = partial(activate, cell.activation, channels_first=first)
    i, f, g, o = ops.split(z, 4)
    c = gate(f) * c + gate(i) * activated(g)
    return gate(o) * activated(c), c


class GRUCell(_Cell):
    """Gated recurrent unit; the gates stand in the order update, reset, candidate."""

    gates = 3
    recurrent_activation: Activation = "sigmoid"
    reset_after: bool = True

    def bias_shape(self) -> Shape:
        made = self.gates * self.units
        return (2, made) if self.reset_after else (made,)

    def _biases(self) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the input's part, and to that of the state."""
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
            # the reset gate is applied behind the product, and so behind its bias
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
        return (candidate + update * (h - candidate),)  # update · h + (1 - update) · candidate

    def _gates(self, z: Tensor, inner: Tensor) -> list[Tensor]:
        """Update and reset."""
        sums = ops.slice_axis(z, 1, 0, 2 * self.units) + inner
        return [activate(self.recurrent_activation, part) for part in ops.split(sums, 2)]


CELLS = (SimpleRNNCell, LSTMCell, GRUCell)


class _Recurrent(_Cell):
    """A cell run over time."""

    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    ignored = (*_Cell.ignored, "use_cudnn", "input_dim", "input_length", "consume_less")
    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("mask", "initial_state", "zeros_first")
    arity = (1, 1)

    of: ClassVar[type[_Cell]]

    @property
    def cell(self) -> _Cell:
        """The cell, which has the weights of the layer."""
        options = {name: getattr(self, name) for name in self.of.defaults}
        return self.of(self.name, options, {name: getattr(self, name) for name in self.weights})

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        return self.cell.weight_shapes(*inputs)

    def infer(self, *inputs: Shape) -> Outputs:
        need_rank(inputs[0], 3)
        batch, time, _ = inputs[0]
        return with_states(self, batch, time, ((batch, self.units),) * self.of.states)

    def lower(
        self,
        x: Tensor,
        *states: Tensor,
        mask: Tensor | None = None,
        initial_state: Any = None,
        zeros_first: bool = False,
    ) -> tuple[Tensor, ...]:
        given = initial_states(states, initial_state)
        return over_time(self, (self.cell,), x, given, mask, zeros_first=zeros_first)


def with_states(
    layer: Any, batch: int | None, time: int | None, states: tuple[Shape, ...]
) -> Outputs:
    """Shapes of what a recurrent layer returns: its output, and its states where it is asked for them."""
    last = states[0][1:]
    output = (batch, time, *last) if layer.return_sequences else (batch, *last)
    return (output, *states) if layer.return_state else output


class SimpleRNN(_Recurrent):
    """SimpleRNNCell over time."""

    of = SimpleRNNCell


class LSTM(_Recurrent):
    """LSTMCell over time."""

    of = LSTMCell
    recurrent_activation: Activation = "sigmoid"


class GRU(_Recurrent):
    """GRUCell over time."""

    of = GRUCell
    recurrent_activation: Activation = "sigmoid"
    reset_after: bool = False  # what a file means that does not say; Keras 3 always says


class StackedRNNCells(Layer):
    """Cells one after the other in each time step."""

    cells: Any = ()
    signature = ("inputs", "states", "training")
    tensors = ("inputs", "states")
    arity = (1, None)


class RNN(Layer):
    """Any cell, run over time."""

    cell: Any = None
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("mask", "initial_state", "zeros_first")

    def lower(
        self,
        x: Tensor,
        *states: Tensor,
        cells: Sequence[Cell] = (),
        mask: Tensor | None = None,
        initial_state: Any = None,
        zeros_first: bool = False,
    ) -> tuple[Tensor, ...]:
        given = initial_states(states, initial_state)
        if given and mask is not None and len(cells) > 1:
            raise Refusal(
                "cell",
                "the output of a masked step is not defined for stacked cells with initial states",
            )
        return over_time(self, cells, x, given, mask, zeros_first=zeros_first)


class Bidirectional(Layer):
    """A recurrent layer forward and another backward in time, merged."""

    merge_mode: Literal["concat", "sum", "mul", "ave"] | None = "concat"
    layer: Any = None
    backward_layer: Any = None
    zero_output_for_mask: bool = (
        True  # where it returns sequences; no file says it, the reader knows
    )
    signature = OVER_TIME
    tensors = OVER_TIME[:1]
    takes = ("mask", "initial_state", "zeros_first")

    def merge(self, forward: Tensor, backward: Tensor) -> tuple[Tensor, ...]:
        """The outputs of both directions as one, or both."""
        if self.merge_mode is None:
            return forward, backward
        if self.merge_mode == "concat":
            return (ops.concat((forward, backward), -1),)
        if self.merge_mode == "mul":
            return (forward * backward,)
        total = forward + backward
        return (total / 2.0 if self.merge_mode == "ave" else total,)


class TimeDistributed(Layer):
    """The wrapped layer or model, on each time step by itself."""

    layer: Any = None
    signature = ("inputs", "training", "mask")
    takes = ("mask",)


class ConvLSTM2D(Layer):
    """LSTM whose products are convolutions of images."""

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
    takes = ("mask", "initial_state", "zeros_first")
    states: ClassVar[int] = 2

    kernel: Weight = weight()  # [*kernel_size, input, 4 · filters]
    recurrent_kernel: Weight = weight()  # [*kernel_size, filters, 4 · filters]
    bias: Weight | None = weight(when="use_bias")  # [4 · filters]

    def channels(self, x: Shape) -> int | None:
        """Number of channels of the input."""
        return x[-1] if self.data_format == "channels_last" else x[2]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        made = 4 * self.filters
        return {
            "kernel": (*self.kernel_size, self.channels(inputs[0]), made),
            "recurrent_kernel": (*self.kernel_size, self.filters, made),
            "bias": (made,),
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
        """The convolution of all images at once, [batch, time, *out, 4 · filters]."""
        images = ops.reshape(x, (-1, *ops.dims(x)[2:]))
        z = convolve(
            images, ops.as_tensor(self.kernel), self.strides, self.padding, self.dilation_rate
        )
        z = z if self.bias is None else z + self.bias
        return ops.reshape(z, (*ops.dims(x)[:2], *ops.dims(z)[1:]))

    def step(self, z: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The new states; the convolution of a state keeps its size, whatever the options are for that of the input."""
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
        zeros_first: bool = False,
    ) -> tuple[Tensor, ...]:
        given = initial_states(states, initial_state)
        if self.data_format == "channels_last":
            return over_time(self, (self,), x, given, mask, zeros_first=zeros_first)
        given = [ops.move_axis(state, 1, -1) for state in given]
        output, *ends = over_time(
            self, (self,), ops.move_axis(x, 2, -1), given, mask, zeros_first=zeros_first
        )
        return (
            ops.move_axis(output, -1, 2 if self.return_sequences else 1),
            *(ops.move_axis(s, -1, 1) for s in ends),
        )


class ConvLSTM1D(ConvLSTM2D):
    """LSTM whose products are convolutions of sequences."""

    rank = 1
    strides: Counts = (1,)
    dilation_rate: Counts = (1,)


class ConvLSTM3D(ConvLSTM2D):
    """LSTM whose products are convolutions of volumes."""

    rank = 3
    strides: Counts = (1, 1, 1)
    dilation_rate: Counts = (1, 1, 1)
