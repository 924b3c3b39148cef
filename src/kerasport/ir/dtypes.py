"""Element types of the IR, their numpy types, and the promotion of operands of several types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from kerasport.errors import ShapeError

DType: TypeAlias = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "string",
]  # fmt: skip

SIGNED: tuple[DType, ...] = ("int8", "int16", "int32", "int64")
UNSIGNED: tuple[DType, ...] = ("uint8", "uint16", "uint32", "uint64")
INTEGERS: tuple[DType, ...] = (*SIGNED, *UNSIGNED)
FLOATS: tuple[DType, ...] = ("float16", "bfloat16", "float32", "float64")
NUMBERS: tuple[DType, ...] = (*INTEGERS, *FLOATS)
ANY: tuple[DType, ...] = ("bool", *NUMBERS, "complex64", "string")

FAMILIES: Mapping[tuple[DType, ...], str] = {
    INTEGERS: "integers", FLOATS: "floats", NUMBERS: "numbers",
    ("bool", *NUMBERS): "numbers or bool",
}  # fmt: skip
"""Element types that an operation supports → their name in messages."""


class _NumpyTypes(dict[str, Any]):
    """A table that imports ml_dtypes only if bfloat16 is looked up, because few models use it."""

    def __missing__(self, name: str) -> Any:
        if name != "bfloat16":
            raise KeyError(name)
        import ml_dtypes  # noqa: PLC0415  (the import takes time)

        self[name] = ml_dtypes.bfloat16
        return self[name]


NUMPY: Mapping[str, Any] = _NumpyTypes({
    "bool": np.bool_, "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "float16": np.float16, "float32": np.float32,
    "float64": np.float64, "complex64": np.complex64, "string": np.object_,
})  # fmt: skip
"""Element type → the numpy type of its values."""


def dtype_of(dtype: np.dtype[Any]) -> DType:
    """The element type of arrays of a numpy type.

    Raises:
        ShapeError: the IR has no such element type.
    """
    if dtype.kind in "OUS":
        return "string"
    if dtype.name not in get_args(DType):
        raise ShapeError(f"the dtype {dtype.name} is not supported")
    name: DType = dtype.name
    return name


def default_dtype(dtype: np.dtype[Any]) -> DType:
    """The element type in which Keras layers compute with values of a numpy type.

    It is float32 for every float, int32 for every integer, and otherwise the same type.
    """
    if dtype.kind in "OUS":
        return "string"
    if dtype == np.bool_:
        return "bool"
    return "int32" if dtype.kind in "iu" else "float32"


def promoted(dtypes: Iterable[DType]) -> DType:
    """The element type to which operands of these types are promoted, as in Keras and JAX.

    Integers do not widen floats. Types of 64 bits remain, as on TensorFlow.

    Raises:
        ShapeError: one of several types is string, which cannot be promoted.
    """
    wanted = dict.fromkeys(dtypes)
    if len(wanted) == 1:
        return next(iter(wanted))
    if "string" in wanted:
        raise ShapeError("it computes with numbers, got values of dtype string")
    if "complex64" in wanted:
        return "complex64"
    floats = [dtype for dtype in wanted if dtype in FLOATS]
    if floats:
        return _joint_float(floats)
    wide = np.result_type(*(NUMPY[dtype] for dtype in wanted)).name
    return wide if wide in INTEGERS else "float32"  # uint64 and signed integers


def _joint_float(floats: list[DType]) -> DType:
    if len(floats) == 1:
        return floats[0]
    return "float64" if "float64" in floats else "float32"
