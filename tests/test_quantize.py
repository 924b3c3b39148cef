"""Rounding of weights: which weights are rounded, and how TF.js decodes them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

from kerasport import cli
from kerasport.api import convert, verify
from kerasport.errors import KerasportError, MismatchError
from kerasport.frontends.keras.read import read
from kerasport.targets import Plan, planned
from kerasport.targets.encoding import Encoding, Scaled
from kerasport.targets.rounding import Kind, Range, affine, fitted, parsed
from kerasport.targets.tfjs import LAYERS
from kerasport.targets.tfjs.channels import Channels, Norm, divided, even, sizes
from kerasport.targets.tfjs.document import TfjsPlan
from kerasport.targets.tfjs.quantize import quantized
from kerasport.targets.tfjs.shards import write_weights
from kerasport.weights import ComputedWeight, DividedWeight, Weight, WeightRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kerasport.verification.runtimes.tfjs import Tfjs
    from kerasport.weights import Array

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of Keras, about numpy

TARGETS = ("tfjs-layers", "tfjs-graph")


def held(array: Any) -> ComputedWeight:
    """An array as a weight."""
    made = np.asarray(array)
    return ComputedWeight(made.dtype, made.shape, lambda: made)


def floats(*numbers: float) -> ComputedWeight:
    return held(np.array(numbers, np.float32))


def plan_of(
    weights: Mapping[str, Weight], *, rules: str, channels: Mapping[str, Channels] | None = None
) -> TfjsPlan:
    """The weights as a plan of a layers-model, with the rules heeded."""
    return quantized(
        TfjsPlan(target=LAYERS, format="layers-model", weights=weights, channels=channels or {}),
        parsed(rules.split()),
    )


# --------------------------------------------------------------------------------------- the format


@pytest.mark.parametrize(
    ("numbers", "stored", "scale", "minimum"),
    [
        # what tensorflowjs 4.22 writes for them
        ([-1, 0, 0.3, 2], [0, 85, 111, 255], 0.011764705882352941, -1.0),
        ([1, 2, 4], [0, 85, 255], 0.011764705882352941, 1.0),
        ([5, 5], [0, 0], 1.0, 5.0),
        ([-3, -1.5, -1], [0, 191, 255], 0.00784313725490196, -3.0),
    ],
)
def test_integers_equal_those_of_the_official_converter(
    numbers: list[float], stored: list[int], scale: float, minimum: float
) -> None:
    encoding, _ = affine("uint8", min(numbers), max(numbers))
    assert encoding == Encoding("uint8", scale, minimum)
    assert encoding.encode(np.array(numbers, np.float32)).tolist() == stored
    assert encoding.manifest() == {
        "dtype": "uint8",
        "min": minimum,
        "scale": scale,
        "original_dtype": "float32",
    }


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("low", "high"), [(-1.7, 0.3), (-1e-30, 3e-30), (-2e30, 1e30), (0.0, 0.7), (-0.7, 0.0)]
)
def test_zero_stays_zero_and_errors_are_at_most_one_step(
    kind: Literal["uint8", "uint16"], low: float, high: float
) -> None:
    encoding, _ = affine(kind, low, high)
    assert encoding
    numbers = np.linspace(low, high, 1001).astype(np.float32)
    decoded = encoding.decode(encoding.encode(numbers))
    assert np.abs(decoded.astype(np.float64) - numbers).max() <= encoding.scale * 1.001
    assert encoding.decode(encoding.encode(np.zeros(1, np.float32))).tolist() == [0.0]


@pytest.mark.parametrize("kind", ["float16", "uint8", "uint16"])
@pytest.mark.parametrize("target", TARGETS)
def test_tfjs_decodes_what_was_written(kind: Kind, target: str, tmp_path: Path, tfjs: Tfjs) -> None:
    """An identity matrix shows the numbers that TF.js has."""
    kernel = np.random.default_rng(3).normal(size=(7, 5)).astype("float32")
    kernel[2, 3] = 0
    model = keras.Sequential([layers.Input((7,)), layers.Dense(5, use_bias=False)])
    model.set_weights([kernel])
    model.save(tmp_path / "model.keras")
    made = convert(tmp_path / "model.keras", tmp_path / "out", to=target, quantize=f"{kind}=*")
    encoding, _ = fitted(kind, Range(float(kernel.min()), float(kernel.max())))
    assert encoding
    wanted = encoding.decode(encoding.encode(kernel))
    assert not np.array_equal(wanted, kernel)
    for backend in ("cpu", "wasm"):
        run = tfjs.run(tmp_path / "out", [[np.eye(7, dtype="float32")]], backend=backend)
        np.testing.assert_array_equal(run.results[0][0], wanted, err_msg=backend)
    (group,) = made.rounded
    assert (group.kind, group.weights, group.before, group.nbytes) == (
        kind,
        1,
        140,
        35 * encoding.itemsize,
    )
    assert group.error == pytest.approx(np.abs(wanted.astype("float64") - kernel).max())


# --------------------------------------------------------------------------------------- what stays


@pytest.mark.parametrize(
    ("kind", "numbers", "reason"),
    [
        ("uint8", [1, np.nan], "it contains NaN or infinity"),
        ("float16", [1, -np.inf], "it contains NaN or infinity"),
        ("float16", [1, 65520], "it has values beyond 65504, the largest float16"),
        ("float16", [1e-6, -1e-5], "all its values are too small for float16"),
        (
            "uint8",
            [-3.4e38, 1, 3.4e38],
            "its largest values would round to more than float32 can hold",
        ),
        ("uint16", [], "it is empty"),
    ],
)
def test_weights_that_cannot_be_rounded_stay_float32_with_a_note(
    kind: str, numbers: list[float], reason: str
) -> None:
    for rules in (kind, f"{kind}=w"):
        plan = plan_of({"w": floats(*numbers, *numbers[:1] * 20)}, rules=rules)
        assert plan.encodings == {}
        assert plan.notes == (
            (f"weight 'w' stays in float32: {reason}",) if numbers or "=" in rules else ()
        )


def test_integers_and_bools_stay() -> None:
    weights = {"i": held(np.arange(40)), "b": held(np.ones(40, bool)), "f": floats(*range(40))}
    plan = plan_of(weights, rules="uint8=*")
    assert list(plan.encodings) == ["f"]
    assert plan.notes == tuple(
        f"weight {name!r} is not a float weight, so it is not rounded" for name in "ib"
    )


def test_the_budget_goes_to_vectors_then_to_depthwise_kernels_then_to_small_ones() -> None:
    shapes = {
        "large": (512, 512),
        "small": (32, 32),
        "depthwise": (3, 3, 256, 1),
        "bias": (600,),
        "eps": (4,),
    }
    rng = np.random.default_rng(0)
    weights = {
        name: held(rng.normal(size=shape).astype("float32")) for name, shape in shapes.items()
    }
    plan = plan_of(
        weights, rules="uint8", channels={"depthwise": Channels(2, Norm((), "bias", 0.0))}
    )
    kinds = {name: encoding.dtype for name, encoding in plan.encodings.items()}
    assert kinds == {"large": "uint8", "small": "float16", "depthwise": "float16"}
    size = sum(weight.size for weight in weights.values())
    spent = sum(
        weights[name].size * (plan.encodings[name].itemsize if name in kinds else 4)
        for name in weights
    )
    assert spent <= 1.05 * size + 16


def test_rules_with_patterns_are_followed_exactly() -> None:
    weights = {name: floats(*range(40)) for name in ("a/kernel", "a/bias", "b/kernel", "b/bias")}
    plan = plan_of(weights, rules="uint8=*/kernel float16=a/bias")
    kinds = {name: encoding.dtype for name, encoding in plan.encodings.items()}
    assert kinds == {"a/kernel": "uint8", "b/kernel": "uint8", "a/bias": "float16"}


def test_patterns_that_contradict_or_match_nothing_are_errors() -> None:
    weights = {"a/kernel": floats(1, 2), "a/bias": floats(1)}
    with pytest.raises(
        KerasportError,
        match=r"no weight matches 'b/\*'; the names of the weights are a/kernel, a/bias",
    ):
        plan_of(weights, rules="uint8=b/*")
    with pytest.raises(
        KerasportError, match="two rules apply to weight 'a/kernel': uint8 and float16"
    ):
        plan_of(weights, rules="uint8=a/* float16=*kernel")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["int4"], "not to 'int4'"),
        (["uint8", "float16"], "two rules apply to all weights"),
        (["uint8="], "'uint8=' names no weights"),
    ],
)
def test_invalid_rules_are_refused(rules: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parsed(rules)
    options = [part for rule in rules for part in ("--quantize", rule)]
    done = CliRunner().invoke(cli.app, ["convert", "a.keras", "b", *options])
    assert done.exit_code == 2  # wrong usage


# ----------------------------------------------------------------------------------------- channels


def test_normalization_compensates_exactly_for_a_divided_kernel() -> None:
    rng, epsilon = np.random.default_rng(1), 0.01
    kernel = (rng.normal(size=(3, 2, 5, 6)) * rng.lognormal(0, 1.5, 6)).astype("float32")
    kernel[..., 4] = 0
    weights: dict[str, Weight] = {
        "kernel": held(kernel), "bias": held(rng.normal(size=6)), "mean": held(rng.normal(size=6)),
        "variance": held(rng.uniform(0, 2, 6)),
    }  # fmt: skip
    norm = Norm(("mean", "bias"), "variance", epsilon)
    by = even("kernel", weights["kernel"], Channels(1, norm))
    assert by is not None
    assert (np.float16(by) == by).all()
    made = {
        name: weight.read().astype("float64")
        for name, weight in divided(weights, "kernel", norm, by).items()
    }
    assert np.abs(made["kernel"]).max() <= np.abs(kernel).max() * (1 + 1e-6)
    assert (made["variance"] >= 0).all()

    def normal(of: Mapping[str, Array]) -> Array:
        x = np.random.default_rng(2).normal(size=(4, 30))
        y = x @ of["kernel"].reshape(30, 6).astype("float64") + of["bias"]
        result: Array = (y - of["mean"]) / np.sqrt(of["variance"] + epsilon)
        return result

    np.testing.assert_allclose(
        normal(made), normal({n: w.read() for n, w in weights.items()}), rtol=1e-5, atol=1e-5
    )


def test_even_channels_and_unusual_numbers_are_not_divided() -> None:
    rng = np.random.default_rng(1)
    assert even("w", held(rng.uniform(-1, 1, (50, 8)).astype("float32")), Channels(1)) is None
    assert even("w", held(np.zeros((50, 8), "float32")), Channels(1)) is None
    assert even("w", floats(1, np.nan, 1, 100), Channels(1)) is None


@pytest.mark.parametrize("nbytes", [4, 12, 28, 10**6])
def test_channel_sizes_do_not_depend_on_the_pieces(
    nbytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.random.default_rng(0).normal(size=(11, 5)).astype("float32")
    array.tofile(tmp_path / "w")
    whole = WeightRef(tmp_path / "w", 0, array.dtype, array.shape)
    by = np.arange(1.0, 6)
    pieces = list(DividedWeight(whole, by).pieces(nbytes))
    np.testing.assert_allclose(np.concatenate(pieces).reshape(11, 5), array / by, rtol=1e-6)
    original = WeightRef.pieces
    monkeypatch.setattr(WeightRef, "pieces", lambda self: original(self, nbytes))
    np.testing.assert_array_equal(sizes("w", whole, 5), np.abs(array).max(axis=0))


def test_memory_does_not_grow_with_a_weight(tmp_path: Path) -> None:
    shape = (5000, 5000)  # 100 MB
    np.random.default_rng(0).normal(size=shape).astype("float32").tofile(tmp_path / "w")
    weight = WeightRef(tmp_path / "w", 0, np.dtype("float32"), shape)
    tracemalloc.start()
    plan = plan_of(
        {"w": weight, "v": held(np.ones(5000, "float32"))},
        rules="uint8",
        channels={"w": Channels(1, Norm((), "v", 0))},
    )
    encoding = plan.encodings["w"]
    assert isinstance(encoding, Encoding)
    written = write_weights(
        {"w": DividedWeight(weight, np.arange(1.0, 5001))}, tmp_path, encodings={"w": encoding}
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written.nbytes == 25_000_000
    assert peak < 60e6  # some copies of a piece, in float64


# ------------------------------------------------------------------------------------- whole models


def network(path: Path, *, uneven: float = 1.5, seed: int = 5) -> Path:
    """Convolutions of all kinds before normalizations, with channels of sizes that differ."""
    rng = np.random.default_rng(seed)
    model = keras.Sequential(
        [
            layers.Input((9, 11, 3)),
            layers.Conv2D(24, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            layers.BatchNormalization(scale=False),
            layers.ReLU(),
            layers.Conv2D(40, 1, strides=2),
            layers.BatchNormalization(epsilon=0.02),
            layers.Conv2D(48, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64),
            layers.BatchNormalization(),
            layers.Dense(10),
        ]
    )
    for weight in model.weights:
        low, high = (0.3, 2.0) if weight.name in ("moving_variance", "gamma") else (-0.5, 0.5)
        numbers = rng.uniform(low, high, weight.shape)
        if weight.name == "kernel":
            numbers = rng.normal(size=weight.shape) * rng.lognormal(0, uneven, weight.shape[-1])
        weight.assign(
            numbers / (np.sqrt(np.prod(weight.shape[:-1])) if weight.name == "kernel" else 1)
        )
    model.save(path)
    return path


@pytest.mark.parametrize("target", TARGETS)
def test_uint8_errs_less_than_one_scale_for_all(target: str, tmp_path: Path, tfjs: Tfjs) -> None:
    path = network(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(6, 9, 11, 3)).astype("float32")
    wanted = keras.models.load_model(path).predict(x, verbose=0)
    for backend in ("cpu", "wasm"):
        errors = {}
        for way in ("float16", "uint16", "uint8", "uint8=*"):
            out = tmp_path / f"{backend}-{way.replace('*', 'all')}"
            convert(path, out, to=target, quantize=way)
            (got,) = tfjs.run(out, [[x]], backend=backend).results[0]
            errors[way] = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        assert errors["float16"] < 2e-3
        assert errors["uint16"] < 2e-3
        assert errors["uint8"] < 0.05
        assert errors["uint8"] < errors["uint8=*"] / 2


def test_a_divided_layers_model_is_unchanged_except_for_rounding(tmp_path: Path) -> None:
    made = convert(network(tmp_path / "model.keras"), tmp_path / "out", quantize="uint8")
    plain = convert(tmp_path / "model.keras", tmp_path / "plain")
    written = [json.loads((tmp_path / out / "model.json").read_text()) for out in ("out", "plain")]
    assert written[0]["modelTopology"] == written[1]["modelTopology"]
    assert made.weights == plain.weights
    assert {group.kind for group in made.rounded} >= {"uint8", "float32"}
    assert "largest error" in str(made)


def channels_of(plan: Plan) -> Mapping[str, Channels]:
    assert isinstance(plan, TfjsPlan)
    return plan.channels


def test_kernels_without_compensation_are_not_divided(tmp_path: Path) -> None:
    """Convolutions whose output has an activation, or another use, before the normalization."""
    image = layers.Input((8, 8, 3))
    shared = layers.Conv2D(32, 3, name="shared")(image)
    active = layers.Conv2D(32, 3, activation="relu", name="active")(image)
    outputs = [layers.BatchNormalization(name=f"n{at}")(x) for at, x in enumerate((shared, active))]
    model = keras.Model(image, [layers.Add()([*outputs, shared])])
    model.save(tmp_path / "model.keras")
    with read(tmp_path / "model.keras") as found:
        assert channels_of(planned(found, "tfjs-layers")) == {}
    with read(network(tmp_path / "other.keras")) as found:
        channels = channels_of(planned(found, "tfjs-layers"))
    kinds = sorted(
        (name.split("/")[1], each.axes, len(each.norm.shifted))
        for name, each in channels.items()
        if each.norm
    )
    assert kinds == [
        ("depthwise_kernel", 2, 2),
        ("kernel", 1, 1),
        ("kernel", 1, 2),
        ("kernel", 1, 2),
    ]


# ---------------------------------------------------------------------------------------- verifying


@pytest.mark.exhaustive
def test_quantized_models_are_verified_only_with_a_given_tolerance(tmp_path: Path) -> None:
    path = network(tmp_path / "model.keras")
    convert(path, tmp_path / "out", quantize="uint8")
    told = verify(path, tmp_path / "out", backends=("wasm",))
    assert told.ok
    assert told.reported_only
    assert "which is quantized, agrees with" in " ".join(str(told).split())
    assert told.outputs[0].absolute > 1e-4
    strict = verify(path, tmp_path / "out", backends=("wasm",), rtol=1e-4)
    assert not strict.ok
    with pytest.raises(MismatchError):
        strict.raise_for_mismatch()


def test_the_command_rounds_verifies_and_reports(tmp_path: Path) -> None:
    path = network(tmp_path / "model.keras")
    options = (
        "--quantize",
        "uint8=*/kernel",
        "-q",
        "float16",
        "--json",
        "--to",
        "tfjs-layers",
        "--verify",
    )
    done = CliRunner().invoke(cli.app, ["convert", str(path), str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {group["kind"] for group in document["rounded"]} >= {"uint8", "float16"}
    assert document["verification"]["ok"] is True
    assert document["verification"]["reported_only"] is True


# --------------------------------------------------------------------- int8 with scales of channels


@pytest.mark.parametrize("block", [1, 7, 50, 64 * 1024])
def test_scales_match_their_channels_for_all_offsets_of_pieces(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasport.targets.encoding.BLOCK", block)
    rng = np.random.default_rng(block)
    for before, channels, inner in rng.integers(1, 9, (200, 3)).tolist():
        size = before * channels * inner
        numbers = rng.normal(size=size).astype(np.float32)
        scaled = Scaled(1, rng.uniform(0.005, 0.03, channels).astype(np.float32), inner)
        begin, end = sorted(rng.integers(0, size + 1, 2).tolist())
        piece, of = numbers[begin:end], np.arange(begin, end) // inner % channels
        stored, error = scaled.encode(piece, begin)
        wanted = np.round(piece / scaled.scale[of]).clip(-127, 127).astype(np.int8)
        np.testing.assert_array_equal(stored, wanted)
        errors = np.abs(wanted.astype(np.float32) * scaled.scale[of] - piece)
        assert error == pytest.approx(errors.max(initial=0))
        found, largest = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
        Scaled.largest(piece, begin, channels, inner, so_far=found)
        np.maximum.at(largest, of, np.abs(piece))
        np.testing.assert_array_equal(found, largest)
