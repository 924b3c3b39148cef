"""Layers that do nothing at inference, and layers that a layers-model lacks: tables with a reason a row."""

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

_ABSENT = "TF.js has no such layer"
_STRINGS = "strings cannot enter a layers-model"
_PYTHON = "it holds Python code, which a browser cannot run"

# Class → why a layers-model cannot hold it, for what is not simply absent.
REFUSED: Mapping[str, str] = {
    "Lambda": f"{_PYTHON}; write it with Keras layers or keras.ops",
    "TFSMLayer": "it refers to a SavedModel outside the file",
    "TorchModuleWrapper": "it holds a pickled PyTorch module",
    "JaxLayer": _PYTHON,
    "FlaxLayer": _PYTHON,
    "GroupNormalization": _ABSENT,
    "MaxPooling3D": "TF.js's wasm backend computes it wrongly for negative inputs",
    "Conv3DTranspose": "TF.js's wasm backend computes it wrongly",
    "Resizing": "TF.js's Resizing throws on batches, and samples at other points",
    "CenterCrop": "TF.js's CenterCrop rejects its own input at predict",
    "CategoryEncoding": "TF.js's CategoryEncoding rejects its own input at predict",
    **dict.fromkeys(("StringLookup", "TextVectorization", "Hashing", "HashedCrossing"), _STRINGS),
}


def why_refused(class_name: str) -> str:
    """Why a layers-model cannot hold a layer of that class."""
    return REFUSED.get(class_name, _ABSENT)
