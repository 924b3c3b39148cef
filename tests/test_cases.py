"""Every model of the table: read, converted, run in TF.js, and compared with Keras."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

import kerasport
from kerasport.verify.tfjs import Backend, Tfjs
from tests.cases.case import LAYERS_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cases.trial import Trial

BACKENDS: tuple[Backend, ...] = get_args(Backend)


def no_constant(name: str) -> Any:
    raise ValueError(f"JSON knows no {name}")


def test_layers_model_computes_what_keras_computes_or_is_refused(
    trial: Trial, tfjs: Tfjs, tmp_path: Path
) -> None:
    case, out = trial.case, tmp_path / "web_model"
    if LAYERS_MODEL in case.refused:
        with pytest.raises(kerasport.UnsupportedModel) as refusal:
            kerasport.convert(trial.path, out, to=LAYERS_MODEL)
        assert case.refused[LAYERS_MODEL] in str(refusal.value)
        assert not list(tmp_path.iterdir())
        return
    kerasport.convert(trial.path, out, to=LAYERS_MODEL)
    json.loads((out / "model.json").read_text(encoding="utf-8"), parse_constant=no_constant)
    for backend in BACKENDS:
        run = tfjs.run(out, trial.feeds, backend=backend)
        for expected, computed in zip(trial.expected, run.results, strict=True):
            for index, (wanted, got) in enumerate(zip(expected, computed, strict=True)):
                where = f"output {index} on {backend}"
                assert got.shape == wanted.shape, where
                np.testing.assert_allclose(
                    got.astype("float64"), wanted.astype("float64"), case.rtol, case.atol, err_msg=where
                )
