"""Make Keras on JAX fast for small models: optimize little, and draw weights with numpy.

JAX compiles every operation for every shape that it meets, and XLA spends most of that time on
optimizing code that the tests run once. Random initializers compile several functions for each
shape of a weight. Together they took most of the time of the tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MODELS = 200  # after which what JAX has compiled is freed
_calls = count()


def before_import() -> None:
    """Set the backend of Keras and the options of XLA, which are read at the first import."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def draw_weights_with_numpy() -> None:
    """Give Keras's initializers a `__call__` of numpy, with the same shapes, dtypes and scales."""
    from keras import initializers

    rng = np.random.default_rng(0)

    def scaled(shape: tuple[int, ...]) -> Array:
        fan_in = int(np.prod(shape[:-1])) or 1
        return rng.normal(0, 1 / np.sqrt(fan_in), shape)

    def constant(initializer: Any, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(np.asarray(initializer.value), shape)

    of: dict[type, Callable[[Any, tuple[int, ...]], Array]] = {
        initializers.VarianceScaling: lambda _, shape: scaled(shape),
        initializers.Orthogonal: lambda _, shape: scaled(shape),
        initializers.RandomNormal: lambda i, shape: rng.normal(i.mean, i.stddev, shape),
        initializers.TruncatedNormal: lambda i, shape: rng.normal(i.mean, i.stddev, shape),
        initializers.RandomUniform: lambda i, shape: rng.uniform(i.minval, i.maxval, shape),
        initializers.Zeros: lambda _, shape: np.zeros(shape),
        initializers.Ones: lambda _, shape: np.ones(shape),
        initializers.Constant: constant,
    }
    for cls, draw in of.items():
        cls.__call__ = _called(draw)  # type: ignore[method-assign]


def forget_compiled_functions() -> None:
    """Free the compiled functions of JAX from time to time: they take gigabytes for all models."""
    if next(_calls) % MODELS == MODELS - 1:
        import jax

        jax.clear_caches()  # type: ignore[no-untyped-call]


def _called(draw: Callable[[Any, tuple[int, ...]], Array]) -> Callable[..., Array]:
    def call(self: Any, shape: tuple[int, ...], dtype: Any = None, **_: Any) -> Array:
        return draw(self, tuple(shape)).astype(np.dtype(str(dtype or "float32")))

    return call
