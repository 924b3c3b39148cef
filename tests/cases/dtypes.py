"""Inputs of every dtype, and layers that compute in others than float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from tests.cases.case import Array, Case, one

INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
IMAGE = (6, 5, 3)

ROUNDED = "Keras rounds every step to 16 bits, TF.js to 32"
HALVES: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2, "because": ROUNDED}
BRAINS: dict[str, Any] = {"rtol": 5e-2, "atol": 8e-2, "because": ROUNDED}


def inputs() -> Iterator[Case]:
    """What an input of each dtype becomes in the first layer."""
    for dtype in (*INTEGERS, "int64", "bool", "float16", "bfloat16", "float64"):
        bounds: dict[str, Any] = (
            BRAINS if dtype == "bfloat16" else HALVES if dtype == "float16" else {}
        )
        yield one(f"{dtype}_input_dense", (5,), layers.Dense, 3, of=dtype, **bounds)
        yield one(f"{dtype}_input_itself", (5,), layers.Identity, of=dtype, **bounds)
    for dtype in (*INTEGERS, "int64"):
        yield one(f"{dtype}_input_embedding", (5,), layers.Embedding, 9, 3, of=dtype)
        yield one(
            f"{dtype}_input_rescaling", IMAGE, layers.Rescaling, 1 / 127.5, offset=-1, of=dtype
        )
    for name, layer in (
        ("max_pooling", layers.MaxPooling2D),
        ("global_average_pooling", layers.GlobalAveragePooling2D),
        ("flatten", layers.Flatten),
        ("zero_padding", layers.ZeroPadding2D),
        ("up_sampling", layers.UpSampling2D),
        ("batch_normalization", layers.BatchNormalization),
        ("relu", layers.ReLU),
        ("leaky_relu", layers.LeakyReLU),
        ("elu", layers.ELU),
        ("dropout", lambda: layers.Dropout(0.5)),
        ("conv2d", lambda: layers.Conv2D(2, 3)),
        ("activation_tanh", lambda: layers.Activation("tanh")),
        ("masking", lambda: layers.Masking(3)),
    ):
        yield one(f"int32_input_{name}", IMAGE, layer, of="int32")
        yield one(f"uint8_input_{name}", IMAGE, layer, of="uint8")
    yield from cast_back()
    for name in ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        for dtype in ("int32", "uint8", "bool"):
            # Keras adds and multiplies bytes modulo 256, and adds bools to bools
            other = (
                dtype != "int32"
                and name in ("Add", "Multiply", "Average")
                and (dtype, name) != ("bool", "Multiply")
            )
            refused = name if other else ""
            yield one(
                f"{dtype}_inputs_{name.lower()}",
                [(5,), (5,)],
                getattr(layers, name),
                of=dtype,
                refused=refused,
            )
    yield one("int32_inputs_dot", [(5,), (5,)], layers.Dot, axes=1, of="int32")
    yield one("int32_input_lstm", (4, 3), layers.LSTM, 2, of="int32")
    yield one(
        "string_input",
        (5,),
        layers.Identity,
        of="string",
        refused="only numbers as input",
        feed=nothing,
    )


CASTS = "converted layers compute in float32"


def cast_back() -> Iterator[Case]:
    """Layers and functions that compute fractions of integers and cast them to the input dtype."""
    for name, shape, layer in (
        ("layer_normalization", (5,), layers.LayerNormalization),
        ("rms_normalization", (5,), layers.RMSNormalization),
        ("group_normalization", (4, 6), lambda: layers.GroupNormalization(2)),
        ("up_sampling_bilinear", IMAGE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
        ("resize", IMAGE, lambda: lambda x: keras.ops.image.resize(x, (12, 10))),
        ("matmul_with_itself", (4, 4), lambda: lambda x: keras.ops.matmul(x, x)),
    ):
        yield one(
            f"int32_input_{name}",
            shape,
            layer,
            of="int32",
            refused="" if "matmul" in name else CASTS,
        )
    yield one(
        "uint8_input_resize",
        IMAGE,
        lambda: lambda x: keras.ops.image.resize(x, (12, 10)),
        of="uint8",
        refused=CASTS,
    )
    yield one(
        "uint8_input_resize_to_halves",
        IMAGE,
        lambda: lambda x: keras.ops.image.resize(x, (6, 6)),
        of="uint8",
        refused=CASTS,
    )
    yield one(
        "uint8_input_layer_normalization",
        (5,),
        layers.LayerNormalization,
        of="uint8",
        refused="truncates",
    )
    yield one(
        "int32_input_moments",
        (5,),
        lambda: lambda x: keras.ops.moments(x, (1,))[0],
        of="int32",
        refused="an integer on",
    )
    yield one(
        "bool_input_matmul",
        (4, 4),
        lambda: lambda x: keras.ops.matmul(x, x),
        of="bool",
        refused="no layer",
    )
    yield one(
        "bool_input_group_normalization",
        (6,),
        layers.GroupNormalization,
        2,
        of="bool",
        refused=CASTS,
    )
    yield one(
        "bool_inputs_multiply_and_add",
        [(5,), (5,)],
        lambda: multiply_and_add,
        of="bool",
        refused="no layer",
    )


def multiply_and_add(xs: Any) -> Any:
    """Truth values stay truth values, of which a sum is one."""
    return keras.ops.add(layers.Multiply()(xs), layers.Maximum()(xs))


def nothing(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Zeros, for inputs that are never fed."""
    return np.zeros(shape)


def layer_of_each_kind(policy: str | None = None, each: str | None = None) -> keras.Model:
    """Layers of many kinds, of one policy, or of a dtype given to each."""
    before = keras.config.dtype_policy()
    if policy:
        keras.config.set_dtype_policy(policy)
    try:
        x, words = layers.Input(IMAGE), layers.Input((4,), dtype="int32")
        options: dict[str, Any] = {"dtype": each} if each else {}
        y = layers.Conv2D(4, 3, activation="relu", **options)(layers.Rescaling(0.5, **options)(x))
        y = layers.BatchNormalization(**options)(y)
        y = layers.GlobalAveragePooling2D(**options)(layers.LayerNormalization(**options)(y))
        z = layers.LSTM(3, **options)(layers.Embedding(9, 4, **options)(words))
        y = layers.Dense(4, activation="tanh", **options)(layers.Concatenate(**options)([y, z]))
        return keras.Model([x, words], layers.Dense(3, activation="softmax", dtype="float32")(y))
    finally:
        keras.config.set_dtype_policy(before)


def with_policy(policy: str) -> Callable[[], keras.Model]:
    """The builder for a global policy."""
    return lambda: layer_of_each_kind(policy)


POLICIES = (
    Case("policy_mixed_float16", with_policy("mixed_float16"), **HALVES),
    Case("policy_mixed_bfloat16", with_policy("mixed_bfloat16"), **BRAINS),
    Case("policy_float16", with_policy("float16"), **HALVES),
    Case("policy_bfloat16", with_policy("bfloat16"), **BRAINS),
    Case("policy_float64", with_policy("float64")),
    Case("dtype_of_each_layer_float16", lambda: layer_of_each_kind(each="float16"), **HALVES),
    Case(
        "dtype_of_each_layer_mixed_bfloat16",
        lambda: layer_of_each_kind(each="mixed_bfloat16"),
        **BRAINS,
    ),
    one(
        "dense_of_policy_object",
        (5,),
        lambda: layers.Dense(3, dtype=keras.DTypePolicy("mixed_float16")),
        **HALVES,
    ),
    one("dense_of_dtype_float64", (5,), layers.Dense, 3, dtype="float64"),
    one(
        "embedding_of_dtype_float16",
        (5,),
        layers.Embedding,
        9,
        3,
        of="int32",
        dtype="float16",
        **HALVES,
    ),
    # a layer of whole numbers cuts fractions off
    one(
        "activation_of_dtype_int32", (5,), layers.Activation, "relu", dtype="int32", refused="int32"
    ),
)


def integer_used_twice() -> keras.Model:
    """One input that is looked up and computed with."""
    x = layers.Input((4,), dtype="int32")
    y = layers.Flatten()(layers.Embedding(9, 3)(x))
    return keras.Model(x, layers.Concatenate()([layers.Dense(2)(x), layers.Dense(2)(y)]))


def integer_embedded_in_nested() -> keras.Model:
    """An input that a nested model looks up."""
    inner = keras.Sequential(
        [layers.Input((4,), dtype="int32"), layers.Embedding(9, 3), layers.Flatten()]
    )
    x = layers.Input((4,), dtype="int32")
    return keras.Model(x, layers.Dense(2)(inner(x)))


def floats_embedded() -> keras.Model:
    """Ids that a layer computes; an embedding cuts the fractions off."""
    x = layers.Input((4,))
    return keras.Model(x, layers.Embedding(12, 3)(layers.Rescaling(1.4)(x)))


def below_eight(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.integers(0, 8, shape)


CASES = (
    *inputs(),
    *POLICIES,
    Case("integer_used_twice", integer_used_twice),
    Case("integer_embedded_in_nested", integer_embedded_in_nested),
    Case("floats_embedded", floats_embedded, feed=below_eight),
)
