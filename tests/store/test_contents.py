"""Sealed contents: streamed in and out, ranges, tampering, orphans, erasure."""

import asyncio
import hashlib
import os
from datetime import datetime

import pytest
from bson import Binary

from fhir_dmp.errors import FhirError
from fhir_dmp.store import reading
from fhir_dmp.store.contents import BLOCK
from fhir_dmp.store.failures import Broken, Gone
from fhir_dmp.store.rows import Change, Content

from .making import changed, new_row


async def parts(data: bytes, size: int = 100_003):
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(store, content: Content, *range_: int) -> bytes:
    return b"".join([part async for part in store.contents.read(content.id, *range_)])


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 20 * BLOCK + 17])
async def test_what_goes_in_comes_out(store, size):
    data = os.urandom(size)
    content = await store.contents.write(parts(data), store.new_dossier())
    assert (content.size, content.sha256) == (size, hashlib.sha256(data).digest())
    assert await store.contents.size(content.id) == size
    assert await read(store, content) == data


async def test_ranges_are_cut_exactly(store):
    data = os.urandom(2 * BLOCK + 500)
    content = await store.contents.write(parts(data), 0)
    edges = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 499, 2 * BLOCK + 500)
    for start in edges:
        for end in edges:
            assert await read(store, content, start, end) == data[start:end], (start, end)
    assert await read(store, content, 5, 10**9) == data[5:]
    assert await read(store, content, 10**9) == b""


async def test_a_stream_is_never_held_as_a_whole(store):
    """Blocks are on the disk while the stream still comes."""
    seen = []

    async def stream():
        for _ in range(40):
            yield bytes(BLOCK)
            seen.append(await store._connection.database["contents.chunks"].count_documents({"files_id": {"$gt": b""}}))

    await store.contents.write(stream(), 0)
    assert seen[-1] >= 30


async def test_a_content_beyond_its_limit_is_refused_and_leaves_nothing(store):
    with pytest.raises(FhirError) as raised:
        await store.contents.write(parts(bytes(3_000_000)), 0, limit=2_999_999)
    assert raised.value.status == 413

    async def broken():
        yield bytes(3_000_000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.contents.write(broken(), 0)
    for name in ("contents.files", "contents.chunks"):
        assert await store._connection.database[name].estimated_document_count() == 0


async def test_tampering_is_noticed(store):
    data = os.urandom(3 * BLOCK + 5)
    chunks, files = store._connection.database["contents.chunks"], store._connection.database["contents.files"]

    async def blocks(content):
        return [c async for c in chunks.find({"files_id": Binary(content.id)}).sort("n", 1)]

    async def changed_byte(content):
        block = (await blocks(content))[1]
        await chunks.update_one({"_id": block["_id"]}, {"$set": {"data": block["data"][:-1] + bytes([block["data"][-1] ^ 1])}})

    async def swapped(content):
        first, second = (await blocks(content))[:2]
        await chunks.update_one({"_id": first["_id"]}, {"$set": {"data": second["data"]}})

    async def lost(content):
        await chunks.delete_one({"_id": (await blocks(content))[1]["_id"]})

    async def cut_short(content):
        await chunks.delete_one({"_id": (await blocks(content))[3]["_id"]})
        await files.update_one({"_id": Binary(content.id)}, {"$set": {"metadata.size": 3 * BLOCK}})

    async def renamed(content):
        other = await store.contents.write(parts(data), 0)
        for mine, theirs in zip(await blocks(content), await blocks(other), strict=True):
            await chunks.update_one({"_id": mine["_id"]}, {"$set": {"data": theirs["data"]}})

    for tamper in (changed_byte, swapped, lost, cut_short, renamed):
        content = await store.contents.write(parts(data), 0)
        assert await read(store, content) == data
        await tamper(content)
        with pytest.raises(Broken):
            await read(store, content)


async def test_a_content_is_read_in_its_own_dossier_only(store):
    dossier = store.new_dossier()
    content = await store.contents.write(parts(b"mine"), dossier)
    assert [part async for part in store.contents.read(content.id, dossier=dossier)] == [b"mine"]
    for wrong in ((content.id, 0, None, 0), (b"x" * 16, 0, None, dossier)):
        with pytest.raises(FhirError) as raised:
            [part async for part in store.contents.read(*wrong[:3], dossier=wrong[3])]
        assert raised.value.status == 404


async def test_large_bodies_are_kept_as_contents_and_opened_by_every_read(store):
    body = b'{"data":"' + b"A" * 5_000_000 + b'"}'
    row = new_row(store, "Binary", body=body)
    await store.create(row)
    document = await store._connection.database["resources"].find_one({"_id": Binary(row.key)})
    assert "b" not in document and len(str(document)) < 1000
    assert (await store.load(row.key)).body == body
    assert (await store.find(types=("Binary",)))[0].body == body
    following = changed(row, body=b"small")
    await store.commit([Change(following, row.version)])
    assert (await store.load(row.key)).body == b"small"
    assert (await store.load_version(row.key, row.version)).body == body
    assert [r.body for r in await store.history(key=row.key)] == [b"small", body]


async def test_a_page_of_bodies_that_would_fill_the_memory_is_refused(store, monkeypatch):
    monkeypatch.setattr(reading, "BODY_BYTES", 5_000_000)
    for _ in range(3):
        await store.create(new_row(store, "Binary", body=bytes(2_000_000)))
    assert len(await store.find(types=("Binary",), limit=2)) == 2
    with pytest.raises(FhirError, match="too large"):
        await store.find(types=("Binary",))
    assert len(await store.find(types=("Binary",), bodies=False)) == 3


async def test_contents_live_as_long_as_a_version_refers_to_them(store, monkeypatch):
    day = 24 * 3600 * 1000
    content = await store.contents.write(parts(b"attached"), 0)
    row = new_row(store, "Binary", dossier=0, content=Content(content.id, content.size))
    await store.create(row)
    assert (await store.load(row.key)).content == Content(content.id, 8)
    await store.commit([Change(changed(row, content=None), row.version)])
    orphans = [await store.contents.write(parts(b"orphan"), 0) for _ in range(3)]
    large = new_row(store, body=b"x" * 2_000_000)
    await store.create(large)
    assert await store.sweep_contents(day) == 0  # too young
    now = store.clock()
    monkeypatch.setattr(store.contents, "_now_ms", lambda: now + day + 1000)
    await store._connection.database["contents.files"].insert_one(
        {**store.contents._record(b"p" * 16, 0, 0, pending=True), "uploadDate": datetime(2020, 1, 1)}
    )
    assert await store.sweep_contents(day) == 4
    assert await read(store, content) == b"attached"
    assert (await store.load(large.key)).body == large.body
    for orphan in orphans:
        assert await store.contents.size(orphan.id) is None


async def test_a_sweep_goes_through_more_contents_than_one_page(store, monkeypatch):
    await asyncio.gather(*(store.contents.write(parts(b"o"), 0) for _ in range(130)))
    monkeypatch.setattr(store.contents, "_now_ms", lambda: store.clock() + 10_000)
    assert await store.sweep_contents(1000) == 130


async def test_destroying_the_key_of_a_dossier_makes_it_unreadable_and_leaves_the_others(store):
    mine, other = store.new_dossier(), store.new_dossier()
    rows = {d: new_row(store, dossier=d, g=(d % 1000,)) for d in (mine, other, 0)}
    contents, seconds = {}, {}
    for d, row in rows.items():
        await store.create(row)
        seconds[d] = changed(row, body=b"second")
        await store.commit([Change(seconds[d], row.version)])
        contents[d] = await store.contents.write(parts(b"content" * 1000), d)
    await store.destroy_key(mine)
    assert await store.load_many([rows[mine].key])  # still there, without a body
    for row in (await store.load(rows[mine].key), *(await store.history(dossiers=(mine,))), *(await store.find(dossiers=(mine,)))):
        assert (row.body, row.erased) == (None, True)
    assert (await store.load_version(rows[mine].key, rows[mine].version)).body is None
    with pytest.raises(Gone):
        await read(store, contents[mine])
    for write in (store.create(new_row(store, dossier=mine)), store.commit([Change(changed(seconds[mine]), seconds[mine].version)])):
        with pytest.raises(Gone):
            await write
    with pytest.raises(Gone):
        await store.contents.write(parts(b"more"), mine)
    await store.destroy_dossier(mine)
    assert await store.load(rows[mine].key) is None
    assert await store.history(dossiers=(mine,)) == [] and await store.count(dossiers=(mine,)) == 0
    assert await store.contents.size(contents[mine].id) is None
    with pytest.raises(Gone):
        await store.create(new_row(store, dossier=mine))
    for d in (other, 0):
        assert (await store.load(rows[d].key)).body == b"second"
        assert (await store.load_version(rows[d].key, rows[d].version)).body == rows[d].body
        assert await read(store, contents[d]) == b"content" * 1000
    with pytest.raises(ValueError):
        await store.destroy_dossier(0)


async def test_another_process_does_not_serve_from_a_key_it_opened_before(store, mongod, data_dir, database):
    from fhir_dmp.store.resources import Store

    row = new_row(store)
    await store.create(row)
    other = await Store.open(mongod.uri, database, data_dir=data_dir)
    assert (await other.load(row.key)).body == row.body
    await store.destroy_key(row.dossier)
    assert (await other.load(row.key)).body is None
    await other.close()
