"""One random model: grown, given random weights, saved, loaded again, and run by Keras."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from random_models.draft import Array, Draft, Unsuitable, flat, kind_of
from random_models.families import FAMILIES
from random_models.functions import FUNCTIONS

ALL = {**FAMILIES, **FUNCTIONS}
NOISE = 1e-6
"""Relative change of inputs and weights that shows how sensitive the outputs are."""


@dataclass(frozen=True)
class Recorded:
    """A saved model, and what Keras computes of each feed."""

    path: Path
    feeds: tuple[tuple[Array, ...], ...]
    outputs: tuple[tuple[Array, ...], ...]
    noise: tuple[
        tuple[Array, ...], ...
    ]  # how far each element of the outputs moves where all else moves by NOISE

    def save(self) -> None:
        """Write the arrays beside the model."""
        arrays: dict[str, Any] = {
            f"{name}_{feed}_{index}": array
            for name, feeds in (
                ("input", self.feeds),
                ("output", self.outputs),
                ("noise", self.noise),
            )
            for feed, each in enumerate(feeds)
            for index, array in enumerate(each)
        }
        np.savez_compressed(npz(self.path), **arrays)

    @classmethod
    def load(cls, path: Path) -> Recorded:
        """Read the arrays beside a model."""
        with np.load(npz(path)) as file:
            keys = sorted(
                (name, int(feed), int(index))
                for name, feed, index in (key.split("_") for key in file)
            )
            made = {
                name: tuple(
                    tuple(
                        file[f"{name}_{feed}_{index}"]
                        for n, f, index in keys
                        if (n, f) == (name, feed)
                    )
                    for feed in sorted({feed for n, feed, _ in keys if n == name})
                )
                for name in ("input", "output", "noise")
            }
        return cls(path, made["input"], made["output"], made["noise"])


def npz(path: Path) -> Path:
    """Where the arrays of a model are."""
    return path.with_suffix(".npz")


def record(
    keras: Any, seed: int, index: int, families: Sequence[str], folder: Path
) -> Recorded | None:
    """Make a model of that seed and index in a folder, or None where Keras rejects what was drawn.

    Args:
        keras: the module whose layers the model has.
        seed: of the run.
        index: of the model in the run.
        families: names in `ALL` to draw from.
        folder: where the file goes.
    """
    rng = np.random.default_rng([seed, index])
    clear(keras)
    with quiet(), undrawn_weights(keras):
        draft = grown(keras, rng, families)
        if draft is None:
            return None
        stem = folder / f"{keras.__name__}-{seed}-{index:05}"
        try:
            return _recorded(draft, rng, stem)
        except Exception as error:  # noqa: BLE001  (Keras cannot save, load or run what it accepted)
            DISCARDED.append(f"{index}: {type(error).__name__}: {str(error)[:200]}")
            for path in folder.glob(f"{stem.name}.*"):
                path.unlink()
            return None


def clear(keras: Any) -> None:
    """Begin the names of layers anew; to free all memory each time takes longer than the rest."""
    if "free_memory" in inspect.signature(keras.backend.clear_session).parameters:
        keras.backend.clear_session(free_memory=False)
    else:
        keras.backend.clear_session()


DISCARDED: list[str] = []
"""Why models were given up that could be built."""
FAILED: dict[str, list[str]] = {}
"""Errors of steps, by the step."""


def grown(keras: Any, rng: np.random.Generator, families: Sequence[str]) -> Draft | None:
    """A draft after some steps of a few families."""
    draft = Draft(keras, rng)
    if draft.chance(0.1):
        draft.batch = 2
    steps = [step for family in draft.some(families)[:3] for step in ALL[family]]
    wanted, done = draft.choice([1, 1, 2, 2, 3, 3, 4, 5, 7]), 0
    for _ in range(4 * wanted):
        step = draft.choice(steps)
        try:
            step(draft)
            done += 1
        except Unsuitable:
            continue
        except Exception as error:  # noqa: BLE001  (not a valid model: another step is tried)
            FAILED.setdefault(step.__name__, []).append(
                f"{type(error).__name__}: {str(error)[:300]}"
            )
            continue
        if done == wanted:
            break
    return draft if done and draft.inputs else None


def _recorded(draft: Draft, rng: np.random.Generator, stem: Path) -> Recorded:
    keras = draft.keras
    model = keras.Model(arranged(draft, draft.inputs, "i"), arranged(draft, outputs_of(draft), "o"))
    roles = {id(x): role for x, role in zip(draft.inputs, draft.roles, strict=True)}
    inputs = [roles[id(x)] for x in model.inputs]
    randomize(model, rng)
    path, model = saved(keras, model, stem, hdf5=draft.chance(0.2))
    batches = (draft.batch,) if draft.batch else (3, 1)
    feeds = tuple(tuple(role.values(rng, batch) for role in inputs) for batch in batches)
    outputs = tuple(run(keras, model, feed) for feed in feeds)
    if not all(array.size for feed in outputs for array in feed):
        raise ValueError("an output is empty")
    moved = tuple(
        tuple(near(rng, array, role.padding) for array, role in zip(feed, inputs, strict=True))
        for feed in feeds
    )
    for variable in model.weights:
        if "float" in str(variable.dtype):
            variable.assign(near(rng, np.asarray(variable), None))
    noise = tuple(
        tuple(map(distance, run(keras, model, feed), exact))
        for feed, exact in zip(moved, outputs, strict=True)
    )
    recorded = Recorded(path, feeds, outputs, noise)
    recorded.save()
    return recorded


def outputs_of(draft: Draft) -> list[Any]:
    """The unused tensors, and sometimes one more; inputs only if there is no other tensor."""
    made = [x for x in draft.pool if all(x is not y for y in draft.inputs)]
    if not made:
        return [draft.choice(draft.pool)]
    last = made[-4:]
    chosen = [last[-1], *(x for x in last[:-1] if draft.chance(0.6))]
    if draft.chance(0.1):
        chosen.append(draft.choice(draft.pool))
    if draft.chance(0.05):
        chosen.append(chosen[0])
    return [chosen[at] for at in draft.rng.permutation(len(chosen))]


def arranged(draft: Draft, tensors: list[Any], prefix: str) -> Any:
    """Tensors in one of the structures that a model may have."""
    if len(tensors) == 1:
        return draft.choice([tensors[0], tensors[0], tensors, {f"{prefix}0": tensors[0]}])
    keys = [f"{prefix}{at}" for at in draft.rng.permutation(len(tensors))]
    form = draft.choice(["list", "list", "list", "tuple", "dict", "nested"])
    if form == "dict":
        return dict(zip(keys, tensors, strict=True))
    if form == "nested":
        return (
            {
                f"{prefix}b": [tensors[0], {"c": tensors[1]}],
                f"{prefix}a": list(tensors[2:]) or tensors[0],
            }
            if len(tensors) > 2
            else [tensors[0], [tensors[1]]]
        )
    return tuple(tensors) if form == "tuple" else tensors


def saved(keras: Any, model: Any, stem: Path, *, hdf5: bool) -> tuple[Path, Any]:
    """Save a model, as HDF5 if that is wanted and possible, and load it again."""
    logging.disable(logging.WARNING)  # that HDF5 is old
    path = stem.with_suffix(".h5")
    if hdf5:
        with contextlib.suppress(Exception):
            model.save(path)
            loaded = keras.models.load_model(path, compile=False)
            if [layer.get_config().get("axis") for layer in loaded.layers] == [
                layer.get_config().get("axis") for layer in model.layers
            ]:  # Keras forgets an axis that is a list of several
                return path, loaded
        path.unlink(missing_ok=True)
    path = stem.with_suffix(".keras")
    model.save(path)
    return path, keras.models.load_model(path, compile=False)


def recorded_in(folder: Path) -> Iterator[Recorded]:
    """The models of a folder, with their arrays."""
    for arrays in sorted(folder.glob("*.npz")):
        path = arrays.with_suffix(".keras")
        yield Recorded.load(path if path.exists() else arrays.with_suffix(".h5"))


def run(keras: Any, model: Any, feed: Sequence[Array]) -> tuple[Array, ...]:
    """What Keras computes of a feed."""
    if isinstance(model, keras.Sequential):
        given: Any = feed[0]
    else:
        given = packed(model.input, iter(feed))
    return tuple(np.asarray(array) for array in flat(model(given, training=False)))


def packed(structure: Any, leaves: Iterator[Array]) -> Any:
    """The leaves in a structure, in the order in which `flat` finds them."""
    if isinstance(structure, dict):
        return {key: packed(structure[key], leaves) for key in sorted(structure)}
    if isinstance(structure, list | tuple):
        return [packed(each, leaves) for each in structure]
    return next(leaves)


def near(rng: np.random.Generator, array: Array, padding: float | None) -> Array:
    """An array that differs by NOISE; padded places stay as they are."""
    if array.dtype.kind != "f":
        return array
    moved = (array * (1 + NOISE * rng.standard_normal(array.shape))).astype(array.dtype)
    return moved if padding is None else np.where(array == padding, array, moved)


def distance(moved: Array, exact: Array) -> Array:
    """How far apart each two elements are; infinitely where only one of them is a number."""
    if moved.shape != exact.shape:
        raise ValueError("the shape of an output depends on its values")
    a, b = moved.astype("float64"), exact.astype("float64")
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0, np.where(np.isnan(apart), np.inf, apart)).astype("float32")


def randomize(model: Any, rng: np.random.Generator) -> None:
    """Give every weight of floats random values."""
    for variable in model.weights:
        if "float" not in str(variable.dtype):
            continue
        shape, name = tuple(variable.shape), variable.name
        if "variance" in name or "gamma" in name or name == "scale":
            values = rng.uniform(0.5, 1.7, shape)
        elif "kernel" in name:
            values = rng.normal(0, 1 / math.sqrt(max(1, math.prod(shape[:-1]))), shape)
        else:
            values = rng.normal(0, 0.5, shape)
        variable.assign(values.astype("float32"))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings: many a random model gives Keras a reason for one."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def undrawn_weights(keras: Any) -> Iterator[None]:
    """Create layers with weights of zero, because Keras draws random ones slowly; they change later."""
    layer = keras.layers.Layer
    add_weight = layer.add_weight

    def zeros(self: Any, *args: Any, initializer: Any = None, **options: Any) -> Any:
        return add_weight(
            self,
            *args,
            initializer=initializer if keras.__name__ != "keras" else "zeros",
            **options,
        )

    with mock.patch.object(layer, "add_weight", zeros):
        yield


__all__ = ["ALL", "DISCARDED", "FAILED", "Recorded", "kind_of", "record"]
