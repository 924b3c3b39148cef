"""Recurrent layers, their cells, and the wrappers around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kerasport.ir import ops
from kerasport.layers.base import Activation, DataFormat, Layer, Outputs, Padding, need_rank, weight
from kerasport.layers.conv import window_output
from kerasport.model import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class _Cell(Layer):
    """What a recurrent layer does in one time step."""

    units: int
    activation: Activation = "tanh"
    use_bias: bool = True
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    ignored: ClassVar[tuple[str, ...]] = ("seed", "implementation", "unit_forget_bias")

    gates: ClassVar[int] = 1

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
        return (inputs[0][0], self.units)


class SimpleRNNCell(_Cell):
    """h = activation(x @ kernel + h @ recurrent_kernel + bias)."""


class LSTMCell(_Cell):
    """Long short-term memory; the gates stand in the order input, forget, cell, output."""

    gates = 4
    recurrent_activation: Activation = "sigmoid"


class GRUCell(_Cell):
    """Gated recurrent unit; the gates stand in the order update, reset, candidate."""

    gates = 3
    recurrent_activation: Activation = "sigmoid"
    reset_after: bool = True

    def bias_shape(self) -> Shape:
        made = self.gates * self.units
        return (2, made) if self.reset_after else (made,)


class _Recurrent(_Cell):
    """A cell run over time."""

    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    ignored = (*_Cell.ignored, "use_cudnn", "input_dim", "input_length", "consume_less")

    states: ClassVar[int] = 1

    def infer(self, *inputs: Shape) -> Outputs:
        need_rank(inputs[0], 3)
        batch, time, _ = inputs[0]
        return with_states(self, batch, time, ((batch, self.units),) * self.states)


def with_states(layer: Any, batch: int | None, time: int | None, states: tuple[Shape, ...]) -> Outputs:
    """Shapes of what a recurrent layer returns: its output, and its states where it is asked for them."""
    last = states[0][1:]
    output = (batch, time, *last) if layer.return_sequences else (batch, *last)
    return (output, *states) if layer.return_state else output


class SimpleRNN(_Recurrent):
    """SimpleRNNCell over time."""


class LSTM(_Recurrent):
    """LSTMCell over time."""

    gates = 4
    states = 2
    recurrent_activation: Activation = "sigmoid"


class GRU(_Recurrent):
    """GRUCell over time."""

    gates = 3
    recurrent_activation: Activation = "sigmoid"
    reset_after: bool = False  # what a file means that does not say; Keras 3 always says

    def bias_shape(self) -> Shape:
        made = self.gates * self.units
        return (2, made) if self.reset_after else (made,)


class StackedRNNCells(Layer):
    """Cells one after the other in each time step."""

    cells: Any = ()


class RNN(Layer):
    """Any cell, run over time."""

    cell: Any = None
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False


class Bidirectional(Layer):
    """A recurrent layer forward and another backward in time, merged."""

    merge_mode: Literal["concat", "sum", "mul", "ave"] | None = "concat"
    layer: Any = None
    backward_layer: Any = None
    takes = ("mask", "initial_state")

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


class ConvLSTM2D(Layer):
    """LSTM whose products are convolutions of images."""

    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    padding: Padding = "valid"
    data_format: DataFormat = "channels_last"
    dilation_rate: tuple[int, ...] = (1, 1)
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


class ConvLSTM1D(ConvLSTM2D):
    """LSTM whose products are convolutions of sequences."""

    strides: tuple[int, ...] = (1,)
    dilation_rate: tuple[int, ...] = (1,)


class ConvLSTM3D(ConvLSTM2D):
    """LSTM whose products are convolutions of volumes."""

    strides: tuple[int, ...] = (1, 1, 1)
    dilation_rate: tuple[int, ...] = (1, 1, 1)
