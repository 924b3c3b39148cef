"""Dequantized weights, compared with what Keras computes with the quantized ones.

`tests/quantized` has what several versions of Keras store and compute, recorded by
`tools/record_quantized.py`; the same is seen afresh with the Keras that is installed.
"""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tools.record_quantized import RECORDED, Seen, possible, read, see

from kerasport.errors import ReadError
from kerasport.frontends.keras.read.dequantize import (
    dequantize,
    divide,
    is_quantized,
    kernel_shape_of,
    plain_shapes,
    plan,
    rounds_inputs,
    spread,
    unpack,
)

Array = npt.NDArray[Any]

RECORDINGS = {
    f"{path.name.removesuffix('.json.gz')}:{key}": seen
    for path in sorted(RECORDED.glob("*.json.gz"))
    for key, seen in read(path).items()
}
KERNELS = ("Dense", "EinsumDense")

recorded = pytest.mark.parametrize("key", RECORDINGS)


def known_shape(seen: Seen) -> tuple[int, ...] | None:
    return kernel_shape_of(seen.class_name, seen.config, (None, *seen.x.shape[1:]))


def described(seen: Seen) -> tuple[str, Mapping[str, Any], list[Any], list[tuple[int, ...]]]:
    dtypes, shapes = [a.dtype for a in seen.stored], [a.shape for a in seen.stored]
    return seen.class_name, seen.config, dtypes, shapes


# What Keras computes --------------------------------------------------------------------------


def equation_of(seen: Seen) -> str:
    return str(seen.config.get("equation", "...a,ab->...b"))


def summed_axes(seen: Seen) -> tuple[int, ...]:
    """The axes of the input that the layer sums over."""
    labels, _, output = equation_of(seen).partition(",")[0], *equation_of(seen).split("->")
    if labels.startswith("."):
        return (-1,)
    return tuple(axis for axis, label in enumerate(labels) if label not in output and label != ".")


def as_int8(x: Array, axes: tuple[int, ...]) -> Array:
    """Rounded as Keras rounds the inputs of a layer."""
    scale = 127 / (np.abs(x).max(axis=axes, keepdims=True) + np.float32(1e-7))
    return np.asarray(np.round(x * scale) / scale)


def as_float8(x: Array, scale: Array) -> Array:
    small = np.clip(x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return np.asarray(small.astype(np.float32) * scale)


def computed(seen: Seen, weights: Sequence[Array]) -> Array:
    """The layer, with plain weights; its inputs are rounded where Keras is said to do so."""
    if seen.class_name not in KERNELS:
        return np.asarray(weights[0][seen.x])
    x, (kernel, *bias) = seen.x, weights
    found = plan(*described(seen), known_shape(seen))
    assert found is not None
    if found.mode == "float8":
        x, kernel = as_float8(x, seen.stored[-6]), as_float8(kernel, seen.stored[-4])
        bias = [b.astype(ml_dtypes.bfloat16).astype(np.float32) for b in bias]
    elif found.rounds_inputs:
        x = as_int8(x, summed_axes(seen))
    return np.asarray(sum(bias, np.einsum(equation_of(seen), x, kernel)))


def check(seen: Seen) -> None:
    """The plain weights compute what Keras computed, and are near the original ones."""
    shape = known_shape(seen)
    about = described(seen)
    weights = dequantize(seen.class_name, seen.config, seen.stored, shape)
    assert is_quantized(*about)
    assert weights is not None
    assert [w.dtype for w in weights] == [np.float32] * len(weights)
    assert [w.shape for w in weights] == [w.shape for w in seen.original]
    assert plain_shapes(*about, shape) == tuple(w.shape for w in seen.original)
    coarse = any(a.dtype == ml_dtypes.bfloat16 for a in seen.stored)
    # How a number in the middle of two of float8 is rounded differs between versions of JAX.
    tolerance = 0.05 if coarse or mode_of(seen) == "float8" else 1e-5
    y = seen.y.astype(np.float32)
    np.testing.assert_allclose(
        computed(seen, weights), y, rtol=tolerance, atol=tolerance * np.abs(y).max()
    )
    assert seen.class_name != "Embedding" or not rounds_inputs(*about)
    if seen.reverse:
        x, y = seen.reverse
        x = as_int8(x, (-1,)) if rounds_inputs(*about, shape) else x
        logits = x @ (weights[1] if len(weights) > 1 else weights[0].T)
        np.testing.assert_allclose(logits, y, rtol=1e-5, atol=1e-5 * np.abs(y).max())
    for weight, original in zip(weights, seen.original, strict=True):
        if (limit := rounding(seen, original)) is not None:
            assert np.abs(weight - original.astype(np.float32)).max() <= limit


def rounding(seen: Seen, original: Array) -> float | None:
    """The most that quantization changes a weight, where that is known."""
    mode = mode_of(seen)
    if mode == "float8" or original.ndim < 2:
        return 0.0
    if mode not in ("int8", "int4") or any(a.dtype == np.int8 for a in seen.stored[2:4]):
        return None  # where there are zero points, large weights are clipped
    coarse = 2 if original.dtype == ml_dtypes.bfloat16 else 1.001
    return coarse * float(np.abs(original).max()) / (254 if mode == "int8" else 14)


def mode_of(seen: Seen) -> str:
    found = plan(*described(seen), known_shape(seen))
    assert found is not None
    return found.mode


@recorded
def test_recorded_layers_compute_what_keras_computed(key: str) -> None:
    check(RECORDINGS[key])
    assert mode_of(RECORDINGS[key]) == key.split(":")[1].partition("_")[0]


@recorded
def test_less_information_never_changes_how_a_layer_is_read(key: str) -> None:
    seen, shape = RECORDINGS[key], known_shape(RECORDINGS[key])
    expected = dequantize(seen.class_name, seen.config, seen.stored, shape)
    unsaid = {**seen.config, "dtype": "float32"}
    for config in (seen.config, unsaid):
        for known in (None, shape):
            try:
                weights = dequantize(seen.class_name, config, seen.stored, known)
            except ReadError:
                continue
            assert expected is not None
            assert weights is not None
            for a, b in zip(weights, expected, strict=True):
                np.testing.assert_array_equal(a, b)


def needs_shape(key: str, seen: Seen) -> bool:
    try:
        plan(*described(seen))
    except ReadError:
        return True
    return False


def test_documented_cases_need_the_shape_of_the_kernel() -> None:
    kernels = {k: s for k, s in RECORDINGS.items() if s.class_name in KERNELS}
    for key, seen in kernels.items():
        version, way, name = key.split(":")
        early_int4 = way.startswith("int4") and version in ("keras-3.12.4", "keras-3.13.2")
        unsaid_int8 = way.startswith("int8") and "attention/" in name
        matrix = way.startswith(("int4", "gptq", "awq"))
        joined = name in ("einsum_joined", "einsum_summed") or name.endswith("/output_dense")
        expected = early_int4 or unsaid_int8 or (matrix and joined)
        assert needs_shape(key, seen) is expected, key


# The installed Keras --------------------------------------------------------------------------

LIVE = (
    *(("dense", way) for way in ("int8", "int8_weights", "int4_2", "float8", "gptq_4_3", "awq_3")),
    *(("einsum_heads", way) for way in ("int8", "int4_channels", "int4_2", "gptq_3", "awq")),
    *(("einsum_joined", way) for way in ("int8", "int4_inputs")),
    *(("untied", way) for way in ("int8", "int4", "int4_channels", "int4_2")),
    ("embedding", "int4_2"),
    ("dense_bfloat16", "int4_2"),
    ("attention", "int8"),
    ("grouped_attention", "int4"),
)


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    module = pytest.importorskip("keras", minversion="3.14")
    if module.backend.backend() != "jax":
        pytest.skip("the layers are recorded with the JAX backend")
    return module


from_keras = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    "ignore:Layer .* does not have a `quantize` method:UserWarning",
)


@pytest.mark.rows(4)
@from_keras
@pytest.mark.parametrize(("name", "way"), LIVE)
def test_layers_compute_what_the_installed_keras_computes(keras: Any, name: str, way: str) -> None:
    assert possible(keras, name, way)
    for _, seen in see(keras, name, way):
        check(seen)


# Numbers --------------------------------------------------------------------------------------


def pack(codes: Array, axis: int, bits: int) -> Array:
    """One value after the other, as text of binary digits."""
    each = 8 // bits

    def pack_row(row: Array) -> list[int]:
        digits = [format(int(value) & (2**bits - 1), f"0{bits}b") for value in row]
        parts = [digits[i : i + each] for i in range(0, len(digits), each)]
        return [int("".join(reversed(part)), 2) for part in parts]

    packed: Array = np.apply_along_axis(lambda row: np.array(pack_row(row)), axis, codes)
    return packed.astype(np.uint8).view(codes.dtype)


@st.composite
def codes(draw: st.DrawFn) -> tuple[Array, int, int]:
    """Numbers of a few bits, an axis of theirs, and the bits."""
    bits = draw(st.sampled_from([2, 4, 8]))
    signed = draw(st.booleans())
    low = -(2 ** (bits - 1)) if signed else 0
    values = st.integers(low, low + 2**bits - 1)
    shape = draw(array_shapes(max_dims=3, max_side=7))
    array = draw(arrays(np.int8 if signed else np.uint8, shape, elements=values))
    return array, draw(st.integers(-len(shape), len(shape) - 1)), bits


@given(codes())
def test_unpacking_undoes_packing(drawn: tuple[Array, int, int]) -> None:
    array, axis, bits = drawn
    unpacked = unpack(pack(array, axis, bits), array.shape[axis], axis, bits)
    np.testing.assert_array_equal(unpacked, array)
    assert unpacked.dtype == array.dtype


@given(st.data())
def test_scales_of_einsum_dense_apply_to_their_axes(data: st.DataObject) -> None:
    """A scale lies as the output does; so `x @ q / scale` is `x @ w` for every order of axes."""
    labels = data.draw(st.permutations("abcd")).copy()
    kept = sorted(data.draw(st.sets(st.sampled_from("abcd"), min_size=1)))
    inputs = "n" + "".join(label for label in "abcd" if label not in kept)
    output = "".join(data.draw(st.permutations(["n", *kept])))
    if output[0] != "n":  # Keras takes the first axis for the batch
        output = "n" + output.replace("n", "")
    size = {"n": 2, "a": 2, "b": 3, "c": 4, "d": 5}
    kernel = "".join(labels)
    q = np.arange(-60, 60, dtype=np.int8).reshape([size[label] for label in kernel])
    rank = len(output)
    scale = np.arange(1, 1 + q.size, dtype=np.float32)[: int(np.prod([size[k] for k in kept]))]
    scale = scale.reshape([1 if label == "n" else size[label] for label in output])
    equation = f"{inputs},{kernel}->{output}"
    config = {"equation": equation, "output_shape": [size[k] for k in output[1:]]}
    found = dequantize("EinsumDense", {**config, "dtype": "int8_from_float32"}, [q, scale])
    assert found is not None
    assert scale.ndim == rank
    x = np.arange(np.prod([size[k] for k in inputs])).reshape([size[k] for k in inputs])
    np.testing.assert_allclose(
        np.einsum(equation, x, found[0]),
        np.einsum(equation, x, q.astype(np.float64)) / scale,
        rtol=1e-4,
        atol=1e-3,
    )


def test_a_scale_of_zero_gives_the_result_of_keras() -> None:
    assert divide(np.array([1, 0], np.int8), np.zeros(1, np.float32)).tolist()[0] == np.inf


@pytest.mark.parametrize("groups", [[0.0, 2.0], [-1.0, 0.0], [np.nan, 0.0], [np.inf, 0.0]])
def test_a_group_without_a_scale_is_refused(groups: list[float]) -> None:
    ones = np.ones((2, 2), np.float32)
    with pytest.raises(ReadError, match="refers to groups outside the 2 that have a scale"):
        spread(np.ones((2, 2), np.int8), ones, ones, np.array(groups, np.float32), 0)


def test_incomplete_groups_are_truncated() -> None:
    q, groups = np.ones((1, 4), np.uint8), np.array([0, 1 / 3, 2 / 3, 1], np.float32)
    scale, zero = np.array([[10, 20]], np.float32), np.zeros((1, 2), np.uint8)
    assert spread(q, scale, zero, groups, 1).tolist() == [[10, 10, 10, 20]]


def test_memory_is_bounded_by_the_result() -> None:
    rows, columns = 2048, 512
    f, u = np.float32, np.uint8
    shapes = ((columns // 2, rows), (columns, 16), (columns, 16))
    q, scale, zero = (np.ones(s, t) for s, t in zip(shapes, (u, f, u), strict=True))
    variables = [q, scale, zero, np.ones(rows, f), np.arange(rows, dtype=f) // 128]
    tracemalloc.start()
    try:
        (kernel,) = dequantize("Dense", {"dtype": "awq/4/128_from_float32"}, variables) or ()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kernel.shape == (rows, columns)
    assert peak < 3 * kernel.nbytes


# What the variables and the config say --------------------------------------------------------


def policy(class_name: str, **config: Any) -> dict[str, Any]:
    module = "keras.dtype_policies"
    return {"dtype": {"module": module, "class_name": class_name, "config": config}}


def policies(default: Any, **named: Any) -> dict[str, Any]:
    mapped = {key.replace("__", "/"): value["dtype"] for key, value in named.items()}
    return policy("DTypePolicyMap", default_policy=default["dtype"], policy_map=mapped)


INT8 = policy("QuantizedDTypePolicy", mode="int8", source_name="float32")
INT4 = policy("QuantizedDTypePolicy", mode="int4", source_name=None)
FLOAT = policy("DTypePolicy", name="float32")


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({"dtype": "int8_from_float32"}, (5, 4)),
        ({"dtype": "int4_from_mixed_bfloat16"}, (9, 4)),
        (policy("DTypePolicy", name="int8_from_float32"), (5, 4)),
        (INT8, (5, 4)),
        (INT4, (9, 4)),
        (policies(INT8), (5, 4)),
        (policies(FLOAT, model__d=INT4, model__e=INT8), (9, 4)),
        ({**FLOAT, "units": 4}, (9, 4)),
        ({}, (10, 4)),
        ({}, (5, 4)),
    ],
)
def test_the_policy_or_the_kernel_shape_distinguishes_int8_and_int4(
    config: dict[str, Any], shape: tuple[int, int]
) -> None:
    variables = [np.int8, np.float32], [(5, 4), (4,)]
    assert plain_shapes("Dense", {"name": "d", **config}, *variables, shape) == (shape,)


def test_the_scale_determines_the_layout_of_a_square_kernel() -> None:
    """One that broadcasts against the output has an axis for the batch as well."""
    config = {"equation": "abc,dc->abd", "output_shape": [None, 4]}
    for scale, shape in (((4,), None), ((1, 1, 4), (4, 4)), ((1, 1, 4), (4, 3))):
        variables = [np.int8, np.float32], [(4, 2), scale]
        assert plain_shapes("EinsumDense", config, *variables, shape) == (shape or (4, 4),)


def test_a_kernel_without_a_summed_axis_is_not_packed() -> None:
    config = {"equation": "ab,b->ab", "output_shape": 5}
    assert plain_shapes("EinsumDense", config, [np.int8, np.float32], [(5,), (1, 5)]) == ((5,),)


def test_a_pattern_among_the_policies_is_not_run() -> None:
    config = {"name": "d", **policies(INT8, **{"(a*)*d": INT4})}
    with pytest.raises(
        ReadError, match="the variables are either int8 or int4 packed along an input axis"
    ):
        plan("Dense", config, [np.int8, np.float32], [(5, 4), (4,)])


@pytest.mark.parametrize(
    ("bits", "packed"), [(2, 2), (2, 7), (4, 4), (3, 7), (8, 7), (None, 2), (None, 4)]
)
def test_values_of_gptq_are_packed_by_their_bits(bits: int | None, packed: int) -> None:
    """Keras 3.16 packs four values of 2 bits into a byte; it also has groups of int32."""
    stored = np.random.default_rng(1).integers(0, 256, (packed, 3)).astype(np.uint8)
    per_byte = {2: 4, 4: 2, 7: 1}[packed]
    scale, zero = np.full((7, 1), 2, np.float32), np.full((7, 1), 3, np.uint8)
    variables: list[Array] = [stored, scale, zero, np.zeros(3, np.int32)]
    config = {} if bits is None else {"dtype": f"gptq/{bits}/-1_from_float32"}
    found = dequantize("Dense", config, variables)
    assert found is not None
    expected = unpack(stored, 7, 0, 8 // per_byte).T.astype(np.float32)
    np.testing.assert_array_equal(found[0], (expected - 3) * 2)


def test_one_column_is_not_packed() -> None:
    q, scale, zero = (
        np.full((1, 2), 5, np.uint8),
        np.ones((1, 1), np.float32),
        np.zeros((1, 1), np.uint8),
    )
    variables: list[Array] = [q, scale, zero, np.zeros(2, np.float32)]
    for config in ({}, *({"dtype": f"gptq/{bits}/-1_from_float32"} for bits in (2, 3, 4, 8))):
        found = dequantize("Dense", config, variables)
        assert found is not None
        assert found[0].tolist() == [[5], [5]]


def weights(letters: str, *shapes: tuple[int, ...]) -> tuple[list[Any], Sequence[Any]]:
    dtypes = {"i": "int8", "u": "uint8", "f": "float32", "c": "complex64"}
    return [dtypes[letter] for letter in letters], shapes


@pytest.mark.parametrize(
    ("class_name", "config", "variables"),
    [
        ("Dense", {}, weights("ff", (5, 4), (4,))),
        ("Dense", INT8, weights("ff", (5, 4), (4,))),
        ("Dense", {}, weights("ffff", (5, 4), (4,), (5, 2), (2, 4))),  # LoRA in a legacy file
        ("Dense", {}, weights("i", (5, 4))),
        ("Conv2D", INT8, weights("if", (5, 4), (4,))),
        ("Embedding", {}, weights("f", (5, 4))),
        ("ReversibleEmbedding", {}, weights("ff", (5, 4), (4, 5))),
        ("Dense", {}, ([], [])),
    ],
)
def test_layers_without_quantization_are_unchanged(
    class_name: str, config: dict[str, Any], variables: tuple[list[Any], Sequence[Any]]
) -> None:
    assert not is_quantized(class_name, config, *variables)
    assert plan(class_name, config, *variables) is None
    assert plain_shapes(class_name, config, *variables) is None
    assert not rounds_inputs(class_name, config, *variables)
    arrays = [np.ones(shape, dtype) for dtype, shape in zip(*variables, strict=True)]
    assert dequantize(class_name, config, arrays) is None


@dataclass(frozen=True)
class Refusal:
    """A group of variables that no layer has, and what is said of it."""

    reason: str
    letters: str
    shapes: Sequence[tuple[int, ...]]
    class_name: str = "Dense"
    config: Mapping[str, Any] = field(default_factory=dict)
    kernel_shape: tuple[int, ...] | None = None


HEADS = {"equation": "abc,cde->abde", "output_shape": [None, 2, 3]}
JOINED = {"equation": "abcd,cde->abe", "output_shape": [None, 4]}
TABLE = {"input_dim": 6, "output_dim": 5}

REFUSALS = (
    Refusal(
        "quantization mode is 'int3', which", "if", [(5, 4), (4,)], config={"dtype": "int3_from_x"}
    ),
    Refusal("quantization mode is 'int3', which", "f", [(5, 4)], config={"dtype": "int3_from_x"}),
    Refusal("the shape of the unquantized kernel", "uf", [(1, 4), ()], config={"units": 4}),
    Refusal(
        "the shapes of the variables do not fit together",
        "uff",
        [(2, 4), (4,), ()],
        kernel_shape=(5, 4),
    ),
    Refusal(
        "the shapes of the variables do not fit together",
        "uff",
        [(1, 4), (4,), ()],
        "TernaryDense",
        kernel_shape=(6, 4),
    ),
    Refusal(
        "these variables belong to ternary, but",
        "uff",
        [(1, 4), (4,), ()],
        config=INT8,
        kernel_shape=(5, 4),
    ),
    Refusal(
        "no quantization mode of Keras stores these variables",
        "uf",
        [(1, 4), ()],
        "EinsumDense",
        HEADS,
    ),
    Refusal(
        "the shape of the unquantized kernel",
        "fufuff",
        [(3, 5), (3, 12), (5, 4), (5, 4), (12,), (12,)],
        "EinsumDense",
        {"equation": "abc,bcd->abd", "output_shape": [True, 5], "bias_axes": "bd"},
    ),
    Refusal("no quantization mode of Keras stores these variables", "iif", [(5, 4), (4,), (4,)]),
    Refusal(
        "no quantization mode of Keras stores these variables", "ic", [(5, 4), (4,)], config=INT8
    ),
    Refusal("no quantization mode of Keras stores these variables", "i", [(5, 4)], config=INT8),
    Refusal(
        "no quantization mode of Keras stores these variables",
        "ifi",
        [(6, 5), (6,), (6,)],
        "Embedding",
        TABLE,
    ),
    Refusal("do not save the zero points of gptq and awq", "fuff", [(4,), (2, 5), (4, 1), (5,)]),
    Refusal("do not save the zero points of gptq and awq", "uff", [(2, 5), (4, 1), (5,)]),
    Refusal("do not save the zero points of gptq", "ufff", [(2, 5), (4, 1), (5,), (5,)]),
    Refusal(
        "the variables are either int8 or int4 packed along an input axis", "if", [(5, 4), (4,)]
    ),
    Refusal(
        "the variables are either int8 or int4 packed along an input axis",
        "if",
        [(1, 4), (4,)],
        kernel_shape=(1, 4),
    ),
    Refusal(
        "the variables are either int8 or int4 packed along an input axis",
        "if",
        [(6, 1), (6,)],
        "Embedding",
        {"input_dim": 6, "output_dim": 1},
    ),
    Refusal(
        "the variables are either int4 packed along the outputs or int4 packed along an input axis",
        "if",
        [(5, 1), (1,)],
        config={**INT4, "units": 1},
    ),
    Refusal(
        "(kernel_shape) must be known",
        "if",
        [(5, 4), (4,)],
        config={**INT4, "units": 4},
    ),
    Refusal(
        "(kernel_shape) must be known",
        "ifif",
        [(15, 2), (1, 4), (1, 4), (15,)],
        "EinsumDense",
        JOINED,
    ),
    Refusal(
        "do not form a kernel of shape ? x 4", "if", [(5, 7), (7,)], config={**INT8, "units": 4}
    ),
    Refusal(
        "do not form a kernel of shape ? x 4", "if", [(5, 4), (5,)], config={**INT8, "units": 4}
    ),
    Refusal(
        "do not form a kernel of shape ? x 4 with kernel_shape=(9, 3)",
        "if",
        [(5, 4), (4,)],
        config={**INT8, "units": 4},
        kernel_shape=(9, 3),
    ),
    Refusal(
        "do not form a kernel of shape 9 x 4 with kernel_shape=(9, 4)",
        "if",
        [(5, 4), (4,)],
        config=INT8,
        kernel_shape=(9, 4),
    ),
    Refusal(
        "do not form a kernel of shape ? x 2 x 3", "if", [(7, 6), (1, 1, 6)], "EinsumDense", HEADS
    ),
    Refusal(
        "do not form a kernel of shape ? x 2 x 3",
        "ifif",
        [(7, 4), (1, 7), (1, 7), (7,)],
        "EinsumDense",
        HEADS,
    ),
    Refusal("equation=None is not supported", "if", [(5, 4), (4,)], "EinsumDense"),
    Refusal(
        "equation='aa,ab->b' is not supported",
        "if",
        [(5, 4), (1, 4)],
        "EinsumDense",
        {"equation": "aa,ab->b"},
    ),
    Refusal(
        "the variables include a bias, but use_bias=False",
        "iff",
        [(5, 4), (4,), (4,)],
        config={"use_bias": False},
    ),
    Refusal(
        "the variables include no bias, but bias_axes='d'",
        "if",
        [(5, 4), (1, 4)],
        "EinsumDense",
        {"equation": "ac,cd->ad", "output_shape": 4, "bias_axes": "d"},
    ),
    Refusal(
        "these variables belong to int8 or int4, but the dtype policy is 'gptq/4/-1'",
        "if",
        [(5, 4), (4,)],
        config={"dtype": "gptq/4/-1_from_float32"},
    ),
    Refusal(
        "these variables belong to int4, but the dtype policy is 'int8'",
        "ifif",
        [(5, 2), (1, 4), (1, 4), (5,)],
        config=INT8,
    ),
    Refusal(
        "these variables belong to gptq, but the dtype policy is 'awq/4/-1'",
        "ufuf",
        [(2, 5), (4, 1), (4, 1), (5,)],
        config={"dtype": "awq/4/-1_from_float32"},
    ),
    Refusal(
        "the shapes of the variables do not fit together", "ifif", [(5, 2), (1, 4), (1, 3), (5,)]
    ),
    Refusal(
        "the shapes of the variables do not fit together", "ifif", [(5, 2), (1, 4), (1, 4), (6,)]
    ),
    Refusal(
        "the shapes of the variables do not fit together", "ifif", [(5, 3), (1, 4), (1, 4), (5,)]
    ),
    Refusal(
        "the shapes of the variables do not fit together", "ufuf", [(2, 5), (4, 1), (4, 1), (6,)]
    ),
    Refusal(
        "the shapes of the variables do not fit together", "ufuf", [(3, 5), (4, 1), (4, 1), (5,)]
    ),
    Refusal(
        "the shapes of the variables do not fit together",
        "ufuff",
        [(2, 5), (4, 1), (4, 1), (4,), (5,)],
    ),
    Refusal(
        "the shapes of the variables do not fit together",
        "ufuf",
        [(2, 5), (4, 1), (4, 1), (5,)],
        config={"dtype": "gptq/8/-1_from_float32"},
    ),
    Refusal(
        "the values have 4 or 2 bits, and the file does not say which",
        "ufuf",
        [(1, 5), (2, 1), (2, 1), (5,)],
    ),
    Refusal(
        "the shapes of the variables do not fit together",
        "ufuff",
        [(4, 5), (4, 1), (4, 1), (5,), (5,)],
    ),
    Refusal(
        "do not form a kernel of shape ? x 2 x 3",
        "ufuf",
        [(4, 7), (7, 1), (7, 1), (7,)],
        "EinsumDense",
        HEADS,
    ),
    Refusal(
        "a kernel of shape (7, 2, 3) cannot be reshaped to a matrix of 6 rows",
        "ufuf",
        [(4, 6), (7, 1), (7, 1), (6,)],
        "EinsumDense",
        HEADS,
    ),
    Refusal(
        "the variables include 2 table(s), but tie_weights=True",
        "ifif",
        [(6, 5), (6,), (5, 6), (6,)],
        "ReversibleEmbedding",
        {**TABLE, "tie_weights": True},
    ),
    Refusal(
        "one table is quantized as int8 and the other as int4",
        "ifif",
        [(6, 5), (6,), (3, 6), (6,)],
        "ReversibleEmbedding",
        TABLE,
    ),
    Refusal("do not form a kernel of shape 6 x 5", "if", [(6, 2), (6,)], "Embedding", TABLE),
    Refusal(
        "do not form a kernel of shape 6 x 5",
        "ifif",
        [(6, 2), (6, 1), (6, 1), (4,)],
        "Embedding",
        TABLE,
    ),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.reason)
def test_unreadable_quantized_layers_are_refused_with_a_reason(refusal: Refusal) -> None:
    dtypes, shapes = weights(refusal.letters, *refusal.shapes)
    config = {"name": "d", **refusal.config}
    assert is_quantized(refusal.class_name, config, dtypes, shapes)
    with pytest.raises(ReadError) as refused:
        plan(refusal.class_name, config, dtypes, shapes, refusal.kernel_shape)
    message = str(refused.value)
    assert refusal.reason in message
    assert message.startswith(f"layer 'd': {refusal.class_name} with the stored variables ")
    assert f"{dtypes[0]} {shapes[0]}" in message
    assert "save the model again from Keras" in message


@pytest.mark.parametrize(
    ("class_name", "config", "shape", "expected"),
    [
        ("Dense", {"units": 4}, (None, 9, 5), (5, 4)),
        ("Dense", {"units": 4}, (None, None), None),
        ("Dense", {"units": 4}, (), None),
        ("EinsumDense", HEADS, (None, None, 7), (7, 2, 3)),
        ("EinsumDense", JOINED, (None, None, 2, 3), (2, 3, 4)),
        ("EinsumDense", JOINED, (None, None, None, 3), None),
        ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 4}, (None, 9, 5), (5, 4)),
        ("EinsumDense", {"equation": "ab...,bc->ac...", "output_shape": 4}, (2, 5, 9), (5, 4)),
        ("EinsumDense", {}, (None, 5), None),
        ("Embedding", TABLE, (), (6, 5)),
        ("Conv2D", {"units": 4}, (None, 5), None),
    ],
)
def test_the_shape_of_a_plain_kernel(
    class_name: str,
    config: dict[str, Any],
    shape: tuple[int | None, ...],
    expected: tuple[int, ...] | None,
) -> None:
    assert kernel_shape_of(class_name, json.loads(json.dumps(config)), shape) == expected


def test_reports_say_where_keras_computes_differently() -> None:
    def note(class_name: str, config: dict[str, Any], letters: str, *shapes: Any) -> str:
        found = plan(class_name, config, *weights(letters, *shapes))
        assert found is not None
        return found.note

    dense = note("Dense", INT8, "if", (5, 4), (4,))
    assert dense.startswith("its int8 weights were dequantized to float32")
    assert "rounds the inputs to int8 on every call" in dense
    table = note("Embedding", {**TABLE, **INT8}, "if", (6, 5), (6,))
    assert "the outputs equal those of Keras" in table
    tied = note("ReversibleEmbedding", {**TABLE, **INT8}, "if", (6, 5), (6,))
    assert "when it is called with reverse=True" in tied
    assert "float8" in note("Dense", {}, "f" * 7, (5, 4), *([(), (16,)] * 3))
