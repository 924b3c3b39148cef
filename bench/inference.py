"""How fast converted models run in TF.js (wasm, in Node), beside each other, as ratios of one run.

    python bench/inference.py [NAME ...] [--official PYTHON]
    python bench/inference.py --onnx [NAME ...] [--official PYTHON]

For each model: our layers-model, our graph-model, and the graph-models that the official converter makes of it in
Keras 3 and in tf_keras, where the Python of an environment is given that has `tensorflowjs`, Keras and tf_keras.
Figures are the number of nodes, the size of all files, and the median milliseconds of 40 runs, of which each model has
ten in turn with the others, four times. Needs Keras (any backend) and Node.

With `--onnx`: our ONNX models beside Keras's own, in ONNX Runtime; see bench/onnx_export.py.

Aim: the graph-model is no slower than the official one on any model, and has fewer nodes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kerasport.verification.runtimes.tfjs import Tfjs

ROUNDS, RUNS = 4, 10


def transformer(
    keras: Any, length: int = 64, width: int = 128, heads: int = 4, blocks: int = 4
) -> Any:
    """An encoder of four blocks."""
    layers = keras.layers
    x = tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, width)(x)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(y))
        x = layers.Add()([x, y])
    return keras.Model(tokens, layers.GlobalAveragePooling1D()(x))


def application(name: str, side: int) -> Callable[[Any], Any]:
    """A model of keras.applications with random weights."""
    return lambda keras: getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3)
    )


def recurrent(layer: str, length: int, width: int = 64) -> Callable[[Any], Any]:
    """Two recurrent layers behind an embedding."""

    def build(keras: Any) -> Any:
        layers = keras.layers
        tokens = keras.Input((length,), dtype="int32", name="tokens")
        x = getattr(layers, layer)(width, return_sequences=True)(
            layers.Embedding(1000, width)(tokens)
        )
        return keras.Model(tokens, layers.Dense(10)(getattr(layers, layer)(width)(x)))

    return build


def dense(*, norm: bool) -> Callable[[Any], Any]:
    """Five dense layers."""

    def build(keras: Any) -> Any:
        layers = keras.layers
        x = given = keras.Input((256,), name="given")
        for _ in range(4):
            x = layers.Dense(512, activation="relu")(x)
            x = layers.BatchNormalization()(x) if norm else x
        return keras.Model(given, layers.Dense(10, activation="softmax")(x))

    return build


MODELS: Mapping[str, Callable[[Any], Any]] = {
    "MobileNetV2": application("MobileNetV2", 224),
    "ResNet50": application("ResNet50", 224),
    "EfficientNetB0": application("EfficientNetB0", 224),
    "transformer": transformer,
}


FORMATS: Mapping[str, Callable[[Any], Any]] = {
    "LSTM of 64 steps, two layers": recurrent("LSTM", 64),
    "GRU of 64 steps, two layers": recurrent("GRU", 64),
    "GRU of 100 steps, two layers in loops": recurrent("GRU", 100),
    "five dense layers": dense(norm=False),
    "the same with batch normalization": dense(norm=True),
}
"""Models that only the choice between a layers-model and a graph-model is measured with."""


def built(name: str, module: str) -> Any:
    """A model with random weights: converters leave out what zeros and ones make of no effect."""
    model = {**MODELS, **FORMATS}[name](importlib.import_module(module))
    rng = np.random.default_rng(0)
    model.set_weights([random(rng, weight) for weight in model.get_weights()])
    return model


def random(rng: np.random.Generator, old: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values of a weight, small for kernels, around 1 for the others."""
    new = rng.normal(0, 0.05, old.shape) if old.ndim > 1 else rng.uniform(0.5, 1.5, old.shape)
    return new.astype(old.dtype)


# ------------------------------------------------------------------------------------------ what is compared


def convert(path: Path, out: Path, target: str) -> Path | None:
    """Our model, None where the target cannot hold it."""
    import kerasport  # noqa: PLC0415  (the environment of the official converter is without)

    try:
        kerasport.convert(path, out, to=target)
    except kerasport.UnsupportedModel:
        return None
    return out


def official(name: str, out: Path, python: str | None, module: str) -> Path | None:
    """The graph-model of the official converter; None, and a word on why, where it makes none."""
    if python is None:
        return None
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": "",
    }
    done = subprocess.run(
        [python, __file__, name, "--make", module, str(out)],
        env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    if done.returncode:
        tell(f"{name}: the official converter fails: {done.stderr.strip().splitlines()[-1]}")
        return None
    return out


def make(name: str, module: str, out: str) -> None:
    """Convert with the official converter, in its own environment."""
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as saved:
        built(name, module).export(saved)
        converter.convert_tf_saved_model(saved, out)


def tell(what: str) -> None:
    """Say beside the table what is not in it."""
    print(what, file=sys.stderr)


# ---------------------------------------------------------------------------------------------------- figures


def nodes(out: Path) -> int:
    """Number of nodes of a graph-model, or of layers of a layers-model."""
    document = json.loads((out / "model.json").read_text(encoding="utf-8"))
    topology: Any = document["modelTopology"]
    return len(
        topology["node"] if "node" in topology else topology["model_config"]["config"]["layers"]
    )


def feed(model: Any) -> list[np.ndarray[Any, Any]]:
    """One batch of one."""
    rng = np.random.default_rng(0)
    shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
    kinds = [str(tensor.dtype) for tensor in model.inputs]
    return [
        rng.integers(0, 1000, shape).astype("int32")
        if "int" in kind
        else rng.random(shape, np.float32)
        for shape, kind in zip(shapes, kinds, strict=True)
    ]


def milliseconds(
    models: Mapping[str, Path], inputs: list[np.ndarray[Any, Any]], tfjs: Tfjs
) -> dict[str, float]:
    """The median of the runs of each model; they take turns, since a machine is faster at one time than at another.

    NaN for a model that TF.js cannot run.
    """
    taken: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(ROUNDS):
        for kind, out in models.items():
            taken[kind] += timed(kind, out, inputs, tfjs)
    return {kind: statistics.median(runs) for kind, runs in taken.items()}


def timed(
    kind: str, out: Path, inputs: list[np.ndarray[Any, Any]], tfjs: Tfjs
) -> tuple[float, ...]:
    """Milliseconds of some runs."""
    from kerasport.errors import VerifyError  # noqa: PLC0415

    try:
        return tfjs.time(out, inputs, backend="wasm", repeats=RUNS)
    except VerifyError as error:
        tell(f"{kind}: {error}")
        return (math.nan,)


def rows(name: str, folder: Path, tfjs: Tfjs, python: str | None) -> Iterator[str]:
    """The table rows of one model."""
    model = built(name, "keras")
    path = folder / f"{name}.keras"
    model.save(path)
    made = {
        "layers-model": convert(path, folder / f"{name}.layers", "tfjs-layers"),
        "graph-model": convert(path, folder / f"{name}.graph", "tfjs-graph"),
        "official, of Keras 3": official(name, folder / f"{name}.3", python, "keras"),
        "official, of tf_keras": official(name, folder / f"{name}.2", python, "tf_keras"),
    }
    there = {kind: out for kind, out in made.items() if out is not None}
    medians = milliseconds(there, feed(model), tfjs)
    for kind in made:
        if kind not in there:
            yield f"| {name} | {kind} | - | - | - | - |"
            continue
        size = sum(file.stat().st_size for file in there[kind].iterdir()) / 1e6
        ratio = medians[kind] / medians["graph-model"]
        yield f"| {name} | {kind} | {nodes(there[kind])} | {size:.1f} MB | {medians[kind]:.1f} | {ratio:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description="How fast converted models run, beside each other."
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument(
        "--official",
        metavar="PYTHON",
        help="that of an environment with the exporter to compare with",
    )
    parser.add_argument(
        "--formats",
        action="store_true",
        help="layers-model and graph-model of more kinds of models",
    )
    parser.add_argument("--onnx", action="store_true", help="ONNX models, in ONNX Runtime")
    parser.add_argument("--make", nargs=2, metavar=("MODULE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.names[0], *options.make)
        return
    os.environ.setdefault("KERAS_BACKEND", "jax")
    if options.onnx:
        for line in importlib.import_module("onnx_export").table(options.names, options.official):
            print(line, flush=True)
        return
    from kerasport.verification.runtimes.tfjs import Tfjs  # noqa: PLC0415

    print(
        "| model | as | nodes | download | median ms | of the graph-model |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder, Tfjs() as tfjs:
        for name in options.names or (FORMATS if options.formats else MODELS):
            for row in rows(name, Path(folder), tfjs, options.official):
                print(row, flush=True)


if __name__ == "__main__":
    main()
