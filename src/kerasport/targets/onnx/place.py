"""The place of an ONNX model: a file, and one beside it for large weights, complete or absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kerasport.errors import OutputExistsError
from kerasport.targets.directory import hidden


def data_file(out: Path) -> Path:
    """Where the weights of a large model stand."""
    return out.with_name(out.name + ".data")


def check_free(out: Path, *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Check before any work that the file may be written.

    Raises:
        OutputExistsError: something is there that is not to be replaced, or it is the source.
    """
    files = (out, data_file(out))
    if any(file.exists() and file.resolve() == source.resolve() for file in files for source in sources):
        raise OutputExistsError(f"{out}: is the model to convert; give another output")
    if out.is_dir():
        raise OutputExistsError(f"{out}: is a directory; an ONNX model is a file")
    for file in files:
        if file.exists() and not force:
            raise OutputExistsError(f"{file}: is there already; give --force to replace it")


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A directory to write the files into, which take their places at the end, or are removed on an error.

    The weights come first, when a former model that would read them is gone: so a model is whole, or not there.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    made = hidden(out)
    made.mkdir()
    former = made / "former"
    former.mkdir()
    data = data_file(out)
    try:
        yield made
        try:
            for file in (out, data):
                if file.exists():
                    file.replace(former / file.name)
            for file in (data, out):
                if (made / file.name).exists():
                    (made / file.name).replace(file)
        except OSError:
            for file in (data, out):
                if (former / file.name).exists():
                    (former / file.name).replace(file)
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
