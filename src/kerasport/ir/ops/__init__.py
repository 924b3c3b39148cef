"""The operations of the IR, with the names of keras.ops, and the operators of tensors."""

from __future__ import annotations

from typing import Any

from kerasport.ir.ops import elementwise as _e
from kerasport.ir.ops.control import Branch, Loop, branch, while_loop
from kerasport.ir.ops.elementwise import (
    Abs,
    Acos,
    Acosh,
    Add,
    Asin,
    Asinh,
    Atan,
    Atan2,
    Atanh,
    Binary,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    Cast,
    Ceil,
    Clip,
    Cos,
    Cosh,
    Div,
    DivNoNan,
    Elu,
    Equal,
    Erf,
    Exp,
    Expm1,
    Floor,
    FloorDiv,
    Greater,
    GreaterEqual,
    IsFinite,
    IsInf,
    IsNan,
    LeakyRelu,
    LeftShift,
    Less,
    LessEqual,
    Log,
    Log1p,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Mod,
    Mul,
    Neg,
    NotEqual,
    Pow,
    Reciprocal,
    Relu,
    Relu6,
    RightShift,
    Round,
    Rsqrt,
    Select,
    Selu,
    Sigmoid,
    Sign,
    Sin,
    Sinh,
    Softplus,
    Sqrt,
    Square,
    SquaredDifference,
    Sub,
    Tan,
    Tanh,
    Unary,
    add,
    arithmetic,
    cast,
    clip,
    div,
    equal,
    floats,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_or,
    matched,
    maximum,
    minimum,
    mul,
    not_equal,
    power,
    sub,
    where,
)  # fmt: skip
from kerasport.ir.ops.indexing import GatherNd, gather_nd
from kerasport.ir.ops.linear import Det, MatMul, einsum, matmul
from kerasport.ir.ops.lookup import Lookup
from kerasport.ir.ops.loop import Scan, scan
from kerasport.ir.ops.movement import (
    WHOLE,
    BroadcastTo,
    Concat,
    Dim,
    Fill,
    Gather,
    OneHot,
    Pad,
    Range,
    Reshape,
    Reverse,
    Slice,
    StridedSlice,
    Tile,
    Transpose,
    arange,
    broadcast_to,
    concat,
    dim,
    dims,
    expand_dims,
    flatten_from,
    gather,
    move_axis,
    pad,
    repeat,
    reshape,
    sizes_of,
    slice_axis,
    split,
    squeeze,
    stack,
    strided,
    strided_axis,
    transpose,
)  # fmt: skip
from kerasport.ir.ops.reduction import (
    All,
    Any_,
    ArgMax,
    ArgMin,
    Cumprod,
    Cumsum,
    LogSoftmax,
    Max,
    Mean,
    Min,
    Prod,
    Reduction,
    Softmax,
    Sum,
    TopK,
    all_,
    any_,
    axes_of,
    max_,
    mean,
    min_,
    prod,
    sum_,
)  # fmt: skip
from kerasport.ir.ops.scatter import ScatterNd
from kerasport.ir.ops.spectral import Dft
from kerasport.ir.ops.text import RegexFullMatch, StringConcat, StringSplit
from kerasport.ir.ops.window import (
    AvgPool,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    MaxPool,
    Padding,
    Resize,
    known,
)
from kerasport.ir.tensor import (
    Constant,
    Input,
    Item,
    Tensor,
    TensorType,
    as_tensor,
    constant,
    items,
)


def _negative(x: Tensor) -> Tensor:
    return Neg(x)


def _attach() -> None:
    """Set the operators of `Tensor`, so that a lowering can be written as a formula."""
    operators: dict[str, Any] = {
        "add": _e.add, "sub": _e.sub, "mul": _e.mul, "truediv": _e.div, "pow": _e.power,
        "matmul": matmul,
    }  # fmt: skip
    for name, function in operators.items():
        setattr(Tensor, f"__{name}__", lambda a, b, f=function: f(a, b))
        setattr(Tensor, f"__r{name}__", lambda a, b, f=function: f(b, a))
    setattr(Tensor, "__neg__", _negative)  # noqa: B010  (declared for type checkers in the class)


_attach()
