"""A whole dossier, read at one moment to be given to another host, or written as another host gave it.

https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/

What is written stays out of sight until the Patient and the policy come, in a transaction of their own: without them no dossier is met.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from bson import Binary
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from fhir_dmp.store import acts_waiting
from fhir_dmp.store.connection import Moment, repeated
from fhir_dmp.store.failures import AlreadyExists, translated
from fhir_dmp.store.joining import SOURCE, STAGED
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import (
    INLINE_BODY_BYTES,
    Content,
    NewRow,
    Row,
    current_document,
    deletion_document,
    encode,
    superseded_document,
)
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import version_row

BATCH = 200
# The first of what a row holds beside a dossier's key: nothing of the row of the dossier itself.
ROWS = {"m": {"$exists": True}}


class Version(NamedTuple):
    """One stored version. current: it is the one that is read. journal: a trace with a place in the journal of this host."""

    row: Row
    current: bool
    journal: bool


async def versions(store: Store, dossier: int, moment: Moment | None = None) -> AsyncIterator[Version]:
    """Every version of everything in a dossier, at one moment; a deletion once. moment: to look at, or to be told."""
    moment = moment or Moment()
    seen: set[bytes] = set()
    for collection in ("resources", "versions"):
        command = {"find": collection, "filter": {"d": dossier, **ROWS}, "batchSize": BATCH, "hint": "dossier"}
        documents = await store.connection.read(command, None, moment)
        for start in range(0, len(documents), BATCH):
            part = documents[start : start + BATCH]
            for document, row in zip(part, await store._rows(part, {}), strict=True):
                place = version_row(row.key, row.version)
                if place not in seen:
                    seen.add(place)
                    yield Version(row, collection == "resources", "j" in document)


class Taken(NamedTuple):
    """A version to be written. acted_ms: when the last act without a version touched it, 0 for never."""

    row: NewRow
    acted_ms: int = 0


@translated
async def put(
    store: Store, current: Sequence[Taken], superseded: Sequence[NewRow], *, staged: bool = False, source: int = 0
) -> list[Taken]:
    """Write versions that are not there; those that were current already, left as they are. AlreadyExists when another version of one
    of them is current.

    staged: out of sight until joining.reveal. source: the dossier of this host that they are copies of, 0 for none.
    """
    if not current and not superseded:
        return []
    key = await store.dossier_key(current[0].row.dossier if current else superseded[0].dossier)
    await _insert(store, "versions", await _old(store, [*superseded, *(one.row for one in current if one.row.deleted)], key))
    documents = []
    for row, acted_ms in current:
        document = current_document(row, key, await _large(store, row))
        if staged and "y" in document:
            document |= {STAGED: document.pop("y")} | ({SOURCE: source} if source else {})
        documents.append(encode({**document, "a": acted_ms} if acted_ms else document))
    there = await _insert(store, "resources", documents)
    for place in there:
        stored = await store.connection.read({"find": "resources", "filter": {"_id": Binary(current[place].row.key)}, "hint": "_id_"})
        if stored[0].get("v") != current[place].row.version:
            raise AlreadyExists(place, stored[0].get("v"))
    return [current[place] for place in there]


@translated
async def places(transaction: Transaction, dossier: int) -> dict[tuple[bytes, int], bool]:
    """Key and version of everything in a dossier: whether it stands in the journal of this host."""
    read, session = transaction._connection.read, transaction._session
    where, fields = {"d": dossier, **ROWS}, {"k": 1, "v": 1, "j": 1}
    former = await read({"find": "versions", "filter": where, "projection": fields, "hint": "dossier"}, session)
    current = await read({"find": "resources", "filter": where, "projection": fields, "hint": "dossier"}, session)
    return {(bytes(one.get("k") or one["_id"]), one["v"]): "j" in one for one in (*former, *current)}


@translated
async def put_old(transaction: Transaction, rows: Sequence[NewRow]) -> None:
    """Write superseded versions, and deletions beside their rows, in the transaction that shows what came after them."""
    if rows:
        store = transaction._store
        documents = await _old(store, rows, await store.dossier_key(rows[0].dossier))
        await transaction._connection.database["versions"].insert_many(documents, session=transaction._session)


async def _old(store: Store, rows: Sequence[NewRow], key: AESGCM) -> list[Any]:
    """As documents in `versions`."""
    documents = []
    for row in rows:
        large = None if row.deleted else await _large(store, row)
        documents.append(deletion_document(row, key) if row.deleted else superseded_document(current_document(row, key, large)))
    return [encode(one) for one in documents]


async def _large(store: Store, row: NewRow) -> Content | None:
    return await store._large_body(row) if row.body is not None and len(row.body) > INLINE_BODY_BYTES else None


async def _insert(store: Store, collection: str, documents: Sequence[Any]) -> list[int]:
    """Places of those that are there already."""
    places: list[int] = []
    for start in range(0, len(documents), BATCH):
        part = list(documents[start : start + BATCH])
        places += [start + place for place in await repeated(lambda part=part: _unordered(store, collection, part))]
    return places


async def _unordered(store: Store, collection: str, part: list) -> list[int]:
    try:
        await store.connection.database[collection].insert_many(part, ordered=False)
    except BulkWriteError as error:
        details = error.details or {}
        if details.get("writeConcernErrors") or any(one["code"] != 11000 for one in details["writeErrors"]):
            raise
        return [one["index"] for one in details["writeErrors"]]
    return []


@translated
async def give(transaction: Transaction, taken: Sequence[Taken]) -> list[bytes]:
    """Give current rows the facts that another host kept while the dossier was there, and show those that are staged; keys of those that
    had others, to be kept as acts.
    """
    rows, altered = transaction._connection.database["resources"], []
    for start in range(0, len(taken), BATCH):
        part = taken[start : start + BATCH]
        keys = {"_id": {"$in": [Binary(one.row.key) for one in part]}}
        command = {
            "find": "resources",
            "filter": keys,
            "projection": {"v": 1, "a": 1, "y": 1, STAGED: 1},
            "hint": "_id_",
            "batchSize": BATCH + 1,
        }
        there = {bytes(one["_id"]): one for one in await transaction._connection.read(command, transaction._session)}
        changes = []
        for row, acted_ms in part:
            found = there.get(row.key)
            if found is None or found["v"] != row.version:
                continue
            if (row.visible and row.visible != found.get("y")) or found.get("a", 0) < acted_ms:
                change: dict[str, Any] = {"$max": {"a": acted_ms}, "$unset": {STAGED: "", SOURCE: ""}}
                changes.append(UpdateOne({"_id": Binary(row.key)}, change | ({"$set": {"y": row.visible}} if row.visible else {})))
                if STAGED not in found:
                    altered.append(row.key)
        if changes:
            await rows.bulk_write(changes, session=transaction._session)
    return altered


@translated
async def relabel(store: Store, taken: Sequence[Taken]) -> None:
    """The same of a dossier that nobody acts in, part by part; in the journal of acts when it returns."""
    for start in range(0, len(taken), BATCH):

        async def work(transaction: Transaction, part: Sequence[Taken] = taken[start : start + BATCH]) -> None:
            await acts_waiting.add(transaction, "mask", await give(transaction, part), store.clock())

        await store.transact(work)
    # Also what waits since somebody was cut off doing the same.
    await acts_waiting.keep(store, {row.dossier for row, _ in taken})
