"""The index of a seal is written down: it is what extraction finds."""

import pytest

from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions.sealing import index_of
from fhir_dmp.search.extract import extract

AT = 1_795_323_600_123
DOCUMENT, BINARY = f"DocumentReference/{'a' * 26}/_history/{'b' * 13}", f"Binary/{'c' * 26}/_history/{'d' * 13}"
HOLDER = f"Patient/{'e' * 26}"


@pytest.mark.parametrize(
    "targets",
    [[DOCUMENT], [DOCUMENT, BINARY, HOLDER], [f"{HOLDER}/_history/{'f' * 13}", HOLDER], [f"Consent/{'a' * 26}/_history/x", HOLDER]],
)
def test_the_index_of_a_seal_is_that_of_its_body(targets):
    body = {"resourceType": "Provenance", "target": [{"reference": one} for one in targets], "recorded": to_instant(AT)}
    found = extract("Provenance", body, base_urls=("http://dmp.test/fhir",))
    assert {code: set(values) for code, values in index_of(targets, AT).items()} == {code: set(values) for code, values in found.items()}
