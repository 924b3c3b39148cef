"""What TF.js requires of a model, and checks that raise or report what it would not load."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from kerasport.errors import Problem
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
)
from kerasport.frontends.keras.precheck import models
from kerasport.weights import Shape

NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/]*")  # tfjs-layers common.ts

FLOATS = frozenset(("float16", "bfloat16", "float32", "float64"))
INTEGERS = frozenset(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))


def rank_problems(shapes: Mapping[KerasTensor, Shape]) -> Iterator[Problem]:
    """Tensors of rank 7 or more, which TF.js cannot batch, and its wasm backend cannot add."""
    reason = "not all TF.js backends support tensors of rank 7 or more"
    for tensor, shape in shapes.items():
        if len(shape) > 6:
            yield Problem(tensor.call.target.name, tensor.call.target.class_name, reason)


def input_dtype(spec: LayerSpec, embedded: bool) -> str:
    """The dtype of an input in TF.js: float32, or int32 for integers that only embeddings use.

    TF.js casts inputs to the declared dtype, and its layers compute in float32.
    """
    return "int32" if embedded and str(spec.config.get("dtype")) in INTEGERS else "float32"


@dataclass
class Embedded:
    """Tensors that only embeddings use; each model is analyzed once."""

    known: dict[KerasModel, frozenset[KerasTensor]] = field(default_factory=dict)

    def of(self, model: KerasModel) -> frozenset[KerasTensor]:
        """The tensors of one model."""
        if model not in self.known:
            self.known[model] = self._of(model)
        return self.known[model]

    def _of(self, model: KerasModel) -> frozenset[KerasTensor]:
        embedded, others = set[KerasTensor](), set[KerasTensor]()
        for call in model.calls:
            target, inside = call.target, frozenset[KerasTensor]()
            entries: Sequence[KerasTensor | None] = ()
            if isinstance(target, KerasModel):
                inside, entries = self.of(target), target.input_tensors
            for tensor, entry in zip_longest(call.tensors(), entries[: len(call.tensors())]):
                fits = entry in inside or target.class_name == "Embedding"
                (embedded if fits else others).add(tensor)
        return frozenset(embedded - others)


def input_problems(spec: LayerSpec) -> Iterator[Problem]:
    """Inputs that TF.js does not support."""
    dtype = str(spec.config.get("dtype", "float32"))
    if dtype not in FLOATS | INTEGERS | {"bool"}:
        reason = "TF.js layers support only numbers as input"
        yield Problem(spec.name, "InputLayer", reason, "dtype", dtype)
    for option in ("sparse", "ragged", "optional"):
        if spec.config.get(option):
            reason = "TF.js layers support only dense tensors as input"
            yield Problem(spec.name, "InputLayer", reason, option, True)


DEEPEST = 2_000
"""How many layers may follow each other.

TF.js recurses once per layer between inputs and outputs (engine/container.ts, buildMapOfGraph).
With the stack of 984 kB of V8 in Node and Chrome, 4,000 layers load and 5,000 throw "Maximum call
stack size exceeded"; with 500 kB, 2,000 layers load. Measured with ReLU layers in TF.js 4.22 and
Node 20. Other browsers have other stacks, and a page adds its own calls.
"""


def depth_problems(model: KerasModel) -> Iterator[Problem]:
    """The model, or nested models, with chains of layers too long for the stack of a browser."""
    for part in dict.fromkeys(models(model)):
        depth: dict[Call, int] = {}
        for call in part.calls:
            depth[call] = 1 + max(
                (depth.get(tensor.call, 0) for tensor in call.tensors()), default=0
            )
        if (deepest := max(depth.values(), default=0)) > DEEPEST:
            reason = (
                f"as TF.js layers, the model is a chain of {deepest:,} layers; chains of more "
                f"than about {DEEPEST:,} overflow the stack of a browser"
            )
            yield Problem(
                part.name,
                part.class_name,
                reason,
                remedy="use --to tfjs-graph, which has no such limit",
            )


def check_topology(config: Mapping[str, Any], where: str = "model") -> None:
    """Check the names and references of a model config before it is written.

    TF.js would loop forever on a reference to a missing layer.

    Raises:
        AssertionError: a name or reference is wrong, which is a bug in kerasport.
    """
    layers = config["layers"]
    names = [layer["config"]["name"] for layer in layers]
    assert len(set(names)) == len(names), f"{where}: two layers have the same name"
    assert all(NAME.fullmatch(name) for name in names), (
        f"{where}: TF.js rejects one of the names {names}"
    )
    for layer in layers:
        for entry in (layer, layer["config"].get("layer")):
            if entry is not None and "layers" in entry["config"]:
                check_topology(entry["config"], f"{where}/{entry['config']['name']}")
    if "input_layers" in config:
        _check_references(config, where)


def _check_references(config: Mapping[str, Any], where: str) -> None:
    first: dict[str, int] = {}
    end: dict[str, int] = {}
    used = [*config["input_layers"], *config["output_layers"]]
    for layer in config["layers"]:
        name, nodes = layer["name"], layer["inbound_nodes"]
        # a nested model has its own call 0
        first[name] = 1 if "layers" in layer["config"] else 0
        end[name] = len(nodes) + first[name] or 1
        for node in nodes:
            used += node
    for name, node, *_ in used:
        assert name in end, f"{where}: refers to {name!r}, which does not exist"
        assert first[name] <= node < end[name], (
            f"{where}: refers to call {node} of {name!r}, which does not exist"
        )
