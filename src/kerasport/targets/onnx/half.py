"""Mixed precision: float16 where it saves time, and float32 where precision matters.

Products and convolutions become float16. Operators that move elements, and simple elementwise ones,
become float16 if their operands are. Everything else stays float32, with a Cast between the two,
and so do inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as onnx
from onnx_ir import DataType, Node, Value

from kerasport.targets.onnx.copy import copied
from kerasport.targets.onnx.file import OnnxPlan, stored_name
from kerasport.targets.rounding import FLOAT16, NORMAL16
from kerasport.weights import Array

ALL, FIRST = slice(None), slice(1)

EXPENSIVE: Mapping[str, slice] = {"Conv": ALL, "ConvTranspose": ALL, "MatMul": ALL, "Gemm": ALL}
"""Operator that becomes float16 → which of its operands are floats."""

MOVING: Mapping[str, slice] = {
    "Reshape": FIRST, "Flatten": FIRST, "Squeeze": FIRST, "Unsqueeze": FIRST, "Transpose": FIRST,
    "Slice": FIRST, "Expand": FIRST, "Tile": FIRST, "Gather": FIRST, "Resize": FIRST,
    "Identity": FIRST, "Concat": ALL, "Pad": slice(0, None, 2), "Where": slice(1, None),
}  # fmt: skip
"""Operator that returns elements unchanged, or nearly so → which of its operands are floats."""

FOLLOWING: Mapping[str, slice] = {
    **MOVING,
    # windows of few elements; a mean over a whole image sums too many for float16
    "MaxPool": FIRST, "AveragePool": FIRST,
    # elementwise, without large intermediate values
    "Add": ALL, "Sub": ALL, "Mul": ALL, "Max": ALL, "Min": ALL, "Neg": ALL, "Abs": ALL, "Clip": ALL,
    "Relu": ALL, "LeakyRelu": ALL, "PRelu": ALL, "Elu": ALL, "Selu": ALL, "Sigmoid": ALL,
    "HardSigmoid": ALL, "Tanh": ALL, "Gelu": ALL,
}  # fmt: skip
"""Operator that becomes float16 if its operands are → which of these are floats."""

OPERANDS: Mapping[str, slice] = {**EXPENSIVE, **FOLLOWING}
EITHER = ("Shape", "Cast")
"""Operators that take float16 and float32, and return neither."""

PRECISE = ("STFTSpectrogram", "MelSpectrogram")
"""Layers that stay float32: powers of sounds exceed float16, and decibels magnify small ones."""


def halved(plan: OnnxPlan) -> OnnxPlan:
    """The plan with float16 in its graph, where weights are rounded to float16.

    Operators that take a weight that is not rounded stay float32.
    """
    assert plan.model is not None
    weights = {
        name: stored_name(name, encoding)
        for name, encoding in plan.encodings.items()
        if encoding.dtype == "float16"
    }
    model = copied(plan.model)
    graph = model.graph
    total = len(graph)
    prefixes = tuple(f"{layer.path}/" for layer in plan.layers if layer.class_name in PRECISE)
    step = _Float16Pass(graph, weights, prefixes)
    step.run()
    note = f"{step.done} of {total} operators compute in float16; inputs and outputs stay float32"
    return replace(plan, model=model, notes=(*plan.notes, note))


@dataclass
class _Float16Pass:
    """Changes a graph that nothing else uses, node by node."""

    graph: onnx.Graph
    # weight that is stored as float16 → name of what is stored
    weights: Mapping[str, str]
    # prefixes of the names of nodes that stay float32
    precise: tuple[str, ...]
    # number of nodes that became float16
    done: int = 0
    # results that are float16 now
    _half: set[Value] = field(default_factory=set)
    # results that were integers, which may be of any size
    _counts: set[Value] = field(default_factory=set)
    # float32 value → the same as float16
    _lowered: dict[Value, Value] = field(default_factory=dict)
    # float16 value → the same as float32
    _raised: dict[Value, Value] = field(default_factory=dict)

    def run(self) -> None:
        """Run the pass over the graph."""
        for node in list(self.graph):
            if self._is_half(node):
                self._halve(node)
            elif node.op_type not in EITHER:
                self._keep(node)
            if self._returns_counts(node):
                self._counts.add(node.outputs[0])
        for index, value in enumerate(self.graph.outputs):
            if value in self._half:
                self._raise_output(index, value)
        self._remove_unused()

    def _remove_unused(self) -> None:
        """Remove constants and casts that nothing uses any more."""
        for name, value in list(self.graph.initializers.items()):
            if not value.uses():
                del self.graph.initializers[name]
        for node in list(self.graph):
            (result, *_) = node.outputs
            if node.op_type == "Cast" and not result.uses() and not result.is_graph_output():
                self.graph.remove(node, safe=True)

    def _returns_counts(self, node: Node) -> bool:
        """Whether the result contains integers stored as floats."""
        if node.op_type == "Cast":
            x, (result,) = node.inputs[0], node.outputs
            return x is not None and x.dtype == DataType.INT32 and result.dtype == DataType.FLOAT
        return node.op_type in MOVING and any(value in self._counts for _, value in _floats(node))

    def _is_half(self, node: Node) -> bool:
        """Whether a node is to compute in float16."""
        expensive = node.op_type in EXPENSIVE
        if not expensive and node.op_type not in FOLLOWING:
            return False
        if node.outputs[0].dtype not in (None, DataType.FLOAT):
            return False
        if _is_square(node) or self._is_precise(node):
            return False
        operands = [value for _, value in _floats(node)]
        if not all(map(self._can_be_half, operands)):
            return False
        others = [value for value in operands if not _is_number(value)]
        return expensive or (
            bool(others) and all(value in self._half or _is_constant(value) for value in others)
        )

    def _can_be_half(self, value: Value) -> bool:
        """Whether a value stays nearly the same in float16."""
        if value in self._counts:
            return False
        if value.const_value is not None:
            return fits(value.const_value.numpy())
        return not _is_constant(value) or value.name in self.weights

    def _is_precise(self, node: Node) -> bool:
        return node.name is not None and node.name.startswith(self.precise)

    def _halve(self, node: Node) -> None:
        """Let a node compute in float16."""
        for index, value in _floats(node):
            if value not in self._half:
                node.replace_input_with(index, self._as_half(value, node))
        (result,) = node.outputs
        if result.dtype is not None:
            result.dtype = DataType.FLOAT16
        self._half.add(result)
        self.done += 1

    def _as_half(self, value: Value, node: Node) -> Value:
        """A float32 value as float16, for a node that needs it."""
        value = _uncast(value)
        if value not in self._lowered:
            constant = _is_constant(value)
            self._lowered[value] = (
                self._half_constant(value) if constant else self._cast(value, "FLOAT16", node)
            )
        return self._lowered[value]

    def _half_constant(self, value: Value) -> Value:
        """A constant as float16: a weight as it is stored, a small one as another constant."""
        half = onnx.TensorType(DataType.FLOAT16)
        if value.const_value is None:
            assert value.name is not None
            return Value(name=self.weights[value.name], shape=value.shape, type=half)
        name = f"{value.name}/float16"
        tensor = onnx.Tensor(value.const_value.numpy().astype(np.float16), name=name)
        constant = Value(name=name, shape=value.shape, type=half, const_value=tensor)
        self.graph.register_initializer(constant)
        return constant

    def _keep(self, node: Node) -> None:
        """Let a node, and the nodes of its bodies, compute in float32."""
        for user in (node, *_inside(node)):
            for index, value in enumerate(user.inputs):
                if value is not None and value in self._half:
                    user.replace_input_with(index, self._as_single(value, node))

    def _as_single(self, value: Value, node: Node | None) -> Value:
        """A float16 value as float32, for a node that needs it."""
        if value not in self._raised:
            self._raised[value] = self._cast(value, "FLOAT", node)
        return self._raised[value]

    def _raise_output(self, index: int, value: Value) -> None:
        """Make an output float32, with the name that it has."""
        result, name = self._as_single(value, None), value.name
        value.name, result.name = f"{name}/float16", name
        self.graph.outputs[index] = result

    def _cast(self, value: Value, to: str, node: Node | None) -> Value:
        """A Cast before a node, or at the end of the graph."""
        name, dtype = f"{value.name}/{to.lower()}", DataType[to]
        cast = onnx.node("Cast", [value], {"to": int(dtype)}, name=f"{name}/Cast")
        (result,) = cast.outputs
        result.name, result.dtype, result.shape = name, dtype, value.shape
        if node is None:
            self.graph.append(cast)
        else:
            self.graph.insert_before(node, cast)
        return result


def _uncast(value: Value) -> Value:
    """The operand of the Cast that makes a value; the value itself if no Cast does."""
    node = value.producer()
    x = None if node is None or node.op_type != "Cast" else node.inputs[0]
    return x or value


def _floats(node: Node) -> Iterator[tuple[int, Value]]:
    """The float operands of a node, with their indices."""
    indices = range(len(node.inputs))[OPERANDS[node.op_type]]
    return ((index, value) for index in indices if (value := node.inputs[index]) is not None)


def _is_square(node: Node) -> bool:
    """Whether a node multiplies a value by itself, which exceeds float16 from 256 on."""
    return node.op_type == "Mul" and node.inputs[0] is node.inputs[1]


def _is_number(value: Value) -> bool:
    """Whether a value is a small constant, stored in the graph itself."""
    return value.const_value is not None


def _is_constant(value: Value) -> bool:
    """Whether a value is known before the model runs."""
    return _is_number(value) or (value.producer() is None and not value.is_graph_input())


def _inside(node: Node) -> Iterator[Node]:
    """The nodes of the bodies of a node, at all depths."""
    for attribute in node.attributes.values():
        if attribute.type == onnx.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()


def fits(numbers: Array) -> bool:
    """Whether float16 represents all finite numbers other than 0 with full precision."""
    sizes = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    return bool(np.all((sizes >= NORMAL16) & (sizes <= FLOAT16)))
