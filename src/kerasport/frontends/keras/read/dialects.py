"""Translate the spellings of Keras 1, Keras 2 and tf_keras into that of Keras 3.

No code after this module sees the old spellings. A name that kept its spelling but changed its
meaning gets a new name for the old meaning: `hard_sigmoid` is clip(x/6 + 1/2) since Keras 3 and was
clip(x/5 + 1/2) before, which is spelled `hard_sigmoid_keras2` from here on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.model import TF_LAMBDAS
from kerasport.frontends.keras.read import keras1
from kerasport.releases import major

Config: TypeAlias = dict[str, Any]

KERAS_PACKAGES = (
    "keras",
    "tf_keras",
    "tensorflow.keras",
    "tensorflow.python.keras",
    "keras_core",
    "builtins",
)
OPERATION_MODULES = (
    "keras.src.ops",
    "keras.ops",
    "keras.src.activations",
    "keras.src.quantizers",
    "keras_core.src.ops",
)


def is_operation(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a functional model is a `keras.ops` node or a TensorFlow call."""
    if entry["class_name"] in TF_LAMBDAS:
        return True
    module = entry.get("module")
    if isinstance(module, str):
        return module.startswith(OPERATION_MODULES)
    # HDF5 of Keras 3 names no modules. Only layers have `trainable` in their config, except these.
    if entry["class_name"].startswith("SpatialDropout"):
        return False
    config, nodes = entry.get("config") or {}, entry.get("inbound_nodes") or ()
    called = any(isinstance(node, Mapping) for node in nodes)  # the form that Keras 3 writes
    return called and not {"trainable", "layers"} & set(config)


def custom_origin(entry: Mapping[str, Any]) -> str:
    """Where a custom class comes from; empty for Keras's own classes."""
    registered, module = entry.get("registered_name"), entry.get("module")
    if isinstance(registered, str) and ">" in registered:
        return registered
    if isinstance(module, str) and module.split(".")[0] not in {
        p.split(".")[0] for p in KERAS_PACKAGES
    }:
        return module
    if module is None and isinstance(registered, str):
        return registered
    return (">" in entry["class_name"] and entry["class_name"]) or ""


def spell(class_name: str, config: Mapping[str, Any], version: str) -> tuple[str, Config]:
    """Class and config of a layer in the spelling of Keras 3."""
    old = major(version)
    class_name = RENAMED_CLASSES.get(class_name, class_name)
    if old < 2:
        class_name, config = keras1.spell(class_name, config)
    spelled = {key: _listed(plain(value)) for key, value in config.items()}
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
    return class_name.removeprefix("CuDNN"), spelled


RENAMED_CLASSES = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Convolution1DTranspose": "Conv1DTranspose",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
    "AvgPool1D": "AveragePooling1D",
    "AvgPool2D": "AveragePooling2D",
    "AvgPool3D": "AveragePooling3D",
    "MaxPool1D": "MaxPooling1D",
    "MaxPool2D": "MaxPooling2D",
    "MaxPool3D": "MaxPooling3D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalAvgPool3D": "GlobalAveragePooling3D",
    "GlobalMaxPool1D": "GlobalMaxPooling1D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "GlobalMaxPool3D": "GlobalMaxPooling3D",
}

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
    # Until 3.7 the layer also cropped at inference, since 3.6 differently. Since 3.8 it returns its
    # input.
    if _before(version, 3, 8):
        config["at_inference"] = "smart_resize" if _before(version, 3, 6) else "corner_crop"


def _both_ways(config: Config, version: str) -> None:
    # For masked steps of a Bidirectional that returns sequences, tf.keras outputs zeros. Keras
    # before it repeated the previous output.
    config["zero_output_for_mask"] = not by_keras_alone(version)


def _up_sampling(config: Config, version: str) -> None:
    # Before TensorFlow 2, bilinear resizing aligned the corners of pixels instead of their centers.
    if config.get("interpolation") == "bilinear" and by_keras_alone(version):
        config["interpolation"] = "bilinear_keras2"


def _ternary(config: Config, version: str) -> None:
    # A quantized layer stores the packed ternary kernel. Only the dtype policy says so.
    del version
    config["packed"] = str(config.get("dtype", "")).startswith("ternary")


def _listed(value: Any) -> Any:
    """Convert NumPy arrays in an option to lists, since `bool(array)` raises."""
    if isinstance(value, list):
        return [_listed(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def by_keras_alone(version: str) -> bool:
    """Whether standalone Keras wrote the file; versions of tf.keras up to 2.3 end in -tf."""
    return _before(version, 2, 4) and not version.endswith("-tf")


def _before(version: str, *limit: int) -> bool:
    parts = tuple(int(part) if part.isdecimal() else 0 for part in version.split(".")[: len(limit)])
    return bool(version) and parts < limit


def _cudnn(config: Config, version: str) -> None:
    # These layers exist for one kind of GPU. They lack the options that cuDNN does not support.
    del version
    config["recurrent_activation"] = "sigmoid"


def _cudnn_gru(config: Config, version: str) -> None:
    _cudnn(config, version)
    config["reset_after"] = True


CHANGED: Mapping[str, Callable[[Config, str], None]] = {
    "BatchNormalization": _one_axis,
    "CuDNNGRU": _cudnn_gru,
    "CuDNNLSTM": _cudnn,
    "Bidirectional": _both_ways,
    "UpSampling2D": _up_sampling,
    "RandomCrop": _random_crop,
    "TernaryDense": _ternary,
}


# ------------------------------------------------------------------------------------------ values


def plain(value: Any) -> Any:
    """A config value with Keras's wrappers for arrays, slices and tuples removed."""
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
    """An array stored inline in a config.

    Raises:
        ReadError: the value does not form an array of the dtype.
    """
    known = {
        "bool",
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    }
    name = "float32" if dtype in (None, "bfloat16") else dtype
    if name not in known:
        raise ReadError(
            f"an array in the config has the dtype {quoted(dtype)}, which is not a numeric dtype"
        )
    try:
        return np.array(value, dtype=name)
    except (ValueError, TypeError, OverflowError):
        raise ReadError(
            f"an array in the config is not a rectangular array of {name} numbers"
        ) from None


def policy_name(dtype: Any) -> str:
    """Name of a dtype policy in any form: "float32", "mixed_float16", "int8_from_float32"."""
    if dtype is None:
        return "float32"
    if isinstance(dtype, str):
        return dtype
    config = dtype.get("config") if isinstance(dtype, dict) else None
    if not isinstance(config, dict):
        return "float32"
    # A DTypePolicyMap: sublayers differ, and the stored arrays show how.
    if "default_policy" in config:
        return policy_name(config["default_policy"])
    name, mode, source = config.get("name"), config.get("mode"), config.get("source_name")
    return f"{mode}_from_{source or 'float32'}" if isinstance(mode, str) else str(name or "float32")


ALIASES = {"swish": "silu", "hard_swish": "hard_silu", "softmax_v2": "softmax", None: "linear"}


def activation_name(activation: Any, version: int) -> Any:
    """The name of an activation in Keras 3. Anything but a plain name stays unchanged."""
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
