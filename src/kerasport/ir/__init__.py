"""The intermediate representation: an immutable graph of tensor operations, channels last.

numpy defines the meaning of each operation. The module `ops` is loaded on first use, because
reading a file and writing a layers-model do not need it and must be fast.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING


class _OnFirstUse(ModuleType):
    """A module that is executed when one of its attributes is first read.

    With the LazyLoader of importlib, reading `__path__` executes the module too. Importing a
    submodule reads it, so that the submodule would be executed twice.
    """

    def __getattr__(self, name: str) -> object:
        object.__setattr__(self, "__class__", ModuleType)  # an ordinary module from now on
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
