"""Compares the installed Keras with what the tables of kerasport know of it.

    python tools/keras_drift.py [--cases]

Lists layers, options, defaults, operations, arguments of calls and mask support that the tables do not know, or know
differently. With `--cases` it also runs the models of tests/cases: each is saved by the installed Keras, lowered, and
compared with what that Keras computes. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras

from kerasport.errors import UnsupportedModel
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.functions import OPERATIONS
from kerasport.frontends.keras.functions import REFUSED as REFUSED_OPERATIONS
from kerasport.frontends.keras.identity import IDENTITY
from kerasport.frontends.keras.layers import LAYERS, traits_of
from kerasport.frontends.keras.layers.base import COMMON, REQUIRED, TRAINING_ONLY, Layer, Refused
from kerasport.frontends.keras.layers.traits import MaskRule
from kerasport.frontends.keras.masks import passes_mask
from kerasport.frontends.keras.model import LayerSpec
from kerasport.releases import NEWEST, release_of
from kerasport.targets.tfjs.layers.spelling.unsupported import UNSUPPORTED as UNSUPPORTED_LAYERS


@dataclass(frozen=True, order=True)
class Drift:
    """One difference between the installed Keras and the tables."""

    subject: str  # "layer Dense", "operation TopK", "case mask_lstm"
    what: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


# ------------------------------------------------------------------------------------------- layers

ABSTRACT = frozenset(("Layer", "Wrapper"))

# Values for parameters that have no default, with which every layer of Keras can be made.
SAMPLES: Mapping[str, Callable[[], Any]] = {
    **dict.fromkeys(
        ("units", "filters", "kernel_size", "input_dim", "output_dim", "num_heads", "key_dim", "head_dim", "n",
         "num_query_heads", "num_key_value_heads", "num_tokens", "num_bins", "depth", "max_number", "pool_size"),
        lambda: 2,
    ),
    **dict.fromkeys(("rate", "factor", "stddev", "l1", "l2"), lambda: 0.5),
    **dict.fromkeys(("height", "width", "size", "target_height", "target_width", "output_size"), lambda: 4),
    **dict.fromkeys(("target_shape", "dims"), lambda: (1,)),
    "output_shape": lambda: 2,
    "equation": lambda: "ab,bc->ac",
    "axes": lambda: 1,
    "scale": lambda: 0.5,
    "value_range": lambda: (0, 1),
    "max_boxes": lambda: 2,
    "cell": lambda: keras.layers.LSTMCell(2),
    "cells": lambda: [keras.layers.LSTMCell(2)],
    "layer": lambda: keras.layers.LSTM(2),
    "layers": lambda: [keras.layers.Rescaling(0.5)],
    "function": lambda: abs,
}  # fmt: skip

# Layers whose sample needs more than values for its required parameters.
MORE: Mapping[str, Mapping[str, Any]] = {
    "SpectralNormalization": {"layer": lambda: keras.layers.Dense(2)},
    "TimeDistributed": {"layer": lambda: keras.layers.Dense(2)},
    "InputLayer": {"shape": lambda: (2,)},
    "Discretization": {"bin_boundaries": lambda: [0.0, 1.0]},
    "Activation": {"activation": lambda: "relu"},
    "CategoryEncoding": {"num_tokens": lambda: 2},
    "Embedding": {"mask_zero": lambda: True},
    "ReversibleEmbedding": {"mask_zero": lambda: True},
}


NEEDS_TENSORFLOW = frozenset(
    ("Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization")
)


def exported() -> Mapping[str, type[Any]]:
    """Class of each layer that Keras exports, by the name of the class."""
    found = {cls.__name__: cls for cls in vars(keras.layers).values() if inspect.isclass(cls)}
    return {
        name: cls
        for name, cls in found.items()
        if issubclass(cls, keras.Layer) and name not in ABSTRACT
    }


def sampled(cls: type[Any]) -> tuple[Any, frozenset[str]] | None:
    """A layer of a class, and the parameters that were chosen for it; None if no sample is known."""
    needed = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    own = MORE.get(cls.__name__, {})
    try:
        values = {name: (own.get(name) or SAMPLES[name])() for name in {*needed, *own}}
        return cls(**values), frozenset(values)
    except (KeyError, TypeError, ValueError, ImportError):
        return None


def layer_drift() -> Iterator[Drift]:
    """Layers, and what of them the tables do not know or know differently."""
    dialect = Dialect.of(release_of(keras.__version__))
    for name, cls in exported().items():
        subject = f"layer {name}"
        table = LAYERS.get(name)
        if table is None and name not in IDENTITY and name not in UNSUPPORTED_LAYERS:
            yield Drift(subject, "is in no table")
            continue
        if table is not None and issubclass(table, Refused):
            continue  # no target holds it, whatever its options and arguments are
        if table is not None:
            yield from (Drift(subject, what) for what in argument_drift(cls, table))
        made = sampled(cls)
        if made is None:
            if table is not None and name not in NEEDS_TENSORFLOW | {
                *IDENTITY,
                *UNSUPPORTED_LAYERS,
            }:
                yield Drift(subject, "cannot be made with the samples of this script")
            continue
        layer, chosen = made
        yield from (Drift(subject, what) for what in mask_drift(layer, dialect))
        if table is not None and name not in IDENTITY:
            yield from (Drift(subject, what) for what in option_drift(layer, chosen, table))


def argument_drift(cls: type[Any], table: type[Layer]) -> Iterator[str]:
    """Arguments of the layer's `call` that the table does not know, or has in another order."""
    first, *rest = parameters = [
        name
        for name, parameter in inspect.signature(cls.call).parameters.items()
        if name != "self"
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ] or ["inputs"]
    of_layer_around = {"states"} if cls.__name__.endswith(("Cell", "Cells")) else set()
    known = {first, "training", "mask", *table.signature, *table.takes, *of_layer_around}
    yield from (
        f"call() has the argument {name!r}, which is unknown" for name in rest if name not in known
    )
    of_table = [name for name in table.signature if name in parameters]
    of_keras = [name for name in parameters if name in table.signature]
    if of_table != of_keras:
        yield (
            f"call() has its arguments in the order {', '.join(of_keras)}; the table has "
            f"{', '.join(of_table)}"
        )


def option_drift(layer: Any, chosen: frozenset[str], table: type[Layer]) -> Iterator[str]:
    """Options that the table does not know, or whose default it knows differently."""
    name = type(layer).__name__
    for option, value in layer.get_config().items():
        if option not in table.defaults:
            ignored = option in COMMON or option in table.ignored or option.endswith(TRAINING_ONLY)
            if not ignored:
                yield (
                    f"get_config() has the option {option!r} (default {value!r}), which is unknown"
                )
            continue
        default = table.defaults[option]
        same = option in chosen or default is REQUIRED or plain(default) == plain(value)
        if not same and (name, option) not in OTHER_DEFAULTS:
            yield f"the default of {option!r} is {value!r}; the table has {default!r}"


OTHER_DEFAULTS: Mapping[tuple[str, str], str] = {
    **{
        (
            f"{kind}Pooling{rank}D",
            "strides",
        ): "Keras writes the size of the window, which None stands for"
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    ("GRU", "reset_after"): "Keras before 2.1.3 lacks the option, and computes as with False",
    ("Bidirectional", "backward_layer"): "Keras makes it of the forward one",
    ("Lambda", "arguments"): "both stand for none",
    ("MultiHeadAttention", "value_dim"): "Keras writes key_dim, which None stands for",
    ("MelSpectrogram", "max_freq"): "Keras writes half the sampling rate, which None stands for",
    (
        "MelSpectrogram",
        "sequence_length",
    ): "Keras writes the length of the FFT, which None stands for",
}
"""(Class, option) → why the default in the table differs; files of Keras 3 have every option."""


def plain(value: Any) -> Any:
    """An option's value for comparison: lists as tuples, and the same number for all axes as one."""
    if isinstance(value, list | tuple):
        items = tuple(map(plain, value))
        return items[0] if items and len(set(map(repr, items))) == 1 else items
    return "linear" if value is None else value


OWN_RULES = (
    MaskRule.INDICES,
    MaskRule.FEATURES,
    MaskRule.MERGES,
    MaskRule.CONCATENATES,
)
"""Mask rules of layers that support masks and do not pass them on."""


def mask_drift(layer: Any, dialect: Dialect) -> Iterator[str]:
    """Whether the layer hands masks on in another way than the rules say."""
    name, config = type(layer).__name__, {"return_sequences": True}
    inner = LayerSpec("inner", "LSTM", config)
    children = {"forward_layer": inner} if name == "Bidirectional" else {}
    spec = LayerSpec("layer", name, config, (), children)
    passes = passes_mask(spec, dialect)
    own = traits_of(spec).mask in OWN_RULES or name in OTHER_MASKS
    if bool(layer.supports_masking) is not (passes or own):
        yield f"supports_masking is {layer.supports_masking}; the mask rules say {passes or own}"


OTHER_MASKS: Mapping[str, str] = {
    "Dot": "its mask is always None",
    "GlobalAveragePooling1D": "its mask is always None",
}
"""Layers that support masks in a way that is none of those above, and how."""


# --------------------------------------------------------------------------------------- operations


def operations() -> Mapping[str, type[Any]]:
    """Class of each operation of Keras, by the name of the class."""
    package = importlib.import_module("keras.src.ops")
    base = importlib.import_module("keras.src.ops.operation").Operation
    found: dict[str, type[Any]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.endswith("_test"):
            members = vars(importlib.import_module(f"keras.src.ops.{module.name}"))
            found |= {
                name: cls
                for name, cls in members.items()
                if inspect.isclass(cls) and issubclass(cls, base)
            }
    return {
        name: cls
        for name, cls in found.items()
        if cls.__module__.startswith("keras.src.ops.") and cls is not base
    }


def operation_drift() -> Iterator[Drift]:
    """Operations, and what of them the table does not know or knows differently."""
    for name, cls in operations().items():
        if name not in OPERATIONS and name not in REFUSED_OPERATIONS:
            yield Drift(f"operation {name}", "is in no table")
        elif name in OPERATIONS:
            yield from (
                Drift(f"operation {name}", what) for what in parameter_drift(cls, OPERATIONS[name])
            )


def parameter_drift(cls: type[Any], lowering: Callable[..., Any]) -> Iterator[str]:
    """Options and arguments of an operation that its lowering lacks, or has with another default."""
    taken = inspect.signature(lowering).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    for name, parameter in inspect.signature(cls).parameters.items():
        if (
            name == "name"
            or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            or anything
        ):
            continue
        if name not in taken:
            yield f"has the option {name!r}, which its lowering does not take"
            continue
        default = taken[name].default
        open_ = default in (None, parameter.empty) or parameter.default is parameter.empty
        if not open_ and plain(default) != plain(parameter.default):
            yield f"the default of {name!r} is {parameter.default!r}; the lowering has {default!r}"
    several = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in taken.values())
    _, _, *further = inspect.signature(
        cls.call
    ).parameters.values()  # the first is given by position
    for parameter in further:
        if (
            parameter.name not in taken
            and parameter.kind is not parameter.VAR_KEYWORD
            and not (several or anything)
        ):
            yield f"call() has the argument {parameter.name!r}, which its lowering does not take"


# ---------------------------------------------------------------------------------------- the cases


def case_drift(names: Callable[[str], bool] = lambda _: True) -> Iterator[Drift]:
    """Models of tests/cases that the installed Keras computes otherwise than their lowering."""
    from tests.cases import CASES  # noqa: PLC0415  (imports Keras layers, and the test suite)
    from tests.cases.graphs import REFUSED_BY_GRAPHS  # noqa: PLC0415

    for case in CASES:
        if names(case.name) and case.name != "string_input":  # Keras on JAX has no strings
            yield from (
                Drift(f"case {case.name}", what)
                for what in outcome(case, REFUSED_BY_GRAPHS.get(case.name))
            )


def outcome(case: Any, refused: str | None) -> Iterator[str]:
    """Unexpected results of one model; `refused` is part of the reason why graphs refuse it."""
    from tests.cases.trial import Trial  # noqa: PLC0415
    from tests.lowered import same  # noqa: PLC0415

    from kerasport.frontends.keras.lower import lower  # noqa: PLC0415
    from kerasport.frontends.keras.read import read  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        try:
            trial = Trial(case, Path(folder))
            with read(trial.path) as model:
                graph = lower(model)
                for feeds, expected in zip(trial.feeds, trial.expected, strict=True):
                    same(graph, feeds, expected, case, "by numpy")
        except UnsupportedModel as error:
            if not refused or refused not in str(error):
                yield f"is refused: {error}"
        except Exception as error:  # noqa: BLE001  (whatever a new Keras does is reported, and the next model tried)
            yield f"{type(error).__name__}: {str(error)[:500]}"
        else:
            if refused:
                yield f"is not refused any more: {refused}"


# -------------------------------------------------------------------------------------- the command


def table_drift() -> list[Drift]:
    """All differences between the installed Keras and the tables, without running models."""
    return sorted({*layer_drift(), *operation_drift()})


def report(found: Iterable[Drift]) -> str:
    """The differences as text, below a line that says what was compared."""
    listed = [f"  {drift}" for drift in found]
    newest = ".".join(map(str, NEWEST))
    head = f"Keras {keras.__version__}, tables of Keras up to {newest}: {len(listed)} difference(s)"
    return "\n".join([head, *listed])


def main(arguments: list[str] | None = None) -> int:
    """Print the differences; the exit code is 1 where there are any."""
    parser = argparse.ArgumentParser(
        description="Compare the installed Keras with the tables of kerasport."
    )
    parser.add_argument("--cases", action="store_true", help="also run the models of tests/cases")
    options = parser.parse_args(arguments)
    found = table_drift() + (list(case_drift()) if options.cases else [])
    print(report(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
