"""What MongoDB says becomes what a client can act on."""

import pytest
from pymongo.errors import BulkWriteError, DuplicateKeyError, NotPrimaryError, OperationFailure

from fhir_dmp.errors import FhirError
from fhir_dmp.store.failures import translated


def bulk(*codes: int) -> BulkWriteError:
    return BulkWriteError({"writeErrors": [{"index": index, "code": code, "errmsg": "x"} for index, code in enumerate(codes)]})


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
        (bulk(388), 413, False),
        (bulk(257), 413, False),
        (bulk(112), 503, True),
        (bulk(11000, 91), 503, True),
    ],
)
async def test_what_the_store_cannot_take_is_told_in_terms_of_fhir(error, status, retried):
    with pytest.raises(FhirError) as told:
        await met(error)
    assert (told.value.status, "Retry-After" in told.value.headers) == (status, retried)


@pytest.mark.parametrize("error", [DuplicateKeyError("twice", 11000), bulk(11000), BulkWriteError({})])
async def test_a_fault_of_ours_passes(error):
    with pytest.raises(type(error)):
        await met(error)
