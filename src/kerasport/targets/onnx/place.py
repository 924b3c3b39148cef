"""The place of an ONNX model: a file, and one beside it for large weights, complete or absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from kerasport.errors import OutputExistsError
from kerasport.targets.output import (
    Identity,
    check_identity,
    check_parents,
    hidden,
    identity,
    overtaken,
    place,
    take,
    tidy,
)


def data_file(out: Path) -> Path:
    """Where the weights of a large model stand."""
    return out.with_name(out.name + ".data")


def check_free(out: Path, *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check before any work that the file may be written; remove what dead processes left there.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or it is the source, or another process is
            writing it.
    """
    check_parents(out)
    files = (out, data_file(out))
    if any(
        file.exists() and file.resolve() == source.resolve() for file in files for source in sources
    ):
        raise OutputExistsError(f"{out}: is the input model; choose another output")
    if out.is_dir():
        raise OutputExistsError(f"{out}: this is a directory; ONNX output must be a file")
    tidy(out)
    for file in files:
        if file.exists() and not force:
            raise OutputExistsError(f"{file}: already exists; use --force to replace it")


@contextmanager
def replacing(out: Path, *, force: bool = False) -> Iterator[Path]:
    """A directory to write the files into, which take their places at the end, or are removed on an error.

    The weights come first, when a former model that would read them is gone: so a model is whole, or not there.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or another process was faster.
    """
    check_free(out, force=force)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    before = {file: identity(file) for file in (out, data_file(out))}
    made = hidden(out)
    made.mkdir()
    try:
        yield made
        old = hidden(out, "old")
        old.mkdir()
        try:
            _swap(made, old, out, before)
        finally:
            if out.exists() or not any(old.iterdir()):
                shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _swap(made: Path, old: Path, out: Path, before: Mapping[Path, Identity]) -> None:
    """Put the new files in place of those from before, which are back in their places if that fails."""
    data = data_file(out)
    placed: list[Path] = []
    try:
        # the model goes first and comes last: without it nobody reads the weights
        for file in (out, data):
            if before[file] is not None:
                take(file, old / file.name)
                check_identity(old / file.name, before[file], out)
        for file in (data, out):
            if (made / file.name).exists():
                place(made / file.name, file)
                placed.append(file)
    except BaseException as error:
        for file in placed:
            file.unlink(missing_ok=True)
        for file in (data, out):
            if (old / file.name).exists():
                with suppress(OSError):  # another model may be there by now
                    place(old / file.name, file)
        if isinstance(error, FileExistsError):
            raise overtaken(out) from error
        raise
