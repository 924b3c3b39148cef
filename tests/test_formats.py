"""Reports describe the choice between a layers-model and a graph-model."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import pytest
from keras import layers

import kerasport
from kerasport.report import Conversion
from kerasport.targets.tfjs.layers.formats import FACTORS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
ROW = r"^\| (\w+) \| .+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$"


def test_the_factors_are_those_of_the_documentation() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Layers-model or graph-model")[2]
    for kind, factor in FACTORS.items():
        rows = [row for row in re.findall(ROW, text, re.MULTILINE) if row[0] == kind]
        ratios = [float(ratio) for *_, ratio in rows]
        assert round(math.prod(ratios) ** (1 / len(ratios)), 1) == factor
        assert f"| **{kind}** | | | | **{factor:g}** |" in text


def image(x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(x))


MODELS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any], str]] = {
    "convolutional": (
        (8, 8, 3),
        image,
        "as a graph-model it runs about 1.7x faster, without training (--to tfjs-graph)",
    ),
    "recurrent": ((8, 3), layers.LSTM(2), "can be trained further in a page"),
    "dense": ((8,), layers.Dense(2), "can be trained further in a page"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_layers_model_notes_that_a_graph_model_is_faster(kind: str, tmp_path: Path) -> None:
    shape, build, wanted = MODELS[kind]
    given = layers.Input(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        keras.Model(given, build(given)).save(tmp_path / "model.keras")

    def converted(**options: Any) -> Conversion:
        return kerasport.convert(tmp_path / "model.keras", tmp_path / "out", force=True, **options)

    made = converted()
    assert made.choice.endswith(wanted)
    assert wanted.split(";")[0] in " ".join(str(made).split())
    assert kerasport.check(tmp_path / "model.keras").choice == made.choice
    assert converted(trainable=True).choice == converted(to="tfjs-graph").choice == ""
