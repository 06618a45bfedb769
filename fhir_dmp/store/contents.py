"""Contents: large bytes in GridFS, sealed block by block under the key of their dossier, streamed both ways.

https://www.mongodb.com/docs/manual/core/gridfs/
The scheme of blocks, number and last flag is that of STREAM: https://eprint.iacr.org/2015/189
"""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Any

from bson import Binary, ObjectId
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo import ReplaceOne
from pymongo.errors import PyMongoError

from fhir_dmp.errors import FhirError
from fhir_dmp.store.connection import READ_PATIENCE_SECONDS, Connection, repeated
from fhir_dmp.store.failures import Broken, translated
from fhir_dmp.store.rows import Content
from fhir_dmp.store.vault import OVERHEAD, seal, unseal

FILES, CHUNKS = "contents.files", "contents.chunks"
BLOCK = 256 * 1024
# Blocks written by one insert, read by one find: what a stream holds in memory.
GROUP = 8
_PLACE = Struct(">QB")

DossierKey = Callable[[int], Awaitable[AESGCM]]


class Contents:
    """Sealed contents of one store. dossier_key: reads the key of a dossier from the database, now."""

    def __init__(self, connection: Connection, dossier_key: DossierKey, now_ms: Callable[[], int]) -> None:
        self._files = connection.database[FILES]
        self._chunks = connection.database[CHUNKS]
        self._connection, self._dossier_key, self._now_ms = connection, dossier_key, now_ms

    @translated
    async def write(self, stream: AsyncIterable[bytes], dossier: int, limit: int | None = None) -> Content:
        """Store a stream of bytes; refused (413), leaving nothing, beyond `limit` bytes. The file record is written last."""
        key = await self._dossier_key(dossier)
        content = os.urandom(16)
        digest = hashlib.sha256()
        size = number = 0
        buffer = bytearray()
        group: list[dict] = []
        # The record comes first, as pending: should we die, the sweep finds its blocks by it.
        await self._files.insert_one(self._record(content, dossier, 0, pending=True))
        try:
            async for part in stream:
                size += len(part)
                if limit is not None and size > limit:
                    raise FhirError("too-long", f"the content is longer than {limit} bytes")
                digest.update(part)
                buffer += part
                # The last block is only known at the end, so a full one waits until more has come.
                while len(buffer) > BLOCK:
                    group.append(self._chunk(key, content, number, bytes(buffer[:BLOCK]), last=False))
                    del buffer[:BLOCK]
                    number += 1
                    if len(group) == GROUP:
                        await self._chunks.insert_many(group)
                        group = []
            group.append(self._chunk(key, content, number, bytes(buffer), last=True))
            await self._chunks.insert_many(group)
            await self._files.replace_one({"_id": Binary(content)}, self._record(content, dossier, size, pending=False))
        except BaseException:
            with contextlib.suppress(PyMongoError):  # the sweep finds what is left
                await self.remove(content)
            raise
        return Content(content, size, digest.digest())

    @translated
    async def size(self, content: bytes) -> int | None:
        """Plain bytes of a content; None when there is none."""
        record = await self._finished(content)
        return None if record is None else record["metadata"]["size"]

    @translated
    async def _finished(self, content: bytes) -> dict | None:
        return await repeated(
            lambda: self._files.find_one({"_id": Binary(content), "metadata.pending": False}), patience=READ_PATIENCE_SECONDS
        )

    async def read(self, content: bytes, start: int = 0, end: int | None = None, *, dossier: int | None = None) -> AsyncIterator[bytes]:
        """Bytes [start, end) of a content, block by block; a block that was changed, moved or cut off is refused when it is reached.

        dossier: the one it must belong to, when that is known.
        """
        record = await self._finished(content)
        if record is None or dossier not in (None, record["metadata"]["d"]):
            raise FhirError("not-found", "the content is not there")
        key = await self._dossier_key(record["metadata"]["d"])
        size = record["metadata"]["size"]
        end = size if end is None else min(end, size)
        final = max(0, (size - 1) // BLOCK)
        if start >= end and size:
            return
        first, stop = start // BLOCK, max(end - 1, 0) // BLOCK + 1
        for group in range(first, stop, GROUP):
            wanted = range(group, min(group + GROUP, stop))
            blocks = await self._blocks(content, wanted)
            for number in wanted:
                if number not in blocks:
                    raise Broken("a stored content is cut short")
                plain = unseal(key, blocks[number], _associated(content, number, number == final))
                if len(plain) != min(BLOCK, size - number * BLOCK):
                    raise Broken("a stored content has not the size it should have")
                low = max(start - number * BLOCK, 0)
                yield plain[low : end - number * BLOCK] if low or end < (number + 1) * BLOCK else plain

    async def read_all(self, content: bytes, limit: int) -> bytes:
        """A whole content in memory, refused beyond `limit` bytes."""
        parts, size = [], 0
        async for part in self.read(content):
            size += len(part)
            if size > limit:
                raise FhirError("too-long", f"the content is longer than {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    async def remove(self, content: bytes) -> None:
        await self._chunks.delete_many({"files_id": Binary(content)})
        await self._files.delete_one({"_id": Binary(content)})

    async def remove_dossier(self, dossier: int) -> int:
        """Remove all contents of a dossier; how many."""
        count = 0
        while found := await self._listed({"metadata.d": dossier}, "dossier", {"metadata.d": 1}):
            for record in found:
                await self.remove(record["_id"])
            count += len(found)
        return count

    async def sweep(self, age_ms: int, referred: Callable[[list[bytes]], Awaitable[set[bytes]]]) -> int:
        """Remove contents older than `age_ms` to which no version refers, and uploads that were never finished; how many.

        referred: which of these content ids some version refers to. age_ms: longer than any upload and its commit take.
        """
        before = _date(self._now_ms() - age_ms)
        count, date, last = 0, _date(0), b""
        while True:
            later = [{"uploadDate": {"$gt": date}}, {"uploadDate": date, "_id": {"$gt": Binary(last)}}]
            found = await self._listed({"uploadDate": {"$gte": date, "$lt": before}, "$or": later}, "age", {"uploadDate": 1, "_id": 1})
            if not found:
                return count
            date, last = found[-1]["uploadDate"], found[-1]["_id"]
            kept = await referred([record["_id"] for record in found if not record["metadata"]["pending"]])
            for record in found:
                if record["_id"] not in kept:
                    await self.remove(record["_id"])
                    count += 1

    async def _listed(self, where: dict, hint: str, order: dict) -> list[dict]:
        return await self._connection.read({"find": FILES, "filter": where, "hint": hint, "sort": order, "limit": 100})

    def _record(self, content: bytes, dossier: int, size: int, *, pending: bool) -> dict:
        blocks = max(1, -(-size // BLOCK))
        return {
            "_id": Binary(content),
            "filename": "sealed",
            "length": size + blocks * OVERHEAD,
            "chunkSize": BLOCK + OVERHEAD,
            "uploadDate": _date(self._now_ms()),
            "metadata": {"d": dossier, "size": size, "pending": pending},
        }

    @staticmethod
    def _chunk(key: AESGCM, content: bytes, number: int, plain: bytes, *, last: bool) -> dict:
        sealed = seal(key, plain, _associated(content, number, last))
        return {"_id": ObjectId(), "files_id": Binary(content), "n": number, "data": Binary(sealed)}

    @translated
    async def _blocks(self, content: bytes, numbers: range) -> dict[int, bytes]:
        command = {
            "find": CHUNKS,
            "filter": {"files_id": Binary(content), "n": {"$gte": numbers.start, "$lt": numbers.stop}},
            "hint": "blocks",
            "batchSize": len(numbers),
        }
        return {chunk["n"]: chunk["data"] for chunk in await self._connection.read(command)}


async def as_stored(connection: Connection, content: bytes) -> AsyncIterator[tuple[str, dict]]:
    """A content as it lies sealed in the database, with names of collections: its blocks, then its record; nothing when it is not there."""
    record = await connection.database[FILES].find_one({"_id": Binary(content), "metadata.pending": False})
    if record is None:
        return
    blocks = connection.database[CHUNKS].find({"files_id": Binary(content)}, hint="blocks", batch_size=GROUP)
    async for block in blocks.sort("n"):
        yield CHUNKS, block
    yield FILES, record


async def put_back(connection: Connection, name: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Blocks or records that `as_stored` gave, where they are not there any more; blocks come before their record."""
    changes = [ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in documents]
    if changes:
        await repeated(lambda: connection.database[name].bulk_write(changes, ordered=False))


def _associated(content: bytes, number: int, last: bool) -> bytes:
    return content + _PLACE.pack(number, last)


def _date(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
