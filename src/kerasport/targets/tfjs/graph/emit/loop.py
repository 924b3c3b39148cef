"""Control flow in TF.js.

A loop is a `StatelessWhile` with two functions: whether to run another step, and one step. Its
results are collected in tensor lists. TF.js disposes of everything that a step creates and does not
return, including what it puts into a list, so a step returns that element too. Source: tfjs-
converter, operations/executors/control_executor.ts and executor/tensor_list.ts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Item, Tensor
from kerasport.targets.tfjs.graph.emit.attributes import dtype, integer
from kerasport.targets.tfjs.graph.emit.emitter import Emitter
from kerasport.targets.tfjs.graph.emit.movement import size_of


def emit_item(e: Emitter, node: Item) -> str:
    """One result of a node."""
    return e.several(node.source)[node.index]


def emit_branch(e: Emitter, node: ops.Branch) -> str:
    """`StatelessIf` with a function for each branch."""
    e.shared.waits = e.shared.waits or "contains a branch"
    branches = {
        name: {"func": {"name": _function(e, name, body)}}
        for name, body in (("then_branch", node.then_body), ("else_branch", node.else_body))
    }
    chosen = e.add("StatelessIf", [node.predicate, *node.captured], **branches)
    return e.results(node, _numbered(chosen, len(node.then_body.outputs)))


def _function(e: Emitter, name: str, body: Graph) -> str:
    """A function of a graph."""
    inner = e.inside(body)
    arguments = _arguments(e, [tensor.dtype for tensor in body.inputs])
    for tensor, (argument, _) in zip(body.inputs, arguments, strict=True):
        inner.bind(tensor, argument)
    values = [inner.add("Identity", [value]) for value in inner.emit_all(body.outputs)]
    kinds = [end.dtype for end in body.outputs]
    return inner.function(name, arguments, list(zip(values, kinds, strict=True)))


def _numbered(name: str, count: int) -> list[str]:
    """The results of a node."""
    return [f"{name}:{index}" if index else name for index in range(count)]


def _arguments(e: Emitter, dtypes: Sequence[str]) -> list[tuple[str, str]]:
    """A name and an element type for each argument of a function."""
    return [(e.shared.unique("argument"), kind) for kind in dtypes]


# -------------------------------------------------------------------------------------------- scans


def emit_scan(e: Emitter, node: ops.Scan) -> str:
    """A loop whose variables are the step, the number of steps, states, sequences and captured.

    Then comes a list for each result, and for each list the element that was put into it last.
    """
    e.shared.waits = "contains a loop over time"
    axis = node.axes[0]
    time = e.number(node.time) if node.time is not None else size_of(e, node.sequences[0], axis)
    lists = [_reserved(e, result, time) for result in node.results]
    operands = [*node.states, *node.sequences, *node.captured]
    dtypes = ["int32", "int32", *(tensor.dtype for tensor in operands)]
    dtypes += [result.dtype for result in node.results * 2]
    variables = [e.number(0), time, *map(e.ref, operands), *lists, *_nothing(e, node.results)]
    cond, body = _more_steps(e, dtypes), _step_of_scan(e, node, dtypes)
    loop = _while(e, variables, cond, body)
    states = [f"{loop}:{2 + index}" for index in range(len(node.states))]
    first = len(variables) - 2 * len(lists)
    over = [
        _moved(e, _stacked(e, f"{loop}:{first + index}", result), result.rank, axis)
        for index, (result, axis) in enumerate(zip(node.results, node.result_axes, strict=True))
    ]
    return e.results(node, (*states, *over))


def _more_steps(e: Emitter, dtypes: Sequence[str]) -> str:
    """The function that computes whether steps of a scan are left."""
    inner = e.inside(Graph((), ()))
    arguments = _arguments(e, dtypes)
    left = inner.add("Less", [arguments[0][0], arguments[1][0]])
    return inner.function("more", arguments, [(left, "bool")])


@dataclass(frozen=True)
class _Variables:
    """Names of the variables of a scan, as a step sees them."""

    step: str
    steps: str
    states: list[str]
    sequences: list[str]
    captured: list[str]
    lists: list[str]

    @classmethod
    def of(cls, node: ops.Scan, names: Sequence[str]) -> _Variables:
        """The variables in the order of `emit_scan`, without the last elements of the lists."""
        rest = iter(names[2:])

        def take(count: int) -> list[str]:
            return [next(rest) for _ in range(count)]

        return cls(
            names[0],
            names[1],
            take(len(node.states)),
            take(len(node.sequences)),
            take(len(node.captured)),
            take(len(node.results)),
        )


def _step_of_scan(e: Emitter, node: ops.Scan, dtypes: Sequence[str]) -> str:
    """The function of one step."""
    inner = e.inside(node.body)
    arguments = _arguments(e, dtypes)
    before = _Variables.of(node, [name for name, _ in arguments])
    one, turned = inner.number(1), before.step
    if any((*node.backwards, *node.result_backwards)):
        turned = inner.add("Sub", [inner.add("Sub", [before.steps, one]), before.step])
    read = [
        inner.add(
            "GatherV2",
            [sequence, turned if backwards else before.step, inner.number(axis)],
            batch_dims=integer(0),
        )
        for sequence, axis, backwards in zip(
            before.sequences, node.axes, node.backwards, strict=True
        )
    ]
    inputs = (*before.states, *read, *before.captured)
    for tensor, name in zip(node.body.inputs, inputs, strict=True):
        inner.bind(tensor, name)
    outputs = inner.emit_all(node.body.outputs)
    states, results = outputs[: len(node.states)], outputs[len(node.states) :]
    results = [inner.add("Identity", [result]) for result in results]
    places = [turned if backwards else before.step for backwards in node.result_backwards]
    lists = _put(inner, before.lists, places, results, node.results)
    step = inner.add("AddV2", [before.step, one])
    after = [step, before.steps, *states, *before.sequences, *before.captured, *lists]
    ends = [*(inner.add("Identity", [variable]) for variable in after), *results]
    return inner.function("step", arguments, list(zip(ends, dtypes, strict=True)))


# ------------------------------------------------------------------------------------- other loops


def emit_loop(e: Emitter, node: ops.Loop) -> str:
    """A loop whose variables are states and captured tensors.

    A loop with a trip count or results also has the step and the trip count before them, and after
    them the lists and their last elements, as a scan has.
    """
    e.shared.waits = e.shared.waits or "contains a loop"
    lists = _lists(e, node)
    counters = [e.number(0)] if node.trip_count or node.results else []
    counters += [e.ref(node.trip_count)] if node.trip_count else []
    operands = [*node.states, *node.captured]
    dtypes = ["int32"] * len(counters) + [tensor.dtype for tensor in operands]
    dtypes += [result.dtype for result in node.results * 2]
    variables = [*counters, *map(e.ref, operands), *lists, *_nothing(e, node.results)]
    loop = _while(e, variables, _condition(e, node, dtypes), _step(e, node, dtypes))
    names, first = _numbered(loop, len(variables)), len(counters)
    states = names[first : first + len(node.states)]
    ends = names[first + len(operands) :]
    over = [
        _first_steps(e, _stacked(e, ends[index], result), names[0], result.rank)
        if node.may_be_empty
        else _stacked(e, ends[index], result)
        for index, result in enumerate(node.results)
    ]
    return e.results(node, (*states, *over))


def _inputs_of(node: ops.Loop, names: Sequence[str]) -> Sequence[str]:
    """The variables that are inputs of condition and body."""
    first = (node.trip_count is not None) + (node.trip_count is not None or bool(node.results))
    return names[first : first + len(node.states) + len(node.captured)]


def _condition(e: Emitter, node: ops.Loop, dtypes: Sequence[str]) -> str:
    """The function that computes whether to run another step."""
    graph = node.condition or Graph((), ())
    inner = e.inside(graph)
    arguments = _arguments(e, dtypes)
    names = [name for name, _ in arguments]
    for tensor, name in zip(graph.inputs, _inputs_of(node, names), strict=False):
        inner.bind(tensor, name)
    parts = [inner.add("Identity", [value]) for value in inner.emit_all(graph.outputs)]
    if node.trip_count is not None:
        parts.append(inner.add("Less", names[:2]))
    more = parts[0] if len(parts) == 1 else inner.add("LogicalAnd", parts)
    return inner.function("cond", arguments, [(more, "bool")])


def _step(e: Emitter, node: ops.Loop, dtypes: Sequence[str]) -> str:
    """The function of one step."""
    inner = e.inside(node.body)
    arguments = _arguments(e, dtypes)
    names = [name for name, _ in arguments]
    inputs = _inputs_of(node, names)
    for tensor, name in zip(node.body.inputs, inputs, strict=True):
        inner.bind(tensor, name)
    outputs = inner.emit_all(node.body.outputs)
    count = len(node.states)
    results = [inner.add("Identity", [result]) for result in outputs[count:]]
    before = names[len(names) - 2 * len(results) : len(names) - len(results)]
    lists = _put(inner, before, names[:1] * len(results), results, node.results)
    counters = names[: len(names) - len(inputs) - 2 * len(results)]
    if counters:
        counters = [inner.add("AddV2", [counters[0], inner.number(1)]), *counters[1:]]
    after = [*counters, *outputs[:count], *inputs[count:], *lists]
    ends = [*(inner.add("Identity", [variable]) for variable in after), *results]
    return inner.function("body", arguments, list(zip(ends, dtypes, strict=True)))


def _while(e: Emitter, variables: Sequence[str], cond: str, body: str) -> str:
    """A `StatelessWhile` with two functions."""
    return e.add(
        "StatelessWhile", variables, cond={"func": {"name": cond}}, body={"func": {"name": body}}
    )


# ------------------------------------------------------------------------------------------ results


def _reserved(e: Emitter, result: Tensor, steps: str) -> str:
    """A list for one result."""
    return e.add("TensorListReserve", [_shape(e, result), steps], element_dtype=dtype(result.dtype))


def _lists(e: Emitter, node: ops.Loop) -> list[str]:
    """A list for each result of a loop.

    TF.js cannot stack an empty list. So if there may be no steps, a list has an element with the
    sizes of the result, as far as they are known. The first step replaces it.
    """
    lists = [_reserved(e, result, e.number(0)) for result in node.results]
    if not node.may_be_empty or not lists:
        return lists
    empty = [
        _filled(e, sizes, result)
        for sizes, result in zip(node.result_sizes(), node.results, strict=True)
    ]
    return _put(e, lists, [e.number(0)] * len(lists), empty, node.results)


def _filled(e: Emitter, sizes: Sequence[int | tuple[Tensor, int] | None], like: Tensor) -> str:
    """A tensor of zeros; sizes that are not known are 0."""
    parts = [
        size_of(e, *size) if isinstance(size, tuple) else e.number(size or 0) for size in sizes
    ]
    shape = e.add("Pack", parts, N=integer(len(parts)), axis=integer(0)) if parts else e.ints([])
    return e.add("Fill", [shape, e.number(0, like.dtype)], T=dtype(like.dtype))


def _put(
    e: Emitter,
    lists: Sequence[str],
    places: Sequence[str],
    values: Sequence[str],
    results: Sequence[Tensor],
) -> list[str]:
    """Lists, each with a value put into a place."""
    return [
        e.add("TensorListSetItem", [tensors, place, value], element_dtype=dtype(result.dtype))
        for tensors, place, value, result in zip(lists, places, values, results, strict=True)
    ]


def _nothing(e: Emitter, results: Sequence[Tensor]) -> list[str]:
    """A placeholder for the last element of each list, before the first step."""
    return [e.add("Identity", [e.number(0, result.dtype)]) for result in results]


def _shape(e: Emitter, result: Tensor) -> str:
    """The shape of a list's elements."""
    return e.ints([-1 if size is None else size for size in result.shape])


def _stacked(e: Emitter, tensors: str, result: Tensor) -> str:
    """The elements of a list as one tensor, stacked along axis 0."""
    return e.add("TensorListStack", [tensors, _shape(e, result)], element_dtype=dtype(result.dtype))


def _first_steps(e: Emitter, stacked: str, steps: str, rank: int) -> str:
    """The first steps of a stacked result of steps of a rank."""
    sizes = [steps, *[e.number(-1)] * rank]
    size = e.add("Pack", sizes, N=integer(len(sizes)), axis=integer(0))
    return e.add("Slice", [stacked, e.ints([0] * len(sizes)), size])


def _moved(e: Emitter, stacked: str, rank: int, axis: int) -> str:
    """A stacked result of steps of a rank, with axis 0 moved to another place."""
    if not axis:
        return stacked
    order = [*range(1, axis + 1), 0, *range(axis + 1, rank + 1)]
    return e.add("Transpose", [stacked, e.ints(order)])
