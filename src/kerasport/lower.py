"""From a model to a graph of tensor operations: each call is what its layer computes at inference.

Masks travel beside the tensors, by the rules of Keras, as tensors of their own; those that nobody reads are never
computed. Everything that has no lowering is gathered and reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kerasport.errors import Problem, ShapeError, UnsupportedModel, UnsupportedPart
from kerasport.identity import IDENTITY
from kerasport.infer import input_shape
from kerasport.ir import ops
from kerasport.ir.graph import Graph, name_new
from kerasport.ir.tensor import DType, Input, Node, Tensor, TensorType
from kerasport.layers import LAYERS
from kerasport.layers.base import Layer, Refusal
from kerasport.layers.recurrent import Bidirectional, TimeDistributed
from kerasport.masks import MERGES, PASSES, RECURRENT
from kerasport.model import Call, LayerSpec, Model, Operation, flatten, map_tensors
from kerasport.model import Tensor as Edge
from kerasport.operations import OPERATIONS

Lowered: TypeAlias = tuple[Tensor, ...] | None  # None where a call was refused

TRAINING_ONLY = ("training",)
NO_LAYER = "there is no lowering of this layer yet"
NO_OPERATION = "there is no lowering of this operation yet"


def lower(model: Model) -> Graph:
    """The graph of a model, one input and one output for each of the model's, flat.

    Raises:
        UnsupportedModel: parts of the model have no lowering.
    """
    lowering = Lowering()
    inputs = tuple(declared_input(edge) for edge in model.input_tensors)
    outputs, _ = lowering.model(model, inputs, (None,) * len(inputs), "")
    if lowering.problems:
        raise UnsupportedModel(tuple(dict.fromkeys(lowering.problems)))
    assert outputs is not None
    return Graph(inputs, outputs, lowering.names)


def declared_input(edge: Edge) -> Input:
    """The input of a graph for an InputLayer."""
    spec = edge.call.target
    assert isinstance(spec, LayerSpec)
    return Input(spec.name, TensorType(input_dtype(spec), input_shape(spec)))


def input_dtype(spec: LayerSpec) -> DType:
    """The element type in which a graph is fed an input."""
    name = str(spec.config.get("dtype") or "float32")
    if name in ("string", "bool"):
        return name  # type: ignore[return-value]
    return "int32" if name.startswith(("int", "uint")) else "float32"


@dataclass
class Lowering:
    """The state of one lowering: names of the nodes so far, and what was refused."""

    names: dict[Node, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def model(
        self, model: Model, inputs: Sequence[Tensor], masks: Sequence[Tensor | None], path: str
    ) -> tuple[Lowered, tuple[Tensor | None, ...]]:
        """The outputs of a model and their masks; no outputs where a part of it was refused."""
        run = _Run(self, path, dict(zip(model.input_tensors, inputs, strict=True)))
        run.masks |= {edge: mask for edge, mask in zip(model.input_tensors, masks, strict=True) if mask is not None}
        for call in model.calls:
            run.call(call)
        edges = model.output_tensors
        known = all(edge in run.values for edge in edges)
        outputs = tuple(run.values[edge] for edge in edges) if known else None
        return outputs, tuple(run.masks.get(edge) for edge in edges)

    def refuse(self, target: LayerSpec | Operation | Model, reason: str, option: str = "", value: Any = None) -> None:
        """Note that a part of the model has no lowering."""
        self.problems.append(Problem(target.name, target.class_name, reason, option, value))

    def layer(self, spec: LayerSpec, inputs: Sequence[Tensor], path: str, **given: Any) -> Lowered:
        """What a layer makes of its inputs; `given` are arguments of the call, of which it takes those it knows."""
        layer = self._read(spec)
        if layer is None:
            return None
        try:
            outputs = self._lower(spec, layer, inputs, path, given)
        except Refusal as refusal:
            value = getattr(layer, refusal.option, None) if refusal.option else None
            self.problems.append(
                Problem(spec.name, spec.class_name, refusal.reason, refusal.option, value, refusal.remedy)
            )
            return None
        except ShapeError as error:
            self.refuse(spec, str(error))
            return None
        return outputs if isinstance(outputs, tuple) or outputs is None else (outputs,)

    def _read(self, spec: LayerSpec) -> Layer | None:
        cls = LAYERS.get(spec.class_name)
        if spec.custom:
            self.refuse(spec, f"it is not one of Keras's own layers ({spec.custom}), and its code is not in the file")
        elif cls is None:
            self.refuse(spec, NO_LAYER)
        else:
            try:
                return cls.from_spec(spec)
            except UnsupportedPart as error:
                self.problems.append(error.problem)
        return None

    def _lower(
        self, spec: LayerSpec, layer: Layer, inputs: Sequence[Tensor], path: str, given: Mapping[str, Any]
    ) -> Tensor | Lowered:
        if isinstance(layer, TimeDistributed):
            return self._each_step(spec, inputs[0], path)
        if isinstance(layer, Bidirectional):
            return self._both_ways(spec, layer, inputs[0], path, given)
        if spec.class_name == "SpectralNormalization":
            return self.child(spec.children["layer"], inputs, path)
        return layer.lower(*inputs, **given)  # type: ignore[no-any-return]

    def look_at(self, target: LayerSpec | Operation | Model) -> None:
        """Note what can be said against a part without its inputs, so that all problems are told at once."""
        if isinstance(target, Operation):
            if target.class_name not in OPERATIONS:
                self.refuse(target, NO_OPERATION)
        elif isinstance(target, Model):
            for inner in target.targets():
                self.look_at(inner)
        elif target.class_name not in IDENTITY and target.class_name != "InputLayer":
            layer = self._read(target)
            if layer is not None and not target.children and type(layer).lower is Layer.lower:
                self.refuse(target, NO_LAYER)
            for child in target.children.values():
                self.look_at(child)

    def child(self, target: LayerSpec | Model, inputs: Sequence[Tensor], path: str, **given: Any) -> Lowered:
        """What the layer or model inside a wrapper makes of its inputs."""
        if isinstance(target, Model):
            return self.model(target, inputs, (None,) * len(inputs), path)[0]
        return self.layer(target, inputs, path, **given)

    def _each_step(self, spec: LayerSpec, x: Tensor, path: str) -> Lowered:
        """Batch and time as one axis, and apart again behind the layer."""
        steps = ops.reshape(x, (-1, *known_dims(x, 2)))
        made = self.child(spec.children["layer"], (steps,), path)
        if made is None:
            return None
        front = ops.dims(x)[:2]
        return tuple(ops.reshape(y, (*front, *known_dims(y, 1))) for y in made)

    def _both_ways(
        self, spec: LayerSpec, layer: Bidirectional, x: Tensor, path: str, given: Mapping[str, Any]
    ) -> Lowered:
        states = tuple(given.get("initial_state") or ())
        half = len(states) // 2
        both: list[tuple[Tensor, ...]] = []
        for part, own in (("forward_layer", states[:half]), ("backward_layer", states[half:])):
            child = spec.children[part]
            assert isinstance(child, LayerSpec)
            made = self.layer(child, (x,), path, **{**given, "initial_state": own or None})
            if made is None:
                return None
            both.append(made)
        (forward, *ahead), (backward, *behind) = both
        if forward.rank > 2:
            backward = ops.Reverse(backward, (1,))
        return (*layer.merge(forward, backward), *ahead, *behind)


@dataclass
class _Run:
    """One run through a model: the values and masks of its tensors."""

    lowering: Lowering
    path: str
    values: dict[Edge, Tensor]
    masks: dict[Edge, Tensor] = field(default_factory=dict)

    def call(self, call: Call) -> None:
        target = call.target
        if isinstance(target, LayerSpec) and target.class_name == "InputLayer":
            return
        if not all(edge in self.values for edge in call.tensors()):
            self.lowering.look_at(target)  # something before it was refused
            return
        if isinstance(target, Operation):
            outputs = self._operation(call, target)
        elif isinstance(target, Model):
            outputs = self._model(call, target)
        else:
            outputs = self._layer(call, target)
        for index, output in enumerate(outputs or ()):
            self.values[Edge(call, index)] = output
            name_new(output, f"{self.path}{target.name}", self.lowering.names)

    def _positional(self, call: Call) -> tuple[Edge, ...]:
        return tuple(leaf for leaf in flatten(call.args) if isinstance(leaf, Edge))

    def _incoming(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks of the positional tensors; one that the call is given stands for that of the first."""
        masks = tuple(self.masks.get(edge) for edge in self._positional(call))
        given = call.kwargs.get("mask")
        return (self.values[given], *masks[1:]) if isinstance(given, Edge) else masks

    def _model(self, call: Call, model: Model) -> Lowered:
        inputs = tuple(self.values[edge] for edge in self._positional(call))
        outputs, masks = self.lowering.model(model, inputs, self._incoming(call), f"{self.path}{model.name}/")
        self.masks |= {Edge(call, i): mask for i, mask in enumerate(masks) if mask is not None}
        return outputs

    def _operation(self, call: Call, operation: Operation) -> Lowered:
        lowered = OPERATIONS.get(operation.class_name)
        if lowered is None:
            self.lowering.refuse(operation, NO_OPERATION)
            return None
        args = map_tensors(call.args, self.values.__getitem__)
        kwargs = {name: map_tensors(value, self.values.__getitem__) for name, value in call.kwargs.items()}
        try:
            outputs = lowered(operation.config, *args, **kwargs)
        except Refusal as refusal:
            self.lowering.refuse(operation, refusal.reason, refusal.option)
            return None
        except (ShapeError, TypeError) as error:
            self.lowering.refuse(operation, str(error))
            return None
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _layer(self, call: Call, spec: LayerSpec) -> Lowered:
        inputs = tuple(self.values[edge] for edge in self._positional(call))
        if spec.class_name in IDENTITY and spec.class_name != "SpectralNormalization" and not spec.custom:
            outputs: Lowered = self._identity(call, spec, inputs)
        else:
            given = self._given(call, spec)
            outputs = None if given is None else self.lowering.layer(spec, inputs, f"{self.path}{spec.name}/", **given)
        mask = self._mask(call, spec, inputs) if outputs is not None else None
        if mask is not None:
            self.masks[Edge(call)] = mask
            if spec.class_name == "Bidirectional" and spec.config.get("merge_mode", "concat") is None:
                self.masks[Edge(call, 1)] = mask
        return outputs

    def _identity(self, call: Call, spec: LayerSpec, inputs: tuple[Tensor, ...]) -> Lowered:
        if call.kwargs.get("training"):
            self.lowering.refuse(
                spec, "the model calls it with training=True, so it acts at inference", "training", True
            )
        if "at_inference" in spec.config:
            self.lowering.refuse(spec, "until Keras 3.7 it crops at inference as well")
        return inputs[:1]

    def _given(self, call: Call, spec: LayerSpec) -> dict[str, Any] | None:
        """The arguments of the call that the layer takes; None, and a problem, where it takes one not."""
        cls = LAYERS.get(spec.class_name)
        takes = cls.takes if cls is not None else ()
        given: dict[str, Any] = {}
        for name, value in call.kwargs.items():
            if value is None or name == "mask" or (name in TRAINING_ONLY and not value):
                continue
            if name not in takes:
                shown = value if isinstance(value, bool | int | float | str) else "…"
                self.lowering.refuse(spec, "the lowering does not take this argument of the call", name, shown)
                return None
            given[name] = map_tensors(value, self.values.__getitem__)
        incoming = self._incoming(call)
        if "mask" in takes and incoming and incoming[0] is not None:
            given["mask"] = incoming[0]
        if "masks" in takes and any(mask is not None for mask in incoming):
            given["masks"] = incoming
        return given

    def _mask(self, call: Call, spec: LayerSpec, inputs: tuple[Tensor, ...]) -> Tensor | None:
        """The mask of the first output, by the rules that masks.py describes."""
        name, incoming = spec.class_name, self._incoming(call)
        if name == "Embedding":
            return ops.not_equal(inputs[0], 0) if spec.config.get("mask_zero") else None
        if name == "Masking":
            return ops.any_(ops.not_equal(inputs[0], float(spec.config.get("mask_value") or 0.0)), -1)
        if name in RECURRENT or name == "Bidirectional":
            inner = spec.children.get("forward_layer", spec)
            sequences = isinstance(inner, LayerSpec) and inner.config.get("return_sequences")
            return incoming[0] if incoming and sequences else None
        if name in PASSES:
            return incoming[0] if incoming else None
        if name in MERGES and incoming and all(mask is not None for mask in incoming):
            return joined([mask for mask in incoming if mask is not None])
        if name == "Concatenate" and any(mask is not None for mask in incoming):
            return concatenated(incoming, inputs, int(spec.config.get("axis", -1)))
        return None


def joined(masks: Sequence[Tensor]) -> Tensor:
    """Where any of the masks holds."""
    result, *rest = dict.fromkeys(masks)
    for mask in rest:
        result = ops.logical_or(result, mask)
    return result


def concatenated(masks: Sequence[Tensor | None], inputs: Sequence[Tensor], axis: int) -> Tensor:
    """The mask of a concatenation: each spread over its input, missing ones as ones, joined, any over the last axis."""
    if len(set(masks)) == 1 and axis in (-1, inputs[0].rank - 1) and masks[0] is not None:
        return masks[0]
    spread = []
    for mask, x in zip(masks, inputs, strict=True):
        ones = ops.greater_equal(ops.Abs(ops.floats(x)), 0.0)
        wide = ones if mask is None else mask
        while wide.rank < x.rank:
            wide = ops.expand_dims(wide, wide.rank)
        spread.append(ops.logical_and(wide, ones))
    return ops.any_(ops.concat(spread, axis), -1)


def known_dims(x: Tensor, start: int) -> tuple[Any, ...]:
    """The sizes of the axes from one on."""
    return ops.dims(x)[start:]
