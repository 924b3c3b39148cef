"""Records models of Keras 3, their outputs, and the results of the official converter tensorflowjs.

The converter gets a virtual environment of its own, in which this very file builds the models and converts them. It
imports TensorFlow Decision Forests and JAX whatever it converts; empty modules stand for them, since neither is used.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent.parent / "tests" / "unrepaired"
PACKAGES = ("tensorflow-cpu==2.19.0", "tf_keras==2.19.0", "keras==3.15.1", "h5py", "setuptools<76", "packaging", "six",
            "importlib_resources")  # fmt: skip
ALONE = ("tensorflowjs==4.22.0", "tensorflow_hub==0.16.1")  # without what they depend on
STUBS = {
    "tensorflow_decision_forests.py": "",
    "tensorflowjs/converters/jax_conversion.py": "convert_jax = None\n",
}
BATCH = 3
TOKENS = 9  # the size of the vocabulary

BUILDERS: dict[str, Callable[[Any], Any]] = {}


def model(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter `build` in `BUILDERS`."""
    BUILDERS[build.__name__] = build
    return build


# ---------------------------------------------------------------- the models


@model
def convolutions(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((9, 7, 3)),
            layers.Rescaling(0.5, offset=-0.1),
            layers.Conv2D(4, (3, 2), padding="same", activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(
                3, depth_multiplier=2, activation="tanh", bias_constraint="max_norm"
            ),
            layers.SeparableConv2D(5, 2),
            layers.LeakyReLU(negative_slope=0.07),
            layers.MaxPooling2D(2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(
                6,
                activation=keras.activations.silu,
                kernel_initializer=keras.initializers.Orthogonal(seed=3),
            ),
            layers.Dense(4, activation="softmax"),
        ]
    )


@model
def residual(keras: Any) -> Any:
    """Two inputs, a shared layer, a sum around two others, two outputs."""
    layers = keras.layers
    left, right = layers.Input((5,), name="left"), layers.Input((3,), name="right")
    shared = layers.Dense(4, activation="elu", name="shared")
    a = shared(layers.Dense(6, name="zoom")(left))
    b = shared(layers.Dense(6, name="adapt")(right))
    both = layers.Concatenate()([b, a])
    x = layers.Dense(8, activation=keras.activations.gelu)(both)
    x = layers.LayerNormalization()(x)
    x = layers.Add()([x, both])
    return keras.Model(
        [left, right], [layers.Dense(2, name="second")(x), layers.Dense(1, name="first")(a)]
    )


@model
def recurrent(keras: Any) -> Any:
    layers = keras.layers
    words = layers.Input((6,), dtype="int32", name="words")
    x = layers.Embedding(TOKENS, 4)(words)
    x = layers.LSTM(5, return_sequences=True, recurrent_dropout=0.1)(x)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    x = layers.GRU(4, reset_after=False, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(3, activation="relu6"))(x)
    x = layers.Bidirectional(layers.GRU(2, reset_after=False), merge_mode="sum")(x)
    return keras.Model(words, layers.Dense(2)(x))


@model
def nested(keras: Any) -> Any:
    """Nested models, one of them called twice, with layers of the same names inside and outside."""
    layers = keras.layers
    inner = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(4, activation="tanh", name="first"),
            layers.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    x = entry = layers.Input((4,), name="entry")
    x = layers.Add(name="sum")([layers.Dense(4, name="deep")(x), inner(x)])
    outer = keras.Model(entry, x, name="outer")
    x = y = layers.Input((4,), name="data")
    x = layers.Dense(4, name="start")(x)
    x = outer(outer(x))
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(y, layers.Dense(3, name="first")(x))


@model
def frozen(keras: Any) -> Any:
    """Layers that are not trained, whose weights the converter writes last."""
    layers = keras.layers
    base = keras.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(4, activation="relu", name="low"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(4, name="high"),
        ],
        name="base",
    )
    base.layers[0].trainable = False
    x = inputs = layers.Input((5,))
    x = base(x)
    return keras.Model(inputs, layers.Dense(2, name="top")(x))


@model
def embedding(keras: Any) -> Any:
    layers = keras.layers
    x = words = layers.Input((7,), name="words")
    x = layers.Embedding(TOKENS, 6, embeddings_regularizer="l1")(x)
    x = layers.Conv1D(5, 3, padding="same", activation="relu")(x)
    return keras.Model(
        {"words": words}, {"answer": layers.Dense(3, name="answer")(layers.GlobalMaxPooling1D()(x))}
    )


@model
def compiled(keras: Any) -> Any:
    """A model that was trained, so that a file of it holds the state of the optimizer."""
    np = importlib.import_module("numpy")
    layers = keras.layers
    keras.utils.set_random_seed(1)
    net = keras.Sequential(
        [layers.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(1)]
    )
    net.compile(keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    net.fit(np.ones((2, 4)), np.ones((2, 1)), verbose=0)
    return net


@model
def quantized(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        layers.Input((6,)), layers.Dense(7, activation="tanh", name="half"), layers.Dense(5, name="byte"),
        layers.Dense(3, name="whole"),
    ])  # fmt: skip


@model
def hard_sigmoid(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        layers.Input((4, 3)), layers.LSTM(5, recurrent_activation="hard_sigmoid"),
        layers.Dense(3, activation="hard_sigmoid"),
    ])  # fmt: skip


@model
def gru(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([layers.Input((4, 3)), layers.GRU(5)])


# ---------------------------------------------------------------- the ways of converting


def saved(net: Any, folder: Path, **options: Any) -> None:
    """As `tfjs.converters.save_keras_model` does it in Python."""
    importlib.import_module("tensorflowjs").converters.save_keras_model(net, str(folder), **options)


def converted(net: Any, folder: Path, *options: str) -> None:
    """As `tensorflowjs_converter` does it with a `.keras` file."""
    converter = importlib.import_module("tensorflowjs").converters
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "model.keras")
        net.save(path)
        formats = ("--input_format=keras_keras", "--output_format=tfjs_layers_model")
        converter.convert([*formats, *options, str(path), str(folder)])


WAYS: Mapping[str, Callable[[Any, Path], None]] = {
    "h5": saved,
    "keras": converted,
    # shards that end inside of values
    "shards": lambda net, folder: saved(net, folder, weight_shard_size_bytes=150),
    "groups": lambda net, folder: converted(
        net, folder, "--split_weights_by_layer", "--weight_shard_size_bytes=150"
    ),
    "small": lambda net, folder: saved(
        net, folder, quantization_dtype_map={"float16": ["*half*"], "uint8": ["*byte*"]}
    ),
    "small_shards": lambda net, folder: saved(
        net,
        folder,
        quantization_dtype_map={"float16": ["*half*"], "uint16": ["*byte*"]},
        weight_shard_size_bytes=50,
    ),
    "small_keras": lambda net, folder: converted(
        net,
        folder,
        "--quantize_float16=*dense/*",
        "--quantize_uint8=*dense_1/*",
        "--weight_shard_size_bytes=50",
    ),
}
RECORDS: Mapping[str, str] = {
    **dict.fromkeys(("convolutions", "recurrent", "nested"), "h5 keras"),
    **dict.fromkeys(("frozen", "embedding"), "h5 keras"),
    "compiled": "h5 keras small_keras",
    "residual": "h5 keras shards groups",
    "quantized": "small small_shards",
    "hard_sigmoid": "h5",
    "gru": "h5 keras",
}


def fill(net: Any, random: Any) -> None:
    """Give `net` weights that no initializer would give it."""
    for variable in net.weights:
        shape, name = variable.shape, variable.name
        if "variance" in name:
            value = random.uniform(0.5, 2, shape)
        elif "gamma" in name:
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            value = random.uniform(-0.5, 0.5, shape)
        else:
            fan_in = variable.numpy().size // shape[-1]
            value = random.normal(0, max(0.3, fan_in**-0.5), shape)
        variable.assign(value.astype("float32"))


def inputs_of(net: Any, random: Any) -> Iterator[Any]:
    """Random numbers or tokens for each input in order."""
    for tensor in net.inputs:
        shape = (BATCH, *tensor.shape[1:])
        tokens = tensor.name == "words"
        yield (
            random.randint(0, TOKENS, shape).astype("int32")
            if tokens
            else random.normal(size=shape).astype("f4")
        )


def take_stored(net: Any, folder: Path) -> None:
    """Give `net` the weights that were written, which quantizing has changed."""
    json = importlib.import_module("json")
    read = importlib.import_module("tensorflowjs.read_weights").read_weights
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    by_name = {
        entry["name"]: entry["data"] for group in read(manifest, str(folder)) for entry in group
    }
    paths = sorted(name for name in by_name if name.startswith("layers/"))
    for index, variable in enumerate(net.weights):
        variable.assign(by_name[variable.path if variable.path in by_name else paths[index]])


def record(keras: Any, name: str, to: Path) -> None:
    """Convert the model of that name in each of its ways, and run it in Keras."""
    np = importlib.import_module("numpy")
    for way in RECORDS[name].split():
        keras.backend.clear_session()
        random = np.random.RandomState(zlib.crc32(name.encode()))
        net = BUILDERS[name](keras)
        fill(net, random)
        arrays = list(inputs_of(net, random))
        folder = to / f"{name}.{way}"
        WAYS[way](net, folder)
        if way.startswith("small"):
            take_stored(net, folder)
        outputs = net.predict(arrays if len(arrays) > 1 else arrays[0], batch_size=BATCH, verbose=0)
        outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
        outputs = outputs if isinstance(outputs, list) else [outputs]
        assert all(np.isfinite(y).all() and np.ptp(y) > 0 for y in outputs), (name, outputs)
        pairs = {f"input_{i}": x for i, x in enumerate(arrays)} | {
            f"output_{i}": y for i, y in enumerate(outputs)
        }
        np.savez(folder / "expected.npz", **pairs)
        print(f"{name}.{way}", flush=True)


OF_KERAS_2: Mapping[str, tuple[str, str]] = {
    # recorded already, with what their Keras computed → the name of the format
    "functional_2.keras": ("keras-2.15.0/functional.keras", "keras_keras"),
    "functional_2.h5": ("keras-2.15.0/functional.h5", "keras"),
    "recurrent_2.h5": ("tf_keras-2.21.0/recurrent.h5", "keras"),
}


def record_keras2(to: Path) -> None:
    """Convert files of Keras 2."""
    for name, (file, format_name) in OF_KERAS_2.items():
        recorded = RECORDED.parent / "recorded" / file
        formats = (f"--input_format={format_name}", "--output_format=tfjs_layers_model")
        with tempfile.TemporaryDirectory() as directory:
            # the converter may unpack it where it is
            path = shutil.copy(recorded, directory)
            importlib.import_module("tensorflowjs").converters.convert(
                [*formats, path, str(to / name)]
            )
        shutil.copyfile(recorded.with_suffix(".npz"), to / name / "expected.npz")


def python_of(environment: Path) -> Path:
    """The Python of the environment with the converter, which is made where it is not there yet."""
    python, ready = environment / "bin" / "python", environment / "READY"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *PACKAGES], check=True)
        subprocess.run([*install, "--no-deps", *ALONE], check=True)
        site = next((environment / "lib").glob("python*/site-packages"))
        for file, text in STUBS.items():
            (site / file).write_text(text)
        ready.touch()
    return python


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Record what the official converter makes of Keras 3 models."
    )
    parser.add_argument("names", nargs="*", help="models to record (default: all)")
    parser.add_argument(
        "--environment", type=Path, help="where the converter is, or is to be installed"
    )
    parser.add_argument("--to", type=Path, default=RECORDED, help="where the files go")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.names or list(RECORDS)
    if unknown := set(names) - set(RECORDS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    if options.child:
        keras = importlib.import_module("keras")
        for name in names:
            record(keras, name, options.to)
        record_keras2(options.to)
        return
    environment = options.environment or Path(tempfile.mkdtemp(prefix="kerasport-official-"))
    for name in names:
        for way in RECORDS[name].split():
            shutil.rmtree(options.to / f"{name}.{way}", ignore_errors=True)
    options.to.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [python_of(environment), __file__, "--child", *names, "--to", options.to],
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        check=True,
    )


if __name__ == "__main__":
    main()
