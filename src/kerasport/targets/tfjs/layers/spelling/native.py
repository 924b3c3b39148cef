"""The layers that TF.js computes as Keras does, and how it spells them: one table.

A row has an entry for every option of the Keras layer. TF.js silently ignores options that it does
not know, so a value that it would not honor is refused here. The rows follow TF.js 4.22 on its cpu
and wasm backends; the tests check each row against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import Problem, Refusal
from kerasport.frontends.keras.layers.base import Layer
from kerasport.frontends.keras.layers.conv import _ConvTranspose, transposed_output
from kerasport.frontends.keras.layers.normalization import LayerNormalization
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.targets.tfjs.layers.spelling.activations import (
    ACTIVATIONS,
    COMPANION,
    why_unsupported,
)
from kerasport.weights import Shape, axis_of

Json: TypeAlias = Any
Spelling: TypeAlias = "Callable[[str, Any], Mapping[str, Json] | Companion]"
"""Maps an option and its value to options of TF.js, or raises a `Refusal`."""
Shaped: TypeAlias = Callable[[Any, tuple[Shape, ...]], Mapping[str, Json]]
"""Maps a layer and the shapes of its inputs to options of TF.js."""
Condition: TypeAlias = Callable[[Any, tuple[Shape, ...]], Iterator[tuple[str, str]]]
"""Yields an option ("" for the layer as a whole) and a reason, for each violation."""


@dataclass(frozen=True)
class Companion:
    """How the companion script spells a value that TF.js itself does not support."""

    reason: str
    """Why TF.js does not support the value."""
    config: Mapping[str, Json]
    class_name: str = ""
    """The class of the companion that replaces the class of TF.js; empty if none does."""


@dataclass(frozen=True)
class Spelled:
    """A layer as TF.js spells it."""

    class_name: str
    config: dict[str, Json]
    problems: tuple[Problem, ...] = ()
    companion: str = ""
    """Why the layer needs the companion; empty if it does not."""


@dataclass(frozen=True)
class Native:
    """How TF.js spells one Keras layer."""

    options: Mapping[str, Spelling]
    conditions: tuple[Condition, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    """Name of a weight in Keras → name in TF.js, if they differ."""
    always: Mapping[str, Json] = field(default_factory=dict)
    """Options that are written for every layer of the class."""
    shaped: Shaped | None = None
    """Options that depend on the shapes of the inputs."""

    def weight_name(self, name: str) -> str:
        """The name of a weight in TF.js."""
        return self.weights.get(name, name)


def row(
    kept: str = "",
    *conditions: Condition,
    weights: Mapping[str, str] | None = None,
    always: Mapping[str, Json] | None = None,
    shaped: Shaped | None = None,
    **spelled: Spelling,
) -> Native:
    """A row of the table; `kept` lists options with the same name and meaning in TF.js."""
    options = dict.fromkeys(kept.split(), keep) | spelled
    return Native(options, conditions, weights or {}, always or {}, shaped)


def recurrent(**spelled: Spelling) -> Native:
    """A row for a layer that runs a cell over time."""
    plain = row(
        "units use_bias dropout recurrent_dropout"
        " return_sequences return_state go_backwards stateful",
        one_output_where_stateful,
        always=_RNN_ALWAYS,
        activation=activation,
        unroll=drop,
        # refused elsewhere if the input has a mask
        zero_output_for_mask=drop,
    )
    return replace(plain, options={**plain.options, **spelled})


def stepping(**spelled: Spelling) -> Native:
    """A row for a cell."""
    plain = row("units use_bias", always=_RNN_ALWAYS, activation=activation)
    return replace(plain, options={**plain.options, **_CELL_DROPOUT, **spelled})


# ----------------------------------------------------------------------------- spellings of options


def keep(option: str, value: Any) -> Mapping[str, Json]:
    """The same name and meaning."""
    return {option: json_value(value)}


def as_(name: str) -> Spelling:
    """The same meaning under another name."""
    return lambda _, value: {name: json_value(value)}


def drop(option: str, value: Any) -> Mapping[str, Json]:
    """An option that has no effect at inference, or is written elsewhere."""
    del option, value
    return {}


def only(*allowed: Any, because: str, companion: str = "") -> Spelling:
    """An option that TF.js does not read, and whose value must be one that TF.js implies.

    `companion` is the class of the companion that reads the option, if there is one.
    """

    def spell(option: str, value: Any) -> Mapping[str, Json] | Companion:
        items = value if isinstance(value, tuple) else (value,)
        if value in allowed or all(item in allowed for item in items):
            return {}
        if companion:
            return Companion(because, {option: json_value(value)}, companion)
        raise Refusal(option, because)

    return spell


def written(*allowed: Any, because: str) -> Spelling:
    """An option that TF.js reads, but of which only some values work."""

    def spell(option: str, value: Any) -> Mapping[str, Json] | Companion:
        only(*allowed, because=because)(option, value)
        return {option: json_value(value)}

    return spell


def sampled(option: str, value: Any) -> Mapping[str, Json] | Companion:
    """Nearest neighbor, or bilinear interpolation as in Keras 2, which samples at corners."""
    if value == "bilinear_keras2":
        return {option: "bilinear"}
    return written("nearest", because="TF.js samples at other pixel positions than Keras")(
        option, value
    )


def first_axes(option: str, value: Any) -> Mapping[str, Json]:
    """Shared axes, which must come before all others: the wasm backend tiles the flat weights."""
    if value is not None and sorted(value) != list(range(1, len(value) + 1)):
        raise Refusal(
            option,
            "the wasm backend of TF.js computes wrong results if an axis after an unshared axis "
            "is shared",
        )
    return {option: json_value(value)}


def activation(option: str, value: Any) -> Mapping[str, Json] | Companion:
    """The name of an activation in TF.js; never null, whose meaning depends on the layer."""
    reason = why_unsupported(value)
    if not reason:
        return {option: ACTIVATIONS[value]}
    if isinstance(value, str) and value in COMPANION:
        return Companion(reason, {option: COMPANION[value]})
    raise Refusal(option, reason)


def json_value(value: Any) -> Json:
    """A value as strict JSON, which has neither NaN nor infinity.

    Raises:
        Refusal: JSON cannot represent it.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal("", "JSON cannot represent this number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Refusal("", f"JSON cannot represent a value of type {type(value).__name__}")


# --------------------------------------------------------------------------- conditions with shapes


def ranks(*allowed: int, because: str) -> Condition:
    """The input must have one of these ranks."""

    def check(_: Layer, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
        if len(inputs[0]) not in allowed:
            yield "", f"its input has rank {len(inputs[0])}, {because}"

    return check


def at_least_two(_: Layer, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js does not merge a single input."""
    if len(inputs) < 2:
        yield "", "TF.js needs two or more inputs here"


def last_axis(layer: Any, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """The axis must be the last."""
    rank = len(inputs[0])
    axes = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
    # several axes take another path in TF.js, which works
    if len(axes) == 1 and axis_of(axes[0], rank) != rank - 1:
        yield "axis", "TF.js supports only the last axis here"


def whole_shape(_: Layer, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js flattens neither inputs of unknown size nor inputs of rank 2 or less."""
    if None in inputs[0][1:]:
        yield "", f"TF.js cannot flatten an input of unknown size, {inputs[0]}"
    if len(inputs[0]) < 3:
        yield "", "TF.js cannot flatten an input that is already flat"


def same_unknowns(layer: Any, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js compares the sizes of the other axes, and treats unknown as different from known."""
    axis = axis_of(layer.axis, len(inputs[0]))
    others = {shape[1:axis] + shape[axis + 1 :] for shape in inputs}
    if len(others) > 1:
        shapes = ", ".join(map(str, inputs))
        reason = "TF.js cannot concatenate inputs when some of their sizes are unknown"
        yield "", f"{reason}: {shapes}"


def one_output_where_stateful(layer: Any, _: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js runs a layer once per output, and its states advance each time."""
    if layer.stateful and layer.return_state:
        yield (
            "stateful",
            "TF.js runs the layer once per output, so its states advance more than once per call",
        )


def one_output_of_both_where_stateful(
    layer: Any, _: tuple[Shape, ...]
) -> Iterator[tuple[str, str]]:
    """The same for the layer in a Bidirectional, which returns two outputs if it is unmerged."""
    inner = layer.layer["config"]
    if inner.get("stateful") and (inner.get("return_state") or layer.merge_mode is None):
        reason = "it is stateful, and TF.js runs the layer once per output"
        yield "", f"{reason}, so its states advance more than once per call"


def axis_from_the_front(layer: Any, inputs: tuple[Shape, ...]) -> Mapping[str, Json]:
    """TF.js treats every negative axis as the last one."""
    return {"axis": axis_of(layer.axis, len(inputs[0]))}


def default_output_padding(
    layer: _ConvTranspose, _: tuple[Shape, ...]
) -> Iterator[tuple[str, str]]:
    """TF.js ignores `output_padding`, which is fine if it gives the default size."""
    if layer.output_padding is None:
        return
    paddings = layer.per_axis(layer.output_padding)
    sizes = [
        transposed_output(9, k, s, 1, p, padding=layer.padding)
        for k, s, p in zip(*_axes(layer), paddings, strict=True)
    ]
    default = [
        transposed_output(9, k, s, 1, None, padding=layer.padding)
        for k, s in zip(*_axes(layer), strict=True)
    ]
    if sizes != default:
        yield "output_padding", "TF.js ignores it, so the output would have another size"


def _axes(layer: _ConvTranspose) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return layer.kernel_size, layer.strides


def low_rank_activation(_: Any, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js fails to add the bias to inputs of rank 6 or more."""
    if len(inputs[0]) > 5:
        yield "", "TF.js supports it only for inputs of rank 5 or less"


def sorted_axes(layer: LayerNormalization, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js normalizes the last axes only if they are listed in order."""
    rank = len(inputs[0])
    axes = layer.axes(rank)
    if axes != tuple(range(rank - len(axes), rank)):
        yield "axis", "TF.js normalizes over the last axes only"


def tensors_of_rank_2_or_3(_: Layer, inputs: tuple[Shape, ...]) -> Iterator[tuple[str, str]]:
    """TF.js's Dot supports no other ranks."""
    if any(len(shape) not in (2, 3) for shape in inputs):
        yield "", "TF.js multiplies inputs of rank 2 or 3 only"


# -------------------------------------------------------------------------------------------- table

IN_BIDIRECTIONAL = ("LSTM", "GRU", "SimpleRNN")
"""Layers that the Bidirectional of TF.js supports."""


def mirrored(forward: LayerSpec, backward: LayerSpec | KerasModel) -> bool:
    """Whether the backward layer equals the forward layer except for its direction."""
    if not isinstance(backward, LayerSpec) or backward.class_name != forward.class_name:
        return False
    ignored = {"name", "trainable", "seed", "zero_output_for_mask"}
    differing = {
        key
        for key in {*forward.config, *backward.config} - ignored
        if not key.endswith(("_initializer", "_regularizer", "_constraint"))
        and forward.config.get(key) != backward.config.get(key)
    }
    return differing == {"go_backwards"}


_LAST = only("channels_last", because="TF.js supports only channels_last here")
_NO_GROUPS = only(1, because="TF.js does not support grouped convolutions")
_CONV = "filters kernel_size strides use_bias"
# TF.js never unrolls, and warns if asked to; the loaded bias replaces any initial one
_RNN_ALWAYS: Mapping[str, Json] = {"unroll": False, "unit_forget_bias": False}
_RESET = "the GRU of TF.js applies the reset gate before the matrix product, and has a single bias"
_POOL_AXES = "pool_size strides padding"

# the RNN of TF.js keeps the dropout mask of the first batch, which does not fit other batch sizes
_CELL_DROPOUT: Mapping[str, Spelling] = {"dropout": drop, "recurrent_dropout": drop}

NATIVE: Mapping[str, Native] = {
    # core
    "Dense": row("units use_bias", low_rank_activation, activation=activation),
    "Embedding": row("input_dim output_dim mask_zero", input_length=drop),
    "Activation": row("", activation=activation),
    "Masking": row("mask_value"),
    "Dropout": row("rate noise_shape"),
    "AlphaDropout": row("rate", noise_shape=only(None, because="TF.js interprets it differently")),
    "GaussianDropout": row("rate"),
    "GaussianNoise": row("stddev"),
    "SpatialDropout1D": row("rate", noise_shape=drop),
    # activation layers
    "ReLU": row(
        "max_value",
        negative_slope=only(0, None, because="TF.js ignores it; use LeakyReLU"),
        threshold=only(0, None, because="TF.js ignores it"),
    ),
    "LeakyReLU": row("", negative_slope=as_("alpha")),
    "ELU": row("", alpha=written(1, because="TF.js supports only alpha=1")),
    "PReLU": row("", shared_axes=first_axes),
    "Softmax": row("axis", last_axis),
    "ThresholdedReLU": row("theta"),
    # convolutions
    "Conv1D": row(
        _CONV + " dilation_rate",
        padding=written("valid", "same", because="TF.js does not support causal padding"),
        data_format=_LAST,
        groups=_NO_GROUPS,
        activation=activation,
    ),
    "Conv2D": row(
        _CONV + " padding data_format dilation_rate", groups=_NO_GROUPS, activation=activation
    ),
    "Conv3D": row(
        _CONV + " padding dilation_rate",
        data_format=_LAST,
        groups=_NO_GROUPS,
        activation=activation,
    ),
    "Conv2DTranspose": row(
        _CONV + " padding data_format",
        default_output_padding,
        output_padding=drop,
        dilation_rate=only(1, because="TF.js ignores it, so the output would have another size"),
        activation=activation,
    ),
    "DepthwiseConv2D": row(
        "kernel_size strides padding depth_multiplier data_format use_bias",
        dilation_rate=only(1, because="TF.js ignores it"),
        activation=activation,
        weights={"kernel": "depthwise_kernel"},
    ),
    "SeparableConv2D": row(
        _CONV + " padding depth_multiplier dilation_rate", data_format=_LAST, activation=activation
    ),
    # pooling
    **dict.fromkeys(("AveragePooling1D", "MaxPooling1D"), row(_POOL_AXES, data_format=_LAST)),
    **dict.fromkeys(("AveragePooling2D", "MaxPooling2D"), row(_POOL_AXES + " data_format")),
    "AveragePooling3D": row(_POOL_AXES, data_format=_LAST),
    **dict.fromkeys(
        ("GlobalAveragePooling1D", "GlobalMaxPooling1D"),
        row("", data_format=_LAST, keepdims=only(False, because="TF.js ignores it")),
    ),
    **dict.fromkeys(
        ("GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        row("data_format", keepdims=only(False, because="TF.js ignores it")),
    ),
    # normalization
    "BatchNormalization": row(
        "momentum epsilon center scale",
        last_axis,
        ranks(2, 3, 4, because="but TF.js normalizes inputs of rank 2 to 4 only"),
        axis=lambda _, __: {"axis": -1},
        # acts in training only
        renorm=drop,
    ),
    "LayerNormalization": row(
        "axis epsilon center scale",
        sorted_axes,
        ranks(2, 3, 4, because="but TF.js normalizes inputs of rank 2 to 4 only"),
        rms_scaling=only(False, because="TF.js ignores it"),
    ),
    # recurrent
    "SimpleRNN": recurrent(),
    "LSTM": recurrent(recurrent_activation=activation),
    "GRU": recurrent(
        recurrent_activation=activation,
        reset_after=only(False, because=_RESET, companion="KerasportGRU"),
    ),
    "SimpleRNNCell": stepping(),
    "LSTMCell": stepping(recurrent_activation=activation),
    "GRUCell": stepping(
        recurrent_activation=activation,
        reset_after=only(False, because=_RESET, companion="KerasportGRUCell"),
    ),
    "StackedRNNCells": row("", cells=drop),
    "RNN": row(
        "return_sequences go_backwards stateful",
        always=_RNN_ALWAYS,
        cell=drop,
        return_state=written(
            False, because="TF.js returns the states of stacked cells in another order"
        ),
        unroll=drop,
        zero_output_for_mask=drop,
    ),
    "ConvLSTM2D": row(
        _CONV + " padding dilation_rate dropout recurrent_dropout"
        " return_sequences return_state go_backwards stateful",
        one_output_where_stateful,
        always=_RNN_ALWAYS,
        data_format=_LAST,
        activation=activation,
        recurrent_activation=activation,
        unroll=drop,
        zero_output_for_mask=drop,
    ),
    "Bidirectional": row(
        "merge_mode",
        one_output_of_both_where_stateful,
        layer=drop,
        backward_layer=drop,
        zero_output_for_mask=drop,
    ),
    "TimeDistributed": row("", layer=drop),
    # merging
    **dict.fromkeys(("Add", "Multiply", "Average", "Maximum", "Minimum"), row("", at_least_two)),
    "Concatenate": row("", at_least_two, same_unknowns, axis=drop, shaped=axis_from_the_front),
    "Dot": row(
        "axes",
        tensors_of_rank_2_or_3,
        normalize=written(
            False,
            because=(
                "TF.js divides by a norm of at least 3e-4 (1e-2 on some devices), but Keras by a "
                "norm of at least 1e-7"
            ),
        ),
    ),
    # reshaping
    "Flatten": row("data_format", whole_shape),
    "Reshape": row("target_shape"),
    "Permute": row("dims"),
    "RepeatVector": row("n"),
    "Cropping2D": row("cropping data_format"),
    "ZeroPadding2D": row("padding data_format"),
    "UpSampling2D": row(
        "data_format",
        size=lambda _, size: {
            "size": json_value(size if isinstance(size, tuple) else (size, size))
        },
        interpolation=sampled,
    ),
    # preprocessing
    "Rescaling": row("scale offset"),
}


ALLOW = "the companion script supports it; omit --no-companion"


def spell(
    spec: LayerSpec, layer: Layer, inputs: tuple[Shape, ...] | None, *, companion: bool
) -> Spelled:
    """Spell a layer for TF.js.

    Args:
        spec: the layer as described in the file.
        layer: the same layer with its options and weights.
        inputs: shapes of its inputs; None if they are not known.
        companion: whether the companion script may be used. If not, options that need it are
            problems.
    """
    native = NATIVE[spec.class_name]
    config: dict[str, Json] = dict(native.always)
    class_name, reasons, problems = spec.class_name, [], []

    def refuse(option: str, reason: str, remedy: str = "") -> None:
        value = getattr(layer, option) if option else None
        problems.append(Problem(spec.name, spec.class_name, reason, option, value, remedy))

    for option, spelling in native.options.items():
        try:
            spelled = spelling(option, getattr(layer, option))
        except Refusal as refusal:
            refuse(option, refusal.reason)
            continue
        if not isinstance(spelled, Companion):
            config |= spelled
        elif companion:
            config |= spelled.config
            class_name = spelled.class_name or class_name
            reasons.append(spelled.reason)
        else:
            refuse(option, spelled.reason, ALLOW)
    if inputs:
        config |= native.shaped(layer, inputs) if native.shaped else {}
        for condition in native.conditions:
            for option, reason in condition(layer, inputs):
                refuse(option, reason)
    return Spelled(class_name, config, tuple(problems), "; ".join(dict.fromkeys(reasons)))
