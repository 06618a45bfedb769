"""Protective acts that are committed and not yet in their journal: noted in the transaction that does them.

https://microservices.io/patterns/data/transactional-outbox.html

Whoever acknowledges an act, or answers that it is so already, first keeps all that waits in its dossier; a start keeps all that waits. A
note goes once the journal has the act, so whoever is cut off in between loses none.
"""

from collections.abc import Iterable

from bson import Binary
from pymongo.errors import PyMongoError

from fhir_dmp.store.connection import repeated
from fhir_dmp.store.failures import is_transient, translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import dossier_in

COLLECTION = "acts.waiting"
# In one note: it stays far below the 16 MB of a document.
AT_ONCE = 100_000


@translated
async def add(transaction: Transaction, kind: str, keys: Iterable[bytes], at_ms: int) -> frozenset[int]:
    """Note an act in its transaction; the dossiers it is in. kind, keys: as of Acts.keep. at_ms: of the act, UTC."""
    by_dossier: dict[int, list[Binary]] = {}
    for key in sorted(set(keys)):
        by_dossier.setdefault(dossier_in(key), []).append(Binary(key))
    notes = [
        {"d": dossier, "k": kind, "at": at_ms, "keys": listed[start : start + AT_ONCE]}
        for dossier, listed in by_dossier.items()
        for start in range(0, len(listed), AT_ONCE)
    ]
    if notes:
        await transaction._connection.database[COLLECTION].insert_many(notes, session=transaction._session)
    return frozenset(by_dossier)


@translated
async def keep(store: Store, dossiers: Iterable[int] | None = None) -> int:
    """Keep what waits, in these dossiers or in all; how many acts did. 503 when the journal does not take them: they go on waiting."""
    where = {} if dossiers is None else {"d": {"$in": sorted(dossiers)}}
    command = {"find": COLLECTION, "filter": where, "sort": {"_id": 1}, "hint": "_id_" if dossiers is None else "dossier"}
    notes = await store.connection.read(command)
    acts: dict[tuple[int, str], tuple[int, set[bytes]]] = {}
    for note in notes:
        at_ms, keys = acts.get((note["d"], note["k"]), (0, set()))
        acts[note["d"], note["k"]] = max(at_ms, note["at"]), keys | set(map(bytes, note["keys"]))
    for (_, kind), (at_ms, keys) in acts.items():
        await store.acts.keep(kind, keys, at_ms)
    if notes:
        waiting = store.connection.database[COLLECTION]
        kept = {"_id": {"$in": [note["_id"] for note in notes]}}
        try:
            await repeated(lambda: waiting.delete_many(kept, hint="_id_"), patience=2.0)
        except PyMongoError as error:
            if not is_transient(error):  # else they are kept once more, which does no harm
                raise
    return len(acts)
