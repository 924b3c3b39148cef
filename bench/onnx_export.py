"""Compare ONNX models with those of Keras's own export: run time (ONNX Runtime, CPU) and export.

    python bench/inference.py --onnx [NAME ...] [--official PYTHON]

For each model: our file, and that of `model.export(format="onnx")`. For the latter, pass the Python
of an environment that has Keras with a backend that exports ONNX (TensorFlow with tf2onnx, or
PyTorch with onnxscript). The table has the number of nodes and of transposes, the size of the file,
the seconds of the whole process that writes it from the `.keras` file, the seconds of the export
alone after all imports, and the median milliseconds of 40 runs on one thread. The models take
turns: ten runs each, four times. Needs Keras (any backend) and onnxruntime.

Aim: no slower and no larger than Keras's own, and written in a tenth of the time.
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

import numpy as np
import onnx
import onnxruntime

from models import ONNX_MODELS, built

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

# The figure is on the last line, since some exporters print.
EXPORT = """
import sys, time
{0}
export()
if sys.argv[3:]:
    begin = time.perf_counter()
    export()
    print(chr(10), time.perf_counter() - begin)
"""


@dataclass(frozen=True)
class Export:
    """An exported file, and the seconds of its process and of the export alone."""

    file: Path
    process: float
    alone: float


def exported(python: str, script: str, path: Path, out: Path) -> Export | None:
    """Export a model with a script; None after a message if it fails."""
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
    return Export(out, process, float(twice.stdout.splitlines()[-1]))


def opened(path: Path) -> Any:
    """Load a model in ONNX Runtime; None after a message if it fails."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (those of ONNX Runtime have no base of their own)
        print(f"{path.name}: {error}", file=sys.stderr)
        return None


def feed(session: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Random inputs with batch size 1."""
    rng = np.random.default_rng(0)
    inputs: dict[str, np.ndarray[Any, Any]] = {}
    for info in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in info.shape]
        if info.type == "tensor(float)":
            inputs[info.name] = rng.random(shape, np.float32)
        else:
            dtype = "int32" if info.type == "tensor(int32)" else "int64"
            inputs[info.name] = rng.integers(0, 1000, shape).astype(dtype)
    return inputs


def medians(sessions: dict[str, Any]) -> dict[str, float]:
    """Median milliseconds per run of each session. The sessions take turns."""
    feeds = {name: feed(session) for name, session in sessions.items()}
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for name in list(sessions) * (1 + ROUNDS):
        for _ in range(RUNS):
            begin = time.perf_counter()
            sessions[name].run(None, feeds[name])
            taken[name].append((time.perf_counter() - begin) * 1000)
    return {name: statistics.median(runs[RUNS:]) for name, runs in taken.items()}


def rows(name: str, folder: Path, python: str) -> Iterator[str]:
    """The table rows of one model."""
    path = folder / f"{name}.keras"
    built(name).save(path)
    exports = {"ours": exported(sys.executable, OURS, path, folder / f"{name}.ours.onnx")}
    if python:
        exports["Keras's own"] = exported(python, KERAS_OWN, path, folder / f"{name}.own.onnx")
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
        for name in names or ONNX_MODELS:
            yield from rows(name, Path(folder), python)
