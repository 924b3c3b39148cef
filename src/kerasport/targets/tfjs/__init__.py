"""The TF.js targets: layers-models and graph-models, and what both have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kerasport.report import Snippet
from kerasport.targets.plan import Output, Plan
from kerasport.targets.target import Repairer, Target
from kerasport.targets.tfjs.options import GraphOptions, LayersOptions, TfjsOptions

if TYPE_CHECKING:
    from kerasport.frontends.keras.model import KerasModel
    from kerasport.frontends.keras.read.layers_model import LayersModel
    from kerasport.ir.program import Program
    from kerasport.targets.tfjs.document import TfjsPlan

# ruff: noqa: PLC0415  (each function imports what it needs, so that a run loads only its own target)


def _plan_layers(model: KerasModel, options: LayersOptions) -> Plan:
    from kerasport.targets.tfjs.layers import plan

    return plan(model, options)


def _plan_graph(program: Program, options: GraphOptions) -> Plan:
    from kerasport.targets.tfjs.graph import plan

    return plan(program, options)


def _write(
    plan: TfjsPlan, out: Path, options: TfjsOptions, force: bool, progress: Callable[[int], None]
) -> Output:
    from kerasport.targets.tfjs.document import write_model

    return write_model(plan, out, options, force, progress)


def _rounded_layers(plan: TfjsPlan, options: TfjsOptions) -> Plan:
    from kerasport.targets.tfjs.quantize import quantized

    return quantized(plan, options.quantize)


def _rounded_graph(plan: TfjsPlan, options: TfjsOptions) -> Plan:
    from kerasport.targets.tfjs.graph.scaled import multiplied
    from kerasport.targets.tfjs.quantize import quantized

    return quantized(plan, options.quantize, multiplied)


def _notes(plan: Plan, options: TfjsOptions) -> Iterator[str]:
    from kerasport.targets.tfjs.document import size_notes

    return size_notes(plan, options.shard_size)


def _load(
    plan: TfjsPlan, out: Path, dtypes: Mapping[str, str], files: Sequence[str]
) -> tuple[Snippet, ...]:
    from kerasport.targets.tfjs.loading import snippets

    return snippets(plan, out, dtypes, files)


def _repair_plan(model: LayersModel, options: LayersOptions) -> Plan:
    from kerasport.targets.tfjs.repaired import repair_plan

    return repair_plan(model, options)


def _changes(model: LayersModel, plan: TfjsPlan) -> tuple[str, ...]:
    from kerasport.targets.tfjs.repaired import changes_of

    return changes_of(model, plan)


def _write_repaired(
    model: LayersModel, plan: TfjsPlan, out: Path | None, force: bool
) -> tuple[tuple[str, ...], str]:
    from kerasport.targets.tfjs.repaired import write_repaired

    return write_repaired(model, plan, out, force=force)


def _copy(model: LayersModel, out: Path, force: bool) -> tuple[str, ...]:
    from kerasport.targets.tfjs.repaired import copy_unchanged

    return copy_unchanged(model, out, force=force)


ENTRY = "model.json"
NOT_SUFFIXES = {".json": "a TF.js model is a directory that contains a model.json"}
NOT_FINITE = "on wasm and webgl the relu of TF.js turns NaN into 0"

LAYERS = Target(
    name="tfjs-layers",
    title="TF.js layers-model",
    entry=ENTRY,
    not_suffixes=NOT_SUFFIXES,
    options=LayersOptions,
    takes_layers=True,
    trains=True,
    plan=_plan_layers,
    write=_write,
    rounded=_rounded_layers,
    notes=_notes,
    load=_load,
    not_finite=NOT_FINITE,
    guide="docs/training.md",
    runtime="tfjs",
    repairer=Repairer(plan=_repair_plan, changes=_changes, write=_write_repaired, copy=_copy),
)

GRAPH = Target(
    name="tfjs-graph",
    title="TF.js graph-model",
    entry=ENTRY,
    not_suffixes=NOT_SUFFIXES,
    options=GraphOptions,
    plan=_plan_graph,
    write=_write,
    rounded=_rounded_graph,
    notes=_notes,
    load=_load,
    not_finite=NOT_FINITE,
    guide="docs/performance.md",
    runtime="tfjs",
)
