"""The interface of the runtimes: TF.js and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from kerasport.verification.runtimes.tfjs import Run
from kerasport.weights import Array


class Runtime(Protocol):
    """Runs models; a context manager that ends the processes it started."""

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def run(
        self,
        model: Path,
        feeds: Sequence[Sequence[Array]],
        *,
        backend: Any,
        layers: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Run:
        """The outputs of a model for each feed, and the outputs of the given layers."""

    def describe(self, model: Path, *, timeout: float | None = None) -> Mapping[str, Any]:
        """The `inputs`, `outputs` and `layers` of the loaded model."""
