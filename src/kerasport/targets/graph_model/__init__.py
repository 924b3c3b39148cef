"""The TF.js graph-model: `model.json` and shards that `tf.loadGraphModel` loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kerasport.errors import Problem, UnsupportedModel
from kerasport.identity import IDENTITY
from kerasport.ir.graph import Graph
from kerasport.lower import lower
from kerasport.model import LayerSpec, Model, Shape, Weight
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.fold import fold_constants
from kerasport.passes.rewrite import rewrite
from kerasport.report import LayerOutcome
from kerasport.targets.graph_model.emit import TYPES, Emitter, Json, node_name, shape
from kerasport.targets.graph_model.fused import FUSION
from kerasport.targets.graph_model.legal import LEGAL
from kerasport.targets.weights import SHARD, write_weights

NAME = "tfjs-graph"


@dataclass(frozen=True)
class Plan:
    """A graph-model before it is written, and everything that a user should know about it."""

    topology: Json
    weights: Mapping[str, Weight]
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    layers: tuple[LayerOutcome, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    writer: str
    signature: Json = None
    renamed: Mapping[str, str] = field(default_factory=dict)


def optimised(graph: Graph) -> Graph:
    """The graph as TF.js computes it best: constants worked out, operations joined, limits kept."""
    graph = rewrite(graph, fold_constants, *ALGEBRA)
    graph = rewrite(graph, *LEGAL, fold_constants, *ALGEBRA)
    return rewrite(graph, *FUSION, fold_constants, *ALGEBRA)


def plan(model: Model) -> Plan:
    """What becomes of a model as a graph-model, with all the problems that stand against it."""
    names = _output_names(model)
    try:
        graph = optimised(lower(model))
    except UnsupportedModel as error:
        outcomes = tuple(_outcomes(model, error.problems))
        return Plan({}, {}, {}, (), outcomes, error.problems, (), model.writer)
    emitter = Emitter(graph)
    outputs = emitter.run(names)
    inputs = {node_name(given.name): given for given in graph.inputs}
    signature = {
        "inputs": {name: _tensor_info(name, given.dtype, given.shape) for name, given in inputs.items()},
        "outputs": {
            name: _tensor_info(name, tensor.dtype, tensor.shape)
            for name, tensor in zip(outputs, graph.outputs, strict=True)
        },
    }
    topology = {"node": emitter.nodes, "library": {"function": emitter.functions}, "versions": {"producer": 1482}}
    return Plan(
        topology,
        emitter.weights,
        {name: given.shape for name, given in inputs.items()},
        tuple(outputs),
        tuple(_outcomes(model, emitter.problems)),
        tuple(emitter.problems),
        tuple(_notes(emitter)),
        model.writer,
        signature,
    )


def write(
    plan: Plan, directory: Path, *, shard_size: int = SHARD, progress: Callable[[int], None] = lambda _: None
) -> tuple[tuple[str, ...], int]:
    """Write the model into a directory; gives the names of the files, and the number of their bytes."""
    from kerasport import __version__  # noqa: PLC0415  (the package imports this module)

    written = write_weights(plan.weights, directory, shard_size=shard_size, progress=progress)
    document = {
        "format": "graph-model",
        "generatedBy": f"keras {plan.writer}".strip(),
        "convertedBy": f"kerasport {__version__}",
        "signature": plan.signature,
        "modelTopology": plan.topology,
        "weightsManifest": written.manifest or [{"paths": [], "weights": []}],
        "userDefinedMetadata": {"kerasport": {}},
    }
    # allow_nan=False: a browser's JSON has neither NaN nor Infinity
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    (directory / "model.json").write_text(text, encoding="utf-8")
    return ("model.json", *written.files), len(text) + written.nbytes


def _tensor_info(name: str, dtype: str, sizes: Shape) -> Json:
    return {"name": f"{name}:0", "dtype": TYPES[dtype], "tensorShape": shape(sizes)["shape"]}


def _output_names(model: Model) -> list[str]:
    """The names of the outputs: keys of a dict, else the layers that make them; numbered where they repeat."""
    names: list[str] = []
    wanted = (
        sorted(map(str, model.outputs))
        if isinstance(model.outputs, Mapping) and len(model.outputs) == len(model.output_tensors)
        else [tensor.call.target.name for tensor in model.output_tensors]
    )
    taken = {node_name(tensor.call.target.name) for tensor in model.input_tensors}
    for name in wanted:
        free, count = node_name(name), 0
        while free in taken:
            count += 1
            free = f"{node_name(name)}_{count}"
        taken.add(free)
        names.append(free)
    return names


def _outcomes(model: Model, problems: tuple[Problem, ...] | list[Problem]) -> Iterator[LayerOutcome]:
    refused = {problem.layer: problem.reason for problem in problems}
    for path, spec in model.walk():
        if spec.name in refused:
            yield LayerOutcome(path, spec.class_name, "refused", "", refused[spec.name])
        elif isinstance(spec, LayerSpec) and spec.class_name in IDENTITY:
            yield LayerOutcome(path, spec.class_name, "removed", "", IDENTITY[spec.class_name])
        else:
            yield LayerOutcome(path, spec.class_name, "lowered")


def _notes(emitter: Emitter) -> Iterator[str]:
    if emitter.waits:
        yield "the model loops over time, so run it with model.executeAsync(), not predict()"
