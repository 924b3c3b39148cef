"""Rounding of the weights of an ONNX model to float16, or to int8 with a scale for each channel.

The runtime converts them to float32, with a Cast or a DequantizeLinear before all other operators.
If the model computes in float16, it uses float16 weights as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir

from kerasport.errors import OptionError
from kerasport.targets.encoding import Encoding, Scaled, manifest_dtype, numbers_of
from kerasport.targets.onnx.file import OnnxPlan
from kerasport.targets.onnx.half import halved
from kerasport.targets.rounding import Range, RoundingRule, fitted, weights_named
from kerasport.weights import Array, Weight

KINDS = ("float16", "int8")

KERNELS: Mapping[str, Mapping[int, int]] = {
    "Conv": {1: 0}, "ConvTranspose": {1: 1}, "MatMul": {0: -2, 1: -1}, "Gather": {0: 0},
    "LSTM": {1: 1, 2: 1}, "GRU": {1: 1, 2: 1}, "RNN": {1: 1, 2: 1},
}  # fmt: skip
"""Operator → input that may be a weight → the axis of its channels; else it is the last axis."""


def quantized(plan: OnnxPlan, rules: Sequence[RoundingRule]) -> OnnxPlan:
    """The plan with weights rounded by the rules.

    With int8, vectors stay float32 unless a pattern matches them.

    Raises:
        OptionError: two rules name the same weight, a pattern matches none, or ONNX models do not
            support a kind.
    """
    for rule in rules:
        if rule.kind not in KINDS:
            raise OptionError(
                f"the weights of ONNX models can be rounded to {' or '.join(KINDS)}, "
                f"not to {rule.kind}"
            )
    floats = {
        name: weight
        for name, weight in plan.weights.items()
        if manifest_dtype(weight.dtype) == "float32"
    }
    named = weights_named(plan.weights, rules)
    others = next((rule.kind for rule in rules if not rule.patterns), None)
    wanted = {
        name: others
        for name, weight in floats.items()
        if others and (others == "float16" or _is_matrix(weight))
    }
    encodings, notes, axes = dict[str, Encoding | Scaled](), list[str](), dict(_axes(plan))
    for name, kind in {**wanted, **named}.items():
        if name not in floats:
            notes.append(f"weight {name!r} is not a float weight, so it is not rounded")
            continue
        weight = floats[name]
        encoding: Encoding | Scaled | None
        if kind == "int8":
            encoding, why_not = scaled(name, weight, axes.get(name, -1))
        else:
            encoding, why_not = fitted("float16", Range.of(name, weight))
        if encoding is None:
            notes.append(f"weight {name!r} stays in float32: {why_not}")
        else:
            encodings[name] = encoding
    plan = replace(plan, encodings=encodings, notes=(*plan.notes, *notes))
    return halved(plan) if plan.half else plan


def _is_matrix(weight: Weight) -> bool:
    return sum(size > 1 for size in weight.shape) > 1


def _axes(plan: OnnxPlan) -> Iterator[tuple[str, int]]:
    """Yield the name of each weight that is a kernel, and the axis of its channels."""
    assert plan.model is not None
    for node in plan.model.graph.all_nodes():
        for index, axis in _kernels(node):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is not None and value.name and value.name in plan.weights:
                yield value.name, axis


def _kernels(node: onnx_ir.Node) -> Iterator[tuple[int, int]]:
    if node.op_type == "Gemm":
        transposed: Any = node.attributes.get("transB")
        yield 1, 0 if transposed is not None and transposed.value else -1
    yield from KERNELS.get(node.op_type, {}).items()


def scaled(name: str, weight: Weight, axis: int) -> tuple[Scaled | None, str]:
    """The int8 encoding of a weight, or None and why it is not rounded."""
    if not weight.shape or not weight.size:
        return None, "it has no channels"
    axis %= len(weight.shape)
    inner = int(np.prod(weight.shape[axis + 1 :], dtype=np.int64))
    largest: Array = np.zeros(weight.shape[axis], np.float32)
    offset = 0
    for numbers in numbers_of(name, weight):
        Scaled.largest(numbers, offset, largest.size, inner, so_far=largest)
        offset += numbers.size
    if not np.isfinite(largest).all():
        return None, "it contains NaN or infinity"
    scale = largest / np.float32(127)
    # channels whose values are too small for a scale become 0
    return Scaled(
        axis, np.where(scale > np.finfo(np.float32).tiny, scale, 1).astype(np.float32), inner
    ), ""
