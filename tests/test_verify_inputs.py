"""The inputs of a verification, random or given by the user, and the comparison of outputs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import numpy as np
import pytest
from keras import layers
from tests.verified import OLD, cnn, converted, corrupt, dicts, hide_keras, pair, saved

from kerasport.api import convert, verify
from kerasport.errors import VerifyError
from kerasport.frontends.keras.read import read
from kerasport.verification.comparison import Tolerance
from kerasport.verification.divergence import discriminating_feeds, nearest
from kerasport.verification.inputs import concrete_shapes, random_inputs
from kerasport.verification.references.keras_runner import load_arrays, save_arrays
from kerasport.verification.report import LayerDivergence, OutputError, Verification
from kerasport.verification.runtime import TensorInfo
from kerasport.verification.user_data import read_expected, read_inputs
from kerasport.weights import Array

# ------------------------------------------------------------------------------------ given batches


@pytest.mark.rows(1)
@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_models_are_verified_with_the_written_companion(harm: str, tmp_path: Path) -> None:
    def memory() -> keras.Model:
        x = keras.Input((5, 3))
        return keras.Model(x, keras.layers.GRU(4)(x))

    source, out = converted(memory, tmp_path)
    companion = out / "kerasport-layers.js"
    assert verify(source, out).ok
    if harm == "gone":
        companion.unlink()
    else:
        companion.write_text(
            "export function register(tf) { globalThis.process?.exit(7) }", "utf-8"
        )
    with pytest.raises(
        VerifyError, match=r"kerasport-layers\.js: (the model needs this script|is not the script)"
    ):
        verify(source, out)


def test_recorded_outputs_need_no_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide_keras(monkeypatch)
    convert(OLD, tmp_path / "out")
    recorded = OLD.with_name("functional.npz")
    result = verify(OLD, tmp_path / "out", inputs=recorded, expected=recorded)
    assert result.ok
    assert (result.reference, [*result.seconds]) == ("functional.npz", ["cpu", "wasm"])
    corrupt(tmp_path / "out", "shared/bias")
    result = verify(OLD, tmp_path / "out", inputs=recorded, expected=recorded)
    assert not result.ok
    (note,) = result.notes
    assert note == (
        "the first layer that differs could not be found: verify runs the original model in "
        "Keras, but Keras is not "
        "installed, and Keras 2.15.0 wrote this file; pip install tf_keras, or name the Python "
        "of another environment "
        "with --python"
    )


@pytest.mark.exhaustive
def test_keras_runs_user_inputs(tmp_path: Path) -> None:
    source, out = converted(dicts, tmp_path)
    rng = np.random.default_rng(0)
    # float64 and int64, as numpy makes them
    np.savez(tmp_path / "in.npz", ids=rng.integers(0, 7, (4, 3)), numbers=rng.normal(size=(4, 4)))
    result = verify(source, out, inputs=tmp_path / "in.npz", backends=["cpu"])
    assert result.ok
    assert [(error.name, error.batch_size) for error in result.outputs] == [
        ("layer_ne", 4),
        ("two", 4),
    ]


NUMBERS = np.zeros((2, 4), "float32")


IDS = np.zeros((2, 3), "int32")


INFOS = (TensorInfo("a_b", "int32", (None, 3)), TensorInfo("z", "float32", (None, 4)))


OUTS = (TensorInfo("layer_ne", "float32", (None, 2)), TensorInfo("two", "float32", (None, 3)))


@pytest.fixture(scope="module")
def dicts_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(dicts(), tmp_path_factory.mktemp("dicts") / "model.keras")


@pytest.mark.parametrize(
    "given",
    [
        {"numbers": NUMBERS, "ids": IDS},
        {"z": NUMBERS, "a b": IDS},
        {"z": NUMBERS, "a_b": IDS, "labels": IDS},
        {"arr_0": IDS, "arr_1": NUMBERS},
        {"input_0": IDS, "input_1": NUMBERS, "output_0": IDS, "output_1": IDS},
        {"ids": IDS.astype("float64"), "numbers": NUMBERS.astype("uint8")},
    ],
    ids=["keys", "keras", "tfjs", "order", "recorded", "dtypes"],
)
def test_inputs_are_found_in_a_file(
    given: Mapping[str, Any], dicts_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", **given)
    with read(dicts_path) as model:
        ids, numbers = read_inputs(tmp_path / "in.npz", model, INFOS)
    assert (ids.shape, ids.dtype.name) == ((2, 3), "int32")
    assert (numbers.shape, numbers.dtype.name) == ((2, 4), "float32")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"numbers": NUMBERS},
            (
                r"contains numbers, but the inputs of the model are a b/a_b/ids, numbers/z; use "
                r"these names, or"
            ),
        ),
        (
            {"arr_0": IDS, "arr_1": NUMBERS, "arr_2": IDS},
            r"contains arr_0, arr_1, arr_2, but the inputs of the model are",
        ),
        (
            {"numbers": NUMBERS[0], "ids": IDS},
            r"input 'z' has the shape \[4\]; the model has \[\?, 4\]",
        ),
        (
            {"numbers": NUMBERS, "ids": IDS[:, :2]},
            r"input 'a b' has the shape \[2, 2\]; the model has \[\?, 3\]",
        ),
        ({"numbers": NUMBERS, "ids": IDS[:1]}, r"different batch sizes, \[1, 2\]"),
        (
            {"numbers": NUMBERS, "ids": IDS + 0.5},
            r"input 'a b' has float64 values that do not fit into int32",
        ),
        (
            {"numbers": NUMBERS, "ids": IDS.astype("int64") + 2**40},
            r"input 'a b' has int64 values that do not fit into int32",
        ),
        (
            {"numbers": NUMBERS.astype("U"), "ids": IDS},
            r"input 'z' has the dtype <U32; it needs numbers",
        ),
        (
            {"numbers": np.array([["x", None]]), "ids": IDS},
            r"not an \.npz of numbers or strings \(Object arrays",
        ),
    ],
)
def test_mismatched_inputs_are_errors(
    given: Mapping[str, Any], message: str, dicts_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", **given)
    with read(dicts_path) as model, pytest.raises(VerifyError, match=message):
        read_inputs(tmp_path / "in.npz", model, INFOS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"first": np.zeros((2, 2)), "second": np.zeros((2, 5))},
            r"output 'two' has the shape \[2, 5\]; .* \[2, 3\]",
        ),
        (
            {"first": np.zeros((4, 2)), "second": np.zeros((4, 3))},
            r"output 'øne' has the shape \[4, 2\]; .* \[2, 2\]",
        ),
        (
            {"second": np.zeros((2, 3))},
            r"contains second, but the outputs of the model are first/layer_ne/øne, second/two",
        ),
    ],
)
def test_mismatched_outputs_are_errors(
    given: Mapping[str, Any], message: str, dicts_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "out.npz", **given)
    with read(dicts_path) as model, pytest.raises(VerifyError, match=message):
        read_expected(tmp_path / "out.npz", model, OUTS, batch=2)


def test_files_other_than_npz_are_errors(dicts_path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", NUMBERS)
    (tmp_path / "text").write_text("?")
    with read(dicts_path) as model:
        for name, message in (
            ("one.npy", "a single array, not an .npz"), ("text", "not an .npz of numbers"),
            ("none", "no such file")
        ):  # fmt: skip
            with pytest.raises(VerifyError, match=message):
                read_inputs(tmp_path / name, model, INFOS)


# ------------------------------------------------------------------------------------ random inputs


def inputs_of(model: keras.Model, folder: Path, batch: int = 3) -> tuple[Array, ...]:
    with read(saved(model, folder / "model.keras")) as described:
        return random_inputs(described, batch, np.random.default_rng(0))


def test_indices_stay_below_the_smallest_vocabulary(tmp_path: Path) -> None:
    inner_ids = layers.Input((6,), dtype="int32")
    inner = keras.Model(inner_ids, layers.Embedding(3, 2)(inner_ids), name="inner")
    ids, others, steps = (layers.Input(shape, dtype="int32") for shape in ((None,), (2, 3), (4, 6)))
    first = inner(layers.Reshape((6,))(others))
    second = layers.Embedding(9, 2, mask_zero=True)(ids)
    third = layers.TimeDistributed(layers.Embedding(5, 2))(steps)
    model = keras.Model([ids, others, steps], [first, second, third])
    ids_, others_, steps_ = inputs_of(model, tmp_path, batch=40)
    assert (ids_.shape, others_.shape, steps_.shape) == ((40, 7), (40, 2, 3), (40, 4, 6))
    assert {*others_.flat} == {0, 1, 2}
    assert {*steps_.flat} == {0, 1, 2, 3, 4}
    assert {*ids_.flat} == {*range(9)}
    padded = places_of_padding(ids_ == 0)
    assert padded[:2] == ["front middle end", "all"]
    assert set(padded) == {"front middle end", "all", "front", "end"}


def places_of_padding(padding: Array) -> list[str]:
    """Where the steps of each sample, [samples, steps], are padding."""
    places = []
    for row in padding:
        middle = row.size // 2
        alone = row[middle] and not row[middle - 1] and not row[middle + 1]
        here = {"front": row[0], "middle": alone, "end": row[-1]}
        places.append("all" if row.all() else " ".join(name for name, is_ in here.items() if is_))
    return places


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("bool", {0, 1}), ("uint8", {*range(256)}), ("int64", {*range(10)})],
)
def test_integers_have_the_dtype_of_the_input(dtype: str, values: set[int], tmp_path: Path) -> None:
    x = layers.Input((900,), dtype=dtype)
    (array,) = inputs_of(keras.Model(x, layers.Flatten()(x)), tmp_path)
    assert (array.dtype.name, {*array.flat} == values) == (dtype, True)


def test_numbers_are_small_but_pixels_are_not(tmp_path: Path) -> None:
    x = layers.Input((20, 20, 3))
    (array,) = inputs_of(keras.Model(x, layers.Conv2D(2, 3)(x)), tmp_path)
    assert array.dtype == "float32"
    assert -2 <= array.min() < -1.5 < 1.5 < array.max() <= 2
    (array,) = inputs_of(keras.Model(x, layers.Rescaling(1 / 127.5, offset=-1)(x)), tmp_path)
    assert (array.min(), array.max()) == (0, 255)
    halves = layers.Input((4,), dtype="bfloat16")
    (array,) = inputs_of(keras.Model(halves, layers.Dense(2)(halves)), tmp_path)
    assert array.dtype.name == "bfloat16"


def test_some_steps_are_masked(tmp_path: Path) -> None:
    x = layers.Input((9, 2))
    (array,) = inputs_of(keras.Model(x, layers.Masking(-1.5)(x)), tmp_path, batch=20)
    padded = places_of_padding((array == -1.5).all(axis=2))
    assert padded[:2] == ["front middle end", "all"]
    assert set(padded) == {"front middle end", "all", "front", "end"}


def test_mask_arguments_are_padding_too(tmp_path: Path) -> None:
    x, mask = layers.Input((9, 2)), layers.Input((9,), dtype="bool")
    _, given = inputs_of(keras.Model([x, mask], layers.LSTM(2)(x, mask=mask)), tmp_path, batch=4)
    assert not given[0, [0, 4, -1]].any()
    assert given[0].any()
    assert not given[1].any()


def u_net() -> keras.Model:
    x = layers.Input((None, None, 1))
    small = layers.MaxPooling2D(8)(layers.Conv2D(1, 3, padding="same")(x))
    return keras.Model(x, layers.Concatenate()([x, layers.UpSampling2D(8)(small)]))


def deep() -> keras.Model:
    x = layers.Input((None, None, 1))
    return keras.Model(x, layers.Conv2D(1, 9)(layers.MaxPooling2D(3)(x)))


def fixed() -> keras.Model:
    x = layers.Input(batch_shape=(4, None, 2))
    return keras.Model(x, layers.Dense(2)(x))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (u_net, ((3, 8, 8, 1),)),
        (deep, ((3, 32, 32, 1),)),
        (pair, ((3, 7, 2), (3, 7, 2))),
        (fixed, ((4, 7, 2),)),
        (cnn, ((3, 7, 6, 3),)),
    ],
    ids=lambda of: getattr(of, "__name__", ""),
)
def test_unknown_sizes_are_replaced_by_sizes_that_work(
    build: Callable[[], keras.Model], expected: tuple[tuple[int, ...], ...], tmp_path: Path
) -> None:
    with read(saved(build(), tmp_path / "model.keras")) as model:
        assert concrete_shapes(model, 3) == expected


def test_a_model_without_a_working_size_is_an_error(tmp_path: Path) -> None:
    a, b = layers.Input((None, 2), name="a"), layers.Input((None, 2), name="b")
    impossible = keras.Model([a, b], layers.Add()([a, layers.ZeroPadding1D(1)(b)]))
    with (
        read(saved(impossible, tmp_path / "model.keras")) as model,
        pytest.raises(
            VerifyError,
            match="of inputs 'a', 'b' with which the model works; give inputs with --inputs",
        ),
    ):
        random_inputs(model, 1, np.random.default_rng(0))


# -------------------------------------------------------------------------------------- comparisons


TOLERANCE = Tolerance(rtol=0.1, atol=0.01)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("actual", "expected", "ok", "absolute", "where"),
    [
        ([1, 2], [1, 2], True, 0, (0,)),
        ([1, 2.2], [1, 2], True, 0.2, (1,)),
        ([1, 2.22], [1, 2], False, 0.22, (1,)),
        (
            [100, 0.02],
            [109, 0],
            False,
            9,
            (1,),
        ),  # not the largest difference, but the largest that is not allowed
        ([NAN, 1], [NAN, 1], True, 0, (0,)),
        ([1, NAN], [1, 1], False, INF, (1,)),
        ([1, 1], [1, NAN], False, INF, (1,)),
        ([INF, -INF], [INF, -INF], True, 0, (0,)),
        ([INF, INF], [INF, -INF], False, INF, (1,)),
        ([1, 1e30], [1, INF], False, INF, (1,)),
        ([], [], True, 0, ()),
        (3, 3, True, 0, ()),
    ],
)
def test_compare_finds_differences(
    actual: Any, expected: Any, ok: bool, absolute: float, where: tuple[int, ...]
) -> None:
    found = TOLERANCE.compare(np.array(actual, "float64"), np.array(expected, "float64"))
    assert (found.ok, found.where) == (ok, where)
    assert found.absolute == pytest.approx(absolute)


SMALL = np.array([1e-7, -3e-8, 0], "float32")


@pytest.mark.parametrize(
    ("actual", "expected", "ok"),
    [
        (np.zeros(3), SMALL, False),
        (-SMALL, SMALL, False),
        (SMALL * np.float32(1.06), SMALL, False),
        (
            SMALL * np.float32(1.04),
            SMALL,
            True,
        ),  # within a twentieth, as much as a sigmoid of 1e-5 is rounded
        ([9.745359e-06], [9.779387e-06], True),  # the Sigmoid of ONNX Runtime, and that of Keras
        ([9.4e-06], [9.8e-06], False),
        ([1e-3, 2e-7], [1e-3, 0], True),
        ([1e-3, 3e-7], [1e-3, 0], False),
        (SMALL * np.float32(1 + 1e-6), SMALL, True),
        (SMALL + np.float32(5e-13), SMALL, True),  # 0 by 5e-13, of 1e-7
        (SMALL, np.zeros(3), True),
        ([0.5, 1e-6], [0.5, 0], True),
        ([0.5, 9e-6], [0.5, 0], False),
        ([50, 9e-6], [50, 0], True),
        ([50, 2e-5], [50, 0], False),
        ([0.0], [1e-40], True),  # below the normal numbers of float32
    ],
)
def test_tolerances_scale_with_small_outputs(actual: Any, expected: Any, ok: bool) -> None:
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert Tolerance(1e-4, 1e-5, scaled=True).compare(actual, expected).ok is ok
    assert Tolerance(1e-4, 1e-5).compare(actual, expected).ok is bool(
        np.abs(actual - expected).max() < 1.5e-5
    )


def test_the_tolerance_of_an_output_is_the_same_for_all_batches() -> None:
    default = Tolerance(1e-4, 1e-5, scaled=True)
    assert default.settled([np.array([0.25]), np.array([-0.5, 0.1])]) == Tolerance(1e-4, 5e-6)
    assert default.settled([np.array([40.0])]) == Tolerance(1e-4, 1e-5)
    assert default.settled([np.zeros(3)]) == Tolerance(1e-4, 1e-5)
    assert default.settled([np.array([1e-30])]).atol == pytest.approx(1e-30 / 20)
    assert Tolerance(1e-4, 1e-3).settled([np.array([1e-9])]) == Tolerance(1e-4, 1e-3)


def test_arrays_of_other_shapes_differ() -> None:
    found = TOLERANCE.compare(np.zeros((2, 3)), np.zeros((2, 1)))
    assert (found.ok, found.reason) == (False, "has the shape [2, 3], expected [2, 1]")


def test_bools_and_integers_are_compared_as_numbers() -> None:
    assert TOLERANCE.compare(np.array([0.0, 1.0]), np.array([False, True])).ok
    assert not TOLERANCE.compare(np.array([0, 0]), np.array([False, True])).ok


def test_layers_are_compared_relative_to_their_scale() -> None:
    actual, expected = np.array([0.5, 10]), np.array([0.0, 10])
    assert not TOLERANCE.compare(actual, expected).ok
    assert TOLERANCE.compare_to_scale(actual, expected).ok


def test_a_shared_layer_is_compared_with_its_nearest_call() -> None:
    calls = ((np.zeros(2),), (np.ones(2),), (np.zeros(3),))
    assert nearest((np.ones(2),), calls, TOLERANCE).ok
    found = nearest((np.full(2, 1.5),), calls, TOLERANCE)
    assert (found.ok, found.absolute) == (False, 0.5)


def test_a_divergence_is_looked_for_in_one_sample() -> None:
    feeds = [(np.arange(1),), (np.arange(3),)]
    ((sample,),) = discriminating_feeds(feeds, 1, (2, 0), fixed=False)
    assert sample.tolist() == [2]
    assert discriminating_feeds(feeds, 1, (2, 0), fixed=True) == feeds


def test_arrays_survive_the_wire_format(tmp_path: Path) -> None:
    groups = [
        (np.zeros((0, 2)), np.array(True)),
        (np.arange(3, dtype="bfloat16"),),
        *[(np.arange(2),)] * 9,
    ]
    save_arrays(tmp_path / "it.npz", groups)
    loaded = load_arrays(tmp_path / "it.npz")
    assert [[array.shape for array in group] for group in loaded] == [
        [array.shape for array in g] for g in groups
    ]
    assert loaded[1][0].tolist() == [0, 1, 2]


def verification(**changes: Any) -> Verification:
    worst: dict[str, Any] = {
        "absolute": 0.5,
        "relative": 0.25,
        "where": (2, 7),
        "actual": 1.5,
        "expected": 2.0,
        "allowed": 1e-4,
    }
    wrong = OutputError(
        **worst, ok=False, backend="cpu", name="<probs>", batch=1, batch_size=3, atol=1e-5
    )
    shape = OutputError(INF, INF, (), NAN, NAN, 0, ok=False,
    reason="has the shape [2], expected [3]", backend="wasm",
                        name="y", batch_size=3, atol=1e-5)  # fmt: skip
    layer = LayerDivergence(
        **worst, ok=False, backend="cpu", name="conv", tfjs_name="conv", class_name="Conv2D"
    )
    options: dict[str, Any] = {
        "outputs": (wrong, shape),
        "diverges": layer,
        "notes": ("so & so",),
        **changes,
    }
    return Verification(
        "model.keras",
        "out",
        "Keras 3.15.1 (jax)",
        ("cpu", "wasm"),
        1e-4,
        1e-5,
        seconds={"cpu": 2},
        **options,
    )


TEXT = """\
out computes different numbers than model.keras

  Reference  Keras 3.15.1 (jax)
  Tolerance  rtol 0.0001, atol 1e-05
  Time       cpu 2.0 s

Largest difference of each output
  backend  output   batch  error  allowed  at      TF.js  Keras
  cpu      <probs>  3      0.5    0.0001   [2, 7]  1.5    2
  wasm     y        3      -      -        -       -      -

Outputs that cannot be compared
  y on wasm: has the shape [2], expected [3]

First layer that differs
  conv (Conv2D), on cpu
    1.5 in TF.js, 2 in Keras at [2, 7], a difference of 0.5; the tolerance is
    0.0001

Notes
  - so & so"""


def test_verification_reports_are_readable() -> None:
    assert str(verification()) == TEXT
    page = verification()._repr_html_()
    assert "&lt;probs&gt;" in page
    assert "so &amp; so" in page
    assert "rtol 0.0001, atol 2e-07 to 1e-05" in str(
        verification(
            outputs=[replace(verification().outputs[0], atol=atol) for atol in (1e-5, 2e-7)]
        )
    )
    document = verification().to_dict()
    assert document["outputs"][1]["absolute"] == "inf"
    assert document["outputs"][0]["where"] == [2, 7]
    json.dumps(document, allow_nan=False)
    assert str(verification().outputs[0]).startswith("output '<probs>' on cpu: 1.5 in TF.js")
    assert str(verification().outputs[1]) == "output 'y' on wasm: has the shape [2], expected [3]"


def test_keras_is_never_imported_into_the_process_of_the_user() -> None:
    code = (
        "import sys; sys.path[:] = sys.argv[1:]; import kerasport.verification; "
        "sys.exit('keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *sys.path], check=True)
