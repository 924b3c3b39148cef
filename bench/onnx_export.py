"""How fast ONNX models run in ONNX Runtime (CPU, one thread) and are made, beside those of Keras's own export.

    python bench/inference.py --onnx [NAME ...] [--official PYTHON]

For each model: ours, and what `model.export(format="onnx")` makes, where the Python of an environment is given that has
Keras with a backend that can (TensorFlow with tf2onnx, or PyTorch with onnxscript). Figures are the number of nodes and
transposes, the size of the file, the seconds of the whole process that makes it from the `.keras` file, those of the
export alone when all that it imports is there, and the median milliseconds of 40 runs, of which each model has ten in
turn with the other, four times. Needs Keras (any backend) and onnxruntime.

Aim: no slower and no larger than Keras's own, and made in a tenth of the time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime

import inference

ROUNDS, RUNS = 4, 10

OURS = """
import kerasport
export = lambda: kerasport.convert(sys.argv[1], sys.argv[2], force=True)
"""

KERAS_OWN = """
import keras
model = keras.saving.load_model(sys.argv[1])
model(model.inputs)  # Keras exports only models that were called
export = lambda: model.export(sys.argv[2], format="onnx", verbose=False)
"""

# the figures are those behind the last line feed, since some exporters print
EXPORT = """
import sys, time
{0}
export()
if sys.argv[3:]:
    begin = time.perf_counter()
    export()
    print(chr(10), time.perf_counter() - begin)
"""


def recurrent(of: Any, length: int = 100, width: int = 64) -> Any:
    """Two LSTM and a GRU behind an embedding."""
    layers = of.layers
    x = tokens = of.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, width)(x)
    x = layers.Bidirectional(layers.LSTM(width, return_sequences=True))(x)
    x = layers.LSTM(width, return_sequences=True)(x)
    return of.Model(tokens, layers.Dense(10)(layers.GRU(width)(x)))


MODELS = {**inference.MODELS, "recurrent": recurrent}


def built(name: str) -> Any:
    """A model with random weights: converters leave out what zeros and ones make of no effect."""
    model, rng = MODELS[name](keras), np.random.default_rng(0)
    model.set_weights([inference.random(rng, weight) for weight in model.get_weights()])
    return model


@dataclass(frozen=True)
class Made:
    """A file, and the seconds that it took."""

    file: Path
    process: float
    alone: float


def made(python: str, script: str, path: Path, out: Path) -> Made | None:
    """Have a script export a model; None, and a word on why, where it cannot."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, "-c", EXPORT.format(script), str(path), str(out)]
    begin = time.perf_counter()
    once = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    process = time.perf_counter() - begin
    if once.returncode:
        print(once.stderr.strip().splitlines()[-1:], file=sys.stderr)
        return None
    twice = subprocess.run(
        [*command, "twice"], env=environment, capture_output=True, encoding="utf-8", check=True
    )
    return Made(out, process, float(twice.stdout.splitlines()[-1]))


def opened(path: Path) -> Any:
    """The model in ONNX Runtime; None, and a word on why, where it does not load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (those of ONNX Runtime have no base of their own)
        print(f"{path.name}: {error}", file=sys.stderr)
        return None


def feed(session: Any) -> dict[str, np.ndarray[Any, Any]]:
    """One batch of one."""
    rng, made = np.random.default_rng(0), {}
    for given in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in given.shape]
        made[given.name] = (
            rng.random(shape, np.float32)
            if given.type == "tensor(float)"
            else rng.integers(0, 1000, shape).astype(
                "int32" if given.type == "tensor(int32)" else "int64"
            )
        )
    return made


def medians(sessions: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of a run of each, all taking turns."""
    feeds = {name: feed(session) for name, session in sessions.items()}
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for name in list(sessions) * (1 + ROUNDS):
        for _ in range(RUNS):
            begin = time.perf_counter()
            sessions[name].run(None, feeds[name])
            taken[name].append((time.perf_counter() - begin) * 1000)
    return {name: statistics.median(each[RUNS:]) for name, each in taken.items()}


def rows(name: str, folder: Path, python: str) -> Iterator[str]:
    """The table rows of one model."""
    path = folder / f"{name}.keras"
    built(name).save(path)
    exports = {"ours": made(sys.executable, OURS, path, folder / f"{name}.ours.onnx")}
    if python:
        exports["Keras's own"] = made(python, KERAS_OWN, path, folder / f"{name}.own.onnx")
    files = {kind: export.file for kind, export in exports.items() if export is not None}
    sessions = {
        kind: session for kind, file in files.items() if (session := opened(file)) is not None
    }
    times = medians(sessions)
    for kind, export in exports.items():
        if export is None or kind not in times:
            yield f"| {name} | {kind} |{' - |' * 7}"
            continue
        operators = Counter(node.op_type for node in onnx.load(export.file).graph.node)
        nodes, turned = operators.total(), operators["Transpose"]
        size = export.file.stat().st_size / 1e6
        taken = (f"{size:.1f} MB", f"{export.process:.2f} s", f"{export.alone:.2f} s")
        run = (f"{times[kind]:.2f}", f"{times[kind] / times['ours']:.2f}")
        yield f"| {name} | {kind} | {nodes} | {turned} | {' | '.join((*taken, *run))} |"


def table(names: Sequence[str], python: str) -> Iterator[str]:
    """The lines of the table."""
    yield "| model | of | nodes | transposes | file | process | export | median ms | of ours |"
    yield "|---" * 9 + "|"
    with tempfile.TemporaryDirectory() as folder:
        for name in names or MODELS:
            yield from rows(name, Path(folder), python)
