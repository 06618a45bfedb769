"""Erasing a dossier so that it happens once and is told: its key and the trace of its destruction in one transaction, then what is left.

CSP R1111-40 https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006190273 ; https://www.mongodb.com/docs/manual/core/transactions/

In the row of a dossier `q` is the instant of its closing; `e` that of its erasure. An erased dossier has q = 0 until its rows are removed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from bson import Binary

from fhir_dmp.store import acts_waiting
from fhir_dmp.store.acts import LEFT
from fhir_dmp.store.connection import repeated
from fhir_dmp.store.failures import translated
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import COMMON, dossier_in, dossier_row

# For so long others may still write traces under a key they read before.
SETTLED_MS = 60_000


class Closed(NamedTuple):
    """A closed dossier. closed_ms: UTC. erased_ms: when its key was destroyed, None when it was not; then only its rows are left."""

    dossier: int
    closed_ms: int
    erased_ms: int | None = None


async def closed_dossiers(store: Store, before_ms: int, limit: int = 500) -> list[Closed]:
    """Dossiers closed before that instant, the longest closed first."""
    return await _closed(store, {"$gt": LEFT, "$lt": before_ms}, limit)


async def unfinished(store: Store, limit: int = 500) -> list[Closed]:
    """Dossiers whose erasure is not finished."""
    return [one for one in await _closed(store, LEFT, limit) if one.erased_ms is not None]


@translated
async def _closed(store: Store, q: object, limit: int) -> list[Closed]:
    command = {
        "find": "resources",
        "filter": {"q": q},
        "sort": {"q": 1},
        "projection": {"q": 1, "e": 1},
        "limit": limit,
        "batchSize": limit,
        "hint": "closing",
    }
    return [Closed(dossier_in(found["_id"]), found["q"], found.get("e")) for found in await store.connection.read(command)]


async def patient_of(reads: Reader, dossier: int) -> str:
    """Logical id of the Patient of a dossier, "" when it has none."""
    found = await reads.find(types=["Patient"], dossiers=[dossier], limit=1, bodies=False)
    return reads.vault.seal_id(found[0].key) if found else ""


async def erase(
    transaction: Transaction, dossier: int, traces: Sequence[Change], *, at_ms: int, closed_ms: int | None = None
) -> bytes | None:
    """Destroy the key of a dossier and store the traces that tell it; the key, sealed, to be forgotten, or None when there was none.

    closed_ms: only when it is still closed since then. Nothing can be read in it from here on; `finish` removes what is left.
    """
    if dossier == COMMON:
        raise ValueError("the common key is not destroyed")
    where = {"_id": Binary(dossier_row(dossier)), "k": {"$exists": True}}
    if closed_ms is not None:
        where["q"] = closed_ms
    change = {"$unset": {"k": "", "p": ""}, "$set": {"e": at_ms, "q": LEFT}}
    rows = transaction._connection.database["resources"]
    before = await rows.find_one_and_update(where, change, projection={"k": 1}, session=transaction._session)
    if before is None:
        return None
    await transaction.write(traces)
    await acts_waiting.add(transaction, "erasure", [dossier_row(dossier)], at_ms)
    return before["k"]


@translated
async def finish(store: Store, dossier: int, erased_ms: int) -> None:
    """Make an erasure outlive restores, then remove rows and contents. Done again until nobody can have added anything."""
    await acts_waiting.keep(store, (dossier,))
    await store.remove_dossier(dossier)
    if store.clock() - erased_ms >= SETTLED_MS:
        rows = store.connection.database["resources"]
        where = {"_id": Binary(dossier_row(dossier)), "q": LEFT}
        await repeated(lambda: rows.update_one(where, {"$unset": {"q": ""}}))
