"""Storing versions together with their seals, their traces and, when rights may have changed, the policy of the dossier: all or none.

https://hl7.org/fhir/R4/http.html#create ; IHE BALP; consent.compiling
"""

from collections.abc import Collection, Sequence

from fhir_dmp.interactions import covering, keeping, policy, reviewing, sealing, tracing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.tracing import Labels
from fhir_dmp.store import revising
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.vault import COMMON, dossier_row


async def write(
    context: Context, changes: Sequence[tuple[Change, str]], *, kind: str = "", asked: str = "", labels: Labels | None = None
) -> None:
    """Store versions; durable when it returns, or with the transaction. changes: with logical ids. kind: of the trace, "" by method.

    asked: the request, where one trace tells of all of them. labels: of visibility, before and after, where they change with it.

    Conflict names the first change whose expectation does not hold.
    """
    rows = [change for change, _ in changes]
    seals = sealing.of_writes(context, changes)
    await in_step(context.transaction)
    everything = [*rows, *seals, *tracing.of_writes(context, [(change.row, id) for change, id in changes], kind, asked, labels)]
    touched = touching(context, [change.row for change in rows])
    withdrawn = sealing.following(context, changes)
    revised = [change.row for change in rows if context.enforcer is not None and revising.revises(change)]
    reviews, covered, acted = reviewing.taken(context), covering.taken(context), covering.joined(context)
    claims = covering.claims(context, acted)
    adding = _adding(context, [change.row for change in rows], touched)
    if context.transaction is not None:
        await context.transaction.claim(claims)  # what it read is of its own snapshot
        await context.transaction.enter(adding)
        await context.transaction.write(everything)
        context.store.still(context.election)
        await _follow(context, withdrawn, revised)
        await covering.cover(context, covered)
        await recompute(context, touched)
        await reviewing.store(context, reviews)
    elif touched or withdrawn or revised or reviews or covered:

        async def work(transaction) -> None:
            await transaction.enter(adding)
            await transaction.unchanged(acted)
            await transaction.write(everything)
            context.store.still(context.election)
            await _follow(context.inside(transaction), withdrawn, revised)
            await covering.cover(context.inside(transaction), covered)
            await recompute(context.inside(transaction), touched)
            await reviewing.store(context.inside(transaction), reviews)

        for dossier in touched:  # its key is older than the transaction, which then need not start twice
            await context.store.dossier_key(dossier)
        await context.store.transact(work, claims=claims)
        await keeping.keep(context)
    elif acted:
        await context.store.commit(everything, claims=claims, acted=acted, election=context.election, adding=adding)
    elif len(everything) == 1 and rows[0].expected is None:
        await context.store.create(rows[0].row)
    else:
        await context.store.commit(everything, election=context.election, adding=adding)


async def _follow(inside: Context, withdrawn: Sequence[tuple[NewRow, str]], revised: Sequence[NewRow]) -> None:
    await sealing.follow(inside, withdrawn)
    for row in revised:
        await revising.follow(inside.transaction, row)


def touching(context: Context, rows: Sequence[NewRow]) -> dict[int, list[bytes]]:
    """Dossiers whose policy these versions may change, with the keys of the versions; none where `system` writes past the rules."""
    found: dict[int, list[bytes]] = {}
    if not context.sandbox or context.enforcer is not None:
        for row in rows:
            if row.type in policy.SOURCES and row.dossier != COMMON:
                found.setdefault(row.dossier, []).append(row.key)
    return found


def _adding(context: Context, rows: Sequence[NewRow], touched: Collection[int]) -> list[int]:
    """Dossiers that these versions are added to. Not those of acts on rights, which the closing of a dossier meets by their own claim.

    In a sandbox none is closed for good.
    """
    return [] if context.sandbox else sorted({row.dossier for row in rows} - {COMMON, *touched})


async def recompute(inside: Context, touched: dict[int, list[bytes]]) -> None:
    """Compile the policies of dossiers anew, in the transaction, and note what the journal of acts shall keep once it is committed.

    In a sandbox a policy is compiled at each use, from what is there.
    """
    for dossier, keys in touched.items():
        if not inside.sandbox:
            await policy.recompute(inside, dossier, at_ms=inside.now_ms())
        if inside.enforcer is not None:
            await keeping.acted(inside, "rights", keys if inside.sandbox else {*keys, dossier_row(dossier)})
