"""Steps that add layers to a draft, in families: each calls a random layer on random tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from random_models.draft import VOCABULARY, Draft, Role, Unsuitable, all_known, known

Step = Callable[[Draft], object]

PLAIN = ("relu", "tanh", "sigmoid", "linear", "softmax", "elu", "softplus", "selu", "softsign")
ACTIVATIONS = (
    *PLAIN, "celu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "log_sigmoid", "log_softmax", "mish", "relu6", "silu", "soft_shrink", "sparse_plus",
    "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink", "threshold", "glu",
)  # fmt: skip


def activation(d: Draft) -> str | None:
    """The activation of a layer: mostly none or a plain one."""
    chosen: str | None = d.choice([None, None, *PLAIN[:4], d.choice(ACTIVATIONS[:-1])])
    return chosen


def sized(d: Draft, dims: int, low: int = 1, high: int = 3) -> int | tuple[int, ...]:
    """A number for all axes, or one for each."""
    return d.size(low, high) if d.chance(0.5) else tuple(d.size(low, high) for _ in range(dims))


# --------------------------------------------------------------------------------------------- core


def dense(d: Draft) -> object:
    x = d.take((2, 3, 4))
    return d.apply(
        d.layers.Dense(d.size(1, 6), activation=activation(d), use_bias=d.chance(0.8)), x
    )


def einsum_dense(d: Draft) -> object:
    x = d.take(3, test=all_known)
    _, a, b = x.shape
    equation, shape, bias = d.choice(
        [("abc,cd->abd", (a, 4), "d"), ("abc,cde->abde", (a, 3, 2), "de"), ("abc,bd->adc", (3, b), None),
         ("...c,cd->...d", (None, 3), "d"), ("abc,cd->abd", (a, 4), "bd"), ("abc,bcd->abd", (a, 4), "d")]
    )  # fmt: skip
    return d.apply(
        d.layers.EinsumDense(equation, shape, bias_axes=bias, activation=activation(d)), x
    )


def embedding(d: Draft) -> object:
    x = d.ids() if d.chance(0.7) else d.input(Role((), "int32", VOCABULARY))
    return d.apply(d.layers.Embedding(VOCABULARY, d.size(2, 5), mask_zero=d.chance(0.6)), x)


def reversible_embedding(d: Draft) -> object:
    options = d.options(tie_weights=[False], logit_soft_cap=[1.5], mask_zero=[True])
    layer = d.layers.ReversibleEmbedding(VOCABULARY, 4, **options)
    made = d.call(layer, d.ids())
    return d.call(layer, made, reverse=True) if d.chance(0.7) else made


def masking(d: Draft) -> object:
    return d.sequence()


def idle(d: Draft) -> object:
    """A layer that does nothing at inference."""
    x = d.take()
    layer = d.choice(
        [d.layers.Identity, lambda: d.layers.ActivityRegularization(0.1), lambda: d.layers.Dropout(0.5),
         lambda: d.layers.GaussianNoise(0.2), lambda: d.layers.GaussianDropout(0.2),
         lambda: d.layers.AlphaDropout(0.2), lambda: d.layers.Dropout(0.5, noise_shape=(None,) * len(x.shape))]
    )()  # fmt: skip
    return d.apply(layer, x, **d.training())


def spatial_dropout(d: Draft) -> object:
    x = d.take((3, 4, 5))
    return d.apply(getattr(d.layers, f"SpatialDropout{len(x.shape) - 2}D")(0.3), x, **d.training())


def spectral_normalization(d: Draft) -> object:
    x = d.take((2, 4))
    inner = d.layers.Dense(3) if len(x.shape) == 2 else d.layers.Conv2D(3, 2)
    return d.apply(
        d.layers.SpectralNormalization(inner, power_iterations=d.size(1, 2)), x, **d.training()
    )


# -------------------------------------------------------------------------------------- activations


def activate(d: Draft) -> object:
    x = d.take()
    return d.apply(d.layers.Activation(d.choice(ACTIVATIONS)), x)


def activation_layer(d: Draft) -> object:
    x = d.take()
    kind = d.choice(["ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"])
    if kind == "ReLU":
        options = d.options(max_value=[1.0, 6.0], negative_slope=[0.1, 0.3], threshold=[0.2, 0.5])
    elif kind == "LeakyReLU":
        options = d.options(negative_slope=[0.1, 0.0, 0.4])
    elif kind == "PReLU":
        shared = [axis for axis in range(1, len(x.shape)) if d.chance(0.4) or x.shape[axis] is None]
        options = {"shared_axes": shared} if shared else {}
    elif kind == "ELU":
        options = d.options(alpha=[0.3, 2.0])
    else:
        return softmax(d)
    return d.apply(getattr(d.layers, kind)(**options), x)


def softmax(d: Draft) -> object:
    x = d.take((2, 3, 4))
    axes = list(range(1, len(x.shape)))
    axis = d.choice([-1, d.choice(axes), d.some(axes), tuple(axes)])
    more = {}
    if d.chance(0.4) and all_known(x):
        sizes = known(x)
        more["mask"] = d.choice(
            [lambda: d.constant(1, *sizes, dtype="bool"), lambda: d.mask_input(*sizes)]
        )()
    return d.apply(d.layers.Softmax(axis), x, **more)


# -------------------------------------------------------------------------------------- convolution


def spatial(d: Draft, dims: int | None = None) -> tuple[Any, int]:
    """A tensor with spatial axes, and their number."""
    x = d.take((3, 4, 4, 4, 5) if dims is None else dims + 2)
    return x, len(x.shape) - 2


def windows(
    d: Draft, dims: int, x: Any, *, dilation: bool = True, causal: bool = False
) -> dict[str, Any]:
    """Options of a convolution."""
    options: dict[str, Any] = {
        "padding": d.choice(["valid", "same", "same", "causal"] if causal else ["valid", "same"])
    }
    if d.chance(0.35):
        options["strides"] = d.size(2, 3) if dims > 1 and d.chance(0.6) else sized(d, dims)
    elif dilation and d.chance(0.3):
        options["dilation_rate"] = sized(d, dims, 1, 2)
    if d.chance(0.15) and options["padding"] != "causal" and all_known(x):
        options["data_format"] = "channels_first"
    return options


def channels(x: Any, options: Mapping[str, Any]) -> int:
    made = x.shape[1 if options.get("data_format") == "channels_first" else -1]
    if made is None:
        raise Unsuitable
    return int(made)


def conv(d: Draft) -> object:
    x, dims = spatial(d)
    options = windows(d, dims, x, causal=dims == 1)
    groups = d.choice([n for n in (1, 1, 1, 2, 3) if channels(x, options) % n == 0])
    layer = getattr(d.layers, f"Conv{dims}D")(
        groups * d.size(1, 3),
        sized(d, dims),
        groups=groups,
        activation=activation(d),
        use_bias=d.chance(0.8),
        **options,
    )
    return d.apply(layer, x)


def conv_transpose(d: Draft) -> object:
    x, dims = spatial(d)
    options = windows(d, dims, x, dilation=d.chance(0.3))
    if d.chance(0.2) and "strides" in options:
        options["output_padding"] = d.size(0, 1)
    layer = getattr(d.layers, f"Conv{dims}DTranspose")
    return d.apply(layer(d.size(1, 4), sized(d, dims), activation=activation(d), **options), x)


def depthwise(d: Draft) -> object:
    x, dims = spatial(d, d.choice([1, 2, 2]))
    options = windows(d, dims, x, dilation=True) | d.options(depth_multiplier=[1, 2])
    if isinstance(options.get("strides"), tuple) and d.chance(0.8):
        options["strides"] = d.size(1, 2)
    layer = getattr(d.layers, f"DepthwiseConv{dims}D")
    return d.apply(
        layer(sized(d, dims), activation=activation(d), use_bias=d.chance(0.8), **options), x
    )


def separable(d: Draft) -> object:
    x, dims = spatial(d, d.choice([1, 2, 2]))
    options = windows(d, dims, x, causal=dims == 1) | d.options(depth_multiplier=[1, 2])
    if isinstance(options.get("strides"), tuple) and d.chance(0.8):
        options["strides"] = d.size(1, 2)
    layer = getattr(d.layers, f"SeparableConv{dims}D")
    return d.apply(layer(d.size(1, 4), sized(d, dims), activation=activation(d), **options), x)


# ------------------------------------------------------------------------------------------ pooling


def pooling(d: Draft) -> object:
    x, dims = spatial(d)
    options = d.options(strides=[1, 2, 3], padding=["same", "valid"])
    if d.chance(0.15) and all_known(x):
        options["data_format"] = "channels_first"
    layer = getattr(d.layers, f"{d.choice(['Max', 'Average'])}Pooling{dims}D")
    return d.apply(layer(sized(d, dims, 1, 3), **options), x)


def global_pooling(d: Draft) -> object:
    x, dims = spatial(d)
    kind = d.choice(["Max", "Average"])
    options = d.options(keepdims=[True, False], data_format=["channels_last", "channels_first"])
    more = mask_for(d, x) if dims == 1 and kind == "Average" and d.chance(0.5) else {}
    return d.apply(getattr(d.layers, f"Global{kind}Pooling{dims}D")(**options), x, **more)


def adaptive_pooling(d: Draft) -> object:
    x, dims = spatial(d)
    layer = getattr(d.layers, f"Adaptive{d.choice(['Max', 'Average'])}Pooling{dims}D")
    return d.apply(layer(sized(d, dims, 1, 4)), x)


def mask_for(d: Draft, x: Any) -> dict[str, Any]:
    """A mask of the time steps of a tensor, in one of the forms that Keras takes."""
    steps = x.shape[1]
    if steps is None:
        raise Unsuitable
    forms: list[Callable[[], Any]] = [
        lambda: d.mask_input(steps),
        lambda: d.mask_input(steps),
        lambda: d.constant(d.batch or 1, steps, dtype="bool"),
        lambda: d.ops.not_equal(d.ids(steps), 0),
        lambda: d.layers.Embedding(VOCABULARY, 2, mask_zero=True).compute_mask(d.ids(steps)),
        lambda: None,
    ]
    return {"mask": d.choice(forms)()}


# ------------------------------------------------------------------------------------ normalization


def batch_normalization(d: Draft) -> object:
    x = d.take()
    axis = d.choice([-1, -1, -1, d.choice(range(1, len(x.shape)))])
    options = d.options(center=[False], scale=[False], epsilon=[1e-2, 1e-5], momentum=[0.9])
    more = d.training()
    if len(x.shape) == 3 and d.chance(0.1):
        more |= mask_for(d, x)
    return d.apply(d.layers.BatchNormalization(axis=axis, **options), x, **more)


def layer_normalization(d: Draft) -> object:
    x = d.take(test=all_known)
    axes = list(range(1, len(x.shape)))
    axis = d.choice([-1, -1, d.choice(axes), d.some(axes)])
    if np.prod([x.shape[each] for each in np.atleast_1d(axis)]) == 1:
        raise Unsuitable  # of one number, Keras's result is nothing but rounding
    options = d.options(center=[False], scale=[False], epsilon=[1e-2, 1e-5])
    return d.apply(d.layers.LayerNormalization(axis=axis, **options), x)


def group_normalization(d: Draft) -> object:
    x = d.take((2, 3, 4, 5), test=all_known)
    axis = d.choice([-1, -1, d.choice(range(1, len(x.shape)))])
    size = x.shape[axis]
    groups = d.choice([n for n in (1, 2, 3, -1, size) if n == -1 or size % n == 0])
    options = d.options(center=[False], scale=[False], epsilon=[1e-2])
    return d.apply(d.layers.GroupNormalization(groups, axis=axis, **options), x)


def other_normalization(d: Draft) -> object:
    x = d.take(test=all_known)
    axes = list(range(1, len(x.shape)))
    kind = d.choice(["RMSNormalization", "UnitNormalization"])
    axis = d.choice([-1, d.choice(axes), d.some(axes) if kind == "UnitNormalization" else -1])
    return d.apply(getattr(d.layers, kind)(axis=axis), x)


# ---------------------------------------------------------------------------------------- recurrent


def recurrent_options(d: Draft, kind: str) -> dict[str, Any]:
    options = d.options(use_bias=[False, True, True])
    if d.chance(0.25):
        options["activation"] = activation(d)
    if kind != "SimpleRNN" and d.chance(0.25):
        options["recurrent_activation"] = d.choice(["hard_sigmoid", "sigmoid", "tanh"])
    if kind == "GRU" and d.chance(0.6):
        options["reset_after"] = d.chance(0.3)
    return options


def shape_options(d: Draft) -> dict[str, Any]:
    """What a recurrent layer returns, and which way it runs."""
    return d.options(
        return_sequences=[True, True, False],
        return_state=[True, False, False],
        go_backwards=[True, False, False],
    )


def cell(d: Draft) -> Any:
    kind = d.choice(["LSTM", "GRU", "SimpleRNN"])
    return getattr(d.layers, f"{kind}Cell")(d.size(2, 4), **recurrent_options(d, kind))


def recurrent_layer(d: Draft, *, bidirectional: bool = False) -> Any:
    shape = shape_options(d)
    if bidirectional:
        shape.pop("go_backwards", None)
    if d.chance(0.3):
        cells = cell(d) if d.chance(0.5) else [cell(d) for _ in range(d.size(1, 3))]
        return d.layers.RNN(
            cells, **shape, **d.options(zero_output_for_mask=[True], unroll=[True, False])
        )
    kind = d.choice(["LSTM", "GRU", "SimpleRNN"])
    options = shape | recurrent_options(d, kind) | d.options(unroll=[True, False, False])
    if d.chance(0.1):
        options["zero_output_for_mask"] = True
    return getattr(d.layers, kind)(d.size(2, 4), **options)


def states_of(d: Draft, layer: Any) -> list[Any]:
    """Initial states for a recurrent layer: tensors or constants."""
    cells = getattr(layer, "cell", layer)
    sizes = cells.state_size
    sizes = [sizes] if isinstance(sizes, int) else flat_sizes(sizes)
    made: list[Any] = []
    constant = d.chance(0.25)
    for size in sizes:
        if constant:
            made.append(
                d.constant(d.batch or 1, size)
                if d.chance(0.7)
                else np.zeros((d.batch or 1, size), "float32")
            )
        else:
            made.append(d.take(2, last=size, fresh=0.4))
    return made


def flat_sizes(sizes: Any) -> list[int]:
    return [
        size
        for each in sizes
        for size in (flat_sizes(each) if isinstance(each, list | tuple) else [each])
    ]


def recurrent(d: Draft) -> object:
    x, layer = d.sequence(), recurrent_layer(d)
    more = d.training()
    if d.chance(0.25):
        more["initial_state"] = states_of(d, layer)
        if len(more["initial_state"]) == 1 and d.chance(0.3):
            (more["initial_state"],) = more["initial_state"]
    if d.chance(0.25):
        more |= mask_for(d, x)
    return d.apply(layer, x, **more)


def bidirectional(d: Draft) -> object:
    x, layer = d.sequence(), recurrent_layer(d, bidirectional=True)
    options: dict[str, Any] = d.options(merge_mode=["concat", "sum", "mul", "ave", None])
    if d.chance(0.15):
        config = layer.get_config() | {"go_backwards": True, "name": None}
        config.pop("name")
        options["backward_layer"] = type(layer).from_config(config)
    more = d.training()
    if d.chance(0.2):
        more["initial_state"] = [*states_of(d, layer), *states_of(d, layer)]
    if d.chance(0.25):
        more |= mask_for(d, x)
    return d.apply(d.layers.Bidirectional(layer, **options), x, **more)


def conv_lstm(d: Draft) -> object:
    dims = d.choice([1, 1, 2])
    x = d.take(dims + 3)
    options = shape_options(d) | d.options(
        padding=["same"], recurrent_activation=["hard_sigmoid", "sigmoid"]
    )
    options |= d.choice(
        [{}, {"strides": 2}, {"dilation_rate": 2}, {"data_format": "channels_first"}]
    )
    layer = getattr(d.layers, f"ConvLSTM{dims}D")(d.size(1, 3), d.size(1, 2), **options)
    more = d.training()
    if d.chance(0.2):
        more |= mask_for(d, x)
    if d.chance(0.1):
        layer = d.layers.Bidirectional(layer)
    return d.apply(layer, x, **more)


def time_distributed(d: Draft) -> object:
    rank = d.choice([3, 3, 4, 4, 5])
    x = d.sequence() if rank == 3 and d.chance(0.6) else d.take(rank)
    inner: Callable[[], Any] = d.choice(
        {
            3: [lambda: d.layers.Dense(3, activation=activation(d)), lambda: d.layers.BatchNormalization(),
                lambda: d.layers.Activation(d.choice(ACTIVATIONS)), lambda: d.layers.LayerNormalization(),
                lambda: d.layers.Dropout(0.5), lambda: d.layers.RepeatVector(2), lambda: small_model(d, x.shape[2:])],
            4: [lambda: d.layers.LSTM(3), lambda: d.layers.Conv1D(3, 2), lambda: d.layers.GlobalAveragePooling1D(),
                lambda: d.layers.Flatten(), lambda: d.layers.Bidirectional(d.layers.GRU(2)),
                lambda: d.layers.MaxPooling1D(2), lambda: d.layers.Permute((2, 1)), lambda: d.layers.Dense(3),
                lambda: d.layers.TimeDistributed(d.layers.Dense(2))],
            5: [lambda: d.layers.Conv2D(2, 2, padding="same"), lambda: d.layers.GlobalMaxPooling2D(),
                lambda: d.layers.Flatten(), lambda: d.layers.DepthwiseConv2D(2), lambda: d.layers.UpSampling2D(2)],
        }[rank]
    )  # fmt: skip
    more = d.training()
    if d.chance(0.15):
        more |= mask_for(d, x)
    return d.apply(d.layers.TimeDistributed(inner()), x, **more)


def small_model(d: Draft, shape: Sequence[int | None]) -> Any:
    """A Sequential of two layers."""
    kinds = [
        lambda: d.layers.Dense(3),
        lambda: d.layers.Activation(activation(d)),
        lambda: d.layers.Dropout(0.1),
    ]
    return d.keras.Sequential([d.layers.Input(tuple(shape)), d.layers.Dense(4), d.choice(kinds)()])


# ---------------------------------------------------------------------------------------- attention


def dot_attention(d: Draft) -> object:
    q = d.sequence()
    size = q.shape[-1]
    if size is None:
        raise Unsuitable
    v = q if d.chance(0.3) else d.sequence(size)
    inputs = [q, v] + ([d.like(v)] if d.chance(0.3) else [])
    if d.chance(0.3):
        layer = d.layers.AdditiveAttention(**d.options(use_scale=[False], dropout=[0.2]))
    else:
        layer = d.layers.Attention(
            **d.options(use_scale=[True], score_mode=["dot", "concat"], dropout=[0.2])
        )
    more: dict[str, Any] = d.training()
    if d.chance(0.3):
        first = mask_for(d, q)["mask"]
        second = mask_for(d, v)["mask"]
        more["mask"] = d.choice([[first, second], [None, second], [first, None]])
    if d.chance(0.3):
        more["use_causal_mask"] = True
    if d.chance(0.2):
        more["return_attention_scores"] = True
    return d.call(layer, inputs, **more)


def multi_head(d: Draft) -> object:
    q = d.sequence()
    v = q if d.chance(0.4) else d.sequence()
    k = d.choice([None, None, v])
    if d.chance(0.3):
        heads = d.choice([(2, 1), (2, 2), (4, 2)])
        layer = d.layers.GroupQueryAttention(
            d.size(1, 3), *heads, **d.options(use_bias=[False], dropout=[0.2])
        )
    else:
        options = d.options(value_dim=[1, 3], use_bias=[False], output_shape=[3, 5], dropout=[0.2])
        layer = d.layers.MultiHeadAttention(d.size(1, 3), d.size(1, 3), **options)
    more: dict[str, Any] = {"value": v, **({"key": k} if k is not None else {})}
    for name, x in (("query_mask", q), ("value_mask", v), ("key_mask", v)):
        if d.chance(0.12):
            more[name] = mask_for(d, x)["mask"]
    if d.chance(0.25):
        steps = (q.shape[1], v.shape[1])
        if None in steps:
            raise Unsuitable
        forms = [lambda: d.constant(1, *steps, dtype="bool"), lambda: d.mask_input(*steps)]
        more["attention_mask"] = d.choice(forms)()
    if d.chance(0.25):
        more["use_causal_mask"] = True
    if d.chance(0.2):
        more["return_attention_scores"] = True
    return d.call(layer, q, **more, **d.training())


# ------------------------------------------------------------------------------------------ merging


def merge(d: Draft) -> object:
    kind = d.choice(["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
    x = d.sequence() if d.chance(0.3) else d.take()
    count = 2 if kind == "Subtract" else d.choice([2, 2, 3, 1 if d.chance(0.2) else 2])
    options: dict[str, Any] = {}
    if kind == "Concatenate":
        axis = d.choice([-1, -1, d.choice(range(1, len(x.shape)))])
        options = {"axis": axis} if d.chance(0.8) else {}
    inputs = [x]
    for _ in range(count - 1):
        if d.chance(0.08) and all_known(x):
            inputs.append(d.constant(d.batch or 1, *known(x)))
        elif kind != "Concatenate" and d.chance(0.12) and all_known(x):
            inputs.append(d.input(Role(tuple(size if d.chance(0.5) else 1 for size in known(x)))))
        else:
            inputs.append(d.like(x))
    given = inputs if d.chance(0.9) else tuple(inputs)
    return d.call(getattr(d.layers, kind)(**options), given)


def dot(d: Draft) -> object:
    x = d.take((2, 3), test=all_known)
    y = d.like(x)
    axis = d.choice([-1, 1, len(x.shape) - 1])
    return d.call(d.layers.Dot(d.choice([axis, (axis, axis)]), normalize=d.chance(0.3)), [x, y])


# ---------------------------------------------------------------------------------------- reshaping


def reshape(d: Draft) -> object:
    x = d.take(test=all_known)
    count = int(np.prod(known(x)))
    factor = d.choice([n for n in (1, 2, 3, 4, 5, 6) if count % n == 0])
    target = d.choice(
        [
            (factor, count // factor),
            (-1,),
            (count,),
            (factor, -1),
            (-1, factor),
            (count // factor, 1, factor),
        ]
    )
    return d.apply(d.layers.Reshape(target), x)


def permute(d: Draft) -> object:
    x = d.take((2, 3, 4, 5))
    axes = [int(axis) + 1 for axis in d.rng.permutation(len(x.shape) - 1)]
    return d.apply(d.layers.Permute(tuple(axes)), x)


def flatten(d: Draft) -> object:
    return d.apply(
        d.layers.Flatten(**d.options(data_format=["channels_first", "channels_last"])), d.take()
    )


def repeat_vector(d: Draft) -> object:
    return d.apply(d.layers.RepeatVector(d.size(1, 4)), d.take(2))


def crop_or_pad(d: Draft) -> object:
    x, dims = spatial(d)
    kind = d.choice(["Cropping", "ZeroPadding"])
    pairs = tuple((d.size(0, 2), d.size(0, 2)) for _ in range(dims))
    given = d.choice(
        [1, pairs if dims > 1 else pairs[0], d.size(0, 2), tuple(d.size(0, 1) for _ in range(dims))]
    )
    if dims == 1 and isinstance(given, tuple) and len(given) == 1:
        given = (1, 1)
    options = {"data_format": "channels_first"} if dims > 1 and d.chance(0.15) else {}
    return d.apply(getattr(d.layers, f"{kind}{dims}D")(given, **options), x)


def up_sampling(d: Draft) -> object:
    x, dims = spatial(d)
    options: dict[str, Any] = {}
    if dims == 2:
        options = d.options(
            interpolation=["nearest", "bilinear", "bilinear", "bicubic", "lanczos3"],
            data_format=["channels_first"],
        )
    size = d.size(1, 3) if dims == 1 else sized(d, dims, 1, 3)
    return d.apply(getattr(d.layers, f"UpSampling{dims}D")(size, **options), x)


# ------------------------------------------------------------------------------------ preprocessing


def rescaling(d: Draft) -> object:
    x = d.take(kinds="fiu")
    last = x.shape[-1]
    scale = d.choice([0.5, 1 / 127.5, [d.size(1, 3) / 2 for _ in range(last)] if last else 2.0])
    return d.apply(d.layers.Rescaling(scale, **d.options(offset=[-1.0, 0.25])), x)


def normalization(d: Draft) -> object:
    x = d.take((2, 3), test=all_known)
    size = x.shape[-1]
    options: dict[str, Any] = {
        "mean": d.constant(size).tolist(),
        "variance": (0.2 + d.rng.random(size)).tolist(),
    }
    if d.chance(0.3):
        options = {"axis": None, "mean": 0.3, "variance": 2.0}
    return d.apply(d.layers.Normalization(**options, **d.options(invert=[True])), x)


def category_encoding(d: Draft) -> object:
    mode = d.choice(["one_hot", "multi_hot", "count"])
    x = d.input(Role((1,) if mode == "one_hot" else (d.size(1, 5),), "int32", 6))
    more = {}
    if mode == "count" and d.chance(0.3):
        more["count_weights"] = d.input(Role(known(x)))
    return d.call(d.layers.CategoryEncoding(d.choice([6, 8]), mode), x, **more)


def discretization(d: Draft) -> object:
    x = d.take((2, 3))
    bounds = sorted(float(round(bound, 2)) for bound in d.rng.normal(0, 1, d.size(1, 4)))
    options = d.options(output_mode=["int", "one_hot", "multi_hot", "count"])
    return d.apply(d.layers.Discretization(bounds, **options), x)


def lookup(d: Draft) -> object:
    x = d.input(Role((d.size(1, 4),), d.choice(["int32", "int64"]), 12))
    words = [int(word) for word in d.rng.permutation(12)[: d.size(2, 6)]]
    options: dict[str, Any] = d.options(
        num_oov_indices=[1, 2], output_mode=["int", "multi_hot", "count", "one_hot"]
    )
    return d.apply(d.layers.IntegerLookup(vocabulary=words, **options), x)


def hashing(d: Draft) -> object:
    x = d.input(Role((d.size(1, 4),), "int32", 12))
    return d.apply(d.layers.Hashing(d.size(2, 8), **d.options(output_mode=["int", "one_hot"])), x)


AUGMENTATIONS: Sequence[Callable[[Any], Any]] = (
    lambda layers: layers.RandomFlip(),
    lambda layers: layers.RandomRotation(0.2),
    lambda layers: layers.RandomZoom(0.2),
    lambda layers: layers.RandomTranslation(0.1, 0.1),
    lambda layers: layers.RandomContrast(0.3),
    lambda layers: layers.RandomBrightness(0.3, value_range=(0, 1)),
    lambda layers: layers.RandomErasing(),
    lambda layers: layers.RandomShear(0.2, 0.2),
    lambda layers: layers.RandomGrayscale(),
    lambda layers: layers.RandomInvert(value_range=(0, 1)),
    lambda layers: layers.RandomGaussianBlur(),
    lambda layers: layers.RandomHue(0.3, value_range=(0, 1)),
    lambda layers: layers.MixUp(),
    lambda layers: layers.CutMix(),
    lambda layers: layers.Solarization(value_range=(0, 1)),
    lambda layers: layers.AugMix(value_range=(0, 1)),
    lambda layers: layers.RandomCrop(4, 5),
)


def augmentation(d: Draft) -> object:
    x = d.take(4, last=3)
    return d.call(d.choice(AUGMENTATIONS)(d.layers), x, **d.training())


def augmentation_of_a_dict(d: Draft) -> object:
    """An augmentation layer that is given an image and its label."""
    given = {"images": d.take(4, last=3), "labels": d.take(2)}
    return d.call(d.choice(AUGMENTATIONS)(d.layers), given, training=False)


def image_layer(d: Draft) -> object:
    x = d.take(4, last=3, kinds="fiu" if d.chance(0.2) else "f")
    kind = d.choice(["CenterCrop", "Resizing", "Resizing", "AutoContrast", "Pipeline"])
    if kind == "CenterCrop":
        layer = d.layers.CenterCrop(d.size(2, 7), d.size(2, 7))
    elif kind == "Resizing":
        options = d.options(
            interpolation=["bilinear", "nearest", "bicubic", "lanczos3"],
            antialias=[True],
            crop_to_aspect_ratio=[True],
        )
        if d.chance(0.2) and "crop_to_aspect_ratio" not in options:
            options["pad_to_aspect_ratio"] = True
        layer = d.layers.Resizing(d.size(2, 9), d.size(2, 9), **options)
    elif kind == "AutoContrast":
        layer = d.layers.AutoContrast(value_range=(0, 1))
    else:
        layer = d.layers.Pipeline(
            [d.layers.Rescaling(0.5), d.layers.RandomFlip(), d.layers.CenterCrop(3, 3)]
        )
    return d.apply(layer, x)


def spectrogram(d: Draft) -> object:
    x = d.input(Role((d.size(30, 60),)))
    if d.chance(0.5):
        x = d.layers.Reshape((-1, 1))(x) if d.chance(0.5) else d.input(Role((d.size(30, 60), 2)))
        options = d.options(
            mode=["magnitude", "psd", "real", "imag", "stft"],
            padding=["same"],
            window=["hamming", None],
        )
        return d.call(
            d.layers.STFTSpectrogram(frame_length=16, frame_step=d.size(4, 9), **options), x
        )
    options = d.options(power_to_db=[False], mag_exp=[1.0])
    return d.call(
        d.layers.MelSpectrogram(
            fft_length=16,
            sequence_stride=8,
            sequence_length=16,
            num_mel_bins=5,
            sampling_rate=100,
            **options,
        ),
        x,
    )


# ------------------------------------------------------------------------------------------- models


def nested(d: Draft) -> object:
    """A model of a few steps, called once or twice."""
    inner = Draft(d.keras, d.rng, batch=d.batch, most_inputs=2, inside=True)
    if d.chance(0.2):
        x = inner.sequence() if d.chance(0.5) else inner.take()
        del x
    steps = [step for family in inner_families(d) for step in FAMILIES[family]]
    for _ in range(d.size(1, 3)):
        try:
            d.choice(steps)(inner)
        except Exception:  # noqa: BLE001  (the step does not fit)
            continue
    outputs = [x for x in inner.pool if all(x is not y for y in inner.inputs)][-2:]
    if not outputs or not inner.inputs:
        raise Unsuitable
    structure: Any = inner.inputs if len(inner.inputs) > 1 or d.chance(0.3) else inner.inputs[0]
    if len(inner.inputs) > 1 and d.chance(0.3):
        structure = {f"k{at}": x for at, x in enumerate(inner.inputs)}
    made: Any = (
        outputs[0] if len(outputs) == 1 else d.choice([outputs, {"p": outputs[0], "o": outputs[1]}])
    )
    model = d.keras.Model(structure, made)
    for _ in range(2 if d.chance(0.3) else 1):
        given = [matching(d, x, role) for x, role in zip(inner.inputs, inner.roles, strict=True)]
        call: Any = given if isinstance(structure, list) else given[0]
        if isinstance(structure, dict):
            call = {f"k{at}": x for at, x in enumerate(given)}
        if d.chance(0.05) and len(given) == 1 and len(given[0].shape) == 3:
            d.put(model(call, **mask_for(d, given[0])))
        else:
            d.put(model(call, **d.training()))
    return None


def inner_families(d: Draft) -> list[str]:
    names = [name for name in FAMILIES if name not in ("models", "functions")]
    return d.some(names)[:4]


def matching(d: Draft, x: Any, role: Role) -> Any:
    """A tensor that can be given to an input of a nested model."""
    plain = role.below is None and role.padding is None and not role.mask
    fits = [y for y in d.pool if tuple(y.shape) == tuple(x.shape) and y.dtype == x.dtype]
    return (
        d.choice(fits)
        if fits and (plain or (role.padding == 0 and role.below is None))
        else d.input(role)
    )


def sequential(d: Draft) -> object:
    x = d.take((2, 3), test=all_known)
    kinds: list[Callable[[], Any]] = [
        lambda: d.layers.Dense(3), lambda: d.layers.Activation(activation(d)), lambda: d.layers.BatchNormalization(),
        lambda: d.layers.Dropout(0.2), lambda: d.layers.LayerNormalization(),
    ]  # fmt: skip
    model = d.keras.Sequential(
        [d.layers.Input(tuple(x.shape[1:])), *(d.choice(kinds)() for _ in range(d.size(1, 3)))]
    )
    return d.apply(model, x, **d.training())


FAMILIES: dict[str, Sequence[Step]] = {
    "core": (dense, dense, einsum_dense, embedding, reversible_embedding, idle, spatial_dropout, spectral_normalization),
    "activations": (activate, activation_layer, softmax),
    "convolution": (conv, conv, conv_transpose, depthwise, separable),
    "pooling": (pooling, global_pooling, adaptive_pooling),
    "normalization": (batch_normalization, layer_normalization, group_normalization, other_normalization),
    "recurrent": (recurrent, recurrent, bidirectional, conv_lstm, time_distributed),
    "masks": (masking, recurrent, bidirectional, global_pooling, merge, time_distributed, softmax, multi_head, dense),
    "attention": (dot_attention, multi_head),
    "merging": (merge, merge, dot),
    "reshaping": (reshape, permute, flatten, repeat_vector, crop_or_pad, up_sampling),
    "preprocessing": (
        rescaling, normalization, category_encoding, discretization, lookup, hashing, augmentation,
        augmentation_of_a_dict, image_layer, spectrogram,
    ),
    "models": (nested, nested, sequential),
}  # fmt: skip
