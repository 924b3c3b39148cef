"""Masks of long chains: their number of steps grows with the number of calls, and no faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from kerasport.frontends.keras.dialect import ASSUMED_DIALECT, Dialect
from kerasport.frontends.keras.mask_changes import MaskChanges
from kerasport.frontends.keras.masks import Masks
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec, Operation
from kerasport.releases import ASSUMED, Release

COUNT = 10_000
SECONDS = 10  # of the processor; it takes 0.1, and anything exponential or quadratic takes minutes


def called(class_name: str, *inputs: Any, mask: Any = None, **config: Any) -> KerasTensor:
    """The output of a new layer."""
    spec = LayerSpec(class_name.lower(), class_name, config)
    return KerasTensor(Call(spec, inputs, {} if mask is None else {"mask": mask}))


def computed(class_name: str, *operands: Any) -> KerasTensor:
    """The output of a new operation."""
    return KerasTensor(Call(Operation(class_name.lower(), class_name, {}), operands))


def masked(x: KerasTensor) -> KerasTensor:
    return called("Masking", x, mask_value=0.0)


def merged(class_name: str) -> Callable[[KerasTensor], list[KerasTensor]]:
    """A chain in which each layer merges the one before with a mask of its own."""

    def chain(x: KerasTensor) -> list[KerasTensor]:
        made = [masked(x)]
        for _ in range(COUNT // 2):
            made.append(masked(x))
            made.append(called(class_name, (made[-2], made[-1]), axis=1))
        return made

    return chain


def doubled(x: KerasTensor) -> list[KerasTensor]:
    """A chain in which each layer merges the one before with itself."""
    made = [masked(x)]
    for _ in range(COUNT):
        made.append(called("Concatenate", (made[-1], x, made[-1]), axis=1))
    return made


def recorded(*, twice: bool) -> Callable[[KerasTensor], list[KerasTensor]]:
    """A chain of computed masks, each from the previous one, of which a layer gets the last."""

    def chain(x: KerasTensor) -> list[KerasTensor]:
        mask = computed("Any", computed("NotEqual", x, 0.0))
        made = [mask.call.args[0], mask]
        for _ in range(COUNT):
            made.append(computed("LogicalOr", made[-1], made[-1] if twice else mask))
        first = masked(x)
        return [*made, first, called("LSTM", first, mask=made[-1], return_sequences=True)]

    return chain


def stripped(x: KerasTensor) -> list[KerasTensor]:
    """Layers that hand on one object, each of which an attention takes the mask off."""
    made = [masked(x)]
    for _ in range(COUNT // 2):
        made.append(called("Dropout", made[-1]))
    return [*made, *(called("MultiHeadAttention", each, each) for each in made)]


CHAINS = {
    "Add": merged("Add"), "Concatenate": merged("Concatenate"), "Concatenate of one": doubled,
    "recorded": recorded(twice=False), "recorded twice": recorded(twice=True), "stripped": stripped,
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("release", [ASSUMED, (2, 15)], ids=["any", "all"])
def test_masks_of_long_chains_are_traced_in_linear_time(name: str, release: Release) -> None:
    x = called("InputLayer")
    made = CHAINS[name](x)
    calls = {tensor.call: None for tensor in (x, *made)}
    model = KerasModel("m", "functional", tuple(calls), x, tuple(made[-2:]))
    began = time.process_time()
    masks = Masks(Dialect.of(release))
    ends = masks.trace(model)
    changes = MaskChanges().of(model)
    assert time.process_time() - began < SECONDS
    if name == "stripped":
        last = made[-1].call
        assert changes.of(made[0], None) == changes.of(last.args[0], None) == (True, None)
        assert len(changes.objects) == COUNT // 2
    else:
        assert ends[-1] is not None


def model_of(*ends: KerasTensor, inputs: Any) -> KerasModel:
    calls: dict[Call, None] = {}

    def visit(tensor: KerasTensor) -> None:
        for each in tensor.call.tensors():
            visit(each)
        calls.setdefault(tensor.call)

    for end in ends:
        visit(end)
    return KerasModel("m", "functional", tuple(calls), inputs, ends)


def test_equal_masks_have_equal_numbers() -> None:
    """Equal computations give equal masks. Other tensors, values, orders or operations do not."""
    x, y = called("InputLayer"), called("InputLayer")
    one, same, other, far = masked(x), masked(x), called("Masking", x, mask_value=1.0), masked(y)
    pairs = [
        called(name, (a, b), axis=1)
        for name in ("Add", "Concatenate")
        for a, b in ((one, other), (same, other), (other, one), (one, far))
    ]
    masks = Masks(ASSUMED_DIALECT)
    masks.trace(model_of(one, same, other, far, *pairs, inputs=(x, y)))
    of = [masks.of[tensor] for tensor in (one, same, other, far, *pairs)]
    assert of[0] == of[1]
    assert len({of[0], of[2], of[3]}) == 3
    added, joined = of[4:8], of[8:]
    assert added[0] == added[1] == added[2] != added[3]
    assert joined[0] == joined[1]
    assert len({*joined, *added}) == 5


def test_computed_masks_are_compared_with_propagated_masks() -> None:
    x = called("InputLayer")
    mask = computed("Any", computed("NotEqual", x, 0.0))
    other = computed("Any", computed("NotEqual", x, 1.0))
    right = called("LSTM", masked(x), mask=computed("LogicalOr", mask, mask))
    wrong = called("LSTM", masked(x), mask=computed("LogicalOr", mask, other))
    masks = Masks(ASSUMED_DIALECT)
    masks.trace(model_of(right, wrong, inputs=x))
    assert masks.foreign == [wrong.call]


def test_nested_models_are_traced_once_for_each_mask() -> None:
    """Models that hold the one before twice would be followed 2 ** 60 times."""
    inner = called("InputLayer")
    model = KerasModel(
        "m", "functional", (inner.call, called("Dense", inner).call), inner, called("Dense", inner)
    )
    for _ in range(60):
        x = called("InputLayer")
        first = KerasTensor(Call(model, (x,)))
        second = KerasTensor(Call(model, (first,)))
        model = KerasModel("m", "functional", (x.call, first.call, second.call), x, second)
    x = called("InputLayer")
    outer = KerasTensor(Call(model, (masked(x),)))
    assert Masks(ASSUMED_DIALECT).trace(
        KerasModel("m", "functional", (x.call, outer.call.args[0].call, outer.call), x, outer)
    ) == (None,)
    assert not MaskChanges().of(model).order
