"""Rewrites the tensor arrays of TensorFlow 1 as tensor lists.

A tensor array has a handle, and a float that only orders what is done with it, the flow. A tensor
list is a value that is passed on instead. So the list takes the place of both.

The ops are defined in data_flow_ops.cc and list_ops.cc of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from kerasport.frontends.graphdef.frozen import Attribute, GraphNode, Result

LISTS = frozenset(
    ("TensorListReserve", "TensorListSetItem", "TensorListFromTensor", "TensorListScatterV2")
)
"""Ops whose results are lists."""

LIST = GraphNode("", "TensorList")
"""Represents any list."""


def rewritten(
    node: GraphNode,
    inputs: tuple[Result, ...],
    is_list: Callable[[Result], bool],
    origin: Callable[[Result], Result],
) -> tuple[Result, ...] | None:
    """The results of a node on a tensor array as those of nodes on a list.

    Args:
        node: the node.
        inputs: its inputs, in which arrays are lists already.
        is_list: whether a tensor is a list.
        origin: finds the list of the same length that a list was made from.

    Returns:
        None if the node is none of those on tensor arrays, or is not supported.
    """
    # a list does not grow
    if node.op == "TensorArrayV3" and len(inputs) == 1 and not node.attributes.get("dynamic_size"):
        attributes: dict[str, Attribute] = {
            "element_dtype": node.attributes.get("dtype", "float32"),
            "shape_type": "int32",
        }
        creation = GraphNode(node.name, "TensorListReserve", (_shape(node), inputs[0]), attributes)
        # the handle and the flow
        return Result(creation), Result(creation)
    if node.op == "TensorArrayGatherV3" and len(inputs) == 3 and is_list(inputs[-1]):
        return (Result(_gather(node, inputs, origin)),)
    if node.op in OPS and inputs and is_list(inputs[-1]):
        return (Result(OPS[node.op](node, inputs)),)
    return None


def _read(node: GraphNode, inputs: tuple[Result, ...]) -> GraphNode:
    """`TensorArrayReadV3(handle, index, flow)`."""
    _, index, flow = inputs
    return _on_list(node, "TensorListGetItem", (flow, index, _shape(node)), "dtype")


def _write(node: GraphNode, inputs: tuple[Result, ...]) -> GraphNode:
    """`TensorArrayWriteV3(handle, index, value, flow)`."""
    _, index, value, flow = inputs
    return _on_list(node, "TensorListSetItem", (flow, index, value), "T")


def _scatter(node: GraphNode, inputs: tuple[Result, ...]) -> GraphNode:
    """`TensorArrayScatterV3(handle, indices, value, flow)`."""
    _, indices, value, flow = inputs
    if _counts_from_0(indices):
        # there are as many indices as rows, so that all rows are set in order
        return _on_list(node, "TensorListFromTensor", (value, _shape(node)), "T")
    count = GraphNode(f"{node.name}/length", "TensorListLength", (flow,))
    parts = (value, indices, _shape(node), Result(count))
    return _on_list(node, "TensorListScatterV2", parts, "T")


def _gather(
    node: GraphNode, inputs: tuple[Result, ...], origin: Callable[[Result], Result]
) -> GraphNode:
    """`TensorArrayGatherV3(handle, indices, flow)`."""
    _, indices, flow = inputs
    if _counts_from_0(indices) and _is_length(indices.node.inputs[1], flow, origin):
        stacked = _on_list(node, "TensorListStack", (flow, _shape(node)), "dtype")
        return replace(stacked, attributes={**stacked.attributes, "num_elements": -1})
    return _on_list(node, "TensorListGather", (flow, indices, _shape(node)), "dtype")


def _size(node: GraphNode, inputs: tuple[Result, ...]) -> GraphNode:
    """`TensorArraySizeV3(handle, flow)`."""
    return GraphNode(node.name, "TensorListLength", (inputs[-1],))


OPS: Mapping[str, Callable[[GraphNode, tuple[Result, ...]], GraphNode]] = {
    "TensorArrayReadV3": _read,
    "TensorArrayWriteV3": _write,
    "TensorArrayScatterV3": _scatter,
    "TensorArraySizeV3": _size,
}


def _on_list(node: GraphNode, op: str, inputs: tuple[Result, ...], dtype: str) -> GraphNode:
    kind = node.attributes.get(dtype, "float32")
    return GraphNode(node.name, op, inputs, {"element_dtype": kind, "shape_type": "int32"})


def _shape(node: GraphNode) -> Result:
    """The shape of an element as a tensor: int32 [rank], or [] with -1 if it is not known."""
    shape = node.attributes.get("element_shape")
    value = np.array(-1, np.int32)
    if isinstance(shape, tuple):
        sizes = [size for size in shape if size is None or isinstance(size, int)]
        value = np.array([-1 if size is None else size for size in sizes], np.int32)
    attributes: dict[str, Attribute] = {"dtype": "int32", "value": value}
    return Result(GraphNode(f"{node.name}/element_shape", "Const", (), attributes))


def _counts_from_0(indices: Result) -> bool:
    """Whether indices are 0, 1, 2 and so on."""
    node = indices.node
    return (
        node.op == "Range"
        and len(node.inputs) == 3
        and _is_constant(node.inputs[0], 0)
        and _is_constant(node.inputs[2], 1)
    )


def _is_constant(result: Result, number: int) -> bool:
    value = result.node.attributes.get("value")
    return isinstance(value, np.ndarray) and value.size == 1 and value.item() == number


def _is_length(result: Result, flow: Result, origin: Callable[[Result], Result]) -> bool:
    """Whether a tensor is the length of a list, or the size that it was made with."""
    creation = origin(flow).node
    if result.node.op == "TensorListLength":
        return origin(result.node.inputs[0]).node is creation
    if creation.op != "TensorListReserve":
        return False
    size = creation.inputs[1]
    return result.node is size.node and result.index == size.index
