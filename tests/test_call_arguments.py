"""Every argument of every layer's `call`, by position and by name, as a tensor and as a constant.

Keras builds, saves and runs each model. What kerasport makes of it must compute the same numbers or
be refused with the name of the layer; no argument may be ignored.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests import onnx_runtime
from tests.cases.case import Array
from tests.cases.trial import quiet, randomize, undrawn_weights

import kerasport
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.model import LayerSpec
from kerasport.frontends.keras.read import read
from kerasport.frontends.keras.read.arguments import signature_of
from kerasport.verification.runtimes.tfjs import Tfjs

BATCH = 3
NAMES = {"GroupedQueryAttention": "GroupQueryAttention"}  # class → the name that its config has
CLASSES: Mapping[str, Any] = {
    NAMES.get(cls.__name__, cls.__name__): cls
    for cls in (getattr(layers, name) for name in dir(layers))
    if isinstance(cls, type) and issubclass(cls, layers.Layer)
}
"""Keras's public layers by the name of the class, which aliases share."""
SERIES, IMAGE, FILM = (5, 3), (6, 5, 3), (4, 6, 5, 3)


@dataclass(frozen=True)
class Value:
    """What an argument may be: sizes behind the batch, a dtype, and how many tensors there are."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    count: int = 0  # of a list of tensors; 0 for one tensor alone

    def numbers(self, rng: np.random.Generator) -> Array:
        """Random numbers; a mask begins with padding, and masks one sample completely."""
        shape = (BATCH, *self.shape)
        if self.dtype == "bool":
            mask = rng.random(shape) < 0.6
            mask[:, 0], mask[:, -1], mask[0] = False, True, False
            return mask
        if self.dtype == "string":
            return rng.choice(["a", "b", "c"], shape)
        if "int" in self.dtype:
            return rng.integers(0, 4, shape).astype(self.dtype)
        return rng.normal(0, 1, shape).astype(self.dtype)

    def constants(self, rng: np.random.Generator, *, each: bool) -> Any:
        """One array, or a list of them, for each sample of a batch or one that stands for all."""
        arrays = [self.numbers(rng) for _ in range(self.count or 1)]
        arrays = arrays if each else [array[1:2] for array in arrays]
        return arrays if self.count else arrays[0]

    def inputs(self) -> Any:
        """The same as inputs of a model."""
        if not self.count:
            return layers.Input(self.shape, dtype=self.dtype)
        return [layers.Input(self.shape, dtype=self.dtype) for _ in range(self.count)]


def mask_of(*shape: int) -> Value:
    return Value(shape, "bool")


@dataclass(frozen=True)
class Flag:
    """An argument that is a Python bool."""

    value: bool


@dataclass(frozen=True)
class Row:
    """A layer, the tensors that it works on, and values for the other arguments of its `call`."""

    options: Mapping[str, Any]
    first: Value
    others: Mapping[str, Value | Flag]


def row(
    first: Value | tuple[int, ...], /, others: Mapping[str, Any] | None = None, **options: Any
) -> Row:
    return Row(options, Value(first) if isinstance(first, tuple) else first, others or {})


def cell(**options: Any) -> Any:
    return layers.LSTMCell(4, **options)


def over_time(x: tuple[int, ...], state: tuple[int, ...], count: int, **options: Any) -> Row:
    states = Value(state, count=count)
    return row(
        x, {"initial_state": states, "mask": mask_of(x[0])}, return_sequences=True, **options
    )


TWO, PAIR = Value((5, 3), count=2), Value((5, 3), count=2)
INDICES = Value((5,), "int32")
STATE = Value((4,), count=1)
HEADS = {
    "value": Value((6, 3)),
    "key": Value((6, 3)),
    "query_mask": mask_of(5),
    "value_mask": mask_of(6),
    "key_mask": mask_of(6),
    "attention_mask": mask_of(5, 6),
    "return_attention_scores": Flag(True),
    "use_causal_mask": Flag(True),
}
ATTENTION = {
    "mask": Value((5,), "bool", 2),
    "return_attention_scores": Flag(True),
    "use_causal_mask": Flag(True),
}

WITH_A_FACTOR = (
    "RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomHue", "RandomRotation",
    "RandomSaturation", "RandomSharpness",
)  # fmt: skip
WITHOUT_OPTIONS = (
    "RandomColorJitter",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomInvert",
    "RandomPerspective",
    "RandomShear",
    "Solarization",
)

ROWS: Mapping[str, Row] = {
    "Activation": row(SERIES, activation="tanh"),
    "ActivityRegularization": row(SERIES),
    "AdaptiveAveragePooling1D": row(SERIES, output_size=2),
    "AdaptiveAveragePooling2D": row(IMAGE, output_size=2),
    "AdaptiveAveragePooling3D": row(FILM, output_size=2),
    "AdaptiveMaxPooling1D": row(SERIES, output_size=2),
    "AdaptiveMaxPooling2D": row(IMAGE, output_size=2),
    "AdaptiveMaxPooling3D": row(FILM, output_size=2),
    "Add": row(TWO),
    "AdditiveAttention": row(PAIR, ATTENTION),
    "AlphaDropout": row(SERIES, rate=0.3),
    "Attention": row(PAIR, ATTENTION),
    "AugMix": row(IMAGE),
    "AutoContrast": row(IMAGE),
    "Average": row(TWO),
    "AveragePooling1D": row(SERIES, pool_size=2),
    "AveragePooling2D": row(IMAGE, pool_size=2),
    "AveragePooling3D": row(FILM, pool_size=2),
    "BatchNormalization": row(SERIES, {"mask": mask_of(5)}),
    "CategoryEncoding": row(
        INDICES, {"count_weights": Value((5,))}, num_tokens=4, output_mode="count"
    ),
    "CenterCrop": row(IMAGE, height=3, width=3),
    "Concatenate": row(TWO),
    "ContrastLimitedAdaptiveHistogramEqualization": row((8, 8, 3)),
    "Conv1D": row(SERIES, filters=4, kernel_size=2),
    "Conv1DTranspose": row(SERIES, filters=4, kernel_size=2),
    "Conv2D": row(IMAGE, filters=4, kernel_size=2),
    "Conv2DTranspose": row(IMAGE, filters=4, kernel_size=2),
    "Conv3D": row(FILM, filters=4, kernel_size=2),
    "Conv3DTranspose": row(FILM, filters=4, kernel_size=2),
    "Cropping1D": row(SERIES),
    "Cropping2D": row(IMAGE),
    "Cropping3D": row(FILM),
    "CutMix": row(IMAGE),
    "Dense": row(SERIES, units=4),
    "DepthwiseConv1D": row(SERIES, kernel_size=2),
    "DepthwiseConv2D": row(IMAGE, kernel_size=2),
    "Discretization": row(SERIES, bin_boundaries=[-0.5, 0.5]),
    "Dot": row(PAIR, axes=2),
    "Dropout": row(SERIES, rate=0.3),
    "ELU": row(SERIES),
    "EinsumDense": row(SERIES, equation="abc,cd->abd", output_shape=(None, 4)),
    "Embedding": row(INDICES, input_dim=4, output_dim=3),
    "Equalization": row(IMAGE),
    "Flatten": row(SERIES),
    "GRU": over_time(SERIES, (4,), 1, units=4),
    "GRUCell": row((3,), {"states": STATE}, units=4),
    "GaussianDropout": row(SERIES, rate=0.3),
    "GaussianNoise": row(SERIES, stddev=0.3),
    "GlobalAveragePooling1D": row(SERIES, {"mask": mask_of(5)}),
    "GlobalAveragePooling2D": row(IMAGE),
    "GlobalAveragePooling3D": row(FILM),
    "GlobalMaxPooling1D": row(SERIES),
    "GlobalMaxPooling2D": row(IMAGE),
    "GlobalMaxPooling3D": row(FILM),
    "GroupNormalization": row(SERIES, groups=3),
    "GroupQueryAttention": row(SERIES, HEADS, head_dim=2, num_query_heads=4, num_key_value_heads=2),
    "HashedCrossing": row(Value((1,), "int32", 2), num_bins=5),
    "Hashing": row(INDICES, num_bins=5),
    "Identity": row(SERIES),
    "IntegerLookup": row(INDICES, vocabulary=[1, 2]),
    "LSTM": over_time(SERIES, (4,), 2, units=4),
    "LSTMCell": row((3,), {"states": Value((4,), count=2)}, units=4),
    "Lambda": row(SERIES, {"mask": mask_of(5)}, function=abs),
    "LayerNormalization": row(SERIES),
    "LeakyReLU": row(SERIES),
    "Masking": row(SERIES),
    "MaxNumBoundingBoxes": row(IMAGE, max_number=2),
    "MaxPooling1D": row(SERIES),
    "MaxPooling2D": row(IMAGE),
    "MaxPooling3D": row(FILM),
    "Maximum": row(TWO),
    "MelSpectrogram": row((64,), fft_length=16, sampling_rate=100, num_mel_bins=4, max_freq=50),
    "Minimum": row(TWO),
    "MixUp": row(IMAGE),
    "MultiHeadAttention": row(SERIES, HEADS, num_heads=2, key_dim=2),
    "Multiply": row(TWO),
    "Normalization": row(SERIES, mean=0.5, variance=2.0),
    "PReLU": row(SERIES),
    "Permute": row(SERIES, dims=(2, 1)),
    "Pipeline": row(IMAGE, {"mask": mask_of(6, 5)}, layers=lambda: [layers.Rescaling(0.5)]),
    "RMSNormalization": row(SERIES),
    "RNN": over_time(SERIES, (4,), 2, cell=cell),
    "RandAugment": row(IMAGE),
    "RandomCrop": row(IMAGE, height=3, width=3),
    **{name: row(IMAGE) for name in WITHOUT_OPTIONS},
    **{name: row(IMAGE, factor=0.2) for name in WITH_A_FACTOR},
    "RandomPosterization": row(IMAGE, factor=4),
    "RandomTranslation": row(IMAGE, height_factor=0.2, width_factor=0.2),
    "RandomZoom": row(IMAGE, height_factor=0.2),
    "ReLU": row(SERIES),
    "RepeatVector": row((3,), n=2),
    "Rescaling": row(SERIES, scale=0.5),
    "Reshape": row(SERIES, target_shape=(3, 5)),
    "Resizing": row(IMAGE, height=3, width=3),
    "ReversibleEmbedding": row(
        Value((3,), "int32"), {"reverse": Flag(True)}, input_dim=4, output_dim=3
    ),
    "STFTSpectrogram": row((64, 1), frame_length=16, frame_step=8, fft_length=16),
    "SeparableConv1D": row(SERIES, filters=4, kernel_size=2),
    "SeparableConv2D": row(IMAGE, filters=4, kernel_size=2),
    "SimpleRNN": over_time(SERIES, (4,), 1, units=4),
    "SimpleRNNCell": row((3,), {"states": STATE}, units=4),
    "Softmax": row(SERIES, {"mask": mask_of(5, 3)}),
    "SpatialDropout1D": row(SERIES, rate=0.3),
    "SpatialDropout2D": row(IMAGE, rate=0.3),
    "SpatialDropout3D": row(FILM, rate=0.3),
    "SpectralNormalization": row(SERIES, layer=lambda: layers.Dense(4)),
    "StackedRNNCells": row(
        (3,), {"states": Value((4,), count=2)}, cells=lambda: [layers.GRUCell(4) for _ in "ab"]
    ),
    "StringLookup": row(Value((5,), "string"), vocabulary=["a", "b"]),
    "Subtract": row(PAIR),
    "TextVectorization": row(Value((1,), "string"), vocabulary=["a", "b"]),
    "TimeDistributed": row(FILM, {"mask": mask_of(4)}, layer=lambda: layers.Conv2D(4, 2)),
    "UnitNormalization": row(SERIES),
    "UpSampling1D": row(SERIES),
    "UpSampling2D": row(IMAGE),
    "UpSampling3D": row(FILM),
    "ZeroPadding1D": row(SERIES),
    "ZeroPadding2D": row(IMAGE),
    "ZeroPadding3D": row(FILM),
    "Bidirectional": row(
        SERIES,
        {"initial_state": Value((4,), count=4), "mask": mask_of(5)},
        layer=lambda: layers.LSTM(4, return_sequences=True),
    ),
    **{
        f"ConvLSTM{rank}D": over_time(
            (4, *(5,) * rank, 2), (*(5,) * rank, 2), 2, filters=2, kernel_size=2, padding="same"
        )
        for rank in (1, 2, 3)
    },
}

# Bases, what holds other code, and the input; `training` is a Python value everywhere.
NOT_CALLED = frozenset(
    ("InputLayer", "Layer", "Wrapper", "FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")
)
MADE_WHEN_USED = (
    "cell",
    "layer",
    "layers",
    "cells",
)  # options that hold layers, which no two models share
NEEDS_TENSORFLOW = frozenset(
    ("Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization")
)
REFUSED_BY_GRAPHS = frozenset((("Lambda", "inputs"), ("Lambda", "mask"), ("Pipeline", "mask")))


@dataclass(frozen=True)
class Call:
    """One way to give one argument."""

    class_name: str
    argument: str
    by_name: bool
    constant: bool = False

    def __str__(self) -> str:
        how = "by_name" if self.by_name else "by_position"
        return (
            f"{self.class_name}-{self.argument}-{how}-{'constant' if self.constant else 'tensor'}"
        )


def parameters(class_name: str) -> list[str]:
    """The parameters of a Keras layer's `call`."""
    wanted = inspect.signature(CLASSES[class_name].call).parameters
    return [
        name for name, p in wanted.items() if name != "self" and p.kind is p.POSITIONAL_OR_KEYWORD
    ]


def calls() -> Iterator[Call]:
    """Every way to give every argument of every layer."""
    for class_name, of in ROWS.items():
        first, *others = parameters(class_name)
        yield Call(class_name, first, by_name=False)
        yield Call(class_name, first, by_name=True)
        if of.first.count > 1:
            yield Call(class_name, first, by_name=False, constant=True)
            yield Call(class_name, first, by_name=True, constant=True)
        for argument in others:
            value = of.others.get(argument)
            if isinstance(value, Flag):
                yield Call(class_name, argument, by_name=True, constant=True)
            elif value is not None:
                for by_name in (False, True):
                    yield Call(class_name, argument, by_name, constant=False)
                    yield Call(class_name, argument, by_name, constant=True)


class Model:
    """A model of one call: saved, with feeds and the numbers that Keras computes of them."""

    def __init__(self, call: Call, folder: Path) -> None:
        self.class_name = call.class_name
        of, self.path = ROWS[call.class_name], folder / "model.keras"
        rng = np.random.default_rng(zlib.crc32(str(call).encode()))
        arguments = self._arguments(call, of, rng)
        options = {k: v() if k in MADE_WHEN_USED else v for k, v in of.options.items()}
        with quiet(), undrawn_weights():
            layer = CLASSES[call.class_name](**options)
            positional, named = split(call, arguments)
            outputs = keras.tree.flatten(layer(*positional, **named))
            # shows which mask Keras passes on
            masked = [layers.GlobalAveragePooling1D()(y) for y in outputs if len(y.shape) == 3]
            self.inputs = [
                x for x in keras.tree.flatten(arguments) if keras.backend.is_keras_tensor(x)
            ]
            model = keras.Model(self.inputs, [*outputs, *masked])
            randomize(model, rng)
            model.save(self.path)
            self.feed = tuple(self._feed(x, rng) for x in self.inputs)
            self.expected = [
                np.asarray(y) for y in keras.tree.flatten(model(list(self.feed), training=False))
            ]

    def _arguments(self, call: Call, of: Row, rng: np.random.Generator) -> dict[str, Any]:
        first, *others = parameters(call.class_name)
        arguments = {first: of.first.inputs()}
        if call.argument == first and call.constant:
            arguments[first][1] = of.first.constants(
                rng, each=call.class_name in ("Concatenate", "Dot")
            )[1]
        for name in others:
            value = of.others.get(name)
            needed = name == call.argument or name in ("value", "states")
            if isinstance(value, Flag) and name == call.argument:
                arguments[name] = value.value
            elif isinstance(value, Value) and needed:
                constant = call.constant and name == call.argument
                arguments[name] = (
                    value.constants(rng, each=name == "initial_state")
                    if constant
                    else value.inputs()
                )
        return arguments

    @staticmethod
    def _feed(x: Any, rng: np.random.Generator) -> Array:
        return Value(tuple(x.shape[1:]), x.dtype).numbers(rng)


def split(call: Call, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that a call gives by position, and those that it gives by name."""
    names = parameters(call.class_name)
    if call.by_name and call.argument == names[0]:
        return [], dict(arguments)
    last = 1 if call.by_name else names.index(call.argument) + 1
    positional = [arguments.get(name) for name in names[:last]]
    return positional, {
        name: value for name, value in arguments.items() if name not in names[:last]
    }


def test_the_table_has_every_argument_of_every_layer() -> None:
    assert set(CLASSES) - set(ROWS) == NOT_CALLED
    for class_name, of in ROWS.items():
        _, *others = parameters(class_name)
        assert {*others} - {"training"} == set(of.others), class_name


@pytest.mark.parametrize("class_name", ROWS)
def test_signatures_are_those_of_keras(class_name: str) -> None:
    signature = signature_of(LayerSpec("layer", class_name, {}))
    assert signature is not None
    wanted = parameters(class_name)
    # the signature of most layers has a `training` that some lack
    assert [*signature.names] in (wanted, [*wanted, "training"])
    assert [*signature.tensors] == wanted[: len(signature.tensors)]


# What Keras itself cannot do: class, argument, by name, constant (None: either) → what it says.
IMPOSSIBLE: Mapping[tuple[str, str, bool | None, bool | None], str] = {
    **{
        (name, argument, False, None): "multiple values for argument 'query_mask'"
        for name in ("MultiHeadAttention", "GroupQueryAttention")
        for argument in ("value_mask", "key_mask", "attention_mask")
    },
    **{
        (name, "mask", False, None): "multiple values for argument 'training'"
        for name in ("BatchNormalization", "Pipeline", "TimeDistributed")
    },
    ("Equalization", "data", False, False): "is part of a cycle",
    ("TimeDistributed", "mask", True, True): "incompatible with the in",
    ("CategoryEncoding", "count_weights", False, None): "2 positional arguments but 3 were given",
    # only the mask that Keras passes on is of a rank that other layers do not take
    ("Softmax", "mask", True, None): "Incompatible shapes for broadcasting",
    **{
        (f"ConvLSTM{rank}D", "mask", by_name, False): "Incompatible shapes for broadcasting"
        for rank in (1, 2, 3)
        for by_name in (False, True)
    },
    **{
        (name, parameters(name)[0], True, False): "missing 1 required positional argument"
        for name in ROWS
        if parameters(name)[:1] == ["data"]
    },
}


def impossible(call: Call) -> str:
    """What Keras says of a call that it cannot make; empty where it can."""
    for (class_name, argument, *how), reason in IMPOSSIBLE.items():
        asked = (call.by_name, call.constant)
        same = all(wanted in (None, is_) for wanted, is_ in zip(how, asked, strict=True))
        if class_name == call.class_name and argument == call.argument and same:
            return reason
    return ""


@pytest.mark.rows(8)
@pytest.mark.parametrize("call", list(calls()), ids=str)
def test_call_arguments_have_the_effect_of_keras_or_are_refused(
    call: Call, tfjs: Tfjs, tmp_path: Path
) -> None:
    if call.class_name in NEEDS_TENSORFLOW:
        pytest.importorskip("tensorflow", reason="Keras makes this layer with TensorFlow only")
    if reason := impossible(call):
        with pytest.raises(Exception, match=reason):
            Model(call, tmp_path)
        return
    model = Model(call, tmp_path)
    if (call.class_name, call.argument) in REFUSED_BY_GRAPHS:
        with pytest.raises(kerasport.UnsupportedModel, match=call.class_name):
            kerasport.convert(model.path, tmp_path / "refused.onnx")
    else:
        with read(model.path) as source, np.errstate(all="ignore"):
            close(model, lower(source).run(*map(onnx_runtime.fed, model.feed)))
        kerasport.convert(model.path, tmp_path / "model.onnx")
        close(model, onnx_runtime.run(tmp_path / "model.onnx", [model.feed])[0])
        kerasport.convert(model.path, tmp_path / "graph", to="tfjs-graph")
        close(model, tfjs.run(tmp_path / "graph", [model.feed], backend="cpu").results[0])
    check = kerasport.check(model.path, to="tfjs-layers")
    if not check.convertible:
        classes = {problem.class_name for problem in check.problems}
        assert classes & {call.class_name, "GlobalAveragePooling1D"}
        return
    kerasport.convert(model.path, tmp_path / "layers", to="tfjs-layers")
    close(model, tfjs.run(tmp_path / "layers", [model.feed], backend="cpu").results[0])


def close(model: Model, computed: Any) -> None:
    """Assert that the numbers are those of Keras."""
    # the decibels of a band that holds nearly nothing are the logarithm of a rounding error
    bounds = (1e-3, 1e-3) if model.class_name == "MelSpectrogram" else (1e-4, 1e-5)
    onnx_runtime.close(model.expected, [np.asarray(y) for y in computed], *bounds)
