"""How fast converted models run in TF.js (wasm, in Node), beside each other, as ratios of one run.

    python bench/inference.py [NAME ...]

For each model: our layers-model, our graph-model, and the graph-model of the official converter where `tensorflowjs`
can be imported. Figures are the number of nodes, the size of all files, and the median milliseconds of 20 runs, after
three that are not counted. Needs Keras (any backend) and Node.

Aim: the graph-model is no slower than the official one on any model, and has fewer nodes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from keras import layers

import kerasport
from kerasport.verification.tfjs import Tfjs

RUNS = 20


def transformer(length: int = 64, width: int = 128, heads: int = 4, blocks: int = 4) -> keras.Model:
    """An encoder of four blocks."""
    x = tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, width)(x)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(y))
        x = layers.Add()([x, y])
    return keras.Model(tokens, layers.GlobalAveragePooling1D()(x))


def application(name: str, side: int) -> Callable[[], keras.Model]:
    """A model of keras.applications with random weights."""
    return lambda: getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3))


MODELS: Mapping[str, Callable[[], keras.Model]] = {
    "MobileNetV2": application("MobileNetV2", 224),
    "ResNet50": application("ResNet50", 224),
    "EfficientNetB0": application("EfficientNetB0", 224),
    "transformer": transformer,
}


def convert(path: Path, out: Path, target: str) -> Path | None:
    """Our model, None where the target cannot hold it."""
    try:
        kerasport.convert(path, out, to=target)
    except kerasport.UnsupportedModel:
        return None
    return out


def official(model: keras.Model, out: Path) -> Path | None:
    """The graph-model of the official converter, None where it cannot be made here."""
    saved = out.with_suffix(".saved")
    script = (
        "import sys; from tensorflowjs.converters import tf_saved_model_conversion_v2 as official; "
        "official.convert_tf_saved_model(*sys.argv[1:])"
    )
    try:
        model.export(saved)
        subprocess.run([sys.executable, "-c", script, str(saved), str(out)], check=True, capture_output=True)
    except Exception:  # noqa: BLE001  (whatever it is, there is no model)
        return None
    return out


def nodes(out: Path) -> int:
    """Number of nodes of a graph-model, or of layers of a layers-model."""
    document = json.loads((out / "model.json").read_text(encoding="utf-8"))
    topology: Any = document["modelTopology"]
    return len(topology["node"] if "node" in topology else topology["model_config"]["config"]["layers"])


def feed(model: keras.Model) -> list[np.ndarray[Any, Any]]:
    """One batch of one."""
    rng = np.random.default_rng(0)
    shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
    kinds = [str(tensor.dtype) for tensor in model.inputs]
    return [
        rng.integers(0, 1000, shape).astype("int32") if "int" in kind else rng.random(shape, np.float32)
        for shape, kind in zip(shapes, kinds, strict=True)
    ]


def rows(name: str, folder: Path, tfjs: Tfjs) -> Iterator[str]:
    """The table rows of one model."""
    model = MODELS[name]()
    path = folder / f"{name}.keras"
    model.save(path)
    made = {
        "layers-model": convert(path, folder / f"{name}.layers", "tfjs-layers"),
        "graph-model": convert(path, folder / f"{name}.graph", "tfjs-graph"),
        "official graph-model": official(model, folder / f"{name}.official"),
    }
    inputs = feed(model)
    base: float | None = None
    for kind, out in made.items():
        if out is None:
            yield f"| {name} | {kind} | - | - | - | - |"
            continue
        median = statistics.median(tfjs.time(out, inputs, backend="wasm", repeats=RUNS))
        base = base or median
        size = sum(file.stat().st_size for file in out.iterdir())
        yield f"| {name} | {kind} | {nodes(out)} | {size / 1e6:.1f} MB | {median:.1f} | {median / base:.2f} |"


def main() -> None:
    """Print the table."""
    print("| model | as | nodes | download | median ms | of the first |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Tfjs() as tfjs:
        for name in sys.argv[1:] or MODELS:
            for row in rows(name, Path(folder), tfjs):
                print(row, flush=True)


if __name__ == "__main__":
    main()
