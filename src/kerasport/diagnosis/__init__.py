"""Diagnose an installation: its packages, whether they work together, and the routes for a file."""

from __future__ import annotations

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
from kerasport.report import Viewed
from kerasport.report.records import program_version
from kerasport.report.view import Fact, Facts, Headline, Item, Listing, Prose, Table, View, present

STATES = {"works": "works", "fails": "FAILS", "absent": "not installed", "untried": "installed"}


@dataclass(frozen=True)
class Diagnosis(Viewed):
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
        """Whether kerasport can convert the file; without a file, whether all packages work."""
        if self.source:
            return any(route.open and route.by == KERASPORT for route in self.routes)
        return self.healthy

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {**asdict(self), "node": self.node, "ok": self.ok}

    def view(self) -> View:
        """The diagnosis as blocks."""
        can = tuple(Fact(ability.name, _answer(ability)) for ability in self.abilities)
        legacy = Prose(self.legacy_keras) if self.legacy_keras else None
        written = (
            f"written by {program_version(self.writer)}"
            if self.writer
            else "written by an unknown version of Keras"
        )
        return present(
            self._headline(),
            _packages(f"kerasport {self.kerasport}", self.own),
            Facts(can, "What it can do"),
            _packages(f"Python {self.python} ({self.executable})", self.packages),
            legacy,
            Listing(f"Ways for {self.source} ({written})", tuple(map(_way, self.routes))),
            Listing("Advice", tuple(Item(text=line) for line in self.advice)),
        )

    def _headline(self) -> Headline:
        if self.source:
            can = "can" if self.ok else "cannot"
            return Headline(f"kerasport {can} convert {self.source}", "good" if self.ok else "bad")
        if self.healthy:
            return Headline("All installed packages work", "good")
        return Headline("Some installed packages do not work together", "bad")


def _packages(title: str, packages: tuple[Package, ...]) -> Table:
    rows = tuple(
        (
            package.name,
            package.version or "-",
            STATES[package.state],
            package.error or package.detail,
        )
        for package in packages
    )
    bad = frozenset(i for i, package in enumerate(packages) if package.state == "fails")
    return Table(title, ("package", "version", "state", ""), rows, bad=bad)


def _answer(ability: Ability) -> str:
    answer = "yes" if ability.possible else "no"
    return f"{answer}, {ability.reason}" if ability.reason else answer


def _way(route: Route) -> Item:
    return Item(
        f"{route.name}: {'open' if route.open else 'closed'}", route.reason, command=route.command
    )


def diagnose(
    source: Path | None, weights: Path | None, python: str | None, timeout: float
) -> Diagnosis:
    """Examine kerasport's installation, the environment of a Python, and the routes for a file.

    Raises:
        ReadError: the file is not a model.
        KerasportError: the Python does not run.
    """
    try:
        found = environment(python or sys.executable, timeout)
    except ProbeError as error:
        raise KerasportError(
            f"{python or sys.executable}: is not a Python that runs: {str(error)[:80]}"
        ) from None
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
        yield "no route is available; each route lists what it needs"


__all__ = ["Ability", "Diagnosis", "Environment", "Package", "Route", "diagnose"]
