"""Activations, and activation layers. The result has the shape of x and is float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.dialect import ASSUMED_DIALECT, Dialect
from kerasport.frontends.keras.layers.base import Activation, Layer, Numbers, weight
from kerasport.frontends.keras.layers.traits import (
    ACTIVATES,
    COMPUTES,
    WEIGHS,
    WRAPS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


# --------------------------------------------------------------------------------------- functions


def relu_up_to_1(x: Tensor) -> Tensor:
    """clip(x, 0, 1)."""
    return ops.clip(x, 0.0, 1.0)


def hard_sigmoid(x: Tensor) -> Tensor:
    """clip(x/6 + 1/2, 0, 1), the definition of Keras 3."""
    return relu_up_to_1(x * (1 / 6) + 0.5)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x where x > 0, else negative_slope · x."""
    return ops.LeakyRelu(ops.floats(x), float(negative_slope))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha · (exp(x) - 1)."""
    return ops.Elu(x) if alpha == 1 else ops.Relu(x) + alpha * ops.Elu(-ops.Relu(-x))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha · (exp(x / alpha) - 1)."""
    return ops.Elu(x) if alpha == 1 else ops.Relu(x) + alpha * ops.Elu(-ops.Relu(-x) / alpha)


def gelu(x: Tensor, *, approximate: bool = False) -> Tensor:
    """x · Φ(x), computed with erf, or approximately with tanh."""
    if approximate:
        return 0.5 * x * (1.0 + ops.Tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1.0 + ops.Erf(x * 0.7071067811865476))


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) over one axis."""
    return ops.move_axis(ops.Softmax(ops.move_axis(x, axis, -1)), -1, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """x - log Σ exp(x) over one axis."""
    return ops.move_axis(ops.LogSoftmax(ops.move_axis(x, axis, -1)), -1, axis)


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x - threshold where x > threshold, x + threshold where x < -threshold, else 0."""
    return ops.Relu(x - threshold) - ops.Relu(-x - threshold)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where |x| > threshold, else 0."""
    return ops.where(ops.greater(ops.Abs(x), threshold), x, 0.0)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """The first half of the axis times the sigmoid of the second half."""
    a, b = ops.split(x, 2, axis)
    return a * ops.Sigmoid(b)


def sparse_plus(x: Tensor) -> Tensor:
    """(x + 1)² / 4 where |x| < 1, 0 where x ≤ -1, and x where x ≥ 1."""
    return ops.Square(relu_up_to_1(0.5 * x + 0.5)) + ops.Relu(x - 1.0)


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    """(x + √(x² + b)) / 2."""
    return 0.5 * (x + ops.Sqrt(x * x + b))


def threshold(x: Tensor, limit: float = 0.0, value: float = 0.0) -> Tensor:
    """x where x > limit, else value."""
    return ops.where(ops.greater(x, limit), x, value)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """max(x - τ, 0), with τ as in Keras, which adds up the cumulative sums of the support.

    Raises:
        Refusal: the size of the axis is not known.
    """
    z = ops.move_axis(x, axis, -1)
    size = z.shape[-1]
    if size is None:
        raise Refusal("axis", "sparsemax needs a fixed size for the axis it sorts")
    largest, _ = ops.items(ops.TopK(z, size))
    running = ops.Cumsum(largest, z.rank - 1)
    ranks = ops.constant([float(r) for r in range(1, size + 1)])
    support = ops.floats(ops.greater(largest - (running - 1.0) / ranks, 0.0))
    count = ops.sum_(support, -1, keepdims=True)
    tau = (ops.sum_(running * support, -1, keepdims=True) - 1.0) / count
    return ops.move_axis(ops.Relu(z - tau), -1, axis)


ACTIVATIONS: Mapping[str, Callable[..., Tensor]] = {
    "linear": lambda x: x,
    "relu": lambda x: ops.Relu(x),
    "relu6": lambda x: ops.Relu6(x),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": lambda x: ops.Selu(x),
    "celu": celu,
    "sigmoid": lambda x: ops.Sigmoid(x),
    "hard_sigmoid": hard_sigmoid,
    "hard_sigmoid_keras2": lambda x: relu_up_to_1(0.2 * x + 0.5),
    "silu": lambda x: x * ops.Sigmoid(x),
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "gelu": gelu,
    "mish": lambda x: x * ops.Tanh(ops.Softplus(x)),
    "tanh": lambda x: ops.Tanh(x),
    "hard_tanh": lambda x: ops.clip(x, -1.0, 1.0),
    "tanh_shrink": lambda x: x - ops.Tanh(x),
    "soft_shrink": soft_shrink,
    "hard_shrink": hard_shrink,
    "threshold": threshold,
    "softplus": lambda x: ops.Softplus(x),
    "softsign": lambda x: x / (ops.Abs(x) + 1.0),
    "squareplus": squareplus,
    "exponential": lambda x: ops.Exp(x),
    "log_sigmoid": lambda x: -ops.Softplus(-x),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sparsemax": sparsemax,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": lambda x: relu_up_to_1(0.5 * x + 0.5),
    "glu": glu,
}
"""Name of an activation in Keras → function. `hard_sigmoid_keras2` is the one of Keras 1 and 2."""


ALONG_AN_AXIS = frozenset(("softmax", "log_softmax", "sparsemax", "glu", "Softmax"))
"""Activations, and layers used as activations, that are not elementwise."""


def works_along_an_axis(activation: Activation) -> bool:
    """Whether an activation, given by name or as an object, is not elementwise."""
    name = activation.get("class_name") if isinstance(activation, Mapping) else activation
    return isinstance(name, str) and name in ALONG_AN_AXIS


def activate(activation: Any, x: Tensor, *, channels_first: bool = False) -> Tensor:
    """Apply the activation of a config to x [..., channels].

    An activation along an axis, such as softmax, uses the last axis in the layout of the layer,
    which is a spatial axis with channels_first.

    Raises:
        Refusal: it is not an activation of Keras.
    """
    if channels_first and works_along_an_axis(activation):
        return ops.move_axis(activate(activation, ops.move_axis(x, -1, 1)), 1, -1)
    if isinstance(activation, Mapping):
        name, config = activation.get("class_name"), activation.get("config")
        cls = OBJECTS.get(str(name))
        if cls is None or not isinstance(config, Mapping):
            raise Refusal(
                "activation", f"the activation is a {name} object, which is not supported"
            )
        return cls.from_config(str(name), config).lower(x)  # type: ignore[no-any-return]
    if activation not in ACTIVATIONS:
        raise Refusal(
            "activation", "this is a custom activation, and the file does not contain its code"
        )
    return ACTIVATIONS[activation](x if activation in OF_INTEGERS else ops.floats(x))


OF_INTEGERS = ("linear", "relu", "relu6")
"""Activations that return integers for integers."""


# ------------------------------------------------------------------------------------------ layers


class ReLU(Layer):
    """min(x, max_value) where x > threshold, else negative_slope · (x - threshold).

    float32, but the dtype of x with default options.
    """

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=ACTIVATES,
        identity=COMPUTES,
        pointwise=True,
        activation_object=True,
    )

    max_value: float | None = None
    negative_slope: float | None = 0.0
    threshold: float | None = 0.0

    def lower(self, x: Tensor) -> Tensor:
        limit, slope = float(self.threshold or 0.0), float(self.negative_slope or 0.0)
        if x.dtype != "float32":
            if not (limit or slope or self.max_value is not None):
                return ops.maximum(x, 0)
            if x.dtype == "bool":
                raise Refusal(
                    "",
                    "Keras truncates its result for a bool input",
                    "cast the input to float32 first",
                )
            x = ops.floats(x)
        if limit:
            # x > threshold, not ≥, as in Keras
            above = ops.where(ops.greater(x, limit), x, 0.0)
        else:
            above = ops.Relu6(x) if self.max_value == 6 else ops.Relu(x)
        if self.max_value is not None and (limit or self.max_value != 6):
            above = ops.clip(above, 0.0, self.max_value)
        if slope and not limit and self.max_value is None:
            return ops.LeakyRelu(x, slope)
        return above - slope * ops.Relu(limit - x) if slope else above


class LeakyReLU(Layer):
    """x where x > 0, else negative_slope · x."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WEIGHS,
        identity=COMPUTES,
        pointwise=True,
        activation_object=True,
    )

    negative_slope: float = 0.3

    def lower(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope)


class ELU(Layer):
    """x where x > 0, else alpha · (exp(x) - 1)."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WEIGHS,
        identity=COMPUTES,
        pointwise=True,
        activation_object=True,
    )

    alpha: float = 1.0

    def lower(self, x: Tensor) -> Tensor:
        return elu(ops.floats(x), self.alpha)


class PReLU(Layer):
    """x where x > 0, else alpha · x, with a trainable alpha."""

    traits = Traits(mask=MaskRule.PASSES, integers=WRAPS, identity=COMPUTES)

    shared_axes: tuple[int, ...] | None = None

    # the shape of the input without the batch, with 1 for the shared axes
    alpha: Weight = weight()

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        shared = self.shared_axes or ()
        return {
            "alpha": tuple(1 if axis in shared else d for axis, d in enumerate(inputs[0]) if axis)
        }

    def lower(self, x: Tensor) -> Tensor:
        return ops.Relu(x) - ops.as_tensor(self.alpha) * ops.Relu(-x)


class Softmax(Layer):
    """exp(x) / Σ exp(x), with the sum over `axis`."""

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WRAPS,
        identity=COMPUTES,
        mask_input=MaskInput.FIRST,
        dialect=True,
        activation_object=True,
    )

    axis: int | tuple[int, ...] = -1
    signature = ("inputs", "mask")

    def lower(
        self, x: Tensor, *, mask: Tensor | None = None, dialect: Dialect = ASSUMED_DIALECT
    ) -> Tensor:
        axes, x = self.axis if isinstance(self.axis, tuple) else (self.axis,), ops.floats(x)
        if mask is None:
            return softmax_over(x, axes)
        differ = any(
            m not in (1, n, None) and n
            for m, n in zip(mask.shape[::-1], x.shape[::-1], strict=False)
        )
        # the batch of the mask would be aligned with another axis of x
        samples = mask.rank < x.rank and mask.shape[:1] == (None,)
        if mask.rank > x.rank or differ or samples:
            raise ShapeError(
                f"a mask of shape {mask.shape} does not fit an input of shape {x.shape}"
            )
        if mask.dtype != "bool":
            mask = ops.greater(mask, 0.5)
        y = softmax_over(ops.where(mask, x, -1e9), axes)
        return y if dialect.masked_softmax_is_uniform else ops.where(mask, y, 0.0)


def softmax_over(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """exp(x) / Σ exp(x), with the sum over all of the axes."""
    if len(axes) == 1:
        return softmax(x, axes[0])
    power = ops.Exp(x - ops.max_(x, axes, keepdims=True))
    return power / ops.sum_(power, axes, keepdims=True)


class ThresholdedReLU(Layer):
    """x where x > theta, else 0 (Keras 2)."""

    traits = Traits(mask=MaskRule.PASSES, integers=WRAPS, identity=COMPUTES)

    theta: Numbers = 1.0

    def lower(self, x: Tensor) -> Tensor:
        return threshold(x, float(self.theta))


OBJECTS: Mapping[str, type[Layer]] = {
    name: cls
    for name, cls in tuple(globals().items())
    if isinstance(cls, type)
    and issubclass(cls, Layer)
    and cls is not Layer
    and cls.traits.activation_object
}
"""Layers that may be the activation of another layer, by class name. They have no weights."""
