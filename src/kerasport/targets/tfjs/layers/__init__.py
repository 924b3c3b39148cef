"""The TF.js layers-model: `model.json` and shards that `tf.loadLayersModel` loads unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kerasport.errors import Problem, quoted
from kerasport.frontends.keras.dtypes import Dtypes, fraction_problems, wrapping_problems
from kerasport.frontends.keras.identity import IDENTITY, is_identity
from kerasport.frontends.keras.infer import Inference
from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.masks import Masks
from kerasport.frontends.keras.model import KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.precheck import models, refusals
from kerasport.frontends.keras.program import (
    half_policies,
    input_ports,
    notes_of,
    output_ports,
    parts_of,
)
from kerasport.frontends.keras.training import training_counts
from kerasport.targets.notes import float32_notes
from kerasport.targets.plan import outcomes_of, values_of
from kerasport.targets.tfjs import LAYERS
from kerasport.targets.tfjs.document import WEB, TfjsPlan
from kerasport.targets.tfjs.layers.batch_norm_pairs import batch_norm_pairs
from kerasport.targets.tfjs.layers.constraints import (
    check_topology,
    depth_problems,
    rank_problems,
)
from kerasport.targets.tfjs.layers.formats import choice
from kerasport.targets.tfjs.layers.prepare import Prepared, prepare
from kerasport.targets.tfjs.layers.prepare.identity import is_left_out, stopped_masks
from kerasport.targets.tfjs.layers.prepare.mask_leaks import mask_problems
from kerasport.targets.tfjs.layers.rewrites.activations import REWRITTEN
from kerasport.targets.tfjs.layers.rewrites.context import UNKNOWN
from kerasport.targets.tfjs.layers.spelling.native import Json
from kerasport.targets.tfjs.layers.spelling.topology import Topology
from kerasport.targets.tfjs.layers.training import training_config
from kerasport.targets.tfjs.layers.training.optimizer import optimizer_state
from kerasport.targets.tfjs.options import LAYERS_DEFAULTS, LayersOptions
from kerasport.weights import Shape, Weight

COMPANION = WEB / "kerasport-layers.js"
"""Classes of Keras that TF.js lacks, for a page to register. Written with models that need it."""

LEAVE_OUT = "omit --trainable to convert for inference only"


def plan(model: KerasModel, options: LayersOptions = LAYERS_DEFAULTS) -> TfjsPlan:
    """Plan a layers-model: prepare the model, spell its layers, and check what TF.js requires.

    A plan with problems holds nothing to write.

    Raises:
        ReadError: shapes show that the config and the weights do not belong together.
    """
    prepared = prepare(model)
    inference = Inference()
    inference.model(prepared.model)
    shapes = inference.shapes
    spelling = Topology(shapes, companion=options.companion)
    topology = spelling.model(prepared.model)
    problems = _problems(model, prepared, spelling, shapes, trainable=options.trainable)
    parts = parts_of(model)
    renamed = _renamed(prepared, spelling)
    companions = {prepared.root_path(path): reason for path, reason in spelling.companions.items()}
    became = {path: prepared.became[spec] for path, spec in model.walk() if spec in prepared.became}
    outcomes = outcomes_of(parts, problems, "native", renamed, companions, became)
    notes = [*notes_of(model), *float32_notes(half_policies(model))]
    if problems:
        return TfjsPlan(
            target=LAYERS,
            format="layers-model",
            writer=model.writer,
            parts=parts,
            layers=outcomes,
            problems=tuple(dict.fromkeys(problems)),
            notes=tuple(notes),
        )
    check_topology(topology["config"])
    ends = {spelling.name_of(tensor): tensor for tensor in prepared.model.output_tensors}
    inputs = {spelling.name_of(x): shapes.get(x, ()) for x in prepared.model.input_tensors}
    known = [shapes.get(tensor, ()) for tensor in prepared.model.output_tensors]
    training = _training(model, prepared, spelling, renamed, optimizer=options.optimizer)
    return TfjsPlan(
        target=LAYERS,
        format="layers-model",
        writer=model.writer,
        parts=parts,
        layers=outcomes,
        document=_document(model, topology, training.config),
        weights=spelling.weights,
        inputs=inputs,
        expects=values_of(inputs, input_ports(model)),
        outputs=tuple(map(spelling.name_of, prepared.model.output_tensors)),
        output_shapes={name: shapes[x] for name, x in ends.items() if x in shapes},
        gives=values_of(ends, output_ports(model, known)),
        renamed=renamed,
        notes=tuple(dict.fromkeys((*notes, *training.notes))),
        choice=choice(model, training=options.trainable or options.optimizer),
        optimizer=training.state,
        channels=dict(batch_norm_pairs(prepared.model, spelling, shapes)),
        scripts=(COMPANION,) if spelling.companions else (),
    )


def _renamed(prepared: Prepared, spelling: Topology) -> dict[str, str]:
    """Path in Keras → name in TF.js, of the layers of the user's model that are renamed."""
    return {
        path: name for path, name in spelling.renamed.items() if prepared.root_path(path) == path
    }


def _document(model: KerasModel, topology: Json, training: Json) -> dict[str, Json]:
    """The parts of `model.json` that describe the model."""
    document: dict[str, Json] = {
        "modelTopology": {
            "keras_version": model.writer,
            "backend": "tensorflow",
            "model_config": topology,
        }
    }
    if training is not None:
        document["trainingConfig"] = training
    return document


# ----------------------------------------------------------------------------------------- problems


def _problems(
    model: KerasModel,
    prepared: Prepared,
    spelling: Topology,
    shapes: Mapping[KerasTensor, Shape],
    *,
    trainable: bool,
) -> list[Problem]:
    """Everything that a layers-model cannot express, by the names of the user's layers."""
    problems = [
        *refusals(model),
        *_integer_problems(model),
        *stopped_masks(model),
        *prepared.problems,
        *_merged(prepared.rewriter.problems, spelling.problems),
        *_training_problems(model),
        *depth_problems(prepared.model),
        *rank_problems(shapes),
    ]
    if not problems:
        problems += mask_problems(prepared.model, prepared.rewriter.origins, shapes)
    if trainable:
        problems += [*_untrainable(prepared), *_left_out(model)]
    return [prepared.of_root(problem) for problem in problems]


def _integer_problems(model: KerasModel) -> Iterator[Problem]:
    """Layers and functions that Keras computes in integers, but TF.js layers in float32."""
    dtypes = Dtypes()
    for part in models(model):
        dtypes.model(part)
        yield from fraction_problems(part, dtypes)
        yield from wrapping_problems(part, dtypes, "TF.js layers compute in float32")


def _merged(rewriting: Sequence[Problem], spelling: Sequence[Problem]) -> list[Problem]:
    """The problems of rewriting, and those of spelling that are certain.

    A rewrite knows more about its layer, so its problems replace those of the spelling. After a
    refused layer the shapes are unknown. That is not a problem by itself, and the spelling may then
    report problems that a rewrite would have solved, except activations that no rewrite supports.
    """
    unknown = [problem for problem in rewriting if problem.reason == UNKNOWN]
    known = [problem for problem in rewriting if problem.reason != UNKNOWN]
    without_shapes = {problem.layer for problem in unknown}
    explained = {problem.layer for problem in known} - without_shapes
    for problem in spelling:
        certain = problem.layer not in without_shapes or _is_certain(problem)
        if certain and problem.layer not in explained:
            known.append(problem)
    return known or unknown


def _is_certain(problem: Problem) -> bool:
    """Whether a problem of the spelling holds for all shapes."""
    name = problem.value
    return problem.option == "activation" and isinstance(name, str) and name not in REWRITTEN


def _training_problems(model: KerasModel) -> Iterator[Problem]:
    """Removed layers that the model calls with `training=True`."""
    for part in models(model):
        for call in part.calls:
            if not isinstance(call.target, LayerSpec):
                continue
            if not is_identity(call.target) or traits_of(call.target).images:
                continue  # `refusals` reports image layers
            if training_counts(call.target, call.kwargs.get("training"), model.dialect):
                reason = "the model calls it with training=True, so it is also active at inference"
                yield Problem(call.target.name, call.target.class_name, reason, "training", True)


def _untrainable(prepared: Prepared) -> Iterator[Problem]:
    """Layers that are exact at inference, but would train differently from Keras."""
    for spec, reason in prepared.untrainable():
        yield Problem(spec.name, spec.class_name, reason, remedy=LEAVE_OUT)


def _left_out(model: KerasModel) -> Iterator[Problem]:
    """Removed layers that are active during training."""
    for _, spec in model.walk():
        if not isinstance(spec, LayerSpec) or not is_left_out(spec):
            continue
        if spec.class_name not in ("Identity", "TimeDistributed"):
            reason = f"it is removed, because it {IDENTITY[spec.class_name]}"
            yield Problem(spec.name, spec.class_name, reason, remedy=LEAVE_OUT)


# ----------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class _Training:
    """What a layers-model keeps for training, and notes on what it does not."""

    config: Json
    """The `trainingConfig` of model.json; None without one."""
    notes: tuple[str, ...]
    state: Mapping[str, Weight] = field(default_factory=dict)
    """Weights of the optimizer by name, in the order of TF.js."""


def _training(
    model: KerasModel,
    prepared: Prepared,
    spelling: Topology,
    renamed: Mapping[str, str],
    *,
    optimizer: bool,
) -> _Training:
    masks = Masks(model.dialect).trace(model)
    config, notes = training_config(
        model.compile_config,
        renamed,
        tuple(map(spelling.name_of, prepared.model.output_tensors)),
        masked=model.compile_config is not None and any(mask is not None for mask in masks),
        writer=model.writer,
    )
    state: Mapping[str, Weight] = {}
    if config is not None and optimizer:
        state, lost = optimizer_state(model, prepared.model, spelling, config["optimizer_config"])
        notes += lost
    # the outcomes of removed layers say that they are removed
    notes += [
        f"layer {quoted(problem.layer)} is exact only at inference: {problem.reason}"
        for problem in _untrainable(prepared)
    ]
    notes += [f"not part of the training configuration: {lost}" for lost in spelling.dropped]
    return _Training(config, tuple(notes), state)
