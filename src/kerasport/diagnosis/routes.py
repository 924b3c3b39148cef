"""The ways to get a model file into the browser."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from kerasport.diagnosis.advice import FIRST_WITH_KERAS_3, tf_keras_for
from kerasport.diagnosis.probe import Environment
from kerasport.errors import MissingPackageError, Problem
from kerasport.frontends.keras.read.layers_model import is_layers_model, open_layers_model
from kerasport.ir.program import Program
from kerasport.releases import major
from kerasport.source import Opened, opened
from kerasport.targets import REPAIRED, TARGETS, Target, options_of, planned
from kerasport.verification.references.original import lacks_reader

KERASPORT, LEGACY, ONNX = "kerasport", "legacy", "onnx"
FIRST_WITH_ONNX = (3, 8)  # version of Keras
OUT = "web_model"


@dataclass(frozen=True)
class Route:
    """A way into the browser."""

    name: str
    by: str  # "kerasport", "legacy" or "onnx"
    open: bool
    command: str = ""  # what to run; for a closed route, what would open it, if known
    reason: str = ""


def routes_of(
    path: Path, weights: Path | None, found: Environment
) -> tuple[str, str, tuple[Route, ...]]:
    """The routes for a file.

    Returns the Keras version that wrote it, the only Keras that reads it (empty if there are
    several), and the routes.

    Raises:
        ReadError: it is not a model.
    """
    if is_layers_model(path):
        writer, routes = _of_layers_model(path)
        return writer, "", routes
    with opened(path, weights) as model:
        options = f" --weights {_quoted(weights)}" if weights else ""
        targets = list(TARGETS.values())
        if isinstance(model, Program):
            targets = [target for target in targets if not target.takes_layers]
        own = [_planned(model, target, _quoted(path), options) for target in targets]
        writer = model.writer
        # the other routes convert Keras models
        if isinstance(model, Program) or (path.is_dir() and (path / "saved_model.pb").is_file()):
            return writer, "", tuple(own)
        needs = lacks_reader(writer, path, model)
    return writer, needs, (*own, _legacy(path, writer, found, needs), _onnx(path, writer, found))


def _planned(model: Opened, target: Target, source: str, options: str) -> Route:
    try:
        target.check_installed()
        return _own(target, source, options, planned(model, [target]).problems)
    except MissingPackageError as error:
        reason, _, command = str(error).partition("; ")
        return Route(
            f"kerasport, {target.name}", KERASPORT, open=False, command=command, reason=reason
        )


def _own(target: Target, source: str, options: str, problems: tuple[Problem, ...]) -> Route:
    name = f"kerasport, {target.name}"
    if not problems:
        # the suffix names the target, and the first one is tried first without --to
        is_default = target.suffix or target is next(iter(TARGETS.values()))
        to = target.example if is_default else f"{target.example} --to {target.name}"
        return Route(
            name, KERASPORT, open=True, command=f"kerasport convert {source} {to}{options}"
        )
    listed = f"kerasport check {source} --to {target.name}{options}"
    reason = f"{_parts(problems)} not supported: {problems[0]}"
    return Route(name, KERASPORT, open=False, command=listed, reason=reason)


def _parts(problems: tuple[Problem, ...]) -> str:
    return f"{len(problems)} parts are" if len(problems) > 1 else "1 part is"


def _of_layers_model(path: Path) -> tuple[str, tuple[Route, ...]]:
    opened = open_layers_model(path)
    as_it_is = f"tf.loadLayersModel({opened.path.name!r})"
    if opened.native:
        return opened.version, (
            Route("as it is", KERASPORT, open=True, command=as_it_is, reason="TF.js loads it"),
        )
    assert REPAIRED.repairer is not None
    plan = REPAIRED.repairer.plan(opened, options_of([REPAIRED])[REPAIRED.name])
    right = not plan.problems and not REPAIRED.repairer.changes(opened, plan)
    if right:
        return opened.version, (
            Route("as it is", KERASPORT, open=True, command=as_it_is, reason="TF.js loads it"),
        )
    problems = plan.problems
    reason = (
        f"{_parts(problems)} not supported: {problems[0]}"
        if problems
        else "TF.js does not load it as it is"
    )
    command = f"kerasport repair {_quoted(opened.path)}"
    return opened.version, (
        Route("kerasport repair", KERASPORT, open=not problems, command=command, reason=reason),
    )


def _legacy(path: Path, writer: str, found: Environment, needs: str) -> Route:
    """The route through Keras 2 and the official converter; `needs` is that of `lacks_reader`."""
    name = "tf_keras, tensorflowjs"
    old = major(writer)
    if old >= 3:
        tensorflow = found.version("tensorflow")
        install = (
            f"pip install {tf_keras_for(tensorflow)}"
            if tensorflow >= FIRST_WITH_KERAS_3
            else "pip install tf_keras"
        )
        reason = (
            "Keras 2 cannot read files of Keras 3; train again with tf_keras, or with TensorFlow "
            "2.15 or older"
        )
        return Route(
            name,
            LEGACY,
            open=False,
            command=f"{install} && TF_USE_LEGACY_KERAS=1 python train.py",
            reason=reason,
        )
    if needs:
        reason = f"neither tf_keras nor Keras 3 can read this file, only {needs} can"
        return Route(name, LEGACY, open=False, reason=reason)
    is_hdf5 = path.is_file() and h5py.is_hdf5(path)
    convert = f"tensorflowjs_converter --input_format keras {{}} {OUT}"
    needed = ("tensorflowjs",) if is_hdf5 else ("tensorflowjs", "tf_keras")
    missing = [package for package in needed if not found.works(package)]
    if is_hdf5:
        command = convert.format(_quoted(path))
    else:
        load = (
            f'import tf_keras; tf_keras.models.load_model({json.dumps(str(path))}).save("model.h5")'
        )
        command = f"python -c {shlex.quote(load)} && {convert.format('model.h5')}"
    if missing:
        absent = [package for package in missing if found.packages[package].state == "absent"]
        reason = "; ".join(
            f"{package} {'is not installed' if package in absent else 'does not work'}"
            for package in missing
        )
        return Route(
            name,
            LEGACY,
            open=False,
            command=f"pip install {' '.join(missing)}" if absent else "",
            reason=reason,
        )
    reason = "it also writes options that TF.js ignores, so compare the numbers"
    return Route(name, LEGACY, open=True, command=command, reason=reason)


def _onnx(path: Path, writer: str, found: Environment) -> Route:
    """The ONNX export of Keras, for ONNX Runtime Web."""
    name = "Keras, ONNX"
    if major(writer) < 3:
        return Route(
            name,
            ONNX,
            open=False,
            reason=(
                "Keras exports ONNX since version 3.8, which may not read files of Keras 1 and 2"
            ),
        )
    lacking = list(_lacking_for_onnx(found))
    # Keras exports a model only after it was called, which loading does not do
    load = f"import keras; m = keras.saving.load_model({json.dumps(str(path))})"
    export = f'{load}; m(m.inputs); m.export("model.onnx", format="onnx")'
    if lacking:
        return Route(
            name,
            ONNX,
            open=False,
            command=f"pip install {' '.join(lacking)}",
            reason=f"needs {', '.join(lacking)}",
        )
    return Route(
        name, ONNX, open=True, command=f"KERAS_BACKEND=tensorflow python -c {shlex.quote(export)}"
    )


def _lacking_for_onnx(found: Environment) -> Iterator[str]:
    if found.version("keras") < FIRST_WITH_ONNX:
        yield '"keras>=3.8"'
    yield from (name for name in ("tensorflow", "tf2onnx") if not found.packages[name].version)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
