"""A List that names what its reader does not see answers him as if it named that no more, whatever he does with it. Access-rules 6."""

import pytest

from tests.access.test_deposits import stored, submission
from tests.access.test_life import close
from tests.access.test_restore import working_list
from tests.access.test_secret_deposits import CHANGES, HIDE, in_secret, secretly
from tests.access.test_withdrawn_alone import BACK
from tests.access.world import VISIBILITY, document, listed, refused

RETIRED, ARCHIVED, WITHDRAWN = (CHANGES[how] for how in ("retired", "archived", "withdrawn"))
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


def of_two(world, dossier, *authors) -> tuple[list[dict], str]:
    """Two documents, each by its author, and the address of a List that the latter one deposited."""
    made = [world.deposit(dossier, one) for one in authors]
    return made, f"List/{world.write(authors[-1], working_list(dossier, authors[-1], *made))['id']}"


def names(asker, address: str) -> list[str]:
    answer = asker.get(address)
    assert answer.status_code == 200, answer.text
    return [entry["item"]["reference"] for entry in answer.json()["entry"]]


@pytest.fixture
def lot(world):
    """(dossier, two documents, address of their List, who sees all of it until something is hidden)."""
    anna, quentin, nora, dossier = world.professional(), world.professional(), world.professional(), world.open()
    for one in (anna, quentin, nora):
        world.consent(dossier, "access", one)
    return dossier, *of_two(world, dossier, anna, quentin), nora


def test_a_masked_document_does_not_keep_a_professional_from_changing_its_list(world, lot):
    dossier, (first, second), address, nora = lot
    holder = world.holder(dossier)
    assert holder.patch(f"DocumentReference/{second['id']}", MASK).status_code == 200
    assert names(nora, address) == [f"DocumentReference/{first['id']}"]
    answer = nora.patch(address, RETIRED)
    assert answer.status_code == 200 and len(answer.json()["entry"]) == 1
    # Nothing is lost of what he does not see, and what he may not do he may not.
    assert len(names(holder, address)) == 2 and holder.get(address).json()["status"] == "retired"
    assert [nora.patch(address, change).status_code for change in (ARCHIVED, WITHDRAWN)] == [403, 403]


def test_a_document_that_the_holder_does_not_see_does_not_keep_him_from_archiving_its_list(world):
    anna, dossier = world.professional(), world.open()
    sent = [document(dossier, anna), document(dossier, anna, labels=("INVISIBLE_PATIENT",))]
    (address,) = stored(anna.post("", submission(dossier, anna, *sent)), "List")
    holder = world.holder(dossier)
    assert len(names(holder, f"List/{address}")) == 1
    answer = holder.patch(f"List/{address}", ARCHIVED)
    assert answer.status_code == 200 and len(answer.json()["entry"]) == 1
    assert len(names(anna, f"List/{address}")) == 2


def test_a_document_that_parents_do_not_see_does_not_keep_them_from_archiving_its_list(world):
    anna, dossier = world.professional(), world.open(age=15, people=("MTH",))
    made, address = of_two(world, dossier, anna, anna)
    child, mother = world.holder(dossier, beside=world.professional()), world.representative(dossier)
    assert child.patch(f"DocumentReference/{made[1]['id']}", HIDE).status_code == 200
    assert len(names(mother, address)) == 1
    answer = mother.patch(address, ARCHIVED)
    assert answer.status_code == 200 and len(answer.json()["entry"]) == 1


def test_a_withdrawn_document_does_not_keep_the_medecin_traitant_from_archiving_its_list(world):
    anna, traitant = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    made, address = of_two(world, dossier, anna, anna)
    assert anna.patch(f"DocumentReference/{made[1]['id']}", WITHDRAWN).status_code == 200
    assert len(names(traitant, address)) == 1
    assert traitant.patch(address, ARCHIVED).status_code == 200


def test_whoever_sees_nothing_but_his_own_of_a_list_withdraws_it_and_brings_it_back(world):
    nora, quentin, dossier = world.professional(), world.professional(), world.open()
    for one in (nora, quentin):
        world.consent(dossier, "access", one)
    made, address = of_two(world, dossier, nora, quentin)
    holder = world.holder(dossier)
    assert nora.patch(address, WITHDRAWN).status_code == 403
    assert holder.patch(f"DocumentReference/{made[1]['id']}", MASK).status_code == 200
    for change, status, found in ((WITHDRAWN, "entered-in-error", 0), (BACK, "current", 1)):
        assert nora.patch(address, change).status_code == 200
        assert holder.get(address).json()["status"] == status and len(listed(holder, dossier, "List")) == found
    assert len(names(holder, address)) == 2 and len(names(quentin, address)) == 2
    assert holder.get(f"DocumentReference/{made[1]['id']}").json()["status"] == "current"


def test_in_a_secret_session_a_list_is_judged_by_what_is_seen_of_it(world):
    traitant, anna, nora = world.professional(), world.professional(), world.professional()
    dossier = world.open(age=15, traitant=traitant, people=("MTH",))
    for one in (anna, nora):
        world.consent(dossier, "access", one, by=world.representative(dossier))
    made, address = of_two(world, dossier, anna, anna)
    child, mother = world.holder(dossier, beside=world.professional()), world.representative(dossier)
    secret = secretly(world, nora)
    assert in_secret(secret.patch(address, RETIRED))
    assert child.patch(f"DocumentReference/{made[0]['id']}", HIDE).status_code == 200
    assert in_secret(secret.patch(address, RETIRED))  # the parents see the other one
    assert mother.patch(f"DocumentReference/{made[1]['id']}", MASK).status_code == 200
    assert len(names(nora, address)) == 1
    assert secret.patch(address, RETIRED).status_code == 200


@pytest.mark.parametrize("hidden", [None, 0, 1])
def test_what_is_done_with_a_list_is_told_to_whoever_sees_one_of_its_documents(world, hidden):
    """Whichever of them comes first: that it was written, and what was asked for in vain."""
    anna, dossier = world.professional(), world.open()
    labels = [("INVISIBLE_PATIENT",) if place == hidden else () for place in range(2)]
    made = [world.deposit(dossier, anna, labels=one) for one in labels]
    address = f"List/{world.write(anna, working_list(dossier, anna, *made))['id']}"
    holder, nonsense = world.holder(dossier), [{"op": "test", "path": "/status", "value": "nonsense"}]
    changes = (nonsense, [{"op": "remove", "path": "/entry/0"}], WITHDRAWN, ARCHIVED)
    assert [holder.patch(address, change).status_code for change in changes] == [422, 405, 403, 200]
    assert anna.patch(address, RETIRED).status_code == 200
    told = listed(holder, dossier, "AuditEvent", entity=address)
    assert len(told) == len(changes) + 2


def test_a_list_is_written_in_an_open_dossier_by_those_who_may_write_in_it(world):
    anna, nora, dossier, other = world.professional(), world.professional(), world.open(), world.open()
    world.consent(dossier, "access", nora)
    made = [world.deposit(dossier, anna) for _ in range(2)]
    holder, sent = world.holder(dossier), working_list(dossier, anna, *made)
    for by in (anna, nora, holder):
        assert by.post("List", sent).status_code == 201
    blank = world.professional()
    unknown = blank.post("List", {**sent, "subject": {"reference": f"Patient/{'a' * 26}"}})
    for by in (blank, world.operator("physician", "T1"), world.support(), world.structure(), world.holder(other)):
        answer = by.post("List", sent)
        assert refused(answer) or (by.kind == "structure" and answer.status_code == 422), (by.kind, answer.text)
    assert blank.post("List", sent).content == unknown.content
    assert close(world.operator(), dossier, "rights-lost").status_code == 200
    assert len(listed(holder, dossier, "List")) == 3
    assert all(refused(by.post("List", sent)) for by in (holder, nora, anna))
    assert close(holder, dossier).status_code == 200
    assert blank.post("List", sent).content == holder.post("List", sent).content == unknown.content


@pytest.mark.parametrize("masked", [False, True])
def test_nobody_changes_the_seal_of_the_host(world, masked):
    nora, quentin, dossier = world.professional(), world.professional(), world.open()
    for one in (nora, quentin):
        world.consent(dossier, "access", one)
    made, address = of_two(world, dossier, nora, *([quentin] if masked else []))
    if masked:
        assert world.holder(dossier).patch(f"DocumentReference/{made[1]['id']}", MASK).status_code == 200
    for about in (address, f"DocumentReference/{made[0]['id']}"):
        (seal,) = listed(nora, dossier, "Provenance", target=about)
        assert nora.put(f"Provenance/{seal['id']}", {**seal, "recorded": "2020-01-01T00:00:00Z"}).status_code == 403
        assert listed(nora, dossier, "Provenance", target=about) == [seal]
