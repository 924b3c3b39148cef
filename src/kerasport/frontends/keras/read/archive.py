"""Detect the type of a file by its first bytes, never by its extension, and open it.

Nothing is unpacked next to the user's file. A `.keras` zip stores its weights uncompressed, so they
are read in place. Only if the zip was compressed again, the weights go through a temporary file.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.keras.read.hdf5 import SIGNATURE, Hdf5
from kerasport.frontends.keras.read.json_limits import MAX_BYTES, parse_config, parse_json
from kerasport.frontends.paths import inside
from kerasport.urls import check_local

if TYPE_CHECKING:
    from kerasport.frontends.keras.read.manifest import Manifest
    from kerasport.weights import WeightRef

MAX_RATIO = 100  # inflated to stored bytes; trained weights hardly compress
SMALL = 64 * 1024 * 1024  # bytes; below this a high ratio does no harm
PIECE = 1024 * 1024  # bytes of a member inflated at a time
MAX_NAME = 255  # bytes; file systems allow no longer name
MAX_DIRECTORY = 4 * 1024 * 1024  # bytes of a zip's list of members; Keras writes about 300
ENCRYPTED = 0x1

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)
"""Errors that zipfile raises for inconsistent data."""


@dataclass(frozen=True)
class Contents:
    """An opened Keras file: its config and the location of its weights."""

    path: Path
    config: Any  # the serialized model, as in config.json
    version: str = ""  # of the Keras that wrote it
    by_path: tuple[Hdf5, ...] = ()  # weights by path in the model: one file, or several shards
    by_name: tuple[Hdf5, str] | None = None  # Keras 1 and 2 weights: file and group
    compile_config: Any = None
    optimizer: tuple[WeightRef, ...] = ()  # variables of the optimizer
    manifest: Manifest | None = None  # weights of a TF.js model
    # Read a file that a layer stores besides its weights, by its path; None if there is none.
    asset: Callable[[str], bytes | None] = lambda _: None


@contextmanager
def open_contents(path: Path, weights: Path | None = None) -> Iterator[Contents]:
    """Open the Keras model at the path; `weights` is the second file of an architecture JSON.

    Raises:
        ReadError: the path is not a Keras model. The message says what it is, and what to do.
    """
    check_local(path)
    with _readable(path):
        opener = _opener(path)
    if weights is not None and opener is not _open_json:
        raise ReadError(
            f"{path}: this file contains its own weights; pass a separate weights file only with "
            "an architecture JSON"
        )
    with opener(path, weights) as contents:
        yield contents


def _opener(path: Path) -> Callable[[Path, Path | None], Any]:
    if path.is_dir():
        if (path / "config.json").is_file():
            return _open_directory
        raise ReadError(f"{path}: {_why_not_directory(path)}")
    head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        return _open_zip
    if head.startswith(SIGNATURE) or _has_user_block(path):
        return _open_hdf5
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b'"')):
        return _open_json
    raise ReadError(f"{path}: {_why_not(head)}")


def _head(path: Path) -> bytes:
    """The first bytes of a file."""
    if not path.is_file():
        raise ReadError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    with path.open("rb") as file:
        return file.read(4096)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReadError(f"{path}: cannot be read ({error.strerror})") from None


def _has_user_block(path: Path) -> bool:
    """Whether an HDF5 signature follows at 512 bytes or a doubling of it, as HDF5 allows."""
    size, offset = path.stat().st_size, 512
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            offset *= 2
    return False


def _why_not_directory(path: Path) -> str:
    if (path / "model.json").is_file():
        return TFJS_MODEL
    return (
        "this directory has no config.json, so it is not a Keras model; pass the .keras or .h5 file"
    )


TFJS_MODEL = (
    "this is already a TF.js model, so there is nothing to convert. If it does not load in "
    "TF.js, run: kerasport repair model.json"
)
SAVE = "save the model with model.save('model.keras')"
SOURCE = "convert the Keras file it was made from"


def _is_onnx(head: bytes) -> bool:
    # ModelProto begins with field 1, ir_version, then a name or the graph
    return (
        len(head) > 3
        and head[0] == 0x08
        and head[1] < 0x20
        and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)
    )


_FOREIGN: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: not head, "the file is empty"),
    (
        lambda head: head[4:8] == b"TFL3",
        f"this is a TensorFlow Lite model, which contains no Keras layers; {SOURCE}",
    ),
    (lambda head: head.startswith(b"\x93NUMPY"), f"this is a NumPy array, not a model; {SAVE}"),
    (
        lambda head: head.startswith(b"\x80"),
        f"this is a Python pickle; kerasport never opens pickles because they can run code; {SAVE}",
    ),
    (
        lambda head: head.startswith(b"\x1f\x8b"),
        "this file is compressed with gzip; decompress it first",
    ),
    (
        # schema version 1, then the first graph; ONNX models have a higher version there
        lambda head: head.startswith(b"\x08\x01\x12"),
        "this is the file of a SavedModel; name it saved_model.pb, and pass its directory",
    ),
    (_is_onnx, f"this is an ONNX model, which contains no Keras layers; {SOURCE}"),
    (
        lambda head: head.startswith(b"version https://git-lfs"),
        "this is a Git LFS pointer, not the model; download the model with: git lfs pull",
    ),
    (
        lambda head: head.lstrip().startswith(b"<"),
        "this is a web page, not a model; the download failed, so download the file again",
    ),
)


def _why_not(head: bytes) -> str:
    known = (why for foreign, why in _FOREIGN if foreign(head))
    return next(
        known,
        "this is not a Keras model: the file is neither a .keras zip, nor HDF5, nor an "
        "architecture JSON",
    )


# ------------------------------------------------------------------------------------------ .keras


class _Bounded(io.FileIO):
    """A file that refuses large reads: zipfile would read a list of members of any size at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise HostileFileError(
                f"{self.name}: the directory of the zip archive has {size} bytes, more than any "
                "Keras model needs"
            )
        return super().read(size)


@contextmanager
def _open_zip(path: Path, weights: Path | None = None) -> Iterator[Contents]:
    del weights
    with _Bounded(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except DAMAGE as error:
            raise ReadError(
                f"{path}: this zip archive is truncated or damaged ({error}); copy or download it "
                "again"
            ) from None
        config = _member(path, archive, "config.json")
        if config is None:
            raise ReadError(f"{path}: {_why_not_zip(archive.namelist())}")
        member = _member(path, archive, "model.weights.h5")
        if member is None:
            if "model.weights.npz" in archive.namelist():
                raise ReadError(
                    f"{path}: the weights are a NumPy archive of pickled objects; kerasport never "
                    "opens pickles because they can run code. Save the model again with "
                    "model.save('model.keras')"
                )
            raise ReadError(
                f"{path}: model.weights.h5 is missing; save the model again with "
                "model.save('model.keras')"
            )
        text = _inflate(path, archive, config, MAX_BYTES)
        metadata = _member(path, archive, "metadata.json")
        about = (
            parse_json(_inflate(path, archive, metadata, MAX_BYTES), f"{path}: metadata.json")
            if metadata
            else {}
        )

        def asset(name: str) -> bytes | None:
            found = _member(path, archive, f"assets/{name}")
            return None if found is None else _inflate(path, archive, found, MAX_BYTES)

        with _weights_of(path, archive, member) as tree:
            yield _of_zip(path, parse_config(text, f"{path}: config.json"), about, (tree,), asset)


def _of_zip(
    path: Path,
    config: Any,
    about: Any,
    by_path: tuple[Hdf5, ...],
    asset: Callable[[str], bytes | None],
) -> Contents:
    version = about.get("keras_version") if isinstance(about, dict) else None
    compiled = config.get("compile_config") if isinstance(config, dict) else None
    optimizer = tuple(
        ref for tree in by_path if compiled for ref in tree.arrays("optimizer/vars").values()
    )
    return Contents(
        path,
        config,
        str(version or ""),
        by_path,
        compile_config=compiled,
        optimizer=optimizer,
        asset=asset,
    )


def _why_not_zip(names: list[str]) -> str:
    if any(name.endswith(".npy") for name in names):
        return f"this is a NumPy archive (.npz), not a model; {SAVE}"
    if any(name.endswith("data.pkl") for name in names):
        return "this is a PyTorch file, not a Keras model"
    if any(name.endswith("saved_model.pb") for name in names):
        return "this is a zipped SavedModel; unzip it, and pass the directory"
    if any(name.endswith("/config.json") for name in names):
        return (
            "config.json is in a subdirectory of this zip archive; zip the files without their "
            "directory, or unzip the archive and pass the directory"
        )
    return "this zip archive has no config.json, so it is not a Keras model"


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) > 1:
        raise HostileFileError(f"{path}: the archive contains {name} {len(found)} times")
    if found and found[0].flag_bits & ENCRYPTED:
        raise ReadError(
            f"{path}: {name} is encrypted; unzip the archive with the password and pass the "
            "directory"
        )
    if found and found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ReadError(
            f"{path}: {name} is compressed with an unsupported method; unzip the archive and pass "
            "the directory"
        )
    return found[0] if found else None


def _checked_size(path: Path, info: zipfile.ZipInfo, limit: int | None = None) -> None:
    if limit is not None and info.file_size > limit:
        raise HostileFileError(
            f"{path}: {info.filename} has {info.file_size} bytes according to the archive, more "
            f"than the {limit} allowed"
        )
    if info.file_size > SMALL and info.file_size > MAX_RATIO * max(1, info.compress_size):
        raise HostileFileError(
            f"{path}: {info.filename} would expand more than {MAX_RATIO}-fold; this looks like a "
            "zip bomb"
        )


def _inflate(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    _checked_size(path, info, limit)
    return b"".join(_pieces(path, archive, info))


def _pieces(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Inflate a member in pieces. zipfile stops at the size that was checked."""
    try:
        with archive.open(info) as member:
            yield from iter(lambda: member.read(PIECE), b"")
    except DAMAGE as error:
        raise ReadError(
            f"{path}: {info.filename} is damaged ({error}); copy or download the file again"
        ) from None


@contextmanager
def _weights_of(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Hdf5]:
    if info.compress_type == zipfile.ZIP_STORED:
        with Hdf5(path, _begin(path, info), info.file_size) as tree:
            yield tree
        return
    _checked_size(path, info)
    from tempfile import TemporaryDirectory  # noqa: PLC0415  (rarely needed, and slow)

    with TemporaryDirectory(prefix="kerasport-") as directory:
        target = Path(directory) / info.filename
        with target.open("wb") as out:
            out.writelines(_pieces(path, archive, info))
        with Hdf5(target) as tree:
            yield tree


def _begin(path: Path, info: zipfile.ZipInfo) -> int:
    """Offset of a stored member's bytes: after its local header, whose size varies."""
    with path.open("rb") as file:
        file.seek(max(0, info.header_offset))
        header, name = file.read(30), file.read(len(info.filename))
    signature, method, length, extra = struct.unpack("<4s4xH16xHH", header.ljust(30, b"\0"))
    if (signature, method, length, name) != (
        b"PK\3\4",
        info.compress_type,
        len(name),
        info.filename.encode(),
    ):
        raise ReadError(
            f"{path}: the zip archive is damaged at {info.filename}; copy or download it again"
        )
    begin: int = info.header_offset + 30 + length + extra
    if begin + info.file_size > path.stat().st_size:
        raise ReadError(f"{path}: the file ends inside {info.filename}; the file is truncated")
    return begin


@contextmanager
def _open_directory(path: Path, weights: Path | None = None) -> Iterator[Contents]:
    """Open a `.keras` directory saved with zipped=False, as on Hugging Face."""
    del weights
    config = parse_config(read_text(inside(path, path / "config.json")), f"{path / 'config.json'}")
    metadata = inside(path, path / "metadata.json")
    about = parse_json(read_text(metadata), str(metadata)) if metadata.is_file() else {}
    stored = inside(path, path / "model.weights.h5")
    if not stored.is_file():
        raise ReadError(
            f"{path}: this directory has a config.json but no model.weights.h5; add the weights "
            "file"
        )

    def asset(name: str) -> bytes | None:
        found = path / "assets" / name
        return read_text(inside(path, found)) if found.is_file() else None

    with Hdf5(stored) as tree:
        yield _of_zip(path, config, about, (tree,), asset)


def read_text(path: Path) -> bytes:
    """Read a JSON or text file of bounded size."""
    with _readable(path):
        if path.stat().st_size > MAX_BYTES:
            raise HostileFileError(f"{path}: the file is larger than the {MAX_BYTES} bytes allowed")
        return path.read_bytes()


# -------------------------------------------------------------------------------------------- HDF5


@contextmanager
def _open_hdf5(path: Path, weights: Path | None = None) -> Iterator[Contents]:
    del weights
    with Hdf5(path) as tree:
        config = tree.attribute("", "model_config")
        if not isinstance(config, str):
            raise ReadError(f"{path}: {_why_not_hdf5(tree)}")
        training = tree.attribute("", "training_config")
        compiled = (
            parse_json(training, f"{path}: training_config") if isinstance(training, str) else None
        )
        yield Contents(
            path,
            parse_config(config, f"{path}: model_config"),
            _version_by_name(tree, ""),
            by_name=(tree, "model_weights"),
            compile_config=compiled,
            optimizer=tuple(_optimizer_by_name(tree)) if compiled else (),
        )


def _optimizer_by_name(tree: Hdf5) -> Iterator[WeightRef]:
    names = tree.attribute("optimizer_weights", "weight_names")
    for name in names if isinstance(names, tuple) else ():
        ref = tree.array(f"optimizer_weights/{name}")
        if ref is None:
            raise ReadError(f"{tree.path}: the optimizer variable {quoted(name)} is missing")
        yield ref


def _version_by_name(tree: Hdf5, group: str) -> str:
    # Keras 1.0 and older wrote no version
    version = tree.attribute(group, "keras_version") or tree.attribute("", "keras_version")
    return version if isinstance(version, str) else "1"


def _why_not_hdf5(tree: Hdf5) -> str:
    names = tree.names()
    if tree.attribute("", "nb_layers") is not None:
        return (
            "this file contains weights of Keras 0.x, without a model; this format is not supported"
        )
    if tree.attribute("", "layer_names") is not None or {
        "layers",
        "_layer_checkpoint_dependencies",
    } & set(names):
        return (
            "this file contains only weights: the HDF5 data has no 'model_config'. Save the "
            "whole model with model.save('model.keras'), or pass the architecture too: kerasport "
            "convert model.json OUT --weights FILE, where model.json contains the result of "
            "model.to_json()"
        )
    return "this HDF5 file was not written by Keras: it contains neither a model nor weights"


# -------------------------------------------------------------------------------- architecture JSON


NO_ARCHITECTURE = "this JSON file is not a Keras architecture, which has 'class_name' and 'config'"


@contextmanager
def _open_json(path: Path, weights: Path | None = None) -> Iterator[Contents]:
    config = parse_config(read_text(path), str(path))
    if not isinstance(config, dict):
        raise ReadError(f"{path}: {NO_ARCHITECTURE}")
    if "modelTopology" in config or "weightsManifest" in config:
        raise ReadError(f"{path}: {TFJS_MODEL}")
    if "weight_map" in config:
        raise ReadError(
            f"{path}: this is the index of sharded weights, without a model; pass the "
            "architecture (the result of model.to_json()) as the model, and this file with "
            "--weights"
        )
    if not ("class_name" in config or "layers" in config):
        raise ReadError(f"{path}: {NO_ARCHITECTURE}")
    if weights is None:
        raise ReadError(
            f"{path}: this architecture has no weights; pass the weights file with --weights"
        )
    with _open_weights(weights) as (by_path, by_name, written_by):
        version = str(config.get("keras_version") or written_by)
        yield Contents(path, config, version, by_path, by_name, config.get("compile_config"))


@contextmanager
def _open_weights(path: Path) -> Iterator[tuple[tuple[Hdf5, ...], tuple[Hdf5, str] | None, str]]:
    with _readable(path):
        head = _head(path)
    if head.lstrip().startswith(b"{"):
        with _open_sharded(path) as shards:
            yield shards, None, ""
        return
    if head.startswith(b"PK\x03\x04"):
        raise ReadError(
            f"{path}: this is a zip archive, not a weights file; a .keras file contains its own "
            "architecture, so pass it without --weights"
        )
    if not (head.startswith(SIGNATURE) or _has_user_block(path)):
        raise ReadError(
            f"{path}: this is not an HDF5 file, the format in which Keras saves weights: "
            f"{_why_not(head)}"
        )
    with Hdf5(path) as tree:
        if (
            tree.attribute("", "layer_names") is not None
            or tree.attribute("", "layer_names0") is not None
        ):
            yield (), (tree, ""), _version_by_name(tree, "")
        elif tree.attribute("model_weights", "layer_names") is not None:
            yield (), (tree, "model_weights"), _version_by_name(tree, "model_weights")
        else:
            yield (tree,), None, ""


@contextmanager
def _open_sharded(path: Path) -> Iterator[tuple[Hdf5, ...]]:
    """Open weights that Keras split over several files. A group can be in any of them."""
    index = parse_json(read_text(path), str(path))
    entries = index.get("weight_map")
    if not isinstance(entries, dict):
        raise ReadError(
            f"{path}: this is not an index of sharded weights, which has a 'weight_map'"
        )
    listed = [files if isinstance(files, list) else [files] for files in entries.values()]
    with ExitStack() as opened:
        names = dict.fromkeys(str(name) for files in listed for name in files)
        yield tuple(opened.enter_context(Hdf5(shard_path(path, name))) for name in names)


def shard_path(index: Path, name: str) -> Path:
    """The shard of that name in the directory of the index.

    Raises:
        ReadError: the shard is missing.
        HostileFileError: the name is a path to another place.
    """
    if (
        PurePosixPath(name.replace("\\", "/")).name != name
        or len(name.encode(errors="replace")) > MAX_NAME
    ):
        raise HostileFileError(
            f"{index}: the index names the shard {quoted(name)}, which is not the name of a file "
            "in the same directory"
        )
    shard = index.parent / name
    if not shard.is_file():
        raise ReadError(
            f"{index}: the shard {quoted(name)} is missing; put it in the same directory as the "
            "index"
        )
    return inside(index.parent, shard)
