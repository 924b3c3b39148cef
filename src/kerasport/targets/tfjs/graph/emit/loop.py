"""Control flow in TF.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Item, TensorType
from kerasport.targets.tfjs.graph.emit.attributes import dtype, integer
from kerasport.targets.tfjs.graph.emit.emitter import Emitter
from kerasport.targets.tfjs.graph.emit.movement import size_of


def emit_item(e: Emitter, node: Item) -> str:
    """One result of a node."""
    return e.several(node.source)[node.index]


def emit_scan(e: Emitter, node: ops.Scan) -> str:
    """`StatelessWhile` with two functions: whether steps are left, and one step.

    Its variables are the step, the number of steps, states, sequences and captured tensors; then a
    tensor list for each result, and for each list the element that was put into it last. TF.js
    disposes of everything that a step creates and does not return, including what it puts into a
    list, so a step returns that element too.
    """
    e.shared.waits = "contains a loop over time"
    time = e.number(node.time) if node.time is not None else size_of(e, node.sequences[0], 1)
    results = [output.type for output in node.body.outputs[len(node.states) :]]
    lists = [
        e.add("TensorListReserve", [_shape(e, result), time], element_dtype=dtype(result.dtype))
        for result in results
    ]
    operands = [*node.states, *node.sequences, *node.captured]
    dtypes = ["int32", "int32", *(tensor.dtype for tensor in operands)]
    dtypes += [result.dtype for result in results * 2]
    nothing = [e.add("Identity", [e.number(0, result.dtype)]) for result in results]
    variables = [e.number(0), time, *map(e.ref, operands), *lists, *nothing]
    cond, body = _condition(e, dtypes), _body(e, node, dtypes)
    loop = e.add(
        "StatelessWhile", variables, cond={"func": {"name": cond}}, body={"func": {"name": body}}
    )
    states = [f"{loop}:{2 + index}" for index in range(len(node.states))]
    first = len(variables) - 2 * len(lists)
    over = [_stacked(e, f"{loop}:{first + index}", result) for index, result in enumerate(results)]
    return e.results(node, (*states, *over))


def emit_branch(e: Emitter, node: ops.Branch) -> str:
    """`StatelessIf` with a function for each branch."""
    e.shared.waits = e.shared.waits or "contains a branch"
    branches = {
        name: {"func": {"name": _function(e, name, body)}}
        for name, body in (("then_branch", node.then_body), ("else_branch", node.else_body))
    }
    chosen = e.add("StatelessIf", [node.predicate, *node.captured], **branches)
    return e.results(node, _numbered(chosen, len(node.then_body.outputs)))


def emit_loop(e: Emitter, node: ops.Loop) -> str:
    """`StatelessWhile` whose variables are the states, then the captured tensors."""
    e.shared.waits = e.shared.waits or "contains a loop"
    cond = _function(e, "cond", node.condition)
    body = _function(e, "body", node.body, passed=len(node.captured))
    loop = e.add(
        "StatelessWhile",
        [*node.states, *node.captured],
        cond={"func": {"name": cond}},
        body={"func": {"name": body}},
    )
    return e.results(node, _numbered(loop, len(node.states)))


def _function(e: Emitter, name: str, body: Graph, passed: int = 0) -> str:
    """A function of a graph, which also returns its last `passed` inputs."""
    inner = e.inside(body)
    arguments = _arguments(e, [tensor.dtype for tensor in body.inputs])
    for tensor, (argument, _) in zip(body.inputs, arguments, strict=True):
        inner.bind(tensor, argument)
    ends = [*body.outputs, *body.inputs[len(body.inputs) - passed :]]
    values = [inner.add("Identity", [value]) for value in inner.emit_all(ends)]
    kinds = [end.dtype for end in ends]
    return inner.function(name, arguments, list(zip(values, kinds, strict=True)))


def _numbered(name: str, count: int) -> list[str]:
    """The results of a node."""
    return [f"{name}:{index}" if index else name for index in range(count)]


def _shape(e: Emitter, result: TensorType) -> str:
    """The shape of a list's elements."""
    return e.ints([-1 if size is None else size for size in result.shape])


def _stacked(e: Emitter, tensors: str, result: TensorType) -> str:
    """The elements of a list as one tensor [batch, time, …]."""
    stacked = e.add(
        "TensorListStack", [tensors, _shape(e, result)], element_dtype=dtype(result.dtype)
    )
    return e.add("Transpose", [stacked, e.ints([1, 0, *range(2, result.rank + 1)])])


def _arguments(e: Emitter, dtypes: Sequence[str]) -> list[tuple[str, str]]:
    """A name and an element type for each argument of a function."""
    return [(e.shared.unique("argument"), kind) for kind in dtypes]


def _condition(e: Emitter, dtypes: Sequence[str]) -> str:
    """The function that computes whether steps are left."""
    inner = e.inside(Graph((), ()))
    arguments = _arguments(e, dtypes)
    left = inner.add("Less", [arguments[0][0], arguments[1][0]])
    return inner.function("more", arguments, [(left, "bool")])


@dataclass(frozen=True)
class _Variables:
    """Names of the variables of a loop, as a step sees them."""

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
            take(len(node.body.outputs) - len(node.states)),
        )


def _body(e: Emitter, node: ops.Scan, dtypes: Sequence[str]) -> str:
    """The function of one step."""
    inner = e.inside(node.body)
    arguments = _arguments(e, dtypes)
    before = _Variables.of(node, [name for name, _ in arguments])
    one, place = inner.number(1), before.step
    if node.reverse:
        place = inner.add("Sub", [inner.add("Sub", [before.steps, one]), before.step])
    read = [
        inner.add("GatherV2", [sequence, place, one], batch_dims=integer(0))
        for sequence in before.sequences
    ]
    inputs = (*before.states, *read, *before.captured)
    for tensor, name in zip(node.body.inputs, inputs, strict=True):
        inner.bind(tensor, name)
    outputs = inner.emit_all(node.body.outputs)
    states, results = outputs[: len(node.states)], outputs[len(node.states) :]
    results = [inner.add("Identity", [result]) for result in results]
    kinds = [output.dtype for output in node.body.outputs[len(node.states) :]]
    lists = [
        inner.add("TensorListSetItem", [tensors, before.step, result], element_dtype=dtype(kind))
        for tensors, result, kind in zip(before.lists, results, kinds, strict=True)
    ]
    step = inner.add("AddV2", [before.step, one])
    after = [step, before.steps, *states, *before.sequences, *before.captured, *lists]
    ends = [*(inner.add("Identity", [variable]) for variable in after), *results]
    return inner.function("step", arguments, list(zip(ends, dtypes, strict=True)))
