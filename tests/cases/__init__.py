"""The one table of models that every target is tried on."""

from tests.cases import identity, native, recurrent, topologies

CASES = (*native.CASES, *recurrent.CASES, *identity.CASES, *topologies.CASES)
