"""Run ONNX models in ONNX Runtime: in Python, and as WebAssembly in Node, as in a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import numpy as np

from kerasport.errors import VerifyError
from kerasport.ir.dtypes import INTEGERS
from kerasport.targets.onnx import EXTRA
from kerasport.verification.runtime import Arrays, Run, RuntimeKind, TensorInfo
from kerasport.verification.runtimes import node
from kerasport.verification.runtimes.wire import decode_all, encode
from kerasport.verification.runtimes.worker import NodeRuntime
from kerasport.weights import Array

PYTHON, WEB = "onnxruntime", "onnxruntime-web"
TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
    **{f"tensor({kind})": getattr(np, kind) for kind in INTEGERS},
}
"""Type of an input in ONNX Runtime → dtype in numpy."""


@final
class Onnx(NodeRuntime):
    """ONNX Runtime."""

    scripts = node.Scripts(
        ("run_onnx.js", "stdout.js", "parent.js", "onnx.js"),
        "ONNX Runtime Web",
        WEB,
        optional=True,
    )

    def run(
        self,
        model: Path,
        feeds: Sequence[Sequence[Array]],
        *,
        backend: str,
        layers: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Run:
        """The outputs of a model for each feed, which is one batch of its inputs in order.

        Raises:
            VerifyError: ONNX Runtime is not installed, or cannot load or run the model.
        """
        if layers:
            raise VerifyError("an ONNX model has no layers")
        return (
            self._in_node(model, feeds, timeout)
            if backend == WEB
            else self._in_python(model, feeds)
        )

    def describe(self, model: Path, *, timeout: float | None = None) -> Mapping[str, Any]:
        """Inputs and outputs of a model; an ONNX model has no layers."""
        del timeout
        session = opened(model)
        rounded = "kerasport.quantized" in session.get_modelmeta().custom_metadata_map
        return {
            "inputs": infos(session.get_inputs()),
            "outputs": infos(session.get_outputs()),
            "layers": [],
            "quantized": rounded,
        }

    def _in_python(self, model: Path, feeds: Sequence[Sequence[Array]]) -> Run:
        session = opened(model)
        inputs_info = session.get_inputs()
        results: list[Arrays] = []
        for feed in feeds:
            pairs = zip(inputs_info, feed, strict=True)
            arrays: dict[str, Array] = {
                info.name: array.astype(TYPES[info.type]) for info, array in pairs
            }
            with translate_errors(model):
                results.append(tuple(session.run(None, arrays)))
        inputs, outputs = map(_described, (inputs_info, session.get_outputs()))
        return Run(inputs, outputs, tuple(results), ())

    def _in_node(self, model: Path, feeds: Sequence[Sequence[Array]], timeout: float | None) -> Run:
        session = opened(model)
        question = {
            "model": str(Path(model).absolute()),
            "method": "run",
            "feeds": [_encoded(feed, session.get_inputs()) for feed in feeds],
        }
        answer = json.loads(self._exchange(json.dumps(question), timeout))
        if "error" in answer:
            raise VerifyError(f"onnxruntime-web cannot run {model}: {answer['error']}")
        inputs, outputs = map(_described, (session.get_inputs(), session.get_outputs()))
        return Run(inputs, outputs, tuple(map(decode_all, answer["results"])), ())


def _described(ports: Sequence[Any]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(**info) for info in infos(ports))


@contextmanager
def translate_errors(model: Path) -> Iterator[None]:
    """Turn errors of ONNX Runtime into `VerifyError`s."""
    try:
        yield
    except Exception as error:
        raise VerifyError(f"ONNX Runtime cannot run {model}: {error}") from error


def opened(model: Path) -> Any:
    """Load the model in ONNX Runtime.

    Raises:
        VerifyError: ONNX Runtime is not installed, or cannot load it.
    """
    if not Path(model).is_file():
        raise VerifyError(
            f"{model}: no such ONNX file; create it with kerasport convert SRC {model}"
        )
    if find_spec("onnxruntime") is None:
        raise VerifyError(
            f"verify runs ONNX models in onnxruntime, which is not installed; {EXTRA.install}"
        )
    import onnxruntime  # noqa: PLC0415  (needed here alone)

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, not logged
    with translate_errors(model):
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _encoded(feed: Sequence[Array], inputs: Sequence[Any]) -> list[Any]:
    """Encode arrays for the worker, in the element types of the inputs."""
    pairs = zip(feed, inputs, strict=True)
    return [encode(array, dtype_name(port.type)) for array, port in pairs]


def dtype_name(kind: str) -> str:
    """The name of an element type of ONNX Runtime: `float32` for `tensor(float)`."""
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return names.get(kind, kind.removeprefix("tensor(").removesuffix(")"))


def infos(ends: Sequence[Any]) -> list[dict[str, Any]]:
    """Inputs or outputs as dicts, with the dtype names of TF.js."""
    return [
        {"name": end.name, "dtype": dtype_name(end.type), "shape": _shape(end.shape)}
        for end in ends
    ]


def _shape(sizes: Sequence[Any]) -> tuple[int | None, ...]:
    """A shape without the names of open sizes."""
    return tuple(size if isinstance(size, int) else None for size in sizes)


KIND = RuntimeKind(
    name="onnxruntime",
    title="ONNX Runtime",
    backends=(PYTHON, WEB),
    default=(PYTHON,),
    open=Onnx,
    packages={"onnxruntime": "onnxruntime"},
    install=EXTRA.install,
)
