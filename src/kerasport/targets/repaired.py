"""A layers-model made right: in place, with the former model.json beside it, or as another directory."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasport.errors import OutputExistsError
from kerasport.read.layers_model import LayersModel, entries_of
from kerasport.read.manifest import Manifest
from kerasport.targets.directory import check_free, replacing
from kerasport.targets.plan import Plan, write_around
from kerasport.targets.weights import Written, write_weights

BACKUP = ".bak"
STEM = "repaired-"  # of shards that stand beside those which the backup needs

# ------------------------------------------------------------------------------------------- what is wrong

Config = Mapping[str, Any]


def _has_object(*endings: str) -> Callable[[Config, Config], bool]:
    return lambda _, config: any(isinstance(config.get(key), dict) for key in config if key.endswith(endings))


def _is(class_name: str, option: str) -> Callable[[Config, Config], bool]:
    return lambda entry, config: entry["class_name"] == class_name and option in config


def _has_calls(entry: Config, config: Config) -> bool:
    del config
    return any(isinstance(node, dict) for node in entry.get("inbound_nodes") or ())


def _has_ends(entry: Config, config: Config) -> bool:
    del entry
    ends = [config[key] for key in ("input_layers", "output_layers") if key in config]
    return any(not isinstance(end, list) or not all(isinstance(item, list) for item in end) for end in ends)


FORMS: tuple[tuple[str, Callable[[Config, Config], bool]], ...] = (
    ("batch_shape is batch_input_shape now, in {} layer(s)", _is("InputLayer", "batch_shape")),
    ("calls are nested lists now, of {} layer(s)", _has_calls),
    ("inputs and outputs are lists of lists now, in {} model(s)", _has_ends),
    ("dtype policies are gone, from {} layer(s)", lambda _, config: isinstance(config.get("dtype"), dict)),
    ("activations are names now, in {} layer(s)", _has_object("activation")),
    ("initializers are Zeros now, in {} layer(s), whose weights are loaded anyway", _has_object("_initializer")),
    ("regularizers are those of TF.js now, in {} layer(s)", _has_object("_regularizer")),
    ("negative_slope is alpha now, in {} LeakyReLU", _is("LeakyReLU", "negative_slope")),
)
"""What Keras 3 writes and TF.js does not read; what it is given, and by what it is known."""


def changes_of(source: LayersModel, plan: Plan) -> tuple[str, ...]:
    """What must change for TF.js to load the model and compute the same."""
    counts = Counter(
        text for entry in entries_of(source.topology) for text, holds in FORMS if holds(entry, entry["config"])
    )
    changes = [text.format(counts[text]) for text, _ in FORMS if counts[text]]
    changes += _changed_weights(source.manifest, plan)
    removed = [layer.path for layer in plan.layers if layer.outcome == "removed"]
    if removed:
        changes.append(f"{len(removed)} layer(s) that do nothing at inference are gone: {', '.join(removed)}")
    changes += [
        f"layer {layer.path!r} needs the companion: {layer.reason}"
        for layer in plan.layers
        if layer.outcome == "companion"
    ]
    return tuple(changes) or ("the topology is spelled as TF.js spells it now",)


def _changed_weights(manifest: Manifest, plan: Plan) -> Iterator[str]:
    names = {weight: name for name, weight in plan.weights.items()}
    entries = manifest.entries
    renamed = [
        (entry.name, names[entry.weight]) for entry in entries if names.get(entry.weight, entry.name) != entry.name
    ]
    if renamed:
        yield "{} weight(s) have other names now, such as {!r}: {!r}".format(len(renamed), *renamed[0])
    unused = [entry.name for entry in entries if entry.weight not in names]
    computed = sum(weight not in {entry.weight for entry in entries} for weight in names)
    if computed:
        yield f"{computed} weight(s) are worked out anew"
    elif unused:
        yield f"{len(unused)} weight(s) that no layer has are gone, such as {unused[0]!r}"
    unreadable = [entry.described["dtype"] for entry in entries if not entry.readable]
    if unreadable:
        yield f"{len(unreadable)} weight(s) are of a dtype that TF.js reads now, such as {unreadable[0]}"


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
    check_free(out, force=force, source=source.path)
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
    made = path.parent / f".{path.name}.{secrets.token_hex(4)}"
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
