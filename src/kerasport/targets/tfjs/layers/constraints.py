"""What must hold for TF.js to load a model at all: rewrites that make it so, and a check of what is written."""

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
    """The dtype in which TF.js is fed an input: float32, but int32 where only embeddings use it.

    TF.js casts what is fed to the declared dtype, and its layers compute in float32.
    """
    return "int32" if embedded and str(spec.config.get("dtype")) in INTEGERS else "float32"


@dataclass
class Embedded:
    """The tensors that only embeddings use, by the model in which they are; each model is looked at once."""

    known: dict[KerasModel, frozenset[KerasTensor]] = field(default_factory=dict)

    def of(self, model: KerasModel) -> frozenset[KerasTensor]:
        """Those of a model."""
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
    """Why an input cannot be one of TF.js's."""
    dtype = str(spec.config.get("dtype", "float32"))
    if dtype not in FLOATS | INTEGERS | {"bool"}:
        yield Problem(
            spec.name, "InputLayer", "TF.js layers support only numbers as input", "dtype", dtype
        )
    for option in ("sparse", "ragged", "optional"):
        if spec.config.get(option):
            yield Problem(
                spec.name,
                "InputLayer",
                "TF.js layers support only dense tensors as input",
                option,
                True,
            )


# TF.js calls itself for each layer between the inputs and the outputs (engine/container.ts, buildMapOfGraph). With the
# stack of 984 kB that V8 has in Node and Chrome, 4,000 layers in a row load and 5,000 end in "Maximum call stack size
# exceeded"; with 500 kB, 2,000 load. Measured with TF.js 4.22 in Node 20, by a row of ReLU. Other browsers have other
# stacks, and a page has its own calls on them.
DEEPEST = 2_000


def depth_problems(model: KerasModel) -> Iterator[Problem]:
    """Models, the model itself or some inside, with more layers in a row than fit on the stack of a browser."""
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
    """Check a model config as TF.js will read it, before it is written: TF.js would loop for ever on a loose end.

    Raises:
        AssertionError: a name or reference is wrong, which is a fault of kerasport.
    """
    layers = config["layers"]
    names = [layer["config"]["name"] for layer in layers]
    assert len(set(names)) == len(names), f"{where}: two layers have the same name"
    assert all(NAME.fullmatch(name) for name in names), (
        f"{where}: TF.js rejects one of the names {names}"
    )
    for layer in layers:
        for each in (layer, layer["config"].get("layer")):
            if each is not None and "layers" in each["config"]:
                check_topology(each["config"], f"{where}/{each['config']['name']}")
    if "input_layers" in config:
        _check_references(config, where)


def _check_references(config: Mapping[str, Any], where: str) -> None:
    made = {
        layer["name"]: len(layer["inbound_nodes"]) + (1 if "layers" in layer["config"] else 0) or 1
        for layer in config["layers"]
    }
    first = {layer["name"]: 1 if "layers" in layer["config"] else 0 for layer in config["layers"]}
    used = [
        entry for layer in config["layers"] for node in layer["inbound_nodes"] for entry in node
    ]
    for name, node, *_ in [*used, *config["input_layers"], *config["output_layers"]]:
        assert name in made, f"{where}: refers to {name!r}, which does not exist"
        assert first[name] <= node < made[name], (
            f"{where}: refers to call {node} of {name!r}, which does not exist"
        )
