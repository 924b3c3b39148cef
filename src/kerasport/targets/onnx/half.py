"""Computing in float16 where it gains, and in float32 where that counts, as mixed precision does.

Products and convolutions are brought to float16. What moves numbers, or is simple and element by
element, follows: it is float16 where its operands are. All else stays float32, with Casts between
the two, and inputs and outputs do too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as onnx
from onnx_ir import DataType, Node, Value

from kerasport.targets.onnx.file import OnnxPlan, stored_name
from kerasport.targets.rounding import FLOAT16, NORMAL16
from kerasport.weights import Array

ALL, FIRST = slice(None), slice(1)

EXPENSIVE: Mapping[str, slice] = {"Conv": ALL, "ConvTranspose": ALL, "MatMul": ALL, "Gemm": ALL}
"""Operator that is brought to float16 → which of its operands are floats."""

MOVING: Mapping[str, slice] = {
    "Reshape": FIRST, "Flatten": FIRST, "Squeeze": FIRST, "Unsqueeze": FIRST, "Transpose": FIRST, "Slice": FIRST,
    "Expand": FIRST, "Tile": FIRST, "Gather": FIRST, "Resize": FIRST, "Identity": FIRST, "Concat": ALL,
    "Pad": slice(0, None, 2), "Where": slice(1, None),
}  # fmt: skip
"""Operator that gives numbers as they are, or nearly so → which of its operands are floats."""

FOLLOWING: Mapping[str, slice] = {
    **MOVING,
    # windows of a few numbers; a mean over whole images sums too many for float16
    "MaxPool": FIRST, "AveragePool": FIRST,
    # element by element, without large numbers on the way to small ones
    "Add": ALL, "Sub": ALL, "Mul": ALL, "Max": ALL, "Min": ALL, "Neg": ALL, "Abs": ALL, "Clip": ALL, "Relu": ALL,
    "LeakyRelu": ALL, "PRelu": ALL, "Elu": ALL, "Selu": ALL, "Sigmoid": ALL, "HardSigmoid": ALL, "Tanh": ALL,
    "Gelu": ALL,
}  # fmt: skip
"""Operator that is float16 where its operands are → which of these are floats."""

OPERANDS: Mapping[str, slice] = {**EXPENSIVE, **FOLLOWING}
EITHER = ("Shape", "Cast")
"""Operators that take both, and make neither."""

PRECISE = ("STFTSpectrogram", "MelSpectrogram")
"""Layers that stay float32: the powers of sounds are beyond float16, and decibels make much of small ones."""


def halved(plan: OnnxPlan) -> OnnxPlan:
    """The plan with float16 in its graph, where weights are rounded to float16; its model is changed.

    A weight that is not rounded keeps what takes it in float32.
    """
    assert plan.model is not None
    weights = {
        name: stored_name(name, each)
        for name, each in plan.encodings.items()
        if each.dtype == "float16"
    }
    graph = plan.model.graph
    before = len(graph)
    made = _Halving(
        graph,
        weights,
        tuple(f"{layer.path}/" for layer in plan.layers if layer.class_name in PRECISE),
    )
    made.run()
    note = f"{made.done} of {before} operators compute in float16; inputs and outputs stay float32"
    return replace(plan, notes=(*plan.notes, note))


@dataclass
class _Halving:
    """A graph whose nodes become float16 one after the other."""

    graph: onnx.Graph
    weights: Mapping[str, str]  # that are stored as float16 → the name of what is stored
    precise: tuple[str, ...]  # how names of nodes begin that stay float32
    done: int = 0  # how many nodes became float16
    _half: set[Value] = field(default_factory=set)  # results that are float16 now
    _counts: set[Value] = field(default_factory=set)  # that were integers, and may be of any size
    _down: dict[Value, Value] = field(default_factory=dict)  # float32 → the same as float16
    _up: dict[Value, Value] = field(default_factory=dict)  # float16 → the same as float32

    def run(self) -> None:
        """Change all of it."""
        for node in list(self.graph):
            if self._is_half(node):
                self._halve(node)
            elif node.op_type not in EITHER:
                self._keep(node)
            if self._counts_on(node):
                self._counts.add(node.outputs[0])
        for at, value in enumerate(self.graph.outputs):
            if value in self._half:
                self._give(at, value)
        self._clear()

    def _clear(self) -> None:
        """Leave out what float16 has taken the place of."""
        for name, value in list(self.graph.initializers.items()):
            if not value.uses():
                del self.graph.initializers[name]
        for node in list(self.graph):
            (made, *_) = node.outputs
            if node.op_type == "Cast" and not made.uses() and not made.is_graph_output():
                self.graph.remove(node, safe=True)

    def _counts_on(self, node: Node) -> bool:
        """Whether the result is a count, or counts moved."""
        if node.op_type == "Cast":
            given = node.inputs[0]
            return (
                given is not None
                and given.dtype == DataType.INT32
                and node.outputs[0].dtype == DataType.FLOAT
            )
        return node.op_type in MOVING and any(value in self._counts for _, value in _floats(node))

    def _is_half(self, node: Node) -> bool:
        expensive = node.op_type in EXPENSIVE
        if not expensive and node.op_type not in FOLLOWING:
            return False
        if (
            node.outputs[0].dtype not in (None, DataType.FLOAT)
            or _is_square(node)
            or self._is_precise(node)
        ):
            return False
        given = [value for _, value in _floats(node)]
        if any(
            value in self._counts or (_is_constant(value) and not self._fits(value))
            for value in given
        ):
            return False
        others = [value for value in given if not _is_number(value)]
        return expensive or (
            bool(others) and all(value in self._half or _is_constant(value) for value in others)
        )

    def _is_precise(self, node: Node) -> bool:
        return node.name is not None and node.name.startswith(self.precise)

    def _fits(self, constant: Value) -> bool:
        if constant.const_value is None:
            return constant.name in self.weights
        return fits(constant.const_value.numpy())

    def _halve(self, node: Node) -> None:
        for at, value in _floats(node):
            if value not in self._half:
                node.replace_input_with(at, self._lowered(value, node))
        (made,) = node.outputs
        if made.dtype is not None:
            made.dtype = DataType.FLOAT16
        self._half.add(made)
        self.done += 1

    def _lowered(self, value: Value, node: Node) -> Value:
        """A float32 as float16, for a node that needs it."""
        value = _uncast(value)
        if value not in self._down:
            self._down[value] = (
                self._constant(value) if _is_constant(value) else self._cast(value, "FLOAT16", node)
            )
        return self._down[value]

    def _constant(self, value: Value) -> Value:
        """A constant as float16: a weight as it is stored, a few numbers as another constant."""
        if value.const_value is None:
            assert value.name is not None
            kind = onnx.TensorType(DataType.FLOAT16)
            return Value(name=self.weights[value.name], shape=value.shape, type=kind)
        name = f"{value.name}/float16"
        tensor = onnx.Tensor(value.const_value.numpy().astype(np.float16), name=name)
        made = Value(
            name=name, shape=value.shape, type=onnx.TensorType(DataType.FLOAT16), const_value=tensor
        )
        self.graph.register_initializer(made)
        return made

    def _keep(self, node: Node) -> None:
        """Leave a node in float32, and what is inside it."""
        for each in (node, *_inside(node)):
            for at, value in enumerate(each.inputs):
                if value is not None and value in self._half:
                    each.replace_input_with(at, self._raised(value, node))

    def _raised(self, value: Value, node: Node | None) -> Value:
        """A float16 as float32, for a node that needs it."""
        if value not in self._up:
            self._up[value] = self._cast(value, "FLOAT", node)
        return self._up[value]

    def _give(self, at: int, value: Value) -> None:
        """Let an output be float32, under the name that it has."""
        made, name = self._raised(value, None), value.name
        value.name, made.name = f"{name}/float16", name
        self.graph.outputs[at] = made

    def _cast(self, value: Value, to: str, node: Node | None) -> Value:
        """A Cast in front of a node, or behind all."""
        name, kind = f"{value.name}/{to.lower()}", DataType[to]
        cast = onnx.node("Cast", [value], {"to": int(kind)}, name=f"{name}/Cast")
        (made,) = cast.outputs
        made.name, made.dtype, made.shape = name, kind, value.shape
        if node is None:
            self.graph.append(cast)
        else:
            self.graph.insert_before(node, cast)
        return made


def _uncast(value: Value) -> Value:
    """What a Cast made floats of, so that another one can make other floats of it."""
    node = value.producer()
    given = None if node is None or node.op_type != "Cast" else node.inputs[0]
    return given or value


def _floats(node: Node) -> Iterator[tuple[int, Value]]:
    """The operands of a node that are floats, and their places."""
    places = range(len(node.inputs))[OPERANDS[node.op_type]]
    return ((at, value) for at in places if (value := node.inputs[at]) is not None)


def _is_square(node: Node) -> bool:
    """Whether a node multiplies numbers by themselves, which leads beyond float16 from 256 on."""
    return node.op_type == "Mul" and node.inputs[0] is node.inputs[1]


def _is_number(value: Value) -> bool:
    """Whether a value is a constant that stands in the graph itself."""
    return value.const_value is not None


def _is_constant(value: Value) -> bool:
    """Whether a value is known before the model runs: a weight has no node that makes it, and is no input."""
    return _is_number(value) or (value.producer() is None and not value.is_graph_input())


def _inside(node: Node) -> Iterator[Node]:
    """The nodes of the body of a loop, and of those inside it."""
    for attribute in node.attributes.values():
        if attribute.type == onnx.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()


def fits(numbers: Array) -> bool:
    """Whether float16 has all these numbers with all its digits; 0, NaN and infinity it has, too."""
    sizes = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    return bool(np.all((sizes >= NORMAL16) & (sizes <= FLOAT16)))
