"""Dossiers that were joined, or parted, after a backup: the journal of acts brings the act back and none of the copies, or no end of them.

See merging: what is staged is met by nobody. Before it is shown the journal is applied again, so that whatever was hidden since they were
joined is hidden when it appears. The copies of what was parted, which the backup or the journal brought, are taken away last.
"""

import logging

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions import keeping, merged, merging, unmerging, writing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.merged import REPLACED_BY, REPLACES, Renaming
from fhir_dmp.interactions.merged_rows import stage
from fhir_dmp.interactions.merging import Pair
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import Has, TokenIs
from fhir_dmp.store import joining, restored
from fhir_dmp.store.rows import Row
from fhir_dmp.store.transaction import Transaction

log = logging.getLogger("fhir_dmp.interactions")


async def run(context: Context) -> int:
    """Finish what a restore left undone, before anybody is answered; how many dossiers were joined or parted again.

    A dossier that something was joined to is complete before it is joined to the next one itself.
    """
    done = 0
    vault = context.store.vault
    ended = narrow.to_mongo(Has("active", TokenIs(None, "false")), "Patient", vault.hash64, vault.locate).filter
    left = [pair async for row in context.store.scan(ended, types=("Patient",)) if (pair := await _undone(context, row)) is not None]
    while left:
        targets = {pair.target for pair in left}
        ready = [pair for pair in left if pair.source not in targets] or left
        for pair in ready:
            await stage(context, pair.ids, (await pair.patients(context))[0].updated_ms)
        await _replayed(context)
        for pair in ready:
            await _shown(context, pair)
        done += len(ready)
        left = [pair for pair in left if pair not in ready]
    return done + await _parted(context)


async def _replayed(context: Context) -> None:
    """Apply all acts to what is there now."""
    await restored.forget_marks(context.store.connection)
    await context.store.acts.replay()


async def _parted(context: Context) -> int:
    """Take copies away that belong to a dossier that was taken out; what became of its documents here goes with them."""
    leaving = []
    for source, target in await joining.every_parted(context.store):
        if (pair := await _apart(context, source, target)) is not None:
            found = await context.store.transact(lambda transaction, pair=pair: unmerging.hidden(context.inside(transaction), pair))
            if found.state:
                await unmerging.given_back(context, pair, found)
                leaving.append((pair, found))
    if leaving:
        await _replayed(context)
    for pair, found in leaving:

        async def work(transaction: Transaction, pair: Pair = pair, keys: list[bytes] = found.keys) -> None:
            await joining.drop(transaction, keys)
            await writing.recompute(context.inside(transaction), {pair.ids.source: [], pair.ids.target: []})

        await context.store.transact(work, claims=pair.claims)
        await keeping.keep(context)
    return len(leaving)


async def _apart(context: Context, source: int, target: int) -> Pair | None:
    """Two dossiers that are parted; None where they were joined anew, either way round or by way of others, or one is gone."""
    rows = [row for one in (source, target) for row in await context.store.find(types=("Patient",), dossiers=(one,), limit=1)]
    if len(rows) < 2 or any(row.body is None for row in rows):
        return None
    values = [json.parse(row.body) for row in rows]
    if source in await merged.every(context.reads, target) or target in await merged.every(context.reads, source):
        return None
    ids = values[0]["id"], values[1]["id"]
    return Pair(context, *ids, Renaming(context.store.vault, source, target, ids))


async def _undone(context: Context, ends: Row) -> Pair | None:
    """The two dossiers, where one was joined to another one that has not everything of it. ends: its Patient."""
    value = json.parse(ends.body) if ends.body is not None else {}
    into = merged.linked(value, REPLACED_BY)
    if not into or value.get("active") is not False:
        return None
    target, vault = into[0], context.store.vault
    row = await context.store.load(vault.locate("Patient", target))
    if row is None or row.body is None or value["id"] not in merged.linked(json.parse(row.body), REPLACES):
        return None  # whoever joins them was cut off, and asks again
    ids = Renaming(vault, ends.dossier, row.dossier, (value["id"], target))
    missing, _ = await context.store.transact(lambda transaction: joining.behind(transaction, ends.dossier, row.dossier, shown=True))
    return Pair(context, value["id"], target, ids) if missing else None


async def _shown(context: Context, pair: Pair) -> None:
    row = await context.store.transact(lambda transaction: merging.shown(context.inside(transaction), pair), claims=pair.claims)
    if row is None:
        raise FhirError("exception", f"Patient/{pair.source} was not wholly joined to Patient/{pair.target} again: repeat $merge")
    await keeping.keep(context)
    log.info("two dossiers that were joined before a restore are joined again")
