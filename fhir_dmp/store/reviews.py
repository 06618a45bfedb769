"""What waits for the host's physician to look at: emergency accesses, deposits after a death; written in the transaction of the act.

Code de la santé publique L1111-17 (emergency access is told and looked at afterwards)

Each is sealed under the key of its dossier and goes with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bson import Binary

from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import dossier_row, seal, unseal

COLLECTION = "host.reviews"
PURPOSE = b"review"


class Review(NamedTuple):
    """id: 16 bytes, random. dossier: its number. at_ms: of the act, UTC. open: nobody has closed it. body: octets."""

    id: bytes
    dossier: int
    at_ms: int
    open: bool
    body: bytes


@translated
async def add(transaction: Transaction, review: Review) -> None:
    """Let something wait, in the transaction of the act."""
    key = await transaction._store.dossier_key(review.dossier)
    document = {"_id": Binary(review.id), "d": review.dossier, "at": review.at_ms, "o": review.open, "b": _sealed(key, review)}
    await transaction._store.connection.database[COLLECTION].insert_one(document, session=transaction._session)


@translated
async def listed(store: Store, *, open: bool, most: int, after: bytes = b"") -> list[Review]:
    """At most `most` of those that wait, or that were closed, by instant of the act. after: id of the last one of the page before."""
    where: dict[str, Any] = {"o": open}
    if after:
        found = await store.connection.read({"find": COLLECTION, "filter": {"_id": Binary(after)}, "limit": 1})
        at = found[0]["at"] if found else 0
        where["$or"] = [{"at": {"$gt": at}}, {"at": at, "_id": {"$gt": Binary(after)}}]
    command = {"find": COLLECTION, "filter": where, "sort": {"at": 1, "_id": 1}, "limit": most, "batchSize": most, "hint": "open"}
    return await _opened(store, await store.connection.read(command))


@translated
async def one(store: Store, id: bytes) -> Review | None:
    """One of them."""
    found = await _opened(store, await store.connection.read({"find": COLLECTION, "filter": {"_id": Binary(id)}, "limit": 1}))
    return found[0] if found else None


@translated
async def close(transaction: Transaction, review: Review) -> bool:
    """Close it, with a new body; False when somebody closed it before."""
    key = await transaction._store.dossier_key(review.dossier)
    rows = transaction._store.connection.database[COLLECTION]
    closed = {"$set": {"o": False, "b": _sealed(key, review)}}
    return (await rows.update_one({"_id": Binary(review.id), "o": True}, closed, session=transaction._session)).modified_count == 1


def _sealed(key: Any, review: Review) -> Binary:
    return Binary(seal(key, review.body, PURPOSE + review.id))


async def _opened(store: Store, documents: Sequence[Mapping[str, Any]]) -> list[Review]:
    """Those whose dossier has its key still."""
    rows = await store._documents(tuple({dossier_row(one["d"]) for one in documents})) if documents else {}
    found = []
    for document in documents:
        row, id = rows.get(dossier_row(document["d"])), bytes(document["_id"])
        if row is not None and "k" in row:
            key = store.vault.dossier_key(document["d"], row["k"])
            found.append(Review(id, document["d"], document["at"], document["o"], unseal(key, bytes(document["b"]), PURPOSE + id)))
    return found
