"""Options of the TF.js targets."""

from __future__ import annotations

from dataclasses import dataclass

from kerasport.errors import OptionError
from kerasport.targets.target import Options

SHARD = 4 * 1024 * 1024  # bytes; browsers fetch shards in parallel and cache each by itself
SMALLEST_SHARD = 16 * 1024  # bytes; the request for a smaller one takes longer than its transfer
UNROLL_LIMIT = 64  # time steps; each adds dozens of nodes to a graph-model


@dataclass(frozen=True)
class TfjsOptions(Options):
    """Options of both TF.js targets.

    Attributes:
        shard_size: largest size of a weights file in bytes.

    Raises:
        OptionError: an option has an invalid value.
    """

    shard_size: int = SHARD

    def __post_init__(self) -> None:
        if self.shard_size < SMALLEST_SHARD:
            raise OptionError(
                f"a shard has at least {SMALLEST_SHARD:,} bytes, not {self.shard_size:,}",
                "shard_size",
            )


@dataclass(frozen=True)
class LayersOptions(TfjsOptions):
    """Options of a layers-model.

    Attributes:
        companion: whether the model may need the classes of `kerasport-layers.js`.
        optimizer: whether the state of the optimizer is written.
        trainable: whether layers that train differently from Keras are refused.
    """

    companion: bool = True
    optimizer: bool = False
    trainable: bool = False


@dataclass(frozen=True)
class GraphOptions(TfjsOptions):
    """Options of a graph-model.

    Attributes:
        unroll_limit: largest number of time steps for which a recurrent layer becomes a sequence of
            operations instead of a loop.
    """

    unroll_limit: int = UNROLL_LIMIT


GRAPH_DEFAULTS = GraphOptions()


LAYERS_DEFAULTS = LayersOptions()
