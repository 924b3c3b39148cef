"""Layers that make one tensor of several."""

from __future__ import annotations

from kerasport.errors import ShapeError
from kerasport.layers.base import Layer, axis_of
from kerasport.model import Shape


def broadcast(a: Shape, b: Shape) -> Shape:
    """Shape of an elementwise result; the shorter shape gets axes of 1 after the batch, as Keras merges."""
    rank = max(len(a), len(b))
    a, b = ((*s[:1], *(1,) * (rank - len(s)), *s[1:]) for s in (a, b))
    if any(m != n and 1 not in (m, n) and None not in (m, n) for m, n in zip(a, b, strict=True)):
        raise ShapeError(f"{a} and {b} do not broadcast")
    return tuple(n if m == 1 or (m is None and n != 1) else m for m, n in zip(a, b, strict=True))


class _Merge(Layer):
    def infer(self, *inputs: Shape) -> Shape:
        shape = inputs[0]
        for other in inputs[1:]:
            shape = broadcast(shape, other)
        return (inputs[0][0], *shape[1:])


class Add(_Merge):
    """Sum of the inputs."""


class Subtract(_Merge):
    """First input minus the second."""


class Multiply(_Merge):
    """Product of the inputs."""


class Average(_Merge):
    """Mean of the inputs."""


class Maximum(_Merge):
    """Largest of the inputs, element by element."""


class Minimum(_Merge):
    """Smallest of the inputs, element by element."""


class Concatenate(Layer):
    """The inputs one after the other along `axis`."""

    axis: int = -1

    def infer(self, *inputs: Shape) -> Shape:
        axis = axis_of(self.axis, len(inputs[0]))
        for other in inputs[1:]:
            same = all(
                m == n or m is None or n is None
                for at, (m, n) in enumerate(zip(inputs[0], other, strict=False)) if at != axis
            )  # fmt: skip
            if len(other) != len(inputs[0]) or not same:
                raise ShapeError(f"{inputs[0]} and {other} cannot be concatenated along axis {axis}")
        sizes = [shape[axis] for shape in inputs]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        return tuple(
            total if at == axis else next((n for n in column if n is not None), None)
            for at, column in enumerate(zip(*inputs, strict=True))
        )


class Dot(Layer):
    """Sum of products of two inputs along one axis of each, sample by sample."""

    axes: int | tuple[int, int]
    normalize: bool = False

    def pair(self, ranks: tuple[int, int]) -> tuple[int, int]:
        """The contracted axes, counted from the front."""
        axes = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        return axis_of(axes[0], ranks[0]), axis_of(axes[1], ranks[1])

    def infer(self, *inputs: Shape) -> Shape:
        a, b = inputs
        left, right = self.pair((len(a), len(b)))
        if a[left] != b[right] and None not in (a[left], b[right]):
            raise ShapeError(f"axis {left} of {a} and axis {right} of {b} differ in size")
        rest = [d for at, d in enumerate(a) if at not in (0, left)]
        rest += [d for at, d in enumerate(b) if at not in (0, right)]
        return (a[0], *(rest or [1]))
