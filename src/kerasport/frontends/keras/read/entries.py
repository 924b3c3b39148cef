"""Layers of images that are called on a dict: of the entries they change the images alone at inference.

Source: `BaseImagePreprocessingLayer.call` of Keras 3, and `BaseImageAugmentationLayer.call` of tf_keras.
"""

from __future__ import annotations

from dataclasses import replace

from kerasport.frontends.keras.identity import IMAGE, changed_entry, is_of_entries
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, rebuild


def images_apart(model: KerasModel) -> KerasModel:
    """The model in which such layers are called on the images, and the other entries pass by unchanged.

    Calls on entries that a layer would change stay as they are, and are refused later.
    """
    if not any(is_of_entries(call) for call in model.calls) and not any(
        isinstance(target, KerasModel) for target in model.targets()
    ):
        return model
    return rebuild(model, _step)


def _step(call: Call) -> Call | tuple[KerasTensor, ...]:
    if not is_of_entries(call):
        return call
    entries = call.args[0]
    if changed_entry(call):
        return call
    names = sorted(entries)  # Keras flattens dicts by their keys
    shape = call.declared.get(names.index(IMAGE))
    alone = replace(
        call, args=(entries[IMAGE], *call.args[1:]), declared={} if shape is None else {0: shape}
    )
    return tuple(KerasTensor(alone) if name == IMAGE else entries[name] for name in names)
