"""The layout of images: TensorFlow stores channels last or first, the IR stores them last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kerasport.errors import Refusal
from kerasport.frontends.graphdef.ops.call import Call
from kerasport.ir import ops
from kerasport.ir.ops.window import Padding
from kerasport.ir.tensor import Tensor

LAYOUTS = {"NHWC": False, "NDHWC": False, "NWC": False, "NCHW": True, "NCDHW": True, "NCW": True}
"""Name of a layout → whether channels are the second axis."""


@dataclass(frozen=True)
class Layout:
    """The order of the axes of images in a node.

    Attributes:
        rank: number of axes, with batch and channels.
        first: whether channels are the second axis.
    """

    rank: int
    first: bool

    def last(self, x: Tensor) -> Tensor:
        """An image with its channels last."""
        return ops.move_axis(x, 1, -1) if self.first else x

    def back(self, x: Tensor) -> Tensor:
        """An image with its channels where the node has them."""
        return ops.move_axis(x, -1, 1) if self.first else x

    def spatial(self, values: Sequence[int], option: str) -> tuple[int, ...]:
        """The values for the spatial axes, of values for all axes.

        Raises:
            Refusal: a value for another axis is not 1.
        """
        if not values:
            values = [1] * self.rank
        where = range(2, self.rank) if self.first else range(1, self.rank - 1)
        if len(values) != self.rank or any(
            value != 1 for axis, value in enumerate(values) if axis not in where
        ):
            raise Refusal(option, "it must be 1 for batch and channels")
        return tuple(values[axis] for axis in where)


def layout_of(call: Call, rank: int = 4) -> Layout:
    """The layout of a node.

    Raises:
        Refusal: it has another layout.
    """
    name = call.text("data_format", "NHWC" if rank == 4 else "NDHWC")
    if name not in LAYOUTS:
        raise Refusal("data_format", "this layout is not supported")
    return Layout(rank, LAYOUTS[name])


def padding_of(call: Call, layout: Layout) -> Padding:
    """The padding of the spatial axes."""
    kind = call.text("padding").lower()
    explicit = call.integers("explicit_paddings")
    if kind == "same":
        return "same"
    if kind == "valid":
        return "valid"
    if kind != "explicit" or len(explicit) != 2 * layout.rank:
        raise Refusal("padding", "this padding is not supported")
    pairs = list(zip(explicit[::2], explicit[1::2], strict=True))
    where = range(2, layout.rank) if layout.first else range(1, layout.rank - 1)
    if any(any(pair) for axis, pair in enumerate(pairs) if axis not in where):
        raise Refusal("explicit_paddings", "only spatial axes can be padded")
    return tuple(pairs[axis] for axis in where)
