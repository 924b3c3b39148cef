"""A layers-model made right: in place, with the former model.json beside it, or as another directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasport.errors import OutputExistsError, quoted
from kerasport.read.layers_model import LayersModel, entries_of
from kerasport.read.manifest import Manifest
from kerasport.targets.directory import check_free, hidden, replacing
from kerasport.targets.plan import Plan, write_around
from kerasport.targets.weights import Written, write_weights

BACKUP = ".bak"
STEM = "repaired-"  # of shards that stand beside those which the backup needs

# ------------------------------------------------------------------------------------------- what is wrong

Config = Mapping[str, Any]
Predicate = Callable[[Config, Config], bool]  # of a layer and its config

# Those of TF.js; any other stops it from loading, though they shape training only.
INITIALIZERS = frozenset(
    ("Zeros", "Ones", "Constant", "Identity", "RandomUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling",
     "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LeCunUniform", "LeCunNormal", "Orthogonal")
)  # fmt: skip


def _objects(config: Config, ending: str) -> list[Config]:
    return [value for key, value in config.items() if key.endswith(ending) and isinstance(value, dict)]


def _has_object(ending: str) -> Predicate:
    return lambda _, config: bool(_objects(config, ending))


def _has(class_name: str, option: str) -> Predicate:
    return lambda entry, config: entry["class_name"] == class_name and option in config


def _has_calls(entry: Config, config: Config) -> bool:
    del config
    return any(isinstance(node, dict) for node in entry.get("inbound_nodes") or ())


def _has_ends(entry: Config, config: Config) -> bool:
    del entry
    ends = [config[key] for key in ("input_layers", "output_layers") if key in config]
    return any(not isinstance(end, list) or not all(isinstance(item, list) for item in end) for end in ends)


def _has_foreign_initializer(entry: Config, config: Config) -> bool:
    del entry
    return any(
        each.get("class_name") not in INITIALIZERS or "untruncated" in str(each.get("config"))
        for each in _objects(config, "_initializer")
    )


def _has_foreign_regularizer(entry: Config, config: Config) -> bool:
    del entry
    amounts = [each.get("config") for each in _objects(config, "_regularizer") if each.get("class_name") == "L1L2"]
    # TF.js takes what is missing for 0.01
    complete = [each for each in amounts if isinstance(each, dict) and {"l1", "l2"} <= set(each)]
    return len(complete) < len(_objects(config, "_regularizer"))


@dataclass(frozen=True)
class Form:
    """Something that is written otherwise in a model of TF.js."""

    text: str  # what it is now, with a place for the number of layers
    holds: Predicate
    matters: Predicate | None = None  # where TF.js fails on it or takes it for something else; None: wherever it holds


FORMS = (
    Form("batch_shape is batch_input_shape now, in {} layer(s)", _has("InputLayer", "batch_shape")),
    Form("calls are nested lists now, of {} layer(s)", _has_calls),
    Form("inputs and outputs are lists of lists now, in {} model(s)", _has_ends),
    Form("dtype policies are gone, from {} layer(s)", lambda _, config: isinstance(config.get("dtype"), dict)),
    Form("activations are names now, in {} layer(s)", _has_object("activation")),
    Form(
        "initializers are Zeros now, in {} layer(s), whose weights are loaded anyway",
        _has_object("_initializer"),
        _has_foreign_initializer,
    ),
    Form("regularizers are those of TF.js now, in {} layer(s)", _has_foreign_regularizer),
    Form("negative_slope is alpha now, in {} LeakyReLU", _has("LeakyReLU", "negative_slope")),
)
"""What a config of Keras holds and TF.js fails on, or takes for something else."""


def changes_of(source: LayersModel, plan: Plan) -> tuple[str, ...]:
    """What must change for TF.js to load the model and compute the same; nothing where it does so already."""
    entries = list(entries_of(source.topology))
    counts = {form: sum(form.holds(each, each["config"]) for each in entries) for form in FORMS}
    others = [*_changed_weights(source.manifest, plan), *_changed_layers(entries, plan)]
    if not others and not any((form.matters or form.holds)(each, each["config"]) for form in FORMS for each in entries):
        return ()
    return (*(form.text.format(count) for form, count in counts.items() if count), *others)


def _changed_layers(entries: Sequence[Config], plan: Plan) -> Iterator[str]:
    removed = [layer.path for layer in plan.layers if layer.outcome == "removed"]
    if removed:
        yield f"{len(removed)} layer(s) that do nothing at inference are gone: {', '.join(removed)}"
    for layer in plan.layers:
        if layer.outcome == "companion":
            yield f"layer {quoted(layer.path)} needs the companion: {layer.reason}"
    written = list(entries_of(plan.document["modelTopology"]))
    made = {
        str(each["config"]["name"])
        for each in written
        if "name" in each["config"] and each["class_name"] != "InputLayer"
    }
    there = {str(each["config"].get("name")) for each in entries}
    renamed = set(plan.renamed.values())
    if renamed & made:
        yield f"{len(renamed & made)} layer(s) have other names now"
    if added := sorted(made - there - renamed):
        yield f"{len(added)} layer(s) are added, for what TF.js lacks or confuses: {', '.join(added)}"
    before, after = _references(entries), _references(written)
    if any(before[name] != after[name] for name in before if name in after):
        yield "calls are numbered as TF.js numbers them now"


def _references(entries: Sequence[Config]) -> dict[tuple[str, str], list[Any]]:
    """Layer, node and output of everything that is referred to in lists; by who refers to it, and where."""
    return {
        (str(each["config"].get("name")), key): [_triples(item) for item in values]
        for each in entries
        for key, values in (*each.items(), *each["config"].items())
        if key in ("inbound_nodes", "input_layers", "output_layers") and isinstance(values, list)
        if all(isinstance(item, list) for item in values)
    }


def _triples(value: list[Any]) -> Any:
    """A reference without arguments of the call, or a list of such."""
    return [_triples(item) for item in value] if value and isinstance(value[0], list) else value[:3]


def _changed_weights(manifest: Manifest, plan: Plan) -> Iterator[str]:
    names = {weight: name for name, weight in plan.weights.items()}
    entries = manifest.entries
    renamed = [
        (entry.name, names[entry.weight])
        for entry in entries
        if entry.weight in names and not _finds(entry.name, names[entry.weight])
    ]
    if renamed:
        yield "{} weight(s) have other names now, such as {!r}: {!r}".format(len(renamed), *renamed[0])
    stored = {entry.weight for entry in entries}
    unused = [entry.name for entry in entries if entry.weight not in names]
    computed = sum(weight not in stored for weight in names)
    if computed:
        yield f"{computed} weight(s) are worked out anew"
    elif unused:
        yield f"{len(unused)} weight(s) that no layer has are gone, such as {quoted(unused[0])}"
    unreadable = [entry.described["dtype"] for entry in entries if not entry.readable]
    if unreadable:
        yield f"{len(unreadable)} weight(s) are of a dtype that TF.js reads now, such as {unreadable[0]}"


def _finds(stored: str, wanted: str) -> bool:
    """Whether TF.js takes a weight of a name for the one it looks for: it may leave out the last part but one."""
    parts = stored.split("/")
    return wanted in (stored, "/".join([*parts[:-2], *parts[-1:]]))


def manifest_as_it_is(manifest: Manifest, plan: Plan) -> list[dict[str, Any]] | None:
    """The manifest with the new names, where no byte of the shards must change; else None."""
    names = {weight: name for name, weight in plan.weights.items()}
    entries = manifest.entries
    if len(names) < len(plan.weights) or {entry.weight for entry in entries} != set(names):
        return None
    if not all(entry.readable for entry in entries):
        return None
    return [
        {
            "paths": [file.name for file in group.files],
            "weights": [{"name": names[entry.weight], **entry.described} for entry in group.entries],
        }
        for group in manifest.groups
    ]


# ------------------------------------------------------------------------------------------------- writing


def write_repaired(source: LayersModel, plan: Plan, out: Path | None, *, force: bool) -> tuple[tuple[str, ...], str]:
    """Write the plan to the directory `out`, or in place; gives the files written, and the name of the backup."""
    plan = replace(plan, metadata=_metadata(source))
    if out is None:
        return _in_place(source, plan, force=force)
    check_free(out, force=force, sources=[source.path])
    kept = manifest_as_it_is(source.manifest, plan)
    with replacing(out) as directory:
        if kept is None:
            written = write_weights(plan.weights, directory)
        else:
            shards = [file for group in source.manifest.groups for file in group.files]
            for shard in shards:
                shutil.copyfile(shard, directory / shard.name)
            written = Written(kept, tuple(shard.name for shard in shards), 0)
        files, _ = write_around(plan, written, directory)
    return files, ""


def _in_place(source: LayersModel, plan: Plan, *, force: bool) -> tuple[tuple[str, ...], str]:
    """New shards first, beside the old ones, and model.json in one step at the end: the model is whole all the time."""
    path = source.path
    backup = path.with_name(path.name + BACKUP)
    if backup.exists() and not force:
        raise OutputExistsError(f"{backup}: is there already; move it away, or give --force to replace it")
    made = hidden(path)
    made.mkdir()
    placed: list[Path] = []
    try:
        kept = manifest_as_it_is(source.manifest, plan)
        written = Written(kept, (), 0) if kept is not None else write_weights(plan.weights, made, stem=STEM)
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
    """The user's own metadata, and what made the model before."""
    theirs = source.document.get("userDefinedMetadata")
    return {**(theirs if isinstance(theirs, dict) else {}), "kerasport": {"repaired": source.converter}}
