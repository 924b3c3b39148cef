"""TF.js in Node, driven from Python: the real one, installed by npm into the user's cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, TypeAlias, get_args

import ml_dtypes
import numpy as np
import pytest

from kerasport.errors import VerifyError
from kerasport.verification.runtime import TensorInfo
from kerasport.verification.runtimes import node
from kerasport.verification.runtimes.tfjs import Backend, Tfjs
from kerasport.verification.runtimes.wire import encode
from kerasport.verification.runtimes.worker import Worker
from kerasport.weights import Array

Json: TypeAlias = Mapping[str, Any]
Weights: TypeAlias = Mapping[str, Array]

BACKENDS: tuple[Backend, ...] = get_args(Backend)
DT = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}

KERNEL = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
BIAS = np.array([0.5, -0.25, 2], np.float32)
X = np.array([[1, 2], [-3, 0.5]], np.float32)

pytestmark = pytest.mark.needs("node")


@pytest.fixture(scope="module")
def tfjs() -> Iterator[Tfjs]:
    with Tfjs() as runtime:
        yield runtime


def write_model(folder: Path, model: Json, weights: Weights) -> Path:
    manifest = [
        {"name": name, "dtype": array.dtype.name, "shape": array.shape}
        for name, array in weights.items()
    ]
    (folder / "weights.bin").write_bytes(b"".join(map(np.ndarray.tobytes, weights.values())))
    groups = [{"paths": ["weights.bin"], "weights": manifest}]
    (folder / "model.json").write_text(json.dumps({**model, "weightsManifest": groups}))
    return folder


def layers_model(folder: Path, *, source: str = "x", **extra: Any) -> Path:
    """A Dense layer on the layer `source`, then a softmax."""
    layers = [
        layer("InputLayer", "x", [], batch_input_shape=[None, 2], dtype="float32"),
        layer("Dense", "dense", [[[source, 0, 0]]], units=3, activation="relu"),
        layer("Softmax", "probabilities", [[["dense", 0, 0]]]),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["probabilities", 0, 0]]}
    config = {"name": "model", "layers": layers, **ends}
    topology = {"model_config": {"class_name": "Functional", "config": config}}
    return write_model(
        folder,
        {"format": "layers-model", "modelTopology": topology, **extra},
        {"dense/kernel": KERNEL, "dense/bias": BIAS},
    )


def layer(class_name: str, name: str, nodes: Sequence[Any], **config: Any) -> Json:
    return {
        "class_name": class_name,
        "name": name,
        "inbound_nodes": nodes,
        "config": {"name": name, **config},
    }


def graph_model(folder: Path, dtype: str, shape: tuple[int, ...], *ops: str) -> Path:
    """A graph of unary operations, one after the other."""
    names = ["x", *(f"{op}_{index}" for index, op in enumerate(ops))]
    dims = {"dim": [{"size": str(size)} for size in shape]}
    attrs = {"dtype": {"type": DT[dtype]}, "shape": {"shape": dims}}
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": attrs},
        *(
            {"name": name, "op": op, "input": [source]}
            for source, name, op in zip(names, names[1:], ops, strict=False)
        ),
    ]
    ends = {
        side: {key: {"name": f"{name}:0", "dtype": DT[dtype], "tensorShape": dims}}
        for side, key, name in (("inputs", "x", "x"), ("outputs", "y", names[-1]))
    }
    topology = {"node": nodes, "versions": {}}
    return write_model(
        folder, {"format": "graph-model", "modelTopology": topology, "signature": ends}, {}
    )


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def softmax(x: Array) -> Array:
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layers_model_runs(tfjs: Tfjs, tmp_path: Path, backend: Backend) -> None:
    feeds = [[X], [X[:1]], [np.tile(X, (40, 1))]]
    run = tfjs.run(layers_model(tmp_path), feeds, backend=backend, layers=["dense", "x"])
    assert run.inputs == (TensorInfo("x", "float32", (None, 2)),)
    assert run.outputs == (TensorInfo("probabilities", "float32", (None, 3)),)
    for (x,), (y,), layers in zip(feeds, run.results, run.layers, strict=True):
        dense = relu(x @ KERNEL + BIAS)
        np.testing.assert_allclose(y, softmax(dense), rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(layers["dense"][0], dense)
        np.testing.assert_array_equal(layers["x"][0], x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_model_runs(tfjs: Tfjs, tmp_path: Path, backend: Backend) -> None:
    model = graph_model(tmp_path, "float32", (-1, 2), "Neg", "Relu")
    run = tfjs.run(model / "model.json", [[X], [-X]], backend=backend)
    assert run.inputs == (TensorInfo("x", "float32", (None, 2)),)
    assert run.outputs == (TensorInfo("y", "float32", (None, 2)),)
    np.testing.assert_array_equal(run.results[0][0], relu(-X))
    np.testing.assert_array_equal(run.results[1][0], relu(X))
    assert run.layers == ({}, {})


EXACT = (
    np.array([0.1, -0.0, np.inf, -np.inf, np.nan, np.finfo(np.float32).max], np.float32),
    np.array([[-(2**31), 2**31 - 1, 0]], np.int32),
    np.array([[True], [False]]),
    np.float32(1.5).reshape(()),
    np.zeros((2, 0, 3), np.float32),
    np.arange(24, dtype=np.float32).reshape(2, 3, 4).T,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("array", EXACT, ids=lambda array: f"{array.dtype}{array.shape}")
def test_wire_format_keeps_every_bit(
    tfjs: Tfjs, tmp_path: Path, backend: Backend, array: Array
) -> None:
    model = graph_model(tmp_path, array.dtype.name, array.shape, "Identity")
    ((y,),) = tfjs.run(model, [[array]], backend=backend).results
    assert (y.dtype, y.shape, y.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float64, "float32"),
        (np.float16, "float32"),
        (ml_dtypes.bfloat16, "float32"),
        (np.int64, "int32"),
        (np.uint8, "int32"),
        (np.bool_, "bool"),
    ],
)
def test_other_dtypes_are_converted_to_those_of_tfjs(dtype: Any, expected: str) -> None:
    assert encode(np.ones(2, dtype))["dtype"] == expected


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**32, 2**63 - 1])
def test_integers_beyond_int32_are_refused(value: int) -> None:
    with pytest.raises(VerifyError, match=f"range from 0 to {value}|range from {value} to 0"):
        encode(np.array([0, value], np.int64))


def test_a_dtype_that_tfjs_does_not_have_is_refused() -> None:
    with pytest.raises(VerifyError, match="no dtype complex64"):
        encode(np.ones(1, np.complex64))


def test_a_model_is_described(tfjs: Tfjs, tmp_path: Path) -> None:
    adam = {"learning_rate": 0.5, "beta_1": 0.5, "beta_2": 0.5, "epsilon": 1}
    optimizer = {"class_name": "Adam", "config": adam}
    training = {"optimizer_config": optimizer, "loss": "mean_squared_error", "metrics": []}
    description = tfjs.describe(layers_model(tmp_path, trainingConfig=training))
    assert description["layers"] == ["x", "dense", "probabilities"]
    assert [weight["name"] for weight in description["weights"]] == [
        "dense/kernel",
        "dense/bias",
    ]
    assert (description["trainable"], description["nonTrainable"]) == (2, 0)
    assert description["optimizer"]["className"] == "Adam"
    assert description["loss"] == "meanSquaredError"


def test_node_keeps_running_after_an_error(tfjs: Tfjs, tmp_path: Path) -> None:
    model = layers_model(tmp_path)
    tfjs.describe(model)
    worker = tfjs._worker
    with pytest.raises(VerifyError, match=r"cannot run .*model\.json: .*no layer nobody"):
        tfjs.run(model, [[X]], backend="cpu", layers=["nobody"])
    with pytest.raises(VerifyError, match="shape"):
        tfjs.run(model, [[np.ones((1, 3))]], backend="wasm")
    with pytest.raises(VerifyError, match="no such file"):
        tfjs.describe(tmp_path / "none")
    (tmp_path / "model.json").write_text('{"modelTopology": NaN}')
    with pytest.raises(VerifyError, match="Failed to parse model JSON"):
        tfjs.describe(model)
    tfjs.run(layers_model(tmp_path), [[X]], backend="cpu")
    assert tfjs._worker is worker


def test_a_hung_node_is_killed_and_replaced(tfjs: Tfjs, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="not answer in 2 seconds; one cause is a model"):
        tfjs.run(layers_model(tmp_path, source="nobody"), [[X]], backend="cpu", timeout=2)
    assert tfjs.run(layers_model(tmp_path), [[X]], backend="cpu").results


def test_a_dead_node_is_replaced(tfjs: Tfjs, tmp_path: Path) -> None:
    tfjs.describe(layers_model(tmp_path))
    assert tfjs._worker
    tfjs._worker._process.kill()
    tfjs._worker._process.wait()
    with pytest.raises(VerifyError, match="Node crashed"):
        tfjs.describe(tmp_path)
    assert tfjs.describe(tmp_path)


def test_the_last_output_of_a_crashed_node_is_reported(tmp_path: Path) -> None:
    (tmp_path / "script.cjs").write_text("throw new Error('out of luck')")
    worker = Worker(node.find(), tmp_path / "script.cjs")
    with pytest.raises(VerifyError, match="Error: out of luck"):
        worker.ask(b"?", timeout=60)
    worker.close()


def test_a_node_that_does_not_read_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "script.cjs").write_text("for (;;);")
    worker = Worker(node.find(), tmp_path / "script.cjs")
    with pytest.raises(VerifyError, match="not answer in 2 seconds"):
        worker.ask(b"?" * 10_000_000, timeout=2)
    worker.close()
    assert not worker._thread.is_alive()


def test_tfjs_is_installed_once() -> None:
    reports: list[str] = []
    packages = node.packages()
    assert node.packages(reports.append) == packages
    assert node.worker(report=reports.append) == node.worker(report=reports.append)
    assert not reports
    installed = packages / "node_modules/@tensorflow/tfjs-layers/package.json"
    assert json.loads(installed.read_bytes())["version"] == "4.22.0"
    assert not (packages / "node_modules/typescript").exists()


def fake_npm(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    command = [sys.executable, "-c", f"import os, sys\nos.mkdir('node_modules')\n{code}"]
    monkeypatch.setattr(node, "npm_command", lambda _: command)


def test_an_install_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERASPORT_CACHE", str(tmp_path))
    fake_npm(monkeypatch, "sys.exit('npm error: no network')")
    with pytest.raises(
        VerifyError, match=r"(?s)could not install the packages.*npm error: no network"
    ):
        node.packages(lambda _: None)
    assert not list((tmp_path / "kerasport").iterdir())


def test_the_first_install_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERASPORT_CACHE", str(tmp_path))
    fake_npm(monkeypatch, "assert sys.argv[1:4] == ['ci', '--omit=dev', '--omit=optional']")
    reports: list[str] = []
    packages = node.packages(reports.append)
    assert node.packages(reports.append) == packages
    (report,) = reports
    assert report.startswith("installing TF.js 4.22.0 with npm into ")
    assert sorted(path.name for path in packages.iterdir()) == [
        "node_modules",
        "package-lock.json",
        "package.json",
    ]


def test_a_read_only_cache_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERASPORT_CACHE", str(tmp_path / "file"))
    with pytest.raises(VerifyError, match="set KERASPORT_CACHE to another directory"):
        node.packages(lambda _: None)


def test_concurrent_installations_do_not_interfere(tmp_path: Path) -> None:
    all_filled = Barrier(3)

    def fill(folder: Path) -> None:
        (folder / "content").write_text("same")
        all_filled.wait()

    threads = [Thread(target=node.once, args=(tmp_path / "it", fill)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it/content").read_text() == "same"


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", "xdg/kerasport"),
        ("darwin", "home/Library/Caches/kerasport"),
        ("win32", "local/kerasport"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, expected: str
) -> None:
    monkeypatch.delenv("KERASPORT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "platform", platform)
    assert node.cache() == tmp_path / expected
    monkeypatch.setenv("KERASPORT_CACHE", str(tmp_path / "mine"))
    assert node.cache() == tmp_path / "mine/kerasport"


def test_a_node_that_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERASPORT_NODE", "no-such-node")
    with pytest.raises(
        VerifyError, match=r'not Node; install Node 18\+ or pip install "kerasport\['
    ):
        node.find()


def test_the_wheel_replaces_an_old_node(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"/bin/node": "16.20.2", "/wheel/node": "20.1.0"}
    monkeypatch.setattr(node, "candidates", lambda: iter(versions))
    monkeypatch.setattr(node, "identify", lambda path: (Path(path), versions[path]))
    assert node.find() == Path("/wheel/node")
    del versions["/wheel/node"]
    with pytest.raises(
        VerifyError, match=r"Node 18 or later, .*node is version 16\.20\.2; install"
    ):
        node.find()


def test_the_wheel_is_the_last_choice_for_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KERASPORT_NODE", raising=False)
    monkeypatch.setattr(node, "wheel_root", lambda: tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert next(node.candidates()) == "/bin/node"
    monkeypatch.setattr("shutil.which", lambda name: None)
    (candidate,) = node.candidates()
    assert Path(candidate).parent in {tmp_path, tmp_path / "bin"}


@pytest.mark.parametrize("root", ["bin", "lib", "wheel", "wheel/lib"])
def test_npm_is_found_next_to_node_or_in_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/elsewhere/npm.cmd")
    monkeypatch.setattr(node, "wheel_root", lambda: tmp_path / "wheel")
    executable = tmp_path / "bin/node"
    assert node.npm_command(executable) == ["/elsewhere/npm.cmd"]
    script = tmp_path / root / "node_modules/npm/bin/npm-cli.js"
    script.parent.mkdir(parents=True)
    script.touch()
    assert node.npm_command(executable) == [str(executable), str(script)]


def test_a_node_without_npm_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(node, "wheel_root", lambda: None)
    with pytest.raises(VerifyError, match="npm is not installed with"):
        node.npm_command(tmp_path / "node")


def test_the_lock_file_has_hashes_and_no_registry() -> None:
    packages = json.loads((node.WEB / "package-lock.json").read_bytes())["packages"]
    del packages[""]
    assert all("integrity" in package for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
