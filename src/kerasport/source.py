"""Detects what a source is, and opens it with the front end that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from kerasport.errors import OptionError, of_file
from kerasport.frontends.graphdef import is_tensorflow_graph
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
        options: names of the options that `open` takes besides.
        title: the kind in sentences, such as "Keras model".
    """

    name: str
    accepts: Callable[[Source], bool]
    open: Callable[..., AbstractContextManager[Opened]]
    options: tuple[str, ...] = ()
    title: str = ""


def _open_graph(
    source: Source, weights: Pathlike | None = None, **options: Any
) -> AbstractContextManager[Program]:
    from kerasport.frontends.graphdef.program import open_graph  # noqa: PLC0415  (only for graphs)

    return open_graph(source, weights, **options)


@contextmanager
def _open_saved_model(
    source: Source, weights: Pathlike | None = None, **options: Any
) -> Iterator[Opened]:
    """Open the Keras model in a SavedModel, or its graph if the model is not complete."""
    from kerasport.frontends.keras.read.saved_model import (  # noqa: PLC0415  (only for SavedModels)
        NoKerasModel,
        keras_model_in,
    )

    if options or weights is not None:  # they select a graph, or are refused
        with _open_graph(source, weights, **options) as program:
            yield program
        return
    try:
        found: Opened = keras_model_in(Path(source))
    except NoKerasModel as reason:
        note = f"the graph of the SavedModel is converted, because {reason}"
        with _open_graph(source) as program:
            yield replace(program, notes=(note, *program.notes))
        return
    with of_file(str(source)):
        yield found


def _is_keras_2_saved_model(source: Source) -> bool:
    return is_tensorflow_graph(source) and Path(source, KERAS_METADATA).is_file()


KERAS_METADATA = "keras_metadata.pb"

SAVED_MODEL = Frontend(
    "saved_model",
    _is_keras_2_saved_model,
    _open_saved_model,
    ("signature", "tags"),
    "SavedModel of Keras 2",
)
"""SavedModels of Keras 2 with the config of their model."""

GRAPHDEF = Frontend(
    "graphdef",
    is_tensorflow_graph,
    _open_graph,
    ("signature", "tags", "outputs"),
    "TensorFlow graph",
)
"""SavedModels, TF-Hub directories and frozen graphs."""

KERAS = Frontend("keras", lambda _: True, read, title="Keras model")
"""Keras files and live models. It also says what is wrong with a source of an unknown kind."""

FRONTENDS: tuple[Frontend, ...] = (SAVED_MODEL, GRAPHDEF, KERAS)
"""The front ends, in the order in which they look at a source."""


@contextmanager
def opened(source: Source, weights: Pathlike | None = None, **options: Any) -> Iterator[Opened]:
    """Open a source with the first front end that accepts it.

    Args:
        source: path of a file or directory, or a live model.
        weights: path of the weights, if they are in another file.
        **options: options of a front end. None means the default.

    Raises:
        ReadError: the source cannot be read.
        OptionError: the front end has no such option.
    """
    frontend = next(candidate for candidate in FRONTENDS if candidate.accepts(source))
    chosen = {name: value for name, value in options.items() if value is not None}
    for name in chosen:
        if name not in frontend.options:
            owners = [other.title for other in FRONTENDS if name in other.options]
            raise OptionError(f"{name} is an option of a {' or '.join(owners)} only; omit it", name)
    with frontend.open(source, weights, **chosen) as found:
        yield found


def parts(found: Opened) -> tuple[Part, ...]:
    """The parts of a source, with their weights."""
    return parts_of(found) if isinstance(found, KerasModel) else found.parts
