"""Layers that networks of keras.applications have for themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kerasport.frontends.keras.layers.base import Count, Layer, weight
from kerasport.frontends.keras.layers.traits import COMPUTES, WRAPS, MaskRule, Traits
from kerasport.ir import ops
from kerasport.weights import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class LayerScale(Layer):
    """x · gamma, of ConvNeXt."""

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    init_values: float  # with which training began
    projection_dim: Count

    gamma: Weight = weight()  # [projection_dim]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        del inputs
        return {"gamma": (self.projection_dim,)}

    def lower(self, x: Tensor) -> Tensor:
        return ops.floats(x) * ops.as_tensor(self.gamma)


class CustomScaleLayer(Layer):
    """First input plus the second one times `scale`, of InceptionResNetV2."""

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    scale: float
    arity = (2, 2)

    def lower(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.floats(a) + ops.floats(b) * float(self.scale)
