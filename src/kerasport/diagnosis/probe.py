"""List the packages of a Python environment, and import each of them in a separate process.

An import can fail, crash or hang, and that of TensorFlow takes seconds. So no import happens in
this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from kerasport.errors import VerifyError
from kerasport.verification.references.keras_runner import BACKENDS, MODULES
from kerasport.verification.references.original import Installed, find_backend

State = Literal["works", "fails", "absent", "untried"]

# Module → the distributions that install it.
DISTRIBUTIONS: Mapping[str, Sequence[str]] = {
    "keras": ("keras", "keras-nightly"),
    "tf_keras": ("tf_keras", "tf-keras", "tf_keras-nightly", "tf-keras-nightly"),
    "tensorflow": (
        "tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel",
        "tensorflow-gpu", "tf-nightly", "tf-nightly-cpu",
    ),
    "tensorflowjs": ("tensorflowjs",),
    "jax": ("jax",),
    "torch": ("torch",),
    "tf2onnx": ("tf2onnx",),
    "numpy": ("numpy",),
}  # fmt: skip
TRIED = ("keras", "tf_keras", "tensorflow", "tensorflowjs")

MARK = "kerasport-doctor:"  # begins the line with the answer; imported packages may print as well
# Without the working directory, where a file named like a package would be imported in its place.
START = """
import sys
sys.path[:] = [path for path in sys.path if path]
import importlib, json
"""
LISTING = """
try:
    from importlib.metadata import PackageNotFoundError, version
except ImportError:  # Python 3.7
    from importlib_metadata import PackageNotFoundError, version
found = {}
for module, names in json.loads(sys.argv[1]).items():
    for name in names:
        try:
            found[module] = version(name)
            break
        except PackageNotFoundError:
            pass
print("kerasport-doctor:" + json.dumps([sys.version.split()[0], sys.executable, found]))
"""
IMPORT = """
name = sys.argv[1]
module = importlib.import_module(name)
detail = ""
if name == "keras" and hasattr(module, "backend"):
    detail = getattr(module.backend, "backend", str)()
if name == "tensorflow":
    package = importlib.import_module(module.keras.Model.__module__.split(".")[0])
    detail = package.__name__ + " " + package.__version__
print("kerasport-doctor:" + json.dumps([str(getattr(module, "__version__", "")), detail]))
"""


@dataclass(frozen=True)
class Package:
    """A package, and the result of importing it."""

    name: str
    version: str = ""
    state: State = "absent"
    detail: str = ""  # the backend of Keras; the package that `tf.keras` is
    error: str = ""


@dataclass(frozen=True)
class Environment:
    """A Python and the packages of its environment."""

    python: str  # the version
    executable: str
    packages: Mapping[str, Package]

    def version(self, name: str) -> tuple[int, ...]:
        """Major and minor version of a package; empty if it is not installed."""
        parts = self.packages[name].version.split(".")[:2]
        return tuple(int(part) for part in parts if part.isdecimal())

    def works(self, name: str) -> bool:
        """Whether a package can be imported."""
        return self.packages[name].state == "works"

    @property
    def installed(self) -> Installed:
        """The Keras modules and backends, as verification chooses among them."""
        versions = {
            name: self.packages[name].version for name in MODULES if self.packages[name].version
        }
        backends = [name for name in BACKENDS if self.packages[name].version]
        elsewhere = "" if self.executable == sys.executable else self.executable
        return Installed(versions, backends, elsewhere)


class ProbeError(Exception):
    """A Python did not answer; the message says why."""


def environment(python: str, timeout: float) -> Environment:
    """The packages in the environment of that Python.

    Raises:
        ProbeError: it is not a Python, or does not answer.
    """
    version, executable, found = ask(python, LISTING, json.dumps(dict(DISTRIBUTIONS)), timeout)
    packages = {
        name: Package(name, found.get(name, ""), "untried" if name in found else "absent")
        for name in DISTRIBUTIONS
    }
    backend = _backend(Environment(version, executable, packages).installed)
    with ThreadPoolExecutor(4) as pool:
        wanted = [name for name in TRIED if name in found]
        tried = pool.map(
            lambda name: _imported(python, name, found[name], timeout, backend), wanted
        )
        packages |= {package.name: package for package in tried}
    return Environment(version, executable, packages)


def _backend(there: Installed) -> str:
    """The backend to import Keras with, as verification chooses it; empty if the user chose one."""
    if os.environ.get("KERAS_BACKEND"):
        return ""
    try:
        return find_backend(there)
    except VerifyError:
        return ""


def _imported(python: str, name: str, version: str, timeout: float, backend: str = "") -> Package:
    variables = {"KERAS_BACKEND": backend} if backend and name == "keras" else {}
    try:
        _, detail = ask(python, IMPORT, name, timeout, variables)
    except ProbeError as error:
        return Package(name, version, "fails", error=str(error))
    return Package(name, version, "works", detail)


def ask(
    python: str,
    script: str,
    argument: str,
    timeout: float,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """The answer of a script that another Python runs.

    Raises:
        ProbeError: there is none; the message is the last line that the script printed.
    """
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(  # noqa: S603  (the user's own Python)
            [python, "-c", START + script, argument],
            env={**os.environ, **quiet, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer in {timeout:g} seconds") from None
    except OSError as error:
        raise ProbeError(f"cannot be run ({error.strerror or error})") from None
    printed = done.stdout.decode(errors="replace").splitlines()
    answer = next((line for line in reversed(printed) if line.startswith(MARK)), None)
    if done.returncode == 0 and answer is not None:
        return json.loads(answer.removeprefix(MARK))
    raise ProbeError(_last_words(done.returncode, done.stderr.decode(errors="replace")))


def _last_words(code: int, errors: str) -> str:
    if code < 0 and sys.platform != "win32":
        return f"crashed with signal {-code}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    # a message of several lines begins after the indented lines of the traceback
    raised = [
        line
        for line in errors.splitlines()
        if line[:1].isalpha() and "Error" in line.partition(":")[0]
    ]
    last = raised[-1:] or lines[-1:] or [f"exit code {code}"]
    return last[0][:300]
