"""The content of a Keras file, in the spelling of Keras 3.

A `KerasModel` is a graph of calls. A call applies a layer, an operation or another model to
tensors; a tensor is one output of a call. Nothing is changed in place: a stage that needs another
model builds one. Calls, layers and models compare by identity, so a layer called twice is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.dialect import Dialect
from kerasport.releases import Release, release_of
from kerasport.weights import Shape, Weight


@dataclass(frozen=True, eq=False)
class LayerSpec:
    """A layer as its file describes it.

    Attributes:
        name: its name.
        class_name: its class in Keras.
        config: its options, in the spelling of Keras 3.
        weights: its weights, in the order in which Keras creates them.
        children: the layers and models inside a wrapper.
        custom: registered name or module of a class that is not one of Keras; else empty.
        note: a change that the reader made and that a user should know; may be empty.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    weights: tuple[Weight, ...] = ()
    children: Mapping[str, LayerSpec | KerasModel] = field(default_factory=dict)
    custom: str = ""
    note: str = ""


TF_LAMBDAS = (
    "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod",
    "InstanceProperty",
)  # fmt: skip
"""Classes of operations that call a TensorFlow function, in files of Keras 2."""


@dataclass(frozen=True, eq=False)
class Operation:
    """A call of a `keras.ops` function that a model records. It has no weights."""

    name: str
    class_name: str
    config: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer, an operation or a model.

    Attributes:
        target: the layer, operation or model that is called.
        args: nested tuples and dicts of tensors and constants. For a layer or model, they are the
            arguments with the tensors that it works on (`Layer.tensors`).
        kwargs: the other arguments by their names in Keras. For an operation, `args` and `kwargs`
            are as in the file.
        by_position: names of the arguments in `kwargs` that the file passes by position. Keras
            passes on a `mask` only if it is passed by name.
        declared: index of an output → its shape in the file.
    """

    target: LayerSpec | Operation | KerasModel
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    by_position: frozenset[str] = frozenset()
    declared: Mapping[int, Shape] = field(default_factory=dict)

    def tensors(self) -> tuple[KerasTensor, ...]:
        """All tensors among the arguments, in order."""
        return tuple(
            t for t in flatten((self.args, dict(self.kwargs))) if isinstance(t, KerasTensor)
        )


@dataclass(frozen=True)
class KerasTensor:
    """One output of a call."""

    call: Call
    index: int = 0

    def __repr__(self) -> str:
        return f"<output {self.index} of {self.call.target.name!r}>"


@dataclass(frozen=True, eq=False)
class KerasModel:
    """A model: inputs, outputs, and the calls between them.

    Attributes:
        name: its name.
        kind: how Keras builds it.
        calls: all calls, each after those that compute its inputs.
        inputs: a tensor, or nested tuples and dicts of tensors.
        outputs: a tensor, or nested tuples and dicts of tensors.
        trainable: whether it is trainable as a whole.
        writer: version of the Keras that wrote the file, such as "3.15.1"; empty if unknown.
        compile_config: the config of `compile`, as in the file.
        optimizer: variables of the optimizer, in the order in which Keras creates them.
        class_name: its class in Keras.
        custom: registered name or class of a subclass that is not one of Keras; else empty.
    """

    name: str
    kind: Literal["sequential", "functional"]
    calls: tuple[Call, ...]
    inputs: Any
    outputs: Any
    trainable: bool = True
    writer: str = ""
    compile_config: Mapping[str, Any] | None = None
    optimizer: tuple[Weight, ...] = ()
    class_name: str = "Functional"
    custom: str = ""

    @property
    def release(self) -> Release:
        """Major and minor version of the Keras that wrote the file; `ASSUMED` if unknown."""
        return release_of(self.writer)

    @property
    def dialect(self) -> Dialect:
        """The rules of that release. For a nested model, use those of the whole model."""
        return Dialect.of(self.release)

    @property
    def input_tensors(self) -> tuple[KerasTensor, ...]:
        """The inputs as a flat tuple."""
        return tuple(flatten(self.inputs))

    @property
    def output_tensors(self) -> tuple[KerasTensor, ...]:
        """The outputs as a flat tuple."""
        return tuple(flatten(self.outputs))

    def targets(self) -> Iterator[LayerSpec | Operation | KerasModel]:
        """The layers, operations and models that are called, each once, in order of first call."""
        yield from self.calls_of

    @cached_property
    def calls_of(self) -> Mapping[LayerSpec | Operation | KerasModel, Sequence[Call]]:
        """Layer, operation or model, in order of its first call → all of its calls."""
        calls: dict[LayerSpec | Operation | KerasModel, list[Call]] = {}
        for call in self.calls:
            calls.setdefault(call.target, []).append(call)
        return calls

    @cached_property
    def outputs_used(self) -> Mapping[Call, Collection[int]]:
        """Call → indices of its outputs that another call takes or the model returns."""
        used: dict[Call, set[int]] = {}
        for tensor in (
            *(taken for call in self.calls for taken in call.tensors()),
            *self.output_tensors,
        ):
            used.setdefault(tensor.call, set()).add(tensor.index)
        return used

    def walk(self, prefix: str = "") -> Iterator[tuple[str, LayerSpec | Operation]]:
        """Yield (path, layer or operation), each once, including those in models and wrappers."""
        yield from _walk(self.targets(), prefix, set())


def _walk(
    targets: Iterable[LayerSpec | Operation | KerasModel], prefix: str, seen: set[int]
) -> Iterator[tuple[str, LayerSpec | Operation]]:
    for target in targets:
        if id(target) in seen:
            continue
        seen.add(id(target))
        path = f"{prefix}{target.name}"
        if isinstance(target, KerasModel):
            yield from _walk(target.targets(), f"{path}/", seen)
            continue
        yield path, target
        if isinstance(target, LayerSpec):
            yield from _walk(target.children.values(), f"{path}/", seen)


def flatten(structure: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dicts. Dicts are sorted by key, as in Keras."""
    if isinstance(structure, tuple | list):
        return [leaf for item in structure for leaf in flatten(item)]
    if isinstance(structure, LEAVES):
        return [structure]
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    return [structure]


LEAVES = (KerasTensor, str, int, float, type(None))
"""Types of most leaves. A test for these is much faster than one for `Mapping`."""


def map_tensors(structure: Any, function: Callable[[KerasTensor], Any]) -> Any:
    """The same structure with `function` applied to its tensors."""
    if isinstance(structure, KerasTensor):
        return function(structure)
    if isinstance(structure, Mapping):
        return {key: map_tensors(value, function) for key, value in structure.items()}
    if isinstance(structure, tuple | list):
        return tuple(map_tensors(item, function) for item in structure)
    return structure


Step: TypeAlias = Callable[[Call], "Call | tuple[KerasTensor, ...]"]


def _same(value: Any) -> Any:
    return value


def rebuild(
    model: KerasModel,
    step: Step = _same,
    *,
    layer: Callable[[LayerSpec, LayerSpec], LayerSpec] = lambda spec, _: spec,
    whole: Callable[[KerasModel], KerasModel] = _same,
    inside: bool = True,
) -> KerasModel:
    """Replace the calls of a model, and of the models inside it.

    Shared layers stay shared. Calls that no output depends on are dropped, except inputs.

    Args:
        model: the model, which is not changed.
        step: maps a call, whose inputs and target are already replaced, to another call, or to the
            tensors that replace its outputs.
        layer: maps a layer, whose children are already replaced, and the original layer to the
            layer to use instead. It is called once for each layer, also for those inside wrappers.
        whole: maps each rebuilt model, nested ones first.
        inside: whether to rebuild nested models, too.
    """
    return _Rebuilder(step, layer, whole, inside).model(model)


@dataclass
class _Rebuilder:
    step: Step
    layer: Callable[[LayerSpec, LayerSpec], LayerSpec]
    whole: Callable[[KerasModel], KerasModel]
    inside: bool
    done: dict[LayerSpec | KerasModel, Any] = field(default_factory=dict)

    def target(self, target: Any) -> Any:
        if isinstance(target, Operation) or (isinstance(target, KerasModel) and not self.inside):
            return target
        if target not in self.done:
            self.done[target] = (
                self.model(target) if isinstance(target, KerasModel) else self._spec(target)
            )
        return self.done[target]

    def _spec(self, spec: LayerSpec) -> LayerSpec:
        children = {part: self.target(child) for part, child in spec.children.items()}
        same = all(children[part] is child for part, child in spec.children.items())
        return self.layer(spec if same else replace(spec, children=children), spec)

    def model(self, model: KerasModel) -> KerasModel:
        # outputs of removed calls → the tensors that replace them
        tensors: dict[KerasTensor, KerasTensor] = {}
        # call → the call that replaces it
        whole: dict[Call, Call] = {}
        calls: list[Call] = []
        known: dict[Call, None] = {}

        def renew(tensor: KerasTensor) -> KerasTensor:
            if tensor in tensors:
                return tensors[tensor]
            # a removed call has a replacement for each output that exists
            if tensor.call not in whole:
                name = quoted(tensor.call.target.name)
                raise ReadError(
                    f"the graph refers to output {tensor.index} of layer {name}, "
                    "which does not exist"
                )
            return KerasTensor(whole[tensor.call], tensor.index)

        for call in model.calls:
            moved = replace(
                call,
                target=self.target(call.target),
                args=map_tensors(call.args, renew),
                kwargs={key: map_tensors(value, renew) for key, value in call.kwargs.items()},
            )
            result = self.step(moved)
            if isinstance(result, Call):
                calls += [*_added(result.tensors(), known), result]
                whole[call] = result
            else:
                tensors |= {KerasTensor(call, index): tensor for index, tensor in enumerate(result)}
                calls += _added(result, known)
            known |= dict.fromkeys(calls[len(known) :])
        inputs = map_tensors(model.inputs, lambda tensor: _entry(renew(tensor)))
        outputs = map_tensors(model.outputs, renew)
        return self.whole(
            replace(model, calls=needed(calls, inputs, outputs), inputs=inputs, outputs=outputs)
        )


def _added(tensors: Iterable[KerasTensor], known: Mapping[Call, None]) -> list[Call]:
    """The calls that the tensors depend on and that are not in `known`, in order."""
    order: dict[Call, None] = {}
    for tensor in tensors:
        if tensor.call not in known:
            order |= dict.fromkeys((*_added(tensor.call.tensors(), known), tensor.call))
    return list(order)


def _entry(tensor: KerasTensor) -> KerasTensor:
    """The input that a tensor depends on, if a step replaced an input by layers after it."""
    while tensor.call.tensors():
        tensor = tensor.call.tensors()[0]
    return tensor


def needed(calls: Iterable[Call], inputs: Any, outputs: Any) -> tuple[Call, ...]:
    """The calls that the outputs depend on, and the inputs, in the same order."""
    wanted = {tensor.call for tensor in flatten((inputs, outputs))}
    kept = []
    for call in reversed(tuple(calls)):
        if call in wanted:
            kept.append(call)
            wanted |= {tensor.call for tensor in call.tensors()}
    return tuple(reversed(kept))
