"""Models written or edited by hand: TF.js loads unchanged and repaired ones correctly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import kerasport
from kerasport import cli
from kerasport.errors import HostileFileError, ReadError, UnsupportedModel, VerifyError
from kerasport.frontends.keras.read.tfjs_spelling import calls, keyed
from kerasport.verification.runtimes.tfjs import Tfjs
from kerasport.weights import Array

Json = Any

rng = np.random.default_rng(9)


def random(*shape: int) -> Array:
    return rng.normal(size=shape).astype("<f4")


X, KERNEL, BIAS, KERNEL_2, BIAS_2 = random(3, 4), random(4, 3), random(3), random(4, 3), random(3)
DENSE = {"dense/kernel": KERNEL, "dense/bias": BIAS}
Y, Y_2 = X @ KERNEL + BIAS, X @ KERNEL_2 + BIAS_2
STEPS = random(2, 5, 4)


def layer(class_name: str, **config: Json) -> Json:
    return {"class_name": class_name, "config": {"name": class_name.lower(), **config}}


def dense(**config: Json) -> Json:
    return layer("Dense", **{"units": 3, "activation": "linear", "use_bias": True, **config})


def shaped(**config: Json) -> Json:
    return dense(batch_input_shape=[None, 4], **config)


def sequential(*layers: Json, **config: Json) -> Json:
    return {
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": list(layers), **config},
    }


def softmax(x: Array) -> Array:
    made = np.exp(x)
    return np.asarray(made / made.sum(-1, keepdims=True))


@dataclass(frozen=True)
class Model:
    """A model.json that must stay or be repaired, so that TF.js computes `expected`."""

    topology: Json
    change: str = (
        ""  # a part of what is told of the repair; empty where the model is right as it is
    )
    weights: dict[str, Array] = field(default_factory=lambda: DENSE)
    expected: Array = field(default_factory=lambda: Y)
    x: Array = field(default_factory=lambda: X)
    version: str = "3.8.0"
    groups: Sequence[Sequence[str]] = ()
    document: dict[str, Json] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        manifest = []
        for index, names in enumerate(self.groups or [list(self.weights)]):
            shard = folder / f"group{index + 1}-shard1of1.bin"
            shard.write_bytes(b"".join(self.weights[name].tobytes() for name in names))
            entries = [
                {"name": name, "shape": self.weights[name].shape, "dtype": "float32"}
                for name in names
            ]
            manifest.append({"paths": [shard.name], "weights": entries})
        document = {
            "format": "layers-model",
            "generatedBy": f"keras v{self.version}",
            "convertedBy": "TensorFlow.js Converter v4.22.0",
            "modelTopology": {"keras_version": self.version, "model_config": self.topology},
            "weightsManifest": manifest,
            **self.document,
        }
        (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
        return folder


# ------------------------------------------------------------------------------------------- shapes

SHAPES: dict[str, Json] = {
    "batchInputShape": {"batchInputShape": [None, 4]},
    "batch_input_shape": {"batch_input_shape": [None, 4]},
    "inputShape": {"inputShape": [4]},
    "input_shape": {"input_shape": [4]},
    "a number": {"inputShape": 4},
    "a batch": {"inputShape": [4], "batchSize": 3},
    "both": {"batch_shape": [None, 4], "batchInputShape": [None, 4]},
}
KERAS_SHAPE = "renamed batch_shape to batch_input_shape"
NO_SHAPE = "moved the input shape to where TF.js reads it"


def shapes() -> dict[str, Model]:
    made = {}
    for name, shape in SHAPES.items():
        made[f"{name} of an input"] = Model(
            sequential(layer("InputLayer", dtype="float32", **shape), dense())
        )
        made[f"{name} of the first layer"] = Model(sequential(dense(**shape)), version="2.15.0")
    keras, twice = {"batch_shape": [None, 4]}, {"inputShape": [4], "batchInputShape": [None, 4]}
    return made | {
        "of Keras": Model(sequential(layer("InputLayer", **keras), dense()), KERAS_SHAPE),
        "of Keras on the first layer": Model(sequential(dense(**keras)), KERAS_SHAPE),
        "twice": Model(sequential(layer("InputLayer", **twice), dense()), NO_SHAPE),
        "of the model": Model(sequential(dense(), build_input_shape=[None, 4]), NO_SHAPE),
        "inside": Model(sequential(sequential(dense(inputShape=[4])))),
        "of a model inside": Model(
            sequential(sequential(dense(), build_input_shape=[None, 4])), NO_SHAPE
        ),
        "a list of layers": Model({"class_name": "Sequential", "config": [shaped()]}),
        "keys of JavaScript": Model(
            {
                "className": "Sequential",
                "config": {"layers": [{"className": "Dense", "config": shaped()["config"]}]},
            }
        ),
    }


# -------------------------------------------------------------------------------------------- calls

BRACKETS = "corrected the brackets of the calls"
NUMBERS = "numbered the calls as TF.js does"
A, B = ["a", 0, 0, {}], ["b", 0, 0, {}]
TWO = {"a/kernel": KERNEL, "a/bias": BIAS, "b/kernel": KERNEL_2, "b/bias": BIAS_2}
ENDS = {"input_layers": [["x", 0, 0]], "output_layers": [["y", 0, 0]]}


def called(entry: Json, name: str, nodes: Json) -> Json:
    return {
        **entry,
        "config": {**entry["config"], "name": name},
        "name": name,
        "inbound_nodes": nodes,
    }


def functional(name: str, *layers: Json, **ends: Json) -> Json:
    return {
        "class_name": "Functional",
        "config": {"name": name, "layers": list(layers), **ENDS, **ends},
    }


def merged(nodes: Json, change: str = "", first: Json = None, **of: Any) -> Model:
    x = called(layer("InputLayer", batch_input_shape=[None, 4]), "x", [])
    ends = {key: of.pop(key) for key in tuple(of) if key in ENDS}
    a, b = (
        called(dense(), "a", first or [[["x", 0, 0, {}]]]),
        called(dense(), "b", [[["x", 0, 0, {}]]]),
    )
    y = called(layer("Concatenate", axis=-1), "y", nodes)
    given = {"weights": TWO, "expected": np.concatenate([Y, Y_2], 1), **of}
    return Model(functional("model", x, a, b, y, **ends), change, **given)


def nested(node: int, output: int, change: str = "") -> Model:
    """A model that is called once, which is call 0 in Keras 3, and 1 in TF.js."""
    x = called(layer("InputLayer", batch_input_shape=[None, 4]), "x", [])
    inner = functional(
        "inner", x, called(dense(), "dense", [[["x", 0, 0, {}]]]), output_layers=[["dense", 0, 0]]
    )
    layers = [
        x,
        called(inner, "inner", [[["x", 0, 0, {}]]]),
        called(layer("Softmax", axis=-1), "y", [[["inner", node, 0, {}]]]),
    ]
    outer = functional("outer", *layers, output_layers=[["y", 0, 0], ["inner", output, 0]])
    return Model(outer, change, expected=softmax(Y))


CALLS = {
    "right": merged([[A, B]]),
    "without arguments": merged([[A[:3], B[:3]]]),
    "a bracket too many": merged([[[A, B]]], BRACKETS),
    "two too many": merged([[[[A, B]]]], BRACKETS),
    "too many around each": merged([[[A], [B]]], BRACKETS),
    "one too few": merged([A, B], BRACKETS),
    "too many of one tensor": merged([[A, B]], BRACKETS, first=[[[["x", 0, 0, {}]]]]),
    "too few of one tensor": merged([[A, B]], BRACKETS, first=[["x", 0, 0, {}]]),
    "ends without brackets": merged(
        [[A, B]],
        "wrote the inputs and outputs of",
        input_layers=["x", 0, 0],
        output_layers=["y", 0, 0],
    ),
    "of a model inside, as in Keras 3": nested(0, 0, NUMBERS),
    "of a model inside, as in TF.js": nested(1, 1),
}

# ------------------------------------------------------------------------------------------ weights

NAMES = "weight(s), such as"


def recurrent() -> tuple[dict[str, Array], Array]:
    """Weights of a Bidirectional SimpleRNN, and what it makes of STEPS."""
    weights: dict[str, Array] = {}
    outputs = []
    for name, steps in (("forward", STEPS), ("backward", STEPS[:, ::-1])):
        kernel, recurrent_kernel, bias = random(4, 2), random(2, 2), random(2)
        state = np.zeros((len(STEPS), 2), np.float32)
        for at in range(steps.shape[1]):
            state = np.tanh(steps[:, at] @ kernel + state @ recurrent_kernel + bias)
        outputs.append(state)
        cell = f"bidirectional/{name}_rnn/simple_rnn_cell"
        weights |= {
            f"{cell}/kernel": kernel,
            f"{cell}/recurrent_kernel": recurrent_kernel,
            f"{cell}/bias": bias,
        }
    return weights, np.concatenate(outputs, 1)


BOTH_WEIGHTS, BOTH = recurrent()


def backwards(weights: dict[str, Array], prefix: str = "") -> dict[str, Array]:
    return {f"{prefix}{name}": weights[name] for name in reversed(weights)}


def bidirectional(name: str, version: str, prefix: str = "", change: str = "") -> Model:
    options = {"units": 2, "activation": "tanh", "use_bias": True, "return_sequences": False}
    inside = {"class_name": "SimpleRNN", "config": {"name": name, **options}}
    both = layer("Bidirectional", merge_mode="concat", layer=inside, batch_input_shape=[None, 5, 4])
    weights = backwards(BOTH_WEIGHTS, prefix)
    return Model(sequential(both), change, weights, BOTH, STEPS, version)


def normalized(axis: Json, weights: dict[str, Array] | None = None, **of: Json) -> Model:
    gamma, beta, mean, variance = random(3), random(3), random(3), random(3) ** 2 + 0.5
    named = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    weights = DENSE | {
        f"{of.get('name', 'batchnormalization')}/{name}": array for name, array in named.items()
    }
    expected = gamma * (Y - mean) / np.sqrt(variance + 1e-3) + beta
    entry = layer(
        of.get("class_name", "BatchNormalization"), axis=axis, epsilon=1e-3, momentum=0.99
    )
    topology = sequential(shaped(), called(entry, of.get("name", "batchnormalization"), []))
    return Model(topology, of.get("change", ""), backwards(weights), expected, version="2.2.4-tf")


WEIGHTS = {
    "in another order": Model(sequential(shaped()), weights=backwards(DENSE)),
    "in two groups": Model(sequential(shaped()), groups=[["dense/bias"], ["dense/kernel"]]),
    "in another order, with the name of the model": Model(
        sequential(shaped()), NAMES, weights=backwards(DENSE, "sequential/")
    ),
    "of TensorFlow": Model(
        sequential(shaped()), NAMES, {f"{name}:0": array for name, array in DENSE.items()}
    ),
    "by numbers": Model(sequential(shaped()), NAMES, {"dense/0": KERNEL, "dense/1": BIAS}),
    "of two layers": merged([[A, B]], weights=backwards(TWO)),
    "of two layers, with the name of the model": merged(
        [[A, B]], NAMES, weights=backwards(TWO, "model/")
    ),
    "of both directions": bidirectional("rnn", "2.15.0"),
    "of both directions, with the name of the model": bidirectional(
        "rnn", "2.15.0", "sequential/", NAMES
    ),
    "of both directions of Keras 3": bidirectional(
        "forward_rnn", "3.8.0", "", "layer(s) that TF.js needs"
    ),
    "of a normalization": normalized([1]),
    "of a normalization of TensorFlow 1": normalized(
        -1,
        class_name="BatchNormalizationV1",
        change="replaced BatchNormalizationV1 with BatchNormalization",
    ),
}

# ------------------------------------------------------------------------------------------ options

POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
OPTIMIZER = {"class_name": "SGD", "config": {"learning_rate": 0.01}}
IDS, TABLE = np.array([[1, 2, 0], [3, 0, 1]], np.int32), random(5, 4)


def embedding(dtype: str, change: str = "") -> Model:
    entry = layer("Embedding", input_dim=5, output_dim=4, batch_input_shape=[None, 3], dtype=dtype)
    return Model(
        sequential(entry),
        change,
        {"embedding/embeddings": TABLE},
        TABLE[IDS],
        IDS.astype("float32"),
    )


def windows() -> Model:
    """Windows whose sizes are numbers, which TF.js takes for all axes."""
    x, kernel = random(2, 7, 7, 2), random(3, 3, 2, 4)
    options = {
        "strides": 2,
        "padding": "valid",
        "dilation_rate": 1,
        "activation": "linear",
        "use_bias": False,
    }
    conv = layer("Conv2D", filters=4, kernel_size=3, batch_input_shape=[None, 7, 7, 2], **options)
    pool = layer(
        "MaxPooling2D", pool_size=2, strides=1, padding="valid", data_format="channels_last"
    )
    made = sum(
        x[:, i : i + 5 : 2, j : j + 5 : 2] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    expected = np.max([made[:, i : i + 2, j : j + 2] for i in (0, 1) for j in (0, 1)], 0)
    return Model(sequential(conv, pool), "", {"conv2d/kernel": kernel}, expected, x)


def training(change: str = "", **config: Json) -> Model:
    return Model(sequential(shaped()), change, document={"trainingConfig": config})


OPTIONS = {
    "policy of the first layer": Model(
        sequential(shaped(dtype=POLICY)), "removed the dtype policy"
    ),
    "policy of another layer": Model(
        sequential(shaped(), layer("Softmax", axis=-1, dtype=POLICY)), expected=softmax(Y)
    ),
    "mixed policy": Model(sequential(shaped(dtype="mixed_float16")), "changed the input dtype"),
    "float64": Model(sequential(shaped(dtype="float64")), "changed the input dtype"),
    "embedding": embedding("float32"),
    "embedding of integers": embedding("int32", "changed the input dtype"),
    "one number for two axes": windows(),
    "silu": Model(
        sequential(shaped(activation="silu")),
        "changed activation from 'silu' to 'swish'",
        expected=Y / (1 + np.exp(-Y)),
    ),
    "activation of null": Model(sequential(shaped(activation=None))),
    "activation as an object": Model(
        sequential(shaped(activation={"class_name": "relu", "config": {}})),
        expected=np.maximum(Y, 0),
    ),
    "initializer by name": Model(sequential(shaped(kernel_initializer="glorot_uniform"))),
    "strange initializer": Model(
        sequential(shaped(kernel_initializer="mine")), "wrote the initializers"
    ),
    "initializer of Keras 3": Model(
        sequential(
            shaped(kernel_initializer={"module": "keras", "class_name": "Zeros", "config": {}})
        )
    ),
    "regularizer by name": Model(
        sequential(shaped(kernel_regularizer="l2")), "wrote the regularizers"
    ),
    "regularizer of activities": Model(
        sequential(
            shaped(activity_regularizer={"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.1}})
        ),
        "wrote the regularizers",
    ),
    "constraint": Model(
        sequential(shaped(kernel_constraint={"class_name": "NonNeg", "config": {}})),
        "removed the constraints",
    ),
    "missing options": Model(sequential(layer("Dense", units=3, batch_input_shape=[None, 4]))),
    "training": training(optimizer_config=OPTIMIZER, loss="mean_squared_error", metrics=[]),
    "training of Keras 3": training(
        "removed trainingConfig", optimizer=OPTIMIZER, loss="mse", loss_weights=[1.0]
    ),
}

MODELS = {
    f"{kind}: {name}": model
    for kind, models in {
        "shape": shapes(),
        "calls": CALLS,
        "weights": WEIGHTS,
        "options": OPTIONS,
    }.items()
    for name, model in models.items()
}


# TF.js waits for ever for a layer that it does not find.
ENDLESS = frozenset(
    name for name, model in MODELS.items() if model.change == BRACKETS and "too few" not in name
)
# Of numbers it finds weights as well; constraints change only weights that break them.
HARMLESS = frozenset(("weights: by numbers",))


def result(tfjs: Tfjs, folder: Path, x: Array) -> Array:
    return tfjs.run(folder, [[x]], backend="cpu", timeout=60).results[0][0]


def close(got: Array, wanted: Array) -> bool:
    return got.shape == wanted.shape and np.allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_only_what_tfjs_misinterprets_is_repaired(name: str, tfjs: Tfjs, tmp_path: Path) -> None:
    model = MODELS[name]
    folder = model.write(tmp_path / "model")
    repair = kerasport.repair(folder, tmp_path / "right")
    assert close(result(tfjs, tmp_path / "right", model.x), model.expected)
    assert repair.repaired is bool(model.change)
    if model.change:
        assert model.change in "\n".join(repair.changes)
    else:
        assert close(result(tfjs, folder, model.x), model.expected)


@pytest.mark.parametrize(
    "name", [name for name, model in MODELS.items() if model.change and name not in ENDLESS]
)
def test_repaired_models_were_incorrect(name: str, tfjs: Tfjs, tmp_path: Path) -> None:
    model = MODELS[name]
    folder = model.write(tmp_path / "model")
    try:
        got = result(tfjs, folder, model.x)
    except VerifyError:
        return
    assert name in HARMLESS or not close(got, model.expected)


# ---------------------------------------------------------------------------------- what is refused

CODE = {"function": ["4wEAAAAAAAAA", None, None], "function_type": "lambda", "module": "__main__"}
CODE_3 = {
    "function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAAAAAA", "defaults": None}}
}

REFUSED: dict[str, tuple[Json, type[Exception], str]] = {
    "option in camelCase": (
        sequential(shaped(), layer("ReLU", maxValue=6)),
        UnsupportedModel,
        r"layer 'relu': ReLU with maxValue=6: .* reads it as max_value; rename it to max_value",
    ),
    "option that decides on weights": (
        sequential(layer("Dense", units=3, useBias=False)),
        UnsupportedModel,
        "useBias",
    ),
    "two shapes": (
        sequential(layer("InputLayer", batch_shape=[None, 5], batchInputShape=[None, 4]), dense()),
        ReadError,
        "batch_shape is .* but TF.js reads",
    ),
    "one shape twice": (
        sequential(dense(batch_input_shape=[None, 5], batchInputShape=[None, 4])),
        ReadError,
        "appears twice",
    ),
    "brackets for two meanings": (
        merged([[A, B]], first=[["x", 0, 0, {}], ["x", 0, 0, {}]]).topology,
        ReadError,
        "two calls",
    ),
    "Lambda of Keras 2": (
        sequential(shaped(), layer("Lambda", **CODE)),
        UnsupportedModel,
        "'lambda': Lambda: it contains",
    ),
    "Lambda of Keras 3": (
        sequential(shaped(), layer("Lambda", **CODE_3)),
        UnsupportedModel,
        "'lambda': Lambda: it contains",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_configs_are_refused(name: str, tmp_path: Path) -> None:
    topology, error, reason = REFUSED[name]
    weights = TWO if "meanings" in name else DENSE
    folder = Model(topology, weights=weights).write(tmp_path / "model")
    with pytest.raises(error, match=reason):
        kerasport.repair(folder, tmp_path / "right")
    assert not (tmp_path / "right").exists()


@pytest.mark.parametrize("document", [{"format": "graph-model"}, {"format": None}, {}], ids=str)
def test_graph_models_are_recognized_by_their_nodes(
    document: dict[str, Json], tmp_path: Path
) -> None:
    nodes = {"node": [{"name": "x", "op": "Placeholder", "attr": {}}], "versions": {}}
    written = {"modelTopology": nodes, "weightsManifest": [], **document}
    (tmp_path / "model.json").write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(
        ReadError,
        match=r"a graph-model.*load it with tf\.loadGraphModel, not with tf\.loadLayersModel",
    ):
        kerasport.repair(tmp_path)


def test_a_topology_nested_without_end_is_refused() -> None:
    deep: Json = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(HostileFileError, match="nested more than"):
        keyed({"class_name": "Sequential", "config": {"layers": deep}})
    calls([deep], "Add")  # takes no longer for it


# ----------------------------------------------------------------------- where nothing is to repair


def test_correct_models_are_copied_to_the_output(tmp_path: Path) -> None:
    folder = Model(sequential(shaped())).write(tmp_path / "model")
    out = tmp_path / "right"
    done = CliRunner().invoke(cli.app, ["repair", str(folder), str(out)])
    assert done.exit_code == 0
    assert done.stdout.split()[:4] == ["Nothing", "to", "repair", "in"]
    assert f"Copied to  {out}/model.json" in done.stdout
    for name in ("model.json", "group1-shard1of1.bin"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    told = json.loads(
        CliRunner()
        .invoke(cli.app, ["repair", str(folder), str(tmp_path / "other"), "--json"])
        .stdout
    )
    assert (told["repaired"], told["out"]) == (False, str(tmp_path / "other" / "model.json"))
    assert CliRunner().invoke(cli.app, ["repair", str(folder), str(out)]).exit_code == 3
    forced = CliRunner().invoke(cli.app, ["repair", str(folder), str(out), "--force"])
    assert forced.exit_code == 0, forced.output


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("name", ["kerasport-layers.js", "kerasport-layers.d.ts"])
def test_the_companion_is_copied_without_following_links(
    name: str, linked: bool, tmp_path: Path
) -> None:
    folder = Model(sequential(shaped()), document={"convertedBy": "kerasport 0.1.0"}).write(
        tmp_path / "model"
    )
    script, secret = folder / name, tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    if linked:
        script.symlink_to(secret)
    else:
        script.write_text("script", encoding="utf-8")
    copy = kerasport.repair(folder, tmp_path / "right")
    assert (script.name in copy.files) is (tmp_path / "right" / script.name).exists() is not linked
