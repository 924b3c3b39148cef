"""Rows of the table that a graph-model refuses, with a part of the reason."""

from __future__ import annotations

from collections.abc import Mapping

REMEMBERS = "a graph keeps no state"
IN_TRAINING = "training=True"
BITS = "results wrap around"
NOT_KERAS = "it is a custom layer"

REFUSED_BY_GRAPHS: Mapping[str, str] = {
    **dict.fromkeys(
        ("simple_rnn_stateful", "simple_rnn_stateful_state", "simple_rnn_stateful_sequences",
        "lstm_stateful",
         "lstm_stateful_state", "lstm_stateful_sequences", "gru_stateful", "gru_stateful_state",
         "gru_stateful_sequences", "rnn_simple_rnn_cell_stateful", "rnn_lstm_cell_stateful",
         "rnn_gru_cell_stateful",
         "rnn_stacked_stateful", "rnn_stacked_stateful_state", "conv_lstm2d_stateful",
         "bidirectional_stateful",
         "bidirectional_stateful_unmerged",
         "gru_reset_after_stateful", "gru_reset_after_stateful_state",
         "gru_reset_after_stateful_sequences",
         "rnn_gru_cell_reset_after_stateful", "bidirectional_gru_reset_after_stateful"),
        REMEMBERS,
    ),
    **dict.fromkeys(
        ("bool_inputs_add", "bool_inputs_average", "uint8_inputs_average"), BITS,
    ),
    "uint8_input_layer_normalization": "truncates",
    "uint8_input_resize_to_halves": "halfway between two integers",
    "int32_input_moments": "an integer on TensorFlow",
    "activation_of_dtype_int32": "truncates",
    "spectral_normalization_embedding": "store the Embedding",
    "rescaling_by_infinity": "a finite number",
    **dict.fromkeys(
        ("mask_reshape", "mask_reshape_to_the_same", "mask_permute_nothing",
        "mask_cropping_nothing",
         "mask_cast_nothing", "mask_slice_of_all", "mask_spectral_normalization"),
         "depends on the Keras backend",
    ),
    "ops_batched_slice_update_from_the_end": "negative start",
    "mask_given_in_a_nested_model_and_read_outside": "a nested model is called with a mask",
    "mask_bidirectional_unrolled_sequences": "on TensorFlow and PyTorch",
    "mask_softmax": "does not fit an input of shape",  # it raises an error
    # Keras does not say in the file that the two layers are one, and cannot load it either
    "layer_inside_nested_and_called": "expected the weights",
    **dict.fromkeys(
        ("dropout_in_training", "gaussian_noise_in_training", "spatial_dropout_in_training",
         "batch_normalization_in_training", "lstm_in_training", "nested_in_training"), IN_TRAINING,
    ),
    **dict.fromkeys(("activation_lambda", "activation_function"), "activation"),
    **dict.fromkeys(
        ("lambda_layer", "lambda_of_a_function", "time_distributed_lambda",
        "lambda_that_changes_the_shape",
         "lambdas_and_another_problem"), "Python code",
    ),
    "auto_contrast_of_a_dict_with_masks": "'segmentation_masks'",
    **dict.fromkeys(
        ("custom_layer", "custom_cell", "custom_layer_of_a_known_name",
        "custom_layer_in_time_distributed"), NOT_KERAS,
    ),
    **dict.fromkeys(("custom_model", "custom_model_nested"), "mine>Doubled"),
}  # fmt: skip

REFUSED_BY_TFJS: Mapping[str, str] = {
    **dict.fromkeys(("uint8_inputs_add", "uint8_inputs_multiply"), BITS),
    "string_input": "a lookup in a vocabulary",
}
"""Rows that a graph-model refuses, but ONNX does not."""
