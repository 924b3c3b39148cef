"""Notes on the weights of a model: numbers that are not finite, and sizes that browsers do not load."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kerasport.errors import SHORT, legible, quoted
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.targets.plan import Plan
from kerasport.targets.tfjs.shards import nbytes_of
from kerasport.weights import Array, Weight

SHOWN = 5  # layers that one note names
BUFFER = 2_000_000_000
"""Bytes that browsers allocate as one ArrayBuffer: Chrome fails at 2^31 - 2^21."""


def not_finite(model: KerasModel, target: str = "") -> Iterator[str]:
    """A note on weights that hold NaN or infinity, for a model that becomes `target`.

    Every weight of floats is read once, in pieces; numpy scans some 4 GB per second.

    Raises:
        KerasportError: a weight cannot be read.
    """
    layers = {id(spec): (path, spec) for path, spec in model.walk() if isinstance(spec, LayerSpec)}
    found = [told for path, spec in layers.values() if (told := _told(path, spec))]
    if found:
        more = f" and {len(found) - SHOWN} more layer(s)" if len(found) > SHOWN else ""
        yield (
            f"some weights are NaN or infinite: {', '.join(found[:SHOWN])}{more}; they are kept. "
            f"Keras returns NaN or infinity where they are used{'' if target == 'onnx-model' else IN_TFJS}. "
            "If training diverged, use an earlier checkpoint"
        )


IN_TFJS = ", but on wasm and webgl the relu of TF.js turns NaN into 0"


def _told(path: str, spec: LayerSpec) -> str:
    """What a layer holds; empty where all is finite."""
    counts = [_count(weight) for weight in spec.weights if _is_float(weight)]
    nan, infinite = (sum(count[kind] for count in counts) for kind in (0, 1))
    size = sum(weight.size for weight in spec.weights)
    kinds = [f"{count:,} {kind}" for count, kind in ((nan, "NaN"), (infinite, "infinite")) if count]
    return (
        f"layer {legible(quoted(path), SHORT)}: {' and '.join(kinds)} of {size:,} numbers"
        if kinds
        else ""
    )


def _is_float(weight: Weight) -> bool:
    # numpy does not count bfloat16 and float8 among the floats
    return weight.dtype.kind == "f" or "float" in weight.dtype.name


def _count(weight: Weight) -> tuple[int, int]:
    """How many numbers of a weight are NaN, and how many infinite."""
    nan = infinite = 0
    for piece in weight.pieces():
        numbers = _as_float32(piece)
        if not np.isfinite(numbers).all():
            here = int(np.isnan(numbers).sum())
            nan += here
            infinite += int(numbers.size - np.isfinite(numbers).sum()) - here
    return nan, infinite


def _as_float32(piece: Array) -> Array:
    """What is written of float64: numbers beyond float32 become infinite, as in Keras."""
    if piece.dtype.itemsize <= np.dtype(np.float32).itemsize:
        return piece
    with np.errstate(over="ignore"):
        narrow: Array = piece.astype(np.float32)
        return narrow


def too_large(plan: Plan, shard_size: int) -> Iterator[str]:
    """Notes on what no browser can hold in one ArrayBuffer: a single weight, a shard, or the data of ONNX."""
    sizes = {
        name: nbytes_of(weight, plan.encodings.get(name)) for name, weight in plan.weights.items()
    }
    total = sum(sizes.values())
    limit = f"{BUFFER // 10**9} GB, which browsers cannot allocate at once"
    if plan.target == "onnx-model":
        if total > BUFFER:
            yield f"the weights need more than {limit}; the model runs in ONNX Runtime outside browsers"
        return
    for name, nbytes in sizes.items():
        if nbytes > BUFFER:
            yield f"weight {quoted(name)} needs more than {limit}; only TF.js in Node can load it"
    if min(total, shard_size) > BUFFER:
        yield f"a shard needs more than {limit}; choose a smaller --shard-size, such as the default of 4MiB"
