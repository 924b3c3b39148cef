"""Fourier transforms of float32 tensors.

Keras passes complex tensors [...] as pairs (real, imaginary) of float32 tensors [...].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions.arguments import size
from kerasport.frontends.keras.functions.creation import extract_sequences
from kerasport.ir import ops
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import as_tensor, constant
from kerasport.weights import Array

Pair: TypeAlias = tuple[Tensor, Tensor]


def joined(x: Any) -> Tensor:
    """Join a pair (real, imaginary) of floats [...] to one tensor [..., 2].

    Raises:
        ShapeError: x is not such a pair.
    """
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise ShapeError("a complex tensor must be a pair: (real, imaginary)")
    real, imaginary = (ops.floats(as_tensor(part)) for part in x)
    if real.shape != imaginary.shape:
        raise ShapeError(f"the parts {real.type} and {imaginary.type} have different shapes")
    return ops.stack([real, imaginary], -1)


def parted(y: Tensor) -> Pair:
    """Split a tensor [..., 2] into a pair (real, imaginary)."""
    real, imaginary = (ops.squeeze(ops.slice_axis(y, -1, part, 1), -1) for part in range(2))
    return real, imaginary


def fft(x: Any) -> Pair:
    """The Fourier transform along the last axis."""
    z = joined(x)
    return parted(ops.Dft(z, z.rank - 2))


def fft2(x: Any) -> Pair:
    """The Fourier transform along the last two axes."""
    return _both_axes(x, inverse=False)


def ifft2(x: Any) -> Pair:
    """The inverse Fourier transform along the last two axes."""
    return _both_axes(x, inverse=True)


def _both_axes(x: Any, *, inverse: bool) -> Pair:
    z = joined(x)
    if z.rank < 3:
        raise ShapeError(f"a transform along two axes does not support {as_tensor(x[0]).type}")
    return parted(ops.Dft(ops.Dft(z, z.rank - 2, inverse), z.rank - 3, inverse))


def rfft(x: Tensor, *, fft_length: int | None = None) -> Pair:
    """The Fourier transform of real numbers [..., n]: the first n // 2 + 1 values."""
    y = ops.floats(x)
    y = y if fft_length is None else resized(y, fft_length)
    return parted(ops.Dft(ops.expand_dims(y, -1), y.rank - 1, onesided=True))


def irfft(x: Any, *, fft_length: int | None = None) -> Tensor:
    """The inverse of `rfft`: [..., n // 2 + 1] to real numbers [..., n]."""
    real, imaginary = parted(joined(x))
    n = 2 * (size(real, -1) - 1) if fft_length is None else fft_length
    if n < 1:
        raise ShapeError(f"there is no inverse transform of length {n}")
    bins = n // 2 + 1
    real, imaginary = resized(real, bins), resized(imaginary, bins)
    # The remaining values are the previous ones, mirrored and conjugated.
    whole = (_mirrored(real, n - bins), _mirrored(imaginary, n - bins, sign=-1.0))
    return parted(ops.Dft(joined(whole), real.rank - 1, inverse=True))[0]


def _mirrored(x: Tensor, count: int, sign: float = 1.0) -> Tensor:
    """x [..., bins], followed by its values from `count` down to 1."""
    if not count:
        return x
    tail = ops.Reverse(ops.slice_axis(x, -1, 1, count), (x.rank - 1,))
    return ops.concat([x, tail * sign if sign != 1 else tail], -1)


def resized(x: Tensor, length: int) -> Tensor:
    """Cut the last axis of x to a length, or pad it with zeros."""
    n = size(x, -1, "fft_length")
    if n >= length:
        return ops.slice_axis(x, -1, 0, length)
    return ops.pad(x, [*[(0, 0)] * (x.rank - 1), (0, length - n)])


def stft(
    x: Tensor, *, sequence_length: int, sequence_stride: int, fft_length: int,
    window: Any = "hann", center: bool = True,
) -> Pair:  # fmt: skip
    """The Fourier transforms of windows of real numbers [..., n].

    The result has the shape [..., windows, fft_length // 2 + 1].
    """
    y = ops.floats(x)
    weights = window_values(window, sequence_length, fft_length)
    if center:
        edge = (fft_length // 2, fft_length // 2)
        y = ops.pad(y, [*[(0, 0)] * (y.rank - 1), edge], "reflect")
    frames = extract_sequences(y, sequence_length=fft_length, sequence_stride=sequence_stride)
    return rfft(frames * constant(weights))


def istft(
    x: Any, *, sequence_length: int, sequence_stride: int, fft_length: int,
    length: int | None = None, window: Any = "hann", center: bool = True,
) -> Tensor:  # fmt: skip
    """The inverse of `stft`.

    Windows are added where they overlap, then divided by the sum of the squared weights.
    """
    if window is None:
        raise Refusal("window", "it is supported with a window only", 'use window="hann"')
    weights = window_values(window, sequence_length, fft_length)
    frames = irfft(x, fft_length=fft_length) * constant(weights)
    count = size(frames, -2)
    total = overlapped_sum(frames, sequence_stride)
    squares = _overlapped(
        np.tile(np.square(weights.astype(np.float64)), (count, 1)), sequence_stride
    )
    total = total / constant(np.where(squares > 1e-10, squares, 1).astype(np.float32))
    begin = fft_length // 2 if center else 0
    end = size(total, -1) - begin if length is None else begin + length
    if length is not None and end > size(total, -1):
        raise Refusal(
            "length", "it is longer than the windows, which the Keras backends fill differently"
        )
    return ops.slice_axis(total, -1, begin, max(end - begin, 0))


def overlapped_sum(frames: Tensor, stride: int) -> Tensor:
    """Add up frames at distances of `stride`.

    [..., count, length] becomes [..., (count - 1) · stride + length].
    """
    count, length = size(frames, -2), size(frames, -1)
    reserve(length, length)
    kernel = constant(np.eye(length, dtype=np.float32).reshape(1, length, 1, length))
    image = ops.reshape(frames, (-1, 1, count, length))
    whole = (count - 1) * stride + length
    y = ops.ConvTranspose(image, kernel, (1, stride), (0, 0), (1, whole), (0, length - stride))
    return ops.reshape(y, (*ops.dims(frames)[:-2], whole))


def _overlapped(frames: Array, stride: int) -> Array:
    """`overlapped_sum` of an array [count, length]."""
    count, length = frames.shape
    total = np.zeros((count - 1) * stride + length)
    for index, frame in enumerate(frames):
        total[index * stride : index * stride + length] += frame
    return total


WINDOWS: Mapping[str, tuple[float, float]] = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}
"""Name of a window → a and b of a - b · cos(2πi / n)."""


def window_values(window: Any, length: int, fft_length: int) -> Array:
    """The weights of a window, padded with zeros to the transform length: float32 [fft_length].

    Raises:
        Refusal: the window is a tensor.
        ShapeError: the lengths do not fit.
    """
    if fft_length < length:
        raise ShapeError(f"fft_length={fft_length} is below sequence_length={length}")
    reserve(fft_length, itemsize=8)
    before = (fft_length - length) // 2
    if window is None:
        return np.ones(fft_length, np.float32)
    if isinstance(window, str) and window in WINDOWS:
        a, b = WINDOWS[window]
        values = a - b * np.cos(2 * np.pi * np.arange(length) / length)
    elif isinstance(window, Sequence) and not isinstance(window, str) and len(window) == length:
        values = np.asarray(window, np.float64)
    else:
        raise Refusal("window", "this window is not supported")
    return np.pad(values, (before, fft_length - length - before)).astype(np.float32)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "FFT": fft, "FFT2": fft2, "IFFT2": ifft2, "RFFT": rfft, "IRFFT": irfft, "STFT": stft,
    "ISTFT": istft,
}  # fmt: skip
