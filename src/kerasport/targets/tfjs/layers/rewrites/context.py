"""Where a rewrite works: one call, what is known of it, and how native layers are put in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, takewhile, zip_longest
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kerasport.errors import Problem, Refusal, TooLargeError, UnsupportedPart
from kerasport.frontends.keras.dtypes import Dtypes
from kerasport.frontends.keras.infer import Inference
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.base import Layer
from kerasport.frontends.keras.masks import BY_BACKEND, Masks
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
    rebuild,
)
from kerasport.targets.tfjs.layers.execution import output_count
from kerasport.weights import ComputedWeight, Shape, Weight

Rewrite: TypeAlias = "Callable[[RewriteContext], KerasTensor | tuple[KerasTensor, ...] | None]"
"""What stands for the outputs of a call; None leaves the call as it is, since TF.js has it natively."""
Respelling: TypeAlias = Callable[[LayerSpec], tuple[LayerSpec, str]]
"""A layer that computes the same and that TF.js has, and why it does not train as in Keras, if so."""


UNKNOWN = "the shapes of its inputs are not known"


@dataclass(frozen=True)
class RewriteContext:
    """A call of a layer, or of an operation, that a rewrite may replace.

    Everything that `add` makes is a layer of Keras by name and options; where TF.js lacks that one, it is rewritten in
    its turn. The layer that makes the result gets the name of the one that it stands for.
    """

    call: Call
    layer: Any  # the options and weights of a layer, read; None of an operation
    rewriter: Rewriter
    names: dict[str, int] = field(default_factory=dict)  # parts that there are already

    @property
    def spec(self) -> Any:
        """The layer or operation that is called."""
        return self.call.target

    @property
    def inputs(self) -> tuple[KerasTensor, ...]:
        """The tensors that it is called on."""
        return tuple(leaf for leaf in flatten(self.call.args) if isinstance(leaf, KerasTensor))

    @property
    def inputs_of_all(self) -> tuple[KerasTensor, ...]:
        """The tensors in all its arguments, each once."""
        return tuple(dict.fromkeys(self.call.tensors()))

    @property
    def x(self) -> KerasTensor:
        """The first of them."""
        return self.inputs[0]

    @property
    def shape(self) -> Shape:
        """Shape of the first input."""
        return self.shape_of(self.x)

    @property
    def masked(self) -> bool:
        """Whether a mask travels with an input."""
        return any(mask is not None for mask in self.rewriter.masks.incoming(self.call))

    def shape_of(self, tensor: KerasTensor) -> Shape:
        """Shape of a tensor that the call takes, or that `add` made.

        Raises:
            Refusal: it is not known.
        """
        shape = self.rewriter.inference.shapes.get(tensor)
        if shape is None:
            raise Refusal("", UNKNOWN)
        return shape

    def add(
        self,
        class_name: str,
        *inputs: KerasTensor,
        part: str = "",
        weights: Sequence[Weight] = (),
        frozen: bool = False,
        **config: Any,
    ) -> KerasTensor:
        """Call a new layer with the options `config` and return its first output; see `call_layer`."""
        return self.call_layer(
            class_name, inputs, config, part=part, weights=weights, frozen=frozen
        )

    def call_layer(
        self,
        class_name: str,
        inputs: Sequence[KerasTensor],
        config: Mapping[str, Any],
        *,
        part: str = "",
        weights: Sequence[Weight] = (),
        children: Mapping[str, LayerSpec | KerasModel] | None = None,
        frozen: bool = False,
        initial_state: Sequence[KerasTensor] = (),
    ) -> KerasTensor:
        """Call a new layer and return its first output; `outputs` returns all of them.

        Args:
            class_name: class of the layer in Keras.
            inputs: the tensors that the layer is called on.
            config: options of the layer. Its `name` and `trainable` are ignored.
            part: suffix of the name of the layer, by default its class.
            weights: weights of the layer, in the order of Keras.
            children: the layers inside a wrapper.
            frozen: whether the weights are constants that must never be trained.
            initial_state: initial states of a recurrent layer.
        """
        trainable = not frozen and self.spec.config.get("trainable") is not False
        name = self._name(part or _snake(class_name))
        options = {key: value for key, value in config.items() if key != "name"}
        options["trainable"] = trainable
        spec = self.rewriter.part(
            self.spec, name, class_name, options, tuple(weights), children or {}
        )
        distinct = self._distinct(tuple(inputs))
        states = {"initial_state": tuple(initial_state)} if initial_state else {}
        return self.rewriter.made(
            Call(spec, distinct if len(distinct) == 1 else (distinct,), states)
        )

    def outputs(self, first: KerasTensor) -> tuple[KerasTensor, ...]:
        """All outputs of a layer that `add` called, by the first of them."""
        return self.rewriter.together[first]

    def _distinct(self, inputs: tuple[KerasTensor, ...]) -> tuple[KerasTensor, ...]:
        """The tensors, all different: TF.js loses count of one that a layer is given twice."""
        distinct: list[KerasTensor] = []
        for tensor in inputs:
            distinct.append(
                self.add("Activation", tensor, part="again") if tensor in distinct else tensor
            )
        return tuple(distinct)

    def _name(self, part: str) -> str:
        count = self.names[part] = self.names.get(part, 0) + 1
        return f"{self.spec.name}_{part}" + (f"_{count}" if count > 1 else "")

    def again(
        self,
        *inputs: KerasTensor,
        part: str = "",
        class_name: str = "",
        weights: Sequence[Weight] | None = None,
        **changes: Any,
    ) -> KerasTensor:
        """The same layer with other options; a change to `...` leaves an option out.

        On the same inputs, with the same weights and of the same class, unless others are given.
        """
        options = {**self.spec.config, **changes}
        return self.call_layer(
            class_name or self.spec.class_name,
            inputs or self.inputs,
            {key: value for key, value in options.items() if value is not ...},
            part=part,
            weights=self.spec.weights if weights is None else weights,
            children=self.spec.children,
        )

    def carried(self, *weights: str, **to: str) -> dict[str, Any]:
        """What training does to weights, for a layer that holds them on; `to` are new names of weights."""
        names = {name: name for name in weights} | to
        return {
            f"{new}_{option}": self.spec.config[f"{old}_{option}"]
            for old, new in names.items()
            for option in ("regularizer", "constraint")
            if self.spec.config.get(f"{old}_{option}")
        }

    def untrainable(self, reason: str) -> None:
        """Say that the result is right at inference but does not train as in Keras, and why."""
        self.rewriter.untrainable.setdefault(self.spec, reason)


def _snake(class_name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).lower()


# ------------------------------------------------------------------------------------------------ weights


def constant(values: npt.ArrayLike) -> Weight:
    """A weight of these numbers."""
    array = np.asarray(values, np.float32)
    return ComputedWeight(array.dtype, array.shape, lambda: array)


def derived(
    weight: Weight, shape: Sequence[int], compute: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Weight:
    """A weight that is made of another when it is written; `shape` is that of the result."""
    return ComputedWeight(weight.dtype, tuple(shape), lambda: compute(weight.read()))


# ----------------------------------------------------------------------------------------------- the stage


@dataclass
class Rewriter:
    """Applies rewrites to the calls of one model, each with its inputs replaced already."""

    rewrites: Mapping[str, Rewrite]  # by class name, of layers
    operations: Sequence[Rewrite]  # of functions that are called as nodes
    general: Sequence[Rewrite]  # tried where those have nothing to say
    call_arguments: Mapping[str, Sequence[str]]  # class → call arguments that its rewrite reads
    respellings: Mapping[str, Respelling]  # by class name, of layers wherever they are
    masks: Masks
    inference: Inference = field(default_factory=Inference)
    dtypes: Dtypes = field(default_factory=Dtypes)
    origins: dict[KerasTensor, Call] = field(
        default_factory=dict
    )  # result → the call that it stands for
    parents: dict[LayerSpec, Any] = field(
        default_factory=dict
    )  # part → the layer that it is a part of
    untrainable: dict[Any, str] = field(default_factory=dict)
    together: dict[KerasTensor, tuple[KerasTensor, ...]] = field(
        default_factory=dict
    )  # first output of a part → all
    problems: list[Problem] = field(default_factory=list)
    _parts: dict[tuple[Any, ...], LayerSpec] = field(default_factory=dict)
    _renamed: dict[tuple[LayerSpec, str], LayerSpec] = field(default_factory=dict)

    def step(self, call: Call) -> Call | tuple[KerasTensor, ...]:
        """What stands for a call: itself, or the tensors that make its outputs."""
        result = self._rewritten(call)
        if result is None:
            self._know(call)
            return call
        tensors = self._named(call, result if isinstance(result, tuple) else (result,))
        for tensor, mask in zip_longest(tensors, self.masks.outputs(call)[: len(tensors)]):
            self.origins[tensor] = call
            self.masks.of[tensor] = mask
        return tensors

    def made(self, call: Call) -> KerasTensor:
        """The first output of a call that a rewrite makes, which may be rewritten in its turn."""
        result = self.step(call)
        outputs = self._outputs(call) if isinstance(result, Call) else result
        self.together[outputs[0]] = outputs
        return outputs[0]

    def _outputs(self, call: Call) -> tuple[KerasTensor, ...]:
        """All outputs of a call: those whose shapes are known, or, of a refused layer, as many as it has."""
        known = takewhile(
            lambda tensor: tensor in self.inference.shapes,
            (KerasTensor(call, index) for index in count()),
        )
        of_refused = output_count(call.target) if isinstance(call.target, LayerSpec) else 1
        return tuple(known) or tuple(KerasTensor(call, index) for index in range(of_refused))

    def layer(self, spec: LayerSpec, original: LayerSpec) -> LayerSpec:
        """A layer of the model, respelled; remembers that the new layer stands for the original."""
        respelled = self.respelled(spec)
        if respelled is not original:
            self.parents[respelled] = original
        return respelled

    def respelled(self, spec: LayerSpec) -> LayerSpec:
        """The layer, or another one that stands for it; those inside were respelled before."""
        if spec.custom or spec.class_name not in self.respellings:
            return spec
        made, reason = self.respellings[spec.class_name](spec)
        if reason:
            self.untrainable[made] = reason
        return made

    def inside(self, spec: LayerSpec, shape: Shape) -> KerasModel | None:
        """A model of what stands for a layer on an input of that shape; None where it stands as it is."""
        source = Call(
            LayerSpec(
                f"{spec.name}_input", "InputLayer", {"batch_shape": list(shape), "dtype": "float32"}
            )
        )
        call = Call(spec, (KerasTensor(source),))
        alone = KerasModel(
            spec.name, "functional", (source, call), KerasTensor(source), KerasTensor(call)
        )
        made = rebuild(alone, self.step, inside=False)
        return None if any(each.target is spec for each in made.calls) else made

    def _rewritten(self, call: Call) -> KerasTensor | tuple[KerasTensor, ...] | None:
        rewrites = self._rewrites_of(call.target)
        if not rewrites or (isinstance(call.target, LayerSpec) and self._has_more(call)):
            return None
        layer = self._read(call.target) if isinstance(call.target, LayerSpec) else None
        if isinstance(call.target, LayerSpec) and (
            layer is None or not layer.works_on(len(flatten(call.args)))
        ):
            return None
        self.inference.check(call)
        try:
            results = (rewrite(RewriteContext(call, layer, self)) for rewrite in rewrites)
            result = next((result for result in results if result is not None), None)
            self._check_mask(call, result)
        except Refusal as refusal:
            self.problems.append(self._problem(call.target, refusal))
            return None
        except TooLargeError as error:
            self.problems.append(
                self._problem(call.target, Refusal("", error.reason, error.remedy))
            )
            return None
        return result

    def _check_mask(self, call: Call, result: KerasTensor | tuple[KerasTensor, ...] | None) -> None:
        """A layer of the model that stops masks and changes nothing may hand on the very tensor, with its mask."""
        first = result[0] if isinstance(result, tuple) else result
        masked = first in call.tensors() and self.masks.of.get(first) is not None
        if masked and call.target not in self.parents and not any(self.masks.outputs(call)):
            raise Refusal("", BY_BACKEND)

    def _has_more(self, call: Call) -> bool:
        """Whether a layer is given something besides tensors, which a rewrite would lose; it is told of later."""
        heeded = self.call_arguments.get(call.target.class_name, ())
        others = [
            v
            for name, v in call.kwargs.items()
            if name not in heeded and v is not None and v is not False
        ]
        return bool(others) or not all(isinstance(leaf, KerasTensor) for leaf in flatten(call.args))

    def _rewrites_of(self, target: Any) -> Sequence[Rewrite]:
        if (
            isinstance(target, KerasModel)
            or target.class_name == "InputLayer"
            or getattr(target, "custom", "")
        ):
            return ()
        if isinstance(target, Operation):
            return self.operations
        own = (self.rewrites[target.class_name],) if target.class_name in self.rewrites else ()
        return (*own, *self.general)

    def _problem(self, target: Any, refusal: Refusal) -> Problem:
        root = self.root(target)
        value = target.config.get(refusal.option) if refusal.option else None
        return Problem(
            root.name, root.class_name, refusal.reason, refusal.option, value, refusal.remedy
        )

    def _read(self, spec: LayerSpec) -> Layer | None:
        try:
            return LAYERS[spec.class_name].from_spec(spec) if spec.class_name in LAYERS else None
        except UnsupportedPart:
            return None  # told of where the layer is spelled

    def _know(self, call: Call) -> None:
        self.inference.call(call)
        self.dtypes.call(call)
        if not isinstance(call.target, LayerSpec) or call.target.class_name != "InputLayer":
            self.masks.of |= {
                KerasTensor(call, index): mask
                for index, mask in enumerate(self.masks.outputs(call))
            }

    def _named(self, call: Call, results: tuple[KerasTensor, ...]) -> tuple[KerasTensor, ...]:
        """The results, the first of them made by a layer of the name that was called."""
        first = results[0]
        if first in call.tensors():
            name, options = call.target.name, {"activation": "linear"}
            end = Call(self.part(call.target, name, "Activation", options), (first,))
        else:
            end = replace(first.call, target=self._called(first.call.target, call.target.name))
        self._know(end)
        return tuple(
            KerasTensor(end, each.index) if each.call is first.call else each for each in results
        )

    def _called(self, spec: Any, name: str) -> LayerSpec:
        if (spec, name) not in self._renamed:
            self._renamed[spec, name] = replace(spec, name=name)
            self.parents[self._renamed[spec, name]] = self.parents[spec]
        return self._renamed[spec, name]

    def part(
        self,
        parent: Any,
        name: str,
        class_name: str,
        config: Mapping[str, Any],
        weights: tuple[Weight, ...] = (),
        children: Mapping[str, LayerSpec | KerasModel] | None = None,
    ) -> LayerSpec:
        """A layer that stands for a part of another; the same one, with the same weights, whenever that is called."""
        key = (parent, name, class_name, repr(sorted(config.items(), key=lambda item: item[0])))
        if key not in self._parts:
            self._parts[key] = self.respelled(
                LayerSpec(name, class_name, dict(config), weights, children or {})
            )
            self.parents[self._parts[key]] = parent
        return self._parts[key]

    def root(self, target: Any) -> Any:
        """The layer of the model that a part stands for."""
        while target in self.parents:
            target = self.parents[target]
        return target
