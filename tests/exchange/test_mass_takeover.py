"""Another host takes over all dossiers of one that fails: those of the living, the deceased, the closed, the reopened, without rights."""

from dataclasses import replace

import pytest

from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import transfer
from tests.access.world import GENERALIST, day
from tests.exchange.test_package_property import lost


def closed(world, dossier):
    assert world.holder(dossier).run(f"{dossier.path}/$close", reason="holder-request").status_code == 200


def reopened(world, dossier):
    closed(world, dossier)
    assert world.holder(dossier).run(f"{dossier.path}/$reactivate", reason="holder-request").status_code == 200


def deceased(world, dossier):
    assert world.host().run(f"{dossier.path}/$close", reason="deceased", date=day(days=-1)).status_code == 200


def without_rights(world, dossier):
    assert world.host().run(f"{dossier.path}/$close", reason="rights-lost").status_code == 200


def with_rights_again(world, dossier):
    without_rights(world, dossier)
    assert world.host().run(f"{dossier.path}/$reactivate", reason="rights-recovered").status_code == 200


def living(world, dossier):
    """Nothing happened."""


LIVES = {
    living: Status.OPEN,
    closed: Status.CLOSED,
    reopened: Status.OPEN,
    deceased: Status.CLOSED,
    without_rights: Status.RIGHTS_LOST,
    with_rights_again: Status.OPEN,
}


@pytest.fixture
def lives(two, histories):
    """Many dossiers at the first host: (dossier, what happened to it), in the order they were opened."""
    world, found = two.world, []
    traitant = world.professional(specialty=GENERALIST)
    for number in range(histories(len(LIVES), 20 * len(LIVES))):
        dossier, happened = world.open(traitant=traitant), list(LIVES)[number % len(LIVES)]
        world.deposit(dossier, traitant, labels=("MASQUE_PS",) if number % 4 == 0 else ())
        happened(world, dossier)
        found.append((dossier, happened))
    return traitant, found


def test_all_of_them_are_what_they_were(two, lives, tmp_path):
    traitant, dossiers = lives
    vault, world = two.stores[0].vault, two.world

    async def moved():
        giving = two.giving(0, 1)
        for dossier, _ in dossiers:
            await transfer.give(giving, dossier.id, "host-b", tmp_path / f"{dossier.id}.dmp", "l'hébergeur cesse son activité")
        broken = tmp_path / f"{dossiers[0][0].id}.dmp"
        whole = broken.read_bytes()
        with pytest.raises(FhirError):
            await two.take(1, 0, whole[: len(whole) // 2])
        receipts = {}
        for dossier, happened in dossiers:
            number = vault.dossier_of_patient(dossier.id)
            askers = {
                "holder": ("patient", {"sub": "holder", "patient": dossier.id}),
                "traitant": ("professional", traitant.claims),
                "unrelated": ("professional", world.professional().claims),
            }
            before = await two.snapshot(0, number, askers)
            own = (await two.stores[0].policies({number}))[number]
            done = await two.take(1, 0, (tmp_path / f"{dossier.id}.dmp").read_bytes())
            there = (await two.stores[1].policies({number}))[number]
            assert there.status is LIVES[happened] is own.status
            same = {"patient": "", "epoch": 0}
            assert replace(there, **same) == replace(own, **same)
            assert lost(before, await two.snapshot(1, number, askers)) == []
            receipts[dossier.id] = done.receipt
        return receipts

    receipts = two.runner.run(moved())
    assert len(set(receipts.values())) == len(dossiers)

    async def settled():
        for receipt in receipts.values():
            await two.settle(0, 1, receipt)
        numbers = {vault.dossier_of_patient(dossier.id) for dossier, _ in dossiers}
        return {one.status for one in (await two.stores[0].policies(numbers)).values()}

    assert two.runner.run(settled()) == {Status.CLOSED}
    assert two.runner.run(two.sealed(1)) == []
