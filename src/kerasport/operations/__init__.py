"""`keras.ops` functions that stand as nodes in a model, as tensor operations: one table, in families.

A lowering has the signature of the Keras class: what its `call` takes comes first, the options of its config are
keywords. So an option that nobody reads cannot pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from kerasport.errors import ShapeError
from kerasport.ir.tensor import Tensor
from kerasport.layers.base import Refusal
from kerasport.model import Operation
from kerasport.operations import creation, elementwise, image, movement, nn, products, reduction, tensorflow
from kerasport.operations.refused import REFUSED

Operate: TypeAlias = Callable[..., Any]  # (arguments of the call, options of the config) → a tensor or a tuple of them

NO_OPERATION = "there is no lowering of this operation yet"

OPERATIONS: Mapping[str, Operate] = {
    **elementwise.OPERATIONS,
    **reduction.OPERATIONS,
    **movement.OPERATIONS,
    **products.OPERATIONS,
    **creation.OPERATIONS,
    **nn.OPERATIONS,
    **image.OPERATIONS,
    **tensorflow.OPERATIONS,
}
"""Lowering of an operation by the name of its class."""


def refusal(class_name: str) -> str:
    """Why an operation of that class is refused; empty where there is a lowering."""
    return "" if class_name in OPERATIONS else REFUSED.get(class_name, NO_OPERATION)


def apply(operation: Operation, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """What an operation makes of its arguments, tensors among them.

    Raises:
        Refusal: there is no lowering of it, or of one of its options.
        ShapeError: its arguments do not fit together.
    """
    reason = refusal(operation.class_name)
    if reason:
        raise Refusal("", reason)
    lower = OPERATIONS[operation.class_name]
    try:
        inspect.signature(lower).bind(*args, **operation.config, **kwargs)
    except TypeError as error:
        raise Refusal("", f"its arguments are not those that its lowering takes: {error}") from None
    try:
        made = lower(*args, **operation.config, **kwargs)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ShapeError(f"its arguments do not fit: {error}") from error
    return made if isinstance(made, tuple) else (made,)
