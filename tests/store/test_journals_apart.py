"""Two restores: what was acknowledged between them is in the journal of acts, and neither restore takes it away."""

import shutil
from pathlib import Path

import pytest

from fhir_dmp.store import backup
from fhir_dmp.store.acts import FILE
from fhir_dmp.store.connection import Connection
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change, NewRow
from tests.store.making import changed, new_row
from tests.store.restoring import opened, restored


async def taken(store: Store, folder: Path, target: Path) -> None:
    await backup.write(store.connection, store.vault, folder, target)


async def _revoked(store: Store, row: NewRow, at_ms: int) -> NewRow:
    """A later version of a Consent, as the protective act that it is."""
    after = changed(row, body=b'{"status":"inactive"}')
    await store.commit([Change(after, row.version)])
    await store.acts.keep("revocation", [row.key], at_ms)
    return after


@pytest.mark.parametrize("since", [0, 6], ids=["shorter than in the backup", "longer than in the backup"])
async def test_of_two_journals_that_went_on_apart_a_restore_gives_up_neither(mongod, database, folder, tmp_path, since):
    """A backup, acts, a second backup; all but the keys is lost, the first one is restored, acts again; the database is lost once more."""
    names = [f"{database}_{number}" for number in range(3)]
    async with opened(mongod, database, folder) as store:
        early, late, between = (new_row(store, "Consent") for _ in range(3))
        for row in (early, late, between):
            await store.create(row)
        await store.acts.keep("block", [early.key], 1)
        await taken(store, folder, tmp_path / "b1")
        await _revoked(store, early, 2)
        for number in range(3):
            await store.acts.keep("block", [between.key], 3 + number)
        await taken(store, folder, tmp_path / "b2")
    try:
        shutil.rmtree(folder / "journal")
        await restored(mongod, names[0], folder, tmp_path / "b1")
        async with opened(mongod, names[0], folder) as store:
            assert (await store.acts.replay()).rows == 0
            revoked = await _revoked(store, late, 10)
            for number in range(since):
                await store.acts.keep("block", [between.key], 11 + number)
            await taken(store, folder, tmp_path / "b3")
        own = (folder / FILE).read_bytes()

        with pytest.raises(StoreError, match="went on apart after octet .* each holds acts that the other does not"):
            await restored(mongod, names[1], folder, tmp_path / "b2")
        # Nothing was begun, nothing was given up.
        assert (folder / FILE).read_bytes() == own
        connection = Connection(mongod.uri, names[1])
        assert await connection.database.list_collection_names() == []
        await connection.close()

        # What the message proposes: a backup from before they parted, or one made since.
        await restored(mongod, names[1], folder, tmp_path / "b1")
        async with opened(mongod, names[1], folder) as store:
            assert (await store.load(late.key)).body == late.body
            await store.acts.replay()
            assert (await store.load(late.key)).body == revoked.body
        await restored(mongod, names[2], folder, tmp_path / "b3")
        assert (folder / FILE).read_bytes() == own
        # A journal that is a beginning of the other one gives way to it.
        (folder / FILE).write_bytes((tmp_path / "b1" / FILE).read_bytes() + b"\0\0\0\x40torn")
        connection = Connection(mongod.uri, names[2])
        await connection.client.drop_database(names[2])
        await connection.close()
        await restored(mongod, names[2], folder, tmp_path / "b3")
        assert (folder / FILE).read_bytes() == own
        assert not list((folder / "journal").glob(".*"))
    finally:
        connection = Connection(mongod.uri, database)
        for name in names:
            await connection.client.drop_database(name)
        await connection.close()


async def test_acts_kept_between_two_restores_are_looked_at_whatever_the_mark_of_the_database_says(mongod, database, folder, tmp_path):
    second, name = f"{database}_2", f"{database}_3"
    async with opened(mongod, database, folder) as store:
        early, late = (new_row(store, "Consent") for _ in range(2))
        for row in (early, late):
            await store.create(row)
        await store.acts.keep("block", [early.key], 0)
        await taken(store, folder, tmp_path / "b1")
        for number in range(6):
            await store.acts.keep("block", [early.key], 1 + number)
        await taken(store, folder, tmp_path / "b2")
    await restored(mongod, second, folder, tmp_path / "b2")
    # By hand the journal of a host that went on from the first backup is put into its place.
    other = tmp_path / "other"
    shutil.copytree(folder / "keys", other / "keys")
    await restored(mongod, name, other, tmp_path / "b1")
    async with opened(mongod, name, other) as store:
        revoked = await _revoked(store, late, 7)
        for number in range(9):
            await store.acts.keep("block", [early.key], 8 + number)
        await store.connection.client.drop_database(name)
    shutil.copy(other / FILE, folder / FILE)
    async with opened(mongod, second, folder) as store:
        await store.acts.replay()
        assert (await store.load(late.key)).body == revoked.body
        assert (await store.acts.replay()).acts == 0
        await store.connection.client.drop_database(second)
