"""Element types of ONNX models: integers wrap around as in Keras, and strings move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests import onnx_runtime
from tests.test_onnx import written

import kerasport
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, TensorType, constant, items
from kerasport.targets.onnx.emit import emitter_of


def with_dtype(folder: Path, dtype: str, function: Callable[..., Any], count: int = 2) -> Path:
    """A model of a function of inputs [batch, 3] of an element type, converted."""
    inputs = [keras.Input((3,), dtype=dtype, name=f"x{index}") for index in range(count)]
    keras.Model(inputs, function(*inputs)).save(folder / "model.keras")
    kerasport.convert(folder / "model.keras", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "int64"])
def test_integers_are_computed_in_their_own_type(dtype: str, tmp_path: Path) -> None:
    """Sums and products wrap around, as numpy computes them."""
    model = with_dtype(tmp_path, dtype, lambda x, y: [x + y, x * y, keras.ops.maximum(x, y), x < y])
    limits = np.iinfo(dtype)
    x = np.array([[limits.min, limits.max, 7], [limits.max - 1, 3, limits.max // 2]], dtype)
    y = np.array([[3, limits.max, 5], [9, 3, limits.max]], dtype)
    ((total, product, largest, less),) = onnx_runtime.run(model, [(x, y)])
    with np.errstate(over="ignore"):
        for wanted, got in ((x + y, total), (x * y, product), (np.maximum(x, y), largest)):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(less, x < y)


def test_constants_of_integers_keep_their_type(tmp_path: Path) -> None:
    table = np.arange(60, dtype="uint8").reshape(20, 3) * 4
    model = with_dtype(tmp_path, "uint8", lambda x: keras.ops.expand_dims(x, 1) + table, 1)
    x = np.array([[1, 200, 77], [255, 9, 128]], "uint8")
    ((got,),) = onnx_runtime.run(model, [(x,)])
    np.testing.assert_array_equal(got, x[:, None] + table)


def test_strings_pass_through_moves(tmp_path: Path) -> None:
    words = Input("words", TensorType("string", ("batch", 3)))
    graph = Graph((words,), (ops.transpose(words), ops.slice_axis(words, 1, 1)))
    x = np.array([["a", "b", "c"], ["d", "e", "f"]], object)
    ((turned, cut),) = onnx_runtime.run(written(graph, tmp_path / "model.onnx"), [(x,)])
    np.testing.assert_array_equal(turned, x.T)
    np.testing.assert_array_equal(cut, x[:, 1:])


def test_operations_on_strings(tmp_path: Path) -> None:
    x, y = (Input(name, TensorType("string", ("batch", 2))) for name in "xy")
    split = ops.StringSplit(x)
    outputs = (
        ops.StringConcat(x, y),
        ops.StringConcat(x, constant(np.array(["!"], object))),
        *items(split),
        *items(ops.StringSplit(y, ",")),
        ops.RegexFullMatch(x, "[a-z]+ .*"),
        ops.Equal(x, y),
    )
    graph = Graph((x, y), outputs)
    feed = (
        np.array([["one two", " three  four five"], ["", "é"]], object),
        np.array([["a,b,", "three"], ["c", "é"]], object),
    )
    (computed,) = onnx_runtime.run(written(graph, tmp_path / "model.onnx"), [feed])
    for wanted, got in zip(graph.run(*feed), computed, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_operations_on_strings_need_opset_20() -> None:
    x = Input("x", TensorType("string", (2,)))
    outputs = (ops.StringConcat(x, x), ops.Equal(x, x), ops.RegexFullMatch(x, "a"))
    emitter = emitter_of(Graph((x,), outputs), 18)
    emitter.run(["a", "b", "c"])
    assert [problem.reason[-14:] for problem in emitter.problems] == ["use --opset 20"] * 3


def test_the_product_of_many_unsigned_integers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        kerasport.UnsupportedModel, match="wrong products of many integers of uint32"
    ):
        with_dtype(tmp_path, "uint8", lambda x: keras.ops.prod(x, 1), 1)


def test_tfjs_narrows_integers_of_64_bits_with_a_note(tmp_path: Path) -> None:
    x = keras.Input((3,), dtype="int64", name="ids")
    keras.Model(x, x + 1).save(tmp_path / "model.keras")
    done = kerasport.convert(tmp_path / "model.keras", tmp_path / "out", to="tfjs-graph")
    (note,) = done.notes
    assert "input 'ids' has the dtype int64 in Keras and int32" in note
    assert kerasport.convert(tmp_path / "model.keras", tmp_path / "m.onnx").dtypes == {
        "ids": "int64"
    }


@pytest.mark.parametrize(
    ("to", "other"), [("tfjs-graph", "onnx"), ("tfjs-layers", "onnx"), ("onnx", "tf.js")]
)
def test_a_refusal_names_only_its_own_target(to: Any, other: str, tmp_path: Path) -> None:
    x = keras.Input((4,), dtype="uint8")
    y = keras.ops.cholesky(keras.ops.reshape(keras.ops.cast(x, "float32"), (-1, 2, 2)))
    outputs = [
        keras.ops.left_shift(x, 2),
        x + x,
        keras.ops.prod(x, 1),
        keras.ops.svd(y),
        keras.layers.Average()([x, x]),
    ]
    keras.Model(x, outputs).save(tmp_path / "model.keras")
    out = tmp_path / ("out.onnx" if to == "onnx" else "out")
    with pytest.raises(kerasport.UnsupportedModel) as raised:
        kerasport.convert(tmp_path / "model.keras", out, to=to)
    assert other not in str(raised.value).lower()
