"""The rules that changed between releases of Keras and that a file does not state.

Spelling differences are resolved in `read`. What remains is here, in one place: how masks travel,
what `training` means, and how integers are rounded. Later stages ask a `Dialect`, never a release.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from kerasport.releases import ASSUMED, Release

Merging: TypeAlias = Literal["all", "any", ""]
"""Where the merged mask is true: where all, or any, masks are true. "" means no mask."""

CallMask: TypeAlias = Literal["always", "by name", "never"]


@dataclass(frozen=True)
class Dialect:
    """The rules of the Keras release that wrote a file."""

    merging: Merging
    """Masks of merged inputs: "all" in Keras 2, "any" since 3.4, and no mask between."""

    recurrent_masks_stop: bool
    """Since Keras 3.16 recurrent layers and their wrappers have `supports_masking = False`."""

    masks_on_tensors: bool
    """Keras 3 keeps a mask on the tensor object, so a call can change the mask for later calls."""

    call_mask_passes: CallMask
    """Whether the mask of the output depends on a mask argument (`previous_mask` in
    `Layer.__call__`): always in Keras 2, and since 3.11 if it is passed by name."""

    none_keeps_mask: bool
    """In Keras 3 a nested model that is called with the mask None uses the mask of its input."""

    initial_state_hides_mask: bool
    """In Keras 3 a recurrent layer with initial states does not get the mask of its input."""

    zeros_before_first_step: bool
    """In Keras 2 the output before the first unmasked step is zero, not the initial state."""

    inner_masks_leave: bool
    """In Keras 2 TimeDistributed passes on masks that the layer inside creates."""

    masked_softmax_is_uniform: bool
    """Before Keras 3.10 a fully masked row has equal weights. Since then they are 0."""

    image_training_counts: bool
    """Whether training=True in the call of an image layer counts at inference.

    Keras 3 records it in every call of such a layer. Before 3.16 the model overrules it.
    """

    integers_truncate_differently: bool
    """Keras 2 rounds fractions of integers differently from Keras 3 in some layers."""

    @staticmethod
    @cache
    def of(release: Release) -> Dialect:
        """The rules of one release of Keras."""
        keras2 = release < (3, 0)
        return Dialect(
            merging=_merging(release),
            recurrent_masks_stop=release >= (3, 16),
            masks_on_tensors=not keras2,
            call_mask_passes=_call_mask(release),
            none_keeps_mask=not keras2,
            initial_state_hides_mask=not keras2,
            zeros_before_first_step=keras2,
            inner_masks_leave=keras2,
            masked_softmax_is_uniform=release < (3, 10),
            image_training_counts=keras2 or release >= (3, 16),
            integers_truncate_differently=keras2,
        )


def _merging(release: Release) -> Merging:
    if release < (3, 0):
        return "all"
    return "any" if release >= (3, 4) else ""


def _call_mask(release: Release) -> CallMask:
    if release < (3, 0):
        return "always"
    return "by name" if release >= (3, 11) else "never"


ASSUMED_DIALECT = Dialect.of(ASSUMED)
"""The rules for a source that does not name a release."""
