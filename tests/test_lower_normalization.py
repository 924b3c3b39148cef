"""The lowering of normalization, EinsumDense and ReversibleEmbedding computes as Keras does."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import pytest
from keras import layers
from tests.cases.case import Case, chain, ids, one
from tests.lowered import agrees

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLAT, SERIES, IMAGE, VOLUME = (5,), (7, 6), (5, 4, 6), (3, 2, 4, 6)


def layer_normalizations() -> Iterator[Case]:
    """Every option over every axis."""
    for shape in (FLAT, SERIES, IMAGE, VOLUME, (2, *VOLUME)):
        yield one(f"layer_{len(shape)}", shape, layers.LayerNormalization)
    for axis in (1, 2, 3, -2, (1, 2), (2, 3), (1, 3), (1, 2, 3), (-1, -2), (-1, 1), (-1, -3)):
        yield one(f"layer_axis_{axis}", IMAGE, layers.LayerNormalization, axis=axis, epsilon=0.01)
    for center, scale, rms in ((False, True, False), (True, False, False), (False, False, False),
                               (True, True, True), (False, False, True)):  # fmt: skip
        options: dict[str, Any] = {"center": center, "scale": scale, "rms_scaling": rms}
        yield one(f"layer_{center}_{scale}_{rms}", SERIES, layers.LayerNormalization, **options)
        yield one(
            f"layer_{center}_{scale}_{rms}_axes",
            IMAGE,
            layers.LayerNormalization,
            axis=(1, 3),
            **options,
        )
    yield one("layer_unknown_length", (None, 6), layers.LayerNormalization)
    yield one(
        "layer_unknown_axis",
        (None, 6),
        layers.LayerNormalization,
        axis=1,
        center=False,
        scale=False,
    )
    yield one("layer_unknown_image", (None, None, 6), layers.LayerNormalization)


def group_normalizations() -> Iterator[Case]:
    """Groups along every axis."""
    for shape in ((6,), SERIES, IMAGE, VOLUME):
        for groups in (1, 2, 3, 6, -1):
            yield one(
                f"group_{len(shape)}_{groups}",
                shape,
                layers.GroupNormalization,
                groups,
                epsilon=0.01,
            )
    for axis in (1, 2, 3, -1, -2, -3):
        yield one(f"group_axis_{axis}", (4, 6, 2), layers.GroupNormalization, 2, axis=axis)
    yield one("group_first", (6, 3, 4), layers.GroupNormalization, 3, axis=1)
    yield one("group_no_weights", IMAGE, layers.GroupNormalization, 3, center=False, scale=False)
    yield one("group_center", IMAGE, layers.GroupNormalization, 3, scale=False)
    yield one("group_scale", IMAGE, layers.GroupNormalization, 3, center=False)
    yield one("group_unknown_image", (None, None, 6), layers.GroupNormalization, 3)
    yield one("group_unknown_image_first", (6, None, None), layers.GroupNormalization, 3, axis=1)
    yield one("group_unknown_half", (None, 4, 6), layers.GroupNormalization, 3, axis=-1)


def other_normalizations() -> Iterator[Case]:
    """Root mean square, unit length, batch, spectral."""
    for shape in (FLAT, SERIES, IMAGE):
        yield one(f"rms_{len(shape)}", shape, layers.RMSNormalization)
        yield one(f"unit_{len(shape)}", shape, layers.UnitNormalization)
    yield one("rms_axes", IMAGE, layers.RMSNormalization, axis=(2, 3), epsilon=0.1)
    yield one("rms_all_axes", IMAGE, layers.RMSNormalization, axis=(-1, -2, -3))
    yield one("rms_square", (4, 4), layers.RMSNormalization, axis=1)
    yield one("rms_unknown_length", (None, 5), layers.RMSNormalization)
    for axis in (1, 2, (1, 2), (-1, 1), (1, 2, 3)):
        yield one(f"unit_axis_{axis}", IMAGE, layers.UnitNormalization, axis=axis)
    yield one(
        "unit_of_zeros",
        SERIES,
        layers.UnitNormalization,
        feed=lambda rng, shape: rng.integers(0, 1, shape),
    )
    yield one("unit_unknown_length", (None, 5), layers.UnitNormalization, axis=1)
    for axis in (1, -1, 2):
        yield one(f"batch_axis_{axis}", IMAGE, layers.BatchNormalization, axis=axis)
    yield chain("spectral", IMAGE, lambda: layers.SpectralNormalization(layers.Conv2D(3, 2)))
    yield chain("spectral_dense", SERIES, lambda: layers.SpectralNormalization(layers.Dense(3)))
    yield chain(
        "masked_along_the_way",
        SERIES,
        layers.Masking,
        layers.LayerNormalization,
        lambda: layers.GroupNormalization(2),
        layers.UnitNormalization,
        layers.BatchNormalization,
        lambda: layers.LSTM(3),
    )


def einsums() -> Iterator[Case]:
    """The three forms of equations."""
    dense = layers.EinsumDense
    yield one("einsum_dense", FLAT, dense, "ab,bc->ac", output_shape=3, bias_axes="c")
    yield one("einsum_no_bias", FLAT, dense, "ab,bc->ac", output_shape=3)
    yield one(
        "einsum_series",
        SERIES,
        dense,
        "abc,cd->abd",
        output_shape=(None, 3),
        bias_axes="d",
        activation="relu",
    )
    yield one(
        "einsum_series_sizes", SERIES, dense, "abc,cd->abd", output_shape=(7, 3), bias_axes="bd"
    )
    yield one(
        "einsum_bias_in_front", SERIES, dense, "abc,cd->abd", output_shape=(7, 3), bias_axes="b"
    )
    yield one(
        "einsum_unknown", (None, 5), dense, "abc,cd->abd", output_shape=(None, 3), bias_axes="d"
    )
    yield one(
        "einsum_two_axes", IMAGE, dense, "abcd,cde->abe", output_shape=(None, 3), bias_axes="e"
    )
    yield one(
        "einsum_split", SERIES, dense, "abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de"
    )
    yield one("einsum_batched", SERIES, dense, "abc,bcd->abd", output_shape=(7, 3), bias_axes="d")
    yield one("einsum_diagonal", SERIES, dense, "abc,c->abc", output_shape=(7, 6), bias_axes="c")
    yield one("einsum_moved", SERIES, dense, "abc,cd->adb", output_shape=(3, 7), bias_axes="d")
    yield one("einsum_summed", SERIES, dense, "abc,cd->ad", output_shape=3, bias_axes="d")
    yield one("einsum_over_time", SERIES, dense, "abc,bd->adc", output_shape=(3, 6), bias_axes="d")
    yield one("einsum_left", IMAGE, dense, "...d,de->...e", output_shape=3, bias_axes="e")
    yield one("einsum_left_none", FLAT, dense, "...ab,bc->...ac", output_shape=3, bias_axes="c")
    yield one(
        "einsum_left_two", IMAGE, dense, "...cd,de->...ce", output_shape=(None, 3), bias_axes="e"
    )
    yield one(
        "einsum_left_bias", IMAGE, dense, "...cd,de->...ce", output_shape=(4, 3), bias_axes="c"
    )
    yield one(
        "einsum_left_unknown",
        (None, None, 6),
        dense,
        "...d,de->...e",
        output_shape=3,
        bias_axes="e",
    )
    yield one("einsum_right", IMAGE, dense, "ab...,bc->ac...", output_shape=3, bias_axes="c")
    yield one(
        "einsum_right_series", SERIES, dense, "ab...,bc->ac...", output_shape=3, bias_axes="c"
    )
    yield one("einsum_right_none", FLAT, dense, "ab...,bc->ac...", output_shape=3, bias_axes="c")
    yield one(
        "einsum_upper_case", SERIES, dense, "aBc,cZ->aBZ", output_shape=(None, 3), bias_axes="Z"
    )


def reversible(*, reverse: bool = True, **options: Any) -> keras.Model:
    """A table there, and back."""
    x = layers.Input((6,), dtype="int32")
    table = layers.ReversibleEmbedding(9, 4, **options)
    y = layers.LSTM(4, return_sequences=True)(table(x))
    return keras.Model(x, table(y, reverse=True) if reverse else y)


REVERSIBLE = (
    Case("reversible_tied", reversible),
    Case("reversible_untied", partial(reversible, tie_weights=False)),
    Case("reversible_capped", partial(reversible, logit_soft_cap=1.5)),
    Case("reversible_masked", partial(reversible, mask_zero=True)),
    Case("reversible_one_way", partial(reversible, reverse=False, tie_weights=False)),
    one("reversible_plain", (6,), layers.ReversibleEmbedding, 9, 4, of="int32", feed=ids(9)),
)

CASES = (
    *layer_normalizations(),
    *group_normalizations(),
    *other_normalizations(),
    *einsums(),
    *REVERSIBLE,
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_the_graph_computes_what_keras_computes(case: Case, tmp_path: Path) -> None:
    agrees(case, tmp_path)
