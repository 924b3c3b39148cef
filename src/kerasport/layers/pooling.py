"""Pooling."""

from __future__ import annotations

from kerasport.layers.base import Padding
from kerasport.layers.conv import _Spatial, window_output
from kerasport.model import Shape


class _Pooling(_Spatial):
    pool_size: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    padding: Padding = "valid"

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        axes = zip(spatial, self.pool_size, self.strides or self.pool_size, strict=True)
        out = tuple(window_output(n, k, s, self.padding) for n, k, s in axes)
        return self.join(inputs[0], out, channels)


class AveragePooling1D(_Pooling):
    """Mean of each window, padding not counted."""

    rank = 1


class AveragePooling2D(_Pooling):
    """Mean of each window, padding not counted."""

    rank = 2


class AveragePooling3D(_Pooling):
    """Mean of each window, padding not counted."""

    rank = 3


class MaxPooling1D(_Pooling):
    """Maximum of each window."""

    rank = 1


class MaxPooling2D(_Pooling):
    """Maximum of each window."""

    rank = 2


class MaxPooling3D(_Pooling):
    """Maximum of each window."""

    rank = 3


class _GlobalPooling(_Spatial):
    keepdims: bool = False

    def infer(self, *inputs: Shape) -> Shape:
        spatial, channels = self.split(inputs[0])
        if self.keepdims:
            return self.join(inputs[0], (1,) * len(spatial), channels)
        return (inputs[0][0], channels)


class GlobalAveragePooling1D(_GlobalPooling):
    """Mean over time, of the steps that are not masked."""

    rank = 1


class GlobalAveragePooling2D(_GlobalPooling):
    """Mean over height and width."""

    rank = 2


class GlobalAveragePooling3D(_GlobalPooling):
    """Mean over the three spatial axes."""

    rank = 3


class GlobalMaxPooling1D(_GlobalPooling):
    """Maximum over time."""

    rank = 1


class GlobalMaxPooling2D(_GlobalPooling):
    """Maximum over height and width."""

    rank = 2


class GlobalMaxPooling3D(_GlobalPooling):
    """Maximum over the three spatial axes."""

    rank = 3
