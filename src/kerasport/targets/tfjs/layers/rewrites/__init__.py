"""Replace layers that TF.js lacks, or computes differently, with layers that it has.

Each rewrite is one function, whose docstring states the formula. If one layer would need many
TF.js layers, we use a graph-model instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from kerasport.errors import Refusal
from kerasport.frontends.keras.dialect import Dialect
from kerasport.frontends.keras.masks import BY_BACKEND, Masks
from kerasport.frontends.keras.model import KerasModel, KerasTensor, rebuild
from kerasport.targets.tfjs.layers.rewrites import (
    activations,
    applications,
    convolution,
    core,
    images,
    merging,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    reshaping,
)
from kerasport.targets.tfjs.layers.rewrites.context import (
    Respelling,
    Rewrite,
    RewriteContext,
    Rewriter,
)

REWRITES: Mapping[str, Rewrite] = {
    # core
    "Dense": core.dense,
    "EinsumDense": core.einsum_dense,
    "TernaryDense": core.ternary_dense,
    "ReversibleEmbedding": core.reversible_embedding,
    **dict.fromkeys(("SpatialDropout2D", "SpatialDropout3D"), core.spatial_dropout),
    # activations
    "Activation": activations.activation,
    "ReLU": activations.relu_layer,
    "ELU": activations.elu_layer,
    "Softmax": activations.softmax_layer,
    # convolutions
    "Conv1D": convolution.conv1d,
    "Conv2D": convolution.conv2d,
    "Conv3D": convolution.conv3d,
    "DepthwiseConv1D": convolution.depthwise_conv1d,
    "DepthwiseConv2D": convolution.depthwise_conv2d,
    "SeparableConv1D": convolution.separable_conv1d,
    "SeparableConv2D": convolution.separable_conv2d,
    "Conv1DTranspose": convolution.conv1d_transpose,
    "Conv2DTranspose": convolution.conv2d_transpose,
    "Conv3DTranspose": convolution.conv3d_transpose,
    # pooling
    **dict.fromkeys(("AveragePooling1D", "MaxPooling1D"), pooling.pooling),
    "AveragePooling3D": pooling.average_pooling3d,
    "MaxPooling3D": pooling.max_pooling3d,
    **{
        f"Global{kind}Pooling{rank}D": pooling.global_pooling
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    **{
        f"Adaptive{kind}Pooling{rank}D": pooling.adaptive_pooling
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    # normalization
    "BatchNormalization": normalization.batch_normalization,
    "LayerNormalization": normalization.layer_normalization,
    "GroupNormalization": normalization.group_normalization,
    "RMSNormalization": normalization.rms_normalization,
    # recurrent
    "RNN": recurrent.rnn,
    "ConvLSTM1D": recurrent.conv_lstm1d,
    "ConvLSTM2D": recurrent.conv_lstm2d,
    "Bidirectional": recurrent.bidirectional,
    "TimeDistributed": recurrent.time_distributed,
    # merging
    "Subtract": merging.subtract,
    **dict.fromkeys(("Add", "Multiply", "Average", "Maximum", "Minimum"), merging.merge),
    "Concatenate": merging.concatenate,
    "Dot": merging.dot,
    # reshaping
    **dict.fromkeys(("Cropping1D", "Cropping3D"), reshaping.cropping),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding3D"), reshaping.zero_padding),
    **dict.fromkeys(("UpSampling1D", "UpSampling3D"), reshaping.up_sampling),
    "UpSampling2D": reshaping.up_sampling2d,
    "Flatten": reshaping.flatten,
    "Reshape": reshaping.reshape,
    # preprocessing
    "Normalization": preprocessing.normalization,
    "CategoryEncoding": preprocessing.category_encoding,
    "Pipeline": preprocessing.pipeline,
    "Resizing": images.resizing,
    "CenterCrop": images.center_crop,
    "RandomCrop": images.random_crop,
    # layers of keras.applications
    "LayerScale": applications.layer_scale,
    "CustomScaleLayer": applications.custom_scale,
}
"""Class of a Keras layer → its rewrite."""

CALL_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "ReversibleEmbedding": ("reverse",),
    **dict.fromkeys(("RNN", "Bidirectional"), ("initial_state",)),
    # Keras records it in every call of an image layer, and ignores it at inference
    **dict.fromkeys(("Pipeline", "Resizing", "CenterCrop", "RandomCrop"), ("training",)),
}
"""Class → call arguments, besides the inputs, that its rewrite reads.

Calls with other arguments are not rewritten.
"""


def check_mask(ctx: RewriteContext) -> None:
    """Refuse a Reshape or Permute that changes nothing, if its input has a mask.

    Keras may return the input itself, whose mask then survives.
    """
    if ctx.spec.class_name not in ("Reshape", "Permute") or not ctx.masked:
        return
    in_order = ctx.spec.class_name == "Reshape" or list(ctx.layer.dims) == sorted(ctx.layer.dims)
    if in_order and ctx.layer.infer(ctx.shape) == ctx.shape:
        raise Refusal("", BY_BACKEND)


GENERAL: tuple[Rewrite, ...] = (check_mask, activations.activation_apart)
"""Rewrites of any layer, tried if its own returns None."""

RESPELLINGS: Mapping[str, Respelling] = {
    **dict.fromkeys(recurrent.GATES, recurrent.hard_gates),
    "RNN": recurrent.of_one_cell,
}
"""Class of a Keras layer, called or inside a wrapper → its respelling."""


def operation(ctx: RewriteContext) -> KerasTensor | tuple[KerasTensor, ...] | None:
    """Rewrite a function as layers."""
    # most models do not need this module, which imports the operations of the IR
    from kerasport.targets.tfjs.layers.rewrites import operations  # noqa: PLC0415

    return operations.operation(ctx)


def rewriter_of(dialect: Dialect) -> Rewriter:
    """A rewriter for one model of this dialect."""
    return Rewriter(
        rewrites=REWRITES,
        operations=(operation,),
        general=GENERAL,
        call_arguments=CALL_ARGUMENTS,
        respellings=RESPELLINGS,
        masks=Masks(dialect),
    )


def with_rewrites(model: KerasModel, rewriter: Rewriter) -> KerasModel:
    """Apply rewrites to a model and to the models inside."""
    return rebuild(model, rewriter.step, layer=rewriter.layer)
