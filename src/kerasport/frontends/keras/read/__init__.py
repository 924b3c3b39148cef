"""Read Keras files into a `KerasModel`, without Keras. Only this package knows their dialects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from kerasport.errors import SHORT, ReadError, legible, of_file, placed, quoted
from kerasport.frontends.keras.model import KerasModel
from kerasport.frontends.keras.read import by_name, keras1
from kerasport.frontends.keras.read.archive import Contents, open_contents
from kerasport.frontends.keras.read.by_path import ByPath
from kerasport.frontends.keras.read.calls import Builder
from kerasport.frontends.keras.read.describe import Described, Describer
from kerasport.frontends.keras.read.entries import images_apart
from kerasport.frontends.keras.read.stored import Stored, weights_of
from kerasport.releases import major

Source: TypeAlias = str | os.PathLike[str] | Any  # Any: a live keras.Model or tf_keras.Model


@contextmanager
def read(source: Source, weights: str | os.PathLike[str] | None = None) -> Iterator[KerasModel]:
    """Open a Keras file or a live Keras model; its weights can be read inside the `with` block.

    Args:
        source: a `.keras` file or directory, a whole-model HDF5 file, an architecture JSON, or a
            built `keras.Model` or `tf_keras.Model`, which is first saved to a temporary file.
        weights: the weights file of an architecture JSON: `.weights.h5`, `.weights.json`, or a file
            written by `save_weights` of Keras 2.

    Raises:
        ReadError: the source is not a Keras model that can be read. The message says what it is and
            what to do.
    """
    with (
        on_disk(source) as path,
        _opened(path, None if weights is None else Path(weights)) as model,
    ):
        yield model


@contextmanager
def on_disk(source: Source) -> Iterator[Path]:
    """The path of a model. A live model is saved to a temporary file."""
    if isinstance(source, str | os.PathLike):
        yield Path(source)
        return
    if not callable(getattr(source, "save", None)):
        raise TypeError(f"expected a path or a Keras model, got {type(source).__name__}")
    from tempfile import TemporaryDirectory  # noqa: PLC0415  (files do not need it, and it is slow)

    with TemporaryDirectory(prefix="kerasport-", ignore_cleanup_errors=True) as directory:
        path = Path(directory) / "model.keras"
        source.save(path)
        yield path


@contextmanager
def _opened(path: Path, weights: Path | None = None) -> Iterator[KerasModel]:
    """Open the model in a file; errors that its user raises inside the block name the file."""
    with ExitStack() as stack:
        with well_formed(str(path)):
            contents = stack.enter_context(open_contents(path, weights))
        model = model_of(contents)
        with of_file(str(path)):
            yield model


@contextmanager
def well_formed(where: str) -> Iterator[None]:
    """Turn every error of the block into a `ReadError` that begins with the path of the file.

    A file has thousands of places where a value can have the wrong type. The important ones are
    checked where they are read; this catches the others, so that no user sees a traceback. Enclose
    only reading: after that, an unexpected error is a bug in kerasport.
    """
    with of_file(where), placed(""):
        yield


def model_of(contents: Contents) -> KerasModel:
    """Build the model in an opened file.

    Raises:
        ReadError: the config and the weights do not match, or do not have Keras's structure.
    """
    with well_formed(str(contents.path)):
        return _described(contents)


def _described(contents: Contents) -> KerasModel:
    return built(
        contents.config,
        contents.version,
        lambda root: _find_arrays(contents, root),
        contents.compile_config,
        contents.optimizer,
    )


Arrays: TypeAlias = Mapping[Described, Any]
Vocabularies: TypeAlias = Mapping[Described, list[Any]]


def built(
    config: Any,
    version: str,
    find: Callable[[Described], tuple[Arrays, Vocabularies]],
    compile_config: Any = None,
    optimizer: Any = (),
) -> KerasModel:
    """Build a model from its config and arrays.

    Args:
        config: the architecture of the model, as JSON.
        version: the version of Keras that wrote it.
        find: returns the arrays of every layer, by sublayer, and the vocabularies.
        compile_config: the arguments of `compile`.
        optimizer: the variables of the optimizer.

    Raises:
        ReadError: the config and the arrays do not match.
    """
    config = _rooted(config)
    config = keras1.completed(config) if major(version) < 2 else config
    root = Describer(version).describe(config)
    _refuse_layer(root)
    stored: dict[Described, Stored] = {}
    arrays, vocabularies = find(root)
    for layer, groups in arrays.items():
        with placed(f"layer {quoted(layer.name)}"):
            stored[layer] = weights_of(layer, groups, version)
    for layer, vocabulary in vocabularies.items():
        stored[layer] = replace(stored[layer], options={"vocabulary": vocabulary})
    model = images_apart(Builder(stored, version).model(root))
    compiled = compile_config if isinstance(compile_config, Mapping) else None
    return replace(model, writer=version, compile_config=compiled, optimizer=optimizer)


def _rooted(config: Any) -> Any:
    """Wrap the result of `get_config()` alone in an entry with its class name."""
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


def _find_arrays(contents: Contents, root: Described) -> tuple[Arrays, Vocabularies]:
    """The arrays of every layer, by sublayer, and the vocabularies stored next to them."""
    if contents.manifest is not None:
        return contents.manifest.find(root, contents.version), {}
    if contents.by_name is not None:
        return by_name.find(*contents.by_name, root, contents.version), {}
    tree = ByPath(contents.by_path, major(contents.version) < 3)
    arrays = tree.find(root)
    vocabularies = {layer: _vocabulary(layer, path, contents) for layer, path in tree.paths.items()}
    return arrays, {layer: words for layer, words in vocabularies.items() if words is not None}


def _vocabulary(layer: Described, path: str, contents: Contents) -> list[Any] | None:
    """The vocabulary that a layer learned by adapt(), if a file next to the weights has it."""
    if (
        layer.class_name not in ("StringLookup", "IntegerLookup")
        or layer.config.get("vocabulary") is not None
    ):
        return None
    text = contents.asset(f"{path}/vocabulary.txt".replace("\\", "/"))
    if text is None:
        return None
    try:
        lines = text.decode().rstrip("\n").splitlines()
        return lines if layer.class_name == "StringLookup" else [int(line) for line in lines]
    except ValueError as error:
        raise ReadError(
            f"layer {quoted(layer.name)}: its vocabulary.txt cannot be read ({error})"
        ) from None
