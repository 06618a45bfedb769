"""A protective act that is committed and not kept yet is known, whoever was cut off in between."""

import pytest
from bson import Binary

from fhir_dmp.errors import FhirError
from fhir_dmp.store import acts_waiting, erasing
from fhir_dmp.store.acts import FILE, Acts
from fhir_dmp.store.rows import Change
from fhir_dmp.store.vault import dossier_row
from tests.store.making import changed, new_row


@pytest.fixture
def kept(store, tmp_path):
    """The store, with a journal of its own."""
    store.acts = Acts(store.connection, store.vault, tmp_path)
    return store


async def waiting(store) -> list[dict]:
    return await store.connection.read({"find": acts_waiting.COLLECTION, "sort": {"_id": 1}, "hint": "_id_"})


async def revoked(store, *, fail: bool = False):
    """A Consent that becomes inactive, its act noted with it; (as it was, as it is)."""
    consent = new_row(store, "Consent")
    await store.create(consent)
    after = changed(consent, body=b'{"resourceType":"Consent","status":"inactive"}')

    async def work(transaction) -> None:
        await transaction.write([Change(after, consent.version)])
        await acts_waiting.add(transaction, "rights", [consent.key], 1)
        if fail:
            raise RuntimeError("something else went wrong")

    await store.transact(work)
    return consent, after


def refuse(folder):
    """The journal takes nothing: a folder stands in its place."""
    (folder / FILE).parent.mkdir(exist_ok=True)
    if (folder / FILE).exists():
        (folder / FILE).rename(folder / "apart")
    (folder / FILE).mkdir()


def take_again(folder):
    (folder / FILE).rmdir()
    if (folder / "apart").exists():
        (folder / "apart").rename(folder / FILE)


async def test_what_the_journal_refused_waits_and_is_kept_by_who_comes_next(kept, tmp_path):
    await kept.acts.replay()
    refuse(tmp_path)
    consent, after = await revoked(kept)
    for dossiers in ((consent.dossier,), None):
        with pytest.raises(FhirError) as error:
            await acts_waiting.keep(kept, dossiers)
        assert error.value.status == 503
    take_again(tmp_path)
    assert await acts_waiting.keep(kept, (kept.new_dossier(),)) == 0
    assert len(await waiting(kept)) == 1
    assert await acts_waiting.keep(kept, (consent.dossier,)) == 1
    assert await waiting(kept) == []
    rows, database = kept.connection.database["resources"], kept.connection.database
    await rows.delete_one({"_id": Binary(consent.key)})
    await database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    await kept.create(consent)
    await kept.acts.replay()
    assert (await kept.load(consent.key)).body == after.body


async def test_an_act_that_was_not_committed_does_not_wait(kept):
    with pytest.raises(RuntimeError):
        await revoked(kept, fail=True)
    assert await waiting(kept) == []


async def test_all_that_waits_is_kept_at_once(kept):
    await revoked(kept)
    await revoked(kept)
    assert await acts_waiting.keep(kept) == 2
    assert (await waiting(kept), await acts_waiting.keep(kept)) == ([], 0)


async def test_an_erasure_that_was_cut_off_is_kept_with_its_instant(kept, tmp_path):
    row = new_row(kept)
    await kept.create(row)
    backup = await kept.connection.read({"find": "resources", "filter": {"_id": Binary(dossier_row(row.dossier))}})
    assert await kept.transact(lambda transaction: erasing.erase(transaction, row.dossier, [], at_ms=5))
    assert await acts_waiting.keep(kept) == 1
    rows = kept.connection.database["resources"]
    await rows.replace_one({"_id": backup[0]["_id"]}, backup[0])
    await kept.connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    await kept.acts.replay()
    assert (await rows.find_one({"_id": backup[0]["_id"]}))["e"] == 5
