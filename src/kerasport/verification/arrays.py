"""The arrays of one batch: inputs or outputs of a model, flat."""

from __future__ import annotations

from typing import TypeAlias

from kerasport.weights import Array

Arrays: TypeAlias = tuple[Array, ...]
