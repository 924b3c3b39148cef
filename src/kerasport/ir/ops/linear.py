"""Operations of linear algebra, and einsum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kerasport.errors import ShapeError
from kerasport.ir.dtypes import FLOATS, NUMBERS
from kerasport.ir.ops.elementwise import matched, mul
from kerasport.ir.ops.loop import same_shape
from kerasport.ir.ops.movement import Size, dims, product, reshape, transpose
from kerasport.ir.ops.reduction import sum_
from kerasport.ir.tensor import Tensor, TensorType, broadcast, expect
from kerasport.weights import Array


class MatMul(Tensor):
    """Matrix product of a [..., m, k] and b [..., k, n]: [..., m, n]. The other axes broadcast.

    With `transpose_a` or `transpose_b`, the last two axes of that operand are swapped first.
    """

    a: Tensor
    b: Tensor
    transpose_a: bool = False
    transpose_b: bool = False

    def infer(self) -> TensorType:
        expect(self, self.a, NUMBERS)
        expect(self, self.b, (self.a.dtype,))
        if min(self.a.rank, self.b.rank) < 2:
            raise ShapeError(f"{self.a.type} and {self.b.type} are not both matrices")
        *left, rows, inner = self.a.extents
        if self.transpose_a:
            rows, inner = inner, rows
        *right, outer, columns = self.b.extents
        if self.transpose_b:
            outer, columns = columns, outer
        if isinstance(inner, int) and isinstance(outer, int) and inner != outer:
            raise ShapeError(f"the inner sizes of {self.a.type} and {self.b.type} are different")
        return TensorType(self.a.dtype, (*broadcast(tuple(left), tuple(right)), rows, columns))

    def compute(self, *operands: Any) -> Array:
        a, b = operands
        a = np.swapaxes(a, -1, -2) if self.transpose_a else a
        b = np.swapaxes(b, -1, -2) if self.transpose_b else b
        result: Array = np.matmul(a, b)
        return result


class Det(Tensor):
    """Determinants of square matrices: x [..., n, n] to [...]."""

    x: Tensor

    def infer(self) -> TensorType:
        expect(self, self.x, FLOATS)
        if self.x.rank < 2 or not same_shape(self.x.shape[-1:], self.x.shape[-2:-1]):
            raise ShapeError(f"{self.x.type} is not square matrices")
        return TensorType(self.x.dtype, self.x.extents[:-2])

    def compute(self, *operands: Any) -> Array:
        return np.asarray(np.linalg.det(operands[0]), operands[0].dtype)


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product as in numpy: a vector is a row on the left and a column on the right."""
    x, y = matched(a, b, least="int32")
    if x.rank == 1:
        row = matmul(reshape(x, (1, -1)), y)
        return reshape(row, (*dims(row)[:-2], *dims(y)[-1:])) if y.rank > 1 else reshape(row, ())
    if y.rank == 1:
        column = MatMul(x, reshape(y, (-1, 1)))
        return reshape(column, dims(column)[:-1])
    return MatMul(x, y)


def einsum(equation: str, a: Any, b: Any | None = None) -> Tensor:
    """Einsum of one or two tensors, by transposes, reshapes and one matrix product.

    Labels are letters. The equation must not contain an ellipsis, or a label twice in one operand.

    Raises:
        ShapeError: the equation does not fit the operands.
    """
    left, _, out = equation.replace(" ", "").partition("->")
    if len(set(out)) < len(out) or not set(out) <= set(left):
        raise ShapeError(
            f"the equation {equation} has a label in its output that no single input axis gives"
        )
    if b is None:
        (x,) = matched(a)
        return _permuted(_summed(x, left, out), [c for c in left if c in out], out)
    x, y = matched(a, b, least="int32")
    first, _, second = left.partition(",")
    if not _fits(first, x) or not _fits(second, y) or _differ((first, second), x, y):
        raise ShapeError(f"the equation {equation} does not fit {x.type} and {y.type}")
    x, y = _summed(x, first, second + out), _summed(y, second, first + out)
    return _product(x, _kept(first, second + out), y, _kept(second, first + out), out)


def _kept(labels: str, wanted: str) -> list[str]:
    return [label for label in labels if label in wanted]


def _product(x: Tensor, first: list[str], y: Tensor, second: list[str], out: str) -> Tensor:
    """The einsum of two tensors. Each of their labels is in the other tensor or in the output."""
    shared = [c for c in first if c in second]
    batch, inner = [c for c in shared if c in out], [c for c in shared if c not in out]
    rows, columns = [c for c in first if c not in second], [c for c in second if c not in first]
    if not inner and not (rows and columns):
        return _outer(x, y, first, second, out)
    sizes = _sizes((*first, *second), (*dims(x), *dims(y)))
    left = _grouped(x, first, (batch, rows, inner), sizes)
    right = _grouped(y, second, (batch, inner, columns), sizes)
    labels = [*batch, *rows, *columns]
    return _permuted(reshape(MatMul(left, right), [sizes[c] for c in labels]), labels, out)


def _fits(term: str, x: Tensor) -> bool:
    return len(set(term)) == len(term) == x.rank


def _differ(terms: Sequence[str], x: Tensor, y: Tensor) -> bool:
    """Whether a label has two different sizes."""
    sizes = {*zip(terms[0], x.shape, strict=True), *zip(terms[1], y.shape, strict=True)}
    labels = [label for label, size in sizes if size is not None]
    return len(labels) != len(set(labels))


def _sizes(labels: Iterable[str], sizes: Iterable[Size]) -> dict[str, Size]:
    """The size of each label, as a number if one of its axes has a known size."""
    found: dict[str, Size] = {}
    for label, size in zip(labels, sizes, strict=True):
        if isinstance(size, int) or label not in found:
            found[label] = size
    return found


def _outer(x: Tensor, y: Tensor, first: list[str], second: list[str], out: str) -> Tensor:
    """The elementwise product of two tensors, broadcast to the axes of the result."""

    def spread(z: Tensor, labels: list[str]) -> Tensor:
        ordered = transpose(z, [labels.index(c) for c in out if c in labels])
        sizes = iter(dims(ordered))
        return reshape(ordered, [next(sizes) if c in labels else 1 for c in out])

    return mul(spread(x, first), spread(y, second))


def _summed(x: Tensor, labels: str, kept: str) -> Tensor:
    lost = [axis for axis, label in enumerate(labels) if label not in kept]
    return sum_(x, lost) if lost else x


def _grouped(
    x: Tensor, labels: list[str], groups: tuple[list[str], ...], sizes: dict[str, Size]
) -> Tensor:
    """`x` with its axes in the order of the groups, and with one axis for each of the last two."""
    batch, rows, columns = groups
    ordered = transpose(x, [labels.index(c) for group in groups for c in group])
    row_count = product([sizes[c] for c in rows])
    column_count = product([sizes[c] for c in columns])
    return reshape(ordered, (*(sizes[c] for c in batch), row_count, column_count))


def _permuted(x: Tensor, labels: list[str], out: str) -> Tensor:
    return transpose(x, [labels.index(c) for c in out])
