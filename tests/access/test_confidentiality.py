"""N, R and V say how confidential a document is to everybody who reads it, for good: an act like others. Access-rules 4 and 5."""

import pytest

SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def classify(asker, made: dict, code: str = "V") -> int:
    change = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": SYSTEM, "code": code}]}}]
    return asker.patch(f"DocumentReference/{made['id']}", change).status_code


def version(asker, made: dict) -> str:
    answer = asker.get(f"DocumentReference/{made['id']}")
    assert answer.status_code == 200, answer.text
    return answer.json()["meta"]["versionId"]


@pytest.fixture
def lot(world):
    """(dossier, a document, its author, the médecin traitant)."""
    author, traitant = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    return dossier, world.deposit(dossier, author), author, traitant


@pytest.mark.parametrize("who", ["author", "medecin-traitant", "gestionnaire"])
def test_who_answers_for_a_document_says_how_confidential_it_is(world, lot, who):
    dossier, made, author, traitant = lot
    asker = {"author": author, "medecin-traitant": traitant, "gestionnaire": world.holder(dossier)}[who]
    before = version(asker, made)
    assert classify(asker, made) == 200 and version(asker, made) != before


def test_who_merely_reads_it_does_not(world, lot):
    dossier, made, author, _ = lot
    allowed, urgent, ticket = world.professional(), world.professional(), world.operator("physician", "T1")
    world.consent(dossier, "access", allowed)
    assert urgent.run(f"{dossier.path}/$break-glass", justification="urgence").status_code == 200
    before = version(author, made)
    for asker in (allowed, urgent, ticket):
        assert version(asker, made) == before and classify(asker, made) == 403
    assert version(author, made) == before


def test_a_minor_beside_a_professional_does_not_either(world):
    author, dossier = world.professional(), world.open(age=15, people=("MTH",))
    made, child = world.deposit(dossier, author), world.holder(dossier, beside=world.professional())
    assert version(child, made) and classify(child, made) == 403
    assert classify(world.representative(dossier), made) == 200


@pytest.mark.parametrize("reason", ["rights-lost", "holder-request"])
def test_a_dossier_that_is_kept_is_read_only(world, lot, reason):
    dossier, made, _, _ = lot
    holder = world.holder(dossier)
    before, by = version(holder, made), world.operator() if reason == "rights-lost" else holder
    assert by.run(f"{dossier.path}/$close", reason=reason).status_code == 200
    assert version(holder, made) == before and classify(holder, made) == 403
    assert version(holder, made) == before


def test_what_else_one_request_asks_for_is_decided_too(world, lot):
    dossier, _, author, _ = lot
    made = world.deposit(dossier, author, labels=("INVISIBLE_PATIENT",))
    reader = world.professional()
    world.consent(dossier, "access", reader)
    announce = {"op": "remove", "path": "/securityLabel/1"}
    classed = {"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": SYSTEM, "code": "V"}]}}
    address = f"DocumentReference/{made['id']}"
    assert reader.patch(address, [announce, classed]).status_code == 403
    assert world.holder(dossier).get(address).status_code == 404
    assert reader.patch(address, [announce]).status_code == 200
    assert world.holder(dossier).get(address).status_code == 200
