"""Repair a layers-model: in place, with a backup of the old model.json, or into another directory."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasport.errors import SHORT, OutputExistsError, legible, quoted
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.read import well_formed
from kerasport.frontends.keras.read.layers_model import LayersModel, entries_of, read_layers_model
from kerasport.frontends.keras.read.manifest import Manifest
from kerasport.frontends.keras.read.tfjs_spelling import (
    calls,
    input_shape,
    is_activation,
    keyed,
    misspelled,
    respelled,
)
from kerasport.targets import tfjs
from kerasport.targets.output import check_free, hidden, replacing
from kerasport.targets.tfjs.document import TfjsPlan, typings, write_around
from kerasport.targets.tfjs.layers import COMPANION
from kerasport.targets.tfjs.layers import plan as planned
from kerasport.targets.tfjs.layers.spelling.native import NATIVE
from kerasport.targets.tfjs.options import LAYERS_DEFAULTS, LayersOptions
from kerasport.targets.tfjs.shards import Written, write_weights

BACKUP = ".bak"
STEM = "repaired-"  # prefix of new shards, next to the old ones that the backup needs

# ------------------------------------------------------------------------------------------- what is wrong

Config = Mapping[str, Any]
Predicate = Callable[[Config, Config], bool]  # of a layer and its config

# Those of TF.js; any other stops it from loading, though they shape training only.
INITIALIZERS = frozenset(
    ("Zeros", "Ones", "Constant", "Identity", "RandomUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling",
     "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LeCunUniform", "LeCunNormal", "Orthogonal")
)  # fmt: skip
NAMED = INITIALIZERS | {name[0].lower() + name[1:] for name in INITIALIZERS}
"""Initializers that TF.js accepts as a name, which it converts to camelCase."""
REGULARIZERS = ("L1L2", "l1l2")
DTYPES = ("float32", "int32", "bool", "string", "complex64")
"""Dtypes of inputs in TF.js."""


def _camel(name: str) -> str:
    """A name in camelCase, as TF.js looks it up."""
    return re.sub(r"_+(\w|$)", lambda part: part[1].upper(), name)


def _objects(config: Config, ending: str) -> list[Config]:
    return [
        value for key, value in config.items() if key.endswith(ending) and isinstance(value, dict)
    ]


def _names(config: Config, ending: str) -> list[str]:
    return [
        value for key, value in config.items() if key.endswith(ending) and isinstance(value, str)
    ]


def _has_object(ending: str) -> Predicate:
    return lambda _, config: bool(_objects(config, ending))


def _has(class_name: str, option: str) -> Predicate:
    return lambda entry, config: entry["class_name"] == class_name and option in config


def _has_calls(entry: Config, config: Config) -> bool:
    del config
    return any(isinstance(node, dict) for node in entry.get("inbound_nodes") or ())


def _has_brackets(entry: Config, config: Config) -> bool:
    del config
    nodes = entry.get("inbound_nodes")
    return isinstance(nodes, list) and calls(nodes, entry["class_name"]) != nodes


def _has_ends(entry: Config, config: Config) -> bool:
    del entry
    ends = [config[key] for key in ("input_layers", "output_layers") if key in config]
    return any(
        not isinstance(end, list) or not all(isinstance(item, list) for item in end) for end in ends
    )


def _unreadable(entry: Config, config: Config) -> bool:
    """Whether TF.js finds no shape in an InputLayer, or two shapes."""
    twice = config.get("batch_input_shape") is not None and not {
        "input_shape",
        "batch_size",
    }.isdisjoint(config)
    return entry["class_name"] == "InputLayer" and (input_shape(config) is None or twice)


def _has_keras_shape(entry: Config, config: Config) -> bool:
    return "batch_shape" in config and (_unreadable(entry, config) or input_shape(config) is None)


def _has_no_shape(entry: Config, config: Config) -> bool:
    """Whether TF.js finds no shape for the input of a Sequential."""
    if entry["class_name"] == "InputLayer":
        return _unreadable(entry, config) and "batch_shape" not in config
    if "input_layers" in config or not isinstance(config.get("layers"), list):
        return False
    first: Any = entry
    while isinstance(first, dict) and "layers" in first["config"]:
        if "input_layers" in first["config"]:
            return False
        first = next(iter(first["config"]["layers"]), None)
    return first is None or (
        first["class_name"] != "InputLayer" and input_shape(first["config"]) is None
    )


def _gives_input(entry: Config, config: Config) -> bool:
    return entry["class_name"] == "InputLayer" or input_shape(config) is not None


def _has_policy(entry: Config, config: Config) -> bool:
    del entry
    return isinstance(config.get("dtype"), dict)


def _has_foreign_dtype(entry: Config, config: Config) -> bool:
    dtype = config.get("dtype") or config.get("input_dtype")
    # an Embedding creates its weights with the dtype of its input
    known = ("float32",) if entry["class_name"] == "Embedding" else DTYPES
    return _gives_input(entry, config) and isinstance(dtype, str) and dtype not in known


def _has_foreign_activation(entry: Config, config: Config) -> bool:
    del entry
    return not all(map(is_activation, _objects(config, "activation")))


def _has_initializer(entry: Config, config: Config) -> bool:
    return bool(_objects(config, "_initializer")) or _has_foreign_initializer(entry, config)


def _has_foreign_initializer(entry: Config, config: Config) -> bool:
    del entry
    return any(
        each.get("class_name") not in INITIALIZERS or "untruncated" in str(each.get("config"))
        for each in _objects(config, "_initializer")
    ) or not NAMED.issuperset(map(_camel, _names(config, "_initializer")))


def _has_foreign_regularizer(entry: Config, config: Config) -> bool:
    del entry
    amounts = [
        each.get("config")
        for each in _objects(config, "_regularizer")
        if each.get("class_name") == "L1L2"
    ]
    # TF.js uses 0.01 for a missing amount
    complete = [each for each in amounts if isinstance(each, dict) and {"l1", "l2"} <= set(each)]
    named = any(name not in REGULARIZERS for name in _names(config, "_regularizer"))
    # TF.js throws on every activity regularizer
    return (
        named
        or bool(config.get("activity_regularizer"))
        or len(complete) < len(_objects(config, "_regularizer"))
    )


def _has_constraint(entry: Config, config: Config) -> bool:
    del entry
    return bool(_objects(config, "_constraint") or _names(config, "_constraint"))


@dataclass(frozen=True)
class Form:
    """Something that a TF.js model spells differently from Keras."""

    text: str  # what it is now, with a place for the number of layers
    holds: Predicate
    matters: Predicate | None = (
        None  # where TF.js fails on it or takes it for something else; None: wherever it holds
    )


FORMS = (
    Form("renamed batch_shape to batch_input_shape in {} layer(s)", _has_keras_shape),
    Form("moved the input shape to where TF.js reads it in {} layer(s)", _has_no_shape),
    Form("wrote the calls of {} layer(s) as nested lists", _has_calls),
    Form("corrected the brackets of the calls of {} layer(s)", _has_brackets),
    Form("wrote the inputs and outputs of {} model(s) as lists of lists", _has_ends),
    Form(
        "removed the dtype policy of {} layer(s)",
        _has_policy,
        lambda *of: _has_policy(*of) and _gives_input(*of),
    ),
    Form("changed the input dtype of {} layer(s) to one that TF.js supports", _has_foreign_dtype),
    Form(
        "wrote the activations of {} layer(s) as names",
        _has_object("activation"),
        _has_foreign_activation,
    ),
    Form(
        "wrote the initializers of {} layer(s) as Zeros, since their weights are loaded anyway",
        _has_initializer,
        _has_foreign_initializer,
    ),
    Form("wrote the regularizers of {} layer(s) in the format of TF.js", _has_foreign_regularizer),
    Form(
        "removed the constraints of {} layer(s), which TF.js would apply to the weights it loads",
        _has_constraint,
    ),
    Form(
        "renamed negative_slope to alpha in {} LeakyReLU layer(s)",
        _has("LeakyReLU", "negative_slope"),
    ),
)
"""What a Keras config contains that TF.js fails on, or misinterprets."""


def repair_plan(source: LayersModel, options: LayersOptions = LAYERS_DEFAULTS) -> TfjsPlan:
    """Plan the repair of a model, read as TF.js reads it, with all parts that are not supported.

    Raises:
        ReadError: config and weights do not belong together.
    """
    with well_formed(str(source.path)):
        problems = tuple(
            problem for each in entries_of(keyed(source.topology)) for problem in misspelled(each)
        )
    if problems:
        return TfjsPlan(
            target=tfjs.LAYERS, format="layers-model", writer=source.version, problems=problems
        )
    return planned(read_layers_model(source), options)


def changes_of(source: LayersModel, plan: TfjsPlan) -> tuple[str, ...]:
    """What has to change for TF.js to load the model and compute the same; empty if nothing does."""
    with well_formed(str(source.path)):  # what TF.js reads and Keras does not may be of any form
        return _changes_of(source, plan)


def _changes_of(source: LayersModel, plan: TfjsPlan) -> tuple[str, ...]:
    before, after = keyed(source.topology), plan.document["modelTopology"]["model_config"]
    entries = list(entries_of(before))
    counts = {form: sum(form.holds(each, each["config"]) for each in entries) for form in FORMS}
    others = [
        *_changed_options(before, after, plan),
        *_changed_training(
            source.document.get("trainingConfig"), plan.document.get("trainingConfig")
        ),
        *_changed_weights(source.manifest, plan),
        *_changed_layers(list(entries_of(respelled(before))), plan),
    ]
    if not others and not any(
        (form.matters or form.holds)(each, each["config"]) for form in FORMS for each in entries
    ):
        return ()
    return (*(form.text.format(count) for form, count in counts.items() if count), *others)


# Options that are compared elsewhere, or concern training only; FORMS has those that matter.
UNCOMPARED = re.compile(
    r"name|trainable|dtype|sparse|layer|layers|cell|cells|\w+_layers|\w+_(initializer|regularizer)|batch_input_shape"
)


def _changed_options(before: Config, after: Config, plan: TfjsPlan) -> Iterator[str]:
    """Classes and options that TF.js misinterprets or does not know."""
    counts: Counter[str] = Counter()
    rewritten = {
        layer.path.rpartition("/")[2] for layer in plan.layers if layer.outcome == "rewritten"
    }
    if rewritten:
        yield f"replaced {len(rewritten)} layer(s) with other layers that TF.js has"
    for old, new in _pairs(before, after):
        if old["config"].get("name") in rewritten:
            continue
        if old["class_name"] not in (new["class_name"], "Model"):
            counts[f"replaced {legible(old['class_name'], SHORT)} with {new['class_name']}"] += 1
            continue
        native = NATIVE.get(new["class_name"])
        for option, value in new["config"].items():
            if UNCOMPARED.fullmatch(option) or (native and option in native.always):
                continue
            if not _alike(new["class_name"], option, old["config"], value):
                was = quoted(old["config"][option]) if option in old["config"] else "missing"
                counts[f"changed {option} from {was} to {value!r}"] += 1
    yield from (f"{text} in {count} layer(s)" for text, count in counts.items())


def _pairs(before: Config, after: Config) -> Iterator[tuple[Config, Config]]:
    """Every layer that both models contain: its old and its new config."""
    pending: list[tuple[Any, Any]] = [(before, after)]
    while pending:
        old, new = pending.pop()
        if "layers" not in new["config"]:
            yield old, new
        parts = {each["config"].get("name"): each for each in old["config"].get("layers") or ()}
        inside = [
            (parts.get(each["config"].get("name")), each)
            for each in new["config"].get("layers") or ()
        ]
        inside += [(old["config"].get(key), new["config"].get(key)) for key in ("layer", "cell")]
        inside += zip(
            old["config"].get("cells") or (), new["config"].get("cells") or (), strict=False
        )
        pending += [pair for pair in inside if all(isinstance(each, dict) for each in pair)]


def _alike(class_name: str, option: str, config: Config, new: Any) -> bool:
    """Whether TF.js reads an option of the old config as the new value."""
    if option not in config:
        defaults = LAYERS[class_name].defaults if class_name in LAYERS else {}
        # the default in TF.js is hard_sigmoid
        return option != "recurrent_activation" and new == _listed(defaults.get(option, new))
    old = config[option]
    if option.endswith("activation"):
        if old is None:  # which is tanh in recurrent layers
            return bool(new == "linear") and "return_sequences" not in config
        return isinstance(old, dict) or _camel(str(old)) == _camel(str(new))
    if option == "axis":
        # TF.js supports -1 and axes counted from the front; Keras 2 wrote lists such as [3]
        at = old[0] if isinstance(old, list) and len(old) == 1 and old[0] != -1 else old
        return bool(old == new) or (isinstance(at, int) and at >= -1)
    if isinstance(new, list) and isinstance(old, int):
        old = [old] * len(new)
    return bool(old == new)


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _changed_training(theirs: Any, ours: Any) -> Iterator[str]:
    if theirs not in (None, ours):
        in_format = "wrote trainingConfig in the format of TF.js"
        yield in_format if ours else "removed trainingConfig, which affects only training"


def _changed_layers(entries: Sequence[Config], plan: TfjsPlan) -> Iterator[str]:
    removed = [layer.path for layer in plan.layers if layer.outcome == "removed"]
    if removed:
        yield f"removed {len(removed)} layer(s) that do nothing at inference: {', '.join(removed)}"
    for layer in plan.layers:
        if layer.outcome == "companion":
            yield f"layer {quoted(layer.path)} needs the companion script: {layer.reason}"
    written = list(entries_of(plan.document["modelTopology"]))
    made = {
        str(each["config"]["name"])
        for each in written[1:]  # the first is the model
        if "name" in each["config"] and each["class_name"] != "InputLayer"
    }
    there = {str(each["config"].get("name")) for each in entries}
    renamed = set(plan.renamed.values())
    if renamed & made:
        yield f"renamed {len(renamed & made)} layer(s)"
    if added := sorted(made - there - renamed):
        yield f"added {len(added)} layer(s) for what TF.js does not have or confuses: {', '.join(added)}"
    before, after = _references(entries), _references(written)
    if any(before[name] != after[name] for name in before if name in after):
        yield "numbered the calls as TF.js does"


def _references(entries: Sequence[Config]) -> dict[tuple[str, str], list[Any]]:
    """References to layer, node and output, by the layer that refers and the key that holds the list."""
    return {
        (str(each["config"].get("name")), key): [_triples(item) for item in values]
        for each in entries
        for key, values in (*each.items(), *each["config"].items())
        if key in ("inbound_nodes", "input_layers", "output_layers") and isinstance(values, list)
        if all(isinstance(item, list) for item in values)
    }


def _triples(value: list[Any]) -> Any:
    """A reference without the arguments of the call, or a list of references."""
    return [_triples(item) for item in value] if value and isinstance(value[0], list) else value[:3]


def _changed_weights(manifest: Manifest, plan: TfjsPlan) -> Iterator[str]:
    names = {weight: name for name, weight in plan.weights.items()}
    entries = manifest.entries
    renamed = [
        (entry.name, names[entry.weight])
        for entry in entries
        if entry.weight in names and not _finds(entry.name, names[entry.weight])
    ]
    if renamed:
        yield "renamed {} weight(s), such as {!r} to {!r}".format(len(renamed), *renamed[0])
    stored = {entry.weight for entry in entries}
    unused = [entry.name for entry in entries if entry.weight not in names]
    computed = sum(weight not in stored for weight in names)
    if computed:
        yield f"computed {computed} weight(s) anew"
    elif unused:
        yield f"removed {len(unused)} weight(s) that belong to no layer, such as {quoted(unused[0])}"
    unreadable = [entry.described["dtype"] for entry in entries if not entry.readable]
    if unreadable:
        yield f"changed the dtype of {len(unreadable)} weight(s) to one that TF.js reads, such as {unreadable[0]}"


def _finds(stored: str, wanted: str) -> bool:
    """Whether TF.js finds a weight by a stored name: it may skip the second to last part of the name."""
    parts = stored.split("/")
    return wanted in (stored, "/".join([*parts[:-2], *parts[-1:]]))


def manifest_as_it_is(manifest: Manifest, plan: TfjsPlan) -> list[dict[str, Any]] | None:
    """The manifest with new names; None if bytes of the shards have to change."""
    names = {weight: name for name, weight in plan.weights.items()}
    entries = manifest.entries
    if len(names) < len(plan.weights) or {entry.weight for entry in entries} != set(names):
        return None
    if not all(entry.readable for entry in entries):
        return None
    return [
        {
            "paths": [file.name for file in group.files],
            "weights": [
                {"name": names[entry.weight], **entry.described} for entry in group.entries
            ],
        }
        for group in manifest.groups
    ]


# ------------------------------------------------------------------------------------------------- writing


def write_repaired(
    source: LayersModel, plan: TfjsPlan, out: Path | None, *, force: bool
) -> tuple[tuple[str, ...], str]:
    """Write the plan to the directory `out`, or in place; returns the files and the name of the backup."""
    plan = replace(plan, metadata=_metadata(source))
    if out is None:
        return _in_place(source, plan, force=force)
    check_free(out, force=force, sources=[source.path])
    kept = manifest_as_it_is(source.manifest, plan)
    with replacing(out, force=force) as directory:
        if kept is None:
            written = write_weights(plan.weights, directory)
        else:
            shards = [file for group in source.manifest.groups for file in group.files]
            for shard in shards:
                shutil.copyfile(shard, directory / shard.name)
            written = Written(kept, tuple(shard.name for shard in shards), 0)
        files, _ = write_around(plan, written, directory)
    return files, ""


def copy_unchanged(source: LayersModel, out: Path, *, force: bool) -> tuple[str, ...]:
    """Copy a model and its companion to the directory `out`; returns the names of the files."""
    check_free(out, force=force, sources=[source.path])
    shards = [file for group in source.manifest.groups for file in group.files]
    companion = source.path.with_name(COMPANION.name)
    # a symbolic link may point outside the directory
    scripts = [
        file for file in (companion, typings(companion)) if file.is_file() and not file.is_symlink()
    ]
    with replacing(out, force=force) as directory:
        shutil.copyfile(source.path, directory / "model.json")
        for file in (*shards, *scripts):
            shutil.copyfile(file, directory / file.name)
    return ("model.json", *(file.name for file in (*shards, *scripts)))


def _in_place(source: LayersModel, plan: TfjsPlan, *, force: bool) -> tuple[tuple[str, ...], str]:
    """Write new shards next to the old ones, then replace model.json atomically, so the model is always complete."""
    path = source.path
    backup = path.with_name(path.name + BACKUP)
    if backup.exists() and not force:
        raise OutputExistsError(
            f"{backup}: already exists; move it away, or use --force to replace it"
        )
    made = hidden(path)
    made.mkdir()
    placed: list[Path] = []
    try:
        kept = manifest_as_it_is(source.manifest, plan)
        written = (
            Written(kept, (), 0)
            if kept is not None
            else write_weights(plan.weights, made, stem=STEM)
        )
        (model, *others), _ = write_around(plan, written, made)
        (made / model).replace(made / path.name)
        shutil.copyfile(path, made / backup.name)
        for name in (*others, backup.name):
            place = path.parent / name
            placed += [] if place.exists() else [place]
            (made / name).replace(place)
        (made / path.name).replace(path)
    except BaseException:
        for file in placed:
            file.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return (path.name, *others), os.fspath(backup)


def _metadata(source: LayersModel) -> dict[str, Any]:
    """The user's metadata, and the converter that wrote the model."""
    theirs = source.document.get("userDefinedMetadata")
    return {
        **(theirs if isinstance(theirs, dict) else {}),
        "kerasport": {"repaired": source.converter},
    }
