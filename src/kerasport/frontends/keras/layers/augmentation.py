"""Image augmentation layers. They return images unchanged at inference, whatever their options are.

`RandomCrop` is in `preprocessing`, because Keras before 3.8 crops at inference too.
"""

from __future__ import annotations

from kerasport.frontends.keras.layers.base import Unread
from kerasport.frontends.keras.layers.traits import AUGMENTS, WRAPS, MaskRule, Traits


class _Augmentation(Unread):
    """Images [batch, height, width, channels], unchanged."""

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=WRAPS,
        identity=AUGMENTS,
        acts_in_training=True,
        images=True,
    )
    signature = ("data", "training")  # BaseImagePreprocessingLayer.call
    tensors = ("data",)


class Equalization(_Augmentation):
    """Equalizes the histogram of each channel during training."""


class Solarization(_Augmentation):
    """Inverts pixels above a threshold during training."""


class AugMix(_Augmentation):
    """Mixes chains of random augmentations during training."""


class CutMix(_Augmentation):
    """Replaces a part of an image with that of another during training."""


class MixUp(_Augmentation):
    """Blends two images during training."""


class RandAugment(_Augmentation):
    """Applies random augmentations during training."""


class RandomBrightness(_Augmentation):
    """Shifts the brightness during training."""


class RandomColorDegeneration(_Augmentation):
    """Moves colors toward gray during training."""


class RandomColorJitter(_Augmentation):
    """Changes brightness, contrast, saturation and hue during training."""


class RandomContrast(_Augmentation):
    """Scales the contrast during training."""


class RandomElasticTransform(_Augmentation):
    """Distorts images elastically during training."""


class RandomErasing(_Augmentation):
    """Erases a rectangle during training."""


class RandomFlip(_Augmentation):
    """Flips images during training."""


class RandomGaussianBlur(_Augmentation):
    """Blurs images during training."""


class RandomGrayscale(_Augmentation):
    """Removes the color during training."""


class RandomHue(_Augmentation):
    """Shifts the hue during training."""


class RandomInvert(_Augmentation):
    """Inverts images during training."""


class RandomPerspective(_Augmentation):
    """Distorts the perspective during training."""


class RandomPosterization(_Augmentation):
    """Reduces the bits per color during training."""


class RandomRotation(_Augmentation):
    """Rotates images during training."""


class RandomSaturation(_Augmentation):
    """Scales the saturation during training."""


class RandomSharpness(_Augmentation):
    """Sharpens or blurs images during training."""


class RandomShear(_Augmentation):
    """Shears images during training."""


class RandomTranslation(_Augmentation):
    """Moves images during training."""


class RandomZoom(_Augmentation):
    """Zooms images during training."""


class RandomHeight(_Augmentation):
    """Scales the height during training."""


class RandomWidth(_Augmentation):
    """Scales the width during training."""


class MaxNumBoundingBoxes(Unread):
    """Returns images unchanged, and pads their bounding boxes."""

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=WRAPS,
        identity="returns its images unchanged",
        images=True,
    )
    signature = ("data", "training")
    tensors = ("data",)
