"""Options that need far more memory than the file are refused by name before building."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.forged import cost, dense, given, hdf5, keras, layer, no_weights, put, sequential, tensor
from tests.forged import functional as graph

import kerasport
from kerasport.budget import FLOOR, TIMES, allowed, limited, matrix, reserve
from kerasport.errors import OptionError, TooLargeError, UnsupportedModel
from kerasport.frontends.keras.layers.resampling import corners, weights

Json = dict[str, Any]
TARGETS = ("tfjs-layers", "tfjs-graph", "onnx")


def operation(
    class_name: str, *arguments: Any, shape: Any, dtype: str = "float32", **config: Any
) -> Json:
    """A model of one function, called on its input and further arguments."""
    made = layer(class_name, "o", module="keras.src.ops.numpy", **config)
    called = {**made, "inbound_nodes": [{"args": [tensor("x"), *arguments], "kwargs": {}}]}
    return graph(given(shape=shape, dtype=dtype), called, outputs="o")


def of_layer(class_name: str, shape: Any, **config: Any) -> Json:
    return sequential(given(shape=shape), layer(class_name, "o", dtype="float32", **config))


MEL = {
    "fft_length": 131072,
    "sequence_stride": 100,
    "sequence_length": 131072,
    "window": "hann",
    "sampling_rate": 16000,
    "num_mel_bins": 1000,
    "min_freq": 20.0,
    "max_freq": 8000,
    "power_to_db": True,
    "top_db": 80.0,
    "mag_exp": 2.0,
    "min_power": 1e-10,
    "ref_power": 1.0,
}
WIDE = (None, 60_000, 60_000, 1)
IMAGE = {"interpolation": "bicubic", "data_format": "channels_last"}

BOMBS: dict[str, Json] = {
    "mean of windows": of_layer(
        "AdaptiveAveragePooling2D", WIDE, output_size=[30_011, 30_011], data_format="channels_last"
    ),
    "maximum of windows": of_layer(
        "AdaptiveMaxPooling1D", (None, 10**9, 1), output_size=10**9 - 1, data_format="channels_last"
    ),
    "mel": of_layer("MelSpectrogram", (None, 10**6), **MEL),
    "mel of many bands": of_layer(
        "MelSpectrogram",
        (None, 10**6),
        **{**MEL, "fft_length": 1024, "sequence_length": 8, "num_mel_bins": 10**9},
    ),
    "resizing": of_layer(
        "Resizing", WIDE, height=50_011, width=50_011, crop_to_aspect_ratio=False, **IMAGE
    ),
    "resize": operation(
        "Resize",
        shape=WIDE,
        size=[50_011, 50_011],
        antialias=True,
        interpolation="bilinear",
        data_format="channels_last",
    ),
    "patches": operation(
        "ExtractPatches",
        shape=(None, 3000, 3000, 3),
        size=[100, 100],
        strides=[100, 100],
        dilation_rate=1,
        padding="valid",
        data_format="channels_last",
    ),
    "blur": operation(
        "GaussianBlur",
        shape=(None, 8, 8, 3),
        kernel_size=[30_001, 30_001],
        sigma=[1.0, 1.0],
        data_format="channels_last",
    ),
    "unfold": operation(
        "Unfold",
        shape=(None, 1, 50_000, 50_000),
        kernel_size=20_000,
        dilation=1,
        padding=0,
        stride=1,
    ),
    "fold": operation(
        "Fold",
        shape=(None, 4, 9),
        output_size=[50_000, 50_000],
        kernel_size=2,
        dilation=1,
        padding=0,
        stride=1,
    ),
    "numbers between": operation(
        "Linspace", 1.0, shape=(None, 3), num=10**9, endpoint=True, retstep=False, axis=0
    ),
    "sequences": operation(
        "ExtractSequences", shape=(None, 10**6), sequence_length=10**5, sequence_stride=1
    ),
    "a diagonal": operation("Diagflat", shape=(2000,), k=0),
    "padding": operation("Pad", shape=(None, 3), pad_width=[[0, 0], [10**9, 0]], mode="wrap"),
    "repetitions": operation("Repeat", shape=(None, 2), repeats=[10**9, 1], axis=1),
    "powers": operation("Vander", shape=(4,), N=10**8, increasing=False),
    "a triangle": operation("Tril", shape=(None, 10**9, 10**9), k=0),
    "a sum of windows": operation("Correlate", list(range(1000)), shape=(10**6,), mode="full"),
    "a size of 4000 digits": operation(
        "Linspace", 1.0, shape=(None, 3), num=10**4000, endpoint=True, retstep=False, axis=0
    ),
}
FEW = 64 * 2**20  # bytes in memory at once; what comes before the refusal is small


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", BOMBS)
def test_too_large_models_are_refused_before_they_are_built(
    name: str, to: str, tmp_path: Path
) -> None:
    source = put(tmp_path / "m.keras", keras(BOMBS[name], hdf5(no_weights)))
    tracemalloc.start()
    try:
        result = kerasport.check(source, to=to)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FLOOR + FEW
    assert [problem.layer for problem in result.problems] == ["o"]
    if to != "tfjs-layers":  # which has other reasons to refuse some of them
        assert "would need" in result.problems[0].reason
        assert "the limit for a file of this size is 268.4 MB" in result.problems[0].reason
        assert "--max-size" in result.problems[0].remedy


@pytest.mark.parametrize("to", TARGETS)
def test_one_hot_of_many_classes_stores_no_list_of_classes(to: str, tmp_path: Path) -> None:
    config = operation(
        "OneHot", shape=(None, 3), dtype="int32", num_classes=10**8, axis=-1, sparse=False
    )
    taken = cost(put(tmp_path / "m.keras", keras(config, hdf5(no_weights))), to=to)
    assert taken.peak < 200


def test_sizes_of_small_constants_add_up(tmp_path: Path) -> None:
    """Each takes 4 MB, and all of them a gigabyte."""
    each: Json = {"output_size": 1000, "data_format": "channels_last"}
    chain = [
        layer(
            "AdaptiveAveragePooling1D",
            f"p{i}",
            **{**each, "output_size": 1001 - i % 2},
            dtype="float32",
        )
        for i in range(250)
    ]
    source = put(
        tmp_path / "m.keras",
        keras(sequential(given(shape=(None, 1000, 1)), *chain), hdf5(no_weights)),
    )
    result = kerasport.check(source, to="tfjs-graph")
    assert result.problems
    assert "already used" in result.problems[0].reason


def test_loops_too_large_to_unroll_stay_loops(tmp_path: Path) -> None:
    """Thousands of layers with 64 steps each would be a million operations."""

    def fill(file: Any) -> None:
        for i in range(10):
            path = f"layers/simple_rnn{f'_{i}' if i else ''}/cell/vars"
            file[f"{path}/0"] = file[f"{path}/1"] = np.ones((1, 1), "f4")
            file[f"{path}/2"] = np.ones(1, "f4")

    options: Json = {
        "units": 1,
        "return_sequences": True,
        "activation": "tanh",
        "use_bias": True,
        "dtype": "float32",
    }
    chain = [layer("SimpleRNN", f"r{i}", **options) for i in range(10)]
    source = put(
        tmp_path / "m.keras", keras(sequential(given(shape=(None, 64, 1)), *chain), hdf5(fill))
    )
    written_out = kerasport.convert(source, tmp_path / "all", to="tfjs-graph")
    assert not any("executeAsync" in note for note in written_out.notes)
    looping = kerasport.convert(source, tmp_path / "some", to="tfjs-graph", max_size=3_000_000)
    assert any("executeAsync" in note for note in looping.notes)
    text = (tmp_path / "some" / "model.json").read_text()
    assert 0 < text.count('"op":"StatelessWhile"') + text.count('"op":"While"') < 10


POOLED = of_layer(
    "AdaptiveAveragePooling1D", (None, 3000, 1), output_size=2999, data_format="channels_last"
)


def test_the_user_can_set_the_limit(tmp_path: Path) -> None:
    """The matrix takes 36 MB, which is allowed where nothing is said."""
    source = put(tmp_path / "m.keras", keras(POOLED, hdf5(no_weights)))
    for size in (30_000_000, 35_999_999):
        with pytest.raises(UnsupportedModel, match=f"the limit .* is {size / 1e6:.1f} MB"):
            kerasport.convert(source, tmp_path / "small", to="tfjs-graph", max_size=size)
    assert not (tmp_path / "small").exists()
    assert kerasport.check(source, to="tfjs-graph").nbytes == 3000 * 2999 * 4
    assert not kerasport.check(source, to="tfjs-graph", max_size=2**20).convertible
    kerasport.convert(source, tmp_path / "out", to="tfjs-graph")
    with pytest.raises(OptionError, match="at least 1 byte"):
        kerasport.convert(source, tmp_path / "none", max_size=0)


def test_the_size_of_the_output_is_limited(tmp_path: Path) -> None:
    """A model of weights alone, which nothing is built for."""

    def fill(file: Any) -> None:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = (
            np.ones((99, 99), "f4"),
            np.ones(99, "f4"),
        )

    source = put(
        tmp_path / "m.keras",
        keras(sequential(given(shape=(None, 99)), dense(units=99)), hdf5(fill)),
    )
    for to in TARGETS:
        out = tmp_path / ("m.onnx" if to == "onnx" else to)
        with pytest.raises(UnsupportedModel, match=r"the converted model would need 39\.[26] kB"):
            kerasport.convert(source, out, to=to, max_size=39_000)
        kerasport.convert(source, out, to=to, max_size=39_600)


def test_the_limit_grows_with_the_file() -> None:
    assert allowed(0) == allowed(1000) == FLOOR
    assert allowed(10**9) == TIMES * 10**9


def test_constants_are_counted() -> None:
    with limited(100_000):
        reserve(100, 100)
        reserve(100, 100, itemsize=5)
        with pytest.raises(
            TooLargeError,
            match=r"of 51 by 100 numbers would need 20.4 kB in addition to 90.0 kB already used",
        ):
            reserve(51, 100)
        reserve(0, 10**30)
        reserve(10**9, -5)
    with pytest.raises(TooLargeError, match=r"1000000000\.0 GB"):
        reserve(10**3000, 10**3000)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 3_000_000), (3_000_000, 1), (2000, 1500), (0, 5), (5, 0)]
)
def test_matrices_are_computed_in_blocks(rows: int, columns: int) -> None:
    each = np.arange(columns)
    made = matrix(rows, columns, lambda numbers: numbers * 10 + each)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, (np.arange(rows)[:, None] * 10 + each).astype("f4"))


def test_blocks_of_resizing_matrices_equal_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = [weights(50, 31, kind, antialias=True) for kind in ("bilinear", "bicubic", "lanczos5")]
    whole += [
        weights(20, 31, "lanczos3", antialias=False, scale=1.3, translation=2.5),
        corners(17, 40),
    ]
    monkeypatch.setattr("kerasport.budget.PIECE", 100)
    parts = [weights(50, 31, kind, antialias=True) for kind in ("bilinear", "bicubic", "lanczos5")]
    parts += [
        weights(20, 31, "lanczos3", antialias=False, scale=1.3, translation=2.5),
        corners(17, 40),
    ]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
