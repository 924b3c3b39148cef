"""Writes docs/support.md: the result for every layer and activation, from the tables of kerasport.

    PYTHONPATH=src python tools/support_matrix.py

Where Keras is installed, every layer that it exports gets a row; otherwise the page keeps the rows that it has.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasport.frontends.keras.identity import IDENTITY
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.activations import ACTIVATIONS as LOWERED_ACTIVATIONS
from kerasport.frontends.keras.layers.base import Layer, Refused, Wrapper
from kerasport.targets.tfjs.layers.rewrites import REWRITES
from kerasport.targets.tfjs.layers.rewrites.activations import REWRITTEN
from kerasport.targets.tfjs.layers.spelling import native
from kerasport.targets.tfjs.layers.spelling.activations import (
    ACTIVATIONS,
    COMPANION,
    GELU_TANH,
    UNSUPPORTED_ACTIVATIONS,
)
from kerasport.targets.tfjs.layers.spelling.native import NATIVE, Condition, Spelling
from kerasport.targets.tfjs.layers.spelling.unsupported import UNSUPPORTED, why_unsupported

PAGE = Path(__file__).parent.parent / "docs" / "support.md"

HEAD = """\
# What is supported

<!-- Written by tools/support_matrix.py from the tables in src/kerasport; do not edit by hand. -->

This page lists what becomes of each Keras layer in a TF.js layers-model (`--to tfjs-layers`), a TF.js graph-model
(`--to tfjs-graph`) and an ONNX model (`model.onnx`). Without `--to`, kerasport writes a layers-model if it supports all
layers of the model. The layers and their aliases are those of Keras {version} and of older versions of Keras.

* **native**: TF.js has the layer and computes the same. If the table lists only some values of an option, the other
  values are refused; the reason is in parentheses.
* **rewritten**: TF.js does not have the layer, or not all of its options, but other TF.js layers compute the same. If
  several of native, rewritten and companion are listed, the first one that works is used.
* **companion**: TF.js does not have the layer, or computes it differently. A class in `kerasport-layers.js` computes
  it; the page loads this script first ([companion.md](companion.md)). With `--no-companion` such layers are refused.
* **lowered**: written as TF.js or ONNX operations that compute the same.
* **removed**: the layer does nothing at inference, so it is removed; the rest of the model computes the same.
* **refused**: there is no exact conversion, or none yet. `kerasport check` says so before anything is written.
"""

FOOT = """\
## Other rules

* **Custom layers and subclassed models** are refused: the file does not contain their code.
* **`keras.ops` functions** that a model calls directly, and TensorFlow functions in files of Keras 2, are refused in a
  layers-model if TF.js has no layers that compute them.
* **Masks** (`Embedding(mask_zero=True)`, `Masking`): TF.js has its own rules for passing masks to layers. kerasport
  traces them during the conversion, and refuses a layers-model whose masks would differ from those of Keras.
* **Arguments of calls**: `initial_state` of recurrent layers is supported. `training=True`, and other arguments that
  TF.js does not support, are refused.
* **Inputs** are dense tensors of known rank: `sparse`, `ragged` and `optional` inputs are refused. A graph-model can
  have string inputs for `StringLookup` with one OOV index. Such a model uses the hash tables of TF.js and is run with
  `executeAsync`; in an ONNX model the lookup is a LabelEncoder. Vocabularies that `adapt()` learned are read from
  `.keras` files.
* **16-bit models** are written in float32. The weights of **quantized** models (`int8`, `int4`, `gptq`, `awq`,
  `float8`, `ternary`) are dequantized to float32, and **LoRA** is merged. The report says so.
* **Training**: the optimizer, loss and metrics are written to a layers-model if TF.js supports them. Otherwise the
  model is written uncompiled and the report says why. Constraints and activity regularizers are not written, and the
  report lists them.
"""


@dataclass
class Catalog:
    """The layers that get a row, and the names under which Keras exports them, too."""

    version: str
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)


# --------------------------------------------------------------------------- which layers there are


def catalog(page: str) -> Catalog:
    """Every layer of kerasport's tables, and of the installed Keras or else of the current page."""
    return completed(of_keras() if importlib.util.find_spec("keras") else of_page(page))


def completed(found: Catalog) -> Catalog:
    """With the layers of kerasport's tables."""
    tables = dict.fromkeys((*NATIVE, *IDENTITY, *UNSUPPORTED, *LAYERS), ())
    return Catalog(found.version, {**tables, **found.aliases})


def of_keras() -> Catalog:
    """The layers that the installed Keras exports."""
    import keras  # noqa: PLC0415  (slow, and not needed for a page that is there)

    names: dict[type, list[str]] = {}
    for name, exported in vars(keras.layers).items():
        if (
            isinstance(exported, type)
            and issubclass(exported, keras.Layer)
            and name not in ("Layer", "Wrapper")
        ):
            names.setdefault(exported, []).append(name)
    found = Catalog(str(keras.__version__))
    for cls, exported_as in names.items():
        # the name in files is that of the class, where Keras exports it under that name
        main = cls.__name__ if cls.__name__ in exported_as else exported_as[0]
        found.aliases[main] = tuple(sorted(set(exported_as) - {main}))
    return found


def of_page(page: str) -> Catalog:
    """The layers that the page lists."""
    version = re.search(r"aliases are those of Keras ([\d.]+\d)", page)
    found = Catalog(version[1] if version else "")
    for name, aliases in re.findall(
        r"^\| `(\w+)`(?: \(([^)]*)\))? \|", page.partition("## Activations")[0], re.MULTILINE
    ):
        found.aliases[name] = tuple(re.findall(r"`(\w+)`", aliases))
    return found


# ----------------------------------------------------------------------------- what becomes of them


def in_layers_model(name: str) -> tuple[str, list[str]]:
    """What becomes of a layer in a layers-model, and what is to be said about it."""
    if name == "InputLayer":
        return "native", ["dense numeric tensors"]
    if name in NATIVE:
        row = NATIVE[name]
        limits = [*restricted(row.options), *said(row.conditions), *BY_HAND.get(name, ())]
        helped = any(companion_of(spelling) for spelling in row.options.values())
        outcomes = [
            "native",
            *(["rewritten"] if name in REWRITES else []),
            *(["companion"] if helped else []),
        ]
        formula = [f"otherwise rewritten: {formula_of(name)}"] if name in REWRITES else []
        return " or ".join(outcomes), [*limits, *formula]
    if name in REWRITES:
        return "rewritten", [formula_of(name)]
    if name in IDENTITY:
        return "removed", [IDENTITY[name], *BY_HAND.get(name, ())]
    return "refused", [why_unsupported(name)]


def formula_of(name: str) -> str:
    """What a rewrite makes of a layer, as its docstring says it."""
    text, _, _ = (inspect.getdoc(REWRITES[name]) or "").partition("\n\n")
    return " ".join(text.split()).rstrip(".")


BY_HAND: Mapping[str, tuple[str, ...]] = {
    "Bidirectional": (
        "around LSTM, GRU or SimpleRNN",
        "a backward layer that equals the reversed forward layer",
    ),
    "RandomCrop": ("refused in files of Keras before 3.8, where it also crops at inference",),
}
"""What the code beside the tables asks for."""


def restricted(options: Mapping[str, Spelling]) -> Iterator[str]:
    """The options of which only some values are written, with the reason."""
    for option, spelling in options.items():
        if spelling is native.activation:
            yield f"`{option}`: see the table of activations"
            continue
        held = inspect.getclosurevars(spelling).nonlocals
        if "because" in held:
            otherwise = ", otherwise companion" if companion_of(spelling) else ""
            yield f"`{option}`: {values(held['allowed'])}{otherwise} ({held['because']})"


def companion_of(spelling: Spelling) -> str:
    """The class of the companion that understands other values of an option than TF.js's own."""
    return str(inspect.getclosurevars(spelling).nonlocals.get("companion", ""))


def values(allowed: Iterable[Any]) -> str:
    """Values as a user would write them."""
    shown = dict.fromkeys(f"`{value!r}`" for value in allowed)
    return " or ".join(shown)


def said(conditions: Iterable[Condition]) -> Iterator[str]:
    """What conditions on options and inputs ask for."""
    for condition in conditions:
        held = inspect.getclosurevars(condition).nonlocals
        if "because" in held:
            yield f"inputs of rank {spoken(held['allowed'])}"
        else:
            yield CONDITIONS.get(condition.__name__) or (condition.__doc__ or "").strip().rstrip(
                "."
            )


def spoken(numbers: Sequence[int]) -> str:
    """Numbers as in a sentence."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last


CONDITIONS: Mapping[str, str] = {
    "at_least_two": "two or more inputs",
    "last_axis": "`axis`: the last axis, or several axes",
    "whole_shape": "inputs of fixed size and rank 3 or more",
    "same_unknowns": "inputs that agree on which of their other sizes are unknown",
    "one_output_where_stateful": (
        "not both `stateful` and `return_state` (TF.js advances the states once per output)"
    ),
    "one_output_of_both_where_stateful": (
        "one output if `stateful` (TF.js advances the states once per output)"
    ),
    "default_output_padding": (
        "`output_padding`: only values that give the default size (TF.js ignores it)"
    ),
    "low_rank_activation": "inputs of rank 5 or less",
    "sorted_axes": "`axis`: the last axes",
    "tensors_of_rank_2_or_3": "inputs of rank 2 or 3",
}
"""What the conditions ask for, by the names of their functions, in the words of a user."""


def in_graph_model(name: str) -> str:
    """What becomes of a layer in a graph-model."""
    if name == "InputLayer":
        return "lowered"
    if name in IDENTITY:
        return "removed"
    cls = LAYERS.get(name)
    if cls is None or issubclass(cls, Refused):
        return "refused"
    return "lowered" if issubclass(cls, Wrapper) or cls.lower is not Layer.lower else "refused"


# ----------------------------------------------------------------------------------------- the page


def page(catalog: Catalog) -> str:
    """The whole page."""
    lines = [
        HEAD.format(version=catalog.version),
        "## Layers\n",
        *layer_rows(catalog),
        "",
        *activation_rows(),
    ]
    return "\n".join([*lines, "", FOOT])


def layer_rows(catalog: Catalog) -> Iterator[str]:
    """A row for each layer."""
    yield (
        "| layer | layers-model | graph-model | ONNX | restrictions or reasons in a layers-model |"
    )
    yield "|---|---|---|---|---|"
    for name, aliases in sorted(catalog.aliases.items()):
        also = f" ({', '.join(f'`{alias}`' for alias in aliases)})" if aliases else ""
        outcome, limits = in_layers_model(name)
        graph = in_graph_model(name)  # from which both are made
        yield f"| `{name}`{also} | {outcome} | {graph} | {graph} | {escaped('; '.join(limits))} |"


def activation_rows() -> Iterator[str]:
    """A row for each activation."""
    yield "## Activations\n"
    yield (
        "The names are those of Keras 3, for the Activation layer or the `activation` of another "
        "layer.\n"
    )
    yield "| activation | layers-model | graph-model | ONNX | in a layers-model |"
    yield "|---|---|---|---|---|"
    for name, spelled in ACTIVATIONS.items():
        note = f"`{spelled}` in TF.js" if spelled != name else ""
        yield f"| {activation(name)} | native | {lowered(name)} | {lowered(name)} | {note} |"
    for name, reason in UNSUPPORTED_ACTIVATIONS.items():
        if name == GELU_TANH:  # no file has it as the activation of a layer
            continue
        outcomes = [
            *(["rewritten"] if name in REWRITTEN else []),
            *(["companion"] if name in COMPANION else []),
        ]
        outcome = " or ".join(outcomes) or "refused"
        yield (
            f"| {activation(name)} | {outcome} | {lowered(name)} | {lowered(name)} | "
            f"{escaped(reason)} |"
        )


def lowered(name: str) -> str:
    """What becomes of an activation in a graph-model."""
    return "lowered" if name in LOWERED_ACTIVATIONS else "refused"


def activation(name: str) -> str:
    """The name as users know it."""
    return "`hard_sigmoid` of Keras 1 and 2" if name == "hard_sigmoid_keras2" else f"`{name}`"


def escaped(text: str) -> str:
    """Text that may stand in a cell."""
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page."""
    there = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    PAGE.write_text(page(catalog(there)), encoding="utf-8")


if __name__ == "__main__":
    main()
