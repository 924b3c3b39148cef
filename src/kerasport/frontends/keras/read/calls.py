"""Build a `KerasModel` from described layers: resolve references and put the calls in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)
from kerasport.frontends.keras.read.arguments import bind
from kerasport.frontends.keras.read.describe import Described, History, Use
from kerasport.frontends.keras.read.stored import Stored


@dataclass
class Builder:
    """Builds the models of one file. A layer that several models share becomes one object."""

    stored: Mapping[Described, Stored]
    version: str
    _targets: dict[Described, LayerSpec | Operation | KerasModel] = field(default_factory=dict)

    def target(self, described: Described) -> LayerSpec | Operation | KerasModel:
        """Return the layer, operation or model for a description."""
        if described not in self._targets:
            self._targets[described] = self._new(described)
        return self._targets[described]

    def model(self, described: Described) -> KerasModel:
        """Return the model for a description."""
        target = self.target(described)
        assert isinstance(target, KerasModel), "a file of something else is refused before"
        return target

    def _new(self, described: Described) -> LayerSpec | Operation | KerasModel:
        if described.kind == "operation":
            return Operation(described.name, described.class_name, described.config)
        if described.kind == "layer":
            stored = self.stored.get(described, Stored())
            return LayerSpec(
                described.name,
                described.class_name,
                {**described.config, **stored.options},
                stored.weights,
                {part: self._child(child) for part, child in described.children.items()},
                described.custom,
                stored.note,
            )
        if described.kind == "sequential":
            return self._sequential(described)
        return self._functional(described)

    def _child(self, described: Described) -> LayerSpec | KerasModel:
        target = self.target(described)
        if isinstance(target, Operation):
            raise ReadError(
                f"{quoted(described.name)} is an operation inside a wrapper; Keras cannot save "
                "such a model"
            )
        return target

    def _sequential(self, described: Described) -> KerasModel:
        calls = [Call(self.target(described.members[0][0]))]
        for layer, _ in described.members[1:]:
            calls.append(Call(self.target(layer), (KerasTensor(calls[-1]),)))
        _check_inputs(described.name, calls, KerasTensor(calls[0]))
        return KerasModel(
            described.name,
            "sequential",
            tuple(calls),
            KerasTensor(calls[0]),
            KerasTensor(calls[-1]),
            described.trainable,
            class_name=described.class_name,
            custom=described.custom,
        )

    def _functional(self, described: Described) -> KerasModel:
        uses = {
            (layer.name, node): (layer, use)
            for layer, layer_uses in described.members
            for node, use in enumerate(layer_uses or _as_input(layer))
        }
        self._refuse_ambiguous(described)
        shapes = _declared(described)
        calls: dict[tuple[str, int], Call] = {}

        def resolve(value: Any) -> Any:
            if isinstance(value, History):
                return _output(calls[value.layer, value.node], value.index)
            if isinstance(value, Mapping):
                return {key: resolve(item) for key, item in value.items()}
            return tuple(map(resolve, value)) if isinstance(value, tuple) else value

        for key in _ordered(described.name, uses, (described.inputs, described.outputs)):
            layer, use = uses[key]
            target = self.target(layer)
            kwargs = {name: resolve(value) for name, value in use.kwargs.items()}
            bound = bind(target, resolve(use.args), kwargs)
            calls[key] = Call(
                target, bound.args, bound.kwargs, bound.by_position, shapes.get(key, {})
            )
            _check_count(calls[key])
        inputs = resolve(_structured(described.inputs))
        outputs = resolve(_structured(described.outputs))
        _check_ends(described.name, inputs, outputs)
        _check_inputs(described.name, calls.values(), inputs)
        return KerasModel(
            described.name,
            "functional",
            tuple(calls.values()),
            inputs,
            outputs,
            described.trainable,
            class_name=described.class_name,
            custom=described.custom,
        )

    def _refuse_ambiguous(self, described: Described) -> None:
        """Refuse a layer with several calls in a file of Keras 3.2.

        Keras 3.2 wrote 0 for every node index, so the file does not say which call an input refers
        to.
        """
        if not self.version.startswith("3.2."):
            return
        for layer, uses in described.members:
            if len(uses) > 1:
                raise ReadError(
                    f"layer {quoted(layer.name)}: the layer is called {len(uses)} times, and "
                    f"because of a bug Keras {self.version} did not save which call uses which "
                    "input; build the model again with another version of Keras and save it"
                )


def _check_ends(model: str, inputs: Any, outputs: Any) -> None:
    """Raise `ReadError` unless inputs and outputs are tensors, at least one of each."""
    for ends, what in ((inputs, "inputs"), (outputs, "outputs")):
        tensors = flatten(ends)
        if not tensors or not all(isinstance(tensor, KerasTensor) for tensor in tensors):
            raise ReadError(f"model {quoted(model)}: its {what} are not all tensors")


def _check_inputs(model: str, calls: Iterable[Call], inputs: Any) -> None:
    """Raise `ReadError` unless the model's inputs are exactly the outputs of its InputLayers."""
    listed = flatten(inputs)
    ends = dict.fromkeys(listed)
    if len(ends) < len(listed):
        name = next(quoted(end.call.target.name) for end in ends if listed.count(end) > 1)
        raise ReadError(
            f"model {quoted(model)}: the input {name} is listed twice, so it is not known which "
            "of the two the model uses; build the model again with each input listed once, and "
            "save it"
        )
    for call in calls:
        name, tensor = quoted(call.target.name), KerasTensor(call)
        if not _is_input(call):
            if tensor in ends:
                raise ReadError(f"model {quoted(model)}: its input {name} is not an InputLayer")
            if not call.tensors():
                raise ReadError(f"layer {name}: the layer is called without an input")
        elif call.tensors():
            raise ReadError(f"model {quoted(model)}: the InputLayer {name} is called on a tensor")
        elif tensor not in ends:
            raise ReadError(
                f"model {quoted(model)}: the InputLayer {name} is needed, but it is not one of the "
                "inputs of the model"
            )
    if any(tensor.index for tensor in ends):
        raise ReadError(
            f"model {quoted(model)}: an input is not the first output of its InputLayer"
        )


def _output(call: Call, index: int) -> KerasTensor:
    """One output of a call; raise `ReadError` if a nested model has fewer outputs."""
    if isinstance(call.target, KerasModel) and index >= len(call.target.output_tensors):
        count = len(call.target.output_tensors)
        raise ReadError(
            f"model {quoted(call.target.name)}: the file refers to output {index}, but the model "
            f"has {count} output(s), numbered from 0"
        )
    return KerasTensor(call, index)


def _is_input(call: Call) -> bool:
    return isinstance(call.target, LayerSpec) and call.target.class_name == "InputLayer"


def _check_count(call: Call) -> None:
    """Raise `ReadError` if a model is called with a wrong number of tensors."""
    if isinstance(call.target, KerasModel):
        passed, expected = len(flatten(call.args)), len(call.target.input_tensors)
        if passed != expected:
            name = quoted(call.target.name)
            raise ReadError(
                f"model {name}: the model is called on {passed} tensor(s), but it has {expected} "
                "input(s)"
            )


def _as_input(layer: Described) -> list[Use]:
    return [Use()] if layer.class_name == "InputLayer" else []


def _structured(structure: Any) -> Any:
    """Unwrap a list of one tensor, since Keras sometimes wraps a single tensor."""
    return structure[0] if isinstance(structure, tuple) and len(structure) == 1 else structure


def _declared(described: Described) -> dict[tuple[str, int], dict[int, tuple[int | None, ...]]]:
    """Shapes that the file gives to the outputs of calls, written where the outputs are used.

    Returns (layer, node) → output index → shape.
    """
    shapes: dict[tuple[str, int], dict[int, tuple[int | None, ...]]] = {}
    for _, uses in described.members if described.declares else ():
        for use in uses:
            for tensor in _histories((use.args, dict(use.kwargs))):
                if tensor.shape is not None:
                    shapes.setdefault((tensor.layer, tensor.node), {})[tensor.index] = tensor.shape
    return shapes


def _histories(structure: Any) -> Iterator[History]:
    return (leaf for leaf in flatten(structure) if isinstance(leaf, History))


def _ordered(
    model: str, uses: Mapping[tuple[str, int], tuple[Described, Use]], ends: Any
) -> list[tuple[str, int]]:
    """Sort the calls that the model's inputs and outputs need topologically.

    Returns their keys (layer, node). Each call follows the calls whose outputs it uses.
    """
    order: dict[tuple[str, int], None] = {}
    open_: set[tuple[str, int]] = set()
    for end in _histories(ends):
        stack: list[tuple[tuple[str, int], bool]] = [((end.layer, end.node), False)]
        while stack:
            key, done = stack.pop()
            if done:
                open_.discard(key)
                order[key] = None
                continue
            if key in order:
                continue
            if key in open_:
                raise ReadError(
                    f"model {quoted(model)}: layer {quoted(key[0])} depends on its own output, so "
                    "the graph has a cycle"
                )
            if key not in uses:
                raise ReadError(
                    f"model {quoted(model)}: the graph refers to call {key[1]} of layer "
                    f"{quoted(key[0])}, which is not in the file"
                )
            open_.add(key)
            stack.append((key, True))
            use = uses[key][1]
            needs = [(t.layer, t.node) for t in _histories((use.args, dict(use.kwargs)))]
            stack += [(need, False) for need in reversed(needs) if need not in order]
    return list(order)
