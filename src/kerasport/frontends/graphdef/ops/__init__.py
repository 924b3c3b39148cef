"""The table of TensorFlow ops, in families. A row computes the results of a node."""

from __future__ import annotations

from kerasport.frontends.graphdef.ops import (
    arrays,
    control,
    detection,
    image,
    lookup,
    math,
    nn,
    reduction,
    shapes,
)
from kerasport.frontends.graphdef.ops.call import Call, Lower, Lowered, Rows, Scope, Value
from kerasport.frontends.graphdef.ops.refused import reason_of

__all__ = ["ROWS", "Call", "Lower", "Lowered", "Rows", "Scope", "Value", "reason_of"]

ROWS: Rows = {
    **math.ROWS,
    **reduction.ROWS,
    **arrays.ROWS,
    **shapes.ROWS,
    **nn.ROWS,
    **image.ROWS,
    **detection.ROWS,
    **lookup.ROWS,
    **control.ROWS,
}
"""Name of a TensorFlow op → its row."""
