"""Which mask reaches which layer, by the rules of Keras.

A mask says which time steps count. It is born in an Embedding or a Masking, travels with the tensor, and most layers
pass it on, stop it or join it with others without a word in the file; some versions of Keras record it in a call as
well, with operations of their own that compute it. Here a mask is the number of its description, so that two masks
are the same where their numbers are equal.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from kerasport.errors import Problem
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
    rebuild,
)
from kerasport.releases import ASSUMED, MASKS_STOP, Release

Mask: TypeAlias = Hashable  # None where there is no mask


class Numbers:
    """Gives every description of a mask a number, the same one to equal descriptions.

    A description names the masks that it is made of by their numbers. So it is as short as the list of its parts,
    however long the chain of layers that made them, and it is hashed and compared in no more than that time.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[Hashable, ...], int] = {}

    def __call__(self, *description: Hashable) -> int:
        return self._numbers.setdefault(description, len(self._numbers) + 1)


RECURRENT = frozenset(("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"))
PASSES = frozenset(
    ("Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU", "Dense", "TernaryDense",
     "Identity", "BatchNormalization", "GroupNormalization", "LayerNormalization", "UnitNormalization", "Dropout",
     "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
     "ActivityRegularization", "Normalization", "Rescaling", "TimeDistributed", "MultiHeadAttention",
     "GroupQueryAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention")
)  # fmt: skip
STOPS = RECURRENT | {"Bidirectional", "TimeDistributed"}  # from `MASKS_STOP` on
MERGES = frozenset(("Add", "Subtract", "Average", "Multiply", "Maximum", "Minimum"))

EVERYTHING = 3e38
"""What a Masking looks for that is to mask nothing; no time step is all of it."""

BY_BACKEND = "whether the layers after it get the mask of its input depends on the Keras backend"

Merging: TypeAlias = Literal["all", "any", ""]


@dataclass(frozen=True)
class MaskRules:
    """How one release of Keras treats masks. Every target asks these rules, so that they agree."""

    release: Release

    @property
    def merging(self) -> Merging:
        """Which masks of merged inputs must hold: all in Keras 2, any since 3.4; in between, merging drops them."""
        return "all" if self.release < (3, 0) else "any" if self.release >= (3, 4) else ""

    def passes(self, spec: LayerSpec) -> bool:
        """Whether the mask of the first input of a layer is also the mask of its output.

        Since Keras 3.16 recurrent layers and their wrappers have `supports_masking = False`.
        """
        name = spec.class_name
        if name in STOPS and self.release >= MASKS_STOP:
            return False
        if name in RECURRENT or name == "Bidirectional":
            return returns_sequences(spec)
        return name in PASSES


@dataclass
class Masks:
    """The mask `of` each tensor, and the `foreign` calls: those given another mask than travels with their input.

    The runs of models inside share the numbers, so their masks can be compared with those outside.
    """

    rules: MaskRules
    of: dict[KerasTensor, Mask] = field(default_factory=dict)
    foreign: list[Call] = field(default_factory=list)
    origins: Mapping[KerasTensor, Call] = field(
        default_factory=dict
    )  # of parts that stand for a call: that call
    number: Numbers = field(default_factory=Numbers)
    computed: dict[KerasTensor, Mask] = field(default_factory=dict)  # by operations
    runs: dict[tuple[KerasModel, tuple[Mask, ...]], Masks] = field(default_factory=dict)

    def trace(self, model: KerasModel, inputs: tuple[Mask, ...] = ()) -> tuple[Mask, ...]:
        """Follow the masks through a model, and give those of its outputs; `inputs` come in from outside."""
        self.of |= dict(zip(model.input_tensors, inputs, strict=False))
        for call in model.calls:
            if isinstance(call.target, LayerSpec) and call.target.class_name == "InputLayer":
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
        """The masks of the outputs of a model that was traced."""
        return tuple(self.of.get(tensor) for tensor in model.output_tensors)

    def inside(self, model: KerasModel, inputs: tuple[Mask, ...] = ()) -> Masks:
        """The masks in a model inside, which is traced once for the same masks of its inputs."""
        if (model, inputs) not in self.runs:
            run = self.runs[model, inputs] = Masks(
                self.rules, origins=self.origins, number=self.number, runs=self.runs
            )
            run.trace(model, inputs)
        return self.runs[model, inputs]

    def incoming(self, call: Call) -> tuple[Mask, ...]:
        """The masks of the tensors that a call takes by position."""
        tensors = [leaf for leaf in flatten(call.args) if isinstance(leaf, KerasTensor)]
        return tuple(self.of.get(tensor) for tensor in tensors)

    def outputs(self, call: Call) -> tuple[Mask, ...]:
        """The masks of the first outputs of a call, or of the one that it stands for."""
        call = self.origins.get(KerasTensor(call), call)
        target, incoming = call.target, self.incoming(call)
        if isinstance(target, Operation):
            return ()
        if isinstance(target, KerasModel):
            return self.inside(target, incoming).ends(target)
        mask = made(call, target, incoming, self.rules, self.number)
        unmerged = (
            target.class_name == "Bidirectional"
            and target.config.get("merge_mode", "concat") is None
        )
        return (mask, mask) if unmerged else (mask,)

    def _agrees(self, recorded: Any, incoming: tuple[Mask, ...]) -> bool:
        """Whether a recorded mask, or one for each tensor, is what travels with the tensors; None says nothing."""
        masks = flatten(recorded)
        pairs = zip(masks, (*incoming, *(None,) * len(masks)), strict=False)
        return all(mask is None or self._told(mask) == travels for mask, travels in pairs)

    def _computed(self, call: Call, operation: Operation) -> Mask:
        """The mask that operations compute, in the terms of `made`; an opaque one where they are not Keras's own."""
        name, operands = operation.class_name, flatten(call.args)
        first = operands[0] if operands else None
        if name == "NotEqual" and len(operands) == 2 and isinstance(operands[1], int | float):
            return self.number("not_equal", first, float(operands[1]))
        if name == "Any" and isinstance(first, KerasTensor) and _is(first, "NotEqual"):
            return self.number("any", self._told(first))
        if name == "Concatenate":
            parts = tuple(
                None
                if isinstance(part, KerasTensor) and _is(part, "OnesLike")
                else self._told(part)
                for part in operands
            )
            return concatenated(parts, operation.config.get("axis", -1), "any", self.number)
        if name in SPREADS:
            inner = {
                self._told(o)
                for o in operands
                if isinstance(o, KerasTensor) and not _is(o, "ZerosLike")
            }
            return inner.pop() if len(inner) == 1 else self.number("or", frozenset(inner))
        return self.number("opaque", KerasTensor(call))

    def _told(self, value: Any) -> Mask:
        """The mask that a tensor or constant is."""
        known = isinstance(value, KerasTensor) and value in self.computed
        return self.computed[value] if known else self.number("opaque", repr(value))


def made(
    call: Call, target: LayerSpec, incoming: tuple[Mask, ...], rules: MaskRules, number: Numbers
) -> Mask:
    """The mask of a layer's first output."""
    name = target.class_name
    if name == "Embedding" or (name == "ReversibleEmbedding" and not call.kwargs.get("reverse")):
        return (
            number("not_equal", first_tensor(call), 0.0) if target.config.get("mask_zero") else None
        )
    if name == "Masking":
        value: Any = target.config.get("mask_value") or 0.0
        if value == EVERYTHING:
            return None
        if not isinstance(value, int | float):  # the layer is refused for it
            value = repr(value)
        return number("any", number("not_equal", first_tensor(call), value))
    if rules.passes(target):
        return incoming[0] if incoming else None
    known, merging = tuple(mask for mask in incoming if mask is not None), rules.merging
    if not known or not merging:
        return None
    if name in MERGES and (len(known) == len(incoming) or merging == "all"):
        distinct, how = frozenset(known), "and" if merging == "all" else "or"
        return number(how, distinct) if len(distinct) > 1 else known[0]
    if name == "Concatenate":
        return concatenated(incoming, target.config.get("axis", -1), merging, number)
    return None


def concatenated(masks: tuple[Mask, ...], axis: Any, merging: Merging, number: Numbers) -> Mask:
    """The mask of a Concatenate: Keras joins masks in the shape of the inputs, and reduces the last axis.

    Along the last axis equal masks make the same mask again. Along another one the result has more
    time steps than each of them.
    """
    same = len(set(masks)) == 1
    if same and axis == -1:
        return masks[0]
    return number("concatenated", "" if same else merging, repr(axis), masks)


def passes_what_3_16_stops(model: KerasModel) -> bool:
    """Whether a mask passes a layer before Keras 3.16 that stops it since."""
    masks = Masks(MaskRules(ASSUMED))
    masks.trace(model)
    runs = [(model, masks), *((part, run) for (part, _), run in masks.runs.items())]
    return any(
        run.outputs(call)[0] is not None
        for part, run in runs
        for call in part.calls
        if isinstance(call.target, LayerSpec) and call.target.class_name in STOPS
    )


def first_tensor(call: Call) -> KerasTensor | None:
    """The first tensor among the arguments of a call."""
    return next((leaf for leaf in flatten(call.args) if isinstance(leaf, KerasTensor)), None)


def returns_sequences(target: LayerSpec) -> bool:
    """Whether a recurrent layer, or the one inside a Bidirectional, returns every time step."""
    inner = target.children.get("forward_layer", target)
    return isinstance(inner, LayerSpec) and bool(inner.config.get("return_sequences"))


@dataclass(frozen=True)
class Changes:
    """Masks of Keras 3 that calls change on their inputs, which other calls and outputs then find.

    MultiHeadAttention removes the masks from its inputs. A nested model that is called with a mask
    sets it on its inputs (`Functional.call`). Keras keeps a mask on the tensor object itself, so the
    order in which Keras makes the calls decides which mask the other calls find.
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
        """Whether a call finds another mask on a tensor than Keras put there first, and that mask."""
        masks = self.found.get(self.object_of(tensor), {})
        return call in masks, masks.get(call)


NO_CHANGES = Changes()

# Layers that return their input itself, not a tensor like it.
SAME_OBJECT = frozenset(
    ("Identity", "ActivityRegularization", "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise",
     "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
)  # fmt: skip


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
            if (
                isinstance(call.target, LayerSpec)
                and call.target.class_name in SAME_OBJECT
                and inputs
            ):
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
    return own and target.class_name == "MultiHeadAttention"


def order_of_calls(model: KerasModel) -> Sequence[Call]:
    """The calls in the order in which Keras makes them.

    It goes by depth, which is the longest way to an output; of one depth by when a walk from the last output to the
    first inputs met them. A shared layer has the depth of its deepest call so far.
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


# Operations with which Keras spreads a mask over a tensor and gathers it again; they keep it what it is.
SPREADS = frozenset(("ExpandDims", "LogicalOr", "Concatenate", "Any", "BroadcastTo"))


def _is(tensor: KerasTensor, name: str) -> bool:
    return isinstance(tensor.call.target, Operation) and tensor.call.target.class_name == name


def without_recorded(model: KerasModel) -> tuple[KerasModel, list[Problem]]:
    """The model without mask arguments that say what travels with the tensors anyway, and what they hide otherwise."""

    def step(call: Call) -> Call:
        return replace(
            call, kwargs={name: value for name, value in call.kwargs.items() if name != "mask"}
        )

    reason = (
        "it is called with a mask that the model computes, which converted layers do not support"
    )
    problems = [
        Problem(call.target.name, call.target.class_name, reason, "mask", "a tensor")
        for call in _foreign(model, Masks(MaskRules(model.release)))
    ]
    return rebuild(model, step), problems


def _foreign(model: KerasModel, masks: Masks) -> Iterator[Call]:
    yield from masks.inside(model).foreign
    for target in model.targets():
        if isinstance(target, KerasModel):
            yield from _foreign(target, masks)
