"""Layers that do nothing at inference: one table for all targets."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.frontends.keras.model import Call, KerasTensor, LayerSpec

_AUGMENTS = "augments images only during training"
_DROPS = "drops or adds noise only during training"
AUGMENTATIONS = (
    "Equalization", "Solarization", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness",
    "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomElasticTransform",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear",
    "RandomTranslation", "RandomZoom", "RandomHeight", "RandomWidth",
)  # fmt: skip

# Class → why it can be taken out. What is left computes the same numbers.
IDENTITY: Mapping[str, str] = {
    "Identity": "returns its input unchanged",
    "ActivityRegularization": "adds a loss only during training",
    "SpatialDropout2D": _DROPS,
    "SpatialDropout3D": _DROPS,
    **dict.fromkeys(AUGMENTATIONS, _AUGMENTS),
    "MaxNumBoundingBoxes": "returns its images unchanged",
    "SpectralNormalization": "normalizes its kernel only during training, and the file stores the normalized kernel",
}  # fmt: skip

IMAGES = frozenset(
    (*AUGMENTATIONS, "AutoContrast", "CenterCrop", "ContrastLimitedAdaptiveHistogramEqualization",
     "MaxNumBoundingBoxes", "Pipeline", "Resizing")
)  # fmt: skip
"""Layers of images. Keras 3 records training=True in every call of them, and overrules it at inference."""


def is_identity(spec: LayerSpec) -> bool:
    """Whether the layer computes nothing at inference, or nothing but what the layer inside it does."""
    if spec.class_name == "TimeDistributed":
        inner = spec.children["layer"]
        return (
            isinstance(inner, LayerSpec)
            and is_identity(inner)
            and inner.class_name != "SpectralNormalization"
        )
    # until Keras 3.7 RandomCrop crops at inference as well
    return not spec.custom and spec.class_name in IDENTITY and "at_inference" not in spec.config


IMAGE, BOXES, MASKS = "images", "bounding_boxes", "segmentation_masks"
"""Entries of the dicts on which layers of images may be called."""


def is_of_entries(call: Call) -> bool:
    """Whether a layer of images is called on a dict."""
    images = isinstance(call.target, LayerSpec) and call.target.class_name in IMAGES
    return images and len(call.args) > 0 and isinstance(call.args[0], Mapping)


def changed_entry(call: Call) -> str:
    """The entry of the dict, besides the images, that the layer may change; empty where there is none.

    Source: `BaseImagePreprocessingLayer.call` of Keras 3, and `BaseImageAugmentationLayer.call` of tf_keras.
    """
    spec, entries = call.target, call.args[0]
    assert isinstance(spec, LayerSpec)
    if IMAGE not in entries or BOXES in entries:  # boxes are padded to one number for all images
        return BOXES if BOXES in entries else IMAGE
    if MASKS in entries and not is_identity(spec):
        return MASKS
    return next((name for name, value in entries.items() if not isinstance(value, KerasTensor)), "")
