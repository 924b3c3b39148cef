"""Kernels of a layers-model right before a batch normalisation, which can take over the scales of their channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.layers.normalization import BatchNormalization
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.frontends.keras.precheck import models
from kerasport.targets.tfjs.channels import Channels, Norm
from kerasport.targets.tfjs.layers.spelling.topology import Topology, weights_of
from kerasport.weights import Shape, axis_of

# class → the weight that is its kernel, and how many of its last axes number the channels
KERNELS: Mapping[str, tuple[str, int]] = {
    "Dense": ("kernel", 1), "Conv1D": ("kernel", 1), "Conv2D": ("kernel", 1), "Conv3D": ("kernel", 1),
    "DepthwiseConv2D": ("depthwise_kernel", 2),
}  # fmt: skip


def normalised(
    model: KerasModel, written: Topology, shapes: Mapping[KerasTensor, Shape]
) -> Iterator[tuple[str, Channels]]:
    """The names of such kernels, and what is behind each."""
    parts = list(models(model))
    times = Counter(id(call.target) for part in parts for call in part.calls)
    for part in parts:
        users = Counter(tensor for call in part.calls for tensor in call.tensors())
        for call in part.calls:
            spec, inputs = call.target, call.tensors()
            if (
                not isinstance(spec, LayerSpec)
                or spec.class_name != "BatchNormalization"
                or len(inputs) != 1
            ):
                continue
            before = inputs[0].call
            alone = users[inputs[0]] == 1 and inputs[0] not in part.output_tensors
            if alone and times[id(spec)] == times[id(before.target)] == 1:
                yield from _pair(before, spec, written, shapes.get(inputs[0]))


def _pair(
    before: Call, norm: LayerSpec, written: Topology, shape: Shape | None
) -> Iterator[tuple[str, Channels]]:
    kernel, layer = before.target, LAYERS["BatchNormalization"].from_spec(norm)
    assert isinstance(layer, BatchNormalization)
    if (
        not isinstance(kernel, LayerSpec)
        or kernel.class_name not in KERNELS
        or shape is None
        or layer.renorm
    ):
        return
    last = axis_of(layer.axis, len(shape)) == len(shape) - 1
    linear = kernel.config.get("activation") in (None, "linear")
    if not last or not linear or kernel.config.get("data_format") == "channels_first":
        return
    name, after = written.names[kernel], written.names[norm]
    weight, axes = KERNELS[kernel.class_name]
    bias = f"{name}/bias"
    shifted = (f"{after}/moving_mean", *((bias,) if bias in written.weights else ()))
    named = (f"{name}/{weight}", *shifted, f"{after}/moving_variance")
    own = {*weights_of(kernel, name), *weights_of(norm, after)}
    if all(each in own and each in written.weights for each in named):
        yield named[0], Channels(axes, Norm(shifted, named[-1], layer.epsilon))
