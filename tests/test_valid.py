"""Valid files once refused as damaged, and refusals that name every problem of a model."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from tests import onnx_runtime
from tests.cases.trial import quiet
from tests.forged import (
    BIAS,
    DENSE,
    KERNEL,
    Json,
    dense,
    functional,
    given,
    hdf5,
    layer,
    put,
    sequential,
    text_of,
)
from tests.forged import (
    keras as archive,
)

import kerasport
from kerasport.errors import ReadError, UnsupportedModel
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.read import read
from kerasport.targets import TARGETS, planned

# --------------------------------------------------------------------------------- files of Keras 2


def rewritten(source: Path, out: Path, version: str, weights: Callable[[bytes], bytes]) -> Path:
    """The `.keras` file as another version wrote it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        new.writestr("metadata.json", json.dumps({"keras_version": version}))
        new.writestr("config.json", old.read("config.json"))
        new.writestr("model.weights.h5", weights(old.read("model.weights.h5")))
    return out


def on_windows(weights: bytes) -> bytes:
    """The weights under the names of groups that Keras 2.13 to 2.15 wrote on Windows."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as old, h5py.File(buffer, "w") as new:

        def copied(path: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                layer_path, _, number = path.rpartition("/vars/")
                new.create_dataset(
                    f"{layer_path.replace('/', chr(92))}/vars/{number}", data=item[()]
                )

        old.visititems(copied)
    return buffer.getvalue()


def small(*made: Any, shape: tuple[int, ...] = (4,)) -> keras.Model:
    model = keras.Sequential([layers.Input(shape), *made])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def shards(source: Path, out: Path) -> bytes:
    """The weights that a conversion writes."""
    kerasport.convert(source, out, to="tfjs-graph")
    return b"".join(path.read_bytes() for path in sorted(out.glob("*.bin")))


def nested() -> keras.Model:
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(3), layers.Dense(5)])
    return small(layers.Dense(3), inner, layers.Dense(2))


CONV_LSTMS: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "1D": ((3, 6, 2), lambda: layers.ConvLSTM1D(2, 2)),
    "2D": ((3, 5, 4, 2), lambda: layers.ConvLSTM2D(2, 2)),
    "3D": ((3, 4, 4, 4, 1), lambda: layers.ConvLSTM3D(2, 2)),
}


@pytest.mark.parametrize("rank", CONV_LSTMS)
def test_weights_of_conv_lstms_of_tf_keras_are_found(rank: str, tmp_path: Path) -> None:
    shape, make = CONV_LSTMS[rank]
    with quiet():
        keras.Sequential([layers.Input(shape), make()]).save(tmp_path / "new.keras")
    old = rewritten(
        tmp_path / "new.keras", tmp_path / "old.keras", "2.19.0", lambda weights: weights
    )
    assert shards(old, tmp_path / "old") == shards(tmp_path / "new.keras", tmp_path / "new")


@pytest.mark.parametrize(
    "model", [lambda: small(layers.Dense(3), layers.Dense(2)), nested], ids=["flat", "nested"]
)
def test_group_names_may_contain_a_backslash(model: Callable[[], Any], tmp_path: Path) -> None:
    with quiet():
        model().save(tmp_path / "new.keras")
    old = rewritten(tmp_path / "new.keras", tmp_path / "old.keras", "2.15.0", on_windows)
    assert shards(old, tmp_path / "old") == shards(tmp_path / "new.keras", tmp_path / "new")


def test_surplus_arrays_are_found_on_windows(tmp_path: Path) -> None:
    def more(weights: bytes) -> bytes:
        buffer = io.BytesIO(on_windows(weights))
        with h5py.File(buffer, "r+") as file:
            file["layers\\other/vars/0"] = BIAS
        return buffer.getvalue()

    with quiet():
        small(layers.Dense(3)).save(tmp_path / "new.keras")
    old = rewritten(tmp_path / "new.keras", tmp_path / "old.keras", "2.15.0", more)
    with pytest.raises(ReadError, match=r"1 array\(s\) do not belong to any layer"):
        kerasport.check(old)


def test_options_that_tf_keras_writes_and_never_reads(tmp_path: Path) -> None:
    config: Json = {
        "filters": 2,
        "kernel_size": [3],
        "strides": [1],
        "padding": "valid",
        "output_padding": None,
        "data_format": "channels_last",
        "dilation_rate": [1],
        "groups": 1,
        "activation": "linear",
        "use_bias": True,
    }

    def fill(file: Any) -> None:
        file["layers/conv1d_transpose/vars/0"] = np.ones((3, 2, 3), "f4")
        file["layers/conv1d_transpose/vars/1"] = np.ones(2, "f4")

    made = sequential(given(shape=(None, 5, 3)), layer("Conv1DTranspose", "t", **config))
    source = put(tmp_path / "m.keras", archive(made, hdf5(fill)))
    for target in TARGETS:
        with read(source) as model:
            assert planned(model, target).problems == ()


# --------------------------------------------------------------------------------- calls of Keras 2


def old_layer(class_name: str, name: str, nodes: list[Any], **config: Any) -> Json:
    return {
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": nodes,
    }


def old_input(name: str, size: int) -> Json:
    return old_layer("InputLayer", name, [], batch_input_shape=[None, size], dtype="float32")


def old_model(
    name: str, inputs: Any, outputs: Any, *made: Json, nodes: list[Any] | None = None
) -> Json:
    config = {"name": name, "layers": list(made), "input_layers": inputs, "output_layers": outputs}
    return {
        "class_name": "Functional",
        "name": name,
        "config": config,
        "inbound_nodes": nodes or [],
    }


def test_models_of_keras_2_are_called_on_dicts(tmp_path: Path) -> None:
    inner = old_model(
        "inner", {"a": ["a", 0, 0], "b": ["b", 0, 0]}, {"z": ["twice", 0, 0], "y": ["both", 0, 0]},
        old_input("a", 2), old_input("b", 3),
        old_layer("Concatenate", "both", [[["b", 0, 0, {}], ["a", 0, 0, {}]]], axis=-1),
        old_layer("Add", "twice", [[["both", 0, 0, {}], ["both", 0, 0, {}]]]),
        nodes=[{"b": ["q", 0, 0, {}], "a": ["p", 0, 0, {}]}],
    )  # fmt: skip
    config = old_model(
        "outer",
        [["p", 0, 0], ["q", 0, 0]],
        [["inner", 1, 1], ["inner", 1, 0]],
        old_input("p", 2),
        old_input("q", 3),
        inner,
    )
    computed = run(config, tmp_path, [[1.0, 2.0]], [[3.0, 4.0, 5.0]])
    assert computed == [[[6.0, 8.0, 10.0, 2.0, 4.0]], [[3.0, 4.0, 5.0, 1.0, 2.0]]]


def test_models_of_keras_2_are_called_on_nested_lists(tmp_path: Path) -> None:
    inner = old_model(
        "inner",
        [[["a", 0, 0], ["b", 0, 0]], ["c", 0, 0]],
        [["all", 0, 0]],
        old_input("a", 1),
        old_input("b", 2),
        old_input("c", 3),
        old_layer(
            "Concatenate", "all", [[["a", 0, 0, {}], ["b", 0, 0, {}], ["c", 0, 0, {}]]], axis=-1
        ),
        nodes=[[[["p", 0, 0, {}], ["q", 0, 0, {}]], ["r", 0, 0, {}]]],
    )
    ends = [["p", 0, 0], ["q", 0, 0], ["r", 0, 0]]
    made = (old_input("p", 1), old_input("q", 2), old_input("r", 3))
    config = old_model("outer", ends, [["inner", 1, 0]], *made, inner)
    assert run(config, tmp_path, [[1.0]], [[2.0, 3.0]], [[4.0, 5.0, 6.0]]) == [
        [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    ]


def test_masks_of_keras_2_are_nested_lists(tmp_path: Path) -> None:
    """`Node.serialize` of Keras 2 writes the arrays among the arguments of a call as lists."""
    steps = old_layer("InputLayer", "x", [], batch_input_shape=[None, 3, 2], dtype="float32")
    mean = old_layer(
        "GlobalAveragePooling1D", "mean", [[["x", 0, 0, {"mask": [[True, False, True]]}]]]
    )
    config = old_model("model", [["x", 0, 0]], [["mean", 0, 0]], steps, mean)
    feed = [[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], [[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]]
    assert run(config, tmp_path, feed, targets=("tfjs-graph", "onnx")) == [[[2.0, 3.0], [8.0, 9.0]]]


def test_masks_of_keras_3_may_be_nested_lists(tmp_path: Path) -> None:
    x = keras.Input((3, 2))
    model = keras.Model(x, layers.GlobalAveragePooling1D()(x, mask=[[True, False, True]]))
    model.save(tmp_path / "m.keras")
    feed = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    with read(tmp_path / "m.keras") as described:
        (got,) = lower(described).run(feed)
    np.testing.assert_allclose(got, np.asarray(model(feed)), 1e-6)


def run(config: Json, folder: Path, *feeds: Any, targets: Iterable[str] = TARGETS) -> list[Any]:
    """What the graph of a model without weights computes; the targets take the model."""
    with zipfile.ZipFile(folder / "m.keras", "w") as made:
        made.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        made.writestr("config.json", json.dumps(config))
        made.writestr(
            "model.weights.h5",
            hdf5(lambda file: file.create_group("_layer_checkpoint_dependencies")),
        )
    with read(folder / "m.keras") as model:
        assert all(planned(model, target).problems == () for target in targets)
        return [
            output.tolist()
            for output in lower(model).run(*(np.asarray(feed, "f4") for feed in feeds))
        ]


# ------------------------------------------------------------------------------------- JSON in JSON


def test_an_architecture_may_be_json_in_json(tmp_path: Path) -> None:
    """As `json.dump(model.to_json(), file)` writes it."""
    source = put(tmp_path / "m.json", text_of(json.dumps(DENSE)))
    kerasport.convert(source, tmp_path / "out", weights=put(tmp_path / "m.weights.h5", hdf5()))
    assert (
        tmp_path / "out" / "group1-shard1of1.bin"
    ).read_bytes() == KERNEL.tobytes() + BIAS.tobytes()


@pytest.mark.parametrize("text", ['"no JSON"', '"[1]"', '"\\"{}\\""', "3"])
def test_other_json_strings_are_not_architectures(text: str, tmp_path: Path) -> None:
    with pytest.raises(
        ReadError, match=r"m\.json: .*(not valid JSON|not a Keras architecture|not a Keras model)"
    ):
        kerasport.check(
            put(tmp_path / "m.json", text.encode()), weights=put(tmp_path / "m.weights.h5", hdf5())
        )


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("to", TARGETS)
def test_problems_name_their_cause_and_no_shape(to: str, tmp_path: Path) -> None:
    x = layers.Input((6, 4))
    y = layers.Lambda(lambda z: z[:, -1], output_shape=(4,), name="last")(x)
    y = layers.Dense(3, activation=lambda z: z * z, name="squared")(y)
    y = layers.Lambda(lambda z: z[:, None], output_shape=(1, 3), name="wide")(y)
    y = layers.Flatten()(layers.Dense(2, activation="gelu")(y))
    with quiet():
        keras.Model(x, y).save(tmp_path / "m.keras")
    check = kerasport.check(tmp_path / "m.keras", to=to)
    assert sorted(problem.layer for problem in check.problems) == ["last", "squared", "wide"]
    assert all("shape" not in problem.reason for problem in check.problems)


OLD_LAMBDA: Json = {
    "function": ["4wEAAAA=", None, None],
    "function_type": "lambda",
    "module": "__main__",
    "output_shape": None,
    "output_shape_type": "raw",
    "output_shape_module": None,
    "arguments": {},
}


@pytest.mark.parametrize("to", TARGETS)
def test_a_lambda_of_keras_2_is_named(to: str, tmp_path: Path) -> None:
    """It does not say the shape of what it makes."""
    config = old_model(
        "m",
        [["x", 0, 0]],
        [["dense", 0, 0]],
        old_input("x", 4),
        old_layer("Lambda", "code", [[["x", 0, 0, {"mask": None}]]], **OLD_LAMBDA),
        old_layer(
            "Dense", "dense", [[["code", 0, 0, {}]]], units=3, activation="gelu", use_bias=True
        ),
    )
    source = put(tmp_path / "m.keras", archive(config, hdf5(dense_of_keras_2)))
    with zipfile.ZipFile(source) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(source, "w") as new:
        for name, data in {**members, "metadata.json": b'{"keras_version": "2.15.0"}'}.items():
            new.writestr(name, data)
    with pytest.raises(UnsupportedModel, match="Python code") as refusal:
        kerasport.convert(source, tmp_path / ("m.onnx" if to == "onnx" else "out"), to=to)
    assert [problem.layer for problem in refusal.value.problems] == ["code"]


def dense_of_keras_2(file: Any) -> None:
    file["layers/dense/vars/0"], file["layers/dense/vars/1"] = KERNEL, BIAS


VECTORIZATION: Json = {
    "standardize": "lower_and_strip_punctuation",
    "split": "whitespace",
    "ngrams": None,
    "output_sequence_length": 6,
    "pad_to_max_tokens": False,
    "sparse": False,
    "ragged": False,
    "vocabulary": ["cat", "dog"],
    "idf_weights": None,
    "encoding": "utf-8",
    "max_tokens": 9,
}


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize(("mode", "size"), [("int", 6), ("multi_hot", 9), ("tf_idf", 9)])
def test_text_vectorization_is_named_with_a_remedy(
    mode: str, size: int, to: str, tmp_path: Path
) -> None:
    config = functional(
        layer("InputLayer", "x", batch_shape=[None, 1], dtype="string"),
        layer("TextVectorization", "words", "x", **VECTORIZATION, output_mode=mode),
        dense("dense", {"class_name": "__keras_tensor__",
                        "config": {"shape": [None, size], "keras_history": ["words", 0, 0]}}),
    )  # fmt: skip

    def fill(file: Any) -> None:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((size, 3), "f4"), BIAS
        if mode == "tf_idf":
            file["layers/text_vectorization/_lookup_layer/vars/idf_weights"] = np.ones(9, "f4")

    check = kerasport.check(put(tmp_path / "m.keras", archive(config, hdf5(fill))), to=to)
    (problem,) = (problem for problem in check.problems if problem.layer == "words")
    assert "splits text into words" in problem.reason
    assert "before the model" in problem.remedy
    assert all(
        "shape" not in problem.reason and "weights" not in problem.reason
        for problem in check.problems
    )


# --------------------------------------------------------------------------------------------- bits


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_onnx_supports_bitwise_functions(name: str, tmp_path: Path) -> None:
    x, y = layers.Input((5,), dtype="int32"), layers.Input((5,), dtype="int32")
    model = keras.Model([x, y], getattr(keras.ops, name)(x, y))
    with quiet():
        model.save(tmp_path / "m.keras")
    kerasport.convert(tmp_path / "m.keras", tmp_path / "m.onnx")
    feeds = tuple(np.random.default_rng(0).integers(-(2**31), 2**31, (2, 3, 5), dtype=np.int32))
    (computed,) = onnx_runtime.run(tmp_path / "m.onnx", [feeds])
    np.testing.assert_array_equal(computed[0], np.asarray(model(list(feeds))))
    for to in ("tfjs-layers", "tfjs-graph"):
        (problem,) = kerasport.check(tmp_path / "m.keras", to=to).problems
        assert problem.layer.startswith(name)
        assert "bits of integers" in problem.reason
    with pytest.raises(UnsupportedModel, match="opset 18"):
        kerasport.convert(tmp_path / "m.keras", tmp_path / "old.onnx", opset=17)
