"""From a model to files: the targets, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from kerasport.model import Model
from kerasport.targets.plan import Plan

AUTO = "auto"
UNROLL_LIMIT = 64  # time steps; each adds some dozen nodes to a graph-model

TARGETS: Mapping[str, str] = {
    "tfjs-layers": "kerasport.targets.layers_model",
    "tfjs-graph": "kerasport.targets.graph_model",
}
"""Name of a target → the module that plans it, loaded when somebody asks for it."""


def check_target(to: str) -> None:
    """Raises `ValueError` where there is no such target."""
    if to not in (AUTO, *TARGETS):
        raise ValueError(f"no such target: {to!r}; there are {AUTO}, {', '.join(TARGETS)}")


def planned(model: Model, to: str = AUTO, unroll_limit: int = UNROLL_LIMIT) -> Plan:
    """What becomes of a model as a target.

    Raises:
        ValueError: there is no such target.
    """
    if to == AUTO:
        return _chosen(model, unroll_limit)
    check_target(to)
    plan: Plan = import_module(TARGETS[to]).plan(model, unroll_limit)
    return plan


def _chosen(model: Model, unroll_limit: int) -> Plan:
    """A layers-model where every layer has one, else a graph-model, else the one of which less is missing."""
    layers = planned(model, "tfjs-layers")
    if not layers.problems:
        return layers
    graph = planned(model, "tfjs-graph", unroll_limit)
    if graph.problems:
        return min((layers, graph), key=lambda plan: len(plan.problems))
    first, *others = layers.problems
    more = f", and {len(others)} more" if others else ""
    note = f"written as a graph-model, since a layers-model cannot hold all of it ({first}{more})"
    return replace(graph, notes=(note, *graph.notes))
