"""Ten years after its closing a dossier is destroyed, once, and a trace tells it. CSP R1111-40"""

import asyncio
import base64
import json

import pytest
from click.testing import CliRunner

from fhir_dmp.audit.merger import Merger
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.audit.verify_rows import rows as verify_rows
from fhir_dmp.cli import cli
from fhir_dmp.commands.verify import derivation
from fhir_dmp.dmp.lifecycle import destruction_ms
from fhir_dmp.fhir.instants import from_instant
from fhir_dmp.interactions import retention
from fhir_dmp.store import erasing
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import NewRow
from fhir_dmp.store.vault import dossier_row
from tests.audit.making import read_of
from tests.store.making import new_row

CLOSED = from_instant("2016-02-29T10:00:00Z")
DUE = destruction_ms(CLOSED)


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock():
    return Clock(DUE - 1)


@pytest.fixture
async def store(mongod, database, tmp_path, clock):
    store = await Store.open(mongod.uri, database, data_dir=tmp_path, clock=clock)
    yield store
    await store.close()


async def closed_dossier(store: Store, closed_ms: int = CLOSED) -> NewRow:
    """A Patient whose dossier was closed then, with a document and traces; its row as closing leaves it."""
    row = new_row(store)
    await store.create(row)
    await store.create(new_row(store, "DocumentReference", dossier=row.dossier))
    await Recorder(store).record([read_of(store.vault.seal_id(row.key)) for _ in range(3)])
    await close(store, row, closed_ms)
    return row


async def close(store: Store, row: NewRow, closed_ms: int | None) -> None:
    change = {"$unset": {"q": ""}} if closed_ms is None else {"$set": {"q": closed_ms}}
    await store.connection.database["resources"].update_one({"_id": dossier_row(row.dossier)}, change)


async def erasures(store: Store) -> list[dict]:
    """Traces of destructions; they stand outside of dossiers."""
    events = [json.loads(row.body) async for row in store.scan(types=["AuditEvent"], dossiers=[0])]
    return [event for event in events if event["subtype"][0]["code"] == "erasure"]


async def left_of(store: Store, dossier: int) -> int:
    command = {"find": "resources", "filter": {"d": dossier}, "hint": "dossier"}
    return len(await store.connection.read(command))


async def test_a_dossier_is_kept_to_the_last_millisecond_and_destroyed_at_the_instant(store, clock):
    row, younger, open_one = await closed_dossier(store), await closed_dossier(store, CLOSED + 1), new_row(store)
    await store.create(open_one)
    recorder = Recorder(store)
    assert await retention.sweep(store, recorder) == 0
    assert (await store.load(row.key)).body == row.body
    clock.now_ms = DUE
    assert await retention.sweep(store, recorder) == 1
    assert await store.load(row.key) is None
    assert await left_of(store, row.dossier) == 0
    assert (await store.load(younger.key)).body == younger.body
    assert (await store.load(open_one.key)).body == open_one.body
    (event,) = await erasures(store)
    patient = store.vault.seal_id(row.key)
    assert event["entity"][1]["what"]["reference"] == f"Patient/{patient}"
    assert (event["action"], event["outcome"], event["recorded"]) == ("D", "0", "2026-02-28T10:00:00.000Z")
    assert "closed on 2016-02-29T10:00:00.000Z" in base64.b64decode(event["entity"][0]["query"]).decode()


async def test_rivals_destroy_once_and_tell_once(mongod, store, database, tmp_path, clock):
    for _ in range(6):
        await closed_dossier(store)
    clock.now_ms = DUE
    others = [await Store.open(mongod.uri, database, data_dir=tmp_path, clock=clock) for _ in range(3)]
    try:
        done = await asyncio.gather(*(retention.sweep(each, Recorder(each)) for each in (store, *others)))
    finally:
        for each in others:
            await each.close()
    assert sum(done) == 6
    assert len(await erasures(store)) == 6
    assert await retention.sweep(store, Recorder(store)) == 0


async def test_a_dossier_that_is_reopened_at_the_last_moment_stays(store, clock):
    row = await closed_dossier(store)
    clock.now_ms = DUE
    (found,) = await erasing.closed_dossiers(store, DUE)
    await close(store, row, None)
    assert not await retention.destroy(store, Recorder(store), row.dossier, "due", closed_ms=found.closed_ms)
    assert (await store.load(row.key)).body == row.body
    assert await erasures(store) == []


@pytest.mark.parametrize("place", ["keep", "remove_dossier"])
async def test_what_a_death_interrupts_is_gone_on_with(store, clock, monkeypatch, place):
    row = await closed_dossier(store)
    clock.now_ms = DUE
    owner = store.acts if place == "keep" else store
    with monkeypatch.context() as patched:

        async def dead(*_: object) -> None:
            raise asyncio.CancelledError

        patched.setattr(owner, place, dead, raising=True)
        with pytest.raises(asyncio.CancelledError):
            await retention.sweep(store, Recorder(store))
    # Its key is gone and that is told, its rows are still there.
    assert (await store.load(row.key)).erased
    assert len(await erasures(store)) == 1
    clock.now_ms = DUE + erasing.SETTLED_MS
    assert await retention.sweep(store, Recorder(store)) == 0
    assert await left_of(store, row.dossier) == 0
    assert await erasing.unfinished(store) == []
    assert len(await erasures(store)) == 1
    policy = await store.connection.database["resources"].find_one({"_id": dossier_row(row.dossier)})
    assert set(policy) == {"_id", "e"} and policy["e"] == DUE


async def test_the_log_stays_provable_and_a_restore_does_not_bring_it_back(store, clock, tmp_path):
    row = await closed_dossier(store)
    await Merger(store, tmp_path).round()
    rows = store.connection.database["resources"]
    backup = [one async for one in rows.find({"d": row.dossier}, hint="dossier")]
    key = await rows.find_one({"_id": dossier_row(row.dossier)})
    clock.now_ms = DUE
    assert await retention.sweep(store, Recorder(store)) == 1
    await Merger(store, tmp_path).round()
    report = await Verifier(store, tmp_path).run()
    await verify_rows(store, report, derive=derivation(store, "http://localhost/fhir"))
    assert (report.faults, report.erased) == ([], 3)
    # An older database comes back, with its key.
    await rows.replace_one({"_id": key["_id"]}, key)
    await rows.insert_many(backup)
    await store.connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    assert (await store.load(row.key)).body == row.body
    assert (await store.acts.replay()).rows == 1
    assert (await store.load(row.key)).erased
    clock.now_ms += erasing.SETTLED_MS
    assert await retention.sweep(store, Recorder(store)) == 0
    assert (await left_of(store, row.dossier), await erasing.unfinished(store)) == (0, [])
    assert len(await erasures(store)) == 1


def test_the_key_of_a_dossier_is_destroyed_by_hand(mongod, tmp_path, database):
    async def fill() -> tuple[str, bytes]:
        store = await Store.open(mongod.uri, database, data_dir=tmp_path)
        row = new_row(store)
        await store.create(row)
        await store.close()
        return store.vault.seal_id(row.key), row.key

    async def look(key: bytes) -> tuple:
        store = await Store.open(mongod.uri, database, data_dir=tmp_path)
        found = await store.load(key), await erasures(store)
        await store.close()
        return found

    patient, key = asyncio.run(fill())
    environment = {"FHIR_DMP_DATA": str(tmp_path), "FHIR_DMP_MONGODB_URI": mongod.uri, "FHIR_DMP_DATABASE": database}
    run = CliRunner()
    arguments = ["keys", "destroy", patient, "--reason", "a court ordered it"]
    refused = run.invoke(cli, arguments, env=environment, input="n\n")
    assert refused.exit_code == 1 and asyncio.run(look(key))[0] is not None
    done = run.invoke(cli, [*arguments, "--yes"], env=environment)
    assert done.exit_code == 0, done.output
    row, told = asyncio.run(look(key))
    assert row is None and len(told) == 1
    again = run.invoke(cli, [*arguments, "--yes"], env=environment)
    assert "there is no dossier" in str(again.exception)
