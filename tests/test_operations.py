"""Every operation of keras.ops: a saved model is read, lowered, and compared with Keras."""

from __future__ import annotations

import importlib
import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.ops.operation import Operation
from tests.operations import ROWS, Array, Row, model_of

import kerasport
from kerasport.frontends.keras.functions import OPERATIONS, REFUSED
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.model import Operation as Described
from kerasport.frontends.keras.read import read
from kerasport.ir.dtypes import NUMPY


def lowered(model: keras.Model, folder: Path) -> Any:
    model.save(folder / "model.keras")
    with read(folder / "model.keras") as described:
        return lower(described)


@pytest.mark.representative(of=lambda case: case.name.partition("-")[0])
@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore")
def test_graph_computes_an_operation_as_keras(case: Row, tmp_path: Path) -> None:
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    model = model_of(case.build, case.given)
    feeds = [each.numbers(rng) for each in case.given]
    graph = lowered(model, tmp_path)
    got = graph.run(
        *(x.astype(NUMPY[given.dtype]) for given, x in zip(graph.inputs, feeds, strict=True))
    )
    expected = keras.tree.flatten(case.build(*feeds) if case.eager else model(feeds))
    assert len(got) == len(expected)
    for computed, wanted, output in zip(got, map(np.asarray, expected), graph.outputs, strict=True):
        assert computed.shape == wanted.shape
        # Keras on JAX has no int64, but numbers of Python are int64 to numpy
        kind = {"int64": "int32", "float64": "float32"}.get(wanted.dtype.name, wanted.dtype.name)
        assert (output.dtype, computed.dtype) == (kind, np.dtype(kind))
        assert len(output.shape) == wanted.ndim
        assert all(d in (None, n) for d, n in zip(output.shape, wanted.shape, strict=True))
        np.testing.assert_allclose(
            computed.astype("float64"), wanted.astype("float64"), case.rtol, case.atol
        )


def classes() -> list[str]:
    """Every class of an operation that the installed Keras has."""
    names = []
    for family in ("core", "einops", "image", "linalg", "math", "nn", "numpy"):
        module = importlib.import_module(f"keras.src.ops.{family}")
        names += [
            n
            for n, c in vars(module).items()
            if inspect.isclass(c) and issubclass(c, Operation) and c is not Operation
        ]
    return sorted(names)


@pytest.mark.every_row
@pytest.mark.parametrize("name", classes())
def test_every_operation_of_keras_is_lowered_or_refused_with_a_reason(name: str) -> None:
    assert (name in OPERATIONS) != (name in REFUSED)


def test_lowerings_have_the_parameters_of_keras() -> None:
    """The arguments of `call` and the options of the config, by Keras's names."""
    for family in ("core", "einops", "image", "linalg", "math", "nn", "numpy"):
        module = importlib.import_module(f"keras.src.ops.{family}")
        for name, cls in vars(module).items():
            if name not in OPERATIONS or not (inspect.isclass(cls) and issubclass(cls, Operation)):
                continue
            taken = inspect.signature(OPERATIONS[name]).parameters
            options = [
                p
                for p in inspect.signature(cls.__init__).parameters.values()
                if p.name not in ("self", "name")
            ]
            for option in options:
                if option.kind is not inspect.Parameter.VAR_KEYWORD:
                    assert option.name in taken, (name, option.name)


def _put(value: Any, x: KerasTensor) -> Any:
    return (
        tuple(_put(v, x) for v in value)
        if isinstance(value, tuple)
        else x
        if value is ...
        else value
    )


def of(
    class_name: str,
    config: dict[str, Any],
    *args: Any,
    sizes: tuple[int | None, ...] = (None, 4),
    **kwargs: Any,
) -> KerasModel:
    """A model of one operation, as the reader describes it; the argument `...` is the input."""
    entry = Call(LayerSpec("x", "InputLayer", {"batch_shape": list(sizes), "dtype": "float32"}))
    x = KerasTensor(entry)
    given = {name: x if value is ... else value for name, value in kwargs.items()}
    call = Call(Described("op", class_name, config), tuple(_put(a, x) for a in args), given)
    return KerasModel("model", "functional", (entry, call), (x,), (KerasTensor(call),))


@pytest.mark.parametrize(
    ("class_name", "config", "args", "reason"),
    [
        ("Nonzero", {}, (...,), "depends on the values"),
        ("Map", {}, (...,), "Python code"),
        ("Cholesky", {}, (...,), "linear algebra"),
        ("FFT", {}, (...,), "a pair"),
        ("ViewAsReal", {}, (...,), "complex"),
        ("LeftShift", {}, (..., 3), "supports integers only"),
        (
            "ISTFT",
            {"sequence_length": 4, "sequence_stride": 2, "fft_length": 4, "window": None},
            (...,),
            "with a window only",
        ),
        ("SobelEdges", {}, (...,), "mirrors pixels"),
        ("Unheard", {}, (...,), "this operation is not supported yet"),
        ("Sum", {"axis": 1, "keepdims": False, "where": True}, (...,), "where"),
        ("Sum", {"axis": 7}, (...,), "axis 7"),
        ("Cast", {"dtype": "uint8"}, (...,), "uint8"),
        ("BitwiseAnd", {}, (..., 3), "supports integers only"),
        ("Where", {}, (...,), "depends on the values"),
        ("OneHot", {"num_classes": 3, "sparse": True}, (...,), "dense"),
        ("Reshape", {"newshape": (3, -1, -1)}, (...,), "cannot be reshaped"),
        ("Transpose", {"axes": "ab"}, (...,), "do not fit"),
        ("Pad", {"pad_width": [[0, 0], [9, 9]], "mode": "reflect"}, (...,), "mirrors"),
    ],
)
def test_unsupported_parts_are_refused_with_a_reason(
    class_name: str, config: dict[str, Any], args: tuple[Any, ...], reason: str
) -> None:
    with pytest.raises(kerasport.UnsupportedModel, match=reason):
        lower(of(class_name, config, *args))


RECORDED = sorted((Path(__file__).parent / "recorded").glob("*/*ops.*"))


@pytest.mark.parametrize(
    "path", [p for p in RECORDED if p.suffix != ".npz"], ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_operations_of_other_writers_match_recorded_results(path: Path) -> None:
    recorded = np.load(path.with_suffix(".npz"))
    feeds = [
        recorded[f"input_{at}"] for at in range(sum(name.startswith("input") for name in recorded))
    ]
    with read(path) as described:
        got = lower(described).run(*feeds)
    for at, computed in enumerate(got):
        np.testing.assert_allclose(computed, recorded[f"output_{at}"], 1e-4, 1e-5)


X = np.random.default_rng(11).normal(0, 1.5, (3, 4)).astype("float32")
IMAGE_ = np.random.default_rng(12).normal(0, 1.5, (3, 6, 5, 2)).astype("float32")


@dataclass(frozen=True)
class Tf:
    """A call of a TensorFlow function on X or an image, and its result; `...` is the tensor."""

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    expected: Callable[[Array], Any]
    image: bool = False


def tf(function: str, *args: Any, image: bool = False, **kwargs: Any) -> Tf:
    *given, expected = args
    return Tf(function, tuple(given), kwargs, expected, image)


TF = [
    tf("math.multiply", ..., lambda x: x * 2, y=2.0, name=None),
    tf("math.subtract", 1.0, lambda x: 1 - x, y=...),
    tf("math.pow", ..., lambda x: x**2, y=2.0),
    tf("math.truediv", 1.0, lambda x: 1 / x, y=...),
    tf("math.floordiv", ..., lambda x: x // 0.7, y=0.7),
    tf("__operators__.add", ..., lambda x: x + 1, y=1.0, name=None),
    tf("__operators__.rsub", ..., lambda x: 3 - x, y=3.0),
    tf(
        "__operators__.getitem",
        ...,
        lambda x: x[:, 1:3],
        slice_spec=(
            {"start": None, "stop": None, "step": None},
            {"start": 1, "stop": 3, "step": None},
        ),
    ),
    tf("__operators__.getitem", ..., lambda x: x[..., -1], slice_spec=(Ellipsis, -1)),
    tf(
        "__operators__.getitem",
        ...,
        lambda x: x[:, None, 0],
        slice_spec=({"start": None, "stop": None, "step": None}, None, 0),
    ),
    tf("nn.relu", ..., lambda x: np.maximum(x, 0), name=None),
    tf("nn.leaky_relu", ..., lambda x: np.where(x > 0, x, 0.3 * x), alpha=0.3),
    tf("nn.softmax", ..., lambda x: np.exp(x) / np.exp(x).sum(0), axis=0),
    tf("nn.silu", ..., lambda x: x / (1 + np.exp(-x))),
    tf("math.tanh", ..., np.tanh),
    tf("math.sigmoid", ..., lambda x: 1 / (1 + np.exp(-x))),
    tf("math.reduce_mean", ..., lambda x: x.mean(1), axis=1),
    tf(
        "math.reduce_sum",
        ...,
        lambda x: x.sum(-1, keepdims=True),
        axis=(-1,),
        keepdims=True,
        name=None,
    ),
    tf("math.reduce_max", ..., lambda x: x.max()),
    tf("math.reduce_std", ..., lambda x: x.std(1), axis=1),
    tf("math.argmax", ..., lambda x: x.argmax(0)),
    tf("math.argmax", ..., lambda x: x.argmax(1), axis=-1, output_type="int64"),
    tf("math.cumsum", ..., lambda x: np.cumsum(x[:, ::-1], 1)[:, ::-1], axis=1, reverse=True),
    tf("math.squared_difference", ..., lambda x: (x - 2) ** 2, y=2.0),
    tf("math.l2_normalize", ..., lambda x: x / np.sqrt((x * x).sum(1, keepdims=True)), axis=-1),
    tf("math.add_n", (..., ...), lambda x: 2 * x),
    tf("concat", (..., ...), lambda x: np.concatenate([x, x], 1), axis=1),
    tf("stack", (..., ...), lambda x: np.stack([x, x], 1), axis=1),
    tf("stack", ..., lambda x: x[None]),
    tf("split", ..., lambda x: x[:, :2], num_or_size_splits=2, axis=1),
    tf("split", ..., lambda x: x[:, :1], num_or_size_splits=(1, 3), axis=1),
    tf("unstack", ..., lambda x: x[:, 0], axis=1),
    tf("reshape", ..., lambda x: x.reshape(-1, 2, 2), shape=(-1, 2, 2)),
    tf("transpose", ..., lambda x: x.T, perm=(1, 0)),
    tf("expand_dims", ..., lambda x: x[:, None], axis=1),
    tf("squeeze", ..., lambda x: x, axis=()),
    tf("tile", ..., lambda x: np.tile(x, (1, 3)), multiples=(1, 3)),
    tf("repeat", ..., lambda x: np.repeat(x, 2, 1), repeats=2, axis=1),
    tf("gather", ..., lambda x: x[:, [2, 0]], indices=(2, 0), axis=1),
    tf("pad", ..., lambda x: np.pad(x, ((0, 0), (1, 2))), paddings=((0, 0), (1, 2))),
    tf(
        "pad",
        ...,
        lambda x: np.pad(x, ((0, 0), (1, 2)), "reflect"),
        paddings=((0, 0), (1, 2)),
        mode="REFLECT",
    ),
    tf("slice", ..., lambda x: x[:, 1:3], begin=(0, 1), size=(-1, 2)),
    tf("reverse", ..., lambda x: x[:, ::-1], axis=(1,)),
    tf("roll", ..., lambda x: np.roll(x, 1, 1), shift=1, axis=1),
    tf("cast", ..., lambda x: x.astype("int32"), dtype="int32"),
    tf("clip_by_value", ..., lambda x: np.clip(x, -1, 1), clip_value_min=-1, clip_value_max=1),
    tf("where", ..., lambda x: np.where(x, x, 0), x=..., y=0.0),
    tf("zeros_like", ..., np.zeros_like, dtype=None),
    tf(
        "one_hot",
        ...,
        lambda x: np.eye(9)[np.clip(x.astype(int), 0, 8)] * (x > -1)[..., None],
        depth=9,
    ),
    tf("linalg.matmul", ..., lambda x: x @ x.T, b=..., transpose_b=True),
    tf("norm", ..., lambda x: np.sqrt((x * x).sum(1)), axis=1),
    tf("identity", ..., lambda x: x),
    tf("nn.bias_add", ..., lambda x: x + np.arange(4.0), bias=np.arange(4.0, dtype="float32")),
    tf(
        "nn.max_pool2d",
        ...,
        lambda x: x[:, :6, :4].reshape(3, 3, 2, 2, 2, 2).max((2, 4)),
        ksize=2,
        strides=2,
        padding="VALID",
        image=True,
    ),
    tf(
        "nn.avg_pool",
        ...,
        lambda x: x[:, :6, :4].reshape(3, 3, 2, 2, 2, 2).mean((2, 4)),
        ksize=(1, 2, 2, 1),
        strides=(1, 2, 2, 1),
        padding="VALID",
        image=True,
    ),
    tf(
        "image.resize",
        ...,
        lambda x: np.repeat(np.repeat(x, 2, 1), 2, 2),
        size=(12, 10),
        method="nearest",
        image=True,
    ),
    tf(
        "nn.conv2d",
        ...,
        lambda x: x @ np.ones((2, 3)),
        filters=np.ones((1, 1, 2, 3), "float32"),
        strides=1,
        padding="SAME",
        image=True,
    ),
    tf("nn.moments", ..., lambda x: x.mean(1), axes=(1,)),
]


@pytest.mark.every_row
@pytest.mark.parametrize("case", TF, ids=lambda case: case.function)
def test_tensorflow_functions(case: Tf) -> None:
    given = IMAGE_ if case.image else X
    model = of(
        "TFOpLambda",
        {"function": case.function, "trainable": True, "dtype": "float32"},
        *case.args,
        sizes=(None, *given.shape[1:]),
        **case.kwargs,
    )
    (got,) = lower(model).run(given)
    expected = np.asarray(case.expected(given))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, 1e-4, 1e-5)


def test_shapes_computed_by_the_model_are_folded() -> None:
    """tf.reshape(x, [tf.shape(x)[0], 2, -1]), as Keras 2 records it."""
    entry = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 4], "dtype": "float32"}))
    x = KerasTensor(entry)
    sizes = Call(
        Described("shape", "TFOpLambda", {"function": "compat.v1.shape"}),
        (x,),
        {"out_type": "int32"},
    )
    first = Call(
        Described("get", "SlicingOpLambda", {"function": "__operators__.getitem"}),
        (KerasTensor(sizes),),
        {"slice_spec": 0},
    )
    shaped = Call(
        Described("reshape", "TFOpLambda", {"function": "reshape"}),
        (x,),
        {"shape": (KerasTensor(first), 2, -1)},
    )
    model = KerasModel(
        "m", "functional", (entry, sizes, first, shaped), (x,), (KerasTensor(shaped),)
    )
    (got,) = lower(model).run(X)
    np.testing.assert_array_equal(got, X.reshape(3, 2, 2))


def test_an_unknown_tensorflow_function_is_refused() -> None:
    with pytest.raises(kerasport.UnsupportedModel, match=r"function='linalg\.svd'"):
        lower(of("TFOpLambda", {"function": "linalg.svd"}, ...))
