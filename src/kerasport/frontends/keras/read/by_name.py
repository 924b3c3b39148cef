"""Weights of whole-model HDF5 and Keras 2 weight files: one group per layer of the outer model.

Groups have the names of layers. A nested model is one group with all its weights: first the
trainable ones, then the others. So the order depends on which layers are frozen. It is computed
from the config, and the names of the arrays must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.layers import LAYERS, declares_weights
from kerasport.frontends.keras.read.describe import Described
from kerasport.frontends.keras.read.hdf5 import Hdf5
from kerasport.releases import major
from kerasport.weights import Weight

ATTENTION = frozenset(("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"))
GATES_OF_KERAS1 = {"LSTM": 4, "GRU": 3, "ConvLSTM2D": 4}
"""Layer → number of gates; each has its own kernel, recurrent kernel and bias."""


@dataclass(frozen=True)
class Slot:
    """The position of a weight: the `index`th weight of a layer."""

    layer: Described
    index: int
    name: str


def find(
    tree: Hdf5, group: str, root: Described, version: str
) -> Mapping[Described, list[tuple[Weight, ...]]]:
    """Find the arrays of every layer.

    Raises:
        ReadError: the number or the names of the arrays do not match the layers.
    """
    found: dict[Described, dict[int, Weight]] = {}
    for layer, saved in _saved(root, _strings(tree, group, "layer_names"), version):
        slots = slots_of(layer, version)
        path = f"{group}/{saved}" if group else saved
        names = _strings(tree, path, "weight_names")
        if layer.kind == "layer" and not declares_weights(layer.class_name):
            slots = [Slot(layer, index, "") for index in range(len(names))]
        check(tree.path, layer, slots, names, version)
        for slot, name in zip(slots, names, strict=True):
            array = tree.array(f"{path}/{name}")
            if array is None:
                raise ReadError(
                    f"{tree.path}: layer {quoted(layer.name)}: the array {quoted(name)} is missing"
                )
            found.setdefault(slot.layer, {})[slot.index] = array
    return grouped(found)


def _saved(root: Described, listed: Sequence[str], version: str) -> Iterator[tuple[Described, str]]:
    """Yield the layers that have a group in the file, each with the name of its group."""
    if major(version) < 2 and root.kind == "sequential":
        # the group of a nested Sequential has a name that is not in the config
        members = [layer for layer, _ in root.members if layer.class_name != "InputLayer"]
        if len(members) == len(listed):
            yield from zip(members, listed, strict=True)
            return
    yield from ((layer, layer.name) for layer in _named(root, frozenset(listed)))


def _named(model: Described, listed: frozenset[str]) -> Iterator[Described]:
    """Yield the layers with those names.

    Keras 1 listed the layers of merged models in place of the models.
    """
    for layer, _ in model.members:
        if layer.name in listed and layer.kind != "operation":
            yield layer
        elif layer.name not in listed:
            yield from _named(layer, listed)


def grouped(
    found: Mapping[Described, Mapping[int, Weight]],
) -> Mapping[Described, list[tuple[Weight, ...]]]:
    """Group the ordered arrays of each layer by sublayer, as `.keras` files store them."""
    ordered = {layer: dict(sorted(arrays.items())) for layer, arrays in found.items()}
    return {layer: _groups(layer, tuple(arrays.values())) for layer, arrays in ordered.items()}


def _groups(layer: Described, arrays: Sequence[Weight]) -> list[tuple[Weight, ...]]:
    """Split arrays as `.keras` files store them: the layer's own, then those of each sublayer."""
    if layer.class_name not in ATTENTION:
        return [tuple(arrays)]
    named = list(zip(LAYERS[layer.class_name].declared_weights(layer.config), arrays, strict=True))
    parts = ("query", "key", "value", "gate", "output")

    def of_part(part: str) -> tuple[Weight, ...]:
        return tuple(array for name, array in named if name.startswith(part))

    return [(), *map(of_part, parts)]


def _strings(tree: Hdf5, path: str, attribute: str) -> tuple[str, ...]:
    """Read a list of names. Lists longer than 64 kB are split over several attributes."""
    whole = tree.attribute(path, attribute)
    if whole is not None:
        return tuple(map(str, whole)) if isinstance(whole, tuple) else (str(whole),)
    parts: list[str] = []
    while (part := tree.attribute(path, f"{attribute}{len(parts)}")) is not None:
        parts.append(part)
    listed = [part if isinstance(part, tuple) else (part,) for part in parts]
    return tuple(map(str, chain.from_iterable(listed)))


def own_slots(layer: Described, version: str) -> list[tuple[Slot, bool]]:
    """The weights of a layer without its children, each with whether it is trainable."""
    cls = LAYERS.get(layer.class_name)
    if layer.kind != "layer" or cls is None:
        return []
    if layer.class_name == "SpectralNormalization":
        # it also lists the kernel of the wrapped layer
        inner = layer.children["layer"]
        shared = [
            (slot, trained and inner.trainable) for slot, trained in own_slots(inner, version)[:1]
        ]
        return [*shared, (Slot(layer, 0, "vector_u"), False)]
    if (
        major(version) < 2
        and layer.class_name in GATES_OF_KERAS1
        and layer.config.get("implementation") != 2
    ):
        return [(Slot(layer, i, ""), True) for i in range(3 * GATES_OF_KERAS1[layer.class_name])]
    weights = list(cls.declared_weights(layer.config).items())
    if layer.class_name in ATTENTION:
        return [
            (Slot(layer, i, name), mark.trainable)
            for i, (name, mark) in sorted(enumerate(weights), key=_creation_order)
        ]
    declared = [(name, mark.trainable) for name, mark in weights]
    if layer.config.get("lora_rank"):  # LoRA freezes the kernel and trains its two factors
        kernel = declared[0][0]
        declared = [
            (kernel, False),
            *declared[1:],
            (f"lora_{kernel}_a", True),
            (f"lora_{kernel}_b", True),
        ]
    return [(Slot(layer, i, name), trained) for i, (name, trained) in enumerate(declared)]


def _creation_order(weight: tuple[int, tuple[str, Any]]) -> tuple[int, int]:
    """Sort key of an attention weight: the order in which the projections are created."""
    index, (name, _) = weight
    return ("query", "key", "gate", "value", "output").index(name.partition("_")[0]), index


def _parts(layer: Described) -> list[Described]:
    if layer.class_name == "Bidirectional":  # created in this order, saved in the other
        return [layer.children["forward_layer"], layer.children["backward_layer"]]
    return [*layer.children.values(), *(member for member, _ in layer.members)]


def slots_of(layer: Described, version: str) -> list[Slot]:
    """The weights of a layer of the outer model in saved order, each once."""
    return list(dict.fromkeys([*_trainable(layer, version), *_fixed(layer, version)]))


def _trainable(layer: Described, version: str) -> Iterator[Slot]:
    if layer.trainable:
        yield from (slot for slot, trained in own_slots(layer, version) if trained)
        for part in _parts(layer):
            yield from _trainable(part, version)


def _fixed(layer: Described, version: str) -> Iterator[Slot]:
    own = own_slots(layer, version)
    if not layer.trainable:
        yield from (slot for slot, trained in own if trained)
    yield from (slot for slot, trained in own if not trained)
    for part in _parts(layer) if not layer.trainable else ():
        yield from _trainable(part, version)
    for part in _parts(layer):
        yield from _fixed(part, version)


def check(
    path: Path, layer: Described, slots: Sequence[Slot], names: Sequence[str], version: str
) -> None:
    """Compare the names of the arrays with the expected weights.

    Raises:
        ReadError: the number or the names differ.
    """
    where = f"{path}: layer {quoted(layer.name)}"
    if len(slots) != len(names):
        wanted = ", ".join(slot.name for slot in slots) or "none"
        raise ReadError(
            f"{where}: expected the weights {wanted}; the file has {', '.join(names) or 'none'}"
        )
    if major(version) < 2:  # Keras 1 named them dense_1_W
        return
    for slot, name in zip(slots, names, strict=True):
        if slot.name and not any(
            f"/{plain(name)}".endswith(f"/{spelling}") for spelling in spellings(slot)
        ):
            raise ReadError(
                f"{where}: expected {quoted(slot.name)} of {quoted(slot.layer.name)}, found the "
                f"weight {quoted(name)}"
            )


def plain(name: str) -> str:
    """Remove the suffixes that TensorFlow adds to tensor names, such as `_1` and `:0`."""
    return re.sub(r"(_\d+)?:\d+$", "", name)


def spellings(slot: Slot) -> set[str]:
    """The possible last parts of a weight's name."""
    if slot.layer.class_name in ATTENTION:  # each projection is a layer with its own name
        part, _, weight = slot.name.partition("_")
        return {f"attention_output/{weight}" if part == "output" else f"{part}/{weight}"}
    if slot.layer.class_name == "Normalization":
        return {slot.name.removeprefix("adapted_")}
    depthwise = slot.layer.class_name.startswith("Depthwise") and slot.name == "kernel"
    return {slot.name, "depthwise_kernel"} if depthwise else {slot.name}
