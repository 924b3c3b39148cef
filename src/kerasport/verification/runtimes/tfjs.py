"""Run converted models in TF.js, in a Node process that answers JSON lines."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, final

import numpy as np

from kerasport.errors import VerifyError
from kerasport.verification.runtimes import node
from kerasport.weights import Array, Shape

if TYPE_CHECKING:
    from typing_extensions import Self

Backend: TypeAlias = Literal["cpu", "wasm"]
Arrays: TypeAlias = tuple[Array, ...]
WireTensor: TypeAlias = Mapping[str, Any]
"""An array as JSON: dtype, shape, and base64 of its little-endian bytes, or a list of strings."""

DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?"}
"""dtype in TF.js → dtype of its bytes in numpy."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of the loaded model."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class Run:
    """Outputs of a model for each feed, and outputs of the requested layers."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    results: tuple[Arrays, ...]
    layers: tuple[Mapping[str, Arrays], ...]


class NodeRuntime:
    """Runs models in Node, for one caller at a time.

    Node starts with the first call. If it dies or hangs, that call fails and the next one starts a
    new process. `timeout` is the default number of seconds after which Node counts as hung.
    """

    entry: ClassVar[str] = node.TFJS

    def __init__(self, report: node.Report = node.tell, *, timeout: float = 600) -> None:
        self._report = report
        self._timeout = timeout
        self._worker: Worker | None = None
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the Node process."""
        if self._worker:
            self._worker.close()
        self._worker = None

    def _exchange(self, line: str, timeout: float | None) -> bytes:
        self._worker = self._worker or Worker(node.find(), node.worker(self._report, self.entry))
        try:
            return self._worker.ask(line.encode(), self._timeout if timeout is None else timeout)
        except BaseException:
            # after an interrupt, too: a late answer would be read as that to the next request
            self.close()
            raise


@final
class Tfjs(NodeRuntime):
    """TF.js in Node."""

    def run(
        self,
        model: Path,
        feeds: Sequence[Sequence[Array]],
        *,
        backend: Backend,
        layers: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Run:
        """The outputs of a model for each feed, which is one batch of its inputs in order.

        Args:
            model: A model.json, or the directory that contains it.
            feeds: Arrays of floats, integers, bools or strings; they become float32, int32, bool or
                string.
            backend: The backend of TF.js.
            layers: Top-level layers of a layers-model whose first outputs to return as well.
            timeout: Seconds after which Node counts as hung.

        Raises:
            VerifyError: TF.js cannot load or run the model, or does not answer.
        """
        answer = self._ask(
            model,
            timeout,
            method="run",
            backend=backend,
            feeds=[[encode(array) for array in feed] for feed in feeds],
            layers=list(layers),
        )
        return Run(
            inputs=tensor_infos(answer["inputs"]),
            outputs=tensor_infos(answer["outputs"]),
            results=tuple(map(decode_all, answer["results"])),
            layers=tuple(
                {name: decode_all(tensors) for name, tensors in named.items()}
                for named in answer["layers"]
            ),
        )

    def time(
        self,
        model: Path,
        feed: Sequence[Array],
        *,
        backend: Backend,
        repeats: int = 20,
        timeout: float | None = None,
    ) -> tuple[float, ...]:
        """Milliseconds of each run, after a few runs to warm up; arguments as in `run`."""
        feeds = [[encode(array) for array in feed]]
        answer = self._ask(
            model, timeout, method="time", backend=backend, feeds=feeds, repeats=repeats
        )
        return tuple(answer["milliseconds"])

    def describe(self, model: Path, *, timeout: float | None = None) -> Mapping[str, Any]:
        """Describe a model that TF.js has loaded.

        The keys are `format`, `inputs`, `outputs`, `layers` (names), `weights` (each with
        `name`, `dtype`, `shape` and `trainable`), the numbers of `trainable` and `nonTrainable`
        weights and, of a compiled model, `optimizer` (`className` and `config`) and `loss`.
        """
        return self._ask(model, timeout, method="describe")

    def _ask(self, model: Path, timeout: float | None, **request: Any) -> dict[str, Any]:
        path = Path(model).absolute()
        path = path / "model.json" if path.is_dir() else path
        question = {"id": next(self._ids), "model": str(path), **request}
        answer: dict[str, Any] = json.loads(self._exchange(json.dumps(question), timeout))
        assert answer["id"] == question["id"], "answers come in the order of the requests"
        if "error" in answer:
            raise VerifyError(f"TF.js cannot {request['method']} {path}: {answer['error']}")
        return answer


class Worker:
    """A Node process that answers every line with a line."""

    def __init__(self, executable: Path, script: Path) -> None:
        # a file, not a pipe: it is read only at the end, and a full pipe would block Node
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603
            [executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._thread = Thread()

    def ask(self, line: bytes, timeout: float) -> bytes:
        """The answer to a line.

        Raises:
            VerifyError: Node dies, or does not answer in time.
        """
        answers = SimpleQueue[bytes]()
        # pipes have no timeout; the thread that waits for them ends with the process
        self._thread = Thread(target=self._exchange, args=(line, answers), daemon=True)
        self._thread.start()
        try:
            answer = answers.get(timeout=timeout)
        except Empty:
            raise VerifyError(
                f"Node did not answer in {timeout:g} seconds; one cause is a model.json that "
                "refers to a layer "
                "it does not contain. If the model needs more time, set a larger --timeout"
            ) from None
        if not answer.endswith(b"\n"):
            raise VerifyError(f"Node crashed{self._last_lines()}")
        return answer

    def _exchange(self, line: bytes, answers: SimpleQueue[bytes]) -> None:
        assert self._process.stdin, "made with pipes"
        assert self._process.stdout, "made with pipes"
        answer = b""
        with suppress(OSError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        answers.put(answer)

    def _last_lines(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return "".join(f"\n  {line}" for line in lines[-20:])

    def close(self) -> None:
        """Kill the process: a hung worker does not answer a shutdown request."""
        self._process.kill()
        self._process.wait()
        if self._thread.is_alive():
            self._thread.join()
        # an interrupted write may have left data in the buffer, which cannot be flushed any more
        with suppress(OSError):
            self._process.__exit__(None, None, None)
        self._log.close()


def tensor_infos(infos: Iterable[Mapping[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(info["name"], info["dtype"], tuple(info["shape"])) for info in infos)


def encode(array: Array) -> WireTensor:
    dtype = tfjs_dtype(array)
    if dtype == "string":
        return {
            "dtype": dtype,
            "shape": array.shape,
            "data": json.dumps(array.reshape(-1).tolist()),
        }
    with np.errstate(over="ignore"):
        values = array.astype(DTYPES[dtype])
    if dtype == "int32" and not np.array_equal(values, array):
        raise VerifyError(
            f"integers in TF.js have 32 bits; these range from {array.min()} to {array.max()}"
        )
    data = base64.b64encode(values.tobytes()).decode()
    return {"dtype": dtype, "shape": values.shape, "data": data}


def tfjs_dtype(array: Array) -> str:
    # by name: the kind of bfloat16 and float8 is "V"
    name = array.dtype.name
    if name == "bool":
        return "bool"
    if name.startswith(("int", "uint")):
        return "int32"
    if name.startswith(("float", "bfloat")):
        return "float32"
    if name.startswith("str") or name == "object":
        return "string"
    raise VerifyError(f"TF.js has no dtype {name}")


def decode_all(tensors: Iterable[WireTensor]) -> Arrays:
    return tuple(map(decode, tensors))


def decode(tensor: WireTensor) -> Array:
    if tensor["dtype"] == "string":
        texts: Array = np.array(json.loads(tensor["data"]), object).reshape(tensor["shape"])
        return texts
    data = base64.b64decode(tensor["data"])
    array: Array = np.frombuffer(data, DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return array
