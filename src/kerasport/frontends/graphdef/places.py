"""Names the part of a TensorFlow file in the errors of its reader."""

from __future__ import annotations

from contextlib import AbstractContextManager

from kerasport.errors import placed


def located(step: str) -> AbstractContextManager[None]:
    """Convert errors of the block to `ReadError`s that name the part, such as "node 'a'"."""
    return placed(step, "TensorFlow")
