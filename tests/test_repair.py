"""Layers-models of the official converter for Keras 3, which TF.js loads only after a repair."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import kerasport
from kerasport.errors import (
    HostileFileError,
    OutputExistsError,
    ReadError,
    UnsupportedModel,
    VerifyError,
)
from kerasport.frontends.keras.read.manifest import read_group
from kerasport.verification.runtimes.tfjs import Backend, Tfjs
from kerasport.weights import Array

UNREPAIRED = Path(__file__).parent / "unrepaired"
LOADING = ("functional_2.h5", "recurrent_2.h5")
"""Models of Keras 2 that load: the first is right, the second is not."""
FOLDERS = sorted(
    path.name for path in UNREPAIRED.iterdir() if path.is_dir() and path.name not in LOADING
)
COMPANION = {"gru": "reset_after"}
"""Models that need the companion, and why they are refused without it."""
ADDED = {
    # the weights hold some that no layer has
    **{f"compiled.{way}": {"repaired-shard1of1.bin"} for way in ("keras", "small_keras")},
    **{
        f"{model}.{way}": {"kerasport-layers.js", "kerasport-layers.d.ts"}
        for model in COMPANION
        for way in ("h5", "keras")
    },
    # the gates of its LSTM have other weights
    "hard_sigmoid.h5": {"repaired-shard1of1.bin"},
}
"""Files that a model has more when it is repaired."""

Json = dict[str, Any]


def arrays(folder: str, prefix: str) -> list[Array]:
    with np.load(UNREPAIRED / folder / "expected.npz") as recorded:
        return [recorded[name] for name in sorted(recorded) if name.startswith(prefix)]


def computes_the_same(tfjs: Tfjs, folder: str, model: Path) -> None:
    for backend in get_args(Backend):
        run = tfjs.run(model, [arrays(folder, "input")], backend=backend)
        for got, wanted in zip(run.results[0], arrays(folder, "output"), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=backend)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def copied(folder: str, to: Path) -> Path:
    return Path(
        shutil.copytree(UNREPAIRED / folder, to / "model", ignore=shutil.ignore_patterns("*.npz"))
    )


def edited(folder: Path, *edits: Callable[[Json], object]) -> Path:
    """The model with another model.json."""
    path = folder / "model.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for edit in edits:
        edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def layers_of(document: Json) -> list[Json]:
    made: list[Json] = document["modelTopology"]["model_config"]["config"]["layers"]
    return made


def manifest_of(document: Json) -> list[Json]:
    made: list[Json] = document["weightsManifest"][0]["weights"]
    return made


# -------------------------------------------------------------------------------- what was recorded


def test_every_converter_option_is_recorded() -> None:
    assert {name.partition(".")[2] for name in FOLDERS} == {
        "h5",
        "keras",
        "shards",
        "groups",
        "small",
        "small_shards",
        "small_keras",
    }
    for name in FOLDERS:
        document = json.loads((UNREPAIRED / name / "model.json").read_text(encoding="utf-8"))
        assert document["convertedBy"] == "TensorFlow.js Converter v4.22.0"
        assert document["modelTopology"]["keras_version"] == (
            "2.15.0" if name == "functional_2.keras" else "3.15.1"
        )
        assert sum(map(len, contents(UNREPAIRED / name).values())) < 100_000


@pytest.mark.parametrize("folder", FOLDERS)
def test_models_of_the_official_converter_do_not_load(folder: str, tfjs: Tfjs) -> None:
    with pytest.raises(VerifyError, match=r"batchInputShape|has no target variable"):
        tfjs.run(UNREPAIRED / folder, [arrays(folder, "input")], backend="cpu")


@pytest.mark.parametrize("folder", FOLDERS)
def test_models_repaired_in_place_match_keras(folder: str, tfjs: Tfjs, tmp_path: Path) -> None:
    model = copied(folder, tmp_path)
    before = contents(model)
    repair = kerasport.repair(model / "model.json")
    computes_the_same(tfjs, folder, model)
    after = contents(model)
    assert after.pop("model.json.bak") == before.pop("model.json")
    del after["model.json"]
    assert {name: after.pop(name) for name in before} == before  # the shards are not touched
    assert set(after) == ADDED.get(folder, set())
    assert repair.repaired
    assert repair.backup == str(model / "model.json.bak")
    assert set(repair.files) == {"model.json", *after}


@pytest.mark.parametrize("folder", FOLDERS)
def test_models_repaired_into_another_directory_match_keras(
    folder: str, tfjs: Tfjs, tmp_path: Path
) -> None:
    model = copied(folder, tmp_path)
    before = contents(model)
    repair = kerasport.repair(model, tmp_path / "right")
    computes_the_same(tfjs, folder, tmp_path / "right")
    assert contents(model) == before
    assert set(repair.files) == set(contents(tmp_path / "right"))
    assert (repair.out, repair.backup) == (str(tmp_path / "right" / "model.json"), "")


@pytest.mark.parametrize("model", COMPANION)
def test_repair_works_without_the_companion(model: str, tmp_path: Path) -> None:
    folder = copied(f"{model}.h5", tmp_path)
    before = contents(folder)
    with pytest.raises(UnsupportedModel, match=COMPANION[model]):
        kerasport.repair(folder, companion=False)
    assert contents(folder) == before
    repair = kerasport.repair(folder)
    assert any("needs the companion" in change for change in repair.changes)
    assert 'import { register } from "./model/kerasport-layers.js"' in str(repair)


def test_a_compiled_model_can_be_trained_further(tfjs: Tfjs, tmp_path: Path) -> None:
    kerasport.repair(copied("compiled.h5", tmp_path))
    described = tfjs.describe(tmp_path / "model")
    assert described["optimizer"]["className"] == "Adam"
    assert described["loss"] == "meanSquaredError"


# ------------------------------------------------------------------------------------ what it tells


GAMMA = "batch_normalization/gamma"


def test_repair_reports_its_changes(tmp_path: Path) -> None:
    model = copied("convolutions.h5", tmp_path)
    repair = kerasport.repair(model / "model.json")
    assert repair.changes == (
        "renamed batch_shape to batch_input_shape in 1 layer(s)",
        "removed the dtype policy of 12 layer(s)",
        "wrote the initializers of 6 layer(s) as Zeros, since their weights are loaded anyway",
        "wrote the regularizers of 1 layer(s) in the format of TF.js",
        "removed the constraints of 1 layer(s), which TF.js would apply to the weights it loads",
        "renamed negative_slope to alpha in 1 LeakyReLU layer(s)",
        "changed activation from 'silu' to 'swish' in 1 layer(s)",
        f"renamed 15 weight(s), such as 'sequential/{GAMMA}' to '{GAMMA}'",
    )
    told = " ".join(str(repair).split())
    assert repair.backup == f"{model}/model.json.bak"
    assert all(f"- {change}" in told for change in repair.changes)
    assert repair.to_dict()["repaired"] is True
    assert "<li><p>renamed negative_slope to alpha" in repair._repr_html_()


def test_weights_without_a_layer_are_reported(tmp_path: Path) -> None:
    repair = kerasport.repair(copied("compiled.keras", tmp_path), tmp_path / "right")
    assert (
        "removed 10 weight(s) that belong to no layer, such as 'optimizer/vars/0'" in repair.changes
    )


def test_colliding_names_are_changed_and_reported(tmp_path: Path) -> None:
    repair = kerasport.repair(copied("nested.h5", tmp_path))
    assert repair.renamed == {"outer/inner/first": "first_1", "outer/inner/norm": "norm_1"}
    assert "layer 'outer/inner/norm' is now 'norm_1'" in str(repair)


def test_metadata_of_the_user_is_kept(tmp_path: Path) -> None:
    model = edited(
        copied("compiled.h5", tmp_path),
        lambda it: it.update(userDefinedMetadata={"labels": ["a", "b"]}),
    )
    kerasport.repair(model)
    document = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert document["userDefinedMetadata"] == {
        "labels": ["a", "b"],
        "kerasport": {"repaired": "TensorFlow.js Converter v4.22.0", "renamed": {}},
    }


def of_a_page(document: Json) -> None:
    document.update(convertedBy=None, generatedBy="TensorFlow.js tfjs-layers v4.22.0")
    document["modelTopology"]["keras_version"] = "tfjs-layers 4.22.0"


@pytest.mark.parametrize(
    "writer", [kerasport.repair, of_a_page], ids=lambda writer: writer.__name__
)
def test_correct_models_are_not_changed(writer: Callable[[Any], object], tmp_path: Path) -> None:
    model = copied("residual.h5", tmp_path)
    if writer is kerasport.repair:
        kerasport.repair(model)
    else:
        edited(model, writer)
    (model / "model.json.bak").unlink(missing_ok=True)
    before = contents(model)
    repair = kerasport.repair(model)
    assert not repair.repaired
    assert str(repair).startswith("Nothing to repair in")
    assert (repair.out, repair.backup, repair.files) == ("", "", ())
    copied_to = tmp_path / "right"
    copy = kerasport.repair(model, copied_to)
    assert not copy.repaired
    assert str(copy).startswith("Nothing to repair in")
    assert (copy.out, copy.backup) == (str(copied_to / "model.json"), "")
    assert contents(model) == contents(copied_to) == before
    assert set(copy.files) == set(before)
    with pytest.raises(OutputExistsError):
        kerasport.repair(model, copied_to)


def test_correct_models_of_keras_2_are_not_changed(tfjs: Tfjs, tmp_path: Path) -> None:
    model = copied("functional_2.h5", tmp_path)
    computes_the_same(tfjs, "functional_2.h5", model)
    before = contents(model)
    repair = kerasport.repair(model, tmp_path / "right")
    assert not repair.repaired
    assert repair.notes == ("TF.js loads it, and computes every layer of it as Keras does",)
    assert contents(model) == contents(tmp_path / "right") == before


def test_incorrect_models_of_keras_2_that_load_are_repaired(tfjs: Tfjs, tmp_path: Path) -> None:
    """TF.js hands one of its layers a mask that Keras does not."""
    model = copied("recurrent_2.h5", tmp_path)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        computes_the_same(tfjs, "recurrent_2.h5", model)
    assert kerasport.repair(model).repaired
    computes_the_same(tfjs, "recurrent_2.h5", model)


def every_config(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield from [value["config"]] if isinstance(value.get("config"), dict) else []
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from every_config(inner)


def set_everywhere(key: str, value: Any) -> Callable[[Json], object]:
    def edit(document: Json) -> None:
        for config in every_config(document["modelTopology"]):
            if "units" in config:
                config[key] = value

    return edit


STOPPING: dict[str, Callable[[Json], object]] = {
    "regularizer": set_everywhere(
        "kernel_regularizer", {"class_name": "L2", "config": {"l2": 0.01}}
    ),
    "activity regularizer": set_everywhere(
        "activity_regularizer", {"class_name": "L2", "config": {"l2": 0.01}}
    ),
    "initializer": set_everywhere(
        "kernel_initializer", {"class_name": "LecunNormal", "config": {"seed": None}}
    ),
    "activation": set_everywhere("activation", {"class_name": "function", "config": "relu"}),
}


@pytest.mark.parametrize("name", STOPPING)
def test_models_of_keras_2_that_do_not_load_are_repaired(
    name: str, tfjs: Tfjs, tmp_path: Path
) -> None:
    model = edited(copied("functional_2.h5", tmp_path), STOPPING[name])
    with pytest.raises(VerifyError):
        tfjs.run(model, [arrays("functional_2.h5", "input")], backend="cpu")
    assert kerasport.repair(model).repaired
    if name == "activation":  # which changes what the layers compute
        tfjs.run(model, [arrays("functional_2.h5", "input")], backend="cpu")
    else:
        computes_the_same(tfjs, "functional_2.h5", model)


def test_calls_may_be_numbered_in_any_order(tfjs: Tfjs, tmp_path: Path) -> None:
    """TF.js numbers calls of a shared layer in creation order. Both orders are possible here."""

    def edit(document: Json) -> None:
        (shared,) = [each for each in layers_of(document) if len(each["inbound_nodes"]) == 2]
        shared["inbound_nodes"].reverse()
        for each in layers_of(document):
            for node in each["inbound_nodes"]:
                for reference in node:
                    if reference[0] == shared["name"]:
                        reference[1] = 1 - reference[1]

    told = []
    for edits in ((half_edited,), (half_edited, edit)):
        model = edited(copied("residual.h5", tmp_path / str(len(edits))), *edits)
        told.append("numbered the calls as TF.js does" in kerasport.repair(model).changes)
        computes_the_same(tfjs, "residual.h5", model)
    assert sorted(told) == [False, True]


# ----------------------------------------------------------------------- what somebody else changed


def half_edited(document: Json) -> None:
    """What is found as advice: rename the key, and write the calls as lists."""
    for layer in layers_of(document):
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_input_shape"] = layer["config"].pop("batch_shape")
        for index, node in enumerate(layer["inbound_nodes"]):
            (tensors,) = node["args"]
            tensors = tensors if isinstance(tensors, list) else [tensors]
            layer["inbound_nodes"][index] = [
                [*tensor["config"]["keras_history"], {}] for tensor in tensors
            ]


def test_manually_edited_models_are_repaired(tfjs: Tfjs, tmp_path: Path) -> None:
    model = edited(copied("residual.keras", tmp_path), half_edited)
    with pytest.raises(VerifyError):
        computes_the_same(tfjs, "residual.keras", model)
    kerasport.repair(model)
    computes_the_same(tfjs, "residual.keras", model)


def test_calls_that_could_be_numbered_in_two_ways_are_refused(tmp_path: Path) -> None:
    def edit(document: Json) -> None:
        for layer in layers_of(document):
            if layer["class_name"] == "Dense":
                node = layer["inbound_nodes"][0]
                layer["inbound_nodes"] = [[[*node["args"][0]["config"]["keras_history"], {}]]]

    refused(edited(copied("nested.h5", tmp_path), edit), ReadError, "numbering is ambiguous")


# -------------------------------------------------------------------------------------- the weights


def test_weights_are_read_in_pieces_for_any_shards(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = {
        "a": random.normal(size=(7, 5)),
        "b": random.integers(0, 256, (9,)),
        "c": random.normal(size=0),
    }
    stored = {
        "a": values["a"].astype("<f4"),
        "b": values["b"].astype("u1"),
        "c": values["c"].astype("<f4"),
    }
    entries: list[Json] = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"}
        for name, array in stored.items()
    ]
    entries[1]["quantization"] = {"dtype": "uint8", "min": -1.5, "scale": 0.25}
    data = b"".join(array.tobytes() for array in stored.values())
    for size in (1, 3, 7, 64, 1000):
        files = []
        for start in range(0, len(data), size):
            files.append(tmp_path / f"{size}-{start}.bin")
            files[-1].write_bytes(data[start : start + size])
        found = {
            entry.name: entry.weight for entry in read_group("model.json", entries, files).entries
        }
        wanted = stored | {"b": values["b"].astype("f4") * np.float32(0.25) - np.float32(1.5)}
        for name, weight in found.items():
            np.testing.assert_array_equal(weight.read(), wanted[name])
            pieces = [np.empty(0, "f4"), *weight.pieces(8)]
            assert max(map(len, pieces)) <= 8
            np.testing.assert_array_equal(np.concatenate(pieces), wanted[name].reshape(-1))


def test_integers_are_rounded_as_javascript_rounds(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes([0, 1, 2, 3, 4, 5]))
    entry = {
        "name": "a",
        "shape": [6],
        "dtype": "int32",
        "quantization": {"dtype": "uint8", "min": -1.5, "scale": 0.5},
    }
    (weight,) = (entry.weight for entry in read_group("", [entry], [tmp_path / "a.bin"]).entries)
    assert weight.read().tolist() == [-1, -1, 0, 0, 1, 1]


# ---------------------------------------------------------------------------------- what is refused


def refused(model: Path, error: type[Exception], reason: str) -> None:
    """Nothing may be written, in place or elsewhere."""
    before = contents(model.parent)
    for out in (None, model.parent / "right"):
        with pytest.raises(error, match=reason):
            kerasport.repair(model, out)
        assert contents(model.parent) == before
        assert not (model.parent / "right").exists()


def test_all_unsupported_parts_are_reported_at_once(tmp_path: Path) -> None:
    def edit(document: Json) -> None:
        layers = layers_of(document)
        layers[1]["class_name"] = "Mystery"
        layers[2]["config"]["activation"] = "threshold"

    model = edited(copied("compiled.h5", tmp_path), edit)
    refused(model, UnsupportedModel, "2 part")
    refused(model, UnsupportedModel, "Mystery: TF.js does not have this layer")
    refused(model, UnsupportedModel, "threshold")


@pytest.mark.parametrize(
    "name",
    [
        "../other.bin",
        "/etc/passwd",
        "a/../../b.bin",
        "..",
        "a\\..\\b",
        "sub/group1-shard1of1.bin",
        "x" * 300,
        "",
    ],
)
def test_shards_must_be_next_to_model_json(name: str, tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(bytes(124))
    edit: Callable[[Json], object] = lambda it: it["weightsManifest"][0].update(paths=[name])  # noqa: E731
    refused(
        edited(copied("compiled.h5", tmp_path), edit),
        ReadError,
        "not the name of a file in the same directory|is missing",
    )


def set_first(**values: Any) -> Callable[[Json], object]:
    return lambda document: manifest_of(document)[0].update(values)


BAD: dict[str, tuple[Callable[[Json], object], str]] = {
    "shape larger": (
        set_first(shape=[5, 5]),
        "needs 144 bytes of weights, but the shards have 124",
    ),
    "shape of another": (set_first(shape=[5, 4]), "shape"),
    "shape endless": (set_first(shape=[2**31 - 1] * 16), "weightsManifest needs"),
    "shape negative": (set_first(shape=[-4, -5]), "expected a list of sizes"),
    "shape of bools": (set_first(shape=[True, 20]), "expected a list of sizes"),
    "shape no list": (set_first(shape="45"), "expected a list of sizes"),
    "rank": (set_first(shape=[1] * 40), "expected a list of sizes"),
    "dtype": (set_first(dtype="string"), "not a numeric dtype"),
    "dtype object": (set_first(dtype={}), "structure that Keras writes|not a numeric dtype"),
    "name": (set_first(name=7), "has no name"),
    "name twice": (
        lambda it: manifest_of(it)[1].update(name=manifest_of(it)[0]["name"]),
        "the same name",
    ),
    "name of another": (set_first(name="sequential/dense_1/kernel_"), "found the weight"),
    "quantized": (set_first(quantization={"dtype": "uint8"}), "weightsManifest needs"),
    "quantized no object": (set_first(quantization="uint8"), "is not an object"),
    "weights no list": (
        lambda it: it["weightsManifest"][0].update(weights={}),
        "no list of weights",
    ),
    "paths no names": (lambda it: it["weightsManifest"][0].update(paths=[1]), "not all file names"),
    "shard twice": (
        lambda it: it["weightsManifest"].append(it["weightsManifest"][0]),
        "lists a shard twice",
    ),
    "no manifest": (lambda it: it.pop("weightsManifest"), "weightsManifest is missing"),
    "no topology": (lambda it: it.update(modelTopology=None), "modelTopology is missing"),
    "topology no model": (
        lambda it: it["modelTopology"].update(model_config=[]),
        "does not describe a Keras model",
    ),
    "graph-model": (lambda it: it.update(format="graph-model"), "tf.loadGraphModel"),
    "weights gone": (lambda it: it.update(weightsManifest=[]), "expected the weights"),
    "layer gone": (lambda it: layers_of(it).pop(), "do not belong to any layer"),
    "loose end": (lambda it: layers_of(it)[1].update(class_name=3), "class_name"),
    "infinite": (
        lambda it: it.update(userDefinedMetadata={"a": float("inf")}),
        "contains NaN or infinity",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_models_are_refused(name: str, tmp_path: Path) -> None:
    edit, reason = BAD[name]
    refused(edited(copied("compiled.h5", tmp_path), edit), ReadError, reason)


def test_weights_in_another_order_are_not_confused(tmp_path: Path) -> None:
    def edit(document: Json) -> None:
        weights = manifest_of(document)
        weights.sort(key=lambda entry: entry["name"], reverse=True)

    # of the same shapes, so that only the names tell
    refused(
        edited(copied("nested.h5", tmp_path), edit), ReadError, "found the weight|not in the order"
    )


def test_layers_in_another_order_are_not_confused(tmp_path: Path) -> None:
    def edit(document: Json) -> None:
        weights = manifest_of(document)
        first, start = weights[:2], weights[-2:]
        weights[:2], weights[-2:] = start, first

    refused(
        edited(copied("nested.h5", tmp_path), edit), ReadError, "belongs|shape|not in the order"
    )


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    model = copied("residual.shards", tmp_path)
    shard = model / "group1-shard3of6.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    refused(model, ReadError, "a shard is truncated or belongs to another model")
    shard.unlink()
    refused(model, ReadError, "'group1-shard3of6.bin' is missing")


def test_long_and_deep_json_is_refused(tmp_path: Path) -> None:
    model = copied("compiled.h5", tmp_path)
    (model / "model.json").write_bytes(b'{"a":' * 5000)
    refused(model, ReadError, "JSON")
    (model / "model.json").write_bytes(b'{"a":[' + b"0," * 2_000_000 + b"0]}")
    refused(model, HostileFileError, "the JSON has more than")


def test_a_name_of_many_parts_is_refused(tmp_path: Path) -> None:
    model = edited(copied("compiled.keras", tmp_path), set_first(name="a/" * 5000 + "vars/0"))
    refused(model, HostileFileError, "5001 parts")


def test_files_other_than_model_json_are_refused(tmp_path: Path) -> None:
    (tmp_path / "architecture.json").write_text(
        '{"class_name": "Sequential", "config": {}}', encoding="utf-8"
    )
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    for name, said in {
        "gone": "no such file",
        "list.json": "kerasport convert list.json",
        "architecture.json": "--weights",
    }.items():
        with pytest.raises(ReadError, match=said):
            kerasport.repair(tmp_path / name)


# ---------------------------------------------------------------------------- complete or as it was


def test_a_backup_is_not_overwritten(tmp_path: Path) -> None:
    model = copied("residual.h5", tmp_path)
    (model / "model.json.bak").write_text("precious", encoding="utf-8")
    before = contents(model)
    with pytest.raises(OutputExistsError, match="--force"):
        kerasport.repair(model)
    assert contents(model) == before
    kerasport.repair(model, force=True)
    assert (model / "model.json.bak").read_bytes() == before["model.json"]


def test_the_output_must_not_be_the_directory_of_the_model(tmp_path: Path) -> None:
    model = copied("residual.h5", tmp_path)
    before = contents(tmp_path)
    for out in (model, tmp_path):
        with pytest.raises(OutputExistsError):
            kerasport.repair(model, out, force=True)
    assert contents(tmp_path) == before


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("folder", "step"),
    [("residual.h5", "write_around"), ("residual.h5", "shutil.copyfile"),
          ("compiled.keras", "write_around"),
     ("compiled.keras", "write_weights")],
)  # fmt: skip
def test_an_interrupt_leaves_everything_as_it_was(
    folder: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copied(folder, tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(f"kerasport.targets.tfjs.repaired.{step}", interrupt)
    for out in (None, tmp_path / "right"):
        with pytest.raises(KeyboardInterrupt):
            kerasport.repair(model, out)
        assert contents(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert not [path for path in model.iterdir() if path.is_dir()]


def test_shards_are_removed_if_model_json_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copied("compiled.keras", tmp_path)
    before = contents(tmp_path)
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda a, b: interrupt() if b == model / "model.json" else replace(a, b)
    )
    with pytest.raises(KeyboardInterrupt):
        kerasport.repair(model)
    assert contents(tmp_path) == before
