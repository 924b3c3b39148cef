"""Detects what a source is, and opens it with the front end that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from kerasport.frontends.keras.model import KerasModel
from kerasport.frontends.keras.program import parts_of
from kerasport.frontends.keras.read import read
from kerasport.ir.program import Part, Program

Pathlike: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = Pathlike | Any  # Any: a live keras.Model or tf_keras.Model
Opened: TypeAlias = KerasModel | Program


@dataclass(frozen=True)
class Frontend:
    """What reads one kind of source.

    Attributes:
        name: name of the kind, for developers.
        accepts: whether a source is of this kind, by a quick look at it.
        open: opens a source and the weights that belong to it, if they are in another file. The
            weights of the result can be read inside the `with` block.
    """

    name: str
    accepts: Callable[[Source], bool]
    open: Callable[[Source, Pathlike | None], AbstractContextManager[Opened]]


KERAS = Frontend("keras", lambda _: True, read)
"""Keras files and live models. It also says what is wrong with a source of an unknown kind."""

FRONTENDS: tuple[Frontend, ...] = (KERAS,)
"""The front ends, in the order in which they look at a source."""


@contextmanager
def opened(source: Source, weights: Pathlike | None = None) -> Iterator[Opened]:
    """Open a source with the first front end that accepts it.

    Raises:
        ReadError: the source cannot be read.
    """
    frontend = next(candidate for candidate in FRONTENDS if candidate.accepts(source))
    with frontend.open(source, weights) as found:
        yield found


def parts(found: Opened) -> tuple[Part, ...]:
    """The parts of a source, with their weights."""
    return parts_of(found) if isinstance(found, KerasModel) else found.parts
