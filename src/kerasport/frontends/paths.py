"""Keeps the files of a model inside its directory."""

from __future__ import annotations

import re
from pathlib import Path

from kerasport.errors import HostileFileError, quoted

BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # the SHA-1 of git, or the SHA-256 of large files


def inside(folder: Path, path: Path) -> Path:
    """Check that a file of a model stays in the model's directory, and return its path.

    No link on the way may leave the directory. In the cache of Hugging Face all files are links
    into the directory `blobs` next to `snapshots`, named by their hashes. These links are allowed,
    since they lead to files of the same download.

    Raises:
        HostileFileError: a link leads elsewhere.
    """
    root, real = folder.resolve(), path.resolve()
    stored = BLOB.fullmatch(real.name) and real.parent in (
        above.parent / "blobs" for above in root.parents if above.name == "snapshots"
    )
    if not stored and not real.is_relative_to(root):
        raise HostileFileError(
            f"{path}: this is a link to a file outside of {quoted(folder.name)}, and kerasport "
            "does not follow it; if you trust the link, replace it with a copy of the file"
        )
    return path
