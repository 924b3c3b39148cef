"""What is installed, whether it works together, and which ways into the browser are open for a file."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerasport.diagnosis.advice import LEGACY, advice_on, legacy_keras
from kerasport.diagnosis.probe import Environment, Package, ProbeError, environment
from kerasport.diagnosis.routes import KERASPORT, Route, routes_of
from kerasport.errors import KerasportError, VerifyError
from kerasport.verification import node

NAMES = {"works": "works", "fails": "FAILS", "absent": "not installed", "untried": ""}


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` found."""

    python: str  # the version
    executable: str
    packages: tuple[Package, ...]
    node: str  # the version, empty where there is none that is new enough
    legacy_keras: str  # whether TF_USE_LEGACY_KERAS is set, and what that changes
    healthy: bool  # whether all that is installed works, and together
    source: str  # the file that was asked about, if any
    writer: str  # the Keras that wrote it
    routes: tuple[Route, ...]
    advice: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether kerasport can take the file to the browser; without a file, whether all that is installed works."""
        if self.source:
            return any(route.open and route.by == KERASPORT for route in self.routes)
        return self.healthy

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON takes it."""
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _lines(self) -> Iterator[str]:
        yield f"Python {self.python} ({self.executable})"
        for package in self.packages:
            told = package.error or package.detail
            words = f"{package.name:13}{package.version or '-':10}{NAMES[package.state]}{told and f': {told}'}"
            yield f"  {words}".rstrip()
        yield f"  {'node':13}{self.node or '-':10}{'' if self.node else 'not installed'}".rstrip()
        yield self.legacy_keras
        if self.source:
            yield f"{self.source}: written by Keras {self.writer or '(of unknown version)'}"
        for route in self.routes:
            yield f"  {'open' if route.open else 'closed':7}{route.name}{route.reason and f': {route.reason}'}"
            if route.command:
                yield f"         {route.command}"
        yield from (f"advice: {line}" for line in self.advice)


def diagnose(source: Path | None, weights: Path | None, python: str | None, timeout: float) -> Diagnosis:
    """What is installed beside a Python, and the routes for a file.

    Raises:
        ReadError: the file is no model.
        KerasportError: the Python does not answer.
    """
    try:
        found = environment(python or sys.executable, timeout)
    except ProbeError as error:
        raise KerasportError(f"{python or sys.executable}: does not answer as Python does: {str(error)[:80]}") from None
    writer, routes = routes_of(source, weights, found) if source else ("", ())
    advice = list(advice_on(found, os.environ))
    version, without = _node()
    return Diagnosis(
        python=found.python,
        executable=found.executable,
        packages=tuple(found.packages.values()),
        node=version,
        legacy_keras=legacy_keras(found, os.environ.get(LEGACY)),
        healthy=not any(broken for _, broken in advice),
        source="" if source is None else str(source),
        writer=writer,
        routes=routes,
        advice=tuple(dict.fromkeys([*_first(routes), *(line for line, _ in advice), *without])),
    )


def _first(routes: tuple[Route, ...]) -> Iterator[str]:
    """The best of the open routes: those of kerasport come first."""
    best = next((route for route in routes if route.open), None)
    if best is not None:
        yield f"take the route {best.name}: {best.command}"
    elif routes:
        yield "no route is open as it is; the lines of the closed ones say what would open them"


def _node() -> tuple[str, tuple[str, ...]]:
    """The version of Node, or what is lost without it."""
    try:
        path = node.find()
    except VerifyError as error:
        return "", (f"only kerasport verify needs Node: {error}",)
    identified: Mapping[Path, str] = dict(filter(None, [node.identify(str(path))]))
    return identified.get(path, ""), ()


__all__ = ["Diagnosis", "Environment", "Package", "Route", "diagnose"]
