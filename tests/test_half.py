"""ONNX models that compute partly in float16: close to Keras, and in the right dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx.reference import ReferenceEvaluator
from tests.cases import CASES
from tests.cases.case import Case
from tests.cases.trial import Trial, quiet
from tests.onnx_runtime import fed, nodes, operators, run
from tests.test_applications import NETWORKS
from tests.test_applications import Trial as OfNetwork
from tests.test_onnx import saved
from typer.testing import CliRunner

import kerasport
from kerasport.cli import app
from kerasport.targets.onnx.half import EITHER, EXPENSIVE, FOLLOWING, MOVING, fits
from kerasport.verification.runtimes.onnx import Onnx
from kerasport.weights import Array

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
BOUND = 5e-3  # of the largest number of an output: float16 has 11 bits


def halved(source: Path, out: Path, **options: Any) -> kerasport.Conversion:
    """A model that computes in float16."""
    return kerasport.convert(source, out, quantize="float16", half_compute=True, **options)


def near(expected: Array, computed: Array, within: float = BOUND) -> None:
    """Assert that an output is that of Keras, within a part of its largest number."""
    assert computed.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(computed / scale, expected / scale, rtol=0, atol=within)


def typed(path: Path) -> dict[str, int]:
    """The element type of each value of a model, as ONNX infers them."""
    graph = onnx.shape_inference.infer_shapes(
        onnx.load(path), check_type=True, strict_mode=True
    ).graph
    values = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


def halves(path: Path) -> set[str]:
    """The operators of a model that compute in float16."""
    types = typed(path)
    graph = onnx.load(path).graph
    return {
        node.op_type
        for node in graph.node
        if node.op_type != "Cast" and types[node.output[0]] == HALF
    }


def by_definition(path: Path, feed: Sequence[Array]) -> list[Array]:
    """Run a model in the evaluator of onnx, in real float16; ONNX Runtime often widens it."""
    evaluator = ReferenceEvaluator(onnx.load(path))
    return list(evaluator.run(None, dict(zip(evaluator.input_names, map(fed, feed), strict=True))))


def sound(path: Path) -> None:
    """Assert that a model is valid, and has no double or repeated casts and no unused nodes."""
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path).graph
    all_nodes = list(nodes(graph))
    casts = [(node.input[0], node.attribute[0].i) for node in all_nodes if node.op_type == "Cast"]
    floats = {
        node.output[0]
        for node in all_nodes
        if node.op_type == "Cast" and node.attribute[0].i in (FLOAT, HALF)
    }
    assert not [given for given, to in casts if given in floats and to in (FLOAT, HALF)]
    assert len(set(casts)) == len(casts)
    taken = {name for node in all_nodes for name in node.input} | {
        value.name for value in graph.output
    }
    assert {tensor.name for tensor in graph.initializer} <= taken
    assert not [
        node.name for node in all_nodes if node.op_type == "Cast" and node.output[0] not in taken
    ]


# -------------------------------------------------------------------------------------- the numbers

ROWS = (
    "dense_rank_3_unknown_length",
    "dense_softmax",
    "dense_relu6",
    "dense_gelu",
    "dense_leaky_relu",
    "dense_hard_silu",
    "conv1d_causal",
    "conv1d_unknown_length",
    "conv2d_same_2x2_channels_last",
    "conv2d_same_2x2_channels_first",
    "conv2d_groups",
    "conv2d_unknown_size",
    "conv3d_strided_same",
    "depthwise_conv2d_multiplier_same",
    "separable_conv2d_dilated",
    "conv2d_transpose_output_padding",
    "conv2d_transpose_unknown_size",
    "max_pooling2d_unknown_size",
    "average_pooling1d_same",
    "global_average_pooling2d",
    "global_max_pooling1d",
    "batch_normalization",
    "layer_normalization_rank_3",
    "group_normalization_2_axis_1_of_4",
    "rms_normalization_axis_rank_3",
    "multi_head_attention",
    "attention",
    "group_query_attention",
    "mask_lstm_sequences",
    "lstm_relu",
    "bidirectional_simple_rnn_concat",
    "embedding_mask_zero",
    "embedding_of_unknown_length",
    "resizing",
    "up_sampling2d_bilinear",
    "int32_input_dense",
    "bool_input_dense",
    "reversible_embedding_reversed",
)


LOOPS = {"Scan", "LSTM", "RNN"}
"""What the evaluator has not, or in part; it is float32 anyway."""


def test_every_row_has_a_model() -> None:
    assert sorted({case.name for case in CASES} & set(ROWS)) == sorted(ROWS)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in ROWS], ids=lambda case: case.name
)
def test_onnx_runtime_computes_nearly_what_keras_computes(case: Case, tmp_path: Path) -> None:
    trial, out = Trial(case, tmp_path), tmp_path / "model.onnx"
    halved(trial.path, out)
    sound(out)
    for expected, computed in zip(trial.expected, run(out, trial.feeds), strict=True):
        for wanted, got in zip(expected, computed, strict=True):
            assert got.dtype == np.float32
            near(wanted, got)
    if not LOOPS & set(operators(out)):
        for wanted, got in zip(trial.expected[0], by_definition(out, trial.feeds[0]), strict=True):
            near(wanted, got)


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> OfNetwork:
    """MobileNetV2 with random weights, and what Keras makes of two images."""
    (network,) = (network for network in NETWORKS if network.name == "MobileNetV2")
    return OfNetwork(network, tmp_path_factory.mktemp("network"))


def test_a_network_computes_in_float16_from_its_first_convolution_to_its_mean(
    mobile: OfNetwork, tmp_path: Path
) -> None:
    out, whole = tmp_path / "model.onnx", tmp_path / "whole.onnx"
    done, before = halved(mobile.path, out), kerasport.convert(mobile.path, whole)
    sound(out)
    types, graph = typed(out), onnx.load(out).graph
    # down in front of the first convolution; up and down around the mean; up at the end
    assert operators(out)["Cast"] == 4
    assert all(
        types[name] == HALF for node in graph.node if node.op_type == "Conv" for name in node.input
    )
    assert {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1} == {HALF}
    assert done.nbytes < 0.6 * before.nbytes
    ((got,),) = run(out, [[mobile.images]])
    near(mobile.wanted, got, within=2e-2)
    near(mobile.wanted, by_definition(out, [mobile.images])[0], within=2e-2)


def test_onnx_runtime_web_computes_nearly_the_same(mobile: OfNetwork, tmp_path: Path) -> None:
    halved(mobile.path, tmp_path / "model.onnx")
    with Onnx() as runtime:
        made = runtime.run(tmp_path / "model.onnx", [[mobile.images]], backend="onnxruntime-web")
    near(mobile.wanted, made.results[0][0], within=2e-2)


# -------------------------------------------------------------------------------- which are float16


def test_tables_name_an_operator_once() -> None:
    assert not set(EXPENSIVE) & set(FOLLOWING)
    assert not set(EITHER) & {*EXPENSIVE, *FOLLOWING}
    assert {name: FOLLOWING[name] for name in MOVING} == MOVING


@pytest.mark.parametrize(
    ("numbers", "fit"),
    [
        ([0.5, -3, 0], True), ([65504], True), ([65520], False), ([-1e9], False), ([1e-12], False),
        ([6e-5], False),
        ([7e-5], True), ([np.nan, np.inf, -np.inf], True), ([1, 1e-12], False), ([], True),
    ],
)  # fmt: skip
def test_constants_fit_if_float16_represents_them_with_full_precision(
    numbers: list[float], fit: bool
) -> None:
    assert fits(np.array(numbers, np.float32)) is fit


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A model with parts in float16 and others, and borders between; inputs are text and images."""
    image, words = (
        keras.Input((9, 8, 3), name="image"),
        keras.Input((7,), dtype="int32", name="words"),
    )
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.ZeroPadding2D(1)(image))
    x = (layers.Conv2D(8, 1)(layers.MaxPooling2D(2)(x)) + layers.DepthwiseConv2D(2, strides=2)(x))[
        :, 1:
    ]
    y = layers.Embedding(30, 24, mask_zero=True)(words)
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(3, 8)(y, y))
    y = layers.GlobalAveragePooling1D()(
        layers.SimpleRNN(24, activation="gelu", return_sequences=True)(y)
    )
    z = layers.Concatenate()([layers.Flatten()(x), y])
    model = keras.Model(
        [image, words], {"scores": layers.Dense(24, activation="softmax")(z), "image": x, "sum": y}
    )
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(rng.normal(0, 0.3, weight.shape))
    return saved(model, tmp_path)


def feed() -> list[Array]:
    rng = np.random.default_rng(6)
    words = rng.integers(1, 30, (3, 7)).astype("int32")
    words[0, 4:] = words[1, 1:] = 0
    return [rng.normal(size=(3, 9, 8, 3)).astype("float32"), words]


@pytest.mark.parametrize("opset", [17, 20, 22])
def test_ports_and_sensitive_operators_stay_float32(
    several: Path, opset: int, tmp_path: Path
) -> None:
    out, whole = tmp_path / "model.onnx", tmp_path / "whole.onnx"
    done = halved(several, out, opset=opset)
    kerasport.convert(several, whole, opset=opset)
    sound(out)
    for role in ("input", "output"):
        assert list(getattr(onnx.load(out).graph, role)) == list(
            getattr(onnx.load(whole).graph, role)
        )
    found, all_of_it = halves(out), set(operators(out))
    assert {"Conv", "MatMul", "Relu", "MaxPool", "Gather", "Add", "Slice"} <= found
    float32 = {"Softmax", "LayerNormalization", "Scan", "ReduceMean"}
    assert float32 <= all_of_it
    assert not float32 & found
    wanted, got = (run(path, [feed()])[0] for path in (whole, out))
    for each, other in zip(wanted, got, strict=True):
        near(each, other)
    assert any("operators compute in float16" in note for note in done.notes)


def test_bodies_of_loops_stay_float32(several: Path, tmp_path: Path) -> None:
    halved(several, tmp_path / "model.onnx")
    types = typed(tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    (body,) = [
        attribute.g
        for node in graph.node
        for attribute in node.attribute
        if attribute.HasField("g")
    ]
    assert any(node.op_type == "MatMul" for node in body.node)
    assert not [name for node in body.node for name in node.input if types.get(name) == HALF]


@pytest.mark.parametrize("number", [1e9, 70_000.0, 1e-7])
def test_constants_that_do_not_fit_keep_float32(number: float, tmp_path: Path) -> None:
    given = keras.Input((5,))
    x = layers.Dense(20)(given)
    model = keras.Model(given, [layers.Dense(20)(keras.ops.relu(x * np.float32(number))), x * 0.5])
    halved(saved(model, tmp_path), tmp_path / "model.onnx")
    sound(tmp_path / "model.onnx")
    types, graph = typed(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx").graph
    products = {types[node.input[0]] for node in graph.node if node.op_type == "Mul"}
    assert products == {FLOAT, HALF}


def test_weights_that_do_not_fit_keep_float32_and_are_noted(tmp_path: Path) -> None:
    model = keras.Sequential(
        [layers.Input((5,)), layers.Dense(40, use_bias=False), layers.Dense(3, use_bias=False)]
    )
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=(5, 40)) * 1e5, rng.normal(size=(40, 3))]
    model.set_weights(kernels)
    done = halved(saved(model, tmp_path), tmp_path / "model.onnx")
    sound(tmp_path / "model.onnx")
    assert any("stays in float32: it has values beyond 65504" in note for note in done.notes)
    types, graph = typed(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx").graph
    assert [types[node.input[1]] for node in graph.node if node.op_type == "MatMul"] == [
        FLOAT,
        HALF,
    ]
    x = np.eye(5, dtype=np.float32) * 1e-4  # so that what is between fits
    ((got,),) = run(tmp_path / "model.onnx", [[x]])
    near(x @ kernels[0] @ kernels[1], got)


def test_weights_without_a_pattern_keep_float32(tmp_path: Path) -> None:
    model = keras.Sequential(
        [layers.Input((20,)), layers.Dense(30, name="one"), layers.Dense(40, name="two")]
    )
    path = saved(model, tmp_path)
    kerasport.convert(
        path, tmp_path / "model.onnx", quantize=["float16=two/*", "int8"], half_compute=True
    )
    sound(tmp_path / "model.onnx")
    types, graph = typed(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx").graph
    assert [types[node.input[1]] for node in graph.node if node.op_type == "MatMul"] == [
        FLOAT,
        HALF,
    ]
    assert operators(tmp_path / "model.onnx")["DequantizeLinear"] == 1


def test_one_weight_serves_float16_and_float32_operators(tmp_path: Path) -> None:
    given, shared = keras.Input((20,)), layers.PReLU(alpha_initializer="uniform")
    model = keras.Model(given, [shared(layers.Dense(20, use_bias=False)(given)), shared(given)])
    halved(saved(model, tmp_path), tmp_path / "model.onnx")
    sound(tmp_path / "model.onnx")
    types, graph = typed(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx").graph
    assert [types[node.input[1]] for node in graph.node if node.op_type == "PRelu"] == [HALF, FLOAT]
    assert len(graph.initializer) == 2
    x = np.random.default_rng(0).normal(size=(3, 20)).astype("float32")
    for expected, computed in zip(model(x), run(tmp_path / "model.onnx", [[x]])[0], strict=True):
        near(np.asarray(expected), computed)


def test_the_table_of_an_embedding_is_never_float32(tmp_path: Path) -> None:
    words, embedding = keras.Input((6,), dtype="int32"), layers.ReversibleEmbedding(40, 20)
    model = keras.Model(
        words, embedding(layers.LayerNormalization()(embedding(words)), reverse=True)
    )
    halved(saved(model, tmp_path), tmp_path / "model.onnx")
    sound(tmp_path / "model.onnx")
    types, graph = typed(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx").graph
    assert {node.op_type for node in graph.node if types[node.output[0]] == HALF} >= {
        "Gather",
        "Transpose",
        "MatMul",
    }
    assert not [
        node
        for node in graph.node
        if node.op_type == "Cast" and node.input[0].startswith("reversible_embedding/weight")
    ]


def test_squares_that_would_overflow_float16_stay_float32(tmp_path: Path) -> None:
    given = keras.Input((4,))
    x = layers.Dense(4, use_bias=False)(given)
    model = keras.Model(given, keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=-1)))
    model.set_weights([np.eye(4) * 500])
    halved(saved(model, tmp_path), tmp_path / "model.onnx")
    ((got,),) = run(tmp_path / "model.onnx", [[np.ones((2, 4), np.float32)]])
    near(np.full(2, 1000, np.float32), got)


def test_integers_may_be_large(tmp_path: Path) -> None:
    """float16 has no odd numbers beyond 2048, and none beyond 65504."""
    a, b = keras.Input((3, 4), dtype="int32"), keras.Input((4, 5), dtype="int32")
    dense = layers.Dense(3, use_bias=False, kernel_initializer="ones")
    joined = layers.Concatenate()(
        [
            keras.ops.cast(a, "float32"),
            keras.ops.transpose(keras.ops.cast(b, "float32"), (0, 2, 1))[:, :3],
        ]
    )
    model = keras.Model([a, b], [keras.ops.matmul(a, b), dense(joined)])
    path = saved(model, tmp_path)
    halved(path, tmp_path / "model.onnx")
    sound(tmp_path / "model.onnx")
    x, y = np.full((2, 3, 4), 7, np.int32), np.full((2, 4, 5), 100_003, np.int32)
    product, summed = run(tmp_path / "model.onnx", [[x, y]])[0]
    np.testing.assert_array_equal(product, x @ y)
    np.testing.assert_array_equal(summed, np.full((2, 3, 3), 4 * (7 + 100_003), np.float32))
    assert halves(tmp_path / "model.onnx") == set()


@pytest.mark.exhaustive
def test_spectra_are_float32_and_later_layers_are_float16(tmp_path: Path) -> None:
    sound_of = keras.Input((800,))
    inner = keras.Sequential(
        [
            layers.Input((800,)),
            layers.MelSpectrogram(num_mel_bins=8, fft_length=128, sequence_stride=64),
        ]
    )
    model = keras.Model(sound_of, layers.Dense(20, use_bias=False)(inner(sound_of)))
    path = saved(model, tmp_path)
    halved(path, tmp_path / "model.onnx")
    assert halves(tmp_path / "model.onnx") == {"MatMul"}
    x = np.random.default_rng(0).normal(0, 200, (2, 800)).astype("float32")
    near(np.asarray(model(x)), by_definition(tmp_path / "model.onnx", [x])[0])


def test_mixed_precision_adds_no_other_note(tmp_path: Path) -> None:
    with quiet():
        model = keras.Sequential([layers.Input((5,)), layers.Dense(4, dtype="mixed_float16")])
    path = saved(model, tmp_path)
    assert any(
        "computes in float32" in note
        for note in kerasport.convert(path, tmp_path / "whole.onnx").notes
    )
    assert not any(
        "computes in float32" in note for note in halved(path, tmp_path / "model.onnx").notes
    )


# ---------------------------------------------------------------------------------------- around it


@pytest.mark.exhaustive
def test_verification_reports_its_progress(several: Path, tmp_path: Path) -> None:
    halved(several, tmp_path / "model.onnx")
    checked = kerasport.verify(several, tmp_path / "model.onnx")
    assert checked.ok
    assert checked.reported_only
    assert 0 < max(output.relative for output in checked.outputs) < BOUND
    assert not kerasport.verify(several, tmp_path / "model.onnx", rtol=1e-6, atol=1e-7).ok


@pytest.mark.exhaustive
def test_models_without_weights_get_the_note_too(tmp_path: Path) -> None:
    a, b = keras.Input((3, 4)), keras.Input((4, 5))
    path = saved(keras.Model([a, b], keras.ops.matmul(a, b)), tmp_path)
    halved(path, tmp_path / "model.onnx")
    sound(tmp_path / "model.onnx")
    assert halves(tmp_path / "model.onnx") == {"MatMul"}
    assert kerasport.verify(path, tmp_path / "model.onnx").reported_only


WRONG = (
    ("model.onnx", (), "quantize to float16"),
    ("model.onnx", ("int8",), "quantize to float16"),
    ("web_model", ("float16",), "ONNX models only"),
)


@pytest.mark.parametrize(("out", "quantize", "reason"), WRONG)
def test_half_compute_is_refused_for_other_targets(
    out: str, quantize: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    path = saved(keras.Sequential([layers.Input((5,)), layers.Dense(4)]), tmp_path)
    with pytest.raises(ValueError, match=reason):
        kerasport.convert(path, tmp_path / out, quantize=quantize, half_compute=True)
    rules = [word for kind in quantize for word in ("--quantize", kind)]
    told = CliRunner().invoke(
        app, ["convert", str(path), str(tmp_path / out), *rules, "--half-compute"]
    )
    assert told.exit_code == 2
    assert "--half-compute" in told.output
    assert not (tmp_path / out).exists()


def test_the_command_writes_float16_models(several: Path, tmp_path: Path) -> None:
    arguments = [
        "convert",
        str(several),
        str(tmp_path / "model.onnx"),
        "--quantize",
        "float16",
        "--half-compute",
    ]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "operators compute in float16" in told.output
    assert "Conv" in halves(tmp_path / "model.onnx")
