"""What runs a converted model: TF.js, or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from kerasport.model import Array
from kerasport.verification.tfjs import Run


class Runtime(Protocol):
    """Runs models, and ends what it started when it is left."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
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
        """The outputs of a model for each feed, and those of the layers asked for."""

    def describe(self, model: Path, *, timeout: float | None = None) -> Mapping[str, Any]:
        """What the loaded model tells of its `inputs`, `outputs` and `layers`."""
