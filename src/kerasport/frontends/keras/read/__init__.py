"""From a Keras file to a `Model`, without Keras: the only part of kerasport that knows dialects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from kerasport.errors import SHORT, ReadError, legible, placed, quoted
from kerasport.frontends.keras.model import KerasModel
from kerasport.frontends.keras.read import by_name, keras1
from kerasport.frontends.keras.read.archive import Contents, open_contents
from kerasport.frontends.keras.read.by_path import ByPath
from kerasport.frontends.keras.read.calls import Builder
from kerasport.frontends.keras.read.describe import Described, Describer
from kerasport.frontends.keras.read.dialects import major
from kerasport.frontends.keras.read.entries import images_apart
from kerasport.frontends.keras.read.stored import weights_of
from kerasport.weights import Weight

Source: TypeAlias = str | os.PathLike[str] | Any  # Any: a live keras.Model or tf_keras.Model


@contextmanager
def read(source: Source, weights: str | os.PathLike[str] | None = None) -> Iterator[KerasModel]:
    """The model in a Keras file, or a live Keras model; its weights can be read inside the `with` block.

    Args:
        source: a `.keras` file or directory, a whole-model HDF5 file, an architecture JSON, or a built
            `keras.Model` or `tf_keras.Model`, which is saved to a temporary file first.
        weights: the file of weights that belongs to an architecture JSON: `.weights.h5`, `.weights.json`, or
            what Keras 2's `save_weights` wrote.

    Raises:
        ReadError: it is not a Keras model that can be read; the message says what it is and what to do.
    """
    if isinstance(source, str | os.PathLike):
        with _opened(Path(source), None if weights is None else Path(weights)) as model:
            yield model
        return
    if not callable(getattr(source, "save", None)):
        raise TypeError(f"expected a path or a Keras model, got {type(source).__name__}")
    from tempfile import TemporaryDirectory  # noqa: PLC0415  (files do without, and it takes a while)

    with TemporaryDirectory(prefix="kerasport-") as directory:
        path = Path(directory) / "model.keras"
        source.save(path)
        with _opened(path) as model:
            yield model


@contextmanager
def _opened(path: Path, weights: Path | None = None) -> Iterator[KerasModel]:
    with ExitStack() as stack:
        with well_formed(str(path)):
            contents = stack.enter_context(open_contents(path, weights))
        model = model_of(contents)
        with of_file(str(path)):
            yield model


@contextmanager
def of_file(where: str) -> Iterator[None]:
    """A block in which each `ReadError` begins with the file; shapes are compared with it after reading, too."""
    try:
        yield
    except ReadError as error:
        if legible(where) in str(error):
            raise
        raise error.inside(where, ": ") from error.__cause__


@contextmanager
def well_formed(where: str) -> Iterator[None]:
    """A block that reads a file: every error in it becomes a `ReadError` that begins with the file.

    A file has thousands of places where a value can be of the wrong kind. Those that matter are checked where they
    are read; this catches the others, so that nobody sees a traceback. It must not enclose anything but reading: after
    that, an unexpected error is a bug in kerasport.
    """
    with of_file(where), placed(""):
        yield


def model_of(contents: Contents) -> KerasModel:
    """The model in an opened file.

    Raises:
        ReadError: config and weights do not belong together, or are not formed as Keras forms them.
    """
    with well_formed(str(contents.path)):
        return _described(contents)


def _described(contents: Contents) -> KerasModel:
    config = _rooted(contents.config)
    config = keras1.completed(config) if major(contents.version) < 2 else config
    root = Describer(contents.version).describe(config)
    _refuse_layer(root)
    stored = {}
    for layer, groups in _found(contents, root).items():
        with placed(f"layer {quoted(layer.name)}"):
            stored[layer] = weights_of(layer, groups, contents.version)
    weights: Mapping[Described, tuple[Weight, ...]] = {
        layer: made for layer, (made, _) in stored.items()
    }
    notes = {layer: note for layer, (_, note) in stored.items()}
    model = images_apart(Builder(weights, notes, contents.version).model(root))
    compiled = contents.compile_config if isinstance(contents.compile_config, Mapping) else None
    return replace(
        model, writer=contents.version, compile_config=compiled, optimizer=contents.optimizer
    )


def _rooted(config: Any) -> Any:
    """`get_config()` alone lacks the frame that says what it configures."""
    if isinstance(config, dict) and "class_name" not in config and "layers" in config:
        return {
            "class_name": "Functional" if "input_layers" in config else "Sequential",
            "config": config,
        }
    return config


def _refuse_layer(root: Described) -> None:
    if root.kind not in ("functional", "sequential"):
        raise ReadError(
            f"the file contains a {legible(root.class_name, SHORT)}, not a Sequential or "
            "functional model; the graph of a subclassed model is Python code that the file does "
            "not contain. Rebuild the model with the functional API and save that"
        )


def _found(contents: Contents, root: Described) -> Mapping[Described, Any]:
    if contents.manifest is not None:
        return contents.manifest.find(root, contents.version)
    if contents.by_name is not None:
        return by_name.find(*contents.by_name, root, contents.version)
    tree = ByPath(contents.by_path, major(contents.version) < 3)
    found = tree.find(root)
    for layer, path in tree.paths.items():
        _give_vocabulary(layer, path, contents)
    return found


def _give_vocabulary(layer: Described, path: str, contents: Contents) -> None:
    """Tell a layer what it learned by adapt(): a token a line, beside the weights."""
    if (
        layer.class_name not in ("StringLookup", "IntegerLookup")
        or layer.config.get("vocabulary") is not None
    ):
        return
    text = contents.asset(f"{path}/vocabulary.txt".replace("\\", "/"))
    if text is None:
        return
    try:
        lines = text.decode().rstrip("\n").splitlines()
        learned = lines if layer.class_name == "StringLookup" else [int(line) for line in lines]
    except ValueError as error:
        raise ReadError(
            f"layer {quoted(layer.name)}: its vocabulary.txt cannot be read ({error})"
        ) from None
    layer.config = {**layer.config, "vocabulary": learned}
