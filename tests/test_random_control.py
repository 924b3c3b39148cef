"""Random control flow: numpy, TF.js and ONNX Runtime compute the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.control_strategies import controls
from tests.graphs import Check, Runner, meaning, together
from tests.strategies import Sample

from kerasport.ir.check import check
from kerasport.passes.control import simplified
from kerasport.verification.runtimes.tfjs import Tfjs

SETTINGS = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
SAMPLES = st.lists(controls(), min_size=5, max_size=8)


@pytest.fixture(scope="module")
def runner(tfjs: Tfjs, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tfjs, tmp_path_factory.mktemp("control"))


def checks_of(samples: list[Sample]) -> list[Check]:
    """The samples; every other one has sizes that are known only at run time."""
    return [
        Check(f"sample {at}", each.build, each.arrays, range(3) if at % 2 else ())  # type: ignore[arg-type]
        for at, each in enumerate(samples)
    ]


@settings(SETTINGS, max_examples=4)
@given(samples=SAMPLES)
def test_simpler_control_flow_has_the_same_results(samples: list[Sample]) -> None:
    for each in checks_of(samples):
        before = each.graph()
        check(before)
        after = simplified(before)
        check(after)
        each.compare(meaning(each, before), meaning(each, after), "the simplified graph")


@SETTINGS
@given(samples=SAMPLES)
def test_tfjs_computes_what_numpy_computes(runner: Runner, samples: list[Sample]) -> None:
    """The cpu backend.

    Many samples sum the steps of a loop that may run no step. On wasm, such a Sum returns memory
    that TF.js did not write (docs/how-it-works.md). `tests/control_flow.py` compares both backends.
    """
    checks = checks_of(samples)
    graphs = [each.graph(f"x{at}") for at, each in enumerate(checks)]
    feed = [array for each in checks for array in each.arrays]
    rest = iter(runner.run(together(graphs), feed)["cpu"])
    for each, graph in zip(checks, graphs, strict=True):
        results = tuple(itertools.islice(rest, len(graph.outputs)))
        each.compare(meaning(each, graph), results, "cpu")


@pytest.mark.needs("onnx_ir", "onnxruntime", "keras")
@SETTINGS
@given(samples=SAMPLES)
def test_onnx_runtime_computes_what_numpy_computes(
    samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.onnx_runtime import run  # noqa: PLC0415  (imports ONNX Runtime)
    from tests.test_onnx import written  # noqa: PLC0415  (imports Keras)

    path: Path = tmp_path_factory.mktemp("control") / "model.onnx"
    checks = checks_of(samples)
    graphs = [each.graph(f"x{at}") for at, each in enumerate(checks)]
    (got,) = run(
        written(together(graphs), path), [[array for each in checks for array in each.arrays]]
    )
    rest = iter(got)
    for each, graph in zip(checks, graphs, strict=True):
        results = tuple(itertools.islice(rest, len(graph.outputs)))
        each.compare(meaning(each, graph), results, "ONNX Runtime")
