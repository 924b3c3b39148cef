"""Which masks TF.js passes to which layers, and where they differ from those of Keras.

TF.js keeps one `kwargs` object for a whole run. The mask of one layer stays in it for every later
layer whose inputs have none, also into and out of nested models (tfjs-layers engine/executor.ts).
So the mask of a layer depends on the order of execution, which this module follows. A model is
refused if a layer that reads masks would get another mask than in Keras, or treats it differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kerasport.errors import Problem
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.layers.traits import MaskInput, MaskRule
from kerasport.frontends.keras.masks import (
    NEVER_MASKS,
    Mask,
    Masks,
    returns_sequences,
    sequence_count,
)
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec, Operation
from kerasport.targets.tfjs.layers.execution import executed, inputs_of
from kerasport.targets.tfjs.layers.prepare.mask_isolation import convolves
from kerasport.weights import Shape

SUPPORTS = frozenset(
    ("Activation", "AlphaDropout", "BatchNormalization", "Dense", "Dropout", "GaussianDropout",
     "GaussianNoise", "LayerNormalization", "PReLU", "ReLU", "SpatialDropout1D", "TimeDistributed")
)  # fmt: skip
"""Layers for which TF.js sets `supportsMasking`; the others drop the mask of their inputs."""
TFJS = Dialect.of((2, 0))
"""The Keras version whose mask rules TF.js follows."""
CREATES = (MaskRule.INDICES, MaskRule.FEATURES)
ONES: Mask = ("ones",)
"""The mask that masks nothing."""
BROKEN: Mask = ("a mask of the wrong rank",)
"""The mask that merge layers of TF.js compute from several masks."""

OTHER_MASK = "TF.js passes another mask to this layer than Keras does"
AVERAGES = "Keras ignores masked time steps here, but TF.js does not"
ZEROED = (
    "at masked time steps Keras returns zeros, but TF.js returns the last state, and a later "
    "layer uses them"
)
STARTS = (
    "before the first unmasked time step Keras returns zeros, but TF.js returns the initial "
    "state, and a later layer uses them"
)
SOME_MASKS = "TF.js throws if only some of three or more inputs have masks"
MIXED = "TF.js cannot combine an input that has a mask with an input that has none along this axis"
CONVOLUTIONAL = "TF.js throws if a convolutional LSTM gets a mask, even the mask of another layer"
STATE_LEAKS = (
    "in a model with masks or nested models, TF.js passes the initial state of another layer to "
    "this layer and throws"
)


@dataclass
class _Kwargs:
    """What the `kwargs` of TF.js keep between layers."""

    mask: Mask = None
    initial_state: bool = False


@dataclass
class _Run:
    """One run of a model in TF.js."""

    model: KerasModel
    keras: Masks
    kwargs: _Kwargs | None
    shapes: Mapping[KerasTensor, Shape]
    masks: dict[KerasTensor, Mask] = field(default_factory=dict)
    differs: dict[KerasTensor, Problem] = field(default_factory=dict)
    """Tensors whose values at masked time steps differ from Keras, with the reason."""
    problems: list[Problem] = field(default_factory=list)

    def go(self) -> None:
        for tensor in executed(self.model):
            self._execute(tensor)
        for tensor in self.model.output_tensors:
            if tensor in self.differs:
                self.problems.append(self.differs[tensor])

    def _execute(self, tensor: KerasTensor) -> None:
        call = tensor.call
        masks = [self.masks.get(x) for x in inputs_of(call)]
        if any(mask is not None for mask in masks):
            self.kwargs = self.kwargs or _Kwargs()
            self.kwargs.mask = masks[0]
        mask = self.kwargs.mask if self.kwargs else None
        wanted = (self.keras.incoming(call) or (None,))[0]
        if isinstance(call.target, KerasModel):
            self._nested(call, call.target)
        elif isinstance(call.target, LayerSpec):
            self._layer(call, call.target, mask, wanted)
            # all outputs get the mask of the first one (tfjs-layers engine/executor.ts)
            self.masks[tensor] = self._output_mask(call, call.target, masks)

    def _nested(self, call: Call, model: KerasModel) -> None:
        for tensor in inputs_of(call):
            if tensor in self.differs:
                self.problems.append(self.differs[tensor])
        keras = self.keras.inside(model, self.keras.incoming(call))
        # a nested model gets the kwargs of the outer run, or a new empty object
        run = _Run(model, keras, self.kwargs or _Kwargs(), self.shapes)
        run.go()
        self.problems += run.problems

    def _layer(self, call: Call, spec: LayerSpec, mask: Mask, wanted: Mask) -> None:
        """Record what TF.js computes differently in one call, and follow its effects."""
        recurrent = traits_of(spec).mask is MaskRule.RECURRENT
        self._check_rewritten(call)
        self._check_mask(spec, mask, wanted, recurrent=recurrent)
        self._check_merging(call, spec)
        if spec.class_name == "GlobalAveragePooling1D" and wanted is not None:
            self._refuse(spec, AVERAGES)
        if recurrent:
            self._states(call, spec)
        self._spread(call, spec, wanted, recurrent=recurrent)

    def _refuse(self, target: LayerSpec | Operation | KerasModel, reason: str) -> None:
        self.problems.append(Problem(target.name, target.class_name, reason))

    def _check_rewritten(self, call: Call) -> None:
        """Refuse a rewritten layer that reads its mask, since the new layers do not."""
        origin = self.keras.origins.get(KerasTensor(call))
        if origin is None or not isinstance(origin.target, LayerSpec):
            return
        reads = traits_of(origin.target).mask_input not in (MaskInput.NONE, MaskInput.UNREAD)
        if reads and any(self.keras.incoming(origin)):
            self._refuse(origin.target, AVERAGES)

    def _check_mask(self, spec: LayerSpec, mask: Mask, wanted: Mask, *, recurrent: bool) -> None:
        """Compare the mask that TF.js passes to a layer with that of Keras."""
        reads = spec.class_name == "Softmax" or _reads_mask_inside(spec)
        same = mask == wanted or (mask == ONES and wanted is None and recurrent)
        if recurrent and convolves(spec) and mask is not None:
            self._refuse(spec, CONVOLUTIONAL)
        elif (recurrent or reads) and not same:
            self._refuse(spec, OTHER_MASK)
        elif reads and wanted is not None:
            self._refuse(spec, "TF.js applies the mask differently from Keras")

    def _check_merging(self, call: Call, spec: LayerSpec) -> None:
        """Refuse merges of masks that TF.js ignores, or on which it throws."""
        traits = traits_of(spec)
        masked = any(mask is not None for mask in self.keras.incoming(call))
        if traits.mask_input is MaskInput.MERGED and masked:
            self._refuse(spec, AVERAGES)
        if traits.mask is MaskRule.CONCATENATES and self._throws(call):
            axis = spec.config.get("axis", -1)
            self.problems.append(Problem(spec.name, spec.class_name, MIXED, "axis", axis))
        if traits.mask is MaskRule.MERGES and self._lacks_masks(call):
            self._refuse(spec, SOME_MASKS)

    def _states(self, call: Call, spec: LayerSpec) -> None:
        """Follow `initial_state`, which stays in the kwargs; a later layer without one throws."""
        if self.kwargs is not None:
            if self.kwargs.initial_state:
                self.problems.append(Problem(spec.name, spec.class_name, STATE_LEAKS))
            self.kwargs.initial_state |= call.kwargs.get("initial_state") is not None

    def _spread(self, call: Call, spec: LayerSpec, wanted: Mask, *, recurrent: bool) -> None:
        """Follow the outputs that differ from Keras at masked time steps."""
        origin = next((self.differs[x] for x in inputs_of(call) if x in self.differs), None)
        if origin is not None and not (recurrent and wanted is not None):
            traits = traits_of(spec)
            if (traits.per_step or traits.pointwise) and wanted is not None:
                self.differs[KerasTensor(call)] = origin
            else:
                self.problems.append(origin)
        if recurrent and wanted is not None:
            reason = _differs(call, spec)
            for index in range(sequence_count(spec) if reason else 0):
                self.differs[KerasTensor(call, index)] = Problem(spec.name, spec.class_name, reason)

    def _output_mask(self, call: Call, spec: LayerSpec, masks: list[Mask]) -> Mask:
        """The mask of the outputs of a layer in TF.js."""
        rule = traits_of(spec).mask
        if rule is MaskRule.FEATURES and spec.config.get("mask_value") == NEVER_MASKS:
            return ONES
        if spec.class_name in SUPPORTS:
            return masks[0] if masks else None
        if rule is MaskRule.MERGES:
            return BROKEN if any(mask is not None for mask in masks) else None
        if rule is MaskRule.CONCATENATES:
            return self._concatenated(call, spec, masks)
        if rule in CREATES or rule is MaskRule.RECURRENT:
            return self.keras.output(spec, call, masks, TFJS)
        return None

    def _concatenated(self, call: Call, spec: LayerSpec, masks: list[Mask]) -> Mask:
        """The mask of a Concatenate in TF.js."""
        if self._same_parts(call, masks):
            return self.keras.of.get(KerasTensor(call))
        if None not in masks:
            return self.keras.output(spec, call, masks, TFJS)
        # TF.js requires all of the masks where Keras requires any of them
        return None if set(masks) == {None} else self.keras.names("every", tuple(masks))

    def _joins_steps(self, call: Call) -> bool:
        """Whether a Concatenate is known to use another axis than the last one."""
        axis = call.target.config.get("axis", -1) if isinstance(call.target, LayerSpec) else -1
        shape = self.shapes.get(KerasTensor(call), ())
        return len(shape) > 2 and axis % len(shape) != len(shape) - 1

    def _throws(self, call: Call) -> bool:
        """Whether TF.js throws: it joins a mask `[batch, time, 1]` with ones of another shape."""
        masked = [self.masks.get(tensor) is not None for tensor in inputs_of(call)]
        return self._joins_steps(call) and any(masked) and not all(masked)

    def _lacks_masks(self, call: Call) -> bool:
        """Whether TF.js throws: it skips a missing mask only for the last input."""
        masks = [self.masks.get(tensor) for tensor in inputs_of(call)]
        return len(masks) > 2 and None in masks[:-1] and any(mask is not None for mask in masks)

    def _same_parts(self, call: Call, masks: list[Mask]) -> bool:
        """Whether TF.js joins the same masks of time steps as Keras, where ones mean no mask."""
        same = (
            mask is not None and (mask == wanted or (mask == ONES and wanted is None))
            for mask, wanted in zip(masks, self.keras.incoming(call), strict=True)
        )
        return self._joins_steps(call) and all(same)


def _reads_mask_inside(spec: LayerSpec) -> bool:
    """Whether a wrapper contains a layer that reads masks."""
    inner = spec.children.get("layer") if traits_of(spec).wraps else None
    if isinstance(inner, KerasModel):
        # nested models inside are not analyzed
        return any(
            isinstance(target, KerasModel)
            or (isinstance(target, LayerSpec) and _reads_mask(target))
            for target in inner.targets()
        )
    return isinstance(inner, LayerSpec) and _reads_mask(inner)


def _reads_mask(spec: LayerSpec) -> bool:
    """Whether TF.js applies a mask in a layer."""
    recurrent = traits_of(spec).mask is MaskRule.RECURRENT
    return recurrent or spec.class_name == "Softmax" or _reads_mask_inside(spec)


def _differs(call: Call, spec: LayerSpec) -> str:
    """Why the masked steps of a recurrent layer differ from Keras; empty if they do not."""
    both = "forward_layer" in spec.children
    # Keras sets the option in both layers of a Bidirectional that returns sequences
    zero = spec.config.get("zero_output_for_mask", both)
    if zero and (returns_sequences(spec) or not both):
        return ZEROED
    return STARTS if call.kwargs.get("initial_state") is not None else ""


def mask_problems(
    model: KerasModel, origins: Mapping[KerasTensor, Call], shapes: Mapping[KerasTensor, Shape]
) -> list[Problem]:
    """Everything that TF.js does differently from Keras because of masks.

    Args:
        model: the prepared model.
        origins: tensors → the calls of Keras that they replace.
        shapes: shapes of the tensors.
    """
    keras = Masks(model.dialect, origins=origins)
    keras.trace(model)
    run = _Run(model, keras, None, shapes)
    run.go()
    return list(dict.fromkeys(run.problems))
