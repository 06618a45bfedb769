"""The index of every stored resource, computed again, while the server runs or not.

Needed when search parameters or the way values are spelled have changed: searches ask by the new spelling, rows answer by the old. A row
that was stored before the span of all its dates was kept gets it: a mask by period would show what it covers.
An absolute reference is one to this server only under the address the setting `base_url` names: no request says here how we are called.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from fhir_dmp.consent import companions
from fhir_dmp.consent.predicate import DATES, row_of
from fhir_dmp.dmp import documents
from fhir_dmp.fhir import json
from fhir_dmp.interactions import facts
from fhir_dmp.interactions.prepare import patients_named
from fhir_dmp.search import blind, extract
from fhir_dmp.search.parameters import definitions_digest
from fhir_dmp.store import reindexing
from fhir_dmp.store.reindexing import Reindexed
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import NewRow, Row
from fhir_dmp.store.vault import COMMON

BATCH = 500
STRIDE = 20
# They are dated as what they are about, or carried by.
SAYING_LESS = ("Binary", "Provenance")


async def is_stale(store: Store) -> bool:
    """Whether rows were indexed by other definitions than those of this program."""
    return await reindexing.computed_by(store) != definitions_digest()


async def run(store: Store, base_urls: tuple[str, ...], progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Compute every index anew; how many rows. progress: called with (done, total)."""
    total, done = await store.count(), 0
    batch: list[Reindexed] = []
    async for row in store.scan(batch=BATCH):
        if row.body is not None:
            batch.append(Reindexed(row, entries_of(store, row, base_urls)))
            if (dates := dates_lacking(row)) is not None:
                await reindexing.give_dates(store, row, dates)
        done += 1
        if len(batch) % STRIDE == 0:
            await asyncio.sleep(0)
        if len(batch) >= BATCH:
            await reindexing.replace_entries(store, batch)
            progress(done, max(total, done))
            batch = []
    await reindexing.replace_entries(store, batch)
    await reindexing.set_computed_by(store, definitions_digest())
    progress(done, done)
    return done


def indexed(store: Store, row: NewRow, base_urls: tuple[str, ...], *, current: bool = True) -> NewRow:
    """A version whose key is known, with its index; a deletion and one that is not current have none. Its id is that of its key."""
    row = row._replace(self64=blind.self_hash(row.type, store.vault.seal_id(row.key), store.vault.hash64))
    if row.body is None or row.deleted or not current:
        return row
    plain = Row(row.key, row.dossier, row.type, row.version, row.updated_ms, row.method, False, row.body)
    found = entries_of(store, plain, base_urls)
    return row._replace(x=found.x, g=found.g, c=found.c, n=found.n)


def entries_of(store: Store, row: Row, base_urls: tuple[str, ...]) -> blind.Entries:
    """The index of a stored row, from its body. What tells of the end of a dossier names its Patient, and stands outside of it."""
    index = extract.extract(row.type, json.parse(row.body), base_urls=base_urls)
    named = () if row.type in ("Patient", "Binary") or row.dossier == COMMON else patients_named(row.type, index)
    patient = f"Patient/{next(iter(named))}" if len(named) == 1 else None
    return blind.entries(row.type, index, store.vault.hash64, patient)


def dates_lacking(row: Row) -> tuple[int, int] | None:
    """The span of all dates that the body of a row says, where the row lacks it; None where it has it, or is dated by its document."""
    told = row.visible
    if row.body is None or not isinstance(told, dict) or DATES[0] in told or row.type in (*companions.SEEN_AS, *SAYING_LESS):
        return None
    value = json.parse(row.body)
    period = documents.period_of(value)
    dates = documents.dates_of(value, period) if period == (told.get("pa"), told.get("pb")) else period
    return dates if dates != period else None


def facts_said(store: Store, row: Row) -> dict[str, Any]:
    """Of the facts by which the rules judge a document or a Consent, those that its body says whatever was done about it."""
    if row.body is None or not isinstance(row.visible, dict) or row.type not in ("DocumentReference", "Consent"):
        return {}
    value = json.parse(row.body)
    if row.type == "Consent":
        found = facts.companion(value, f"Consent/{store.vault.seal_id(row.key)}", row.updated_ms)
        names: tuple[str, ...] = ("ty", "st")
    else:
        first_ms = row.visible.get("fd", 0)
        found = documents.facts_of(value, authors=(), organization="", first_deposit_ms=first_ms, root="")
        names = ("ty", "st", "rl", "pa", "pb", *DATES)
    told = row_of(found, store.vault.hash64)
    return {name: told.get(name) for name in names}
