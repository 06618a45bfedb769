"""What is withdrawn by a PUT of its author is so with its seals, and comes back with them; access-rules 4."""

import pytest

from tests.access.test_restore import allergy, entered_in_error, observation
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
