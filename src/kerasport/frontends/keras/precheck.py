"""What no target can translate, whatever it has: found in the model itself, before a target looks at it."""

from __future__ import annotations

from collections.abc import Iterator

from kerasport.errors import Problem
from kerasport.frontends.keras.dtypes import INTEGERS, Dtypes, integer_problems
from kerasport.frontends.keras.identity import AUGMENTATIONS, IMAGES, changed_entry, is_of_entries
from kerasport.frontends.keras.masks import MaskRules, Masks
from kerasport.frontends.keras.model import Call, KerasModel, LayerSpec, Operation
from kerasport.releases import TRAINING_COUNTS


def refusals(model: KerasModel) -> Iterator[Problem]:
    """Everything about a model that is refused whatever it is to become."""
    dtypes = Dtypes()
    dtypes.model(model)
    for part in models(model):
        if part.custom:
            reason = (
                f"it is a subclass of Model ({part.custom}); its call() may differ from the graph "
                "of its layers, and the file does not contain its code"
            )
            remedy = (
                "if both compute the same, save keras.Model(model.inputs, model.outputs) instead"
            )
            yield Problem(part.name, part.class_name, reason, remedy=remedy)
        dtypes.model(part)
        yield from integer_problems(part, dtypes, model.release)
        yield from _entry_problems(part)
        if model.release >= TRAINING_COUNTS:
            yield from _training_problems(part)
        for target in part.targets():
            if isinstance(target, LayerSpec):
                yield from _layer_problems(target, model.release)


# Layers that act in training only, besides those that augment images.
ACTS_IN_TRAINING = frozenset(
    ("AlphaDropout", "BatchNormalization", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D",
     "SpatialDropout2D", "SpatialDropout3D", "SpectralNormalization", *AUGMENTATIONS)
)  # fmt: skip
DROPOUTS = ("dropout", "recurrent_dropout")  # options of layers that drop by themselves


def _training_problems(model: KerasModel) -> Iterator[Problem]:
    """Image layers that are called with training=True, and so act when the model predicts."""
    for call in model.calls:
        target = call.target
        if target.class_name in IMAGES and call.kwargs.get("training") and acts_in_training(target):
            reason = "the model calls it with training=True, so it is active at inference"
            yield Problem(target.name, target.class_name, reason, "training", True)


def acts_in_training(target: LayerSpec | Operation | KerasModel) -> bool:
    """Whether a layer, or one inside, computes something else in training."""
    if isinstance(target, KerasModel):
        return any(map(acts_in_training, target.targets()))
    drops = any(target.config.get(option) for option in DROPOUTS)
    parts = target.children.values() if isinstance(target, LayerSpec) else ()
    return target.class_name in ACTS_IN_TRAINING or drops or any(map(acts_in_training, parts))


def _entry_problems(model: KerasModel) -> Iterator[Problem]:
    """Layers of images that are called on a dict of which they change more than the images."""
    for call in filter(is_of_entries, model.calls):
        reason = f"it is called on a dict, and its effect on the entry {changed_entry(call)!r} is not supported"
        remedy = "call it on the images only"
        yield Problem(call.target.name, call.target.class_name, reason, remedy=remedy)


CUSTOM = (
    "build the model again with Keras layers or keras.ops in place of this class, copy the weights with "
    "new_model.set_weights(old_model.get_weights()), and save it"
)


def custom_problem(spec: LayerSpec) -> Problem:
    """Of a layer that is none of Keras's own."""
    reason = f"it is a custom layer ({spec.custom}), and the file does not contain its code"
    return Problem(spec.name, spec.class_name, reason, remedy=CUSTOM)


# Layers that give integers by nature, or compute nothing.
OF_INTEGERS = frozenset(
    ("InputLayer", "Flatten", "Reshape", "Permute", "RepeatVector", "Concatenate", "MaxPooling1D", "MaxPooling2D",
     "MaxPooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "ZeroPadding1D",
     "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "Identity", "Dropout",
     "Maximum", "Minimum", "Embedding", "Discretization", "CategoryEncoding", "IntegerLookup", "StringLookup",
     "Hashing", "HashedCrossing", "TextVectorization")
)  # fmt: skip


def _layer_problems(spec: LayerSpec, release: tuple[int, int]) -> Iterator[Problem]:
    """Layers that compute in integers, and wrappers that compute something else than what is stored."""
    dtype = str(spec.config.get("dtype", ""))
    if dtype in INTEGERS and spec.class_name not in OF_INTEGERS:
        reason = f"Keras casts its input to {dtype}, which truncates it; converted models compute in float32"
        yield Problem(spec.name, spec.class_name, reason, "dtype", dtype)
    inner = spec.children.get("layer")
    if (
        spec.class_name == "SpectralNormalization"
        and getattr(inner, "class_name", "") == "Embedding"
    ):
        reason = "the file does not store the Embedding as Keras normalizes it"
        yield Problem(spec.name, spec.class_name, reason, "layer", "Embedding")
    if spec.class_name == "TimeDistributed" and release < (3, 0) and _makes_mask(inner, release):
        reason = "Keras 2 passes on the masks that the inner layer creates at each step; Keras 3 and converted models do not"
        remedy = "put the inner layer and the layers that use its mask into one model inside the TimeDistributed"
        yield Problem(
            spec.name, spec.class_name, reason, "layer", inner.class_name if inner else "", remedy
        )


def _makes_mask(inner: LayerSpec | KerasModel | None, release: tuple[int, int]) -> bool:
    """Whether a mask comes out of what is given none."""
    return inner is not None and any(Masks(MaskRules(release)).outputs(Call(inner)))


def models(model: KerasModel) -> Iterator[KerasModel]:
    """The model and all models inside it."""
    yield model
    for target in model.targets():
        if isinstance(target, KerasModel):
            yield from models(target)
        elif isinstance(target, LayerSpec):
            for child in target.children.values():
                yield from models(child) if isinstance(child, KerasModel) else ()
