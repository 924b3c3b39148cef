"""Seconds and peak memory of conversions, compared with starting Python and copying the file.

    python bench/convert.py
    python bench/convert.py --venv --repeats 9 --sizes tiny 500

Each round runs every command once, in a process of its own, so that a busy machine slows all of
them down equally. Ratios are computed within a round. The large models are generated: random
weights in Keras's own format, written without Keras. If TensorFlow's converter is installed, it is
measured too.

Aims, on any machine:

* a tiny model takes less than twice as long as `python -c "import numpy, h5py"`;
* a model of 500 MB takes at most that start, and one and a half times as long as `cp`;
* a conversion takes less than 150 MB of memory, whatever the size of the model.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

# Import nothing large here: on Linux the peak memory of a child starts at that of its parent.

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples" / "digits.keras"
SIZES = ("tiny", "100", "500")  # the shipped example; megabytes of weights
MB = 1e6

START, COPY, CONVERT, OFFICIAL = (
    "import numpy, h5py",
    "cp",
    "kerasport convert",
    "tensorflowjs_converter",
)

TINY_AIM = 2.0  # times the start
LARGE_AIM = 1.5  # times cp, after the start
MEMORY_AIM = 150.0  # MB


@dataclass(frozen=True)
class Run:
    """What one process took."""

    seconds: float
    busy: float | None = None  # seconds of processor time, which a busy machine changes least
    peak: float | None = None  # MB of memory; both None where the system does not tell


# ---------------------------------------------------------------------------------------- measuring


def measure(command: list[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end, and tell what the whole process took.

    Raises:
        SystemExit: it failed.
    """
    if hasattr(os, "sync"):
        os.sync()  # what the last command wrote is not to be paid by this one
    with tempfile.TemporaryFile() as log:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        busy = peak = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            busy = usage.ru_utime + usage.ru_stime
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MB
        else:
            process.wait()
        seconds = time.perf_counter() - begin
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read().decode(errors='replace')}")
    return Run(seconds, busy, peak)


def commands(python: str, model: Path, folder: Path) -> dict[str, list[str]]:
    """What is measured for a model, by name; each leaves its output in the folder."""
    copy = f"import shutil; shutil.copyfile({str(model)!r}, {str(folder / 'copy')!r})"
    made = {
        START: [python, "-c", "import numpy, h5py"],
        COPY: [cp, str(model), str(folder / "copy")]
        if (cp := shutil.which("cp"))
        else [python, "-c", copy],
        CONVERT: [python, "-m", "kerasport", "convert", str(model), str(folder / "web_model")],
    }
    if importlib.util.find_spec("tensorflowjs"):
        # it unpacks the model beside the file, so it gets one of its own
        own = folder / "official" / model.name
        own.parent.mkdir()
        shutil.copyfile(model, own)
        formats = ["--input_format=keras_keras", "--output_format=tfjs_layers_model"]
        converter = "from tensorflowjs.converters.converter import pip_main; pip_main()"
        made[OFFICIAL] = [
            sys.executable,
            "-c",
            converter,
            *formats,
            str(own),
            str(folder / "official_model"),
        ]
    return made


def rounds(
    python: str, model: Path, repeats: int, environment: Mapping[str, str]
) -> list[dict[str, Run]]:
    """Run every command of a model once per round; the first round warms the caches."""
    found = []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory(prefix="kerasport-bench-", dir=model.parent) as folder:
            made = commands(python, model, Path(folder))
            found.append({name: measure(command, environment) for name, command in made.items()})
    return found[1:]


# ---------------------------------------------------------------------------------------- reporting


def table(size: str, nbytes: int, found: list[dict[str, Run]]) -> Iterator[str]:
    """What a model took, as a table in Markdown."""
    yield (
        f"\n### {size if size == 'tiny' else f'{size} MB'} ({nbytes / MB:.1f} MB, {len(found)} "
        "rounds)\n"
    )
    yield "| command | min s | median s | times the start | times cp | min CPU s | peak MB |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name in found[0]:
        seconds = [runs[name].seconds for runs in found]
        start, copy = (ratio(found, name, base) for base in (START, COPY))
        busy = [busy for runs in found if (busy := runs[name].busy) is not None]
        peaks = [peak for runs in found if (peak := runs[name].peak) is not None]
        cells = [f"{min(seconds):.3f}", f"{median(seconds):.3f}", f"{start:.2f}", f"{copy:.2f}"]
        cells += [f"{min(busy):.3f}" if busy else "?", f"{max(peaks):.0f}" if peaks else "?"]
        yield f"| `{name}` | {' | '.join(cells)} |"


def ratio(found: list[dict[str, Run]], name: str, base: str) -> float:
    """How many times as long one command takes as another: the median of the rounds."""
    return median(runs[name].seconds / runs[base].seconds for runs in found)


def aims(size: str, found: list[dict[str, Run]]) -> Iterator[tuple[str, float, float]]:
    """What is aimed for with a model of this size, the bound, and what was found."""
    if size == "tiny":
        yield "tiny: seconds, in starts", TINY_AIM, ratio(found, CONVERT, START)
    else:
        after = median(
            (runs[CONVERT].seconds - runs[START].seconds) / runs[COPY].seconds for runs in found
        )
        yield f"{size} MB: seconds after the start, in cp", LARGE_AIM, after
    peaks = [peak for runs in found if (peak := runs[CONVERT].peak) is not None]
    if peaks:
        yield f"{size}: peak memory in MB", MEMORY_AIM, max(peaks)


# ---------------------------------------------------------------------------------- forging a model


def forge(path: Path, megabytes: float) -> None:
    """Write a `.keras` file of about that size, half convolutions and half dense layers."""
    import h5py  # noqa: PLC0415  (only in a process of its own: see the top)
    import numpy as np  # noqa: PLC0415  (likewise)

    rng = np.random.default_rng(0)
    width, channels = 2048, 512
    layers: list[dict[str, Any]] = [
        entry(
            "InputLayer", "input", batch_shape=[None, 32, 32, channels], sparse=False, ragged=False
        )
    ]
    shapes: list[tuple[str, list[tuple[int, ...]]]] = []
    for index in range(max(1, round(megabytes * MB / 2 / (4 * 9 * channels**2)))):
        layers.append(entry("Conv2D", f"conv_{index}", filters=channels, **CONV))
        shapes.append(("conv2d", [(3, 3, channels, channels), (channels,)]))
    layers.append(
        entry("GlobalAveragePooling2D", "pool", data_format="channels_last", keepdims=False)
    )
    for index in range(1 + round(megabytes * MB / 2 / (4 * width**2))):
        layers.append(
            entry("Dense", f"dense_{index}", units=width, activation="relu", use_bias=True)
        )
        shapes.append(("dense", [(width if index else channels, width), (width,)]))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        weights = Path(folder) / "model.weights.h5"
        counts: dict[str, int] = {}
        with h5py.File(weights, "w") as file:
            for group, arrays in shapes:
                count = counts[group] = counts.get(group, -1) + 1
                group_of = file.create_group(
                    f"layers/{group}_{count}/vars" if count else f"layers/{group}/vars"
                )
                for number, shape in enumerate(arrays):
                    group_of[str(number)] = rng.standard_normal(shape, "float32") / 50
        model = {"name": "forged", "trainable": True, "dtype": "float32", "layers": layers}
        config = {
            "module": "keras",
            "class_name": "Sequential",
            "config": model,
            "registered_name": None,
        }
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
            archive.writestr("config.json", json.dumps(config))
            archive.write(weights, weights.name)


CONV: Mapping[str, Any] = {
    "kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "data_format": "channels_last",
    "dilation_rate": [1, 1], "groups": 1, "activation": "relu", "use_bias": True,
}  # fmt: skip


def entry(class_name: str, name: str, **options: Any) -> dict[str, Any]:
    """A layer as Keras 3 describes it."""
    config = {"name": name, "trainable": True, "dtype": "float32", **options}
    if class_name == "InputLayer":
        del config["trainable"]
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": config,
        "registered_name": None,
    }


# -------------------------------------------------------------------------------------- the command


def clean_python(folder: Path) -> str:
    """The Python of a new environment that holds kerasport and what it needs, and nothing else."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    return python


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="tiny, or megabytes")
    parser.add_argument(
        "--venv", action="store_true", help="measure in a new environment, with pip install ."
    )
    parser.add_argument(
        "--forge", nargs=2, metavar=("PATH", "MB"), help="only write a model of that size"
    )
    return parser.parse_args()


def main() -> None:
    """Measure, and print tables in Markdown."""
    asked = arguments()
    if asked.forge:
        forge(Path(asked.forge[0]), float(asked.forge[1]))
        return
    reached: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory(prefix="kerasport-bench-") as folder:
        python = clean_python(Path(folder) / "venv") if asked.venv else sys.executable
        environment = (
            dict(os.environ) if asked.venv else {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        )
        for size in asked.sizes:
            model = Path(folder) / f"{size}.keras"
            if size == "tiny":
                shutil.copyfile(DIGITS, model)
            else:
                subprocess.run(
                    [python, __file__, "--forge", str(model), size], check=True, env=environment
                )
            found = rounds(python, model, asked.repeats, environment)
            print(*table(size, model.stat().st_size, found), sep="\n", flush=True)
            reached += aims(size, found)
            model.unlink()
    print("\n| aim | at most | found | |\n|---|---:|---:|---|")
    for what, bound, value in reached:
        print(f"| {what} | {bound:g} | {value:.2f} | {'reached' if value <= bound else 'missed'} |")


if __name__ == "__main__":
    main()
