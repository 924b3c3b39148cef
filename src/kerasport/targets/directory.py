"""An output directory that is complete or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kerasport.errors import OutputExistsError


def check_free(out: Path, *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check before any work that the output may be written.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or that holds one of the sources.
    """
    for source in sources:
        if out.exists() and out.resolve() in (source.resolve(), *source.resolve().parents):
            raise OutputExistsError(f"{out}: holds the model to convert; give another output directory")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise OutputExistsError(f"{out}: is there already; give --force to replace it")
    if not out.is_dir() or not (out / "model.json").is_file():
        raise OutputExistsError(f"{out}: holds no model, so --force does not replace it; remove it yourself")
    if out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise OutputExistsError(f"{out}: is where you are, so it cannot be replaced; do it from elsewhere")


def hidden(out: Path) -> Path:
    """A name beside a path that nothing has, and that lists of files do not show."""
    return out.parent / f".{out.name}.{os.urandom(4).hex()}"


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A directory beside `out` to write into, which takes its place at the end, or is removed on an error.

    Where `out` is there and empty, it is filled instead: it may be mounted, or where somebody is.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    empty = out.is_dir() and not any(out.iterdir())
    made = hidden(out / out.name if empty else out)
    made.mkdir()
    try:
        yield made
        (_fill if empty else _swap)(made, out)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _fill(made: Path, out: Path) -> None:
    """Move the files into a directory that was empty, and model.json, with which they are a model, last."""
    files = sorted(made.iterdir(), key=lambda file: file.name == "model.json")
    try:
        for file in files:
            file.replace(out / file.name)
    except OSError:
        for file in files:
            (out / file.name).unlink(missing_ok=True)
        raise


def _swap(made: Path, out: Path) -> None:
    """Put the new directory in place of the old one, which is back in its place if that fails."""
    if not out.exists():
        made.replace(out)
        return
    old = hidden(out)
    out.replace(old)
    try:
        made.replace(out)
    except OSError:
        old.replace(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
