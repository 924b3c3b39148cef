"""The spellings of Keras 1, Keras 2 and tf_keras, turned into that of Keras 3.

Nothing behind this module knows that they exist. Where a name kept its spelling but changed its meaning,
the old meaning gets a name of its own: `hard_sigmoid` is clip(x/6 + 1/2) since Keras 3 and was
clip(x/5 + 1/2) before, which is spelled `hard_sigmoid_keras2` from here on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import ReadError, quoted

Config: TypeAlias = dict[str, Any]

KERAS_PACKAGES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras", "keras_core", "builtins")
OPERATION_MODULES = (
    "keras.src.ops", "keras.ops", "keras.src.activations", "keras.src.quantizers", "keras_core.src.ops",
)  # fmt: skip
TF_LAMBDAS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod",
              "InstanceProperty")  # fmt: skip


def major(version: str) -> int:
    """Major version of the Keras that wrote a file; 3 where it is unknown."""
    head = version.split(".", maxsplit=1)[0]
    return int(head) if head.isdecimal() and len(head) < 4 else 3


def is_operation(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a functional model is a `keras.ops` node or a TensorFlow call, not a layer."""
    if entry["class_name"] in TF_LAMBDAS:
        return True
    module = entry.get("module")
    if isinstance(module, str):
        return module.startswith(OPERATION_MODULES)
    # HDF5 of Keras 3 names no modules; a layer's config says whether it is trainable, but for that of these
    if entry["class_name"].startswith("SpatialDropout"):
        return False
    config, nodes = entry.get("config") or {}, entry.get("inbound_nodes") or ()
    called = any(isinstance(node, Mapping) for node in nodes)  # as Keras 3 writes it
    return called and not {"trainable", "layers"} & set(config)


def custom_origin(entry: Mapping[str, Any]) -> str:
    """Where a class comes from that is not Keras's own; empty for those that are."""
    registered, module = entry.get("registered_name"), entry.get("module")
    if isinstance(registered, str) and ">" in registered:
        return registered
    if isinstance(module, str) and module.split(".")[0] not in {p.split(".")[0] for p in KERAS_PACKAGES}:
        return module
    if module is None and isinstance(registered, str):
        return registered
    return (">" in entry["class_name"] and entry["class_name"]) or ""


def spell(class_name: str, config: Mapping[str, Any], version: str) -> tuple[str, Config]:
    """Class and config of a layer as Keras 3 would have written them."""
    old = major(version)
    if old < 2:
        class_name, config = _from_keras1(class_name, dict(config))
    class_name = RENAMED_CLASSES.get(class_name, class_name)
    spelled = {key: plain(value) for key, value in config.items()}
    spelled["dtype"] = policy_name(config.get("dtype"))
    for before, after in RENAMED_OPTIONS.get(class_name, {}).items():
        if before in spelled:
            spelled.setdefault(after, spelled.pop(before))
            spelled.pop(before, None)
    for option in ("activation", "recurrent_activation"):
        if option in spelled:
            spelled[option] = activation_name(spelled[option], old)
    if class_name in CHANGED:
        CHANGED[class_name](spelled, version)
    return class_name, spelled


RENAMED_CLASSES = {
    "Model": "Functional", "BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization", "UnifiedLSTM": "LSTM", "UnifiedGRU": "GRU", "LSTMV2": "LSTM",
    "GRUV2": "GRU", "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D",
    "Convolution1DTranspose": "Conv1DTranspose", "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose", "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution1D": "SeparableConv1D", "SeparableConvolution2D": "SeparableConv2D",
    "AvgPool1D": "AveragePooling1D", "AvgPool2D": "AveragePooling2D", "AvgPool3D": "AveragePooling3D",
    "MaxPool1D": "MaxPooling1D", "MaxPool2D": "MaxPooling2D", "MaxPool3D": "MaxPooling3D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D", "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalAvgPool3D": "GlobalAveragePooling3D", "GlobalMaxPool1D": "GlobalMaxPooling1D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D", "GlobalMaxPool3D": "GlobalMaxPooling3D",
}  # fmt: skip

RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "InputLayer": {"batch_input_shape": "batch_shape"},
    "LeakyReLU": {"alpha": "negative_slope"},
    "Dropout": {"p": "rate"},
}


def _one_axis(config: Config, version: str) -> None:
    del version
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _random_crop(config: Config, version: str) -> None:
    # Until 3.7 the layer cropped at inference too, since 3.6 in another way; since 3.8 it passes its input on.
    if _before(version, 3, 8):
        config["at_inference"] = "smart_resize" if _before(version, 3, 6) else "corner_crop"


def _numbers(config: Config, version: str) -> None:
    """Options that Keras 2 wrapped in arrays."""
    del version
    for option in ("alpha", "negative_slope", "max_value", "threshold", "theta"):
        value = config.get(option)
        if isinstance(value, np.ndarray) and value.ndim == 0:
            config[option] = value.item()


def _before(version: str, *limit: int) -> bool:
    parts = tuple(int(part) if part.isdecimal() else 0 for part in version.split(".")[: len(limit)])
    return bool(version) and parts < limit


CHANGED: Mapping[str, Callable[[Config, str], None]] = {
    "BatchNormalization": _one_axis,
    "RandomCrop": _random_crop,
    "LeakyReLU": _numbers,
    "ReLU": _numbers,
    "ELU": _numbers,
    "ThresholdedReLU": _numbers,
}


# ------------------------------------------------------------------------------------------ values


def plain(value: Any) -> Any:
    """A value of a config without Keras's wrappers: arrays, slices, tuples."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    wrapped = value.get("config")
    if kind in ("__numpy__", "__tensor__") and isinstance(wrapped, dict):
        return array(wrapped.get("value"), wrapped.get("dtype"))
    if value.get("type") == "ndarray" and "value" in value:  # Keras 2
        return array(value["value"], value.get("dtype"))
    if kind == "__tuple__" and isinstance(value.get("items"), list):
        return [plain(item) for item in value["items"]]
    if kind == "__slice__" and isinstance(wrapped, dict):
        return slice(*(plain(wrapped.get(part)) for part in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    return value


def array(value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """An array that stands inline in a config.

    Raises:
        ReadError: value and dtype do not make one.
    """
    known = {"bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
             "uint32", "uint64"}  # fmt: skip
    name = "float32" if dtype in (None, "bfloat16") else dtype
    if name not in known:
        raise ReadError(f"an array in the config has the dtype {quoted(dtype)}, which is not a number's")
    try:
        return np.array(value, dtype=name)
    except (ValueError, TypeError, OverflowError):
        raise ReadError(f"an array in the config does not hold {name} numbers of one shape") from None


def policy_name(dtype: Any) -> str:
    """Name of a dtype policy, however it is written: "float32", "mixed_float16", "int8_from_float32"."""
    if dtype is None:
        return "float32"
    if isinstance(dtype, str):
        return dtype
    config = dtype.get("config") if isinstance(dtype, dict) else None
    if not isinstance(config, dict):
        return "float32"
    if "default_policy" in config:  # DTypePolicyMap: sublayers differ, the stored arrays tell how
        return policy_name(config["default_policy"])
    name, mode, source = config.get("name"), config.get("mode"), config.get("source_name")
    return f"{mode}_from_{source or 'float32'}" if isinstance(mode, str) else str(name or "float32")


ALIASES = {"swish": "silu", "hard_swish": "hard_silu", "softmax_v2": "softmax", None: "linear"}


def activation_name(activation: Any, version: int) -> Any:
    """An activation as Keras 3 names it; what is no plain name stays as it is."""
    if isinstance(activation, dict):
        named = activation.get("config")
        if activation.get("class_name") == "function" and isinstance(named, str):
            activation = named
    if activation is not None and not isinstance(activation, str):
        return activation
    if isinstance(activation, str) and activation.startswith("keras.activations."):
        activation = activation.rpartition(".")[2]
    if version < 3 and activation == "hard_sigmoid":
        return "hard_sigmoid_keras2"
    return ALIASES.get(activation, activation)


# ----------------------------------------------------------------------------------------- Keras 1


def _from_keras1(class_name: str, config: Config) -> tuple[str, Config]:
    """Keras 1 named the options differently and spread kernel sizes over several of them."""
    class_name = RENAMED_CLASSES.get(class_name, class_name)
    class_name = {"AtrousConvolution1D": "Conv1D", "AtrousConvolution2D": "Conv2D"}.get(class_name, class_name)
    for before, after in KERAS1_OPTIONS.items():
        if before in config and not (before == "output_dim" and class_name == "Embedding"):
            config[after] = config.pop(before)
    rows = [config.pop(side) for side in ("kernel_dim1", "kernel_dim2", "kernel_dim3") if side in config]
    rows += [config.pop(side) for side in ("nb_row", "nb_col") if side in config]
    if "filter_length" in config:
        rows = [config.pop("filter_length")]
    if rows:
        config["kernel_size"] = rows
    if "dim_ordering" in config:
        ordering = config.pop("dim_ordering")
        config["data_format"] = "channels_first" if ordering == "th" else "channels_last"
    if class_name in ("Conv1D", "AveragePooling1D", "MaxPooling1D"):
        _listed(config, {"subsample_length": "strides", "pool_length": "pool_size", "stride": "strides"})
    if class_name == "Merge":
        return _merge(config)
    for leftover in (*KERAS1_TRAINING, *(() if class_name == "Embedding" else ("input_dim",))):
        config.pop(leftover, None)
    return class_name, config


KERAS1_OPTIONS = {
    "output_dim": "units", "nb_filter": "filters", "bias": "use_bias", "subsample": "strides",
    "border_mode": "padding", "inner_activation": "recurrent_activation", "atrous_rate": "dilation_rate",
    "sigma": "stddev", "p": "rate",
}  # fmt: skip
KERAS1_TRAINING = (
    "init", "inner_init", "forget_bias_init", "weights", "W_regularizer", "U_regularizer", "b_regularizer",
    "W_constraint", "b_constraint", "dropout_W", "dropout_U", "consume_less", "gamma_init", "beta_init",
    "gamma_regularizer", "beta_regularizer", "input_length", "dropout",
)  # fmt: skip


def _listed(config: Config, names: Mapping[str, str]) -> None:
    for before, after in names.items():
        if config.get(before) is not None:
            config[after] = [config.pop(before)]
        config.pop(before, None)


def _merge(config: Config) -> tuple[str, Config]:
    classes = {"sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum",
               "dot": "Dot"}  # fmt: skip
    mode = config.get("mode")
    made: Config = {key: config[key] for key in ("name", "trainable") if key in config}
    if mode == "concat":
        made["axis"] = config.get("concat_axis", -1)
    if mode == "dot":
        made["axes"] = config.get("dot_axes", -1)
    return classes.get(str(mode), "Merge"), made
