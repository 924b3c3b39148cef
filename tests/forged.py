"""Keras files forged by hand, and what must hold whatever is in them."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import ml_dtypes  # noqa: F401  (kerasport imports it when it meets a bfloat16; here, so that it does not under watch)
import numpy as np
import pytest

import kerasport
import kerasport.frontends.keras.read.dequantize
from kerasport.errors import InternalError, KerasportError
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import option_types
from kerasport.targets import planned

Json: TypeAlias = dict[str, Any]
Fill: TypeAlias = Callable[[Any], None]

ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "tests" / "recorded"
TARGETS = ("tfjs-layers", "tfjs-graph")

KERNEL = np.arange(12, dtype="f4").reshape(4, 3)
BIAS = np.arange(3, dtype="f4")


# ------------------------------------------------------------------------------------------ configs


def layer(
    class_name: str, name: str, *sources: Any, module: str = "keras.layers", **config: Any
) -> Json:
    """A layer as Keras 3 writes it, called once on `sources`: names of layers, or anything else."""
    made: Json = {
        "module": module,
        "class_name": class_name,
        "config": {"name": name, **config},
        "name": name,
    }
    return {
        **made,
        "inbound_nodes": [{"args": [list(map(tensor, sources))], "kwargs": {}}] if sources else [],
    }


def tensor(source: Any, node: Any = 0, index: Any = 0) -> Any:
    if not isinstance(source, str):
        return source
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": None, "keras_history": [source, node, index]},
    }


def given(name: str = "x", shape: Any = (None, 4), **config: Any) -> Json:
    return layer("InputLayer", name, **{"batch_shape": list(shape), "dtype": "float32", **config})


def dense(name: str = "dense", *sources: Any, units: Any = 3, **config: Any) -> Json:
    defaults = {
        "units": units,
        "activation": "linear",
        "use_bias": True,
        "dtype": "float32",
        "trainable": True,
    }
    return layer("Dense", name, *sources, **{**defaults, **config})


def sequential(*layers: Any, name: str = "model", **entry: Any) -> Json:
    config = {"name": name, "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": config, **entry}


def functional(
    *layers: Any, inputs: Any = "x", outputs: Any = "dense", name: str = "model", **entry: Any
) -> Json:
    ends = [[end, 0, 0] if isinstance(end, str) else end for end in (inputs, outputs)]
    config = {
        "name": name,
        "layers": list(layers),
        "input_layers": ends[0],
        "output_layers": ends[1],
    }
    return {"module": "keras", "class_name": "Functional", "config": config, **entry}


DENSE = sequential(given(), dense())


def text_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


# --------------------------------------------------------------------------------------------- HDF5


def dense_weights(file: Any) -> None:
    """What Keras 3 saves of `DENSE`."""
    file["layers/dense/vars/0"], file["layers/dense/vars/1"] = KERNEL, BIAS


def no_weights(file: Any) -> None:
    file.create_group("layers")


def hdf5(fill: Fill = dense_weights, **options: Any) -> bytes:
    """The bytes of an HDF5 file that `fill` has filled."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.h5"
        with h5py.File(path, "w", **options) as file:
            fill(file)
        return path.read_bytes()


def legacy(config: Any = DENSE, fill: Fill | None = None, version: str = "3.15.1") -> Fill:
    """Fills whole-model HDF5; `fill` is given the group of the weights."""

    def of_dense(weights: Any) -> None:
        weights.attrs["layer_names"] = [b"dense"]
        group = weights.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel", b"dense/bias"]
        group["dense/kernel"], group["dense/bias"] = KERNEL, BIAS

    def whole(file: Any) -> None:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        (fill or of_dense)(file.create_group("model_weights"))

    return whole


# ---------------------------------------------------------------------------------------------- zip


@dataclass(frozen=True)
class Member:
    """A member of a zip; `local` and `central` replace fields of its two headers."""

    name: str
    data: bytes
    method: int = zipfile.ZIP_STORED
    local: Mapping[str, int] = field(default_factory=dict)
    central: Mapping[str, int] = field(default_factory=dict)
    extra: bytes = b""  # of the central header


def zipped(members: Sequence[Member], **end: int) -> bytes:
    """A zip whose headers say what they are told to; `end` replaces fields of its last record."""
    body, directory = bytearray(), bytearray()
    for member in members:
        data = member.data
        if member.method == zipfile.ZIP_DEFLATED:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            data = packer.compress(data) + packer.flush()
        name, offset = member.name.encode(), len(body)
        said = {
            "flags": 0,
            "method": member.method,
            "crc": zlib.crc32(member.data),
            "stored": len(data),
            "size": len(member.data),
            "offset": offset,
        }
        near, far = {**said, **member.local}, {**said, **member.central}
        body += (
            struct.pack(
                "<4s5H3L2H",
                b"PK\3\4",
                20,
                near["flags"],
                near["method"],
                0,
                0x21,
                near["crc"],
                near["stored"],
                near["size"],
                len(name),
                0,
            )
            + name
            + data
        )
        directory += (
            struct.pack(
                "<4s6H3L5H2L",
                b"PK\1\2",
                20,
                20,
                far["flags"],
                far["method"],
                0,
                0x21,
                far["crc"],
                far["stored"],
                far["size"],
                len(name),
                len(member.extra),
                0,
                0,
                0,
                0,
                far["offset"],
            )
            + name
            + member.extra
        )
    said = {"count": len(members), "size": len(directory), "offset": len(body), **end}
    last = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, said["count"], said["count"], said["size"], said["offset"], 0
    )
    return bytes(body + directory + last)


def keras_members(config: Any = DENSE, weights: bytes | None = None) -> dict[str, bytes]:
    return {
        "metadata.json": text_of({"keras_version": "3.15.1"}),
        "config.json": text_of(config),
        "model.weights.h5": hdf5() if weights is None else weights,
    }


def keras(config: Any = DENSE, weights: bytes | None = None, **options: Any) -> bytes:
    """The bytes of a `.keras` file; `options` are those of zipfile."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, data in keras_members(config, weights).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unzipped(folder: Path, config: Any = DENSE, weights: bytes | None = None) -> Path:
    """The same as a directory."""
    folder.mkdir(exist_ok=True)
    for name, data in keras_members(config, weights).items():
        (folder / name).write_bytes(data)
    return folder


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# ----------------------------------------------------------------------------------- what must hold

FORBIDDEN = (
    "exec",
    "compile",
    "import",
    "marshal",
    "pickle",
    "socket",
    "subprocess",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "ctypes",
    "urllib",
    "http",
    "webbrowser",
    "code.",
)

_events: list[tuple[str, str]] | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is None:
        return
    if event.startswith(FORBIDDEN):
        _events.append((event, repr(arguments)[:200]))
    elif event == "open" and isinstance(arguments[0], str | bytes):
        _events.append((event, os.fsdecode(arguments[0])))


@contextmanager
def watched(*allowed: Path) -> Iterator[None]:
    """Fail if Python code is run or created, or a file outside of some directories is opened."""
    global _events  # noqa: PLW0603  (an audit hook can be set, and never be taken away)
    if _events is None and not _warm:
        _warm_up()
    heard: list[tuple[str, str]] = []
    _events = heard
    try:
        yield
    finally:
        _events = None
    # kerasport asks when this process started, and notes it next to an incomplete output
    began = (f"/proc/{os.getpid()}/stat", "/proc/sys/kernel/random/boot_id")
    roots = (*(str(path.resolve()) for path in allowed), *began)
    beyond = [
        heard
        for heard in heard
        if heard[0] != "open" or not os.path.realpath(heard[1]).startswith(roots)
    ]
    assert not beyond, f"it ran code, or opened other files: {beyond}"


_warm: list[bool] = []


def _warm_up() -> None:
    """What kerasport imports late is imported, since importing is running code."""
    sys.addaudithook(_hear)
    _warm.append(True)
    for encoding in (
        "utf-8-sig",
        "utf-16-le",
        "utf-16-be",
        "utf-16",
        "utf-32-le",
        "utf-32-be",
        "utf-32",
        "cp437",
    ):
        codecs.lookup(encoding)
    for cls in LAYERS.values():
        option_types(cls)
    with tempfile.TemporaryDirectory() as folder:
        for name in (
            "keras-3.15.1/functional.keras",
            "keras-3.15.1/int8.keras",
            "keras-2.15.0/functional.h5",
        ):
            for target in TARGETS:
                with kerasport.frontends.keras.read.read(RECORDED / name) as model:
                    planned(model, target)
        for target in TARGETS:
            kerasport.convert(
                put(Path(folder) / "m.keras", keras()), Path(folder) / target, to=target
            )


def fingerprint(folder: Path) -> dict[str, str]:
    """Everything in a directory, with its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
        if not path.is_fifo()
    }


def outcome(
    source: Path, *, weights: Path | None = None, to: str = "tfjs-layers"
) -> KerasportError | None:
    """How the conversion of a file ends: None where it works.

    Whatever is in the file, the conversion runs no code, opens only files next to it, changes
    nothing, and leaves only a complete output.
    """
    beside = source.parent
    out, temporary = beside.parent / f"{beside.name}-out", beside.parent / f"{beside.name}-tmp"
    shutil.rmtree(out, ignore_errors=True)
    temporary.mkdir(exist_ok=True)
    before, kept, error = fingerprint(beside), tempfile.tempdir, None
    tempfile.tempdir = str(temporary)
    try:
        with watched(beside, out.parent), pytest.MonkeyPatch.context() as patch:
            patch.chdir(temporary)
            kerasport.convert(source, out, weights=weights, to=to)
    except KerasportError as caught:
        error = caught
    finally:
        tempfile.tempdir = kept
    assert fingerprint(beside) == before, "the input was changed"
    assert not list(temporary.iterdir()), "something is left in the directory for temporary files"
    assert out.exists() == (error is None), "an output is there only where all went well"
    left = {path for path in beside.parent.iterdir() if path.name.startswith(".")}
    assert not left, f"half an output is left: {left}"
    if error is not None:
        check_message(error, source)
    return error


def check_message(error: KerasportError, source: Path) -> None:
    message = str(error)
    assert not isinstance(error, InternalError), message
    assert len(message) < 3000, f"a message of {len(message)} characters: {message[:500]}…"
    assert all(map(str.isprintable, message.split("\n"))), "a message that a terminal may obey"
    assert message.encode(), "a message that cannot be printed"


def refused(
    source: Path, match: str, *, weights: Path | None = None, to: str = "tfjs-layers"
) -> KerasportError:
    """Check that a file is refused, with a message that begins with the file and matches."""
    error = outcome(source, weights=weights, to=to)
    assert error is not None, "it was converted"
    with pytest.raises(type(error), match=match):
        raise error
    return error


# ------------------------------------------------------------------------------------------- limits

LIMITED = r"""
import json, pathlib, re, resource, sys, time
import kerasport, ml_dtypes, kerasport.frontends.keras.read.dequantize
from kerasport.errors import KerasportError
resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
source, out, weights, to = (argument or None for argument in sys.argv[1:5])
began, error = time.process_time(), None
try:
    kerasport.convert(source, out, weights=weights, to=to)
except KerasportError as caught:
    error = [type(caught).__name__, str(caught)[:2000]]
seconds = time.process_time() - began
# ru_maxrss would be that of the process that started this one
peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"error": error, "seconds": seconds, "peak": peak}))
"""


@dataclass(frozen=True)
class Cost:
    """What a conversion took, and how it ended."""

    error: tuple[str, str] | None
    seconds: float
    peak: float  # MB


def cost(source: Path, *, weights: Path | None = None, to: str = "tfjs-layers") -> Cost:
    """Convert a file in a process of its own, whose time and memory are limited and measured."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is measured as Linux does")
    with tempfile.TemporaryDirectory() as folder:
        arguments = [source, Path(folder) / "out", weights or "", to]
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": folder},
            check=False,
            # seconds that pass; those of the processor are limited and measured inside
            timeout=120,
        )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    said = json.loads(done.stdout)
    return Cost(said["error"] and tuple(said["error"]), said["seconds"], said["peak"])
