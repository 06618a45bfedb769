"""Patient/[id]/$access-journal: who, role, establishment, when, what, in French and English."""

import json
from dataclasses import replace

import pytest

from fhir_dmp.audit.event import Disclosed, Server, Trace, encode
from fhir_dmp.audit.kinds import KINDS
from fhir_dmp.audit.told import ACTS, NOBODY, act_of, told
from fhir_dmp.fhir import schema
from tests.audit.making import DOCTOR, read_of

SERVER = Server("abc")
NAMES = {"ps:810001234567": "Dr Jeanne Martin", "org:1750000001": "Clinique des Lilas"}


def event(trace: Trace) -> dict:
    return json.loads(encode(trace, id="t1", version_id="v1", server=SERVER))


# One line


def test_a_read_is_told_in_both_languages():
    line = told(event(read_of("p1", at_ms=1_790_000_000_123)), NAMES)
    assert (line.who.fr, line.role, line.establishment) == ("Dr Jeanne Martin", ("Médecin", "Physician"), "Clinique des Lilas")
    assert line.what == ("Lecture : 1 document", "Read: 1 document")
    assert (line.when, line.id, line.failed, len(line.documents)) == ("2026-09-21T14:13:20.123Z", "t1", False, 1)
    nameless = told(event(read_of("p1")), {})
    assert (nameless.who.fr, nameless.establishment) == ("810001234567", "1750000001")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_trace_has_words(kind):
    line = told(event(read_of("p1", kind=kind, disclosed=())), NAMES)
    assert line.what in ACTS.values(), kind
    assert NOBODY.fr not in line.what


def test_kinds_that_differ_are_told_apart():
    said = {
        kind: act_of(event(read_of("p1", kind=kind))) for kind in ("mask", "patch", "unmask", "consent", "update", "break-glass", "refusal")
    }
    assert said == {
        "mask": "mask",
        "patch": "patch",
        "unmask": "unmask",
        "consent": "consent",
        "update": "update",
        "break-glass": "110127",
        "refusal": "AuthZ-Consent",
    }


def test_emergencies_refusals_failures_and_operations_are_said():
    reason = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    assert told(event(read_of("p1", purposes=((reason, "BTG"),))), NAMES).what.fr == "Lecture : 1 document (bris de glace)"
    refused = told(event(read_of("p1", kind="refusal", outcome="4", disclosed=())), NAMES)
    assert (refused.what.fr, refused.failed) == ("Accès refusé", True)
    failed = told(event(read_of("p1", kind="create", outcome="8", disclosed=())), NAMES)
    assert failed.what == ("Ajout, sans succès", "Added, without success")
    whole = told(event(read_of("p1", kind="operation", query="Patient/p1/$everything?_count=1", disclosed=())), NAMES)
    assert whole.what.en == "Whole record viewed"


def test_people_who_are_no_professionals_are_named_by_what_they_are():
    holder = replace(DOCTOR, kind="patient", subject_name_id="", roles=(), specialties=(), organization="", patient="p1")
    line = told(event(read_of("p1", actor=holder)), NAMES)
    assert (line.who, line.role.en, line.establishment) == (("le titulaire", "the holder"), "Holder", "")
    parent = replace(holder, kind="representative", related_person="r1")
    assert told(event(read_of("p1", actor=parent)), {"RelatedPerson/r1": "Paul Durand"}).who.fr == "Paul Durand"
    assert told(event(read_of("p1", actor=None)), NAMES).who == NOBODY


def test_what_was_shown_is_counted():
    shown = (Disclosed("DocumentReference", "a", "1"), Disclosed("DocumentReference", "b", "1"), Disclosed("Consent", "c", "1"))
    line = told(event(read_of("p1", kind="search-type", disclosed=shown, consents=("c9",))), NAMES)
    assert line.what == ("Recherche : 2 documents, 1 droit d'accès", "Search: 2 documents, 1 access right")
    assert line.documents == ("DocumentReference/a", "DocumentReference/b")


def test_an_event_of_another_host_is_told_in_its_words():
    foreign = {
        "resourceType": "AuditEvent",
        "recorded": "2020-01-01T00:00:00+01:00",
        "type": {"code": "x", "display": "Consultation DMP"},
        "agent": [{"requestor": True, "name": "M. Dupont", "who": {"display": "Dupont"}}],
    }
    line = told(foreign, {})
    assert (line.what.fr, line.who.fr, line.role.fr, line.failed) == ("Consultation DMP", "M. Dupont", "", False)


# Over HTTP


@pytest.fixture(scope="module")
def journal(fhir):
    """A patient with three traces on three days, a doctor and a clinic in the directory."""
    patient = fhir.new({"resourceType": "Patient", "active": True})
    fhir.new(
        {
            "resourceType": "Practitioner",
            "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10001234567"}],
            "name": [{"family": "Martin", "given": ["Jeanne"], "prefix": ["Dr"]}],
        }
    )
    fhir.new(
        {
            "resourceType": "Organization",
            "identifier": [{"system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1750000001"}],
            "name": "Clinique des <Lilas>",
        }
    )
    for day in ("2026-06-30T21:59:59.999Z", "2026-06-30T22:00:00.000Z", "2026-07-02T08:00:00.000Z"):
        value = event(read_of(patient.id))
        del value["id"], value["meta"]
        fhir.new({**value, "recorded": day})
    return patient


def entries(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    assert schema.validate(answer.json()) == []
    return [{part["name"]: part for part in entry["part"]} for entry in answer.json().get("parameter", ())]


def test_the_journal_is_newest_first_with_names_from_the_directory(fhir, journal):
    found = entries(fhir.get(f"{journal.path}/$access-journal"))
    assert [one["when"]["valueInstant"][:10] for one in found] == ["2026-07-02", "2026-06-30", "2026-06-30"]
    first = found[0]
    assert first["who"]["valueString"] == "Dr Jeanne Martin"
    assert first["establishment"]["valueString"] == "Clinique des <Lilas>"
    assert first["role"]["valueString"] == "Médecin"
    english = {one["url"]: one for one in first["role"]["_valueString"]["extension"][0]["extension"]}
    assert english["content"]["valueString"] == "Physician"
    assert first["failed"]["valueBoolean"] is False
    assert fhir.get(first["trace"]["valueReference"]["reference"]).status_code == 200


@pytest.mark.parametrize(
    "period,expected",
    [
        ("start=2026-07-01", 2),
        ("end=2026-06-30", 1),
        ("start=2026-07-01&end=2026-07-01", 1),
        ("start=2026-07-02T08:00:00Z", 1),
        ("end=2025", 0),
    ],
)
def test_days_are_those_of_paris_and_both_ends_count(fhir, journal, period, expected):
    assert len(entries(fhir.get(f"{journal.path}/$access-journal?{period}"))) == expected


@pytest.mark.parametrize("period", ["start=2026-07-02&end=2026-07-01", "start=yesterday", "from=2026"])
def test_a_period_that_is_none_is_refused(fhir, journal, period):
    assert fhir.get(f"{journal.path}/$access-journal?{period}").status_code == 400


@pytest.mark.parametrize("language,title,role", [("fr", "Journal des accès", "Médecin"), ("en-GB,en;q=0.8", "Access journal", "Physician")])
def test_a_page_and_a_text_for_people(fhir, journal, language, title, role):
    page = fhir.get(f"{journal.path}/$access-journal", accept="text/html,*/*;q=0.1", accept_language=language)
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert title in page.text and role in page.text and "02/07/2026 10:00:00" in page.text
    assert "Clinique des &lt;Lilas&gt;" in page.text and "<Lilas>" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    text = fhir.get(f"{journal.path}/$access-journal", accept="text/plain", accept_language=language)
    assert text.headers["content-type"] == "text/plain; charset=utf-8" and role in text.text
    assert fhir.get(f"{journal.path}/$access-journal?_format=html").headers["content-type"].startswith("text/html")
    assert fhir.get(f"{journal.path}/$access-journal", accept="image/png").status_code == 406


def test_a_patient_who_is_not_there_has_no_journal(fhir):
    assert fhir.get("Patient/none/$access-journal").status_code == 404
    assert fhir.get("Patient/none/$access-journal", accept="text/html").status_code == 404
