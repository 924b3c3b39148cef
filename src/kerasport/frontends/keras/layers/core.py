"""Core layers: dense, embedding, masking, and identities at inference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.layers.activations import activate
from kerasport.frontends.keras.layers.base import (
    Activation,
    Count,
    DataFormat,
    Layer,
    Outputs,
    Refused,
    Unread,
    WeightMark,
    need_rank,
    weight,
)
from kerasport.frontends.keras.layers.traits import (
    ACTIVATES,
    COMPUTES,
    INPUT,
    KEEPS,
    NOISE,
    WEIGHS,
    WRAPS,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import ComputedWeight, Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class InputLayer(Layer):
    """An input of the model. It has no computation."""

    traits = Traits(mask=MaskRule.STOPS, integers=INPUT, identity=COMPUTES, integer_dtype=True)

    sparse: bool = False
    ragged: bool = False
    optional: bool = False


class Dense(Layer):
    """activation(x @ kernel + bias): [..., input] to float32 [..., units]."""

    traits = Traits(mask=MaskRule.PASSES, integers=WEIGHS, identity=COMPUTES, pointwise=True)

    units: Count
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


ROUNDING = 1e-5
"""Relative rounding error of a mean of float32 numbers, at most."""


class TernaryDense(Dense):
    """activation(x @ kernel + bias): [..., input] to float32 [..., units].

    The kernel contains only -beta, 0 and beta (BitNet b1.58). Keras computes it from a float kernel
    in every call: the sign of each value whose magnitude exceeds the threshold, times beta. Without
    the option `threshold`, it is half the mean magnitude, and beta is the mean magnitude. With the
    option, beta is 1.
    """

    traits = Traits(mask=MaskRule.PASSES, integers=WRAPS, identity=COMPUTES, pointwise=True)

    threshold: float | None = None
    packed: bool = False
    """Whether the file contains the ternary kernel. The reader unpacks and scales it."""

    def ternary_kernel(self) -> Weight:
        """The kernel with which the layer multiplies, float32 [input, units].

        Raises:
            Refusal: a value equals the threshold, so the rounding of the mean decides the result.
        """
        if self.packed:
            return self.kernel
        size = np.abs(self.kernel.read().astype(np.float64))
        mean = float(size.mean()) if size.size else 0.0
        threshold = 0.5 * mean if self.threshold is None else self.threshold
        if (
            self.threshold is None
            and (np.abs(size - threshold) <= ROUNDING * threshold).any()
            and mean
        ):
            raise Refusal(
                "threshold",
                "a kernel value equals the threshold up to rounding, so the ternary kernel is "
                "ambiguous",
            )
        beta = np.float32(mean if self.threshold is None else 1.0)
        return ComputedWeight(
            np.dtype(np.float32),
            self.kernel.shape,
            lambda: (
                np.sign(k := self.kernel.read()).astype(np.float32) * (np.abs(k) > threshold) * beta
            ),
        )

    def lower(self, x: Tensor) -> Tensor:
        y = ops.floats(x) @ self.ternary_kernel()
        return activate(self.activation, y if self.bias is None else y + self.bias)


class Embedding(Layer):
    """Row `x` of `embeddings` for each index: int32 [...] to float32 [..., output_dim]."""

    traits = Traits(mask=MaskRule.INDICES, integers=WEIGHS, identity=COMPUTES, integer_dtype=True)

    input_dim: Count
    output_dim: Count
    mask_zero: bool = False
    # Keras 2: the length of the sequences, which the shape of the input contains, too
    input_length: Any = None

    embeddings: Weight = weight()  # [input_dim, output_dim]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        del inputs
        return {"embeddings": (self.input_dim, self.output_dim)}

    def infer(self, *inputs: Shape) -> Shape:
        return (*inputs[0], self.output_dim)

    def lower(self, x: Tensor) -> Tensor:
        return ops.gather(self.embeddings, ops.cast(x, "int32"))


class ReversibleEmbedding(Embedding):
    """Row `x` of `embeddings` for each index, or with `reverse` the logits of all indices.

    int32 [...] to float32 [..., output_dim]; with `reverse`, float32 [..., output_dim] to
    [..., input_dim]. The logits are x @ embeddingsᵀ, bounded to ±logit_soft_cap by tanh.
    """

    traits = Traits(mask=MaskRule.INDICES, integers=WEIGHS, identity=COMPUTES)

    tie_weights: bool = True
    logit_soft_cap: float | None = None
    # the dtype in which Keras computes the logits; here it is always float32
    ignored = ("reverse_dtype",)
    signature = ("inputs", "reverse")
    takes = ("reverse",)

    # [output_dim, input_dim], unless tie_weights is true
    reverse_embeddings: Weight | None = weight()

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """The weights, without `reverse_embeddings` if `tie_weights` is true."""
        declared = super().declared_weights(config)
        tied = config.get("tie_weights", True)
        return {
            name: mark
            for name, mark in declared.items()
            if not tied or name != "reverse_embeddings"
        }

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        tables = {"reverse_embeddings": (self.output_dim, self.input_dim)}
        return {**super().weight_shapes(*inputs), **tables}

    def infer_call(self, arguments: Mapping[str, Any], *inputs: Shape) -> Outputs:
        if arguments.get("reverse"):
            return (*inputs[0][:-1], self.input_dim)
        return self.infer(*inputs)

    def lower(self, x: Tensor, *, reverse: bool = False) -> Tensor:
        if not reverse:
            return super().lower(x)
        if self.reverse_embeddings is None:
            logits: Tensor = ops.MatMul(
                ops.floats(x), ops.as_tensor(self.embeddings), transpose_b=True
            )
        else:
            logits = ops.floats(x) @ self.reverse_embeddings
        cap = self.logit_soft_cap
        return logits if cap is None else ops.Tanh(logits / cap) * cap


class EinsumDense(Layer):
    """activation(einsum(equation, x, kernel) + bias): float32 [batch, *output_shape]."""

    traits = Traits(mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES)

    equation: str
    output_shape: Count | tuple[Count | None, ...]
    activation: Activation = "linear"
    bias_axes: str | None = None

    # the size of each label in the output, or else in the input
    kernel: Weight = weight()
    # an axis for each label of the output from the first one in bias_axes on
    bias: Weight | None = weight(when="bias_axes")

    def labels(self, rank: int) -> tuple[str, str, str]:
        """The labels of the input, kernel and output, with the ellipsis expanded.

        Raises:
            ShapeError: Keras does not support the equation, or it does not fit the input.
        """
        form = re.fullmatch(
            r"(\.{3})?([a-zA-Z]+)(\.{3})?,([a-zA-Z]+)->(\.{3})?([a-zA-Z]+)(\.{3})?", self.equation
        )
        if form is None:
            forms = "ab,bc->ac, ...ab,bc->...ac or ab...,bc->ac..."
            raise ShapeError(f"equation={self.equation!r} does not have the form {forms}")
        left, operand, right, kernel, left_out, output, right_out = form.groups()
        free = (
            c
            for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
            if c not in operand + kernel + output
        )
        more = "".join(islice(free, rank - len(operand))) if left or right else ""
        if (
            (left, right) != (left_out, right_out)
            or (left and right)
            or len(operand) + len(more) != rank
        ):
            raise ShapeError(f"equation={self.equation!r} does not fit an input of rank {rank}")
        if left:
            return more + operand, kernel, more + output
        return operand + more, kernel, output + more

    def _sizes(self, x: Shape) -> dict[str, int | None]:
        """Label of the input or output → size."""
        operand, _, output = self.labels(len(x))
        inside = self.output_shape if isinstance(self.output_shape, tuple) else (self.output_shape,)
        # `output_shape` has the sizes of all labels but the batch
        elided = [label for label in output if label not in self.equation.partition("->")[2]]
        listed = [label for label in output if label not in elided]
        if not (elided and output.startswith(elided[0])):
            listed = listed[1:]
        sizes: dict[str, int | None] = dict(zip(operand, x, strict=True))
        for label, size in zip(listed, inside, strict=False):
            if size is not None or label not in sizes:
                sizes[label] = size
        return sizes

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        sizes = self._sizes(inputs[0])
        _, kernel, output = self.labels(len(inputs[0]))
        axes = self.bias_axes or ""
        if not set(axes) <= set(output):
            raise ShapeError(f"bias_axes={axes!r} are not all axes of the output {output!r}")
        first = min((output.index(label) for label in axes), default=len(output))
        wanted = tuple(sizes.get(label) for label in kernel)
        # the bias has the sizes of the kernel if the options do not specify them
        for label, size in zip(kernel, self.kernel.shape, strict=False):
            if sizes.get(label) is None:
                sizes[label] = size
        return {
            "kernel": wanted,
            "bias": tuple(sizes.get(label) if label in axes else 1 for label in output[first:]),
        }

    def infer(self, *inputs: Shape) -> Shape:
        sizes = self._sizes(inputs[0])
        return tuple(sizes.get(label) for label in self.labels(len(inputs[0]))[2])

    def lower(self, x: Tensor) -> Tensor:
        operand, kernel, output = self.labels(x.rank)
        y = ops.einsum(f"{operand},{kernel}->{output}", ops.floats(x), self.kernel)
        return activate(self.activation, y if self.bias is None else y + self.bias)


class Activation_(Layer):  # noqa: N801  (the name without underscore is the type of an option)
    """activation(x), with the shape of x; float32 unless the activation keeps integers."""

    traits = Traits(mask=MaskRule.PASSES, integers=ACTIVATES, identity=COMPUTES, pointwise=True)

    activation: Activation = "linear"

    def lower(self, x: Tensor) -> Tensor:
        return activate(self.activation, x)


class Masking(Layer):
    """x [batch, time, features], with 0 in time steps where all features equal `mask_value`."""

    traits = Traits(mask=MaskRule.FEATURES, integers=KEEPS, identity=COMPUTES, keeps_values=True)

    mask_value: float = 0.0

    def lower(self, x: Tensor) -> Tensor:
        kept = ops.any_(ops.not_equal(x, self.mask_value), -1, keepdims=True)
        x = ops.cast(x, "int32") if x.dtype == "bool" else x
        return ops.where(kept, x, ops.constant(0, x.dtype))


class Identity(Layer):
    """Returns x unchanged."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=KEEPS,
        identity="returns its input unchanged",
        same_object=True,
        keeps_values=True,
        integer_dtype=True,
    )


class ActivityRegularization(Unread):
    """Returns the input unchanged. During training the layer adds a loss."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=KEEPS,
        identity="adds a loss only during training",
        same_object=True,
    )


class _Code(Refused):
    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    reason = "it contains Python code, which is not converted"
    remedy = "replace it with Keras layers or keras.ops, and save the model again"


class Lambda(_Code):
    """Python code, which kerasport never runs."""

    signature = ("inputs", "mask", "training")


class JaxLayer(_Code):
    """JAX code, which kerasport never runs."""


class FlaxLayer(_Code):
    """Flax code, which kerasport never runs."""


class TorchModuleWrapper(_Code):
    """A pickled PyTorch module, which kerasport never opens."""

    reason = "it contains a pickled PyTorch module, which kerasport never opens"


class TFSMLayer(_Code):
    """A SavedModel outside the file, which kerasport never loads."""

    reason = "it loads a SavedModel from outside the file"


class _Noise(Layer):
    """Returns x unchanged at inference."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=KEEPS,
        identity=NOISE,
        kept=True,
        acts_in_training=True,
        same_object=True,
        keeps_values=True,
        per_step=True,
    )

    def lower(self, x: Tensor) -> Tensor:
        return x


class Dropout(_Noise):
    """Returns x unchanged at inference."""

    traits = replace(_Noise.traits, integer_dtype=True)

    rate: float
    noise_shape: Any = None
    ignored = ("seed",)


class AlphaDropout(_Noise):
    """Returns x unchanged at inference."""

    rate: float
    noise_shape: Any = None
    ignored = ("seed",)


class GaussianDropout(_Noise):
    """Returns x unchanged at inference."""

    rate: float
    ignored = ("seed",)


class GaussianNoise(_Noise):
    """Returns x unchanged at inference."""

    stddev: float
    ignored = ("seed",)


class SpatialDropout1D(_Noise):
    """Returns x unchanged at inference."""

    rate: float
    noise_shape: Any = None
    ignored = ("seed",)

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 3)
        return inputs[0]


class SpatialDropout2D(_Noise):
    """Returns x unchanged at inference."""

    traits = replace(_Noise.traits, kept=False, per_step=False)

    rate: float
    data_format: DataFormat = "channels_last"
    noise_shape: Any = None
    ignored = ("seed",)

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 4)
        return inputs[0]


class SpatialDropout3D(SpatialDropout2D):
    """Returns x unchanged at inference."""

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 5)
        return inputs[0]
