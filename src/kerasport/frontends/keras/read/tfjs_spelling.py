"""A model.json as TF.js reads it, in the spelling of Keras.

TF.js turns every key of a topology into camelCase before it looks at it (tfjs-layers serialization_utils.ts), so people
write either. It takes the shape of an input from four options, on an InputLayer or on the first layer of a Sequential
(engine/topology.ts, engine/input_layer.ts). Calls come with a bracket too many or too few where somebody rewrote them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from kerasport.errors import HostileFileError, Problem, ReadError, quoted
from kerasport.frontends.keras.layers import LAYERS

Json: TypeAlias = Any
Entry: TypeAlias = dict[str, Json]  # the class and config of a layer or model

KEYS: Mapping[str, str] = {
    "className": "class_name",
    "inboundNodes": "inbound_nodes",
    "inputLayers": "input_layers",
    "outputLayers": "output_layers",
    "inputDType": "input_dtype",
    "batchInputShape": "batch_input_shape",
    "inputShape": "input_shape",
    "batchSize": "batch_size",
    "batchShape": "batch_shape",
}
"""Key in camelCase → in the spelling of Keras, of all that is no option of a layer's own."""

MERGING = frozenset(
    ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
)

WINDOW = ("kernel_size", "pool_size", "strides", "dilation_rate")

MAX_DEPTH = 300  # of objects and lists inside each other


def keyed(model: Json) -> Json:
    """The class and config of a model with the keys of Keras, and otherwise as it is.

    Raises:
        ReadError: two spellings of one key have different values.
        HostileFileError: it is nested deeper than any model.
    """
    return _mapped(model, _keyed)


def respelled(model: Json) -> Json:
    """The class and config of a model as Keras 2 would have written it.

    Raises:
        ReadError: what TF.js reads is not what Keras reads, or a call may mean two things.
        HostileFileError: it is nested deeper than any model.
    """
    return _mapped(keyed(model), _respelled)


def _mapped(value: Json, entry: Callable[[Entry], Entry], depth: int = 0) -> Json:
    """The same with every class and config made anew."""
    if depth > MAX_DEPTH:
        raise HostileFileError(f"the topology is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return [_mapped(item, entry, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _mapped(item, entry, depth + 1) for key, item in value.items()}
    return entry(made) if "config" in made and {"class_name", "className"} & set(made) else made


# ------------------------------------------------------------------------------------------------------- keys


def _keyed(entry: Entry) -> Entry:
    entry = _renamed(entry, "a layer")
    config = entry["config"]
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        return (
            {**entry, "config": {"layers": config}}
            if entry["class_name"] == "Sequential"
            else entry
        )
    return (
        {**entry, "config": _renamed(config, _where(entry))} if isinstance(config, dict) else entry
    )


def _renamed(given: Mapping[str, Json], where: str) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for key, value in given.items():
        name = KEYS.get(key, key)
        if made.setdefault(name, value) != value:
            raise ReadError(
                f"{where}: {name} appears twice, as {quoted(made[name])} and as {quoted(value)}"
            )
    return made


def _where(entry: Mapping[str, Json]) -> str:
    config = entry["config"]
    return f"layer {quoted(config.get('name') or entry.get('name') or entry['class_name'])}"


def misspelled(entry: Mapping[str, Json]) -> Iterator[Problem]:
    """Options of a layer in camelCase, which TF.js reads and Keras does not."""
    layer, config = LAYERS.get(entry["class_name"]), entry["config"]
    for option in config if layer else ():
        meant = re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", option)
        if layer and meant != option and meant in layer.defaults:
            name = str(config.get("name") or entry.get("name") or "")
            reason = f"Keras has no such option, but TF.js reads it as {meant}"
            remedy = f"rename it to {meant} in model.json"
            yield Problem(name, entry["class_name"], reason, option, config[option], remedy)


# ------------------------------------------------------------------------------------------ shapes and calls


def _respelled(entry: Entry) -> Entry:
    made = dict(entry)
    if isinstance(entry["config"], dict):
        shaped, class_name = _shaped(entry["config"], _where(entry)), str(entry["class_name"])
        made["config"] = {
            option: _plain(class_name, option, value) for option, value in shaped.items()
        }
    if isinstance(entry.get("inbound_nodes"), list):
        made["inbound_nodes"] = calls(entry["inbound_nodes"], str(entry["class_name"]))
    return made


def _plain(class_name: str, option: str, value: Json) -> Json:
    """An option as Keras writes it: one number for all axes of a window as a list, an activation by its name."""
    axes = re.search(r"([123])D", class_name)
    if axes and option in WINDOW and isinstance(value, int) and not isinstance(value, bool):
        return [value] * int(axes[1])
    if option.endswith("activation") and isinstance(value, dict) and is_activation(value):
        return value["class_name"]
    return value


def is_activation(value: Mapping[str, Json]) -> bool:
    """Whether TF.js reads an object as an activation: of a class that has the name of one, as `relu`."""
    name = value.get("class_name")
    return (
        isinstance(name, str)
        and name[:1].islower()
        and name != "function"
        and not value.get("config")
    )


def input_shape(config: Mapping[str, Json]) -> list[Json] | None:
    """The shape of the input, batch first, that TF.js reads from the config of a layer; None where it finds none."""
    if config.get("batch_input_shape") is not None:
        shape = config["batch_input_shape"]
        return shape if isinstance(shape, list) else None
    shape = config.get("input_shape")
    if shape is None:
        return None
    return [
        config.get("batch_size"),
        *(shape if isinstance(shape, list) else [shape]),
    ]  # JavaScript's concat


def _shaped(config: dict[str, Json], where: str) -> dict[str, Json]:
    """The config with one option for the shape of the input."""
    shape, in_keras = input_shape(config), config.get("batch_shape")
    if shape is None:
        return config
    if in_keras is not None and in_keras != shape:
        raise ReadError(
            f"{where}: batch_shape is {quoted(in_keras)}, but TF.js reads {quoted(shape)}; remove the wrong one"
        )
    kept = {
        key: value
        for key, value in config.items()
        if key not in ("input_shape", "batch_size", "batch_shape")
    }
    return {**kept, "batch_input_shape": shape}


def calls(nodes: list[Json], class_name: str) -> list[Json]:
    """The calls of a layer, each a list of [layer, node, tensor, arguments].

    Raises:
        ReadError: brackets are missing, and there are two ways to put them.
    """
    flat = [isinstance(node, list) and bool(node) and isinstance(node[0], str) for node in nodes]
    if not any(flat):
        return [_call(node) for node in nodes]
    if len(nodes) == 1 or (all(flat) and class_name in MERGING):  # which takes two tensors at least
        return [nodes]
    raise ReadError(
        f"the inbound_nodes of a {quoted(class_name)} are {quoted(nodes)}, which lacks brackets; "
        "[[a], [b]] means two calls, [[a, b]] means one call with two tensors"
    )


def _call(node: Json) -> Json:
    while (
        isinstance(node, list) and len(node) == 1 and isinstance(node[0], list) and _nested(node[0])
    ):
        node = node[0]
    return [_reference(item) for item in node] if isinstance(node, list) else node


def _nested(value: list[Json]) -> bool:
    return bool(value) and isinstance(value[0], list)


def _reference(item: Json) -> Json:
    """A tensor of a call, out of brackets that hold nothing else."""
    while isinstance(item, list) and len(item) == 1 and isinstance(item[0], list):
        item = item[0]
    return item
