"""Seeds and mutations for tools/fuzz.py: from a number to a model file that is broken in some way.

The same seeds, seed number and index always give the same files.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias

import h5py
import ml_dtypes  # noqa: F401  (registers bfloat16 and float8 with numpy)
import numpy as np

Json: TypeAlias = Any
Parts: TypeAlias = dict[str, bytes]
Form: TypeAlias = Literal["keras", "directory", "hdf5", "architecture", "tfjs"]

TESTS = Path(__file__).parent.parent / "tests"
LARGEST = 200_000  # bytes of a file that serves as a seed
HDF5, ZIP = b"\x89HDF", b"PK\3\4"

# ------------------------------------------------------------------------------------------ seeds


@dataclass(frozen=True)
class Seed:
    """A valid model.

    `parts` are the members of a `.keras`, or the files of other forms. `config` names the part that holds the layers;
    of an HDF5 file that part stands for the attribute `model_config`.
    """

    name: str
    form: Form
    parts: Mapping[str, bytes]
    config: str
    source: str  # the path to convert
    weights: str = ""  # the path of the weights of an architecture JSON


@dataclass(frozen=True)
class Sample:
    """The files of one input: path → content, the path to convert, and the path of the weights."""

    seed: Seed
    files: Mapping[str, bytes]
    mutations: tuple[str, ...]


def keras_seed(name: str, data: bytes) -> Seed:
    """A seed from the bytes of a `.keras` file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {
            info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()
        }
    return Seed(name, "keras", parts, "config.json", "m.keras")


def hdf5_seed(name: str, data: bytes) -> Seed | None:
    """A seed from the bytes of a whole-model HDF5 file; None for a file of weights only."""
    with h5py.File(io.BytesIO(data)) as file:
        config = file.attrs.get("model_config")
    if config is None:
        return None
    text = config if isinstance(config, bytes) else str(config).encode()
    return Seed(name, "hdf5", {"m.h5": data, "model_config": text}, "model_config", "m.h5")


def _directory_seed(name: str, folder: Path, form: Form) -> Seed:
    files = [path for path in sorted(folder.iterdir()) if path.suffix != ".npz"]
    parts = {f"m/{path.name}": path.read_bytes() for path in files}
    config = "model.json" if form == "tfjs" else "config.json"
    return Seed(name, form, parts, f"m/{config}", "m")


def _architecture_seed(name: str, path: Path) -> Seed | None:
    stem = path.name.removesuffix(".json")
    beside = [
        other for other in sorted(path.parent.glob(f"{stem}*")) if other.suffix in (".h5", ".json")
    ]
    parts = {
        other.name: other.read_bytes()
        for other in beside
        if b"class_name" in other.read_bytes() or other != path
    }
    index = [other for other in parts if other.endswith(".weights.json")]
    weights = index or [other for other in parts if other.endswith("weights.h5")]
    if path.name not in parts or not weights or path.name in weights:
        return None
    return Seed(name, "architecture", parts, path.name, path.name, weights[0])


def _file_seed(path: Path) -> Seed | None:
    name, data = f"{path.parent.name}/{path.name}", path.read_bytes()
    if data.startswith(ZIP):
        return keras_seed(name, data)
    if data.startswith(HDF5):
        return hdf5_seed(name, data)
    return _architecture_seed(name, path) if path.suffix == ".json" else None


def _quantized_seeds(path: Path) -> Iterator[Seed]:
    """Layers that a version of Keras quantized, each as the only layer of a Sequential."""
    version = path.name.removeprefix("keras-").removesuffix(".json.gz")
    for key, seen in json.loads(gzip.decompress(path.read_bytes())).items():
        dtype, shape = seen["arrays"][0][:2]
        given = {"name": "x", "batch_shape": [None, *shape[1:]], "dtype": dtype}
        layers = [
            {"module": "keras.layers", "class_name": "InputLayer", "config": given, "name": "x"},
            {"module": "keras.layers", "class_name": seen["class_name"], "config": seen["config"]},
        ]
        model = {
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": "m", "layers": layers},
        }
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            group = file.create_group(f"layers/{snake(seen['class_name'])}/vars")
            for number, (kind, sizes, text) in enumerate(seen["stored"]):
                array = np.frombuffer(base64.b64decode(text), np.dtype(kind)).reshape(sizes)
                group[str(number)] = array.view("V2") if array.dtype == "bfloat16" else array
        parts = {
            "metadata.json": json.dumps({"keras_version": version}).encode(),
            "config.json": json.dumps(model).encode(),
            "model.weights.h5": buffer.getvalue(),
        }
        yield Seed(f"{path.name}/{key}", "keras", parts, "config.json", "m.keras")


def snake(class_name: str) -> str:
    """The name of a layer's group in a file of weights."""
    text = "".join(f"_{char.lower()}" if char.isupper() else char for char in class_name)
    return text.strip("_")


def seeds_in(folder: Path) -> Iterator[Seed]:
    """The models of all forms in a directory."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / "config.json").is_file():
            yield _directory_seed(path.name, path, "directory")
        elif path.is_dir() and (path / "model.json").is_file():
            yield _directory_seed(path.name, path, "tfjs")
        elif path.is_dir():
            yield from seeds_in(path)
        elif path.name.endswith(".json.gz"):
            yield from _quantized_seeds(path)
        elif path.suffix in (".keras", ".h5", ".hdf5", ".json") and path.stat().st_size <= LARGEST:
            yield from filter(None, [_file_seed(path)])


def recorded_seeds() -> list[Seed]:
    """The files among the tests, and models of every layer."""
    return [
        seed for name in ("recorded", "quantized", "unrepaired") for seed in seeds_in(TESTS / name)
    ]


# ----------------------------------------------------------------------------------------- corpus


@dataclass(frozen=True)
class Corpus:
    """What the seeds hold: material for mutations."""

    seeds: tuple[Seed, ...]
    costs: tuple[float, ...] = ()  # how often to choose each, summed up
    layers: tuple[Json, ...] = ()  # serialized layers and operations
    values: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)  # by key
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by class


def corpus_of(seeds: Iterable[Seed]) -> Corpus:
    """Collect the material; seeds that take less time are chosen more often."""
    seeds = tuple(seeds)
    layers: dict[str, Json] = {}
    values: dict[str, dict[str, Json]] = defaultdict(dict)
    options: dict[str, dict[str, None]] = defaultdict(dict)
    total, costs = 0.0, []
    for seed in seeds:
        total += _share(seed.parts[seed.config])
        costs.append(total)
        for entry in _entries(json.loads(seed.parts[seed.config])):
            text = json.dumps({**entry, "name": "", "inbound_nodes": []}, sort_keys=True)
            if len(text) < 4_000 and isinstance(entry["class_name"], str):
                layers.setdefault(text, entry)
            for key, value in entry["config"].items():
                options[str(entry["class_name"])][key] = None
                if len(text := json.dumps(value, sort_keys=True)) < 2_000:
                    values[key].setdefault(text, value)
    return Corpus(
        seeds,
        tuple(costs),
        tuple(layers.values()),
        {key: tuple(found.values()) for key, found in values.items()},
        {key: tuple(found) for key, found in options.items()},
    )


SLOW = (
    b"LSTM",
    b"GRU",
    b"RNN",
    b"Attention",
)  # parts of the names of layers that become many operations


def _share(config: bytes) -> float:
    """How often to choose a seed: the longer its config, the less often."""
    slow = any(name in config for name in SLOW)
    return (0.2 if slow else 1) / max(1_500, len(config)) ** 2


def _entries(tree: Json) -> list[dict[str, Any]]:
    """Everything with a class and a config in a tree."""
    found, pending = [], [tree]
    while pending:
        at = pending.pop()
        if isinstance(at, dict):
            if "class_name" in at and isinstance(at.get("config"), dict):
                found.append(at)
            pending += at.values()
        elif isinstance(at, list):
            pending += at
    return found


# ------------------------------------------------------------------------------------------ bytes

INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutated_bytes(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Bytes with one to eight changes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not changed:
            return b""
        at = rng.randrange(len(changed))
        length = min(rng.choice((1, 1, 2, 4, 8, 64, 1024)), len(changed) - at)
        match rng.randrange(9):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.randrange(256)
            case 2:
                width = rng.choice((1, 2, 4, 8))
                value = rng.choice(INTEGERS) & ((1 << 8 * width) - 1)
                changed[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = rng.randbytes(length)
            case 5:
                changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 16))
            case 6:
                begin = rng.randrange(len(changed))
                changed[at : at + length] = changed[begin : begin + length]
            case 7 if rng.random() < 0.3:
                del changed[at:]
            case _:
                if other:
                    begin = rng.randrange(len(other))
                    changed[at : at + length] = other[begin : begin + length]
    return bytes(changed)


# ------------------------------------------------------------------------------------------- JSON

NAMES = (
    "x",
    "dense",
    "",
    "a/b",
    "\ud800",
    "\0",
    "é",
    "..",
    "a" * 300,
    "__class__",
    "constructor",
    "{}",
    "%s",
    "a:0",
)
DTYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool",
    "string", "complex64", "mixed_float16", "mixed_bfloat16", "float8_e4m3fn", "int4",
)  # fmt: skip
WORDS = (
    *NAMES, *DTYPES, "linear", "relu", "softmax", "gelu", "hard_sigmoid", "exponential", "same", "valid", "causal",
    "channels_first", "channels_last", "bilinear", "nearest", "bicubic", "sum", "concat", "mul",
    "ave", "reflect", "symmetric", "constant", "multi_hot", "one_hot", "count", "tf_idf", "int",
    "float", "auto", "none", "ab,bc->ac", "...ab,bc->...ac", "a->a", "->",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 5, 7, -2, 64, 127, 128, 255, 256, 1000, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63,
    -(2**63), 10**30, 0.0, -0.0, 0.5, 1.5, -1.5, 1e-7, 1e-45, 1e38, 3.5e38, 1e308, -1e308,
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
OBJECTS: tuple[Json, ...] = (
    {}, {"class_name": "Dense", "config": {}}, {"class_name": "Dense"}, {"class_name": None, "config": None},
    {"class_name": "__numpy__", "config": {"value": [1, 2], "dtype": "float32"}},
    {"class_name": "__numpy__", "config": {"value": [[1, 2], [3]], "dtype": "int64"}},
    {"class_name": "__tensor__", "config": {"value": 0.5, "dtype": "float32"}},
    {"class_name": "__tensor__", "config": {"value": [True], "dtype": "bool"}},
    {"class_name": "__ellipsis__", "config": {}}, {"class_name": "__slice__", "config": {"start": 0, "stop": 1}},
    {"class_name": "__tuple__", "items": [1, 2]}, {"class_name": "TypeSpec", "items": []},
    {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "keras_history": ["x", 0, 0]}},
    {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}},
    {"class_name": "function", "config": "relu", "module": "builtins", "registered_name": "function"},
    {"module": "keras.layers", "class_name": "ReLU", "config": {"max_value": 6.0}, "registered_name": None},
    {"module": "keras.dtype_policies", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
)  # fmt: skip
LISTS: tuple[Json, ...] = (
    [], [0], [1], [-1], [None], [1, 1], [2, 3], [0, 0], [1, 2, 3], [None, 3], [None, None, None], [[1, 1], [1, 1]],
    [[0, 0], [2, 1]], [[]], ["x", 0, 0], [["x", 0, 0]], [["x", 0, 0, {}]], [True], ["a", "b"], [0.5, -1], [10**12],
)  # fmt: skip
VERSIONS = (
    "1.2.2", "2.2.4", "2.4.0-tf", "2.12.0", "2.15.0", "3.0.5", "3.2.1", "3.3.3", "3.6.0", "3.12.4",
    "3.15.1", "3.16.0", "3", "4.0.0", "0.3", "", "x", "3.x.1", "-1.5", "99999999999999999999.1",
)  # fmt: skip
CALL_ARGUMENTS = (
    "mask", "initial_state", "training", "attention_mask", "query_mask", "value_mask", "key_mask",
    "use_causal_mask", "return_attention_scores", "reverse", "states", "constants", "sequences",
    "inputs", "x", "axis", "y", "key", "value", "count_weights", "name", "sample_weight",
)  # fmt: skip


def some_value(rng: Random) -> Json:
    """A value of any type, a copy that may be changed."""
    if rng.random() < 0.15:
        return rng.choice((None, True, False))
    return json.loads(json.dumps(rng.choice(rng.choice((NUMBERS, WORDS, OBJECTS, LISTS)))))


@dataclass
class Mutator:
    """Changes a parsed config in place. Every method makes one change, if it is possible."""

    rng: Random
    corpus: Corpus
    tree: Json

    def places(self) -> list[tuple[Any, Any]]:
        """Every value of the tree, as its container and its key there."""
        found, pending = [], [self.tree]
        while pending:
            at = pending.pop()
            keys: Iterable[Any] = at if isinstance(at, dict) else range(len(at))
            for key in keys:
                found.append((at, key))
                if isinstance(at[key], dict | list):
                    pending.append(at[key])
        return found

    # ------------------------------------------------------------------------------ any value

    def value(self) -> None:
        """Change a value anywhere."""
        places = self.places()
        if not places:
            return
        at, key = self.rng.choice(places)
        match self.rng.randrange(8):
            case 0:
                at[key] = some_value(self.rng)
            case 1:
                at[key] = self._known(key) if isinstance(key, str) else some_value(self.rng)
            case 2:
                del at[key]
            case 3:
                other, name = self.rng.choice(places)
                at[key] = _copied(other[name])
            case 4:
                at[key] = self._nested(at[key])
            case 5:
                at[key] = self._tweaked(at[key])
            case 6:
                self._duplicate(at, key)
            case _:
                self._rename_key(at, key)

    def _known(self, key: str) -> Json:
        known = self.corpus.values.get(key)
        return _copied(self.rng.choice(known)) if known else some_value(self.rng)

    def _nested(self, value: Json) -> Json:
        match self.rng.randrange(6):
            case 0:
                return [value]
            case 1:
                return [value, _copied(value)]
            case 2:
                return {
                    "class_name": self.rng.choice(("__tuple__", "__tensor__", "Dense")),
                    "config": value,
                }
            case 3:
                return {self.rng.choice(NAMES): value}
            case 4 if self.rng.random() < 0.2:
                for _ in range(self.rng.choice((10, 70, 400, 1200))):
                    value = [value]
                return value
            case _:
                inner = list(value.values()) if isinstance(value, dict) else value
                return self.rng.choice(inner) if isinstance(inner, list) and inner else [value]

    def _tweaked(self, value: Json) -> Json:
        rng = self.rng
        if isinstance(value, bool) or value is None:
            return rng.choice((not value, int(value or 0), str(value), [value]))
        if isinstance(value, int):
            return rng.choice(
                (
                    value + 1,
                    value - 1,
                    -value,
                    value * 2,
                    value * 1000,
                    float(value),
                    str(value),
                    [value],
                )
            )
        if isinstance(value, float):
            return rng.choice((-value, value * 2, value + 0.5, value * 1e20, str(value), [value]))
        if isinstance(value, str):
            return rng.choice(
                (
                    value + "_1",
                    value.upper(),
                    value[1:],
                    value + "\ud800",
                    value * 2,
                    [value],
                    list(value),
                )
            )
        if isinstance(value, list):
            changed = list(value)
            rng.shuffle(changed)
            return rng.choice(
                (
                    changed,
                    value[1:],
                    value[:-1],
                    value + value,
                    [*value, None],
                    dict(enumerate(value)),
                )
            )
        return rng.choice((list(value.values()), list(value), dict(reversed(value.items()))))

    def _duplicate(self, at: Any, key: Any) -> None:
        if isinstance(at, list):
            at[key:key] = [_copied(at[key])] * self.rng.choice((1, 1, 2, 20))
        else:
            at[f"{key}_1" if self.rng.random() < 0.5 else self.rng.choice(CALL_ARGUMENTS)] = (
                _copied(at[key])
            )

    def _rename_key(self, at: Any, key: Any) -> None:
        if isinstance(at, dict):
            at[self.rng.choice((*at, *NAMES, *CALL_ARGUMENTS))] = at.pop(key)
        else:
            at.append(at.pop(key))

    # -------------------------------------------------------------------------------- layers

    def option(self) -> None:
        """Change an option of a layer, mostly to a value that some layer has."""
        entries = _entries(self.tree)
        if not entries:
            return
        entry = self.rng.choice(entries)
        known = self.corpus.options.get(str(entry["class_name"]), ()) or tuple(entry["config"])
        if not known:
            return
        key, old = self.rng.choice(known), entry["config"]
        match self.rng.randrange(8):
            case 0:
                old.pop(key, None)
            case 1 | 2 | 3:
                old[key] = self._known(key)
            case 4 | 5:
                old[key] = self._tweaked(old.get(key))
            case 6:
                old[key] = some_value(self.rng)
            case _:
                old[self.rng.choice(tuple(self.corpus.values))] = some_value(self.rng)

    def other_layer(self) -> None:
        """Put another class, or another layer with its options, in the place of one."""
        entries = _entries(self.tree)
        if not entries:
            return
        entry, other = self.rng.choice(entries), self.rng.choice(self.corpus.layers)
        match self.rng.randrange(4):
            case 0:
                entry["class_name"] = other["class_name"]
            case 1:
                entry["module"] = other.get("module")
            case _:
                kept: dict[str, Any] = {
                    key: entry[key] for key in ("name", "inbound_nodes") if key in entry
                }
                name = entry["config"].get("name")
                entry.clear()
                entry.update(_copied(other))
                entry.update(kept)
                if name is not None:
                    entry["config"]["name"] = name

    def layer_list(self) -> None:
        """Delete, double, move, rename or insert a layer of a model, or a cell of a stack."""
        lists = [
            at[key]
            for at, key in self.places()
            if key in ("layers", "cells") and isinstance(at[key], list)
        ]
        if not lists or not (layers := self.rng.choice(lists)):
            return
        at = self.rng.randrange(len(layers))
        match self.rng.randrange(6):
            case 0:
                del layers[at]
            case 1:
                layers.insert(at, _copied(layers[at]))
            case 2:
                layers.append(layers.pop(at))
            case 3:
                layers.insert(
                    at, {**_copied(self.rng.choice(self.corpus.layers)), "inbound_nodes": []}
                )
            case 4 if isinstance(layers[at], dict):
                self._rename(layers[at])
            case _:
                layers[at] = self._wrapped(layers[at])

    def _rename(self, entry: dict[str, Any]) -> None:
        name = self.rng.choice(NAMES)
        if isinstance(entry.get("config"), dict):
            entry["config"]["name"] = name
        if self.rng.random() < 0.7:
            entry["name"] = name

    def _wrapped(self, entry: Json) -> Json:
        class_name = self.rng.choice(
            ("TimeDistributed", "Bidirectional", "SpectralNormalization", "RNN", "Sequential")
        )
        key = {"RNN": "cell", "Sequential": "layers"}.get(class_name, "layer")
        inner = [_copied(entry)] if key == "layers" else _copied(entry)
        name = f"wrapped_{self.rng.randrange(9)}"
        outer: dict[str, Any] = {
            "module": "keras.layers",
            "class_name": class_name,
            "config": {"name": name, key: inner},
        }
        if isinstance(entry, dict) and self.rng.random() < 0.7:
            outer |= {key: entry[key] for key in ("name", "inbound_nodes") if key in entry}
            outer["config"]["name"] = entry.get("name", name)
        return outer

    def whole(self) -> None:
        """Put the model into another one, or replace it by a part."""
        model = self._model()
        if model is None:
            return
        copied, name = _copied(model), model.get("config", {}).get("name", "m")
        layers = model.get("config", {}).get("layers")
        match self.rng.randrange(3):
            case 0:
                config = {"name": "outer", "layers": [copied] * self.rng.choice((1, 1, 2))}
                model.update({"class_name": "Sequential", "config": config})
            case 1 if isinstance(layers, list) and layers:
                given = (
                    {**_copied(layers[0]), "name": "outer_x"}
                    if isinstance(layers[0], dict)
                    else layers[0]
                )
                call = {"args": [tensor("outer_x")], "kwargs": {}}
                inner = {
                    **copied,
                    "name": name,
                    "inbound_nodes": [call] * self.rng.choice((1, 1, 2)),
                }
                ends = {"input_layers": [["outer_x", 0, 0]], "output_layers": [[name, 0, 0]]}
                model["config"] = {"name": "outer", "layers": [given, inner], **ends}
                model["class_name"] = "Functional"
            case _:
                entry = self.rng.choice(_entries(model))
                kept = _copied(entry)
                model.clear()
                model.update(kept)

    def _model(self) -> dict[str, Any] | None:
        entries = [entry for entry in _entries(self.tree) if "layers" in entry["config"]]
        return entries[0] if entries else None

    # --------------------------------------------------------------------------------- graph

    def graph(self) -> None:
        """Change how layers are called, or the inputs and outputs of a model."""
        self.rng.choice(
            (self._history, self._history, self._reference, self._call, self._argument, self._ends)
        )()

    def _references(self) -> list[tuple[Any, Any]]:
        """Paths of tensors: objects of Keras 3, triples of Keras 2, and triples of inputs and outputs."""
        return [(at, key) for at, key in self.places() if is_tensor(at[key]) or is_triple(at[key])]

    def _layer_names(self) -> list[Any]:
        return [entry["config"].get("name") for entry in _entries(self.tree)] or ["x"]

    def _history(self) -> None:
        """Name another layer, call or output."""
        found = self._references()
        if not found:
            return
        at, key = self.rng.choice(found)
        triple = at[key]["config"].get("keras_history") if is_tensor(at[key]) else at[key]
        if not isinstance(triple, list) or len(triple) < 3:
            return
        which = self.rng.randrange(3)
        if which == 0:
            triple[0] = self.rng.choice(self._layer_names())
        else:
            triple[which] = self.rng.choice((0, 1, 2, -1, 7, 2**31, 0.0, True, None, "0"))

    def _reference(self) -> None:
        """Put something else in the place of a tensor, or double it."""
        found = self._references()
        if not found:
            return
        (at, key), (other, name) = self.rng.choice(found), self.rng.choice(found)
        match self.rng.randrange(6):
            case 0:
                at[key] = _copied(other[name])
            case 1:
                at[key] = [_copied(at[key]), _copied(other[name])]
            case 2:
                at[key] = some_value(self.rng)
            case 3 if isinstance(at, list):
                at.insert(key, _copied(at[key]))
            case 4:
                at[key] = {self.rng.choice(CALL_ARGUMENTS): at[key]}
            case _:
                at[key] = [at[key]]

    def _nodes(self) -> list[list[Any]]:
        return [
            at[key]
            for at, key in self.places()
            if key == "inbound_nodes" and isinstance(at[key], list)
        ]

    def _call(self) -> None:
        """Call a layer once more, or less, or as another one is called."""
        nodes = self._nodes()
        if not nodes:
            return
        calls, others = self.rng.choice(nodes), self.rng.choice(nodes)
        match self.rng.randrange(5):
            case 0 if calls:
                calls.append(_copied(self.rng.choice(calls)))
            case 1 if calls:
                del calls[self.rng.randrange(len(calls))]
            case 2 if calls:
                calls[0] = [calls[0]]
            case _:
                calls += _copied(others)

    def _argument(self) -> None:
        """Give a call a further argument, or move one."""
        calls = [call for calls in self._nodes() for call in calls if isinstance(call, dict)]
        if not calls:
            return
        call = self.rng.choice(calls)
        args, kwargs = call.setdefault("args", []), call.setdefault("kwargs", {})
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            return
        match self.rng.randrange(5):
            case 0:
                kwargs[self.rng.choice(CALL_ARGUMENTS)] = self._operand()
            case 1:
                args.append(self._operand())
            case 2 if args:
                kwargs[self.rng.choice(CALL_ARGUMENTS)] = args.pop()
            case 3 if kwargs:
                args.append(kwargs.pop(self.rng.choice(tuple(kwargs))))
            case _:
                self.rng.shuffle(args)

    def _operand(self) -> Json:
        found = self._references()
        if found and self.rng.random() < 0.6:
            at, key = self.rng.choice(found)
            return _copied(at[key]) if is_tensor(at[key]) else tensor(at[key][0])
        return some_value(self.rng)

    def _ends(self) -> None:
        """Change the inputs or outputs of a model."""
        models = [at for at, key in self.places() if key in ("input_layers", "output_layers")]
        if not models:
            return
        model, key = self.rng.choice(models), self.rng.choice(("input_layers", "output_layers"))
        ends = model.get(key)
        match self.rng.randrange(7):
            case 0 if isinstance(ends, list) and ends:
                ends.append(_copied(self.rng.choice(ends)))
            case 1 if isinstance(ends, list) and ends:
                del ends[self.rng.randrange(len(ends))]
            case 2 if isinstance(ends, list):
                self.rng.shuffle(ends)
            case 3 if isinstance(ends, list):
                model[key] = dict(zip(("a", "b", "c", "d"), ends, strict=False))
            case 4:
                model[key] = [[self.rng.choice(self._layer_names()), 0, 0]]
            case 5:
                model[key] = [ends]
            case _:
                model[key] = _copied(model.get("input_layers"))


def _copied(value: Json) -> Json:
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value


def tensor(name: Any) -> Json:
    """A tensor as Keras 3 refers to it."""
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": None, "keras_history": [name, 0, 0]},
    }


def is_tensor(value: Json) -> bool:
    """Whether a value is a tensor of Keras 3."""
    return (
        isinstance(value, dict)
        and value.get("class_name") == "__keras_tensor__"
        and isinstance(value.get("config"), dict)
    )


def is_triple(value: Json) -> bool:
    """Whether a value is [layer, node, tensor]."""
    return (
        isinstance(value, list)
        and 3 <= len(value) <= 4
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


CHANGES: tuple[tuple[Callable[[Mutator], None], int], ...] = (
    (Mutator.value, 5),
    (Mutator.option, 8),
    (Mutator.graph, 6),
    (Mutator.other_layer, 3),
    (Mutator.layer_list, 2),
    (Mutator.whole, 1),
)
"""Changes of a config, and how often each is made."""


def mutated_config(rng: Random, corpus: Corpus, text: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The text of a config with one to four changes, and the names of the changes."""
    tree = json.loads(text)
    mutator = Mutator(rng, corpus, tree)
    kinds, weights = zip(*CHANGES, strict=True)
    changes = rng.choices(kinds, weights, k=rng.choice((1, 1, 2, 2, 3, 4)))
    for change in changes:
        change(mutator)
    return json.dumps(tree).encode(), tuple(change.__name__ for change in changes)


# ------------------------------------------------------------------------------------------- HDF5


LARGEST = 1 << 24  # bytes of an array that is changed


def mutated_hdf5(rng: Random, data: bytes) -> bytes:
    """An HDF5 file with an array, a group, a link or an attribute changed."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        paths: list[str] = []
        file.visit(paths.append)
        path = rng.choice(paths) if paths else ""
        rng.choice((_change_array, _change_array, _change_link, _change_attribute))(rng, file, path)
    return buffer.getvalue()


def _change_array(rng: Random, file: Any, path: str) -> None:
    item = file[path] if path else None
    if not isinstance(item, h5py.Dataset) or item.dtype.hasobject:
        return
    shape, dtype = item.shape, item.dtype
    if item.nbytes > LARGEST:  # an earlier mutation claims a shape that no file holds
        return
    array = np.asarray(item)
    del file[path]
    match rng.randrange(8):
        case 0:
            file[path] = np.zeros(
                [rng.choice((0, 1, 2, 3, 5)) for _ in range(rng.randrange(5))], "f4"
            )
        case 1:
            file[path] = array.reshape(shape[::-1])
        case 2:
            file[path] = np.zeros(
                shape, rng.choice(("f2", "f8", "i1", "i4", "u8", "?", "c8", "S3", "V2", ">f4"))
            )
        case 3:
            file.create_dataset(path, data=array, chunks=tuple(max(1, n) for n in shape) or None)
        case 4:
            file.create_dataset(path, (2**40,), dtype)
        case 5:
            file[path] = np.full(shape, rng.choice((float("nan"), float("inf"), 1e38)), "f4")
        case 6:
            file[path] = array[..., None]
        case _:
            file[f"{path}_1"] = array


def _change_link(rng: Random, file: Any, path: str) -> None:
    if not path:
        return
    match rng.randrange(5):
        case 0:
            del file[path]
        case 1:
            file.move(path, rng.choice((f"{path}_1", f"layers/{rng.randrange(3)}", "é", "a\\b")))
        case 2:
            del file[path]
            file[path] = h5py.SoftLink("/layers")
        case 3:
            del file[path]
            file[path] = h5py.ExternalLink("other.h5", "/x")
        case _:
            file[f"{path}/more" if isinstance(file[path], h5py.Group) else f"{path}_more"] = file[
                path
            ]


def _change_attribute(rng: Random, file: Any, path: str) -> None:
    attributes = (file[path] if path and rng.random() < 0.7 else file).attrs
    names = list(attributes)
    name = rng.choice(names) if names else "name"
    if rng.random() < 0.3:
        attributes.pop(name, None)
    else:
        attributes[name] = rng.choice(
            (1, b"", "x", "é", [b"a", b"b"], np.zeros(0), 2.5, h5py.Empty("f4"), [b"\xff"])
        )


# ---------------------------------------------------------------------------------------- samples


def packed(seed: Seed, parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a model whose parts are these."""
    if seed.form == "keras":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in parts.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        return {seed.source: buffer.getvalue()}
    if seed.form == "hdf5":
        data = parts[seed.source]
        if parts[seed.config] != seed.parts[seed.config]:
            data = _with_config(data, parts[seed.config])
        return {seed.source: data}
    return dict(parts)


def _with_config(data: bytes, text: bytes) -> bytes:
    """The HDF5 file with another config; unchanged if HDF5 cannot hold it."""
    buffer = io.BytesIO(data)
    try:
        with h5py.File(buffer, "r+") as file:
            file.attrs["model_config"] = text.decode(errors="replace")
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
    ):  # libhdf5 may find the file damaged, or the text too long
        return data
    return buffer.getvalue()


def _mutate_config(rng: Random, corpus: Corpus, seed: Seed, parts: Parts) -> tuple[str, ...]:
    parts[seed.config], changes = mutated_config(rng, corpus, parts[seed.config])
    return changes


def _mutate_text(rng: Random, corpus: Corpus, seed: Seed, parts: Parts) -> tuple[str, ...]:
    other = rng.choice(corpus.seeds)
    parts[seed.config] = mutated_bytes(rng, parts[seed.config], other.parts[other.config])
    return ("text",)


def _mutate_version(rng: Random, corpus: Corpus, seed: Seed, parts: Parts) -> tuple[str, ...]:
    version = rng.choice(VERSIONS) if rng.random() < 0.9 else some_value(rng)
    if "metadata.json" in parts:
        parts["metadata.json"] = json.dumps({"keras_version": version}).encode()
    elif seed.form == "tfjs":
        tree = json.loads(parts[seed.config])
        topology = tree.get("modelTopology") if isinstance(tree, dict) else None
        if isinstance(topology, dict):
            topology["keras_version"] = version
        parts[seed.config] = json.dumps(tree).encode()
    else:
        return _mutate_config(rng, corpus, seed, parts)
    return ("version",)


def _mutate_weights(rng: Random, corpus: Corpus, seed: Seed, parts: Parts) -> tuple[str, ...]:
    del corpus, seed
    trees = [name for name, data in parts.items() if data.startswith(HDF5)]
    if not trees:
        return _mutate_part(rng, parts)
    name = rng.choice(trees)
    try:
        parts[name] = mutated_hdf5(rng, parts[name])
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
    ):  # what libhdf5 or h5py cannot write
        parts[name] = mutated_bytes(rng, parts[name])
    return ("weights",)


def _mutate_part(rng: Random, parts: Parts) -> tuple[str, ...]:
    name = rng.choice(tuple(parts))
    match rng.randrange(8):
        case 0:
            del parts[name]
        case 1:
            parts[name] = parts[rng.choice(tuple(parts))]
        case 2:
            parts[rng.choice(("config.json", "assets/vocabulary.txt", "m/config.json", "x"))] = (
                parts[name]
            )
        case _:
            parts[name] = mutated_bytes(rng, parts[name])
    return ("part",)


def sample(corpus: Corpus, number: int, index: int) -> Sample:
    """Input `index` of the run with that seed number."""
    rng = Random(f"{number}/{index}")
    seed = rng.choices(corpus.seeds, cum_weights=corpus.costs)[0]
    parts, made = dict(seed.parts), list[str]()
    kinds = rng.choices(
        (_mutate_config, _mutate_text, _mutate_version, _mutate_weights, None),
        (70, 6, 6, 8, 10),
        k=rng.choice((1, 1, 2)),
    )
    kinds.sort(key=(_mutate_config, _mutate_version, _mutate_weights, _mutate_text, None).index)
    with suppress(
        KeyError, ValueError, RecursionError
    ):  # an earlier change may leave nothing to change
        for kind in kinds:
            made += kind(rng, corpus, seed, parts) if kind else _mutate_part(rng, parts)
    if not parts or (seed.form == "hdf5" and not {seed.source, seed.config} <= parts.keys()):
        parts = dict(seed.parts)
    files = packed(seed, parts)
    if rng.random() < 0.06:
        name = rng.choice(tuple(files))
        files[name] = mutated_bytes(rng, files[name])
        made.append("bytes")
    return Sample(seed, files, tuple(made))
