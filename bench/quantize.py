"""Compare the error of a quantized MobileNetV2 with that of one scale per weight (TF.js, wasm).

    python bench/quantize.py

The network has random weights that are as uneven as trained ones: the channels of each kernel
differ by a log-normal factor, and the moving statistics are those of its own activations. The
baseline, `uint8=*`, is what the official converter does. The error of the output is its root mean
square relative to the standard deviation of the output, over 8 images. Needs Keras (any backend)
and Node.

Aim: at most half the error of the baseline at no more than 105 % of its size.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import kerasport
from kerasport.verification.runtimes.tfjs import Tfjs

SIDE, IMAGES, SPREAD = 96, 8, 0.7
WAYS = ("float32", "float16", "uint16", "uint8=*", "uint8")


def network(seed: int = 0) -> keras.Model:
    """MobileNetV2 without its softmax, which would hide errors."""
    model = keras.applications.MobileNetV2(
        (SIDE, SIDE, 3), weights=None, classifier_activation=None
    )
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.endswith("BN") or "bn" in layer.name.lower():
            channels = layer.moving_mean.shape
            layer.gamma.assign(rng.lognormal(0, 0.3, channels))
            layer.beta.assign(rng.normal(0, 0.5, channels))
        elif layer.weights and not isinstance(layer, keras.layers.Dense):
            uneven(layer, rng)
        elif layer.weights:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    calibrate(model, rng.normal(size=(IMAGES, SIDE, SIDE, 3)).astype("float32"))
    return model


def uneven(layer: Any, rng: np.random.Generator) -> None:
    """Give the channels of a kernel sizes that differ."""
    kernel = layer.kernel.numpy() if hasattr(layer.kernel, "numpy") else np.asarray(layer.kernel)
    axes = 2 if isinstance(layer, keras.layers.DepthwiseConv2D) else 1
    layer.kernel.assign(kernel * rng.lognormal(0, SPREAD, kernel.shape[-axes:]))


def calibrate(model: keras.Model, images: np.ndarray[Any, Any]) -> None:
    """Set the moving statistics to those of the activations, without changing other weights."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)


def main() -> int:
    """Print the table; gives the exit code, 1 where an aim is missed."""
    missed = False
    with tempfile.TemporaryDirectory() as temporary, Tfjs() as tfjs:
        folder = Path(temporary)
        model, path = network(), folder / "model.keras"
        model.save(path)
        images = np.random.default_rng(1).normal(size=(IMAGES, SIDE, SIDE, 3)).astype("float32")
        wanted = model.predict(images, verbose=0)
        print(
            "| target | quantized | weights, bytes | of plain | error of the output | of plain | "
            "ms |"
        )
        print("|---|---|---|---|---|---|---|")
        for target in ("tfjs-layers", "tfjs-graph"):
            found = {
                way: measured(
                    path,
                    folder / f"{target}-{way[:6]}{len(way)}",
                    target,
                    way,
                    images,
                    wanted,
                    tfjs,
                )
                for way in WAYS
            }
            size, error, _ = found["uint8=*"]
            for way, (nbytes, wrong, took) in found.items():
                shares = f"{nbytes:,} | {nbytes / size:.1%} | {wrong:.3%} | {wrong / error:.3f}"
                print(f"| {target} | {way} | {shares} | {took:.0f} |")
            ours = found["uint8"]
            missed |= ours[0] > 1.05 * size or ours[1] > error / 2
    return int(missed)


def measured(
    path: Path, out: Path, target: str, way: str, images: Any, wanted: Any, tfjs: Tfjs
) -> tuple[int, float, float]:
    """Bytes of the weights, error of the output, and milliseconds for an image."""
    made = kerasport.convert(path, out, to=target, quantize=() if way == "float32" else way)
    got = tfjs.run(out, [[images]], backend="wasm").results[0][0]
    wrong = float(np.sqrt(np.mean(np.square(got - wanted))) / np.std(wanted))
    nbytes = sum((out / file).stat().st_size for file in made.files if file.endswith(".bin"))
    return (
        nbytes,
        wrong,
        statistics.median(tfjs.time(out, [images[:1]], backend="wasm", repeats=10)),
    )


if __name__ == "__main__":
    sys.exit(main())
