"""The `modelTopology` of a layers-model: layers as TF.js spells them, under names that it accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from kerasport.errors import Problem, UnsupportedPart, quoted
from kerasport.frontends.keras.identity import IMAGES
from kerasport.frontends.keras.infer import input_shape
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import LARGEST_FLOAT, Layer, Refused, called_on
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)
from kerasport.frontends.keras.precheck import acts_in_training, custom_problem
from kerasport.frontends.keras.read.dialects import TF_LAMBDAS
from kerasport.targets.tfjs.layers.constraints import (
    NAME,
    Embedded,
    input_dtype,
    input_problems,
)
from kerasport.targets.tfjs.layers.execution import creation_order, inputs_of, output_count
from kerasport.targets.tfjs.layers.spelling.native import NATIVE, Json, spell
from kerasport.targets.tfjs.layers.spelling.unsupported import why_unsupported
from kerasport.weights import Shape, Weight

Target: TypeAlias = LayerSpec | Operation | KerasModel

CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
CONSTANT = "it is called on a constant, which a layers-model cannot store"
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM2D", "RNN")
IN_BIDIRECTIONAL = ("LSTM", "GRU", "SimpleRNN")
DROPS_IN_TRAINING = (
    "Dropout",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
)


@dataclass
class Topology:
    """Writes one model; afterwards what its fields hold tells what else there is to know."""

    shapes: Mapping[KerasTensor, Shape]
    companion: bool = True  # whether the companion may stand in for what TF.js lacks
    weights: dict[str, Weight] = field(default_factory=dict)  # by their names in the manifest
    renamed: dict[str, str] = field(default_factory=dict)  # path in Keras → name in TF.js
    companions: dict[str, str] = field(
        default_factory=dict
    )  # path of a layer → why it takes the companion
    dropped: dict[str, None] = field(default_factory=dict)  # notes on what of training is lost
    problems: list[Problem] = field(default_factory=list)
    names: dict[Target, str] = field(
        default_factory=dict
    )  # of everything, as it is called in TF.js
    embedded: Embedded = field(default_factory=Embedded)

    def model(
        self, model: KerasModel, *, name: str = "", path: str = "", frozen: bool = False
    ) -> Json:
        """The class and config of a model."""
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
            layers = [_bare(entry) for _, entry in entries]
            return {
                "class_name": "Sequential",
                "config": {"name": name or names[model], "layers": layers},
            }
        made = creation_order([call.target for call, _ in entries], model.calls)
        number = {
            call: index + isinstance(target, KerasModel)
            for target, calls in made.items()
            for index, call in enumerate(calls)
        }

        def reference(tensor: KerasTensor) -> list[Json]:
            return [names[tensor.call.target], number[tensor.call], tensor.index]

        layers = [
            {**entry, "inbound_nodes": _nodes(made[call.target], reference)}
            for call, entry in entries
        ]
        config = {
            "name": name or names[model],
            "layers": layers,
            "input_layers": [reference(tensor) for tensor in model.input_tensors],
            "output_layers": [reference(tensor) for tensor in model.output_tensors],
        }
        return {"class_name": "Functional", "config": config}

    # ---------------------------------------------------------------------------------------------- names

    def _names(self, model: KerasModel, path: str) -> dict[Target, str]:
        """TF.js names of a model and of what it calls: accepted by TF.js, and of weights that are all different."""
        names: dict[Target, str] = {model: legal(model.name)}
        taken: set[str] = set()
        for call in first_calls(model):
            target = call.target
            name = self._free(target, legal(target.name), taken)
            taken.add(name)
            names[target] = name
            if name != target.name:
                self.renamed[f"{path}{target.name}"] = name
        self.names |= {target: name for target, name in names.items() if target not in self.names}
        return names

    def name_of(self, tensor: KerasTensor) -> str:
        """The TF.js name of the layer that makes a tensor."""
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

    # --------------------------------------------------------------------------------------------- layers

    def _entry(self, call: Call, name: str, path: str, model: KerasModel, *, frozen: bool) -> Json:
        target = call.target
        if isinstance(target, Operation):
            library = "TensorFlow" if target.class_name in TF_LAMBDAS else "keras.ops"
            reason = f"it is a {library} function, for which TF.js has no layer"
            self.problems.append(Problem(target.name, target.class_name, reason))
            return {"class_name": target.class_name, "config": {"name": name}, "name": name}
        self._check_call(model, target)
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
        """The class and config of a layer; problems are noted, and leave a config that nobody will see."""
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

        Weights are loaded whatever initialises them, so Zeros, which is fast, stands for all: TF.js would abort on some
        initializers and take minutes for others. Constraints are left out, since TF.js applies them to what it loads.
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
                reason = f"the {prefix} constraint, which TF.js would apply when it loads the model"
                self.dropped[f"layer {quoted(spec.name)}: {reason}"] = None
        if spec.config.get("activity_regularizer"):
            self.dropped[
                f"layer {quoted(spec.name)}: the activity regularizer, which makes TF.js throw"
            ] = None
        return options

    def _regularizer(self, spec: LayerSpec, option: str, value: Any) -> dict[str, Json]:
        config = value.get("config") if isinstance(value, Mapping) else None
        config = config if isinstance(config, Mapping) else {}
        amounts = {
            key: config.get(key) or 0.0 for key in ("l1", "l2")
        }  # TF.js takes what is missing for 0.01
        known = isinstance(value, Mapping) and value.get("class_name") in ("L1", "L2", "L1L2")
        if known and all(
            isinstance(amount, int | float) and abs(amount) <= LARGEST_FLOAT
            for amount in amounts.values()
        ):
            amounts = {key: float(amount) for key, amount in amounts.items()}
            return {option: {"class_name": "L1L2", "config": amounts}}
        self.dropped[
            f"layer {quoted(spec.name)}: the {option.replace('_', ' ')}, which TF.js does not have"
        ] = None
        return {}

    # ------------------------------------------------------------------------------------------- wrappers

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
            return self.model(target, name=legal(target.name), path=f"{path}/", frozen=frozen)
        return self._layer(target, legal(target.name), f"{path}/{target.name}", frozen, inputs)

    def _forward(
        self, spec: LayerSpec, path: str, frozen: bool, inputs: tuple[Shape, ...] | None
    ) -> Json:
        """The layer of a Bidirectional; TF.js makes the backward one of it by itself."""
        forward, backward = spec.children["forward_layer"], spec.children["backward_layer"]
        assert isinstance(forward, LayerSpec)
        if forward.class_name not in IN_BIDIRECTIONAL:
            reason = f"the Bidirectional layer of TF.js supports only {', '.join(IN_BIDIRECTIONAL)}"
            self.problems.append(
                Problem(spec.name, spec.class_name, reason, "layer", forward.class_name)
            )
        elif not mirrored(forward, backward):
            reason = "the backward layer differs from the reversed forward layer, which is what TF.js uses"
            self.problems.append(
                Problem(spec.name, spec.class_name, reason, "backward_layer", backward.name)
            )
        written = self._layer(
            forward, inner_name(forward), f"{path}/{forward.name}", frozen, inputs and inputs[:1]
        )
        if f"{path}/{forward.name}" in self.companions:
            self.companions[f"{path}/{backward.name}"] = self.companions[f"{path}/{forward.name}"]
        return written

    # ---------------------------------------------------------------------------------------------- calls

    def _check_call(self, model: KerasModel, target: LayerSpec | KerasModel) -> None:
        """TF.js passes no arguments to a layer but tensors and the mask that travels with them."""
        calls = model.calls_of[target]
        for call in calls:
            self.problems += _call_problems(call, target)
        if isinstance(target, LayerSpec):
            self.problems += _output_problems(model, target)
        if target.class_name == "TimeDistributed":
            self._check_lengths(target, [x for call in calls for x in call.tensors()[:1]])

    def _check_lengths(self, target: LayerSpec | KerasModel, inputs: list[KerasTensor]) -> None:
        """TF.js holds every input of a TimeDistributed to the sizes of the first one."""
        first, *others = [self.shapes.get(tensor, ()) for tensor in inputs] or [()]
        if any(
            size not in (None, other)
            for each in others
            for size, other in zip(first, each, strict=False)
        ):
            reason = "it is called on inputs of different sizes, but TF.js requires the sizes of the first input"
            self.problems.append(Problem(target.name, target.class_name, reason))


def _call_problems(call: Call, target: LayerSpec | KerasModel) -> Iterator[Problem]:
    class_name = target.class_name
    stateful = isinstance(target, LayerSpec) and class_name in (*RECURRENT, "Bidirectional")
    for argument, value in call.kwargs.items():
        # Keras 3 records training=True in every call of an image layer, and overrules it at inference
        recorded = class_name in IMAGES or (
            isinstance(target, KerasModel) and not acts_in_training(target)
        )
        says_nothing = argument == "training" and (not value or recorded)
        if value is None or says_nothing or (argument == "initial_state" and stateful):
            continue
        shown = (
            "a tensor"
            if isinstance(value, KerasTensor)
            else value
            if isinstance(value, bool | int | float | str)
            else "…"
        )
        yield Problem(
            target.name,
            class_name,
            "TF.js does not support this argument of the call",
            argument,
            shown,
        )
    states = flatten(call.kwargs.get("initial_state"))
    if any(not isinstance(leaf, KerasTensor) for leaf in flatten(call.args)):
        yield Problem(target.name, class_name, CONSTANT)
    if call.kwargs.get("initial_state") is not None and not all(
        isinstance(s, KerasTensor) for s in states
    ):
        yield Problem(target.name, class_name, CONSTANT, "initial_state", "…")
    count, cls = len(flatten(call.args)), LAYERS.get(class_name)
    if class_name == "InputLayer":
        return
    if class_name in CELLS:
        yield Problem(target.name, class_name, "TF.js runs cells only inside an RNN layer")
    elif isinstance(target, LayerSpec) and cls is not None and not cls.works_on(count):
        yield Problem(target.name, class_name, called_on(count, cls))
    elif isinstance(target, KerasModel) and count != len(target.input_tensors):
        reason = f"it is called on {count} tensors but has {len(target.input_tensors)} inputs"
        yield Problem(target.name, class_name, reason)
    if class_name == "ConvLSTM2D" and call.kwargs.get("initial_state") is not None:
        yield Problem(
            target.name,
            class_name,
            "TF.js checks the states of a convolutional LSTM incorrectly",
            "initial_state",
            "…",
        )
    if class_name == "RNN" and call.kwargs.get("initial_state") is not None:
        yield Problem(
            target.name,
            class_name,
            "TF.js expects the states of a cell in another order",
            "initial_state",
            "…",
        )


def _output_problems(model: KerasModel, spec: LayerSpec) -> Iterator[Problem]:
    """Outputs of a layer that the model uses and that TF.js does not make."""
    made = output_count(spec)
    for call in model.calls_of[spec]:
        for index in sorted(model.outputs_used.get(call, ())):
            if not 0 <= index < made:
                reason = f"the model uses output {index} of this layer, but in TF.js it has {made}"
                yield Problem(spec.name, spec.class_name, reason)


def first_calls(model: KerasModel) -> list[Call]:
    """The first call of everything that the model calls."""
    return [calls[0] for calls in model.calls_of.values()]


def _is_chain(model: KerasModel) -> bool:
    calls = model.calls
    distinct = len({id(call.target) for call in calls}) == len(calls)
    return distinct and all(
        call.tensors() == (KerasTensor(before),) for before, call in pairwise(calls)
    )


def _bare(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if key != "name"}


def _nodes(calls: list[Call], reference: Any) -> list[Json]:
    return [
        [[*reference(tensor), {}] for tensor in inputs_of(call)]
        for call in calls
        if inputs_of(call)
    ]


# What every object of JavaScript has, so that TF.js finds it where it looks for a layer of that name.
OF_OBJECTS = frozenset(
    (
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    )
)


def legal(name: str) -> str:
    """The name itself where TF.js accepts it, else one like it."""
    if name in OF_OBJECTS:
        return f"{name}_layer"
    if NAME.fullmatch(name):
        return name
    legal_name = re.sub(r"[^-A-Za-z0-9._/]", "_", name)
    return legal_name if NAME.fullmatch(legal_name) else f"layer{legal_name}"


def inner_name(forward: LayerSpec) -> str:
    """Name of the layer in a Bidirectional; TF.js puts "forward_" before it, and so did Keras 3 in the file."""
    return legal(forward.name.removeprefix("forward_"))


def mirrored(forward: LayerSpec, backward: LayerSpec | KerasModel) -> bool:
    """Whether the backward layer is the forward one with time turned around."""
    if not isinstance(backward, LayerSpec) or backward.class_name != forward.class_name:
        return False
    differing = {
        key
        for key in {*forward.config, *backward.config}
        - {"name", "trainable", "seed", "zero_output_for_mask"}
        if not key.endswith(("_initializer", "_regularizer", "_constraint"))
        and forward.config.get(key) != backward.config.get(key)
    }
    return differing == {"go_backwards"}


# -------------------------------------------------------------------------------------------------------- weights


def weights_of(spec: LayerSpec, name: str) -> dict[str, Weight]:
    """The weights of a layer under the names by which TF.js looks for them (tfjs-layers engine/container.ts)."""
    if spec.class_name == "Bidirectional":
        forward, backward = spec.children["forward_layer"], spec.children["backward_layer"]
        assert isinstance(forward, LayerSpec)
        assert isinstance(backward, LayerSpec)
        inner = inner_name(forward)
        return weights_of(forward, f"{name}/forward_{inner}") | weights_of(
            backward, f"{name}/backward_{inner}"
        )
    if spec.class_name == "RNN":
        return _cell_weights(spec.children.get("cell"), name)
    if spec.class_name == "TimeDistributed":
        child = spec.children["layer"]
        return weights_of(child, name) if isinstance(child, LayerSpec) else {}
    if spec.class_name not in NATIVE or not spec.weights:
        return {}
    native = NATIVE[spec.class_name]
    declared = LAYERS[spec.class_name].declared_weights(spec.config)
    return {
        f"{name}/{native.weight_name(weight)}": stored
        for weight, stored in zip(declared, spec.weights, strict=False)
        if weight not in ("moving_stddev", "renorm_mean", "renorm_stddev")
    }


def _cell_weights(cell: LayerSpec | KerasModel | None, name: str) -> dict[str, Weight]:
    if not isinstance(cell, LayerSpec):
        return {}
    if cell.class_name != "StackedRNNCells":
        return weights_of(cell, name)
    return {
        key: weight
        for index, part in enumerate(cell.children.values())
        if isinstance(part, LayerSpec)
        for key, weight in weights_of(part, f"{name}/RNNCell_{index}").items()
    }
