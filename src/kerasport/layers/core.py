"""Core layers: dense, embedding, masking, and what passes its input on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kerasport.ir import ops
from kerasport.layers.activations import activate
from kerasport.layers.base import Activation, Layer, Refusal, need_rank, weight
from kerasport.model import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class InputLayer(Layer):
    """A tensor fed by the user."""

    sparse: bool = False
    ragged: bool = False
    optional: bool = False


class Dense(Layer):
    """activation(x @ kernel + bias), over the last axis."""

    units: int
    activation: Activation = "linear"
    use_bias: bool = True

    kernel: Weight = weight()  # [input, units]
    bias: Weight | None = weight(when="use_bias")  # [units]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        return {"kernel": (inputs[0][-1], self.units), "bias": (self.units,)}

    def infer(self, *inputs: Shape) -> Shape:
        return (*inputs[0][:-1], self.units)

    def lower(self, x: Tensor) -> Tensor:
        y = ops.floats(x) @ self.kernel
        return activate(self.activation, y if self.bias is None else y + self.bias)


class Embedding(Layer):
    """Row `x` of the table `embeddings`, for every index in the input."""

    input_dim: int
    output_dim: int
    mask_zero: bool = False
    input_length: Any = None  # Keras 2: the length of the sequences, which the input's shape says too

    embeddings: Weight = weight()  # [input_dim, output_dim]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        del inputs
        return {"embeddings": (self.input_dim, self.output_dim)}

    def infer(self, *inputs: Shape) -> Shape:
        return (*inputs[0], self.output_dim)

    def lower(self, x: Tensor) -> Tensor:
        return ops.gather(self.embeddings, ops.cast(x, "int32"))


class Activation_(Layer):  # noqa: N801  (the name without underscore is the type of an option)
    """activation(x)."""

    activation: Activation = "linear"

    def lower(self, x: Tensor) -> Tensor:
        return activate(self.activation, x)


class Masking(Layer):
    """x where any feature differs from `mask_value`, else 0; marks those time steps as masked."""

    mask_value: float = 0.0

    def lower(self, x: Tensor) -> Tensor:
        return ops.where(ops.any_(ops.not_equal(x, self.mask_value), -1, keepdims=True), x, 0.0)


class Identity(Layer):
    """x."""


class Lambda(Layer):
    """Python code, which is never run here."""

    function: Any = None
    output_shape: Any = None
    mask: Any = None
    arguments: Any = None
    output_dtype: Any = None

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise Refusal("", "it holds Python code, which is never run", "write it with Keras layers or keras.ops")


class _Noise(Layer):
    """x at inference."""

    def lower(self, x: Tensor) -> Tensor:
        return x


class Dropout(_Noise):
    """x at inference."""

    rate: float
    noise_shape: Any = None
    ignored = ("seed",)


class AlphaDropout(_Noise):
    """x at inference."""

    rate: float
    noise_shape: Any = None
    ignored = ("seed",)


class GaussianDropout(_Noise):
    """x at inference."""

    rate: float
    ignored = ("seed",)


class GaussianNoise(_Noise):
    """x at inference."""

    stddev: float
    ignored = ("seed",)


class SpatialDropout1D(_Noise):
    """x at inference."""

    rate: float
    noise_shape: Any = None
    ignored = ("seed",)

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 3)
        return inputs[0]
