"""A search that is understood from memory means what it means when it is read word by word."""

from itertools import product

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.search import sentences
from fhir_dmp.search.limits import Limits
from fhir_dmp.search.query import parse
from fhir_dmp.search.terminology import Terminology

KNOWN = {"limits": Limits(), "base_urls": ("http://h/fhir",), "terminology": Terminology(), "lenient": False}
WORDS = (
    (("status", "current"), ("_sort", "-date"), ("_count", "20")),
    (("date", "ge2024-01-01"), ("type", "http://loinc.org|11488-4,60591-5")),
    (("author:Practitioner.name", "a"),),
    (("related", "DocumentReference/x"), ("_include", "DocumentReference:patient"), ("_total", "none")),
    (("subject:missing", "false"), ("_cursor", "c")),
    (("subject", "Patient/other"),),
    (("patient", "p2"),),
    (("patient:identifier", "a|b"), ("_filter", "status eq current")),
)
PATIENTS = ("Patient/p1", "p1", "Patient/p1/_history/2", "p1,p2", "http://h/fhir/Patient/p1", "Group/p1", "Patient/" + "a" * 64)


@pytest.mark.parametrize("name", ["patient", "subject"])
@pytest.mark.parametrize("type_name", ["DocumentReference", "Observation", "List", "Group", "MeasureReport"])
def test_from_memory_a_search_means_the_same(type_name, name):
    agreed = 0
    for words, patient in product(WORDS, PATIENTS):
        pairs = (*words, (name, patient))
        for _ in range(2):
            try:
                expected = parse(type_name, pairs, now_ms=7, **KNOWN)
            except FhirError as error:
                with pytest.raises(FhirError) as told:
                    sentences.understood(type_name, pairs, now_ms=7, **KNOWN)
                assert [issue.diagnostics for issue in told.value.issues] == [issue.diagnostics for issue in error.issues]
                continue
            found = sentences.understood(type_name, pairs, now_ms=7, **KNOWN)
            assert found == expected
            assert (found.self_link(), found.digest("s")) == (expected.self_link(), expected.digest("s"))
            agreed += 1
    assert agreed or type_name in ("Group", "List", "MeasureReport", "Observation")


def test_what_looks_at_the_clock_is_understood_anew():
    pairs = (("patient", "p1"), ("date", "ap2020"))
    for moment in (1_700_000_000_000, 1_800_000_000_000):
        assert sentences.understood("Observation", pairs, now_ms=moment, **KNOWN) == parse("Observation", pairs, now_ms=moment, **KNOWN)


def test_the_words_that_stand_for_the_patient_mean_nothing_of_their_own():
    for other in (("identifier", sentences.OPEN), ("subject", f"Patient/{sentences.OPEN}"), ("_id", sentences.OPEN)):
        pairs = (("patient", "p1"), other)
        found = sentences.understood("DocumentReference", pairs, now_ms=7, **KNOWN)
        assert found == parse("DocumentReference", pairs, now_ms=7, **KNOWN)
