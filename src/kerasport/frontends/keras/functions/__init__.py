"""Lowerings of the `keras.ops` functions that are nodes of a model.

Each lowering has the signature of the Keras class: first the parameters of its `call`, then the
options of its config as keywords. So an option without a parameter causes an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.functions import (
    creation,
    elementwise,
    image,
    movement,
    nn,
    products,
    reduction,
    scatter,
    spectral,
    tensorflow,
)
from kerasport.frontends.keras.functions.refused import REFUSED
from kerasport.frontends.keras.model import Operation, flatten
from kerasport.ir.dtypes import DType
from kerasport.ir.tensor import Tensor, constant

Operate: TypeAlias = Callable[
    ..., Any
]  # (arguments of the call, options of the config) → a tensor or a tuple of tensors

NO_OPERATION = "this operation is not supported yet"
NO_FUNCTION = "this TensorFlow function is not supported yet"

OPERATIONS: Mapping[str, Operate] = {
    **elementwise.OPERATIONS,
    **reduction.OPERATIONS,
    **movement.OPERATIONS,
    **products.OPERATIONS,
    **creation.OPERATIONS,
    **nn.OPERATIONS,
    **image.OPERATIONS,
    **scatter.OPERATIONS,
    **spectral.OPERATIONS,
}
"""Class name of an operation → its lowering."""

__all__ = ["OPERATIONS", "REFUSED", "apply", "check_types", "lowering_of"]


def lowering_of(operation: Operation) -> tuple[Operate, Mapping[str, Any]]:
    """Return the lowering of an operation, and the options from its config.

    Raises:
        Refusal: the operation is not supported.
    """
    name, config = operation.class_name, operation.config
    if name in tensorflow.LAMBDAS:
        function = tensorflow.FUNCTIONS.get(str(config.get("function")))
        if function is None:
            raise Refusal("function", NO_FUNCTION)
        return function, {}
    if name not in OPERATIONS:
        raise Refusal("", REFUSED.get(name, NO_OPERATION))
    return OPERATIONS[name], config


def apply(
    operation: Operation, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Tensor, ...]:
    """Apply an operation to its arguments, which include tensors.

    Raises:
        Refusal: the operation or one of its options is not supported.
        ShapeError: its arguments do not fit together.
    """
    lower, options = lowering_of(operation)
    if operation.class_name in tensorflow.LAMBDAS:
        kwargs = {
            name: value for name, value in kwargs.items() if name != "name"
        }  # that of the node
    args, kwargs = (
        _constants(tuple(args)),
        {name: _constants(value) for name, value in kwargs.items()},
    )
    signature = inspect.signature(lower)
    try:
        bound = signature.bind(*args, **options, **kwargs)
    except TypeError as error:
        raise Refusal("", f"these arguments are not supported: {error}") from None
    check_types(signature, bound.arguments)
    try:
        outputs = lower(*args, **options, **kwargs)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ShapeError(f"the arguments do not fit together: {error}") from error
    results = outputs if isinstance(outputs, tuple) else (outputs,)
    if not results:
        raise ShapeError("the operation returns no tensors")
    return results


TYPES: Mapping[str, type | tuple[type, ...]] = {
    "Tensor": Tensor, "Tensor | None": (Tensor, type(None)), "Tensor | float": (Tensor, int, float),
    "bool": bool, "int": int, "str": str,
}  # fmt: skip
"""Annotation of a parameter → its class."""


UNNAMED = inspect.Parameter("unnamed", inspect.Parameter.KEYWORD_ONLY, annotation="")
"""Represents an argument in `**kwargs`, which has any type."""


def check_types(signature: inspect.Signature, arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a call by the annotations of the lowering; none may be a dict.

    The parameters of lambdas have no annotations and accept tensors and numbers.

    Raises:
        ShapeError: an argument has another type.
    """
    for name, value in arguments.items():
        parameter = signature.parameters.get(name, UNNAMED)
        annotation = parameter.annotation
        if annotation is parameter.empty:  # a parameter of a lambda
            annotation = "Tensor | float"
        several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        values = flatten(value) if several else (value,)
        wanted = TYPES.get(annotation, object)
        if not all(isinstance(v, wanted) and not isinstance(v, Mapping) for v in values):
            raise ShapeError(f"the argument {name!r} does not have the type {annotation}")


SMALL: Mapping[str, DType] = {
    dtype: dtype for dtype in ("int8", "int16", "uint8", "uint16", "uint32")
}
"""Integer dtypes of arrays that do not change; other integer arrays become int32."""


def _constants(argument: Any) -> Any:
    """Replace the arrays in an argument by constant tensors."""
    if isinstance(argument, np.ndarray):
        return constant(argument, SMALL.get(argument.dtype.name))
    return tuple(map(_constants, argument)) if isinstance(argument, tuple) else argument
