"""Fourier transforms. Complex numbers are pairs of floats on the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import FLOATS
from kerasport.ir.tensor import Extent, Tensor, TensorType, expect
from kerasport.weights import Array


class Dft(Tensor):
    """Discrete Fourier transform of x [..., 1 or 2] along an axis: [..., 2].

    The last axis of x contains a real number, or a real and an imaginary part. The inverse
    transform is divided by the size n of the axis. With `onesided`, the result has only the first
    n // 2 + 1 values, which determine the others if x is real.
    """

    x: Tensor
    axis: int
    inverse: bool = False
    onesided: bool = False

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        *sizes, parts = self.x.extents
        if parts not in (1, 2) or not 0 <= self.axis < len(sizes):
            raise ShapeError(f"{self.x.type} has no complex numbers along axis {self.axis}")
        sizes[self.axis] = self._extent(sizes[self.axis])
        return TensorType(self.x.dtype, (*sizes, 2))

    def _extent(self, size: Extent) -> Extent:
        if not self.onesided:
            return size
        return size // 2 + 1 if isinstance(size, int) else None

    def compute(self, *operands: Any) -> Array:
        x: Array = operands[0]
        values = x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]
        transform = np.fft.ifft if self.inverse else np.fft.fft
        y = transform(values.astype(np.complex128), axis=self.axis)
        if self.onesided:
            y = np.take(y, np.arange(y.shape[self.axis] // 2 + 1), self.axis)
        return np.stack([y.real, y.imag], -1).astype(x.dtype)
