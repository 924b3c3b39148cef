"""Random inputs that a model can take: shapes that fit, indices below the size of their table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import numpy as np

from kerasport.errors import KerasportError, VerifyError
from kerasport.infer import Inference, input_shape
from kerasport.model import Array, LayerSpec, Model, Operation, Shape, Tensor

SIZES = ((7, 6, 5), *((size,) * 3 for size in (8, 16, 32, 64, 96, 128, 160, 192, 224, 256, 299, 331, 384, 480, 512)))
"""For the sizes that a model leaves open, axis by axis behind the batch, until one fits.

Those of the first differ, so that no axis can be taken for another.
"""

PASSES_VALUES = frozenset(
    ("Reshape", "Flatten", "Permute", "RepeatVector", "Cropping1D", "Cropping2D", "Cropping3D", "Concatenate",
     "Masking", "Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
)  # fmt: skip
"""Layers behind which the values are those of their inputs."""

PIXELS = 1 / 16  # a Rescaling below that expects values up to 255


def random_inputs(model: Model, batch: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """One batch of the model's inputs, flat; a batch size that the model fixes goes before `batch`.

    Raises:
        VerifyError: an input is of a dtype that is no number's, or no sizes were found that the model takes.
    """
    specs = [input_layer(tensor) for tensor in model.input_tensors]
    shapes = concrete_shapes(model, batch)
    return tuple(_values(*of, rng) for of in zip(specs, shapes, readers(model), strict=True))


def input_layer(tensor: Tensor) -> LayerSpec:
    """The InputLayer that makes a tensor."""
    spec = tensor.call.target
    assert isinstance(spec, LayerSpec), "inputs of a model are made by layers"
    return spec


# ------------------------------------------------------------------------------------------------- shapes


def concrete_shapes(model: Model, batch: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of the inputs in which nothing is left open, and with which the model works."""
    declared = [input_shape(input_layer(tensor)) for tensor in model.input_tensors]
    candidates = [tuple(_filled(shape, batch, sizes) for shape in declared) for sizes in SIZES]
    if candidates[0] == candidates[1]:  # nothing is open
        return candidates[0]
    for shapes in candidates:
        if _fits(model, shapes):
            return shapes
    names = ", ".join(repr(tensor.call.target.name) for tensor in model.input_tensors)
    raise VerifyError(f"found no sizes with which the model works for its inputs {names}; give some with --inputs")


def _filled(shape: Shape, batch: int, sizes: Sequence[int]) -> tuple[int, ...]:
    first, *rest = shape
    opened = (sizes[min(axis, len(sizes) - 1)] if size is None else size for axis, size in enumerate(rest))
    return (first or batch, *opened)


def _fits(model: Model, shapes: tuple[tuple[int, ...], ...]) -> bool:
    try:
        outputs = Inference().model(model, shapes)
    except KerasportError:
        return False
    # where layers are unknown nothing speaks against a size, but pooling may want a larger one
    return outputs is not None or all(len(shape) < 4 or min(shape[1:3]) >= 32 for shape in shapes)


# ------------------------------------------------------------------------------------------------- values


def readers(model: Model) -> tuple[tuple[LayerSpec, ...], ...]:
    """For each input the layers that are given its values as they are, in models and wrappers inside, too."""
    places = {tensor: {place} for place, tensor in enumerate(model.input_tensors)}
    found: dict[int, dict[LayerSpec, None]] = {place: {} for place in range(len(model.input_tensors))}
    for call in model.calls:
        for position, tensor in enumerate(call.tensors()):
            for place in places.get(tensor, ()):
                found[place] |= dict.fromkeys(_read_by(call.target, position))
                if isinstance(call.target, LayerSpec) and call.target.class_name in PASSES_VALUES:
                    places.setdefault(Tensor(call), set()).add(place)
    return tuple(tuple(layers) for layers in found.values())


def _read_by(target: LayerSpec | Operation | Model, position: int) -> Iterator[LayerSpec]:
    if isinstance(target, Model):
        inner = readers(target)
        yield from inner[position] if position < len(inner) else ()
    elif isinstance(target, LayerSpec):
        yield target
        for child in target.children.values():
            yield from _read_by(child, position)


def _values(spec: LayerSpec, shape: tuple[int, ...], read_by: Sequence[LayerSpec], rng: np.random.Generator) -> Array:
    dtype = input_dtype(spec)
    if embeddings := _of_class(read_by, "Embedding"):
        return _indices(embeddings, shape, rng).astype(dtype)
    if dtype.kind == "b":
        values = rng.random(shape) < 0.5
        return values & _real_steps(shape[:2], rng, values.ndim) if values.ndim > 1 else values
    if dtype.kind in "iu":
        return rng.integers(0, 256 if dtype == np.uint8 else 10, shape).astype(dtype)
    if any(np.max(np.abs(layer.config["scale"])) < PIXELS for layer in _of_class(read_by, "Rescaling")):
        return rng.integers(0, 256, shape).astype(dtype)
    # rounded to what every runtime holds
    values = rng.standard_normal(shape).clip(-2, 2).astype("float32").astype(dtype)
    for layer in _of_class(read_by, "Masking"):
        if values.ndim > 2:
            padding = ~_real_steps(shape[:2], rng)
            values[padding] = layer.config.get("mask_value", 0)
    return values


def input_dtype(spec: LayerSpec) -> np.dtype[Any]:
    """The dtype of an InputLayer."""
    name = str(spec.config.get("dtype") or "float32")
    if name == "string":
        raise VerifyError(f"input {spec.name!r} is of strings, with which verification does not run models yet")
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype("O")
    if dtype.kind not in "biuf" and not name.startswith("bfloat"):
        raise VerifyError(f"input {spec.name!r}: no random values of the dtype {name}; give some with --inputs")
    return dtype


def _of_class(layers: Iterable[LayerSpec], class_name: str) -> list[LayerSpec]:
    return [layer for layer in layers if layer.class_name == class_name]


def _indices(embeddings: Sequence[LayerSpec], shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Indices into the smallest of the tables, its ends among them; with padding where 0 is masked."""
    end = min(layer.config["input_dim"] for layer in embeddings)
    masked = any(layer.config.get("mask_zero") for layer in embeddings)
    first = min(1, end - 1) if masked else 0
    indices = rng.integers(first, end, shape)
    real = _real_steps(shape, rng) if masked and len(shape) > 1 else np.ones(shape, bool)
    shown = np.flatnonzero(real)
    if shown.size:
        indices.flat[shown[[-1, 0]]] = first, end - 1
    return np.where(real, indices, 0)


def _real_steps(shape: tuple[int, ...], rng: np.random.Generator, rank: int = 0) -> Array:
    """Which time steps of each sample are not padding, with axes of size 1 up to `rank`.

    A mask can go wrong at the front, in the middle, at the end, or where no step is left. So the
    first sample has padding at all three places, the second is padding only, and the next ones have
    it at the end or at the front.
    """
    steps = shape[-1]
    rows = [_kept_steps(index, steps, rng) for index in range(int(np.prod(shape[:-1])))]
    return np.stack(rows).reshape(*shape, *(1,) * (rank - len(shape)))


def _kept_steps(index: int, steps: int, rng: np.random.Generator) -> Array:
    """The steps of one sample that are not padding, by the number of the sample."""
    kept, some = np.ones(steps, bool), int(rng.integers(1, steps)) if steps > 1 else 0
    match index % 4:
        case 0 if steps > 4:
            kept[[0, steps // 2, -1]] = False
        case 1:
            kept[:] = False
        case 2:
            kept[some:] = some == 0
        case _:
            kept[:some] = False
    return kept
