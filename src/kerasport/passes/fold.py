"""Constant folding: computing at conversion what does not depend on the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from kerasport.budget import spare
from kerasport.ir import ops
from kerasport.ir.dtypes import NUMPY
from kerasport.ir.tensor import Constant, Input, Item, Node, Tensor, constant
from kerasport.passes.rewrite import Uses
from kerasport.weights import Array, ComputedWeight

SMALL = 64 * 1024
"""Largest number of elements of operands or result for which a constant is computed immediately."""

GROWTH = 4
"""How many times larger than its operands a folded constant may be, if it is not small."""


def fold_constants(node: Node, uses: Uses) -> Node | None:
    """f(c₁, c₂, …)  →  c, for constants.

    A large result is computed from the operands in the file when it is written.
    """
    del uses
    if not isinstance(node, Tensor) or isinstance(node, Constant | Input | Item):
        return None
    operands = node.operands
    if not all(isinstance(operand, Constant) for operand in operands) or None in node.shape:
        return None
    constants = [operand for operand in operands if isinstance(operand, Constant)]
    size = prod(d or 0 for d in node.shape)
    if size > SMALL and size > GROWTH * sum(operand.value.size for operand in constants):
        return None

    def compute() -> Array:
        # the target would compute the same NaN and infinity
        with np.errstate(all="ignore"):
            result: Array = node.compute(*(operand.read() for operand in constants))
        return result

    if size <= SMALL and sum(operand.value.size for operand in constants) <= SMALL and spare(size):
        return constant(compute(), node.dtype)
    return Constant(
        ComputedWeight(np.dtype(NUMPY[node.dtype]), tuple(d or 0 for d in node.shape), compute)
    )


SIZES: Mapping[type[Node], tuple[str, ...]] = {
    ops.BroadcastTo: ("to",),
    ops.CropAndResize: ("size",),
    ops.Fill: ("to",),
    ops.NonMaxSuppression: ("max_output_size",),
    ops.Reshape: ("to",),
    ops.Resize: ("size",),
    ops.Slice: ("begin", "size"),
    ops.StridedSlice: ("parts",),
    ops.Tile: ("times",),
    ops.TopK: ("k",),
}
"""Operation → its fields with sizes, each of which is a number or a scalar tensor."""


def number_sizes(node: Node, uses: Uses) -> Node | None:
    """Sizes that are constants  →  numbers."""
    del uses
    changes = {}
    for name in SIZES.get(type(node), ()):
        value = getattr(node, name)
        plain = _plain(value)
        if plain is not value:
            changes[name] = plain
    return replace(node, **changes) if changes else None


def _plain(value: Any) -> Any:
    """A value with the numbers of the constants in it."""
    if isinstance(value, Constant):
        return int(value.read())
    if isinstance(value, tuple):
        plain = tuple(map(_plain, value))
        return plain if any(a is not b for a, b in zip(plain, value, strict=True)) else value
    return value
