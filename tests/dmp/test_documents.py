"""Facts of a document.

https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition-pdsm-comprehensive-document-reference.html
"""

from collections.abc import Iterator

import pytest

from fhir_dmp.dmp import documents, spaces
from fhir_dmp.dmp.identity import IDNPS, RPPS
from fhir_dmp.dmp.paris import shown_clock, span, window
from fhir_dmp.dmp.visibility import concept, release_ms
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS, from_instant
from fhir_dmp.fhir.tables import MANY, members

DEPOSIT = from_instant("2026-11-22T09:00:00Z")
DOCUMENT = {
    "resourceType": "DocumentReference",
    "contained": [
        {"resourceType": "Practitioner", "id": "doctor", "identifier": [{"system": RPPS, "value": "10001234567"}]},
        {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "#doctor"}},
    ],
    "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"},
    "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
    "category": [{"coding": [{"code": "95"}]}],
    "author": [{"reference": "#role"}, {"identifier": {"system": IDNPS, "value": "810009999999"}}, {"reference": "Patient/p"}],
    "securityLabel": [concept("N"), concept("MASQUE_PS")],
    "context": {"period": {"start": "2026-11-20", "end": "2026-11-21"}},
    "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/old"}}, {"code": "appends", "target": {}}],
}


def nobody(reference):
    return frozenset()


def test_facts_of_a_deposit():
    authors = documents.authors_of(DOCUMENT, nobody)
    facts = documents.facts_of(DOCUMENT, authors=authors, organization="org:1", first_deposit_ms=DEPOSIT, root="DocumentReference/x")
    assert (facts.type, facts.labels, facts.status) == ("11488-4", {"MASQUE_PS"}, "current")
    assert facts.authors == {"ps:810001234567", "ps:810009999999", "holder"}
    assert facts.period == (span("2026-11-20")[0], span("2026-11-21")[1])
    assert facts.release_ms == release_ms(DEPOSIT)
    assert documents.replaced(DOCUMENT) == ("DocumentReference/old",)
    assert documents.master_identifier(DOCUMENT) == ("urn:ietf:rfc:3986", "urn:uuid:1")


def test_labels_of_the_lineage_are_added_to_those_of_a_new_version():
    facts = documents.facts_of(
        DOCUMENT, authors=(), organization="", first_deposit_ms=DEPOSIT, root="r", labels=frozenset({"INVISIBLE_PATIENT"})
    )
    assert facts.labels == {"MASQUE_PS", "INVISIBLE_PATIENT"}


def test_the_class_comes_from_the_type_whatever_category_says():
    assert documents.class_of(DOCUMENT) == "10"


def test_an_absent_status_is_current():
    assert documents.status_of({}) == "current"
    assert documents.status_of({"status": "entered-in-error"}) == "entered-in-error"


def test_roles_that_name_each_other_name_nobody():
    loop = {
        "contained": [
            {"resourceType": "PractitionerRole", "id": "a", "practitioner": {"reference": "#b"}},
            {"resourceType": "PractitionerRole", "id": "b", "practitioner": {"reference": "#a"}},
        ],
        "author": [{"reference": "#a"}, {"reference": "#missing"}],
    }
    assert documents.authors_of(loop, nobody) == frozenset()


def test_a_type_of_an_unknown_system_is_not_taken_for_a_known_one():
    assert spaces.type_token("http://example.org", "REMB") == "http://example.org|REMB"
    assert spaces.class_of("http://example.org|REMB") == ""


def test_spaces_and_volets():
    assert spaces.personal_space() == {"EXPPAT_1", "EXPPAT_2", "EXPPAT_3", "74465-6"}
    assert {spaces.volet_of(code) for code in spaces.types()} == {
        "identification", "donnees-generales", "soins", "prevention", "imagerie", "expression-titulaire", "remboursement",
    }  # fmt: skip
    assert spaces.space_of("REMB") == "historique-remboursement"
    assert len(spaces.types()) == 107
    assert {t.document_class for t in spaces.types().values()} <= set(spaces.classes())
    assert {t.document_class for t in spaces.types().values()} == {c for c in spaces.classes() if not c.startswith("urn:")}


def test_every_type_a_resource_is_judged_as_exists():
    assert set(documents.JUDGED_AS.values()) <= set(spaces.types())


def test_what_is_no_document_says_when_in_its_own_words():
    day, said = "2026-11-20", "2026-01-01"
    for kind, own in {
        "Appointment": {"start": f"{day}T09:00:00+01:00", "created": said},
        "ExplanationOfBenefit": {"created": day},
        "Goal": {"startDate": day},
        "NutritionOrder": {"dateTime": day},
        "VisionPrescription": {"dateWritten": day, "created": said},
    }.items():
        start, end = documents.period_of({"resourceType": kind, **own})
        assert span(day)[0] <= start < end <= span(day)[1], kind
    billed = {"resourceType": "ExplanationOfBenefit", "billablePeriod": {"start": day, "end": day}, "created": said}
    assert documents.period_of(billed) == span(day)


@pytest.mark.parametrize(
    ("kind", "said", "dates"),
    [
        ("Observation", {"effectivePeriod": {"start": "2026-03-01", "end": "2026-03-04"}, "issued": "2026-03-09T08:00:00Z"}, "03-01 03-09"),
        ("Observation", {"effectiveInstant": "2026-03-01T08:00:00Z", "issued": "2026-03-09T08:00:00Z"}, "03-01 03-09"),
        ("Observation", {"effectiveTiming": {"event": ["2026-03-01", "2026-03-05"]}, "issued": "2026-03-04T08:00:00Z"}, "03-01 03-05"),
        ("Observation", {"effectiveDateTime": "2026-03-02", "valueDateTime": "1990-01-01"}, "03-02 03-02"),
        ("Procedure", {"performedPeriod": {"start": "2026-03-01", "end": "2026-03-04"}}, "03-01 03-04"),
        ("Procedure", {"performedString": "au printemps"}, None),
        ("Condition", {"onsetDateTime": "2026-01-01", "abatementPeriod": {"end": "2026-02-03"}, "recordedDate": "2026-03-09"}, "min 03-09"),
        ("Condition", {"onsetPeriod": {"start": "2026-01-01", "end": "2026-01-05"}, "recordedDate": "2026-03-09"}, "01-01 03-09"),
        ("ServiceRequest", {"occurrencePeriod": {"start": "2026-03-01"}, "authoredOn": "2026-02-01"}, "02-01 max"),
        (
            "ServiceRequest",
            {"occurrenceTiming": {"repeat": {"boundsPeriod": {"end": "2026-03-01"}}}, "authoredOn": "2026-02-01"},
            "min 03-01",
        ),
        ("EpisodeOfCare", {"period": {"start": "2026-03-01"}}, "03-01 max"),
        ("Specimen", {"collection": {"collectedDateTime": "2026-03-01"}, "receivedTime": "2026-03-02"}, "03-01 03-02"),
        (
            "AllergyIntolerance",
            {"recordedDate": "2026-03-09", "reaction": [{"onset": "2026-03-01"}, {"onset": "2026-03-02"}]},
            "03-01 03-09",
        ),
        ("FamilyMemberHistory", {"date": "2026-03-09", "bornDate": "1930-01-01", "deceasedDate": "1990"}, "03-09 03-09"),
        ("DocumentReference", {"date": "2026-03-09T08:00:00Z", "context": {"period": {"start": "2026-03-01"}}}, "03-01 03-09"),
        ("Composition", {"date": "2026-03-09", "event": [{"period": {"start": "2026-03-01", "end": "2026-03-02"}}]}, "03-01 03-09"),
    ],
)
def test_the_span_of_all_dates_covers_when_it_was_done_and_when_it_was_written(kind, said, dates):
    value = {"resourceType": kind, **said}
    start, end = documents.dates_of(value, documents.period_of(value))
    told = "min" if start == MIN_MS else shown_clock(start)[3:5] + "-" + shown_clock(start)[:2]
    told += " " + ("max" if end == MAX_MS else shown_clock(end - 1)[3:5] + "-" + shown_clock(end - 1)[:2])
    assert told == (dates or "min max")


def test_how_long_ago_a_reimbursement_was_is_told_by_its_own_period():
    billed = {
        "resourceType": "ExplanationOfBenefit",
        "billablePeriod": {"start": "2024-01-01", "end": "2024-01-05"},
        "created": "2026-01-01",
    }
    found = documents.facts_of(billed, authors=(), organization="", first_deposit_ms=0, root="")
    assert (found.period, found.dates) == (window("2024-01-01", "2024-01-05"), window("2024-01-01", "2026-01-01"))


TIMES = {
    "Period": {"start": "2026-03-01", "end": "2026-03-04"},
    "Timing": {"event": ["2026-03-01", "2026-03-04"]},
    "instant": "2026-03-01T08:00:00Z",
}


def _saying(path: str) -> Iterator[dict]:
    """Elements of a type, each with one that says when inside."""
    for name, kind in documents._dated(path).items():
        is_inside = kind not in documents.MOMENTS and kind not in TIMES
        many = members(path)[name][0].max == MANY
        for one in _saying(kind) if is_inside else (TIMES.get(kind, "2026-03-01"),):
            yield {name: [one] if many else one}


@pytest.mark.parametrize("kind", sorted(documents.JUDGED_AS))
def test_what_says_when_in_any_one_element_is_dated_by_it(kind):
    first, end = span("2026-03-01")[0], span("2026-03-04")[1]
    for said in _saying(kind):
        value = {"resourceType": kind, **said}
        found = documents.facts_of(value, authors=(), organization="", first_deposit_ms=0, root="")
        assert documents.says_when(value) and first <= found.period[0] < found.period[1] <= end, said
    assert not documents.says_when({"resourceType": kind})


@pytest.mark.parametrize(
    "value",
    [
        {"resourceType": "Provenance", "recorded": "2026-03-01T08:00:00Z", "occurredDateTime": "2026-03-01"},
        {"resourceType": "DocumentReference", "content": [{"attachment": {"creation": "2026-03-01"}}]},
    ],
)
def test_when_a_seal_or_a_content_was_made_does_not_date_what_it_is_of(value):
    assert not documents.says_when(value) and documents.period_of(value) == (MIN_MS, MAX_MS)
