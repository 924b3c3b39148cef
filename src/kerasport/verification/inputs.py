"""Random inputs for a model: valid shapes, indices within vocabularies, known and new strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import ml_dtypes  # noqa: F401  (makes numpy know bfloat16)
import numpy as np

from kerasport.errors import KerasportError, VerifyError
from kerasport.frontends.keras.infer import Inference, input_shape
from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.model import KerasModel, KerasTensor, LayerSpec, Operation
from kerasport.weights import Array, Shape

SIZES = (
    (7, 6, 5),
    *((n, n, n) for n in (8, 16, 32, 64, 96, 128, 160, 192, 224, 256, 299, 331, 384, 480, 512)),
)
"""Sizes to try, in this order, for axes of unknown size (without the batch axis).

The sizes of the first entry differ, so that a test notices swapped axes.
"""

PIXELS = 1 / 16  # a Rescaling with a smaller scale expects values up to 255

WORDS = ("", "[UNK]", "unknown", "Ünbekannt 未知", "a b")
"""Strings that a vocabulary is unlikely to contain."""
STRING = "string"
UNKNOWN = 0.25  # share of strings that are not drawn from the vocabulary


def random_inputs(model: KerasModel, batch: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """One batch of random inputs, flat. A fixed batch size of the model overrides `batch`.

    String inputs are arrays of objects, which are `str`.

    Raises:
        VerifyError: there are no random values for the dtype of an input, or no sizes were found
            for its shape.
    """
    specs = [input_layer(tensor) for tensor in model.input_tensors]
    shapes = concrete_shapes(model, batch)
    return tuple(_values(*of, rng) for of in zip(specs, shapes, readers(model), strict=True))


def input_layer(tensor: KerasTensor) -> LayerSpec:
    """The InputLayer of an input tensor."""
    spec = tensor.call.target
    assert isinstance(spec, LayerSpec), "every input is an InputLayer"
    return spec


# ------------------------------------------------------------------------------------------- shapes


def concrete_shapes(model: KerasModel, batch: int) -> tuple[tuple[int, ...], ...]:
    """Fully known shapes for the inputs, with which the model works."""
    declared = [input_shape(input_layer(tensor)) for tensor in model.input_tensors]

    def filled(sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        return tuple(_filled(shape, batch, sizes) for shape in declared)

    candidates = list(map(filled, SIZES))
    if candidates[0] == candidates[1]:  # every size is known
        return candidates[0]
    for shapes in candidates:
        if _fits(model, shapes):
            return shapes
    names = ", ".join(repr(tensor.call.target.name) for tensor in model.input_tensors)
    raise VerifyError(
        f"found no sizes for the unknown axes of inputs {names} with which the model works; give "
        "inputs with --inputs"
    )


def _filled(shape: Shape, batch: int, sizes: Sequence[int]) -> tuple[int, ...]:
    first, *rest = shape
    opened = (
        sizes[min(axis, len(sizes) - 1)] if size is None else size for axis, size in enumerate(rest)
    )
    return (first or batch, *opened)


def _fits(model: KerasModel, shapes: tuple[tuple[int, ...], ...]) -> bool:
    try:
        outputs = Inference().model(model, shapes)
    except KerasportError:
        return False
    # with unknown layers every size seems to work, but pooling may need a larger one
    return outputs is not None or all(len(shape) < 4 or min(shape[1:3]) >= 32 for shape in shapes)


# ------------------------------------------------------------------------------------------- values


def readers(model: KerasModel) -> tuple[tuple[LayerSpec, ...], ...]:
    """For each input, the layers that read its unchanged values, also in models and wrappers."""
    places = {tensor: {place} for place, tensor in enumerate(model.input_tensors)}
    found: dict[int, dict[LayerSpec, None]] = {
        place: {} for place in range(len(model.input_tensors))
    }
    for call in model.calls:
        for position, tensor in enumerate(call.tensors()):
            for place in places.get(tensor, ()):
                found[place] |= dict.fromkeys(_read_by(call.target, position))
                if traits_of(call.target).keeps_values:
                    places.setdefault(KerasTensor(call), set()).add(place)
    return tuple(tuple(layers) for layers in found.values())


def _read_by(target: LayerSpec | Operation | KerasModel, position: int) -> Iterator[LayerSpec]:
    if isinstance(target, KerasModel):
        inner = readers(target)
        yield from inner[position] if position < len(inner) else ()
    elif isinstance(target, LayerSpec):
        yield target
        for child in target.children.values():
            yield from _read_by(child, position)


def _values(
    spec: LayerSpec, shape: tuple[int, ...], read_by: Sequence[LayerSpec], rng: np.random.Generator
) -> Array:
    dtype = input_dtype(spec)
    if dtype.kind == "O":
        return _strings(_of_class(read_by, "StringLookup"), shape, rng)
    if (
        dtype.kind in "iu"
        and (lookups := _of_class(read_by, "IntegerLookup"))
        and not _inverted(lookups)
    ):
        return _integers(lookups, shape, rng).astype(dtype)
    if embeddings := _of_class(read_by, "Embedding"):
        return _indices(embeddings, shape, rng).astype(dtype)
    if dtype.kind == "b":
        values = rng.random(shape) < 0.5
        return values & _real_steps(shape[:2], rng, values.ndim) if values.ndim > 1 else values
    if dtype.kind in "iu":
        return rng.integers(0, 256 if dtype == np.uint8 else 10, shape).astype(dtype)
    if any(
        np.max(np.abs(layer.config["scale"])) < PIXELS for layer in _of_class(read_by, "Rescaling")
    ):
        return rng.integers(0, 256, shape).astype(dtype)
    # as float32, which every runtime can represent
    values = rng.standard_normal(shape).clip(-2, 2).astype("float32").astype(dtype)
    for layer in _of_class(read_by, "Masking"):
        if values.ndim > 2:
            padding = ~_real_steps(shape[:2], rng)
            values[padding] = layer.config.get("mask_value", 0)
    return values


def input_dtype(spec: LayerSpec) -> np.dtype[Any]:
    """The dtype of an InputLayer; strings are objects.

    Raises:
        VerifyError: it is neither a number, nor a bool, nor a string.
    """
    name = str(spec.config.get("dtype") or "float32")
    if name == STRING:
        return np.dtype(object)
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype("V")
    if dtype.kind not in "biuf" and not name.startswith("bfloat"):
        raise VerifyError(
            f"input {spec.name!r}: no random values for the dtype {name}; give inputs with --inputs"
        )
    return dtype


def has_strings(model: KerasModel) -> bool:
    """Whether strings go into the model, or come out of it."""
    inputs = (input_layer(tensor) for tensor in model.input_tensors)
    return any(spec.config.get("dtype") == STRING for spec in inputs) or any(
        spec.class_name == "StringLookup" for _, spec in model.walk()
    )


def _strings(
    lookups: Sequence[LayerSpec], shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """Strings from the vocabularies of the layers that look them up, and some unknown strings."""
    masks = [str(token) for layer in lookups if (token := layer.config.get("mask_token"))]
    return _tokens(lookups, np.array([*WORDS, *masks], object), shape, rng)


def _integers(
    lookups: Sequence[LayerSpec], shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """Integers from the vocabularies of the layers that look them up, and some others."""
    return _tokens(lookups, np.arange(-1, 10), shape, rng)


def _tokens(
    lookups: Sequence[LayerSpec], others: Array, shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """Tokens of vocabularies, with the first and last, and a share of unknown ones if allowed."""
    tokens = [token for layer in lookups for token in layer.config.get("vocabulary") or ()]
    unknown: Array = rng.choice(others, shape)
    if not tokens:
        return unknown
    known = np.array(tokens, others.dtype)
    drawn: Array = rng.choice(known, shape)
    # without an index for unknown tokens Keras raises an error
    if not any(layer.config.get("num_oov_indices") == 0 for layer in lookups):
        drawn = np.where(rng.random(shape) < UNKNOWN, unknown, drawn)
    ends = known[[0, -1]]
    drawn.flat[: ends.size] = ends[: drawn.size]
    return drawn


def _inverted(lookups: Sequence[LayerSpec]) -> bool:
    """Whether a layer looks up tokens by index, rather than the index of a token."""
    return any(layer.config.get("invert") for layer in lookups)


def _of_class(layers: Iterable[LayerSpec], class_name: str) -> list[LayerSpec]:
    return [layer for layer in layers if layer.class_name == class_name]


def _indices(
    embeddings: Sequence[LayerSpec], shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """Indices into the smallest table, with its first and last row, and padding if 0 is masked."""
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
    """Time steps of each sample that are not padding, with axes of size 1 appended up to `rank`.

    Errors with masks depend on where the padding is: at the front, in the middle, at the end, or
    everywhere. So the first sample has padding in the first three places, the second is padding
    only, and the others have it at the end or at the front.
    """
    steps = shape[-1]
    rows = [_kept_steps(index, steps, rng) for index in range(int(np.prod(shape[:-1])))]
    return np.stack(rows).reshape(*shape, *(1,) * (rank - len(shape)))


def _kept_steps(index: int, steps: int, rng: np.random.Generator) -> Array:
    """Time steps of sample `index` that are not padding."""
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
