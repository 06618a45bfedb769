"""Protective acts survive a restore: the journal beside the database applies again what a backup does not know."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from bson import Binary
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.store import acts_file
from fhir_dmp.store.acts import FILE, Acts, Replayed
from fhir_dmp.store.acts_file import ActsFile
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change
from fhir_dmp.store.vault import dossier_row
from tests.store.making import changed, new_row

KEY = AESGCM(bytes(32))


def journal(store: Store, folder: Path) -> Acts:
    return Acts(store._connection, store.vault, folder)


async def documents(store: Store) -> list[dict]:
    return await store._connection.read({"find": "resources", "sort": {"_id": 1}, "hint": "_id_"})


async def put_back(store: Store, backup: list[dict]) -> None:
    """As a restore would: the rows as they were, nothing else."""
    database = store._connection.database
    await database["resources"].delete_many({"_id": {"$gte": Binary(b"")}}, hint="_id_")
    await database["resources"].insert_many(backup)
    await database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")


# The file


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=8), st.data())
def test_frames_open_in_their_order_only(values, draw):
    end = first = acts_file.begin(acts_file.NAME + bytes(16))
    pieces = []
    for value in values:
        data, end = acts_file.sealed(KEY, end, value)
        pieces.append(data)
    whole = b"".join(pieces)
    assert [frame.value for frame in acts_file.frames(KEY, whole, first)] == values
    assert end == list(acts_file.frames(KEY, whole, first))[-1].end
    torn = draw.draw(st.integers(0, len(whole)))
    opened = [frame.value for frame in acts_file.frames(KEY, whole[:torn], first)]
    assert opened == values[: len(opened)]
    place = draw.draw(st.integers(0, len(whole) - 1))
    altered = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    with contextlib.suppress(StoreError):
        assert [frame.value for frame in acts_file.frames(KEY, altered, first)] != values
    if len(pieces) > 1:
        gone = draw.draw(st.integers(0, len(pieces) - 2))
        with pytest.raises(StoreError):
            list(acts_file.frames(KEY, b"".join(pieces[:gone] + pieces[gone + 1 :]), first))


def test_several_writers_share_a_file_and_a_torn_frame_gives_way(tmp_path):
    path = tmp_path / "acts.log"
    first, second = ActsFile(path, KEY), ActsFile(path, KEY)
    first.append(b"1")
    second.append(b"2")
    with path.open("ab") as file:
        file.write(b"\0\0\0\x40torn")
    third = first.append(b"3")
    assert [frame.value for frame in second.read()[0]] == [b"1", b"2", b"3"]
    assert [frame.value for frame in ActsFile(path, KEY).read(third.offset - 1)[0]] == [b"3"]
    assert path.stat().st_mode & 0o077 == 0
    assert first.identity() == second.identity()


def test_a_file_of_another_host_or_cut_short_is_refused(tmp_path):
    path = tmp_path / "acts.log"
    writer = ActsFile(path, KEY)
    writer.append(b"1")
    with pytest.raises(StoreError):
        ActsFile(path, AESGCM(b"\1" * 32)).read()
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(StoreError):
        writer.append(b"2")


# Replay


async def test_a_restored_database_gets_back_what_was_acknowledged_after_the_backup(store, tmp_path):
    acts = journal(store, tmp_path)
    consent = new_row(store, "Consent")
    await store.create(consent)
    backup = await documents(store)
    revoked = changed(consent, body=b'{"resourceType":"Consent","status":"inactive"}')
    await store.commit([Change(revoked, consent.version)])
    await acts.keep("revocation", [consent.key], 1)
    await put_back(store, backup)
    assert (await store.load(consent.key)).body == consent.body
    assert await acts.replay() == Replayed(1, 1, 0)
    assert (await store.load(consent.key)).body == revoked.body
    assert (await store.load_version(consent.key, consent.version)).body == consent.body
    after = await documents(store)
    assert await acts.replay() == Replayed(0, 0, 0)
    await store._connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    assert (await acts.replay()).rows == 0
    assert await documents(store) == after


async def test_the_latest_act_counts(store, tmp_path):
    acts = journal(store, tmp_path)
    consent = new_row(store, "Consent")
    await store.create(consent)
    backup = await documents(store)
    blocked, lifted = changed(consent, body=b"{1}"), changed(consent, body=b"{2}")
    await store.commit([Change(blocked, consent.version)])
    await acts.keep("block", [consent.key], 1)
    await store.commit([Change(lifted, blocked.version)])
    await acts.keep("block", [consent.key], 2)
    await put_back(store, backup)
    await acts.replay()
    assert (await store.load(consent.key)).body == b"{2}"


async def test_labels_and_policies_without_a_new_version_are_told_by_their_stamp(store, tmp_path):
    acts = journal(store, tmp_path)
    row = new_row(store, "DocumentReference")
    await store.create(row)
    backup = await documents(store)
    rows = store._connection.database["resources"]
    policy = Binary(dossier_row(row.dossier))
    await rows.update_one({"_id": row.key}, {"$set": {"labels": ["MASQUE_PS"], "a": 5}})
    await rows.update_one({"_id": policy}, {"$set": {"policy": 7, "a": 5}})
    await acts.keep("mask", [row.key, bytes(policy)], 5)
    await put_back(store, backup)
    assert (await acts.replay()).rows == 2
    assert (await rows.find_one({"_id": row.key}))["labels"] == ["MASQUE_PS"]
    assert (await rows.find_one({"_id": policy}))["policy"] == 7
    assert (await store.load(row.key)).body == row.body


async def test_an_erased_dossier_stays_erased_and_an_unknown_one_is_left_out(store, tmp_path):
    acts = journal(store, tmp_path)
    row = new_row(store)
    await store.create(row)
    backup = await documents(store)
    later = new_row(store)
    await store.create(later)
    await acts.keep("block", [later.key], 1)
    await store.destroy_dossier(row.dossier)
    await acts.keep("erasure", [dossier_row(row.dossier)], 2)
    await put_back(store, backup)
    assert await acts.replay() == Replayed(2, 1, 1)
    assert (await store.load(row.key)).erased
    assert await store.load(later.key) is None


async def test_another_machine_learns_the_acts_from_the_database(store, tmp_path):
    row = new_row(store, "Consent")
    await store.create(row)
    backup = await documents(store)
    after = changed(row, body=b"{1}")
    await store.commit([Change(after, row.version)])
    await journal(store, tmp_path / "one").keep("block", [row.key], 1)
    await put_back(store, backup)
    other = journal(store, tmp_path / "two")
    await other.replay()
    assert (await store.load(row.key)).body == b"{1}"


async def test_an_act_that_cannot_be_kept_is_not_acknowledged(store, tmp_path):
    row = new_row(store, "Consent")
    await store.create(row)
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).mkdir()
    with pytest.raises(FhirError) as error:
        await journal(store, tmp_path).keep("block", [row.key], 1)
    assert error.value.status == 503


async def test_a_journal_cut_short_keeps_the_store_from_serving(store, tmp_path):
    row = new_row(store, "Consent")
    await store.create(row)
    acts = journal(store, tmp_path)
    await acts.keep("block", [row.key], 1)
    size = (tmp_path / FILE).stat().st_size
    await acts.keep("block", [row.key], 2)
    with (tmp_path / FILE).open("r+b") as file:
        file.truncate(size)
    with pytest.raises(StoreError):
        await journal(store, tmp_path).replay()


async def test_an_altered_journal_keeps_the_store_from_serving(store, tmp_path):
    row = new_row(store, "Consent")
    await store.create(row)
    acts = journal(store, tmp_path)
    await acts.keep("block", [row.key], 1)
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError):
        await journal(store, tmp_path).replay()


async def test_back_up_the_folder_mask_restore_and_still_masked():
    folder, backup = Path(tempfile.mkdtemp(prefix="fhir-dmp-")), Path(tempfile.mkdtemp(prefix="fhir-dmp-"))
    try:
        embedded = Embedded.start(folder, cache_gb=0.25)
        store = await Store.open(embedded.uri, "test", data_dir=folder)
        row = new_row(store, "Consent")
        await store.create(row)
        await store.close()
        embedded.stop()
        shutil.copytree(folder / "mongodb", backup / "mongodb", ignore=shutil.ignore_patterns("*.sock", "owner.lock"))

        embedded = Embedded.start(folder, cache_gb=0.25)
        store = await Store.open(embedded.uri, "test", data_dir=folder)
        masked = changed(row, body=b'{"masked":true}')
        await store.commit([Change(masked, row.version)])
        await journal(store, folder).keep("mask", [row.key], 1)
        await store.close()
        embedded.stop()
        shutil.rmtree(folder / "mongodb")
        shutil.copytree(backup / "mongodb", folder / "mongodb")

        embedded = Embedded.start(folder, cache_gb=0.25)
        store = await Store.open(embedded.uri, "test", data_dir=folder)
        assert (await store.load(row.key)).body == row.body
        assert (await journal(store, folder).replay()).rows == 1
        assert (await store.load(row.key)).body == masked.body
        await store.close()
        embedded.stop()
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(backup)
