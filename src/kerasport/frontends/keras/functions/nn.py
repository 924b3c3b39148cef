"""Functions of neural networks.

Activations, convolutions, pooling, normalization, attention and losses. Images and sequences are
[batch, *spatial, channels], or [batch, channels, *spatial] with data_format="channels_first".
Results are float32, except those of functions that also support integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.budget import matrix, reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions.arguments import counted, named, numbers, several, size
from kerasport.frontends.keras.functions.elementwise import log10
from kerasport.frontends.keras.functions.products import einsum, vector_norm
from kerasport.frontends.keras.functions.reduction import logsumexp, mean, variance
from kerasport.frontends.keras.layers import activations, conv, pooling
from kerasport.frontends.keras.layers.activations import ACTIVATIONS, softmax_over
from kerasport.frontends.keras.layers.attention import FAR_BELOW
from kerasport.frontends.keras.layers.base import Layer
from kerasport.frontends.keras.layers.normalization import along
from kerasport.ir import ops
from kerasport.ir.ops import Tensor, where
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import as_tensor, constant
from kerasport.weights import axis_of

EPSILON = 1e-7  # keras.config.epsilon(), which files do not contain

# -------------------------------------------------------------------------------------- activations


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the lowering of an activation that has no options."""
    return lambda x: ACTIVATIONS[name](ops.floats(x))


def relu(x: Tensor) -> Tensor:
    """max(x, 0), also for integers."""
    return ops.Relu(x) if x.dtype == "float32" else ops.maximum(x, 0)


def leaky_relu(x: Tensor, *, negative_slope: float = 0.2) -> Tensor:
    """x if x > 0, else negative_slope · x."""
    return activations.leaky_relu(x, negative_slope)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x if x > 0, else alpha · (exp(x) - 1)."""
    return activations.elu(ops.floats(x), alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x if x > 0, else alpha · (exp(x / alpha) - 1)."""
    return activations.celu(ops.floats(x), alpha)


def gelu(x: Tensor, *, approximate: bool = True) -> Tensor:
    """x · Φ(x); by default, Φ is approximated with tanh."""
    return activations.gelu(ops.floats(x), approximate=approximate)


def glu(x: Tensor, *, axis: int = -1) -> Tensor:
    """Multiply the first half of an axis by the sigmoid of the second half."""
    return activations.glu(ops.floats(x), axis)


def hard_shrink(x: Tensor, *, threshold: float = 0.5) -> Tensor:
    """x if |x| > threshold, else 0."""
    return activations.hard_shrink(ops.floats(x), threshold)


def soft_shrink(x: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Move x toward 0 by the threshold; the result is 0 if |x| ≤ threshold."""
    return activations.soft_shrink(ops.floats(x), threshold)


def squareplus(x: Tensor, *, b: float = 4) -> Tensor:
    """(x + √(x² + b)) / 2."""
    return activations.squareplus(ops.floats(x), b)


def threshold_(x: Tensor, *, threshold: float, default_value: float) -> Tensor:
    """x if x > threshold, else `default_value`."""
    return activations.threshold(x, threshold, default_value)


def sparsemax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Project x onto probability distributions along an axis; many of them become 0."""
    return activations.sparsemax(ops.floats(x), axis_of(axis, x.rank))


def softmax(x: Tensor, *, axis: int | Sequence[int] | None = -1) -> Tensor:
    """exp(x) / Σ exp(x), with the sum over all given axes together."""
    return softmax_over(ops.floats(x), several(axis, x.rank))


def log_softmax(x: Tensor, *, axis: int | Sequence[int] | None = -1) -> Tensor:
    """x - log Σ exp(x), with the sum over all given axes together."""
    axes = several(axis, x.rank)
    y = ops.floats(x)
    return (
        activations.log_softmax(y, axes[0])
        if len(axes) == 1
        else y - logsumexp(y, axis=axes, keepdims=True)
    )


def hard_tanh(x: Tensor) -> Tensor:
    """Limit x to the range from -1 to 1, also for integers."""
    return (
        ACTIVATIONS["hard_tanh"](x) if x.dtype == "float32" else ops.maximum(ops.minimum(x, 1), -1)
    )


def relu_of(
    x: Tensor,
    *,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """The activation `relu` with its options."""
    options = {"negative_slope": negative_slope, "max_value": max_value, "threshold": threshold}
    return apply(activations.ReLU, options, ops.floats(x))


# ------------------------------------------------------------------------------ windows over images


def apply(layer: type[Layer], options: Mapping[str, Any], x: Tensor, **weights: Any) -> Tensor:
    """Apply a layer with these options and weights to x. The weights are tensors."""
    y: Tensor = layer(layer.__name__, options, weights).lower(x)
    return y


def spatial(inputs: Tensor, kinds: Mapping[int, type[Layer]]) -> tuple[int, type[Layer]]:
    """Return the number of spatial axes and the layer class for it.

    Raises:
        ShapeError: there is no layer class for that number.
    """
    rank = inputs.rank - 2
    if rank not in kinds:
        raise ShapeError(f"{inputs.type} has no spatial axes")
    return rank, kinds[rank]


def layout(data_format: str | None) -> str:
    """The data format; `channels_last`, which is Keras's default, if it is None."""
    return data_format or "channels_last"


CONV: Mapping[int, type[Layer]] = {1: conv.Conv1D, 2: conv.Conv2D, 3: conv.Conv3D}
TRANSPOSED: Mapping[int, type[Layer]] = {
    1: conv.Conv1DTranspose,
    2: conv.Conv2DTranspose,
    3: conv.Conv3DTranspose,
}
DEPTHWISE: Mapping[int, type[Layer]] = {1: conv.DepthwiseConv1D, 2: conv.DepthwiseConv2D}
SEPARABLE: Mapping[int, type[Layer]] = {1: conv.SeparableConv1D, 2: conv.SeparableConv2D}
MAXIMUM: Mapping[int, type[Layer]] = {
    1: pooling.MaxPooling1D,
    2: pooling.MaxPooling2D,
    3: pooling.MaxPooling3D,
}
AVERAGE: Mapping[int, type[Layer]] = {
    1: pooling.AveragePooling1D, 2: pooling.AveragePooling2D, 3: pooling.AveragePooling3D
}  # fmt: skip
ADAPTIVE_MAXIMUM: Mapping[int, type[Layer]] = {
    1: pooling.AdaptiveMaxPooling1D, 2: pooling.AdaptiveMaxPooling2D,
    3: pooling.AdaptiveMaxPooling3D
}  # fmt: skip
ADAPTIVE_AVERAGE: Mapping[int, type[Layer]] = {
    1: pooling.AdaptiveAveragePooling1D, 2: pooling.AdaptiveAveragePooling2D,
    3: pooling.AdaptiveAveragePooling3D
}  # fmt: skip


def windowed(
    kind: str, rank: int, strides: Any, padding: str, data_format: str | None, dilations: Any
) -> dict[str, Any]:
    """The options that all convolutions share.

    Raises:
        Refusal: the padding is neither `valid` nor `same`.
    """
    if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
        raise Refusal("padding", f"a {kind} supports only the paddings 'valid' and 'same'")
    return {
        "strides": numbers(strides, rank), "padding": padding.lower(),
        "data_format": layout(data_format), "dilation_rate": numbers(dilations, rank),
        "use_bias": False,
    }  # fmt: skip


def convolution(
    inputs: Tensor, kernel: Any, *, strides: Any = 1, padding: str = "valid",
    data_format: str | None = None, dilation_rate: Any = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlate the inputs [batch, ..., channels] with a kernel [..., depth, filters].

    If the depth of the kernel is smaller than the number of channels, the channels are split into
    groups.
    """
    rank, layer = spatial(inputs, CONV)
    weights = ops.floats(as_tensor(kernel))
    *window, depth, filters = ops.known(weights.shape)
    channels = size(inputs, -1 if layout(data_format) == "channels_last" else 1)
    if channels % depth:
        raise ShapeError(f"the kernel {weights.type} does not fit {inputs.type}")
    options = windowed("convolution", rank, strides, padding, data_format, dilation_rate)
    own = {"filters": filters, "kernel_size": tuple(window), "groups": channels // depth}
    return apply(layer, options | own, inputs, kernel=weights, bias=None)


def depthwise(
    inputs: Tensor, kernel: Any, *, strides: Any = 1, padding: str = "valid",
    data_format: str | None = None, dilation_rate: Any = 1,
) -> Tensor:  # fmt: skip
    """Convolve each channel with its own kernels: [..., channels, multiplier]."""
    rank, layer = spatial(inputs, DEPTHWISE)
    weights = ops.floats(as_tensor(kernel))
    *window, _, multiplier = ops.known(weights.shape)
    options = windowed("convolution", rank, strides, padding, data_format, dilation_rate)
    own = {"kernel_size": tuple(window), "depth_multiplier": multiplier}
    return apply(layer, options | own, inputs, kernel=weights, bias=None)


def separable(
    inputs: Tensor, depthwise_kernel: Any, pointwise_kernel: Any, *, strides: Any = 1,
    padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1,
) -> Tensor:  # fmt: skip
    """Convolve each channel with its own kernels, then combine all channels at each position."""
    rank, layer = spatial(inputs, SEPARABLE)
    deep, wide = ops.floats(as_tensor(depthwise_kernel)), ops.floats(as_tensor(pointwise_kernel))
    *window, _, multiplier = ops.known(deep.shape)
    options = windowed("convolution", rank, strides, padding, data_format, dilation_rate)
    own = {"filters": wide.shape[-1], "kernel_size": tuple(window), "depth_multiplier": multiplier}
    weights = {"depthwise_kernel": deep, "pointwise_kernel": wide, "bias": None}
    return apply(layer, options | own, inputs, **weights)


def transposed(
    inputs: Tensor, kernel: Any, *, strides: Any = 1, padding: str = "valid",
    output_padding: Any = None, data_format: str | None = None, dilation_rate: Any = 1,
) -> Tensor:  # fmt: skip
    """Apply the transposed convolution with a kernel [..., filters, channels]."""
    rank, layer = spatial(inputs, TRANSPOSED)
    weights = ops.floats(as_tensor(kernel))
    *window, filters, _ = ops.known(weights.shape)
    options = windowed("convolution", rank, strides, padding, data_format, dilation_rate)
    extra = None if output_padding is None else numbers(output_padding, rank)
    own = {"filters": filters, "kernel_size": tuple(window), "output_padding": extra}
    return apply(layer, options | own, inputs, kernel=weights, bias=None)


def pooled(kinds: Mapping[int, type[Layer]]) -> Callable[..., Tensor]:
    """Return the lowering of a pooling, which reduces each window to one number."""

    def lower(
        inputs: Tensor,
        *,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> Tensor:
        rank, layer = spatial(inputs, kinds)
        options = windowed("window", rank, 1, padding, data_format, 1)
        own = {
            "pool_size": numbers(pool_size, rank),
            "strides": numbers(pool_size if strides is None else strides, rank)
        }  # fmt: skip
        return apply(layer, options | own, inputs)

    return lower


def adaptive(kinds: Mapping[int, type[Layer]]) -> Callable[..., Tensor]:
    """Return the lowering of an adaptive pooling, which has a fixed number of windows."""

    def lower(inputs: Tensor, *, output_size: Any, data_format: str | None = None) -> Tensor:
        rank, layer = spatial(inputs, kinds)
        options = {"output_size": numbers(output_size, rank), "data_format": layout(data_format)}
        return apply(layer, options, inputs)

    return lower


def depth_to_space(
    x: Tensor, *, block_size: int, data_format: str | None = "channels_last"
) -> Tensor:
    """Move channels to blocks of pixels.

    With channels last, [batch, h, w, c · b²] becomes [batch, h · b, w · b, c].
    """
    b = block_size
    if layout(data_format) == "channels_last":
        n, h, w, _ = ops.dims(x)
        c = size(x, -1) // b**2
        blocks = ops.reshape(x, (n, h, w, b, b, c))
        return ops.reshape(
            ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (n, times(h, b), times(w, b), c)
        )
    n, _, h, w = ops.dims(x)
    c = size(x, 1) // b**2
    blocks = ops.reshape(x, (n, c, b, b, h, w))
    return ops.reshape(ops.transpose(blocks, (0, 1, 4, 2, 5, 3)), (n, c, times(h, b), times(w, b)))


def space_to_depth(
    x: Tensor, *, block_size: int, data_format: str | None = "channels_last"
) -> Tensor:
    """Move blocks of pixels to channels.

    With channels last, [batch, h · b, w · b, c] becomes [batch, h, w, c · b²].
    """
    b = block_size
    if layout(data_format) == "channels_last":
        n = ops.dim(x, 0)
        h, w, c = (size(x, axis) for axis in (1, 2, 3))
        blocks = ops.reshape(x, (n, h // b, b, w // b, b, c))
        return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (n, h // b, w // b, c * b**2))
    n = ops.dim(x, 0)
    c, h, w = (size(x, axis) for axis in (1, 2, 3))
    blocks = ops.reshape(x, (n, c, h // b, b, w // b, b))
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 5, 2, 4)), (n, c * b**2, h // b, w // b))


def times(length: Size, factor: int) -> Size:
    """Multiply a length by a factor."""
    return length * factor if isinstance(length, int) else ops.mul(length, factor)


def unfold(
    x: Tensor, *, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Return every window of x [batch, channels, height, width] as a column.

    The result has the shape [batch, channels · window, windows], where `window` is the number of
    elements in a window.
    """
    batch, channels = ops.dim(x, 0), size(x, 1)
    y = ops.pad(ops.floats(x), ((0, 0), (0, 0), *((p, p) for p in numbers(padding, 2))))
    for i, (k, d, s) in enumerate(
        zip(numbers(kernel_size, 2), numbers(dilation, 2), numbers(stride, 2), strict=True)
    ):
        axis = 2 + 2 * i
        y = ops.gather(y, constant(places(size(y, axis), k, d, s)), axis)
    _, _, kh, oh, kw, ow = ops.known((1, 1, *y.shape[2:]))
    columns = ops.reshape(
        ops.transpose(y, (0, 1, 2, 4, 3, 5)), (batch, channels * kh * kw, oh * ow)
    )
    return ops.cast(columns, x.dtype)


def places(length: int, window: int, dilation: int, stride: int) -> Any:
    """The positions of all elements of all windows along one axis: int32 [window, windows]."""
    count = (length - dilation * (window - 1) - 1) // stride + 1
    reserve(max(count, 0), itemsize=8)
    starts = np.arange(count) * stride
    return matrix(window, max(count, 0), lambda rows: rows * dilation + starts, np.int32)


def fold(
    x: Tensor,
    *,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Add up columns [batch, channels · window, windows] in images: the transpose of `unfold`.

    The result has the shape [batch, channels, height, width]; windows that overlap are added.
    """
    axes = [numbers(option, 2) for option in (output_size, kernel_size, dilation, padding, stride)]
    (oh, kh, *_), (ow, kw, *_) = zip(*axes, strict=True)
    spread = [_spread(*options) for options in zip(*axes, strict=True)]
    nh, nw = spread[0].shape[1] // kh, spread[1].shape[1] // kw
    batch, channels = ops.dim(x, 0), size(x, 1) // (kh * kw)
    y = ops.reshape(ops.floats(x), (batch, channels, kh, kw, nh, nw))
    y = ops.reshape(ops.transpose(y, (0, 1, 2, 4, 3, 5)), (batch, channels, kh * nh, kw * nw))
    y = ops.MatMul(ops.MatMul(constant(spread[0]), y), constant(spread[1]), transpose_b=True)
    return ops.cast(ops.reshape(y, (batch, channels, oh, ow)), x.dtype)


def _spread(length: int, window: int, dilation: int, padding: int, stride: int) -> Any:
    """The matrix that adds elements of windows to their positions: [length, window · windows]."""
    positions = places(length + 2 * padding, window, dilation, stride).reshape(-1) - padding
    return matrix(length, len(positions), lambda rows: rows == positions)


# ------------------------------------------------------------------------------------ normalization


def batch_norm(
    x: Tensor,
    mean: Any,
    variance: Any,
    offset: Any = None,
    scale: Any = None,
    *,
    axis: int,
    epsilon: float = 1e-3,
) -> Tensor:
    """(x - mean) / √(variance + epsilon) · scale + offset."""
    y = ops.floats(x)
    factor: Tensor = ops.Rsqrt(ops.floats(as_tensor(variance)) + epsilon)
    factor = factor if scale is None else factor * as_tensor(scale)
    shift = -(as_tensor(mean) * factor)
    shift = shift if offset is None else shift + as_tensor(offset)
    return y * along(factor, y, (axis,)) + along(shift, y, (axis,))


def layer_norm(
    x: Tensor, gamma: Any = None, beta: Any = None, *, axis: int | Sequence[int] = -1,
    epsilon: float | None = None, rms_scaling: bool = False,
) -> Tensor:  # fmt: skip
    """(x - mean) / √(variance + epsilon) · gamma + beta.

    With `rms_scaling`, neither the mean is subtracted nor beta added.
    """
    y, axes = ops.floats(x), tuple(sorted(several(axis, x.rank)))
    factor: Tensor = ops.Rsqrt(
        variance(y, axis=axes, keepdims=True) + (EPSILON if epsilon is None else epsilon)
    )
    factor = factor if gamma is None else factor * _over(gamma, y, axes)
    if rms_scaling:
        return ops.cast(y * factor, x.dtype)
    normalized = (y - mean(y, axis=axes, keepdims=True)) * factor
    return ops.cast(normalized if beta is None else normalized + _over(beta, y, axes), x.dtype)


def _over(v: Any, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    tensor = as_tensor(v)
    return tensor if tensor.rank == x.rank or axes == (x.rank - 1,) else along(tensor, x, axes)


def rms_norm(
    x: Tensor, scale: Any = None, *, axis: int | Sequence[int] = -1, epsilon: float | None = None
) -> Tensor:
    """x / √(mean(x²) + epsilon) · scale."""
    y = ops.floats(x)
    axes = several(axis, x.rank)
    normalized = y * ops.Rsqrt(
        ops.mean(ops.Square(y), axes, keepdims=True) + (EPSILON if epsilon is None else epsilon)
    )
    return ops.cast(normalized if scale is None else normalized * as_tensor(scale), x.dtype)


def normalize(x: Tensor, *, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """x / |x|, where |x| is the norm of the given order, at least epsilon."""
    y, least = ops.floats(x), EPSILON if epsilon is None else epsilon
    axes = several(axis, x.rank)
    if order == 2:
        length = ops.Rsqrt(ops.sum_(ops.Square(y), axes, keepdims=True))
        return y * ops.minimum(length, 1 / least)
    if len(axes) > 1:
        raise Refusal("order", "for matrices only the norm of order 2 is supported")
    return y / ops.maximum(vector_norm(y, order, axes, keepdims=True), least)


def moments(
    x: Tensor, *, axes: Any, keepdims: bool = False, synchronized: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance over the axes."""
    if synchronized:
        raise Refusal("synchronized", "a converted model runs on a single device")
    return mean(x, axis=axes, keepdims=keepdims), variance(x, axis=axes, keepdims=keepdims)


# ---------------------------------------------------------------------------------------- attention


def attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Any = None, mask: Any = None,
    scale: float | None = None, *, is_causal: bool = False, flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(query · key · scale + bias) · value, for tensors [batch, time, heads, features]."""
    del flash_attention  # it does not change the result
    if attn_logits_soft_cap is not None:
        raise Refusal(
            "attn_logits_soft_cap", "the Keras backends compute different results with it"
        )
    q, k, v = ops.matched(query, key, value, least="float32")
    heads, groups = size(q, 2), size(k, 2)
    if groups != heads:
        k, v = (ops.repeat(x, heads // groups, 2) for x in (k, v))
    factor = 1 / math.sqrt(size(k, 3)) if scale is None else scale
    logits = einsum("btnh,bsnh->bnts", q, k) * factor
    logits = logits if bias is None else logits + ops.floats(as_tensor(bias))
    allowed = None if mask is None else ops.cast(as_tensor(mask), "bool")
    if is_causal:
        ahead = counted(ops.dim(logits, 3)) - ops.expand_dims(counted(ops.dim(logits, 2)), 1)
        past = ops.less_equal(ahead, 0)
        allowed = past if allowed is None else ops.logical_and(allowed, past)
    # A fully masked row becomes uniform.
    logits = logits if allowed is None else where(allowed, logits, FAR_BELOW)
    return einsum("bnts,bsnh->btnh", ops.Softmax(logits), v)


# ------------------------------------------------------------------------------- classes and losses


def one_hot(
    x: Any, *, num_classes: int, axis: int = -1, dtype: str | None = None, sparse: bool = False
) -> Tensor:
    """Add an axis that is 1 at the index and 0 elsewhere."""
    if sparse:
        raise Refusal("sparse", "converted models have dense tensors only")
    indices = ops.cast(as_tensor(x), "int32")
    hot = ops.OneHot(indices, num_classes, "float32" if dtype is None else named(dtype))
    return ops.move_axis(hot, -1, axis_of(axis, hot.rank))


def multi_hot(
    inputs: Any, *, num_classes: int | None = None, axis: int = -1, dtype: str | None = None,
    sparse: bool = False, num_tokens: int | None = None,
) -> Tensor:  # fmt: skip
    """Return, for each sample, 1 at each of its indices and 0 elsewhere.

    With the default axis, [batch, indices] becomes [batch, classes].
    """
    count = num_classes if num_tokens is None else num_tokens
    if count is None:
        raise Refusal("num_classes", "the number of classes must be given")
    hot = one_hot(inputs, num_classes=count, axis=axis, sparse=sparse)
    most = ops.max_(hot, 1 if as_tensor(inputs).rank > 1 else 0)
    return most if dtype is None else ops.cast(most, named(dtype))


def _logs(output: Tensor, axis: int, *, from_logits: bool) -> Tensor:
    """Logarithms of the probabilities."""
    if from_logits:
        return activations.log_softmax(output, axis_of(axis, output.rank))
    share = output / ops.sum_(output, axis, keepdims=True)
    return ops.Log(ops.clip(share, EPSILON, 1 - EPSILON))


def categorical_crossentropy(
    target: Any, output: Any, *, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-Σ target · log(output)."""
    wanted, probabilities = ops.matched(target, output, least="float32")
    return -ops.sum_(wanted * _logs(probabilities, axis, from_logits=from_logits), axis)


def sparse_categorical_crossentropy(
    target: Any, output: Any, *, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-log(output) at the index given by the target."""
    probabilities, index = ops.floats(as_tensor(output)), ops.cast(as_tensor(target), "int32")
    if index.rank == probabilities.rank and index.shape[-1] == 1:
        index = ops.squeeze(index, -1)
    hot = one_hot(index, num_classes=size(probabilities, axis), axis=axis)
    return -ops.sum_(hot * _logs(probabilities, axis, from_logits=from_logits), axis)


def binary_crossentropy(target: Any, output: Any, *, from_logits: bool = False) -> Tensor:
    """-target · log(output) - (1 - target) · log(1 - output)."""
    wanted, probabilities = ops.matched(target, output, least="float32")
    if from_logits:
        return wanted * ops.Softplus(-probabilities) + (1.0 - wanted) * ops.Softplus(probabilities)
    held = ops.clip(probabilities, EPSILON, 1 - EPSILON)
    return -(wanted * ops.Log(held) + (1.0 - wanted) * ops.Log(1.0 - held))


def psnr(x1: Any, x2: Any, *, max_val: float) -> Tensor:
    """The peak signal-to-noise ratio of two images, in decibels."""
    a, b = ops.matched(x1, x2, least="float32")
    return 20 * math.log10(max_val) - 10.0 * log10(ops.mean(ops.Square(a - b)))


PLAIN: Mapping[str, str] = {
    "Relu6": "relu6", "Selu": "selu", "Sigmoid": "sigmoid", "HardSigmoid": "hard_sigmoid",
    "Silu": "silu", "HardSilu": "hard_silu", "TanhShrink": "tanh_shrink", "Softplus": "softplus",
    "Softsign": "softsign", "LogSigmoid": "log_sigmoid", "SparsePlus": "sparse_plus",
    "SparseSigmoid": "sparse_sigmoid", "Mish": "mish",
}  # fmt: skip
"""Activations without options: class name → name of the Keras function."""

OPERATIONS: Mapping[str, Callable[..., Any]] = {
    **{class_name: activation(name) for class_name, name in PLAIN.items()},
    "HardTanh": hard_tanh, "Relu": relu, "ReLU": relu_of, "LeakyRelu": leaky_relu, "Elu": elu,
    "Celu": celu, "Gelu": gelu, "Glu": glu, "HardShrink": hard_shrink, "SoftShrink": soft_shrink,
    "Squareplus": squareplus, "Threshold": threshold_, "Sparsemax": sparsemax, "Softmax": softmax,
    "LogSoftmax": log_softmax, "Conv": convolution, "DepthwiseConv": depthwise,
    "SeparableConv": separable, "ConvTranspose": transposed, "MaxPool": pooled(MAXIMUM),
    "AveragePool": pooled(AVERAGE), "AdaptiveMaxPool": adaptive(ADAPTIVE_MAXIMUM),
    "AdaptiveAveragePool": adaptive(ADAPTIVE_AVERAGE), "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth, "Unfold": unfold, "Fold": fold, "BatchNorm": batch_norm,
    "LayerNorm": layer_norm, "RMSNorm": rms_norm, "Normalize": normalize, "Moments": moments,
    "DotProductAttention": attention, "OneHot": one_hot, "MultiHot": multi_hot,
    "CategoricalCrossentropy": categorical_crossentropy,
    "SparseCategoricalCrossentropy": sparse_categorical_crossentropy,
    "BinaryCrossentropy": binary_crossentropy, "PSNR": psnr,
}  # fmt: skip
