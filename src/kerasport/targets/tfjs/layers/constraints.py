"""What must hold for TF.js to load a model at all: rewrites that make it so, and a check of what is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from kerasport.errors import Problem
from kerasport.frontends.keras.infer import input_shape
from kerasport.frontends.keras.masks import returns_sequences
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    map_tensors,
    rebuild,
)
from kerasport.frontends.keras.precheck import models
from kerasport.targets.tfjs.layers.prepare.identity import linear
from kerasport.weights import Shape

NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/]*")  # tfjs-layers common.ts

FLOATS = frozenset(("float16", "bfloat16", "float32", "float64"))
INTEGERS = frozenset(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))


def feedable(model: KerasModel) -> KerasModel:
    """The model with inputs that TF.js can be fed.

    TF.js gives every input of one axis a second one, and then finds it to be of the wrong rank; so such an input is
    declared with two axes, the second of size 1, and reshaped to the one that the layers expect.
    """

    def step(call: Call) -> Call | tuple[KerasTensor, ...]:
        spec = call.target
        if (
            not isinstance(spec, LayerSpec)
            or spec.class_name != "InputLayer"
            or len(input_shape(spec)) != 1
        ):
            return call
        shape = [*spec.config["batch_shape"], 1]
        fed = replace(call, target=replace(spec, config={**spec.config, "batch_shape": shape}))
        flat = LayerSpec(f"{spec.name}_flat", "Reshape", {"target_shape": []})
        return (KerasTensor(Call(flat, (KerasTensor(fed),))),)

    return rebuild(model, step, inside=False)


def with_distinct_inputs(model: KerasModel) -> KerasModel:
    """The model in which no layer is given one tensor twice.

    TF.js counts such a use once and ends it twice, and so disposes of the tensor while others still need it.
    """

    def step(call: Call) -> Call:
        seen: set[KerasTensor] = set()

        def once(tensor: KerasTensor) -> KerasTensor:
            if tensor not in seen:
                seen.add(tensor)
                return tensor
            again = Call(linear(f"{call.target.name}_again_{len(seen)}"), (tensor,))
            seen.add(KerasTensor(again))
            return KerasTensor(again)

        if len(set(call.tensors())) == len(call.tensors()):
            return call
        return replace(
            call, args=map_tensors(call.args, once), kwargs=map_tensors(call.kwargs, once)
        )

    return rebuild(model, step)


def with_own_outputs(model: KerasModel) -> KerasModel:
    """The model, and those inside it, with outputs that are all different and no inputs.

    TF.js throws where one tensor is listed twice, and a Sequential must hold more than its input. A linear activation
    makes another tensor of the same numbers.
    """

    def own(part: KerasModel) -> KerasModel:
        seen = set(part.input_tensors)
        added: list[Call] = []

        def once(tensor: KerasTensor) -> KerasTensor:
            if tensor not in seen:
                seen.add(tensor)
                return tensor
            name = f"{tensor.call.target.name}_output" + (f"_{len(added)}" if added else "")
            added.append(Call(linear(name), (tensor,)))
            return KerasTensor(added[-1])

        outputs = map_tensors(part.outputs, once)
        return replace(part, outputs=outputs, calls=(*part.calls, *added)) if added else part

    return rebuild(model, whole=own)


def with_own_states(model: KerasModel) -> KerasModel:
    """The model in which no layer is given the last state of a recurrent layer where another is given its output.

    In TF.js the two are one tensor, which it disposes of as soon as either of its names is done with.
    """
    used = {tensor for part in models(model) for call in part.calls for tensor in call.tensors()}
    used |= {
        tensor for part in models(model) if part is not model for tensor in part.output_tensors
    }
    twice = {
        call.target
        for part in models(model)
        for call in part.calls
        if isinstance(call.target, LayerSpec)
        and any(
            {KerasTensor(call, state), KerasTensor(call, output)} <= used
            for state, output in one_tensor(call.target).items()
        )
    }

    def step(call: Call) -> Call | tuple[KerasTensor, ...]:
        if call.target not in twice:
            return call
        assert isinstance(call.target, LayerSpec)
        same, name = one_tensor(call.target), call.target.name
        outputs = [KerasTensor(call, index) for index in range(output_count(call.target))]
        for state, output in same.items():
            outputs[state] = KerasTensor(
                Call(linear(f"{name}_state_{state}"), (KerasTensor(call, output),))
            )
        return tuple(outputs)

    return rebuild(model, step) if twice else model


def one_tensor(spec: LayerSpec) -> Mapping[int, int]:
    """State → output of a recurrent layer, where the two are the same numbers, by their places among all it returns."""
    inner = spec.children.get("forward_layer", spec)
    if (
        not isinstance(inner, LayerSpec)
        or not inner.config.get("return_state")
        or returns_sequences(spec)
    ):
        return {}
    *before, _ = counts = _states_of(inner)
    if inner is spec:
        return {1 + sum(before): 0}
    if spec.config.get("merge_mode", "concat") is not None:
        return {}
    return {2 + sum(before): 0, 2 + sum(counts) + sum(before): 1}


def output_count(spec: LayerSpec) -> int:
    """How many tensors a call of a layer of TF.js returns."""
    inner = spec.children.get("forward_layer", spec)
    if not isinstance(inner, LayerSpec):
        return 1
    unmerged = inner is not spec and spec.config.get("merge_mode", "concat") is None
    states = sum(_states_of(inner)) if inner.config.get("return_state") else 0
    return (2 if unmerged else 1) + states * (1 if inner is spec else 2)


def _states_of(spec: LayerSpec) -> list[int]:
    """How many states each cell of a recurrent layer has."""
    cell = spec.children.get("cell", spec)
    cells = list(cell.children.values()) if isinstance(cell, LayerSpec) else []
    return [
        2 if each.class_name.startswith(("LSTM", "ConvLSTM")) else 1 for each in cells or [cell]
    ]


def of_many_axes(shapes: Mapping[KerasTensor, Shape]) -> Iterator[Problem]:
    """Tensors of more axes than TF.js can split into batches, or its wasm backend can add and multiply."""
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


def creation_order(targets: list[Any], calls: tuple[Call, ...]) -> dict[Any, list[Call]]:
    """The calls of each layer in the order in which TF.js makes them again from a file.

    TF.js goes through the layers again and again, each time making those calls whose inputs exist, and numbers
    the calls of a layer as it makes them (tfjs-layers engine/container.ts). Where a layer is shared that order is not
    always that of the graph, and a file that numbers otherwise is loaded into another graph.
    """
    waiting: dict[Any, list[Call]] = {target: [] for target in targets}
    for call in calls:
        waiting[call.target].append(call)
    made: set[Call] = set()
    order: dict[Any, list[Call]] = {target: [] for target in targets}
    while any(waiting.values()):
        before = len(made)
        for target in targets:
            left = []
            for call in waiting[target]:
                if all(tensor.call in made for tensor in call.tensors()):
                    made.add(call)
                    order[target].append(call)
                else:
                    left.append(call)
            waiting[target] = left
        assert len(made) > before, "the calls of a model are in order, so each pass makes some"
    return order


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
