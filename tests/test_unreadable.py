"""Files that cannot be read are named, with a remedy; unusual packings are read."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.forged import (
    BIAS,
    DENSE,
    KERNEL,
    RECORDED,
    Json,
    dense,
    dense_weights,
    functional,
    given,
    hdf5,
    keras,
    keras_members,
    layer,
    legacy,
    no_weights,
    put,
    refused,
    sequential,
    tensor,
    text_of,
    unzipped,
)

import kerasport
from kerasport.errors import HostileFileError, KerasportError, ReadError, Refusal, ShapeError
from kerasport.frontends.keras.dtypes import Dtypes
from kerasport.frontends.keras.infer import check_weights
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec, Operation
from kerasport.ir import ops
from kerasport.ir.tensor import Input, TensorType
from kerasport.targets import planned
from kerasport.weights import ComputedWeight

SAVE = r"model\.save\('model\.keras'\)"


def archive(*names: str, **options: Any) -> bytes:
    """A zip of members without content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


def below(top: str) -> bytes:
    """A `.keras` whose members lie in a directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in keras_members().items():
            file.writestr(f"{top}/{name}", data)
    return buffer.getvalue()


def numpy(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def encrypted() -> bytes:
    data = bytearray(keras())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        begin = -1
        while (begin := data.find(mark, begin + 1)) >= 0:
            data[begin + at] |= 1
    return bytes(data)


def nothing(file: Any) -> None:
    file["measurements"] = KERNEL


def keras_0(file: Any) -> None:
    file.attrs["nb_layers"] = 1
    file["layer_0/param_0"] = KERNEL


ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.0.0:\x10"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
TFJS: Json = {"format": "layers-model", "modelTopology": {}, "weightsManifest": []}

FILES: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "weights of Keras 3": (
        hdf5,
        rf"contains only weights.*{SAVE}, or pass the architecture too: .*--weights",
    ),
    "weights of Keras 2": (
        (RECORDED / "keras-2.15.0" / "sequential.legacy_weights.h5").read_bytes,
        "contains only weights.*--weights FILE",
    ),
    "a shard of weights": (
        (RECORDED / "keras-3.15.1" / "sharded_00000.weights.h5").read_bytes,
        "contains only weights.*--weights FILE",
    ),
    "weights of Keras 0": (lambda: hdf5(keras_0), "weights of Keras 0.x, without a model"),
    "HDF5 of others": (lambda: hdf5(nothing), "this HDF5 file was not written by Keras"),
    "HDF5 of nothing": (lambda: hdf5(lambda _: None), "this HDF5 file was not written by Keras"),
    "a numpy array": (lambda: numpy(np.save, KERNEL), rf"a NumPy array, not a model; .*{SAVE}"),
    "numpy arrays": (
        lambda: numpy(np.savez, KERNEL),
        rf"a NumPy archive .*, not a model; .*{SAVE}",
    ),
    "compressed numpy arrays": (lambda: numpy(np.savez_compressed, a=KERNEL), "a NumPy archive"),
    "an ONNX model": (ONNX, "an ONNX model, .*; convert the Keras file it was made from"),
    "the saved_model.pb of a SavedModel": (
        b"\x08\x01\x12\x90\x05" + bytes(40),
        "the file of a SavedModel; .* pass its directory",
    ),
    "a TensorFlow Lite model": (
        b"\x1c\0\0\0TFL3" + bytes(40),
        "a TensorFlow Lite model, .*; convert the Keras file",
    ),
    "a pickle": (
        lambda: pickle.dumps({"model": KERNEL}),
        rf"a Python pickle; .* can run code; .*{SAVE}",
    ),
    "gzip": (lambda: gzip.compress(keras()), "compressed with gzip; decompress it"),
    "a pointer of Git LFS": (LFS, "a Git LFS pointer, .*: git lfs pull"),
    "a web page": (
        b"\n<!DOCTYPE html><html>Not found</html>",
        "a web page, .*; the download failed",
    ),
    "an empty file": (b"", "the file is empty"),
    "a text": (b"hello\n", "neither a .keras zip, nor HDF5, nor an architecture JSON"),
    "noise": (bytes(range(1, 256)) * 8, "neither a .keras zip, nor HDF5, nor an architecture JSON"),
    "zeros": (bytes(5000), "neither a .keras zip, nor HDF5, nor an architecture JSON"),
    "the first half of a .keras": (
        lambda: keras()[:3000],
        "this zip archive is truncated or damaged .*; copy or download it again",
    ),
    "the first half of HDF5": (
        lambda: hdf5(legacy())[:3000],
        "cannot be opened and may be truncated",
    ),
    "a damaged config": (
        lambda: keras().replace(b'"Sequential"', b'"Sequentiel"'),
        "config.json is damaged .* again",
    ),
    "an encrypted .keras": (
        encrypted,
        "config.json is encrypted; unzip the archive with the password and pass the directory",
    ),
    "a .keras within a directory": (
        lambda: below("model"),
        "config.json is in a subdirectory .*; zip the files",
    ),
    "a .keras with numpy weights": (
        lambda: archive("config.json", "metadata.json", "model.weights.npz"),
        rf"pickled objects; kerasport never opens .*{SAVE}",
    ),
    "a .keras without weights": (
        lambda: archive("config.json", "metadata.json"),
        rf"model.weights.h5 is missing; .*{SAVE}",
    ),
    "a PyTorch model": (
        lambda: archive("archive/data.pkl", "archive/data/0", "archive/version"),
        "a PyTorch file",
    ),
    "a zipped SavedModel": (
        lambda: archive("m/saved_model.pb", "m/variables/x"),
        "a zipped SavedModel; unzip it",
    ),
    "a zip of others": (
        lambda: archive("readme.txt"),
        "this zip archive has no config.json, so it is not a Keras model",
    ),
    "a .keras of a layer": (
        lambda: keras(dense()),
        "contains a Dense, not a Sequential or functional model",
    ),
    "a subclassed model": (
        lambda: keras(
            {
                "module": "mine",
                "class_name": "MyModel",
                "config": {},
                "registered_name": "mine>MyModel",
            }
        ),
        "contains a MyModel, .*Rebuild the model with the functional API",
    ),
    "an unbuilt model": (
        lambda: keras(sequential(dense())),
        r"saved before it was built, .*keras.Input\(shape=…\)",
    ),
    "a model of TF.js": (text_of(TFJS), "already a TF.js model, so there is nothing to convert"),
    "a graph-model of TF.js": (text_of({**TFJS, "format": "graph-model"}), "already a TF.js model"),
    "JSON of others": (b'{"a": 1}', "this JSON file is not a Keras architecture"),
    "JSON that ends early": (b'{"class_name": ', "not valid JSON"),
    "an index of shards": (
        text_of({"metadata": {}, "weight_map": {"/layers/dense/vars": "m_00000.weights.h5"}}),
        r"index of sharded weights, without a model; .*model.to_json\(\).*--weights",
    ),
    "an architecture": (
        text_of(DENSE),
        "this architecture has no weights; pass the weights file with --weights",
    ),
    "a config of others": (
        lambda: keras({"class_name": "Sequential", "config": 7}),
        "the config of a Sequential is 7",
    ),
    "Keras 3.2": (
        (RECORDED / "keras-3.2.1" / "shared.keras").read_bytes,
        "Keras 3.2.1 did not save which call .* build the model again",
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_errors_say_what_a_file_is_if_not_a_model(name: str, suffix: str, folder: Path) -> None:
    """Whatever it is called."""
    data, match = FILES[name]
    path = put(folder / f"m.{suffix}", data if isinstance(data, bytes) else data())
    error = refused(path, match)
    assert str(error).startswith(f"{path}: ")
    assert not isinstance(error, HostileFileError)


DIRECTORIES: dict[str, tuple[dict[str, bytes], str]] = {
    "an empty SavedModel": ({"saved_model.pb": b""}, "the file saved_model.pb is empty"),
    "an empty SavedModel of Keras 2": (
        {"saved_model.pb": b"", "keras_metadata.pb": b""},
        "the file saved_model.pb is empty",
    ),
    "a model of TF.js": (
        {"model.json": text_of(TFJS), "group1-shard1of1.bin": b""},
        "already a TF.js model",
    ),
    "nothing": (
        {},
        (
            "this directory has no config.json, so it is not a Keras model; pass the .keras or .h5 "
            "file"
        ),
    ),
    "a model beside others": ({"m.keras": b""}, "pass the .keras or .h5 file"),
    "a config without weights": (
        {"config.json": text_of(DENSE)},
        "has a config.json but no model.weights.h5",
    ),
    "a config that is none": (
        {"config.json": b"x", "model.weights.h5": b""},
        "config.json: this is not valid JSON",
    ),
    "weights that are none": (
        {"config.json": text_of(DENSE), "model.weights.h5": LFS},
        "may be truncated|Git LFS",
    ),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_errors_say_what_a_directory_is_if_not_a_model(name: str, folder: Path) -> None:
    files, match = DIRECTORIES[name]
    source = folder / "m"
    source.mkdir()
    for file, data in files.items():
        put(source / file, data)
    assert str(source) in str(refused(source, match))


@pytest.mark.parametrize("name", ["gone.keras", "gone/m.keras", "m.keras/x", "x" * 300])
def test_a_missing_path_is_an_error(name: str, folder: Path) -> None:
    put(folder / "m.keras", keras())
    assert name in str(refused(folder / name, "no such file|cannot be read"))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything"
)
@pytest.mark.parametrize("which", ["model", "weights"])
def test_a_file_without_read_permission_is_an_error(which: str, folder: Path) -> None:
    path = put(folder / "closed", keras())
    path.chmod(0)
    if which == "model":
        with pytest.raises(KerasportError, match="cannot be read"):
            kerasport.check(path)
    else:
        with pytest.raises(KerasportError, match="cannot be read"):
            kerasport.check(put(folder / "m.json", text_of(DENSE)), weights=path)


WEIGHTS: dict[str, tuple[bytes, str]] = {
    "a .keras": (keras(), "a zip archive.*pass it without --weights"),
    "an empty file": (b"", "empty"),
    "a text": (b"hello", "not an HDF5 file"),
    "a pointer of Git LFS": (LFS, "git lfs pull"),
    "HDF5 of others": (hdf5(nothing), "expected the weights|belong"),
    "JSON of others": (b'{"a": 1}', "not an index of sharded weights, which has a 'weight_map'"),
    "half of them": (hdf5()[:3000], "cannot be opened and may be truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_errors_say_what_a_weights_file_is_if_invalid(name: str, folder: Path) -> None:
    data, match = WEIGHTS[name]
    refused(put(folder / "m.json", text_of(DENSE)), match, weights=put(folder / "w", data))


def test_missing_weights_are_an_error(folder: Path) -> None:
    refused(put(folder / "m.json", text_of(DENSE)), "w.h5: no such file", weights=folder / "w.h5")


@pytest.mark.parametrize("data", [keras(), hdf5(legacy())], ids=["keras", "h5"])
def test_a_model_with_weights_rejects_a_weights_file(data: bytes, folder: Path) -> None:
    weights = put(folder / "w.h5", hdf5())
    refused(
        put(folder / "m.keras", data),
        "contains its own weights; pass a separate weights file only with",
        weights=weights,
    )


def renamed(file: Any) -> None:
    dense_weights(file)
    file["layers/dense/vars"].attrs["name"] = "other"


def more(file: Any) -> None:
    dense_weights(file)
    file["layers/dense_1/vars/0"] = KERNEL


def less(file: Any) -> None:
    file["layers/dense/vars/0"] = KERNEL


def turned(file: Any) -> None:
    file["layers/dense/vars/0"], file["layers/dense/vars/1"] = KERNEL.T, BIAS


def chunked(file: Any) -> None:
    file.create_dataset("layers/dense/vars/0", data=KERNEL, chunks=(2, 3))
    file["layers/dense/vars/1"] = BIAS


OTHERS: dict[str, tuple[Callable[[Any], None], str]] = {
    "of another name": (
        renamed,
        "the weights at .* belong to 'other', .*'dense'.*from different models",
    ),
    "of more layers": (
        more,
        (
            r"1 array\(s\) do not belong to any layer of the config, .*dense_1/vars/0.*from "
            r"different models"
        ),
    ),
    "of fewer": (less, "expected the weights kernel, bias; the file has 1"),
    "of another shape": (
        turned,
        r"'kernel' has the shape \(3, 4\) in the file, but the options give \(4, 3\)",
    ),
    "in chunks": (
        chunked,
        "stored in chunks, which Keras never does; rewrite the file with: h5repack -l CONTI IN OUT",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_weights_of_another_model(name: str, folder: Path) -> None:
    fill, match = OTHERS[name]
    refused(put(folder / "m.keras", keras(weights=hdf5(fill))), match)


# --------------------------------------------------------------------------------------- what works


def of_dtype(dtype: str) -> Callable[[Any], None]:
    def fill(file: Any) -> None:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = (
            KERNEL.astype(dtype),
            BIAS.astype(dtype),
        )

    return fill


def as_bfloat16(file: Any) -> None:
    """As Keras stores bfloat16: two opaque bytes, which hold the upper half of a float32."""
    dense_weights(file)
    for name, array in (("0", KERNEL), ("1", BIAS)):
        del file[f"layers/dense/vars/{name}"]
        halves = (array.view("u4") >> 16).astype("<u2").view("V2")
        file[f"layers/dense/vars/{name}"] = halves
        file[f"layers/dense/vars/{name}"].attrs["dtype"] = "bfloat16"


def short_names(file: Any) -> None:
    legacy()(file)
    weights = file["model_weights"]
    weights.attrs["layer_names"] = ["dense"]  # as newer h5py writes them: references to texts
    weights["dense"].attrs["weight_names"] = ["dense/kernel", "dense/bias"]


def split_names(file: Any) -> None:
    """Lists of more than 64 kB are split."""
    legacy()(file)
    group = file["model_weights/dense"]
    del group.attrs["weight_names"]
    group.attrs["weight_names0"], group.attrs["weight_names1"] = [b"dense/kernel"], [b"dense/bias"]


def many_attributes(file: Any) -> None:
    legacy()(file)
    for number in range(20):
        file.attrs[f"note{number}"] = "x" * number


PACKED: dict[str, Callable[[], bytes]] = {
    "as Keras does": keras,
    "compressed": lambda: keras(compression=zipfile.ZIP_DEFLATED),
    "with a comment": lambda: keras()[:-2] + b"\5\0hello",
    "from Keras 2": lambda: hdf5(legacy(version="2.15.0")),
    "as HDF5": lambda: hdf5(legacy()),
    "as HDF5 behind 512 bytes": lambda: hdf5(legacy(), userblock_size=512),
    "as HDF5 behind 1024 bytes": lambda: hdf5(legacy(), userblock_size=1024),
    "as HDF5 behind 65536 bytes": lambda: hdf5(legacy(), userblock_size=65536),
    "as HDF5 of the latest format": lambda: hdf5(legacy(), libver="latest"),
    "as HDF5 of another format": lambda: hdf5(legacy(), libver=("v108", "v110")),
    "as HDF5 in order of creation": lambda: hdf5(legacy(), track_order=True),
    "as HDF5 with names of no fixed length": lambda: hdf5(short_names),
    "as HDF5 with split names": lambda: hdf5(split_names),
    "as HDF5 with many attributes": lambda: hdf5(many_attributes),
    "with weights behind 512 bytes": lambda: keras(weights=hdf5(userblock_size=512)),
    "with weights of the latest format": lambda: keras(weights=hdf5(libver="latest")),
    "with big-endian weights": lambda: keras(weights=hdf5(of_dtype(">f4"))),
    "with float64 weights": lambda: keras(weights=hdf5(of_dtype("<f8"))),
    "with float16 weights": lambda: keras(weights=hdf5(of_dtype("<f2"))),
    "with bfloat16 weights": lambda: keras(weights=hdf5(as_bfloat16)),
    "with a byte order mark": lambda: keras(b"\xef\xbb\xbf" + text_of(DENSE)),
    "with assets": lambda: _with(keras(), "assets/x.txt", "readme.txt", "__MACOSX/._config.json"),
}


def _with(data: bytes, *names: str) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


def converted(source: Path, out: Path, weights: Path | None = None) -> bytes:
    """The bytes of the weights that were written."""
    kerasport.convert(source, out, weights=weights)
    return (out / "group1-shard1of1.bin").read_bytes()


EXPECTED = KERNEL.tobytes() + BIAS.tobytes()


@pytest.mark.parametrize("suffix", ["keras", "h5", "json", "bin"])
@pytest.mark.parametrize("name", PACKED)
def test_models_are_read_with_any_packing_and_file_name(
    name: str, suffix: str, folder: Path
) -> None:
    assert converted(put(folder / f"m.{suffix}", PACKED[name]()), folder / "out") == EXPECTED


def test_a_directory_is_read(folder: Path) -> None:
    assert converted(unzipped(folder / "m"), folder / "out") == EXPECTED


def test_a_directory_of_links_is_read(folder: Path) -> None:
    """As Hugging Face's cache keeps models."""
    source = folder / "snapshots" / "1f" / "m"
    source.mkdir(parents=True)
    for name, data in keras_members().items():
        (source / name).symlink_to(put(folder / "blobs" / hashlib.sha256(data).hexdigest(), data))
    assert converted(source, folder / "out") == EXPECTED


ARCHITECTURES: dict[str, bytes] = {
    "as to_json says": text_of(DENSE),
    "as get_config says": text_of(DENSE["config"]),
    "as get_config of a graph says": text_of(functional(given(), dense("dense", "x"))["config"]),
    "with a byte order mark": b"\xef\xbb\xbf" + text_of(DENSE),
    "in many lines": json.dumps(DENSE, indent=4).encode(),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    "weights", ["of Keras 3", "behind 512 bytes", "in a whole model", "in a shard"]
)
def test_an_architecture_is_read_with_its_weights(name: str, weights: str, folder: Path) -> None:
    data = {
        "of Keras 3": hdf5(),
        "behind 512 bytes": hdf5(userblock_size=512),
        "in a whole model": hdf5(legacy()),
        "in a shard": text_of({"weight_map": {"/layers/dense/vars": ["s.h5"]}}),
    }[weights]
    put(folder / "s.h5", hdf5())
    source = put(folder / "m.json", ARCHITECTURES[name])
    assert converted(source, folder / "out", put(folder / "w", data)) == EXPECTED


def test_models_without_weights_are_read(folder: Path) -> None:
    """A model may have none; its HDF5 is then almost empty."""
    config = sequential(given(), layer("ReLU", "r"))
    kerasport.convert(
        put(folder / "m.keras", keras(config, hdf5(lambda file: file.create_group("layers")))),
        folder / "o",
    )
    assert sorted(path.name for path in (folder / "o").iterdir()) == ["model.json"]


def test_attributes_out_of_line_say_how_to_rewrite_the_file(folder: Path) -> None:
    """The latest HDF5 format stores more than eight attributes densely, which Keras never does."""
    source = put(folder / "m.h5", hdf5(many_attributes, libver="latest"))
    with h5py.File(source) as file:
        assert len(file.attrs) > 8
    refused(source, "h5repack")


def functional_of(entry: Json) -> bytes:
    """A model of a float input [batch, 4, 3] and one layer."""
    return keras(
        functional(given(shape=(None, 4, 3)), entry, outputs=entry["name"]), hdf5(no_weights)
    )


def test_the_directions_of_a_bidirectional_must_agree(folder: Path) -> None:
    def lstm(name: str, **options: Any) -> Json:
        return layer("LSTM", name, units=2, **options)

    ahead, back = lstm("f", return_sequences=True), lstm("b", go_backwards=True)
    both = layer(
        "Bidirectional", "both", "x", layer=ahead, backward_layer=back, merge_mode="concat"
    )
    refused(
        put(folder / "m.keras", functional_of(both)),
        "Bidirectional needs the same return_sequences in both of its layers, got True in the "
        "forward layer "
        "and False in the backward layer",
    )


def test_a_mask_that_is_not_a_tensor_is_refused(folder: Path) -> None:
    softmax = layer("Softmax", "softmax", "x", axis=-1)
    softmax["inbound_nodes"][0]["kwargs"]["mask"] = {"no": "tensor"}
    refused(
        put(folder / "m.keras", functional_of(softmax)),
        "got values of dtype string",
        to="tfjs-graph",
    )


def test_time_distributed_needs_a_time_axis(folder: Path) -> None:
    inner = layer("StringLookup", "inner", vocabulary=["a", "b"], output_mode="count")
    entries = (
        given(shape=(None,), dtype="string"),
        layer("TimeDistributed", "steps", "x", layer=inner),
    )
    source = put(folder / "m.keras", keras(functional(*entries, outputs="steps"), hdf5(no_weights)))
    refused(source, "TimeDistributed needs an input with a time axis", to="tfjs-graph")


@pytest.mark.parametrize("to", ["tfjs-layers", "tfjs-graph"])
def test_a_model_inside_time_distributed_has_one_input(to: str, folder: Path) -> None:
    inner = functional(
        given("a", shape=(None, 3)), given("b", shape=(None, 3)), layer("Add", "both", "a", "b"),
        inputs=[["a", 0, 0], ["b", 0, 0]], outputs="both",
    )  # fmt: skip
    entries = (
        given(shape=(None, 4, 3)),
        layer("TimeDistributed", "steps", "x", layer=inner),
    )
    source = put(folder / "m.keras", keras(functional(*entries, outputs="steps"), hdf5(no_weights)))
    refused(source, "must have one input, not 2", to=to)


def test_unknown_options_inside_a_wrapper_are_refused(folder: Path) -> None:
    ahead = layer("GRU", "f", units=2, initial_state=1)
    back = layer("LSTM", "b", units=2, go_backwards=True)
    both = layer(
        "Bidirectional", "both", "x", layer=ahead, backward_layer=back, merge_mode="concat"
    )
    refused(put(folder / "m.keras", functional_of(both)), "initial_state")


def test_a_layer_that_is_refused_inside_a_wrapper_keeps_its_outputs(folder: Path) -> None:
    """The graph may use all of them."""

    def fill(file: Any) -> None:
        for way in ("forward_layer", "backward_layer"):
            for index, shape in enumerate([(3, 8), (2, 8), (8,)]):
                file[f"layers/bidirectional/{way}/cell/vars/{index}"] = np.ones(shape, "f4")

    ahead = layer("LSTM", "f", units=2, return_state=True)
    back = layer("LSTM", "b", units=2, return_state=True, go_backwards=True, init="zeros")
    both = layer("Bidirectional", "both", "x", layer=ahead, backward_layer=back, merge_mode=None)
    outputs = [["both", 0, index] for index in range(6)]
    made = functional(given(shape=(None, 4, 3)), both, outputs=outputs)
    refused(put(folder / "m.keras", keras(made, hdf5(fill))), "kerasport does not know this option")


def test_a_mask_value_is_a_number(folder: Path) -> None:
    masking = layer("Masking", "masking", "x", mask_value="dense")
    refused(put(folder / "m.keras", functional_of(masking)), "mask_value")


def test_the_bias_of_an_einsum_fits_its_kernel() -> None:
    """The option leaves the sizes of two axes open."""
    options = {"equation": "abc,cde->abde", "output_shape": [1], "bias_axes": "de"}
    layer = LAYERS["EinsumDense"].from_spec(
        LayerSpec("dense", "EinsumDense", options, weights_of((7, 6, 1), (3, 2)))
    )
    with pytest.raises(ReadError, match="'bias' has the shape"):
        check_weights(LayerSpec("dense", "EinsumDense", options), layer, ((None, 3, 7),))


@pytest.mark.parametrize("rank", [4, 5])
def test_layer_normalization_needs_fixed_sizes(rank: int) -> None:
    """The weights say how large the axis is, but its input leaves that open."""
    shape = [None, *range(2, rank), None]
    x = Call(LayerSpec("x", "InputLayer", {"batch_shape": shape, "dtype": "float32"}))
    options = {"axis": [1, -1] if rank == 4 else [-1]}
    weights = weights_of((3, 2), (3, 2)) if rank == 4 else weights_of((3,), (3,))
    y = Call(LayerSpec("y", "LayerNormalization", options, weights), (KerasTensor(x),))
    model = KerasModel("model", "functional", (x, y), (KerasTensor(x),), (KerasTensor(y),))
    (problem,) = planned(model, "tfjs-layers").problems
    assert "must be fixed" in problem.reason


def test_an_output_that_a_model_does_not_have_has_no_dtype() -> None:
    x = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 4], "dtype": "int32"}))
    inner = KerasModel("inner", "functional", (x,), (KerasTensor(x),), (KerasTensor(x),))
    y = Call(inner, (KerasTensor(x),))
    model = KerasModel("model", "functional", (x, y), (KerasTensor(x),), (KerasTensor(y, 1),))
    assert Dtypes().model(model) == ("float32",)


def weights_of(*shapes: tuple[int, ...]) -> tuple[ComputedWeight, ...]:
    return tuple(
        ComputedWeight(np.dtype("f4"), shape, partial(np.ones, shape, "f4")) for shape in shapes
    )


def test_sizes_of_inputs_are_not_bools() -> None:
    shape = [None, 9, True, 3]
    x = Call(LayerSpec("x", "InputLayer", {"batch_shape": shape, "dtype": "float32"}))
    y = Call(LayerSpec("y", "ReLU", {}), (KerasTensor(x),))
    model = KerasModel("model", "functional", (x, y), (KerasTensor(x),), (KerasTensor(y),))
    with pytest.raises(ReadError, match="expected a list of sizes"):
        planned(model, "tfjs-layers")


def test_pooling_needs_values_and_strides() -> None:
    layer = LAYERS["AdaptiveAveragePooling1D"].from_spec(
        LayerSpec("pool", "AdaptiveAveragePooling1D", {"output_size": [2]})
    )
    with pytest.raises(Refusal, match="no values"):
        layer.lower(Input("x", TensorType("float32", (None, 0, 3))))
    with pytest.raises(ShapeError, match="at least 1"):
        ops.MaxPool(Input("x", TensorType("float32", (None, 4, 4, 3))), (2, 2), (0, 1), "valid")


def test_merge_layers_need_a_batch_axis() -> None:
    """A function of another file may give them a tensor without axes."""
    unread: Any = None
    with pytest.raises(ShapeError, match="batch axis"):
        LAYERS["Add"].infer(unread, (), (3,))


WRAPPED = {
    "TimeDistributed": {"layer": LayerSpec("inner", "Dense", {"units": 3})},
    "SpectralNormalization": {"layer": LayerSpec("inner", "Dense", {"units": 3})},
    "Bidirectional": {
        "forward_layer": LayerSpec("forward", "LSTM", {"units": 3}),
        "backward_layer": LayerSpec("backward", "LSTM", {"units": 3}),
    },
    "RNN": {"cell": LayerSpec("cell", "LSTMCell", {"units": 3})},
    "StackedRNNCells": {"0": LayerSpec("cell", "LSTMCell", {"units": 3})},
}


@pytest.mark.parametrize("to", ["tfjs-layers", "tfjs-graph"])
def test_a_layer_called_without_inputs_is_refused(to: str) -> None:
    """A call of any layer without a tensor is a fault of the file."""
    x = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 4, 5], "dtype": "float32"}))
    for name in set(LAYERS) - {"InputLayer"}:
        y = Call(LayerSpec("y", name, {}, children=WRAPPED.get(name, {})))
        z = Call(LayerSpec("z", "ReLU", {}), (KerasTensor(x),))
        ends = (KerasTensor(y), KerasTensor(z))
        model = KerasModel("model", "functional", (x, y, z), (KerasTensor(x),), ends)
        try:
            assert planned(model, to).problems, name
        except ReadError:
            continue  # an option is missing too


@pytest.mark.parametrize("to", ["tfjs-layers", "tfjs-graph"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Unstack", {"num": 0, "axis": 1}),
        ("Unstack", {"num": 3, "axis": 1}),
        ("Unstack", {"num": -1, "axis": 1}),
        ("Split", {"indices_or_sections": 0, "axis": 1}),
        ("Split", {"indices_or_sections": -1, "axis": 1}),
        ("ArraySplit", {"indices_or_sections": 0, "axis": 1}),
        ("Meshgrid", {"indexing": "xy"}),
    ],
)
def test_a_function_that_returns_nothing_is_refused(
    name: str, options: dict[str, Any], to: str
) -> None:
    x = Call(LayerSpec("x", "InputLayer", {"batch_shape": [None, 4, 5], "dtype": "float32"}))
    arguments = () if name == "Meshgrid" else (KerasTensor(x),)
    y = Call(Operation("y", name, options), arguments)
    model = KerasModel("model", "functional", (x, y), (KerasTensor(x),), (KerasTensor(y),))
    assert planned(model, to).problems


@pytest.mark.parametrize("to", ["tfjs-layers", "tfjs-graph"])
@pytest.mark.parametrize("place", ["a call", "an output of the model"])
def test_a_nested_model_has_only_its_own_outputs(folder: Path, place: str, to: str) -> None:
    """A file may refer to any output, in a call and as an output of the model."""
    inner = sequential(given("y"), layer("ReLU", "r"), name="inner")
    inner |= {"name": "inner", "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]}
    if place == "a call":
        members = (inner, layer("ReLU", "after", tensor("inner", 0, 1)))
        config = functional(given(), *members, outputs="after")
    else:
        config = functional(given(), inner, outputs=["inner", 0, 1])
    source = put(folder / "m.keras", keras(config, hdf5(lambda file: file.create_group("layers"))))
    refused(source, r"'inner'.*output 1, but the model has 1 output", to=to)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sequence_length": 32}, "fft_length=16 is below sequence_length=32"),
        ({"window": [0.5, 1.0, 0.5]}, "the window has 3 values, not 16"),
    ],
)
def test_a_spectrogram_needs_lengths_that_fit(
    folder: Path, options: dict[str, Any], reason: str
) -> None:
    defaults: dict[str, Any] = {"fft_length": 16, "sequence_stride": 8, "num_mel_bins": 4}
    config = sequential(
        given(shape=(None, 64)), layer("MelSpectrogram", "mel", **defaults, **options)
    )
    source = put(folder / "m.keras", keras(config, hdf5(lambda file: file.create_group("layers"))))
    refused(source, reason, to="tfjs-graph")
