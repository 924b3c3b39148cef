"""Dequantised weights against what Keras computes with the quantised ones.

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

from kerasport.errors import ReadError
from kerasport.read.quantization import (
    activation_quantised,
    dequantise,
    divide,
    is_quantized,
    kernel_shape_of,
    plain_shapes,
    plan,
    spread,
    unpack,
)
from tools.record_quantized import RECORDED, Seen, possible, read, see

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
    limit = float(ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max)
    small = np.clip(x / scale, -limit, limit).astype(ml_dtypes.float8_e4m3fn)
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
    weights = dequantise(seen.class_name, seen.config, seen.stored, shape)
    assert is_quantized(*about)
    assert weights is not None
    assert [w.dtype for w in weights] == [np.float32] * len(weights)
    assert [w.shape for w in weights] == [w.shape for w in seen.original]
    assert plain_shapes(*about, shape) == tuple(w.shape for w in seen.original)
    coarse = any(a.dtype == ml_dtypes.bfloat16 for a in seen.stored)
    tolerance = 0.02 if coarse else 1e-5
    y = seen.y.astype(np.float32)
    np.testing.assert_allclose(
        computed(seen, weights), y, rtol=tolerance, atol=tolerance * np.abs(y).max()
    )
    if seen.reverse:
        x, y = seen.reverse
        x = as_int8(x, (-1,)) if activation_quantised(*about, shape) else x
        logits = x @ (weights[1] if len(weights) > 1 else weights[0].T)
        np.testing.assert_allclose(logits, y, rtol=1e-5, atol=1e-5 * np.abs(y).max())
    for weight, original in zip(weights, seen.original, strict=True):
        assert np.abs(weight - original.astype(np.float32)).max() <= step(seen, original)


def step(seen: Seen, original: Array) -> float:
    """The most that rounding may change a weight, with a margin."""
    mode = mode_of(seen)
    if mode == "float8" or original.ndim < 2:
        return 0.0
    span = float(original.max().astype(np.float32) - original.min().astype(np.float32))
    steps = {"int8": 254, "int4": 14, "gptq": 3, "awq": 3}[mode]
    return 1.1 * max(span, 2 * float(np.abs(original).max())) / steps


def mode_of(seen: Seen) -> str:
    found = plan(*described(seen), known_shape(seen))
    assert found is not None
    return found.mode


@recorded
def test_recorded_layers_compute_what_keras_computed(key: str) -> None:
    check(RECORDINGS[key])
    assert mode_of(RECORDINGS[key]) == key.split(":")[1].partition("_")[0]


@recorded
def test_no_layer_is_read_otherwise_where_less_is_known(key: str) -> None:
    seen, shape = RECORDINGS[key], known_shape(RECORDINGS[key])
    expected = dequantise(seen.class_name, seen.config, seen.stored, shape)
    unsaid = {**seen.config, "dtype": "float32"}
    for config in (seen.config, unsaid):
        for known in (None, shape):
            try:
                weights = dequantise(seen.class_name, config, seen.stored, known)
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


def test_the_shape_of_the_kernel_is_needed_where_the_documentation_says_so() -> None:
    kernels = {k: s for k, s in RECORDINGS.items() if s.class_name in KERNELS}
    for key, seen in kernels.items():
        version, way, name = key.split(":")
        early_int4 = way.startswith("int4") and version in ("keras-3.12.4", "keras-3.13.2")
        unsaid_int8 = way.startswith("int8") and "attention/" in name
        matrix = way.startswith(("int4", "gptq", "awq"))
        joined = name in ("einsum_joined", "einsum_summed") or name.endswith("/output_dense")
        expected = early_int4 or unsaid_int8 or (matrix and joined)
        assert needs_shape(key, seen) is expected, key
