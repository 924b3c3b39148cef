"""Constant folding: computing at conversion what does not depend on the inputs."""

from __future__ import annotations

from math import prod

import numpy as np

from kerasport.budget import spare
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
    made, size = [o for o in operands if isinstance(o, Constant)], prod(d or 0 for d in node.shape)
    if size > SMALL and size > GROWTH * sum(operand.value.size for operand in made):
        return None

    def compute() -> Array:
        # the target would compute the same NaN and infinity
        with np.errstate(all="ignore"):
            result: Array = node.compute(*(operand.read() for operand in made))
        return result

    if size <= SMALL and sum(operand.value.size for operand in made) <= SMALL and spare(size):
        return constant(compute(), node.dtype)
    return Constant(
        ComputedWeight(np.dtype(NUMPY[node.dtype]), tuple(d or 0 for d in node.shape), compute)
    )
