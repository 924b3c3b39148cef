"""Valid models that look damaged to a reader that knows too little of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import layers, ops
from tests.cases.case import Case, no_layers_model

IMAGE, LABELS = (7, 5, 3), (4,)


def compiled(inner: keras.Model) -> keras.Model:
    """The model with an optimizer that has variables of its own in the file."""
    inner.compile(optimizer="adam", loss="mse")
    inner.optimizer.build(inner.trainable_variables)
    return inner


def compiled_inside_functional() -> keras.Model:
    x = layers.Input((4,))
    inner = compiled(
        keras.Sequential([layers.Input((4,)), layers.Dense(3, bias_initializer="ones")])
    )
    return compiled(keras.Model(x, layers.Dense(2)(inner(x))))


def compiled_inside_sequential() -> keras.Model:
    x = layers.Input((4,))
    inner = compiled(keras.Model(x, layers.Dense(3, activation="tanh")(x)))
    return keras.Sequential([layers.Input((4,)), inner, layers.Dense(2)])


def adversarial() -> keras.Model:
    """A generator before a discriminator that was compiled alone and is frozen."""
    generator = keras.Sequential([layers.Input((3,)), layers.Dense(4, activation="relu")])
    discriminator = compiled(
        keras.Sequential([layers.Input((4,)), layers.Dense(1, activation="sigmoid")])
    )
    discriminator.trainable = False
    x = layers.Input((3,))
    return compiled(keras.Model(x, discriminator(generator(x))))


def of_entries(make: Callable[[], Any], **others: tuple[int, ...]) -> Callable[[], keras.Model]:
    """A layer of images called on a dict, whose entries are the outputs of the model."""

    def build() -> keras.Model:
        entries = {
            name: layers.Input(shape, name=name)
            for name, shape in {"images": IMAGE, **others}.items()
        }
        inputs = list(entries.values())
        made = make()(dict(entries))
        return keras.Model(inputs, [made[name] for name in sorted(made)])

    return build


def augmented() -> Iterator[Case]:
    """Layers of images that are called on dicts: they change the images, or nothing."""
    for name, make in (
        ("random_flip", lambda: layers.RandomFlip()),
        ("random_rotation", lambda: layers.RandomRotation(0.2)),
        ("mix_up", lambda: layers.MixUp()),
        ("cut_mix", lambda: layers.CutMix()),
        ("rand_augment", lambda: layers.RandAugment()),
    ):
        yield Case(f"{name}_of_a_dict", of_entries(make, labels=LABELS))
    yield Case(
        "random_flip_of_a_dict_with_other_entries",
        of_entries(layers.RandomFlip, classes=(2,), weights=(1,)),
    )
    yield Case(
        "random_zoom_of_a_dict_with_masks",
        of_entries(lambda: layers.RandomZoom(0.1), segmentation_masks=IMAGE),
    )
    absent = no_layers_model("TF.js does not have this layer")
    yield Case(
        "auto_contrast_of_a_dict", of_entries(layers.AutoContrast, labels=LABELS), refused=absent
    )
    yield Case(
        "auto_contrast_of_a_dict_with_masks",
        of_entries(layers.AutoContrast, segmentation_masks=IMAGE),
        refused=no_layers_model("'segmentation_masks'"),
    )


def called(make: Callable[[Any], Any], *shape: int) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        x = layers.Input(shape)
        return keras.Model(x, make(x))

    return build


def noise_ratio() -> keras.Model:
    x, y = layers.Input((4, 3)), layers.Input((4, 3))
    return keras.Model([x, y], ops.psnr(x, y, 2.0))


CONSTANT = no_layers_model("does not depend on the input")
BATCH = no_layers_model("reduces the batch axis")

SCALARS: Mapping[str, tuple[Callable[[Any], Any], Mapping[str, str]]] = {
    "full_like": (lambda x: ops.full_like(x, 2.5), CONSTANT),
    "full_like_added": (lambda x: ops.full_like(x, 2.5) + x, CONSTANT),
    "ones_like_added": (lambda x: ops.ones_like(x) + x, no_layers_model("computes Fill")),
    "mean_of_all_subtracted": (lambda x: x - ops.mean(x), BATCH),
    "times_eye": (lambda x: ops.matmul(x, ops.eye(3)), {}),
}


def glu_before_a_merge() -> keras.Model:
    """Keras takes the output of the Dense for as wide as its units, and glu halves it."""
    x = layers.Input((5, 2))
    y = layers.Dense(6, activation="glu", bias_initializer="ones")(x)
    z = layers.Dense(6, activation="glu")(x)
    return keras.Model(
        x, layers.DepthwiseConv1D(2, data_format="channels_first")(layers.Maximum()([y, z]))
    )


CODE = no_layers_model("Python code")


def lambda_that_changes_the_shape() -> keras.Model:
    x = layers.Input((6, 4))
    y = layers.Lambda(lambda z: z[:, -1], output_shape=(4,), name="last")(x)
    return keras.Model(x, layers.Dense(3, activation="gelu")(layers.Dense(2)(y)))


def lambdas_and_another_problem() -> keras.Model:
    x = layers.Input((6, 4))
    y = layers.Lambda(
        lambda z: ops.mean(z, 1), output_shape=(4,), mask=None, arguments={}, name="mean"
    )(x)
    y = layers.Dense(3, activation=lambda z: z * z, name="squared")(y)
    return keras.Model(x, y)


CASES = (
    Case("compiled_inside_functional", compiled_inside_functional),
    Case("compiled_inside_sequential", compiled_inside_sequential),
    Case("adversarial", adversarial),
    *augmented(),
    *(
        Case(name, called(make, 4, 3), refused=refused, mixes_batch=name.startswith("mean"))
        for name, (make, refused) in SCALARS.items()
    ),
    Case("psnr", noise_ratio, refused=BATCH, mixes_batch=True),
    Case("glu_before_a_merge", glu_before_a_merge),
    Case("lambda_that_changes_the_shape", lambda_that_changes_the_shape, refused=CODE),
    Case("lambdas_and_another_problem", lambdas_and_another_problem, refused=CODE),
)
