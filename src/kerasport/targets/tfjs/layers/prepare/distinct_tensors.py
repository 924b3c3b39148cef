"""Passes that give TF.js distinct tensors, and inputs that it can be fed.

A linear activation makes a second tensor with the same values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kerasport.frontends.keras.infer import input_shape
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    map_tensors,
    rebuild,
)
from kerasport.frontends.keras.precheck import models
from kerasport.targets.tfjs.layers.execution import one_tensor, output_count
from kerasport.targets.tfjs.layers.prepare.identity import linear


def with_feedable_inputs(model: KerasModel) -> KerasModel:
    """Declare inputs of shape [batch] as [batch, 1], followed by a Reshape to [batch].

    TF.js adds an axis to every tensor of rank 1 that it is fed, and then rejects the rank.
    """

    def step(call: Call) -> Call | tuple[KerasTensor, ...]:
        spec = call.target
        if not isinstance(spec, LayerSpec) or spec.class_name != "InputLayer":
            return call
        if len(input_shape(spec)) != 1:
            return call
        shape = [*spec.config["batch_shape"], 1]
        fed = replace(call, target=replace(spec, config={**spec.config, "batch_shape": shape}))
        flat = LayerSpec(f"{spec.name}_flat", "Reshape", {"target_shape": []})
        return (KerasTensor(Call(flat, (KerasTensor(fed),))),)

    return rebuild(model, step, inside=False)


def with_distinct_inputs(model: KerasModel) -> KerasModel:
    """Copy a tensor that one call takes twice.

    TF.js counts both as one use but releases the tensor twice, so it disposes of the tensor while
    other layers still need it.
    """

    def step(call: Call) -> Call:
        seen: set[KerasTensor] = set()

        def distinct(tensor: KerasTensor) -> KerasTensor:
            if tensor not in seen:
                seen.add(tensor)
                return tensor
            copy = KerasTensor(Call(linear(f"{call.target.name}_again_{len(seen)}"), (tensor,)))
            seen.add(copy)
            return copy

        if len(set(call.tensors())) == len(call.tensors()):
            return call
        args, kwargs = map_tensors(call.args, distinct), map_tensors(call.kwargs, distinct)
        return replace(call, args=args, kwargs=kwargs)

    return rebuild(model, step)


def with_distinct_outputs(model: KerasModel) -> KerasModel:
    """Copy outputs of a model, or of a nested one, that are listed twice or are also inputs.

    TF.js throws if a model lists a tensor twice, and a Sequential must hold more than its input.
    """

    def whole(part: KerasModel) -> KerasModel:
        seen = set(part.input_tensors)
        added: list[Call] = []

        def distinct(tensor: KerasTensor) -> KerasTensor:
            if tensor not in seen:
                seen.add(tensor)
                return tensor
            name = f"{tensor.call.target.name}_output" + (f"_{len(added)}" if added else "")
            added.append(Call(linear(name), (tensor,)))
            return KerasTensor(added[-1])

        outputs = map_tensors(part.outputs, distinct)
        return replace(part, outputs=outputs, calls=(*part.calls, *added)) if added else part

    return rebuild(model, whole=whole)


def with_distinct_states(model: KerasModel) -> KerasModel:
    """Copy the last state of a recurrent layer if the model uses both it and the equal output.

    In TF.js the two are one tensor, which TF.js disposes of after the last use of either.
    """
    shared = {call.target for call in calls_with_shared_states(model)}

    def step(call: Call) -> Call | tuple[KerasTensor, ...]:
        if call.target not in shared:
            return call
        assert isinstance(call.target, LayerSpec)
        name = call.target.name
        outputs = [KerasTensor(call, index) for index in range(output_count(call.target))]
        for state, output in one_tensor(call.target).items():
            copy = Call(linear(f"{name}_state_{state}"), (KerasTensor(call, output),))
            outputs[state] = KerasTensor(copy)
        return tuple(outputs)

    return rebuild(model, step) if shared else model


def calls_with_shared_states(model: KerasModel) -> Iterator[Call]:
    """Calls of recurrent layers whose state and equal output are both used."""
    parts = list(models(model))
    used = {tensor for part in parts for call in part.calls for tensor in call.tensors()}
    for part in parts:
        if part is not model:
            used |= set(part.output_tensors)
    for part in parts:
        for call in part.calls:
            shared = one_tensor(call.target) if isinstance(call.target, LayerSpec) else {}
            pairs = [
                {KerasTensor(call, state), KerasTensor(call, output)}
                for state, output in shared.items()
            ]
            if any(pair <= used for pair in pairs):
                yield call
