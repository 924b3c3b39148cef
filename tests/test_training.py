"""Training in TF.js goes on where it stopped in Keras: the same losses from the same batches."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers, optimizers

from kerasport.api import convert
from kerasport.errors import UnsupportedModel
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.targets.tfjs.layers.training import training_config
from kerasport.targets.tfjs.layers.training.optimizer import by_depth
from kerasport.verification.runtimes import node

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of Keras, about numpy

FIT = """
const [packages, out, data] = process.argv.slice(1)
const packaged = require('module').createRequire(packages + '/x.js')
const tf = packaged('@tensorflow/tfjs-core')
packaged('@tensorflow/tfjs-backend-cpu')
const tfl = packaged('@tensorflow/tfjs-layers')
const fs = require('fs')
const { modelTopology, weightsManifest, trainingConfig } = JSON.parse(fs.readFileSync(out + '/model.json'))
const bytes = Buffer.concat(weightsManifest[0].paths.map(path => fs.readFileSync(out + '/' + path)))
const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
const load = async () => ({ modelTopology, trainingConfig, weightData, weightSpecs: weightsManifest[0].weights })
const { x, y, batchSize, epochs, outputs } = JSON.parse(fs.readFileSync(data))
tf.setBackend('cpu').then(async () => {
  const model = await tfl.loadLayersModel({ load })
  const labels = outputs > 1 ? Array(outputs).fill(tf.tensor(y)) : tf.tensor(y)
  const { history } = await model.fit(tf.tensor(x), labels, { batchSize, epochs, shuffle: false, verbose: 0 })
  console.log(JSON.stringify(history))
})
"""


def fitted_in_tfjs(
    out: Path, x: Any, y: Any, *, batch_size: int = 8, epochs: int = 2, outputs: int = 1
) -> dict[str, list[float]]:
    """What `model.fit` tells of each epoch; several outputs have the same labels."""
    data = out.parent / "data.json"
    sizes = {"batchSize": batch_size, "epochs": epochs, "outputs": outputs}
    data.write_text(json.dumps({"x": x.tolist(), "y": y.tolist(), **sizes}))
    command = [str(node.find()), "-e", FIT, str(node.packages()), str(out), str(data)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    history: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return history


def branched() -> keras.Model:
    """Branches of different lengths and a removed layer, so the orders of weights differ."""
    image = layers.Input((6,))
    left = layers.Dense(5, activation="tanh")(image)
    right = layers.Dense(5, activation="sigmoid")(layers.Identity()(layers.Dense(5)(image)))
    frozen = layers.Dense(5, trainable=False)(image)
    return keras.Model(
        image, layers.Dense(3, activation="softmax")(layers.Add()([frozen, right, left]))
    )


def chain() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(7, activation="tanh"),
            layers.BatchNormalization(),
            layers.Dense(3, "softmax"),
        ]
    )


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.8, nesterov=True),
    "adam": lambda: optimizers.Adam(0.02, beta_1=0.8),
    "rmsprop": lambda: optimizers.RMSprop(0.01, rho=0.8),
    "rmsprop_momentum": lambda: optimizers.RMSprop(0.01, momentum=0.5),
    "adagrad": lambda: optimizers.Adagrad(0.1),
}


def trained(
    build: Any, optimizer: Any, loss: Any = "categorical_crossentropy", metrics: Any = ()
) -> tuple[Any, Any, Any]:
    """A model that made some steps, and what it goes on with."""
    keras.utils.set_random_seed(3)
    model = build()
    model.compile(optimizer, loss, metrics=list(metrics))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6)).astype("float32")
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, 24)]
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return model, x, y


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("build", [branched, chain])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_continues_with_the_losses_of_keras(
    name: str, build: Any, suffix: str, tmp_path: Path
) -> None:
    model, x, y = trained(build, OPTIMIZERS[name]())
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    made = convert(path, tmp_path / "out", optimizer=True)
    assert not [note for note in made.notes if "optimizer" in note]
    told = fitted_in_tfjs(tmp_path / "out", x, y)
    wanted = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(told["loss"], wanted["loss"], rtol=1e-3)
    if name == "sgd":
        return
    convert(path, tmp_path / "fresh")
    fresh = fitted_in_tfjs(tmp_path / "fresh", x, y)
    assert np.abs(np.divide(fresh["loss"], wanted["loss"]) - 1).max() > 1e-3, (
        "the state makes no difference"
    )


@pytest.mark.parametrize(
    "loss",
    ["mse", "mae", "msle", "mape", "kl_divergence", "poisson", "log_cosh", "categorical_hinge",
          "binary_crossentropy",
     "categorical_crossentropy", "cosine_similarity"],
)  # fmt: skip
def test_losses_and_metrics_mean_the_same(loss: str, tmp_path: Path) -> None:
    model, x, y = trained(
        branched, optimizers.SGD(0.01), loss, ["mae", "categorical_accuracy", "mse"]
    )
    model.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "out")
    told = fitted_in_tfjs(tmp_path / "out", x, y)
    wanted = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(told["loss"], wanted["loss"], rtol=1e-3)
    for theirs, ours in (
        ("mae", "mae"),
        ("mse", "mse"),
        ("categorical_accuracy", "categoricalAccuracy"),
    ):
        found = next(told[key] for key in (ours, theirs, ours.upper()) if key in told)
        np.testing.assert_allclose(found, wanted[theirs], rtol=1e-3)


def rewritten() -> keras.Model:
    """Layers and functions that others stand for in TF.js."""
    x = layers.Input((6,))
    a = layers.Dense(5, activation="hard_silu")(x)
    b = layers.ELU(0.6)(layers.Dense(5, activation="leaky_relu")(x))
    y = keras.ops.relu(layers.Subtract()([a, b]) * 2 + 0.1)
    y = layers.Add()([y, layers.Dense(5, activation="log_sigmoid")(x)])
    return keras.Model(x, layers.Dense(3, activation="softmax")(y))


def test_rewritten_layers_train_as_in_keras(tmp_path: Path) -> None:
    model, x, y = trained(rewritten, optimizers.SGD(0.05))
    model.save(tmp_path / "model.keras")
    made = convert(tmp_path / "model.keras", tmp_path / "out", trainable=True)
    assert {layer.class_name for layer in made.layers if layer.outcome == "rewritten"} >= {
        "Dense",
        "ELU",
        "Relu",
    }
    told = fitted_in_tfjs(tmp_path / "out", x, y)
    wanted = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(told["loss"], wanted["loss"], rtol=1e-3)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: layers.ReLU(threshold=0.5), "the gradient of a comparison"),
        (lambda: layers.RandomFlip(), "augments images only during training"),
    ],
    ids=["compares", "augments"],
)
def test_layers_that_train_differently_are_noted_or_refused(
    layer: Any, reason: str, tmp_path: Path
) -> None:
    model = keras.Sequential([layers.Input((4, 4, 1)), layer(), layers.Flatten(), layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    made = convert(tmp_path / "model.keras", tmp_path / "out")
    assert "Random" in str(made.layers) or any(
        "exact only at inference" in note for note in made.notes
    )
    assert " ".join(str(made).split()).count(reason) == 1
    with pytest.raises(UnsupportedModel, match=reason) as refusal:
        convert(tmp_path / "model.keras", tmp_path / "refused", trainable=True)
    assert "--trainable" in str(refusal.value)
    assert not (tmp_path / "refused").exists()


def test_graph_models_have_no_training_config(tmp_path: Path) -> None:
    branched().save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="cannot be trained"):
        convert(tmp_path / "model.keras", tmp_path / "out", to="tfjs-graph", trainable=True)
    with pytest.raises(ValueError, match="cannot be trained"):
        convert(tmp_path / "model.keras", tmp_path / "out", to="tfjs-graph", optimizer=True)


def test_sparse_labels_mean_the_same(tmp_path: Path) -> None:
    keras.utils.set_random_seed(4)
    model = branched()
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6)).astype("float32"), rng.integers(0, 3, (24, 1)).astype("float32")
    model.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "out")
    told = fitted_in_tfjs(tmp_path / "out", x, y)
    wanted = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(told["loss"], wanted["loss"], rtol=1e-3)
    np.testing.assert_allclose(told["acc"], wanted["accuracy"], rtol=1e-3)


def test_deep_models_have_an_order() -> None:
    """Deeper than Python's stack, so than Keras can build."""
    calls = [Call(LayerSpec("input", "InputLayer", {}))]
    for at in range(3000):
        calls.append(Call(LayerSpec(f"layer_{at}", "Activation", {}), (KerasTensor(calls[-1]),)))
    deep = KerasModel(
        "deep", "functional", tuple(calls), KerasTensor(calls[0]), KerasTensor(calls[-1])
    )
    assert by_depth(deep) == [call.target for call in calls]


ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.1}}


@pytest.mark.parametrize(
    ("compiled", "reason"),
    [
        ({"loss": "hinge"}, "the loss hinge does not exist"),
        ({"loss": "mse", "loss_weights": [1.0]}, "does not support loss weights"),
        (
            {"loss": {"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}},
            "does not exist in TF.js",
        ),
        (
            {"loss": {"class_name": "CategoricalCrossentropy", "config": {"label_smoothing": 0.1}}},
            "does not exist in TF.js",
        ),
        (
            {"loss": {"class_name": "MeanSquaredError", "config": {"reduction": "sum"}}},
            "does not exist in TF.js",
        ),
        (
            {"loss": {"class_name": "CosineSimilarity", "config": {"axis": 1}}},
            "does not exist in TF.js",
        ),
        (
            {"loss": "mse", "optimizer": {"class_name": "Adam", "config": {"epsilon": 0.1}}},
            "applies epsilon differently",
        ),
        (
            {"loss": "mse", "optimizer": {"class_name": "Adagrad", "config": {"epsilon": 0.1}}},
            "always uses epsilon=1e-7",
        ),
        (
            {"loss": "mse", "optimizer": {"class_name": "Adam", "config": {"amsgrad": True}}},
            "do not support amsgrad",
        ),
        (
            {"loss": "mse", "optimizer": {"class_name": "RMSprop", "config": {"centered": True}}},
            "do not support centered",
        ),
        (
            {"loss": "mse", "optimizer": {"class_name": "Adadelta", "config": {}}},
            "Adadelta does not exist",
        ),
        *(
            (
                {"loss": "mse", "optimizer": {"class_name": name, "config": {option: value}}},
                f"the option {option} of its optimizer is not a finite number",
            )
            for name, option in [
                ("SGD", "learning_rate"),
                ("SGD", "momentum"),
                ("Adam", "beta_2"),
                ("Adam", "epsilon"),
                ("RMSprop", "rho"),
                ("Adagrad", "initial_accumulator_value"),
            ]
            for value in ("a->a", True, float("nan"), float("inf"), 10**400, [1.0])
        ),
    ],
)
def test_losses_that_tfjs_computes_differently_are_omitted(
    compiled: dict[str, Any], reason: str
) -> None:
    made, (lost,) = training_config({"optimizer": ADAM, **compiled}, {})
    assert made is None
    assert reason in lost


def test_masked_outputs_are_not_compiled() -> None:
    _, (lost,) = training_config({"optimizer": ADAM, "loss": "mse"}, {}, masked=True)
    assert "an output has a mask" in lost


def test_metrics_with_another_meaning_are_omitted() -> None:
    metrics = [
        "accuracy",
        "mae",
        "precision",
        "sparse_categorical_accuracy",
        {"class_name": "BinaryAccuracy", "config": {"threshold": 0.2}},
    ]
    made, lost = training_config(
        {"optimizer": ADAM, "loss": "binary_crossentropy", "metrics": metrics}, {}
    )
    assert made["metrics"] == ["mae"]
    assert len(lost) == 4


def wrapper(fn: Any, name: str = "") -> dict[str, Any]:
    """A metric as Keras 2 writes it."""
    return {
        "class_name": "MeanMetricWrapper",
        "config": {"name": name or str(fn), "dtype": "float32", "fn": fn},
    }


FUNCTION = {
    "class_name": "function",
    "config": "mean_absolute_error",
    "registered_name": "function",
}


@pytest.mark.parametrize(
    ("loss", "metrics", "made"),
    [
        ("mse", [[wrapper("categorical_accuracy", "accuracy"),
        wrapper("mean_squared_error", "mse")]],
         ["categorical_accuracy", "mse"]),
        ("mse", [wrapper(FUNCTION, "mine")], ["mae"]),
        ("binary_crossentropy", [[wrapper("binary_accuracy", "accuracy")]], ["binary_accuracy"]),
        ("sparse_categorical_crossentropy", [[wrapper("categorical_accuracy", "acc")]],
        ["accuracy"]),
        ("sparse_categorical_crossentropy", [[wrapper("sparse_categorical_accuracy")]],
        ["accuracy"]),
        ("mse", [["mae"], [wrapper("mean_squared_error"), "mae"]],
        {"left": ["mae"], "right": ["mse", "mae"]}),
        ("mse", {"first": [wrapper("mean_squared_error")], "right": "mae"},
        {"left": ["mse"], "right": ["mae"]}),
        (["mse", "sparse_categorical_crossentropy"], [["mae"], ["sparse_categorical_accuracy"]],
         {"left": ["mae"], "right": ["accuracy"]}),
        ("mse", ["mae", "mse"], {"left": ["mae"], "right": ["mse"]}),
    ],
)  # fmt: skip
def test_metrics_are_known_in_every_form(loss: Any, metrics: Any, made: Any) -> None:
    compiled = {"optimizer": ADAM, "loss": loss, "metrics": metrics}
    found, lost = training_config(compiled, {"first": "left"}, ["left", "right"], writer="3.15.0")
    assert (found["metrics"], lost) == (made, [])


def test_a_list_of_keras_2_is_for_every_output() -> None:
    compiled = {"optimizer": ADAM, "loss": "mse", "metrics": ["mae", "mse"]}
    assert training_config(compiled, {}, ["left", "right"], writer="2.15.0")[0]["metrics"] == [
        "mae",
        "mse",
    ]


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ([wrapper("my_metric")], "'my_metric'"),
        ([wrapper({"class_name": "function", "config": "package>mine"})], "mine"),
        ([wrapper(None)], "which TF.js does not have"),
        (
            [
                {
                    "class_name": "MeanMetricWrapper",
                    "config": {"fn": "binary_accuracy", "threshold": 0.2},
                }
            ],
            "does not have",
        ),
        ({"a_b": ["mae"]}, "underscores"),
    ],
)
def test_metrics_that_tfjs_lacks_are_omitted(metrics: Any, reason: str) -> None:
    made, (lost,) = training_config(
        {"optimizer": ADAM, "loss": "mse", "metrics": metrics}, {}, ["a_b"]
    )
    assert made["metrics"] == []
    assert reason in lost


def test_metrics_of_keras_2_are_computed(tmp_path: Path) -> None:
    model, x, y = trained(branched, optimizers.SGD(0.01), metrics=["categorical_accuracy", "mae"])
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        config = json.loads(file.attrs["training_config"])
        config["metrics"] = [
            [wrapper("categorical_accuracy", "accuracy"), wrapper("mean_absolute_error", "mae")]
        ]
        file.attrs["training_config"] = json.dumps(config)
    assert not convert(tmp_path / "model.h5", tmp_path / "out").notes
    told = fitted_in_tfjs(tmp_path / "out", x, y)
    wanted = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(told["mae"], wanted["mae"], rtol=1e-3)
    np.testing.assert_allclose(
        told["categoricalAccuracy"], wanted["categorical_accuracy"], rtol=1e-3
    )


def test_metrics_of_each_output_are_computed(tmp_path: Path) -> None:
    def two() -> keras.Model:
        x = layers.Input((6,))
        return keras.Model(
            x, [layers.Dense(3, "softmax", name="left")(x), layers.Dense(3, name="right")(x)]
        )

    keras.utils.set_random_seed(3)
    model = two()
    model.compile(optimizers.SGD(0.01), ["mse", "mae"], metrics=[["mae"], ["mse"]])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6)).astype("float32"), rng.normal(size=(24, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    assert not convert(tmp_path / "model.keras", tmp_path / "out").notes
    told = fitted_in_tfjs(tmp_path / "out", x, y, outputs=2)
    wanted = model.fit(x, [y, y], batch_size=8, epochs=2, shuffle=False, verbose=0).history
    assert {"left_mae", "right_mse"} <= set(told)
    assert not {"left_mse", "right_mae"} & set(told)
    for name in ("left_mae", "right_mse"):
        np.testing.assert_allclose(told[name], wanted[name], rtol=1e-3)


def test_the_optimizer_state_is_omitted_if_its_order_is_unknown(tmp_path: Path) -> None:
    def nested() -> keras.Model:
        return keras.Sequential([layers.Input((6,)), chain(), layers.Dense(3, "softmax")])

    model, _, _ = trained(nested, optimizers.Adam())
    model.save(tmp_path / "model.keras")
    made = convert(tmp_path / "model.keras", tmp_path / "out", optimizer=True)
    assert [
        note for note in made.notes if "optimizer state is not included: in nested models" in note
    ]


def test_the_optimizer_state_is_omitted_by_default(tmp_path: Path) -> None:
    model, _, _ = trained(chain, optimizers.Adam())
    model.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "out")
    document = json.loads((tmp_path / "out" / "model.json").read_text())
    assert not [weight for weight in document["weightsManifest"][0]["weights"] if "group" in weight]
    assert document["trainingConfig"]["optimizer_config"]["class_name"] == "Adam"
