"""ONNX models: every operation in ONNX Runtime, compared with numpy, and the content of files."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import onnx
import onnx_ir
import pytest
from keras import layers
from tests.cases import CASES
from tests.cases.case import Case
from tests.cases.trial import Trial, quiet
from tests.emission import FAMILIES, checks_of, floats
from tests.forged import given, hdf5, layer, put, sequential
from tests.forged import keras as forged_keras
from tests.graphs import batches, meaning, together
from tests.onnx_runtime import close, operators, run
from tests.strategies import operations

import kerasport
from kerasport import errors
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Constant, Input, TensorType, constant
from kerasport.targets.onnx import ONNX
from kerasport.targets.onnx.emit import DIFFERENT, SAME, UNSUPPORTED, emitter_of
from kerasport.targets.onnx.file import OnnxPlan, assembled, write
from kerasport.targets.onnx.plan import optimized
from kerasport.verification.runtimes.onnx import Onnx

# ----------------------------------------------------------------------------------- each operation


def written(graph: Graph, path: Path, opset: int = 20) -> Path:
    """A graph as an ONNX model."""
    emitter = emitter_of(optimized(graph, opset), opset)
    outputs = emitter.run([f"out_{at}" for at in range(len(graph.outputs))])
    assert not emitter.problems
    # inputs of several computations beside each other have no batch in common
    inputs = {name: emitter.ref(node) for name, node in emitter.inputs.items()}
    for name, value in (*inputs.items(), *outputs.items()):
        assert value.shape is not None
        sizes = [
            size if isinstance(size, int) else f"{name}_{axis}"
            for axis, size in enumerate(value.shape)
        ]
        value.shape = onnx_ir.Shape(sizes)
    model = assembled(emitter, outputs, SimpleNamespace(name="graph", writer=""))  # type: ignore[arg-type]
    write(OnnxPlan(target=ONNX, weights=emitter.weights, model=model), path)
    return path


NAN_LOST = ("Max of nothing",)
"""Computations by which ONNX Runtime makes a number of what is none."""


@pytest.mark.parametrize("opset", [17, 20, 22])
@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_runtime_computes_what_numpy_computes(family: str, opset: int, tmp_path: Path) -> None:
    checks = [check for check in checks_of(family) if check.name not in NAN_LOST]
    for at, batch in enumerate(batches(checks, 200)):
        graphs = [check.graph(f"x{index}") for index, check in enumerate(batch)]
        path = written(together(graphs), tmp_path / f"model_{at}.onnx", opset)
        onnx.checker.check_model(str(path), full_check=True)
        (got,) = run(path, [[array for check in batch for array in check.arrays]])
        rest = iter(got)
        for check, graph in zip(batch, graphs, strict=True):
            check.compare(
                meaning(check, graph),
                tuple(itertools.islice(rest, len(graph.outputs))),
                "ONNX Runtime",
            )


def test_paddings_that_onnx_runtime_rejects_are_refused() -> None:
    """Keras's layers have strides or dilations, its functions both."""
    for shape, reasons in (((2, 9, 8, 3), []), ((2, None, 8, 3), [DILATED])):
        x = Input("x", TensorType("float32", shape))
        made = ops.Conv(x, constant(floats(2, 3, 3, 2)), (2, 1), "same", (1, 2))
        emitter = emitter_of(optimized(Graph((x,), (made,))), 20)
        emitter.run(["y"])
        assert [problem.reason[: len(DILATED)] for problem in emitter.problems] == reasons


DILATED = "ONNX Runtime pads dilated windows incorrectly"


def test_every_operation_has_a_row() -> None:
    windows = {ops.Conv, ops.DepthwiseConv, ops.ConvTranspose, ops.MaxPool, ops.AvgPool, ops.Resize}
    rewritten = {*windows, ops.Cumprod, ops.CropAndResize, Constant, Input}
    rows: dict[Any, Any] = {**SAME, **DIFFERENT, **UNSUPPORTED}
    fused = operations("passes") & set(rows)
    assert set(rows) == (operations("ir", "targets.onnx") | fused | {ops.Transpose}) - rewritten
    assert len(rows) == len(SAME) + len(DIFFERENT) + len(UNSUPPORTED)


# ------------------------------------------------------------------------------------------- layout


def saved(model: keras.Model, folder: Path) -> Path:
    """A model as a .keras file."""
    with quiet():
        model.save(folder / "model.keras")
    return folder / "model.keras"


def test_flatten_after_convolutions_needs_no_transpose(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            layers.Input((9, 8, 3)),
            layers.Conv2D(5, 3),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    kerasport.convert(saved(model, tmp_path), tmp_path / "model.onnx")
    assert operators(tmp_path / "model.onnx")["Transpose"] == 1


def test_grouped_convolutions_are_one_operator_with_bias_and_activation(tmp_path: Path) -> None:
    x = given = keras.Input((9, 8, 6))
    for groups in (2, 3, 6):
        x = layers.Conv2D(12, 3, groups=groups, use_bias=False)(layers.ZeroPadding2D(1)(x))
        x = layers.ReLU()(layers.BatchNormalization()(x))
    kerasport.convert(saved(keras.Model(given, x), tmp_path), tmp_path / "model.onnx")
    assert operators(tmp_path / "model.onnx") == {"Transpose": 2, "Conv": 3, "Relu": 3}
    graph = onnx.load(tmp_path / "model.onnx").graph
    found = [
        onnx.helper.get_node_attr_value(node, "group")
        for node in graph.node
        if node.op_type == "Conv"
    ]
    assert found == [2, 3, 6]
    kernels = [tuple(weight.dims) for weight in graph.initializer if len(weight.dims) == 4]
    assert kernels == [(12, 3, 3, 3), (12, 4, 3, 3), (12, 2, 3, 3)]


def test_sequences_are_convolved_without_transposes_between(tmp_path: Path) -> None:
    x = given = keras.Input((None, 4))
    for filters in (5, 6, 7):
        x = layers.Conv1D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(2)(layers.BatchNormalization()(x))
    kerasport.convert(saved(keras.Model(given, x), tmp_path), tmp_path / "model.onnx")
    assert operators(tmp_path / "model.onnx")["Transpose"] == 2


# ---------------------------------------------------------------------------------------- operators


def test_recurrent_layers_become_onnx_operators(tmp_path: Path) -> None:
    x = given = keras.Input((None, 4))
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    x = layers.GRU(
        6, return_sequences=True, reset_after=False, recurrent_activation="hard_sigmoid"
    )(x)
    x = layers.GRU(6, return_sequences=True, go_backwards=True)(x)
    x = layers.SimpleRNN(3, activation="relu")(x)
    kerasport.convert(saved(keras.Model(given, x), tmp_path), tmp_path / "model.onnx")
    found = operators(tmp_path / "model.onnx")
    assert (found["LSTM"], found["GRU"], found["RNN"], found["Scan"], found["Loop"]) == (
        2,
        2,
        1,
        0,
        0,
    )


def test_fusable_nodes_become_one_operator(tmp_path: Path) -> None:
    x = given = keras.Input((7, 8))
    x = layers.LayerNormalization()(x)
    x = layers.Dense(8, activation="gelu")(x)
    x = layers.PReLU()(layers.Activation("hard_sigmoid")(x))
    kerasport.convert(saved(keras.Model(given, x), tmp_path), tmp_path / "model.onnx")
    found = operators(tmp_path / "model.onnx")
    assert all(found[name] == 1 for name in ("LayerNormalization", "Gelu", "HardSigmoid", "PRelu"))
    kerasport.convert(tmp_path / "model.keras", tmp_path / "older.onnx", opset=17)
    assert operators(tmp_path / "older.onnx")["Gelu"] == 0


# -------------------------------------------------------------------------------------------- files


@pytest.fixture
def two_inputs(tmp_path: Path) -> Path:
    """A model with names, unknown sizes and a nested model."""
    a, b = keras.Input((None, 4), name="words"), keras.Input((4,), name="image")
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="deep")], name="inside")
    x = layers.Add(name="sum")([layers.GlobalAveragePooling1D()(a), b])
    model = keras.Model([a, b], {"last": inner(x), "first": layers.Dense(2)(a)})
    return saved(model, tmp_path)


def test_onnx_names_are_those_of_keras(two_inputs: Path, tmp_path: Path) -> None:
    done = kerasport.convert(two_inputs, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "words": ["batch", "words_axis_1", 4],
        "image": ["batch", 4],
        "first": ["batch", "words_axis_1", 2],
        "last": ["batch", 3],
    }
    assert done.outputs == ("first", "last")
    assert any(node.name.startswith("inside/deep/") for node in graph.node)
    names = [name for node in graph.node for name in (node.name, *node.output)]
    assert len(names) == len(set(names))


def test_only_batch_axes_of_outputs_are_named_batch(
    tmp_path: Path,
) -> None:
    given = keras.Input((4, 3))
    flat = layers.Dense(2)(layers.Flatten()(layers.Conv1D(5, 2)(given)))
    outputs = [keras.ops.reshape(given, (-1, 3)), keras.ops.reshape(given, (-1, 12)), flat]
    model = keras.Model(given, outputs)
    kerasport.convert(saved(model, tmp_path), tmp_path / "model.onnx")
    sizes = [
        value.type.tensor_type.shape.dim[0].dim_param
        for value in onnx.load(tmp_path / "model.onnx").graph.output
    ]
    assert sizes[0] != "batch"
    assert sizes[1:] == ["batch", "batch"]


def test_an_existing_output_stays_without_force(two_inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "there" / "model.onnx"
    kerasport.convert(two_inputs, out)
    before = out.read_bytes()
    with pytest.raises(kerasport.OutputExistsError, match="--force"):
        kerasport.convert(two_inputs, out)
    kerasport.convert(two_inputs, out, opset=17, force=True)
    assert out.read_bytes() != before
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    with pytest.raises(ValueError, match=r"must be written to a file that ends in \.onnx"):
        kerasport.convert(two_inputs, tmp_path / "web_model", to="onnx")
    with pytest.raises(kerasport.OptionError, match="opset must be from 17 to 22, not 5"):
        kerasport.convert(two_inputs, tmp_path / "model.onnx", opset=5)
    assert not (tmp_path / "model.onnx").exists()


def test_a_failed_write_leaves_no_files(
    two_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kerasport.targets.onnx.file._Stored.write", fail)
    kerasport_out = tmp_path / "there" / "model.onnx"
    wide = saved(keras.Sequential([layers.Input((40,)), layers.Dense(50)]), tmp_path)
    with pytest.raises(OSError, match="the disk is full"):
        kerasport.convert(wide, kerasport_out)
    assert list(kerasport_out.parent.iterdir()) == []


def test_large_weights_are_in_a_second_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential(
        [layers.Input((40,)), layers.Dense(50, activation="tanh"), layers.Dense(30)]
    )
    path, out = saved(model, tmp_path), tmp_path / "there" / "model.onnx"
    images = np.random.default_rng(0).normal(size=(3, 40)).astype("float32")
    kerasport.convert(path, out)
    ((inside,),) = run(out, [[images]])
    monkeypatch.setattr(
        "kerasport.targets.onnx.file.write.__kwdefaults__",
        {"external": 1, "progress": lambda _: None},
    )
    done = kerasport.convert(path, out, force=True)
    assert done.files == ("model.onnx", "model.onnx.data")
    assert done.nbytes == sum(file.stat().st_size for file in out.parent.iterdir())
    onnx.checker.check_model(str(out), full_check=True)
    ((beside,),) = run(out, [[images]])
    np.testing.assert_array_equal(inside, beside)
    with pytest.raises(kerasport.OutputExistsError):
        kerasport.convert(path, out)
    monkeypatch.undo()
    kerasport.convert(path, out, force=True)
    assert [file.name for file in out.parent.iterdir()] == ["model.onnx"]


def test_the_file_equals_the_output_of_protobuf(two_inputs: Path, tmp_path: Path) -> None:
    kerasport.convert(two_inputs, tmp_path / "model.onnx")
    text = (tmp_path / "model.onnx").read_bytes()
    assert len(onnx.ModelProto.FromString(text).SerializeToString()) == len(text)


def test_without_onnx_ir_the_message_says_what_to_install(
    two_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(errors.MissingPackageError, match=r'pip install "kerasport\[onnx\]"'):
        kerasport.convert(two_inputs, tmp_path / "model.onnx")
    routes = {route.name: route for route in kerasport.doctor(two_inputs).routes}
    assert routes["kerasport, onnx"].command == 'pip install "kerasport[onnx]"'
    assert not routes["kerasport, onnx"].open


WITHOUT_EXTRA = """if True:
    import sys
    # an import of these fails, as if they were not installed
    sys.modules.update(dict.fromkeys(("onnx", "onnx_ir", "onnxruntime")))
    from kerasport.cli import main
    main()
"""


def test_check_works_without_the_packages_for_onnx(two_inputs: Path, tmp_path: Path) -> None:
    def command(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_EXTRA, *arguments, "--json"],
            capture_output=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    complete = kerasport.check(two_inputs, to="onnx").to_dict()
    code, found = command("check", str(two_inputs), "--to", "onnx")
    assert code == 0
    for key in ("layers", "inputs", "outputs", "problems"):
        assert json.dumps(found[key]) == json.dumps(complete[key])
    assert abs(found["nbytes"] - complete["nbytes"]) < 1000
    assert any('pip install "kerasport[onnx]"' in note for note in found["notes"])
    code, failed = command("convert", str(two_inputs), str(tmp_path / "model.onnx"))
    assert (code, failed["error"]) == (3, "MissingPackageError")
    assert failed["message"].endswith('which is not installed; pip install "kerasport[onnx]"')
    assert [*tmp_path.glob("*.onnx")] == []


# ------------------------------------------------------------------------------------- verification

DIGITS = Path(__file__).parent.parent / "examples" / "digits.keras"

REPRESENTATIVE = (
    "conv2d_same_2x2_channels_last",
    "conv2d_transpose_same_2x2_channels_last",
    "depthwise_conv2d_same_2x2_channels_last",
    "max_pooling2d_unknown_size",
    "lstm_relu",
    "gru_linear",
    "mask_lstm_sequences",
    "bidirectional_simple_rnn_concat",
    "multi_head_attention",
    "layer_normalization_rank_3",
    "resizing",
    "embedding",
    "conv2d_many_groups",
    "narrow_conv2d_wide_unknown_sizes",
)
"""Rows of the table that are run as a page does."""


@pytest.fixture(scope="module")
def runtime() -> Iterator[Onnx]:
    """ONNX Runtime, in one Node process for all tests."""
    with Onnx() as runtime:
        yield runtime


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in REPRESENTATIVE], ids=lambda case: case.name
)
def test_onnx_runtime_web_computes_what_keras_computes(
    case: Case, runtime: Onnx, tmp_path: Path
) -> None:
    trial = Trial(case, tmp_path)
    kerasport.convert(trial.path, tmp_path / "model.onnx")
    made = runtime.run(
        tmp_path / "model.onnx", [list(feed) for feed in trial.feeds], backend="onnxruntime-web"
    )
    for expected, computed in zip(trial.expected, made.results, strict=True):
        close(expected, computed, case.rtol, case.atol)


def test_every_representative_row_exists() -> None:
    assert len({case.name for case in CASES} & set(REPRESENTATIVE)) == len(REPRESENTATIVE) == 14


def test_verification_runs_onnx_models(two_inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    kerasport.convert(two_inputs, out)
    checked = kerasport.verify(two_inputs, out, backends=("onnxruntime", "onnxruntime-web"))
    assert checked.ok, checked
    assert {(output.backend, output.name) for output in checked.outputs} == {
        (backend, name)
        for backend in ("onnxruntime", "onnxruntime-web")
        for name in ("first", "last")
    }
    assert kerasport.verify(two_inputs, out).backends == ("onnxruntime",)
    with pytest.raises(
        errors.OptionError, match=r"unknown backend 'wasm'; .* onnxruntime and onnxruntime-web"
    ):
        kerasport.verify(two_inputs, out, backends=("wasm",))
    with pytest.raises(errors.VerifyError, match="has 2 inputs, but the original has 1 input"):
        kerasport.verify(DIGITS, out)


@pytest.mark.exhaustive
def test_different_numbers_are_reported(two_inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    kerasport.convert(two_inputs, out)
    model = onnx.load(out)
    weight = next(each for each in model.graph.initializer if each.dims == [4, 2])
    weight.raw_data = np.full((4, 2), 7, np.float32).tobytes()
    onnx.save(model, out)
    checked = kerasport.verify(two_inputs, out)
    assert not checked.ok
    assert re.search(r"onnxruntime +first", str(checked)), "no word is broken"


def test_invalid_onnx_files_cannot_be_verified(two_inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.VerifyError, match="kerasport convert"):
        kerasport.verify(two_inputs, tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(errors.VerifyError, match="cannot"):
        kerasport.verify(two_inputs, tmp_path / "model.onnx")


# ------------------------------------------------------------------------------------- quantization


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A model with every operator whose weights have channels."""
    rng = np.random.default_rng(5)
    image, words = keras.Input((9, 8, 3)), keras.Input((7,), dtype="int32")
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3, activation="relu")(image))
    x = layers.Flatten()(layers.Conv2DTranspose(6, 2, strides=2)(x))
    y = layers.LSTM(9)(layers.Embedding(20, 12)(words))
    model = keras.Model([image, words], [layers.Dense(5)(layers.Concatenate()([x, y]))])
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(rng.normal(0, 0.3, weight.shape) * rng.uniform(0.1, 2, weight.shape[-1:]))
    return saved(model, tmp_path)


@pytest.mark.rows(1)
@pytest.mark.parametrize(("kind", "within", "size"), [("float16", 1e-3, 0.6), ("int8", 2e-2, 0.4)])
@pytest.mark.parametrize("external", [1, 1 << 30])
def test_rounded_weights_compute_nearly_the_same(
    kind: str,
    within: float,
    size: float,
    external: int,
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)
    feeds = [
        [
            rng.normal(size=(3, 9, 8, 3)).astype("float32"),
            rng.integers(0, 20, (3, 7)).astype("int32"),
        ]
    ]
    whole = kerasport.convert(mixed, tmp_path / "whole.onnx")
    ((wanted,),) = run(tmp_path / "whole.onnx", feeds)
    monkeypatch.setitem(write.__kwdefaults__ or {}, "external", external)
    done = kerasport.convert(mixed, tmp_path / "there" / "model.onnx", quantize=kind)
    onnx.checker.check_model(str(tmp_path / "there" / "model.onnx"), full_check=True)
    ((got,),) = run(tmp_path / "there" / "model.onnx", feeds)
    assert 0 < np.abs(got - wanted).max() < within * np.abs(wanted).max()
    if external > 1:
        assert done.nbytes < size * whole.nbytes + 8000  # nodes take room, too
    (rounded,) = [each for each in done.rounded if each.kind == kind]
    assert 0 < rounded.error < 0.05
    assert rounded.weights >= 6
    checked = kerasport.verify(mixed, tmp_path / "there" / "model.onnx")
    assert checked.ok
    assert checked.reported_only


def test_int8_is_exact_within_half_a_step_of_each_channel(tmp_path: Path) -> None:
    kernel = np.random.default_rng(7).normal(size=(30, 4)).astype("float32") * np.array(
        [1, 0.01, 100, 0], np.float32
    )
    model = keras.Sequential([layers.Input((30,)), layers.Dense(4, use_bias=False)])
    model.set_weights([kernel])
    kerasport.convert(saved(model, tmp_path), tmp_path / "model.onnx", quantize="int8")
    ((got,),) = run(tmp_path / "model.onnx", [[np.eye(30, dtype=np.float32)]])
    assert (np.abs(got - kernel) <= np.abs(kernel).max(0) / 127 * 0.501).all()


def test_unsupported_kinds_of_rounding_are_refused(two_inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.KerasportError, match="float16 or int8, not to uint8"):
        kerasport.convert(two_inputs, tmp_path / "model.onnx", quantize="uint8")
    with pytest.raises(errors.KerasportError, match="uint16 or uint8, not to int8"):
        kerasport.convert(two_inputs, tmp_path / "web_model", quantize="int8")
    assert not (tmp_path / "model.onnx").exists()


# ------------------------------------------------------------------------------------- its refusals

ELSEWHERE = re.compile(
    # notes on what browsers can load are about browsers
    r"(targets/(tfjs|onnx/__init__|loading|next_steps|notes|plan|rounding|output|owner|target|__init__)"
    r"|verification|diagnosis|report|web|cli|commands|api|releases|urls|errors"
    # a graph-model is also a source
    r"|frontends/keras/(read|meaning)|frontends/graphdef/(?!ops))"
)
"""Modules whose texts are not reasons of a refusal to convert to ONNX."""
OTHERS = re.compile(
    r"TF\.js|tfjs|layers-model|graph-model|browser|\bwasm\b|webgl|\bpages?\b", re.IGNORECASE
)
"""Words for the other targets."""


def texts_of(path: Path) -> Iterator[str]:
    """The strings of a module that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bodies = [
        body for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list)
    ]
    documented = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documented
        ):
            yield node.value


def test_refusals_talk_about_onnx() -> None:
    """Reasons that all targets share name none of them; those of the ONNX target name ONNX."""
    root = Path(kerasport.__file__).parent
    modules = [
        path
        for path in sorted(root.rglob("*.py"))
        if not ELSEWHERE.match(path.relative_to(root).as_posix())
    ]
    assert {"inside.py", "precheck.py", "dtypes.py", "refused.py", "emitter.py"} <= {
        path.name for path in modules
    }
    found = {
        (path.name, text) for path in modules for text in texts_of(path) if OTHERS.search(text)
    }
    assert found == set()


def test_refusals_of_tfjs_do_not_talk_about_onnx() -> None:
    root = Path(kerasport.__file__).parent / "targets" / "tfjs"
    found = {
        text
        for path in root.rglob("*.py")
        for text in texts_of(path)
        if re.search("onnx", text, re.IGNORECASE)
    }
    assert found == set()


@pytest.mark.parametrize("name", ["Lambda", "Hashing", "TextVectorization", "Mystery"])
def test_a_refusal_names_the_onnx_model(name: str, tmp_path: Path) -> None:
    source = put(
        tmp_path / "m.keras",
        forged_keras(sequential(given(), layer(name, "it")), hdf5(lambda _: None)),
    )
    with pytest.raises(errors.UnsupportedModel) as refusal:
        kerasport.convert(source, tmp_path / "model.onnx")
    assert "ONNX" in str(refusal.value) or "onnx" in str(refusal.value)
    assert not OTHERS.search(str(refusal.value))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, about numpy
def test_a_note_on_nan_does_not_speak_of_tfjs(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "relu")])
    model.layers[0].kernel.assign(np.full((2, 2), np.nan, "float32"))
    model.save(tmp_path / "m.keras")
    (note,) = (
        note
        for note in kerasport.convert(tmp_path / "m.keras", tmp_path / "m.onnx").notes
        if "NaN" in note
    )
    assert not OTHERS.search(note)
