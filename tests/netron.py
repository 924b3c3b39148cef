"""Netron, the viewer of models, in a Node process that opens them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kerasport.verification.runtimes import node

SCRIPT = Path(node.WEB) / "test" / "netron.js"


@dataclass(frozen=True)
class Opened:
    """What Netron shows of a model."""

    format: str
    nodes: int
    tensors: dict[str, int]  # number of constants and weights by their element type and shape


class Netron:
    """Netron's own sources, which its package on PyPI holds; it is on npm no longer."""

    def __init__(self) -> None:
        spec = find_spec("netron")
        assert spec is not None, "Netron is not installed: pip install -e '.[test]'"
        assert spec.origin is not None
        self._process = subprocess.Popen(
            [node.find(), SCRIPT, Path(spec.origin).parent],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def open(self, model: Path) -> Opened:
        """Open a model.json or an ONNX file, and read every node and tensor of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{model}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        errors = answer.pop("errors")
        assert not errors, f"{model}: {errors}"
        return Opened(**answer)

    def close(self) -> None:
        """End Node."""
        self._process.communicate()
