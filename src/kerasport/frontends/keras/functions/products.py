"""Products and sums of products: matrices, tensors, Einstein sums.

The result has the promoted dtype of the operands. Norms and distances are float32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from string import ascii_letters
from typing import Any, TypeAlias

import numpy as np

from kerasport.budget import matrix, reserve_nodes
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions.arguments import flat, several, size
from kerasport.frontends.keras.functions.elementwise import multiply
from kerasport.frontends.keras.functions.movement import diagonal
from kerasport.frontends.keras.functions.refused import LINEAR_ALGEBRA
from kerasport.ir import ops
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import as_tensor, constant


def matmul(x1: Any, x2: Any) -> Tensor:
    """Multiply matrices in the last two axes, in the promoted dtype, also bool.

    [..., m, k] and [..., k, n] give [..., m, n].
    """
    a, b = bytes_widened(*ops.matched(x1, x2))
    if not a.rank or not b.rank:
        raise ShapeError("a matrix product needs two tensors of rank 1 or more")
    return multiplied(ops.matmul, a, b)


def bytes_widened(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return two tensors of one dtype; int8 becomes int32, as Keras multiplies int8 matrices."""
    return (ops.cast(a, "int32"), ops.cast(b, "int32")) if a.dtype == "int8" else (a, b)


def multiplied(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Apply a product to two tensors of one dtype; bool is multiplied as float32."""
    if a.dtype != "bool":
        return product(a, b)
    return ops.cast(product(ops.floats(a), ops.floats(b)), "bool")


def dot(x1: Any, x2: Any) -> Tensor:
    """Sum products over the last axis of x1 and the second to last axis of x2."""
    a, b = as_tensor(x1), as_tensor(x2)
    if not a.rank or not b.rank:
        return multiply(a, b)
    return tensordot(a, b, axes=((a.rank - 1,), (max(b.rank - 2, 0),)))


def inner(x1: Any, x2: Any) -> Tensor:
    """Sum products over the last axis of both tensors."""
    a, b = as_tensor(x1), as_tensor(x2)
    return (
        tensordot(a, b, axes=((a.rank - 1,), (b.rank - 1,)))
        if a.rank and b.rank
        else multiply(a, b)
    )


def vdot(x1: Any, x2: Any) -> Tensor:
    """Sum the products of all elements of two flattened tensors."""
    return dot(flat(as_tensor(x1)), flat(as_tensor(x2)))


def outer(x1: Any, x2: Any) -> Tensor:
    """Multiply each element of x1 with each element of x2: [m] and [n] to [m, n]."""
    return multiply(ops.expand_dims(flat(as_tensor(x1)), 1), flat(as_tensor(x2)))


def tensordot(x1: Any, x2: Any, *, axes: int | Sequence[Any] = 2) -> Tensor:
    """Sum products over pairs of axes."""
    a, b = as_tensor(x1), as_tensor(x2)
    if isinstance(axes, int):
        pairs: Sequence[Any] = (range(a.rank - axes, a.rank), range(axes))
    else:
        pairs = axes
    left, right = (
        several(pair if isinstance(pair, int) else tuple(pair), x.rank)
        for pair, x in zip(pairs, (a, b), strict=True)
    )
    first, second = list(ascii_letters[: a.rank]), list(ascii_letters[a.rank : a.rank + b.rank])
    for one, two in zip(left, right, strict=True):
        second[two] = first[one]
    out = [c for i, c in enumerate(first) if i not in left] + [
        c for i, c in enumerate(second) if i not in right
    ]
    return einsum(f"{''.join(first)},{''.join(second)}->{''.join(out)}", a, b)


# ----------------------------------------------------------------------------------- Einstein's sum


def einsum_(*operands: Any, subscripts: str) -> Tensor:
    """The Einstein sum that the subscripts describe."""
    tensors = [as_tensor(operand) for operand in operands]
    if {tensor.dtype for tensor in tensors} == {"int8"}:
        tensors = [ops.cast(tensor, "int32") for tensor in tensors]
    return einsum(subscripts, *tensors)


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """The Einstein sum of any number of tensors, computed from two at a time."""
    tensors = [as_tensor(operand) for operand in operands]
    terms, out = spelled_out(subscripts.replace(" ", ""), tensors)
    pieces = [_distinct(x, term) for x, term in zip(tensors, terms, strict=True)]
    x, labels = pieces[0]
    if len(pieces) == 1:
        return _summed(x, labels, out)
    for count, (y, other) in enumerate(pieces[1:], start=2):
        wanted = (
            out
            if count == len(pieces)
            else _kept(labels + other, out + "".join(term for _, term in pieces[count:]))
        )
        x, labels = _pair(x, labels, y, other, wanted), wanted
    return x


def _kept(labels: str, later: str) -> str:
    return "".join(dict.fromkeys(c for c in labels if c in later))


def _pair(x: Tensor, first: str, y: Tensor, second: str, out: str) -> Tensor:
    """The Einstein sum of two tensors; axes of size 1 are broadcast."""
    for label in set(first) & set(second):
        one, two = x.shape[first.index(label)], y.shape[second.index(label)]
        if one == 1 != two:
            x, first = ops.squeeze(x, first.index(label)), first.replace(label, "")
        elif two == 1 != one:
            y, second = ops.squeeze(y, second.index(label)), second.replace(label, "")
        else:  # an unknown size may be 1 when the model runs
            x, y = _spread(x, first.index(label), two), _spread(y, second.index(label), one)
    a, b = ops.matched(x, y)
    return multiplied(partial(ops.einsum, f"{first},{second}->{out}"), a, b)


def _spread(x: Tensor, axis: int, size: int | None) -> Tensor:
    """Broadcast an axis of unknown size to a known size.

    If the axis already has this size when the model runs, nothing changes.
    """
    if size is None or x.shape[axis] is not None:
        return x
    return ops.broadcast_to(x, (*ops.dims(x)[:axis], size, *ops.dims(x)[axis + 1 :]))


def _summed(x: Tensor, labels: str, out: str) -> Tensor:
    lost = [axis for axis, label in enumerate(labels) if label not in out]
    add = ops.any_ if x.dtype == "bool" else ops.sum_  # the sum of bools is a bool
    y = add(x, lost) if lost else x
    kept = [label for label in labels if label in out]
    return ops.transpose(y, [kept.index(label) for label in out])


def _distinct(x: Tensor, term: str) -> tuple[Tensor, str]:
    """Replace the axes of each label that occurs twice by their diagonal."""
    while len(set(term)) < len(term):
        label = next(c for c in term if term.count(c) > 1)
        one = term.index(label)
        two = term.index(label, one + 1)
        x = diagonal(x, axis1=one, axis2=two)
        term = term[:one] + term[one + 1 : two] + term[two + 1 :] + label
    return x, term


def spelled_out(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Return the labels of the operands and of the result, with labels instead of the ellipsis.

    Raises:
        ShapeError: they do not fit the tensors.
    """
    left, arrow, out = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors) or not re.fullmatch(r"[A-Za-z.,]*(->[A-Za-z.]*)?", subscripts):
        raise ShapeError(f"the subscripts {subscripts!r} do not fit {len(tensors)} tensors")
    free = [c for c in ascii_letters if c not in subscripts]
    hidden = [
        x.rank - len(term.replace("...", "")) if "..." in term else 0
        for x, term in zip(tensors, terms, strict=True)
    ]
    longest = max(hidden)
    if min(hidden) < 0 or longest > len(free):
        raise ShapeError(
            f"the subscripts {subscripts!r} do not fit {', '.join(str(x.type) for x in tensors)}"
        )
    spread = "".join(free[:longest])
    full = [
        term.replace("...", spread[longest - count :])
        for term, count in zip(terms, hidden, strict=True)
    ]
    if any(len(term) != x.rank for x, term in zip(tensors, full, strict=True)):
        raise ShapeError(
            f"the subscripts {subscripts!r} do not fit {', '.join(str(x.type) for x in tensors)}"
        )
    if arrow:
        return full, out.replace("...", spread)
    once = sorted(c for c in set("".join(full)) if "".join(full).count(c) == 1 and c not in spread)
    return full, spread + "".join(once)


# --------------------------------------------------------------------------------------- of vectors


def kron(x1: Any, x2: Any) -> Tensor:
    """The Kronecker product: each element of x1 multiplied by all of x2."""
    a, b = ops.matched(x1, x2, least="int32")
    rank = max(a.rank, b.rank)
    a, b = (ops.expand_dims(x, *range(rank - x.rank)) if x.rank < rank else x for x in (a, b))
    product = ops.mul(
        ops.expand_dims(a, *range(1, 2 * rank, 2)), ops.expand_dims(b, *range(0, 2 * rank, 2))
    )
    sizes = zip(a.shape, b.shape, strict=True)
    return ops.reshape(product, [-1 if m is None or n is None else m * n for m, n in sizes])


def cross(
    x1: Any, x2: Any, *, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:
    """The cross product of vectors, which is perpendicular to both."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = ops.matched(x1, x2, least="int32")
    parts = [_components(a, axisa), _components(b, axisb)]
    flat_ = all(len(part) == 2 for part in parts)
    (ax, ay, *az), (bx, by, *bz) = parts
    z = ax * by - ay * bx
    if flat_:
        return z
    zero = constant(0, a.dtype)
    up, right = (az or [zero])[0], (bz or [zero])[0]
    product = ops.stack([ay * right - up * by, up * bx - ax * right, z + 0 * up * right], -1)
    return ops.move_axis(product, -1, axisc)


def _components(x: Tensor, axis: int) -> tuple[Tensor, ...]:
    count = size(x, axis, "axis")
    if count not in (2, 3):
        raise ShapeError(f"a cross product needs vectors of two or three components, not {count}")
    return tuple(ops.squeeze(part, axis) for part in ops.split(x, count, axis))


def cdist(x: Tensor, y: Any) -> Tensor:
    """The distance of each pair of vectors: [..., m, k] and [..., n, k] to [..., m, n]."""
    a, b = ops.matched(x, y, least="float32")
    return ops.Sqrt(ops.sum_(ops.Square(ops.expand_dims(a, -2) - ops.expand_dims(b, -3)), -1))


def corrcoef(x: Tensor) -> Tensor:
    """The correlation coefficients of each pair of rows: [m, n] to [m, m]."""
    y = ops.floats(x)
    if y.rank != 2:
        raise Refusal("", "it is supported for matrices only")
    centered = y - ops.mean(y, 1, keepdims=True)
    unit = centered * ops.Rsqrt(ops.sum_(ops.Square(centered), 1, keepdims=True))
    return ops.clip(ops.MatMul(unit, unit, transpose_b=True), -1.0, 1.0)


def correlate(x1: Any, x2: Any, *, mode: str = "valid") -> Tensor:
    """The cross-correlation of two vectors, padded according to `mode`."""
    a, b = ops.matched(x1, x2, least="int32")
    if a.rank != 1 or b.rank != 1:
        raise ShapeError("a correlation needs two tensors of rank 1")
    long, short = size(a, 0), size(b, 0)
    if short > long:
        turned = correlate(b, a, mode=mode)
        return ops.Reverse(turned, (0,))
    before, after = {
        "valid": (0, 0),
        "same": (short // 2, (short - 1) // 2),
        "full": (short - 1, short - 1),
    }[mode]
    padded = ops.pad(a, ((before, after),))
    places = matrix(
        long + before + after - short + 1, short, lambda rows: rows + np.arange(short), np.int32
    )
    windows = ops.gather(padded, constant(places))
    return ops.matmul(windows, b)


def det(x: Tensor) -> Tensor:
    """Determinants of square matrices: x [..., n, n] to [...], float32."""
    return ops.Det(ops.floats(x))


def matrix_power(x: Tensor, *, n: int) -> Tensor:
    """The n-th power of square matrices, by repeated squaring."""
    if n < 0:
        raise Refusal("n", f"it inverts matrices, and {LINEAR_ALGEBRA}")
    if not n:
        return ops.cast(ops.broadcast_to(constant(np.eye(size(x, -1))), ops.dims(x)), x.dtype)
    power, square = None, x
    while True:
        if n & 1:
            power = square if power is None else matmul(power, square)
        n >>= 1
        if not n:
            assert power is not None
            return power
        square = matmul(square, square)


def vander(x: Tensor, *, N: int | None = None, increasing: bool = False) -> Tensor:  # noqa: N803  (Keras's name)
    """Return a matrix with the powers of each element in a row: [n] to [n, N]."""
    count = size(x, 0, "N") if N is None else N
    reserve_nodes(count)
    steps: list[Tensor] = [ops.Fill(ops.dims(x), 1.0, x.dtype)]
    for _ in range(1, count):
        steps.append(ops.mul(steps[-1], x))
    return ops.stack(steps if increasing else list(reversed(steps)), -1)


def norm(x: Tensor, *, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The norm of vectors or matrices; by default, that of the flattened tensor."""
    y = ops.floats(x)
    if axis is None and ord is not None and x.rank != 1:
        axis = tuple(range(x.rank))
    axes = several(axis if axis is None or isinstance(axis, int) else tuple(axis), x.rank)
    if len(axes) == 2 and ord is not None and ord != "fro":
        return _matrix_norm(y, ord, axes, keepdims=keepdims)
    order = 2 if ord in (None, "fro") else ord
    return vector_norm(y, order, axes, keepdims=keepdims)


def vector_norm(y: Tensor, order: Any, axes: Sequence[int], *, keepdims: bool) -> Tensor:
    """(Σ|x|^order)^(1 / order), and its limits for the orders 0 and infinity."""
    if isinstance(order, str) and order not in ("inf", "-inf"):
        raise Refusal("ord", "this norm is not supported")
    power, size_ = float(order), ops.Abs(y)
    if power == math.inf:
        return ops.max_(size_, axes, keepdims=keepdims)
    if power == -math.inf:
        return ops.min_(size_, axes, keepdims=keepdims)
    if power == 0:
        return ops.sum_(ops.floats(ops.not_equal(y, 0.0)), axes, keepdims=keepdims)
    if power == 1:
        return ops.sum_(size_, axes, keepdims=keepdims)
    if power == 2:
        return ops.Sqrt(ops.sum_(ops.Square(y), axes, keepdims=keepdims))
    return ops.power(ops.sum_(ops.power(size_, power), axes, keepdims=keepdims), 1 / power)


def _matrix_norm(y: Tensor, order: Any, axes: Sequence[int], *, keepdims: bool) -> Tensor:
    """The largest or smallest sum along the rows or columns of a matrix."""
    if order not in (1, -1, math.inf, -math.inf, "inf", "-inf"):
        raise Refusal("ord", "converted models cannot compute singular values")
    rows, columns = axes
    summed, compared = (rows, columns) if abs(float(order)) == 1 else (columns, rows)
    sums = ops.sum_(ops.Abs(y), summed, keepdims=True)
    found = (ops.max_ if float(order) > 0 else ops.min_)(sums, compared, keepdims=True)
    return found if keepdims else ops.squeeze(found, *axes)


def rearrange(tensor: Tensor, pattern: str, **axes_lengths: int) -> Tensor:
    """Split, move and join axes according to a pattern: `b (h p) w -> b h (p w)`.

    Raises:
        ShapeError: the pattern is malformed, does not fit the tensor, or leaves sizes open.
    """
    groups, out = _parsed(pattern)
    if len(groups) != tensor.rank:
        raise ShapeError(f"the pattern {pattern!r} does not fit {tensor.type}")
    sizes: dict[str, Size] = dict(axes_lengths)
    for axis, group in enumerate(groups):
        sizes |= _open_size(tensor, axis, group, axes_lengths, pattern)
    names = [name for group in groups for name in group]
    split = ops.reshape(tensor, [sizes[name] for name in names])
    sizes |= dict(zip(names, ops.dims(split), strict=True))
    moved = ops.transpose(split, [names.index(name) for group in out for name in group])
    return ops.reshape(moved, [_joined(group, sizes) for group in out])


Groups: TypeAlias = list[list[str]]
"""For each axis of a pattern, its names."""


def _parsed(pattern: str) -> tuple[Groups, Groups]:
    """Return both sides of a pattern."""
    sides = [re.findall(r"\w+|\(.*?\)", side) for side in pattern.split("->")]
    if len(sides) != 2:
        raise ShapeError(f"{pattern!r} is not a valid pattern")
    left, right = sides
    return [re.findall(r"\w+", axis) for axis in left], [re.findall(r"\w+", axis) for axis in right]


def _open_size(
    tensor: Tensor, axis: int, group: Sequence[str], lengths: Mapping[str, int], pattern: str
) -> dict[str, Size]:
    """The size of the one name in a group that has no length; -1 if only the run decides it."""
    names = [name for name in group if name not in lengths]
    if len(names) > 1:
        raise ShapeError(f"the pattern {pattern!r} does not determine the sizes of {names}")
    if not names:
        return {}
    if len(group) == 1:
        return {names[0]: ops.dim(tensor, axis)}
    whole = tensor.shape[axis]
    known = math.prod(lengths[name] for name in group if name in lengths)
    return {names[0]: -1 if whole is None else whole // known}


def _joined(group: Sequence[str], sizes: Mapping[str, Size]) -> Size:
    """The size of an axis that joins a group of axes; -1 if it is unknown."""
    parts = [sizes[name] for name in group]
    if len(parts) == 1:
        return parts[0]
    numbers = [part for part in parts if isinstance(part, int)]
    return math.prod(numbers) if len(numbers) == len(parts) else -1


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Matmul": matmul, "Dot": dot, "Inner": inner, "Vdot": vdot, "Outer": outer,
    "Tensordot": tensordot, "Einsum": einsum_, "Kron": kron, "Cross": cross, "CDist": cdist,
    "Corrcoef": corrcoef, "Correlate": correlate, "Vander": vander, "MatrixPower": matrix_power,
    "Det": det, "Norm": norm, "Rearrange": rearrange,
}  # fmt: skip
