"""From arrays as they are stored to weights as Keras's layers hold them: dequantised, merged, turned around."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.read.describe import Described
from kerasport.frontends.keras.read.dialects import major
from kerasport.weights import Array, ComputedWeight, Weight

FLOAT8 = (
    7  # variables at least that Keras stores of a layer quantised to float8, all of them float32
)
QUANTIZED = frozenset(
    ("int8", "uint8")
)  # dtypes in which Keras stores weights only when they are quantised


def weights_of(
    layer: Described, groups: Sequence[Sequence[Weight]], version: str
) -> tuple[tuple[Weight, ...], str]:
    """The weights of a layer in Keras's order, and a note on what was changed; `groups` as its sublayers were saved.

    Raises:
        ReadError: the arrays are not those of such a layer.
    """
    if layer.class_name == "SpectralNormalization":
        return (), ""  # a copy of the wrapped kernel, and a vector that only training uses
    if major(version) < 2:
        return _of_keras1(layer, [ref for group in groups for ref in group]), ""
    if not groups:
        return (), ""
    if layer.class_name in CUDNN_GATES and _is_cudnn(
        refs := [ref for group in groups for ref in group]
    ):
        return _of_cudnn(layer, refs), ""
    rank = layer.config.get("lora_rank")
    if (
        rank
        and len(groups[0]) > 2
        and len(groups[0][-1].shape) == 2
        and groups[0][-1].shape[0] == rank
    ):
        return _merged(layer, groups[0]), "LoRA is merged into the kernel."
    weights: list[Weight] = []
    notes: dict[str, None] = {}
    for (class_name, config, built_for), group in zip(
        _sublayers(layer, len(groups)), groups, strict=True
    ):
        plain, note = _plain(class_name, config, built_for, group)
        weights += plain
        notes[note] = None
    return tuple(weights), " ".join(filter(None, notes))


def _plain(
    class_name: str, config: Mapping[str, Any], built_for: Any, refs: Sequence[Weight]
) -> tuple[Sequence[Weight], str]:
    policy = str(config.get("dtype", ""))
    if not (
        any(ref.dtype.name in QUANTIZED for ref in refs)
        or "_from_" in policy
        or len(refs) >= FLOAT8
    ):
        return refs, ""
    # quantisation is rare, and what it imports is not needed otherwise
    from kerasport.frontends.keras.read import dequantize as quantization  # noqa: PLC0415

    kernel = quantization.kernel_shape_of(class_name, config, built_for) if built_for else None
    plan = quantization.plan(
        class_name, config, [r.dtype for r in refs], [r.shape for r in refs], kernel
    )
    if plan is None:
        return refs, ""
    made = [
        computed(weight.shape, [refs[i] for i in weight.needs], weight.compute)
        for weight in plan.weights
    ]
    return made, plan.note


def computed(
    shape: tuple[int, ...], refs: Sequence[Weight], function: Callable[..., Array]
) -> ComputedWeight:
    """A float32 weight made of stored arrays."""
    return ComputedWeight(
        np.dtype(np.float32), shape, lambda: function(*(ref.read() for ref in refs))
    )


def _merged(layer: Described, refs: Sequence[Weight]) -> tuple[Weight, ...]:
    """Kernel + alpha / rank · a @ b; `.keras` files hold that sum already, whole-model HDF5 holds the factors."""
    kernel, *rest, a, b = refs
    rank = float(layer.config["lora_rank"])
    scale = float(layer.config.get("lora_alpha") or rank) / rank
    if a.shape != (*kernel.shape[:-1], b.shape[0]) or b.shape[1] != kernel.shape[-1]:
        raise ReadError(
            f"layer {quoted(layer.name)}: the LoRA factors {a.shape} and {b.shape} do not match "
            f"the kernel {kernel.shape}"
        )
    merged = computed(kernel.shape, [kernel, a, b], lambda k, x, y: k + np.float32(scale) * (x @ y))
    return (merged, *rest)


# ------------------------------------------------------------------------------------------------ sublayers


def _sublayers(layer: Described, count: int) -> list[tuple[str, Mapping[str, Any], Any]]:
    """Class, config and input shape of each part whose weights were saved by themselves."""
    config, built = layer.config, layer.built_for if isinstance(layer.built_for, Mapping) else {}
    own = (layer.class_name, config, built.get("input_shape"))
    if layer.class_name not in ("MultiHeadAttention", "GroupQueryAttention"):
        return [own, *[(f"{layer.class_name}Cell", {}, None)] * (count - 1)]
    shapes = built.get("shapes_dict") or built
    return [
        own,
        *(
            _projection(part, config, shapes)
            for part in ("query", "key", "value", "gate", "output")
        ),
    ]


def _projection(
    part: str, config: Mapping[str, Any], shapes: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any], Any]:
    """The EinsumDense that an attention layer makes for itself, with which its weights may be quantised."""
    query = shapes.get("query_shape") or [None, None, None]
    batch = "abcdefgh"[: len(query) - 1]
    heads, size = _heads(part, config)
    if part == "output":
        equation = f"{batch}xy,xyz->{batch}z"
        made = [*query[1:-1], _one(config.get("output_shape")) or query[-1]]
        takes: list[Any] = [*query[:-1], *_heads("value", {**config, "num_key_value_heads": heads})]
    else:
        equation = f"{batch}x,xyz->{batch}yz"
        takes = (
            shapes.get(f"{part}_shape")
            or shapes.get("value_shape" if part == "key" else "query_shape")
            or query
        )
        made = [*takes[1:-1], heads, size]
    return (
        "EinsumDense",
        {"equation": equation, "output_shape": made, "dtype": config.get("dtype")},
        takes,
    )


def _heads(part: str, config: Mapping[str, Any]) -> tuple[Any, Any]:
    key = config.get("key_dim") or config.get("head_dim")
    size = (config.get("value_dim") or key) if part == "value" else key
    shared = part in ("key", "value") and "num_key_value_heads" in config
    return config.get("num_key_value_heads" if shared else _queries(config)), size


def _queries(config: Mapping[str, Any]) -> str:
    return "num_query_heads" if "num_query_heads" in config else "num_heads"


def _one(value: Any) -> Any:
    return value[-1] if isinstance(value, list | tuple) and value else value


# ---------------------------------------------------------------------------------------------------- cuDNN


CUDNN_GATES = {"LSTM": 4, "GRU": 3}


def _is_cudnn(refs: Sequence[Weight]) -> bool:
    """Whether the bias is the row of numbers, those of the input and those of the state, that only cuDNN has."""
    return len(refs) == 3 and refs[2].shape == (2 * refs[1].shape[-1],)


def _of_cudnn(layer: Described, refs: Sequence[Weight]) -> tuple[Weight, ...]:
    """The weights of a `CuDNNLSTM` or `CuDNNGRU`, whose kernels lie transposed, each gate by itself.

    The kernel of the input was reshaped after that, so its numbers are in the order of columns (Keras 2.2,
    `engine/saving.py`, `_convert_rnn_weights`).
    """
    kernel, recurrent, bias = refs
    gates = CUDNN_GATES[layer.class_name]

    def kernels(k: Array) -> Array:
        return np.concatenate(
            [part.T.reshape(part.shape, order="F") for part in np.split(k, gates, 1)], 1
        )

    def recurrents(k: Array) -> Array:
        return np.concatenate([part.T for part in np.split(k, gates, 1)], 1)

    sums = layer.class_name == "LSTM"
    made = (recurrent.shape[1],) if sums else (2, recurrent.shape[1])
    return (
        computed(kernel.shape, [kernel], kernels),
        computed(recurrent.shape, [recurrent], recurrents),
        computed(made, [bias], lambda b: b.reshape(2, -1).sum(0) if sums else b.reshape(2, -1)),
    )


# -------------------------------------------------------------------------------------------------- Keras 1


# Class, and whether channels come first → the axes of Keras 1's kernel in the order of Keras 2's
KERAS1_KERNELS = {
    ("Conv2D", True): (2, 3, 1, 0),
    ("Conv2DTranspose", True): (2, 3, 0, 1),
    ("Conv2DTranspose", False): (0, 1, 3, 2),
    ("Conv3D", True): (2, 3, 4, 1, 0),
    ("SeparableConv2D", True): (2, 3, 1, 0),
}


def _of_keras1(layer: Described, refs: Sequence[Weight]) -> tuple[Weight, ...]:
    """Keras 1 kept the gates of recurrent layers apart, and some kernels in other orders of axes.

    Gates of an LSTM stood as input, cell, forget, output; they are joined as input, forget, cell, output.
    """
    first = layer.config.get("data_format") == "channels_first"
    if layer.class_name == "ConvLSTM2D" and first:
        refs = [_transposed(ref, (2, 3, 1, 0)) if len(ref.shape) == 4 else ref for ref in refs]
    if layer.class_name in ("LSTM", "ConvLSTM2D") and len(refs) == 12:
        return tuple(
            _joined([refs[i] for i in gates])
            for gates in ((0, 6, 3, 9), (1, 7, 4, 10), (2, 8, 5, 11))
        )
    if layer.class_name == "GRU" and len(refs) == 9:
        return tuple(
            _joined([refs[i] for i in gates]) for gates in ((0, 3, 6), (1, 4, 7), (2, 5, 8))
        )
    if (
        layer.class_name == "PReLU" and refs
    ):  # which axes share a number is in the file by its shape alone
        layer.config = {
            **layer.config,
            "shared_axes": [at for at, n in enumerate(refs[0].shape, start=1) if n == 1],
        }
    if layer.class_name == "Conv1D" and refs and len(refs[0].shape) == 4:
        return (_kernel_of_keras1(layer, refs[0]), *refs[1:])
    order = KERAS1_KERNELS.get((layer.class_name, first))
    if order is None:
        return tuple(refs)
    return tuple(_transposed(ref, order) if len(ref.shape) == len(order) else ref for ref in refs)


def _joined(refs: Sequence[Weight]) -> ComputedWeight:
    *rest, last = refs[0].shape
    if any(ref.shape != refs[0].shape for ref in refs):
        raise ReadError(
            f"the gates of a recurrent layer have different shapes: {[ref.shape for ref in refs]}"
        )
    return computed((*rest, last * len(refs)), refs, lambda *gates: np.concatenate(gates, axis=-1))


def _kernel_of_keras1(layer: Described, ref: Weight) -> ComputedWeight:
    # (length, 1, input, filters), or in Theano's order (filters, input, length, 1)
    length, filters = _one(layer.config.get("kernel_size")), layer.config.get("filters")
    if ref.shape[:2] == (length, 1) and ref.shape[3] == filters:
        return computed((ref.shape[0], *ref.shape[2:]), [ref], lambda k: k[:, 0])
    out, depth, size, _ = ref.shape
    return computed((size, depth, out), [ref], lambda k: k.transpose(2, 3, 1, 0)[:, 0])


def _transposed(ref: Weight, order: tuple[int, ...]) -> ComputedWeight:
    return computed(
        tuple(ref.shape[axis] for axis in order), [ref], lambda kernel: kernel.transpose(order)
    )
