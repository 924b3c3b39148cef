"""Kernels of a graph-model that are stored divided, and nodes that multiply them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from kerasport.targets.encoding import Encoding
from kerasport.targets.tfjs.channels import Channels
from kerasport.targets.tfjs.document import TfjsPlan
from kerasport.targets.tfjs.graph.emit import Json, const
from kerasport.weights import Array, ComputedWeight, Weight

KERNELS: Mapping[str, int] = {
    "Conv2D": 1, "_FusedConv2D": 1, "Conv3D": 1, "MatMul": 1, "_FusedMatMul": 1,
    "DepthwiseConv2dNative": 2, "FusedDepthwiseConv2dNative": 2,
}  # fmt: skip
"""Operation → how many of the last axes of its kernel are channels."""


def kernels(
    nodes: Sequence[Json], weights: Mapping[str, Weight], functions: Sequence[Json] = ()
) -> dict[str, Channels]:
    """The weights that are kernels of a node, and that no function uses, too."""
    inside = {node["name"] for function in functions for node in function["nodeDef"]}
    return {
        name: Channels(axes)
        for name, axes in _kernels(nodes)
        if name in weights and name not in inside
    }


def _kernels(nodes: Sequence[Json]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        turned = node["attr"].get("transpose_b", {}).get("b", False)
        if node["op"] in KERNELS and not turned:
            yield node["input"][1], KERNELS[node["op"]]


def multiplied(plan: TfjsPlan, scales: Mapping[str, Array]) -> TfjsPlan:
    """The plan with a node for each divided kernel that multiplies it by its scales."""
    topology = plan.document["modelTopology"]
    taken = {node["name"] for node in topology["node"]}
    weights, encodings, renamed, added = dict(plan.weights), dict(plan.encodings), {}, []
    for name, by in scales.items():
        axes = plan.channels[name].axes
        scale = _scale(by.astype(np.float32).reshape(weights[name].shape[-axes:]))
        held, renamed[name] = _free(f"{name}/scale", taken), _free(f"{name}/scaled", taken)
        # exact: scales are numbers of float16
        weights[held], encodings[held] = scale, Encoding("float16")
        added += [
            const(held, "float32", scale),
            {"name": renamed[name], "op": "Mul", "input": [name, held], "attr": {}},
        ]
    nodes = [_renewed(node, renamed) for node in topology["node"]]
    document = {**plan.document, "modelTopology": {**topology, "node": [*nodes, *added]}}
    return replace(plan, document=document, weights=weights, encodings=encodings)


def _scale(array: Array) -> ComputedWeight:
    return ComputedWeight(array.dtype, array.shape, lambda: array)


def _renewed(node: Json, renamed: Mapping[str, str]) -> Json:
    if not any(name in renamed for name in node.get("input", ())):
        return node
    return {**node, "input": [renamed.get(name, name) for name in node["input"]]}


def _free(wanted: str, taken: set[str]) -> str:
    names = (wanted if not number else f"{wanted}_{number}" for number in count())
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name
