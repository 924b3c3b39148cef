"""Read a layers-model that the official converter wrote for a Keras 3 model.

TF.js does not understand the config of such a model. It is read like the Keras file that it was
converted from, with references into its shards as weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.keras.model import KerasModel
from kerasport.frontends.keras.read import model_of, well_formed
from kerasport.frontends.keras.read.archive import Contents, read_text, shard_path
from kerasport.frontends.keras.read.json_limits import parse_json
from kerasport.frontends.keras.read.manifest import DTYPES, Manifest, read_group
from kerasport.frontends.keras.read.tfjs_spelling import respelled
from kerasport.frontends.paths import inside
from kerasport.releases import major
from kerasport.urls import check_local

ORIGINAL = "convert the original Keras file instead: kerasport convert model.keras web_model"


@dataclass(frozen=True)
class LayersModel:
    """A model.json with its shards."""

    path: Path
    document: Mapping[str, Any]
    topology: Mapping[str, Any]  # class and config of the model
    version: str  # of the Keras that wrote the model
    manifest: Manifest
    compile_config: Any = None

    @property
    def converter(self) -> str:
        """The program that wrote the file, according to the file."""
        return str(self.document.get("convertedBy") or self.document.get("generatedBy") or "")

    @property
    def native(self) -> bool:
        """Whether TF.js or kerasport wrote it for TF.js, so it is not in a dialect of Keras."""
        writers = ("kerasport", "TensorFlow.js tfjs-layers")
        return self.converter.startswith(writers) or self.version.startswith("tfjs")


def open_layers_model(path: Path) -> LayersModel:
    """Open a model.json, or the one in a directory, without reading any weight.

    Raises:
        ReadError: it is not a layers-model, or a shard is missing.
        HostileFileError: it refers to files elsewhere, or is larger than a model needs.
    """
    check_local(path)
    path = inside(path, path / "model.json") if path.is_dir() else path
    document = _document(path)
    with well_formed(str(path)):
        return _layers_model(path, document)


def is_layers_model(path: Path) -> bool:
    """Whether a path is, or contains, a model.json of TF.js, even a damaged one."""
    if path.is_dir():
        return (path / "model.json").is_file() and not (path / "config.json").is_file()
    return path.is_file() and path.suffix == ".json" and b'"modelTopology"' in read_text(path)


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ReadError(
            f"{path}: no such file; pass the model.json that tensorflowjs_converter wrote"
        )
    text = read_text(path)
    if not text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise ReadError(
            f"{path}: this is not a model.json; to convert a Keras file, run: kerasport convert "
            f"{path.name} web_model"
        )
    document: dict[str, Any] = parse_json(text, str(path))
    return document


def _layers_model(path: Path, document: dict[str, Any]) -> LayersModel:
    topology = document.get("modelTopology")
    has_nodes = isinstance(topology, dict) and isinstance(topology.get("node"), list)
    if document.get("format") == "graph-model" or has_nodes:
        raise ReadError(
            f"{path}: this is a graph-model, which contains operations instead of layers; load it "
            "with tf.loadGraphModel, not with tf.loadLayersModel. repair supports layers-models "
            "only"
        )
    if "modelTopology" not in document and "class_name" in document:
        raise ReadError(
            f"{path}: this is a Keras architecture, not a TF.js model; convert it with its "
            f"weights: kerasport convert {path.name} web_model --weights FILE"
        )
    if not isinstance(topology, dict):
        raise ReadError(
            f"{path}: modelTopology is missing, so the layers are not known; {ORIGINAL}"
        )
    model = topology if topology.get("model_config") is None else topology["model_config"]
    if not isinstance(model, dict) or not isinstance(
        model.get("class_name", model.get("className")), str
    ):
        raise ReadError(f"{path}: modelTopology does not describe a Keras model; {ORIGINAL}")
    if not _is_json(document.get("userDefinedMetadata")):
        raise ReadError(
            f"{path}: userDefinedMetadata contains NaN or infinity, which are not valid JSON; "
            "remove them"
        )
    compiled = (
        topology.get("training_config")
        or model.get("compile_config")
        or document.get("trainingConfig")
    )
    version = str(topology.get("keras_version") or "")
    return LayersModel(path, document, model, version, manifest_of(path, document), compiled)


def _is_json(value: Any) -> bool:
    """Whether a value parsed by Python is valid JSON, which has no NaN and no infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def manifest_of(
    path: Path, document: Mapping[str, Any], dtypes: Mapping[str, str] = DTYPES
) -> Manifest:
    """The weights of a model.json.

    Args:
        path: the file.
        document: its content.
        dtypes: the dtypes that weights may have, and their NumPy types.

    Raises:
        ReadError: a shard is missing, or its size does not match.
    """
    groups = document.get("weightsManifest")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ReadError(
            f"{path}: weightsManifest is missing, so the weights are not known; {ORIGINAL}"
        )
    listed = [name for group in groups for name in group.get("paths") or ()]
    if not all(isinstance(name, str) for name in listed):
        raise ReadError(f"{path}: the paths in weightsManifest are not all file names")
    if len(set(listed)) < len(listed):
        raise HostileFileError(f"{path}: weightsManifest lists a shard twice")
    files = {name: shard_path(path, name) for name in listed}
    read = []
    for group in groups:
        shards = [files[name] for name in group.get("paths") or ()]
        read.append(read_group(str(path), group.get("weights"), shards, dtypes))
    manifest = Manifest(path, tuple(read))
    names = [entry.name for entry in manifest.entries]
    if len(set(names)) < len(names):
        raise ReadError(f"{path}: weightsManifest gives two weights the same name")
    return manifest


def read_layers_model(source: LayersModel) -> KerasModel:
    """Read the model that it was converted from.

    Raises:
        ReadError: the config and the weights do not match, or the config was edited since.
    """
    with well_formed(str(source.path)):
        topology = respelled(source.topology)
        if major(source.version) >= 3:
            _renumber(source.path, topology)
    contents = Contents(
        source.path,
        topology,
        source.version,
        compile_config=source.compile_config,
        manifest=source.manifest,
    )
    return model_of(contents)


def _renumber(path: Path, topology: Mapping[str, Any]) -> None:
    """Number calls of nested models as Keras 3 does, if they were rewritten as lists.

    TF.js counts one call more than Keras 3. For a model with one call the translation is unique;
    for a model with several calls a number is ambiguous.
    """
    for entry in entries_of(topology):
        config = entry["config"]
        layers = config.get("layers")
        members = layers if isinstance(layers, list) else []
        members = [member for member in members if isinstance(member, dict)]
        calls = [call for member in members for call in member.get("inbound_nodes") or ()]
        calls = [call for call in calls if isinstance(call, list)]
        models = [member for member in members if "layers" in (member.get("config") or ())]
        if not models or not calls:
            continue
        if any(len(model.get("inbound_nodes") or ()) > 1 for model in models):
            raise ReadError(
                f"{path}: the calls of {quoted(config.get('name', entry['class_name']))} were "
                "edited by hand, so their numbering is ambiguous; restore the file that the "
                f"converter wrote, or {ORIGINAL}"
            )
        names = {str(model.get("name") or model["config"].get("name")) for model in models}
        ends = [config.get("input_layers"), config.get("output_layers")]
        for references in (*calls, *(end for end in ends if isinstance(end, list))):
            _renumber_references(references, names)


def _renumber_references(references: list[Any], models: set[str]) -> None:
    """Change call 1 of the named models to call 0."""
    for reference in references:
        is_call = isinstance(reference, list) and reference and reference[1:2] == [1]
        if is_call and reference[0] in models:
            reference[1] = 0


def entries_of(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield everything in a config that has a class and a config, outermost first."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class_name"), str) and isinstance(item.get("config"), dict):
                yield item
            pending += reversed(item.values())
        elif isinstance(item, list):
            pending += reversed(item)
