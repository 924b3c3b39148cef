"""Recurrent layers, their cells, and what wraps them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers
from tests.cases.case import Case, chain, no_layers_model, one

SERIES = (5, 3)
FILM = (4, 6, 5, 2)
Made = Callable[..., Any]


def gru(units: int, **options: Any) -> layers.GRU:
    """A GRU as TF.js knows it."""
    return layers.GRU(units, reset_after=False, **options)


KINDS: tuple[tuple[str, Made], ...] = (
    ("simple_rnn", layers.SimpleRNN),
    ("lstm", layers.LSTM),
    ("gru", gru),
    ("gru_reset_after", layers.GRU),
)
RESET = "applies the reset gate before the matrix product"
SIGMOID = "clip(0.2·x + 0.5, 0, 1)"


def needs(name: str) -> dict[str, str]:
    """Why a row of that name needs the companion."""
    return {"companion": RESET} if "reset_after" in name else {}


def plain() -> Iterator[Case]:
    """Each recurrent layer with each option."""
    for name, layer in KINDS:
        why = needs(name)
        yield one(name, SERIES, layer, 4, **why)
        yield one(f"{name}_one_unit_one_step", (1, 1), layer, 1, **why)
        yield one(f"{name}_unknown_length", (None, 3), layer, 4, **why)
        yield one(f"{name}_sequences", SERIES, layer, 4, return_sequences=True, **why)
        yield one(f"{name}_state", SERIES, layer, 4, return_state=True, **why)
        yield one(
            f"{name}_sequences_state",
            SERIES,
            layer,
            4,
            return_sequences=True,
            return_state=True,
            **why,
        )
        yield one(f"{name}_backwards", SERIES, layer, 4, go_backwards=True, **why)
        yield one(
            f"{name}_backwards_sequences",
            SERIES,
            layer,
            4,
            go_backwards=True,
            return_sequences=True,
            **why,
        )
        yield one(
            f"{name}_backwards_state", SERIES, layer, 4, go_backwards=True, return_state=True, **why
        )
        yield one(f"{name}_unrolled", SERIES, layer, 4, unroll=True, **why)
        yield one(f"{name}_without_bias", SERIES, layer, 4, use_bias=False, **why)
        yield one(
            f"{name}_dropout", SERIES, layer, 4, dropout=0.5, recurrent_dropout=0.25, seed=7, **why
        )
        yield one(
            f"{name}_zero_output_without_mask", SERIES, layer, 4, zero_output_for_mask=True, **why
        )
        yield Case(f"{name}_stateful", lambda layer=layer: stateful(layer), **why)
        yield Case(
            f"{name}_stateful_sequences",
            lambda layer=layer: stateful(layer, return_sequences=True),
            **why,
        )
        yield Case(
            f"{name}_stateful_state", lambda layer=layer: stateful(layer, return_state=True),
            refused=no_layers_model("once per output"),
        )  # fmt: skip
    yield one("lstm_unit_forget_bias", SERIES, layers.LSTM, 4, unit_forget_bias=False)


def options_in_order() -> Iterator[Case]:
    """Activations that ONNX gives an alpha, and of which one has a beta as well, in both orders."""
    for kind, layer in KINDS[1:]:
        for first, second in (("elu", "hard_sigmoid"), ("hard_sigmoid", "elu")):
            name = f"{kind}_{first}_at_gates_and_{second}"
            reason = needs(name).get("companion", SIGMOID if second == "hard_sigmoid" else "")
            yield one(
                name,
                SERIES,
                layer,
                4,
                recurrent_activation=first,
                activation=second,
                companion=reason,
            )


def stateful(layer: Made, **options: Any) -> keras.Model:
    """A layer that begins where the last batch left it."""
    x = layers.Input(SERIES, batch_size=2)
    return keras.Model(x, layer(4, stateful=True, **options)(x))


CELLS: tuple[tuple[str, Made], ...] = (
    ("simple_rnn_cell", layers.SimpleRNNCell),
    ("lstm_cell", layers.LSTMCell),
    ("gru_cell", lambda units, **options: layers.GRUCell(units, reset_after=False, **options)),
    ("gru_cell_reset_after", layers.GRUCell),
)


def cells() -> Iterator[Case]:
    """Cells, alone and stacked."""
    for name, cell in CELLS:
        why = needs(name)
        covers = ("RNN", cell.__name__) if isinstance(cell, type) else ()
        yield one(
            f"rnn_{name}", SERIES, lambda cell=cell: layers.RNN(cell(4)), covers=covers, **why
        )
        yield one(
            f"rnn_{name}_sequences",
            SERIES,
            lambda cell=cell: layers.RNN(cell(4), return_sequences=True),
            **why,
        )
        yield one(
            f"rnn_{name}_backwards",
            SERIES,
            lambda cell=cell: layers.RNN(cell(4), go_backwards=True),
            **why,
        )
        yield one(
            f"rnn_{name}_unrolled",
            SERIES,
            lambda cell=cell: layers.RNN(cell(4), unroll=True),
            **why,
        )
        yield one(
            f"rnn_{name}_relu",
            SERIES,
            lambda cell=cell: layers.RNN(cell(4, activation="relu", use_bias=False)),
            **why,
        )
        yield one(
            f"rnn_{name}_dropout",
            SERIES,
            lambda cell=cell: layers.RNN(cell(4, dropout=0.5, recurrent_dropout=0.5)),
            **why,
        )
        yield one(
            f"rnn_{name}_state",
            SERIES,
            lambda cell=cell: layers.RNN(cell(4), return_state=True),
            **why,
        )
        yield Case(
            f"rnn_{name}_stateful",
            lambda cell=cell: stateful(lambda units, **o: layers.RNN(cell(units), **o)),
            **why,
        )
    yield one(
        "rnn_lstm_cell_recurrent_relu6",
        SERIES,
        lambda: layers.RNN(layers.LSTMCell(4, recurrent_activation="relu6")),
    )
    yield one(
        "rnn_lstm_cell_hard_sigmoid", SERIES,
        lambda: layers.RNN(layers.LSTMCell(4, recurrent_activation="hard_sigmoid")),
    )  # fmt: skip
    for sequences, backwards in itertools.product((False, True), repeat=2):
        row = f"rnn_stacked{'_sequences' * sequences}{'_backwards' * backwards}"
        options = {"return_sequences": sequences, "go_backwards": backwards}
        covers = ("RNN", "StackedRNNCells")
        yield one(
            row, SERIES, lambda options=options: layers.RNN(stack(), **options), covers=covers
        )
    yield one("stacked_rnn_cells", SERIES, lambda: layers.RNN(layers.StackedRNNCells(stack())))
    yield one("rnn_stacked_unknown_length", (None, 3), lambda: layers.RNN(stack()))
    yield one("rnn_stacked_state", SERIES, lambda: layers.RNN(stack(), return_state=True))
    yield one(
        "rnn_stack_with_reset_after",
        SERIES,
        lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(2)]),
        companion=RESET,
    )
    yield Case(
        "rnn_stacked_stateful",
        lambda: stateful(lambda _, **options: layers.RNN(stack(), **options)),
    )


def stack() -> list[Any]:
    """Cells of every kind and of different sizes."""
    return [
        layers.LSTMCell(4),
        layers.GRUCell(2, reset_after=False),
        layers.SimpleRNNCell(3),
        layers.LSTMCell(5),
    ]


def films() -> Iterator[Case]:
    """ConvLSTM2D with each option."""
    options: tuple[tuple[str, dict[str, Any]], ...] = (
        ("", {}),
        ("_same", {"padding": "same"}),
        ("_strided", {"strides": (2, 1)}),
        ("_strided_same", {"strides": 2, "padding": "same"}),
        ("_dilated", {"dilation_rate": (2, 1)}),
        ("_without_bias", {"use_bias": False}),
        ("_sequences", {"return_sequences": True}),
        ("_state", {"return_state": True}),
        ("_sequences_state", {"return_state": True, "return_sequences": True}),
        ("_backwards", {"go_backwards": True}),
        ("_backwards_sequences", {"go_backwards": True, "return_sequences": True}),
        ("_dropout", {"dropout": 0.5, "recurrent_dropout": 0.5}),
    )
    for suffix, each in options:
        yield one(f"conv_lstm2d{suffix}", FILM, layers.ConvLSTM2D, 3, (3, 2), **each)
    yield one("conv_lstm2d_unknown_length", (None, 6, 5, 2), layers.ConvLSTM2D, 3, 2)
    yield one(
        "conv_lstm2d_channels_first",
        (4, 2, 6, 5),
        layers.ConvLSTM2D,
        3,
        2,
        data_format="channels_first",
    )
    yield one(
        "conv_lstm2d_hard_sigmoid",
        FILM,
        layers.ConvLSTM2D,
        3,
        2,
        recurrent_activation="hard_sigmoid",
    )
    yield Case("conv_lstm2d_stateful", stateful_film)


def stateful_film() -> keras.Model:
    """A ConvLSTM2D that begins where the last batch left it."""
    x = layers.Input(FILM, batch_size=2)
    return keras.Model(x, layers.ConvLSTM2D(3, 2, stateful=True)(x))


def both_ways(layer: Made, merge_mode: str | None = "concat", **options: Any) -> Any:
    """Bidirectional around a layer of four units."""
    return layers.Bidirectional(layer(4, **options), merge_mode=merge_mode)


BIDIRECTIONAL = ("Bidirectional",)


def bidirectional() -> Iterator[Case]:
    """Each way of merging, around each layer."""
    for (name, layer), merge_mode in itertools.product(
        KINDS, ("concat", "sum", "mul", "ave", None)
    ):
        row, why = f"bidirectional_{name}_{merge_mode or 'unmerged'}", needs(name)
        yield one(row, SERIES, both_ways, layer, merge_mode, **why)
        yield one(
            f"{row}_sequences",
            SERIES,
            both_ways,
            layer,
            merge_mode,
            return_sequences=True,
            covers=BIDIRECTIONAL,
            **why,
        )
        if merge_mode in ("concat", "sum"):
            yield one(
                f"{row}_state",
                SERIES,
                both_ways,
                layer,
                merge_mode,
                return_sequences=True,
                return_state=True,
                **why,
            )
    yield one(
        "bidirectional_unmerged_state", SERIES, both_ways, layers.LSTM, None, return_state=True
    )
    yield one(
        "bidirectional_unknown_length", (None, 3), both_ways, layers.LSTM, return_sequences=True
    )
    yield one("bidirectional_backwards", SERIES, turned)
    yield one("bidirectional_without_bias", SERIES, both_ways, layers.LSTM, use_bias=False)
    yield one(
        "bidirectional_relu",
        SERIES,
        both_ways,
        layers.LSTM,
        activation="relu",
        recurrent_activation="relu6",
    )
    yield one("bidirectional_named", SERIES, both_ways, layers.LSTM, name="both ways")
    yield one(
        "bidirectional_named_forward", SERIES, both_ways, layers.LSTM, name="forward_forward_x"
    )
    yield one("bidirectional_gru_reset_after", SERIES, both_ways, layers.GRU, companion=RESET)
    yield one(
        "bidirectional_gru_reset_after_hard_sigmoid",
        SERIES,
        both_ways,
        layers.GRU,
        return_sequences=True,
        activation="squareplus",
        recurrent_activation="hard_sigmoid",
        use_bias=False,
        companion=SIGMOID,
    )
    yield one("bidirectional_mirrored", SERIES, with_backward, layers.LSTM, units=4)
    yield one("bidirectional_of_other_size", SERIES, with_backward, layers.LSTM, units=2)
    yield one("bidirectional_of_other_kind", SERIES, with_backward, gru, units=4)
    yield one(
        "bidirectional_rnn",
        SERIES,
        lambda: layers.Bidirectional(layers.RNN(layers.LSTMCell(4))),
    )
    yield one(
        "bidirectional_conv_lstm2d", FILM, lambda: layers.Bidirectional(layers.ConvLSTM2D(3, 2))
    )
    yield Case("bidirectional_stateful", lambda: stateful(both_ways_units))
    yield Case(
        "bidirectional_gru_reset_after_stateful",
        lambda: stateful(partial(both_ways_units, layer=layers.GRU)),
        companion=RESET,
    )
    yield Case(
        "bidirectional_stateful_unmerged",
        lambda: stateful(lambda *args, **options: both_ways(layers.LSTM, None, **options)),
    )
    yield Case("bidirectional_initial_state", bidirectional_initial_state)
    yield Case(
        "bidirectional_gru_reset_after_initial_state",
        bidirectional_gru_initial_state,
        companion=RESET,
    )
    yield Case("bidirectional_twice", bidirectional_twice)


def with_backward(backward: Made, *, units: int) -> Any:
    """Bidirectional with a backward layer of the user's making."""
    return layers.Bidirectional(layers.LSTM(4), backward_layer=backward(units, go_backwards=True))


def turned() -> Any:
    """Bidirectional whose forward layer goes backwards."""
    forward = layers.LSTM(4, go_backwards=True, return_sequences=True)
    return layers.Bidirectional(forward, backward_layer=layers.LSTM(4, return_sequences=True))


def both_ways_units(units: int, layer: Made = layers.LSTM, **options: Any) -> Any:
    return layers.Bidirectional(layer(units, **options))


def bidirectional_initial_state() -> keras.Model:
    """States of the one are the first of the other."""
    x, y = layers.Input(SERIES), layers.Input((4, 2))
    _, *states = layers.Bidirectional(layers.LSTM(4, return_state=True))(x)
    out = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(y, initial_state=states)
    return keras.Model([x, y], out)


def bidirectional_gru_initial_state() -> keras.Model:
    """The same of GRUs, which have one state."""
    x, y = layers.Input(SERIES), layers.Input((4, 2))
    _, *states = layers.Bidirectional(layers.GRU(4, return_state=True))(x)
    out = layers.Bidirectional(layers.GRU(4, return_sequences=True))(y, initial_state=states)
    return keras.Model([x, y], out)


def bidirectional_twice() -> keras.Model:
    """One shared by two inputs of different length."""
    x, y = layers.Input((5, 3)), layers.Input((2, 3))
    shared = layers.Bidirectional(layers.LSTM(4))
    return keras.Model([x, y], layers.Concatenate()([shared(x), shared(y)]))


def each(make: Callable[[], Any]) -> Any:
    """TimeDistributed around what `make` makes."""
    return layers.TimeDistributed(make())


def inner_functional() -> keras.Model:
    """A model with a branch, to be applied to each step."""
    x = layers.Input((3,))
    y = layers.Dense(4, activation="tanh")(x)
    return keras.Model(x, layers.Concatenate()([layers.Dense(2)(y), x]))


def inner_sequential() -> keras.Model:
    """A chain, to be applied to each step."""
    return keras.Sequential(
        [layers.Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(2)]
    )


def inner_nested() -> keras.Model:
    """A model that holds one."""
    x = layers.Input((3,))
    return keras.Model(x, layers.Dense(2)(inner_sequential()(x)))


TIME_DISTRIBUTED = (
    one(
        "time_distributed_dense",
        SERIES,
        each,
        lambda: layers.Dense(4, activation="softmax"),
        covers=("TimeDistributed",),
    ),
    one("time_distributed_dense_unknown_length", (None, 3), each, lambda: layers.Dense(4)),
    one(
        "time_distributed_dense_rank_4", (4, 2, 3), each, lambda: layers.Dense(4, activation="relu")
    ),
    one("time_distributed_conv2d", FILM, each, lambda: layers.Conv2D(3, 2, activation="relu")),
    one("time_distributed_depthwise", FILM, each, lambda: layers.DepthwiseConv2D(2)),
    one("time_distributed_pooling", FILM, each, lambda: layers.MaxPooling2D(2)),
    one("time_distributed_global_pooling", FILM, each, layers.GlobalAveragePooling2D),
    one("time_distributed_flatten", FILM, each, layers.Flatten),
    one("time_distributed_flatten_flat", SERIES, each, layers.Flatten),
    one("time_distributed_reshape", (4, 6), each, lambda: layers.Reshape((2, 3))),
    one("time_distributed_batch_normalization", SERIES, each, layers.BatchNormalization),
    one("time_distributed_batch_normalization_rank_5", FILM, each, layers.BatchNormalization),
    one("time_distributed_layer_normalization", FILM, each, layers.LayerNormalization),
    one("time_distributed_activation", SERIES, each, lambda: layers.Activation("gelu")),
    one("time_distributed_dropout", SERIES, each, lambda: layers.Dropout(0.5)),
    one("time_distributed_identity", SERIES, each, layers.Identity),
    one("time_distributed_lstm", (2, 5, 3), each, lambda: layers.LSTM(4)),
    one(
        "time_distributed_lstm_sequences",
        (2, 5, 3),
        each,
        lambda: layers.LSTM(4, return_sequences=True),
    ),
    one(
        "time_distributed_bidirectional",
        (2, 5, 3),
        each,
        lambda: layers.Bidirectional(layers.LSTM(4)),
    ),
    one(
        "time_distributed_gru_reset_after",
        (2, 5, 3),
        each,
        lambda: layers.GRU(4, return_sequences=True),
        companion=RESET,
    ),
    one(
        "time_distributed_bidirectional_gru_reset_after",
        (2, 5, 3),
        each,
        lambda: layers.Bidirectional(layers.GRU(4)),
        companion=RESET,
    ),
    one(
        "time_distributed_time_distributed",
        (2, 5, 3),
        each,
        lambda: layers.TimeDistributed(layers.Dense(4)),
    ),
    one("time_distributed_functional", SERIES, each, inner_functional),
    one("time_distributed_sequential", SERIES, each, inner_sequential),
    one("time_distributed_nested", SERIES, each, inner_nested),
    one("time_distributed_embedding", (4, 2), each, lambda: layers.Embedding(9, 3), of="int32"),
    one(
        "time_distributed_hard_sigmoid",
        SERIES,
        each,
        lambda: layers.Dense(4, activation="hard_sigmoid"),
    ),
    one("time_distributed_max_pooling3d", (2, 4, 4, 4, 1), each, layers.MaxPooling3D),
    one("time_distributed_lambda", SERIES, each, lambda: layers.Lambda(abs), refused="Python code"),
    chain(
        "time_distributed_then_lstm",
        SERIES,
        lambda: each(lambda: layers.Dense(4)),
        lambda: layers.LSTM(2),
    ),
)


# ---------------------------------------------------------------------------------- several of them


def encoder_decoder() -> keras.Model:
    """The decoder begins with the states of the encoder."""
    source, target = layers.Input((5, 3), name="source"), layers.Input((4, 2), name="target")
    _, h, c = layers.LSTM(4, return_state=True)(source)
    decoded, _, _ = layers.LSTM(4, return_sequences=True, return_state=True)(
        target, initial_state=[h, c]
    )
    return keras.Model([source, target], layers.Dense(6, activation="softmax")(decoded))


def encoder_decoder_gru() -> keras.Model:
    """The same with one state."""
    source, target = layers.Input((5, 3)), layers.Input((4, 2))
    _, h = gru(4, return_state=True)(source)
    return keras.Model([source, target], gru(4, return_sequences=True)(target, initial_state=h))


def encoder_decoder_gru_reset_after() -> keras.Model:
    """The same with GRUs as Keras makes them."""
    source, target = layers.Input((5, 3)), layers.Input((4, 2))
    _, h = layers.GRU(4, return_state=True)(source)
    return keras.Model(
        [source, target], layers.GRU(4, return_sequences=True)(target, initial_state=h)
    )


def gru_state_from_outside() -> keras.Model:
    """A state that the user feeds, and the one that comes of it."""
    x, h = layers.Input((1, 3)), layers.Input((4,))
    return keras.Model([x, h], layers.GRU(4, return_state=True)(x, initial_state=h))


def shared_gru() -> keras.Model:
    """One layer on two series, the second time from the state of the first."""
    x, y = layers.Input((5, 3)), layers.Input((2, 3))
    gru = layers.GRU(4, return_state=True)
    _, h = gru(x)
    return keras.Model([x, y], gru(y, initial_state=h)[0])


def nested_gru() -> keras.Model:
    """One inside a model inside a model, and one of the same name outside."""
    x = layers.Input(SERIES)
    inner = keras.Sequential(
        [layers.Input(SERIES), layers.GRU(4, return_sequences=True, name="memory")]
    )
    middle = keras.Model(x, layers.Dense(3)(inner(x)))
    y = layers.Input(SERIES)
    return keras.Model(y, layers.GRU(2, name="memory")(middle(y)))


def states_from_outside() -> keras.Model:
    """States that the user feeds, as at decoding step by step."""
    x, h, c = layers.Input((1, 3)), layers.Input((4,)), layers.Input((4,))
    return keras.Model([x, h, c], layers.LSTM(4, return_state=True)(x, initial_state=[h, c]))


def two_after_a_state() -> keras.Model:
    """TF.js must not hand the initial state of the first to the second."""
    x, h, c = layers.Input(SERIES), layers.Input((4,)), layers.Input((4,))
    y = layers.LSTM(4, return_sequences=True)(x, initial_state=[h, c])
    return keras.Model([x, h, c], layers.LSTM(2)(layers.LSTM(3, return_sequences=True)(y)))


def a_state_in_a_nested_model() -> keras.Model:
    """An initial state inside a nested model, then another layer inside and one outside."""
    inner = two_after_a_state()
    x, h, c = layers.Input(SERIES), layers.Input((4,)), layers.Input((4,))
    return keras.Model([x, h, c], [inner([x, h, c]), layers.LSTM(4)(x)])


def conv_lstm_state() -> keras.Model:
    """A ConvLSTM2D that begins with the states of another."""
    x, y = layers.Input(FILM), layers.Input(FILM)
    _, h, c = layers.ConvLSTM2D(3, 2, padding="same", return_state=True)(x)
    return keras.Model([x, y], layers.ConvLSTM2D(3, 2, padding="same")(y, initial_state=[h, c]))


def rnn_cell_state() -> keras.Model:
    """A generic RNN with an initial state."""
    x, h = layers.Input(SERIES), layers.Input((4,))
    return keras.Model([x, h], layers.RNN(layers.SimpleRNNCell(4))(x, initial_state=h))


def shared_lstm() -> keras.Model:
    """One layer on two series, the second time from the states of the first."""
    x, y = layers.Input((5, 3)), layers.Input((2, 3))
    lstm = layers.LSTM(4, return_state=True)
    _, h, c = lstm(x)
    return keras.Model([x, y], lstm(y, initial_state=[h, c])[0])


def only_the_cell_state() -> keras.Model:
    """Of three outputs only the last is used."""
    x = layers.Input(SERIES)
    return keras.Model(x, layers.Dense(2)(layers.LSTM(4, return_state=True)(x)[2]))


def one_tensor_as_all_states() -> keras.Model:
    """TF.js counts a tensor once that a layer is given several times."""
    x, y = layers.Input(SERIES), layers.Input((4,))
    made = layers.Bidirectional(layers.RNN(layers.LSTMCell(4), return_state=True))(
        x, initial_state=[y] * 4
    )
    return keras.Model([x, y], made[:2])


def state_of_one_sample() -> keras.Model:
    """A constant that every sample begins with."""
    x = layers.Input(SERIES)
    states = [np.linspace(-1, 1, 4, dtype="float32")[None]] * 2
    unrolled = layers.LSTM(
        4, return_sequences=True, unroll=True
    )  # JAX makes no loop of states that grow
    return keras.Model(x, unrolled(x, initial_state=states))


SEVERAL = (
    Case("one_tensor_as_all_states", one_tensor_as_all_states),
    Case(
        "state_of_one_sample", state_of_one_sample, refused=no_layers_model("called on a constant")
    ),
    Case("encoder_decoder", encoder_decoder),
    Case("encoder_decoder_gru", encoder_decoder_gru),
    Case("encoder_decoder_gru_reset_after", encoder_decoder_gru_reset_after, companion=RESET),
    Case("gru_state_from_outside", gru_state_from_outside, companion=RESET),
    Case("shared_gru", shared_gru, companion=RESET),
    Case("nested_gru", nested_gru, companion=RESET),
    Case("states_from_outside", states_from_outside),
    Case("two_after_a_state", two_after_a_state),
    Case(
        "a_state_in_a_nested_model",
        a_state_in_a_nested_model,
        refused=no_layers_model("initial state"),
    ),
    Case("conv_lstm_state", conv_lstm_state, refused=no_layers_model("initial_state=")),
    Case("rnn_cell_state", rnn_cell_state),
    Case("shared_lstm", shared_lstm),
    Case("only_the_cell_state", only_the_cell_state),
    chain(
        "stacked_lstm",
        SERIES,
        lambda: layers.LSTM(4, return_sequences=True),
        lambda: layers.LSTM(2),
    ),
    chain(
        "lstm_after_conv",
        (9, 3),
        lambda: layers.Conv1D(4, 3),
        lambda: layers.MaxPooling1D(2),
        lambda: layers.LSTM(3),
    ),
)

CASES = (
    *plain(),
    *options_in_order(),
    *cells(),
    *films(),
    *bidirectional(),
    *TIME_DISTRIBUTED,
    *SEVERAL,
)
