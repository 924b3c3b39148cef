"""Functions that write to positions that are known only when the model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.scatter import COMBINE
from kerasport.ir.tensor import Constant, as_tensor


def scatter(indices: Any, values: Any, *, shape: Sequence[int]) -> Tensor:
    """Add values to zeros of the given shape, at the positions [..., k] of the indices."""
    updates = as_tensor(values)
    if updates.dtype == "bool":
        raise Refusal("", "the Keras backends add values of dtype bool differently")
    return ops.ScatterNd(
        ops.Fill(tuple(shape), 0, updates.dtype), _positions(indices), updates, "add"
    )


def scatter_update(
    inputs: Tensor, indices: Any, updates: Any, *, reduction: str | None = None
) -> Tensor:
    """Write updates [n, ...] to the positions [n, k] of `inputs`, or combine them.

    Raises:
        Refusal: the indices have more axes or repeat a position, for which the Keras backends
            differ.
    """
    positions = _positions(indices)
    if positions.rank != 2:
        raise Refusal("", f"it supports indices with 2 axes only, not {positions.rank}")
    if reduction is not None and reduction not in COMBINE:
        raise Refusal("reduction", "this reduction is not supported")
    if reduction is None and isinstance(positions, Constant):
        rows = positions.read()
        if len(np.unique(rows, axis=0)) < len(rows):
            raise Refusal(
                "",
                "its indices name a position twice, and Keras does not define which update stays",
            )
    new = ops.cast(as_tensor(updates), inputs.dtype)
    return ops.ScatterNd(inputs, positions, new, reduction or "replace")  # type: ignore[arg-type]


def _positions(indices: Any) -> Tensor:
    positions = as_tensor(indices)
    if positions.dtype not in INTEGERS:
        raise Refusal("", f"its indices must be integers, not {positions.dtype}")
    return positions


OPERATIONS: Mapping[str, Callable[..., Any]] = {"Scatter": scatter, "ScatterUpdate": scatter_update}
