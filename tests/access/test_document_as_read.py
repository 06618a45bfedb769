"""Composition/[id]/$document shows each what he reads of the Composition and of what it names.

https://hl7.org/fhir/R4/composition-operation-document.html ; access-rules 4: what is withdrawn, author and holder read by id
"""

from tests.access.test_written_back import observed, to
from tests.access.world import LOINC, now


def composed(world, dossier, by, *addresses: str) -> str:
    kind = {"coding": [{"system": LOINC, "code": "11488-4"}]}
    value = {"resourceType": "Composition", "status": "final", "type": kind, "date": now(), "title": "t", "author": [by.reference]}
    section = [{"title": "s", "entry": [to(one) for one in addresses]}]
    return f"Composition/{world.write(by, {**value, 'subject': to(dossier.path), 'section': section})['id']}"


def kinds(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return sorted(entry["resource"]["resourceType"] for entry in answer.json()["entry"])


def test_a_document_shows_what_was_withdrawn_to_whom_reads_it_by_its_id(world):
    anna, bruno, dossier = world.professional(), world.professional(), world.open()
    world.consent(dossier, "access", anna)
    world.consent(dossier, "access", bruno)
    holder, where = world.holder(dossier), observed(world, dossier, anna)
    path = f"{composed(world, dossier, anna, where, observed(world, dossier, anna))}/$document"
    every = ["Composition", "Observation", "Observation", "Patient"]
    assert [kinds(by.get(path)) for by in (anna, bruno, holder)] == [every] * 3
    assert anna.put(where, {**anna.get(where).json(), "status": "entered-in-error"}).status_code == 200
    assert [by.get(where).status_code for by in (anna, bruno, holder)] == [200, 404, 200]
    assert kinds(bruno.get(path)) == ["Composition", "Observation", "Patient"]
    assert [kinds(by.get(path)) for by in (anna, holder)] == [every] * 2


def test_an_author_whom_nothing_else_lets_in_has_his_document_without_the_patient(world):
    anna, dossier = world.professional(), world.open()
    where = composed(world, dossier, anna, observed(world, dossier, anna))
    assert anna.get(dossier.path).status_code == 403
    answer = anna.get(f"{where}/$document")
    assert kinds(answer) == ["Composition", "Observation"]
    assert answer.json()["entry"][0]["resource"]["subject"] == to(dossier.path)
