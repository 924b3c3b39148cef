"""What the emitters of all targets share, with a format of text lines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasport.errors import Problem, Refusal
from kerasport.ir import ops
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Constant, Input, Item, Node, Tensor, TensorType, constant
from kerasport.targets import emission
from kerasport.targets.emission import OpTable, Shared
from kerasport.weights import Array


class Text(emission.Emitter[str]):
    """Writes each node as a line."""

    lazy = (ops.Dim,)

    def add(self, op: str, inputs: Sequence[Any], **attributes: Any) -> str:
        name = self.unique(op)
        self.nodes.append(f"{name} = {op}({', '.join(map(self.ref, inputs))})")
        return name

    def write_input(self, name: str, node: Input) -> str:
        return name

    def write_outputs(self, names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
        return dict(zip(names, values, strict=True))

    def write_weight(self, name: str, node: Constant) -> str:
        return name

    def write_small(self, name: str, array: Array) -> str:
        self.nodes.append(f"{name} = {array.tolist()}")
        return name

    def write_refused(self) -> str:
        return "refused"


class Outer(Text):
    """A format whose bodies see the constants around them."""

    bodies_see_constants = True


def emit_clip(e: Text, node: ops.Clip) -> str:
    """Clip, but not to infinity."""
    if not np.isfinite(node.high):
        raise Refusal("max_value", "text has no infinity", "set a limit")
    return e.add("Clip", [node.x, e.number(node.low, "float32"), e.number(node.high, "float32")])


def emit_scan(e: Text, node: ops.Scan) -> str:
    """The lines of the body, and one for the loop."""
    inner = e.inside(node.body)
    assert inner.is_body
    for tensor in node.body.inputs:
        inner.bind(tensor, e.shared.unique(tensor.name))
    ends = inner.emit_all(node.body.outputs)
    e.nodes.append([*inner.nodes, f"return {', '.join(ends)}"])
    loop = e.add("Scan", node.operands)
    return e.results(node, [f"{loop}.{index}" for index in range(len(ends))])


TABLE = OpTable(
    same={ops.Add: "Add", ops.Mul: "Mul", ops.Relu: "Relu", ops.Reshape: "Reshape"},
    different={
        ops.Clip: emit_clip,
        ops.Dim: lambda e, node: e.add("Size", [node.x, e.ints([node.axis])]),
        ops.Scan: emit_scan,
        Item: lambda e, node: e.several(node.source)[node.index],
    },
    unsupported={ops.Erf: "text has no erf"},
    missing="text does not have this operator",
)

x = Input("x", TensorType("float32", (None, 4)))


def emitted(
    outputs: Sequence[Tensor],
    names: Mapping[Node, str] | None = None,
    kind: type[Text] = Text,
    inputs: Sequence[Input] = (x,),
) -> tuple[Text, dict[str, str]]:
    """An emitter that has written a graph, and the values of its outputs."""
    emitter = kind(Graph(tuple(inputs), tuple(outputs), names or {}), Shared(), TABLE)
    return emitter, emitter.run(["x"] * len(outputs))


def test_nodes_are_written_by_the_table_under_the_names_of_their_layers() -> None:
    y = ops.Relu(x)
    emitter, outputs = emitted([y + y, y], {y: "model/first"})
    assert emitter.nodes == [
        "model/first/Relu = Relu(x)",
        "model/first/Add = Add(model/first/Relu, model/first/Relu)",
    ]
    assert outputs == {"x_1": "model/first/Add", "x_2": "model/first/Relu"}
    assert emitter.inputs == {"x": x}


def test_constants_are_written_once() -> None:
    big, small = constant(np.ones((5, 4), np.float32)), constant(np.ones(4, np.float32))
    same, other = constant(np.ones(4, np.float32)), constant(np.ones(4, np.int32))
    emitter, _ = emitted([(x + small) * same, ops.Mul(big, big), ops.Add(other, other)])
    assert emitter.nodes[:3] == [
        "const = [1.0, 1.0, 1.0, 1.0]",
        "Add = Add(x, const)",
        "Mul = Mul(Add, const)",
    ]
    assert emitter.nodes[3:] == [
        "Mul_1 = Mul(weight, weight)",
        "const_1 = [1, 1, 1, 1]",
        "Add_1 = Add(const_1, const_1)",
    ]
    assert emitter.weights == {"weight": big.value}


def test_operations_without_a_row_are_problems_of_their_layer() -> None:
    erf, tanh, clip = ops.Erf(x), ops.Tanh(x), ops.Clip(x, 0.0, np.inf)
    emitter, outputs = emitted([erf, tanh, clip], {erf: "a/one", tanh: "a/two", clip: "a/three"})
    assert emitter.problems == [
        Problem("one", "Erf", "text has no erf"),
        Problem("two", "Tanh", "text does not have this operator"),
        Problem("three", "Clip", "text has no infinity", "max_value", remedy="set a limit"),
    ]
    assert set(outputs.values()) == {"refused"}


def test_lazy_operations_are_written_where_they_are_used() -> None:
    size = ops.Dim(x, 0)
    emitter, _ = emitted([ops.Relu(x), ops.Reshape(x, (4, size))])
    assert emitter.nodes == [
        "Relu = Relu(x)",
        "const = [0]",
        "Size = Size(x, const)",
        "Reshape = Reshape(x, Size)",
    ]


@pytest.mark.every_row
@pytest.mark.parametrize("kind", [Text, Outer])
def test_bodies_share_names_weights_and_problems(kind: type[Text]) -> None:
    sequence = Input("sequence", TensorType("float32", (None, None, 4)))
    big = constant(np.ones((1, 20), np.float32))

    def step(states: Any, steps: Any, _: object) -> Any:
        wide = ops.Reshape(ops.Mul(big, big), (5, 4))
        return [ops.Relu(states[0] + steps[0] + 1.0)], [ops.Erf(steps[0]), wide]

    (last,), every = ops.scan(step, (x + 1.0,), (sequence,))
    emitter, _ = emitted([last, *every], {last: "model/loop"}, kind, (x, sequence))
    body = next(line for line in emitter.nodes if isinstance(line, list))
    lines = [*body[:-1], *(line for line in emitter.nodes if isinstance(line, str))]
    names = [line.partition(" = ")[0] for line in lines]
    assert len(set(names)) == len(names)
    assert len([line for line in lines if line.endswith("= 1.0")]) == (1 if kind is Outer else 2)
    assert list(emitter.weights.values()) == [big.value]
    assert [problem.reason for problem in emitter.problems] == ["text has no erf"]


def test_the_shared_part_knows_no_target() -> None:
    assert emission.__file__
    source = Path(emission.__file__).read_text(encoding="utf-8")
    assert not re.search("onnx|tf.?js|tflite|wasm", source, re.IGNORECASE)
