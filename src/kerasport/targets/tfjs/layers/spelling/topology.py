"""The `modelTopology` of a layers-model: layers in the spelling of TF.js, with valid names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from kerasport.errors import Problem, UnsupportedPart, quoted
from kerasport.frontends.keras.infer import input_shape
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import LARGEST_FLOAT, Layer, Refused
from kerasport.frontends.keras.model import (
    TF_LAMBDAS,
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
)
from kerasport.frontends.keras.precheck import custom_problem
from kerasport.targets.tfjs.layers.constraints import (
    Embedded,
    input_dtype,
    input_problems,
)
from kerasport.targets.tfjs.layers.execution import creation_order, inputs_of
from kerasport.targets.tfjs.layers.spelling.calls import call_problems
from kerasport.targets.tfjs.layers.spelling.names import inner_name, tfjs_name, weights_of
from kerasport.targets.tfjs.layers.spelling.native import (
    IN_BIDIRECTIONAL,
    NATIVE,
    Json,
    mirrored,
    spell,
)
from kerasport.targets.tfjs.layers.spelling.unsupported import why_unsupported
from kerasport.weights import Shape, Weight

Target: TypeAlias = LayerSpec | Operation | KerasModel


@dataclass
class Topology:
    """Spells one model; `model` fills the fields that have defaults."""

    shapes: Mapping[KerasTensor, Shape]
    """Shapes of the tensors, as far as they are known."""
    companion: bool = True
    """Whether the companion may supply classes that TF.js lacks."""
    weights: dict[str, Weight] = field(default_factory=dict)
    """Weights by their names in the manifest."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Path in Keras → name in TF.js, of renamed layers."""
    companions: dict[str, str] = field(default_factory=dict)
    """Path of a layer → why it needs the companion."""
    dropped: dict[str, None] = field(default_factory=dict)
    """Notes on parts of the training configuration that are lost."""
    problems: list[Problem] = field(default_factory=list)
    names: dict[Target, str] = field(default_factory=dict)
    """Everything that is called, and each model → its name in TF.js."""
    embedded: Embedded = field(default_factory=Embedded)

    def model(
        self, model: KerasModel, *, name: str = "", path: str = "", frozen: bool = False
    ) -> Json:
        """The class and config of a model.

        Args:
            model: the prepared model, or one inside it.
            name: its name in TF.js; by default its own.
            path: path of the models around it, ending in "/".
            frozen: whether a model around it is not trainable.
        """
        frozen = frozen or not model.trainable
        names = self._names(model, path)
        entries = [
            (
                call,
                self._entry(
                    call, names[call.target], f"{path}{call.target.name}", model, frozen=frozen
                ),
            )
            for call in first_calls(model)
        ]
        if model.kind == "sequential" and _is_chain(model):
            layers = [_without_name(entry) for _, entry in entries]
            return {
                "class_name": "Sequential",
                "config": {"name": name or names[model], "layers": layers},
            }
        created = creation_order([call.target for call, _ in entries], model.calls)
        number: dict[Call, int] = {}
        for target, calls in created.items():
            # a nested model has its own call 0
            first = 1 if isinstance(target, KerasModel) else 0
            number |= {call: index for index, call in enumerate(calls, start=first)}

        def reference(tensor: KerasTensor) -> list[Json]:
            return [names[tensor.call.target], number[tensor.call], tensor.index]

        layers = [
            {**entry, "inbound_nodes": _nodes(created[call.target], reference)}
            for call, entry in entries
        ]
        config = {
            "name": name or names[model],
            "layers": layers,
            "input_layers": [reference(tensor) for tensor in model.input_tensors],
            "output_layers": [reference(tensor) for tensor in model.output_tensors],
        }
        return {"class_name": "Functional", "config": config}

    # ------------------------------------------------------------------------------------ names

    def _names(self, model: KerasModel, path: str) -> dict[Target, str]:
        """Valid names of a model and its targets, for which all names of weights are distinct."""
        names: dict[Target, str] = {model: tfjs_name(model.name)}
        taken: set[str] = set()
        for call in first_calls(model):
            target = call.target
            name = self._free(target, tfjs_name(target.name), taken)
            taken.add(name)
            names[target] = name
            if name != target.name:
                self.renamed[f"{path}{target.name}"] = name
        self.names |= {target: name for target, name in names.items() if target not in self.names}
        return names

    def name_of(self, tensor: KerasTensor) -> str:
        """The name in TF.js of the layer that computes a tensor."""
        return self.names[tensor.call.target]

    def _free(self, target: Target, wanted: str, taken: set[str]) -> str:
        name, count = wanted, 0
        while name in taken or (isinstance(target, LayerSpec) and self._collides(target, name)):
            count += 1
            name = f"{wanted}_{count}"
        if isinstance(target, LayerSpec):
            self.weights |= weights_of(target, name)
        return name

    def _collides(self, spec: LayerSpec, name: str) -> bool:
        return any(weight in self.weights for weight in weights_of(spec, name))

    # ----------------------------------------------------------------------------------- layers

    def _entry(self, call: Call, name: str, path: str, model: KerasModel, *, frozen: bool) -> Json:
        target = call.target
        if isinstance(target, Operation):
            library = "TensorFlow" if target.class_name in TF_LAMBDAS else "keras.ops"
            reason = f"it is a {library} function, for which TF.js has no layer"
            self.problems.append(Problem(target.name, target.class_name, reason))
            return {"class_name": target.class_name, "config": {"name": name}, "name": name}
        self.problems += call_problems(model, target, self.shapes)
        if isinstance(target, KerasModel):
            inner = self.model(target, name=name, path=f"{path}/", frozen=frozen)
            return {**inner, "name": name}
        if target.class_name == "InputLayer":
            self.problems += input_problems(target)
            shape = list(input_shape(target))
            dtype = input_dtype(target, KerasTensor(call) in self.embedded.of(model))
            config: Json = {"batch_input_shape": shape, "dtype": dtype, "sparse": False}
            return {"class_name": "InputLayer", "config": {"name": name, **config}, "name": name}
        inputs = tuple(self.shapes[t] for t in call.tensors() if t in self.shapes)
        known = inputs if len(inputs) == len(call.tensors()) else None
        return {**self._layer(target, name, path, frozen, known), "name": name}

    def _layer(
        self, spec: LayerSpec, name: str, path: str, frozen: bool, inputs: tuple[Shape, ...] | None
    ) -> Json:
        """The class and config of a layer; with problems, the config is incomplete."""
        layer = self._read(spec)
        if layer is None:
            return {"class_name": spec.class_name, "config": {"name": name}}
        spelled = spell(spec, layer, inputs, companion=self.companion)
        self.problems += spelled.problems
        if spelled.companion:
            self.companions[path] = spelled.companion
        trainable = spec.config.get("trainable") is not False and not frozen
        config = {
            "name": name,
            "trainable": trainable,
            **spelled.config,
            **self._weight_options(spec, layer),
        }
        config |= self._children(spec, path, frozen, inputs)
        return {"class_name": spelled.class_name, "config": config}

    def _read(self, spec: LayerSpec) -> Layer | None:
        if spec.custom:
            self.problems.append(custom_problem(spec))
        elif issubclass(cls := LAYERS.get(spec.class_name, Layer), Refused):
            self.problems.append(cls.problem(spec))
        else:
            try:
                layer = cls.from_spec(spec) if spec.class_name in LAYERS else None
            except UnsupportedPart as error:
                self.problems.append(error.problem)
                return None
            if spec.class_name in NATIVE:
                return layer
            self.problems.append(
                Problem(spec.name, spec.class_name, why_unsupported(spec.class_name))
            )
        return None

    def _weight_options(self, spec: LayerSpec, layer: Layer) -> dict[str, Json]:
        """Initializer and regularizer of each weight.

        Weights are loaded, whatever initializes them. So all initializers are Zeros, which is fast:
        TF.js would abort on some of them and take minutes for others. Constraints are omitted,
        because TF.js would apply them to the loaded weights.
        """
        options: dict[str, Json] = {}
        for declared in type(layer).declared_weights(spec.config):
            weight = NATIVE[spec.class_name].weight_name(declared)
            prefix = weight if weight == "kernel" else weight.removesuffix("_kernel")
            options[f"{prefix}_initializer"] = {"class_name": "Zeros", "config": {}}
            regularizer = spec.config.get(f"{prefix}_regularizer") or spec.config.get(
                f"{declared}_regularizer"
            )
            if regularizer is not None:
                options |= self._regularizer(spec, f"{prefix}_regularizer", regularizer)
            if spec.config.get(f"{prefix}_constraint"):
                reason = "which TF.js would apply when it loads the model"
                self._drop(spec, f"the {prefix} constraint, {reason}")
        if spec.config.get("activity_regularizer"):
            self._drop(spec, "the activity regularizer, which makes TF.js throw")
        return options

    def _drop(self, spec: LayerSpec, lost: str) -> None:
        """Note that a part of the training configuration of a layer is lost."""
        self.dropped[f"layer {quoted(spec.name)}: {lost}"] = None

    def _regularizer(self, spec: LayerSpec, option: str, value: Any) -> dict[str, Json]:
        config = value.get("config") if isinstance(value, Mapping) else None
        config = config if isinstance(config, Mapping) else {}
        # TF.js uses 0.01 for a missing amount
        amounts = {key: config.get(key) or 0.0 for key in ("l1", "l2")}
        known = isinstance(value, Mapping) and value.get("class_name") in ("L1", "L2", "L1L2")
        if known and all(map(_is_amount, amounts.values())):
            amounts = {key: float(amount) for key, amount in amounts.items()}
            return {option: {"class_name": "L1L2", "config": amounts}}
        self._drop(spec, f"the {option.replace('_', ' ')}, which TF.js does not have")
        return {}

    # --------------------------------------------------------------------------------- wrappers

    def _children(
        self, spec: LayerSpec, path: str, frozen: bool, inputs: tuple[Shape, ...] | None
    ) -> dict[str, Json]:
        if spec.class_name == "TimeDistributed":
            step = inputs and ((inputs[0][0], *inputs[0][2:]),)
            return {"layer": self._inner(spec.children["layer"], path, frozen, step or None)}
        if spec.class_name == "Bidirectional":
            return {"layer": self._forward(spec, path, frozen, inputs)}
        if spec.class_name == "RNN":
            return {"cell": self._inner(spec.children["cell"], path, frozen, None)}
        if spec.class_name == "StackedRNNCells":
            return {
                "cells": [self._inner(cell, path, frozen, None) for cell in spec.children.values()]
            }
        return {}

    def _inner(
        self,
        target: LayerSpec | KerasModel,
        path: str,
        frozen: bool,
        inputs: tuple[Shape, ...] | None,
    ) -> Json:
        if isinstance(target, KerasModel):
            return self.model(target, name=tfjs_name(target.name), path=f"{path}/", frozen=frozen)
        return self._layer(target, tfjs_name(target.name), f"{path}/{target.name}", frozen, inputs)

    def _forward(
        self, spec: LayerSpec, path: str, frozen: bool, inputs: tuple[Shape, ...] | None
    ) -> Json:
        """The forward layer of a Bidirectional, from which TF.js creates the backward one."""
        forward, backward = spec.children["forward_layer"], spec.children["backward_layer"]
        assert isinstance(forward, LayerSpec)
        if forward.class_name not in IN_BIDIRECTIONAL:
            reason = f"the Bidirectional layer of TF.js supports only {', '.join(IN_BIDIRECTIONAL)}"
            self.problems.append(
                Problem(spec.name, spec.class_name, reason, "layer", forward.class_name)
            )
        elif not mirrored(forward, backward):
            reason = (
                "the backward layer differs from the reversed forward layer, which is what "
                "TF.js uses"
            )
            self.problems.append(
                Problem(spec.name, spec.class_name, reason, "backward_layer", backward.name)
            )
        spelled = self._layer(
            forward, inner_name(forward), f"{path}/{forward.name}", frozen, inputs and inputs[:1]
        )
        if f"{path}/{forward.name}" in self.companions:
            self.companions[f"{path}/{backward.name}"] = self.companions[f"{path}/{forward.name}"]
        return spelled


def first_calls(model: KerasModel) -> list[Call]:
    """The first call of each target."""
    return [calls[0] for calls in model.calls_of.values()]


def _is_amount(value: Any) -> bool:
    """Whether a regularizer has a valid amount."""
    return isinstance(value, int | float) and abs(value) <= LARGEST_FLOAT


def _is_chain(model: KerasModel) -> bool:
    """Whether each call takes only the output of the call before it, and no layer is shared."""
    calls = model.calls
    distinct = len({id(call.target) for call in calls}) == len(calls)
    return distinct and all(
        call.tensors() == (KerasTensor(before),) for before, call in pairwise(calls)
    )


def _without_name(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if key != "name"}


def _nodes(calls: list[Call], reference: Any) -> list[Json]:
    """The `inbound_nodes` of a layer: one list of references per call."""

    def node(call: Call) -> list[Json]:
        return [[*reference(tensor), {}] for tensor in inputs_of(call)]

    return [node(call) for call in calls if inputs_of(call)]
