"""A layers-model that the official converter made of a Keras 3 model: a config that TF.js does not understand.

It is read as the Keras file that it was made from would be, with references into its shards for weights.
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
from kerasport.frontends.keras.read.archive import Contents, beside, inside, read_text
from kerasport.frontends.keras.read.dialects import major
from kerasport.frontends.keras.read.json_limits import parse_json
from kerasport.frontends.keras.read.manifest import Manifest, read_group
from kerasport.frontends.keras.read.tfjs_spelling import respelled
from kerasport.urls import check_local

ORIGINAL = "convert the original Keras file instead: kerasport convert model.keras web_model"


@dataclass(frozen=True)
class LayersModel:
    """A model.json with its shards."""

    path: Path
    document: Mapping[str, Any]
    topology: Mapping[str, Any]  # class and config of the model
    version: str  # of the Keras that made it
    manifest: Manifest
    compile_config: Any = None

    @property
    def converter(self) -> str:
        """What wrote it, as it says itself."""
        return str(self.document.get("convertedBy") or self.document.get("generatedBy") or "")

    @property
    def native(self) -> bool:
        """Whether it was written for TF.js, by TF.js itself or by kerasport: it is in no dialect of Keras."""
        writers = ("kerasport", "TensorFlow.js tfjs-layers")
        return self.converter.startswith(writers) or self.version.startswith("tfjs")


def open_layers_model(path: Path) -> LayersModel:
    """The model.json at the path, or in the directory there; no byte of a weight is read.

    Raises:
        ReadError: it is something else, or its shards are not there.
        HostileFileError: it asks for files elsewhere, or for more than a model needs.
    """
    check_local(path)
    path = inside(path, path / "model.json") if path.is_dir() else path
    document = _document(path)
    with well_formed(str(path)):
        return _layers_model(path, document)


def is_layers_model(path: Path) -> bool:
    """Whether a path is, or holds, a model.json of TF.js; one that is damaged counts as well."""
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
            f"{path}: this is not a model.json; to convert a Keras file, run: kerasport convert {path.name} web_model"
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
            f"{path}: userDefinedMetadata contains NaN or infinity, which are not valid JSON; remove them"
        )
    compiled = (
        topology.get("training_config")
        or model.get("compile_config")
        or document.get("trainingConfig")
    )
    version = str(topology.get("keras_version") or "")
    return LayersModel(path, document, model, version, _manifest(path, document), compiled)


def _is_json(value: Any) -> bool:
    """Whether a value that Python read as JSON is JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _manifest(path: Path, document: Mapping[str, Any]) -> Manifest:
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
    files = {name: beside(path, name) for name in listed}
    read = (
        read_group(str(path), g.get("weights"), [files[name] for name in g.get("paths") or ()])
        for g in groups
    )
    manifest = Manifest(path, tuple(read))
    names = [entry.name for entry in manifest.entries]
    if len(set(names)) < len(names):
        raise ReadError(f"{path}: weightsManifest gives two weights the same name")
    return manifest


def read_layers_model(source: LayersModel) -> KerasModel:
    """The model that it was made from.

    Raises:
        ReadError: config and weights do not belong together, or somebody has changed the config since.
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
    """Number calls of models inside models as Keras 3 does, where somebody wrote them as lists.

    TF.js counts one call more than Keras 3. A model that is called once has one number in each of the two; of one that
    is called more often a number may mean either of two calls.
    """
    for entry in entries_of(topology):
        config = entry["config"]
        layers = config.get("layers")
        members = (
            [each for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []
        )
        nodes = [
            node
            for each in members
            for node in each.get("inbound_nodes") or ()
            if isinstance(node, list)
        ]
        inner = [each for each in members if "layers" in (each.get("config") or ())]
        if not inner or not nodes:
            continue
        if any(len(each.get("inbound_nodes") or ()) > 1 for each in inner):
            raise ReadError(
                f"{path}: the calls of {quoted(config.get('name', entry['class_name']))} were "
                "edited by hand, so their numbering is ambiguous; restore the file that the "
                f"converter wrote, or {ORIGINAL}"
            )
        once = {str(each.get("name") or each["config"].get("name")) for each in inner}
        ends = [
            config[key]
            for key in ("input_layers", "output_layers")
            if isinstance(config.get(key), list)
        ]
        for reference in (reference for group in (*nodes, *ends) for reference in group):
            if (
                isinstance(reference, list)
                and reference
                and reference[0] in once
                and reference[1:2] == [1]
            ):
                reference[1] = 0


def entries_of(value: Any) -> Iterator[Mapping[str, Any]]:
    """Everything in a config that has a class and a config of its own, outermost first."""
    pending = [value]
    while pending:
        at = pending.pop()
        if isinstance(at, dict):
            if isinstance(at.get("class_name"), str) and isinstance(at.get("config"), dict):
                yield at
            pending += reversed(at.values())
        elif isinstance(at, list):
            pending += reversed(at)
