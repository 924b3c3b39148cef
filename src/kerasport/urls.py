"""Detect URLs given as paths. kerasport reads and writes local files only."""

from __future__ import annotations

import re
from pathlib import Path

from kerasport.errors import ReadError

# A Path merges two slashes into one, and Windows reverses it. Drives have one letter.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]{1,2}")

_DOWNLOAD = {
    "hf": "hf download USER/NAME FILE --local-dir .",
    "gs": "gcloud storage cp {url} .",
    "s3": "aws s3 cp {url} .",
    "http": "curl -LO {url}",
    "https": "curl -LO {url}",
}
_UPLOAD = {
    "hf": "hf upload USER/NAME web_model",
    "gs": "gcloud storage cp -r web_model {url}",
    "s3": "aws s3 cp --recursive web_model {url}",
}


def as_url(path: Path) -> str:
    """The URL that was passed as a path; empty if it is a path."""
    found = _SCHEME.match(str(path))
    if not found:
        return ""
    return f"{found[1].lower()}://{str(path)[found.end() :]}".replace("\\", "/")


def check_local(path: Path) -> None:
    """Raise `ReadError` if a URL is given as the model to read."""
    if (url := as_url(path)) and not path.exists():
        command = _DOWNLOAD.get(url.partition(":")[0])
        how = f": {command.format(url=url)}" if command else ""
        raise ReadError(
            f"{url}: kerasport reads local files, not URLs; download the model first{how}"
        )


def how_to_write(url: str) -> str:
    """The remedy if a URL is given as the output."""
    command = _UPLOAD.get(url.partition(":")[0])
    then = f"run: {command.format(url=url)}" if command else "copy it to the server"
    return (
        "kerasport writes to local disks, not to URLs; convert to a directory such as web_model, "
        f"then {then}"
    )
