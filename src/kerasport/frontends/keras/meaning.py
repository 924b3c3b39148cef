"""Describe the values that a model's inputs expect and its outputs contain, in words and ranges.

Each input is followed through the layers that preprocess data: rescaling, normalization, resizing,
lookups. Each output is explained by the last activation. If the layers do not determine the
meaning, the text is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from kerasport.frontends.keras.identity import does_nothing
from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.model import (
    Call,
    KerasModel,
    KerasTensor,
    LayerSpec,
    Operation,
    flatten,
)
from kerasport.report import Values
from kerasport.weights import Array, Shape

CHANNELS = 4  # of images; a step with more factors does not preprocess pixels
MAX_STEPS = 2_000  # calls followed from one input, since nested models can be shared
PIXEL = 255.0
IMAGENET_MEAN = (103.939, 116.779, 123.68)
"""Means of blue, green and red, as `preprocess_input` of ResNet and VGG subtracts them."""


def expected_values(model: KerasModel) -> tuple[Values, ...]:
    """The values that each input of a model expects, in the order of its inputs."""
    return tuple(_expected(model, tensor) for tensor in model.input_tensors)


def output_values(model: KerasModel, shapes: Sequence[Shape]) -> tuple[Values, ...]:
    """The values of each output of a model, in the order of its outputs, given their shapes."""
    return tuple(map(_output, model.output_tensors, shapes))


# ------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class _Path:
    """The steps between an input and one of its uses."""

    images: bool  # whether the input has the rank of images
    # scale and offset of each step, float64, scalars or one per channel
    affine: tuple[tuple[Array, Array], ...] = ()
    done: tuple[str, ...] = ()  # other steps, in words
    swapped: bool = False  # whether the order of channels is reversed

    def scaled(self, scale: Any, offset: Any) -> After:
        """Append a step x · scale + offset, merged with a previous step of the same kind."""
        step = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
        if not all(factor.size and np.isfinite(factor).all() for factor in step):
            return Values()
        if max(factor.size for factor in step) > (CHANNELS if self.images else 1):
            return Values()
        if self.affine and _is_of_channels(self.affine[-1]) == _is_of_channels(step):
            before = self.affine[-1]
            joined = before[0] * step[0], before[1] * step[0] + step[1]
            return replace(self, affine=(*self.affine[:-1], joined))
        return replace(self, affine=(*self.affine, step))

    def then(self, words: str) -> _Path:
        """Append another step, in words."""
        return replace(self, done=(*self.done, words))


def _expected(model: KerasModel, tensor: KerasTensor) -> Values:
    spec = tensor.call.target
    assert isinstance(spec, LayerSpec)
    declared = str(spec.config.get("dtype") or "float32")
    shape = spec.config.get("batch_shape") or spec.config.get("batch_input_shape") or ()
    images = isinstance(shape, list | tuple) and len(shape) == 4
    found = [values for values in _uses(model, tensor, _Path(images)) if values.text]
    return replace(_joined(found) or _of_dtype(declared, images=images), dtype=_fed(declared))


def _fed(declared: str) -> str:
    """Dtype of the tensor that a page creates for an input."""
    if declared in ("string", "bool"):
        return declared
    return "int32" if declared.startswith(("int", "uint")) else "float32"


def _of_dtype(declared: str, *, images: bool) -> Values:
    if declared == "uint8":
        return Values(text=f"{'pixels' if images else 'integers'} 0 to 255", low=0, high=PIXEL)
    return Values(text="true or false", low=0, high=1) if declared == "bool" else Values()


def _joined(found: Sequence[Values]) -> Values | None:
    """The values that all uses of an input agree on; of several id ranges, the smallest."""
    if not found:
        return None
    ids = [values for values in found if values.low == 0 and values.text.startswith(IDS)]
    if len(ids) == len(found):
        return min(ids, key=lambda values: values.high or 0)
    return found[0] if all(values == found[0] for values in found) else None


def _uses(model: KerasModel, tensor: KerasTensor, path: _Path) -> Iterator[Values]:
    """Yield the values expected by each use of a tensor, including uses inside nested models."""
    waiting, steps = [(model, tensor, path)], 0
    users: dict[KerasModel, Mapping[KerasTensor, Sequence[Call]]] = {}
    while waiting and (steps := steps + 1) < MAX_STEPS:
        model, tensor, path = waiting.pop()
        if model not in users:
            users[model] = _users(model)
        calls = users[model].get(tensor, ())
        if not calls:
            yield _described(path)
        for call in calls:
            if isinstance(call.target, KerasModel):
                pairs = zip(call.target.input_tensors, flatten(call.args), strict=False)
                waiting += [(call.target, inner, path) for inner, outer in pairs if outer == tensor]
                continue
            after = _after(call, path)
            if isinstance(after, _Path):
                waiting.append((model, KerasTensor(call), after))
            else:
                yield after if after.text else _described(path)


def _users(model: KerasModel) -> Mapping[KerasTensor, Sequence[Call]]:
    """Tensor → the calls that use it."""
    users: dict[KerasTensor, list[Call]] = {}
    for call in model.calls:
        for tensor in dict.fromkeys(call.tensors()):
            users.setdefault(tensor, []).append(call)
    return users


IDS = "integer ids"

After: TypeAlias = "_Path | Values"
"""The path after a preprocessing layer, or the values that a layer expects; empty if unknown."""


def _after(call: Call, path: _Path) -> After:
    target = call.target
    if isinstance(target, Operation):
        return _after_operation(call, path)
    assert isinstance(target, LayerSpec)
    if target.custom:
        return Values()
    if does_nothing(target) or traits_of(target).keeps_values:
        return path
    step = LAYERS.get(target.class_name)
    return step(target, path) if step else Values()


def _embedding(spec: LayerSpec, path: _Path) -> After:
    if path.affine:
        return Values()
    most = int(spec.config["input_dim"]) - 1
    padding = "; 0 marks padding" if spec.config.get("mask_zero") else ""
    return Values(text=f"{IDS} 0 to {most:,}{padding}", low=0, high=most)


def _encoding(spec: LayerSpec, path: _Path) -> After:
    most = int(spec.config["num_tokens"]) - 1
    return Values() if path.affine else Values(text=f"{IDS} 0 to {most:,}", low=0, high=most)


def _lookup(spec: LayerSpec, path: _Path) -> After:
    vocabulary = spec.config.get("vocabulary")
    if path.affine or spec.config.get("invert") or not isinstance(vocabulary, list | tuple):
        return Values()
    kind = "strings" if spec.class_name == "StringLookup" else "integers"
    return Values(text=f"{kind}; the model looks them up in its vocabulary of {len(vocabulary):,}")


def _discretization(spec: LayerSpec, path: _Path) -> After:
    bounds = spec.config.get("bin_boundaries")
    if path.affine or not isinstance(bounds, list | tuple):
        return Values()
    return Values(text=f"numbers; the model sorts them into {len(bounds) + 1} bins")


def _rescaling(spec: LayerSpec, path: _Path) -> After:
    try:
        return path.scaled(spec.config["scale"], spec.config.get("offset") or 0.0)
    except (KeyError, TypeError, ValueError):
        return Values()


def _normalization(spec: LayerSpec, path: _Path) -> After:
    if spec.config.get("invert"):
        return Values()
    described = _described(
        path.then("normalizes each channel" if path.images else "normalizes them")
    )
    mean, variance = _moments(spec)
    if path.affine or mean is None or variance is None or not mean.size == variance.size == 1:
        return described
    measured = f"mean {mean.item():.4g}, standard deviation {np.sqrt(variance.item()):.4g}"
    return Values(text=f"numbers as in training ({measured}); the model normalizes them itself")


def _moments(spec: LayerSpec) -> tuple[Array | None, Array | None]:
    """Mean and variance of a Normalization, from its weights or its config."""
    if len(spec.weights) >= 2:
        mean, variance = (
            weight.read() if weight.size == 1 else None for weight in spec.weights[:2]
        )
        return mean, variance
    options = spec.config.get("mean"), spec.config.get("variance")
    mean, variance = (None if value is None else np.asarray(value, np.float64) for value in options)
    return mean, variance


def _resizing(spec: LayerSpec, path: _Path) -> After:
    return path.then(
        f"{'resizes' if spec.class_name == 'Resizing' else 'crops'} them to {_size(spec)}"
    )


def _size(spec: LayerSpec) -> str:
    return f"{spec.config.get('height')} x {spec.config.get('width')} pixels"


LAYERS: Mapping[str, Callable[[LayerSpec, _Path], After]] = {
    "CategoryEncoding": _encoding,
    "CenterCrop": _resizing,
    "Discretization": _discretization,
    "Embedding": _embedding,
    "IntegerLookup": _lookup,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Resizing": _resizing,
    "StringLookup": _lookup,
}
"""Class of a preprocessing layer → the values that it expects, or the path after it."""


# --------------------------------------------------------------------------------------- operations


def _after_operation(call: Call, path: _Path) -> After:
    """The path after an operation, such as those of `preprocess_input`."""
    target = call.target
    assert isinstance(target, Operation)
    name = SPELLED.get(str(target.config.get("function")), target.class_name)
    if name in ("Cast", "Reshape", "ExpandDims", "Squeeze", "Transpose"):
        return path
    if name == "GetItem":
        return _indexed(call, path)
    if name == "Stack":
        return replace(path, swapped=True) if path.swapped else Values()
    step = ARITHMETIC.get(name)
    operands = [*call.args, *(value for key, value in call.kwargs.items() if key != "name")]
    if name in ("Add", "Multiply") and operands and not isinstance(operands[0], KerasTensor):
        operands.reverse()
    if step is None or len(operands) != 2 or not isinstance(operands[0], KerasTensor):
        return Values()
    if not isinstance(operands[1], int | float | np.ndarray):
        return Values()
    with np.errstate(all="ignore"):
        return path.scaled(*step(np.asarray(operands[1], np.float64)))


ARITHMETIC: Mapping[str, Callable[[Array], tuple[Any, Any]]] = {
    "Add": lambda y: (1.0, y),
    "Subtract": lambda y: (1.0, -y),
    "Multiply": lambda y: (y, 0.0),
    "Divide": lambda y: (1.0 / y, 0.0),
    "TrueDivide": lambda y: (1.0 / y, 0.0),
}
"""Operation with a number y → scale and offset of its result."""

SPELLED: Mapping[str, str] = {
    **{f"math.{name}": name.capitalize() for name in ("add", "subtract", "multiply", "divide")},
    "__operators__.add": "Add", "__operators__.sub": "Subtract", "__operators__.mul": "Multiply",
    "__operators__.truediv": "TrueDivide", "__operators__.getitem": "GetItem",
    "math.truediv": "TrueDivide", "cast": "Cast", "compat.v1.nn.bias_add": "Add",
    "nn.bias_add": "Add", "expand_dims": "ExpandDims", "reshape": "Reshape",
}  # fmt: skip
"""TensorFlow function that Keras 2 records → the operation of Keras 3."""


def _indexed(call: Call, path: _Path) -> After:
    """The path after indexing. `preprocess_input` reverses the last axis to convert RGB to BGR."""
    index = call.args[1] if len(call.args) > 1 else None
    parts = index if isinstance(index, tuple) else (index,)
    turned = isinstance(parts[-1], slice) and parts[-1].step == -1
    whole = all(part is Ellipsis or part == slice(None) for part in parts[:-1])
    if whole and path.images and not path.affine and (turned or parts[-1] in (0, 1, 2)):
        return replace(path, swapped=True)
    return Values()


# -------------------------------------------------------------------------------------------- words


def _described(path: _Path) -> Values:
    """Describe in words what a path does to the values of an input."""
    expected, does, is_pixels = "", [*path.done], False
    for number, (scale, offset) in enumerate(path.affine):
        words, pixels = _scaling(scale, offset, path, first=number == 0)
        does.insert(len(does) - bool(path.done and "normalizes" in path.done[-1]), words)
        is_pixels |= pixels
    if not does:
        return Values()
    what = f"{', '.join(does[:-1])} and {does[-1]}" if len(does) > 1 else does[0]
    if is_pixels:
        expected = f"{'pixels 0 to 255' if path.images else '0 to 255'}; "
    else:
        noun = "the images" if what.startswith(("resizes", "crops")) else "the values"
        what = what.replace("them", noun, 1)
    values = Values(text=f"{expected}the model {what}")
    return replace(values, low=0.0, high=PIXEL) if is_pixels else values


def _scaling(scale: Array, offset: Array, path: _Path, *, first: bool) -> tuple[str, bool]:
    """Describe a step x · scale + offset, and whether the input must be pixels 0 to 255."""
    if _is_of_channels((scale, offset)):
        return _of_channels(scale, offset, path, first=first)
    s, o = scale.item(), offset.item()
    low, high = o, PIXEL * s + o
    if first and min(abs(low), abs(low + 1)) < 1e-6 and abs(high - 1) < 0.01:
        return f"rescales them to {_short(low)} to {_short(high)}", True
    by = f"multiplies them by {_short(s)}" if s != 1 else ""
    added = f"adds {_short(o)}" if o else ""
    whole = round(1 / s) if s and not o and abs(1 / s - round(1 / s)) < 1e-6 * abs(1 / s) else 0
    example = f" (0 to {whole} becomes 0 to 1)" if first and whole > 1 else ""
    return " and ".join(filter(None, (by, added))) + example or "passes them on", False


def _of_channels(scale: Array, offset: Array, path: _Path, *, first: bool) -> tuple[str, bool]:
    mean = np.sort(np.abs(offset.ravel()))
    of_imagenet = mean.shape == (3,) and np.allclose(mean, IMAGENET_MEAN, atol=0.01)
    if first and of_imagenet and scale.size == 1:
        swaps = "swaps RGB to BGR and " if path.swapped else ""
        return f"{swaps}subtracts the mean of ImageNet", True
    verb = "shifts" if scale.size == 1 and scale.item() == 1 else "normalizes"
    return f"{verb} each channel", False


def _is_of_channels(step: tuple[Array, Array]) -> bool:
    return max(factor.size for factor in step) > 1


def _short(number: float) -> str:
    return f"{number:.3g}"


# ------------------------------------------------------------------------------------------ outputs


def _output(tensor: KerasTensor, shape: Shape) -> Values:
    """The values of an output, determined by the last activation."""
    target = _last(tensor).call.target
    if isinstance(target, Operation):
        return _activated(OPERATIONS.get(target.class_name, ""), target.config, shape)
    is_wrapper = isinstance(target, LayerSpec) and target.class_name == "TimeDistributed"
    inner = target.children.get("layer") if is_wrapper and isinstance(target, LayerSpec) else target
    if not isinstance(inner, LayerSpec) or inner.custom:
        return Values()
    if inner.class_name == "ReLU" and inner.config.get("negative_slope"):
        return Values()
    if inner.class_name in ACTIVATIONS:
        return _activated(ACTIVATIONS[inner.class_name], inner.config, shape)
    if inner.class_name in ENDS:
        return _activated(inner.config.get("activation") or "linear", {}, shape)
    return Values()


def _last(tensor: KerasTensor) -> KerasTensor:
    """Follow an output back through models and layers without effect."""
    for _ in range(MAX_STEPS):
        target = tensor.call.target
        if isinstance(target, KerasModel):
            tensor = target.output_tensors[tensor.index]
        elif (
            isinstance(target, LayerSpec)
            and does_nothing(target)
            and len(tensor.call.tensors()) == 1
        ):
            tensor = tensor.call.tensors()[0]
        else:
            break
    return tensor


ENDS = frozenset(
    ("Activation", "Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose",
     "Conv2DTranspose", "Conv3DTranspose", "SeparableConv1D", "SeparableConv2D")
)  # fmt: skip
"""Last layers of models whose activation determines the values."""

ACTIVATIONS: Mapping[str, str] = {"Softmax": "softmax", "ReLU": "relu"}
OPERATIONS: Mapping[str, str] = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
}


def _activated(activation: Any, config: Mapping[str, Any], shape: Shape) -> Values:
    """The values that an activation returns. Classes are on the last axis."""
    size = shape[-1] if len(shape) > 1 else None
    if activation == "linear":
        return Values(text="raw scores (logits) or numbers: no activation")
    if activation == "softmax" and config.get("axis", -1) == -1:
        classes = f"{size:,} classes" if size else "classes"
        return Values(text=f"probabilities of {classes} (softmax)", low=0, high=1)
    if activation == "sigmoid":
        what = "probability" if size == 1 and len(shape) == 2 else "independent probabilities"
        return Values(text=f"{what} from 0 to 1 (sigmoid)", low=0, high=1)
    if activation == "tanh":
        return Values(text="numbers from -1 to 1 (tanh)", low=-1, high=1)
    return Values(text="numbers from 0 up (relu)", low=0) if activation == "relu" else Values()
