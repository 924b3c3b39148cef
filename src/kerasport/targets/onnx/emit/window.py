"""Convolutions, pooling and resizing in ONNX, all with channels first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as onnx

from kerasport.errors import Refusal
from kerasport.ir import ops
from kerasport.ir.ops.window import amounts
from kerasport.ir.tensor import Tensor
from kerasport.targets.onnx.channels_first import First, missing
from kerasport.targets.onnx.emit.emitter import Emit, Emitter


def emit_first(e: Emitter, node: First) -> onnx.Value:
    """The operator for the operation that `node` has with channels last."""
    return WINDOWS[type(node.last)](e, node)


def emit_conv(e: Emitter, node: First) -> onnx.Value:
    """`Conv`; a depthwise convolution has one group for each input channel."""
    last, window = node.last, ops.known(node.kernel.shape if node.kernel else ())[2:]
    assert isinstance(last, ops.Conv | ops.DepthwiseConv)
    axes = _axes(node.x, window, last.strides, last.dilations)
    x, attributes = _window(e, node.x, axes, last.padding)
    groups = last.groups if isinstance(last, ops.Conv) else ops.known(last.kernel.shape)[2]
    if groups > 1:
        attributes["group"] = groups
    return e.add("Conv", [x, *node.operands[1:]], **attributes)


def emit_conv_transpose(e: Emitter, node: First) -> onnx.Value:
    """`ConvTranspose`, then `Pad` where the result has elements that no window reaches."""
    last, window = node.last, ops.known(node.kernel.shape if node.kernel else ())[2:]
    assert isinstance(last, ops.ConvTranspose)
    axes = zip(window, last.strides, last.crop, last.extra, strict=True)
    after = [max(0, size - stride - crop - extra) for size, stride, crop, extra in axes]
    y = e.add(
        "ConvTranspose",
        node.operands,
        kernel_shape=list(window),
        strides=list(last.strides),
        pads=[*last.crop, *after],
    )
    if not any(missing(last)):
        return y
    pads = e.ints([*(0 for _ in range(node.rank + 2)), *missing(last)])
    return e.add("Pad", [y, pads], mode="constant")


def emit_pool(op: str, **attributes: int) -> Emit:
    """`MaxPool` or `AveragePool`."""

    def emit(e: Emitter, node: First) -> onnx.Value:
        last = node.last
        assert isinstance(last, ops.MaxPool | ops.AvgPool)
        axes = _axes(node.x, last.window, last.strides, [1] * len(last.window))
        x, window = _window(e, node.x, axes, last.padding)
        return e.add(op, [x], **window, **attributes)

    return emit


def emit_resize(e: Emitter, node: First) -> onnx.Value:
    """`Resize`, which takes the sizes of all axes; batch and channels keep theirs."""
    last = node.last
    assert isinstance(last, ops.Resize)
    front, unknown = e.add("Shape", [node.x], start=0, end=2), iter(node.sizes)
    size = e.sizes([size if isinstance(size, int) else next(unknown) for size in last.size])
    sizes = e.add("Concat", [front, size], axis=0)
    mode = {"mode": "linear"}
    if last.method == "nearest":
        mode = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    positions = "half_pixel" if last.half_pixel_centers else "asymmetric"
    if last.align_corners:
        positions = "align_corners"
    return e.add(
        "Resize", [node.x, None, None, sizes], coordinate_transformation_mode=positions, **mode
    )


WINDOWS: Mapping[type[Tensor], Emit] = {
    ops.Conv: emit_conv,
    ops.DepthwiseConv: emit_conv,
    ops.ConvTranspose: emit_conv_transpose,
    ops.MaxPool: emit_pool("MaxPool"),
    ops.AvgPool: emit_pool("AveragePool", count_include_pad=0),
    ops.Resize: emit_resize,
}
"""Operation with channels last → function that writes it with channels first."""


# ------------------------------------------------------------------------------------------ padding


@dataclass(frozen=True)
class Axis:
    """Windows along one spatial axis; `size` is None if it is known only at run time."""

    size: int | None
    window: int
    stride: int
    dilation: int

    @property
    def span(self) -> int:
        """Distance from the first element of a window to the one after its last."""
        return (self.window - 1) * self.dilation + 1

    @property
    def skips(self) -> bool:
        """Whether elements between two windows belong to neither."""
        return self.stride > self.span

    @property
    def varies(self) -> bool:
        """Whether the amount that padding="same" adds depends on a size known only at run time."""
        return self.size is None and self.stride > 1 and self.window > 1

    def amounts(self, padding: Any, index: int) -> tuple[int, int]:
        """Zeros that padding adds before and after this axis, the `index`-th spatial one."""
        if padding == "same" and self.size is None and self.skips and self.span == 2:
            # the second element of the last window may be missing; a zero that no window reaches
            # does no harm
            return 0, 1
        size = 1 if self.size is None else self.size
        return amounts(size, self.window, self.stride, self.dilation, padding, index)


def _axes(
    x: Tensor, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[Axis]:
    return list(map(Axis, x.shape[2:], window, strides, dilations))


def _window(
    e: Emitter, x: Tensor, axes: Sequence[Axis], padding: Any
) -> tuple[onnx.Value, dict[str, Any]]:
    """What windows slide over, and the attributes that describe them.

    Amounts of padding are written as numbers if they are known, else ONNX Runtime computes those of
    "same".
    """
    attributes: dict[str, Any] = {
        "kernel_shape": [axis.window for axis in axes],
        "strides": [axis.stride for axis in axes],
    }
    dilated = any(axis.dilation != 1 for axis in axes)
    if dilated:
        attributes["dilations"] = [axis.dilation for axis in axes]
    if padding == "same" and _pads_at_run_time(axes):
        if dilated:
            raise Refusal(
                "",
                'ONNX Runtime pads dilated windows incorrectly for padding="same" if the '
                "input size is not fixed; give the input a fixed shape",
            )
        reached = _reached(e, x, axes) if any(axis.skips for axis in axes) else e.ref(x)
        return reached, {**attributes, "auto_pad": "SAME_UPPER"}
    pairs = [axis.amounts(padding, index) for index, axis in enumerate(axes)]
    pads = [before for before, _ in pairs] + [after for _, after in pairs]
    if any(pads):
        attributes["pads"] = pads
    return e.ref(x), attributes


def _pads_at_run_time(axes: Sequence[Axis]) -> bool:
    """Whether no fixed amounts do what padding="same" does."""
    varying = [axis for axis in axes if axis.varies]
    if any(axis.skips for axis in axes):
        return any(axis.span > 2 for axis in varying)
    return bool(varying)


def _reached(e: Emitter, x: Tensor, axes: Sequence[Axis]) -> onnx.Value:
    """`x` without the elements after the last window of each axis.

    The last window begins at ⌊(size - 1) / stride⌋ · stride.

    If there are such elements, "same" adds nothing, but ONNX Runtime would remove half of them from
    the beginning.
    """
    spatial = range(2, x.rank)
    strides = e.ints([axis.stride for axis in axes])
    before = e.add("Sub", [e.add("Shape", [x], start=2), e.ints([1])])
    last = e.add("Mul", [e.add("Div", [before, strides]), strides])
    # or where x ends, if that is earlier
    ends = e.add("Add", [last, e.ints([axis.span for axis in axes])])
    return e.add("Slice", [x, e.ints([0 for _ in spatial]), ends, e.ints(spatial)])
