"""Layers that only networks of keras.applications have."""

from __future__ import annotations

from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import channel_affine, scaled
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext


def layer_scale(ctx: RewriteContext) -> KerasTensor:
    """x · gamma with one gamma per channel, as a depthwise convolution with kernel size 1."""
    return channel_affine(ctx, ctx.x, ctx.layer.gamma, None)


def custom_scale(ctx: RewriteContext) -> KerasTensor:
    """a + scale · b"""
    a, b = ctx.inputs
    return ctx.add("Add", a, scaled(ctx, b, ctx.layer.scale))
