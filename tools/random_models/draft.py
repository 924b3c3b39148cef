"""A model while it grows: its inputs, the tensors that it has so far, and how layers are called."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]

VOCABULARY = 9
LARGEST = 4000  # elements of one sample of a tensor
RANKS = {"vector": 2, "series": 3, "image": 4, "volume": 5}


class Unsuitable(Exception):
    """This step does not fit this draft; another one is tried."""


@dataclass(frozen=True)
class Role:
    """What the values of an input are: numbers, ids (`below`), or series with padded time steps."""

    sizes: Sizes  # without the batch
    dtype: str = "float32"
    below: int | None = None
    padding: float | None = None
    mask: bool = False  # a mask of bools

    def values(self, rng: np.random.Generator, batch: int) -> Array:
        """Random values of one batch."""
        shape = (batch, *self.sizes)
        if self.mask:
            made = np.ones(shape, bool)
            pad(rng, made, padding=False)
            return made
        if self.dtype == "bool":
            return rng.random(shape) < 0.5
        if "int" in self.dtype:
            low, high = (
                (0, self.below)
                if self.below
                else (0, 256)
                if self.dtype.startswith("u")
                else (-9, 10)
            )
            made = rng.integers(low, high, shape).astype(self.dtype)
            if self.padding is not None and made.ndim > 1:
                made[made == self.padding] = 1
                pad(rng, made, self.padding)
            return made
        made = rng.uniform(0.1, self.below, shape) if self.below else rng.normal(0, 1.5, shape)
        made = made.astype(self.dtype)
        if self.padding is not None:
            pad(rng, made, self.padding)
            if made.ndim > 2:
                made[-1, -1, 0] = self.padding  # one feature of a step that may count
        return made


def pad(rng: np.random.Generator, values: Array, padding: float) -> None:
    """Mask time steps at the start, end or middle of each sample, and sometimes a whole sample."""
    steps = values.shape[1]
    kinds = ["front", "end", "middle", "both", "random", "all", "none"]
    order = [kinds[at] for at in rng.permutation(len(kinds))]
    if len(values) > 1:
        order[int(rng.integers(len(values)))] = "all"
    for sample, kind in zip(values, order, strict=False):
        some = max(1, steps // 3)
        where: Any = {
            "front": slice(some),
            "end": slice(steps - some, None),
            "middle": slice(some, 2 * some),
            "both": [0, steps - 1],
            "random": rng.random(steps) < 0.5,
            "all": slice(None),
            "none": slice(0),
        }[kind]
        sample[where] = padding


@dataclass
class Draft:
    """A model while it grows.

    `keras` is the module whose layers it takes. Steps pick tensors of the pool or make new inputs, call layers on
    them in a random form, and put the results back.
    """

    keras: Any
    rng: np.random.Generator
    inputs: list[Any] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    pool: list[Any] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    batch: int | None = None
    most_inputs: int = 4
    inside: bool = False  # whether it becomes part of another model

    # -------------------------------------------------------------------------------------- choices

    @property
    def layers(self) -> Any:
        return self.keras.layers

    @property
    def ops(self) -> Any:
        return self.keras.ops

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choice(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def some(self, options: Sequence[Any], least: int = 1) -> list[Any]:
        """Some of the options, in a random order."""
        count = int(self.rng.integers(least, len(options) + 1))
        return [options[at] for at in self.rng.permutation(len(options))[:count]]

    def size(self, low: int = 1, high: int = 5) -> int:
        """A number from low to high."""
        return int(self.rng.integers(low, high + 1))

    def options(self, **choices: Sequence[Any]) -> dict[str, Any]:
        """About half of these options, each with a random one of its values."""
        return {name: self.choice(values) for name, values in choices.items() if self.chance(0.5)}

    def constant(self, *shape: int, dtype: str = "float32", below: int = 5) -> Array:
        """Random numbers of a shape."""
        if dtype == "bool":
            return self.rng.random(shape) < 0.6
        if "int" in dtype:
            return self.rng.integers(0, below, shape).astype(dtype)
        return self.rng.normal(0, 1, shape).astype(dtype)

    # --------------------------------------------------------------------------------------- inputs

    def input(self, role: Role, *, open_axes: Sequence[int] = ()) -> Any:
        """A new input; its `open_axes` have no size in the model."""
        if len(self.inputs) >= self.most_inputs:
            raise Unsuitable
        shape = tuple(None if axis in open_axes else size for axis, size in enumerate(role.sizes))
        more = (
            {"name": self.choice(["a", "b", "x", "seq"]) + f"_{len(self.inputs)}"}
            if self.chance(0.3)
            else {}
        )
        if self.batch:
            more["batch_size"] = self.batch
        made = self.layers.Input(shape, dtype=role.dtype, **more)
        self.inputs.append(made)
        self.roles.append(role)
        self.pool.append(made)
        return made

    def new(self, rank: int, last: int | None = None, dtype: str = "float32") -> Any:
        """A new input of numbers of that rank."""
        low, high = {2: (2, 7), 3: (3, 6), 4: (5, 7), 5: (3, 5)}.get(rank, (2, 4))
        sizes = [self.size(low, high) for _ in range(rank - 2)] + [last or self.size(2, 6)] * (
            rank > 1
        )
        spatial = list(range(rank - 2))
        opened = spatial if spatial and self.chance(0.1) and not self.inside else ()
        padding = 0.0 if rank == 3 and self.chance(0.4) else None
        return self.input(Role(tuple(sizes), dtype, padding=padding), open_axes=opened)

    def ids(self, steps: int | None = None) -> Any:
        """A new input of word indices, padded with zeros."""
        opened = (0,) if self.chance(0.15) and not self.inside else ()
        role = Role(
            (steps or self.size(3, 6),),
            self.choice(["int32"] * 6 + ["int64", "float32"]),
            VOCABULARY,
            0,
        )
        return self.input(role, open_axes=opened)

    def mask_input(self, *sizes: int) -> Any:
        """A new input of bools, a mask."""
        return self.input(Role(sizes, "bool", mask=True))

    # -------------------------------------------------------------------------------------- tensors

    def take(
        self,
        rank: int | Sequence[int] | None = None,
        *,
        test: Callable[[Any], bool] = lambda _: True,
        kinds: str = "f",
        last: int | None = None,
        fresh: float = 0.2,
    ) -> Any:
        """A tensor of the pool of one of these ranks, or a new input."""
        ranks = None if rank is None else (rank,) if isinstance(rank, int) else tuple(rank)
        if kinds == "f" and self.chance(0.05):
            kinds = "fiub"
        fits = [
            x
            for x in self.pool
            if (ranks is None or len(x.shape) in ranks)
            and kind_of(x) in kinds
            and (last is None or x.shape[-1] == last)
            and test(x)
        ]
        if fits and not (self.chance(fresh) and len(self.inputs) < self.most_inputs):
            return self.choice(fits[-4:] if self.chance(0.6) else fits)
        dtype = "float32"
        if "i" in kinds and "f" not in kinds:
            dtype = "int32"
        elif self.chance(0.06) and "i" in kinds:
            dtype = self.choice(["int32", "int64", "uint8", "bool", "int32"])
        x = self.new(self.choice(ranks or (2, 3, 4)), last, dtype)
        if not test(x):
            raise Unsuitable
        return x

    def like(self, x: Any) -> Any:
        """Another tensor of the same shape and kind, the same one, or a new input."""
        fits = [
            y for y in self.pool if tuple(y.shape) == tuple(x.shape) and kind_of(y) == kind_of(x)
        ]
        if fits and self.chance(0.7):
            return self.choice(fits)
        sizes = known(x)
        return self.input(Role(sizes, str(x.dtype) if isinstance(x.dtype, str) else x.dtype.name))

    def sequence(self, last: int | None = None) -> Any:
        """A tensor of time steps; often a masked one."""
        kind = self.choice(["pool", "embedding", "masking", "pool", "pool"])
        if kind == "embedding" and len(self.inputs) < self.most_inputs:
            x = self.choice(
                [y for y in self.pool if len(y.shape) == 2 and id(y) in self.ids_of()]
                or [self.ids()]
            )
            made = self.layers.Embedding(
                VOCABULARY, last or self.size(2, 5), mask_zero=self.chance(0.8)
            )(x)
            return self.put(made)
        if kind == "masking":
            value = self.choice([0.0, 0.0, 1.5, -1.0])
            x = self.input(Role((self.size(3, 6), last or self.size(2, 5)), padding=value))
            return self.put(self.layers.Masking(value)(x))
        return self.take(3, last=last)

    def ids_of(self) -> set[int]:
        """The inputs that are word indices, by their identity."""
        return {
            id(x)
            for x, role in zip(self.inputs, self.roles, strict=True)
            if role.below == VOCABULARY
        }

    def put(self, made: Any) -> Any:
        """Put results into the pool, and return them."""
        for x in self.keras.tree.flatten(made) if hasattr(self.keras, "tree") else flat(made):
            if not hasattr(x, "shape") or not hasattr(x, "dtype") or isinstance(x, np.ndarray):
                raise Unsuitable
            sizes = known(x)
            if (
                len(x.shape) == 0
                or math.prod(sizes) == 0
                or math.prod(sizes) > LARGEST
                or len(x.shape) > 6
            ):
                raise Unsuitable
            if x.shape[0] != self.batch:
                raise Unsuitable  # the batch is gone
            if all(x is not y for y in self.pool):
                self.pool.append(x)
        return made

    # ---------------------------------------------------------------------------------------- calls

    def call(self, layer: Any, x: Any, **named: Any) -> Any:
        """Call a layer, some arguments by position and some by name; put the result into the pool."""
        names = list(inspect.signature(layer.call).parameters.values())
        args = [x]
        if self.chance(0.3):
            for parameter in names[1:]:
                if parameter.name in named:
                    args.append(named.pop(parameter.name))
                elif named and parameter.default is None and self.chance(0.6):
                    args.append(None)
                else:
                    break
        elif self.chance(0.04):
            named[names[0].name] = args.pop()
        return self.put(layer(*args, **named))

    def apply(self, layer: Any, x: Any, **named: Any) -> Any:
        """As `call`, but sometimes the layer is also called on its output, or on another tensor."""
        made = self.call(layer, x, **named)
        if self.chance(0.12):
            others = [
                y
                for y in self.pool
                if tuple(y.shape) == tuple(x.shape) and kind_of(y) == kind_of(x)
            ]
            self.call(layer, self.choice(others))
        return made

    def training(self) -> dict[str, Any]:
        """Sometimes an explicit training=False."""
        return {"training": self.choice([False, None])} if self.chance(0.15) else {}


def kind_of(x: Any) -> str:
    """The kind of a tensor's dtype: f, i, u or b."""
    name = x.dtype if isinstance(x.dtype, str) else x.dtype.name
    return (
        "u"
        if name.startswith("u")
        else "b"
        if name == "bool"
        else "i"
        if name.startswith("int")
        else "f"
    )


def known(x: Any) -> Sizes:
    """The sizes of a tensor without the batch; what stands for an unknown one is 5."""
    return tuple(5 if size is None else int(size) for size in x.shape[1:])


def all_known(x: Any) -> bool:
    """Whether a tensor has no axis of unknown size besides the batch."""
    return all(size is not None for size in x.shape[1:])


def flat(structure: Any) -> list[Any]:
    """The leaves of a structure."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flat(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for each in structure for leaf in flat(each)]
    return [structure]
