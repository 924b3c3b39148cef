"""Layers that networks of keras.applications have for themselves."""

from __future__ import annotations

from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import channel_affine, scaled
from kerasport.targets.tfjs.layers.rewrites.context import Site


def layer_scale(at: Site) -> KerasTensor:
    """x · gamma with one gamma per channel, as a depthwise convolution with kernel size 1."""
    return channel_affine(at, at.x, at.layer.gamma, None)


def custom_scale(at: Site) -> KerasTensor:
    """a + scale · b"""
    a, b = at.inputs
    return at.add("Add", a, scaled(at, b, at.layer.scale))
