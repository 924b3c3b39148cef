"""The access of wrappers to the layers inside them, during lowering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kerasport.frontends.keras.layers import traits_of
from kerasport.frontends.keras.layers.base import Child, Reported
from kerasport.frontends.keras.layers.recurrent import Cell
from kerasport.frontends.keras.lower.masks import reads_masks
from kerasport.frontends.keras.masks import makes_mask
from kerasport.frontends.keras.model import KerasModel, LayerSpec, Operation
from kerasport.ir.tensor import Tensor

if TYPE_CHECKING:
    from kerasport.frontends.keras.lower import Lowering


@dataclass(frozen=True)
class LoweredInside:
    """Implements `Inside` for the layers inside a wrapper."""

    parts: Mapping[str, Child]
    lowering: Lowering
    path: str

    def lower(
        self, child: Child, inputs: Sequence[Tensor], mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """See `Inside`."""
        return _known(self.lowering.child(child, inputs, self.path, mask))

    def call(
        self, child: LayerSpec, inputs: Sequence[Tensor], **arguments: Any
    ) -> tuple[Tensor, ...]:
        """See `Inside`."""
        return _known(self.lowering.layer(child, inputs, self.path, **arguments))

    def cells(self, *children: Child) -> tuple[Cell, ...]:
        """See `Inside`."""
        cells = [self.lowering.cells(child) for child in children]
        return tuple(cell for part in cells for cell in _known(part))

    def mixing_layer(self, child: Child) -> str | None:
        """See `Inside`."""
        return mixing_layer(child)

    def reads_mask(self, child: Child) -> bool:
        """See `Inside`."""
        return reads_masks(child)

    def makes_mask(self, child: Child) -> bool:
        """See `Inside`."""
        return makes_mask(child)


def _known(outputs: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if outputs is None:
        raise Reported
    return outputs


def mixing_layer(target: LayerSpec | KerasModel | Operation) -> str | None:
    """Name of a layer or operation in which samples of a batch influence each other, if any."""
    if isinstance(target, KerasModel):
        return _first_mixing(target.targets())
    if isinstance(target, LayerSpec) and target.children:
        return _first_mixing(target.children.values())
    axis = target.config.get("axis", -1)
    axes = axis if isinstance(axis, list | tuple) else (axis,)
    reduces_all = isinstance(target, Operation) and axis is None and "axis" in target.config
    mixes = 0 in axes or reduces_all or traits_of(target).mixes_samples
    return target.name if mixes else None


def _first_mixing(targets: Iterable[LayerSpec | KerasModel | Operation]) -> str | None:
    names = map(mixing_layer, targets)
    return next((name for name in names if name is not None), None)
