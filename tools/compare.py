"""Random valid models of all layer families, converted to every target and compared with Keras.

    PYTHONPATH=src:tools:. python tools/compare.py --seed 1 --count 100

Each model is saved by Keras, loaded again and run; then it is converted to a layers-model, a graph-model and an ONNX
model, which TF.js (cpu and wasm) and ONNX Runtime run on the same inputs; numpy runs the graph of it. A model is
known by its seed and index: `--seed 1 --first 42 --count 1 --keep found` makes one again and keeps it.

The exit code is 1 where numbers differ, an output does not load or run, or a conversion ends in an error.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from tests import onnx_runtime

import kerasport
from kerasport.errors import KerasportError, UnsupportedModel, VerifyError
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.read import read
from kerasport.verification.runtimes.tfjs import Backend, Tfjs
from random_models.families import FAMILIES
from random_models.record import ALL, Recorded, quiet, record, recorded_in
from random_models.record import run as run_keras

Kind = Literal["agrees", "refused", "disputed", "different", "does not run", "error"]
DISPUTED = "Keras's backends disagree:"
FAULTS: tuple[Kind, ...] = ("different", "does not run", "error")
TARGETS = ("tfjs-layers", "tfjs-graph", "onnx")
TOOLS = Path(__file__).parent
RTOL, ATOL = 1e-4, 1e-5
MOVES = 30
"""Factor of the change of Keras's output for slightly changed inputs that a difference may have."""


@dataclass(frozen=True)
class Outcome:
    """What became of a model on one target."""

    model: str
    target: str
    kind: Kind
    why: str = ""
    reasons: tuple[str, ...] = ()  # of a refusal, one for each problem


@dataclass
class Comparison:
    """Compares models one after the other; Node starts once."""

    folder: Path
    tfjs: Tfjs
    again: bool = False  # whether what differs is run by the Keras of this process, too

    def outcomes(self, model: Recorded) -> Iterator[Outcome]:
        """What becomes of a model on each target, and of its graph in numpy."""
        lowered = True
        for target in TARGETS:
            outcome = self.outcome(model, target)
            lowered &= target == "tfjs-layers" or outcome.kind != "refused"
            yield outcome
        if lowered:
            yield self.guarded(model, "numpy", lambda: self.in_numpy(model))

    def outcome(self, model: Recorded, target: str) -> Outcome:
        """What becomes of a model on a target."""
        out = self.folder / ("out.onnx" if target == "onnx" else "out")
        try:
            return self.guarded(model, target, lambda: self.converted(model, target, out))
        finally:
            out.unlink(missing_ok=True) if target == "onnx" else shutil.rmtree(
                out, ignore_errors=True
            )

    def guarded(self, model: Recorded, target: str, work: Any) -> Outcome:
        """The outcome of work, in which anything may go wrong."""
        name = model.path.name
        try:
            why = work()
        except UnsupportedModel as error:
            reasons = tuple(
                f"{problem.class_name}: {generic(problem.reason)}" for problem in error.problems
            )
            return Outcome(name, target, "refused", str(error), reasons)
        except DoesNotRun as error:
            return Outcome(name, target, "does not run", str(error))
        except KerasportError as error:
            return Outcome(name, target, "error", f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001  (that is what is looked for)
            return Outcome(name, target, "error", traceback.format_exc())
        kind: Kind = (
            "agrees" if not why else "disputed" if why.startswith(DISPUTED) else "different"
        )
        return Outcome(name, target, kind, why)

    def converted(self, model: Recorded, target: str, out: Path) -> str:
        """Convert and run; where the numbers differ, says how."""
        kerasport.convert(model.path, out, to=target)
        for how in ("onnxruntime",) if target == "onnx" else get_args(Backend):
            try:
                if target == "onnx":
                    results: Any = onnx_runtime.run(out, model.feeds)
                else:
                    results = self.tfjs.run(out, model.feeds, backend=how, timeout=120).results
            except VerifyError as error:
                raise DoesNotRun(f"{how}: {error}") from None
            except Exception as error:
                if type(error).__module__.startswith("onnxruntime"):
                    raise DoesNotRun(f"{how}: {error}") from None
                raise
            if found := self.judged(model, results):
                return found if found.startswith(DISPUTED) else f"{how}: {found}"
        return ""

    def judged(self, model: Recorded, results: Sequence[Sequence[Any]]) -> str:
        """Where results differ, and whether they are those of the Keras backend of this process."""
        found = difference(model, results)
        if not found or not self.again:
            return found
        keras = importlib.import_module("keras")
        try:
            with quiet():
                loaded = keras.models.load_model(model.path, compile=False)
                outputs = tuple(run_keras(keras, loaded, feed) for feed in model.feeds)
        except Exception as error:  # noqa: BLE001  (a layer of another backend, say)
            return (
                f"{found} (the Keras of this environment does not run it: {type(error).__name__})"
            )
        return (
            found if difference(replace(model, outputs=outputs), results) else f"{DISPUTED} {found}"
        )

    def in_numpy(self, model: Recorded) -> str:
        """Run the graph of a model in numpy."""
        with read(model.path) as source:
            graph = lower(source)
        with np.errstate(all="ignore"):
            results = [graph.run(*map(onnx_runtime.fed, feed)) for feed in model.feeds]
        return self.judged(model, results)


class DoesNotRun(Exception):
    """A converted model that its runtime does not load or run."""


def difference(model: Recorded, results: Sequence[Sequence[Any]]) -> str:
    """Where the results are not those of Keras, or nothing.

    What is allowed is 1e-4 of the largest number of an output and 1e-5, or some times as much as Keras's own output
    moves where its inputs and weights move by a millionth.
    """
    for feed, (expected, got, noise) in enumerate(
        zip(model.outputs, results, model.noise, strict=True)
    ):
        if len(expected) != len(got):
            return f"feed {feed}: {len(got)} outputs, expected {len(expected)}"
        for index, (wanted, made, moved) in enumerate(zip(expected, got, noise, strict=True)):
            where = f"feed {feed}, output {index}"
            if made.shape != wanted.shape:
                return f"{where}: the shape is {made.shape}, expected {wanted.shape}"
            a, b = np.asarray(made, "float64"), np.asarray(wanted, "float64")
            with np.errstate(invalid="ignore"):
                apart = np.abs(a - b)
                same = (a == b) | (np.isnan(a) & np.isnan(b))
                scale = np.abs(b[np.isfinite(b)]).max(initial=0)
                wrong = ~same & ~(apart <= ATOL + RTOL * scale + MOVES * moved)
            if wrong.any():
                at = tuple(map(int, np.argwhere(wrong)[0]))
                return (
                    f"{where}: {wrong.sum()} of {wrong.size} differ; at {at} is {a[at]:g}, "
                    f"expected {b[at]:g}"
                )
    return ""


def generic(reason: str) -> str:
    """A reason without the names and numbers of one model."""
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"'[^']*'", "'…'", reason))[:160]


@dataclass
class Run:
    """What is asked of the command line, and the models that it makes."""

    options: argparse.Namespace
    discarded: int = 0

    @cached_property
    def folder(self) -> Path:
        kept = self.options.models or self.options.keep
        if kept:
            kept.mkdir(parents=True, exist_ok=True)
            return Path(kept)
        return Path(tempfile.mkdtemp(prefix="compare-"))

    def models(self) -> Iterator[Recorded]:
        """Models, one after the other."""
        o = self.options
        if o.models:
            yield from islice(recorded_in(o.models), o.first, o.first + o.count)
            return
        families = o.families or list(FAMILIES if o.writer == "tf_keras" else ALL)
        if o.python:
            yield from self.written_elsewhere(families)
            return
        keras = importlib.import_module(o.writer)
        for index in range(o.first, o.first + o.count):
            made = record(keras, o.seed, index, families, self.folder)
            self.discarded += made is None
            if made is not None:
                yield made

    def written_elsewhere(self, families: Sequence[str]) -> Iterator[Recorded]:
        """Models that another Python writes, whose Keras runs on what is installed there."""
        o = self.options
        command = [
            o.python,
            "-m",
            "random_models",
            self.folder,
            "--keras",
            o.writer,
            "--seed",
            o.seed,
        ]
        command += ["--first", o.first, "--count", o.count, "--families", *families]
        environment = os.environ | {"PYTHONPATH": str(TOOLS), "KERAS_BACKEND": o.backend}
        subprocess.run([*map(str, command)], check=True, env=environment)
        self.discarded = o.count
        for model in recorded_in(self.folder):
            self.discarded -= 1
            yield model

    def forget(self, model: Recorded, *, fault: bool) -> None:
        """Remove a model that need not be kept."""
        if self.options.models or (self.options.keep and (fault or self.options.keep_all)):
            return
        for path in self.folder.glob(f"{model.path.stem}.*"):
            path.unlink()


def report(outcomes: Sequence[Outcome], models: int, discarded: int) -> str:
    """Counts by target and outcome, and the reasons of refusals by how often they were given."""
    lines = [f"{models} models ({discarded} more that Keras rejects)"]
    counts = Counter((outcome.target, outcome.kind) for outcome in outcomes)
    lines += [
        f"{target:12}" + "".join(f"{counts[target, kind]:6} {kind}" for kind in get_args(Kind))
        for target in (*TARGETS, "numpy")
    ]
    for target in TARGETS:
        reasons = Counter(
            r for o in outcomes if o.target == target for r in dict.fromkeys(o.reasons)
        )
        lines += [
            f"\nrefusals of {target}:",
            *(f"{count:6} {reason}" for reason, count in reasons.most_common()),
        ]
    return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="compare.py", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random models")
    parser.add_argument("--count", type=int, default=100, help="how many models")
    parser.add_argument("--first", type=int, default=0, help="index of the first model")
    parser.add_argument(
        "--families", nargs="+", choices=sorted(ALL), help="what to draw layers from; all otherwise"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep models with faults there, and their numbers"
    )
    parser.add_argument("--keep-all", action="store_true", help="keep the others, too")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="compare the models kept there; make none"
    )
    parser.add_argument(
        "--writer", choices=("keras", "tf_keras"), default="keras", help="the Keras that saves"
    )
    parser.add_argument("--python", help="the Python whose Keras saves; this one otherwise")
    parser.add_argument("--backend", default="tensorflow", help="of the Keras of that Python")
    return parser


def main(given: Sequence[str] | None = None) -> int:
    """Compare, print what differs at once and the counts at the end."""
    run = Run(arguments().parse_args(given))
    outcomes: list[Outcome] = []
    models = 0
    with tempfile.TemporaryDirectory(prefix="compare-") as folder, Tfjs() as tfjs:
        comparison = Comparison(
            Path(folder), tfjs, again=bool(run.options.python or run.options.models)
        )
        for model in run.models():
            models += 1
            made = list(comparison.outcomes(model))
            outcomes += made
            for outcome in made:
                if outcome.kind in (*FAULTS, "disputed"):
                    print(
                        f"{outcome.model} {outcome.target}: {outcome.kind}: {outcome.why}",
                        flush=True,
                    )
            run.forget(
                model, fault=any(outcome.kind not in ("agrees", "refused") for outcome in made)
            )
    print(report(outcomes, models, run.discarded))
    return int(any(outcome.kind in FAULTS for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
