"""Dense layers, embeddings and dropout that TF.js lacks."""

from __future__ import annotations

from math import prod

import numpy as np

from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.layers.core import EinsumDense, ReversibleEmbedding, TernaryDense
from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import reshaped, scaled, total
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext, derived


def dense(ctx: RewriteContext) -> KerasTensor | None:
    """For rank 6 or more: Dense with the middle axes merged."""
    shape = ctx.shape
    if len(shape) < 6:
        return None
    flat = reshaped(ctx, ctx.x, (total(shape[1:-1]), shape[-1]))
    return reshaped(ctx, ctx.again(flat, part="flat"), (*shape[1:-1], ctx.layer.units))


def ternary_dense(ctx: RewriteContext) -> KerasTensor:
    """Dense with the ternary kernel."""
    layer: TernaryDense = ctx.layer
    ctx.untrainable(
        "Keras trains a float kernel and derives the ternary kernel from it on every call"
    )
    weights = (layer.ternary_kernel(), *(() if layer.bias is None else (layer.bias,)))
    return ctx.again(class_name="Dense", weights=weights, threshold=..., packed=...)


def einsum_dense(ctx: RewriteContext) -> KerasTensor:
    """Dense, if the equation sums over all last axes of the input and appends the new axes.

    Examples are "abc,cd->abd", "abcd,cde->abe" and "...a,abc->...bc". The summed axes are merged
    before the Dense, and the new axes are split after it.
    """
    layer: EinsumDense = ctx.layer
    shape = ctx.shape
    try:
        inputs, kernel, outputs = layer.labels(len(shape))
    except ShapeError as error:
        raise Refusal("equation", str(error)) from None
    count = sum(label in kernel for label in inputs)
    kept, summed = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    new = kernel[count:]
    over_last = kept and kernel == summed + new and outputs == kept + new
    if not over_last or set(layer.bias_axes or "") - set(new):
        raise Refusal(
            "equation",
            "a layers-model supports only products over the last axes; use --to tfjs-graph",
        )
    sizes = layer.kernel.shape
    inner, units = prod(sizes[:count]), prod(sizes[count:])
    x = ctx.x if count == 1 else reshaped(ctx, ctx.x, (*shape[1 : len(kept)], inner))
    weights = [derived(layer.kernel, (inner, units), lambda values: values.reshape(inner, units))]
    if layer.bias is not None:
        new_sizes = sizes[count:]
        weights.append(
            derived(
                layer.bias, (units,), lambda values: np.broadcast_to(values, new_sizes).reshape(-1)
            )
        )
    y = ctx.add(
        "Dense",
        x,
        weights=weights,
        units=units,
        use_bias=layer.bias is not None,
        activation="linear",
        **ctx.carried("kernel", "bias"),
    )
    y = y if len(new) == 1 else reshaped(ctx, y, (*shape[1 : len(kept)], *sizes[count:]))
    if layer.activation == "linear":
        return y
    return ctx.add("Activation", y, activation=layer.activation)


def reversible_embedding(ctx: RewriteContext) -> KerasTensor:
    """Embedding, and for reverse calls Dense with the transposed table, which is stored twice.

    With a logit_soft_cap the logits are tanh(logits / cap) · cap.
    """
    layer: ReversibleEmbedding = ctx.layer
    if not ctx.call.kwargs.get("reverse"):
        return ctx.add(
            "Embedding",
            ctx.x,
            weights=(layer.embeddings,),
            input_dim=layer.input_dim,
            output_dim=layer.output_dim,
            mask_zero=layer.mask_zero,
            **ctx.carried("embeddings"),
        )
    kernel = layer.reverse_embeddings
    if kernel is None:
        ctx.untrainable(
            "its table is stored twice, once for each direction, and training would make the two "
            "copies differ"
        )
        kernel = derived(layer.embeddings, (layer.output_dim, layer.input_dim), np.transpose)
    y = ctx.add(
        "Dense",
        ctx.x,
        part="reverse",
        weights=(kernel,),
        units=layer.input_dim,
        use_bias=False,
        activation="linear",
    )
    cap = layer.logit_soft_cap
    if cap is None:
        return y
    return scaled(ctx, ctx.add("Activation", scaled(ctx, y, 1 / cap), activation="tanh"), cap)


def spatial_dropout(ctx: RewriteContext) -> KerasTensor:
    """Dropout of whole channels, with noise_shape 1 along the axes of the image."""
    images = len(ctx.shape) - 2
    first = ctx.layer.data_format == "channels_first"
    noise_shape = [None, None, *[1] * images] if first else [None, *[1] * images, None]
    return ctx.add("Dropout", ctx.x, rate=ctx.layer.rate, noise_shape=noise_shape)
