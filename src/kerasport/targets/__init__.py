"""From a model to files: the targets, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from kerasport.model import Model
from kerasport.targets.plan import DEFAULTS, UNROLL_LIMIT, Options, Plan

__all__ = ["AUTO", "TARGETS", "UNROLL_LIMIT", "Options", "check_target", "planned"]

AUTO = "auto"

TARGETS: Mapping[str, str] = {
    "tfjs-layers": "kerasport.targets.layers_model",
    "tfjs-graph": "kerasport.targets.graph_model",
}
"""Name of a target → the module that plans it, loaded when somebody asks for it."""


def check_target(to: str, *, training: bool = False) -> None:
    """Raises `ValueError` where there is no such target, or it is to be trained on and cannot be."""
    if to not in (AUTO, *TARGETS):
        raise ValueError(f"no such target: {to!r}; there are {AUTO}, {', '.join(TARGETS)}")
    if training and to not in (AUTO, "tfjs-layers"):
        raise ValueError(f"{to} cannot be trained on; ask for tfjs-layers, or leave out trainable and optimizer")


def planned(model: Model, to: str = AUTO, options: Options = DEFAULTS) -> Plan:
    """What becomes of a model as a target.

    Raises:
        ValueError: there is no such target.
    """
    if to == AUTO:
        return _chosen(model, options)
    check_target(to)
    plan: Plan = import_module(TARGETS[to]).plan(model, options)
    return plan


def _chosen(model: Model, options: Options) -> Plan:
    """A layers-model where every layer has one, else a graph-model, else the one of which less is missing.

    A layers-model with the companion comes before a graph-model, for it can be trained on.
    """
    layers = planned(model, "tfjs-layers", options)
    if not layers.problems or options.trainable or options.optimizer:
        return layers
    graph = planned(model, "tfjs-graph", options)
    if graph.problems:
        best, other = sorted((layers, graph), key=lambda plan: len(plan.problems))
        note = f"as a {other.target}, {len(other.problems)} part(s) would be refused"
        return replace(best, notes=(*best.notes, note))
    first, *others = layers.problems
    more = f", and {len(others)} more" if others else ""
    note = f"written as a graph-model, since a layers-model cannot hold all of it ({first}{more})"
    return replace(graph, notes=(note, *graph.notes))
