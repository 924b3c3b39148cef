"""Files that want something else than to be converted: run code, read other files, take all memory or time.

Whatever is in a file, the conversion works or ends in one message; `forged.outcome` holds what else must be true.
"""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
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
    TARGETS,
    Json,
    Member,
    cost,
    dense,
    functional,
    given,
    hdf5,
    keras,
    keras_members,
    layer,
    legacy,
    no_weights,
    outcome,
    put,
    refused,
    sequential,
    tensor,
    text_of,
    unzipped,
    zipped,
)  # fmt: skip

import kerasport
from kerasport.errors import (
    HostileFileError,
    KerasportError,
    OutputExistsError,
    ReadError,
    UnsupportedModel,
    WriteError,
    legible,
)
from kerasport.frontends.keras.read.hdf5 import Hdf5
from kerasport.frontends.keras.read.json_limits import MAX_BYTES, MAX_DEPTH

PWN = "open('pwned', 'w').close() or __import__('os').system('touch pwned')"


def each(names: Iterable[str]) -> list[Any]:
    """Each name with each target."""
    return [(name, to) for name in names for to in TARGETS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory for the hostile file, beside which the output goes."""
    made = tmp_path / "in"
    made.mkdir()
    return made


# ------------------------------------------------------------------------------------------------ code

BYTECODE = base64.b64encode(marshal.dumps(compile(PWN, "x", "eval"))).decode()
LAMBDA = {
    "class_name": "__lambda__",
    "config": {"code": BYTECODE, "defaults": None, "closure": None},
}


class _Pickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


PICKLE = base64.b64encode(pickle.dumps(_Pickled())).decode()


def function(name: str, module: str = "builtins") -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def between(*layers: Json) -> Json:
    return sequential(given(), *layers)


CODE: dict[str, Json] = {
    "lambda layer": between(layer("Lambda", "l", function=LAMBDA, arguments={})),
    "lambda layer of Keras 2": between(
        layer("Lambda", "l", function=[BYTECODE, None, None], function_type="lambda")
    ),
    "lambda of a module": between(
        layer("Lambda", "l", function="system", function_type="function", module="os")
    ),
    "lambda as activation": between(dense(activation=LAMBDA)),
    "lambda as initializer": between(dense(kernel_initializer=LAMBDA)),
    "lambda as regularizer": between(dense(kernel_regularizer=LAMBDA)),
    "lambda as constraint": between(dense(bias_constraint=LAMBDA)),
    "lambda as dtype": between(dense(dtype=LAMBDA)),
    "lambda as units": between(dense(units=LAMBDA)),
    "lambda as name": between(dense(name=LAMBDA)),  # type: ignore[arg-type]
    "lambda as class": between({**dense(), "class_name": LAMBDA}),
    "lambda as model": LAMBDA,
    "lambda in build_config": between({**dense(), "build_config": {"input_shape": LAMBDA}}),
    "lambda as argument": functional(given(), dense("dense", tensor("x"), LAMBDA)),
    "lambda as keyword": functional(
        given(),
        {
            **dense("dense", "x"),
            "inbound_nodes": [{"args": [tensor("x")], "kwargs": {"mask": LAMBDA}}],
        },
    ),
    "lambda as loss": {
        **DENSE,
        "compile_config": {"optimizer": "adam", "loss": LAMBDA, "metrics": [LAMBDA]},
    },
    "lambda as optimizer": {
        **DENSE,
        "compile_config": {"optimizer": LAMBDA, "loss": {"a": LAMBDA}},
    },
    "function of os as activation": between(dense(activation=function("system", "os"))),
    "dotted function as activation": between(dense(activation="os.system")),
    "get_file as activation": between(dense(activation=function("get_file", "keras.utils"))),
    "unsafe mode as layer": between(
        layer("function", "f", module="keras.config") | {"config": "enable_unsafe_deserialization"},
        layer("Lambda", "l", function=LAMBDA),
    ),
    "os.system as layer": between(
        {"module": "os", "class_name": "system", "config": {"command": "touch pwned"}}
    ),
    "subprocess as layer": between(
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "pwned"]}}
    ),
    "get_file as layer": between(
        {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": "pwned", "origin": "http://127.0.0.1:9/x"},
        }
    ),
    "load_model as layer": between(
        {
            "module": "keras.models",
            "class_name": "load_model",
            "config": {"filepath": "x.keras", "safe_mode": False},
        }
    ),
    "custom package as layer": between(
        {**dense(), "module": "evil", "registered_name": "evil>Dense"}
    ),
    "torch pickle": between(
        layer("TorchModuleWrapper", "t", module="keras.layers", module_=PICKLE)
    ),
    "torch pickle under its key": between(
        {
            "module": "keras.layers",
            "class_name": "TorchModuleWrapper",
            "config": {"name": "t", "module": PICKLE},
        }
    ),
    "SavedModel of a layer": between(
        layer("TFSMLayer", "t", filepath="/etc", call_endpoint="serve")
    ),
    "vocabulary of a file": between(
        layer("StringLookup", "s", vocabulary="/etc/passwd", max_tokens=None)
    ),
    "vocabulary of a URL": between(
        layer("TextVectorization", "s", vocabulary="http://127.0.0.1:9/v.txt")
    ),
    "vocabulary of integers": between(layer("IntegerLookup", "s", vocabulary="/etc/passwd")),
    "wrapped code": between(
        layer("TimeDistributed", "t", layer=layer("Lambda", "l", function=LAMBDA))
    ),
    "vectorized map": functional(
        given(), layer("VectorizedMap", "dense", "x", module="keras.src.ops.core", function=LAMBDA)
    ),
}


@pytest.mark.parametrize(("name", "to"), each(CODE))
def test_code_is_never_run(name: str, to: str, folder: Path) -> None:
    outcome(put(folder / "m.keras", keras(CODE[name])), to=to)
    outcome(put(folder / "m.h5", hdf5(legacy(CODE[name]))), to=to)


IN_TRAINING = {
    name: CODE[name]
    for name in (
        "lambda as initializer", "lambda as regularizer", "lambda as constraint", "lambda as loss", "lambda as optimizer",
    )
} | {
    "lambda as regularizer of what it computes": between(dense(activity_regularizer=LAMBDA)),
    "lambda of Keras 2 as regularizer": between(dense(kernel_regularizer=[BYTECODE, None, None])),
    "function of os as initializer": between(dense(bias_initializer=function("system", "os"))),
    "function of os as constraint": between(dense(kernel_constraint=function("system", "os"))),
    "lambda within a regularizer": between(
        dense(kernel_regularizer={"module": "keras.regularizers", "class_name": "L2", "config": {"l2": LAMBDA}})
    ),
    "class of os as loss": {**DENSE, "compile_config": {"optimizer": "adam", "loss": function("system", "os")}},
    "code as loss": {**DENSE, "compile_config": {"optimizer": "adam", "loss": BYTECODE, "metrics": ["mse"]}},
    "lambda as metric": {**DENSE, "compile_config": {"optimizer": "adam", "loss": "mse", "metrics": [LAMBDA]}},
    "lambda as learning rate": {**DENSE, "compile_config": {"loss": "mse", "optimizer": {
        "module": "keras.optimizers", "class_name": "Adam", "config": {"learning_rate": LAMBDA}}}},
}  # fmt: skip
"""Code where a model keeps what shapes its training, and never what it computes."""


@pytest.mark.parametrize("to", [*TARGETS, "onnx"])
@pytest.mark.parametrize("name", IN_TRAINING)
def test_code_for_training_is_left_out(name: str, to: str, folder: Path, tmp_path: Path) -> None:
    """The model computes the same without it; not a byte of it is written, and what is lost for training is told."""
    out = tmp_path / ("m.onnx" if to == "onnx" else "out")
    source = put(folder / "m.keras", keras(IN_TRAINING[name]))
    with (
        nullcontext() if to == "onnx" else forged.watched(tmp_path)
    ):  # which imports packages of its own
        done = kerasport.convert(source, out, to=to)
    written = b"".join(path.read_bytes() for path in ([out] if out.is_file() else out.iterdir()))
    assert BYTECODE.encode() not in written
    assert b"lambda" not in written
    assert b"system" not in written
    if to == "tfjs-layers" and "initializer" not in name:
        assert any(re.search("training", note) for note in done.notes)


@pytest.mark.parametrize(
    "name", ["lambda layer", "os.system as layer", "torch pickle under its key"]
)
def test_code_is_named_in_the_refusal(name: str, folder: Path) -> None:
    class_name = CODE[name]["config"]["layers"][1]["class_name"]
    refused(
        put(folder / "m.keras", keras(CODE[name], hdf5(no_weights))),
        f"cannot be converted exactly.*\n.*{class_name}",
    )


# ------------------------------------------------------------------------------------------------ zip


@dataclass(frozen=True)
class Attack:
    """A hostile file, and what the refusal says; without `match` it is harmless and works."""

    name: str
    data: Callable[[], bytes]
    match: str = ""


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
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, said["count"], said["count"], said["size"],
                         said["offset"])  # fmt: skip
    return body + record + struct.pack("<4sLQL", b"PK\6\7", 0, len(body), 1) + last


WEIGHTS, CONFIG = hdf5(), text_of(DENSE)
DEFLATED = zipfile.ZIP_DEFLATED
ZIPS = (
    Attack("names that climb", lambda: zipped([*of_members(), Member("../../escaped", b"x"), Member("/out", b"x")])),
    Attack("config twice", lambda: zipped([*of_members(), Member("config.json", CONFIG)]), "config.json 2 times"),
    Attack("weights twice", lambda: zipped([*of_members(), Member("model.weights.h5", WEIGHTS)]), "weights.h5 2 times"),
    Attack("metadata twice", lambda: zipped([*of_members(), Member("metadata.json", b"{}")]), "metadata.json 2 times"),
    Attack(
        "encrypted", lambda: zipped(of_members(config_json={"local": {"flags": 1}, "central": {"flags": 1}})),
        "config.json is encrypted; unzip the archive",
    ),
    Attack("encrypted weights", lambda: zipped(of_members(model_weights_h5={"central": {"flags": 1}})), "is encrypted"),
    Attack("compressed with bzip2", lambda: keras(compression=zipfile.ZIP_BZIP2), "with an unsupported method; unzip the archive"),
    Attack("compressed with LZMA", lambda: keras(compression=zipfile.ZIP_LZMA), "with an unsupported method; unzip the archive"),
    Attack("unknown compression", lambda: zipped(of_members(config_json={"central": {"method": 99}})), "unsupported method"),
    Attack(
        "bomb as config", lambda: zipped(of_members(config_json={"data": b" " * (MAX_BYTES + 1), "method": DEFLATED})),
        rf"config.json has {MAX_BYTES + 1} bytes according to the archive, more than",
    ),
    Attack(
        "bomb as weights",
        lambda: zipped(of_members(model_weights_h5={"data": WEIGHTS + bytes(80_000_000), "method": DEFLATED})),
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
        lambda: zipped(of_members(model_weights_h5={"method": DEFLATED, "central": {"size": 900_000}})),
    ),
    Attack(
        "stored weights beyond the file", lambda: zipped(of_members(model_weights_h5={"central": {"size": 2**31}})),
        "ends inside model.weights.h5; the file is truncated",
    ),
    Attack(
        "stored config beyond the file",
        lambda: zipped(of_members(config_json={"central": {"size": 2**20, "stored": 2**20}})),
        "config.json is damaged|not valid JSON",
    ),
    Attack("wrong checksum", lambda: zipped(of_members(config_json={"central": {"crc": 1}})), "config.json is damaged"),
    Attack(
        "overlapping members", lambda: zipped(of_members(model_weights_h5={"central": {"offset": 0}})),
        "the zip archive is damaged at model.weights.h5",
    ),
    Attack(
        "weights that are the config",
        lambda: zipped([*of_members()[:2], Member("model.weights.h5", CONFIG)]), "HDF5 data cannot be opened",
    ),
    Attack(
        "offset beyond the file", lambda: zipped(of_members(model_weights_h5={"central": {"offset": 2**31}})),
        "zip archive is damaged|truncated or damaged",
    ),
    Attack(
        "offset into nothing", lambda: zipped(of_members(config_json={"central": {"offset": 7}})),
        "config.json is damaged",
    ),
    Attack("directory elsewhere", lambda: zipped(of_members(), offset=2**31), "config.json is damaged"),
    Attack("directory before the file", lambda: zipped(of_members(), offset=2**32 - 2), "config.json is damaged"),
    Attack("directory larger than the file", lambda: zipped(of_members(), size=2**31), "truncated|directory of the zip archive"),
    Attack("fewer members than counted", lambda: zipped(of_members(), count=60_000)),
    Attack("true zip64", with_zip64),
    Attack("zip64 of a huge directory", lambda: with_zip64(size=2**62), "truncated|directory of the zip archive"),
    Attack("zip64 of a directory elsewhere", lambda: with_zip64(offset=2**63), "config.json is damaged"),
    Attack(
        "zip64 of a huge member",
        lambda: zipped(of_members(model_weights_h5={
            "central": {"size": 2**32 - 1}, "extra": struct.pack("<2HQ", 1, 8, 2**63)})),
        "ends inside model.weights.h5",
    ),
    Attack("broken zip64 field", lambda: zipped(of_members(config_json={
        "central": {"size": 2**32 - 1}, "extra": b"\1\0\2\0ab"})), "truncated or damaged"),
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
    Attack("junk before the zip", lambda: b"#!/bin/sh\n" + zipped(of_members()), "not a Keras model"),
    Attack("config is null", lambda: keras(b"null"), "None in place of a layer"),
    Attack("config is a list", lambda: keras(b"[[]]"), "in place of a layer with a 'class_name'"),
    Attack("config is empty", lambda: keras(b""), "not valid JSON"),
    Attack("config is no text", lambda: keras(b"\xff\xfe\x00\xd8"), "not valid JSON"),
    Attack("metadata is a list", lambda: zipped(of_members(metadata_json={"data": b"[1]"}))),
    Attack("metadata without end", lambda: zipped(of_members(metadata_json={"data": b"[" * 9000})), "nested more deeply than"),
    Attack("version of another type",
           lambda: zipped(of_members(metadata_json={"data": b'{"keras_version": {"3": [15]}}'}))),
)  # fmt: skip


def _patched(data: bytes, old: bytes, new: bytes, count: int = 1) -> bytes:
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new, count)


@pytest.mark.parametrize("attack", ZIPS, ids=attrgetter("name"))
def test_zips_that_lie(attack: Attack, folder: Path) -> None:
    _attacked(attack, folder / "m.keras")


def _attacked(attack: Attack, path: Path) -> None:
    source = put(path, attack.data())
    if attack.match:
        refused(source, attack.match)
    else:
        assert outcome(source) is None


def test_a_zip_of_a_million_members_takes_little(folder: Path) -> None:
    count, empty = (
        400_000,
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0x21, 0, 0, 0, 1, *[0] * 6) + b"a",
    )
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, count * len(empty), 4, 0)
    taken = cost(put(folder / "m.keras", b"PK\3\4" + count * empty + last))
    assert taken.error is not None
    assert "more than any Keras model needs" in taken.error[1]
    assert taken.peak < 150


# ------------------------------------------------------------------------------------------------ HDF5


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
    Attack("external link to an array", linked(f"{VARS}/0", h5py.ExternalLink("/etc/passwd", "/x")), LINK),
    Attack("external link to a group", linked(VARS, h5py.ExternalLink("other.h5", "/")), LINK),
    Attack("external link to all", linked("layers", h5py.ExternalLink("other.h5", "/")), LINK),
    Attack("soft link to an array", linked(f"{VARS}/0", h5py.SoftLink(f"/{VARS}/1")), LINK),
    Attack("soft link to nothing", linked(f"{VARS}/0", h5py.SoftLink("/nowhere")), LINK),
    Attack("soft link to itself", linked(VARS, h5py.SoftLink(f"/{VARS}")), LINK),
    Attack("soft link beside the arrays", linked(f"{VARS}/2", h5py.SoftLink("/nowhere")), LINK),
    Attack("data in another file", created(shape=(4, 3), external=[("/etc/passwd", 0, 48)]), NOT_PLAIN),
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
    Attack("chunks of gzip", created(shape=(2**28,), chunks=(2**20,), compression="gzip"), "stored in chunks"),
    Attack("texts", of_dtype(h5py.string_dtype()), NOT_WEIGHTS),
    Attack("fixed texts", of_dtype("S5"), NOT_WEIGHTS),
    Attack("lists", of_dtype(h5py.vlen_dtype("f4")), NOT_WEIGHTS),
    Attack("references", of_dtype(h5py.ref_dtype), NOT_WEIGHTS),
    Attack("region references", of_dtype(h5py.regionref_dtype), NOT_WEIGHTS),
    Attack("records", of_dtype([("a", "f4"), ("b", "f4")]), NOT_WEIGHTS),
    Attack("complex numbers", of_dtype("c8"), NOT_WEIGHTS),
    Attack("arrays of arrays", of_dtype(("f4", (2,))), NOT_WEIGHTS),
    Attack("opaque", of_dtype("V4"), NOT_WEIGHTS),
    Attack("enumeration", of_dtype(h5py.enum_dtype({"A": 0, "B": 1})), f"{NOT_WEIGHTS}|{NOT_PLAIN}"),
    Attack("a cycle of groups", replacing("layers/loop", loop), "perhaps through a cycle"),
    Attack("groups without end", replacing("layers/deep", deep), "more than 200 levels deep"),
    Attack("a group for an array", replacing(f"{VARS}/0", lambda f, at: f.create_group(at)), "weights are|array|expected the weights"),
    Attack("an array for a group", replacing(VARS, lambda f, at: f.__setitem__(at, BIAS)), "weights are|array|expected the weights"),
    Attack("an array for the first group", replacing("layers", lambda f, at: f.__setitem__(at, BIAS)), "weights are|array|expected the weights"),
    Attack(
        "a type for an array", replacing(f"{VARS}/0", lambda f, at: f.__setitem__(at, np.dtype("f4"))), "weights are|array|expected the weights"
    ),
    Attack("names of other kinds", replacing(f"{VARS}/²", lambda f, at: f.__setitem__(at, BIAS)), "weights are|array|expected the weights"),
    Attack("name of a list of texts", attribute("name", ["dense"] * 9)),
    Attack("name of a number", attribute("name", 3)),
    Attack("name of nothing", attribute("name", h5py.Empty("f4"))),
    Attack("name of no text", attribute("name", h5py.Empty(h5py.string_dtype())), "damaged|name"),
    Attack("name of a record", attribute("name", np.zeros((), [("a", "f4")])), "which Keras never writes"),
    Attack("name of lists", attribute("name", np.array([[1, 2]], "i4"))),
    Attack("name of a megabyte", attribute("name", "x" * 2**20), "the weights at"),
    Attack("name of 40 megabytes", attribute("name", np.zeros(2**23, "i4"), libver="latest"), "larger than any"),
    Attack("another name", attribute("name", "other"), "belong to 'other'"),
    Attack("numbers of 4 bytes", lambda: _sized(4), "offsets and lengths"),
)  # fmt: skip


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
def test_trees_that_lead_elsewhere(attack: Attack, folder: Path) -> None:
    _attacked(replace(attack, data=lambda: keras(weights=attack.data())), folder / "m.keras")


@pytest.mark.parametrize(
    "attack", [each for each in TREES if each.match in (LINK, NOT_PLAIN)], ids=attrgetter("name")
)
def test_trees_that_lead_elsewhere_in_a_shard(attack: Attack, folder: Path) -> None:
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
def test_links_in_a_whole_model_file(link: Any, folder: Path) -> None:
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
def test_names_in_whole_model_files_that_are_none(which: str, names: str, folder: Path) -> None:
    def fill(weights: Any) -> None:
        weights.attrs["layer_names"] = [b"dense"]
        group = weights.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel", b"dense/bias"]
        (weights if which == "layer_names" else group).attrs[which] = NAMES[names]

    assert outcome(put(folder / "m.h5", hdf5(legacy(fill=fill), libver="latest"))) is not None


def test_a_layer_name_of_thousands_of_slashes(folder: Path) -> None:
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


def test_a_text_that_claims_gigabytes(folder: Path) -> None:
    data = bytearray(hdf5(legacy(version="3.15.1")))
    for at in _references(bytes(data), length=len("3.15.1")):
        data[at : at + 4] = struct.pack("<I", 2**32 - 1)
    taken = cost(put(folder / "m.h5", bytes(data)))
    assert taken.error is not None
    assert "damaged" in taken.error[1]
    assert taken.peak < 150


def test_a_list_whose_texts_are_all_one(folder: Path) -> None:
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
def test_a_heap_that_never_ends(head: bytes, folder: Path) -> None:
    """libhdf5 2.0 and older loop for ever on the first."""
    data = bytearray(hdf5(legacy()))
    at = data.index(b"GCOL") + 16
    data[at : at + 16] = head
    taken = cost(put(folder / "m.h5", bytes(data)))
    assert taken.error is not None
    assert "damaged" in taken.error[1]
    assert taken.seconds < 10


@pytest.mark.parametrize("name", ["keras-3.15.1/lora.h5", "keras-3.15.1/lora.keras"])
def test_trees_whose_nodes_form_a_circle(name: str, folder: Path) -> None:
    """libhdf5 2.0 and older follow them for ever when asked about a group."""
    data = bytearray((RECORDED / name).read_bytes())
    begin = data.index(b"\x89HDF")
    for node in re.finditer(b"TREE", bytes(data)):
        data[node.start() + 16 : node.start() + 24] = struct.pack("<Q", node.start() - begin)
    assert cost(put(folder / "m.keras", bytes(data))).seconds < 10


def test_arrays_that_lie_over_each_other(folder: Path) -> None:
    """Two hundred layers whose kernels are one and the same megabyte, so that the output would be 200 MB."""
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


# ------------------------------------------------------------------------------------------------ JSON


def deep_list(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


TEXTS = (
    Attack("lists without end", lambda: b"[" * 100_000, "nested more deeply than"),
    Attack("objects without end", lambda: b'{"a":' * 100_000, "nested more deeply than"),
    Attack("deep lists that end", lambda: b"[" * 100_000 + b"]" * 100_000, "nested more deeply than"),
    Attack("deeper than allowed", lambda: text_of(between(dense(activation=deep_list(MAX_DEPTH)))), "nested more than"),
    Attack("a number of a million digits", lambda: b'{"a": ' + b"9" * 10**6 + b"}", "not valid JSON"),
    Attack("a long text", lambda: b'{"a": "' + b"x" * MAX_BYTES + b'"}', "more than the 16777216 allowed"),
    Attack("two values", lambda: b"{} {}", "not valid JSON"),
    Attack("no end", lambda: CONFIG[:-1], "not valid JSON"),
    Attack("bytes that are no text", lambda: CONFIG.replace(b"model", b"\xff\xff"), "not valid JSON"),
    Attack("a byte 0", lambda: CONFIG.replace(b"model", b"mo\0el"), "not valid JSON"),
    Attack("keys twice", lambda: CONFIG.replace(b'"units": 3', b'"units": 4, "units": 3')),
    Attack("in UTF-16", lambda: CONFIG.decode().encode("utf-16")),
    Attack("with a byte order mark", lambda: b"\xef\xbb\xbf" + CONFIG),
)  # fmt: skip


@pytest.mark.parametrize("attack", TEXTS, ids=attrgetter("name"))
def test_texts_that_are_no_config(attack: Attack, folder: Path) -> None:
    _attacked(replace(attack, data=lambda: keras(attack.data())), folder / "m.keras")


@pytest.mark.parametrize("attack", TEXTS, ids=attrgetter("name"))
@pytest.mark.parametrize(
    "where", ["metadata.json", "directory", "attribute", "architecture", "index"]
)
def test_such_texts_elsewhere(where: str, attack: Attack, folder: Path) -> None:
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
def test_texts_that_take_memory(bomb: str, folder: Path) -> None:
    members = of_members(config_json={"data": BOMBS[bomb], "method": DEFLATED})
    taken = cost(put(folder / "m.keras", zipped(members)))
    assert taken.error is not None
    assert taken.peak < 300
    assert taken.seconds < 15


# ------------------------------------------------------------------------------------------------ configs


def options(value: Any) -> Json:
    return between(dense(units=value))


def shaped(shape: Any) -> Json:
    return sequential(
        {**given(), "config": {"name": "x", "dtype": "float32", "batch_shape": shape}}, dense()
    )


def inline(value: Any, dtype: Any) -> Json:
    """An array in the config."""
    return between(
        layer(
            "ReLU",
            "r",
            max_value={"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}},
        )
    )


def chained(count: int) -> list[Json]:
    return [
        layer("ReLU", f"r{i}", f"r{i - 1}" if i else "x", dtype="float32", trainable=True)
        for i in range(count)
    ]


def relu(name: str = "r", *sources: Any) -> Json:
    return layer("ReLU", name, *sources, dtype="float32", trainable=True)


WEIGHTLESS: dict[str, tuple[Json, str]] = {
    "a cycle": (functional(given(), relu("a", "b"), relu("b", "a"), outputs="b"), "depends on its own output"),
    "a layer of itself": (functional(given(), relu("a", "a"), outputs="a"), "depends on its own output"),
    "a layer that is not there": (functional(given(), relu("a", "b"), outputs="a"), "'b', which the model does not have"),
    "a call that is not there": (functional(given(), relu("a", tensor("x", 7)), outputs="a"), "call 7 of layer 'x'"),
    "a call before the first": (functional(given(), relu("a", tensor("x", -1)), outputs="a"), "call -1 of layer 'x'"),
    "an output that is not there": (functional(given(), relu("a", tensor("x", 0, 5)), outputs="a"), "output 5"),
    "an output of a layer that is not there": (
        functional(given(), relu("a", "x"), relu("b", tensor("a", 0, 1)), outputs="b"), "layer 'a'.*output 1|output 1 of layer 'a'",
    ),
    "an output of the model that is not there": (
        functional(given(), relu("a", "x"), outputs=[["a", 0, 2]]), "layer 'a'.*output 2|output 2 of layer 'a'",
    ),
    "an output before the first": (
        functional(given(), relu("a", tensor("x", 0, -1)), outputs="a"), "output -1 of layer 'x'",
    ),
    "an output of a text": (functional(given(), relu("a", tensor("x", 0, "0")), outputs="a"), "expected .layer, node"),
    "an output of a text in Keras 2": (
        functional(given(), {**relu("a"), "inbound_nodes": [[["x", 0, [0], {}]]]}, outputs="a"), "expected .layer, node",
    ),
    "an input that is called": (
        functional(given(), {**given("y"), "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]}, outputs="y"),
        "InputLayer 'y' is called",
    ),
    "an input in the middle": (sequential(given(), relu(), given("y")), "InputLayer 'y' is called"),
    "an input that the model does not have": (
        functional(given(), given("y"), relu("a", "y"), outputs="a"), "the InputLayer 'y' is needed",
    ),
    "called on None": (functional(given(), relu("a", "x", None), outputs="a"), ""),
    "called by a name alone": (
        functional(given(shape=(None, 4, 3)), {**layer("GlobalMaxPooling1D", "a"), "inbound_nodes": [
            {"args": [], "kwargs": {"mask": tensor("x")}}]}, outputs="a"), "",
    ),
    "an array for a truth value": (
        functional(given(optional={"class_name": "__numpy__", "config": {"value": [1, 2], "dtype": "int32"}}),
                   relu("a", "x"), outputs="a"), "",
    ),
    "an initial state of a text": (
        functional(given(shape=(None, 4, 3)), {**layer("GRU", "a", units=2), "inbound_nodes": [
            {"args": [tensor("x")], "kwargs": {"initial_state": "a"}}]}, outputs="a"), "",
    ),
    "a difference of three": (functional(given(), layer("Subtract", "a", "x", "x", "x"), outputs="a"), ""),
    "a only one of mean and variance": (between(layer("Normalization", "n", mean=1.0)), "only one of mean and variance"),
    "a pooling in a Bidirectional": (
        sequential(given(shape=(None, 8, 3)), layer("Bidirectional", "b", layer=layer("MaxPooling1D", "p"))),
        "is a MaxPooling1D, which cannot be wrapped",
    ),
    "an operation on a dict": (
        functional(given(), layer("Negative", "a", {"a": tensor("x")}, module="keras.src.ops.numpy"), outputs="a"), "",
    ),
    "an operation on a list": (
        functional(given(), layer("Pad", "a", [tensor("x")], module="keras.src.ops.numpy", pad_width=1), outputs="a"),
        "",
    ),
    "a slice to a list": (
        functional(given(), layer("GetItem", "a", module="keras.src.ops.numpy") | {"inbound_nodes": [{"args": [
            tensor("x"), [{"class_name": "__slice__", "config": {"start": None, "stop": [1], "step": None}}]
        ], "kwargs": {}}]}, outputs="a"), "",
    ),
    "an input twice": (
        functional(given(), relu("a", "x"), inputs=[["x", 0, 0], ["x", 0, 0]], outputs="a"), "the input 'x' is listed twice",
    ),
    "windows of which there are none": (functional(
        given(shape=(None, 7, 6, 1)),
        layer("Unfold", "u", module="keras.src.ops.nn", kernel_size=2, dilation=1, padding=0, stride=1)
        | {"inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]}, outputs="u"), "cannot be converted exactly",
    ),
    "no layers": (functional(outputs="x"), "'x', which the model does not have"),
    "no layers in a row": (sequential(), "has no layers, so it computes nothing"),
    "no outputs": (functional(given(), outputs=[]), ""),
    "no inputs": (functional(given(), relu("a", "x"), inputs=[], outputs="a"), ""),
    "an input that is no input": (functional(given(), relu("a", "x"), inputs="a", outputs="a"), ""),
    "two layers of a name": (functional(given(), relu("a", "x"), relu("a", "x"), outputs="a"), ""),
    "called without an input": (
        functional(given(), {**relu("a"), "inbound_nodes": [{"args": [], "kwargs": {}}]}, outputs="a"), "",
    ),
    "called on a number": (functional(given(), relu("a", 3), outputs="a"), ""),
    "an id of two layers": (
        sequential(given(), {**relu("a"), "shared_object_id": 1}, {**relu("b"), "shared_object_id": 1}), "",
    ),
    "an id of all": (sequential(*({**each, "shared_object_id": 1} for each in (given(), relu("a"), relu("b")))), ""),
    "an id of a model and what is in it": (
        sequential(given(), sequential(given("i"), relu(), name="n", shared_object_id=1), shared_object_id=1), "",
    ),
    "a model that is a layer": (relu(), "not a Sequential or functional model"),
    "a list": ([], "in place of a layer"),  # type: ignore[dict-item]
    "a wrapper of nothing": (sequential(given(shape=(None, 3, 4)), layer("TimeDistributed", "t", layer=None)), "None"),
    "a wrapper of a wrapper of an operation": (
        sequential(given(shape=(None, 3, 4)), layer("TimeDistributed", "t", layer={
            "module": "keras.src.ops.numpy", "class_name": "Add", "config": {"name": "a"}})), "operation",
    ),
    "cells of nothing": (sequential(given(shape=(None, 3, 4)), layer("RNN", "r", cell={
        "class_name": "StackedRNNCells", "config": {"name": "s", "cells": 7}})), ""),
    "a regular expression that takes for ever": (sequential(given(), relu() | {"config": {"name": "r" * 40, "dtype": {
        "module": "keras", "class_name": "DTypePolicyMap", "config": {
            "default_policy": "float32", "policy_map": {"(r+)+$": "float16"}}}}}), ""),
    "an array of texts": (inline("x", "float32"), "rectangular array of float32 numbers"),
    "an array of another shape": (inline([[1], [2, 3]], "float32"), "not a rectangular array"),
    "an array of objects": (inline([1], "object"), "not a numeric dtype"),
    "an array of a made type": (inline([1], "O,O"), "not a numeric dtype"),
    "an array of a list as type": (inline([1], ["f4"]), ""),
    "an array of numbers too large": (inline([2**70], "int32"), "int32 numbers"),
    "an array as an option": (inline([1, 2], "float32"), ""),
    "an infinite option": (between(layer("ReLU", "r", max_value=float("inf"))), ""),
    "an option that is no number": (between(layer("ReLU", "r", negative_slope=float("nan"))), ""),
    "a padding of 10**12": (
        sequential(given(shape=(None, 4, 4, 3)), layer("ZeroPadding2D", "z", padding=[[10**12] * 2] * 2)), "",
    ),
    "10**12 repetitions": (between(layer("RepeatVector", "r", n=10**12)), ""),
    "a size of 4000 digits": (
        sequential(given(shape=(None, 4, 4, 3)), *[layer("UpSampling2D", i, size=[10**4000] * 2) for i in "ab"]), "",
    ),
    "a shape of 300 axes": (sequential(given(shape=(None, *[10**18] * 300)), layer("Flatten", "f")), ""),
    "a scale of texts": (between(layer("Rescaling", "r", scale="a")), "scale='a': expected a rectangular array of numbers"),
    "scales of several lengths": (between(layer("Rescaling", "r", scale=[[1], [1, 2]])), "expected a rectangular array of numbers"),
    "a slope that float32 does not hold": (between(layer("LeakyReLU", "r", negative_slope=1e300)), "a finite number"),
    "an activation of numbers": (
        between(layer("Activation", "a", activation={
            "class_name": "__numpy__", "config": {"value": [1, 2], "dtype": "int32"}})), "expected str",
    ),
    "no stride": (
        sequential(given(shape=(None, 8, 3)), layer("MaxPooling1D", "p", pool_size=[2], strides=[0])),
        r"strides=\(0,\): expected tuple\[int >= 1, ...\] of length 1",
    ),
    "strides of too few axes": (
        sequential(given(shape=(None, 8, 8, 3)), layer("MaxPooling2D", "p", pool_size=[2, 2], strides=[1])), "of length 2",
    ),
    "negative strides": (
        sequential(given(shape=(None, 8, 3)), layer("MaxPooling1D", "p", pool_size=[2], strides=[-1])), "int >= 1",
    ),
    "a window of nothing": (sequential(given(shape=(None, 8, 3)), layer("MaxPooling1D", "p", pool_size=[0])), "int >= 1"),
    "reshaped to nothing": (sequential(given(shape=(None, 0)), layer("Reshape", "r", target_shape=[0, -1])), ""),
    "nothing reshaped to nothing": (sequential(given(shape=(None, 0)), layer("Reshape", "r", target_shape=[0])), ""),
    "an axis that is not there": (between(layer("Softmax", "s", axis=9)), ""),
    "axes that are not there": (between(layer("Permute", "p", dims=[2, 3])), "dims|axis 2 does not exist"),
    "a negative axis to concatenate": (
        functional(given(), layer("Concatenate", "c", "x", "x", axis=-7), outputs="c"), "axis -7",
    ),
    "nothing to concatenate": (
        functional(given(), layer("Concatenate", "c") | {"inbound_nodes": [{"args": [[]]}]}, outputs="c"), "",
    ),
    "one input for two": (functional(given(), layer("Dot", "d", "x", axes=1), outputs="d"), ""),
    "lists for axes": (functional(given(), layer("Dot", "d", "x", "x", axes=[[1], [1]]), outputs="d"), ""),
    "a cropping of everything": (
        sequential(given(shape=(None, 4, 3)), layer("Cropping1D", "c", cropping=[9, 9])), "",
    ),
    "a cropping of texts": (sequential(given(shape=(None, 4, 3)), layer("Cropping1D", "c", cropping=["a", {}])), ""),
    "a padding of texts": (
        sequential(given(shape=(None, 4, 4, 3)), layer("ZeroPadding2D", "z", padding=["a", None])), "",
    ),
    "a size of texts": (sequential(given(shape=(None, 4, 3)), layer("UpSampling1D", "u", size="x")), ""),
    "a class name of a megabyte": (between({**relu(), "class_name": "A" * 2**20}), ""),
    "an option of a megabyte": (between(layer("ReLU", "r", secret=["x" * 40] * 20_000)), ""),
    "a layer name of a megabyte": (between({**relu(), "class_name": "Foo", "config": {"name": "x" * 2**20}}), ""),
}  # fmt: skip

NO_SHAPES: tuple[Any, ...] = (
    [-1, 4], [None, -4], [None, "4"], [None, 1e308], "abc", {}, None, [], 7, [[None, 4]], [None, {}],
)  # fmt: skip
ODD_SHAPES: tuple[Any, ...] = ([None, 10**30], [True, 4], [None] * 60, [4])
DENSES: dict[str, tuple[Json, str]] = {
    **{f"units of {value!r}": (options(value), "") for value in (10**12, -3, 0, "3", 3.5, None, [3], {"a": 3}, True)},
    **{f"a shape of {str(shape)[:30]}": (shaped(shape), "input shape is") for shape in NO_SHAPES},
    **{f"a shape of {str(shape)[:30]}": (shaped(shape), "") for shape in ODD_SHAPES},
    "no options": (between(layer("Dense", "dense")), ""),
    "no bias, and one": (between(dense(use_bias="no")), ""),
    "a bias of an object": (between(dense(use_bias={"class_name": "x"})), ""),
    "a LoRA of a text": (between(dense(lora_rank="2")), ""),
    "a LoRA of no rank": (between(dense(lora_rank=0.5, lora_alpha=[])), ""),
    "a policy of int8": (between(dense(dtype={"class_name": "Quantized", "config": {"mode": "int8"}})), ""),
    "a policy of a number": (between(dense(dtype=7)), ""),
    "a policy of policies": (between(dense(dtype={"config": {"default_policy": {"config": {"name": 3}}}})), ""),
    "an activation of a list": (between(dense(activation=["relu"])), ""),
    "an activation of objects": (between(dense(activation={"class_name": "function", "config": {"a": [1]}})), ""),
    "a regularizer of a text": (
        between(dense(kernel_regularizer={"class_name": "L2", "config": {"l2": "x"}})), "",
    ),
    "a regularizer without a config": (between(dense(kernel_regularizer={"class_name": "L2", "config": None})), ""),
    "a regularizer of 400 digits": (
        between(dense(kernel_regularizer={"class_name": "L2", "config": {"l2": 10**400}})), "",
    ),
    "a build config of texts": (between({**dense(), "build_config": "x"}), ""),
    "a build config of objects": (
        between({**dense(dtype="int8_from_float32"), "build_config": {"input_shape": {}}}), "",
    ),
}  # fmt: skip


def _config_cases() -> list[Any]:
    made = []
    for table, weights in ((WEIGHTLESS, no_weights), (DENSES, forged.dense_weights)):
        for name, (config, match) in table.items():
            for to in TARGETS:
                made.append(pytest.param(config, weights, match, to, id=f"{name}-{to}"))
    return made


@pytest.mark.parametrize(("config", "weights", "match", "to"), _config_cases())
def test_configs_that_make_no_sense(
    config: Any, weights: Any, match: str, to: str, folder: Path
) -> None:
    """Most are refused; some work, where what is odd does not matter."""
    source = put(folder / "m.keras", keras(config, hdf5(weights)))
    if match:
        refused(source, match, to=to)
    else:
        outcome(source, to=to)


LAYER_NAMES: dict[str, Any] = {
    "climbing": "../../x", "rooted": "/etc/passwd", "with a slash": "a/b", "with a byte 0": "a\0b", "dots": "..",
    "markup": "<script>alert(1)</script>", "half a letter": "\ud800", "a megabyte": "x" * 2**20, "empty": "",
    "blank": " ", "a line": "a\nb", "an escape": "\x1b[31m", "a number": 7, "an object": {"a": 1}, "null": None,
    "a prototype": "__proto__",
}  # fmt: skip


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("where", ["layer", "input", "model"])
@pytest.mark.parametrize("name", LAYER_NAMES)
def test_names_that_are_no_names(name: str, where: str, to: str, folder: Path) -> None:
    odd = LAYER_NAMES[name]
    names = {"layer": "dense", "input": "x", "model": "model", where: odd}
    config = sequential(given(names["input"]), dense(names["layer"]), name=names["model"])
    source = put(folder / "m.keras", keras(config))
    if outcome(source, to=to) is None:
        written = folder.parent / f"{folder.name}-out"
        assert all(
            re.fullmatch(r"model\.json|group1-shard\d+of\d+\.bin", path.name)
            for path in written.iterdir()
        )
        assert "<script" not in json.dumps(
            json.loads((written / "model.json").read_text())["modelTopology"]
        )


@pytest.mark.parametrize(
    "name", [name for name, odd in LAYER_NAMES.items() if isinstance(odd, str)]
)
def test_reports_can_be_printed(name: str, folder: Path) -> None:
    """Without commands to the terminal."""
    lines = str(
        kerasport.check(
            put(folder / "m.keras", keras(sequential(given(), dense(LAYER_NAMES[name]))))
        )
    ).split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) < 20
    assert max(map(len, lines)) < 1000


def test_a_message_tells_of_the_first_of_many(folder: Path) -> None:
    config = between(*(layer("Unknown", f"u{number}") for number in range(60)))
    error = refused(
        put(folder / "m.keras", keras(config, hdf5(no_weights))),
        "and 10 more; run kerasport check for the full list",
    )
    assert isinstance(error, UnsupportedModel)
    assert len(error.problems) == 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dense_1", "dense_1"),
        ("a\nb\x1b[31m\u202e\ud800", r"a\nb\x1b[31m\u202e\ud800"),
        ("ß層", "ß層"),
        ("<" + "x" * 300 + ">", "<" + "x" * 49 + "…" + "x" * 49 + ">"),
    ],
)
def test_texts_are_made_legible(text: str, shown: str) -> None:
    assert legible(text, 100) == shown


# ------------------------------------------------------------------------------------------------ size


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
    return functional(given(), {**inner, "name": "n" * 2**20, "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]},
                      outputs="n" * 2**20)  # fmt: skip


LARGE: dict[str, tuple[Json, bool]] = {
    "500 functions": (functions(500), True),
    "models in wrappers 25 deep": (wrapped(25, 1000), True),
    "a model inside of a long name": (named_at_length(), False),
    "1999 layers in a row": (sequential(given(), *[relu(f"r{i}") for i in range(1999)]), True),
    "1999 layers in a graph": (functional(given(), *chained(1999), outputs="r1998"), True),
    "2000 inputs of a sum": (
        functional(given(), *[relu(f"r{i}", "x") for i in range(2000)],
                   layer("Add", "sum", *[f"r{i}" for i in range(2000)]), outputs="sum"), True,
    ),
    "1999 calls of a layer": (
        functional(given(), {**relu(), "inbound_nodes": [
            {"args": [tensor("r", i - 1) if i else tensor("x")], "kwargs": {}} for i in range(1999)
        ]}, outputs=["r", 1998, 0]), True,
    ),
    "models nested 59 deep": (nested(59), True),
    "models nested 61 deep": (nested(61), False),
    "models that double 11 times": (doubled(11), True),
    "models that double 25 times": (doubled(25), False),
    "a word of a million letters": (between(layer("Foo", "f", vocabulary=["x" * 10] * 300_000)), False),
}  # fmt: skip


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
    "calls of one": functional(given(), {**relu(), "inbound_nodes": [
        {"args": [tensor("r", i - 1) if i else tensor("x")], "kwargs": {}} for i in range(2000)
    ]}, outputs=["r", 1999, 0], name="deep"),
    "in a model inside": sequential(given(), sequential(given("i"), *[relu(f"r{i}") for i in range(2000)], name="deep")),
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
def test_models_too_deep_for_the_stack_of_a_browser(name: str, folder: Path) -> None:
    source = put(folder / "m.keras", keras(DEEP[name], hdf5(no_weights)))
    refused(source, r"layer 'deep': .* overflow the stack of a browser.*--to tfjs-graph")
    done = kerasport.check(source)
    assert done.convertible
    assert done.target == "graph-model"
    assert any("overflow the stack" in note for note in done.notes)


# ------------------------------------------------------------------------------------------------ every value

VALUES = {
    "null": None, "list": [], "object": {}, "text": "x", "minus one": -1, "huge": 1e308, "true": True,
    "deep": deep_list(150), "gone": ...,
}  # fmt: skip
WRITERS = {"3.15.1": ("functional", "int8"), "2.15.0": ("functional",)}


def places(
    value: Any, path: tuple[Any, ...] = (), kind: str = ""
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Path of each value within a value, and of what kind the place is: two places of a kind are read alike."""
    yield path, kind
    if isinstance(value, dict):
        kind = str(value.get("class_name", kind))
        for key, inner in value.items():
            yield from places(inner, (*path, key), f"{kind}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index), f"{kind}[{min(index, 1)}]")


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return None if new is ... else new
    changed = value.copy()
    if len(path) == 1 and new is ...:
        del changed[path[0]]
    else:
        changed[path[0]] = with_value(value[path[0]], path[1:], new)
    return changed


def _recorded(name: str) -> tuple[Any, bytes]:
    with zipfile.ZipFile(RECORDED / name) as archive:
        return json.loads(archive.read("config.json")), archive.read("model.weights.h5")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("writer", "name", "value"),
    [
        (writer, name, value)
        for writer, names in WRITERS.items()
        for name in names
        for value in VALUES
    ],
)
def test_every_value_of_a_config_may_be_another(
    writer: str, name: str, value: str, tmp_path: Path
) -> None:
    config, weights = _recorded(f"keras-{writer}/{name}.keras")
    source = unzipped(tmp_path / "m", config, weights)
    (source / "metadata.json").write_text(json.dumps({"keras_version": writer}))
    kinds = {kind: path for path, kind in places(config)}
    failed: dict[str, Any] = {}
    for path in kinds.values():
        (source / "config.json").write_bytes(text_of(with_value(config, path, VALUES[value])))
        try:
            kerasport.check(source)
        except KerasportError as error:
            forged.check_message(error, source)
        except Exception as error:  # noqa: BLE001  (that there is none is what is asserted)
            failed.setdefault(repr(error)[:100], path)
    assert not failed


# ------------------------------------------------------------------------------------------------ damage

WHOLE = ("keras-3.15.1/lora.keras", "keras-3.15.1/lora.h5", "keras-2.15.0/functional.h5")


@pytest.mark.parametrize("name", [*WHOLE, "deflated"])
def test_truncated_files(name: str, folder: Path) -> None:
    data = keras(compression=DEFLATED) if name == "deflated" else (RECORDED / name).read_bytes()
    failed = []
    for length in range(0, len(data) - 1, max(1, len(data) // 150)):
        if outcome(put(folder / "m.keras", data[:length])) is None:
            failed.append(length)
    assert not failed


def damaged(data: bytes, seed: int) -> bytes:
    """The file with a few bytes that are others."""
    chance, made = random.Random(seed), bytearray(data)
    at, kind = chance.randrange(len(data)), chance.randrange(6)
    if kind == 0:
        for _ in range(chance.randint(1, 4)):
            made[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        for _ in range(chance.randint(1, 8)):
            made[chance.randrange(len(data))] = chance.choice((0, 127, 128, 255))
    elif kind == 2:
        width = chance.choice((2, 4, 8))
        number = chance.choice((0, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), at))
        made[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
    elif kind == 3:
        source, width = chance.randrange(len(data)), chance.choice((8, 16, 64, 256))
        made[at : at + width] = data[source : source + width]
    elif kind == 4:
        del made[at : at + chance.choice((1, 8, 100))]
    else:  # an address in the HDF5 data becomes another
        marks = [found.start() for found in re.finditer(rb"TREE|SNOD|HEAP|GCOL|OHDR", data)]
        at = chance.choice(marks) + 8 * chance.randrange(1, 15)
        made[at : at + 8] = chance.choice(marks).to_bytes(8, "little")
    return bytes(made)


EACH = """
import faulthandler, os, pathlib, resource, sys, traceback
import kerasport, ml_dtypes, kerasport.frontends.keras.read.dequantize
from kerasport.errors import KerasportError

def convert(path):
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    try:
        kerasport.convert(path, f"{path}-out")
    except KerasportError:
        pass
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    child = os.fork()
    if not child:
        code = 1
        try:
            code = convert(path)
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    if status or used.ru_maxrss > 300 << 10:
        print(path.name, "status", status, "memory", used.ru_maxrss >> 10, "MB", flush=True)
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is read in a process of its own")
@pytest.mark.parametrize("name", WHOLE)
def test_damaged_files_end_no_process(name: str, folder: Path) -> None:
    """libhdf5 reads structures that contradict each other, in processes with little memory and time."""
    data = (RECORDED / name).read_bytes()
    for seed in range(150):
        put(folder / f"{seed:03}", damaged(data, seed))
    done = subprocess.run(
        [sys.executable, "-c", EACH, folder], capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": str(forged.ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0
    assert not done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------ shards


SHARDS = {
    "../m.h5": "not the name of a file in the same directory", "/etc/passwd": "not the name of a file in the same directory",
    "..\\m.h5": "not the name of a file in the same directory", "C:\\m.h5": "not the name of a file in the same directory",
    "sub/m.h5": "not the name of a file in the same directory", "x" * 5000: "not the name of a file in the same directory",
    "\N{GRINNING FACE}" * 200: "not the name of a file in the same directory",
    "..": "is missing", ".": "is missing|not the name", "": "is missing", "gone.h5": "'gone.h5' is missing; put it",
    "sub": "is missing", "a\0b": "is missing", "\ud800": "is missing",
    "m.json": "HDF5 data cannot be opened", "m.weights.json": "HDF5 data cannot be opened",
}  # fmt: skip


@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize("listed", [False, True], ids=["one", "several"])
def test_shards_lie_beside_their_index(name: str, listed: bool, folder: Path) -> None:
    (folder / "sub").mkdir()
    put(folder / "sub" / "m.h5", hdf5())
    put(folder.parent / "m.h5", hdf5())
    index = put(
        folder / "m.weights.json",
        text_of({"weight_map": {"/layers/dense/vars": [name] if listed else name}}),
    )
    refused(put(folder / "m.json", CONFIG), SHARDS[name], weights=index)


# ------------------------------------------------------------------------------------------------ symbolic links


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
    [("blobs/" + "0a" * 20, True), ("blobs/" + "0a" * 32, True), ("blobs/passwd", False), ("other/" + "0a" * 20, False),
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
def test_indices_that_are_none(entries: Any, folder: Path) -> None:
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


# ------------------------------------------------------------------------------------------------ output


@pytest.fixture
def source(folder: Path) -> Path:
    return put(folder / "m.keras", keras())


def old_model(out: Path) -> dict[str, str]:
    put(out / "model.json", b"{}")
    put(out / "group1-shard1of1.bin", b"old")
    return forged.fingerprint(out)


def test_an_output_is_replaced_only_by_force(source: Path, tmp_path: Path) -> None:
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
@pytest.mark.parametrize("what", ["a file", "a directory of other things", "the model", "the directory of the model",
                                  "a directory above it", "the root"])  # fmt: skip
def test_what_is_no_output_is_never_replaced(
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


def test_a_source_behind_a_link_is_not_replaced(source: Path, tmp_path: Path) -> None:
    put(source.parent / "model.json", b"{}")
    link = tmp_path / "link.keras"
    link.symlink_to(source)
    with pytest.raises(OutputExistsError, match="contains the model"):
        kerasport.convert(link, source.parent, force=True)
    assert source.is_file()


@pytest.mark.parametrize("there", [False, True], ids=["dangling", "to a model"])
def test_an_output_behind_a_link_is_written_where_it_leads(
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
def test_what_fails_halfway_leaves_nothing(
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

    monkeypatch.setattr(kerasport.api, "SMALLEST_SHARD", 1)
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
