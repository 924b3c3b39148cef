"""Rows of the table that a graph-model refuses, and a part of the reason it gives."""

from __future__ import annotations

from collections.abc import Mapping

REMEMBERS = "a graph remembers nothing"
IN_TRAINING = "training=True"
BITS = "in the bits of its"
NOT_KERAS = "not one of Keras's own layers"

REFUSED_BY_GRAPHS: Mapping[str, str] = {
    **dict.fromkeys(
        ("simple_rnn_stateful_sequences", "lstm_stateful_sequences", "gru_stateful_sequences",
         "bidirectional_stateful_unmerged"), REMEMBERS,
    ),
    "masks_maximum": "its inputs are masked",
    **dict.fromkeys(
        ("bool_inputs_add", "bool_inputs_average", "uint8_inputs_add", "uint8_inputs_multiply", "uint8_inputs_average"),
        BITS,
    ),
    "string_input": "numbers only",
    **dict.fromkeys(("pipeline", "resizing", "dropout_in_training", "gaussian_noise_in_training"), IN_TRAINING),
    "activation_lambda": "activation=",
    "lambda_of_a_function": "Python code",
    **dict.fromkeys(("custom_layer_of_a_known_name", "custom_layer_in_time_distributed"), NOT_KERAS),
    **dict.fromkeys(("custom_model", "custom_model_nested"), "mine>Doubled"),
}  # fmt: skip
