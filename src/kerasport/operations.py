"""`keras.ops` functions that stand as nodes in a model, as tensor operations: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Operate: TypeAlias = Callable[..., Any]  # (config, *arguments of the call) → a tensor or a tuple of them

OPERATIONS: Mapping[str, Operate] = {}
