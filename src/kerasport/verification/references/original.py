"""Run the original model in an installed Keras, in a separate process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from kerasport.errors import VerifyError
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.layers import is_input
from kerasport.frontends.keras.masks import passes_what_3_16_stops
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.releases import major, release_of
from kerasport.verification.arrays import Arrays
from kerasport.verification.inputs import has_strings
from kerasport.verification.references import keras_runner
from kerasport.verification.references.keras_runner import MARK, Request, load_arrays, save_arrays

ROUNDED = re.compile("float16|_from_")
"""Dtype policies with less precision than TF.js: 16-bit floats, and quantized ones."""

# The module search path comes first: a child with this Python finds the same modules as its
# parent, however the parent was started. In another Python (an empty path) only the working
# directory is removed, where a file named like a package would be imported in its place.
START = """
import runpy, sys
_, paths, script, *arguments = sys.argv
sys.path[:] = paths.split("\\n") if paths else [path for path in sys.path if path]
sys.argv[1:] = arguments
runpy.run_path(script, run_name="__main__")
"""

OTHER_BACKENDS = ("numpy", "openvino")
"""Backends of Keras 3 that are used only if the user asks for them."""

LISTED = 60  # seconds in which another Python lists what is installed

# GPUs compute float32 products with less precision.
ON_CPU = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "KERAS_TORCH_DEVICE": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Keras:
    """An installed Keras and its backend."""

    module: str  # "keras" or "tf_keras"
    version: str
    backend: str
    python: str = ""  # the Python to run it in; empty for this one

    @property
    def is_3(self) -> bool:
        """Whether it is Keras 3, which changed file formats and the meaning of some options."""
        return major(self.version) > 2

    def __str__(self) -> str:
        return (
            f"{'Keras' if self.module == 'keras' else self.module} {self.version} ({self.backend})"
        )


@dataclass(frozen=True)
class KerasRun:
    """Outputs of the original for each batch, and outputs of its layers for the last batch."""

    results: tuple[Arrays, ...]
    layers: Mapping[str, tuple[Arrays, ...]]  # name → outputs of each of its calls
    seconds: float


@dataclass(frozen=True)
class Original:
    """A Keras model on disk, and the Keras that runs it."""

    path: Path
    weights: Path | None
    keras: Keras
    old: bool  # a file of Keras 1 or 2
    request: Request  # without the paths and layers
    notes: tuple[str, ...]
    timeout: float  # seconds

    def run(self, feeds: Sequence[Arrays], layers: Sequence[str] = ()) -> KerasRun:
        """Outputs of Keras for each batch of inputs.

        Raises:
            VerifyError: Keras cannot load or run the model, or does not answer in time.
        """
        started = time.monotonic()
        with tempfile.TemporaryDirectory(
            prefix="kerasport-", ignore_cleanup_errors=True
        ) as temporary:
            folder = Path(temporary)
            self._request(folder, layers).write(folder)
            save_arrays(folder / "inputs.npz", feeds)
            calls = self._ask(folder)["calls"]
            outputs: dict[str, tuple[Arrays, ...]] = {}
            for name, arrays in zip(calls, load_arrays(folder / "layers.npz"), strict=True):
                outputs[name] = (*outputs.get(name, ()), arrays)
            return KerasRun(
                load_arrays(folder / "outputs.npz"), outputs, time.monotonic() - started
            )

    def _request(self, folder: Path, layers: Sequence[str]) -> Request:
        model = loadable(self.path, folder, self.keras)
        weights = None if self.weights is None else str(loadable_weights(self.weights, folder))
        return replace(self.request, model=str(model), weights=weights, layers=tuple(layers))

    def _ask(self, folder: Path) -> Any:
        command = _command(self.keras.python, str(folder))
        # the child exits when this process closes the other end of its stdin, even by dying
        watched, held = os.pipe()
        try:
            child = subprocess.run(  # noqa: S603  (a Python that the user named, and our script)
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
                f"{self.keras} did not finish running {self.path} in {self.timeout:g} seconds; "
                "if the model needs more time, set a larger --timeout"
            ) from None
        finally:
            os.close(watched)
            os.close(held)
        answer = folder / "answer.json"
        if not answer.is_file():
            raise VerifyError(f"{self.keras} crashed while it ran {self.path}: {_last_line(child)}")
        response = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in response:
            remedy = (
                "; tf_keras may be able to: pip install tf_keras"
                if self.old and self.keras.is_3
                else ""
            )
            raise VerifyError(
                f"{self.keras} cannot run {self.path}: {_shortened(response['error'])}{remedy}"
            )
        return response


def _command(python: str, *arguments: str) -> list[str]:
    """The command that runs keras_runner.py in a Python, or in this one if `python` is empty."""
    script = str(Path(keras_runner.__file__).resolve())
    return [
        python or sys.executable,
        "-c",
        START,
        "" if python else "\n".join(sys.path),
        script,
        *arguments,
    ]


CAUSE = "Exception encountered: "  # Keras repeats the config before it


def _last_line(child: subprocess.CompletedProcess[bytes]) -> str:
    lines = child.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {child.returncode}"


def _shortened(error: str, limit: int = 300) -> str:
    """The message of an exception on one line, of the innermost one if Keras wrapped it."""
    line = " ".join(error.rpartition(CAUSE)[2].split())
    return line if len(line) <= limit else f"{line[:limit]} …"


# -------------------------------------------------------------------------------------- which Keras


@dataclass(frozen=True)
class Installed:
    """What a Python environment has: versions of the Keras modules, and the names of backends."""

    versions: Mapping[str, str]  # of "keras" and "tf_keras", where installed
    backends: Sequence[str]  # in the order of preference
    python: str = ""  # empty for the Python of this process

    @property
    def there(self) -> str:
        """Where that is, as part of a sentence."""
        return f" in {self.python}" if self.python else ""


def installed(python: str = "") -> Installed:
    """What is installed in this environment, or in that of another Python.

    Raises:
        VerifyError: the other Python does not run.
    """
    if not python:
        return Installed(**keras_runner.installed())
    try:
        child = subprocess.run(  # noqa: S603  (the user's own Python)
            _command(python),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=LISTED,
        )
        printed = child.stdout.decode(errors="replace").splitlines()
        answer = next(line for line in reversed(printed) if line.startswith(MARK))
        return Installed(**json.loads(answer.removeprefix(MARK)), python=python)
    except OSError as error:
        raise VerifyError(f"--python {python}: cannot be run ({error.strerror or error})") from None
    except subprocess.TimeoutExpired:
        raise VerifyError(f"--python {python}: no answer in {LISTED} seconds") from None
    except (StopIteration, ValueError):
        raise VerifyError(
            f"--python {python}: not a Python 3.8 or later with numpy; {_last_line(child)}"
        ) from None


def find_original(
    model: KerasModel, path: Path, weights: Path | None, timeout: float, python: str = ""
) -> Original:
    """Find an installed Keras that runs the model with its original meaning.

    Raises:
        VerifyError: no such Keras is installed, or the model contains code.
    """
    refuse_code(model)
    needs = lacks_reader(model.writer, path, model)
    keras = find_keras(model.writer, installed(python), strings=has_strings(model), needs=needs)
    old_sigmoid = keras.is_3 and has_keras2_hard_sigmoid(model)
    rounded = rounded_policies(model)
    notes = []
    if old_sigmoid:
        notes.append(
            f"Keras {model.writer} wrote the file; its hard_sigmoid is clip(0.2·x + 0.5, 0, 1). "
            "Keras 3 loads it as "
            "clip(x/6 + 0.5, 0, 1), so this comparison uses the old formula. tf_keras does not "
            "need that"
        )
    since = model.dialect.recurrent_masks_stop
    newer = Dialect.of(release_of(keras.version)).recurrent_masks_stop
    if keras.is_3 and since is not newer and passes_what_3_16_stops(model):
        notes.append(
            f"Keras {model.writer or 'of an unknown version'} wrote the file, and Keras "
            f"{keras.version} ran it; since "
            "3.16 recurrent layers and TimeDistributed do not pass masks on. If the numbers "
            "differ, install the Keras "
            "version that wrote the file"
        )
    if rounded:
        notes.append(
            f"the model computes in {', '.join(rounded)}; Keras ran it in float32, as the "
            "converted model does"
        )
    request = Request(keras.module, "", keras2_hard_sigmoid=old_sigmoid, unrounded=bool(rounded))
    return Original(path, weights, keras, major(model.writer) < 3, request, tuple(notes), timeout)


def refuse_code(model: KerasModel) -> None:
    """Raise `VerifyError` if the model contains Python code, or needs code that the file lacks."""
    for path, spec in model.walk():
        if spec.class_name == "Lambda" or (isinstance(spec, LayerSpec) and spec.custom):
            raise VerifyError(
                f"layer {path!r}: {spec.class_name} needs Python code, which verify never runs"
            )


def has_keras2_hard_sigmoid(model: KerasModel) -> bool:
    """Whether the model has a hard_sigmoid of Keras 2, which is another function in Keras 3."""
    return any("hard_sigmoid_keras2" in map(str, spec.config.values()) for _, spec in model.walk())


def rounded_policies(model: KerasModel) -> list[str]:
    """Dtype policies of layers that have less precision than TF.js."""
    layers = (spec for _, spec in model.walk() if isinstance(spec, LayerSpec))
    found = {str(layer.config.get("dtype")) for layer in layers if not is_input(layer)}
    return sorted(filter(ROUNDED.search, found))


def find_keras(writer: str, there: Installed, *, strings: bool = False, needs: str = "") -> Keras:
    """The installed Keras that loads a file with the meaning it had for its writer.

    Args:
        writer: version of the Keras that wrote the file.
        there: what is installed.
        strings: whether the model has strings, which Keras needs TensorFlow for.
        needs: the result of `lacks_reader`.

    Raises:
        VerifyError: no such Keras is installed.
    """
    old = major(writer) < 3
    if needs and major(there.versions.get("keras", "3")) > 2:
        raise VerifyError(
            f"neither Keras 3 nor tf_keras can read this file, only {needs} can; name its Python "
            "with --python"
        )
    # Keras 3 reads files of Keras 2, but some of them have another meaning there
    for module in ("tf_keras", "keras") if old else ("keras", "tf_keras"):
        version = there.versions.get(module)
        if version and (old or major(version) > 2):
            backend = "tensorflow" if major(version) < 3 else find_backend(there, strings=strings)
            return Keras(module, version, backend, there.python)
    found = " and ".join(f"{module} {version}" for module, version in there.versions.items())
    keras_3 = "keras" if there.backends else "keras jax"
    wanted = "tf_keras" if old else keras_3
    raise VerifyError(
        "verify runs the original model in Keras, but "
        f"{f'only {found} is' if found else 'Keras is not'} installed"
        f"{there.there}, and Keras {writer or 3} wrote this file; pip install {wanted}"
        f"{'' if there.python else OTHER_PYTHON}"
    )


OTHER_PYTHON = ", or name the Python of another environment with --python"


def lacks_reader(writer: str, path: Path, model: KerasModel) -> str:
    """The Keras that reads a file which neither Keras 3 nor tf_keras can; else empty.

    Measured with Keras 3.15 and tf_keras 2.21: both fail on layers of Keras 1, and on `.keras`
    files of functional models of Keras 2.12, whose config names a module that was moved in 2.13.
    """
    if major(writer) < 2:
        return f"Keras {writer}"
    if writer.startswith("2.12.") and model.kind == "functional" and zipfile.is_zipfile(path):
        return "TensorFlow 2.12"
    return ""


def find_backend(there: Installed, *, strings: bool = False) -> str:
    """The backend for Keras 3: the user's choice if it is installed, else the first that is.

    Raises:
        VerifyError: there is none, or not the one that was chosen.
    """
    if strings:
        if "tensorflow" in there.backends:
            return "tensorflow"
        raise VerifyError(
            "the model works with strings, for which Keras needs TensorFlow; it is not "
            f"installed{there.there}. "
            "Run: pip install tensorflow, or name the Python of another environment with --python"
        )
    available = there.backends
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen in (*available, *OTHER_BACKENDS):
        return str(chosen)
    if chosen and not there.python:  # a choice for this environment need not suit another
        raise VerifyError(
            f"KERAS_BACKEND is {chosen!r}, and no such backend is installed; {_offer(available)}"
        )
    # Keras writes "tensorflow" into keras.json by itself, whether it is installed or not
    for name in (configured_backend(), *available):
        if name in available:
            return name
    raise VerifyError(f"Keras has no backend{there.there}; pip install jax")


def _offer(available: Sequence[str]) -> str:
    if not available:
        return "no other is installed either; pip install jax"
    return f"available: {', '.join(available)}. Run: export KERAS_BACKEND={available[0]}"


def configured_backend() -> str:
    """The backend in the user's keras.json; empty if there is none."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", ""))
    except (OSError, ValueError, AttributeError):
        return ""


# ------------------------------------------------------------------------- names that Keras expects


def loadable(path: Path, folder: Path, keras: Keras) -> Path:
    """The model file under a name with the extension that Keras expects."""
    if path.is_dir():
        return path.absolute() if keras.is_3 else zipped(path, folder / "model.keras")
    if zipfile.is_zipfile(path):
        return named(path, folder / "model.keras", ".keras")
    if h5py.is_hdf5(path):
        return named(path, folder / "model.h5", ".h5")
    return path.absolute()


def loadable_weights(path: Path, folder: Path) -> Path:
    """The weights file under a name that determines its format: `.weights.h5`, or `.h5`."""
    if not h5py.is_hdf5(path):
        return path.absolute()
    with h5py.File(path, "r") as file:
        by_name = "layer_names" in file.attrs or "model_weights" in file
    if by_name and path.name.endswith(".weights.h5"):
        return named(path, folder / "by_name.h5")
    return named(path, folder / "model.weights.h5", ".h5" if by_name else ".weights.h5")


def named(path: Path, name: Path, suffix: str = "") -> Path:
    """The file itself if its name has the suffix, else a link to it or a copy of it."""
    if suffix and path.name.endswith(suffix):
        return path.absolute()
    try:
        name.symlink_to(path.absolute())
    except OSError:  # creating symlinks needs a privilege on Windows
        shutil.copyfile(path, name)
    return name


def zipped(directory: Path, path: Path) -> Path:
    """The directory as a zip, which Keras 2 needs."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(directory.rglob("*")):
            archive.write(file, file.relative_to(directory))
    return path
