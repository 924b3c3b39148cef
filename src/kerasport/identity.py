"""Layers that do nothing at inference: one table for all targets."""

from __future__ import annotations

from collections.abc import Mapping

_AUGMENTS = "augments images in training only"
_DROPS = "drops or adds noise in training only"

# Class → why it can be taken out. What is left computes the same numbers.
IDENTITY: Mapping[str, str] = {
    "Identity": "passes its input on",
    "ActivityRegularization": "adds a loss in training only",
    "SpatialDropout2D": _DROPS,
    "SpatialDropout3D": _DROPS,
    **dict.fromkeys(
        ("Equalization", "Solarization", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness",
         "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomElasticTransform",
         "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
         "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness",
         "RandomShear", "RandomTranslation", "RandomZoom", "RandomHeight", "RandomWidth"), _AUGMENTS,
    ),
    "MaxNumBoundingBoxes": "passes images on",
    "SpectralNormalization": "its kernel is stored normalised, so the wrapped layer stands for it",
}  # fmt: skip

# Those of them that let a mask pass; the others stop it.
PASSES_MASK = frozenset(
    ("Identity", "ActivityRegularization", "SpatialDropout2D", "SpatialDropout3D", "TimeDistributed")
)
