"""Preprocessing layers that are part of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kerasport.budget import reserve
from kerasport.errors import Refusal
from kerasport.frontends.keras.identity import IDENTITY, is_identity
from kerasport.frontends.keras.layers.preprocessing import CategoryEncoding, Normalization
from kerasport.frontends.keras.model import KerasTensor, LayerSpec
from kerasport.targets.tfjs.layers.rewrites.blocks import linear_map, reshaped, total
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext, constant

LISTED = 2**16
"""How many numbers an option in model.json may list."""
TABLE = 1024
"""How many tokens a one-hot table may have; with 1024 tokens it has 4 MB."""


def normalization(ctx: RewriteContext) -> KerasTensor:
    """(x - mean) / deviation, or x · deviation + mean, as Rescaling with a scale per position.

    The mean is subtracted first, as in Keras. If it is much larger than the deviation, then
    x / deviation and mean / deviation would lose the difference to rounding.
    """
    layer: Normalization = ctx.layer
    mean = _along(ctx, layer, layer.mean if layer.adapted_mean is None else layer.adapted_mean)
    variance = _along(
        ctx, layer, layer.variance if layer.adapted_variance is None else layer.adapted_variance
    )
    deviation = np.maximum(np.sqrt(variance), np.float32(1e-7))
    if layer.invert:
        return _rescaled(ctx, ctx.x, deviation, mean)
    centered = ctx.x if not mean.any() else _rescaled(ctx, ctx.x, np.float32(1), -mean)
    return _rescaled(ctx, centered, 1 / deviation, np.float32(0))


def _rescaled(
    ctx: RewriteContext,
    x: KerasTensor,
    scale: npt.NDArray[Any] | np.float32,
    offset: npt.NDArray[Any] | np.float32,
) -> KerasTensor:
    return ctx.add("Rescaling", x, scale=_listed(scale), offset=_listed(offset))


def _listed(values: npt.NDArray[Any] | np.float32) -> Any:
    """Float32 numbers for JSON, each with the fewest digits that identify it."""
    array = np.asarray(values, np.float32)
    digits = [float(str(value)) for value in array.reshape(-1)]
    return np.asarray(digits, np.float64).reshape(array.shape).tolist()


def _along(ctx: RewriteContext, layer: Normalization, statistic: Any) -> npt.NDArray[Any]:
    """A mean or variance along the kept axes, as a float32 array that broadcasts with the input."""
    is_option = isinstance(statistic, tuple | int | float)
    values = np.asarray(statistic if is_option else statistic.read(), np.float32)
    rank = len(ctx.shape)
    kept = layer.axes(rank)
    if 0 in kept:
        raise Refusal(
            "axis", "it has a mean per sample of the batch, which TF.js layers do not support"
        )
    if values.ndim > len(kept):
        raise Refusal("mean", f"a value of shape {values.shape} does not fit the axes {layer.axis}")
    if values.size > LISTED:
        raise Refusal(
            "mean", f"more than {LISTED} numbers are too many for model.json; use --to tfjs-graph"
        )
    sizes = [1] * rank
    for axis, size in zip(reversed(kept), reversed(values.shape), strict=False):
        sizes[axis] = size
    first = next((axis for axis in kept if sizes[axis] != 1), rank)
    return values.reshape(sizes[first:]) if values.ndim else values


def category_encoding(ctx: RewriteContext) -> KerasTensor:
    """An Embedding of one-hot rows, then their maximum (multi_hot) or sum (count) per sample."""
    layer: CategoryEncoding = ctx.layer
    shape, depth = ctx.shape, layer.num_tokens
    if depth > TABLE:
        raise Refusal(
            "num_tokens",
            f"a table of more than {TABLE} tokens is too large for a layers-model; "
            "use --to tfjs-graph",
        )
    one_hot = ctx.add(
        "Embedding",
        ctx.x,
        weights=(constant(np.eye(depth)),),
        frozen=True,
        input_dim=depth,
        output_dim=depth,
        mask_zero=False,
    )
    if layer.output_mode == "one_hot":
        if len(shape) < 2 or shape[-1] != 1:
            return one_hot
        return reshaped(ctx, one_hot, (*shape[1:-1], depth))
    if len(shape) < 2:
        raise Refusal("output_mode", "it counts across the batch, which TF.js layers cannot do")
    others = shape[2:]
    flat = reshaped(ctx, one_hot, (shape[1], total((*others, depth)))) if others else one_hot
    if layer.output_mode == "multi_hot":
        y = ctx.add("GlobalMaxPooling1D", flat)
    elif shape[1] is None:
        raise Refusal(
            "output_mode", "the number of indices per sample is not fixed; use --to tfjs-graph"
        )
    else:
        reserve(shape[1], itemsize=8)
        summed = linear_map(ctx, flat, np.ones((shape[1], 1)), 1, part="sum")
        return reshaped(ctx, summed, (*others, depth))
    return reshaped(ctx, y, (*others, depth)) if others else y


def pipeline(ctx: RewriteContext) -> KerasTensor:
    """The layers of the pipeline in order, without those that act only in training."""
    x = ctx.x
    for child in ctx.spec.children.values():
        if not isinstance(child, LayerSpec):
            raise Refusal("layers", f"it contains the model {child.name!r}; use --to tfjs-graph")
        if is_identity(child):
            reason = IDENTITY.get(child.class_name, "")
            ctx.untrainable(f"its {child.class_name} is removed, because it {reason}")
            continue
        if child.custom:
            raise Refusal(
                "layers",
                f"{child.class_name} is a custom layer, and the file does not contain its code",
            )
        x = ctx.call_layer(
            child.class_name,
            [x],
            child.config,
            part=child.name,
            weights=child.weights,
            children=child.children,
        )
    return x
