"""The lowering of preprocessing, adaptive pooling and upsampling layers computes as Keras does."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from keras import layers

import kerasport
from kerasport.frontends.keras.infer import Inference
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.read import read
from kerasport.ir.dtypes import NUMPY

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[Any]
Sizes = tuple[int | None, ...]
BATCH = 3


@dataclass(frozen=True)
class Row:
    name: str
    shape: Sizes
    build: Callable[[], Any]
    dtype: str
    values: Callable[[np.random.Generator, tuple[int, ...]], Any] | None
    rtol: float
    atol: float


def row(
    name: str,
    shape: Sizes,
    build: Callable[[], Any],
    dtype: str = "float32",
    values: Any = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> Row:
    return Row(name, shape, build, dtype, values, rtol, atol)


def ids(below: int) -> Callable[[np.random.Generator, tuple[int, ...]], Array]:
    return lambda rng, shape: rng.integers(0, below, shape)


def pixels(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.integers(0, 256, shape)


def brightness(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Images whose first channel is dark and whose second one is even."""
    x = rng.uniform(0, 255, shape)
    x[..., 0] *= 0.3
    x[..., 1] = 7.0
    return x


def adapted(**options: Any) -> Callable[[], Any]:
    def build() -> Any:
        layer = layers.Normalization(**options)
        layer.adapt(np.random.default_rng(3).normal(2, 3, (20, 4, 5)).astype("float32"))
        return layer

    return build


IMAGE, ODD = (8, 6, 3), (9, 7, 3)
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")

ROWS = [
    row("normalization", (4, 5), adapted()),
    row("normalization-axes", (4, 5), adapted(axis=(1, 2))),
    row("normalization-axis", (4, 5), adapted(axis=1)),
    row("normalization-none", (4, 5), adapted(axis=None)),
    row("normalization-invert", (4, 5), adapted(invert=True)),
    row(
        "normalization-given",
        (4, 5),
        lambda: layers.Normalization(
            mean=[1.0, 2.0, 3.0, 4.0, 5.0], variance=[1.0, 2.0, 0.0, 4.0, 5.0]
        ),
    ),
    row(
        "normalization-number",
        (4, 5),
        lambda: layers.Normalization(axis=None, mean=2.0, variance=3.0),
    ),
    row(
        "normalization-ints",
        (4, 5),
        lambda: layers.Normalization(axis=None, mean=2.0, variance=3.0),
        "int32",
        ids(9),
    ),
    *[
        row(
            f"discretization-{m}",
            (4,),
            partial(layers.Discretization, [-1.0, 0.0, 1.5], output_mode=m),
        )
        for m in ("int", "one_hot", "multi_hot", "count")
    ],
    row(
        "discretization-one",
        (1,),
        lambda: layers.Discretization([-1.0, 0.0, 1.5], output_mode="one_hot"),
    ),
    row(
        "discretization-edges",
        (4,),
        lambda: layers.Discretization([-1.0, 0.0, 1.0]),
        values=lambda r, s: r.choice([-1.0, 0.0, 1.0, np.nan, np.inf, -np.inf], s),
    ),
    row(
        "discretization-ints",
        (4,),
        lambda: layers.Discretization([-1.0, 0.0, 1.5]),
        "int32",
        ids(4),
    ),
    *[
        row(f"category_encoding-{m}", (4,), partial(layers.CategoryEncoding, 6, m), "int32", ids(6))
        for m in ("one_hot", "multi_hot", "count")
    ],
    row(
        "category_encoding-one",
        (1,),
        lambda: layers.CategoryEncoding(6, "one_hot"),
        "int32",
        ids(6),
    ),
    row("category_encoding-floats", (4,), lambda: layers.CategoryEncoding(6), "float32", ids(6)),
    *[
        row(f"resizing-{i}-{size}", ODD, partial(layers.Resizing, *size, interpolation=i))
        for i in INTERPOLATIONS
        for size in ((4, 11), (18, 3))
    ],
    *[
        row(
            f"resizing-antialias-{i}",
            ODD,
            partial(layers.Resizing, 4, 10, interpolation=i, antialias=True),
        )
        for i in INTERPOLATIONS
    ],
    *[
        row(
            f"resizing-crop-{size}", ODD, partial(layers.Resizing, *size, crop_to_aspect_ratio=True)
        )
        for size in ((4, 4), (3, 12), (12, 3))
    ],
    *[
        row(
            f"resizing-pad-{size}",
            ODD,
            partial(layers.Resizing, *size, pad_to_aspect_ratio=True, fill_value=2.5),
        )
        for size in ((4, 4), (3, 12), (12, 3))
    ],
    row(
        "resizing-first",
        (3, 9, 7),
        lambda: layers.Resizing(4, 5, "bicubic", data_format="channels_first"),
    ),
    row("resizing-same", ODD, lambda: layers.Resizing(9, 7)),
    row("resizing-dynamic", (None, None, 3), lambda: layers.Resizing(4, 11)),
    row("resizing-dynamic-nearest", (None, None, 3), lambda: layers.Resizing(4, 11, "nearest")),
    row("resizing-uint8", ODD, lambda: layers.Resizing(3, 21), "uint8", pixels),
    row("resizing-uint8-nearest", ODD, lambda: layers.Resizing(4, 11, "nearest"), "uint8", pixels),
    row("center_crop", ODD, lambda: layers.CenterCrop(4, 3)),
    row("center_crop-even", IMAGE, lambda: layers.CenterCrop(5, 3)),
    row("center_crop-larger", ODD, lambda: layers.CenterCrop(12, 3)),
    row(
        "center_crop-first",
        (3, 9, 7),
        lambda: layers.CenterCrop(4, 3, data_format="channels_first"),
    ),
    row("auto_contrast", ODD, layers.AutoContrast, values=brightness, atol=1e-3),
    row(
        "auto_contrast-range",
        ODD,
        lambda: layers.AutoContrast((0, 1)),
        values=lambda r, s: brightness(r, s) / 255,
    ),
    row(
        "clahe",
        (20, 21, 3),
        lambda: layers.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(3, 4)),
        values=brightness,
        atol=1e-2,
    ),
    row(
        "clahe-range",
        (16, 16, 1),
        lambda: layers.ContrastLimitedAdaptiveHistogramEqualization((0, 1), 2.0, (4, 4)),
        values=lambda r, s: r.random(s),
        atol=1e-4,
    ),
    row(
        "clahe-first",
        (3, 16, 16),
        lambda: layers.ContrastLimitedAdaptiveHistogramEqualization(
            tile_grid_size=(2, 2), data_format="channels_first"
        ),
        values=lambda r, s: r.uniform(0, 255, s),
        atol=1e-2,
    ),
    row(
        "pipeline",
        ODD,
        lambda: layers.Pipeline(
            [
                layers.Rescaling(1 / 255),
                layers.RandomFlip(),
                layers.Resizing(4, 5),
                layers.CenterCrop(2, 3),
            ]
        ),
    ),
    *[
        row(
            f"stft-{m}",
            (40, 2),
            partial(layers.STFTSpectrogram, m, frame_length=8, frame_step=3, fft_length=16),
            atol=1e-4,
        )
        for m in ("log", "magnitude", "psd", "real", "imag", "stft")
    ],
    row(
        "stft-angle",
        (40, 2),
        lambda: layers.STFTSpectrogram(
            "angle", frame_length=8, frame_step=3, window=None, scaling=None
        ),
        atol=2e-3,
    ),
    row(
        "stft-same",
        (40, 2),
        lambda: layers.STFTSpectrogram("magnitude", frame_length=8, padding="same"),
    ),
    row(
        "stft-images",
        (40, 2),
        lambda: layers.STFTSpectrogram("magnitude", frame_length=8, expand_dims=True),
    ),
    row(
        "stft-first",
        (2, 40),
        lambda: layers.STFTSpectrogram("magnitude", frame_length=8, data_format="channels_first"),
    ),
    row(
        "stft-first-images",
        (2, 40),
        lambda: layers.STFTSpectrogram(
            "magnitude", frame_length=8, expand_dims=True, data_format="channels_first"
        ),
    ),
    row("stft-dynamic", (None, 2), lambda: layers.STFTSpectrogram("magnitude", frame_length=8)),
    row(
        "mel", (400,), lambda: layers.MelSpectrogram(64, 20, num_mel_bins=10), rtol=1e-3, atol=1e-2
    ),
    row(
        "mel-options",
        (400,),
        lambda: layers.MelSpectrogram(
            64, 20, 40, "hamming", 8000, 12, 60.0, 3500.0, top_db=30.0, ref_power=2.0
        ),
        rtol=1e-3,
        atol=1e-2,
    ),
    row(
        "mel-power",
        (400,),
        lambda: layers.MelSpectrogram(64, 20, num_mel_bins=10, power_to_db=False, mag_exp=1.0),
        rtol=1e-3,
    ),
    row(
        "mel-no-window",
        (400,),
        lambda: layers.MelSpectrogram(64, 20, window=None, num_mel_bins=10),
        rtol=1e-3,
        atol=1e-2,
    ),
    *[
        row(
            f"adaptive_{kind}-{rank}-{size}",
            (*(7, 6, 5)[:rank], 3),
            partial(getattr(layers, f"Adaptive{kind}Pooling{rank}D"), size),
        )
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
        for size in (1, 3, 4)
    ],
    row("adaptive-even", (8, 6, 3), lambda: layers.AdaptiveMaxPooling2D((4, 2))),
    row("adaptive-larger", (3, 2, 3), lambda: layers.AdaptiveAveragePooling2D((5, 4))),
    row(
        "adaptive-first",
        (3, 7, 6),
        lambda: layers.AdaptiveAveragePooling2D((3, 4), data_format="channels_first"),
    ),
    *[
        row(f"upsampling-{i}", ODD, partial(layers.UpSampling2D, (2, 3), interpolation=i))
        for i in INTERPOLATIONS
    ],
    row("upsampling-first", (3, 9, 7), lambda: layers.UpSampling2D(2, "channels_first", "bicubic")),
]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore")
def test_graph_computes_a_layer_as_keras(case: Row, tmp_path: Path) -> None:
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    x = keras.Input(case.shape, dtype=case.dtype)
    model = keras.Model(x, case.build()(x))
    shape = (
        BATCH,
        *(17 if d is None and len(case.shape) == 2 else 9 if d is None else d for d in case.shape),
    )
    feed = np.asarray(
        rng.normal(0, 1.5, shape) if case.values is None else case.values(rng, shape)
    ).astype(case.dtype)
    model.save(tmp_path / "model.keras")
    with read(tmp_path / "model.keras") as described:
        graph = lower(described)
        (got,) = graph.run(feed.astype(NUMPY[graph.inputs[0].dtype]))
        inferred = Inference().model(described)
    wanted = np.asarray(model(feed, training=False))
    assert got.shape == wanted.shape
    assert inferred is not None
    assert inferred[0] == model.output.shape
    assert all(d in (None, n) for d, n in zip(graph.outputs[0].shape, wanted.shape, strict=True))
    assert got.dtype.kind == wanted.dtype.kind
    np.testing.assert_allclose(
        got.astype("float64"), wanted.astype("float64"), case.rtol, case.atol
    )


def test_counts_may_be_weighted(tmp_path: Path) -> None:
    x, w = keras.Input((4,), dtype="int32"), keras.Input((4,))
    model = keras.Model([x, w], layers.CategoryEncoding(6, "count")(x, count_weights=w))
    rng = np.random.default_rng(5)
    feeds = [rng.integers(0, 6, (3, 4)).astype("int32"), rng.random((3, 4), "float32")]
    model.save(tmp_path / "model.keras")
    with read(tmp_path / "model.keras") as described:
        (got,) = lower(described).run(*feeds)
    np.testing.assert_allclose(got, np.asarray(model(feeds)), 1e-4, 1e-5)


def run(class_name: str, config: Mapping[str, Any], x: Array, dtype: str) -> Array:
    """What a layer without weights makes of x, described as a reader would."""
    entry = Call(
        LayerSpec("x", "InputLayer", {"batch_shape": [None, *x.shape[1:]], "dtype": dtype})
    )
    call = Call(LayerSpec("layer", class_name, config), (KerasTensor(entry),))
    graph = lower(
        KerasModel("m", "functional", (entry, call), (KerasTensor(entry),), (KerasTensor(call),))
    )
    (got,) = graph.run(x)
    return got


TOKENS = [12, 36, 1138, 42]
DATA = np.array([[12, 1138, 42, 42], [42, 1000, 36, 7]], np.int32)


@pytest.mark.parametrize(
    ("config", "x", "expected"),
    [
        # the examples of Keras's own documentation, which its IntegerLookup runs in TensorFlow only
        ({}, DATA, [[1, 3, 4, 4], [4, 0, 2, 0]]),
        ({"vocabulary": [-1, *TOKENS]}, DATA, [[1, 3, 4, 4], [4, 0, 2, 0]]),
        (
            {"vocabulary": [5, 10**6 * 9, 7]},
            np.array([[7, 9 * 10**6, 5, 6]], np.int32),
            [[3, 2, 1, 0]],
        ),
        ({"mask_token": 0}, np.array([[12, 0, 7]], np.int32), [[2, 0, 1]]),
        (
            {"num_oov_indices": 2},
            np.array([[12, 1138, 42], [37, 1000, 36]], np.int32),
            [[2, 4, 5], [1, 0, 3]],
        ),
        ({"num_oov_indices": 0}, np.array([[12, 1138]], np.int32), [[0, 2]]),
        (
            {"output_mode": "one_hot"},
            np.array([[12], [36], [7]], np.int32),
            [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]],
        ),
        ({"output_mode": "multi_hot"}, DATA, [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]),
        (
            {"output_mode": "count"},
            np.array([[12, 1138, 42, 42], [42, 7, 36, 7]], np.int32),
            [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]],
        ),
        (
            {"output_mode": "count", "mask_token": 7},
            np.array([[42, 7, 36, 7]], np.int32),
            [[0, 0, 1, 0, 1]],
        ),
        (
            {"output_mode": "count", "max_tokens": 7, "pad_to_max_tokens": True},
            DATA[:1],
            [[0, 1, 0, 1, 2, 0, 0]],
        ),
        (
            {"invert": True},
            np.array([[1, 3, 4], [4, 0, 2]], np.int32),
            [[12, 1138, 42], [42, -1, 36]],
        ),
        ({"invert": True, "mask_token": 0}, np.array([[2, 0, 1, 9]], np.int32), [[12, 0, -1, -1]]),
    ],
)
def test_integer_lookup(config: dict[str, Any], x: Array, expected: Any) -> None:
    options = {
        "vocabulary": TOKENS,
        "vocabulary_dtype": "int64",
        "idf_weights": None,
        "salt": None,
        **config,
    }
    np.testing.assert_array_equal(run("IntegerLookup", options, x, "int32"), np.array(expected))


X = np.random.default_rng(8).normal(0, 1, (2, 9, 12, 3)).astype("float32")


def test_random_crop_of_old_keras_crops_at_inference() -> None:
    options = {"height": 6, "width": 4}
    resized = run("RandomCrop", {**options, "at_inference": "smart_resize"}, X, "float32")
    # the largest part of the proportions 6 : 4 is 9 by 6, in the middle
    expected = keras.ops.image.resize(X[:, :, 3:9], (6, 4))
    np.testing.assert_allclose(resized, np.asarray(expected), 1e-4, 1e-5)
    cut = run("RandomCrop", {**options, "at_inference": "corner_crop"}, X, "float32")
    np.testing.assert_array_equal(cut, X[:, 0:6, 3:7])


@pytest.mark.parametrize(
    ("class_name", "config", "reason"),
    [
        ("StringLookup", {"vocabulary": ["a"], "num_oov_indices": 2}, "hashes unknown strings"),
        ("StringLookup", {"vocabulary": None}, "adapt"),
        ("StringLookup", {"vocabulary": ["a", "b", "a"]}, "twice"),
        ("TextVectorization", {"max_tokens": 3}, "words"),
        ("Hashing", {"num_bins": 3}, "hashes"),
        ("HashedCrossing", {"num_bins": 3}, "hashes"),
        ("IntegerLookup", {"vocabulary": None}, "adapt"),
        ("IntegerLookup", {"vocabulary": [1], "output_mode": "tf_idf"}, "output_mode='tf_idf'"),
        ("IntegerLookup", {"vocabulary": [2**24]}, "2\\^24"),
        ("IntegerLookup", {"vocabulary": [1], "salt": 3}, "salt"),
        ("Discretization", {"bin_boundaries": [1.0], "sparse": True}, "sparse"),
        ("CategoryEncoding", {"num_tokens": 3, "weights": 1}, "weights"),
        ("Resizing", {"height": 2, "width": 2, "interpolation": "area"}, "area"),
    ],
)
def test_unsupported_parts_are_refused_with_a_reason(
    class_name: str, config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(kerasport.UnsupportedModel, match=reason):
        run(class_name, config, X, "float32")


@keras.saving.register_keras_serializable("mine")
class Mine(layers.Layer):  # type: ignore[misc]
    """A layer of somebody's own."""

    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("inside", "shape", "reason"),
    [
        ([Mine()], ODD, "it is a custom layer"),
        ([layers.Masking(), layers.LSTM(2)], (4, 3), "masks inside this layer"),
        ([layers.Embedding(5, 3, mask_zero=True), layers.LSTM(2)], (4,), "masks inside this layer"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_pipelines_that_are_refused(
    inside: list[Any], shape: Sizes, reason: str, tmp_path: Path
) -> None:
    x = keras.Input(shape)
    keras.Model(x, layers.Pipeline(inside)(x)).save(tmp_path / "model.keras")
    with (
        read(tmp_path / "model.keras") as model,
        pytest.raises(kerasport.UnsupportedModel, match=reason),
    ):
        lower(model)


@pytest.mark.filterwarnings("ignore")
def test_a_mask_does_not_enter_a_pipeline(tmp_path: Path) -> None:
    x = keras.Input((4, 3))
    y = layers.Pipeline([layers.Dense(2), layers.LSTM(2)])(layers.Masking()(x))
    keras.Model(x, y).save(tmp_path / "model.keras")
    with (
        read(tmp_path / "model.keras") as model,
        pytest.raises(kerasport.UnsupportedModel, match="masks inside this layer"),
    ):
        lower(model)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore")
def test_layers_in_a_pipeline_have_weights(suffix: str, tmp_path: Path) -> None:
    x = keras.Input((9, 7, 3))
    inner = layers.Pipeline([layers.Conv2D(4, 3), layers.BatchNormalization()])
    pipe = layers.Pipeline(
        [layers.Conv2D(2, 2), inner, layers.Dropout(0.5), layers.Conv2D(3, 2), layers.PReLU()]
    )
    model = keras.Model(x, pipe(x))
    rng = np.random.default_rng(4)
    model.set_weights([rng.uniform(0.3, 1.2, weight.shape) for weight in model.get_weights()])
    model.save(tmp_path / f"model.{suffix}")
    feed = rng.normal(0, 1, (BATCH, 9, 7, 3)).astype("float32")
    with read(tmp_path / f"model.{suffix}") as described:
        (got,) = lower(described).run(feed)
    np.testing.assert_allclose(got, np.asarray(model(feed, training=False)), 1e-4, 1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Resizing(5, 3, interpolation="bicubic"),
        layers.CenterCrop(3, 4),
        layers.UpSampling2D(2, interpolation="bicubic"),
    ],
    ids=attrgetter("name"),
)
@pytest.mark.parametrize("size", [(6, 7), (4, 5), (9, 11)], ids=str)
def test_images_of_unknown_size(layer: keras.Layer, size: tuple[int, int], tmp_path: Path) -> None:
    x = keras.Input((None, None, 3))
    model = keras.Model(x, layer(x))
    model.save(tmp_path / "model.keras")
    feed = np.random.default_rng(5).normal(0, 1, (BATCH, *size, 3)).astype("float32")
    with read(tmp_path / "model.keras") as described:
        (got,) = lower(described).run(feed)
    np.testing.assert_allclose(got, np.asarray(model(feed)), 1e-5, 1e-5)


def test_adaptive_pooling_needs_a_known_size() -> None:
    entry = Call(
        LayerSpec("x", "InputLayer", {"batch_shape": [None, None, 8, 3], "dtype": "float32"})
    )
    call = Call(
        LayerSpec("layer", "AdaptiveMaxPooling2D", {"output_size": [2, 2]}), (KerasTensor(entry),)
    )
    with pytest.raises(kerasport.UnsupportedModel, match="must be fixed"):
        lower(
            KerasModel(
                "m", "functional", (entry, call), (KerasTensor(entry),), (KerasTensor(call),)
            )
        )
