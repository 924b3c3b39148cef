"""What is installed beside a Python, and whether it can be imported: asked of it in processes of their own.

An import can fail, crash or hang, and that of TensorFlow takes seconds; none of it may happen in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["works", "fails", "absent", "untried"]

# Module → the distributions that bring it.
DISTRIBUTIONS: Mapping[str, Sequence[str]] = {
    "keras": ("keras", "keras-nightly"),
    "tf_keras": ("tf_keras", "tf-keras", "tf_keras-nightly", "tf-keras-nightly"),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel", "tensorflow-gpu",
                   "tf-nightly", "tf-nightly-cpu"),
    "tensorflowjs": ("tensorflowjs",),
    "jax": ("jax",),
    "torch": ("torch",),
    "tf2onnx": ("tf2onnx",),
    "numpy": ("numpy",),
}  # fmt: skip
TRIED = ("keras", "tf_keras", "tensorflow", "tensorflowjs")

MARK = "kerasport-doctor:"  # what is imported may print as well
# The working directory is left out, where a file of the same name would be taken for a package.
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
    behind = importlib.import_module(module.keras.Model.__module__.split(".")[0])
    detail = behind.__name__ + " " + behind.__version__
print("kerasport-doctor:" + json.dumps([str(getattr(module, "__version__", "")), detail]))
"""


@dataclass(frozen=True)
class Package:
    """A package, and what came of importing it."""

    name: str
    version: str = ""
    state: State = "absent"
    detail: str = ""  # of Keras, its backend; of TensorFlow, what its `tf.keras` is
    error: str = ""


@dataclass(frozen=True)
class Environment:
    """A Python and what is installed beside it."""

    python: str  # the version
    executable: str
    packages: Mapping[str, Package]

    def version(self, name: str) -> tuple[int, ...]:
        """The first numbers of a version, none where the package is not there."""
        parts = self.packages[name].version.split(".")[:2]
        return tuple(int(part) for part in parts if part.isdecimal())

    def works(self, name: str) -> bool:
        """Whether a package was imported."""
        return self.packages[name].state == "works"


class ProbeError(Exception):
    """A Python did not answer; the message says why."""


def environment(python: str, timeout: float) -> Environment:
    """What is installed beside that Python.

    Raises:
        ProbeError: it is no Python, or does not answer.
    """
    version, executable, found = ask(python, LISTING, json.dumps(dict(DISTRIBUTIONS)), timeout)
    installed = [name for name in TRIED if name in found]
    with ThreadPoolExecutor(4) as pool:
        imported = pool.map(lambda name: _imported(python, name, found[name], timeout), installed)
        tried = {package.name: package for package in imported}
    packages = {
        name: tried.get(name) or Package(name, found.get(name, ""), "untried" if name in found else "absent")
        for name in DISTRIBUTIONS
    }
    return Environment(version, executable, packages)


def _imported(python: str, name: str, version: str, timeout: float) -> Package:
    try:
        _, detail = ask(python, IMPORT, name, timeout)
    except ProbeError as error:
        return Package(name, version, "fails", error=str(error))
    return Package(name, version, "works", detail)


def ask(python: str, script: str, argument: str, timeout: float) -> Any:
    """The answer of a script that another Python runs.

    Raises:
        ProbeError: there is none; the message is the last line that the script left.
    """
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603  (the user's own Python)
            [python, "-c", START + script, argument],
            env={**os.environ, **quiet},
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
    # an error of several lines begins where the traceback has no indentation any more
    raised = [line for line in errors.splitlines() if line[:1].isalpha() and "Error" in line.partition(":")[0]]
    return (raised[-1] if raised else lines[-1] if lines else f"exit code {code}")[:300]
