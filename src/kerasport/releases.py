"""Releases of Keras, as (major, minor): the newest that is known, and the one that is assumed."""

from __future__ import annotations

from typing import TypeAlias

Release: TypeAlias = tuple[int, int]

NEWEST: Release = (3, 16)
"""The newest release whose layers, options and mask rules were compared with the tables of kerasport."""

ASSUMED: Release = (3, 15)
"""The release whose rules apply to a source that does not name one, as an architecture JSON of Keras 3."""

MASKS_STOP: Release = (3, 16)
"""The first release in which recurrent layers, Bidirectional and TimeDistributed do not pass a mask on."""
