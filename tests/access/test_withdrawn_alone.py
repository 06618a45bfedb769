"""What is withdrawn by a PUT of its author is so with its seals, and comes back with them; access-rules 4."""

import pytest

from tests.access.test_restore import WITHDRAW, allergy, entered_in_error, observation, working_list
from tests.access.world import document, listed
from tests.interactions.making import bundle, entry


@pytest.fixture
def seen(world):
    """(dossier, its author, somebody else who sees it)."""
    anna, bob, dossier = world.professional(), world.professional(organization="750000002"), world.open()
    for one in (anna, bob):
        world.consent(dossier, "access", one)
    return dossier, anna, bob


def told(by, dossier, resource: dict) -> tuple[int, int]:
    """Of a resource: whether somebody reads it, and how much vouches for it."""
    address = f"{resource['resourceType']}/{resource['id']}"
    return by.get(address).status_code, len(listed(by, dossier, "Provenance", target=address))


@pytest.mark.parametrize("kind", [observation, allergy])
def test_its_seals_go_and_come_back_with_it(world, seen, kind):
    dossier, anna, bob = seen
    one = world.write(anna, kind(dossier, anna))
    address = f"{one['resourceType']}/{one['id']}"
    assert anna.put(address, one).status_code == 200
    assert told(bob, dossier, one) == (200, 2)
    assert anna.put(address, entered_in_error(one)).status_code == 200
    assert told(bob, dossier, one) == (404, 0)
    assert [anna.get(address).status_code, world.holder(dossier).get(address).status_code] == [200, 200]
    assert anna.put(address, one).status_code == 200
    assert told(bob, dossier, one) == (200, 4)


def test_the_seal_of_the_document_that_it_came_with_stays(world, seen):
    dossier, anna, bob = seen
    came = [document(dossier, anna), observation(dossier, anna)]
    urls = [f"urn:uuid:00000000-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    came[0]["context"] = {"related": [{"reference": urls[1]}]}
    answer = anna.post(
        "", bundle("transaction", *(entry("POST", one["resourceType"], one, url) for one, url in zip(came, urls, strict=True)))
    )
    assert answer.status_code == 200, answer.text
    letter, one = (anna.get("/".join(each["response"]["location"].split("/")[-4:-2])).json() for each in answer.json()["entry"])
    assert anna.put(f"Observation/{one['id']}", one).status_code == 200
    before = told(bob, dossier, letter)
    assert before[0] == 200 and before[1] and told(bob, dossier, one) == (200, 2)
    assert anna.put(f"Observation/{one['id']}", entered_in_error(one)).status_code == 200
    assert told(bob, dossier, letter) == before
    assert told(bob, dossier, one) == (404, 0)
    for each in listed(bob, dossier, "Provenance"):
        assert f"Observation/{one['id']}" not in str(each["target"])


BACK = [{"op": "replace", "path": "/status", "value": "current"}]


def test_a_list_goes_and_comes_back_with_its_seals_and_leaves_its_documents(world, seen):
    dossier, anna, bob = seen
    letters = [world.deposit(dossier, anna) for _ in range(2)]
    one = world.write(anna, working_list(dossier, anna, *letters))
    address = f"List/{one['id']}"
    before = [told(bob, dossier, letter) for letter in letters]
    assert told(bob, dossier, one) == (200, 1)
    assert anna.patch(address, WITHDRAW).status_code == 200
    assert told(bob, dossier, one) == (404, 0) and listed(bob, dossier, "List") == []
    assert [told(bob, dossier, letter) for letter in letters] == before
    assert [anna.get(address).status_code, world.holder(dossier).get(address).status_code] == [200, 200]
    assert anna.patch(address, BACK).status_code == 200
    assert told(bob, dossier, one) == (200, 3) and len(listed(bob, dossier, "List")) == 1


def test_a_list_is_brought_back_with_none_of_its_documents_that_are_withdrawn(world, seen):
    dossier, anna, bob = seen
    gone, there = (world.deposit(dossier, anna) for _ in range(2))
    lists = [world.write(anna, working_list(dossier, anna, *those)) for those in ((gone,), (gone, there))]
    addresses = [f"List/{one['id']}" for one in lists]
    assert [anna.patch(address, WITHDRAW).status_code for address in addresses] == [200, 200]
    assert anna.patch(f"DocumentReference/{gone['id']}", WITHDRAW).status_code == 200
    assert [anna.patch(address, BACK).status_code for address in addresses] == [200, 200]
    assert [told(bob, dossier, one) for one in lists] == [(404, 0), (200, 3)]
    assert anna.patch(f"DocumentReference/{there['id']}", WITHDRAW).status_code == 200
    assert [told(bob, dossier, one) for one in lists] == [(404, 0), (404, 0)]


def test_a_list_that_comes_withdrawn_is_so(world, seen):
    dossier, anna, bob = seen
    one = world.write(anna, {**working_list(dossier, anna, world.deposit(dossier, anna)), "status": "entered-in-error"})
    assert told(bob, dossier, one) == (404, 0)


def test_a_document_that_is_brought_back_leaves_what_is_withdrawn_by_itself(world, seen):
    dossier, anna, bob = seen
    letter = world.deposit(dossier, anna)
    one = world.write(anna, working_list(dossier, anna, letter))
    addresses = [f"List/{one['id']}", f"DocumentReference/{letter['id']}"]
    before = told(bob, dossier, letter)
    assert [anna.patch(address, WITHDRAW).status_code for address in addresses] == [200, 200]
    assert anna.patch(addresses[1], BACK).status_code == 200
    assert told(bob, dossier, letter)[0] == before[0] == 200
    assert told(bob, dossier, one) == (404, 0)
    assert anna.patch(addresses[0], BACK).status_code == 200
    assert told(bob, dossier, one) == (200, 3)
