"""The lowering of recurrent layers and their wrappers computes as Keras does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from tests import onnx_runtime
from tests.cases.case import Case, chain, one
from tests.cases.trial import Trial, quiet
from tests.lowered import agrees

import kerasport
from kerasport.errors import UnsupportedModel
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.read import read
from kerasport.ir.ops import Constant, Scan, Slice
from kerasport.passes.loop import unroll
from kerasport.targets.onnx.recurrent import native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cases.case import Array

SERIES, OPEN = (5, 3), (None, 3)
FILMS = {1: (4, 7, 2), 2: (4, 5, 6, 2), 3: (3, 4, 5, 3, 2)}
KINDS: dict[str, Callable[..., Any]] = {
    "simple": layers.SimpleRNN,
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "gru_before": lambda *args, **options: layers.GRU(*args, reset_after=False, **options),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "last": {},
    "sequences": {"return_sequences": True},
    "state": {"return_state": True},
    "both": {"return_sequences": True, "return_state": True},
    "backwards": {"go_backwards": True},
    "backwards_both": {"go_backwards": True, "return_sequences": True, "return_state": True},
    "zeros": {"zero_output_for_mask": True},
    "zeros_both": {"zero_output_for_mask": True, "return_sequences": True, "return_state": True},
    "zeros_backwards": {"zero_output_for_mask": True, "go_backwards": True, "return_state": True},
}


def masked(shape: tuple[int | None, ...], make: Callable[[], Any]) -> Callable[[], keras.Model]:
    """A model of a layer behind a Masking."""

    def build() -> keras.Model:
        x = layers.Input(shape)
        return keras.Model(x, make()(layers.Masking()(x)))

    return build


def plain() -> Iterator[Case]:
    """Each layer with each option, with and without masks, with known and unknown length."""
    for kind, make in KINDS.items():
        for name, options in OPTIONS.items():
            if "zeros" not in name and kind == "lstm":
                yield one(f"{kind}_{name}", SERIES, make, 4, **options)
            shape = OPEN if name in ("both", "zeros_backwards") else SERIES
            yield Case(f"{kind}_{name}_masked", masked(shape, partial(make, 4, **options)))
        yield one(f"{kind}_open", OPEN, make, 4)
        yield one(f"{kind}_no_bias", SERIES, make, 4, use_bias=False)
        yield one(f"{kind}_softmax", SERIES, make, 4, activation="softmax")
    yield one("lstm_one_step", (1, 3), layers.LSTM, 4, return_sequences=True)
    yield one("gru_one_unit", (5, 1), layers.GRU, 1)
    yield one("lstm_dropout", SERIES, layers.LSTM, 4, dropout=0.3, recurrent_dropout=0.2)
    yield one("gru_unrolled", SERIES, layers.GRU, 4, unroll=True, return_sequences=True)
    for kind in ("lstm", "gru", "gru_before"):
        for name in ("hard_sigmoid", "softmax"):
            yield one(f"{kind}_recurrent_{name}", SERIES, KINDS[kind], 4, recurrent_activation=name)
    yield one("lstm_activation_object", SERIES, layers.LSTM, 4, activation=layers.LeakyReLU(0.1))
    yield Case("lstm_of_embedded", embedded)
    yield Case("lstm_with_its_own_mask", own_mask)
    yield Case("lstm_with_a_mask_of_features", partial(own_mask, rank=3))


def embedded() -> keras.Model:
    """Two, the second of which sees the mask that the first hands on."""
    x = layers.Input((6,), dtype="int32")
    y = layers.Embedding(9, 3, mask_zero=True)(x)
    y = layers.LSTM(4, return_sequences=True)(layers.Dropout(0.2)(y))
    return keras.Model(x, [y, layers.GRU(2, go_backwards=True)(y)])


def own_mask(rank: int = 2) -> keras.Model:
    """A mask that the model computes itself."""
    x = layers.Input(SERIES)
    mask = ops.greater(x[..., 0] if rank == 2 else x, 0.0)
    return keras.Model(x, layers.LSTM(4, return_sequences=True)(x, mask=mask))


def cells() -> Iterator[Case]:
    """RNN of each cell, and of stacked ones."""
    for cell in (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell):
        for name in ("last", "zeros_both"):
            yield Case(
                f"rnn_{cell.__name__}_{name}",
                masked(SERIES, partial(run, partial(cell, 4), **OPTIONS[name])),
            )
    yield one("rnn_gru_before", SERIES, lambda: layers.RNN(layers.GRUCell(4, reset_after=False)))
    for name, options in OPTIONS.items():
        yield Case(f"stacked_{name}_masked", masked(SERIES, partial(run, stack, **options)))
        if name in ("last", "backwards_both"):
            yield one(f"stacked_{name}", OPEN, partial(run, stack, **options))
    yield one(
        "stacked_listed", SERIES, lambda: layers.RNN([layers.GRUCell(2), layers.SimpleRNNCell(3)])
    )
    yield Case("stacked_simple_masked", masked(SERIES, simple_stack))
    yield one(
        "stacked_both_ways",
        SERIES,
        lambda: layers.Bidirectional(layers.RNN(stack(), return_state=True)),
    )
    yield Case("stacked_initial_state", stacked_initial_state)


def stack() -> Any:
    """Cells of different kind and size."""
    return layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(2), layers.LSTMCell(3)])


def run(cell: Callable[[], Any], **options: Any) -> Any:
    """A new cell, run over time."""
    return layers.RNN(cell(), **options)


def simple_stack() -> Any:
    """Cells of one state and size each."""
    return layers.RNN([layers.SimpleRNNCell(3), layers.SimpleRNNCell(3)], return_sequences=True)


def stacked_initial_state() -> keras.Model:
    """The states of each cell by themselves."""
    x, states = layers.Input(SERIES), [layers.Input((n,)) for n in (4, 4, 2, 3, 3)]
    nested = [states[:2], states[2:3], states[3:]]
    return keras.Model(
        [x, *states], layers.RNN(stack(), return_state=True)(x, initial_state=nested)
    )


def films() -> Iterator[Case]:
    """Convolutional ones."""
    kinds = {1: layers.ConvLSTM1D, 2: layers.ConvLSTM2D, 3: layers.ConvLSTM3D}
    for rank, make in kinds.items():
        shape = FILMS[rank]
        first = (shape[0], shape[-1], *shape[1:-1])
        for name, padding in (("last", "valid"), ("both", "same"), ("backwards_both", "valid")):
            options = {**OPTIONS[name], "padding": padding}
            yield one(f"conv_lstm{rank}d_{name}_{padding}", shape, make, 2, 2, **options)
        for name in ("last", "backwards_both"):
            options = {**OPTIONS[name], "data_format": "channels_first"}
            yield one(f"conv_lstm{rank}d_{name}_first", first, make, 2, 2, **options)
        yield one(f"conv_lstm{rank}d_strides", shape, make, 2, 3, strides=2, padding="same")
        yield one(f"conv_lstm{rank}d_dilated", shape, make, 2, 2, dilation_rate=2, padding="same")
        yield one(f"conv_lstm{rank}d_no_bias", shape, make, 2, 2, use_bias=False)
        # Keras on JAX spreads masks over images only where it unrolls
        yield Case(f"conv_lstm{rank}d_masked", film_masked(shape, make))
        yield one(f"conv_lstm{rank}d_both_ways", shape, partial(both_ways_of, make, 2, 2))
    yield one(
        "conv_lstm2d_open",
        (None, *FILMS[2][1:]),
        layers.ConvLSTM2D,
        2,
        (3, 2),
        return_sequences=True,
    )
    yield one("conv_lstm2d_softmax", FILMS[2], layers.ConvLSTM2D, 2, 2, activation="softmax")
    for option in ("activation", "recurrent_activation"):
        options = {"data_format": "channels_first", option: "softmax"}
        yield one(f"conv_lstm2d_first_{option}", (4, 2, 5, 6), layers.ConvLSTM2D, 2, 2, **options)
    yield Case("conv_lstm2d_initial_state", conv_initial_state)
    yield Case(
        "conv_lstm2d_initial_state_first", partial(conv_initial_state, data_format="channels_first")
    )
    yield one(
        "conv_lstm2d_twice",
        FILMS[2],
        lambda: both_ways(layers.ConvLSTM2D(2, 2, return_sequences=True)),
    )


def both_ways(layer: Any, **options: Any) -> Any:
    return layers.Bidirectional(layer, **options)


def both_ways_of(
    make: Callable[..., Any], *args: Any, merge_mode: str | None = "concat", **options: Any
) -> Any:
    """A new layer, both ways."""
    return layers.Bidirectional(make(*args, **options), merge_mode=merge_mode)


def film_masked(shape: tuple[int, ...], make: Any) -> Callable[[], keras.Model]:
    """A film with a mask of its steps."""

    def build() -> keras.Model:
        x, mask = layers.Input(shape), layers.Input((shape[0],), dtype="bool")
        made = make(2, 2, padding="same", return_sequences=True, return_state=True, unroll=True)
        return keras.Model([x, mask], made(x, mask=mask))

    return build


def conv_initial_state(**options: Any) -> keras.Model:
    """The states of one layer for the next."""
    x, y = layers.Input((4, 5, 6, 2)), layers.Input((3, 5, 6, 2))
    options |= {"padding": "same", "return_state": True}
    _, *states = layers.ConvLSTM2D(2, 2, **options)(x)
    return keras.Model([x, y], layers.ConvLSTM2D(2, 2, **options)(y, initial_state=states))


def bidirectional() -> Iterator[Case]:
    """Both ways, merged in each way."""
    for mode in ("concat", "sum", "mul", "ave", None):
        for name in ("last", "both"):
            yield Case(
                f"both_ways_{mode}_{name}_masked",
                masked(
                    SERIES, partial(both_ways_of, layers.GRU, 4, merge_mode=mode, **OPTIONS[name])
                ),
            )
    for kind, make in KINDS.items():
        yield one(f"both_ways_{kind}", OPEN, partial(both_ways_of, make, 3, return_sequences=True))
    for zeros, sequences in ((False, True), (True, True), (True, False)):
        options: dict[str, Any] = {"return_sequences": sequences, "zero_output_for_mask": zeros}
        yield Case(
            f"both_ways_zeros_{zeros}_{sequences}_masked",
            masked(OPEN, partial(both_ways_of, layers.LSTM, 3, **options)),
        )
    yield Case("both_ways_other_backward", masked(SERIES, other_backward))
    yield Case("both_ways_first_backwards", masked(SERIES, first_backwards))
    yield Case("both_ways_twice_masked", both_ways_twice)
    yield Case("both_ways_initial_state", both_ways_initial_state)
    yield Case("both_ways_initial_state_masked", partial(both_ways_initial_state, mask=True))
    yield Case("both_ways_unmerged_masked", unmerged)


def other_backward() -> Any:
    backward = layers.GRU(2, go_backwards=True, return_sequences=True)
    return both_ways(layers.LSTM(4, return_sequences=True), backward_layer=backward)


def first_backwards() -> Any:
    options = {"return_sequences": True, "return_state": True}
    return both_ways(
        layers.GRU(4, go_backwards=True, **options), backward_layer=layers.GRU(4, **options)
    )


def both_ways_twice() -> keras.Model:
    """The mask goes on behind the first."""
    x = layers.Input(SERIES)
    y = both_ways(layers.LSTM(3, return_sequences=True))(layers.Masking()(x))
    return keras.Model(x, [y, both_ways(layers.LSTM(2))(y)])


def unmerged() -> keras.Model:
    """Two outputs, each with the mask."""
    x = layers.Input(SERIES)
    made = both_ways(layers.LSTM(3, return_sequences=True), merge_mode=None)(layers.Masking()(x))
    return keras.Model(x, [layers.LSTM(2)(y) for y in made])


def both_ways_initial_state(*, mask: bool = False) -> keras.Model:
    """States from the call; Keras 3 then takes no mask from the input."""
    x, states = layers.Input(SERIES), [layers.Input((4,)) for _ in range(4)]
    made = both_ways(layers.LSTM(4, return_sequences=True, return_state=True))
    y, *_ = made(layers.Masking()(x) if mask else x, initial_state=states)
    return keras.Model([x, *states], [y, layers.LSTM(2)(y)])


def states() -> Iterator[Case]:
    """Initial states, given by name and by place."""
    for kind, make in KINDS.items():
        yield Case(f"{kind}_initial_state", partial(with_states, make, kind))
        yield Case(
            f"{kind}_initial_state_masked", partial(with_states, make, kind, mask="propagated")
        )
        yield Case(f"{kind}_initial_state_own_mask", partial(with_states, make, kind, mask="given"))
    yield Case(
        "lstm_initial_state_by_place", partial(with_states, layers.LSTM, "lstm", by_name=False)
    )
    yield Case("encoder_decoder", encoder_decoder)
    yield Case("stateful_with_states", stateful_with_states)
    yield Case("shared", shared)


def with_states(make: Any, kind: str, *, by_name: bool = True, mask: str = "") -> keras.Model:
    x, given = layers.Input(SERIES), [layers.Input((4,)) for _ in range(2 if kind == "lstm" else 1)]
    y = layers.Masking()(x) if mask else x
    # without it Keras's backends disagree on the steps before the first unmasked one
    layer = make(4, return_sequences=True, return_state=True, unroll=mask == "given")
    if by_name:
        options = {"mask": ops.any(ops.not_equal(x, 0), -1)} if mask == "given" else {}
        outputs = layer(y, initial_state=given if len(given) > 1 else given[0], **options)
    else:
        outputs = layer(y, given)
    return keras.Model([x, *given], [*outputs, layers.SimpleRNN(2)(outputs[0])])


def encoder_decoder() -> keras.Model:
    """The decoder begins with the states of the encoder."""
    x, y = layers.Input((5,), dtype="int32"), layers.Input((4,), dtype="int32")
    table = layers.Embedding(9, 3, mask_zero=True)
    _, *ends = layers.LSTM(4, return_state=True)(table(x))
    decoded, *_ = layers.LSTM(4, return_sequences=True, return_state=True)(
        table(y), initial_state=ends
    )
    return keras.Model([x, y], layers.Dense(6, activation="softmax")(decoded))


def stateful_with_states() -> keras.Model:
    """Nothing is left to remember where each call gives the states."""
    x, h = layers.Input(batch_shape=(3, 5, 3)), layers.Input(batch_shape=(3, 4))
    return keras.Model([x, h], layers.GRU(4, stateful=True)(x, initial_state=h))


def shared() -> keras.Model:
    """One layer on series of different length."""
    x, y = layers.Input((5, 3)), layers.Input((2, 3))
    lstm = layers.LSTM(4)
    return keras.Model([x, y], layers.Concatenate()([lstm(x), lstm(y)]))


def distributed() -> Iterator[Case]:
    """Layers and models on each step."""
    film, nested = (4, 5, 6, 2), (4, 5, 3)

    def each(make: Callable[[], Any]) -> Any:
        return layers.TimeDistributed(make())

    inner: dict[str, tuple[tuple[int | None, ...], Callable[[], Any]]] = {
        "dense": (SERIES, lambda: layers.Dense(4, activation="softmax")),
        "dense_open": (OPEN, lambda: layers.Dense(4)),
        "conv": (film, lambda: layers.Conv2D(3, 2)),
        "pool": (film, lambda: layers.MaxPooling2D(2)),
        "flatten": (film, layers.Flatten),
        "reshape": ((4, 6), lambda: layers.Reshape((2, 3))),
        "dropout": (SERIES, lambda: layers.Dropout(0.5)),
        "identity": (SERIES, layers.Identity),
        "batch": (film, layers.BatchNormalization),
        "layer_normalization": (film, layers.LayerNormalization),
        "lstm": (nested, lambda: layers.LSTM(4)),
        "lstm_open": ((None, 5, 3), lambda: layers.LSTM(4, return_sequences=True)),
        "lstm_wide_open": ((None, None, 3), lambda: layers.LSTM(4, return_sequences=True)),
        "both_ways": (nested, lambda: both_ways(layers.GRU(2))),
        "twice": (nested, lambda: each(lambda: layers.Dense(4))),
        "attention": (nested, self_attention),
        "model": (SERIES, inner_model),
        "sequential": (SERIES, lambda: keras.Sequential([layers.Input((3,)), layers.Dense(4)])),
        "recurrent_model": (nested, inner_recurrent),
    }
    for name, (shape, make) in inner.items():
        yield one(f"each_{name}", shape, each, make)
    for name in ("dense", "dense_open", "lstm", "both_ways", "recurrent_model", "model", "twice"):
        shape, make = inner[name]
        yield Case(f"each_{name}_masked", masked(shape, partial(each, make)))
    yield Case("each_softmax_masked", softmax_of_parts)
    yield chain(
        "each_then_lstm_masked",
        SERIES,
        layers.Masking,
        lambda: each(lambda: layers.Dense(4)),
        lambda: layers.LSTM(2),
    )


def self_attention() -> keras.Model:
    x = layers.Input((5, 3))
    return keras.Model(x, layers.MultiHeadAttention(2, 2)(x, x))


def inner_model() -> keras.Model:
    x = layers.Input((3,))
    y = layers.Dense(4, activation="tanh")(x)
    return keras.Model(x, layers.Concatenate()([layers.Dense(2)(y), x]))


def inner_recurrent() -> keras.Model:
    """A model that reads the mask that it is given."""
    x = layers.Input((5, 3))
    return keras.Model(x, layers.LSTM(2)(layers.Dense(4)(x)))


def softmax_of_parts() -> keras.Model:
    """A mask of each number."""
    x, mask = layers.Input(SERIES), layers.Input(SERIES, dtype="bool")
    return keras.Model([x, mask], layers.TimeDistributed(layers.Softmax())(x, mask=mask))


CASES = (*plain(), *cells(), *films(), *bidirectional(), *states(), *distributed())


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_the_graph_computes_what_keras_computes(case: Case, tmp_path: Path) -> None:
    agrees(case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_onnx_runtime_computes_what_keras_computes(case: Case, tmp_path: Path) -> None:
    trial = Trial(case, tmp_path)
    kerasport.convert(trial.path, tmp_path / "model.onnx")
    for expected, computed in zip(
        trial.expected, onnx_runtime.run(tmp_path / "model.onnx", trial.feeds), strict=True
    ):
        onnx_runtime.close(expected, computed, case.rtol, case.atol)


# Of each sample other steps count: all, none, the first, the last, some between, all but some, one.
MASKS = np.array(
    [
        [1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1],
        [0, 1, 0, 1, 0],
        [1, 0, 1, 1, 1],
        [0, 0, 1, 0, 0],
    ],
    bool,
)


@pytest.mark.parametrize("given", [False, True], ids=["from_zeros", "from_states"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_masked_recurrent_layers_are_one_onnx_operator(
    kind: str, option: str, given: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    count = (2 if kind == "lstm" else 1) if given else 0
    x, mask = layers.Input((None, 3)), layers.Input((None,), dtype="bool")
    states = [layers.Input((4,)) for _ in range(count)]
    outputs = KINDS[kind](4, **OPTIONS[option])(
        x, mask=mask, **({"initial_state": states} if given else {})
    )
    model = keras.Model([x, mask, *states], outputs)
    feeds = [rng.standard_normal((len(MASKS), 5, 3)).astype("float32"), MASKS]
    feeds += [rng.standard_normal((len(MASKS), 4)).astype("float32") for _ in states]
    feeds[0][~MASKS] = np.nan  # which nobody may look at
    with quiet():
        model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
        model.save(tmp_path / "model.keras")
        expected = keras.tree.flatten(model.predict(feeds, batch_size=len(MASKS), verbose=0))
    if given and not OPTIONS[option].get("zero_output_for_mask"):
        with pytest.raises(kerasport.UnsupportedModel, match="zeros on TensorFlow"):
            kerasport.convert(tmp_path / "model.keras", tmp_path / "model.onnx")
        return
    kerasport.convert(tmp_path / "model.keras", tmp_path / "model.onnx")
    assert onnx_runtime.operators(tmp_path / "model.onnx")["Scan"] == 0
    (computed,) = onnx_runtime.run(tmp_path / "model.onnx", [feeds])
    onnx_runtime.close(expected, computed, 1e-4, 1e-5)
    with read(tmp_path / "model.keras") as read_model:
        by_numpy = native(lower(read_model)).run(*feeds)
    onnx_runtime.close(expected, by_numpy, 1e-4, 1e-5)


def test_only_loops_of_few_known_steps_are_unrolled(tmp_path: Path) -> None:
    def loops(shape: tuple[int | None, ...], limit: int) -> int:
        trial = Trial(one("lstm", shape, layers.LSTM, 2, return_sequences=True), tmp_path)
        with read(trial.path) as model:
            return sum(isinstance(node, Scan) for node in unroll(lower(model), limit).nodes())

    assert loops((5, 3), 5) == 0
    assert loops((5, 3), 4) == 1
    assert loops((None, 3), 100) == 1


def test_nodes_of_an_unrolled_loop_keep_the_name_of_their_layer(tmp_path: Path) -> None:
    trial = Trial(
        one("lstm", SERIES, layers.LSTM, 2, return_sequences=True, name="memory"), tmp_path
    )
    with read(trial.path) as model:
        graph = unroll(lower(model), 10)
    assert {graph.names.get(node) for node in graph.nodes() if node not in graph.inputs} == {
        "memory"
    }


def test_loop_invariants_are_computed_once(tmp_path: Path) -> None:
    trial = Trial(one("gru", SERIES, layers.GRU, 2, reset_after=False), tmp_path)
    with read(trial.path) as model:
        nodes = list(unroll(lower(model), 10).nodes())
    assert sum(isinstance(node, Slice) and isinstance(node.x, Constant) for node in nodes) == 2


def refused(build: Callable[[], keras.Model], folder: Path) -> str:
    trial = Trial(Case("refused", build), folder)
    with read(trial.path) as model, pytest.raises(UnsupportedModel) as refusal:
        lower(model)
    return str(refusal.value)


def stateful_model() -> keras.Model:
    x = layers.Input(batch_shape=(3, 5, 3))
    return keras.Model(x, layers.LSTM(4, stateful=True)(x))


def features_masked() -> keras.Model:
    """Masks of rank 2 in a TimeDistributed of a layer that reads them."""
    x = layers.Input(SERIES)
    return keras.Model(x, layers.TimeDistributed(layers.Softmax())(layers.Masking()(x)))


def across_samples() -> keras.Model:
    x = layers.Input((4, 3))
    y = layers.Input((3,))
    inner = keras.Model(y, y - ops.mean(y, axis=0, keepdims=True))
    return keras.Model(x, layers.TimeDistributed(inner)(x))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (stateful_model, "a graph keeps no state between runs"),
        (features_masked, "has only one value per sample"),
        (across_samples, "works across the batch"),
    ],
)
def test_options_that_a_graph_does_not_support_are_refused(
    build: Callable[[], keras.Model], reason: str, tmp_path: Path
) -> None:
    assert reason in refused(build, tmp_path)


def test_keras_2_masks_layers_with_initial_states_and_starts_with_zeros(tmp_path: Path) -> None:
    trial = Trial(
        Case("states", partial(with_states, layers.LSTM, "lstm", mask="propagated")), tmp_path
    )
    x: Array = np.ones((1, 5, 3), np.float32)
    x[:, [0, 3]] = 0
    h = np.full((1, 4), 0.5, np.float32)
    with read(trial.path) as model:
        y, *_ = lower(replace(model, writer="2.15.0")).run(x, h, h)
    np.testing.assert_array_equal(y[:, 0], 0)
    np.testing.assert_array_equal(y[:, 3], y[:, 2])
    assert np.abs(y[:, 1] - y[:, 2]).max() > 0.01
