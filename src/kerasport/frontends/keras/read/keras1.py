"""Translate configs of Keras 1 into the spelling of Keras 2, and complete what they omit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from kerasport.errors import ReadError, quoted

Config: TypeAlias = dict[str, Any]


def spell(class_name: str, config: Mapping[str, Any]) -> tuple[str, Config]:
    """Class and config of a layer in the spelling of Keras 2.

    Keras 1 named the options differently and spread kernel sizes over several of them.

    Raises:
        ReadError: the file does not record whether channels come first.
    """
    config = dict(config)
    for before, after in OPTIONS.items():
        if before in config and not (before == "output_dim" and class_name == "Embedding"):
            config[after] = config.pop(before)
    rows = [
        config.pop(side) for side in ("kernel_dim1", "kernel_dim2", "kernel_dim3") if side in config
    ]
    rows += [config.pop(side) for side in ("nb_row", "nb_col") if side in config]
    if "filter_length" in config:
        rows = [config.pop("filter_length")]
    if rows:
        config["kernel_size"] = rows
    if "dim_ordering" in config:
        ordering = config.pop("dim_ordering")
        config["data_format"] = "channels_first" if ordering == "th" else "channels_last"
    elif class_name in UNSAID:
        raise ReadError(
            f"layer {quoted(config.get('name', ''))}: the Keras 1 file does not record the data "
            f"format of this {class_name}, and the data formats of the other layers differ; load "
            "the file with Keras 2 and save it again"
        )
    if class_name in CHANGED:
        CHANGED[class_name](config)
    # Keras 2 calls this implementation 2; it stores the weights of all gates in one array.
    config["implementation"] = 2 if config.pop("consume_less", None) == "gpu" else 0
    for leftover in (*TRAINING, *(() if class_name == "Embedding" else ("input_dim",))):
        config.pop(leftover, None)
    return (
        _merge(config) if class_name == "Merge" else (RENAMED.get(class_name, class_name), config)
    )


RENAMED = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "TimeDistributedDense": "Dense",
}
OPTIONS = {
    "output_dim": "units",
    "nb_filter": "filters",
    "bias": "use_bias",
    "subsample": "strides",
    "border_mode": "padding",
    "inner_activation": "recurrent_activation",
    "atrous_rate": "dilation_rate",
    "sigma": "stddev",
    "p": "rate",
}
TRAINING = (
    "init",
    "inner_init",
    "forget_bias_init",
    "weights",
    "W_regularizer",
    "U_regularizer",
    "b_regularizer",
    "W_constraint",
    "b_constraint",
    "dropout_W",
    "dropout_U",
    "gamma_init",
    "beta_init",
    "gamma_regularizer",
    "beta_regularizer",
    "input_length",
    "dropout",
)
UNSAID = frozenset(
    f"{kind}{rank}D" for kind in ("UpSampling", "ZeroPadding", "Cropping") for rank in (2, 3)
)
"""Layers whose `dim_ordering` is not in the file."""


def _listed(**names: str) -> Callable[[Config], None]:
    """Rename options that are numbers in Keras 1 and lists of one number in Keras 2."""

    def change(config: Config) -> None:
        for before, after in names.items():
            value = config.pop(before, None)
            if value is not None:
                config[after] = value if isinstance(value, list) else [value]

    return change


def _input(config: Config) -> None:
    if "input_dtype" in config:
        config["dtype"] = config.pop("input_dtype")


def _size(config: Config) -> None:
    config["size"] = config.pop("length", 2)


def _padding(config: Config) -> None:
    """Normalize padding: one number, one per axis, or one per side, in a list or a dict by side."""
    sides, padding = ("top_pad", "bottom_pad", "left_pad", "right_pad"), config.get("padding")
    if isinstance(padding, dict):
        named = [padding.get(side, 0) for side in sides]
        config["padding"] = named[2:] if "data_format" not in config else [named[:2], named[2:]]
    elif isinstance(padding, list) and len(padding) == len(sides):
        config["padding"] = [padding[:2], padding[2:]]


_windows = _listed(pool_length="pool_size", stride="strides")
CHANGED: Mapping[str, Callable[[Config], None]] = {
    "InputLayer": _input,
    "Conv1D": _listed(subsample_length="strides"),
    "AtrousConvolution1D": _listed(subsample_length="strides", dilation_rate="dilation_rate"),
    "AveragePooling1D": _windows,
    "MaxPooling1D": _windows,
    "UpSampling1D": _size,
    "ZeroPadding1D": _padding,
    "ZeroPadding2D": _padding,
}


def _merge(config: Config) -> tuple[str, Config]:
    classes = {
        "sum": "Add",
        "mul": "Multiply",
        "concat": "Concatenate",
        "ave": "Average",
        "max": "Maximum",
        "dot": "Dot",
    }
    mode = config.get("mode")
    merged: Config = {key: config[key] for key in ("name", "trainable") if key in config}
    if mode == "concat":
        merged["axis"] = config.get("concat_axis", -1)
    if mode == "dot":
        merged["axes"] = config.get("dot_axes", -1)
    return classes.get(str(mode), "Merge"), merged


# ------------------------------------------------------------------------------------------ models


def completed(config: Any) -> Any:
    """Complete the config of a model with options that Keras 1 did not save.

    The data format was a global setting that some layers do not record; it is taken from the other
    layers. A Sequential can begin with a `Merge` of models, each with its own input; Keras 2 calls
    that a functional model.
    """
    spelled = {
        layer["dim_ordering"]
        for layer in _configs(config)
        if isinstance(layer.get("dim_ordering"), str)
    }
    return _completed(config, spelled.pop() if len(spelled) == 1 else None)


def _configs(config: Any) -> Iterator[Config]:
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _completed(value: Any, ordering: str | None) -> Any:
    if isinstance(value, list):
        return [_completed(item, ordering) for item in value]
    if not isinstance(value, dict):
        return value
    entry = {key: _completed(item, ordering) for key, item in value.items()}
    config = entry.get("config")
    if ordering and entry.get("class_name") in UNSAID and isinstance(config, dict):
        entry["config"] = {"dim_ordering": ordering, **config}
    if (
        isinstance(config, list)
        and config
        and isinstance(config[0], dict)
        and config[0].get("class_name") == "Merge"
    ):
        return _branched(entry)
    return entry


def _branched(model: Config) -> Config:
    """Convert a Sequential that begins with a Merge into a functional model."""
    (merge, *rest), layers = model["config"], list[Config]()
    branches: list[str] = []
    for index, branch in enumerate(merge["config"]["layers"], start=1):
        first = branch
        while isinstance(first["config"], list):
            first = first["config"][0]
        shape, name = first["config"].get("batch_input_shape"), f"{merge['config']['name']}_{index}"
        if shape is None:  # a branch that has branches itself
            return model
        start = f"{first['config']['name']}_input"
        input_options = {
            "batch_input_shape": shape,
            "input_dtype": first["config"].get("input_dtype"),
        }
        layers.append(_node("InputLayer", start, input_options))
        options = branch["config"]
        options = {"layers": options} if isinstance(options, list) else options
        layers.append(_node(branch["class_name"], name, options, start))
        branches.append(name)
    joined = {key: value for key, value in merge["config"].items() if key != "layers"}
    layers.append(_node("Merge", merge["config"]["name"], joined, *branches))
    for index, layer in enumerate(rest, start=1):
        options = layer["config"]
        options = (
            {"layers": options, "name": f"sequential_{index}"}
            if isinstance(options, list)
            else options
        )
        layers.append(_node(layer["class_name"], options["name"], options, layers[-1]["name"]))
    starts = [[layer["name"], 0, 0] for layer in layers if layer["class_name"] == "InputLayer"]
    ends = [[layers[-1]["name"], 0, 0]]
    return {
        **model,
        "class_name": "Model",
        "config": {"layers": layers, "input_layers": starts, "output_layers": ends},
    }


def _node(class_name: str, name: str, config: Config, *inputs: str) -> Config:
    nodes = [[[source, 0, 0] for source in inputs]] if inputs else []
    return {
        "class_name": class_name,
        "name": name,
        "config": {**config, "name": name},
        "inbound_nodes": nodes,
    }
