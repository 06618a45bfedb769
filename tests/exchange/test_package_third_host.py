"""A dossier that goes on from the host that took it: what the first one left with it is proved to the third one by one."""

from base64 import b64decode
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import msgspec
import pytest

from fhir_dmp.audit import chain
from fhir_dmp.audit.checkpoint import opened
from fhir_dmp.bench.growth import open_dossiers
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts
from fhir_dmp.exchange.opening import judged
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import audit_proof, merging, origins
from fhir_dmp.store.records import Source
from fhir_dmp.store.takeover import versions
from tests.exchange.moving import NAMES, Played
from tests.exchange.test_package_property import STORY, lost

FIRST, SECOND, THIRD = range(3)
HOLDERS = count(1)


@pytest.fixture(params=["known", "unknown"])
def third(two, request):
    """The hosts; the third one has the card of the first one, or has it not."""
    two.introduced = request.param == "known"
    return two


@asynccontextmanager
async def as_known(two, place):
    """The other hosts as a host knows them; all records of hosts are those of one store here."""
    if two.introduced or place != THIRD:
        yield
        return
    source = await Source.get(NAMES[FIRST])
    rules = source.rules
    await source.update_fields(rules={name: one for name, one in rules.items() if name != "card"})
    try:
        yield
    finally:
        await source.update_fields(rules=rules)


async def on(two, patient, giver=SECOND, taker=THIRD):
    """Give a dossier on; its Patient there."""
    package = await two.give(giver, taker, patient)
    async with as_known(two, taker):
        return (await two.take(taker, giver, package)).patient


async def proofs(two, place, number, journal_of=FIRST):
    """Random bytes of every trace at a host that is proved to be in the journal of another one."""
    store, found = two.stores[place], set()
    journal = hosts.own(two.stores[journal_of], two.settings[journal_of].data).journal
    async for one in versions(store, number):
        if one.row.type != "AuditEvent" or one.journal:
            continue
        async with as_known(two, place):
            body = await audit_proof._kept(two.plain(place), one.row, store.vault.seal_id(one.row.key), salted=True)
        listed = json.parse(body)["parameter"]
        told = {each["name"]: next(value for name, value in each.items() if name != "name") for each in listed}
        if told["host"] != two.stores[journal_of].record.identity:
            continue
        path = tuple(b64decode(each["valueBase64Binary"]) for each in listed if each["name"] == "path")
        where = chain.Position(b64decode(told["chain"]), int(told["number"]), b64decode(told["row"]))
        if "salt" in told:
            back = (await origins.load(store, number, told["host"])).back
            committed = chain.commitment(b64decode(told["salt"]), origins.translated(one.row.body, back))
        else:
            committed = b64decode(told["commitment"])
        head = opened(told["checkpoint"], journal["origin"], b64decode(journal["key"]))
        assert chain.is_included(chain.leaf_hash(chain.leaf_data(where, committed)), int(told["index"]), head.size, path, head.root)
        found.add(one.row.key[8:])
    return found


async def joined_at(two, place, ends):
    """A new dossier at a host, to which another one was joined there."""
    (goes_on,) = await open_dossiers(two.stores[place], two.settings[place].data, [next(HOLDERS)])
    actor = Actor(kind="operator", role="admin", issuer="test", subject="admin", expires=float("inf"))
    context = replace(two.giving(place, FIRST), actor=actor)
    context = replace(context, enforcer=judged(context))
    await merging.run(context, Url("Patient", goes_on, ("$merge",), (), False), Given((("source-patient", f"Patient/{ends}"),)))
    return goes_on


async def journal_of(store, number):
    """Random bytes of the traces of a dossier that stand in a host's own journal."""
    return {one.row.key[8:] async for one in versions(store, number) if one.journal}


async def forget(two, patient):
    """Take a dossier away from the third host, so that it may come again as if for the first time."""
    store = two.stores[THIRD]
    number = store.vault.dossier_of_patient(patient)
    for name in ("resources", "versions"):
        await store.connection.database[name].delete_many({"d": number}, hint="dossier")


def test_a_joined_dossier_goes_on_with_the_proofs_of_the_host_before(third):
    """From the first host to the second, joined there to another one, and on to the third."""
    play = Played(third.world, STORY[:1])

    async def moved():
        number = third.stores[FIRST].vault.dossier_of_patient(play.dossier.id)
        own = await journal_of(third.stores[FIRST], number)
        there = await on(third, play.dossier.id, FIRST, SECOND)
        goes_on = await joined_at(third, SECOND, there)
        target = third.stores[SECOND].vault.dossier_of_patient(goes_on)
        both = await journal_of(third.stores[SECOND], number) | await journal_of(third.stores[SECOND], target)
        here = await on(third, goes_on)
        assert (await proofs(third, THIRD, target), await proofs(third, THIRD, target, SECOND)) == (own, both)
        # And from there to the first one: whose they are, they are proved to.
        assert await on(third, here, THIRD, FIRST)
        assert (await proofs(third, FIRST, target), await proofs(third, FIRST, target, SECOND)) == (own, both)
        await forget(third, here)
        return own, both

    own, both = third.runner.run(moved())
    assert len(own) > 3 and len(both) >= 3 and not own & both


def test_what_goes_on_is_what_it_was_with_the_proofs_of_every_host(third):
    play = Played(third.world, STORY)

    async def moved():
        number = third.stores[FIRST].vault.dossier_of_patient(play.dossier.id)
        before = await third.snapshot(FIRST, number, play.askers())
        given = await journal_of(third.stores[FIRST], number)
        there = await on(third, play.dossier.id, FIRST, SECOND)
        here = await on(third, there)
        assert lost(before, await third.snapshot(THIRD, number, play.askers())) == []
        found = await proofs(third, THIRD, number), await proofs(third, THIRD, number, SECOND)
        await forget(third, here)
        return given, *found

    given, first, second = third.runner.run(moved())
    assert first == given and len(given) > 8 and len(second) >= 1


@pytest.mark.parametrize("joined", [False, True])
def test_a_proof_of_the_host_before_that_does_not_hold_is_found(third, joined):
    """The second host signs what it gives, and is not believed for it."""
    play = Played(third.world, STORY[:1])

    async def changed():
        store, first = third.stores[SECOND], third.stores[FIRST].record.identity
        number = store.vault.dossier_of_patient(patient := await on(third, play.dossier.id, FIRST, SECOND))
        given = await joined_at(third, SECOND, patient) if joined else patient
        left = await origins.load(store, number, first)
        for wrong in (
            lambda proof: proof | {"salt": "AAAA"},
            lambda proof: proof | {"path": proof["path"][1:]},
            lambda proof: proof | {"publicKey": ""},
            lambda proof: proof | {"checkpoint": proof["checkpoint"].replace("\n", "\n1", 1)},
        ):
            name = sorted(left.proofs)[2]
            table = msgspec.structs.replace(left, proofs=left.proofs | {name: wrong(left.proofs[name])})
            content = await origins.write(store, number, table)
            rows = store.connection.database["resources"]
            await rows.update_one({"_id": origins.key_of(number, first)}, {"$set": {"f": [{"i": content.id, "z": content.size}]}})
            with pytest.raises(FhirError, match=f"does not show it in the journal of {first}"):
                await on(third, given)
        number = store.vault.dossier_of_patient(given)
        assert (await third.stores[THIRD].policies({number})).get(number) is None

    third.runner.run(changed())
