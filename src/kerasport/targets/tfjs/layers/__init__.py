"""The TF.js layers-model: `model.json` and shards that `tf.loadLayersModel` loads unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kerasport.errors import Problem, quoted
from kerasport.frontends.keras.dtypes import Dtypes, fraction_problems
from kerasport.frontends.keras.identity import IDENTITY, IMAGES, is_identity
from kerasport.frontends.keras.infer import Inference
from kerasport.frontends.keras.masks import MaskRules, Masks, without_recorded
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.frontends.keras.precheck import models, refusals
from kerasport.targets.plan import DEFAULTS, WEB, Options, Plan, notes_of, outcomes_of
from kerasport.targets.tfjs.layers.constraints import (
    check_topology,
    depth_problems,
    feedable,
    of_many_axes,
    with_distinct_inputs,
    with_own_outputs,
    with_own_states,
)
from kerasport.targets.tfjs.layers.prepare.batch_norm_pairs import normalised
from kerasport.targets.tfjs.layers.prepare.identity import (
    is_left_out,
    stopped_masks,
    without_identities,
)
from kerasport.targets.tfjs.layers.prepare.mask_isolation import without_leaks
from kerasport.targets.tfjs.layers.prepare.mask_leaks import mask_problems
from kerasport.targets.tfjs.layers.rewrites import Rewritten, rewritten
from kerasport.targets.tfjs.layers.rewrites.activations import REWRITTEN
from kerasport.targets.tfjs.layers.rewrites.context import UNKNOWN
from kerasport.targets.tfjs.layers.spelling.native import Json
from kerasport.targets.tfjs.layers.spelling.topology import Topology
from kerasport.targets.tfjs.layers.training import training_config
from kerasport.targets.tfjs.layers.training.optimizer import optimizer_state
from kerasport.weights import Weight

COMPANION = WEB / "kerasport-layers.js"
"""The classes that Keras has and TF.js lacks, for a page to register; it is written beside the models that need it."""


def plan(model: KerasModel, options: Options = DEFAULTS) -> Plan:
    """What becomes of a model as a layers-model, with all the problems that stand against it.

    Raises:
        ReadError: shapes show that file and config do not belong together.
    """
    problems = [*refusals(model), *_integer_problems(model), *stopped_masks(model)]
    bare, recorded = without_recorded(model)
    bare = without_leaks(without_identities(bare))
    rewriting = rewritten(with_distinct_inputs(with_own_outputs(with_own_states(feedable(bare)))))
    native = rewriting.model
    inference = Inference()
    inference.model(native)
    written = Topology(inference.shapes, companion=options.companion)
    topology = written.model(native)
    problems += [
        *recorded,
        *_joined(rewriting.rewriter.problems, written.problems),
        *_training_problems(model),
    ]
    problems += [*depth_problems(native), *of_many_axes(inference.shapes)]
    if not problems:
        problems += mask_problems(native, rewriting.rewriter.origins, inference.shapes)
    untrainable = tuple(_untrainable(rewriting))
    if options.trainable:
        problems += [*untrainable, *_left_out(model)]
    problems = [rewriting.of_root(problem) for problem in problems]
    renamed = {
        path: name for path, name in written.renamed.items() if rewriting.root_path(path) == path
    }
    companions = {rewriting.root_path(path): reason for path, reason in written.companions.items()}
    notes = notes_of(model)
    outcomes = outcomes_of(model, problems, "native", renamed, companions, rewriting.became)
    if problems:
        return Plan(
            "layers-model", model.writer, outcomes, tuple(dict.fromkeys(problems)), notes=notes
        )
    check_topology(topology["config"])
    traced = Masks(MaskRules(model.release)).trace(model)
    masked = model.compile_config is not None and any(mask is not None for mask in traced)
    outputs = tuple(written.name_of(tensor) for tensor in native.output_tensors)
    training, lost = training_config(
        model.compile_config, renamed, outputs, masked=masked, writer=model.writer
    )
    state: Mapping[str, Weight] = {}
    if training is not None and options.optimizer:
        state, why_not = optimizer_state(model, native, written, training["optimizer_config"])
        lost += why_not
    dropped = (f"not part of the training configuration: {each}" for each in written.dropped)
    told = [
        *map(_note_of, untrainable),
        *dropped,
    ]  # of layers that are left out their outcome tells
    document: dict[str, Json] = {
        "modelTopology": {
            "keras_version": model.writer,
            "backend": "tensorflow",
            "model_config": topology,
        },
        **({"trainingConfig": training} if training is not None else {}),
    }
    return Plan(
        "layers-model",
        model.writer,
        outcomes,
        (),
        document,
        written.weights,
        {
            written.name_of(tensor): inference.shapes.get(tensor, ())
            for tensor in native.input_tensors
        },
        outputs,
        renamed,
        tuple(dict.fromkeys([*notes, *lost, *told])),
        optimizer=state,
        channels=dict(normalised(native, written, inference.shapes)),
        scripts=(COMPANION,) if written.companions else (),
        output_shapes={
            name: inference.shapes[tensor]
            for name, tensor in zip(outputs, native.output_tensors, strict=True)
            if tensor in inference.shapes
        },
    )


def _integer_problems(model: KerasModel) -> Iterator[Problem]:
    """Layers and operations that Keras computes in integers, and TF.js's layers in float32."""
    dtypes = Dtypes()
    for part in models(model):
        dtypes.model(part)
        yield from fraction_problems(part, dtypes)


def _joined(rewriting: Sequence[Problem], native: Sequence[Problem]) -> Iterator[Problem]:
    """The problems of each layer as the rewrite tells them, which knows more of it, or else the native table.

    Behind a layer that is refused the shapes are not known. That is no problem of its own, and what the native table
    says of such a layer may be wrong, since a rewrite could have helped. No rewrite helps with an activation that it
    does not know.
    """
    unknown = [problem for problem in rewriting if problem.reason == UNKNOWN]
    known = [problem for problem in rewriting if problem.reason != UNKNOWN]
    layers = {problem.layer for problem in rewriting} - {problem.layer for problem in unknown}
    behind = {problem.layer for problem in unknown}
    known += [
        p for p in native if p.layer not in layers and (p.layer not in behind or _is_certain(p))
    ]
    return iter(known or unknown)


def _is_certain(problem: Problem) -> bool:
    """Whether a problem of the native table stays, whatever the shapes are."""
    name = problem.value
    return problem.option == "activation" and isinstance(name, str) and name not in REWRITTEN


def _untrainable(rewriting: Rewritten) -> Iterator[Problem]:
    """What is written, is right at inference, and does not train as in Keras."""
    for spec, reason in rewriting.untrainable():
        yield Problem(spec.name, spec.class_name, reason, remedy=LEAVE_OUT)


def _left_out(model: KerasModel) -> Iterator[Problem]:
    """What acts in training only, and is not written."""
    for _, spec in model.walk():
        if (
            isinstance(spec, LayerSpec)
            and is_left_out(spec)
            and spec.class_name not in ("Identity", "TimeDistributed")
        ):
            yield Problem(
                spec.name,
                spec.class_name,
                f"it is removed, because it {IDENTITY[spec.class_name]}",
                remedy=LEAVE_OUT,
            )


LEAVE_OUT = "omit --trainable to convert for inference only"


def _note_of(problem: Problem) -> str:
    return f"layer {quoted(problem.layer)} is exact only at inference: {problem.reason}"


def _training_problems(model: KerasModel) -> Iterator[Problem]:
    """Layers that are taken out, or of images, and that the model calls as if it were training."""
    for part in models(model):
        for call in part.calls:
            if not isinstance(call.target, LayerSpec):
                continue
            images = call.target.class_name in IMAGES
            if not images and not is_identity(call.target):
                continue
            # Keras 3 records it in every call of an image layer, and overrules it at inference
            recorded = images and not model.writer.startswith(("1", "2"))
            if call.kwargs.get("training") and not recorded:
                reason = "the model calls it with training=True, so it is also active at inference"
                yield Problem(call.target.name, call.target.class_name, reason, "training", True)
