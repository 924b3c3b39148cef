"""Read inputs and expected outputs from an `.npz` of the user."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.errors import VerifyError
from kerasport.frontends.keras.infer import Inference, agree, input_shape
from kerasport.frontends.keras.model import KerasModel
from kerasport.verification.arrays import Arrays
from kerasport.verification.inputs import input_dtype, input_layer
from kerasport.verification.runtime import TensorInfo
from kerasport.weights import Array, Shape


def read_inputs(path: Path, model: KerasModel, infos: Sequence[TensorInfo]) -> Arrays:
    """One batch of the model's inputs, flat, in the dtypes of the model's InputLayers.

    Raises:
        VerifyError: names, shapes or dtypes in the file do not fit the model.
    """
    arrays = arranged(path, labels(model.inputs, infos), "input")
    specs = [input_layer(tensor) for tensor in model.input_tensors]
    for spec, array in zip(specs, arrays, strict=True):
        _check_shape(f"{path}: input {spec.name!r}", array, input_shape(spec))
    sizes = {array.shape[0] for array in arrays}
    if len(sizes) > 1:
        raise VerifyError(f"{path}: the inputs have different batch sizes, {sorted(sizes)}")
    wanted = [input_dtype(spec) for spec in specs]
    return tuple(
        as_dtype(f"{path}: input {spec.name!r}", array, dtype)
        for spec, array, dtype in zip(specs, arrays, wanted, strict=True)
    )


def read_expected(path: Path, model: KerasModel, infos: Sequence[TensorInfo], batch: int) -> Arrays:
    """Expected outputs for a batch of that size, flat.

    Raises:
        VerifyError: names, shapes or dtypes in the file do not fit the model.
    """
    arrays = arranged(path, labels(model.outputs, infos), "output")
    shapes = Inference().model(model) or [None] * len(arrays)
    for tensor, array, shape in zip(model.output_tensors, arrays, shapes, strict=True):
        what = f"{path}: output {tensor.call.target.name!r}"
        if array.dtype.kind != "U":  # strings
            _check_numbers(what, array)
        if shape is not None:
            _check_shape(what, array, (shape[0] or batch, *shape[1:]))
    return arrays


# -------------------------------------------------------------------------------------------- names


def labels(structure: Any, infos: Sequence[TensorInfo]) -> tuple[frozenset[str], ...]:
    """Names that identify each leaf of a model's inputs or outputs.

    These are dict keys, layer names and names in TF.js, without those that several leaves share.
    """
    names = [
        {key, tensor.call.target.name, info.name} - {""}
        for (key, tensor), info in zip(_leaves(structure), infos, strict=True)
    ]
    leaves = Counter(chain.from_iterable(names))
    return tuple(frozenset(filter(lambda name: leaves[name] == 1, mine)) for mine in names)


def _leaves(structure: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors of a nested structure, each with its dict key."""
    if isinstance(structure, Mapping):
        for inner in sorted(structure):
            yield from _leaves(structure[inner], str(inner))
    elif isinstance(structure, tuple | list):
        for item in structure:
            yield from _leaves(item, key)
    else:
        yield key, structure


def arranged(path: Path, wanted: Sequence[frozenset[str]], role: str) -> Arrays:
    """The arrays of a file in the order of the model.

    They are matched by name, else as input_0…, output_0… or arr_0….

    Raises:
        VerifyError: the file lacks arrays, or has too many.
    """
    stored = read_npz(path)

    def of_name(names: frozenset[str]) -> Array | None:
        return next((stored[name] for name in stored if name in names), None)

    by_name = list(map(of_name, wanted))
    if all(array is not None for array in by_name):
        return tuple(array for array in by_name if array is not None)
    for prefix in (f"{role}_", "arr_"):
        numbered = sorted(_numbers(stored, prefix))
        if numbered == list(range(len(wanted))):
            return tuple(stored[f"{prefix}{number}"] for number in numbered)
    names = ", ".join("/".join(sorted(names)) or "?" for names in wanted)
    raise VerifyError(
        f"{path}: contains {', '.join(stored) or 'no arrays'}, but the {role}s of the model are "
        f"{names}; "
        f"use these names, or {role}_0 … {role}_{len(wanted) - 1} in this order"
    )


def _numbers(names: Iterable[str], prefix: str) -> Iterator[int]:
    for name in names:
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal():
            yield int(name.removeprefix(prefix))


def read_npz(path: Path) -> Mapping[str, Array]:
    """The arrays of a file. Pickled objects, which could run code, are not read.

    Raises:
        VerifyError: it is not an `.npz` of numbers or strings.
    """
    try:
        stored = np.load(path)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise VerifyError(
                f"{path}: is a single array, not an .npz; save it with numpy.savez(path, array)"
            )
        with stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise VerifyError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise VerifyError(
            f"{path}: is not an .npz of numbers or strings ({error}); save it with numpy.savez"
        ) from None


# ------------------------------------------------------------------------------------------- checks


def _check_shape(what: str, array: Array, shape: Shape) -> None:
    if not agree(array.shape, shape):
        raise VerifyError(
            f"{what} has the shape {_spell(array.shape)}; the model has {_spell(shape)}"
        )


def _check_numbers(what: str, array: Array) -> None:
    if array.dtype.kind not in "biuf":
        raise VerifyError(f"{what} has the dtype {array.dtype}; it needs numbers")


def as_dtype(what: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """The array in that dtype; strings become arrays of objects.

    Raises:
        VerifyError: the array has another kind of values, or integers that the dtype cannot
            represent.
    """
    if dtype.kind == "O":
        if array.dtype.kind != "U":
            raise VerifyError(f"{what} has the dtype {array.dtype}; the model needs strings")
        return array.astype(dtype)
    _check_numbers(what, array)
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(converted, array):
        raise VerifyError(
            f"{what} has {array.dtype} values that do not fit into {dtype}, the dtype of the input"
        )
    return converted


def _spell(shape: Shape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
