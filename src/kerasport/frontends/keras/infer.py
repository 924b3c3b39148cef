"""Shapes of every tensor of a model, worked out from options and inputs alone.

The file says many of them too, and the shapes of all weights. Where it says something else, file and config do
not belong together, or one of them was misread: that is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np

from kerasport.errors import ReadError, Refusal, ShapeError, UnsupportedPart, quoted
from kerasport.frontends.keras.identity import is_identity
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import Layer, Outputs
from kerasport.frontends.keras.layers.normalization import SpectralNormalization
from kerasport.frontends.keras.layers.preprocessing import Pipeline
from kerasport.frontends.keras.layers.recurrent import (
    RNN,
    Bidirectional,
    StackedRNNCells,
    TimeDistributed,
    with_states,
)
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)
from kerasport.weights import LARGEST_SIZE, Shape

Target: TypeAlias = LayerSpec | Operation | KerasModel
Shapes: TypeAlias = tuple[Shape, ...]


@dataclass
class Inference:
    """Shapes of the tensors of a model and of the models inside it.

    `shapes` lacks what only the layers beyond kerasport's tables would tell. A model inside is described by its own
    inputs, whatever it is called on.
    """

    shapes: dict[KerasTensor, Shape] = field(default_factory=dict)
    miscounted: set[KerasTensor] = field(default_factory=set)  # whose shapes Keras itself has wrong
    _outputs: dict[tuple[KerasModel, Shapes | None], Shapes | None] = field(default_factory=dict)

    def model(self, model: KerasModel, inputs: Shapes | None = None) -> Shapes | None:
        """Shapes of the outputs of a model; of its own inputs where none are given."""
        key = (model, inputs)
        if key not in self._outputs:
            self._outputs[key] = self._model(model, inputs)
        return self._outputs[key]

    def call(self, call: Call) -> None:
        """Work out the shapes of the outputs of one call, whose inputs are known."""
        self.shapes |= {
            KerasTensor(call, index): shape
            for index, shape in self._call(call, {}, self.shapes).items()
        }

    def check(self, call: Call) -> None:
        """Check that a layer takes inputs of the shapes that it is called on, as far as they are known.

        Raises:
            ReadError: it does not.
        """
        self._call(call, {}, self.shapes)

    def _model(self, model: KerasModel, inputs: Shapes | None) -> Shapes | None:
        known = self.shapes if inputs is None else {}
        fed = dict(zip(model.input_tensors, inputs or (), strict=False))
        for call in model.calls:
            outputs = self._call(call, fed, known)
            known |= {KerasTensor(call, index): shape for index, shape in outputs.items()}
        outputs_known = [known[tensor] for tensor in model.output_tensors if tensor in known]
        return tuple(outputs_known) if len(outputs_known) == len(model.output_tensors) else None

    def _call(
        self, call: Call, fed: Mapping[KerasTensor, Shape], known: Mapping[KerasTensor, Shape]
    ) -> Mapping[int, Shape]:
        declared = {} if fed else call.declared
        if isinstance(call.target, LayerSpec) and call.target.class_name == "InputLayer":
            return {0: fed.get(KerasTensor(call)) or input_shape(call.target)}
        leaves = flatten(call.args)
        if call.kwargs.get("return_attention_scores"):
            # Keras says that keys are as many as queries, and that there are four axes
            declared = {index: shape for index, shape in declared.items() if index == 0}
        shapes = [shape_of(leaf, known) for leaf in leaves]
        inputs = tuple(shape for shape in shapes if shape is not None)
        if len(inputs) < len(leaves) or not leaves:
            return declared
        try:
            outputs = self.target(call.target, inputs, call.kwargs)
        except ShapeError as error:
            raise ReadError(f"layer {quoted(call.target.name)}: {error}") from None
        except Refusal:  # the target reports it
            return declared
        if outputs is None:
            return declared
        # Keras counts the frames of a MelSpectrogram otherwise than it makes them, and so the sizes of what follows
        if getattr(call.target, "class_name", "") == "MelSpectrogram" or self.miscounted & {
            *call.tensors()
        }:
            self.miscounted |= {KerasTensor(call, index) for index in range(len(outputs))}
            return dict(enumerate(outputs))
        for index, shape in declared.items():
            if index >= len(outputs) or not agree(outputs[index], shape):
                found = outputs[index] if index < len(outputs) else "none"
                raise ReadError(
                    f"layer {quoted(call.target.name)}: output {index} has the shape {shape} in "
                    f"the file, but its options give {found}"
                )
        return dict(enumerate(outputs))

    def target(
        self, target: Target, inputs: Shapes, given: Mapping[str, Any] | None = None
    ) -> Shapes | None:
        """Shapes of what a layer or model makes of inputs of these shapes; None where that is not known.

        `given` are further arguments of the call.
        """
        if isinstance(target, Operation):
            return None
        if isinstance(target, KerasModel):
            self.model(target)
            return self.model(target, inputs)
        layer = known_layer(target)
        if layer is None or not layer.works_on(len(inputs)) or not layer.tells_shape:
            return None
        check_weights(target, layer, inputs)
        try:
            return self._layer(target, layer, inputs, given or {})
        except Refusal:
            return None  # a target that looks at the layer says why

    def _layer(
        self, spec: LayerSpec, layer: Layer, inputs: Shapes, given: Mapping[str, Any]
    ) -> Shapes | None:
        if isinstance(layer, TimeDistributed):
            return self._each_step(spec.children["layer"], inputs)
        if isinstance(layer, Bidirectional):
            return self._both_ways(spec, layer, inputs)
        if isinstance(layer, SpectralNormalization):
            return self.target(spec.children["layer"], inputs)
        if isinstance(layer, RNN):
            return self._stepped(spec, layer, inputs)
        if isinstance(layer, StackedRNNCells):
            return None
        if isinstance(layer, Pipeline):
            return self._in_turn(spec, inputs)
        return _listed(layer.infer_call(given, *inputs))

    def _in_turn(self, spec: LayerSpec, inputs: Shapes) -> Shapes | None:
        shapes: Shapes | None = inputs
        for child in spec.children.values():
            if shapes is not None and not (isinstance(child, LayerSpec) and is_identity(child)):
                shapes = self.target(child, shapes)
        return shapes

    def _each_step(self, inner: Target, inputs: Shapes) -> Shapes | None:
        if len(inputs[0]) < 2:
            raise ShapeError(
                f"TimeDistributed needs an input with a time axis, got the shape {inputs[0]}"
            )
        if isinstance(inner, KerasModel) and len(inner.input_tensors) != 1:
            raise ShapeError(
                f"the model inside TimeDistributed must have one input, not {len(inner.input_tensors)}"
            )
        batch, time, *rest = inputs[0]
        made = self.target(inner, ((batch, *rest),))
        return made and tuple((shape[0], time, *shape[1:]) for shape in made)

    def _both_ways(self, spec: LayerSpec, layer: Bidirectional, inputs: Shapes) -> Shapes | None:
        forward = self.target(spec.children["forward_layer"], inputs[:1])
        backward = self.target(spec.children["backward_layer"], inputs[:1])
        if forward is None or backward is None:
            return None
        (out, *states), (back, *back_states) = forward, backward
        if layer.merge_mode is None:
            return (out, back, *states, *back_states)
        if layer.merge_mode == "concat":
            size = None if out[-1] is None or back[-1] is None else out[-1] + back[-1]
            out = (*out[:-1], size)
        return (out, *states, *back_states)

    def _stepped(self, spec: LayerSpec, layer: RNN, inputs: Shapes) -> Shapes | None:
        batch, time, *rest = inputs[0]
        states = self._states(spec.children["cell"], (batch, *rest))
        if not states:
            return None
        # the output of stacked cells is that of the last one
        output, *returned = _listed(with_states(layer, batch, time, states))
        return ((*output[:-1], states[-1][-1]), *returned)

    def _states(self, cell: Target, step: Shape) -> Shapes:
        if not isinstance(cell, LayerSpec):
            return ()
        states: Shapes = ()
        for part in cell.children.values() or (cell,):
            made = self.target(part, (step,))
            if made is None:
                return ()
            step = made[0]
            states += (step,) * (
                2 if isinstance(part, LayerSpec) and part.class_name == "LSTMCell" else 1
            )
        return states


def _listed(outputs: Outputs) -> Shapes:
    """The shapes of all outputs, where a layer gives one shape or several."""
    several = bool(outputs) and isinstance(outputs[0], tuple)
    return cast("Shapes", outputs if several else (outputs,))


def shape_of(leaf: Any, known: Mapping[KerasTensor, Shape]) -> Shape | None:
    """Shape of an argument of a call, a tensor or an array; None where it is not known."""
    if isinstance(leaf, np.ndarray):
        return tuple(leaf.shape)
    return known.get(leaf) if isinstance(leaf, KerasTensor) else None


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments of a call that hold the tensors it works on, in order, by name or place."""
    cls = LAYERS.get(call.target.class_name) if isinstance(call.target, LayerSpec) else None
    names = cls.tensors if cls is not None else map(str, range(len(call.args)))
    return dict(zip(names, call.args, strict=False))


def known_layer(spec: LayerSpec) -> Layer | None:
    """The layer with its options read; None for what kerasport does not know, which its targets refuse."""
    cls = None if spec.custom else LAYERS.get(spec.class_name)
    try:
        return None if cls is None else cls.from_spec(spec)
    except UnsupportedPart:
        return None


def input_shape(spec: LayerSpec) -> Shape:
    """Shape of an InputLayer.

    Raises:
        ReadError: the file gives none.
    """
    shape = spec.config.get("batch_shape")
    sizes = shape if isinstance(shape, list) else [-1]
    if not sizes or not all(
        d is None or (isinstance(d, int) and 0 <= d <= LARGEST_SIZE) for d in sizes
    ):
        raise ReadError(
            f"layer {quoted(spec.name)}: the input shape is {quoted(shape)}, expected a list of sizes"
        )
    return tuple(sizes)


def agree(a: Sequence[int | None], b: Sequence[int | None]) -> bool:
    """Whether two shapes can be the same."""
    return len(a) == len(b) and all(
        m == n or m is None or n is None for m, n in zip(a, b, strict=True)
    )


def check_weights(spec: LayerSpec, layer: Layer, inputs: Shapes) -> None:
    """Compare the shapes of the weights with those that options and inputs ask for.

    Raises:
        ReadError: they differ, or the layer does not take such inputs.
    """
    try:
        wanted = layer.weight_shapes(*inputs)
    except ShapeError as error:
        raise ReadError(f"layer {quoted(spec.name)}: {error}") from None
    for name, shape in wanted.items():
        stored = getattr(layer, name)
        if stored is not None and not agree(stored.shape, shape):
            raise ReadError(
                f"layer {quoted(spec.name)}: the weight {quoted(name)} has the shape "
                f"{stored.shape} in the file, but the options give {shape}; the weights and the "
                "architecture are from different models"
            )
