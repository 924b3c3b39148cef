"""Hostile containers: zip archives, HDF5 files, JSON texts and shards.

None of them makes kerasport run code, read other files, or exhaust memory or time.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests import forged
from tests.forged import (
    BIAS,
    DENSE,
    KERNEL,
    RECORDED,
    Member,
    cost,
    dense,
    given,
    hdf5,
    keras,
    keras_members,
    legacy,
    outcome,
    put,
    refused,
    sequential,
    text_of,
    unzipped,
    zipped,
)  # fmt: skip
from tests.hostile import CONFIG, DEFLATED, WEIGHTS, Attack, between, deep_list

from kerasport.frontends.keras.read.json_limits import MAX_BYTES, MAX_DEPTH

# ---------------------------------------------------------------------------------------------- zip


def of_members(**changes: Any) -> list[Member]:
    """The members of a `.keras`, with changes to those that are named, dots as underscores."""
    members = [Member(name, data) for name, data in keras_members().items()]
    return [replace(member, **changes.get(member.name.replace(".", "_"), {})) for member in members]


def with_zip64(**said: int) -> bytes:
    """A zip with a second last record, of 64 bits."""
    data = zipped(of_members())
    body, last = data[:-22], data[-22:]
    count, size, offset = struct.unpack("<4x4x2xH2L2x", last)
    said = {"count": count, "size": size, "offset": offset, **said}
    record = struct.pack(
        "<4sQ2H2L4Q",
        b"PK\6\6",
        44,
        45,
        45,
        0,
        0,
        said["count"],
        said["count"],
        said["size"],
        said["offset"],
    )
    return body + record + struct.pack("<4sLQL", b"PK\6\7", 0, len(body), 1) + last


ZIPS = (
    Attack(
        "names that climb",
        lambda: zipped([*of_members(), Member("../../escaped", b"x"), Member("/out", b"x")]),
    ),
    Attack(
        "config twice",
        lambda: zipped([*of_members(), Member("config.json", CONFIG)]),
        "config.json 2 times",
    ),
    Attack(
        "weights twice",
        lambda: zipped([*of_members(), Member("model.weights.h5", WEIGHTS)]),
        "weights.h5 2 times",
    ),
    Attack(
        "metadata twice",
        lambda: zipped([*of_members(), Member("metadata.json", b"{}")]),
        "metadata.json 2 times",
    ),
    Attack(
        "encrypted",
        lambda: zipped(of_members(config_json={"local": {"flags": 1}, "central": {"flags": 1}})),
        "config.json is encrypted; unzip the archive",
    ),
    Attack(
        "encrypted weights",
        lambda: zipped(of_members(model_weights_h5={"central": {"flags": 1}})),
        "is encrypted",
    ),
    Attack(
        "compressed with bzip2",
        lambda: keras(compression=zipfile.ZIP_BZIP2),
        "with an unsupported method; unzip the archive",
    ),
    Attack(
        "compressed with LZMA",
        lambda: keras(compression=zipfile.ZIP_LZMA),
        "with an unsupported method; unzip the archive",
    ),
    Attack(
        "unknown compression",
        lambda: zipped(of_members(config_json={"central": {"method": 99}})),
        "unsupported method",
    ),
    Attack(
        "bomb as config",
        lambda: zipped(
            of_members(config_json={"data": b" " * (MAX_BYTES + 1), "method": DEFLATED})
        ),
        rf"config.json has {MAX_BYTES + 1} bytes according to the archive, more than",
    ),
    Attack(
        "bomb as weights",
        lambda: zipped(
            of_members(model_weights_h5={"data": WEIGHTS + bytes(80_000_000), "method": DEFLATED})
        ),
        "would expand more than 100-fold",
    ),
    Attack(
        "config larger than it says",
        lambda: zipped(of_members(config_json={"method": DEFLATED, "central": {"size": 9}})),
        "config.json is damaged",
    ),
    Attack(
        "weights larger than they say",
        lambda: zipped(of_members(model_weights_h5={"method": DEFLATED, "central": {"size": 900}})),
        "model.weights.h5 is damaged|cannot be opened",
    ),
    Attack(
        "weights smaller than they say",
        lambda: zipped(
            of_members(model_weights_h5={"method": DEFLATED, "central": {"size": 900_000}})
        ),
    ),
    Attack(
        "stored weights beyond the file",
        lambda: zipped(of_members(model_weights_h5={"central": {"size": 2**31}})),
        "ends inside model.weights.h5; the file is truncated",
    ),
    Attack(
        "stored config beyond the file",
        lambda: zipped(of_members(config_json={"central": {"size": 2**20, "stored": 2**20}})),
        "config.json is damaged|not valid JSON",
    ),
    Attack(
        "wrong checksum",
        lambda: zipped(of_members(config_json={"central": {"crc": 1}})),
        "config.json is damaged",
    ),
    Attack(
        "overlapping members",
        lambda: zipped(of_members(model_weights_h5={"central": {"offset": 0}})),
        "the zip archive is damaged at model.weights.h5",
    ),
    Attack(
        "weights that are the config",
        lambda: zipped([*of_members()[:2], Member("model.weights.h5", CONFIG)]),
        "HDF5 data cannot be opened",
    ),
    Attack(
        "offset beyond the file",
        lambda: zipped(of_members(model_weights_h5={"central": {"offset": 2**31}})),
        "zip archive is damaged|truncated or damaged",
    ),
    Attack(
        "offset into nothing",
        lambda: zipped(of_members(config_json={"central": {"offset": 7}})),
        "config.json is damaged",
    ),
    Attack(
        "directory elsewhere", lambda: zipped(of_members(), offset=2**31), "config.json is damaged"
    ),
    Attack(
        "directory before the file",
        lambda: zipped(of_members(), offset=2**32 - 2),
        "config.json is damaged",
    ),
    Attack(
        "directory larger than the file",
        lambda: zipped(of_members(), size=2**31),
        "truncated|directory of the zip archive",
    ),
    Attack("fewer members than counted", lambda: zipped(of_members(), count=60_000)),
    Attack("true zip64", with_zip64),
    Attack(
        "zip64 of a huge directory",
        lambda: with_zip64(size=2**62),
        "truncated|directory of the zip archive",
    ),
    Attack(
        "zip64 of a directory elsewhere", lambda: with_zip64(offset=2**63), "config.json is damaged"
    ),
    Attack(
        "zip64 of a huge member",
        lambda: zipped(
            of_members(
                model_weights_h5={
                    "central": {"size": 2**32 - 1},
                    "extra": struct.pack("<2HQ", 1, 8, 2**63),
                }
            )
        ),
        "ends inside model.weights.h5",
    ),
    Attack(
        "broken zip64 field",
        lambda: zipped(
            of_members(config_json={"central": {"size": 2**32 - 1}, "extra": b"\1\0\2\0ab"})
        ),
        "truncated or damaged",
    ),
    Attack(
        "local header of another name",
        lambda: _patched(zipped(of_members()), b"model.weights.h5", b"model.weights.hx"),
        "is damaged at model.weights.h5",
    ),
    Attack(
        "local header of a deflated member",
        lambda: zipped(of_members(model_weights_h5={"local": {"method": DEFLATED}})),
        "is damaged at model.weights.h5",
    ),
    Attack("nothing but an end", lambda: zipped([]), "not a Keras model"),
    Attack(
        "junk before the zip", lambda: b"#!/bin/sh\n" + zipped(of_members()), "not a Keras model"
    ),
    Attack("config is null", lambda: keras(b"null"), "None in place of a layer"),
    Attack("config is a list", lambda: keras(b"[[]]"), "in place of a layer with a 'class_name'"),
    Attack("config is empty", lambda: keras(b""), "not valid JSON"),
    Attack("config is no text", lambda: keras(b"\xff\xfe\x00\xd8"), "not valid JSON"),
    Attack("metadata is a list", lambda: zipped(of_members(metadata_json={"data": b"[1]"}))),
    Attack(
        "metadata without end",
        lambda: zipped(of_members(metadata_json={"data": b"[" * 9000})),
        "nested more deeply than",
    ),
    Attack(
        "version of another type",
        lambda: zipped(of_members(metadata_json={"data": b'{"keras_version": {"3": [15]}}'})),
    ),
)


def _patched(data: bytes, old: bytes, new: bytes, count: int = 1) -> bytes:
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new, count)


@pytest.mark.parametrize("attack", ZIPS, ids=attrgetter("name"))
def test_zips_with_false_sizes_are_refused(attack: Attack, folder: Path) -> None:
    _attacked(attack, folder / "m.keras")


def _attacked(attack: Attack, path: Path) -> None:
    source = put(path, attack.data())
    if attack.match:
        refused(source, attack.match)
    else:
        assert outcome(source) is None


def test_a_zip_of_a_million_members_takes_little_time_and_memory(folder: Path) -> None:
    count, empty = (
        400_000,
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0x21, 0, 0, 0, 1, *[0] * 6) + b"a",
    )
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, count * len(empty), 4, 0)
    taken = cost(put(folder / "m.keras", b"PK\3\4" + count * empty + last))
    assert taken.error is not None
    assert "more than any Keras model needs" in taken.error[1]
    assert taken.peak < 150


# --------------------------------------------------------------------------------------------- HDF5


def replacing(path: str, make: Callable[[Any, str], Any]) -> Callable[[], bytes]:
    """The weights of `DENSE` with something else at a path."""

    def fill(file: Any) -> None:
        forged.dense_weights(file)
        if path in file:
            del file[path]
        make(file, path)

    return lambda: hdf5(fill)


def of_dtype(dtype: Any) -> Callable[[], bytes]:
    return replacing(
        "layers/dense/vars/0", lambda file, path: file.create_dataset(path, (4, 3), dtype)
    )


def linked(path: str, link: Any) -> Callable[[], bytes]:
    return replacing(path, lambda file, at: file.__setitem__(at, link))


def created(**options: Any) -> Callable[[], bytes]:
    """The kernel as a data set with options."""
    return replacing(
        "layers/dense/vars/0",
        lambda file, at: file.create_dataset(at, **{"dtype": "f4", **options}),
    )


def virtual(file: Any, path: str) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "/x", (4, 3))
    file.create_virtual_dataset(path, layout)


def compact(file: Any, path: str) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4, 3))
    h5py.h5d.create(file.id, path.encode(), h5py.h5t.IEEE_F32LE, space, dcpl=created)


def loop(file: Any, path: str) -> None:
    file.create_group(path)
    file[f"{path}/again"] = file["layers"]


def deep(file: Any, path: str) -> None:
    file[path + "/a" * 300 + "/0"] = BIAS


def attribute(name: str, value: Any, **options: Any) -> Callable[[], bytes]:
    def fill(file: Any) -> None:
        forged.dense_weights(file)
        file["layers/dense/vars"].attrs.create(name, value)

    return lambda: hdf5(fill, **options)


VARS = "layers/dense/vars"


LINK = "is a link"


NOT_PLAIN = "is not stored as a plain array in this file"


NOT_WEIGHTS = "which Keras never writes for weights"


TREES = (
    Attack(
        "external link to an array",
        linked(f"{VARS}/0", h5py.ExternalLink("/etc/passwd", "/x")),
        LINK,
    ),
    Attack("external link to a group", linked(VARS, h5py.ExternalLink("other.h5", "/")), LINK),
    Attack("external link to all", linked("layers", h5py.ExternalLink("other.h5", "/")), LINK),
    Attack("soft link to an array", linked(f"{VARS}/0", h5py.SoftLink(f"/{VARS}/1")), LINK),
    Attack("soft link to nothing", linked(f"{VARS}/0", h5py.SoftLink("/nowhere")), LINK),
    Attack("soft link to itself", linked(VARS, h5py.SoftLink(f"/{VARS}")), LINK),
    Attack("soft link beside the arrays", linked(f"{VARS}/2", h5py.SoftLink("/nowhere")), LINK),
    Attack(
        "data in another file", created(shape=(4, 3), external=[("/etc/passwd", 0, 48)]), NOT_PLAIN
    ),
    Attack("virtual data", replacing(f"{VARS}/0", virtual), NOT_PLAIN),
    Attack("compact data", replacing(f"{VARS}/0", compact), NOT_PLAIN),
    Attack("a trillion elements", created(shape=(2**40,)), NOT_PLAIN),
    Attack("more elements than can be counted", created(shape=(2**31, 2**30)), NOT_PLAIN),
    Attack("a side of 2**62, and none", created(shape=(2**62, 0)), NOT_PLAIN),
    Attack("unallocated", created(shape=(4, 3)), NOT_PLAIN),
    Attack("no elements", created(shape=(0, 3)), "shape"),
    Attack("no shape", created(shape=None), NOT_PLAIN),
    Attack("of 32 axes", created(data=np.zeros((1,) * 32, "f4")), "shape"),
    Attack("chunks", created(data=KERNEL, chunks=(2, 3)), r"stored in chunks.*h5repack -l CONTI"),
    Attack(
        "chunks of gzip",
        created(shape=(2**28,), chunks=(2**20,), compression="gzip"),
        "stored in chunks",
    ),
    Attack("texts", of_dtype(h5py.string_dtype()), NOT_WEIGHTS),
    Attack("fixed texts", of_dtype("S5"), NOT_WEIGHTS),
    Attack("lists", of_dtype(h5py.vlen_dtype("f4")), NOT_WEIGHTS),
    Attack("references", of_dtype(h5py.ref_dtype), NOT_WEIGHTS),
    Attack("region references", of_dtype(h5py.regionref_dtype), NOT_WEIGHTS),
    Attack("records", of_dtype([("a", "f4"), ("b", "f4")]), NOT_WEIGHTS),
    Attack("complex numbers", of_dtype("c8"), NOT_WEIGHTS),
    Attack("arrays of arrays", of_dtype(("f4", (2,))), NOT_WEIGHTS),
    Attack("opaque", of_dtype("V4"), NOT_WEIGHTS),
    Attack(
        "enumeration", of_dtype(h5py.enum_dtype({"A": 0, "B": 1})), f"{NOT_WEIGHTS}|{NOT_PLAIN}"
    ),
    Attack("a cycle of groups", replacing("layers/loop", loop), "perhaps through a cycle"),
    Attack("groups without end", replacing("layers/deep", deep), "more than 200 levels deep"),
    Attack(
        "a group for an array",
        replacing(f"{VARS}/0", lambda f, at: f.create_group(at)),
        "weights are|array|expected the weights",
    ),
    Attack(
        "an array for a group",
        replacing(VARS, lambda f, at: f.__setitem__(at, BIAS)),
        "weights are|array|expected the weights",
    ),
    Attack(
        "an array for the first group",
        replacing("layers", lambda f, at: f.__setitem__(at, BIAS)),
        "weights are|array|expected the weights",
    ),
    Attack(
        "a type for an array",
        replacing(f"{VARS}/0", lambda f, at: f.__setitem__(at, np.dtype("f4"))),
        "weights are|array|expected the weights",
    ),
    Attack(
        "names of other kinds",
        replacing(f"{VARS}/²", lambda f, at: f.__setitem__(at, BIAS)),
        "weights are|array|expected the weights",
    ),
    Attack("name of a list of texts", attribute("name", ["dense"] * 9)),
    Attack("name of a number", attribute("name", 3)),
    Attack("name of nothing", attribute("name", h5py.Empty("f4"))),
    Attack("name of no text", attribute("name", h5py.Empty(h5py.string_dtype())), "damaged|name"),
    Attack(
        "name of a record",
        attribute("name", np.zeros((), [("a", "f4")])),
        "which Keras never writes",
    ),
    Attack("name of lists", attribute("name", np.array([[1, 2]], "i4"))),
    Attack("name of a megabyte", attribute("name", "x" * 2**20), "the weights at"),
    Attack(
        "name of 40 megabytes",
        attribute("name", np.zeros(2**23, "i4"), libver="latest"),
        "larger than any",
    ),
    Attack("another name", attribute("name", "other"), "belong to 'other'"),
    Attack("numbers of 4 bytes", lambda: _sized(4), "offsets and lengths"),
)


def _sized(nbytes: int) -> bytes:
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_sizes(nbytes, nbytes)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    file = h5py.File(h5py.h5f.create(b"sized", h5py.h5f.ACC_TRUNC, fcpl=created, fapl=access))
    with file:
        forged.dense_weights(file)
        file.flush()
        return bytes(file.id.get_file_image())


@pytest.mark.parametrize("attack", TREES, ids=attrgetter("name"))
def test_hdf5_links_out_of_the_file_are_refused(attack: Attack, folder: Path) -> None:
    _attacked(replace(attack, data=lambda: keras(weights=attack.data())), folder / "m.keras")


@pytest.mark.parametrize(
    "attack", [each for each in TREES if each.match in (LINK, NOT_PLAIN)], ids=attrgetter("name")
)
def test_hdf5_links_out_of_a_shard_are_refused(attack: Attack, folder: Path) -> None:
    put(folder / "m.h5", attack.data())
    index = put(
        folder / "m.weights.json", text_of({"weight_map": {"/layers/dense/vars": ["m.h5"]}})
    )
    refused(put(folder / "m.json", CONFIG), attack.match, weights=index)


@pytest.mark.parametrize(
    "link",
    [h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink("/dense/kernel")],
    ids=["external", "soft"],
)
def test_links_in_a_whole_model_file_are_refused(link: Any, folder: Path) -> None:
    def fill(weights: Any) -> None:
        weights.attrs["layer_names"] = [b"dense"]
        group = weights.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel", b"dense/bias"]
        group["dense/kernel"], group["dense/bias"] = link, BIAS

    refused(put(folder / "m.h5", hdf5(legacy(fill=fill))), LINK)


NAMES = {
    "not texts": np.zeros(3, "i4"),
    "one text": "dense",
    "texts in a square": [["dense", "dense"], ["dense", "dense"]],
    "nothing": h5py.Empty("f4"),
    "with a slash": [b"/etc"],
    "climbing": [b"../dense"],
    "empty": [b""],
    "thousands of slashes": [b"a/" * 20_000],
    "no UTF-8": [b"\xff\xfe"],
}


@pytest.mark.parametrize("which", ["layer_names", "weight_names"])
@pytest.mark.parametrize("names", NAMES)
def test_invalid_names_in_whole_model_files_are_refused(
    which: str, names: str, folder: Path
) -> None:
    def fill(weights: Any) -> None:
        weights.attrs["layer_names"] = [b"dense"]
        group = weights.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel", b"dense/bias"]
        (weights if which == "layer_names" else group).attrs[which] = NAMES[names]

    assert outcome(put(folder / "m.h5", hdf5(legacy(fill=fill), libver="latest"))) is not None


def test_a_layer_name_of_thousands_of_slashes_takes_little_time(folder: Path) -> None:
    name = "a/" * 20_000

    def fill(weights: Any) -> None:
        weights.attrs["layer_names"] = np.array([name.encode()])

    config = between(dense(name))
    refused(
        put(folder / "m.h5", hdf5(legacy(config, fill), libver="latest")),
        "more than 200 levels deep",
    )


# Texts of attributes are references into heaps: length, address of the heap, number in it.


def _references(data: bytes, *, length: int) -> list[int]:
    """Where in a file references to texts of a length stand."""
    heaps = [found.start() for found in re.finditer(b"GCOL", data)]
    wanted = [struct.pack("<IQ", length, heap) for heap in heaps]
    return [found.start() for each in wanted for found in re.finditer(re.escape(each), data)]


def test_a_string_with_a_false_size_of_gigabytes_is_refused(folder: Path) -> None:
    data = bytearray(hdf5(legacy(version="3.15.1")))
    for at in _references(bytes(data), length=len("3.15.1")):
        data[at : at + 4] = struct.pack("<I", 2**32 - 1)
    taken = cost(put(folder / "m.h5", bytes(data)))
    assert taken.error is not None
    assert "damaged" in taken.error[1]
    assert taken.peak < 150


def test_a_list_that_repeats_one_long_string_is_refused(folder: Path) -> None:
    count, text = 3000, json.dumps({**DENSE, "note": "x" * 200_000})

    def fill(weights: Any) -> None:
        weights.attrs.create("layer_names", ["dense99"] * count, dtype=h5py.string_dtype())

    data = bytearray(hdf5(legacy(text, fill)))
    (config,) = _references(bytes(data), length=len(text))
    names = _references(bytes(data), length=len("dense99"))
    assert len(names) == count
    for at in names:
        data[at : at + 16] = data[config : config + 16]
    taken = cost(put(folder / "m.h5", bytes(data)))
    assert taken.error is not None
    assert "longer than any that Keras writes" in taken.error[1]
    assert taken.peak < 150


@pytest.mark.parametrize(
    "head", [struct.pack("<HHIQ", 0, 0, 0, 0), struct.pack("<HHIQ", 1, 1, 0, 2**64 - 16)]
)
def test_an_endless_heap_is_refused(head: bytes, folder: Path) -> None:
    """libhdf5 2.0 and older loop for ever on the first."""
    data = bytearray(hdf5(legacy()))
    at = data.index(b"GCOL") + 16
    data[at : at + 16] = head
    taken = cost(put(folder / "m.h5", bytes(data)))
    assert taken.error is not None
    assert "damaged" in taken.error[1]
    assert taken.seconds < 10


@pytest.mark.parametrize("name", ["keras-3.15.1/lora.h5", "keras-3.15.1/lora.keras"])
def test_cyclic_trees_are_refused(name: str, folder: Path) -> None:
    """libhdf5 2.0 and older follow them for ever when asked about a group."""
    data = bytearray((RECORDED / name).read_bytes())
    begin = data.index(b"\x89HDF")
    for node in re.finditer(b"TREE", bytes(data)):
        data[node.start() + 16 : node.start() + 24] = struct.pack("<Q", node.start() - begin)
    assert cost(put(folder / "m.keras", bytes(data))).seconds < 10


def test_overlapping_arrays_are_refused(folder: Path) -> None:
    """200 layers that share the bytes of one kernel of 1 MB, so the output would have 200 MB."""
    side = 512

    def fill(file: Any) -> None:
        file["layers/dense/vars/0"] = np.zeros((side, side), "f4")
        for number in range(1, 200):
            file[f"layers/dense_{number}/vars/0"] = file["layers/dense/vars/0"]

    chain = [dense(f"d{number}", units=side, use_bias=False) for number in range(200)]
    refused(
        put(folder / "m.keras", keras(sequential(given(shape=(None, side)), *chain), hdf5(fill))),
        "need more bytes than the file has",
    )


# --------------------------------------------------------------------------------------------- JSON


TEXTS = (
    Attack("lists without end", lambda: b"[" * 100_000, "nested more deeply than"),
    Attack("objects without end", lambda: b'{"a":' * 100_000, "nested more deeply than"),
    Attack(
        "deep lists that end", lambda: b"[" * 100_000 + b"]" * 100_000, "nested more deeply than"
    ),
    Attack(
        "deeper than allowed",
        lambda: text_of(between(dense(activation=deep_list(MAX_DEPTH)))),
        "nested more than",
    ),
    Attack(
        "a number of a million digits", lambda: b'{"a": ' + b"9" * 10**6 + b"}", "not valid JSON"
    ),
    Attack(
        "a long text",
        lambda: b'{"a": "' + b"x" * MAX_BYTES + b'"}',
        "more than the 16777216 allowed",
    ),
    Attack("two values", lambda: b"{} {}", "not valid JSON"),
    Attack("no end", lambda: CONFIG[:-1], "not valid JSON"),
    Attack(
        "bytes that are no text", lambda: CONFIG.replace(b"model", b"\xff\xff"), "not valid JSON"
    ),
    Attack("a byte 0", lambda: CONFIG.replace(b"model", b"mo\0el"), "not valid JSON"),
    Attack("keys twice", lambda: CONFIG.replace(b'"units": 3', b'"units": 4, "units": 3')),
    Attack("in UTF-16", lambda: CONFIG.decode().encode("utf-16")),
    Attack("with a byte order mark", lambda: b"\xef\xbb\xbf" + CONFIG),
)


@pytest.mark.parametrize("attack", TEXTS, ids=attrgetter("name"))
def test_strings_other_than_a_config_are_refused(attack: Attack, folder: Path) -> None:
    _attacked(replace(attack, data=lambda: keras(attack.data())), folder / "m.keras")


@pytest.mark.parametrize("attack", TEXTS, ids=attrgetter("name"))
@pytest.mark.parametrize(
    "where", ["metadata.json", "directory", "attribute", "architecture", "index"]
)
def test_malformed_strings_in_other_places_are_refused_or_read(
    where: str, attack: Attack, folder: Path
) -> None:
    text = attack.data()
    if where == "metadata.json":
        members = [Member("metadata.json", text), *of_members()[1:]]
        outcome(put(folder / "m.keras", zipped(members)))
    elif where == "directory":
        outcome(unzipped(folder / "m", text))
    elif where == "attribute":
        with suppress(ValueError):  # an attribute cannot hold a byte 0
            outcome(put(folder / "m.h5", hdf5(legacy(text.decode(errors="surrogateescape")))))
    elif where == "architecture":
        outcome(put(folder / "m.json", text), weights=put(folder / "w.h5", hdf5()))
    else:
        outcome(put(folder / "m.json", CONFIG), weights=put(folder / "m.weights.json", text))


BOMBS = {
    "lists": b"[" + b"[]," * 5_000_000 + b"0]",
    "objects": b"[" + b'{"a":0},' * 1_000_000 + b"0]",
    "lists in lists": b"[" + b"[[]]," * 690_000 + b"0]",
    "texts": b"[" + b'"ab",' * 2_000_000 + b"0]",
    "numbers": b"[" + b"1.5," * 2_000_000 + b"0]",
    "keys": b"{" + b",".join(b'"%x":0' % index for index in range(1_400_000)) + b"}",
    "a wide text": b'["' + b"a" * (MAX_BYTES - 100) + "\N{GRINNING FACE}".encode() + b'"]',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_strings_that_need_too_much_memory_are_refused(bomb: str, folder: Path) -> None:
    members = of_members(config_json={"data": BOMBS[bomb], "method": DEFLATED})
    taken = cost(put(folder / "m.keras", zipped(members)))
    assert taken.error is not None
    assert taken.peak < 300
    assert taken.seconds < 15


# ------------------------------------------------------------------------------------------- shards


SHARDS = {
    "../m.h5": "not the name of a file in the same directory",
    "/etc/passwd": "not the name of a file in the same directory",
    "..\\m.h5": "not the name of a file in the same directory",
    "C:\\m.h5": "not the name of a file in the same directory",
    "sub/m.h5": "not the name of a file in the same directory",
    "x" * 5000: "not the name of a file in the same directory",
    "\N{GRINNING FACE}" * 200: "not the name of a file in the same directory",
    "..": "is missing",
    ".": "is missing|not the name",
    "": "is missing",
    "gone.h5": "'gone.h5' is missing; put it",
    "sub": "is missing",
    "a\0b": "is missing",
    "\ud800": "is missing",
    "m.json": "HDF5 data cannot be opened",
    "m.weights.json": "HDF5 data cannot be opened",
}


@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize("listed", [False, True], ids=["one", "several"])
def test_shards_must_be_next_to_their_index(name: str, listed: bool, folder: Path) -> None:
    (folder / "sub").mkdir()
    put(folder / "sub" / "m.h5", hdf5())
    put(folder.parent / "m.h5", hdf5())
    index = put(
        folder / "m.weights.json",
        text_of({"weight_map": {"/layers/dense/vars": [name] if listed else name}}),
    )
    refused(put(folder / "m.json", CONFIG), SHARDS[name], weights=index)
