"""Convert stored arrays into the weights of Keras's layers: dequantize, merge, transpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from kerasport.errors import ReadError, quoted
from kerasport.frontends.keras.read.describe import Described
from kerasport.releases import major
from kerasport.weights import Array, ComputedWeight, Weight

FLOAT8 = 7  # least number of variables that Keras stores for a float8 layer, all of them float32
# dtypes of weights that occur only in quantized layers
QUANTIZED = frozenset(("int8", "uint8"))


@dataclass(frozen=True)
class Stored:
    """What the arrays of a layer provide.

    Attributes:
        weights: in Keras's order.
        note: for the user, what was changed.
        options: of the layer, which only its arrays or assets reveal, not its config.
    """

    weights: tuple[Weight, ...] = ()
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def weights_of(layer: Described, groups: Sequence[Sequence[Weight]], version: str) -> Stored:
    """Convert the arrays of a layer; `groups` has one item for each sublayer that was saved.

    Raises:
        ReadError: the arrays do not fit the layer.
    """
    refs = list(chain.from_iterable(groups))
    if layer.class_name == "SpectralNormalization":
        # it stores a copy of the wrapped kernel, and a vector that only training uses
        return Stored()
    if major(version) < 2:
        return Stored(_of_keras1(layer, refs), options=_options_of_keras1(layer, refs))
    if not groups:
        return Stored()
    if layer.class_name in CUDNN_GATES and _is_cudnn(refs):
        return Stored(_of_cudnn(layer, refs))
    if _has_lora_factors(layer, groups[0]):
        return Stored(_merged(layer, groups[0]), "LoRA is merged into the kernel.")
    weights: list[Weight] = []
    notes: dict[str, None] = {}
    for (class_name, config, built_for), group in zip(
        _sublayers(layer, len(groups)), groups, strict=True
    ):
        plain, note = _plain(class_name, config, built_for, group)
        weights += plain
        notes[note] = None
    return Stored(tuple(weights), " ".join(filter(None, notes)))


def _has_lora_factors(layer: Described, refs: Sequence[Weight]) -> bool:
    rank = layer.config.get("lora_rank")
    if not rank or len(refs) <= 2:
        return False
    return len(refs[-1].shape) == 2 and refs[-1].shape[0] == rank


def _plain(
    class_name: str, config: Mapping[str, Any], built_for: Any, refs: Sequence[Weight]
) -> tuple[Sequence[Weight], str]:
    policy = str(config.get("dtype", ""))
    has_integers = any(ref.dtype.name in QUANTIZED for ref in refs)
    if not (has_integers or "_from_" in policy or len(refs) >= FLOAT8):
        return refs, ""
    from kerasport.frontends.keras.read import dequantize  # noqa: PLC0415  (rarely needed)

    kernel = dequantize.kernel_shape_of(class_name, config, built_for) if built_for else None
    plan = dequantize.plan(
        class_name, config, [r.dtype for r in refs], [r.shape for r in refs], kernel
    )
    if plan is None:
        return refs, ""
    weights = []
    for weight in plan.weights:
        needs = [refs[i] for i in weight.needs]
        weights.append(computed(weight.shape, needs, weight.compute))
    return weights, plan.note


def computed(
    shape: tuple[int, ...], refs: Sequence[Weight], function: Callable[..., Array]
) -> ComputedWeight:
    """A float32 weight of the given shape, computed from stored arrays."""
    return ComputedWeight(
        np.dtype(np.float32), shape, lambda: function(*(ref.read() for ref in refs))
    )


def _merged(layer: Described, refs: Sequence[Weight]) -> tuple[Weight, ...]:
    """Compute kernel + alpha / rank · a @ b.

    `.keras` files contain the sum, whole-model HDF5 contains the factors.
    """
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


# ---------------------------------------------------------------------------------------- sublayers


def _sublayers(layer: Described, count: int) -> list[tuple[str, Mapping[str, Any], Any]]:
    """Class, config and input shape of each part whose weights are saved separately."""
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
    """The EinsumDense of a projection in an attention layer, whose weights may be quantized."""
    query = shapes.get("query_shape") or [None, None, None]
    batch = "abcdefgh"[: len(query) - 1]
    heads, size = _heads(part, config)
    if part == "output":
        equation = f"{batch}xy,xyz->{batch}z"
        output_shape = [*query[1:-1], _one(config.get("output_shape")) or query[-1]]
        input_shape: list[Any] = [
            *query[:-1],
            *_heads("value", {**config, "num_key_value_heads": heads}),
        ]
    else:
        equation = f"{batch}x,xyz->{batch}yz"
        input_shape = (
            shapes.get(f"{part}_shape")
            or shapes.get("value_shape" if part == "key" else "query_shape")
            or query
        )
        output_shape = [*input_shape[1:-1], heads, size]
    return (
        "EinsumDense",
        {"equation": equation, "output_shape": output_shape, "dtype": config.get("dtype")},
        input_shape,
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


# -------------------------------------------------------------------------------------------- cuDNN


CUDNN_GATES = {"LSTM": 4, "GRU": 3}


def _is_cudnn(refs: Sequence[Weight]) -> bool:
    """Whether the bias is one row with input and recurrent biases, as only cuDNN stores it."""
    return len(refs) == 3 and refs[2].shape == (2 * refs[1].shape[-1],)


def _of_cudnn(layer: Described, refs: Sequence[Weight]) -> tuple[Weight, ...]:
    """Weights of a `CuDNNLSTM` or `CuDNNGRU`, whose kernels are stored transposed, gate by gate.

    The input kernel was also reshaped, so its values are in column-major order (Keras 2.2,
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

    def biases(b: Array) -> Array:
        pair: Array = b.reshape(2, -1)
        return pair.sum(0) if sums else pair

    sums = layer.class_name == "LSTM"
    bias_shape = (recurrent.shape[1],) if sums else (2, recurrent.shape[1])
    return (
        computed(kernel.shape, [kernel], kernels),
        computed(recurrent.shape, [recurrent], recurrents),
        computed(bias_shape, [bias], biases),
    )


# ------------------------------------------------------------------------------------------ Keras 1


# Class, channels first → axes of the Keras 1 kernel in the order of Keras 2
KERAS1_KERNELS = {
    ("Conv2D", True): (2, 3, 1, 0),
    ("Conv2DTranspose", True): (2, 3, 0, 1),
    ("Conv2DTranspose", False): (0, 1, 3, 2),
    ("Conv3D", True): (2, 3, 4, 1, 0),
    ("SeparableConv2D", True): (2, 3, 1, 0),
}


# Class and number of arrays → the arrays of each weight, whose gates are joined. Keras 1 stored a
# kernel, a recurrent kernel and a bias per gate. The gates of an LSTM were input, cell, forget,
# output; Keras 2 joins them as input, forget, cell, output.
INPUT, CELL, FORGET, OUTPUT = 0, 3, 6, 9
LSTM_GATES = tuple((INPUT + part, FORGET + part, CELL + part, OUTPUT + part) for part in range(3))
KERAS1_GATES: Mapping[tuple[str, int], tuple[tuple[int, ...], ...]] = {
    ("LSTM", 12): LSTM_GATES,
    ("ConvLSTM2D", 12): LSTM_GATES,
    ("GRU", 9): tuple((part, 3 + part, 6 + part) for part in range(3)),
}


def _of_keras1(layer: Described, refs: Sequence[Weight]) -> tuple[Weight, ...]:
    """Join the gates of recurrent layers, and transpose kernels into the layout of Keras 2."""
    first = layer.config.get("data_format") == "channels_first"
    if layer.class_name == "ConvLSTM2D" and first:
        refs = [_transposed_if_rank(ref, (2, 3, 1, 0)) for ref in refs]
    gates = KERAS1_GATES.get((layer.class_name, len(refs)))
    if gates is not None:
        return tuple(_joined(list(map(refs.__getitem__, of_weight))) for of_weight in gates)
    if layer.class_name == "Conv1D" and refs and len(refs[0].shape) == 4:
        return (_kernel_of_keras1(layer, refs[0]), *refs[1:])
    order = KERAS1_KERNELS.get((layer.class_name, first))
    if order is None:
        return tuple(refs)
    return tuple(_transposed_if_rank(ref, order) for ref in refs)


def _options_of_keras1(layer: Described, refs: Sequence[Weight]) -> Mapping[str, Any]:
    """The shared axes of a PReLU, which Keras 1 records only in the shape of its weight."""
    if layer.class_name != "PReLU" or not refs:
        return {}
    return {"shared_axes": [axis for axis, n in enumerate(refs[0].shape, start=1) if n == 1]}


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


def _transposed_if_rank(ref: Weight, order: tuple[int, ...]) -> Weight:
    """The transposed weight if it has as many axes as the order, else the weight itself."""
    if len(ref.shape) != len(order):
        return ref
    shape = tuple(ref.shape[axis] for axis in order)
    return computed(shape, [ref], lambda kernel: kernel.transpose(order))
