"""The runtimes that converted models run in."""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.verification.runtime import RuntimeKind
from kerasport.verification.runtimes import onnx, tfjs

RUNTIMES: Mapping[str, RuntimeKind] = {kind.name: kind for kind in (tfjs.KIND, onnx.KIND)}
"""Name of a runtime, as targets give it → runtime."""
