"""Backups: one moment of a store that goes on writing, and back into an empty one without undoing what protects."""

import asyncio
import itertools
import json
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from fhir_dmp.audit.merger import Merger
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.audit.verify_rows import rows as verify_rows
from fhir_dmp.cli import cli
from fhir_dmp.store import backup
from fhir_dmp.store.acts import FILE
from fhir_dmp.store.connection import Connection
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.restored import Restored
from fhir_dmp.store.restored import last as last_restore
from fhir_dmp.store.rows import Change
from fhir_dmp.store.vault import Vault, dossier_row
from tests.audit.making import new_patient, read_of
from tests.store.making import changed, new_row
from tests.store.restoring import opened, restored


@pytest.fixture
async def second(mongod, database):
    """Name of another empty database."""
    name = f"{database}_restored"
    yield name
    connection = Connection(mongod.uri, name)
    await connection.client.drop_database(name)
    await connection.close()


async def taken(store: Store, folder: Path, target: Path, **options) -> backup.Manifest:
    return await backup.write(store.connection, store.vault, folder, target, **options)


# One moment


async def test_a_backup_is_one_moment_of_a_store_that_goes_on_writing(mongod, database, second, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "BATCH", 7)
    async with opened(mongod, database, folder) as store:
        pairs = [(new_row(store), new_row(store, "Consent")) for _ in range(40)]
        for pair in pairs:
            await store.commit([Change(row, None) for row in pair])
        written = itertools.count(1)
        stop = asyncio.Event()

        async def writer(number: int) -> None:
            # Both rows of a pair always say the same.
            versions = {place: list(pair) for place, pair in enumerate(pairs) if place % 4 == number}
            while not stop.is_set():
                for place, pair in versions.items():
                    said = b"%d" % next(written)
                    after = [changed(row, body=said) for row in pair]
                    await store.commit([Change(new, old.version) for new, old in zip(after, pair, strict=True)])
                    versions[place] = after

        writers = [asyncio.create_task(writer(number)) for number in range(4)]
        await asyncio.sleep(0.2)
        manifest = await taken(store, folder, tmp_path / "b")
        during = next(written)
        stop.set()
        await asyncio.gather(*writers)
        assert during > 10
    await restored(mongod, second, folder, tmp_path / "b")
    async with opened(mongod, second, folder) as copy:
        found = await copy.load_many([row.key for pair in pairs for row in pair])
        assert len(found) == 80
        for one, other in pairs:
            bodies = found[one.key].body, found[other.key].body
            assert bodies[0] == bodies[1] or bodies == (one.body, other.body)
        numbers = [int(row.body) for row in found.values() if row.body.isdigit()]
        assert max(numbers, default=0) < during
        history = await copy.history_count(types=["Patient", "Consent"])
        assert history >= 80 + len(numbers)
    assert {part.name for part in manifest.parts} >= {"collections/resources.bson", "collections/versions.bson", "collections/meta.bson"}
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0


async def test_contents_traces_and_log_come_back_and_verify(mongod, database, second, folder, tmp_path):
    async def octets():
        for _ in range(3):
            yield b"x" * 300_000

    async with opened(mongod, database, folder) as store:
        patient = await new_patient(store)
        await Recorder(store).record([read_of(patient) for _ in range(20)])
        await Merger(store, folder).round()
        dossier = store.vault.dossier_of_patient(patient)
        content = await store.contents.write(octets(), dossier)
        await store.create(new_row(store, "Binary", dossier=dossier, content=content))
        await taken(store, folder, tmp_path / "b")
    other = tmp_path / "other"
    shutil.copytree(folder / "keys", other / "keys")
    await restored(mongod, second, other, tmp_path / "b")
    async with opened(mongod, second, other) as copy:
        report = await Verifier(copy, other).run()
        await verify_rows(copy, report)
        assert (report.faults, report.traces, report.heads) == ([], 20, 2)
        # The database and the file of checkpoints both came back.
        assert b"".join([part async for part in copy.contents.read(content.id, dossier=dossier)]) == b"x" * 900_000
        await Recorder(copy).record([read_of(patient)])
        await Merger(copy, other).round()
        assert (await Verifier(copy, other).run()).faults == []


async def test_while_it_is_taken_the_past_is_kept_longer(store):
    admin = store.connection.client.admin

    async def window() -> int:
        return (await admin.command({"getParameter": 1, backup.WINDOW: 1}))[backup.WINDOW]

    before = await window()
    await admin.command({"setParameter": 1, backup.WINDOW: 300})
    try:
        async with backup.widened(store.connection) as widened:
            assert widened
            for _ in range(100):
                if await window() >= backup.WINDOW_SECONDS:
                    break
                await asyncio.sleep(0.02)
            assert await window() >= backup.WINDOW_SECONDS
        assert await window() == 300
    finally:
        await admin.command({"setParameter": 1, backup.WINDOW: before})


# Protective acts


@pytest.mark.parametrize("journal", ["in place", "with the backup", "in the database"])
async def test_what_was_masked_blocked_or_erased_after_the_backup_stays_so(mongod, database, second, folder, tmp_path, journal):
    async with opened(mongod, database, folder) as store:
        consent, erased = new_row(store, "Consent"), new_row(store)
        await store.create(consent)
        await store.create(erased)
        await store.acts.keep("mask", [consent.key], 1)
        await taken(store, folder, tmp_path / "b")
        masked = changed(consent, body=b'{"masked":true}')
        await store.commit([Change(masked, consent.version)])
        await store.acts.keep("mask", [consent.key], 2)
        await store.destroy_dossier(erased.dossier)
        await store.acts.keep("erasure", [dossier_row(erased.dossier)], 3)
        if journal == "with the backup":
            # Acts that are kept while the backup is being written go with it, although its rows are older.
            shutil.copy(folder / FILE, tmp_path / "b" / FILE)
    target = folder if journal == "in place" else tmp_path / "other"
    if journal != "in place":
        shutil.copytree(folder / "keys", target / "keys")
        _sealed_again(tmp_path / "b", Vault.load(folder))
    await restored(mongod, second, target, tmp_path / "b")
    async with opened(mongod, second, target) as copy:
        assert (await copy.load(consent.key)).body == consent.body
        replayed = await copy.acts.replay()
        if journal == "in the database":
            # Nothing but the backup is left: what came after it is lost, and what it knows is whole.
            assert (await copy.load(consent.key)).body == consent.body
            return
        assert (replayed.rows, replayed.lost) == (2, 0)
        assert (await copy.load(consent.key)).body == masked.body
        assert (await copy.load(erased.key)).erased


def _sealed_again(source: Path, vault: Vault) -> None:
    """The manifest of a backup whose files are as they are now."""
    value = json.loads((source / backup.MANIFEST).read_text())
    del value["proof"]
    for part in value["parts"]:
        data = (source / part["name"]).read_bytes()
        part["size"], part["sha256"] = len(data), backup.sha256(data).hexdigest()
    (source / backup.MANIFEST).write_text(json.dumps({**value, "proof": backup.proof(vault, value)}))


# Refusals


async def test_only_a_whole_backup_of_this_host_is_restored_and_only_into_nothing(mongod, database, second, folder, tmp_path):
    async with opened(mongod, database, folder) as store:
        await store.create(new_row(store))
        await taken(store, folder, tmp_path / "b")
        with pytest.raises(StoreError, match="exists already"):
            await taken(store, folder, tmp_path / "b")
    with pytest.raises(StoreError, match="holds a store already"):
        await restored(mongod, database, folder, tmp_path / "b")
    with pytest.raises(StoreError, match="no backup"):
        await restored(mongod, second, folder, tmp_path)

    shutil.copytree(tmp_path / "b", tmp_path / "cut")
    file = tmp_path / "cut" / "collections" / "resources.bson"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match="is not what was backed up"):
        await restored(mongod, second, folder, tmp_path / "cut")

    shutil.copytree(tmp_path / "b", tmp_path / "fewer")
    value = json.loads((tmp_path / "fewer" / backup.MANIFEST).read_text())
    value["parts"] = [part for part in value["parts"] if "resources" not in part["name"]]
    (tmp_path / "fewer" / backup.MANIFEST).write_text(json.dumps(value))
    with pytest.raises(StoreError, match="was altered"):
        await restored(mongod, second, folder, tmp_path / "fewer")

    stranger = tmp_path / "stranger"
    Vault.load_or_create(stranger)
    with pytest.raises(StoreError, match="another host key"):
        await restored(mongod, second, stranger, tmp_path / "b")

    connection = Connection(mongod.uri, second)
    await connection.database["other"].insert_one({"_id": 1})
    await connection.close()
    with pytest.raises(StoreError, match="not empty: it has `other`"):
        await restored(mongod, second, folder, tmp_path / "b")


async def test_a_restore_that_was_cut_short_is_no_store_and_is_begun_anew(mongod, database, second, folder, tmp_path, monkeypatch):
    async with opened(mongod, database, folder) as store:
        for _ in range(30):
            await store.create(new_row(store))
        await taken(store, folder, tmp_path / "b")
        before = await store.count()
    monkeypatch.setattr(backup, "BATCH", 5)
    real, calls = backup._insert, itertools.count()

    async def cut(*arguments) -> None:
        if next(calls) == 4:
            raise asyncio.CancelledError
        await real(*arguments)

    monkeypatch.setattr(backup, "_insert", cut)
    with pytest.raises(asyncio.CancelledError):
        await restored(mongod, second, folder, tmp_path / "b")
    with pytest.raises(StoreError, match="restore"):
        await Store.open(mongod.uri, second, data_dir=folder)
    monkeypatch.setattr(backup, "_insert", real)
    await restored(mongod, second, folder, tmp_path / "b")
    async with opened(mongod, second, folder) as copy:
        assert await copy.count() == before


async def test_each_restore_begins_another_time(mongod, database, second, folder, tmp_path):
    """What may be used once only, and was issued before, may have been used after the backup."""
    async with opened(mongod, database, folder) as store:
        assert await last_restore(store.connection) == Restored()
        await taken(store, folder, tmp_path / "one")
    before = time.time_ns() // 1_000_000
    await restored(mongod, second, folder, tmp_path / "one")
    async with opened(mongod, second, folder) as store:
        first = await last_restore(store.connection)
        assert first.era and before <= first.at_ms <= time.time_ns() // 1_000_000
        await taken(store, folder, tmp_path / "two")
        await store.connection.client.drop_database(second)
    for source in ("one", "two"):
        await restored(mongod, second, folder, tmp_path / source)
        async with opened(mongod, second, folder) as store:
            assert (await last_restore(store.connection)).era not in ("", first.era)
            await store.connection.client.drop_database(second)


# The commands


def test_the_commands_bring_a_data_folder_to_another_place():
    here = Path(tempfile.mkdtemp(prefix="fhir-dmp-"))
    try:
        embedded = Embedded.start(here / "one", cache_gb=0.25)

        async def fill() -> bytes:
            store = await Store.open(embedded.uri, data_dir=here / "one")
            row = new_row(store)
            await store.create(row)
            await store.close()
            return row.key

        key = asyncio.run(fill())
        environment = {"FHIR_DMP_MONGOD_CACHE_GB": "0.25"}
        run = CliRunner()
        for options, name in (((), "plain"), (("--with-keys",), "keys")):
            done = run.invoke(cli, ["backup", str(here / name), "--data", str(here / "one"), *options], env=environment)
            assert done.exit_code == 0, done.output
            assert done.stdout.strip() == str(here / name)
        embedded.stop()

        refused = run.invoke(cli, ["restore", str(here / "plain"), "--data", str(here / "two")], env=environment)
        assert refused.exit_code == 1 and "holds no keys" in str(refused.exception)
        done = run.invoke(cli, ["restore", str(here / "keys"), "--data", str(here / "two")], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        again = run.invoke(cli, ["restore", str(here / "keys"), "--data", str(here / "two")], env=environment)
        assert again.exit_code == 1 and "holds a store already" in str(again.exception)

        embedded = Embedded.start(here / "two", cache_gb=0.25)

        async def look() -> tuple:
            store = await Store.open(embedded.uri, data_dir=here / "two")
            found = await store.load(key), [json.loads(row.body)["subtype"] async for row in store.scan(types=["AuditEvent"])]
            await store.close()
            return found

        row, subtypes = asyncio.run(look())
        embedded.stop()
        assert row.body
        # The backup with the keys traced the one before it; the restore traced itself.
        assert [one[0]["code"] for one in subtypes] == ["restore", "backup"]
    finally:
        shutil.rmtree(here)
