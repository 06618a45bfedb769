"""What MongoDB says becomes what a client can act on."""

import pytest
from pymongo.errors import DuplicateKeyError, NotPrimaryError, OperationFailure

from fhir_dmp.errors import FhirError
from fhir_dmp.store.failures import translated


@translated
async def met(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "retried"),
    [
        (OperationFailure("transaction is too large and will not fit in the storage engine cache", 388), 413, False),
        (OperationFailure("total size of all transaction operations must be less than", 257), 413, False),
        (OperationFailure("write conflict", 112), 503, True),
        (NotPrimaryError("stepped down"), 503, True),
    ],
)
async def test_what_the_store_cannot_take_is_told_in_terms_of_fhir(error, status, retried):
    with pytest.raises(FhirError) as told:
        await met(error)
    assert (told.value.status, "Retry-After" in told.value.headers) == (status, retried)


async def test_a_fault_of_ours_passes():
    with pytest.raises(DuplicateKeyError):
        await met(DuplicateKeyError("twice", 11000))
