"""The context of a rewrite: one call, what is known about it, and how to replace it with layers."""

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
"""Returns the tensors that replace the outputs of a call, or None to keep the call."""
Respelling: TypeAlias = Callable[[LayerSpec], tuple[LayerSpec, str]]
"""Returns an equal layer that TF.js has, and why it trains differently from Keras, or ""."""

UNKNOWN = "the shapes of its inputs are not known"


@dataclass(frozen=True)
class RewriteContext:
    """A call of a layer, or of a function, that a rewrite may replace.

    The layers that `add` calls are Keras layers by class and options. If TF.js lacks one of them,
    it is rewritten in turn. The layer that computes the result gets the name of the replaced one.
    """

    call: Call
    layer: Any
    """The layer with its options and weights; None for a function."""
    rewriter: Rewriter
    names: dict[str, int] = field(default_factory=dict)
    """Name of a part → how many parts have it."""

    @property
    def spec(self) -> Any:
        """The called layer or operation."""
        return self.call.target

    @property
    def inputs(self) -> tuple[KerasTensor, ...]:
        """The tensors among the positional arguments."""
        return tuple(leaf for leaf in flatten(self.call.args) if isinstance(leaf, KerasTensor))

    @property
    def inputs_of_all(self) -> tuple[KerasTensor, ...]:
        """The tensors among all arguments, each once."""
        return tuple(dict.fromkeys(self.call.tensors()))

    @property
    def x(self) -> KerasTensor:
        """The first input."""
        return self.inputs[0]

    @property
    def shape(self) -> Shape:
        """The shape of the first input, `[batch, ...]`."""
        return self.shape_of(self.x)

    @property
    def masked(self) -> bool:
        """Whether an input has a mask."""
        return any(mask is not None for mask in self.rewriter.masks.incoming(self.call))

    def shape_of(self, tensor: KerasTensor) -> Shape:
        """The shape of an input, or of a tensor that `add` returned.

        Raises:
            Refusal: the shape is not known.
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
        """Call a new layer with these options and return its first output; see `call_layer`."""
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
        return self.rewriter.added(
            Call(spec, distinct if len(distinct) == 1 else (distinct,), states)
        )

    def outputs(self, first: KerasTensor) -> tuple[KerasTensor, ...]:
        """All outputs of a call of `add`, given the first one."""
        return self.rewriter.together[first]

    def _distinct(self, inputs: tuple[KerasTensor, ...]) -> tuple[KerasTensor, ...]:
        """The tensors, with copies of repeated ones; see `with_distinct_inputs`."""
        distinct: list[KerasTensor] = []
        for tensor in inputs:
            repeated = tensor in distinct
            distinct.append(self.add("Activation", tensor, part="again") if repeated else tensor)
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
        """Call the same layer with other options; a change to `...` removes an option.

        Inputs, weights and class stay the same unless given.
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
        """Regularizers and constraints of weights, as options of the layer that takes the weights.

        Args:
            weights: names of weights that stay the same.
            to: name of a weight → its name in the new layer.
        """
        options = {}
        for old, new in ({name: name for name in weights} | to).items():
            for option in ("regularizer", "constraint"):
                if self.spec.config.get(f"{old}_{option}"):
                    options[f"{new}_{option}"] = self.spec.config[f"{old}_{option}"]
        return options

    def untrainable(self, reason: str) -> None:
        """Record why the result, which is exact at inference, trains differently from Keras."""
        self.rewriter.untrainable.setdefault(self.spec, reason)


def _snake(class_name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).lower()


# ------------------------------------------------------------------------------------------ weights


def constant(values: npt.ArrayLike) -> Weight:
    """A float32 weight with these values."""
    array = np.asarray(values, np.float32)
    return ComputedWeight(array.dtype, array.shape, lambda: array)


def derived(
    weight: Weight, shape: Sequence[int], compute: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Weight:
    """A weight of this shape that is computed from another weight when it is written."""
    return ComputedWeight(weight.dtype, tuple(shape), lambda: compute(weight.read()))


# ----------------------------------------------------------------------------------------- rewriter


@dataclass
class Rewriter:
    """Applies rewrites to the calls of one model, whose inputs are already replaced."""

    rewrites: Mapping[str, Rewrite]
    """Class of a layer → its rewrite."""
    operations: Sequence[Rewrite]
    """Rewrites of functions that are called as nodes."""
    general: Sequence[Rewrite]
    """Rewrites of any layer, tried if its own returns None."""
    call_arguments: Mapping[str, Sequence[str]]
    """Class of a layer → call arguments that its rewrite reads."""
    respellings: Mapping[str, Respelling]
    """Class of a layer, called or inside a wrapper → its respelling."""
    masks: Masks
    inference: Inference = field(default_factory=Inference)
    dtypes: Dtypes = field(default_factory=Dtypes)
    origins: dict[KerasTensor, Call] = field(default_factory=dict)
    """Result of a rewrite → the call that it replaces."""
    parents: dict[LayerSpec, Any] = field(default_factory=dict)
    """New layer → the layer or operation that it is a part of."""
    untrainable: dict[Any, str] = field(default_factory=dict)
    """Layer → why its rewrite trains differently from Keras."""
    together: dict[KerasTensor, tuple[KerasTensor, ...]] = field(default_factory=dict)
    """First output of an added call → all of its outputs."""
    problems: list[Problem] = field(default_factory=list)
    _parts: dict[tuple[Any, ...], LayerSpec] = field(default_factory=dict)
    _renamed: dict[tuple[LayerSpec, str], LayerSpec] = field(default_factory=dict)

    def step(self, call: Call) -> Call | tuple[KerasTensor, ...]:
        """The call itself, or the tensors that replace its outputs."""
        result = self._rewritten(call)
        if result is None:
            self._know(call)
            return call
        tensors = self._named(call, result if isinstance(result, tuple) else (result,))
        for tensor, mask in zip_longest(tensors, self.masks.outputs(call)[: len(tensors)]):
            self.origins[tensor] = call
            self.masks.of[tensor] = mask
        return tensors

    def added(self, call: Call) -> KerasTensor:
        """The first output of a call that a rewrite adds, after rewriting it in turn."""
        result = self.step(call)
        outputs = self._outputs(call) if isinstance(result, Call) else result
        self.together[outputs[0]] = outputs
        return outputs[0]

    def _outputs(self, call: Call) -> tuple[KerasTensor, ...]:
        """All outputs of a call: those with known shapes, or all of a refused layer."""
        known = takewhile(
            lambda tensor: tensor in self.inference.shapes,
            (KerasTensor(call, index) for index in count()),
        )
        of_refused = output_count(call.target) if isinstance(call.target, LayerSpec) else 1
        return tuple(known) or tuple(KerasTensor(call, index) for index in range(of_refused))

    def layer(self, spec: LayerSpec, original: LayerSpec) -> LayerSpec:
        """A layer of the model, respelled. Records which layer the new one replaces."""
        respelled = self.respelled(spec)
        if respelled is not original:
            self.parents[respelled] = original
        return respelled

    def respelled(self, spec: LayerSpec) -> LayerSpec:
        """The layer, or an equal one that TF.js has; its children are respelled before."""
        if spec.custom or spec.class_name not in self.respellings:
            return spec
        respelled, reason = self.respellings[spec.class_name](spec)
        if reason:
            self.untrainable[respelled] = reason
        return respelled

    def inside(self, spec: LayerSpec, shape: Shape) -> KerasModel | None:
        """A model that replaces a layer on an input of this shape; None if the layer stays."""
        config = {"batch_shape": list(shape), "dtype": "float32"}
        source = Call(LayerSpec(f"{spec.name}_input", "InputLayer", config))
        call = Call(spec, (KerasTensor(source),))
        alone = KerasModel(
            spec.name, "functional", (source, call), KerasTensor(source), KerasTensor(call)
        )
        rewritten = rebuild(alone, self.step, inside=False)
        return None if any(call.target is spec for call in rewritten.calls) else rewritten

    def _rewritten(self, call: Call) -> KerasTensor | tuple[KerasTensor, ...] | None:
        rewrites = self._rewrites_of(call.target)
        if not rewrites:
            return None
        layer = None
        if isinstance(call.target, LayerSpec):
            layer = self._read(call.target)
            if layer is None or self._has_more(call):
                return None
            if not layer.works_on(len(flatten(call.args))):
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
            too_large = Refusal("", error.reason, error.remedy)
            self.problems.append(self._problem(call.target, too_large))
            return None
        return result

    def _check_mask(self, call: Call, result: KerasTensor | tuple[KerasTensor, ...] | None) -> None:
        """Refuse a layer that stops masks, but may return its input itself with the mask."""
        first = result[0] if isinstance(result, tuple) else result
        masked = first in call.tensors() and self.masks.of.get(first) is not None
        if masked and call.target not in self.parents and not any(self.masks.outputs(call)):
            raise Refusal("", BY_BACKEND)

    def _has_more(self, call: Call) -> bool:
        """Whether a call has arguments that a rewrite would lose; the spelling reports them."""
        read = self.call_arguments.get(call.target.class_name, ())
        others = [value for name, value in call.kwargs.items() if name not in read]
        if any(value is not None and value is not False for value in others):
            return True
        return not all(isinstance(leaf, KerasTensor) for leaf in flatten(call.args))

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
            return None  # the spelling reports it

    def _know(self, call: Call) -> None:
        self.inference.call(call)
        self.dtypes.call(call)
        if not isinstance(call.target, LayerSpec) or call.target.class_name != "InputLayer":
            self.masks.of |= {
                KerasTensor(call, index): mask
                for index, mask in enumerate(self.masks.outputs(call))
            }

    def _named(self, call: Call, results: tuple[KerasTensor, ...]) -> tuple[KerasTensor, ...]:
        """The results, of which the first comes from a layer with the name of the called one."""
        first = results[0]
        if first in call.tensors():
            name, options = call.target.name, {"activation": "linear"}
            end = Call(self.part(call.target, name, "Activation", options), (first,))
        else:
            end = replace(first.call, target=self._called(first.call.target, call.target.name))
        self._know(end)
        return tuple(
            KerasTensor(end, result.index) if result.call is first.call else result
            for result in results
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
        """A layer that is a part of `parent`, shared by all calls of the parent."""
        key = (parent, name, class_name, repr(sorted(config.items(), key=lambda item: item[0])))
        if key not in self._parts:
            self._parts[key] = self.respelled(
                LayerSpec(name, class_name, dict(config), weights, children or {})
            )
            self.parents[self._parts[key]] = parent
        return self._parts[key]

    def root(self, target: Any) -> Any:
        """The layer or operation of the user's model that a layer is a part of."""
        while target in self.parents:
            target = self.parents[target]
        return target
