"""What is withdrawn, or brought back, by a new version that says so: a protective act, and its seals go with it.

https://hl7.org/fhir/R4/lifecycle.html ; IHE BALP

A Provenance that is there would tell of what is not there any more. With a document more goes: interactions/sealing.py.
"""

from collections.abc import Mapping
from typing import Any

from fhir_dmp.dmp.documents import STATUSES, WITHDRAWN
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import Has, ReferenceTo
from fhir_dmp.store.rows import Change, NewRow, Row, Visible
from fhir_dmp.store.transaction import Transaction

# Kind of the act by which an author withdraws what he deposited, or brings it back.
WITHDRAW = "withdraw"
DOCUMENT, PROVENANCE = "DocumentReference", "Provenance"
GONE = STATUSES.index(WITHDRAWN)


def turns(change: Change) -> bool:
    """Whether a version is withdrawn and the one that it replaces is not, or the other way round."""
    return change.expected is not None and _gone(change.row.visible) != _gone(change.former)


def _gone(visible: Visible) -> bool:
    """A List is as long as it is with one of its documents."""
    facts = visible if isinstance(visible, list) else [visible or {}]
    return bool(facts) and all(one.get("st") == GONE for one in facts)


async def follow(transaction: Transaction, row: NewRow) -> list[bytes]:
    """Keys of what is withdrawn, or brought back, with a version: itself and what its author wrote about it alone.

    What vouches for its document too is shown as far as each of the two is. row: stored in this transaction; no document, whose contents,
    lists and seals would stay.
    """
    assert row.type != DOCUMENT
    keys = {row.key}
    for own in row.visible if isinstance(row.visible, list) else [row.visible]:
        where = await vouching(transaction, row, own)
        keys.update(await transaction.restate(row.dossier, own["rt"], own["st"], at_ms=row.updated_ms, where=where))
    return sorted(keys)


async def vouching(transaction: Transaction, row: NewRow | Row, own: Mapping[str, Any]) -> dict[str, Any]:
    """Filter of the Provenances of its author that are about all versions of something, and about no other document of its lineage.

    own: its facts; of a List, those of one of its lineages.
    """
    root, authors = own["rt"], own["au"]
    others = {"$and": [{"y.rt": root}, {"_id": {"$ne": row.key}}]}
    whole = await transaction.selves(others, types=(DOCUMENT,), dossiers=(row.dossier,))
    parts = [{"t": PROVENANCE}, {"y.rt": root}, {"y.au": {"$in": authors} if authors else []}, _about(transaction, row.self64)]
    return {"$and": [*parts, {"$nor": [_about(transaction, *whole)]}] if whole else parts}


def _about(transaction: Transaction, *selves: int) -> dict[str, Any]:
    """Filter of Provenances with one of these targets."""
    target = Has("target", ReferenceTo(frozenset(selves)))
    return narrow.to_mongo(target, PROVENANCE, transaction.vault.hash64, transaction.vault.locate).filter
