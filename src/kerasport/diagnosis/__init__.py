"""Diagnose an installation: its packages, whether they work together, and what can be done with a file."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kerasport
from kerasport.diagnosis.abilities import Ability, abilities, own_packages
from kerasport.diagnosis.advice import LEGACY, advice_on, legacy_keras
from kerasport.diagnosis.probe import Environment, Package, ProbeError, environment
from kerasport.diagnosis.routes import KERASPORT, Route, routes_of
from kerasport.errors import KerasportError

STATES = {"works": "works", "fails": "FAILS", "absent": "not installed", "untried": "installed"}


@dataclass(frozen=True)
class Diagnosis:
    """The result of `doctor`.

    Attributes:
        kerasport: version of kerasport.
        own: optional packages of kerasport, Node, and TF.js in the cache, with their versions.
        abilities: what kerasport can do with them.
        python: version of the Python that was examined.
        executable: path of that Python.
        packages: Keras and related packages in its environment, with their versions and errors.
        legacy_keras: what TF_USE_LEGACY_KERAS changes there; empty if nothing.
        healthy: whether every installed package works, and all work together.
        source: path of the file that was asked about; empty without one.
        writer: version of the Keras that wrote that file; empty if it is not known.
        routes: ways to get the file into a browser, open or closed, with their commands.
        advice: what to do about what does not work, one sentence each.
    """

    kerasport: str
    own: tuple[Package, ...]
    abilities: tuple[Ability, ...]
    python: str
    executable: str
    packages: tuple[Package, ...]
    legacy_keras: str
    healthy: bool
    source: str
    writer: str
    routes: tuple[Route, ...]
    advice: tuple[str, ...]

    @property
    def node(self) -> str:
        """Version of Node; empty if there is none that is new enough."""
        return next(package.version for package in self.own if package.name == "Node")

    @property
    def ok(self) -> bool:
        """Whether kerasport can convert the file; without a file, whether every installed package works."""
        if self.source:
            return any(route.open and route.by == KERASPORT for route in self.routes)
        return self.healthy

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {**asdict(self), "node": self.node, "ok": self.ok}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _lines(self) -> Iterator[str]:
        yield f"kerasport {self.kerasport}"
        yield from map(_line, self.own)
        for ability in self.abilities:
            answer = "yes" if ability.possible else "no"
            yield f"  {ability.name:21}{answer}{ability.reason and f', {ability.reason}'}"
        yield f"Python {self.python} ({self.executable})"
        yield from map(_line, self.packages)
        if self.legacy_keras:
            yield self.legacy_keras
        if self.source:
            yield f"{self.source}: written by Keras {self.writer or '(unknown version)'}"
        for route in self.routes:
            yield f"  {'open' if route.open else 'closed':7}{route.name}{route.reason and f': {route.reason}'}"
            if route.command:
                yield f"         {route.command}"
        yield from (f"advice: {line}" for line in self.advice)


def _line(package: Package) -> str:
    detail = package.error or package.detail
    line = f"{package.name:13}{package.version or '-':10}{STATES[package.state]}{detail and f': {detail}'}"
    return f"  {line}".rstrip()


def diagnose(source: Path | None, weights: Path | None, python: str | None, timeout: float) -> Diagnosis:
    """Examine kerasport's installation, the environment of a Python, and the routes for a file.

    Raises:
        ReadError: the file is not a model.
        KerasportError: the Python does not run.
    """
    try:
        found = environment(python or sys.executable, timeout)
    except ProbeError as error:
        raise KerasportError(f"{python or sys.executable}: is not a Python that runs: {str(error)[:80]}") from None
    writer, needs, routes = routes_of(source, weights, found) if source else ("", "", ())
    advice = list(advice_on(found, os.environ))
    own = own_packages()
    return Diagnosis(
        kerasport=kerasport.__version__,
        own=own,
        abilities=tuple(abilities(own, found, writer, needs)),
        python=found.python,
        executable=found.executable,
        packages=tuple(found.packages.values()),
        legacy_keras=legacy_keras(found, os.environ.get(LEGACY)),
        healthy=not any(broken for _, broken in advice),
        source="" if source is None else str(source),
        writer=writer,
        routes=routes,
        advice=tuple(dict.fromkeys([*_first(routes), *(line for line, _ in advice)])),
    )


def _first(routes: tuple[Route, ...]) -> Iterator[str]:
    """The best open route; those of kerasport come first."""
    best = next((route for route in routes if route.open), None)
    if best is not None:
        yield f"use {best.name}: {best.command}"
    elif routes:
        yield "no route is open; the closed ones say what they need"


__all__ = ["Ability", "Diagnosis", "Environment", "Package", "Route", "diagnose"]
