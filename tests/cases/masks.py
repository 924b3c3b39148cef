"""Masks: where they are born, what they pass, what heeds them.

The inputs of these models have masked time steps at the start, in the middle, at the end,
and everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers
from tests.cases.case import Case, chain, no_layers_model

from kerasport.frontends.keras.dialect import Dialect
from kerasport.releases import release_of

STEPS = 6
WORDS = 9
ROWS: list[Case] = []

OTHERWISE = "another mask to this layer"
AVERAGES = "ignores masked time steps"
ZEROED = "at masked time steps Keras returns zeros"
STARTS = "before the first unmasked time step"
RECORDED = "mask='a tensor'"
RESET = "the reset gate"


STOPPED = Dialect.of(release_of(keras.__version__)).recurrent_masks_stop


def before_3_16(reason: str) -> str:
    """The reason of a refusal that holds while recurrent layers pass masks on."""
    return "" if STOPPED else reason


def since_3_16(reason: str) -> str:
    """The reason of a refusal that holds since recurrent layers stop masks."""
    return reason if STOPPED else ""


def row(refused: str = "") -> Callable[[Callable[[], keras.Model]], Callable[[], keras.Model]]:
    """Enter a function as the row of its name."""

    def enter(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        ROWS.append(
            Case(build.__name__, build, refused=no_layers_model(refused) if refused else {})
        )
        return build

    return enter


def tokens() -> Any:
    """An input of words."""
    return layers.Input((STEPS,), dtype="int32")


def series(features: int = 3) -> Any:
    """An input of numbers."""
    return layers.Input((STEPS, features))


def embedded(x: Any, size: int = 4) -> Any:
    """Words as vectors, with their mask."""
    return layers.Embedding(WORDS, size, mask_zero=True)(x)


def embedding() -> Any:
    return layers.Embedding(WORDS, 4, mask_zero=True)


def sequences(units: int = 4) -> Any:
    """An LSTM that passes the mask on."""
    return layers.LSTM(units, return_sequences=True)


def gru(**options: Any) -> Any:
    """A GRU as TF.js knows it."""
    return layers.GRU(4, reset_after=False, **options)


def words(name: str, *made: Callable[[], Any], refused: str = "", companion: str = "") -> Case:
    """A chain that begins with masked words."""
    return chain(name, (STEPS,), embedding, *made, of="int32", refused=refused, companion=companion)


def masked(name: str, *made: Callable[[], Any], value: float = 0.0, refused: str = "") -> Case:
    """A chain that begins with masked numbers."""
    return chain(name, (STEPS, 3), lambda: layers.Masking(value), *made, refused=refused)


CHAINS = (
    # ends
    words("mask_lstm", lambda: layers.LSTM(4)),
    words("mask_gru", gru),
    words("mask_gru_reset_after", lambda: layers.GRU(4), companion=RESET),
    words("mask_gru_reset_after_backwards_sequences",
          lambda: layers.GRU(4, go_backwards=True, return_sequences=True),
          companion=RESET),
    words("mask_gru_cell_reset_after", lambda: layers.RNN(layers.GRUCell(4)), companion=RESET),
    words("mask_two_gru_reset_after", lambda: layers.GRU(4, return_sequences=True),
          lambda: layers.Dense(3),
          lambda: layers.GRU(2), companion=RESET),
    words("mask_bidirectional_gru_reset_after", lambda: layers.Bidirectional(layers.GRU(4)),
          companion=RESET),
    words("mask_bidirectional_sequences_gru_reset_after",
          lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True)), refused=ZEROED),
    words("mask_conv1d_gru_reset_after", lambda: layers.Conv1D(4, 3), lambda: layers.GRU(3),
          companion=RESET),
    words("mask_hard_sigmoid", lambda: layers.Activation("hard_sigmoid"), lambda: layers.LSTM(3),
          companion="clip(0.2"),
    words("mask_simple_rnn", lambda: layers.SimpleRNN(4)),
    words("mask_rnn_cell", lambda: layers.RNN(layers.LSTMCell(4))),
    words("mask_rnn_stacked", lambda: layers.RNN([layers.LSTMCell(4), layers.SimpleRNNCell(3)])),
    words("mask_rnn_stacked_sequences",
          lambda: layers.RNN([layers.LSTMCell(4), layers.SimpleRNNCell(3)], return_sequences=True)),
    words("mask_lstm_sequences", sequences),
    words("mask_lstm_backwards", lambda: layers.LSTM(4, go_backwards=True)),
    words("mask_lstm_backwards_sequences",
          lambda: layers.LSTM(4, go_backwards=True, return_sequences=True)),
    words("mask_lstm_unrolled", lambda: layers.LSTM(4, unroll=True)),
    words("mask_lstm_zero_output", lambda: layers.LSTM(4, zero_output_for_mask=True),
          refused=ZEROED),
    words("mask_lstm_zero_output_sequences",
          lambda: layers.LSTM(4, zero_output_for_mask=True, return_sequences=True), refused=ZEROED),
    words("mask_lstm_zero_output_then_lstm",
          lambda: layers.LSTM(4, zero_output_for_mask=True, return_sequences=True),
          lambda: layers.LSTM(3),
          refused=since_3_16(ZEROED)),
    words("mask_bidirectional", lambda: layers.Bidirectional(layers.LSTM(4))),
    words("mask_bidirectional_sum", lambda: layers.Bidirectional(gru(), merge_mode="sum")),
    words("mask_bidirectional_sequences", lambda: layers.Bidirectional(sequences()),
          refused=ZEROED),
    words("mask_bidirectional_then_lstm", lambda: layers.Bidirectional(sequences()),
          lambda: layers.LSTM(3),
          refused=since_3_16(ZEROED)),
    words("mask_bidirectional_twice", lambda: layers.Bidirectional(sequences()),
          lambda: layers.Bidirectional(layers.LSTM(4)), refused=since_3_16(ZEROED)),
    words("mask_bidirectional_then_dense", lambda: layers.Bidirectional(sequences()),
          lambda: layers.Dense(3),
          refused=ZEROED),
    words("mask_bidirectional_dense_lstm", lambda: layers.Bidirectional(sequences()),
          lambda: layers.Dense(3),
          lambda: layers.LSTM(3), refused=since_3_16(ZEROED)),
    words("mask_bidirectional_pooled", lambda: layers.Bidirectional(sequences()),
          layers.GlobalMaxPooling1D,
          refused=ZEROED),
    # what passes the mask on
    words("mask_two_lstm", sequences, lambda: layers.LSTM(3)),
    words("mask_three_lstm", sequences, sequences, lambda: layers.LSTM(3)),
    words("mask_dense", lambda: layers.Dense(3, activation="relu"), lambda: layers.LSTM(3)),
    words("mask_dense_dropout_dense", lambda: layers.Dense(3), lambda: layers.Dropout(0.5),
          lambda: layers.Dense(3),
          gru),
    words("mask_activation", lambda: layers.Activation("tanh"), lambda: layers.LSTM(3)),
    words("mask_relu", layers.ReLU, lambda: layers.LSTM(3)),
    words("mask_batch_normalization", layers.BatchNormalization, lambda: layers.LSTM(3)),
    words("mask_layer_normalization", layers.LayerNormalization, lambda: layers.LSTM(3)),
    words("mask_spatial_dropout1d", lambda: layers.SpatialDropout1D(0.5), lambda: layers.LSTM(3)),
    words("mask_gaussian_noise", lambda: layers.GaussianNoise(0.5), lambda: layers.LSTM(3)),
    words("mask_p_re_lu", lambda: layers.PReLU(shared_axes=[1]), lambda: layers.LSTM(3)),
    words("mask_identity", layers.Identity, lambda: layers.LSTM(3)),
    words("mask_activity_regularization", lambda: layers.ActivityRegularization(0.1),
          lambda: layers.LSTM(3)),
    words("mask_time_distributed", lambda: layers.TimeDistributed(layers.Dense(3)),
          lambda: layers.LSTM(3)),
    words("mask_lstm_time_distributed", sequences, lambda: layers.TimeDistributed(layers.Dense(3))),
    words("mask_rescaling", lambda: layers.Rescaling(0.5), lambda: layers.LSTM(3)),
    words("mask_leaky_relu", layers.LeakyReLU, lambda: layers.LSTM(3)),
    words("mask_elu", layers.ELU, lambda: layers.LSTM(3)),
    words("mask_masking", lambda: layers.Masking(0.0), lambda: layers.LSTM(3)),
    # what stops it
    words("mask_conv1d", lambda: layers.Conv1D(4, 3), lambda: layers.LSTM(3)),
    words("mask_conv1d_same", lambda: layers.Conv1D(4, 3, padding="same"), lambda: layers.LSTM(3)),
    words("mask_pooling", lambda: layers.MaxPooling1D(2), lambda: layers.LSTM(3)),
    words("mask_reshape", lambda: layers.Reshape((STEPS, 4)), lambda: layers.LSTM(3),
          refused="depends on the Keras backend"),
    words("mask_reshape_to_the_same", lambda: layers.Reshape((-1, 4)), lambda: layers.LSTM(3),
          refused="depends on the Keras backend"),
    words("mask_permute_nothing", lambda: layers.Permute((1, 2)), lambda: layers.LSTM(3),
          refused="depends on the Keras backend"),
    words("mask_cropping_nothing", lambda: layers.Cropping1D(0), lambda: layers.LSTM(3),
          refused="depends on the Keras backend"),
    words("mask_spectral_normalization_unread",
          lambda: layers.SpectralNormalization(layers.Dense(4)), layers.Flatten,
          refused="stops the mask"),
    words("mask_cropping_nothing_unread", lambda: layers.Cropping1D(0), layers.Flatten,
          refused="depends on the Keras backend"),
    words("mask_reshape_of_time", lambda: layers.Reshape((3, 8)), lambda: layers.LSTM(3)),
    words("mask_permute", lambda: layers.Permute((2, 1)), lambda: layers.LSTM(3)),
    words("mask_repeat_vector", lambda: layers.LSTM(4), lambda: layers.RepeatVector(STEPS),
          lambda: layers.LSTM(3)),
    words("mask_spectral_normalization", lambda: layers.SpectralNormalization(layers.Dense(4)),
          lambda: layers.LSTM(3),
          refused="stops the mask"),
    words("mask_flatten", layers.Flatten, lambda: layers.Dense(3)),
    words("mask_conv1d_pooled", lambda: layers.Conv1D(4, 3), layers.GlobalMaxPooling1D,
          lambda: layers.Dense(3)),
    words("mask_global_max_pooling", layers.GlobalMaxPooling1D),
    words("mask_global_average_pooling", layers.GlobalAveragePooling1D, refused=AVERAGES),
    words("mask_lstm_global_average_pooling", sequences, layers.GlobalAveragePooling1D,
          refused=before_3_16(AVERAGES)),
    words("mask_conv1d_global_average_pooling", lambda: layers.Conv1D(4, 3),
          layers.GlobalAveragePooling1D),
    words("mask_lstm_last_global_average_pooling", lambda: layers.LSTM(4),
          lambda: layers.RepeatVector(3),
          layers.GlobalAveragePooling1D),
    words("mask_softmax", layers.Softmax, refused="the mask differently"),
    words("mask_lstm_softmax", lambda: layers.LSTM(4), layers.Softmax),
    words("mask_softmax_activation", lambda: layers.Activation("softmax")),
    words("mask_dense_softmax_activation", sequences,
          lambda: layers.Dense(5, activation="softmax")),
    words("mask_time_distributed_lstm", lambda: layers.Reshape((2, 3, 4)),
          lambda: layers.TimeDistributed(layers.LSTM(3)), refused=OTHERWISE),
    # of numbers
    masked("masking_lstm", lambda: layers.LSTM(4)),
    masked("masking_lstm_of_minus_one", lambda: layers.LSTM(4), value=-1),
    masked("masking_lstm_time_distributed", sequences,
          lambda: layers.TimeDistributed(layers.Dense(2))),
    masked("masking_bidirectional_lstm", lambda: layers.Bidirectional(layers.LSTM(4)),
          lambda: layers.Dense(2)),
    masked("masking_conv1d", lambda: layers.Conv1D(4, 3), lambda: layers.LSTM(4)),
    masked("masking_global_average_pooling", layers.GlobalAveragePooling1D, refused=AVERAGES),
    masked("masking_dense", lambda: layers.Dense(4), lambda: layers.Dense(2)),
    masked("masking_of_other_masking", lambda: layers.Masking(1.0), lambda: layers.LSTM(4)),
    words("mask_bidirectional_unrolled_sequences",
          lambda: layers.Bidirectional(layers.LSTM(4, unroll=True, return_sequences=True)),
                refused=ZEROED),
    masked("masking_unrolled", lambda: layers.LSTM(4, unroll=True, return_sequences=True)),
    Case("masking_conv_lstm2d", lambda: keras.Sequential([
        layers.Input((4, 6, 5, 2)), layers.TimeDistributed(layers.Flatten()), layers.Masking(),
        layers.LSTM(3)])),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- graphs


@row()
def mask_and_a_branch_without() -> keras.Model:
    """TF.js runs the last input of a layer first, so the mask of the words can leak."""
    x, y = tokens(), series()
    return keras.Model(
        [x, y], layers.Concatenate()([layers.LSTM(4)(embedded(x)), layers.LSTM(4)(y)])
    )


@row()
def mask_and_a_branch_without_that_comes_first() -> keras.Model:
    x, y = tokens(), series()
    return keras.Model(
        [x, y], layers.Concatenate()([layers.LSTM(4)(y), layers.LSTM(4)(embedded(x))])
    )


@row()
def mask_and_an_output_without() -> keras.Model:
    x, y = tokens(), series()
    return keras.Model([x, y], [layers.LSTM(4)(y), layers.LSTM(4)(embedded(x))])


@row()
def mask_and_an_output_without_behind() -> keras.Model:
    x, y = tokens(), series()
    return keras.Model([x, y], [layers.LSTM(4)(embedded(x)), layers.LSTM(4)(y)])


@row()
def mask_and_a_dense_branch() -> keras.Model:
    x, y = tokens(), layers.Input((3,))
    return keras.Model(
        [x, y], layers.Concatenate()([layers.LSTM(4)(embedded(x)), layers.Dense(2)(y)])
    )


@row("depends on the Keras backend")
def mask_cast_nothing() -> keras.Model:
    """The very tensor goes on, with its mask."""
    x = tokens()
    return keras.Model(x, layers.LSTM(4)(keras.ops.cast(embedded(x), "float32")))


@row("depends on the Keras backend")
def mask_slice_of_all() -> keras.Model:
    x = tokens()
    return keras.Model(x, layers.LSTM(4)(embedded(x)[:, 0:]))


@row()
def two_masks() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model(
        [x, y], layers.Concatenate()([layers.LSTM(4)(embedded(x)), gru()(embedded(y))])
    )


@row()
def two_masks_of_one_embedding() -> keras.Model:
    x, y = tokens(), tokens()
    table, lstm = embedding(), layers.LSTM(4)
    return keras.Model([x, y], layers.Concatenate()([lstm(table(x)), lstm(table(y))]))


@row()
def two_masks_crossed() -> keras.Model:
    x, y = tokens(), series()
    a, b = embedded(x), layers.Masking()(y)
    c, d = sequences()(a), sequences(3)(b)
    return keras.Model([x, y], [layers.LSTM(2)(d), layers.LSTM(2)(c)])


@row(OTHERWISE)
def mask_added_then_lstm() -> keras.Model:
    x = tokens()
    a = embedded(x)
    return keras.Model(x, layers.LSTM(3)(layers.Add()([a, layers.Dense(4)(a)])))


@row()
def mask_residual_end() -> keras.Model:
    x = tokens()
    a = embedded(x)
    return keras.Model(x, layers.Dense(2)(layers.Add()([a, sequences()(a)])))


@row(OTHERWISE)
def masks_added_then_lstm() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.LSTM(3)(layers.Add()([embedded(x), embedded(y)])))


@row()
def mask_added_to_unmasked_then_lstm() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.LSTM(3)(layers.Add()([embedded(x), y])))


@row()
def unmasked_added_to_mask_then_lstm() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.LSTM(3)(layers.Add()([y, embedded(x)])))


@row(AVERAGES)
def masks_multiplied() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.Multiply()([embedded(x), embedded(y)]))


@row(AVERAGES)
def masks_maximum() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.Maximum()([embedded(x), y]))


@row(AVERAGES)
def masks_multiplied_with_unmasked() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.Multiply()([y, embedded(x)]))


@row(AVERAGES)
def masks_multiplied_with_vectors() -> keras.Model:
    x, y = tokens(), layers.Input((4,))
    return keras.Model([x, y], layers.Multiply()([embedded(x), y]))


@row(AVERAGES)
def masks_multiplied_then_lstm() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.LSTM(3)(layers.Multiply()([embedded(x), embedded(y)])))


@row(AVERAGES)
def masks_minimum_then_lstm() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.LSTM(3)(layers.Minimum()([embedded(x), embedded(y)])))


@row(AVERAGES)
def masks_maximum_of_three() -> keras.Model:
    x, y, z = tokens(), tokens(), tokens()
    return keras.Model([x, y, z], layers.Maximum()([embedded(x), embedded(y), embedded(z)]))


@row(AVERAGES)
def masks_maximum_of_three_one_without() -> keras.Model:
    x, y, z = tokens(), series(4), tokens()
    return keras.Model([x, y, z], layers.Maximum()([embedded(x), y, embedded(z)]))


@row(AVERAGES)
def masks_minimum_of_unmasked_first() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.Minimum()([y, embedded(x)]))


@row(RECORDED)
def softmax_of_a_given_mask() -> keras.Model:
    x, y = series(4), layers.Input((STEPS, 4), dtype="bool")
    return keras.Model([x, y], layers.Softmax()(x, mask=y))


@row()
def masks_averaged() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.Dense(2)(layers.Average()([embedded(x), embedded(y)])))


@row()
def mask_concatenated_with_itself_then_lstm() -> keras.Model:
    x = tokens()
    a = embedded(x)
    return keras.Model(x, layers.LSTM(3)(layers.Concatenate()([a, layers.Dense(2)(a)])))


@row(OTHERWISE)
def masks_concatenated_then_lstm() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.LSTM(3)(layers.Concatenate()([embedded(x), embedded(y)])))


@row()
def masks_concatenated_in_time_then_lstm() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model(
        [x, y], layers.LSTM(3)(layers.Concatenate(axis=1)([embedded(x), embedded(y)]))
    )


@row(OTHERWISE)
def mask_concatenated_with_unmasked_then_lstm() -> keras.Model:
    x, y = tokens(), series()
    return keras.Model([x, y], layers.LSTM(3)(layers.Concatenate()([embedded(x), y])))


@row()
def mask_concatenated_with_unmasked() -> keras.Model:
    x, y = tokens(), series()
    return keras.Model([x, y], layers.Dense(3)(layers.Concatenate()([embedded(x), y])))


@row()
def mask_dot() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.Dot(axes=2)([embedded(x), embedded(y)]))


@row()
def mask_dot_then_lstm() -> keras.Model:
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.LSTM(3)(layers.Dot(axes=2)([embedded(x), embedded(y)])))


@row()
def mask_and_embedding_without() -> keras.Model:
    x, y = tokens(), tokens()
    plain = layers.Embedding(WORDS, 4)(y)
    return keras.Model(
        [x, y], layers.Concatenate()([layers.LSTM(4)(plain), layers.LSTM(4)(embedded(x))])
    )


@row()
def mask_through_nested() -> keras.Model:
    inner_x = layers.Input((STEPS, 4))
    inner = keras.Model(inner_x, layers.Dense(3)(layers.LSTM(4, return_sequences=True)(inner_x)))
    x = tokens()
    return keras.Model(x, layers.LSTM(3)(inner(embedded(x))))


@row()
def mask_into_nested_sequential() -> keras.Model:
    inner = keras.Sequential([layers.Input((STEPS, 4)), layers.Dense(4), layers.LSTM(3)])
    x = tokens()
    return keras.Model(x, inner(embedded(x)))


@row(OTHERWISE)
def mask_born_in_nested() -> keras.Model:
    inner = keras.Sequential([layers.Input((STEPS,), dtype="int32"), embedding(), layers.Dense(3)])
    x = tokens()
    return keras.Model(x, layers.LSTM(3)(inner(x)))


@row()
def mask_born_and_used_in_nested() -> keras.Model:
    inner = keras.Sequential([layers.Input((STEPS,), dtype="int32"), embedding(), sequences()])
    x = tokens()
    return keras.Model(x, layers.Dense(3)(inner(x)))


@row()
def mask_in_nested_and_a_branch_without() -> keras.Model:
    inner = keras.Sequential([layers.Input((STEPS,), dtype="int32"), embedding(), layers.LSTM(4)])
    x, y = tokens(), series()
    return keras.Model([x, y], layers.Concatenate()([inner(x), layers.LSTM(4)(y)]))


@row(OTHERWISE)
def nested_with_and_without_mask() -> keras.Model:
    inner = keras.Sequential([layers.Input((STEPS, 4)), layers.LSTM(3)])
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.Concatenate()([inner(y), inner(embedded(x))]))


@row(OTHERWISE)
def nested_with_two_masks() -> keras.Model:
    a, b = layers.Input((STEPS, 4)), layers.Input((STEPS, 4))
    inner = keras.Model([a, b], layers.Concatenate()([layers.LSTM(3)(a), layers.LSTM(3)(b)]))
    x, y = tokens(), tokens()
    return keras.Model([x, y], inner([embedded(x), embedded(y)]))


@row()
def mask_in_time_distributed_model() -> keras.Model:
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu")])
    x = tokens()
    return keras.Model(x, layers.LSTM(2)(layers.TimeDistributed(inner)(embedded(x))))


@row()
def masks_inside_time_distributed() -> keras.Model:
    """Each sentence of a document has a mask of its own."""
    inner = keras.Sequential([layers.Input((STEPS,), dtype="int32"), embedding(), layers.LSTM(3)])
    x = layers.Input((2, STEPS), dtype="int32")
    return keras.Model(x, layers.LSTM(2)(layers.TimeDistributed(inner)(x)))


@row(STARTS)
def mask_encoder_decoder() -> keras.Model:
    x, y = tokens(), tokens()
    _, h, c = layers.LSTM(4, return_state=True)(embedded(x))
    return keras.Model([x, y], layers.LSTM(4)(embedded(y), initial_state=[h, c]))


@row(STARTS)
def mask_encoder_decoder_sequences() -> keras.Model:
    x, y = tokens(), tokens()
    _, h, c = layers.LSTM(4, return_state=True)(embedded(x))
    decoded = layers.LSTM(4, return_sequences=True)(embedded(y), initial_state=[h, c])
    return keras.Model([x, y], layers.Dense(5, activation="softmax")(decoded))


@row()
def mask_encoder_plain_decoder() -> keras.Model:
    x, y = tokens(), series()
    _, h, c = layers.LSTM(4, return_state=True)(embedded(x))
    return keras.Model([x, y], layers.LSTM(4, return_sequences=True)(y, initial_state=[h, c]))


@row(STARTS)
def plain_encoder_mask_decoder() -> keras.Model:
    x, y = series(), tokens()
    _, h, c = layers.LSTM(4, return_state=True)(x)
    return keras.Model([x, y], layers.LSTM(4)(embedded(y), initial_state=[h, c]))


@row()
def mask_states_only() -> keras.Model:
    x = tokens()
    _, h, c = layers.LSTM(4, return_state=True, return_sequences=True)(embedded(x))
    return keras.Model(x, layers.Concatenate()([c, h]))


@row()
def mask_sequences_and_states() -> keras.Model:
    x = tokens()
    return keras.Model(x, layers.LSTM(4, return_state=True, return_sequences=True)(embedded(x)))


@row("initial state of another layer")
def mask_state_then_another_lstm() -> keras.Model:
    x = tokens()
    h, c = layers.Input((4,)), layers.Input((4,))
    y = layers.LSTM(4, return_sequences=True)(embedded(x), initial_state=[h, c])
    return keras.Model([x, h, c], layers.LSTM(3)(y))


@row(RECORDED)
def explicit_mask() -> keras.Model:
    x, mask = series(), layers.Input((STEPS,), dtype="bool")
    return keras.Model([x, mask], layers.LSTM(4)(x, mask=mask))


@row(RECORDED)
def explicit_mask_of_another_layer() -> keras.Model:
    x, y = tokens(), series()
    table = embedding()
    return keras.Model([x, y], layers.LSTM(4)(y, mask=table.compute_mask(x)))


@row()
def explicit_mask_that_is_the_implicit_one() -> keras.Model:
    x = tokens()
    table = embedding()
    return keras.Model(x, layers.LSTM(4)(table(x), mask=table.compute_mask(x)))


@row(RECORDED)
def explicit_mask_of_pooling() -> keras.Model:
    x, mask = series(), layers.Input((STEPS,), dtype="bool")
    return keras.Model([x, mask], layers.GlobalAveragePooling1D()(x, mask=mask))


@row(before_3_16(OTHERWISE))
def mask_of_the_wrong_branch() -> keras.Model:
    """The mask of the first input of a layer is all that TF.js sees."""
    x, y = tokens(), tokens()
    a, b = embedded(x), embedded(y)
    return keras.Model(
        [x, y], layers.LSTM(3)(layers.Concatenate()([sequences()(a), sequences()(b)]))
    )


@row()
def masked_outputs_in_both_orders() -> keras.Model:
    x, y = tokens(), series()
    a = sequences()(embedded(x))
    b = layers.Conv1D(4, 3, padding="same")(y)
    return keras.Model([x, y], [a, b, layers.Dense(2)(b), layers.Dense(2)(a)])


@row()
def mask_tagger() -> keras.Model:
    x = tokens()
    y = layers.Dropout(0.1)(layers.LSTM(4, return_sequences=True)(embedded(x)))
    return keras.Model(x, layers.TimeDistributed(layers.Dense(5, activation="softmax"))(y))


@row()
def mask_of_an_input_that_is_fed_twice() -> keras.Model:
    x = tokens()
    return keras.Model(
        x, layers.Concatenate()([layers.LSTM(3)(embedded(x)), layers.LSTM(3)(embedded(x, 2))])
    )


@row()
def mask_and_its_plain_twin() -> keras.Model:
    x = tokens()
    plain = layers.Embedding(WORDS, 4)(x)
    return keras.Model(
        x, layers.Concatenate()([layers.LSTM(3)(embedded(x)), layers.LSTM(3)(plain)])
    )


@row(OTHERWISE)
def masks_concatenated_then_bidirectional() -> keras.Model:
    x, y = tokens(), tokens()
    joined = layers.Dense(4)(layers.Concatenate()([embedded(x), embedded(y)]))
    return keras.Model([x, y], layers.Bidirectional(layers.LSTM(3))(joined))


@row(OTHERWISE)
def masks_concatenated_then_nested() -> keras.Model:
    inner = keras.Sequential([layers.Input((STEPS, 8)), layers.Dense(4), layers.LSTM(3)])
    x, y = tokens(), tokens()
    return keras.Model([x, y], inner(layers.Concatenate()([embedded(x), embedded(y)])))


@row(OTHERWISE)
def masks_concatenated_in_nested_then_lstm() -> keras.Model:
    a, b = tokens(), tokens()
    inner = keras.Model([a, b], layers.Concatenate()([embedded(a), embedded(b)]))
    x, y = tokens(), tokens()
    return keras.Model([x, y], layers.LSTM(3)(inner([x, y])))


@row(OTHERWISE)
def masks_concatenated_inside_nested() -> keras.Model:
    a, b = layers.Input((STEPS, 4)), layers.Input((STEPS, 4))
    inner = keras.Model([a, b], layers.LSTM(3)(layers.Concatenate()([a, b])))
    x, y = tokens(), tokens()
    return keras.Model([x, y], inner([embedded(x), embedded(y)]))


def bidirectional(x: Any, **options: Any) -> Any:
    """Both halves of a Bidirectional apart, at every time step."""
    lstm = layers.LSTM(3, return_sequences=True, **options)
    return layers.Bidirectional(lstm, merge_mode=None)(embedded(x))


@row(ZEROED)
def mask_bidirectional_second_output() -> keras.Model:
    x = tokens()
    return keras.Model(x, bidirectional(x)[1])


@row(ZEROED)
def mask_bidirectional_second_output_then_dense() -> keras.Model:
    x = tokens()
    return keras.Model(x, layers.Dense(2)(bidirectional(x)[1]))


@row(since_3_16(ZEROED))
def mask_bidirectional_second_output_then_lstm() -> keras.Model:
    x = tokens()
    return keras.Model(x, layers.LSTM(2)(bidirectional(x)[1]))


@row(ZEROED)
def mask_bidirectional_all_outputs() -> keras.Model:
    x = tokens()
    return keras.Model(x, bidirectional(x, return_state=True))


@row()
def mask_bidirectional_states_only() -> keras.Model:
    x = tokens()
    return keras.Model(x, bidirectional(x, return_state=True)[2:])


@row()
def mask_state_repeated_then_lstm() -> keras.Model:
    """TF.js gives the mask of the sequence to the states as well, which have another rank."""
    x = tokens()
    y, h, _ = layers.LSTM(4, return_sequences=True, return_state=True)(embedded(x))
    repeated = layers.RepeatVector(STEPS)(layers.Dense(3)(h))
    return keras.Model(x, [layers.LSTM(2)(y), layers.LSTM(2)(repeated)])


@row()
def mask_concatenated_in_time_with_unmasked() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.Concatenate(axis=1)([embedded(x), y]))


@row()
def mask_concatenated_in_time_with_unmasked_then_lstm() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.LSTM(3)(layers.Concatenate(axis=1)([embedded(x), y])))


@row()
def unmasked_concatenated_in_time_with_mask_then_lstm() -> keras.Model:
    x, y = tokens(), series(4)
    return keras.Model([x, y], layers.LSTM(3)(layers.Concatenate(axis=-2)([y, embedded(x)])))


@row()
def mask_concatenated_in_time_with_itself_then_lstm() -> keras.Model:
    x = tokens()
    a = embedded(x)
    return keras.Model(x, layers.LSTM(3)(layers.Concatenate(axis=1)([a, layers.Dense(4)(a)])))


@row()
def mask_concatenated_in_time_with_unmasked_in_nested() -> keras.Model:
    a, b = layers.Input((STEPS, 4)), layers.Input((STEPS, 4))
    inner = keras.Model([a, b], layers.Concatenate(axis=1)([a, b]))
    x, y = tokens(), series(4)
    return keras.Model([x, y], inner([embedded(x), y]))


@row(RECORDED)
def mask_given_to_nested_and_read_by_another_layer() -> keras.Model:
    """A nested model sets the mask that it is given on its input, which other layers then find."""
    x, mask = series(4), layers.Input((STEPS,), dtype="bool")
    inner = keras.Sequential([layers.Input((STEPS, 4)), layers.Dense(3)])
    y = layers.GroupQueryAttention(4, 2, 1)(query=x, value=x)
    return keras.Model([x, mask], [y, inner(x, mask=mask)])


@row(RECORDED)
def mask_given_to_nested_and_pooled_before_and_behind() -> keras.Model:
    x, mask = series(4), layers.Input((STEPS,), dtype="bool")
    inner = keras.Sequential([layers.Input((STEPS, 4)), layers.Dense(3)])
    before = layers.GlobalAveragePooling1D()(layers.Dense(2)(x))
    y = inner(layers.Dropout(0.5)(x), mask=mask)
    return keras.Model([x, mask], [before, y, layers.GlobalAveragePooling1D()(x)])


@row(RECORDED)
def mask_given_to_a_nested_model_in_a_nested_model() -> keras.Model:
    a, m = layers.Input((STEPS, 4)), layers.Input((STEPS,), dtype="bool")
    inmost = keras.Sequential([layers.Input((STEPS, 4)), layers.LSTM(3)])
    inner = keras.Model([a, m], inmost(a, mask=m))
    x, mask = series(4), layers.Input((STEPS,), dtype="bool")
    return keras.Model([x, mask], inner([x, mask]))


@row(RECORDED)
def mask_given_in_a_nested_model_and_read_outside() -> keras.Model:
    a, m = layers.Input((STEPS, 4)), layers.Input((STEPS,), dtype="bool")
    inmost = keras.Sequential([layers.Input((STEPS, 4)), layers.LSTM(3)])
    inner = keras.Model([a, m], inmost(a, mask=m))
    x, mask = series(4), layers.Input((STEPS,), dtype="bool")
    return keras.Model([x, mask], [inner([x, mask]), layers.GlobalAveragePooling1D()(x)])


@row(RECORDED)
def mask_by_name_then_lstm() -> keras.Model:
    """Keras passes a mask on that is given by name."""
    x, mask = series(4), layers.Input((STEPS,), dtype="bool")
    return keras.Model([x, mask], layers.LSTM(3)(sequences()(x, mask=mask)))


@row(RECORDED)
def mask_by_position_then_lstm() -> keras.Model:
    """Keras passes on the mask of the first input where one is given by position."""
    x, mask = series(4), layers.Input((STEPS,), dtype="bool")
    return keras.Model([x, mask], layers.LSTM(3)(sequences()(x, None, mask)))


def masked_series() -> Any:
    x = series()
    return x, layers.Masking()(x)


@row()
def mask_of_the_second_of_three_added() -> keras.Model:
    (x, a), y, z = masked_series(), series(), series()
    return keras.Model([y, x, z], layers.Add()([y, a, z]))


@row()
def masks_of_two_of_four_averaged_then_dense() -> keras.Model:
    (x, a), (v, b), y, z = masked_series(), masked_series(), series(), series()
    return keras.Model([x, y, v, z], layers.Dense(2)(layers.Average()([a, y, b, z])))


@row("some of three or more inputs")
def masks_of_three_added_behind_a_layer_that_stops_one() -> keras.Model:
    """TF.js's LeakyReLU stops masks, and Keras's does not."""
    (x, a), (y, b), (z, c) = masked_series(), masked_series(), masked_series()
    return keras.Model([x, y, z], layers.Add()([layers.LeakyReLU()(a), b, c]))


@row("cells only inside an RNN")
def cell_called_as_a_layer() -> keras.Model:
    x, h, c = layers.Input((3,)), layers.Input((4,)), layers.Input((4,))
    y, states = layers.LSTMCell(4)(x, [h, c])
    return keras.Model([x, h, c], [y, *states])


@row("cells only inside an RNN")
def stacked_cells_called_as_a_layer() -> keras.Model:
    x, h, g = layers.Input((3,)), layers.Input((4,)), layers.Input((2,))
    y, states = layers.StackedRNNCells([layers.GRUCell(4), layers.SimpleRNNCell(2)])(x, [h, g])
    return keras.Model([x, h, g], [y, *keras.tree.flatten(states)])


@row(RECORDED)
def mask_unrolled_from_a_state() -> keras.Model:
    """Before the first unmasked step an unrolled layer returns zeros, whatever the state is."""
    x, mask, *states = (
        series(),
        layers.Input((STEPS,), dtype="bool"),
        layers.Input((4,)),
        layers.Input((4,)),
    )
    unrolled = layers.LSTM(4, unroll=True, return_sequences=True)
    return keras.Model([x, mask, *states], unrolled(x, mask=mask, initial_state=states))


@row()
def mask_beside_a_convolutional_lstm() -> keras.Model:
    """TF.js throws where a convolutional LSTM has a mask, be it one of ones."""
    x, film = series(), layers.Input((4, 5, 2))
    return keras.Model(
        [x, film], [layers.ConvLSTM1D(3, 2)(film), layers.LSTM(3)(layers.Masking()(x))]
    )


@row("if a convolutional LSTM gets a mask")
def mask_before_a_convolutional_lstm() -> keras.Model:
    x, film = series(), layers.Input((4, 5, 2))
    return keras.Model(
        [x, film], [layers.LSTM(3)(layers.Masking()(x)), layers.ConvLSTM1D(3, 2)(film)]
    )


CASES = (*CHAINS, *ROWS)
