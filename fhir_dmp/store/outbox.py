"""Messages that wait to be sent, written in the transaction of the act they tell of; and marks of what was told once and for all.

https://microservices.io/patterns/data/transactional-outbox.html

A message is sealed under the key of its dossier and goes with it. Whoever takes one has it for a while; what he does not report done is
given out again, under the same id.
"""

from typing import NamedTuple

from bson import Binary

from fhir_dmp.fhir.instants import MINUTE
from fhir_dmp.store.connection import repeated
from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import dossier_row, seal, unseal

COLLECTION = "host.outbox"
LEASE_MS = 10 * MINUTE
# Attempts after which a message is given up: its notice stands in the dossier all the same.
ATTEMPTS = 12
PURPOSE = b"outbox"


class Message(NamedTuple):
    """id: 16 bytes, random. dossier: its number. body: octets. attempts: how often it was taken, this time included."""

    id: bytes
    dossier: int
    body: bytes
    attempts: int = 0


@translated
async def add(transaction: Transaction, message: Message, at_ms: int) -> None:
    """Let a message wait, in the transaction of what it tells of. at_ms: not before this instant, UTC."""
    key = await transaction._store.dossier_key(message.dossier)
    document = {
        "_id": Binary(message.id),
        "at": at_ms,
        "d": message.dossier,
        "n": 0,
        "b": Binary(seal(key, message.body, PURPOSE + message.id)),
    }
    await transaction._store.connection.database[COLLECTION].insert_one(document, session=transaction._session)


@translated
async def take(store: Store, now_ms: int) -> Message | None:
    """The message that waits longest, kept from others for LEASE_MS; None when none waits. One of an erased dossier is removed."""
    waiting = store.connection.database[COLLECTION]
    later = {"$set": {"at": now_ms + LEASE_MS}, "$inc": {"n": 1}}
    while True:
        found = await repeated(
            lambda: waiting.find_one_and_update({"at": {"$lte": now_ms}}, later, sort=[("at", 1)], hint="time", return_document=True)
        )
        if found is None:
            return None
        document = (await store._documents((dossier_row(found["d"]),))).get(dossier_row(found["d"]))
        if found["n"] > ATTEMPTS or document is None or "k" not in document:
            await done(store, bytes(found["_id"]))
            continue
        key = store.vault.dossier_key(found["d"], document["k"])
        id = bytes(found["_id"])
        return Message(id, found["d"], unseal(key, bytes(found["b"]), PURPOSE + id), found["n"])


@translated
async def done(store: Store, id: bytes) -> None:
    """It left, or never will."""
    waiting = store.connection.database[COLLECTION]
    await repeated(lambda: waiting.delete_one({"_id": Binary(id)}))


@translated
async def marked(store: Store, name: bytes) -> bool:
    """Whether this was told."""
    found = await store.connection.read({"find": COLLECTION, "filter": {"_id": Binary(name)}, "projection": {"_id": 1}, "limit": 1})
    return bool(found)


@translated
async def mark(transaction: Transaction, name: bytes, dossier: int, at_ms: int) -> bool:
    """Note that something was told; False when it was before. name: 16 bytes. Rivals are kept apart by a claim of that name."""
    marks = transaction._store.connection.database[COLLECTION]
    if await marks.find_one({"_id": Binary(name)}, {"_id": 1}, session=transaction._session):
        return False
    await marks.insert_one({"_id": Binary(name), "d": dossier, "told": at_ms}, session=transaction._session)
    return True
