"""The seal of something from which a reference is taken out is over what its reader is shown: another digest would tell of it."""

import pytest

from fhir_dmp.signing import seal
from tests.access.test_deposits import submission
from tests.access.world import VISIBILITY, document, listed
from tests.signing.test_host_seals import seals, statement
from tests.signing.test_verify import verified

MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


def proof(by, dossier, address: str) -> dict:
    """The seal of something, which is read as it is found."""
    (found,) = seals(by, dossier, target=address)
    for path in (f"Provenance/{found['id']}", f"Provenance/{found['id']}/_history/{found['meta']['versionId']}"):
        assert by.get(path).json() == found
    return found


def holds(world, by, dossier, address: str) -> bool:
    """Whether the seal that somebody is shown is over what he is shown."""
    body = by.get(address).content
    return seal.digest(body) == statement(world, proof(by, dossier, address)).what[0].sha256


@pytest.mark.parametrize("late", [False, True])
def test_a_document_that_names_a_hidden_one_is_sealed_as_it_is_seen(world, late):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    world.consent(dossier, "access", bruno)
    hidden = world.deposit(dossier, anna)
    related = {"related": [{"reference": f"DocumentReference/{hidden['id']}"}]}
    where = f"DocumentReference/{world.deposit(dossier, anna, context=related)['id']}"
    before = proof(anna, dossier, where)
    assert proof(bruno, dossier, where) == before and holds(world, bruno, dossier, where)
    assert holder.patch(f"DocumentReference/{hidden['id']}", MASK).status_code == 200
    if late:
        assert holder.patch(where, MASK).status_code == 200
        place = [one["coding"][0]["code"] for one in holder.get(where).json()["securityLabel"]].index("MASQUE_PS")
        assert holder.patch(where, [{"op": "remove", "path": f"/securityLabel/{place}"}]).status_code == 200
    assert "related" not in bruno.get(where).text and holds(world, bruno, dossier, where)
    seen = proof(bruno, dossier, where)
    assert seen != before and seen["signature"][0]["when"] == seen["recorded"] == statement(world, seen).at
    assert (seen["recorded"] != before["recorded"]) == late
    assert proof(anna, dossier, where) == proof(holder, dossier, where) == before
    assert [verified(by, where)[0]["seal"] for by in (anna, bruno)] == ["passed"] * 2


def test_a_list_of_which_somebody_sees_a_part_is_sealed_as_he_sees_it(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    sent = [document(dossier, anna, labels=labels) for labels in ((), ("INVISIBLE_PATIENT",))]
    assert anna.post("", submission(dossier, anna, *sent)).status_code == 200
    for by, entries in ((anna, 2), (holder, 1)):
        (found,) = listed(by, dossier, "List")
        assert len(found["entry"]) == entries and holds(world, by, dossier, f"List/{found['id']}")
