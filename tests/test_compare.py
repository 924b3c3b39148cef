"""The comparison of random models with Keras: a short run, and proof that it sees faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import compare
from kerasport.verification.runtimes.tfjs import Tfjs
from random_models.record import Recorded, quiet, record, recorded_in, run


@pytest.mark.exhaustive
def test_random_models_agree_with_keras(capsys: pytest.CaptureFixture[str]) -> None:
    code = compare.main(["--seed", "3", "--count", "25"])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert printed.startswith("2"), printed  # most of what is drawn is valid


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A model that every target takes."""
    path = tmp_path_factory.mktemp("models") / "model.keras"
    feed = (np.random.default_rng(0).normal(size=(3, 4)).astype("float32"),)
    with quiet():
        model = keras.Sequential(
            [keras.layers.Input((4,)), keras.layers.Dense(3, activation="tanh")]
        )
        model.save(path)
        outputs = run(keras, model, feed)
    return Recorded(path, (feed,), (outputs,), (tuple(np.zeros_like(array) for array in outputs),))


def test_a_model_is_known_by_its_seed_and_index(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    one, other = (record(keras, 0, 0, ["core"], folder) for folder in folders)
    assert one is not None
    assert other is not None
    for made in (other, Recorded.load(one.path), *recorded_in(folders[1])):
        for name in ("feeds", "outputs", "noise"):
            for feed, again in zip(getattr(one, name), getattr(made, name), strict=True):
                for a, b in zip(feed, again, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_compare_reports_different_numbers(recorded: Recorded, tfjs: Tfjs, tmp_path: Path) -> None:
    wrong = tuple(tuple(array * 1.001 + 0.001 for array in feed) for feed in recorded.outputs)
    comparison = compare.Comparison(tmp_path, tfjs)
    kinds = {outcome.target: outcome.kind for outcome in comparison.outcomes(recorded)}
    assert kinds == dict.fromkeys(kinds, "agrees")
    kinds = {
        outcome.target: outcome.kind
        for outcome in comparison.outcomes(replace(recorded, outputs=wrong))
    }
    assert kinds == dict.fromkeys(kinds, "different")


def test_compare_reports_models_that_do_not_run(
    recorded: Recorded, tfjs: Tfjs, tmp_path: Path
) -> None:
    fed = tuple(tuple(array[..., :1] for array in feed) for feed in recorded.feeds)
    comparison = compare.Comparison(tmp_path, tfjs)
    outcomes = {
        outcome.target: outcome for outcome in comparison.outcomes(replace(recorded, feeds=fed))
    }
    assert {outcomes[target].kind for target in compare.TARGETS} == {"does not run"}


def test_compare_reports_errors(
    recorded: Recorded, tfjs: Tfjs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("gone")

    monkeypatch.setattr("kerasport.convert", fail)
    outcome = compare.Comparison(tmp_path, tfjs).outcome(recorded, "onnx")
    assert (outcome.kind, "KeyError: 'gone'" in outcome.why) == ("error", True)


def test_a_report_counts_outcomes_and_reasons() -> None:
    refused = compare.Outcome("m", "onnx", "refused", "…", ("Dense: no", "Dense: no", "Add: no"))
    printed = compare.report([refused, replace(refused, model="n", reasons=("Add: no",))], 2, 1)
    assert "2 models (1 more" in printed
    assert printed.index("     2 Add: no") < printed.index("     1 Dense: no")
