"""Seals of former versions, when a new one says another type or other dates: shown as far as both are, what was sealed and what is now.

https://hl7.org/fhir/R4/http.html#history

A resource is hidden by what it says now, and a former version by what that says too. A seal names both.
"""

from collections.abc import Mapping
from typing import Any

from fhir_dmp.consent.predicate import DATES, SPAN, hashed
from fhir_dmp.dmp.spaces import REIMBURSEMENT
from fhir_dmp.store import withdrawing
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.withdrawing import GONE, PROVENANCE

# Facts that a new version may change, beside its status.
SAID = ("ty", "pa", "pb", *DATES)


def revises(change: Change) -> bool:
    """Whether a version says another type or other dates than the one that it replaces, or is withdrawn or brought back."""
    now, former = change.row.visible, change.former
    if change.expected is None or not isinstance(now, dict) or not isinstance(former, dict):
        return False
    return withdrawing.turns(change) or any(now.get(name) != former.get(name) for name in SAID)


async def follow(transaction: Transaction, row: NewRow) -> list[bytes]:
    """Give the seals of all versions of a resource the facts by which they are judged now; keys of those that change.

    row: the new version, stored in this transaction.
    """
    now = row.visible
    where = await withdrawing.vouching(transaction, row, now)
    reimbursed = now["ty"] == hashed("type", REIMBURSEMENT, transaction.vault.hash64)
    given = {}
    async for found in transaction.scan(where, types=(PROVENANCE,), dossiers=(row.dossier,), bodies=False):
        if isinstance(found.visible, dict) and (changed := _changed(found.visible, now, reimbursed=reimbursed)):
            given[found.key] = changed
    await transaction.give_facts(given, at_ms=row.updated_ms)
    return list(given)


def _changed(own: Mapping[str, Any], now: Mapping[str, Any], *, reimbursed: bool) -> dict[str, Any]:
    """Facts of a seal that are others now. own: as they are. now: of the resource.

    Two spans of dates have room on a row: a mask by period covers what meets either. Of two types, or of two dates by which a
    reimbursement is past, a row can say one alone: such a seal is in no search, and by its id for author and holder.

    >>> may, june = {"ty": 1, "st": 0, "pa": 5, "pb": 6}, {"ty": 1, "st": 0, "pa": 6, "pb": 7}
    >>> _changed(may, june, reimbursed=False), _changed(may, june, reimbursed=True), _changed(may, {**may, "ty": 2}, reimbursed=False)
    ({'da': 6, 'db': 7, 'sp': True}, {'st': 2}, {'st': 2})
    """
    spans = _span(own), _span(now)
    apart = own["ty"] != now["ty"] or (reimbursed and any(own.get(name) != now.get(name) for name in SAID))
    told: dict[str, Any] = {"st": GONE if apart else now["st"]}
    if not reimbursed and (spans[0] != spans[1] or SPAN in own):
        told |= dict(zip(("pa", "pb", *DATES), (*spans[0], *spans[1]), strict=True)) | {SPAN: True}
    return {name: value for name, value in told.items() if own.get(name) != value}


def _span(facts: Mapping[str, Any]) -> tuple[int, int]:
    """The span of all dates that a version says itself."""
    first, last = DATES if DATES[0] in facts and SPAN not in facts else ("pa", "pb")
    return facts[first], facts[last]
