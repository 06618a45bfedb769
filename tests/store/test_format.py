"""The store record: key check, sandbox for life, format version."""

import asyncio
import shutil

import pytest

from fhir_dmp.store import records
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import Vault

from .making import new_row


async def test_a_store_keeps_its_identity(store, mongod, data_dir, database):
    again = await Store.open(mongod.uri, database, data_dir=data_dir)
    assert again.record == store.record and len(store.record.identity) == 32
    assert (await again.ping(), again.sandbox) == (True, False)
    await again.close()


async def test_the_key_of_another_store_is_refused(store, mongod, database, tmp_path):
    Vault.load_or_create(tmp_path)
    with pytest.raises(StoreError, match="not the one"):
        await Store.open(mongod.uri, database, data_dir=tmp_path)


async def test_a_missing_key_is_refused_and_not_made_anew(store, mongod, database, tmp_path):
    with pytest.raises(StoreError, match="Restore it"):
        await Store.open(mongod.uri, database, data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sandbox", [True, False])
async def test_a_store_is_a_sandbox_for_life_or_never(mongod, data_dir, database, sandbox):
    await (await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=sandbox)).close()
    with pytest.raises(StoreError, match="--sandbox"):
        await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=not sandbox)


async def test_several_processes_may_create_a_store_at_once(mongod, data_dir, database, tmp_path):
    stores = await asyncio.gather(*(Store.open(mongod.uri, database, data_dir=tmp_path) for _ in range(4)))
    assert len({store.record for store in stores}) == 1
    row = new_row(stores[0], dossier=0)
    await stores[0].create(row)
    assert [(await store.load(row.key)).body for store in stores] == [row.body] * 4
    for store in stores:
        await store.close()


async def test_a_store_of_a_newer_format_is_refused(store, mongod, data_dir, database):
    await store._connection.database["meta"].update_one({"_id": "store"}, {"$set": {"format": 99}})
    with pytest.raises(StoreError, match="newer"):
        await Store.open(mongod.uri, database, data_dir=data_dir)


async def test_an_older_format_is_migrated_step_by_step_by_one_process_with_progress(store, mongod, data_dir, database):
    row = new_row(store)
    await store.create(row)
    ran, told = [], []

    async def first(connection, vault, report):
        ran.append(1)
        await asyncio.sleep(0.3)
        await connection.database["resources"].update_many({"t": "Patient"}, {"$set": {"old": True}})
        await report(1, 2)
        await report(2, 2)

    async def second(connection, vault, report):
        ran.append(2)
        assert await connection.database["resources"].count_documents({"t": "Patient", "old": True}) == 1
        await connection.database["resources"].update_many({"t": "Patient"}, {"$unset": {"old": ""}})

    def opened():
        return Store.open(
            mongod.uri,
            database,
            data_dir=data_dir,
            migrations={1: first, 2: second},
            current_format=3,
            progress=lambda *said: told.append(said),
        )

    stores = await asyncio.gather(opened(), opened(), opened())
    assert (ran, told) == ([1, 2], [("format 1 to 2", 1, 2), ("format 1 to 2", 2, 2)])
    assert (await stores[2].load(row.key)).body == row.body
    for migrated in stores:
        await migrated.close()


async def test_an_interrupted_migration_is_taken_up_again(store, mongod, data_dir, database):
    attempts = []

    async def step(connection, vault, report):
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("interrupted")

    def opened():
        return Store.open(mongod.uri, database, data_dir=data_dir, migrations={1: step}, current_format=2)

    with pytest.raises(OSError):
        await opened()
    await (await opened()).close()
    assert len(attempts) == 2


async def test_a_format_that_is_too_old_is_refused(store, mongod, data_dir, database):
    with pytest.raises(StoreError, match="in between"):
        await Store.open(mongod.uri, database, data_dir=data_dir, migrations={}, current_format=2)


async def test_a_mongodb_that_does_not_answer_is_named(data_dir, tmp_path):
    uri = f"mongodb://{str(tmp_path / 'none.sock').replace('/', '%2F')}/?directConnection=true&serverSelectionTimeoutMS=200"
    with pytest.raises(StoreError, match="does not answer"):
        await Store.open(uri, data_dir=data_dir)


async def test_a_copy_of_the_keys_opens_the_store(store, mongod, data_dir, database, tmp_path):
    shutil.copytree(data_dir / "keys", tmp_path / "keys")
    await (await Store.open(mongod.uri, database, data_dir=tmp_path)).close()


async def test_host_records_live_on_the_connection_of_the_store(store):
    await records.Job(id="j1", kind="import", detail={"places": ["a.json"]}).insert()
    with pytest.raises(records.FhirError) as raised:
        await records.Job(id="j1", kind="import").insert()
    assert raised.value.status == 409
    job = await records.Job.get("j1")
    await job.update_fields(state="running", done=3)
    stored = await store._connection.database["host.jobs"].find_one({"_id": "j1"})
    assert (stored["state"], stored["done"], stored["detail"]) == ("running", 3, {"places": ["a.json"]})
    assert await records.Job.get("j2") is None
    with pytest.raises(records.mongoengine.ValidationError):
        await records.Job(id="j2", kind="import", state="unheard of").insert()
    assert await records.Job.get("j2") is None


async def test_a_command_takes_the_store_as_it_is_and_creates_none(mongod, data_dir, database):
    with pytest.raises(StoreError, match="there is no store"):
        await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=None)
    created = await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=True)
    await created.close()
    joined = await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=None)
    assert joined.sandbox
    await joined.close()
