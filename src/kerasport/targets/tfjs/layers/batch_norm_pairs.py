"""Kernels directly before a batch normalization that can absorb a scale per channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.normalization import BatchNormalization
from kerasport.frontends.keras.model import KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.precheck import models
from kerasport.targets.tfjs.channels import Channels, Norm
from kerasport.targets.tfjs.layers.spelling.names import weights_of
from kerasport.targets.tfjs.layers.spelling.topology import Topology
from kerasport.weights import Shape, axis_of


class Kernel(NamedTuple):
    """The kernel of a class of layers."""

    weight: str
    channel_axes: int
    """How many of its last axes number the output channels."""


KERNELS: Mapping[str, Kernel] = {
    **dict.fromkeys(("Dense", "Conv1D", "Conv2D", "Conv3D"), Kernel("kernel", 1)),
    "DepthwiseConv2D": Kernel("depthwise_kernel", 2),
}
"""Class → its kernel."""


def batch_norm_pairs(
    model: KerasModel, spelling: Topology, shapes: Mapping[KerasTensor, Shape]
) -> Iterator[tuple[str, Channels]]:
    """Names of such kernels in the manifest, with the batch normalization after each.

    Neither of the two layers is shared, and only the batch normalization uses the tensor between.

    Args:
        model: the prepared model.
        spelling: the names of its layers and weights in TF.js.
        shapes: shapes of its tensors.
    """
    for kernel, norm, between in _neighbors(model):
        if _is_linear_in_last_axis(kernel, norm, shapes.get(between)):
            yield from _pair(kernel, norm, spelling)


def _neighbors(model: KerasModel) -> Iterator[tuple[LayerSpec, LayerSpec, KerasTensor]]:
    """Layers with a kernel, the batch normalization after each, and the tensor between the two."""
    parts = list(models(model))
    times = Counter(id(call.target) for part in parts for call in part.calls)
    for part in parts:
        uses = Counter(tensor for call in part.calls for tensor in call.tensors())
        uses.update(part.output_tensors)
        for call in part.calls:
            norm, inputs = call.target, call.tensors()
            if norm.class_name != "BatchNormalization" or len(inputs) != 1:
                continue
            kernel = inputs[0].call.target
            alone = uses[inputs[0]] == times[id(norm)] == times[id(kernel)] == 1
            if alone and isinstance(norm, LayerSpec) and isinstance(kernel, LayerSpec):
                yield kernel, norm, inputs[0]


def _is_linear_in_last_axis(kernel: LayerSpec, norm: LayerSpec, shape: Shape | None) -> bool:
    """Whether scaling the channels of the kernel only scales the last axis, which `norm` uses."""
    layer = LAYERS["BatchNormalization"].from_spec(norm)
    assert isinstance(layer, BatchNormalization)
    if kernel.class_name not in KERNELS or shape is None or layer.renorm:
        return False
    linear = kernel.config.get("activation") in (None, "linear")
    last = axis_of(layer.axis, len(shape)) == len(shape) - 1
    return linear and last and kernel.config.get("data_format") != "channels_first"


def _pair(kernel: LayerSpec, norm: LayerSpec, spelling: Topology) -> Iterator[tuple[str, Channels]]:
    layer = LAYERS["BatchNormalization"].from_spec(norm)
    assert isinstance(layer, BatchNormalization)
    name, norm_name = spelling.names[kernel], spelling.names[norm]
    weight, axes = KERNELS[kernel.class_name]
    bias = f"{name}/bias"
    shifted = (f"{norm_name}/moving_mean", *((bias,) if bias in spelling.weights else ()))
    changed = (f"{name}/{weight}", *shifted, f"{norm_name}/moving_variance")
    own = {*weights_of(kernel, name), *weights_of(norm, norm_name)}
    if all(weight in own and weight in spelling.weights for weight in changed):
        yield changed[0], Channels(axes, Norm(shifted, changed[-1], layer.epsilon))
