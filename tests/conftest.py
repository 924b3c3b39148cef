"""What the tests share: TF.js in Node, and every model of the table, saved and run by Keras."""

from __future__ import annotations

import os

# read once, when keras is imported first
os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

from operator import attrgetter
from typing import TYPE_CHECKING

import pytest
from tests.cases import CASES
from tests.cases.trial import Trial
from tests.netron import Netron

from kerasport.verification.tfjs import Tfjs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def tfjs() -> Iterator[Tfjs]:
    """TF.js, in one Node process for all tests."""
    with Tfjs() as runtime:
        yield runtime


@pytest.fixture(scope="session")
def netron() -> Iterator[Netron]:
    """Netron, in one Node process for all tests."""
    viewer = Netron()
    yield viewer
    viewer.close()


@pytest.fixture(scope="module", params=CASES, ids=attrgetter("name"))
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A model of the table, built and saved once for all tests of a module."""
    return Trial(request.param, tmp_path_factory.mktemp("trial"))
