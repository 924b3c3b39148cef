"""A model before it is written: what the targets make, and the one way in which it becomes files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasport.budget import FLOOR
from kerasport.errors import OptionError, Problem, quoted
from kerasport.frontends.keras.identity import IDENTITY, is_identity
from kerasport.frontends.keras.masks import passes_what_3_16_stops
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.report import LayerOutcome, Outcome
from kerasport.targets.tfjs.channels import Channels
from kerasport.targets.tfjs.shards import SHARD, Encoding, Scaled, Written, nbytes_of, write_weights
from kerasport.weights import Shape, Weight

WEB = Path(__file__).parent.parent / "web"
UNROLL_LIMIT = 64  # time steps; each adds some dozen nodes to a graph-model
OPSET = 20  # of ONNX, the first with Gelu; ONNX Runtime has it since 1.17
OPSETS = range(17, 23)


@dataclass(frozen=True)
class Options:
    """What a user may choose about a target; each target heeds what concerns it."""

    unroll_limit: int = (
        UNROLL_LIMIT  # of a graph-model: time steps up to which a loop is written out
    )
    optimizer: bool = False  # of a layers-model: whether the state of the optimizer comes along
    companion: bool = (
        True  # of a layers-model: whether a script of kerasport's may stand in for what TF.js lacks
    )
    trainable: bool = False  # of a layers-model: refuse what would not train as in Keras
    opset: int = OPSET  # of an ONNX model
    half_compute: bool = False  # of an ONNX model: whether it computes in float16 where it gains
    max_size: int = FLOOR  # bytes that may be written, and built for it

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise OptionError(f"opset must be from {OPSETS[0]} to {OPSETS[-1]}, not {self.opset!r}")


DEFAULTS = Options()


@dataclass(frozen=True)
class Plan:
    """A converted model before it is written, and everything that a user should know about it."""

    target: (
        str  # "layers-model" or "graph-model", the format that model.json names; or "onnx-model"
    )
    writer: str  # the Keras that wrote the source
    layers: tuple[LayerOutcome, ...]
    problems: tuple[Problem, ...]  # where there are any, the rest is not to be written
    document: Mapping[str, Any] = field(
        default_factory=dict
    )  # of model.json: topology, signature, training …
    weights: Mapping[str, Weight] = field(default_factory=dict)
    inputs: Mapping[str, Shape] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)  # path in Keras → name in TF.js
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)  # further keys of userDefinedMetadata
    channels: Mapping[str, Channels] = field(
        default_factory=dict
    )  # kernels that could be held otherwise
    optimizer: Mapping[str, Weight] = field(
        default_factory=dict
    )  # its state, in the order in which TF.js reads it
    encodings: Mapping[str, Encoding | Scaled] = field(
        default_factory=dict
    )  # of weights that are rounded
    scripts: tuple[
        Path, ...
    ] = ()  # modules to write beside the model, with which a page registers what TF.js lacks
    dtypes: Mapping[str, str] = field(
        default_factory=dict
    )  # of inputs that take nothing but this, where not float32
    output_shapes: Mapping[str, Shape] = field(default_factory=dict)
    output_dtypes: Mapping[str, str] = field(default_factory=dict)  # empty if all are float32
    asynchronous: bool = False  # of a graph-model: whether it runs with executeAsync() alone

    @property
    def nbytes(self) -> int:
        """Bytes of all weights as they are written."""
        weights = sum(
            nbytes_of(weight, self.encodings.get(name)) for name, weight in self.weights.items()
        )
        return weights + sum(map(nbytes_of, self.optimizer.values()))


def write(
    plan: Plan,
    directory: Path,
    *,
    shard_size: int = SHARD,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[tuple[str, ...], int, Mapping[str, float]]:
    """Write the model into a directory.

    Gives the names of the files, the number of their bytes, and the largest error of each weight that was rounded.
    """
    written = write_weights(
        {**plan.weights, **plan.optimizer},
        directory,
        optimizer=frozenset(plan.optimizer),
        shard_size=shard_size,
        encodings={
            name: each for name, each in plan.encodings.items() if isinstance(each, Encoding)
        },
        progress=progress,
    )
    return *write_around(plan, written, directory), written.errors


def write_around(plan: Plan, written: Written, directory: Path) -> tuple[tuple[str, ...], int]:
    """Write what a model has beside its weights, which are there already; gives the files, and the bytes of all."""
    text = model_json(plan, written.manifest)
    (directory / "model.json").write_text(text, encoding="utf-8")
    files = (file for script in plan.scripts for file in (script, typings(script)))
    scripts = {file.name: file.read_bytes() for file in files}
    for name, content in scripts.items():
        (directory / name).write_bytes(content)
    nbytes = len(text) + sum(map(len, scripts.values())) + written.nbytes
    return ("model.json", *scripts, *written.files), nbytes


def typings(script: Path) -> Path:
    """The TypeScript declarations next to a script."""
    return script.with_suffix(".d.ts")


def model_json(plan: Plan, manifest: Sequence[Mapping[str, Any]]) -> str:
    """The text of model.json, with a manifest of the weights."""
    from kerasport import __version__  # noqa: PLC0415  (the package imports this module)

    ours = {**plan.metadata.get("kerasport", {}), "renamed": dict(plan.renamed)}
    ours |= {"scripts": [script.name for script in plan.scripts]} if plan.scripts else {}
    document = {
        "format": plan.target,
        "generatedBy": f"keras {plan.writer}".strip(),
        "convertedBy": f"kerasport {__version__}",
        **plan.document,
        # a graph-model without weights still has a manifest, or TF.js throws
        "weightsManifest": manifest or [{"paths": [], "weights": []}],
        "userDefinedMetadata": {**plan.metadata, "kerasport": ours},
    }
    # allow_nan=False: a browser's JSON has neither NaN nor Infinity
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def outcomes_of(
    model: KerasModel,
    problems: Iterable[Problem],
    otherwise: Outcome,
    renamed: Mapping[str, str] | None = None,
    companions: Mapping[str, str] | None = None,
    became: Mapping[Any, Sequence[str]] | None = None,
) -> tuple[LayerOutcome, ...]:
    """What becomes of each layer: refused, removed, a class of the companion, other layers, or `otherwise`.

    `companions` holds the paths of layers that take the companion, and why; `became` the layers and operations that
    others stand for, with the classes of those.
    """
    refused: dict[str, str] = {}
    for problem in problems:
        refused.setdefault(problem.layer, problem.reason)

    def outcome(path: str, spec: Any) -> LayerOutcome:
        if spec.name in refused:
            return LayerOutcome(path, spec.class_name, "refused", "", refused[spec.name])
        if isinstance(spec, LayerSpec) and is_identity(spec) and spec not in (became or {}):
            return LayerOutcome(
                path, spec.class_name, "removed", "", IDENTITY.get(spec.class_name, "")
            )
        name = (renamed or {}).get(path, spec.name)
        if path in (companions or {}):
            return LayerOutcome(path, spec.class_name, "companion", name, (companions or {})[path])
        if spec in (became or {}):
            return LayerOutcome(
                path, spec.class_name, "rewritten", name, listed((became or {})[spec])
            )
        return LayerOutcome(path, spec.class_name, otherwise, name)

    return tuple(outcome(path, spec) for path, spec in model.walk())


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def output_names(model: KerasModel) -> list[str]:
    """The names wished for the outputs: keys of a dict, else the layers that make them."""
    if isinstance(model.outputs, Mapping) and len(model.outputs) == len(model.output_tensors):
        return sorted(map(str, model.outputs))
    return [tensor.call.target.name for tensor in model.output_tensors]


def notes_of(model: KerasModel, *, half: bool = False) -> tuple[str, ...]:
    """What a user should know of a model, whatever it becomes; `half` tells that this computes in float16, too."""
    return tuple(dict.fromkeys(_notes(model, half=half)))


def _notes(model: KerasModel, *, half: bool) -> Iterator[str]:
    if not model.writer and passes_what_3_16_stops(model):
        yield (
            "the file does not name the Keras version that wrote it; recurrent layers and "
            "TimeDistributed pass masks on as in Keras up to 3.15, but since 3.16 they do not"
        )
    for path, spec in model.walk():
        if not isinstance(spec, LayerSpec):
            continue
        if spec.note:
            yield f"layer {quoted(path)}: {spec.note}"
    policies = {
        str(spec.config.get("dtype")) for _, spec in model.walk() if isinstance(spec, LayerSpec)
    }
    halves = sorted(policy for policy in policies if "16" in policy)
    if halves and not half:
        yield (
            f"the model uses the dtype policy {', '.join(halves)}; the converted model computes "
            "in float32, so its outputs lack the 16-bit rounding of Keras"
        )
