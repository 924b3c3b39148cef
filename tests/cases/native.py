"""Layers of their own, each with each of its options.

Sizes are odd and differ from axis to axis, so that no two of them can be mistaken for each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from keras import layers
from tests.cases.case import Case, chain, ids, negative, one

IMAGE = (7, 6, 3)
SERIES = (7, 3)
VOLUME = (5, 6, 4, 3)

ACTIVATIONS = (
    "linear",
    "relu",
    "relu6",
    "elu",
    "selu",
    "sigmoid",
    "softplus",
    "softsign",
    "tanh",
    "softmax",
    "log_softmax",
    "silu",
    "mish",
    "gelu",
    "celu",
)
OTHER_ACTIVATIONS = (
    "hard_sigmoid",
    "leaky_relu",
    "hard_silu",
    "hard_tanh",
    "tanh_shrink",
    "soft_shrink",
    "hard_shrink",
    "log_sigmoid",
    "sparse_sigmoid",
    "sparse_plus",
    "exponential",
    "squareplus",
    "sparsemax",
)
ABSENT = "TF.js does not have this activation"


def with_activations() -> Iterator[Case]:
    """Every activation, in every kind of layer that has one."""
    for name in ACTIVATIONS:
        yield one(f"activation_{name}", (4, 5), layers.Activation, name)
        yield chain(
            f"activation_{name}_far_out", (9,),
            lambda: layers.Rescaling(40), lambda name=name: layers.Activation(name),
        )  # fmt: skip
        yield one(f"dense_{name}", (5,), layers.Dense, 3, activation=name)
        yield one(f"dense_{name}_rank_3", (4, 5), layers.Dense, 3, activation=name)
        yield one(f"conv2d_{name}", IMAGE, layers.Conv2D, 4, 3, activation=name)
        yield one(
            f"lstm_{name}", SERIES, layers.LSTM, 4, activation=name, recurrent_activation="sigmoid"
        )
        yield one(f"lstm_recurrent_{name}", SERIES, layers.LSTM, 4, recurrent_activation=name)
        yield one(f"gru_{name}", SERIES, layers.GRU, 4, activation=name, reset_after=False)
        # few steps, for gates that are not between 0 and 1 make the state grow without end
        yield one(
            f"gru_recurrent_{name}",
            (3, 3),
            layers.GRU,
            4,
            recurrent_activation=name,
            reset_after=False,
        )
        yield one(f"simple_rnn_{name}", SERIES, layers.SimpleRNN, 4, activation=name)
    for layer in (layers.Conv1D, layers.Conv3D, layers.SeparableConv2D):
        rank = 2 if layer is layers.SeparableConv2D else int(layer.__name__[4])
        shape = (SERIES, IMAGE, VOLUME)[rank - 1]
        for name in ("relu", "tanh", "softmax", "gelu"):
            yield one(f"{layer.__name__.lower()}_{name}", shape, layer, 4, 2, activation=name)
    for data_format, name in itertools.product(
        ("channels_last", "channels_first"), ("relu", "tanh", "softmax")
    ):
        for layer in (layers.Conv2D, layers.Conv2DTranspose):
            row = f"{layer.__name__.lower()}_{data_format}_{name}"
            yield one(row, IMAGE, layer, 4, 2, data_format=data_format, activation=name)
        row = f"depthwise_conv2d_{data_format}_{name}"
        yield one(row, IMAGE, layers.DepthwiseConv2D, 2, data_format=data_format, activation=name)
    for name in ("relu", "gelu", "softmax"):
        yield one(f"conv_lstm2d_{name}", (4, *IMAGE), layers.ConvLSTM2D, 2, 2, activation=name)
    yield one(
        "conv_lstm2d_recurrent_relu6",
        (4, *IMAGE),
        layers.ConvLSTM2D,
        2,
        2,
        recurrent_activation="relu6",
    )


ONLY_OF_A_CLASS = ("exponential", "squareplus", "sparsemax")
"""Activations that layers of TF.js do not add up to."""


def without_activations() -> Iterator[Case]:
    """Activations that TF.js lacks, or gives another meaning."""
    for name in OTHER_ACTIVATIONS:
        reason = "clip(0.2·x + 0.5, 0, 1)" if name == "hard_sigmoid" else ABSENT
        alone = reason if name in ONLY_OF_A_CLASS else ""
        yield one(f"activation_{name}", (4, 5), layers.Activation, name, companion=alone)
        yield chain(
            f"activation_{name}_far_out", (9,), lambda: layers.Rescaling(40),
            lambda name=name: layers.Activation(name), companion=alone,
        )  # fmt: skip
        yield one(f"dense_{name}", (5,), layers.Dense, 3, activation=name, companion=alone)
        yield one(f"conv2d_{name}", IMAGE, layers.Conv2D, 4, 3, activation=name, companion=alone)
        yield one(
            f"simple_rnn_{name}", (3, 3), layers.SimpleRNN, 4, activation=name, companion=reason
        )
        for kind, layer in (("lstm", layers.LSTM), ("gru", layers.GRU)):
            gates = "" if (kind, name) == ("lstm", "hard_sigmoid") else reason
            yield one(f"{kind}_{name}", (3, 3), layer, 4, activation=name, companion=reason)
            yield one(
                f"{kind}_recurrent_{name}",
                (3, 3),
                layer,
                4,
                recurrent_activation=name,
                companion=gates,
            )
    yield one("activation_object", (5,), lambda: layers.Dense(2, activation=layers.LeakyReLU(0.1)))
    yield one("activation_object_alone", (5,), lambda: layers.Activation(layers.ELU(0.3)))
    yield one("activation_glu", (4, 6), layers.Activation, "glu")
    yield one("activation_glu_rank_2", (6,), layers.Activation, "glu")
    yield one("activation_glu_unknown_length", (None, 6), layers.Activation, "glu")
    yield one("dense_glu", (5,), layers.Dense, 4, activation="glu")
    yield one("conv2d_glu", IMAGE, layers.Conv2D, 4, 3, activation="glu")
    yield one("conv3d_glu", VOLUME, layers.Conv3D, 4, 2, activation="glu")


CORE = (
    one("dense", (5,), layers.Dense, 3),
    one("dense_one_unit", (1,), layers.Dense, 1),
    one("dense_many_units", (37,), layers.Dense, 41),
    one("dense_without_bias", (5,), layers.Dense, 3, use_bias=False),
    one("dense_rank_3_unknown_length", (None, 5), layers.Dense, 3),
    one("dense_rank_4", (2, 4, 5), layers.Dense, 3, activation="tanh"),
    one("dense_rank_5", (2, 3, 4, 5), layers.Dense, 3, activation="tanh"),
    one("dense_rank_5_without_bias", (2, 3, 4, 5), layers.Dense, 3, use_bias=False),
    one("dense_rank_6", (2, 1, 3, 4, 5), layers.Dense, 3, activation="tanh"),
    one("dense_rank_6_unknown_length", (None, 1, 3, 4, 5), layers.Dense, 3, use_bias=False),
    one("dense_frozen", (5,), layers.Dense, 3, trainable=False),
    one("embedding", (6,), layers.Embedding, 9, 4, of="int32"),
    one("embedding_of_int64", (6,), layers.Embedding, 9, 4, of="int64"),
    one("embedding_of_uint8", (6,), layers.Embedding, 9, 4, of="uint8"),
    one("embedding_of_float32", (6,), layers.Embedding, 9, 4, feed=ids(9)),
    one("embedding_of_one_id", (), layers.Embedding, 9, 4, of="int32"),
    one("embedding_of_rank_3", (2, 3), layers.Embedding, 9, 4, of="int32"),
    one("embedding_of_unknown_length", (None,), layers.Embedding, 9, 4, of="int32"),
    one("embedding_mask_zero", (6,), layers.Embedding, 9, 4, mask_zero=True, of="int32"),
    one("masking", SERIES, layers.Masking),
    one("masking_of_minus_one", SERIES, layers.Masking, mask_value=-1),
    one("masking_of_a_half", SERIES, layers.Masking, mask_value=0.5),
    one("masking_rank_4", (5, 2, 3), layers.Masking, mask_value=0.5),
    one("dropout", (5,), layers.Dropout, 0.5),
    one("dropout_noise_shape", SERIES, layers.Dropout, 0.5, noise_shape=(None, 1, 3), seed=7),
    one("alpha_dropout", (5,), layers.AlphaDropout, 0.5, seed=7),
    one(
        "alpha_dropout_noise_shape",
        (5,),
        layers.AlphaDropout,
        0.5,
        noise_shape=(1, 5),
        refused="interprets it differently",
    ),
    one("gaussian_dropout", (5,), layers.GaussianDropout, 0.5, seed=7),
    one("gaussian_noise", (5,), layers.GaussianNoise, 0.5, seed=7),
    one("spatial_dropout1d", SERIES, layers.SpatialDropout1D, 0.5, seed=7),
)

ACTIVATION_LAYERS = (
    one("relu", (4, 5), layers.ReLU),
    one("relu_max_value", (4, 5), layers.ReLU, max_value=0.5),
    one("relu_max_value_6", (4, 5), layers.ReLU, max_value=6),
    one("relu_max_value_0", (4, 5), layers.ReLU, max_value=0),
    one("relu_negative_slope", (4, 5), layers.ReLU, negative_slope=0.1),
    one("relu_threshold", (4, 5), layers.ReLU, threshold=0.5),
    one("relu_threshold_max_value", (4, 5), layers.ReLU, threshold=0.5, max_value=1),
    one("relu_threshold_slope", (4, 5), layers.ReLU, threshold=0.5, negative_slope=0.2),
    one(
        "relu_threshold_slope_max_value",
        (4, 5),
        layers.ReLU,
        threshold=0.5,
        negative_slope=0.2,
        max_value=1.2,
    ),
    one("relu_slope_max_value", (4, 5), layers.ReLU, negative_slope=0.2, max_value=1.2),
    one("leaky_relu", (4, 5), layers.LeakyReLU),
    one("leaky_relu_slope", (4, 5), layers.LeakyReLU, negative_slope=0.07),
    one("leaky_relu_slope_0", (4, 5), layers.LeakyReLU, negative_slope=0),
    one("elu", (4, 5), layers.ELU),
    one("elu_alpha_1", (4, 5), layers.ELU, alpha=1),
    one("elu_alpha", (4, 5), layers.ELU, alpha=0.5),
    one("p_re_lu", (4, 5), layers.PReLU),
    one("p_re_lu_rank_2", (5,), layers.PReLU),
    one("p_re_lu_shared", (4, 5), layers.PReLU, shared_axes=(1,)),
    one("p_re_lu_shared_over_an_image", IMAGE, layers.PReLU, shared_axes=[1, 2]),
    one(
        "p_re_lu_shared_at_the_end",
        (4, 5),
        layers.PReLU,
        shared_axes=[2],
        refused="if an axis after an unshared axis is shared",
    ),
    one("p_re_lu_shared_wholly", IMAGE, layers.PReLU, shared_axes=[1, 2, 3]),
    one("softmax", (4, 5), layers.Softmax),
    one("softmax_rank_2", (5,), layers.Softmax, axis=1),
    one("softmax_last_axis", (4, 5), layers.Softmax, axis=2),
    one("softmax_middle_axis", (4, 5), layers.Softmax, axis=1),
    one("softmax_axes", IMAGE, layers.Softmax, axis=[1, 2]),
    one("softmax_axes_from_the_end", IMAGE, layers.Softmax, axis=[-1, -3]),
    one("softmax_listed_axis", (4, 5), layers.Softmax, axis=[-1]),
    one("softmax_listed_middle_axis", (4, 5), layers.Softmax, axis=[1]),
)


def convolutions_2d() -> Iterator[Case]:
    """Strides, paddings and dilations together, over even and odd sizes."""
    for data_format in ("channels_last", "channels_first"):
        for padding, strides in itertools.product(
            ("valid", "same"), ((1, 1), (2, 2), (1, 3), (3, 2))
        ):
            row = f"{padding}_{strides[0]}x{strides[1]}_{data_format}"
            options = {"padding": padding, "strides": strides, "data_format": data_format}
            shape = (9, 8, 3) if data_format == "channels_last" else (3, 9, 8)
            yield one(f"conv2d_{row}", shape, layers.Conv2D, 4, (3, 2), **options)
            yield one(
                f"conv2d_transpose_{row}", shape, layers.Conv2DTranspose, 4, (3, 2), **options
            )
            if strides[0] == strides[1]:
                yield one(
                    f"depthwise_conv2d_{row}", shape, layers.DepthwiseConv2D, (3, 2), **options
                )
            for layer in (layers.MaxPooling2D, layers.AveragePooling2D):
                name = layer.__name__.lower()
                yield one(f"{name}_{row}", shape, layer, (3, 2), **options, feed=negative)
        for padding in ("valid", "same"):
            row = f"conv2d_dilated_{padding}_{data_format}"
            shape = (9, 8, 3) if data_format == "channels_last" else (3, 9, 8)
            yield one(
                row,
                shape,
                layers.Conv2D,
                4,
                (3, 2),
                dilation_rate=(2, 3),
                padding=padding,
                data_format=data_format,
            )
    for padding, strides in itertools.product(("valid", "same"), (1, 2, 3)):
        row = f"separable_conv2d_{padding}_{strides}"
        yield one(
            row, (9, 8, 3), layers.SeparableConv2D, 4, (3, 2), padding=padding, strides=strides
        )


CONVOLUTIONS = (
    one("conv1d", SERIES, layers.Conv1D, 4, 3),
    one("conv1d_even", SERIES, layers.Conv1D, 4, 2, padding="same"),
    one("conv1d_strided", SERIES, layers.Conv1D, 4, 3, strides=2),
    one("conv1d_strided_same", (8, 3), layers.Conv1D, 4, 3, strides=3, padding="same"),
    one("conv1d_dilated", SERIES, layers.Conv1D, 4, 3, dilation_rate=2),
    one("conv1d_dilated_same", SERIES, layers.Conv1D, 4, 3, dilation_rate=3, padding="same"),
    one("conv1d_without_bias", SERIES, layers.Conv1D, 4, 3, use_bias=False),
    one("conv1d_unknown_length", (None, 3), layers.Conv1D, 4, 3, strides=2, padding="same"),
    one("conv1d_causal", SERIES, layers.Conv1D, 4, 3, padding="causal"),
    one("conv1d_channels_first", (3, 7), layers.Conv1D, 4, 3, data_format="channels_first"),
    one("conv1d_groups", (7, 4), layers.Conv1D, 4, 3, groups=2),
    *convolutions_2d(),
    one("conv2d_1x1", IMAGE, layers.Conv2D, 5, 1),
    one("conv2d_one_channel", (7, 6, 1), layers.Conv2D, 1, 3),
    one("conv2d_many_channels", (5, 4, 17), layers.Conv2D, 19, 3, padding="same"),
    one("conv2d_kernel_larger_than_image", (2, 3, 3), layers.Conv2D, 4, 5, padding="same"),
    one("conv2d_stride_larger_than_kernel", IMAGE, layers.Conv2D, 4, 1, strides=3),
    one("conv2d_without_bias", IMAGE, layers.Conv2D, 4, 3, use_bias=False),
    one("conv2d_without_bias_relu", IMAGE, layers.Conv2D, 4, 3, use_bias=False, activation="relu"),
    one("conv2d_unknown_size", (None, None, 3), layers.Conv2D, 4, 3, strides=2, padding="same"),
    one("conv2d_groups", (7, 6, 4), layers.Conv2D, 4, 3, groups=2),
    one("conv3d", VOLUME, layers.Conv3D, 4, (2, 3, 1)),
    one("conv3d_strided", VOLUME, layers.Conv3D, 4, (2, 3, 1), strides=(2, 1, 3)),
    one(
        "conv3d_strided_same",
        VOLUME,
        layers.Conv3D,
        4,
        (2, 3, 2),
        strides=(2, 3, 1),
        padding="same",
    ),
    one("conv3d_dilated", VOLUME, layers.Conv3D, 4, 2, dilation_rate=(2, 3, 1)),
    one("conv3d_dilated_same", VOLUME, layers.Conv3D, 4, 3, dilation_rate=2, padding="same"),
    one("conv3d_without_bias", VOLUME, layers.Conv3D, 4, 2, use_bias=False),
    one("conv3d_channels_first", (3, 5, 6, 4), layers.Conv3D, 4, 2, data_format="channels_first"),
    one("conv3d_groups", (5, 6, 4, 2), layers.Conv3D, 2, 2, groups=2),
    one("conv2d_transpose_small_kernel", IMAGE, layers.Conv2DTranspose, 4, 2, strides=3),
    one(
        "conv2d_transpose_small_kernel_same",
        IMAGE,
        layers.Conv2DTranspose,
        4,
        1,
        strides=2,
        padding="same",
    ),
    one(
        "conv2d_transpose_large_kernel",
        IMAGE,
        layers.Conv2DTranspose,
        4,
        5,
        strides=2,
        padding="same",
    ),
    one(
        "conv2d_transpose_without_bias",
        IMAGE,
        layers.Conv2DTranspose,
        4,
        3,
        strides=2,
        use_bias=False,
    ),
    one(
        "conv2d_transpose_default_output_padding",
        IMAGE,
        layers.Conv2DTranspose,
        4,
        3,
        strides=2,
        padding="same",
        output_padding=1,
    ),
    one(
        "conv2d_transpose_output_padding",
        IMAGE,
        layers.Conv2DTranspose,
        4,
        3,
        strides=2,
        padding="same",
        output_padding=0,
    ),
    one(
        "conv2d_transpose_output_padding_valid",
        IMAGE,
        layers.Conv2DTranspose,
        4,
        3,
        strides=2,
        output_padding=(0, 1),
    ),
    one("conv2d_transpose_dilated", IMAGE, layers.Conv2DTranspose, 4, 3, dilation_rate=2),
    one("conv2d_transpose_unknown_size", (None, None, 3), layers.Conv2DTranspose, 4, 3, strides=2),
    one("depthwise_conv2d_unequal_strides", IMAGE, layers.DepthwiseConv2D, 2, strides=(1, 2)),
    one("depthwise_conv2d_multiplier", IMAGE, layers.DepthwiseConv2D, (2, 3), depth_multiplier=2),
    one(
        "depthwise_conv2d_multiplier_same",
        IMAGE,
        layers.DepthwiseConv2D,
        3,
        depth_multiplier=3,
        padding="same",
        strides=2,
    ),
    one(
        "depthwise_conv2d_multiplier_channels_first",
        (3, 7, 6),
        layers.DepthwiseConv2D,
        2,
        depth_multiplier=2,
        data_format="channels_first",
    ),
    one("depthwise_conv2d_without_bias", IMAGE, layers.DepthwiseConv2D, 3, use_bias=False),
    one("depthwise_conv2d_dilated", IMAGE, layers.DepthwiseConv2D, 2, dilation_rate=2),
    one("separable_conv2d_unequal_strides", IMAGE, layers.SeparableConv2D, 4, 2, strides=(2, 1)),
    one("separable_conv2d_dilated", IMAGE, layers.SeparableConv2D, 4, (2, 3), dilation_rate=2),
    one(
        "separable_conv2d_dilated_unequally",
        (9, 8, 3),
        layers.SeparableConv2D,
        4,
        3,
        dilation_rate=(2, 3),
        padding="same",
    ),
    one("separable_conv2d_multiplier", IMAGE, layers.SeparableConv2D, 4, 3, depth_multiplier=2),
    one("separable_conv2d_without_bias", IMAGE, layers.SeparableConv2D, 4, 3, use_bias=False),
    one(
        "separable_conv2d_channels_first",
        (3, 7, 6),
        layers.SeparableConv2D,
        4,
        3,
        data_format="channels_first",
    ),
)


def poolings() -> Iterator[Case]:
    """Windows over sequences and volumes, and over everything."""
    for kind in ("Max", "Average"):
        one_d, two_d = getattr(layers, f"{kind}Pooling1D"), getattr(layers, f"{kind}Pooling2D")
        row = f"{kind.lower()}_pooling"
        yield one(f"{row}1d", SERIES, one_d, 3, feed=negative)
        yield one(f"{row}1d_strided", SERIES, one_d, 2, strides=3, feed=negative)
        yield one(f"{row}1d_same", SERIES, one_d, 3, strides=1, padding="same", feed=negative)
        yield one(
            f"{row}1d_strided_same", (8, 3), one_d, 3, strides=2, padding="same", feed=negative
        )
        yield one(f"{row}1d_channels_first", (3, 7), one_d, 2, data_format="channels_first")
        yield one(f"{row}2d_of_one_size", IMAGE, two_d, 2, feed=negative)
        yield one(f"{row}2d_unknown_size", (None, None, 3), two_d, 2, padding="same", feed=negative)
        for rank, shape in ((1, SERIES), (2, IMAGE)):
            whole = getattr(layers, f"Global{kind}Pooling{rank}D")
            row = f"global_{kind.lower()}_pooling{rank}d"
            yield one(row, shape, whole, feed=negative)
            yield one(f"{row}_keepdims", shape, whole, keepdims=True)
        yield one(
            f"{row}_channels_first", (3, 7, 6), whole, data_format="channels_first", feed=negative
        )
        yield one(
            f"global_{kind.lower()}_pooling1d_channels_first",
            (3, 7),
            getattr(layers, f"Global{kind}Pooling1D"),
            data_format="channels_first",
        )
    yield one("average_pooling3d", VOLUME, layers.AveragePooling3D, 2)
    yield one(
        "average_pooling3d_strided", VOLUME, layers.AveragePooling3D, (2, 3, 1), strides=(1, 2, 3)
    )
    yield one(
        "average_pooling3d_same", VOLUME, layers.AveragePooling3D, 3, strides=2, padding="same"
    )
    yield one(
        "average_pooling3d_channels_first",
        (3, 5, 6, 4),
        layers.AveragePooling3D,
        2,
        data_format="channels_first",
    )


NORMALIZATIONS = (
    one("batch_normalization", (5,), layers.BatchNormalization),
    one("batch_normalization_rank_3", SERIES, layers.BatchNormalization),
    one("batch_normalization_rank_4", IMAGE, layers.BatchNormalization),
    one("batch_normalization_rank_5", VOLUME, layers.BatchNormalization),
    one("batch_normalization_last_axis", IMAGE, layers.BatchNormalization, axis=3),
    one("batch_normalization_first_axis", IMAGE, layers.BatchNormalization, axis=1),
    one("batch_normalization_epsilon", (5,), layers.BatchNormalization, epsilon=0.3, momentum=0.5),
    one("batch_normalization_without_scale", IMAGE, layers.BatchNormalization, scale=False),
    one("batch_normalization_without_center", SERIES, layers.BatchNormalization, center=False),
    one("batch_normalization_bare", (5,), layers.BatchNormalization, center=False, scale=False),
    one("batch_normalization_renorm", (5,), layers.BatchNormalization, renorm=True),
    one("batch_normalization_frozen", (5,), layers.BatchNormalization, trainable=False),
    one("layer_normalization", (5,), layers.LayerNormalization),
    one("layer_normalization_rank_3", SERIES, layers.LayerNormalization),
    one("layer_normalization_rank_4", IMAGE, layers.LayerNormalization),
    one("layer_normalization_rank_5", VOLUME, layers.LayerNormalization),
    one("layer_normalization_two_axes", IMAGE, layers.LayerNormalization, axis=[2, 3]),
    one("layer_normalization_all_axes", IMAGE, layers.LayerNormalization, axis=[1, 2, 3]),
    one("layer_normalization_negative_axes", IMAGE, layers.LayerNormalization, axis=[-2, -1]),
    one("layer_normalization_unsorted_axes", IMAGE, layers.LayerNormalization, axis=[-1, -2]),
    one("layer_normalization_first_axis", IMAGE, layers.LayerNormalization, axis=1),
    one("layer_normalization_first_axes", IMAGE, layers.LayerNormalization, axis=[1, 2]),
    one("layer_normalization_epsilon", SERIES, layers.LayerNormalization, epsilon=0.3),
    one("layer_normalization_without_scale", SERIES, layers.LayerNormalization, scale=False),
    one("layer_normalization_without_center", SERIES, layers.LayerNormalization, center=False),
    one("layer_normalization_bare", SERIES, layers.LayerNormalization, center=False, scale=False),
    one("layer_normalization_rms_scaling", SERIES, layers.LayerNormalization, rms_scaling=True,
        refused="TF.js ignores it"),
)  # fmt: skip


def merges() -> Iterator[Case]:
    """Inputs of the same shape, of other sizes, of other ranks."""
    for layer in (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum):
        name = layer.__name__.lower()
        yield one(name, [(4, 5), (4, 5)], layer)
        yield one(f"{name}_of_three", [(5,), (5,), (5,)], layer)
        yield one(f"{name}_broadcasting", [(4, 5), (1, 5)], layer)
        yield one(f"{name}_broadcasting_both", [(4, 1), (1, 5)], layer)
        yield one(f"{name}_broadcasting_three", [(4, 1), (1, 5), (4, 5)], layer)
        yield one(f"{name}_of_other_rank", [(5,), (4, 5)], layer)
        yield one(f"{name}_of_other_rank_second", [(3, 4, 5), (5,)], layer)
        yield one(f"{name}_unknown_length", [(None, 5), (None, 5)], layer)
        yield one(f"{name}_of_one", [(5,)], layer)
    yield one("subtract", [(5,), (5,)], layers.Subtract)


MERGES = (
    *merges(),
    one("concatenate", [(5,), (3,)], layers.Concatenate),
    one("concatenate_of_three", [(4, 5), (4, 2), (4, 3)], layers.Concatenate),
    one("concatenate_axis_1", [(4, 5), (2, 5)], layers.Concatenate, axis=1),
    one("concatenate_axis_from_the_end", [(4, 2, 5), (4, 3, 5)], layers.Concatenate, axis=-2),
    one("concatenate_equal_sizes_axis_from_the_end", [(4, 5), (4, 5)], layers.Concatenate, axis=-2),
    one("concatenate_unknown_length", [(None, 5), (None, 3)], layers.Concatenate),
    one("concatenate_along_unknown_length", [(None, 5), (4, 5)], layers.Concatenate, axis=1),
    one("concatenate_half_known", [(None, 5), (7, 3)], layers.Concatenate),
    one("concatenate_of_one", [(5,)], layers.Concatenate),
    one("dot_vectors", [(5,), (5,)], layers.Dot, axes=1),
    one("dot_vectors_last_axis", [(5,), (5,)], layers.Dot, axes=-1),
    one("dot_matrices", [(4, 5), (3, 5)], layers.Dot, axes=2),
    one("dot_matrices_first_axis", [(4, 5), (4, 3)], layers.Dot, axes=1),
    one("dot_matrices_other_axes", [(4, 5), (5, 3)], layers.Dot, axes=(2, 1)),
    one("dot_matrices_crossed_axes", [(5, 4), (3, 5)], layers.Dot, axes=(1, 2)),
    one("dot_matrices_negative_axes", [(4, 5), (3, 5)], layers.Dot, axes=(-1, -1)),
    one("dot_matrix_vector", [(4, 5), (5,)], layers.Dot, axes=(2, 1)),
    one("dot_vector_matrix", [(5,), (5, 3)], layers.Dot, axes=(1, 1)),
    one("dot_unknown_length", [(None, 5), (None, 5)], layers.Dot, axes=2),
    one(
        "dot_normalized",
        [(5,), (5,)],
        layers.Dot,
        axes=1,
        normalize=True,
        refused="divides by a norm",
    ),
    one("dot_rank_4", [(2, 4, 5), (2, 3, 5)], layers.Dot, axes=3),
)

RESHAPINGS = (
    one("flatten", SERIES, layers.Flatten),
    one("flatten_rank_4", IMAGE, layers.Flatten),
    one("flatten_rank_5", VOLUME, layers.Flatten),
    one("flatten_channels_first", IMAGE, layers.Flatten, data_format="channels_first"),
    one("flatten_channels_first_rank_3", SERIES, layers.Flatten, data_format="channels_first"),
    one("flatten_channels_first_rank_5", VOLUME, layers.Flatten, data_format="channels_first"),
    one("flatten_flat", (5,), layers.Flatten),
    one("flatten_unknown_length", (None, 5), layers.Flatten),
    one("reshape", (6,), layers.Reshape, (2, 3)),
    one("reshape_inferred", (4, 6), layers.Reshape, (-1, 3)),
    one("reshape_flat", (4, 3, 2), layers.Reshape, (-1,)),
    one("reshape_unknown_length", (None, 6), layers.Reshape, (-1, 3)),
    one("reshape_more_axes", (24,), layers.Reshape, (2, -1, 3, 1)),
    chain(
        "reshape_inferred_and_flat",
        (4, 6),
        lambda: layers.Reshape((-1, 3)),
        layers.Flatten,
        lambda: layers.Dense(2),
    ),
    chain(
        "reshape_inferred_last", (4, 6), lambda: layers.Reshape((8, -1)), lambda: layers.Dense(2)
    ),
    one("reshape_to_scalars", (1,), layers.Reshape, ()),
    one("permute", SERIES, layers.Permute, (2, 1)),
    one("permute_rank_2", (5,), layers.Permute, (1,)),
    one("permute_rank_4", IMAGE, layers.Permute, (3, 1, 2)),
    one("permute_rank_5", VOLUME, layers.Permute, (4, 2, 1, 3)),
    one("repeat_vector", (5,), layers.RepeatVector, 4),
    one("repeat_vector_once", (5,), layers.RepeatVector, 1),
    one("rescaling", IMAGE, layers.Rescaling, 1 / 127.5, offset=-1),
    one("rescaling_of_whole_numbers", IMAGE, layers.Rescaling, 2, offset=3),
    one("rescaling_per_channel", IMAGE, layers.Rescaling, [0.5, 2, -1], offset=[0.1, -0.2, 0.3]),
    one("rescaling_nested", (2, 3), layers.Rescaling, [[0.5, 2, -1], [1, 2, 3]], offset=[[1], [2]]),
    one("rescaling_by_infinity", (5,), layers.Rescaling, float("inf"), refused="a finite number"),
    *(
        one(f"{name}_{data_format}", (6, 7, 8), layer, **options, data_format=data_format)
        for data_format in ("channels_last", "channels_first")
        for name, layer, options in (
            ("cropping2d", layers.Cropping2D, {"cropping": 1}),
            ("cropping2d_pair", layers.Cropping2D, {"cropping": (1, 2)}),
            ("cropping2d_sides", layers.Cropping2D, {"cropping": ((1, 2), (3, 0))}),
            ("cropping2d_nothing", layers.Cropping2D, {"cropping": 0}),
            ("zero_padding2d", layers.ZeroPadding2D, {"padding": 1}),
            ("zero_padding2d_pair", layers.ZeroPadding2D, {"padding": (1, 2)}),
            ("zero_padding2d_sides", layers.ZeroPadding2D, {"padding": ((1, 2), (3, 0))}),
            ("up_sampling2d", layers.UpSampling2D, {}),
            ("up_sampling2d_3", layers.UpSampling2D, {"size": 3}),
            ("up_sampling2d_unequal", layers.UpSampling2D, {"size": (1, 3)}),
        )
    ),
    one("cropping2d_unknown_size", (None, None, 3), layers.Cropping2D, ((1, 2), (0, 1))),
    one("zero_padding2d_unknown_size", (None, None, 3), layers.ZeroPadding2D, ((1, 2), (0, 1))),
    one("up_sampling2d_unknown_size", (None, None, 3), layers.UpSampling2D, 2),
    *(
        one(f"up_sampling2d_{name}", IMAGE, layers.UpSampling2D, interpolation=name)
        for name in ("bilinear", "bicubic", "lanczos3", "lanczos5")
    ),
)

CASES = (
    *CORE,
    *ACTIVATION_LAYERS,
    *CONVOLUTIONS,
    *poolings(),
    *NORMALIZATIONS,
    *MERGES,
    *RESHAPINGS,
    *with_activations(),
    *without_activations(),
)
