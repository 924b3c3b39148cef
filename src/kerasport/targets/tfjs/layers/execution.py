"""How TF.js builds and runs a model: the order of its calls, and the outputs of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kerasport.frontends.keras.masks import returns_sequences
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec, flatten


def inputs_of(call: Call) -> list[KerasTensor]:
    """The input tensors of a call in the order of TF.js: arguments, then initial states."""
    return [
        leaf
        for leaf in flatten((call.args, call.kwargs.get("initial_state")))
        if isinstance(leaf, KerasTensor)
    ]


def executed(model: KerasModel) -> Iterator[KerasTensor]:
    """Tensors in the order in which TF.js computes them.

    TF.js walks depth first from each output, and visits the last input of a call first
    (tfjs-layers engine/executor.ts).
    """
    visited = set(model.input_tensors)
    for output in model.output_tensors:
        stack, marked = [output], set[int]()
        while stack:
            top = stack[-1]
            if top in visited:
                marked.discard(len(stack))
                stack.pop()
                continue
            if len(stack) in marked or not inputs_of(top.call):
                marked.discard(len(stack))
                visited.add(stack.pop())
                yield top
                continue
            marked.add(len(stack))
            stack += [tensor for tensor in inputs_of(top.call) if tensor not in visited]


def creation_order(targets: list[Any], calls: tuple[Call, ...]) -> dict[Any, list[Call]]:
    """The calls of each target in the order in which TF.js recreates them from a file.

    TF.js goes through the layers repeatedly. Each time it makes the calls whose inputs exist, and
    numbers the calls of a layer in the order of their creation (tfjs-layers engine/container.ts).
    With shared layers this order can differ from that of the graph, and a file with other numbers
    would load as another graph.
    """
    waiting: dict[Any, list[Call]] = {target: [] for target in targets}
    for call in calls:
        waiting[call.target].append(call)
    created: set[Call] = set()
    order: dict[Any, list[Call]] = {target: [] for target in targets}
    while any(waiting.values()):
        before = len(created)
        for target in targets:
            left = []
            for call in waiting[target]:
                if all(tensor.call in created for tensor in call.tensors()):
                    created.add(call)
                    order[target].append(call)
                else:
                    left.append(call)
            waiting[target] = left
        assert len(created) > before, "calls are in topological order, so each pass creates some"
    return order


def one_tensor(spec: LayerSpec) -> Mapping[int, int]:
    """States of a recurrent layer that TF.js returns as the same tensor as an output.

    Returns the index of each such state → index of the output, both among everything that the
    layer returns. This happens for layers that return the last time step and their states.
    """
    inner = spec.children.get("forward_layer", spec)
    if not isinstance(inner, LayerSpec) or not inner.config.get("return_state"):
        return {}
    if returns_sequences(spec):
        return {}
    *before, _ = counts = _state_counts(inner)
    if inner is spec:
        return {1 + sum(before): 0}
    if not _is_unmerged(spec):
        return {}
    return {2 + sum(before): 0, 2 + sum(counts) + sum(before): 1}


def output_count(spec: LayerSpec) -> int:
    """The number of tensors that a call of a layer returns in TF.js."""
    inner = spec.children.get("forward_layer", spec)
    if not isinstance(inner, LayerSpec):
        return 1
    states = sum(_state_counts(inner)) if inner.config.get("return_state") else 0
    if inner is spec:
        return 1 + states
    return (2 if _is_unmerged(spec) else 1) + 2 * states


def _is_unmerged(bidirectional: LayerSpec) -> bool:
    """Whether a Bidirectional returns the outputs of both directions separately."""
    return bidirectional.config.get("merge_mode", "concat") is None


def _state_counts(spec: LayerSpec) -> list[int]:
    """The number of states of each cell of a recurrent layer."""
    cell = spec.children.get("cell", spec)
    cells = list(cell.children.values()) if isinstance(cell, LayerSpec) else []
    return [
        2 if part.class_name.startswith(("LSTM", "ConvLSTM")) else 1 for part in cells or [cell]
    ]
