"""Reads a SavedModel of Keras 2 as a Keras model, if it contains the config of the model.

`model.save(directory)` of TensorFlow 2.5 to 2.15, and of tf_keras, writes `keras_metadata.pb` next
to the graph. It has the class and the config of each layer, and its path in the tree of objects,
such as "root.layer_with_weights-0.cell". The checkpoint has the same tree, and leads from the path
to the variables.

Formats: `saved_metadata.proto` in tf_keras, and `trackable_object_graph.proto` in TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.errors import KerasportError, ReadError, of_file, placed, quoted
from kerasport.frontends.graphdef.bundle import Bundle, open_bundle
from kerasport.frontends.graphdef.messages import (
    SavedMetadata,
    TrackableObject,
    TrackableObjectGraph,
)
from kerasport.frontends.graphdef.wire import decode
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.frontends.keras.read import built
from kerasport.frontends.keras.read.by_name import ATTENTION, Slot, grouped, own_slots, spellings
from kerasport.frontends.keras.read.describe import Described
from kerasport.frontends.keras.read.json_limits import MAX_BYTES, parse_json
from kerasport.frontends.paths import inside
from kerasport.weights import Weight

METADATA = "keras_metadata.pb"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "VARIABLE_VALUE"
MEMBER = re.compile(r"(layer|layer_with_weights)-\d+")

FROM_ASSETS = frozenset(("StringLookup", "IntegerLookup", "TextVectorization"))
"""Layers whose vocabulary is in the tables of the graph, not in the config."""


class NoKerasModel(KerasportError):
    """The SavedModel has no config from which its model can be built. The message says why."""


def keras_model_in(path: Path) -> KerasModel:
    """The Keras model in the directory of a SavedModel. Its weights refer to the checkpoint.

    Raises:
        NoKerasModel: the model is not a complete config of layers that kerasport knows.
        ReadError: a file is malformed.
    """
    with of_file(str(path)), placed(""):
        objects = _metadata(path)
        root = objects.get("root", {})
        version = root.get("keras_version")
        if root.get("class_name") not in ("Functional", "Sequential", "Model"):
            raise NoKerasModel(f"{quoted(root.get('class_name'))} is Python code")
        if not isinstance(root.get("config"), dict) or "layers" not in root["config"]:
            raise NoKerasModel("it has no config of its layers")
        config = {"class_name": root["class_name"], "config": root["config"]}
        checkpoint = _Checkpoint.read(path, objects)
        model = built(
            config,
            version if isinstance(version, str) else "2",
            lambda found: (checkpoint.find(found), {}),
            root.get("training_config"),
        )
        _expect_known(model)
        return model


def _metadata(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Path of each object → its metadata."""
    file = inside(path, path / METADATA)
    if file.stat().st_size > MAX_BYTES:
        raise ReadError("it is larger than the config of any model", METADATA)
    saved: SavedMetadata = decode(SavedMetadata, file.read_bytes())
    found: dict[str, Mapping[str, Any]] = {}
    for node in saved.nodes:
        value = parse_json(node.metadata, METADATA) if node.metadata else {}
        found[node.node_path] = value if isinstance(value, dict) else {}
    return found


def _expect_known(model: KerasModel) -> None:
    """Raise `NoKerasModel` if the graph contains more of a layer than its config does."""
    for path, spec in model.walk():
        name = spec.class_name
        if isinstance(spec, LayerSpec) and (name not in LAYERS or spec.custom or name == "Lambda"):
            raise NoKerasModel(f"the layer {quoted(path)} ({name}) is Python code")
        if name in FROM_ASSETS:
            raise NoKerasModel(f"the vocabulary of the layer {quoted(path)} is in the graph only")


@dataclass(frozen=True, eq=False)
class _Checkpoint:
    """The variables of a SavedModel, by objects.

    Attributes:
        bundle: the values.
        nodes: all objects of the checkpoint.
        names: path of a model → name of each of its layers → path of the layer.
    """

    bundle: Bundle
    nodes: list[TrackableObject]
    names: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path, objects: Mapping[str, Mapping[str, Any]]) -> _Checkpoint:
        """The checkpoint of a SavedModel; `objects` has the metadata of each path."""
        bundle = open_bundle(inside(path, path / "variables") / "variables")
        stored = bundle.weight(OBJECT_GRAPH)
        if not isinstance(stored, np.ndarray) or stored.size != 1:
            raise ReadError("the checkpoint has no tree of objects")
        graph: TrackableObjectGraph = decode(TrackableObjectGraph, bytes(stored.item()))
        names: dict[str, dict[str, str]] = {}
        for place, metadata in objects.items():
            parent, _, last = place.rpartition(".")
            if MEMBER.fullmatch(last):
                names.setdefault(parent, {})[str(metadata.get("name"))] = place
        return cls(bundle, graph.nodes, names)

    def find(self, root: Described) -> Mapping[Described, list[tuple[Weight, ...]]]:
        """The arrays of every layer, by sublayer.

        Raises:
            ReadError: the checkpoint lacks a layer or a variable.
        """
        places: dict[Described, str] = {}
        self._locate(root, "root", places)
        found: dict[Described, dict[int, Weight]] = {}
        for layer, place in places.items():
            if layer.class_name == "SpectralNormalization":
                continue  # it lists the kernel of the wrapped layer once more
            with placed(f"layer {quoted(layer.name)}"):
                for slot, _ in own_slots(layer, "2"):
                    found.setdefault(layer, {})[slot.index] = self._weight(slot, place)
        return grouped(found)

    def _locate(self, layer: Described, place: str, places: dict[Described, str]) -> None:
        places[layer] = place
        for key, child in layer.children.items():
            # the cells of StackedRNNCells are a list: "cells/0"
            self._locate(child, f"{place}.{key.replace('/', '.')}", places)
        for member, _ in layer.members:
            inner = self.names.get(place, {}).get(member.name)
            if inner is None and member.class_name == "InputLayer":
                continue  # a Sequential model does not count it among its layers
            if inner is None:
                raise ReadError(f"the metadata lacks the layer {quoted(member.name)}")
            if member not in places:
                self._locate(member, inner, places)

    def _weight(self, slot: Slot, place: str) -> Weight:
        """The value of a variable."""
        for name in sorted(spellings(slot)):
            for attribute in _attributes(slot, name):
                key = self._key(f"{place}.{attribute}")
                if key:
                    weight = self.bundle.weight(key)
                    if isinstance(weight, np.ndarray):
                        raise ReadError(f"the weight {quoted(slot.name)} contains strings")
                    return weight
        raise ReadError(f"the checkpoint lacks the weight {quoted(slot.name)}")

    def _key(self, path: str) -> str:
        """The key of the variable at a path; empty if there is none."""
        index = 0
        for step in path.split(".")[1:]:
            children = {child.local_name: child.node_id for child in self._node(index).children}
            if step not in children:
                return ""
            index = children[step]
        keys = [item.checkpoint_key for item in self._node(index).attributes if item.name == VALUE]
        return keys[0] if keys else ""

    def _node(self, index: int) -> TrackableObject:
        if not 0 <= index < len(self.nodes):
            raise ReadError(f"the tree of objects refers to object {index} of {len(self.nodes)}")
        return self.nodes[index]


def _attributes(slot: Slot, spelling: str) -> tuple[str, ...]:
    """The attributes of a layer that may contain a weight. Recurrent layers have it in a cell."""
    if slot.layer.class_name not in ATTENTION:
        return spelling, f"cell.{spelling}"
    part, _, weight = spelling.rpartition("/")
    return (f"_{part.removeprefix('attention_')}_dense.{weight}",)
