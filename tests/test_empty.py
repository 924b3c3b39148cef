"""Tensors of size 0: operations on them compute what Keras computes, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import kerasport

COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "concatenate": lambda x, empty: ops.concatenate([empty, x], 1),
    "sum": lambda _, empty: ops.sum(empty, 1),
    "pad": lambda _, empty: ops.pad(empty, ((0, 0), (1, 2), (0, 0))),
    "matmul": lambda _, empty: ops.matmul(ops.transpose(empty, (0, 2, 1)), empty),
    "softmax": lambda x, empty: ops.concatenate([ops.softmax(empty, 1), x], 1),
    "cumsum": lambda x, empty: ops.concatenate([ops.cumsum(empty, 1), x], 1),
    "logsumexp": lambda x, empty: ops.logsumexp(ops.concatenate([empty, x], 1), 1),
}
REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "mean": lambda _, empty: ops.mean(empty, 1),
    "prod": lambda _, empty: ops.prod(empty, 1),
    "all": lambda _, empty: ops.cast(ops.all(empty > 0, 1), "float32"),
    "any": lambda _, empty: ops.cast(ops.any(empty > 0, 1), "float32"),
    "sort": lambda x, empty: ops.concatenate([ops.sort(empty, 1), x], 1),
}


def model_of(operation: Callable[[Any, Any], Any]) -> keras.Model:
    x, empty = keras.Input((4, 3), name="x"), keras.Input((0, 3), name="empty")
    return keras.Model([x, empty], operation(x, empty) + ops.sum(x))


@pytest.mark.rows(1)
@pytest.mark.parametrize("out", ["web_model", "model.onnx"])
def test_operations_on_empty_tensors_match_keras(out: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    empty = np.zeros((2, 0, 3), "float32")
    for name, operation in COMPUTED.items():
        model = model_of(operation)
        model.save(tmp_path / "m.keras")
        kerasport.convert(tmp_path / "m.keras", tmp_path / out, force=True)
        np.savez(tmp_path / "in.npz", x=x, empty=empty)
        np.savez(tmp_path / "out.npz", np.asarray(model([x, empty])))
        given = {"inputs": tmp_path / "in.npz", "expected": tmp_path / "out.npz"}
        assert kerasport.verify(tmp_path / "m.keras", tmp_path / out, **given).ok, name  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REFUSED)
def test_other_operations_on_empty_tensors_are_refused(name: str, tmp_path: Path) -> None:
    model_of(REFUSED[name]).save(tmp_path / "m.keras")
    for target in ("tfjs-layers", "tfjs-graph", "onnx"):
        assert not kerasport.check(tmp_path / "m.keras", to=target).convertible
    (problem,) = kerasport.check(tmp_path / "m.keras", to="onnx").problems
    assert problem.reason == "its input has size 0, for which runtimes compute different results"
