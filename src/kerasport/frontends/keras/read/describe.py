"""Parse the tree of layers of a config into the spelling of Keras 3, before weights and graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kerasport.errors import SHORT, HostileFileError, ReadError, legible, placed, quoted
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.read.dialects import (
    Config,
    custom_origin,
    is_operation,
    plain,
    spell,
)
from kerasport.releases import major

MAX_NESTING = 60
MAX_CALLS = 50_000  # of layers, in one run of a model; a shared model counts once per call
# Characters in the paths of all those calls. Each path contains the names of the models around it.
MAX_PATHS = 50_000_000

MODELS = ("Functional", "Sequential", "Model")
WRAPPED: Mapping[str, tuple[str, ...]] = {
    # children in the order in which Keras's saving visits them
    "Bidirectional": ("backward_layer", "forward_layer"),
    "TimeDistributed": ("layer",),
    "SpectralNormalization": ("layer",),
    "Wrapper": ("layer",),
    "RNN": ("cell",),
}
LISTED: Mapping[str, str] = {"StackedRNNCells": "cells", "Pipeline": "layers"}
"""Layer → the option that lists the layers inside it."""


@dataclass(frozen=True)
class History:
    """A reference to a tensor in a config: output `index` of call `node` of a layer."""

    layer: str
    node: int
    index: int
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Use:
    """One call of a layer, with references to its tensors."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Described:
    """A layer, operation or model of the config. Shared layers are one object."""

    name: str
    class_name: str
    config: Config
    kind: Literal["layer", "operation", "functional", "sequential"]
    custom: str = ""
    children: dict[str, Described] = field(default_factory=dict)
    members: list[tuple[Described, list[Use]]] = field(default_factory=list)  # of models
    inputs: Any = None  # of functional models: nested tuples and dicts of History
    outputs: Any = None
    # Shapes of the inputs that the layer was built for, if the file has them.
    built_for: Any = None
    nesting: int = 0  # levels of layers inside it
    calls: int = 1  # of layers, in one run
    paths: int = 0  # characters in the paths of all these calls
    declares: bool = True  # whether the shapes in the file are those at inference

    @property
    def trainable(self) -> bool:
        """Whether the config leaves the layer trainable."""
        return self.config.get("trainable") is not False


class Describer:
    """Parses the serialized objects of one file, in which models can share layers."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._shared: dict[tuple[int, str], Described] = {}

    def describe(self, entry: Any, depth: int = 0, name: str = "") -> Described:
        """Parse a serialized layer, operation or model.

        Raises:
            ReadError: it does not have the structure of a serialized layer.
        """
        if depth > MAX_NESTING:
            raise HostileFileError(TOO_DEEP)
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            raise ReadError(
                f"the config contains {quoted(entry)} in place of a layer with a 'class_name'"
            )
        shared = entry.get("shared_object_id")
        if not isinstance(shared, int):
            return _measured(self._new(entry, depth, name))
        key = (shared, entry["class_name"])
        if key not in self._shared:
            self._shared[key] = _measured(self._new(entry, depth, name))
        return self._shared[key]

    def _new(self, entry: dict[str, Any], depth: int, name: str) -> Described:
        class_name, config = entry["class_name"].rpartition(">")[2], entry.get("config")
        if isinstance(config, list):  # Sequential before Keras 2.2.3
            config = {"layers": config}
        if not isinstance(config, dict):
            raise ReadError(
                f"the config of a {legible(class_name, SHORT)} is {quoted(config)}, expected an "
                "object"
            )
        name = str(config.get("name") or name or entry.get("name") or class_name.lower())
        if is_operation({**entry, "class_name": class_name}):
            config = {key: plain(value) for key, value in config.items() if key != "name"}
            return Described(name, class_name, config, "operation")
        if isinstance(config.get("layers"), list) and class_name not in LISTED:
            model = self._model(name, class_name, config, depth)
            model.custom = custom_origin(entry) or ("" if class_name in MODELS else class_name)
            return model
        class_name, spelled = spell(class_name, config, self.version)
        described = Described(name, class_name, spelled, "layer", custom_origin(entry))
        described.children = self._children(described, depth)
        _check_children(described)
        described.config = _outlined(described)
        described.built_for = entry.get("build_config")
        return described

    # ------------------------------------------------------------------------------- wrappers

    def _children(self, layer: Described, depth: int) -> dict[str, Described]:
        config = layer.config
        if layer.class_name == "Bidirectional":
            forward = config.get("layer")
            backward = config.get("backward_layer") or _reversed(forward)
            _check_directions(forward, backward)
            return {
                "backward_layer": self._inside("config.backward_layer", backward, depth),
                "forward_layer": self._inside("config.layer", forward, depth),
            }
        if layer.class_name in LISTED:
            part = LISTED[layer.class_name]
            return {
                f"{part}/{i}": self._inside(f"config.{part}[{i}]", entry, depth)
                for i, entry in enumerate(config.get(part) or ())
            }
        return {
            part: self._inside(f"config.{part}", config.get(part), depth)
            for part in WRAPPED.get(layer.class_name, ())
        }

    def _inside(self, place: str, entry: Any, depth: int, name: str = "") -> Described:
        with placed(place):
            return self.describe(entry, depth + 1, name)

    # --------------------------------------------------------------------------------- models

    def _model(self, name: str, class_name: str, config: dict[str, Any], depth: int) -> Described:
        functional = "input_layers" in config and "output_layers" in config
        kind: Literal["functional", "sequential"] = "functional" if functional else "sequential"
        model = Described(name, class_name, {"trainable": config.get("trainable", True)}, kind)
        if kind == "sequential":
            model.members = [(layer, []) for layer in self._chain(config, depth)]
            return model
        for i, entry in enumerate(config["layers"]):
            called = str(entry.get("name", "")) if isinstance(entry, dict) else ""
            model.members.append((self._inside(f"config.layers[{i}]", entry, depth, called), []))
        parser = _Nodes({layer.name: layer for layer, _ in model.members}, self.version)
        for i, ((layer, uses), entry) in enumerate(
            zip(model.members, config["layers"], strict=True)
        ):
            for j, node in enumerate(_list(entry.get("inbound_nodes"), layer.name)):
                with placed(f"config.layers[{i}].inbound_nodes[{j}]"):
                    uses.append(parser.use(layer, node))
        with placed("config.input_layers"):
            model.inputs = parser.structure(config["input_layers"])
        with placed("config.output_layers"):
            model.outputs = parser.structure(config["output_layers"])
        return model

    def _chain(self, config: dict[str, Any], depth: int) -> list[Described]:
        layers = [
            self._inside(f"config.layers[{i}]", entry, depth)
            for i, entry in enumerate(config["layers"])
        ]
        if not layers:
            raise ReadError(
                "this Sequential model has no layers, so it computes nothing; add layers and save "
                "it again"
            )
        if layers[0].class_name == "InputLayer":
            return layers
        return [self._input_of(config, layers[0]), *layers]

    def _input_of(self, config: dict[str, Any], first: Described) -> Described:
        """Create the InputLayer of a Sequential that stores its input shape elsewhere."""
        shape, dtype = _first_shape(config, first), first.config.get("input_dtype")
        if shape is None:
            raise ReadError(
                f"the Sequential model {quoted(config.get('name', ''))} was saved before it was "
                "built, so its input shape is not known; call it on data once, or start it with "
                "keras.Input(shape=…), and save it again"
            )
        kept = dtype or ("int32" if first.class_name == "Embedding" else _float(first))
        return Described(
            f"{first.name}_input",
            "InputLayer",
            {"batch_shape": list(shape), "dtype": kept},
            "layer",
        )


def _outlined(wrapper: Described) -> Config:
    """Options of a wrapper that include the options of its children, but not of their children.

    Options are searched whenever they are read. Nested as in the file, each level would be searched
    again for every level above it.
    """
    kept = {
        option: value
        for option, value in wrapper.config.items()
        if option != LISTED.get(wrapper.class_name)
    }
    for part, child in wrapper.children.items():
        if "/" not in part:
            option = "layer" if part == "forward_layer" else part
            kept[option] = {"class_name": child.class_name, "config": child.config}
    return kept


TOO_DEEP = f"models are nested more than {MAX_NESTING} levels deep"


def _check_children(wrapper: Described) -> None:
    """Check that a recurrent wrapper wraps a layer that it supports, if that is one of Keras's own.

    Raises:
        ReadError: Keras cannot wrap the layer.
    """
    fitting = WRAPPABLE.get(wrapper.class_name)
    for part, child in wrapper.children.items() if fitting else ():
        known = child.kind != "layer" or (child.class_name in LAYERS and not child.custom)
        if known and child.class_name not in (fitting or ()):
            what = f"{wrapper.class_name} {quoted(wrapper.name)}"
            raise ReadError(
                f"the {part} of the {what} is a {child.class_name}, which cannot be wrapped"
            )


def _measured(described: Described) -> Described:
    """Set the measures of a description and check their limits.

    With sharing, a small file can contain more layer calls than can ever run.
    """
    parts = [(part, 1) for part in described.children.values()]
    parts += [(part, max(1, len(uses))) for part, uses in described.members]
    described.nesting = max((part.nesting + 1 for part, _ in parts), default=0)
    described.declares = not _misdeclared(described) and all(part.declares for part, _ in parts)
    described.calls = 1 + sum(part.calls * times for part, times in parts)
    own = len(described.name)
    described.paths = own + sum(
        (part.paths + part.calls * (own + 1)) * times for part, times in parts
    )
    if described.nesting > MAX_NESTING:
        raise HostileFileError(TOO_DEEP)
    if described.calls > MAX_CALLS:
        raise HostileFileError(
            f"the model {quoted(described.name)} calls layers {described.calls:,} times, since it "
            "shares the models inside it; TF.js runs each call separately, and kerasport allows "
            f"at most {MAX_CALLS:,}"
        )
    if described.paths > MAX_PATHS:
        raise HostileFileError(
            f"the names in the model {quoted(described.name)} are too long: the paths of its "
            f"layers have {described.paths:,} characters, and kerasport allows {MAX_PATHS:,}; "
            "give its layers and models shorter names"
        )
    return described


def _misdeclared(described: Described) -> bool:
    """Whether Keras saves an output shape that differs from that at inference."""
    # Since 3.8 a RandomCrop returns whole images at inference, but the file has the cropped shape.
    whole = described.class_name == "RandomCrop" and "at_inference" not in described.config
    # glu halves the channels, which Keras does not take into account
    return whole or described.config.get("activation") == "glu" or described.class_name == "Glu"


def _float(first: Described) -> str:
    """Dtype that Keras 2 gives an input: that of the weights, float32 for a mixed policy."""
    dtype = str(first.config.get("dtype") or "float32") if first.kind == "layer" else "float32"
    return "float32" if dtype.startswith("mixed_") else dtype


def _first_shape(config: dict[str, Any], first: Described) -> Any:
    if isinstance(config.get("build_input_shape"), list):
        return config["build_input_shape"]
    layer = first
    while layer.kind in ("functional", "sequential"):
        layer = layer.members[0][0]
    for key in ("batch_input_shape", "batch_shape"):
        if isinstance(layer.config.get(key), list):
            return layer.config[key]
    return None


def _reversed(forward: Any) -> Any:
    """The backward layer of a Bidirectional, derived from the forward one as in Keras 2."""
    if not isinstance(forward, dict) or not isinstance(forward.get("config"), dict):
        return forward
    config = forward["config"]
    name = str(config.get("name", "")).removeprefix("forward_")
    turned = {**config, "go_backwards": not config.get("go_backwards"), "name": f"backward_{name}"}
    return {key: value for key, value in forward.items() if key != "shared_object_id"} | {
        "config": turned
    }


def _check_directions(forward: Any, backward: Any) -> None:
    """Check both layers of a Bidirectional as Keras does (`_verify_layer_config`).

    Raises:
        ReadError: an option differs that must be equal.
    """
    layers = [layer for layer in (forward, backward) if isinstance(layer, dict)]
    entries = [layer.get("config") for layer in layers]
    configs = [config for config in entries if isinstance(config, dict)]
    if len(configs) < 2:
        return
    for option in ("stateful", "return_sequences", "return_state"):
        ahead, back = (bool(config.get(option, False)) for config in configs)
        if ahead != back:
            raise ReadError(
                f"Bidirectional needs the same {option} in both of its layers, got {ahead} in the "
                "forward layer "
                f"and {back} in the backward layer"
            )


def _list(value: Any, layer: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ReadError(
            f"layer {quoted(layer)}: 'inbound_nodes' is {quoted(value)}, expected a list"
        )
    return value


@dataclass
class _Nodes:
    """Parses the calls of one functional model in the format of Keras 2 or 3."""

    layers: Mapping[str, Described]
    version: str

    def structure(self, value: Any) -> Any:
        """Parse `input_layers` or `output_layers`: triples in nested lists and dicts."""
        if self._is_triple(value):
            return self._history(value, outer=True)
        if isinstance(value, dict):
            return {key: self.structure(item) for key, item in value.items()}
        if isinstance(value, list):
            return tuple(map(self.structure, value))
        raise ReadError(
            f"the inputs or outputs of the model contain {quoted(value)}, expected [layer, node, "
            "tensor]"
        )

    def use(self, layer: Described, node: Any) -> Use:
        """Parse one element of `inbound_nodes`."""
        if isinstance(node, dict) and major(self.version) > 2:
            args = tuple(self._keras3(item) for item in _list(node.get("args"), layer.name))
            kwargs = node.get("kwargs") or {}
            return Use(args, {key: self._keras3(value) for key, value in kwargs.items()})
        return self._keras2(layer, node)

    def _keras3(self, value: Any) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            config = value.get("config") or {}
            history, shape = config.get("keras_history"), config.get("shape")
            if not isinstance(history, list) or not self._is_triple(history):
                raise ReadError(
                    f"a tensor has the keras_history {quoted(history)}, expected [layer, node, "
                    "tensor]"
                )
            named = self._history(history)
            return replace(named, shape=tuple(shape)) if isinstance(shape, list) else named
        if isinstance(value, list):
            return tuple(map(self._keras3, value))
        wrapped = plain(value)
        if isinstance(wrapped, dict) and wrapped is value:
            return {key: self._keras3(item) for key, item in value.items()}
        return wrapped

    def _keras2(self, layer: Described, node: Any) -> Use:
        """Parse a call of Keras 2: its tensors, each with further arguments of the call."""
        kwargs: dict[str, Any] = {}
        called = self._called(layer, node, kwargs)
        # a single tensor is in a list, except in a TFOpLambda
        called = called[0] if isinstance(called, tuple) and len(called) == 1 else called
        if isinstance(called, tuple) and layer.class_name in STATEFUL:
            return Use(called[:1], kwargs | {"initial_state": called[1:]})
        return Use((called,), kwargs)

    def _called(self, layer: Described, value: Any, kwargs: dict[str, Any]) -> Any:
        """Parse the tensors of a call. Its further arguments are added to `kwargs`."""
        if isinstance(value, dict):
            return {key: self._called(layer, item, kwargs) for key, item in value.items()}
        if not isinstance(value, list):
            raise ReadError(
                f"layer {quoted(layer.name)}: an input of the layer is {quoted(value)}, expected "
                "[layer, node, tensor]"
            )
        if not (value and isinstance(value[0], str)):
            return tuple(self._called(layer, item, kwargs) for item in value)
        if not self._is_triple(value) and not _is_constant(value):
            raise ReadError(
                f"layer {quoted(layer.name)}: an input of the layer is {quoted(value)}, expected "
                "[layer, node, tensor]"
            )
        if len(value) > 3 and isinstance(value[3], dict):
            kwargs |= {key: self._keyword(item) for key, item in value[3].items()}
        return plain(value[2]) if _is_constant(value) else self._history(value)

    def _keyword(self, value: Any) -> Any:
        if self._is_triple(value) and value[0] in self.layers:
            return self._history(value)
        if isinstance(value, list):
            return tuple(map(self._keyword, value))
        wrapped = plain(value)
        if not isinstance(wrapped, dict):
            return wrapped
        return {key: self._keyword(item) for key, item in value.items()}

    @staticmethod
    def _is_triple(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) >= 3
            and isinstance(value[0], str)
            and all(isinstance(v, int) and not isinstance(v, bool) for v in value[1:3])
        )

    def _history(self, triple: list[Any], *, outer: bool = False) -> History:
        """Resolve the triple of a tensor, with its node counted from 0.

        The files also count from 0, except for nested models, whose creation counts as a node:
        everywhere in Keras 2, and in `output_layers` for functional ones in Keras 3.
        """
        name, node, index = triple[:3]
        target = self.layers.get(name)
        if target is None:
            raise ReadError(
                f"the graph refers to the layer {quoted(name)}, which the model does not have"
            )
        if index < 0:
            raise ReadError(
                f"the graph refers to output {index} of layer {quoted(name)}; outputs are numbered "
                "from 0"
            )
        if target.kind in ("functional", "sequential") and node > 0:
            counted = major(self.version) < 3 or (outer and target.kind == "functional")
            node -= counted
        return History(name, node, index)


def _is_constant(entry: Any) -> bool:
    """Whether an entry of a Keras 2 call is ["_CONSTANT_VALUE", -1, value, …]."""
    return isinstance(entry, list) and len(entry) >= 3 and entry[0] == "_CONSTANT_VALUE"


RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
WRAPPABLE: Mapping[str, tuple[str, ...]] = {
    "Bidirectional": RECURRENT,
    "RNN": CELLS,
    "StackedRNNCells": CELLS,
}
"""Recurrent wrapper → the Keras layers that it can wrap."""

STATEFUL = frozenset((*RECURRENT, "Bidirectional"))
