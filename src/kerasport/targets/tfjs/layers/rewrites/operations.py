"""Functions of keras.ops and TensorFlow, called as nodes of a model, as layers.

A function is lowered to tensor operations, as for a graph-model, and each of them becomes a layer.
So one table of tensor operations serves all functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions import apply
from kerasport.frontends.keras.model import KerasTensor, map_tensors
from kerasport.ir import ops
from kerasport.ir.dtypes import DType
from kerasport.ir.graph import walk, with_operands
from kerasport.ir.tensor import Constant, Input, Node, TensorType
from kerasport.ir.tensor import Tensor as Value
from kerasport.passes.fold import fold_constants
from kerasport.targets.tfjs.layers.rewrites.blocks import (
    activated,
    difference,
    linear_map,
    negative,
    padded,
    permuted,
    product,
    reduced,
    relu,
    reshaped,
    scaled,
    selection,
    sliced,
    square,
    total,
)
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext

Build: TypeAlias = Callable[[RewriteContext, Any, Sequence[KerasTensor]], KerasTensor]
"""Builds the layer of a tensor operation, given its operands that are not constants."""

GRAPH = "use --to tfjs-graph, which supports it"
NO_INPUT = "does not depend on the input, and TF.js has no layer for a constant"
CONSTANT = f"its result {NO_INPUT}"
LISTED = 4096
"""How many numbers an option in model.json may list."""
MAPPED = 512
"""How long an axis may be that is multiplied by a constant matrix."""

ACTIVATIONS: Mapping[str, str] = {"Gelu": "gelu", "Softsign": "softsign", "Celu": "celu"}
"""Functions that are an activation of TF.js, if their options are the defaults."""

BITS = "TF.js layers compute in float32, which has no bits of integers"
OF_BITS = (
    "BitwiseAnd", "BitwiseOr", "BitwiseXor", "LeftShift", "BitwiseLeftShift", "RightShift",
    "BitwiseRightShift",
)  # fmt: skip
SCATTER = ("Scatter", "ScatterUpdate")

AT_RUN_TIME = "it has sizes known only at run time, which no layer of TF.js has"

DEFAULTS: Mapping[str, Any] = {"approximate": False, "alpha": 1.0, "name": None, "dtype": None}


def operation(ctx: RewriteContext) -> KerasTensor | tuple[KerasTensor, ...]:
    """Lower the function, and build each of its tensor operations as a layer.

    Raises:
        Refusal: one of the tensor operations has no layer.
    """
    activation = _activation(ctx)
    if activation:
        return activated(ctx, ctx.x, activation)
    if ctx.spec.class_name in OF_BITS and not _is_bool(ctx):
        raise Refusal("", BITS)
    if ctx.spec.class_name in SCATTER:
        raise Refusal("", "TF.js has no layer that writes to computed positions", GRAPH)
    feeds: dict[KerasTensor, Value] = {
        tensor: Input(str(index), TensorType(_dtype(ctx, tensor), ctx.shape_of(tensor)))
        for index, tensor in enumerate(ctx.inputs_of_all)
    }
    args = map_tensors(ctx.call.args, feeds.__getitem__)
    kwargs = {key: map_tensors(value, feeds.__getitem__) for key, value in ctx.call.kwargs.items()}
    try:
        results = apply(ctx.spec, args, kwargs)
    except ShapeError as error:
        raise Refusal("", str(error)) from None
    known: dict[Node, KerasTensor] = {value: tensor for tensor, value in feeds.items()}
    tensors = _built(ctx, [_folded(result) for result in results], known)
    return tensors if len(tensors) > 1 else tensors[0]


def _activation(ctx: RewriteContext) -> str:
    """The activation of TF.js that computes the function; empty if there is none."""
    changed = {
        key for key, value in ctx.spec.config.items() if key in DEFAULTS and value != DEFAULTS[key]
    }
    if changed - {"name", "dtype"} or len(ctx.inputs) != 1:
        return ""
    return ACTIVATIONS.get(ctx.spec.class_name, "")


def _is_bool(ctx: RewriteContext) -> bool:
    """Whether all inputs are booleans."""
    return all(_dtype(ctx, tensor) == "bool" for tensor in ctx.inputs_of_all)


def _dtype(ctx: RewriteContext, tensor: KerasTensor) -> DType:
    """The dtype of a tensor in a layers-model: bool, or float32, in which its layers compute."""
    return "bool" if ctx.rewriter.dtypes.of(tensor) == "bool" else "float32"


def _folded(end: Value) -> Value:
    """A value with constant subexpressions computed."""
    new: dict[Node, Node] = {}
    for node in walk([end]):
        moved = with_operands(node, new)
        new[node] = fold_constants(moved, lambda _: 1) or moved
    result = new[end]
    assert isinstance(result, Value)
    return result


def _built(
    ctx: RewriteContext, ends: Sequence[Value], known: Mapping[Node, KerasTensor]
) -> tuple[KerasTensor, ...]:
    """The layers of all nodes up to `ends`; `known` contains the tensors of the inputs."""
    tensors = dict(known)
    for node in walk(ends, known):
        if isinstance(node, Constant | ops.Dim):
            continue
        operands = [tensors[operand] for operand in node.operands if operand in tensors]
        _check_node(node, operands)
        tensors[node] = TABLE[type(node)](ctx, node, operands)
    if any(end not in tensors for end in ends):
        raise Refusal("", CONSTANT, GRAPH)
    return tuple(tensors[end] for end in ends)


def _check_node(node: Node, operands: Sequence[KerasTensor]) -> None:
    """Raise a `Refusal` if a node has no layer."""
    name = type(node).__name__
    if type(node) not in TABLE:
        raise Refusal("", f"it computes {name}, for which TF.js has no layer", GRAPH)
    if not operands:
        raise Refusal("", f"a part of it {NO_INPUT}", GRAPH)
    if isinstance(node, Value) and node.dtype != "float32":
        reason = f"it computes {name} of {node.dtype}, but TF.js layers compute in float32"
        raise Refusal("", reason, GRAPH)


# --------------------------------------------------------------------------------------- arithmetic


def _with_constant(node: Any) -> tuple[Any, bool] | None:
    """The constant operand as a float or float64 array, and whether it is the first; or None.

    Raises:
        Refusal: it is too large for model.json, or changes the shape of the other operand.
    """
    constant, other, first = node.b, node.a, False
    if isinstance(node.a, Constant):
        constant, other, first = node.a, node.b, True
    if not isinstance(constant, Constant):
        return None
    values = constant.read()
    if node.shape != other.shape or (values.ndim == other.rank and values.shape[0] != 1):
        reason = f"its constant operand of shape {values.shape} would broadcast the result"
        raise Refusal("", f"{reason} to another shape", GRAPH)
    if values.size > LISTED:
        reason = f"its constant operand has {values.size} numbers, too many for model.json"
        raise Refusal("", reason, GRAPH)
    if not np.isfinite(values).all():
        reason = "its constant operand is not finite, and JSON cannot represent that"
        raise Refusal("", reason, GRAPH)
    if values.ndim == other.rank:
        values = values[0]
    return (float(values.reshape(())) if values.size == 1 else values.astype("float64")), first


def _json(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else float(values)


def _affine(ctx: RewriteContext, x: KerasTensor, scale: Any, offset: Any) -> KerasTensor:
    return ctx.add("Rescaling", x, scale=_json(scale), offset=_json(offset))


def add(ctx: RewriteContext, node: ops.Add, xs: Sequence[KerasTensor]) -> KerasTensor:
    """a + b"""
    constant = _with_constant(node)
    return _affine(ctx, xs[0], 1.0, constant[0]) if constant else ctx.add("Add", *_alike(node, xs))


def sub(ctx: RewriteContext, node: ops.Sub, xs: Sequence[KerasTensor]) -> KerasTensor:
    """a - b"""
    constant = _with_constant(node)
    if constant is None:
        return difference(ctx, *_alike(node, xs))
    value, first = constant
    return _affine(ctx, xs[0], -1.0, value) if first else _affine(ctx, xs[0], 1.0, -value)


def mul(ctx: RewriteContext, node: ops.Mul, xs: Sequence[KerasTensor]) -> KerasTensor:
    """a · b"""
    constant = _with_constant(node)
    return _affine(ctx, xs[0], constant[0], 0.0) if constant else product(ctx, *_alike(node, xs))


def div(ctx: RewriteContext, node: ops.Div, xs: Sequence[KerasTensor]) -> KerasTensor:
    """a / c = a · (1/c)"""
    constant = _with_constant(node)
    if constant is None or constant[1]:
        raise Refusal("", "it divides by a computed tensor, for which TF.js has no layer", GRAPH)
    if not np.all(constant[0]):
        raise Refusal("", "it divides by zero", GRAPH)
    return _affine(ctx, xs[0], 1 / constant[0], 0.0)


def power(ctx: RewriteContext, node: ops.Pow, xs: Sequence[KerasTensor]) -> KerasTensor:
    """xⁿ by squaring, for a small whole n."""
    constant = _with_constant(node)
    if constant is None or constant[1] or np.ndim(constant[0]) or constant[0] not in range(1, 17):
        raise Refusal("", "TF.js layers support only integer powers from 1 to 16", GRAPH)
    exponent, factor, result = int(constant[0]), xs[0], None
    while exponent:
        if exponent % 2:
            result = factor if result is None else product(ctx, result, factor)
        exponent //= 2
        factor = square(ctx, factor) if exponent else factor
    assert result is not None
    return result


def extreme(layer: str, sign: float) -> Build:
    """max(x, c) = relu(x - c) + c, and min(x, c) = c - relu(c - x)."""

    def build(ctx: RewriteContext, node: Any, xs: Sequence[KerasTensor]) -> KerasTensor:
        constant = _with_constant(node)
        if constant is None:
            return ctx.add(layer, *_alike(node, xs))
        value = constant[0]
        if sign > 0 and np.ndim(value) == 0 and not value:
            return relu(ctx, xs[0])
        return _affine(ctx, relu(ctx, _affine(ctx, xs[0], sign, -sign * value)), sign, value)

    return build


def _alike(node: Any, xs: Sequence[KerasTensor]) -> tuple[KerasTensor, KerasTensor]:
    """The two operands, whose ranks must be equal for TF.js to broadcast them as NumPy does."""
    if len(xs) == 1:
        return xs[0], xs[0]
    if node.a.rank != node.b.rank:
        raise Refusal(
            "",
            f"it broadcasts the shapes {node.a.shape} and {node.b.shape} across the batch",
            GRAPH,
        )
    return xs[0], xs[1]


def squared_difference(
    ctx: RewriteContext, node: ops.SquaredDifference, xs: Sequence[KerasTensor]
) -> KerasTensor:
    """(a - b)²"""
    return square(ctx, sub(ctx, node, xs))  # type: ignore[arg-type]


def absolute(ctx: RewriteContext, _: Any, xs: Sequence[KerasTensor]) -> KerasTensor:
    """|x| = relu(x) + relu(-x)"""
    return ctx.add("Add", relu(ctx, xs[0]), relu(ctx, negative(ctx, xs[0])))


def clip(ctx: RewriteContext, node: ops.Clip, xs: Sequence[KerasTensor]) -> KerasTensor:
    """min(relu(x), b) - min(relu(-x), -a) if a < 0 < b, else min(relu(x - a), b - a) + a"""
    low, high = node.low, node.high
    if low == 0:
        return relu(ctx, xs[0], high)
    if low < 0 < high:
        return difference(ctx, relu(ctx, xs[0], high), relu(ctx, negative(ctx, xs[0]), -low))
    return scaled(ctx, relu(ctx, scaled(ctx, xs[0], 1.0, -low), high - low), 1.0, low)


def named(activation: str) -> Build:
    """A function that is an activation of TF.js."""
    return lambda ctx, _, xs: activated(ctx, xs[0], activation)


# ----------------------------------------------------------------------------------------- movement


def _keeps_batch(before: Value, after: Value) -> bool:
    """Whether the first axis is still the batch after a reshape."""
    if not after.rank:
        return False
    if before.shape[0] is not None:
        return before.shape[0] == after.shape[0]
    first = after.to[0] if isinstance(after, ops.Reshape) else None
    if isinstance(first, ops.Dim) and first.axis == 0:
        return True
    size = total(before.shape[1:])
    return after.shape[0] is None and size is not None and size == total(after.shape[1:])


def reshape(ctx: RewriteContext, node: ops.Reshape, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Reshape each sample."""
    if not _keeps_batch(node.x, node):
        raise Refusal("", "it reshapes across the batch, which TF.js layers cannot do", GRAPH)
    return reshaped(ctx, xs[0], node.shape[1:])


def transpose(ctx: RewriteContext, node: ops.Transpose, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Permute the axes after the batch."""
    if node.order[0]:
        raise Refusal("", "it moves the batch axis, which TF.js layers cannot do", GRAPH)
    return permuted(ctx, xs[0], node.order)


def slice_(ctx: RewriteContext, node: ops.Slice, xs: Sequence[KerasTensor]) -> KerasTensor:
    """x[begin:begin+size] along each axis"""
    x = xs[0]
    for axis, (begin, size) in enumerate(zip(node.begin, node.size, strict=True)):
        if not isinstance(begin, int) or not isinstance(size, int):
            raise Refusal("", AT_RUN_TIME, GRAPH)
        if not begin and size in (-1, node.x.shape[axis]):
            continue
        if axis == 0:
            raise Refusal("", "it slices the batch, which TF.js layers cannot do", GRAPH)
        x = sliced(ctx, x, begin, None if size == -1 else begin + size, axis)
    return x


def strided_slice(
    ctx: RewriteContext, node: ops.StridedSlice, xs: Sequence[KerasTensor]
) -> KerasTensor:
    """x[begin:end:step] along each axis, with a one-hot matrix for a step"""
    x = xs[0]
    for axis, (size, part) in enumerate(zip(node.x.shape, node.parts, strict=True)):
        begin, end, step = part
        if isinstance(begin, ops.Tensor) or isinstance(end, ops.Tensor):
            raise Refusal("", AT_RUN_TIME, GRAPH)
        if (begin or 0, end, step) == (0, None, 1):
            continue
        if axis == 0:
            raise Refusal("", "it slices the batch, which TF.js layers cannot do", GRAPH)
        if size is not None:
            x = _selected(ctx, x, axis, range(*slice(begin, end, step).indices(size)), size)
        elif step == 1 and (begin or 0) >= 0 and (end is None or end < 0):
            x = sliced(ctx, x, begin or 0, end, axis)
        else:
            raise Refusal(
                "", "it slices an axis of unknown size from its end, or with a step", GRAPH
            )
    return x


def _selected(
    ctx: RewriteContext, x: KerasTensor, axis: int, places: Sequence[int], size: int
) -> KerasTensor:
    if max(size, len(places)) > MAPPED:
        reason = f"it selects from an axis of size {size}, for which TF.js layers would need"
        raise Refusal("", f"{reason} a large matrix", GRAPH)
    return linear_map(ctx, x, selection(size, np.array(places, int)).T, axis, "selection")


def reverse(ctx: RewriteContext, node: ops.Reverse, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Reverse axes of x with a matrix each."""
    (x,) = xs
    for axis in node.axes:
        size = node.x.shape[axis]
        if axis == 0 or size is None:
            raise Refusal("", "it reverses the batch, or an axis of unknown size", GRAPH)
        x = _selected(ctx, x, axis, range(size)[::-1], size)
    return x


def gather(ctx: RewriteContext, node: ops.Gather, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Gather constant indices of an axis with a one-hot matrix."""
    if (
        not isinstance(node.indices, Constant)
        or node.indices.rank > 1
        or node.axis == 0
        or node.batch_dims
        or isinstance(node.x, Constant)
    ):
        raise Refusal("", "it gathers from computed indices, for which TF.js has no layer", GRAPH)
    size = node.x.shape[node.axis]
    if size is None:
        raise Refusal("", "it gathers from an axis whose size is not fixed", GRAPH)
    indices = node.indices.read()
    places = [int(place) % size for place in np.atleast_1d(indices)]
    picked = _selected(ctx, xs[0], node.axis, places, size)
    return picked if indices.ndim else reshaped(ctx, picked, node.shape[1:])


def concat(ctx: RewriteContext, node: ops.Concat, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Concatenate tensors along an axis."""
    if node.axis == 0 or any(isinstance(part, Constant) for part in node.parts):
        raise Refusal("", "it concatenates along the batch axis or with a constant", GRAPH)
    places = {
        id(part): x for part, x in zip(dict.fromkeys(node.parts), dict.fromkeys(xs), strict=True)
    }
    return ctx.add("Concatenate", *(places[id(part)] for part in node.parts), axis=node.axis)


def pad(ctx: RewriteContext, node: ops.Pad, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Pad x with zeros."""
    if node.mode != "constant" or node.value or any(node.paddings[0]):
        raise Refusal("", "TF.js layers pad only with zeros, and not along the batch axis", GRAPH)
    (x,) = xs
    if node.x.rank == 4 and not any(node.paddings[3]):
        pairs = [list(pair) for pair in node.paddings[1:3]]
        return ctx.add("ZeroPadding2D", x, padding=pairs, data_format="channels_last")
    for axis, pair in enumerate(node.paddings):
        x = padded(ctx, x, axis, *pair) if any(pair) else x
    return x


def tile(ctx: RewriteContext, node: ops.Tile, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Repeat x along axes, as Concatenate of the same tensor."""
    counts = [times for times in node.times if isinstance(times, int)]
    if len(counts) < len(node.times):
        raise Refusal("", AT_RUN_TIME, GRAPH)
    if counts[0] != 1 or max(counts) > 16:
        raise Refusal("", "it repeats the batch, or repeats an axis more than 16 times", GRAPH)
    x = xs[0]
    for axis, times in enumerate(counts):
        x = ctx.add("Concatenate", *(x,) * times, axis=axis) if times > 1 else x
    return x


def broadcast_to(
    ctx: RewriteContext, node: ops.BroadcastTo, xs: Sequence[KerasTensor]
) -> KerasTensor:
    """Repeat axes of size 1 with a matrix of ones."""
    (x,) = xs
    if node.rank != node.x.rank:
        raise Refusal("", "it broadcasts the batch to other axes", GRAPH)
    for axis, (before, after) in enumerate(zip(node.x.shape, node.shape, strict=True)):
        if before == after:
            continue
        if axis == 0 or before is None or after is None or after > MAPPED:
            raise Refusal(
                "",
                "it broadcasts the batch, an axis of unknown size, or to too large a size",
                GRAPH,
            )
        reserve(after)
        x = linear_map(ctx, x, np.ones((1, after), np.float32), axis, "repeated")
    return x


# -------------------------------------------------------------------------- reductions and products


def _axes(node: Any) -> Sequence[int]:
    if 0 in node.axes:
        raise Refusal("axis", "it reduces the batch axis, which TF.js layers cannot do", GRAPH)
    return tuple(node.axes)


def mean(ctx: RewriteContext, node: ops.Mean, xs: Sequence[KerasTensor]) -> KerasTensor:
    """Σ x / n"""
    return reduced(ctx, xs[0], _axes(node), "GlobalAveragePooling1D", keepdims=node.keepdims)


def sum_(ctx: RewriteContext, node: ops.Sum, xs: Sequence[KerasTensor]) -> KerasTensor:
    """n · mean(x)"""
    count = total([node.x.shape[axis] for axis in _axes(node)])
    if count is None:
        raise Refusal("axis", "it sums over an axis of unknown size", GRAPH)
    averaged = reduced(ctx, xs[0], node.axes, "GlobalAveragePooling1D", keepdims=node.keepdims)
    return scaled(ctx, averaged, float(count))


def max_(ctx: RewriteContext, node: ops.Max, xs: Sequence[KerasTensor]) -> KerasTensor:
    """max(x)"""
    return reduced(ctx, xs[0], _axes(node), "GlobalMaxPooling1D", keepdims=node.keepdims)


def min_(ctx: RewriteContext, node: ops.Min, xs: Sequence[KerasTensor]) -> KerasTensor:
    """-max(-x)"""
    largest = reduced(
        ctx, negative(ctx, xs[0]), _axes(node), "GlobalMaxPooling1D", keepdims=node.keepdims
    )
    return negative(ctx, largest)


def matmul(ctx: RewriteContext, node: ops.MatMul, xs: Sequence[KerasTensor]) -> KerasTensor:
    """x · W with a constant W as Dense, and a · b of two batches of matrices as Dot."""
    if isinstance(node.b, Constant) and node.b.rank == 2 and not node.transpose_a:
        values = node.b.read()
        kernel = values.T if node.transpose_b else values
        return linear_map(ctx, xs[0], kernel, node.a.rank - 1, "product")
    constant = isinstance(node.a, Constant) or isinstance(node.b, Constant)
    if constant or not node.a.rank == node.b.rank == 3:
        reason = "TF.js layers multiply matrices only of one batch, or by one constant matrix"
        raise Refusal("", reason, GRAPH)
    a, b = xs if len(xs) == 2 else (xs[0], xs[0])
    axes = [1 if node.transpose_a else 2, 2 if node.transpose_b else 1]
    return ctx.add("Dot", a, b, axes=axes, normalize=False)


NAMED: Mapping[Any, str] = {
    ops.Relu6: "relu6",
    ops.Elu: "elu",
    ops.Selu: "selu",
    ops.Sigmoid: "sigmoid",
    ops.Tanh: "tanh",
    ops.Softplus: "softplus",
    ops.Exp: "exponential",
    ops.LogSoftmax: "log_softmax",
}
"""Tensor operation → the activation of TF.js that computes it."""

TABLE: Mapping[Any, Build] = {
    # arithmetic
    ops.Add: add,
    ops.Sub: sub,
    ops.Mul: mul,
    ops.Div: div,
    ops.Pow: power,
    ops.Maximum: extreme("Maximum", 1.0),
    ops.Minimum: extreme("Minimum", -1.0),
    ops.SquaredDifference: squared_difference,
    ops.Abs: absolute,
    ops.Clip: clip,
    ops.Neg: lambda ctx, _, xs: negative(ctx, xs[0]),
    ops.Square: lambda ctx, _, xs: square(ctx, xs[0]),
    # activations
    ops.Relu: lambda ctx, _, xs: relu(ctx, xs[0]),
    ops.LeakyRelu: lambda ctx, node, xs: ctx.add("LeakyReLU", xs[0], negative_slope=node.alpha),
    ops.Softmax: lambda ctx, _, xs: ctx.add("Softmax", xs[0], axis=-1),
    **{op: named(activation) for op, activation in NAMED.items()},
    # movement
    ops.Reshape: reshape,
    ops.Transpose: transpose,
    ops.Slice: slice_,
    ops.StridedSlice: strided_slice,
    ops.Reverse: reverse,
    ops.Gather: gather,
    ops.Concat: concat,
    ops.Pad: pad,
    ops.Tile: tile,
    ops.BroadcastTo: broadcast_to,
    # reductions and products
    ops.Mean: mean,
    ops.Sum: sum_,
    ops.Max: max_,
    ops.Min: min_,
    ops.MatMul: matmul,
}
"""Tensor operation → the layers that compute it."""
