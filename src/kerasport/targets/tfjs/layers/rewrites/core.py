"""Dense layers, embeddings and dropout in forms that TF.js lacks."""

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

    As in "abc,cd->abd", "abcd,cde->abe" or "...a,abc->...bc": axes as one, Dense, and one as axes.
    """
    layer: EinsumDense = ctx.layer
    shape = ctx.shape
    try:
        given, kernel, made = layer.labels(len(shape))
    except ShapeError as error:
        raise Refusal("equation", str(error)) from None
    summed = given[len(given) - sum(label in kernel for label in given) :]
    kept, new = given[: len(given) - len(summed)], kernel[len(summed) :]
    if (
        not kept
        or kernel != summed + new
        or made != kept + new
        or set(layer.bias_axes or "") - set(new)
    ):
        raise Refusal(
            "equation",
            "a layers-model supports only products over the last axes; use --to tfjs-graph",
        )
    sizes = layer.kernel.shape
    inner, units = prod(sizes[: len(summed)]), prod(sizes[len(summed) :])
    x = ctx.x if len(summed) == 1 else reshaped(ctx, ctx.x, (*shape[1 : len(kept)], inner))
    weights = [derived(layer.kernel, (inner, units), lambda values: values.reshape(inner, units))]
    if layer.bias is not None:
        new_sizes = sizes[len(summed) :]
        weights.append(
            derived(
                layer.bias, (units,), lambda values: np.broadcast_to(values, new_sizes).reshape(-1)
            )
        )
    y = ctx.add(
        "Dense", x, weights=weights, units=units, use_bias=layer.bias is not None, activation="linear",
        **ctx.carried("kernel", "bias"),
    )  # fmt: skip
    y = y if len(new) == 1 else reshaped(ctx, y, (*shape[1 : len(kept)], *sizes[len(summed) :]))
    return (
        y if layer.activation == "linear" else ctx.add("Activation", y, activation=layer.activation)
    )


def reversible_embedding(ctx: RewriteContext) -> KerasTensor:
    """Embedding, and Dense with the transposed table for reverse calls; both layers store the table.

    With a logit_soft_cap the logits are tanh(logits / cap) · cap.
    """
    layer: ReversibleEmbedding = ctx.layer
    if not ctx.call.kwargs.get("reverse"):
        return ctx.add(
            "Embedding", ctx.x, weights=(layer.embeddings,), input_dim=layer.input_dim, output_dim=layer.output_dim,
            mask_zero=layer.mask_zero, **ctx.carried("embeddings"),
        )  # fmt: skip
    kernel = layer.reverse_embeddings
    if kernel is None:
        ctx.untrainable(
            "its table is stored twice, once for each direction, and training would make the two copies differ"
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
    return (
        y
        if cap is None
        else scaled(ctx, ctx.add("Activation", scaled(ctx, y, 1 / cap), activation="tanh"), cap)
    )


def spatial_dropout(ctx: RewriteContext) -> KerasTensor:
    """Dropout of whole channels, with noise_shape 1 along the axes of the image."""
    images = len(ctx.shape) - 2
    first = ctx.layer.data_format == "channels_first"
    noise_shape = [None, None, *[1] * images] if first else [None, *[1] * images, None]
    return ctx.add("Dropout", ctx.x, rate=ctx.layer.rate, noise_shape=noise_shape)
