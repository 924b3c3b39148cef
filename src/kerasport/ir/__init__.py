"""A small immutable graph of tensor operations, channels last, with a meaning in numpy.

Layers name operations from here as `ops`, which is loaded when the first of them is lowered: reading a file and writing
a layers-model need none, and are to be quick.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING


class _OnFirstUse(ModuleType):
    """A module that is executed when something of it is first asked for.

    Unlike with importlib's LazyLoader its path is not something of it: to import a submodule asks for that, and would
    execute the module in the middle of it, and the submodule twice.
    """

    def __getattr__(self, name: str) -> object:
        object.__setattr__(self, "__class__", ModuleType)  # an ordinary module from here on
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _on_first_use(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _OnFirstUse
        sys.modules[name] = module
    return sys.modules[name]


if TYPE_CHECKING:
    from kerasport.ir import ops as ops
else:
    ops = _on_first_use("kerasport.ir.ops")
