"""Repair a layers-model in place, with a backup of the old model.json, or in a new directory."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasport.errors import SHORT, OutputExistsError, Problem, legible, quoted
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.read import well_formed
from kerasport.frontends.keras.read.layers_model import LayersModel, entries_of, read_layers_model
from kerasport.frontends.keras.read.manifest import Group, Manifest
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
STEM = "repaired-"
"""Prefix of new shards, which lie next to the old ones that the backup needs."""

# ------------------------------------------------------------------------------------ what is wrong

Config = Mapping[str, Any]
Predicate = Callable[[Config, Config], bool]
"""A condition on a layer and its config."""

INITIALIZERS = frozenset(
    ("Zeros", "Ones", "Constant", "Identity", "RandomUniform", "RandomNormal", "TruncatedNormal",
     "VarianceScaling", "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LeCunUniform",
     "LeCunNormal", "Orthogonal")
)  # fmt: skip
"""Initializers of TF.js, which loads no model with another one."""
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
    return not all(map(_is_list_of_lists, ends))


def _is_list_of_lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, list) for item in value)


def _unreadable(entry: Config, config: Config) -> bool:
    """Whether TF.js finds no shape in an InputLayer, or two shapes."""
    other = not {"input_shape", "batch_size"}.isdisjoint(config)
    twice = config.get("batch_input_shape") is not None and other
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
    names = map(_camel, _names(config, "_initializer"))
    foreign = any(
        initializer.get("class_name") not in INITIALIZERS
        or "untruncated" in str(initializer.get("config"))
        for initializer in _objects(config, "_initializer")
    )
    return foreign or not NAMED.issuperset(names)


def _has_foreign_regularizer(entry: Config, config: Config) -> bool:
    del entry
    regularizers = _objects(config, "_regularizer")
    complete = [regularizer for regularizer in regularizers if _is_complete(regularizer)]
    named = any(name not in REGULARIZERS for name in _names(config, "_regularizer"))
    # TF.js throws on every activity regularizer
    return named or bool(config.get("activity_regularizer")) or len(complete) < len(regularizers)


def _is_complete(regularizer: Config) -> bool:
    """Whether a regularizer has both amounts; TF.js uses 0.01 for a missing one."""
    amounts = regularizer.get("config")
    return (
        regularizer.get("class_name") == "L1L2"
        and isinstance(amounts, dict)
        and {"l1", "l2"} <= set(amounts)
    )


def _has_constraint(entry: Config, config: Config) -> bool:
    del entry
    return bool(_objects(config, "_constraint") or _names(config, "_constraint"))


@dataclass(frozen=True)
class Form:
    """Something that a TF.js model spells differently from Keras."""

    text: str
    """What the repair did, with a placeholder for the number of layers."""
    holds: Predicate
    """Whether a layer has the form."""
    matters: Predicate | None = None
    """Whether TF.js fails on the form, or misinterprets it; by default wherever it holds."""


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
    """Plan the repair of a model, which is read as TF.js reads it.

    Raises:
        ReadError: config and weights do not belong together.
    """
    with well_formed(str(source.path)):
        problems: tuple[Problem, ...] = ()
        for entry in entries_of(keyed(source.topology)):
            problems += tuple(misspelled(entry))
    if problems:
        return TfjsPlan(
            target=tfjs.LAYERS, format="layers-model", writer=source.version, problems=problems
        )
    return planned(read_layers_model(source), options)


def changes_of(source: LayersModel, plan: TfjsPlan) -> tuple[str, ...]:
    """The changes that TF.js needs to load the model and compute the same; empty if none."""
    # parts that TF.js reads and Keras does not can have any structure
    with well_formed(str(source.path)):
        return _changes_of(source, plan)


def _changes_of(source: LayersModel, plan: TfjsPlan) -> tuple[str, ...]:
    before, after = keyed(source.topology), plan.document["modelTopology"]["model_config"]
    entries = list(entries_of(before))
    counts = {form: _count(form.holds, entries) for form in FORMS}
    others = [
        *_changed_options(before, after, plan),
        *_changed_training(
            source.document.get("trainingConfig"), plan.document.get("trainingConfig")
        ),
        *_changed_weights(source.manifest, plan),
        *_changed_layers(list(entries_of(respelled(before))), plan),
    ]
    matters = any(_count(form.matters or form.holds, entries) for form in FORMS)
    if not others and not matters:
        return ()
    return (*(form.text.format(count) for form, count in counts.items() if count), *others)


def _count(holds: Predicate, entries: Sequence[Config]) -> int:
    """The number of layers for which a condition holds."""
    return sum(holds(entry, entry["config"]) for entry in entries)


UNCOMPARED = re.compile(
    r"name|trainable|dtype|sparse|layer|layers|cell|cells|\w+_layers|batch_input_shape"
    r"|\w+_(initializer|regularizer)"
)
"""Options that `FORMS` covers, or that affect training only."""


def _changed_options(before: Config, after: Config, plan: TfjsPlan) -> Iterator[str]:
    """Classes and options that TF.js misinterprets or lacks."""
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
        parts = {layer["config"].get("name"): layer for layer in old["config"].get("layers") or ()}
        inside = [
            (parts.get(layer["config"].get("name")), layer)
            for layer in new["config"].get("layers") or ()
        ]
        inside += [(old["config"].get(key), new["config"].get(key)) for key in ("layer", "cell")]
        inside += zip(
            old["config"].get("cells") or (), new["config"].get("cells") or (), strict=False
        )
        pending += [
            pair for pair in inside if isinstance(pair[0], dict) and isinstance(pair[1], dict)
        ]


def _alike(class_name: str, option: str, config: Config, new: Any) -> bool:
    """Whether TF.js reads an option of the old config as the new value."""
    if option not in config:
        defaults = LAYERS[class_name].defaults if class_name in LAYERS else {}
        # the default in TF.js is hard_sigmoid
        return option != "recurrent_activation" and new == _listed(defaults.get(option, new))
    old = config[option]
    if option.endswith("activation"):
        if old is None:
            # recurrent layers of TF.js use tanh for it
            return bool(new == "linear") and "return_sequences" not in config
        return isinstance(old, dict) or _camel(str(old)) == _camel(str(new))
    if option == "axis":
        return bool(old == new) or _is_axis_of_tfjs(old)
    if isinstance(new, list) and isinstance(old, int):
        old = [old] * len(new)
    return bool(old == new)


def _is_axis_of_tfjs(axis: Any) -> bool:
    """Whether TF.js supports an axis: -1, or one counted from the front.

    Keras 2 wrote lists such as [3].
    """
    if isinstance(axis, list) and len(axis) == 1 and axis[0] != -1:
        axis = axis[0]
    return isinstance(axis, int) and axis >= -1


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _changed_training(theirs: Any, ours: Any) -> Iterator[str]:
    if theirs not in (None, ours):
        in_format = "wrote trainingConfig in the format of TF.js"
        yield in_format if ours else "removed trainingConfig, which affects only training"


def _changed_layers(entries: Sequence[Config], plan: TfjsPlan) -> Iterator[str]:
    removed = [layer.path for layer in plan.layers if layer.outcome == "removed"]
    if removed:
        names = ", ".join(removed)
        yield f"removed {len(removed)} layer(s) that do nothing at inference: {names}"
    for layer in plan.layers:
        if layer.outcome == "companion":
            yield f"layer {quoted(layer.path)} needs the companion script: {layer.reason}"
    written = list(entries_of(plan.document["modelTopology"]))
    # the first is the model
    new = {
        str(entry["config"]["name"])
        for entry in written[1:]
        if "name" in entry["config"] and entry["class_name"] != "InputLayer"
    }
    old = {str(entry["config"].get("name")) for entry in entries}
    renamed = set(plan.renamed.values())
    if renamed & new:
        yield f"renamed {len(renamed & new)} layer(s)"
    if added := sorted(new - old - renamed):
        names = ", ".join(added)
        yield f"added {len(added)} layer(s) that TF.js needs for the same results: {names}"
    before, after = _references(entries), _references(written)
    if any(before[name] != after[name] for name in before if name in after):
        yield "numbered the calls as TF.js does"


def _references(entries: Sequence[Config]) -> dict[tuple[str, str], list[Any]]:
    """Layer and key of a list → the references (layer, node, output) in the list."""
    references = {}
    for entry in entries:
        for key, values in (*entry.items(), *entry["config"].items()):
            is_list = key in ("inbound_nodes", "input_layers", "output_layers")
            if is_list and _is_list_of_lists(values):
                name = str(entry["config"].get("name"))
                references[name, key] = [_triples(item) for item in values]
    return references


def _triples(value: list[Any]) -> Any:
    """A reference without call arguments, or a list of references."""
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
        yield f"recomputed {computed} weight(s)"
    elif unused:
        example = quoted(unused[0])
        yield f"removed {len(unused)} weight(s) that belong to no layer, such as {example}"
    unreadable = [entry.described["dtype"] for entry in entries if not entry.readable]
    if unreadable:
        yield (
            f"changed the dtype of {len(unreadable)} weight(s) to one that TF.js reads, such as "
            f"{unreadable[0]}"
        )


def _finds(stored: str, wanted: str) -> bool:
    """Whether TF.js finds a weight by a stored name, of which it may skip the second last part."""
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
    return [_manifest_group(group, names) for group in manifest.groups]


def _manifest_group(group: Group, names: Mapping[Any, str]) -> dict[str, Any]:
    """A group of the manifest, with new names of weights."""
    return {
        "paths": [file.name for file in group.files],
        "weights": [{"name": names[entry.weight], **entry.described} for entry in group.entries],
    }


# ------------------------------------------------------------------------------------------ writing


def write_repaired(
    source: LayersModel, plan: TfjsPlan, out: Path | None, *, force: bool
) -> tuple[tuple[str, ...], str]:
    """Write the plan to the directory `out`, or in place.

    Returns the names of the files, and that of the backup.
    """
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
    """Write new shards next to the old ones, then replace model.json.

    The replacement is atomic, so the model is complete at all times.
    """
    path = source.path
    backup = path.with_name(path.name + BACKUP)
    if backup.exists() and not force:
        raise OutputExistsError(
            f"{backup}: already exists; move it away, or use --force to replace it"
        )
    staging = hidden(path)
    staging.mkdir()
    placed: list[Path] = []
    try:
        kept = manifest_as_it_is(source.manifest, plan)
        written = (
            Written(kept, (), 0)
            if kept is not None
            else write_weights(plan.weights, staging, stem=STEM)
        )
        (model, *others), _ = write_around(plan, written, staging)
        (staging / model).replace(staging / path.name)
        shutil.copyfile(path, staging / backup.name)
        for name in (*others, backup.name):
            place = path.parent / name
            placed += [] if place.exists() else [place]
            (staging / name).replace(place)
        (staging / path.name).replace(path)
    except BaseException:
        for file in placed:
            file.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return (path.name, *others), os.fspath(backup)


def _metadata(source: LayersModel) -> dict[str, Any]:
    """The user's metadata, and the converter that wrote the model."""
    theirs = source.document.get("userDefinedMetadata")
    return {
        **(theirs if isinstance(theirs, dict) else {}),
        "kerasport": {"repaired": source.converter},
    }
