"""Weights of `.keras` files and of `.weights.h5`, found by the path that Keras saves a layer under.

The path consists of class names in snake case, numbered if they repeat among siblings. It does not
contain the name that the user gave the layer. Since Keras 3.6 each group has that name as an
attribute, which must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.read.describe import LISTED, Described
from kerasport.weights import Weight

# Keras 2.12 to 2.14 stored layers in a dict that contains each layer with weights twice.
DOUBLED = "_layer_checkpoint_dependencies"

ATTENTION = tuple(
    (f"{part}_dense", f"_{part}_dense") for part in ("query", "key", "value", "gate", "output")
)
SUBLAYERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # Sublayers without a config, whose weights count as the layer's. Each can have two spellings.
    **dict.fromkeys(
        ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), (("cell",),)
    ),
    "MultiHeadAttention": ATTENTION,
    "GroupQueryAttention": ATTENTION,
    "TextVectorization": (("_lookup_layer",),),
}
REAL_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}  # public name → class


def snake(class_name: str) -> str:
    """The spelling of a class name in the paths of Keras 2."""
    name = re.sub(r"\W+", "", REAL_NAMES.get(class_name, class_name))
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def snake3(class_name: str) -> str:
    """The spelling of a class name in the paths of Keras 3, whose first rule stops at digits."""
    name = re.sub(r"\W+", "", REAL_NAMES.get(class_name, class_name))
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class Tree(Protocol):
    """Arrays in groups, as in HDF5. `Hdf5` documents the methods."""

    @property
    def path(self) -> Path: ...

    def group(self, path: str) -> Any | None: ...

    def arrays(self, path: str) -> Mapping[str, Weight]: ...

    def attribute(self, path: str, name: str) -> Any: ...

    def names(self, path: str = "") -> Sequence[str]: ...

    def under(self, path: str) -> Iterator[str]: ...


@dataclass
class ByPath:
    """Finds the arrays of each layer in one tree, or in the shards of one."""

    trees: Sequence[Tree]
    keras2: bool = False
    paths: dict[Described, str] = field(default_factory=dict)  # where each layer was looked for
    _used: set[str] = field(default_factory=set)
    _models: list[str] = field(default_factory=list)  # paths of the models inside the model
    _found: dict[Described, list[tuple[Weight, ...]]] = field(default_factory=dict)

    def find(self, root: Described) -> Mapping[Described, list[tuple[Weight, ...]]]:
        """Find the arrays of every layer, one tuple for each sublayer that Keras saves separately.

        Raises:
            ReadError: an array is left over, or a group has the name of another layer: the file and
                the config do not match.
        """
        self._visit(root, "")
        left = sorted(self._left())
        if left:
            raise ReadError(
                f"{self.trees[0].path}: {len(left)} array(s) do not belong to any layer of the "
                f"config, first {quoted(left[0])}; the weights and the architecture are from "
                "different models"
            )
        return self._found

    @property
    def _list_name(self) -> str:
        return DOUBLED if any(name.startswith(DOUBLED) for name in self._roots) else "layers"

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        return tuple(name for tree in self.trees for name in tree.names())

    @cached_property
    def _separator(self) -> str:
        r"""Separator of path parts; Keras 2 on Windows wrote `layers\\dense` as one group name."""
        return "\\" if any(name.startswith(f"{self._list_name}\\") for name in self._roots) else "/"

    def _join(self, path: str, name: str) -> str:
        return f"{path}{self._separator}{name}" if path else name

    def _has(self, path: str) -> bool:
        return any(tree.group(path) is not None for tree in self.trees)

    def _arrays(self, path: str) -> tuple[Weight, ...]:
        """The arrays in a group, in numeric order. Each shard can contain some of them."""
        merged: dict[str, Weight] = {}
        for tree in self.trees:
            merged |= tree.arrays(path)
        self._used |= {f"{path}/{name}" for name in merged}
        ordered = sorted(
            merged,
            key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name),
        )
        return tuple(merged[name] for name in ordered)

    def _check_name(self, layer: Described, group: str) -> None:
        for tree in self.trees:
            name = tree.attribute(group, "name")
            if isinstance(name, str) and name != layer.name:
                raise ReadError(
                    f"{tree.path}: the weights at {quoted(group)} belong to {quoted(name)}, but "
                    f"the config has {quoted(layer.name)} there; the weights and the architecture "
                    "are from different models"
                )

    def _visit(self, layer: Described, path: str) -> None:
        if layer in self._found:
            return
        group = _vars(path)
        self._found[layer] = []
        self.paths[layer] = path
        if layer.kind in ("functional", "sequential"):
            self._refuse_own(layer, group)
            self._models += [path] if path else []
            self._members(layer, path)
            return
        self._check_name(layer, group)
        self._found[layer] = [self._arrays(group), *self._sublayers(layer, path)]
        self._visit_children(layer, path)

    def _refuse_own(self, model: Described, group: str) -> None:
        if self._arrays(group):
            raise ReadError(
                f"the model {quoted(model.name)} has weights that belong to none of its layers, "
                "so it is a subclassed model; put these weights into layers"
            )

    def _sublayers(self, layer: Described, path: str) -> Iterator[tuple[Weight, ...]]:
        for spellings in SUBLAYERS.get(layer.class_name, ()):
            found = [
                candidate
                for spelling in spellings
                if self._has(candidate := self._join(path, spelling))
            ]
            yield self._arrays(_vars(found[0])) if found else ()
        if layer.custom:
            # the arrays of a custom layer only count as used, so that none is reported as left over
            for tree in self.trees:
                self._used |= set(tree.under(path))

    def _visit_children(self, layer: Described, path: str) -> None:
        if layer.class_name in LISTED:
            self._listed(layer.children.values(), self._join(path, LISTED[layer.class_name]))
            return
        for part, child in layer.children.items():
            self._visit(child, self._join(path, part))
        if layer.class_name == "Bidirectional":
            # until 3.2 this group also contains the unused layer that both directions were copied
            # from
            for tree in self.trees:
                self._used |= set(tree.under(self._join(path, "layer")))

    def _members(self, model: Described, path: str) -> None:
        layers = [layer for layer, _ in model.members if layer.kind != "operation" or self.keras2]
        if model.kind == "sequential":
            layers = layers[1:]  # the InputLayer is not among the layers of a Sequential
        self._listed(layers, self._join(path, self._list_name))

    def _listed(self, layers: Iterable[Described], path: str) -> None:
        used: dict[str, int] = {}

        def numbered(name: str) -> str:
            used[name] = used.get(name, -1) + 1
            return f"{name}_{used[name]}" if used[name] else name

        for layer in layers:
            name = self._spelled(layer.class_name, path)
            folder = self._join(path, numbered(name))
            self._visit(layer, folder)
            if self._list_name == DOUBLED and any(
                True for tree in self.trees for _ in tree.under(folder)
            ):
                numbered(name)

    def _spelled(self, class_name: str, path: str) -> str:
        """The spelling of a class name in a path. Keras 2 changed the rule between versions."""
        names = (snake(class_name), snake3(class_name)) if self.keras2 else (snake3(class_name),)
        return next((name for name in names if self._has(self._join(path, name))), names[0])

    def _left(self) -> Iterator[str]:
        for tree in self.trees:
            for root in tree.names():
                if root.partition(self._separator)[0] in (self._list_name, "vars"):
                    yield from (
                        path
                        for path in set(tree.under(root)) - self._used
                        if not self._trains(path)
                    )

    def _trains(self, path: str) -> bool:
        """Whether an array is training state (optimizer or metrics) of a compiled nested model."""
        within = (
            path.removeprefix(start)
            for model in self._models
            if path.startswith(start := self._join(model, ""))
        )
        return any(
            rest.partition(self._separator)[0] not in (self._list_name, "vars") for rest in within
        )


def _vars(path: str) -> str:
    return f"{path}/vars" if path else "vars"
