"""Dossiers that were joined, or parted, after a backup: the journal of acts brings the act back and none of the copies, or no end of them.

See merging: what is staged is met by nobody. Before it is shown the journal is applied again, so that whatever was hidden since they were
joined is hidden when it appears. The copies of what was parted, which the backup or the journal brought, are taken away last.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions import keeping, merged, merging, unmerging, writing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.merged import REPLACED_BY, REPLACES, Renaming
from fhir_dmp.interactions.merged_rows import outdated, stage
from fhir_dmp.interactions.merging import Pair
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import Has, TokenIs
from fhir_dmp.store import joining, restored
from fhir_dmp.store.rows import Row
from fhir_dmp.store.transaction import Transaction

log = logging.getLogger("fhir_dmp.interactions")


async def run(context: Context) -> frozenset[int]:
    """Finish what a restore left undone, before anybody is answered; the dossiers of which that was not possible, which hold up no others.

    A dossier that something was joined to is complete before it is joined to the next one itself.
    """
    failed: set[int] = set()
    vault = context.store.vault
    ended = narrow.to_mongo(Has("active", TokenIs(None, "false")), "Patient", vault.hash64, vault.locate).filter
    left = []
    async for found in context.store.scan(ended, types=("Patient",), bodies=False):
        with _held(failed, found.dossier):
            row = await context.store.load(found.key)
            if row is not None and (pair := await _undone(context, row)) is not None:
                left.append(pair)
    while left:
        targets = {pair.target for pair in left}
        ready = [pair for pair in left if pair.source not in targets] or left
        staged = []
        for pair in ready:
            with _held(failed, pair.ids.source, pair.ids.target):
                await stage(context, pair.ids, (await pair.patients(context))[0].updated_ms)
                staged.append(pair)
        await _replayed(context)
        for pair in staged:
            with _held(failed, pair.ids.source, pair.ids.target):
                await _shown(context, pair, failed)
        left = [pair for pair in left if pair not in ready]
    return frozenset(failed | await _parted(context))


@contextlib.contextmanager
def _held(failed: set[int], *dossiers: int) -> Iterator[None]:
    """What cannot be done about these dossiers is noted, and the next ones follow."""
    try:
        yield
    except FhirError as error:
        failed.update(dossiers)
        log.warning("dossiers that were joined before a restore are not joined again: %s", error.message)


async def _replayed(context: Context) -> None:
    """Apply all acts to what is there now."""
    await restored.forget_marks(context.store.connection)
    await context.store.acts.replay()


async def _parted(context: Context) -> set[int]:
    """Take copies away that belong to a dossier that was taken out; what became of its documents here goes with them.

    The dossiers of which that was not possible.
    """
    failed: set[int] = set()
    leaving = []
    for source, target in await joining.every_parted(context.store):
        with _held(failed, source, target):
            if (pair := await apart(context, source, target)) is not None:
                found = await context.store.transact(lambda transaction, pair=pair: unmerging.hidden(context.inside(transaction), pair))
                if found.state:
                    await unmerging.given_back(context, pair, found)
                    leaving.append((pair, found))
    if leaving:
        await _replayed(context)
    for pair, found in leaving:
        with _held(failed, pair.ids.source, pair.ids.target):
            await dropped(context, pair, found.keys)
    return failed


async def dropped(context: Context, pair: Pair, keys: Sequence[bytes]) -> None:
    """Take copies out of the one that they do not belong to any more. keys: of their rows."""

    async def work(transaction: Transaction) -> None:
        await joining.drop(transaction, keys)
        await writing.recompute(context.inside(transaction), {pair.ids.source: [], pair.ids.target: []})

    await context.store.transact(work, claims=pair.claims)
    await keeping.keep(context)


async def apart(context: Context, source: int, target: int) -> Pair | None:
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
    if not missing:  # nor what it was taken along as, but as it was when they were joined before
        missing = bool(await outdated(context, ids, ends.updated_ms))
    if not missing:  # copies that were staged, and not shown, are not there
        waiting = [ids.back.key(key) for key in await joining.staged(context.store, row.dossier)]
        missing = bool(await context.store.load_many(waiting, bodies=False))
    return Pair(context, value["id"], target, ids) if missing else None


async def _shown(context: Context, pair: Pair, failed: set[int]) -> None:
    """failed: dossiers that are not complete. What is staged is shown at once: not a part of it, without the rights it came with."""
    if not failed.isdisjoint((pair.ids.source, pair.ids.target)):
        raise FhirError("exception", f"Patient/{pair.source} is not joined to Patient/{pair.target} again: another one is not complete")
    row = await context.store.transact(lambda transaction: merging.shown(context.inside(transaction), pair), claims=pair.claims)
    if row is None:
        raise FhirError("exception", f"Patient/{pair.source} was not wholly joined to Patient/{pair.target} again: repeat $merge")
    await keeping.keep(context)
    log.info("two dossiers that were joined before a restore are joined again")
