"""Recurrent layers, their cells, and wrappers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal
from kerasport.frontends.keras.layers import LAYERS, traits_of
from kerasport.frontends.keras.layers.activations import works_along_an_axis
from kerasport.frontends.keras.layers.base import REQUIRED
from kerasport.frontends.keras.layers.recurrent import RNN, ConvLSTM2D
from kerasport.frontends.keras.masks import returns_sequences
from kerasport.frontends.keras.model import KerasModel, KerasTensor, LayerSpec, flatten
from kerasport.targets.tfjs.layers.execution import one_tensor
from kerasport.targets.tfjs.layers.rewrites.blocks import linear_map, permuted, reshaped, selection
from kerasport.targets.tfjs.layers.rewrites.context import (
    RewriteContext,
    constant,
    derived,
)
from kerasport.targets.tfjs.layers.spelling.native import IN_BIDIRECTIONAL, mirrored

MASKED = (
    "it becomes several layers, and TF.js would not pass the mask of its input to them as "
    "Keras does"
)

# -------------------------------------------------------------------------------------- respellings

GATES: Mapping[str, tuple[float, ...]] = {
    **dict.fromkeys(("LSTM", "LSTMCell", "ConvLSTM1D", "ConvLSTM2D"), (5 / 6, 5 / 6, 1, 5 / 6)),
    **dict.fromkeys(("GRU", "GRUCell"), (5 / 6, 5 / 6, 1)),
}
"""Class → factors of the weights of each gate; the candidate, with factor 1, is not a gate."""


def hard_gates(spec: LayerSpec) -> tuple[LayerSpec, str]:
    """recurrent_activation="hard_sigmoid" with the hard_sigmoid of Keras 2, which TF.js has.

    clip(x/6 + 1/2, 0, 1) of Keras 3 equals clip(y/5 + 1/2, 0, 1) of Keras 2 for y = 5/6 · x, and
    the input x of a gate is linear in kernel, recurrent kernel and bias. The companion computes
    GRUs with reset_after.
    """
    reset_after = spec.config.get(
        "reset_after", LAYERS[spec.class_name].defaults.get("reset_after")
    )
    if spec.config.get("recurrent_activation") != "hard_sigmoid" or reset_after:
        return spec, ""
    gates = np.asarray(GATES[spec.class_name], np.float32)
    weights = [
        derived(
            weight,
            weight.shape,
            lambda values: values * np.repeat(gates, values.shape[-1] // len(gates)),
        )
        for weight in spec.weights
    ]
    config = {**spec.config, "recurrent_activation": "hard_sigmoid_keras2"}
    reason = "the weights of its gates are scaled by 5/6, so they train at a different rate"
    return replace(spec, config=config, weights=tuple(weights)), reason


LAYER_OF: Mapping[str, str] = {"SimpleRNNCell": "SimpleRNN", "LSTMCell": "LSTM", "GRUCell": "GRU"}
"""Class of a cell → the layer that runs it over time."""
NOT_OF_CELL = frozenset(("name", "cell", "dtype"))
"""Options of an RNN that its cell does not determine."""


def of_one_cell(spec: LayerSpec) -> tuple[LayerSpec, str]:
    """RNN(LSTMCell) as LSTM, including dropout in training; likewise for the other cells."""
    cell = spec.children["cell"]
    if not isinstance(cell, LayerSpec) or cell.custom or cell.class_name not in LAYER_OF:
        return spec, ""
    options = {**LAYERS[cell.class_name].defaults, **cell.config, **spec.config}
    config = {
        name: value
        for name, value in options.items()
        if name not in NOT_OF_CELL and value is not REQUIRED
    }
    config["trainable"] = all(part.config.get("trainable") is not False for part in (spec, cell))
    return LayerSpec(spec.name, LAYER_OF[cell.class_name], config, cell.weights, note=spec.note), ""


# -------------------------------------------------------------------------------------------- cells


def rnn(ctx: RewriteContext) -> tuple[KerasTensor, ...] | None:
    """One recurrent layer per stacked cell, if the model passes or uses their states.

    TF.js returns the states of stacked cells in another order than Keras.
    """
    layer: RNN = ctx.layer
    stack = ctx.spec.children["cell"]
    if not isinstance(stack, LayerSpec) or stack.class_name != "StackedRNNCells":
        return None
    states = _initial_states(ctx)
    cells = list(stack.children.values())
    if not (layer.return_state or states) or any(cell.class_name not in LAYER_OF for cell in cells):
        return None
    if ctx.masked:
        raise Refusal("", MASKED)
    x, returned = ctx.x, list[KerasTensor]()
    for cell in cells:
        count = LAYERS[cell.class_name].states  # type: ignore[attr-defined]
        options: dict[str, Any] = {
            "return_sequences": layer.return_sequences or cell is not cells[-1],
            "return_state": layer.return_state,
            "go_backwards": layer.go_backwards and cell is cells[0],
            "stateful": layer.stateful,
        }
        x = ctx.call_layer(
            "RNN",
            [x],
            options,
            part=cell.name,
            children={"cell": cell},
            initial_state=states[:count],
        )
        states = states[count:]
        returned += ctx.outputs(x)[1:]
    return x, *returned


def _initial_states(ctx: RewriteContext) -> list[KerasTensor]:
    """The initial states of a call, given by position or by name."""
    named = [
        state
        for state in flatten(ctx.call.kwargs.get("initial_state"))
        if isinstance(state, KerasTensor)
    ]
    return [*ctx.inputs[1:], *named]


# ------------------------------------------------------------------------- convolutional recurrence


def conv_lstm2d(ctx: RewriteContext) -> tuple[KerasTensor, ...] | None:
    """ConvLSTM2D with channels_first between two Permutes."""
    layer: ConvLSTM2D = ctx.layer
    if layer.data_format == "channels_last":
        return None
    if ctx.masked:
        raise Refusal("", MASKED)
    for option in ("activation", "recurrent_activation"):
        if works_along_an_axis(getattr(layer, option)):
            raise Refusal(option, "with channels_first it works along another axis than in TF.js")
    rank = len(ctx.shape)
    x = permuted(ctx, ctx.x, (0, 1, *range(3, rank), 2))
    outputs = own_outputs(ctx, ctx.again(x, part="last", data_format="channels_last"), ctx.spec)

    def first(y: KerasTensor) -> KerasTensor:
        axes = len(ctx.shape_of(y))
        channels = axes - rank + 2  # after the batch, or after batch and time
        return permuted(ctx, y, (*range(channels), axes - 1, *range(channels, axes - 1)))

    return tuple(map(first, outputs))


def conv_lstm1d(ctx: RewriteContext) -> tuple[KerasTensor, ...]:
    """ConvLSTM1D as ConvLSTM2D over images of width 1."""
    layer: ConvLSTM2D = ctx.layer
    if layer.data_format == "channels_first":
        return conv_lstm2d(ctx) or ()
    if ctx.masked:
        raise Refusal("", MASKED)
    time, length, channels = ctx.shape[1:]
    images = reshaped(ctx, ctx.x, (time, length, 1, channels))
    kernels = [
        derived(kernel, (kernel.shape[0], 1, *kernel.shape[1:]), lambda values: values[:, None])
        for kernel in (layer.kernel, layer.recurrent_kernel)
    ]
    sizes: dict[str, Any] = {
        name: [getattr(layer, name)[0], 1] for name in ("kernel_size", "strides", "dilation_rate")
    }
    weights = [*kernels, *ctx.spec.weights[2:]]
    y = ctx.again(images, class_name="ConvLSTM2D", weights=weights, **sizes)
    outputs = [(output, ctx.shape_of(output)) for output in own_outputs(ctx, y, ctx.spec)]
    return tuple(reshaped(ctx, output, (*shape[1:-2], shape[-1])) for output, shape in outputs)


# ----------------------------------------------------------------------------------------- wrappers

MERGES: Mapping[str, str] = {
    "concat": "Concatenate",
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
}
# layers that a Bidirectional can be split into
SPLIT = frozenset((*IN_BIDIRECTIONAL, "RNN", "ConvLSTM1D", "ConvLSTM2D"))


def bidirectional(ctx: RewriteContext) -> tuple[KerasTensor, ...] | None:
    """A forward, a backward and a merge layer, if TF.js's Bidirectional does not support them."""
    forward, backward = (ctx.spec.children[way] for way in ("forward_layer", "backward_layer"))
    if not isinstance(forward, LayerSpec) or not isinstance(backward, LayerSpec):
        return None
    if _is_native(ctx, forward, backward):
        return None
    inner = (forward, backward)
    if any(layer.class_name not in SPLIT or layer.custom for layer in inner):
        return None
    if ctx.masked:
        raise Refusal("", MASKED)
    states = _initial_states(ctx)
    half = len(states) // 2
    first, *first_states = _one_way(ctx, forward, "forward", states[:half])
    second, *second_states = _one_way(ctx, backward, "backward", states[half:])
    if returns_sequences(ctx.spec):
        second = reversed_in_time(ctx, second)
    mode = ctx.layer.merge_mode
    if mode is None:
        return first, second, *first_states, *second_states
    merged = ctx.add(MERGES[mode], first, second, **_merging(mode))
    return merged, *first_states, *second_states


def _is_native(ctx: RewriteContext, forward: LayerSpec, backward: LayerSpec) -> bool:
    """Whether the Bidirectional of TF.js computes the layer."""
    # TF.js would run the layer once per output, and its states would advance each time
    twice = forward.config.get("stateful") and ctx.layer.merge_mode is None
    return forward.class_name in IN_BIDIRECTIONAL and mirrored(forward, backward) and not twice


def _merging(mode: str) -> dict[str, Any]:
    return {"axis": -1} if mode == "concat" else {}


def _one_way(
    ctx: RewriteContext, layer: LayerSpec, part: str, states: Sequence[KerasTensor]
) -> tuple[KerasTensor, ...]:
    frozen = layer.config.get("trainable") is False
    y = ctx.call_layer(
        layer.class_name,
        [ctx.x],
        layer.config,
        part=part,
        weights=layer.weights,
        children=layer.children,
        frozen=frozen,
        initial_state=states,
    )
    return own_outputs(ctx, y, layer)


def own_outputs(
    ctx: RewriteContext, first: KerasTensor, layer: LayerSpec
) -> tuple[KerasTensor, ...]:
    """All outputs of a layer that `add` called, as distinct tensors in TF.js; see `one_tensor`."""
    outputs = list(ctx.outputs(first))
    for state, output in one_tensor(layer).items():
        outputs[state] = ctx.add("Activation", outputs[output], part="state", activation="linear")
    return tuple(outputs)


LONGEST = 1024
"""How many time steps a matrix may reverse; with 1024 steps it has 4 MB."""


def reversed_in_time(ctx: RewriteContext, x: KerasTensor) -> KerasTensor:
    """Reverse the time axis with a matrix, or a long one with a SimpleRNN that runs backwards.

    The SimpleRNN returns its input: its kernel is the identity, and its recurrent kernel is zero.
    """
    _, time, *rest = ctx.shape_of(x)
    if time is not None and time <= LONGEST:
        return linear_map(ctx, x, selection(time, np.arange(time)[::-1]), 1, part="turned")
    if len(rest) != 1 or rest[0] is None:
        raise Refusal("", "it reverses a sequence of images of unknown length")
    reserve(rest[0], rest[0], itemsize=16)
    weights = constant(np.eye(rest[0])), constant(np.zeros((rest[0], rest[0])))
    return ctx.add(
        "SimpleRNN",
        x,
        part="turned",
        weights=weights,
        frozen=True,
        units=rest[0],
        activation="linear",
        use_bias=False,
        go_backwards=True,
        return_sequences=True,
    )


def time_distributed(ctx: RewriteContext) -> KerasTensor | None:
    """TimeDistributed around the rewritten inner layer, or the inner layer alone if equal."""
    inner = ctx.spec.children["layer"]
    if isinstance(inner, KerasModel) or ctx.masked:
        return None
    batch, _, *step = ctx.shape
    rewritten = ctx.rewriter.inside(inner, (batch, *step))
    if rewritten is None:
        return None
    if traits_of(inner).pointwise:
        frozen = inner.config.get("trainable") is False
        return ctx.call_layer(
            inner.class_name,
            [ctx.x],
            inner.config,
            part=inner.name,
            weights=inner.weights,
            frozen=frozen,
        )
    return ctx.call_layer(
        "TimeDistributed", [ctx.x], {"layer": ctx.layer.layer}, children={"layer": rewritten}
    )
