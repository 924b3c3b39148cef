"""Writes docs/support.md: what becomes of every layer and activation, from the very tables that decide it.

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

from kerasport.identity import IDENTITY
from kerasport.layers import LAYERS
from kerasport.layers.activations import ACTIVATIONS as LOWERED_ACTIVATIONS
from kerasport.layers.base import Layer, Refused
from kerasport.targets.layers_model import native
from kerasport.targets.layers_model.activations import (
    ACTIVATIONS,
    COMPANION,
    GELU_TANH,
    REFUSED_ACTIVATIONS,
)
from kerasport.targets.layers_model.native import NATIVE, Condition, Spelling
from kerasport.targets.layers_model.outcome import REFUSED, why_refused
from kerasport.targets.layers_model.rewrites import REWRITES
from kerasport.targets.layers_model.rewrites.activations import REWRITTEN

PAGE = Path(__file__).parent.parent / "docs" / "support.md"

HEAD = """\
# What is supported

<!-- Written by tools/support_matrix.py from the tables in src/kerasport; do not edit by hand. -->

What becomes of each Keras layer, as a TF.js layers-model (`--to tfjs-layers`), as a graph-model (`--to tfjs-graph`) and
as an ONNX model (`model.onnx`). Without `--to`, a model is written as a layers-model where all of its layers have one.
Layers and their aliases are those of Keras {version}, and what older versions of Keras had.

* **native**: TF.js has the layer and computes the same. Where only some values of an option are given here, the others
  are refused, with the reason in brackets.
* **rewritten**: TF.js lacks it, or some of its options, and other layers of TF.js together compute the same. A layer
  that is native, rewritten or of the companion is the first of these that does.
* **companion**: TF.js lacks it, or computes it otherwise; a class of `kerasport-layers.js` computes it, a script that
  is written beside model.json and that the page loads first ([companion.md](companion.md)). `--no-companion` refuses.
* **lowered**: written as operations of TF.js or ONNX that compute the same.
* **removed**: it does nothing at inference, so it is left out; what is left computes the same.
* **refused**: there is no exact translation, or none yet; `kerasport check` says so before anything is written.
"""

FOOT = """\
## What else decides

* **Custom layers, and subclassed models**, are refused: their code is not in the file.
* **`keras.ops` functions** that a model calls directly, and TensorFlow functions in files of Keras 2, are refused in a
  layers-model, since TF.js has no layers for them.
* **Masks** (`Embedding(mask_zero=True)`, `Masking`) travel through a layers-model as in Keras, or the model is refused:
  TF.js hands masks to layers by rules of its own, which are followed step by step at conversion.
* **Arguments of calls**: `initial_state` of recurrent layers is written; `training=True`, and what else TF.js cannot be
  given, is refused.
* **Inputs** are dense numbers of known rank: `sparse`, `ragged` and `optional` inputs are refused. In a graph-model
  there may be inputs of strings for `StringLookup`, with one index for what is unknown; it looks them up in TF.js's
  hash tables, and so is run with `executeAsync`; an ONNX model has them as LabelEncoder. Vocabularies that `adapt()`
  learned are read from `.keras` files.
* **16-bit models** are written in float32, **quantised** ones (`int8`, `int4`, `gptq`, `awq`, `float8`,
  `ternary`) with the float32 numbers that their weights stand for, and **LoRA** is merged. The report says so.
* **Training**: optimizer, loss and metrics are written to a layers-model where TF.js has the same, else the model is
  written uncompiled and the report says why. Constraints and activity regularizers are left out, likewise reported.
"""


@dataclass
class Catalogue:
    """The layers that get a row, and the names under which Keras exports them, too."""

    version: str
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------- which layers there are


def catalogue(page: str) -> Catalogue:
    """Every layer of kerasport's tables, and of Keras where it is installed, else of the page as it is."""
    return completed(of_keras() if importlib.util.find_spec("keras") else of_page(page))


def completed(found: Catalogue) -> Catalogue:
    """With the layers of kerasport's tables."""
    tables = dict.fromkeys((*NATIVE, *IDENTITY, *REFUSED, *LAYERS), ())
    return Catalogue(found.version, {**tables, **found.aliases})


def of_keras() -> Catalogue:
    """The layers that the installed Keras exports."""
    import keras  # noqa: PLC0415  (slow, and not needed for a page that is there)

    names: dict[type, list[str]] = {}
    for name, exported in vars(keras.layers).items():
        if isinstance(exported, type) and issubclass(exported, keras.Layer) and name not in ("Layer", "Wrapper"):
            names.setdefault(exported, []).append(name)
    found = Catalogue(str(keras.__version__))
    for cls, exported_as in names.items():
        # the name in files is that of the class, where Keras exports it under that name
        main = cls.__name__ if cls.__name__ in exported_as else exported_as[0]
        found.aliases[main] = tuple(sorted(set(exported_as) - {main}))
    return found


def of_page(page: str) -> Catalogue:
    """The layers that the page lists."""
    version = re.search(r"are those of Keras ([\d.]+\d)", page)
    found = Catalogue(version[1] if version else "")
    for name, aliases in re.findall(
        r"^\| `(\w+)`(?: \(([^)]*)\))? \|", page.partition("## Activations")[0], re.MULTILINE
    ):
        found.aliases[name] = tuple(re.findall(r"`(\w+)`", aliases))
    return found


# ------------------------------------------------------------------------------------------- what becomes of them


def in_layers_model(name: str) -> tuple[str, list[str]]:
    """What becomes of a layer in a layers-model, and what is to be said about it."""
    if name == "InputLayer":
        return "native", ["dense numbers"]
    if name in NATIVE:
        row = NATIVE[name]
        limits = [*restricted(row.options), *said(row.conditions), *BY_HAND.get(name, ())]
        helped = any(companion_of(spelling) for spelling in row.options.values())
        outcomes = ["native", *(["rewritten"] if name in REWRITES else []), *(["companion"] if helped else [])]
        formula = [f"otherwise rewritten: {formula_of(name)}"] if name in REWRITES else []
        return " or ".join(outcomes), [*limits, *formula]
    if name in REWRITES:
        return "rewritten", [formula_of(name)]
    if name in IDENTITY:
        return "removed", [IDENTITY[name], *BY_HAND.get(name, ())]
    return "refused", [why_refused(name)]


def formula_of(name: str) -> str:
    """What a rewrite makes of a layer, as its docstring says it."""
    text, _, _ = (inspect.getdoc(REWRITES[name]) or "").partition("\n\n")
    return " ".join(text.split()).rstrip(".")


BY_HAND: Mapping[str, tuple[str, ...]] = {
    "Bidirectional": ("around LSTM, GRU or SimpleRNN", "a backward layer that is the forward one turned around"),
    "RandomCrop": ("refused in files of Keras before 3.8, where it crops at inference, too",),
}
"""What the code beside the tables asks for."""


def restricted(options: Mapping[str, Spelling]) -> Iterator[str]:
    """The options of which only some values are written, with the reason."""
    for option, spelling in options.items():
        if spelling is native.activation:
            yield f"`{option}`: as below"
            continue
        held = inspect.getclosurevars(spelling).nonlocals
        if "because" in held:
            otherwise = ", else by the companion" if companion_of(spelling) else ""
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
            yield f"inputs of {spoken(held['allowed'])} axes"
        else:
            yield CONDITIONS.get(condition.__name__) or (condition.__doc__ or "").strip().rstrip(".")


def spoken(numbers: Sequence[int]) -> str:
    """Numbers as in a sentence."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last


CONDITIONS: Mapping[str, str] = {
    "at_least_two": "two inputs or more",
    "last_axis": "`axis`: the last, or several; TF.js computes other single ones wrongly or not at all",
    "whole_shape": "inputs of known sizes and more than two axes",
    "same_unknowns": "inputs whose sizes beside the axis are known alike",
    "one_output_where_stateful": "not `stateful` and `return_state` together: TF.js moves the states on once an output",
    "one_output_of_both_where_stateful": "a `stateful` layer with one output: TF.js moves the states on once an output",
    "default_output_padding": "`output_padding`: only where it asks for the default size, since TF.js ignores it",
    "low_rank_activation": "inputs of up to 5 axes",
    "sorted_axes": "`axis`: the last ones",
    "tensors_of_rank_2_or_3": "inputs of 2 or 3 axes",
}
"""What the conditions ask for, by the names of their functions, in the words of a user."""


PARTS = ("TimeDistributed", "Bidirectional", "SpectralNormalization", "Pipeline", "LSTMCell", "GRUCell",
         "SimpleRNNCell", "StackedRNNCells")  # fmt: skip
"""Layers that are lowered with what they wrap, or what wraps them."""


def in_graph_model(name: str) -> str:
    """What becomes of a layer in a graph-model."""
    if name == "InputLayer":
        return "lowered"
    if name in IDENTITY:
        return "removed"
    own = name in LAYERS and LAYERS[name].lower is not Layer.lower and not issubclass(LAYERS[name], Refused)
    return "lowered" if own or name in PARTS else "refused"


# ------------------------------------------------------------------------------------------------------- the page


def page(catalogue: Catalogue) -> str:
    """The whole page."""
    lines = [HEAD.format(version=catalogue.version), "## Layers\n", *layer_rows(catalogue), "", *activation_rows()]
    return "\n".join([*lines, "", FOOT])


def layer_rows(catalogue: Catalogue) -> Iterator[str]:
    """A row for each layer."""
    yield "| layer | layers-model | graph-model | ONNX | only with, or why, in a layers-model |"
    yield "|---|---|---|---|---|"
    for name, aliases in sorted(catalogue.aliases.items()):
        also = f" ({', '.join(f'`{alias}`' for alias in aliases)})" if aliases else ""
        outcome, limits = in_layers_model(name)
        graph = in_graph_model(name)  # from which both are made
        yield f"| `{name}`{also} | {outcome} | {graph} | {graph} | {escaped('; '.join(limits))} |"


def activation_rows() -> Iterator[str]:
    """A row for each activation."""
    yield "## Activations\n"
    yield "By the names of Keras 3, alone or as the `activation` of a layer.\n"
    yield "| activation | layers-model | graph-model | ONNX | in a layers-model |"
    yield "|---|---|---|---|---|"
    for name, spelled in ACTIVATIONS.items():
        note = f"`{spelled}` in TF.js" if spelled != name else ""
        yield f"| {activation(name)} | native | {lowered(name)} | {lowered(name)} | {note} |"
    for name, reason in REFUSED_ACTIVATIONS.items():
        if name == GELU_TANH:  # no file has it as the activation of a layer
            continue
        outcomes = [*(["rewritten"] if name in REWRITTEN else []), *(["companion"] if name in COMPANION else [])]
        outcome = " or ".join(outcomes) or "refused"
        yield f"| {activation(name)} | {outcome} | {lowered(name)} | {lowered(name)} | {escaped(reason)} |"


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
    PAGE.write_text(page(catalogue(there)), encoding="utf-8")


if __name__ == "__main__":
    main()
