"""Normalization, preprocessing and recurrent layers that a layers-model composes of others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from tests.cases.case import Case, chain, ids, no_layers_model, one
from tests.cases.recurrent import FILM, SERIES, both_ways, each, gru, stack, stateful

IMAGE = (7, 6, 3)
VOLUME = (5, 6, 4, 3)


# ------------------------------------------------------------------------------------ normalization

NORMALIZATIONS = (
    one("batch_normalization_middle_axis", VOLUME, layers.BatchNormalization, axis=2),
    one(
        "batch_normalization_rank_5_unknown_length",
        (None, 6, 4, 3),
        layers.BatchNormalization,
        scale=False,
    ),
    one("batch_normalization_rank_6", (2, 3, 2, 4, 5), layers.BatchNormalization, axis=-3),
    one(
        "batch_normalization_first_axis_unknown_length",
        (3, None),
        layers.BatchNormalization,
        axis=1,
        center=False,
    ),
    one(
        "layer_normalization_rank_5_all_axes", VOLUME, layers.LayerNormalization, axis=[1, 2, 3, 4]
    ),
    one(
        "layer_normalization_rank_5_some_axes",
        VOLUME,
        layers.LayerNormalization,
        axis=[1, 3],
        center=False,
    ),
    one(
        "layer_normalization_rank_5_bare",
        VOLUME,
        layers.LayerNormalization,
        axis=2,
        center=False,
        scale=False,
    ),
    one("layer_normalization_rank_5_unknown_length", (None, 5, 4, 3), layers.LayerNormalization),
    one("layer_normalization_mixed_axes", IMAGE, layers.LayerNormalization, axis=[-1, 1]),
    one(
        "layer_normalization_first_axis_unknown_length",
        (3, None),
        layers.LayerNormalization,
        axis=1,
        epsilon=0.2,
    ),
    *(
        one(
            f"group_normalization_{groups}_axis_{axis}_of_{len(shape)}",
            shape,
            layers.GroupNormalization,
            groups,
            axis=axis,
        )
        for groups, (axis, shape) in itertools.product(
            (1, 2, -1),
            (
                (-1, (6, 4, 8)),
                (1, (8, 6, 4)),
                (2, (3, 8, 5)),
                (-1, (8,)),
                (-1, (5, 8)),
                (1, (8, 2, 3, 4)),
            ),
        )
        if len(shape) == 3 or groups == 2
    ),
    one("group_normalization_rank_5", (3, 2, 4, 6), layers.GroupNormalization, 3, epsilon=0.2),
    one("group_normalization_without_scale", (5, 6), layers.GroupNormalization, 3, scale=False),
    one("group_normalization_without_center", IMAGE, layers.GroupNormalization, 3, center=False),
    one("group_normalization_bare", IMAGE, layers.GroupNormalization, 3, center=False, scale=False),
    one("group_normalization_unknown_length", (None, 4), layers.GroupNormalization, 2),
    one(
        "group_normalization_unknown_size",
        (None, None, 4),
        layers.GroupNormalization,
        2,
        refused="more than one size",
    ),
    *(
        one(
            f"rms_normalization_axis_{name}",
            shape,
            layers.RMSNormalization,
            axis=axis,
            epsilon=0.01,
        )
        for name, shape, axis in (
            ("rank_2", (5,), -1),
            ("rank_3", (5, 4), -1),
            ("rank_4", (3, 4, 5), -1),
            ("rank_5", (2, 3, 4, 5), -1),
            ("first", (4, 4), 1),
            ("first_of_rank_4", (3, 4, 3), 1),
            ("last_two", (3, 4, 5), [2, 3]),
            ("unknown_length", (None, 5), -1),
        )
    ),
    one(
        "rms_normalization_along_unknown_length",
        (None, 5),
        layers.LayerNormalization,
        axis=1,
        center=False,
        scale=False,
    ),
)


# -------------------------------------------------------------------------------- dense and dropout

DENSE = (
    *(
        one(
            f"einsum_dense_{name}",
            shape,
            layers.EinsumDense,
            equation,
            output,
            bias_axes=bias,
            activation=activation,
            refused=refused,
        )
        for name, shape, equation, output, bias, activation, refused in (
            ("last_axis", (6, 4), "abc,cd->abd", (None, 3), None, None, ""),
            ("with_bias", (6, 4), "abc,cd->abd", (None, 3), "d", "relu", ""),
            ("of_any_rank", (6, 4), "...x,xy->...y", (3,), "y", None, ""),
            ("of_vectors", (4,), "ab,bc->ac", (3,), "c", "tanh", ""),
            ("to_two_axes", (6, 4), "abc,cde->abde", (None, 3, 2), "de", "relu", ""),
            ("to_two_axes_bias_of_last", (6, 4), "abc,cde->abde", (None, 3, 2), "e", None, ""),
            ("to_two_axes_bias_of_first", (6, 4), "abc,cde->abde", (None, 3, 2), "d", None, ""),
            ("of_two_axes", (6, 4, 3), "abcd,cde->abe", (None, 5), "e", "hard_silu", ""),
            ("of_unknown_length", (None, 4), "abc,cde->abde", (None, 3, 2), "de", None, ""),
            (
                "bias_of_places",
                (6, 4),
                "abc,cd->abd",
                (6, 3),
                "bd",
                None,
                "products over the last axes",
            ),
            (
                "middle_axis",
                (6, 4),
                "abc,bd->adc",
                (3, 4),
                None,
                None,
                "products over the last axes",
            ),
        )
    ),
    one("spatial_dropout2d_alone", IMAGE, layers.SpatialDropout2D, 0.5),
    one(
        "spatial_dropout2d_channels_first",
        IMAGE,
        layers.SpatialDropout2D,
        0.5,
        data_format="channels_first",
    ),
    one(
        "spatial_dropout3d_channels_first",
        VOLUME,
        layers.SpatialDropout3D,
        0.5,
        data_format="channels_first",
    ),
    one("time_distributed_spatial_dropout2d", FILM, each, lambda: layers.SpatialDropout2D(0.5)),
)


def reversible(*, tied: bool = True, cap: float | None = None) -> Callable[[], keras.Model]:
    """A table that turns indices into vectors, and vectors into scores of indices."""

    def build() -> keras.Model:
        x = layers.Input((5,), dtype="int32")
        table = layers.ReversibleEmbedding(9, 4, tie_weights=tied, logit_soft_cap=cap)
        return keras.Model(x, table(layers.Dense(4, activation="tanh")(table(x)), reverse=True))

    return build


EMBEDDINGS = (
    one("reversible_embedding", (5,), layers.ReversibleEmbedding, 9, 3, of="int32"),
    Case("reversible_embedding_reversed", reversible()),
    Case("reversible_embedding_untied", reversible(tied=False)),
    Case("reversible_embedding_capped", reversible(cap=2.0)),
)


# ------------------------------------------------------------------------------------ preprocessing


def adapted(**options: Any) -> Callable[[], keras.Model]:
    """A Normalization that learned its statistics, which stand in its weights."""

    def build() -> keras.Model:
        x = layers.Input((4, 5))
        layer = layers.Normalization(**options)
        layer.adapt(np.arange(60.0).reshape(3, 4, 5))
        return keras.Model(x, layer(x))

    return build


def count_weights() -> keras.Model:
    """Categories that count for more or less."""
    x, weights = layers.Input((5,), dtype="int32"), layers.Input((5,))
    return keras.Model([x, weights], layers.CategoryEncoding(10, "count")(x, count_weights=weights))


def far_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Numbers that differ little, compared to what they are."""
    return 5000 + rng.random(shape)


def encodings() -> Iterator[Case]:
    """Each way of encoding indices of each rank."""
    for mode in ("one_hot", "multi_hot", "count"):
        for name, shape in (
            ("", (5,)),
            ("_single", (1,)),
            ("_rank_3", (4, 3)),
            ("_unknown_length", (None,)),
        ):
            refused = "is not fixed" if mode == "count" and None in shape else ""
            yield one(
                f"category_encoding_{mode}{name}",
                shape,
                layers.CategoryEncoding,
                10,
                mode,
                of="int32",
                feed=ids(10),
                refused=refused,
            )
        yield one(
            f"category_encoding_{mode}_of_floats",
            (5,),
            layers.CategoryEncoding,
            10,
            mode,
            feed=ids(10),
        )
    yield Case(
        "category_encoding_weights",
        count_weights,
        refused=no_layers_model("TF.js does not have this layer"),
        feed=ids(10),
    )
    yield one(
        "category_encoding_many",
        (5,),
        layers.CategoryEncoding,
        2000,
        of="int32",
        feed=ids(2000),
        refused="too large",
    )


def piped() -> Any:
    """A chain of layers: most have weights, two share a class, and one is removed."""
    inner = [
        layers.Conv2D(4, 3),
        layers.Dropout(0.5),
        layers.BatchNormalization(),
        layers.Conv2D(2, (2, 1)),
    ]
    return layers.Pipeline([layers.Rescaling(0.5, 0.1), layers.Pipeline(inner), layers.PReLU()])


PREPROCESSING = (
    chain(
        "mel_spectrogram_rescaled",
        (47,),
        lambda: layers.MelSpectrogram(
            fft_length=16,
            sequence_stride=8,
            sequence_length=16,
            num_mel_bins=5,
            sampling_rate=100,
            max_freq=50,
            power_to_db=False,
        ),
        lambda: layers.Rescaling(0.1),
        refused="TF.js does not have this layer",
        rtol=1e-3,
        covers=("MelSpectrogram",),
        because="Keras works out the bands of the scale in float32",
    ),
    one("pipeline_of_weights", IMAGE, piped, covers=("Pipeline",)),
    one(
        "normalization",
        (5,),
        layers.Normalization,
        mean=[1, 2, 3, 4, 5],
        variance=[1, 2, 3, 4, 0.5],
    ),
    one(
        "normalization_inverted",
        (5,),
        layers.Normalization,
        mean=[1, 2, 3, 4, 5],
        variance=[1, 2, 3, 4, 0.5],
        invert=True,
    ),
    one("normalization_of_all", (4, 5), layers.Normalization, axis=None, mean=3.0, variance=2.0),
    one(
        "normalization_without_mean",
        (4, 5),
        layers.Normalization,
        axis=None,
        mean=0.0,
        variance=2.0,
    ),
    one(
        "normalization_first_axis",
        (4, 5),
        layers.Normalization,
        axis=1,
        mean=[1, 2, 3, 4],
        variance=[1, 2, 3, 0.1],
    ),
    one(
        "normalization_two_axes",
        (2, 3),
        layers.Normalization,
        axis=[1, 2],
        mean=[[1, 2, 3], [4, 5, 6.5]],
        variance=[[1, 2, 3], [4, 5, 6]],
    ),
    one(
        "normalization_far_from_zero",
        (2,),
        layers.Normalization,
        mean=[5000.3, 5000.7],
        variance=[0.1, 0.3],
        feed=far_from_zero,
    ),
    Case("normalization_adapted", adapted()),
    Case("normalization_adapted_inverted", adapted(axis=(1, 2), invert=True)),
    Case("normalization_adapted_of_all", adapted(axis=None)),
    *encodings(),
    one(
        "category_encoding_one_hot_scalars",
        (),
        layers.CategoryEncoding,
        10,
        "one_hot",
        of="int32",
        feed=ids(10),
    ),
    one(
        "pipeline",
        IMAGE,
        lambda: layers.Pipeline(
            [layers.Rescaling(0.5, [1, 2, 3]), layers.RandomFlip(), layers.Rescaling([2, 1, 0.5])]
        ),
    ),
)


# ---------------------------------------------------------------------------------------- recurrent

HARD = {"recurrent_activation": "hard_sigmoid"}


def stacked_state() -> keras.Model:
    """Stacked cells that begin with the states of others."""
    x, y = layers.Input((5, 3)), layers.Input((4, 3))
    _, *states = layers.RNN(stack(), return_state=True)(x)
    return keras.Model([x, y], layers.RNN(stack(), return_sequences=True)(y, initial_state=states))


def shared_stack() -> keras.Model:
    """The same cells on two series."""
    x, y = layers.Input((5, 3)), layers.Input((4, 3))
    shared = layers.RNN(stack(), return_state=True)
    _, *states = shared(x)
    return keras.Model([x, y], shared(y, initial_state=states)[:3])


def unlike(**options: Any) -> Any:
    """Both ways by layers of unlike activations."""
    return layers.Bidirectional(
        layers.LSTM(4, **options),
        backward_layer=layers.LSTM(4, activation="relu", go_backwards=True, **options),
    )


def unlike_state() -> keras.Model:
    """The states of one begin another."""
    x, y = layers.Input((5, 3)), layers.Input((4, 3))
    _, *states = unlike(return_state=True)(x)
    return keras.Model([x, y], unlike(return_sequences=True)(y, initial_state=states))


def unlike_shared() -> keras.Model:
    """One on two series of unlike lengths."""
    x, y = layers.Input((5, 3)), layers.Input((4, 3))
    shared = unlike(return_sequences=True)
    return keras.Model([x, y], [shared(x), shared(y)])


def time_distributed_unlike_lengths() -> keras.Model:
    """One on two series of unlike lengths."""
    x, y = layers.Input((5, 3)), layers.Input((4, 3))
    shared = layers.TimeDistributed(layers.Dense(2))
    return keras.Model([x, y], [shared(x), shared(y)])


def several_of_one_recurrent() -> keras.Model:
    """Layers behind all that a recurrent layer returns, of which two are the same numbers."""
    x = layers.Input(SERIES)
    return keras.Model(x, [layers.Dense(2)(each) for each in layers.LSTM(4, return_state=True)(x)])


def several_of_one_bidirectional() -> keras.Model:
    """The same of both ways."""
    x = layers.Input(SERIES)
    made = layers.Bidirectional(
        layers.GRU(4, return_state=True, reset_after=False), merge_mode=None
    )(x)
    return keras.Model(x, [layers.Dense(2)(each) for each in made])


def several_of_one_nested() -> keras.Model:
    """A model that returns both, and layers behind them."""
    x, y = layers.Input(SERIES), layers.Input(SERIES)
    inner = keras.Model(x, layers.SimpleRNN(4, return_state=True)(x))
    return keras.Model(y, [layers.Dense(2)(each) for each in inner(y)])


def gates() -> Iterator[Case]:
    """Keras 3's hard_sigmoid at the gates, wherever the layer is."""
    yield one(
        "lstm_hard_gates_sequences_state",
        SERIES,
        layers.LSTM,
        4,
        return_sequences=True,
        return_state=True,
        use_bias=False,
        **HARD,
    )
    yield one("rnn_stacked_hard_gates", SERIES, lambda: layers.RNN(
        [layers.LSTMCell(4, **HARD), layers.GRUCell(3, reset_after=False, **HARD)]))  # fmt: skip
    yield one(
        "bidirectional_hard_gates", SERIES, both_ways, layers.LSTM, return_sequences=True, **HARD
    )
    yield one("time_distributed_hard_gates", (2, 5, 3), each, lambda: layers.LSTM(4, **HARD))
    yield one(
        "time_distributed_bidirectional_hard_gates",
        (2, 5, 3),
        each,
        lambda: layers.Bidirectional(gru(4, **HARD)),
    )
    yield one("conv_lstm1d_hard_gates", (4, 6, 2), layers.ConvLSTM1D, 3, 2, **HARD)
    yield chain("mask_lstm_hard_gates", (6,), lambda: layers.Embedding(9, 4, mask_zero=True),
                lambda: layers.LSTM(3, **HARD), of="int32")  # fmt: skip


def convolving() -> Iterator[Case]:
    """ConvLSTM of sequences, and of channels first."""
    options: tuple[dict[str, Any], ...] = (
        {},
        {"strides": 2, "padding": "same"},
        {"dilation_rate": 2},
        {"use_bias": False, "go_backwards": True},
        {"return_state": True},
    )
    for sequences, more in itertools.product((False, True), options):
        row, all_options = (
            f"{'_sequences' * sequences}_{'_'.join(more)}",
            {"return_sequences": sequences, **more},
        )
        yield one(f"conv_lstm1d{row}", (4, 6, 2), layers.ConvLSTM1D, 3, 2, **all_options)
        for name, shape, layer in (
            ("1d", (4, 2, 6), layers.ConvLSTM1D),
            ("2d", (4, 2, 6, 5), layers.ConvLSTM2D),
        ):
            yield one(
                f"conv_lstm{name}_first{row}",
                shape,
                layer,
                3,
                2,
                data_format="channels_first",
                **all_options,
            )
    yield one(
        "conv_lstm1d_unknown_length", (None, 6, 2), layers.ConvLSTM1D, 3, 2, return_sequences=True
    )
    yield one(
        "conv_lstm2d_first_softmax",
        (4, 2, 6, 5),
        layers.ConvLSTM2D,
        3,
        2,
        data_format="channels_first",
        activation="softmax",
        refused="along another axis",
    )


def unlike_ways() -> Iterator[Case]:
    """Bidirectional of what TF.js's does not hold."""
    for sequences in (False, True):
        more = "_sequences" * sequences
        options = {"return_sequences": sequences}
        yield one(
            f"bidirectional_unlike{more}", SERIES, unlike, covers=("Bidirectional",), **options
        )
        yield one(f"bidirectional_unlike_unknown_length{more}", (None, 3), unlike, **options)
        yield one(
            f"bidirectional_rnn_of_one{more}",
            SERIES,
            lambda options=options: layers.Bidirectional(
                layers.RNN(layers.LSTMCell(4), **options), merge_mode="ave"
            ),
        )
        yield one(
            f"bidirectional_stacked{more}",
            SERIES,
            lambda options=options: layers.Bidirectional(
                layers.RNN(stack(), **options), merge_mode="sum"
            ),
        )
        yield one(
            f"bidirectional_stacked_state{more}",
            SERIES,
            lambda options=options: layers.Bidirectional(
                layers.RNN(stack(), return_state=True, **options), merge_mode=None
            ),
        )
        yield one(
            f"bidirectional_conv_lstm2d{more}_mul",
            FILM,
            lambda options=options: layers.Bidirectional(
                layers.ConvLSTM2D(3, 2, **options), merge_mode="mul"
            ),
        )
        yield one(
            f"bidirectional_conv_lstm1d_state{more}",
            (4, 6, 2),
            lambda options=options: layers.Bidirectional(
                layers.ConvLSTM1D(3, 2, return_state=True, **options)
            ),
        )
    yield Case("bidirectional_unlike_state", unlike_state)
    yield Case("bidirectional_unlike_shared", unlike_shared)
    yield chain(
        "mask_bidirectional_unlike",
        (6,),
        lambda: layers.Embedding(9, 4, mask_zero=True),
        unlike,
        of="int32",
        refused="pass the mask of its input",
    )


RECURRENT = (
    *gates(),
    *convolving(),
    *unlike_ways(),
    *(
        one(
            f"rnn_stacked_state{'_sequences' * sequences}{'_backwards' * backwards}",
            SERIES,
            lambda sequences=sequences, backwards=backwards: layers.RNN(
                stack(), return_state=True, return_sequences=sequences, go_backwards=backwards
            ),
        )
        for sequences, backwards in ((False, True), (True, False), (True, True))
    ),
    Case("rnn_stacked_initial_state", stacked_state),
    Case("rnn_stacked_shared", shared_stack),
    Case(
        "rnn_stacked_stateful_state",
        lambda: stateful(lambda _, **options: layers.RNN(stack(), return_state=True, **options)),
        refused=no_layers_model("once per output"),
    ),
    chain(
        "mask_rnn_of_one",
        (6,),
        lambda: layers.Embedding(9, 4, mask_zero=True),
        lambda: layers.RNN(layers.LSTMCell(3)),
        of="int32",
    ),
    chain(
        "mask_bidirectional_rnn_of_one",
        (6,),
        lambda: layers.Embedding(9, 4, mask_zero=True),
        lambda: layers.Bidirectional(layers.RNN(layers.LSTMCell(3))),
        of="int32",
    ),
    Case("several_of_one_recurrent", several_of_one_recurrent),
    Case("several_of_one_bidirectional", several_of_one_bidirectional),
    Case("several_of_one_nested", several_of_one_nested),
    Case(
        "time_distributed_unlike_lengths",
        time_distributed_unlike_lengths,
        refused=no_layers_model("inputs of different sizes"),
    ),
    *(
        one(f"time_distributed_{name}", shape, each, make, covers=("TimeDistributed",))
        for name, shape, make in (
            ("group_normalization", (2, 4, 4, 6), lambda: layers.GroupNormalization(3)),
            ("rms_normalization", (None, 6), layers.RMSNormalization),
            ("hard_silu", SERIES, lambda: layers.Dense(4, activation="hard_silu")),
            ("hard_tanh", SERIES, lambda: layers.Activation("hard_tanh")),
            ("relu_of_parts", SERIES, lambda: layers.ReLU(negative_slope=0.2, max_value=1.0)),
            ("batch_normalization_first_axis", FILM, lambda: layers.BatchNormalization(axis=1)),
            ("conv_hard_silu", FILM, lambda: layers.Conv2D(3, 2, activation="hard_silu")),
            ("conv_lstm1d", (2, 4, 6, 2), lambda: layers.ConvLSTM1D(3, 2)),
            ("layer_normalization_rank_5", (2, *FILM), layers.LayerNormalization),
            ("bidirectional_unlike", (2, 5, 3), lambda: unlike(return_sequences=True)),
            (
                "time_distributed_group_normalization",
                (2, 4, 4, 6),
                lambda: layers.TimeDistributed(layers.GroupNormalization(3)),
            ),
        )
    ),
)


def shared_normalizations() -> keras.Model:
    """Two normalizations, each on two tensors, of a name that TF.js does not accept."""
    x, y = layers.Input((4, 6, 8)), layers.Input((4, 6, 8))
    group, rms = layers.GroupNormalization(2, name="my group"), layers.RMSNormalization()
    return keras.Model([x, y], [rms(group(x)), group(rms(y))])


def nested_normalization() -> keras.Model:
    """One inside a model, and one of the same name outside."""
    x, y = layers.Input((4, 6, 8)), layers.Input((4, 6, 8))
    inner = keras.Model(x, layers.GroupNormalization(4, name="norm")(x))
    return keras.Model(y, layers.GroupNormalization(2, name="norm")(inner(y)))


CASES = (
    *NORMALIZATIONS,
    *DENSE,
    *EMBEDDINGS,
    *PREPROCESSING,
    *RECURRENT,
    Case("normalizations_shared", shared_normalizations),
    Case("normalization_nested", nested_normalization),
)
