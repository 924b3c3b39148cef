"""The one table of models that every target is tried on."""

from tests.cases import native, recurrent

CASES = (*native.CASES, *recurrent.CASES)
