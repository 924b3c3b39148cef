"""Poolings with options that TF.js lacks, out of those that it has."""

from __future__ import annotations

from kerasport.errors import Refusal
from kerasport.frontends.keras.layers.pooling import places, shares
from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    between_permutes,
    linear_map,
    reshaped,
    selection,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import Site


def pooling(at: Site) -> KerasTensor | None:
    """Pooling of channels_first sequences, between two Permutes."""
    return between_permutes(at) if at.layer.data_format == "channels_first" else None


def average_pooling3d(at: Site) -> KerasTensor | None:
    """AveragePooling3D with channels_first, or with strides larger than the window."""
    layer = at.layer
    if layer.data_format == "channels_first":
        return between_permutes(at)
    narrow = any(
        size < step
        for size, step in zip(layer.pool_size, layer.strides or layer.pool_size, strict=True)
    )
    return _as_images(at, "AveragePooling2D") if narrow and layer.padding == "same" else None


def max_pooling3d(at: Site) -> KerasTensor:
    """MaxPooling3D as 2D poolings (TF.js's own is incorrect on wasm for negative inputs)."""
    return (
        between_permutes(at)
        if at.layer.data_format == "channels_first"
        else _as_images(at, "MaxPooling2D")
    )


def _as_images(at: Site, class_name: str) -> KerasTensor:
    """The maximum, or mean, over depth and height, then that over width."""
    layer = at.layer
    (depth, height, width), (down, along, across) = (
        layer.pool_size,
        layer.strides or layer.pool_size,
    )
    options = {"padding": layer.padding, "data_format": "channels_last"}
    volume = at.shape[1:]
    x = reshaped(at, at.x, (*volume[:2], total(volume[2:])))
    x = at.add(class_name, x, pool_size=[depth, height], strides=[down, along], **options)
    pooled = at.shape_of(x)[1:3]
    x = reshaped(at, x, (total(pooled), *volume[2:]))
    x = at.add(class_name, x, pool_size=[1, width], strides=[1, across], **options)
    return reshaped(at, x, (*pooled, *at.shape_of(x)[2:]))


def global_pooling(at: Site) -> KerasTensor | None:
    """Global pooling with all options, as pooling of a sequence (channels_first: of an image)."""
    layer, kind = at.layer, at.spec.class_name.removesuffix("D")[:-1]
    if layer.keepdims:
        return reshaped(at, at.again(keepdims=False), layer.infer(at.shape)[1:])
    spatial, channels = layer.split(at.shape)
    last = layer.data_format == "channels_last"
    if layer.rank == 2 or (layer.rank == 1 and last):
        return None
    if last:
        return at.add(
            f"{kind}1D", reshaped(at, at.x, (total(spatial), channels)), data_format="channels_last"
        )
    return at.add(
        f"{kind}2D", reshaped(at, at.x, (channels, total(spatial), 1)), data_format="channels_first"
    )


def adaptive_pooling(at: Site) -> KerasTensor:
    """Ordinary pooling, if windows of equal size cover each axis.

    Means of others are a product with a matrix along each axis. For maxima such a product puts the numbers that each
    window sees side by side.
    """
    layer = at.layer
    spatial, _ = layer.split(at.shape)
    if None in spatial:
        raise Refusal(
            "output_size", "the spatial sizes must be fixed; give the input a fixed shape"
        )
    pairs = list(zip(spatial, layer.sizes, strict=True))
    x, first = at.x, 1 if layer.data_format == "channels_last" else 2
    window = [old // new for old, new in pairs]
    if any(old % new for old, new in pairs):
        if layer.kind == "average":
            for axis, (old, new) in enumerate(pairs, start=first):
                x = x if old == new else linear_map(at, x, shares(old, new).T, axis, "means")
            return x
        seen = [places(old, new) for old, new in pairs]
        for axis, (each, (old, new)) in enumerate(zip(seen, pairs, strict=True), start=first):
            x = (
                x
                if old % new == 0
                else linear_map(at, x, selection(old, each.reshape(-1)).T, axis, "seen")
            )
        window = [each.shape[1] for each in seen]
    name = at.spec.class_name.removeprefix("Adaptive")
    return at.add(
        name, x, pool_size=window, strides=window, padding="valid", data_format=layer.data_format
    )
