"""The end of a dossier: ten years after its closing, or when its key is destroyed by hand, with a trace that stays.

CSP R1111-40, L1111-18 https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006190273
"""

import logging

from fhir_dmp.audit.event import Disclosed, Trace
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.dmp.lifecycle import is_due, may_be_due_ms
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import merged
from fhir_dmp.store import erasing
from fhir_dmp.store.resources import Store
from fhir_dmp.store.transaction import Transaction

log = logging.getLogger("fhir_dmp.interactions")


async def sweep(store: Store, recorder: Recorder) -> int:
    """Destroy what is due by the clock of the store, and go on with what was begun; how many dossiers were destroyed.

    Any number of processes may do it at once: each dossier is destroyed by one of them, and told once.
    """
    destroyed = 0
    for one in await erasing.unfinished(store):
        await erasing.finish(store, one.dossier, one.erased_ms)
    while True:
        now_ms, before = store.clock(), destroyed
        for one in await erasing.closed_dossiers(store, may_be_due_ms(now_ms) + 1):
            if is_due(one.closed_ms, now_ms):
                said = f"closed on {to_instant(one.closed_ms)}, kept for ten years"
                destroyed += await destroy(store, recorder, one.dossier, said, closed_ms=one.closed_ms)
        if destroyed == before:
            return destroyed


async def destroy(store: Store, recorder: Recorder, dossier: int, said: str, *, closed_ms: int | None = None) -> bool:
    """Destroy one dossier; False when somebody else did, or it is no longer closed since then. said: why, in the trace.

    What was joined to it stands in it: the originals end with it, in one transaction, since nothing else would ever destroy them. The
    traces stand outside of the dossiers, else they would go with them; they name the patients by the random ids of the dossiers alone.
    """
    at_ms = store.clock()

    async def work(transaction: Transaction) -> dict[int, bytes]:
        keys: dict[int, bytes] = {}
        for one in await merged.every(transaction, dossier):
            patient = await erasing.patient_of(transaction, one)
            named = (Disclosed("Patient", patient),) if patient else ()
            traces = recorder.changes([Trace(kind="erasure", at_ms=at_ms, disclosed=named, query=said)])
            since = closed_ms if one == dossier else None
            if key := await erasing.erase(transaction, one, traces, at_ms=at_ms, closed_ms=since):
                keys[one] = key
            elif one == dossier:
                return {}
        return keys

    keys = await store.transact(work)
    for key in keys.values():
        store.vault.forget(key)
    for one in keys:
        log.info("a dossier was destroyed: %s", said)
        await erasing.finish(store, one, at_ms)
    return bool(keys)
