"""Tampering: whatever is altered, deleted, reordered or cut off in the database is named, precisely."""

import asyncio
from pathlib import Path

import pytest
from bson import Binary

from fhir_dmp.audit import chain
from fhir_dmp.audit.checkpoint import opened
from fhir_dmp.audit.merger import CHECKPOINTS, RESTORES, Merger, checkpoints, note_restore, signer
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.store.rows import Change
from tests.audit.making import new_patient, read_of
from tests.store.making import new_row


@pytest.fixture
async def journal(store, tmp_path):
    """A store with 30 merged traces of one dossier, in order, and five that are not merged yet."""
    journal = Journal(store, tmp_path)
    await journal.fill()
    return journal


class Journal:
    def __init__(self, store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.recorder, self.merger = Recorder(store), Merger(store, folder)
        self.rows = store._connection.database["resources"]
        self.database = store._connection.database

    async def fill(self) -> None:
        self.patient = await new_patient(self.store)
        for _ in range(20):
            await self.recorder.record([read_of(self.patient)])
        for _ in range(10):
            await self.store.commit([Change(new_row(self.store), None), *self.recorder.changes([read_of(self.patient)])])
        assert await self.merger.round() == 30
        await self.recorder.record([read_of(self.patient) for _ in range(5)])

    async def placed(self) -> list[dict]:
        """Rows of the traces by chain and number."""
        command = {"find": "resources", "filter": {"j.w": {"$gte": Binary(b"")}}, "sort": {"j.w": 1, "j.q": 1}, "hint": "journal"}
        return await self.store._connection.read(command)

    async def merged(self) -> list[dict]:
        """The same of one chain, merged ones only."""
        rows = await self.placed()
        chains = {bytes(one["_id"]): one["n"] for one in await self.store.log.chains()}
        longest = max(chains, key=chains.get)
        return [row for row in rows if bytes(row["j"]["w"]) == longest and row["j"]["q"] < chains[longest]]

    async def faults(self) -> list[tuple[str, str]]:
        report = await Verifier(self.store, self.folder).run()
        return [(fault.kind, fault.what) for fault in report.faults]

    def name(self, row: dict) -> str:
        return f"AuditEvent/{self.store.vault.seal_id(bytes(row['_id']))}"


async def test_an_untouched_journal_is_found_sound(journal):
    report = await Verifier(journal.store, journal.folder).run()
    assert report.faults == []
    assert (report.traces, report.unmerged, report.erased, report.heads) == (35, 5, 0, 2)


async def test_altered_octets_are_named(journal):
    row = (await journal.merged())[7]
    body = bytearray(row["b"])
    body[40] ^= 1
    await journal.rows.update_one({"_id": row["_id"]}, {"$set": {"b": Binary(bytes(body))}})
    assert await journal.faults() == [("altered", journal.name(row))]


async def test_a_trace_written_anew_under_the_right_key_is_named(journal):
    """Even the host itself cannot rewrite the past: it holds the key of the dossier, and the log holds the commitment."""
    from fhir_dmp.store.rows import row_of
    from fhir_dmp.store.vault import dossier_in, seal, version_row

    row = (await journal.merged())[7]
    dossier = dossier_in(row["_id"])
    key = (await journal.store.log.keys({dossier}))[dossier]
    body = row_of(row, key).body.replace(b"810001234567", b"810009999999")
    sealed = seal(key, body, version_row(row["_id"], row["v"]))
    await journal.rows.update_one({"_id": row["_id"]}, {"$set": {"b": Binary(sealed)}})
    assert await journal.faults() == [("altered", journal.name(row))]


async def test_a_deleted_trace_is_named(journal):
    row = (await journal.merged())[7]
    await journal.rows.delete_one({"_id": row["_id"]})
    assert await journal.faults() == [("deleted", journal.name(row))]


async def test_a_deleted_trace_that_was_not_merged_yet_leaves_a_gap_for_ever(journal):
    rows = await journal.placed()
    chains = {bytes(one["_id"]): one["n"] for one in await journal.store.log.chains()}
    row = [row for row in rows if row["j"]["q"] >= chains[bytes(row["j"]["w"])]][1]
    await journal.rows.delete_one({"_id": row["_id"]})
    named = [("deleted", f"trace {row['j']['q']} of chain {bytes(row['j']['w']).hex()}")]
    assert await journal.faults() == named
    assert await journal.merger.round() == 5
    assert await journal.faults() == named


async def test_two_traces_that_changed_places_are_named(journal):
    first, second = (await journal.merged())[5:7]
    for row, other in ((first, second), (second, first)):
        await journal.rows.update_one({"_id": row["_id"]}, {"$set": {"j": other["j"]}})
    assert sorted(await journal.faults()) == sorted([("reordered", journal.name(first)), ("reordered", journal.name(second))])


async def test_a_log_cut_short_contradicts_its_checkpoints(journal):
    log = journal.store.log
    await journal.database["journal.leaves"].delete_many({"_id": {"$gte": 20}})
    short = (await log.state())._replace(size=20)
    leaves = [bytes(leaf["h"]) async for batch in log.leaves() for leaf in batch]
    frontier = [Binary(node) for node in chain.append((), 0, leaves)]
    await journal.database["meta"].update_one({"_id": "journal"}, {"$set": {"size": short.size, "frontier": frontier}})
    await journal.database["journal.heads"].delete_many({"_id": {"$gt": 20}})
    assert ("truncated", "the log ends at 20") in await journal.faults()


async def test_traces_cut_off_at_the_end_are_named_one_by_one(journal):
    rows = (await journal.merged())[-3:]
    await journal.rows.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})
    assert {("deleted", journal.name(row)) for row in rows} <= set(await journal.faults())


async def test_an_inserted_trace_is_named(journal):
    row = (await journal.merged())[5]
    await journal.rows.insert_one({**row, "_id": Binary(bytes(row["_id"])[:8] + b"intruder")})
    assert [kind for kind, _ in await journal.faults()] == ["duplicated"]


async def test_a_changed_log_contradicts_its_checkpoints_and_names_the_entry(journal):
    await journal.database["journal.leaves"].update_one({"_id": 4}, {"$set": {"h": Binary(bytes(32))}})
    assert ("altered", "entry 4 of the log") in await journal.faults()


async def test_a_forged_checkpoint_is_named(journal):
    head = await journal.store.log.latest_head()
    await journal.database["journal.heads"].update_one({"_id": head["_id"]}, {"$set": {"text": head["text"].replace("\n30\n", "\n29\n")}})
    assert ("forged", "checkpoint 0 (database)") in await journal.faults()


async def test_an_erased_dossier_leaves_the_log_provable(journal):
    other = await new_patient(journal.store)
    await journal.recorder.record([read_of(other)])
    await journal.store.destroy_dossier(journal.store.vault.dossier_of_patient(journal.patient))
    report = await Verifier(journal.store, journal.folder).run()
    assert report.faults == []
    assert (report.erased, report.traces) == (35, 1)
    assert await journal.rows.count_documents({"d": journal.store.vault.dossier_of_patient(journal.patient)}, hint="dossier") == 0


async def test_checkpoints_grow_consistently(journal):
    store = journal.store
    await journal.merger.round()
    key = signer(store)
    first, second = (opened(text, key.origin, key.public) for text in checkpoints(journal.folder / CHECKPOINTS, key.origin))
    proof = await store.log.hashes(chain.consistency_ranges(first.size, second.size))
    assert (first.size, second.size) == (30, 35)
    assert chain.is_consistent(first.size, second.size, first.root, second.root, proof)


async def test_a_torn_checkpoint_does_not_hide_the_next_one(journal):
    path = journal.folder / CHECKPOINTS
    with path.open("a") as file:
        file.write(f"{signer(journal.store).origin}\n77\nAAAA")
    await journal.merger.round()
    assert len(checkpoints(path, signer(journal.store).origin)) == 2
    assert await journal.faults() == []


async def test_a_journal_in_use_is_found_sound_while_it_grows(journal):
    going = True

    async def write() -> None:
        while going:
            await journal.recorder.record([read_of(journal.patient) for _ in range(3)])

    async def merge() -> None:
        while going:
            await journal.merger.round()

    tasks = [asyncio.create_task(one) for one in (write(), write(), merge())]
    for _ in range(8):
        assert await journal.faults() == []
    going = False
    await asyncio.gather(*tasks)
    assert await journal.faults() == []


CHANGES = {
    "b": lambda value: Binary(bytes(value[:-1]) + bytes([value[-1] ^ 1])),
    "v": lambda value: value + 1,
    "j.q": lambda value: value + 1000,
    "j.m": lambda value: Binary(bytes(32)),
    "j.h": lambda value: Binary(bytes(32)),
    "j.w": lambda value: Binary(bytes(16)),
    "j": lambda value: None,
}


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("merged", [True, False])
async def test_no_part_of_a_stored_trace_can_be_changed_unseen(journal, path, merged):
    rows = await journal.placed()
    known = {row["_id"] for row in await journal.merged()}
    row = [row for row in rows if (row["_id"] in known) == merged][2]
    value = row
    for name in path.split("."):
        value = value[name]
    await journal.rows.update_one({"_id": row["_id"]}, {"$set": {path: CHANGES[path](value)}})
    faults = await journal.faults()
    place = f"trace {row['j']['q']} of chain {bytes(row['j']['w']).hex()}"
    assert {what for _, what in faults} & {journal.name(row), place}
    assert len(faults) <= 3


# Restores and witnesses


async def put_back(journal, folder: Path) -> list[dict]:
    """Log and traces as they were before ten more traces came: the log is shorter than its own checkpoints say. The rows that were lost."""
    database = journal.database
    before = await database["meta"].find_one({"_id": "journal"})
    chains = [one async for one in database["journal.chains"].find({}, hint="_id_")]
    for _ in range(10):
        await journal.recorder.record([read_of(journal.patient)])
    await journal.merger.round()
    size = before["size"]
    lost = [one["k"] async for one in database["journal.leaves"].find({"_id": {"$gte": size}, "k": {"$exists": True}}, hint="_id_")]
    await database["journal.leaves"].delete_many({"_id": {"$gte": size}}, hint="_id_")
    await database["journal.heads"].delete_many({"_id": {"$gt": size}}, hint="_id_")
    await journal.rows.delete_many({"_id": {"$in": lost}}, hint="_id_")
    await database["meta"].replace_one({"_id": "journal"}, before)
    await database["journal.chains"].delete_many({"_id": {"$nin": [one["_id"] for one in chains]}}, hint="_id_")
    for one in chains:
        await database["journal.chains"].replace_one({"_id": one["_id"]}, one)
    return lost


async def test_what_a_restore_undid_is_told_and_is_no_fault(journal, tmp_path):
    await put_back(journal, tmp_path)
    assert ("truncated", "the log ends at 30") in await journal.faults()
    await note_restore(journal.store, tmp_path)
    report = await Verifier(journal.store, tmp_path).run()
    assert (report.faults, report.lost) == ([], 15)
    # A process that starts on it begins new chains; the log grows past the old checkpoints.
    journal.store._lanes._idle.clear()
    for _ in range(20):
        await journal.recorder.record([read_of(journal.patient)])
    await journal.merger.round()
    report = await Verifier(journal.store, tmp_path).run()
    assert (report.faults, report.lost, (await journal.store.log.state()).size) == ([], 15, 50)


async def test_a_restore_excuses_neither_what_was_cut_off_since_nor_another_beginning(journal, tmp_path):
    await put_back(journal, tmp_path)
    await note_restore(journal.store, tmp_path)
    text = (tmp_path / RESTORES).read_text()
    (tmp_path / RESTORES).write_text(text.replace("\n30\n", "\n29\n"))
    assert ("forged", str(RESTORES)) in await journal.faults()
    (tmp_path / RESTORES).write_text(text)
    (last,) = (await journal.merged())[-1:]
    await journal.rows.delete_one({"_id": last["_id"]})
    assert await journal.faults() == [("deleted", journal.name(last))]


async def test_a_checkpoint_kept_elsewhere_is_compared_and_not_excused(journal, tmp_path):
    kept = tmp_path / "witness"
    kept.write_text((await journal.store.log.latest_head())["text"])
    report = await Verifier(journal.store, None, [kept]).run()
    assert (report.faults, report.heads) == ([], 2)
    await put_back(journal, tmp_path)
    kept.write_text(checkpoints(tmp_path / CHECKPOINTS, signer(journal.store).origin)[-1])
    await note_restore(journal.store, tmp_path)
    report = await Verifier(journal.store, tmp_path, [kept]).run()
    assert [(fault.kind, fault.what) for fault in report.faults] == [("truncated", "the log ends at 30")]
    assert str(kept) in report.faults[0].why
    kept.write_text("nothing\n")
    report = await Verifier(journal.store, None, [kept]).run()
    assert [fault.kind for fault in report.faults] == ["forged"]


MOVED = {"type": {"t": "Basic"}, "time": {"l": 1}, "dossier": {"d": 7}, "deleted": {"tz": "AuditEvent"}, "version": {"v": "one"}}


@pytest.mark.parametrize("change", MOVED.values(), ids=MOVED)
async def test_a_trace_that_was_put_where_nobody_finds_it_is_named(journal, change):
    row = (await journal.merged())[7]
    await journal.rows.update_one({"_id": row["_id"]}, {"$set": change})
    assert await journal.faults() == [("altered", journal.name(row))]


RUBBISH = {
    "a number of another kind": {"q": "7"},
    "a number below nothing": {"q": -1},
    "a chain cut short": {"w": Binary(b"short")},
    "no commitment": {"m": None},
}


@pytest.mark.parametrize("how", RUBBISH)
async def test_what_does_not_read_is_named_and_stops_nobody(journal, how):
    """A place that somebody spoiled by hand, at the end of a chain, keeps neither the log nor the verification from going on."""
    row = (await journal.placed())[-1]
    await journal.rows.update_one({"_id": row["_id"]}, {"$set": {f"j.{name}": value for name, value in RUBBISH[how].items()}})
    await journal.rows.insert_one({**row, "_id": f"by hand, {how}", "j": {**row["j"], "q": row["j"]["q"] + 1}})
    for _ in range(2):
        await journal.merger.round()
        await journal.recorder.record([read_of(journal.patient)])
    await journal.merger.round()
    faults = await journal.faults()
    assert any(what in (journal.name(row), f"row 'by hand, {how}'") for _, what in faults), faults
    report = await Verifier(journal.store, journal.folder).run()
    assert report.unmerged <= 1


async def test_a_past_written_anew_throughout_contradicts_what_was_signed(journal):
    """Row, leaf, link and root all agree with each other, and every head in the database is gone: the file of checkpoints still tells."""
    from fhir_dmp.store.lanes import place_of

    rows, database = await journal.merged(), journal.database
    row, place = rows[-1], place_of(rows[-1])
    other = place._replace(committed=bytes(32))
    linked = chain.link(place_of(rows[-2]).link, other.leaf)
    await journal.rows.update_one({"_id": row["_id"]}, {"$set": {"j.m": Binary(bytes(32)), "j.h": Binary(linked)}})
    at = {"w": row["j"]["w"], "q": row["j"]["q"]}
    await database["journal.leaves"].update_one(at, {"$set": {"m": Binary(bytes(32)), "h": Binary(other.leaf)}}, hint="place")
    leaves = [bytes(leaf["h"]) async for batch in journal.store.log.leaves() for leaf in batch]
    frontier = [Binary(node) for node in chain.append((), 0, leaves)]
    await database["meta"].update_one({"_id": "journal"}, {"$set": {"frontier": frontier}})
    await database["journal.heads"].delete_many({}, hint="_id_")
    assert ("altered", "the log up to entry 29") in await journal.faults()
