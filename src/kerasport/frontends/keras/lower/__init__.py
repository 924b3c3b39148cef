"""From a model to a graph of tensor operations: each call is what its layer computes at inference.

Masks travel beside the tensors, by the rules of Keras, as tensors of their own; those that nobody reads are never
computed. Everything that has no lowering is gathered and reported at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
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
from kerasport.frontends.keras.functions import apply, check_types, lowering_of
from kerasport.frontends.keras.identity import IDENTITY, IMAGES, is_identity, is_of_entries
from kerasport.frontends.keras.infer import Inference, arguments_of, input_shape
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.activations import activate
from kerasport.frontends.keras.layers.base import Layer, Refused, called_on
from kerasport.frontends.keras.layers.preprocessing import Pipeline
from kerasport.frontends.keras.layers.recurrent import (
    CELLS,
    RNN,
    Bidirectional,
    Cell,
    StackedRNNCells,
    TimeDistributed,
    initial_states,
    one_step,
)
from kerasport.frontends.keras.masks import (
    BY_BACKEND,
    MERGES,
    NO_CHANGES,
    Changes,
    MaskChanges,
    MaskRules,
)
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
    map_tensors,
)
from kerasport.frontends.keras.precheck import acts_in_training, custom_problem, refusals
from kerasport.ir import ops
from kerasport.ir.dtypes import DType
from kerasport.ir.graph import Graph, name_new
from kerasport.ir.ops.reduction import ArgReduction, Reduction, TopK
from kerasport.ir.tensor import BATCH, Extent, Input, Node, Tensor, TensorType

Lowered: TypeAlias = tuple[Tensor, ...] | None  # None where a call was refused

TRAINING_ONLY = ("training",)
NO_LAYER = "this layer is not supported yet"
IN_TRAINING = "the model calls it with training=True, so it is active at inference"
UNKNOWN_ARGUMENT = "this argument of the call is not supported"


def lower(model: KerasModel) -> Graph:
    """The graph of a model, one input and one output for each of the model's, flat.

    Raises:
        UnsupportedModel: parts of the model have no lowering.
    """
    lowering = Lowering(MaskRules(model.release))
    inputs = tuple(declared_input(edge) for edge in model.input_tensors)
    outputs, _ = lowering.model(model, inputs, (None,) * len(inputs), "")
    graph = Graph(inputs, outputs or (), lowering.names).with_own_names()
    problems = [
        *refusals(model),
        *lowering.problems,
        *_strings(graph),
        *_empty(graph),
        *_by_chance(graph),
    ]
    if problems:
        raise UnsupportedModel(tuple(dict.fromkeys(problems)))
    assert outputs is not None
    return graph


def _strings(graph: Graph) -> Iterator[Problem]:
    """What takes strings and is not a table: backends of TF.js have few operations for them, and others each."""
    reason = (
        "the only operation on strings that converted models support is a lookup in a vocabulary"
    )
    for node in graph.nodes():
        if not isinstance(node, ops.Lookup) and any(
            is_string(operand) for operand in node.operands
        ):
            yield Problem(graph.names.get(node, "").rpartition("/")[2], type(node).__name__, reason)
    for output in graph.outputs:
        if isinstance(output, Input) and is_string(output):
            yield Problem(output.name, "InputLayer", reason, "dtype", "string")


def _empty(graph: Graph) -> Iterator[Problem]:
    """Operations on tensors of size 0 that no runtime, or not every one, computes as Keras does.

    Measured in TF.js on cpu and wasm, and in ONNX Runtime: Reshape cannot infer an open size. Mean, Prod,
    All and Any of no values return uninitialized memory on wasm, and other values than Keras elsewhere. TopK throws.
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
"""Operations whose result for no values differs between runtimes, except Sum."""


def _has_no_values(operand: Node | None) -> bool:
    return isinstance(operand, Tensor) and 0 in operand.shape


@dataclass(frozen=True, eq=False)
class ByChance(Tensor):
    """The mask behind what gives back the very tensor that it was given: some backends of Keras lose it there."""

    mask: Tensor
    target: LayerSpec | Operation  # what it stands behind

    def infer(self) -> TensorType:
        return self.mask.type

    def compute(self, *operands: Any) -> Any:
        return operands[0]


def _by_chance(graph: Graph) -> Iterator[Problem]:
    """Masks that something reads although it depends on the backend whether they are there."""
    for node in graph.nodes():
        if isinstance(node, ByChance):
            yield Problem(node.target.name, node.target.class_name, BY_BACKEND)


def is_string(node: Node) -> bool:
    """Whether a node is a tensor of strings."""
    return isinstance(node, Tensor) and node.dtype == "string"


def declared_input(edge: KerasTensor) -> Input:
    """The input of a graph for an InputLayer. An unknown first size is the batch."""
    spec = edge.call.target
    assert isinstance(spec, LayerSpec)
    extents = (_extent(spec, axis, size) for axis, size in enumerate(input_shape(spec)))
    return Input(spec.name, TensorType(input_dtype(spec), tuple(extents)))


def _extent(spec: LayerSpec, axis: int, size: int | None) -> Extent:
    """The size of an axis, or a name for it; a `*` is left out of names, where it would be a product."""
    if size is None and not axis:
        return BATCH
    return f"{spec.name}_axis_{axis}" if size is None and "*" not in spec.name else size


def input_dtype(spec: LayerSpec) -> DType:
    """The element type in which a graph is fed an input."""
    name = str(spec.config.get("dtype") or "float32")
    if name in ("string", "bool"):
        return name  # type: ignore[return-value]
    return "int32" if name.startswith(("int", "uint")) else "float32"


@dataclass
class Lowering:
    """The state of one lowering: names of the nodes so far, and what was refused."""

    rules: MaskRules
    names: dict[Node, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    changes: MaskChanges = field(default_factory=MaskChanges)
    inference: Inference = field(default_factory=Inference)

    @property
    def keras2(self) -> bool:
        """Whether masks travel as in Keras 2."""
        return self.rules.release < (3, 0)

    def model(
        self, model: KerasModel, inputs: Sequence[Tensor], masks: Sequence[Tensor | None], path: str
    ) -> tuple[Lowered, tuple[Tensor | None, ...]]:
        """The outputs of a model and their masks; no outputs where a part of it was refused."""
        run = _Run(self, path, dict(zip(model.input_tensors, inputs, strict=True)))
        run.changes = NO_CHANGES if self.keras2 else self.changes.of(model)
        run.masks |= {
            edge: mask
            for edge, mask in zip(model.input_tensors, masks, strict=True)
            if mask is not None
        }
        for call in run.changes.order or model.calls:
            run.call(call)
        edges = model.output_tensors
        run.check_indices(edges)
        known = all(edge in run.values for edge in edges)
        outputs = tuple(run.values[edge] for edge in edges) if known else None
        return outputs, tuple(run.mask_of(edge, None) for edge in edges)

    def refuse(
        self,
        target: LayerSpec | Operation | KerasModel,
        reason: str,
        option: str = "",
        value: Any = None,
    ) -> None:
        """Note that a part of the model has no lowering."""
        self.problems.append(Problem(target.name, target.class_name, reason, option, value))

    def layer(self, spec: LayerSpec, inputs: Sequence[Tensor], path: str, **given: Any) -> Lowered:
        """What a layer makes of its inputs; `given` are arguments of the call, of which it takes those it knows."""
        layer = self._read(spec)
        if layer is None:
            return None
        if not layer.works_on(len(inputs)):
            self.refuse(spec, called_on(len(inputs), type(layer)))
            return None
        try:
            self.inference.target(
                spec, tuple(x.shape for x in inputs), given
            )  # checks that the layer takes them
            check_types(inspect.signature(layer.lower), given)
            outputs = self._lower(spec, layer, inputs, path, given)
        except Refusal as refusal:
            value = shown(getattr(layer, refusal.option, None)) if refusal.option else None
            self.problems.append(
                Problem(
                    spec.name,
                    spec.class_name,
                    refusal.reason,
                    refusal.option,
                    value,
                    refusal.remedy,
                )
            )
            return None
        except TooLargeError as error:
            self.problems.append(
                Problem(spec.name, spec.class_name, error.reason, remedy=error.remedy)
            )
            return None
        except ShapeError as error:
            self.refuse(spec, str(error))
            return None
        return outputs if isinstance(outputs, tuple) or outputs is None else (outputs,)

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
        given: Mapping[str, Any],
    ) -> Tensor | Lowered:
        if isinstance(layer, TimeDistributed):
            return self._each_step(spec, inputs[0], path, given.get("mask"))
        if isinstance(layer, Bidirectional):
            return self._both_ways(spec, layer, inputs, path, given)
        if isinstance(layer, Pipeline):
            return self._in_turn(spec, inputs, path, given.get("mask"))
        if isinstance(layer, RNN):
            cells = self._cells(spec.children["cell"])
            return None if cells is None else layer.lower(*inputs, cells=cells, **given)
        if isinstance(layer, StackedRNNCells):
            cells = self._cells(spec)
            return None if cells is None else one_step(cells, inputs[0], inputs[1:])
        if spec.class_name == "SpectralNormalization":
            return self.child(spec.children["layer"], inputs, path)
        return layer.lower(*inputs, **given)  # type: ignore[no-any-return]

    def _cells(self, target: LayerSpec | KerasModel) -> tuple[Cell, ...] | None:
        """The cells of a recurrent layer in their order; None where one was refused."""
        assert isinstance(target, LayerSpec)
        if target.class_name == "StackedRNNCells" and not target.custom:
            parts = [self._cells(child) for child in target.children.values()]
            return None if None in parts else tuple(cell for part in parts for cell in part or ())
        layer = self._read(target)
        if layer is not None and not isinstance(layer, CELLS):
            self.refuse(target, "it is not one of Keras's own cells")
            return None
        return None if layer is None else (layer,)

    def look_at(self, target: LayerSpec | Operation | KerasModel) -> None:
        """Note what can be said against a part without its inputs, so that all problems are told at once."""
        if isinstance(target, Operation):
            try:
                lowering_of(target)
            except Refusal as refused:
                self.refuse(
                    target, refused.reason, refused.option, shown(target.config.get(refused.option))
                )
        elif isinstance(target, KerasModel):
            for inner in target.targets():
                self.look_at(inner)
        elif target.class_name not in IDENTITY and target.class_name != "InputLayer":
            layer = self._read(target)
            if isinstance(layer, Refused):
                self.problems.append(layer.problem(target))
            elif layer is not None and not target.children and type(layer).lower is Layer.lower:
                self.refuse(target, NO_LAYER)
            elif layer is not None:
                self._check_activations(target, layer)
            for child in target.children.values():
                self.look_at(child)

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
        **given: Any,
    ) -> Lowered:
        """What the layer or model inside a wrapper makes of its inputs."""
        if isinstance(target, KerasModel):
            return self.model(target, inputs, (mask, *(None,) * (len(inputs) - 1)), path)[0]
        if is_plain_identity(target):
            return tuple(inputs[:1])
        if mask is not None and "mask" in takes_of(target):
            given["mask"] = mask
        return self.layer(target, inputs, path, **given)

    def _in_turn(
        self, spec: LayerSpec, inputs: Sequence[Tensor], path: str, mask: Tensor | None
    ) -> Lowered:
        """One layer inside after the other."""
        if mask is not None or any(makes_mask(child) for child in spec.children.values()):
            raise Refusal("", "masks inside this layer are not supported yet")
        made: Lowered = tuple(inputs)
        for child in spec.children.values():
            made = None if made is None else self.child(child, made, path)
        return made

    def _each_step(self, spec: LayerSpec, x: Tensor, path: str, mask: Tensor | None) -> Lowered:
        """Batch and time as one axis, and apart again behind the layer."""
        inner = spec.children["layer"]
        if (which := mixes_samples(inner)) is not None:
            raise Refusal(
                "",
                f"the inner layer {which} works across the batch, which would mix time steps here",
            )
        steps = ops.reshape(x, (-1, *known_dims(x, 2)))
        if mask is not None and mask.rank > 2:
            mask = ops.reshape(mask, (-1, *known_dims(mask, 2)))
        elif mask is not None and reads_masks(inner):
            raise Refusal(
                "", "the inner layer reads a mask, but this mask has only one value per sample"
            )
        else:
            mask = None
        made = self.child(inner, (steps,), path, mask)
        if made is None:
            return None
        front = ops.dims(x)[:2]
        return tuple(ops.reshape(y, (*front, *known_dims(y, 1))) for y in made)

    def _both_ways(
        self,
        spec: LayerSpec,
        layer: Bidirectional,
        inputs: Sequence[Tensor],
        path: str,
        given: Mapping[str, Any],
    ) -> Lowered:
        states = initial_states(inputs[1:], given.get("initial_state"))
        half = len(states) // 2
        both: list[tuple[Tensor, ...]] = []
        sequences = False
        for part, own in (("forward_layer", states[:half]), ("backward_layer", states[half:])):
            child = spec.children[part]
            assert isinstance(child, LayerSpec)
            sequences = bool(child.config.get("return_sequences"))
            # whatever the option says, Keras makes zeros of masked steps here, and of the last output never
            zero = sequences and layer.zero_output_for_mask
            child = replace(child, config={**child.config, "zero_output_for_mask": zero})
            made = self.layer(child, inputs[:1], path, **{**given, "initial_state": tuple(own)})
            if made is None:
                return None
            both.append(made)
        (forward, *ahead), (backward, *behind) = both
        if sequences:
            backward = ops.Reverse(backward, (1,))
        return (*layer.merge(forward, backward), *ahead, *behind)


@dataclass
class _Run:
    """One run through a model: the values and masks of its tensors."""

    lowering: Lowering
    path: str
    values: dict[KerasTensor, Tensor]
    masks: dict[KerasTensor, Tensor] = field(default_factory=dict)
    changes: Changes = NO_CHANGES  # of masks, by the calls

    def call(self, call: Call) -> None:
        target = call.target
        if isinstance(target, LayerSpec) and target.class_name == "InputLayer":
            return
        if not all(edge in self.values for edge in call.tensors()):
            self.check_indices(call.tensors())
            self.lowering.look_at(target)  # something before it was refused
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
                self.masks.setdefault(KerasTensor(call, index), ByChance(mask, target))
            name_new(output, f"{self.path}{target.name}", self.lowering.names)

    def lowered(self, argument: Any) -> Any:
        """An argument of a call: its tensors as lowered before, its arrays as constants."""
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
        """Raise `ReadError` for a tensor that is an output which its call does not have."""
        for edge in edges:
            if edge not in self.values and KerasTensor(edge.call) in self.values:
                name = quoted(edge.call.target.name)
                raise ReadError(
                    f"the graph refers to output {edge.index} of layer {name}, which does not exist"
                )

    def mask_of(self, leaf: Any, call: Call | None) -> Tensor | None:
        """The mask that a call finds on a tensor; without a call, that at the end of the run."""
        if not isinstance(leaf, KerasTensor):
            return None
        changed, mask = self.changes.of(leaf, call)
        if not changed:
            return self.masks.get(leaf)
        return None if mask is None else ops.as_tensor(self.lowered(mask))

    def _travelling(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks that a call finds on the tensors that it works on."""
        return tuple(self.mask_of(leaf, call) for leaf in flatten(call.args))

    def _incoming(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks that a call works with: those of its tensors, or those that it gives."""
        travelling, given = self._travelling(call), call.kwargs.get("mask")
        if given is None:
            return travelling
        own = tuple(
            mask if mask is None else ops.as_tensor(mask) for mask in flatten(self.lowered(given))
        )
        return (*own, *travelling[len(own) :])

    def _passed_on(self, call: Call) -> tuple[Tensor | None, ...]:
        """The masks from which Keras makes those of the outputs of a call.

        A mask that the call gives counts in Keras 2, and from Keras 3.11 on where the call gives it
        by name (`previous_mask` in `Layer.__call__`).
        """
        by_name = "mask" not in call.by_position and self.lowering.rules.release >= (3, 11)
        given = self.lowering.keras2 or by_name
        return self._incoming(call) if given else self._travelling(call)

    def _inputs(self, call: Call) -> tuple[Tensor, ...] | None:
        """The tensors that a call works on; None, and a problem, where one is something else."""
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
        given, travelling = self._incoming(call), self._travelling(call)
        if (
            not self.lowering.keras2
        ):  # Keras 3 leaves the mask of an input where None is given for it
            given = tuple(
                own if own is not None else mask
                for own, mask in zip(given, travelling, strict=True)
            )
        outputs, masks = self.lowering.model(model, inputs, given, f"{self.path}{model.name}/")
        self.masks |= {
            KerasTensor(call, i): mask for i, mask in enumerate(masks) if mask is not None
        }
        return outputs

    def _supports_call_of_model(self, call: Call, model: KerasModel, count: int) -> bool:
        """Whether a nested model can be lowered with the arguments of a call; notes what it cannot."""
        wanted, problems = len(model.input_tensors), len(self.lowering.problems)
        if count != wanted:
            self.lowering.refuse(model, f"it is called on {count} tensors but has {wanted} inputs")
        if len(flatten(call.kwargs.get("mask"))) > count:
            self.lowering.refuse(
                model, f"it is called with more masks than it has inputs ({count})", "mask", "…"
            )
        for name, value in call.kwargs.items():
            if value is not None and name != "mask" and not self._says_nothing(name, model, value):
                reason = IN_TRAINING if name in TRAINING_ONLY else UNKNOWN_ARGUMENT
                self.lowering.refuse(model, reason, name, shown(value))
        unknown = [
            edge for edge in call.tensors() if self.changes.object_of(edge) in self.changes.unknown
        ]
        for edge in unknown:
            if sum(edge in each.tensors() for each in self.changes.order) > 1:
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
            return None  # `refusals` says why
        inputs = self._inputs(call)
        if inputs is None:
            return None
        if is_plain_identity(spec):
            outputs: Lowered = self._identity(call, spec, inputs)
        else:
            given = self._given(call, spec)
            outputs = (
                None
                if given is None
                else self.lowering.layer(spec, inputs, f"{self.path}{spec.name}/", **given)
            )
        mask = self._mask(call, spec, inputs) if outputs is not None else None
        if mask is not None:
            self.masks[KerasTensor(call)] = mask
            if (
                spec.class_name == "Bidirectional"
                and spec.config.get("merge_mode", "concat") is None
            ):
                self.masks[KerasTensor(call, 1)] = mask
        return outputs

    def _kept_mask(
        self, call: Call, target: LayerSpec | Operation, output: Tensor
    ) -> Tensor | None:
        """The mask of an argument that a call may hand on as it is, with whatever hangs on it."""
        wraps = (
            target.class_name == "SpectralNormalization"
        )  # a layer that sets the mask of what it makes
        same = (edge for edge in call.tensors() if wraps or unchanged(output, self.values[edge]))
        return next((mask for edge in same if (mask := self.mask_of(edge, call)) is not None), None)

    def _identity(self, call: Call, spec: LayerSpec, inputs: tuple[Tensor, ...]) -> Lowered:
        training = call.kwargs.get("training")
        if not self._says_nothing("training", spec, training):
            self.lowering.refuse(spec, IN_TRAINING, "training", True)
        structure = isinstance(
            call.args[0], Mapping | tuple
        )  # it is handed on as it is, with all that it holds
        return inputs if structure else inputs[:1]

    def _says_nothing(self, argument: str, target: LayerSpec | KerasModel, value: Any) -> bool:
        """Whether an argument of a call does not change what is computed at inference."""
        if argument not in TRAINING_ONLY or isinstance(value, KerasTensor | np.ndarray):
            return False
        recorded = target.class_name in IMAGES and not self.lowering.keras2
        return (
            not value
            or recorded
            or (isinstance(target, KerasModel) and not acts_in_training(target))
        )

    def _given(self, call: Call, spec: LayerSpec) -> dict[str, Any] | None:
        """The arguments of the call that the layer takes; None, and a problem, where it takes one not."""
        takes, problems = takes_of(spec), len(self.lowering.problems)
        given: dict[str, Any] = {}
        for name, value in call.kwargs.items():
            if value is None or self._says_nothing(name, spec, value):
                continue
            if name == "mask" and ({"mask", "masks"} & {*takes} or name in unread_of(spec)):
                continue  # `_masks_given` reads it
            if name not in takes:
                self.lowering.refuse(spec, UNKNOWN_ARGUMENT, name, shown(value))
            given[name] = self.lowered(value)
        if len(self.lowering.problems) > problems:
            return None
        return given | self._masks_given(call, spec, given)

    def _masks_given(self, call: Call, spec: LayerSpec, given: Mapping[str, Any]) -> dict[str, Any]:
        """The masks that a layer is called with.

        A layer that takes one argument of tensors finds its mask as `mask`, be it given or travel with the tensor;
        one that takes several, those of the names that it has for them. Layers with initial states take several, and
        have no such names, so that only Keras 2 gives them a mask that travels.
        """
        takes, incoming, masks = takes_of(spec), self._incoming(call), dict[str, Any]()
        explicit = call.kwargs.get("mask") is not None
        if "initial_state" in takes:
            started = given.get("initial_state") is not None
            if incoming[0] is not None and (explicit or self.lowering.keras2 or not started):
                masks["mask"] = incoming[0]
                masks["zeros_first"] = self.lowering.keras2
        elif "mask" in takes and incoming and incoming[0] is not None:
            masks["mask"] = incoming[0]
        # layers that merge have taken their masks into account since they join them by "any"
        heeds = spec.class_name not in MERGES or self.lowering.rules.merging == "any"
        if "masks" in takes and heeds and any(mask is not None for mask in incoming):
            masks["masks"] = incoming
        if "uniform" in takes:
            masks["uniform"] = self.lowering.rules.release < (3, 10)
        for name, edge in arguments_of(call).items():
            own, overruled = f"{name}_mask", name in OVERRULED.get(spec.class_name, ())
            if own in takes and (overruled or own not in given):
                masks[own] = self.mask_of(edge, call)
        return masks

    def _mask(self, call: Call, spec: LayerSpec, inputs: tuple[Tensor, ...]) -> Tensor | None:
        """The mask of the first output, by the rules that masks.py describes."""
        name, incoming = spec.class_name, self._passed_on(call)
        if name == "Embedding" or (
            name == "ReversibleEmbedding" and not call.kwargs.get("reverse")
        ):
            return ops.not_equal(inputs[0], 0) if spec.config.get("mask_zero") else None
        if name == "Masking":
            return ops.any_(
                ops.not_equal(inputs[0], float(spec.config.get("mask_value") or 0.0)), -1
            )
        if self.lowering.rules.passes(spec):
            return incoming[0] if incoming else None
        return self._merged_mask(spec, incoming, inputs)

    def _merged_mask(
        self, spec: LayerSpec, incoming: tuple[Tensor | None, ...], inputs: tuple[Tensor, ...]
    ) -> Tensor | None:
        known, merging = (
            [mask for mask in incoming if mask is not None],
            self.lowering.rules.merging,
        )
        if not known or not merging:
            return None
        if spec.class_name in MERGES and (len(known) == len(incoming) or merging == "all"):
            return reduce(
                ops.logical_and if merging == "all" else ops.logical_or, dict.fromkeys(known)
            )
        if spec.class_name == "Concatenate":
            axis = int(spec.config.get("axis", -1))
            if len(set(incoming)) == 1 and axis in (-1, inputs[0].rank - 1):
                return known[0]
            return (ops.all_ if merging == "all" else ops.any_)(
                concatenated(incoming, inputs, axis), -1
            )
        return None


def unchanged(made: Tensor, x: Tensor) -> bool:
    """Whether a tensor is another one, or that in a shape that is the same."""
    return made is x or (isinstance(made, ops.Reshape) and made.x is x and made.shape == x.shape)


def shown(value: Any) -> Any:
    """A value as a message tells it: nothing that is long."""
    if isinstance(value, tuple):
        return tuple(map(shown, value))
    return value if value is None or isinstance(value, bool | int | float | str) else "…"


def is_plain_identity(spec: LayerSpec) -> bool:
    """Whether a layer passes its input on, and is nothing that wraps another."""
    return is_identity(spec) and spec.class_name not in ("SpectralNormalization", "TimeDistributed")


def takes_of(spec: LayerSpec) -> tuple[str, ...]:
    """The arguments of a call that a layer's lowering takes by name."""
    cls = LAYERS.get(spec.class_name)
    return cls.takes if cls is not None else ()


def unread_of(spec: LayerSpec) -> tuple[str, ...]:
    """The arguments of a call that a layer of Keras takes and does not read at inference."""
    cls = LAYERS.get(spec.class_name)
    return cls.unread if cls is not None else ()


def reads_masks(target: LayerSpec | KerasModel | Operation) -> bool:
    """Whether what is computed depends on a mask that comes with the input."""
    if isinstance(target, KerasModel):
        return any(reads_masks(inner) for inner in target.targets())
    if isinstance(target, Operation):
        return False
    if target.class_name in ("TimeDistributed", "SpectralNormalization"):
        return any(reads_masks(child) for child in target.children.values())
    return any(name.endswith(("mask", "masks")) for name in takes_of(target))


def makes_mask(target: LayerSpec | KerasModel) -> bool:
    """Whether a mask begins in a layer, or in a part of it."""
    parts = target.targets() if isinstance(target, KerasModel) else target.children.values()
    own = isinstance(target, LayerSpec) and (
        target.class_name == "Masking" or bool(target.config.get("mask_zero"))
    )
    return own or any(makes_mask(part) for part in parts if not isinstance(part, Operation))


def mixes_samples(target: LayerSpec | KerasModel | Operation) -> str | None:
    """The name of a layer or operation that works across the batch, if there is one."""
    if isinstance(target, KerasModel):
        return next(
            (name for inner in target.targets() if (name := mixes_samples(inner)) is not None), None
        )
    if isinstance(target, LayerSpec) and target.children:
        return next(
            (
                name
                for child in target.children.values()
                if (name := mixes_samples(child)) is not None
            ),
            None,
        )
    axis = target.config.get("axis", -1)
    axes = axis if isinstance(axis, list | tuple) else (axis,)
    whole = isinstance(target, Operation) and axis is None and "axis" in target.config
    return target.name if 0 in axes or whole or target.class_name in ACROSS_SAMPLES else None


ACROSS_SAMPLES = frozenset(("MelSpectrogram",))
"""Layers in which one sample of a batch bears upon another."""

OVERRULED: Mapping[str, tuple[str, ...]] = {"MultiHeadAttention": ("query",)}
"""Layer → arguments whose travelling mask counts even where the call gives another."""


def concatenated(masks: Sequence[Tensor | None], inputs: Sequence[Tensor], axis: int) -> Tensor:
    """The masks of what is concatenated, each spread over its input, missing ones as ones, one after the other."""
    spread = []
    for mask, x in zip(masks, inputs, strict=True):
        ones = ops.greater_equal(ops.Abs(ops.floats(x)), 0.0)
        wide = ones if mask is None else mask
        while wide.rank < x.rank:
            wide = ops.expand_dims(wide, wide.rank)
        spread.append(ops.logical_and(wide, ones))
    return ops.concat(spread, axis)


def known_dims(x: Tensor, start: int) -> tuple[Any, ...]:
    """The sizes of the axes from one on."""
    return ops.dims(x)[start:]
