"""Masks as tensors of a graph: the masks that a layer reads, and the mask of its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.infer import arguments_of
from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.layers.traits import MaskInput
from kerasport.frontends.keras.mask_changes import NO_CHANGES, Changes
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)
from kerasport.ir import ops
from kerasport.ir.tensor import Tensor, TensorType


class BackendDependentMask(Tensor):
    """The mask after a call that may return its input unchanged.

    Whether Keras keeps the mask there depends on its backend, so nothing may read it.
    """

    mask: Tensor
    target: LayerSpec | Operation
    """The layer or operation that is called."""

    def infer(self) -> TensorType:
        return self.mask.type

    def compute(self, *operands: Any) -> Any:
        return operands[0]


class MaskTensors:
    """A `MaskAlgebra` of bool tensors, [batch, time] for a sequence."""

    @staticmethod
    def not_zero(x: Tensor) -> Tensor:
        """See `MaskAlgebra`."""
        return ops.not_equal(x, 0)

    @staticmethod
    def any_differs(x: Tensor, value: Any) -> Tensor:
        """See `MaskAlgebra`."""
        return ops.any_(ops.not_equal(x, float(value)), -1)

    @staticmethod
    def merge(masks: Sequence[Tensor], how: Literal["all", "any"]) -> Tensor:
        """See `MaskAlgebra`."""
        return reduce(ops.logical_and if how == "all" else ops.logical_or, masks)

    @staticmethod
    def is_last_axis(axis: Any, x: Tensor) -> bool:
        """See `MaskAlgebra`."""
        return axis in (-1, x.rank - 1)

    @staticmethod
    def concatenate(
        masks: Sequence[Tensor | None],
        inputs: Sequence[Tensor],
        axis: Any,
        how: Literal["all", "any"],
    ) -> Tensor:
        """See `MaskAlgebra`."""
        parts = [_in_shape_of(x, mask) for mask, x in zip(masks, inputs, strict=True)]
        return (ops.all_ if how == "all" else ops.any_)(ops.concat(parts, int(axis)), -1)


def _in_shape_of(x: Tensor, mask: Tensor | None) -> Tensor:
    """A mask broadcast to the shape of x, with axes added at the end; ones if it is None."""
    ones = ops.greater_equal(ops.Abs(ops.floats(x)), 0.0)
    wide = ones if mask is None else mask
    while wide.rank < x.rank:
        wide = ops.expand_dims(wide, wide.rank)
    return ops.logical_and(wide, ones)


@dataclass
class TensorMasks:
    """The masks of the tensors of one model, at each of its calls."""

    dialect: Dialect
    values: Mapping[KerasTensor, Tensor]
    """Tensor of the model → its lowered value, for all calls so far."""
    changes: Changes = NO_CHANGES
    of: dict[KerasTensor, Tensor] = field(default_factory=dict)
    """Tensor → its mask, before another call changes it."""

    def found(self, leaf: Any, call: Call | None) -> Tensor | None:
        """The mask of an argument at a call, or with None for `call` at the end of the run."""
        if not isinstance(leaf, KerasTensor):
            return None
        changed, mask = self.changes.of(leaf, call)
        if not changed:
            return self.of.get(leaf)
        return None if mask is None else self._tensor(mask)

    def of_inputs(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks of the input tensors of a call."""
        return tuple(self.found(leaf, call) for leaf in flatten(call.args))

    def read_by(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks that a call uses: those it passes, else those of its inputs."""
        on_inputs, passed = self.of_inputs(call), call.kwargs.get("mask")
        if passed is None:
            return on_inputs
        own = tuple(None if mask is None else self._tensor(mask) for mask in flatten(passed))
        return (*own, *on_inputs[len(own) :])

    def read_by_model(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks of the inputs of a nested model."""
        passed = self.read_by(call)
        if not self.dialect.none_keeps_mask:
            return passed
        pairs = zip(passed, self.of_inputs(call), strict=True)
        return tuple(on_input if own is None else own for own, on_input in pairs)

    def passed_on(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks from which Keras computes the mask of the output."""
        rule, by_name = self.dialect.call_mask_passes, "mask" not in call.by_position
        counts = rule == "always" or (rule == "by name" and by_name)
        return self.read_by(call) if counts else self.of_inputs(call)

    def arguments(self, call: Call, spec: LayerSpec, others: Mapping[str, Any]) -> dict[str, Any]:
        """The mask arguments of a layer's `lower`; `others` are its other arguments."""
        traits, masks = traits_of(spec), self.read_by(call)
        match traits.mask_input:
            case MaskInput.FIRST:
                return _named("mask", masks[0] if masks else None)
            case MaskInput.RECURRENT:
                started = others.get("initial_state") is not None
                hidden = started and self.dialect.initial_state_hides_mask
                explicit = call.kwargs.get("mask") is not None
                return _named("mask", masks[0] if explicit or not hidden else None)
            case MaskInput.MERGED if self.dialect.merging != "any":
                return {}
            case MaskInput.MERGED | MaskInput.ALL:
                return {"masks": masks} if any(mask is not None for mask in masks) else {}
            case MaskInput.NAMED:
                return self._per_argument(call, others, traits.overruled_masks)
            case _:
                return {}

    def _per_argument(
        self, call: Call, others: Mapping[str, Any], overruled: Sequence[str]
    ) -> dict[str, Any]:
        """One mask for each tensor argument, except masks that the call passes."""
        masks: dict[str, Any] = {}
        for name, tensor in arguments_of(call).items():
            argument = f"{name}_mask"
            if argument in overruled or argument not in others:
                masks[argument] = self.found(tensor, call)
        return masks

    def _tensor(self, mask: Any) -> Tensor:
        return self.values[mask] if isinstance(mask, KerasTensor) else ops.as_tensor(mask)


def _named(name: str, mask: Tensor | None) -> dict[str, Any]:
    return {} if mask is None else {name: mask}


def reads_masks(target: LayerSpec | KerasModel | Operation) -> bool:
    """Whether the outputs depend on a mask of the input."""
    if isinstance(target, KerasModel):
        return any(reads_masks(inner) for inner in target.targets())
    if isinstance(target, Operation):
        return False
    traits = traits_of(target)
    if traits.wraps:
        return any(reads_masks(child) for child in target.children.values())
    return traits.mask_input not in (MaskInput.NONE, MaskInput.UNREAD)
