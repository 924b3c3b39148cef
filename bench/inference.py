"""Compare the run times of converted models in TF.js (wasm, in Node), as ratios within one run.

    python bench/inference.py [NAME ...] [--official PYTHON]
    python bench/inference.py --onnx [NAME ...] [--official PYTHON]

For each model: our layers-model, our graph-model, and the graph-models that the official converter
writes in Keras 3 and in tf_keras. For the latter, pass the Python of an environment that has
`tensorflowjs`, Keras and tf_keras. The table has the number of nodes, the size of all files, and
the median milliseconds of 40 runs. The models take turns: ten runs each, four times. Needs Keras
(any backend) and Node.

With `--onnx`: our ONNX models and those of Keras's export, in ONNX Runtime; see
bench/onnx_export.py.

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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models import FORMATS, MODELS, built

if TYPE_CHECKING:
    from kerasport.verification.runtimes.tfjs import Tfjs

ROUNDS, RUNS = 4, 10


# --------------------------------------------------------------------------------- what is compared


def convert(path: Path, out: Path, target: str) -> Path | None:
    """Convert with kerasport; None if the target does not support the model."""
    import kerasport  # noqa: PLC0415  (not in the official converter's environment)

    try:
        kerasport.convert(path, out, to=target)
    except kerasport.UnsupportedModel:
        return None
    return out


def official(name: str, out: Path, python: str | None, module: str) -> Path | None:
    """The graph-model of the official converter; None after a message if it fails."""
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
    # tensorflowjs is optional
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as saved:
        built(name, module).export(saved)
        converter.convert_tf_saved_model(saved, out)


def tell(what: str) -> None:
    """Print a message next to the table."""
    print(what, file=sys.stderr)


# ------------------------------------------------------------------------------------------ figures


def nodes(out: Path) -> int:
    """Number of nodes of a graph-model, or of layers of a layers-model."""
    document = json.loads((out / "model.json").read_text(encoding="utf-8"))
    topology: Any = document["modelTopology"]
    return len(
        topology["node"] if "node" in topology else topology["model_config"]["config"]["layers"]
    )


def feed(model: Any) -> list[np.ndarray[Any, Any]]:
    """Random inputs with batch size 1."""
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
    """Median milliseconds per run of each model; NaN for a model that TF.js cannot run.

    The models take turns, since the speed of a machine varies over time.
    """
    taken: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(ROUNDS):
        for kind, out in models.items():
            taken[kind] += timed(kind, out, inputs, tfjs)
    return {kind: statistics.median(runs) for kind, runs in taken.items()}


def timed(
    kind: str, out: Path, inputs: list[np.ndarray[Any, Any]], tfjs: Tfjs
) -> tuple[float, ...]:
    """Milliseconds of each of `RUNS` runs."""
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
    outputs = {
        "layers-model": convert(path, folder / f"{name}.layers", "tfjs-layers"),
        "graph-model": convert(path, folder / f"{name}.graph", "tfjs-graph"),
        "official, of Keras 3": official(name, folder / f"{name}.3", python, "keras"),
        "official, of tf_keras": official(name, folder / f"{name}.2", python, "tf_keras"),
    }
    there = {kind: out for kind, out in outputs.items() if out is not None}
    medians = milliseconds(there, feed(model), tfjs)
    for kind in outputs:
        if kind not in there:
            yield f"| {name} | {kind} | - | - | - | - |"
            continue
        size = sum(file.stat().st_size for file in there[kind].iterdir()) / 1e6
        ratio = medians[kind] / medians["graph-model"]
        times = f"{medians[kind]:.1f} | {ratio:.2f}"
        yield f"| {name} | {kind} | {nodes(there[kind])} | {size:.1f} MB | {times} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare the run times of converted models.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument(
        "--official",
        metavar="PYTHON",
        help="Python of an environment with the exporter to compare with",
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
        "| model | as | nodes | download | median ms | of the graph-model |\n"
        "|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder, Tfjs() as tfjs:
        for name in options.names or (FORMATS if options.formats else MODELS):
            for row in rows(name, Path(folder), tfjs, options.official):
                print(row, flush=True)


if __name__ == "__main__":
    main()
