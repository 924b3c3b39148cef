"""Layers that do nothing at inference: in the middle, at the end, and inside other models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import layers
from tests.cases.case import Case, chain, one

IMAGE = (6, 6, 3)

OF_VECTORS: Mapping[str, Callable[[], Any]] = {
    "identity": layers.Identity,
    "activity_regularization": lambda: layers.ActivityRegularization(l1=0.1, l2=0.2),
    "time_distributed_identity": lambda: layers.TimeDistributed(layers.Identity()),
}
OF_IMAGES: Mapping[str, Callable[[], Any]] = {
    "identity_of_images": layers.Identity,
    "spatial_dropout2d": lambda: layers.SpatialDropout2D(0.5),
    "equalization": lambda: layers.Equalization(value_range=(0, 1)),
    "solarization": lambda: layers.Solarization(value_range=(0, 1)),
    "aug_mix": lambda: layers.AugMix(value_range=(0, 1)),
    "cut_mix": layers.CutMix,
    "mix_up": layers.MixUp,
    "rand_augment": lambda: layers.RandAugment(value_range=(0, 1)),
    "random_brightness": lambda: layers.RandomBrightness(0.5, value_range=(0, 1)),
    "random_color_degeneration": lambda: layers.RandomColorDegeneration(0.5),
    "random_color_jitter": lambda: layers.RandomColorJitter(value_range=(0, 1)),
    "random_contrast": lambda: layers.RandomContrast(0.5),
    "random_crop": lambda: layers.RandomCrop(6, 6),
    "random_elastic_transform": layers.RandomElasticTransform,
    "random_erasing": layers.RandomErasing,
    "random_flip": layers.RandomFlip,
    "random_gaussian_blur": layers.RandomGaussianBlur,
    "random_grayscale": layers.RandomGrayscale,
    "random_hue": lambda: layers.RandomHue(0.5, value_range=(0, 1)),
    "random_invert": layers.RandomInvert,
    "random_perspective": layers.RandomPerspective,
    "random_posterization": lambda: layers.RandomPosterization(4, value_range=(0, 1)),
    "random_rotation": lambda: layers.RandomRotation(0.5),
    "random_saturation": lambda: layers.RandomSaturation(0.5),
    "random_sharpness": lambda: layers.RandomSharpness(0.5, value_range=(0, 1)),
    "random_shear": lambda: layers.RandomShear(0.5, 0.5),
    "random_translation": lambda: layers.RandomTranslation(0.5, 0.5),
    "random_zoom": lambda: layers.RandomZoom(0.5),
    "max_num_bounding_boxes": lambda: layers.MaxNumBoundingBoxes(4),
}


def named(row: str) -> tuple[str, ...]:
    """The layer whose name in snake case a row has, if it has one."""
    class_name = row.title().replace("_", "")
    return (class_name,) if hasattr(layers, class_name) else ()


def everywhere() -> Iterator[Case]:
    """Each of them between two layers, and at the end."""
    for name, make in OF_VECTORS.items():
        yield chain(
            f"{name}_between",
            (4, 3),
            lambda: layers.Dense(4),
            make,
            lambda: layers.Dense(2),
            covers=named(name),
        )
        yield chain(f"{name}_last", (4, 3), lambda: layers.Dense(4), make)
        yield one(f"{name}_alone", (4, 3), make)
    for name, make in OF_IMAGES.items():
        yield chain(f"{name}_between", IMAGE, make, lambda: layers.Conv2D(2, 3), covers=named(name))
        if name != "equalization":  # Keras finds a cycle there
            yield chain(f"{name}_last", IMAGE, lambda: layers.Conv2D(3, 1), make)
    yield one("spatial_dropout3d", (3, 4, 5, 2), layers.SpatialDropout3D, 0.5)
    yield one(
        "spectral_normalization_dense",
        (5,),
        lambda: layers.SpectralNormalization(layers.Dense(3, activation="tanh")),
        covers=("SpectralNormalization",),
    )
    yield chain(
        "spectral_normalization_conv2d", IMAGE,
        lambda: layers.SpectralNormalization(layers.Conv2D(4, 3, strides=2)), layers.ReLU,
    )  # fmt: skip
    # Keras casts the output to the dtype of the input, and so cuts the fractions off
    yield one(
        "spectral_normalization_embedding",
        (6,),
        lambda: layers.SpectralNormalization(layers.Embedding(9, 4)),
        of="int32",
        refused="SpectralNormalization",
    )
    yield one(
        "spectral_normalization_hard_sigmoid", (5,),
        lambda: layers.SpectralNormalization(layers.Dense(3, activation="hard_sigmoid")),
    )  # fmt: skip
    yield one(
        "spectral_normalization_frozen",
        (5,),
        lambda: layers.SpectralNormalization(layers.Dense(3), trainable=False),
    )
    yield one("spectral_normalization_of_frozen", (5,), lambda: layers.SpectralNormalization(
        layers.Dense(3, trainable=False)))  # fmt: skip
    yield one("spectral_normalization_twice", (5,), lambda: layers.SpectralNormalization(
        layers.SpectralNormalization(layers.Dense(3))))  # fmt: skip
    yield one("time_distributed_spectral_normalization", (4, 5), lambda: layers.TimeDistributed(
        layers.SpectralNormalization(layers.Dense(3))))  # fmt: skip


def many_in_a_row() -> keras.Model:
    """One after the other, two of them outputs."""
    x = layers.Input((4,))
    a = layers.Identity(name="a")(layers.Dense(3)(x))
    b = layers.Identity(name="b")(layers.ActivityRegularization(0.1)(a))
    return keras.Model(x, [a, b])


def of_an_input() -> keras.Model:
    """The output of the identity of an input."""
    x = layers.Input((4,))
    return keras.Model(x, [layers.Identity()(x), layers.Dense(2)(x)])


def shared_identity() -> keras.Model:
    """One identity on two tensors."""
    x, y = layers.Input((4,)), layers.Input((3,))
    identity = layers.Identity()
    return keras.Model([x, y], layers.Concatenate()([identity(x), identity(y)]))


def inside_nested() -> keras.Model:
    """Identities at the start, in the middle and at the end of nested models."""
    x = layers.Input((4,))
    y = layers.Identity()(layers.Dense(4)(layers.ActivityRegularization(0.1)(x)))
    inner = keras.Model(x, y)
    only = keras.Sequential([layers.Input((4,)), layers.Identity()])
    z = layers.Input((4,))
    return keras.Model(z, only(inner(only(z))))


def augmentation_block() -> keras.Model:
    """The usual Sequential of augmentations before a network."""
    augment = keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    )
    x = layers.Input(IMAGE)
    return keras.Model(x, layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(augment(x))))


def identity_of_a_shared_output() -> keras.Model:
    """A tensor that is an output itself, and through an identity once more."""
    x = layers.Input((4,))
    y = layers.Dense(3)(x)
    return keras.Model(x, [y, layers.Identity()(y), layers.Dropout(0.5)(y)])


def augmentation_of_a_dict() -> keras.Model:
    """Images and what goes with them, all of which come out, in another order."""
    image, label = layers.Input(IMAGE), layers.Input((4,))
    made = layers.RandomFlip()({"images": image, "labels": label}, training=False)
    return keras.Model(
        [image, label], [made["labels"], layers.Conv2D(2, 3)(made["images"]), made["images"]]
    )


def augmentation_of_a_dict_alone() -> keras.Model:
    """A model whose outputs are its inputs."""
    given = {"images": layers.Input(IMAGE), "labels": layers.Input((4,))}
    return keras.Model(given, layers.RandomRotation(0.2)(given))


def identity_of_a_list() -> keras.Model:
    """Tensors that an identity returns as it is given them."""
    x, y = layers.Input((4,)), layers.Input((3,))
    first, second = layers.Identity()([layers.Dense(2)(x), y])
    return keras.Model([x, y], [layers.Dense(3)(second), first])


CASES = (
    *everywhere(),
    Case("augmentation_of_a_dict", augmentation_of_a_dict),
    Case("augmentation_of_a_dict_alone", augmentation_of_a_dict_alone),
    Case("identity_of_a_list", identity_of_a_list),
    Case("identities_in_a_row", many_in_a_row),
    Case("identity_of_an_input", of_an_input),
    Case("identity_shared", shared_identity),
    Case("identities_inside_nested", inside_nested),
    Case("augmentation_block", augmentation_block),
    Case("identity_of_a_shared_output", identity_of_a_shared_output),
)
