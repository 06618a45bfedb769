"""Acts on rights at the same moment, and right after one another. I7: once it is acknowledged, nothing begun later discloses it"""

import asyncio

import httpx

from tests.access.test_consents import reads
from tests.access.test_deposits import posted
from tests.access.test_findings import observed
from tests.access.test_hidden_together import MASK
from tests.access.world import category, consent, listed, refused
from tests.interactions.making import JSON_PATCH


async def together(*calls):
    """Send requests at once; (asker, method, path, body)."""
    async with httpx.AsyncClient(timeout=120) as client:

        async def one(asker, method, path, body):
            headers = asker.headers(body, {"content_type": JSON_PATCH} if isinstance(body, list) else {})
            return await client.request(method, asker.url(path), json=body, headers=headers)

        return await asyncio.gather(*(one(*call) for call in calls))


async def test_of_emergency_consents_written_at_once_one_is_active(world):
    dossier = world.open()
    holder = world.holder(dossier)
    values = [consent(dossier, "emergency-regulation", permit=number % 2 == 0) for number in range(6)]
    answers = await together(*((holder, "POST", "Consent", value) for value in values))
    assert [answer.status_code for answer in answers] == [201] * 6
    active = [one for one in listed(holder, dossier, "Consent", status="active") if category(one) == "emergency-regulation"]
    assert len(active) == 1
    samu = world.professional(regulation=True, purpose="ETREAT")
    assert reads(samu, dossier) is (active[0]["provision"]["type"] == "permit")


async def test_no_right_is_lost_when_many_are_given_at_once(world):
    dossier = world.open()
    holder = world.holder(dossier)
    askers = [world.professional() for _ in range(8)]
    answers = await together(*((holder, "POST", "Consent", consent(dossier, "access", one)) for one in askers))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert all(reads(one, dossier) for one in askers)


async def test_a_block_and_an_emergency_access_at_once_leave_no_access(world):
    for _ in range(4):
        dossier, anna = world.open(), world.professional()
        body = {"resourceType": "Parameters", "parameter": [{"name": "justification", "valueString": "choc"}]}
        block = (world.holder(dossier), "POST", "Consent", consent(dossier, "block", anna))
        await together((anna, "POST", f"{dossier.path}/$break-glass", body), block)
        assert refused(anna.get(dossier.path))


async def test_closing_and_reading_at_once(world):
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    world.deposit(dossier, traitant)
    holder, path = world.holder(dossier), f"DocumentReference?patient={dossier.id}"
    closing = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueCode": "holder-request"}]}
    reading = [(traitant, "GET", path, None)] * 10
    answers = await together(*reading[:5], (holder, "POST", f"{dossier.path}/$close", closing), *reading[5:])
    assert answers[5].status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 403}
    assert refused(traitant.get(path))


async def test_of_two_closings_one_finds_it_closed(world):
    dossier = world.open()
    holder = world.holder(dossier)
    closing = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueCode": "holder-request"}]}
    answers = await together(*[(holder, "POST", f"{dossier.path}/$close", closing)] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_a_mask_reaches_what_is_deposited_at_the_same_moment(world):
    """What names a document takes its labels when it is decided on: a mask in between makes it decided on once more."""
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    holder = world.holder(dossier)
    for _ in range(6):
        made = world.deposit(dossier, anna)
        named = {**observed(dossier, "vital-signs"), "derivedFrom": [{"reference": f"DocumentReference/{made['id']}"}]}
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [posted(named, "urn:uuid:00000000-0000-4000-8000-000000000001")],
        }
        calls = [(anna, "POST", "Observation", named), (anna, "POST", "", bundle)] * 2
        masking = (holder, "PATCH", f"DocumentReference/{made['id']}", MASK)
        answers = await together(*calls[:2], masking, *calls[2:])
        assert answers[2].status_code == 200 and {one.status_code for one in answers} <= {200, 201}
        assert listed(team, dossier, "Observation") == []
