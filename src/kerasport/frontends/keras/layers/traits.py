"""The properties of Keras layers besides their formulas: masks, integers, training.

Every layer class declares its `traits`. All tables of layer names are derived from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias


class MaskRule(Enum):
    """Which mask Keras puts on the output of a layer: its `compute_mask`.

    What depends on the release is in `Dialect`; `masks.output_mask` applies the rules.
    """

    STOPS = "the output has no mask"
    PASSES = "the mask of the first input"
    PER_STEP = "the mask of the first input, until a release of Keras stops it"
    RECURRENT = "the same, and only with return_sequences"
    MERGES = "the masks of all inputs, merged element by element"
    CONCATENATES = "the masks of all inputs, concatenated along the axis of the layer"
    INDICES = "a new mask of the indices that are not 0, with mask_zero"
    FEATURES = "a new mask of the time steps in which a feature differs from mask_value"
    BACKEND = "the mask of the input on some Keras backends only"


class MaskInput(Enum):
    """Which masks a layer is called with, and as which arguments its `lower` gets them."""

    NONE = "a call with a mask is not supported"
    UNREAD = "a call may give a mask, which Keras does not read at inference"
    FIRST = "`mask`: the mask of the only input"
    RECURRENT = "`mask`: as FIRST; the mask of an input with initial states depends on the dialect"
    ALL = "`masks`: the masks of all inputs"
    MERGED = "`masks`: as ALL, in dialects in which merge layers read masks"
    NAMED = "`query_mask` and so on: one mask per tensor argument"


class Narrow(Enum):
    """How the result for integers of fewer than 32 bits differs from that for int32."""

    EXACT = "the same numbers"
    JOINS = "the same numbers, but constants are cast to the type of the input"
    GROWS = "the same numbers only if the joint type of the operands has 32 bits"
    WRAPS = "numbers that wrap around"
    TRUNCATES = "fractions that are truncated to the type of the input"
    RESAMPLES = "the same numbers with nearest or bilinear interpolation, else clipped ones"
    ACTIVATION = "the same numbers, unless the activation computes in the type of the input"


Result: TypeAlias = Literal["input", "first", "joint", "float32", "indices", "activation"]
"""The element type of the output for integer inputs.

input: the one that the config declares. first, joint: that of the first input, or the promotion of
all inputs. indices: int64 with output_mode="int", else float32. activation: it depends on the
activation.
"""


@dataclass(frozen=True)
class IntegerRule:
    """How a layer handles integer inputs."""

    result: Result
    narrow: Narrow


INPUT = IntegerRule("input", Narrow.WRAPS)
KEEPS = IntegerRule("first", Narrow.EXACT)
JOINS = IntegerRule("joint", Narrow.JOINS)
GROWS = IntegerRule("joint", Narrow.GROWS)
WEIGHS = IntegerRule("float32", Narrow.EXACT)
"""Integers meet float32 weights or factors first."""
RESAMPLES = IntegerRule("first", Narrow.RESAMPLES)
TRUNCATES = IntegerRule("float32", Narrow.TRUNCATES)
TRUNCATES_AND_KEEPS = IntegerRule("first", Narrow.TRUNCATES)
ACTIVATES = IntegerRule("activation", Narrow.ACTIVATION)
INDEXES = IntegerRule("indices", Narrow.EXACT)
LOOKS_UP = IntegerRule("indices", Narrow.WRAPS)
WRAPS = IntegerRule("float32", Narrow.WRAPS)

COMPUTES = ""
"""`Traits.identity` of a layer that computes something at inference."""
NOISE = "drops or adds noise only during training"
AUGMENTS = "augments images only during training"

Workload: TypeAlias = Literal["dense", "convolutional", "recurrent"]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The traits of a layer class. The first three have no default, so that no layer lacks them."""

    mask: MaskRule
    integers: IntegerRule
    identity: str
    """Why the output equals the input at inference, after "it"; `COMPUTES` if it does not."""

    mask_input: MaskInput = MaskInput.NONE
    overruled_masks: tuple[str, ...] = ()
    """Mask arguments of a call that Keras replaces by the mask of the tensor."""
    removes_masks: bool = False
    """Whether a call removes the masks from its inputs, so that later calls do not find them."""
    same_object: bool = False
    """Whether Keras returns the tensor object that it is called on, with the mask on it."""

    kept: bool = False
    """Whether converters keep the layer although it is an identity, to train with it in TF.js."""
    acts_in_training: bool = False
    """Whether the layer computes something else during training."""
    images: bool = False
    """Whether it is an image layer. Keras 3 records training=True in all calls of them."""
    keeps_values: bool = False
    """Whether the output contains only values of the inputs, in any order."""
    per_step: bool = False
    """Whether each output time step depends on the same input time step only. See `pointwise`."""
    pointwise: bool = False
    """Whether it computes the same for a sequence as for each step; implies `per_step`."""
    mixes_samples: bool = False
    """Whether samples of a batch influence each other."""

    counts_booleans: bool = False
    """Whether Keras computes other results for bool inputs than for 0 and 1."""
    integer_dtype: bool = False
    """Whether the layer computes the same with an integer `dtype` option."""

    wraps: bool = False
    """Whether the layer applies the layer inside unchanged, so that it has its properties."""
    activation_object: bool = False
    """Whether a config may contain the layer as the activation of another layer."""
    dialect: bool = False
    """Whether `lower` takes the `Dialect` of the file as `dialect`."""
    declares_wrong_shape: bool = False
    """Whether Keras declares another output shape than it computes."""
    workload: Workload = "dense"
    """The kind of its run time, to predict which format is faster."""


UNKNOWN = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)
"""Traits of a layer that kerasport does not know."""
