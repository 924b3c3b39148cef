"""Hostile sizes, symbolic links, and outputs that must stay complete or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests import forged
from tests.forged import (
    BIAS,
    KERNEL,
    Json,
    cost,
    functional,
    given,
    hdf5,
    keras,
    layer,
    no_weights,
    outcome,
    put,
    refused,
    sequential,
    tensor,
    text_of,
    unzipped,
)  # fmt: skip
from tests.hostile import CONFIG, between, chained, each, relu

import kerasport
from kerasport.errors import (
    HostileFileError,
    KerasportError,
    OutputExistsError,
    ReadError,
    WriteError,
)
from kerasport.frontends.keras.read.hdf5 import Hdf5

# --------------------------------------------------------------------------------------------- size


def nested(depth: int) -> Json:
    model = functional(given("i"), relu("r", "i"), inputs="i", outputs="r", name="m")
    for number in range(depth):
        inner = {**model, "inbound_nodes": [{"args": [tensor(f"i{number}")], "kwargs": {}}]}
        model = functional(
            given(f"i{number}"),
            inner,
            inputs=f"i{number}",
            outputs=model["config"]["name"],
            name=f"m{number}",
        )
    return model


def doubled(count: int) -> Json:
    """Models that hold the one before twice, each written once."""
    model = sequential(given("i"), relu(), name="m", shared_object_id=1)
    for number in range(count):
        again = {"class_name": "Sequential", "shared_object_id": number + 1, "config": {}}
        halves = [
            sequential(given(f"{i}{number}"), half, name=f"{i}{number}h")
            for i, half in (("a", model), ("b", again))
        ]
        model = sequential(
            given(f"i{number}"), *halves, name=f"m{number}", shared_object_id=number + 2
        )
    return model


def wrapped(depth: int, count: int) -> Json:
    """Models in wrappers in models, with so many layers in the innermost."""
    shape = [None, 1, 4]
    model = functional(given("x", shape), *chained(count), outputs=f"r{count - 1}", name="m")
    for number in range(depth):
        shape = [None, 1, *shape[1:]]
        each = layer("TimeDistributed", f"t{number}", "x", layer=model, dtype="float32")
        model = functional(given("x", shape), each, outputs=f"t{number}", name=f"m{number}")
    return model


def functions(count: int) -> Json:
    """A row of functions, each of which takes several layers of TF.js."""
    made = [
        layer("Absolute", f"a{i}", module="keras.src.ops.numpy")
        | {"inbound_nodes": [{"args": [tensor(f"a{i - 1}" if i else "x")], "kwargs": {}}]}
        for i in range(count)
    ]
    return functional(given(), *made, outputs=f"a{count - 1}")


def named_at_length() -> Json:
    """A model inside with a name of a megabyte, which is part of the path of each of its layers."""
    inner = functional(given("x"), *chained(1000), outputs="r999", name="n" * 2**20)
    return functional(
        given(),
        {**inner, "name": "n" * 2**20, "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]},
        outputs="n" * 2**20,
    )


LARGE: dict[str, tuple[Json, bool]] = {
    "500 functions": (functions(500), True),
    "models in wrappers 25 deep": (wrapped(25, 1000), True),
    "a model inside of a long name": (named_at_length(), False),
    "1999 layers in a row": (sequential(given(), *[relu(f"r{i}") for i in range(1999)]), True),
    "1999 layers in a graph": (functional(given(), *chained(1999), outputs="r1998"), True),
    "2000 inputs of a sum": (
        functional(
            given(),
            *[relu(f"r{i}", "x") for i in range(2000)],
            layer("Add", "sum", *[f"r{i}" for i in range(2000)]),
            outputs="sum",
        ),
        True,
    ),
    "1999 calls of a layer": (
        functional(
            given(),
            {
                **relu(),
                "inbound_nodes": [
                    {"args": [tensor("r", i - 1) if i else tensor("x")], "kwargs": {}}
                    for i in range(1999)
                ],
            },
            outputs=["r", 1998, 0],
        ),
        True,
    ),
    "models nested 59 deep": (nested(59), True),
    "models nested 61 deep": (nested(61), False),
    "models that double 11 times": (doubled(11), True),
    "models that double 25 times": (doubled(25), False),
    "a word of a million letters": (
        between(layer("Foo", "f", vocabulary=["x" * 10] * 300_000)),
        False,
    ),
}


@pytest.mark.rows(2)
@pytest.mark.parametrize(("name", "to"), each(LARGE))
def test_large_models_take_seconds(name: str, to: str, folder: Path) -> None:
    config, works = LARGE[name]
    taken = cost(put(folder / "m.keras", keras(config, hdf5(no_weights))), to=to)
    # the wrappers make tensors of more than the six axes that all backends of TF.js compute with
    works = works and not (name.startswith("models in wrappers") and to == "tfjs-layers")
    assert (taken.error is None) == works, taken.error
    assert taken.seconds < 20
    assert taken.peak < 300


DEEP: dict[str, Json] = {
    "in a row": sequential(given(), *[relu(f"r{i}") for i in range(2000)], name="deep"),
    "in a graph": functional(given(), *chained(2000), outputs="r1999", name="deep"),
    "calls of one": functional(
        given(),
        {
            **relu(),
            "inbound_nodes": [
                {"args": [tensor("r", i - 1) if i else tensor("x")], "kwargs": {}}
                for i in range(2000)
            ],
        },
        outputs=["r", 1999, 0],
        name="deep",
    ),
    "in a model inside": sequential(
        given(), sequential(given("i"), *[relu(f"r{i}") for i in range(2000)], name="deep")
    ),
}


@pytest.mark.rows(1)
@pytest.mark.parametrize("name", DEEP)
def test_models_too_deep_for_the_stack_of_a_browser(name: str, folder: Path) -> None:
    source = put(folder / "m.keras", keras(DEEP[name], hdf5(no_weights)))
    refused(source, r"layer 'deep': .* overflow the stack of a browser.*--to tfjs-graph")
    done = kerasport.check(source)
    assert done.convertible
    assert done.target == "tfjs-graph"
    assert any("overflow the stack" in note for note in done.notes)


# ----------------------------------------------------------------------------------- symbolic links


VOCABULARY = sequential(
    given(dtype="string"),
    layer(
        "StringLookup",
        "s",
        vocabulary=None,
        max_tokens=None,
        num_oov_indices=1,
        mask_token=None,
        oov_token="[UNK]",
    ),
)


LINKED = "is a link to a file outside of 'in', and kerasport does not follow it"


SECRET = "a word of somebody else"


@pytest.fixture
def looked_up(folder: Path) -> Path:
    """A directory as Keras saves it, of a layer that finds its words in a file of their own."""
    unzipped(folder, VOCABULARY, hdf5(no_weights))
    put(folder / "assets" / "layers" / "string_lookup" / "vocabulary.txt", b"red\ngreen\n")
    return folder


def moved(path: Path, to: Path) -> None:
    """A file or directory moved elsewhere, with a link in its place."""
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)
    path.symlink_to(to, target_is_directory=to.is_dir())


def words(out: Path) -> bool:
    return any(b"green" in path.read_bytes() for path in out.iterdir())


ASSET = "assets/layers/string_lookup/vocabulary.txt"


@pytest.mark.parametrize(
    "name", ["config.json", "metadata.json", "model.weights.h5", ASSET, "assets", "assets/layers"]
)
def test_links_that_leave_a_directory_are_not_followed(
    name: str, looked_up: Path, tmp_path: Path
) -> None:
    kerasport.convert(looked_up, tmp_path / "out", to="tfjs-graph")
    assert words(tmp_path / "out")
    moved(looked_up / name, tmp_path / "elsewhere" / Path(name).name)
    with pytest.raises(HostileFileError, match=LINKED):
        kerasport.convert(looked_up, tmp_path / "linked", to="tfjs-graph")
    assert not (tmp_path / "linked").exists()


def test_links_within_a_directory_are_followed(looked_up: Path, tmp_path: Path) -> None:
    for name in ("config.json", ASSET, "assets/layers"):
        moved(looked_up / name, looked_up / "kept" / Path(name).name)
    (tmp_path / "link").symlink_to(looked_up)
    kerasport.convert(tmp_path / "link", tmp_path / "out", to="tfjs-graph")
    assert words(tmp_path / "out")


@pytest.mark.parametrize(
    ("blob", "works"),
    [("blobs/" + "0a" * 20, True), ("blobs/" + "0a" * 32, True), ("blobs/passwd", False),
          ("other/" + "0a" * 20, False),
     ("../blobs/" + "0a" * 20, False)],
)  # fmt: skip
def test_links_of_the_cache_of_hugging_face(blob: str, works: bool, tmp_path: Path) -> None:
    """All its files are links, each to a blob that is named by its hash."""
    cached = tmp_path / "cache" / "models--one--two"
    snapshot = unzipped_in(cached / "snapshots" / "1f" / "model")
    moved(snapshot / "config.json", cached / blob)
    if works:
        kerasport.convert(snapshot, tmp_path / "out")
    else:
        with pytest.raises(HostileFileError, match="is a link to a file outside of 'model'"):
            kerasport.convert(snapshot, tmp_path / "out")


def unzipped_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return unzipped(folder)


def test_links_of_shards_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "m.h5").symlink_to(put(tmp_path / "other.h5", hdf5()))
    index = put(folder / "m.weights.json", text_of({"weight_map": {"/layers/dense/vars": "m.h5"}}))
    with pytest.raises(HostileFileError, match=LINKED):
        kerasport.convert(put(folder / "m.json", CONFIG), tmp_path / "out", weights=index)


@pytest.mark.parametrize("which", ["model.json", "group1-shard1of1.bin"])
@pytest.mark.parametrize("in_place", [True, False])
def test_links_of_a_model_to_repair_are_not_followed(
    which: str, in_place: bool, source: Path, tmp_path: Path
) -> None:
    web = tmp_path / "web"
    kerasport.convert(source, web, to="tfjs-layers")
    document = json.loads((web / "model.json").read_text())
    document.update(convertedBy="TensorFlow.js Converter v4.22.0", generatedBy="keras v3.15.1")
    put(web / "model.json", text_of(document))
    moved(web / which, tmp_path / "elsewhere" / which)
    with pytest.raises(HostileFileError, match="is a link to a file outside of 'web'"):
        kerasport.repair(web, None if in_place else tmp_path / "right")


@pytest.mark.parametrize(
    "entries", [None, [], "m.h5", {"a": None}, {"a": [[]]}, {"a": {"b": 1}}, {}, 7]
)
def test_invalid_indices_are_refused(entries: Any, folder: Path) -> None:
    index = put(folder / "m.weights.json", text_of({"weight_map": entries}))
    assert outcome(put(folder / "m.json", CONFIG), weights=index) is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("which", ["model", "weights", "shard"])
def test_pipes_are_not_waited_for(which: str, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    if which == "model":
        refused(folder / "pipe", "not a regular file")
    elif which == "weights":
        refused(put(folder / "m.json", CONFIG), "not a regular file", weights=folder / "pipe")
    else:
        index = put(folder / "m.weights.json", text_of({"weight_map": {"a": "pipe"}}))
        refused(put(folder / "m.json", CONFIG), "missing", weights=index)


# ------------------------------------------------------------------------------------------- output


def old_model(out: Path) -> dict[str, str]:
    put(out / "model.json", b"{}")
    put(out / "group1-shard1of1.bin", b"old")
    return forged.fingerprint(out)


def test_an_output_is_replaced_only_with_force(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = old_model(out)
    with pytest.raises(OutputExistsError, match="already exists; use --force"):
        kerasport.convert(source, out)
    assert forged.fingerprint(out) == before
    kerasport.convert(source, out, force=True)
    assert sorted(path.name for path in out.iterdir()) == ["group1-shard1of1.bin", "model.json"]
    assert forged.fingerprint(out) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_an_empty_directory_is_filled(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    kerasport.convert(source, tmp_path / "out")
    assert (tmp_path / "out" / "model.json").is_file()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("what", ["a file", "a directory of other things", "the model",
"the directory of the model",
                                  "a directory above it", "the root"])  # fmt: skip
def test_directories_without_a_model_are_never_replaced(
    what: str, force: bool, source: Path, tmp_path: Path
) -> None:
    put(source.parent / "model.json", b"{}")
    put(tmp_path / "file", b"mine")
    put(tmp_path / "other" / "thesis.txt", b"mine")
    out = {
        "a file": tmp_path / "file",
        "a directory of other things": tmp_path / "other",
        "the model": source,
        "the directory of the model": source.parent,
        "a directory above it": tmp_path,
        "the root": Path(tmp_path.anchor),
    }[what]
    before = forged.fingerprint(tmp_path)
    with pytest.raises(OutputExistsError):
        kerasport.convert(source, out, force=force)
    assert forged.fingerprint(tmp_path) == before


def test_the_directory_of_an_unzipped_model_is_not_replaced(folder: Path) -> None:
    source = unzipped(folder / "m")
    put(source / "model.json", b"{}")
    before = forged.fingerprint(folder)
    with pytest.raises(OutputExistsError, match="contains the model to convert"):
        kerasport.convert(source, source, force=True)
    assert forged.fingerprint(folder) == before


@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "shards"])
def test_the_directory_of_the_weights_is_not_replaced(
    sharded: bool, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    old_model(out)
    weights = put(out / "w.weights.h5", hdf5())
    if sharded:
        weights = put(
            out / "w.weights.json", text_of({"weight_map": {"/layers/dense/vars": "w.weights.h5"}})
        )
    with pytest.raises(OutputExistsError):
        kerasport.convert(put(folder / "m.json", CONFIG), out, weights=weights, force=True)
    assert weights.is_file()


def test_a_linked_source_is_not_replaced(source: Path, tmp_path: Path) -> None:
    put(source.parent / "model.json", b"{}")
    link = tmp_path / "link.keras"
    link.symlink_to(source)
    with pytest.raises(OutputExistsError, match="contains the model"):
        kerasport.convert(link, source.parent, force=True)
    assert source.is_file()


@pytest.mark.parametrize("there", [False, True], ids=["dangling", "to a model"])
def test_a_linked_output_is_written_to_its_target(
    there: bool, source: Path, tmp_path: Path
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        old_model(target)
    link.symlink_to(target)
    kerasport.convert(source, link, force=True)
    assert link.is_symlink()
    assert (target / "group1-shard1of1.bin").stat().st_size == KERNEL.nbytes + BIAS.nbytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "link", "target"]


def test_an_output_below_a_file(source: Path, tmp_path: Path) -> None:
    put(tmp_path / "file", b"mine")
    with pytest.raises((KerasportError, OSError)):
        kerasport.convert(source, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_an_output_in_a_directory_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o555)
    with pytest.raises((KerasportError, OSError)):
        kerasport.convert(source, parent / "out")
    assert not list(parent.iterdir())


class _Full(OSError):
    pass


@pytest.mark.parametrize("old", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("fails", ["in the weights", "in model.json", "on renaming"])
def test_a_failed_conversion_leaves_no_files(
    fails: str, old: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = old_model(out) if old else {}
    kept, written = Path.write_text, []

    def write_text(path: Path, *arguments: Any, **options: Any) -> int:
        if path.name == "model.json":
            raise _Full
        return kept(path, *arguments, **options)

    def progress(done: int, total: int) -> None:
        written.append(done)
        if done > total // 2:
            raise _Full

    replace_, renamed = Path.replace, []

    def replace_path(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == (2 if old else 1):
            raise OSError(5, "no")
        return replace_(path, target)

    if fails == "in model.json":
        monkeypatch.setattr(Path, "write_text", write_text)
    if fails == "on renaming":
        monkeypatch.setattr(Path, "replace", replace_path)
    with pytest.raises((OSError, WriteError)):
        kerasport.convert(
            source, out, force=True, progress=progress if fails == "in the weights" else None
        )
    assert (forged.fingerprint(out) if old else {}) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (["in", "out"] if old else ["in"])


def test_a_file_that_shrinks_while_it_is_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read twice: what it is, then its weights."""

    def cut(done: int, total: int) -> None:
        del done, total
        os.truncate(source, 100)

    monkeypatch.setattr("kerasport.targets.tfjs.options.SMALLEST_SHARD", 1)
    out, whole = tmp_path / "out", tmp_path / "whole"
    kerasport.convert(source, whole, shard_size=8)
    try:
        kerasport.convert(source, out, shard_size=8, progress=cut)
    except KerasportError:
        assert not out.exists()
    else:  # what was read before was buffered
        assert forged.fingerprint(out) == forged.fingerprint(whole)


def test_closed_files_stay_closed(tmp_path: Path) -> None:
    """What cannot be opened keeps no handle."""
    path = put(tmp_path / "x.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    for _ in range(3):
        with pytest.raises(ReadError):
            Hdf5(path)
    path.unlink()


def test_hostile_files_are_errors_of_reading() -> None:
    assert issubclass(HostileFileError, ReadError)
