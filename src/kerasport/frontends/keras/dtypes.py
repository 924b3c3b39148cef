"""Element types of tensors in Keras, and the operations on integers that cannot be converted.

Keras keeps integers where a layer or operation does not need fractions. This has two consequences.
Results of narrow integers can wrap around, but targets compute in 32 bits. And some layers compute
in float32 and cast the result back to the integer dtype of their input. Both depend on the element
type of a tensor in Keras, which this module infers call by call. Promotion follows
`keras.backend.result_type`. The results of each class were compared with Keras on JAX and on
TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasport.errors import Problem
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.layers import LAYERS, is_input, traits_of
from kerasport.frontends.keras.layers.traits import Narrow
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)

WRAPPING = frozenset(("int8", "int16", "uint8", "uint16", "uint32", "uint64"))
"""Integer dtypes whose results can differ from those in int32."""
INTEGERS = WRAPPING | {"int32", "int64", "bool"}

# -------------------------------------------------------------------------------------- the results

FIRST = (
    "Reshape", "Transpose", "Squeeze", "ExpandDims", "Swapaxes", "Moveaxis", "Ravel", "BroadcastTo",
    "Flip", "Fliplr", "Flipud", "Roll", "Rot90", "Tile", "Repeat", "Split", "ArraySplit", "Vsplit",
    "Hsplit", "Dsplit", "Unstack", "Slice", "SliceUpdate", "GetItem", "Take", "TakeAlongAxis",
    "Diagonal", "Diag", "Diagflat", "Tril", "Triu", "Pad", "Copy", "StopGradient", "Real", "Imag",
    "Conj", "Conjugate", "NanToNum", "Round", "Trunc", "Sign", "Relu", "Max", "Min", "Amax", "Amin",
    "Nanmax", "Nanmin", "Sort", "TopK", "MaxPool", "CropImages", "PadImages", "DepthToSpace",
    "SpaceToDepth", "ExtractPatches", "ExtractSequences", "RGBToGrayscale", "UnravelIndex",
    "Rearrange", "Resize", "ZerosLike", "OnesLike", "FullLike", "EmptyLike", "ConvertToTensor",
    "Array", "View",
)  # fmt: skip
"""The result has the element type of the first operand, and its values."""
JOINT = (
    "Concatenate", "Stack", "Hstack", "Vstack", "Dstack", "Append", "Meshgrid", "Maximum",
    "Minimum", "Fmax", "Fmin", "FloorDivide", "Mod", "Fmod", "Where", "Select", "Clip",
)  # fmt: skip
"""The result has the promoted element type of all operands, which can represent it."""
GROWING = (
    "Add", "Subtract", "Multiply", "Power", "Square", "Negative", "Cumsum", "Cumprod", "Nancumsum",
    "Nancumprod", "Prod", "Nanprod", "Diff", "Ptp", "Abs", "Absolute", "Matmul", "Dot", "Inner",
    "Outer", "Vdot", "Tensordot", "Einsum", "Kron", "Cross", "Vander", "Correlate", "BitwiseNot",
    "BitwiseInvert", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "HardTanh", "Conv", "Unfold", "Fold",
    "AdaptiveMaxPool", "Average",
)  # fmt: skip
"""The result has the promoted element type of all operands, which can overflow."""
SEGMENTS = ("SegmentSum", "SegmentMax", "SegmentMin", "SegmentProd")
FRACTIONS = (
    "Angle", "Arccos", "Arccosh", "Arcsin", "Arcsinh", "Arctan", "Arctan2", "Arctanh", "Cbrt",
    "Ceil", "Celu", "Corrcoef", "Cos", "Cosh", "Deg2rad", "Divide", "DivideNoNan", "Elu", "Erf",
    "Erfc", "Erfinv", "Exp", "Exp2", "Expm1", "Fabs", "Floor", "Gelu", "Geomspace", "HardShrink",
    "HardSigmoid", "HardSilu", "Heaviside", "Hypot", "I0", "Ldexp", "LeakyRelu", "Linspace", "Log",
    "Log10", "Log1p", "Log2", "Logaddexp", "Logaddexp2", "Logspace", "Logsumexp", "Mean", "Median",
    "MultiHot", "Nanmean", "Nanstd", "Nanvar", "OneHot", "Percentile", "Quantile", "Rad2deg",
    "Reciprocal", "ScaleAndTranslate", "Selu", "Sigmoid", "Silu", "Sin", "Sinc", "Sinh",
    "SoftShrink", "Softplus", "Softsign", "SparseCategoricalCrossentropy", "SparsePlus",
    "SparseSigmoid", "Sparsemax", "Sqrt", "Rsqrt", "Std", "Tan", "Tanh", "TanhShrink", "Threshold",
    "Trapezoid", "TrueDivide", "Var",
)  # fmt: skip
"""The result is fractional; Keras computes it in float32."""
TRUTHS = (
    "All", "AllClose", "Any", "Equal", "Greater", "GreaterEqual", "InTopK", "IsIn", "Isclose",
    "Isfinite", "Isinf", "Isnan", "Isneginf", "Isposinf", "Isreal", "Less", "LessEqual",
    "LogicalAnd", "LogicalNot", "LogicalOr", "LogicalXor", "NotEqual", "Signbit",
)  # fmt: skip
CUTTING = ("LayerNorm", "RMSNorm")
"""The result is fractional; Keras casts it back to the element type of the input."""
COUNTS = (
    "Argmax", "Argmin", "Argsort", "CountNonzero", "Digitize", "Nanargmax", "Nanargmin",
    "SearchSorted", "Ndim", "Size",
)  # fmt: skip
"""Indices and counts."""
SUMS = ("Sum", "Nansum", "Trace")
"""The result is a 32-bit integer, unsigned if the input is."""

RESULTS: Mapping[str, str] = {
    **dict.fromkeys((*FIRST, *CUTTING, *SEGMENTS), "first"),
    **dict.fromkeys((*JOINT, *GROWING), "joint"),
    **dict.fromkeys(FRACTIONS, "float32"),
    **dict.fromkeys(TRUTHS, "bool"),
    **dict.fromkeys(COUNTS, "int32"),
    **dict.fromkeys(SUMS, "sum"),
    **dict.fromkeys(("Cast", "SaturateCast"), "option"),
}  # fmt: skip
"""Class of a function that can return integers → the rule for its element type."""

ANY_BITS = frozenset(
    (*FIRST, *JOINT, *FRACTIONS, *TRUTHS, *COUNTS, *SUMS, "Average", "Cast", "SaturateCast")
)
"""Functions that compute the same result for narrow integers as for 32-bit ones."""
COMPARING = frozenset((*JOINT, *TRUTHS))
"""Classes that convert constants to the element type of a tensor, which must represent them."""


UNSIGNED = frozenset(("uint8", "uint16", "uint32", "uint64"))


def promoted(dtypes: Sequence[str]) -> str:
    """The promoted element type of several, as in JAX. int64 represents itself and int32."""
    if "float32" in dtypes or not dtypes:
        return "float32"
    wide = np.result_type(*dtypes).name
    return wide if wide in INTEGERS else "int64"


@dataclass
class Dtypes:
    """The element types of tensors in Keras, for integers and bool."""

    _made: dict[Call, str | tuple[str, ...]] = field(default_factory=dict)
    _models: dict[KerasModel, tuple[str, ...]] = field(default_factory=dict)

    def of(self, tensor: KerasTensor) -> str:
        """The element type of a tensor; float32 for all fractions and unknown types."""
        dtypes = self._made.get(tensor.call, "float32")
        if isinstance(dtypes, tuple):
            # the lowering refuses an output that does not exist
            return dtypes[tensor.index] if tensor.index < len(dtypes) else "float32"
        return "int32" if tensor.index and tensor.call.target.class_name == "TopK" else dtypes

    def model(self, model: KerasModel) -> tuple[str, ...]:
        """The element types of a model's outputs. Afterwards those of all its tensors are known."""
        if model not in self._models:
            for call in model.calls:
                self.call(call)
            self._models[model] = tuple(map(self.of, model.output_tensors))
        return self._models[model]

    def call(self, call: Call) -> None:
        """Infer the element types of a call's outputs. Those of its inputs must be known."""
        target = acting(call.target)
        dtypes = (
            self.model(target) if isinstance(target, KerasModel) else self._result(call, target)
        )
        if dtypes != "float32":
            self._made[call] = dtypes

    def tensors(self, call: Call) -> list[str]:
        """The element types of the tensor arguments of a call."""
        return list(map(self.of, call.tensors()))

    def joint(self, call: Call) -> str:
        """The promoted element type of the operands of a call."""
        # the condition of Where and Select is not an operand
        args = call.args[1:] if call.target.class_name in ("Where", "Select") else call.args
        config = {} if isinstance(call.target, KerasModel) else call.target.config
        leaves = flatten(
            (args, dict(call.kwargs), [config.get(bound) for bound in ("x_min", "x_max")])
        )
        dtypes = [dtype for leaf in leaves if (dtype := self._dtype(leaf))]
        only_truths = set(dtypes) == {"bool"} and any(type(leaf) is int for leaf in leaves)
        return "int32" if only_truths else promoted(dtypes)

    def _dtype(self, leaf: Any) -> str:
        """The element type of an operand; empty for a Python integer, which adopts another."""
        if isinstance(leaf, KerasTensor):
            return self.of(leaf)
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biuf":
            return "float32" if leaf.dtype.kind == "f" else leaf.dtype.name
        return "float32" if isinstance(leaf, float) else ""

    def _result(self, call: Call, target: LayerSpec | Operation) -> str:
        config, first = target.config, next(iter(self.tensors(call)), "float32")
        named = config.get("dtype") if isinstance(target, Operation) else None
        match _result_rule(target):
            case "input":
                dtype = str(config.get("dtype"))
            case "first":
                dtype = str(named or first)
            case "joint":
                dtype = str(named or self.joint(call))
            case "sum":
                dtype = "uint32" if first in UNSIGNED else "int32"
                dtype = first if first in ("float32", "int64") else dtype
            case "option":
                dtype = str(named)
            case "indices":
                dtype = "int64" if config.get("output_mode", "int") == "int" else "float32"
            case rule:
                dtype = rule
        return dtype if dtype in INTEGERS else "float32"


def acting(target: LayerSpec | Operation | KerasModel) -> LayerSpec | Operation | KerasModel:
    """The layer that computes: unwraps wrappers that apply their layer unchanged."""
    while isinstance(target, LayerSpec) and traits_of(target).wraps:
        target = target.children["layer"]
    return target


def _result_rule(target: LayerSpec | Operation) -> str:
    """The rule for the element type of the results."""
    if isinstance(target, Operation):
        return RESULTS.get(target.class_name, "float32")
    rule = traits_of(target).integers.result
    if rule != "activation":
        return rule
    return "first" if _keeps_integers(target) else "float32"


def _keeps_integers(target: LayerSpec) -> bool:
    """Whether a layer that is an activation returns integers for integers."""
    if "activation" in LAYERS[target.class_name].defaults:
        return target.config.get("activation") in KEEPING
    return _plain_relu(target)


KEEPING = ("relu", "linear", "hard_tanh")
"""Activations that return integers for integers."""
WRAPPED = (
    "hard_tanh",
    "softmax",
    "log_softmax",
    "log_sigmoid",
    "squareplus",
    "leaky_relu",
    "relu6",
    "glu",
    "sparsemax",
)
"""Activations that compute in the integer dtype of their input."""


def _plain_relu(target: LayerSpec) -> bool:
    """Whether all options of a ReLU have their defaults."""
    options = ("max_value", "negative_slope", "threshold")
    return not any(target.config.get(option) for option in options)


# ------------------------------------------------------------------------------------- the problems


CAST = "cast the input to float32 first"
_TENSORFLOW = "its output is an integer on TensorFlow but not on JAX"
_PARTS = "Keras casts intermediate results to the integer dtype of its input, which truncates them"
DIFFERENT: Mapping[str, str] = {
    **dict.fromkeys(("BatchNorm", "Moments"), _TENSORFLOW),
    **dict.fromkeys(("DotProductAttention", "SSIM", "FakeQuantWithMinMaxVars"), _PARTS),
    "SpectralNormalization": (
        "Keras casts its output to the integer dtype of its input, which truncates it"
    ),
}
"""Operation or layer → why none of its integer inputs are supported."""


def integer_problems(model: KerasModel, dtypes: Dtypes, dialect: Dialect) -> Iterator[Problem]:
    """Yield the integer computations of Keras that no target can convert."""
    for call in model.calls:
        target = acting(call.target)
        if isinstance(target, KerasModel) or is_input(target):
            continue
        joint, first = dtypes.joint(call), next(iter(dtypes.tensors(call)), "float32")
        if dialect.integers_truncate_differently and first in INTEGERS and _cuts(target):
            reason = f"Keras 2 and Keras 3 compute different results for its {first} input"
            yield Problem(call.target.name, call.target.class_name, reason, remedy=CAST)
            continue
        if target.class_name == "Conv" and joint in INTEGERS:
            reason = "only some Keras backends support convolutions of integers"
            yield Problem(call.target.name, call.target.class_name, reason, remedy=CAST)
            continue
        if first in INTEGERS and call.target.class_name in DIFFERENT:
            yield Problem(
                call.target.name,
                call.target.class_name,
                DIFFERENT[call.target.class_name],
                remedy=CAST,
            )
            continue
        narrow = next((dtype for dtype in dtypes.tensors(call) if dtype in WRAPPING), "")
        if not narrow and joint == "bool" and traits_of(target).counts_booleans:
            narrow = "bool"
        if narrow and (reason := _reason(call, target, joint, narrow)):
            yield Problem(call.target.name, call.target.class_name, reason, remedy=REMEDY)


def wrapping_problems(model: KerasModel, dtypes: Dtypes, limit: str) -> Iterator[Problem]:
    """Yield the calls whose results can wrap around in the narrow integers of Keras only."""
    for call in model.calls:
        target = acting(call.target)
        if isinstance(target, KerasModel) or target.class_name == "InputLayer":
            continue
        if _narrow(target) is not Narrow.GROWS:
            continue
        narrow = next((dtype for dtype in dtypes.tensors(call) if dtype in WRAPPING), "")
        if narrow and dtypes.joint(call) in WRAPPING and not _never_wraps(target, narrow):
            reason = (
                f"Keras computes in {narrow}, the dtype of its input, where results wrap around"
            )
            yield Problem(
                call.target.name, call.target.class_name, f"{reason}; {limit}", remedy=REMEDY
            )


def _never_wraps(target: LayerSpec | Operation, dtype: str) -> bool:
    """Whether results of a class in GROWING stay in the range of their element type."""
    if target.class_name in ("Abs", "Absolute", "Ptp"):
        return dtype in UNSIGNED
    return target.class_name == "Average" and isinstance(target, Operation)


def fraction_problems(model: KerasModel, dtypes: Dtypes) -> Iterator[Problem]:
    """Yield the layers whose float32 result Keras casts back to an integer dtype.

    Targets that compute in float32 only cannot convert them.
    """
    for call in model.calls:
        target = acting(call.target)
        if isinstance(target, KerasModel):
            continue
        first = next(iter(dtypes.tensors(call)), "float32")
        if first in INTEGERS and _cuts(target):
            reason = (
                f"Keras casts its output to {first}, the dtype of its input, but converted layers "
                "compute in float32"
            )
            yield Problem(call.target.name, call.target.class_name, reason, remedy=CAST)


def _cuts(target: LayerSpec | Operation) -> bool:
    """Whether it computes fractions from integers and casts them to integers."""
    narrow = _narrow(target)
    if narrow is Narrow.RESAMPLES:
        return bool(_interpolation(target) != "nearest")
    return narrow is Narrow.TRUNCATES or target.class_name == "RGBToGrayscale"


def _interpolation(target: LayerSpec | Operation) -> Any:
    """How a resizing layer or function interpolates."""
    cls = LAYERS.get(target.class_name) if isinstance(target, LayerSpec) else None
    default = "bilinear" if cls is None else cls.defaults["interpolation"]
    return target.config.get("interpolation", default)


REMEDY = "give the model float32 or int32 inputs"


def _reason(call: Call, target: LayerSpec | Operation, joint: str, narrow: str) -> str:
    """Why a call on narrow integers cannot be converted; empty if it can."""
    rule = _narrow(target)
    if rule is Narrow.TRUNCATES:
        return f"Keras casts its output to {narrow}, the dtype of its input, which truncates it"
    if _casts_constants(target) and not all(_fits(leaf, joint) for leaf in _numbers(call, target)):
        return (
            f"a constant is outside the range of {joint}, where the Keras backends compute "
            "different results"
        )
    if rule is Narrow.RESAMPLES and _interpolation(target) not in ("nearest", "bilinear"):
        return (
            f"its interpolation can overshoot the range of {narrow}, where Keras clips and "
            "converted models do not"
        )
    exact = rule in (Narrow.EXACT, Narrow.JOINS, Narrow.RESAMPLES)
    if exact or (rule is Narrow.GROWS and narrow != "bool" and target.class_name not in IN_PARTS):
        return ""
    wraps = f"Keras computes in {narrow}, the dtype of its input, where results wrap around"
    return f"{wraps}; converted models compute it in int32"


IN_PARTS = frozenset(("Average", "HardTanh", "Conv", "Fold"))
"""Classes in GROWING that converted models compute in steps of other element types than Keras."""


def _narrow(target: LayerSpec | Operation) -> Narrow:
    """How the result of a layer or function differs for narrow integers."""
    if isinstance(target, LayerSpec):
        rule = traits_of(target).integers.narrow
        if rule is Narrow.ACTIVATION:
            return Narrow.EXACT if _is_exact(target) else Narrow.WRAPS
        return rule
    name = target.class_name
    if name == "Resize":
        return Narrow.RESAMPLES
    if name in CUTTING:
        return Narrow.TRUNCATES
    if name in ANY_BITS:
        return Narrow.EXACT
    return Narrow.GROWS if name in GROWING else Narrow.WRAPS


def _is_exact(target: LayerSpec) -> bool:
    """Whether an activation layer computes the same from narrow integers as from int32."""
    if "activation" not in LAYERS[target.class_name].defaults:
        return _plain_relu(target)
    activation = target.config.get("activation")
    return isinstance(activation, str) and activation not in WRAPPED


def _casts_constants(target: LayerSpec | Operation) -> bool:
    """Whether constants are cast to the element type of the tensor operand."""
    if isinstance(target, LayerSpec):
        return traits_of(target).integers.narrow is Narrow.JOINS
    return target.class_name in COMPARING


def _numbers(call: Call, target: LayerSpec | Operation) -> list[Any]:
    """The constants among the operands of a call."""
    return flatten(
        (call.args, dict(call.kwargs), [target.config.get(bound) for bound in ("x_min", "x_max")])
    )


def _fits(leaf: Any, dtype: str) -> bool:
    """Whether an integer type can represent a number."""
    if type(leaf) is not int or dtype not in WRAPPING:
        return True
    return bool(np.iinfo(dtype).min <= leaf <= np.iinfo(dtype).max)
