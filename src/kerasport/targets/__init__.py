"""From a model to files: the targets, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from kerasport.budget import limited
from kerasport.errors import OptionError, Problem, TooLargeError
from kerasport.frontends.keras.model import KerasModel
from kerasport.targets import output
from kerasport.targets.plan import DEFAULTS, OPSET, UNROLL_LIMIT, Options, Plan, write

__all__ = [
    "AUTO", "ONNX", "OPSET", "TARGETS", "UNROLL_LIMIT", "Options", "check_place", "check_target", "planned", "written",
]  # fmt: skip

AUTO = "auto"
ONNX = "onnx"

TARGETS: Mapping[str, str] = {
    "tfjs-layers": "kerasport.targets.tfjs.layers",
    "tfjs-graph": "kerasport.targets.tfjs.graph",
    ONNX: "kerasport.targets.onnx",
}
"""Name of a target → the module that plans it, loaded when somebody asks for it."""


def check_target(to: str, *, training: bool = False) -> None:
    """Raises `OptionError` where there is no such target, or it is to be trained on and cannot be."""
    if to not in (AUTO, *TARGETS):
        raise OptionError(f"unknown target {to!r}; the targets are {AUTO}, {', '.join(TARGETS)}")
    if training and to not in (AUTO, "tfjs-layers"):
        raise OptionError(
            f"a {to} model cannot be trained; use tfjs-layers, or omit trainable and optimizer"
        )


def check_place(
    to: str, out: Path, *, force: bool, sources: Iterable[Path] = (), training: bool = False
) -> str:
    """Which target is meant, by the suffix of the output where nothing is said; its place has to be free.

    Raises:
        OptionError: there is no such target, it is to be trained on and cannot be, or is not written to such a place.
        OutputExistsError: the output is there already.
    """
    output.check_kind(out)
    is_file = out.suffix == f".{ONNX}"
    to = ONNX if is_file and to == AUTO else to
    check_target(to, training=training)
    if is_file and to == ONNX:
        import_module(TARGETS[ONNX]).check_installed()
        import_module("kerasport.targets.onnx.place").check_free(out, force=force, sources=sources)
        return ONNX
    if is_file or to == ONNX:
        raise OptionError(
            f"{out}: an ONNX model must be written to a file that ends in .onnx, and no other format can be"
        )
    if out.suffix == ".json":
        raise OptionError(
            f"{out}: a TF.js model is a directory that contains a model.json; pass a directory, such as web_model"
        )
    output.check_free(out, force=force, sources=sources)
    return to


def written(
    plan: Plan, out: Path, *, shard_size: int, force: bool = False, progress: Callable[[int], None]
) -> tuple[tuple[str, ...], int, Mapping[str, float]]:
    """Write a plan to its place, where it is complete or absent.

    Gives the names of the files, the number of their bytes, and the largest error of each weight that was rounded.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or another process was faster.
    """
    if out.suffix == f".{ONNX}":
        made: tuple[tuple[str, ...], int, Mapping[str, float]]
        made = import_module("kerasport.targets.onnx.file").write(
            plan, out, force=force, progress=progress
        )
        return made
    with output.replacing(out, force=force) as folder:
        return write(plan, folder, shard_size=shard_size, progress=progress)


def planned(model: KerasModel, to: str = AUTO, options: Options = DEFAULTS) -> Plan:
    """What becomes of a model as a target.

    Raises:
        OptionError: there is no such target.
    """
    if to == AUTO:
        return _chosen(model, options)
    check_target(to)
    with limited(options.max_size) as budget:
        plan: Plan = import_module(TARGETS[to]).plan(model, options)
        if plan.problems:
            return plan
        try:
            budget.check_output(plan.nbytes)
        except TooLargeError as error:
            return replace(
                plan,
                problems=(
                    Problem(model.name, model.class_name, error.reason, remedy=error.remedy),
                ),
            )
    return plan


def _chosen(model: KerasModel, options: Options) -> Plan:
    """A layers-model where every layer has one, else a graph-model, else the one of which less is missing.

    A layers-model with the companion comes before a graph-model, for it can be trained on.
    """
    layers = planned(model, "tfjs-layers", options)
    if not layers.problems or options.trainable or options.optimizer:
        return layers
    graph = planned(model, "tfjs-graph", options)
    if graph.problems:
        best, other = sorted((layers, graph), key=lambda plan: len(plan.problems))
        note = f"as a {other.target}, {len(other.problems)} part(s) of the model would be refused"
        return replace(best, notes=(*best.notes, note))
    first, *others = layers.problems
    more = f", and {len(others)} more part(s)" if others else ""
    # what would do, at the end of some reasons too, is to ask for the graph-model that it is
    why = replace(first, reason=first.reason.partition("; use --to ")[0], remedy="")
    note = (
        f"written as a graph-model, because a layers-model does not support all of it ({why}{more})"
    )
    return replace(graph, notes=(note, *graph.notes))
