"""Lower a Keras model to a graph of tensor operations: the computation of each layer at inference.

Masks are separate tensors, by the rules of Keras. Masks that nothing reads are not part of the
graph. All parts without a lowering are reported at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import (
    Problem,
    ReadError,
    Refusal,
    ShapeError,
    TooLargeError,
    UnsupportedModel,
    UnsupportedPart,
    quoted,
)
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.functions import apply, check_types, lowering_of
from kerasport.frontends.keras.identity import IDENTITY, is_of_entries, returns_input
from kerasport.frontends.keras.infer import Inference, input_shape
from kerasport.frontends.keras.layers import LAYERS, is_input, traits_of
from kerasport.frontends.keras.layers.activations import activate
from kerasport.frontends.keras.layers.base import Layer, Refused, Reported, Wrapper, called_on
from kerasport.frontends.keras.layers.recurrent import CELLS, Cell, StackedRNNCells
from kerasport.frontends.keras.layers.traits import MaskInput, MaskRule
from kerasport.frontends.keras.lower.inside import LoweredInside
from kerasport.frontends.keras.lower.masks import BackendDependentMask, MaskTensors, TensorMasks
from kerasport.frontends.keras.mask_changes import NO_CHANGES, MaskChanges
from kerasport.frontends.keras.masks import BY_BACKEND, output_mask, sequence_count
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
    map_tensors,
)
from kerasport.frontends.keras.precheck import custom_problem, refusals
from kerasport.frontends.keras.training import IN_TRAINING, training_counts
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS, DType
from kerasport.ir.graph import Graph, name_new
from kerasport.ir.ops.reduction import ArgReduction, Reduction, TopK
from kerasport.ir.tensor import BATCH, Extent, Input, Node, Tensor, TensorType

Lowered: TypeAlias = tuple[Tensor, ...] | None
"""The outputs of a call, or None if it is refused."""

NO_LAYER = "this layer is not supported yet"
UNKNOWN_ARGUMENT = "this argument of the call is not supported"


def lower(model: KerasModel) -> Graph:
    """The graph of a model, with one input and one output for each tensor of the model's.

    Raises:
        UnsupportedModel: parts of the model are not supported.
    """
    lowering = Lowering(model.dialect)
    inputs = tuple(declared_input(edge) for edge in model.input_tensors)
    outputs, _ = lowering.model(model, inputs, (None,) * len(inputs), "")
    graph = Graph(inputs, outputs or (), lowering.names).with_own_names()
    problems = [
        *refusals(model),
        *lowering.problems,
        *_empty(graph),
        *_backend_dependent(graph),
    ]
    if problems:
        raise UnsupportedModel(tuple(dict.fromkeys(problems)))
    assert outputs is not None
    return graph


def _empty(graph: Graph) -> Iterator[Problem]:
    """Problems with operations on tensors of size 0 that some runtimes compute differently.

    Measured in TF.js on cpu and wasm, and in ONNX Runtime: Reshape cannot infer a size. Mean, Prod,
    All and Any of no values return uninitialized memory on wasm, and on the others other values
    than in Keras. TopK throws.
    """
    for node in graph.nodes():
        operand = next(iter(node.operands), None)
        if isinstance(node, ops.Reshape) and -1 in node.to and 0 in node.to:
            reason = "its result has size 0, so a runtime cannot infer the batch size"
        elif (
            isinstance(node, UNDEFINED)
            and not isinstance(node, ops.Sum)
            and _has_no_values(operand)
        ):
            reason = "its input has size 0, for which runtimes compute different results"
        else:
            continue
        yield Problem(graph.names.get(node, "").rpartition("/")[2], type(node).__name__, reason)


UNDEFINED = (Reduction, ArgReduction, TopK)
"""Operations whose results for tensors of size 0 differ between runtimes, except for Sum."""


def _has_no_values(operand: Node | None) -> bool:
    return isinstance(operand, Tensor) and 0 in operand.shape


def _backend_dependent(graph: Graph) -> Iterator[Problem]:
    """Problems with masks that the graph uses, but that only some Keras backends keep."""
    for node in graph.nodes():
        if isinstance(node, BackendDependentMask):
            yield Problem(node.target.name, node.target.class_name, BY_BACKEND)


def declared_input(edge: KerasTensor) -> Input:
    """The graph input for an InputLayer. An unknown first size is the batch."""
    spec = edge.call.target
    assert isinstance(spec, LayerSpec)
    extents = (_extent(spec, axis, size) for axis, size in enumerate(input_shape(spec)))
    return Input(spec.name, TensorType(input_dtype(spec), tuple(extents)))


def _extent(spec: LayerSpec, axis: int, size: int | None) -> Extent:
    """The size of an axis, or a name for it. Names must not contain `*`, as products do."""
    if size is None and not axis:
        return BATCH
    return f"{spec.name}_axis_{axis}" if size is None and "*" not in spec.name else size


def input_dtype(spec: LayerSpec) -> DType:
    """The element type of a graph input: that of the InputLayer, with float32 for all floats."""
    name = str(spec.config.get("dtype") or "float32")
    if name in ("string", "bool", *INTEGERS):
        return name
    return "float32"


@dataclass
class Lowering:
    """The state of one lowering.

    Attributes:
        dialect: the rules of the Keras release.
        names: node → path of the layer that it is made from.
        problems: the parts that were refused.
        changes: the effects of calls on masks.
        inference: the shapes of all tensors.
    """

    dialect: Dialect
    names: dict[Node, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    changes: MaskChanges = field(default_factory=MaskChanges)
    inference: Inference = field(default_factory=Inference)

    def model(
        self, model: KerasModel, inputs: Sequence[Tensor], masks: Sequence[Tensor | None], path: str
    ) -> tuple[Lowered, tuple[Tensor | None, ...]]:
        """The outputs of a model, and their masks. The outputs are None if a part is refused."""
        values = dict(zip(model.input_tensors, inputs, strict=True))
        changes = self.changes.of(model) if self.dialect.masks_on_tensors else NO_CHANGES
        tensor_masks = TensorMasks(self.dialect, values, changes)
        tensor_masks.of |= {
            edge: mask
            for edge, mask in zip(model.input_tensors, masks, strict=True)
            if mask is not None
        }
        run = _Run(self, path, values, tensor_masks)
        for call in changes.order or model.calls:
            run.call(call)
        edges = model.output_tensors
        run.check_indices(edges)
        known = all(edge in run.values for edge in edges)
        outputs = tuple(run.values[edge] for edge in edges) if known else None
        return outputs, tuple(tensor_masks.found(edge, None) for edge in edges)

    def refuse(
        self,
        target: LayerSpec | Operation | KerasModel,
        reason: str,
        option: str = "",
        value: Any = None,
    ) -> None:
        """Record that a part of the model is not supported."""
        self.problems.append(Problem(target.name, target.class_name, reason, option, value))

    def layer(
        self, spec: LayerSpec, inputs: Sequence[Tensor], path: str, **arguments: Any
    ) -> Lowered:
        """The outputs of a layer for these inputs and arguments; None if it is refused."""
        layer = self._read(spec)
        if layer is None:
            return None
        if not layer.works_on(len(inputs)):
            self.refuse(spec, called_on(len(inputs), type(layer)))
            return None
        try:
            # checks the shapes of inputs and weights
            self.inference.target(spec, tuple(x.shape for x in inputs), arguments)
            outputs = self._lower(spec, layer, inputs, path, arguments)
        except Reported:
            return None
        except Refusal as refusal:
            self._report(spec, layer, refusal)
            return None
        except TooLargeError as error:
            self._report(spec, layer, Refusal("", error.reason, error.remedy))
            return None
        except ShapeError as error:
            self.refuse(spec, str(error))
            return None
        return outputs if isinstance(outputs, tuple) or outputs is None else (outputs,)

    def _report(self, spec: LayerSpec, layer: Layer, refusal: Refusal) -> None:
        option = refusal.option
        value = shown(getattr(layer, option, None)) if option else None
        problem = Problem(spec.name, spec.class_name, refusal.reason, option, value, refusal.remedy)
        self.problems.append(problem)

    def _read(self, spec: LayerSpec) -> Layer | None:
        cls = LAYERS.get(spec.class_name)
        if spec.custom:
            self.problems.append(custom_problem(spec))
        elif cls is None:
            self.refuse(spec, NO_LAYER)
        else:
            try:
                return cls.from_spec(spec)
            except UnsupportedPart as error:
                self.problems.append(error.problem)
        return None

    def _lower(
        self,
        spec: LayerSpec,
        layer: Layer,
        inputs: Sequence[Tensor],
        path: str,
        arguments: Mapping[str, Any],
    ) -> Tensor | Lowered:
        extra = {"dialect": self.dialect} if type(layer).traits.dialect else {}
        if isinstance(layer, Wrapper):
            check_types(inspect.signature(layer.lower_around), arguments)
            inside = LoweredInside(spec.children, self, path)
            return layer.lower_around(inside, *inputs, **arguments, **extra)  # type: ignore[no-any-return]
        check_types(inspect.signature(layer.lower), arguments)
        return layer.lower(*inputs, **arguments, **extra)  # type: ignore[no-any-return]

    def cells(self, target: LayerSpec | KerasModel) -> tuple[Cell, ...] | None:
        """The cells of a cell or of stacked cells, in order; None if one of them is refused."""
        assert isinstance(target, LayerSpec)
        if LAYERS.get(target.class_name) is StackedRNNCells and not target.custom:
            parts = [self.cells(child) for child in target.children.values()]
            return None if None in parts else tuple(cell for part in parts for cell in part or ())
        layer = self._read(target)
        if layer is not None and not isinstance(layer, CELLS):
            self.refuse(target, "it is not one of Keras's own cells")
            return None
        return None if layer is None else (layer,)

    def precheck(self, target: LayerSpec | Operation | KerasModel) -> None:
        """Record the problems of a part whose inputs are unknown, so that all are reported."""
        if isinstance(target, Operation):
            try:
                lowering_of(target)
            except Refusal as refused:
                self.refuse(
                    target, refused.reason, refused.option, shown(target.config.get(refused.option))
                )
        elif isinstance(target, KerasModel):
            for inner in target.targets():
                self.precheck(inner)
        elif target.class_name not in IDENTITY and not is_input(target):
            layer = self._read(target)
            if isinstance(layer, Refused):
                self.problems.append(layer.problem(target))
            elif layer is not None and not target.children and type(layer).lower is Layer.lower:
                self.refuse(target, NO_LAYER)
            elif layer is not None:
                self._check_activations(target, layer)
            for child in target.children.values():
                self.precheck(child)

    def _check_activations(self, spec: LayerSpec, layer: Layer) -> None:
        for option in ("activation", "recurrent_activation"):
            value = getattr(layer, option, "linear")
            try:
                activate(value, ops.constant(np.zeros((1, 2), np.float32)))
            except Refusal as refusal:
                self.refuse(spec, refusal.reason, option, shown(value))

    def child(
        self,
        target: LayerSpec | KerasModel,
        inputs: Sequence[Tensor],
        path: str,
        mask: Tensor | None = None,
    ) -> Lowered:
        """The outputs of a layer or model inside a wrapper; None if it is refused."""
        if isinstance(target, KerasModel):
            return self.model(target, inputs, (mask, *(None,) * (len(inputs) - 1)), path)[0]
        if returns_input(target):
            return tuple(inputs[:1])
        reads = traits_of(target).mask_input in (MaskInput.FIRST, MaskInput.RECURRENT)
        masked = {"mask": mask} if mask is not None and reads else {}
        return self.layer(target, inputs, path, **masked)


@dataclass
class _Run:
    """One run through a model, with the lowered values and the masks of its tensors."""

    lowering: Lowering
    path: str
    values: dict[KerasTensor, Tensor]
    masks: TensorMasks

    def call(self, call: Call) -> None:
        target = call.target
        if is_input(target):
            return
        if not all(edge in self.values for edge in call.tensors()):
            self.check_indices(call.tensors())
            # a part that computes an input was refused
            self.lowering.precheck(target)
            return
        if isinstance(target, Operation):
            outputs = self._operation(call, target)
        elif isinstance(target, KerasModel):
            outputs = self._model(call, target)
        else:
            outputs = self._layer(call, target)
        for index, output in enumerate(outputs or ()):
            self.values[KerasTensor(call, index)] = output
            if (
                not isinstance(target, KerasModel)
                and (mask := self._kept_mask(call, target, output)) is not None
            ):
                kept = BackendDependentMask(mask, target)
                self.masks.of.setdefault(KerasTensor(call, index), kept)
            name_new(output, f"{self.path}{target.name}", self.lowering.names)

    def lowered(self, argument: Any) -> Any:
        """An argument of a call, with the lowered tensors, and with arrays as constants."""
        if isinstance(argument, KerasTensor):
            return self.values[argument]
        if isinstance(argument, np.ndarray):
            return ops.as_tensor(argument)
        if isinstance(argument, Mapping):
            return {key: self.lowered(value) for key, value in argument.items()}
        return (
            tuple(map(self.lowered, argument)) if isinstance(argument, tuple | list) else argument
        )

    def check_indices(self, edges: Iterable[KerasTensor]) -> None:
        """Raise `ReadError` if a tensor is an output that its call does not have."""
        for edge in edges:
            if edge not in self.values and KerasTensor(edge.call) in self.values:
                name = quoted(edge.call.target.name)
                raise ReadError(
                    f"the graph refers to output {edge.index} of layer {name}, which does not exist"
                )

    def _inputs(self, call: Call) -> tuple[Tensor, ...] | None:
        """The input tensors of a call. Records a problem and returns None if one is no tensor."""
        inputs = tuple(flatten(self.lowered(call.args)))
        strange = [leaf for leaf in inputs if not isinstance(leaf, Tensor)]
        if not strange and inputs:
            return inputs
        reason = (
            f"it is called on {quoted(strange[0])}, which is not a tensor"
            if inputs
            else "it is called without an input"
        )
        self.lowering.refuse(call.target, reason)
        return None

    def _model(self, call: Call, model: KerasModel) -> Lowered:
        inputs = self._inputs(call)
        if inputs is None or not self._supports_call_of_model(call, model, len(inputs)):
            return None
        of_inputs = self.masks.read_by_model(call)
        path = f"{self.path}{model.name}/"
        outputs, masks = self.lowering.model(model, inputs, of_inputs, path)
        self.masks.of |= {
            KerasTensor(call, i): mask for i, mask in enumerate(masks) if mask is not None
        }
        return outputs

    def _supports_call_of_model(self, call: Call, model: KerasModel, count: int) -> bool:
        """Whether a nested model supports the arguments of a call; records a problem if not."""
        wanted, problems = len(model.input_tensors), len(self.lowering.problems)
        if count != wanted:
            self.lowering.refuse(model, f"it is called on {count} tensors but has {wanted} inputs")
        if len(flatten(call.kwargs.get("mask"))) > count:
            self.lowering.refuse(
                model, f"it is called with more masks than it has inputs ({count})", "mask", "…"
            )
        for name, value in call.kwargs.items():
            if value is None or name == "mask":
                continue
            if name != "training":
                self.lowering.refuse(model, UNKNOWN_ARGUMENT, name, shown(value))
            elif training_counts(model, value, self.lowering.dialect):
                self.lowering.refuse(model, IN_TRAINING, name, shown(value))
        changes = self.masks.changes
        unknown = [edge for edge in call.tensors() if changes.object_of(edge) in changes.unknown]
        for edge in unknown:
            if sum(edge in other.tensors() for other in changes.order) > 1:
                reason = (
                    "a nested model is called with a mask, and Keras also passes this mask to "
                    "other layers that use the same input"
                )
                self.lowering.refuse(model, reason, "mask", "…")
        return len(self.lowering.problems) == problems

    def _operation(self, call: Call, operation: Operation) -> Lowered:
        args = map_tensors(call.args, self.values.__getitem__)
        kwargs = map_tensors(dict(call.kwargs), self.values.__getitem__)
        try:
            return apply(operation, args, kwargs)
        except Refusal as refused:
            self.lowering.refuse(
                operation,
                refused.reason,
                refused.option,
                shown(operation.config.get(refused.option)),
            )
        except TooLargeError as error:
            problem = Problem(
                operation.name, operation.class_name, error.reason, remedy=error.remedy
            )
            self.lowering.problems.append(problem)
        except ShapeError as error:
            self.lowering.refuse(operation, str(error))
        return None

    def _layer(self, call: Call, spec: LayerSpec) -> Lowered:
        if not spec.custom and issubclass(cls := LAYERS.get(spec.class_name, Layer), Refused):
            self.lowering.problems.append(cls.problem(spec))
            return None
        if is_of_entries(call):
            # `refusals` reports it
            return None
        inputs = self._inputs(call)
        if inputs is None:
            return None
        if returns_input(spec):
            outputs: Lowered = self._identity(call, spec, inputs)
        else:
            arguments = self._arguments(call, spec)
            if arguments is None:
                return None
            path = f"{self.path}{spec.name}/"
            outputs = self.lowering.layer(spec, inputs, path, **arguments)
        if outputs is not None:
            self._set_mask(call, spec, inputs)
        return outputs

    def _set_mask(self, call: Call, spec: LayerSpec, inputs: tuple[Tensor, ...]) -> None:
        """Record the mask that Keras computes for the outputs of a layer."""
        masks, dialect = self.masks.passed_on(call), self.lowering.dialect
        mask = output_mask(spec, inputs, masks, call.kwargs, dialect, MaskTensors())
        if mask is not None:
            tensors = (KerasTensor(call, index) for index in range(sequence_count(spec)))
            self.masks.of |= dict.fromkeys(tensors, mask)

    def _kept_mask(
        self, call: Call, target: LayerSpec | Operation, output: Tensor
    ) -> Tensor | None:
        """The mask of an argument, if the call may return the argument itself with its mask."""
        rule = traits_of(target).mask
        for tensor in call.tensors():
            if rule is MaskRule.BACKEND or unchanged(output, self.values[tensor]):
                mask = self.masks.found(tensor, call)
                if mask is not None:
                    return mask
        return None

    def _identity(self, call: Call, spec: LayerSpec, inputs: tuple[Tensor, ...]) -> Lowered:
        if training_counts(spec, call.kwargs.get("training"), self.lowering.dialect):
            self.lowering.refuse(spec, IN_TRAINING, "training", True)
        # the layer returns a whole structure of tensors unchanged
        structure = isinstance(call.args[0], Mapping | tuple)
        return inputs if structure else inputs[:1]

    def _arguments(self, call: Call, spec: LayerSpec) -> dict[str, Any] | None:
        """Call arguments of a layer. Records a problem and returns None if one is unsupported."""
        arguments: dict[str, Any] = {}
        refused = False
        for name, value in call.kwargs.items():
            reason = "" if value is None else self._why_refused(name, value, spec)
            if reason:
                self.lowering.refuse(spec, reason, name, shown(value))
                refused = True
            elif value is not None and name in takes_of(spec):
                arguments[name] = self.lowered(value)
        return None if refused else arguments | self.masks.arguments(call, spec, arguments)

    def _why_refused(self, name: str, value: Any, spec: LayerSpec) -> str:
        """Why an argument of a call is not supported; empty if it is."""
        if name == "training":
            counts = training_counts(spec, value, self.lowering.dialect)
            reason = IN_TRAINING if traits_of(spec).images else UNKNOWN_ARGUMENT
            return reason if counts and name not in takes_of(spec) else ""
        if name == "mask":
            unsupported = traits_of(spec).mask_input in (MaskInput.NONE, MaskInput.NAMED)
            return UNKNOWN_ARGUMENT if unsupported else ""
        return "" if name in takes_of(spec) else UNKNOWN_ARGUMENT


def unchanged(y: Tensor, x: Tensor) -> bool:
    """Whether y is x, or a reshape of x to its own shape."""
    return y is x or (isinstance(y, ops.Reshape) and y.x is x and y.shape == x.shape)


def shown(value: Any) -> Any:
    """A value for a message, with … for long values."""
    if isinstance(value, tuple):
        return tuple(map(shown, value))
    return value if value is None or isinstance(value, bool | int | float | str) else "…"


def takes_of(spec: LayerSpec) -> tuple[str, ...]:
    """The call arguments that the `lower` method of a layer takes by name."""
    cls = LAYERS.get(spec.class_name)
    if cls is None:
        return ()
    named = cls.traits.mask_input is MaskInput.NAMED
    return (*cls.takes, *(f"{name}_mask" for name in cls.tensors if named))
