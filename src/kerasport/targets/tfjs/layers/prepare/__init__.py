"""Prepare a Keras model for the layers of TF.js, in a tuple of named passes.

Each pass maps a KerasModel to a KerasModel. Its `holds` states what is true of the model after
it, which tests check. To see the model between the passes:

    prepare(model, watch=lambda done, model: print(done.name, show(model)))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from kerasport.errors import Problem
from kerasport.frontends.keras.masks import without_recorded
from kerasport.frontends.keras.model import KerasModel
from kerasport.targets.tfjs.layers.prepare.distinct_tensors import (
    with_distinct_inputs,
    with_distinct_outputs,
    with_distinct_states,
    with_feedable_inputs,
)
from kerasport.targets.tfjs.layers.prepare.identity import without_identities
from kerasport.targets.tfjs.layers.prepare.mask_isolation import without_leaks
from kerasport.targets.tfjs.layers.prepare.prepared import Prepared
from kerasport.targets.tfjs.layers.rewrites import rewriter_of, with_rewrites
from kerasport.targets.tfjs.layers.rewrites.context import Rewriter

__all__ = ["PREPARE", "Context", "Pass", "Prepared", "prepare"]


@dataclass(frozen=True)
class Context:
    """What the passes record besides the model."""

    rewriter: Rewriter
    """Rewrites layers, and records which layer of the user's model each new layer is a part of."""
    problems: list[Problem] = field(default_factory=list)


Run: TypeAlias = Callable[[KerasModel, Context], KerasModel]
Watch: TypeAlias = "Callable[[Pass, KerasModel], object]"


@dataclass(frozen=True)
class Pass:
    """One step of the preparation."""

    name: str
    run: Run
    holds: str
    """What holds of the model after the pass."""


def drop_recorded_masks(model: KerasModel, context: Context) -> KerasModel:
    """Remove `mask` arguments that agree with the masks of the inputs; the others are problems."""
    bare, problems = without_recorded(model)
    context.problems.extend(problems)
    return bare


def rewrite_layers(model: KerasModel, context: Context) -> KerasModel:
    """Replace layers that TF.js lacks, or computes differently, with layers that it has."""
    return with_rewrites(model, context.rewriter)


def _alone(change: Callable[[KerasModel], KerasModel]) -> Run:
    """A pass that needs no context."""
    return lambda model, _: change(model)


PREPARE: tuple[Pass, ...] = (
    Pass("drop recorded masks", drop_recorded_masks, "no call has a mask argument"),
    Pass(
        "remove identities",
        _alone(without_identities),
        "no layer does nothing, except linear activations that keep the name of an output",
    ),
    Pass(
        "isolate masks",
        _alone(without_leaks),
        "in a model with masks, every recurrent layer outside nested models has a masked input",
    ),
    Pass(
        "make inputs feedable",
        _alone(with_feedable_inputs),
        "every input has a batch axis and at least one other axis",
    ),
    Pass(
        "separate states",
        _alone(with_distinct_states),
        "no state of a recurrent layer is used together with the output that is the same tensor",
    ),
    Pass(
        "separate outputs",
        _alone(with_distinct_outputs),
        "the outputs of every model are distinct, and none of them is an input",
    ),
    Pass("separate inputs", _alone(with_distinct_inputs), "no call takes a tensor twice"),
    Pass("rewrite layers", rewrite_layers, "no layer is left that a rewrite would replace"),
)
"""The preparation of a layers-model, in order."""


def prepare(model: KerasModel, *, watch: Watch = lambda *_: None) -> Prepared:
    """Run the passes of `PREPARE`.

    Args:
        model: the model as read.
        watch: called after each pass with the pass and its result.
    """
    context = Context(rewriter_of(model.dialect))
    for step in PREPARE:
        model = step.run(model, context)
        watch(step, model)
    return Prepared(model, context.rewriter, tuple(context.problems))
