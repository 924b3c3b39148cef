"""The one table of models that every target is tried on."""

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

CASES = (
    *native.CASES,
    *spatial.CASES,
    *recurrent.CASES,
    *identity.CASES,
    *topologies.CASES,
    *masks.CASES,
    *dtypes.CASES,
    *functions.CASES,
    *composed.CASES,
    *refused.CASES,
    *valid.CASES,
)
