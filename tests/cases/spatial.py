"""Layers over sequences, images and volumes that are rewritten for a layers-model: all options.

Sizes are odd and differ from axis to axis, so that no two of them can be mistaken for each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers
from tests.cases.case import Case, chain, negative, no_layers_model, one

SERIES = (7, 3)
IMAGE = (7, 6, 3)
VOLUME = (5, 6, 4, 3)
FIRST = "channels_first"
STATIC = "must be fixed"
ROUNDS = "casts its output to"

PLAIN = (
    one("conv1d_transpose", SERIES, layers.Conv1DTranspose, 3, 2),
    one("depthwise_conv1d", SERIES, layers.DepthwiseConv1D, 2),
    one("separable_conv1d", SERIES, layers.SeparableConv1D, 3, 2),
    one("cropping1d", SERIES, layers.Cropping1D, 1),
    one("cropping3d", VOLUME, layers.Cropping3D, 1),
    one("zero_padding1d", SERIES, layers.ZeroPadding1D, 1),
    one("zero_padding3d", VOLUME, layers.ZeroPadding3D, 1),
    one("up_sampling1d", SERIES, layers.UpSampling1D, 2),
    one("up_sampling3d", VOLUME, layers.UpSampling3D, 2),
    one("global_average_pooling3d", VOLUME, layers.GlobalAveragePooling3D),
    one("global_max_pooling3d", VOLUME, layers.GlobalMaxPooling3D),
    one("adaptive_average_pooling1d", SERIES, layers.AdaptiveAveragePooling1D, 3),
    one("adaptive_average_pooling2d", IMAGE, layers.AdaptiveAveragePooling2D, 3),
    one("adaptive_average_pooling3d", VOLUME, layers.AdaptiveAveragePooling3D, 2),
    one("adaptive_max_pooling1d", SERIES, layers.AdaptiveMaxPooling1D, 3),
    one("adaptive_max_pooling2d", IMAGE, layers.AdaptiveMaxPooling2D, 3),
    one("adaptive_max_pooling3d", VOLUME, layers.AdaptiveMaxPooling3D, 2),
    one("max_pooling3d", VOLUME, layers.MaxPooling3D, feed=negative),
    one("conv3d_transpose", VOLUME, layers.Conv3DTranspose, 2, 2),
    one("resizing", IMAGE, layers.Resizing, 5, 7),
    one("center_crop", IMAGE, layers.CenterCrop, 4, 4),
)
"""Layers that TF.js lacks, without options."""

CONVOLUTIONS = (
    one(
        "conv1d_causal_dilated",
        (None, 3),
        layers.Conv1D,
        4,
        3,
        padding="causal",
        dilation_rate=2,
        activation="tanh",
    ),
    one(
        "conv1d_causal_strided",
        SERIES,
        layers.Conv1D,
        4,
        3,
        padding="causal",
        strides=2,
        use_bias=False,
    ),
    one("conv1d_causal_of_one_step", SERIES, layers.Conv1D, 4, 1, padding="causal"),
    one(
        "conv1d_channels_first_softmax",
        (3, 7),
        layers.Conv1D,
        4,
        3,
        data_format=FIRST,
        activation="softmax",
    ),
    one(
        "conv1d_channels_first_unknown_length",
        (3, None),
        layers.Conv1D,
        4,
        3,
        data_format=FIRST,
        strides=2,
    ),
    one("conv1d_groups_softmax", (7, 4), layers.Conv1D, 6, 3, groups=2, activation="softmax"),
    one(
        "conv1d_groups_channels_first", (4, None), layers.Conv1D, 6, 3, groups=2, data_format=FIRST
    ),
    one(
        "conv1d_groups_causal",
        (None, 4),
        layers.Conv1D,
        8,
        3,
        groups=2,
        padding="causal",
        dilation_rate=3,
    ),
    one(
        "conv1d_groups_of_one", (None, 4), layers.Conv1D, 8, 3, groups=4, strides=2, padding="same"
    ),
    one(
        "conv1d_groups_of_one_dilated",
        (9, 4),
        layers.Conv1D,
        8,
        3,
        groups=4,
        dilation_rate=2,
        activation="relu",
    ),
    one(
        "conv1d_groups_of_three",
        (9, 6),
        layers.Conv1D,
        9,
        4,
        groups=3,
        strides=2,
        padding="same",
        activation="tanh",
    ),
    one(
        "conv2d_groups_relu",
        (7, 6, 6),
        layers.Conv2D,
        9,
        (3, 2),
        groups=3,
        activation="relu",
        strides=(1, 2),
    ),
    one(
        "conv2d_groups_dilated",
        (7, 6, 4),
        layers.Conv2D,
        6,
        (3, 2),
        groups=2,
        dilation_rate=(1, 2),
        use_bias=False,
    ),
    one(
        "conv2d_groups_unknown_size", (None, None, 4), layers.Conv2D, 6, 3, groups=2, padding="same"
    ),
    one(
        "conv2d_groups_channels_first",
        (4, 7, 6),
        layers.Conv2D,
        6,
        3,
        groups=2,
        data_format=FIRST,
        activation="softmax",
    ),
    one(
        "conv2d_groups_hard_silu", (7, 6, 4), layers.Conv2D, 6, 3, groups=2, activation="hard_silu"
    ),
    one(
        "conv2d_groups_to_one",
        (7, 6, 9),
        layers.Conv2D,
        3,
        (2, 3),
        groups=3,
        strides=2,
        activation="relu",
    ),
    one(
        "conv2d_many_groups", (6, 5, 32), layers.Conv2D, 48, 3, groups=16, strides=2, padding="same"
    ),
    one(
        "conv2d_groups_strided_channels_first",
        (6, 7, 8),
        layers.Conv2D,
        4,
        (2, 3),
        groups=2,
        strides=(2, 1),
        padding="same",
        data_format=FIRST,
    ),
    one(
        "conv2d_groups_of_one",
        (7, 6, 4),
        layers.Conv2D,
        8,
        (3, 2),
        groups=4,
        strides=2,
        padding="same",
    ),
    one(
        "conv2d_groups_of_one_channels_first",
        (4, 7, 6),
        layers.Conv2D,
        8,
        (3, 2),
        groups=4,
        data_format=FIRST,
        activation="softmax",
    ),
    one(
        "conv2d_too_many_groups",
        (3, 2, 130),
        layers.Conv2D,
        65,
        2,
        groups=65,
        refused="at most 64 groups",
    ),
    one(
        "conv3d_channels_first_softmax",
        (3, 5, 6, 4),
        layers.Conv3D,
        4,
        (2, 3, 1),
        data_format=FIRST,
        activation="softmax",
    ),
    one(
        "conv3d_groups_of_two",
        (*VOLUME[:3], 4),
        layers.Conv3D,
        6,
        (2, 3, 1),
        groups=2,
        padding="same",
    ),
    one(
        "conv3d_groups_dilated",
        (*VOLUME[:3], 6),
        layers.Conv3D,
        6,
        2,
        groups=3,
        dilation_rate=2,
        activation="relu",
    ),
    one(
        "conv3d_groups_of_one",
        (*VOLUME[:3], 3),
        layers.Conv3D,
        6,
        (2, 3, 1),
        groups=3,
        strides=(2, 1, 3),
        padding="same",
    ),
    one("conv3d_groups_unknown_size", (None, 6, 4, 4), layers.Conv3D, 6, 2, groups=2, strides=2),
    one(
        "conv3d_groups_channels_first",
        (4, 5, 6, 4),
        layers.Conv3D,
        6,
        2,
        groups=2,
        data_format=FIRST,
    ),
    one(
        "conv3d_groups_unknown_sizes",
        (None, None, 4, 4),
        layers.Conv3D,
        6,
        2,
        groups=2,
        refused="is unknown",
    ),
    one(
        "depthwise_conv2d_dilated_unequally",
        IMAGE,
        layers.DepthwiseConv2D,
        (2, 3),
        dilation_rate=(3, 1),
        padding="same",
        depth_multiplier=2,
        activation="relu",
    ),
    one(
        "depthwise_conv2d_dilated_channels_first",
        (3, 7, 6),
        layers.DepthwiseConv2D,
        2,
        dilation_rate=2,
        data_format=FIRST,
        activation="softmax",
        use_bias=False,
    ),
    one("depthwise_conv1d_valid", SERIES, layers.DepthwiseConv1D, 3, activation="softmax"),
    one(
        "depthwise_conv1d_strided_same",
        SERIES,
        layers.DepthwiseConv1D,
        3,
        strides=2,
        padding="same",
        depth_multiplier=2,
    ),
    one(
        "depthwise_conv1d_dilated",
        SERIES,
        layers.DepthwiseConv1D,
        3,
        dilation_rate=2,
        use_bias=False,
    ),
    one(
        "depthwise_conv1d_channels_first",
        (3, 7),
        layers.DepthwiseConv1D,
        3,
        data_format=FIRST,
        strides=2,
    ),
    one(
        "separable_conv1d_strided_same",
        SERIES,
        layers.SeparableConv1D,
        4,
        3,
        padding="same",
        strides=2,
        depth_multiplier=2,
        activation="softmax",
    ),
    one("depthwise_conv1d_unknown_length", (None, 3), layers.DepthwiseConv1D, 3, strides=2),
    one(
        "separable_conv1d_strided_unknown_length",
        (None, 3),
        layers.SeparableConv1D,
        4,
        3,
        strides=2,
    ),
    one("separable_conv1d_unknown_length", (None, 3), layers.SeparableConv1D, 4, 3, padding="same"),
    one(
        "separable_conv1d_dilated",
        SERIES,
        layers.SeparableConv1D,
        4,
        3,
        dilation_rate=2,
        use_bias=False,
    ),
    one(
        "separable_conv1d_channels_first",
        (3, 7),
        layers.SeparableConv1D,
        4,
        3,
        data_format=FIRST,
        activation="relu",
    ),
    one(
        "separable_conv2d_channels_first_softmax",
        (3, 7, 6),
        layers.SeparableConv2D,
        4,
        3,
        data_format=FIRST,
        activation="softmax",
        strides=2,
    ),
)


def narrow() -> Iterator[Case]:
    """Strides larger than the window, so windows skip values; padding="same" centers them."""
    for size, window, stride in ((4, 1, 2), (5, 1, 3), (5, 2, 3), (8, 2, 5)):
        of = {"strides": stride, "padding": "same"}
        for rank in (1, 2, 3):
            shape, row = (
                (*(size, size + 1, size + 2)[:rank], 2),
                f"{rank}d_{window}_by_{stride}_of_{size}",
            )
            yield one(f"narrow_conv{row}", shape, getattr(layers, f"Conv{rank}D"), 3, window, **of)
            for kind in ("Max", "Average"):
                pooling = getattr(layers, f"{kind}Pooling{rank}D")
                yield one(f"narrow_{kind.lower()}_pooling{row}", shape, pooling, window, **of)
            if rank < 3:
                yield one(
                    f"narrow_depthwise_conv{row}",
                    shape,
                    getattr(layers, f"DepthwiseConv{rank}D"),
                    window,
                    **of,
                )
                yield one(
                    f"narrow_separable_conv{row}",
                    shape,
                    getattr(layers, f"SeparableConv{rank}D"),
                    3,
                    window,
                    **of,
                )
    first = {"padding": "same", "data_format": FIRST}
    yield one(
        "narrow_conv2d_groups", (8, 5, 4), layers.Conv2D, 6, 2, strides=3, padding="same", groups=2
    )
    yield one(
        "narrow_conv2d_channels_first",
        (2, 8, 5),
        layers.Conv2D,
        3,
        2,
        strides=3,
        **first,
        activation="softmax",
    )
    yield one(
        "narrow_conv2d_unknown_width",
        (8, None, 2),
        layers.Conv2D,
        3,
        (2, 3),
        strides=(3, 1),
        padding="same",
    )
    yield one(
        "narrow_conv3d_unknown_size",
        (None, 5, 4, 2),
        layers.Conv3D,
        3,
        1,
        strides=2,
        padding="same",
    )
    unknown = {"padding": "same", "refused": "smaller than their stride"}
    yield one("narrow_conv2d_unknown_size", (None, 5, 2), layers.Conv2D, 3, 2, strides=3, **unknown)
    yield one(
        "narrow_conv2d_wide_unknown_sizes",
        (None, None, 2),
        layers.Conv2D,
        3,
        3,
        strides=5,
        **unknown,
    )
    yield one(
        "narrow_conv2d_groups_unknown_sizes",
        (None, None, 4),
        layers.Conv2D,
        6,
        (2, 4),
        strides=5,
        groups=2,
        activation="relu",
        **unknown,
    )
    yield one(
        "narrow_conv3d_unknown_sizes", (None, 5, 4, 2), layers.Conv3D, 3, 3, strides=4, **unknown
    )
    yield one(
        "narrow_depthwise_conv2d_unknown_size",
        (None, 5, 2),
        layers.DepthwiseConv2D,
        3,
        strides=5,
        activation="relu",
        **unknown,
    )
    for kind in ("Max", "Average"):
        pooling = getattr(layers, f"{kind}Pooling2D")
        yield one(
            f"narrow_{kind.lower()}_pooling2d_unknown_sizes",
            (None, None, 2),
            pooling,
            3,
            strides=5,
            padding="same",
        )


def transposed() -> Iterator[Case]:
    """Windows smaller than, equal to and larger than the stride, with all output sizes of Keras."""
    for padding, window, stride in itertools.product(("valid", "same"), (1, 2, 3, 4), (1, 2, 3)):
        for output_padding in (None, *range(stride)):
            options = {"strides": stride, "padding": padding, "output_padding": output_padding}
            row = f"{padding}_{window}_{stride}" + (
                "" if output_padding is None else f"_longer_by_{output_padding}"
            )
            yield one(
                f"conv2d_transpose_{row}",
                (4, 3, 2),
                layers.Conv2DTranspose,
                3,
                (window, window + 1),
                **options,
                activation="tanh",
            )
            if window < 4:
                yield one(
                    f"conv3d_transpose_{row}",
                    (3, 4, 2, 2),
                    layers.Conv3DTranspose,
                    3,
                    (window, window + 1, 2),
                    **options,
                )
    for name, layer, shape, kernel in (
        ("conv1d_transpose", layers.Conv1DTranspose, SERIES, 3),
        ("conv2d_transpose", layers.Conv2DTranspose, (4, 3, 2), (3, 2)),
        ("conv3d_transpose", layers.Conv3DTranspose, (3, 4, 2, 2), (3, 2, 1)),
    ):
        rank = len(shape) - 1
        yield one(
            f"{name}_dilated_same",
            shape,
            layer,
            4,
            kernel,
            dilation_rate=2,
            padding="same",
            activation="relu",
        )
        yield one(
            f"{name}_dilated_longer",
            (None, *shape[1:]),
            layer,
            4,
            kernel,
            dilation_rate=3,
            output_padding=0,
            use_bias=False,
        )
        yield one(
            f"{name}_channels_first",
            (shape[-1], *shape[:-1]),
            layer,
            4,
            kernel,
            strides=2,
            padding="same",
            output_padding=0,
            data_format=FIRST,
            activation="softmax",
        )
        if rank != 2:
            yield one(
                f"{name}_unknown_length",
                (None, *shape[1:]),
                layer,
                4,
                kernel,
                strides=2,
                padding="same",
            )
    yield one(
        "conv1d_transpose_longer", SERIES, layers.Conv1DTranspose, 4, 2, strides=3, output_padding=1
    )


def poolings() -> Iterator[Case]:
    """Windows over sequences and volumes, over everything, and as many as asked for."""
    for kind in ("Max", "Average"):
        one_d, three_d = (getattr(layers, f"{kind}Pooling{rank}D") for rank in (1, 3))
        row = f"{kind.lower()}_pooling"
        yield one(
            f"{row}1d_channels_first_same",
            (3, None),
            one_d,
            3,
            strides=2,
            padding="same",
            data_format=FIRST,
            feed=negative,
        )
        yield one(f"{row}3d_windows", VOLUME, three_d, (3, 2, 1), feed=negative)
        yield one(
            f"{row}3d_overlapping",
            VOLUME,
            three_d,
            (2, 3, 2),
            strides=(1, 2, 3),
            padding="same",
            feed=negative,
        )
        yield one(
            f"{row}3d_unknown_size", (None, 6, 4, 3), three_d, 2, padding="same", feed=negative
        )
        yield one(
            f"{row}3d_of_channels_first", (3, 5, 6, 4), three_d, 2, data_format=FIRST, feed=negative
        )
        for rank, shape in ((1, SERIES), (2, IMAGE), (3, VOLUME)):
            whole = getattr(layers, f"Global{kind}Pooling{rank}D")
            adaptive = getattr(layers, f"Adaptive{kind}Pooling{rank}D")
            first = (shape[-1], *shape[:-1])
            row = f"global_{kind.lower()}_pooling{rank}d"
            yield one(
                f"{row}_keepdims_first",
                first,
                whole,
                keepdims=True,
                data_format=FIRST,
                feed=negative,
            )
            if rank == 3:
                yield one(f"{row}_keepdims", shape, whole, keepdims=True, feed=negative)
                yield one(f"{row}_first", first, whole, data_format=FIRST, feed=negative)
                yield one(f"{row}_unknown_size", (None, None, None, 3), whole, feed=negative)
            row, even = f"adaptive_{kind.lower()}_pooling{rank}d", (9, 4, 6)[:rank]
            yield one(f"{row}_even", (*even, 3), adaptive, (3, 2, 1)[:rank], feed=negative)
            yield one(
                f"{row}_even_first",
                (3, *even),
                adaptive,
                (3, 2, 1)[:rank],
                data_format=FIRST,
                feed=negative,
            )
            yield one(f"{row}_uneven", (*even, 3), adaptive, (4, 2, 5)[:rank], feed=negative)
            yield one(
                f"{row}_uneven_first",
                (3, *even),
                adaptive,
                (4, 3, 6)[:rank],
                data_format=FIRST,
                feed=negative,
            )
            yield one(
                f"{row}_more_than_there_are", (*even, 3), adaptive, (11, 6, 8)[:rank], feed=negative
            )


MERGES = (
    one(
        "concatenate_half_known_both_ways", [(None, 5, 3), (7, 5, None)], layers.Concatenate, axis=3
    ),
    one("concatenate_of_three_half_known", [(None, 5), (None, 3), (7, 3)], layers.Concatenate),
    one("dot_rank_4_with_a_vector", [(2, 5, 4), (5,)], layers.Dot, axes=(2, 1)),
    one("dot_rank_4_of_other_axes", [(2, 5), (3, 4, 2)], layers.Dot, axes=(1, -1)),
    one("dot_rank_4_unknown_length", [(None, 2, 5), (3, 5)], layers.Dot, axes=(3, 2)),
)

RESHAPINGS = (
    one("cropping1d_sides", SERIES, layers.Cropping1D, (1, 2)),
    one("cropping1d_unknown_length", (None, 3), layers.Cropping1D, (2, 0)),
    one("cropping1d_nothing", SERIES, layers.Cropping1D, 0),
    one("cropping3d_sides", VOLUME, layers.Cropping3D, ((1, 2), (0, 1), (2, 1))),
    one(
        "cropping3d_channels_first",
        (3, 5, 6, 4),
        layers.Cropping3D,
        ((1, 2), (0, 1), (2, 1)),
        data_format=FIRST,
    ),
    one("cropping3d_unknown_size", (5, None, 4, 3), layers.Cropping3D, 1),
    one("cropping3d_unknown_sizes", (None, None, 4, 3), layers.Cropping3D, 1, refused="is unknown"),
    one("zero_padding1d_sides", SERIES, layers.ZeroPadding1D, (1, 2)),
    one("zero_padding1d_channels_first", SERIES, layers.ZeroPadding1D, (1, 2), data_format=FIRST),
    one("zero_padding1d_unknown_length", (None, 3), layers.ZeroPadding1D, 2),
    one("zero_padding3d_sides", VOLUME, layers.ZeroPadding3D, ((1, 2), (0, 1), (2, 1))),
    one(
        "zero_padding3d_channels_first",
        (3, 5, 6, 4),
        layers.ZeroPadding3D,
        ((1, 2), (0, 1), (2, 0)),
        data_format=FIRST,
    ),
    one("zero_padding3d_unknown_size", (5, None, 4, 3), layers.ZeroPadding3D, 1),
    one("up_sampling1d_3", SERIES, layers.UpSampling1D, 3),
    one("up_sampling1d_unknown_length", (None, 3), layers.UpSampling1D, 2),
    one("up_sampling3d_unequal", VOLUME, layers.UpSampling3D, (2, 1, 3)),
    one(
        "up_sampling3d_channels_first",
        (3, 5, 6, 4),
        layers.UpSampling3D,
        (2, 3, 1),
        data_format=FIRST,
    ),
    one("up_sampling3d_unknown_size", (None, 6, 4, 3), layers.UpSampling3D, 2),
    one(
        "up_sampling2d_bilinear_channels_first",
        (3, 7, 6),
        layers.UpSampling2D,
        (2, 3),
        interpolation="bilinear",
        data_format=FIRST,
    ),
    one(
        "up_sampling2d_bicubic_unequal", IMAGE, layers.UpSampling2D, (1, 3), interpolation="bicubic"
    ),
    one(
        "up_sampling2d_bilinear_unknown_size",
        (None, None, 3),
        layers.UpSampling2D,
        interpolation="bilinear",
        refused=STATIC,
    ),
    one("flatten_scalars", (), layers.Flatten),
    one("flatten_unknown_length_channels_first", (None, 4, 5), layers.Flatten, data_format=FIRST),
    one("flatten_unknown_lengths", (None, None, 5), layers.Flatten),
)


def resizings() -> Iterator[Case]:
    """Every interpolation, growing and shrinking, in the proportions of the images or in others."""
    odd, first = (9, 7, 3), (3, 9, 7)
    for name in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        yield one(f"resizing_{name}", odd, layers.Resizing, 5, 11, interpolation=name)
        yield one(
            f"resizing_{name}_antialias",
            odd,
            layers.Resizing,
            5,
            3,
            interpolation=name,
            antialias=True,
        )
        yield one(
            f"resizing_{name}_channels_first",
            first,
            layers.Resizing,
            4,
            14,
            interpolation=name,
            data_format=FIRST,
        )
    yield one(
        "resizing_nearest_of_uint8",
        odd,
        layers.Resizing,
        5,
        11,
        interpolation="nearest",
        of="uint8",
    )
    yield one("resizing_of_uint8", odd, layers.Resizing, 5, 11, of="uint8", refused=ROUNDS)
    yield chain(
        "resizing_of_pooled_int32",
        odd,
        lambda: layers.MaxPooling2D(2),
        lambda: layers.Resizing(2, 6),
        of="int32",
        refused=ROUNDS,
    )
    yield chain(
        "resizing_of_rescaled_uint8",
        odd,
        lambda: layers.Rescaling(1 / 255),
        lambda: layers.RandomFlip(),
        lambda: layers.Resizing(4, 5),
        lambda: layers.CenterCrop(2, 3),
        of="uint8",
    )
    yield one("resizing_to_the_same", odd, layers.Resizing, 9, 7)
    yield one("resizing_unknown_size", (None, None, 3), layers.Resizing, 5, 11, refused=STATIC)
    yield one(
        "resizing_too_large",
        (600, 2, 1),
        layers.Resizing,
        1800,
        2,
        interpolation="nearest",
        refused="MB in a layers-model",
    )
    for size in ((5, 11), (11, 5), (6, 6)):
        row, of = f"{size[0]}x{size[1]}", {"crop_to_aspect_ratio": True}
        yield one(f"resizing_crop_{row}", odd, layers.Resizing, *size, **of)
        yield one(
            f"resizing_crop_{row}_channels_first",
            first,
            layers.Resizing,
            *size,
            **of,
            data_format=FIRST,
        )
        of = {"pad_to_aspect_ratio": True}
        yield one(f"resizing_pad_{row}", odd, layers.Resizing, *size, **of)
        yield one(f"resizing_pad_{row}_filled", odd, layers.Resizing, *size, **of, fill_value=2.5)
        yield one(
            f"resizing_pad_{row}_filled_channels_first",
            first,
            layers.Resizing,
            *size,
            **of,
            fill_value=-1.5,
            data_format=FIRST,
            interpolation="bicubic",
        )
    yield one("center_crop_odd", odd, layers.CenterCrop, 4, 3)
    yield one("center_crop_channels_first", first, layers.CenterCrop, 4, 3, data_format=FIRST)
    yield one("center_crop_larger", odd, layers.CenterCrop, 12, 3)
    yield one(
        "center_crop_larger_channels_first", first, layers.CenterCrop, 4, 12, data_format=FIRST
    )
    yield one("center_crop_to_the_same", odd, layers.CenterCrop, 9, 7)
    yield one("center_crop_of_uint8", odd, layers.CenterCrop, 4, 3, of="uint8")
    yield one("center_crop_unknown_size", (None, None, 3), layers.CenterCrop, 4, 3, refused=STATIC)


def resizings_of_unknown_sizes() -> Iterator[Case]:
    """Graphs work out the weights of the pixels when they run; layers-models cannot."""
    unknown, first = (None, None, 3), (3, None, None)
    of: dict[str, Any] = {"refused": STATIC}
    for name in ("bicubic", "lanczos3", "lanczos5"):
        yield one(
            f"up_sampling2d_{name}_unknown_size",
            unknown,
            layers.UpSampling2D,
            (2, 3),
            interpolation=name,
            **of,
        )
    yield one(
        "up_sampling2d_bilinear_unknown_width",
        (5, None, 3),
        layers.UpSampling2D,
        3,
        interpolation="bilinear",
        **of,
    )
    yield one(
        "up_sampling2d_bilinear_unknown_size_channels_first",
        first,
        layers.UpSampling2D,
        (3, 2),
        data_format=FIRST,
        interpolation="bilinear",
        **of,
    )
    for name in ("nearest", "bilinear", "bicubic", "lanczos3"):
        yield one(
            f"resizing_{name}_antialias_unknown_size",
            unknown,
            layers.Resizing,
            3,
            11,
            interpolation=name,
            antialias=True,
            **of,
        )
        for aspect, size in (("crop", (6, 8)), ("crop", (11, 3)), ("pad", (8, 3)), ("pad", (3, 8))):
            options: dict[str, Any] = {
                f"{aspect}_to_aspect_ratio": True,
                "interpolation": name,
                **of,
            }
            options |= {"fill_value": 2.5} if aspect == "pad" else {}
            yield one(
                f"resizing_{name}_{aspect}_to_{size[0]}x{size[1]}_unknown_size",
                unknown,
                layers.Resizing,
                *size,
                **options,
            )
    yield one(
        "resizing_unknown_height_channels_first",
        (3, None, 7),
        layers.Resizing,
        4,
        9,
        interpolation="lanczos5",
        data_format=FIRST,
        **of,
    )
    yield one("center_crop_larger_unknown_size", unknown, layers.CenterCrop, 40, 3, **of)
    yield one("center_crop_unknown_width", (9, None, 3), layers.CenterCrop, 4, 3, **of)
    yield Case(
        "resize_operation_of_unknown_size",
        resized_by_operations,
        refused=no_layers_model("it computes Range"),
    )


def resized_by_operations() -> keras.Model:
    x = layers.Input((None, None, 3))
    wide = keras.ops.image.resize(x, (5, 11), interpolation="bicubic", antialias=True)
    cut = keras.ops.image.resize(x, (5, 11), crop_to_aspect_ratio=True)
    return keras.Model(x, [wide, cut])


# --------------------------------------------------------------------------------- in larger models


def rewritten_over_time() -> keras.Model:
    """A model of layers that are rewritten, at each step."""
    x = layers.Input((9, 7, 4))
    y = layers.Conv2D(6, 3, groups=2, activation="hard_silu")(x)
    inner = keras.Model(x, layers.GlobalMaxPooling2D(keepdims=True)(layers.Resizing(5, 4)(y)))
    film = layers.Input((3, 9, 7, 4))
    return keras.Model(film, layers.TimeDistributed(inner)(film))


def rewritten_and_shared() -> keras.Model:
    """Layers that are rewritten, called several times, in a nested model and out of it."""
    causal = layers.Conv1D(4, 3, padding="causal", groups=2, activation="tanh")
    pooled = layers.GlobalAveragePooling1D(keepdims=True)
    x = layers.Input((7, 4))
    inner = keras.Model(x, layers.Add()([pooled(causal(x)), x]))
    a, b = layers.Input((7, 4)), layers.Input((5, 4))
    return keras.Model([a, b], [causal(causal(b)), inner(inner(a)), pooled(b)])


def rewritten_between_normalizations() -> keras.Model:
    """The usual block: depthwise, dilated, normalized."""
    x = layers.Input((9, 8, 4))
    y = layers.BatchNormalization()(
        layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", use_bias=False)(x)
    )
    y = layers.BatchNormalization()(
        layers.Conv2D(8, 3, groups=4, use_bias=False)(layers.ReLU(6)(y))
    )
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.GlobalAveragePooling2D()(y))))


def padded_groups_between_normalizations() -> keras.Model:
    """Blocks as ResNeXt has them, with padding in a layer of its own."""
    x = layers.Input((9, 8, 6))
    y = x
    for groups, activation in ((3, "relu"), (6, "relu6"), (2, "leaky_relu")):
        y = layers.ZeroPadding2D(((1, 0), (2, 1)))(y)
        y = layers.Conv2D(6, 3, groups=groups, use_bias=groups == 2)(y)
        y = layers.Activation(activation)(layers.BatchNormalization()(y))
    return keras.Model(x, y)


def mask_global_average_pooling_keepdims() -> keras.Model:
    x = layers.Input((6,), dtype="int32")
    y = layers.Embedding(9, 4, mask_zero=True)(x)
    return keras.Model(x, layers.GlobalAveragePooling1D(keepdims=True)(y))


CASES = (
    *PLAIN,
    *CONVOLUTIONS,
    *narrow(),
    *transposed(),
    *poolings(),
    *MERGES,
    *RESHAPINGS,
    *resizings(),
    *resizings_of_unknown_sizes(),
    Case("rewritten_over_time", rewritten_over_time),
    Case("rewritten_and_shared", rewritten_and_shared),
    Case("rewritten_between_normalizations", rewritten_between_normalizations),
    Case("padded_groups_between_normalizations", padded_groups_between_normalizations),
    Case(
        "mask_global_average_pooling_keepdims",
        mask_global_average_pooling_keepdims,
        refused=no_layers_model("ignores masked time steps"),
    ),
)
