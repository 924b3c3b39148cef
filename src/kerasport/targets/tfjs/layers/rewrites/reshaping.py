"""Layers that move, repeat or cut their input, out of those that TF.js has for images."""

from __future__ import annotations

from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    channels_last,
    padded,
    repeated,
    reshaped,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import Site
from kerasport.targets.tfjs.layers.rewrites.images import resized


def first_axis(at: Site) -> int:
    """The first of the spatial axes."""
    return 1 if at.layer.data_format == "channels_last" else 2


def cropping(at: Site) -> KerasTensor:
    """One axis at a time, as the width of an image."""
    x, first = at.x, first_axis(at)
    for axis in range(at.layer.rank):
        before, after = at.layer.amount(axis)
        x = padded(at, x, first + axis, -before, -after)
    return x


def zero_padding(at: Site) -> KerasTensor:
    """One axis at a time, as the width of an image."""
    x, first = at.x, first_axis(at)
    for axis in range(at.layer.rank):
        x = padded(at, x, first + axis, *at.layer.amount(axis))
    return x


def up_sampling(at: Site) -> KerasTensor:
    """One axis at a time, as the width of an image."""
    x, first = at.x, first_axis(at)
    for axis, times in enumerate(at.layer.factors(), start=first):
        x = repeated(at, x, axis, times)
    return x


def up_sampling2d(at: Site) -> KerasTensor | None:
    """Interpolation as a matrix product along each axis, since TF.js samples at other positions."""
    if at.layer.interpolation in ("nearest", "bilinear_keras2"):
        return None
    first = first_axis(at)
    size = tuple(
        0 if old is None else old * times
        for old, times in zip(at.shape[first : first + 2], at.layer.factors(), strict=True)
    )
    return resized(at, at.x, (first, first + 1), size, at.layer.interpolation)


def flatten(at: Site) -> KerasTensor | None:
    """Reshape, where the Flatten of TF.js throws (flat inputs and unknown sizes)."""
    rank = len(at.shape)
    if rank > 2 and None not in at.shape[1:]:
        return None
    x = channels_last(at, at.x) if rank > 2 and at.layer.data_format == "channels_first" else at.x
    return reshaped(at, x, (1 if rank == 1 else total(at.shape[1:]),))


def reshape(at: Site) -> KerasTensor | None:
    """Reshape with every size explicit; after an inferred size (-1) TF.js does not know the shape."""
    if all(size is not None and size >= 0 for size in at.layer.target_shape):
        return None
    sizes = at.layer.infer(at.shape)[1:]
    return None if None in sizes else at.again(target_shape=list(sizes))
