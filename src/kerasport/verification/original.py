"""The original model, run by the Keras that is installed, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from kerasport.errors import VerifyError
from kerasport.masks import passes_what_3_16_stops
from kerasport.model import LayerSpec, Model
from kerasport.read.dialects import major
from kerasport.releases import MASKS_STOP, release_of
from kerasport.verification import arrays
from kerasport.verification.arrays import Arrays
from kerasport.verification.keras_runner import Request

BACKENDS = ("tensorflow", "jax", "torch")

ROUNDED = re.compile("float16|_from_")
"""Dtype policies that round to fewer bits than TF.js does: halves, and the quantised, "int8_from_float32"."""

# The child finds the modules that its parent finds, however that was started.
START = (
    "import sys; sys.path[:] = sys.argv[1].split('\\n'); "
    "from kerasport.verification.keras_runner import end_with_parent, main; end_with_parent(); main(sys.argv[2])"
)

# Graphics cards round float32 products to fewer bits.
ON_CPU = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "KERAS_TORCH_DEVICE": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Keras:
    """A Keras that is installed, and what it computes with."""

    module: str  # "keras" or "tf_keras"
    version: str
    backend: str

    @property
    def is_3(self) -> bool:
        """Whether it is Keras 3, which changed formats and some meanings."""
        return major(self.version) > 2

    def __str__(self) -> str:
        return f"{'Keras' if self.module == 'keras' else self.module} {self.version} ({self.backend})"


@dataclass(frozen=True)
class KerasRun:
    """What the original made of each batch, and its layers of the last one."""

    results: tuple[Arrays, ...]
    layers: Mapping[str, tuple[Arrays, ...]]  # name → outputs of each of its calls
    seconds: float


@dataclass(frozen=True)
class Original:
    """A Keras model on disk, and the Keras to run it with."""

    path: Path
    weights: Path | None
    keras: Keras
    old: bool  # a file of Keras 1 or 2
    request: Request  # but for the paths and layers
    notes: tuple[str, ...]
    timeout: float  # seconds after which Keras counts as hung

    def run(self, feeds: Sequence[Arrays], layers: Sequence[str] = ()) -> KerasRun:
        """What Keras computes of each batch of inputs.

        Raises:
            VerifyError: Keras cannot load or run the model.
        """
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kerasport-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary)
            self._request(folder, layers).write(folder)
            arrays.save(folder / "inputs.npz", feeds)
            calls = self._ask(folder)["calls"]
            outputs: dict[str, tuple[Arrays, ...]] = {}
            for name, made in zip(calls, arrays.load(folder / "layers.npz"), strict=True):
                outputs[name] = (*outputs.get(name, ()), made)
            return KerasRun(arrays.load(folder / "outputs.npz"), outputs, time.monotonic() - started)

    def _request(self, folder: Path, layers: Sequence[str]) -> Request:
        model = loadable(self.path, folder, self.keras)
        weights = None if self.weights is None else str(loadable_weights(self.weights, folder))
        return replace(self.request, model=str(model), weights=weights, layers=tuple(layers))

    def _ask(self, folder: Path) -> Any:
        command = [sys.executable, "-c", START, "\n".join(sys.path), str(folder)]
        # the child ends when nobody holds the other end of its stdin, however this process died
        watched, held = os.pipe()
        try:
            child = subprocess.run(  # noqa: S603
                command,
                env={**os.environ, **ON_CPU, "KERAS_BACKEND": self.keras.backend},
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                timeout=self.timeout,
            )
        except subprocess.TimeoutExpired:
            raise VerifyError(
                f"{self.keras} gave no answer on {self.path} in {self.timeout:g} seconds; if the model only needs more "
                "time, give more with --timeout"
            ) from None
        finally:
            os.close(watched)
            os.close(held)
        answer = folder / "answer.json"
        if not answer.is_file():
            raise VerifyError(f"{self.keras} died on {self.path}: {_last_words(child)}")
        told = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in told:
            remedy = "; pip install tf_keras, which reads such files" if self.old and self.keras.is_3 else ""
            raise VerifyError(f"{self.keras} cannot run {self.path}: {_in_short(told['error'])}{remedy}")
        return told


CAUSE = "Exception encountered: "  # before it, Keras repeats the config


def _last_words(child: subprocess.CompletedProcess[bytes]) -> str:
    lines = child.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {child.returncode}"


def _in_short(error: str, limit: int = 300) -> str:
    """What an exception says, on one line; of one that Keras raised for another, what that says."""
    line = " ".join(error.rpartition(CAUSE)[2].split())
    return line if len(line) <= limit else f"{line[:limit]} …"


# ------------------------------------------------------------------------------------------- which Keras


def find_original(model: Model, path: Path, weights: Path | None, timeout: float) -> Original:
    """The model on disk with the Keras that fits it.

    Raises:
        VerifyError: no such Keras is installed, or the model holds code.
    """
    refuse_code(model)
    keras = find_keras(model.writer)
    old_sigmoid = keras.is_3 and has_keras2_hard_sigmoid(model)
    rounded = rounded_policies(model)
    notes = []
    if old_sigmoid:
        notes.append(
            f"the file is of Keras {model.writer}, whose hard_sigmoid is clip(0.2·x + 0.5, 0, 1); Keras 3 reads it as "
            "clip(x/6 + 0.5, 0, 1), so it was given the old formula for this comparison. tf_keras needs no such help"
        )
    since, installed = (release >= MASKS_STOP for release in (model.release, release_of(keras.version)))
    if keras.is_3 and since is not installed and passes_what_3_16_stops(model):
        notes.append(
            f"the file is of Keras {model.writer or 'an unknown version'}, the numbers are of Keras {keras.version}; "
            "since 3.16 recurrent layers and TimeDistributed stop masks. Where the numbers differ, install the Keras "
            "that wrote the file"
        )
    if rounded:
        notes.append(
            f"the model computes in {', '.join(rounded)}; Keras was run without that rounding, which the converted "
            "model does not do"
        )
    request = Request(keras.module, "", keras2_hard_sigmoid=old_sigmoid, unrounded=bool(rounded))
    return Original(path, weights, keras, major(model.writer) < 3, request, tuple(notes), timeout)


def refuse_code(model: Model) -> None:
    """Raises `VerifyError` where Keras would have to run Python code that comes with the file, or that it lacks."""
    for path, spec in model.walk():
        if spec.class_name == "Lambda" or (isinstance(spec, LayerSpec) and spec.custom):
            raise VerifyError(f"layer {path!r}: {spec.class_name} is Python code, which is not run here")


def has_keras2_hard_sigmoid(model: Model) -> bool:
    """Whether the model has activations that Keras 3 reads with another meaning."""
    return any("hard_sigmoid_keras2" in map(str, spec.config.values()) for _, spec in model.walk())


def rounded_policies(model: Model) -> list[str]:
    """The dtype policies of layers that round to fewer bits than TF.js has."""
    layers = (spec for _, spec in model.walk() if isinstance(spec, LayerSpec))
    found = {str(layer.config.get("dtype")) for layer in layers if layer.class_name != "InputLayer"}
    return sorted(filter(ROUNDED.search, found))


def find_keras(writer: str) -> Keras:
    """The installed Keras that means what the writer of the file meant.

    Raises:
        VerifyError: there is none.
    """
    old = major(writer) < 3
    versions = {module: version for module in ("keras", "tf_keras") if (version := version_of(module))}
    # Keras 3 reads files of Keras 2, but gives some of them another meaning
    for module in ("tf_keras", "keras") if old else ("keras", "tf_keras"):
        if module in versions and (old or major(versions[module]) > 2):
            backend = "tensorflow" if major(versions[module]) < 3 else find_backend()
            return Keras(module, versions[module], backend)
    found = "".join(f"; {module} {version} does not read it" for module, version in versions.items())
    wanted = "tf_keras" if old else "keras"
    backend = "" if old or any(map(importlib.util.find_spec, BACKENDS)) else " jax"
    raise VerifyError(f"a file of Keras {writer or 3} needs Keras to run{found}; pip install {wanted}{backend}")


def version_of(module: str) -> str:
    """The version of an installed module, told without importing it; empty where there is none."""
    if importlib.util.find_spec(module) is None:
        return ""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "3"  # a source tree


def find_backend() -> str:
    """What Keras 3 is to compute with: what the user chose, or else the first backend that is installed.

    Raises:
        VerifyError: there is none.
    """
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    # Keras writes "tensorflow" into its configuration by itself, whether there is one or not
    for name in (configured_backend(), *BACKENDS):
        if name and importlib.util.find_spec(name):
            return name
    raise VerifyError("Keras has no backend here; pip install jax")


def configured_backend() -> str:
    """The backend in the user's keras.json."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", ""))
    except (OSError, ValueError, AttributeError):
        return ""


# --------------------------------------------------------------------------------- names that Keras expects


@contextmanager
def on_disk(source: Any) -> Iterator[Path]:
    """The path of a model; one in memory is saved first."""
    if isinstance(source, str | os.PathLike):
        yield Path(source)
        return
    if not callable(getattr(source, "save", None)):
        raise TypeError(f"expected a path or a Keras model, got {type(source).__name__}")
    with tempfile.TemporaryDirectory(prefix="kerasport-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "model.keras")
        source.save(path)
        yield path


def loadable(path: Path, folder: Path, keras: Keras) -> Path:
    """The model under a name by which Keras knows what it is."""
    if path.is_dir():
        return path.absolute() if keras.is_3 else zipped(path, folder / "model.keras")
    if zipfile.is_zipfile(path):
        return named(path, folder / "model.keras", ".keras")
    if h5py.is_hdf5(path):
        return named(path, folder / "model.h5", ".h5")
    return path.absolute()


def loadable_weights(path: Path, folder: Path) -> Path:
    """The weights under a name by which Keras knows whether they go by the names of layers, as in Keras 2."""
    if not h5py.is_hdf5(path):
        return path.absolute()
    with h5py.File(path, "r") as file:
        by_name = "layer_names" in file.attrs or "model_weights" in file
    if by_name and path.name.endswith(".weights.h5"):
        return named(path, folder / "by_name.h5")
    return named(path, folder / "model.weights.h5", ".h5" if by_name else ".weights.h5")


def named(path: Path, name: Path, suffix: str = "") -> Path:
    """The file itself where its name ends as it should, else a link or a copy."""
    if suffix and path.name.endswith(suffix):
        return path.absolute()
    try:
        name.symlink_to(path.absolute())
    except OSError:  # Windows lets not everybody make links
        shutil.copyfile(path, name)
    return name


def zipped(directory: Path, path: Path) -> Path:
    """The directory as the zip that Keras 2 reads."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(directory.rglob("*")):
            archive.write(file, file.relative_to(directory))
    return path
