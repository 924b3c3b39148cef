"""The masks of tensors, by the rules of Keras.

A mask says which time steps count. An Embedding or a Masking creates it, it travels with the
tensor, and each layer passes it on, stops it or merges it with others (`Traits.mask`). The file
does not say so. Some releases of Keras also record a mask in a call, and operations that compute
it.

`output_mask` applies the rules. It works over any `MaskAlgebra`: `MaskNames` names masks, so that
masks are equal if their names are equal; `lower.masks.MaskTensors` computes them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from kerasport.errors import Problem
from kerasport.frontends.keras.dialect import Dialect, Merging
from kerasport.frontends.keras.layers import is_input, traits_of
from kerasport.frontends.keras.layers.traits import MaskRule
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
    rebuild,
)
from kerasport.releases import ASSUMED

Mask: TypeAlias = Hashable
"""The name of a mask; None if there is no mask."""

NEVER_MASKS = 3e38
"""`mask_value` that no time step can equal, so the Masking layer masks nothing."""

BY_BACKEND = "whether the layers after it get the mask of its input depends on the Keras backend"

# ---------------------------------------------------------------------------------------- the rules

X = TypeVar("X")
M = TypeVar("M")
X_contra = TypeVar("X_contra", contravariant=True)


class MaskAlgebra(Protocol[X_contra, M]):
    """The operations that compute masks of type M from tensors of type X."""

    def not_zero(self, x: X_contra) -> M | None:
        """Whether x ≠ 0, for each element."""

    def any_differs(self, x: X_contra, value: Any) -> M | None:
        """Whether any feature of x differs from the value: [batch, time] for a sequence."""

    def merge(self, masks: Sequence[M], how: Literal["all", "any"]) -> M:
        """Whether all, or any, of several distinct masks are true, for each element."""

    def is_last_axis(self, axis: Any, x: X_contra) -> bool:
        """Whether the axis of a Concatenate is known to be the last one."""

    def concatenate(
        self,
        masks: Sequence[M | None],
        inputs: Sequence[X_contra],
        axis: Any,
        how: Literal["all", "any"],
    ) -> M:
        """The concatenation of masks that are broadcast to the inputs, reduced over the last axis.

        An input without a mask has a mask of ones.
        """


def passes_mask(layer: LayerSpec, dialect: Dialect) -> bool:
    """Whether the mask of the first input of a layer is also the mask of its output."""
    match traits_of(layer).mask:
        case MaskRule.PASSES:
            return True
        case MaskRule.PER_STEP:
            return not dialect.recurrent_masks_stop
        case MaskRule.RECURRENT:
            return not dialect.recurrent_masks_stop and returns_sequences(layer)
        case _:
            return False


def output_mask(
    layer: LayerSpec,
    inputs: Sequence[X],
    masks: Sequence[M | None],
    arguments: Mapping[str, Any],
    dialect: Dialect,
    algebra: MaskAlgebra[X, M],
) -> M | None:
    """The mask of the first output of a layer, or None.

    Args:
        layer: the layer that is called.
        inputs: the tensors that it is called on.
        masks: the masks of the inputs.
        arguments: the other arguments of the call.
        dialect: the rules of the Keras release.
        algebra: computes the masks.
    """
    match traits_of(layer).mask:
        case MaskRule.INDICES:
            creates = layer.config.get("mask_zero") and not arguments.get("reverse")
            return algebra.not_zero(inputs[0]) if creates else None
        case MaskRule.FEATURES:
            return algebra.any_differs(inputs[0], layer.config.get("mask_value") or 0.0)
        case MaskRule.MERGES:
            return _merged(masks, dialect, algebra)
        case MaskRule.CONCATENATES:
            axis = layer.config.get("axis", -1)
            return _concatenated(inputs, masks, axis, dialect.merging, algebra)
        case _:
            return masks[0] if masks and passes_mask(layer, dialect) else None


def _merged(masks: Sequence[M | None], dialect: Dialect, algebra: MaskAlgebra[X, M]) -> M | None:
    """The mask of a merge layer such as Add.

    There is no mask if the rule is "any" and an input has no mask.
    """
    distinct = tuple(dict.fromkeys(mask for mask in masks if mask is not None))
    all_masked = all(mask is not None for mask in masks)
    if not distinct or not dialect.merging or (dialect.merging == "any" and not all_masked):
        return None
    return distinct[0] if len(distinct) == 1 else algebra.merge(distinct, dialect.merging)


def _concatenated(
    inputs: Sequence[X],
    masks: Sequence[M | None],
    axis: Any,
    merging: Merging,
    algebra: MaskAlgebra[X, M],
) -> M | None:
    """The mask of a Concatenate: `Concatenate.compute_mask`.

    For equal masks along the last axis, the result is the same mask. Along another axis, the output
    has more time steps than each input.
    """
    if not merging or all(mask is None for mask in masks):
        return None
    if len(set(masks)) == 1 and algebra.is_last_axis(axis, inputs[0]):
        return masks[0]
    return algebra.concatenate(masks, inputs, axis, merging)


def returns_sequences(layer: LayerSpec) -> bool:
    """Whether a recurrent layer, or the one inside a Bidirectional, returns all time steps."""
    inner = layer.children.get("forward_layer", layer)
    return isinstance(inner, LayerSpec) and bool(inner.config.get("return_sequences"))


def sequence_count(layer: LayerSpec) -> int:
    """The number of outputs, from the first on, that have the mask of the first output.

    A Bidirectional that does not merge returns the outputs of both directions.
    """
    recurrent = traits_of(layer).mask is MaskRule.RECURRENT
    return 2 if recurrent and layer.config.get("merge_mode", "concat") is None else 1


# ------------------------------------------------------------------------------------------ names


@dataclass
class MaskNames:
    """A `MaskAlgebra` of names: equal descriptions of masks get the same number.

    A description contains numbers for other masks. So its size, and the time to hash and compare
    it, do not grow with the number of layers before it.
    """

    _numbers: dict[tuple[Hashable, ...], int] = field(default_factory=dict)

    def __call__(self, *description: Hashable) -> Mask:
        """The name of a mask with this description."""
        return self._numbers.setdefault(description, len(self._numbers) + 1)

    def not_zero(self, x: KerasTensor | None) -> Mask:
        """See `MaskAlgebra`."""
        return self("not_equal", x, 0.0)

    def any_differs(self, x: KerasTensor | None, value: Any) -> Mask:
        """See `MaskAlgebra`; None for `NEVER_MASKS`."""
        if value == NEVER_MASKS:
            return None
        # the lowering refuses values that are not numbers
        known = value if isinstance(value, int | float) else repr(value)
        return self("any", self("not_equal", x, known))

    def merge(self, masks: Sequence[Mask], how: Literal["all", "any"]) -> Mask:
        """See `MaskAlgebra`."""
        return self(how, frozenset(masks))

    def is_last_axis(self, axis: Any, x: KerasTensor | None) -> bool:
        """See `MaskAlgebra`. The rank is unknown here."""
        del x
        return bool(axis == -1)

    def concatenate(
        self,
        masks: Sequence[Mask],
        inputs: Sequence[KerasTensor | None],
        axis: Any,
        how: Literal["all", "any"],
    ) -> Mask:
        """See `MaskAlgebra`. `how` makes no difference for equal masks."""
        del inputs
        equal = len(set(masks)) == 1
        return self("concatenated", "" if equal else how, repr(axis), tuple(masks))


@dataclass
class Masks:
    """The masks of the tensors of a model, by name.

    Nested models share the names, so their masks can be compared with those outside.
    """

    dialect: Dialect
    of: dict[KerasTensor, Mask] = field(default_factory=dict)
    foreign: list[Call] = field(default_factory=list)
    """Calls with a mask argument that differs from the mask of the input."""
    origins: Mapping[KerasTensor, Call] = field(default_factory=dict)
    """Tensor of a rewritten model → the original call that it replaces."""
    names: MaskNames = field(default_factory=MaskNames)
    computed: dict[KerasTensor, Mask] = field(default_factory=dict)
    """Result of an operation of the model → the mask that it is."""
    runs: dict[tuple[KerasModel, tuple[Mask, ...]], Masks] = field(default_factory=dict)

    def trace(self, model: KerasModel, inputs: tuple[Mask, ...] = ()) -> tuple[Mask, ...]:
        """Trace masks of the inputs of a model through it; return the masks of its outputs."""
        self.of |= dict(zip(model.input_tensors, inputs, strict=False))
        for call in model.calls:
            if is_input(call.target):
                continue
            recorded = call.kwargs.get("mask")
            if not self._agrees(recorded, self.incoming(call)):
                self.foreign.append(call)
            self.of |= {
                KerasTensor(call, index): mask for index, mask in enumerate(self.outputs(call))
            }
            if isinstance(call.target, Operation):
                self.computed[KerasTensor(call)] = self._computed(call, call.target)
        return self.ends(model)

    def ends(self, model: KerasModel) -> tuple[Mask, ...]:
        """The masks of the outputs of a traced model."""
        return tuple(self.of.get(tensor) for tensor in model.output_tensors)

    def inside(self, model: KerasModel, inputs: tuple[Mask, ...] = ()) -> Masks:
        """The masks in a nested model, whose inputs have these masks. They are cached."""
        if (model, inputs) not in self.runs:
            run = self.runs[model, inputs] = Masks(
                self.dialect, origins=self.origins, names=self.names, runs=self.runs
            )
            run.trace(model, inputs)
        return self.runs[model, inputs]

    def incoming(self, call: Call) -> tuple[Mask, ...]:
        """The masks of the positional tensor arguments of a call."""
        tensors = [leaf for leaf in flatten(call.args) if isinstance(leaf, KerasTensor)]
        return tuple(self.of.get(tensor) for tensor in tensors)

    def outputs(self, call: Call) -> tuple[Mask, ...]:
        """The masks of the first outputs of a call, or of the original call that it replaces."""
        call = self.origins.get(KerasTensor(call), call)
        target, incoming = call.target, self.incoming(call)
        if isinstance(target, Operation):
            return ()
        if isinstance(target, KerasModel):
            return self.inside(target, incoming).ends(target)
        mask = self.output(target, call, incoming, self.dialect)
        return (mask,) * sequence_count(target)

    def output(self, layer: LayerSpec, call: Call, masks: Sequence[Mask], dialect: Dialect) -> Mask:
        """The mask of the first output of a layer for inputs with these masks."""
        tensors = [leaf for leaf in flatten(call.args) if isinstance(leaf, KerasTensor)]
        return output_mask(layer, tensors or [None], masks, call.kwargs, dialect, self.names)

    def _agrees(self, recorded: Any, incoming: tuple[Mask, ...]) -> bool:
        """Whether the mask arguments of a call equal the masks of its inputs; None is ignored."""
        masks = flatten(recorded)
        pairs = zip(masks, (*incoming, *(None,) * len(masks)), strict=False)
        return all(mask is None or self._name_of(mask) == own for mask, own in pairs)

    def _computed(self, call: Call, operation: Operation) -> Mask:
        """The name of the mask that an operation computes; a unique name if it is unknown."""
        name, operands = operation.class_name, flatten(call.args)
        first = operands[0] if operands else None
        if name == "NotEqual" and len(operands) == 2 and isinstance(operands[1], int | float):
            return self.names("not_equal", first, float(operands[1]))
        if name == "Any" and isinstance(first, KerasTensor) and _is(first, "NotEqual"):
            return self.names("any", self._name_of(first))
        if name == "Concatenate":
            parts = tuple(map(self._name_unless_ones, operands))
            axis = operation.config.get("axis", -1)
            if len(set(parts)) == 1 and axis == -1:
                return parts[0]
            return self.names.concatenate(parts, (), axis, "any")
        if name in SPREADS:
            inner = {
                self._name_of(o)
                for o in operands
                if isinstance(o, KerasTensor) and not _is(o, "ZerosLike")
            }
            return inner.pop() if len(inner) == 1 else self.names.merge(tuple(inner), "any")
        return self.names("opaque", KerasTensor(call))

    def _name_unless_ones(self, value: Any) -> Mask:
        """The name of the mask that a tensor is; None for a mask of ones."""
        ones = isinstance(value, KerasTensor) and _is(value, "OnesLike")
        return None if ones else self._name_of(value)

    def _name_of(self, value: Any) -> Mask:
        """The name of the mask that a tensor or constant is."""
        known = isinstance(value, KerasTensor) and value in self.computed
        return self.computed[value] if known else self.names("opaque", repr(value))


def passes_what_3_16_stops(model: KerasModel) -> bool:
    """Whether the model has a layer that passes a mask on before Keras 3.16, and stops it since."""
    masks = Masks(Dialect.of(ASSUMED))
    masks.trace(model)
    runs = [(model, masks), *((part, run) for (part, _), run in masks.runs.items())]
    return any(
        run.outputs(call)[0] is not None
        for part, run in runs
        for call in part.calls
        if traits_of(call.target).mask in (MaskRule.PER_STEP, MaskRule.RECURRENT)
    )


def makes_mask(target: LayerSpec | KerasModel) -> bool:
    """Whether a layer, or one inside it, creates a mask."""
    if isinstance(target, KerasModel):
        return any(makes_mask(part) for part in target.targets() if not isinstance(part, Operation))
    rule = traits_of(target).mask
    indices = rule is MaskRule.INDICES and bool(target.config.get("mask_zero"))
    own = indices or rule is MaskRule.FEATURES
    return own or any(map(makes_mask, target.children.values()))


# Operations with which Keras broadcasts a mask and reduces it again, so it stays the same.
SPREADS = frozenset(("ExpandDims", "LogicalOr", "Concatenate", "Any", "BroadcastTo"))


def _is(tensor: KerasTensor, name: str) -> bool:
    return isinstance(tensor.call.target, Operation) and tensor.call.target.class_name == name


def without_recorded(model: KerasModel) -> tuple[KerasModel, list[Problem]]:
    """The model without mask arguments, and problems for those that change a mask."""

    def step(call: Call) -> Call:
        return replace(
            call, kwargs={name: value for name, value in call.kwargs.items() if name != "mask"}
        )

    reason = (
        "it is called with a mask that the model computes, which converted layers do not support"
    )
    problems = [
        Problem(call.target.name, call.target.class_name, reason, "mask", "a tensor")
        for call in _foreign(model, Masks(model.dialect))
    ]
    return rebuild(model, step), problems


def _foreign(model: KerasModel, masks: Masks) -> Iterator[Call]:
    yield from masks.inside(model).foreign
    for target in model.targets():
        if isinstance(target, KerasModel):
            yield from _foreign(target, masks)
