"""What verification needs of a runtime: the interface, and one value that describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from kerasport.weights import Array, Shape

Arrays: TypeAlias = tuple[Array, ...]


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


def tensor_infos(infos: Iterable[Mapping[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(info["name"], info["dtype"], tuple(info["shape"])) for info in infos)


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


@dataclass(frozen=True, kw_only=True)
class RuntimeKind:
    """A runtime as a value; the table of them is in `kerasport.verification.runtimes`.

    Attributes:
        name: the name by which targets refer to it.
        title: its name in sentences.
        backends: names of the backends that users can choose.
        default: the backends that run if none is chosen.
        open: opens the runtime; takes a function that reports what takes long, and `timeout`, the
            seconds after which it counts as hung.
        packages: module → distribution, of the Python packages that it needs besides Node.
        install: the command that installs them.
    """

    name: str
    title: str
    backends: tuple[str, ...]
    default: tuple[str, ...]
    open: Callable[..., Runtime]
    packages: Mapping[str, str] = field(default_factory=dict)
    install: str = ""
