"""A package that is taken while the same one, or somebody who acts in the dossier, comes in between. I7: nothing acknowledged is undone."""

import asyncio

import bson
import pytest

from fhir_dmp.dmp.documents import IS_ARCHIVED
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import package_import
from fhir_dmp.interactions.policy import SOURCES
from fhir_dmp.store import acts, acts_told, takeover
from fhir_dmp.store.rows import OPTIONS
from fhir_dmp.store.takeover import versions
from tests.access.test_restore import MASK
from tests.exchange.moving import Played

STORY = [("consent", "access", "bruno"), ("deposit", "anna", ()), ("deposit", "anna", ())]


@pytest.fixture
def back(two):
    """A dossier that the first host gave away, and the package by which it comes back."""
    played = Played(two.world, STORY)
    patient = two.runner.run(two.move(0, 1, played.dossier.id))
    return played, two.runner.run(two.give(1, 0, patient))


def meanwhile(monkeypatch, act):
    """The next takeover stops between what it looks at and what it writes, once, until this is done."""
    put, left = takeover.put, [act]

    async def between(store, current, *others, **more):
        if left and any(one.row.type == "AuditEvent" for one in current):
            await left.pop()()
        return await put(store, current, *others, **more)

    monkeypatch.setattr(takeover, "put", between)


def looked(monkeypatch, act):
    """The next takeover stops once it has read what is here, until this is done."""
    former, left = package_import._Taking._former, [act]

    async def between(taking):
        if left:
            await left.pop()()
        await former(taking)

    monkeypatch.setattr(package_import._Taking, "_former", between)


def masked(played):
    """Everything is masked by the holder, who was told that it is."""
    for _, id in played.reports:
        assert played.holder.patch(f"DocumentReference/{id}", MASK).status_code == 200


def shown(played, asker):
    return [asker.get(f"DocumentReference/{id}").status_code for _, id in played.reports]


async def documents(two, number):
    """Those of a dossier at the second host."""
    return [one.row async for one in versions(two.stores[1], number) if one.current and one.row.type == "DocumentReference"]


async def labels(two, number):
    return [row.visible["lb"] for row in await documents(two, number)]


async def hidden(two, number):
    """Everything is masked at the second host."""
    roots, now_ms = [row.visible["rt"] for row in await documents(two, number)], two.stores[1].clock()
    for root in roots:
        await two.stores[1].transact(lambda within, root=root: within.relabel(number, root, add=1, remove=0, at_ms=now_ms))


async def kept(two):
    """Keys of all rows in the journal of acts of the second host."""
    path, key = two.b.data / acts.FILE, acts.key_of(two.stores[1].vault)
    found = [bson.decode(frame.value, codec_options=OPTIONS) for frame in acts_told.told(key, path)] if path.exists() else []
    return {bytes(row["_id"]) for act in found for row in act["rows"]}


def test_a_package_sent_twice_at_once_undoes_nothing_that_was_done_after_the_first(two, back, monkeypatch):
    played, package = back
    done = []

    async def first():
        done.append(await two.take(0, 1, package))
        masked(played)

    meanwhile(monkeypatch, first)
    second = two.runner.run(two.take(0, 1, package))
    assert shown(played, played.bruno) == [404, 404] and shown(played, played.holder) == [200, 200]
    assert (second.patient, second.new, done[0].new > 0) == (done[0].patient, 0, True)
    assert second.receipt


def test_a_dossier_that_was_opened_again_meanwhile_keeps_what_was_hidden_in_it(two, back, monkeypatch):
    played, package = back

    async def opened():
        assert two.world.host("host-b").run(f"{played.dossier.path}/$reactivate", reason="transfer").status_code == 200
        masked(played)

    meanwhile(monkeypatch, opened)
    assert two.runner.run(two.take(0, 1, package)).receipt
    assert shown(played, played.bruno) == [404, 404]
    assert played.holder.get(played.dossier.path).json()["active"] is True
    # What it had brought so far is shown too.
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    waiting = two.stores[0].connection.database["resources"].count_documents({"d": number, "z": {"$exists": True}})
    assert two.runner.run(waiting) == 0


def test_of_two_first_takeovers_the_one_that_comes_second_undoes_nothing(two, monkeypatch):
    played = Played(two.world, STORY)
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    package = two.runner.run(two.give(0, 1, played.dossier.id))

    async def first():
        await two.take(1, 0, package)
        await hidden(two, number)

    meanwhile(monkeypatch, first)
    assert two.runner.run(two.take(1, 0, package)).new == 0
    assert two.runner.run(labels(two, number)) == [1, 1]


def test_what_a_takeover_that_was_cut_off_left_is_as_hidden_as_the_next_one_says(two, monkeypatch):
    """Its rows are there, and nobody meets them; what was hidden since at the host that gives it comes with the next package."""
    played = Played(two.world, STORY)
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    before = two.runner.run(two.give(0, 1, played.dossier.id))

    async def cut(*_):
        raise InterruptedError

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(package_import._Taking, "_appear", cut)
        two.runner.run(two.take(1, 0, before))
    masked(played)
    two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, played.dossier.id))))
    assert two.runner.run(labels(two, number)) == [1, 1]


def test_the_rights_of_a_takeover_that_was_cut_off_are_in_the_journal_of_acts(two, monkeypatch):
    """Its rights were there when it was done again: they are acknowledged by the takeover that shows them."""
    played = Played(two.world, [*STORY, ("consent", "block", "carla")])
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    package = two.runner.run(two.give(0, 1, played.dossier.id))

    async def cut(*_):
        raise InterruptedError

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(package_import._Taking, "_appear", cut)
        two.runner.run(two.take(1, 0, package))
    two.runner.run(two.take(1, 0, package))

    async def rights():
        return {one.row.key async for one in versions(two.stores[1], number) if one.current and one.row.type == "Consent"}

    assert len(two.runner.run(rights())) >= 5 and two.runner.run(rights()) <= two.runner.run(kept(two))


def test_a_mask_set_while_a_second_package_is_taken_covers_what_it_brings(two, monkeypatch):
    played = Played(two.world, STORY)
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, played.dossier.id))))
    archived = [{"op": "add", "path": "/extension", "value": [{"url": IS_ARCHIVED, "valueBoolean": True}]}]
    for author, id in played.reports[:1]:
        assert author.patch(f"DocumentReference/{id}", archived).status_code == 200
    replaces = [{"code": "replaces", "target": {"reference": f"DocumentReference/{played.reports[1][1]}"}}]
    played.world.deposit(played.dossier, played.anna, relatesTo=replaces)
    package = two.runner.run(two.give(0, 1, played.dossier.id))
    looked(monkeypatch, lambda: hidden(two, number))
    assert two.runner.run(two.take(1, 0, package)).new > 3
    assert two.runner.run(labels(two, number)) == [1, 1, 1]
    assert two.runner.run(two.sealed(1)) == []


def test_the_rights_of_a_package_that_is_not_taken_are_nobodys(two, monkeypatch):
    """A host that gave the dossier away cannot leave a right where it goes next."""
    played = Played(two.world, STORY)
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    package = two.runner.run(two.give(0, 1, played.dossier.id))

    async def refused(*_):
        raise FhirError("business-rule", "it is not taken")

    with monkeypatch.context() as patched, pytest.raises(FhirError):
        patched.setattr(package_import._Taking, "_appear", refused)
        two.runner.run(two.take(1, 0, package))

    async def rights():
        return [one.row.type async for one in versions(two.stores[1], number) if one.row.type in SOURCES]

    assert two.runner.run(rights()) == []
    two.runner.run(two.take(1, 0, package))
    assert len(two.runner.run(rights())) > 5


@pytest.mark.parametrize("left", ["unnamed", "altered", "labelled", "former"])
def test_nothing_of_a_package_that_was_refused_comes_into_force_by_the_next_one(two, monkeypatch, left):
    """Under keys of its own, or under those of what another host gives now: whoever gave a dossier away knows them all."""
    played = Played(two.world, [("deposit", "anna", ()), ("deposit", "anna", ("MASQUE_PS",))])
    number = two.stores[0].vault.dossier_of_patient(played.dossier.id)
    package = two.runner.run(two.give(0, 1, played.dossier.id))
    put, planted = takeover.put, []

    async def planting(store, current, old, **more):
        document = next((one for one in current if one.row.type == "DocumentReference" and one.row.visible["lb"]), None)
        if document is None:  # the directory
            return await put(store, current, old, **more)
        row, rest = document.row, [one for one in current if one is not document]
        other = row._replace(key=row.key[:8] + bytes(8))
        changes = {
            "unnamed": ([*current, document._replace(row=other)], old),
            "altered": ([*rest, document._replace(row=row._replace(body=row.body.replace(b"current", b"CURRENT")))], old),
            "labelled": ([*rest, document._replace(row=row._replace(visible={**row.visible, "lb": 0, "au": row.visible["au"][:0]}))], old),
            "former": (current, [*old, row._replace(version=row.version + 1)]),
        }
        planted.append(row.key)
        return await put(store, *changes[left], **more)

    async def refused(*_):
        raise FhirError("business-rule", "it is not taken")

    with monkeypatch.context() as patched, pytest.raises(FhirError):
        patched.setattr(takeover, "put", planting)
        patched.setattr(package_import._Taking, "_appear", refused)
        two.runner.run(two.take(1, 0, package))
    done = two.runner.run(two.take(1, 0, package))

    async def every(host):
        return {(one.row.key, one.row.version, one.current) async for one in versions(two.stores[host], number)}

    there, here = two.runner.run(every(0)), two.runner.run(every(1))
    assert planted and there <= here and len(here - there) <= 2  # the trace of the takeover, and what its host left
    assert sorted(two.runner.run(labels(two, number))) == [0, 1]
    assert b"CURRENT" not in b"".join(row.body for row in two.runner.run(documents(two, number)))
    assert done.receipt and two.runner.run(two.sealed(1)) == []


def test_two_first_takeovers_of_one_package_at_once_both_are_done(two):
    played = Played(two.world, STORY)
    package = two.runner.run(two.give(0, 1, played.dossier.id))

    async def both():
        return await asyncio.gather(two.take(1, 0, package), two.take(1, 0, package))

    one, other = two.runner.run(both())
    assert one.patient == other.patient and one.receipt and other.receipt
    assert two.runner.run(two.sealed(1)) == []
