"""The one table of models that every target is tried on."""

from collections.abc import Iterator

from tests.cases import (
    composed,
    dtypes,
    functions,
    identity,
    masks,
    native,
    recurrent,
    refused,
    spatial,
    topologies,
    valid,
)
from tests.cases.case import LAYERS_MODEL, Case

MODULES = (
    native,
    spatial,
    recurrent,
    identity,
    topologies,
    masks,
    dtypes,
    functions,
    composed,
    refused,
    valid,
)
CASES: tuple[Case, ...] = tuple(case for module in MODULES for case in module.CASES)

SAMPLED = 120  # rows of which the quick suite runs one, besides those that stand for a layer


def _representatives() -> Iterator[str]:
    """Names of the rows that the quick suite runs.

    These are the first row of every layer, one that becomes a layers-model if there is one, and
    every 120th row of every module.
    """
    converting = [case for case in CASES if LAYERS_MODEL not in case.refused]
    first: dict[str, str] = {}
    for case in (*converting, *CASES):
        for class_name in case.covers:
            first.setdefault(class_name, case.name)
    yield from first.values()
    for module in MODULES:
        yield from (case.name for case in module.CASES[::SAMPLED])


REPRESENTATIVES = frozenset(_representatives())
