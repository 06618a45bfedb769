"""Rows of one dossier staged in another until one act shows them all, and taken out of it again.

https://www.mongodb.com/docs/manual/core/transactions/

INVARIANT: a staged row has its facts under `z` and none under `y`, so that nobody who obeys the rules meets it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from bson import Binary

from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store, Transaction

STAGED = "z"
AT_ONCE = 1_000


@translated
async def reveal(transaction: Transaction, dossier: int) -> None:
    """Show everything that is staged in a dossier."""
    rows = transaction._store.connection.database["resources"]
    steps = [{"$set": {"y": f"${STAGED}"}}, {"$unset": STAGED}]
    await rows.update_many({"d": dossier, STAGED: {"$exists": True}}, steps, hint="dossier", session=transaction._session)


@translated
async def hide(transaction: Transaction, keys: Iterable[bytes]) -> None:
    """Stage current rows again."""
    rows = transaction._store.connection.database["resources"]
    steps = [{"$set": {STAGED: "$y"}}, {"$unset": "y"}]
    for part in _parts(keys):
        await rows.update_many({"_id": {"$in": part}, "y": {"$exists": True}}, steps, hint="_id_", session=transaction._session)


@translated
async def staged(store: Store, dossier: int) -> dict[bytes, Any]:
    """Facts of what is staged in a dossier, by key."""
    command = {"find": "resources", "filter": {"d": dossier, STAGED: {"$exists": True}}, "projection": {STAGED: 1}, "hint": "dossier"}
    return {bytes(one["_id"]): one[STAGED] for one in await store.connection.read(command)}


@translated
async def of_lineages(transaction: Transaction, dossier: int, roots: Sequence[int]) -> list[bytes]:
    """Keys of the current rows of a dossier that belong to these lineages alone, traces left out. roots: y.rt."""
    wanted, found = set(roots), []
    for part in range(0, len(roots), AT_ONCE):
        where = {"d": dossier, "y.rt": {"$in": list(roots[part : part + AT_ONCE])}, "t": {"$ne": "AuditEvent"}}
        command = {"find": "resources", "filter": where, "projection": {"y.rt": 1}, "hint": "dossier"}
        for document in await transaction._store.connection.read(command, transaction._session):
            facts = document["y"] if isinstance(document["y"], list) else [document["y"]]
            if {one["rt"] for one in facts} <= wanted:
                found.append(bytes(document["_id"]))
    return list(dict.fromkeys(found))


@translated
async def drop(transaction: Transaction, keys: Iterable[bytes]) -> None:
    """Remove rows with all their versions. Their contents, which nothing names any more, are swept later."""
    database = transaction._store.connection.database
    for part in _parts(keys):
        await database["resources"].delete_many({"_id": {"$in": part}}, hint="_id_", session=transaction._session)
        await database["versions"].delete_many({"k": {"$in": part}}, hint="instance", session=transaction._session)


def _parts(keys: Iterable[bytes]) -> Iterable[list[Any]]:
    listed = [Binary(key) for key in keys]
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]
