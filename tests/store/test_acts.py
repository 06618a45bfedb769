"""Protective acts survive a restore: the journal beside the database applies again what a backup does not know."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import bson
import pytest
from bson import Binary
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.store import acts_file, restored
from fhir_dmp.store.acts import FILE, Acts, Replayed
from fhir_dmp.store.acts_file import ActsFile
from fhir_dmp.store.acts_told import differences
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import OPTIONS, Change, NewRow
from fhir_dmp.store.vault import dossier_row
from tests.store.making import changed, new_row

KEY = AESGCM(bytes(32))


def journal(store: Store, folder: Path) -> Acts:
    return Acts(store._connection, store.vault, folder)


async def blocked(store: Store, folder: Path) -> tuple[NewRow, Acts]:
    """A Consent of an act that is kept, and the journal that has it."""
    row, acts = new_row(store, "Consent"), journal(store, folder)
    await store.create(row)
    await acts.replay()
    await acts.keep("block", [row.key], 1)
    return row, acts


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
    assert third == second.read()[1]
    assert path.stat().st_mode & 0o077 == 0
    assert first.identity() == second.identity()


def test_what_comes_after_a_place_is_read_and_all_where_the_place_is_in_another_file(tmp_path):
    one, other = ActsFile(tmp_path / "one.log", KEY), ActsFile(tmp_path / "other.log", KEY)
    common = one.append(b"1")
    shutil.copy(tmp_path / "one.log", tmp_path / "other.log")
    known = one.append(b"2")
    one.append(b"3")
    for value in (b"x", b"y", b"z"):
        other.append(value)

    def values(file: ActsFile, place: acts_file.End) -> tuple[list[bytes], bool]:
        found, _, met = file.read(place)
        return [frame.value for frame in found], met

    assert values(one, known) == ([b"3"], True)
    assert values(other, common) == ([b"x", b"y", b"z"], True)
    assert values(other, known) == ([b"1", b"x", b"y", b"z"], False)
    assert values(one, known._replace(hashed=b"")) == ([b"1", b"2", b"3"], False)


def test_a_frame_that_no_reader_would_take_is_not_written(tmp_path, monkeypatch):
    writer = ActsFile(tmp_path / "acts.log", KEY)
    writer.append(b"1")
    before = (tmp_path / "acts.log").read_bytes()
    monkeypatch.setattr(acts_file, "LONGEST", 1000)
    with pytest.raises(StoreError, match="does not fit"):
        writer.append(bytes(1001 - 28))
    assert (tmp_path / "acts.log").read_bytes() == before
    writer.append(bytes(1000 - 28))
    assert [len(frame.value) for frame in writer.read()[0]] == [1, 972]


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


LABEL = 1


def facts(root: int, labels: int = 0) -> dict:
    return {"lb": labels, "ty": 7, "au": [], "og": 0, "fd": 0, "rl": 1 << 50, "st": 0, "rt": root, "pa": 0, "pb": 1 << 50}


async def masked(store: Store, acts: Acts, dossier: int, at_ms: int) -> list[bytes]:
    """A mask of the lineage 1, as the holder sets it."""
    keys = await store.transact(lambda transaction: transaction.relabel(dossier, 1, add=LABEL, remove=0, at_ms=at_ms))
    await acts.keep("mask", keys, at_ms)
    return keys


async def found_labels(store: Store, dossier: int) -> list[int]:
    command = {"find": "resources", "filter": {"d": dossier}, "projection": {"y": 1}, "hint": "dossier"}
    return [one["y"]["lb"] for one in await store.connection.read(command)]


async def test_a_mask_of_large_results_and_thousands_of_traces_is_kept_small_and_holds_after_a_restore(store, tmp_path, monkeypatch):
    acts = journal(store, tmp_path)
    document = new_row(store, "DocumentReference", visible=facts(1))
    dossier = document.dossier
    await store.create(document)
    for _ in range(20):
        large = os.urandom(700_000).hex()[:950_000].encode()
        await store.create(new_row(store, "Observation", dossier=dossier, body=large, visible=facts(1)))
    asked = [new_row(store, "AuditEvent", dossier=dossier, body=os.urandom(12_000), visible=facts(1), journal=True) for _ in range(1_000)]
    for start in range(0, len(asked), 250):
        await store.commit([Change(row, None) for row in asked[start : start + 250]])
    backup = await documents(store)
    at_ms = document.updated_ms + 10_000_000
    keys = await masked(store, acts, dossier, at_ms)
    assert len(keys) == 1_021
    assert (tmp_path / FILE).stat().st_size < 1_000_000
    await put_back(store, backup)
    assert await acts.replay() == Replayed(1, 1_021, 0)
    assert await found_labels(store, dossier) == [LABEL] * 1_021
    after = await documents(store)
    await store.connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    assert (await journal(store, tmp_path / "other").replay()).rows == (await acts.replay()).rows == 0
    assert await documents(store) == after

    # What is larger than a frame goes in several, each with its copy.
    monkeypatch.setattr("fhir_dmp.store.acts.FRAME_BYTES", 20_000)
    await acts.keep("unmask", keys, at_ms + 1)
    found, _, _ = ActsFile(tmp_path / FILE, acts._key).read()
    assert len(found) > 5 and all(len(frame.value) < 21_000 for frame in found[1:])
    names = {bytes(one["_id"]) for one in await store.connection.read({"find": "acts", "hint": "_id_"})}
    assert {frame.end.hashed[:16] for frame in found} <= names
    assert (await acts.replay()) == Replayed(0, 0, 0)


async def test_documents_of_any_size_are_kept_in_frames_of_their_own(store, tmp_path, monkeypatch):
    monkeypatch.setattr("fhir_dmp.store.acts.FRAME_BYTES", 1_000_000)
    acts = journal(store, tmp_path)
    dossier = store.new_dossier()
    rows = [
        new_row(store, "DocumentReference", dossier=dossier, body=os.urandom(450_000).hex().encode(), visible=facts(1)) for _ in range(5)
    ]
    for row in rows:
        await store.create(row)
    backup = await documents(store)
    withdrawn = [changed(row, body=row.body + b" ", visible=facts(1)) for row in rows]
    for before, after in zip(rows, withdrawn, strict=True):
        await store.commit([Change(after, before.version)])
    await acts.keep("withdraw", [row.key for row in rows], 1)
    assert len(ActsFile(tmp_path / FILE, acts._key).read()[0]) == 5
    await put_back(store, backup)
    assert await acts.replay() == Replayed(5, 5, 0)
    assert [(await store.load(row.key)).body for row in rows] == [row.body for row in withdrawn]


async def test_what_has_a_body_of_its_own_comes_back_with_it(store, tmp_path, monkeypatch):
    monkeypatch.setattr("fhir_dmp.store.acts.FRAME_BYTES", 500_000)
    acts = journal(store, tmp_path)
    document = new_row(store, "DocumentReference", visible=facts(1), body=b"%" * 1_500_000)
    other = new_row(store, "Consent", dossier=document.dossier, visible=facts(1), body=b"?" * 1_500_000)
    await store.create(document)
    backup = await documents(store)
    collections = [store.connection.database[name] for name in ("contents.files", "contents.chunks")]
    before = [[one["_id"] async for one in each.find({}, {"_id": 1}, hint="_id_")] for each in collections]
    await store.create(other)
    withdrawn = changed(document, body=b"!" * 1_500_000, visible=facts(1))
    await store.commit([Change(withdrawn, document.version)])
    await acts.keep("mask", [*await masked(store, acts, document.dossier, document.updated_ms + 10_000_000), other.key], 2)
    await put_back(store, backup)
    for each, ids in zip(collections, before, strict=True):
        await each.delete_many({"_id": {"$nin": ids}}, hint="_id_")
    assert (await acts.replay()).rows == 2
    for row in (withdrawn, other):
        assert (await store.load(row.key)).body == row.body
    assert await found_labels(store, document.dossier) == [LABEL, LABEL]
    await store.connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    assert (await acts.replay()).rows == 0


async def test_a_trace_that_came_after_the_backup_does_not_come_back_with_its_place_in_the_journal(store, tmp_path):
    acts = journal(store, tmp_path)
    document = new_row(store, "DocumentReference", visible=facts(1))
    dossier = document.dossier
    await store.create(document)

    async def trace() -> bytes:
        row = new_row(store, "AuditEvent", dossier=dossier, visible=facts(1), journal=True)
        await store.commit([Change(row, None)])
        return row.key

    known = await trace()
    backup = await documents(store)
    late = await trace()
    await masked(store, acts, dossier, document.updated_ms + 10_000_000)
    # As it was kept before facts were kept alone: all rows as they are stored.
    rows = [row for row in await documents(store) if row["_id"] in (known, late)]
    old = bson.encode({"k": "mask", "at": 2, "rows": rows}, codec_options=OPTIONS)
    await put_back(store, backup)
    await acts.replay()
    assert await store.load(late) is None
    assert await found_labels(store, dossier) == [LABEL] * 2

    await put_back(store, backup)
    other = journal(store, tmp_path / "old")
    other._file.append(old)
    await store.connection.database["acts"].delete_many({"_id": {"$gte": Binary(b"")}}, hint="_id_")
    assert await other.replay() == Replayed(1, 1, 0)
    assert await store.load(late) is None
    assert sorted(await found_labels(store, dossier)) == [0, LABEL]


async def test_facts_reach_an_earlier_version_and_undo_no_later_act(store, tmp_path):
    acts = journal(store, tmp_path)
    document = new_row(store, "DocumentReference", visible=facts(1))
    dossier = document.dossier
    binary = new_row(store, "Binary", dossier=dossier, visible=facts(1))
    for row in (document, binary):
        await store.create(row)
    backup = await documents(store)
    await store.commit([Change(changed(binary, visible=facts(1)), binary.version)])
    at_ms = document.updated_ms + 10_000_000
    keys = await masked(store, acts, dossier, at_ms)
    await put_back(store, backup)
    await acts.replay()
    assert await found_labels(store, dossier) == [LABEL] * 2
    assert (await store.load(binary.key)).version == binary.version

    # Unmasked since: looked at once more, the mask is the earlier of the two acts.
    await store.transact(lambda transaction: transaction.relabel(dossier, 1, add=0, remove=LABEL, at_ms=at_ms + 1))
    await store.connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    await acts.replay()
    assert await found_labels(store, dossier) == [0] * len(keys)


async def test_a_journal_that_went_on_otherwise_is_looked_at_from_its_beginning(store, tmp_path):
    acts = journal(store, tmp_path)
    await acts.replay()
    one, two = new_row(store, "Consent"), new_row(store, "Consent")
    for row in (one, two):
        await store.create(row)
    await acts.keep("block", [one.key], 1)
    shutil.copytree(tmp_path / "journal", tmp_path / "other" / "journal")
    before = await documents(store)
    blocked = changed(two, body=b"{1}")
    await store.commit([Change(blocked, two.version)])
    other = journal(store, tmp_path / "other")
    await other.keep("block", [two.key], 2)
    for _ in range(5):
        await other.keep("block", [one.key], 3)
    # The database knows the other one, up to a place that this one has as well.
    database = store.connection.database
    await database["resources"].delete_many({"_id": {"$gte": Binary(b"")}}, hint="_id_")
    await database["resources"].insert_many(before)
    mark = await database["meta"].find_one({"_id": {"$regex": "^acts "}})
    await acts.keep("block", [one.key], 2)
    await database["meta"].replace_one({"_id": mark["_id"]}, {**mark, "offset": (await asyncio.to_thread(acts._file.read))[1].offset})
    await restored.note(store.connection, 1)
    assert (await journal(store, tmp_path / "other").replay()).rows == 1
    assert (await store.load(two.key)).body == b"{1}"
    assert await journal(store, tmp_path / "other").replay() == Replayed(0, 0, 0)


async def test_what_is_kept_before_the_replay_hides_no_act_from_it(store, tmp_path):
    """A database that was put back by other means, and a command that keeps an act there before anything serves."""
    acts = journal(store, tmp_path)
    await acts.replay()
    consent, other = new_row(store, "Consent"), new_row(store, "Consent")
    for row in (consent, other):
        await store.create(row)
    await acts.keep("block", [other.key], 1)
    backup, mark = await documents(store), await store.connection.database["meta"].find_one({"_id": {"$regex": "^acts "}})
    revoked = changed(consent, body=b"{1}")
    await store.commit([Change(revoked, consent.version)])
    await acts.keep("revocation", [consent.key], 2)
    assert (await acts.replay()).acts == 0
    await put_back(store, backup)
    await store.connection.database["meta"].insert_one(mark)
    command = journal(store, tmp_path)
    await command.keep("block", [other.key], 3)
    await journal(store, tmp_path).replay()
    assert (await store.load(consent.key)).body == revoked.body


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
    # Who runs this host is told where and why, a client is not.
    assert "journal/acts.log" in str(error.value) and "Make room" in str(error.value)
    assert "journal" not in error.value.message and "journal" not in error.value.issues[0].diagnostics
    with pytest.raises(StoreError, match=r"journal/acts\.log .* Make room"):
        await journal(store, tmp_path).replay()


async def test_a_journal_cut_short_keeps_the_store_from_serving(store, tmp_path):
    row, acts = await blocked(store, tmp_path)
    size = (tmp_path / FILE).stat().st_size
    await acts.keep("block", [row.key], 2)
    with (tmp_path / FILE).open("r+b") as file:
        file.truncate(size)
    with pytest.raises(StoreError):
        await journal(store, tmp_path).replay()


@pytest.mark.parametrize("since", [0, 5], ids=["as it was", "made longer"])
async def test_an_older_copy_of_the_journal_is_not_gone_on_with(store, tmp_path, since):
    """What it lacks would come back with the next backup that is restored."""
    row, acts = await blocked(store, tmp_path)
    older = (tmp_path / FILE).read_bytes()
    await acts.keep("block", [row.key], 2)
    newest = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(older)
    for number in range(since):  # by what does not ask
        ActsFile(tmp_path / FILE, acts._key).append(bson.encode({"k": "block", "at": 3 + number, "rows": []}))
    before = (tmp_path / FILE).read_bytes()
    again = journal(store, tmp_path)
    for _ in range(2):
        with pytest.raises(FhirError) as error:
            await again.keep("block", [row.key], 9)
        assert error.value.status == 503
    assert (tmp_path / FILE).read_bytes() == before
    with pytest.raises(StoreError, match="lacks acts that the database knows"):
        await again.replay()
    assert [one.kind for one in await differences(store, tmp_path)] == ["truncated"]

    (tmp_path / FILE).write_bytes(newest)
    await journal(store, tmp_path).keep("block", [row.key], 9)
    assert await journal(store, tmp_path).replay() == Replayed(0, 0, 0)
    # Beside a database that was restored since, it is looked at from its beginning, and from then on this one is known.
    (tmp_path / FILE).write_bytes(before)
    ActsFile(tmp_path / FILE, acts._key).append(bson.encode({"k": "long", "at": 9, "rows": [], "size": "." * 9_000}))
    await restored.note(store.connection, 9)
    assert (await journal(store, tmp_path).replay()).acts == since + 2
    (tmp_path / FILE).write_bytes(newest)
    with pytest.raises(StoreError, match="lacks acts that the database knows"):
        await journal(store, tmp_path).replay()


async def test_the_same_journal_is_known_anew_after_a_restore(store, tmp_path):
    row, acts = await blocked(store, tmp_path)
    older = (tmp_path / FILE).read_bytes()
    await acts.keep("block", [row.key], 2)
    await restored.note(store.connection, 3)
    assert await journal(store, tmp_path).replay() == Replayed(0, 0, 0)
    (tmp_path / FILE).write_bytes(older)
    for _ in range(5):
        ActsFile(tmp_path / FILE, acts._key).append(bson.encode({"k": "block", "at": 3, "rows": []}))
    with pytest.raises(StoreError, match="lacks acts that the database knows"):
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
