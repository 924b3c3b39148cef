"""What this installation of kerasport can do, and what the rest would need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from kerasport.diagnosis.probe import Environment, Package
from kerasport.errors import VerifyError
from kerasport.targets import TARGETS
from kerasport.verification.references.original import find_keras
from kerasport.verification.runtimes import RUNTIMES, node


def _optional() -> dict[str, str]:
    """Module → distribution, of the packages that only some targets and runtimes need."""
    modules: dict[str, str] = {}
    for target in TARGETS.values():
        if target.extra is not None:
            modules |= target.extra.packages
    for kind in RUNTIMES.values():
        modules |= kind.packages
    return modules


@dataclass(frozen=True)
class Ability:
    """Something that kerasport can do, or could with other packages."""

    name: str
    possible: bool
    reason: str = ""  # with what, or why not and what to install


def own_packages() -> tuple[Package, ...]:
    """The optional packages in the environment of kerasport, Node, and TF.js in the cache."""
    return (*(_extra(module, name) for module, name in _optional().items()), _node(), _tfjs())


def _extra(module: str, name: str) -> Package:
    if util.find_spec(module) is None:
        return Package(name)
    try:
        return Package(name, metadata.version(name), "untried")
    except metadata.PackageNotFoundError:  # onnxruntime-gpu and others
        return Package(name, "", "untried")


def _node() -> Package:
    try:
        executable = node.find()
    except VerifyError as error:
        return Package("Node", error=str(error))
    identified = dict(filter(None, [node.identify(str(executable))]))
    return Package("Node", identified.get(executable, ""), "works", str(executable))


def _tfjs() -> Package:
    version = node.version(node.TFJS)
    folder = _cached()
    if folder is None:
        return Package("TF.js", version, "absent", "the first verify installs it with npm")
    return Package("TF.js", version, "works", f"cached in {folder}")


def _cached() -> Path | None:
    folder = node.packages_folder()
    return folder if folder.is_dir() else None


def abilities(
    packages: tuple[Package, ...], found: Environment, writer: str = "", needs: str = ""
) -> Iterator[Ability]:
    """What kerasport can do with these packages and the Keras of an environment.

    Args:
        packages: the result of `own_packages`.
        found: the environment whose Keras runs original models.
        writer: version of the Keras that wrote the file to convert; empty without a file.
        needs: the only Keras that reads the file, if there is just one.
    """
    own = {package.name: package for package in packages}
    keras, why_not = _keras(found, writer, needs)
    families = {target.family: target for target in TARGETS.values()}
    for family, target in families.items():
        lacking = _lacking(own, target.extra.packages, target.extra.install) if target.extra else ""
        yield Ability(f"convert to {family}", not lacking, lacking)
    for family, target in families.items():
        if target.runtime:
            kind = RUNTIMES[target.runtime]
            lacking = _lacking(own, kind.packages, kind.install) or (
                "" if kind.packages else own["Node"].error
            )
            yield _verify(f"verify {family} models", keras, [why_not, lacking])


def _lacking(own: Mapping[str, Package], packages: Mapping[str, str], install: str) -> str:
    """Which packages are not installed, and how to install them; empty if all are."""
    names = [name for name in packages.values() if own[name].state == "absent"]
    return f"{' and '.join(names)} is not installed; {install}" if names else ""


def _verify(name: str, keras: str, lacking: list[str]) -> Ability:
    reasons = ". ".join(filter(None, lacking))
    return Ability(name, not reasons, reasons or f"with {keras}")


def _keras(found: Environment, writer: str, needs: str) -> tuple[str, str]:
    """The Keras that runs the original, or why there is none."""
    try:
        keras = find_keras(writer, found.installed, needs=needs)
    except VerifyError as error:
        return "", str(error)
    package = found.packages[keras.module]
    here = f"{keras}, --python {keras.python}" if keras.python else str(keras)
    return (
        here,
        f"{keras.module} {keras.version} cannot be imported" if package.state == "fails" else "",
    )
