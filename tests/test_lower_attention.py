"""The lowering of attention layers computes as Keras does."""

from __future__ import annotations

import itertools
import warnings
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from tests.cases.case import Case, one
from tests.cases.trial import Trial
from tests.lowered import agrees

from kerasport.errors import UnsupportedModel
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.read import read
from kerasport.ir.ops import Select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUERY, VALUE, OPEN = (5, 6), (7, 6), (None, 6)
KEYS_OF_TWO, GROUPED = (
    {"num_heads": 2, "key_dim": 3},
    {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
)


def three(
    make: Callable[[], Any], *shapes: tuple[int | None, ...], listed: bool = False, **call: Any
) -> keras.Model:
    """A layer on two or three inputs."""
    tensors = [layers.Input(shape) for shape in shapes]
    made = make()(tensors, **call) if listed else make()(*tensors, **call)
    return keras.Model(tensors, made)


def hidden(make: Callable[[], Any], *which: bool, listed: bool = False, **call: Any) -> keras.Model:
    """A layer on query, value and key, of which some are masked."""
    inputs = [layers.Input(QUERY if at == 0 else VALUE) for at in range(len(which))]
    tensors = [layers.Masking()(x) if mask else x for x, mask in zip(inputs, which, strict=True)]
    made = make()(tensors, **call) if listed else make()(*tensors, **call)
    outputs = list(made) if isinstance(made, tuple | list) else [made]
    # what reads the mask of the output
    return keras.Model(inputs, [*outputs, layers.LSTM(2)(outputs[0])])


# ------------------------------------------------------------------------- of one head, unprojected


SINGLE: dict[str, Callable[[], Any]] = {
    "dot": layers.Attention,
    "dot_scaled": lambda: layers.Attention(use_scale=True, dropout=0.2),
    "concat": lambda: layers.Attention(score_mode="concat"),
    "concat_scaled": lambda: layers.Attention(score_mode="concat", use_scale=True),
    "additive": layers.AdditiveAttention,
    "additive_unscaled": lambda: layers.AdditiveAttention(use_scale=False),
}


def single() -> Iterator[Case]:
    """Attention and AdditiveAttention."""
    for name, make in SINGLE.items():
        yield Case(f"{name}", partial(three, make, QUERY, VALUE, listed=True))
        yield Case(f"{name}_key", partial(three, make, QUERY, (7, 4), VALUE, listed=True))
        yield Case(
            f"{name}_open", partial(three, make, OPEN, OPEN, listed=True, use_causal_mask=True)
        )
        yield Case(
            f"{name}_scores",
            partial(three, make, QUERY, VALUE, listed=True, return_attention_scores=True),
        )
    for name in ("dot", "additive"):
        for which in itertools.product((False, True), repeat=2):
            for causal in (False, True):
                options = {
                    "listed": True,
                    "return_attention_scores": True,
                    "use_causal_mask": causal,
                }
                build = partial(hidden, SINGLE[name], *which, **options)
                yield Case(f"{name}_masked_{which}_{causal}", build)
    yield Case("dot_masked_key", partial(hidden, layers.Attention, False, False, True, listed=True))
    yield Case("dot_mask_given", mask_given)


def mask_given() -> keras.Model:
    """Masks of the call's own."""
    q, v = layers.Input(QUERY), layers.Input(VALUE)
    masks = [ops.greater(q[..., 0], 0), ops.greater(v[..., 0], 0)]
    outputs = [layers.Attention()([q, v], mask=mask) for mask in (masks, [None, masks[1]])]
    return keras.Model([q, v], outputs)


# ---------------------------------------------------------------------- of several heads, projected


def multi(**options: Any) -> Any:
    return layers.MultiHeadAttention(**{**KEYS_OF_TWO, **options})


def grouped(**options: Any) -> Any:
    return layers.GroupQueryAttention(**{**GROUPED, **options})


LAYERS: dict[str, Callable[..., Any]] = {"multi": multi, "grouped": grouped}


def several() -> Iterator[Case]:
    """Options that both have."""
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "no_bias": {"use_bias": False},
        "gate": {"use_gate": True},
        "gate_no_bias": {"use_gate": True, "use_bias": False},
        "dropout": {"dropout": 0.3},
        "window": {"sliding_window": 2},
    }
    for kind, make in LAYERS.items():
        for name, given in options.items():
            yield Case(f"{kind}_{name}", partial(three, partial(make, **given), QUERY, VALUE))
        yield Case(f"{kind}_key", partial(three, make, QUERY, VALUE, (7, 4)))
        for causal, window in ((False, None), (True, None), (True, 2)):
            windowed = partial(three, partial(make, sliding_window=window), use_causal_mask=causal)
            yield Case(f"{kind}_open_{causal}_{window}", partial(windowed, OPEN, OPEN))
            yield Case(f"{kind}_causal_{causal}_{window}", partial(windowed, VALUE, QUERY))
        for rate, causal in itertools.product((0.0, 0.3), (False, True)):
            for which in ((True, False), (False, True), (True, True, True)):
                build = partial(hidden, partial(make, dropout=rate), *which, use_causal_mask=causal)
                yield Case(f"{kind}_masked_{which}_{rate}_{causal}", build)
        scores = {"return_attention_scores": True, "use_causal_mask": True}
        yield Case(f"{kind}_scores_masked", partial(hidden, make, True, True, **scores))
        yield Case(f"{kind}_mask_given", partial(attention_masks, make))
        yield Case(f"{kind}_by_name", partial(by_name, make))
        yield Case(f"{kind}_on_itself", partial(on_itself, make))


def attention_masks(make: Callable[..., Any]) -> keras.Model:
    """Masks of each rank that the call may give."""
    q, v = layers.Input(QUERY), layers.Input(VALUE)
    whole = layers.Input((5, 7), dtype="bool")
    heads = layers.Input((make().get_config().get("num_heads", 4), 5, 7), dtype="bool")
    masked = layers.Masking()(v)
    outputs = [
        make()(q, v, attention_mask=whole),
        make()(q, v, attention_mask=heads),
        make()(q, v, attention_mask=heads, use_causal_mask=True),
        make(dropout=0.1)(q, masked, attention_mask=whole),
        make()(q, v, attention_mask=np.tril(np.ones((5, 7), bool))),
        make()(q, v, value_mask=ops.greater(v[..., 0], 0)),
        make()(q, masked, value_mask=ops.greater(v[..., 0], 0)),
        make()(q, v, v, key_mask=ops.greater(v[..., 1], 0)),
    ]
    return keras.Model([q, v, whole, heads], outputs)


def by_name(make: Callable[..., Any]) -> keras.Model:
    """All tensors by name, some masked."""
    q, v, k = layers.Input(QUERY), layers.Input(VALUE), layers.Input(VALUE)
    masked = layers.Masking()(v)
    return keras.Model(
        [q, v, k], [make()(value=masked, key=k, query=q), make()(q, key=masked, value=v)]
    )


def on_itself(make: Callable[..., Any]) -> keras.Model:
    """A block as of a transformer, on a masked series."""
    x = layers.Input((6,), dtype="int32")
    y = layers.Embedding(9, 6, mask_zero=True)(x)
    z = layers.LayerNormalization()(
        layers.Add()([y, make(dropout=0.1)(y, y, use_causal_mask=True)])
    )
    return keras.Model(
        x, [layers.LayerNormalization()(layers.Add()([z, layers.Dense(6)(z)])), layers.GRU(2)(z)]
    )


FILM = (3, 4, 6)


def multi_headed() -> Iterator[Case]:
    """What only MultiHeadAttention has."""
    for gate in (False, True):
        made = partial(multi, value_dim=4, dropout=0.1, use_gate=gate)
        yield Case(f"multi_value_dim_{gate}", partial(three, made, QUERY, VALUE))
    for shape in (4, (4,), (4, 3)):
        yield Case(
            f"multi_output_{shape}",
            partial(three, partial(multi, output_shape=shape), QUERY, VALUE),
        )
    yield Case(
        "multi_axis_named", partial(three, partial(multi, attention_axes=(1,)), QUERY, VALUE)
    )
    for axes in (None, 1, 2, (1, 2), (2, 1), (-2,)):
        for scores in (False, True):
            options = {"return_attention_scores": True} if scores else {}
            value = FILM if axes in (1, 2, (-2,)) else (2, 5, 6)
            build = partial(three, partial(multi, attention_axes=axes), FILM, value, **options)
            yield Case(f"multi_film_{axes}_{scores}", build)
    yield Case("multi_volume", partial(three, multi, (2, 3, 2, 4), (3, 2, 2, 4)))
    second = partial(multi, attention_axes=2)
    yield Case("multi_volume_axis", partial(three, second, (2, 3, 2, 4), (2, 3, 2, 4)))
    yield Case("multi_film_open", partial(three, second, (None, None, 6), (None, None, 6)))
    yield Case("multi_film_open_both", partial(three, multi, (None, None, 6), (None, None, 6)))
    for axes in (1, 2, (1, 2)):
        yield Case(f"multi_film_masked_{axes}", partial(film_masked, axes))
    yield Case(
        "multi_film_causal",
        partial(three, partial(multi, attention_axes=1), FILM, FILM, use_causal_mask=True),
    )
    yield Case("multi_takes_masks_off", takes_masks_off)
    yield Case("multi_takes_masks_off_inside", takes_masks_off_inside)
    yield Case("multi_takes_masks_off_beside", takes_masks_off_beside)
    yield Case("multi_shared", shared)
    yield one("multi_each_step", (2, 5, 6), lambda: layers.TimeDistributed(self_attention()))


def film_masked(axes: Any) -> keras.Model:
    """Masks over one axis and over two."""
    x = layers.Input(FILM)
    sizes = (3, 4) if axes == (1, 2) else (FILM[axes - 1],)
    mask = layers.Input((*sizes, *sizes), dtype="bool")
    layer = multi(attention_axes=axes)
    return keras.Model([x, mask], layer(x, x, attention_mask=mask))


def takes_masks_off() -> keras.Model:
    """Who sees a mask depends on who comes before."""
    x = layers.Input((6,), dtype="int32")
    y = layers.Dropout(0.1)(layers.Embedding(9, 6, mask_zero=True)(x))
    before = layers.Attention()([layers.Dense(6)(layers.Dense(6)(layers.Dense(6)(y))), y])
    a = multi()(y, y)
    later = layers.Attention()([a, y])
    return keras.Model(
        x, [layers.Add()([before, later]), multi()(a, y), layers.LSTM(2)(layers.Add()([y, a]))]
    )


def takes_masks_off_inside() -> keras.Model:
    """The same with the layer in a model inside."""
    x = layers.Input((6,), dtype="int32")
    y = layers.Embedding(9, 6, mask_zero=True)(x)
    inside = layers.Input((6, 6))
    block = keras.Model(inside, multi()(inside, inside))
    a = block(y)
    return keras.Model(x, [layers.Attention()([a, y]), layers.Attention()([y, a])])


def takes_masks_off_beside() -> keras.Model:
    """Several of one depth, of which only one sees the mask."""
    x = layers.Input((6,), dtype="int32")
    y = layers.Embedding(9, 6, mask_zero=True)(x)
    a, b, c, d = (multi()(y, y) for _ in range(4))
    joined = layers.Concatenate()(
        [layers.Dense(2)(d), layers.Dense(2)(c), layers.Attention()([y, y])]
    )
    return keras.Model(x, [a, layers.Dense(2)(joined), b])


def shared() -> keras.Model:
    """One layer twice."""
    q, v = layers.Input(QUERY), layers.Input(VALUE)
    layer = multi()
    return keras.Model([q, v], layers.Concatenate(axis=1)([layer(q, v), layer(v, q)]))


def self_attention() -> keras.Model:
    x = layers.Input((5, 6))
    return keras.Model(x, multi()(x, x))


CASES = (*single(), *several(), *multi_headed())


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_the_graph_computes_what_keras_computes(case: Case, tmp_path: Path) -> None:
    graph = agrees(case, tmp_path)
    assert all(node.rank <= 4 for node in graph.nodes() if isinstance(node, Select))


@pytest.mark.parametrize("name", ["gate", "no_bias", "plain"])
@pytest.mark.parametrize("kind", LAYERS)
def test_whole_model_hdf5_gives_each_projection_its_weights(
    kind: str, name: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "gate": {"use_gate": True},
        "no_bias": {"use_bias": False},
        "plain": {},
    }[name]
    trial = Trial(
        Case(name, partial(three, partial(LAYERS[kind], **options), QUERY, VALUE)), tmp_path
    )
    path = tmp_path / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial.model.save(path)
    with read(trial.path) as model, read(path) as legacy:
        for wanted, got in zip(
            lower(model).run(*trial.feeds[0]), lower(legacy).run(*trial.feeds[0]), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)


def test_a_mask_per_head_with_masked_inputs_is_refused(tmp_path: Path) -> None:
    def build() -> keras.Model:
        q, v, mask = (
            layers.Input((4, 6)),
            layers.Input((4, 6)),
            layers.Input((3, 4, 4), dtype="bool"),
        )
        # which Keras takes where there are as many samples as heads
        layer = layers.MultiHeadAttention(3, 2)
        return keras.Model([q, v, mask], layer(q, layers.Masking()(v), attention_mask=mask))

    trial = Trial(Case("refused", build), tmp_path)
    with read(trial.path) as model, pytest.raises(UnsupportedModel, match="along the wrong axes"):
        lower(model)
