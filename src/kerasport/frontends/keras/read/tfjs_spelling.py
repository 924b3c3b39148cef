"""Translate a model.json from the spelling that TF.js accepts into that of Keras.

TF.js converts every key of a topology to camelCase before it reads it (tfjs-layers
serialization_utils.ts), so authors write either form. It reads the input shape from four options,
on an InputLayer or on the first layer of a Sequential (engine/topology.ts, engine/input_layer.ts).
Calls in edited files can have a pair of brackets too many or too few.
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
"""Key in camelCase → key in the spelling of Keras, for all keys that are not options of one layer.
"""

MERGING = frozenset(
    ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
)

WINDOW = ("kernel_size", "pool_size", "strides", "dilation_rate")

MAX_DEPTH = 300  # nesting depth of objects and lists


def keyed(model: Json) -> Json:
    """Rename the keys of a model to those of Keras and keep the rest.

    Raises:
        ReadError: two spellings of one key have different values.
        HostileFileError: the topology is nested deeper than any real model.
    """
    return _mapped(model, _keyed)


def respelled(model: Json) -> Json:
    """Rewrite the class and config of a model as Keras 2 would have written them.

    Raises:
        ReadError: TF.js and Keras read different values, or a call is ambiguous.
        HostileFileError: the topology is nested deeper than any real model.
    """
    return _mapped(keyed(model), _respelled)


def _mapped(value: Json, entry: Callable[[Entry], Entry], depth: int = 0) -> Json:
    """Apply `entry` to every class and config in a structure, innermost first."""
    if depth > MAX_DEPTH:
        raise HostileFileError(f"the topology is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return [_mapped(item, entry, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    mapped = {key: _mapped(item, entry, depth + 1) for key, item in value.items()}
    is_entry = "config" in mapped and {"class_name", "className"} & set(mapped)
    return entry(mapped) if is_entry else mapped


# --------------------------------------------------------------------------------------------- keys


def _keyed(entry: Entry) -> Entry:
    entry = _renamed(entry, "a layer")
    config = entry["config"]
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        is_model = entry["class_name"] == "Sequential"
        return {**entry, "config": {"layers": config}} if is_model else entry
    if not isinstance(config, dict):
        return entry
    return {**entry, "config": _renamed(config, _where(entry))}


def _renamed(options: Mapping[str, Json], where: str) -> dict[str, Json]:
    renamed: dict[str, Json] = {}
    for key, value in options.items():
        name = KEYS.get(key, key)
        if renamed.setdefault(name, value) != value:
            raise ReadError(
                f"{where}: {name} appears twice, as {quoted(renamed[name])} and as {quoted(value)}"
            )
    return renamed


def _where(entry: Mapping[str, Json]) -> str:
    config = entry["config"]
    return f"layer {quoted(config.get('name') or entry.get('name') or entry['class_name'])}"


def misspelled(entry: Mapping[str, Json]) -> Iterator[Problem]:
    """Yield a problem for each camelCase option of a layer. TF.js reads it and Keras does not."""
    layer, config = LAYERS.get(entry["class_name"]), entry["config"]
    for option in config if layer else ():
        meant = re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", option)
        if layer and meant != option and meant in layer.defaults:
            name = str(config.get("name") or entry.get("name") or "")
            reason = f"Keras has no such option, but TF.js reads it as {meant}"
            remedy = f"rename it to {meant} in model.json"
            yield Problem(name, entry["class_name"], reason, option, config[option], remedy)


# --------------------------------------------------------------------------------- shapes and calls


def _respelled(entry: Entry) -> Entry:
    spelled = dict(entry)
    if isinstance(entry["config"], dict):
        shaped, class_name = _shaped(entry["config"], _where(entry)), str(entry["class_name"])
        spelled["config"] = {
            option: _plain(class_name, option, value) for option, value in shaped.items()
        }
    if isinstance(entry.get("inbound_nodes"), list):
        spelled["inbound_nodes"] = calls(entry["inbound_nodes"], str(entry["class_name"]))
    return spelled


def _plain(class_name: str, option: str, value: Json) -> Json:
    """An option in Keras's form: one number per axis of a window, an activation by its name."""
    axes = re.search(r"([123])D", class_name)
    if axes and option in WINDOW and isinstance(value, int) and not isinstance(value, bool):
        return [value] * int(axes[1])
    if option.endswith("activation") and isinstance(value, dict) and is_activation(value):
        return value["class_name"]
    return value


def is_activation(value: Mapping[str, Json]) -> bool:
    """Whether TF.js reads an object as an activation: its class name is one, such as `relu`."""
    name = value.get("class_name")
    return (
        isinstance(name, str)
        and name[:1].islower()
        and name != "function"
        and not value.get("config")
    )


def input_shape(config: Mapping[str, Json]) -> list[Json] | None:
    """The input shape, batch first, that TF.js reads from the config of a layer, or None."""
    if config.get("batch_input_shape") is not None:
        shape = config["batch_input_shape"]
        return shape if isinstance(shape, list) else None
    shape = config.get("input_shape")
    if shape is None:
        return None
    return [
        config.get("batch_size"),
        *(shape if isinstance(shape, list) else [shape]),
    ]


def _shaped(config: dict[str, Json], where: str) -> dict[str, Json]:
    """Reduce the options of the input shape to `batch_input_shape`."""
    shape, in_keras = input_shape(config), config.get("batch_shape")
    if shape is None:
        return config
    if in_keras is not None and in_keras != shape:
        raise ReadError(
            f"{where}: batch_shape is {quoted(in_keras)}, but TF.js reads {quoted(shape)}; remove "
            "the wrong one"
        )
    kept = {
        key: value
        for key, value in config.items()
        if key not in ("input_shape", "batch_size", "batch_shape")
    }
    return {**kept, "batch_input_shape": shape}


def calls(nodes: list[Json], class_name: str) -> list[Json]:
    """The calls of a layer; each is a list of [layer, node, tensor, arguments].

    Raises:
        ReadError: brackets are missing, and there are two ways to add them.
    """
    flat = [isinstance(node, list) and bool(node) and isinstance(node[0], str) for node in nodes]
    if not any(flat):
        return [_call(node) for node in nodes]
    # merging layers take at least two tensors
    if len(nodes) == 1 or (all(flat) and class_name in MERGING):
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
    """Remove redundant brackets around one tensor of a call."""
    while isinstance(item, list) and len(item) == 1 and isinstance(item[0], list):
        item = item[0]
    return item
