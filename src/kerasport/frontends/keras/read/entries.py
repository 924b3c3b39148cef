"""Image layers called on a dict. At inference they change only the images among its entries.

Sources: `BaseImagePreprocessingLayer.call` of Keras 3 and `BaseImageAugmentationLayer.call` of
tf_keras.
"""

from __future__ import annotations

from dataclasses import replace

from kerasport.frontends.keras.identity import IMAGE, changed_entry, is_of_entries
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, rebuild


def images_apart(model: KerasModel) -> KerasModel:
    """Call such layers on the images only, and pass the other entries on unchanged.

    Calls that would change another entry stay as they are; they are refused later.
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
