"""Layers without effect at inference, and image layers that are called on a dict."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.frontends.keras.layers import LAYERS, traits_of
from kerasport.frontends.keras.model import Call, KerasTensor, LayerSpec

IDENTITY: Mapping[str, str] = {
    name: cls.traits.identity
    for name, cls in LAYERS.items()
    if cls.traits.identity and not cls.traits.kept
}
"""Class of a layer that converters remove → why it can be removed, after "it"."""


def is_identity(spec: LayerSpec) -> bool:
    """Whether converters remove the layer, or keep only the layer inside it."""
    traits = traits_of(spec)
    inner = spec.children.get("layer")
    if traits.wraps and not traits.identity:
        return isinstance(inner, LayerSpec) and is_identity(inner) and not _normalizes(inner)
    # Keras before 3.8 crops in RandomCrop at inference too
    return not spec.custom and spec.class_name in IDENTITY and "at_inference" not in spec.config


def _normalizes(spec: LayerSpec) -> bool:
    """Whether it is an identity around a layer that computes something (SpectralNormalization)."""
    traits = traits_of(spec)
    return traits.wraps and bool(traits.identity)


def returns_input(spec: LayerSpec) -> bool:
    """Whether the layer returns its input at inference: an identity that contains no layer."""
    return is_identity(spec) and not traits_of(spec).wraps


def does_nothing(spec: LayerSpec) -> bool:
    """Whether the layer is an identity at inference, removed or not."""
    return is_identity(spec) or (traits_of(spec).kept and not spec.custom)


IMAGE, BOXES, MASKS = "images", "bounding_boxes", "segmentation_masks"
"""Entries of the dicts on which image layers may be called."""


def is_of_entries(call: Call) -> bool:
    """Whether an image layer is called on a dict."""
    images = traits_of(call.target).images
    return images and len(call.args) > 0 and isinstance(call.args[0], Mapping)


def changed_entry(call: Call) -> str:
    """The entry of the dict, besides the images, that the layer may change; empty if there is none.

    Sources: `BaseImagePreprocessingLayer.call` in Keras 3, `BaseImageAugmentationLayer.call` in
    tf_keras.
    """
    spec, entries = call.target, call.args[0]
    assert isinstance(spec, LayerSpec)
    if IMAGE not in entries or BOXES in entries:  # boxes are padded to one number for all images
        return BOXES if BOXES in entries else IMAGE
    if MASKS in entries and not is_identity(spec):
        return MASKS
    return next((name for name, value in entries.items() if not isinstance(value, KerasTensor)), "")
