"""Masks of Keras 3 that calls change on their inputs, which other calls then find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)


@dataclass(frozen=True)
class Changes:
    """Masks of Keras 3 that calls change on their inputs, which other calls and outputs then find.

    MultiHeadAttention removes the masks from its inputs. A nested model that is called with a mask
    sets it on its inputs (`Functional.call`). Keras keeps a mask on the tensor object itself, so
    the order in which Keras makes the calls decides which mask the other calls find.
    """

    order: Sequence[Call] = ()  # in which Keras makes the calls; empty where nothing changes
    objects: Mapping[KerasTensor, KerasTensor] = field(default_factory=dict)
    """Tensor → the tensor that stands for the same object, where a layer returns its input."""
    found: Mapping[KerasTensor, Mapping[Call | None, Any]] = field(default_factory=dict)
    """Tensor object → call → the mask that it finds there: a value of the model, or None where it
    was removed. The key None stands for the end of the run."""
    unknown: frozenset[KerasTensor] = frozenset()
    """Tensor objects that got their mask inside a nested model, where its value is not known."""

    def object_of(self, tensor: KerasTensor) -> KerasTensor:
        """The tensor that stands for the object that a tensor is."""
        return self.objects.get(tensor, tensor)

    def of(self, tensor: KerasTensor, call: Call | None) -> tuple[bool, Any]:
        """Whether a call finds a changed mask on a tensor, and that mask."""
        masks = self.found.get(self.object_of(tensor), {})
        return call in masks, masks.get(call)


NO_CHANGES = Changes()


@dataclass(frozen=True)
class _Effects:
    """What one call does to the masks of its inputs."""

    removed: Sequence[KerasTensor] = ()
    given: Sequence[tuple[KerasTensor, Any]] = ()  # with the value of the mask
    unknown: Sequence[KerasTensor] = ()


@dataclass
class MaskChanges:
    """What the calls of models do to the masks of their inputs; each model is followed once."""

    known: dict[KerasModel, Changes] = field(default_factory=dict)

    def of(self, model: KerasModel) -> Changes:
        """Of one model of Keras 3."""
        if model not in self.known:
            may = any(self._may_change(call) for call in model.calls)
            self.known[model] = self._followed(model) if may else NO_CHANGES
        return self.known[model]

    def _may_change(self, call: Call) -> bool:
        target = call.target
        if isinstance(target, KerasModel):
            given = flatten(call.kwargs.get("mask"))
            return any(mask is not None for mask in given) or bool(self.of(target).order)
        return _removes_masks(target)

    def _followed(self, model: KerasModel) -> Changes:
        order, objects = order_of_calls(model), dict[KerasTensor, KerasTensor]()
        found: dict[KerasTensor, dict[Call | None, Any]] = {}
        now: dict[KerasTensor, Any] = {}
        unknown: set[KerasTensor] = set()
        for call in order:
            inputs = [objects.get(tensor, tensor) for tensor in call.tensors()]
            if traits_of(call.target).same_object and inputs:
                objects[KerasTensor(call)] = inputs[0]
            for tensor in inputs:
                if tensor in now:
                    found.setdefault(tensor, {})[call] = now[tensor]
            effects = self._effects(call)
            now |= {objects.get(tensor, tensor): mask for tensor, mask in effects.given}
            now |= {objects.get(tensor, tensor): None for tensor in effects.removed}
            unknown |= {objects.get(tensor, tensor) for tensor in effects.unknown}
        for tensor, mask in now.items():
            found.setdefault(tensor, {})[None] = mask
        return Changes(order, objects, found, frozenset(unknown))

    def _effects(self, call: Call) -> _Effects:
        target, leaves = call.target, flatten(call.args)
        if not isinstance(target, KerasModel):
            tensors = [leaf for leaf in leaves if isinstance(leaf, KerasTensor)]
            return _Effects(tensors if _removes_masks(target) else ())
        marked = zip(leaves, flatten(call.kwargs.get("mask")), strict=False)
        inside, removed, unknown = self.of(target), list[KerasTensor](), list[KerasTensor]()
        for outer, inner in zip(leaves, target.input_tensors, strict=False):
            changed, mask = inside.of(inner, None)
            if isinstance(outer, KerasTensor) and changed and mask is None:
                removed.append(outer)
            elif isinstance(outer, KerasTensor) and (changed or inner in inside.unknown):
                unknown.append(outer)
        given = [(x, mask) for x, mask in marked if isinstance(x, KerasTensor) and mask is not None]
        return _Effects(removed, given, unknown)


def _removes_masks(target: LayerSpec | Operation | KerasModel) -> bool:
    own = isinstance(target, LayerSpec) and not target.custom
    return own and traits_of(target).removes_masks


def order_of_calls(model: KerasModel) -> Sequence[Call]:
    """The calls in the order in which Keras makes them.

    It is sorted by depth, the longest path to an output, and for equal depth by the order in which
    a walk from the outputs meets the calls. A shared layer has the depth of its deepest call.
    """
    depth: dict[Call, int] = {}
    deepest: dict[Any, int] = {}
    for call in reversed(_met(model)):
        depth[call] = deepest[call.target] = max(depth.get(call, 0), deepest.get(call.target, 0))
        for tensor in call.tensors():
            depth[tensor.call] = max(depth.get(tensor.call, 0), depth[call] + 1)
    return sorted(depth, key=lambda call: -depth[call])


def _met(model: KerasModel) -> Sequence[Call]:
    """The calls as a walk from the outputs leaves them, each after those that it needs."""
    met: dict[Call, None] = {}
    stack = [(tensor.call, False) for tensor in reversed(model.output_tensors)]
    while stack:
        call, done = stack.pop()
        if done:
            met.setdefault(call)
        elif call not in met:
            stack.append((call, True))
            stack += [
                (tensor.call, False)
                for tensor in reversed(call.tensors())
                if tensor.call not in met
            ]
    return list(met)
