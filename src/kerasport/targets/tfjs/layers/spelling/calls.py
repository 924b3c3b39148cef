"""Calls that TF.js does not support as Keras makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerasport.errors import Problem
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.layers import LAYERS, traits_of
from kerasport.frontends.keras.layers.base import called_on
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec, flatten
from kerasport.frontends.keras.training import training_counts
from kerasport.targets.tfjs.layers.execution import output_count
from kerasport.weights import Shape

CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
CONSTANT = "it is called on a constant, which a layers-model cannot store"
STATEFUL = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM2D", "RNN", "Bidirectional")
"""Layers that take the call argument `initial_state`."""
BROKEN_STATES: Mapping[str, str] = {
    "ConvLSTM2D": "TF.js checks the states of a convolutional LSTM incorrectly",
    "RNN": "TF.js expects the states of a cell in another order",
}
"""Class → why it cannot take an `initial_state`."""


def call_problems(
    model: KerasModel, target: LayerSpec | KerasModel, shapes: Mapping[KerasTensor, Shape]
) -> Iterator[Problem]:
    """Everything that TF.js does not support about the calls of a layer or nested model.

    TF.js passes only tensors to a layer, and the mask of its inputs.
    """
    calls = model.calls_of[target]
    for call in calls:
        yield from _argument_problems(call, target, model.dialect)
        yield from _constant_problems(call, target)
        yield from _input_problems(call, target)
        yield from _state_problems(call, target)
    if isinstance(target, LayerSpec):
        yield from _output_problems(model, target)
    if target.class_name == "TimeDistributed":
        yield from _length_problems(target, calls, shapes)


def _argument_problems(
    call: Call, target: LayerSpec | KerasModel, dialect: Dialect
) -> Iterator[Problem]:
    """Arguments that TF.js does not support."""
    for argument, value in call.kwargs.items():
        # `refusals` reports image layers
        counts = not traits_of(target).images and training_counts(target, value, dialect)
        if value is None or (argument == "training" and not counts):
            continue
        if argument == "initial_state" and target.class_name in STATEFUL:
            continue
        reason = "TF.js does not support this argument of the call"
        yield Problem(target.name, target.class_name, reason, argument, _shown(value))


def _shown(value: Any) -> Any:
    """The value of an argument as a report shows it."""
    if isinstance(value, KerasTensor):
        return "a tensor"
    return value if isinstance(value, bool | int | float | str) else "…"


def _constant_problems(call: Call, target: LayerSpec | KerasModel) -> Iterator[Problem]:
    """Constants in place of tensors."""
    states = call.kwargs.get("initial_state")
    if not all(isinstance(leaf, KerasTensor) for leaf in flatten(call.args)):
        yield Problem(target.name, target.class_name, CONSTANT)
    if states is not None and not all(isinstance(leaf, KerasTensor) for leaf in flatten(states)):
        yield Problem(target.name, target.class_name, CONSTANT, "initial_state", "…")


def _input_problems(call: Call, target: LayerSpec | KerasModel) -> Iterator[Problem]:
    """Cells outside of an RNN, and wrong numbers of inputs."""
    name, class_name = target.name, target.class_name
    if class_name == "InputLayer":
        return
    count, cls = len(flatten(call.args)), LAYERS.get(class_name)
    if class_name in CELLS:
        yield Problem(name, class_name, "TF.js runs cells only inside an RNN layer")
    elif isinstance(target, KerasModel):
        if count != len(target.input_tensors):
            reason = f"it is called on {count} tensors but has {len(target.input_tensors)} inputs"
            yield Problem(name, class_name, reason)
    elif cls is not None and not cls.works_on(count):
        yield Problem(name, class_name, called_on(count, cls))


def _state_problems(call: Call, target: LayerSpec | KerasModel) -> Iterator[Problem]:
    """Initial states that TF.js misinterprets."""
    if target.class_name in BROKEN_STATES and call.kwargs.get("initial_state") is not None:
        reason = BROKEN_STATES[target.class_name]
        yield Problem(target.name, target.class_name, reason, "initial_state", "…")


def _output_problems(model: KerasModel, spec: LayerSpec) -> Iterator[Problem]:
    """Outputs of a layer that the model uses, but that TF.js does not return."""
    count = output_count(spec)
    for call in model.calls_of[spec]:
        for index in sorted(model.outputs_used.get(call, ())):
            if not 0 <= index < count:
                reason = f"the model uses output {index} of this layer, but in TF.js it has {count}"
                yield Problem(spec.name, spec.class_name, reason)


def _length_problems(
    target: LayerSpec | KerasModel, calls: Sequence[Call], shapes: Mapping[KerasTensor, Shape]
) -> Iterator[Problem]:
    """Inputs of a TimeDistributed that differ from the first one, whose sizes TF.js requires."""
    first, *others = [shapes.get(x, ()) for call in calls for x in call.tensors()[:1]] or [()]
    for shape in others:
        sizes = zip(first, shape, strict=False)
        if any(size not in (None, other) for size, other in sizes):
            reason = "it is called on inputs of different sizes"
            reason = f"{reason}, but TF.js requires the sizes of the first input"
            yield Problem(target.name, target.class_name, reason)
            return
