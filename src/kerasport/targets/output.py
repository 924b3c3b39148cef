"""Write an output that is complete or absent, even if other processes write to the same path."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from kerasport.errors import KerasportError, OptionError, OutputExistsError, WriteError
from kerasport.report import readable
from kerasport.targets import owner
from kerasport.urls import as_url, how_to_write

Identity: TypeAlias = tuple[int, int, int] | None
"""Device, inode and modification time of a file; None if there is no such file."""

# ----------------------------------------------------------------------------------- where to write

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
BELOW_A_FILE = (errno.ENOTDIR, errno.EEXIST)


@contextmanager
def writing(out: str | os.PathLike[str], nbytes: int = 0) -> Iterator[None]:
    """Turn errors of the operating system into a `WriteError` that names the output as given.

    Args:
        out: the output.
        nbytes: roughly its size, for the message about a full disk.

    Raises:
        WriteError: the block raised an `OSError`.
    """
    try:
        yield
    except KerasportError:
        raise
    except OSError as error:
        raise WriteError(
            f"{os.fspath(out)}: {_why_not(Path(out), error, nbytes)}", error.errno
        ) from error


def _why_not(out: Path, error: OSError, nbytes: int) -> str:
    """Why the output cannot be written, and what to do."""
    folder = _existing(out)
    if error.errno in FULL:
        what = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is exceeded"
        needed = f"; the output needs about {readable(nbytes)}" if nbytes else ""
        with suppress(OSError):
            needed += f"; {readable(shutil.disk_usage(folder).free)} are free in {folder}"
        return f"{what}{needed}. Free some space, or choose an output on another disk"
    if error.errno in READ_ONLY:
        return (
            f"cannot be written, because the directory {folder} is read-only; choose another output"
        )
    if error.errno in BELOW_A_FILE and not folder.is_dir():
        return _below(folder)
    return f"cannot be written ({error.strerror or error})"


def _below(file: Path) -> str:
    return f"cannot be created, because {file} is a file, not a directory; choose another output"


def _existing(out: Path) -> Path:
    """The nearest parent that exists."""
    for parent in out.parents:
        with suppress(OSError):
            if parent.exists():
                return parent
    return Path()


FOREIGN = {
    ".tflite": "TensorFlow Lite models", ".pb": "SavedModels", ".pt": "PyTorch models",
    ".pth": "PyTorch models", ".keras": "Keras files", ".h5": "Keras files",
    ".hdf5": "Keras files", ".mlmodel": "Core ML models",
    ".mlpackage": "Core ML models", ".safetensors": "safetensors files", ".zip": "zip archives",
}  # fmt: skip
"""Suffix of a file that is not an output → its format."""


def check_kind(out: Path, examples: str) -> None:
    """Check that an output is not a URL, or a file of another format.

    Args:
        out: the output.
        examples: outputs that are possible, in words.

    Raises:
        OptionError: it is one of them.
    """
    if url := as_url(out):
        raise OptionError(f"{url}: {how_to_write(url)}")
    if (foreign := FOREIGN.get(out.suffix.lower())) and not out.exists():
        raise OptionError(f"{out}: kerasport does not write {foreign}. Write {examples}")


def check_parents(out: Path) -> None:
    """Raise `WriteError` if a parent of the output is a file."""
    folder = _existing(out)
    if not folder.is_dir():
        raise WriteError(f"{out}: {_below(folder)}", errno.ENOTDIR)


def check_files_free(files: Sequence[Path], *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check, before anything is computed, that an output of files may be written.

    The first file names the output. Files that dead processes left next to it are removed.

    Raises:
        OutputExistsError: a file exists and may not be replaced, is the source, or is being written
            by another process; or the output is a directory.
        WriteError: a parent of the output is a file.
    """
    out = files[0]
    check_parents(out)
    read = {source.resolve() for source in sources}
    if any(file.exists() and file.resolve() in read for file in files):
        raise OutputExistsError(f"{out}: is the input model; choose another output")
    if out.is_dir():
        raise OutputExistsError(f"{out}: this is a directory; the output must be a file")
    tidy(out)
    for file in files:
        if file.exists() and not force:
            raise OutputExistsError(f"{file}: already exists; use --force to replace it")


def check_free(out: Path, *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check, before anything is computed, that the output may be written.

    Files that dead processes left next to it are removed.

    Raises:
        OutputExistsError: the output exists and may not be replaced, contains one of the sources,
            or is being written by another process.
        WriteError: a parent of the output is a file.
    """
    check_parents(out)
    for source in sources:
        if out.exists() and out.resolve() in (source.resolve(), *source.resolve().parents):
            raise OutputExistsError(
                f"{out}: contains the model to convert; choose another output directory"
            )
    tidy(out)
    if not out.exists() or _is_empty(out):
        return
    if not force:
        raise OutputExistsError(f"{out}: already exists; use --force to replace it")
    if not out.is_dir() or not (out / "model.json").is_file():
        raise OutputExistsError(
            f"{out}: already exists and is not a TF.js model, so --force does not replace it; "
            "remove it yourself"
        )
    if out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise OutputExistsError(
            f"{out}: is the current directory or contains it, so it cannot be replaced; run "
            "kerasport elsewhere"
        )


def _is_empty(out: Path) -> bool:
    """Whether it is a directory that is empty, except for what processes are writing there."""
    return out.is_dir() and all(HIDDEN.fullmatch(path.name) for path in out.iterdir())


def overtaken(out: Path) -> OutputExistsError:
    """The error if another process wrote the output first."""
    return OutputExistsError(
        f"{out}: another process wrote this output in the meantime; its output is kept, and this "
        "one is discarded"
    )


# ------------------------------------------------------------------------------- hidden directories

Role: TypeAlias = Literal["new", "old"]
"""Whether a hidden directory contains the new output, or the old one that it replaces."""

HIDDEN = re.compile(
    rf"\.(?P<of>.+)\.kerasport-(?P<owner>{owner.PATTERN})-(?P<role>new|old)-[0-9a-f]{{8}}",
    re.DOTALL,
)
LONG = 100  # bytes; longer names are hashed in a hidden name


def hidden(out: Path, role: Role = "new") -> Path:
    """An unused hidden name in the directory of a path, which contains the id of this process."""
    return (
        out.parent / f".{_label(out)}.kerasport-{owner.this_process()}-{role}-{os.urandom(4).hex()}"
    )


def _label(out: Path) -> str:
    name = os.fsencode(out.name)
    if len(name) <= LONG:
        return out.name
    import hashlib  # noqa: PLC0415  (few names are long, and the import takes time)

    return hashlib.sha256(name).hexdigest()


def tidy(out: Path) -> None:
    """Remove hidden directories of dead processes, in the output and next to it.

    If a dead process had moved an old output away, and there is no output now, restore it.

    Raises:
        OutputExistsError: a live process is writing the output.
    """
    shown, out = out, out.resolve()
    for folder in (out, out.parent):
        for path, found in list(_hidden_in(folder)):
            by, mine = found["owner"], found["of"] == _label(out)
            if owner.is_dead(by):
                if found["role"] == "new":
                    shutil.rmtree(path, ignore_errors=True)
                elif mine:
                    _recover(path, out)
            elif mine and found["role"] == "new" and owner.is_alive(by):
                raise OutputExistsError(
                    f"{shown}: process {by.split('-')[1]} is writing this output; wait for it, or "
                    "choose another output"
                )


def _hidden_in(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (found := HIDDEN.fullmatch(entry.name)) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path), found


def _recover(old: Path, out: Path) -> None:
    """Put an old output back, or remove it if there is a new one. Files are restored one by one."""
    with suppress(OSError):
        if not out.exists() and (old / "model.json").is_file():
            old.replace(out)
        elif not out.exists():
            for file in sorted(old.iterdir(), key=lambda file: file.name == out.name):
                file.replace(out.parent / file.name)
        shutil.rmtree(old, ignore_errors=True)


def identity(file: Path) -> Identity:
    """A value that differs between a file and a later one of the same name."""
    with suppress(OSError):
        found = file.stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns
    return None


def check_identity(file: Path, before: Identity, out: Path) -> None:
    """Raise `OutputExistsError` unless a file of an output is the one that was there before."""
    if identity(file) != before:
        raise overtaken(out)


def take(path: Path, target: Path) -> None:
    """Move an output away.

    Raises:
        OutputExistsError: it does not exist any more, because another process is replacing it.
    """
    try:
        path.replace(target)
    except FileNotFoundError:
        raise overtaken(path) from None


def place(file: Path, target: Path) -> None:
    """Move a file to an unused path, atomically.

    Raises:
        FileExistsError: the path is in use.
    """
    try:
        os.link(file, target)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        target.open("xb").close()
        try:
            file.replace(target)
        except BaseException:
            target.unlink()
            raise
    else:
        file.unlink()


# ------------------------------------------------------------------------------------------ writing


@contextmanager
def replacing(out: Path, *, force: bool = False) -> Iterator[Path]:
    """A directory next to `out` to write into. It becomes `out`; on an error it is removed.

    If `out` is an empty directory, such as a mount point or a current directory, it is filled.

    Raises:
        OutputExistsError: the output exists and may not be replaced, or another process was faster.
        WriteError: a parent of the output is a file.
    """
    check_free(out, force=force)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    empty, before = _is_empty(out), identity(out / "model.json")
    new = hidden(out / out.name if empty else out)
    new.mkdir()
    try:
        yield new
        if empty:
            _fill(new, out)
        else:
            _swap(new, out, before)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _fill(new: Path, out: Path) -> None:
    """Move the files into an empty directory, model.json last: without it, no others are read."""
    placed: list[Path] = []
    try:
        for file in sorted(new.iterdir(), key=lambda file: file.name == "model.json"):
            place(file, out / file.name)
            placed.append(out / file.name)
    except OSError as error:
        for file in placed:
            file.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise overtaken(out) from error
        raise


def _swap(new: Path, out: Path, before: Identity) -> None:
    """Replace the old directory with the new one; restore the old one if that fails."""
    if before is None:
        _move(new, out)
        return
    old = hidden(out, "old")
    try:
        take(out, old)
        check_identity(old / "model.json", before, out)
        _move(new, out)
    except BaseException:
        with suppress(OSError):  # the old one was not moved, or there is another output by now
            old.replace(out)
        raise
    finally:
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)


def _move(new: Path, out: Path) -> None:
    """Move a directory to an unused path, or over an empty directory."""
    try:
        new.replace(out)
    except OSError as error:
        if out.exists():
            raise overtaken(out) from error
        raise


# ------------------------------------------------------------------------------------ writing files


@contextmanager
def replacing_files(files: Sequence[Path], *, force: bool = False) -> Iterator[Path]:
    """A directory to write files into. At the end they are moved; on an error they are removed.

    The first file names the output. It is placed last, because nobody reads the others without it.

    Raises:
        OutputExistsError: a file exists and may not be replaced, or another process was faster.
        WriteError: a parent of the output is a file.
    """
    check_files_free(files, force=force)
    places = [file.resolve() for file in files]
    out = places[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    before = {file: identity(file) for file in places}
    new = hidden(out)
    new.mkdir()
    try:
        yield new
        old = hidden(out, "old")
        old.mkdir()
        try:
            _swap_files(new, old, places, before)
        finally:
            if out.exists() or not any(old.iterdir()):
                shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _swap_files(
    new: Path, old: Path, files: Sequence[Path], before: Mapping[Path, Identity]
) -> None:
    """Replace the old files with the new ones; restore the old ones if that fails."""
    placed: list[Path] = []
    try:
        for file in files:
            if before[file] is not None:
                take(file, old / file.name)
                check_identity(old / file.name, before[file], files[0])
        for file in reversed(files):
            if (new / file.name).exists():
                place(new / file.name, file)
                placed.append(file)
    except BaseException as error:
        for file in placed:
            file.unlink(missing_ok=True)
        for file in reversed(files):
            if (old / file.name).exists():
                with suppress(OSError):  # another output may be there by now
                    place(old / file.name, file)
        if isinstance(error, FileExistsError):
            raise overtaken(files[0]) from error
        raise
