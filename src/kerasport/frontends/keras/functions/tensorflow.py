"""Lowerings of the TensorFlow functions that Keras 2 recorded as nodes.

They use the lowerings of `keras.ops`. Each one has the signature of the TensorFlow function, since
a file uses the argument names of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.frontends.keras.functions import elementwise as e
from kerasport.frontends.keras.functions import image, movement, nn, products, reduction
from kerasport.frontends.keras.functions.arguments import filled, known_value, named
from kerasport.frontends.keras.layers import activations
from kerasport.ir import ops
from kerasport.ir.ops import Tensor, where
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import as_tensor, constant
from kerasport.weights import axis_of

Lower = Callable[..., Any]


def one(function: Lower, name: str = "x") -> Lower:
    """Return a lowering with one tensor argument, which TensorFlow calls `name`."""

    def lower(*args: Any, **kwargs: Any) -> Any:
        if name in kwargs:
            args = (kwargs.pop(name), *args)
        (x,) = args
        if kwargs:
            raise TypeError(f"unexpected arguments {', '.join(kwargs)}")
        return function(as_tensor(x))

    return lower


def two(function: Lower) -> Lower:
    """Return a lowering with the arguments x and y, each a tensor or a number."""
    return lambda x, y: function(*operands_of(x, y))


def operands_of(x: Any, y: Any) -> tuple[Any, Any]:
    """Return two operands as tensors; a number takes the dtype of the other, as in TensorFlow."""
    if isinstance(x, Tensor) and not isinstance(y, Tensor):
        return x, constant(y, x.dtype)
    if isinstance(y, Tensor) and not isinstance(x, Tensor):
        return constant(x, y.dtype), y
    return x, y


def reduced(function: Lower) -> Lower:
    """Return the lowering of a reduction; integers stay integers, as in TensorFlow."""

    def lower(input_tensor: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.cast(function(input_tensor, axis=axis, keepdims=keepdims), input_tensor.dtype)

    return lower


def place(op: type[ops.ArgMax | ops.ArgMin]) -> Lower:
    """Return the lowering of an index of an extreme along an axis; the default axis is 0."""

    def lower(input: Tensor, axis: int | None = None, output_type: str = "int64") -> Tensor:
        named(output_type)
        return reduction.place(op)(input, axis=0 if axis is None else axis)

    return lower


def cumulated(op: type[ops.Cumsum | ops.Cumprod]) -> Lower:
    """Return the lowering of a cumulative function along an axis, optionally from the end."""

    def lower(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
        return op(reduction.counting(x), axis_of(axis, x.rank), exclusive, reverse)

    return lower


def get_item(x: Any, *, slice_spec: Any) -> Tensor:
    """x[...], where the file stores each slice as start, stop and step."""
    keys = slice_spec if isinstance(slice_spec, tuple | list) else (slice_spec,)
    return movement.get_item(x, tuple(_key(key) for key in keys))


def _key(key: Any) -> Any:
    if isinstance(key, Mapping):
        return slice(key.get("start"), key.get("stop"), key.get("step"))
    return key


def shape(input: Any, out_type: str = "int32") -> Tensor:
    """Return the sizes of all axes as a tensor: [rank]."""
    named(out_type)
    sizes = [ops.reshape(as_tensor(size), (1,)) for size in ops.dims(as_tensor(input))]
    return ops.concat(sizes, 0)


def sizes_of(shape: Any) -> list[Size]:
    """Return the sizes of a shape given as one tensor, or as a list of numbers and tensors."""
    if isinstance(shape, Tensor):
        count = shape.shape[0] if shape.rank == 1 else None
        if count is None:
            raise Refusal("shape", "the rank must be known")
        return [_size(ops.squeeze(part, 0)) for part in ops.split(shape, count, 0)]
    listed = shape if isinstance(shape, Sequence) else np.atleast_1d(shape).tolist()
    return [_size(size) for size in listed]


def _size(size: Any) -> Size:
    if not isinstance(size, Tensor):
        return -1 if size is None else int(size)
    if isinstance(size, ops.Constant):
        return int(size.read())
    return ops.cast(size, "int32")


def reshape(tensor: Any, shape: Any) -> Tensor:
    """Reshape a tensor."""
    return ops.reshape(as_tensor(tensor), sizes_of(shape))


def broadcast_to(input: Any, shape: Any) -> Tensor:
    """Broadcast a tensor to a larger shape."""
    return ops.broadcast_to(as_tensor(input), sizes_of(shape))


def transpose(a: Tensor, perm: Any = None, conjugate: bool = False) -> Tensor:
    """Permute the axes."""
    del conjugate  # real numbers do not change
    return ops.transpose(a, perm)


def expand_dims(input: Tensor, axis: int) -> Tensor:
    """Insert an axis of size 1."""
    return movement.expand_dims(input, axis=axis)


def squeeze(input: Tensor, axis: Any = None, squeeze_dims: Any = None) -> Tensor:
    """Remove axes of size 1."""
    wanted = squeeze_dims if axis is None else axis
    return movement.squeeze(input, axis=None if wanted in ((), []) else wanted)


def listed(values: Any) -> Sequence[Any]:
    """Return tensors as a list. A file may store a list of one tensor as the tensor itself."""
    return values if isinstance(values, tuple | list) else (values,)


def concat(values: Any, axis: int) -> Tensor:
    """Concatenate tensors along an axis."""
    return movement.concatenate(listed(values), axis=axis)


def stack(values: Any, axis: int = 0) -> Tensor:
    """Stack tensors along a new axis."""
    return movement.stack(listed(values), axis=axis)


def split(
    value: Tensor, num_or_size_splits: Any, axis: int = 0, num: int | None = None
) -> tuple[Tensor, ...]:
    """Split a tensor into a number of equal parts, or into parts of the given sizes."""
    del num
    if isinstance(num_or_size_splits, int):
        return movement.split(value, indices_or_sections=num_or_size_splits, axis=axis)
    edges = np.cumsum([int(n) for n in num_or_size_splits])[:-1].tolist()
    return movement.split(value, indices_or_sections=edges, axis=axis)


def unstack(value: Tensor, num: int | None = None, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the slices along an axis, without that axis."""
    return movement.unstack(value, num=num, axis=axis)


def slice_(input_: Tensor, begin: Any, size: Any) -> Tensor:
    """Return `size` elements of each axis from `begin`; -1 selects all remaining elements."""
    starts, lengths = (
        known_value(argument, "begin").reshape(-1).tolist() for argument in (begin, size)
    )
    return ops.strided(
        input_, [(b, None if s == -1 else b + s, 1) for b, s in zip(starts, lengths, strict=True)]
    )


def tile(input: Tensor, multiples: Any) -> Tensor:
    """Repeat the whole tensor along each axis."""
    return movement.tile(input, repeats=known_value(multiples, "multiples").reshape(-1).tolist())


def repeat(input: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis."""
    return movement.repeat(input, repeats=repeats, axis=axis)


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: int | None = None,
    batch_dims: int = 0,
) -> Tensor:
    """Select the slices with the given indices along an axis."""
    del validate_indices
    if batch_dims:
        raise Refusal("batch_dims", "batch_dims is not supported")
    return ops.gather(params, ops.cast(as_tensor(indices), "int32"), axis or 0)


def pad(tensor: Tensor, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Tensor:
    """Pad a tensor on both sides of each axis."""
    value = constant_values if mode.lower() == "constant" else None
    return movement.pad(
        tensor, value, pad_width=known_value(paddings, "paddings"), mode=mode.lower()
    )


def reverse(tensor: Tensor, axis: Any) -> Tensor:
    """Reverse the order along axes."""
    return movement.flip(tensor, axis=axis)


def roll(input: Tensor, shift: Any, axis: Any) -> Tensor:
    """Shift elements along axes; those that leave at one end enter at the other."""
    return movement.roll(input, shift=shift, axis=axis)


def cast(x: Any, dtype: str) -> Tensor:
    """Convert x to another dtype."""
    return e.cast(x, dtype=dtype)


def clip_by_value(t: Tensor, clip_value_min: Any, clip_value_max: Any) -> Tensor:
    """Limit t to the range between two bounds."""
    low, high = (
        limit if isinstance(limit, Tensor) else constant(limit, t.dtype)
        for limit in (clip_value_min, clip_value_max)
    )
    fixed = all(isinstance(limit, int | float) for limit in (clip_value_min, clip_value_max))
    return (
        ops.clip(t, clip_value_min, clip_value_max)
        if fixed and t.dtype == "float32"
        else ops.minimum(ops.maximum(t, low), high)
    )


def where_(condition: Any, x: Any = None, y: Any = None) -> Tensor:
    """Select x where the condition is true, and y elsewhere."""
    return (
        e.where_(condition, *operands_of(x, y))
        if x is not None and y is not None
        else e.where_(condition)
    )


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: str | None = None,
) -> Tensor:
    """Add an axis with `on_value` at the index and `off_value` elsewhere."""
    hot = nn.one_hot(indices, num_classes=depth, axis=-1 if axis is None else axis, dtype="bool")
    kind = named("float32" if dtype is None else dtype)
    on, off = (
        constant(default if argument is None else argument, kind)
        for argument, default in ((on_value, 1), (off_value, 0))
    )
    return where(hot, on, off)


def like(value: float) -> Lower:
    """Return a lowering that fills the shape of a tensor with one number."""

    def lower(
        input: Any, dtype: str | None = None, tensor: Any = None, layout: Any = None
    ) -> Tensor:
        del layout
        x = as_tensor(input if tensor is None else tensor)
        return filled(x, value, x.dtype if dtype is None else named(dtype))

    return lower


def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, **sparse: Any
) -> Tensor:
    """Multiply matrices in the last two axes: [..., m, k] and [..., k, n] to [..., m, n]."""
    if any(sparse.values()) or not set(sparse) <= {
        "a_is_sparse",
        "b_is_sparse",
        "adjoint_a",
        "adjoint_b",
        "output_type",
    }:
        raise Refusal("", "only the arguments a, b, transpose_a and transpose_b are supported")
    x, y = as_tensor(a), as_tensor(b)
    x = movement.swapaxes(x, axis1=-1, axis2=-2) if transpose_a else x
    y = movement.swapaxes(y, axis1=-1, axis2=-2) if transpose_b else y
    return products.matmul(x, y)


def tensordot(a: Any, b: Any, axes: Any) -> Tensor:
    """Sum products over pairs of axes."""
    return products.tensordot(a, b, axes=axes)


def l2_normalize(x: Tensor, axis: Any = None, epsilon: float = 1e-12, dim: Any = None) -> Tensor:
    """x / √Σx², with the sum at least epsilon."""
    axes = dim if axis is None else axis
    return x * ops.Rsqrt(ops.maximum(ops.sum_(ops.Square(x), axes, keepdims=True), epsilon))


def norm(
    tensor: Tensor, ord: Any = "euclidean", axis: Any = None, keepdims: bool | None = None
) -> Tensor:
    """The Euclidean norm over the axes."""
    if ord not in ("euclidean", 2):
        raise Refusal("ord", "only the Euclidean norm is supported")
    return ops.Sqrt(ops.sum_(ops.Square(tensor), axis, keepdims=bool(keepdims)))


def softmax(logits: Tensor, axis: int | None = -1) -> Tensor:
    """exp(x) / Σ exp(x) over one axis."""
    return nn.softmax(logits, axis=-1 if axis is None else axis)


def log_softmax(logits: Tensor, axis: int | None = -1) -> Tensor:
    """x - log Σ exp(x) over one axis."""
    return nn.log_softmax(logits, axis=-1 if axis is None else axis)


def leaky_relu(features: Tensor, alpha: float = 0.2) -> Tensor:
    """x if x > 0, else alpha · x."""
    return activations.leaky_relu(features, alpha)


def gelu(features: Tensor, approximate: bool = False) -> Tensor:
    """x · Φ(x)."""
    return activations.gelu(features, approximate=approximate)


def silu(features: Tensor, beta: float = 1.0) -> Tensor:
    """x · sigmoid(beta · x)."""
    return features * ops.Sigmoid(features if beta == 1 else features * beta)


def bias_add(value: Tensor, bias: Any, data_format: str | None = None) -> Tensor:
    """Add one number to each channel."""
    if data_format is not None and data_format.startswith("NC"):
        return value + ops.reshape(as_tensor(bias), (-1, *(1,) * (value.rank - 2)))
    return value + as_tensor(bias)


FORMATS: Mapping[str | None, str] = {
    **dict.fromkeys((None, "NHWC", "NWC", "NDHWC"), "channels_last"),
    **dict.fromkeys(("NCHW", "NCW", "NCDHW"), "channels_first"),
}  # fmt: skip


def inner(values: Any, rank: int, data_format: str | None) -> Any:
    """Return the values of an option for the spatial axes.

    TensorFlow also accepts values for the batch and channel axes, which must be 1.
    """
    if isinstance(values, Sequence) and len(values) == rank + 2:
        spatial = values[1:-1] if FORMATS[data_format] == "channels_last" else values[2:]
        if sorted(values) != sorted((1, 1, *spatial)):
            raise Refusal("strides", "strides along the batch and channel axes are not supported")
        return tuple(spatial)
    return tuple(values) * rank if isinstance(values, Sequence) and len(values) == 1 else values


def convolution(lower: Lower) -> Lower:
    """Return the lowering of a convolution with padding `SAME` or `VALID`."""

    def call(
        input: Tensor, filters: Any = None, strides: Any = 1, padding: Any = "VALID",
        data_format: str | None = None, dilations: Any = None, filter: Any = None,
    ) -> Tensor:  # fmt: skip
        kernel = filter if filters is None else filters
        rank = input.rank - 2
        return lower(  # type: ignore[no-any-return]
            input, kernel, strides=inner(strides, rank, data_format), padding=padding,
            data_format=FORMATS[data_format],
            dilation_rate=1 if dilations is None else inner(dilations, rank, data_format),
        )  # fmt: skip

    return call


def pooled(kind: str) -> Lower:
    """Return the lowering of a pooling, which reduces each window to one number."""

    def lower(
        input: Tensor, ksize: Any, strides: Any, padding: str, data_format: str | None = None
    ) -> Tensor:
        rank = input.rank - 2
        return nn.OPERATIONS[kind](  # type: ignore[no-any-return]
            input, pool_size=inner(ksize, rank, data_format),
            strides=inner(strides, rank, data_format), padding=padding,
            data_format=FORMATS[data_format],
        )  # fmt: skip

    return lower


def blocks(kind: str) -> Lower:
    """Return the lowering of `depth_to_space` or `space_to_depth`."""

    def lower(input: Tensor, block_size: int, data_format: str = "NHWC") -> Tensor:
        return nn.OPERATIONS[kind](input, block_size=block_size, data_format=FORMATS[data_format])  # type: ignore[no-any-return]

    return lower


def moments(x: Tensor, axes: Any, shift: Any = None, keepdims: bool = False) -> tuple[Tensor, ...]:
    """Return the mean and the variance over the axes."""
    del shift
    return nn.moments(x, axes=axes, keepdims=keepdims)


def resize(
    images: Tensor,
    size: Any,
    method: str = "bilinear",
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
) -> Tensor:
    """Resize images [batch, height, width, channels]."""
    if preserve_aspect_ratio:
        raise Refusal("preserve_aspect_ratio", "this option is not supported")
    height, width = known_value(size, "size").tolist()
    resized = image.resize(
        images,
        size=(int(height), int(width)),
        interpolation=method,
        antialias=antialias,
        data_format="channels_last",
    )
    return ops.cast(resized, images.dtype) if method == "nearest" else resized


def legacy_resize(method: str) -> Lower:
    """Return the lowering of a resize function of TensorFlow 1.

    Keras 2 calls it with half pixel centers, the only supported mode.
    """

    def lower(
        images: Tensor, size: Any, align_corners: bool = False, half_pixel_centers: bool = False
    ) -> Tensor:
        if align_corners or not half_pixel_centers:
            raise Refusal("half_pixel_centers", "only half_pixel_centers=True is supported")
        return resize(images, size, method)

    return lower


def relu_keras(
    x: Tensor, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Tensor:
    """The function `relu` of Keras 2 with its options."""
    return nn.relu_of(x, negative_slope=alpha, max_value=max_value, threshold=threshold)


def add_n(inputs: Any) -> Tensor:
    """Add all tensors."""
    first, *rest = listed(inputs)
    total = as_tensor(first)
    for tensor in rest:
        total = ops.add(total, tensor)
    return total


def top_k(input: Tensor, k: int = 1, sorted: bool = True) -> tuple[Tensor, ...]:
    """Return the k largest elements along the last axis, and their indices."""
    return reduction.top_k(input, k=k, sorted=sorted)


def atan2(y: Any, x: Any) -> Tensor:
    """The angle of the point (x, y) in radians."""
    return e.arctan2(*operands_of(y, x))


def squared_difference(x: Any, y: Any) -> Tensor:
    """(x - y)²."""
    return ops.SquaredDifference(*ops.matched(*operands_of(x, y), least="int32"))


UNARY: Mapping[str, Lower] = {
    "abs": e.OPERATIONS["Abs"], "negative": e.negative, "sign": e.sign, "square": e.square,
    "sqrt": e.OPERATIONS["Sqrt"], "rsqrt": e.OPERATIONS["Rsqrt"], "exp": e.OPERATIONS["Exp"],
    "expm1": e.OPERATIONS["Expm1"], "log": e.OPERATIONS["Log"], "log1p": e.OPERATIONS["Log1p"],
    "sin": e.OPERATIONS["Sin"], "cos": e.OPERATIONS["Cos"], "tan": e.OPERATIONS["Tan"],
    "asin": e.OPERATIONS["Arcsin"], "acos": e.OPERATIONS["Arccos"], "atan": e.OPERATIONS["Arctan"],
    "sinh": e.OPERATIONS["Sinh"], "cosh": e.OPERATIONS["Cosh"], "tanh": e.OPERATIONS["Tanh"],
    "asinh": e.OPERATIONS["Arcsinh"], "acosh": e.OPERATIONS["Arccosh"],
    "atanh": e.OPERATIONS["Arctanh"], "floor": e.OPERATIONS["Floor"], "ceil": e.OPERATIONS["Ceil"],
    "round": e.round_, "rint": e.round_, "reciprocal": e.OPERATIONS["Reciprocal"],
    "erf": e.OPERATIONS["Erf"], "erfc": e.erfc, "erfinv": e.erfinv,
    "sigmoid": nn.OPERATIONS["Sigmoid"], "is_nan": e.OPERATIONS["Isnan"],
    "is_inf": e.OPERATIONS["Isinf"], "is_finite": e.OPERATIONS["Isfinite"],
    "logical_not": e.logical_not, "log_sigmoid": nn.OPERATIONS["LogSigmoid"],
}  # fmt: skip
FEATURES: Mapping[str, Lower] = {
    "relu": nn.relu, "relu6": nn.OPERATIONS["Relu6"], "elu": nn.elu, "selu": nn.OPERATIONS["Selu"],
    "softplus": nn.OPERATIONS["Softplus"], "softsign": nn.OPERATIONS["Softsign"],
}  # fmt: skip
BINARY: Mapping[str, Lower] = {
    "add": ops.add, "subtract": ops.sub, "multiply": ops.mul, "divide": e.divide,
    "truediv": e.divide, "floordiv": e.floor_divide, "floormod": e.mod, "mod": e.mod,
    "pow": e.power, "maximum": ops.maximum, "minimum": ops.minimum, "equal": e.equal,
    "not_equal": e.not_equal, "less": e.less, "less_equal": e.less_equal, "greater": e.greater,
    "greater_equal": e.greater_equal, "divide_no_nan": e.divide_no_nan,
    "logical_and": e.logical_and, "logical_or": e.logical_or, "logical_xor": e.logical_xor,
}  # fmt: skip
OPERATORS: Mapping[str, Lower] = {
    "add": ops.add, "radd": lambda x, y: ops.add(y, x), "sub": ops.sub, "rsub": lambda x,
    y: ops.sub(y, x), "mul": ops.mul, "rmul": ops.mul, "truediv": e.divide, "rtruediv": lambda x,
    y: e.divide(y, x), "pow": e.power, "rpow": lambda x, y: e.power(y, x),
    "floordiv": e.floor_divide, "mod": e.mod, "eq": e.equal, "ne": e.not_equal, "lt": e.less,
    "le": e.less_equal, "gt": e.greater, "ge": e.greater_equal, "and": e.logical_and,
    "or": e.logical_or, "logical_and": e.logical_and, "logical_or": e.logical_or,
    "xor": e.logical_xor,
}  # fmt: skip
REDUCTIONS: Mapping[str, Lower] = {
    "reduce_sum": reduction.sum_, "reduce_mean": reduction.mean, "reduce_max": reduction.max_,
    "reduce_min": reduction.min_, "reduce_prod": reduction.prod, "reduce_any": reduction.any_,
    "reduce_all": reduction.all_, "reduce_std": reduction.deviation,
    "reduce_variance": reduction.variance, "reduce_logsumexp": reduction.logsumexp,
}  # fmt: skip

FUNCTIONS: Mapping[str, Lower] = {
    **{f"{space}{name}": one(function)
       for name, function in UNARY.items() for space in ("math.", "nn.", "")},
    **{f"nn.{name}": one(function, "features") for name, function in FEATURES.items()},
    **{f"{space}{name}": two(function)
       for name, function in BINARY.items() for space in ("math.", "")},
    **{f"__operators__.{name}": two(function) for name, function in OPERATORS.items()},
    **{f"{space}{name}": reduced(function)
       for name, function in REDUCTIONS.items() for space in ("math.", "")},
    **{f"{space}atan2": atan2 for space in ("math.", "")},
    **{f"{space}{name}": place(op) for space in ("math.", "") for name, op in (
        ("argmax", ops.ArgMax), ("argmin", ops.ArgMin))},
    **{f"{space}{name}": cumulated(op) for space in ("math.", "") for name, op in (
        ("cumsum", ops.Cumsum), ("cumprod", ops.Cumprod))},
    "__operators__.getitem": get_item, "__operators__.neg": one(e.negative),
    "__operators__.abs": one(e.OPERATIONS["Abs"]),
    "__operators__.invert": one(e.logical_not), "__operators__.matmul": products.matmul,
    "math.squared_difference": squared_difference, "math.add_n": add_n, "math.top_k": top_k,
    "nn.top_k": top_k, "math.l2_normalize": l2_normalize, "nn.l2_normalize": l2_normalize,
    "linalg.l2_normalize": l2_normalize, "norm": norm, "linalg.norm": norm, "linalg.matmul": matmul,
    "matmul": matmul, "tensordot": tensordot, "linalg.tensordot": tensordot, "shape": shape,
    "compat.v1.shape": shape, "reshape": reshape, "broadcast_to": broadcast_to,
    "transpose": transpose, "compat.v1.transpose": transpose, "expand_dims": expand_dims,
    "squeeze": squeeze, "concat": concat, "stack": stack, "split": split, "unstack": unstack,
    "slice": slice_, "tile": tile, "repeat": repeat, "gather": gather, "compat.v1.gather": gather,
    "pad": pad, "reverse": reverse, "roll": roll, "cast": cast, "clip_by_value": clip_by_value,
    "where": where_, "one_hot": one_hot, "zeros_like": like(0), "ones_like": like(1),
    "identity": one(e.unchanged, "input"), "stop_gradient": one(e.unchanged, "input"),
    "nn.softmax": softmax, "math.softmax": softmax, "nn.log_softmax": log_softmax,
    "math.log_softmax": log_softmax, "nn.leaky_relu": leaky_relu, "nn.gelu": gelu, "nn.silu": silu,
    "nn.swish": silu, "nn.bias_add": bias_add, "nn.moments": moments,
    "nn.conv1d": convolution(nn.convolution), "nn.conv2d": convolution(nn.convolution),
    "nn.conv3d": convolution(nn.convolution), "nn.convolution": convolution(nn.convolution),
    "nn.depthwise_conv2d": convolution(nn.depthwise),
    **{f"nn.{name}{rank}": pooled(kind) for rank in ("", "1d", "2d", "3d") for name, kind in (
        ("max_pool", "MaxPool"), ("avg_pool", "AveragePool"))},
    "nn.depth_to_space": blocks("DepthToSpace"), "nn.space_to_depth": blocks("SpaceToDepth"),
    "image.resize": resize, "compat.v1.image.resize_bilinear": legacy_resize("bilinear"),
    "compat.v1.image.resize_nearest_neighbor": legacy_resize("nearest"),
    "image.rgb_to_grayscale": one(image.rgb_to_grayscale, "images"),
    "keras.activations.relu": relu_keras, "keras.backend.relu": relu_keras,
}  # fmt: skip
"""Name of a TensorFlow function in a config → its lowering."""

LAMBDAS = frozenset(("TFOpLambda", "SlicingOpLambda"))
"""Classes of nodes that call a TensorFlow function."""
