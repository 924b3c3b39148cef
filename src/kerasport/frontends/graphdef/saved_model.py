"""Reads SavedModels and TF-Hub directories of TensorFlow 1 and 2.

Format: https://www.tensorflow.org/guide/saved_model and saved_model.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path, PurePosixPath

from kerasport.errors import HostileFileError, OptionError, ReadError, quoted
from kerasport.frontends.graphdef.assemble import Origin, Tensor, assemble
from kerasport.frontends.graphdef.attributes import File, opened
from kerasport.frontends.graphdef.body import library
from kerasport.frontends.graphdef.bundle import Bundle, open_bundle
from kerasport.frontends.graphdef.flatten import Flattener, node_of
from kerasport.frontends.graphdef.frozen import FrozenGraph, GraphNode
from kerasport.frontends.graphdef.messages import (
    AssetFileDef,
    CollectionDef,
    MetaGraphDef,
    SavedModel,
    SignatureDef,
    TensorInfo,
)
from kerasport.frontends.graphdef.op_defs import OpDefs
from kerasport.frontends.graphdef.stored_values import StoredValues
from kerasport.frontends.graphdef.tensors import element_type, shape_of
from kerasport.frontends.paths import inside

NAME = "saved_model.pb"
TAGS = ("serve",)
SIGNATURE = "serving_default"
INIT = "__saved_model_init_op"
ASSETS = "saved_model_assets"
"""Collection of the files in the directory of assets, in TensorFlow 1."""

INITIALIZERS = ("saved_model_main_op", "legacy_init_op", "saved_model_legacy_init_op")
"""Collections that name the node that fills the tables."""

SHOWN = 20  # signatures that a note names
MAX_META_GRAPHS = 100
MAX_PORTS = 10_000  # inputs and outputs of a signature
MAX_ASSETS = 10_000


def read_saved_model(
    path: Path, signature: str | None = None, tags: Sequence[str] | None = None
) -> FrozenGraph:
    """Read a SavedModel.

    Args:
        path: its directory.
        signature: key of the signature, by default "serving_default" or the only one.
        tags: tags of the meta graph, by default those for serving.

    Raises:
        ReadError: it is malformed, or a part of it is missing.
        OptionError: it has no such signature or tags.
    """
    if not (path / NAME).is_file():
        raise ReadError(
            f"{NAME}txt is a SavedModel as text, which is not supported; load it with "
            "tf.saved_model.load and save it again"
        )
    with opened(inside(path, path / NAME)) as file:
        return _Reader(path, file, _meta_graph(file, tags)).read(signature)


def _meta_graph(file: File, tags: Sequence[str] | None) -> MetaGraphDef:
    """The meta graph with these tags."""
    spans = file.decode(SavedModel).meta_graphs
    if not spans or len(spans) > MAX_META_GRAPHS:
        raise ReadError(f"it contains {len(spans)} meta graphs")
    found: dict[frozenset[str], MetaGraphDef] = {}
    for span in spans:
        graph: MetaGraphDef = file.decode(MetaGraphDef, span)
        found[frozenset(graph.meta_info_def.tags if graph.meta_info_def else ())] = graph
    if tags is not None:
        wanted = [frozenset(tags)]
    else:
        # TF-Hub modules of TensorFlow 1 have no tag for serving
        wanted = [frozenset(TAGS), frozenset()]
        wanted += found if len(found) == 1 else []
    for key in wanted:
        if key in found:
            return found[key]
    texts = "; ".join(",".join(sorted(key)) or "(none)" for key in found)
    raise OptionError(
        f"the SavedModel has no graph with the tags {','.join(sorted(wanted[0]))}; select one of "
        f"these with --tags (in Python: tags=): {texts}",
        "tags",
    )


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads one meta graph."""

    path: Path
    file: File
    meta: MetaGraphDef

    def read(self, key: str | None) -> FrozenGraph:
        key = self._key(key)
        signature = self._signature(key)
        ops = self.meta.meta_info_def.stripped_op_list if self.meta.meta_info_def else None
        defs = OpDefs(self.file, ops.op if ops else [])
        return assemble(
            Origin(self.path.resolve().name, self._writer(), tuple(self._notes(key))),
            library(self.file, self.meta.graph_def, defs),
            tuple(starmap(_tensor, sorted(signature.inputs.items()))),
            tuple(starmap(_tensor, sorted(signature.outputs.items()))),
            self._values,
        )

    def _writer(self) -> str:
        info = self.meta.meta_info_def
        return f"TensorFlow {info.tensorflow_version}" if info and info.tensorflow_version else ""

    def _keys(self) -> Sequence[str]:
        """The keys of all signatures."""
        return [name for name in self.meta.signature_def if name != INIT]

    def _key(self, key: str | None) -> str:
        """The key of the wanted signature, or of the default one."""
        keys = self._keys()
        if key is None:
            # TF-Hub modules of TensorFlow 1 call it "default"
            defaults = [name for name in (SIGNATURE, "default") if name in keys]
            defaults += keys if len(keys) == 1 else []
            key = defaults[0] if defaults else None
        if key is None or key not in keys:
            raise _no_signature(key, keys)
        return key

    def _notes(self, key: str) -> Iterator[str]:
        others = [quoted(name) for name in sorted(self._keys()) if name != key]
        if others:
            names = ", ".join(others[:SHOWN])
            yield (
                f"the SavedModel has other signatures besides {quoted(key)}: {names}; select one "
                "with --signature"
            )

    def _signature(self, key: str) -> SignatureDef:
        found: SignatureDef = self.file.decode(SignatureDef, self.meta.signature_def[key])
        if not found.outputs:
            raise ReadError(f"the signature {quoted(key)} has no outputs")
        if len(found.inputs) + len(found.outputs) > MAX_PORTS:
            raise HostileFileError(f"the signature {quoted(key)} has more than {MAX_PORTS} tensors")
        return found

    # ------------------------------------------------------------------------- variables and tables

    def _values(self, flattener: Flattener) -> StoredValues:
        values = StoredValues(self._assets(flattener), self._bundle())
        saver = self.meta.saver_def
        if saver is not None and saver.restore_op_name and values.bundle is not None:
            restore = flattener.graph((), (node_of(saver.restore_op_name),))
            values.restore(restore.effects)
        initializers = self._initializers()
        if initializers:
            values.initialize(flattener.graph((), initializers).effects)
        return values

    def _bundle(self) -> Bundle | None:
        prefix = self.path / "variables" / "variables"
        if not prefix.with_name("variables.index").is_file():
            return None
        inside(self.path, prefix.parent)
        return open_bundle(prefix)

    def _initializers(self) -> tuple[str, ...]:
        """The nodes that fill the tables."""
        names = []
        for key in INITIALIZERS:
            if key in self.meta.collection_def:
                stored: CollectionDef = self.file.decode(
                    CollectionDef, self.meta.collection_def[key]
                )
                names += stored.node_list.value if stored.node_list else []
        if INIT in self.meta.signature_def:
            signature: SignatureDef = self.file.decode(SignatureDef, self.meta.signature_def[INIT])
            names += [info.name for info in signature.outputs.values() if info is not None]
        return tuple(dict.fromkeys(map(node_of, names)))

    def _assets(self, flattener: Flattener) -> Mapping[GraphNode, Path]:
        """The constants that name files, and these files."""
        assets = {}
        stored = [*self.meta.asset_file_def, *self._collected_assets()]
        if len(stored) > MAX_ASSETS:
            raise HostileFileError(f"the SavedModel has more than {MAX_ASSETS:,} assets")
        for asset in stored:
            if asset.tensor_info is not None:
                node = flattener.node(node_of(asset.tensor_info.name))
                if node is not None:
                    assets[node] = self._asset(asset.filename)
        return assets

    def _collected_assets(self) -> Iterator[AssetFileDef]:
        if ASSETS in self.meta.collection_def:
            stored: CollectionDef = self.file.decode(
                CollectionDef, self.meta.collection_def[ASSETS]
            )
            for item in stored.any_list.value if stored.any_list else ():
                yield self.file.decode(AssetFileDef, item.value)

    def _asset(self, name: str) -> Path:
        """A file in the directory of assets.

        Raises:
            HostileFileError: the name leads to another directory.
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0] == "/" or ":" in name:
            raise HostileFileError(f"the asset {quoted(name)} is not in the directory of assets")
        return inside(self.path, self.path / "assets" / Path(*parts))


def _tensor(name: str, info: TensorInfo | None) -> Tensor:
    """An input or output of a signature."""
    if info is None or info.coo_sparse or info.composite_tensor:
        raise ReadError(
            f"{quoted(name)} in the signature is a sparse or ragged tensor, which is not supported"
        )
    if not info.name:
        raise ReadError(f"{quoted(name)} in the signature does not name a tensor")
    return Tensor(name, info.name, element_type(info.dtype), shape_of(info.tensor_shape))


def _no_signature(key: str | None, found: Sequence[str]) -> OptionError:
    names = ", ".join(sorted(found)) or "none"
    if not found:
        return OptionError(
            "the SavedModel has no signature; save it again with signatures= or, in Keras, with "
            "model.export()",
            "signature",
        )
    what = "no default signature" if key is None else f"no signature {quoted(key)}"
    return OptionError(
        f"the SavedModel has {what}; select one of these with --signature (in Python: "
        f"signature=): {names}",
        "signature",
    )
