"""Traces that stand alone, group-committed: one ordered insert for all who wait, majority and journaled.

https://www.mongodb.com/docs/manual/reference/command/insert/
https://www.mongodb.com/docs/manual/reference/write-concern/
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from bson import ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.errors import PyMongoError, WriteConcernError

from fhir_dmp.errors import FhirError
from fhir_dmp.store.batching import Batcher
from fhir_dmp.store.connection import Connection, repeated
from fhir_dmp.store.failures import Gone, is_transient, translated, unavailable
from fhir_dmp.store.lanes import Entry, Lanes, entry
from fhir_dmp.store.rows import NewRow, current_document
from fhir_dmp.store.vault import Vault, dossier_row

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


class Journal:
    """Traces of one store."""

    def __init__(self, connection: Connection, vault: Vault, lanes: Lanes, load: Load, random: Callable[[int], bytes], observe) -> None:
        """load: dossier rows by key, batched."""
        self._connection, self._vault, self.lanes, self._load, self._random = connection, vault, lanes, load, random
        self._batcher: Batcher[tuple[Entry, ...], Receipt] = Batcher(
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

    @translated
    async def record(self, rows: Sequence[NewRow], keys: Mapping[int, AESGCM]) -> Receipt:
        """Store traces; durable when it returns. keys: from `keys`, of every dossier among them."""
        entries = tuple(entry(row, current_document(row, keys[row.dossier], None), keys[row.dossier], self._random) for row in rows)
        return await self._batcher.submit(entries, sum(len(one.data) for one in entries))

    async def _append(self, items: list[tuple[Entry, ...]]) -> list[Receipt]:
        try:
            async with self.lanes.turn() as turn:
                await turn.ready()
                documents = [turn.place(one) for item in items for one in item]
                receipt = await repeated(lambda: self._insert(documents))
        except PyMongoError as error:
            if is_transient(error):
                raise unavailable() from error
            raise
        self.election = receipt.election
        return [receipt] * len(items)

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
