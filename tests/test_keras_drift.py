"""The comparison of the installed Keras with the tables."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import keras
import pytest
from tools import keras_drift
from tools.keras_drift import Drift, table_drift

from kerasport.frontends.keras import functions as operations
from kerasport.frontends.keras import layers
from kerasport.frontends.keras.identity import IDENTITY
from kerasport.frontends.keras.layers.traits import MaskRule
from kerasport.releases import NEWEST, release_of


@pytest.fixture(scope="module")
def found() -> list[Drift]:
    """What differs between the installed Keras and the tables as they are."""
    return table_drift()


def test_the_tables_know_the_installed_keras(found: list[Drift]) -> None:
    if found and release_of(keras.__version__) > NEWEST:
        pytest.skip(keras_drift.report(found))  # a newer Keras is reported, and breaks nothing
    assert found == []


def test_every_layer_of_the_tables_can_be_created() -> None:
    of_tables = set(layers.LAYERS) & set(keras_drift.exported()) - keras_drift.NEEDS_TENSORFLOW
    unmade = {
        name for name in of_tables if keras_drift.sampled(keras_drift.exported()[name]) is None
    }
    assert unmade <= {"TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "Lambda"} | set(
        IDENTITY
    )
    assert len(of_tables) > 100
    assert len(keras_drift.operations()) > 300


def test_missing_entries_of_tables_are_found(
    monkeypatch: pytest.MonkeyPatch, found: list[Drift]
) -> None:
    monkeypatch.setattr(layers.LAYERS["Dense"], "defaults", {"units": 2, "activation": "relu"})
    changed = {name: cls for name, cls in layers.LAYERS.items() if name != "Flatten"}
    monkeypatch.setattr(keras_drift, "LAYERS", changed)
    lowerings: dict[str, Any] = {**operations.OPERATIONS, "TopK": top_k, "Elu": elu}
    del lowerings["Tanh"]
    monkeypatch.setattr(keras_drift, "OPERATIONS", lowerings)
    stops = dataclasses.replace(layers.LAYERS["Subtract"].traits, mask=MaskRule.STOPS)
    monkeypatch.setattr(layers.LAYERS["Subtract"], "traits", stops)
    more = {str(drift) for drift in set(table_drift()) - set(found)}
    assert more >= {
        "layer Dense: get_config() has the option 'use_bias' (default True), which is unknown",
        "layer Dense: the default of 'activation' is 'linear'; the table has 'relu'",
        "layer Flatten: is in no table",
        "layer Subtract: supports_masking is True; the mask rules say False",
        "operation Tanh: is in no table",
        "operation TopK: has the option 'sorted', which its lowering does not take",
        "operation Elu: the default of 'alpha' is 1.0; the lowering has 2.0",
    }


def top_k(x: Any, *, k: int) -> Any:
    """A lowering that lacks an option."""
    del x, k


def elu(x: Any, *, alpha: float = 2.0) -> Any:
    """A lowering with another default."""
    del x, alpha


def test_changed_results_of_keras_are_found() -> None:
    from tests.cases import CASES  # noqa: PLC0415  (a table that takes a second)

    case = next(case for case in CASES if case.name == "mask_dense")
    assert list(keras_drift.outcome(case, None)) == []
    (what,) = keras_drift.outcome(case, "a reason")
    assert what == "is not refused any more: a reason"
    (what,) = keras_drift.outcome(replace(case, rtol=0, atol=-1), None)
    assert "AssertionError" in what
