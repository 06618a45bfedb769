"""What deposits, searches and refusals owe to those who send and ask: faults are told where they are, and what is stored is found.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ ; https://profiles.ihe.net/ITI/MHD/ ; https://profiles.ihe.net/ITI/BALP/
"""

import base64
import hashlib

import pytest

from tests.access.test_deposits import posted, stored, submission
from tests.access.world import (
    GENERALIST,
    INS,
    LABORATORY,
    LOINC,
    RPPS,
    VISIBILITY,
    care_team,
    consent,
    document,
    listed,
    parameters,
    patient,
    refused,
)

CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
CLASSES = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
ARCHIVED = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


def places(answer) -> list[str]:
    """Where an OperationOutcome says the faults are."""
    return [place for issue in answer.json()["issue"] for place in issue.get("expression", ())]


def observed(dossier, category: str) -> dict:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORIES, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}]},
        "subject": {"reference": dossier.path},
    }


def reported(dossier, category: str) -> dict:
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "category": [{"coding": [{"system": SECTIONS, "code": category}]}],
        "code": {"text": "examen"},
        "subject": {"reference": dossier.path},
    }


# ---- what is judged as a laboratory result


def test_a_generalist_writes_vital_signs_and_no_laboratory_result(world):
    dossier, anna = world.open(), world.professional(specialty=GENERALIST)
    for category, status in (("vital-signs", 201), ("social-history", 201), ("laboratory", 403)):
        assert anna.post("Observation", observed(dossier, category)).status_code == status, category
    assert {"HM": anna.post("DiagnosticReport", reported(dossier, "HM")).status_code} == {"HM": 403}
    assert anna.post("DiagnosticReport", reported(dossier, "OTH")).status_code == 201


# ---- contents


@pytest.mark.parametrize(("wrong", "place"), [({"hash": "AAAA"}, "hash"), ({"size": 77}, "size")])
def test_a_content_is_the_one_described(world, wrong, place):
    dossier, anna = world.open(), world.professional()
    value = document(dossier, anna)
    attachment = value["content"][0]["attachment"]
    octets = base64.b64decode(attachment["data"])
    right = {"size": len(octets), "hash": base64.b64encode(hashlib.sha1(octets, usedforsecurity=False).digest()).decode()}
    answer = anna.post("DocumentReference", {**value, "content": [{"attachment": {**attachment, **right, **wrong}}]})
    assert (answer.status_code, places(answer)) == (422, [f"DocumentReference.content[0].attachment.{place}"])
    bundle = submission(dossier, anna, value)
    sent = bundle["entry"][1]["resource"]["content"][0]["attachment"]
    sent.update({**right, **wrong})
    assert anna.post("", bundle).status_code == 422
    assert listed(world.holder(dossier), dossier, "DocumentReference") == []
    sent.update(right)
    (id,) = stored(anna.post("", bundle), "DocumentReference")
    assert anna.get(f"DocumentReference/{id}").json()["content"][0]["attachment"]["hash"] == right["hash"]


# ---- type and subject


def test_a_deposit_says_what_is_missing(world):
    dossier, anna = world.open(), world.professional()
    value = document(dossier, anna)
    without = {name: part for name, part in value.items() if name != "type"}
    for wrong in (without, document(dossier, anna, type="99999-9")):
        answer = anna.post("DocumentReference", wrong)
        assert (answer.status_code, places(answer)) == (422, ["DocumentReference.type"])
    nobodys = {name: part for name, part in value.items() if name != "subject"}
    answer = anna.post("DocumentReference", nobodys)
    assert (answer.status_code, places(answer)) == (422, ["DocumentReference.subject"])
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [posted(nobodys, "urn:uuid:00000000-0000-4000-8000-00000000d000")]}
    assert anna.post("", bundle).status_code == 422
    assert refused(world.professional(specialty=GENERALIST).post("DocumentReference", document(dossier, anna, type=LABORATORY)))


def test_who_is_blocked_is_not_told_what_is_missing(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "block", anna)
    assert refused(anna.post("DocumentReference", document(dossier, anna, type="99999-9")))


def test_the_ins_alone_says_whose_a_deposit_is(world):
    dossier, anna = world.open(), world.professional()
    named = {"identifier": {"system": INS, "value": dossier.ins}}
    made = anna.post("DocumentReference", document(dossier, anna, subject=named))
    assert made.status_code == 201, made.text
    assert made.json()["subject"] == {"reference": dossier.path, **named}
    bundle = submission(dossier, anna, document(dossier, anna))
    for entry in bundle["entry"]:
        if "subject" in entry["resource"]:
            entry["resource"]["subject"] = named
    (id,) = stored(anna.post("", bundle), "DocumentReference")
    assert {one["id"] for one in listed(world.holder(dossier), dossier, "DocumentReference")} == {id, made.json()["id"]}
    nobody = {"identifier": {"system": INS, "value": "299999999999989"}}
    assert refused(anna.post("DocumentReference", document(dossier, anna, subject=nobody)))


# ---- operations


def test_documents_are_not_made_on_demand(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna)
    assert anna.get(f"DocumentReference/$docref?patient={dossier.id}&on-demand=true").status_code == 400


def test_a_professional_matches_among_those_he_reads(world):
    dossier, anna = world.open(), world.professional()
    asked = {"resourceType": "Patient", "identifier": [{"system": INS, "value": dossier.ins}]}
    assert anna.post("Patient/$match", asked).json()["total"] == 0
    world.consent(dossier, "access", anna)
    found = anna.post("Patient/$match", parameters(resource=asked)).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [dossier.id]
    assert anna.post("Patient/$match", parameters(resource=asked, onlyCertainMatches=True)).status_code == 200
    assert world.holder(dossier).post("Patient/$match", asked).status_code == 403
    assert world.operator().post("Patient/$match", asked).json()["total"] == 1


def test_opening_nobody_says_what_is_missing(world):
    for body in ({"resourceType": "Parameters"}, parameters(someone=patient(INS))):
        answer = world.professional().post("Patient/$open", body)
        assert answer.status_code == 400
        assert "`patient`" in answer.text or "`someone`" in answer.text


# ---- what is derived is found


def test_a_document_is_found_by_the_class_of_its_type(world):
    dossier, anna = world.open(traitant=(traitant := world.professional())), world.professional()
    silent = world.deposit(dossier, anna)
    said = world.deposit(dossier, anna, category=[{"coding": [{"system": CLASSES, "code": "11"}]}])
    imaging = world.deposit(dossier, anna, type="18748-4")

    def found(criteria: str) -> set[str]:
        answer = traitant.get(f"DocumentReference?patient={dossier.id}&{criteria}").json()
        assert answer["total"] == len(answer.get("entry", ()))
        return {entry["resource"]["id"] for entry in answer.get("entry", ())}

    assert found("category=10") == found(f"category={CLASSES}|10") == {silent["id"]}
    assert found("category=11") == {said["id"]}
    assert found("category=31,11") == {said["id"], imaging["id"]}
    assert found("category:not=10") == {said["id"], imaging["id"]}
    assert found("category=urn:oid:1.2.3|10") == set()
    assert traitant.get(f"DocumentReference?patient={dossier.id}&category=10&_summary=count").json()["total"] == 1
    holder = world.holder(dossier)
    assert holder.patch(f"DocumentReference/{silent['id']}", MASK).status_code == 200
    world.consent(dossier, "access", nora := world.professional())
    assert nora.get(f"DocumentReference?patient={dossier.id}&category=10").json()["total"] == 0


def test_what_says_nothing_of_the_archive_is_not_archived(world):
    dossier, anna = world.open(), world.professional()
    silent = world.deposit(dossier, anna)
    away = world.deposit(dossier, anna, extension=[{"url": ARCHIVED, "valueBoolean": True}])
    for text, expected in (("false", silent), ("true", away)):
        assert [one["id"] for one in listed(anna, dossier, "DocumentReference", isArchived=text)] == [expected["id"]]
    stored(anna.post("", submission(dossier, anna, document(dossier, anna))), "List")
    assert len(listed(anna, dossier, "List", isArchived="false")) == 1
    assert listed(anna, dossier, "List", isArchived="true") == []


# ---- traces of refusals


def journal(asker, dossier, document_id: str) -> list[dict]:
    answer = asker.get(f"AuditEvent?patient={dossier.id}&entity=DocumentReference/{document_id}")
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", ())]


def failures(traces: list[dict]) -> list[tuple[str, str]]:
    return [(one["subtype"][0]["code"], one["outcome"]) for one in traces if one["outcome"] != "0"]


def test_a_refusal_names_what_was_asked_for_to_those_who_may_know(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    masked = world.deposit(dossier, anna)
    holder = world.holder(dossier)
    holder.patch(f"DocumentReference/{masked['id']}", MASK)
    assert nora.get(f"DocumentReference/{masked['id']}").status_code == 404
    assert failures(journal(holder, dossier, masked["id"])) == [("AuthZ-Consent", "8")]
    assert failures(listed(nora, dossier, "AuditEvent")) == []


def test_a_fault_of_the_request_is_no_alert(world):
    dossier, anna = world.open(), world.professional()
    made = world.deposit(dossier, anna)
    assert anna.patch(f"DocumentReference/{made['id']}", [{"op": "add", "path": "/description", "value": "autre"}]).status_code == 405
    assert failures(journal(world.holder(dossier), dossier, made["id"])) == [("patch", "4")]


def test_a_refusal_within_a_batch_is_traced(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    made = world.deposit(dossier, anna)
    entry = {"request": {"method": "GET", "url": f"DocumentReference/{made['id']}"}}
    answer = nora.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert answer.json()["entry"][0]["response"]["status"].startswith("404")
    assert failures(journal(world.holder(dossier), dossier, made["id"])) == [("AuthZ-Consent", "8")]


def test_a_batch_is_told_in_the_order_of_its_entries(world):
    """Whichever ends first: two hosts with one history keep one journal."""
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna)
    made = [world.deposit(dossier, anna)["id"] for _ in range(3)]
    slow = f"Patient/{dossier.id}/$everything?_type=Provenance"
    urls = [slow, *(f"DocumentReference?patient={dossier.id}&_id={id}" for id in reversed(made))]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    told = anna.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [one["response"]["status"][:3] for one in told.json()["entry"]] == ["200"] * 4
    (trace,) = listed(world.holder(dossier), dossier, "AuditEvent", entity=f"DocumentReference/{made[0]}", subtype="batch")
    named = [one["what"].get("reference", "").partition("/_history")[0] for one in trace["entity"]]
    assert [one for one in named if one.startswith("DocumentReference")] == [f"DocumentReference/{id}" for id in reversed(made)]
    assert max(place for place, one in enumerate(named) if one.startswith("Provenance")) < named.index(f"DocumentReference/{made[-1]}")


# ---- changes


FORBIDDEN = (
    [{"op": "replace", "path": "/type/text", "value": "x"}],
    [{"op": "remove", "path": "/description"}],
    [{"op": "replace", "path": "/context/period", "value": {}}],
    {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "DocumentReference.description"},
                    {"name": "value", "valueString": "x"},
                ],
            }
        ],
    },
)


@pytest.mark.parametrize("change", FORBIDDEN, ids=range(len(FORBIDDEN)))
def test_an_absent_element_that_does_not_change_is_405_like_one_that_is_there(world, change):
    anna, dossier = world.professional(), world.open()
    made = world.deposit(dossier, anna)
    answer = anna.patch(f"DocumentReference/{made['id']}", change)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PATCH"), answer.text
    fails = [{"op": "test", "path": "/type/text", "value": "x"}]
    assert anna.patch(f"DocumentReference/{made['id']}", fails).status_code == 422


# ---- what Consents name


@pytest.mark.parametrize("hiding", [None, "INVISIBLE_PATIENT"])
def test_a_consent_names_what_is_there_for_who_writes_it(world, hiding):
    """A document hidden from the holder is answered as one that never was."""
    anna, dossier = world.professional(), world.open()
    holder = world.holder(dossier)
    id = world.deposit(dossier, anna, labels=(hiding,))["id"] if hiding else "c" * 26

    def asked(id: str):
        return holder.post(
            "Consent", consent(dossier, "mask", data=[{"meaning": "instance", "reference": {"reference": f"DocumentReference/{id}"}}])
        )

    answer, absent = asked(id), asked("b" * 26)
    assert absent.status_code == 422 and places(absent) == ["Consent.provision.data[0].reference"]
    assert (answer.status_code, answer.text.replace(id, "b" * 26)) == (422, absent.text)
    assert asked(world.deposit(dossier, anna)["id"]).status_code == 201
    nobody = consent(dossier, "access", anna, performer={"reference": "Patient/" + "b" * 26})
    assert places(holder.post("Consent", nobody)) == ["Consent.performer[0]"]


# ---- references by identifier alone


def test_a_reference_by_identifier_tells_nothing_of_what_it_may_name(world):
    """It is shown as it was sent, whether a hidden document has that identifier or none: to take it out would tell that there is one."""
    traitant, team = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.write(world.holder(dossier), care_team(dossier, team))
    masked = world.deposit(dossier, traitant, masterIdentifier={"system": "urn:x-local", "value": f"M{dossier.id}"})
    assert world.holder(dossier).patch(f"DocumentReference/{masked['id']}", MASK).status_code == 200
    shown = []
    for value in (f"M{dossier.id}", f"N{dossier.id}"):
        detail = {"type": "DocumentReference", "identifier": {"system": "urn:x-local", "value": value}}
        condition = {"resourceType": "Condition", "subject": {"reference": dossier.path}, "evidence": [{"detail": [detail]}]}
        made = world.write(traitant, condition)
        shown.append(team.get(f"Condition/{made['id']}").json()["evidence"] == condition["evidence"])
    assert shown == [True, True]


# ---- what tells of something hidden in other words


def test_a_reference_under_another_address_of_the_host_is_one_too(world):
    """Whoever asks by another name of the host is not shown what is hidden from him."""
    traitant, team = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.write(world.holder(dossier), care_team(dossier, team))
    masked = world.deposit(dossier, traitant)
    related = {"reference": f"{world.server.fhir}/DocumentReference/{masked['id']}"}
    other = world.deposit(dossier, traitant, context={"related": [related]})
    assert world.holder(dossier).patch(f"DocumentReference/{masked['id']}", MASK).status_code == 200
    for host in ("", "localhost:1234", "elsewhere.example"):
        team.extra = {"host": host} if host else {}
        for path in (f"DocumentReference/{other['id']}", f"DocumentReference?patient={dossier.id}", f"{dossier.path}/$everything"):
            answer = team.get(path)
            assert answer.status_code == 200 and other["id"] in answer.text and masked["id"] not in answer.text, (host, path)


def test_why_somebody_does_not_see_a_document_does_not_tell_that_he_wrote_another(world):
    traitant, author, stranger = world.professional(), world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.deposit(dossier, author, labels=("INVISIBLE_PATIENT",))
    reference = {"reference": f"DocumentReference/{world.deposit(dossier, traitant)['id']}"}
    found = [
        world.holder(dossier).run(f"{dossier.path}/$explain-access", professional=f"{RPPS}|{one.rpps}", document=reference).json()
        for one in (author, stranger)
    ]
    assert found[0]["parameter"] and found[0] == found[1]


def test_the_journal_of_the_holder_does_not_say_what_was_wrong_with_a_request(world):
    """It may speak of what he does not see."""
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    assert traitant.get(f"DocumentReference?patient={dossier.id}&nosuch=1").status_code == 400
    failed = {
        one.kind: [event for event in listed(one, dossier, "AuditEvent") if event["outcome"] == "4"]
        for one in (world.holder(dossier), traitant)
    }
    assert failed["professional"][0]["outcomeDesc"].startswith("400")
    assert failed["patient"] and all("outcomeDesc" not in event for event in failed["patient"])


# ---- what a trace would tell of something hidden


@pytest.fixture
def hidden(world):
    """A dossier, the author of what is hidden from its holder, that document, and how many traces the holder is told of since."""
    author, dossier = world.professional(), world.open()
    id = world.deposit(dossier, author, labels=("INVISIBLE_PATIENT",))["id"]
    looks = [len(listed(world.holder(dossier), dossier, "AuditEvent"))]

    def told() -> int:
        looks.append(len(listed(world.holder(dossier), dossier, "AuditEvent")))
        return looks[-1] - looks[-2] - 1  # without his own look at the journal

    return dossier, author, id, told


def batch(*urls: str, kind: str = "batch") -> dict:
    return {"resourceType": "Bundle", "type": kind, "entry": [{"request": {"method": "GET", "url": url}} for url in urls]}


def test_an_operation_on_a_hidden_document_is_as_hidden_as_reading_it(world, hidden):
    dossier, author, id, told = hidden
    for operation in ("$verify", "$meta"):
        assert author.get(f"DocumentReference/{id}/{operation}").status_code == 200, operation
    assert author.run(f"DocumentReference/{id}/$validate", mode="delete").status_code == 200
    stranger = world.professional()
    for mode in ("delete", "profile"):
        assert stranger.post(f"DocumentReference/{id}/$validate", parameters(mode=mode)).status_code < 500
    asked = {"professional": f"{RPPS}|{author.rpps}", "document": {"reference": f"DocumentReference/{id}"}}
    assert author.run(f"{dossier.path}/$explain-access", **asked).status_code == 200
    assert told() == 0


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_that_reads_a_hidden_document_alone_is_as_hidden_as_reading_it(world, hidden, kind):
    dossier, author, id, told = hidden
    answer = author.post(
        "", batch(f"DocumentReference/{id}", f"DocumentReference/{id}/_history", f"DocumentReference/{id}/$meta", kind=kind)
    )
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["200"] * 3
    assert told() == 0
    world.consent(dossier, "access", author)
    told()
    both = batch(f"DocumentReference/{id}", f"DocumentReference?patient={dossier.id}", kind=kind)
    assert author.post("", both).status_code == 200
    assert told() == 1
    mine = [event["subtype"][0]["code"] for event in listed(author, dossier, "AuditEvent", entity=f"DocumentReference/{id}")]
    assert sorted(mine) == sorted(["create", "read", "history-instance", "operation", "read", kind])


def test_a_refusal_because_of_the_labels_asked_for_is_not_told_to_whom_they_would_hide_it_from(world):
    dossier, author = world.open(), world.professional()
    for labels, seen in ((("MASQUE_PS",), 1), (("INVISIBLE_PATIENT",), 0)):
        before = len(listed(world.holder(dossier), dossier, "AuditEvent"))
        value = document(dossier, world.professional(), labels=labels)
        assert author.post("DocumentReference", value).status_code == 422  # the depositor is not among the authors
        assert author.post("", submission(dossier, author, value)).status_code == 422
        assert len(listed(world.holder(dossier), dossier, "AuditEvent")) == before + 1 + 2 * seen, labels


def test_what_a_conditional_reference_finds_is_told_as_read(world):
    dossier, author = world.open(), world.professional()
    world.consent(dossier, "access", author)
    found = world.deposit(dossier, world.professional())
    value = document(dossier, author, context={"related": [{"reference": f"DocumentReference?_id={found['id']}&patient={dossier.id}"}]})
    assert author.post("", submission(dossier, author, value)).status_code == 200
    assert "read" in [event["subtype"][0]["code"] for event in journal(world.holder(dossier), dossier, found["id"])]
