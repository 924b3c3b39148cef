"""A prepared model, and how its layers relate to those of the user's model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kerasport.errors import Problem
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.targets.tfjs.layers.rewrites.context import Rewriter


@dataclass(frozen=True)
class Prepared:
    """A model of TF.js layers, as far as the rewrites reach.

    A *part* is a layer that a rewrite added. Its *root* is the layer or operation of the user's
    model that it is a part of.
    """

    model: KerasModel
    rewriter: Rewriter
    """How the rewrites changed the model; its `problems` are those that the rewrites found."""
    problems: tuple[Problem, ...]
    """The problems of the other passes."""

    @cached_property
    def became(self) -> Mapping[Any, tuple[str, ...]]:
        """Each rewritten layer or operation → the classes of its parts."""
        classes: dict[Any, dict[str, None]] = {}
        for _, spec in self.model.walk():
            root = self.rewriter.root(spec)
            if root is not spec and not _is_same_wrapper(spec, root):
                classes.setdefault(root, {})[spec.class_name] = None
        became: dict[Any, tuple[str, ...]] = {}
        for root, names in classes.items():
            for rewritten in (*_inner_layers(root, classes), root):
                became[rewritten] = tuple(names)
        return became

    @cached_property
    def _roots(self) -> Mapping[str, Any]:
        """Name of each part → its root."""
        return {part.name: self.rewriter.root(part) for part in self.rewriter.parents}

    def of_root(self, problem: Problem) -> Problem:
        """A problem of a part as a problem of its root; other problems unchanged."""
        root = self._roots.get(problem.layer)
        if root is None:
            return problem
        return replace(problem, layer=root.name, class_name=root.class_name)

    def root_path(self, path: str) -> str:
        """The path of the root of a part; other paths unchanged."""
        above, slash, name = path.rpartition("/")
        root = self._roots.get(name)
        return path if root is None else f"{above}{slash}{root.name}"

    def untrainable(self) -> Iterator[tuple[Any, str]]:
        """The rewritten layers that would train differently from Keras, with the reasons."""
        for part, reason in self.rewriter.untrainable.items():
            yield self.rewriter.root(part), reason


def _is_same_wrapper(part: Any, root: Any) -> bool:
    """Whether a part is its root with changes only in the layers inside."""
    is_wrapper = isinstance(part, LayerSpec) and bool(part.children)
    return is_wrapper and part.class_name == root.class_name


def _inner_layers(root: Any, rewritten: Mapping[Any, object]) -> Iterator[LayerSpec]:
    """The layers inside a layer, except those that were rewritten themselves."""
    for child in root.children.values() if isinstance(root, LayerSpec) else ():
        if isinstance(child, LayerSpec) and child not in rewritten:
            yield child
            yield from _inner_layers(child, rewritten)
