"""A KerasModel as text, for debugging and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)

INDENT = "  "


def show(model: KerasModel) -> str:
    """The model as text, one call per line: `%1 = Dense 'hidden'(%0, units=4, use_bias=False)`.

    It contains the options of a layer that differ from the defaults, and its children below it. It
    omits options that affect only training, and the values of weights.
    """
    return "\n".join(_model(model, ""))


def _model(model: KerasModel, indent: str) -> Iterator[str]:
    yield f"{indent}{model.class_name} {model.name!r}"
    numbers: dict[Call, int] = {}
    for number, call in enumerate(model.calls):
        numbers[call] = number
        yield f"{indent}{INDENT}%{number} = {_call(call, numbers)}"
        yield from _children(call.target, indent + INDENT * 2)
    returned = ", ".join(_tensor(tensor, numbers) for tensor in model.output_tensors)
    yield f"{indent}{INDENT}return {returned}"


def _children(target: LayerSpec | Operation | KerasModel, indent: str) -> Iterator[str]:
    if isinstance(target, KerasModel):
        yield from _model(target, indent)
    if not isinstance(target, LayerSpec):
        return
    for part, child in target.children.items():
        if isinstance(child, KerasModel):
            yield f"{indent}{part}:"
            yield from _model(child, indent + INDENT)
        else:
            yield f"{indent}{part}: {child.class_name} {child.name!r}({', '.join(_options(child))})"
            yield from _children(child, indent + INDENT)


def _call(call: Call, numbers: Mapping[Call, int]) -> str:
    target = call.target
    inputs = [_value(leaf, numbers) for leaf in flatten(call.args)]
    named = [
        f"{name}={_value(value, numbers)}"
        for name, value in call.kwargs.items()
        if value is not None
    ]
    options = [] if isinstance(target, KerasModel) else _options(target)
    return f"{target.class_name} {target.name!r}({', '.join([*inputs, *named, *options])})"


def _options(target: LayerSpec | Operation) -> Sequence[str]:
    config = {name: value for name, value in target.config.items() if name != "name"}
    if isinstance(target, LayerSpec) and target.class_name in LAYERS:
        # the shape of an input is not an option of its class, and layers inside are children
        defaults = {"batch_shape": None, **LAYERS[target.class_name].defaults}
        read = [name for name in config if name in defaults and name not in target.children]
        config = {name: config[name] for name in read if config[name] != defaults[name]}
    return [f"{name}={value!r}" for name, value in config.items()]


def _value(value: Any, numbers: Mapping[Call, int]) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(item, numbers) for item in value)}]"
    return _tensor(value, numbers) if isinstance(value, KerasTensor) else repr(value)


def _tensor(tensor: KerasTensor, numbers: Mapping[Call, int]) -> str:
    """`%2` for the first output of call 2, and `%2.1` for the second."""
    suffix = f".{tensor.index}" if tensor.index else ""
    return f"%{numbers[tensor.call]}{suffix}"
