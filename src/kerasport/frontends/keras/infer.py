"""Infer the shape of every tensor of a model from layer options and input shapes.

A file also declares many of these shapes, and the shapes of all weights. A mismatch means that the
weights and the config do not belong together, or that one of them was misread. It is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import ReadError, Refusal, ShapeError, UnsupportedPart, quoted
from kerasport.frontends.keras.identity import is_identity
from kerasport.frontends.keras.layers import LAYERS, is_input, traits_of
from kerasport.frontends.keras.layers.base import Child, Layer, Wrapper, listed
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
    """Shapes of the tensors of a model and of nested models.

    `shapes` lacks tensors that depend on unknown layers. The tensors of a nested model have the
    shapes that follow from its own inputs, not from those of a call.
    """

    shapes: dict[KerasTensor, Shape] = field(default_factory=dict)
    miscounted: set[KerasTensor] = field(default_factory=set)
    """Tensors whose shapes Keras declares incorrectly."""
    _outputs: dict[tuple[KerasModel, Shapes | None], Shapes | None] = field(default_factory=dict)

    def model(self, model: KerasModel, inputs: Shapes | None = None) -> Shapes | None:
        """Shapes of the outputs for these shapes of the inputs, by default the declared ones."""
        key = (model, inputs)
        if key not in self._outputs:
            self._outputs[key] = self._model(model, inputs)
        return self._outputs[key]

    def call(self, call: Call) -> None:
        """Infer the shapes of the outputs of one call. Those of its inputs must be known."""
        self.shapes |= {
            KerasTensor(call, index): shape
            for index, shape in self._call(call, {}, self.shapes).items()
        }

    def check(self, call: Call) -> None:
        """Check that a layer supports the known shapes of its inputs.

        Raises:
            ReadError: the layer does not support them.
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
        """Index → shape, for the outputs of a call; `fed` has the shapes of the model's inputs."""
        if isinstance(call.target, LayerSpec) and is_input(call.target):
            return {0: fed.get(KerasTensor(call)) or input_shape(call.target)}
        declared = {} if fed else self._declared(call)
        leaves = flatten(call.args)
        shapes = [shape_of(leaf, known) for leaf in leaves]
        inputs = tuple(shape for shape in shapes if shape is not None)
        if len(inputs) < len(leaves) or not leaves:
            return declared
        outputs = self._inferred(call, inputs)
        if outputs is None:
            return declared
        if not self._miscounts(call, len(outputs)):
            _check_declared(call, declared, outputs)
        return dict(enumerate(outputs))

    @staticmethod
    def _declared(call: Call) -> Mapping[int, Shape]:
        """The shapes in the file, without those that Keras declares incorrectly."""
        if not call.kwargs.get("return_attention_scores"):
            return call.declared
        # Keras always declares scores of rank 4, with as many keys as queries
        return {index: shape for index, shape in call.declared.items() if index == 0}

    def _inferred(self, call: Call, inputs: Shapes) -> Shapes | None:
        """The shapes that the options of a layer determine; None if they are unknown."""
        try:
            return self.target(call.target, inputs, call.kwargs)
        except ShapeError as error:
            raise ReadError(f"layer {quoted(call.target.name)}: {error}") from None
        except Refusal:
            # the target reports it
            return None

    def _miscounts(self, call: Call, count: int) -> bool:
        """Whether the file declares wrong sizes for a call. They affect all later calls, too."""
        wrong = traits_of(call.target).declares_wrong_shape
        if not wrong and not self.miscounted & {*call.tensors()}:
            return False
        self.miscounted |= {KerasTensor(call, index) for index in range(count)}
        return True

    def target(
        self, target: Target, inputs: Shapes, arguments: Mapping[str, Any] | None = None
    ) -> Shapes | None:
        """Shapes of the outputs of a layer or model; None if they are unknown.

        Args:
            target: the layer, function or model that is called.
            inputs: shapes of the inputs.
            arguments: the other arguments of the call.
        """
        if isinstance(target, Operation):
            return None
        if isinstance(target, KerasModel):
            self.model(target)
            return self.model(target, inputs)
        layer = known_layer(target)
        if layer is None or not layer.works_on(len(inputs)) or not layer.infers_shape:
            return None
        check_weights(target, layer, inputs)
        try:
            return self._layer(target, layer, inputs, arguments or {})
        except Refusal:
            # the target reports it
            return None

    def _layer(
        self, spec: LayerSpec, layer: Layer, inputs: Shapes, arguments: Mapping[str, Any]
    ) -> Shapes | None:
        if isinstance(layer, Wrapper):
            return layer.infer_around(_Inside(spec.children, self), *inputs)
        return listed(layer.infer_call(arguments, *inputs))


@dataclass(frozen=True)
class _Inside:
    """Implements `InsideShapes` for the layers inside a wrapper."""

    parts: Mapping[str, Child]
    inference: Inference

    def infer(self, child: Child, inputs: Shapes) -> Shapes | None:
        return self.inference.target(child, inputs)

    def is_identity(self, child: Child) -> bool:
        return isinstance(child, LayerSpec) and is_identity(child)


def _check_declared(call: Call, declared: Mapping[int, Shape], outputs: Shapes) -> None:
    """Raise `ReadError` if the file declares other shapes than those from the options."""
    for index, shape in declared.items():
        if index < len(outputs) and agree(outputs[index], shape):
            continue
        inferred = outputs[index] if index < len(outputs) else "none"
        raise ReadError(
            f"layer {quoted(call.target.name)}: output {index} has the shape {shape} in the file, "
            f"but its options give {inferred}"
        )


def shape_of(leaf: Any, known: Mapping[KerasTensor, Shape]) -> Shape | None:
    """Shape of an argument, which is a tensor or an array; None if it is unknown."""
    if isinstance(leaf, np.ndarray):
        return tuple(leaf.shape)
    return known.get(leaf) if isinstance(leaf, KerasTensor) else None


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments with the tensors that a call works on, in order, by name or position."""
    cls = LAYERS.get(call.target.class_name) if isinstance(call.target, LayerSpec) else None
    names = cls.tensors if cls is not None else map(str, range(len(call.args)))
    return dict(zip(names, call.args, strict=False))


def known_layer(spec: LayerSpec) -> Layer | None:
    """The layer with its options; None for an unknown layer, which the targets refuse."""
    cls = None if spec.custom else LAYERS.get(spec.class_name)
    try:
        return None if cls is None else cls.from_spec(spec)
    except UnsupportedPart:
        return None


def input_shape(spec: LayerSpec) -> Shape:
    """Shape of an InputLayer.

    Raises:
        ReadError: the config does not contain a valid shape.
    """
    shape = spec.config.get("batch_shape")
    sizes = shape if isinstance(shape, list) else [-1]
    if not sizes or not all(size is None or _is_size(size) for size in sizes):
        raise ReadError(
            f"layer {quoted(spec.name)}: the input shape is {quoted(shape)}, "
            "expected a list of sizes"
        )
    return tuple(sizes)


def _is_size(value: Any) -> bool:
    """Whether a value in a file is the size of an axis. In Python, bools are integers, too."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_SIZE


def agree(a: Sequence[int | None], b: Sequence[int | None]) -> bool:
    """Whether two shapes can be equal; None matches every size."""
    return len(a) == len(b) and all(
        m == n or m is None or n is None for m, n in zip(a, b, strict=True)
    )


def check_weights(spec: LayerSpec, layer: Layer, inputs: Shapes) -> None:
    """Compare the shapes of the weights with those that options and inputs determine.

    Raises:
        ReadError: they differ, or the layer does not support the inputs.
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
