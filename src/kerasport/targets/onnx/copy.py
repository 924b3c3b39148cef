"""Copies of ONNX models, which share no node or value with the original.

onnx-ir copies graphs only in its newest versions.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as onnx
from onnx_ir import AttributeType, Graph, Node, Value


def copied(model: onnx.Model) -> onnx.Model:
    """A copy of a model, whose nodes can be changed. Tensors are shared with the original."""
    return onnx.Model(
        _Copier().graph(model.graph),
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        metadata_props=dict(model.metadata_props),
    )


class _Copier:
    """Copies a graph and the bodies in it, which may refer to values of the graph around them."""

    def __init__(self) -> None:
        self._values: dict[Value, Value] = {}

    def graph(self, graph: Graph) -> Graph:
        """A copy of a graph."""
        inputs = self._copies(graph.inputs)
        initializers = self._copies(graph.initializers.values())
        nodes = [self._node(node) for node in graph]
        return Graph(
            inputs,
            self._copies(graph.outputs),
            nodes=nodes,
            initializers=initializers,
            name=graph.name,
            opset_imports=dict(graph.opset_imports),
        )

    def _copies(self, values: Iterable[Value]) -> list[Value]:
        return [self._value(value) for value in values]

    def _node(self, node: Node) -> Node:
        return Node(
            node.domain,
            node.op_type,
            [None if value is None else self._value(value) for value in node.inputs],
            [self._attribute(attribute) for attribute in node.attributes.values()],
            outputs=self._copies(node.outputs),
            name=node.name,
        )

    def _attribute(self, attribute: onnx.Attr) -> onnx.Attr:
        if attribute.type != AttributeType.GRAPH:
            return attribute
        return onnx.Attr(attribute.name, AttributeType.GRAPH, self.graph(attribute.as_graph()))

    def _value(self, value: Value) -> Value:
        """The copy of a value, the same one whenever it is asked for."""
        if value not in self._values:
            # the type of a value is an object that changes with its dtype
            self._values[value] = Value(
                name=value.name,
                shape=value.shape,
                type=None if value.dtype is None else onnx.TensorType(value.dtype),
                const_value=value.const_value,
            )
        return self._values[value]
