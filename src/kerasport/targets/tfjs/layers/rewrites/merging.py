"""Layers that merge tensors."""

from __future__ import annotations

from collections.abc import Sequence

from kerasport.frontends.keras.model import KerasTensor
from kerasport.targets.tfjs.layers.rewrites.blocks import difference, permuted, reshaped, total
from kerasport.targets.tfjs.layers.rewrites.context import RewriteContext
from kerasport.weights import axis_of


def subtract(ctx: RewriteContext) -> KerasTensor:
    """a - b = a + (-b), bit for bit."""
    return difference(ctx, *ctx.inputs)


def merge(ctx: RewriteContext) -> KerasTensor | None:
    """Merging a single tensor returns it unchanged."""
    return ctx.x if len(ctx.inputs) == 1 else None


def concatenate(ctx: RewriteContext) -> KerasTensor | None:
    """Concatenate inputs after reshaping them to the sizes that any of them knows.

    TF.js treats an unknown size as different from every known size.
    """
    if len(ctx.inputs) == 1 or ctx.masked:
        return merge(ctx)
    shapes = [ctx.shape_of(x) for x in ctx.inputs]
    axis = axis_of(ctx.layer.axis, len(shapes[0]))
    known = [_known(sizes) for sizes in zip(*shapes, strict=True)]
    targets = [(*known[:axis], shape[axis], *known[axis + 1 :])[1:] for shape in shapes]
    if all(shape[1:] == target for shape, target in zip(shapes, targets, strict=True)):
        return None
    return ctx.again(
        *(reshaped(ctx, x, target) for x, target in zip(ctx.inputs, targets, strict=True))
    )


def _known(sizes: Sequence[int | None]) -> int | None:
    """The first size that is known."""
    return next((size for size in sizes if size is not None), None)


def dot(ctx: RewriteContext) -> KerasTensor | None:
    """Dot of rank 4 or more: move the summed axes last, merge the others, and split them again."""
    layer, shapes = ctx.layer, [ctx.shape_of(x) for x in ctx.inputs]
    ranks = (len(shapes[0]), len(shapes[1]))
    if layer.normalize or max(ranks) < 4:
        return None
    flat = []
    for x, shape, summed in zip(ctx.inputs, shapes, layer.pair(ranks), strict=True):
        rest = [axis for axis in range(1, len(shape)) if axis != summed]
        last = permuted(ctx, x, (0, *rest, summed))
        flat.append(reshaped(ctx, last, (total([shape[axis] for axis in rest]), shape[summed])))
    return reshaped(ctx, ctx.again(*flat, axes=2), layer.infer(*shapes)[1:])
