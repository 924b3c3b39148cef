"""An output directory that is complete or absent, whoever else writes to the same place."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from kerasport.errors import OutputExistsError
from kerasport.targets import owner

Identity: TypeAlias = tuple[int, int, int] | None
"""Of a file: its device, number and time of writing; None where there is no such file."""


def check_free(out: Path, *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check before any work that the output may be written; remove what dead processes left there.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or that holds one of the sources, or another
            process is writing it.
    """
    for source in sources:
        if out.exists() and out.resolve() in (source.resolve(), *source.resolve().parents):
            raise OutputExistsError(f"{out}: holds the model to convert; give another output directory")
    tidy(out)
    if not out.exists() or _is_empty(out):
        return
    if not force:
        raise OutputExistsError(f"{out}: is there already; give --force to replace it")
    if not out.is_dir() or not (out / "model.json").is_file():
        raise OutputExistsError(f"{out}: holds no model, so --force does not replace it; remove it yourself")
    if out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise OutputExistsError(f"{out}: is where you are, so it cannot be replaced; do it from elsewhere")


def _is_empty(out: Path) -> bool:
    """Whether it is a directory that holds nothing, or nothing but what processes are writing there."""
    return out.is_dir() and all(HIDDEN.fullmatch(path.name) for path in out.iterdir())


def overtaken(out: Path) -> OutputExistsError:
    """The error where another process wrote the output first."""
    return OutputExistsError(
        f"{out}: another process wrote it while this one ran; its output is kept, and this one is discarded"
    )


# ------------------------------------------------------------------------------------- hidden directories

Role: TypeAlias = Literal["new", "old"]
"""Whether a hidden directory holds what is being written, or what it replaces."""

HIDDEN = re.compile(rf"\.(?P<of>.+)\.kerasport-(?P<owner>{owner.PATTERN})-(?P<role>new|old)-[0-9a-f]{{8}}", re.DOTALL)
LONG = 100  # bytes of a name that a hidden one repeats


def hidden(out: Path, role: Role = "new") -> Path:
    """A name beside a path that nothing has, and that lists of files do not show; it tells which process made it."""
    return out.parent / f".{_label(out)}.kerasport-{owner.this_process()}-{role}-{os.urandom(4).hex()}"


def _label(out: Path) -> str:
    name = os.fsencode(out.name)
    return out.name if len(name) <= LONG else hashlib.sha256(name).hexdigest()


def tidy(out: Path) -> None:
    """Remove hidden directories of dead processes, in the output and beside it.

    What a dead process had moved aside to replace it is put back, unless the output is there.

    Raises:
        OutputExistsError: a process that is alive is writing the output.
    """
    out = out.resolve()
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
                    f"{out}: process {by.split('-')[1]} is writing it; wait for that, or give another output"
                )


def _hidden_in(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (found := HIDDEN.fullmatch(entry.name)) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path), found


def _recover(old: Path, out: Path) -> None:
    """Put a former output back, or remove it where there is another one; of files that hold no model.json each."""
    with suppress(OSError):
        if not out.exists() and (old / "model.json").is_file():
            old.replace(out)
        elif not out.exists():
            for file in sorted(old.iterdir(), key=lambda file: file.name == out.name):
                file.replace(out.parent / file.name)
        shutil.rmtree(old, ignore_errors=True)


def identity(file: Path) -> Identity:
    """What tells a file from another one of the same name."""
    with suppress(OSError):
        found = file.stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns
    return None


def check_identity(file: Path, before: Identity, out: Path) -> None:
    """Raises `OutputExistsError` where a file of an output is not the one that was there before."""
    if identity(file) != before:
        raise overtaken(out)


def take(path: Path, target: Path) -> None:
    """Move an output away.

    Raises:
        OutputExistsError: it is gone, since another process replaces it.
    """
    try:
        path.replace(target)
    except FileNotFoundError:
        raise overtaken(path) from None


def place(file: Path, target: Path) -> None:
    """Move a file to where nothing is, in one step.

    Raises:
        FileExistsError: something is there.
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


# ------------------------------------------------------------------------------------------------ writing


@contextmanager
def replacing(out: Path, *, force: bool = False) -> Iterator[Path]:
    """A directory beside `out` to write into, which takes its place at the end, or is removed on an error.

    Where `out` is there and empty, it is filled instead: it may be mounted, or where somebody is.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or another process was faster.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    check_free(out, force=force)
    empty, before = _is_empty(out), identity(out / "model.json")
    made = hidden(out / out.name if empty else out)
    made.mkdir()
    try:
        yield made
        if empty:
            _fill(made, out)
        else:
            _swap(made, out, before)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _fill(made: Path, out: Path) -> None:
    """Move the files into a directory that was empty, and model.json, with which they are a model, last."""
    placed: list[Path] = []
    try:
        for file in sorted(made.iterdir(), key=lambda file: file.name == "model.json"):
            place(file, out / file.name)
            placed.append(out / file.name)
    except OSError as error:
        for file in placed:
            file.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise overtaken(out) from error
        raise


def _swap(made: Path, out: Path, before: Identity) -> None:
    """Put the new directory in place of the old one, which is back in its place if that fails."""
    if before is None:
        _move(made, out)
        return
    old = hidden(out, "old")
    try:
        take(out, old)
        check_identity(old / "model.json", before, out)
        _move(made, out)
    except BaseException:
        with suppress(OSError):  # it was not taken, or another output is there by now
            old.replace(out)
        raise
    finally:
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)


def _move(made: Path, out: Path) -> None:
    """Move a directory to where nothing is, or an empty directory."""
    try:
        made.replace(out)
    except OSError as error:
        if out.exists():
            raise overtaken(out) from error
        raise
