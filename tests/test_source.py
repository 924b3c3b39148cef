"""A front end of our own: all graph targets convert what it reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import onnx_runtime

import kerasport
from kerasport import source
from kerasport.errors import OptionError
from kerasport.ir.graph import Graph
from kerasport.ir.program import Part, Port, Program
from kerasport.ir.tensor import Input, TensorType
from kerasport.source import Frontend

# --- the front end


@contextmanager
def read_affine(path: Any, weights: Any = None) -> Iterator[Program]:
    """Read `{"scale": …, "offset": …}`, which means x · scale + offset for x [batch, 3]."""
    del weights
    numbers = json.loads(Path(path).read_text(encoding="utf-8"))
    x = Input("x", TensorType("float32", ("batch", 3)))
    y = x * numbers["scale"] + numbers["offset"]
    yield Program(
        name="affine",
        writer="",
        graph=Graph((x,), (y,), {y: "affine"}),
        inputs=(Port("x"),),
        outputs=(Port("y"),),
        parts=(Part("affine", "affine", "Affine"),),
    )


AFFINE = Frontend("affine", lambda given: str(given).endswith(".affine"), read_affine)

# --- end of the front end


@pytest.fixture
def affine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(source, "FRONTENDS", (AFFINE, *source.FRONTENDS))
    path = tmp_path / "model.affine"
    path.write_text(json.dumps({"scale": 2.5, "offset": -1}), encoding="utf-8")
    return path


def test_graph_targets_convert_a_program(affine: Path, tmp_path: Path) -> None:
    made = kerasport.convert(affine, tmp_path / "web_model")
    assert (made.target, made.inputs, made.outputs) == ("tfjs-graph", {"x": (None, 3)}, ("y",))
    assert [layer.class_name for layer in made.layers] == ["Affine"]
    assert kerasport.check(affine, to="onnx").convertible
    with pytest.raises(OptionError, match="only a Keras model"):
        kerasport.check(affine, to="tfjs-layers")


@pytest.mark.needs("onnxruntime")
def test_a_program_computes_its_graph(affine: Path, tmp_path: Path) -> None:
    kerasport.convert(affine, tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    ((y,),) = onnx_runtime.run(tmp_path / "model.onnx", [(x,)])
    np.testing.assert_allclose(y, x * 2.5 - 1, rtol=1e-6)


def test_the_other_front_ends_still_read(affine: Path, tmp_path: Path) -> None:
    digits = Path(__file__).parent.parent / "examples" / "digits.keras"
    assert kerasport.convert(digits, tmp_path / "digits").target == "tfjs-layers"
    assert affine.is_file()
