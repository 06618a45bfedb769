"""DocumentReference/$docref. https://hl7.org/fhir/uv/ipa/OperationDefinition-docref.html"""

import pytest

from tests.interactions.making import identified, issues, refused, unique

TYPE = {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}
OTHER = {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]}
PROFILE = "urn:ihe:iti:xds-sd:text:2008"


@pytest.fixture(scope="module")
def dossier(fhir):
    """A patient with documents."""
    mark = unique("docref")
    made = {"mark": mark, "patient": fhir.new(identified("Patient", mark))}

    def document(**fields):
        about = {"subject": {"reference": made["patient"].path}, "content": [{"attachment": {"contentType": "text/plain"}}]}
        return fhir.new({"resourceType": "DocumentReference", "status": "current", "type": TYPE, **about, **fields})

    care = {"context": {"period": {"start": "2020-03-01", "end": "2020-03-10"}}}
    made["2020"] = document(**care, date="2026-01-01T00:00:00Z")
    made["2024"] = document(date="2024-06-01T00:00:00Z", type=OTHER)
    made["old"] = document(date="2024-06-01T00:00:00Z", status="superseded")
    made["error"] = document(date="2024-06-01T00:00:00Z", status="entered-in-error")
    coded = [{"attachment": {"contentType": "text/plain"}, "format": {"code": PROFILE}}]
    made["coded"] = document(content=coded)
    return made


def names(dossier, answer):
    """Which of the documents the answer has."""
    assert answer.status_code == 200, answer.text
    found = {entry["fullUrl"].split("/fhir/")[1] for entry in answer.json().get("entry", [])}
    assert answer.json()["total"] == len(found)
    known = {stored.path: name for name, stored in dossier.items() if name != "mark"}
    return sorted(known[path] for path in found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["2020", "2024", "coded"]),
        ("&start=2020-03-05&end=2020-03-06", ["2020"]),
        ("&start=2020-03-10T12:00:00Z", ["2020", "2024", "old"]),
        ("&end=2023", ["2020"]),
        ("&start=2021", ["2024", "old"]),
        ("&type=http://loinc.org|18842-5", ["2024"]),
        ("&type=http://loinc.org|18842-5&type=11488-4", ["2020", "2024", "coded"]),
        (f"&profile={PROFILE}", ["coded"]),
        ("&on-demand=false&type=18842-5", ["2024"]),
    ],
)
def test_documents_by_care_date_type_and_profile(fhir, dossier, query, expected):
    assert names(dossier, fhir.get(f"DocumentReference/$docref?patient={dossier['patient'].id}{query}")) == expected


def test_the_patient_may_be_named_by_identifier(fhir, dossier):
    answer = fhir.get(f"DocumentReference/$docref?patient.identifier=urn:x-test|{dossier['mark']}")
    assert names(dossier, answer) == ["2020", "2024", "coded"]
    assert answer.json()["type"] == "searchset"


def test_post_is_get(fhir, dossier):
    given = [
        {"name": "patient", "valueId": dossier["patient"].id},
        {"name": "start", "valueDateTime": "2024-01-01T00:00:00Z"},
        {"name": "type", "valueCodeableConcept": OTHER},
    ]
    answer = fhir.post("DocumentReference/$docref", {"resourceType": "Parameters", "parameter": given})
    assert names(dossier, answer) == ["2024"]


def test_pages(fhir, dossier):
    address, seen = f"DocumentReference/$docref?patient={dossier['patient'].id}&_count=2", []
    while address:
        answer = fhir.get(address).json()
        assert answer["total"] == 3
        seen.append([entry["fullUrl"] for entry in answer["entry"]])
        address = next((link["url"] for link in answer["link"] if link["relation"] == "next"), None)
    assert [len(page) for page in seen] == [2, 1] and len({each for page in seen for each in page}) == 3


def test_a_patient_nobody_knows_has_no_documents(fhir):
    answer = fhir.get("DocumentReference/$docref?patient=nobody")
    assert (answer.status_code, answer.json()["total"], "entry" in answer.json()) == (200, 0, False)


@pytest.mark.parametrize(
    ("query", "expected", "words"),
    [
        ("", (400, "invalid"), "needs to know of whom"),
        ("patient=a&patient.identifier=b|c", (400, "invalid"), "either"),
        ("patient=Practitioner/1", (400, "invalid"), "not the id of a Patient"),
        ("patient=a&on-demand=true", (400, "not-supported"), "makes none on demand"),
        ("patient=a&start=soon", (400, "value"), "not of type dateTime"),
        ("patient=a&status=current", (400, "not-supported"), "`status` is not known"),
    ],
)
def test_what_is_not_served_is_said(fhir, query, expected, words):
    answer = fhir.get(f"DocumentReference/$docref?{query}")
    assert refused(answer) == expected
    assert words in issues(answer)[0]["diagnostics"]
