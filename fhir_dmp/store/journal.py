"""Traces that stand alone, group-committed: one ordered insert for all who wait, majority and journaled.

https://www.mongodb.com/docs/manual/reference/command/insert/
https://www.mongodb.com/docs/manual/reference/write-concern/
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from bson import ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.errors import WriteConcernError

from fhir_dmp.errors import FhirError
from fhir_dmp.store.batching import Batcher, Failed
from fhir_dmp.store.connection import Connection, repeated
from fhir_dmp.store.failures import Broken, Gone, translated
from fhir_dmp.store.lanes import Entry, Lanes, entries
from fhir_dmp.store.rows import NewRow
from fhir_dmp.store.vault import COMMON, Vault, dossier_row

CONCERN = {"w": "majority", "j": True, "wtimeout": 20_000}
# How long the key of a dossier may seal traces without being read again. It opens nothing: a trace written under a key that was destroyed
# meanwhile is as unreadable as the rest of the dossier.
KEY_SECONDS = 5.0
_KEYS = 4096

Load = Callable[[tuple[bytes, ...]], "object"]


class Receipt(NamedTuple):
    """Where and when a batch became durable. election: of the primary that took it, None on a sharded cluster.

    When `election` is what it was before something was read, no newer primary existed in between: what was read was the latest.
    """

    election: ObjectId | None
    at: Timestamp | None


class Awaited(NamedTuple):
    """Traces that somebody waits for. dossiers: that they tell of, by number. rows: makes them, given the keys of those that there are."""

    dossiers: Sequence[int]
    rows: Callable[[Mapping[int, AESGCM]], Sequence[NewRow]]


class Journal:
    """Traces of one store."""

    def __init__(self, connection: Connection, vault: Vault, lanes: Lanes, load: Load, random: Callable[[int], bytes], observe) -> None:
        """load: dossier rows by key, batched."""
        self._connection, self._vault, self.lanes, self._load, self._random = connection, vault, lanes, load, random
        self._batcher: Batcher[Awaited, Receipt] = Batcher(
            self._append, in_flight=2, max_items=1000, max_bytes=8 * 1024 * 1024, observe=observe
        )
        self._keys: OrderedDict[int, tuple[AESGCM, float]] = OrderedDict()
        # Of the latest acknowledged batch.
        self.election: ObjectId | None = None

    async def close(self) -> None:
        await self._batcher.close()
        await self.lanes.close()

    @translated
    async def keys(self, dossiers: Iterable[int]) -> dict[int, AESGCM]:
        """Keys that seal traces; a dossier that does not exist, or was erased, is left out."""
        now = time.monotonic()
        found = {dossier: kept[0] for dossier in dossiers if (kept := self._keys.get(dossier)) and kept[1] > now}
        if missing := {dossier_row(dossier): dossier for dossier in dossiers if dossier not in found}:
            documents = await self._load(tuple(missing))
            for row, document in documents.items():
                try:
                    key = self._vault.dossier_key(missing[row], document.get("k"))
                except Gone:
                    self._keys.pop(missing[row], None)
                    continue
                found[missing[row]] = key
                self.learned(missing[row], key)
        return found

    def learned(self, dossier: int, key: AESGCM) -> None:
        """The key of a dossier, from its row as read just now: what is shown is traced without reading it once more."""
        self._keys[dossier] = (key, time.monotonic() + KEY_SECONDS)
        if len(self._keys) > _KEYS:
            self._keys.popitem(last=False)

    def put(self, awaited: Awaited, size: int) -> "asyncio.Future[Receipt]":
        """Store traces; they are durable when this is done. size: about how many bytes they will have."""
        return self._batcher.put(awaited, size)

    @translated
    async def _append(self, items: list[Awaited]) -> list[Receipt | Failed]:
        """One batch. Traces are made here, one after the other: their code and tables, met once a request, would be cold each time."""
        try:
            made = self._made(items, await self.keys({COMMON, *[dossier for item in items for dossier in item.dossiers]}))
        except Broken as error:
            # The key of one dossier does not open: that is no reason to trace nothing of the others.
            made = [Failed(error)] if len(items) == 1 else [(await self._alone(item))[0] for item in items]
        placed = [one for each in made if not isinstance(each, Failed) for one in each]
        if not placed:
            return made
        async with self.lanes.turn() as turn:
            await turn.ready()
            documents = [turn.place(one) for one in placed]
            receipt = await repeated(lambda: self._insert(documents))
        self.election = receipt.election
        return [each if isinstance(each, Failed) else receipt for each in made]

    async def _alone(self, item: Awaited) -> list[Sequence[Entry] | Failed]:
        try:
            return self._made([item], await self.keys({COMMON, *item.dossiers}))
        except Broken as error:
            return [Failed(error)]

    def _made(self, items: Sequence[Awaited], keys: Mapping[int, AESGCM]) -> list[Sequence[Entry] | Failed]:
        """Of each item its traces; in one go, and one by one where one of them cannot be stored: the others shall be."""
        try:
            rows = [item.rows(keys) for item in items]
            made = iter(entries([row for each in rows for row in each], keys, self._random))
            return [list(islice(made, len(each))) for each in rows]
        except Exception as error:
            return [Failed(error)] if len(items) == 1 else [self._made([item], keys)[0] for item in items]

    async def _insert(self, documents: list[RawBSONDocument]) -> Receipt:
        """In order: what is stored after a crash is a beginning. Repeated after a lost answer, it goes on where that one ended."""
        while True:
            command = {"insert": "resources", "documents": documents, "ordered": True, "writeConcern": CONCERN}
            primary = self._connection.primary
            answer = await self._connection.database.command(command)
            if "writeConcernError" in answer:
                raise WriteConcernError("not yet durable", 64, {"errorLabels": ["RetryableWriteError"]})
            if not answer.get("writeErrors"):
                self._connection.acknowledged(primary, answer.get("electionId"))
                return Receipt(answer.get("electionId"), _time(answer.get("opTime")))
            (failed,) = answer["writeErrors"]
            if failed["code"] != 11000:
                raise FhirError("exception", "the database refused a trace")
            # The first `index` are stored now, this one was before; a repeated insert of it makes sure of the rest.
            rest = documents[failed["index"] + 1 :]
            if not rest:
                return await self._durable(documents[failed["index"]])
            documents = rest

    async def _durable(self, document: RawBSONDocument) -> Receipt:
        """All were there already: a write that changes nothing, acknowledged by the majority, makes them as durable as itself."""
        update = {"q": {"_id": document["_id"]}, "u": {"$set": {"v": document["v"]}}}
        answer = await self._connection.database.command({"update": "resources", "updates": [update], "writeConcern": CONCERN})
        if "writeConcernError" in answer:
            raise WriteConcernError("not yet durable", 64, {"errorLabels": ["RetryableWriteError"]})
        return Receipt(answer.get("electionId"), _time(answer.get("opTime")))


def _time(op_time: object) -> Timestamp | None:
    return op_time.get("ts") if isinstance(op_time, Mapping) else None
