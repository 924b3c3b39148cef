"""Passes that prepare a layers-model: what holds after each, and the model as text between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops
from tests.cases.trial import quiet

from kerasport.frontends.keras.infer import input_shape
from kerasport.frontends.keras.masks import Masks
from kerasport.frontends.keras.model import KerasModel, LayerSpec
from kerasport.frontends.keras.precheck import models
from kerasport.frontends.keras.read import read
from kerasport.frontends.keras.show import show
from kerasport.targets.tfjs.layers.prepare import PREPARE, prepare
from kerasport.targets.tfjs.layers.prepare.distinct_tensors import calls_with_shared_states
from kerasport.targets.tfjs.layers.prepare.identity import is_left_out
from kerasport.targets.tfjs.layers.rewrites import rewriter_of, with_rewrites

# ---------------------------------------------------------------------------------------- models


def dense() -> keras.Model:
    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Dense(2, name="dense")(x))


def augmented() -> keras.Model:
    x = keras.Input((8, 8, 3))
    y = layers.SpatialDropout2D(0.5)(layers.RandomFlip()(x))
    return keras.Model(x, layers.Identity(name="kept")(layers.Conv2D(2, 3)(y)))


def in_each_step() -> keras.Model:
    x = keras.Input((4, 3))
    return keras.Model(x, layers.Dense(2)(layers.TimeDistributed(layers.Identity())(x)))


def masked_branch() -> keras.Model:
    words, numbers = keras.Input((5,)), keras.Input((5, 2))
    read_words = layers.LSTM(3)(layers.Embedding(7, 2, mask_zero=True)(words))
    read_numbers = layers.GRU(3, reset_after=False)(numbers)
    return keras.Model([words, numbers], layers.Add()([read_words, read_numbers]))


def masked_bidirectional() -> keras.Model:
    x, other = keras.Input((5, 2)), keras.Input((5, 2))
    first = layers.SimpleRNN(3)(layers.Masking()(x))
    second = layers.Bidirectional(layers.LSTM(3))(other)
    return keras.Model([x, other], [first, second])


def scalar_input() -> keras.Model:
    x = keras.Input(())
    return keras.Model(x, layers.Embedding(5, 2)(x))


def state_and_output() -> keras.Model:
    x = keras.Input((5, 2))
    y, h, c = layers.LSTM(3, return_state=True)(x)
    return keras.Model(x, layers.Concatenate()([y, h, c]))


def same_output_twice() -> keras.Model:
    x = keras.Input((3,))
    y = layers.Dense(2)(x)
    return keras.Model(x, [y, x, y])


def nested() -> keras.Model:
    inner = same_output_twice()
    x = keras.Input((3,))
    first, second, third = inner(layers.Dropout(0.5)(x))
    return keras.Model(
        x, [layers.Add()([first, first]), layers.Multiply()([second, second]), third]
    )


def functions() -> keras.Model:
    x = keras.Input((3,))
    return keras.Model(x, ops.relu(x * x - 1.0) + ops.transpose(ops.transpose(x)))


def new_activations() -> keras.Model:
    x = keras.Input((4, 3))
    y = layers.LSTM(3, recurrent_activation="hard_sigmoid", return_sequences=True)(x)
    return keras.Model(x, layers.TimeDistributed(layers.Dense(4, activation="glu"))(y))


def channels_first() -> keras.Model:
    x = keras.Input((3, 6, 6, 6))
    y = layers.Conv3D(2, 3, data_format="channels_first", groups=1)(x)
    return keras.Model(x, layers.GlobalAveragePooling3D(data_format="channels_first")(y))


def recorded_masks() -> keras.Model:
    x = keras.Input((5, 2))
    masked = layers.Masking()(x)
    return keras.Model(x, layers.LSTM(3)(masked, mask=ops.any(ops.not_equal(x, 0.0), axis=-1)))


MODELS: tuple[Callable[[], keras.Model], ...] = (
    dense, augmented, in_each_step, masked_branch, masked_bidirectional, scalar_input,
    state_and_output, same_output_twice, nested, functions, new_activations, channels_first,
    recorded_masks,
)  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each of MODELS, saved."""
    folder = tmp_path_factory.mktemp("models")
    paths = {build.__name__: folder / f"{build.__name__}.keras" for build in MODELS}
    with quiet():
        for build in MODELS:
            build().save(paths[build.__name__])
    return paths


# -------------------------------------------------------------------------------------- promises


def recorded(model: KerasModel) -> Iterator[Any]:
    for part in models(model):
        yield from (call for call in part.calls if "mask" in call.kwargs)


def identities(model: KerasModel) -> Iterator[Any]:
    for path, spec in model.walk():
        if isinstance(spec, LayerSpec) and is_left_out(spec):
            yield path


def unmasked_recurrent_layers(model: KerasModel) -> Iterator[Any]:
    masks = Masks(model.dialect)
    masks.trace(model)
    if not any(mask is not None for mask in masks.of.values()):
        return
    for call in model.calls:
        if call.target.class_name not in ("LSTM", "GRU", "SimpleRNN", "Bidirectional"):
            continue
        (x, *_), (mask, *_) = call.tensors(), masks.incoming(call)
        # the one that masks nothing does not count as a mask
        if mask is None and x.call.target.class_name != "Masking":
            yield call.target.name


def inputs_of_one_axis(model: KerasModel) -> Iterator[Any]:
    for tensor in model.input_tensors:
        assert isinstance(tensor.call.target, LayerSpec)
        if len(input_shape(tensor.call.target)) < 2:
            yield tensor


def repeated_outputs(model: KerasModel) -> Iterator[Any]:
    for part in models(model):
        tensors = (*part.output_tensors, *part.input_tensors)
        if len(set(tensors)) < len(tensors):
            yield part.name


def repeated_inputs(model: KerasModel) -> Iterator[Any]:
    for part in models(model):
        for call in part.calls:
            if len(set(call.tensors())) < len(call.tensors()):
                yield call.target.name


def rewritable(model: KerasModel) -> Iterator[Any]:
    again = with_rewrites(model, rewriter_of(model.dialect))
    before, after = ([spec.class_name for _, spec in each.walk()] for each in (model, again))
    if before != after:
        yield before, after


BROKEN: Mapping[str, Callable[[KerasModel], Iterator[Any]]] = {
    "drop recorded masks": recorded,
    "remove identities": identities,
    "isolate masks": unmasked_recurrent_layers,
    "make inputs feedable": inputs_of_one_axis,
    "separate states": calls_with_shared_states,
    "separate outputs": repeated_outputs,
    "separate inputs": repeated_inputs,
    "rewrite layers": rewritable,
}
"""Pass → the places where its promise does not hold."""


def snapshots(source: Path) -> list[KerasModel]:
    """The model before the first pass and after each."""
    with read(source) as model:
        after = [model]
        prepare(model, watch=lambda _, changed: after.append(changed))
    return after


def test_every_pass_states_what_holds_after_it() -> None:
    assert [step.name for step in PREPARE] == list(BROKEN)
    assert len({step.holds for step in PREPARE}) == len(PREPARE)


@pytest.mark.parametrize("name", [build.__name__ for build in MODELS])
@pytest.mark.every_row
def test_statements_of_passes_hold(name: str, sources: Mapping[str, Path]) -> None:
    for step, after in zip(PREPARE, snapshots(sources[name])[1:], strict=True):
        assert not list(BROKEN[step.name](after)), f"{step.name}: {step.holds}\n{show(after)}"


def test_statements_do_not_hold_without_the_pass(sources: Mapping[str, Path]) -> None:
    kept = set(BROKEN)
    for source in sources.values():
        for step, before in zip(PREPARE, snapshots(source), strict=False):
            if list(BROKEN[step.name](before)):
                kept.discard(step.name)
    assert not kept


def test_statements_about_tensors_hold_at_the_end(sources: Mapping[str, Path]) -> None:
    """Later passes do not break what TF.js requires of tensors."""
    lasting = ("drop recorded masks", "make inputs feedable", "separate states", "separate outputs")
    for name, source in sources.items():
        end = snapshots(source)[-1]
        for step in lasting:
            assert not list(BROKEN[step](end)), f"{name}: {step}\n{show(end)}"


# ------------------------------------------------------------------------------------------ text


def test_a_model_as_text(sources: Mapping[str, Path]) -> None:
    with read(sources["dense"]) as model:
        before, after = show(model), show(prepare(model).model)
    assert before.splitlines()[1:] == [
        "  %0 = InputLayer 'x'(batch_shape=[None, 3])",
        "  %1 = Dense 'dense'(%0, units=2)",
        "  return %1",
    ]
    assert after == before


def test_text_shows_nested_models_wrappers_and_several_outputs(
    sources: Mapping[str, Path],
) -> None:
    def text(name: str) -> str:
        with read(sources[name]) as model:
            return show(model)

    assert "%1.1" in text("state_and_output")
    assert "layer: Dense" in text("new_activations")
    assert "    Functional" in text("nested")
