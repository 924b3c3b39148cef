"""Functions of keras.ops that a model calls as nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from tests.cases.case import Array, Case, Sizes, no_layers_model, only_onnx

S = (5, 4)
LONG = (None, 4)
IMAGE = (7, 6, 3)
GRAPH = "--to tfjs-graph"
BITS = "TF.js has no operation on the bits of integers"


def called(
    name: str,
    make: Callable[..., Any],
    *shapes: Sizes,
    refused: str = "",
    companion: str = "",
    **row: Any,
) -> Case:
    """The case of functions on inputs of these shapes."""

    def build() -> keras.Model:
        inputs = [layers.Input(shape) for shape in shapes]
        return keras.Model(inputs, make(*inputs))

    return Case(
        f"ops_{name}",
        build,
        refused=no_layers_model(refused) if refused else {},
        companion=companion,
        **row,
    )


def times(x: Any, y: Any) -> Any:
    """Batched matrices, multiplied."""
    return ops.matmul(x, ops.transpose(y, (0, 2, 1)))


def hard_swish(x: Any) -> Any:
    """As MobileNetV3 writes it."""
    return x * ops.relu6(x + 3) / 6


ARITHMETIC: Sequence[Case] = (
    called("plus_one", lambda x: x + 1, S),
    called("chain_of_numbers", lambda x: 2 - x * 3 / 4, S),
    called(
        "row_of_numbers",
        lambda x: x * np.arange(1, 5, dtype="float32") + np.ones((1, 4), "float32"),
        S,
    ),
    called(
        "image_of_numbers",
        lambda x: x - np.linspace(0, 1, 126, dtype="float32").reshape(IMAGE),
        IMAGE,
    ),
    called("sum_and_difference", lambda x, y: (x - y) * (x + y), S, S),
    called("spread", lambda x, y: x * y, IMAGE, (1, 1, 3)),
    called("spread_both", lambda x, y: x + y, (5, 1), (1, 4)),
    called("with_itself", lambda x: x * x + x, S),
    called("cube", lambda x: x**3, S),
    called("maximum_of_a_number", lambda x: ops.maximum(x, 0.3), S),
    called("minimum_of_a_number", lambda x: ops.minimum(x, 0.3), S),
    called("maximum", ops.maximum, S, S),
    called("absolute", ops.abs, S),
    called("clip_around_zero", lambda x: ops.clip(x, -0.5, 0.7), S),
    called("clip_above_zero", lambda x: ops.clip(x, 0.2, 0.7), S),
    called("square_negative", lambda x: -ops.square(x), S),
    called("exponential", ops.exp, S, companion="TF.js does not have this activation"),
    called("divided_by_another", lambda x, y: x / (y * y + 1), S, S, refused=GRAPH),
    called("sine", ops.sin, S, refused="it computes Sin"),
    called("root", lambda x: ops.sqrt(ops.square(x)), S, refused="it computes Sqrt"),
    called("compared", lambda x: ops.where(x > 0, x, 0.1 * x), S, refused=GRAPH),
)

ACTIVATIONS: Sequence[Case] = (
    called("relu", ops.relu, S),
    called("relu_of_six", lambda x: keras.activations.relu(x, max_value=6), S),
    called(
        "relu_of_options", lambda x: keras.activations.relu(x, negative_slope=0.2, max_value=1.5), S
    ),
    called("relu6", ops.relu6, S),
    called("hard_swish", hard_swish, IMAGE),
    called("gelu_by_erf", lambda x: ops.gelu(x, approximate=False), S),
    called("gelu_by_tanh", ops.gelu, S),
    called("silu", ops.silu, S),
    called("softsign", ops.softsign, S),
    called("elu", ops.elu, S),
    called("selu", ops.selu, S),
    called("celu", ops.celu, S),
    called("celu_alpha", lambda x: ops.celu(x, 0.7), S),
    called("leaky_relu", lambda x: ops.leaky_relu(x, 0.3), S),
    called("hard_sigmoid", ops.hard_sigmoid, S),
    called("softmax", lambda x: ops.softmax(x, -1), S),
    called("softmax_of_the_first_axis", lambda x: ops.softmax(x, 1), S),
    called("log_softmax", lambda x: ops.log_softmax(x, -1), S),
)

MOVEMENT: Sequence[Case] = (
    called("reshape_samples", lambda x: ops.reshape(x, (-1, 20)), S),
    called("transpose", lambda x: ops.transpose(x, (0, 2, 1)), S),
    called("swap_axes", lambda x: ops.swapaxes(x, 1, 3), IMAGE),
    called("concatenate_three", lambda x, y: ops.concatenate([x, y, x], -1), S, S),
    called("concatenate", lambda x: ops.concatenate([x, x], axis=1), S),
    called("stack", lambda x, y: ops.stack([x, y], 1), S, S),
    called("expand_dims", lambda x: ops.expand_dims(x, 1), S),
    called("squeeze", lambda x: ops.squeeze(x, 1), (1, 4)),
    called("slice_from", lambda x: x[:, 1:], S),
    called("slice_by_steps", lambda x: x[:, 1:3, ::2], S),
    called("slice_last_step", lambda x: x[:, -1], S),
    called("slice_channels_of_a_series", lambda x: x[:, :, 1:-1], LONG),
    called("slice_unknown_length", lambda x: x[:, 1:-1], LONG),
    called(
        "slice_last_step_of_unknown_length",
        lambda x: x[:, -1],
        LONG,
        refused="of unknown size from its end",
    ),
    called("slice_channels", lambda x: x[..., :2], IMAGE),
    called("slice_all_axes", lambda x: x[:, 1:4, 2:5, 1:], IMAGE),
    called("slice_backwards", lambda x: x[:, ::-1], S),
    called("flip", lambda x: ops.flip(x, 1), S),
    called("split", lambda x: ops.add(*ops.split(x, 2, -1)), S),
    called("unstack", lambda x: ops.unstack(x, axis=1)[1], S),
    called("take", lambda x: ops.take(x, [2, 0], axis=1), S),
    called("pad_two_axes", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 3))), S),
    called("pad_image", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))), IMAGE),
    called("pad_channels", lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 1), (2, 0))), IMAGE),
    called(
        "pad_mirrored",
        lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 3)), "reflect"),
        S,
        refused="only with zeros",
    ),
    called("tile", lambda x: ops.tile(x, (1, 2, 3)), S),
    called("repeat", lambda x: ops.repeat(x, 3, 1), S),
)

REDUCTIONS: Sequence[Case] = (
    called("mean", lambda x: ops.mean(x, -1), S),
    called("mean_of_a_layer", lambda x: ops.mean(layers.Dense(2)(x), axis=-1), (4,)),
    called("mean_of_a_row", lambda x: ops.mean(x, 1), (4,)),
    called("mean_of_an_image", lambda x: ops.mean(x, (1, 2), keepdims=True), IMAGE),
    called("mean_of_unknown_length", lambda x: ops.mean(x, 1), LONG),
    called("sum", lambda x: ops.sum(x, (1, 3)), IMAGE),
    called("max", lambda x: ops.max(x, 2), IMAGE),
    called("min", lambda x: ops.min(x, 1, keepdims=True), IMAGE),
    called("variance", lambda x: ops.var(x, -1), S),
    called("matmul_of_two", times, S, S),
    called(
        "matmul_of_a_constant",
        lambda x: ops.matmul(x, np.arange(12, dtype="float32").reshape(4, 3) / 9),
        S,
    ),
    called("einsum", lambda x, y: ops.einsum("bij,bkj->bik", x, y), S, S),
)


def table(*shape: int) -> Array:
    """Constants for a model."""
    return np.sin(np.arange(1, 1 + np.prod(shape)), dtype="float32").reshape(shape)


def places(x: Any) -> Any:
    """Numbers as indices below 3."""
    return ops.cast(ops.abs(x) % 3.0, "int32")


ONE, THREE = table(1, 5, 4), table(3, 5, 4)
BATCHED: Sequence[Case] = tuple(
    called(f"batched_{name}", make, S, refused=refused, mixes_batch=True)
    for name, make, refused in (
        (
            "slice_update_of_one_sample",
            lambda x: ops.slice_update(x, [0, 1, 1], table(1, 2, 2)),
            GRAPH,
        ),
        ("slice_update_of_one_whole_sample", lambda x: ops.slice_update(x, [0, 0, 0], ONE), GRAPH),
        (
            "slice_update_of_the_last_sample",
            lambda x: ops.slice_update(x, [7, 3, 0], table(1, 2, 4)),
            GRAPH,
        ),
        (
            "slice_update_of_all_samples",
            lambda x: ops.slice_update(x, [0, 1, 1], x[:, :2, :2] * 2),
            GRAPH,
        ),
        (
            "slice_update_by_the_first_sample",
            lambda x: ops.slice_update(x, [0, 1, 1], x[:1, 2:, 2:]),
            GRAPH,
        ),
        (
            "slice_update_of_a_constant",
            lambda x: ops.slice_update(table(6, 5, 4), [1, 0, 0], x),
            "constant",
        ),
        (
            "slice_update_from_the_end",
            lambda x: ops.slice_update(x, [0, -1, 1], table(1, 1, 1)),
            "negative start",
        ),
        ("slice_of_the_last_sample", lambda x: ops.slice(x, [7, 1, 0], [1, 2, 3]), GRAPH),
        ("take_along_axis_of_one", lambda x: ops.take_along_axis(ONE, places(x), 1), GRAPH),
        ("take_along_axis_of_three", lambda x: ops.take_along_axis(THREE, places(x), 1), GRAPH),
        ("take_along_axis_by_one", lambda x: ops.take_along_axis(x, places(ONE), 1), GRAPH),
        ("take_along_axis_by_three", lambda x: ops.take_along_axis(x, places(THREE), 1), GRAPH),
        ("broadcast_to_three", lambda x: ops.broadcast_to(x, (3, 5, 4)), "broadcasts the batch"),
        ("add_one", lambda x: x + ONE, ""),
        ("add_three", lambda x: x + THREE, "broadcast the result"),
        ("power_of_one", lambda x: ops.power(ops.abs(x), ONE + 1), "integer powers"),
        ("where_of_one_and_three", lambda x: ops.where(x > 0, ONE, THREE), GRAPH),
        ("concatenate_one", lambda x: ops.concatenate([x, ONE], 0), "along the batch axis"),
        ("vstack_three", lambda x: ops.vstack([THREE, x]), "along the batch axis"),
        ("einsum_with_three", lambda x: ops.einsum("bij,bkj->bik", x, THREE), GRAPH),
        ("matmul_with_three", lambda x: ops.matmul(x, table(3, 4, 2)), GRAPH),
        ("full_like_one", lambda x: ops.full_like(x, ONE), "TF.js has no layer"),
    )
)


def of_dtypes(name: str, make: Callable[..., Any], *inputs: tuple[Sizes, str], **row: Any) -> Case:
    """The case of functions on inputs of these shapes and dtypes."""

    def build() -> keras.Model:
        tensors = [layers.Input(shape, dtype=dtype) for shape, dtype in inputs]
        return keras.Model(tensors, make(*tensors))

    return Case(f"ops_{name}", build, **row)


def shifts(x: Any, y: Any) -> Any:
    """Shifts by tensors, some of them beyond 32 bits, and by numbers."""
    return [
        ops.left_shift(x, y),
        ops.right_shift(x, y),
        ops.left_shift(x, 5),
        ops.right_shift(x, 3),
    ]


def many_bits(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers to shift, of all bits in some columns, and amounts from -3 to 36 in others."""
    return np.where(
        rng.random(shape) < 0.5, rng.integers(-(2**31), 2**31, shape), rng.integers(-3, 37, shape)
    )


def round_trip(x: Any, y: Any) -> Any:
    """Transforms along one axis and along two, and back."""
    spectrum = ops.fft2((x, y))
    return [*ops.fft((x, y)), *spectrum, *ops.ifft2(spectrum)]


def real_round_trip(x: Any) -> Any:
    """Transforms of real numbers, of an odd length, cut, filled up, and back."""
    spectrum = ops.rfft(x)
    return [*spectrum, *ops.rfft(x, fft_length=4), *ops.rfft(x, fft_length=12), ops.irfft(spectrum),
            ops.irfft(spectrum, fft_length=7)]  # fmt: skip


def windows(x: Any) -> Any:
    """Transforms of windows, and back."""
    spectra = ops.stft(x, 6, 3, 8)
    plain = ops.stft(x, 8, 5, 8, window="hamming", center=False)
    return [
        *spectra,
        *plain,
        ops.istft(spectra, 6, 3, 8),
        ops.istft(plain, 8, 5, 8, window="hamming", center=False),
    ]


def updated(rows: Any) -> Any:
    """Rows of a table that are replaced or combined with others, one of them twice."""
    once, twice = np.array([[1], [4], [0]], "int32"), np.array([[1], [4], [1]], "int32")
    combined = [
        ops.scatter_update(table(6, 4), twice, rows, reduction=r)
        for r in ("add", "max", "min", "mul")
    ]
    return [ops.scatter_update(table(6, 4), once, rows), *combined]


def scatter_updates() -> keras.Model:
    """Updates of a fixed number, as the table needs them."""
    rows = layers.Input(batch_shape=(3, 4))
    return keras.Model(rows, updated(rows))


WHOLE = ((9,), "int32")
ONNX_ONLY: Sequence[Case] = (
    of_dtypes("shifts", shifts, WHOLE, WHOLE, feed=many_bits, refused=only_onnx(BITS)),
    of_dtypes(
        "bits",
        lambda x, y: [
            ops.bitwise_and(x, y),
            ops.bitwise_or(x, y),
            ops.bitwise_xor(x, ops.bitwise_not(y)),
        ],
        WHOLE,
        WHOLE,
        feed=many_bits,
        refused=only_onnx(BITS),
    ),
    of_dtypes(
        "determinant", ops.det, ((3, 3), "float32"), refused=only_onnx("TF.js has no determinant")
    ),
)
SPECTRA: Sequence[Case] = (
    called(
        "fourier",
        round_trip,
        (5, 6),
        (5, 6),
        refused=GRAPH,
        atol=1e-4,
        because="sums of 30 numbers cancel",
    ),
    called("fourier_of_reals", real_round_trip, (2, 7), refused=GRAPH),
    called("fourier_of_windows", windows, (29,), refused=GRAPH),
)
SCATTER: Sequence[Case] = (
    of_dtypes(
        "scatter",
        lambda i, v: ops.scatter(i, v, (6, 4)),
        ((1,), "int32"),
        ((4,), "float32"),
        feed=lambda rng, shape: rng.integers(0, 6, shape),
        refused=no_layers_model(GRAPH),
        mixes_batch=True,
    ),
)


def shared_and_nested() -> keras.Model:
    """Functions inside a model that is called twice."""
    x = layers.Input((4,))
    inner = keras.Model(x, ops.relu(layers.Dense(4)(x) * 2 - 1) + x, name="inner")
    a, b = layers.Input((4,)), layers.Input((4,))
    return keras.Model([a, b], inner(a) - inner(inner(b)))


CASES = (
    *ARITHMETIC,
    *ACTIVATIONS,
    *MOVEMENT,
    *REDUCTIONS,
    *BATCHED,
    *ONNX_ONLY,
    *SPECTRA,
    *SCATTER,
    Case("ops_scatter_update", scatter_updates, refused=only_onnx("TF.js adds or replaces")),
    Case("ops_nested", shared_and_nested),
)
