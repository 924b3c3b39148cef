"""Run converted models in TF.js, in a Node process that answers JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, final, get_args

from kerasport.errors import VerifyError
from kerasport.verification.runtime import Run, RuntimeKind, tensor_infos
from kerasport.verification.runtimes import node
from kerasport.verification.runtimes.wire import decode_all, decode_named, encode
from kerasport.verification.runtimes.worker import NodeRuntime
from kerasport.weights import Array

Backend: TypeAlias = Literal["cpu", "wasm"]


@final
class Tfjs(NodeRuntime):
    """TF.js in Node."""

    scripts = node.TFJS
    hang = "one cause is a model.json that refers to a layer it does not contain"

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
            feeds=[list(map(encode, feed)) for feed in feeds],
            layers=list(layers),
        )
        return Run(
            inputs=tensor_infos(answer["inputs"]),
            outputs=tensor_infos(answer["outputs"]),
            results=tuple(map(decode_all, answer["results"])),
            layers=tuple(map(decode_named, answer["layers"])),
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


KIND = RuntimeKind(
    name="tfjs",
    title="TF.js",
    backends=get_args(Backend),
    default=get_args(Backend),
    open=Tfjs,
)
