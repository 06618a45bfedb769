"""What is withdrawn, or brought back, by a new version that says so: a protective act, and its seals go with it.

https://hl7.org/fhir/R4/lifecycle.html ; IHE BALP

A Provenance that is there would tell of what is not there any more. With a document more goes: interactions/sealing.py.
"""

from typing import Any

from fhir_dmp.dmp.documents import STATUSES, WITHDRAWN
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import Has, ReferenceTo
from fhir_dmp.store.rows import Change, NewRow, Visible
from fhir_dmp.store.transaction import Transaction

# Kind of the act by which an author withdraws what he deposited, or brings it back.
WITHDRAW = "withdraw"
DOCUMENT, PROVENANCE = "DocumentReference", "Provenance"
GONE = STATUSES.index(WITHDRAWN)


def turns(change: Change) -> bool:
    """Whether a version is withdrawn and the one that it replaces is not, or the other way round."""
    return change.expected is not None and _gone(change.row.visible) != _gone(change.former)


def _gone(visible: Visible) -> bool:
    return isinstance(visible, dict) and visible.get("st") == GONE


async def follow(transaction: Transaction, row: NewRow) -> list[bytes]:
    """Keys of what is withdrawn, or brought back, with a version: itself and, no documents, what its author wrote about it alone.

    What vouches for its document too is shown as far as each of the two is. row: stored in this transaction.
    """
    if row.type == DOCUMENT:
        return [row.key]
    root, authors = row.visible["rt"], row.visible["au"]
    whole = await transaction.selves({"y.rt": root}, types=(DOCUMENT,), dossiers=(row.dossier,))
    parts = [{"t": PROVENANCE}, {"y.au": {"$in": authors} if authors else []}, _about(transaction, row.self64)]
    where = {"$and": [*parts, {"$nor": [_about(transaction, *whole)]}] if whole else parts}
    return [row.key, *await transaction.restate(row.dossier, root, row.visible["st"], at_ms=row.updated_ms, where=where)]


def _about(transaction: Transaction, *selves: int) -> dict[str, Any]:
    """Filter of Provenances with one of these targets."""
    target = Has("target", ReferenceTo(frozenset(selves)))
    return narrow.to_mongo(target, PROVENANCE, transaction.vault.hash64, transaction.vault.locate).filter
