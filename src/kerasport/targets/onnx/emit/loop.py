"""Control flow in ONNX, and recurrent layers that are one operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Item, Tensor, TensorType
from kerasport.targets.onnx.emit.emitter import Emitter, typed
from kerasport.targets.onnx.recurrent import ACTIVATIONS, CountingFirst, Recurrent, TakeSteps


def emit_scan(e: Emitter, node: ops.Scan) -> onnx.Value:
    """`Scan`; its body refers to captured tensors by name."""
    inner, arguments = e.inside(node.body), []
    count = len(node.states) + len(node.sequences)
    for tensor in node.body.inputs[:count]:
        value = typed(onnx.Value(name=e.shared.unique(tensor.name)), tensor.type)
        inner.bind(tensor, value)
        arguments.append(value)
    for tensor, outside in zip(node.body.inputs[count:], node.captured, strict=True):
        inner.bind(tensor, e.ref(outside))
    outputs = inner.own(node.body.outputs, inner.emit_all(node.body.outputs))
    body = onnx.Graph(arguments, outputs, nodes=inner.nodes, name=e.shared.unique("step"))
    attributes: dict[str, Any] = {
        "scan_input_axes": list(node.axes),
        "scan_input_directions": list(map(int, node.backwards)),
    }
    if node.results:
        attributes["scan_output_axes"] = list(node.result_axes)
        attributes["scan_output_directions"] = list(map(int, node.result_backwards))
    values = e.add_several(
        "Scan",
        [*node.states, *node.sequences],
        len(outputs),
        body=body,
        num_scan_inputs=len(node.sequences),
        **attributes,
    )
    return e.results(node, values)


def emit_branch(e: Emitter, node: ops.Branch) -> onnx.Value:
    """`If`; its branches take no inputs, they refer to captured tensors by name."""
    captured = [e.ref(tensor) for tensor in node.captured]
    branches: dict[str, Any] = {}
    for name, body in (("then_branch", node.then_body), ("else_branch", node.else_body)):
        inner = e.inside(body)
        outputs = inner.own(body.outputs, _emitted(inner, body, captured))
        branches[name] = onnx.Graph([], outputs, nodes=inner.nodes, name=e.shared.unique(name))
    values = e.add_several("If", [node.predicate], len(node.then_body.outputs), **branches)
    return e.results(node, values)


def emit_loop(e: Emitter, node: ops.Loop) -> onnx.Value:
    """`Loop` with a trip count, a condition or both.

    ONNX takes the first condition as an operand, and each step computes the next one. So the
    condition is written twice: before the loop, and at the end of its body.
    """
    captured = [e.ref(tensor) for tensor in node.captured]
    first = _condition(e, node, [*map(e.ref, node.states), *captured])
    count = None
    if node.trip_count is not None:
        count = e.cast(node.trip_count, onnx.DataType.INT64)
    inner = e.inside(node.body)
    step, more = (onnx.Value(name=e.shared.unique(name)) for name in ("step", "more"))
    typed(step, TensorType("int64", ()))
    typed(more, TensorType("bool", ()))
    states = [
        typed(onnx.Value(name=e.shared.unique(tensor.name)), tensor.type)
        for tensor in node.body.inputs[: len(node.states)]
    ]
    after = _emitted(inner, node.body, [*states, *captured])
    again = _condition(inner, node, [*after[: len(node.states)], *captured])
    if again is None:
        again = typed(inner.add("Identity", [more]), TensorType("bool", ()))
        outputs = [again, *inner.own(node.body.outputs, after)]
    else:
        assert node.condition is not None
        outputs = inner.own([*node.condition.outputs, *node.body.outputs], [again, *after])
    body = onnx.Graph(
        [step, more, *states], outputs, nodes=inner.nodes, name=e.shared.unique("step")
    )
    values = e.add_several("Loop", [count, first, *node.states], len(after), body=body)
    over = values[len(node.states) :]
    if over and node.may_be_empty:
        over = [_sized(e, *pair) for pair in zip(over, node.result_sizes(), strict=True)]
    return e.results(node, [*values[: len(node.states)], *over])


def _sized(
    e: Emitter, value: onnx.Value, sizes: Sequence[int | tuple[Tensor, int] | None]
) -> onnx.Value:
    """A result with the sizes of operands, which all steps have.

    Without steps, ONNX Runtime sets sizes to 0 that are known only at run time.
    """
    if not any(isinstance(size, tuple) for size in sizes):
        return value
    parts = [e.add("Shape", [value], start=0, end=1)]
    for axis, size in enumerate(sizes, 1):
        parts.append(
            e.size(*size)
            if isinstance(size, tuple)
            else e.add("Shape", [value], start=axis, end=axis + 1)
        )
    return e.add("Reshape", [value, e.add("Concat", parts, axis=0)], allowzero=1)


def _condition(e: Emitter, node: ops.Loop, operands: Sequence[onnx.Value]) -> onnx.Value | None:
    """The condition of a loop, written among the nodes of the emitter; None if it has none."""
    if node.condition is None:
        return None
    inner = e.inside(node.condition)
    (value,) = _emitted(inner, node.condition, operands)
    e.nodes.extend(inner.nodes)
    return value


def _emitted(inner: Emitter, body: Graph, operands: Sequence[onnx.Value]) -> list[onnx.Value]:
    """The outputs of a body whose inputs are these values."""
    for tensor, value in zip(body.inputs, operands, strict=True):
        inner.bind(tensor, value)
    return inner.emit_all(body.outputs)


def emit_item(e: Emitter, node: Item) -> onnx.Value:
    """One result of a node. Results of recurrent operators lose their axis of directions."""
    value, source = e.several(node.source)[node.index], node.source
    if not isinstance(source, Recurrent):
        return value
    # last states are [directions, batch, units], all outputs [time, directions, batch, units]
    return e.add("Squeeze", [value, e.ints([0 if node.index < source.count else 1])])


def emit_recurrent(e: Emitter, node: Recurrent) -> onnx.Value:
    """`LSTM`, `GRU` or `RNN` of one direction. ONNX returns all outputs first, the node last."""
    states: list[onnx.Value | None] = [
        e.add("Unsqueeze", [state, e.ints([0])]) for state in node.states
    ]
    inputs = [node.x, node.kernel, node.recurrent_kernel, node.bias, node.lengths, *states]
    while inputs[-1] is None:
        inputs.pop()
    activations = [ACTIVATIONS[name] for name in node.activations]
    attributes: dict[str, Any] = {
        "hidden_size": node.units,
        "activations": [activation.name for activation in activations],
    }
    # each list has values only for the activations that have the parameter
    if alphas := [activation.alpha for activation in activations if activation.alpha is not None]:
        attributes["activation_alpha"] = alphas
    if betas := [activation.beta for activation in activations if activation.beta is not None]:
        attributes["activation_beta"] = betas
    if node.reverse:
        attributes["direction"] = "reverse"
    if node.reset_after:
        attributes["linear_before_reset"] = 1
    outputs, *last = e.add_several(node.operator, inputs, 1 + node.count, **attributes)
    return e.results(node, (*last, outputs))


def emit_counting_first(e: Emitter, node: CountingFirst) -> onnx.Value:
    """`TopK` as a stable sort: of time - t for each step t that counts, and -t for others."""
    time = e.size(node.mask, 1)
    steps = e.add("Range", [e.wide(0), e.add("Squeeze", [time]), e.wide(1)])
    weight = e.add("Where", [node.mask, time, e.wide(0)])
    _, places = e.add_several("TopK", [e.add("Sub", [weight, steps]), time], 2)
    return e.cast(places, onnx.DataType.INT32)


def emit_take_steps(e: Emitter, node: TakeSteps) -> onnx.Value:
    """`GatherND` with the batch as its batch dimension."""
    places = e.add("Unsqueeze", [e.cast(node.places, onnx.DataType.INT64), e.ints([-1])])
    return e.add("GatherND", [node.x, places], batch_dims=1)
