"""The TF.js layers-model: `model.json` and shards that `tf.loadLayersModel` loads unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kerasport.errors import Problem
from kerasport.infer import Inference
from kerasport.masks import without_recorded
from kerasport.model import LayerSpec, Model, Shape, Weight
from kerasport.report import LayerOutcome
from kerasport.targets.layers_model.identity import is_identity, models, stopped_masks, without_identities
from kerasport.targets.layers_model.loadable import check_topology, feedable, with_own_outputs
from kerasport.targets.layers_model.mask_leaks import mask_problems
from kerasport.targets.layers_model.native import Json
from kerasport.targets.layers_model.outcome import IDENTITY
from kerasport.targets.layers_model.topology import Topology
from kerasport.targets.layers_model.training import training_config
from kerasport.targets.weights import SHARD, write_weights

NAME = "tfjs-layers"


@dataclass(frozen=True)
class Plan:
    """A layers-model before it is written, and everything that a user should know about it."""

    topology: Json
    weights: Mapping[str, Weight]
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    layers: tuple[LayerOutcome, ...]
    problems: tuple[Problem, ...]
    renamed: Mapping[str, str]
    notes: tuple[str, ...]
    writer: str
    training: Json = None


def plan(model: Model) -> Plan:
    """What becomes of a model as a layers-model, with all the problems that stand against it.

    Raises:
        ReadError: shapes show that file and config do not belong together.
    """
    problems = list(stopped_masks(model))
    bare, recorded = without_recorded(model)
    native = with_own_outputs(feedable(without_identities(bare)))
    inference = Inference()
    inference.model(native)
    written = Topology(inference.shapes)
    topology = written.model(native)
    problems += [*recorded, *written.problems, *_training_problems(model)]
    if not problems:
        problems += mask_problems(native)
    training, lost = training_config(model.compile_config, written.renamed)
    inputs = {written.name_of(t): inference.shapes.get(t, ()) for t in native.input_tensors}
    return Plan(
        topology,
        written.weights,
        inputs,
        tuple(written.name_of(tensor) for tensor in native.output_tensors),
        tuple(_outcomes(model, problems, written.renamed)),
        tuple(dict.fromkeys(problems)),
        written.renamed,
        tuple(dict.fromkeys([*_notes(model), *lost, *(f"left out of training: {d}" for d in written.dropped)])),
        model.writer,
        training,
    )


def write(
    plan: Plan, directory: Path, *, shard_size: int = SHARD, progress: Callable[[int], None] = lambda _: None
) -> tuple[tuple[str, ...], int]:
    """Write the model into a directory; gives the names of the files, and the number of their bytes."""
    check_topology(plan.topology["config"])
    written = write_weights(plan.weights, directory, shard_size=shard_size, progress=progress)
    document = {
        "format": "layers-model",
        "generatedBy": f"keras {plan.writer}".strip(),
        "convertedBy": f"kerasport {_version()}",
        "modelTopology": {"keras_version": plan.writer, "backend": "tensorflow", "model_config": plan.topology},
        "weightsManifest": written.manifest,
        "userDefinedMetadata": {"kerasport": {"renamed": dict(plan.renamed)}},
    }
    if plan.training is not None:
        document["trainingConfig"] = plan.training
    # allow_nan=False: a browser's JSON has neither NaN nor Infinity
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    (directory / "model.json").write_text(text, encoding="utf-8")
    return ("model.json", *written.files), len(text) + written.nbytes


def _version() -> str:
    from kerasport import __version__  # noqa: PLC0415  (the package imports this module)

    return __version__


# ------------------------------------------------------------------------------------------------ the report


def _training_problems(model: Model) -> Iterator[Problem]:
    """Layers that are taken out and that the model calls as if it were training."""
    for part in models(model):
        for call in part.calls:
            if isinstance(call.target, LayerSpec) and is_identity(call.target) and call.kwargs.get("training"):
                reason = "the model calls it with training=True, so it acts at inference as well"
                yield Problem(call.target.name, call.target.class_name, reason, "training", True)


def _outcomes(model: Model, problems: list[Problem], renamed: Mapping[str, str]) -> Iterator[LayerOutcome]:
    refused: dict[str, str] = {}
    for problem in problems:
        refused.setdefault(problem.layer, problem.reason)
    for path, spec in model.walk():
        name = spec.name
        if name in refused:
            yield LayerOutcome(path, spec.class_name, "refused", "", refused[name])
        elif isinstance(spec, LayerSpec) and is_identity(spec):
            yield LayerOutcome(path, spec.class_name, "removed", "", IDENTITY.get(spec.class_name, ""))
        else:
            yield LayerOutcome(path, spec.class_name, "native", renamed.get(path, name))


def _notes(model: Model) -> Iterator[str]:
    for path, spec in model.walk():
        if not isinstance(spec, LayerSpec):
            continue
        if spec.class_name == "Rescaling":
            yield (
                f"layer {path!r}: the model rescales its input itself (scale={spec.config.get('scale')}, "
                f"offset={spec.config.get('offset', 0)}); do not do it in the page again"
            )
        if spec.note:
            yield f"layer {path!r}: {spec.note}"
    policies = {str(spec.config.get("dtype")) for _, spec in model.walk() if isinstance(spec, LayerSpec)}
    halves = sorted(policy for policy in policies if "16" in policy)
    if halves:
        yield (
            f"the model computes in {', '.join(halves)}; TF.js computes in float32, so its numbers are those of Keras "
            "without the rounding of 16 bits"
        )


__all__ = ["NAME", "Plan", "plan", "write"]
