"""Masks that calls of Keras 3 change on their inputs, so that other calls read changed masks."""

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
    """The masks of the inputs of one model that its calls change.

    MultiHeadAttention removes the masks of its inputs. A nested model that is called with a mask
    sets it on its inputs (`Functional.call`). Keras keeps a mask on the tensor object itself, so
    the order of the calls determines which mask another call, or an output, has.
    """

    order: Sequence[Call] = ()
    """The calls in the order of Keras; empty if no mask changes."""
    objects: Mapping[KerasTensor, KerasTensor] = field(default_factory=dict)
    """Output of a layer that returns its input → the tensor that is the same object."""
    found: Mapping[KerasTensor, Mapping[Call | None, Any]] = field(default_factory=dict)
    """Tensor object → call → its changed mask at this call, or None if it was removed.

    A mask is a tensor or array of the model. The key None means the end of the run.
    """
    unknown: frozenset[KerasTensor] = frozenset()
    """Tensor objects whose masks a nested model changes to an unknown value."""

    def object_of(self, tensor: KerasTensor) -> KerasTensor:
        """The tensor that represents the object of a tensor."""
        return self.objects.get(tensor, tensor)

    def of(self, tensor: KerasTensor, call: Call | None) -> tuple[bool, Any]:
        """Whether the mask of a tensor was changed before a call, and the changed mask."""
        masks = self.found.get(self.object_of(tensor), {})
        return call in masks, masks.get(call)


NO_CHANGES = Changes()


@dataclass(frozen=True)
class _Effects:
    """The effects of one call on the masks of its inputs.

    Attributes:
        removed: tensors whose masks it removes.
        assigned: tensors to which it assigns a mask, with the mask.
        unknown: tensors to which it assigns an unknown mask.
    """

    removed: Sequence[KerasTensor] = ()
    assigned: Sequence[tuple[KerasTensor, Any]] = ()
    unknown: Sequence[KerasTensor] = ()


@dataclass
class MaskChanges:
    """The effects of calls on the masks of their inputs, for each model. They are cached."""

    known: dict[KerasModel, Changes] = field(default_factory=dict)

    def of(self, model: KerasModel) -> Changes:
        """The changes in a model of Keras 3."""
        if model not in self.known:
            changes = any(self._may_change(call) for call in model.calls)
            self.known[model] = self._followed(model) if changes else NO_CHANGES
        return self.known[model]

    def _may_change(self, call: Call) -> bool:
        target = call.target
        if isinstance(target, KerasModel):
            masks = flatten(call.kwargs.get("mask"))
            return any(mask is not None for mask in masks) or bool(self.of(target).order)
        return _removes_masks(target)

    def _followed(self, model: KerasModel) -> Changes:
        order, objects = order_of_calls(model), dict[KerasTensor, KerasTensor]()
        found: dict[KerasTensor, dict[Call | None, Any]] = {}
        current: dict[KerasTensor, Any] = {}
        unknown: set[KerasTensor] = set()
        for call in order:
            inputs = [objects.get(tensor, tensor) for tensor in call.tensors()]
            if traits_of(call.target).same_object and inputs:
                objects[KerasTensor(call)] = inputs[0]
            for tensor in inputs:
                if tensor in current:
                    found.setdefault(tensor, {})[call] = current[tensor]
            effects = self._effects(call)
            current |= {objects.get(tensor, tensor): mask for tensor, mask in effects.assigned}
            current |= {objects.get(tensor, tensor): None for tensor in effects.removed}
            unknown |= {objects.get(tensor, tensor) for tensor in effects.unknown}
        for tensor, mask in current.items():
            found.setdefault(tensor, {})[None] = mask
        return Changes(order, objects, found, frozenset(unknown))

    def _effects(self, call: Call) -> _Effects:
        target, leaves = call.target, flatten(call.args)
        if not isinstance(target, KerasModel):
            tensors = [leaf for leaf in leaves if isinstance(leaf, KerasTensor)]
            return _Effects(tensors if _removes_masks(target) else ())
        pairs = zip(leaves, flatten(call.kwargs.get("mask")), strict=False)
        inside, removed, unknown = self.of(target), list[KerasTensor](), list[KerasTensor]()
        for outer, inner in zip(leaves, target.input_tensors, strict=False):
            changed, mask = inside.of(inner, None)
            if isinstance(outer, KerasTensor) and changed and mask is None:
                removed.append(outer)
            elif isinstance(outer, KerasTensor) and (changed or inner in inside.unknown):
                unknown.append(outer)
        assigned = [
            (x, mask) for x, mask in pairs if isinstance(x, KerasTensor) and mask is not None
        ]
        return _Effects(removed, assigned, unknown)


def _removes_masks(target: LayerSpec | Operation | KerasModel) -> bool:
    own = isinstance(target, LayerSpec) and not target.custom
    return own and traits_of(target).removes_masks


def order_of_calls(model: KerasModel) -> Sequence[Call]:
    """The calls in the order in which Keras makes them.

    They are sorted by depth, the longest path to an output. Calls of equal depth are in the order
    of a walk from the outputs. All calls of a shared layer have the depth of its deepest call.
    """
    depth: dict[Call, int] = {}
    deepest: dict[Any, int] = {}
    for call in reversed(_met(model)):
        depth[call] = deepest[call.target] = max(depth.get(call, 0), deepest.get(call.target, 0))
        for tensor in call.tensors():
            depth[tensor.call] = max(depth.get(tensor.call, 0), depth[call] + 1)
    return sorted(depth, key=lambda call: -depth[call])


def _met(model: KerasModel) -> Sequence[Call]:
    """The calls in the order of a depth-first walk from the outputs, each after its inputs."""
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
