"""Layers that merge tensors."""

from __future__ import annotations

from kerasport.model import Tensor
from kerasport.targets.layers_model.rewrites.blocks import difference
from kerasport.targets.layers_model.rewrites.site import Site


def subtract(at: Site) -> Tensor:
    """a - b = a + (-b), to the bit."""
    return difference(at, *at.inputs)


def merge(at: Site) -> Tensor | None:
    """One tensor merged with no other is what it was."""
    return at.x if len(at.inputs) == 1 else None
