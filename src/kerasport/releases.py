"""Releases of Keras, as (major, minor), and of the runtimes that models are tested with."""

from __future__ import annotations

import re
from typing import TypeAlias

Release: TypeAlias = tuple[int, int]

TFJS = "4.22.0"
"""The release of TF.js that reports name, and that every model is tested with."""

ONNXRUNTIME_WEB = "1.30.0"
"""The release of ONNX Runtime Web that reports name, and that every ONNX model is tested with."""

NEWEST: Release = (3, 16)
"""The newest release whose layers, options and mask rules were compared with the tables of kerasport."""

ASSUMED: Release = (3, 15)
"""The release whose rules apply to a source that does not name one, as an architecture JSON of Keras 3."""


def release_of(version: str) -> Release:
    """Major and minor number of a version of Keras; `ASSUMED` where it has none."""
    found = re.match(r"(\d{1,3})\.(\d{1,3})", version)
    return (int(found[1]), int(found[2])) if found else ASSUMED


TRAINING_COUNTS: Release = (3, 16)
"""The first release in which a call that is recorded with training=True acts as in training when a model predicts.

Keras 3 before it records that in every call of an image layer, and the model overrules it.
"""

MASKS_STOP: Release = (3, 16)
"""The first release in which recurrent layers, Bidirectional and TimeDistributed do not pass a mask on."""
