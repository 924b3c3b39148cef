"""The fuzzer finds known faults, repeats its inputs, and finds nothing in a short run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.forged import ROOT
from tools.mutations import Corpus, Sample, corpus_of, packed, recorded_seeds, sample

import kerasport
from kerasport.errors import InternalError, ReadError

pytest.importorskip("resource")  # which Windows lacks
from tools import fuzz

COUNT = 900  # inputs; some 20 s of CPU time


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(recorded_seeds())


@pytest.mark.exhaustive
def test_a_short_fuzz_run_finds_no_fault() -> None:
    command = [sys.executable, "-m", "tools.fuzz", "--seed", "9", "--count", str(COUNT)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{COUNT:,} inputs")
    assert "written: " in done.stdout


def test_the_same_seed_gives_the_same_files(corpus: Corpus) -> None:
    first = [sample(corpus, 5, index) for index in range(60)]
    assert [made.files for made in first] == [sample(corpus, 5, index).files for index in range(60)]
    assert first[0].files != sample(corpus, 6, 0).files
    assert len({json.dumps(made.mutations) for made in first}) > 10


def test_seeds_of_all_forms_are_valid(corpus: Corpus, tmp_path: Path) -> None:
    assert {seed.form for seed in corpus.seeds} == {
        "keras",
        "directory",
        "hdf5",
        "architecture",
        "tfjs",
    }
    of_forms = {seed.form: seed for seed in corpus.seeds if "lookups" not in seed.name}
    for form, seed in of_forms.items():
        folder = tmp_path / form
        fuzz.written(Sample(seed, packed(seed, seed.parts), ()), folder)
        if form == "tfjs":
            assert kerasport.repair(folder / seed.source, tmp_path / "out").files
            continue
        weights = folder / seed.weights if seed.weights else None
        assert kerasport.check(folder / seed.source, weights=weights).layers


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (RecursionError(), "RecursionError"),
        (MemoryError(), "MemoryError"),
        (KeyError("x"), "KeyError"),
        (OSError(), "OSError"),
        (fuzz.TooLong(), "time in"),
        (ReadError("a name \ud800"), ""),  # the error itself makes it legible
        (ReadError("no such file"), ""),
        (InternalError("a bug"), "InternalError"),
    ],
)
def test_outcomes_that_are_faults(error: BaseException, place: str) -> None:
    _, fault = fuzz.judged(raising(error))
    assert fault[0].startswith(place) if fault else not place


def test_running_out_of_memory_is_always_a_fault() -> None:
    error = ReadError("too large")
    error.__cause__ = MemoryError()
    outcome, fault = fuzz.judged(raising(error))
    assert outcome == "fault"
    assert fault is not None


def test_leftover_files_are_a_fault(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(source: Path, out: Path, **_: Any) -> None:
        del source
        out.mkdir()
        raise ReadError("refused")

    monkeypatch.setattr(kerasport, "convert", convert)
    monkeypatch.setattr(fuzz, "measured", lambda: nullcontext(lambda: (0.0, 0.0)))
    bench = fuzz.Bench(corpus, 9, tmp_path)
    faults = [fault for index in range(12) for fault in bench.run(index)]
    assert {fault.place for fault in faults} >= {"left behind by convert tfjs-layers"}
