"""Releases of Keras, as (major, minor), and of the runtimes used in tests."""

from __future__ import annotations

import re
from typing import TypeAlias

Release: TypeAlias = tuple[int, int]

TFJS = "4.22.0"
"""The release of TF.js that reports name and every model is tested with."""

NEWEST: Release = (3, 16)
"""The newest release whose layers, options and mask rules the tables of kerasport cover."""

ASSUMED: Release = (3, 15)
"""The release whose rules apply to a source without a version, such as an architecture JSON."""


def major(version: str) -> int:
    """Major version of the Keras that wrote a file; 3 if it is unknown."""
    head = version.split(".", maxsplit=1)[0]
    return int(head) if head.isdecimal() and len(head) < 4 else 3


def release_of(version: str) -> Release:
    """Major and minor number of a version of Keras; `ASSUMED` if it has none."""
    found = re.match(r"(\d{1,3})\.(\d{1,3})", version)
    return (int(found[1]), int(found[2])) if found else ASSUMED
