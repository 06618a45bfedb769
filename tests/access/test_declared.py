"""What a store for real use declares of its types, against what it does: declared is written by somebody, undeclared by nobody."""

import json
from pathlib import Path

import pytest

from tests.access.test_deposits import posted, submission
from tests.access.world import GENERALIST, NURSE, day, document, listed, now

FILE = Path(__file__).parents[2] / "capability_statement.json"
WRITING = {"create", "update", "patch", "delete"}
TEXT = {"text": "x"}
# What R4 requires of each, and a date. {} stands for the holder.
CLINICAL = {
    "Appointment": {
        "status": "booked",
        "start": "2026-11-20T09:00:00Z",
        "end": "2026-11-20T09:30:00Z",
        "participant": [{"actor": {}, "status": "accepted"}],
    },
    "ClinicalImpression": {"status": "completed", "subject": {}},
    "Coverage": {"status": "active", "beneficiary": {}, "payor": [{"display": "CPAM"}]},
    "DeviceUseStatement": {"status": "active", "subject": {}, "device": {"display": "x"}},
    "EpisodeOfCare": {"status": "active", "patient": {}},
    "Flag": {"status": "active", "code": TEXT, "subject": {}},
    "Goal": {"lifecycleStatus": "active", "description": TEXT, "subject": {}},
    "ImmunizationRecommendation": {
        "patient": {},
        "date": "2026-11-20",
        "recommendation": [{"targetDisease": TEXT, "forecastStatus": TEXT}],
    },
    "NutritionOrder": {"status": "active", "intent": "order", "patient": {}, "dateTime": "2026-11-20"},
    "RiskAssessment": {"status": "final", "subject": {}},
    "VisionPrescription": {
        "status": "active",
        "created": "2026-11-20",
        "patient": {},
        "dateWritten": "2026-11-20",
        "prescriber": {"display": "x"},
        "lensSpecification": [{"product": TEXT, "eye": "left"}],
    },
}
UNWRITTEN = {
    "Bundle": {"type": "collection"},
    "Communication": {"status": "completed", "subject": {}},
    "Device": {"patient": {}},
    "Location": {"name": "x"},
    "Medication": {"code": TEXT},
    "Questionnaire": {"status": "active"},
    "Task": {"status": "draft", "intent": "order", "for": {}},
}
# By professionals, with a document alone.
BESIDE = {
    "Group": lambda dossier, url: {"type": "person", "actual": True, "member": [{"entity": {"reference": dossier.path}}]},
    "DocumentManifest": lambda dossier, url: {"status": "current", "subject": {"reference": dossier.path}, "content": [{"reference": url}]},
    "Provenance": lambda dossier, url: {
        "target": [{"reference": url}, {"reference": dossier.path}],
        "recorded": now(),
        "agent": [{"who": {"display": "x"}}],
    },
}
DOCUMENT_URL = "urn:uuid:00000000-0000-4000-8000-00000000d000"


def of(dossier, kind: str, value: dict) -> dict:
    """The resource of a dossier."""
    text = json.dumps({"resourceType": kind, **value}).replace("{}", json.dumps({"reference": dossier.path}))
    return json.loads(text)


def billed(dossier, period: str) -> dict:
    return {
        "resourceType": "ExplanationOfBenefit",
        "status": "active",
        "type": TEXT,
        "use": "claim",
        "patient": {"reference": dossier.path},
        "billablePeriod": {"start": period, "end": period},
        "created": day(),
        "insurer": {"display": "CPAM"},
        "provider": {"display": "x"},
        "outcome": "complete",
        "insurance": [{"focal": True, "coverage": {"display": "x"}}],
    }


@pytest.fixture(scope="module")
def declared(world):
    return world.http.get(f"{world.server.fhir}/metadata").json()


def test_the_file_is_what_a_store_for_real_use_says(declared):
    file, told = json.loads(FILE.read_text("utf-8")), json.loads(json.dumps(declared))
    for statement in (file, told):
        del statement["date"], statement["implementation"], statement["rest"][0]["security"]
    assert told == file


def test_what_nobody_writes_is_declared_as_read(declared):
    told = {one["type"]: one for one in declared["rest"][0]["resource"]}
    unwritten = {name for name, one in told.items() if not WRITING & {i["code"] for i in one["interaction"]}}
    assert unwritten == {*UNWRITTEN, "AuditEvent"}
    assert not any(told[name][word] for name in unwritten for word in ("conditionalCreate", "conditionalUpdate"))


@pytest.mark.parametrize("kind", UNWRITTEN)
def test_what_is_not_declared_is_written_by_nobody(world, kind):
    anna = world.professional(specialty=GENERALIST)
    dossier = world.open(traitant=anna)
    value = of(dossier, kind, UNWRITTEN[kind])
    for asker in (anna, world.holder(dossier), world.operator(), world.structure(), world.feed()):
        assert asker.post(kind, value).status_code == (405 if kind == "Communication" else 403), asker.kind
    together = submission(dossier, anna, document(dossier, anna), more=(posted(value, "urn:uuid:00000000-0000-4000-8000-00000000f000"),))
    assert anna.post("", together).status_code in (403, 405)


@pytest.mark.parametrize("kind", CLINICAL)
def test_clinical_types_are_written_and_read_as_the_document_that_would_carry_them(world, kind):
    anna, nurse, stranger = world.professional(specialty=GENERALIST), world.professional(profession=NURSE), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", nurse)
    made = world.write(anna, of(dossier, kind, CLINICAL[kind]))
    (found,) = listed(anna, dossier, kind)
    assert found["id"] == made["id"]
    assert len(listed(world.holder(dossier), dossier, kind)) == 1
    # Administrative documents are not a nurse's to read.
    assert len(listed(nurse, dossier, kind)) == (kind != "Coverage")
    assert stranger.get(f"{kind}/{made['id']}").status_code == 404
    assert anna.put(f"{kind}/{made['id']}", {**made, "language": "fr"}).status_code == 200
    assert nurse.put(f"{kind}/{made['id']}", made).status_code in (403, 404)
    world.consent(dossier, "mask", data=[{"meaning": "instance", "reference": {"reference": f"{kind}/{made['id']}"}}])
    assert listed(nurse, dossier, kind) == []
    assert nurse.get(f"{kind}/{made['id']}").status_code == 404


def test_reimbursements_come_by_the_feed_and_are_shown_with_consent_for_two_years(world):
    anna = world.professional(specialty=GENERALIST)
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    assert anna.post("ExplanationOfBenefit", billed(dossier, day())).status_code == 403
    made = world.write(world.feed(), billed(dossier, day()))
    old = world.write(world.feed(), billed(dossier, day(days=-1_000)))
    assert {one["id"] for one in listed(holder, dossier, "ExplanationOfBenefit")} == {made["id"], old["id"]}
    assert listed(anna, dossier, "ExplanationOfBenefit") == []
    world.consent(dossier, "reimbursement")
    assert [one["id"] for one in listed(anna, dossier, "ExplanationOfBenefit")] == [made["id"]]
    assert holder.get(f"ExplanationOfBenefit/{old['id']}").status_code == 200
    assert anna.get(f"ExplanationOfBenefit/{old['id']}").status_code == 404


@pytest.mark.parametrize("kind", BESIDE)
def test_what_tells_of_a_document_is_written_with_it(world, kind):
    anna = world.professional(specialty=GENERALIST)
    dossier = world.open(traitant=anna)
    value = {"resourceType": kind, **BESIDE[kind](dossier, DOCUMENT_URL)}
    answer = anna.post(
        "", submission(dossier, anna, document(dossier, anna), more=(posted(value, "urn:uuid:00000000-0000-4000-8000-00000000f000"),))
    )
    assert answer.status_code == 200, answer.text
    there = {**value, **BESIDE[kind](dossier, f"DocumentReference/{listed(anna, dossier, 'DocumentReference')[0]['id']}")}
    assert anna.post(kind, there).status_code == 403
