"""Reads SavedModels and TF-Hub directories of TensorFlow 1 and 2.

Format: https://www.tensorflow.org/guide/saved_model and saved_model.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePosixPath

from kerasport.errors import HostileFileError, OptionError, ReadError, placed, quoted
from kerasport.frontends.graphdef.attributes import File
from kerasport.frontends.graphdef.body import library
from kerasport.frontends.graphdef.bundle import Bundle, open_bundle
from kerasport.frontends.graphdef.flatten import Flattener, node_of
from kerasport.frontends.graphdef.freeze import Freezer
from kerasport.frontends.graphdef.frozen import FrozenGraph, GraphNode, NamedResult, Result
from kerasport.frontends.graphdef.messages import (
    CollectionDef,
    MetaGraphDef,
    SavedModel,
    SignatureDef,
    TensorInfo,
)
from kerasport.frontends.graphdef.op_defs import OpDefs
from kerasport.frontends.graphdef.stored_values import StoredValues
from kerasport.frontends.graphdef.tensors import element_type, shape_of
from kerasport.frontends.graphdef.wire import Span

NAME = "saved_model.pb"
TAGS = ("serve",)
SIGNATURE = "serving_default"
INIT = "__saved_model_init_op"
INITIALIZERS = ("saved_model_main_op", "legacy_init_op", "saved_model_legacy_init_op")
"""Collections that name the node that fills the tables."""

MAX_META_GRAPHS = 100


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """A file of protobuf messages, mapped into memory.

    Raises:
        ReadError: the file cannot be read, or is empty.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ReadError("the file is empty")
        with mmap(file.fileno(), 0, access=ACCESS_READ) as buffer:
            yield File(path, buffer)


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
    with placed(NAME), opened(path / NAME) as file:
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


@dataclass(eq=False)
class _Reader:
    """Reads one meta graph."""

    path: Path
    file: File
    meta: MetaGraphDef
    fed: dict[str, Result] = field(default_factory=dict)

    def read(self, key: str | None) -> FrozenGraph:
        signature = self._signature(key)
        ops = self.meta.meta_info_def.stripped_op_list if self.meta.meta_info_def else None
        defs = OpDefs(self.file, ops.op if ops else [])
        inputs = tuple(self._input(name, info) for name, info in sorted(signature.inputs.items()))
        flattener = Flattener(library(self.file, self.meta.graph_def, defs), self.fed)
        infos = {name: _checked(name, info) for name, info in sorted(signature.outputs.items())}
        flat = flattener.graph(info.name for info in infos.values())
        values = self._values(flattener)
        freezer = Freezer(flattener, values.variable)
        results = freezer.graph(flat)
        outputs = tuple(
            NamedResult(name, result, element_type(info.dtype), shape_of(info.tensor_shape))
            for (name, info), result in zip(infos.items(), results, strict=True)
        )
        reached = ordered_all(results, freezer)
        return FrozenGraph(
            name=self.path.resolve().name,
            writer=self._writer(),
            inputs=inputs,
            outputs=outputs,
            functions=freezer.functions,
            tables=values.tables(reached),
            notes=freezer.notes(),
        )

    def _writer(self) -> str:
        info = self.meta.meta_info_def
        return f"TensorFlow {info.tensorflow_version}" if info and info.tensorflow_version else ""

    def _signature(self, key: str | None) -> SignatureDef:
        """The signature of a key, or the default one."""
        spans = {name: span for name, span in self.meta.signature_def.items() if name != INIT}
        if key is None:
            # TF-Hub modules of TensorFlow 1 call it "default"
            defaults = [name for name in (SIGNATURE, "default") if name in spans]
            defaults += spans if len(spans) == 1 else []
            key = defaults[0] if defaults else None
        if key not in spans:
            raise _no_signature(key, spans)
        found: SignatureDef = self.file.decode(SignatureDef, spans[key])
        if not found.outputs:
            raise ReadError(f"the signature {quoted(key)} has no outputs")
        return found

    def _input(self, name: str, info: TensorInfo | None) -> NamedResult:
        """A placeholder that takes the place of the tensor that a signature feeds."""
        info = _checked(name, info)
        node, _, index = info.name.partition(":")
        if index not in ("", "0"):
            raise ReadError(f"the input {quoted(name)} is result {quoted(index)} of a node")
        if node in self.fed:
            raise ReadError(f"two inputs of the signature are the same tensor {quoted(info.name)}")
        dtype, shape = element_type(info.dtype), shape_of(info.tensor_shape)
        placeholder = GraphNode(node, "Placeholder", (), {"dtype": dtype, "shape": shape})
        self.fed[node] = Result(placeholder)
        return NamedResult(name, self.fed[node], dtype, shape)

    # ------------------------------------------------------------------------- variables and tables

    def _values(self, flattener: Flattener) -> StoredValues:
        values = StoredValues(self._bundle(), self._assets(flattener))
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
        for asset in self.meta.asset_file_def:
            if asset.tensor_info is not None:
                node = flattener.node(node_of(asset.tensor_info.name))
                if node is not None:
                    assets[node] = self._asset(asset.filename)
        return assets

    def _asset(self, name: str) -> Path:
        """A file in the directory of assets.

        Raises:
            HostileFileError: the name leads to another directory.
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0] == "/" or ":" in name:
            raise HostileFileError(f"the asset {quoted(name)} is not in the directory of assets")
        directory = self.path / "assets"
        path = directory.joinpath(*parts)
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise HostileFileError(f"the asset {quoted(name)} is a link to another directory")
        return path


def _checked(name: str, info: TensorInfo | None) -> TensorInfo:
    """A tensor of a signature."""
    if info is None or info.coo_sparse or info.composite_tensor:
        raise ReadError(
            f"{quoted(name)} in the signature is a sparse or ragged tensor, which is not supported"
        )
    if not info.name:
        raise ReadError(f"{quoted(name)} in the signature does not name a tensor")
    return info


def _no_signature(key: str | None, found: Mapping[str, Span]) -> OptionError:
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


def ordered_all(results: Iterable[Result], freezer: Freezer) -> Iterator[GraphNode]:
    """All nodes of a graph and of its functions."""
    from kerasport.frontends.graphdef.freeze import ordered  # noqa: PLC0415

    yield from ordered(results)
    for function in freezer.functions.values():
        yield from ordered(function.results)
