"""The choice of the Keras, and of the Python, that runs the original model."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import keras
import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import pytest
from tests.verified import RECORDED, converted, hide_keras, words

from kerasport.api import verify
from kerasport.errors import OptionError, VerifyError
from kerasport.frontends.keras.read import read
from kerasport.verification.references import keras_runner
from kerasport.verification.references.original import (
    Installed,
    Keras,
    find_backend,
    find_keras,
    installed,
    lacks_reader,
)
from kerasport.verification.runtimes import node

# -------------------------------------------------------------------------------------- which Keras


@pytest.mark.parametrize(
    ("versions", "writer", "expected"),
    [
        (
            {"keras": "3.15.1", "tf_keras": "2.21.0"},
            "2.15.0",
            Keras("tf_keras", "2.21.0", "tensorflow"),
        ),
        ({"keras": "3.15.1", "tf_keras": "2.21.0"}, "3.0.5", Keras("keras", "3.15.1", "jax")),
        ({"keras": "3.15.1"}, "2.15.0", Keras("keras", "3.15.1", "jax")),
        ({"keras": "2.15.0"}, "2.15.0", Keras("keras", "2.15.0", "tensorflow")),
        (
            {"keras": "2.15.0"},
            "3.1.0",
            r"only keras 2\.15\.0 is installed, and Keras 3\.1\.0 wrote this file; pip",
        ),
        (
            {"tf_keras": "2.21.0"},
            "",
            "only tf_keras 2.21.0 is installed, and Keras 3 wrote .*; pip install keras",
        ),
        (
            {},
            "2.2.4",
            "Keras is not installed, .*; pip install tf_keras, or name the Python .* with --python",
        ),
    ],
)
def test_the_keras_with_the_same_rules_is_selected(
    monkeypatch: pytest.MonkeyPatch, versions: Mapping[str, str], writer: str, expected: Keras | str
) -> None:
    there = Installed(versions, ("jax",))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if isinstance(expected, Keras):
        assert find_keras(writer, there) == expected
        assert find_keras(writer, replace(there, python="p")) == replace(expected, python="p")
    else:
        with pytest.raises(VerifyError, match=expected):
            find_keras(writer, there)


def test_the_backend_is_the_chosen_one_or_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = Installed({}, ("jax", "torch"))
    elsewhere = replace(there, python="../python")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert (find_backend(there), find_backend(elsewhere)) == ("torch", "torch")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    assert find_backend(there) == "numpy"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert find_backend(elsewhere) == "jax"  # the variable is meant for this environment
    with pytest.raises(
        VerifyError, match="'tensorflow', and no such backend is installed; available: jax, torch"
    ):
        find_backend(there)
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert find_backend(there) == "jax"
    for chosen, expected in (("torch", "torch"), ("tensorflow", "jax")):
        (tmp_path / "keras.json").write_text(json.dumps({"backend": chosen}))
        assert find_backend(there) == expected
    (tmp_path / "keras.json").write_text("[")
    assert find_backend(there) == "jax"
    with pytest.raises(VerifyError, match="Keras has no backend; pip install jax"):
        find_backend(Installed({}, ()))


@pytest.mark.parametrize(
    ("name", "needs"),
    [("keras-1.2.2/keras_1.h5", "Keras 1.2.2"),
          ("keras-2.12.0/functional.keras", "TensorFlow 2.12"),
     ("keras-2.12.0/functional.hdf5.keras", ""), ("keras-2.15.0/functional.keras", "")],
)  # fmt: skip
def test_tf_keras_is_not_suggested_for_files_that_it_cannot_read(name: str, needs: str) -> None:
    with read(RECORDED / name) as model:
        assert lacks_reader(model.writer, RECORDED / name, model) == needs
    for versions in ({}, {"keras": "3.15.1", "tf_keras": "2.21.0"}):
        if needs:
            with pytest.raises(
                VerifyError,
                match=f"neither Keras 3 nor tf_keras can read this file, only {needs} can",
            ):
                find_keras(model.writer, Installed(versions, ()), needs=needs)
    assert (
        find_keras(model.writer, Installed({"keras": "2.12.0"}, ()), needs=needs).version
        == "2.12.0"
    )


def test_strings_need_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert find_backend(Installed({}, ("tensorflow", "jax")), strings=True) == "tensorflow"
    with pytest.raises(VerifyError, match=r"not installed in p\. Run: pip install tensorflow"):
        find_backend(Installed({}, ("jax",), "p"), strings=True)


# ----------------------------------------------------------------------------------- another Python


def test_keras_of_another_python_runs_the_original(tmp_path: Path) -> None:
    steps: list[str] = []
    result = verify(
        *converted(words, tmp_path), backends="wasm", python=sys.executable, status=steps.append
    )
    assert result.ok
    assert [step.replace(str(tmp_path), "") for step in steps if "npm" not in step] == [
        "loading /web_model in TF.js",
        f"running model.keras in Keras {keras.__version__} (jax)",
        "running /web_model on wasm",
    ]


def test_the_script_for_another_python_needs_only_numpy() -> None:
    text = Path(keras_runner.__file__).read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    names |= {
        alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"numpy"}
    inner = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in imports
    ]
    assert len(inner) == 3  # for type checkers


@pytest.mark.parametrize(
    ("python", "error"),
    [
        ("no-such-python", "--python no-such-python: cannot be run"),
        ("echo", "--python echo: not a Python 3.8"),
    ],
)
def test_a_python_that_does_not_run_is_an_error(python: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match=error):
        installed(python)


def test_keras_is_searched_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = converted(words, tmp_path)
    hide_keras(monkeypatch)
    monkeypatch.setattr(node, "find", lambda: pytest.fail("Node was looked for first"))
    with pytest.raises(VerifyError, match="Keras is not installed"):
        verify(*pair)


@pytest.mark.parametrize(
    ("out", "there"),
    [("web_model", "TF.js are cpu and wasm"), ("m.onnx", "onnxruntime and onnxruntime-web")],
)
def test_an_unknown_backend_lists_those_that_exist(out: str, there: str) -> None:
    with pytest.raises(
        OptionError, match=f"unknown backend 'gpu'; the backends of .*{there}"
    ) as error:
        verify("m.keras", out, backends=["gpu"])
    assert error.value.option == "backend"
