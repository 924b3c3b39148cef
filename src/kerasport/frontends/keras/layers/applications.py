"""Layers that only networks of keras.applications have."""

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
    """x [..., projection_dim] · gamma, float32, in ConvNeXt."""

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    # the initial value of gamma
    init_values: float
    projection_dim: Count

    gamma: Weight = weight()  # [projection_dim]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        del inputs
        return {"gamma": (self.projection_dim,)}

    def lower(self, x: Tensor) -> Tensor:
        return ops.floats(x) * ops.as_tensor(self.gamma)


class CustomScaleLayer(Layer):
    """a + b · scale, float32, in InceptionResNetV2."""

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    scale: float
    arity = (2, 2)

    def lower(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.floats(a) + ops.floats(b) * float(self.scale)
