"""Preprocessing that is part of the model, and augmentation, which acts in training only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasport.ir import ops
from kerasport.layers.base import Layer

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class Rescaling(Layer):
    """x · scale + offset."""

    scale: Any
    offset: Any = 0.0

    def lower(self, x: Tensor) -> Tensor:
        scale, offset = (ops.constant(np.asarray(value, np.float32)) for value in (self.scale, self.offset))
        return ops.floats(x) * scale + offset
