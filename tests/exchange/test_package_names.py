"""Who is named by an entry of the directory goes with the dossier, by whatever name of this host the reference was written."""

from dataclasses import replace

import pytest

from fhir_dmp.consent.asking import asking
from fhir_dmp.interactions import enforcement
from fhir_dmp.interactions.enforcement import Enforcer
from tests.access.world import RPPS, consent, document

FIRST, SECOND, THIRD = range(3)


@pytest.fixture(params=["Practitioner", "https://dmp.formerly.test/fhir/Practitioner", "this host"])
def address(request, two):
    """What comes before the id of an entry of the directory at the first host."""
    return f"{two.world.server.fhir}/Practitioner" if request.param == "this host" else request.param


def entered(two, who, address):
    """A reference to the entry of a professional."""
    entry = {"resourceType": "Practitioner", "identifier": [{"system": RPPS, "value": who.rpps}], "name": [{"family": "LESTRELIN"}]}
    return {"reference": f"{address}/{two.world.write(two.world.operator(), entry)['id']}"}


async def met(two, place, number, who, document):
    """The rule by which a professional reads a document at a host, or does not. document: its id at the first host."""
    store, context = two.stores[place], two.plain(place)
    actor = await two.world.tokens.verify(two.world.token("professional", who.claims), context.now_ms())
    known = await enforcement.known(replace(context, enforcer=Enforcer(asking(actor))), number)
    return known.reading(await store.load(two.stores[FIRST].vault.locate("DocumentReference", document))).rule


def test_who_is_blocked_is_so_at_every_host_that_the_dossier_comes_to(two, address):
    world = two.world
    dossier, anna, blocked = world.open(), world.professional(), world.professional(organization="750000003")
    made = world.deposit(dossier, anna)["id"]
    world.consent(dossier, "access", blocked)
    world.consent(dossier, "block", entered(two, blocked, address))

    async def moved():
        number, patient = two.stores[FIRST].vault.dossier_of_patient(dossier.id), dossier.id
        found = [await met(two, FIRST, number, blocked, made)]
        for giver, taker in ((FIRST, SECOND), (SECOND, THIRD), (THIRD, FIRST)):
            patient = await two.move(giver, taker, patient)
            found.append(await met(two, taker, number, blocked, made))
        assert patient == dossier.id
        return found

    assert two.runner.run(moved()) == ["blocked"] * 4
    # And the policy is compiled from what came, not only carried.
    assert world.holder(dossier).post("Consent", consent(dossier, "access", anna)).status_code == 201
    assert blocked.get(f"DocumentReference/{made}").status_code == 404


def test_an_author_whom_the_directory_alone_names_goes_with_his_document(two, address):
    world = two.world
    dossier, author = world.open(), world.professional(organization="750000003")
    deposited = document(dossier, author) | {"author": [entered(two, author, address)]}
    made = world.write(world.structure(), deposited)["id"]

    async def moved():
        number = two.stores[FIRST].vault.dossier_of_patient(dossier.id)
        await two.move(FIRST, SECOND, dossier.id)
        return await met(two, SECOND, number, author, made)

    assert two.runner.run(moved()) == "author"
