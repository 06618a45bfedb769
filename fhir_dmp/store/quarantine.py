"""The quarantine: what came from a source and waits for somebody to say what a code means or who is meant. Nothing is lost, nothing shown.

Sealed under a key of the source's own; see fhir_dmp/exchange/waiting.py for what is inside. Where it is known which dossiers it names, it
goes with any of them that is destroyed.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, NamedTuple

from bson import Binary
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.errors import FhirError
from fhir_dmp.store.connection import repeated
from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import seal, unseal

COLLECTION = "quarantine"
LARGEST = 12 * 1024 * 1024
# In a row: keys of the names that it refers to. It was not kept always.
NAMES = "w"


class Waiting(NamedTuple):
    """One thing that waits. key: 16 bytes, of the name of the thing. kind: identity, code or content. at_ms: of when it came first,
    UTC. body: opened.
    """

    key: bytes
    source: str
    kind: str
    at_ms: int
    body: bytes


@translated
async def waits_for(store: Store, dossiers: Collection[int]) -> bool:
    """Whether anything of any source waits that names one of these dossiers."""
    where = {"d": {"$in": sorted(dossiers)}}
    return bool(await store.connection.read({"find": COLLECTION, "filter": where, "projection": {"_id": 1}, "limit": 1, "hint": "dossier"}))


def _of(dossiers: Collection[int]) -> dict[str, list[int]]:
    return {"d": sorted(dossiers)} if dossiers else {}


class Quarantine:
    """The quarantine of one source. dossier: number of the key that seals it."""

    def __init__(self, store: Store, source: str, dossier: int) -> None:
        self._store, self._source, self._dossier = store, source, dossier
        self._rows = store.connection.database[COLLECTION]

    @translated
    async def put(
        self, key: bytes, kind: str, body: bytes, dossiers: Collection[int] = (), *, names: Collection[bytes] | None = None
    ) -> None:
        """Keep something, in the place of what was kept under the same key. dossiers: with which it goes; none where they are as before.

        names: keys of what it refers to, None where that is not told.
        """
        if len(body) > LARGEST:
            raise FhirError("too-long", f"what waits in quarantine may take {LARGEST} bytes")
        sealed = seal(await self._store.dossier_key(self._dossier), body, self._bound(key))
        document = {"s": self._source, "k": kind, "b": Binary(sealed), **_of(dossiers)}
        document |= {} if names is None else {NAMES: [Binary(name) for name in sorted(names)]}
        # Sent again, it was received when it came first.
        change = {"$set": document, "$setOnInsert": {"at": self._store.clock()}}
        await repeated(lambda: self._rows.update_one({"_id": Binary(key)}, change, upsert=True))

    @translated
    async def about(self, keys: Collection[bytes], dossiers: Collection[int]) -> None:
        """What waits under these keys goes with these dossiers."""
        if keys and dossiers:
            which = {"_id": {"$in": [Binary(key) for key in keys]}, "s": self._source}
            await repeated(lambda: self._rows.update_many(which, {"$set": _of(dossiers)}))

    @translated
    async def drop(self, keys: Collection[bytes]) -> None:
        """Of these, what goes with no dossier waits no longer."""
        which = {"_id": {"$in": [Binary(key) for key in keys]}, "s": self._source, "d": {"$exists": False}}
        await repeated(lambda: self._rows.delete_many(which))

    @translated
    async def has(self, keys: list[bytes]) -> set[bytes]:
        """Which of these wait."""
        command = {"find": COLLECTION, "filter": {"_id": {"$in": [Binary(key) for key in keys]}}, "projection": {"_id": 1}}
        return {document["_id"] for document in await self._store.connection.read({**command, "batchSize": len(keys) + 1})}

    @translated
    async def get(self, key: bytes) -> Waiting | None:
        """One thing that waits."""
        found = await self._store.connection.read({"find": COLLECTION, "filter": {"_id": Binary(key)}, "limit": 1})
        return self._opened(found[0], await self._store.dossier_key(self._dossier)) if found and found[0]["s"] == self._source else None

    async def all(self, kind: str | None = None, *, naming: Collection[bytes] | None = None) -> AsyncIterator[Waiting]:
        """Everything of the source that waits, in the order of its keys, read in pieces.

        naming: only what goes with no dossier and may refer to one of these. Few are opened: whoever waits is asked for one by one.
        """
        key = await self._store.dossier_key(self._dossier)
        after = b""
        some: dict[str, Any] = {}
        if naming is not None:
            some = {"d": {"$exists": False}, "$or": [{NAMES: {"$in": [Binary(name) for name in naming]}}, {NAMES: {"$exists": False}}]}
        while True:
            where: dict[str, Any] = {"s": self._source, "_id": {"$gt": Binary(after)}, **some}
            command = {"find": COLLECTION, "filter": where, "sort": {"s": 1, "_id": 1}, "limit": 100, "hint": "source"}
            found = await self._store.connection.read(command)
            for document in found:
                if kind in (None, document["k"]):
                    yield self._opened(document, key)
            if len(found) < 100:
                return
            after = bytes(found[-1]["_id"])

    @translated
    async def remove(self, key: bytes) -> None:
        """It waits no longer."""
        await repeated(lambda: self._rows.delete_one({"_id": Binary(key), "s": self._source}))

    def _opened(self, document: Mapping[str, Any], key: AESGCM) -> Waiting:
        own = bytes(document["_id"])
        return Waiting(own, document["s"], document["k"], document["at"], unseal(key, document["b"], self._bound(own)))

    def _bound(self, key: bytes) -> bytes:
        return b"quarantine " + key
