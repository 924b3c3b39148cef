"""Bind the arguments of layer calls to their names in Keras.

Keras files store some arguments by position and others by name, as the user wrote the call. After
this step every call has one form: the tensors that the layer works on are in `Call.args`, and
everything else is in `Call.kwargs` by its Keras name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.model import KerasModel, LayerSpec, Operation, flatten


@dataclass(frozen=True)
class Signature:
    """The parameters of a Keras `call` method: all names in order, and those of tensors."""

    names: tuple[str, ...]
    tensors: tuple[str, ...]


MODEL = Signature(("inputs", "training", "mask"), ("inputs",))  # Functional.call, Sequential.call


def signature_of(target: LayerSpec | Operation | KerasModel) -> Signature | None:
    """The signature of a call's target; None for operations and unknown layers."""
    if isinstance(target, KerasModel):
        return MODEL
    if isinstance(target, Operation) or target.custom:
        return None
    cls = LAYERS.get(target.class_name)
    return None if cls is None else Signature(cls.signature, cls.tensors)


@dataclass(frozen=True)
class Arguments:
    """The bound arguments of one call. `Call` documents the fields."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    by_position: frozenset[str] = frozenset()


def bind(
    target: LayerSpec | Operation | KerasModel, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Arguments:
    """Bind the arguments of a call as Python binds them to the Keras signature.

    Arguments beyond the signature get a name that no layer has ("argument 4"), so that targets
    refuse them like every other unknown argument.

    Raises:
        ReadError: the call passes one argument twice, or an array as `training`.
    """
    signature = signature_of(target)
    if signature is None:
        return Arguments(args, kwargs)
    names = (
        *signature.names,
        *(f"argument {i + 1}" for i in range(len(signature.names), len(args))),
    )
    positional = dict(zip(names, args, strict=False))
    named = {_current(name, signature): value for name, value in kwargs.items()}
    if twice := sorted(positional.keys() & named.keys()):
        raise ReadError(
            f"layer {quoted(target.name)}: the call passes the argument {twice[0]!r} twice, by "
            "position and by name"
        )
    arguments = {**positional, **named}
    if isinstance(arguments.get("training"), np.ndarray):
        raise ReadError(
            f"layer {quoted(target.name)}: the call passes an array as the argument 'training', "
            "expected true or false"
        )
    if isinstance(arguments.get("mask"), list | tuple):
        arguments["mask"] = _masks(target, arguments["mask"])
    tensors = [arguments.pop(name, None) for name in signature.tensors]
    while tensors and tensors[-1] is None:
        tensors.pop()
    by_position = frozenset(name for name in positional if name in arguments)
    return Arguments(tuple(tensors), arguments, by_position)


def _masks(target: LayerSpec | Operation | KerasModel, masks: Sequence[Any]) -> Any:
    """The mask of a call, or the masks of a layer with several inputs, with lists as arrays."""
    cls = None if isinstance(target, KerasModel) else LAYERS.get(target.class_name)
    if cls is not None and cls.arity[1] == 1:
        return _as_array(masks)
    return tuple(map(_as_array, masks))


def _as_array(value: Any) -> Any:
    """Convert nested lists of numbers to an array.

    Keras 2 saves arrays as lists, and every Keras saves a list argument as a list.
    """
    if not isinstance(value, list | tuple) or not value:
        return value
    leaves = flatten(value)
    if not all(isinstance(leaf, bool | int | float) for leaf in leaves):
        return value
    try:
        return np.asarray(value)
    except ValueError:  # the lists differ in length
        return value


def _current(name: str, signature: Signature) -> str:
    """The newest name of an argument: image layers called theirs `inputs` before Keras 3.7."""
    return "data" if name == "inputs" and signature.names[0] == "data" else name
