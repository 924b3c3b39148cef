"""Simplification of control flow: what a body does not need is removed, and constants move inside.

Front ends pass everything that a body uses through its inputs, also weights. Inside, a weight can
be folded, fused and stored as a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kerasport.ir.graph import Graph, walk, with_operands
from kerasport.ir.ops import Branch, Constant, Input, Loop, Scan, Tensor
from kerasport.ir.tensor import Node, Several, items
from kerasport.passes.fold import fold_constants
from kerasport.passes.loop import Results, Used, inside_bodies, with_results
from kerasport.passes.rewrite import rewrite


def simplified(graph: Graph) -> Graph:
    """The graph, and all bodies, with less control flow."""
    if not any(isinstance(node, Branch | Loop | Scan) for node in graph.nodes()):
        return graph
    graph = rewrite(graph, fold_constants)
    while (inlined := with_results(graph, _chosen)) is not graph:
        graph = rewrite(inlined, fold_constants)
    graph = inside_bodies(with_results(graph, _lean), simplified)
    # what is known inside of a body now can make more states and captured tensors superfluous
    return with_results(graph, _lean)


def _chosen(node: Several, used: Used) -> Results:
    """The results of a branch whose predicate is known."""
    del used
    if not isinstance(node, Branch) or not isinstance(node.predicate, Constant):
        return None
    body = node.then_body if node.predicate.read() else node.else_body
    return body.applied(node.captured)


def _lean(node: Several, used: Used) -> Results:
    """The results of a node without what its bodies do not need."""
    if isinstance(node, Branch):
        return _lean_branch(node, used)
    # a scan with a kind is described by it, also its states
    if isinstance(node, Loop) or (isinstance(node, Scan) and node.kind is None):
        return _lean_loop(node, used)
    return None


def _lean_branch(node: Branch, used: Used) -> Results:
    kept = sorted(used)
    fewer = node
    if len(kept) < len(node.then_body.outputs):
        bodies: dict[str, Any] = {
            name: _with_outputs(body, kept) for name, body in _bodies(node).items()
        }
        fewer = replace(node, **bodies)
    leaner = _with_less_captured(fewer)
    return None if leaner is node else _spread(items(leaner), kept)


def _lean_loop(node: Loop | Scan, used: Used) -> Results:
    count = len(node.states)
    live = _live_states(node, used)
    fixed = [index for index in live if node.body.outputs[index] is node.body.inputs[index]]
    moving = [index for index in live if index not in fixed]
    results = [index - count for index in sorted(used) if index >= count]
    if not moving and not results:
        return node.states
    fewer = node
    if len(moving) < count or len(results) < len(node.results):
        fewer = _regrouped(node, moving, fixed, results)
    leaner = _with_less_captured(fewer)
    if leaner is node:
        return None
    returned = _spread(items(leaner), [*moving, *(count + index for index in results)])
    return [
        node.states[i] if i in fixed else returned[min(i, len(returned) - 1)] for i in _all(node)
    ]


def _all(node: Loop | Scan) -> range:
    """The indices of all results of a loop."""
    return range(len(node.body.outputs))


def _spread(tensors: Sequence[Tensor], places: Sequence[int]) -> list[Tensor]:
    """Tensors at these places of a list. The places between are unused and have any of them."""
    spread = [tensors[0]] * (max(places) + 1)
    for place, tensor in zip(places, tensors, strict=True):
        spread[place] = tensor
    return spread


def _live_states(node: Loop | Scan, used: Used) -> list[int]:
    """The states that are used outside, or in what is used."""
    count = len(node.states)
    live = {index for index in used if index < count}
    results = [node.body.outputs[index] for index in used if index >= count]
    condition = node.condition if isinstance(node, Loop) else None
    in_condition = set(walk(condition.outputs)) if condition else set()
    live |= {
        index for index in range(count) if condition and condition.inputs[index] in in_condition
    }
    while True:
        reached = set(walk([*(node.body.outputs[index] for index in live), *results]))
        more = {index for index in range(count) if node.body.inputs[index] in reached}
        if more <= live:
            return sorted(live)
        live |= more


def _regrouped(
    node: Loop | Scan, moving: Sequence[int], fixed: Sequence[int], results: Sequence[int]
) -> Loop | Scan:
    """A loop with fewer states and results.

    Args:
        node: the loop.
        moving: the states that remain.
        fixed: the states that no step changes; they become captured tensors.
        results: the results that remain.
    """
    count = len(node.states)

    def inputs(body: Graph) -> list[Input]:
        rest = [body.inputs[index] for index in fixed]
        return [*(body.inputs[index] for index in moving), *body.inputs[count:], *rest]

    ends = [node.body.outputs[index] for index in moving]
    ends += [node.results[index] for index in results]
    changes: dict[str, Any] = {
        "states": tuple(node.states[index] for index in moving),
        "captured": (*node.captured, *(node.states[index] for index in fixed)),
        "body": _with_ends(node.body, inputs(node.body), ends),
    }
    if isinstance(node, Scan):
        changes["result_axes"] = tuple(node.result_axes[index] for index in results)
        changes["result_backwards"] = tuple(node.result_backwards[index] for index in results)
    elif node.condition is not None:
        condition = node.condition
        changes["condition"] = _with_ends(condition, inputs(condition), condition.outputs)
    return replace(node, **changes)


def _with_less_captured(node: Any) -> Any:
    """A node whose bodies contain captured constants, and capture only what they use."""
    bodies, count = _bodies(node), len(node.captured)
    tails = {name: body.inputs[len(body.inputs) - count :] for name, body in bodies.items()}
    reached = {name: set(walk(body.outputs)) for name, body in bodies.items()}
    used = {
        index
        for name, tail in tails.items()
        for index, tensor in enumerate(tail)
        if tensor in reached[name]
    }
    kept = [i for i in sorted(used) if not isinstance(node.captured[i], Constant)]
    if len(kept) == count:
        return node
    changes: dict[str, Any] = {"captured": tuple(node.captured[index] for index in kept)}
    for name, body in bodies.items():
        pairs = zip(tails[name], node.captured, strict=True)
        constants: dict[Node, Node] = {
            inner: outer for inner, outer in pairs if isinstance(outer, Constant)
        }
        front = body.inputs[: len(body.inputs) - count]
        inputs = [*front, *(tails[name][index] for index in kept)]
        changes[name] = _substituted(body, inputs, constants)
    return replace(node, **changes)


def _bodies(node: Node) -> dict[str, Graph]:
    """Name of each field that is a body → the body."""
    return {name: value for name, value in vars(node).items() if isinstance(value, Graph)}


def _with_outputs(body: Graph, kept: Sequence[int]) -> Graph:
    """A body with only these outputs."""
    return _with_ends(body, body.inputs, [body.outputs[index] for index in kept])


def _with_ends(body: Graph, inputs: Sequence[Input], outputs: Sequence[Tensor]) -> Graph:
    """A body with other inputs and outputs."""
    return replace(body, inputs=tuple(inputs), outputs=tuple(outputs)).with_own_names()


def _substituted(body: Graph, inputs: Sequence[Input], constants: Mapping[Node, Node]) -> Graph:
    """A body with constants in place of inputs."""
    new: dict[Node, Node] = {**constants}
    for node in body.nodes():
        if node not in new:
            new[node] = with_operands(node, new)
    names = {new[node]: name for node, name in body.names.items() if node in new}
    outputs: Any = tuple(new[output] for output in body.outputs)
    return Graph(tuple(inputs), outputs, names)
