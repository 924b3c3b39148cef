"""A small immutable graph of tensor operations, channels last, with a meaning in numpy.

Layers name operations from here as `ops`, which is loaded when the first of them is lowered: reading a file and writing
a layers-model need none, and are to be quick.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING


def _on_first_use(name: str) -> ModuleType:
    """A module that is executed when something of it is first asked for."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from kerasport.ir import ops as ops
else:
    ops = _on_first_use("kerasport.ir.ops")
